//! Submission: where a mail program hands over mail to send (RFC 6409), on loopback.
//!
//! The session is a machine without IO (`session`); `connection` moves bytes between it and a stream;
//! `receiver` reads DATA; `reply` says what a failure means to a mail program. A message is answered with 250 only when
//! the queue holds it on disk; from then on this daemon has to deliver it or report that it could not.
//!
//! Failures: a client that goes away or falls silent loses the messages for which it had no 250 yet. A peer that speaks
//! HTTP, TLS or anything else that a browser may be tricked into sending is disconnected without an echo.

mod connection;
mod receiver;
mod reply;
mod session;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::account::{Account, Accounts};
use super::pacer::Pacer;
use super::places::Places;
use super::uploads::Uploads;
use crate::base::{Rng, Timestamp, limits};
use crate::engine::Unaddressable;
use crate::mail::Address;

/// Gives the address that a mail program means: an address in the book, `petname@rune.internal`, or a bare
/// petname.
pub type Resolve = Arc<dyn Fn(&dyn Account, &str) -> Result<Address, Unaddressable> + Send + Sync>;

/// What the gateway needs from the daemon.
#[derive(Clone)]
pub struct Config {
    /// Finds the address that a recipient means.
    pub resolve: Resolve,
    /// The time, for Date where a message has none.
    pub clock: fn() -> Timestamp,
    /// Randomness, for Message-ID where a message has none.
    pub rng: fn() -> Box<dyn Rng>,
    /// Bounds.
    pub bounds: Bounds,
}

/// The bounds of a session; [`Bounds::default`] gives those of [`limits`].
#[derive(Debug, Clone)]
pub struct Bounds {
    /// How long a session may be silent.
    pub idle: Duration,
    /// The memory of messages that are arriving; may be shared with other gateways.
    pub uploads: Uploads,
    /// The pace of wrong passwords; may be shared with other gateways.
    pub pacer: Pacer,
    /// The largest message that may be submitted, in bytes, as EHLO announces it. It may gain
    /// [`limits::SUBMISSION_GAIN_BYTES`].
    pub message: usize,
    /// Connections that are not logged in; the oldest of them gives way to a new one.
    pub before_login: usize,
    /// Sessions of one account.
    pub sessions: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            idle: limits::SUBMISSION_IDLE,
            pacer: Pacer::default(),
            uploads: Uploads::default(),
            message: limits::MESSAGE_BYTES - limits::SUBMISSION_GAIN_BYTES,
            before_login: limits::SUBMISSION_SESSIONS_BEFORE_LOGIN,
            sessions: limits::SUBMISSION_SESSIONS,
        }
    }
}

/// The submission server of a node.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
}

struct Shared {
    accounts: Arc<dyn Accounts>,
    config: Config,
    before_login: Arc<Places>,
    /// Logged-in sessions by account.
    sessions: Mutex<BTreeMap<Address, usize>>,
}

impl Server {
    /// A server for these accounts.
    pub fn new(accounts: Arc<dyn Accounts>, config: Config) -> Self {
        let before_login = Places::new(config.bounds.before_login);
        Self { shared: Arc::new(Shared { accounts, config, before_login, sessions: Mutex::default() }) }
    }

    /// Accepts mail programs until `shutdown` becomes true or its sender is gone. Then it ends the sessions that are
    /// between two commands, and returns when the last session is over.
    pub async fn serve(&self, listener: TcpListener, mut shutdown: watch::Receiver<bool>) {
        let mut sessions = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = shutdown.wait_for(|stop| *stop) => break,
                Some(_) = sessions.join_next() => continue,
            };
            match accepted {
                Ok((stream, _)) => {
                    let (server, shutdown) = (self.clone(), shutdown.clone());
                    sessions.spawn(async move { server.session(stream, shutdown).await });
                }
                Err(error) => {
                    tracing::warn!(kind = ?error.kind(), "submission: a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        while sessions.join_next().await.is_some() {}
    }

    /// Serves one connection to its end.
    pub async fn session<S>(&self, stream: S, shutdown: watch::Receiver<bool>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        connection::run(&self.shared, stream, shutdown).await;
    }
}

/// After a failed accept (too many open files): long enough not to spin, short enough not to be noticed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One logged-in session. It counts as long as this value lives.
struct Seat {
    shared: Arc<Shared>,
    address: Address,
}

impl Seat {
    /// `None` where the account has as many sessions as it may.
    fn take(shared: &Arc<Shared>, address: Address) -> Option<Self> {
        let mut sessions = shared.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let count = sessions.entry(address.clone()).or_insert(0);
        if *count >= shared.config.bounds.sessions {
            return None;
        }
        *count += 1;
        drop(sessions);
        Some(Self { shared: Arc::clone(shared), address })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut sessions = self.shared.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = sessions.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                sessions.remove(&self.address);
            }
        }
    }
}
