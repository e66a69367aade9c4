//! The driver of a machine: it tells the machine each event, and has the machine's shell perform what it decides.
//!
//! It holds no policy. There is one task per machine; sealing and opening go to the crypto pool, commits to the log's
//! own thread, connections to tasks of their own. Their results come back as inputs. Effects that only one kind of
//! machine has are performed by its [`Shell`], in `hosts`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::clock::{Clock, now};
use super::crypto::Pool;
use super::folded::{Folded, encoded};
use super::images::Images;
use super::presence::Presence;
use super::sessions::{Heard, News, Sessions};
use super::upkeep::Upkeep;
use crate::base::{ClockStep, SessionId, Timestamp, limits};
use crate::engine::io::{CommitError, Durability, NewBody};
use crate::net::{Stream, Transport, TransportState, TransportStatus};
use crate::store::Log;

/// Requests that wait for the machine.
const WAITING_REQUESTS: usize = 1024;
/// The longest sleep, so that a jump of the clock is noticed soon.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// How long a driver that stops waits for each step of the disk.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often the free space is looked at.
const DISK_CHECK: Duration = Duration::from_secs(20);

/// Returns when a node stops.
pub(in crate::daemon) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A node that is gone has stopped too.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Records as the log keeps them; `None` where they cannot be encoded, and the machine is told that nothing was
/// written.
pub(in crate::daemon) type Encoded = Option<Vec<Vec<u8>>>;

/// A machine as its driver sees it.
pub(in crate::daemon) trait Machine: Send + 'static {
    /// The inputs that the machine takes.
    type Input: From<Heard> + Send + 'static;
    /// The effects that the machine asks for.
    type Effect: Send;
    /// The state that its records add up to.
    type State: Folded;

    /// A peer connected.
    fn accepted(session: SessionId) -> Self::Input;
    /// The clock was set.
    fn clock_set(step: ClockStep) -> Self::Input;
    /// The network is back after it was gone for this long; `None` for a machine that does nothing then.
    fn network_back(_gone: Duration) -> Option<Self::Input> {
        None
    }
    /// Peers reach the machine's onion, and did not before; `None` for a machine that does nothing then.
    fn reachable() -> Option<Self::Input> {
        None
    }
    /// The disk is nearly full, or no longer is.
    fn disk_low(low: bool) -> Self::Input;
    /// Something happened.
    fn handle(&mut self, input: Self::Input) -> Vec<Self::Effect>;
    /// A deadline may have passed.
    fn handle_timeout(&mut self) -> Vec<Self::Effect>;
    /// When the next deadline is.
    fn poll_timeout(&self) -> Option<Timestamp>;
    /// Whether the session shall read nothing more for now.
    fn is_blocked(&self, session: SessionId) -> bool;
    /// Sessions that go no further until their peers have taken the transmitted bytes.
    fn behind(&self) -> Vec<SessionId> {
        Vec::new()
    }
    /// The peer of one of these sessions has taken them.
    fn caught_up(&mut self, _session: SessionId) -> Vec<Self::Effect> {
        Vec::new()
    }
    /// Its state: the fold of what was committed and reported.
    fn state(&self) -> &Self::State;
}

type InputOf<S> = <<S as Shell>::Machine as Machine>::Input;
type StateOf<S> = <<S as Shell>::Machine as Machine>::State;
type EffectOf<S> = <<S as Shell>::Machine as Machine>::Effect;

/// The parts with which a machine's effects are performed.
pub(in crate::daemon) trait Shell: Send + 'static {
    /// The machine whose effects it performs.
    type Machine: Machine;
    /// The requests of the rest of the daemon.
    type Request: Send + 'static;

    /// If more bytes than this wait for a peer, nothing more is read from that peer.
    const BACKLOG: usize = usize::MAX;
    /// If less than this many bytes of the disk are free, the machine is told that it is nearly full.
    const RESERVE: u64 = limits::DISK_RESERVE_BYTES;

    /// The machine's log.
    fn log(&self) -> &Arc<Log>;
    /// Remembers where the answer goes, and gives the input for the machine.
    fn request(&mut self, request: Self::Request) -> InputOf<Self>;
    /// Performs an effect.
    fn perform(&mut self, effect: EffectOf<Self>, hands: &mut Hands<InputOf<Self>>);
}

/// The result of work that was begun, either of a commit or of anything else.
enum Completion<I> {
    Commit(I),
    Other(I),
    /// The log dropped a commit without an answer: its thread panicked.
    Lost,
}

/// Reports a commit; if it is dropped without a result, reports that the commit was lost.
struct Reporter<I>(Option<mpsc::UnboundedSender<Completion<I>>>);

