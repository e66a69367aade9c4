//! Logins, mistakes, and what else is said in a session.

use runepeer::base::limits;
use runepeer::gateway::submission::Bounds;

use crate::fake::{ENVELOPE, LOGIN, codes, message, setup};

#[tokio::test]
async fn every_cut_of_the_stream_gives_the_same() {
    let setup = setup();
    let (first, second) = (message("a\r\n"), message("b"));
    let script = format!("{LOGIN}{ENVELOPE}{first}.\r\nNOOP\r\n{ENVELOPE}{second}\r\n.\r\nQUIT\r\n");
    let whole = setup.talk_in(script.as_bytes(), script.len()).await;
    assert_eq!(codes(&whole), [250, 235, 250, 250, 354, 250, 250, 250, 250, 354, 250, 221]);
    for piece in [1, 2, 3, 7, 64] {
        assert_eq!(setup.talk_in(script.as_bytes(), piece).await, whole, "{piece}");
    }
    let messages: Vec<_> = setup.submitted().iter().map(|submission| submission.message.clone()).collect();
    assert_eq!(messages.len(), 12);
    assert!(messages.chunks(2).all(|pair| pair == &messages[..2]));
}

#[tokio::test]
async fn what_is_advertised_is_offered() {
    let replies = setup().talk("EHLO x\r\n").await;
    for keyword in ["SIZE 200000", "8BITMIME", "PIPELINING", "ENHANCEDSTATUSCODES", "AUTH PLAIN LOGIN", "HELP"] {
        assert!(replies.replace("250-", "250 ").contains(&format!("250 {keyword}\r\n")), "{keyword}");
    }
    assert_eq!(Bounds::default().message, 26_214_400 - 524_288);
    let script = "HELO x\r\nNOOP\r\nVRFY bob\r\nHELP\r\nRSET\r\nEXPN x\r\nSTARTTLS\r\nBDAT 3 LAST\r\nNONSENSE\r\n\r\n\
                  EHLO\r\nquit\r\nNOOP\r\n";
    assert_eq!(setup().codes(script).await, [250, 250, 252, 214, 250, 502, 502, 502, 500, 500, 501, 221]);
}

#[tokio::test]
async fn login_works_in_every_way_that_programs_use() {
    let (user, password) = ("YWxpY2U=", "c2VjcmV0");
    for script in [
        "AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n".to_owned(),
        "auth plain\r\nAGFsaWNlAHNlY3JldA==\r\n".to_owned(),
        "AUTH PLAIN YWxpY2UAYWxpY2UAc2VjcmV0\r\n".to_owned(),
        format!("AUTH LOGIN\r\n{user}\r\n{password}\r\n"),
        format!("AUTH LOGIN {user}\r\n{password}\r\n"),
    ] {
        let codes = setup().codes(&format!("EHLO x\r\n{script}")).await;
        assert_eq!(codes.last(), Some(&235), "{script}");
        assert!(codes[1..codes.len() - 1].iter().all(|code| *code == 334), "{script}");
    }
}

#[tokio::test]
async fn failed_logins_leave_the_session_usable_and_closed_to_mail() {
    for (script, code) in [
        ("AUTH PLAIN AGFsaWNlAHdyb25n\r\n", 535),
        ("AUTH PLAIN Ym9iAGFsaWNlAHNlY3JldA==\r\n", 535),
        ("AUTH PLAIN =\r\n", 501),
        ("AUTH PLAIN !!!\r\n", 501),
        ("AUTH PLAIN\r\n*\r\n", 501),
        ("AUTH LOGIN\r\n*\r\n", 501),
        ("AUTH LOGIN YWxpY2U=\r\n=\r\n", 535),
        ("AUTH CRAM-MD5\r\n", 504),
        ("AUTH\r\n", 501),
        ("RCPT TO:<a@b>\r\n", 503),
        ("DATA\r\n", 503),
    ] {
        let codes = setup().codes(&format!("EHLO x\r\n{script}MAIL FROM:<>\r\nNOOP\r\n")).await;
        assert_eq!(codes[codes.len() - 3..], [code, 530, 250], "{script}");
    }
    assert_eq!(setup().codes("AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n").await, [503]);
    assert_eq!(setup().logged_in("AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n").await, [503]);
}

#[tokio::test]
async fn foreign_protocols_are_closed_without_an_echo() {
    for script in [
        "GET /canary HTTP/1.1\r\nHost: x\r\n\r\nMAIL FROM:<>\r\n",
        "POST / HTTP/1.1\r\n",
        "get / HTTP/1.0\n",
        "Host: canary\r\n",
        "X-Canary: 1\r\n",
        "SSH-2.0-x\r\n",
        "\u{16}\u{3}\u{1}canary\n",
        "PRI * HTTP/2.0\r\n",
    ] {
        let replies = setup().talk(&format!("{script}NOOP\r\nEHLO x\r\n")).await;
        assert_eq!(codes(&replies), [421], "{script}");
        assert!(!replies.to_ascii_lowercase().contains("canary"));
    }
    assert_eq!(setup().logged_in("Cookie: x\r\nMAIL FROM:<>\r\n").await, [421]);
}

#[tokio::test]
async fn malformed_lines_are_mistakes_and_many_mistakes_end_the_session() {
    for (script, code) in [
        ("NOOP\n".to_owned(), 500),
        ("NO\rOP\r\n".to_owned(), 500),
        ("NOOP\0\r\n".to_owned(), 500),
        (format!("NOOP {}\r\n", "x".repeat(3000)), 500),
        (format!("NOOP {}\r\n", "x".repeat(100_000)), 500),
    ] {
        for piece in [1, 1000, 200_000] {
            let replies = setup().talk_in(format!("{script}NOOP\r\n").as_bytes(), piece).await;
            assert_eq!(codes(&replies), [code, 250], "{:?}", &script[..5]);
        }
    }
    let mistakes = setup().codes(&"NONSENSE\r\n".repeat(50)).await;
    assert_eq!(mistakes.len(), limits::CLIENT_MISTAKES as usize + 1);
    assert_eq!(mistakes.last(), Some(&421));
    let guesses = setup().codes(&format!("EHLO x\r\n{}", "AUTH PLAIN AGFsaWNlAHdyb25n\r\n".repeat(50))).await;
    assert_eq!(guesses.last(), Some(&421));
    assert_eq!(guesses.iter().filter(|code| **code == 535).count(), limits::CLIENT_MISTAKES as usize);
}
