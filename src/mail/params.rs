//! Structured fields of a part: Content-Type, Content-Disposition, Content-Transfer-Encoding (RFC 2045 §5, RFC 2183),
//! and their parameters with the continuations and character sets of RFC 2231.
//!
//! A value is read from left to right, and no part of it is read again: at most 8 steps for a byte.

use std::collections::BTreeMap;

use crate::base::meter;
use crate::base::scan::Scan;

use super::headers::unfold;
use super::structure::{Disposition, Param, Text};

/// The most parameters of one field, counted before continuations are put together.
pub(super) const PARAMS: usize = 64;
/// The most steps that this module makes for a byte of a value.
#[cfg(test)]
pub(super) const STEPS_PER_BYTE: u64 = 8;

/// A content type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Typed {
    pub(super) media_type: String,
    pub(super) subtype: String,
    pub(super) params: Vec<Param>,
}

impl Typed {
    pub(super) fn new(media_type: &str, subtype: &str) -> Self {
        Self { media_type: media_type.to_owned(), subtype: subtype.to_owned(), params: Vec::new() }
    }

    pub(super) fn is(&self, media_type: &str, subtype: &str) -> bool {
        self.media_type == media_type && self.subtype == subtype
    }
}

/// `type/subtype; params`; `None` where the value has another form (RFC 2045 §5.2 then says text/plain).
pub(super) fn content_type(value: &[u8]) -> Option<Typed> {
    let value = unfold(value);
    let mut scan = Scan::new(&value);
    let media_type = token(&mut scan)?;
    skip_space(&mut scan);
    if !scan.eat(b'/') {
        return None;
    }
    let subtype = token(&mut scan)?;
    Some(Typed { media_type, subtype, params: params(scan) })
}

/// `kind; params`
pub(super) fn disposition(value: &[u8]) -> Option<Disposition> {
    let value = unfold(value);
    let mut scan = Scan::new(&value);
    Some(Disposition { kind: token(&mut scan)?, params: params(scan) })
}

/// The first token of a value, in lower case.
pub(super) fn first_token(value: &[u8]) -> Option<String> {
    token(&mut Scan::new(value))
}

/// The bytes of a parameter, with the form of RFC 2231 undone, and the character set that this form names.
pub(super) fn value<'a>(params: &'a [Param], name: &str) -> Option<(Text, Option<&'a [u8]>)> {
    let find = |extended: bool| {
        params.iter().find(|param| match param.name.strip_suffix('*') {
            Some(base) => extended && base == name,
            None => !extended && param.name == name,
        })
    };
    if let Some(param) = find(true) {
        let mut parts = param.value.splitn(3, |&byte| byte == b'\'');
        return match (parts.next(), parts.next(), parts.next()) {
            (Some(charset), Some(_), Some(text)) => Some((percent_decoded(text), Some(charset))),
            _ => Some((percent_decoded(&param.value), None)),
        };
    }
    find(false).map(|param| (param.value.clone(), None))
}

/// A token (RFC 2045 §5.1) in lower case, after space and comments.
fn token(scan: &mut Scan<'_>) -> Option<String> {
    skip_space(scan);
    let token = scan.run(|byte| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&byte));
    let text = std::str::from_utf8(token).ok().filter(|token| !token.is_empty())?;
    Some(text.to_ascii_lowercase())
}

/// Passes over spaces and comments. A comment that is not closed extends to the end.
fn skip_space(scan: &mut Scan<'_>) {
    loop {
        scan.run(|byte| byte.is_ascii_whitespace());
        if !scan.eat(b'(') {
            return;
        }
        let mut depth = 1_usize;
        while depth > 0 {
            match scan.take() {
                Some(b'(') => depth += 1,
                Some(b')') => depth -= 1,
                Some(b'\\') => drop(scan.take()),
                Some(_) => {}
                None => return,
            }
        }
    }
}

