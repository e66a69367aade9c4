//! Submission: a message becomes a queue entry for all its recipients, or for none.
//!
//! Every recipient must be in the address book. Visible recipients learn each other's addresses, so that a message with several
//! waits until all have agreed to that (`people::consents`); a recipient in Bcc gets a copy whose header names nobody else,
//! as an entry of its own.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::{BodyId, ContactId, ContentId, QueueId, Timestamp};
use crate::mail::{Address, dsn, headers, outgoing};
use crate::wire::digest;

use crate::engine::api::{RequestError, Response, Submission};
use crate::engine::change::{Answer, Change, Outcome};
use crate::engine::context::Context;
use crate::engine::deliver::Deliver;
use crate::engine::io::{Draft, NewBody, SharedEnd};
use crate::engine::people::consents;
use crate::engine::state::mailbox::{Flags, FolderRole, NamedFlags, NewMessage};
use crate::engine::state::outbox;
use crate::engine::state::queue::{Addressee, Options, Progress, RecipientOptions, Submitted};
use crate::engine::state::record::{MailboxRecord, QueueRecord, Record};

/// The recipients of a submission.
#[derive(Default)]
struct Recipients {
    /// Contacts that the header names, whether the message goes to them or not.
    shown: BTreeSet<ContactId>,
    visible: BTreeMap<ContactId, Address>,
    blind: BTreeMap<ContactId, Address>,
    /// What the mail program asked for with each recipient.
    asked: BTreeMap<ContactId, RecipientOptions>,
    own: bool,
}

/// The ends of messages that wait, by their hash: a mail program that saves the message that it has just submitted
/// writes the same text again under another header. In memory only: after a restart such a copy is stored in full.
#[derive(Default)]
pub(in crate::engine) struct SharedText {
    by_hash: BTreeMap<[u8; 32], (BodyId, u64)>,
    by_queue: BTreeMap<QueueId, [u8; 32]>,
}

impl SharedText {
    fn remember(&mut self, queue: QueueId, body: &NewBody) {
        let Some((at, hash)) = end(&body.bytes) else { return };
        if self.by_hash.len() >= limits::QUEUE_MESSAGES {
            *self = Self::default();
        }
        self.by_hash.insert(hash, (body.id, at as u64));
        self.by_queue.insert(queue, hash);
    }

    /// The message that waits and has the same end.
    pub(in crate::engine) fn find(&self, message: &[u8]) -> Option<SharedEnd> {
        if self.by_hash.is_empty() {
            return None;
        }
        let (at, hash) = end(message)?;
        let &(of, from) = self.by_hash.get(&hash)?;
        Some(SharedEnd { at, of, from })
    }

    /// A message no longer waits.
    pub(in crate::engine) fn forget(&mut self, queue: QueueId) {
        if let Some(hash) = self.by_queue.remove(&queue) {
            self.by_hash.remove(&hash);
        }
    }
}

/// Where the text of a message begins, and the hash of the text, if the text is long enough to be worth it.
fn end(message: &[u8]) -> Option<(usize, [u8; 32])> {
    let (header, text) = headers::split(message);
    (text.len() >= limits::SHARED_END_BYTES).then(|| (header.len(), digest(text)))
}

/// Takes a message for delivery, and keeps a copy in Sent. The copy shares the body, and is committed with the rest. If the
/// folder takes no more, the message is sent without a copy.
pub(in crate::engine) fn submit_and_keep(
    cx: &mut Context<'_>,
    deliver: &mut Deliver,
    submission: &Submission,
) -> Outcome {
    let mut change = submit(cx, deliver, submission)?;
    // The message itself comes first, and the copies for hidden recipients behind it.
    let copy = change.bodies.first().map(|body| added_to(cx, FolderRole::Sent, Flags::SEEN, body));
    change.records.extend(copy.and_then(Result::ok));
    Ok(change)
}

