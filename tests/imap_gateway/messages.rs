//! What FETCH and SEARCH say of messages of every shape.

use std::sync::atomic::Ordering;
use std::time::Duration;

use runepeer::gateway::imap::Limits;
use runepeer::gateway::pacer::Pacer;
use runepeer::gateway::uploads::Uploads;

use crate::fake::Server;

const NESTED: &str = "Subject: outer
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=\"B1\"

preamble
--B1
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

Sch=C3=B6ne Gr=C3=BC=C3=9Fe
--B1
Content-Type: message/rfc822
Content-Description: forwarded

From: carol@example.onion
Subject: inner
Content-Type: multipart/alternative; boundary=B10

--B10
Content-Type: text/plain

inner text
--B10
Content-Type: text/html

<b>inner</b>
--B10--
--B1
Content-Type: application/pdf; name=a.pdf
Content-Disposition: attachment; filename=a.pdf
Content-Transfer-Encoding: base64

JVBERg==
--B1--
";

#[tokio::test]
async fn what_is_asked_for_a_thousand_times_is_read_as_it_is_taken() {
    let server = Server::start().await;
    let size = 200 * 1024;
    server.account.deliver("INBOX", &format!("Subject: x\n\n{}", "x".repeat(size)));
    let mut client = server.inbox().await;
    let asked = 1000;
    client.send(format!("1 FETCH 1 ({})\r\n", vec!["BODY.PEEK[]"; asked].join(" ")).as_bytes()).await;
    // The client takes nothing: the socket has room for some of it, and no more is read.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let read = server.account.read.load(Ordering::Relaxed);
    assert!(read < (asked * size / 2) as u64, "{read} bytes were read for a client that takes none");
}

