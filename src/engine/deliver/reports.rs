//! Reports of what became of a message (RFC 3464), each in the transaction that ends or notes it: not delivered, late,
//! delivered where the mail program asked for that, taken back too late. A recipient for whom the sender asked for no
//! report (NOTIFY) is left out of them. They go to INBOX and never leave the node.

use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::{BodyId, ContactId, ContentId, QueueId, Timestamp};
use crate::mail::dsn::{self, Concerned, Outcome, SoFar};

use crate::engine::context::{Context, Owner, Room};
use crate::engine::deliver::{AfterCommit, Deliver, InFlight};
use crate::engine::io::{Draft, Effect};
use crate::engine::state::State;
use crate::engine::state::mailbox::FolderRole;
use crate::engine::state::queue::{Endpoint, FailureReason, Notify, Queued};
use crate::engine::state::record::{MailboxRecord, QueueRecord, Record};

/// A report that waits for the message that it returns.
pub(in crate::engine) struct Returning {
    queue: QueueId,
    failures: Vec<(ContactId, FailureReason)>,
    then: AfterCommit,
}

impl Deliver {
    /// Says in INBOX which message is damaged on the disk; nothing if that was said before, or no folder shows the
    /// message.
    pub(in crate::engine) fn tell_damaged(&mut self, cx: &mut Context<'_>, body: BodyId) -> Draft {
        let places: Vec<String> = cx
            .state
            .mailbox()
            .folders()
            .flat_map(|folder| {
                let here = folder.messages.iter().filter(|message| message.body == body);
                here.map(|message| format!("message {} in {}, of {}", message.uid, folder.name, message.date.rfc5322()))
            })
            .collect();
        let mut change = Draft::default();
        if places.is_empty() || self.told_damaged.len() >= limits::DAMAGE_TOLD || !self.told_damaged.insert(body) {
            return change;
        }
        let id = ContentId::random(cx.rng);
        let text = dsn::unreadable(cx.address(), &places, id, cx.now);
        // If INBOX takes no more, nothing is said.
        let _ = add_message(cx, text, &mut change);
        change
    }

    /// A recipient's node has a message.
    pub(in crate::engine) fn delivered(
        &mut self,
        cx: &mut Context<'_>,
        queue: QueueId,
        contact: ContactId,
        then: AfterCommit,
    ) {
        let mut change = Draft::default();
        add_delivered(cx, queue, contact, &mut change);
        self.commit(cx, change, then);
    }

    /// Ends the attempts at recipients that return no receipts, and at whose boxes a message was.
    pub(in crate::engine) fn handed_over(
        &mut self,
        cx: &mut Context<'_>,
        queue: QueueId,
        contacts: &[ContactId],
        then: AfterCommit,
    ) {
        let Some(queued) = cx.state.queue().get(queue) else { return self.not_committed(cx, then) };
        let over = |&contact| Record::Queue(QueueRecord::RecipientHandedOver { queue, contact, at: cx.now });
        let mut change = Draft { records: contacts.iter().map(over).collect(), bodies: Vec::new() };
        let outcomes: Vec<_> = contacts.iter().map(|&contact| (contact, Outcome::HandedOver)).collect();
        // If INBOX takes no more, the attempts end without a report.
        let _ = add_report(cx, queued, &outcomes, None, &mut change);
        self.commit(cx, change, then);
    }

    /// Ends the attempts at these recipients of a message, with a report, all in one transaction. Whatever the reason,
    /// the report calls a message unconfirmed that an earlier session may have delivered.
    pub(in crate::engine) fn report(
        &mut self,
        cx: &mut Context<'_>,
        queue: QueueId,
        failures: &[(ContactId, FailureReason)],
        then: AfterCommit,
    ) {
        let Some(queued) = cx.state.queue().get(queue) else { return self.not_committed(cx, then) };
        let failures: Vec<_> = failures
            .iter()
            .map(|&(contact, reason)| match self.may_have_arrived(queued, contact) {
                true => (contact, FailureReason::Unconfirmed),
                false => (contact, reason),
            })
            .collect();
        if queued.full && queued.size as usize <= limits::RETURNED_BYTES {
            let op = cx.out.operation(Owner::Room(Room::Deliver));
            self.in_flight.insert(op, InFlight::Return(Box::new(Returning { queue, failures, then })));
            return cx.out.effect(Effect::ReadBody(op, queued.body));
        }
        self.report_failures(cx, queued, &failures, None, then);
    }

    /// Whether a message may have arrived by an earlier session, or by one that leaves a copy elsewhere. The session
    /// that asks knows the outcome of the messages that it noted itself.
    fn may_have_arrived(&self, queued: &Queued, contact: ContactId) -> bool {
        if self.is_left_elsewhere(queued.id, contact) {
            return true;
        }
        let noted_now = self.noted.get(&contact).is_some_and(|noted| noted.contains(&queued.id));
        let Some(recipient) = queued.recipients.get(&contact) else { return false };
        recipient.sent.iter().any(|endpoint| *endpoint != Endpoint::Onion || !noted_now)
    }

    /// The message that a report returns was read, or cannot be.
    pub(in crate::engine) fn returned(&mut self, cx: &mut Context<'_>, returning: Returning, message: Option<&[u8]>) {
        let Returning { queue, failures, then } = returning;
        let Some(queued) = cx.state.queue().get(queue) else { return self.not_committed(cx, then) };
        self.report_failures(cx, queued, &failures, message, then);
    }

