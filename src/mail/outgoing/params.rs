//! The fields of content and their parameters, at the top and in the headers of parts; those that are not listed are
//! dropped.

use std::collections::BTreeMap;

use data_encoding::BASE64;

use crate::base::meter;

use super::super::compose;
use super::super::headers::{self, Field, unfold};
use super::super::structure::{Param, Structure};
use super::fields::push;

/// The longest file name that is read, in bytes as it is written.
const NAME_BYTES: usize = 4096;

/// The Content-Ids of a message, each with the id that replaces it.
pub(super) type ContentIds = BTreeMap<Vec<u8>, String>;

/// Encodings of a body that we know (RFC 2045 §6; the last from before MIME).
const ENCODINGS: [&str; 6] = ["7bit", "8bit", "binary", "quoted-printable", "base64", "x-uuencode"];

/// Whether a parameter of a Content-Type may leave; `name` is handled elsewhere.
fn is_allowed(part: &Structure, name: &str) -> bool {
    matches!(
        (part.media_type.as_str(), part.subtype.as_str(), name),
        (_, _, "charset")
            | ("text", "plain", "format" | "delsp")
            | ("text", "calendar", "method" | "component")
            | ("application", "pkcs7-mime" | "x-pkcs7-mime", "smime-type")
            | ("audio" | "video", _, "codecs" | "rate" | "channels")
            | ("multipart", "related", "type" | "start")
            | ("multipart", "report", "report-type")
            | ("multipart", "signed" | "encrypted", "protocol" | "micalg" | "boundary")
    )
}

/// Whether a field describes content.
pub(super) fn is_of_content(field: &Field<'_>) -> bool {
    field.name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"content-"))
}

/// The changes of a part's body that its fields must describe.
#[derive(Default)]
pub(super) struct Changed {
    /// The new delimiter of its parts.
    pub(super) boundary: Option<String>,
    /// Its new encoding.
    pub(super) encoding: Option<&'static str>,
}

/// Writes the fields of content of a part. `header` is its header as it was written.
pub(super) fn content_fields(header: &[u8], part: &Structure, changed: &Changed, ids: &ContentIds, out: &mut Vec<u8>) {
    let written = |name: &str| headers::fields(header).find(|field| field.is(name));
    if let Some(value) = content_type(written("Content-Type"), part, changed, ids) {
        push(out, "Content-Type", &value);
    }
    let was_said = written("Content-Transfer-Encoding").is_some();
    let encoding = changed.encoding.or_else(|| {
        let known = ENCODINGS.iter().find(|known| **known == part.encoding).copied();
        known.filter(|_| was_said)
    });
    // A multipart cannot be encoded, whatever its header says.
    let can_be = |encoding: &&str| {
        part.media_type != "multipart" || !matches!(*encoding, "quoted-printable" | "base64" | "x-uuencode")
    };
    if let Some(encoding) = encoding.filter(can_be) {
        push(out, "Content-Transfer-Encoding", encoding.as_bytes());
    }
    if let Some(disposition) = &part.disposition {
        let mut value = if disposition.kind == "inline" { b"inline".to_vec() } else { b"attachment".to_vec() };
        if let Some(name) = file_name(&disposition.params, "filename") {
            name_param("filename", &name, &mut value);
        }
        push(out, "Content-Disposition", &value);
    }
    if let Some(id) = part.id.as_deref().and_then(|id| ids.get(bare_id(id))) {
        push(out, "Content-ID", format!("<{id}>").as_bytes());
    }
}

