//! While the network comes up: what `up` shows, and what it waits for.

use std::time::{Duration, Instant};

use crate::cli::Context;
use crate::cli::progress::Bar;
use crate::control::reply::{Carrier, CarrierStatus, Listen, Status};
use crate::control::{Command, Failure};
use crate::daemon::Node;

/// After so long a time without an end the user is told what the publishing of an address waits for.
const LONG: Duration = Duration::from_secs(5);

/// What is known of a start before it waits.
#[derive(Clone, Copy)]
pub(super) struct Waiting {
    /// Whether it makes the first identity.
    pub(super) is_new: bool,
    /// Whether the node was restored from a backup, and was not online since.
    pub(super) is_restored: bool,
}

impl Waiting {
    /// What the publishing of the address waits for.
    const fn for_what(self) -> &'static str {
        match self {
            Self { is_restored: true, .. } => {
                "This node was restored. It looks whether the original answers anywhere, and publishes its address if it\n\
                 does not. That takes a minute or so."
            }
            Self { is_new: true, .. } => {
                "Tor is up. Now Tor's directory has to learn the new address, so that others can find it. That takes up\n\
                 to a minute or so at the first start."
            }
            Self { .. } => {
                "Tor is up. Now Tor's directory has to learn where the address is, so that others can find it. That takes\n\
                 up to a minute or so."
            }
        }
    }

    /// What can be done while the network comes up, at the first start.
    fn meanwhile(self) -> Option<&'static str> {
        self.is_new.then_some(
            "Meanwhile, in another terminal: runepeer mail setup neomutt (or mutt, thunderbird, or show for any other)",
        )
    }
}

/// How long the publishing of an address takes.
#[derive(Default)]
struct Publishing {
    since: Option<Instant>,
    is_told: bool,
}

impl Publishing {
    /// Whether the user should be told now what it waits for: once, and only where it takes long.
    fn is_worth_words(&mut self, percent: u64, now: Instant) -> bool {
        if percent < 100 {
            self.since = None;
            return false;
        }
        let since = *self.since.get_or_insert(now);
        let is_news = !self.is_told && now.duration_since(since) >= LONG;
        self.is_told |= is_news;
        is_news
    }
}

/// Shows how the network comes up, and returns when everything that is to be published is.
pub(super) async fn wait_until_reachable(context: &Context, node: &Node, waiting: Waiting) -> Result<(), Failure> {
    let bar = Bar::new(context, "Connecting to Tor");
    // Another thread writes them, and the bar waits for it.
    let tell = |words| {
        bar.suspend(|| {
            context.output.say(words);
            context.output.flush();
        });
    };
    let mut meanwhile = waiting.meanwhile();
    let mut told = String::new();
    let mut publishing = Publishing::default();
    loop {
        let status: Status = node.ask(Command::Status).await?;
        let identities = status.identities.iter();
        let identities = identities.map(|identity| identity.reachable || identity.listen == Listen::Never);
        let mut published = identities.chain(carrying(&status).map(|carrier| carrier.reachable)).peekable();
        if published.peek().is_some() && published.all(|reached| reached) {
            bar.clear();
            return Ok(());
        }
        let percent = u64::from(status.tor.percent);
        bar.set(percent, 100);
        bar.say(coming_up(percent));
        if publishing.is_worth_words(percent, Instant::now()) {
            tell(waiting.for_what());
        }
        let reason = status.tor.blocked_reason.as_deref().unwrap_or_default();
        if is_news(reason, &told) {
            reason.clone_into(&mut told);
            bar.suspend(|| {
                context.output.warn(format!("{reason} (this machine's clock says {})", status.clock));
                context.output.flush();
            });
        }
        if let Some(words) = meanwhile.take() {
            tell(words);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The carrier of this node, if it is switched on.
pub(super) fn carrying(status: &Status) -> Option<&Carrier> {
    match &status.carrier {
        Some(CarrierStatus::Open(carrier)) => Some(carrier).filter(|carrier| carrier.enabled),
        _ => None,
    }
}

/// Whether the user should be told this reason for which Tor is blocked: it is not empty, and not the one that was told
/// last.
fn is_news(reason: &str, told: &str) -> bool {
    !reason.is_empty() && reason != told
}

/// The step for which `up` waits, at this percentage of the way to the network.
const fn coming_up(percent: u64) -> &'static str {
    if percent < 100 { "Connecting to Tor" } else { "Publishing the address" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_publishing_waits_for_is_said_once_and_not_before_it_takes_long() {
        let (begin, mut publishing) = (Instant::now(), Publishing::default());
        let mut at = |percent, secs: f32| publishing.is_worth_words(percent, begin + Duration::from_secs_f32(secs));
        assert!(!at(99, 0.0) && !at(99, 60.0), "Tor itself takes long");
        assert!(!at(100, 61.0) && !at(100, 65.9));
        assert!(!at(80, 66.1), "Tor is not up any more");
        assert!(!at(100, 67.0) && !at(100, 71.9));
        assert!(at(100, 72.1));
        assert!(!at(100, 72.3) && !at(100, 200.0), "once is enough");
        let words = |is_new, is_restored| Waiting { is_new, is_restored }.for_what();
        assert!(words(true, false).contains("first start") && words(false, true).contains("original"));
        assert!(words(false, false).contains("Tor's directory"));
        let meanwhile = |is_new| Waiting { is_new, is_restored: false }.meanwhile();
        assert!(meanwhile(true).unwrap().contains("runepeer mail setup") && meanwhile(false).is_none());
    }

    #[test]
    fn the_address_is_published_once_the_network_is_there() {
        let words = [0, 1, 99, 100].map(coming_up);
        let connecting = "Connecting to Tor";
        assert_eq!(words, [connecting, connecting, connecting, "Publishing the address"]);
    }

    #[test]
    fn a_reason_for_which_tor_is_blocked_is_told_once() {
        assert!(is_news("the clock", "") && is_news("the clock", "no relay"));
        assert!(!is_news("the clock", "the clock") && !is_news("", "") && !is_news("", "the clock"));
    }
}
