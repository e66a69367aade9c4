//! When a place other than a contact's own node is dialled next: a box, a friend who forwards, or the receiver of a
//! forwarded object.

use std::time::Duration;

use crate::base::limits;
use crate::base::rng::{Rng, within};
use crate::base::{ClockStep, SessionId, Timestamp};

use crate::engine::deliver::schedule::backoff;
use crate::engine::state::{AttemptError, Attempts};

/// How the attempts at one place go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct Retry {
    pub(in crate::engine) next: Timestamp,
    pub(in crate::engine) failed: u32,
    pub(in crate::engine) failing_since: Option<Timestamp>,
    pub(in crate::engine) session: Option<SessionId>,
    pub(in crate::engine) last_error: Option<AttemptError>,
}

impl Retry {
    pub(in crate::engine) const fn at(next: Timestamp) -> Self {
        Self { next, failed: 0, failing_since: None, session: None, last_error: None }
    }

    pub(in crate::engine) const fn due(&self, now: Timestamp) -> bool {
        self.session.is_none() && self.next.millis() <= now.millis()
    }

    pub(in crate::engine) fn failed(&mut self, error: AttemptError, now: Timestamp, rng: &mut dyn Rng) {
        self.session = None;
        self.last_error = Some(error);
        self.next = if error == AttemptError::Offline {
            within(now.plus(limits::RETRY_OFFLINE), limits::START_SPREAD, rng)
        } else {
            self.failed = self.failed.saturating_add(1);
            self.failing_since.get_or_insert(now);
            now.plus(backoff(self.failed, rng))
        };
    }

    pub(in crate::engine) fn clock_set(&mut self, by: ClockStep, now: Timestamp, rng: &mut dyn Rng) {
        self.next = match by {
            ClockStep::Forward(_) => self.next.min(within(now, limits::START_SPREAD, rng)),
            ClockStep::Back(span) => self.next.minus(span),
        };
    }

    /// The network is back after it was gone for this long: the place is dialled soon, and what failed meanwhile does
    /// not count.
    pub(in crate::engine) fn network_back(&mut self, gone: Duration, now: Timestamp, rng: &mut dyn Rng) {
        let went = now.minus(gone).minus(limits::OUTAGE_NOTICED);
        if self.failing_since.is_none_or(|since| since >= went) {
            (self.failed, self.failing_since) = (0, None);
        }
        self.next = self.next.min(within(now, limits::START_SPREAD, rng));
    }

    /// The attempts as readers see them.
    pub(in crate::engine) fn attempts(&self) -> Attempts {
        let next = self.session.is_none().then_some(self.next);
        Attempts { failed: self.failed, failing_since: self.failing_since, next, last_error: self.last_error }
    }
}
