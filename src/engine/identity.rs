//! The router: one identity's machines behind one door.
//!
//! Inputs go in with the time and randomness, effects come out; deadlines are state ([`Identity::poll_timeout`]). It only
//! routes: requests of gateways are answered in `requests`, inbound sessions and their mail in `sessions`, `delivery` and
//! `greeting`, outbound ones in `sending`. Nothing changes the state but records whose commit was reported, in the order
//! in which they were committed; after each such transaction the snapshot is published before anybody is answered.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::rng::Rng;
use crate::base::{ClockStep, ContactId, FolderId, OpId, QueueId, SessionId, Terms, Timestamp};
use crate::mail::Address;
use crate::wire::Status;

use super::book::{ContactChange, ContactStatus};
use super::carriage::{ObjectHash, Rounds};
use super::context::{Completion, Context, Out, Owner, Signal};
use super::deliver::Deliver;
use super::delivery::Arrival;
use super::dialled::{Dialled, TaskEvent, Told};
use super::drops::{Boxes, Delays};
use super::effect::{CommitError, DIALLED_SESSIONS, Durability, Effect, Input, NewBody, Transaction};
use super::greeting::Greeting;
use super::mailbox::{Folder, FolderRole, ModSeq, NewMessage, Uid};
use super::profile::{Profile, PublicProfile};
use super::receive::Receive;
use super::record::{Record, Seen};
use super::request::RequestId;
use super::requests::Answer;
use super::sessions::Inbound;
use super::state::{Applied, AttemptError, Snapshot, State};
use super::task::Task;

/// What an operation's completion is for.
pub(super) enum Pending {
    /// A commit: the records to apply, and what to do then.
    Commit(Then),
    /// An object is being opened.
    Open(Arrival),
    /// A card is being verified.
    Card(Box<Greeting>),
}

/// What to do after a commit.
pub(super) enum Then {
    /// Answer a request.
    Answer(RequestId, Answer),
    /// Acknowledge mail.
    Acknowledge(Arrival, Seen),
    /// Acknowledge a card, if it was taken.
    Acquainted(Box<Greeting>),
    /// Answer a request that takes messages back.
    Recalled(RequestId, Answer, Vec<QueueId>),
    /// Acknowledge something that we are to carry.
    Loaded(Arrival, ObjectHash),
}

/// The rooms of an identity, each with its own memory.
pub(super) struct Rooms {
    pub(super) receive: Receive,
    pub(super) deliver: Deliver,
    pub(super) boxes: Boxes,
    pub(super) forwarding: Rounds,
}

/// One identity's machines.
pub struct Identity {
    pub(super) state: State,
    pub(super) profile: Arc<Profile>,
    pub(super) disk_low: bool,
    pub(super) rooms: Rooms,
    /// The sessions that we dialled.
    pub(super) tasks: BTreeMap<SessionId, Task>,
    pending: BTreeMap<OpId, Pending>,
    pub(super) out: Out,
}

/// The state has no profile: it is not one of an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the log has no identity in it")]
pub struct NoProfile;

impl Identity {
    /// Starts from what the log says. What waits in the queue is tried soon.
    ///
    /// # Errors
    /// [`NoProfile`] where the log does not begin with an identity.
    pub fn new(state: State, delays: Delays, now: Timestamp, rng: &mut dyn Rng) -> Result<Self, NoProfile> {
        let profile = state.profile().cloned().ok_or(NoProfile)?;
        let rooms = Rooms {
            receive: Receive::default(),
            deliver: Deliver::at_start(&state, delays.receipt, now, rng),
            boxes: Boxes::at_start(&state, delays.deposit, now, rng),
            forwarding: Rounds::at_start(state.carriage(), now, rng),
        };
        Ok(Self {
            state,
            profile,
            disk_low: false,
            rooms,
            tasks: BTreeMap::new(),
            pending: BTreeMap::new(),
            out: Out::default(),
        })
    }

    /// Sets other terms than the usual ones, for sessions that begin from now on.
    pub fn set_terms(&mut self, terms: Terms) {
        self.rooms.receive.terms = terms;
    }

    /// What is committed.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// What readers may see now.
    pub fn snapshot(&self) -> Snapshot {
        let checks = self.rooms.boxes.checks.iter().map(|(drop, known)| (*drop, known.check)).collect();
        Snapshot {
            attempts: Arc::new(self.rooms.deliver.schedule.attempts()),
            collections: Arc::new(self.rooms.boxes.calendar.attempts()),
            checks: Arc::new(checks),
            ..self.state.snapshot()
        }
    }

