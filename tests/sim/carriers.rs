//! Carriers in the world, honest ones and others: the real machine, a log that keeps what a disk would keep, and what a carrier
//! may do to those who trust it with their mail.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use runepeer::base::ids::Fingerprint;
use runepeer::base::rng::SeededRng;
use runepeer::base::{BodyId, Onion, OpId, SessionId, Timestamp};
use runepeer::engine::api::RequestId;
use runepeer::engine::carrier::effect::Detached;
use runepeer::engine::carrier::{
    Carrier, CarrierEffect, CarrierInput, CarrierRequest, Held, HeldRecord, HeldTransaction, Terms,
};
use runepeer::engine::io::{CommitError, Sizes};
use runepeer::engine::state::book::ContactStatus;
use runepeer::engine::state::boxes::own::BoxKeys;
use runepeer::engine::{Request, SecretBytes};
use runepeer::mail::Invitation;
use runepeer::wire::mailbox::Policy;

use crate::climate::{DAY, HOUR, MINUTE, SECOND, next_of};
use crate::crypto;
use crate::net::End;
use crate::node::Held as Arriving;
use crate::world::{Event, World};

/// Carriers are numbered from here on where nodes are numbered.
pub(crate) const CARRIERS: usize = 1 << 20;
/// For how long an identification counts, by the number of the carrier.
const POLICIES: [Policy; 3] = [Policy::Session, Policy::Command, Policy::TimeOut(300)];

/// What a carrier does to those who trust it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Honest,
    /// It loses everything when it starts.
    Forgetful,
    /// It starts from what it had long ago: gone mail comes back, new mail is gone.
    Ancient,
    /// It says that it has what it threw away, and that it has not what it kept.
    Liar,
}

/// What a disk keeps.
type Disk = (Vec<(u64, HeldRecord)>, BTreeMap<BodyId, Arc<[u8]>>);

struct Running {
    carrier: Carrier,
    waiting: Vec<(OpId, HeldTransaction)>,
    committing: bool,
    held: BTreeMap<SessionId, VecDeque<Arriving>>,
    open: BTreeSet<SessionId>,
    next_session: u64,
    wake: i64,
}

/// One carrier.
pub(crate) struct CarrierNode {
    onion: Onion,
    fingerprint: Fingerprint,
    pub(crate) manner: Manner,
    present: bool,
    disk: Disk,
    /// What failed and may be there all the same, until something else was committed.
    doubtful: Vec<HeldTransaction>,
    /// What it had once.
    old: Option<Disk>,
    running: Option<Running>,
    life: u32,
    rng: SeededRng,
    invitations: u8,
}

impl CarrierNode {
    fn new(number: usize, seed: u64, now: Timestamp) -> Self {
        let profile = crypto::profile("box", CARRIERS + number, now);
        let (onion, fingerprint) = (profile.public.onion(), profile.public.fingerprint);
        let policy = POLICIES[number % POLICIES.len()];
        let log = vec![
            (1, HeldRecord::CarrierCreated { profile: Box::new(profile) }),
            (2, HeldRecord::IdentificationSet { policy }),
        ];
        Self {
            onion,
            fingerprint,
            manner: Manner::Honest,
            present: true,
            disk: (log, BTreeMap::new()),
            doubtful: Vec::new(),
            old: None,
            running: None,
            life: 0,
            rng: SeededRng::new(seed ^ (0xca00 + number as u64) << 40),
            invitations: 0,
        }
    }

    fn append(&mut self, HeldTransaction { records, bodies }: HeldTransaction) -> u64 {
        let (log, kept) = &mut self.disk;
        let first = log.last().unwrap().0 + 1;
        log.extend((first..).zip(records.iter().cloned()));
        kept.extend(bodies.into_iter().map(|body| (body.id, body.bytes)));
        first
    }

