//! What comes back in a session that we dialled: certificates, acknowledgements, refusals, and the end of the commits
//! that follow from them.
//!
//! An acknowledged item is settled by a commit; a permanent refusal by a commit with a report. Where that commit
//! fails, the item waits again: the peer recognises what it has. Everything else is tried later.

use std::sync::Arc;

use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::{ContactId, ContentId, SessionId, Timestamp};
use crate::wire::{Code, Disposition, Status};

use super::book::{Contact, ContactChange, ContactStatus};
use super::effect::{CommitError, Effect};
use super::greeting::{next_card, same_certificate};
use super::identity::{Identity, Pending, Then};
use super::queue::FailureReason;
use super::record::Record;
use super::sending::{Item, SendingStep};
use super::session::{Event, Outcome, Ticket};
use super::state::AttemptError;

impl Identity {
    pub(super) fn event(&mut self, now: Timestamp, rng: &mut dyn Rng, session: SessionId, event: Event) {
        let Some(outbound) = self.outbound.get_mut(&session) else { return };
        match event {
            Event::Certificate { ticket, bytes, wanted } => self.certificate_shown(now, session, ticket, bytes, wanted),
            // Every object is sealed before its job begins, so no job asks for one but the question for the certificate.
            Event::Wanted { ticket } => {
                outbound.asking = None;
                if let Some(machine) = &mut outbound.machine {
                    machine.withdraw(now, ticket);
                }
            }
            Event::Outcome { ticket, outcome } => self.job_ended(now, rng, session, ticket, outcome),
            Event::Failed { .. } => {
                outbound.asking = None;
                outbound.problem = Some(AttemptError::Broken);
                outbound.machine = None;
            }
        }
    }

    fn certificate_shown(
        &mut self,
        now: Timestamp,
        session: SessionId,
        ticket: Ticket,
        bytes: Arc<[u8]>,
        wanted: bool,
    ) {
        let Some(outbound) = self.outbound.get_mut(&session) else { return };
        if wanted {
            if let Some(machine) = &mut outbound.machine {
                machine.withdraw(now, ticket);
            }
            outbound.asking = outbound.asking.filter(|asking| *asking != ticket);
            if let Some(item) = outbound.sent.remove(&ticket) {
                self.begin_again(session, item);
            }
        }
        let Some(outbound) = self.outbound.get_mut(&session) else { return };
        let Some(contact) = self.state.book().contact(outbound.contact) else { return };
        if outbound.checking || same_certificate(contact, &bytes) {
            return;
        }
        outbound.checking = true;
        let fingerprint = contact.fingerprint;
        let op = self.operation(Pending::Certificate(session, bytes.clone()));
        self.effect(Effect::CheckCertificate(op, bytes, fingerprint));
    }

    /// The certificate that the peer showed was checked.
    pub(super) fn certificate_checked(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        session: SessionId,
        bytes: Arc<[u8]>,
        usable: bool,
    ) {
        let Some(outbound) = self.outbound.get_mut(&session) else { return };
        let contact = outbound.contact;
        if usable {
            let record = Record::ContactChanged { id: contact, change: ContactChange::Certificate(bytes) };
            self.commit(vec![record], Vec::new(), Then::Sending(contact, SendingStep::Certificate(session)));
        } else {
            outbound.checking = false;
            outbound.problem = Some(AttemptError::WrongCertificate);
            self.end_session(now, rng, session);
        }
    }

    fn job_ended(&mut self, now: Timestamp, rng: &mut dyn Rng, session: SessionId, ticket: Ticket, outcome: Outcome) {
        let Some(outbound) = self.outbound.get_mut(&session) else { return };
        let contact = outbound.contact;
        let Some(item) = outbound.sent.remove(&ticket) else {
            if outbound.asking == Some(ticket) {
                outbound.asking = None;
                outbound.refusals = limits::SENDING_REFUSALS;
                outbound.problem = Some(AttemptError::Later);
            }
            return;
        };
        match outcome {
            Outcome::Accepted => {
                outbound.taken += 1;
                outbound.refusals = 0;
                outbound.settling.insert(item);
                // That a greeting is taken says nothing of the mail behind it.
                if !matches!(item, Item::Card(_)) || !self.is_greeting(contact) {
                    self.rooms.deliver.schedule.reached(contact, now);
                }
                let then = Then::Sending(contact, SendingStep::Settled(session, item));
                match item {
                    Item::Card(content) => self.card_accepted(contact, content, then),
                    Item::Receipts(_) => match self.returned_records(contact) {
                        Some(records) => self.commit(records, Vec::new(), then),
                        // The receipts went by a drop meanwhile.
                        None => self.after_commit(now, rng, contact, SendingStep::Settled(session, item), Ok(())),
                    },
                    Item::Mail(queue) => self.delivered(now, rng, queue, contact, then),
                }
            }
            Outcome::Refused(code) => self.refused(now, rng, session, item, code),
            Outcome::Outdated if outbound.outdated.insert(item) => self.begin_again(session, item),
            Outcome::Outdated => self.refused(now, rng, session, item, Status::ContentRefused.code()),
        }
    }

    /// A contact acknowledged our card: it has the key that the card gives.
    fn card_accepted(&mut self, contact: ContactId, content: ContentId, then: Then) {
        let change = ContactChange::CardSettled(content);
        let mut records = vec![Record::ContactChanged { id: contact, change }];
        let waits = |entry: &&Arc<Contact>| entry.cards.pending.as_ref().is_some_and(|card| card.content == content);
        records.extend(self.state.book().contact(contact).filter(waits).and_then(|entry| entry.key_settled()));
        self.commit(records, Vec::new(), then);
    }

