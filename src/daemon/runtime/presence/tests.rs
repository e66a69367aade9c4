use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::super::publishing::Place;
use super::*;
use crate::base::{IdentityId, Onion, OnionSeed};
use crate::net::{DialError, Isolation, Later, ListenError, Reachability, Stream, Transport, TransportStatus};

/// A network with one onion: whether dials reach it, and whether the transport says that they do, are set apart.
struct Network {
    status: watch::Sender<TransportStatus>,
    /// Nobody has looked at it, so that each copy of it has something new at first, as with Tor.
    shown: watch::Receiver<TransportStatus>,
    gets_through: AtomicBool,
    /// Publishing anew mends it.
    relaunch_mends: AtomicBool,
    dials: AtomicU32,
    launches: Mutex<Vec<Instant>>,
    service: watch::Sender<Reachability>,
    peers: Mutex<Option<mpsc::Sender<Box<dyn Stream>>>>,
}

impl Network {
    fn new() -> Arc<Self> {
        let (status, shown) = watch::channel(TransportStatus::starting());
        status.send_replace(TransportStatus::ready());
        Arc::new(Self {
            status,
            shown,
            gets_through: AtomicBool::new(true),
            relaunch_mends: AtomicBool::new(false),
            dials: AtomicU32::new(0),
            launches: Mutex::default(),
            service: watch::Sender::new(Reachability::Starting),
            peers: Mutex::default(),
        })
    }

    fn set(&self, gets_through: bool) {
        self.gets_through.store(gets_through, Ordering::Relaxed);
    }

    fn launches(&self) -> usize {
        self.launches.lock().unwrap().len()
    }
}

impl Transport for Network {
    fn dial(&self, _: Onion, _: Isolation) -> Later<'_, Result<Box<dyn Stream>, DialError>> {
        Box::pin(async move {
            self.dials.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_secs(1)).await;
            if self.status.borrow().state != TransportState::Ready {
                return Err(DialError::Network);
            }
            let peers = self.peers.lock().unwrap().clone().filter(|_| self.gets_through.load(Ordering::Relaxed));
            let (here, there) = tokio::io::duplex(4096);
            match peers {
                Some(peers) if peers.send(Box::new(there)).await.is_ok() => Ok(Box::new(here) as Box<dyn Stream>),
                _ => Err(DialError::Unreachable),
            }
        })
    }

    fn listen<'a>(&'a self, _: IdentityId, seed: &'a OnionSeed) -> Later<'a, Result<Listener, ListenError>> {
        Box::pin(async move {
            self.launches.lock().unwrap().push(Instant::now());
            if self.launches() > 1 && self.relaunch_mends.load(Ordering::Relaxed) {
                self.set(true);
            }
            let (sender, incoming) = mpsc::channel(8);
            *self.peers.lock().unwrap() = Some(sender);
            Ok(Listener::for_tests(Onion::of_seed(seed), self.service.subscribe(), incoming))
        })
    }

    fn status(&self) -> watch::Receiver<TransportStatus> {
        self.shown.clone()
    }

    fn stop(&self) -> Later<'_, ()> {
        Box::pin(async {})
    }
}

/// An onion that is published on this network for so long; returns what is known of it from then on.
async fn published(network: &Arc<Network>) -> watch::Receiver<Presence> {
    let supervisor = super::super::supervision::Supervisor::default();
    let network = super::super::publishing::Network::new(Arc::clone(network) as Arc<dyn Transport>);
    let (incoming, mut connections) = mpsc::channel::<Box<dyn Stream>>(8);
    // A driver that reads what its peers send.
    tokio::spawn(async move {
        while let Some(mut stream) = connections.recv().await {
            tokio::spawn(async move {
                let mut bytes = [0; 256];
                while matches!(tokio::io::AsyncReadExt::read(&mut stream, &mut bytes).await, Ok(1..)) {}
            });
        }
    });
    let (wanted, receiver) = watch::channel(true);
    let onion = super::super::Published {
        id: IdentityId::from_bytes([1; 16]),
        seed: OnionSeed::from_bytes([1; 32]),
        wanted: receiver,
        after: Duration::ZERO,
    };
    let place = Place { part: "the onion", stop: supervisor.stopping(), running: watch::Sender::new(()) };
    let presence = network.publish(&supervisor, place, onion, incoming);
    // They live as long as the test.
    std::mem::forget((supervisor, network, wanted));
    presence
}

