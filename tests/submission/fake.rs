//! An account that takes what is submitted, and the server over it.

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use runepeer::base::rng::SeededRng;
use runepeer::base::{BodyId, Onion, QueueId, Timestamp};
use runepeer::engine::api::Submission;
use runepeer::engine::{Request, RequestError, Response, Snapshot, Unaddressable};
use runepeer::gateway::account::{Account, Accounts, Later, ReadError};
use runepeer::gateway::pacer::Pacer;
use runepeer::gateway::submission::{Bounds, Config, Server};
use runepeer::mail::Address;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

pub(crate) fn alice() -> Address {
    format!("alice@{}", Onion::from_public_key([1; 32])).parse().unwrap()
}

pub(crate) fn bob() -> Address {
    format!("bob@{}", Onion::from_public_key([2; 32])).parse().unwrap()
}

/// Takes what is submitted, or fails as it is told.
#[derive(Default)]
pub(crate) struct FakeAccount {
    pub(crate) submitted: Mutex<Vec<Submission>>,
    pub(crate) failure: Mutex<Option<RequestError>>,
}

impl Account for FakeAccount {
    fn address(&self) -> Address {
        alice()
    }

    fn snapshot(&self) -> watch::Receiver<Arc<Snapshot>> {
        watch::channel(Arc::new(Snapshot::default())).1
    }

    fn body(&self, _: BodyId, _: Range<u64>) -> Later<'_, Result<Vec<u8>, ReadError>> {
        Box::pin(async { Err(ReadError) })
    }

    fn cached(&self, _: BodyId) -> Option<Vec<u8>> {
        None
    }

    fn cache(&self, _: BodyId, _: Vec<u8>) {}

    fn request(&self, request: Request) -> Later<'_, Result<Response, RequestError>> {
        Box::pin(async move {
            let Request::Submit(submission) = request else { panic!("not a submission") };
            if let Some(failure) = self.failure.lock().unwrap().clone() {
                return Err(failure);
            }
            self.submitted.lock().unwrap().push(submission);
            Ok(Response::Submitted(QueueId::from_bytes([0xab; 16])))
        })
    }
}

pub(crate) struct FakeAccounts(pub(crate) Arc<FakeAccount>);

impl Accounts for FakeAccounts {
    fn login(&self, user: &str, password: &str) -> Later<'_, Option<Arc<dyn Account>>> {
        let right = user == "alice" && password == "secret";
        Box::pin(async move { right.then(|| Arc::clone(&self.0) as Arc<dyn Account>) })
    }
}

pub(crate) struct Setup {
    pub(crate) server: Server,
    pub(crate) account: Arc<FakeAccount>,
    pub(crate) shutdown: watch::Sender<bool>,
}

pub(crate) fn setup() -> Setup {
    setup_with(Bounds { pacer: Pacer::new(Duration::ZERO), message: 200_000, ..Bounds::default() })
}

pub(crate) fn setup_with(bounds: Bounds) -> Setup {
    setup_resolving(bounds, resolve)
}

/// Who is meant by a name.
pub(crate) fn resolve(name: &str) -> Result<Address, Unaddressable> {
    let known = ["bobby@rune.internal".to_owned(), "bobby".to_owned(), bob().to_string()];
    match name.to_ascii_lowercase() {
        name if known.contains(&name) => Ok(bob()),
        name if name == "mallory@rune.internal" => Err(Unaddressable::Blocked),
        _ => Err(Unaddressable::Unknown),
    }
}

pub(crate) fn setup_resolving(
    bounds: Bounds,
    resolve: impl Fn(&str) -> Result<Address, Unaddressable> + Send + Sync + 'static,
) -> Setup {
    let account = Arc::new(FakeAccount::default());
    let config = Config {
        resolve: Arc::new(move |_, name| resolve(name)),
        clock: || Timestamp::from_secs(1_795_218_052),
        rng: || Box::new(SeededRng::new(1)),
        bounds,
    };
    let server = Server::new(Arc::new(FakeAccounts(Arc::clone(&account))), config);
    Setup { server, account, shutdown: watch::channel(false).0 }
}

impl Setup {
    /// Sends everything at once, in pieces of this size, and gives all replies.
    pub(crate) async fn talk_in(&self, script: &[u8], piece: usize) -> String {
        let (client, server) = tokio::io::duplex(if piece > 1000 { piece } else { 64 });
        let (mut read, mut write) = tokio::io::split(client);
        let mut replies = Vec::new();
        let writing = async move {
            for piece in script.chunks(piece) {
                if write.write_all(piece).await.is_err() {
                    return;
                }
            }
            let _closed_already = write.shutdown().await;
        };
        let serving = self.server.session(server, self.shutdown.subscribe());
        let ((), (), read) = tokio::join!(serving, writing, read.read_to_end(&mut replies));
        read.unwrap();
        String::from_utf8(replies).unwrap()
    }

    pub(crate) async fn talk(&self, script: &str) -> String {
        self.talk_in(script.as_bytes(), 1000).await
    }

    /// The reply codes of a script, after the greeting.
    pub(crate) async fn codes(&self, script: &str) -> Vec<u16> {
        codes(&self.talk(script).await)
    }

    /// The codes after a login.
    pub(crate) async fn logged_in(&self, script: &str) -> Vec<u16> {
        let codes = self.codes(&format!("{LOGIN}{script}")).await;
        assert_eq!(codes[..2], [250, 235]);
        codes[2..].to_vec()
    }

    pub(crate) fn submitted(&self) -> Vec<Submission> {
        std::mem::take(&mut self.account.submitted.lock().unwrap())
    }
}

pub(crate) fn codes(replies: &str) -> Vec<u16> {
    assert!(replies.starts_with("220 ") && replies.ends_with("\r\n"), "{replies:?}");
    let is_last = |line: &&str| line.as_bytes().get(3) == Some(&b' ');
    replies.split_terminator("\r\n").filter(is_last).skip(1).map(|line| line[..3].parse().unwrap()).collect()
}

/// With `\0alice\0secret`.
pub(crate) const LOGIN: &str = "EHLO client\r\nAUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n";
pub(crate) const ENVELOPE: &str =
    "MAIL FROM:<alice@rune.internal> SIZE=100 BODY=8BITMIME\r\nRCPT TO:<bobby@rune.internal>\r\nDATA\r\n";

pub(crate) fn message(body: &str) -> String {
    format!("From: alice@rune.internal\r\nTo: Bob <bobby@rune.internal>, c@example.org\r\nBcc: x@y\r\n\r\n{body}")
}
