//! Answers in a session that we dialled: certificates, acknowledgements, refusals, and the end of the commits that
//! follow from them.
//!
//! An acknowledged item is settled by a commit; a permanent refusal by a commit with a report. If that commit fails,
//! the item waits again: the peer recognises an object that it has. After any other outcome the item is tried later.

use std::sync::Arc;

use crate::base::ContentId;
use crate::base::limits;
use crate::wire::{Code, Disposition, Status};

use crate::engine::context::{Context, Owner};
use crate::engine::deliver::direct::{Direct, InFlight};
use crate::engine::deliver::{AfterCommit, Deliver};
use crate::engine::dialled::{Dialled, Outgoing};
use crate::engine::io::{Draft, Effect};
use crate::engine::people::cards::{next_card, same_certificate};
use crate::engine::session::{Event, Outcome, Ticket};
use crate::engine::state::book::{Contact, ContactChange, ContactStatus};
use crate::engine::state::queue::FailureReason;
use crate::engine::state::record::{BookRecord, BoxRecord, Record};
use crate::engine::state::{AttemptError, State};

impl Direct {
    /// The client reports something.
    pub(in crate::engine) fn reported(&mut self, cx: &mut Context<'_>, deliver: &mut Deliver, event: Event) {
        match event {
            Event::Certificate { ticket, bytes, wanted } => self.certificate_shown(cx, deliver, ticket, bytes, wanted),
            // Every object is sealed before its job begins, so only the question for the certificate asks for one.
            Event::Wanted { ticket } => {
                self.asking = None;
                if let Some(machine) = self.line.machine() {
                    machine.withdraw(cx.now, ticket);
                }
            }
            Event::Outcome { ticket, outcome } => self.job_ended(cx, deliver, ticket, outcome),
            Event::Failed { .. } => {
                self.asking = None;
                self.problem = Some(AttemptError::Broken);
                self.line.lose();
            }
        }
    }

    fn certificate_shown(
        &mut self,
        cx: &mut Context<'_>,
        deliver: &mut Deliver,
        ticket: Ticket,
        bytes: Arc<[u8]>,
        wanted: bool,
    ) {
        if wanted {
            if let Some(machine) = self.line.machine() {
                machine.withdraw(cx.now, ticket);
            }
            self.asking = self.asking.filter(|asking| *asking != ticket);
            if let Some(item) = self.sent.remove(&ticket) {
                self.begin_again(deliver, item);
            }
        }
        let Some(contact) = cx.state.book().contact(self.contact) else { return };
        if self.checking || same_certificate(contact, &bytes) {
            return;
        }
        self.checking = true;
        let op = cx.out.operation(Owner::Task(self.session()));
        self.in_flight.insert(op, InFlight::Certificate(bytes.clone()));
        cx.out.effect(Effect::CheckCertificate(op, bytes, contact.fingerprint));
    }

    /// The certificate that the peer showed was checked.
    pub(in crate::engine) fn certificate_checked(
        &mut self,
        cx: &mut Context<'_>,
        deliver: &mut Deliver,
        bytes: Arc<[u8]>,
        usable: bool,
    ) {
        if usable {
            let record = Record::Book(BookRecord::ContactChanged {
                id: self.contact,
                change: ContactChange::Certificate(bytes),
            });
            deliver.commit(cx, record.into(), AfterCommit::Certificate(self.session()));
        } else {
            self.checking = false;
            self.problem = Some(AttemptError::WrongCertificate);
            self.end(cx, deliver, None);
        }
    }

    fn job_ended(&mut self, cx: &mut Context<'_>, deliver: &mut Deliver, ticket: Ticket, outcome: Outcome) {
        let Some(item) = self.sent.remove(&ticket) else {
            if self.asking == Some(ticket) {
                self.asking = None;
                self.refusals = limits::SENDING_REFUSALS;
                self.problem = Some(AttemptError::Later);
            }
            return;
        };
        match outcome {
            Outcome::Accepted => self.accepted(cx, deliver, item),
            Outcome::Refused(code) => self.refused(cx, deliver, item, code),
            Outcome::Outdated if self.outdated.insert(item) => self.begin_again(deliver, item),
            Outcome::Outdated => self.refused(cx, deliver, item, Status::ContentRefused.code()),
        }
    }

    fn accepted(&mut self, cx: &mut Context<'_>, deliver: &mut Deliver, item: Outgoing) {
        self.taken += 1;
        self.refusals = 0;
        self.settling.insert(item);
        // A node that takes a greeting may still refuse the mail behind it.
        if !matches!(item, Outgoing::Card(_)) || !self.is_greeting(cx.state) {
            deliver.schedule.reached(self.contact, cx.now);
        }
        let then = AfterCommit::Settled(self.session(), self.contact, item);
        match item {
            Outgoing::Card(content) => {
                let change = self.card_accepted(cx.state, content);
                deliver.commit(cx, change, then);
            }
            Outgoing::Receipts(_) => match deliver.receipts.returned_records(self.contact) {
                Some(records) => deliver.commit(cx, records.into(), then),
                // The receipts went by a box meanwhile.
                None => self.settled(cx, deliver, item, false),
            },
            Outgoing::Mail(queue) => deliver.delivered(cx, queue, self.contact, then),
        }
    }

