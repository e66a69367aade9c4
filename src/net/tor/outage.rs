//! Whether the network answers, and when arti has to begin anew.
//!
//! arti says that it is ready once, and goes on saying it when its relays are gone. It then waits longer and longer
//! between its own tries (for its guards and for its introduction points), so that it stays cut off long after the
//! network is back. So we look ourselves: where nothing has come from any relay for a while, a round trip to our guard
//! is tried. Where two in a row fail, the network counts as gone; while it is, no dial and no publication is begun, and
//! arti is started anew at short intervals, because a new arti takes no guard for unreachable. It may connect to none for
//! half a minute by itself, so each start is followed by a round trip. After a sleep of the machine, or where its clock was
//! set, arti is started anew too.
//!
//! This file decides, on times that it is told; `keeper` acts.

use std::time::Duration;

use crate::base::Timestamp;

/// Nothing came from any relay for this long: a round trip is tried. Relays send padding every few seconds.
const SILENCE: Duration = Duration::from_secs(45);
/// The same where a dial or a service has just failed, and while arti is not ready.
const SILENCE_IN_DOUBT: Duration = Duration::from_secs(3);
/// Between two round trips that are tried.
const PROBE_PAUSE: Duration = Duration::from_secs(4);
/// The same while the network answers.
const PROBE_PAUSE_WELL: Duration = Duration::from_secs(15);
/// An arti that is younger than this when the network goes gets the usual patience: the network may only be slow.
const ANEW: Duration = Duration::from_secs(60);
/// From a start of arti to the first: its directory has to be read first.
const PROBE_AFTER_START: Duration = Duration::from_secs(2);
/// So many failures in a row, and the network counts as gone.
const FAILURES: u32 = 2;
/// Where the clocks of the machine disagree by more than this about the time since the last look, or where that time is
/// longer, the machine slept or its clock was set.
const LEAP: Duration = Duration::from_secs(30);
/// arti, which was ready, says for this long that it is not: its directory is of no use any more.
const UNREADY: Duration = Duration::from_secs(10);
/// Where something came from a relay within this time, a directory that is being loaded for one, arti gets
/// [`ALIVE_TIMES`] the patience.
const ALIVE: Duration = Duration::from_secs(5);
const ALIVE_TIMES: u32 = 5;
/// How long a start of arti without progress is waited for, at the very beginning.
const FIRST_PATIENCE: Duration = Duration::from_secs(60);
/// The same while the network is gone: for this long after it went, this is the patience.
const PATIENCES: [(Duration, Duration); 3] = [
    (Duration::from_secs(10 * 60), Duration::from_secs(15)),
    (Duration::from_secs(2 * 60 * 60), Duration::from_secs(25)),
    (Duration::MAX, Duration::from_secs(90)),
];

/// What one look sees.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// The time since some fixed moment, on a clock that nobody sets.
    pub(super) now: Duration,
    /// The time of day.
    pub(super) wall: Timestamp,
    /// For how long nothing has come from any relay.
    pub(super) silent: Duration,
    /// Whether arti says that it is ready.
    pub(super) ready: bool,
    /// How far arti says that it is.
    pub(super) percent: u8,
    /// A dial or a service has failed since the last look.
    pub(super) doubted: bool,
}

/// What is to be done after a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Wait,
    /// A round trip to a relay; its result is told by [`Outage::probed`].
    Probe,
    /// arti is to begin anew; that it did is told by [`Outage::restarted`].
    Restart,
}

/// How it is with the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// arti is not ready: it is on its way to the network, or its directory is of no use any more.
    Starting,
    /// The network answers.
    Works,
    /// It does not, since this time of day.
    Gone(Timestamp),
}

/// Decides from what it is told whether the network is there.
#[derive(Debug)]
pub(super) struct Outage {
    standing: Standing,
    /// When the standing became what it is.
    since: Duration,
    /// When arti began, or made progress last.
    progress: Duration,
    percent: u8,
    failures: u32,
    doubted: bool,
    probing: bool,
    next_probe: Duration,
    /// arti is to begin anew without waiting.
    anew: bool,
    /// When arti began.
    began: Duration,
    /// When arti last said that it is ready.
    ready: Duration,
    last: Option<(Duration, Timestamp)>,
}

impl Outage {
    pub(super) const fn new(now: Duration) -> Self {
        Self {
            standing: Standing::Starting,
            since: now,
            progress: now,
            percent: 0,
            failures: 0,
            doubted: false,
            probing: false,
            next_probe: now.saturating_add(PROBE_AFTER_START),
            anew: false,
            began: now,
            ready: now,
            last: None,
        }
    }

    pub(super) const fn standing(&self) -> Standing {
        self.standing
    }

