//! Submission: a message becomes a queue entry for all its recipients, or for none.
//!
//! Everybody must be in the address book. Visible recipients would learn each other's address, so there may be one of
//! them; who is in Bcc gets a copy whose header names nobody else, as an entry of its own.

use std::collections::BTreeMap;

use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::{BodyId, ContactId, ContentId, QueueId, Timestamp};
use crate::mail::{Address, headers};

use super::effect::NewBody;
use super::identity::Identity;
use super::mailbox::{FolderRole, NamedFlags, NewMessage};
use super::queue::{Progress, Queued, Recipient};
use super::record::Record;
use super::request::{RequestError, Response, Submission};
use super::requests::{Answer, Change, Outcome};

/// Whom a submission is for.
#[derive(Default)]
struct Recipients {
    visible: BTreeMap<ContactId, Address>,
    blind: BTreeMap<ContactId, Address>,
    own: bool,
}

impl Identity {
    /// Takes a message for delivery.
    pub(super) fn submit(&mut self, now: Timestamp, rng: &mut dyn Rng, submission: &Submission) -> Outcome {
        let recipients = self.recipients(submission)?;
        if submission.message.len() > limits::MESSAGE_BYTES {
            return Err(RequestError::Limit("a message has up to 25 MiB"));
        }
        if self.state.queue().len() >= limits::QUEUE_MESSAGES {
            return Err(RequestError::Limit("the queue is full"));
        }
        if self.disk_low {
            return Err(RequestError::Disk);
        }
        let body = NewBody { id: BodyId::random(rng), bytes: submission.message.clone() };
        let mut bodies = vec![body.clone()];
        let mut records = Vec::new();
        // Whoever is in Bcc must not learn from To and Cc who else was written to.
        let apart = !recipients.visible.is_empty() && !recipients.blind.is_empty();
        let (open, blind) = if apart {
            (recipients.visible, Some(recipients.blind))
        } else {
            (recipients.visible.into_iter().chain(recipients.blind).collect(), None)
        };
        let queue = QueueId::random(rng);
        if !open.is_empty() {
            records.push(submitted(queue, &body, open, &submission.message, now, rng));
        }
        if let Some(blind) = blind {
            let copy = NewBody { id: BodyId::random(rng), bytes: undisclosed(&submission.message).into() };
            records.push(submitted(QueueId::random(rng), &copy, blind, &submission.message, now, rng));
            bodies.push(copy);
        }
        if recipients.own {
            records.push(self.copy_to_self(now, &body)?);
        }
        let answer = Answer::All(Response::Submitted(queue), RequestError::Limit("the folder is full"));
        Ok(Change { bodies, ..Change::new(records, answer) })
    }

    fn recipients(&self, submission: &Submission) -> Result<Recipients, RequestError> {
        if submission.recipients.is_empty() {
            return Err(RequestError::NoRecipient);
        }
        if submission.recipients.len() > limits::RECIPIENTS {
            return Err(RequestError::Limit("a message has up to 100 recipients"));
        }
        let book = self.state.book();
        let mut found = Recipients::default();
        for recipient in &submission.recipients {
            if self.is_own(recipient) {
                found.own = true;
                continue;
            }
            let Some((contact, address)) = book.resolve(recipient) else {
                return Err(RequestError::UnknownRecipient { recipient: recipient.clone() });
            };
            found.blind.insert(contact.id, address);
        }
        for shown in submission.visible.iter().filter_map(|shown| book.resolve(shown)) {
            let (contact, _) = shown;
            if let Some(address) = found.blind.remove(&contact.id) {
                found.visible.insert(contact.id, address);
            }
        }
        let mut names = found.visible.keys().filter_map(|id| book.contact(*id)).map(|contact| contact.petname.clone());
        if let (Some(first), Some(second)) = (names.next(), names.next()) {
            return Err(RequestError::NotIntroduced { first, second });
        }
        Ok(found)
    }

    fn is_own(&self, recipient: &str) -> bool {
        recipient.parse::<Address>().is_ok_and(|address| address.without_folder() == *self.address())
    }

    fn copy_to_self(&mut self, now: Timestamp, body: &NewBody) -> Result<Record, RequestError> {
        const FULL: RequestError = RequestError::Limit("the folder is full");
        let folder = self.folder_of(FolderRole::Inbox).ok_or(RequestError::NoSuchFolder)?.id;
        let uid = self.reserve_uids(folder, 1).and_then(|uids| uids.first().copied()).ok_or(FULL)?;
        let size = u32::try_from(body.bytes.len()).map_err(|_| FULL)?;
        let message = NewMessage { uid, flags: NamedFlags::default(), date: now, body: body.id, size, content: None };
        Ok(Record::MessageAdded { folder, message })
    }
}

fn submitted(
    id: QueueId,
    body: &NewBody,
    recipients: BTreeMap<ContactId, Address>,
    message: &[u8],
    now: Timestamp,
    rng: &mut dyn Rng,
) -> Record {
    let recipients = recipients
        .into_iter()
        .map(|(contact, address)| (contact, Recipient { address, progress: Progress::Queued }))
        .collect();
    Record::Submitted {
        queued: Box::new(Queued {
            id,
            content: ContentId::random(rng),
            body: body.id,
            size: u32::try_from(body.bytes.len()).unwrap_or(u32::MAX),
            submitted: now,
            // Whole seconds: that is how the content will say it.
            expires: Timestamp::from_secs(now.plus(limits::EXPIRY).secs()),
            recipients,
            headers: report_headers(message),
        }),
    }
}

/// What a report shows of a message: whole fields, as many as fit.
fn report_headers(message: &[u8]) -> Vec<u8> {
    let mut kept = Vec::new();
    for name in ["Subject", "Message-ID", "Date", "To", "Cc"] {
        for field in headers::fields(message).filter(|field| field.is(name)) {
            if kept.len() + field.raw.len() <= limits::REPORT_HEADER_BYTES && field.raw.ends_with(b"\r\n") {
                kept.extend_from_slice(field.raw);
            }
        }
    }
    kept
}

/// The message without the fields that name its other recipients.
fn undisclosed(message: &[u8]) -> Vec<u8> {
    let (header, body) = headers::split(message);
    let mut copy = Vec::with_capacity(message.len() + 32);
    copy.extend_from_slice(b"To: undisclosed-recipients:;\r\n");
    for field in headers::fields(header) {
        if !["To", "Cc", "Resent-To", "Resent-Cc", "Reply-To"].iter().any(|name| field.is(name)) {
            copy.extend_from_slice(field.raw);
        }
    }
    copy.extend_from_slice(b"\r\n");
    copy.extend_from_slice(body);
    copy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blind_copy_names_nobody_else_and_keeps_the_rest() {
        let message = b"From: a@x\r\nTo: b@y,\r\n c@z\r\nSubject: s\r\ncc: d@w\r\n\r\nTo: body\r\n";
        assert_eq!(
            undisclosed(message),
            b"To: undisclosed-recipients:;\r\nFrom: a@x\r\nSubject: s\r\n\r\nTo: body\r\n"
        );
    }

    #[test]
    fn a_report_shows_whole_fields_within_its_bound() {
        let long = format!("To: {}\r\nsubject: s\r\n\r\n", "x".repeat(limits::REPORT_HEADER_BYTES));
        assert_eq!(report_headers(long.as_bytes()), b"subject: s\r\n");
    }
}
