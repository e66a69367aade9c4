//! Tor in this process: one arti client per node, one onion service per identity.
//!
//! The client starts at once and bootstraps in the background; [`Tor::status`](Transport::status) tells how far it is,
//! and what hinders it. Onion keys are given to arti at every launch and kept in its memory only; arti's directory
//! holds its guards, its directory cache and the state of its introduction points (docs/architecture.md, "Tor"). A dial
//! gets circuits by its [`Isolation`]; `dial` says what happens to one that stalls.
//! Failures: a wrong configuration, an open directory, or a clock that shows a time before this program was made stops
//! the start; everything later is a status or the error of one dial or listener.

mod dial;
mod isolation;
mod progress;
mod service;
mod settings;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arti_client::{BootstrapBehavior, DataStream, HasKind, TorClient};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tor_rtcompat::PreferredRuntime;

use self::isolation::Tokens;
pub use self::settings::TorConfig;
use super::transport::{
    DialError, Intake, Isolation, Later, ListenError, Listener, Reachability, StartError, Stream, Transport,
    TransportState, TransportStatus, within_dial,
};
use crate::base::{IdentityId, Onion, OnionSeed, limits};

/// The one virtual port of every onion service of ours: R-U-N-E on a telephone's keys.
pub const RUNE_PORT: u16 = 7863;

/// The part of the daemon's log filter for arti (`tracing_subscriber::EnvFilter`). arti's warnings are about single
/// relays and circuits; the facts that its user should know are in the transport's status. The manager of introduction
/// points reports its own keys missing after every start, as errors: they are in memory only, and it makes new ones.
pub const LOG_DIRECTIVES: &str = "tor_=error,arti_client=error,tor_hsservice::ipt_mgr=off";

/// A failed bootstrap is tried again after this.
const BOOTSTRAP_PAUSE: Duration = Duration::from_secs(5);

type Client = TorClient<PreferredRuntime>;

/// arti, with the services and circuits that we know of.
pub struct Tor {
    /// Gone once stopped: then arti's locks are free for the next start.
    client: Mutex<Option<Arc<Client>>>,
    status: watch::Receiver<TransportStatus>,
    tokens: Tokens,
    live: Arc<Mutex<BTreeSet<Onion>>>,
    tasks: Mutex<JoinSet<()>>,
    stopped: CancellationToken,
}

impl Tor {
    /// Starts arti in the configured directory and begins to bootstrap. Must run inside a tokio runtime.
    pub async fn start(config: TorConfig) -> Result<Self, StartError> {
        settings::check_clock()?;
        settings::prepare_directories(&config)?;
        let client_config = settings::client_config(&config)?;
        settings::wait_for_files(&config, limits::TRANSPORT_STOP).await?;
        // arti expects that the process has chosen its cryptography; at a second start the choice is already made.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = PreferredRuntime::current().map_err(|error| StartError::Tor(error.to_string()))?;
        let client = TorClient::with_runtime(runtime)
            .config(client_config)
            .bootstrap_behavior(BootstrapBehavior::OnDemand)
            .local_resource_timeout(limits::TRANSPORT_STOP)
            .create_unbootstrapped_async()
            .await
            .map_err(|error| StartError::Tor(settings::chain(&error)))?;
        let stopped = CancellationToken::new();
        let (sender, status) = watch::channel(TransportStatus::starting());
        let mut tasks = JoinSet::new();
        tasks.spawn(until(stopped.clone(), bootstrap(Arc::clone(&client))));
        let progress = progress::Progress::new(Instant::now(), config.blocked_after, settings::bridges_work());
        tasks.spawn(progress::report(client.bootstrap_events(), sender, progress, stopped.clone()));
        Ok(Self {
            client: Mutex::new(Some(client)),
            status,
            tokens: Tokens::default(),
            live: Arc::default(),
            tasks: Mutex::new(tasks),
            stopped,
        })
    }

    fn client(&self) -> Option<Arc<Client>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn connect(&self, to: Onion, isolation: Isolation) -> Result<DataStream, DialError> {
        self.ready().await?;
        let client = self.client().ok_or(DialError::Stopped)?;
        dial::first_of(|number| {
            let token = if number == 0 { self.tokens.of(isolation) } else { self.tokens.renew(isolation) };
            dial::attempt(&client, to, token)
        })
        .await
    }

