//! The side that was dialled, against scripted peers.

use std::time::Duration;

use super::*;
use crate::base::limits::{STRANGER_BYTES, WIRE_ANSWER, WIRE_DELIVERIES, WIRE_HANDSHAKE, WIRE_IDLE, WIRE_SESSION};
use crate::base::{ContactId, MacKey, Onion, Terms};
use crate::wire::{authenticator, digest, verify};

pub(super) const GREETING: &str = "HOWDY RUNE/1 MAX=28311552 CAP=SEND\n";
pub(super) const CERTIFICATE: &[u8] = b"bob's certificate";

pub(super) fn start() -> Timestamp {
    Timestamp::from_secs(1_800_000_000)
}

pub(super) fn key() -> MacKey {
    MacKey::from_bytes([7; 32])
}

pub(super) fn onion() -> Onion {
    Onion::from_public_key([9; 32])
}

pub(super) fn bob() -> Address {
    format!("bob@{}", onion()).parse().unwrap()
}

/// A host with one contact, which settles when told to, or at once with `answer`.
#[derive(Default)]
pub(super) struct Fake {
    pub(super) delivered: Vec<(Ticket, Delivery)>,
    pub(super) answer: Option<Status>,
}

impl Host for Fake {
    fn offer(&mut self, _: Timestamp, send: &SendParams) -> Offer {
        if send.to.without_folder() != bob() {
            return Offer::Refused(Status::NotAvailable);
        }
        let shown =
            matches!((send.claim, send.auth), (Some(claim), Some(mac)) if verify(&key(), onion(), &claim, &mac));
        let contact = Sender::Contact(ContactId::from_bytes([1; 16]));
        let (sender, maximum) = if shown { (contact, usize::MAX) } else { (Sender::Stranger, STRANGER_BYTES) };
        Offer::Ready { maximum, certificate: CERTIFICATE.into(), sender }
    }

    fn deliver(&mut self, _: Timestamp, ticket: Ticket, delivery: Delivery) -> Option<Status> {
        self.delivered.push((ticket, delivery));
        self.answer
    }
}

pub(super) fn responder() -> (Server, Fake) {
    let mut responder = Server::new(start(), &Terms::default());
    assert_eq!(String::from_utf8(responder.take_output()).unwrap(), GREETING);
    (responder, Fake::default())
}

/// What the server has said once no answer is held any more.
fn text(responder: &mut Server) -> String {
    responder.handle_timeout(start().plus(WIRE_ANSWER), &mut Fake::default());
    String::from_utf8(responder.take_output()).unwrap()
}

pub(super) fn known() -> String {
    data_encoding::HEXLOWER.encode(&digest(CERTIFICATE))
}

fn send(prefix: &str) -> String {
    format!("{prefix}SEND {} CERT={}\n", bob(), known())
}

pub(super) fn ready(prefix: &str) -> String {
    format!("{prefix}201 32768 {} -\n", known())
}

#[test]
fn one_byte_at_a_time_reads_like_all_at_once() {
    let script = format!("howdy RUNE/1\r\n{}MESSAGE - #5\r\nhelloQUIT\r\n", send(""));
    for size in [1, 7, 10_000] {
        let (mut responder, mut host) = responder();
        host.answer = Some(Status::Roger);
        for piece in script.as_bytes().chunks(size) {
            responder.handle(start(), piece, &mut host);
        }
        assert_eq!(text(&mut responder), format!("{}202 ROGER\n200 BYE\n", ready("")), "in pieces of {size}");
        assert!(responder.wants_close());
        assert_eq!(host.delivered[0].1.object, b"hello");
        assert_eq!(host.delivered[0].1.sender, Sender::Stranger);
    }
}

#[test]
fn roger_comes_only_with_settlement_and_quit_waits_for_it() {
    let (mut responder, mut host) = responder();
    responder.handle(start(), format!("{}MESSAGE - #2;QUIT\nhiSEND late\n", send("")).as_bytes(), &mut host);
    assert_eq!(text(&mut responder), ready(""));
    assert!(!responder.wants_close());
    let ticket = host.delivered[0].0;
    responder.settle(start(), ticket, Status::Roger, &mut host);
    assert_eq!(text(&mut responder), "202 ROGER\n200 BYE\n");
    assert!(responder.wants_close());
    responder.settle(start(), ticket, Status::Roger, &mut host);
    responder.handle(start(), b"QUIT\n", &mut host);
    assert_eq!(text(&mut responder), "");
}

