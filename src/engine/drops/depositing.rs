//! Leaving one thing at a contact's drop, on circuits of its own, or with a friend who carries it
//! ([`carriage`](crate::engine::carriage)), on those of that contact: dialled → sealed for this copy alone → noted on the disk (its token,
//! or its hash) → handed over → the answer noted.
//!
//! What has no answer may be there: the next attempt is another copy with another token. A refusal is no more than a carrier's
//! word: the token is not shown again, and a report still says that the message may have arrived.

mod friend;

use std::sync::Arc;

use super::leg::Leg;
use super::named::Place;
use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::{ClockStep, ContactId, ContentId, Onion, QueueId, SessionId, Timestamp};
use crate::engine::book::{Contact, ContactStatus};
use crate::engine::effect::{CommitError, DialError, Effect, Refusal, Sizes};
use crate::engine::identity::{Identity, Pending, Then};
use crate::engine::record::Record;
use crate::engine::session::{Initiator, Patron, Service, Ticket};
use crate::engine::state::{Applied, AttemptError};
use crate::mail::{Content, ContentKind, Receipt};
use crate::wire::mailbox::BoxCommand;
use crate::wire::token::{Class, Token, epoch};
use crate::wire::{Claim, Status};

const ASKED: Ticket = Ticket(1);
const BROUGHT: Ticket = Ticket(2);
/// About so much more than its content an object has; one chunk in 200 is added by the tags.
const SEAL_BYTES: u64 = 2048;

/// What is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parcel {
    /// A queued message.
    Mail(QueueId),
    /// Receipts that the contact is owed.
    Receipts,
    /// Nothing: the page of its invitation is fetched.
    Page,
    /// Our card of this id, in answer to that page or to theirs.
    Card(ContentId),
}

/// How far it is.
enum Stage {
    Dialling,
    /// A page was asked for, or is being looked at.
    Fetching,
    Sealing,
    /// The token is being noted; a friend needs none.
    Noting(Arc<[u8]>, Option<Token>),
    /// Asked, with the object to bring where it was not brought at once.
    Asked(Option<Arc<[u8]>>),
    Brought,
    /// The outcome is being noted.
    Settling,
}

/// One session that leaves one thing at a contact's drop.
pub(in super::super) struct Depositing {
    contact: ContactId,
    carrier: Onion,
    parcel: Parcel,
    receipt: Receipt,
    /// Who carries it, where that is no carrier of a drop.
    friend: Option<ContactId>,
    machine: Option<Leg>,
    stage: Stage,
}

/// What a commit of a deposit was for.
#[derive(Debug, Clone, Copy)]
pub(in super::super) enum DepositStep {
    /// The token is about to be shown.
    Noted,
    /// The carrier has it; or a page was fetched.
    Held,
    /// The carrier says that it does not have it.
    Refused,
}

impl Depositing {
    pub(in super::super) fn poll_timeout(&self) -> Option<Timestamp> {
        self.machine.as_ref()?.poll_timeout()
    }

    /// With whom it has to do.
    pub(in super::super) const fn contact(&self) -> ContactId {
        self.contact
    }

    pub(in super::super) fn clock_set(&mut self, step: ClockStep) {
        if let Some(machine) = &mut self.machine {
            machine.clock_set(step);
        }
    }

    /// Whether it is handing over this message.
    pub(in super::super) fn hands_over(&self, queue: QueueId) -> bool {
        self.parcel == Parcel::Mail(queue)
            && matches!(self.stage, Stage::Noting(..) | Stage::Asked(_) | Stage::Brought | Stage::Settling)
    }
}

impl Identity {
    /// A contact does not answer: its drops come next, and the friend who carries what is for it.
    pub(in super::super) fn wants_deposits(&mut self, now: Timestamp, rng: &mut dyn Rng, contact: ContactId) {
        let drops = self.state.drops();
        let named = drops.of(contact).into_iter().flat_map(|of| of.iter()).map(|named| named.onion);
        let pages = drops.pages(contact).iter().copied();
        let places: Vec<_> = named.chain(pages).chain(self.friend_onion(contact)).collect();
        self.rooms.boxes.calendar.wants(contact, &places, now, rng);
    }

