//! The shape of a message: its MIME tree, its envelope, and where each part lies.
//!
//! One parse gives everything that IMAP's ENVELOPE, BODYSTRUCTURE and section addressing need
//! (RFC 9051 §7.5.2, §6.4.5). The result is small, holds no body, and serialises, so that a gateway can keep it.
//! Parsing never fails and never panics: a malformed part becomes an opaque leaf. Work is at most 24 steps for a byte
//! of the message, whatever is nested in it (`mime`, with the tests).

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::charset::GoOn;
use super::headers::Mailbox;

/// A piece of the message, as byte offsets from its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Span {
    /// The first byte.
    pub start: u32,
    /// The byte after the last.
    pub end: u32,
}

impl Span {
    /// How many bytes.
    pub const fn len(self) -> u32 {
        self.end.saturating_sub(self.start)
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The same as a range of 64-bit offsets, for reading a stored body.
    pub fn range(self) -> Range<u64> {
        u64::from(self.start)..u64::from(self.end)
    }

    /// These bytes of the message; empty where the message is shorter.
    pub fn of(self, message: &[u8]) -> &[u8] {
        usize::try_from(self.start)
            .ok()
            .zip(usize::try_from(self.end).ok())
            .and_then(|(start, end)| message.get(start..end))
            .unwrap_or_default()
    }
}

/// A header value as written: unfolded, encoded words and 8-bit bytes untouched, without NUL, CR and LF.
pub type Text = Vec<u8>;

/// A parameter of Content-Type or Content-Disposition. Quotes and backslashes of a quoted value are removed, and the
/// pieces of RFC 2231 are put together: `name*0`, `name*1` are `name`, or `name*` where a piece is encoded. Otherwise
/// the value is as written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Param {
    /// The name, in lower case.
    pub name: String,
    /// The value.
    pub value: Text,
}

/// A Content-Disposition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disposition {
    /// `inline`, `attachment` or another token, in lower case.
    pub kind: String,
    /// Its parameters, in their order.
    pub params: Vec<Param>,
}

/// The fields of ENVELOPE (RFC 9051 §7.5.2). `sender` and `reply_to` are already those of `from` where
/// the message has none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Envelope {
    /// Date
    pub date: Option<Text>,
    /// Subject
    pub subject: Option<Text>,
    /// From
    pub from: Vec<Mailbox>,
    /// Sender
    pub sender: Vec<Mailbox>,
    /// Reply-To
    pub reply_to: Vec<Mailbox>,
    /// To
    pub to: Vec<Mailbox>,
    /// Cc
    pub cc: Vec<Mailbox>,
    /// Bcc
    pub bcc: Vec<Mailbox>,
    /// In-Reply-To
    pub in_reply_to: Option<Text>,
    /// Message-ID
    pub message_id: Option<Text>,
}

/// A message: the one that was parsed, or one inside a message/rfc822 part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageStructure {
    /// Its envelope.
    pub envelope: Envelope,
    /// Its outermost part; `root.header` is the message's header, `root.body` its text.
    pub root: Structure,
}

/// One MIME part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Structure {
    /// `text`, `multipart`, `message`, …, in lower case.
    pub media_type: String,
    /// `plain`, `mixed`, `rfc822`, …, in lower case.
    pub subtype: String,
    /// Parameters of the content type, in their order. `text/plain; charset=us-ascii` where the part has none.
    pub params: Vec<Param>,
    /// Content-Transfer-Encoding, in lower case; `7bit` where the part has none.
    pub encoding: String,
    /// Content-ID
    pub id: Option<Text>,
    /// Content-Description
    pub description: Option<Text>,
    /// Content-MD5
    pub md5: Option<Text>,
    /// Content-Disposition
    pub disposition: Option<Disposition>,
    /// Content-Language
    pub language: Vec<Text>,
    /// Content-Location
    pub location: Option<Text>,
    /// The header with its empty line.
    pub header: Span,
    /// The body: what `BODY[n]` gives. Its length is the size in octets.
    pub body: Span,
    /// Line ends in the body; only counted for text and message/rfc822 parts, otherwise 0.
    pub lines: u32,
    /// The contents of the part.
    pub inner: Inner,
}

/// The contents of a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Inner {
    /// Bytes. Any type but multipart and message/rfc822 (message/global is treated as bytes).
    Leaf,
    /// At least one part. Only for `multipart`.
    Multipart(Vec<Structure>),
    /// A whole message. Only for `message/rfc822`.
    Message(Box<MessageStructure>),
}

