//! Messages that a node writes to its own user: reports of mail that did not arrive (RFC 3464 in RFC 6522), and
//! notices.
//!
//! They never leave the node. Their senders are `mailer-daemon` at the identity's own onion, or, for a request, the
//! address that asks, so that the mail program shows who it is. All text in them is ours or an address; no peer chooses
//! a byte of a header.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::base::ids::Fingerprint;
use crate::base::{ContentId, QueueId, Timestamp};

use super::{Address, headers};

/// Why a message did not reach a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FailureReason {
    /// It expired before any attempt sent it.
    Expired,
    /// The attempts ended; it may have arrived, but no acknowledgement came back.
    Unconfirmed,
    /// The recipient's node refused it for good.
    Refused,
    /// It could not be sealed to the recipient's certificate.
    Unsealable,
    /// The recipient was removed from the address book or blocked.
    NoContact,
    /// Its sender took it back, but a copy was on its way before and may have arrived.
    Recalled,
    /// It is larger than the recipient's node accepts.
    TooLarge,
    /// Not everybody whom the message names agreed in time to be shown to the others.
    NoConsent,
    /// The recipient revoked its address or its key.
    Revoked,
    /// The sender revoked the identity that it was to come from.
    OwnRevoked,
}

impl FailureReason {
    /// The enhanced status code (RFC 3463). A message that may have arrived gets class 4: class 5 would say that it has
    /// not.
    pub const fn status(self) -> &'static str {
        match self {
            Self::Expired | Self::Unconfirmed => "4.4.7",
            Self::Refused => "5.7.1",
            Self::Unsealable => "5.7.5",
            Self::NoContact => "5.1.1",
            Self::Recalled => "4.0.0",
            Self::TooLarge => "5.2.3",
            Self::NoConsent | Self::OwnRevoked => "5.7.1",
            Self::Revoked => "5.1.6",
        }
    }

    /// One sentence for the user.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Expired => "Their node could not be reached, or put it off each time, before the message expired.",
            Self::Unconfirmed => {
                "The attempts ended without an acknowledgement. It may have arrived all the same: delivery is unconfirmed."
            }
            Self::Refused => "Their node refused the message.",
            Self::Unsealable => "The message could not be sealed to their certificate, or is damaged on this disk.",
            Self::NoContact => "They are no longer in your address book, or you have blocked them.",
            Self::Recalled => {
                "You took the message back. A copy was sent before and never acknowledged: it may have arrived all the same."
            }
            Self::TooLarge => "It is larger than their node takes. Send less at once, or ask them to take more.",
            Self::NoConsent => {
                "Not everybody whom the message names agreed in time to be shown to the others. Write to each of them alone,\r\n  or put all but one into Bcc."
            }
            Self::Revoked => {
                "They revoked this address or its key, and nothing is sent there any more. Ask them in person or by telephone for a\r\n  new invitation; the notice in INBOX says more."
            }
            Self::OwnRevoked => "You revoked this identity, which sends no mail any more. Send it from another one.",
        }
    }

    /// Whether the message may have arrived all the same.
    const fn is_doubtful(self) -> bool {
        matches!(self, Self::Unconfirmed | Self::Recalled)
    }
}

/// The report about one recipient (RFC 3464 §2.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It failed, and is not tried again.
    Failed(FailureReason),
    /// It is late, and is tried again until then.
    Delayed {
        /// When the attempts end.
        until: Timestamp,
        /// How far it is.
        so_far: SoFar,
    },
    /// The recipient's node has it.
    Delivered,
    /// It was at a carrier for its recipient until it expired; the recipient returns no receipts.
    HandedOver,
}

/// How far a message is that is late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SoFar {
    /// No copy was sent.
    NotReached,
    /// A copy was sent, and may have arrived.
    Sent,
    /// A carrier says that it has a copy.
    Held,
    /// Not everybody whom it names has agreed yet to be shown to the others.
    Consent,
}