    /// Dials the drops of contacts that are due.
    pub(in super::super) fn deposit_what_is_due(&mut self, now: Timestamp, rng: &mut dyn Rng) {
        while let Some(place) = self.rooms.boxes.calendar.deposit_due(now) {
            let (contact, carrier) = place;
            let Some(parcel) = self.parcel_for(now, contact, carrier) else {
                self.rooms.boxes.calendar.deposit_over(place);
                continue;
            };
            let session = self.new_session();
            let bytes = match parcel {
                Parcel::Mail(queue) => self.state.queue().get(queue).map_or(0, |queued| queued.size.into()),
                Parcel::Receipts | Parcel::Page | Parcel::Card(_) => 0,
            };
            self.rooms.boxes.calendar.deposit_begins(place, session, bytes, now);
            let friend = self.friend_at(contact, carrier);
            let (receipt, machine, stage) = (rng.array(), None, Stage::Dialling);
            self.deposits.insert(session, Depositing { contact, carrier, parcel, receipt, friend, machine, stage });
            // A friend knows us; no carrier of a drop is to.
            self.effect(Effect::Dial(session, carrier, friend));
        }
    }

    /// What is to be left at a drop of a contact, where there is something.
    fn parcel_for(&self, now: Timestamp, contact: ContactId, carrier: Onion) -> Option<Parcel> {
        let entry = self.state.book().contact(contact)?;
        if self.friend_at(contact, carrier).is_some() {
            return self.parcel_for_friend(now, entry);
        }
        if let Some(parcel) = self.greeting_for(entry, carrier) {
            return Some(parcel);
        }
        let drops = self.state.drops().of(contact)?;
        if entry.status != ContactStatus::Confirmed || entry.certificate.is_none() {
            return None;
        }
        let has_token =
            |size| class_for(size).is_some_and(|class| drops.next_token(carrier, class, epoch(now)).is_some());
        let card = entry.cards.pending.as_ref().map(|card| card.content);
        if let Some(card) = card.filter(|card| !self.rooms.boxes.left_cards.contains(&(carrier, *card))) {
            let size = self.card_content(entry, None).map_or(u64::MAX, |content| content.len() as u64);
            if has_token(size) {
                return Some(Parcel::Card(card));
            }
        }
        if self.rooms.deliver.returning.contains_key(&contact) && !self.is_returning(contact) && has_token(0) {
            return Some(Parcel::Receipts);
        }
        let wants = |queue: &QueueId| {
            let there = self.state.drops().copies(*queue, contact).iter().filter(|copy| copy.onion == carrier);
            let (held, copies) = there.fold((false, 0), |(held, n), copy| (held || copy.held.is_some(), n + 1));
            let fits = self.state.queue().get(*queue).is_some_and(|queued| has_token(queued.size.into()));
            let wanted =
                !held && copies < limits::COPIES_AT_DROP && !self.rooms.boxes.too_large_for_drops.contains(queue);
            wanted && fits && self.may_copy(now, *queue)
        };
        let wanting: Vec<_> = self.rooms.deliver.schedule.idle_messages(contact).into_iter().filter(wants).collect();
        let fresh = wanting.iter().find(|queue| !self.rooms.boxes.unplaced.contains(&(carrier, **queue)));
        fresh.or_else(|| wanting.first()).copied().map(Parcel::Mail)
    }

    /// Whether another copy of a message may be made that others hold for days: each has to end before the recipient may have
    /// forgotten that it had the first.
    fn may_copy(&self, now: Timestamp, queue: QueueId) -> bool {
        self.state.queue().get(queue).is_some_and(|queued| now < queued.submitted.plus(limits::EXPIRY_MAX))
    }

    /// Whether the receipts for a contact are on their way to a drop.
    fn is_returning(&self, contact: ContactId) -> bool {
        self.deposits.values().any(|deposit| deposit.contact == contact && deposit.parcel == Parcel::Receipts)
    }

