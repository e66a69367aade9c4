//! The one check of a message's form, for messages that arrive and that leave: it refuses those that two programs could
//! read differently (docs/protocol.md, "What is refused").
//!
//! A space before a colon, a line that is no field, or a second `From` makes one program show another author than the
//! next one, or none. The check reads each byte a fixed number of times.

use crate::base::limits::{HEADER_BYTES, HEADER_FIELDS};
use crate::base::meter;

use super::headers;

/// Why a message could be read in more than one way. The text is for the user who wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ambiguity {
    /// A NUL, or a CR or LF without the other.
    #[error("the message has a NUL, or a line end that is not CRLF")]
    Characters,
    /// A line of the header that is not a field, or a control character in a field.
    #[error(
        "the header of the message is malformed: a line in it is no field, or has a character that no field may have"
    )]
    Field,
    /// The header is longer, or has more fields, than nodes send and accept.
    #[error("the header of the message is too long")]
    TooLong,
    /// A field that may occur once occurs twice.
    #[error("the message has more than one {0} field")]
    Repeated(&'static str),
}

/// Fields that occur once at most (RFC 5322 §3.6, RFC 2045 §3, RFC 2183 §2), `From` first.
const ONCE: [&str; 15] = [
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Date",
    "Subject",
    "Message-ID",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Content-Disposition",
    "Content-ID",
];

/// Checks a whole message.
///
/// # Errors
/// [`Ambiguity`].
pub fn check(message: &[u8]) -> Result<(), Ambiguity> {
    if !has_strict_lines(message) {
        return Err(Ambiguity::Characters);
    }
    check_header(message).map(|_| ())
}

/// Checks the header of a message, and returns it.
///
/// # Errors
/// [`Ambiguity`].
pub fn check_header(message: &[u8]) -> Result<&[u8], Ambiguity> {
    let window = message.get(..message.len().min(HEADER_BYTES + 1)).unwrap_or_default();
    let (header, _) = headers::split(window);
    if header.len() > HEADER_BYTES {
        return Err(Ambiguity::TooLong);
    }
    if !has_strict_lines(header) {
        return Err(Ambiguity::Characters);
    }
    let mut seen = [false; ONCE.len()];
    for (count, field) in headers::fields(header).enumerate() {
        if count >= HEADER_FIELDS {
            return Err(Ambiguity::TooLong);
        }
        if !is_field(field.raw) {
            return Err(Ambiguity::Field);
        }
        for (seen, name) in seen.iter_mut().zip(ONCE).filter(|(_, name)| field.is(name)) {
            if std::mem::replace(seen, true) {
                return Err(Ambiguity::Repeated(name));
            }
        }
    }
    Ok(header)
}

/// Whether every CR and LF is part of a CRLF, and there is no NUL (RFC 5321 §2.3.8).
pub fn has_strict_lines(message: &[u8]) -> bool {
    meter::steps(message.len());
    let mut before = 0;
    for &byte in message {
        if byte == 0 || (byte == b'\n') != (before == b'\r') {
            return false;
        }
        before = byte;
    }
    before != b'\r'
}

