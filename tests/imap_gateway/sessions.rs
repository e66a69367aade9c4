//! Login, limits, hostile clients, and several sessions at once.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use runepeer::engine::mailbox::Flags;
use runepeer::gateway::imap::Limits;
use runepeer::gateway::pacer::Pacer;
use runepeer::gateway::uploads::Uploads;

use crate::fake::{Client, Server};

fn limits() -> Limits {
    Limits { pacer: Pacer::new(Duration::ZERO), ..Limits::default() }
}

#[tokio::test]
async fn nothing_works_before_login() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    for command in [
        "LIST \"\" *",
        "SELECT INBOX",
        "SEARCH ALL",
        "UID SEARCH ALL",
        "FETCH 1 FLAGS",
        "APPEND INBOX {3+}\r\nabc",
        "IDLE",
        "NAMESPACE",
        "ENABLE X",
    ] {
        let reply = client.command(&format!("a {command}")).await;
        assert_eq!(reply, ["a BAD log in first"], "{command}");
    }
    assert!(client.command("b CAPABILITY").await[1].starts_with("b OK"));
    assert!(client.command("c NOOP").await[0].starts_with("c OK"));
}

#[tokio::test]
async fn every_way_to_log_in() {
    let server = Server::start().await;
    for script in [
        "C: a LOGIN alice {11+}\nC: open sesame",
        "C: a LOGIN {5}\nS: + go on\nC: alice {11}\nS: + go on\nC: open sesame",
        "C: a AUTHENTICATE PLAIN\nS: + \nC: AGFsaWNlAG9wZW4gc2VzYW1l",
        "C: a AUTHENTICATE PLAIN YWxpY2UAYWxpY2UAb3BlbiBzZXNhbWU=",
        "C: a AUTHENTICATE LOGIN\nS: + VXNlcm5hbWU6\nC: YWxpY2U=\nS: + UGFzc3dvcmQ6\nC: b3BlbiBzZXNhbWU=",
        "C: a AUTHENTICATE LOGIN YWxpY2U=\nS: + UGFzc3dvcmQ6\nC: b3BlbiBzZXNhbWU=",
    ] {
        let mut client = server.connect().await;
        let (steps, last) = script.rsplit_once("C: ").unwrap();
        // What is sent together is joined; the last line is sent alone.
        let steps = steps.trim_end_matches('\n');
        match steps.rsplit_once('\n') {
            None if !steps.is_empty() => {
                client.send(format!("{}\r\n", steps.trim_start_matches("C: ")).as_bytes()).await
            }
            _ => client.play(steps).await,
        }
        client.send(format!("{last}\r\n").as_bytes()).await;
        let reply = client.line().await;
        assert!(reply.starts_with("a OK [CAPABILITY "), "{script}: {reply}");
        assert_eq!(client.command("b LOGIN alice x").await, ["b BAD already logged in"]);
    }
}

#[tokio::test]
async fn a_wrong_password_is_refused_without_saying_what_was_wrong() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let wrong = "a NO [AUTHENTICATIONFAILED] wrong user name or password";
    for command in ["LOGIN alice wrong", "LOGIN nobody \"open sesame\"", "AUTHENTICATE PLAIN AGFsaWNlAHdyb25n"] {
        assert_eq!(client.command(&format!("a {command}")).await, [wrong]);
    }
    client.play("C: a AUTHENTICATE PLAIN\nS: + \nC: *\nS: a BAD cancelled").await;
    client.play("C: a AUTHENTICATE PLAIN\nS: + \nC: !\nS: a BAD that is not base64").await;
    // Another user's authority cannot be taken.
    assert_eq!(client.command("a AUTHENTICATE PLAIN Ym9iAGFsaWNlAG9wZW4gc2VzYW1l").await, [wrong]);
    assert!(client.command("b LOGIN alice \"open sesame\"").await[0].starts_with("b OK"));
}

#[tokio::test]
async fn wrong_passwords_are_answered_ever_later_on_all_connections() {
    let server = Server::with(Limits { pacer: Pacer::new(Duration::from_millis(40)), ..limits() }).await;
    let started = Instant::now();
    for _ in 0..3 {
        server.connect().await.command("a LOGIN alice wrong").await;
    }
    assert!(started.elapsed() >= Duration::from_millis(40 + 80 + 160));
    // A right password makes the next wrong one no faster.
    let started = Instant::now();
    let mut guesser = server.connect().await;
    guesser.send(b"a LOGIN alice wrong\r\n").await;
    server.log_in().await;
    assert!(guesser.line().await.starts_with("a NO [AUTHENTICATIONFAILED]"));
    assert!(started.elapsed() >= Duration::from_millis(320));
}

