//! The clock, and noticing that it was set.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::base::{ClockStep, Timestamp, limits};

/// The time that the system's clock shows.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Notices that the clock was set. It remembers the time that the clock showed last, and when that was.
pub(in crate::daemon) struct Clock {
    shown: Timestamp,
    at: tokio::time::Instant,
}

impl Clock {
    pub(in crate::daemon) fn new() -> Self {
        Self { shown: now(), at: tokio::time::Instant::now() }
    }

    /// By how much the clock was set since the last call; `None` where that was less than [`limits::CLOCK_STEP`].
    pub(in crate::daemon) fn step(&mut self) -> Option<ClockStep> {
        let expected = self.shown.plus(self.at.elapsed());
        *self = Self::new();
        step(expected, self.shown)
    }
}

/// How a clock was set that should show `expected` and shows `shown`; `None` where they differ
/// by less than [`limits::CLOCK_STEP`].
fn step(expected: Timestamp, shown: Timestamp) -> Option<ClockStep> {
    let (forward, back) = (shown.since(expected), expected.since(shown));
    let steps = [(forward, ClockStep::Forward(forward)), (back, ClockStep::Back(back))];
    steps.into_iter().find_map(|(by, step)| (by >= limits::CLOCK_STEP).then_some(step))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clock_that_is_off_by_a_minute_was_set_and_one_that_is_off_by_less_was_not() {
        let (at, least) = (Timestamp::from_secs(1_800_000_000), limits::CLOCK_STEP);
        assert_eq!(step(at, at.plus(least)), Some(ClockStep::Forward(least)));
        assert_eq!(step(at, at.minus(least)), Some(ClockStep::Back(least)));
        let less = least - Duration::from_millis(1);
        for shown in [at, at.plus(less), at.minus(less)] {
            assert_eq!(step(at, shown), None);
        }
    }

    #[test]
    fn a_step_is_told_once() {
        let hour = Duration::from_secs(3600);
        let mut clock = Clock { shown: now().plus(hour), at: tokio::time::Instant::now() };
        assert!(matches!(clock.step(), Some(ClockStep::Back(by)) if by > hour / 2 && by <= hour));
        assert_eq!(clock.step(), None);
    }
}
