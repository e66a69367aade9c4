//! An account in memory, on the real [`Mailbox`], and a scripted mail program.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use runepeer::base::{BodyId, FolderId, Timestamp};
use runepeer::engine::state::mailbox::{FlagChange, Flags, FolderRole, NamedFlags, NewMessage, Uid};
use runepeer::engine::{Mailbox, Request, RequestError, Response, Snapshot};
use runepeer::gateway::account::{Account, Accounts, Later, ReadError};
use runepeer::gateway::imap::{self, Limits};
use runepeer::gateway::pacer::Pacer;
use runepeer::mail::Address;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub(crate) const ALICE: &str = "alice@aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaam2dqd.onion";

/// The state behind one account.
pub(crate) struct FakeAccount {
    state: Mutex<State>,
    published: watch::Sender<Arc<Snapshot>>,
    /// Bytes of bodies that were read.
    pub(crate) read: AtomicU64,
    before_reading: Mutex<Option<BeforeReading>>,
}

type BeforeReading = Box<dyn FnMut(&FakeAccount) + Send>;

#[derive(Default)]
struct State {
    mailbox: Mailbox,
    bodies: BTreeMap<BodyId, Arc<[u8]>>,
    cache: BTreeMap<BodyId, Vec<u8>>,
    modseq: u64,
    next: u64,
    /// From where on a body cannot be read.
    damaged: BTreeMap<BodyId, u64>,
}

impl State {
    fn modseq(&mut self) -> u64 {
        self.modseq += 1;
        self.modseq
    }

    fn fresh(&mut self) -> [u8; 16] {
        self.next += 1;
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.next.to_be_bytes());
        bytes
    }

    fn create(&mut self, name: &str, role: Option<FolderRole>) -> FolderId {
        let id = FolderId::from_bytes(self.fresh());
        let modseq = self.modseq();
        assert!(self.mailbox.create(modseq, id, name, role, 700 + u32::try_from(self.next).unwrap()));
        id
    }

    fn append(
        &mut self,
        folder: FolderId,
        flags: NamedFlags,
        date: Timestamp,
        message: Arc<[u8]>,
    ) -> Result<Response, RequestError> {
        let found = self.mailbox.folder(folder).ok_or(RequestError::NoSuchFolder)?.clone();
        let body = BodyId::from_bytes(self.fresh());
        let size = u32::try_from(message.len()).unwrap();
        self.bodies.insert(body, message);
        let modseq = self.modseq();
        let new = NewMessage { uid: found.uid_next, flags, date, body, size, content: None };
        assert!(self.mailbox.add(modseq, folder, &new));
        Ok(Response::Appended { uid_validity: found.uid_validity, uid: new.uid })
    }

    fn handle(&mut self, request: Request) -> Result<Response, RequestError> {
        let exists =
            |mailbox: &Mailbox, folder| mailbox.folder(folder).map(Arc::clone).ok_or(RequestError::NoSuchFolder);
        match request {
            Request::Append { folder, flags, date, message } => {
                self.append(folder, flags, date.unwrap_or(Timestamp::from_secs(1_795_218_052)), message)
            }
            Request::Store { folder, uids, change, flags } => {
                exists(&self.mailbox, folder)?;
                let modseq = self.modseq();
                Ok(Response::Changed(self.mailbox.store(modseq, folder, &uids, change, &flags)))
            }
            Request::Expunge { folder, mut uids } => {
                let role = exists(&self.mailbox, folder)?.role;
                // Of what waits the first message is being sent.
                let sending = role == Some(FolderRole::Outbox) && uids.contains(&1);
                uids.retain(|uid| !sending || *uid != 1);
                let modseq = self.modseq();
                let gone = self.mailbox.expunge(modseq, folder, &uids);
                if sending {
                    return Err(RequestError::BeingSent);
                }
                Ok(Response::Changed(gone.into_iter().map(|message| message.uid).collect()))
            }
            Request::Transfer { from, to, uids, keep } => {
                exists(&self.mailbox, from)?;
                let target = exists(&self.mailbox, to)?;
                let pairs: Vec<(Uid, Uid)> = uids.iter().copied().zip(target.uid_next..).collect();
                let modseq = self.modseq();
                let pairs = self.mailbox.transfer(modseq, from, to, &pairs, keep);
                Ok(Response::Transferred { uid_validity: target.uid_validity, pairs })
            }
            Request::CreateFolder { name } => Ok(Response::FolderCreated(self.create(&name, None))),
            Request::RenameFolder { folder, name } => {
                let modseq = self.modseq();
                self.mailbox.rename(modseq, folder, &name);
                Ok(Response::Done)
            }
            Request::DeleteFolder { folder } => {
                self.mailbox.delete(folder);
                Ok(Response::Done)
            }
            Request::SubscribeFolder { folder, subscribed } => {
                let modseq = self.modseq();
                self.mailbox.subscribe(modseq, folder, subscribed);
                Ok(Response::Done)
            }
            _ => Err(RequestError::Disk),
        }
    }
}

