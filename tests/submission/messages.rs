//! What is submitted: its sender and recipients, its bounds, and what of it is queued.

use runepeer::base::{QueueId, limits};
use runepeer::engine::{RequestError, Unaddressable};
use runepeer::gateway::submission::Bounds;

use crate::fake::{ENVELOPE, LOGIN, alice, bob, codes, message, setup, setup_with};

#[tokio::test]
async fn reports_are_asked_for_as_rfc_3461_says() {
    let setup = setup();
    let own = alice();
    assert!(setup.talk("EHLO x\r\n").await.contains("250-DSN\r\n"));
    let script = format!(
        "MAIL FROM:<{own}> RET=FULL ENVID=QQ+20314159\r\n\
         RCPT TO:<bobby@rune.internal> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;first+2Bname@x\r\n\
         DATA\r\nFrom: <{own}>\r\n\r\nx\r\n.\r\n"
    );
    assert_eq!(setup.logged_in(&script).await, [250, 250, 354, 250]);
    let asked = setup.submitted().remove(0).asked;
    assert_eq!((asked.envelope.as_deref(), asked.full), (Some("QQ 314159"), true));
    let options = &asked.recipients["bobby@rune.internal"];
    assert_eq!(options.original.as_deref(), Some("rfc822;first+name@x"));
    assert!(options.notify.success && options.notify.delay && !options.notify.failure);

    let never = format!(
        "MAIL FROM:<{own}>\r\nRCPT TO:<bobby@rune.internal> NOTIFY=NEVER\r\nDATA\r\nFrom: <{own}>\r\n\r\nx\r\n.\r\n"
    );
    setup.logged_in(&never).await;
    let notify = setup.submitted().remove(0).asked.recipients["bobby@rune.internal"].notify;
    assert!(!notify.success && !notify.failure && !notify.delay);

    for bad in ["RET=SOME", "RET=FULL RET=HDRS", "ENVID=", "ENVID=a+0Ab", "ENVID=a+E4b"] {
        let codes = setup.logged_in(&format!("MAIL FROM:<{own}> {bad}\r\n")).await;
        assert_eq!(codes, [501], "{bad}");
    }
    for bad in ["NOTIFY=NEVER,SUCCESS", "NOTIFY=SOON", "ORCPT=rfc822;a+0Db", "ORCPT=x"] {
        let script = format!("MAIL FROM:<{own}>\r\nRCPT TO:<bobby@rune.internal> {bad}\r\n");
        assert_eq!(setup.logged_in(&script).await, [250, 501], "{bad}");
    }
}

#[tokio::test]
async fn a_message_is_queued_before_its_250() {
    let setup = setup();
    let replies = setup.talk(&format!("{LOGIN}{ENVELOPE}{}..dot\r\n.\r\nQUIT\r\n", message("body\r\n"))).await;
    assert_eq!(codes(&replies), [250, 235, 250, 250, 354, 250, 221], "{replies}");
    assert!(replies.contains(&format!("250 2.0.0 queued as {}", QueueId::from_bytes([0xab; 16]))), "{replies}");
    let submitted = setup.submitted();
    assert_eq!(submitted.len(), 1);
    assert_eq!(submitted[0].recipients, ["bobby@rune.internal"]);
    assert_eq!(submitted[0].visible, ["bobby@rune.internal", "c@example.org"]);
    let text = String::from_utf8(submitted[0].message.to_vec()).unwrap();
    let rest = format!("From: {}\r\nTo: Bob <{}>, c@example.org\r\n\r\nbody\r\n.dot\r\n", alice(), bob());
    assert!(text.ends_with(&rest), "{text}");
    assert!(text.starts_with("Date: Fri, 20 Nov 2026 23:40:52 +0000\r\nMessage-ID: <"), "{text}");
}

