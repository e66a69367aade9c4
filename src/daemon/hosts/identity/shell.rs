//! The shell of an identity's machine: it performs the machine's effects.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::super::keys::KeyChain;
use crate::base::{ClockStep, IdentityId, SessionId, Timestamp};
use crate::daemon::runtime::clock::now;
use crate::daemon::runtime::driver::{Hands, Machine, Shell};
use crate::daemon::runtime::folded::encoded;
use crate::daemon::runtime::sessions::Heard;
use crate::engine::api::RequestId;
use crate::engine::io::Refusal;
use crate::engine::{Effect, Identity, Input, Request, RequestError, Response, Snapshot, State};
use crate::net::{Isolation, Transport};
use crate::pgp::SecretKeys;
use crate::store::{IdentityView, Log, OsRng};

type Answer = oneshot::Sender<Result<Response, RequestError>>;

/// A request and where its answer goes.
pub(in crate::daemon) struct Asked {
    pub(in crate::daemon) request: Request,
    pub(in crate::daemon) answer: Answer,
}

/// The parts with which an identity's machine works.
pub(in crate::daemon) struct Tools {
    pub(in crate::daemon) id: IdentityId,
    pub(in crate::daemon) log: Arc<Log>,
    pub(in crate::daemon) view: Arc<IdentityView>,
    pub(in crate::daemon) keys: Arc<KeyChain>,
    pub(in crate::daemon) transport: Arc<dyn Transport>,
}

/// The shell of an identity.
pub(in crate::daemon) struct IdentityShell {
    tools: Tools,
    snapshot: watch::Sender<Arc<Snapshot>>,
    /// Whether the onion is to be published.
    listens: watch::Sender<bool>,
    answers: BTreeMap<RequestId, Answer>,
    next_request: u64,
}

impl IdentityShell {
    /// A shell, and the channel on which its snapshots are seen; `listens` is told whether the onion is to be
    /// published.
    pub(in crate::daemon) fn new(
        tools: Tools,
        published: Snapshot,
        listens: watch::Sender<bool>,
    ) -> (Self, watch::Receiver<Arc<Snapshot>>) {
        listens.send_replace(!published.hidden);
        let (snapshot, receiver) = watch::channel(Arc::new(published));
        (Self { tools, snapshot, listens, answers: BTreeMap::new(), next_request: 0 }, receiver)
    }
}

impl Shell for IdentityShell {
    type Machine = Identity;
    type Request = Asked;

    fn log(&self) -> &Arc<Log> {
        &self.tools.log
    }

    fn request(&mut self, asked: Asked) -> Input {
        self.next_request += 1;
        let id = RequestId(self.next_request);
        self.answers.insert(id, asked.answer);
        Input::Request(id, asked.request)
    }

