//! Responses as bytes: strings, flags, dates, ENVELOPE and BODYSTRUCTURE (RFC 3501 §7, §9).
//!
//! Whatever a message holds, the output is a well-formed response: text is written as a quoted string only where it is
//! short printable ASCII, and as a literal otherwise. No CR, LF or NUL of a message reaches a line.

use crate::base::Timestamp;
use crate::engine::state::mailbox::{Flags, Folder};
use crate::mail::headers::Mailbox;
use crate::mail::structure::{Disposition, Envelope, Inner, MessageStructure, Param, Structure};

/// Longer text is a literal: some programs read quoted strings into small buffers.
const QUOTED_BYTES: usize = 1000;

/// A string, quoted or as a literal.
pub(super) fn string(out: &mut Vec<u8>, text: &[u8]) {
    if text.len() <= QUOTED_BYTES && text.iter().all(|byte| (b' '..=b'~').contains(byte)) {
        out.push(b'"');
        for &byte in text {
            if byte == b'"' || byte == b'\\' {
                out.push(b'\\');
            }
            out.push(byte);
        }
        out.push(b'"');
    } else {
        literal_head(out, text.len());
        out.extend(text.iter().map(|&byte| harmless(byte)));
    }
}

/// A string, or NIL.
pub(super) fn nstring(out: &mut Vec<u8>, text: Option<&[u8]>) {
    match text {
        Some(text) => string(out, text),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// `{n}` and the line end after it.
pub(super) fn literal_head(out: &mut Vec<u8>, len: usize) {
    out.extend_from_slice(format!("{{{len}}}\r\n").as_bytes());
}

/// A byte of a literal: NUL is not allowed there (RFC 9051 §9, CHAR8); like Dovecot, we show 0x80 for it.
pub(super) const fn harmless(byte: u8) -> u8 {
    if byte == 0 { 0x80 } else { byte }
}

/// An atom where the text can be one, otherwise a string.
pub(super) fn astring(out: &mut Vec<u8>, text: &[u8]) {
    let atom = |byte: &u8| byte.is_ascii_graphic() && !b"(){%*\"\\".contains(byte);
    if text.is_empty() || !text.iter().all(atom) || text.eq_ignore_ascii_case(b"NIL") {
        string(out, text);
    } else {
        out.extend_from_slice(text);
    }
}

/// A folder's name as it stands in responses: modified UTF-7, quoted.
pub(super) fn mailbox(out: &mut Vec<u8>, name: &str) {
    string(out, &super::utf7::encode(name));
}

const SYSTEM: [(Flags, &str); 5] = [
    (Flags::ANSWERED, "\\Answered"),
    (Flags::FLAGGED, "\\Flagged"),
    (Flags::DELETED, "\\Deleted"),
    (Flags::SEEN, "\\Seen"),
    (Flags::DRAFT, "\\Draft"),
];

/// `(\Seen keyword)`
pub(super) fn flags(out: &mut Vec<u8>, folder: &Folder, flags: Flags) {
    let system = SYSTEM.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, name)| *name);
    list(out, system.chain(folder.keyword_names(flags)));
}

/// The flags that a folder can hold: `(\Answered … keyword)`, with `\*` where new keywords can be made.
pub(super) fn possible_flags(out: &mut Vec<u8>, folder: &Folder, more: bool) {
    let system = SYSTEM.iter().map(|(_, name)| *name);
    let star = more.then_some("\\*");
    list(out, system.chain(folder.keywords.iter().map(String::as_str)).chain(star));
}

fn list<'a>(out: &mut Vec<u8>, words: impl Iterator<Item = &'a str>) {
    out.push(b'(');
    for (place, word) in words.enumerate() {
        if place > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(word.as_bytes());
    }
    out.push(b')');
}

/// `"20-Nov-2026 23:40:52 +0000"`, always in UTC: the store does not know the user's time zone.
pub(super) fn internal_date(out: &mut Vec<u8>, date: Timestamp) {
    let c = date.civil();
    let text = format!(
        "\"{:2}-{}-{:04} {:02}:{:02}:{:02} +0000\"",
        c.day,
        c.month_name(),
        c.year.clamp(0, 9999),
        c.hour,
        c.minute,
        c.second
    );
    out.extend_from_slice(text.as_bytes());
}

