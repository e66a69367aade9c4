//! Whether peers reach an onion of this node. The node finds out as a peer would: it fetches the onion's descriptor and
//! opens a connection to it, over circuits that it uses for nothing else (a look, `twin`). What the transport says of its
//! own service only decides when the next look is taken.
//!
//! Where looks fail for about a minute although the network works, the onion is published anew: the introduction points
//! of a service that has lost its network come back only after waits that grow. Just after a return of the network that
//! is done sooner: the descriptor may have been uploaded to relays that were not quite back.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::clock::now;
use super::publishing::Incoming;
use super::twin::{Look, Looked, Search};
use crate::base::Timestamp;
use crate::net::{Listener, TransportState, TransportStatus};

/// The first look, where the transport has not said earlier that the onion is published.
const FIRST_LOOK: Duration = Duration::from_secs(20);
/// The time between looks that fail: at first, and when they have failed for long. In between it is a tenth of the
/// time for which they have failed.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
const LOOK_AGAIN_AT_LAST: Duration = Duration::from_secs(180);
/// A look that the transport's word gave cause for comes this long after the last look at the earliest.
const LOOK_PAUSE: Duration = Duration::from_secs(20);
/// For how long looks may fail before the onion is published anew; it doubles each time that this does not help.
const PATIENCE: Duration = Duration::from_secs(55);
/// The same for an onion whose network has just come back.
const PATIENCE_AFTER_RETURN: Duration = Duration::from_secs(12);
/// The longest that it gets.
const LONGEST_PATIENCE: Duration = Duration::from_secs(30 * 60);

/// Whether peers reach an onion, by the last look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::daemon) struct Presence {
    /// Whether they do.
    pub(in crate::daemon) reachable: bool,
    /// When that was looked at.
    pub(in crate::daemon) checked: Option<Timestamp>,
    /// Since when looks fail, although the network works.
    pub(in crate::daemon) cut_since: Option<Timestamp>,
}

impl Presence {
    /// Whether peers reach the onion, where this is the status of the network: while that is gone nobody does, also in the moment
    /// before the looks hear of it.
    pub(in crate::daemon) const fn is_reachable(&self, network: &TransportStatus) -> bool {
        self.reachable && network.gone_since.is_none()
    }
}

/// Why serving an onion ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Served {
    /// The service ended, or nobody takes its streams.
    Over,
    /// Peers do not reach it: it has to be published anew.
    Cut,
}

/// The looks at one onion over all the times that it is published.
pub(super) struct Watched<'a> {
    search: &'a Search,
    presence: &'a watch::Sender<Presence>,
    network: watch::Receiver<TransportStatus>,
    /// Whether the network was there when it was looked at last.
    up: bool,
    patience: Duration,
}

impl<'a> Watched<'a> {
    pub(super) fn new(search: &'a Search, presence: &'a watch::Sender<Presence>) -> Self {
        let mut network = search.transport.status();
        let up = network.borrow_and_update().state == TransportState::Ready;
        Self { search, presence, network, up, patience: PATIENCE }
    }

    /// Hands over streams, and looks whether peers get through, until the service ends or has to be published anew.
    pub(super) async fn serve(&mut self, mut listener: Listener, incoming: &Incoming) -> Served {
        let mut service = listener.reachability();
        let mut looked = self.search.looked();
        // Since when looks fail.
        let mut failing: Option<Instant> = None;
        let mut last = Instant::now();
        let first = if service.borrow_and_update().is_reachable() { Duration::ZERO } else { FIRST_LOOK };
        let mut next = Some(last + first);
        loop {
            tokio::select! {
                stream = listener.accept() => {
                    let Some(stream) = stream else {
                        // It may be published again only after its network is back, which is not to be missed.
                        self.up &= self.network.borrow().state == TransportState::Ready;
                        return Served::Over;
                    };
                    if incoming.send(self.search.lookout.watch(stream)).await.is_err() {
                        return Served::Over;
                    }
                }
                Ok(()) = service.changed() => {
                    let says = service.borrow_and_update().is_reachable();
                    if says != self.presence.borrow().reachable {
                        let soonest = if self.presence.borrow().checked.is_none() { last } else { last + LOOK_PAUSE };
                        next = Some(next.unwrap_or(soonest).min(soonest));
                    }
                }
                Ok(()) = self.network.changed() => {
                    let up = self.network.borrow_and_update().state == TransportState::Ready;
                    // The sentences of a status change more often.
                    if std::mem::replace(&mut self.up, up) == up {
                        continue;
                    }
                    failing = None;
                    if up {
                        self.network_back();
                        next = Some(Instant::now());
                    } else {
                        // Nothing was looked at, but nobody gets through without a network.
                        self.presence.send_modify(|presence| (presence.reachable, presence.cut_since) = (false, None));
                    }
                }
                () = at(next) => {
                    next = None;
                    self.search.look_now();
                }
                Ok(()) = looked.changed() => {
                    let Some(Looked { found, begun }) = *looked.borrow_and_update() else { continue };
                    last = Instant::now();
                    if found == Look::Hindered {
                        next = Some(last + LOOK_AGAIN);
                    } else if found != Look::Unreached {
                        (failing, self.patience) = (None, PATIENCE);
                        self.tell(true, false);
                    } else if self.network.borrow().state == TransportState::Ready {
                        let since = *failing.get_or_insert(begun);
                        self.tell(false, true);
                        if since.elapsed() >= self.patience {
                            self.patience = (self.patience * 2).min(LONGEST_PATIENCE);
                            return Served::Cut;
                        }
                        next = Some(last + (since.elapsed() / 10).clamp(LOOK_AGAIN, LOOK_AGAIN_AT_LAST));
                    }
                }
            }
        }
    }

    /// The network is back.
    fn network_back(&mut self) {
        if self.presence.borrow().checked.is_some() {
            self.patience = PATIENCE_AFTER_RETURN;
        }
    }

    /// Says what a look has found; `cut` where peers do not get through although the network works.
    fn tell(&self, reachable: bool, cut: bool) {
        let time = now();
        self.presence.send_modify(|presence| {
            *presence =
                Presence { reachable, checked: Some(time), cut_since: cut.then(|| presence.cut_since.unwrap_or(time)) };
        });
    }
}

/// Returns at this time; never, where there is none.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
