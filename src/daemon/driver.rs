//! The driver of one identity's machine: takes what happened, performs what the machine decides.
//!
//! It holds no policy. One task per identity; sealing and opening go to the crypto pool, commits to the log's own
//! thread, connections to tasks of their own. Everything comes back as an [`Input`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep;

use super::clock::{Clock, now};
use super::crypto::Pool;
use super::keys::KeyChain;
use super::sessions::{Heard, News, Sessions};
use super::upkeep::Upkeep;
use crate::base::{BodyId, IdentityId, OpId, SessionId};
use crate::engine::effect::{CommitError, Durability, Refusal};
use crate::engine::request::RequestId;
use crate::engine::{Effect, Identity, Input, Record, Request, RequestError, Response, Snapshot, Transaction};
use crate::net::{Isolation, Stream, Transport};
use crate::store::OsRng;
use crate::store::{IdentityView, Log};

/// Requests of gateways that wait for the machine.
const WAITING_REQUESTS: usize = 1024;
/// The longest sleep, so that a jump of the clock is noticed soon.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// How long a driver that stops waits for the disk at a time.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often the free space is looked at.
const DISK_CHECK: Duration = Duration::from_secs(20);
/// The view gets a new image of the state after this many commits, and at the end.
const COMMITS_PER_IMAGE: u32 = 5000;

/// Returns when a node stops.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A node that is gone has stopped too.
    let _ = stop.wait_for(|stop| *stop).await;
}

type Answer = oneshot::Sender<Result<Response, RequestError>>;

/// A request and where its answer goes.
pub(super) struct Asked {
    pub(super) request: Request,
    pub(super) answer: Answer,
}

/// What a driver works with.
pub(super) struct Shell {
    pub(super) id: IdentityId,
    pub(super) log: Arc<Log>,
    pub(super) view: Arc<IdentityView>,
    pub(super) keys: Arc<KeyChain>,
    pub(super) pool: Pool,
    pub(super) transport: Arc<dyn Transport>,
}

/// The ends by which the rest of the daemon reaches a driver.
pub(super) struct Ends {
    pub(super) requests: mpsc::Sender<Asked>,
    pub(super) incoming: mpsc::Sender<Box<dyn Stream>>,
    pub(super) snapshot: watch::Receiver<Arc<Snapshot>>,
}

/// A driver and its machine.
pub(super) struct Driver {
    machine: Identity,
    shell: Shell,
    completions: (mpsc::UnboundedSender<Input>, mpsc::UnboundedReceiver<Input>),
    sessions: Sessions,
    requests: mpsc::Receiver<Asked>,
    incoming: mpsc::Receiver<Box<dyn Stream>>,
    disk_low: bool,
    disk_checked: tokio::time::Instant,
    snapshot: watch::Sender<Arc<Snapshot>>,
    answers: BTreeMap<RequestId, Answer>,
    next_request: u64,
    in_flight: u32,
    since_image: u32,
    clock: Clock,
    upkeep: Upkeep,
}

/// What the driver waits for.
enum Event {
    Completion(Input),
    Session(News),
    Request(Asked),
    Incoming(Box<dyn Stream>),
    Timeout,
    Stop,
}

impl Driver {
    /// A driver for this machine, and the ends by which it is reached. It runs in [`Driver::run`]. `replayed` is how many
    /// records the start had to read: where that were many, an image is kept soon, also by a node that never lives for long.
    pub(super) fn new(machine: Identity, shell: Shell, replayed: u32) -> (Self, Ends) {
        let (request_sender, requests) = mpsc::channel(WAITING_REQUESTS);
        let (incoming_sender, incoming) = mpsc::channel(1);
        let (snapshot, snapshot_receiver) = watch::channel(Arc::new(machine.snapshot()));
        let upkeep = Upkeep::new(Arc::clone(&shell.log));
        let driver = Self {
            machine,
            shell,
            completions: mpsc::unbounded_channel(),
            sessions: Sessions::new(),
            requests,
            incoming,
            disk_low: false,
            disk_checked: tokio::time::Instant::now(),
            snapshot,
            answers: BTreeMap::new(),
            next_request: 0,
            in_flight: 0,
            since_image: replayed,
            clock: Clock::new(),
            upkeep,
        };
        let ends = Ends { requests: request_sender, incoming: incoming_sender, snapshot: snapshot_receiver };
        (driver, ends)
    }

