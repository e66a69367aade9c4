//! What a node writes to its own user: reports of mail that did not arrive (RFC 3464 in RFC 6522), and notices.
//!
//! They never leave the node. Their senders are `mailer-daemon` at the identity's own onion, or, for a request, the
//! address that asks, so that the mail program shows who it is. All text is ours or an address; no peer chooses a byte
//! of a header.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::base::ids::Fingerprint;
use crate::base::{ContentId, QueueId, Timestamp};

use super::{Address, headers};

/// Why a message did not reach a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FailureReason {
    /// It expired, and no attempt came as far as sending it.
    Expired,
    /// The attempts ended; it may have arrived, but no acknowledgement did.
    Unconfirmed,
    /// The recipient's node refused it for good.
    Refused,
    /// It could not be sealed to the recipient's certificate.
    Unsealable,
    /// The recipient was removed from the address book or blocked.
    NoContact,
    /// Its sender took it back, but a copy was on its way before and may have arrived.
    Recalled,
    /// It is larger than what the recipient's node takes.
    TooLarge,
}

impl FailureReason {
    /// The enhanced status code (RFC 3463). What may have arrived is in class 4: no code says that it has not.
    pub const fn status(self) -> &'static str {
        match self {
            Self::Expired | Self::Unconfirmed => "4.4.7",
            Self::Refused => "5.7.1",
            Self::Unsealable => "5.7.5",
            Self::NoContact => "5.1.1",
            Self::Recalled => "4.0.0",
            Self::TooLarge => "5.2.3",
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
        }
    }

    /// Whether the message may have arrived all the same.
    const fn is_doubtful(self) -> bool {
        matches!(self, Self::Unconfirmed | Self::Recalled)
    }
}

/// What is reported of one recipient (RFC 3464 §2.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing more is tried.
    Failed(FailureReason),
    /// It is late and is tried on, until then.
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
}

