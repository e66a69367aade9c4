//! Bytes as text, by the character set that a part or an encoded word names.
//!
//! The tables and their states are those of `encoding_rs`: each byte is looked at a fixed number of times. Text is made
//! in pieces of [`PIECE`] bytes, and between them the caller is asked whether to go on. Text whose set is not named,
//! not known, or US-ASCII is read as UTF-8 where it is valid UTF-8, and otherwise as Windows-1252.
//!
//! Work: at most 8 steps for a byte.

use encoding_rs::{DecoderResult, Encoding, UTF_8, WINDOWS_1252};

use crate::base::limits::KIB;
use crate::base::meter;

use super::params::hex;

/// After at most so many bytes the caller is asked whether to go on.
pub(super) const PIECE: usize = 64 * KIB;
/// The most steps that are made for a byte.
#[cfg(test)]
pub(super) const STEPS_PER_BYTE: u64 = 8;

/// A question to the caller, asked between pieces: whether to go on.
pub type GoOn<'a> = dyn FnMut() -> bool + 'a;

/// A character set that we can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Charset {
    /// A set of the Encoding Standard.
    Known(&'static Encoding),
    /// RFC 2152.
    Utf7,
    /// Not named, not known, or US-ASCII.
    Unclear,
}

impl Charset {
    /// The set of this name (RFC 2231 §5: with a language behind `*`).
    pub(super) fn named(name: &[u8]) -> Self {
        let name = name.split(|&byte| byte == b'*').next().unwrap_or_default().trim_ascii();
        if [&b"us-ascii"[..], b"ascii", b"ansi_x3.4-1968"].iter().any(|ascii| name.eq_ignore_ascii_case(ascii)) {
            return Self::Unclear;
        }
        if [&b"utf-7"[..], b"unicode-1-1-utf-7"].iter().any(|utf7| name.eq_ignore_ascii_case(utf7)) {
            return Self::Utf7;
        }
        Encoding::for_label_no_replacement(name).map_or(Self::Unclear, Self::Known)
    }

    /// These bytes as text; `None` where the caller did not want to go on.
    pub(super) fn text(self, bytes: &[u8], go_on: &mut GoOn<'_>) -> Option<String> {
        match self {
            Self::Known(encoding) => decoded(encoding, bytes, true, go_on),
            Self::Utf7 => utf7(bytes, go_on),
            Self::Unclear => match decoded(UTF_8, bytes, false, go_on) {
                Some(text) => Some(text),
                None if go_on() => decoded(WINDOWS_1252, bytes, true, go_on),
                None => None,
            },
        }
    }
}

/// `None` where the caller did not want to go on, or, unless `replace` is set, at bytes that the encoding does not
/// have.
fn decoded(encoding: &'static Encoding, bytes: &[u8], replace: bool, go_on: &mut GoOn<'_>) -> Option<String> {
    let mut decoder = encoding.new_decoder_with_bom_removal();
    let mut text = String::new();
    let mut pieces = bytes.chunks(PIECE).peekable();
    while let Some(piece) = pieces.next() {
        if !go_on() {
            return None;
        }
        meter::steps(2 * piece.len());
        let last = pieces.peek().is_none();
        text.reserve(decoder.max_utf8_buffer_length(piece.len())?);
        if replace {
            let _ = decoder.decode_to_string(piece, &mut text, last);
        } else if let (DecoderResult::Malformed(..), _) =
            decoder.decode_to_string_without_replacement(piece, &mut text, last)
        {
            return None;
        }
    }
    Some(text)
}