    /// Runs until told to stop or until every [`Ends`] is gone; then lets the commits finish and keeps an image.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        while self.step(&mut stop).await {}
        self.finish().await;
    }

    /// Waits for something and lets the machine have it; `false` where it is the end.
    async fn step(&mut self, stop: &mut watch::Receiver<bool>) -> bool {
        self.check_disk();
        self.upkeep.look();
        if self.in_flight == 0 && self.upkeep.wants_state() {
            let state = self.machine.state().clone();
            self.upkeep.give_state(state.last_record(), move || encoded(&state.checkpoint()));
        }
        let event = self.next(stop).await;
        // Before anything is told the new time.
        if let Some(step) = self.clock.step() {
            self.handle(Input::ClockSet(step));
        }
        let input = match event {
            Event::Stop => return false,
            Event::Timeout => {
                let effects = self.machine.handle_timeout(now(), &mut OsRng);
                self.perform_all(effects);
                self.release_held();
                return true;
            }
            Event::Completion(input) => input,
            Event::Session(news) => {
                let machine = &self.machine;
                match self.sessions.heard(news, |session| machine.is_blocked(session)) {
                    Some(heard) => heard.into(),
                    None => return true,
                }
            }
            Event::Request(asked) => {
                self.next_request += 1;
                let id = RequestId(self.next_request);
                self.answers.insert(id, asked.answer);
                Input::Request(id, asked.request)
            }
            Event::Incoming(stream) => Input::Accepted(self.sessions.accept(stream)),
        };
        self.handle(input);
        true
    }

    async fn next(&mut self, stop: &mut watch::Receiver<bool>) -> Event {
        let nap =
            self.machine.poll_timeout().map_or(LONGEST_SLEEP, |deadline| deadline.since(now()).min(LONGEST_SLEEP));
        let Self { completions, sessions, requests, incoming, .. } = self;
        // In no order: peers that never pause must not keep gateways and deadlines waiting.
        let others = async {
            tokio::select! {
                news = sessions.next() => Event::Session(news),
                asked = requests.recv() => asked.map_or(Event::Stop, Event::Request),
                Some(stream) = incoming.recv() => Event::Incoming(stream),
                () = sleep(nap) => Event::Timeout,
            }
        };
        tokio::select! {
            biased;
            () = stopped(stop) => Event::Stop,
            // Before the sessions: a connection is made before anything happens on it.
            Some(input) = completions.1.recv() => Event::Completion(input),
            event = others => event,
        }
    }

    fn handle(&mut self, input: Input) {
        if matches!(input, Input::Committed(..)) {
            self.in_flight = self.in_flight.saturating_sub(1);
            self.since_image += 1;
        }
        if let Input::Dialled(session, Err(_)) = &input {
            // Nothing will come or go on it.
            self.sessions.forget(*session);
        }
        let effects = self.machine.handle(now(), &mut OsRng, input);
        self.perform_all(effects);
        self.release_held();
        if self.in_flight == 0 && self.since_image >= COMMITS_PER_IMAGE {
            self.keep_image();
        }
    }

    /// Tells the machine when the disk is nearly full, and when it no longer is.
    fn check_disk(&mut self) {
        if self.disk_checked.elapsed() < DISK_CHECK {
            return;
        }
        self.disk_checked = tokio::time::Instant::now();
        let low = self.shell.log.disk_low();
        if std::mem::replace(&mut self.disk_low, low) != low {
            self.handle(Input::DiskLow(low));
        }
    }

    fn perform_all(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Commit(op, transaction, durability) => {
                let done = self.completions.0.clone();
                self.commit(transaction, durability, move |result| {
                    // A completion whose driver has ended is of no use to anybody.
                    let _ = done.send(Input::Committed(op, result));
                });
            }
            // What makes our own code fail is no word on the object: the peer may try again.
            Effect::Open(op, object) => {
                let (keys, snapshot) = (Arc::clone(&self.shell.keys), self.snapshot.borrow().clone());
                let open = move || Input::Opened(op, keys.open(&object, &snapshot, now()));
                self.compute(open, Input::Opened(op, Err(Refusal::Temporary)));
            }
            Effect::VerifyCard(op, evidence) => {
                let keys = Arc::clone(&self.shell.keys);
                let verify = move || Input::CardVerified(op, keys.verify_card(&evidence, now()));
                self.compute(verify, Input::CardVerified(op, false));
            }
            Effect::CheckCertificate(op, certificate, fingerprint) => {
                let keys = Arc::clone(&self.shell.keys);
                let check = move || Input::CertificateChecked(op, keys.check_certificate(&certificate, &fingerprint));
                self.compute(check, Input::CertificateChecked(op, false));
            }
            Effect::Seal(op, content, recipient) => {
                let keys = Arc::clone(&self.shell.keys);
                let seal = move || Input::Sealed(op, keys.seal(&content, &recipient, now()));
                self.compute(seal, Input::Sealed(op, Err(Refusal::Temporary)));
            }
            Effect::SealBody(op, header, body, recipient) => {
                let (keys, log) = (Arc::clone(&self.shell.keys), Arc::clone(&self.shell.log));
                let seal = move || Input::Sealed(op, keys.seal_body(header, &log, body, &recipient, now()));
                self.compute(seal, Input::Sealed(op, Err(Refusal::Temporary)));
            }
            Effect::ReadBody(op, body) => self.read_body(op, body),
            Effect::Forget(bodies) => {
                self.shell.view.remove_rows(&bodies);
                self.shell.log.forget(bodies);
            }
            Effect::Dial(session, onion, contact) => self.dial(session, onion, contact),
            Effect::Transmit(session, bytes) => self.sessions.transmit(session, bytes),
            Effect::Close(session) => self.sessions.close(session),
            Effect::Respond(request, result) => {
                if let Some(answer) = self.answers.remove(&request) {
                    let _ = answer.send(result);
                }
            }
            Effect::Publish(snapshot) => {
                self.snapshot.send_replace(Arc::new(snapshot));
            }
        }
    }

    /// Lets the crypto pool work out an input; `failed` stands for it where that panics.
    fn compute(&self, work: impl FnOnce() -> Input + Send + 'static, failed: Input) {
        let done = self.completions.0.clone();
        self.shell.pool.run(work, failed, move |input| {
            // As for a commit.
            let _ = done.send(input);
        });
    }

    /// Reads a body on a thread that may wait for the disk.
    fn read_body(&self, op: OpId, body: BodyId) {
        let (log, done) = (Arc::clone(&self.shell.log), self.completions.0.clone());
        tokio::task::spawn_blocking(move || {
            let read = log.read_body(body, 0..u64::MAX);
            let bytes =
                read.inspect_err(|error| tracing::error!(%error, "a message cannot be read from the disk")).ok();
            // As for a commit.
            let _ = done.send(Input::BodyRead(op, bytes));
        });
    }

    fn commit(
        &mut self,
        transaction: Transaction,
        durability: Durability,
        done: impl FnOnce(Result<u64, CommitError>) + Send + 'static,
    ) {
        self.in_flight += 1;
        let Some(records) = encoded(&transaction.records) else { return done(Err(CommitError::Io)) };
        self.shell.log.commit(records, transaction.bodies, durability, Box::new(done));
    }

    fn dial(&mut self, session: SessionId, onion: crate::base::Onion, contact: crate::base::ContactId) {
        let (transport, done) = (Arc::clone(&self.shell.transport), self.completions.0.clone());
        let isolation = Isolation::Pair(self.shell.id, contact);
        self.sessions.dial(session, transport, (onion, isolation), move |result| {
            // As for a commit.
            let _ = done.send(Input::Dialled(session, result));
        });
    }

    /// Gives the machine what was held back from it, as far as it reads on.
    fn release_held(&mut self) {
        loop {
            let machine = &self.machine;
            let Some(heard) = self.sessions.released(|session| machine.is_blocked(session)) else { return };
            let effects = self.machine.handle(now(), &mut OsRng, heard.into());
            self.perform_all(effects);
        }
    }

    /// Lets what was begun come to its end, then keeps an image of the state in the view.
    async fn finish(&mut self) {
        self.sessions.clear();
        while self.in_flight > 0 {
            match tokio::time::timeout(PATIENCE, self.completions.1.recv()).await {
                Ok(Some(input @ Input::Committed(..))) => self.handle(input),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return,
            }
        }
        // What a commit may lag behind is written now. Only what is durable has a position, and so an image.
        let log = Arc::clone(&self.shell.log);
        let _ = tokio::time::timeout(PATIENCE, tokio::task::spawn_blocking(move || log.shutdown())).await;
        self.keep_image();
        let view = Arc::clone(&self.shell.view);
        let _ = tokio::time::timeout(PATIENCE, tokio::task::spawn_blocking(move || view.flush())).await;
    }

    /// Keeps an image of the state in the view. Only while no commit is under way: the image then is the fold of
    /// everything up to the log's position.
    fn keep_image(&mut self) {
        self.since_image = 0;
        let state = self.machine.state();
        if let (Some(position), Ok(image)) = (self.shell.log.position(state.last_record()), state.encode()) {
            self.shell.view.save_state(&position, &image);
        }
    }
}

