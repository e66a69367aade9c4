//! Carries the bytes of one stream to a state machine and back.
//!
//! Reading and writing go on side by side. At most [`limits::STREAM_READ_BYTES`] are read before the machine has taken
//! them, so a fast peer waits for a slow engine. A peer that takes fewer than [`limits::STREAM_PROGRESS_BYTES`] in
//! [`limits::STREAM_PROGRESS`] is dropped, and every session ends after [`limits::WIRE_SESSION`]. The deadlines of the
//! protocol (first command, silence) belong to the machine. Bytes that were given before the machine closed must be
//! taken within [`limits::STREAM_CLOSING`]. When writing fails, the bytes that the peer sent before it closed are still
//! read: they may say why.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use super::transport::Stream;
use crate::base::limits;

/// The size of a read after one that did not fill its buffer.
const SMALL_READ_BYTES: usize = 4 * limits::KIB;

/// The requests of the machine to its stream.
#[derive(Debug, PartialEq, Eq)]
pub enum SessionOut {
    /// Send these bytes.
    Bytes(Vec<u8>),
    /// Send everything that was given before, then close.
    Close,
}

/// The events of the stream.
#[derive(Debug, PartialEq, Eq)]
pub enum SessionIn {
    /// The peer sent these bytes; at most [`limits::STREAM_READ_BYTES`], never empty.
    Bytes(Vec<u8>),
    /// No more bytes will come or go. Given once, as the last event.
    Closed(Ending),
}

/// Why a session's stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The peer closed.
    Peer,
    /// The machine asked for it, or is gone.
    Machine,
    /// The connection broke.
    Broken,
    /// The peer took too few bytes in the time given, or the session lasted too long.
    TooSlow,
}

/// Counts the bytes that were given to a pump and are not written yet.
#[derive(Debug)]
pub struct Waiting {
    closing: Notify,
    bytes: AtomicUsize,
    few: usize,
    drained: Arc<Notify>,
}

impl Waiting {
    /// No bytes yet. When their number falls to `few` or less, `drained` is notified.
    pub const fn new(few: usize, drained: Arc<Notify>) -> Self {
        Self { closing: Notify::const_new(), bytes: AtomicUsize::new(0), few, drained }
    }

    /// Says that no more bytes will be given, so that the remaining ones have limited time. [`SessionOut::Close`] says
    /// the same, but comes only behind them.
    pub fn close(&self) {
        self.closing.notify_one();
    }

    /// Returns once [`Self::close`] was called.
    pub async fn closed(&self) {
        self.closing.notified().await;
    }

    /// Notes that so many more bytes were given.
    pub fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Whether no more than `few` bytes are waiting.
    pub fn are_few(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) <= self.few
    }

    /// Notes that so many bytes were written, all of which were added before.
    fn remove(&self, bytes: usize) {
        let before = self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        if before > self.few && before.saturating_sub(bytes) <= self.few {
            self.drained.notify_one();
        }
    }

    /// The stream has ended: no bytes are waiting any more.
    pub fn end(&self) {
        self.bytes.store(0, Ordering::Relaxed);
        self.drained.notify_one();
    }
}

/// The times that a pump keeps.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The peer must take [`limits::STREAM_PROGRESS_BYTES`] in this time.
    pub progress: Duration,
    /// Bytes that were given before the machine closed must be taken in this time.
    pub closing: Duration,
    /// For how long the bytes of the peer are read after writing became impossible.
    pub linger: Duration,
    /// How long the whole session may last.
    pub total: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            progress: limits::STREAM_PROGRESS,
            closing: limits::STREAM_CLOSING,
            linger: limits::STREAM_LINGER,
            total: limits::WIRE_SESSION,
        }
    }
}

