//! Keeps arti running: it starts it, says how far it is, tries whether the network answers, and starts it anew where
//! that mends something. `outage` decides when.
//!
//! Each start of arti has threads of its own, which end with it: arti's tasks would otherwise go on, and hold its files,
//! long after their client is gone. Streams of an arti that has ended break off.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arti_client::status::{BootstrapEvents, BootstrapStatus};
use arti_client::{BootstrapBehavior, HasKind, TorClient};
use futures::StreamExt;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tor_circmgr::DirInfo;
use tor_rtcompat::PreferredRuntime;

use super::outage::{Outage, Seen, Standing, Step};
use super::progress::{Found, Progress};
use super::{Client, settings};
use crate::base::limits;
use crate::net::{StartError, TorConfig, TransportState, TransportStatus};

/// The time between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// A failed bootstrap is tried again after this.
const BOOTSTRAP_PAUSE: Duration = Duration::from_secs(5);
/// A round trip to a relay that takes longer has failed.
const PROBE: Duration = Duration::from_secs(6);
/// The threads of arti.
const THREADS: usize = 2;

/// Raised where something failed that the network may be the cause of.
#[derive(Clone, Default)]
pub(super) struct Doubt(Arc<(AtomicBool, Notify)>);

impl Doubt {
    pub(super) fn raise(&self) {
        self.0.0.store(true, Ordering::Relaxed);
        self.0.1.notify_one();
    }

    fn take(&self) -> bool {
        self.0.0.swap(false, Ordering::Relaxed)
    }
}