/// Takes a message for delivery.
pub(in crate::engine) fn submit(cx: &mut Context<'_>, deliver: &mut Deliver, submission: &Submission) -> Outcome {
    let recipients = recipients(cx, submission)?;
    if submission.message.len() > limits::MESSAGE_BYTES {
        return Err(RequestError::Limit("a message has up to 25 MiB"));
    }
    if cx.state.queue().len() >= limits::QUEUE_MESSAGES {
        return Err(RequestError::Limit("the queue is full"));
    }
    if cx.disk_low {
        return Err(RequestError::Disk);
    }
    // If no field names a recipient, the copies name no thread either: others may be in it.
    let message = if recipients.shown.is_empty() && !recipients.blind.is_empty() {
        outgoing::without_thread(&submission.message).into()
    } else {
        submission.message.clone()
    };
    let body = NewBody::new(BodyId::random(cx.rng), message);
    let mut bodies = vec![body.clone()];
    let mut records = Vec::new();
    // A recipient that no field names must not learn from the fields to whom else the message went.
    let (open, blind) = if recipients.shown.is_empty() || recipients.blind.is_empty() {
        (recipients.visible.into_iter().chain(recipients.blind).collect(), None)
    } else {
        (recipients.visible, Some(recipients.blind))
    };
    let queue = QueueId::random(cx.rng);
    let mut queues = Vec::new();
    let now = cx.now;
    let mut entry = |id: QueueId, body: &NewBody, to: BTreeMap<ContactId, Address>, rng: &mut dyn Rng| {
        let options = options(submission, &to, &recipients.asked);
        records.push(submitted(id, body, to, submission, now, rng));
        if options != Options::default() {
            records.push(Record::Queue(QueueRecord::SubmissionOptions { queue: id, options: Box::new(options) }));
        }
        queues.push(id);
    };
    let nobody_sees = open.is_empty();
    let mut sought = None;
    if !nobody_sees {
        sought = consents::seek(cx, queue, &recipients.shown)?;
        entry(queue, &body, open, cx.rng);
        deliver.ends.remember(queue, &body);
    }
    if let Some(blind) = blind {
        let copy = outgoing::undisclosed(&submission.message, cx.address(), cx.rng);
        let copy = copy.map_err(|_| RequestError::Limit("a message has up to 1000 parts"))?;
        // If no recipient gets the message itself, nothing may keep its text.
        let (shared, id) =
            if nobody_sees { (None, queue) } else { (shared_end(&copy, &body), QueueId::random(cx.rng)) };
        let copy = NewBody { shared, ..NewBody::new(BodyId::random(cx.rng), copy.into()) };
        entry(id, &copy, blind, cx.rng);
        bodies.push(copy);
    }
    if let Some(Draft { records: asked, bodies: asks }) = sought {
        // The message must be known to be held before it is in the queue.
        records.splice(0..0, asked);
        bodies.extend(asks);
    }
    records.extend(shown_in_outbox(cx, queues, &body));
    if recipients.own {
        records.push(added_to(cx, FolderRole::Inbox, Flags::default(), &body)?);
    }
    let answer = Answer::First(Response::Submitted(queue), RequestError::Limit("the folder is full"));
    Ok(Change { bodies, ..Change::new(records, answer) })
}

/// Puts the message into the Outbox. If that takes no more, the message waits unseen.
fn shown_in_outbox(cx: &mut Context<'_>, queues: Vec<QueueId>, body: &NewBody) -> Option<Record> {
    if queues.is_empty() {
        return None;
    }
    let folder = cx.folder_of(FolderRole::Outbox)?.id;
    let uid = cx.reserve_uid(folder)?;
    let size = u32::try_from(body.bytes.len()).ok()?;
    let flags = NamedFlags { system: Flags::SEEN, ..outbox::named(&[outbox::WAITING]) };
    let message = NewMessage { uid, flags, date: cx.now, body: body.id, size, content: None };
    Some(Record::Queue(QueueRecord::ShownInOutbox { queues, message }))
}

fn recipients(cx: &Context<'_>, submission: &Submission) -> Result<Recipients, RequestError> {
    if submission.recipients.is_empty() {
        return Err(RequestError::NoRecipient);
    }
    if submission.recipients.len() > limits::RECIPIENTS {
        return Err(RequestError::Limit("a message has up to 100 recipients"));
    }
    if submission.visible.len() > limits::NAMED {
        return Err(RequestError::Limit("a message names up to 200 people in its address fields"));
    }
    let book = cx.state.book();
    let mut found = Recipients::default();
    for recipient in &submission.recipients {
        if is_own(cx, recipient) {
            found.own = true;
            continue;
        }
        let unknown = |why| RequestError::unknown_recipient(book, recipient, why);
        let (contact, address) = book.resolve(recipient).map_err(unknown)?;
        if let Some(asked) = submission.asked.recipients.get(recipient) {
            found.asked.insert(contact.id, asked.clone());
        }
        found.blind.insert(contact.id, address);
    }
    let others = submission.visible.iter().filter(|shown| !is_own(cx, shown));
    for (contact, _) in others.filter_map(|shown| book.resolve(shown).ok()) {
        found.shown.insert(contact.id);
        if let Some(address) = found.blind.remove(&contact.id) {
            found.visible.insert(contact.id, address);
        }
    }
    Ok(found)
}