fn content_type(field: Option<Field<'_>>, part: &Structure, changed: &Changed, ids: &ContentIds) -> Option<Vec<u8>> {
    let text = field.map(|field| unfold(field.value).to_ascii_lowercase()).unwrap_or_default();
    // A part without a type, or with one that cannot be read, is text (RFC 2045 §5.2).
    let is_default = part.media_type == "text" && part.subtype == "plain";
    if is_default && (!text.contains(&b'/') || text.starts_with(b"multipart")) {
        return None;
    }
    let mut value = format!("{}/{}", part.media_type, part.subtype).into_bytes();
    // A character set that the author did not name is not added.
    meter::steps(2 * text.len());
    let says_charset = text.windows(7).any(|name| name == b"charset");
    for Param { name, value: written } in &part.params {
        if !is_allowed(part, name)
            || name == "charset" && !says_charset
            || name == "boundary" && changed.boundary.is_some()
        {
            continue;
        }
        if name == "start" {
            if let Some(id) = ids.get(bare_id(written)) {
                param(name, format!("<{id}>").as_bytes(), &mut value);
            }
        } else if name == "boundary" || is_plain(written) {
            param(name, written, &mut value);
        }
    }
    if let Some(boundary) = &changed.boundary {
        param("boundary", boundary.as_bytes(), &mut value);
    }
    if let Some(name) = file_name(&part.params, "name").filter(|_| part.media_type != "multipart") {
        name_param("name", &name, &mut value);
    }
    Some(value)
}

/// Whether the value of a parameter other than a name is plain and short.
fn is_plain(value: &[u8]) -> bool {
    (1..=128).contains(&value.len())
        && value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.+:/, ".contains(byte))
}

/// An id without its angle brackets.
pub(super) fn bare_id(id: &[u8]) -> &[u8] {
    let id = id.trim_ascii();
    id.strip_prefix(b"<").and_then(|id| id.strip_suffix(b">")).unwrap_or(id)
}

fn param(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!(";\r\n {name}=").as_bytes());
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.+".contains(byte);
    if !value.is_empty() && value.iter().all(token) {
        return out.extend_from_slice(value);
    }
    out.push(b'"');
    for &byte in value {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// Writes a file name: as it is if it is plain ASCII, otherwise in the form of RFC 2231.
fn name_param(key: &str, name: &str, out: &mut Vec<u8>) {
    if name.bytes().all(|byte| matches!(byte, b' '..=b'~')) && !name.contains("=?") && name.len() <= 70 {
        return param(key, name.as_bytes(), out);
    }
    let mut pieces = vec![String::new()];
    for byte in name.bytes() {
        let written = match byte {
            b'-' | b'.' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        };
        match pieces.last_mut().filter(|piece| piece.len() < 60) {
            Some(piece) => piece.push_str(&written),
            None => pieces.push(written),
        }
    }
    let several = pieces.len() > 1;
    for (number, piece) in pieces.iter().enumerate() {
        let place = if several { format!("*{number}") } else { String::new() };
        let charset = if number == 0 { "utf-8''" } else { "" };
        out.extend_from_slice(format!(";\r\n {key}{place}*={charset}{piece}").as_bytes());
    }
}

/// The name of a file in parameters, without folders, from any of the forms that programs write.
fn file_name(params: &[Param], key: &str) -> Option<String> {
    let name = extended_name(params, key).or_else(|| {
        let plain = params.iter().find(|param| param.name == key)?;
        Some(plain_name(&plain.value))
    })?;
    let mut name = compose::file_name(&name);
    // The letter of a Windows drive is cut off.
    while let Some((drive, rest)) = name.split_once(':').filter(|(drive, _)| drive.len() == 1) {
        meter::steps(name.len());
        if !drive.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            break;
        }
        name = compose::file_name(rest);
    }
    Some(name)
}

/// A name in the forms of RFC 2231: `name*=utf-8'de'…`, `name*0=…; name*1*=…`.
fn extended_name(params: &[Param], key: &str) -> Option<String> {
    meter::steps(params.iter().map(|param| param.name.len()).sum());
    let mut pieces: Vec<(u32, bool, &[u8])> = params
        .iter()
        .filter_map(|Param { name, value }| {
            let place = name.strip_prefix(key)?.strip_prefix('*')?;
            let encoded = place.is_empty() || place.ends_with('*');
            let number = place.strip_suffix('*').unwrap_or(place);
            let number = if number.is_empty() { 0 } else { number.parse().ok()? };
            Some((number, encoded, value.as_slice()))
        })
        .collect();
    pieces.sort_by_key(|(number, ..)| *number);
    let mut charset = Vec::new();
    let mut bytes = Vec::new();
    for (index, (_, encoded, value)) in pieces.iter().enumerate() {
        let mut value = *value;
        meter::steps(3 * value.len());
        if index == 0 && *encoded {
            let mut divided = value.splitn(3, |&byte| byte == b'\'');
            if let (Some(set), Some(_), Some(rest)) = (divided.next(), divided.next(), divided.next()) {
                charset = set.to_vec();
                value = rest;
            }
        }
        bytes.extend(if *encoded { percent_decoded(value) } else { value.to_vec() });
    }
    (!pieces.is_empty()).then(|| text_of(bytes, &charset))
}

