//! Expiry: a message that could not be delivered in time becomes a report in INBOX, in the transaction that ends the
//! attempts. Before that a message that is late becomes a notice (`reports`).
//!
//! Where the report cannot be written (the disk failed, INBOX is full), the message stays in the queue and is looked at
//! again.

use crate::base::limits;
use crate::base::{ContactId, ContentId, QueueId, Timestamp};
use crate::mail::dsn;

use crate::engine::context::Context;
use crate::engine::deliver::reports::add_message;
use crate::engine::deliver::{AfterCommit, Deliver};
use crate::engine::io::Draft;
use crate::engine::people::cards::next_card;
use crate::engine::people::consents;
use crate::engine::state::AttemptError;
use crate::engine::state::book::{ContactChange, ContactStatus};
use crate::engine::state::queue::FailureReason;
use crate::engine::state::record::{BookRecord, Record};

impl Deliver {
    /// Ends the messages and cards that have expired.
    pub(in crate::engine) fn expire(&mut self, cx: &mut Context<'_>) {
        if self.consents.is_some_and(|due| due <= cx.now) {
            self.consents = self.release_held(cx);
        }
        while let Some(queue) = self.schedule.take_expired(cx.now) {
            self.expire_message(cx, queue);
        }
        while let Some(queue) = self.schedule.take_notice(cx.now) {
            self.give_notice(cx, queue);
        }
        while let Some(contact) = self.schedule.take_expired_card(cx.now) {
            self.expire_card(cx, contact);
        }
    }

    /// Lets the messages go for which everybody has agreed. Returns when to look whether they went: there may be no room now, or
    /// the disk may fail.
    fn release_held(&mut self, cx: &mut Context<'_>) -> Option<Timestamp> {
        let complete: Vec<_> = cx.state.introductions().complete().map(|(queue, _)| queue).collect();
        let again = complete.first().map(|_| cx.now.plus(limits::RETRY_LOCAL));
        for queue in complete {
            if let Some(draft) = consents::reached(cx, queue) {
                self.commit(cx, draft, AfterCommit::Nothing);
            }
        }
        again
    }

    fn expire_message(&mut self, cx: &mut Context<'_>, queue: QueueId) {
        let Some(queued) = cx.state.queue().get(queue) else { return };
        if queued.expires > cx.now {
            return self.schedule.expires(queue, queued.expires);
        }
        let (busy, idle): (Vec<_>, Vec<_>) =
            queued.waiting().map(|(contact, _)| contact).partition(|&contact| self.schedule.is_busy(contact, queue));
        // The message is on its way at this moment: its outcome decides.
        if !busy.is_empty() {
            self.schedule.look_again(queue, cx.now);
        }
        let held = cx.state.introductions().is_held(queue);
        let reason = |contact| match self.schedule.last_error(contact) {
            _ if held => FailureReason::NoConsent,
            Some(AttemptError::Local) => FailureReason::Unsealable,
            _ => FailureReason::Expired,
        };
        let boxes = cx.state.boxes();
        let silent = |contact: &ContactId| {
            let held = boxes.custody(queue, *contact) > 0 || cx.state.forwarding().says_delivered(queue, *contact);
            !boxes.expects_receipts(*contact) && held
        };
        let (handed_over, failed): (Vec<_>, Vec<_>) = idle.into_iter().partition(silent);
        let failures: Vec<_> = failed.into_iter().map(|contact| (contact, reason(contact))).collect();
        if !handed_over.is_empty() {
            self.set_busy(queue, &handed_over);
            let messages = handed_over.iter().map(|&contact| (contact, queue)).collect();
            self.handed_over(cx, queue, &handed_over, AfterCommit::Failed(messages));
        }
        self.fail(cx, queue, &failures);
    }

    fn give_notice(&mut self, cx: &mut Context<'_>, queue: QueueId) {
        let Some(queued) = cx.state.queue().get(queue) else { return };
        if queued.waiting().next().is_none() || queued.notice_due().is_none_or(|due| due > cx.now) {
            return;
        }
        // Perhaps the message is on its way at this moment: then there is nothing to tell.
        if queued.waiting().any(|(contact, _)| self.schedule.is_busy(contact, queue)) {
            return self.schedule.notice_later(queue, cx.now);
        }
        self.report_delay(cx, queued, AfterCommit::Noticed(queue));
    }