#[tokio::test]
async fn a_right_password_waits_for_no_wrong_one() {
    let pace = Duration::from_secs(15);
    let server = Server::with(Limits { pacer: Pacer::new(pace), ..limits() }).await;
    let mut guesser = server.connect().await;
    let started = Instant::now();
    guesser.send(b"a LOGIN alice wrong\r\n").await;
    server.log_in().await;
    assert!(started.elapsed() < pace, "{:?}", started.elapsed());
}

#[tokio::test]
async fn twenty_mistakes_end_the_session() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    for _ in 0..20 {
        assert_eq!(client.command("a NONSENSE").await, ["a BAD the command could not be understood"]);
    }
    assert_eq!(client.line().await, "* BYE too many mistakes");
    assert!(client.closed().await);
}

#[tokio::test]
async fn mistakes_of_a_session_that_goes_on_are_forgotten() {
    let server = Server::start().await;
    let mut client = server.log_in().await;
    for _ in 0..3 {
        for _ in 0..15 {
            client.command("a NONSENSE").await;
        }
        assert_eq!(client.command("b NOOP").await, ["b OK done"]);
    }
}

#[tokio::test]
async fn what_programs_say_at_odd_moments_is_answered() {
    let server = Server::start().await;
    assert_eq!(server.connect().await.command("a CHECK").await, ["a BAD log in first"]);
    let mut client = server.log_in().await;
    assert_eq!(client.command("a CHECK").await, ["a BAD no folder is selected"]);
    for command in ["1 CREATE Work", "2 DELETE Work"] {
        assert!(client.command(command).await.last().unwrap().contains(" OK "), "{command}");
    }
    assert_eq!(client.command("3 UNSUBSCRIBE Work").await, ["3 OK it is not on the list"]);
    assert_eq!(client.command("4 SUBSCRIBE Work").await, ["4 NO [NONEXISTENT] there is no such folder"]);
    // An answer that could not be told from another is given before anything is stored.
    let long = "t".repeat(100);
    client.send(format!("{long} APPEND INBOX {{3+}}\r\nabc\r\n").as_bytes()).await;
    assert_eq!(client.line().await, "* BAD a command begins with a tag");
    let status = client.command("5 STATUS INBOX (MESSAGES MESSAGES SIZE MESSAGES)").await;
    assert_eq!(status[0], "* STATUS \"INBOX\" (MESSAGES 0 SIZE 0)");
    for (patterns, condition) in [(32, " OK "), (33, " BAD ")] {
        let answer = client.command(&format!("6 LIST \"\" ({})", vec!["x"; patterns].join(" "))).await;
        assert!(answer.last().unwrap().contains(condition), "{patterns}: {answer:?}");
    }
}

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
async fn a_browser_is_turned_away_and_hears_nothing_of_its_own() {
    let server = Server::start().await;
    for first in ["POST / HTTP/1.1\r\nHost: x\r\n\r\na LOGIN alice \"open sesame\"", "Host: <script>", "GET /"] {
        let mut client = server.connect().await;
        client.send(format!("{first}\r\n").as_bytes()).await;
        assert_eq!(client.line().await, "* BYE this is an IMAP server");
        assert!(client.closed().await);
    }
    let mut client = server.connect().await;
    client.send(b"\x16\x03\x01\x02\x00\x01").await;
    assert!(client.closed().await);
}

#[tokio::test]
async fn lines_and_literals_are_bounded_before_login() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client.play("C: a LOGIN {2000}\nS: a BAD the literal is too big").await;
    client.send(b"a LOGIN {2000+}\r\n").await;
    assert_eq!(client.line().await, "* BYE the literal is too big");
    let mut client = server.connect().await;
    client.send(&[b'a'; 9000]).await;
    assert_eq!(client.line().await, "* BYE the line is too long");
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

