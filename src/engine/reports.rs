//! Reports of what became of a message (RFC 3464), each in the transaction that ends or notes it: not delivered, late,
//! delivered where the mail program asked for that, taken back too late. A recipient of whom its sender wants to hear
//! nothing (NOTIFY) is left out of them. They go to INBOX and never leave the node.

use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::{BodyId, ContactId, ContentId, QueueId, Timestamp};
use crate::mail::dsn::{self, Concerned, Outcome, SoFar};

use super::effect::{CommitError, Effect, NewBody};
use super::identity::{Identity, Pending, Then};
use super::mailbox::FolderRole;
use super::queue::{Endpoint, FailureReason, Notify, Queued};
use super::record::Record;
use super::request::Response;
use super::requests::{Answer, Change};
use super::state::State;

/// A report that waits for the message that it is to return.
pub(super) struct Returning {
    queue: QueueId,
    failures: Vec<(ContactId, FailureReason)>,
    then: Then,
}

impl Identity {
    /// Says in INBOX which message is damaged on the disk; nothing where that was said, or no folder shows it.
    pub(super) fn tell_damaged(&mut self, now: Timestamp, rng: &mut dyn Rng, body: BodyId) -> Change {
        let mut change = Change::new(Vec::new(), Answer::Always(Response::Done));
        let places: Vec<String> = self
            .state
            .mailbox()
            .folders()
            .flat_map(|folder| {
                let here = folder.messages.iter().filter(|message| message.body == body);
                here.map(|message| format!("message {} in {}, of {}", message.uid, folder.name, message.date.rfc5322()))
            })
            .collect();
        if places.is_empty()
            || self.rooms.deliver.told_damaged.len() >= limits::DAMAGE_TOLD
            || !self.rooms.deliver.told_damaged.insert(body)
        {
            return change;
        }
        let text = dsn::unreadable(self.address(), &places, ContentId::random(rng), now);
        if let Some((folder, message, body)) = self.own_message(now, rng, FolderRole::Inbox, text) {
            change.records.push(Record::MessageAdded { folder, message });
            change.bodies.push(body);
        }
        change
    }

    /// A recipient's node has a message.
    pub(super) fn delivered(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        queue: QueueId,
        contact: ContactId,
        then: Then,
    ) {
        let (mut records, mut bodies) = (Vec::new(), Vec::new());
        self.add_delivered(now, rng, queue, contact, &mut records, &mut bodies);
        self.commit(records, bodies, then);
    }

    /// What it means that a recipient has a message.
    pub(super) fn add_delivered(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        queue: QueueId,
        contact: ContactId,
        records: &mut Vec<Record>,
        bodies: &mut Vec<NewBody>,
    ) {
        records.push(Record::RecipientDelivered { queue, contact, at: now });
        if let Some(queued) = self.state.queue().get(queue).cloned() {
            let outcomes = [(contact, Outcome::Delivered)];
            // Where INBOX takes no more it is delivered all the same.
            let _ = self.add_report(now, rng, &queued, &outcomes, None, records, bodies);
        }
    }

    /// Ends the attempts at recipients at whose drops a message was, and who return no receipts.
    pub(super) fn handed_over(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        queue: QueueId,
        contacts: &[ContactId],
        then: Then,
    ) {
        let Some(queued) = self.state.queue().get(queue).cloned() else { return self.nothing(now, rng, then) };
        let mut records: Vec<_> =
            contacts.iter().map(|&contact| Record::RecipientHandedOver { queue, contact, at: now }).collect();
        let mut bodies = Vec::new();
        let outcomes: Vec<_> = contacts.iter().map(|&contact| (contact, Outcome::HandedOver)).collect();
        // Where INBOX takes no more it is over all the same.
        let _ = self.add_report(now, rng, &queued, &outcomes, None, &mut records, &mut bodies);
        self.commit(records, bodies, then);
    }

    /// Ends the attempts at these recipients of a message, with a report; all in one transaction. Whatever the reason, what an
    /// earlier session may have delivered is unconfirmed.
    pub(super) fn report(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        queue: QueueId,
        failures: &[(ContactId, FailureReason)],
        then: Then,
    ) {
        let Some(queued) = self.state.queue().get(queue).cloned() else { return self.nothing(now, rng, then) };
        let failures: Vec<_> = failures
            .iter()
            .map(|&(contact, reason)| match self.may_have_arrived(&queued, contact) {
                true => (contact, FailureReason::Unconfirmed),
                false => (contact, reason),
            })
            .collect();
        if queued.full && queued.size as usize <= limits::RETURNED_BYTES {
            let returning = Returning { queue, failures, then };
            let op = self.operation(Pending::Return(Box::new(returning)));
            return self.effect(Effect::ReadBody(op, queued.body));
        }
        self.report_failures(now, rng, &queued, &failures, None, then);
    }

