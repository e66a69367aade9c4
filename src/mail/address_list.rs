//! Address lists (RFC 5322 §3.4): read leniently for showing in a mail program, strictly for proving an author.
//!
//! A list is read from left to right, once, and each entry is copied once: a handful of steps for a byte (counted with
//! those of `mime`).

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::base::meter;

use super::structure::Text;

/// One entry of an address list, in the form in which ENVELOPE lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mailbox {
    /// `Name <local@domain>`.
    Address {
        /// The display name, without quotes; encoded words untouched.
        name: Option<Text>,
        /// Before the last `@`; without quotes.
        local: Text,
        /// After the last `@`; `None` where there is none (ENVELOPE must not say NIL then: that means a group).
        domain: Option<Text>,
    },
    /// `Name:`, the beginning of a group.
    GroupStart(Text),
    /// `;`, the end of a group.
    GroupEnd,
}

/// An address list as a mail program would show it. Entries that cannot be read are left out.
pub fn address_list(value: &[u8]) -> Vec<Mailbox> {
    entries(value).into_iter().map(|entry| entry.mailbox).collect()
}

/// One entry of an address list, with its place in the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The entry itself.
    pub(super) mailbox: Mailbox,
    /// From its first to its last byte, with display name and comments.
    pub(super) whole: Range<usize>,
    /// The address alone: what is between `<` and `>`, or the bare address.
    pub(super) spec: Range<usize>,
}

/// Reads an address list leniently.
pub(super) fn entries(value: &[u8]) -> Vec<Entry> {
    let mut list =
        ListReader { bytes: value, at: 0, entries: Vec::new(), in_group: false, current: Current::default() };
    list.read();
    list.entries
}

/// The entry that is being read.
#[derive(Default)]
struct Current {
    start: Option<usize>,
    end: usize,
    /// Words, with one space between them: a display name, or a group's.
    phrase: Text,
    /// Where the words lie, without comments around them.
    words: Option<Range<usize>>,
    space: bool,
    comment: Text,
    /// The same bytes without spaces: a bare address.
    spec: Text,
    /// Where the last `@` is in `spec`.
    at_sign: Option<usize>,
    angle: Option<Angle>,
}

struct Angle {
    spec: Text,
    at_sign: Option<usize>,
    place: Range<usize>,
}

struct ListReader<'a> {
    bytes: &'a [u8],
    at: usize,
    entries: Vec<Entry>,
    in_group: bool,
    current: Current,
}