impl Outcome {
    const fn action(self) -> &'static str {
        match self {
            // Of the five actions of RFC 3464 §2.3.3, `failed`, `delivered` and `relayed` each state something that
            // this node does not know. `delayed` leaves open whether the message arrives; the text, and the absence of
            // Will-Retry-Until, say that it is not tried again.
            Self::Failed(reason) if reason.is_doubtful() => "delayed",
            Self::Failed(_) => "failed",
            Self::Delayed { .. } => "delayed",
            Self::Delivered => "delivered",
            Self::HandedOver => "relayed",
        }
    }

    const fn status(self) -> &'static str {
        match self {
            Self::Failed(reason) => reason.status(),
            Self::Delayed { so_far: SoFar::NotReached | SoFar::Sent | SoFar::Held, .. } => "4.4.1",
            Self::Delayed { so_far: SoFar::Consent, .. } => "4.7.1",
            Self::Delivered | Self::HandedOver => "2.0.0",
        }
    }

    fn sentence(self) -> String {
        match self {
            Self::Failed(reason) => reason.sentence().to_owned(),
            Self::Delayed { until, so_far: SoFar::NotReached } => {
                format!(
                    "Their node could not be reached so far, or put it off. It is tried again until {}.",
                    until.rfc5322()
                )
            }
            Self::Delayed { until, so_far: SoFar::Consent } => format!(
                "Not everybody whom the message names has agreed yet to be shown to the others. It waits for them until\r\n  {}; \
                 runepeer queue list says for whom.",
                until.rfc5322()
            ),
            Self::Delayed { until, so_far: SoFar::Held } => format!(
                "A carrier of theirs has it for them, until they come for it. Their node itself is tried as well,\r\n  until {}.",
                until.rfc5322()
            ),
            Self::Delayed { until, so_far: SoFar::Sent } => format!(
                "A copy was sent, and no acknowledgement came. It is sent again, once more at most in their mailbox,\r\n  \
                 until {}.",
                until.rfc5322()
            ),
            Self::Delivered => "Their node has it on its disk.".to_owned(),
            Self::HandedOver => {
                "Their carrier had it for them. They return no receipts, so that nobody here knows more.".to_owned()
            }
        }
    }
}

/// One recipient in a report.
#[derive(Clone)]
pub struct Concerned {
    /// The petname of the recipient.
    pub petname: String,
    /// The address to which the message goes.
    pub address: Address,
    /// ORCPT, as the mail program gave it.
    pub original: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
}

/// The message that a report is about, and its recipients.
pub struct Report<'a> {
    /// The identity's own address.
    pub own: &'a Address,
    /// The message's place in the queue.
    pub queue: QueueId,
    /// ENVID, as the mail program gave it.
    pub envelope: Option<&'a str>,
    /// When it was submitted.
    pub submitted: Timestamp,
    /// The recipients that the report is about.
    pub recipients: &'a [Concerned],
    /// The fields of its header by which its sender recognises it, as they were written.
    pub headers: &'a [u8],
    /// The whole message, where it is to be returned.
    pub message: Option<&'a [u8]>,
}

impl Report<'_> {
    fn subject(&self) -> &'static str {
        let all = |holds: fn(Outcome) -> bool| self.recipients.iter().all(|one| holds(one.outcome));
        if all(|outcome| outcome == Outcome::Delivered) {
            "Your message was delivered"
        } else if all(|outcome| outcome == Outcome::HandedOver) {
            "Your message was handed over"
        } else if all(|outcome| matches!(outcome, Outcome::Delayed { .. })) {
            "Your message is late, and is tried on"
        } else if all(|outcome| matches!(outcome, Outcome::Failed(reason) if reason.is_doubtful())) {
            "Delivery is unconfirmed"
        } else {
            "Your message was not delivered"
        }
    }

    fn introduction(&self) -> &'static str {
        match self.recipients.first().map(|one| one.outcome) {
            Some(Outcome::Delivered) => "was delivered",
            Some(Outcome::HandedOver) => "was handed over",
            Some(Outcome::Delayed { .. }) => "has not reached everybody yet",
            Some(Outcome::Failed(reason)) if reason.is_doubtful() => "may not have reached everybody",
            _ => "did not reach everybody",
        }
    }

    fn advice(&self) -> &'static str {
        match self.recipients.first().map(|one| one.outcome) {
            Some(Outcome::Delivered | Outcome::HandedOver) => "",
            Some(Outcome::Delayed { .. }) => {
                "You need not do anything. To take it back, delete it in the folder Outbox.\r\n\r\n"
            }
            _ => "Nothing more is tried. To try again, send the message again.\r\n\r\n",
        }
    }
}

/// The field of [`Report::headers`] with the Message-ID that the mail program wrote, where the signed one differs.
pub const WRITTEN_ID: &str = "Original-Message-ID";

