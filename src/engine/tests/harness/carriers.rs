//! Carriers among the identities of the harness.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::base::ids::Fingerprint;
use crate::base::rng::SeededRng;
use crate::base::{BodyId, Onion, SessionId};
use crate::engine::api::{Request, RequestError, RequestId, Response};
use crate::engine::carrier::effect::Detached;
use crate::engine::carrier::{
    Carrier, CarrierEffect, CarrierInput, CarrierRequest, Held, HeldRecord, HeldTransaction, Terms,
};
use crate::engine::io::{CommitError, Sizes};
use crate::engine::state::boxes::own::BoxKeys;
use crate::engine::state::profile::SecretBytes;
use crate::engine::tests::harness::{World, crypto, profile};
use crate::mail::Invitation;
use crate::wire::mailbox::Policy;

/// From this number on, the ends of connections are carriers.
pub(in crate::engine) const CARRIERS: usize = 1000;

/// A carrier, its log and its bodies.
pub(in crate::engine) struct CarrierNode {
    pub(in crate::engine) carrier: Carrier,
    log: Vec<(u64, HeldRecord)>,
    bodies: BTreeMap<BodyId, Arc<[u8]>>,
    pub(in crate::engine) online: bool,
    /// Whether it takes all bytes, and says nothing.
    pub(in crate::engine) deaf: bool,
    /// How many commits fail from now on; their records are there all the same after a start.
    pub(in crate::engine) failing_commits: u32,
    doubtful: Vec<HeldTransaction>,
    fingerprint: Fingerprint,
    rng: SeededRng,
}

impl CarrierNode {
    pub(in crate::engine) fn onion(&self) -> Onion {
        self.carrier.held().profile().unwrap().public.onion()
    }

    /// The records in its log.
    pub(in crate::engine) fn log(&self) -> &[(u64, HeldRecord)] {
        &self.log
    }

    /// Alters all objects that it holds.
    pub(in crate::engine) fn corrupt(&mut self) {
        for body in self.bodies.values_mut() {
            *body = body.iter().map(|byte| byte ^ 1).collect();
        }
    }

    /// Puts these bytes in the place of all objects that it holds.
    pub(in crate::engine) fn replace(&mut self, with: &[u8]) {
        for body in self.bodies.values_mut() {
            assert_eq!(body.len(), with.len());
            *body = with.into();
        }
    }

    /// The objects that it holds.
    pub(in crate::engine) fn held(&self) -> Vec<Arc<[u8]>> {
        self.carrier.held().bodies().map(|body| self.bodies[&body].clone()).collect()
    }
}

impl World {
    /// A carrier with this number as its key.
    pub(in crate::engine) fn add_carrier(&mut self, key: u8) -> usize {
        let record = HeldRecord::CarrierCreated { profile: Box::new(profile("box", key, self.now)) };
        let log = vec![(1, record)];
        let carrier = Carrier::new(fold(&log), self.now).unwrap();
        self.carriers.push(CarrierNode {
            carrier,
            log,
            bodies: BTreeMap::new(),
            online: true,
            deaf: false,
            failing_commits: 0,
            doubtful: Vec::new(),
            fingerprint: Fingerprint::from_bytes([key; 32]),
            rng: SeededRng::new(u64::from(key)),
        });
        self.carriers.len() - 1
    }

    /// Sets for how long an identification counts there.
    pub(in crate::engine) fn set_policy(&mut self, carrier: usize, policy: Policy) {
        self.carrier_input(carrier, CarrierInput::Request(RequestId(0), CarrierRequest::Identification(policy)));
        self.run();
    }

    /// An invitation to a box there.
    pub(in crate::engine) fn invite_to_box(&mut self, carrier: usize) -> String {
        let (secret, expires) = ([carrier as u8 + 77; 16], self.now.plus(Duration::from_secs(7 * 24 * 3600)));
        let invite =
            CarrierRequest::Invite { secrets: vec![secret], terms: Terms { quota: 1 << 30, hold_days: 14 }, expires };
        self.carrier_input(carrier, CarrierInput::Request(RequestId(0), invite));
        self.run();
        let at = &self.carriers[carrier];
        let address = at.carrier.held().profile().unwrap().public.address.clone();
        let (secret, expires, carriers) = (Some(secret), Some(expires), Vec::new());
        Invitation { address, fingerprint: at.fingerprint, secret, expires, carriers }.encode_box()
    }

    /// A node rents a box with this invitation; the number stands for the keys that are made for it.
    pub(in crate::engine) fn rent(&mut self, node: usize, text: &str, key: u8) -> Result<Response, RequestError> {
        let fingerprint = Fingerprint::from_bytes([key; 32]);
        let keys = BoxKeys {
            keys: SecretBytes::new(vec![key; 32]),
            certificate: crate::engine::tests::harness::certificate(&fingerprint).into(),
            fingerprint,
        };
        let (invitation, name) = (text.to_owned(), format!("box{key}"));
        self.request(node, Request::RentBox { invitation, name, keys })
    }

