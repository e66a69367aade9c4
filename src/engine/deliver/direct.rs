//! Direct sessions: one per destination, from the dial to the last acknowledgement.
//!
//! Steps of a session: dialling → (asking for the certificate → checking it → committing it) → up to
//! [`SENDING_WINDOW`](limits::SENDING_WINDOW) objects at a time, each sealed → sent → answered → its outcome committed.
//! A card that waits goes alone and first: no mail leaves before the contact knows us. An object that the peer refuses
//! for now is passed over in this session; one without an answer stays in the queue, and may have arrived.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::base::limits;
use crate::base::{ContactId, OpId, QueueId, SessionId, Timestamp};
use crate::mail::{Content, ContentKind};
use crate::wire::{Importance, digest};

use crate::engine::context::{Completion, Context, Owner, Signal};
use crate::engine::deliver::{AfterCommit, Deliver};
use crate::engine::dialled::{Dialled, Line, News, Outgoing};
use crate::engine::io::{Effect, Refusal, Sizes};
use crate::engine::people::cards::card_content;
use crate::engine::session::{DeliveryClient, Event, Job, Ticket, Way};
use crate::engine::state::AttemptError;
use crate::engine::state::book::{Contact, ContactStatus};
use crate::engine::state::queue::{Endpoint, FailureReason, Queued};
use crate::engine::state::record::{QueueRecord, Record};

/// An operation that a session waits for.
pub(in crate::engine) enum InFlight {
    /// An item is being sealed, to the certificate with this digest.
    Seal(Outgoing, [u8; 32]),
    /// A certificate that the contact showed is being checked.
    Certificate(Arc<[u8]>),
}

/// One session with a contact's own node.
pub(in crate::engine) struct Direct {
    pub(super) line: Line<DeliveryClient>,
    pub(super) contact: ContactId,
    pub(super) next_ticket: u64,
    pub(super) asking: Option<Ticket>,
    pub(super) checking: bool,
    /// Whether a commit is under way that notes the messages about to be handed over.
    pub(super) noting: bool,
    pub(super) in_flight: BTreeMap<OpId, InFlight>,
    pub(super) sent: BTreeMap<Ticket, Outgoing>,
    pub(super) settling: BTreeSet<Outgoing>,
    /// Items that were refused because the receiver's certificate had changed: sealing them anew once is enough.
    pub(super) outdated: BTreeSet<Outgoing>,
    pub(super) passed_over: BTreeSet<QueueId>,
    pub(super) card_passed_over: bool,
    pub(super) receipts_passed_over: bool,
    pub(super) large: bool,
    pub(super) taken: u32,
    pub(super) refusals: u32,
    pub(super) problem: Option<AttemptError>,
}

impl Deliver {
    /// Dials the next contact that is due, if a dial is free.
    pub(in crate::engine) fn next(&mut self, cx: &mut Context<'_>) -> Option<Direct> {
        while let Some(contact) = self.schedule.due(cx.now) {
            let parted = |status| matches!(status, ContactStatus::Blocked | ContactStatus::Revoked);
            let entry = cx.state.book().contact(contact).filter(|entry| !parted(entry.status));
            let Some(onion) = entry.map(|entry| entry.address.onion()) else {
                self.give_up(cx, contact);
                continue;
            };
            let line = Line::dial(cx.out, onion, Some(contact));
            self.schedule.begin(contact, line.session(), cx.now);
            cx.out.attempts_changed();
            return Some(Direct::new(line, contact));
        }
        None
    }
}

impl Dialled for Direct {
    type Machine = DeliveryClient;
    type Rooms<'r> = Deliver;

    fn line(&self) -> &Line<DeliveryClient> {
        &self.line
    }

    fn line_mut(&mut self) -> &mut Line<DeliveryClient> {
        &mut self.line
    }

    fn dialled(&mut self, cx: &mut Context<'_>, deliver: &mut Deliver) {
        self.line.connected(DeliveryClient::new(cx.now));
        self.advance(cx, deliver);
    }

    fn event(&mut self, cx: &mut Context<'_>, deliver: &mut Deliver, event: Event) {
        self.reported(cx, deliver, event);
    }

    fn go_on(&mut self, cx: &mut Context<'_>, deliver: &mut Deliver) {
        self.advance(cx, deliver);
    }

