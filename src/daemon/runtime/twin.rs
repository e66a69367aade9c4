//! Two of one: whether another node answers at an onion of this one (docs/on-disk.md, "Two of one"). A copy and its
//! original that both run split their mail; the first of the two that notices ends.
//!
//! A look dials the onion on a circuit of its own and sends one line with a random number, which is no command. If the
//! line arrives at this very process, no other node is there. If a node answers it like any unknown command (701), that
//! is another node: this process never answers the line of a look of its own. Any other outcome proves nothing: a
//! connection that has to make room for others, for example, ends without that answer.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, ReadBuf};
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::supervision::Ending;
use crate::base::{Onion, Rng};
use crate::net::{DialError, Isolation, Stream, Transport, TransportState};
use crate::store::OsRng;
use crate::wire::Status;

/// How long a start waits for the first look before it publishes anything.
const BEFORE_PUBLISHING: Duration = Duration::from_secs(5);
/// The delay of the second look, which notices soon that another node replaced this one: at least so many seconds, and
/// up to so many more at random.
const SOON: (u64, u64) = (60, 120);
/// The delay of later looks: often enough that little mail is split, rare enough that they are no burden. As above.
const NOW_AND_THEN: (u64, u64) = (600, 1800);
/// The longest that a look takes once the connection is there.
const LOOK: Duration = Duration::from_secs(90);
/// The longest greeting with its answer, in bytes.
const ANSWER: u64 = 16 * 1024;
/// So many looks in a row must find another node before that is believed.
const CERTAIN: u32 = 2;

/// The word that begins the line; no command of RUNE.
const WORD: &[u8] = b"LOOKING ";
/// The word, 32 hexadecimal digits, and the line end.
const LINE: usize = WORD.len() + 32 + 2;

type Line = [u8; LINE];

/// What a look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::daemon) enum Look {
    /// This process answered.
    Own,
    /// Another node answered.
    Another,
    /// Somebody took the connection, and it is not known who.
    Silent,
    /// Nobody was reached.
    Unreached,
    /// The look could not be taken: our own side hindered it.
    Hindered,
}

/// A look that is over.
#[derive(Debug, Clone, Copy)]
pub(in crate::daemon) struct Looked {
    pub(in crate::daemon) found: Look,
    pub(in crate::daemon) begun: Instant,
}

/// The looks of this process that are under way.
#[derive(Default)]
pub(in crate::daemon) struct Lookout(Mutex<BTreeMap<Line, oneshot::Sender<()>>>);

impl Lookout {
    fn open(&self) -> (Line, oneshot::Receiver<()>) {
        let number = data_encoding::HEXLOWER.encode(&(&mut OsRng as &mut dyn Rng).array::<16>());
        let mut line = [0; LINE];
        let bytes = WORD.iter().chain(number.as_bytes()).chain(b"\r\n");
        line.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        let (sender, arrived) = oneshot::channel();
        self.looks().insert(line, sender);
        (line, arrived)
    }

    /// Whether this line belongs to a look of ours; that look is then told.
    fn knows(&self, line: &[u8]) -> bool {
        let known = Line::try_from(line).ok().and_then(|line| self.looks().remove(&line));
        let is_ours = known.is_some();
        // The look may have ended meanwhile.
        let _ = known.map(|arrived| arrived.send(()));
        is_ours
    }

    fn looks(&self) -> std::sync::MutexGuard<'_, BTreeMap<Line, oneshot::Sender<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An incoming stream, watched: a stream that is a look of ours ends after its line.
    pub(in crate::daemon) fn watch(self: &Arc<Self>, stream: Box<dyn Stream>) -> Box<dyn Stream> {
        Box::new(Watched { stream, lookout: Arc::clone(self), held: Vec::new(), given: 0, phase: Phase::First })
    }

