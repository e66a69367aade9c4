//! Sending: one session per destination, from the dial to the last acknowledgement.
//!
//! Steps of a session: dialling → (asking for the certificate → checking it → committing it) → up to
//! [`SENDING_WINDOW`](limits::SENDING_WINDOW) objects at a time, each sealed → sent → answered → its outcome committed. A card
//! that waits goes alone and first: no mail leaves before the contact knows us. What a peer refuses for now is
//! passed over in this session; what has no answer stays in the queue, and may have arrived.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::{ClockStep, ContactId, ContentId, QueueId, SessionId, Timestamp};
use crate::mail::{Content, ContentKind};
use crate::wire::{Importance, digest};

use super::book::{Contact, ContactStatus};
use super::dialled::TaskEvent;
use super::effect::{DialError, Durability, Effect, Refusal, Sizes};
use super::identity::{Identity, Pending, Then};
use super::queue::{Endpoint, FailureReason, Queued};
use super::record::Record;
use super::session::{Initiator, Job, Ticket, Way};
use super::state::AttemptError;

/// Something that waits for a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Item {
    /// The card with this content id.
    Card(ContentId),
    /// Receipts, in the content with this id.
    Receipts(ContentId),
    /// A queued message.
    Mail(QueueId),
}

/// What a commit of the sending side was for.
pub(super) enum SendingStep {
    /// The outcome of an item.
    Settled(SessionId, Item),
    /// The contact's certificate.
    Certificate(SessionId),
    /// These are about to be handed over.
    Noted(SessionId, Vec<QueueId>),
    /// These did not arrive.
    TakenBack(Vec<QueueId>),
    /// The notice that a message is late.
    Noticed(QueueId),
    /// Reports of messages that failed apart from a session.
    Failed(Vec<(ContactId, QueueId)>),
}

/// One session that we dialled, or are dialling.
pub(super) struct Outbound {
    pub(super) contact: ContactId,
    pub(super) machine: Option<Initiator>,
    pub(super) next_ticket: u64,
    pub(super) asking: Option<Ticket>,
    pub(super) checking: bool,
    /// A commit is under way that notes what is about to be handed over.
    pub(super) noting: bool,
    /// What this session noted: unless it ends without an answer, it did not arrive before.
    pub(super) noted: BTreeSet<QueueId>,
    /// What is being sealed, each with the digest of the certificate to which it is.
    pub(super) sealing: BTreeMap<Item, [u8; 32]>,
    pub(super) sent: BTreeMap<Ticket, Item>,
    pub(super) settling: BTreeSet<Item>,
    /// What was refused because the receiver's certificate had changed: once is enough.
    pub(super) outdated: BTreeSet<Item>,
    pub(super) passed_over: BTreeSet<QueueId>,
    pub(super) card_passed_over: bool,
    pub(super) receipts_passed_over: bool,
    pub(super) large: bool,
    pub(super) taken: u32,
    pub(super) refusals: u32,
    pub(super) problem: Option<AttemptError>,
}

