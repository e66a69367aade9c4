//! The few texts that are rewritten: those that refer to a Content-Id, and calendars.

use std::borrow::Cow;

use data_encoding::BASE64;

use crate::base::meter;

use super::params::{ContentIds, percent_decoded};
use super::parts::Cleaner;
use super::people::{self, ADDRESS_STEPS};

/// Characters in a line of base64 (RFC 2045 §6.8).
const LINE: usize = 76;

/// A body with its text rewritten, and its new encoding if that changes; `None` where nothing changes, or where the
/// encoding cannot be read.
pub(super) fn rewritten(
    body: &[u8],
    encoding: &str,
    rewrite: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
) -> Option<(Vec<u8>, Option<&'static str>)> {
    let text = decoded(body, encoding)?;
    let new = rewrite(&text)?;
    Some(match encoding {
        "base64" | "quoted-printable" => (base64(&new), Some("base64")),
        _ => (new, None),
    })
}

/// A body with its encoding undone; `None` where it cannot be read, or the encoding is not known.
pub(super) fn decoded<'b>(body: &'b [u8], encoding: &str) -> Option<Cow<'b, [u8]>> {
    meter::steps(body.len());
    match encoding {
        "7bit" | "8bit" | "binary" => Some(Cow::Borrowed(body)),
        "base64" => from_base64(body).map(Cow::Owned),
        "quoted-printable" => Some(Cow::Owned(from_quoted_printable(body))),
        _ => None,
    }
}

/// Turns each LF and CR into CRLF.
pub(super) fn crlf(text: &[u8]) -> Vec<u8> {
    meter::steps(2 * text.len());
    let mut out = Vec::with_capacity(text.len() + text.len() / 16);
    let mut rest = text;
    while let Some((&byte, next)) = rest.split_first() {
        rest = next;
        match byte {
            b'\r' | b'\n' => {
                out.extend_from_slice(b"\r\n");
                rest = if byte == b'\r' { next.strip_prefix(b"\n").unwrap_or(next) } else { next };
            }
            other => out.push(other),
        }
    }
    out
}

/// The bytes in base64, in lines.
pub(super) fn base64(bytes: &[u8]) -> Vec<u8> {
    let text = BASE64.encode(bytes);
    let mut out = Vec::with_capacity(text.len() + text.len() / 38 + 2);
    for line in text.as_bytes().chunks(LINE) {
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
    out
}

fn from_base64(body: &[u8]) -> Option<Vec<u8>> {
    let text: Vec<u8> = body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    BASE64.decode(&text).ok()
}

fn from_quoted_printable(body: &[u8]) -> Vec<u8> {
    meter::steps(2 * body.len());
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some((&byte, next)) = rest.split_first() {
        rest = next;
        if byte != b'=' {
            out.push(byte);
            continue;
        }
        let digits = next.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let space = next.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let after_space = next.get(space..).unwrap_or_default();
        if let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            out.push(byte);
            rest = next.get(2..).unwrap_or_default();
        } else if let Some(after) = after_space.strip_prefix(b"\r\n") {
            rest = after;
        } else {
            out.push(b'=');
        }
    }
    out
}

/// The text with new ids in its references to the old ones, `cid:` (RFC 2392); `None` where it has no such reference.
pub(super) fn with_ids(text: &[u8], ids: &ContentIds) -> Option<Vec<u8>> {
    const SCHEME: &[u8] = b"cid:";
    let (mut out, mut done, mut at) = (Vec::new(), 0, 0);
    while let Some(found) = next_scheme(text, at, SCHEME) {
        let start = found + SCHEME.len();
        let reference = text.get(start..).unwrap_or_default();
        let ends = |byte: &u8| byte.is_ascii_whitespace() || b"\"'<>()[]\\`".contains(byte);
        // No id is longer than a header.
        let length = reference.iter().take(1000).position(ends).unwrap_or_else(|| reference.len().min(1000));
        let reference = reference.get(..length).unwrap_or_default();
        at = start + length;
        meter::steps(4 * length);
        let new = ids.get(reference).or_else(|| ids.get(&percent_decoded(reference)));
        let Some(new) = new.filter(|new| new.as_bytes() != reference) else { continue };
        out.extend_from_slice(text.get(done..start).unwrap_or_default());
        out.extend_from_slice(new.as_bytes());
        done = at;
    }
    if out.is_empty() {
        return None;
    }
    out.extend_from_slice(text.get(done..).unwrap_or_default());
    Some(out)
}