    fn report_failures(
        &mut self,
        cx: &mut Context<'_>,
        queued: &Queued,
        failures: &[(ContactId, FailureReason)],
        message: Option<&[u8]>,
        then: AfterCommit,
    ) {
        let (queue, at) = (queued.id, cx.now);
        let failed = |&(contact, reason)| Record::Queue(QueueRecord::RecipientFailed { queue, contact, at, reason });
        let mut change = Draft { records: failures.iter().map(failed).collect(), bodies: Vec::new() };
        let outcomes: Vec<_> = failures.iter().map(|&(contact, reason)| (contact, Outcome::Failed(reason))).collect();
        match add_report(cx, queued, &outcomes, message, &mut change) {
            Some(()) => self.commit(cx, change, then),
            None => self.not_committed(cx, then),
        }
    }

    /// Tells the sender of a message that it is late.
    pub(in crate::engine) fn report_delay(&mut self, cx: &mut Context<'_>, queued: &Queued, then: AfterCommit) {
        let outcomes: Vec<_> = queued
            .waiting()
            .map(|(contact, recipient)| {
                let so_far = match (cx.state.boxes().custody(queued.id, contact), recipient.sent.is_empty()) {
                    (1.., _) => SoFar::Held,
                    (0, false) => SoFar::Sent,
                    _ if cx.state.introductions().is_held(queued.id) => SoFar::Consent,
                    (0, true) => SoFar::NotReached,
                };
                (contact, Outcome::Delayed { until: queued.expires, so_far })
            })
            .collect();
        let records = vec![Record::Queue(QueueRecord::DelayReported { queue: queued.id })];
        let mut change = Draft { records, bodies: Vec::new() };
        match add_report(cx, queued, &outcomes, None, &mut change) {
            Some(()) => self.commit(cx, change, then),
            None => self.not_committed(cx, then),
        }
    }
}

/// Adds to a change that a recipient has a message.
pub(in crate::engine) fn add_delivered(cx: &mut Context<'_>, queue: QueueId, contact: ContactId, change: &mut Draft) {
    change.records.push(Record::Queue(QueueRecord::RecipientDelivered { queue, contact, at: cx.now }));
    if let Some(queued) = cx.state.queue().get(queue) {
        let outcomes = [(contact, Outcome::Delivered)];
        // If INBOX takes no more, the message counts as delivered without a report.
        let _ = add_report(cx, queued, &outcomes, None, change);
    }
}

/// Adds to a change that a message is taken back: with a report if it may have arrived before.
pub(in crate::engine) fn add_recall(cx: &mut Context<'_>, queue: QueueId, change: &mut Draft) {
    let Some(queued) = cx.state.queue().get(queue) else { return };
    let doubtful = queued.waiting().filter(|(_, recipient)| !recipient.sent.is_empty());
    let outcomes: Vec<_> = doubtful.map(|(contact, _)| (contact, Outcome::Failed(FailureReason::Recalled))).collect();
    // A full INBOX is no reason to send what its sender does not want sent.
    let _ = add_report(cx, queued, &outcomes, None, change);
}

/// Adds the record and the body of a report on those recipients of whom the sender wants to hear this. `None` if INBOX
/// takes no more.
fn add_report(
    cx: &mut Context<'_>,
    queued: &Queued,
    outcomes: &[(ContactId, Outcome)],
    message: Option<&[u8]>,
    change: &mut Draft,
) -> Option<()> {
    let Some(text) = cx.state.report(cx.now, cx.rng, queued, outcomes, message) else { return Some(()) };
    add_message(cx, text, change)
}

/// Adds a message of our own making to INBOX. `None` if INBOX takes no more.
pub(in crate::engine) fn add_message(cx: &mut Context<'_>, text: Vec<u8>, change: &mut Draft) -> Option<()> {
    let (folder, message, body) = cx.own_message(FolderRole::Inbox, text)?;
    change.records.push(Record::Mailbox(MailboxRecord::MessageAdded { folder, message }));
    change.bodies.push(body);
    Some(())
}

impl State {
    /// The text of a report on those recipients of whom the sender wants to hear this; `None` if there are none.
    pub(in crate::engine) fn report(
        &self,
        now: Timestamp,
        rng: &mut dyn Rng,
        queued: &Queued,
        outcomes: &[(ContactId, Outcome)],
        message: Option<&[u8]>,
    ) -> Option<Vec<u8>> {
        let own = &self.profile()?.public.address;
        let concerned = outcomes.iter().filter_map(|(contact, outcome)| self.concerned(queued, *contact, *outcome));
        let recipients: Vec<_> = concerned.collect();
        if recipients.is_empty() {
            return None;
        }
        let about = dsn::Report {
            own,
            queue: queued.id,
            envelope: queued.envelope.as_deref(),
            submitted: queued.submitted,
            recipients: &recipients,
            headers: &queued.headers,
            message,
        };
        Some(dsn::report(&about, ContentId::random(rng), now))
    }

    fn concerned(&self, queued: &Queued, contact: ContactId, outcome: Outcome) -> Option<Concerned> {
        let recipient = queued.recipients.get(&contact)?;
        let Notify { success, failure, delay } = recipient.options.notify;
        let wanted = match outcome {
            Outcome::Failed(_) => failure,
            Outcome::Delayed { .. } => delay,
            Outcome::Delivered | Outcome::HandedOver => success,
        };
        wanted.then(|| Concerned {
            petname: self.book().contact(contact).map(|contact| contact.petname.clone()).unwrap_or_default(),
            address: recipient.address.clone(),
            original: recipient.options.original.clone(),
            outcome,
        })
    }
}
