//! The connections of one machine: tasks that carry their bytes, and the pieces that wait between them and the machine.
//!
//! Bytes that a machine does not want to read yet stay here, one piece a session, and the peer that sent them waits.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::base::{Onion, SessionId};
use crate::engine::io::DialError;
use crate::net::pump::{Ending, Pace, SessionIn, SessionOut, Waiting, pump};
use crate::net::{self, Isolation, Stream, Transport};

/// Bytes and signals of sessions that wait for the machine.
const WAITING_FROM_SESSIONS: usize = 64;
/// Pieces that wait to be written to one peer; a session that lets more pile up is closed.
const WAITING_FOR_PEER: usize = 1024;

/// An event of a session. Dropping it lets the session read on.
pub(in crate::daemon) struct News {
    session: SessionId,
    happened: Happened,
    _taken: oneshot::Sender<()>,
}

enum Happened {
    Dialled(Result<(), DialError>),
    Stream(SessionIn),
}

/// The events of sessions, as the machine hears them.
pub(in crate::daemon) enum Heard {
    /// Whether connecting to a peer succeeded; always the first event of a dialled session.
    Dialled(SessionId, Result<(), DialError>),
    /// Bytes from a peer.
    Bytes(SessionId, Vec<u8>),
    /// A session ended.
    Closed(SessionId),
}

/// The sessions of a machine.
pub(in crate::daemon) struct Sessions {
    news: (mpsc::Sender<News>, mpsc::Receiver<News>),
    /// Events of sessions that read nothing more for now; their peers wait.
    held: BTreeMap<SessionId, News>,
    /// A session whose peer takes too little loses its writer, and waits for its end.
    writers: BTreeMap<SessionId, Option<Writer>>,
    next: u64,
    /// If more bytes than this wait for a peer, nothing more is read from that peer.
    backlog: usize,
    /// A peer that was behind has caught up.
    drained: Arc<Notify>,
}

/// The end of a session at which bytes are given to its pump.
struct Writer {
    to_pump: mpsc::Sender<SessionOut>,
    waiting: Arc<Waiting>,
}

/// The other end of the writer.
struct Written {
    from_engine: mpsc::Receiver<SessionOut>,
    waiting: Arc<Waiting>,
}

impl Sessions {
    /// No sessions yet. While more than `backlog` bytes wait for a peer, nothing more is read from it, because the
    /// answers to its requests can be much larger than the requests.
    pub(in crate::daemon) fn new(backlog: usize) -> Self {
        let (held, writers) = (BTreeMap::new(), BTreeMap::new());
        Self { news: mpsc::channel(WAITING_FROM_SESSIONS), held, writers, next: 0, backlog, drained: Arc::default() }
    }

    /// Whether more bytes than the backlog wait for the peer.
    pub(in crate::daemon) fn is_behind(&self, session: SessionId) -> bool {
        let writer = self.writers.get(&session).and_then(Option::as_ref);
        writer.is_some_and(|writer| !writer.waiting.are_few())
    }

    /// The next event of any session; `None` where a peer that was behind has caught up.
    pub(in crate::daemon) async fn next(&mut self) -> Option<News> {
        tokio::select! {
            // This side holds a sender too, so the channel never ends.
            Some(news) = self.news.1.recv() => Some(news),
            () = self.drained.notified() => None,
        }
    }