/// A name as most programs write it, with encoded words (RFC 2047), although those are not allowed there.
fn plain_name(value: &[u8]) -> String {
    if value.len() > NAME_BYTES {
        return String::new();
    }
    meter::steps(3 * value.len());
    let has_words = value.windows(2).any(|pair| pair == b"=?");
    let decoded = || {
        let line = [b"X: ", value].concat();
        mailparse::parse_header(&line).ok().map(|(header, _)| header.get_value())
    };
    has_words.then(decoded).flatten().unwrap_or_else(|| text_of(value.to_vec(), b""))
}

/// Bytes as text: in the named character set, otherwise in UTF-8 if they are valid, otherwise in Latin-1.
fn text_of(bytes: Vec<u8>, charset: &[u8]) -> String {
    if bytes.len() > NAME_BYTES {
        return String::new();
    }
    meter::steps(4 * bytes.len());
    let is_set =
        |set: &&str| set.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte)) && !set.is_empty();
    let set = std::str::from_utf8(charset).ok().filter(is_set).filter(|set| !set.eq_ignore_ascii_case("utf-8"));
    if let Some(set) = set {
        let word = format!("X: =?{set}?B?{}?=", BASE64.encode(&bytes));
        if let Ok((header, _)) = mailparse::parse_header(word.as_bytes()) {
            return header.get_value();
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|error| error.into_bytes().into_iter().map(char::from).collect())
}

