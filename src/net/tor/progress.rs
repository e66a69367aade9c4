//! How far arti is, as a status with a sentence for its user.
//!
//! arti reports by itself when it believes to be stuck. It does not notice everything (for example a relay that accepts
//! and stays silent), so a bootstrap without progress for a while counts as blocked too. A sentence holds no time that
//! goes on: whoever shows it shows the clock beside it, and says it once.

use std::time::Duration;

use arti_client::status::{BlockageKind, BootstrapStatus};
use tokio::time::Instant;

use crate::base::Timestamp;
use crate::net::{TransportState, TransportStatus};

/// The advice where Tor is blocked: for a build of arti that can use bridges, and for one that cannot.
const BRIDGES: &str =
    "if Tor is blocked where you are, get a bridge and give it to runepeer bridge add, then start again";
const NO_BRIDGES: &str = "if Tor is blocked where you are, another network may help; this build cannot use bridges";

/// The obstacle, in our own terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Obstacle {
    Offline,
    Filtered,
    Unreachable,
    Clock,
    Directory,
}

/// The state of arti at one moment; the default is that of an arti that has just begun.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Found {
    pub(super) ready: bool,
    pub(super) percent: u8,
    obstacle: Option<(Obstacle, String)>,
    /// By how much relays disagree with our clock, if by much: "slow by around 3days".
    skew: Option<String>,
}

impl Found {
    pub(super) fn of(status: &BootstrapStatus) -> Self {
        let obstacle = status.blocked().and_then(|blockage| {
            let obstacle = match blockage.kind() {
                BlockageKind::Disabled => return None,
                BlockageKind::Offline => Obstacle::Offline,
                BlockageKind::Filtering => Obstacle::Filtered,
                BlockageKind::ClockSkewed => Obstacle::Clock,
                BlockageKind::CantBootstrap => Obstacle::Directory,
                _ => Obstacle::Unreachable,
            };
            Some((obstacle, blockage.message().to_string()))
        });
        // arti tells the skew only in words, at the end of its status text.
        let text = status.to_string();
        let skew = text.rsplit_once("Clock is ").map(|(_, skew)| rounded(skew));
        let percent = (status.as_frac() * 100.0).clamp(0.0, 99.0) as u8;
        Self { ready: status.ready_for_traffic(), percent, obstacle, skew }
    }

    /// What arti says of a clock with which it does not go on.
    fn refused_clock(&self) -> Option<&str> {
        let obstacle = self.obstacle.as_ref().filter(|(obstacle, _)| *obstacle == Obstacle::Clock);
        self.skew.as_deref().or_else(|| obstacle.map(|(_, message)| message.as_str()))
    }
}

/// Remembers since when there was no progress.
pub(super) struct Progress {
    percent: u8,
    since: Instant,
    blocked_after: Duration,
    /// The advice where Tor is blocked.
    advice: &'static str,
}

impl Progress {
    /// The beginning, without any progress. Bridges are advised only where they work.
    pub(super) const fn new(now: Instant, blocked_after: Duration, bridges_work: bool) -> Self {
        Self { percent: 0, since: now, blocked_after, advice: if bridges_work { BRIDGES } else { NO_BRIDGES } }
    }

    /// The status while arti is on its way to the network.
    pub(super) fn judge(&mut self, now: Instant, seen: &Found) -> TransportStatus {
        if seen.ready {
            return self.works(now, seen);
        }
        // A lower percentage is no progress, and rising from there to where it was is none: arti may have begun anew.
        if seen.percent > self.percent {
            (self.percent, self.since) = (seen.percent, now);
        }
        let stalled = now.saturating_duration_since(self.since) >= self.blocked_after;
        let clock_problem = seen.refused_clock().map(clock_reason);
        let reason = match (&clock_problem, &seen.obstacle) {
            (Some(problem), _) => Some(problem.clone()),
            (None, Some((obstacle, message))) => Some(self.reason(*obstacle, message)),
            (None, None) if stalled => Some(format!(
                "Tor cannot reach its network: no progress for {} seconds; check the network connection, and this \
                 machine's clock; {}",
                self.blocked_after.as_secs(),
                self.advice
            )),
            (None, None) => None,
        };
        let state = if reason.is_some() { TransportState::Blocked } else { TransportState::Bootstrapping };
        TransportStatus { state, percent: seen.percent, blocked_reason: reason, gone_since: None, clock_problem }
    }

