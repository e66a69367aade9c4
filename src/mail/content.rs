//! Content: what the author signs. A short text header, then the payload as it is
//! (docs/protocol.md, "Content").
//!
//! ```text
//! RUNE-CONTENT mail/1 critical
//! Id: 6f3c…                       32 hexadecimal digits, random
//! Expires: 2026-11-25T00:00:00Z
//! Receipt: 9a01…                  64 hexadecimal digits, in a copy that is left at a box
//!                                 an empty line, then the payload to the end
//! ```
//! Line ends of the header are LF. Unknown fields are kept out of the way. An unknown kind or version is refused where
//! it is marked `critical`; where it is `optional`, it is acknowledged and dropped.

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Serialize};

use crate::base::limits::CONTENT_HEADER_BYTES;
use crate::base::{ContentId, Timestamp};

/// The kinds of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ContentKind {
    /// An RFC 5322 message, as the mail program wrote it: `mail/1`.
    Mail,
    /// The drafts' JSON message with base91 attachments: `mail-json/1`.
    MailJson,
    /// The card of an identity for one contact ([`super::Card`], JSON): `card/1`.
    Card,
    /// A carrier's challenge to a client that registers ([`super::proof`]): `challenge/1`.
    Challenge,
    /// The answer to a challenge: `challenge-answer/1`.
    ChallengeAnswer,
    /// Receipts of copies that came through a box: `receipt/1`.
    Receipt,
    /// A test object that its author leaves in its own box, to check that the box works: `check/1`.
    Check,
    /// Asks a contact whether it may be introduced to somebody ([`super::introduction::Ask`], JSON): `introduction-ask/1`.
    IntroductionAsk,
    /// Agrees to be introduced ([`super::introduction::Grant`], JSON): `introduction-grant/1`.
    IntroductionGrant,
    /// Introduces somebody who has agreed ([`super::introduction::Introduction`], JSON): `introduction/1`.
    Introduction,
    /// Says that the author's onion or key must not be used any more ([`super::Revocation`], JSON): `revocation/1`.
    Revocation,
}

/// A secret that only the node which opened one copy of a content knows, and returns to its author (docs/protocol.md,
/// "Receipts").
pub type Receipt = [u8; 32];

impl ContentKind {
    /// The kind and version on the first line.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Mail => "mail/1",
            Self::MailJson => "mail-json/1",
            Self::Card => "card/1",
            Self::Challenge => "challenge/1",
            Self::ChallengeAnswer => "challenge-answer/1",
            Self::Receipt => "receipt/1",
            Self::Check => "check/1",
            Self::IntroductionAsk => "introduction-ask/1",
            Self::IntroductionGrant => "introduction-grant/1",
            Self::Introduction => "introduction/1",
            Self::Revocation => "revocation/1",
        }
    }

    const ALL: [Self; 11] = [
        Self::Mail,
        Self::MailJson,
        Self::Card,
        Self::Challenge,
        Self::ChallengeAnswer,
        Self::Receipt,
        Self::Check,
        Self::IntroductionAsk,
        Self::IntroductionGrant,
        Self::Introduction,
        Self::Revocation,
    ];

    /// Whether it is something that a person wrote or decided, which waits in the queue as mail does.
    pub const fn is_queued(self) -> bool {
        matches!(
            self,
            Self::Mail
                | Self::MailJson
                | Self::IntroductionAsk
                | Self::IntroductionGrant
                | Self::Introduction
                | Self::Revocation
        )
    }

    /// Whether a node that does not know the kind must refuse it.
    const fn weight(self) -> &'static str {
        match self {
            Self::Receipt | Self::Check => "optional",
            _ => "critical",
        }
    }

    fn from_token(token: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.token() == token)
    }
}

/// A content: header and payload. [`Content::encode`] gives the bytes that are signed.
#[derive(Clone, PartialEq, Eq)]
pub struct Content {
    /// The kind of the payload.
    pub kind: ContentKind,
    /// The random id, the same in every copy and retry.
    pub id: ContentId,
    /// Nodes refuse the content 48 hours after this moment.
    pub expires: Timestamp,
    /// The secret that the node which opens the content returns to the author; only in a copy that is left in a box.
    pub receipt: Option<Receipt>,
    /// The payload.
    pub payload: Vec<u8>,
}

