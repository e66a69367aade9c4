//! Header values and bodies as people see them.
//!
//! Encoded words (RFC 2047), parameters (RFC 2231), transfer encodings and character sets are undone on what our own
//! parser found: no other parser, which might see another message, reads it again. Nothing fails: text that cannot be
//! decoded is shown as it is written.
//!
//! Work: at most 24 steps for a byte. An encoded word ends at the first `?` after its beginning (or is not one), so the
//! search for its end never goes beyond the next one's beginning.

use crate::base::meter;
use crate::base::scan::Scan;

pub use super::charset::GoOn;
use super::charset::{Charset, hex_pair};
use super::structure::{Param, Structure};
use super::{params, transfer};

/// The most steps that are made for a byte.
#[cfg(test)]
pub(super) const STEPS_PER_BYTE: u64 = 24;

/// The text of a part of any type; `None` where the caller did not want to go on.
pub fn of_part(part: &Structure, message: &[u8], go_on: &mut GoOn<'_>) -> Option<String> {
    let bytes = transfer::bytes(part, message, go_on)?;
    let charset = params::value(&part.params, "charset");
    charset.map_or(Charset::Unclear, |(name, _)| Charset::named(&name)).text(&bytes, go_on)
}

/// The bytes of a part, with its encoding undone.
pub fn bytes_of_part(part: &Structure, message: &[u8]) -> Vec<u8> {
    transfer::bytes(part, message, &mut || true).unwrap_or_default().into_owned()
}

/// The file name of a part, if it has one: from its disposition, otherwise from its type.
pub fn file_name(part: &Structure) -> Option<String> {
    let of_disposition = part.disposition.as_ref().and_then(|disposition| param(&disposition.params, "filename"));
    of_disposition.or_else(|| param(&part.params, "name"))
}

/// A parameter as people see it. Encoded words in it, which no standard allows, are decoded as other programs decode
/// them.
pub fn param(params: &[Param], name: &str) -> Option<String> {
    let (value, charset) = params::value(params, name)?;
    match charset {
        Some(charset) => Charset::named(charset).text(&value, &mut || true),
        None => Some(of_value(&value)),
    }
}

/// A header value as people see it, on one line.
pub fn of_value(value: &[u8]) -> String {
    let value = on_one_line(value);
    let mut reader = Reader::default();
    let mut scan = Scan::new(&value);
    loop {
        reader.plain.extend_from_slice(scan.run(|byte| byte != b'='));
        if scan.is_at_end() {
            break;
        }
        let mut ahead = scan;
        match word(&mut ahead) {
            Some(word) => {
                reader.word(&word);
                scan = ahead;
            }
            None => reader.plain.extend(scan.take()),
        }
    }
    reader.finish()
}

/// A value without CR, LF and NUL; each fold becomes one space.
fn on_one_line(value: &[u8]) -> Vec<u8> {
    let mut line = Vec::with_capacity(value.len());
    let mut scan = Scan::new(value.trim_ascii());
    while !scan.is_at_end() {
        line.extend_from_slice(scan.run(|byte| !matches!(byte, b'\r' | b'\n' | 0)));
        let breaks = scan.run(|byte| matches!(byte, b'\r' | b'\n' | 0));
        if breaks.contains(&b'\n') && !scan.run(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).is_empty() {
            line.push(b' ');
        }
    }
    line
}

/// `=?charset?encoding?text?=`
struct Word<'a> {
    charset: &'a [u8],
    quoted: bool,
    text: &'a [u8],
}

fn word<'a>(scan: &mut Scan<'a>) -> Option<Word<'a>> {
    if !(scan.eat(b'=') && scan.eat(b'?')) {
        return None;
    }
    let charset = scan.run(|byte| byte.is_ascii_graphic() && !b"()<>@,;:\"/[]?.=".contains(&byte));
    if !scan.eat(b'?') {
        return None;
    }
    let quoted = match scan.take()? {
        b'q' | b'Q' => true,
        b'b' | b'B' => false,
        _ => return None,
    };
    if !scan.eat(b'?') {
        return None;
    }
    let text = scan.run(|byte| byte != b'?');
    (scan.eat(b'?') && scan.eat(b'=')).then_some(Word { charset, quoted, text })
}

/// The text of a value, as far as it was read.
#[derive(Default)]
struct Reader {
    text: String,
    /// Bytes outside of encoded words that are not in the text yet.
    plain: Vec<u8>,
    /// Bytes of encoded words in a row that are not in the text yet: some programs divide a character between two
    /// words.
    words: Vec<u8>,
    charset: Option<Charset>,
}

impl Reader {
    fn word(&mut self, word: &Word<'_>) {
        let charset = Charset::named(word.charset);
        // Space between two encoded words does not belong to the text (RFC 2047 §6.2).
        if self.charset.is_some() && self.plain.trim_ascii().is_empty() {
            self.plain.clear();
        } else {
            self.flush_words();
            self.flush_plain();
        }
        if self.charset.is_some_and(|before| before != charset) {
            self.flush_words();
        }
        self.charset = Some(charset);
        if word.quoted {
            unquote(word.text, &mut self.words);
        } else if let Some(decoded) = transfer::base64(word.text, &mut || true) {
            self.words.extend_from_slice(&decoded);
        }
    }

    fn flush_words(&mut self) {
        if let Some(charset) = self.charset.take() {
            self.text.push_str(&charset.text(&self.words, &mut || true).unwrap_or_default());
            self.words.clear();
        }
    }

