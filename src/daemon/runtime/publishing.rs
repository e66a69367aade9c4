//! Publishing an onion for as long as that is wanted, and handing over each connection that arrives at it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::Published;
use super::driver::stopped;
use super::presence::{Presence, Served, Watched};
use super::supervision::Supervisor;
use super::twin::{Lookout, Search};
use crate::base::{IdentityId, Onion, OnionSeed};
use crate::net::{Stream, Transport, TransportState, TransportStatus};

/// How long after a failure an onion is published again.
const PUBLISH_AGAIN: Duration = Duration::from_secs(5);

/// Takes the streams of peers that connect.
pub(super) type Incoming = mpsc::Sender<Box<dyn Stream>>;

/// The part of a node that publishes an onion.
pub(super) struct Place {
    /// What a failure calls it.
    pub(super) part: &'static str,
    /// Becomes true when it has to end.
    pub(super) stop: watch::Receiver<bool>,
    /// Is dropped when it has ended.
    pub(super) running: watch::Sender<()>,
}

/// The network as the machines of a node use it.
pub(in crate::daemon) struct Network {
    pub(in crate::daemon) transport: Arc<dyn Transport>,
    /// The lookout by which this process recognises itself.
    pub(in crate::daemon) lookout: Arc<Lookout>,
    status: watch::Receiver<TransportStatus>,
}

impl Network {
    pub(in crate::daemon) fn new(transport: Arc<dyn Transport>) -> Self {
        Self { status: transport.status(), transport, lookout: Arc::default() }
    }

    /// The status of the network.
    pub(in crate::daemon) fn status(&self) -> TransportStatus {
        self.status.borrow().clone()
    }

    /// Signals each change of that status.
    pub(in crate::daemon) fn changes(&self) -> watch::Receiver<TransportStatus> {
        self.status.clone()
    }

    /// Returns when the transport has stopped, or its status is no longer reported.
    pub(in crate::daemon) fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut status = self.status.clone();
        async move {
            let _ = status.wait_for(|status| status.state == TransportState::Stopped).await;
        }
    }

    /// Stops the transport.
    pub(in crate::daemon) async fn stop(&self) {
        self.transport.stop().await;
    }

    /// Publishes an onion while it is wanted, and hands its streams to a driver; says whether peers reach it.
    pub(super) fn publish(
        &self,
        supervisor: &Supervisor,
        place: Place,
        onion: Published,
        incoming: Incoming,
    ) -> watch::Receiver<Presence> {
        let Place { part, mut stop, running } = place;
        let Published { id, seed, mut wanted, after } = onion;
        let (presence, receiver) = watch::channel(Presence::default());
        let (lookout, transport) = (Arc::clone(&self.lookout), Arc::clone(&self.transport));
        let search = Search::new(lookout, transport, Onion::of_seed(&seed), supervisor.ending().clone());
        supervisor.spawn_until(stop.clone(), part, async move {
            // Dropped when the onion is published no more.
            let _running = running;
            let published = async {
                tokio::time::sleep(after).await;
                if !search.first().await {
                    // The node ends.
                    return std::future::pending().await;
                }
                loop {
                    if wanted.wait_for(|wanted| *wanted).await.is_err() && !*wanted.borrow() {
                        return;
                    }
                    let mut no_longer = wanted.clone();
                    tokio::select! {
                        () = publish(&search, id, &seed, &incoming, &presence) => return,
                        Ok(_) = no_longer.wait_for(|wanted| !*wanted) => {}
                    }
                    presence.send_replace(Presence::default());
                }
            };
            let searched = async {
                search.now_and_then().await;
                std::future::pending().await
            };
            tokio::select! {
                () = published => {}
                () = searched => {}
                () = stopped(&mut stop) => {}
            }
        });
        receiver
    }
}

