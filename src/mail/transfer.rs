//! Transfer encodings undone (RFC 2045 §6), leniently: bytes that do not belong to the encoding are passed over,
//! nothing fails.
//!
//! Bytes are read from left to right in pieces, and between them the caller is asked whether to go on. Work: at most 8
//! steps for a byte.

use std::borrow::Cow;

use crate::base::scan::Scan;

use super::charset::{GoOn, PIECE, hex_pair};
use super::structure::Structure;

/// The most steps that are made for a byte.
#[cfg(test)]
pub(super) const STEPS_PER_BYTE: u64 = 8;
/// The most spaces that may follow the `=` of a soft line break; some servers add them. With more it is not a line
/// break.
const PADDING: usize = 256;

/// The bytes of a part's body, with its encoding undone; `None` where the caller did not want to go on.
pub(super) fn bytes<'a>(part: &Structure, message: &'a [u8], go_on: &mut GoOn<'_>) -> Option<Cow<'a, [u8]>> {
    let body = part.body.of(message);
    match part.encoding.as_str() {
        "base64" => base64(body, go_on).map(Cow::Owned),
        "quoted-printable" => quoted_printable(body, go_on).map(Cow::Owned),
        _ => Some(Cow::Borrowed(body)),
    }
}

/// Decodes base64 up to its padding: `=` ends the data (RFC 2045 §6.8), so that a footer which a mailing list added is
/// ignored.
pub(super) fn base64(text: &[u8], go_on: &mut GoOn<'_>) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let (mut queue, mut bits) = (0_u32, 0_u32);
    for piece in text.chunks(PIECE) {
        if !go_on() {
            return None;
        }
        let mut scan = Scan::new(piece);
        while let Some(byte) = scan.take() {
            if byte == b'=' {
                return Some(decoded);
            }
            let Some(value) = base64_value(byte) else { continue };
            (queue, bits) = ((queue << 6 | u32::from(value)) & 0xffff, bits + 6);
            if bits >= 8 {
                bits -= 8;
                decoded.extend((queue >> bits).to_le_bytes().first());
            }
        }
    }
    Some(decoded)
}

/// The value of a digit of base64.
pub(super) const fn base64_value(digit: u8) -> Option<u8> {
    match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

/// Quoted-printable: `=` with two digits is a byte, `=` at the end of a line joins it with the next.
fn quoted_printable(text: &[u8], go_on: &mut GoOn<'_>) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut scan = Scan::new(text);
    let mut asked = usize::MAX;
    while !scan.is_at_end() {
        let place = (text.len() - scan.rest().len()) / PIECE;
        if place != asked {
            asked = place;
            if !go_on() {
                return None;
            }
        }
        decoded.extend_from_slice(scan.run_within(PIECE, |byte| byte != b'='));
        if !scan.eat(b'=') {
            continue;
        }
        let mut ahead = scan;
        if let Some(byte) = hex_pair(ahead.take(), ahead.take()) {
            decoded.push(byte);
            scan = ahead;
            continue;
        }
        let mut ahead = scan;
        ahead.run_within(PADDING, |byte| matches!(byte, b' ' | b'\t'));
        ahead.eat(b'\r');
        if ahead.eat(b'\n') || ahead.is_at_end() {
            scan = ahead;
        } else {
            decoded.push(b'=');
        }
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::meter;
    use proptest::prelude::*;

    fn base(text: &str) -> Vec<u8> {
        base64(text.as_bytes(), &mut || true).unwrap()
    }

    fn quoted(text: &str) -> Vec<u8> {
        quoted_printable(text.as_bytes(), &mut || true).unwrap()
    }

    #[test]
    fn base64_is_read_up_to_its_end() {
        assert_eq!(base("S8O2bG4NCg==\r\n-- \r\nfooter"), "Köln\r\n".as_bytes());
        assert_eq!(base("aGVs\r\nbG8 gd 29y\0bGQ"), b"hello world");
        assert_eq!(base("="), b"");
    }

    #[test]
    fn quoted_printable_is_read_leniently() {
        assert_eq!(quoted("a=C3=b6 b=\r\nc= \t\r\nd=\ne"), "aö bcde".as_bytes());
        assert_eq!(quoted("1=2 =x= ="), b"1=2 =x= ");
    }

    #[test]
    fn a_caller_is_asked_once_for_each_piece_and_ends_it() {
        for unit in ["x", "=41", "=\r\n", "=x"] {
            let text = unit.repeat(3 * PIECE / unit.len());
            for most in 0..=3 {
                let mut asked = 0;
                let mut go_on = || {
                    asked += 1;
                    asked <= most
                };
                let whole = quoted_printable(text.as_bytes(), &mut go_on).is_some();
                assert_eq!((whole, asked), (most == 3, (most + 1).min(3)), "{unit:?}");
            }
        }
        let mut asked = 0;
        base64("QUFB".repeat(3 * PIECE / 4).as_bytes(), &mut || {
            asked += 1;
            true
        })
        .unwrap();
        assert_eq!(asked, 3);
    }

    #[test]
    fn no_break_or_padding_is_read_again_and_again() {
        for unit in ["=", "= ", "=  x", "=\r", "=\r\n", "==4", " ", &format!("={}", " ".repeat(PADDING))] {
            let text = unit.repeat(200_000 / unit.len());
            let (steps, _) = meter::work(|| (quoted(&text), base(&text)));
            assert!(steps <= 2 * STEPS_PER_BYTE * text.len() as u64 + 100, "{unit:?}: {steps} for {}", text.len());
        }
    }

    proptest! {
        #[test]
        fn what_is_written_in_base64_comes_back(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(base(&data_encoding::BASE64_MIME.encode(&bytes)), bytes);
        }

        #[test]
        fn any_bytes_decode_within_their_length(text in "\\PC{0,80}|[=A-F0-9 \r\n]{0,80}") {
            prop_assert!(base(&text).len() <= text.len());
            prop_assert!(quoted(&text).len() <= text.len());
        }
    }
}