    fn flush_plain(&mut self) {
        meter::steps(self.plain.len());
        self.text.push_str(&Charset::Unclear.text(&self.plain, &mut || true).unwrap_or_default());
        self.plain.clear();
    }

    fn finish(mut self) -> String {
        self.flush_words();
        self.flush_plain();
        self.text
    }
}

/// The Q encoding (RFC 2047 §4.2).
fn unquote(text: &[u8], target: &mut Vec<u8>) {
    let mut scan = Scan::new(text);
    while let Some(byte) = scan.take() {
        let mut ahead = scan;
        match byte {
            b'_' => target.push(b' '),
            b'=' => match hex_pair(ahead.take(), ahead.take()) {
                Some(byte) => {
                    target.push(byte);
                    scan = ahead;
                }
                None => target.push(b'='),
            },
            other => target.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::structure::{Inner, parse};
    use proptest::prelude::*;

    #[test]
    fn values_are_read_as_people_see_them() {
        for (value, text) in [
            ("=?utf-8?Q?J=C3=BCrgen?= <j@x>", "Jürgen <j@x>"),
            ("=?iso-8859-1?Q?Gr=FC=DFe?=\r\n =?iso-8859-1?q?_aus_K=F6ln?=", "Grüße aus Köln"),
            ("=?utf-8?b?w7Y=?= =?utf-8*de?B?w7Y?= x", "öö x"),
            ("=?utf-8?q?=C3?= =?utf-8?q?=B6?=", "ö"),
            ("=?utf-8?q?a?=b =?iso-8859-1?q?=F6?= =?utf-8?q?c?=", "ab öc"),
            ("=?utf-8?q?bad word and =?utf-8?q?good?=", "=?utf-8?q?bad word and good"),
            ("=?utf-8?q?not closed", "=?utf-8?q?not closed"),
            ("=?x?z?y?= a=b =? ==?utf-8?q?c?=", "=?x?z?y?= a=b =? =c"),
            (" a\r\n\t b\r\n c\0d ", "a b cd"),
            ("Köln", "Köln"),
        ] {
            assert_eq!(of_value(value.as_bytes()), text, "{value}");
        }
        assert_eq!(of_value(b"K\xf6ln"), "Köln");
    }

    fn leaf(message: &[u8]) -> Structure {
        match parse(message).root.inner {
            Inner::Multipart(parts) => parts.into_iter().next().unwrap(),
            _ => parse(message).root,
        }
    }

    #[test]
    fn text_is_decoded_by_what_our_own_parser_found() {
        let text = |message: &[u8]| of_part(&leaf(message), message, &mut || true).unwrap();
        for message in [
            &include_bytes!("../../tests/messages/S1-raw-utf8-without-charset.eml")[..],
            include_bytes!("../../tests/messages/S2-base64-space-after.eml"),
            include_bytes!("../../tests/messages/S3-base64-folded-field.eml"),
            include_bytes!("../../tests/messages/S4-base64-comment.eml"),
            include_bytes!("../../tests/messages/S5-base64-then-list-footer.eml"),
        ] {
            assert_eq!(text(message), "Köln\r\n", "{}", String::from_utf8_lossy(message));
        }
        assert_eq!(text(b"Content-Type: text/plain; charset*=''iso-8859-1\r\n\r\nK\xf6ln"), "Köln");
        assert_eq!(text(b"Content-Type: multipart/mixed\r\nContent-Transfer-Encoding: base64\r\n\r\nS8O2bG4="), "Köln");
    }

    #[test]
    fn files_have_their_names() {
        let name = |message: &[u8]| file_name(&leaf(message));
        let attached = include_bytes!("../../tests/messages/S6-attachment-name.eml");
        let continued = include_bytes!("../../tests/messages/M4-filename-continued.eml");
        assert_eq!(name(attached).as_deref(), Some("invoice.pdf"));
        assert_eq!(name(continued).as_deref(), Some("long.pdf"));
        assert_eq!(name(b"Content-Type: a/b; name=\"=?utf-8?q?=C3=B6?=.txt\"\r\n\r\n").as_deref(), Some("ö.txt"));
        let parts = b"Content-Disposition: x; filename*0*=utf-8''%C3; filename*1*=%B6; filename*2=\"%.txt\"\r\n\r\n";
        assert_eq!(name(parts).as_deref(), Some("ö%.txt"));
        assert_eq!(name(b"\r\n"), None);
    }

    #[test]
    fn no_word_is_read_again_and_again() {
        for unit in [
            "=?",
            "=?a?q?",
            "=?utf-8?q?x?=",
            "=?utf-8?q?x?= ",
            "=?utf-8?b?=?= ",
            "?=",
            "=",
            "=?utf-8?q?=",
            "=?a",
            "\r\n =",
            "\r\n",
            "=?iso-2022-jp?b?GyRC?= ",
            "=?utf-7?q?+?=",
            "=?a?q?b? ",
            "=?utf-8?q??= =?iso-8859-1?q??= ",
        ] {
            for count in [1000, 4000, 16_000] {
                let value = unit.repeat(count);
                let (steps, _) = meter::work(|| of_value(value.as_bytes()));
                assert!(steps <= STEPS_PER_BYTE * value.len() as u64 + 100, "{unit:?} {count}: {steps}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_value_and_any_part_has_a_text(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = of_value(&bytes);
            prop_assert!(of_part(&leaf(&bytes), &bytes, &mut || true).is_some());
        }
    }
}