/// Publishes an onion again and again, until the receiver of its streams is gone.
async fn publish(
    search: &Search,
    id: IdentityId,
    seed: &OnionSeed,
    incoming: &Incoming,
    presence: &watch::Sender<Presence>,
) {
    let mut told = None;
    let mut watched = Watched::new(search, presence);
    while !incoming.is_closed() {
        match search.transport.listen(id, seed).await {
            Ok(listener) => {
                told = None;
                if watched.serve(listener, incoming).await == Served::Cut {
                    tracing::info!("an onion that nobody reaches is published anew");
                    continue;
                }
            }
            // A failure is logged once, and not at every try.
            Err(error) if told.as_ref() != Some(&error) => {
                tracing::warn!(%error, "an onion cannot be published now; trying again");
                told = Some(error);
            }
            Err(_) => {}
        }
        presence.send_modify(|presence| presence.reachable = false);
        tokio::time::sleep(PUBLISH_AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io;
    use std::sync::Mutex;

    use tokio::time::timeout;
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;
    use crate::net::{DialError, Isolation, Later, ListenError, Listener};

    /// A network that refuses to publish, for these reasons one after the other, and then hangs.
    struct Refusing(Mutex<VecDeque<ListenError>>);

    impl Transport for Refusing {
        fn dial(&self, _: Onion, _: Isolation) -> Later<'_, Result<Box<dyn Stream>, DialError>> {
            Box::pin(async { Err(DialError::Unreachable) })
        }

        fn listen<'a>(&'a self, _: IdentityId, _: &'a OnionSeed) -> Later<'a, Result<Listener, ListenError>> {
            let reason = self.0.lock().unwrap().pop_front();
            Box::pin(async move {
                match reason {
                    Some(reason) => Err(reason),
                    None => std::future::pending().await,
                }
            })
        }

        fn status(&self) -> watch::Receiver<TransportStatus> {
            watch::Sender::new(TransportStatus::ready()).subscribe()
        }

        fn stop(&self) -> Later<'_, ()> {
            Box::pin(async {})
        }
    }

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Log {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn why_an_onion_cannot_be_published_is_said_once_for_each_reason() {
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let reasons = [
            ListenError::InUse,
            ListenError::InUse,
            ListenError::InUse,
            ListenError::WrongOnion,
            ListenError::WrongOnion,
            ListenError::InUse,
        ];
        let refusing = Arc::new(Refusing(Mutex::new(reasons.into())));
        let (seed, ending) = (OnionSeed::from_bytes([1; 32]), watch::Sender::new(None));
        let (onion, transport) = (Onion::of_seed(&seed), Arc::clone(&refusing) as Arc<dyn Transport>);
        let search = Search::new(Arc::default(), transport, onion, ending);
        let (incoming, _connections) = mpsc::channel(1);
        let reachable = watch::Sender::new(Presence { reachable: true, ..Presence::default() });
        let begun = tokio::time::Instant::now();
        let published = publish(&search, IdentityId::from_bytes([1; 16]), &seed, &incoming, &reachable);
        assert!(timeout(7 * PUBLISH_AGAIN, published).await.is_err(), "it goes on trying");
        assert!(refusing.0.lock().unwrap().is_empty() && begun.elapsed() == 7 * PUBLISH_AGAIN);
        assert!(!reachable.borrow().reachable);
        let said = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let reasons = ["already published", "answers for another name", "already published"];
        assert_eq!(said.lines().count(), reasons.len(), "{said}");
        assert!(
            said.lines().zip(reasons).all(|(line, reason)| line.contains("WARN") && line.contains(reason)),
            "{said}"
        );
    }

    /// A network that notes when something was published, in seconds since the beginning.
    struct Noting(tokio::time::Instant, Mutex<Vec<u64>>);

    impl Transport for Noting {
        fn dial(&self, _: Onion, _: Isolation) -> Later<'_, Result<Box<dyn Stream>, DialError>> {
            Box::pin(async { Err(DialError::Unreachable) })
        }

        fn listen<'a>(&'a self, _: IdentityId, _: &'a OnionSeed) -> Later<'a, Result<Listener, ListenError>> {
            self.1.lock().unwrap().push(self.0.elapsed().as_secs());
            Box::pin(std::future::pending())
        }

        fn status(&self) -> watch::Receiver<TransportStatus> {
            watch::Sender::new(TransportStatus::ready()).subscribe()
        }

        fn stop(&self) -> Later<'_, ()> {
            Box::pin(async {})
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_onion_is_published_after_its_time_and_not_before() {
        let noting = Arc::new(Noting(tokio::time::Instant::now(), Mutex::default()));
        let network = Network::new(Arc::clone(&noting) as Arc<dyn Transport>);
        let (supervisor, mut kept) = (Supervisor::default(), Vec::new());
        for after in [0, 25, 50] {
            let (wanted, receiver) = watch::channel(true);
            let (seed, after) = (OnionSeed::from_bytes([after as u8; 32]), Duration::from_secs(after));
            let onion = Published { id: IdentityId::from_bytes([1; 16]), seed, wanted: receiver, after };
            let (incoming, connections) = mpsc::channel(1);
            let place = Place { part: "an onion", stop: supervisor.stopping(), running: watch::Sender::new(()) };
            kept.push((network.publish(&supervisor, place, onion, incoming), wanted, connections));
        }
        tokio::time::sleep(Duration::from_secs(70)).await;
        assert_eq!(*noting.1.lock().unwrap(), [0, 25, 50]);
        supervisor.stop();
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_publishes_for_a_driver_that_is_gone() {
        let refusing = Refusing(Mutex::new([ListenError::InUse].into()));
        let (seed, ending) = (OnionSeed::from_bytes([1; 32]), watch::Sender::new(None));
        let search = Search::new(Arc::default(), Arc::new(refusing), Onion::of_seed(&seed), ending);
        let (incoming, connections) = mpsc::channel(1);
        drop(connections);
        let reachable = watch::Sender::new(Presence { reachable: true, ..Presence::default() });
        let published = publish(&search, IdentityId::from_bytes([1; 16]), &seed, &incoming, &reachable);
        assert!(timeout(PUBLISH_AGAIN, published).await.is_ok());
    }
}
