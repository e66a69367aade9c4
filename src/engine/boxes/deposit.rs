//! One session that leaves one thing for a contact: at a box of the contact, on circuits of its own, or with a friend
//! who forwards it ([`forwarding`](crate::engine::forwarding)), on the circuits of that friend. Its steps: dialled →
//! sealed for this copy alone → noted on the disk (the token, or the hash of the object) → handed over → the answer
//! noted.
//!
//! A copy without an answer may have arrived, so the next attempt makes another copy with another token. A refusal is
//! only the carrier's word: its token is not shown again, and a report still says that the message may have arrived.

mod friend;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::base::limits;
use crate::base::{ContactId, ContentId, Onion, OpId, QueueId, SessionId, Timestamp};
use crate::engine::boxes::Boxes;
use crate::engine::boxes::client::{DepositClient, DepositEvent};
use crate::engine::boxes::pages::{greeting_waits, page_keys, page_token};
use crate::engine::context::{Completion, Context, Owner};
use crate::engine::deliver::Deliver;
use crate::engine::dialled::{Dialled, Line};
use crate::engine::io::{CommitError, Draft, Effect, Refusal, Sizes};
use crate::engine::people::cards::card_content;
use crate::engine::session::{BoxClient, DeliveryClient, Service, Ticket};
use crate::engine::state::book::{Contact, ContactChange, ContactStatus};
use crate::engine::state::boxes::contacts::{TokenIndex, class_for};
use crate::engine::state::forwarding::friend_onion;
use crate::engine::state::record::{BookRecord, BoxRecord, Record};
use crate::engine::state::{Applied, AttemptError};
use crate::mail::{Content, Receipt};
use crate::wire::mailbox::BoxCommand;
use crate::wire::token::{Class, Token, epoch};
use crate::wire::{Claim, Status, digest};

use friend::friend_at;

const ASKED: Ticket = Ticket(1);
const BROUGHT: Ticket = Ticket(2);

/// What a session leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Deposit {
    /// A queued message.
    Mail(QueueId),
    /// Receipts that the contact is owed.
    Receipts,
    /// Nothing: it fetches the page of the contact's invitation.
    Page,
    /// Our card of this id, as the answer to that page or to the contact's card.
    Card(ContentId),
}

/// How far a session is.
enum Stage {
    Dialling,
    /// A page was asked for, or is being looked at.
    Fetching,
    Sealing,
    /// The token is being noted; a friend needs none.
    Noting(Arc<[u8]>, Option<Token>),
    /// The carrier or the friend was asked; with the object to bring next, where it was not brought at once.
    Asked(Option<Arc<[u8]>>),
    Brought,
    /// The outcome is being noted.
    Settling,
}

/// An operation that a session waits for.
enum InFlight {
    /// The thing to leave is being sealed.
    Seal,
    /// The certificate of a page is being checked.
    Certificate(Arc<[u8]>),
    /// It is noted that the token is about to be shown.
    Noted,
    /// It is noted that the carrier has the object; or the certificate of a page is.
    Held,
    /// It is noted that the carrier says that it does not have the object.
    Refused,
}

/// One session that leaves one thing for a contact: at a box, or with a friend.
pub(in crate::engine) struct DepositTask {
    line: Line<DepositClient>,
    contact: ContactId,
    carrier: Onion,
    deposit: Deposit,
    receipt: Receipt,
    /// The friend who forwards the object, where the session is not with a carrier.
    friend: Option<ContactId>,
    stage: Stage,
    /// A session waits for one operation at a time.
    in_flight: Option<(OpId, InFlight)>,
}

/// The rooms whose memory a deposit uses.
pub(in crate::engine) struct DepositRooms<'r> {
    pub(in crate::engine) boxes: &'r mut Boxes,
    pub(in crate::engine) deliver: &'r mut Deliver,
}