    /// The answer to the dial of a deposit.
    pub(in super::super) fn deposit_dialled(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        session: SessionId,
        result: Result<(), DialError>,
    ) {
        let Some(deposit) = self.deposits.get_mut(&session) else { return };
        if let Err(error) = result {
            return self.end_deposit(now, rng, session, Some(error.into()));
        }
        let (contact, carrier, parcel, receipt) = (deposit.contact, deposit.carrier, deposit.parcel, deposit.receipt);
        let (leg, sizes) = match deposit.friend {
            Some(_) => (Leg::Friend(Initiator::new(now)), Sizes::All),
            None => (Leg::Carrier(Patron::new(now)), Sizes::Drop),
        };
        deposit.machine = Some(leg);
        deposit.stage = Stage::Sealing;
        if parcel == Parcel::Page {
            let Some(token) = self.page_token(contact, carrier) else {
                return self.end_deposit(now, rng, session, None);
            };
            return self.fetch_page(now, rng, session, token);
        }
        let certificate = self.state.book().contact(contact).and_then(|entry: &Arc<Contact>| entry.certificate.clone());
        let Some(certificate) = certificate else {
            return self.end_deposit(now, rng, session, Some(AttemptError::Local));
        };
        let expires = Timestamp::from_secs(now.plus(limits::EXPIRY_MAX).secs());
        match parcel {
            Parcel::Mail(queue) => {
                let Some(queued) = self.state.queue().get(queue).cloned() else {
                    return self.end_deposit(now, rng, session, None);
                };
                let content = Content {
                    kind: ContentKind::Mail,
                    id: queued.content,
                    expires,
                    receipt: Some(receipt),
                    payload: Vec::new(),
                };
                let op = self.operation(Pending::Deposit(session));
                self.effect(Effect::SealBody(op, content.header(), queued.body, certificate, sizes));
            }
            Parcel::Receipts => {
                let Some(content) = self.receipts_content(contact) else {
                    return self.end_deposit(now, rng, session, None);
                };
                let op = self.operation(Pending::Deposit(session));
                self.effect(Effect::Seal(op, content, certificate, sizes));
            }
            Parcel::Page => self.end_deposit(now, rng, session, None),
            Parcel::Card(card) => {
                let waits = |entry: &&Arc<Contact>| entry.cards.pending.as_ref().is_some_and(|it| it.content == card);
                let entry = self.state.book().contact(contact).filter(waits);
                let Some(content) = entry.and_then(|entry| self.card_content(entry, Some(expires))) else {
                    return self.end_deposit(now, rng, session, None);
                };
                let op = self.operation(Pending::Deposit(session));
                self.effect(Effect::Seal(op, content, certificate, sizes));
            }
        }
    }

    fn fetch_page(&mut self, now: Timestamp, rng: &mut dyn Rng, session: SessionId, token: Token) {
        if let Some(deposit) = self.deposits.get_mut(&session)
            && let Some(Leg::Carrier(machine)) = &mut deposit.machine
        {
            deposit.stage = Stage::Fetching;
            machine.ask(now, ASKED, &BoxCommand::Fetch { token }, b"", limits::PAGE_BYTES);
            self.drive_deposit(now, rng, session);
        }
    }