    /// A peer connected. The stream is carried on these threads ([`Transport::threads`]).
    pub(in crate::daemon) fn accept(&mut self, stream: Box<dyn Stream>, threads: Option<Handle>) -> SessionId {
        // Numbers from `DIALLED_SESSIONS` on are given by the machine.
        let session = SessionId(self.next);
        self.next += 1;
        let written = self.writer(session);
        tokio::spawn(run(session, stream, threads, written, self.news.0.clone()));
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
                // A dial that panics counts as failed; otherwise the machine would wait for it for ever.
                dialled = dialling => dialled.unwrap_or(Err(net::DialError::Local)),
                // The machine has closed the session.
                () = written.waiting.closed() => return,
            };
            let ours =
                |error: &net::DialError| if error.is_ours() { DialError::Offline } else { DialError::Unreachable };
            let happened = Happened::Dialled(dialled.as_ref().map(|_| ()).map_err(ours));
            tell(&to_engine, session, happened).await;
            if let Ok(stream) = dialled {
                run(session, stream, transport.threads(), written, to_engine).await;
            }
        });
    }

    pub(in crate::daemon) fn transmit(&mut self, session: SessionId, bytes: Vec<u8>) {
        self.give(session, SessionOut::Bytes(bytes));
    }

    /// Ends a session once everything that was transmitted is written.
    pub(in crate::daemon) fn close(&mut self, session: SessionId) {
        self.give(session, SessionOut::Close);
        if let Some(Some(writer)) = self.writers.get(&session) {
            writer.waiting.close();
        }
        self.writers.remove(&session);
    }

    /// The event for the machine; `None` where the machine has closed the session itself, or reads nothing from it for
    /// now.
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

    /// An event that was held back and that the machine wants now. Handling it may release others, so the caller asks
    /// again.
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

    /// Ends all sessions.
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
            // Without its writer the pump ends, and the machine hears that the session closed.
            *place = None;
        }
    }
}

/// Carries the bytes of a session until it ends. Over Tor this is done on arti's threads: from others each cell would wake a
/// thread.
async fn run(
    session: SessionId,
    stream: Box<dyn Stream>,
    threads: Option<Handle>,
    Written { from_engine, waiting }: Written,
    to_engine: mpsc::Sender<News>,
) {
    let (engine, counted) = (to_engine.clone(), Arc::clone(&waiting));
    let pumped = async move {
        let tell = |happened| tell(&engine, session, Happened::Stream(happened));
        pump(stream, from_engine, tell, Pace::default(), &counted).await
    };
    let pumped = threads.unwrap_or_else(Handle::current).spawn(pumped);
    // It panicked, or its threads have ended with the arti that they belong to.
    if pumped.await.is_err() {
        waiting.end();
        tell(&to_engine, session, Happened::Stream(SessionIn::Closed(Ending::Broken))).await;
    }
}

/// Tells the machine of an event, and waits until it was taken.
async fn tell(to_engine: &mpsc::Sender<News>, session: SessionId, happened: Happened) {
    let (taken, read_on) = oneshot::channel();
    // If the driver has ended, nothing needs the event.
    let _ = to_engine.send(News { session, happened, _taken: taken }).await;
    // Always ends with an error: nothing is ever sent on the channel, it is dropped.
    let _ = read_on.await;
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::pin::Pin;
    use std::sync::Mutex;
    use std::task::{Context, Poll};
    use std::time::Duration;

    use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
    use tokio::time::timeout;

    use super::*;

    /// A stream that notes the name of the thread on which it is read.
    struct Noting(DuplexStream, Arc<Mutex<Option<String>>>);

    impl AsyncRead for Noting {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            *self.1.lock().unwrap() = std::thread::current().name().map(str::to_owned);
            Pin::new(&mut self.0).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Noting {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.0).poll_write(cx, buf)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(cx)
        }
    }

    async fn next(sessions: &mut Sessions) -> Option<Heard> {
        loop {
            let news = timeout(Duration::from_secs(10), sessions.next()).await.expect("the machine hears something");
            // Otherwise a peer has taken what waited for it.
            if let Some(news) = news {
                return sessions.heard(news, |_| false);
            }
        }
    }

    #[tokio::test]
    async fn streams_are_carried_on_the_threads_of_their_transport_and_close_where_these_end() {
        let threads =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("carrying").enable_all().build();
        let threads = threads.unwrap();
        let mut sessions = Sessions::new(0);
        let (ours, mut theirs) = tokio::io::duplex(64);
        let name = Arc::new(Mutex::new(None));
        let stream = Box::new(Noting(ours, Arc::clone(&name)));
        let session = sessions.accept(stream, Some(threads.handle().clone()));
        theirs.write_all(b"x").await.unwrap();
        assert!(matches!(next(&mut sessions).await, Some(Heard::Bytes(of, bytes)) if of == session && bytes == b"x"));
        assert_eq!(name.lock().unwrap().as_deref(), Some("carrying"));
        // More than the peer takes: the session is behind when it ends.
        sessions.transmit(session, vec![7; 1000]);
        threads.shutdown_background();
        assert!(matches!(next(&mut sessions).await, Some(Heard::Closed(of)) if of == session));
    }
}
