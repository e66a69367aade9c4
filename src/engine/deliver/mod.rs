//! The room that delivers: which messages wait for which contact, when they are tried, and what their senders are told.
//!
//! It owns the schedule, the receipts that are returned, and the objects that sessions are handing over at this moment.
//! Its sessions are in `direct` and `outcomes`, its reports in `reports` and `expiry`.

mod destinations;
pub(in crate::engine) mod direct;
mod expiry;
mod outcomes;
pub(in crate::engine) mod recall;
pub(in crate::engine) mod receipts;
mod reports;
pub(in crate::engine) mod retry;
pub(in crate::engine) mod schedule;
pub(in crate::engine) mod slots;
pub(in crate::engine) mod submission;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::base::rng::Rng;
use crate::base::{BodyId, ClockStep, ContactId, OpId, QueueId, SessionId, Timestamp};

use crate::engine::context::{Completion, Context, Owner, Room, Signal};
use crate::engine::deliver::receipts::Receipts;
use crate::engine::deliver::reports::Returning;
use crate::engine::deliver::schedule::Schedule;
use crate::engine::deliver::submission::SharedText;
use crate::engine::dialled::{News, Outgoing};
use crate::engine::io::{Draft, Durability, SharedEnd};
use crate::engine::state::queue::{Endpoint, Queued};
use crate::engine::state::record::{
    BookRecord, BoxRecord, ForwardingRecord, IdentityRecord, IntroductionRecord, MailboxRecord, PeopleRecord,
    QueueRecord, ReceivedRecord, Record,
};
use crate::engine::state::shards::Shards;
use crate::engine::state::{Applied, Attempts, State};

/// What follows a commit of this room.
pub(in crate::engine) enum AfterCommit {
    /// The outcome of an item of a session.
    Settled(SessionId, ContactId, Outgoing),
    /// The contact's certificate, which a session waits for.
    Certificate(SessionId),
    /// A session is about to hand over these messages.
    Noted(SessionId, ContactId, Vec<QueueId>),
    /// These messages did not arrive.
    TakenBack(ContactId, Vec<QueueId>),
    /// The notice that a message is late.
    Noticed(QueueId),
    /// Reports of messages that failed apart from a session.
    Failed(Vec<(ContactId, QueueId)>),
    Nothing,
}

/// An operation that the room waits for.
pub(in crate::engine) enum InFlight {
    Commit(AfterCommit),
    /// A message is being read for a report that returns it.
    Return(Box<Returning>),
}

/// The messages that a session is handing over at this moment.
struct Handing {
    contact: ContactId,
    queues: BTreeSet<QueueId>,
    /// Whether it goes to the contact's own node.
    direct: bool,
}

/// The memory of delivery.
pub(in crate::engine) struct Deliver {
    schedule: Schedule,
    receipts: Receipts,
    /// Messages of which a commit is about to say that they did not reach a recipient.
    taking_back: BTreeSet<(ContactId, QueueId)>,
    /// The messages that the session with a contact noted before it handed them over: unless that session ends without
    /// an answer, none of them arrived before.
    noted: BTreeMap<ContactId, BTreeSet<QueueId>>,
    handing: BTreeMap<SessionId, Handing>,
    /// The ends of the messages that wait, by which a copy of one of them is recognised.
    ends: SharedText,
    /// Damaged messages that the user was told of.
    told_damaged: BTreeSet<BodyId>,
    in_flight: BTreeMap<OpId, InFlight>,
    /// When to look for messages for which everybody has agreed, and which are still held.
    consents: Option<Timestamp>,
}

impl Deliver {
    /// At a start: messages in the queue are tried soon; receipts are returned within this time.
    pub(in crate::engine) fn at_start(
        state: &State,
        receipt_delay: Duration,
        now: Timestamp,
        rng: &mut dyn Rng,
    ) -> Self {
        let schedule =
            Schedule::at_start(state.queue(), state.book(), state.introductions(), &state.answered(), now, rng);
        let receipts = Receipts::at_start(state, receipt_delay, now, rng);
        Self {
            schedule,
            receipts,
            taking_back: BTreeSet::new(),
            noted: BTreeMap::new(),
            handing: BTreeMap::new(),
            ends: SharedText::default(),
            told_damaged: BTreeSet::new(),
            in_flight: BTreeMap::new(),
            consents: state.introductions().complete().next().map(|_| now),
        }
    }

