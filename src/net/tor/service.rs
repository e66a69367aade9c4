//! One onion service: launched with our key, and served until its listener is dropped.
//!
//! Every rendezvous circuit has a task of its own and may begin streams to [`RUNE_PORT`]; all other requests get the
//! same answer that other onion services give. Circuits, streams on a circuit and streams in all are bounded.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arti_client::{ErrorKind, HasKind};
use futures::{Stream, StreamExt};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tor_cell::relaycell::msg::{Connected, End, EndReason};
use tor_hscrypto::pk::HsIdKeypair;
use tor_hsservice::status::State;
use tor_hsservice::{OnionServiceConfig, RendRequest, RunningOnionService, StreamRequest};
use tor_llcrypto::pk::ed25519;
use tor_proto::stream::IncomingStreamRequest;

use super::keeper::Doubt;
use super::{Client, RUNE_PORT, settings};
use crate::base::{Onion, OnionSeed, limits};
use crate::net::transport::Intake;
use crate::net::{ListenError, Reachability};

/// A service that was just dropped keeps its lock for a moment.
const RELAUNCH_PAUSE: Duration = Duration::from_millis(50);
const RELAUNCH_WAIT: Duration = Duration::from_secs(5);

type Requests = Pin<Box<dyn Stream<Item = RendRequest> + Send>>;

/// A service that arti runs, and the requests of peers who want to meet it.
pub(super) type Launched = (Arc<RunningOnionService>, Requests);

/// Launches the service of this seed and makes sure that it answers for its onion.
pub(super) async fn launch(client: &Client, seed: &OnionSeed, onion: Onion) -> Result<Launched, ListenError> {
    let config = settings::service_config(&nickname(seed)).map_err(|error| ListenError::Refused(error.to_string()))?;
    let deadline = Instant::now() + RELAUNCH_WAIT;
    let (running, requests) = loop {
        match launch_once(client, seed, config.clone()) {
            Ok(Some(launched)) => break launched,
            Ok(None) => return Err(ListenError::Refused("it is disabled".to_owned())),
            Err(error) if in_use(&error) && Instant::now() < deadline => sleep(RELAUNCH_PAUSE).await,
            Err(error) if in_use(&error) => return Err(ListenError::InUse),
            Err(error) => return Err(ListenError::Refused(settings::chain(&error))),
        }
    };
    // A service of the same nickname with another key would go on answering for the old name.
    let answers_for = running.onion_address().map(|id| *id.as_ref());
    if answers_for != Some(*onion.public_key()) {
        return Err(ListenError::WrongOnion);
    }
    Ok((running, requests))
}

/// An onion that is served, and the ends at which its listener is reached.
pub(super) struct Service {
    pub(super) seed: OnionSeed,
    pub(super) onion: Onion,
    pub(super) intake: Intake,
    pub(super) reachability: watch::Sender<Reachability>,
    pub(super) doubt: Doubt,
    pub(super) end: CancellationToken,
}

impl Service {
    /// Returns once the listener is gone, or the transport has stopped.
    pub(super) async fn over(&self) {
        tokio::select! {
            () = self.end.cancelled() => {}
            () = self.intake.gone() => {}
        }
    }

    /// Accepts streams until the listener is gone or the transport stops, or until the service ends by itself.
    pub(super) async fn serve(&self, (running, mut requests): Launched) {
        let mut circuits = Circuits::default();
        let mut states = running.status_events();
        loop {
            tokio::select! {
                () = self.over() => break,
                Some(status) = states.next() => self.tell(status.state()),
                request = requests.next() => match request {
                    None => break,
                    // If the request is not answered, its peer tries again later.
                    Some(request) => circuits.begin(|streams| serve_circuit(request, self.intake.clone(), streams)),
                },
                Some(_) = circuits.tasks.join_next() => {}
            }
        }
        drop(running);
        self.reachability.send_replace(Reachability::Stopped);
    }

    /// Reports a change of state. arti also says `Shutdown` before its first state; the real end is reported by us.
    fn tell(&self, state: State) {
        let now = match state {
            State::Running => Reachability::Reachable,
            State::DegradedReachable => Reachability::Degraded,
            State::Bootstrapping | State::Shutdown => Reachability::Starting,
            // DegradedUnreachable, Recovering, Broken, and states that arti may add.
            _ => Reachability::Unreachable,
        };
        if now == Reachability::Unreachable {
            self.doubt.raise();
        }
        self.reachability.send_if_modified(|old| {
            let changed = *old != now;
            *old = now;
            changed
        });
    }
}

/// The circuits of a service.
#[derive(Default)]
struct Circuits {
    tasks: JoinSet<()>,
    /// The open circuits, the oldest first, each with a value that its streams keep alive.
    open: VecDeque<(AbortHandle, Arc<()>)>,
}

