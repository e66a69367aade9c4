//! The router: one identity's machines behind one door.
//!
//! Inputs go in with the time and randomness, effects come out; deadlines are state ([`Identity::poll_timeout`]). It only
//! routes: requests of gateways are answered in `requests`, inbound sessions and their mail in `sessions`, `delivery` and
//! `greeting`, outbound ones in `sending`. Nothing changes the state but records whose commit was reported, in the order
//! in which they were committed; after each such transaction the snapshot is published before anybody is answered.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::base::rng::Rng;
use crate::base::{
    BodyId, ClockStep, ContactId, ContentId, DropId, FolderId, InvitationId, ObjectId, Onion, OpId, QueueId, SessionId,
    Terms, Timestamp,
};
use crate::mail::Address;

use super::book::{ContactChange, ContactStatus};
use super::carriage::{Carrying, ObjectHash, Rounds};
use super::delivery::Arrival;
use super::drops::rented::DropChange;
use super::drops::{Batch, Calendar, Checking, Collecting, Delays, DepositStep, Depositing, Known};
use super::effect::{CommitError, DIALLED_SESSIONS, Durability, Effect, Input, NewBody, Transaction};
use super::greeting::Greeting;
use super::keys::Keys;
use super::mailbox::{Folder, FolderRole, ModSeq, NamedFlags, NewMessage, Uid};
use super::profile::{Profile, PublicProfile};
use super::rates::Rates;
use super::record::{Record, Seen};
use super::reports::Returning;
use super::request::RequestId;
use super::requests::Answer;
use super::schedule::Schedule;
use super::sending::{Item, Outbound, SendingStep};
use super::sessions::{Inbound, Settlement};
use super::shares::Unsettled;
use super::state::{Applied, Snapshot, State};
use super::submission::Ends;

/// What an operation's completion is for.
pub(super) enum Pending {
    /// A commit: the records to apply, and what to do then.
    Commit(Vec<Record>, Then),
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
    /// Something is being sealed to ourselves.
    Check(SessionId),
    /// Something that we carry is being read.
    Load(SessionId),
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
    /// What we carried is settled.
    Carried(SessionId),
    /// What we carried has expired.
    LoadExpired(ContactId, ObjectHash),
    /// Nothing.
    Nothing,
}

/// Whose a session is.
enum Kind {
    Inbound,
    Outbound,
    Deposit,
    Collection,
    Check,
    Carriage,
}