/// Carries bytes until either side ends, then tells the machine so, once. `to_engine` resolves when the machine has
/// taken the bytes: until then nothing more is read. A dropped sender of `from_engine` counts as [`SessionOut::Close`].
pub async fn pump<F, T>(
    stream: impl Stream,
    from_engine: mpsc::Receiver<SessionOut>,
    to_engine: F,
    pace: Pace,
    waiting: &Waiting,
) -> Ending
where
    F: Fn(SessionIn) -> T + Send,
    T: Future<Output = ()> + Send,
{
    let ending = timeout(pace.total, both_ways(stream, from_engine, &to_engine, pace, waiting)).await;
    let ending = ending.unwrap_or(Ending::TooSlow);
    waiting.end();
    to_engine(SessionIn::Closed(ending)).await;
    ending
}

async fn both_ways<F, T>(
    stream: impl Stream,
    from_engine: mpsc::Receiver<SessionOut>,
    to_engine: &F,
    pace: Pace,
    waiting: &Waiting,
) -> Ending
where
    F: Fn(SessionIn) -> T + Send,
    T: Future<Output = ()> + Send,
{
    let (reader, writer) = split(stream);
    let mut reading = pin!(read_all(reader, to_engine));
    let writing = write_all(writer, from_engine, pace.progress, waiting);
    let closing = async {
        waiting.closed().await;
        tokio::time::sleep(pace.closing).await;
    };
    tokio::select! {
        ending = &mut reading => ending,
        () = closing => Ending::TooSlow,
        ending = writing => {
            if ending == Ending::Broken {
                // Reads only the last bytes of the peer: the ending stays the same.
                let _ = timeout(pace.linger, reading).await;
            }
            ending
        }
    }
}

/// Reads until the peer closes or the connection breaks.
async fn read_all<S, F, T>(mut reader: ReadHalf<S>, to_engine: &F) -> Ending
where
    S: AsyncRead,
    F: Fn(SessionIn) -> T + Send,
    T: Future<Output = ()> + Send,
{
    let mut room = SMALL_READ_BYTES;
    loop {
        let mut bytes = Vec::with_capacity(room);
        let ended = read_what_is_there(&mut reader, &mut bytes, room).await;
        // Silent sessions should hold little memory, but a payload is read in large pieces.
        room = if bytes.len() == room { limits::STREAM_READ_BYTES } else { SMALL_READ_BYTES };
        if !bytes.is_empty() {
            tracing::trace!(bytes = bytes.len(), "read from a peer");
            to_engine(SessionIn::Bytes(bytes)).await;
        }
        if let Some(ending) = ended {
            return ending;
        }
    }
}