    /// What is to be left was sealed.
    pub(in super::super) fn deposit_sealed(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        session: SessionId,
        result: Result<Vec<u8>, Refusal>,
    ) {
        let Some(deposit) = self.deposits.get_mut(&session) else { return };
        let (contact, carrier, parcel, friend) = (deposit.contact, deposit.carrier, deposit.parcel, deposit.friend);
        let object: Arc<[u8]> = match result {
            Ok(object) => object.into(),
            Err(refusal) => {
                if let Parcel::Mail(queue) = parcel {
                    match (friend, refusal) {
                        (Some(_), _) => self.rooms.boxes.refused_by_friend.insert(queue),
                        (None, Refusal::Permanent) => self.rooms.boxes.too_large_for_drops.insert(queue),
                        (None, Refusal::Date | Refusal::Temporary) => {
                            self.rooms.boxes.unplaced.insert((carrier, queue))
                        }
                    };
                }
                return self.end_deposit(now, rng, session, Some(AttemptError::Local));
            }
        };
        if let Some(token) = self.page_token(contact, carrier).filter(|_| matches!(parcel, Parcel::Card(_))) {
            if object.len() as u64 > limits::PAGE_ANSWER_BYTES {
                return self.end_deposit(now, rng, session, Some(AttemptError::Later));
            }
            // Of a card nobody needs to know whether it may have arrived: it is sent until it is answered.
            return self.hand_over(now, rng, session, object, Some(token));
        }
        if let (Some(friend), Parcel::Mail(queue)) = (friend, parcel) {
            return self.note_handing(now, rng, session, object, (friend, queue));
        }
        let token = Class::of(object.len() as u64)
            .and_then(|class| self.state.drops().of(contact)?.next_token(carrier, class, epoch(now)));
        let queue = match parcel {
            Parcel::Mail(queue) => Some(queue),
            Parcel::Receipts | Parcel::Page | Parcel::Card(_) => None,
        };
        let recalled = queue.is_some_and(|queue| self.rooms.deliver.schedule.is_recalled(queue));
        let Some((place, token)) = token.filter(|_| !recalled) else {
            // No token is left, for now; one of another class may be.
            self.rooms.boxes.unplaced.extend(queue.map(|queue| (carrier, queue)));
            return self.end_deposit(now, rng, session, Some(AttemptError::Later));
        };
        self.note_deposit(session, object, token, queue, place);
    }

    fn note_deposit(
        &mut self,
        session: SessionId,
        object: Arc<[u8]>,
        token: Token,
        queue: Option<QueueId>,
        place: Place,
    ) {
        let Some(deposit) = self.deposits.get_mut(&session) else { return };
        deposit.stage = Stage::Noting(object, Some(token));
        let (contact, onion, receipt) = (deposit.contact, deposit.carrier, deposit.receipt);
        let record = Record::Deposited { contact, queue, onion, place, receipt };
        self.commit(vec![record], Vec::new(), Then::Depositing(session, DepositStep::Noted));
    }

    /// A commit of a deposit was done, or was not.
    pub(in super::super) fn deposit_committed(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        session: SessionId,
        step: DepositStep,
        applied: Result<Vec<Applied>, CommitError>,
    ) {
        let Some(deposit) = self.deposits.get_mut(&session) else { return };
        let done = matches!(applied.as_deref(), Ok([Applied::Done, ..]));
        match step {
            DepositStep::Noted => {
                let stage = std::mem::replace(&mut deposit.stage, Stage::Settling);
                let (Stage::Noting(object, token), true) = (stage, done) else {
                    let problem = if applied.is_err() { Some(AttemptError::Local) } else { None };
                    return self.end_deposit(now, rng, session, problem);
                };
                self.hand_over(now, rng, session, object, token);
            }
            DepositStep::Held => {
                // Where our own disk failed the copy is one without an answer: one more may follow.
                let problem = if applied.is_err() { Some(AttemptError::Local) } else { None };
                self.end_deposit(now, rng, session, problem);
            }
            DepositStep::Refused => self.end_deposit(now, rng, session, Some(AttemptError::Later)),
        }
    }

    fn hand_over(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        session: SessionId,
        object: Arc<[u8]>,
        token: Option<Token>,
    ) {
        let job = self.deposits.get(&session).and_then(|deposit| self.job_for_friend(deposit, &object));
        let Some(deposit) = self.deposits.get_mut(&session) else { return };
        match (&mut deposit.machine, token, job) {
            (Some(Leg::Carrier(machine)), Some(token), _) if object.len() > limits::PIPELINED_OBJECT_BYTES => {
                let claim = Claim::of(&object);
                machine.ask(now, ASKED, &BoxCommand::Deposit { token, claim }, b"", 0);
                deposit.stage = Stage::Asked(Some(object));
            }
            (Some(Leg::Carrier(machine)), Some(token), _) => {
                machine.deposit(now, ASKED, BROUGHT, token, &object);
                deposit.stage = Stage::Asked(None);
            }
            (Some(Leg::Friend(machine)), _, Some(job)) => {
                machine.send(now, BROUGHT, job);
                deposit.stage = Stage::Brought;
            }
            // It broke off before anything was handed over.
            _ => return self.deposit_refused(now, rng, session),
        }
        self.drive_deposit(now, rng, session);
    }

