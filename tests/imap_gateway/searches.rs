//! Searches that take long, and messages that are costly to read.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use runepeer::gateway::imap::Limits;

use crate::fake::{Server, limits};

#[tokio::test]
async fn a_search_that_takes_too_long_is_refused() {
    let server = Server::with(Limits { search_time: Duration::ZERO, ..limits() }).await;
    server.account.deliver("INBOX", "Subject: a\n\nx\n");
    let mut client = server.inbox().await;
    client
        .play(
            r#"
            C: 1 SEARCH BODY x
            S: 1 NO [LIMIT] the search takes too long; narrow it
            C: 2 NOOP
            S: 2 OK done
            "#,
        )
        .await;
}

/// The search looks at its deadline while it decodes and searches one message, and does so on another thread than the one
/// that serves the sessions.
#[tokio::test]
async fn a_costly_search_ends_with_its_time_and_holds_up_nobody() {
    let server = Server::with(Limits { search_time: Duration::from_secs(2), ..limits() }).await;
    let text = format!("Subject: a\r\n\r\n{}", "x ".repeat(10_000_000));
    let size = text.len() as u64;
    server.account.deliver_bytes("INBOX", text.into_bytes());
    let (mut searching, mut other) = (server.inbox().await, server.inbox().await);
    let started = Instant::now();
    searching.send(format!("1 SEARCH {}TEXT z\r\n", "NOT TEXT \"x x y\" ".repeat(400)).as_bytes()).await;
    let answer = searching.line();
    tokio::pin!(answer);
    // Answers of the other session to what it asked after the message was read, so that only the search is under way.
    let mut meanwhile = 0;
    let said = loop {
        let is_read = server.account.read.load(Ordering::Relaxed) >= size;
        tokio::select! {
            said = &mut answer => break said,
            _ = other.command("a NOOP") => meanwhile += u32::from(is_read),
        }
    };
    assert_eq!(said, "1 NO [LIMIT] the search takes too long; narrow it");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(meanwhile >= 20, "{meanwhile} answers for another session in all that time");
}

#[tokio::test]
async fn a_search_ends_when_its_client_leaves() {
    // The search may take as long as it likes, so that nothing but its client ends it.
    let server = Server::with(Limits { search_time: Duration::from_secs(600), ..limits() }).await;
    let (messages, size) = (400, 200_000);
    for _ in 0..messages {
        server.account.deliver_bytes("INBOX", format!("Subject: a\r\n\r\n{}", "x ".repeat(size / 2)).into_bytes());
    }
    let mut client = server.inbox().await;
    let before = server.account.read.load(Ordering::Relaxed);
    let keys = "NOT TEXT y ".repeat(400);
    client.send(format!("1 SEARCH {keys}TEXT z\r\n").as_bytes()).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(client);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let soon = server.account.read.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(server.account.read.load(Ordering::Relaxed), soon, "the search goes on");
    let looked_at = soon - before;
    assert!((1..(messages * size) as u64).contains(&looked_at), "{looked_at}: before its client left, or not at all");
}

#[tokio::test]
async fn a_client_that_only_sends_nothing_more_gets_its_answer() {
    let server = Server::start().await;
    server.account.deliver("INBOX", "Subject: a\n\nx\n");
    let mut client = server.inbox().await;
    client.send(b"1 SEARCH BODY x\r\n").await;
    client.finish().await;
    assert_eq!([client.line().await, client.line().await], ["* SEARCH 1", "1 OK done"]);
}

#[tokio::test]
async fn hostile_messages_are_searched_and_shown_within_their_time() {
    let server = Server::start().await;
    let multipart = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
    for message in [
        // What took 2 s for its structure, on a thread that serves everybody.
        format!("Content-Type: text/plain{}\r\n\r\nx", ";a(".repeat(34_000)),
        // A text that another parser takes for a multipart with a million parts.
        format!(
            "Content-Type: text/plain\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n{}",
            "--b\r\n".repeat(400_000)
        ),
        format!("Content-Type: multipart/mixed\r\n\r\n{}", "--\r\n".repeat(400_000)),
        // What took 100 s to decode.
        format!("{multipart}--b\r\nSubject: {}\r\n\r\nx", "=?utf-8?q?x?= ".repeat(280_000)),
        format!("{multipart}--b\r\nSubject: {}\r\n\r\nx", "=?".repeat(1_900_000)),
    ] {
        server.account.deliver_bytes("INBOX", message.into_bytes());
    }
    let mut client = server.inbox().await;
    assert_eq!(client.command("1 SEARCH TEXT needle").await, ["* SEARCH", "1 OK done"]);
    assert_eq!(client.command("2 FETCH 1:* (UID BODYSTRUCTURE ENVELOPE)").await.last().unwrap(), "2 OK done");
}
