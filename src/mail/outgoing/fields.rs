//! The fields that may leave at the top of a message; every other field is dropped.
//!
//! They are written in one order and spelling, because order and spelling would tell which program wrote them. Fields
//! of content are in `params`.

use std::collections::BTreeSet;

use crate::base::limits::{HEADER_BYTES, NAMED};
use crate::base::{Onion, Rng, Timestamp, meter};

use super::super::date;
use super::super::headers::{self, Field};
use super::super::strict::Ambiguity;
use super::ids::{OwnHosts, fresh_message_id, own_message_id};
use super::people::{self, People};
use super::{Address, OutgoingError};

/// The form in which a field's value leaves.
#[derive(Clone, Copy)]
enum Rule {
    /// A date in UTC; the present time where the field is missing.
    Date,
    /// An id at the author's onion; a new one where the field is missing.
    MessageId,
    /// Addresses in the place of petnames.
    People,
    /// Only ids that name nobody whom the header does not name.
    Ids,
    /// The text as it was written.
    Text,
    /// One of these words; otherwise the field is dropped.
    Word(&'static [&'static str]),
}

/// The allowed fields, in the order in which they leave. docs/protocol.md, "What a submission changes", has the same
/// list.
const ALLOWED: [(&str, Rule); 15] = [
    ("Date", Rule::Date),
    ("Message-ID", Rule::MessageId),
    ("From", Rule::People),
    ("Reply-To", Rule::People),
    ("To", Rule::People),
    ("Cc", Rule::People),
    ("Mail-Followup-To", Rule::People),
    ("Disposition-Notification-To", Rule::People),
    ("Subject", Rule::Text),
    ("In-Reply-To", Rule::Ids),
    ("References", Rule::Ids),
    ("Importance", Rule::Word(&["high", "low"])),
    ("Priority", Rule::Word(&["urgent", "non-urgent"])),
    ("X-Priority", Rule::Word(&["1", "2", "4", "5"])),
    ("Auto-Submitted", Rule::Word(&["auto-generated", "auto-replied", "auto-notified"])),
];

/// The fields at the top, except those of content.
#[derive(Default)]
pub(super) struct Top {
    /// The fields as they leave, with their line ends.
    pub(super) fields: Vec<u8>,
    /// The addresses in them, except the author's, as the mail program wrote them, each once.
    pub(super) visible: Vec<String>,
    /// The same addresses, for looking up.
    seen: BTreeSet<String>,
    /// The Message-ID that the mail program wrote, where it was replaced.
    pub(super) written_id: Option<String>,
    /// The onions of these addresses, and the author's.
    pub(super) known: BTreeSet<Onion>,
}

/// Prepares the fields at the top.
pub(super) fn top(
    header: &[u8],
    people: &People<'_>,
    own_hosts: &OwnHosts,
    now: Timestamp,
    rng: &mut dyn Rng,
) -> Result<Top, OutgoingError> {
    let own = people.own.onion();
    let mut top = Top { known: [own].into(), ..Top::default() };
    // Fields with addresses come first in the list, so that it is known who is named when the ids are read.
    for (name, rule) in ALLOWED {
        let field = headers::fields(header).find(|field| field.is(name));
        let written = field.map(|field| field.value);
        let value = match rule {
            Rule::Date => Some(written.and_then(utc).unwrap_or_else(|| now.rfc5322()).into_bytes()),
            Rule::MessageId => {
                let id = match written {
                    Some(value) => own_message_id(value, own, rng),
                    None => fresh_message_id(own, rng),
                };
                top.written_id = written.and_then(headers::message_id).filter(|written| *written != id);
                Some(id.into_bytes())
            }
            Rule::People => field.map(|field| top.named(&field, people)).transpose()?.filter(|value| !value.is_empty()),
            Rule::Ids => written
                .map(|value| own_hosts.disclosed(value, own, |onion| top.known.contains(onion)))
                .filter(|ids| !ids.is_empty())
                .map(|ids| ids.join("\r\n ").into_bytes()),
            Rule::Text => written.map(|value| value.trim_ascii().to_vec()),
            Rule::Word(words) => written.and_then(|value| first_word(value, words)),
        };
        if let Some(value) = value {
            push(&mut top.fields, name, &value);
        }
        if top.fields.len() > HEADER_BYTES {
            // Addresses are longer than petnames: the recipients would refuse the longer header.
            return Err(Ambiguity::TooLong.into());
        }
    }
    Ok(top)
}