/// Where the scheme occurs next, but not as the end of a longer word.
fn next_scheme(text: &[u8], from: usize, scheme: &[u8]) -> Option<usize> {
    let mut at = from;
    loop {
        let found = at + text.get(at..)?.windows(scheme.len()).position(|part| part.eq_ignore_ascii_case(scheme))?;
        meter::steps(2 * (found + scheme.len() - at));
        let before = found.checked_sub(1).and_then(|before| text.get(before));
        if !before.is_some_and(u8::is_ascii_alphanumeric) {
            return Some(found);
        }
        at = found + scheme.len();
    }
}

/// A calendar (RFC 5545) without the properties that name the program or are not in the standard, and with addresses in
/// the place of petnames; `None` where nothing changes. Time zones stay: an event takes place in one, and without it
/// repeated events would be wrong.
pub(super) fn calendar(text: &[u8], cleaner: &Cleaner<'_>) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let (line, next) = rest.split_at_checked(content_line(rest))?;
        rest = next;
        if let Some(kept) = calendar_line(line, cleaner) {
            out.extend_from_slice(&kept);
        }
    }
    (out != text).then_some(out)
}

/// The length of the first line with its continuation lines.
fn content_line(text: &[u8]) -> usize {
    let mut length = 0;
    loop {
        let rest = text.get(length..).unwrap_or_default();
        let line = rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |at| at + 1);
        meter::steps(line);
        length += line;
        if !matches!(text.get(length), Some(b' ' | b'\t')) {
            return length;
        }
    }
}

fn calendar_line<'l>(raw: &'l [u8], cleaner: &Cleaner<'_>) -> Option<Cow<'l, [u8]>> {
    const PROGRAM: &[u8] = b"PRODID:-//-//EN\r\n";
    meter::steps(6 * raw.len());
    let line = unfolded(raw);
    let end = line.iter().position(|byte| matches!(byte, b':' | b';')).unwrap_or(line.len());
    let (name, rest) = line.split_at_checked(end)?;
    let is = |wanted: &[u8]| name.eq_ignore_ascii_case(wanted);
    if name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(b"x-")) {
        return None;
    }
    if is(b"PRODID") {
        return Some(Cow::Borrowed(PROGRAM));
    }
    let mut new = name.to_vec();
    let value = value_at(rest);
    let (params, value) = rest.split_at_checked(value)?;
    for param in params_of(params) {
        let is_odd = param.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(b"x-"));
        if !is_odd && !people::has_petname(param) {
            new.push(b';');
            new.extend_from_slice(param);
        }
    }
    let address = value.get(..8).filter(|start| start.eq_ignore_ascii_case(b":mailto:")).and_then(|_| value.get(8..));
    match address.filter(|address| people::has_petname(address)) {
        Some(address) => {
            let written = String::from_utf8(percent_decoded(address)).ok()?;
            meter::steps(ADDRESS_STEPS);
            let address = cleaner.people.of_petname(&written, false)?;
            let told = cleaner.known.contains(&address.onion());
            new.extend_from_slice(told.then(|| format!(":mailto:{address}"))?.as_bytes());
        }
        None => new.extend_from_slice(value),
    }
    if new == line {
        return Some(Cow::Borrowed(raw));
    }
    Some(Cow::Owned(folded(&new)))
}