/// The section of a part that is meant (RFC 9051 §6.4.5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// `BODY[]`, `BODY[n]`: everything; for a part, its body.
    Body,
    /// `BODY[HEADER]`, `BODY[n.HEADER]`: the header of a message, with its empty line.
    Header,
    /// `BODY[TEXT]`, `BODY[n.TEXT]`: the body of a message.
    Text,
    /// `BODY[n.MIME]`: the header of a part, with its empty line.
    Mime,
}

impl MessageStructure {
    /// Where this section lies. The path is empty for the whole message; parts count from 1. `None` where
    /// there is no such section (IMAP then answers with NIL).
    pub fn part(&self, path: &[u32], what: Section) -> Option<Span> {
        let Some((first, rest)) = path.split_first() else {
            return match what {
                Section::Body => Some(Span { start: self.root.header.start, end: self.root.body.end }),
                Section::Header => Some(self.root.header),
                Section::Text => Some(self.root.body),
                Section::Mime => None,
            };
        };
        // A message that is not multipart has exactly one part: number 1, its body.
        let part = match &self.root.inner {
            Inner::Multipart(parts) => nth(parts, *first)?,
            _ if *first == 1 => &self.root,
            _ => return None,
        };
        part.descend(rest, what)
    }
}

impl Structure {
    fn descend(&self, path: &[u32], what: Section) -> Option<Span> {
        let Some((first, rest)) = path.split_first() else {
            return match (what, &self.inner) {
                (Section::Body, _) => Some(self.body),
                (Section::Mime, _) => Some(self.header),
                (_, Inner::Message(message)) => message.part(&[], what),
                (Section::Header | Section::Text, _) => None,
            };
        };
        match &self.inner {
            Inner::Multipart(parts) => nth(parts, *first)?.descend(rest, what),
            Inner::Message(message) => message.part(path, what),
            Inner::Leaf => None,
        }
    }
}

fn nth(parts: &[Structure], number: u32) -> Option<&Structure> {
    parts.get(usize::try_from(number.checked_sub(1)?).ok()?)
}

/// Reads the structure of a message.
pub fn parse(message: &[u8]) -> MessageStructure {
    super::mime::parse(message, &mut || true).0
}