async fn within(seconds: u64, presence: &mut watch::Receiver<Presence>, reachable: bool) -> bool {
    let wanted = presence.wait_for(|presence| presence.reachable == reachable && presence.checked.is_some());
    timeout(Duration::from_secs(seconds), wanted).await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn an_onion_counts_as_reachable_when_a_look_got_through_and_not_before() {
    let network = Network::new();
    network.set(false);
    network.service.send_replace(Reachability::Reachable);
    let mut presence = published(&network).await;
    // The first that is said of it is what a look found.
    timeout(Duration::from_secs(10), presence.changed()).await.unwrap().unwrap();
    assert!(!presence.borrow().reachable, "the transport's word is not enough");
    assert!(within(10, &mut presence, false).await);
    network.set(true);
    assert!(within(10, &mut presence, true).await);
    assert!(presence.borrow().cut_since.is_none());
    assert_eq!(network.launches(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_the_transport_thinks_little_of_is_reachable_where_looks_get_through() {
    let network = Network::new();
    network.service.send_replace(Reachability::Unreachable);
    let mut presence = published(&network).await;
    assert!(within(30, &mut presence, true).await);
}

#[tokio::test(start_paused = true)]
async fn an_onion_that_nobody_reaches_for_a_minute_is_published_anew() {
    let network = Network::new();
    network.service.send_replace(Reachability::Reachable);
    let mut presence = published(&network).await;
    assert!(within(10, &mut presence, true).await);
    network.relaunch_mends.store(true, Ordering::Relaxed);
    network.set(false);
    let begun = Instant::now();
    // Its peers are not told; the transport is.
    network.service.send_replace(Reachability::Unreachable);
    assert!(within(60, &mut presence, false).await);
    assert!(presence.borrow().cut_since.is_some());
    assert!(within(90, &mut presence, true).await);
    assert_eq!(network.launches(), 2);
    assert!(begun.elapsed() < Duration::from_secs(100), "{:?}", begun.elapsed());
    assert!(presence.borrow().cut_since.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_onion_that_stops_silently_is_noticed_by_the_next_look_at_random() {
    let network = Network::new();
    network.service.send_replace(Reachability::Reachable);
    let mut presence = published(&network).await;
    assert!(within(10, &mut presence, true).await);
    network.set(false);
    assert!(within(45 * 60, &mut presence, false).await);
}

#[tokio::test(start_paused = true)]
async fn where_publishing_anew_does_not_help_it_is_done_ever_more_rarely() {
    let network = Network::new();
    network.set(false);
    let _presence = published(&network).await;
    sleep(Duration::from_secs(6 * 3600)).await;
    let launches = network.launches();
    assert!((8..20).contains(&launches), "{launches}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_published_anew_while_the_network_is_gone_and_its_return_is_looked_at_once() {
    let network = Network::new();
    network.service.send_replace(Reachability::Reachable);
    let mut presence = published(&network).await;
    assert!(within(10, &mut presence, true).await);
    network.status.send_replace(TransportStatus { state: TransportState::Blocked, ..TransportStatus::ready() });
    assert!(within(1, &mut presence, false).await);
    assert!(presence.borrow().cut_since.is_none(), "it is the network that is gone");
    sleep(Duration::from_secs(3 * 3600)).await;
    assert_eq!(network.launches(), 1);
    network.status.send_replace(TransportStatus::ready());
    assert!(within(5, &mut presence, true).await);
    assert_eq!(network.launches(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_onion_that_did_not_come_back_with_its_network_is_published_anew_within_seconds() {
    let network = Network::new();
    network.service.send_replace(Reachability::Reachable);
    let mut presence = published(&network).await;
    assert!(within(10, &mut presence, true).await);
    network.status.send_replace(TransportStatus { state: TransportState::Blocked, ..TransportStatus::ready() });
    assert!(within(1, &mut presence, false).await);
    network.relaunch_mends.store(true, Ordering::Relaxed);
    network.set(false);
    network.status.send_replace(TransportStatus::ready());
    assert!(within(30, &mut presence, true).await);
    assert_eq!(network.launches(), 2);
}

#[test]
fn nobody_is_called_reachable_while_the_network_is_gone() {
    let presence = Presence { reachable: true, ..Presence::default() };
    let gone = TransportStatus { gone_since: Some(now()), ..TransportStatus::ready() };
    assert!(presence.is_reachable(&TransportStatus::ready()) && !presence.is_reachable(&gone));
    assert!(!Presence::default().is_reachable(&TransportStatus::ready()));
}