impl<I> Reporter<I> {
    fn send(mut self, completion: Completion<I>) {
        if let Some(done) = self.0.take() {
            // If the driver has ended, nothing needs the completion.
            let _ = done.send(completion);
        }
    }
}

impl<I> Drop for Reporter<I> {
    fn drop(&mut self) {
        if let Some(done) = self.0.take() {
            // If the driver has ended, nothing needs the completion.
            let _ = done.send(Completion::Lost);
        }
    }
}

/// An event that a driver waits for.
enum Event<I, R> {
    Completion(Completion<I>),
    Session(News),
    Request(R),
    Incoming(Box<dyn Stream>),
    Drained,
    NetworkBack(Duration),
    Reachable,
    Timeout,
    Stop,
}

/// The parts that every shell works with.
pub(in crate::daemon) struct Hands<I> {
    pub(in crate::daemon) sessions: Sessions,
    completions: mpsc::UnboundedSender<Completion<I>>,
    pool: Pool,
    log: Arc<Log>,
    /// Commits that were not reported yet.
    under_way: u32,
    /// Commits that were reported since the last time that none was under way.
    reported: u32,
}

impl<I: Send + 'static> Hands<I> {
    /// Computes an input on the crypto pool; `failed` replaces it if the work panics.
    pub(in crate::daemon) fn compute(&self, work: impl FnOnce() -> I + Send + 'static, failed: I) {
        let done = self.completions.clone();
        self.pool.run(work, failed, move |input| {
            // If the driver has ended, nothing needs the completion.
            let _ = done.send(Completion::Other(input));
        });
    }

    /// Computes an input on a thread that may wait for the disk; `failed` replaces it if the work panics.
    pub(in crate::daemon) fn wait(&self, work: impl FnOnce() -> I + Send + 'static, failed: I) {
        let done = self.completions.clone();
        tokio::task::spawn_blocking(move || {
            let input = catch_unwind(AssertUnwindSafe(work)).unwrap_or(failed);
            // If the driver has ended, nothing needs the completion.
            let _ = done.send(Completion::Other(input));
        });
    }

    /// Has the log commit records, and tells the machine the result.
    pub(in crate::daemon) fn commit(
        &mut self,
        records: Encoded,
        bodies: Vec<NewBody>,
        durability: Durability,
        completion: impl FnOnce(Result<u64, CommitError>) -> I + Send + 'static,
    ) {
        self.under_way += 1;
        let done = Reporter(Some(self.completions.clone()));
        let report = move |result| done.send(Completion::Commit(completion(result)));
        match records {
            Some(records) => self.log.commit(records, bodies, durability, Box::new(report)),
            None => report(Err(CommitError::Io)),
        }
    }
}

/// The handles by which the rest of the daemon reaches a driver.
pub(in crate::daemon) struct DriverHandle<R> {
    pub(in crate::daemon) requests: mpsc::Sender<R>,
    pub(in crate::daemon) incoming: mpsc::Sender<Box<dyn Stream>>,
}

/// A driver and its machine.
pub(in crate::daemon) struct Driver<S: Shell> {
    pub(in crate::daemon) machine: S::Machine,
    pub(in crate::daemon) shell: S,
    pub(in crate::daemon) hands: Hands<InputOf<S>>,
    completions: mpsc::UnboundedReceiver<Completion<InputOf<S>>>,
    requests: mpsc::Receiver<S::Request>,
    incoming: mpsc::Receiver<Box<dyn Stream>>,
    disk_low: bool,
    disk_checked: tokio::time::Instant,
    clock: Clock,
    network: Returns,
    onion: Reached,
    /// Carries the streams of peers that connect.
    transport: Option<Arc<dyn Transport>>,
    upkeep: Upkeep,
    pub(in crate::daemon) images: Images,
}

/// Notices that the network is back after it was gone.
#[derive(Default)]
struct Returns {
    status: Option<watch::Receiver<TransportStatus>>,
    /// Whether it was there once, and when it went since.
    was_there: bool,
    went: Option<tokio::time::Instant>,
}

impl Returns {
    /// Returns when the network is back, with the time for which it was gone. Safe to cancel.
    async fn next(&mut self) -> Duration {
        loop {
            let Some(status) = &mut self.status else { return std::future::pending().await };
            let there = status.borrow_and_update().state == TransportState::Ready;
            match (there, self.went.take()) {
                (true, Some(went)) => return went.elapsed(),
                (true, None) => self.was_there = true,
                (false, went) => self.went = went.or_else(|| self.was_there.then(tokio::time::Instant::now)),
            }
            if status.changed().await.is_err() {
                self.status = None;
            }
        }
    }
}

