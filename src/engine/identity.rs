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

use super::book::{ContactChange, ContactStatus};
use super::carriage::{ObjectHash, Rounds};
use super::context::{Completion, Context, Out, Owner};
use super::deliver::Deliver;
use super::delivery::Arrival;
use super::dialled::{Dialled, TaskEvent};
use super::drops::rented::DropChange;
use super::drops::{Boxes, Calendar, Collecting, Delays, DepositStep, Depositing};
use super::effect::{CommitError, DIALLED_SESSIONS, Durability, Effect, Input, NewBody};
use super::greeting::Greeting;
use super::mailbox::{Folder, FolderRole, ModSeq, NewMessage, Uid};
use super::profile::{Profile, PublicProfile};
use super::receive::Receive;
use super::record::{Record, Seen};
use super::reports::Returning;
use super::request::RequestId;
use super::requests::Answer;
use super::schedule::Schedule;
use super::sending::{Item, Outbound, SendingStep};
use super::sessions::Inbound;
use super::state::{Applied, Snapshot, State};
use super::task::Task;

/// What an operation's completion is for.
pub(super) enum Pending {
    /// A commit: the records to apply, and what to do then.
    Commit(Then),
    /// An object is being opened.
    Open(Arrival),
    /// A card is being verified.
    Card(Box<Greeting>),
    /// A certificate that a dialled peer showed is being checked.
    Certificate(SessionId, Arc<[u8]>),
    /// Something is being sealed for a dialled session.
    Seal(SessionId, Item),
    /// A message is being read for a report that returns it.
    Return(Box<Returning>),
    /// Something is being sealed for a contact's drop.
    Deposit(SessionId),
    /// A certificate from a page is being checked.
    PageCertificate(SessionId, Arc<[u8]>),
    /// The keys of a drop of ours are at work.
    Drop(SessionId),
}

/// What to do after a commit.
pub(super) enum Then {
    /// Answer a request.
    Answer(RequestId, Answer),
    /// Acknowledge mail.
    Acknowledge(Arrival, Seen),
    /// Acknowledge a card, if it was taken.
    Acquainted(Box<Greeting>),
    /// Go on with a dialled session.
    Sending(ContactId, SendingStep),
    /// Answer a request that takes messages back.
    Recalled(RequestId, Answer, Vec<QueueId>),
    /// Go on with a deposit.
    Depositing(SessionId, DepositStep),
    /// Go on with a collection.
    Collecting(SessionId),
    /// Contacts have seats in our drops.
    Seated,
    /// Acknowledge something that we are to carry.
    Loaded(Arrival, ObjectHash),
    /// Nothing.
    Nothing,
}