#[tokio::test]
async fn sender_and_recipients_are_checked_before_the_message() {
    let setup = setup();
    for (script, expected) in [
        (format!("MAIL FROM:<{}>\r\n", alice()), vec![250]),
        ("MAIL FROM:<>\r\n".into(), vec![250]),
        (format!("MAIL FROM:<{}>\r\n", bob()), vec![553]),
        ("MAIL FROM:<root@laptop>\r\n".into(), vec![553]),
        ("MAIL FROM:alice\r\n".into(), vec![501]),
        ("MAIL FROM:<> SIZE=200001\r\n".into(), vec![552]),
        ("MAIL FROM:<> SIZE=9999999999999999999\r\n".into(), vec![552]),
        ("MAIL FROM:<> SMTPUTF8\r\n".into(), vec![555]),
        ("MAIL FROM:<> BODY=BINARYMIME\r\n".into(), vec![555]),
        ("MAIL FROM:<> AUTH=<> BODY=7BIT\r\n".into(), vec![250]),
        ("MAIL FROM:<> FOO=bar\r\n".into(), vec![555]),
        ("MAIL FROM:<>\r\nMAIL FROM:<>\r\n".into(), vec![250, 503]),
        ("MAIL FROM:<>\r\nRCPT TO:<carol@rune.internal>\r\nDATA\r\n".into(), vec![250, 550, 554]),
        ("MAIL FROM:<>\r\nRCPT TO:<bobby>\r\nRCPT TO:<carol>\r\n".into(), vec![250, 250, 550]),
        ("MAIL FROM:<>\r\nrcpt to: <Bobby> NOTIFY=NEVER\r\nRCPT TO:<>\r\n".into(), vec![250, 250, 550]),
        ("MAIL FROM:<>\r\nRCPT TO:bobby\r\nRCPT TO:<bob by>\r\nRCPT TO:<bobby\r\n".into(), vec![250, 501, 501, 501]),
        ("MAIL FROM:<>\r\nRSET\r\nRCPT TO:<bobby@rune.internal>\r\n".into(), vec![250, 250, 503]),
        ("MAIL FROM:<>\r\nEHLO x\r\nRCPT TO:<bobby@rune.internal>\r\n".into(), vec![250, 250, 503]),
    ] {
        assert_eq!(setup.logged_in(&script).await, expected, "{script}");
    }
    let replies = setup.talk(&format!("{LOGIN}MAIL FROM:<>\r\nRCPT TO:<carol@rune.internal>\r\n")).await;
    assert!(
        replies.contains("550 5.1.1 carol@rune.internal is not in the address book; write to a contact as"),
        "{replies}"
    );
    let replies = setup.talk(&format!("{LOGIN}MAIL FROM:<>\r\nRCPT TO:<bobby@laptop>\r\n")).await;
    let advice = "550 5.1.1 bobby@laptop is not in the address book; write to a contact as petname@rune.internal (runepeer \
                  contact list shows the petnames), or add somebody";
    assert!(replies.contains(advice), "{replies}");
    let replies = setup.talk(&format!("{LOGIN}MAIL FROM:<>\r\nRCPT TO:<mallory@rune.internal>\r\n")).await;
    assert!(replies.contains("550 5.7.1 mallory@rune.internal is blocked; to write to them, let them"), "{replies}");
}

#[tokio::test]
async fn a_message_has_its_last_recipient_and_no_other() {
    let setup = setup();
    // Every way to write his name is a recipient of its own.
    let recipient = |number: usize| {
        let written = "bobbyrune".char_indices().map(|(bit, letter)| match number >> bit & 1 {
            1 => letter.to_ascii_uppercase(),
            _ => letter,
        });
        let written: String = written.collect();
        format!("RCPT TO:<{}@{}.internal>\r\n", &written[..5], &written[5..])
    };
    let recipients: String = (0..=limits::RECIPIENTS).map(recipient).collect();
    let script = format!("{LOGIN}MAIL FROM:<>\r\n{recipients}");
    let replies = setup.talk(&script).await;
    let codes = codes(&replies);
    assert_eq!(codes[3..], [vec![250; limits::RECIPIENTS], vec![452]].concat());
    assert!(replies.contains("too many recipients; send to the others in another message"), "{replies}");
}