    /// The status while the network answers: a later lack of progress is measured from here. Where arti has heard enough
    /// relays (eight within an hour) to know that the clock is wrong, that is said although Tor works, because others may
    /// not find an onion whose node has another time.
    pub(super) fn works(&mut self, now: Instant, found: &Found) -> TransportStatus {
        (self.percent, self.since) = (0, now);
        let clock_problem = found.skew.as_ref().map(|skew| {
            format!(
                "by what Tor's relays say, this machine's clock is {skew}: others may not reach you, and mail may be \
                 refused or expire at the wrong time, until the right date, time and time zone are set"
            )
        });
        TransportStatus { clock_problem, ..TransportStatus::ready() }
    }

    /// The status while the network is gone, since a time of day; with the reason that arti knows, if it knows one.
    pub(super) fn gone(&self, since: Timestamp, found: &Found) -> TransportStatus {
        let clock_problem = found.refused_clock().map(clock_reason);
        let reason = clock_problem.clone().unwrap_or_else(|| {
            format!(
                "Tor's network has not answered since {}; check the network connection. Mail waits here, and goes out \
                 by itself once the network is back; {}",
                since.rfc3339(),
                self.advice
            )
        });
        TransportStatus {
            state: TransportState::Blocked,
            percent: 0,
            blocked_reason: Some(reason),
            gone_since: Some(since),
            clock_problem,
        }
    }

    fn reason(&self, obstacle: Obstacle, message: &str) -> String {
        let advice = self.advice;
        match obstacle {
            Obstacle::Offline => {
                format!("Tor cannot reach its network: {message}; check the network connection; {advice}")
            }
            Obstacle::Filtered | Obstacle::Unreachable => {
                format!("Tor cannot reach its network: {message}; {advice}")
            }
            Obstacle::Directory => {
                format!(
                    "Tor cannot load the list of its relays: {message}; it goes on trying. A wrong clock can be the \
                     cause; {advice}"
                )
            }
            Obstacle::Clock => clock_reason(message),
        }
    }
}

/// arti's words of a skew without what changes with each relay that is heard: how many there were, and seconds beside
/// hours or minutes.
fn rounded(skew: &str) -> String {
    let skew = skew.split(" (based on").next().unwrap_or_default();
    let is = |word: &str, unit| word.strip_suffix(unit).is_some_and(|number| number.parse::<u32>().is_ok());
    let is_long = skew.split(' ').any(|word| is(word, "h") || is(word, "m"));
    skew.split(' ').filter(|word| !(is_long && is(word, "s"))).collect::<Vec<_>>().join(" ")
}

