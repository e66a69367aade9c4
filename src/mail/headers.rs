//! Header fields and the author of a message (RFC 5322 §2.2, §3.6.2).
//!
//! Everything here reads a header line by line, a fixed number of times: at most 24 steps for a byte of it and, where
//! fields are selected, for a byte of the names that are asked for.
//!
//! Fields are found by their bytes, so that fields that are not touched are passed on as they were. Address lists are
//! read in two ways: leniently for showing ([`address_list`]), strictly where a sender's right to an address depends on
//! it ([`from_addresses`]).

use std::collections::BTreeSet;

use crate::base::meter;

pub(super) use super::address_list::{Entry, entries};
pub use super::address_list::{Mailbox, address_list};

use super::address_list::strict_mailboxes;
use super::strict::{self, Ambiguity};
use super::structure::Text;

/// One header field, as it lies in the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name, without trailing space. Empty for a line that is no field.
    pub name: &'a [u8],
    /// The bytes after the colon, with their folds, without the final line end.
    pub value: &'a [u8],
    /// The whole field with its final line end.
    pub raw: &'a [u8],
}

/// Why the author of a message is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FromError {
    /// No From field.
    #[error("the message has no From field")]
    Missing,
    /// More than one From field.
    #[error("the message has more than one From field")]
    Repeated,
    /// The field is not a list of plain addresses, or the header could be read in more than one way.
    #[error("the From field is not a plain address")]
    Malformed,
    /// The header is longer, or has more fields, than we read.
    #[error("the header of the message is too long")]
    TooLong,
}

/// The bytes of the message's header, with its empty line, and the body after it. A message without an empty
/// line is all header.
pub fn split(message: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 0;
    while let Some(rest) = message.get(at..).filter(|rest| !rest.is_empty()) {
        let line = first_line(rest);
        at += line.len();
        if is_empty_line(line) {
            break;
        }
    }
    message.split_at_checked(at).unwrap_or((message, &[]))
}

/// The fields of a header; reading stops at the empty line.
pub fn fields(header: &[u8]) -> Fields<'_> {
    Fields { rest: header }
}

/// Iterator of [`fields`].
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let first = first_line(self.rest);
        if first.is_empty() || is_empty_line(first) {
            return None;
        }
        let mut length = first.len();
        while let Some(next) = self.rest.get(length..).filter(|next| matches!(next.first(), Some(b' ' | b'\t'))) {
            length += first_line(next).len();
        }
        let (raw, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        let colon = first.iter().position(|&byte| byte == b':');
        let starts_a_field = !matches!(first.first(), Some(b' ' | b'\t'));
        let (name, value) = match colon.filter(|_| starts_a_field).and_then(|colon| raw.split_at_checked(colon)) {
            Some((name, value)) => (name.trim_ascii_end(), without_line_end(value.get(1..).unwrap_or_default())),
            None => (&[][..], without_line_end(raw)),
        };
        Some(Field { name, value, raw })
    }
}

impl Field<'_> {
    /// Whether the field has this name; case does not matter.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// The fields of these names (or, with `except`, all others) and an empty line: `BODY[HEADER.FIELDS …]`. However many
/// names there are, a field's name is compared with at most twenty of them.
pub fn select_fields(header: &[u8], names: &[&[u8]], except: bool) -> Vec<u8> {
    let names: BTreeSet<Vec<u8>> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
    let compared = names.len().checked_ilog2().unwrap_or(0) as usize + 1;
    let mut selected = Vec::new();
    for field in fields(header) {
        meter::steps(field.name.len() * compared + field.raw.len());
        if names.contains(&field.name.to_ascii_lowercase()) != except {
            selected.extend_from_slice(field.raw);
            if !field.raw.ends_with(b"\n") {
                selected.extend_from_slice(b"\r\n");
            }
        }
    }
    selected.extend_from_slice(b"\r\n");
    selected
}

/// A value without folds, NUL, CR and LF, and without space at its ends.
pub fn unfold(value: &[u8]) -> Text {
    meter::steps(value.len());
    value.trim_ascii().iter().copied().filter(|byte| !matches!(byte, 0 | b'\r' | b'\n')).collect()
}

/// A longer Message-ID is not named in an answer, because a field has up to 998 bytes.
const MESSAGE_ID_BYTES: usize = 900;

/// The one Message-ID in a value, with its angle brackets, if an answer may name it: printable ASCII.
pub fn message_id(value: &[u8]) -> Option<String> {
    let id = String::from_utf8(unfold(value)).ok()?;
    let plain = id.starts_with('<') && id.ends_with('>') && id.bytes().all(|byte| byte.is_ascii_graphic());
    (plain && id.len() <= MESSAGE_ID_BYTES).then_some(id)
}