    fn fold(&self) -> Held {
        let mut held = Held::default();
        for (number, record) in &self.disk.0 {
            held.apply(*number, &HeldRecord::decode(&record.encode().unwrap()).unwrap().unwrap());
        }
        held.take_released();
        held
    }

    /// The bytes of everything that it has.
    pub(crate) fn bodies(&self) -> impl Iterator<Item = &Arc<[u8]>> {
        self.disk.1.values()
    }

    /// What holds at any time at an honest one.
    fn check(&self) {
        let Some(running) = &self.running else { return };
        for mailbox in running.carrier.held().mailboxes().values() {
            assert!(mailbox.stored() + mailbox.outstanding() <= mailbox.terms().quota, "a quota is exceeded");
        }
    }
}

impl World {
    /// Carriers come into the world, and some of the people rent boxes there.
    pub(crate) fn add_carriers(&mut self, seed: u64) {
        self.open_carriers(seed);
        for n in 0..self.nodes.len() {
            for c in 0..self.carriers.len() {
                if self.below(3) == 0 {
                    self.rent(n, c);
                }
            }
        }
        self.befriend();
        self.pass(HOUR);
    }

    /// Carriers, at which only these rent a box: by the number of the node and that of the carrier.
    pub(crate) fn add_carriers_for(&mut self, seed: u64, rents: impl Fn(usize, usize) -> bool) {
        self.open_carriers(seed);
        for n in 0..self.nodes.len() {
            (0..self.carriers.len()).filter(|c| rents(n, *c)).for_each(|c| self.rent(n, c));
        }
        self.pass(HOUR);
    }

    fn open_carriers(&mut self, seed: u64) {
        let now = Timestamp::from_millis(self.now);
        for number in 0..self.climate.carriers {
            let carrier = CarrierNode::new(number, seed, now);
            self.by_onion.insert(carrier.onion, CARRIERS + number);
            self.carriers.push(carrier);
            self.start_carrier(number);
        }
    }

    /// Most people carry for others, and some have somebody who carries what is for a contact.
    fn befriend(&mut self) {
        for n in 0..self.nodes.len() {
            let Some(running) = &self.nodes[n].running else { continue };
            let known = running.published.book.contacts();
            let known: Vec<_> =
                known.filter(|it| it.status == ContactStatus::Confirmed).map(|contact| contact.id).collect();
            for &contact in &known {
                let on = self.below(4) > 0;
                self.request(n, Request::AllowForwarding { contact, on });
                let friend = known[self.below(known.len() as u64) as usize];
                if friend != contact && self.below(2) == 0 {
                    self.request(n, Request::ChooseCarrier { contact, friend: Some(friend) });
                }
            }
        }
    }

    fn rent(&mut self, n: usize, c: usize) {
        let expires = Timestamp::from_millis(self.now + 7 * DAY);
        let at = &mut self.carriers[c];
        at.invitations += 1;
        let secret = [at.invitations; 16];
        let address = at.fold().profile().unwrap().public.address.clone();
        let fingerprint = at.fingerprint;
        let terms = Terms { quota: 1 << 30, hold_days: 14 };
        let invite = CarrierRequest::Invite { secrets: vec![secret], terms, expires };
        self.feed_carrier(c, CarrierInput::Request(RequestId(0), invite));
        self.pass(MINUTE);
        let text =
            Invitation { address, fingerprint, secret: Some(secret), expires: Some(expires), carriers: Vec::new() }
                .encode_box();
        let key = crypto::key(2 * CARRIERS + n * 64 + c);
        let own = Fingerprint::from_bytes(key);
        let certificate = crypto::certificate(&own).into();
        let keys = BoxKeys { keys: SecretBytes::new(key.to_vec()), certificate, fingerprint: own };
        self.request(n, Request::RentBox { invitation: text, name: format!("box{c}"), keys });
    }