    /// Something happened. The effects are to be carried out in their order.
    pub fn handle(&mut self, now: Timestamp, rng: &mut dyn Rng, input: Input) -> Vec<Effect> {
        match input {
            Input::Request(id, request) => self.request(now, rng, id, request),
            Input::Accepted(session) => self.accepted(now, session),
            Input::Dialled(session, result) => {
                // It ended while it was being dialled.
                if result.is_ok() && !self.tasks.contains_key(&session) {
                    self.out.effect(Effect::Close(session));
                }
                self.task(now, rng, session, TaskEvent::Dialled(result));
            }
            Input::Received(session, bytes) if session.0 < DIALLED_SESSIONS => {
                self.received_inbound(now, rng, session, &bytes);
            }
            Input::Received(session, bytes) => self.task(now, rng, session, TaskEvent::Received(&bytes)),
            Input::Closed(session) if session.0 < DIALLED_SESSIONS => self.closed_inbound(session),
            Input::Closed(session) => self.task(now, rng, session, TaskEvent::Closed),
            Input::Committed(op, result) => self.committed(now, rng, op, result),
            Input::Opened(op, result) => self.completed(now, rng, op, Completion::Opened(result)),
            Input::CardVerified(op, holds) => self.completed(now, rng, op, Completion::CardVerified(holds)),
            Input::CertificateChecked(op, usable) => {
                self.completed(now, rng, op, Completion::CertificateChecked(usable));
            }
            Input::Sealed(op, result) => self.completed(now, rng, op, Completion::Sealed(result)),
            Input::DropWorked(op, result) => self.completed(now, rng, op, Completion::DropWorked(result)),
            Input::BodyRead(op, message) => self.completed(now, rng, op, Completion::BodyRead(message)),
            Input::DiskLow(low) => self.disk_low = low,
            Input::ClockSet(step) => self.clock_set(now, rng, step),
        }
        self.after_input(now, rng)
    }

    /// An operation is over: whoever began it hears that.
    fn completed(&mut self, now: Timestamp, rng: &mut dyn Rng, op: OpId, completion: Completion) {
        match self.out.end_operation(op) {
            None => {}
            Some(Owner::Task(session)) => self.task(now, rng, session, TaskEvent::Completed(op, completion)),
            Some(Owner::Deliver) => {
                let (mut cx, rooms) = self.parts(now, rng);
                rooms.deliver.completed(&mut cx, op, completion);
            }
            Some(Owner::Boxes) => self.rooms.boxes.completed(op),
            Some(Owner::Forwarding) => {
                let (mut cx, rooms) = self.parts(now, rng);
                rooms.forwarding.completed(&mut cx, op, completion);
            }
            Some(Owner::Router) => self.completed_here(now, rng, op, completion),
        }
    }

    fn completed_here(&mut self, now: Timestamp, rng: &mut dyn Rng, op: OpId, completion: Completion) {
        let Some(pending) = self.pending.remove(&op) else { return };
        match (pending, completion) {
            (Pending::Commit(then), Completion::Committed(applied)) => self.committed_here(now, rng, then, applied),
            (Pending::Open(arrival), Completion::Opened(result)) => self.opened(now, rng, arrival, result),
            (Pending::Card(greeting), Completion::CardVerified(holds)) => {
                self.card_verified(now, rng, *greeting, holds);
            }
            _ => {}
        }
    }

    /// Something happens to a session that we dialled.
    pub(super) fn task(&mut self, now: Timestamp, rng: &mut dyn Rng, session: SessionId, event: TaskEvent<'_>) {
        let Some(mut task) = self.tasks.remove(&session) else { return };
        let (mut cx, rooms) = self.parts(now, rng);
        if task.handle(&mut cx, rooms, event) {
            self.tasks.insert(session, task);
        }
    }

    /// A session begins.
    pub(super) fn begin<T: Dialled>(&mut self, task: T, kind: fn(T) -> Task) {
        self.tasks.insert(task.line().session(), kind(task));
    }

    fn task_timeouts(&mut self, now: Timestamp, rng: &mut dyn Rng) {
        let due = |task: &Task| task.poll_timeout().is_some_and(|at| at <= now);
        let sessions: Vec<_> = self.tasks.iter().filter(|(_, task)| due(task)).map(|(&session, _)| session).collect();
        for session in sessions {
            self.task(now, rng, session, TaskEvent::Timeout);
        }
    }

    /// What follows from anything: what the rooms tell each other, answers, dials, and what is to be carried out.
    fn after_input(&mut self, now: Timestamp, rng: &mut dyn Rng) -> Vec<Effect> {
        self.tell_all(now, rng);
        let (mut cx, rooms) = self.parts(now, rng);
        rooms.deliver.return_what_is_due(&mut cx);
        self.dial_what_is_due(now, rng);
        self.end_surplus(now, rng);
        self.tell_all(now, rng);
        if self.out.take_attempts_changed() {
            self.publish();
        }
        self.out.take_effects()
    }