#[test]
fn a_certificate_comes_along_where_the_sender_has_another_one() {
    let (mut responder, mut host) = responder();
    let stale = "0".repeat(64);
    let script = format!("SEND {};AS x SEND {} CERT={stale}\n", bob(), bob());
    responder.handle(start(), script.as_bytes(), &mut host);
    let reply = "201 32768 #17 -\nbob's certificate";
    assert_eq!(text(&mut responder), format!("{reply}x: {reply}"));
    for _ in 0..3 {
        responder.handle(start(), script.as_bytes(), &mut host);
    }
    text(&mut responder);
    assert!(responder.wants_close(), "a certificate is not handed out without end");
}

#[test]
fn answers_carry_their_ids_and_may_overtake() {
    let (mut responder, mut host) = responder();
    let script = [&send("AS a "), "AS a MESSAGE - #1\nA", &send("AS b "), "AS b MESSAGE - #1\nB"].concat();
    responder.handle(start(), script.as_bytes(), &mut host);
    assert_eq!(text(&mut responder), ready("a: ") + &ready("b: "));
    let (first, second) = (host.delivered[0].0, host.delivered[1].0);
    responder.settle(start(), second, Status::TryLater, &mut host);
    assert_eq!(text(&mut responder), "b: 450 TRY LATER\n");
    responder.settle(start(), first, Status::Roger, &mut host);
    assert_eq!(text(&mut responder), "a: 202 ROGER\n");
}

#[test]
fn too_many_unsettled_deliveries_stop_the_reading() {
    let (mut responder, mut host) = responder();
    let script = format!("{}MESSAGE - #1\nx", send(""));
    for _ in 0..6 {
        responder.handle(start(), script.as_bytes(), &mut host);
    }
    assert_eq!(host.delivered.len(), WIRE_DELIVERIES);
    assert!(responder.is_blocked());
    let first = host.delivered[0].0;
    responder.settle(start(), first, Status::Roger, &mut host);
    assert_eq!(host.delivered.len(), WIRE_DELIVERIES + 1);
    responder.handle(start(), &vec![b'x'; 2 << 20], &mut host);
    for index in 1..=WIRE_DELIVERIES {
        let ticket = host.delivered[index].0;
        responder.settle(start(), ticket, Status::Roger, &mut host);
    }
    assert_eq!(host.delivered.len(), WIRE_DELIVERIES + 1);
    assert!(text(&mut responder).ends_with("202 ROGER\n706 TOO LARGE\n"), "what is held unread is bounded");
    assert!(responder.wants_close());
}

/// The answer to one script, after the greeting, of a host that takes everything.
fn answered(script: &str) -> (String, bool) {
    let (mut responder, mut host) = responder();
    host.answer = Some(Status::Roger);
    responder.handle(start(), script.as_bytes(), &mut host);
    (text(&mut responder), responder.wants_close())
}