    /// The bad weather of carriers.
    pub(crate) fn storm_at_carriers(&mut self) {
        for c in 0..self.carriers.len() {
            // Half of them at most.
            if c % 2 == 1 {
                let manners = [Manner::Honest, Manner::Forgetful, Manner::Ancient, Manner::Liar];
                self.carriers[c].manner = manners[self.below(4) as usize];
            }
            let delay = self.between(0, 12 * HOUR);
            self.at(delay, Event::CarrierPresence(c));
            let often = self.climate.crashes.max(5);
            if let Some(delay) = next_of(&mut self.rng, often) {
                self.at(delay, Event::CarrierCrash(c));
            }
        }
    }

    /// Everything is well again at carriers.
    pub(crate) fn calm_at_carriers(&mut self) {
        for c in 0..self.carriers.len() {
            self.carriers[c].manner = Manner::Honest;
            self.carriers[c].present = true;
            self.start_carrier(c);
        }
    }

    pub(crate) fn carrier_is_up(&self, c: usize) -> bool {
        self.carriers.get(c).is_some_and(|carrier| carrier.present && carrier.running.is_some())
    }

    pub(crate) fn carrier_life(&self, c: usize) -> u32 {
        self.carriers.get(c).map_or(0, |carrier| carrier.life)
    }

    pub(crate) fn carrier_presence(&mut self, c: usize) {
        self.note(16, c, 0);
        let here = self.carriers[c].present;
        self.carriers[c].present = !here || self.climate.offline == 0;
        if here && self.climate.offline > 0 {
            for end in self.net.ends_of(CARRIERS + c) {
                self.cut(end);
            }
        }
        if self.climate.offline > 0 {
            let delay = if here { self.between(MINUTE, 6 * HOUR) } else { self.between(HOUR, 3 * DAY) };
            self.at(delay, Event::CarrierPresence(c));
        }
    }

    pub(crate) fn carrier_crash(&mut self, c: usize) {
        self.note(17, c, 0);
        if self.climate.offline == 0 {
            return;
        }
        let often = self.climate.crashes.max(5);
        if let Some(delay) = next_of(&mut self.rng, often) {
            self.at(delay, Event::CarrierCrash(c));
        }
        for end in self.net.ends_of(CARRIERS + c) {
            self.cut(end);
        }
        let kept = self.below(3) as usize;
        let at = &mut self.carriers[c];
        let Some(running) = at.running.take() else { return };
        at.life += 1;
        // Of what was on its way to the disk, the beginning is there.
        let doubtful = std::mem::take(&mut at.doubtful).into_iter();
        for transaction in doubtful.chain(running.waiting.into_iter().map(|(_, transaction)| transaction)).take(kept) {
            at.append(transaction);
        }
        match at.manner {
            Manner::Forgetful => {
                at.disk.0.truncate(1);
                at.disk.1.clear();
            }
            Manner::Ancient => match at.old.take() {
                Some(old) => at.disk = old,
                None => at.old = Some(at.disk.clone()),
            },
            Manner::Honest | Manner::Liar => {}
        }
        let delay = self.between(SECOND, HOUR);
        self.at(delay, Event::CarrierStart(c));
    }

    pub(crate) fn start_carrier(&mut self, c: usize) {
        let now = Timestamp::from_millis(self.now);
        let at = &mut self.carriers[c];
        if at.running.is_some() {
            return;
        }
        at.life += 1;
        let held = at.fold();
        let needed: BTreeSet<BodyId> = held.bodies().collect();
        at.disk.1.retain(|body, _| needed.contains(body));
        let carrier = Carrier::new(held, now).unwrap();
        at.running = Some(Running {
            carrier,
            waiting: Vec::new(),
            committing: false,
            held: BTreeMap::new(),
            open: BTreeSet::new(),
            next_session: 0,
            wake: i64::MAX,
        });
        self.schedule_carrier(c);
    }

    pub(crate) fn accept_at_carrier(&mut self, c: usize, from: End) -> bool {
        let Some(running) = &mut self.carriers[c].running else { return false };
        running.next_session += 1;
        let session = SessionId(running.next_session);
        running.open.insert(session);
        self.net.connect(from, (CARRIERS + c, session), self.now);
        self.feed_carrier(c, CarrierInput::Accepted(session));
        true
    }

