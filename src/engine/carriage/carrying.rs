//! Bringing what we carry to its receiver: dialled on circuits of its own → read from the disk → handed over with the
//! authenticator that came with it → what became of it noted. One object in a session; what else waits for the same node
//! follows. No answer means neither: it is brought again, and the receiver knows it by its content.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::fold::{Carriage, Fate, Load, ObjectHash};
use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::{ClockStep, ContactId, Onion, SessionId, Timestamp};
use crate::engine::effect::{DialError, Effect};
use crate::engine::identity::{Identity, Pending, Then};
use crate::engine::record::Record;
use crate::engine::schedule::within;
use crate::engine::session::{self, Event, Initiator, Job, Ticket, Way};
use crate::engine::slots::{Slots, Standing, Waiting};
use crate::engine::state::AttemptError;
use crate::engine::turn::{Turn, attempt_error};
use crate::wire::{Disposition, Importance, digest};

/// Certificates that a receiver may show one after the other before an object is taken.
const MOST_RENEWED: u32 = 2;

/// When which node is dialled, and what is being given up. All of it is memory, made anew at a start.
#[derive(Debug)]
pub(in super::super) struct Rounds {
    turns: BTreeMap<Onion, Turn>,
    slots: Slots,
    standing: Standing<Onion>,
    /// What each node refused for now, one after the other, since it last took something or was left alone.
    refusals: BTreeMap<Onion, u32>,
    /// When each object was last brought, as far as that came to nothing: others of the same node come first.
    tried: BTreeMap<Key, Timestamp>,
    /// When something of each contact was last on its way.
    served: BTreeMap<ContactId, Timestamp>,
    /// What has expired and is being noted so; where that failed, until when it is left alone.
    ending: BTreeMap<Key, Option<Timestamp>>,
}

/// Whose object it is, and which.
type Key = (ContactId, ObjectHash);

impl Rounds {
    /// At a start: each node soon, at a random moment of its own.
    pub(in super::super) fn at_start(carriage: &Carriage, now: Timestamp, rng: &mut dyn Rng) -> Self {
        let mut rounds = Self {
            turns: BTreeMap::new(),
            slots: Slots::new(limits::PARALLEL_CARRIAGE),
            standing: Standing::new(),
            refusals: BTreeMap::new(),
            tried: BTreeMap::new(),
            served: BTreeMap::new(),
            ending: BTreeMap::new(),
        };
        for load in carriage.loads() {
            rounds.turns.entry(load.to.onion()).or_insert_with(|| Turn::at(within(now, limits::START_SPREAD, rng)));
        }
        rounds
    }

    /// There is something for a node.
    pub(super) fn wants(&mut self, onion: Onion, now: Timestamp) {
        self.turns.entry(onion).or_insert_with(|| Turn::at(now));
    }

    /// Those who wait for a dial.
    fn waiting(&self) -> Vec<Waiting<Onion>> {
        let idle = self.turns.iter().filter(|(_, turn)| turn.session.is_none());
        let waiting = idle.map(|(&key, turn)| {
            let (class, failed, next) = (self.standing.of(&key), turn.failed, turn.next);
            Waiting { class, failed, next, key }
        });
        waiting.collect()
    }

    /// The session that is one too many.
    pub(in super::super) fn surplus(&self) -> Option<SessionId> {
        self.slots.surplus()
    }

    /// Of the nodes whose turn it would be, those for which nothing is there are forgotten.
    fn forget_idle(&mut self, now: Timestamp, wanted: &BTreeSet<Onion>) {
        self.turns.retain(|onion, turn| !turn.due(now) || wanted.contains(onion));
        self.refusals.retain(|onion, _| self.turns.contains_key(onion));
    }

    /// When something is due.
    pub(in super::super) fn poll(&self) -> Option<Timestamp> {
        self.slots.poll(&self.waiting())
    }

    /// The clock was set.
    pub(in super::super) fn clock_set(&mut self, by: ClockStep, now: Timestamp, rng: &mut dyn Rng) {
        self.turns.values_mut().for_each(|turn| turn.clock_set(by, now, rng));
        self.slots.clock_set(by);
    }

