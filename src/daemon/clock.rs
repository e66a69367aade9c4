//! The clock, and noticing that it was set.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::base::{ClockStep, Timestamp, limits};

/// What the clock shows.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Notices that the clock was set: what it showed last, and when that was.
pub(super) struct Clock {
    shown: Timestamp,
    at: tokio::time::Instant,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { shown: now(), at: tokio::time::Instant::now() }
    }

    /// By how much the clock was set since this was last asked, where that is worth telling.
    pub(super) fn step(&mut self) -> Option<ClockStep> {
        let expected = self.shown.plus(self.at.elapsed());
        *self = Self::new();
        let (forward, back) = (self.shown.since(expected), expected.since(self.shown));
        let step = if forward > back { ClockStep::Forward(forward) } else { ClockStep::Back(back) };
        (forward.max(back) >= limits::CLOCK_STEP).then_some(step)
    }
}