/// Notices that peers reach the onion, and did not before.
#[derive(Default)]
struct Reached {
    presence: Option<watch::Receiver<Presence>>,
    before: bool,
}

impl Reached {
    /// Returns when peers reach the onion. Safe to cancel.
    async fn next(&mut self) {
        loop {
            let Some(presence) = &mut self.presence else { return std::future::pending().await };
            let now = presence.borrow_and_update().reachable;
            if !std::mem::replace(&mut self.before, now) && now {
                return;
            }
            if presence.changed().await.is_err() {
                self.presence = None;
            }
        }
    }
}

impl<S: Shell> Driver<S> {
    /// A driver for this machine, and the handle by which it is reached. It works while [`Driver::run`] runs.
    pub(in crate::daemon) fn new(
        machine: S::Machine,
        shell: S,
        images: Images,
        pool: Pool,
    ) -> (Self, DriverHandle<S::Request>) {
        let (request_sender, requests) = mpsc::channel(WAITING_REQUESTS);
        let (incoming_sender, incoming) = mpsc::channel(1);
        let (sender, completions) = mpsc::unbounded_channel();
        let log = Arc::clone(shell.log());
        let upkeep = Upkeep::new(Arc::clone(&log));
        let hands =
            Hands { sessions: Sessions::new(S::BACKLOG), completions: sender, pool, log, under_way: 0, reported: 0 };
        let (disk_checked, clock) = (tokio::time::Instant::now(), Clock::new());
        let driver = Self {
            machine,
            shell,
            hands,
            completions,
            requests,
            incoming,
            disk_low: false,
            disk_checked,
            clock,
            network: Returns::default(),
            onion: Reached::default(),
            transport: None,
            upkeep,
            images,
        };
        (driver, DriverHandle { requests: request_sender, incoming: incoming_sender })
    }

    /// Has the streams of peers that connect carried where this transport carries them best ([`Transport::threads`]).
    pub(in crate::daemon) fn carried_by(&mut self, transport: Arc<dyn Transport>) {
        self.transport = Some(transport);
    }

    /// Has the machine told when the network is back after it was gone.
    pub(in crate::daemon) fn watch_network(&mut self, status: watch::Receiver<TransportStatus>) {
        self.network = Returns { status: Some(status), ..Returns::default() };
    }

    /// Has the machine told when peers reach its onion, and did not before.
    pub(in crate::daemon) fn watch_onion(&mut self, presence: watch::Receiver<Presence>) {
        self.onion = Reached { presence: Some(presence), before: false };
    }

