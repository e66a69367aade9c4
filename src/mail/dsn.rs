//! What a node writes to its own user: reports of mail that did not arrive (RFC 3464 in RFC 6522), and notices.
//!
//! They never leave the node. Their senders are `mailer-daemon` at the identity's own onion, or, for a request, the
//! address that asks, so that the mail program shows who it is. All text is ours or an address; no peer chooses a byte
//! of a header.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::base::ids::Fingerprint;
use crate::base::{ContentId, QueueId, Timestamp};

use super::Address;

/// Why a message did not reach a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FailureReason {
    /// It expired, and no attempt came as far as sending it.
    Expired,
    /// It expired; it may have arrived, but no acknowledgement did.
    Unconfirmed,
    /// The recipient's node refused it for good.
    Refused,
    /// It could not be sealed to the recipient's certificate.
    Unsealable,
    /// The recipient was removed from the address book or blocked.
    NoContact,
}

impl FailureReason {
    /// The enhanced status code (RFC 3463).
    pub const fn status(self) -> &'static str {
        match self {
            Self::Expired | Self::Unconfirmed => "4.4.7",
            Self::Refused => "5.7.1",
            Self::Unsealable => "5.7.5",
            Self::NoContact => "5.1.1",
        }
    }

    /// One sentence for the user.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Expired => "Their node could not be reached before the message expired.",
            Self::Unconfirmed => {
                "The message expired without an acknowledgement. It may have arrived all the same: delivery is unconfirmed."
            }
            Self::Refused => "Their node refused the message.",
            Self::Unsealable => "The message could not be sealed to their certificate.",
            Self::NoContact => "They are no longer in your address book, or you have blocked them.",
        }
    }
}

/// One recipient in a report.
#[derive(Clone)]
pub struct Undelivered {
    /// What the user calls them.
    pub petname: String,
    /// Where the message should have gone.
    pub address: Address,
    /// Why it did not.
    pub reason: FailureReason,
}

/// What a report is about.
pub struct Report<'a> {
    /// The identity's own address.
    pub own: &'a Address,
    /// The message's place in the queue.
    pub queue: QueueId,
    /// When it was submitted.
    pub submitted: Timestamp,
    /// Those who do not have it.
    pub undelivered: &'a [Undelivered],
    /// The fields of its header by which its sender knows it again, as they were written.
    pub headers: &'a [u8],
}

/// A report of mail that did not arrive (RFC 3464).
pub fn report(report: &Report<'_>, id: ContentId, now: Timestamp) -> Vec<u8> {
    let boundary = format!("=_rune_{id}");
    let unconfirmed = report.undelivered.iter().all(|one| one.reason == FailureReason::Unconfirmed);
    let subject = if unconfirmed { "Delivery is unconfirmed" } else { "Your message was not delivered" };
    let daemon = format!("Mail delivery <mailer-daemon@{}>", report.own.onion());
    let mut text = head(&daemon, report.own, subject, id, now);
    text.push_str("Auto-Submitted: auto-replied\r\n");
    let _ = write!(
        text,
        "Content-Type: multipart/report; report-type=delivery-status;\r\n boundary=\"{boundary}\"\r\n\r\n"
    );
    let _ = write!(text, "--{boundary}\r\n{PLAIN}\r\n");
    let _ = write!(
        text,
        "This is your own node. Your message of {} did not reach everybody:\r\n\r\n",
        report.submitted.rfc5322()
    );
    for one in report.undelivered {
        let _ = write!(text, "{} <{}>\r\n  {}\r\n\r\n", one.petname, one.address, one.reason.sentence());
    }
    text.push_str("Nothing more is tried. To try again, send the message again.\r\n\r\n");
    let _ = write!(text, "--{boundary}\r\nContent-Type: message/delivery-status\r\n\r\n");
    let _ = write!(text, "Reporting-MTA: dns; {}\r\n", report.own.onion());
    let _ = write!(text, "X-Rune-Queue-Id: {}\r\nArrival-Date: {}\r\n", report.queue, report.submitted.rfc5322());
    for one in report.undelivered {
        let _ = write!(
            text,
            "\r\nFinal-Recipient: rfc822; {}\r\nAction: failed\r\nStatus: {}\r\nLast-Attempt-Date: {}\r\n",
            one.address,
            one.reason.status(),
            now.rfc5322()
        );
    }
    let _ = write!(text, "\r\n--{boundary}\r\nContent-Type: text/rfc822-headers\r\n\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(report.headers);
    bytes.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    bytes
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
        let one = Undelivered { petname: "Bärbel".into(), address: own(), reason };
        let about = Report {
            own: &own(),
            queue: QueueId::from_bytes([1; 16]),
            submitted: Timestamp::from_secs(1_800_000_000),
            undelivered: &[one],
            headers: b"Subject: hello\r\n",
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
        assert!(parts[3].contains("\r\n\r\nSubject: hello\r\n"));
        assert_eq!(parts[4], "--\r\n");
        assert!(report.split("\r\n").all(|line| !line.contains(['\r', '\n'])));
    }

    #[test]
    fn what_may_have_arrived_is_not_called_undelivered() {
        assert!(text(FailureReason::Unconfirmed).contains("Subject: Delivery is unconfirmed\r\n"));
        assert!(text(FailureReason::Expired).contains("Subject: Your message was not delivered\r\n"));
    }
}