impl Boxes {
    /// A contact does not answer: its boxes come next, and the friend who forwards to it.
    pub(in crate::engine) fn wants_deposits(&mut self, cx: &mut Context<'_>, contact: ContactId) {
        let boxes = cx.state.boxes();
        let named = boxes.of(contact).into_iter().flat_map(|of| of.iter()).map(|named| named.onion);
        let pages = boxes.pages(contact).iter().copied();
        let places: Vec<_> = named.chain(pages).chain(friend_onion(cx.state, contact)).collect();
        self.calendar.wants(contact, &places, cx.now, cx.rng);
    }

    /// Dials the next box of a contact that is due.
    pub(in crate::engine) fn next_deposit(&mut self, cx: &mut Context<'_>, deliver: &Deliver) -> Option<DepositTask> {
        while let Some(place) = self.calendar.deposit_due(cx.now) {
            let (contact, carrier) = place;
            let Some(deposit) = self.deposit_for(cx, deliver, contact, carrier) else {
                self.calendar.deposit_over(place);
                continue;
            };
            let bytes = match deposit {
                Deposit::Mail(queue) => cx.state.queue().get(queue).map_or(0, |queued| queued.size.into()),
                Deposit::Receipts | Deposit::Page | Deposit::Card(_) => 0,
            };
            let friend = friend_at(cx.state, contact, carrier);
            // A friend may know who we are; a carrier must not.
            let line = Line::dial(cx.out, carrier, friend);
            self.calendar.deposit_begins(place, line.session(), bytes, cx.now);
            if deposit == Deposit::Receipts {
                self.returning.insert(contact);
            }
            let (receipt, stage, in_flight) = (cx.rng.array(), Stage::Dialling, None);
            return Some(DepositTask { line, contact, carrier, deposit, receipt, friend, stage, in_flight });
        }
        None
    }

    /// The next thing to leave at this box of a contact, if there is one.
    fn deposit_for(&self, cx: &Context<'_>, deliver: &Deliver, contact: ContactId, carrier: Onion) -> Option<Deposit> {
        let entry = cx.state.book().contact(contact)?;
        if friend_at(cx.state, contact, carrier).is_some() {
            return self.parcel_for_friend(cx, deliver, entry);
        }
        if let Some(deposit) = self.greeting_for(cx.state, entry, carrier) {
            return Some(deposit);
        }
        let boxes = cx.state.boxes().of(contact)?;
        if entry.status != ContactStatus::Confirmed || entry.certificate.is_none() {
            return None;
        }
        let has_token =
            |size| class_for(size).is_some_and(|class| boxes.next_token(carrier, class, epoch(cx.now)).is_some());
        let card = entry.cards.pending.as_ref().map(|card| card.content);
        if let Some(card) = card.filter(|card| !self.left_cards.contains(&(carrier, *card))) {
            let content = card_content(cx.state, cx.public(), entry, None);
            if has_token(content.map_or(u64::MAX, |content| content.len() as u64)) {
                return Some(Deposit::Card(card));
            }
        }
        if deliver.receipts().are_returning(contact) && !self.returning.contains(&contact) && has_token(0) {
            return Some(Deposit::Receipts);
        }
        let wants = |queue: &QueueId| {
            let there = cx.state.boxes().copies(*queue, contact).iter().filter(|copy| copy.onion == carrier);
            let (held, copies) = there.fold((false, 0), |(held, n), copy| (held || copy.held.is_some(), n + 1));
            let fits = cx.state.queue().get(*queue).is_some_and(|queued| has_token(queued.size.into()));
            let wanted = !held && copies < limits::COPIES_AT_BOX && !self.too_large_for_boxes.contains(queue);
            wanted && fits && may_copy(cx, *queue) && cx.state.may_send(*queue)
        };
        let wanting: Vec<_> = deliver.idle_messages(contact).into_iter().filter(wants).collect();
        let fresh = wanting.iter().find(|queue| !self.unplaced.contains(&(carrier, **queue)));
        fresh.or_else(|| wanting.first()).copied().map(Deposit::Mail)
    }
}