/// The addresses (`local@domain`, as written) of the one From field.
///
/// # Errors
/// [`FromError`]: no From, more than one, or anything but a list of plain mailboxes (groups, routes, quoted or
/// 8-bit local parts, comments inside an address and control characters are refused), or a header that two programs
/// could read differently ([`strict::check_header`]).
pub fn from_addresses(message: &[u8]) -> Result<Vec<String>, FromError> {
    let header = strict::check_header(message).map_err(|ambiguity| match ambiguity {
        Ambiguity::Repeated("From") => FromError::Repeated,
        Ambiguity::TooLong => FromError::TooLong,
        _ => FromError::Malformed,
    })?;
    let from = fields(header).find(|field| field.is("from")).ok_or(FromError::Missing)?;
    strict_mailboxes(&unfold(from.value)).ok_or(FromError::Malformed)
}

/// The addresses of Sender, which some programs show instead of the author's; none where the message has no such field.
///
/// # Errors
/// [`FromError::Malformed`]: it is not a list of plain mailboxes.
pub fn sender_addresses(message: &[u8]) -> Result<Vec<String>, FromError> {
    let Some(sender) = fields(message).find(|field| field.is("sender")) else { return Ok(Vec::new()) };
    strict_mailboxes(&unfold(sender.value)).ok_or(FromError::Malformed)
}

/// The addresses in To and Cc, as written. An entry that cannot be read is there as an empty text.
pub fn recipient_addresses(header: &[u8]) -> Vec<String> {
    let named = fields(header).filter(|field| field.is("to") || field.is("cc"));
    let mailboxes = named.flat_map(|field| address_list(&unfold(field.value)));
    mailboxes
        .map(|mailbox| match mailbox {
            Mailbox::Address { local, domain: Some(domain), .. } => {
                let parts = String::from_utf8(local).and_then(|local| Ok((local, String::from_utf8(domain)?)));
                parts.map(|(local, domain)| format!("{local}@{domain}")).unwrap_or_default()
            }
            _ => String::new(),
        })
        .collect()
}

fn first_line(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |at| at + 1);
    meter::steps(end + 1);
    bytes.get(..end).unwrap_or_default()
}

fn is_empty_line(line: &[u8]) -> bool {
    matches!(line, b"\r\n" | b"\n")
}