    /// Runs until told to stop, until every [`DriverHandle`] is gone or until it cannot go on; then lets the commits
    /// finish.
    pub(in crate::daemon) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        while self.step(&mut stop).await {}
        self.finish().await;
    }

    /// Waits for one event and gives it to the machine; `false` where the driver has to end.
    pub(in crate::daemon) async fn step(&mut self, stop: &mut watch::Receiver<bool>) -> bool {
        self.check_disk();
        self.upkeep.look();
        if self.hands.under_way == 0 && self.upkeep.wants_state() {
            let state = self.machine.state().clone();
            self.upkeep.give_state(state.last_record(), move || encoded::<StateOf<S>>(&state.checkpoint()));
        }
        let event = self.next(stop).await;
        // The machine hears of a changed clock before it is given anything with the new time.
        if let Some(step) = self.clock.step() {
            self.handle(S::Machine::clock_set(step));
        }
        let input = match event {
            Event::Stop => return false,
            Event::Timeout => {
                let effects = self.machine.handle_timeout();
                self.perform(effects);
                self.release_held();
                return true;
            }
            // If a commit was lost, the machine would wait for it for ever.
            Event::Completion(completion) => return self.completed(completion),
            Event::Drained => {
                self.release_held();
                return true;
            }
            Event::Session(news) => {
                let machine = &self.machine;
                match self.hands.sessions.heard(news, |session| machine.is_blocked(session)) {
                    Some(heard) => heard.into(),
                    None => return true,
                }
            }
            Event::Request(request) => self.shell.request(request),
            Event::NetworkBack(gone) => match S::Machine::network_back(gone) {
                Some(input) => input,
                None => return true,
            },
            Event::Reachable => match S::Machine::reachable() {
                Some(input) => input,
                None => return true,
            },
            Event::Incoming(stream) => {
                let threads = self.transport.as_ref().and_then(|transport| transport.threads());
                S::Machine::accepted(self.hands.sessions.accept(stream, threads))
            }
        };
        self.handle(input);
        true
    }

    async fn next(&mut self, stop: &mut watch::Receiver<bool>) -> Event<InputOf<S>, S::Request> {
        let nap =
            self.machine.poll_timeout().map_or(LONGEST_SLEEP, |deadline| deadline.since(now()).min(LONGEST_SLEEP));
        let Self { completions, hands, requests, incoming, network, onion, upkeep, .. } = self;
        // No order among these: peers that never pause must not keep gateways and deadlines waiting.
        let others = async {
            tokio::select! {
                news = hands.sessions.next() => news.map_or(Event::Drained, Event::Session),
                request = requests.recv() => request.map_or(Event::Stop, Event::Request),
                Some(stream) = incoming.recv() => Event::Incoming(stream),
                gone = network.next() => Event::NetworkBack(gone),
                () = onion.next() => Event::Reachable,
                () = sleep(nap) => Event::Timeout,
            }
        };
        tokio::select! {
            biased;
            () = stopped(stop) => Event::Stop,
            () = upkeep.broken() => Event::Stop,
            Some(completion) = completions.recv() => Event::Completion(completion),
            event = others => event,
        }
    }

    /// Gives the machine the result of work; `false` where a commit was lost.
    fn completed(&mut self, completion: Completion<InputOf<S>>) -> bool {
        let input = match completion {
            Completion::Lost => return false,
            Completion::Other(input) => input,
            Completion::Commit(input) => {
                self.hands.under_way = self.hands.under_way.saturating_sub(1);
                self.hands.reported = self.hands.reported.saturating_add(1);
                input
            }
        };
        self.handle(input);
        if self.hands.under_way == 0 && self.hands.reported > 0 {
            let commits = std::mem::take(&mut self.hands.reported);
            self.images.rested(self.machine.state(), commits);
        }
        true
    }

    fn handle(&mut self, input: InputOf<S>) {
        let effects = self.machine.handle(input);
        self.perform(effects);
        self.release_held();
    }

    fn perform(&mut self, effects: Vec<EffectOf<S>>) {
        for effect in effects {
            self.shell.perform(effect, &mut self.hands);
        }
    }

    /// Tells the machine when the disk is nearly full, and when it no longer is.
    fn check_disk(&mut self) {
        if self.disk_checked.elapsed() < DISK_CHECK {
            return;
        }
        self.disk_checked = tokio::time::Instant::now();
        let low = self.hands.log.disk_low(S::RESERVE);
        if std::mem::replace(&mut self.disk_low, low) != low {
            self.handle(S::Machine::disk_low(low));
        }
    }

    /// Gives the machine the bytes that were held back from it, for sessions that read on.
    fn release_held(&mut self) {
        let behind = |driver: &Self| {
            let behind = driver.machine.behind().into_iter();
            behind.filter(|session| !driver.hands.sessions.is_behind(*session)).collect::<Vec<_>>()
        };
        for session in behind(self) {
            let effects = self.machine.caught_up(session);
            self.perform(effects);
        }
        loop {
            let machine = &self.machine;
            let Some(heard) = self.hands.sessions.released(|session| machine.is_blocked(session)) else { return };
            let effects = self.machine.handle(heard.into());
            self.perform(effects);
        }
    }

    /// Lets commits under way finish.
    async fn finish(mut self) {
        self.hands.sessions.clear();
        while self.hands.under_way > 0 {
            match tokio::time::timeout(PATIENCE, self.completions.recv()).await {
                Ok(Some(completion @ Completion::Commit(_))) => drop(self.completed(completion)),
                Ok(Some(Completion::Other(_) | Completion::Lost)) => {}
                Ok(None) | Err(_) => return,
            }
        }
        // Lazy commits are synced now.
        let log = Arc::clone(&self.hands.log);
        within_patience(move || log.shutdown()).await;
        self.images.finish(self.machine.state()).await;
    }
}

/// Does work that may wait for the disk, for no longer than a driver that stops has time.
pub(in crate::daemon) async fn within_patience(work: impl FnOnce() + Send + 'static) {
    let _ = tokio::time::timeout(PATIENCE, tokio::task::spawn_blocking(work)).await;
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_onion_that_is_reached_is_noticed_once_and_again_after_it_was_not() {
        let (sender, receiver) = watch::channel(Presence::default());
        let mut onion = Reached { presence: Some(receiver), before: false };
        let soon = Duration::from_secs(1);
        assert!(timeout(soon, onion.next()).await.is_err(), "nobody reaches it yet");
        for _ in 0..2 {
            sender.send_modify(|presence| presence.reachable = true);
            timeout(soon, onion.next()).await.unwrap();
            sender.send_modify(|presence| presence.checked = Some(now()));
            assert!(timeout(soon, onion.next()).await.is_err(), "it was reached before");
            sender.send_modify(|presence| presence.reachable = false);
            assert!(timeout(soon, onion.next()).await.is_err(), "nobody reaches it any more");
        }
    }
}