    fn completed(&mut self, cx: &mut Context<'_>, deliver: &mut Deliver, op: OpId, completion: Completion) {
        match (self.in_flight.remove(&op), completion) {
            (Some(InFlight::Seal(item, certificate)), Completion::Sealed(result)) => {
                self.sealed(cx, deliver, item, certificate, result);
                self.advance(cx, deliver);
            }
            (Some(InFlight::Certificate(bytes)), Completion::CertificateChecked(usable)) => {
                self.certificate_checked(cx, deliver, bytes, usable);
            }
            _ => {}
        }
    }

    fn told(&mut self, cx: &mut Context<'_>, deliver: &mut Deliver, told: News) {
        let failed = match told {
            News::Settled(item, failed) => return self.settled(cx, deliver, item, failed),
            News::CertificateKept(failed) => {
                self.checking = false;
                failed
            }
            News::Noted(failed) => {
                self.noting = false;
                failed
            }
            News::Judged(_) | News::Unread(_) | News::ForCarriers => return,
        };
        if failed {
            self.problem = Some(AttemptError::Local);
            self.end(cx, deliver, None);
        } else {
            self.advance(cx, deliver);
        }
    }

    fn surplus(&mut self, cx: &mut Context<'_>, deliver: &mut Deliver) {
        // The session counts by what it delivered before.
        self.end(cx, deliver, None);
    }

    /// The session ended, well or badly: the schedule learns when the next attempt is.
    fn ended(&mut self, cx: &mut Context<'_>, deliver: &mut Deliver, problem: Option<AttemptError>) {
        let contact = self.contact;
        // Messages on their way are free again; those whose outcome is being committed stay marked until it is known.
        for item in self.sealing().chain(self.sent.values().copied()) {
            if let Outgoing::Mail(queue) = item {
                deliver.schedule.set_busy(contact, queue, false);
            }
        }
        let waits = |id: &QueueId| cx.state.queue().get(*id).is_some_and(|queued| queued.waits_for(contact));
        let noted = deliver.noted.remove(&contact).unwrap_or_default();
        let unsent = noted.into_iter().filter(|id| waits(id) && !self.has(&Outgoing::Mail(*id))).collect();
        deliver.not_sent(cx, contact, unsent);
        let idle = (self.taken == 0).then_some(AttemptError::Broken);
        match self.problem.or(problem).or(idle) {
            Some(problem) => {
                deliver.schedule.failed(contact, problem, cx.now, cx.rng);
                let away = matches!(problem, AttemptError::Unreachable | AttemptError::Broken | AttemptError::Later);
                let waits = !deliver.schedule.idle_messages(contact).is_empty()
                    || deliver.receipts.are_returning(contact)
                    || cx.state.book().contact(contact).is_some_and(|entry| entry.cards.pending.is_some());
                if away && waits {
                    cx.out.tell(Signal::PeerIsAway(contact));
                }
            }
            None => {
                deliver.schedule.succeeded(contact, cx.now);
                cx.out.tell(Signal::PeerAnswered(contact));
            }
        }
        cx.out.attempts_changed();
    }

    fn show(&self, deliver: &mut Deliver) {
        let over = self.line.is_over();
        let handed = self.sent.values().chain(&self.settling).filter(|_| !over);
        let queues =
            handed.filter_map(|item| if let Outgoing::Mail(queue) = item { Some(*queue) } else { None }).collect();
        deliver.hands_over(self.line.session(), self.contact, queues, true);
    }
}