impl ListReader<'_> {
    fn take(&mut self) -> Option<u8> {
        meter::steps(1);
        let byte = self.bytes.get(self.at).copied()?;
        self.at += 1;
        Some(byte)
    }

    fn read(&mut self) {
        while let Some(byte) = self.take() {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | 0 => {
                    self.current.space = true;
                    continue;
                }
                b',' => {
                    self.finish_entry();
                    continue;
                }
                b';' => {
                    self.finish_entry();
                    self.finish_group();
                    continue;
                }
                b':' if !self.in_group && self.current.angle.is_none() && self.current.at_sign.is_none() => {
                    self.start_group();
                    continue;
                }
                _ => {}
            }
            self.current.start.get_or_insert(self.at - 1);
            match byte {
                b'"' => {
                    let start = self.at - 1;
                    let text = self.quoted();
                    self.word(&text, start);
                }
                b'(' => self.current.comment = self.comment(),
                b'<' => {
                    let angle = self.angle();
                    self.current.angle.get_or_insert(angle);
                }
                other => {
                    if other == b'@' && self.current.angle.is_none() {
                        self.current.at_sign = Some(self.current.spec.len());
                    }
                    self.word(&[other], self.at - 1);
                }
            }
            self.current.end = self.at;
        }
        self.finish_entry();
        self.finish_group();
    }

    /// Adds to the display name and to the bare address; text after `>` is ignored.
    fn word(&mut self, text: &[u8], start: usize) {
        meter::steps(2 * text.len());
        let current = &mut self.current;
        if current.angle.is_some() {
            return;
        }
        current.words.get_or_insert(start..start).end = self.at;
        if current.space && !current.phrase.is_empty() {
            current.phrase.push(b' ');
        }
        current.space = false;
        current.phrase.extend_from_slice(text);
        current.spec.extend_from_slice(text);
    }

    /// The rest of a quoted string, without its quotes.
    fn quoted(&mut self) -> Text {
        let mut text = Text::new();
        while let Some(byte) = self.take() {
            match byte {
                b'"' => break,
                b'\\' => text.extend(self.take().filter(|byte| !matches!(byte, 0 | b'\r' | b'\n'))),
                0 | b'\r' | b'\n' => {}
                other => text.push(other),
            }
        }
        text
    }

    /// The rest of a comment, with the comments inside it.
    fn comment(&mut self) -> Text {
        let mut text = Text::new();
        let mut depth = 1_usize;
        while let Some(byte) = self.take() {
            match byte {
                b'(' => depth += 1,
                b')' => {
                    depth -= 1;
                    if depth == 0 {
                        break;
                    }
                }
                b'\\' => {
                    text.extend(self.take().filter(|byte| !matches!(byte, 0 | b'\r' | b'\n')));
                    continue;
                }
                0 | b'\r' | b'\n' => continue,
                _ => {}
            }
            text.push(byte);
        }
        text
    }

    /// The rest of an angle address, without a route.
    fn angle(&mut self) -> Angle {
        let start = self.at;
        let mut end = self.bytes.len();
        let (mut spec, mut at_sign) = (Text::new(), None);
        while let Some(byte) = self.take() {
            match byte {
                b'>' => {
                    end = self.at - 1;
                    break;
                }
                b'"' => spec.extend(self.quoted()),
                b'(' => drop(self.comment()),
                // The obsolete route (RFC 5322 §4.4) before the address.
                b':' if spec.first() == Some(&b'@') => {
                    spec.clear();
                    at_sign = None;
                }
                b'@' => {
                    at_sign = Some(spec.len());
                    spec.push(byte);
                }
                b' ' | b'\t' | b'\r' | b'\n' | 0 => {}
                other => spec.push(other),
            }
        }
        Angle { spec, at_sign, place: start..end }
    }

    fn start_group(&mut self) {
        let current = std::mem::take(&mut self.current);
        let whole = current.start.unwrap_or(self.at - 1)..self.at;
        self.in_group = true;
        self.entries.push(Entry { mailbox: Mailbox::GroupStart(current.phrase), spec: whole.clone(), whole });
    }

    fn finish_group(&mut self) {
        if std::mem::take(&mut self.in_group) {
            self.entries.push(Entry { mailbox: Mailbox::GroupEnd, whole: self.at..self.at, spec: self.at..self.at });
        }
    }

    fn finish_entry(&mut self) {
        let current = std::mem::take(&mut self.current);
        let Some(start) = current.start else { return };
        let whole = start..current.end;
        let (name, (local, domain), spec) = match current.angle {
            Some(angle) => {
                let name = if current.phrase.is_empty() { current.comment } else { current.phrase };
                (name, divide(angle.spec, angle.at_sign), angle.place)
            }
            None => {
                let spec = current.words.unwrap_or_else(|| whole.clone());
                match current.at_sign {
                    Some(_) => (current.comment, divide(current.spec, current.at_sign), spec),
                    None => (current.comment, (current.phrase, None), spec),
                }
            }
        };
        if name.is_empty() && local.is_empty() && domain.is_none() {
            return;
        }
        let name = Some(name).filter(|name| !name.is_empty());
        self.entries.push(Entry { mailbox: Mailbox::Address { name, local, domain }, whole, spec });
    }
}

/// The parts before and after the last `@`.
fn divide(spec: Text, at_sign: Option<usize>) -> (Text, Option<Text>) {
    match at_sign.and_then(|at| Some((spec.get(..at)?.to_vec(), spec.get(at + 1..)?.to_vec()))) {
        Some((local, domain)) => (local, Some(domain)),
        None => (spec, None),
    }
}

/// An address in the form that every program reads alike; `None` where it has none, or no domain.
pub(super) fn written(local: &[u8], domain: &[u8]) -> Option<String> {
    let domain = std::str::from_utf8(domain).ok().filter(|domain| is_host(domain.as_bytes()))?;
    Some(format!("{}@{domain}", local_part(local)?))
}

/// Whether this is the name of a host, in ASCII.
pub(super) fn is_host(domain: &[u8]) -> bool {
    !domain.is_empty() && domain.iter().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(byte))
}

/// The part before `@`, in quotes where it needs them.
pub(super) fn local_part(local: &[u8]) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte);
    let text =
        std::str::from_utf8(local).ok().filter(|text| !text.is_empty() && !text.chars().any(char::is_control))?;
    Some(if text.bytes().all(plain) { text.to_owned() } else { quoted(text) })
}

/// A text as a quoted string.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// `addr-spec` or `[phrase] <addr-spec>`, one or more with commas between: nothing that two programs could
/// read differently.
pub(super) fn strict_mailboxes(value: &[u8]) -> Option<Vec<String>> {
    let mut found = Vec::new();
    let mut rest = value;
    loop {
        let (mailbox, next) = strict_mailbox(rest)?;
        found.push(mailbox);
        match next.trim_ascii_start().split_first() {
            None => return Some(found),
            Some((b',', next)) => rest = next,
            Some(_) => return None,
        }
    }
}