fn encoded(records: &[Record]) -> Option<Vec<Vec<u8>>> {
    let encoded: Result<_, _> = records.iter().map(Record::encode).collect();
    encoded.inspect_err(|_| tracing::error!("a record cannot be encoded, and is refused. Please report this")).ok()
}

impl From<Heard> for Input {
    fn from(heard: Heard) -> Self {
        match heard {
            Heard::Bytes(session, bytes) => Self::Received(session, bytes),
            Heard::Closed(session) => Self::Closed(session),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::base::{Onion, OnionSeed, SymmetricKey};
    use crate::daemon::identities::genesis;
    use crate::engine::State;
    use crate::engine::mailbox::{FlagChange, Flags, FolderRole, NamedFlags};
    use crate::mail::LocalPart;
    use crate::net::{self, ListenError, Listener, TransportStatus};
    use crate::pgp::SecretKeys;
    use crate::store::View;
    use crate::store::vfs::RealVfs;

    /// A network on which nobody is online.
    struct Alone;

    impl Transport for Alone {
        fn dial(&self, _: Onion, _: Isolation) -> net::Later<'_, Result<Box<dyn Stream>, net::DialError>> {
            Box::pin(async { Err(net::DialError::Unreachable) })
        }

        fn listen<'a>(&'a self, _: IdentityId, _: &'a OnionSeed) -> net::Later<'a, Result<Listener, ListenError>> {
            Box::pin(async { Err(ListenError::Stopped) })
        }

        fn status(&self) -> watch::Receiver<TransportStatus> {
            watch::channel(TransportStatus::ready()).1
        }

        fn stop(&self) -> net::Later<'_, ()> {
            Box::pin(async {})
        }
    }

