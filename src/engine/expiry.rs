//! The honest end: what could not be delivered in time becomes a report in INBOX, in the transaction that ends the
//! attempts; what is late, a notice before that (`reports`).
//!
//! Where the report cannot be written (the disk, a full INBOX), the message stays in the queue and is looked at again.

use crate::base::rng::Rng;
use crate::base::{ContactId, ContentId, QueueId, Timestamp};
use crate::mail::dsn;

use super::book::{ContactChange, ContactStatus};
use super::greeting::next_card;
use super::identity::{Identity, Then};
use super::mailbox::FolderRole;
use super::queue::FailureReason;
use super::record::Record;
use super::sending::SendingStep;
use super::state::AttemptError;

impl Identity {
    /// Ends what has expired.
    pub(super) fn expire(&mut self, now: Timestamp, rng: &mut dyn Rng) {
        while let Some(queue) = self.rooms.deliver.schedule.take_expired(now) {
            self.expire_message(now, rng, queue);
        }
        while let Some(queue) = self.rooms.deliver.schedule.take_notice(now) {
            self.give_notice(now, rng, queue);
        }
        while let Some(contact) = self.rooms.deliver.schedule.take_expired_card(now) {
            self.expire_card(now, rng, contact);
        }
    }

    fn expire_message(&mut self, now: Timestamp, rng: &mut dyn Rng, queue: QueueId) {
        let Some(queued) = self.state.queue().get(queue) else { return };
        if queued.expires > now {
            return self.rooms.deliver.schedule.expires(queue, queued.expires);
        }
        let (busy, idle): (Vec<_>, Vec<_>) = queued
            .waiting()
            .map(|(contact, _)| contact)
            .partition(|&contact| self.rooms.deliver.schedule.is_busy(contact, queue));
        // On its way at this moment: its outcome decides.
        if !busy.is_empty() {
            self.rooms.deliver.schedule.look_again(queue, now);
        }
        let reason = |contact| match self.rooms.deliver.schedule.last_error(contact) {
            Some(AttemptError::Local) => FailureReason::Unsealable,
            _ => FailureReason::Expired,
        };
        let drops = self.state.drops();
        let silent = |contact: &ContactId| {
            let held = drops.custody(queue, *contact) > 0 || self.state.carriage().says_delivered(queue, *contact);
            !drops.expects_receipts(*contact) && held
        };
        let (handed_over, failed): (Vec<_>, Vec<_>) = idle.into_iter().partition(silent);
        let failures: Vec<_> = failed.into_iter().map(|contact| (contact, reason(contact))).collect();
        if let Some(&first) = handed_over.first() {
            self.set_busy(queue, &handed_over);
            let messages = handed_over.iter().map(|&contact| (contact, queue)).collect();
            self.handed_over(now, rng, queue, &handed_over, Then::Sending(first, SendingStep::Failed(messages)));
        }
        self.fail(now, rng, queue, &failures);
    }

    fn give_notice(&mut self, now: Timestamp, rng: &mut dyn Rng, queue: QueueId) {
        let Some(queued) = self.state.queue().get(queue).cloned() else { return };
        let Some((contact, _)) = queued.waiting().next() else { return };
        if queued.notice_due().is_none_or(|due| due > now) {
            return;
        }
        // On its way at this moment, perhaps: then there is nothing to tell.
        if queued.waiting().any(|(contact, _)| self.rooms.deliver.schedule.is_busy(contact, queue)) {
            return self.rooms.deliver.schedule.notice_later(queue, now);
        }
        self.report_delay(now, rng, &queued, Then::Sending(contact, SendingStep::Noticed(queue)));
    }

    /// Ends the attempts at recipients who are not being sent to.
    fn fail(&mut self, now: Timestamp, rng: &mut dyn Rng, queue: QueueId, failures: &[(ContactId, FailureReason)]) {
        let Some(&(first, _)) = failures.first() else { return };
        self.set_busy(queue, &failures.iter().map(|&(contact, _)| contact).collect::<Vec<_>>());
        let messages = failures.iter().map(|&(contact, _)| (contact, queue)).collect();
        self.report(now, rng, queue, failures, Then::Sending(first, SendingStep::Failed(messages)));
    }

    fn set_busy(&mut self, queue: QueueId, contacts: &[ContactId]) {
        for contact in contacts {
            self.rooms.deliver.schedule.set_busy(*contact, queue, true);
        }
    }

    fn expire_card(&mut self, now: Timestamp, rng: &mut dyn Rng, contact: ContactId) {
        let Some(entry) = self.state.book().contact(contact).cloned() else { return };
        let Some(card) = entry.cards.pending.as_ref() else { return };
        if card.expires > now || self.rooms.deliver.schedule.session(contact).is_some() {
            return;
        }
        // A greeting ends with its invitation; any other card is what the contact needs to know us, and is renewed.
        if entry.status == ContactStatus::Greeting {
            self.card_failed(now, rng, contact, false, Then::Nothing);
        } else {
            let change = ContactChange::CardQueued(next_card(&entry, now, card.secret, rng));
            self.commit(vec![Record::ContactChanged { id: contact, change }], Vec::new(), Then::Nothing);
        }
    }

    /// Gives up the card that waits for a contact; for a greeting, with a notice.
    pub(super) fn card_failed(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        contact: ContactId,
        refused: bool,
        then: Then,
    ) {
        let Some(entry) = self.state.book().contact(contact).cloned() else { return self.nothing(now, rng, then) };
        let Some(card) = entry.cards.pending.as_ref() else { return self.nothing(now, rng, then) };
        let mut records =
            vec![Record::ContactChanged { id: contact, change: ContactChange::CardSettled(card.content) }];
        let mut bodies = Vec::new();
        if entry.status == ContactStatus::Greeting {
            let id = ContentId::random(rng);
            let text = dsn::greeting_failed(self.address(), &entry.petname, &entry.address, refused, id, now);
            if let Some((folder, message, body)) = self.own_message(now, rng, FolderRole::Inbox, text) {
                records.push(Record::MessageAdded { folder, message });
                bodies.push(body);
            }
        }
        self.commit(records, bodies, then);
    }

    /// Ends everything for somebody who is no longer in the book, or is blocked.
    pub(super) fn give_up(&mut self, now: Timestamp, rng: &mut dyn Rng, contact: ContactId) {
        self.rooms.deliver.schedule.forget_card(contact);
        self.rooms.deliver.schedule.postpone(contact, now);
        for queue in self.rooms.deliver.schedule.idle_messages(contact) {
            self.fail(now, rng, queue, &[(contact, FailureReason::NoContact)]);
        }
    }
}