fn unfolded(raw: &[u8]) -> Vec<u8> {
    let mut line = Vec::with_capacity(raw.len());
    for (number, part) in raw.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let part = part.strip_suffix(b"\n").map_or(part, |part| part.strip_suffix(b"\r").unwrap_or(part));
        line.extend_from_slice(part.get(usize::from(number > 0)..).unwrap_or_default());
    }
    line
}

/// The line in pieces of at most 75 octets (RFC 5545 §3.1), never cut within a character of UTF-8.
fn folded(line: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(line.len() + line.len() / 37 + 2);
    let mut length = 0;
    for &byte in line {
        if length >= 72 && byte & 0xc0 != 0x80 {
            out.extend_from_slice(b"\r\n ");
            length = 1;
        }
        out.push(byte);
        length += 1;
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// Where the value begins, with its colon, which is the first one outside of quotes.
fn value_at(rest: &[u8]) -> usize {
    let mut in_quotes = false;
    for (at, &byte) in rest.iter().enumerate() {
        match byte {
            b'"' => in_quotes = !in_quotes,
            b':' if !in_quotes => return at,
            _ => {}
        }
    }
    rest.len()
}

/// The parameters, which are separated by semicolons outside of quotes.
fn params_of(params: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut in_quotes = false;
    params
        .split(move |&byte| {
            in_quotes ^= byte == b'"';
            byte == b';' && !in_quotes
        })
        .skip(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_end_becomes_crlf() {
        for (written, expected) in [
            ("", ""),
            ("a", "a"),
            ("a\nb\rc\r\nd", "a\r\nb\r\nc\r\nd"),
            ("\n\n\r\r", "\r\n\r\n\r\n\r\n"),
            ("\r\n\r\n", "\r\n\r\n"),
            ("\n\r", "\r\n\r\n"),
        ] {
            assert_eq!(crlf(written.as_bytes()), expected.as_bytes(), "{written:?}");
        }
    }

    #[test]
    fn encodings_are_undone_as_they_are_written() {
        for (written, expected) in [
            ("a=3D=3db", "a==b"),
            ("a=\r\nb= \t\r\nc", "abc"),
            ("a=\nb", "a=\nb"),
            ("a=3", "a=3"),
            ("a=+3", "a=+3"),
            ("a=", "a="),
            ("a=3g=41", "a=3gA"),
        ] {
            let read = decoded(written.as_bytes(), "quoted-printable").unwrap();
            assert_eq!(String::from_utf8_lossy(&read), expected, "{written:?}");
        }
        assert_eq!(decoded(b"YW\r\n I=\n", "base64").as_deref(), Some(&b"ab"[..]));
        assert_eq!(decoded(b"YWI", "base64"), None);
        for encoding in ["7bit", "8bit", "binary"] {
            assert_eq!(decoded(b"a=3D", encoding).as_deref(), Some(&b"a=3D"[..]));
        }
        assert_eq!(decoded(b"a", "x-uuencode"), None);
    }

    #[test]
    fn base64_has_lines_of_seventy_six() {
        for (bytes, lines) in [(0, vec![]), (1, vec![4]), (57, vec![76]), (58, vec![76, 4]), (114, vec![76, 76])] {
            let written = String::from_utf8(base64(&vec![b'x'; bytes])).unwrap();
            assert_eq!(written.lines().map(str::len).collect::<Vec<_>>(), lines);
            assert!(written.is_empty() || written.ends_with("\r\n"));
            assert_eq!(from_base64(written.as_bytes()).unwrap(), vec![b'x'; bytes]);
        }
    }

    #[test]
    fn only_what_is_rewritten_changes_its_encoding() {
        let upper = |text: &[u8]| Some(text.to_ascii_uppercase());
        assert_eq!(rewritten(b"a", "8bit", upper), Some((b"A".to_vec(), None)));
        assert_eq!(rewritten(b"=61", "quoted-printable", upper), Some((b"QQ==\r\n".to_vec(), Some("base64"))));
        assert_eq!(rewritten(b"YQ==", "base64", upper), Some((b"QQ==\r\n".to_vec(), Some("base64"))));
        assert_eq!(rewritten(b"a", "8bit", |_| None), None);
        assert_eq!(rewritten(b"a", "x-odd", upper), None);
    }

    #[test]
    fn references_to_content_are_found_wherever_they_end() {
        let ids: ContentIds = [(b"a@b".to_vec(), "NEW".to_owned()), (vec![b'x'; 1000], "LONG".to_owned())].into();
        let mut same = ids.clone();
        same.insert(b"same".to_vec(), "same".to_owned());
        for (text, expected) in [
            ("cid:a@b", Some("cid:NEW")),
            ("CID:a%40b CiD:a@b.", Some("CID:NEW CiD:a@b.")),
            (
                "\"cid:a@b\" 'cid:a@b' <cid:a@b> (cid:a@b) [cid:a@b] \\cid:a@b\\ `cid:a@b`\tcid:a@b\n",
                Some("\"cid:NEW\" 'cid:NEW' <cid:NEW> (cid:NEW) [cid:NEW] \\cid:NEW\\ `cid:NEW`\tcid:NEW\n"),
            ),
            ("acid:a@b 1cid:a@b -cid:a@b", Some("acid:a@b 1cid:a@b -cid:NEW")),
            ("acid:cid:a@b", Some("acid:cid:NEW")),
            ("cid:a@b/cid:a@b", None),
            ("cid:", None),
            ("cid: cid:a@b", Some("cid: cid:NEW")),
            ("cid:same", None),
            (&format!("cid:{}", "x".repeat(1000)), Some("cid:LONG")),
            (&format!("cid:{} ", "x".repeat(999)), None),
            ("nothing", None),
        ] {
            let changed = with_ids(text.as_bytes(), &same).map(|text| String::from_utf8(text).unwrap());
            assert_eq!(changed.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_line_of_a_calendar_goes_on_after_a_space() {
        for (text, length) in
            [("", 0), ("a", 1), ("a\r\nb\r\n", 3), ("a\r\n b\r\n\tc\r\nd", 11), ("a\n \n", 4), ("a\r\n ", 4)]
        {
            assert_eq!(content_line(text.as_bytes()), length, "{text:?}");
        }
        assert_eq!(unfolded(b"a\r\n b\n\tc\r\n"), b"abc");
        assert_eq!(unfolded(b" a\r"), b" a\r");
    }

    #[test]
    fn long_lines_are_folded_between_characters() {
        let fold = |text: &str| String::from_utf8(folded(text.as_bytes())).unwrap();
        assert_eq!(fold(&"a".repeat(72)), format!("{}\r\n", "a".repeat(72)));
        assert_eq!(fold(&"a".repeat(73)), format!("{}\r\n a\r\n", "a".repeat(72)));
        assert_eq!(fold(&"a".repeat(72 + 71 + 1)), format!("{}\r\n {}\r\n a\r\n", "a".repeat(72), "a".repeat(71)));
        let clef = "\u{1d11e}";
        assert_eq!(fold(&format!("{}{clef}b", "a".repeat(71))), format!("{}{clef}\r\n b\r\n", "a".repeat(71)));
        assert_eq!(fold(&format!("{}{clef}", "a".repeat(72))), format!("{}\r\n {clef}\r\n", "a".repeat(72)));
    }

    #[test]
    fn values_and_parameters_of_a_calendar_are_told_apart_outside_of_quotes() {
        for (rest, at) in [(":v", 0), (";A=b:v:w", 4), (";A=\"b:c\":v", 8), (";A=b", 4), (";A=\"b:c", 7), ("", 0)] {
            assert_eq!(value_at(rest.as_bytes()), at, "{rest}");
        }
        let params = |text: &'static str| params_of(text.as_bytes()).collect::<Vec<_>>();
        assert_eq!(params(""), Vec::<&[u8]>::new());
        assert_eq!(params(";A=b;C=\"d;e\";F=g"), [&b"A=b"[..], b"C=\"d;e\"", b"F=g"]);
    }
}
