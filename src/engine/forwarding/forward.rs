//! Bringing forwarded objects to their receivers. One session brings one object: dialled on circuits of its own → read
//! from the disk → handed over with the authenticator that came with it → its fate noted. The other objects for the
//! same node follow in sessions of their own. An object without an answer is brought again: the receiver recognises it
//! by its content.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::base::limits;
use crate::base::rng::{Rng, within};
use crate::base::{ClockStep, ContactId, Onion, OpId, SessionId, Timestamp};
use crate::engine::context::{Completion, Context, Owner, Room};
use crate::engine::deliver::Deliver;
use crate::engine::deliver::retry::Retry;
use crate::engine::deliver::slots::{Slots, Standing, Waiting};
use crate::engine::dialled::{Dialled, Line};
use crate::engine::io::Effect;
use crate::engine::session::{self, DeliveryClient, Event, Job, Ticket, Way};
use crate::engine::state::forwarding::{Fate, Forwarded, Forwarding, ObjectHash};
use crate::engine::state::record::{ForwardingRecord, Record};
use crate::engine::state::{AttemptError, State};
use crate::wire::{Disposition, Importance, digest};

/// How many certificates a receiver may show one after the other before it takes an object.
const MOST_RENEWED: u32 = 2;

/// Which node is dialled when, and which objects are being given up. It is only in memory, and is made anew at each
/// start.
#[derive(Debug)]
pub(in crate::engine) struct ForwardSchedule {
    retries: BTreeMap<Onion, Retry>,
    slots: Slots,
    standing: Standing<Onion>,
    /// How many objects each node refused for now, one after the other, since it last took one or was left alone.
    refusals: BTreeMap<Onion, u32>,
    /// When each object was last brought in vain: other objects for the same node come first.
    tried: BTreeMap<Key, Timestamp>,
    /// When an object of each contact was last on its way.
    served: BTreeMap<ContactId, Timestamp>,
    /// Objects that have expired while a commit notes it; after a commit that failed, until when the object is left
    /// alone.
    ending: BTreeMap<Key, Option<Timestamp>>,
    /// The commits that note that an object has expired.
    expiring: BTreeMap<OpId, Key>,
    /// The objects that sessions are bringing.
    under_way: BTreeSet<Key>,
}

/// The contact that gave an object, and its hash.
type Key = (ContactId, ObjectHash);

impl ForwardSchedule {
    /// At a start: each node soon, at a random moment of its own.
    pub(in crate::engine) fn at_start(forwarding: &Forwarding, now: Timestamp, rng: &mut dyn Rng) -> Self {
        let mut schedule = Self {
            retries: BTreeMap::new(),
            slots: Slots::new(limits::PARALLEL_CARRIAGE),
            standing: Standing::new(),
            refusals: BTreeMap::new(),
            tried: BTreeMap::new(),
            served: BTreeMap::new(),
            ending: BTreeMap::new(),
            expiring: BTreeMap::new(),
            under_way: BTreeSet::new(),
        };
        for forwarded in forwarding.objects() {
            schedule
                .retries
                .entry(forwarded.to.onion())
                .or_insert_with(|| Retry::at(within(now, limits::START_SPREAD, rng)));
        }
        schedule
    }

    /// There is an object for a node.
    pub(in crate::engine) fn wants(&mut self, onion: Onion, now: Timestamp) {
        self.retries.entry(onion).or_insert_with(|| Retry::at(now));
    }

    /// The nodes that wait for a dial.
    fn waiting(&self) -> Vec<Waiting<Onion>> {
        let idle = self.retries.iter().filter(|(_, retry)| retry.session.is_none());
        let waiting = idle.map(|(&key, retry)| {
            let (class, failed, next) = (self.standing.of(&key), retry.failed, retry.next);
            Waiting { class, failed, next, key }
        });
        waiting.collect()
    }