/// Whether another copy of a message may be made for others to hold for days. A copy must end before the recipient may
/// have forgotten that it had the first.
fn may_copy(cx: &Context<'_>, queue: QueueId) -> bool {
    cx.state.queue().get(queue).is_some_and(|queued| cx.now < queued.submitted.plus(limits::EXPIRY_MAX))
}

impl Dialled for DepositTask {
    type Machine = DepositClient;
    type Rooms<'r> = DepositRooms<'r>;

    fn line(&self) -> &Line<DepositClient> {
        &self.line
    }

    fn line_mut(&mut self) -> &mut Line<DepositClient> {
        &mut self.line
    }

    fn dialled(&mut self, cx: &mut Context<'_>, rooms: &mut DepositRooms<'_>) {
        let client = match self.friend {
            Some(_) => DepositClient::Friend(DeliveryClient::new(cx.now)),
            None => DepositClient::Carrier(BoxClient::new(cx.now)),
        };
        self.line.connected(client);
        self.stage = Stage::Sealing;
        if self.deposit == Deposit::Page {
            return self.fetch_page(cx, rooms);
        }
        let certificate = cx.state.book().contact(self.contact).and_then(|entry| entry.certificate.clone());
        let Some(certificate) = certificate else { return self.end(cx, rooms, Some(AttemptError::Local)) };
        if self.seal(cx, rooms.deliver, certificate).is_none() {
            self.end(cx, rooms, None);
        }
    }

    fn completed(&mut self, cx: &mut Context<'_>, rooms: &mut DepositRooms<'_>, op: OpId, completion: Completion) {
        let Some((_, operation)) = self.in_flight.take_if(|(waiting, _)| *waiting == op) else { return };
        match (operation, completion) {
            (InFlight::Seal, Completion::Sealed(result)) => self.sealed(cx, rooms, result),
            (InFlight::Certificate(bytes), Completion::CertificateChecked(usable)) => {
                self.page_checked(cx, rooms, bytes, usable);
            }
            (InFlight::Noted, Completion::Committed(result)) => self.noted(cx, rooms, result),
            // If our own disk failed, the copy counts as one without an answer: one more may follow.
            (InFlight::Held, Completion::Committed(result)) => {
                self.end(cx, rooms, result.err().map(|_| AttemptError::Local));
            }
            (InFlight::Refused, _) => self.end(cx, rooms, Some(AttemptError::Later)),
            _ => {}
        }
    }

    fn event(&mut self, cx: &mut Context<'_>, rooms: &mut DepositRooms<'_>, event: DepositEvent) {
        match event {
            DepositEvent::Carrier(event) => self.carrier_reported(cx, rooms, event),
            DepositEvent::Friend(event) => self.friend_reported(cx, rooms, &event),
        }
    }

    fn closed(&mut self, cx: &mut Context<'_>, rooms: &mut DepositRooms<'_>) {
        if matches!(self.stage, Stage::Fetching | Stage::Sealing) {
            self.end(cx, rooms, Some(AttemptError::Broken));
        }
    }

    fn ended(&mut self, cx: &mut Context<'_>, rooms: &mut DepositRooms<'_>, problem: Option<AttemptError>) {
        if self.deposit == Deposit::Receipts {
            rooms.boxes.returning.remove(&self.contact);
        }
        rooms.boxes.calendar.deposit_ended((self.contact, self.carrier), problem, cx.now, cx.rng);
        cx.out.attempts_changed();
    }

    fn show(&self, rooms: &mut DepositRooms<'_>) {
        let handing = matches!(self.stage, Stage::Noting(..) | Stage::Asked(_) | Stage::Brought | Stage::Settling);
        let queues = match self.deposit {
            Deposit::Mail(queue) if handing && !self.line.is_over() => BTreeSet::from([queue]),
            _ => BTreeSet::new(),
        };
        rooms.deliver.hands_over(self.session(), self.contact, queues, false);
    }
}

impl DepositTask {
    const fn session(&self) -> SessionId {
        self.line.session()
    }

