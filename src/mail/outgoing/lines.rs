//! Lone CR and LF in a submission: text files have them, and mail programs send them as they are.
//!
//! A message whose lines all end with LF gets CRLF in their place. In other messages a part with a lone CR or LF leaves
//! in base64, so that its bytes arrive as they are ([`super::parts`]); anywhere else, in a header or in a part that is
//! signed, two programs would read two messages, and the refusal says where it is.

use std::borrow::Cow;
use std::ops::Range;

use crate::base::meter;

use super::super::strict::has_strict_lines;
use super::super::structure::{Inner, Structure};
use super::{OutgoingError, parts};

/// How many characters before a lone line end a refusal shows, so that a person finds the place.
const SHOWN: usize = 30;

/// The message with CRLF line ends, where all its lines end with LF. A CRLF at the very end belongs to the end of DATA.
pub(super) fn unified(message: &[u8]) -> Cow<'_, [u8]> {
    let text = message.strip_suffix(b"\r\n").unwrap_or(message);
    meter::steps(2 * message.len());
    if text.contains(&b'\r') || !text.contains(&b'\n') {
        return Cow::Borrowed(message);
    }
    let mut unified = Vec::with_capacity(message.len() + message.len() / 16);
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(line) => {
                unified.extend_from_slice(line);
                unified.extend_from_slice(b"\r\n");
            }
            None => unified.extend_from_slice(line),
        }
    }
    unified.extend_from_slice(message.get(text.len()..).unwrap_or_default());
    Cow::Owned(unified)
}

/// Checks that a NUL is nowhere, and a lone CR or LF only in parts that leave in base64.
///
/// # Errors
/// [`OutgoingError::LineEnd`], with the first place.
pub(super) fn check(message: &[u8], root: &Structure) -> Result<(), OutgoingError> {
    if has_strict_lines(message) {
        return Ok(());
    }
    let mut free = Vec::new();
    collect(root, &mut free);
    let mut free = free.into_iter().peekable();
    let (mut line, mut start) = (1, 0);
    meter::steps(2 * message.len());
    for (at, &byte) in message.iter().enumerate() {
        let (before, next) = (at.checked_sub(1).and_then(|before| message.get(before)), message.get(at + 1));
        let what = match byte {
            0 => Some("a NUL"),
            b'\r' if next != Some(&b'\n') => Some("a carriage return without a line feed"),
            b'\n' if before != Some(&b'\r') => Some("a line feed without a carriage return"),
            _ => None,
        };
        while free.peek().is_some_and(|part| part.end <= at) {
            free.next();
        }
        let is_free = byte != 0 && free.peek().is_some_and(|part| part.contains(&at));
        if let Some(what) = what.filter(|_| !is_free) {
            let shown = message.get(start.max(at.saturating_sub(SHOWN))..at).unwrap_or_default();
            let after = String::from_utf8_lossy(shown).trim().to_owned();
            return Err(OutgoingError::LineEnd { line, what, after });
        }
        if byte == b'\n' {
            (line, start) = (line + 1, at + 1);
        }
    }
    Ok(())
}

/// The bodies that leave in base64 where they need it, in their order: those without an encoding, and not within what
/// is signed or encrypted.
fn collect(part: &Structure, free: &mut Vec<Range<usize>>) {
    match &part.inner {
        Inner::Multipart(_) if parts::is_sealed(part) => {}
        Inner::Multipart(parts) => parts.iter().for_each(|part| collect(part, free)),
        Inner::Message(message) => collect(&message.root, free),
        Inner::Leaf if is_plain(part) => free.push(part.body.start as usize..part.body.end as usize),
        Inner::Leaf => {}
    }
}

/// Whether a part leaves in base64 because of its line ends.
pub(super) fn is_mended(part: &Structure, message: &[u8]) -> bool {
    part.inner == Inner::Leaf && is_plain(part) && !has_strict_lines(part.body.of(message))
}

/// Whether the body of a part has no encoding.
fn is_plain(part: &Structure) -> bool {
    matches!(part.encoding.as_str(), "7bit" | "8bit" | "binary")
}

#[cfg(test)]
mod tests {
    use super::super::super::structure;
    use super::*;

    fn checked(message: &str) -> Result<(), OutgoingError> {
        check(message.as_bytes(), &structure::parse(message.as_bytes()).root)
    }

    #[test]
    fn a_message_of_lf_lines_gets_crlf_and_no_other_is_touched() {
        for (message, expected) in [
            ("a: b\n\nc\n", "a: b\r\n\r\nc\r\n"),
            ("a: b\n\nc\n\r\n", "a: b\r\n\r\nc\r\n\r\n"),
            ("a: b\n\nc", "a: b\r\n\r\nc"),
            ("a: b\n\nc\r\n", "a: b\r\n\r\nc\r\n"),
            ("a: b\r\n\r\nc\nd\r\n", "a: b\r\n\r\nc\nd\r\n"),
            ("a: b\n\nc\rd\n", "a: b\n\nc\rd\n"),
            ("a: b\r\n\r\nc\r\n", "a: b\r\n\r\nc\r\n"),
            ("a\r\n", "a\r\n"),
            ("", ""),
        ] {
            assert_eq!(unified(message.as_bytes()), expected.as_bytes(), "{message:?}");
        }
    }

    #[test]
    fn the_first_place_that_cannot_leave_is_named() {
        let refused = |message: &str| match checked(message) {
            Err(OutgoingError::LineEnd { line, what, after }) => (line, what, after),
            other => panic!("{message:?}: {other:?}"),
        };
        let (cr, lf) = ("a carriage return without a line feed", "a line feed without a carriage return");
        let signed =
            "A: b\r\nContent-Type: multipart/signed; boundary=x\r\n\r\n--x\r\n\r\none\r\ntwo\rthree\r\n--x--\r\n";
        let encoded = "Content-Transfer-Encoding: quoted-printable\r\n\r\nthree\nfour\r\n";
        for (message, expected) in [
            ("A: b\rC: d\r\n\r\nx\r\n", (1, cr, "A: b")),
            ("A: b\r\nC: d\nE: f\r\n\r\nx\r\n", (2, lf, "C: d")),
            ("A: b\r\n\r\nx\0\r\n", (3, "a NUL", "x")),
            (signed, (7, cr, "two")),
            (encoded, (3, lf, "three")),
        ] {
            let (line, what, after) = expected;
            assert_eq!(refused(message), (line, what, after.to_owned()), "{message:?}");
        }
        let long = format!("X: {}\ry\r\n\r\n", "z".repeat(100));
        assert_eq!(refused(&long).2, "z".repeat(SHOWN));
    }

    #[test]
    fn a_body_without_an_encoding_may_have_them() {
        let parts =
            "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\na\rb\r\n--x\r\n\r\nc\nd\r\r\n--x--\r\n";
        for message in ["A: b\r\n\r\n\nx\r", "A: b\r\nContent-Transfer-Encoding: 8bit\r\n\r\na\nb\rc", parts] {
            assert_eq!(checked(message), Ok(()), "{message:?}");
        }
    }
}