impl Outbound {
    const fn new(contact: ContactId) -> Self {
        Self {
            contact,
            machine: None,
            next_ticket: 0,
            asking: None,
            checking: false,
            noting: false,
            noted: BTreeSet::new(),
            sealing: BTreeMap::new(),
            sent: BTreeMap::new(),
            settling: BTreeSet::new(),
            outdated: BTreeSet::new(),
            passed_over: BTreeSet::new(),
            card_passed_over: false,
            receipts_passed_over: false,
            large: false,
            taken: 0,
            refusals: 0,
            problem: None,
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        self.machine.as_ref()?.poll_timeout()
    }

    /// The clock was set.
    pub(super) fn clock_set(&mut self, step: ClockStep) {
        if let Some(machine) = &mut self.machine {
            machine.clock_set(step);
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    /// Whether an item was sent, or its outcome is being noted.
    fn has(&self, item: &Item) -> bool {
        self.settling.contains(item) || self.sent.values().any(|sent| sent == item)
    }

    fn under_way(&self) -> usize {
        self.sealing.len() + self.sent.len()
    }

    fn is_waiting(&self) -> bool {
        self.under_way() > 0 || !self.settling.is_empty() || self.checking || self.noting || self.asking.is_some()
    }

    /// Whether another object may be added now.
    fn has_room(&self, now: Timestamp) -> bool {
        self.under_way() < limits::SENDING_WINDOW
            && !(self.large && self.under_way() > 0)
            && self.taken < limits::SENDING_TURN
            && self.refusals < limits::SENDING_REFUSALS
            && self.machine.as_ref().is_some_and(|machine| machine.has_room(now))
    }
}

impl Identity {
    /// Dials the destinations that are due, as far as dials are free.
    pub(super) fn dial_what_is_due(&mut self, now: Timestamp, rng: &mut dyn Rng) {
        while let Some(contact) = self.rooms.deliver.schedule.due(now) {
            let entry = self.state.book().contact(contact).filter(|entry| entry.status != ContactStatus::Blocked);
            let Some(onion) = entry.map(|entry| entry.address.onion()) else {
                self.give_up(now, rng, contact);
                continue;
            };
            let session = self.new_session();
            self.rooms.deliver.schedule.begin(contact, session, now);
            self.outbound.insert(session, Outbound::new(contact));
            self.effect(Effect::Dial(session, onion, Some(contact)));
            self.attempts_changed();
        }
    }

    /// Ends the sessions that are too many, of each kind.
    pub(super) fn end_surplus(&mut self, now: Timestamp, rng: &mut dyn Rng) {
        while let Some(session) = self.rooms.deliver.schedule.surplus() {
            self.end_session(now, rng, session);
        }
        while let Some(session) = self.rooms.boxes.calendar.surplus() {
            self.end_deposit(now, rng, session, Some(AttemptError::Broken));
        }
        while let Some(session) = self.rooms.forwarding.surplus() {
            self.task(now, rng, session, TaskEvent::Ended(Some(AttemptError::Broken)));
        }
    }

    /// The answer to a dial.
    pub(super) fn dialled(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        session: SessionId,
        result: Result<(), DialError>,
    ) {
        let Some(outbound) = self.outbound.get_mut(&session) else {
            if result.is_ok() {
                self.effect(Effect::Close(session));
            }
            return;
        };
        match result {
            Ok(()) => {
                outbound.machine = Some(Initiator::new(now));
                self.advance(now, rng, session);
            }
            Err(error) => {
                outbound.problem = Some(match error {
                    DialError::Unreachable => AttemptError::Unreachable,
                    DialError::Offline => AttemptError::Offline,
                });
                self.end_session(now, rng, session);
            }
        }
    }

    /// The peer sent bytes.
    pub(super) fn received_outbound(&mut self, now: Timestamp, rng: &mut dyn Rng, session: SessionId, bytes: &[u8]) {
        self.with_machine(now, rng, session, |machine| machine.handle(now, bytes));
    }

    /// The connection ended.
    pub(super) fn closed_outbound(&mut self, now: Timestamp, rng: &mut dyn Rng, session: SessionId) {
        self.with_machine(now, rng, session, Initiator::disconnected);
        // Not every end is news to the machine: it may have had nothing to do.
        if let Some(outbound) = self.outbound.get_mut(&session) {
            outbound.machine = None;
            outbound.problem.get_or_insert(AttemptError::Broken);
            self.end_session(now, rng, session);
        }
    }

    /// Lets sessions see that time has passed.
    pub(super) fn outbound_timeouts(&mut self, now: Timestamp, rng: &mut dyn Rng) {
        let due = |outbound: &Outbound| outbound.poll_timeout().is_some_and(|at| at <= now);
        let sessions: Vec<_> =
            self.outbound.iter().filter(|(_, outbound)| due(outbound)).map(|(&session, _)| session).collect();
        for session in sessions {
            self.with_machine(now, rng, session, |machine| machine.handle_timeout(now));
        }
    }

    fn with_machine(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        session: SessionId,
        act: impl FnOnce(&mut Initiator),
    ) {
        let Some(machine) = self.outbound.get_mut(&session).and_then(|outbound| outbound.machine.as_mut()) else {
            return;
        };
        act(machine);
        let events = machine.take_events();
        for event in events {
            self.event(now, rng, session, event);
        }
        self.advance(now, rng, session);
    }

    /// Begins whatever a session has room for, and ends it when there is nothing left.
    pub(super) fn advance(&mut self, now: Timestamp, rng: &mut dyn Rng, session: SessionId) {
        loop {
            let Some(outbound) = self.outbound.get(&session) else { return };
            let waits = outbound.checking || outbound.noting || outbound.asking.is_some();
            if outbound.machine.is_none() || waits || !outbound.has_room(now) {
                break;
            }
            let Some(contact) = self.state.book().contact(outbound.contact).cloned() else { break };
            let Some(certificate) = contact.certificate.clone() else {
                self.ask(now, session, &contact);
                break;
            };
            if !self.begin_next(now, session, &contact, &certificate) {
                break;
            }
        }
        self.flush_outbound(session);
        let Some(outbound) = self.outbound.get(&session) else { return };
        let over = outbound.machine.as_ref().is_none_or(Initiator::wants_close);
        if over || !outbound.is_waiting() {
            self.end_session(now, rng, session);
        }
    }

    /// Asks for the certificate of a contact whom we know only by its fingerprint.
    fn ask(&mut self, now: Timestamp, session: SessionId, contact: &Contact) {
        let Some(outbound) = self.outbound.get_mut(&session) else { return };
        let ticket = outbound.ticket();
        outbound.asking = Some(ticket);
        if let Some(machine) = &mut outbound.machine {
            let to = contact.address.clone();
            let (importance, way) = (Importance::Normal, Way::Direct);
            let job = Job { to, certificate: None, object: None, auth: None, importance, way };
            machine.send(now, ticket, job);
        }
    }

    /// Lets the next item be sealed; `false` where there is none for now.
    fn begin_next(&mut self, now: Timestamp, session: SessionId, contact: &Contact, certificate: &Arc<[u8]>) -> bool {
        let Some(outbound) = self.outbound.get_mut(&session) else { return false };
        if let Some(card) = &contact.cards.pending {
            let item = Item::Card(card.content);
            if outbound.card_passed_over || outbound.is_waiting() {
                return false;
            }
            let Some(content) = self.card_content(contact, None) else { return false };
            self.begin_sealing(session, item, certificate);
            let op = self.operation(Pending::Seal(session, item));
            self.effect(Effect::Seal(op, content, certificate.clone(), Sizes::All));
            return true;
        }
        if let Some(batch) = self.rooms.deliver.returning.get(&contact.id) {
            let item = Item::Receipts(batch.content);
            let under_way = outbound.sealing.contains_key(&item) || outbound.has(&item);
            if !outbound.receipts_passed_over && !under_way {
                let Some(content) = self.receipts_content(contact.id) else { return false };
                self.begin_sealing(session, item, certificate);
                let op = self.operation(Pending::Seal(session, item));
                self.effect(Effect::Seal(op, content, certificate.clone(), Sizes::All));
                return true;
            }
        }
        let next = self.rooms.deliver.schedule.next_message(contact.id, &outbound.passed_over);
        let Some(queued) = next.and_then(|queue| self.state.queue().get(queue)).cloned() else { return false };
        let large = queued.size as usize > limits::PIPELINED_OBJECT_BYTES;
        if large && outbound.under_way() > 0 {
            return false;
        }
        outbound.large = large;
        if !self.is_noted(&queued, contact.id) {
            self.note(session, contact.id);
            return false;
        }
        self.rooms.deliver.schedule.brings(session, if large { queued.size.into() } else { 0 }, now);
        let item = Item::Mail(queued.id);
        self.begin_sealing(session, item, certificate);
        self.rooms.deliver.schedule.set_busy(contact.id, queued.id, true);
        let op = self.operation(Pending::Seal(session, item));
        self.effect(Effect::SealBody(op, content_header(&queued), queued.body, certificate.clone(), Sizes::All));
        true
    }

    /// Notes on the disk what is about to be handed over, before any of it is: a report must not say of it that it
    /// never left.
    fn note(&mut self, session: SessionId, contact: ContactId) {
        let Some(outbound) = self.outbound.get(&session) else { return };
        let unnoted = |id: &QueueId| self.state.queue().get(*id).is_some_and(|queued| !self.is_noted(queued, contact));
        let waiting = self.rooms.deliver.schedule.idle_messages(contact).into_iter();
        let queues: Vec<QueueId> = waiting
            .filter(|id| !outbound.passed_over.contains(id))
            .filter(unnoted)
            .take(limits::SENDING_NOTED)
            .collect();
        if let Some(outbound) = self.outbound.get_mut(&session) {
            outbound.noting = true;
        }
        let record = Record::Sent { contact, endpoint: Endpoint::Onion, queues: queues.clone() };
        self.commit(vec![record], Vec::new(), Then::Sending(contact, SendingStep::Noted(session, queues)));
    }

    /// Takes back what was noted of messages that certainly did not arrive. It may be lost: then a report is more
    /// careful than it has to be.
    pub(super) fn not_sent(&mut self, contact: ContactId, queues: Vec<QueueId>) {
        if queues.is_empty() {
            return;
        }
        self.rooms.deliver.taking_back.extend(queues.iter().map(|queue| (contact, *queue)));
        let then = Then::Sending(contact, SendingStep::TakenBack(queues.clone()));
        let record = Record::NotSent { contact, endpoint: Endpoint::Onion, queues };
        self.commit_with(vec![record], Vec::new(), Durability::Lazy, then);
    }

    /// Whether it is on the disk, and will stay there, that a copy may have reached a contact's own node.
    fn is_noted(&self, queued: &Queued, contact: ContactId) -> bool {
        queued.recipients.get(&contact).is_some_and(|recipient| recipient.sent.contains(&Endpoint::Onion))
            && !self.rooms.deliver.taking_back.contains(&(contact, queued.id))
    }

    fn begin_sealing(&mut self, session: SessionId, item: Item, certificate: &[u8]) {
        if let Some(outbound) = self.outbound.get_mut(&session) {
            outbound.sealing.insert(item, digest(certificate));
        }
    }

    /// An item was sealed.
    pub(super) fn sealed(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        session: SessionId,
        item: Item,
        result: Result<Vec<u8>, Refusal>,
    ) {
        let Some(outbound) = self.outbound.get_mut(&session) else { return };
        let sealed_to = outbound.sealing.remove(&item);
        let contact = outbound.contact;
        let certificate = self.state.book().contact(contact).and_then(|entry| entry.certificate.as_ref());
        match result {
            // The receiver showed another certificate meanwhile.
            Ok(_) if certificate.map(|bytes| digest(bytes)) != sealed_to => self.begin_again(session, item),
            Ok(object) => self.send(now, session, item, object.into()),
            Err(Refusal::Temporary | Refusal::Date) => {
                outbound.problem = Some(AttemptError::Local);
                self.pass_over(session, item);
            }
            Err(Refusal::Permanent) => match item {
                Item::Mail(queue) => {
                    outbound.settling.insert(item);
                    outbound.taken += 1;
                    let then = Then::Sending(contact, SendingStep::Settled(session, item));
                    self.report(now, rng, queue, &[(contact, FailureReason::Unsealable)], then);
                }
                Item::Card(_) | Item::Receipts(_) => {
                    outbound.problem = Some(AttemptError::Local);
                    self.pass_over(session, item);
                }
            },
        }
        self.advance(now, rng, session);
    }

    /// Lets an item be sealed once more in this session.
    pub(super) fn begin_again(&mut self, session: SessionId, item: Item) {
        if let (Some(outbound), Item::Mail(queue)) = (self.outbound.get(&session), item) {
            self.rooms.deliver.schedule.set_busy(outbound.contact, queue, false);
        }
    }

    fn send(&mut self, now: Timestamp, session: SessionId, item: Item, object: Arc<[u8]>) {
        let Some(outbound) = self.outbound.get_mut(&session) else { return };
        let Some(contact) = self.state.book().contact(outbound.contact).cloned() else { return };
        let to = match item {
            Item::Card(_) | Item::Receipts(_) => Some(contact.address.clone()),
            Item::Mail(queue) if self.rooms.deliver.schedule.is_recalled(queue) => None,
            Item::Mail(queue) => {
                let queued = self.state.queue().get(queue).filter(|queued| queued.waits_for(contact.id));
                queued.and_then(|queued| queued.recipients.get(&contact.id)).map(|recipient| recipient.address.clone())
            }
        };
        // Taken back while it was being sealed.
        let Some(to) = to else { return self.pass_over(session, item) };
        let ticket = outbound.ticket();
        let Some(machine) = &mut outbound.machine else { return };
        let certificate = contact.certificate.as_ref().map(|bytes| digest(bytes));
        let importance = match item {
            Item::Mail(queue) => self.state.queue().get(queue).map_or(Importance::Normal, |queued| queued.importance()),
            Item::Card(_) | Item::Receipts(_) => Importance::Normal,
        };
        let (auth, way) = (contact.outbound.clone(), Way::Direct);
        machine.send(now, ticket, Job { to, certificate, object: Some(object), auth, importance, way });
        outbound.sent.insert(ticket, item);
    }

    /// Whether a message is on its way to somebody at this moment: whatever is decided now comes too late.
    pub(super) fn is_on_the_wire(&self, queue: QueueId) -> bool {
        let item = Item::Mail(queue);
        self.outbound.values().any(|outbound| outbound.has(&item))
            || self.deposits.values().any(|deposit| deposit.hands_over(queue))
    }

    fn flush_outbound(&mut self, session: SessionId) {
        let Some(machine) = self.outbound.get_mut(&session).and_then(|outbound| outbound.machine.as_mut()) else {
            return;
        };
        let output = machine.take_output();
        self.transmit(session, output);
    }

    /// Ends a session, however it went, and says when the next attempt is.
    pub(super) fn end_session(&mut self, now: Timestamp, rng: &mut dyn Rng, session: SessionId) {
        let Some(mut outbound) = self.outbound.remove(&session) else { return };
        if let Some(machine) = &mut outbound.machine {
            machine.finish(now);
            let output = machine.take_output();
            self.transmit(session, output);
        }
        if !matches!(outbound.problem, Some(AttemptError::Unreachable | AttemptError::Offline)) {
            self.effect(Effect::Close(session));
        }
        let contact = outbound.contact;
        // What was on its way is free again; what is being committed stays marked until that is known.
        for item in outbound.sealing.keys().chain(outbound.sent.values()).copied() {
            if let Item::Mail(queue) = item {
                self.rooms.deliver.schedule.set_busy(contact, queue, false);
            }
        }
        let unknown = |id: &QueueId| outbound.has(&Item::Mail(*id));
        let waits = |id: &QueueId| self.state.queue().get(*id).is_some_and(|queued| queued.waits_for(contact));
        let unsent = outbound.noted.iter().filter(|id| waits(id) && !unknown(id)).copied().collect();
        self.not_sent(contact, unsent);
        let idle = (outbound.taken == 0).then_some(AttemptError::Broken);
        let problem = outbound.problem.or(idle);
        match problem {
            Some(problem) => {
                self.rooms.deliver.schedule.failed(contact, problem, now, rng);
                let away = matches!(problem, AttemptError::Unreachable | AttemptError::Broken | AttemptError::Later);
                let waits = !self.rooms.deliver.schedule.idle_messages(contact).is_empty()
                    || self.rooms.deliver.returning.contains_key(&contact)
                    || self.state.book().contact(contact).is_some_and(|entry| entry.cards.pending.is_some());
                if away && waits {
                    self.wants_deposits(now, rng, contact);
                }
            }
            None => self.rooms.deliver.schedule.succeeded(contact, now),
        }
        self.attempts_changed();
    }
}

/// The signed header of a queued message.
fn content_header(queued: &Queued) -> String {
    let (kind, id, expires) = (ContentKind::Mail, queued.content, queued.expires);
    Content { kind, id, expires, receipt: None, payload: Vec::new() }.header()
}