    /// Ends the attempts at recipients who are not being sent to.
    fn fail(&mut self, cx: &mut Context<'_>, queue: QueueId, failures: &[(ContactId, FailureReason)]) {
        if failures.is_empty() {
            return;
        }
        self.set_busy(queue, &failures.iter().map(|&(contact, _)| contact).collect::<Vec<_>>());
        let messages = failures.iter().map(|&(contact, _)| (contact, queue)).collect();
        self.report(cx, queue, failures, AfterCommit::Failed(messages));
    }

    fn set_busy(&mut self, queue: QueueId, contacts: &[ContactId]) {
        for contact in contacts {
            self.schedule.set_busy(*contact, queue, true);
        }
    }

    fn expire_card(&mut self, cx: &mut Context<'_>, contact: ContactId) {
        let Some(entry) = cx.state.book().contact(contact) else { return };
        let Some(card) = entry.cards.pending.as_ref() else { return };
        if card.expires > cx.now || self.schedule.session(contact).is_some() {
            return;
        }
        // A greeting ends with its invitation; any other card is what the contact needs to know us, and is renewed.
        if entry.status == ContactStatus::Greeting {
            self.card_failed(cx, contact, false, AfterCommit::Nothing);
        } else {
            let change = ContactChange::CardQueued(next_card(entry, cx.now, card.secret, cx.rng));
            let record = Record::Book(BookRecord::ContactChanged { id: contact, change });
            self.commit(cx, record.into(), AfterCommit::Nothing);
        }
    }

    /// Gives up the card that waits for a contact; for a greeting, with a notice.
    pub(in crate::engine) fn card_failed(
        &mut self,
        cx: &mut Context<'_>,
        contact: ContactId,
        refused: bool,
        then: AfterCommit,
    ) {
        let Some(entry) = cx.state.book().contact(contact) else { return self.not_committed(cx, then) };
        let Some(card) = entry.cards.pending.as_ref() else { return self.not_committed(cx, then) };
        let settled =
            Record::Book(BookRecord::ContactChanged { id: contact, change: ContactChange::CardSettled(card.content) });
        let mut change = Draft::from(settled);
        if entry.status == ContactStatus::Greeting {
            let id = ContentId::random(cx.rng);
            let text = dsn::greeting_failed(cx.address(), &entry.petname, &entry.address, refused, id, cx.now);
            // If INBOX takes no more, the card is given up without a notice.
            let _ = add_message(cx, text, &mut change);
        }
        self.commit(cx, change, then);
    }

    /// Ends everything that waits for a contact that is no longer in the book, or is blocked.
    pub(in crate::engine) fn give_up(&mut self, cx: &mut Context<'_>, contact: ContactId) {
        self.schedule.forget_card(contact);
        self.schedule.postpone(contact, cx.now);
        let entry = cx.state.book().contact(contact);
        let revoked = entry.is_some_and(|entry| entry.status == ContactStatus::Revoked);
        let reason = if revoked { FailureReason::Revoked } else { FailureReason::NoContact };
        for queue in self.schedule.idle_messages(contact) {
            self.fail(cx, queue, &[(contact, reason)]);
        }
    }

    /// Ends the attempts at everybody who waits for a message that this identity may not send any more.
    pub(in crate::engine) fn withdraw(&mut self, cx: &mut Context<'_>, queue: QueueId) {
        let Some(queued) = cx.state.queue().get(queue) else { return };
        let idle = queued.waiting().filter(|(contact, _)| !self.schedule.is_busy(*contact, queue));
        let failures: Vec<_> = idle.map(|(contact, _)| (contact, FailureReason::OwnRevoked)).collect();
        self.fail(cx, queue, &failures);
    }

    /// This identity was revoked: what waits ends with reports.
    pub(in crate::engine) fn withdraw_all(&mut self, cx: &mut Context<'_>) {
        let waiting: Vec<_> = cx.state.queue().iter().map(|queued| queued.id).collect();
        for queue in waiting.into_iter().filter(|queue| !cx.state.may_send(*queue)) {
            self.withdraw(cx, queue);
        }
    }
}