/// Why a content was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// The header does not have the form above.
    #[error("the content's header is malformed")]
    Malformed,
    /// The header has no end within its bound.
    #[error("the content's header is too long")]
    HeaderTooLong,
    /// An unknown kind or version, marked as one that must be understood.
    #[error("a critical content of an unknown kind")]
    UnknownCritical,
    /// An unknown kind or version, marked as one that may be ignored.
    #[error("an optional content of an unknown kind")]
    UnknownOptional,
}

const MAGIC: &str = "RUNE-CONTENT";

impl Content {
    /// The header, with its empty line.
    pub fn header(&self) -> String {
        let (kind, weight, expires) = (self.kind.token(), self.kind.weight(), self.expires.rfc3339());
        let receipt = self.receipt.map(|receipt| format!("Receipt: {}\n", HEXLOWER.encode(&receipt)));
        format!("{MAGIC} {kind} {weight}\nId: {}\nExpires: {expires}\n{}\n", self.id, receipt.unwrap_or_default())
    }

    /// The bytes that are signed: header and payload.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.header().into_bytes();
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    /// Reads a content; the payload is everything after the empty line.
    ///
    /// # Errors
    /// See [`ContentError`]; nothing is kept.
    pub fn decode(bytes: Vec<u8>) -> Result<Self, ContentError> {
        let window = bytes.get(..bytes.len().min(CONTENT_HEADER_BYTES)).unwrap_or_default();
        let Some(end) = window.windows(2).position(|pair| pair == b"\n\n") else {
            return Err(if bytes.len() > CONTENT_HEADER_BYTES {
                ContentError::HeaderTooLong
            } else {
                ContentError::Malformed
            });
        };
        let header = window.get(..end).unwrap_or_default();
        let header = std::str::from_utf8(header).map_err(|_| ContentError::Malformed)?;
        let mut lines = header.split('\n');
        let mut first = lines.next().unwrap_or_default().split(' ');
        let (magic, kind, critical) = (first.next(), first.next(), first.next());
        if magic != Some(MAGIC) || first.next().is_some() {
            return Err(ContentError::Malformed);
        }
        let critical = match critical {
            Some("critical") => true,
            Some("optional") => false,
            _ => return Err(ContentError::Malformed),
        };
        let Some(kind) = kind.and_then(ContentKind::from_token) else {
            return Err(if critical { ContentError::UnknownCritical } else { ContentError::UnknownOptional });
        };
        let (mut id, mut expires, mut receipt) = (None, None, None);
        for line in lines {
            let (name, value) = line.split_once(": ").ok_or(ContentError::Malformed)?;
            if name.eq_ignore_ascii_case("id") {
                let value = value.parse().map_err(|_| ContentError::Malformed)?;
                if id.replace(value).is_some() {
                    return Err(ContentError::Malformed);
                }
            } else if name.eq_ignore_ascii_case("expires") {
                let value = Timestamp::parse_rfc3339(value).ok_or(ContentError::Malformed)?;
                if expires.replace(value).is_some() {
                    return Err(ContentError::Malformed);
                }
            } else if name.eq_ignore_ascii_case("receipt") {
                let value = HEXLOWER_PERMISSIVE.decode(value.as_bytes()).map_err(|_| ContentError::Malformed)?;
                let value: Receipt = value.try_into().map_err(|_| ContentError::Malformed)?;
                if receipt.replace(value).is_some() {
                    return Err(ContentError::Malformed);
                }
            }
        }
        let (Some(id), Some(expires)) = (id, expires) else { return Err(ContentError::Malformed) };
        let mut payload = bytes;
        payload.drain(..end + 2);
        Ok(Self { kind, id, expires, receipt, payload })
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Content")
            .field("kind", &self.kind)
            .field("payload", &self.payload.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content() -> Content {
        Content {
            kind: ContentKind::Mail,
            id: ContentId::from_bytes([9; 16]),
            expires: Timestamp::from_secs(1_800_000_000),
            receipt: None,
            payload: b"Subject: x\r\n\r\nbody\n\nmore".to_vec(),
        }
    }

    #[test]
    fn round_trip_keeps_the_payload_as_it_is() {
        assert_eq!(Content::decode(content().encode()), Ok(content()));
    }

    #[test]
    fn malformed_headers_are_refused() {
        let good = String::from_utf8(content().encode()).unwrap();
        for (from, to, error) in [
            ("mail/1", "mail/9", ContentError::UnknownCritical),
            ("mail/1 critical", "gossip/1 optional", ContentError::UnknownOptional),
            ("RUNE-CONTENT", "RUNE", ContentError::Malformed),
            ("Id: ", "Id:", ContentError::Malformed),
            ("Expires", "Expire", ContentError::Malformed),
            ("\n\n", "\n", ContentError::Malformed),
        ] {
            let bad = good.replacen(from, to, if from == "\n\n" { 9 } else { 1 });
            assert_eq!(Content::decode(bad.into_bytes()), Err(error), "{from}");
        }
        assert_eq!(Content::decode(vec![b'x'; 20_000]), Err(ContentError::HeaderTooLong));
    }

    #[test]
    fn a_header_ends_within_its_bound() {
        let good = String::from_utf8(content().encode()).unwrap();
        let filled = |end: usize| {
            let before = good.find("\n\n").unwrap() + 2;
            good.replacen("Expires", &format!("X: {}\nExpires", "y".repeat(end - before - 4)), 1)
        };
        let longest = filled(CONTENT_HEADER_BYTES);
        assert_eq!(longest.find("\n\n"), Some(CONTENT_HEADER_BYTES - 2));
        assert_eq!(Content::decode(longest.into_bytes()), Ok(content()));
        let longer = filled(CONTENT_HEADER_BYTES + 1);
        assert_eq!(Content::decode(longer.into_bytes()), Err(ContentError::HeaderTooLong));
    }

    #[test]
    fn the_first_line_has_three_words_and_each_field_once() {
        let good = |kind| String::from_utf8(Content { kind, receipt: Some([0xab; 32]), ..content() }.encode()).unwrap();
        for kind in ContentKind::ALL {
            let read = Content::decode(good(kind).into_bytes()).unwrap();
            assert_eq!((read.kind, read.receipt), (kind, Some([0xab; 32])));
        }
        let mail = good(ContentKind::Mail);
        assert!(mail.starts_with("RUNE-CONTENT mail/1 critical\n"), "{mail}");
        assert!(good(ContentKind::Receipt).starts_with("RUNE-CONTENT receipt/1 optional\n"));
        for (from, to) in [
            ("critical", "critical x"),
            ("critical", "Critical"),
            (" critical", ""),
            ("Receipt: ab", "Receipt: a"),
            ("Receipt: ab", "Receipt: xy"),
            ("Receipt: ab", "Receipt: abab"),
            ("Receipt", "receipt: 00\nReceipt"),
            ("Expires", "expires: 2027-01-15T08:00:00Z\nExpires"),
            ("Expires: 2", "Expires: x"),
            ("Id: 0", "Id: x"),
        ] {
            assert_eq!(Content::decode(mail.replacen(from, to, 1).into_bytes()), Err(ContentError::Malformed), "{to}");
        }
        for (from, to) in [("Receipt: ab", "RECEIPT: AB"), ("Id", "iD"), ("Expires", "expires")] {
            assert!(Content::decode(mail.replacen(from, to, 1).into_bytes()).is_ok(), "{to}");
        }
    }

    #[test]
    fn unknown_fields_are_ignored_and_repeated_ones_refused() {
        let good = String::from_utf8(content().encode()).unwrap();
        let more = good.replacen("Expires", "Sequence: 7\nExpires", 1);
        assert_eq!(Content::decode(more.into_bytes()), Ok(content()));
        let twice = good.replacen("Expires", "Id: 00000000000000000000000000000000\nExpires", 1);
        assert_eq!(Content::decode(twice.into_bytes()), Err(ContentError::Malformed));
    }

    #[test]
    fn a_header_that_never_ends_is_told_from_one_that_may_still() {
        assert_eq!(Content::decode(vec![b'x'; CONTENT_HEADER_BYTES]), Err(ContentError::Malformed));
        assert_eq!(Content::decode(vec![b'x'; CONTENT_HEADER_BYTES + 1]), Err(ContentError::HeaderTooLong));
    }
}
