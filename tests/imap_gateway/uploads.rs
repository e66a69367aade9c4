//! Messages that come in: their bounds, and which of several that are half sent gives way.

use std::time::{Duration, Instant};

use runepeer::gateway::imap::Limits;
use runepeer::gateway::uploads::Uploads;

use crate::fake::{Client, Server, limits};

#[tokio::test]
async fn a_message_that_comes_in_drops_holds_nothing_for_long() {
    let server = Server::with(Limits { stall: Duration::from_millis(400), ..limits() }).await;
    let mut client = server.log_in().await;
    client.send(b"1 APPEND INBOX {100}\r\n").await;
    assert_eq!(client.line().await, "+ go on");
    let mut drops = 0;
    while drops < 99 && client.try_send(b"x").await {
        tokio::time::sleep(Duration::from_millis(50)).await;
        drops += 1;
    }
    assert!(drops < 99, "none of them was late");
}

#[tokio::test]
async fn a_message_that_is_too_big_is_refused_before_it_is_sent() {
    let server = Server::start().await;
    let mut client = server.inbox().await;
    client
        .play(
            r#"
            C: 1 APPEND INBOX {26214401}
            S: 1 NO [TOOBIG] a message can have 25 MiB at most
            C: 2 APPEND Nowhere (\Seen) {10}
            S: 2 NO [TRYCREATE] there is no such folder
            C: 3 APPEND Nowhere {3+}
            C: abc
            S: 3 NO [TRYCREATE] there is no such folder
            C: 4 APPEND INBOX {0}
            S: 4 NO [CANNOT] the message is empty
            C: 5 APPEND INBOX ~{3+}
            C: abc
            S: 5 BAD binary literals are not offered here
            C: 6 APPEND INBOX {3+}
            C: abc {3+}
            C: def
            S: 6 BAD one message at a time
            C: 7 NOOP
            S: 7 OK done
            "#,
        )
        .await;
    client.send(b"8 APPEND INBOX {26214401+}\r\n").await;
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..25 {
        client.send(&piece).await;
    }
    client.send(b"x\r\n").await;
    assert_eq!(client.line().await, "8 NO [TOOBIG] a message can have 25 MiB at most");
    client.send(b"9 APPEND INBOX {999999999999+}\r\n").await;
    assert_eq!(client.line().await, "* BYE the literal is too big");
}

/// imapflow and others write days of one digit, so that their copies of sent mail came on the first nine days of a
/// month to nothing.
#[tokio::test]
async fn the_date_of_an_appended_message_may_have_a_day_of_one_digit() {
    let server = Server::start().await;
    let mut client = server.inbox().await;
    client
        .play(
            r#"
            C: 1 APPEND INBOX (\Seen) "3-Feb-2025 10:20:30 +0100" {3+}
            C: abc
            S: * 1 EXISTS
            S: 1 OK [APPENDUID 701 1] stored
            C: 2 APPEND "INBOX" " 3-feb-2025 10:20:30 +0100" {3+}
            C: abc
            S: * 2 EXISTS
            S: 2 OK [APPENDUID 701 2] stored
            C: 3 APPEND {5+}
            C: INBOX "03-Feb-2025 9:20 Z" {3+}
            C: abc
            S: * 3 EXISTS
            S: 3 OK [APPENDUID 701 3] stored
            C: 4 APPEND INBOX "31-Feb-2025 10:20:30 +0100" {3+}
            C: abc
            S: 4 BAD the date-time of APPEND has the form "03-Feb-2025 10:20:30 +0100"
            C: 5 APPEND INBOX "yesterday" {99999}
            S: 5 BAD the date-time of APPEND has the form "03-Feb-2025 10:20:30 +0100"
            C: 6 FETCH 1:3 (INTERNALDATE)
            S: * 1 FETCH (INTERNALDATE " 3-Feb-2025 09:20:30 +0000")
            S: * 2 FETCH (INTERNALDATE " 3-Feb-2025 09:20:30 +0000")
            S: * 3 FETCH (INTERNALDATE " 3-Feb-2025 09:20:00 +0000")
            S: 6 OK done
            "#,
        )
        .await;
}

