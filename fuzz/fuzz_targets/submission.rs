//! Any bytes of a mail program at the submission gateway, before and after the login: it answers, the session ends, and no
//! message gets through with a line that another server could take for the end of it.
#![no_main]

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use runepeer::base::rng::SeededRng;
use runepeer::base::{BodyId, Onion, QueueId, Timestamp};
use runepeer::engine::{Request, RequestError, Response, Snapshot, Unaddressable};
use runepeer::gateway::account::{Account, Accounts, Later, ReadError};
use runepeer::gateway::submission::{Bounds, Config, Server};
use runepeer::mail::{Address, outgoing};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

const LOGIN: &[u8] = b"EHLO x\r\nAUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n";

fn address(name: &str, key: u8) -> Address {
    format!("{name}@{}", Onion::from_public_key([key; 32])).parse().expect("an address")
}

#[derive(Default)]
struct Fake(Mutex<usize>);

impl Account for Fake {
    fn address(&self) -> Address {
        address("alice", 1)
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
        let Request::Submit(submission) = request else { panic!("not a submission") };
        assert!(outgoing::has_strict_lines(&submission.message));
        assert!(!submission.recipients.is_empty());
        *self.0.lock().expect("a lock") += 1;
        Box::pin(async { Ok(Response::Submitted(QueueId::from_bytes([1; 16]))) })
    }
}

struct One(Arc<Fake>);

impl Accounts for One {
    fn login(&self, user: &str, password: &str) -> Later<'_, Option<Arc<dyn Account>>> {
        let right = user == "alice" && password == "secret";
        Box::pin(async move { right.then(|| Arc::clone(&self.0) as Arc<dyn Account>) })
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((way, data)) = data.split_first() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let account = Arc::new(Fake::default());
        let config = Config {
            resolve: Arc::new(|_, name| name.starts_with("bob").then(|| address("bob", 2)).ok_or(Unaddressable::Unknown)),
            clock: || Timestamp::from_secs(1_795_218_052),
            rng: || Box::new(SeededRng::new(1)),
            bounds: Bounds { pacer: runepeer::gateway::pacer::Pacer::new(Duration::ZERO), ..Bounds::default() },
        };
        let server = Server::new(Arc::new(One(Arc::clone(&account))), config);
        let (_stop, stopped) = watch::channel(false);
        let (client, stream) = tokio::io::duplex(1 << 16);
        let (mut read, mut write) = tokio::io::split(client);
        let writing = async move {
            let _ = write.write_all(if way % 4 == 0 { b"" } else { LOGIN }).await;
            let _ = write.write_all(data).await;
            let _ = write.shutdown().await;
        };
        let mut replies = Vec::new();
        let ((), (), _) = tokio::join!(server.session(stream, stopped), writing, read.read_to_end(&mut replies));
        let replies = String::from_utf8(replies).expect("replies are ASCII");
        let accepted = replies.lines().filter(|line| line.contains(" queued as ")).count();
        assert_eq!(accepted, *account.0.lock().expect("a lock"), "{replies}");
    });
});