#[tokio::test]
async fn the_author_must_be_the_account() {
    let setup = setup();
    let forged = message("x\r\n").replace("From: alice@rune.internal", &format!("From: {}", bob()));
    let replies = setup.talk(&format!("{LOGIN}{ENVELOPE}{forged}.\r\nNOOP\r\n")).await;
    assert_eq!(codes(&replies)[4..], [354, 550, 250]);
    assert!(replies.contains(&format!("550 5.7.1 From must be {} and nobody else", alice())), "{replies}");
    let from = "From: alice@rune.internal\r\n";
    for bad in ["", "To: x\r\n\r\n", &format!("{from}From: x@y\r\n\r\n"), &format!("{from}no field\r\n\r\n")] {
        assert_eq!(setup.logged_in(&format!("{ENVELOPE}{bad}.\r\nNOOP\r\n")).await[2..], [354, 550, 250], "{bad:?}");
    }
    let unknown = message("x\r\n").replace("bobby@", "carol@");
    assert_eq!(setup.logged_in(&format!("{ENVELOPE}{unknown}.\r\n")).await[2..], [354, 550]);
    assert!(setup.submitted().is_empty());
}

#[tokio::test]
async fn smuggled_commands_stay_in_the_message() {
    let setup = setup();
    for end in [
        "\n.\n",
        "\n.\r\n",
        "\r\n.\n",
        "\r.\r",
        "\r\n.\r",
        "\r.\r\n",
        "\r\n.\r\r\n",
        "\r\n\0.\r\n",
        "\r\n.\0\r\n",
        "\n\n.\r\n",
    ] {
        let smuggled = format!("{end}MAIL FROM:<>\r\nRCPT TO:<{}>\r\nDATA\r\nFrom: evil\r\n\r\nevil", bob());
        let script = format!("{ENVELOPE}{}{smuggled}\r\n.\r\nNOOP\r\nQUIT\r\n", message("good"));
        assert_eq!(setup.logged_in(&script).await, [250, 250, 354, 550, 250, 221], "{end:?}");
        assert!(setup.submitted().is_empty(), "{end:?}");
    }
}

/// Text files have them, and mail programs send them as they are.
#[tokio::test]
async fn a_text_with_a_lone_cr_or_lf_is_sent_and_a_message_that_cannot_be_names_the_place() {
    let setup = setup();
    for text in ["one\rtwo\r\n", "one\ntwo\r\n", "\rone\r\r\n"] {
        let replies = setup.talk(&format!("{LOGIN}{ENVELOPE}{}.\r\nNOOP\r\n", message(text))).await;
        assert_eq!(codes(&replies)[4..], [354, 250, 250], "{replies}");
        let sent = String::from_utf8(setup.submitted().remove(0).message.to_vec()).unwrap();
        let (header, body) = sent.split_once("\r\n\r\n").unwrap();
        assert!(header.ends_with("Content-Transfer-Encoding: base64"), "{header}");
        assert_eq!(data_encoding::BASE64.decode(body.trim_end().as_bytes()).unwrap(), text.as_bytes());
    }
    // A whole message with the line ends of a text file.
    let file = format!("From: {}\nSubject: x\n\nbody\n..\n", alice());
    assert_eq!(setup.logged_in(&format!("{ENVELOPE}{file}\r\n.\r\n")).await[2..], [354, 250]);
    let sent = String::from_utf8(setup.submitted().remove(0).message.to_vec()).unwrap();
    assert!(sent.ends_with("Subject: x\r\n\r\nbody\r\n..\r\n\r\n"), "{sent}");
    for (bad, place) in [
        (
            message("x\r\n").replace("Bcc: x", "Bcc: \rx"),
            "line 3 of the message has a carriage return without a line feed, after \"Bcc:\"; end",
        ),
        (message("x\n.\r\ny\r\n"), "line 6 of the message is a dot beside a lone"),
        (message("x\r\n\0y\r\n"), "line 6 of the message has a NUL; "),
    ] {
        let replies = setup.talk(&format!("{LOGIN}{ENVELOPE}{bad}.\r\nNOOP\r\n")).await;
        assert_eq!(codes(&replies)[4..], [354, 550, 250], "{replies}");
        assert!(replies.contains(&format!("550 5.6.0 {place}")), "{replies}");
        assert!(setup.submitted().is_empty());
    }
}