/// The threads of one start of arti. Dropping them ends all that runs on them, and waits for nothing.
struct Threads(Option<tokio::runtime::Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// One start of arti. Dropping it ends all that it does.
pub(super) struct Arti {
    client: Arc<Client>,
    events: BootstrapEvents,
    _threads: Threads,
}

impl Arti {
    /// Starts arti in its directory, and begins to bootstrap.
    pub(super) async fn start(config: &TorConfig) -> Result<Self, StartError> {
        settings::check_clock()?;
        settings::prepare_directories(config)?;
        let client_config = settings::client_config(config)?;
        settings::wait_for_files(config, limits::TRANSPORT_STOP).await?;
        // arti expects that the process has chosen its cryptography; at a second start the choice is already made.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
        let runtime = threads.map_err(|error| StartError::Tor(error.to_string()))?;
        let spawner = runtime.handle().clone();
        // From here on, whatever was begun ends where this future is dropped.
        let threads = Threads(Some(runtime));
        let made = spawner.spawn(async move {
            let runtime = PreferredRuntime::current().map_err(|error| error.to_string())?;
            let made = TorClient::with_runtime(runtime)
                .config(client_config)
                .bootstrap_behavior(BootstrapBehavior::OnDemand)
                .local_resource_timeout(limits::TRANSPORT_STOP)
                .create_unbootstrapped_async()
                .await;
            made.map_err(|error| settings::chain(&error))
        });
        let made = made.await.unwrap_or_else(|error| Err(error.to_string()));
        let client = Arc::new(Client { arti: made.map_err(StartError::Tor)?, threads: spawner.clone() });
        spawner.spawn(bootstrap(Arc::clone(&client)));
        Ok(Self { events: client.bootstrap_events(), client, _threads: threads })
    }

    pub(super) fn client(&self) -> Arc<Client> {
        Arc::clone(&self.client)
    }
}

/// Bootstraps, again and again until it succeeds; the events tell the progress.
async fn bootstrap(client: Arc<Client>) {
    while let Err(error) = client.bootstrap().await {
        tracing::debug!(kind = ?error.kind(), "bootstrap failed");
        sleep(BOOTSTRAP_PAUSE).await;
    }
}

/// Whether a relay answers: the guard that arti chooses is asked for a stream to its directory.
async fn probe(client: Arc<Client>) -> bool {
    let answered = async {
        let circuits = client.circmgr().ok()?;
        let tunnel = circuits.get_or_launch_dir(DirInfo::Nothing).await.ok()?;
        // The stream is there before the relay has answered.
        tunnel.begin_dir_stream().await.ok()?.wait_for_connection().await.ok()
    };
    matches!(timeout(PROBE, answered).await, Ok(Some(())))
}

type Probe = Pin<Box<dyn Future<Output = bool> + Send>>;

/// The activity that owns arti.
pub(super) struct Keeper {
    pub(super) config: TorConfig,
    /// `None` while the next one cannot be started.
    pub(super) arti: Option<Arti>,
    /// The client of the arti that runs.
    pub(super) current: watch::Sender<Option<Arc<Client>>>,
    pub(super) status: watch::Sender<TransportStatus>,
    pub(super) doubt: Doubt,
    pub(super) stopped: CancellationToken,
}

impl Keeper {
    /// Works until the transport stops; then ends arti.
    pub(super) async fn run(mut self) {
        let begun = Instant::now();
        let mut outage = Outage::new(Duration::ZERO);
        let mut progress = Progress::new(begun, self.config.blocked_after, settings::bridges_work());
        let mut latest: Option<BootstrapStatus> = None;
        let mut probing: Option<Probe> = None;
        let mut standing = outage.standing();
        // Why arti could not be started last.
        let mut trouble: Option<String> = None;
        loop {
            let mut answered = None;
            tokio::select! {
                () = self.stopped.cancelled() => break,
                event = next_event(self.arti.as_mut()) => latest = Some(event),
                answer = ended(probing.as_mut()) => answered = Some(answer),
                () = self.doubt.0.1.notified() => {}
                () = sleep(LOOK) => {}
            }
            let found = latest.as_ref().map(Found::of).unwrap_or_default();
            let now = begun.elapsed();
            let seen = Seen {
                now,
                wall: settings::clock(),
                silent: tor_proto::time_since_last_incoming_traffic().unwrap_or(now).min(now),
                ready: found.ready,
                percent: found.percent,
                doubted: self.doubt.take(),
            };
            if let Some(answer) = answered {
                probing = None;
                outage.probed(answer, &seen);
            }
            let step = outage.look(&seen);
            tracing::debug!(?step, ?answered, ?seen, standing = ?outage.standing(), "a look at the network");
            if std::mem::replace(&mut standing, outage.standing()) != outage.standing() {
                match outage.standing() {
                    Standing::Works => tracing::info!("Tor's network answers"),
                    Standing::Gone(_) => {
                        tracing::warn!("Tor's network does not answer any more; trying again and again")
                    }
                    Standing::Starting if step == Step::Restart => tracing::info!("Tor is started anew"),
                    Standing::Starting => {}
                }
            }
            match step {
                Step::Wait => {}
                Step::Probe => probing = self.arti.as_ref().map(|arti| Box::pin(probe(arti.client())) as Probe),
                Step::Restart => {
                    (probing, latest) = (None, None);
                    self.tell(outage.standing(), &mut progress, &Found::default());
                    match self.restart().await {
                        Ok(()) => {
                            outage.restarted(begun.elapsed());
                            trouble = None;
                        }
                        Err(error) => self.cannot_start(&error, &mut trouble),
                    }
                    continue;
                }
            }
            if self.arti.is_some() {
                self.tell(outage.standing(), &mut progress, &found);
            }
        }
        self.current.send_replace(None);
        drop(self.arti.take());
        self.status.send_replace(TransportStatus::stopped());
    }

    /// Ends arti and starts it anew.
    async fn restart(&mut self) -> Result<(), StartError> {
        self.current.send_replace(None);
        drop(self.arti.take());
        let started = tokio::select! {
            // The next turn of the loop ends it.
            () = self.stopped.cancelled() => return Ok(()),
            started = Arti::start(&self.config) => started,
        };
        let arti = started?;
        self.current.send_replace(Some(arti.client()));
        self.arti = Some(arti);
        Ok(())
    }

    /// Says why arti cannot be started; the log has each reason once.
    fn cannot_start(&self, error: &StartError, told: &mut Option<String>) {
        let reason = error.to_string();
        if told.as_ref() != Some(&reason) {
            tracing::warn!("Tor cannot be started anew, and it is tried again: {reason}");
        }
        self.status.send_replace(TransportStatus {
            state: TransportState::Blocked,
            blocked_reason: Some(format!("Tor cannot be started anew, and it is tried again: {reason}")),
            ..TransportStatus::starting()
        });
        *told = Some(reason);
    }

    fn tell(&self, standing: Standing, progress: &mut Progress, found: &Found) {
        let now = match standing {
            Standing::Works => progress.works(Instant::now(), found),
            // arti may know a reason, such as a wrong clock.
            Standing::Gone(since) => progress.gone(since, found),
            Standing::Starting => progress.judge(Instant::now(), found),
        };
        self.status.send_if_modified(|old| {
            let changed = *old != now;
            *old = now;
            changed
        });
    }
}

/// The next event of arti's start; never, where there is none.
async fn next_event(arti: Option<&mut Arti>) -> BootstrapStatus {
    match arti {
        Some(arti) => match arti.events.next().await {
            Some(event) => event,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

/// The result of a round trip that is under way; never, where none is.
async fn ended(probing: Option<&mut Probe>) -> bool {
    match probing {
        Some(probing) => probing.await,
        None => std::future::pending().await,
    }
}