    /// Lets the machine of a deposit say what happened, and sends what it has to say.
    fn drive_deposit(&mut self, now: Timestamp, rng: &mut dyn Rng, session: SessionId) {
        match self.deposits.get_mut(&session).and_then(|deposit| deposit.machine.as_mut()) {
            Some(Leg::Carrier(machine)) => {
                for event in machine.take_events() {
                    self.deposit_event(now, rng, session, event);
                }
            }
            Some(Leg::Friend(machine)) => {
                for event in machine.take_events() {
                    self.friend_event(now, rng, session, &event);
                }
            }
            None => return,
        }
        let Some(machine) = self.deposits.get_mut(&session).and_then(|deposit| deposit.machine.as_mut()) else {
            return;
        };
        let output = machine.take_output();
        self.transmit(session, output);
    }

    fn deposit_event(&mut self, now: Timestamp, rng: &mut dyn Rng, session: SessionId, event: Service) {
        let Some(deposit) = self.deposits.get_mut(&session) else { return };
        let code = |status: Status| status.code();
        match event {
            Service::Arrived(..) => {}
            Service::Failed(..) => match deposit.stage {
                // Nothing was handed over: what is under way notices.
                Stage::Dialling | Stage::Sealing | Stage::Noting(..) | Stage::Settling => deposit.machine = None,
                // It may be there; or there is no page.
                Stage::Fetching | Stage::Asked(_) | Stage::Brought => {
                    self.end_deposit(now, rng, session, Some(AttemptError::Broken));
                }
            },
            Service::Answer(ticket, lines) => {
                let answered = lines.last().map(super::super::session::Answered::code);
                let place = (deposit.contact, deposit.carrier);
                let Some(Leg::Carrier(machine)) = &mut deposit.machine else { return };
                match (&mut deposit.stage, ticket) {
                    (Stage::Fetching, _) => match lines.last().and_then(|line| line.blocks.first()) {
                        Some(page) if answered == Some(code(Status::MessageObject)) => {
                            self.page_fetched(now, rng, session, place, page);
                        }
                        _ => self.end_deposit(now, rng, session, Some(AttemptError::Later)),
                    },
                    (Stage::Asked(object), ASKED) if answered == Some(code(Status::Ready)) => {
                        if let Some(object) = object.take() {
                            machine.bring(now, BROUGHT, &object);
                        }
                        deposit.stage = Stage::Brought;
                    }
                    (Stage::Brought, BROUGHT) if answered == Some(code(Status::Roger)) => {
                        self.deposit_held(now, rng, session);
                    }
                    (Stage::Asked(_) | Stage::Brought, _) => self.deposit_refused(now, rng, session),
                    _ => {}
                }
            }
        }
    }

    fn deposit_held(&mut self, now: Timestamp, rng: &mut dyn Rng, session: SessionId) {
        let Some(deposit) = self.deposits.get_mut(&session) else { return };
        deposit.stage = Stage::Settling;
        let (contact, carrier, receipt) = (deposit.contact, deposit.carrier, deposit.receipt);
        self.rooms.boxes.calendar.deposit_held((contact, carrier), session, now);
        let records = match deposit.parcel {
            Parcel::Mail(queue) => vec![Record::DepositSettled { contact, queue, receipt, held: Some(now) }],
            Parcel::Receipts => match self.returned_records(contact) {
                Some(records) => records,
                // They went another way meanwhile.
                None => return self.end_deposit(now, rng, session, None),
            },
            Parcel::Page => return self.end_deposit(now, rng, session, None),
            Parcel::Card(card) => {
                self.rooms.boxes.left_cards.insert((carrier, card));
                match self.greeting_waits(now, contact, card) {
                    Some(record) => vec![record],
                    None => return self.end_deposit(now, rng, session, None),
                }
            }
        };
        self.commit(records, Vec::new(), Then::Depositing(session, DepositStep::Held));
    }

