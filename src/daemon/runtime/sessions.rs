//! The connections of one machine: tasks that carry their bytes, and the pieces that wait between them and the machine.
//!
//! Bytes that a machine does not want to read yet stay here, one piece a session, and the peer that sent them waits.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::base::{Onion, SessionId};
use crate::engine::io::DialError;
use crate::net::pump::{Ending, Pace, SessionIn, SessionOut, Waiting, pump};
use crate::net::{self, Isolation, Stream, Transport};

/// Bytes and signals of sessions that wait for the machine.
const WAITING_FROM_SESSIONS: usize = 64;
/// Pieces that wait to be written to one peer; a session that lets more pile up is closed.
const WAITING_FOR_PEER: usize = 1024;

/// What happened on a session. Dropping it lets the session read on.
pub(in crate::daemon) struct News {
    session: SessionId,
    happened: Happened,
    _taken: oneshot::Sender<()>,
}

enum Happened {
    Dialled(Result<(), DialError>),
    Stream(SessionIn),
}

/// What the machine is to hear.
pub(in crate::daemon) enum Heard {
    /// How it went to connect to a peer; before anything else on that session.
    Dialled(SessionId, Result<(), DialError>),
    /// Bytes from a peer.
    Bytes(SessionId, Vec<u8>),
    /// A session ended.
    Closed(SessionId),
}

/// The sessions of a machine.
pub(in crate::daemon) struct Sessions {
    news: (mpsc::Sender<News>, mpsc::Receiver<News>),
    /// What came on sessions that read no further for now; their peers wait.
    held: BTreeMap<SessionId, News>,
    /// A session whose peer takes too little has lost its writer and waits for its end.
    writers: BTreeMap<SessionId, Option<Writer>>,
    next: u64,
    /// With more bytes than this waiting to be written, nothing more is read from a peer.
    backlog: usize,
    /// A peer that was behind has caught up.
    drained: Arc<Notify>,
}

/// The end of a session at which bytes are given to its pump.
struct Writer {
    to_pump: mpsc::Sender<SessionOut>,
    waiting: Arc<Waiting>,
}

/// The other end.
struct Written {
    from_engine: mpsc::Receiver<SessionOut>,
    waiting: Arc<Waiting>,
}

impl Sessions {
    /// No sessions. From a peer that lets more than `backlog` bytes wait nothing more is read until it takes them: its
    /// requests make answers that are much larger.
    pub(in crate::daemon) fn new(backlog: usize) -> Self {
        let (held, writers) = (BTreeMap::new(), BTreeMap::new());
        Self { news: mpsc::channel(WAITING_FROM_SESSIONS), held, writers, next: 0, backlog, drained: Arc::default() }
    }

    /// Whether much of what was transmitted waits for the peer.
    pub(in crate::daemon) fn is_behind(&self, session: SessionId) -> bool {
        let writer = self.writers.get(&session).and_then(Option::as_ref);
        writer.is_some_and(|writer| !writer.waiting.are_few())
    }

    /// What happens next on any of them; `None` where a peer that was behind has caught up.
    pub(in crate::daemon) async fn next(&mut self) -> Option<News> {
        tokio::select! {
            // We hold a sender ourselves: it never ends.
            Some(news) = self.news.1.recv() => Some(news),
            () = self.drained.notified() => None,
        }
    }

    /// Somebody connected.
    pub(in crate::daemon) fn accept(&mut self, stream: Box<dyn Stream>) -> SessionId {
        // Below `DIALLED_SESSIONS`, which the machine numbers.
        let session = SessionId(self.next);
        self.next += 1;
        let written = self.writer(session);
        tokio::spawn(run(session, stream, written, self.news.0.clone()));
        session
    }

    /// Connects to a peer.
    pub(in crate::daemon) fn dial(
        &mut self,
        session: SessionId,
        transport: Arc<dyn Transport>,
        onion: Onion,
        isolation: Isolation,
    ) {
        let (written, to_engine) = (self.writer(session), self.news.0.clone());
        tokio::spawn(async move {
            let dialling = AssertUnwindSafe(async { transport.dial(onion, isolation).await }).catch_unwind();
            let dialled = tokio::select! {
                // What fails in a way that nobody foresaw counts as failed, or the machine would wait for it for good.
                dialled = dialling => dialled.unwrap_or(Err(net::DialError::Local)),
                // The machine has no more use for it.
                () = written.waiting.closed() => return,
            };
            let ours =
                |error: &net::DialError| if error.is_ours() { DialError::Offline } else { DialError::Unreachable };
            let happened = Happened::Dialled(dialled.as_ref().map(|_| ()).map_err(ours));
            tell(&to_engine, session, happened).await;
            if let Ok(stream) = dialled {
                run(session, stream, written, to_engine).await;
            }
        });
    }