impl Top {
    /// The value of a field with addresses; the addresses in it are remembered.
    fn named(&mut self, field: &Field<'_>, people: &People<'_>) -> Result<Vec<u8>, OutgoingError> {
        if !field.is("from") {
            for address in people::named_in(field.value) {
                meter::steps(address.len() * (NAMED.ilog2() as usize + 1));
                if self.seen.insert(address.clone()) {
                    self.visible.push(address);
                }
                if self.visible.len() > NAMED {
                    return Err(OutgoingError::TooManyNamed);
                }
            }
        }
        let value = people.without_petnames(field)?;
        self.known.extend(people::onions_in(&value));
        Ok(value.trim_ascii().to_vec())
    }
}

/// A date in UTC; `None` where it cannot be read.
pub(super) fn utc(value: &[u8]) -> Option<String> {
    date::parse(&headers::unfold(value)).map(|date| date.rfc5322())
}

/// The first word of a value, in lower case, if it is one of these.
fn first_word(value: &[u8], words: &[&str]) -> Option<Vec<u8>> {
    let value = headers::unfold(value).to_ascii_lowercase();
    let end = value.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'-').unwrap_or(value.len());
    let word = value.get(..end)?;
    words.iter().any(|allowed| allowed.as_bytes() == word).then(|| word.to_vec())
}

/// Adds a field.
pub(super) fn push(fields: &mut Vec<u8>, name: &str, value: &[u8]) {
    fields.extend_from_slice(name.as_bytes());
    fields.extend_from_slice(if value.is_empty() { b":" } else { b": " });
    fields.extend_from_slice(value);
    fields.extend_from_slice(b"\r\n");
}

/// Whether the field must be left out of a copy for hidden recipients: it names others than the author, or belongs to a
/// thread that others are in.
pub(super) fn tells_of_others(field: &Field<'_>, own: &Address) -> bool {
    const ALWAYS: [&str; 4] = ["To", "Cc", "In-Reply-To", "References"];
    let of_author = || {
        let named: Vec<String> = people::named_in(field.value).collect();
        !named.is_empty() && named.iter().all(|address| people::is_own(address, own))
    };
    let holds_people = ALLOWED.iter().any(|(name, rule)| field.is(name) && matches!(rule, Rule::People));
    ALWAYS.iter().any(|name| field.is(name)) || holds_people && !field.is("From") && !of_author()
}

#[cfg(test)]
pub(super) fn allowed() -> impl Iterator<Item = &'static str> {
    ALLOWED.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_counts_where_it_is_one_of_ours() {
        let words = ["high", "non-urgent", "1"];
        for (value, expected) in [
            ("high", Some("high")),
            (" HIGH (really)", Some("high")),
            ("Non-Urgent;x", Some("non-urgent")),
            ("1 (Highest)", Some("1")),
            ("1", Some("1")),
            ("10", None),
            ("highest", None),
            ("(high)", None),
            ("", None),
            ("non urgent", None),
        ] {
            assert_eq!(first_word(value.as_bytes(), &words), expected.map(|word| word.as_bytes().to_vec()), "{value}");
        }
    }

    #[test]
    fn a_copy_for_the_hidden_keeps_only_what_is_the_authors() {
        let own: Address = format!("alice@{}", Onion::from_public_key([1; 32])).parse().unwrap();
        for (field, tells) in [
            ("To: alice@rune.internal", true),
            ("Cc: x@y", true),
            ("In-Reply-To: <a@b>", true),
            ("References: <a@b>", true),
            ("From: x@y", false),
            ("Reply-To: alice@rune.internal", false),
            ("Reply-To: alice@rune.internal, bob@rune.internal", true),
            ("Reply-To:", true),
            ("Mail-Followup-To: x@y", true),
            ("Disposition-Notification-To: x@y", true),
            ("Subject: x@y", false),
            ("Message-ID: <a@b>", false),
            ("Importance: high", false),
        ] {
            let field = headers::fields(field.as_bytes()).next().unwrap();
            assert_eq!(tells_of_others(&field, &own), tells, "{:?}", String::from_utf8_lossy(field.raw));
        }
    }

    #[test]
    fn a_field_is_written_in_one_form() {
        let mut out = Vec::new();
        push(&mut out, "A", b"b");
        push(&mut out, "C", b"");
        assert_eq!(out, b"A: b\r\nC:\r\n");
        assert_eq!(utc(b"Fri, 20 Nov\r\n 2026 23:40:52 -0130"), Some("Sat, 21 Nov 2026 01:10:52 +0000".to_owned()));
        assert_eq!(utc(b"tomorrow"), None);
    }
}