fn strict_mailbox(value: &[u8]) -> Option<(String, &[u8])> {
    let mut rest = value.trim_ascii_start();
    if let Some((address, next)) = strict_address(rest) {
        return Some((address, strict_comment(next)?));
    }
    loop {
        match rest.split_first()? {
            (b'<', next) => {
                let (address, next) = strict_address(next)?;
                return Some((address, next.strip_prefix(b">")?));
            }
            (b'"', next) => rest = after_quotes(next)?,
            // A phrase has no special of RFC 5322 §3.2.3, except the dot, which many programs leave unquoted.
            (byte, next) if *byte >= b' ' && !b"()>[]:;@\\,\x7f".contains(byte) || *byte == b'\t' => rest = next,
            _ => return None,
        }
    }
}

/// A plain `local@domain` at the beginning, ended by something that cannot belong to it.
fn strict_address(value: &[u8]) -> Option<(String, &[u8])> {
    let is_local = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(byte);
    let is_domain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-.".contains(byte);
    let at_sign = value.iter().position(|byte| !is_local(byte))?;
    let (local, domain) = value.split_at_checked(at_sign)?;
    let domain = domain.strip_prefix(b"@")?;
    let end = domain.iter().position(|byte| !is_domain(byte)).unwrap_or(domain.len());
    let (domain, next) = domain.split_at_checked(end)?;
    if local.is_empty() || domain.is_empty() || !matches!(next.first(), None | Some(b'>' | b',' | b' ' | b'\t')) {
        return None;
    }
    Some((format!("{}@{}", std::str::from_utf8(local).ok()?, std::str::from_utf8(domain).ok()?), next))
}

/// Steps over one plain comment after a bare address: `alice@example.org (Alice)`.
fn strict_comment(value: &[u8]) -> Option<&[u8]> {
    let trimmed = value.trim_ascii_start();
    let Some(comment) = trimmed.strip_prefix(b"(") else { return Some(value) };
    let end = comment.iter().position(|byte| b"()<>@\\,\"".contains(byte))?;
    comment.get(end..)?.strip_prefix(b")")
}