    /// Begins an operation; the session waits until it is over.
    fn begin(&mut self, cx: &mut Context<'_>, operation: InFlight) -> OpId {
        let op = cx.out.operation(Owner::Task(self.session()));
        self.in_flight = Some((op, operation));
        op
    }

    fn commit(&mut self, cx: &mut Context<'_>, change: impl Into<Draft>, operation: InFlight) {
        let op = cx.out.commit(Owner::Task(self.session()), change);
        self.in_flight = Some((op, operation));
    }

    /// Seals the thing to leave; `None` if it is not to be left any more.
    fn seal(&mut self, cx: &mut Context<'_>, deliver: &Deliver, certificate: Arc<[u8]>) -> Option<()> {
        let sizes = if self.friend.is_some() { Sizes::All } else { Sizes::Box };
        let expires = Timestamp::from_secs(cx.now.plus(limits::EXPIRY_MAX).secs());
        let content = match self.deposit {
            Deposit::Mail(queue) => {
                let queued = cx.state.queue().get(queue)?;
                let kind = cx.state.introductions().kind(queue);
                let (id, receipt) = (queued.content, Some(self.receipt));
                let content = Content { kind, id, expires, receipt, payload: Vec::new() };
                let op = self.begin(cx, InFlight::Seal);
                cx.out.effect(Effect::SealBody(op, content.header(), queued.body, certificate, sizes));
                return Some(());
            }
            Deposit::Receipts => deliver.receipts().content(self.contact)?,
            Deposit::Page => return None,
            Deposit::Card(card) => {
                let waits = |entry: &&Arc<Contact>| entry.cards.pending.as_ref().is_some_and(|it| it.content == card);
                let entry = cx.state.book().contact(self.contact).filter(waits)?;
                card_content(cx.state, cx.public(), entry, Some(expires))?
            }
        };
        let op = self.begin(cx, InFlight::Seal);
        cx.out.effect(Effect::Seal(op, content, certificate, sizes));
        Some(())
    }

    /// The thing to leave was sealed.
    fn sealed(&mut self, cx: &mut Context<'_>, rooms: &mut DepositRooms<'_>, result: Result<Vec<u8>, Refusal>) {
        let (contact, carrier) = (self.contact, self.carrier);
        let object: Arc<[u8]> = match result {
            Ok(object) => object.into(),
            Err(refusal) => {
                if let Deposit::Mail(queue) = self.deposit {
                    match (self.friend, refusal) {
                        (Some(_), _) => rooms.boxes.refused_by_friend.insert(queue),
                        (None, Refusal::Permanent) => rooms.boxes.too_large_for_boxes.insert(queue),
                        (None, Refusal::Date | Refusal::Temporary) => rooms.boxes.unplaced.insert((carrier, queue)),
                    };
                }
                return self.end(cx, rooms, Some(AttemptError::Local));
            }
        };
        let page = page_token(cx.state, contact, carrier).filter(|_| matches!(self.deposit, Deposit::Card(_)));
        if let Some(token) = page {
            if object.len() as u64 > limits::PAGE_ANSWER_BYTES {
                return self.end(cx, rooms, Some(AttemptError::Later));
            }
            // No report ever says whether a card may have arrived, so nothing is noted: a card is sent until it is
            // answered.
            return self.hand_over(cx, rooms, object, Some(token));
        }
        if let (Some(friend), Deposit::Mail(queue)) = (self.friend, self.deposit) {
            return self.note_handing(cx, rooms, object, (friend, queue));
        }
        let token = Class::of(object.len() as u64)
            .and_then(|class| cx.state.boxes().of(contact)?.next_token(carrier, class, epoch(cx.now)));
        let queue = match self.deposit {
            Deposit::Mail(queue) => Some(queue),
            Deposit::Receipts | Deposit::Page | Deposit::Card(_) => None,
        };
        let recalled = queue.is_some_and(|queue| rooms.deliver.is_recalled(queue));
        let Some((place, token)) = token.filter(|_| !recalled) else {
            // No token of this class is left for now; one of another class may be.
            rooms.boxes.unplaced.extend(queue.map(|queue| (carrier, queue)));
            return self.end(cx, rooms, Some(AttemptError::Later));
        };
        self.note_deposit(cx, object, token, queue, place);
    }

