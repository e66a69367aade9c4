//! The side that dialled, against scripted peers and against a server.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::tests::{CERTIFICATE, Fake, GREETING, bob, key, known, onion, ready, start};
use super::*;
use crate::base::limits::{
    PIPELINED_OBJECT_BYTES, WIRE_ANSWER, WIRE_CERTIFICATES, WIRE_HANDSHAKE, WIRE_IDLE, WIRE_INFORMATION_LINES,
    WIRE_SESSION,
};
use crate::base::{MacKey, Terms};
use crate::wire::mailbox::BoxCommand;
use crate::wire::{authenticator, digest};

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

/// Connects both machines; every exchange in which the client waits for the server is one round trip.
fn exchange(
    initiator: &mut DeliveryClient,
    host: &mut Fake,
    mut on_event: impl FnMut(&mut DeliveryClient, &Event),
) -> (usize, Vec<Event>) {
    let (mut responder, mut events, mut round_trips) = (Server::new(start(), &Terms::default()), VecDeque::new(), 0);
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
    let mut initiator = DeliveryClient::new(start());
    let mut host = Fake { answer: Some(Status::Roger), ..Fake::default() };
    for number in 0..4 {
        initiator.send(start(), Ticket(number), job(Some(&vec![1; PIPELINED_OBJECT_BYTES]), Some(CERTIFICATE)));
    }
    initiator.finish(start());
    let (round_trips, events) = exchange(&mut initiator, &mut host, |_, _| {});
    assert_eq!(round_trips, 1);
    let accepted = |number| Event::Outcome { ticket: Ticket(number), outcome: Outcome::Accepted };
    // The first message shows the key, and is answered a moment later than the others.
    assert_eq!(events, [accepted(1), accepted(2), accepted(3), accepted(0)]);
    assert!(host.delivered.iter().all(|(_, delivery)| matches!(delivery.sender, Sender::Contact(_))));
    assert!(initiator.wants_close());
}

#[test]
fn a_session_with_nothing_more_to_do_says_quit_and_ends() {
    for jobs in [0, 1] {
        let mut initiator = DeliveryClient::new(start());
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
    let mut initiator = DeliveryClient::new(start());
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
    let mut initiator = DeliveryClient::new(start());
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
    let mut initiator = DeliveryClient::new(start());
    let mut host = Fake { answer: Some(Status::ContentRefused), ..Fake::default() };
    initiator.send(start(), Ticket(1), job(Some(b"sealed to the old one"), Some(b"old")));
    let (_, events) = exchange(&mut initiator, &mut host, |_, _| {});
    let certificate = Event::Certificate { ticket: Ticket(1), bytes: CERTIFICATE.into(), wanted: false };
    assert_eq!(events, [certificate, Event::Outcome { ticket: Ticket(1), outcome: Outcome::Outdated }]);
}

#[test]
fn a_refused_send_is_one_outcome_and_the_session_goes_on() {
    let mut initiator = DeliveryClient::new(start());
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
    let mut initiator = DeliveryClient::new(start());
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
        let mut initiator = DeliveryClient::new(start());
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

/// A client with one pipelined job that hears this from its peer.
fn hears(script: &str) -> Vec<Event> {
    let mut initiator = DeliveryClient::new(start());
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
    let mut initiator = DeliveryClient::new(start());
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
    let mut initiator = DeliveryClient::new(start());
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

/// A peer may say that its answer takes longer; it gets no more time for that.
#[test]
fn information_gives_no_more_time_and_ends_a_session_where_it_is_much() {
    type Hear<'a> = &'a dyn Fn(Timestamp, &[u8]) -> (Option<Timestamp>, bool);
    let (initiator, patron) = (RefCell::new(DeliveryClient::new(start())), RefCell::new(BoxClient::new(start())));
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

/// A peer gets no more time either if it says so about the message that waits for its answer.
#[test]
fn information_about_what_was_brought_gives_no_more_time_either() {
    let mut initiator = DeliveryClient::new(start());
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
        let mut initiator = DeliveryClient::new(start());
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

/// The client learns a certificate that changes; one that changes each time would be work without end.
#[test]
fn a_peer_that_shows_a_new_certificate_each_time_is_left() {
    let mut initiator = DeliveryClient::new(start());
    initiator.handle(start(), GREETING.as_bytes());
    for number in 1..=WIRE_CERTIFICATES + 1 {
        initiator.send(start(), Ticket(number.into()), job(Some(b"x"), Some(CERTIFICATE)));
        assert!(!initiator.wants_close());
        initiator.handle(start(), format!("{number}: 201 99 #1 -\n{number}{number}: 202 ROGER\n").as_bytes());
    }
    assert!(initiator.wants_close());
}
