//! Logins and mistakes, and what is bounded before a login.

use std::time::{Duration, Instant};

use runepeer::gateway::imap::Limits;
use runepeer::gateway::pacer::Pacer;

use crate::fake::{Server, limits};

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
    for number in 0..3 {
        server.connect().await.command(&format!("a LOGIN alice wrong{number}")).await;
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
async fn a_password_that_was_mistyped_and_then_right_makes_no_later_answer_slower() {
    let pace = Duration::from_millis(300);
    let server = Server::with(Limits { pacer: Pacer::new(pace), ..limits() }).await;
    let mut client = server.connect().await;
    client.command("a LOGIN alice wrong1").await;
    client.command("a AUTHENTICATE PLAIN AGFsaWNlAHdyb25n").await;
    assert!(client.command("b LOGIN alice \"open sesame\"").await[0].starts_with("b OK"));
    let mut later = server.connect().await;
    let started = Instant::now();
    later.command("a LOGIN alice wrong2").await;
    assert!(started.elapsed() < 4 * pace, "{:?}: both mistakes still count", started.elapsed());
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