fn clock_reason(detail: &str) -> String {
    format!("Tor does not accept this machine's clock ({detail}); set the right date, time and time zone")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2027-01-15T08:00:00Z.
    const CLOCK: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn seen(percent: u8) -> Found {
        Found { ready: false, percent, obstacle: None, skew: None }
    }

    #[test]
    fn a_stall_is_a_blockage_and_progress_ends_it() {
        let start = Instant::now();
        let limit = Duration::from_secs(10);
        let mut progress = Progress::new(start, limit, true);
        assert_eq!(progress.judge(start, &seen(5)).state, TransportState::Bootstrapping);
        assert_eq!(progress.judge(start + limit / 2, &seen(15)).state, TransportState::Bootstrapping);
        assert_eq!(progress.judge(start + limit, &seen(15)).state, TransportState::Bootstrapping);
        let blocked = progress.judge(start + limit * 3 / 2, &seen(15));
        assert_eq!((blocked.state, blocked.percent), (TransportState::Blocked, 15));
        assert!(blocked.blocked_reason.unwrap().contains("bridge add"));
        // Alternating between two values still counts as a stall.
        assert_eq!(progress.judge(start + limit * 3 / 2, &seen(10)).state, TransportState::Blocked);
        assert_eq!(progress.judge(start + limit * 2, &seen(40)).state, TransportState::Bootstrapping);
        let ready = Found { ready: true, ..seen(99) };
        assert_eq!(progress.judge(start + limit * 9, &ready), TransportStatus::ready());
        let slow = Found { skew: Some("slow by around 3h".to_owned()), ..ready };
        let status = progress.judge(start + limit * 9, &slow);
        assert_eq!((status.state, status.blocked_reason), (TransportState::Ready, None));
        assert!(status.clock_problem.unwrap().contains("clock is slow by around 3h"));
        // When arti goes offline later, the time counts from then.
        assert_eq!(progress.judge(start + limit * 9, &seen(85)).state, TransportState::Bootstrapping);
        assert_eq!(progress.judge(start + limit * 11, &seen(85)).state, TransportState::Blocked);
    }

    #[test]
    fn a_wrong_clock_is_said_before_anything_else() {
        let mut progress = Progress::new(Instant::now(), Duration::from_secs(10), true);
        let skewed = Found {
            obstacle: Some((Obstacle::Directory, "no consensus".to_owned())),
            skew: Some("slow by around 3days".to_owned()),
            ..seen(15)
        };
        let status = progress.judge(Instant::now(), &skewed);
        assert_eq!(status.blocked_reason, status.clock_problem);
        let reason = status.blocked_reason.unwrap();
        assert!(reason.contains("clock (slow by around 3days)") && !reason.contains("bridges"), "{reason}");
    }

    #[test]
    fn a_skew_is_said_without_what_changes_with_each_relay() {
        for (said, rounded_to) in [
            ("slow by around 3h 0m 12s (based on 9 recent observations, with some confidence)", "slow by around 3h 0m"),
            ("fast by around 40s", "fast by around 40s"),
            ("slow by around 3days", "slow by around 3days"),
        ] {
            assert_eq!(rounded(said), rounded_to);
        }
    }

    #[test]
    fn each_obstacle_has_its_sentence() {
        let mut progress = Progress::new(Instant::now(), Duration::from_secs(10), true);
        for obstacle in [Obstacle::Offline, Obstacle::Filtered, Obstacle::Unreachable, Obstacle::Directory] {
            let status =
                progress.judge(Instant::now(), &Found { obstacle: Some((obstacle, "why".to_owned())), ..seen(0) });
            assert_eq!(status.state, TransportState::Blocked);
            let reason = status.blocked_reason.unwrap();
            assert!(
                reason.starts_with("Tor cannot ") && reason.contains("why") && reason.contains("runepeer bridge add")
            );
        }
    }

    #[test]
    fn a_network_that_is_gone_is_said_with_its_time_and_a_wrong_clock_comes_first() {
        let progress = Progress::new(Instant::now(), Duration::ZERO, true);
        let since = CLOCK.minus(Duration::from_secs(3600));
        let gone = progress.gone(since, &seen(80));
        assert_eq!((gone.state, gone.percent, gone.gone_since), (TransportState::Blocked, 0, Some(since)));
        let reason = gone.blocked_reason.unwrap();
        assert!(reason.contains("not answered since 2027-01-15T07:00:00Z"), "{reason}");
        let skewed = Found { skew: Some("fast by 3h".to_owned()), ..seen(80) };
        let reason = progress.gone(since, &skewed).blocked_reason.unwrap();
        assert!(reason.contains("clock (fast by 3h)"), "{reason}");
    }

    #[test]
    fn bridges_are_advised_only_where_they_work() {
        let mut progress = Progress::new(Instant::now(), Duration::ZERO, false);
        let reason = progress.judge(Instant::now(), &seen(0)).blocked_reason.unwrap();
        assert!(!reason.contains("bridge add"), "{reason}");
    }
}