fn after_quotes(value: &[u8]) -> Option<&[u8]> {
    let mut rest = value;
    loop {
        match rest.split_first()? {
            (b'"', next) => return Some(next),
            (b'\\', next) => rest = next.get(1..)?,
            (byte, next) if *byte >= b' ' || *byte == b'\t' => rest = next,
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(name: Option<&str>, local: &str, domain: &str) -> Mailbox {
        Mailbox::Address {
            name: name.map(|name| name.as_bytes().to_vec()),
            local: local.as_bytes().to_vec(),
            domain: Some(domain.as_bytes().to_vec()),
        }
    }

    #[test]
    fn lists_are_read_as_programs_write_them() {
        for (text, expected) in [
            ("a@x", vec![address(None, "a", "x")]),
            ("Alice B <a@x>, b@y", vec![address(Some("Alice B"), "a", "x"), address(None, "b", "y")]),
            ("\"B, Alice\" <a@x>", vec![address(Some("B, Alice"), "a", "x")]),
            ("a@x (Alice (B))", vec![address(Some("Alice (B)"), "a", "x")]),
            ("=?utf-8?q?=C3=A4?= <a@x>", vec![address(Some("=?utf-8?q?=C3=A4?="), "a", "x")]),
            ("<@r,@s:a@x>", vec![address(None, "a", "x")]),
            ("\"a b\"@x", vec![address(None, "a b", "x")]),
            (
                "Team: a@x, B <b@y>;, c@z",
                vec![
                    Mailbox::GroupStart(b"Team".to_vec()),
                    address(None, "a", "x"),
                    address(Some("B"), "b", "y"),
                    Mailbox::GroupEnd,
                    address(None, "c", "z"),
                ],
            ),
            (
                "undisclosed-recipients:;",
                vec![Mailbox::GroupStart(b"undisclosed-recipients".to_vec()), Mailbox::GroupEnd],
            ),
            ("bob", vec![Mailbox::Address { name: None, local: b"bob".to_vec(), domain: None }]),
            (" , ,", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(address_list(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn entries_know_where_they_are() {
        let value = b" \"x\" <a@x> (c) , b @ y (d)";
        let found = entries(value);
        assert_eq!(&value[found[0].spec.clone()], b"a@x");
        assert_eq!(&value[found[0].whole.clone()], b"\"x\" <a@x> (c)");
        assert_eq!(&value[found[1].spec.clone()], b"b @ y");
    }

    #[test]
    fn groups_know_where_they_are() {
        let places =
            |value: &[u8]| entries(value).into_iter().map(|entry| (entry.whole, entry.spec)).collect::<Vec<_>>();
        assert_eq!(places(b":a@x;"), [(0..1, 0..1), (1..4, 1..4), (5..5, 5..5)]);
        assert_eq!(places(b"T : <a@x>;"), [(0..3, 0..3), (4..9, 5..8), (10..10, 10..10)]);
        assert_eq!(places(b"T: a@x"), [(0..2, 0..2), (3..6, 3..6), (6..6, 6..6)]);
        assert_eq!(places(b"<a@x"), [(0..4, 1..4)], "without its end");
    }

    #[test]
    fn the_part_before_the_at_sign_is_in_quotes_where_it_needs_them() {
        for (local, expected) in [
            ("a.b+c", Some("a.b+c")),
            ("a b", Some("\"a b\"")),
            ("a\"b", Some("\"a\\\"b\"")),
            ("a@b", Some("\"a@b\"")),
            ("\u{e4}", Some("\"\u{e4}\"")),
            ("", None),
            ("a\tb", None),
        ] {
            assert_eq!(local_part(local.as_bytes()).as_deref(), expected, "{local:?}");
        }
        assert_eq!(local_part(&[0xff]), None);
    }

    #[test]
    fn an_address_without_a_host_is_not_written() {
        assert_eq!(written(b"a b", b"x.Y-1").as_deref(), Some("\"a b\"@x.Y-1"));
        for (local, domain) in [("", "x"), ("a", ""), ("a", "x y"), ("a", "[1]"), ("a", "\u{e4}"), ("a\tb", "x")] {
            assert_eq!(written(local.as_bytes(), domain.as_bytes()), None, "{local} {domain}");
        }
    }

    #[test]
    fn an_author_is_read_strictly_or_not_at_all() {
        let read = |value: &str| strict_mailboxes(value.as_bytes());
        for value in [
            "a@x",
            " a@x ",
            "<a@x>",
            "\t<a@x>",
            "A B <a@x>",
            "A. B.\t <a@x>",
            "\"a b\" <a@x>",
            "\"a\tb\\\"c@d\\\\\" <a@x>",
            "\u{e4} <a@x>",
            "a@x (A)",
            "a@x\t(A B)",
            "<a@x> ",
        ] {
            assert_eq!(read(value), Some(vec!["a@x".to_owned()]), "{value:?}");
        }
        assert_eq!(read("A <a@x>, b@y ,\"c\" <c@z>"), Some(["a@x", "b@y", "c@z"].map(str::to_owned).to_vec()));
        for value in [
            "",
            "a",
            "@x",
            "a@",
            "a@x b@y",
            "a@x,",
            ",a@x",
            "a@x;",
            "g: a@x;",
            "<a@x",
            "a@x>",
            "<a@x>b",
            "<a b@x>",
            "< a@x>",
            "a@x@y",
            "\"a@x",
            "\"a\u{1}\" <a@x>",
            "\"a\r\n b\" <a@x>",
            "\"a\\",
            "A\u{1} <a@x>",
            "A\u{7f} <a@x>",
            "A\r\n <a@x>",
            "A@B <a@x>",
            "(A) <a@x>",
            "a@x (A(B))",
            "a@x (A",
            "a@x (\"A\")",
            "a@x (A) b",
            "<@r:a@x>",
            "a@\u{e4}",
            "\"a\"@x",
            "a@[1]",
        ] {
            assert_eq!(read(value), None, "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_have_their_entries_in_place(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            for entry in entries(&bytes) {
                prop_assert!(entry.whole.start <= entry.spec.start && entry.whole.end <= bytes.len());
                prop_assert!(bytes.get(entry.spec).is_some());
            }
        }

        #[test]
        fn strict_and_lenient_reading_agree(text in "[a-c<>@\"(),:; \\\\]{0,24}") {
            if let Some(addresses) = strict_mailboxes(text.as_bytes()) {
                let lenient: Vec<_> = address_list(text.as_bytes()).into_iter().map(|mailbox| match mailbox {
                    Mailbox::Address { local, domain: Some(domain), .. } => {
                        format!("{}@{}", String::from_utf8(local).unwrap(), String::from_utf8(domain).unwrap())
                    }
                    other => panic!("{other:?}"),
                }).collect();
                prop_assert_eq!(addresses, lenient);
            }
        }
    }
}