/// UTF-7 (RFC 2152): `+` begins UTF-16 in base64, which `-` or any other character ends.
fn utf7(bytes: &[u8], go_on: &mut GoOn<'_>) -> Option<String> {
    let mut text = String::new();
    let mut units: Vec<u16> = Vec::new();
    let mut shift: Option<(u32, u32)> = None;
    let mut shifted_nothing = false;
    for piece in bytes.chunks(PIECE) {
        if !go_on() {
            return None;
        }
        meter::steps(3 * piece.len());
        for &byte in piece {
            if let Some((queue, bits)) = shift {
                if let Some(value) = super::transfer::base64_value(byte) {
                    let (mut queue, mut bits) = (queue << 6 | u32::from(value), bits + 6);
                    if bits >= 16 {
                        bits -= 16;
                        units.extend(u16::try_from(queue >> bits & 0xffff));
                        queue &= (1 << bits) - 1;
                    }
                    shift = Some((queue, bits));
                    shifted_nothing = false;
                    continue;
                }
                text.push_str(&String::from_utf16_lossy(&units));
                units.clear();
                shift = None;
                if byte == b'-' {
                    if shifted_nothing {
                        text.push('+');
                    }
                    continue;
                }
            }
            if byte == b'+' {
                (shift, shifted_nothing) = (Some((0, 0)), true);
            } else {
                text.push(if byte.is_ascii() { char::from(byte) } else { char::REPLACEMENT_CHARACTER });
            }
        }
    }
    text.push_str(&String::from_utf16_lossy(&units));
    Some(text)
}

/// The quoted-printable byte that two digits behind `=` stand for.
pub(super) fn hex_pair(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    Some(high.and_then(hex)? * 16 + low.and_then(hex)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(charset: &str, bytes: &[u8]) -> String {
        Charset::named(charset.as_bytes()).text(bytes, &mut || true).unwrap()
    }

    #[test]
    fn sets_are_read_by_their_names() {
        assert_eq!(text("utf-8", "Köln".as_bytes()), "Köln");
        assert_eq!(text("ISO-8859-1", b"K\xf6ln"), "Köln");
        assert_eq!(text("iso-2022-jp*ja", b"\x1b$B%F%9%H\x1b(B!"), "テスト!");
        assert_eq!(text("utf-7", b"K+APY-ln +- 1+2A"), "Köln + 1");
        assert_eq!(text("unicode-1-1-utf-7", b"+2D3eAA"), "😀");
    }

    #[test]
    fn what_names_no_set_is_utf_8_or_else_windows_1252() {
        for charset in ["us-ascii", "", "x-unknown", "hz-gb-2312"] {
            assert_eq!(text(charset, "Köln".as_bytes()), "Köln", "{charset}");
            assert_eq!(text(charset, b"K\xf6ln \x80"), "Köln €", "{charset}");
        }
    }

    #[test]
    fn a_caller_who_does_not_go_on_is_asked_no_more() {
        let bytes = vec![b'x'; 10 * PIECE];
        for charset in [Charset::Unclear, Charset::Utf7, Charset::named(b"gb18030")] {
            let mut asked = 0;
            let stopped = charset.text(&bytes, &mut || {
                asked += 1;
                asked < 3
            });
            assert_eq!((stopped, asked <= 4), (None, true), "{charset:?}");
        }
    }

    #[test]
    fn escapes_and_shifts_cost_no_more_than_other_bytes() {
        for (charset, unit) in [
            ("iso-2022-jp", &b"\x1b$B\x1b(B"[..]),
            ("iso-2022-jp", b"\x1b"),
            ("utf-7", b"+"),
            ("utf-7", b"+-"),
            ("utf-7", b"+2D0"),
            ("gb18030", b"\x81"),
            ("", b"\xc3"),
        ] {
            let bytes = unit.repeat(30_000);
            let (steps, text) = meter::work(|| text(charset, &bytes));
            assert!(steps <= STEPS_PER_BYTE * bytes.len() as u64, "{charset} {unit:?}: {steps}");
            assert!(steps >= 2 * bytes.len() as u64, "{charset} {unit:?}: not all of it is counted: {steps}");
            assert!(text.len() <= 3 * bytes.len() + 3, "{charset} {unit:?}: {}", text.len());
        }
    }
}