    pub(in crate::engine) fn carrier_input(&mut self, carrier: usize, input: CarrierInput) {
        let at = &mut self.carriers[carrier];
        if at.deaf && matches!(input, CarrierInput::Received(..)) {
            return;
        }
        let mut effects = at.carrier.handle(self.now, &mut at.rng, input);
        // Peers take at once the bytes that they are given.
        while let Some(session) = at.carrier.behind().pop() {
            effects.extend(at.carrier.handle(self.now, &mut at.rng, CarrierInput::CaughtUp(session)));
        }
        self.carrier_effects.extend(effects.into_iter().map(|effect| (carrier, effect)));
    }

    pub(super) fn carrier_timeouts(&mut self) {
        for (number, at) in self.carriers.iter_mut().enumerate() {
            if at.carrier.poll_timeout().is_some_and(|due| due <= self.now) {
                let effects = at.carrier.handle_timeout(self.now, &mut at.rng);
                self.carrier_effects.extend(effects.into_iter().map(|effect| (number, effect)));
            }
        }
    }

    /// A carrier's process ends and starts again from its log, or with an empty disk.
    pub(in crate::engine) fn restart_carrier(&mut self, carrier: usize, loses_all: bool) {
        let sessions: Vec<SessionId> = self.sessions_of(CARRIERS + carrier);
        for session in sessions {
            self.unlink(CARRIERS + carrier, session);
        }
        self.carrier_effects.retain(|(owner, _)| *owner != carrier);
        let at = &mut self.carriers[carrier];
        if loses_all {
            at.log.truncate(1);
            at.bodies.clear();
        } else {
            for transaction in std::mem::take(&mut at.doubtful) {
                at.append(transaction);
            }
        }
        at.carrier = Carrier::new(fold(&at.log), self.now).unwrap();
        self.run();
    }

    pub(super) fn perform_for_carrier(&mut self, carrier: usize, effect: CarrierEffect) {
        let own = self.carriers[carrier].fingerprint;
        let input = match effect {
            CarrierEffect::Commit(op, transaction) => {
                CarrierInput::Committed(op, self.commit_for(carrier, transaction))
            }
            CarrierEffect::ReadCertificate(op, bytes) => {
                CarrierInput::CertificateRead(op, crypto::fingerprint_of(&bytes))
            }
            CarrierEffect::Seal(op, content, to) => {
                let to = crypto::fingerprint_of(&to).unwrap();
                CarrierInput::Sealed(op, Ok(crypto::seal(&own, to.as_bytes(), &content, Sizes::Box)))
            }
            CarrierEffect::Open(op, object, by) => CarrierInput::Opened(op, crypto::open_from(&own, &object, &by)),
            CarrierEffect::Verify(op, Detached { text, signature, certificate }) => {
                let by = crypto::fingerprint_of(&certificate).unwrap();
                CarrierInput::Verified(op, crypto::sign(&by, &text) == signature)
            }
            CarrierEffect::Examine(op, object) => {
                CarrierInput::Examined(op, crypto::is_object(&object).then_some(object))
            }
            CarrierEffect::ReadBody(op, body, Range { start, end }) => {
                let bytes = self.carriers[carrier].bodies.get(&body);
                CarrierInput::BodyRead(op, bytes.map(|bytes| bytes[start as usize..end as usize].to_vec()))
            }
            CarrierEffect::Forget(bodies) => {
                bodies.iter().for_each(|body| drop(self.carriers[carrier].bodies.remove(body)));
                return;
            }
            CarrierEffect::Transmit(session, bytes) => {
                return self.perform_transmit(CARRIERS + carrier, session, bytes);
            }
            CarrierEffect::Close(session) => return self.unlink(CARRIERS + carrier, session),
            CarrierEffect::Respond(_, result) => return assert_eq!(result, Ok(())),
            CarrierEffect::Publish(_) => return,
        };
        self.carrier_input(carrier, input);
    }

    fn commit_for(&mut self, carrier: usize, transaction: HeldTransaction) -> Result<u64, CommitError> {
        let at = &mut self.carriers[carrier];
        if at.failing_commits > 0 {
            at.failing_commits -= 1;
            at.doubtful.push(transaction);
            return Err(CommitError::Io);
        }
        at.doubtful.clear();
        Ok(at.append(transaction))
    }
}

impl CarrierNode {
    fn append(&mut self, transaction: HeldTransaction) -> u64 {
        let first = self.log.last().unwrap().0 + 1;
        self.bodies.extend(transaction.bodies.into_iter().map(|body| (body.id, body.bytes)));
        self.log.extend((first..).zip(transaction.records.iter().cloned()));
        first
    }
}

fn fold(log: &[(u64, HeldRecord)]) -> Held {
    let mut held = Held::default();
    for (number, record) in log {
        held.apply(*number, &HeldRecord::decode(&record.encode().unwrap()).unwrap().unwrap());
    }
    held.take_released();
    held
}