    /// How the attempts at contacts went, for people.
    pub(in crate::engine) fn attempts(&mut self) -> Shards<ContactId, Attempts> {
        self.schedule.attempts()
    }

    /// The receipts that we owe.
    pub(in crate::engine) const fn receipts(&self) -> &Receipts {
        &self.receipts
    }

    /// The session with a contact's own node, where there is one.
    pub(in crate::engine) fn session(&self, contact: ContactId) -> Option<SessionId> {
        self.schedule.session(contact)
    }

    /// The session with a contact's own node that is one too many.
    pub(in crate::engine) fn surplus(&self) -> Option<SessionId> {
        self.schedule.surplus()
    }

    /// A contact was seen online.
    pub(in crate::engine) fn came_online(&mut self, contact: ContactId, now: Timestamp, rng: &mut dyn Rng) {
        self.schedule.online(contact, now, rng);
    }

    /// Whether the last attempt at a contact's own node did not reach it.
    pub(in crate::engine) fn is_away(&self, contact: ContactId) -> bool {
        self.schedule.is_away(contact)
    }

    /// The messages for a contact that are not on their way.
    pub(in crate::engine) fn idle_messages(&self, contact: ContactId) -> Vec<QueueId> {
        self.schedule.idle_messages(contact)
    }

    /// A message is being taken back, or that failed.
    pub(in crate::engine) fn set_recalled(&mut self, queue: QueueId, recalled: bool) {
        self.schedule.set_recalled(queue, recalled);
    }

    /// Whether a message is being taken back.
    pub(in crate::engine) fn is_recalled(&self, queue: QueueId) -> bool {
        self.schedule.is_recalled(queue)
    }

    /// A message that waits and has the same end as this one.
    pub(in crate::engine) fn same_end(&self, message: &[u8]) -> Option<SharedEnd> {
        self.ends.find(message)
    }

    /// Whether the clock was set, or the daemon started, so lately that it may be wrong.
    pub(in crate::engine) fn doubts_clock(&self, now: Timestamp) -> bool {
        self.schedule.doubts_clock(now)
    }

    /// When something that is to end at this moment may end: not before the clock is trusted.
    pub(in crate::engine) fn not_before(&self, at: Timestamp) -> Timestamp {
        self.schedule.not_before(at)
    }

    /// When something is due.
    pub(in crate::engine) fn poll_timeout(&self) -> Option<Timestamp> {
        [self.schedule.poll(), self.receipts.poll(), self.consents].into_iter().flatten().min()
    }

    /// The clock was set.
    pub(in crate::engine) fn clock_set(&mut self, step: ClockStep, now: Timestamp, rng: &mut dyn Rng) {
        self.schedule.clock_set(step, now, rng);
        self.receipts.clock_set(step);
        self.consents = self.consents.map(|at| at.stepped(step));
    }

    /// The network is back after it was gone.
    pub(in crate::engine) fn network_back(&mut self, gone: Duration, now: Timestamp, rng: &mut dyn Rng) {
        self.schedule.network_back(gone, now, rng);
    }

    pub(in crate::engine) fn commit(&mut self, cx: &mut Context<'_>, change: Draft, then: AfterCommit) {
        let op = cx.out.commit(Owner::Room(Room::Deliver), change);
        self.in_flight.insert(op, InFlight::Commit(then));
    }

    /// An operation of this room is over.
    pub(in crate::engine) fn completed(&mut self, cx: &mut Context<'_>, op: OpId, completion: Completion) {
        match (self.in_flight.remove(&op), completion) {
            (Some(InFlight::Commit(then)), Completion::Committed(result)) => {
                self.after_commit(cx, then, result.is_err());
            }
            (Some(InFlight::Return(returning)), Completion::BodyRead(message)) => {
                self.returned(cx, *returning, message.as_deref());
            }
            _ => {}
        }
    }

    /// Nothing can be written: the room goes on as after a failed commit.
    pub(in crate::engine) fn not_committed(&mut self, cx: &mut Context<'_>, then: AfterCommit) {
        self.after_commit(cx, then, true);
    }