/// `; name=value` as often as it occurs. Values with unquoted spaces, as some programs write file names, go on to
/// the next semicolon.
fn params(mut scan: Scan<'_>) -> Vec<Param> {
    let mut found = Vec::new();
    while found.len() < PARAMS {
        skip_space(&mut scan);
        // Text before the semicolon is ignored.
        scan.run(|byte| !matches!(byte, b';' | b'('));
        if scan.is_at_end() {
            break;
        }
        if !scan.eat(b';') {
            continue;
        }
        let Some(name) = token(&mut scan) else { continue };
        skip_space(&mut scan);
        if !scan.eat(b'=') {
            continue;
        }
        skip_space(&mut scan);
        let value = if scan.eat(b'"') { quoted_value(&mut scan) } else { plain_value(&mut scan) };
        found.push(Param { name, value });
    }
    join(found)
}

fn quoted_value(scan: &mut Scan<'_>) -> Text {
    let mut text = Text::new();
    while let Some(byte) = scan.take() {
        match byte {
            b'"' => break,
            b'\\' => text.extend(scan.take()),
            other => text.push(other),
        }
    }
    text
}

fn plain_value(scan: &mut Scan<'_>) -> Text {
    let value = scan.run(|byte| byte != b';');
    meter::steps(2 * value.len());
    let comment = value.windows(2).position(|pair| pair == b" (").unwrap_or(value.len());
    value.get(..comment).unwrap_or(value).trim_ascii().to_vec()
}

/// One piece of a parameter that comes in several: `name*2*`.
struct Piece {
    encoded: bool,
    value: Text,
}

/// Puts continuations together (RFC 2231 §3, §4.1), which mail programs receive from other servers: `name*0`, `name*1`
/// become `name`, or `name*` where a piece is encoded. Pieces whose numbers do not count up from 0 stay as they are
/// written.
fn join(params: Vec<Param>) -> Vec<Param> {
    let mut pieces: BTreeMap<String, BTreeMap<usize, Piece>> = BTreeMap::new();
    let mut joined = Vec::with_capacity(params.len());
    for param in params {
        meter::steps(param.name.len() + param.value.len());
        let Some((base, number, encoded)) = numbered(&param.name) else {
            joined.push(param);
            continue;
        };
        let of = pieces.entry(base.to_owned()).or_default();
        if number == 0 && !of.contains_key(&0) {
            // Only its place among the others is decided here; the value follows below.
            joined.push(Param { name: param.name.clone(), value: Text::new() });
        }
        of.entry(number).or_insert(Piece { encoded, value: param.value });
    }
    for param in &mut joined {
        let Some((base, ..)) = numbered(&param.name) else { continue };
        let Some(mut of) = pieces.remove(base) else { continue };
        let base = base.to_owned();
        let following = (0..).map_while(|number| of.remove(&number)).collect::<Vec<_>>();
        let any_encoded = following.iter().any(|piece| piece.encoded);
        param.value = together(&following, any_encoded);
        param.name = if any_encoded { format!("{base}*") } else { base.clone() };
        if !of.is_empty() {
            pieces.insert(base, of);
        }
    }
    for (base, of) in pieces {
        joined.extend(of.into_iter().map(|(number, piece)| {
            let star = if piece.encoded { "*" } else { "" };
            Param { name: format!("{base}*{number}{star}"), value: piece.value }
        }));
    }
    joined
}