    fn ended(&mut self, onion: Onion, problem: Option<AttemptError>, now: Timestamp, rng: &mut dyn Rng) {
        let Some(turn) = self.turns.get_mut(&onion) else { return };
        turn.session.iter().for_each(|session| self.slots.ended(*session));
        match problem {
            // Only what it did itself counts against it.
            Some(AttemptError::Offline | AttemptError::Local) => {}
            Some(_) => self.standing.missed(onion),
            None => self.standing.answered(onion),
        }
        let refusals = self.refusals.entry(onion).or_default();
        match problem {
            None => *turn = Turn::at(now),
            // It may well take the next one.
            Some(AttemptError::Later) if *refusals < limits::CARRIAGE_REFUSALS => {
                *refusals += 1;
                turn.session = None;
                turn.next = now;
                return;
            }
            Some(error) => turn.failed(error, now, rng),
        }
        self.refusals.remove(&onion);
    }
}

/// One session that brings one object.
pub(in super::super) struct Carrying {
    contact: ContactId,
    object: ObjectHash,
    onion: Onion,
    /// `None` until the node answers.
    machine: Option<Initiator>,
    /// How often the receiver showed another certificate.
    renewed: u32,
    /// What became of it is being noted.
    settling: bool,
}

impl Carrying {
    pub(in super::super) fn poll_timeout(&self) -> Option<Timestamp> {
        self.machine.as_ref()?.poll_timeout()
    }

    pub(in super::super) fn clock_set(&mut self, step: ClockStep) {
        if let Some(machine) = &mut self.machine {
            machine.clock_set(step);
        }
    }
}

impl Identity {
    /// Dials the nodes that are due.
    pub(in super::super) fn carry_what_is_due(&mut self, now: Timestamp) {
        let wanted = self.idle_loads().map(|load| load.to.onion()).collect();
        self.rounds.forget_idle(now, &wanted);
        while let Some((contact, object, onion)) = self.next_load(now) {
            self.rounds.served.insert(contact, now);
            let session = self.new_session();
            let bytes = self.state.carriage().load(contact, &object).map_or(0, |load| load.size.into());
            self.rounds.slots.begin(session, self.rounds.standing.of(&onion), bytes, now);
            if let Some(turn) = self.rounds.turns.get_mut(&onion) {
                turn.session = Some(session);
            }
            let carrying = Carrying { contact, object, onion, machine: None, renewed: 0, settling: false };
            self.carrying.insert(session, carrying);
            self.effect(Effect::Dial(session, onion, None));
        }
    }

    /// What is brought next: of all for nodes that are due, something of the contact who was served the longest ago, so that
    /// nobody's many keep back somebody's one; then for the node that is dialled first ([`Slots`]), and what was tried the longest
    /// ago.
    fn next_load(&self, now: Timestamp) -> Option<(ContactId, ObjectHash, Onion)> {
        let open = self.rounds.slots.open(self.rounds.waiting(), now);
        let open: BTreeMap<_, _> = open.into_iter().map(|one| (one.key, one)).collect();
        let due = self.idle_loads().filter_map(|load| {
            let one = open.get(&load.to.onion())?;
            let tried = self.rounds.tried.get(&(load.contact, load.object));
            Some(((self.rounds.served.get(&load.contact), *one, tried), load))
        });
        let (_, load) = due.min_by_key(|(order, _)| *order)?;
        Some((load.contact, load.object, load.to.onion()))
    }

    /// Gives up what could not be brought in time.
    pub(in super::super) fn expire_loads(&mut self, now: Timestamp) {
        let over = self.idle_loads().filter(|load| self.ends(load) <= now);
        let over: Vec<_> = over.map(|load| (load.contact, load.object)).collect();
        for (contact, object) in over {
            self.rounds.ending.insert((contact, object), None);
            let record = Record::LoadEnded { contact, object, fate: Fate::Expired };
            self.commit(vec![record], Vec::new(), Then::LoadExpired(contact, object));
        }
    }