impl Direct {
    const fn new(line: Line<DeliveryClient>, contact: ContactId) -> Self {
        Self {
            line,
            contact,
            next_ticket: 0,
            asking: None,
            checking: false,
            noting: false,
            in_flight: BTreeMap::new(),
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

    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    pub(in crate::engine) const fn session(&self) -> SessionId {
        self.line.session()
    }

    /// The items that are being sealed.
    fn sealing(&self) -> impl Iterator<Item = Outgoing> {
        let sealing = |operation: &InFlight| if let InFlight::Seal(item, _) = operation { Some(*item) } else { None };
        self.in_flight.values().filter_map(sealing)
    }

    /// Whether an item was sent, or its outcome is being noted.
    fn has(&self, item: &Outgoing) -> bool {
        self.settling.contains(item) || self.sent.values().any(|sent| sent == item)
    }

    fn under_way(&self) -> usize {
        self.sealing().count() + self.sent.len()
    }

    fn is_waiting(&self) -> bool {
        self.under_way() > 0 || !self.settling.is_empty() || self.checking || self.noting || self.asking.is_some()
    }

    /// Whether another object may be added now.
    fn has_room(&mut self, now: Timestamp) -> bool {
        self.under_way() < limits::SENDING_WINDOW
            && !(self.large && self.under_way() > 0)
            && self.taken < limits::SENDING_TURN
            && self.refusals < limits::SENDING_REFUSALS
            && self.line.machine().is_some_and(|machine| machine.has_room(now))
    }

    /// Begins as many items as the session has room for, and ends it when there are none left.
    pub(in crate::engine) fn advance(&mut self, cx: &mut Context<'_>, deliver: &mut Deliver) {
        if self.line.is_over() {
            return;
        }
        while !self.checking && !self.noting && self.asking.is_none() && self.has_room(cx.now) {
            let Some(contact) = cx.state.book().contact(self.contact) else { break };
            let Some(certificate) = &contact.certificate else {
                self.ask(cx, contact);
                break;
            };
            if !self.begin_next(cx, deliver, contact, certificate) {
                break;
            }
        }
        self.line.flush(cx.out);
        let over = self.line.machine().is_none_or(|machine| machine.wants_close());
        if over || !self.is_waiting() {
            self.end(cx, deliver, None);
        }
    }

    /// Asks for the certificate of a contact that we know only by its fingerprint.
    fn ask(&mut self, cx: &Context<'_>, contact: &Contact) {
        let ticket = self.ticket();
        self.asking = Some(ticket);
        if let Some(machine) = self.line.machine() {
            let to = contact.address.clone();
            let (importance, way) = (Importance::Normal, Way::Direct);
            let job = Job { to, certificate: None, object: None, auth: None, importance, way };
            machine.send(cx.now, ticket, job);
        }
    }

    /// Lets the next item be sealed; `false` where there is none for now.
    fn begin_next(
        &mut self,
        cx: &mut Context<'_>,
        deliver: &mut Deliver,
        contact: &Contact,
        certificate: &Arc<[u8]>,
    ) -> bool {
        if let Some(card) = &contact.cards.pending {
            if self.card_passed_over || self.is_waiting() {
                return false;
            }
            let Some(content) = card_content(cx.state, cx.public(), contact, None) else { return false };
            return self.seal(cx, Outgoing::Card(card.content), content, certificate);
        }
        if let Some(batch) = deliver.receipts.batch(contact.id) {
            let item = Outgoing::Receipts(batch);
            let under_way = self.sealing().any(|other| other == item) || self.has(&item);
            if !self.receipts_passed_over && !under_way {
                let Some(content) = deliver.receipts.content(contact.id) else { return false };
                return self.seal(cx, item, content, certificate);
            }
        }
        let next = deliver.schedule.next_message(contact.id, &self.passed_over);
        if let Some(queue) = next.filter(|queue| !cx.state.may_send(*queue)) {
            deliver.withdraw(cx, queue);
            return false;
        }
        let Some(queued) = next.and_then(|queue| cx.state.queue().get(queue)) else { return false };
        let large = queued.size as usize > limits::PIPELINED_OBJECT_BYTES;
        if large && self.under_way() > 0 {
            return false;
        }
        self.large = large;
        if !deliver.is_noted(queued, contact.id) {
            self.note(cx, deliver);
            return false;
        }
        deliver.schedule.brings(self.session(), if large { queued.size.into() } else { 0 }, cx.now);
        deliver.schedule.set_busy(contact.id, queued.id, true);
        let op = self.seals(cx, Outgoing::Mail(queued.id), certificate);
        let header = content_header(queued, cx.state.introductions().kind(queued.id));
        cx.out.effect(Effect::SealBody(op, header, queued.body, certificate.clone(), Sizes::All));
        true
    }

    fn seals(&mut self, cx: &mut Context<'_>, item: Outgoing, certificate: &[u8]) -> OpId {
        let op = cx.out.operation(Owner::Task(self.session()));
        self.in_flight.insert(op, InFlight::Seal(item, digest(certificate)));
        op
    }

    fn seal(&mut self, cx: &mut Context<'_>, item: Outgoing, content: Vec<u8>, certificate: &Arc<[u8]>) -> bool {
        let op = self.seals(cx, item, certificate);
        cx.out.effect(Effect::Seal(op, content, certificate.clone(), Sizes::All));
        true
    }

    /// Notes on the disk which messages are about to be handed over, before any of them is: a report must never say of
    /// a message that may have arrived that it was not sent.
    fn note(&mut self, cx: &mut Context<'_>, deliver: &mut Deliver) {
        let contact = self.contact;
        let unnoted = |id: &QueueId| cx.state.queue().get(*id).is_some_and(|queued| !deliver.is_noted(queued, contact));
        let waiting = deliver.schedule.idle_messages(contact).into_iter();
        let queues: Vec<QueueId> =
            waiting.filter(|id| !self.passed_over.contains(id)).filter(unnoted).take(limits::SENDING_NOTED).collect();
        self.noting = true;
        let record = Record::Queue(QueueRecord::Sent { contact, endpoint: Endpoint::Onion, queues: queues.clone() });
        deliver.commit(cx, record.into(), AfterCommit::Noted(self.session(), contact, queues));
    }

    /// An item was sealed.
    fn sealed(
        &mut self,
        cx: &mut Context<'_>,
        deliver: &mut Deliver,
        item: Outgoing,
        sealed_to: [u8; 32],
        result: Result<Vec<u8>, Refusal>,
    ) {
        let certificate = cx.state.book().contact(self.contact).and_then(|entry| entry.certificate.as_ref());
        match result {
            // The receiver showed another certificate meanwhile.
            Ok(_) if certificate.map(|bytes| digest(bytes)) != Some(sealed_to) => self.begin_again(deliver, item),
            Ok(object) => self.send(cx, deliver, item, object.into()),
            Err(Refusal::Temporary | Refusal::Date) => {
                self.problem = Some(AttemptError::Local);
                self.pass_over(deliver, item);
            }
            Err(Refusal::Permanent) => match item {
                Outgoing::Mail(queue) => {
                    self.settling.insert(item);
                    self.taken += 1;
                    let then = AfterCommit::Settled(self.session(), self.contact, item);
                    deliver.report(cx, queue, &[(self.contact, FailureReason::Unsealable)], then);
                }
                Outgoing::Card(_) | Outgoing::Receipts(_) => {
                    self.problem = Some(AttemptError::Local);
                    self.pass_over(deliver, item);
                }
            },
        }
    }

    /// Lets an item be sealed once more in this session.
    pub(in crate::engine) fn begin_again(&self, deliver: &mut Deliver, item: Outgoing) {
        if let Outgoing::Mail(queue) = item {
            deliver.schedule.set_busy(self.contact, queue, false);
        }
    }

    fn send(&mut self, cx: &Context<'_>, deliver: &mut Deliver, item: Outgoing, object: Arc<[u8]>) {
        let Some(contact) = cx.state.book().contact(self.contact) else { return };
        let to = match item {
            Outgoing::Card(_) | Outgoing::Receipts(_) => Some(contact.address.clone()),
            Outgoing::Mail(queue) if deliver.schedule.is_recalled(queue) => None,
            Outgoing::Mail(queue) => {
                let queued = cx.state.queue().get(queue).filter(|queued| queued.waits_for(contact.id));
                queued.and_then(|queued| queued.recipients.get(&contact.id)).map(|recipient| recipient.address.clone())
            }
        };
        // The message was taken back while it was being sealed.
        let Some(to) = to else { return self.pass_over(deliver, item) };
        let ticket = self.ticket();
        let Some(machine) = self.line.machine() else { return };
        let certificate = contact.certificate.as_ref().map(|bytes| digest(bytes));
        let importance = match item {
            Outgoing::Mail(queue) => {
                cx.state.queue().get(queue).map_or(Importance::Normal, |queued| queued.importance())
            }
            Outgoing::Card(_) | Outgoing::Receipts(_) => Importance::Normal,
        };
        let (auth, way) = (contact.outbound.clone(), Way::Direct);
        machine.send(cx.now, ticket, Job { to, certificate, object: Some(object), auth, importance, way });
        self.sent.insert(ticket, item);
    }
}

/// The signed header of a queued message.
fn content_header(queued: &Queued, kind: ContentKind) -> String {
    let (id, expires) = (queued.content, queued.expires);
    Content { kind, id, expires, receipt: None, payload: Vec::new() }.header()
}
