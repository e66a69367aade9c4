//! What every transport offers, whatever carries its bytes.
//!
//! A transport is `Starting`, then `Bootstrapping`, then `Ready`; it may be `Blocked` in between, with a reason that
//! is a sentence for its user. A [`Listener`] publishes one onion for as long as it lives. Incoming streams beyond
//! [`limits::CONNECTIONS`] of one listener wait or are refused, so that a flood costs no memory. That bound is higher
//! than the number of sessions that a machine serves: the machine decides which session makes room for a new one.

use std::fmt;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use crate::base::{ContactId, IdentityId, Onion, OnionSeed, Timestamp, limits};

/// A boxed future of a transport.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A connection to one peer: bytes in order, both ways.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for T {}

/// Which other connections may share circuits with this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isolation {
    /// Only connections of this identity to this contact.
    Pair(IdentityId, ContactId),
    /// None: the connection gets a circuit of its own, as every deposit at a carrier and every first contact needs.
    Fresh,
}

/// How bytes reach peers. One per node; all identities use it, and share nothing in it that a peer can see.
pub trait Transport: Send + Sync {
    /// Connects to the peer at this onion, within [`limits::DIAL`].
    fn dial(&self, to: Onion, isolation: Isolation) -> Later<'_, Result<Box<dyn Stream>, DialError>>;

    /// Publishes the onion of this seed until the listener is dropped. The identity only names the service's
    /// records; it is never sent. One listener per seed at a time.
    fn listen<'a>(&'a self, identity: IdentityId, seed: &'a OnionSeed) -> Later<'a, Result<Listener, ListenError>>;

    /// The threads from which its streams are best read and written, because what carries them runs there; `None` where any
    /// are as good. What runs there may be dropped at any time, as the streams then break off.
    fn threads(&self) -> Option<Handle> {
        None
    }

    /// How far the transport is, and a signal when that changes.
    fn status(&self) -> watch::Receiver<TransportStatus>;

    /// Ends the listeners and refuses new dials. Takes at most [`limits::TRANSPORT_STOP`]. Streams that are open
    /// live until they are dropped.
    fn stop(&self) -> Later<'_, ()>;
}

/// How far a transport is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportState {
    /// Nothing has been tried yet.
    Starting,
    /// On its way; peers cannot be reached yet.
    Bootstrapping,
    /// Peers can be reached.
    Ready,
    /// Something outside of this node hinders it; it goes on trying.
    Blocked,
    /// Ended by [`Transport::stop`].
    Stopped,
}

impl TransportState {
    /// The name that `status --json` shows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Bootstrapping => "bootstrapping",
            Self::Ready => "ready",
            Self::Blocked => "blocked",
            Self::Stopped => "stopped",
        }
    }
}

/// How far a transport is, with its progress and the obstacle, as they are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportStatus {
    /// The state.
    pub state: TransportState,
    /// 0 to 100.
    pub percent: u8,
    /// If `Blocked`: a sentence that names the obstacle and the remedy. It names no address and no peer.
    pub blocked_reason: Option<String>,
    /// Since when the network, which answered before, does not.
    pub gone_since: Option<Timestamp>,
    /// A sentence where the network shows that this machine's clock is wrong; it is the reason above where that blocks.
    pub clock_problem: Option<String>,
}

impl TransportStatus {
    /// The status before anything was tried.
    pub const fn starting() -> Self {
        let state = TransportState::Starting;
        Self { state, percent: 0, blocked_reason: None, gone_since: None, clock_problem: None }
    }

    /// The status once peers can be reached.
    pub const fn ready() -> Self {
        let state = TransportState::Ready;
        Self { state, percent: 100, blocked_reason: None, gone_since: None, clock_problem: None }
    }

    /// The status after the end.
    pub const fn stopped() -> Self {
        let state = TransportState::Stopped;
        Self { state, percent: 0, blocked_reason: None, gone_since: None, clock_problem: None }
    }
}

/// Whether peers can find a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reachability {
    /// Being published.
    Starting,
    /// Published: peers can connect.
    Reachable,
    /// Published before, but not completely now; or some introduction points fail. Peers may still connect.
    Degraded,
    /// Not published: peers cannot connect. It goes on trying.
    Unreachable,
    /// Ended for good; a new listener is needed.
    Stopped,
}

