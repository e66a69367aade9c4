//! The honest end: what could not be delivered becomes a report in INBOX, in the transaction that ends the attempts.
//!
//! Where the report cannot be written (the disk, a full INBOX), the message stays in the queue and is looked at again.

use crate::base::rng::Rng;
use crate::base::{ContactId, ContentId, QueueId, Timestamp};
use crate::mail::dsn::{self, Undelivered};

use super::book::{ContactChange, ContactStatus};
use super::effect::CommitError;
use super::greeting::next_card;
use super::identity::{Identity, Then};
use super::mailbox::FolderRole;
use super::queue::FailureReason;
use super::record::Record;
use super::sending::SendingStep;

impl Identity {
    /// Ends what has expired.
    pub(super) fn expire(&mut self, now: Timestamp, rng: &mut dyn Rng) {
        while let Some(queue) = self.schedule.take_expired(now) {
            self.expire_message(now, rng, queue);
        }
        while let Some(contact) = self.schedule.take_expired_card(now) {
            self.expire_card(now, rng, contact);
        }
    }

    fn expire_message(&mut self, now: Timestamp, rng: &mut dyn Rng, queue: QueueId) {
        let Some(queued) = self.state.queue().get(queue) else { return };
        if queued.expires > now {
            return self.schedule.expires(queue, queued.expires);
        }
        let (busy, idle): (Vec<_>, Vec<_>) =
            queued.waiting().map(|(contact, _)| contact).partition(|&contact| self.schedule.is_busy(contact, queue));
        // On its way at this moment: its outcome decides.
        if !busy.is_empty() {
            self.schedule.look_again(queue, now);
        }
        let failures: Vec<_> = idle
            .into_iter()
            .map(|contact| match self.schedule.is_unconfirmed(contact, queue) {
                true => (contact, FailureReason::Unconfirmed),
                false => (contact, FailureReason::Expired),
            })
            .collect();
        self.fail(now, rng, queue, &failures);
    }

    /// Ends the attempts at recipients who are not being sent to.
    fn fail(&mut self, now: Timestamp, rng: &mut dyn Rng, queue: QueueId, failures: &[(ContactId, FailureReason)]) {
        let Some(&(first, _)) = failures.first() else { return };
        for &(contact, _) in failures {
            self.schedule.set_busy(contact, queue, true);
        }
        let messages = failures.iter().map(|&(contact, _)| (contact, queue)).collect();
        self.report(now, rng, queue, failures, Then::Sending(first, SendingStep::Failed(messages)));
    }

    /// Ends the attempts at these recipients of a message, with a report; all in one transaction.
    pub(super) fn report(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        queue: QueueId,
        failures: &[(ContactId, FailureReason)],
        then: Then,
    ) {
        let Some(queued) = self.state.queue().get(queue).cloned() else { return self.nothing(now, rng, then) };
        let undelivered: Vec<_> = failures
            .iter()
            .filter_map(|&(contact, reason)| {
                let address = queued.recipients.get(&contact)?.address.clone();
                let petname = self.state.book().contact(contact).map(|contact| contact.petname.clone());
                Some(Undelivered { petname: petname.unwrap_or_default(), address, reason })
            })
            .collect();
        let about = dsn::Report {
            own: self.address(),
            queue,
            submitted: queued.submitted,
            undelivered: &undelivered,
            headers: &queued.headers,
        };
        let text = dsn::report(&about, ContentId::random(rng), now);
        let Some((folder, message, body)) = self.own_message(now, rng, FolderRole::Inbox, text) else {
            return self.nothing(now, rng, then);
        };
        let failed = |&(contact, reason)| Record::RecipientFailed { queue, contact, at: now, reason };
        let mut records: Vec<_> = failures.iter().map(failed).collect();
        records.push(Record::MessageAdded { folder, message });
        self.commit(records, vec![body], then);
    }

    /// Nothing can be written: it goes on as after a failed commit.
    fn nothing(&mut self, now: Timestamp, rng: &mut dyn Rng, then: Then) {
        if let Then::Sending(contact, step) = then {
            self.after_commit(now, rng, contact, step, Err(CommitError::NoSpace));
        }
    }

    fn expire_card(&mut self, now: Timestamp, rng: &mut dyn Rng, contact: ContactId) {
        let Some(entry) = self.state.book().contact(contact).cloned() else { return };
        let Some(card) = entry.cards.pending.as_ref() else { return };
        if card.expires > now || self.schedule.session(contact).is_some() {
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
        self.schedule.forget_card(contact);
        self.schedule.postpone(contact, now);
        for queue in self.schedule.idle_messages(contact) {
            self.fail(now, rng, queue, &[(contact, FailureReason::NoContact)]);
        }
    }
}