    /// Lets sessions have the answers that they wait for, and the rooms hear what others have to tell.
    fn tell_all(&mut self, now: Timestamp, rng: &mut dyn Rng) {
        loop {
            self.settle_all(now, rng);
            let Some(signal) = self.out.next_signal() else { return };
            let (mut cx, rooms) = self.parts(now, rng);
            match signal {
                Signal::Told(session, told) => self.task(now, rng, session, TaskEvent::Told(told)),
                Signal::PeerCameOnline(contact) => rooms.deliver.schedule.online(contact, cx.now, cx.rng),
                Signal::PeerIsAway(contact) => rooms.boxes.wants_deposits(&mut cx, contact),
                Signal::Collected(session, object) => {
                    if !self.collected(session, object) {
                        let busy = TaskEvent::Told(Told::Judged(Status::Busy));
                        self.task(now, rng, session, busy);
                    }
                }
                Signal::BoxNews => {
                    let sessions: Vec<_> = self.tasks.keys().copied().collect();
                    for session in sessions {
                        self.task(now, rng, session, TaskEvent::Told(Told::News));
                    }
                }
            }
        }
    }

    /// Dials whatever is due, as far as dials are free.
    fn dial_what_is_due(&mut self, now: Timestamp, rng: &mut dyn Rng) {
        loop {
            let (mut cx, Rooms { deliver, boxes, forwarding, .. }) = self.parts(now, rng);
            if let Some(task) = deliver.next(&mut cx) {
                self.begin(task, Task::Direct);
            } else if let Some(task) = boxes.next_deposit(&mut cx, deliver) {
                self.begin(task, Task::Deposit);
            } else if let Some(task) = boxes.next_collection(&mut cx) {
                self.begin(task, Task::Collect);
            } else if let Some(task) = forwarding.next(&mut cx) {
                self.begin(task, Task::Forward);
            } else {
                return;
            }
        }
    }

    /// Ends the sessions that are too many, of each kind.
    fn end_surplus(&mut self, now: Timestamp, rng: &mut dyn Rng) {
        loop {
            let Rooms { deliver, boxes, forwarding, .. } = &self.rooms;
            let surplus = deliver.schedule.surplus().or_else(|| boxes.calendar.surplus());
            let Some(session) = surplus.or_else(|| forwarding.surplus()) else { return };
            self.task(now, rng, session, TaskEvent::Ended(Some(AttemptError::Broken)));
        }
    }