/// As [`parse`], but every 64 KiB the caller is asked whether to go on. `None` where it did not want to.
pub fn parse_while(message: &[u8], go_on: &mut GoOn<'_>) -> Option<MessageStructure> {
    let (structure, whole) = super::mime::parse(message, go_on);
    whole.then_some(structure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limits::{MIME_DEPTH, MIME_PARTS};
    use proptest::prelude::*;

    const NESTED: &str = "From: a@x\r\nSubject: outer\r\nContent-Type: multipart/mixed; boundary=B1\r\n\r\npreamble\r\n\
        --B1\r\n\r\none\r\n--B10\r\nstill one\r\n\
        --B1 \r\nContent-Type: message/rfc822\r\nContent-Description: fwd\r\n\r\n\
        Subject: inner\r\nContent-Type: multipart/alternative; boundary=\"B10\"\r\n\r\n\
        --B10\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: Quoted-Printable\r\n\r\n<p>\r\n\
        --B10--\r\n\
        --B1\r\nContent-Type: Image/PNG; name=\"a \\\"b\\\".png\"\r\nContent-Disposition: attachment;\r\n filename=my file.png\r\n\
        Content-Id: <i@x>\r\nContent-Language: de, en\r\n\r\nPNG\r\n--B1--\r\nepilogue\r\n";

    fn text(structure: &MessageStructure, message: &str, path: &[u32], what: Section) -> Option<String> {
        structure.part(path, what).map(|span| String::from_utf8(span.of(message.as_bytes()).to_vec()).unwrap())
    }

    #[test]
    fn parts_are_found_by_exact_delimiters() {
        let message = parse(NESTED.as_bytes());
        let part = |path: &[u32], what| text(&message, NESTED, path, what);
        assert_eq!(part(&[], Section::Body).as_deref(), Some(NESTED));
        assert_eq!(part(&[1], Section::Body).as_deref(), Some("one\r\n--B10\r\nstill one"));
        assert_eq!(part(&[1], Section::Mime).as_deref(), Some("\r\n"));
        assert_eq!(part(&[1], Section::Header), None);
        assert!(part(&[2], Section::Mime).unwrap().starts_with("Content-Type: message/rfc822"));
        assert!(part(&[2], Section::Header).unwrap().starts_with("Subject: inner"));
        assert!(part(&[2], Section::Text).unwrap().starts_with("--B10"));
        assert_eq!(part(&[2, 1], Section::Body).as_deref(), Some("<p>"));
        assert_eq!(part(&[3], Section::Body).as_deref(), Some("PNG"));
        assert_eq!(part(&[4], Section::Body), None);
        assert_eq!(part(&[0], Section::Body), None);
        assert_eq!(part(&[3, 1], Section::Body), None);
        assert_eq!(part(&[], Section::Mime), None);
    }

    #[test]
    fn fields_of_parts_are_read() {
        let Inner::Multipart(parts) = parse(NESTED.as_bytes()).root.inner else { panic!("not multipart") };
        let image = &parts[2];
        assert_eq!((image.media_type.as_str(), image.subtype.as_str()), ("image", "png"));
        assert_eq!(image.params, [Param { name: "name".into(), value: b"a \"b\".png".to_vec() }]);
        let disposition = image.disposition.as_ref().unwrap();
        assert_eq!(disposition.kind, "attachment");
        assert_eq!(disposition.params, [Param { name: "filename".into(), value: b"my file.png".to_vec() }]);
        assert_eq!(image.language, [b"de".to_vec(), b"en".to_vec()]);
        assert_eq!(image.id.as_deref(), Some(&b"<i@x>"[..]));
        let Inner::Message(inner) = &parts[1].inner else { panic!("not a message") };
        assert_eq!(inner.envelope.subject.as_deref(), Some(&b"inner"[..]));
        let Inner::Multipart(inner) = &inner.root.inner else { panic!("not multipart") };
        assert_eq!(inner[0].encoding, "quoted-printable");
        assert_eq!(parts[0].lines, 2);
        assert_eq!(parts[0].params, [Param { name: "charset".into(), value: b"us-ascii".to_vec() }]);
    }

    #[test]
    fn a_plain_message_is_its_own_part_one() {
        let message = "Subject: x\n\nbody\nend\n";
        let parsed = parse(message.as_bytes());
        assert_eq!(text(&parsed, message, &[1], Section::Body).as_deref(), Some("body\nend\n"));
        assert_eq!(text(&parsed, message, &[1], Section::Mime).as_deref(), Some("Subject: x\n\n"));
        assert_eq!(text(&parsed, message, &[2], Section::Body), None);
        assert_eq!(parsed.root.lines, 2);
    }

    #[test]
    fn envelope_keeps_what_was_written() {
        let message = b"From: \"A\" <a@x>\r\nSubject: =?utf-8?q?=C3=A4?=\r\n =?utf-8?q?b?=\r\nTo: g: b@y;\r\nDate:\r\n\
            Message-ID: <1@x>\r\nCc: \xff <c@z>\r\n\r\n";
        let envelope = parse(message).envelope;
        assert_eq!(envelope.subject.as_deref(), Some(&b"=?utf-8?q?=C3=A4?= =?utf-8?q?b?="[..]));
        assert_eq!(envelope.date.as_deref(), Some(&b""[..]));
        assert_eq!(envelope.sender, envelope.from);
        assert_eq!(envelope.reply_to, envelope.from);
        assert_eq!(envelope.to.len(), 3);
        assert_eq!(envelope.message_id.as_deref(), Some(&b"<1@x>"[..]));
        assert!(matches!(&envelope.cc[0], Mailbox::Address { name: Some(name), .. } if name == b"\xff"));
    }

    #[test]
    fn malformed_multiparts_are_opaque() {
        for (message, expected) in [
            ("Content-Type: multipart/mixed\r\n\r\nx", "octet-stream"),
            ("Content-Type: multipart/mixed; boundary=\"\"\r\n\r\n--\r\n", "octet-stream"),
            ("Content-Type: multipart/mixed; boundary=b\r\n\r\nx", "plain"),
            ("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b--\r\n", "plain"),
            ("Content-Type: nonsense\r\n\r\nx", "plain"),
            ("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nx", "octet-stream"),
        ] {
            let root = parse(message.as_bytes()).root;
            assert_eq!((root.subtype.as_str(), root.inner), (expected, Inner::Leaf), "{message}");
        }
        let empty = "Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n--b\r\n\r\nSubject: x\r\n\r\n--b\r\n";
        let Inner::Multipart(parts) = parse(empty.as_bytes()).root.inner else { panic!("not multipart") };
        assert_eq!(parts.len(), 3);
        assert!(parts.iter().all(|part| part.subtype == "rfc822"));
    }

    #[test]
    fn an_outer_delimiter_ends_an_unclosed_inner_part() {
        let message = "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
            --b\r\n\r\ninner\r\n--a\r\n\r\nouter\r\n--a--";
        let parsed = parse(message.as_bytes());
        assert_eq!(text(&parsed, message, &[1, 1], Section::Body).as_deref(), Some("inner"));
        assert_eq!(text(&parsed, message, &[2], Section::Body).as_deref(), Some("outer"));
    }

    #[test]
    fn depth_and_number_of_parts_are_bounded() {
        fn depth(part: &Structure) -> usize {
            match &part.inner {
                Inner::Leaf => 0,
                Inner::Multipart(parts) => 1 + parts.iter().map(depth).max().unwrap_or(0),
                Inner::Message(message) => 1 + depth(&message.root),
            }
        }
        let deep = "Content-Type: message/rfc822\r\n\r\n".repeat(10_000);
        assert_eq!(depth(&parse(deep.as_bytes()).root), MIME_DEPTH);
        let wide = format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{}", "--b\r\n\r\nx\r\n".repeat(5000));
        let Inner::Multipart(parts) = parse(wide.as_bytes()).root.inner else { panic!("not multipart") };
        assert_eq!(parts.len(), MIME_PARTS);
        assert_eq!(parts.last().unwrap().body.end as usize, wide.len());
        let mut nested = String::new();
        for level in 0..200 {
            nested += &format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n");
        }
        assert_eq!(depth(&parse(nested.as_bytes()).root), MIME_DEPTH);
    }

    #[test]
    fn the_last_part_that_there_may_be_holds_no_others() {
        for (count, open) in [(MIME_PARTS - 2, true), (MIME_PARTS - 1, false)] {
            for (inner, subtype) in [
                ("Content-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\ny", "rfc822"),
                ("Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\ny\r\n--c--", "mixed"),
            ] {
                let before = "--b\r\n\r\nx\r\n".repeat(count);
                let message =
                    format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{before}--b\r\n{inner}\r\n--b--\r\n");
                let Inner::Multipart(parts) = parse(message.as_bytes()).root.inner else { panic!("not multipart") };
                let last = parts.last().unwrap();
                assert_eq!((parts.len(), last.inner != Inner::Leaf), (count + 1, open), "{subtype}");
                assert_eq!(last.subtype, if open { subtype } else { "octet-stream" });
            }
        }
    }

    #[test]
    fn the_structure_can_be_stored() {
        let parsed = parse(NESTED.as_bytes());
        let bytes = postcard::to_stdvec(&parsed).unwrap();
        assert_eq!(postcard::from_bytes::<MessageStructure>(&bytes).unwrap(), parsed);
    }

    fn check(part: &Structure, outer: Span) -> Result<(), TestCaseError> {
        prop_assert!(outer.start <= part.header.start && part.body.end <= outer.end);
        prop_assert!(part.header.end == part.body.start && part.header.start <= part.header.end);
        prop_assert!(part.body.start <= part.body.end);
        match &part.inner {
            Inner::Leaf => {}
            Inner::Multipart(parts) => {
                prop_assert!(part.media_type == "multipart" && !parts.is_empty());
                parts.iter().try_for_each(|inner| check(inner, part.body))?;
            }
            Inner::Message(message) => check(&message.root, part.body)?,
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn anything_parses_into_nested_ranges(lines in prop::collection::vec(prop::sample::select(vec![
            "Content-Type: multipart/mixed; boundary=a", "Content-Type: multipart/digest; boundary=ab",
            "Content-Type: message/rfc822", "", "--a", "--ab", "--a--", "--ab--", "text", " fold", "--", "\0\u{e4}",
        ]), 0..40)) {
            let message = lines.join("\r\n");
            let parsed = parse(message.as_bytes());
            check(&parsed.root, Span { start: 0, end: message.len() as u32 })?;
        }

        #[test]
        fn any_bytes_parse(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let parsed = parse(&bytes);
            check(&parsed.root, Span { start: 0, end: bytes.len() as u32 })?;
        }
    }
}
