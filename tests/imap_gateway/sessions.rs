//! Several sessions at once, and what is said at odd moments.

use runepeer::engine::state::mailbox::Flags;

use crate::fake::Server;

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