#[tokio::test]
async fn messages_beyond_their_bounds_are_drained() {
    let setup = setup();
    let large = format!("{ENVELOPE}{}\r\n.\r\nNOOP\r\n", message(&"line\r\n".repeat(40_000)));
    assert_eq!(setup.logged_in(&large).await[2..], [354, 552, 250]);
    let long = format!("{ENVELOPE}{}\r\n.\r\nNOOP\r\n", message(&"x".repeat(limits::DATA_LINE_BYTES + 1)));
    assert_eq!(setup.logged_in(&long).await[2..], [354, 550, 250]);
    let longest = format!("{ENVELOPE}{}\r\n.\r\nNOOP\r\n", message(&"x".repeat(limits::DATA_LINE_BYTES)));
    assert_eq!(setup.logged_in(&longest).await[2..], [354, 250, 250]);
    assert_eq!(setup.submitted().len(), 1);
}

#[tokio::test]
async fn a_failed_queue_is_told_with_its_code() {
    for (failure, expected) in [
        (
            RequestError::UnknownRecipient { recipient: "x".into(), why: Unaddressable::Unknown, meant: None },
            "550 5.1.1 ",
        ),
        (
            RequestError::UnknownRecipient { recipient: "x".into(), why: Unaddressable::Blocked, meant: None },
            "550 5.7.1 ",
        ),
        (
            RequestError::UnknownRecipient { recipient: "x".into(), why: Unaddressable::Waiting, meant: None },
            "550 5.7.1 ",
        ),
        (
            RequestError::NotIntroduced { first: "a".into(), second: "b".into() },
            "550 5.7.1 a and b would see each other",
        ),
        (RequestError::Disk, "452 4.3.1 "),
        (RequestError::Limit("messages in the queue"), "452 4.3.1 "),
        (RequestError::Stopping, "451 4.3.2 "),
        (RequestError::NameTaken, "451 4.3.0 "),
    ] {
        let setup = setup();
        *setup.account.failure.lock().unwrap() = Some(failure);
        let replies = setup.talk(&format!("{LOGIN}{ENVELOPE}{}.\r\n", message(""))).await;
        assert!(replies.lines().last().unwrap().starts_with(expected), "{replies}");
        assert!(!replies.contains("queued as"), "{replies}");
    }
}

#[tokio::test]
async fn a_client_that_goes_away_has_sent_nothing() {
    let setup = setup();
    assert_eq!(setup.logged_in(&format!("{ENVELOPE}{}", message("no end\r\n."))).await, [250, 250, 354]);
    assert!(setup.submitted().is_empty());
}

/// A message grows on its way out: its names become addresses, and it gets Date and Message-ID. The announced size is
/// that of the message as it was written.
#[tokio::test]
async fn a_message_of_exactly_the_announced_size_is_taken() {
    let most = Bounds::default().message;
    let setup = setup_with(Bounds::default());
    let announced = format!("250-SIZE {most}\r\n");
    assert!(setup.talk("EHLO x\r\n").await.contains(&announced));
    let head = message("");
    let lines = "x".repeat(998) + "\r\n";
    let text: String = head.chars().chain(lines.chars().cycle()).take(most - 2).collect();
    for (extra, code) in [("", 250), ("x", 552)] {
        let script = format!(
            "{LOGIN}MAIL FROM:<> SIZE={most}\r\nRCPT TO:<bobby@rune.internal>\r\nDATA\r\n{text}{extra}\r\n.\r\n"
        );
        let replies = setup.talk_in(script.as_bytes(), 1 << 20).await;
        assert_eq!(codes(&replies), [250, 235, 250, 250, 354, code]);
    }
    let submitted = setup.submitted();
    assert_eq!(submitted.len(), 1);
    assert!((most + 1..=limits::MESSAGE_BYTES).contains(&submitted[0].message.len()));
    assert_eq!(setup.logged_in(&format!("MAIL FROM:<> SIZE={}\r\n", most + 1)).await, [552]);
}

/// The recipients would refuse such a message, for good and after its 250.
#[tokio::test]
async fn a_header_that_becomes_too_large_is_refused_at_once() {
    let setup = setup_with(Bounds::default());
    let many = vec!["bobby@rune.internal"; 2000].join(",\r\n ");
    let text = format!("From: alice@rune.internal\r\nTo: {many}\r\n\r\nx\r\n");
    assert!(text.len() < limits::HEADER_BYTES);
    let replies = setup.talk(&format!("{LOGIN}{ENVELOPE}{text}.\r\n")).await;
    assert!(replies.contains("550 5.6.0 the header of the message is too long"), "{replies}");
    assert!(setup.submitted().is_empty());
}