    fn feed_carrier(&mut self, c: usize, input: CarrierInput) {
        let now = Timestamp::from_millis(self.now);
        let at = &mut self.carriers[c];
        let Some(running) = &mut at.running else { return };
        let effects = handle(&mut running.carrier, now, &mut at.rng, input);
        at.check();
        self.perform_at_carrier(c, effects);
        self.release_at_carrier(c);
        self.schedule_carrier(c);
    }

    pub(crate) fn carrier_wake(&mut self, c: usize, life: u32) {
        let now = Timestamp::from_millis(self.now);
        let at = &mut self.carriers[c];
        let Some(running) = at.running.as_mut().filter(|running| at.life == life && running.wake <= self.now) else {
            return;
        };
        running.wake = i64::MAX;
        let effects = running.carrier.handle_timeout(now, &mut at.rng);
        self.note(18, c, 0);
        self.perform_at_carrier(c, effects);
        self.schedule_carrier(c);
    }

    fn schedule_carrier(&mut self, c: usize) {
        let now = self.now;
        let at = &mut self.carriers[c];
        let life = at.life;
        let Some(running) = &mut at.running else { return };
        let Some(due) = running.carrier.poll_timeout().map(|due| due.millis().max(now)) else { return };
        if due < running.wake {
            running.wake = due;
            self.at(due - now, Event::CarrierWake(c, life));
        }
    }

    fn perform_at_carrier(&mut self, c: usize, effects: Vec<CarrierEffect>) {
        let own = self.carriers[c].fingerprint;
        for effect in effects {
            let input = match effect {
                CarrierEffect::Commit(op, transaction) => {
                    self.ask_commit_at_carrier(c, op, transaction);
                    continue;
                }
                CarrierEffect::ReadCertificate(op, bytes) => {
                    CarrierInput::CertificateRead(op, crypto::fingerprint_of(&bytes))
                }
                CarrierEffect::Seal(op, content, to) => {
                    let sealed = crypto::seal(&own, &to, &content, Sizes::Box, &mut self.carriers[c].rng);
                    CarrierInput::Sealed(op, sealed)
                }
                CarrierEffect::Open(op, object, by) => CarrierInput::Opened(op, crypto::open_from(&own, &object, &by)),
                CarrierEffect::Verify(op, Detached { text, signature, certificate }) => {
                    let holds =
                        crypto::fingerprint_of(&certificate).is_ok_and(|by| crypto::sign(&by, &text) == signature);
                    CarrierInput::Verified(op, holds)
                }
                CarrierEffect::Examine(op, object) => {
                    CarrierInput::Examined(op, crypto::is_object(&object).then_some(object))
                }
                CarrierEffect::ReadBody(op, body, Range { start, end }) => {
                    let bytes = self.carriers[c].disk.1.get(&body);
                    CarrierInput::BodyRead(op, bytes.map(|bytes| bytes[start as usize..end as usize].to_vec()))
                }
                CarrierEffect::Forget(bodies) => {
                    bodies.iter().for_each(|body| drop(self.carriers[c].disk.1.remove(body)));
                    continue;
                }
                CarrierEffect::Transmit(session, bytes) => {
                    self.transmit_from_carrier((CARRIERS + c, session), bytes);
                    continue;
                }
                CarrierEffect::Close(session) => {
                    if let Some(running) = &mut self.carriers[c].running {
                        running.open.remove(&session);
                        running.held.remove(&session);
                    }
                    self.close_end((CARRIERS + c, session));
                    continue;
                }
                CarrierEffect::Respond(..) | CarrierEffect::Publish(_) => continue,
            };
            let life = self.carriers[c].life;
            let delay = self.between(1, 40);
            self.at(delay, Event::CarrierDone(c, life, Box::new(input)));
        }
    }

