//! The IMAP gateway: what a mail program reads and files its mail with (IMAP4rev1, RFC 3501, on loopback).
//!
//! [`Server`] owns the listener and the sessions. A session goes from greeting to login to selected folders
//! (`session`); commands come out of the stream by `framing` and `stream`, and one file per family answers them
//! (`login`, `folders`, `list`, `fetch`, `change`, `search`, `idle`). It reads what the identity publishes and asks
//! for every change through [`Account::request`](super::account::Account::request); nothing is acknowledged before
//! that is answered. A failure of one session ends that session only.

mod change;
mod dates;
mod encode;
mod fetch;
mod folders;
mod framing;
mod idle;
mod list;
mod login;
mod matching;
mod reply;
mod search;
mod session;
mod source;
mod stream;
mod syntax;
mod utf7;
mod view;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::account::Accounts;
use super::pacer::Pacer;
use super::places::Places;
use super::uploads::Uploads;
use crate::base::limits;
use crate::mail::Address;
use session::{Session, stopped};

/// The bounds of the gateway. [`Limits::default`] is what the product uses; tests shorten the times.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Sessions of one account.
    pub sessions: usize,
    /// Connections that are not logged in; the oldest of them gives way to a new one.
    pub before_login: usize,
    /// How long a client may be silent before login.
    pub idle_before_login: Duration,
    /// How long a client may be silent after login, IDLE included.
    pub idle: Duration,
    /// How long a client may take nothing, or pause within a literal.
    pub stall: Duration,
    /// The pace of wrong passwords; may be shared with other gateways.
    pub pacer: Pacer,
    /// Time that one SEARCH may take.
    pub search_time: Duration,
    /// Bytes of messages that all sessions read to look into them, together.
    pub memory: Arc<Semaphore>,
    /// The memory of messages that are arriving; may be shared with other gateways.
    pub uploads: Uploads,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: limits::IMAP_SESSIONS,
            before_login: limits::IMAP_SESSIONS_BEFORE_LOGIN,
            idle_before_login: limits::IMAP_IDLE_BEFORE_LOGIN,
            idle: limits::IMAP_IDLE,
            stall: limits::IMAP_STALL,
            pacer: Pacer::default(),
            search_time: limits::IMAP_SEARCH_TIME,
            memory: Arc::new(Semaphore::new(limits::IMAP_READ_BYTES)),
            uploads: Uploads::default(),
        }
    }
}

/// How long sessions may take to end when the daemon stops.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long to wait when the system has no socket left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// The IMAP server of a node.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
}

impl Server {
    /// A server for these accounts.
    pub fn new(accounts: Arc<dyn Accounts>, limits: Limits) -> Self {
        Self { shared: Arc::new(Shared::new(accounts, limits)) }
    }

    /// Serves mail programs until `shutdown` is true (or its sender is gone). Then it accepts no more connections, says
    /// BYE where a session waits for a command, gives running commands five seconds, and returns.
    pub async fn serve(&self, listener: TcpListener, mut shutdown: watch::Receiver<bool>) {
        let mut sessions = JoinSet::new();
        let stop = shutdown.clone();
        loop {
            tokio::select! {
                () = stopped(&mut shutdown) => break,
                Some(_) = sessions.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        // Commands and answers are small and alternate.
                        let _ = stream.set_nodelay(true);
                        let (server, stop) = (self.clone(), stop.clone());
                        sessions.spawn(async move { server.session(stream, stop).await });
                    }
                    Err(error) => {
                        tracing::warn!(kind = ?error.kind(), "cannot accept a mail program");
                        tokio::time::sleep(ACCEPT_AGAIN).await;
                    }
                },
            }
        }
        drop(listener);
        let ended = timeout(FAREWELL, async { while sessions.join_next().await.is_some() {} }).await;
        if ended.is_err() {
            sessions.shutdown().await;
        }
    }

    /// Serves one connection to its end.
    pub async fn session<S>(&self, stream: S, stop: watch::Receiver<bool>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (place, giving_way) = self.shared.before_login.enter();
        let (input, output) = tokio::io::split(stream);
        Session::new(input, output, Arc::clone(&self.shared), stop, place).run(giving_way).await;
    }
}

/// The parts that all sessions share.
struct Shared {
    accounts: Arc<dyn Accounts>,
    limits: Limits,
    before_login: Arc<Places>,
    /// Sessions by account.
    sessions: Mutex<BTreeMap<String, usize>>,
}

impl Shared {
    fn new(accounts: Arc<dyn Accounts>, limits: Limits) -> Self {
        let before_login = Places::new(limits.before_login);
        Self { accounts, limits, before_login, sessions: Mutex::default() }
    }

    /// A place among the sessions of an account; `None` where it has too many.
    fn enter(self: &Arc<Self>, address: &Address) -> Option<AccountSession> {
        let account = address.to_string();
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let count = sessions.entry(account.clone()).or_default();
        if *count >= self.limits.sessions {
            return None;
        }
        *count += 1;
        Some(AccountSession { shared: Arc::clone(self), account })
    }
}

/// One session's place; given back when it is dropped.
struct AccountSession {
    shared: Arc<Shared>,
    account: String,
}

impl Drop for AccountSession {
    fn drop(&mut self) {
        let mut sessions = self.shared.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = sessions.get_mut(&self.account) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                sessions.remove(&self.account);
            }
        }
    }
}