    fn refused(&mut self, now: Timestamp, rng: &mut dyn Rng, session: SessionId, item: Item, code: Code) {
        let greets_again = code == Status::ContentRefused.code() && self.greets_again(now, rng, session, item);
        let Some(outbound) = self.outbound.get_mut(&session) else { return };
        let contact = outbound.contact;
        if code.disposition() == Disposition::Permanent && !greets_again {
            // The contact answered, so that other items may well be taken.
            outbound.taken += 1;
            outbound.settling.insert(item);
            let then = Then::Sending(contact, SendingStep::Settled(session, item));
            match item {
                Item::Mail(queue) => {
                    let too_large = code == Status::ObjectTooLarge.code();
                    let reason = if too_large { FailureReason::TooLarge } else { FailureReason::Refused };
                    self.report(now, rng, queue, &[(contact, reason)], then);
                }
                Item::Card(_) => self.card_failed(now, rng, contact, true, then),
                // A contact that refuses these receipts is not sent them again.
                Item::Receipts(_) => {
                    let none = || vec![Record::ReceiptsReturned { contact, receipts: Vec::new() }];
                    let records = self.returned_records(contact).unwrap_or_else(none);
                    self.commit(records, Vec::new(), then);
                }
            }
            return;
        }
        outbound.problem = Some(AttemptError::Later);
        outbound.refusals += 1;
        if let Item::Mail(queue) = item
            && outbound.noted.remove(&queue)
        {
            // A refusal says that nothing was kept of this copy, and there was none before.
            self.not_sent(contact, vec![queue]);
        }
        self.pass_over(session, item);
    }

    /// Whether mail was refused by somebody who took our card and does not know us all the same: their requests were full,
    /// or they lost what they had. It waits, and they get another card before it.
    fn greets_again(&mut self, now: Timestamp, rng: &mut dyn Rng, session: SessionId, item: Item) -> bool {
        let Some(outbound) = self.outbound.get_mut(&session) else { return false };
        let contact = self.state.book().contact(outbound.contact);
        let greeting = |entry: &&Arc<Contact>| entry.status == ContactStatus::Greeting;
        let (Item::Mail(_), Some(contact)) = (item, contact.filter(greeting)) else { return false };
        // Nothing follows the card in this session, so that a contact gets one card each time that it is dialled.
        if !std::mem::replace(&mut outbound.card_passed_over, true) {
            let change = ContactChange::CardQueued(next_card(contact, now, None, rng));
            self.commit(vec![Record::ContactChanged { id: contact.id, change }], Vec::new(), Then::Nothing);
        }
        true
    }

    fn is_greeting(&self, contact: ContactId) -> bool {
        self.state.book().contact(contact).is_some_and(|entry| entry.status == ContactStatus::Greeting)
    }

    /// Leaves an item alone for the rest of a session.
    pub(super) fn pass_over(&mut self, session: SessionId, item: Item) {
        let Some(outbound) = self.outbound.get_mut(&session) else { return };
        match item {
            Item::Card(_) => outbound.card_passed_over = true,
            Item::Receipts(_) => outbound.receipts_passed_over = true,
            Item::Mail(queue) => {
                outbound.passed_over.insert(queue);
                self.rooms.deliver.schedule.set_busy(outbound.contact, queue, false);
            }
        }
    }

    /// A commit of the sending side was done, or was not.
    pub(super) fn after_commit(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        contact: ContactId,
        step: SendingStep,
        result: Result<(), CommitError>,
    ) {
        let failed = result.is_err();
        match step {
            SendingStep::Settled(session, item) => {
                if let (Item::Mail(queue), true) = (item, failed) {
                    self.rooms.deliver.schedule.set_busy(contact, queue, false);
                }
                if let Some(outbound) = self.outbound.get_mut(&session) {
                    outbound.settling.remove(&item);
                    if failed {
                        outbound.problem = Some(AttemptError::Local);
                        if let Item::Mail(queue) = item {
                            // The peer has it, whatever our disk says: nothing may be taken back.
                            outbound.noted.remove(&queue);
                        }
                        self.pass_over(session, item);
                    }
                    self.advance(now, rng, session);
                }
            }
            SendingStep::Certificate(session) => {
                let Some(outbound) = self.outbound.get_mut(&session) else { return };
                outbound.checking = false;
                if failed {
                    outbound.problem = Some(AttemptError::Local);
                    self.end_session(now, rng, session);
                } else {
                    self.advance(now, rng, session);
                }
            }
            SendingStep::Noted(session, queues) => {
                let Some(outbound) = self.outbound.get_mut(&session) else {
                    // The session ended meanwhile, and nothing was handed over.
                    if !failed {
                        self.not_sent(contact, queues);
                    }
                    return;
                };
                outbound.noting = false;
                if failed {
                    outbound.problem = Some(AttemptError::Local);
                    self.end_session(now, rng, session);
                } else {
                    outbound.noted.extend(queues);
                    self.advance(now, rng, session);
                }
            }
            SendingStep::TakenBack(queues) => {
                for queue in queues {
                    self.rooms.deliver.taking_back.remove(&(contact, queue));
                }
            }
            SendingStep::Noticed(queue) if failed => self.rooms.deliver.schedule.notice_later(queue, now),
            SendingStep::Failed(messages) if failed => {
                for (contact, queue) in messages {
                    self.rooms.deliver.schedule.set_busy(contact, queue, false);
                    self.rooms.deliver.schedule.look_again(queue, now);
                }
            }
            SendingStep::Noticed(_) | SendingStep::Failed(_) => {}
        }
    }
}