    /// Waits while the client bootstraps; fails at once if it is blocked.
    async fn ready(&self) -> Result<(), DialError> {
        let mut status = self.status.clone();
        let decided = status.wait_for(|now| {
            matches!(now.state, TransportState::Ready | TransportState::Blocked | TransportState::Stopped)
        });
        let state = match timeout(limits::DIAL_READY, decided).await {
            Ok(Ok(status)) => status.state,
            Ok(Err(_)) => TransportState::Stopped,
            Err(_) => TransportState::Bootstrapping,
        };
        match state {
            TransportState::Ready => Ok(()),
            TransportState::Stopped => Err(DialError::Stopped),
            TransportState::Starting | TransportState::Bootstrapping | TransportState::Blocked => {
                Err(DialError::Network)
            }
        }
    }

    async fn publish(&self, seed: &OnionSeed) -> Result<Listener, ListenError> {
        let client = self.client().ok_or(ListenError::Stopped)?;
        let onion = Onion::of_seed(seed);
        let live = Live::claim(&self.live, onion).ok_or(ListenError::InUse)?;
        let (running, requests) = service::launch(&client, seed, onion).await?;
        let (intake, incoming) = Intake::of_onion();
        let (reachability, watcher) = watch::channel(Reachability::Starting);
        let end = self.stopped.child_token();
        let serving = service::serve(running, requests, intake, reachability, end.clone());
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            serving.await;
            drop(live);
        });
        Ok(Listener::new(onion, watcher, move || Box::new(end.drop_guard()), incoming))
    }

    async fn end(&self) {
        self.stopped.cancel();
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        let client = self.client.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Our own tasks end at once. arti's tasks notice only after a while that their client is gone, some only with
        // their runtime, and hold its files until then. arti's own way to wait for that never returns.
        drop(client);
        let _ = timeout(limits::TRANSPORT_STOP, async { while tasks.join_next().await.is_some() {} }).await;
    }
}

impl Transport for Tor {
    fn dial(&self, to: Onion, isolation: Isolation) -> Later<'_, Result<Box<dyn Stream>, DialError>> {
        Box::pin(async move {
            tokio::select! {
                biased;
                () = self.stopped.cancelled() => Err(DialError::Stopped),
                stream = within_dial(self.connect(to, isolation)) => {
                    stream.map(|stream| Box::new(stream) as Box<dyn Stream>)
                }
            }
        })
    }

    fn listen<'a>(&'a self, _: IdentityId, seed: &'a OnionSeed) -> Later<'a, Result<Listener, ListenError>> {
        Box::pin(async move {
            tokio::select! {
                biased;
                () = self.stopped.cancelled() => Err(ListenError::Stopped),
                listener = self.publish(seed) => listener,
            }
        })
    }

    fn status(&self) -> watch::Receiver<TransportStatus> {
        self.status.clone()
    }

    fn stop(&self) -> Later<'_, ()> {
        Box::pin(self.end())
    }
}

impl Drop for Tor {
    fn drop(&mut self) {
        self.stopped.cancel();
    }
}

/// An onion that a listener of this client publishes.
struct Live {
    all: Arc<Mutex<BTreeSet<Onion>>>,
    onion: Onion,
}

impl Live {
    fn claim(all: &Arc<Mutex<BTreeSet<Onion>>>, onion: Onion) -> Option<Self> {
        let free = all.lock().unwrap_or_else(PoisonError::into_inner).insert(onion);
        free.then(|| Self { all: Arc::clone(all), onion })
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.onion);
    }
}

/// Bootstraps, again and again until it succeeds; the status task reports the progress.
async fn bootstrap(client: Arc<Client>) {
    while let Err(error) = client.bootstrap().await {
        tracing::debug!(kind = ?error.kind(), "bootstrap failed");
        sleep(BOOTSTRAP_PAUSE).await;
    }
}

async fn until(stopped: CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        () = stopped.cancelled() => {}
        () = work => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_onion_is_live_once_and_free_again_after() {
        let all = Arc::default();
        let onion = Onion::of_seed(&OnionSeed::from_bytes([1; 32]));
        let first = Live::claim(&all, onion);
        assert!(first.is_some());
        assert!(Live::claim(&all, onion).is_none());
        drop(first);
        assert!(Live::claim(&all, onion).is_some());
    }
}