    /// Whether an earlier session may have delivered a message, or one that leaves a copy elsewhere. What this one noted it
    /// knows the outcome of.
    fn may_have_arrived(&self, queued: &Queued, contact: ContactId) -> bool {
        if self.deposits.values().any(|deposit| deposit.contact() == contact && deposit.hands_over(queued.id)) {
            return true;
        }
        let session = self.rooms.deliver.schedule.session(contact).and_then(|session| self.outbound.get(&session));
        let noted_now = session.is_some_and(|outbound| outbound.noted.contains(&queued.id));
        let Some(recipient) = queued.recipients.get(&contact) else { return false };
        recipient.sent.iter().any(|endpoint| *endpoint != Endpoint::Onion || !noted_now)
    }

    /// The message that a report is to return was read, or cannot be.
    pub(super) fn returned(&mut self, now: Timestamp, rng: &mut dyn Rng, returning: Returning, message: Option<&[u8]>) {
        let Returning { queue, failures, then } = returning;
        let Some(queued) = self.state.queue().get(queue).cloned() else { return self.nothing(now, rng, then) };
        self.report_failures(now, rng, &queued, &failures, message, then);
    }

    fn report_failures(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        queued: &Queued,
        failures: &[(ContactId, FailureReason)],
        message: Option<&[u8]>,
        then: Then,
    ) {
        let queue = queued.id;
        let failed = |&(contact, reason)| Record::RecipientFailed { queue, contact, at: now, reason };
        let mut records: Vec<_> = failures.iter().map(failed).collect();
        let mut bodies = Vec::new();
        let outcomes: Vec<_> = failures.iter().map(|&(contact, reason)| (contact, Outcome::Failed(reason))).collect();
        if self.add_report(now, rng, queued, &outcomes, message, &mut records, &mut bodies).is_none() {
            return self.nothing(now, rng, then);
        }
        self.commit(records, bodies, then);
    }

    /// Tells the sender of a message that it is late.
    pub(super) fn report_delay(&mut self, now: Timestamp, rng: &mut dyn Rng, queued: &Queued, then: Then) {
        let outcomes: Vec<_> = queued
            .waiting()
            .map(|(contact, recipient)| {
                let so_far = match (self.state.drops().custody(queued.id, contact), recipient.sent.is_empty()) {
                    (1.., _) => SoFar::Held,
                    (0, false) => SoFar::Sent,
                    (0, true) => SoFar::NotReached,
                };
                (contact, Outcome::Delayed { until: queued.expires, so_far })
            })
            .collect();
        let (mut records, mut bodies) = (vec![Record::DelayReported { queue: queued.id }], Vec::new());
        if self.add_report(now, rng, queued, &outcomes, None, &mut records, &mut bodies).is_none() {
            return self.nothing(now, rng, then);
        }
        self.commit(records, bodies, then);
    }

    /// What a message that its sender takes back leaves: nothing, or a report where it may have arrived before.
    pub(super) fn report_recall(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        queue: QueueId,
        records: &mut Vec<Record>,
        bodies: &mut Vec<NewBody>,
    ) {
        let Some(queued) = self.state.queue().get(queue).cloned() else { return };
        let doubtful = queued.waiting().filter(|(_, recipient)| !recipient.sent.is_empty());
        let outcomes: Vec<_> =
            doubtful.map(|(contact, _)| (contact, Outcome::Failed(FailureReason::Recalled))).collect();
        // A full INBOX is no reason to send what its sender does not want sent.
        let _ = self.add_report(now, rng, &queued, &outcomes, None, records, bodies);
    }

    /// Adds the record and the body of a report on those of whom its sender wants to hear this. `None` where INBOX takes
    /// no more.
    #[allow(clippy::too_many_arguments, reason = "the two vectors are one transaction in the making")]
    fn add_report(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        queued: &Queued,
        outcomes: &[(ContactId, Outcome)],
        message: Option<&[u8]>,
        records: &mut Vec<Record>,
        bodies: &mut Vec<NewBody>,
    ) -> Option<()> {
        let Some(text) = self.state.report(now, rng, queued, outcomes, message) else { return Some(()) };
        let (folder, message, body) = self.own_message(now, rng, FolderRole::Inbox, text)?;
        records.push(Record::MessageAdded { folder, message });
        bodies.push(body);
        Some(())
    }

    /// Nothing can be written: it goes on as after a failed commit.
    pub(super) fn nothing(&mut self, now: Timestamp, rng: &mut dyn Rng, then: Then) {
        if let Then::Sending(contact, step) = then {
            self.after_commit(now, rng, contact, step, Err(CommitError::NoSpace));
        }
    }
}

impl State {
    /// The text of a report on those of whom the sender of a message wants to hear this; `None` where it is nobody.
    pub(super) fn report(
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