    /// A contact acknowledged our card: it has the key that the card gives.
    fn card_accepted(&self, state: &State, content: ContentId) -> Draft {
        let change = ContactChange::CardSettled(content);
        let mut records = vec![Record::Book(BookRecord::ContactChanged { id: self.contact, change })];
        let waits = |entry: &&Arc<Contact>| entry.cards.pending.as_ref().is_some_and(|card| card.content == content);
        records.extend(state.book().contact(self.contact).filter(waits).and_then(|entry| entry.key_settled()));
        records.into()
    }

    fn refused(&mut self, cx: &mut Context<'_>, deliver: &mut Deliver, item: Outgoing, code: Code) {
        let greets_again = code == Status::ContentRefused.code() && self.greets_again(cx, deliver, item);
        let contact = self.contact;
        if code.disposition() == Disposition::Permanent && !greets_again {
            // The contact answered, so that other items may well be taken.
            self.taken += 1;
            self.settling.insert(item);
            let then = AfterCommit::Settled(self.session(), contact, item);
            match item {
                Outgoing::Mail(queue) => {
                    let too_large = code == Status::ObjectTooLarge.code();
                    let reason = if too_large { FailureReason::TooLarge } else { FailureReason::Refused };
                    deliver.report(cx, queue, &[(contact, reason)], then);
                }
                Outgoing::Card(_) => deliver.card_failed(cx, contact, true, then),
                // A contact that refuses these receipts is not sent them again.
                Outgoing::Receipts(_) => {
                    let none = || vec![Record::Boxes(BoxRecord::ReceiptsReturned { contact, receipts: Vec::new() })];
                    let records = deliver.receipts.returned_records(contact).unwrap_or_else(none);
                    deliver.commit(cx, records.into(), then);
                }
            }
            return;
        }
        self.problem = Some(AttemptError::Later);
        self.refusals += 1;
        if let Outgoing::Mail(queue) = item
            && deliver.noted.get_mut(&contact).is_some_and(|noted| noted.remove(&queue))
        {
            // A refusal says that nothing was kept of this copy, and there was none before.
            deliver.not_sent(cx, contact, vec![queue]);
        }
        self.pass_over(deliver, item);
    }

    /// Whether mail was refused by a contact that took our card and does not know us all the same: its requests were
    /// full, or it lost what it had. The mail waits, and the contact gets another card before it.
    fn greets_again(&mut self, cx: &mut Context<'_>, deliver: &mut Deliver, item: Outgoing) -> bool {
        let contact = cx.state.book().contact(self.contact);
        let greeting = |entry: &&Arc<Contact>| entry.status == ContactStatus::Greeting;
        let (Outgoing::Mail(_), Some(contact)) = (item, contact.filter(greeting)) else { return false };
        // Nothing follows the card in this session, so that a contact gets one card each time that it is dialled.
        if !std::mem::replace(&mut self.card_passed_over, true) {
            let change = ContactChange::CardQueued(next_card(contact, cx.now, None, cx.rng));
            let record = Record::Book(BookRecord::ContactChanged { id: contact.id, change });
            deliver.commit(cx, record.into(), AfterCommit::Nothing);
        }
        true
    }

    fn is_greeting(&self, state: &State) -> bool {
        state.book().contact(self.contact).is_some_and(|entry| entry.status == ContactStatus::Greeting)
    }

    /// Leaves an item alone for the rest of a session.
    pub(in crate::engine) fn pass_over(&mut self, deliver: &mut Deliver, item: Outgoing) {
        match item {
            Outgoing::Card(_) => self.card_passed_over = true,
            Outgoing::Receipts(_) => self.receipts_passed_over = true,
            Outgoing::Mail(queue) => {
                self.passed_over.insert(queue);
                deliver.schedule.set_busy(self.contact, queue, false);
            }
        }
    }

    /// The outcome of an item is on the disk, or is not.
    pub(in crate::engine) fn settled(
        &mut self,
        cx: &mut Context<'_>,
        deliver: &mut Deliver,
        item: Outgoing,
        failed: bool,
    ) {
        self.settling.remove(&item);
        if failed {
            self.problem = Some(AttemptError::Local);
            if let (Outgoing::Mail(queue), Some(noted)) = (item, deliver.noted.get_mut(&self.contact)) {
                // The peer has it, whatever our disk says: nothing may be taken back.
                noted.remove(&queue);
            }
            self.pass_over(deliver, item);
        }
        self.advance(cx, deliver);
    }
}