fn together(pieces: &[Piece], any_encoded: bool) -> Text {
    let mut text = Text::new();
    for (place, piece) in pieces.iter().enumerate() {
        meter::steps(piece.value.len());
        if !any_encoded || piece.encoded {
            text.extend_from_slice(&piece.value);
            continue;
        }
        if place == 0 {
            text.extend_from_slice(b"''");
        }
        for &byte in &piece.value {
            if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`{|}~".contains(&byte) {
                text.push(byte);
            } else {
                text.extend_from_slice(format!("%{byte:02X}").as_bytes());
            }
        }
    }
    text
}

/// `base*number` or `base*number*`.
fn numbered(name: &str) -> Option<(&str, usize, bool)> {
    let (name, encoded) = name.strip_suffix('*').map_or((name, false), |name| (name, true));
    let (base, number) = name.rsplit_once('*')?;
    let plain = number == "0" || !number.starts_with('0');
    let number = number.parse().ok().filter(|number| plain && *number < PARAMS)?;
    Some((base, number, encoded))
}

fn percent_decoded(text: &[u8]) -> Text {
    let mut scan = Scan::new(text);
    let mut decoded = Text::with_capacity(text.len());
    while let Some(byte) = scan.take() {
        let mut digits = scan;
        let value = if byte == b'%' { digits.take().and_then(hex).zip(digits.take().and_then(hex)) } else { None };
        match value {
            Some((high, low)) => {
                scan = digits;
                decoded.push(high * 16 + low);
            }
            None => decoded.push(byte),
        }
    }
    decoded
}

/// The value of a hexadecimal digit.
pub(super) fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: &str) -> String {
        let typed = content_type(value.as_bytes()).unwrap();
        let params =
            typed.params.iter().map(|param| format!("{}={}", param.name, String::from_utf8_lossy(&param.value)));
        params.collect::<Vec<_>>().join("|")
    }

    #[test]
    fn comments_stand_anywhere_and_hide_what_is_in_them() {
        assert_eq!(shown("text (a;b=c) / plain (x) ; (y) charset (z) = us-ascii (Plain; text)"), "charset=us-ascii");
        assert_eq!(shown("text/plain; a=\"b;c\" (d;e=f); g=h"), "a=b;c|g=h");
        assert_eq!(shown("text/plain;a(;a(;b=c"), "");
    }

    #[test]
    fn continuations_are_put_together() {
        assert_eq!(shown("a/b; x*1=r; x*0=q; y=z"), "x=qr|y=z");
        assert_eq!(shown("a/b; x*0*=utf-8'de'%41; x*1*=b; x*2=\"c d\""), "x*=utf-8'de'%41bc%20d");
        assert_eq!(shown("a/b; x*0=q; x*2=r; x*0=s"), "x=q|x*2=r");
        assert_eq!(shown("a/b; x*1=r; x*007=s"), "x*007=s|x*1=r");
        let decoded = |text: &str| value(&content_type(text.as_bytes()).unwrap().params, "x").map(|(bytes, _)| bytes);
        assert_eq!(decoded("a/b; x*=us-ascii''%71%72").unwrap(), b"qr");
        assert_eq!(decoded("a/b; x*0*=''%41; x*1=\"1 %\"").unwrap(), b"A1 %");
        assert_eq!(decoded("a/b; x=plain; x*=%").unwrap(), b"%");
        assert_eq!(decoded("a/b; y=1"), None);
        assert_eq!(decoded("a/b; y*=''1; x=2").unwrap(), b"2");
        assert_eq!(decoded("a/b; x=2; y*=''1").unwrap(), b"2");
        assert_eq!(decoded("a/b; y=1; x*=''2").unwrap(), b"2");
        assert_eq!(decoded("a/b; y*=''1"), None);
    }

    #[test]
    fn no_comment_or_parameter_is_read_again_and_again() {
        let shapes: [(&str, &str); 10] = [
            ("text/plain", ";a("),
            ("text/plain", ";a(()"),
            ("text/plain", ";a=b("),
            ("text/plain", "("),
            ("text/plain", ";\\("),
            ("text/plain", ";a="),
            ("text/plain", ";a=\"\\\""),
            ("text/plain", ";a*0*=%41'"),
            ("text/plain;a=", " ("),
            ("text/plain;a*=''", "%4"),
        ];
        for (head, unit) in shapes {
            for count in [2000, 8000, 32_000] {
                let text = format!("{head}{}", unit.repeat(count));
                let (steps, _) = meter::work(|| {
                    let typed = content_type(text.as_bytes());
                    typed.is_some_and(|typed| value(&typed.params, "a").is_some())
                });
                assert!(steps <= STEPS_PER_BYTE * text.len() as u64 + 1000, "{unit:?} {count}: {steps}");
            }
        }
    }
}