/// UIDs in the shortest form that keeps their order: `1:3,7`.
pub(super) fn uid_set(uids: impl Iterator<Item = u32>) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for uid in uids {
        match ranges.last_mut() {
            Some(range) if range.1.checked_add(1) == Some(uid) => range.1 = uid,
            _ => ranges.push((uid, uid)),
        }
    }
    let text = |(first, last): &(u32, u32)| {
        if first == last { first.to_string() } else { format!("{first}:{last}") }
    };
    ranges.iter().map(text).collect::<Vec<_>>().join(",")
}

/// ENVELOPE
pub(super) fn envelope(out: &mut Vec<u8>, envelope: &Envelope) {
    out.push(b'(');
    nstring(out, envelope.date.as_deref());
    out.push(b' ');
    nstring(out, envelope.subject.as_deref());
    let lists = [&envelope.from, &envelope.sender, &envelope.reply_to, &envelope.to, &envelope.cc, &envelope.bcc];
    for list in lists {
        out.push(b' ');
        addresses(out, list);
    }
    out.push(b' ');
    nstring(out, envelope.in_reply_to.as_deref());
    out.push(b' ');
    nstring(out, envelope.message_id.as_deref());
    out.push(b')');
}

fn addresses(out: &mut Vec<u8>, list: &[Mailbox]) {
    if list.is_empty() {
        out.extend_from_slice(b"NIL");
        return;
    }
    out.push(b'(');
    for entry in list {
        match entry {
            Mailbox::Address { name, local, domain } => {
                out.push(b'(');
                nstring(out, name.as_deref());
                out.extend_from_slice(b" NIL ");
                string(out, local);
                out.push(b' ');
                // With a NIL host the entry would mean a group.
                string(out, domain.as_deref().unwrap_or_default());
                out.push(b')');
            }
            Mailbox::GroupStart(name) => {
                out.extend_from_slice(b"(NIL NIL ");
                string(out, name);
                out.extend_from_slice(b" NIL)");
            }
            Mailbox::GroupEnd => out.extend_from_slice(b"(NIL NIL NIL NIL)"),
        }
    }
    out.push(b')');
}

/// BODYSTRUCTURE, or (without `extended`) BODY.
pub(super) fn body_structure(out: &mut Vec<u8>, part: &Structure, extended: bool) {
    out.push(b'(');
    match &part.inner {
        Inner::Multipart(parts) if !parts.is_empty() => {
            parts.iter().for_each(|part| body_structure(out, part, extended));
            out.push(b' ');
            string(out, part.subtype.as_bytes());
            if extended {
                out.push(b' ');
                params(out, &part.params);
                extension(out, part);
            }
        }
        inner => {
            single(out, part, inner, extended);
            if extended {
                out.push(b' ');
                nstring(out, part.md5.as_deref());
                extension(out, part);
            }
        }
    }
    out.push(b')');
}

fn single(out: &mut Vec<u8>, part: &Structure, inner: &Inner, extended: bool) {
    // A multipart or message that could not be parsed must not be called one, because its response would need another
    // form.
    let opaque = !matches!(inner, Inner::Message(_))
        && (part.media_type == "multipart" || (part.media_type == "message" && part.subtype == "rfc822"));
    let (media_type, subtype) =
        if opaque { ("application", "octet-stream") } else { (part.media_type.as_str(), part.subtype.as_str()) };
    string(out, media_type.as_bytes());
    out.push(b' ');
    string(out, subtype.as_bytes());
    out.push(b' ');
    params(out, &part.params);
    out.push(b' ');
    nstring(out, part.id.as_deref());
    out.push(b' ');
    nstring(out, part.description.as_deref());
    out.push(b' ');
    string(out, if part.encoding.is_empty() { b"7bit" } else { part.encoding.as_bytes() });
    out.extend_from_slice(format!(" {}", part.body.len()).as_bytes());
    if let Inner::Message(message) = inner {
        enclosed(out, message, extended);
    }
    if media_type == "text" || matches!(inner, Inner::Message(_)) {
        out.extend_from_slice(format!(" {}", part.lines).as_bytes());
    }
}

fn enclosed(out: &mut Vec<u8>, message: &MessageStructure, extended: bool) {
    out.push(b' ');
    envelope(out, &message.envelope);
    out.push(b' ');
    body_structure(out, &message.root, extended);
}