    /// The carrier did not take it, as it says; or nothing was handed over.
    fn deposit_refused(&mut self, now: Timestamp, rng: &mut dyn Rng, session: SessionId) {
        let Some(deposit) = self.deposits.get_mut(&session) else { return };
        deposit.stage = Stage::Settling;
        let (contact, receipt) = (deposit.contact, deposit.receipt);
        match deposit.parcel {
            Parcel::Mail(queue) => {
                match deposit.friend {
                    Some(_) => self.rooms.boxes.refused_by_friend.insert(queue),
                    None => self.rooms.boxes.unplaced.insert((deposit.carrier, queue)),
                };
                let record = Record::DepositSettled { contact, queue, receipt, held: None };
                self.commit(vec![record], Vec::new(), Then::Depositing(session, DepositStep::Refused));
            }
            Parcel::Receipts | Parcel::Page | Parcel::Card(_) => {
                self.end_deposit(now, rng, session, Some(AttemptError::Later));
            }
        }
    }

    /// The carrier sent bytes.
    pub(in super::super) fn deposit_received(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        session: SessionId,
        bytes: &[u8],
    ) {
        if let Some(machine) = self.deposits.get_mut(&session).and_then(|deposit| deposit.machine.as_mut()) {
            machine.handle(now, bytes);
            self.drive_deposit(now, rng, session);
        }
    }

    /// The connection ended.
    pub(in super::super) fn deposit_closed(&mut self, now: Timestamp, rng: &mut dyn Rng, session: SessionId) {
        if let Some(machine) = self.deposits.get_mut(&session).and_then(|deposit| deposit.machine.as_mut()) {
            machine.disconnected();
            self.drive_deposit(now, rng, session);
        }
        if let Some(deposit) = self.deposits.get_mut(&session) {
            deposit.machine = None;
            if matches!(deposit.stage, Stage::Fetching | Stage::Sealing) {
                self.end_deposit(now, rng, session, Some(AttemptError::Broken));
            }
        }
    }

    /// Lets deposits see that time has passed.
    pub(in super::super) fn deposit_timeouts(&mut self, now: Timestamp, rng: &mut dyn Rng) {
        let due = |deposit: &Depositing| deposit.poll_timeout().is_some_and(|at| at <= now);
        let sessions: Vec<_> =
            self.deposits.iter().filter(|(_, deposit)| due(deposit)).map(|(&session, _)| session).collect();
        for session in sessions {
            if let Some(machine) = self.deposits.get_mut(&session).and_then(|deposit| deposit.machine.as_mut()) {
                machine.handle_timeout(now);
                self.drive_deposit(now, rng, session);
            }
        }
    }

    pub(in super::super) fn end_deposit(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        session: SessionId,
        problem: Option<AttemptError>,
    ) {
        let Some(mut deposit) = self.deposits.remove(&session) else { return };
        if let Some(machine) = &mut deposit.machine {
            machine.finish(now);
            let output = machine.take_output();
            self.transmit(session, output);
        }
        if !matches!(deposit.stage, Stage::Dialling) {
            self.effect(Effect::Close(session));
        }
        self.rooms.boxes.calendar.deposit_ended((deposit.contact, deposit.carrier), problem, now, rng);
        self.attempts_changed();
    }
}

/// The class of objects that a content of this size takes at most.
fn class_for(size: u64) -> Option<Class> {
    Class::that_holds(size.saturating_add(size / 200).saturating_add(SEAL_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_is_left_in_the_class_that_has_room_for_its_seal_too() {
        // The last sizes of each class: with a two-hundredth more and 2 KiB it is full.
        for (size, class) in [
            (0, 12),
            (2038, 12),
            (14_265, 14),
            (63_173, 16),
            (258_802, 18),
            (1_041_322, 20),
            (4_171_399, 22),
            (16_691_710, 24),
        ] {
            assert_eq!(class_for(size).map(Class::number), Some(class), "{size}");
            let next = class_for(size + 1).map(Class::number);
            assert_eq!(next, if size == 0 { Some(12) } else { Some(class + 2).filter(|class| *class <= 24) }, "{size}");
        }
        assert_eq!(class_for(u64::MAX), None);
    }
}
