//! How far arti is, as a status with a sentence for its user.
//!
//! arti reports by itself when it believes to be stuck. It does not notice everything (for example a relay that accepts
//! and stays silent), so a bootstrap without progress for a while counts as blocked too.

use std::time::Duration;

use arti_client::status::{BlockageKind, BootstrapEvents, BootstrapStatus};
use futures::StreamExt;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::net::{TransportState, TransportStatus};

/// The time between two looks at a part of the status that changes only with time, before and after arti is ready.
const LOOK: Duration = Duration::from_secs(1);
const LOOK_READY: Duration = Duration::from_secs(30);

/// The advice where Tor is blocked: for a build of arti that can use bridges, and for one that cannot.
const BRIDGES: &str = "if Tor is blocked where you are, configure bridges in the [tor] part of the configuration";
const NO_BRIDGES: &str = "if Tor is blocked where you are, another network may help; this build cannot use bridges";

/// Publishes the status until the transport stops.
pub(super) async fn report(
    mut events: BootstrapEvents,
    status: watch::Sender<TransportStatus>,
    mut progress: Progress,
    stopped: CancellationToken,
) {
    let mut latest = None;
    loop {
        let ready = status.borrow().state == TransportState::Ready;
        tokio::select! {
            () = stopped.cancelled() => break,
            event = events.next() => match event {
                Some(event) => latest = Some(event),
                None => break,
            },
            () = sleep(if ready { LOOK_READY } else { LOOK }) => {}
        }
        if let Some(latest) = &latest {
            let now = progress.judge(Instant::now(), &Seen::of(latest));
            status.send_if_modified(|old| {
                let changed = *old != now;
                *old = now;
                changed
            });
        }
    }
    status.send_replace(TransportStatus::stopped());
}

/// The obstacle, in our own terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Obstacle {
    Offline,
    Filtered,
    Unreachable,
    Clock,
    Directory,
}

/// The state of arti at one moment.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    ready: bool,
    percent: u8,
    obstacle: Option<(Obstacle, String)>,
    /// By how much relays disagree with our clock, if by much: "slow by around 3days".
    skew: Option<String>,
}

impl Seen {
    fn of(status: &BootstrapStatus) -> Self {
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
        let skew = text.rsplit_once("Clock is ").map(|(_, skew)| skew.to_owned());
        let percent = (status.as_frac() * 100.0).clamp(0.0, 99.0) as u8;
        Self { ready: status.ready_for_traffic(), percent, obstacle, skew }
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

    fn judge(&mut self, now: Instant, seen: &Seen) -> TransportStatus {
        if seen.ready {
            (self.percent, self.since) = (seen.percent, now);
            return TransportStatus::ready();
        }
        // A lower percentage is no progress, but rising from there is.
        if seen.percent != self.percent {
            if seen.percent > self.percent {
                self.since = now;
            }
            self.percent = seen.percent;
        }
        let stalled = now.saturating_duration_since(self.since) >= self.blocked_after;
        let reason = match (&seen.skew, &seen.obstacle) {
            (Some(skew), _) => Some(clock_reason(skew)),
            (None, Some((Obstacle::Clock, message))) => Some(clock_reason(message)),
            (None, Some((obstacle, message))) => Some(self.reason(*obstacle, message)),
            (None, None) if stalled => Some(format!(
                "Tor cannot reach its network: no progress for {} seconds; check the network connection; {}",
                self.blocked_after.as_secs(),
                self.advice
            )),
            (None, None) => None,
        };
        let state = if reason.is_some() { TransportState::Blocked } else { TransportState::Bootstrapping };
        TransportStatus { state, percent: seen.percent, blocked_reason: reason }
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
                format!("Tor cannot load the list of its relays: {message}; it goes on trying; {advice}")
            }
            Obstacle::Clock => clock_reason(message),
        }
    }
}

fn clock_reason(detail: &str) -> String {
    format!("Tor does not accept this machine's clock ({detail}); set the right date, time and time zone")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(percent: u8) -> Seen {
        Seen { ready: false, percent, obstacle: None, skew: None }
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
        assert!(blocked.blocked_reason.unwrap().contains("bridges"));
        // Alternating between two values still counts as a stall.
        assert_eq!(progress.judge(start + limit * 3 / 2, &seen(10)).state, TransportState::Blocked);
        assert_eq!(progress.judge(start + limit * 2, &seen(40)).state, TransportState::Bootstrapping);
        let ready = Seen { ready: true, ..seen(99) };
        assert_eq!(progress.judge(start + limit * 9, &ready), TransportStatus::ready());
        // When arti goes offline later, the time counts from then.
        assert_eq!(progress.judge(start + limit * 9, &seen(85)).state, TransportState::Bootstrapping);
        assert_eq!(progress.judge(start + limit * 11, &seen(85)).state, TransportState::Blocked);
    }

    #[test]
    fn a_wrong_clock_is_said_before_anything_else() {
        let mut progress = Progress::new(Instant::now(), Duration::from_secs(10), true);
        let skewed = Seen {
            obstacle: Some((Obstacle::Directory, "no consensus".to_owned())),
            skew: Some("slow by around 3days".to_owned()),
            ..seen(15)
        };
        let reason = progress.judge(Instant::now(), &skewed).blocked_reason.unwrap();
        assert!(reason.contains("clock (slow by around 3days)") && !reason.contains("bridges"), "{reason}");
    }

    #[test]
    fn each_obstacle_has_its_sentence() {
        let mut progress = Progress::new(Instant::now(), Duration::from_secs(10), true);
        for obstacle in [Obstacle::Offline, Obstacle::Filtered, Obstacle::Unreachable, Obstacle::Directory] {
            let status =
                progress.judge(Instant::now(), &Seen { obstacle: Some((obstacle, "why".to_owned())), ..seen(0) });
            assert_eq!(status.state, TransportState::Blocked);
            let reason = status.blocked_reason.unwrap();
            assert!(reason.starts_with("Tor cannot ") && reason.contains("why") && reason.contains("[tor]"));
        }
    }

    #[test]
    fn bridges_are_advised_only_where_they_work() {
        let mut progress = Progress::new(Instant::now(), Duration::ZERO, false);
        let reason = progress.judge(Instant::now(), &seen(0)).blocked_reason.unwrap();
        assert!(!reason.contains("configure bridges"), "{reason}");
    }
}
