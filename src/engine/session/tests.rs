//! Both machines against scripted peers, and against each other.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::base::limits::{
    PIPELINED_OBJECT_BYTES, STRANGER_BYTES, WIRE_ANSWER, WIRE_CERTIFICATES, WIRE_DELIVERIES, WIRE_HANDSHAKE, WIRE_IDLE,
    WIRE_INFORMATION_LINES, WIRE_SESSION,
};
use crate::base::{ContactId, MacKey, Onion, Terms};
use crate::wire::mailbox::BoxCommand;
use crate::wire::{authenticator, digest, verify};

const GREETING: &str = "HOWDY RUNE/1 MAX=28311552 CAP=SEND\n";
const CERTIFICATE: &[u8] = b"bob's certificate";

fn start() -> Timestamp {
    Timestamp::from_secs(1_800_000_000)
}

fn key() -> MacKey {
    MacKey::from_bytes([7; 32])
}

fn onion() -> Onion {
    Onion::from_public_key([9; 32])
}

fn bob() -> Address {
    format!("bob@{}", onion()).parse().unwrap()
}

/// A host with one contact, which settles when told to, or at once with `answer`.
#[derive(Default)]
struct Fake {
    delivered: Vec<(Ticket, Delivery)>,
    answer: Option<Status>,
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

fn responder() -> (Responder, Fake) {
    let mut responder = Responder::new(start(), &Terms::default());
    assert_eq!(String::from_utf8(responder.take_output()).unwrap(), GREETING);
    (responder, Fake::default())
}

/// What it says once no answer is held any more.
fn text(responder: &mut Responder) -> String {
    responder.handle_timeout(start().plus(WIRE_ANSWER), &mut Fake::default());
    String::from_utf8(responder.take_output()).unwrap()
}

fn known() -> String {
    data_encoding::HEXLOWER.encode(&digest(CERTIFICATE))
}

fn send(prefix: &str) -> String {
    format!("{prefix}SEND {} CERT={}\n", bob(), known())
}

fn ready(prefix: &str) -> String {
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

/// What one script is answered, after the greeting, by a host that takes everything.
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
        // What follows a SEND that was not understood is not taken for an earlier one.
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
        // Before the object: nothing is stored that cannot be the announced one.
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

fn job(object: Option<&[u8]>, certificate: Option<&[u8]>) -> Job {
    Job {
        to: bob(),
        certificate: certificate.map(digest),
        object: object.map(Arc::from),
        auth: Some(key()),
        importance: Importance::Normal,
        way: Way::Direct,
    }
}

/// Connects both machines; every exchange in which the initiator waits for the other side is one round trip.
fn exchange(
    initiator: &mut Initiator,
    host: &mut Fake,
    mut on_event: impl FnMut(&mut Initiator, &Event),
) -> (usize, Vec<Event>) {
    let (mut responder, mut events, mut round_trips) = (Responder::new(start(), &Terms::default()), VecDeque::new(), 0);
    loop {
        let request = initiator.take_output();
        if request.is_empty() {
            return (round_trips, events.into());
        }
        responder.handle(start(), &request, host);
        round_trips += usize::from(!initiator.wants_close());
        responder.handle_timeout(start().plus(WIRE_ANSWER), host);
        initiator.handle(start(), &responder.take_output());
        for event in initiator.take_events() {
            on_event(initiator, &event);
            events.push_back(event);
        }
    }
}

#[test]
fn a_message_to_a_known_peer_is_one_round_trip() {
    let mut initiator = Initiator::new(start());
    let mut host = Fake { answer: Some(Status::Roger), ..Fake::default() };
    for number in 0..4 {
        initiator.send(start(), Ticket(number), job(Some(&vec![1; PIPELINED_OBJECT_BYTES]), Some(CERTIFICATE)));
    }
    initiator.finish(start());
    let (round_trips, events) = exchange(&mut initiator, &mut host, |_, _| {});
    assert_eq!(round_trips, 1);
    let accepted = |number| Event::Outcome { ticket: Ticket(number), outcome: Outcome::Accepted };
    // The first shows the key, and is answered a moment later than the others.
    assert_eq!(events, [accepted(1), accepted(2), accepted(3), accepted(0)]);
    assert!(host.delivered.iter().all(|(_, delivery)| matches!(delivery.sender, Sender::Contact(_))));
    assert!(initiator.wants_close());
}

#[test]
fn a_session_with_nothing_more_to_do_says_quit_and_ends() {
    for jobs in [0, 1] {
        let mut initiator = Initiator::new(start());
        let mut host = Fake { answer: Some(Status::Roger), ..Fake::default() };
        for number in 0..jobs {
            initiator.send(start(), Ticket(number), job(Some(&[1; 10]), Some(CERTIFICATE)));
        }
        let (_, events) = exchange(&mut initiator, &mut host, |_, _| {});
        assert_eq!((events.len() as u64, initiator.wants_close()), (jobs, false), "it may be used again");
        initiator.finish(start());
        assert!(String::from_utf8(initiator.take_output()).unwrap().contains("QUIT"));
        initiator.handle(start(), b"200 BYE\r\n");
        assert!(initiator.wants_close());
    }
}

#[test]
fn a_large_object_waits_for_201_and_comes_whole() {
    let mut initiator = Initiator::new(start());
    let mut host = Fake { answer: Some(Status::Roger), ..Fake::default() };
    let object: Vec<u8> = (0..PIPELINED_OBJECT_BYTES + 1).map(|index| index as u8).collect();
    initiator.send(start(), Ticket(1), job(Some(&object), Some(CERTIFICATE)));
    let (round_trips, events) = exchange(&mut initiator, &mut host, |_, _| {});
    assert_eq!(round_trips, 2);
    assert_eq!(events, [Event::Outcome { ticket: Ticket(1), outcome: Outcome::Accepted }]);
    assert_eq!(host.delivered[0].1.object, object);
}

#[test]
fn an_unknown_certificate_is_asked_for_and_the_object_provided() {
    let mut initiator = Initiator::new(start());
    let mut host = Fake { answer: Some(Status::Roger), ..Fake::default() };
    initiator.send(start(), Ticket(1), job(None, None));
    initiator.send(start(), Ticket(2), job(None, Some(CERTIFICATE)));
    initiator.send(start(), Ticket(3), job(Some(&vec![1; PIPELINED_OBJECT_BYTES + 1]), Some(b"old")));
    let (_, events) = exchange(&mut initiator, &mut host, |initiator, event| match event {
        Event::Certificate { ticket, bytes, wanted } => {
            assert_eq!((&**bytes, *wanted), (CERTIFICATE, true));
            initiator.provide(start(), *ticket, b"sealed".as_slice().into(), Some(key()));
        }
        Event::Wanted { ticket } => {
            assert_eq!(*ticket, Ticket(2));
            initiator.withdraw(start(), *ticket);
        }
        _ => {}
    });
    let outcomes =
        events.iter().filter(|event| matches!(event, Event::Outcome { outcome: Outcome::Accepted, .. })).count();
    assert_eq!(outcomes, 2);
    assert!(host.delivered.iter().all(|(_, delivery)| delivery.object == b"sealed"));
    assert!(initiator.is_idle());
}

#[test]
fn a_certificate_that_changed_under_a_pipelined_object_is_reported() {
    let mut initiator = Initiator::new(start());
    let mut host = Fake { answer: Some(Status::ContentRefused), ..Fake::default() };
    initiator.send(start(), Ticket(1), job(Some(b"sealed to the old one"), Some(b"old")));
    let (_, events) = exchange(&mut initiator, &mut host, |_, _| {});
    let certificate = Event::Certificate { ticket: Ticket(1), bytes: CERTIFICATE.into(), wanted: false };
    assert_eq!(events, [certificate, Event::Outcome { ticket: Ticket(1), outcome: Outcome::Outdated }]);
}

#[test]
fn a_refused_send_is_one_outcome_and_the_session_goes_on() {
    let mut initiator = Initiator::new(start());
    let mut host = Fake { answer: Some(Status::Roger), ..Fake::default() };
    let mut other = job(Some(b"x"), Some(CERTIFICATE));
    other.to = bob().to_string().replace("bob", "eve").parse().unwrap();
    initiator.send(start(), Ticket(1), other);
    initiator.send(start(), Ticket(2), job(Some(b"y"), Some(CERTIFICATE)));
    let (round_trips, events) = exchange(&mut initiator, &mut host, |_, _| {});
    let refused = Outcome::Refused(Status::NotAvailable.code());
    assert_eq!(round_trips, 1);
    assert_eq!(
        events,
        [
            Event::Outcome { ticket: Ticket(1), outcome: refused },
            Event::Outcome { ticket: Ticket(2), outcome: Outcome::Accepted },
        ]
    );
}

#[test]
fn what_is_carried_is_shown_as_its_senders_and_goes_on_with_another_certificate() {
    let mut initiator = Initiator::new(start());
    let mut host = Fake { answer: Some(Status::Roger), ..Fake::default() };
    for (number, size) in [(1, 5), (2, PIPELINED_OBJECT_BYTES + 1)] {
        let object = vec![7; size];
        let made = authenticator(&key(), onion(), &Claim::of(&object));
        let way = Way::Carrying(Some(made));
        initiator.send(start(), Ticket(number), Job { auth: None, way, ..job(Some(&object), Some(b"old")) });
    }
    let (_, events) = exchange(&mut initiator, &mut host, |initiator, event| {
        if let Event::Certificate { ticket, wanted: true, .. } = event {
            initiator.resume(start(), *ticket);
        }
    });
    let accepted = |event: &&Event| matches!(event, Event::Outcome { outcome: Outcome::Accepted, .. });
    assert_eq!(events.iter().filter(accepted).count(), 2);
    let mut sizes: Vec<_> = host.delivered.iter().map(|(_, delivery)| delivery.object.len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [5, PIPELINED_OBJECT_BYTES + 1]);
    assert!(host.delivered.iter().all(|(_, delivery)| matches!(delivery.sender, Sender::Contact(_))));
}

#[test]
fn whoever_is_asked_to_carry_has_no_certificate_to_show() {
    let object: &[u8] = b"x";
    for (answer, accepted) in [("201 99 - -".to_owned(), true), (format!("201 99 {} -", known()), false)] {
        let mut initiator = Initiator::new(start());
        let way = Way::Carried(Some(MacKey::from_bytes([3; 32])));
        initiator.send(start(), Ticket(1), Job { way, ..job(Some(object), Some(CERTIFICATE)) });
        let said = String::from_utf8(initiator.take_output()).unwrap();
        let of = |key: [u8; 32]| authenticator(&MacKey::from_bytes(key), onion(), &Claim::of(object));
        let hex = |mac: Mac| data_encoding::HEXLOWER.encode(&mac);
        assert!(said.contains(&format!(" AUTH={} ONWARD={}\n", hex(of([7; 32])), hex(of([3; 32])))), "{said}");
        initiator.handle(start(), format!("{GREETING}1: {answer}\n1: 202 ROGER\n").as_bytes());
        let ended = initiator.take_events();
        assert_eq!(ended == [Event::Outcome { ticket: Ticket(1), outcome: Outcome::Accepted }], accepted, "{ended:?}");
    }
}

/// An initiator with one pipelined job that hears this from its peer.
fn hears(script: &str) -> Vec<Event> {
    let mut initiator = Initiator::new(start());
    initiator.send(start(), Ticket(5), job(Some(b"x"), Some(CERTIFICATE)));
    for byte in script.as_bytes() {
        initiator.handle(start(), &[*byte]);
    }
    initiator.disconnected();
    initiator.take_events()
}

#[test]
fn whatever_a_peer_says_each_job_ends_once() {
    let failed = |failure| Event::Failed { unresolved: vec![Ticket(5)], failure };
    let outcome = |outcome| Event::Outcome { ticket: Ticket(5), outcome };
    let refused = |status: Status| outcome(Outcome::Refused(status.code()));
    let ready = ready("1: ");
    let gone = Event::Failed { unresolved: Vec::new(), failure: Failure::Disconnected };
    for (script, expected) in [
        (String::new(), vec![failed(Failure::Disconnected)]),
        ("220 smtp.example.org ESMTP\n".to_owned(), vec![failed(Failure::Closed(Code::new(220).unwrap()))]),
        ("HOWDY RUNE/9 max=1\n".to_owned(), vec![failed(Failure::Version)]),
        (GREETING.repeat(2), vec![failed(Failure::Protocol)]),
        (ready.clone(), vec![failed(Failure::Protocol)]),
        (format!("{GREETING}2: 202 ROGER\n"), vec![failed(Failure::Protocol)]),
        (format!("{GREETING}1: 202 ROGER\n"), vec![failed(Failure::Protocol)]),
        (format!("{GREETING}{ready}{ready}"), vec![failed(Failure::Protocol)]),
        (format!("{GREETING}1: 201 1 {} -\n", "0".repeat(64)), vec![failed(Failure::Protocol)]),
        (format!("{GREETING}1: 201 1 #99999999 -\n"), vec![failed(Failure::Protocol)]),
        (format!("{GREETING}1: 201 99 - -\n1: 202 ROGER\n"), vec![failed(Failure::Protocol)]),
        (format!("{GREETING}100 #3\nabc"), vec![failed(Failure::Protocol)]),
        (format!("{GREETING}{ready}1: 202 #3\nabc"), vec![failed(Failure::Protocol)]),
        (format!("{GREETING}{ready}1: 202 #9999999\n"), vec![failed(Failure::Protocol)]),
        (
            format!("{GREETING}100 nice\n\n{ready}1: 100- wait\n1: 202 ROGER\n"),
            vec![outcome(Outcome::Accepted), gone.clone()],
        ),
        (format!("{GREETING}{ready}1: 409 X\n"), vec![refused(Status::ContentRefused), gone.clone()]),
        (
            format!("{GREETING}{ready}1: 455 NEW\n"),
            vec![outcome(Outcome::Refused(Code::new(455).unwrap())), gone.clone()],
        ),
        (format!("{GREETING}1: 420 A\n1: 711 B\n"), vec![refused(Status::NotAvailable), gone.clone()]),
        (format!("{GREETING}1: 420 A\n"), vec![refused(Status::NotAvailable), gone]),
        (format!("{GREETING}708 TIME-OUT\n"), vec![failed(Failure::Closed(Status::TimeOut.code()))]),
        (
            format!("{GREETING}{ready}1: 705 SERVER ERROR\n"),
            vec![
                refused(Status::ServerError),
                Event::Failed { unresolved: Vec::new(), failure: Failure::Closed(Status::ServerError.code()) },
            ],
        ),
    ] {
        assert_eq!(hears(&script), expected, "{script}");
    }
}

#[test]
fn an_initiator_waits_for_its_own_side_but_not_for_ever_for_the_other() {
    let mut initiator = Initiator::new(start());
    initiator.send(start(), Ticket(1), job(None, None));
    assert_eq!(initiator.poll_timeout(), Some(start().plus(WIRE_HANDSHAKE)));
    initiator.handle(start(), format!("{GREETING}1: 201 1 #1 -\nx").as_bytes());
    assert_eq!(initiator.poll_timeout(), Some(start().plus(WIRE_SESSION)), "we owe the object");
    let object: Arc<[u8]> = vec![0; 8 << 20].into();
    initiator.provide(start(), Ticket(1), object, None);
    initiator
        .handle(start(), format!("1: 201 28311552 {} -\n", data_encoding::HEXLOWER.encode(&digest(b"x"))).as_bytes());
    assert_eq!(
        initiator.poll_timeout(),
        Some(start().plus(WIRE_IDLE + Duration::from_secs(512))),
        "8 MiB take a while"
    );
    initiator.handle_timeout(start().plus(WIRE_SESSION));
    let failed = Event::Failed { unresolved: vec![Ticket(1)], failure: Failure::TimeOut };
    assert_eq!(initiator.take_events().last(), Some(&failed));
    assert!(initiator.wants_close() && initiator.poll_timeout().is_none());
}

#[test]
fn more_jobs_than_room_take_turns() {
    let mut initiator = Initiator::new(start());
    let mut host = Fake { answer: Some(Status::Roger), ..Fake::default() };
    for number in 0..10 {
        initiator.send(start(), Ticket(number), job(Some(b"x"), Some(CERTIFICATE)));
    }
    assert!(!initiator.has_room(start()));
    let (_, events) = exchange(&mut initiator, &mut host, |_, _| {});
    assert_eq!((events.len(), host.delivered.len()), (10, 10));
    assert!(initiator.has_room(start()));
    assert!(!initiator.has_room(start().plus(WIRE_SESSION)));
}

/// A peer may say that it takes longer; it gets no more time for it.
#[test]
fn information_gives_no_more_time_and_ends_a_session_where_it_is_much() {
    type Hear<'a> = &'a dyn Fn(Timestamp, &[u8]) -> (Option<Timestamp>, bool);
    let (initiator, patron) = (RefCell::new(Initiator::new(start())), RefCell::new(Patron::new(start())));
    initiator.borrow_mut().send(start(), Ticket(1), job(Some(b"x"), Some(CERTIFICATE)));
    let check = BoxCommand::Check { mailbox: "0".repeat(64), recursive: false };
    patron.borrow_mut().ask(start(), Ticket(1), &check, b"", 0);
    let sending = |now, bytes: &[u8]| {
        let mut machine = initiator.borrow_mut();
        machine.handle(now, bytes);
        (machine.poll_timeout(), machine.wants_close())
    };
    let asking = |now, bytes: &[u8]| {
        let mut machine = patron.borrow_mut();
        machine.handle(now, bytes);
        (machine.poll_timeout(), machine.wants_close())
    };
    let sides: [Hear<'_>; 2] = [&sending, &asking];
    for hear in sides {
        let answer_due = start().plus(WIRE_IDLE);
        assert_eq!(hear(start(), GREETING.as_bytes()).0, Some(answer_due));
        for (number, line) in
            ["100 wait\n", "380 going on\n", "\n", "199 new\n", "100", " wa", "it\n"].iter().enumerate()
        {
            let now = start().plus(Duration::from_secs(15 * number as u64));
            assert_eq!(hear(now, line.as_bytes()), (Some(answer_due), false), "{line:?}");
        }
        let most = WIRE_INFORMATION_LINES - 5;
        assert_eq!(hear(start(), "100 wait\n".repeat(most).as_bytes()), (Some(answer_due), false));
        assert_eq!(hear(start(), b"100 wait\n"), (None, true), "one line too many");
    }
}

/// Nor where it says so of the very message that waits for its answer.
#[test]
fn information_about_what_was_brought_gives_no_more_time_either() {
    let mut initiator = Initiator::new(start());
    initiator.send(start(), Ticket(1), job(Some(b"x"), Some(CERTIFICATE)));
    initiator.handle(start(), GREETING.as_bytes());
    let answer_due = Some(start().plus(WIRE_IDLE));
    let said = ["1: 100 wait\n", "1: 380 going on\n", "1: 202- nearly\n"];
    for (number, line) in (0..WIRE_INFORMATION_LINES as u64).zip(said.iter().cycle()) {
        initiator.handle(start().plus(Duration::from_secs(3 * number)), line.as_bytes());
        assert_eq!((initiator.poll_timeout(), initiator.wants_close()), (answer_due, false), "{line:?}");
    }
    initiator.handle(start(), b"1: 100 wait\n");
    assert!(initiator.wants_close(), "one line too many");
}

#[test]
fn a_server_that_talks_without_end_is_left_at_once() {
    for talk in [
        "\n".repeat(100_000),
        "100 wait\n".repeat(10_000),
        format!("100 {}\n", "a ".repeat(4000)),
        format!("100 {}\n", "a ".repeat(400)).repeat(10),
        GREETING.repeat(2),
        "x".repeat(100_000),
    ] {
        let mut initiator = Initiator::new(start());
        initiator.send(start(), Ticket(1), job(Some(b"x"), Some(CERTIFICATE)));
        initiator.handle(start(), GREETING.as_bytes());
        let mut heard = 0;
        for piece in talk.as_bytes().chunks(100) {
            initiator.handle(start(), piece);
            heard += piece.len();
            if initiator.wants_close() {
                break;
            }
        }
        assert!(initiator.wants_close() && heard <= 5 * 1024, "{heard} octets");
    }
}

/// A certificate that changes is learnt; one that changes each time is work without end.
#[test]
fn a_peer_that_shows_a_new_certificate_each_time_is_left() {
    let mut initiator = Initiator::new(start());
    initiator.handle(start(), GREETING.as_bytes());
    for number in 1..=WIRE_CERTIFICATES + 1 {
        initiator.send(start(), Ticket(number.into()), job(Some(b"x"), Some(CERTIFICATE)));
        assert!(!initiator.wants_close());
        initiator.handle(start(), format!("{number}: 201 99 #1 -\n{number}{number}: 202 ROGER\n").as_bytes());
    }
    assert!(initiator.wants_close());
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
    // Nothing shown, a key for the first time, a key that fits nothing, a name that is not here.
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