    /// The session that is one too many.
    pub(in crate::engine) fn surplus(&self) -> Option<SessionId> {
        self.slots.surplus()
    }

    /// Forgets the nodes that are due and for which there is no object.
    fn forget_idle(&mut self, now: Timestamp, wanted: &BTreeSet<Onion>) {
        self.retries.retain(|onion, retry| !retry.due(now) || wanted.contains(onion));
        self.refusals.retain(|onion, _| self.retries.contains_key(onion));
    }

    /// When something is due.
    pub(in crate::engine) fn poll(&self) -> Option<Timestamp> {
        self.slots.poll(&self.waiting())
    }

    /// The clock was set.
    pub(in crate::engine) fn clock_set(&mut self, by: ClockStep, now: Timestamp, rng: &mut dyn Rng) {
        self.retries.values_mut().for_each(|retry| retry.clock_set(by, now, rng));
        self.slots.clock_set(by);
    }

    /// The network is back after it was gone.
    pub(in crate::engine) fn network_back(&mut self, gone: Duration, now: Timestamp, rng: &mut dyn Rng) {
        let failed = self.retries.values_mut().filter(|retry| retry.last_error.is_some());
        failed.for_each(|retry| retry.network_back(gone, now, rng));
        self.standing.forget_missed();
    }

    fn ended(&mut self, onion: Onion, problem: Option<AttemptError>, now: Timestamp, rng: &mut dyn Rng) {
        let Some(retry) = self.retries.get_mut(&onion) else { return };
        retry.session.iter().for_each(|session| self.slots.ended(*session));
        match problem {
            // Only the node's own failures count against it.
            Some(AttemptError::Offline | AttemptError::Local) => {}
            Some(_) => self.standing.missed(onion),
            None => self.standing.answered(onion),
        }
        let refusals = self.refusals.entry(onion).or_default();
        match problem {
            None => *retry = Retry::at(now),
            // The node may well take the next object.
            Some(AttemptError::Later) if *refusals < limits::CARRIAGE_REFUSALS => {
                *refusals += 1;
                retry.session = None;
                retry.next = now;
                return;
            }
            Some(error) => retry.failed(error, now, rng),
        }
        self.refusals.remove(&onion);
    }
}

/// One session that brings one object.
pub(in crate::engine) struct ForwardTask {
    line: Line<DeliveryClient>,
    contact: ContactId,
    object: ObjectHash,
    onion: Onion,
    /// How often the receiver showed another certificate.
    renewed: u32,
    /// Whether its fate is being noted.
    settling: bool,
}

impl ForwardSchedule {
    /// Dials the next node that is due; `None` if no node is due, or no place is free.
    pub(in crate::engine) fn next(&mut self, cx: &mut Context<'_>) -> Option<ForwardTask> {
        let wanted = self.idle_objects(cx.state).map(|forwarded| forwarded.to.onion()).collect();
        self.forget_idle(cx.now, &wanted);
        let (contact, object, onion) = self.next_object(cx.state, cx.now)?;
        self.served.insert(contact, cx.now);
        self.under_way.insert((contact, object));
        let line = Line::dial(cx.out, onion, None);
        let bytes = cx.state.forwarding().object(contact, &object).map_or(0, |forwarded| forwarded.size.into());
        self.slots.begin(line.session(), self.standing.of(&onion), bytes, cx.now);
        if let Some(retry) = self.retries.get_mut(&onion) {
            retry.session = Some(line.session());
        }
        Some(ForwardTask { line, contact, object, onion, renewed: 0, settling: false })
    }