    /// A driver of a new identity whose files are in this directory; its start had to read so many records.
    fn driver(name: &str, dir: &Path, replayed: u32) -> (Driver, Ends, View) {
        let key = SymmetricKey::from_bytes([7; 32]);
        let id = IdentityId::random(&mut OsRng);
        Log::create(&RealVfs, dir).unwrap();
        let log = Log::open(Arc::new(RealVfs), dir, &key, Box::new(OsRng), None, &mut |_, _| ()).unwrap();
        let records = genesis(&LocalPart::new(name).unwrap()).unwrap();
        let (done, committed) = std::sync::mpsc::channel();
        let encoded = records.iter().map(|record| Record::encode(record).unwrap()).collect();
        log.commit(encoded, Vec::new(), Durability::Synced, Box::new(move |first| done.send(first).unwrap()));
        let first = committed.recv().unwrap().unwrap();
        let mut state = State::default();
        for (number, record) in (first..).zip(&records) {
            state.apply(number, record);
        }
        let view = View::open(&dir.join("view"));
        let keys = SecretKeys::from_bytes(state.profile().unwrap().secret_keys.expose()).unwrap();
        let shell = Shell {
            id,
            log: Arc::new(log),
            view: Arc::new(view.identity(id, &key)),
            keys: Arc::new(KeyChain::new(keys)),
            pool: Pool::new().unwrap(),
            transport: Arc::new(Alone),
        };
        let (driver, ends) = Driver::new(Identity::new(state, now(), &mut OsRng).unwrap(), shell, replayed);
        (driver, ends, view)
    }