    fn note_deposit(
        &mut self,
        cx: &mut Context<'_>,
        object: Arc<[u8]>,
        token: Token,
        queue: Option<QueueId>,
        place: TokenIndex,
    ) {
        let hash = digest(&object);
        self.stage = Stage::Noting(object, Some(token));
        let (contact, onion, receipt) = (self.contact, self.carrier, self.receipt);
        let named = queue.map(|queue| BoxRecord::ObjectNamed { contact, queue, receipt, object: hash });
        let left = BoxRecord::Deposited { contact, queue, onion, place, receipt };
        let records: Vec<_> = std::iter::once(left).chain(named).map(Record::Boxes).collect();
        self.commit(cx, records, InFlight::Noted);
    }

    /// The commit before the hand-over is over: it succeeded, or failed.
    fn noted(
        &mut self,
        cx: &mut Context<'_>,
        rooms: &mut DepositRooms<'_>,
        applied: Result<Vec<Applied>, CommitError>,
    ) {
        let done = matches!(applied.as_deref(), Ok([Applied::Done, ..]));
        let stage = std::mem::replace(&mut self.stage, Stage::Settling);
        let (Stage::Noting(object, token), true) = (stage, done) else {
            return self.end(cx, rooms, applied.err().map(|_| AttemptError::Local));
        };
        self.hand_over(cx, rooms, object, token);
    }

    fn hand_over(
        &mut self,
        cx: &mut Context<'_>,
        rooms: &mut DepositRooms<'_>,
        object: Arc<[u8]>,
        token: Option<Token>,
    ) {
        let (now, job) = (cx.now, self.job_for_friend(cx.state, &object));
        match (self.line.machine(), token, job) {
            (Some(DepositClient::Carrier(machine)), Some(token), _)
                if object.len() > limits::PIPELINED_OBJECT_BYTES =>
            {
                let claim = Claim::of(&object);
                machine.ask(now, ASKED, &BoxCommand::Deposit { token, claim }, b"", 0);
                self.stage = Stage::Asked(Some(object));
            }
            (Some(DepositClient::Carrier(machine)), Some(token), _) => {
                machine.deposit(now, ASKED, BROUGHT, token, &object);
                self.stage = Stage::Asked(None);
            }
            (Some(DepositClient::Friend(machine)), _, Some(job)) => {
                machine.send(now, BROUGHT, job);
                self.stage = Stage::Brought;
            }
            // The session broke off before anything was handed over.
            _ => return self.refused(cx, rooms),
        }
        self.drive(cx, rooms, |_| ());
    }

    fn carrier_reported(&mut self, cx: &mut Context<'_>, rooms: &mut DepositRooms<'_>, event: Service) {
        let (ticket, lines) = match event {
            Service::Answer(ticket, lines) => (ticket, lines),
            Service::Arrived(..) => return,
            Service::Failed(..) => {
                return match self.stage {
                    // Nothing was handed over: the operation under way notices that the connection is gone.
                    Stage::Dialling | Stage::Sealing | Stage::Noting(..) | Stage::Settling => self.line.lose(),
                    // The object may have arrived; or there is no page.
                    Stage::Fetching | Stage::Asked(_) | Stage::Brought => {
                        self.end(cx, rooms, Some(AttemptError::Broken));
                    }
                };
            }
        };
        let answered = lines.last().map(crate::engine::session::Answered::code);
        let Some(DepositClient::Carrier(machine)) = self.line.machine() else { return };
        match (&mut self.stage, ticket) {
            (Stage::Fetching, _) => match lines.last().and_then(|line| line.blocks.first()) {
                Some(page) if answered == Some(Status::MessageObject.code()) => self.page_fetched(cx, rooms, page),
                _ => self.end(cx, rooms, Some(AttemptError::Later)),
            },
            (Stage::Asked(object), ASKED) if answered == Some(Status::Ready.code()) => {
                if let Some(object) = object.take() {
                    machine.bring(cx.now, BROUGHT, &object);
                }
                self.stage = Stage::Brought;
            }
            (Stage::Brought, BROUGHT) if answered == Some(Status::Roger.code()) => self.held(cx, rooms),
            (Stage::Asked(_) | Stage::Brought, _) => self.refused(cx, rooms),
            _ => {}
        }
    }