impl Circuits {
    /// Begins to serve another circuit; if there are too many, ends the oldest one without a connection.
    fn begin<F: Future<Output = ()> + Send + 'static>(&mut self, serve: impl FnOnce(Arc<()>) -> F) {
        self.open.retain(|(task, _)| !task.is_finished());
        if self.open.len() >= limits::TOR_CIRCUITS {
            // This list, the circuit's task, and each of its streams hold one reference.
            let idle = self.open.iter().position(|(_, streams)| Arc::strong_count(streams) <= 2);
            let Some((task, _)) = idle.and_then(|at| self.open.remove(at)) else { return };
            task.abort();
        }
        let streams = Arc::default();
        let task = self.tasks.spawn(serve(Arc::clone(&streams)));
        self.open.push_back((task, streams));
    }
}

/// Meets a peer at its rendezvous point and accepts its streams until the peer, or the time limit, ends the circuit.
async fn serve_circuit(request: RendRequest, intake: Intake, circuit: Arc<()>) {
    let Ok(Ok(mut streams)) = timeout(limits::DIAL, request.accept()).await else { return };
    while let Ok(Some(stream)) = timeout(limits::TOR_CIRCUIT_IDLE, streams.next()).await {
        let for_us = matches!(stream.request(), IncomingStreamRequest::Begin(begin) if begin.port() == RUNE_PORT);
        if !timeout(limits::TOR_ANSWER, answer(stream, for_us, &intake, &circuit)).await.unwrap_or(false) {
            return;
        }
    }
}

/// Accepts or refuses one stream; `false` once the circuit or the listener is gone.
async fn answer(stream: StreamRequest, for_us: bool, intake: &Intake, circuit: &Arc<()>) -> bool {
    match intake.place_now().filter(|_| for_us) {
        Some(place) => match stream.accept(Connected::new_empty()).await {
            Ok(data) => intake.give(data, place.on(Arc::clone(circuit))),
            Err(_) => false,
        },
        None => stream.reject(End::new_with_reason(EndReason::DONE)).await.is_ok(),
    }
}

/// `None` where the configuration disables the service, which our configuration never does.
fn launch_once(
    client: &Client,
    seed: &OnionSeed,
    config: OnionServiceConfig,
) -> Result<Option<(Arc<RunningOnionService>, Requests)>, arti_client::Error> {
    let key = ed25519::ExpandedKeypair::from(&ed25519::Keypair::from_bytes(seed.expose()));
    let first = client.launch_onion_service_with_hsid(config.clone(), HsIdKeypair::from(key));
    match first {
        // The service was launched before in this process, so arti has the key already.
        Err(error) if settings::chain(&error).contains("already exists") => {
            let again = client.launch_onion_service(config)?;
            Ok(again.map(|(running, requests)| (running, requests.boxed())))
        }
        first => Ok(first?.map(|(running, requests)| (running, requests.boxed()))),
    }
}

/// Whether a service of this nickname still runs, or has not yet let go of its files.
fn in_use(error: &arti_client::Error) -> bool {
    error.kind() == ErrorKind::LocalResourceAlreadyInUse || settings::chain(error).contains("already running")
}

/// The name of the service's files in arti's state directory. It is derived from the secret seed, so that it does not
/// reveal the onion.
fn nickname(seed: &OnionSeed) -> String {
    let digest = Sha256::new().chain_update(b"runepeer onion service nickname").chain_update(seed.expose()).finalize();
    data_encoding::BASE32_NOPAD.encode(digest.get(..20).unwrap_or(&digest)).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn circuits_without_a_connection_keep_nobody_out_and_end_oldest_first() {
        let mut circuits = Circuits::default();
        let (began, mut begun) = tokio::sync::mpsc::unbounded_channel();
        let mut begin = |number: usize| {
            let began = began.clone();
            circuits.begin(move |streams| async move {
                let _ = began.send((number, Arc::clone(&streams)));
                std::future::pending::<()>().await;
                drop(streams);
            });
        };
        (0..limits::TOR_CIRCUITS).for_each(&mut begin);
        let mut connected = Vec::new();
        for _ in 0..limits::TOR_CIRCUITS {
            let (number, streams) = begun.recv().await.unwrap();
            // A stream is connected on the first circuit, and on no other.
            connected.extend((number == 0).then_some(streams));
        }
        (1000..1000 + 2 * limits::TOR_CIRCUITS).for_each(&mut begin);
        assert_eq!(circuits.open.len(), limits::TOR_CIRCUITS);
        assert!(Arc::ptr_eq(&circuits.open[0].1, &connected[0]), "who is connected stays");
        let last = circuits.open.back().map(|(task, _)| task.is_finished());
        assert_eq!(last, Some(false), "the newest is served");
        let living = circuits.open.iter().filter(|(task, _)| !task.is_finished()).count();
        assert_eq!(living, limits::TOR_CIRCUITS);
    }
}
