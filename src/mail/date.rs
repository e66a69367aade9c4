//! The dates of messages (RFC 5322 §3.3, and §4.3 for those of old programs). A value is read once to remove its
//! comments, and once more for its words: four steps for a byte.

use crate::base::{Timestamp, meter};

use super::structure::Text;

/// Reads a Date: `[day-name,] day month year hour:minute[:second] zone`, with comments anywhere. An unknown zone counts
/// as UTC, as the RFC asks. `None` where the value is not a date between 1900 and 9999.
pub fn parse(value: &[u8]) -> Option<Timestamp> {
    let text = String::from_utf8(without_comments(value)).ok()?;
    let mut words =
        text.split(|c: char| c.is_ascii_whitespace() || c == ',').filter(|word| !word.is_empty()).peekable();
    if words.peek()?.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        words.next();
    }
    let day = number(words.next()?, 1..=2)?;
    let month = month(words.next()?)?;
    let year = year(words.next()?)?;
    let mut time = words.next()?.split(':');
    let hour = number(time.next()?, 1..=2)?;
    let minute = number(time.next()?, 2..=2)?;
    let second = time.next().map_or(Some(0), |second| number(second, 2..=2))?;
    if time.next().is_some() {
        return None;
    }
    let offset = words.next().map_or(Some(0), offset)?;
    let byte = |value: i64| u8::try_from(value).ok();
    let local = Timestamp::from_civil(year, month, byte(day)?, byte(hour)?, byte(minute)?, byte(second)?)?;
    Some(Timestamp::from_secs(local.secs().checked_sub(offset)?))
}

fn without_comments(value: &[u8]) -> Text {
    meter::steps(4 * value.len());
    let mut depth = 0_usize;
    let mut text = Text::new();
    for &byte in value {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ if depth == 0 => text.push(byte),
            _ => {}
        }
    }
    text
}

fn number(word: &str, digits: std::ops::RangeInclusive<usize>) -> Option<i64> {
    let is_number = digits.contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { word.parse().ok() } else { None }
}

fn month(word: &str) -> Option<u8> {
    let names = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let start = word.get(..3)?.to_ascii_lowercase();
    names.iter().zip(1..).find(|(name, _)| **name == start).map(|(_, month)| month)
}

/// Years of two and three digits are those of RFC 5322 §4.3.
fn year(word: &str) -> Option<i64> {
    match (number(word, 2..=4)?, word.len()) {
        (year @ 0..50, 2) => Some(2000 + year),
        (year, 2 | 3) => Some(1900 + year),
        (year, _) => (1900..=9999).contains(&year).then_some(year),
    }
}

/// Seconds east of UTC.
fn offset(zone: &str) -> Option<i64> {
    let hours = |hours: i64| Some(hours * 3600);
    let (sign, digits) = match zone.split_at_checked(1) {
        Some(("+", digits)) => (1, digits),
        Some(("-", digits)) => (-1, digits),
        _ => match zone.to_ascii_uppercase().as_str() {
            "EDT" => return hours(-4),
            "EST" | "CDT" => return hours(-5),
            "CST" | "MDT" => return hours(-6),
            "MST" | "PDT" => return hours(-7),
            "PST" => return hours(-8),
            _ => return Some(0),
        },
    };
    let value = number(digits, 4..=4)?;
    (value % 100 < 60).then_some(sign * (value / 100 * 3600 + value % 100 * 60))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dates_of_real_programs() {
        for (text, expected) in [
            ("Fri, 20 Nov 2026 23:40:52 +0000", "2026-11-20T23:40:52Z"),
            ("Fri, 20 Nov 2026 23:40:52 -0130 (CET (x))", "2026-11-21T01:10:52Z"),
            ("20 nov 2026 1:40 GMT", "2026-11-20T01:40:00Z"),
            ("Sat,1 January 99 00:00:00 EST", "1999-01-01T05:00:00Z"),
            ("1 Jan 20 00:00:00 Nowhere", "2020-01-01T00:00:00Z"),
            ("1 Jan 2020 00:00:00", "2020-01-01T00:00:00Z"),
            ("1 Jan 49 00:00 +0000", "2049-01-01T00:00:00Z"),
            ("1 Jan 50 00:00 +0000", "1950-01-01T00:00:00Z"),
            ("1 Jan 120 00:00 +0000", "2020-01-01T00:00:00Z"),
            ("1 Jan 1900 00:00 +0000", "1900-01-01T00:00:00Z"),
            ("31 Dec 9999 23:59:59 +0000", "9999-12-31T23:59:59Z"),
            ("1 Jan 2020 00:00 -0059", "2020-01-01T00:59:00Z"),
            ("2 Jan 2020 00:00 +1201", "2020-01-01T11:59:00Z"),
            ("1 Jan 2020 00:00 EDT", "2020-01-01T04:00:00Z"),
            ("1 Jan 2020 00:00 est", "2020-01-01T05:00:00Z"),
            ("1 Jan 2020 00:00 CDT", "2020-01-01T05:00:00Z"),
            ("1 Jan 2020 00:00 CST", "2020-01-01T06:00:00Z"),
            ("1 Jan 2020 00:00 MDT", "2020-01-01T06:00:00Z"),
            ("1 Jan 2020 00:00 MST", "2020-01-01T07:00:00Z"),
            ("1 Jan 2020 00:00 PDT", "2020-01-01T07:00:00Z"),
            ("1 Jan 2020 00:00 PST", "2020-01-01T08:00:00Z"),
        ] {
            assert_eq!(parse(text.as_bytes()).map(Timestamp::rfc3339).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "yesterday",
            "Fri,",
            "32 Jan 2020 00:00 +0000",
            "1 Foo 2020 00:00",
            "1 Jan 2020 25:00",
            "1 Jan 2020 00:00:00:00",
            "1 Jan 4000000000 00:00",
            "1 Jan 2020 00:00 +01",
            "1 Jan 2020 00:00 +0199",
            "1 Jan 2020 00:00 +0060",
            "1 Jan 2020 00:00 -00600",
            "001 Jan 2020 00:00",
            "1 Jan 2020 0:0",
            "1 Jan 2020 000:00",
            "1 Jan 2020 00:00:0",
            "1 Jan 1066 00:00",
            "1 Jan 1899 00:00",
            "1 Jan 1 00:00",
            "1 Jan 02020 00:00",
            "+1 Jan 2020 00:00",
            "1 J\u{e4} 2020 00:00",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn no_date_makes_more_steps_than_four_a_byte() {
        for unit in ["(", "()", ",", "1 ", "1 Jan ", ":"] {
            let value = format!("1 Jan 2020 00:00{}", unit.repeat(30_000));
            let (steps, _) = meter::work(|| parse(value.as_bytes()));
            assert_eq!(steps, 4 * value.len() as u64, "{unit:?}");
        }
    }

    proptest! {
        #[test]
        fn dates_round_trip(secs in 0_i64..253_402_300_800) {
            let moment = Timestamp::from_secs(secs);
            prop_assert_eq!(parse(moment.rfc5322().as_bytes()), Some(moment));
        }

        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = parse(&bytes);
        }
    }
}