    /// The carrier or the friend has the object.
    fn held(&mut self, cx: &mut Context<'_>, rooms: &mut DepositRooms<'_>) {
        self.stage = Stage::Settling;
        let (contact, carrier, receipt) = (self.contact, self.carrier, self.receipt);
        rooms.boxes.calendar.deposit_held((contact, carrier), self.session(), cx.now);
        let records = match self.deposit {
            Deposit::Mail(queue) => {
                Some(vec![Record::Boxes(BoxRecord::DepositSettled { contact, queue, receipt, held: Some(cx.now) })])
            }
            // The receipts may have gone another way meanwhile.
            Deposit::Receipts => rooms.deliver.receipts().returned_records(contact),
            Deposit::Page => None,
            Deposit::Card(card) => {
                rooms.boxes.left_cards.insert((carrier, card));
                greeting_waits(cx.state, cx.now, contact, card).map(|record| vec![record])
            }
        };
        match records {
            Some(records) => self.commit(cx, records, InFlight::Held),
            None => self.end(cx, rooms, None),
        }
    }

    /// The carrier or the friend says that it did not take the object; or nothing was handed over.
    fn refused(&mut self, cx: &mut Context<'_>, rooms: &mut DepositRooms<'_>) {
        self.stage = Stage::Settling;
        let Deposit::Mail(queue) = self.deposit else { return self.end(cx, rooms, Some(AttemptError::Later)) };
        match self.friend {
            Some(_) => rooms.boxes.refused_by_friend.insert(queue),
            None => rooms.boxes.unplaced.insert((self.carrier, queue)),
        };
        let (contact, receipt) = (self.contact, self.receipt);
        self.commit(
            cx,
            Record::Boxes(BoxRecord::DepositSettled { contact, queue, receipt, held: None }),
            InFlight::Refused,
        );
    }

    // Pages.

    fn fetch_page(&mut self, cx: &mut Context<'_>, rooms: &mut DepositRooms<'_>) {
        let token = page_token(cx.state, self.contact, self.carrier);
        let (Some(token), Some(DepositClient::Carrier(machine))) = (token, self.line.machine()) else {
            return self.end(cx, rooms, None);
        };
        machine.ask(cx.now, ASKED, &BoxCommand::Fetch { token }, b"", limits::PAGE_BYTES);
        self.stage = Stage::Fetching;
    }

    /// A page came.
    fn page_fetched(&mut self, cx: &mut Context<'_>, rooms: &mut DepositRooms<'_>, page: &[u8]) {
        let certificate = page_keys(cx.state, self.contact, self.carrier).and_then(|keys| keys.open(page));
        let known = cx.state.book().contact(self.contact);
        let (Some(certificate), Some(known)) = (certificate, known) else {
            return self.end(cx, rooms, Some(AttemptError::WrongCertificate));
        };
        let (bytes, fingerprint): (Arc<[u8]>, _) = (certificate.into(), known.fingerprint);
        let op = self.begin(cx, InFlight::Certificate(bytes.clone()));
        cx.out.effect(Effect::CheckCertificate(op, bytes, fingerprint));
    }

    /// The certificate of a page was checked.
    fn page_checked(&mut self, cx: &mut Context<'_>, rooms: &mut DepositRooms<'_>, bytes: Arc<[u8]>, usable: bool) {
        if !usable {
            return self.end(cx, rooms, Some(AttemptError::WrongCertificate));
        }
        let record =
            Record::Book(BookRecord::ContactChanged { id: self.contact, change: ContactChange::Certificate(bytes) });
        self.commit(cx, record, InFlight::Held);
    }
}
