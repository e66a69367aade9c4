//! The text of reports and notices.

use super::*;

fn own() -> Address {
    "alice@duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion".parse().unwrap()
}

fn text(reason: FailureReason) -> String {
    report_of(Outcome::Failed(reason), None)
}

fn report_of(outcome: Outcome, message: Option<&[u8]>) -> String {
    let original = Some("rfc822;b\u{e4}r\r\nX: y".to_owned());
    let one = Concerned { petname: "Bärbel".into(), address: own(), original, outcome };
    let about = Report {
        own: &own(),
        queue: QueueId::from_bytes([1; 16]),
        envelope: Some("QQ\r\n314159"),
        submitted: Timestamp::from_secs(1_800_000_000),
        recipients: &[one],
        headers: b"Original-Message-ID: <a@laptop>\r\nSubject: hello\r\nMessage-Id:  <a@b>\r\n",
        message,
    };
    let bytes = report(&about, ContentId::from_bytes([2; 16]), Timestamp::from_secs(1_800_500_000));
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_report_is_a_well_formed_multipart_with_a_status_per_recipient() {
    let report = text(FailureReason::Refused);
    let parts: Vec<_> = report.split("--=_rune_02020202020202020202020202020202").collect();
    assert_eq!(parts.len(), 5);
    assert!(parts[0].contains("multipart/report; report-type=delivery-status"));
    assert!(parts[1].contains("Bärbel") && parts[1].contains("refused"));
    assert!(parts[2].contains("Final-Recipient: rfc822; alice@") && parts[2].contains("Status: 5.7.1"));
    assert!(parts[3].contains("\r\n\r\nOriginal-Message-ID: <a@laptop>\r\nSubject: hello\r\n"), "{}", parts[3]);
    assert_eq!(parts[4], "--\r\n");
    assert!(report.split("\r\n").all(|line| !line.contains(['\r', '\n'])));
}

#[test]
fn what_may_have_arrived_is_not_called_undelivered() {
    assert!(text(FailureReason::Unconfirmed).contains("Subject: Delivery is unconfirmed\r\n"));
    assert!(text(FailureReason::Recalled).contains("Subject: Delivery is unconfirmed\r\n"));
    assert!(text(FailureReason::Expired).contains("Subject: Your message was not delivered\r\n"));
    for reason in [FailureReason::Unconfirmed, FailureReason::Recalled] {
        let report = text(reason);
        assert!(report.contains("\r\nAction: delayed\r\nStatus: 4."), "{report}");
        assert!(!report.contains("Will-Retry-Until") && report.contains("Nothing more is tried."), "{report}");
        assert!(report.contains(" may not have reached everybody:"), "{report}");
    }
    assert!(text(FailureReason::Expired).contains("\r\nAction: failed\r\n"));
}

#[test]
fn a_report_answers_its_message_and_repeats_what_the_mail_program_gave_on_one_line() {
    let until = Timestamp::from_secs(1_800_432_000);
    let late = report_of(Outcome::Delayed { until, so_far: SoFar::NotReached }, None);
    assert!(late.contains("In-Reply-To: <a@laptop>\r\nReferences: <a@laptop>\r\n <a@b>\r\n"));
    assert!(late.contains("Action: delayed\r\nStatus: 4.4.1\r\n") && late.contains("Will-Retry-Until: "));
    assert!(late.contains("Original-Envelope-Id: QQ??314159\r\n"));
    assert!(late.contains("Original-Recipient: rfc822;b?r??X: y\r\n"));
    let delivered = report_of(Outcome::Delivered, None);
    assert!(delivered.contains("Subject: Your message was delivered\r\n") && delivered.contains("Status: 2.0.0"));
    let handed_over = report_of(Outcome::HandedOver, None);
    assert!(handed_over.contains("Subject: Your message was handed over\r\n"));
    assert!(handed_over.contains("Action: relayed\r\nStatus: 2.0.0") && !handed_over.contains("Nothing more is tried"));
}

#[test]
fn every_outcome_is_told_in_the_same_sense_in_every_place() {
    let until = Timestamp::from_secs(1_800_432_000);
    let late = |so_far| Outcome::Delayed { until, so_far };
    let (undelivered, unconfirmed) = ("Your message was not delivered", "Delivery is unconfirmed");
    let is_late = "Your message is late, and is tried on";
    let (nobody, perhaps) = ("did not reach everybody", "may not have reached everybody");
    let waits = "has not reached everybody yet";
    for (outcome, subject, introduction, action, status, sentence) in [
        (Outcome::Failed(FailureReason::Expired), undelivered, nobody, "failed", "4.4.7", "could not be reached, or"),
        (
            Outcome::Failed(FailureReason::Unconfirmed),
            unconfirmed,
            perhaps,
            "delayed",
            "4.4.7",
            "ended without an acknowledgement",
        ),
        (Outcome::Failed(FailureReason::Refused), undelivered, nobody, "failed", "5.7.1", "refused the message"),
        (Outcome::Failed(FailureReason::Unsealable), undelivered, nobody, "failed", "5.7.5", "could not be sealed"),
        (Outcome::Failed(FailureReason::NoContact), undelivered, nobody, "failed", "5.1.1", "no longer in your"),
        (
            Outcome::Failed(FailureReason::NoConsent),
            undelivered,
            nobody,
            "failed",
            "5.7.1",
            "agreed in time to be shown",
        ),
        (Outcome::Failed(FailureReason::Recalled), unconfirmed, perhaps, "delayed", "4.0.0", "took the message back"),
        (Outcome::Failed(FailureReason::TooLarge), undelivered, nobody, "failed", "5.2.3", "is larger than"),
        (Outcome::Failed(FailureReason::Revoked), undelivered, nobody, "failed", "5.1.6", "They revoked this address"),
        (
            Outcome::Failed(FailureReason::OwnRevoked),
            undelivered,
            nobody,
            "failed",
            "5.7.1",
            "You revoked this identity",
        ),
        (late(SoFar::NotReached), is_late, waits, "delayed", "4.4.1", "so far, or put it off"),
        (late(SoFar::Sent), is_late, waits, "delayed", "4.4.1", "A copy was sent, and no acknowledgement"),
        (
            late(SoFar::Consent),
            is_late,
            waits,
            "delayed",
            "4.7.1",
            "Not everybody whom the message names has agreed yet",
        ),
        (late(SoFar::Held), is_late, waits, "delayed", "4.4.1", "A carrier of theirs has it"),
        (Outcome::Delivered, "Your message was delivered", "was delivered", "delivered", "2.0.0", "on its disk"),
        (Outcome::HandedOver, "Your message was handed over", "was handed over", "relayed", "2.0.0", "no receipts"),
    ] {
        let report = report_of(outcome, None);
        let is_late = matches!(outcome, Outcome::Delayed { .. });
        for expected in [
            format!("\r\nSubject: {subject}\r\n"),
            format!("Your message of {} {introduction}:\r\n", Timestamp::from_secs(1_800_000_000).rfc5322()),
            format!("\r\nAction: {action}\r\nStatus: {status}\r\n"),
            sentence.to_owned(),
        ] {
            assert_eq!(report.matches(&expected).count(), 1, "{expected}: {report}");
        }
        let retried = format!("\r\nWill-Retry-Until: {}\r\n", until.rfc5322());
        assert_eq!(report.contains(&retried), is_late, "{report}");
        assert_eq!(report.contains("delete it in the folder Outbox"), is_late, "{report}");
        let ended = matches!(outcome, Outcome::Failed(_));
        assert_eq!(report.contains("Nothing more is tried."), ended, "{report}");
    }
}

#[test]
fn every_notice_says_who_writes_and_what_to_do() {
    let (own, id, now) = (own(), ContentId::from_bytes([2; 16]), Timestamp::from_secs(1_800_500_000));
    let fingerprint = Fingerprint::from_bytes([3; 32]);
    let daemon = format!("Mail delivery <mailer-daemon@{}>", own.onion());
    let lost = ["a message".to_owned(), "another".to_owned()];
    for (notice, from, subject, said) in [
        (
            request(&own, &own, &fingerprint, id, now),
            format!("<{own}>"),
            "Somebody asks to become your contact",
            format!("address:     {own}\r\nfingerprint: {fingerprint}\r\n"),
        ),
        (
            greeting_failed(&own, "bob", &own, true, id, now),
            daemon.clone(),
            "A contact could not be greeted",
            format!("bob <{own}>\r\n\r\nTheir node refused the greeting."),
        ),
        (
            greeting_failed(&own, "bob", &own, false, id, now),
            daemon.clone(),
            "A contact could not be greeted",
            "Their node could not be reached in time.".to_owned(),
        ),
        (restored(&own, now, id, now), daemon.clone(), "This mailbox was restored from a backup", now.rfc5322()),
        (
            rolled_back(&own, id, now),
            daemon.clone(),
            "This mailbox is older than it was",
            "than the disk holds now".to_owned(),
        ),
        (
            unreadable(&own, &lost, id, now),
            daemon.clone(),
            "A message is damaged on the disk",
            "\r\n- a message\r\n- another\r\n".to_owned(),
        ),
        (
            repaired(&own, &lost, "/kept", id, now),
            daemon.clone(),
            "A part of this mailbox was damaged on the disk",
            "\r\n- a message\r\n- another\r\n\r\n".to_owned(),
        ),
    ] {
        let text = String::from_utf8(notice).unwrap();
        let head = format!(
            "Date: {}\r\nFrom: {from}\r\nTo: <{own}>\r\nSubject: {subject}\r\nMessage-ID: <{id}@{}>\r\nMIME-Version: 1.0\r\n",
            now.rfc5322(),
            own.onion()
        );
        assert!(text.starts_with(&head) && text.contains(&said), "{text}");
        assert!(text.contains("Auto-Submitted: auto-generated\r\n") && text.contains(&format!("{PLAIN}\r\n")));
        assert!(super::super::outgoing::has_strict_lines(text.as_bytes()));
    }
}

#[test]
fn a_message_is_returned_whole_where_that_was_asked_for() {
    let whole = report_of(Outcome::Failed(FailureReason::Refused), Some(b"Subject: hello\r\n\r\nAll of it.\r\n"));
    assert!(whole.contains("Content-Type: message/rfc822\r\n\r\nSubject: hello\r\n\r\nAll of it.\r\n"));
    assert!(!text(FailureReason::Refused).contains("message/rfc822"));
}

#[test]
fn a_message_id_that_is_none_is_not_answered() {
    for field in ["Message-ID: a@b\r\n", "Message-ID: <a b@c>\r\n", "X: <a@b>\r\n", "Message-ID: <\u{e4}@b>\r\n"] {
        assert_eq!(message_id(field.as_bytes(), "message-id"), None, "{field}");
    }
}

#[test]
fn a_notice_of_what_was_damaged_counts_what_it_does_not_list() {
    let notice = |count: usize| {
        let lost: Vec<String> = (0..count).map(|number| format!("message {number}")).collect();
        let (id, now) = (ContentId::from_bytes([2; 16]), Timestamp::from_secs(1_800_500_000));
        String::from_utf8(repaired(&own(), &lost, "/kept", id, now)).unwrap()
    };
    for (count, listed, more) in [(3, 3, None), (LINES, LINES, None), (LINES + 7, LINES, Some("- and 7 more\r\n"))] {
        let notice = notice(count);
        assert_eq!(notice.matches("\r\n- message ").count(), listed);
        assert_eq!(notice.contains("- and "), more.is_some(), "{count}");
        assert!(more.is_none_or(|more| notice.contains(more)));
    }
}