impl FakeAccount {
    pub(crate) fn new() -> Arc<Self> {
        let mut state = State::default();
        for role in FolderRole::ALL {
            state.create(role.name(), Some(role));
        }
        let snapshot = Arc::new(Snapshot { mailbox: state.mailbox.clone(), ..Snapshot::default() });
        let published = watch::channel(snapshot).0;
        Arc::new(Self {
            state: Mutex::new(state),
            published,
            read: AtomicU64::new(0),
            before_reading: Mutex::default(),
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap();
        let result = change(&mut state);
        self.published.send_replace(Arc::new(Snapshot { mailbox: state.mailbox.clone(), ..Snapshot::default() }));
        result
    }

    /// Puts a message into a folder, as if it had arrived from a peer.
    pub(crate) fn deliver(&self, folder: &str, message: &str) -> Uid {
        self.deliver_bytes(folder, message.replace('\n', "\r\n").into_bytes())
    }

    pub(crate) fn deliver_bytes(&self, folder: &str, message: Vec<u8>) -> Uid {
        self.change(|state| {
            let id = state.mailbox.by_name(folder).unwrap().id;
            let date = Timestamp::from_civil(2026, 11, 1, 9, 5, 7).unwrap();
            match state.append(id, NamedFlags::default(), date, message.into()) {
                Ok(Response::Appended { uid, .. }) => uid,
                other => panic!("{other:?}"),
            }
        })
    }

    pub(crate) fn expunge(&self, folder: &str, uids: &[Uid]) {
        self.change(|state| {
            let id = state.mailbox.by_name(folder).unwrap().id;
            state.handle(Request::Expunge { folder: id, uids: uids.to_vec() }).unwrap();
        });
    }

    /// Expunges as another session would: the folder is published without the messages, then their bodies are forgotten.
    pub(crate) fn vanish(&self, folder: &str, uids: &[Uid]) {
        let bodies: Vec<BodyId> = uids.iter().map(|uid| self.body_id(folder, *uid)).collect();
        self.expunge(folder, uids);
        self.state.lock().unwrap().bodies.retain(|id, _| !bodies.contains(id));
    }

    /// Damages a body on the disk from this byte on.
    pub(crate) fn damage(&self, folder: &str, uid: Uid, from: u64) {
        let body = self.body_id(folder, uid);
        self.state.lock().unwrap().damaged.insert(body, from);
    }

    /// What happens before a body is read, with how many were read before.
    pub(crate) fn before_reading(&self, then: impl FnMut(&Self, u32) + Send + 'static) {
        let (mut then, mut count) = (then, 0);
        let counted = move |account: &Self| {
            then(account, count);
            count += 1;
        };
        *self.before_reading.lock().unwrap() = Some(Box::new(counted));
    }

    fn body_id(&self, folder: &str, uid: Uid) -> BodyId {
        self.state.lock().unwrap().mailbox.by_name(folder).unwrap().messages.get(uid).unwrap().body
    }

    pub(crate) fn flag(&self, folder: &str, uids: &[Uid], flags: Flags) {
        self.change(|state| {
            let id = state.mailbox.by_name(folder).unwrap().id;
            let (uids, flags) = (uids.to_vec(), NamedFlags::system(flags));
            state.handle(Request::Store { folder: id, uids, change: FlagChange::Add, flags }).unwrap();
        });
    }

    /// Makes every body unreadable.
    pub(crate) fn break_bodies(&self) {
        self.state.lock().unwrap().bodies.clear();
    }

    pub(crate) fn body(&self, folder: &str, uid: Uid) -> Vec<u8> {
        let state = self.state.lock().unwrap();
        let folder = state.mailbox.by_name(folder).unwrap();
        state.bodies[&folder.messages.get(uid).unwrap().body].to_vec()
    }
}

impl Account for FakeAccount {
    fn address(&self) -> Address {
        ALICE.parse().unwrap()
    }

    fn snapshot(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.published.subscribe()
    }

    fn body(&self, id: BodyId, range: Range<u64>) -> Later<'_, Result<Vec<u8>, ReadError>> {
        Box::pin(async move {
            if let Some(then) = self.before_reading.lock().unwrap().as_mut() {
                then(self);
            }
            let state = self.state.lock().unwrap();
            let body = state.bodies.get(&id).cloned().ok_or(ReadError)?;
            if state.damaged.get(&id).is_some_and(|from| *from < range.end.min(body.len() as u64)) {
                return Err(ReadError);
            }
            drop(state);
            let cut = |at: u64| usize::try_from(at).unwrap().min(body.len());
            let bytes = body[cut(range.start)..cut(range.end)].to_vec();
            self.read.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            Ok(bytes)
        })
    }

    fn cached(&self, id: BodyId) -> Option<Vec<u8>> {
        self.state.lock().unwrap().cache.get(&id).cloned()
    }

    fn cache(&self, id: BodyId, value: Vec<u8>) {
        self.state.lock().unwrap().cache.insert(id, value);
    }

    fn request(&self, request: Request) -> Later<'_, Result<Response, RequestError>> {
        Box::pin(async move { self.change(|state| state.handle(request)) })
    }
}