fn without_line_end(value: &[u8]) -> &[u8] {
    let value = value.strip_suffix(b"\n").unwrap_or(value);
    value.strip_suffix(b"\r").unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limits::{HEADER_BYTES, HEADER_FIELDS};
    use proptest::prelude::*;

    #[test]
    fn the_header_ends_at_the_first_empty_line() {
        assert_eq!(split(b"A: b\r\n\r\nbody\r\n\r\n"), (&b"A: b\r\n\r\n"[..], &b"body\r\n\r\n"[..]));
        assert_eq!(split(b"A: b\n\nbody"), (&b"A: b\n\n"[..], &b"body"[..]));
        assert_eq!(split(b"\r\nbody"), (&b"\r\n"[..], &b"body"[..]));
        assert_eq!(split(b"A: b"), (&b"A: b"[..], &b""[..]));
    }

    #[test]
    fn fields_keep_their_bytes() {
        let header = b"From : a\r\nSubject: one\r\n two\r\nno field\r\nX:\r\n\r\nTo: no\r\n";
        let found: Vec<_> = fields(header).collect();
        let names: Vec<_> = found.iter().map(|field| field.name).collect();
        assert_eq!(names, [&b"From"[..], b"Subject", b"", b"X"]);
        assert_eq!(unfold(found[1].value), b"one two");
        assert_eq!(found.iter().map(|field| field.raw.len()).sum::<usize>() + 2 + 8, header.len());
    }

    #[test]
    fn selected_fields_end_with_an_empty_line() {
        let header = b"A: 1\r\nB: 2\r\n x\r\na: 3\r\n\r\n";
        assert_eq!(select_fields(header, &[b"a"], false), b"A: 1\r\na: 3\r\n\r\n");
        assert_eq!(select_fields(header, &[b"a"], true), b"B: 2\r\n x\r\n\r\n");
        assert_eq!(select_fields(b"A: 1", &[b"A"], false), b"A: 1\r\n\r\n");
    }

    #[test]
    fn everybody_in_to_and_cc_is_named_and_what_cannot_be_read_is_not_left_out() {
        let named = |text: &str| recipient_addresses(text.as_bytes());
        assert_eq!(named("Subject: x\r\nTo: A <a@x>,\r\n b@y\r\nCc: c@z\r\nBcc: d@w\r\n"), ["a@x", "b@y", "c@z"]);
        assert!(named("Subject: x\r\n").is_empty());
        assert!(named("To: friends: a@x;\r\n").contains(&String::new()), "a group may hold anybody");
        assert_eq!(named("To: a@x, somebody\r\n"), ["a@x", ""]);
    }

    fn from(text: &str) -> Result<Vec<String>, FromError> {
        from_addresses(format!("Subject: x\r\n{text}\r\n\r\nFrom: body@x\r\n").as_bytes())
    }

    #[test]
    fn the_author_is_told_from_plain_forms() {
        for text in ["From: a.b@x.onion", "from:\r\n <a.b@x.onion>", "FROM: A. B <a.b@x.onion>"] {
            assert_eq!(from(text), Ok(vec!["a.b@x.onion".to_owned()]), "{text}");
        }
        for text in ["From: \"mallory@y\" <a@x>", "From: a@x (Alice)", "From: =?utf-8?q?=3C?= <a@x>"] {
            assert_eq!(from(text), Ok(vec!["a@x".to_owned()]), "{text}");
        }
        assert_eq!(from("From: a@x, B <b@y>"), Ok(vec!["a@x".to_owned(), "b@y".to_owned()]));
    }

    #[test]
    fn the_author_is_not_guessed() {
        assert_eq!(from("To: a@x"), Err(FromError::Missing));
        assert_eq!(from("From: a@x\r\nfrom: b@x"), Err(FromError::Repeated));
        for text in [
            "From:",
            "From: alice",
            "From: a@x <b@x>",
            "From: <a@x> <b@x>",
            "From: <a@x> b@x",
            "From: g: a@x;",
            "From: <@r:a@x>",
            "From: \"a\"@x",
            "From: a(c)@x",
            "From: a@x(c",
            "From: \u{e4}@x",
            "From: a@[1.2.3.4]",
            "From: a@x,",
            "From: <a@x",
            "From: \"a <b@x>",
            "From: a@x\rFrom: b@x",
            "From: a@x\0",
            "From: a@x\r\nno field",
            "From: a@x (b <c@y>)",
            "From: a@x (b) <c@y>",
            "From: a@x@y",
            "From: a @x",
            "From : a@x",
            "From: a@x\r\nFrom : b@x",
            "From: a@x\r\n>From: b@x",
            "\u{feff}From: b@x\r\nFrom: a@x",
        ] {
            assert_eq!(from(text), Err(FromError::Malformed), "{text:?}");
        }
        let long = format!("From: a@x\r\n{}", "X: y\r\n".repeat(HEADER_FIELDS));
        assert_eq!(from(&long), Err(FromError::TooLong));
        assert_eq!(from(&"x".repeat(HEADER_BYTES + 1)), Err(FromError::TooLong));
    }

    #[test]
    fn no_header_and_no_list_of_names_makes_more_steps_than_so_many_a_byte() {
        let names: Vec<Vec<u8>> = (0..20_000).map(|number| format!("x-{number}").into_bytes()).collect();
        let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
        let named: usize = names.iter().map(|name| name.len()).sum();
        for (head, unit) in [
            ("From: a@x", "(("),
            ("", "From: a@x\r\n"),
            ("From: ", "a@x,"),
            ("From: ", "a "),
            ("From: ", "\"\\\" "),
            ("From: a@x\r\n", " \r\n"),
            ("", "x-19999:\r\n"),
            ("", "a\n"),
            ("", ":"),
        ] {
            for count in [1000, 4000, 16_000] {
                let header = format!("{head}{}", unit.repeat(count)).into_bytes();
                let most = 24 * (header.len() + named) as u64;
                let (steps, _) = meter::work(|| (from_addresses(&header), select_fields(&header, &names, true)));
                assert!(steps <= most, "{unit:?} {count}: {steps} of {most}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let (header, body) = split(&bytes);
            prop_assert_eq!(header.len() + body.len(), bytes.len());
            let _ = from_addresses(&bytes);
        }
    }

    #[test]
    fn a_message_id_is_answered_only_whole_and_in_bounds() {
        let of = |length: usize| format!("<{}>", "a".repeat(length - 2));
        assert_eq!(message_id(b" <a@b>\r\n").as_deref(), Some("<a@b>"));
        assert_eq!(message_id(of(MESSAGE_ID_BYTES).as_bytes()), Some(of(MESSAGE_ID_BYTES)));
        assert_eq!(message_id(of(MESSAGE_ID_BYTES + 1).as_bytes()), None);
        for wrong in ["<a@b", "a@b>", "a@b", "<a b>", "<a@b> <c@d>", "<\u{e4}@b>", ""] {
            assert_eq!(message_id(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