/// One identity's machines.
pub struct Identity {
    pub(super) state: State,
    pub(super) profile: Arc<Profile>,
    pub(super) terms: Terms,
    pub(super) inbound: BTreeMap<SessionId, Inbound>,
    pub(super) outbound: BTreeMap<SessionId, Outbound>,
    pub(super) schedule: Schedule,
    pub(super) rates: Rates,
    pub(super) keys: Keys,
    pub(super) disk_low: bool,
    /// Objects that arrived and are not settled.
    pub(super) unsettled: Unsettled,
    /// Answers to deliveries that are to be given.
    pub(super) settlements: VecDeque<Settlement>,
    /// Messages of which a commit is about to say that they did not reach somebody.
    pub(super) taking_back: BTreeSet<(ContactId, QueueId)>,
    /// The ends of the messages that wait, by which copies of them are known again.
    pub(super) ends: Ends,
    /// Damaged messages of which the user was told.
    pub(super) told_damaged: BTreeSet<BodyId>,
    pub(super) calendar: Calendar,
    pub(super) deposits: BTreeMap<SessionId, Depositing>,
    pub(super) collections: BTreeMap<SessionId, Collecting>,
    /// Sessions that see whether a drop of ours works, and how the last of each drop went.
    pub(super) checking: BTreeMap<SessionId, Checking>,
    pub(super) checks: BTreeMap<DropId, Known>,
    /// When what we carry is brought, and the sessions that bring it.
    pub(super) rounds: Rounds,
    pub(super) carrying: BTreeMap<SessionId, Carrying>,
    /// The beginning of an object at a drop whose rest did not come.
    pub(super) partly_fetched: BTreeMap<DropId, (ObjectId, Vec<u8>)>,
    /// Receipts on their way to their authors.
    pub(super) returning: BTreeMap<ContactId, Batch>,
    /// Messages that fit no token.
    pub(super) too_large_for_drops: BTreeSet<QueueId>,
    /// Messages that a friend did not take, or that cannot be given to one: others come first.
    pub(super) refused_by_friend: BTreeSet<QueueId>,
    /// Messages that could not be left at a drop when they were to be: others come first there.
    pub(super) unplaced: BTreeSet<(Onion, QueueId)>,
    /// Cards of ours that carriers hold.
    pub(super) left_cards: BTreeSet<(Onion, ContentId)>,
    /// Pages of ours that carriers have, since the start.
    pub(super) posted_pages: BTreeSet<(DropId, InvitationId)>,
    /// Contacts are being given seats.
    pub(super) seating: bool,
    pending: BTreeMap<OpId, Pending>,
    effects: Vec<Effect>,
    reserved_uids: BTreeMap<FolderId, Uid>,
    reserved_uid_validity: u32,
    last_op: u64,
    last_session: u64,
    attempts_changed: bool,
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
        Ok(Self {
            state,
            profile,
            terms: Terms::default(),
            inbound: BTreeMap::new(),
            outbound: BTreeMap::new(),
            schedule,
            rates: Rates::default(),
            keys: Keys::default(),
            disk_low: false,
            told_damaged: BTreeSet::new(),
            calendar,
            deposits: BTreeMap::new(),
            collections: BTreeMap::new(),
            checking: BTreeMap::new(),
            checks: BTreeMap::new(),
            rounds,
            carrying: BTreeMap::new(),
            partly_fetched: BTreeMap::new(),
            returning: BTreeMap::new(),
            too_large_for_drops: BTreeSet::new(),
            refused_by_friend: BTreeSet::new(),
            unplaced: BTreeSet::new(),
            left_cards: BTreeSet::new(),
            posted_pages: BTreeSet::new(),
            seating: false,
            unsettled: Unsettled::default(),
            settlements: VecDeque::new(),
            taking_back: BTreeSet::new(),
            ends: Ends::default(),
            pending: BTreeMap::new(),
            effects: Vec::new(),
            reserved_uids: BTreeMap::new(),
            reserved_uid_validity: 0,
            last_op: 0,
            last_session: DIALLED_SESSIONS,
            attempts_changed: false,
        })
    }

    /// Sets other terms than the usual ones, for sessions that begin from now on.
    pub fn set_terms(&mut self, terms: Terms) {
        self.terms = terms;
    }

    /// What is committed.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// What readers may see now.
    pub fn snapshot(&self) -> Snapshot {
        let checks = self.checks.iter().map(|(drop, known)| (*drop, known.check)).collect();
        Snapshot {
            attempts: Arc::new(self.schedule.attempts()),
            collections: Arc::new(self.calendar.attempts()),
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
                Kind::Check => self.check_dialled(now, session, result),
                Kind::Carriage => self.carrying_dialled(now, rng, session, result),
                Kind::Inbound | Kind::Outbound => self.dialled(now, rng, session, result),
            },
            Input::Received(session, bytes) => match self.kind_of(session) {
                Kind::Inbound => self.received_inbound(now, rng, session, &bytes),
                Kind::Outbound => self.received_outbound(now, rng, session, &bytes),
                Kind::Deposit => self.deposit_received(now, rng, session, &bytes),
                Kind::Collection => self.collection_received(now, rng, session, &bytes),
                Kind::Check => self.check_received(now, session, &bytes),
                Kind::Carriage => self.carrying_received(now, rng, session, &bytes),
            },
            Input::Closed(session) => match self.kind_of(session) {
                Kind::Inbound => self.closed_inbound(session),
                Kind::Outbound => self.closed_outbound(now, rng, session),
                Kind::Deposit => self.deposit_closed(now, rng, session),
                Kind::Collection => self.collection_closed(now, rng, session),
                Kind::Check => self.check_closed(session),
                Kind::Carriage => self.carrying_closed(now, rng, session),
            },
            Input::Committed(op, result) => self.committed(now, rng, op, result),
            Input::Opened(op, result) => {
                if let Some(Pending::Open(arrival)) = self.pending.remove(&op) {
                    self.opened(now, rng, arrival, result);
                }
            }
            Input::CardVerified(op, holds) => {
                if let Some(Pending::Card(greeting)) = self.pending.remove(&op) {
                    self.card_verified(now, rng, *greeting, holds);
                }
            }
            Input::CertificateChecked(op, usable) => match self.pending.remove(&op) {
                Some(Pending::Certificate(session, bytes)) => {
                    self.certificate_checked(now, rng, session, bytes, usable);
                }
                Some(Pending::PageCertificate(session, bytes)) => {
                    self.page_checked(now, rng, session, bytes, usable);
                }
                _ => {}
            },
            Input::Sealed(op, result) => match self.pending.remove(&op) {
                Some(Pending::Seal(session, item)) => self.sealed(now, rng, session, item, result),
                Some(Pending::Deposit(session)) => self.deposit_sealed(now, rng, session, result),
                Some(Pending::Check(session)) => self.check_sealed(now, session, result),
                _ => {}
            },
            Input::DropWorked(op, result) => {
                if let Some(Pending::Drop(session)) = self.pending.remove(&op) {
                    self.drop_worked(now, rng, session, result);
                }
            }
            Input::BodyRead(op, message) => match self.pending.remove(&op) {
                Some(Pending::Return(returning)) => self.returned(now, rng, *returning, message.as_deref()),
                Some(Pending::Load(session)) => self.load_read(now, rng, session, message),
                _ => {}
            },
            Input::DiskLow(low) => self.disk_low = low,
            Input::ClockSet(step) => self.clock_set(now, rng, step),
        }
        self.rest_of(now, rng)
    }

    /// What follows from anything: answers, dials, and what is to be carried out.
    fn rest_of(&mut self, now: Timestamp, rng: &mut dyn Rng) -> Vec<Effect> {
        self.settle_all(now, rng);
        self.return_what_is_due(now, rng);
        self.dial_what_is_due(now, rng);
        self.deposit_what_is_due(now, rng);
        self.collect_what_is_due(now);
        self.carry_what_is_due(now);
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
        } else if self.checking.contains_key(&session) {
            Kind::Check
        } else if self.carrying.contains_key(&session) {
            Kind::Carriage
        } else {
            Kind::Outbound
        }
    }

    /// When [`Self::handle_timeout`] wants to be called at the latest.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let sessions = self.inbound.values().filter_map(Inbound::poll_timeout);
        let dialled = self.outbound.values().filter_map(Outbound::poll_timeout);
        let deposits = self.deposits.values().filter_map(Depositing::poll_timeout);
        let collections = self.collections.values().filter_map(Collecting::poll_timeout);
        let checks = self.checking.values().filter_map(Checking::poll_timeout);
        let carrying = self.carrying.values().filter_map(Carrying::poll_timeout);
        let dialled = dialled.chain(deposits).chain(collections).chain(checks).chain(carrying);
        let planned = [self.schedule.poll(), self.calendar.poll(), self.rounds.poll(), self.loads_expire()];
        sessions.chain(dialled).chain(planned.into_iter().flatten()).min()
    }

    /// A deadline may have passed.
    pub fn handle_timeout(&mut self, now: Timestamp, rng: &mut dyn Rng) -> Vec<Effect> {
        self.inbound_timeouts(now, rng);
        self.outbound_timeouts(now, rng);
        self.deposit_timeouts(now, rng);
        self.collection_timeouts(now, rng);
        self.check_timeouts(now);
        self.carrying_timeouts(now, rng);
        self.expire(now, rng);
        self.expire_loads(now);
        self.rest_of(now, rng)
    }

    fn drain(&mut self) -> Vec<Effect> {
        if std::mem::take(&mut self.attempts_changed) {
            self.publish();
        }
        std::mem::take(&mut self.effects)
    }

    fn committed(&mut self, now: Timestamp, rng: &mut dyn Rng, op: OpId, result: Result<ModSeq, CommitError>) {
        let Some(Pending::Commit(records, then)) = self.pending.remove(&op) else { return };
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
        match then {
            Then::Answer(id, answer) => self.answer(id, answer, applied),
            Then::Acknowledge(arrival, seen) => self.acknowledge(arrival, &seen, applied),
            Then::Acquainted(greeting) => self.acquainted(now, rng, *greeting, applied),
            Then::Sending(contact, step) => self.after_commit(now, rng, contact, step, applied.map(|_| ())),
            Then::Recalled(id, answer, queues) => {
                for queue in queues {
                    self.schedule.set_recalled(queue, false);
                }
                self.answer(id, answer, applied);
            }
            Then::Depositing(session, step) => self.deposit_committed(now, rng, session, step, applied),
            Then::Collecting(session) => self.collection_committed(now, rng, session, applied.map(|_| ())),
            Then::Seated => self.seating = false,
            Then::Loaded(arrival, object) => self.loaded(now, arrival, &object, applied),
            Then::Carried(session) => self.carried(now, rng, session, applied.is_err()),
            Then::LoadExpired(contact, object) => self.load_expired(now, contact, object, applied.is_err()),
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
                        if self.schedule.is_away(contact) {
                            self.wants_deposits(now, rng, contact);
                        }
                    }
                }
                Record::ReceiptsDue { contact, .. } | Record::LoadEnded { contact, .. } => {
                    self.calendar.owes(*contact, now, rng);
                }
                // Whoever is away is not waited for.
                Record::CarrierChosen { contact, friend: Some(_) } if self.schedule.is_away(*contact) => {
                    self.wants_deposits(now, rng, *contact);
                }
                Record::FlagsChanged { .. } => {
                    for contact in self.state.drops().reads().owed_to() {
                        self.calendar.owes(contact, now, rng);
                    }
                }
                Record::ReceiptsReturned { contact, .. } => self.receipts_returned(now, rng, *contact),
                Record::ReceiptsSwitched { contact, .. } => self.told_otherwise(now, *contact),
                Record::InvitationMade { .. } => self.wake_collections(now, rng),
                Record::DropRented { drop } => self.calendar.collect(drop.id, now),
                Record::DropChanged { change: DropChange::Leaving, id } => self.calendar.collect(*id, now),
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
                    self.schedule.submitted(queued, now);
                }
            }
            // Whom its sender wants to be told of a delay is known only now.
            Record::SubmissionOptions { queue, .. } => {
                if let Some(queued) = self.state.queue().get(*queue) {
                    self.schedule.options_changed(queued);
                }
            }
            Record::RecipientDelivered { queue, contact, .. }
            | Record::RecipientFailed { queue, contact, .. }
            | Record::RecipientHandedOver { queue, contact, .. } => {
                self.schedule.settled(*contact, *queue);
            }
            // It may be collected for as long as the carrier holds it.
            Record::DepositSettled { queue, held: Some(_), .. } => {
                if let Some(queued) = self.state.queue().get(*queue) {
                    self.schedule.expires(queued.id, queued.expires);
                }
            }
            Record::SubmissionCancelled { queue } => {
                for (contact, _) in before.iter().flat_map(|queued| queued.waiting()) {
                    self.schedule.settled(contact, *queue);
                }
            }
            Record::ContactAdded { contact } => self.schedule.card_changed(contact.id, self.state.book(), now),
            Record::ContactChanged { id, .. } | Record::ContactRemoved { id } => {
                self.schedule.card_changed(*id, self.state.book(), now);
            }
            Record::CardAccepted { acquaintance, .. } => {
                self.schedule.card_changed(acquaintance.contact(), self.state.book(), now);
            }
            _ => {}
        }
        if let Some(queued) = before.filter(|queued| self.state.queue().get(queued.id).is_none()) {
            self.schedule.ended(&queued);
            self.ends.forget(queued.id);
            self.too_large_for_drops.remove(&queued.id);
            self.refused_by_friend.remove(&queued.id);
            self.unplaced.retain(|(_, queue)| *queue != queued.id);
        }
        applied
    }

    fn clock_set(&mut self, now: Timestamp, rng: &mut dyn Rng, step: ClockStep) {
        self.schedule.clock_set(step, now, rng);
        self.inbound.values_mut().for_each(|inbound| inbound.clock_set(step));
        self.outbound.values_mut().for_each(|outbound| outbound.clock_set(step));
        self.calendar.clock_set(step, now, rng);
        self.deposits.values_mut().for_each(|deposit| deposit.clock_set(step));
        self.collections.values_mut().for_each(|collecting| collecting.clock_set(step, now));
        self.checking.values_mut().for_each(|checking| checking.clock_set(step));
        self.rounds.clock_set(step, now, rng);
        self.carrying.values_mut().for_each(|carrying| carrying.clock_set(step));
        self.attempts_changed();
    }

    // What the parts of the router share.

    pub(super) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Sends what a machine of a session has to say, where it has something.
    pub(super) fn transmit(&mut self, session: SessionId, output: Vec<u8>) {
        if !output.is_empty() {
            self.effect(Effect::Transmit(session, output));
        }
    }

    pub(super) fn operation(&mut self, pending: Pending) -> OpId {
        self.last_op += 1;
        let op = OpId(self.last_op);
        self.pending.insert(op, pending);
        op
    }

    pub(super) const fn new_session(&mut self) -> SessionId {
        let session = SessionId(self.last_session);
        self.last_session += 1;
        session
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
        let transaction = Transaction { records: records.clone(), bodies };
        let op = self.operation(Pending::Commit(records, then));
        self.effect(Effect::Commit(op, transaction, durability));
    }

    pub(super) fn publish(&mut self) {
        self.attempts_changed = false;
        let snapshot = self.snapshot();
        self.effect(Effect::Publish(snapshot));
    }

    /// The attempts went on: readers want to know, once all of this input is handled.
    pub(super) const fn attempts_changed(&mut self) {
        self.attempts_changed = true;
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

    /// UIDs for this many messages in a folder, ahead of everything committed or on its way there. What a failed
    /// commit reserved stays a gap. `None` where the folder is gone or has no UIDs left.
    pub(super) fn reserve_uids(&mut self, folder: FolderId, count: usize) -> Option<Vec<Uid>> {
        let known = self.state.mailbox().folder(folder)?.uid_next;
        let first = self.reserved_uids.get(&folder).copied().unwrap_or(0).max(known);
        let end = first.checked_add(Uid::try_from(count).ok()?)?;
        self.reserved_uids.insert(folder, end);
        Some((first..end).collect())
    }

    /// A UIDVALIDITY above every one before (docs/on-disk.md, "Records").
    pub(super) fn reserve_uid_validity(&mut self, now: Timestamp) -> u32 {
        let last = self.state.last_uid_validity().max(self.reserved_uid_validity);
        let seconds = u32::try_from(now.secs()).unwrap_or(0);
        self.reserved_uid_validity = seconds.max(last.saturating_add(1));
        self.reserved_uid_validity
    }

    /// A message of our own making for a folder, with its body; `None` where the folder takes no more.
    pub(super) fn own_message(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        role: FolderRole,
        bytes: Vec<u8>,
    ) -> Option<(FolderId, NewMessage, NewBody)> {
        let folder = self.folder_of(role)?.id;
        let uid = *self.reserve_uids(folder, 1)?.first()?;
        // What others make us say has no claim to the last of the space.
        let report = role == FolderRole::Inbox;
        let body = NewBody { report, ..NewBody::new(BodyId::random(rng), bytes.into()) };
        let size = u32::try_from(body.bytes.len()).ok()?;
        let message = NewMessage { uid, flags: NamedFlags::default(), date: now, body: body.id, size, content: None };
        Some((folder, message, body))
    }
}