#[test]
fn mistakes_are_answered_and_violations_end_the_session() {
    let (address, hash, zeros) = (bob(), data_encoding::HEXLOWER.encode(&digest(b"hello")), "0".repeat(64));
    let known = known();
    let claimed = |hash: &str, size: usize| format!("SEND {address} CERT={known} HASH={hash} SIZE={size}\n");
    for (script, expected, closes) in [
        ("EHLO example.org\nquit\n".to_owned(), "701 BAD COMMAND\n200 BYE\n", true),
        (
            "AS 1 WATCH +ALL; AS 2 REGISTER x #3\nkey\n".to_owned(),
            "1: 704 NOT IMPLEMENTED\n2: 704 NOT IMPLEMENTED\n",
            false,
        ),
        ("SEND bob@example.org\n".to_owned(), "702 BAD PARAMETER\n", false),
        ("AS 7 SEND\n".to_owned(), "7: 702 BAD PARAMETER\n", false),
        // A MESSAGE that follows a SEND that was not understood does not count for an earlier SEND.
        (
            format!("{}SEND {address} SIZE=5\nMESSAGE - #5\nhelloMESSAGE - #0\n", send("")),
            &(ready("") + "702 BAD PARAMETER\n702 BAD PARAMETER\n711 SEND FIRST\n"),
            false,
        ),
        ("MESSAGE - #5\nhelloQUIT\n".to_owned(), "711 SEND FIRST\n200 BYE\n", true),
        ("HOWDY RUNE/2\n".to_owned(), "707 VERSION NOT SUPPORTED\n", true),
        ("HOWDY RUNE/2 RUNE/1\nQUIT\n".to_owned(), "200 BYE\n", true),
        ("SEND \"\n".to_owned(), "700 PROTOCOL ERROR\n", true),
        ("QUIT #3\nabc".to_owned(), "702 BAD PARAMETER\n", false),
        ("HOWDY RUNE/1 #3\nabc".to_owned(), "700 PROTOCOL ERROR\n", true),
        ("x".repeat(9000), "706 TOO LARGE\n", true),
        (send("") + "MESSAGE - #32769\n", &(ready("") + "706 TOO LARGE\n"), true),
        (send("") + "MESSAGE alice@x #2\nhi", &(ready("") + "704 NOT IMPLEMENTED\n"), false),
        (claimed(&hash, 5) + "MESSAGE - #5\nhello", &(ready("") + "202 ROGER\n"), false),
        (claimed(&hash, 5) + "MESSAGE - #6\nhello!", &(ready("") + "700 PROTOCOL ERROR\n"), true),
        // The session ends before the object: nothing is stored that cannot be the announced one.
        (claimed(&hash, 5) + "MESSAGE - #6\n", &(ready("") + "700 PROTOCOL ERROR\n"), true),
        (claimed(&zeros, 5) + "MESSAGE - #5\nhello", &(ready("") + "700 PROTOCOL ERROR\n"), true),
        ("x\n".repeat(20), &("701 BAD COMMAND\n".repeat(20) + "709 TOO MANY MISTAKES\n"), true),
        ("MESSAGE - #999999999\n".to_owned(), "706 TOO LARGE\n", true),
    ] {
        assert_eq!(answered(&script), (expected.to_owned(), closes), "{script}");
    }
}

#[test]
fn a_stranger_learns_the_same_from_every_refusal() {
    let unknown =
        format!("SEND {} CERT={} HASH={} SIZE=5", bob().to_string().replace("bob", "eve"), known(), "0".repeat(64));
    let large = format!("SEND {} CERT={} HASH={} SIZE=999999", bob(), known(), "0".repeat(64));
    let (mut answers, message) = (Vec::new(), "\nMESSAGE - #5\nhelloMESSAGE - #0\n");
    for command in [unknown, large] {
        answers.push(answered(&(command + message)));
    }
    assert_eq!(answers[0].0, "420 NOT AVAILABLE\n420 NOT AVAILABLE\n711 SEND FIRST\n");
    assert_eq!(answers[0], answers[1]);
    let probe = format!("SEND {}\n", bob().to_string().replace("bob", "eve"));
    let probed = answered(&probe.repeat(30));
    assert_eq!(
        probed,
        ("420 NOT AVAILABLE\n".repeat(20) + "709 TOO MANY MISTAKES\n", true),
        "names are not tried for ever"
    );
}

#[test]
fn slow_peers_are_timed_out_and_a_waiting_one_is_not() {
    let slow = "708 TIME-OUT\n";
    let (mut silent, mut host) = responder();
    assert_eq!(silent.poll_timeout(), Some(start().plus(WIRE_HANDSHAKE)));
    silent.handle(start(), b"SEN", &mut host);
    silent.handle_timeout(start().plus(WIRE_HANDSHAKE - Duration::from_millis(1)), &mut host);
    assert_eq!(text(&mut silent), "");
    silent.handle_timeout(start().plus(WIRE_HANDSHAKE), &mut host);
    assert_eq!((text(&mut silent).as_str(), silent.wants_close(), silent.poll_timeout()), (slow, true, None));

    let (mut idle, mut host) = responder();
    idle.handle(start(), b"HOWDY RUNE/1\n", &mut host);
    assert_eq!(idle.poll_timeout(), Some(start().plus(WIRE_IDLE)));

    // One byte a second is no progress, however long it goes on.
    let (mut dripping, mut host) = responder();
    dripping.handle(start(), format!("{}MESSAGE - #1000\n", send("")).as_bytes(), &mut host);
    text(&mut dripping);
    for second in 1..=30 {
        let now = start().plus(Duration::from_secs(second));
        dripping.handle(now, b"x", &mut host);
        dripping.handle_timeout(now, &mut host);
    }
    assert_eq!(text(&mut dripping), slow);

    let (mut waiting, mut host) = responder();
    waiting.handle(start(), format!("{}MESSAGE - #1\nx", send("")).as_bytes(), &mut host);
    text(&mut waiting);
    assert_eq!(waiting.poll_timeout(), Some(start().plus(WIRE_SESSION)), "we owe the answer");
    let later = start().plus(WIRE_IDLE * 2);
    waiting.settle(later, host.delivered[0].0, Status::Roger, &mut host);
    assert_eq!(waiting.poll_timeout(), Some(later.plus(WIRE_IDLE)));
}