    /// When the next of what we carry expires.
    pub(in super::super) fn loads_expire(&self) -> Option<Timestamp> {
        self.idle_loads().map(|load| self.ends(load)).min()
    }

    fn ends(&self, load: &Load) -> Timestamp {
        let again = self.rounds.ending.get(&(load.contact, load.object)).copied().flatten();
        self.schedule.not_before(load.until).max(again.unwrap_or(load.until))
    }

    /// What is neither on its way nor being given up.
    fn idle_loads(&self) -> impl Iterator<Item = &Arc<Load>> {
        let under_way: Vec<Key> = self.carrying.values().map(|carrying| (carrying.contact, carrying.object)).collect();
        let idle = move |load: &&Arc<Load>| {
            let key = (load.contact, load.object);
            !under_way.contains(&key) && self.rounds.ending.get(&key) != Some(&None)
        };
        self.state.carriage().loads().filter(idle)
    }

    /// That it expired is noted, or is not.
    pub(in super::super) fn load_expired(
        &mut self,
        now: Timestamp,
        contact: ContactId,
        object: ObjectHash,
        failed: bool,
    ) {
        if failed {
            self.rounds.ending.insert((contact, object), Some(now.plus(limits::RETRY_LOCAL)));
        } else {
            self.rounds.ending.remove(&(contact, object));
            self.rounds.tried.remove(&(contact, object));
        }
    }

    pub(in super::super) fn carrying_dialled(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        session: SessionId,
        result: Result<(), DialError>,
    ) {
        let Some(carrying) = self.carrying.get_mut(&session) else { return };
        if let Err(error) = result {
            return self.end_carrying(now, rng, session, Some(attempt_error(error)));
        }
        carrying.machine = Some(Initiator::new(now));
        let load = self.state.carriage().load(carrying.contact, &carrying.object);
        let Some(body) = load.map(|load| load.body) else {
            return self.end_carrying(now, rng, session, None);
        };
        let op = self.operation(Pending::Load(session));
        self.effect(Effect::ReadBody(op, body));
    }

    /// The object was read from the disk, or cannot be.
    pub(in super::super) fn load_read(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        session: SessionId,
        bytes: Option<Vec<u8>>,
    ) {
        let Some(carrying) = self.carrying.get_mut(&session) else { return };
        let load = self.state.carriage().load(carrying.contact, &carrying.object).cloned();
        let (Some(load), Some(machine)) = (load, &mut carrying.machine) else {
            return self.end_carrying(now, rng, session, Some(AttemptError::Broken));
        };
        // The disk may give it later; what it never gives expires.
        let Some(bytes) = bytes else {
            return self.end_carrying(now, rng, session, Some(AttemptError::Later));
        };
        // What was altered here the receiver could not open.
        if digest(&bytes) != load.object {
            return self.settle_load(now, session, Fate::Expired);
        }
        machine.send(now, Ticket(1), job(&load, bytes.into()));
        self.drive_carrying(now, rng, session);
    }

    fn drive_carrying(&mut self, now: Timestamp, rng: &mut dyn Rng, session: SessionId) {
        let events = self.carrying.get_mut(&session).and_then(|carrying| carrying.machine.as_mut());
        for event in events.map(Initiator::take_events).unwrap_or_default() {
            self.carrying_event(now, rng, session, event);
        }
        let Some(machine) = self.carrying.get_mut(&session).and_then(|carrying| carrying.machine.as_mut()) else {
            return;
        };
        let output = machine.take_output();
        self.transmit(session, output);
    }