    /// A look; the caller looks about once a second.
    pub(super) fn look(&mut self, seen: &Seen) -> Step {
        self.doubted |= seen.doubted;
        if seen.percent > self.percent {
            (self.percent, self.progress) = (seen.percent, seen.now);
        }
        if seen.ready {
            self.ready = seen.now;
        }
        let slept = self.leapt(seen);
        if slept && self.standing == Standing::Works {
            self.stand(Standing::Starting, seen.now);
            return Step::Restart;
        }
        match self.standing {
            Standing::Starting if seen.ready => {
                self.works(seen.now);
                Step::Wait
            }
            Standing::Starting => match self.probe_if(seen.silent >= SILENCE_IN_DOUBT, seen.now) {
                Step::Wait => self.restart_after(FIRST_PATIENCE, seen),
                step => step,
            },
            Standing::Works if seen.now.saturating_sub(self.ready) >= UNREADY => {
                (self.progress, self.percent) = (seen.now, seen.percent);
                self.stand(Standing::Starting, seen.now);
                Step::Wait
            }
            Standing::Works => {
                let silence = if self.doubted { SILENCE_IN_DOUBT } else { SILENCE };
                self.probe_if(seen.silent >= silence, seen.now)
            }
            // After a sleep, the time of waiting begins anew; before it, the network may have been there.
            Standing::Gone(_) if slept || self.anew => Step::Restart,
            Standing::Gone(_) => match self.probe_if(true, seen.now) {
                Step::Wait => self.restart_after(self.patience(seen.now), seen),
                step => step,
            },
        }
    }

    /// A round trip to a relay came to this.
    pub(super) fn probed(&mut self, answered: bool, seen: &Seen) {
        self.probing = false;
        if answered {
            if matches!(self.standing, Standing::Gone(_)) {
                if seen.ready {
                    self.works(seen.now);
                } else {
                    // A relay answers, and arti goes on from there.
                    self.progress = seen.now;
                    self.stand(Standing::Starting, seen.now);
                }
            }
            (self.failures, self.doubted) = (0, false);
            self.next_probe = seen.now + PROBE_PAUSE_WELL;
            return;
        }
        self.next_probe = seen.now + PROBE_PAUSE;
        if !matches!(self.standing, Standing::Works | Standing::Gone(_)) {
            return;
        }
        self.failures = self.failures.saturating_add(1);
        if self.standing == Standing::Works && self.failures >= FAILURES {
            // The old arti has taken its guards for unreachable, and the network may be back already.
            self.anew = seen.now.saturating_sub(self.began) >= ANEW;
            (self.progress, self.percent) = (seen.now, u8::MAX);
            self.stand(Standing::Gone(seen.wall.minus(seen.silent)), seen.now);
        }
    }

    /// arti has begun anew. A round trip that was under way has ended with the old one.
    pub(super) fn restarted(&mut self, now: Duration) {
        // However long that took, the machine did not sleep.
        (self.last, self.anew, self.began) = (None, false, now);
        (self.progress, self.percent) = (now, 0);
        (self.probing, self.failures, self.next_probe) = (false, 0, now + PROBE_AFTER_START);
    }

    fn works(&mut self, now: Duration) {
        (self.failures, self.doubted) = (0, false);
        self.next_probe = now + PROBE_PAUSE_WELL;
        self.stand(Standing::Works, now);
    }

    const fn stand(&mut self, standing: Standing, now: Duration) {
        (self.standing, self.since) = (standing, now);
    }

    /// Whether the machine slept, or its clock was set, since the last look.
    fn leapt(&mut self, seen: &Seen) -> bool {
        let Some((now, wall)) = self.last.replace((seen.now, seen.wall)) else { return false };
        let passed = seen.now.saturating_sub(now);
        let (forward, back) = (seen.wall.since(wall), wall.since(seen.wall));
        passed > LEAP || back > LEAP || forward.abs_diff(passed) > LEAP
    }

    fn probe_if(&mut self, wanted: bool, now: Duration) -> Step {
        if !wanted || self.probing || now < self.next_probe {
            return Step::Wait;
        }
        self.probing = true;
        Step::Probe
    }

    fn restart_after(&self, patience: Duration, seen: &Seen) -> Step {
        let patience = if seen.silent < ALIVE { patience * ALIVE_TIMES } else { patience };
        if seen.now.saturating_sub(self.progress) >= patience { Step::Restart } else { Step::Wait }
    }

    /// How long a start of arti without progress is waited for while the network is gone.
    fn patience(&self, now: Duration) -> Duration {
        let gone = now.saturating_sub(self.since);
        PATIENCES.iter().find(|(until, _)| gone < *until).map_or(FIRST_PATIENCE, |(_, patience)| *patience)
    }
}

#[cfg(test)]
mod tests;