/// Whether a recipient is the identity itself. A contact that had its name first keeps it.
fn is_own(cx: &Context<'_>, recipient: &str) -> bool {
    outgoing::is_own(recipient, cx.address()) && cx.state.book().resolve(recipient).is_err()
}

/// The message in one of the user's own folders.
fn added_to(cx: &mut Context<'_>, role: FolderRole, system: Flags, body: &NewBody) -> Result<Record, RequestError> {
    const FULL: RequestError = RequestError::Limit("the folder is full");
    let folder = cx.folder_of(role).ok_or(RequestError::NoSuchFolder)?.id;
    let uid = cx.reserve_uid(folder).ok_or(FULL)?;
    let size = u32::try_from(body.bytes.len()).map_err(|_| FULL)?;
    let flags = NamedFlags { system, ..NamedFlags::default() };
    let message = NewMessage { uid, flags, date: cx.now, body: body.id, size, content: None };
    Ok(Record::Mailbox(MailboxRecord::MessageAdded { folder, message }))
}

fn submitted(
    id: QueueId,
    body: &NewBody,
    recipients: BTreeMap<ContactId, Address>,
    submission: &Submission,
    now: Timestamp,
    rng: &mut dyn Rng,
) -> Record {
    let recipients = recipients
        .into_iter()
        .map(|(contact, address)| (contact, Addressee { address, progress: Progress::Queued }))
        .collect();
    Record::Queue(QueueRecord::Submitted {
        queued: Box::new(Submitted {
            id,
            content: ContentId::random(rng),
            body: body.id,
            size: u32::try_from(body.bytes.len()).unwrap_or(u32::MAX),
            submitted: now,
            // In whole seconds, as the content will say it.
            expires: Timestamp::from_secs(now.plus(limits::EXPIRY).secs()),
            recipients,
            headers: report_headers(&submission.message, submission.asked.message_id.as_deref()),
        }),
    })
}

/// What the mail program asked for with these recipients.
fn options(
    submission: &Submission,
    to: &BTreeMap<ContactId, Address>,
    asked: &BTreeMap<ContactId, RecipientOptions>,
) -> Options {
    let recipients =
        asked.iter().filter(|(contact, options)| to.contains_key(contact) && **options != RecipientOptions::default());
    Options {
        envelope: submission.asked.envelope.clone(),
        full: submission.asked.full,
        recipients: recipients.map(|(contact, options)| (*contact, options.clone())).collect(),
    }
}

/// The end that a copy for hidden recipients shares with the message: the text.
fn shared_end(copy: &[u8], of: &NewBody) -> Option<SharedEnd> {
    let ((header, text), (original, same)) = (headers::split(copy), headers::split(&of.bytes));
    let long = text.len() >= limits::SHARED_END_BYTES && text == same;
    long.then_some(SharedEnd { at: header.len(), of: of.id, from: original.len() as u64 })
}

/// The fields of a message that a report shows: whole fields, as many as fit; first the Message-ID of the mail
/// program's copy, where that is another.
fn report_headers(message: &[u8], written_id: Option<&str>) -> Vec<u8> {
    let mut kept = Vec::new();
    if let Some(id) = written_id {
        kept.extend_from_slice(format!("{}: {id}\r\n", dsn::WRITTEN_ID).as_bytes());
    }
    for name in ["Subject", "Message-ID", "Date", "Importance", "X-Priority", "Priority", "To", "Cc"] {
        for field in headers::fields(message).filter(|field| field.is(name)) {
            if kept.len() + field.raw.len() <= limits::REPORT_HEADER_BYTES && field.raw.ends_with(b"\r\n") {
                kept.extend_from_slice(field.raw);
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_shows_whole_fields_within_its_bound() {
        let long = format!("To: {}\r\nsubject: s\r\n\r\n", "x".repeat(limits::REPORT_HEADER_BYTES));
        assert_eq!(report_headers(long.as_bytes(), None), b"subject: s\r\n");
    }
}