/// A report about the fate of a message (RFC 3464). It answers the message, so that a mail program shows it in its
/// thread.
pub fn report(report: &Report<'_>, id: ContentId, now: Timestamp) -> Vec<u8> {
    let boundary = format!("=_rune_{id}");
    let daemon = format!("Mail delivery <mailer-daemon@{}>", report.own.onion());
    let mut text = head(&daemon, report.own, report.subject(), id, now);
    // The mail program may keep its copy under another Message-ID than the recipients have.
    let ids = [message_id(report.headers, WRITTEN_ID), message_id(report.headers, "message-id")];
    let ids: Vec<String> = ids.into_iter().flatten().collect();
    if let Some(own) = ids.first() {
        let _ = write!(text, "In-Reply-To: {own}\r\nReferences: {}\r\n", ids.join("\r\n "));
    }
    text.push_str("Auto-Submitted: auto-replied\r\n");
    let _ = write!(
        text,
        "Content-Type: multipart/report; report-type=delivery-status;\r\n boundary=\"{boundary}\"\r\n\r\n"
    );
    let _ = write!(text, "--{boundary}\r\n{PLAIN}\r\n");
    let _ = write!(
        text,
        "This is your own node. Your message of {} {}:\r\n\r\n",
        report.submitted.rfc5322(),
        report.introduction()
    );
    for one in report.recipients {
        let _ = write!(text, "{} <{}>\r\n  {}\r\n\r\n", one.petname, one.address, one.outcome.sentence());
    }
    text.push_str(report.advice());
    let _ = write!(text, "--{boundary}\r\nContent-Type: message/delivery-status\r\n\r\n");
    let _ = write!(text, "Reporting-MTA: dns; {}\r\n", report.own.onion());
    if let Some(envelope) = report.envelope {
        let _ = write!(text, "Original-Envelope-Id: {}\r\n", one_line(envelope));
    }
    let _ = write!(text, "X-Rune-Queue-Id: {}\r\nArrival-Date: {}\r\n", report.queue, report.submitted.rfc5322());
    for one in report.recipients {
        text.push_str("\r\n");
        if let Some(original) = &one.original {
            let _ = write!(text, "Original-Recipient: {}\r\n", one_line(original));
        }
        let _ = write!(
            text,
            "Final-Recipient: rfc822; {}\r\nAction: {}\r\nStatus: {}\r\nLast-Attempt-Date: {}\r\n",
            one.address,
            one.outcome.action(),
            one.outcome.status(),
            now.rfc5322()
        );
        if let Outcome::Delayed { until, .. } = one.outcome {
            let _ = write!(text, "Will-Retry-Until: {}\r\n", until.rfc5322());
        }
    }
    let kind = if report.message.is_some() { "message/rfc822" } else { "text/rfc822-headers" };
    let _ = write!(text, "\r\n--{boundary}\r\nContent-Type: {kind}\r\n\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(report.message.unwrap_or(report.headers));
    bytes.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    bytes
}

/// The Message-ID in these fields, if it is a valid one.
fn message_id(fields: &[u8], name: &str) -> Option<String> {
    headers::fields(fields).find(|field| field.is(name)).and_then(|field| headers::message_id(field.value))
}

/// A text of a mail program, in the form that a header allows: printable ASCII.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect()
}

/// A notice in Requests: somebody asks to become a contact.
pub fn request(own: &Address, from: &Address, fingerprint: &Fingerprint, id: ContentId, now: Timestamp) -> Vec<u8> {
    let mut text = head(&format!("<{from}>"), own, "Somebody asks to become your contact", id, now);
    let _ = write!(text, "Auto-Submitted: auto-generated\r\n{PLAIN}\r\n");
    let _ = write!(
        text,
        "This notice was written by your own node. Somebody who has no invitation with a secret from you asks to\r\n\
         become your contact:\r\n\r\n\
         address:     {from}\r\n\
         fingerprint: {fingerprint}\r\n\r\n\
         Nothing proves who it is. To accept, move or copy this message to INBOX, or run\r\n\
         runepeer contact accept {from}\r\n\
         To block, move or copy it to Junk. Until you do either, they learn nothing, and their mail comes to this folder.\r\n"
    );
    text.into_bytes()
}

/// A notice in INBOX: a greeting was not answered in time, or was refused.
pub fn greeting_failed(
    own: &Address,
    petname: &str,
    address: &Address,
    refused: bool,
    id: ContentId,
    now: Timestamp,
) -> Vec<u8> {
    let daemon = format!("Mail delivery <mailer-daemon@{}>", own.onion());
    let mut text = head(&daemon, own, "A contact could not be greeted", id, now);
    let _ = write!(text, "Auto-Submitted: auto-generated\r\n{PLAIN}\r\n");
    let reason = if refused { "Their node refused the greeting." } else { "Their node could not be reached in time." };
    let _ = write!(
        text,
        "This is your own node. You used an invitation of\r\n\r\n{petname} <{address}>\r\n\r\n{reason}\r\n\
         Ask them for a new invitation and add it with: runepeer contact add\r\n"
    );
    text.into_bytes()
}