#[tokio::test]
async fn idle_pushes_what_happens() {
    let server = Server::start().await;
    server.account.deliver("INBOX", "Subject: a\n\nx\n");
    let mut client = server.inbox().await;
    client.play("C: 1 IDLE\nS: + idling").await;
    server.account.deliver("INBOX", "Subject: b\n\ny\n");
    assert_eq!(client.line().await, "* 2 EXISTS");
    server.account.flag("INBOX", &[2], Flags::FLAGGED);
    assert_eq!(client.line().await, "* 2 FETCH (UID 2 FLAGS (\\Flagged))");
    server.account.expunge("INBOX", &[1]);
    assert_eq!(client.line().await, "* 1 EXPUNGE");
    // Of other folders it says nothing.
    server.account.deliver("Requests", "Subject: c\n\nz\n");
    client.play("C: DONE\nS: 1 OK done").await;
}

#[tokio::test]
async fn sequence_numbers_hold_until_an_expunge_may_be_told() {
    let server = Server::start().await;
    for n in 1..=3 {
        server.account.deliver("INBOX", &format!("Subject: {n}\n\n{n}\n"));
    }
    let mut client = server.inbox().await;
    server.account.expunge("INBOX", &[1]);
    server.account.flag("INBOX", &[3], Flags::SEEN);
    client
        .play(
            r#"
            C: 1 FETCH 1:3 (UID)
            S: * 2 FETCH (UID 2)
            S: * 3 FETCH (UID 3)
            S: * 3 FETCH (UID 3 FLAGS (\Seen))
            S: 1 OK [EXPUNGEISSUED] done
            C: 2 STORE 2 +FLAGS (\Flagged)
            S: * 2 FETCH (UID 2 FLAGS (\Flagged))
            S: 2 OK stored
            C: 3 SEARCH ALL
            S: * SEARCH 2 3
            S: 3 OK done
            C: 4 COPY 1:2 Archive
            S: * 1 EXPUNGE
            S: 4 OK [COPYUID 704 2 1] copied
            C: 5 UID COPY 1:2 Archive
            S: 5 OK [COPYUID 704 2 2] copied
            C: 6 COPY 1 Nowhere
            S: 6 NO [TRYCREATE] there is no such folder
            C: 7 UID MOVE 99 Archive
            S: 7 OK there was nothing to do
            "#,
        )
        .await;
}

#[tokio::test]
async fn two_sessions_see_each_others_changes_and_their_own_only_once() {
    let server = Server::start().await;
    server.account.deliver("INBOX", "Subject: a\n\nx\n");
    let (mut first, mut second) = (server.inbox().await, server.inbox().await);
    first
        .play(
            r#"
            C: 1 UID STORE 1 FLAGS (\Seen Work)
            S: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft Work)
            S: * OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft Work \*)] what can be stored
            S: * 1 FETCH (UID 1 FLAGS (\Seen Work))
            S: 1 OK stored
            "#,
        )
        .await;
    first.play("C: 2 NOOP\nS: 2 OK done").await;
    first.play("C: 3 STORE 1 -FLAGS (work)\nS: * 1 FETCH (UID 1 FLAGS (\\Seen))\nS: 3 OK stored").await;
    let reply = second.command("1 NOOP").await;
    assert_eq!(reply[2..], ["* 1 FETCH (UID 1 FLAGS (\\Seen))", "1 OK done"]);
    // A store that changes nothing is answered all the same (RFC 3501, 6.4.6).
    second.play("C: 2 STORE 1 +FLAGS (\\Seen)\nS: * 1 FETCH (UID 1 FLAGS (\\Seen))\nS: 2 OK stored").await;
}

#[tokio::test]
async fn a_folder_deleted_under_a_session_ends_it() {
    let server = Server::start().await;
    let (mut first, mut second) = (server.log_in().await, server.log_in().await);
    first.command("1 CREATE Work").await;
    first.command("2 SELECT Work").await;
    second.command("1 DELETE Work").await;
    first.send(b"3 NOOP\r\n").await;
    assert_eq!(first.line().await, "* BYE the selected folder was deleted or replaced; log in again");
    assert!(first.closed().await);
}