    fn after_commit(&mut self, cx: &mut Context<'_>, then: AfterCommit, failed: bool) {
        match then {
            AfterCommit::Settled(session, contact, item) => {
                if let (Outgoing::Mail(queue), true) = (item, failed) {
                    self.schedule.set_busy(contact, queue, false);
                }
                cx.out.tell(Signal::News(session, News::Settled(item, failed)));
            }
            AfterCommit::Certificate(session) => cx.out.tell(Signal::News(session, News::CertificateKept(failed))),
            AfterCommit::Noted(session, contact, queues) => {
                if self.schedule.session(contact) == Some(session) {
                    if !failed {
                        self.noted.entry(contact).or_default().extend(queues);
                    }
                    cx.out.tell(Signal::News(session, News::Noted(failed)));
                } else if !failed {
                    // The session ended meanwhile, and handed over nothing.
                    self.not_sent(cx, contact, queues);
                }
            }
            AfterCommit::TakenBack(contact, queues) => {
                for queue in queues {
                    self.taking_back.remove(&(contact, queue));
                }
            }
            AfterCommit::Noticed(queue) if failed => self.schedule.notice_later(queue, cx.now),
            AfterCommit::Failed(messages) if failed => {
                for (contact, queue) in messages {
                    self.schedule.set_busy(contact, queue, false);
                    self.schedule.look_again(queue, cx.now);
                }
            }
            AfterCommit::Noticed(_) | AfterCommit::Failed(_) | AfterCommit::Nothing => {}
        }
    }

    /// Notes on the disk that messages certainly did not arrive. If this commit is lost, a report is only more careful
    /// than it has to be.
    pub(in crate::engine) fn not_sent(&mut self, cx: &mut Context<'_>, contact: ContactId, queues: Vec<QueueId>) {
        if queues.is_empty() {
            return;
        }
        self.taking_back.extend(queues.iter().map(|queue| (contact, *queue)));
        let record = Record::Queue(QueueRecord::NotSent { contact, endpoint: Endpoint::Onion, queues: queues.clone() });
        let op = cx.out.commit_with(Owner::Room(Room::Deliver), record, Durability::Lazy);
        self.in_flight.insert(op, InFlight::Commit(AfterCommit::TakenBack(contact, queues)));
    }

    /// Whether the disk says, and will go on to say, that a copy may have reached a contact's own node.
    pub(in crate::engine) fn is_noted(&self, queued: &Queued, contact: ContactId) -> bool {
        queued.recipients.get(&contact).is_some_and(|recipient| recipient.sent.contains(&Endpoint::Onion))
            && !self.taking_back.contains(&(contact, queued.id))
    }

    /// A session hands over these messages of a contact, to its own node or elsewhere; none if the session ended.
    pub(in crate::engine) fn hands_over(
        &mut self,
        session: SessionId,
        contact: ContactId,
        queues: BTreeSet<QueueId>,
        direct: bool,
    ) {
        if queues.is_empty() {
            self.handing.remove(&session);
        } else {
            self.handing.insert(session, Handing { contact, queues, direct });
        }
    }

    /// Whether a message is on its way to a recipient at this moment: then a decision about it comes too late.
    pub(in crate::engine) fn is_on_the_wire(&self, queue: QueueId) -> bool {
        self.handing.values().any(|handing| handing.queues.contains(&queue))
    }

    /// Whether a copy for a contact is being left at a box, or with a friend, at this moment.
    pub(in crate::engine) fn is_left_elsewhere(&self, queue: QueueId, contact: ContactId) -> bool {
        let here = |handing: &Handing| !handing.direct && handing.contact == contact && handing.queues.contains(&queue);
        self.handing.values().any(here)
    }

    /// The message that a record may end, as it is before the record.
    pub(in crate::engine) fn before(state: &State, record: &Record) -> Option<Arc<Queued>> {
        match record {
            Record::Queue(QueueRecord::SubmissionCancelled { queue })
            | Record::Queue(QueueRecord::RecipientDelivered { queue, .. })
            | Record::Queue(QueueRecord::RecipientFailed { queue, .. })
            | Record::Queue(QueueRecord::RecipientHandedOver { queue, .. }) => state.queue().get(*queue).cloned(),
            _ => None,
        }
    }