    /// The object that is brought next, of all those for nodes that are due: one of the contact that was served the
    /// longest ago, so that the many objects of one contact do not keep back the only one of another; then one for the
    /// node that is dialled first ([`Slots`]); then the one that was tried the longest ago.
    fn next_object(&self, state: &State, now: Timestamp) -> Option<(ContactId, ObjectHash, Onion)> {
        let open = self.slots.open(self.waiting(), now);
        let open: BTreeMap<_, _> = open.into_iter().map(|one| (one.key, one)).collect();
        let due = self.idle_objects(state).filter_map(|forwarded| {
            let one = open.get(&forwarded.to.onion())?;
            let tried = self.tried.get(&(forwarded.contact, forwarded.object));
            Some(((self.served.get(&forwarded.contact), *one, tried), forwarded))
        });
        let (_, forwarded) = due.min_by_key(|(order, _)| *order)?;
        Some((forwarded.contact, forwarded.object, forwarded.to.onion()))
    }

    /// Gives up objects that were not brought in time. Nothing ends before the schedule trusts the clock.
    pub(in crate::engine) fn expire(&mut self, cx: &mut Context<'_>, deliver: &Deliver) {
        let over = self.idle_objects(cx.state).filter(|forwarded| self.expires(deliver, forwarded) <= cx.now);
        let over: Vec<_> = over.map(|forwarded| (forwarded.contact, forwarded.object)).collect();
        for (contact, object) in over {
            self.ending.insert((contact, object), None);
            let record = Record::Forwarding(ForwardingRecord::ForwardedEnded { contact, object, fate: Fate::Expired });
            let op = cx.out.commit(Owner::Room(Room::Forwarding), record);
            self.expiring.insert(op, (contact, object));
        }
    }

    /// When the next object expires.
    pub(in crate::engine) fn next_expiry(&self, state: &State, deliver: &Deliver) -> Option<Timestamp> {
        self.idle_objects(state).map(|forwarded| self.expires(deliver, forwarded)).min()
    }

    fn expires(&self, deliver: &Deliver, forwarded: &Forwarded) -> Timestamp {
        let again = self.ending.get(&(forwarded.contact, forwarded.object)).copied().flatten();
        deliver.not_before(forwarded.until).max(again.unwrap_or(forwarded.until))
    }

    /// The objects that are neither on their way nor being given up.
    fn idle_objects<'s>(&'s self, state: &'s State) -> impl Iterator<Item = &'s Arc<Forwarded>> {
        let idle = move |forwarded: &&Arc<Forwarded>| {
            let key = (forwarded.contact, forwarded.object);
            !self.under_way.contains(&key) && self.ending.get(&key) != Some(&None)
        };
        state.forwarding().objects().filter(idle)
    }

    /// The commit that notes that an object has expired succeeded or failed.
    pub(in crate::engine) fn completed(&mut self, cx: &mut Context<'_>, op: OpId, completion: Completion) {
        let Some(key) = self.expiring.remove(&op) else { return };
        if let Completion::Committed(Err(_)) = completion {
            self.ending.insert(key, Some(cx.now.plus(limits::RETRY_LOCAL)));
        } else {
            self.ending.remove(&key);
            self.tried.remove(&key);
        }
    }
}

impl Dialled for ForwardTask {
    type Machine = DeliveryClient;
    type Rooms<'r> = ForwardSchedule;

    fn line(&self) -> &Line<DeliveryClient> {
        &self.line
    }

    fn line_mut(&mut self) -> &mut Line<DeliveryClient> {
        &mut self.line
    }

    fn dialled(&mut self, cx: &mut Context<'_>, schedule: &mut ForwardSchedule) {
        self.line.connected(DeliveryClient::new(cx.now));
        let forwarded = cx.state.forwarding().object(self.contact, &self.object);
        let Some(body) = forwarded.map(|forwarded| forwarded.body) else { return self.end(cx, schedule, None) };
        let op = cx.out.operation(Owner::Task(self.line.session()));
        cx.out.effect(Effect::ReadBody(op, body));
    }

    fn completed(&mut self, cx: &mut Context<'_>, schedule: &mut ForwardSchedule, _: OpId, completion: Completion) {
        match completion {
            Completion::BodyRead(bytes) => self.read(cx, schedule, bytes),
            // The fate of the object is noted; if that failed, the object is brought again.
            Completion::Committed(result) => self.end(cx, schedule, result.err().map(|_| AttemptError::Local)),
            _ => {}
        }
    }

