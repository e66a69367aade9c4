//! The shell of a carrier's machine: it performs the machine's effects.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use tokio::sync::watch;

use super::super::keys::KeyChain;
use super::{Answer, Asked};
use crate::base::{ClockStep, SessionId, Timestamp, limits};
use crate::daemon::runtime::clock::now;
use crate::daemon::runtime::driver::{Hands, Machine, Shell};
use crate::daemon::runtime::folded::encoded;
use crate::daemon::runtime::sessions::Heard;
use crate::engine::api::RequestId;
use crate::engine::carrier::effect::Detached;
use crate::engine::carrier::{Carrier, CarrierEffect, CarrierInput, CarrierStatus, Held, HeldTransaction};
use crate::engine::io::{Durability, Refusal, Sizes};
use crate::pgp;
use crate::store::{Log, OsRng};

/// The parts with which a carrier's effects are performed.
pub(super) struct CarrierShell {
    log: Arc<Log>,
    keys: Arc<KeyChain>,
    status: watch::Sender<CarrierStatus>,
    /// Whether the onion is to be published.
    serves: watch::Sender<bool>,
    answers: BTreeMap<RequestId, Answer>,
    next_request: u64,
}

impl CarrierShell {
    /// A shell; `status` of the carrier and whether its onion is wanted are published through these channels.
    pub(super) fn new(
        log: Arc<Log>,
        keys: KeyChain,
        status: watch::Sender<CarrierStatus>,
        serves: watch::Sender<bool>,
    ) -> Self {
        Self { log, keys: Arc::new(keys), status, serves, answers: BTreeMap::new(), next_request: 0 }
    }
}

impl Shell for CarrierShell {
    type Machine = Carrier;
    type Request = Asked;

    const BACKLOG: usize = limits::OUTPUT_WAITING;
    const RESERVE: u64 = limits::CARRIER_RESERVE_BYTES;

    fn log(&self) -> &Arc<Log> {
        &self.log
    }

    fn request(&mut self, asked: Asked) -> CarrierInput {
        self.next_request += 1;
        let id = RequestId(self.next_request);
        self.answers.insert(id, asked.answer);
        CarrierInput::Request(id, asked.request)
    }

    fn perform(&mut self, effect: CarrierEffect, hands: &mut Hands<CarrierInput>) {
        let keys = || Arc::clone(&self.keys);
        match effect {
            CarrierEffect::Commit(op, HeldTransaction { records, bodies }) => {
                let records = encoded::<Held>(&records);
                hands.commit(records, bodies, Durability::Synced, move |result| CarrierInput::Committed(op, result));
            }
            // If our own code fails here, that says nothing about the certificate.
            CarrierEffect::ReadCertificate(op, certificate) => {
                let keys = keys();
                let read = move || CarrierInput::CertificateRead(op, keys.fingerprint_of(&certificate));
                hands.compute(read, CarrierInput::CertificateRead(op, Err(Refusal::Temporary)));
            }
            CarrierEffect::Seal(op, content, recipient) => {
                let keys = keys();
                let seal = move || CarrierInput::Sealed(op, keys.seal(&content, &recipient, Sizes::All, now()));
                hands.compute(seal, CarrierInput::Sealed(op, Err(Refusal::Temporary)));
            }
            CarrierEffect::Open(op, object, author) => {
                let keys = keys();
                let open = move || CarrierInput::Opened(op, keys.open_from(&object, &author, now()));
                hands.compute(open, CarrierInput::Opened(op, Err(Refusal::Temporary)));
            }
            CarrierEffect::Verify(op, Detached { text, signature, certificate }) => {
                let keys = keys();
                let verify = move || CarrierInput::Verified(op, keys.verify_statement(&text, &signature, &certificate));
                hands.compute(verify, CarrierInput::Verified(op, false));
            }
            CarrierEffect::Examine(op, object) => {
                let examine = move || {
                    let is_object = pgp::gate::outer(&object).is_ok();
                    CarrierInput::Examined(op, is_object.then_some(object))
                };
                hands.compute(examine, CarrierInput::Examined(op, None));
            }
            CarrierEffect::ReadBody(op, body, Range { start, end }) => {
                let log = Arc::clone(&self.log);
                let read = move || {
                    let read = log.read_body(body, start..end);
                    let read =
                        read.inspect_err(|error| tracing::error!(%error, "a held object cannot be read from the disk"));
                    CarrierInput::BodyRead(op, read.ok())
                };
                hands.wait(read, CarrierInput::BodyRead(op, None));
            }
            CarrierEffect::Forget(bodies) => self.log.forget(bodies),
            CarrierEffect::Transmit(session, bytes) => hands.sessions.transmit(session, bytes),
            CarrierEffect::Close(session) => hands.sessions.close(session),
            CarrierEffect::Respond(request, result) => {
                if let Some(answer) = self.answers.remove(&request) {
                    let _ = answer.send(result);
                }
            }
            CarrierEffect::Publish(status) => {
                self.serves.send_if_modified(|serves| std::mem::replace(serves, status.serves) != status.serves);
                self.status.send_replace(status);
            }
        }
    }
}

impl Machine for Carrier {
    type Input = CarrierInput;
    type Effect = CarrierEffect;
    type State = Held;

    fn accepted(session: SessionId) -> CarrierInput {
        CarrierInput::Accepted(session)
    }

    fn clock_set(step: ClockStep) -> CarrierInput {
        CarrierInput::ClockSet(step)
    }

    fn disk_low(low: bool) -> CarrierInput {
        CarrierInput::DiskLow(low)
    }

    fn handle(&mut self, input: CarrierInput) -> Vec<CarrierEffect> {
        Self::handle(self, now(), &mut OsRng, input)
    }

    fn handle_timeout(&mut self) -> Vec<CarrierEffect> {
        Self::handle_timeout(self, now(), &mut OsRng)
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        Self::poll_timeout(self)
    }

    fn is_blocked(&self, session: SessionId) -> bool {
        Self::is_blocked(self, session)
    }

    fn behind(&self) -> Vec<SessionId> {
        Self::behind(self)
    }

    fn caught_up(&mut self, session: SessionId) -> Vec<CarrierEffect> {
        Self::handle(self, now(), &mut OsRng, CarrierInput::CaughtUp(session))
    }

    fn state(&self) -> &Held {
        self.held()
    }
}

impl From<Heard> for CarrierInput {
    fn from(heard: Heard) -> Self {
        match heard {
            Heard::Bytes(session, bytes) => Self::Received(session, bytes),
            // A carrier dials nobody, so a dialled session counts as closed.
            Heard::Closed(session) | Heard::Dialled(session, _) => Self::Closed(session),
        }
    }
}