    /// Dials this onion, and finds out whether this process or another one answers there.
    pub(in crate::daemon) async fn look(&self, transport: &dyn Transport, onion: Onion) -> Look {
        let mut stream = match transport.dial(onion, Isolation::Fresh).await {
            Ok(stream) => stream,
            // A node is there; all its places are taken.
            Err(DialError::Refused) => return Look::Silent,
            Err(error) if error.is_ours() => return Look::Hindered,
            Err(_) => return Look::Unreached,
        };
        let (line, mut arrived) = self.open();
        let answered = async {
            if stream.write_all(&line).await.is_err() || stream.flush().await.is_err() {
                return Look::Silent;
            }
            let (mut said, mut line) = (BufReader::new(stream.take(ANSWER)), Vec::new());
            while matches!(said.read_until(b'\n', &mut line).await, Ok(1..)) {
                if is_answer(&line) {
                    return Look::Another;
                }
                line.clear();
            }
            // The node is busy or gone; in either case it did not answer the line.
            Look::Silent
        };
        let found = tokio::select! {
            biased;
            Ok(()) = &mut arrived => Look::Own,
            found = timeout(LOOK, answered) => found.unwrap_or(Look::Silent),
        };
        self.looks().remove(&line);
        // The end of the stream may be noticed earlier than the arrival of the line.
        if found == Look::Silent && arrived.try_recv().is_ok() { Look::Own } else { found }
    }
}

/// Whether this is a whole line, and the answer to a line that is no command.
fn is_answer(line: &[u8]) -> bool {
    let code = Status::BadCommand.number().to_string();
    let whole = line.strip_suffix(b"\n");
    whole.is_some_and(|line| line.split(|byte| *byte == b' ').next() == Some(code.as_bytes()))
}

enum Phase {
    /// The first bytes are still being read.
    First,
    /// The stream belongs to a peer.
    Theirs,
    /// The stream was a look of ours.
    Ended,
}

/// An incoming stream whose first bytes may be those of a look.
struct Watched {
    stream: Box<dyn Stream>,
    lookout: Arc<Lookout>,
    /// The first bytes, and how many of them were already given on.
    held: Vec<u8>,
    given: usize,
    phase: Phase,
}