impl Reachability {
    /// Whether peers can probably connect.
    pub const fn is_reachable(self) -> bool {
        matches!(self, Self::Reachable | Self::Degraded)
    }
}

/// A dial failed. All are worth a later retry except [`DialError::Stopped`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// The peer is not there now.
    #[error("the peer is not online")]
    Unreachable,
    /// The peer is there, but accepted no connection on our port.
    #[error("the peer refused the connection")]
    Refused,
    /// Neither a connection nor a refusal came in time.
    #[error("the peer did not answer in time")]
    TimedOut,
    /// Our own way to the network is not open; the transport's status says why.
    #[error("the network is not reachable from here")]
    Network,
    /// This node has no resources left for a connection.
    #[error("this machine has no free connection")]
    Local,
    /// The transport was stopped.
    #[error("the node is stopping")]
    Stopped,
}

impl DialError {
    /// Whether the cause is on our side, so that the attempt says nothing about the peer.
    pub const fn is_ours(self) -> bool {
        matches!(self, Self::Network | Self::Local | Self::Stopped)
    }
}

/// A listener could not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListenError {
    /// Another listener, in this process or another, publishes this onion.
    #[error("this onion is already published, here or by another process")]
    InUse,
    /// The transport published another onion than the seed's. Nothing was accepted.
    #[error("the onion service answers for another name than this identity's")]
    WrongOnion,
    /// The transport refuses the service, or its files.
    #[error("the onion service cannot start: {0}")]
    Refused(String),
    /// The file system refuses.
    #[error("the onion service cannot start: {}", io_text(*.0))]
    Io(io::ErrorKind),
    /// The transport was stopped.
    #[error("the node is stopping")]
    Stopped,
}

fn io_text(kind: io::ErrorKind) -> String {
    io::Error::from(kind).to_string()
}

/// Why a transport could not start. Each is a sentence for the user.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A directory lets others in.
    #[error("{} is open to other users; close it with: chmod 700 {}", .0.display(), .0.display())]
    OpenDirectory(PathBuf),
    /// A directory belongs to somebody else.
    #[error("{} belongs to another user; choose a directory of your own", .0.display())]
    ForeignDirectory(PathBuf),
    /// A file that is not a directory is in the place of one.
    #[error("{} is not a directory", .0.display())]
    NotDirectory(PathBuf),
    /// The name of a socket in this directory would be too long for the system.
    #[error("the path {} is too long for Unix sockets here; use one of at most {limit} bytes", .path.display())]
    LongPath {
        /// The directory.
        path: PathBuf,
        /// The longest that works, in bytes.
        limit: usize,
    },
    /// A directory cannot be made or opened.
    #[error("{} cannot be used: {source}", .path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// arti does not accept the `[tor]` table of the configuration.
    #[error("the [tor] part of the configuration is wrong: {0}")]
    Config(String),
    /// arti's limits are not those that we set.
    #[error("Tor does not keep the limit {0}; this build of runepeer must not go online")]
    Limit(&'static str),
    /// The clock is certainly wrong.
    #[error(
        "this machine's clock says {0}, before this program was made; set the clock, because Tor needs it right within hours"
    )]
    Clock(String),
    /// Another client of Tor uses the directory.
    #[error("another process uses {}; end it first", .0.display())]
    Busy(PathBuf),
    /// arti cannot start.
    #[error("Tor cannot start: {0}")]
    Tor(String),
}

/// A published onion. Dropping it ends the publication; streams already accepted live on.
pub struct Listener {
    onion: Onion,
    incoming: mpsc::Receiver<Box<dyn Stream>>,
    reachability: watch::Receiver<Reachability>,
    _guard: Box<dyn Send + Sync>,
}

impl Listener {
    /// A listener that the transport feeds through an [`Intake`]; dropping the guard must end the publication.
    pub(super) fn new(
        onion: Onion,
        reachability: watch::Receiver<Reachability>,
        guard: impl FnOnce() -> Box<dyn Send + Sync>,
        incoming: mpsc::Receiver<Box<dyn Stream>>,
    ) -> Self {
        Self { onion, incoming, reachability, _guard: guard() }
    }