/// A SEND with a claim, under this key.
fn send_under(prefix: &str, key: [u8; 32]) -> String {
    let claim = Claim::of(b"x");
    let mac = data_encoding::HEXLOWER.encode(&authenticator(&MacKey::from_bytes(key), onion(), &claim));
    let hash = data_encoding::HEXLOWER.encode(&claim.hash);
    format!("{prefix}SEND {} CERT={} HASH={hash} SIZE=1 AUTH={mac}\n", bob(), known())
}

#[test]
fn an_answer_to_send_leaves_at_its_moment_unless_the_session_has_shown_that_key() {
    let held = start().plus(WIRE_ANSWER);
    let unknown = format!("SEND {}\n", bob().to_string().replace("bob", "eve"));
    // No key shown, a key for the first time, a key that fits nothing, a name that is not here.
    for script in [send(""), send_under("", [7; 32]), send_under("", [8; 32]), unknown] {
        let (mut responder, mut host) = responder();
        responder.handle(start(), script.as_bytes(), &mut host);
        responder.handle_timeout(held.minus(Duration::from_millis(1)), &mut host);
        assert!(responder.take_output().is_empty(), "{script}");
        assert_eq!(responder.poll_timeout(), Some(held), "{script}");
        responder.handle_timeout(held, &mut host);
        assert!(!responder.take_output().is_empty(), "{script}");
    }
    let (mut responder, mut host) = responder();
    responder.handle(start(), send_under("AS 1 ", [7; 32]).as_bytes(), &mut host);
    assert!(text(&mut responder).starts_with("1: 201"));
    responder.handle(start(), send_under("AS 2 ", [7; 32]).as_bytes(), &mut host);
    assert!(!responder.take_output().is_empty(), "its second message waits for nothing");
}

#[test]
fn while_an_answer_is_held_the_object_is_worked_on_and_what_follows_is_read() {
    let (mut responder, mut host) = responder();
    host.answer = Some(Status::Roger);
    let one = format!("{}AS {{}} MESSAGE - #1\nx", send("AS {} "));
    for number in 0..40 {
        responder.handle(start(), one.replace("{}", &number.to_string()).as_bytes(), &mut host);
    }
    assert!(responder.take_output().is_empty() && !host.delivered.is_empty());
    // More replies are held than may wait; the rest is read when they have left.
    let mut said = String::new();
    while let Some(at) = responder.poll_timeout().filter(|at| *at < start().plus(WIRE_HANDSHAKE)) {
        responder.handle_timeout(at, &mut host);
        said.push_str(&String::from_utf8(responder.take_output()).unwrap());
    }
    assert_eq!(host.delivered.len(), 40);
    assert_eq!(said.matches("202 ROGER").count(), 40);
}

#[test]
fn a_session_has_so_many_sends_and_no_more() {
    let (mut responder, mut host) = responder();
    for number in 0..crate::base::limits::WIRE_SENDS {
        responder.handle(start(), send_under("", [7; 32]).as_bytes(), &mut host);
        assert!(!text(&mut responder).contains("709"), "{number}");
    }
    responder.handle(start(), send_under("", [7; 32]).as_bytes(), &mut host);
    assert_eq!((text(&mut responder).as_str(), responder.wants_close()), ("709 TOO MANY MISTAKES\n", true));
}
