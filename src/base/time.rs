//! Wall-clock time as a value: UTC, milliseconds since 1970.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// A moment, in milliseconds since 1970-01-01T00:00:00Z. Never read from a clock by the pure layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Timestamp(i64);

const DAY_MS: i64 = 86_400_000;
/// The form in which we write RFC 3339, with digits in the places of the zeros.
const SHAPE: &[u8; 20] = b"0000-00-00T00:00:00Z";

impl Timestamp {
    /// The moment this many milliseconds after 1970.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// The moment this many seconds after 1970.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Milliseconds since 1970.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970, rounded down.
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The start (00:00 UTC) of this moment's day.
    pub const fn floor_to_day(self) -> Self {
        Self(self.0 - self.0.rem_euclid(DAY_MS))
    }

    /// This moment and the duration, saturating.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This moment less the duration, saturating.
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The time that a clock shows for this moment after it was set.
    pub fn stepped(self, step: ClockStep) -> Self {
        match step {
            ClockStep::Forward(by) => self.plus(by),
            ClockStep::Back(by) => self.minus(by),
        }
    }

    /// How long after `earlier` this is; zero where it is before.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The calendar date and time in UTC.
    pub const fn civil(self) -> Civil {
        let days = self.0.div_euclid(DAY_MS);
        let ms = self.0.rem_euclid(DAY_MS);
        let secs = ms / 1000;
        // The civil-from-days algorithm: eras of 400 years that begin on the first of March.
        let z = days + 719_468;
        let era = z.div_euclid(146_097);
        let day_of_era = z.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        Civil {
            year: year_of_era + era * 400 + if month <= 2 { 1 } else { 0 },
            month: month as u8,
            day: (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u8,
            hour: (secs / 3600) as u8,
            minute: (secs / 60 % 60) as u8,
            second: (secs % 60) as u8,
            weekday: (days + 4).rem_euclid(7) as u8,
        }
    }

    /// The moment of a date and time in UTC; `None` where a part is out of its range.
    pub fn from_civil(year: i64, month: u8, day: u8, hour: u8, minute: u8, second: u8) -> Option<Self> {
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        if !(-100_000..=100_000).contains(&year) {
            return None;
        }
        let (month, day) = (i64::from(month), i64::from(day));
        let y = if month <= 2 { year - 1 } else { year };
        let era = y.div_euclid(400);
        let year_of_era = y.rem_euclid(400);
        let shifted_month = if month > 2 { month - 3 } else { month + 9 };
        let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era * 146_097 + day_of_era - 719_468;
        let secs = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
        Some(Self::from_secs(days * 86_400 + secs))
    }

    /// RFC 3339, UTC, whole seconds: `2026-11-20T23:40:52Z`.
    pub fn rfc3339(self) -> String {
        let c = self.civil();
        format!("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", c.year, c.month, c.day, c.hour, c.minute, c.second)
    }

    /// Reads the form that [`Self::rfc3339`] writes, and no other: every digit must be one, and the month must have the
    /// day.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let is_shaped = bytes.len() == SHAPE.len()
            && bytes.iter().zip(SHAPE).all(|(byte, shape)| match shape {
                b'0' => byte.is_ascii_digit(),
                _ => byte == shape,
            });
        let number = |from: usize, to: usize| text.get(from..to).filter(|_| is_shaped)?.parse::<u8>().ok();
        let year = text.get(..4).filter(|_| is_shaped)?.parse().ok()?;
        let (month, day) = (number(5, 7)?, number(8, 10)?);
        let parsed = Self::from_civil(year, month, day, number(11, 13)?, number(14, 16)?, number(17, 19)?)?;
        // Otherwise a day that the month does not have would become one of the next month.
        let midnight = Self::from_civil(year, month, day, 0, 0, 0)?.civil();
        ((midnight.month, midnight.day) == (month, day)).then_some(parsed)
    }

    /// The `Date` of a message (RFC 5322 §3.3) in UTC: `Fri, 20 Nov 2026 23:40:52 +0000`.
    pub fn rfc5322(self) -> String {
        let c = self.civil();
        format!(
            "{}, {} {} {:04} {:02}:{:02}:{:02} +0000",
            c.weekday_name(),
            c.day,
            c.month_name(),
            c.year,
            c.hour,
            c.minute,
            c.second
        )
    }
}

/// By how much a clock was set, against the time that went by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockStep {
    /// The clock shows a later time than expected. After a sleep of the machine it does that, too.
    Forward(Duration),
    /// The clock shows an earlier time than expected.
    Back(Duration),
}

/// A calendar date and time in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    /// The year of the common era.
    pub year: i64,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
    /// 0 for Sunday to 6 for Saturday.
    pub weekday: u8,
}

impl Civil {
    /// `Jan` to `Dec`.
    pub fn month_name(&self) -> &'static str {
        const NAMES: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        NAMES.get(usize::from(self.month.wrapping_sub(1))).copied().unwrap_or("Jan")
    }

    /// `Sun` to `Sat`.
    pub fn weekday_name(&self) -> &'static str {
        const NAMES: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
        NAMES.get(usize::from(self.weekday)).copied().unwrap_or("Sun")
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calendar_round_trips() {
        let moment = Timestamp::from_secs(1_795_218_052);
        assert_eq!(Timestamp::parse_rfc3339(&moment.rfc3339()), Some(moment));
        assert_eq!(Timestamp::from_secs(0).rfc5322(), "Thu, 1 Jan 1970 00:00:00 +0000");
        assert_eq!(Timestamp::from_secs(951_782_400).rfc3339(), "2000-02-29T00:00:00Z");
        assert_eq!(Timestamp::from_secs(-1).rfc3339(), "1969-12-31T23:59:59Z");
        assert_eq!(Timestamp::parse_rfc3339("2026-13-01T00:00:00Z"), None);
    }

    #[test]
    fn only_a_date_as_it_is_written_is_a_date() {
        for text in [
            "+2026-12-04T00:00:00Z",
            "2026-12-04T00:00:00",
            "2026-12-04t00:00:00z",
            "2026-12-4T00:00:00Z",
            "2026-12-04T00:00:+0Z",
            "2026-12-04T0:00:00Z",
            "02026-12-04T00:00:00Z",
            "-026-12-04T00:00:00Z",
            "2026-+1-04T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-11-31T00:00:00Z",
            "2026-12-04T24:00:00Z",
            "2026-12-04T00:00:00ZZ",
            "2026-12-04T00:00:00.0Z",
            "２026-12-04T00:00:00",
            "",
        ] {
            assert_eq!(Timestamp::parse_rfc3339(text), None, "{text}");
        }
        assert!(Timestamp::parse_rfc3339("2028-02-29T23:59:59Z").is_some());
    }
}
