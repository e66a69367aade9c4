//! The date-time of an APPEND (RFC 9051 §9, `date-time`), where a mail program writes it in another form than the
//! codec reads: a day of one digit, a missing second, a zone as `Z`.
//!
//! Only the quoted text right before the message is looked at, and only its first bytes; what comes out has a fixed
//! form. A text whose meaning is in doubt is left as it is, and refused with [`FORM`].

/// The sentence for a date-time that is not understood.
pub(super) const FORM: &str = "the date-time of APPEND has the form \"03-Feb-2025 10:20:30 +0100\"";

/// A longer text is no date-time in any form that programs write.
const MOST_BYTES: usize = 40;

/// The head of an APPEND that has a text in the place of its date-time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dated {
    /// The head with the date-time as the codec reads it; `None` where the text is no date-time.
    pub(super) normal: Option<Vec<u8>>,
    /// The head without the text.
    pub(super) without: Vec<u8>,
}

/// Looks at the head of an APPEND: all of it up to the `{` or `~{` of its message. `None` where it has no date-time.
pub(super) fn of_append(head: &[u8]) -> Option<Dated> {
    let (kept, tail) = match head.strip_suffix(b"~") {
        Some(kept) => (kept, &b"~"[..]),
        None => (head, &b""[..]),
    };
    let inner = kept.trim_ascii_end().strip_suffix(b"\"")?;
    let window = inner.get(inner.len().saturating_sub(MOST_BYTES + 1)..)?;
    let open = window.iter().rposition(|&byte| byte == b'"')?;
    let (before, text) = (inner.get(..inner.len() - window.len() + open)?, window.get(open + 1..)?);
    // The third word of the command is the mailbox, whatever it looks like.
    let words = before.split(|&byte| byte == b' ').filter(|word| !word.is_empty()).take(3).count();
    if words < 3 || !before.ends_with(b" ") {
        return None;
    }
    let date = std::str::from_utf8(text).ok().and_then(normal);
    let normal = date.map(|date| [before, b"\"", date.as_bytes(), b"\" ", tail].concat());
    Some(Dated { normal, without: [before, tail].concat() })
}

/// `dd-Mon-yyyy hh:mm:ss +hhmm`; `None` where the text says something else, or says too little.
fn normal(text: &str) -> Option<String> {
    let mut words = text.split_ascii_whitespace();
    let (date, time, zone) = (words.next()?, words.next()?, words.next()?);
    let mut date = date.split('-');
    let (day, month, year) = (number(date.next()?, 1)?, date.next()?, date.next()?);
    let mut time = time.split(':');
    let (hour, minute) = (number(time.next()?, 1)?, number(time.next()?, 2)?);
    let second = time.next().map_or(Some(0), |second| number(second, 2))?;
    let plain = month.len() == 3 && month.bytes().all(|byte| byte.is_ascii_alphabetic());
    let whole = (date.next(), time.next(), words.next()) == (None, None, None);
    let year =
        Some(year).filter(|year| year.len() == 4).filter(|year| year.bytes().all(|byte| byte.is_ascii_digit()))?;
    let zone = self::zone(zone)?;
    (plain && whole).then(|| format!("{day:02}-{month}-{year} {hour:02}:{minute:02}:{second:02} {zone}"))
}