    /// A listener that a test feeds.
    #[cfg(test)]
    pub(crate) fn for_tests(
        onion: Onion,
        reachability: watch::Receiver<Reachability>,
        incoming: mpsc::Receiver<Box<dyn Stream>>,
    ) -> Self {
        Self::new(onion, reachability, || Box::new(()), incoming)
    }

    /// The onion under which peers find it.
    pub const fn onion(&self) -> Onion {
        self.onion
    }

    /// The next incoming stream; `None` once the service has ended. Safe to cancel.
    pub async fn accept(&mut self) -> Option<Box<dyn Stream>> {
        self.incoming.recv().await
    }

    /// Whether peers can find the onion, and a signal when that changes.
    pub fn reachability(&self) -> watch::Receiver<Reachability> {
        self.reachability.clone()
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("reachability", &*self.reachability.borrow()).finish_non_exhaustive()
    }
}

/// A transport's end of a [`Listener`]: counts the open streams, and hands over new ones.
#[derive(Clone)]
pub(super) struct Intake {
    places: Arc<Semaphore>,
    sender: mpsc::Sender<Box<dyn Stream>>,
}

impl Intake {
    /// An intake with the places of one onion, and the receiving end for the listener.
    pub(super) fn of_onion() -> (Self, mpsc::Receiver<Box<dyn Stream>>) {
        Self::new(limits::CONNECTIONS)
    }

    /// An intake with this many places.
    fn new(places: usize) -> (Self, mpsc::Receiver<Box<dyn Stream>>) {
        let (sender, receiver) = mpsc::channel(places.max(1));
        (Self { places: Arc::new(Semaphore::new(places)), sender }, receiver)
    }

    /// A place for one more stream, once there is one. `None` once the listener is gone.
    pub(super) async fn place(&self) -> Option<StreamPermit> {
        tokio::select! {
            biased;
            () = self.sender.closed() => None,
            permit = Arc::clone(&self.places).acquire_owned() => permit.ok().map(StreamPermit::new),
        }
    }

    /// A place for one more stream, if there is one now.
    pub(super) fn place_now(&self) -> Option<StreamPermit> {
        Arc::clone(&self.places).try_acquire_owned().ok().map(StreamPermit::new)
    }

    /// Hands a stream to the listener; `false` once the listener is gone. Never waits, because the channel has as many
    /// slots as there are places.
    pub(super) fn give(&self, stream: impl Stream, place: StreamPermit) -> bool {
        self.sender.try_send(Box::new(Placed { stream, _place: place })).is_ok()
    }

    /// Returns once the listener is gone.
    pub(super) async fn gone(&self) {
        self.sender.closed().await;
    }
}

/// The permission for one open stream; given back when the stream is dropped.
pub(super) struct StreamPermit {
    _permit: OwnedSemaphorePermit,
    _circuit: Option<Arc<()>>,
}

impl StreamPermit {
    const fn new(permit: OwnedSemaphorePermit) -> Self {
        Self { _permit: permit, _circuit: None }
    }

    /// The same permission, which also keeps something alive for as long as the stream.
    pub(super) fn on(self, circuit: Arc<()>) -> Self {
        Self { _circuit: Some(circuit), ..self }
    }
}

/// A stream that holds its place.
struct Placed<S> {
    stream: S,
    _place: StreamPermit,
}

impl<S: Stream> AsyncRead for Placed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: Stream> AsyncWrite for Placed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Waits for a dial for as long as [`limits::DIAL`] allows.
pub(super) async fn within_dial<T>(dial: impl Future<Output = Result<T, DialError>> + Send) -> Result<T, DialError> {
    tokio::time::timeout(limits::DIAL, dial).await.unwrap_or(Err(DialError::TimedOut))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_listener_holds_no_more_streams_than_it_has_places() {
        let (intake, mut incoming) = Intake::new(2);
        let mut ends = Vec::new();
        for _ in 0..2 {
            let (ours, theirs) = tokio::io::duplex(64);
            assert!(intake.give(ours, intake.place_now().unwrap()));
            ends.push(theirs);
        }
        assert!(intake.place_now().is_none());
        let first = incoming.recv().await.unwrap();
        assert!(intake.place_now().is_none(), "an accepted stream keeps its place while it lives");
        drop(first);
        assert!(intake.place_now().is_some());
        drop(incoming);
        assert!(intake.place().await.is_none());
    }
}