#[tokio::test]
async fn an_appended_message_comes_back_byte_for_byte() {
    let server = Server::start().await;
    let mut client = server.inbox().await;
    let message: Vec<u8> =
        b"Subject: x\r\n\r\n".iter().copied().chain((0..1_000_000_u32).map(|n| (n % 251 + 1) as u8)).collect();
    client.send(format!("1 APPEND INBOX (\\Seen $Work) {{{}}}\r\n", message.len()).as_bytes()).await;
    assert_eq!(client.line().await, "+ go on");
    client.send(&message).await;
    client.send(b"\r\n").await;
    client
        .play(
            r#"
            S: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft $Work)
            S: * OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft $Work \*)] what can be stored
            S: * 1 EXISTS
            S: 1 OK [APPENDUID 701 1] stored
            "#,
        )
        .await;
    assert_eq!(server.account.body("INBOX", 1), message);
    client.send(b"2 FETCH 1 (FLAGS BODY[])\r\n").await;
    assert_eq!(client.line().await, format!("* 1 FETCH (FLAGS (\\Seen $Work) BODY[] {{{}}}", message.len()));
    assert_eq!(client.bytes(message.len()).await, message);
    client.play("S: )\nS: 2 OK done").await;
}

#[tokio::test]
async fn a_message_of_exactly_the_announced_size_is_stored() {
    let server = Server::start().await;
    let mut client = server.inbox().await;
    let reply = client.command("1 CAPABILITY").await;
    let limit: usize = reply[0].rsplit_once("APPENDLIMIT=").unwrap().1.parse().unwrap();
    client.send(format!("2 APPEND INBOX {{{limit}}}\r\n").as_bytes()).await;
    assert_eq!(client.line().await, "+ go on");
    client.send(&vec![b'x'; limit]).await;
    client.send(b"\r\n").await;
    client.play("S: * 1 EXISTS\nS: 2 OK [APPENDUID 701 1] stored").await;
}

/// Measured before: 12 half-sent messages of 24 MB kept a small one waiting for 118 s.
#[tokio::test]
async fn a_small_message_waits_for_no_half_sent_large_ones() {
    let patience = Duration::from_secs(15);
    let (server, _halves) = half_sent(patience).await;
    let mut client = server.inbox().await;
    let started = Instant::now();
    let reply = client.command("1 APPEND INBOX {17+}\r\nSubject: a\r\n\r\nx\r\n").await;
    assert_eq!(reply.last().unwrap(), "1 OK [APPENDUID 701 1] stored");
    assert!(started.elapsed() < patience, "{:?}", started.elapsed());
}

/// A server on which 12 large messages are half sent, and as many clients; each gives way after this time without progress.
async fn half_sent(patience: Duration) -> (Server, Vec<Client>) {
    let server = Server::with(Limits { uploads: Uploads::new(patience), ..limits() }).await;
    let mut halves = Vec::new();
    for _ in 0..12 {
        let mut client = server.log_in().await;
        client.send(b"a APPEND Drafts {25165824}\r\n").await;
        halves.push(client);
    }
    assert_eq!(halves[0].line().await, "+ go on");
    halves[0].send(&vec![b'x'; 1 << 20]).await;
    (server, halves)
}

#[tokio::test]
async fn large_messages_that_are_half_sent_give_way_to_one_that_is_really_sent() {
    let (server, mut halves) = half_sent(Duration::from_millis(500)).await;
    let mut client = server.inbox().await;
    let started = Instant::now();
    // What was half sent is read to its end and refused for now; the session goes on.
    halves[0].send(&vec![b'x'; 23 << 20]).await;
    halves[0].send(b"\r\n").await;
    let reply = halves[0].line().await;
    assert!(reply.starts_with("a NO [LIMIT] too many messages") || reply.starts_with("a OK"), "{reply}");
    assert_eq!(halves[0].command("b NOOP").await.last().unwrap(), "b OK done");
    // A large one that is really sent has its turn among eleven that are not.
    client.send(b"2 APPEND INBOX {2000000}\r\n").await;
    while client.line().await != "+ go on" {}
    client.send(&vec![b'x'; 2_000_000]).await;
    client.send(b"\r\n").await;
    while !client.line().await.starts_with("2 OK [APPENDUID 701 1]") {}
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}