    /// A record was applied: updates the schedule. `before` is the message that the record is about, as it was.
    pub(in crate::engine) fn on_record(
        &mut self,
        state: &State,
        now: Timestamp,
        record: &Record,
        applied: &Applied,
        before: Option<&Arc<Queued>>,
    ) {
        if *applied == Applied::Nothing {
            return;
        }
        for queued in record.submitted().into_iter().filter_map(|queued| state.queue().get(queued.id)) {
            self.schedule.submitted(queued, state.introductions().is_held(queued.id), now);
        }
        match record {
            Record::Introductions(IntroductionRecord::ConsentGiven { .. }) => self.consents = Some(now),
            Record::Introductions(
                IntroductionRecord::IntroductionOffered { contact: Some(contact), .. }
                | IntroductionRecord::IntroductionTaken { contact: Some(contact), .. },
            ) => {
                self.schedule.card_changed(contact.id, state.book(), now);
            }
            Record::Introductions(IntroductionRecord::ConsentReached { queue, .. }) => {
                if let Some(queued) = state.queue().get(*queue) {
                    self.schedule.submitted(queued, false, now);
                }
            }
            // Only this record says which recipients' delays the sender wants to hear of.
            Record::Queue(QueueRecord::SubmissionOptions { queue, .. }) => {
                if let Some(queued) = state.queue().get(*queue) {
                    self.schedule.options_changed(queued);
                }
            }
            Record::Queue(QueueRecord::RecipientDelivered { queue, contact, .. })
            | Record::Queue(QueueRecord::RecipientFailed { queue, contact, .. })
            | Record::Queue(QueueRecord::RecipientHandedOver { queue, contact, .. }) => {
                self.schedule.settled(*contact, *queue);
            }
            // The recipient may collect the copy for as long as the carrier holds it.
            Record::Boxes(BoxRecord::DepositSettled { queue, held: Some(_), .. }) => {
                if let Some(queued) = state.queue().get(*queue) {
                    self.schedule.expires(queued.id, queued.expires);
                }
            }
            Record::Queue(QueueRecord::SubmissionCancelled { queue }) => {
                for (contact, _) in before.into_iter().flat_map(|queued| queued.waiting()) {
                    self.schedule.settled(contact, *queue);
                }
            }
            Record::People(PeopleRecord::RevocationTaken { contact: Some(contact), .. }) => {
                self.schedule.card_changed(*contact, state.book(), now);
            }
            Record::Book(BookRecord::ContactAdded { contact }) => {
                self.schedule.card_changed(contact.id, state.book(), now)
            }
            Record::Book(BookRecord::ContactChanged { id, .. }) | Record::Book(BookRecord::ContactRemoved { id }) => {
                self.schedule.card_changed(*id, state.book(), now);
            }
            Record::Received(ReceivedRecord::CardAccepted { acquaintance, .. }) => {
                self.schedule.card_changed(acquaintance.contact(), state.book(), now);
            }
            Record::People(PeopleRecord::ContactReplaced { old, new, messages }) => {
                self.schedule.card_changed(*old, state.book(), now);
                let moved = messages.iter().filter_map(|queue| state.queue().get(*queue));
                for queued in moved.filter(|queued| queued.waits_for(*new)) {
                    self.schedule.settled(*old, queued.id);
                    self.schedule.submitted(queued, false, now);
                }
            }
            _ => {}
        }
        if let Some(queued) = before.filter(|queued| state.queue().get(queued.id).is_none()) {
            self.schedule.ended(queued);
            self.ends.forget(queued.id);
        }
    }

    /// A commit is applied and published: what its records mean for receipts.
    pub(in crate::engine) fn on_records(&mut self, cx: &mut Context<'_>, records: &[Record]) {
        for record in records {
            match record {
                Record::Boxes(BoxRecord::ReceiptsDue { contact, .. })
                | Record::Forwarding(ForwardingRecord::ForwardedEnded { contact, .. }) => {
                    self.receipts.owes(*contact, cx.now, cx.rng);
                }
                Record::Forwarding(ForwardingRecord::ObjectUnread { contacts, .. }) => {
                    contacts.iter().for_each(|contact| self.receipts.owes_unread(*contact, cx.now, cx.rng));
                }
                Record::Mailbox(MailboxRecord::FlagsChanged { .. }) => {
                    for contact in cx.state.boxes().reads().owed_to() {
                        self.receipts.owes(contact, cx.now, cx.rng);
                    }
                }
                Record::Boxes(BoxRecord::ReceiptsReturned { contact, .. }) => self.receipts_returned(cx, *contact),
                Record::Boxes(BoxRecord::ReceiptsSwitched { contact, .. }) => self.told_otherwise(cx, *contact),
                Record::Identity(IdentityRecord::IdentityRevoked { .. }) => self.withdraw_all(cx),
                _ => {}
            }
        }
    }
}