#[tokio::test]
async fn sessions_of_an_account_are_bounded_and_places_come_back() {
    let server = Server::with(Limits { sessions: 2, ..limits() }).await;
    let (one, _two) = (server.log_in().await, server.log_in().await);
    let mut third = server.connect().await;
    let full = "a NO [LIMIT] too many sessions of this account; close one";
    assert_eq!(third.command("a LOGIN alice \"open sesame\"").await, [full]);
    drop(one);
    // The place is free when the server has seen the end of the first connection.
    for _ in 0..15 {
        if third.command("a LOGIN alice \"open sesame\"").await[0].starts_with("a OK") {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the place did not come back");
}

#[tokio::test]
async fn strangers_cannot_take_all_connections_for_ever() {
    let short = Duration::from_secs(1);
    let server = Server::with(Limits { before_login: 1, idle_before_login: short, ..limits() }).await;
    let mut silent = server.connect().await;
    assert_eq!(silent.line().await, "* BYE silent for too long");
    assert!(silent.closed().await);
    let mut client = server.connect().await;
    assert!(client.command("a LOGIN alice \"open sesame\"").await[0].starts_with("a OK"));
    // A client that is logged in takes no place from those that are not.
    server.connect().await;
}

/// 64 connections on which nobody logs in, and one's own mail program.
#[tokio::test]
async fn connections_that_never_log_in_give_way_to_ones_that_do() {
    let server = Server::start().await;
    let mut mine = server.log_in().await;
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(server.connect().await);
    }
    let mut program = server.log_in().await;
    assert_eq!(silent[0].line().await, "* BYE another connection needs the place; log in sooner");
    assert!(silent[0].closed().await);
    // The others still have their places, and the clients that are logged in have no need of one.
    assert_eq!(silent[63].command("a NOOP").await, ["a OK done"]);
    for client in [&mut mine, &mut program] {
        assert_eq!(client.command("a NOOP").await, ["a OK done"]);
    }
}

#[tokio::test]
async fn who_guesses_takes_no_place_either() {
    let pace = Duration::from_secs(3);
    let server = Server::with(Limits { pacer: Pacer::new(pace), ..limits() }).await;
    let mut guessers = Vec::new();
    for _ in 0..200 {
        let mut guesser = server.connect().await;
        guesser.send(b"a LOGIN alice wrong\r\n").await;
        guessers.push(guesser);
    }
    let started = Instant::now();
    server.log_in().await;
    assert!(started.elapsed() < pace, "{:?}", started.elapsed());
    // Most of them were turned away without an answer.
    let mut answered = 0;
    for guesser in &mut guessers[..180] {
        answered += usize::from(guesser.line().await.starts_with("a NO"));
    }
    assert!(answered <= 1, "{answered}");
}

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

#[tokio::test]
async fn stopping_says_goodbye_and_returns() {
    let server = Server::start().await;
    let (mut idle, mut waiting) = (server.inbox().await, server.connect().await);
    idle.play("C: 1 IDLE\nS: + idling").await;
    server.stop.send(true).unwrap();
    assert_eq!(idle.line().await, "* BYE the daemon is stopping");
    assert_eq!(waiting.line().await, "* BYE the daemon is stopping");
    server.task.await.unwrap();
}

/// Whatever a client puts together, it is answered: a session that ends in silence has panicked.
#[tokio::test]
async fn nonsense_is_always_answered() {
    const WORDS: [&str; 48] = [
        "FETCH",
        "UID",
        "STORE",
        "SEARCH",
        "LIST",
        "LSUB",
        "STATUS",
        "SELECT",
        "COPY",
        "MOVE",
        "EXPUNGE",
        "CREATE",
        "RENAME",
        "APPEND",
        "1:*",
        "*",
        "4294967295",
        "0",
        "2,1:*",
        "(FLAGS)",
        "BODY[]",
        "BODY.PEEK[1.2.MIME]<0.9>",
        "(UID BODY[HEADER.FIELDS (A B)])",
        "BODYSTRUCTURE",
        "+FLAGS.SILENT",
        "(\\Seen x)",
        "FLAGS",
        "\"\"",
        "\"a\\\"b\"",
        "INBOX",
        "%",
        "Sent/*",
        "&",
        "&AAA-",
        "(",
        ")",
        "NOT",
        "OR",
        "SUBJECT",
        "x",
        "BODY",
        "SINCE",
        "1-Feb-2026",
        "CHARSET",
        "{3+}\r\nabc",
        "RETURN (STATUS (MESSAGES))",
        "(SUBSCRIBED)",
        "\u{fc}",
    ];
    let server = Server::start().await;
    let mut state = 7_u64;
    let mut next = |bound: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    };
    for round in 0..60 {
        server.account.deliver("INBOX", "Subject: a\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--\n");
        let mut client = server.inbox().await;
        for _ in 0..15 {
            let words: Vec<&str> = (0..1 + next(6)).map(|_| WORDS[next(48) as usize]).collect();
            let command = format!("t {}", words.join(" "));
            let reply = client.command(&command).await;
            let last = reply.last().unwrap();
            assert!(last.starts_with("t "), "round {round}: {command}: {reply:?}");
        }
    }
}
