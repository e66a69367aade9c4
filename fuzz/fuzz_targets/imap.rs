//! Any bytes of a mail program at the IMAP gateway, before and after the login: it answers, and the session ends.
#![no_main]

#[path = "../../tests/imap_gateway/fake.rs"]
#[allow(dead_code)]
mod fake;

use std::sync::Arc;
use std::time::Duration;

use fake::{FakeAccount, FakeAccounts};
use libfuzzer_sys::fuzz_target;
use runepeer::gateway::imap::{Limits, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

const LOGIN: &[u8] = b"a LOGIN alice \"open sesame\"\r\nb SELECT INBOX\r\n";
const MESSAGE: &str = "From: bob@example.org\r\nTo: Alice <alice@example.org>\r\nSubject: =?utf-8?q?h=C3=A9?=\r\n\
    Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\none\r\n--x\r\nContent-Type: message/rfc822\r\n\r\nSubject: two\r\n\r\n2\r\n--x--\r\n";

fuzz_target!(|data: &[u8]| {
    let Some((way, data)) = data.split_first() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let account = FakeAccount::new();
        for _ in 0..3 {
            account.deliver("INBOX", MESSAGE);
        }
        let limits = Limits { pacer: runepeer::gateway::pacer::Pacer::new(Duration::ZERO), ..Limits::default() };
        let server = Server::new(Arc::new(FakeAccounts(account)), limits);
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
        assert!(replies.starts_with(b"* OK "));
    });
});