impl Watched {
    /// Reads the first bytes, until it is known whether the stream is a look.
    fn poll_first(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.held.len() < LINE {
            let mut bytes = [0; LINE];
            let room = bytes.get_mut(self.held.len()..).unwrap_or_default();
            let mut buffer = ReadBuf::new(room);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
            let read = buffer.filled();
            self.held.extend_from_slice(read);
            let begins = self.held.iter().zip(WORD).all(|(held, word)| held == word);
            if read.is_empty() || !begins {
                self.phase = Phase::Theirs;
                return Poll::Ready(Ok(()));
            }
        }
        self.phase = if self.lookout.knows(&self.held) { Phase::Ended } else { Phase::Theirs };
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if matches!(self.phase, Phase::First) {
            ready!(self.poll_first(context))?;
        }
        if matches!(self.phase, Phase::Ended) {
            return Poll::Ready(Ok(()));
        }
        let rest = self.held.get(self.given..).unwrap_or_default();
        if rest.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let now = rest.get(..rest.len().min(buffer.remaining())).unwrap_or_default();
        buffer.put_slice(now);
        let given = now.len();
        self.given += given;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Looks at one onion, for another node and for whether peers reach it.
pub(in crate::daemon) struct Search {
    pub(in crate::daemon) lookout: Arc<Lookout>,
    pub(in crate::daemon) transport: Arc<dyn Transport>,
    pub(in crate::daemon) onion: Onion,
    pub(in crate::daemon) ending: watch::Sender<Option<Ending>>,
    /// The last look.
    looked: watch::Sender<Option<Looked>>,
    wanted: Notify,
}

impl Search {
    pub(in crate::daemon) fn new(
        lookout: Arc<Lookout>,
        transport: Arc<dyn Transport>,
        onion: Onion,
        ending: watch::Sender<Option<Ending>>,
    ) -> Self {
        Self { lookout, transport, onion, ending, looked: watch::Sender::new(None), wanted: Notify::new() }
    }

    /// The looks from now on.
    pub(in crate::daemon) fn looked(&self) -> watch::Receiver<Option<Looked>> {
        self.looked.subscribe()
    }

    /// Has the next look taken now.
    pub(in crate::daemon) fn look_now(&self) {
        self.wanted.notify_one();
    }

    /// Looks before anything is published, if the network is ready; `false` where the node has to end.
    pub(in crate::daemon) async fn first(&self) -> bool {
        if self.transport.status().borrow().state != TransportState::Ready {
            return true;
        }
        // This process does not publish the onion yet, so a node that accepts the connection is another one.
        let dialled = timeout(BEFORE_PUBLISHING, self.transport.dial(self.onion, Isolation::Fresh)).await;
        let is_taken = match dialled {
            Ok(Ok(mut stream)) => {
                let mut greeting = [0; 64];
                matches!(timeout(BEFORE_PUBLISHING, stream.read(&mut greeting)).await, Ok(Ok(1..)))
            }
            _ => false,
        };
        if is_taken {
            self.end();
        }
        !is_taken
    }

    /// Looks now and then, at random times, and where that is wanted; returns once another node was found.
    pub(in crate::daemon) async fn now_and_then(&self) {
        let mut planned = Instant::now() + some_seconds(SOON);
        loop {
            tokio::select! {
                () = sleep_until(planned) => planned = Instant::now() + some_seconds(NOW_AND_THEN),
                () = self.wanted.notified() => {}
            }
            for _ in 0..CERTAIN {
                let begun = Instant::now();
                let found = self.lookout.look(&*self.transport, self.onion).await;
                self.looked.send_replace(Some(Looked { found, begun }));
                if found != Look::Another {
                    break;
                }
            }
            if self.looked.borrow().is_some_and(|last| last.found == Look::Another) {
                return self.end();
            }
        }
    }

    fn end(&self) {
        self.ending.send_replace(Some(Ending::Original));
    }
}

/// At least so many seconds, and at random up to so many more.
fn some_seconds((least, more): (u64, u64)) -> Duration {
    let random = u64::from_le_bytes((&mut OsRng as &mut dyn Rng).array());
    Duration::from_secs(least + random % more.max(1))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use tokio::io::DuplexStream;
    use tokio::sync::mpsc;
    use tokio::time::sleep;

    use super::*;
    use crate::base::{IdentityId, OnionSeed};
    use crate::net::{Later, ListenError, Listener, TransportStatus};

    /// A network on which every dial has this result.
    struct Network<F>(F);

    impl Network<()> {
        /// A network whose connections arrive at the other end of this channel.
        fn of(peers: mpsc::UnboundedSender<DuplexStream>) -> Arc<dyn Transport> {
            Arc::new(Network(move || {
                let (here, there) = tokio::io::duplex(4096);
                peers.send(there).map_err(|_| DialError::Unreachable)?;
                Ok(Box::new(here) as Box<dyn Stream>)
            }))
        }
    }

    /// A connection to which nothing can be written, and from which these bytes are read.
    struct Unwritable(&'static [u8]);

    impl AsyncRead for Unwritable {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_read(context, buffer)
        }
    }

    impl AsyncWrite for Unwritable {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl<F: Fn() -> Result<Box<dyn Stream>, DialError> + Send + Sync> Transport for Network<F> {
        fn dial(&self, _: Onion, _: Isolation) -> Later<'_, Result<Box<dyn Stream>, DialError>> {
            let connection = (self.0)();
            Box::pin(async move { connection })
        }

        fn listen<'a>(&'a self, _: IdentityId, _: &'a OnionSeed) -> Later<'a, Result<Listener, ListenError>> {
            Box::pin(async { Err(ListenError::Stopped) })
        }

        fn status(&self) -> watch::Receiver<TransportStatus> {
            watch::Sender::new(TransportStatus::ready()).subscribe()
        }

        fn stop(&self) -> Later<'_, ()> {
            Box::pin(async {})
        }
    }

    /// Greets, and answers unknown commands, as a node with this lookout does. If `busy`, ends each connection after
    /// its greeting.
    async fn serve(lookout: Arc<Lookout>, mut incoming: mpsc::UnboundedReceiver<DuplexStream>, busy: bool) {
        while let Some(stream) = incoming.recv().await {
            let mut stream = lookout.watch(Box::new(stream));
            tokio::spawn(async move {
                let _ = stream.write_all(b"HOWDY RUNE/1 MAX=1 CAP=SEND\n").await;
                if busy {
                    let _ = stream.write_all(b"708 TIME-OUT\n").await;
                    return;
                }
                let mut read = [0; LINE];
                if stream.read_exact(&mut read).await.is_ok() {
                    let _ = stream.write_all(b"701 BAD COMMAND\n").await;
                    sleep(Duration::from_secs(120)).await;
                }
            });
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_gave_way_to_others_is_no_proof_of_another_node() {
        let own = Arc::new(Lookout::default());
        let (sender, incoming) = mpsc::unbounded_channel();
        tokio::spawn(serve(Arc::default(), incoming, true));
        let ending = watch::Sender::new(None);
        let onion = Onion::of_seed(&OnionSeed::from_bytes([1; 32]));
        let crowded = Search::new(own, Network::of(sender), onion, ending);
        assert!(timeout(Duration::from_secs(86_400), crowded.now_and_then()).await.is_err());
    }

    #[tokio::test]
    async fn what_comes_where_nothing_could_be_sent_is_no_answer() {
        let onion = Onion::of_seed(&OnionSeed::from_bytes([1; 32]));
        let deaf = Network(|| Ok(Box::new(Unwritable(b"701 BAD COMMAND\n")) as Box<dyn Stream>));
        assert_eq!(Lookout::default().look(&deaf, onion).await, Look::Silent);
    }

    #[test]
    fn only_a_whole_line_with_the_code_of_a_bad_command_is_the_answer() {
        for answer in ["701 BAD COMMAND\n", "701\n"] {
            assert!(is_answer(answer.as_bytes()), "{answer:?}");
        }
        for other in ["", "\n", "701", "701 BAD COMMAND", "HOWDY 701 \n", "7012 X\n", " 701 X\n", "702 X\n"] {
            assert!(!is_answer(other.as_bytes()), "{other:?}");
        }
    }

    #[test]
    fn looks_come_at_random_times_within_their_bounds() {
        let times: std::collections::BTreeSet<_> = (0..200).map(|_| some_seconds((60, 4)).as_secs()).collect();
        assert_eq!(times.into_iter().collect::<Vec<_>>(), [60, 61, 62, 63]);
        assert_eq!(some_seconds((60, 0)), Duration::from_secs(60));
    }

    fn search(lookout: &Arc<Lookout>, answers: Option<Arc<Lookout>>) -> (Search, watch::Receiver<Option<Ending>>) {
        let (sender, incoming) = mpsc::unbounded_channel();
        match answers {
            Some(answers) => drop(tokio::spawn(serve(answers, incoming, false))),
            None => drop(incoming),
        }
        let ending = watch::Sender::new(None);
        let onion = Onion::of_seed(&OnionSeed::from_bytes([1; 32]));
        let ended = ending.subscribe();
        (Search::new(Arc::clone(lookout), Network::of(sender), onion, ending), ended)
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_knows_itself_from_another_with_the_same_address() {
        let day = Duration::from_secs(86_400);
        let own = Arc::new(Lookout::default());
        let (alone, ended) = search(&own, Some(Arc::clone(&own)));
        assert!(timeout(day, alone.now_and_then()).await.is_err(), "it never takes itself for another");
        assert_eq!(*ended.borrow(), None);
        assert!(own.looks().is_empty());
        let (two, ended) = search(&own, Some(Arc::default()));
        timeout(Duration::from_secs(600), two.now_and_then()).await.unwrap();
        assert_eq!(*ended.borrow(), Some(Ending::Original));
        let (nobody, ended) = search(&own, None);
        assert!(nobody.first().await);
        assert!(timeout(day, nobody.now_and_then()).await.is_err());
        assert_eq!(*ended.borrow(), None);
        // Before this process publishes anything, a node that greets is another one.
        let (second, ended) = search(&own, Some(Arc::default()));
        assert!(!second.first().await);
        assert_eq!(*ended.borrow(), Some(Ending::Original));
    }

    #[tokio::test]
    async fn what_others_send_passes_as_it_is_however_it_is_cut() {
        let foreign = Arc::new(Lookout::default()).open().0;
        for sent in
            [&b"LOOKING around\r\nBYE\r\n"[..], b"LOOK", b"AUTH x\r\n", b"", &foreign, &[&foreign[..], b"x"].concat()]
        {
            for piece in 1..=sent.len().max(1) {
                let (mut there, here) = tokio::io::duplex(4096);
                let mut stream = Arc::new(Lookout::default()).watch(Box::new(here));
                let sent = sent.to_vec();
                let expected = sent.clone();
                tokio::spawn(async move {
                    for part in sent.chunks(piece) {
                        there.write_all(part).await.unwrap();
                        tokio::task::yield_now().await;
                    }
                });
                let mut read = Vec::new();
                stream.read_to_end(&mut read).await.unwrap();
                assert_eq!(read, expected);
            }
        }
    }
}