    pub(in crate::daemon) fn transmit(&mut self, session: SessionId, bytes: Vec<u8>) {
        self.give(session, SessionOut::Bytes(bytes));
    }

    /// DriverHandle a session after what was transmitted.
    pub(in crate::daemon) fn close(&mut self, session: SessionId) {
        self.give(session, SessionOut::Close);
        if let Some(Some(writer)) = self.writers.get(&session) {
            writer.waiting.close();
        }
        self.writers.remove(&session);
    }

    /// What news mean to the machine; nothing where it has closed the session itself, or reads no further for now.
    pub(in crate::daemon) fn heard(&mut self, news: News, is_blocked: impl Fn(SessionId) -> bool) -> Option<Heard> {
        let session = news.session;
        if is_blocked(session) || self.is_behind(session) {
            self.held.insert(session, news);
            return None;
        }
        let is_open = self.writers.contains_key(&session);
        match news.happened {
            Happened::Dialled(result) => {
                if result.is_err() {
                    self.writers.remove(&session);
                }
                is_open.then_some(Heard::Dialled(session, result))
            }
            Happened::Stream(SessionIn::Bytes(bytes)) => is_open.then_some(Heard::Bytes(session, bytes)),
            Happened::Stream(SessionIn::Closed(_)) => {
                self.writers.remove(&session);
                is_open.then_some(Heard::Closed(session))
            }
        }
    }

    /// What was held back from the machine and is wanted now. Handling it may let others read on: ask again.
    pub(in crate::daemon) fn released(&mut self, is_blocked: impl Fn(SessionId) -> bool) -> Option<Heard> {
        let wanted = |sessions: &Self| {
            let mut held = sessions.held.keys().copied();
            held.find(|session| !is_blocked(*session) && !sessions.is_behind(*session))
        };
        while let Some(session) = wanted(self) {
            let news = self.held.remove(&session)?;
            if let Some(heard) = self.heard(news, |_| false) {
                return Some(heard);
            }
        }
        None
    }

    /// DriverHandle all of them.
    pub(in crate::daemon) fn clear(&mut self) {
        self.writers.clear();
    }

    #[cfg(test)]
    pub(in crate::daemon) fn is_empty(&self) -> bool {
        self.writers.is_empty()
    }

    fn writer(&mut self, session: SessionId) -> Written {
        let (to_pump, from_engine) = mpsc::channel(WAITING_FOR_PEER);
        let waiting = Arc::new(Waiting::new(self.backlog, Arc::clone(&self.drained)));
        self.writers.insert(session, Some(Writer { to_pump, waiting: Arc::clone(&waiting) }));
        Written { from_engine, waiting }
    }

    fn give(&mut self, session: SessionId, out: SessionOut) {
        let Some(place) = self.writers.get_mut(&session) else { return };
        let Some(writer) = place else { return };
        let size = match &out {
            SessionOut::Bytes(bytes) => bytes.len(),
            SessionOut::Close => 0,
        };
        writer.waiting.add(size);
        if writer.to_pump.try_send(out).is_err() {
            // Without its writer the pump ends, and the machine hears of it.
            *place = None;
        }
    }
}

async fn run(
    session: SessionId,
    stream: Box<dyn Stream>,
    Written { from_engine, waiting }: Written,
    to_engine: mpsc::Sender<News>,
) {
    let tell = |happened| tell(&to_engine, session, Happened::Stream(happened));
    let pumped = pump(stream, from_engine, tell, Pace::default(), &waiting);
    if AssertUnwindSafe(pumped).catch_unwind().await.is_err() {
        tell(SessionIn::Closed(Ending::Broken)).await;
    }
}

/// Tells the machine something, and waits until it has taken it.
async fn tell(to_engine: &mpsc::Sender<News>, session: SessionId, happened: Happened) {
    let (taken, read_on) = oneshot::channel();
    // Where the driver has ended, nobody needs to know.
    let _ = to_engine.send(News { session, happened, _taken: taken }).await;
    // DriverHandle with an error in any case: nothing is ever sent on it, it is dropped.
    let _ = read_on.await;
}