fn extension(out: &mut Vec<u8>, part: &Structure) {
    out.push(b' ');
    match &part.disposition {
        Some(Disposition { kind, params: list }) => {
            out.push(b'(');
            string(out, kind.as_bytes());
            out.push(b' ');
            params(out, list);
            out.push(b')');
        }
        None => out.extend_from_slice(b"NIL"),
    }
    out.push(b' ');
    if part.language.is_empty() {
        out.extend_from_slice(b"NIL");
    } else {
        out.push(b'(');
        for (place, language) in part.language.iter().enumerate() {
            if place > 0 {
                out.push(b' ');
            }
            string(out, language);
        }
        out.push(b')');
    }
    out.push(b' ');
    nstring(out, part.location.as_deref());
}

fn params(out: &mut Vec<u8>, params: &[Param]) {
    if params.is_empty() {
        out.extend_from_slice(b"NIL");
        return;
    }
    out.push(b'(');
    for (place, param) in params.iter().enumerate() {
        if place > 0 {
            out.push(b' ');
        }
        string(out, param.name.as_bytes());
        out.push(b' ');
        string(out, &param.value);
    }
    out.push(b')');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::structure::Span;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    fn leaf(media_type: &str, subtype: &str) -> Structure {
        Structure {
            media_type: media_type.into(),
            subtype: subtype.into(),
            params: vec![Param { name: "charset".into(), value: b"utf-8".to_vec() }],
            encoding: "7bit".into(),
            id: None,
            description: Some("Gr\u{fc}\u{df}e".into()),
            md5: None,
            disposition: Some(Disposition { kind: "inline".into(), params: vec![] }),
            language: vec![b"de".to_vec()],
            location: None,
            header: Span { start: 0, end: 10 },
            body: Span { start: 10, end: 15 },
            lines: 2,
            inner: Inner::Leaf,
        }
    }

    #[test]
    fn text_of_a_message_never_breaks_a_line() {
        assert_eq!(written(|out| string(out, b"a \"b\\")), r#""a \"b\\""#);
        assert_eq!(written(|out| string(out, b"a\r\n* BYE")), "{8}\r\na\r\n* BYE");
        let mut out = Vec::new();
        string(&mut out, b"\0\xff");
        assert_eq!(out, b"{2}\r\n\x80\xff");
        assert_eq!(written(|out| astring(out, b"Message-ID")), "Message-ID");
        assert_eq!(written(|out| astring(out, b"x)")), "\"x)\"");
        assert!(written(|out| string(out, &[b'x'; 1001])).starts_with("{1001}\r\n"));
    }

    #[test]
    fn body_structure_has_its_extension_fields() {
        assert_eq!(
            written(|out| body_structure(out, &leaf("text", "plain"), true)),
            "(\"text\" \"plain\" (\"charset\" \"utf-8\") NIL {7}\r\nGrüße \"7bit\" 5 2 NIL (\"inline\" NIL) (\"de\") NIL)"
        );
        let mut multipart = leaf("multipart", "mixed");
        multipart.inner = Inner::Multipart(vec![leaf("image", "png")]);
        assert_eq!(
            written(|out| body_structure(out, &multipart, false)),
            "((\"image\" \"png\" (\"charset\" \"utf-8\") NIL {7}\r\nGrüße \"7bit\" 5) \"mixed\")"
        );
    }

    #[test]
    fn a_message_that_could_not_be_taken_apart_is_bytes() {
        let text = written(|out| body_structure(out, &leaf("message", "rfc822"), false));
        assert!(text.starts_with("(\"application\" \"octet-stream\" "));
    }

    #[test]
    fn an_address_without_a_host_is_not_a_group() {
        let list = [
            Mailbox::GroupStart(b"friends".to_vec()),
            Mailbox::Address { name: None, local: b"bob".to_vec(), domain: None },
            Mailbox::GroupEnd,
        ];
        assert_eq!(
            written(|out| addresses(out, &list)),
            "((NIL NIL \"friends\" NIL)(NIL NIL \"bob\" \"\")(NIL NIL NIL NIL))"
        );
    }

    #[test]
    fn dates_and_sets_have_their_fixed_form() {
        let date = Timestamp::from_civil(2026, 11, 1, 9, 5, 7).unwrap();
        assert_eq!(written(|out| internal_date(out, date)), "\" 1-Nov-2026 09:05:07 +0000\"");
        assert_eq!(uid_set([1, 2, 3, 7, 6, u32::MAX].into_iter()), "1:3,7,6,4294967295");
    }
}