/// Undoes percent encoding: `%41` is A.
pub(super) fn percent_decoded(value: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((&byte, next)) = rest.split_first() {
        let digits = next.get(..2).filter(|_| byte == b'%').filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                rest = next.get(2..).unwrap_or_default();
            }
            None => {
                decoded.push(byte);
                rest = next;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(written: &[(&str, &str)]) -> Vec<Param> {
        written.iter().map(|(name, value)| Param { name: (*name).into(), value: value.as_bytes().to_vec() }).collect()
    }

    #[test]
    fn a_name_in_pieces_is_put_together_in_their_order() {
        for (written, expected) in [
            (&[("name", "x.pdf")][..], "x.pdf"),
            (&[("name*", "utf-8'de'%C3%A4.pdf"), ("name", "a.pdf")], "\u{e4}.pdf"),
            (&[("name*", "x.pdf")], "x.pdf"),
            (&[("name*2", "c"), ("name*10", "k"), ("name*1", "b"), ("name*0", "a")], "abck"),
            // Only the first piece names a character set, and only if that piece is encoded.
            (&[("name*0*", "utf-8''a'b"), ("name*1*", "c'd'e%2B")], "a'bc'd'e+"),
            (&[("name*0", "it's 'so' x"), ("name*1", "%41")], "it's 'so' x%41"),
            (&[("name*0*", "iso-8859-1''%E4"), ("name*1", "-%E4"), ("name*2*", "%E4")], "\u{e4}-%E4\u{e4}"),
            // Pieces without a readable number are ignored.
            (&[("name*x", "a"), ("name", "b")], "b"),
            (&[("other", "a"), ("name*0", "c:d")], "d"),
            (&[("name", "1:x.pdf")], "1:x.pdf"),
            (&[("name", "cc:x.pdf")], "cc:x.pdf"),
        ] {
            assert_eq!(file_name(&params(written), "name").as_deref(), Some(expected), "{written:?}");
        }
        assert_eq!(file_name(&params(&[("filename", "x")]), "name"), None);
    }

    #[test]
    fn a_name_is_read_up_to_its_bound() {
        let long = |len: usize| "x".repeat(len);
        for (len, kept) in [(NAME_BYTES, true), (NAME_BYTES + 1, false)] {
            assert_eq!(plain_name(long(len).as_bytes()).len(), if kept { len } else { 0 });
            assert_eq!(text_of(long(len).into_bytes(), b"").len(), if kept { len } else { 0 });
            assert_eq!(text_of(long(len).into_bytes(), b"iso-8859-1").len(), if kept { len } else { 0 });
        }
    }

    #[test]
    fn the_bytes_of_a_name_are_text_in_their_character_set_or_in_the_next_best() {
        for (bytes, charset, expected) in [
            (&b"\xc3\xa4"[..], "utf-8", "\u{e4}"),
            (b"\xc3\xa4", "UTF-8", "\u{e4}"),
            (b"\xc3\xa4", "", "\u{e4}"),
            (b"\xe4", "utf-8", "\u{e4}"),
            (b"\xe4", "", "\u{e4}"),
            (b"\xc3\xa4", "iso-8859-1", "\u{c3}\u{a4}"),
            (b"\xe4", "koi8-r", "\u{414}"),
            (b"\xc3\xa4", "a?=b", "\u{e4}"),
        ] {
            assert_eq!(text_of(bytes.to_vec(), charset.as_bytes()), expected, "{bytes:?} in {charset}");
        }
        assert_eq!(plain_name(b"=?utf-8?q?=C3=A4?="), "\u{e4}");
        // A name without encoded words is not decoded.
        for name in ["\u{e4}", " a b ", "a=?b"] {
            assert_eq!(plain_name(name.as_bytes()), name);
        }
        assert_eq!(plain_name(b"\xe4"), "\u{e4}");
    }

    #[test]
    fn a_name_is_written_as_it_is_or_in_pieces_that_everybody_reads() {
        let written = |name: &str| {
            let mut out = Vec::new();
            name_param("name", name, &mut out);
            String::from_utf8(out).unwrap()
        };
        let long = |len: usize| "x".repeat(len);
        for (name, expected) in [
            ("x-1_a.pdf", ";\r\n name=x-1_a.pdf"),
            ("a+b", ";\r\n name=a+b"),
            ("", ";\r\n name=\"\""),
            ("a b", ";\r\n name=\"a b\""),
            ("~!", ";\r\n name=\"~!\""),
            ("a\"b\\c", ";\r\n name=\"a\\\"b\\\\c\""),
            ("a\u{7f}", ";\r\n name*=utf-8''a%7F"),
            ("\u{e4} b", ";\r\n name*=utf-8''%C3%A4%20b"),
            ("=?x", ";\r\n name*=utf-8''%3D%3Fx"),
            (&long(70), &format!(";\r\n name={}", long(70))),
            (&long(71), &format!(";\r\n name*0*=utf-8''{};\r\n name*1*={}", long(60), long(11))),
            (&format!("\u{e4}{}", long(54)), &format!(";\r\n name*=utf-8''%C3%A4{}", long(54))),
            (&format!("\u{e4}{}", long(55)), &format!(";\r\n name*0*=utf-8''%C3%A4{};\r\n name*1*=x", long(54))),
            (&format!("{}\u{e4}", long(59)), &format!(";\r\n name*0*=utf-8''{}%C3;\r\n name*1*=%A4", long(59))),
        ] {
            assert_eq!(written(name), expected, "{name}");
        }
    }

    #[test]
    fn percent_signs_stand_for_a_byte_with_two_digits_behind_them() {
        for (written, expected) in [
            ("%41b%4a%4A", "AbJJ"),
            ("%", "%"),
            ("%4", "%4"),
            ("%4g%41", "%4gA"),
            ("%+1", "%+1"),
            ("100%", "100%"),
            ("%%41", "%A"),
            ("x41", "x41"),
        ] {
            assert_eq!(percent_decoded(written.as_bytes()), expected.as_bytes(), "{written}");
        }
    }

    #[test]
    fn an_id_is_bare_without_both_of_its_brackets() {
        for (written, expected) in [(" <a@b> ", "a@b"), ("a@b", "a@b"), ("<a@b", "<a@b"), ("a@b>", "a@b>")] {
            assert_eq!(bare_id(written.as_bytes()), expected.as_bytes());
        }
    }
}