/// A number of at least so many digits, and two at most.
fn number(text: &str, least: usize) -> Option<u8> {
    let digits = (least..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// `+hhmm` of this, of `+hh:mm`, `+hh`, or of a name of Universal Time.
fn zone(text: &str) -> Option<String> {
    if ["Z", "UT", "UTC", "GMT"].iter().any(|name| text.eq_ignore_ascii_case(name)) {
        return Some("+0000".to_owned());
    }
    let sign = text.get(..1).filter(|sign| matches!(*sign, "+" | "-"))?;
    let digits = match text.get(1..)?.split_once(':') {
        Some((hours, minutes)) if hours.len() == 2 && minutes.len() == 2 => format!("{hours}{minutes}"),
        Some(_) => return None,
        None => text.get(1..)?.to_owned(),
    };
    let digits = if digits.len() == 2 { format!("{digits}00") } else { digits };
    (digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| format!("{sign}{digits}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_date_that_can_mean_one_thing_only_is_read() {
        for (text, expected) in [
            ("03-Feb-2025 10:20:30 +0100", "03-Feb-2025 10:20:30 +0100"),
            ("3-Feb-2025 10:20:30 +0100", "03-Feb-2025 10:20:30 +0100"),
            (" 3-Feb-2025 10:20:30 +0100", "03-Feb-2025 10:20:30 +0100"),
            ("3-feb-2025  9:20:30 -0130", "03-feb-2025 09:20:30 -0130"),
            ("3-FEB-2025 10:20 +01:00", "03-FEB-2025 10:20:00 +0100"),
            ("13-Feb-2025 10:20:30 +01", "13-Feb-2025 10:20:30 +0100"),
            ("13-Feb-2025 10:20:30 Z", "13-Feb-2025 10:20:30 +0000"),
            ("13-Feb-2025 10:20:30 gmt", "13-Feb-2025 10:20:30 +0000"),
        ] {
            assert_eq!(normal(text).as_deref(), Some(expected), "{text}");
        }
        for text in [
            "",
            "3-Feb-2025",
            "3-Feb-2025 10:20:30",
            "3-Feb-25 10:20:30 +0100",
            "3-02-2025 10:20:30 +0100",
            "2025-02-03 10:20:30 +0100",
            "003-Feb-2025 10:20:30 +0100",
            "3-Feb-2025 10:2:30 +0100",
            "3-Feb-2025 10 +0100",
            "3-Feb-2025 10:20:30 0100",
            "3-Feb-2025 10:20:30 +100",
            "3-Feb-2025 10:20:30 +1:00",
            "3-Feb-2025 10:20:30 CET",
            "3-Feb-2025 10:20:30 +0100 x",
            "3-Feb-2025 10:20:30:4 +0100",
            "3-Feb-2025-1 10:20:30 +0100",
            "\u{663}-Feb-2025 10:20:30 +0100",
        ] {
            assert_eq!(normal(text), None, "{text}");
        }
    }

    #[test]
    fn only_the_text_before_the_message_is_a_date() {
        let of = |head: &str| {
            let dated = of_append(head.as_bytes())?;
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
            Some((dated.normal.map(text), text(dated.without)))
        };
        for head in
            ["a APPEND x ", "a APPEND \"x\" ", "a APPEND \"3-Feb-2025 10:20:30 Z\" ", "a APPEND \"x\" (\\Seen) ", ""]
        {
            assert_eq!(of(head), None, "{head}");
        }
        assert_eq!(of(&format!("a APPEND x \"{}\" ", "3".repeat(MOST_BYTES + 1))), None);
        let date = "\"03-Feb-2025 10:20:30 +0000\" ";
        for (before, text, tail) in [
            ("a APPEND x ", "\"3-Feb-2025 10:20:30 Z\" ", ""),
            ("a APPEND x ", "\"3-Feb-2025 10:20:30 Z\" ", "~"),
            ("a APPEND \"x y\" (\\Seen) ", "\" 3-Feb-2025 10:20:30 Z\"", ""),
        ] {
            let expected = (Some(format!("{before}{date}{tail}")), format!("{before}{tail}"));
            assert_eq!(of(&format!("{before}{text}{tail}")), Some(expected), "{before}{text}");
        }
        for (before, text) in [("a APPEND x ", "\"yesterday\" "), ("a APPEND {1}\r\nx ", "\"\" ")] {
            assert_eq!(of(&format!("{before}{text}")), Some((None, before.to_owned())), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_head_is_read_and_grows_by_a_few_bytes_at_most(head in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Some(dated) = of_append(&head) {
                prop_assert!(dated.normal.is_none_or(|normal| normal.len() <= head.len() + 12));
                prop_assert!(dated.without.len() <= head.len());
            }
        }
    }
}