#[tokio::test]
async fn parts_of_a_nested_message() {
    let server = Server::start().await;
    server.account.deliver("INBOX", NESTED);
    let mut client = server.inbox().await;
    client
        .play(
            r#"
            C: 1 FETCH 1 BODY.PEEK[1]
            S: * 1 FETCH (BODY[1] {27}
            S: Sch=C3=B6ne Gr=C3=BC=C3=9Fe)
            S: 1 OK done
            C: 2 FETCH 1 BODY.PEEK[2.MIME]
            S: * 1 FETCH (BODY[2.MIME] {64}
            S: Content-Type: message/rfc822
            S: Content-Description: forwarded
            S:
            S: )
            S: 2 OK done
            C: 3 FETCH 1 (BODY.PEEK[2.HEADER.FIELDS (SUBJECT)] BODY.PEEK[2.1] BODY.PEEK[2.2.MIME])
            S: * 1 FETCH (BODY[2.HEADER.FIELDS (SUBJECT)] {18}
            S: Subject: inner
            S:
            S:  BODY[2.1] {10}
            S: inner text BODY[2.2.MIME] {27}
            S: Content-Type: text/html
            S:
            S: )
            S: 3 OK done
            C: 4 FETCH 1 (BODY.PEEK[3] BODY.PEEK[4] BODY.PEEK[1.HEADER] BODY.PEEK[2.TEXT]<0.5>)
            S: * 1 FETCH (BODY[3] {8}
            S: JVBERg== BODY[4] NIL BODY[1.HEADER] NIL BODY[2.TEXT]<0> {5}
            S: --B10)
            S: 4 OK done
            C: 5 FETCH 1 (BODY.PEEK[HEADER.FIELDS.NOT (MIME-VERSION CONTENT-TYPE)])
            S: * 1 FETCH (BODY[HEADER.FIELDS.NOT (MIME-VERSION CONTENT-TYPE)] {18}
            S: Subject: outer
            S:
            S: )
            S: 5 OK done
            "#,
        )
        .await;
    let structure = client.command("6 FETCH 1 BODYSTRUCTURE").await[0].clone();
    for piece in [
        r#"(("text" "plain" ("charset" "utf-8") NIL NIL "quoted-printable" 27 "#,
        r#"("message" "rfc822" NIL NIL "forwarded" "7bit" "#,
        r#"(NIL "inner" ((NIL NIL "carol" "example.onion"))"#,
        r#"(("text" "plain" "#,
        r#""alternative" ("boundary" "B10") NIL NIL NIL)"#,
        r#"("application" "pdf" ("name" "a.pdf") NIL NIL "base64" 8 NIL ("attachment" ("filename" "a.pdf")) NIL NIL)"#,
        r#" "mixed" ("boundary" "B1") NIL NIL NIL))"#,
    ] {
        assert!(structure.contains(piece), "{piece} in {structure}");
    }
    let body = client.command("7 FETCH 1 BODY").await[0].clone();
    assert!(body.ends_with(r#""application" "pdf" ("name" "a.pdf") NIL NIL "base64" 8) "mixed"))"#), "{body}");
}

#[tokio::test]
async fn eight_bit_garbage_in_a_header_stays_inside_a_literal() {
    let server = Server::start().await;
    let message = b"From: J\xfcrgen <j@example.onion>\r\nSubject: \xff\"\\\xfe\r\nContent-Type: text/plain; name=\"\xe4\"\r\n\r\nx\0y\r\n";
    server.account.deliver_bytes("INBOX", message.to_vec());
    let mut client = server.inbox().await;
    client.send(b"1 FETCH 1 (ENVELOPE BODYSTRUCTURE BODY.PEEK[TEXT])\r\n").await;
    assert_eq!(client.line().await, "* 1 FETCH (ENVELOPE (NIL {4}");
    assert_eq!(client.bytes(4).await, b"\xff\"\\\xfe");
    assert_eq!(client.line().await, " (({6}");
    assert_eq!(client.bytes(6).await, b"J\xfcrgen");
    let mut rest = client.line().await;
    assert!(rest.starts_with(" NIL \"j\" \"example.onion\"))"), "{rest}");
    while !rest.ends_with("BODY[TEXT] {5}") {
        rest = client.line().await;
    }
    // NUL cannot be sent in a literal.
    assert_eq!(client.bytes(5).await, b"x\x80y\r\n");
    assert_eq!(client.line().await, ")");
    assert_eq!(client.line().await, "1 OK done");
}

#[tokio::test]
async fn reading_a_body_marks_it_as_read_and_peeking_does_not() {
    let server = Server::start().await;
    server.account.deliver("INBOX", "Subject: a\n\nx\n");
    server.account.deliver("INBOX", "Subject: b\n\ny\n");
    let mut client = server.inbox().await;
    client
        .play(
            r#"
            C: 1 FETCH 1 (BODY.PEEK[TEXT] RFC822.HEADER)
            S: * 1 FETCH (BODY[TEXT] {3}
            S: x
            S:  RFC822.HEADER {14}
            S: Subject: a
            S:
            S: )
            S: 1 OK done
            C: 2 FETCH 1:2 (FLAGS RFC822.TEXT)
            S: * 1 FETCH (FLAGS (\Seen) RFC822.TEXT {3}
            S: x
            S: )
            S: * 2 FETCH (FLAGS (\Seen) RFC822.TEXT {3}
            S: y
            S: )
            S: 2 OK done
            C: 3 STORE 1:2 -FLAGS.SILENT (\Seen)
            S: 3 OK stored
            C: 4 UID FETCH 1 BODY[TEXT]
            S: * 1 FETCH (UID 1 BODY[TEXT] {3}
            S: x
            S:  FLAGS (\Seen))
            S: 4 OK done
            C: 5 EXAMINE INBOX
            S: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft)
            S: * OK [PERMANENTFLAGS ()] what can be stored
            S: * 2 EXISTS
            S: * 0 RECENT
            S: * OK [UNSEEN 2] the first unread message
            S: * OK [UIDVALIDITY 701] UIDs are valid
            S: * OK [UIDNEXT 3] the next UID
            S: 5 OK [READ-ONLY] opened for reading
            C: 6 FETCH 2 (BODY[TEXT] FLAGS)
            S: * 2 FETCH (BODY[TEXT] {3}
            S: y
            S:  FLAGS ())
            S: 6 OK done
            "#,
        )
        .await;
}

#[tokio::test]
async fn a_header_is_read_without_the_body_behind_it_and_a_structure_once() {
    let server = Server::start().await;
    let big = format!("Subject: big\n\n{}", "0123456789abcde\n".repeat(200_000));
    server.account.deliver("INBOX", &big);
    let mut client = server.inbox().await;
    let read = || server.account.read.load(Ordering::Relaxed);
    client.command("1 FETCH 1 (ENVELOPE BODY.PEEK[HEADER.FIELDS (Subject)])").await;
    assert!(read() < 64 * 1024, "{}", read());
    client.command("2 FETCH 1 BODYSTRUCTURE").await;
    let once = read();
    client.command("3 FETCH 1 (BODYSTRUCTURE ENVELOPE)").await;
    assert_eq!(read(), once);
    client.send(b"4 UID FETCH 1 BODY.PEEK[TEXT]\r\n").await;
    assert_eq!(client.line().await, "* 1 FETCH (UID 1 BODY[TEXT] {3400000}");
    let text = client.bytes(3_400_000).await;
    assert!(text.chunks(17).all(|line| line == b"0123456789abcde\r\n"));
    client.play("S: )\nS: 4 OK done").await;
}

#[tokio::test]
async fn a_body_that_cannot_be_read_costs_its_own_response_only() {
    let server = Server::start().await;
    server.account.deliver("INBOX", "Subject: a\n\nx\n");
    let mut client = server.inbox().await;
    server.account.break_bodies();
    server.account.deliver("INBOX", "Subject: b\n\ny\n");
    client
        .play(
            r#"
            C: 0 NOOP
            S: * 2 EXISTS
            S: 0 OK done
            C: 1 FETCH 1:2 (UID BODY.PEEK[TEXT])
            S: * 2 FETCH (UID 2 BODY[TEXT] {3}
            S: y
            S: )
            S: 1 NO [SERVERBUG] some messages could not be read; the daemon's log says more
            C: 2 FETCH 1 (UID FLAGS)
            S: * 1 FETCH (UID 1 FLAGS ())
            S: 2 OK done
            "#,
        )
        .await;
}

/// The message is listed when FETCH begins; another session expunges it before its body is read.
#[tokio::test]
async fn what_another_session_expunges_meanwhile_is_left_out() {
    let server = Server::start().await;
    for n in 1..=3 {
        server.account.deliver("INBOX", &format!("Subject: {n}\n\n{n}\n"));
    }
    let mut client = server.inbox().await;
    server.account.before_reading(|account, count| {
        if count == 1 {
            account.vanish("INBOX", &[2]);
        }
    });
    client
        .play(
            r#"
            C: 1 FETCH 1:3 BODY.PEEK[TEXT]
            S: * 1 FETCH (BODY[TEXT] {3}
            S: 1
            S: )
            "#,
        )
        .await;
    client
        .play(
            r#"
            S: * 3 FETCH (BODY[TEXT] {3}
            S: 3
            S: )
            S: 1 OK [EXPUNGEISSUED] done
            C: 2 FETCH 2 (UID FLAGS)
            S: 2 OK [EXPUNGEISSUED] done
            C: 3 SEARCH BODY 2
            S: * SEARCH
            S: 3 OK done
            C: 4 UID FETCH 2:3 UID
            S: * 3 FETCH (UID 3)
            S: * 2 EXPUNGE
            S: 4 OK done
            "#,
        )
        .await;
}

/// Whatever is expunged while it is read: no command is refused, and no session ends.
#[tokio::test]
async fn no_command_is_refused_because_another_session_expunges() {
    for command in [
        "FETCH 1:3 (FLAGS BODY[])",
        "FETCH 1:3 (ENVELOPE BODYSTRUCTURE RFC822.SIZE)",
        "UID FETCH 1:3 (BODY.PEEK[HEADER.FIELDS (SUBJECT)])",
        "STORE 1:3 +FLAGS (\\Seen)",
        "STORE 1:3 +FLAGS.SILENT (\\Seen)",
        "COPY 1:3 Archive",
        "MOVE 1:3 Archive",
        "UID MOVE 1:3 Archive",
        "SEARCH TEXT nothing",
        "EXPUNGE",
    ] {
        for gone in 1..=3 {
            for early in [true, false] {
                let server = Server::start().await;
                for n in 1..=3 {
                    server.account.deliver("INBOX", &format!("Subject: {n}\n\n{}\n", "x".repeat(300_000)));
                }
                let mut client = server.inbox().await;
                if early {
                    server.account.vanish("INBOX", &[gone]);
                } else {
                    server.account.before_reading(move |account, count| {
                        if count == 3 {
                            account.vanish("INBOX", &[gone]);
                        }
                    });
                }
                client.send(format!("t {command}\r\n").as_bytes()).await;
                let mut reply = client.line().await;
                for _ in 0..20_000 {
                    if !reply.starts_with("t ") {
                        reply = client.line().await;
                    }
                }
                assert!(reply.starts_with("t OK"), "{command}, {gone}, {early}: {reply:?}");
                let reply = client.command("u NOOP").await;
                assert_eq!(reply.last().unwrap(), "u OK done", "{command}, {gone}, {early}");
            }
        }
    }
}

#[tokio::test]
async fn a_large_body_that_is_damaged_is_refused_before_its_literal() {
    let server = Server::start().await;
    server.account.deliver("INBOX", &format!("Subject: a\n\n{}\n", "x".repeat(1_000_000)));
    server.account.deliver("INBOX", "Subject: b\n\ny\n");
    let mut client = server.inbox().await;
    server.account.damage("INBOX", 1, 700_000);
    client
        .play(
            r#"
            C: 1 FETCH 1:2 (UID BODY.PEEK[])
            S: * 2 FETCH (UID 2 BODY[] {17}
            S: Subject: b
            S:
            S: y
            S: )
            S: 1 NO [SERVERBUG] some messages could not be read; the daemon's log says more
            C: 2 FETCH 1 BODY.PEEK[]<9.3>
            S: * 1 FETCH (BODY[]<9> {3}
            S: a
            S: )
            S: 2 OK done
            C: 3 FETCH 1 (BODY.PEEK[]<9.3> BODY.PEEK[TEXT])
            S: 3 NO [SERVERBUG] some messages could not be read; the daemon's log says more
            C: 4 NOOP
            S: 4 OK done
            "#,
        )
        .await;
}

/// What was announced comes: fewer bytes would leave the client waiting, and more would be read as an answer.
#[tokio::test]
async fn a_body_that_breaks_while_it_is_sent_has_its_length_and_the_session_goes_on() {
    let server = Server::start().await;
    server.account.deliver("INBOX", &format!("Subject: a\n\n{}\n", "x".repeat(1_000_000)));
    let mut client = server.inbox().await;
    server.account.before_reading(|account, count| {
        if count == 6 {
            account.damage("INBOX", 1, 300_000);
        }
    });
    client.send(b"1 FETCH 1 BODY.PEEK[]\r\n").await;
    assert_eq!(client.line().await, "* 1 FETCH (BODY[] {1000016}");
    let body = String::from_utf8(client.bytes(1_000_016).await).unwrap();
    assert!(body.contains("[this could not be read from the disk]"));
    client
        .play(
            r#"
            S: )
            S: 1 NO [SERVERBUG] some messages could not be read; the daemon's log says more
            C: 2 NOOP
            S: 2 OK done
            "#,
        )
        .await;
}