    /// Lets the driver work until the request is answered.
    async fn ask(driver: &mut Driver, ends: &Ends, request: Request) -> Response {
        let (answer, mut result) = oneshot::channel();
        ends.requests.send(Asked { request, answer }).await.unwrap();
        let (_running, mut stop) = watch::channel(false);
        loop {
            assert!(driver.step(&mut stop).await);
            match result.try_recv() {
                Ok(result) => return result.unwrap(),
                Err(error) => assert_eq!(error, oneshot::error::TryRecvError::Empty),
            }
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_stop_keeps_an_image_of_what_was_still_on_its_way_to_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let (mut driver, ends, _view) = driver("alice", &dir.path().join("alice"), 0);
        let folder = ends.snapshot.borrow().mailbox.by_role(FolderRole::Inbox).unwrap().id;
        let message: Arc<[u8]> = b"Subject: x\r\n\r\nx\r\n".as_slice().into();
        let flags = NamedFlags::default();
        let append = Request::Append { folder, flags: flags.clone(), date: None, message };
        ask(&mut driver, &ends, append).await;
        let seen = NamedFlags { system: Flags::SEEN, ..flags };
        // Answered before its sync.
        ask(&mut driver, &ends, Request::Store { folder, uids: vec![1], change: FlagChange::Add, flags: seen }).await;
        let (last, view) = (driver.machine.state().last_record(), Arc::clone(&driver.shell.view));
        let (_stopping, stop) = watch::channel(true);
        driver.run(stop).await;
        let (position, image) = view.load_state().unwrap();
        assert_eq!(position.number(), last);
        let inbox = State::decode(&image).unwrap().mailbox().by_role(FolderRole::Inbox).cloned().unwrap();
        assert!(inbox.messages.get(1).unwrap().flags.contains(Flags::SEEN));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn after_a_start_that_read_much_the_first_commit_keeps_an_image() {
        for (replayed, kept) in [(0, false), (COMMITS_PER_IMAGE, true)] {
            let dir = tempfile::tempdir().unwrap();
            let (mut driver, ends, _view) = driver("alice", &dir.path().join("alice"), replayed);
            let folder = ends.snapshot.borrow().mailbox.by_role(FolderRole::Inbox).unwrap().id;
            let message: Arc<[u8]> = b"Subject: x\r\n\r\nx\r\n".as_slice().into();
            let append = Request::Append { folder, flags: NamedFlags::default(), date: None, message };
            ask(&mut driver, &ends, append).await;
            let view = Arc::clone(&driver.shell.view);
            view.flush();
            assert_eq!(view.load_state().is_some(), kept, "{replayed} records");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn dials_that_fail_leave_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let (mut alice, from_alice, _) = driver("alice", &dir.path().join("alice"), 0);
        let (mut bob, from_bob, _) = driver("bob", &dir.path().join("bob"), 0);
        let expires = now().plus(Duration::from_secs(3600));
        let invited = ask(&mut bob, &from_bob, Request::Invite { public: false, expires }).await;
        let Response::Invited { text, .. } = invited else { panic!("not an invitation") };
        ask(&mut alice, &from_alice, Request::AddContact { invitation: text, petname: None }).await;
        let (_running, mut stop) = watch::channel(false);
        while from_alice.snapshot.borrow().attempts.values().all(|attempts| attempts.failed == 0) {
            assert!(alice.step(&mut stop).await);
        }
        assert!(alice.sessions.is_empty());
    }
}