/// Whether a field has a name that begins with a letter or a digit, a colon at once after it, and lines without control
/// characters. No continuation line may be blank, because some programs end the header at a line of spaces.
fn is_field(raw: &[u8]) -> bool {
    let Some(colon) = raw.iter().position(|&byte| byte == b':') else { return false };
    let Some((name, value)) = raw.split_at_checked(colon) else { return false };
    let control = |byte: &u8| matches!(byte, 0..=8 | 11 | 12 | 14..=31 | 127);
    let blank = |line: &[u8]| line.trim_ascii().is_empty() && !line.is_empty();
    name.first().is_some_and(u8::is_ascii_alphanumeric)
        && name.iter().all(u8::is_ascii_graphic)
        && !value.iter().any(control)
        && !value.split_inclusive(|&byte| byte == b'\n').skip(1).any(blank)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_programs_write_is_taken() {
        for header in [
            "From: a@x\r\nX-Odd_1.2: \u{e4}\r\nSubject:\r\n folded\r\n\tagain\r\nX-Empty:\r\n\r\nbody\r\n \r\n",
            "From: a@x",
            "\r\nbody",
            "",
        ] {
            assert_eq!(check(header.as_bytes()), Ok(()), "{header:?}");
        }
    }

    #[test]
    fn a_header_that_two_programs_could_read_differently_is_refused() {
        for line in [
            "From : b@x",
            "From\u{b}: b@x",
            "From\t: b@x",
            "\u{feff}From: b@x",
            "\u{a0}From: b@x",
            ">From: b@x",
            ">From b@x Mon Jan  1 00:00:00 2026",
            "From b@x Mon Jan  1 00:00:00 2026",
            "no field",
            ": x",
            "X y: z",
            "X\u{e4}: y",
            "X\u{7f}: y",
            "X: \u{1}",
            "X: \u{c}",
            "X: \u{7f}",
            "X: a\r\n \r\n b",
            "X:\r\n\t",
        ] {
            for message in
                [format!("From: a@x\r\n{line}\r\n\r\nbody\r\n"), format!("{line}\r\nFrom: a@x\r\n\r\nbody\r\n")]
            {
                assert_eq!(check(message.as_bytes()), Err(Ambiguity::Field), "{message:?}");
            }
        }
        assert_eq!(check(b" folded: x\r\nFrom: a@x\r\n\r\n"), Err(Ambiguity::Field));
    }

    #[test]
    fn lone_line_ends_and_nul_are_refused_in_header_and_body() {
        for bad in ["a\rb", "a\nb", "a\r\n\nb", "a\r\r\nb", "a\0b", "a\r"] {
            for message in [format!("From: a@x\r\n\r\n{bad}"), format!("From: a@x\r\nX: {bad}")] {
                assert_eq!(check(message.as_bytes()), Err(Ambiguity::Characters), "{message:?}");
            }
        }
    }

    #[test]
    fn what_may_occur_once_occurs_once() {
        for name in ONCE {
            let twice = format!("{name}: a@x\r\nX: y\r\n{}: a@x\r\n\r\n", name.to_ascii_uppercase());
            assert_eq!(check(twice.as_bytes()), Err(Ambiguity::Repeated(name)));
        }
        assert_eq!(check(format!("X: {}\r\n\r\n", "y".repeat(HEADER_BYTES)).as_bytes()), Err(Ambiguity::TooLong));
        assert_eq!(check("X: y\r\n".repeat(HEADER_FIELDS + 1).as_bytes()), Err(Ambiguity::TooLong));
    }

    #[test]
    fn a_header_is_so_long_and_has_so_many_fields_and_no_more() {
        // Besides the value the header has "X: ", the line end and the empty line; the last of these may be missing.
        for (rest, end) in [(7, "\r\n\r\n"), (5, "\r\n"), (3, "")] {
            let header = |len: usize| format!("X: {}{end}", "y".repeat(len - rest));
            assert_eq!(check(header(HEADER_BYTES).as_bytes()), Ok(()), "{end:?}");
            assert_eq!(check(header(HEADER_BYTES + 1).as_bytes()), Err(Ambiguity::TooLong), "{end:?}");
        }
        // The body does not count towards the bound.
        let with_body = format!("X: {}\r\n\r\n{}", "y".repeat(HEADER_BYTES - 7), "z".repeat(HEADER_BYTES));
        assert_eq!(check_header(with_body.as_bytes()).map(<[u8]>::len), Ok(HEADER_BYTES));
        let fields = |count: usize| "X: y\r\n".repeat(count);
        assert_eq!(check(fields(HEADER_FIELDS).as_bytes()), Ok(()));
        assert_eq!(check(fields(HEADER_FIELDS + 1).as_bytes()), Err(Ambiguity::TooLong));
    }

    #[test]
    fn a_field_has_a_name_and_lines_of_which_none_is_blank() {
        for good in ["X:", "1X: y", "X-!#: y", "X: y\r\n z", "X:\r\n y", "X: \u{80}", "X:\ty"] {
            assert!(is_field(good.as_bytes()), "{good:?}");
        }
        for bad in [
            "X",
            "",
            ":",
            "-X: y",
            "X y: z",
            "X: \u{8}",
            "X: \u{b}",
            "X: \u{e}",
            "X: \u{1f}",
            "X: y\r\n\t\r\n",
            "X:\r\n ",
        ] {
            assert!(!is_field(bad.as_bytes()), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_checked_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = check(&bytes);
        }
    }
}