/// A notice in INBOX: the identity was restored from a backup of that time.
pub fn restored(own: &Address, made: Timestamp, id: ContentId, now: Timestamp) -> Vec<u8> {
    let daemon = format!("Mail delivery <mailer-daemon@{}>", own.onion());
    let mut text = head(&daemon, own, "This mailbox was restored from a backup", id, now);
    let _ = write!(text, "Auto-Submitted: auto-generated\r\n{PLAIN}\r\n");
    let _ = write!(
        text,
        "This is your own node. It was restored from a backup that was made on\r\n\r\n{}\r\n\r\n\
         Mail that arrived after that is not here, and its senders were told that it had arrived: ask them to send\r\n\
         again what matters. What you moved, deleted or marked since then is as it was before. What was waiting to be\r\n\
         sent then is sent now, also where you took it back later (see: runepeer queue list); nobody sees a message\r\n\
         twice. Contacts that were added since then have to be added again.\r\n\r\n\
         Never run the original and this copy at the same time.\r\n",
        made.rfc5322()
    );
    text.into_bytes()
}

/// A notice in INBOX: the node knew a later state of this identity than the disk has now.
pub fn rolled_back(own: &Address, id: ContentId, now: Timestamp) -> Vec<u8> {
    let daemon = format!("Mail delivery <mailer-daemon@{}>", own.onion());
    let mut text = head(&daemon, own, "This mailbox is older than it was", id, now);
    let _ = write!(text, "Auto-Submitted: auto-generated\r\n{PLAIN}\r\n");
    let _ = write!(
        text,
        "This is your own node. It has seen more of this mailbox than the disk holds now: an older copy of its files was\r\n\
         put back, or the disk lost what it had confirmed.\r\n\r\n\
         Mail that arrived last may not be here, and its senders were told that it had arrived: ask them to send again\r\n\
         what matters. What you moved, deleted or marked last may be as it was before. What was waiting to be sent then is\r\n\
         sent now, also where you took it back later (see: runepeer queue list); nobody sees a message twice. Contacts\r\n\
         that were added last have to be added again. Mail programs fetch everything anew.\r\n"
    );
    text.into_bytes()
}

/// A notice in INBOX: a message cannot be read, because its bytes on the disk are damaged.
pub fn unreadable(own: &Address, places: &[String], id: ContentId, now: Timestamp) -> Vec<u8> {
    let daemon = format!("Mail delivery <mailer-daemon@{}>", own.onion());
    let mut text = head(&daemon, own, "A message is damaged on the disk", id, now);
    let _ = write!(text, "Auto-Submitted: auto-generated\r\n{PLAIN}\r\n");
    let _ = write!(
        text,
        "This is your own node. Its disk does not hold any more what was written to it, and cannot show\r\n\r\n"
    );
    for place in places {
        let _ = write!(text, "- {place}\r\n");
    }
    let _ = write!(
        text,
        "\r\nOthers may be damaged as well. Copy the data directory, and have the disk looked at. Then stop the daemon\r\n\
         (runepeer down), and see what can be read with: runepeer repair --check\r\n\
         A backup from before may have what is missing.\r\n"
    );
    text.into_bytes()
}

/// The most lines of a notice; further ones are only counted.
const LINES: usize = 1000;

/// A notice in INBOX: parts of the identity's log were damaged on the disk; it names them, and the place of a copy.
pub fn repaired(own: &Address, lost: &[String], kept: &str, id: ContentId, now: Timestamp) -> Vec<u8> {
    let daemon = format!("Mail delivery <mailer-daemon@{}>", own.onion());
    let mut text = head(&daemon, own, "A part of this mailbox was damaged on the disk", id, now);
    let _ = write!(text, "Auto-Submitted: auto-generated\r\n{PLAIN}\r\n");
    let _ = write!(text, "This is your own node. Its disk does not hold any more what was written to it:\r\n\r\n");
    for line in lost.iter().take(LINES) {
        let _ = write!(text, "- {line}\r\n");
    }
    if lost.len() > LINES {
        let _ = write!(text, "- and {} more\r\n", lost.len() - LINES);
    }
    let _ = write!(
        text,
        "\r\nMessages that cannot be read are not listed any more. Where bytes of the log were lost, with them may have gone\r\n\
         messages, and changes of folders, of the queue and of the address book. The damaged files are kept as they\r\n\
         are in\r\n\r\n{kept}\r\n\r\n\
         A backup from before may have what is missing here. Have the disk looked at: it may go on like this.\r\n"
    );
    text.into_bytes()
}

pub(super) const PLAIN: &str = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n";

pub(super) fn head(from: &str, own: &Address, subject: &str, id: ContentId, now: Timestamp) -> String {
    format!(
        "Date: {}\r\nFrom: {from}\r\nTo: <{own}>\r\nSubject: {subject}\r\nMessage-ID: <{id}@{}>\r\nMIME-Version: 1.0\r\n",
        now.rfc5322(),
        own.onion()
    )
}

#[cfg(test)]
mod tests;