    fn event(&mut self, cx: &mut Context<'_>, schedule: &mut ForwardSchedule, event: Event) {
        if self.settling {
            return;
        }
        match event {
            // The object was sealed to an older subkey, which may still open it.
            Event::Certificate { ticket, wanted: true, .. } => {
                self.renewed += 1;
                match self.line.machine() {
                    Some(machine) if self.renewed <= MOST_RENEWED => machine.resume(cx.now, ticket),
                    _ => self.end(cx, schedule, Some(AttemptError::Broken)),
                }
            }
            // A job here always has its object, so none is asked for.
            Event::Certificate { .. } | Event::Wanted { .. } => {}
            Event::Outcome { outcome: session::Outcome::Accepted, .. } => self.settle(cx, schedule, Fate::Delivered),
            Event::Outcome { outcome: session::Outcome::Refused(code), .. } => match code.disposition() {
                Disposition::Permanent => self.settle(cx, schedule, Fate::Refused),
                _ => self.end(cx, schedule, Some(AttemptError::Later)),
            },
            // Only the author can seal the object to another certificate.
            Event::Outcome { outcome: session::Outcome::Outdated, .. } => self.settle(cx, schedule, Fate::Refused),
            Event::Failed { .. } => self.end(cx, schedule, Some(AttemptError::Broken)),
        }
    }

    fn closed(&mut self, cx: &mut Context<'_>, schedule: &mut ForwardSchedule) {
        if !self.settling {
            self.end(cx, schedule, Some(AttemptError::Broken));
        }
    }

    fn ended(&mut self, cx: &mut Context<'_>, schedule: &mut ForwardSchedule, problem: Option<AttemptError>) {
        let key = (self.contact, self.object);
        schedule.under_way.remove(&key);
        if problem.is_some() && cx.state.forwarding().object(key.0, &key.1).is_some() {
            schedule.tried.insert(key, cx.now);
        } else {
            schedule.tried.remove(&key);
        }
        schedule.ended(self.onion, problem, cx.now, cx.rng);
    }
}

impl ForwardTask {
    /// The object was read from the disk, or cannot be.
    fn read(&mut self, cx: &mut Context<'_>, schedule: &mut ForwardSchedule, bytes: Option<Vec<u8>>) {
        let forwarded = cx.state.forwarding().object(self.contact, &self.object).cloned();
        let (Some(forwarded), true) = (forwarded, self.line.is_usable()) else {
            return self.end(cx, schedule, Some(AttemptError::Broken));
        };
        // The disk may give the object later; if it never does, the object expires.
        let Some(bytes) = bytes else { return self.end(cx, schedule, Some(AttemptError::Later)) };
        // The receiver could not open an object that was altered here.
        if digest(&bytes) != forwarded.object {
            return self.settle(cx, schedule, Fate::Expired);
        }
        let now = cx.now;
        self.drive(cx, schedule, |machine| machine.send(now, Ticket(1), job(&forwarded, bytes.into())));
    }

    fn settle(&mut self, cx: &mut Context<'_>, schedule: &mut ForwardSchedule, fate: Fate) {
        self.settling = true;
        schedule.slots.delivered(self.line.session(), cx.now);
        let record =
            Record::Forwarding(ForwardingRecord::ForwardedEnded { contact: self.contact, object: self.object, fate });
        cx.out.commit(Owner::Task(self.line.session()), record);
    }
}

fn job(forwarded: &Forwarded, object: Arc<[u8]>) -> Job {
    let importance = if forwarded.important { Importance::High } else { Importance::Normal };
    let (to, certificate, way) = (forwarded.to.clone(), forwarded.certificate, Way::Carrying(forwarded.onward));
    Job { to, certificate, object: Some(object), auth: None, importance, way }
}
