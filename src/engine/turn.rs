//! When a place is dialled next, apart from the contacts themselves: a drop, a friend who carries, somebody to whom we carry.

use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::{ClockStep, SessionId, Timestamp};

use super::schedule::{backoff, within};
use super::state::{AttemptError, Attempts};

/// How it goes with one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) next: Timestamp,
    pub(super) failed: u32,
    pub(super) session: Option<SessionId>,
    pub(super) last_error: Option<AttemptError>,
}

impl Turn {
    pub(super) const fn at(next: Timestamp) -> Self {
        Self { next, failed: 0, session: None, last_error: None }
    }

    pub(super) const fn due(&self, now: Timestamp) -> bool {
        self.session.is_none() && self.next.millis() <= now.millis()
    }

    pub(super) fn failed(&mut self, error: AttemptError, now: Timestamp, rng: &mut dyn Rng) {
        self.session = None;
        self.last_error = Some(error);
        self.next = if error == AttemptError::Offline {
            within(now.plus(limits::RETRY_OFFLINE), limits::START_SPREAD, rng)
        } else {
            self.failed = self.failed.saturating_add(1);
            now.plus(backoff(self.failed, rng))
        };
    }

    pub(super) fn clock_set(&mut self, by: ClockStep, now: Timestamp, rng: &mut dyn Rng) {
        self.next = match by {
            ClockStep::Forward(_) => self.next.min(within(now, limits::START_SPREAD, rng)),
            ClockStep::Back(span) => self.next.minus(span),
        };
    }

    /// What readers see of it.
    pub(super) fn attempts(&self) -> Attempts {
        let next = self.session.is_none().then_some(self.next);
        Attempts { failed: self.failed, next, last_error: self.last_error }
    }
}
