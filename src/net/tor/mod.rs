//! Tor in this process: one arti client per node, one onion service per identity.
//!
//! The client starts at once and bootstraps in the background; [`Tor::status`](Transport::status) tells how far it is,
//! and what hinders it. Where the network goes away, arti is started anew until it is back (`keeper`, `outage`); the
//! onions are then published anew, too. Onion keys are given to arti at every launch and kept in its memory only; arti's
//! directory holds its guards, its directory cache and the state of its introduction points (docs/architecture.md, "Tor"). A dial
//! gets circuits by its [`Isolation`]; `dial` says what happens to one that stalls.
//! Failures: a wrong configuration, an open directory, or a clock that shows a time before this program was made stops
//! the start; everything later is a status or the error of one dial or listener.

mod dial;
mod isolation;
mod keeper;
mod outage;
mod progress;
mod service;
mod settings;

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arti_client::{DataStream, TorClient};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tor_rtcompat::PreferredRuntime;

use self::isolation::Tokens;
use self::keeper::{Arti, Doubt, Keeper};
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

/// So many launches may fail in a row.
const LAUNCHES: u32 = 3;
/// An onion that was dropped is still claimed for a moment.
const CLAIM_PAUSE: Duration = Duration::from_millis(20);
const CLAIM_TRIES: u32 = 100;
/// A service that cannot be launched is tried again after this.
const LAUNCH_PAUSE: Duration = Duration::from_secs(5);

/// The client of an arti that runs, and its threads.
struct Client {
    arti: Arc<TorClient<PreferredRuntime>>,
    threads: Handle,
}

impl Deref for Client {
    type Target = TorClient<PreferredRuntime>;

    fn deref(&self) -> &Self::Target {
        &self.arti
    }
}

/// arti, with the services and circuits that we know of.
pub struct Tor {
    /// The client of the arti that runs; `None` between one and the next, and once stopped.
    current: watch::Receiver<Option<Arc<Client>>>,
    status: watch::Receiver<TransportStatus>,
    doubt: Doubt,
    tokens: Tokens,
    live: Arc<Mutex<BTreeSet<Onion>>>,
    tasks: Mutex<JoinSet<()>>,
    stopped: CancellationToken,
}

impl Tor {
    /// Starts arti in the configured directory and begins to bootstrap. Must run inside a tokio runtime.
    pub async fn start(config: TorConfig) -> Result<Self, StartError> {
        let arti = Arti::start(&config).await?;
        let (stopped, doubt) = (CancellationToken::new(), Doubt::default());
        let (status_sender, status) = watch::channel(TransportStatus::starting());
        let (current_sender, current) = watch::channel(Some(arti.client()));
        let keeper = Keeper {
            config,
            arti: Some(arti),
            current: current_sender,
            status: status_sender,
            doubt: doubt.clone(),
            stopped: stopped.clone(),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(keeper.run());
        Ok(Self {
            current,
            status,
            doubt,
            tokens: Tokens::default(),
            live: Arc::default(),
            tasks: Mutex::new(tasks),
            stopped,
        })
    }

    async fn connect(&self, to: Onion, isolation: Isolation) -> Result<DataStream, DialError> {
        self.ready().await?;
        let mut current = self.current.clone();
        let client = current.borrow_and_update().clone().ok_or(DialError::Network)?;
        let dialled = dial::first_of(|number| {
            let token = if number == 0 { self.tokens.of(isolation) } else { self.tokens.renew(isolation) };
            dial::attempt(&client, to, token)
        });
        let dialled = tokio::select! {
            dialled = dialled => dialled,
            // arti has ended, and with it everything that it was asked for.
            _ = current.changed() => return Err(DialError::Network),
        };
        if matches!(dialled, Err(DialError::Unreachable | DialError::TimedOut | DialError::Network)) {
            self.doubt.raise();
        }
        dialled
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
        let mut current = self.current.clone();
        // Between one arti and the next, this takes a moment.
        let client = current.wait_for(Option::is_some).await.map_err(|_| ListenError::Stopped)?.clone();
        let client = client.ok_or(ListenError::Stopped)?;
        let onion = Onion::of_seed(seed);
        let live = Live::claim_soon(&self.live, onion).await?;
        let launched = service::launch(&client, seed, onion).await?;
        drop(client);
        let (intake, incoming) = Intake::of_onion();
        let (reachability, watcher) = watch::channel(Reachability::Starting);
        let end = self.stopped.child_token();
        let service = service::Service {
            seed: seed.clone(),
            onion,
            intake,
            reachability,
            doubt: self.doubt.clone(),
            end: end.clone(),
        };
        let serving = keep_serving(service, launched, current, self.status.clone());
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
        let _ = timeout(limits::TRANSPORT_STOP, async { while tasks.join_next().await.is_some() {} }).await;
    }
}

/// Serves an onion until its listener is dropped, on one arti after the other. Each launch but the first waits until the
/// network answers: arti would only ask for circuits that cannot be made.
async fn keep_serving(
    service: service::Service,
    first: service::Launched,
    mut current: watch::Receiver<Option<Arc<Client>>>,
    mut status: watch::Receiver<TransportStatus>,
) {
    let mut launched = Some(first);
    let mut failures = 0;
    loop {
        if let Some(launched) = launched.take() {
            tokio::select! {
                biased;
                Ok(()) = current.changed() => {}
                () = service.serve(launched) => return,
            }
        }
        service.reachability.send_replace(Reachability::Unreachable);
        let next = async {
            status.wait_for(|status| status.state == TransportState::Ready).await.ok()?;
            let client = current.borrow_and_update().clone()?;
            match service::launch(&client, &service.seed, service.onion).await {
                Ok(launched) => Some(launched),
                Err(error) => {
                    tracing::debug!(%error, "an onion service cannot be launched again yet");
                    None
                }
            }
        };
        launched = tokio::select! {
            launched = next => launched,
            () = service.over() => break,
        };
        failures = if launched.is_some() { 0 } else { failures + 1 };
        if failures == LAUNCHES {
            // Whoever listens begins anew, and says why that fails.
            break;
        }
        if launched.is_none() {
            tokio::select! {
                () = sleep(LAUNCH_PAUSE) => {}
                () = service.over() => break,
            }
        }
    }
    service.reachability.send_replace(Reachability::Stopped);
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

    fn threads(&self) -> Option<Handle> {
        self.current.borrow().as_ref().map(|client| client.threads.clone())
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

    /// The same; where the onion was just dropped, once its service has ended.
    async fn claim_soon(all: &Arc<Mutex<BTreeSet<Onion>>>, onion: Onion) -> Result<Self, ListenError> {
        for _ in 0..CLAIM_TRIES {
            if let Some(live) = Self::claim(all, onion) {
                return Ok(live);
            }
            sleep(CLAIM_PAUSE).await;
        }
        Err(ListenError::InUse)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.onion);
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