impl Outcome {
    const fn action(self) -> &'static str {
        match self {
            // Of the five actions of RFC 3464 §2.3.3 `failed`, `delivered` and `relayed` each say what nobody here knows.
            // `delayed` leaves open whether the message arrives; that nothing more is tried is said by the text, and by the
            // absence of Will-Retry-Until.
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
            Self::Delayed { .. } => "4.4.1",
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
    /// What the user calls them.
    pub petname: String,
    /// Where the message goes.
    pub address: Address,
    /// ORCPT, as the mail program gave it.
    pub original: Option<String>,
    /// What became of it.
    pub outcome: Outcome,
}

/// What a report is about.
pub struct Report<'a> {
    /// The identity's own address.
    pub own: &'a Address,
    /// The message's place in the queue.
    pub queue: QueueId,
    /// ENVID, as the mail program gave it.
    pub envelope: Option<&'a str>,
    /// When it was submitted.
    pub submitted: Timestamp,
    /// Those of whom it tells.
    pub recipients: &'a [Concerned],
    /// The fields of its header by which its sender knows it again, as they were written.
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

/// The field of [`Report::headers`] with the Message-ID that the mail program wrote, where the signed one is another.
pub const WRITTEN_ID: &str = "Original-Message-ID";

/// A report of what became of a message (RFC 3464). It answers the message, so that a mail program shows it there.
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

/// The Message-ID in these fields, where it is one.
fn message_id(fields: &[u8], name: &str) -> Option<String> {
    headers::fields(fields).find(|field| field.is(name)).and_then(|field| headers::message_id(field.value))
}

/// What a mail program gave, as it may stand in a header: printable ASCII.
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
         Nothing proves who it is. To accept, move this message to INBOX. To block, move it to Junk. Until you do\r\n\
         either, they learn nothing, and their mail comes to this folder.\r\n"
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

/// A notice in INBOX: the mailbox was put back from a backup of that time.
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

/// A notice in INBOX: the node knew more of this mailbox than the disk holds now.
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

/// A notice in INBOX: a message cannot be read, because the disk does not hold it any more.
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

/// Lines of a notice; what is beyond them is only counted.
const LINES: usize = 1000;

/// A notice in INBOX: parts of the mailbox were damaged on the disk; what they were, and where a copy of them is.
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

const PLAIN: &str = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n";

fn head(from: &str, own: &Address, subject: &str, id: ContentId, now: Timestamp) -> String {
    format!(
        "Date: {}\r\nFrom: {from}\r\nTo: <{own}>\r\nSubject: {subject}\r\nMessage-ID: <{id}@{}>\r\nMIME-Version: 1.0\r\n",
        now.rfc5322(),
        own.onion()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Address {
        "alice@duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion".parse().unwrap()
    }

    fn text(reason: FailureReason) -> String {
        report_of(Outcome::Failed(reason), None)
    }

    fn report_of(outcome: Outcome, message: Option<&[u8]>) -> String {
        let original = Some("rfc822;b\u{e4}r\r\nX: y".to_owned());
        let one = Concerned { petname: "Bärbel".into(), address: own(), original, outcome };
        let about = Report {
            own: &own(),
            queue: QueueId::from_bytes([1; 16]),
            envelope: Some("QQ\r\n314159"),
            submitted: Timestamp::from_secs(1_800_000_000),
            recipients: &[one],
            headers: b"Original-Message-ID: <a@laptop>\r\nSubject: hello\r\nMessage-Id:  <a@b>\r\n",
            message,
        };
        let bytes = report(&about, ContentId::from_bytes([2; 16]), Timestamp::from_secs(1_800_500_000));
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_report_is_a_well_formed_multipart_with_a_status_per_recipient() {
        let report = text(FailureReason::Refused);
        let parts: Vec<_> = report.split("--=_rune_02020202020202020202020202020202").collect();
        assert_eq!(parts.len(), 5);
        assert!(parts[0].contains("multipart/report; report-type=delivery-status"));
        assert!(parts[1].contains("Bärbel") && parts[1].contains("refused"));
        assert!(parts[2].contains("Final-Recipient: rfc822; alice@") && parts[2].contains("Status: 5.7.1"));
        assert!(parts[3].contains("\r\n\r\nOriginal-Message-ID: <a@laptop>\r\nSubject: hello\r\n"), "{}", parts[3]);
        assert_eq!(parts[4], "--\r\n");
        assert!(report.split("\r\n").all(|line| !line.contains(['\r', '\n'])));
    }

    #[test]
    fn what_may_have_arrived_is_not_called_undelivered() {
        assert!(text(FailureReason::Unconfirmed).contains("Subject: Delivery is unconfirmed\r\n"));
        assert!(text(FailureReason::Recalled).contains("Subject: Delivery is unconfirmed\r\n"));
        assert!(text(FailureReason::Expired).contains("Subject: Your message was not delivered\r\n"));
        for reason in [FailureReason::Unconfirmed, FailureReason::Recalled] {
            let report = text(reason);
            assert!(report.contains("\r\nAction: delayed\r\nStatus: 4."), "{report}");
            assert!(!report.contains("Will-Retry-Until") && report.contains("Nothing more is tried."), "{report}");
            assert!(report.contains(" may not have reached everybody:"), "{report}");
        }
        assert!(text(FailureReason::Expired).contains("\r\nAction: failed\r\n"));
    }

    #[test]
    fn a_report_answers_its_message_and_repeats_what_the_mail_program_gave_on_one_line() {
        let until = Timestamp::from_secs(1_800_432_000);
        let late = report_of(Outcome::Delayed { until, so_far: SoFar::NotReached }, None);
        assert!(late.contains("In-Reply-To: <a@laptop>\r\nReferences: <a@laptop>\r\n <a@b>\r\n"));
        assert!(late.contains("Action: delayed\r\nStatus: 4.4.1\r\n") && late.contains("Will-Retry-Until: "));
        assert!(late.contains("Original-Envelope-Id: QQ??314159\r\n"));
        assert!(late.contains("Original-Recipient: rfc822;b?r??X: y\r\n"));
        let delivered = report_of(Outcome::Delivered, None);
        assert!(delivered.contains("Subject: Your message was delivered\r\n") && delivered.contains("Status: 2.0.0"));
        let handed_over = report_of(Outcome::HandedOver, None);
        assert!(handed_over.contains("Subject: Your message was handed over\r\n"));
        assert!(
            handed_over.contains("Action: relayed\r\nStatus: 2.0.0") && !handed_over.contains("Nothing more is tried")
        );
    }

    #[test]
    fn every_outcome_is_told_in_the_same_sense_in_every_place() {
        let until = Timestamp::from_secs(1_800_432_000);
        let late = |so_far| Outcome::Delayed { until, so_far };
        let (undelivered, unconfirmed) = ("Your message was not delivered", "Delivery is unconfirmed");
        let is_late = "Your message is late, and is tried on";
        let (nobody, perhaps) = ("did not reach everybody", "may not have reached everybody");
        let waits = "has not reached everybody yet";
        for (outcome, subject, introduction, action, status, sentence) in [
            (
                Outcome::Failed(FailureReason::Expired),
                undelivered,
                nobody,
                "failed",
                "4.4.7",
                "could not be reached, or",
            ),
            (
                Outcome::Failed(FailureReason::Unconfirmed),
                unconfirmed,
                perhaps,
                "delayed",
                "4.4.7",
                "ended without an acknowledgement",
            ),
            (Outcome::Failed(FailureReason::Refused), undelivered, nobody, "failed", "5.7.1", "refused the message"),
            (Outcome::Failed(FailureReason::Unsealable), undelivered, nobody, "failed", "5.7.5", "could not be sealed"),
            (Outcome::Failed(FailureReason::NoContact), undelivered, nobody, "failed", "5.1.1", "no longer in your"),
            (
                Outcome::Failed(FailureReason::Recalled),
                unconfirmed,
                perhaps,
                "delayed",
                "4.0.0",
                "took the message back",
            ),
            (Outcome::Failed(FailureReason::TooLarge), undelivered, nobody, "failed", "5.2.3", "is larger than"),
            (late(SoFar::NotReached), is_late, waits, "delayed", "4.4.1", "so far, or put it off"),
            (late(SoFar::Sent), is_late, waits, "delayed", "4.4.1", "A copy was sent, and no acknowledgement"),
            (late(SoFar::Held), is_late, waits, "delayed", "4.4.1", "A carrier of theirs has it"),
            (Outcome::Delivered, "Your message was delivered", "was delivered", "delivered", "2.0.0", "on its disk"),
            (Outcome::HandedOver, "Your message was handed over", "was handed over", "relayed", "2.0.0", "no receipts"),
        ] {
            let report = report_of(outcome, None);
            let is_late = matches!(outcome, Outcome::Delayed { .. });
            for expected in [
                format!("\r\nSubject: {subject}\r\n"),
                format!("Your message of {} {introduction}:\r\n", Timestamp::from_secs(1_800_000_000).rfc5322()),
                format!("\r\nAction: {action}\r\nStatus: {status}\r\n"),
                sentence.to_owned(),
            ] {
                assert_eq!(report.matches(&expected).count(), 1, "{expected}: {report}");
            }
            let retried = format!("\r\nWill-Retry-Until: {}\r\n", until.rfc5322());
            assert_eq!(report.contains(&retried), is_late, "{report}");
            assert_eq!(report.contains("delete it in the folder Outbox"), is_late, "{report}");
            let ended = matches!(outcome, Outcome::Failed(_));
            assert_eq!(report.contains("Nothing more is tried."), ended, "{report}");
        }
    }

    #[test]
    fn every_notice_says_who_writes_and_what_to_do() {
        let (own, id, now) = (own(), ContentId::from_bytes([2; 16]), Timestamp::from_secs(1_800_500_000));
        let fingerprint = Fingerprint::from_bytes([3; 32]);
        let daemon = format!("Mail delivery <mailer-daemon@{}>", own.onion());
        let lost = ["a message".to_owned(), "another".to_owned()];
        for (notice, from, subject, said) in [
            (
                request(&own, &own, &fingerprint, id, now),
                format!("<{own}>"),
                "Somebody asks to become your contact",
                format!("address:     {own}\r\nfingerprint: {fingerprint}\r\n"),
            ),
            (
                greeting_failed(&own, "bob", &own, true, id, now),
                daemon.clone(),
                "A contact could not be greeted",
                format!("bob <{own}>\r\n\r\nTheir node refused the greeting."),
            ),
            (
                greeting_failed(&own, "bob", &own, false, id, now),
                daemon.clone(),
                "A contact could not be greeted",
                "Their node could not be reached in time.".to_owned(),
            ),
            (restored(&own, now, id, now), daemon.clone(), "This mailbox was restored from a backup", now.rfc5322()),
            (
                rolled_back(&own, id, now),
                daemon.clone(),
                "This mailbox is older than it was",
                "than the disk holds now".to_owned(),
            ),
            (
                unreadable(&own, &lost, id, now),
                daemon.clone(),
                "A message is damaged on the disk",
                "\r\n- a message\r\n- another\r\n".to_owned(),
            ),
            (
                repaired(&own, &lost, "/kept", id, now),
                daemon.clone(),
                "A part of this mailbox was damaged on the disk",
                "\r\n- a message\r\n- another\r\n\r\n".to_owned(),
            ),
        ] {
            let text = String::from_utf8(notice).unwrap();
            let head = format!(
                "Date: {}\r\nFrom: {from}\r\nTo: <{own}>\r\nSubject: {subject}\r\nMessage-ID: <{id}@{}>\r\nMIME-Version: 1.0\r\n",
                now.rfc5322(),
                own.onion()
            );
            assert!(text.starts_with(&head) && text.contains(&said), "{text}");
            assert!(text.contains("Auto-Submitted: auto-generated\r\n") && text.contains(&format!("{PLAIN}\r\n")));
            assert!(super::super::outgoing::has_strict_lines(text.as_bytes()));
        }
    }

    #[test]
    fn a_message_is_returned_whole_where_that_was_asked_for() {
        let whole = report_of(Outcome::Failed(FailureReason::Refused), Some(b"Subject: hello\r\n\r\nAll of it.\r\n"));
        assert!(whole.contains("Content-Type: message/rfc822\r\n\r\nSubject: hello\r\n\r\nAll of it.\r\n"));
        assert!(!text(FailureReason::Refused).contains("message/rfc822"));
    }

    #[test]
    fn a_message_id_that_is_none_is_not_answered() {
        for field in ["Message-ID: a@b\r\n", "Message-ID: <a b@c>\r\n", "X: <a@b>\r\n", "Message-ID: <\u{e4}@b>\r\n"] {
            assert_eq!(message_id(field.as_bytes(), "message-id"), None, "{field}");
        }
    }

    #[test]
    fn a_notice_of_what_was_damaged_counts_what_it_does_not_list() {
        let notice = |count: usize| {
            let lost: Vec<String> = (0..count).map(|number| format!("message {number}")).collect();
            let (id, now) = (ContentId::from_bytes([2; 16]), Timestamp::from_secs(1_800_500_000));
            String::from_utf8(repaired(&own(), &lost, "/kept", id, now)).unwrap()
        };
        for (count, listed, more) in [(3, 3, None), (LINES, LINES, None), (LINES + 7, LINES, Some("- and 7 more\r\n"))]
        {
            let notice = notice(count);
            assert_eq!(notice.matches("\r\n- message ").count(), listed);
            assert_eq!(notice.contains("- and "), more.is_some(), "{count}");
            assert!(more.is_none_or(|more| notice.contains(more)));
        }
    }
}