    fn carrying_event(&mut self, now: Timestamp, rng: &mut dyn Rng, session: SessionId, event: Event) {
        let Some(carrying) = self.carrying.get_mut(&session).filter(|carrying| !carrying.settling) else { return };
        match event {
            // It was sealed to an older subkey, which may still open it.
            Event::Certificate { ticket, wanted: true, .. } => {
                carrying.renewed += 1;
                match &mut carrying.machine {
                    Some(machine) if carrying.renewed <= MOST_RENEWED => machine.resume(now, ticket),
                    _ => self.end_carrying(now, rng, session, Some(AttemptError::Broken)),
                }
            }
            // A load always has its object: none is asked for.
            Event::Certificate { .. } | Event::Wanted { .. } => {}
            Event::Outcome { outcome: session::Outcome::Accepted, .. } => {
                self.settle_load(now, session, Fate::Delivered)
            }
            Event::Outcome { outcome: session::Outcome::Refused(code), .. } => match code.disposition() {
                Disposition::Permanent => self.settle_load(now, session, Fate::Refused),
                _ => self.end_carrying(now, rng, session, Some(AttemptError::Later)),
            },
            // Only its author can seal it to another certificate.
            Event::Outcome { outcome: session::Outcome::Outdated, .. } => self.settle_load(now, session, Fate::Refused),
            Event::Failed { .. } => self.end_carrying(now, rng, session, Some(AttemptError::Broken)),
        }
    }

    fn settle_load(&mut self, now: Timestamp, session: SessionId, fate: Fate) {
        let Some(carrying) = self.carrying.get_mut(&session) else { return };
        carrying.settling = true;
        self.rounds.slots.delivered(session, now);
        let record = Record::LoadEnded { contact: carrying.contact, object: carrying.object, fate };
        self.commit(vec![record], Vec::new(), Then::Carried(session));
    }

    /// What became of it is noted; or is not, and then it is brought again.
    pub(in super::super) fn carried(&mut self, now: Timestamp, rng: &mut dyn Rng, session: SessionId, failed: bool) {
        self.end_carrying(now, rng, session, failed.then_some(AttemptError::Local));
    }

    pub(in super::super) fn carrying_received(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        session: SessionId,
        bytes: &[u8],
    ) {
        if let Some(machine) = self.carrying.get_mut(&session).and_then(|carrying| carrying.machine.as_mut()) {
            machine.handle(now, bytes);
            self.drive_carrying(now, rng, session);
        }
    }

    /// The connection ended.
    pub(in super::super) fn carrying_closed(&mut self, now: Timestamp, rng: &mut dyn Rng, session: SessionId) {
        if let Some(machine) = self.carrying.get_mut(&session).and_then(|carrying| carrying.machine.as_mut()) {
            machine.disconnected();
            self.drive_carrying(now, rng, session);
        }
        if self.carrying.get(&session).is_some_and(|carrying| !carrying.settling) {
            self.end_carrying(now, rng, session, Some(AttemptError::Broken));
        }
    }

    /// Lets sessions see that time has passed.
    pub(in super::super) fn carrying_timeouts(&mut self, now: Timestamp, rng: &mut dyn Rng) {
        let due = |carrying: &Carrying| carrying.poll_timeout().is_some_and(|at| at <= now);
        let sessions: Vec<_> =
            self.carrying.iter().filter(|(_, carrying)| due(carrying)).map(|(&session, _)| session).collect();
        for session in sessions {
            if let Some(machine) = self.carrying.get_mut(&session).and_then(|carrying| carrying.machine.as_mut()) {
                machine.handle_timeout(now);
            }
            self.drive_carrying(now, rng, session);
        }
    }

    pub(in super::super) fn end_carrying(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        session: SessionId,
        problem: Option<AttemptError>,
    ) {
        let Some(mut carrying) = self.carrying.remove(&session) else { return };
        if let Some(machine) = &mut carrying.machine {
            machine.finish(now);
            let output = machine.take_output();
            self.transmit(session, output);
            self.effect(Effect::Close(session));
        }
        let key = (carrying.contact, carrying.object);
        if problem.is_some() && self.state.carriage().load(key.0, &key.1).is_some() {
            self.rounds.tried.insert(key, now);
        } else {
            self.rounds.tried.remove(&key);
        }
        self.rounds.ended(carrying.onion, problem, now, rng);
    }
}

fn job(load: &Load, object: Arc<[u8]>) -> Job {
    let importance = if load.important { Importance::High } else { Importance::Normal };
    let (to, certificate, way) = (load.to.clone(), load.certificate, Way::Carrying(load.onward));
    Job { to, certificate, object: Some(object), auth: None, importance, way }
}