    fn perform(&mut self, effect: Effect, hands: &mut Hands<Input>) {
        let keys = || Arc::clone(&self.tools.keys);
        match effect {
            Effect::Commit(op, transaction, durability) => {
                let records = encoded::<State>(&transaction.records);
                hands.commit(records, transaction.bodies, durability, move |result| Input::Committed(op, result));
            }
            // If our own code fails here, that says nothing about the object: the peer may try again.
            Effect::Open(op, object) => {
                let (keys, snapshot) = (keys(), self.snapshot.borrow().clone());
                let open = move || Input::Opened(op, keys.open(&object, &snapshot, now()));
                hands.compute(open, Input::Opened(op, Err(Refusal::Temporary)));
            }
            Effect::VerifyCard(op, evidence) => {
                let keys = keys();
                let verify = move || Input::CardVerified(op, keys.verify_card(&evidence, now()));
                hands.compute(verify, Input::CardVerified(op, false));
            }
            Effect::CheckCertificate(op, certificate, fingerprint) => {
                let keys = keys();
                let check = move || Input::CertificateChecked(op, keys.check_certificate(&certificate, &fingerprint));
                hands.compute(check, Input::CertificateChecked(op, false));
            }
            Effect::Seal(op, content, recipient, sizes) => {
                let keys = keys();
                let seal = move || Input::Sealed(op, keys.seal(&content, &recipient, sizes, now()));
                hands.compute(seal, Input::Sealed(op, Err(Refusal::Temporary)));
            }
            Effect::SealBody(op, header, body, recipient, sizes) => {
                let (keys, log) = (keys(), Arc::clone(&self.tools.log));
                let seal = move || Input::Sealed(op, keys.seal_body(header, &log, body, &recipient, sizes, now()));
                hands.compute(seal, Input::Sealed(op, Err(Refusal::Temporary)));
            }
            Effect::ForBox(op, box_keys, work) => {
                let work = move || {
                    let keys = SecretKeys::from_bytes(box_keys.expose()).map_err(|_| Refusal::Temporary);
                    Input::BoxWorked(op, keys.and_then(|keys| KeyChain::new(keys).work_for_box(work, now())))
                };
                hands.compute(work, Input::BoxWorked(op, Err(Refusal::Temporary)));
            }
            Effect::MakeSealKey(op) => {
                let keys = keys();
                let make = move || Input::SealKeyMade(op, keys.make_seal_key());
                hands.wait(make, Input::SealKeyMade(op, Err(Refusal::Temporary)));
            }
            Effect::DestroySealKeys(op, ids) => {
                let keys = keys();
                let destroy = move || Input::SealKeysHeld(op, keys.destroy_seal_keys(&ids));
                hands.wait(destroy, Input::SealKeysHeld(op, None));
            }
            Effect::ReadBody(op, body) => {
                let log = Arc::clone(&self.tools.log);
                let read = move || {
                    let read = log.read_body(body, 0..u64::MAX);
                    let read =
                        read.inspect_err(|error| tracing::error!(%error, "a message cannot be read from the disk"));
                    Input::BodyRead(op, read.ok())
                };
                hands.wait(read, Input::BodyRead(op, None));
            }
            Effect::Forget(bodies) => {
                self.tools.view.remove_rows(&bodies);
                self.tools.log.forget(bodies);
            }
            Effect::Dial(session, onion, contact) => {
                let isolation = contact.map_or(Isolation::Fresh, |contact| Isolation::Pair(self.tools.id, contact));
                hands.sessions.dial(session, Arc::clone(&self.tools.transport), onion, isolation);
            }
            Effect::Transmit(session, bytes) => hands.sessions.transmit(session, bytes),
            Effect::Close(session) => hands.sessions.close(session),
            Effect::Respond(request, result) => {
                if let Some(answer) = self.answers.remove(&request) {
                    let _ = answer.send(result);
                }
            }
            Effect::Publish(snapshot) => {
                let listens = !snapshot.hidden;
                self.listens.send_if_modified(|before| std::mem::replace(before, listens) != listens);
                self.snapshot.send_replace(Arc::new(snapshot));
            }
        }
    }
}

impl Machine for Identity {
    type Input = Input;
    type Effect = Effect;
    type State = State;

    fn accepted(session: SessionId) -> Input {
        Input::Accepted(session)
    }

    fn clock_set(step: ClockStep) -> Input {
        Input::ClockSet(step)
    }

    fn network_back(gone: Duration) -> Option<Input> {
        Some(Input::NetworkBack(gone))
    }

    fn reachable() -> Option<Input> {
        Some(Input::Reachable)
    }

    fn disk_low(low: bool) -> Input {
        Input::DiskLow(low)
    }

    fn handle(&mut self, input: Input) -> Vec<Effect> {
        Self::handle(self, now(), &mut OsRng, input)
    }

    fn handle_timeout(&mut self) -> Vec<Effect> {
        Self::handle_timeout(self, now(), &mut OsRng)
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        Self::poll_timeout(self)
    }

    fn is_blocked(&self, session: SessionId) -> bool {
        Self::is_blocked(self, session)
    }

    fn state(&self) -> &State {
        self.state()
    }
}