#[tokio::test]
async fn what_is_being_sent_is_not_said_to_be_expunged() {
    let server = Server::start().await;
    for n in 1..=2 {
        server.account.deliver("Outbox", &format!("Subject: {n}\n\n{n}\n"));
    }
    let mut client = server.log_in().await;
    client.command("0 SELECT Outbox").await;
    client
        .play(
            r#"
            C: 1 STORE 1:2 +FLAGS.SILENT (\Deleted)
            S: 1 OK stored
            C: 2 EXPUNGE
            S: * 2 EXPUNGE
            S: 2 NO [INUSE] it is being handed over at this moment; ask again in a few seconds
            C: 3 UID EXPUNGE 1
            S: 3 NO [INUSE] it is being handed over at this moment; ask again in a few seconds
            C: 4 CLOSE
            S: 4 NO [INUSE] it is being handed over at this moment; ask again in a few seconds
            C: 5 FETCH 1 UID
            S: * 1 FETCH (UID 1)
            S: 5 OK done
            "#,
        )
        .await;
}

#[tokio::test]
async fn search_finds_what_people_see() {
    let server = Server::start().await;
    server.account.deliver("INBOX", NESTED);
    server.account.deliver(
        "INBOX",
        "Date: Mon, 2 Feb 2026 23:30:00 -0800
From: =?utf-8?Q?J=C3=BCrgen?= <j@example.onion>
Subject: =?iso-8859-1?Q?Gr=FC=DFe?=

short
",
    );
    let mut client = server.inbox().await;
    for (keys, found) in [
        ("CHARSET UTF-8 FROM {7+}\r\nJÜRGEN".to_owned(), " 2"),
        ("CHARSET UTF-8 SUBJECT {7+}\r\ngrüße".to_owned(), " 2"),
        ("BODY {15+}\r\nschöne grüße".to_owned(), " 1"),
        ("TEXT inner".to_owned(), " 1"),
        // The name of an attachment.
        ("BODY pdf".to_owned(), " 1"),
        ("SENTON 2-Feb-2026".to_owned(), " 2"),
        ("NOT SENTSINCE 1-Feb-2026".to_owned(), " 1"),
        ("OR SMALLER 300 BODY nowhere".to_owned(), " 2"),
        ("2 SUBJECT outer".to_owned(), ""),
        ("HEADER MIME-Version \"\"".to_owned(), " 1"),
        ("SINCE 1-Nov-2026 BEFORE 2-Nov-2026 UNSEEN OLD".to_owned(), " 1 2"),
        ("RECENT".to_owned(), ""),
    ] {
        let reply = client.command(&format!("s SEARCH {keys}")).await;
        assert_eq!(reply, [format!("* SEARCH{found}"), "s OK done".to_owned()], "{keys}");
    }
    let reply = client.command("s UID SEARCH CHARSET KOI8-R SUBJECT x").await;
    assert!(reply[0].starts_with("s NO [BADCHARSET (UTF-8 US-ASCII)]"), "{reply:?}");
}

/// What gave way is read to its end, and the session goes on behind it.
#[tokio::test]
async fn an_append_that_gave_way_to_others_is_refused_and_the_session_goes_on() {
    let uploads = Uploads::new(Duration::from_millis(100));
    let server = Server::with(Limits { pacer: Pacer::new(Duration::ZERO), uploads, ..Limits::default() }).await;
    let len = runepeer::base::limits::MESSAGE_BYTES;
    let announced = |tag: &str| format!("{tag} APPEND INBOX {{{len}+}}\r\n");
    let mut stalled = server.log_in().await;
    stalled.send(announced("a").as_bytes()).await;
    stalled.send(&[b'x'; 1000]).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut second = server.log_in().await;
    second.send(announced("b").as_bytes()).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut third = server.log_in().await;
    third.send(announced("c").as_bytes()).await;
    let message = vec![b'x'; len - 1000];
    tokio::time::sleep(Duration::from_millis(1500)).await;
    stalled.send(&message).await;
    stalled.send(b"\r\n").await;
    assert!(stalled.line().await.starts_with("a NO [LIMIT] too many messages are arriving at once"));
    assert!(stalled.command("n NOOP").await.last().unwrap().starts_with("n OK"));
}