/// Waits for the first bytes, and reads what has come behind them, up to `room` bytes in all; gives the ending where the
/// stream ended. Tor's streams give one cell at a time, of 498 bytes, and a machine that was told of each would have
/// fifty thousand turns for a large message.
async fn read_what_is_there<R: AsyncRead + Unpin>(reader: &mut R, bytes: &mut Vec<u8>, room: usize) -> Option<Ending> {
    poll_fn(|cx| {
        while bytes.len() < room {
            let mut rest = (&mut *reader).take((room - bytes.len()) as u64);
            let read = pin!(rest.read_buf(bytes)).poll(cx);
            match read {
                Poll::Ready(Ok(0)) => return Poll::Ready(Some(Ending::Peer)),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Poll::Ready(Some(Ending::Peer));
                }
                Poll::Ready(Err(_)) => return Poll::Ready(Some(Ending::Broken)),
                Poll::Pending if bytes.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(None)
    })
    .await
}

/// Writes the bytes that the machine gives, until it closes.
async fn write_all<S: AsyncWrite>(
    mut writer: WriteHalf<S>,
    mut from_engine: mpsc::Receiver<SessionOut>,
    progress: Duration,
    waiting: &Waiting,
) -> Ending {
    while let Some(SessionOut::Bytes(bytes)) = from_engine.recv().await {
        tracing::trace!(bytes = bytes.len(), "to be written to a peer");
        if let Err(ending) = write_steadily(&mut writer, &bytes, progress, from_engine.is_empty(), waiting).await {
            return ending;
        }
    }
    let close = async {
        // Buffered bytes are sent before the end of the stream.
        writer.flush().await?;
        writer.shutdown().await
    };
    match in_time(progress, close).await {
        Ok(()) => Ending::Machine,
        Err(ending) => ending,
    }
}

/// Writes all bytes, as long as the peer keeps taking some; flushes when no other bytes follow at once.
async fn write_steadily<W: AsyncWrite + Unpin>(
    writer: &mut W,
    bytes: &[u8],
    progress: Duration,
    flush: bool,
    waiting: &Waiting,
) -> Result<(), Ending> {
    for piece in bytes.chunks(limits::STREAM_PROGRESS_BYTES) {
        in_time(progress, writer.write_all(piece)).await?;
        waiting.remove(piece.len());
    }
    if flush { in_time(progress, writer.flush()).await } else { Ok(()) }
}

async fn in_time(limit: Duration, write: impl Future<Output = io::Result<()>>) -> Result<(), Ending> {
    match timeout(limit, write).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Ending::Broken),
        Err(_) => Err(Ending::TooSlow),
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::Context;
    use tokio::io::{DuplexStream, ReadBuf};
    use tokio::sync::Mutex;

    use super::*;

    const QUICK: Pace = Pace {
        progress: Duration::from_millis(50),
        closing: Duration::from_secs(20),
        linger: Duration::from_millis(200),
        total: Duration::from_secs(20),
    };

    /// A pump whose machine puts every event into a channel with one place.
    fn started(stream: impl Stream, pace: Pace) -> (mpsc::Sender<SessionOut>, mpsc::Receiver<SessionIn>) {
        let (to_pump, from_engine) = mpsc::channel(4);
        let (to_test, received) = mpsc::channel(1);
        let to_engine = move |event| {
            let to_test = to_test.clone();
            async move { to_test.send(event).await.unwrap_or(()) }
        };
        tokio::spawn(async move {
            let waiting = Waiting::new(0, Arc::default());
            pump(stream, from_engine, to_engine, pace, &waiting).await
        });
        (to_pump, received)
    }

    #[tokio::test]
    async fn what_a_peer_has_not_taken_is_counted_and_somebody_hears_when_it_has() {
        let (ours, mut theirs) = tokio::io::duplex(16);
        let (to_pump, from_engine) = mpsc::channel(4);
        let drained = Arc::new(Notify::new());
        let waiting = Arc::new(Waiting::new(2000, Arc::clone(&drained)));
        let (counted, pace) = (Arc::clone(&waiting), Pace { progress: Duration::from_secs(20), ..QUICK });
        tokio::spawn(async move { pump(ours, from_engine, |_| async {}, pace, &counted).await });
        for _ in 0..2 {
            waiting.add(5000);
            to_pump.send(SessionOut::Bytes(pattern(5000))).await.unwrap();
        }
        assert!(!waiting.are_few() && timeout(Duration::from_millis(50), drained.notified()).await.is_err());
        theirs.read_exact(&mut vec![0; 10_000]).await.unwrap();
        timeout(Duration::from_secs(10), drained.notified()).await.unwrap();
        assert!(waiting.are_few());
        waiting.add(5000);
        to_pump.send(SessionOut::Bytes(pattern(5000))).await.unwrap();
        drop(theirs);
        timeout(Duration::from_secs(10), drained.notified()).await.unwrap();
        assert!(waiting.are_few(), "who is gone takes nothing more");
    }

    async fn closed(received: &mut mpsc::Receiver<SessionIn>) -> (Vec<u8>, Ending) {
        let mut all = Vec::new();
        loop {
            match received.recv().await.expect("a pump ends with Closed") {
                SessionIn::Bytes(bytes) => {
                    assert!(!bytes.is_empty() && bytes.len() <= limits::STREAM_READ_BYTES);
                    all.extend(bytes);
                }
                SessionIn::Closed(ending) => {
                    assert!(received.recv().await.is_none(), "nothing follows Closed");
                    return (all, ending);
                }
            }
        }
    }

    fn pattern(length: usize) -> Vec<u8> {
        (0..length).map(|i| (i % 251) as u8).collect()
    }

    #[tokio::test]
    async fn bytes_go_both_ways_at_once_and_in_order() {
        let (left, right) = tokio::io::duplex(8 * limits::KIB);
        let (left_out, mut left_in) = started(left, QUICK);
        let (right_out, mut right_in) = started(right, QUICK);
        let sent = pattern(3 * limits::MIB);
        for out in [&left_out, &right_out] {
            out.send(SessionOut::Bytes(sent.clone())).await.unwrap();
        }
        // Both machines take all bytes, and close when they have them: no order of the two may lead to a deadlock.
        let take = |received: Arc<Mutex<mpsc::Receiver<SessionIn>>>, length: usize| async move {
            let mut all = Vec::new();
            while all.len() < length {
                match received.lock().await.recv().await.unwrap() {
                    SessionIn::Bytes(bytes) => all.extend(bytes),
                    SessionIn::Closed(ending) => panic!("closed early: {ending:?}"),
                }
            }
            all
        };
        let left_in = Arc::new(Mutex::new(std::mem::replace(&mut left_in, mpsc::channel(1).1)));
        let right_in = Arc::new(Mutex::new(std::mem::replace(&mut right_in, mpsc::channel(1).1)));
        let (at_left, at_right) =
            tokio::join!(take(Arc::clone(&left_in), sent.len()), take(Arc::clone(&right_in), sent.len()));
        assert!(at_left == sent && at_right == sent);
        left_out.send(SessionOut::Close).await.unwrap();
        assert_eq!(closed(&mut *left_in.lock().await).await, (vec![], Ending::Machine));
        assert_eq!(closed(&mut *right_in.lock().await).await, (vec![], Ending::Peer));
    }

    #[tokio::test]
    async fn what_was_given_before_close_arrives() {
        let (ours, mut theirs) = tokio::io::duplex(16);
        let (out, mut received) = started(ours, QUICK);
        let farewell = pattern(1000);
        out.send(SessionOut::Bytes(farewell.clone())).await.unwrap();
        out.send(SessionOut::Close).await.unwrap();
        let mut heard = Vec::new();
        theirs.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, farewell);
        assert_eq!(closed(&mut received).await, (vec![], Ending::Machine));
    }

    /// A stream as those of Tor are: it gives one cell at a time, and nothing but errors after its end.
    struct Cells {
        bytes: Vec<u8>,
        given: usize,
        breaks: bool,
        over: bool,
    }

    impl AsyncRead for Cells {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let left = self.bytes.get(self.given..).unwrap_or_default();
            if self.over || (self.breaks && left.is_empty()) {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            }
            let cell = left.len().min(498).min(buf.remaining());
            buf.put_slice(&left[..cell]);
            self.given += cell;
            self.over = cell == 0;
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Cells {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn a_payload_that_comes_in_cells_is_given_to_the_machine_in_large_pieces() {
        const PIECES: usize = 20;
        for (breaks, ending) in [(false, Ending::Peer), (true, Ending::Broken)] {
            let sent = pattern(PIECES * limits::STREAM_READ_BYTES + 123);
            let stream = Cells { bytes: sent.clone(), given: 0, breaks, over: false };
            let (_out, mut received) = started(stream, QUICK);
            let (mut all, mut pieces) = (Vec::new(), 0);
            let seen = loop {
                match received.recv().await.unwrap() {
                    SessionIn::Bytes(bytes) => {
                        assert!(!bytes.is_empty() && bytes.len() <= limits::STREAM_READ_BYTES);
                        pieces += 1;
                        all.extend(bytes);
                    }
                    SessionIn::Closed(ending) => break ending,
                }
            };
            assert!(all == sent && seen == ending, "{} bytes, {seen:?}", all.len());
            assert!(pieces <= PIECES + 2, "{pieces} pieces");
        }
    }

    #[tokio::test]
    async fn what_is_there_is_given_to_the_machine_without_waiting_for_more() {
        let (ours, mut theirs) = tokio::io::duplex(limits::MIB);
        let (_out, mut received) = started(ours, QUICK);
        for length in [1, SMALL_READ_BYTES, 1, SMALL_READ_BYTES, SMALL_READ_BYTES + 1] {
            theirs.write_all(&pattern(length)).await.unwrap();
            let mut heard = 0;
            while heard < length {
                let event = timeout(Duration::from_secs(10), received.recv()).await.expect("it waits for no more");
                let Some(SessionIn::Bytes(bytes)) = event else { panic!("closed") };
                heard += bytes.len();
            }
            assert_eq!(heard, length);
        }
    }

    #[tokio::test]
    async fn a_machine_that_is_gone_closes_its_session() {
        let (ours, mut theirs) = tokio::io::duplex(16);
        let (out, mut received) = started(ours, QUICK);
        drop(out);
        assert_eq!(theirs.read(&mut [0; 1]).await.unwrap(), 0);
        assert_eq!(closed(&mut received).await.1, Ending::Machine);
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_dropped() {
        let (ours, theirs) = tokio::io::duplex(16);
        let (out, mut received) = started(ours, QUICK);
        out.send(SessionOut::Bytes(pattern(5000))).await.unwrap();
        assert_eq!(closed(&mut received).await.1, Ending::TooSlow);
        drop(theirs);
    }

    #[tokio::test]
    async fn a_peer_that_takes_little_of_what_is_left_does_not_keep_a_closed_session() {
        let (ours, mut theirs) = tokio::io::duplex(16);
        let (to_pump, from_engine) = mpsc::channel(4);
        let waiting = Arc::new(Waiting::new(0, Arc::default()));
        let (counted, pace) = (Arc::clone(&waiting), Pace { closing: Duration::from_millis(100), ..QUICK });
        let pace = Pace { progress: Duration::from_secs(20), ..pace };
        let pumped = tokio::spawn(async move { pump(ours, from_engine, |_| async {}, pace, &counted).await });
        to_pump.send(SessionOut::Bytes(pattern(limits::MIB))).await.unwrap();
        to_pump.send(SessionOut::Close).await.unwrap();
        waiting.close();
        // A drop now and then.
        let taking = async {
            while theirs.read(&mut [0; 16]).await.is_ok_and(|read| read > 0) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(10), taking).await.expect("the session is closed");
        assert_eq!(pumped.await.unwrap(), Ending::TooSlow);
    }

    #[tokio::test]
    async fn a_session_ends_in_time_whatever_its_machine_does() {
        let (ours, _theirs) = tokio::io::duplex(16);
        let (_out, mut received) = started(ours, Pace { total: Duration::from_millis(50), ..QUICK });
        assert_eq!(closed(&mut received).await.1, Ending::TooSlow);
    }

    #[tokio::test]
    async fn a_slow_machine_holds_its_peer_back() {
        let (ours, mut theirs): (DuplexStream, DuplexStream) = tokio::io::duplex(limits::KIB);
        let (_out, mut received) = started(ours, QUICK);
        // When one read is in the channel, another in the pump, and the stream's own buffer is full, writing stalls.
        let mut taken = 0;
        let block = pattern(limits::KIB);
        while let Ok(written) = timeout(Duration::from_millis(100), theirs.write(&block)).await {
            taken += written.unwrap();
            assert!(taken <= 4 * limits::STREAM_READ_BYTES, "the pump reads more than its machine takes");
        }
        drop(theirs);
        let (all, ending) = closed(&mut received).await;
        assert_eq!((all.len(), ending), (taken, Ending::Peer));
    }

    #[tokio::test]
    async fn the_last_words_of_a_peer_that_closed_are_heard() {
        use std::os::unix::net::UnixStream;
        let (ours, theirs) = UnixStream::pair().unwrap();
        // The peer refuses and closes before we write: our write fails, but its reply can still be read.
        io::Write::write_all(&mut &theirs, b"refused").unwrap();
        drop(theirs);
        ours.set_nonblocking(true).unwrap();
        let (out, mut received) = started(tokio::net::UnixStream::from_std(ours).unwrap(), QUICK);
        out.send(SessionOut::Bytes(pattern(200_000))).await.unwrap();
        let (heard, ending) = closed(&mut received).await;
        assert_eq!(heard, b"refused");
        assert!(matches!(ending, Ending::Broken | Ending::Peer));
    }
}