impl From<Heard> for Input {
    fn from(heard: Heard) -> Self {
        match heard {
            Heard::Dialled(session, result) => Self::Dialled(session, result),
            Heard::Bytes(session, bytes) => Self::Received(session, bytes),
            Heard::Closed(session) => Self::Closed(session),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::super::genesis;
    use super::*;
    use crate::base::limits::DISK_RESERVE_BYTES;
    use crate::base::{Onion, OnionSeed, SymmetricKey};
    use crate::daemon::runtime::crypto::Pool;
    use crate::daemon::runtime::driver::{Driver, DriverHandle};
    use crate::daemon::runtime::folded::Folded;
    use crate::daemon::runtime::images::Images;
    use crate::engine::Record;
    use crate::engine::boxes::Delays;
    use crate::engine::io::Durability;
    use crate::engine::state::mailbox::{FlagChange, Flags, FolderRole, NamedFlags};
    use crate::mail::LocalPart;
    use crate::net::{self, ListenError, Listener, Stream, TransportStatus};
    use crate::store::View;
    use crate::store::vfs::{MemVfs, RealVfs, Vfs};
    use crate::wire::{Claim, Command, Importance, Send};

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

    /// A driver, with all handles by which it is reached.
    struct Running {
        driver: Driver<IdentityShell>,
        ends: DriverHandle<Asked>,
        snapshot: watch::Receiver<Arc<Snapshot>>,
        _view: View,
    }

    /// A driver of a new identity with its files in this directory; `replayed` is how many records its start had to
    /// read.
    fn driver(name: &str, dir: &Path, replayed: u32) -> Running {
        driver_on(Arc::new(RealVfs), name, dir, &dir.join("view"), replayed)
    }

    /// The same, with its log on this disk.
    fn driver_on(vfs: Arc<dyn Vfs>, name: &str, dir: &Path, view: &Path, replayed: u32) -> Running {
        let key = SymmetricKey::from_bytes([7; 32]);
        let id = IdentityId::random(&mut OsRng);
        Log::create(&*vfs, dir).unwrap();
        let log = Log::open(vfs, dir, &key, Box::new(OsRng), None, &mut |_, _| ()).unwrap();
        let (records, _) = genesis(&LocalPart::new(name).unwrap()).unwrap();
        let (done, committed) = std::sync::mpsc::channel();
        let encoded = records.iter().map(|record| Record::encode(record).unwrap()).collect();
        log.commit(encoded, Vec::new(), Durability::Synced, Box::new(move |first| done.send(first).unwrap()));
        let first = committed.recv().unwrap().unwrap();
        let mut state = State::default();
        for (number, record) in (first..).zip(&records) {
            state.apply(number, record);
        }
        let view = View::open(view);
        let keys = SecretKeys::from_bytes(state.profile().unwrap().secret_keys.expose()).unwrap();
        let tools = Tools {
            id,
            log: Arc::new(log),
            view: Arc::new(view.identity(id, &key)),
            keys: Arc::new(KeyChain::new(keys)),
            transport: Arc::new(Alone),
        };
        let mut machine = Identity::new(state, Delays::default(), now(), &mut OsRng).unwrap();
        let (shell, snapshot) = IdentityShell::new(tools, machine.snapshot(), watch::channel(true).0);
        let images = Images::new(Arc::clone(shell.log()), IdentityView::clone(&shell.tools.view), replayed);
        let (driver, ends) = Driver::new(machine, shell, images, Pool::new().unwrap());
        Running { driver, ends, snapshot, _view: view }
    }

    /// Lets the driver work until the request is answered.
    async fn ask(running: &mut Running, request: Request) -> Response {
        let (answer, mut result) = oneshot::channel();
        running.ends.requests.send(Asked { request, answer }).await.unwrap();
        let (_running, mut stop) = watch::channel(false);
        loop {
            assert!(running.driver.step(&mut stop).await);
            match result.try_recv() {
                Ok(result) => return result.unwrap(),
                Err(error) => assert_eq!(error, oneshot::error::TryRecvError::Empty),
            }
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_stop_keeps_an_image_of_what_was_still_on_its_way_to_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let mut alice = driver("alice", &dir.path().join("alice"), 0);
        let folder = alice.snapshot.borrow().mailbox.by_role(FolderRole::Inbox).unwrap().id;
        let message: Arc<[u8]> = b"Subject: x\r\n\r\nx\r\n".as_slice().into();
        let flags = NamedFlags::default();
        ask(&mut alice, Request::Append { folder, flags: flags.clone(), date: None, message }).await;
        let seen = NamedFlags { system: Flags::SEEN, ..flags };
        // The change is answered before it is synced.
        ask(&mut alice, Request::Store { folder, uids: vec![1], change: FlagChange::Add, flags: seen }).await;
        let last = alice.driver.machine.state().last_record();
        let view = Arc::clone(&alice.driver.shell.tools.view);
        let (_stopping, stop) = watch::channel(true);
        alice.driver.run(stop).await;
        let (position, image) = view.load_state().unwrap();
        assert_eq!(position.number(), last);
        let inbox = State::decode(&image).unwrap().mailbox().by_role(FolderRole::Inbox).cloned().unwrap();
        assert!(inbox.messages.get(1).unwrap().flags.contains(Flags::SEEN));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn after_a_start_that_read_much_the_first_commit_keeps_an_image() {
        for (replayed, kept) in [(0, false), (State::COMMITS_PER_IMAGE, true)] {
            let dir = tempfile::tempdir().unwrap();
            let mut alice = driver("alice", &dir.path().join("alice"), replayed);
            let folder = alice.snapshot.borrow().mailbox.by_role(FolderRole::Inbox).unwrap().id;
            let message: Arc<[u8]> = b"Subject: x\r\n\r\nx\r\n".as_slice().into();
            let append = Request::Append { folder, flags: NamedFlags::default(), date: None, message };
            ask(&mut alice, append).await;
            let view = Arc::clone(&alice.driver.shell.tools.view);
            alice.driver.images.made().await;
            view.flush();
            assert_eq!(view.load_state().is_some(), kept, "{replayed} records");
        }
    }

    #[test]
    fn a_driver_goes_on_while_an_image_is_made_which_is_of_the_state_as_it_was() {
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).enable_all().build();
        runtime.unwrap().block_on(async {
            // The only thread on which an image could be made is busy.
            let (release, busy) = std::sync::mpsc::channel::<()>();
            drop(tokio::task::spawn_blocking(move || busy.recv()));
            let dir = tempfile::tempdir().unwrap();
            let mut alice = driver("alice", &dir.path().join("alice"), State::COMMITS_PER_IMAGE);
            let mut mailbox = async |name: &str| {
                ask(&mut alice, Request::CreateFolder { name: name.to_owned() }).await;
                alice.driver.machine.state().last_record()
            };
            let due = mailbox("Work").await;
            assert!(mailbox("Home").await > due, "it goes on");
            let view = Arc::clone(&alice.driver.shell.tools.view);
            view.flush();
            assert!(view.load_state().is_none(), "it is not made on the way");
            release.send(()).unwrap();
            alice.driver.images.made().await;
            view.flush();
            let (position, image) = view.load_state().unwrap();
            let image = State::decode(&image).unwrap();
            assert_eq!((position.number(), image.last_record()), (due, due));
            let folder = |name| image.mailbox().by_name(name).is_some();
            assert!(folder("Work") && !folder("Home"), "what came meanwhile is read from the log");
        });
    }

    /// The answer of a node to a peer that asks whether it may send an object.
    async fn knock(running: &mut Running) -> String {
        let (mut near, far) = tokio::io::duplex(1 << 16);
        running.ends.incoming.send(Box::new(far)).await.unwrap();
        let send = Send {
            to: running.driver.machine.state().profile().unwrap().public.address.to_string(),
            certificate: None,
            server: None,
            claim: Some(Claim::of(b"x")),
            auth: None,
            onward: None,
            importance: Importance::Normal,
            secure: false,
        };
        near.write_all(Command::Send(send).encode(None).as_bytes()).await.unwrap();
        let (mut heard, mut bytes) = (String::new(), [0; 4096]);
        let (_running, mut stop) = watch::channel(false);
        // The answer follows the greeting.
        while !heard.contains("\n201 ") && !heard.contains("\n420 ") {
            tokio::select! {
                goes_on = running.driver.step(&mut stop) => assert!(goes_on),
                read = near.read(&mut bytes) => {
                    let count = read.unwrap();
                    assert!(count > 0, "{heard}");
                    heard.push_str(&String::from_utf8_lossy(&bytes[..count]));
                }
            }
        }
        heard
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_asked_for_mail_while_the_disk_is_nearly_full() {
        let (vfs, dir) = (MemVfs::new(), tempfile::tempdir().unwrap());
        let mut alice = driver_on(Arc::new(vfs.clone()), "alice", Path::new("/alice"), dir.path(), 0);
        assert!(knock(&mut alice).await.contains("201 "));
        for (free, taken) in [(DISK_RESERVE_BYTES / 2, false), (100 * DISK_RESERVE_BYTES, true)] {
            vfs.set_free_space(free);
            tokio::time::advance(Duration::from_secs(60)).await;
            // The first step after that notices the missing directory.
            knock(&mut alice).await;
            let answer = knock(&mut alice).await;
            assert_eq!((answer.contains("201 "), answer.contains("420 ")), (taken, !taken), "{free}: {answer}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_driver_whose_log_panics_ends_instead_of_waiting_for_good() {
        let dir = tempfile::tempdir().unwrap();
        let alice = driver("alice", &dir.path().join("alice"), 0);
        alice.driver.shell.tools.log.panic();
        let (answer, _result) = oneshot::channel();
        let request = Request::CreateFolder { name: "Lost".to_owned() };
        alice.ends.requests.send(Asked { request, answer }).await.unwrap();
        let (_running, stop) = watch::channel(false);
        let ran = tokio::time::timeout(Duration::from_secs(8), alice.driver.run(stop)).await;
        assert!(ran.is_ok(), "it ended, and so the node hears of it");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn dials_that_fail_leave_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let mut alice = driver("alice", &dir.path().join("alice"), 0);
        let mut bob = driver("bob", &dir.path().join("bob"), 0);
        let expires = now().plus(Duration::from_secs(3600));
        let invited = ask(&mut bob, Request::Invite { public: false, expires, label: None }).await;
        let Response::Invited { text, .. } = invited else { panic!("not an invitation") };
        ask(&mut alice, Request::AddContact { invitation: text, petname: None }).await;
        let (_running, mut stop) = watch::channel(false);
        while alice.snapshot.borrow().attempts.values().all(|attempts| attempts.failed == 0) {
            assert!(alice.driver.step(&mut stop).await);
        }
        assert!(alice.driver.hands.sessions.is_empty());
    }
}