    pub(crate) fn carrier_done(&mut self, c: usize, life: u32, input: CarrierInput) {
        if self.carriers[c].life == life {
            self.note(19, c, 0);
            self.feed_carrier(c, input);
        }
    }

    fn ask_commit_at_carrier(&mut self, c: usize, op: OpId, transaction: HeldTransaction) {
        let life = self.carriers[c].life;
        let Some(running) = &mut self.carriers[c].running else { return };
        running.waiting.push((op, transaction));
        if !std::mem::replace(&mut running.committing, true) {
            let delay = self.between(1, 30);
            self.at(delay, Event::CarrierCommit(c, life));
        }
    }

    pub(crate) fn carrier_commit(&mut self, c: usize, life: u32) {
        if self.carriers[c].life != life {
            return;
        }
        let Some(running) = &mut self.carriers[c].running else { return };
        running.committing = false;
        let batch = std::mem::take(&mut running.waiting);
        self.note(20, c, batch.len());
        for (op, transaction) in batch {
            let fails = self.climate.disk_errors > 0 && self.below(10_000) < 4 * self.climate.disk_errors;
            let lies = self.carriers[c].manner == Manner::Liar && self.below(3) == 0;
            let at = &mut self.carriers[c];
            let result = if fails {
                at.doubtful.push(transaction);
                Err(CommitError::Io)
            } else if lies && at.life.is_multiple_of(2) && is_deposit(&transaction) {
                at.doubtful.push(transaction);
                Err(CommitError::NoSpace)
            } else if lies && is_deposit(&transaction) {
                // The number is used up, and nothing else.
                let number = at.disk.0.last().unwrap().0 + 1;
                at.disk.0.push((number, HeldRecord::Served { on: true }));
                Ok(number)
            } else {
                at.doubtful.clear();
                Ok(at.append(transaction))
            };
            self.feed_carrier(c, CarrierInput::Committed(op, result));
        }
    }

    /// Something happens on a session of a carrier; it waits while that reads no further.
    pub(crate) fn arrive_at_carrier(&mut self, c: usize, session: SessionId, what: Arriving) {
        let Some(running) = &mut self.carriers[c].running else { return };
        if running.open.contains(&session) {
            running.held.entry(session).or_default().push_back(what);
            self.release_at_carrier(c);
            self.schedule_carrier(c);
        }
    }

    fn release_at_carrier(&mut self, c: usize) {
        loop {
            let Some(running) = &mut self.carriers[c].running else { return };
            let ready = |session: &SessionId| !running.carrier.is_blocked(*session);
            let Some(session) = running.held.keys().copied().find(|session| ready(session)) else { return };
            let input = match running.held.get_mut(&session).and_then(VecDeque::pop_front) {
                None => {
                    running.held.remove(&session);
                    continue;
                }
                Some(Arriving::Bytes(bytes)) => CarrierInput::Received(session, bytes),
                Some(Arriving::Closed) => {
                    running.open.remove(&session);
                    running.held.remove(&session);
                    CarrierInput::Closed(session)
                }
            };
            let now = Timestamp::from_millis(self.now);
            let at = &mut self.carriers[c];
            let Some(running) = &mut at.running else { return };
            let effects = handle(&mut running.carrier, now, &mut at.rng, input);
            self.perform_at_carrier(c, effects);
        }
    }
}

/// Whoever is given something takes it at once.
fn handle(carrier: &mut Carrier, now: Timestamp, rng: &mut SeededRng, input: CarrierInput) -> Vec<CarrierEffect> {
    let mut effects = carrier.handle(now, rng, input);
    while let Some(session) = carrier.behind().pop() {
        effects.extend(carrier.handle(now, rng, CarrierInput::CaughtUp(session)));
    }
    effects
}

fn is_deposit(transaction: &HeldTransaction) -> bool {
    transaction.records.iter().any(|record| matches!(record, HeldRecord::Deposited { .. }))
}