/// Whose a session is.
enum Kind {
    Inbound,
    Outbound,
    Deposit,
    Collection,
    Task,
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
    pub(super) outbound: BTreeMap<SessionId, Outbound>,
    pub(super) deposits: BTreeMap<SessionId, Depositing>,
    pub(super) collections: BTreeMap<SessionId, Collecting>,
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
        let schedule = Schedule::at_start(state.queue(), state.book(), &state.answered(), now, rng);
        let calendar = Calendar::at_start(state.drops(), state.carriage(), delays, now, rng);
        let rounds = Rounds::at_start(state.carriage(), now, rng);
        let rooms = Rooms {
            receive: Receive::default(),
            deliver: Deliver::new(schedule),
            boxes: Boxes::new(calendar),
            forwarding: rounds,
        };
        Ok(Self {
            state,
            profile,
            disk_low: false,
            rooms,
            outbound: BTreeMap::new(),
            deposits: BTreeMap::new(),
            collections: BTreeMap::new(),
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
            Input::Dialled(session, result) => match self.kind_of(session) {
                Kind::Deposit => self.deposit_dialled(now, rng, session, result),
                Kind::Collection => self.collection_dialled(now, rng, session, result),
                Kind::Task => self.task(now, rng, session, TaskEvent::Dialled(result)),
                Kind::Inbound | Kind::Outbound => self.dialled(now, rng, session, result),
            },
            Input::Received(session, bytes) => match self.kind_of(session) {
                Kind::Inbound => self.received_inbound(now, rng, session, &bytes),
                Kind::Outbound => self.received_outbound(now, rng, session, &bytes),
                Kind::Deposit => self.deposit_received(now, rng, session, &bytes),
                Kind::Collection => self.collection_received(now, rng, session, &bytes),
                Kind::Task => self.task(now, rng, session, TaskEvent::Received(&bytes)),
            },
            Input::Closed(session) => match self.kind_of(session) {
                Kind::Inbound => self.closed_inbound(session),
                Kind::Outbound => self.closed_outbound(now, rng, session),
                Kind::Deposit => self.deposit_closed(now, rng, session),
                Kind::Collection => self.collection_closed(now, rng, session),
                Kind::Task => self.task(now, rng, session, TaskEvent::Closed),
            },
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
        self.rest_of(now, rng)
    }

    /// An operation is over: whoever began it hears that.
    fn completed(&mut self, now: Timestamp, rng: &mut dyn Rng, op: OpId, completion: Completion) {
        match self.out.end_operation(op) {
            None => {}
            Some(Owner::Task(session)) => self.task(now, rng, session, TaskEvent::Completed(op, completion)),
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
            (Pending::Certificate(session, bytes), Completion::CertificateChecked(usable)) => {
                self.certificate_checked(now, rng, session, bytes, usable);
            }
            (Pending::PageCertificate(session, bytes), Completion::CertificateChecked(usable)) => {
                self.page_checked(now, rng, session, bytes, usable);
            }
            (Pending::Seal(session, item), Completion::Sealed(result)) => {
                self.sealed(now, rng, session, item, result);
            }
            (Pending::Deposit(session), Completion::Sealed(result)) => {
                self.deposit_sealed(now, rng, session, result);
            }
            (Pending::Drop(session), Completion::DropWorked(result)) => self.drop_worked(now, rng, session, result),
            (Pending::Return(returning), Completion::BodyRead(message)) => {
                self.returned(now, rng, *returning, message.as_deref());
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

    fn forward_what_is_due(&mut self, now: Timestamp, rng: &mut dyn Rng) {
        loop {
            let (mut cx, rooms) = self.parts(now, rng);
            let Some(task) = rooms.forwarding.next(&mut cx) else { return };
            self.begin(task, Task::Forward);
        }
    }

    /// What follows from anything: answers, dials, and what is to be carried out.
    fn rest_of(&mut self, now: Timestamp, rng: &mut dyn Rng) -> Vec<Effect> {
        self.settle_all(now, rng);
        self.return_what_is_due(now, rng);
        self.dial_what_is_due(now, rng);
        self.deposit_what_is_due(now, rng);
        self.collect_what_is_due(now);
        self.forward_what_is_due(now, rng);
        self.end_surplus(now, rng);
        self.drain()
    }

    fn kind_of(&self, session: SessionId) -> Kind {
        if session.0 < DIALLED_SESSIONS {
            Kind::Inbound
        } else if self.deposits.contains_key(&session) {
            Kind::Deposit
        } else if self.collections.contains_key(&session) {
            Kind::Collection
        } else if self.tasks.contains_key(&session) {
            Kind::Task
        } else {
            Kind::Outbound
        }
    }

    /// When [`Self::handle_timeout`] wants to be called at the latest.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let sessions = self.rooms.receive.inbound.values().filter_map(Inbound::poll_timeout);
        let dialled = self.outbound.values().filter_map(Outbound::poll_timeout);
        let deposits = self.deposits.values().filter_map(Depositing::poll_timeout);
        let collections = self.collections.values().filter_map(Collecting::poll_timeout);
        let tasks = self.tasks.values().filter_map(Task::poll_timeout);
        let dialled = dialled.chain(deposits).chain(collections).chain(tasks);
        let planned = [
            self.rooms.deliver.schedule.poll(),
            self.rooms.boxes.calendar.poll(),
            self.rooms.forwarding.poll(),
            self.rooms.forwarding.next_expiry(&self.state, &self.rooms.deliver.schedule),
        ];
        sessions.chain(dialled).chain(planned.into_iter().flatten()).min()
    }

    /// A deadline may have passed.
    pub fn handle_timeout(&mut self, now: Timestamp, rng: &mut dyn Rng) -> Vec<Effect> {
        self.inbound_timeouts(now, rng);
        self.outbound_timeouts(now, rng);
        self.deposit_timeouts(now, rng);
        self.collection_timeouts(now, rng);
        self.task_timeouts(now, rng);
        self.expire(now, rng);
        let (mut cx, Rooms { forwarding, deliver, .. }) = self.parts(now, rng);
        forwarding.expire(&mut cx, &deliver.schedule);
        self.rest_of(now, rng)
    }

    fn drain(&mut self) -> Vec<Effect> {
        if self.out.take_attempts_changed() {
            self.publish();
        }
        self.out.take_effects()
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
            self.owe_what_is_due(now, rng, &records);
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
            Then::Sending(contact, step) => self.after_commit(now, rng, contact, step, applied.map(|_| ())),
            Then::Recalled(id, answer, queues) => {
                for queue in queues {
                    self.rooms.deliver.schedule.set_recalled(queue, false);
                }
                self.answer(id, answer, applied);
            }
            Then::Depositing(session, step) => self.deposit_committed(now, rng, session, step, applied),
            Then::Collecting(session) => self.collection_committed(now, rng, session, applied.map(|_| ())),
            Then::Seated => self.rooms.boxes.seating = false,
            Then::Loaded(arrival, object) => self.loaded(now, arrival, &object, applied),
            Then::Nothing => {}
        }
    }

    /// What records mean for drops: who is owed receipts, who may have a seat.
    fn owe_what_is_due(&mut self, now: Timestamp, rng: &mut dyn Rng, records: &[Record]) {
        for record in records {
            match record {
                Record::Submitted { queued } => {
                    // Whom a direct attempt did not reach lately is not waited for.
                    for contact in queued.recipients.keys().copied() {
                        if self.rooms.deliver.schedule.is_away(contact) {
                            self.wants_deposits(now, rng, contact);
                        }
                    }
                }
                Record::ReceiptsDue { contact, .. } | Record::LoadEnded { contact, .. } => {
                    self.rooms.boxes.calendar.owes(*contact, now, rng);
                }
                // Whoever is away is not waited for.
                Record::CarrierChosen { contact, friend: Some(_) } if self.rooms.deliver.schedule.is_away(*contact) => {
                    self.wants_deposits(now, rng, *contact);
                }
                Record::FlagsChanged { .. } => {
                    for contact in self.state.drops().reads().owed_to() {
                        self.rooms.boxes.calendar.owes(contact, now, rng);
                    }
                }
                Record::ReceiptsReturned { contact, .. } => self.receipts_returned(now, rng, *contact),
                Record::ReceiptsSwitched { contact, .. } => self.told_otherwise(now, *contact),
                Record::InvitationMade { .. } => self.wake_collections(now, rng),
                Record::DropRented { drop } => self.rooms.boxes.calendar.collect(drop.id, now),
                Record::DropChanged { change: DropChange::Leaving, id } => self.rooms.boxes.calendar.collect(*id, now),
                Record::ContactChanged { id, change: ContactChange::Status(ContactStatus::Blocked) }
                | Record::ContactRemoved { id } => self.parted(now, rng, *id),
                Record::ContactChanged { .. } | Record::CardAccepted { .. } | Record::DropChanged { .. } => {
                    self.offer_seats(now, rng);
                }
                _ => {}
            }
        }
    }

    /// Applies a committed record, and tells the schedule what it means.
    fn apply(&mut self, now: Timestamp, number: ModSeq, record: &Record) -> Applied {
        let before = match record {
            Record::SubmissionCancelled { queue }
            | Record::RecipientDelivered { queue, .. }
            | Record::RecipientFailed { queue, .. }
            | Record::RecipientHandedOver { queue, .. } => self.state.queue().get(*queue).cloned(),
            _ => None,
        };
        let applied = self.state.apply(number, record);
        if applied == Applied::Nothing {
            return applied;
        }
        match record {
            Record::Submitted { queued } => {
                if let Some(queued) = self.state.queue().get(queued.id) {
                    self.rooms.deliver.schedule.submitted(queued, now);
                }
            }
            // Whom its sender wants to be told of a delay is known only now.
            Record::SubmissionOptions { queue, .. } => {
                if let Some(queued) = self.state.queue().get(*queue) {
                    self.rooms.deliver.schedule.options_changed(queued);
                }
            }
            Record::RecipientDelivered { queue, contact, .. }
            | Record::RecipientFailed { queue, contact, .. }
            | Record::RecipientHandedOver { queue, contact, .. } => {
                self.rooms.deliver.schedule.settled(*contact, *queue);
            }
            // It may be collected for as long as the carrier holds it.
            Record::DepositSettled { queue, held: Some(_), .. } => {
                if let Some(queued) = self.state.queue().get(*queue) {
                    self.rooms.deliver.schedule.expires(queued.id, queued.expires);
                }
            }
            Record::SubmissionCancelled { queue } => {
                for (contact, _) in before.iter().flat_map(|queued| queued.waiting()) {
                    self.rooms.deliver.schedule.settled(contact, *queue);
                }
            }
            Record::ContactAdded { contact } => {
                self.rooms.deliver.schedule.card_changed(contact.id, self.state.book(), now)
            }
            Record::ContactChanged { id, .. } | Record::ContactRemoved { id } => {
                self.rooms.deliver.schedule.card_changed(*id, self.state.book(), now);
            }
            Record::CardAccepted { acquaintance, .. } => {
                self.rooms.deliver.schedule.card_changed(acquaintance.contact(), self.state.book(), now);
            }
            _ => {}
        }
        if let Some(queued) = before.filter(|queued| self.state.queue().get(queued.id).is_none()) {
            self.rooms.deliver.schedule.ended(&queued);
            self.rooms.deliver.ends.forget(queued.id);
            self.rooms.boxes.too_large_for_drops.remove(&queued.id);
            self.rooms.boxes.refused_by_friend.remove(&queued.id);
            self.rooms.boxes.unplaced.retain(|(_, queue)| *queue != queued.id);
        }
        applied
    }

    fn clock_set(&mut self, now: Timestamp, rng: &mut dyn Rng, step: ClockStep) {
        self.rooms.deliver.schedule.clock_set(step, now, rng);
        self.rooms.receive.inbound.values_mut().for_each(|inbound| inbound.clock_set(step));
        self.outbound.values_mut().for_each(|outbound| outbound.clock_set(step));
        self.rooms.boxes.calendar.clock_set(step, now, rng);
        self.deposits.values_mut().for_each(|deposit| deposit.clock_set(step));
        self.collections.values_mut().for_each(|collecting| collecting.clock_set(step, now));
        self.rooms.forwarding.clock_set(step, now, rng);
        let sessions: Vec<_> = self.tasks.keys().copied().collect();
        for session in sessions {
            self.task(now, rng, session, TaskEvent::ClockSet(step));
        }
        self.attempts_changed();
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

    pub(super) const fn new_session(&mut self) -> SessionId {
        self.out.new_session()
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
        let op = self.out.commit_with(Owner::Router, records, bodies, durability);
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