    /// When [`Self::handle_timeout`] wants to be called at the latest.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let sessions = self.rooms.receive.inbound.values().filter_map(Inbound::poll_timeout);
        let tasks = self.tasks.values().filter_map(Task::poll_timeout);
        let Rooms { deliver, boxes, forwarding, .. } = &self.rooms;
        let expiry = forwarding.next_expiry(&self.state, &deliver.schedule);
        let planned = [deliver.poll_timeout(), boxes.calendar.poll(), forwarding.poll(), expiry];
        sessions.chain(tasks).chain(planned.into_iter().flatten()).min()
    }

    /// A deadline may have passed.
    pub fn handle_timeout(&mut self, now: Timestamp, rng: &mut dyn Rng) -> Vec<Effect> {
        self.inbound_timeouts(now, rng);
        self.task_timeouts(now, rng);
        let (mut cx, Rooms { forwarding, deliver, .. }) = self.parts(now, rng);
        deliver.expire(&mut cx);
        forwarding.expire(&mut cx, &deliver.schedule);
        self.after_input(now, rng)
    }

    fn committed(&mut self, now: Timestamp, rng: &mut dyn Rng, op: OpId, result: Result<ModSeq, CommitError>) {
        let Some(records) = self.out.end_commit(op) else { return };
        let applied = result.map(|first| {
            let applied: Vec<_> =
                (first..).zip(&records).map(|(number, record)| self.apply(now, number, record)).collect();
            self.publish();
            let released = self.state.take_released();
            if !released.is_empty() {
                self.effect(Effect::Forget(released));
            }
            self.on_records(now, rng, &records);
            applied
        });
        self.completed(now, rng, op, Completion::Committed(applied));
    }

    fn committed_here(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        then: Then,
        applied: Result<Vec<Applied>, CommitError>,
    ) {
        match then {
            Then::Answer(id, answer) => self.answer(id, answer, applied),
            Then::Acknowledge(arrival, seen) => self.acknowledge(arrival, &seen, applied),
            Then::Acquainted(greeting) => self.acquainted(now, rng, *greeting, applied),
            Then::Recalled(id, answer, queues) => {
                for queue in queues {
                    self.rooms.deliver.schedule.set_recalled(queue, false);
                }
                self.answer(id, answer, applied);
            }
            Then::Loaded(arrival, object) => self.loaded(now, arrival, &object, applied),
        }
    }

    /// What the records of a commit mean for the rooms.
    fn on_records(&mut self, now: Timestamp, rng: &mut dyn Rng, records: &[Record]) {
        let (mut cx, Rooms { deliver, boxes, .. }) = self.parts(now, rng);
        deliver.on_records(&mut cx, records);
        boxes.on_records(&mut cx, deliver, records);
        for record in records {
            if let Record::ContactChanged { id, change: ContactChange::Status(ContactStatus::Blocked) }
            | Record::ContactRemoved { id } = record
            {
                self.parted(now, rng, *id);
            }
        }
    }

    /// Somebody was blocked or removed: sessions that we dialled to it end, and so does what waits for it.
    fn parted(&mut self, now: Timestamp, rng: &mut dyn Rng, contact: ContactId) {
        self.rooms.deliver.forget_receipts(contact, now);
        if let Some(session) = self.rooms.deliver.schedule.session(contact) {
            self.task(now, rng, session, TaskEvent::Ended(None));
        }
        let (mut cx, rooms) = self.parts(now, rng);
        rooms.deliver.give_up(&mut cx, contact);
    }

    /// Applies a committed record.
    fn apply(&mut self, now: Timestamp, number: ModSeq, record: &Record) -> Applied {
        let before = Deliver::before(&self.state, record);
        let applied = self.state.apply(number, record);
        self.rooms.deliver.on_record(&self.state, now, record, &applied, before.as_ref());
        if let Some(queued) = before.filter(|queued| self.state.queue().get(queued.id).is_none()) {
            self.rooms.boxes.forget(queued.id);
        }
        applied
    }

    fn clock_set(&mut self, now: Timestamp, rng: &mut dyn Rng, step: ClockStep) {
        let Rooms { receive, deliver, boxes, forwarding } = &mut self.rooms;
        receive.inbound.values_mut().for_each(|inbound| inbound.clock_set(step));
        deliver.clock_set(step, now, rng);
        boxes.calendar.clock_set(step, now, rng);
        forwarding.clock_set(step, now, rng);
        let sessions: Vec<_> = self.tasks.keys().copied().collect();
        for session in sessions {
            self.task(now, rng, session, TaskEvent::ClockSet(step));
        }
        self.out.attempts_changed();
    }

    // What the parts of the router share.

    /// This identity as its rooms see it with one input, and the rooms.
    pub(super) fn parts<'a>(&'a mut self, now: Timestamp, rng: &'a mut dyn Rng) -> (Context<'a>, &'a mut Rooms) {
        let Self { state, profile, disk_low, out, rooms, .. } = self;
        (Context { state, profile, disk_low: *disk_low, now, rng, out }, rooms)
    }

    pub(super) fn effect(&mut self, effect: Effect) {
        self.out.effect(effect);
    }

    pub(super) fn transmit(&mut self, session: SessionId, output: Vec<u8>) {
        self.out.transmit(session, output);
    }

    pub(super) fn operation(&mut self, pending: Pending) -> OpId {
        let op = self.out.operation(Owner::Router);
        self.pending.insert(op, pending);
        op
    }

    pub(super) fn commit(&mut self, records: Vec<Record>, bodies: Vec<NewBody>, then: Then) {
        self.commit_with(records, bodies, Durability::Synced, then);
    }

    pub(super) fn commit_with(
        &mut self,
        records: Vec<Record>,
        bodies: Vec<NewBody>,
        durability: Durability,
        then: Then,
    ) {
        let op = self.out.commit_with(Owner::Router, Transaction { records, bodies }, durability);
        self.pending.insert(op, Pending::Commit(then));
    }

    pub(super) fn publish(&mut self) {
        self.out.take_attempts_changed();
        let snapshot = self.snapshot();
        self.effect(Effect::Publish(snapshot));
    }

    pub(super) const fn attempts_changed(&mut self) {
        self.out.attempts_changed();
    }

    pub(super) fn public(&self) -> &PublicProfile {
        &self.profile.public
    }

    pub(super) fn address(&self) -> &Address {
        &self.profile.public.address
    }

    pub(super) fn folder_of(&self, role: FolderRole) -> Option<&Arc<Folder>> {
        self.state.mailbox().by_role(role)
    }

    pub(super) fn reserve_uids(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        folder: FolderId,
        count: usize,
    ) -> Option<Vec<Uid>> {
        self.parts(now, rng).0.reserve_uids(folder, count)
    }

    pub(super) fn own_message(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        role: FolderRole,
        bytes: Vec<u8>,
    ) -> Option<(FolderId, NewMessage, NewBody)> {
        self.parts(now, rng).0.own_message(role, bytes)
    }
}