pub(crate) struct FakeAccounts(pub(crate) Arc<FakeAccount>);

impl Accounts for FakeAccounts {
    fn login(&self, user: &str, password: &str) -> Later<'_, Option<Arc<dyn Account>>> {
        let right = user == "alice" && password == "open sesame";
        Box::pin(async move { right.then(|| Arc::clone(&self.0) as Arc<dyn Account>) })
    }
}

/// A running gateway.
pub(crate) struct Server {
    pub(crate) account: Arc<FakeAccount>,
    pub(crate) port: u16,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(Limits { pacer: Pacer::new(Duration::ZERO), ..Limits::default() }).await
    }

    pub(crate) async fn with(limits: Limits) -> Self {
        let account = FakeAccount::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stop, stopped) = watch::channel(false);
        let gateway = imap::Server::new(Arc::new(FakeAccounts(Arc::clone(&account))), limits);
        let task = tokio::spawn(async move { gateway.serve(listener, stopped).await });
        Self { account, port, stop, task }
    }

    /// A connection, greeted.
    pub(crate) async fn connect(&self) -> Client {
        let (input, output) = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap().into_split();
        let mut client = Client { input: BufReader::new(input), output };
        assert!(client.line().await.starts_with("* OK [CAPABILITY IMAP4rev1 "));
        client
    }

    /// A connection, logged in.
    pub(crate) async fn log_in(&self) -> Client {
        let mut client = self.connect().await;
        let reply = client.command("login LOGIN alice \"open sesame\"").await;
        assert!(reply[0].starts_with("login OK [CAPABILITY IMAP4rev1 "), "{reply:?}");
        client
    }

    /// A connection with INBOX selected.
    pub(crate) async fn inbox(&self) -> Client {
        let mut client = self.log_in().await;
        let reply = client.command("select SELECT INBOX").await;
        assert!(reply.last().unwrap().starts_with("select OK [READ-WRITE]"), "{reply:?}");
        client
    }
}

/// A scripted mail program.
pub(crate) struct Client {
    input: BufReader<OwnedReadHalf>,
    output: OwnedWriteHalf,
}

const PATIENCE: Duration = Duration::from_secs(20);

impl Client {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.output.write_all(bytes).await.unwrap();
    }

    /// Sends this; false where the server has gone.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.output.write_all(bytes).await.is_ok()
    }

    /// Says that nothing more is sent, and goes on reading.
    pub(crate) async fn finish(&mut self) {
        self.output.shutdown().await.unwrap();
    }

    /// The next line, without its line end; empty at the end of the connection.
    pub(crate) async fn line(&mut self) -> String {
        let mut line = Vec::new();
        timeout(PATIENCE, self.input.read_until(b'\n', &mut line)).await.expect("no answer").unwrap();
        String::from_utf8_lossy(line.strip_suffix(b"\r\n").unwrap_or(&line)).into_owned()
    }

    /// Exactly this many bytes.
    pub(crate) async fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        timeout(PATIENCE, self.input.read_exact(&mut bytes)).await.expect("no answer").unwrap();
        bytes
    }

    /// Sends a command, gives the lines of its answer; the last one is the tagged reply.
    pub(crate) async fn command(&mut self, command: &str) -> Vec<String> {
        self.send(format!("{command}\r\n").as_bytes()).await;
        let tag = format!("{} ", command.split(' ').next().unwrap());
        let mut lines = Vec::new();
        loop {
            let line = self.line().await;
            let last = line.starts_with(&tag) || line.is_empty();
            lines.push(line);
            if last {
                return lines;
            }
        }
    }

    /// Whether the server closed the connection.
    pub(crate) async fn closed(&mut self) -> bool {
        let mut rest = Vec::new();
        timeout(PATIENCE, self.input.read_to_end(&mut rest)).await.expect("still open").is_err() || rest.is_empty()
    }

    /// Plays a transcript: lines after `C: ` are sent (those without an answer between them in one piece), lines after
    /// `S: ` must come exactly so.
    pub(crate) async fn play(&mut self, transcript: &str) {
        let mut sending = String::new();
        for line in transcript.lines().map(str::trim_start).filter(|line| !line.is_empty()) {
            if let Some(text) = line.strip_prefix("C: ") {
                sending.push_str(text);
                sending.push_str("\r\n");
                continue;
            }
            let expected =
                line.strip_prefix("S: ").or_else(|| line.strip_prefix("S:")).expect("a line begins with C: or S:");
            if !sending.is_empty() {
                self.send(sending.as_bytes()).await;
                sending.clear();
            }
            assert_eq!(self.line().await, expected, "in {transcript}");
        }
        assert!(sending.is_empty(), "the transcript ends with what the server says");
    }
}

/// The limits of the product, without a pace of wrong passwords.
pub(crate) fn limits() -> Limits {
    Limits { pacer: Pacer::new(Duration::ZERO), ..Limits::default() }
}
