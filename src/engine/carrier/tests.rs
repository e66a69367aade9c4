//! Stories of a carrier as its clients see them on the wire; and properties of what is held.

mod bench;
mod days;
mod deposits;
mod registration;

use std::time::Duration;

use crate::base::SessionId;
use crate::engine::api::RequestId;
use crate::engine::carrier::{CarrierInput, CarrierRequest};
use crate::wire::Claim;
use crate::wire::mailbox::{BoxCommand, Count, Part, Said, Selection, Style};

use bench::{BOX, Bench, SMALL, TERMS, fingerprint, object, replay, with_box};

#[test]
fn a_session_goes_no_further_while_its_peer_takes_nothing() {
    let (mut bench, tokens) = with_box();
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)), (201, 202));
    let session = bench.identify(BOX, BOX, None).unwrap();
    let entry = bench.list(session, Selection::default())[0];
    let (mailbox, style) = (fingerprint(BOX).to_string(), Style { keep_unread: true, ..Style::default() });
    let asked = BoxCommand::Retrieve { mailbox, object: entry.object, part: Part::Whole, style }.encode(None);
    bench.lazy = true;
    bench.write(session, asked.repeat(400).as_bytes());
    let sent = bench.sent[&session].len();
    let most = crate::base::limits::OUTPUT_WAITING + 5 * SMALL as usize;
    assert!(sent < most && bench.carrier.is_blocked(session), "{sent}");
    bench.pass(Duration::from_secs(10 * 60));
    assert!(!bench.closed.contains(&session), "that is its driver's business");
    // Each time that the peer takes bytes more follow, up to the last.
    bench.lazy = false;
    bench.input(CarrierInput::CaughtUp(session));
    assert_eq!(bench.replies(session).len(), 400);
}

#[test]
fn neither_owners_nor_who_brings_something_keep_the_others_out() {
    let (mut bench, tokens) = with_box();
    let brought = |bench: &mut Bench| {
        let session = bench.connect();
        let command = BoxCommand::Deposit { token: tokens[0], claim: Claim::of(&object(b'1', SMALL)) };
        assert_eq!(bench.code(session, &command, b""), 201);
        session
    };
    let slow = brought(&mut bench);
    // A session that has shown nothing makes room for any other, and no other session makes room for it.
    for _ in 0..100 {
        bench.connect();
    }
    assert!(!bench.closed.contains(&slow));
    // Owners that watch make room as soon as there are too many of them.
    let mut watching = Vec::new();
    for who in 10..28 {
        bench.invite([who; 16], TERMS);
        assert_eq!(bench.register(who, [who; 16]), Ok(210));
        watching.extend((0..4).map(|_| bench.identify(who, who, None).unwrap()));
    }
    let ended = watching.iter().filter(|session| bench.closed.contains(session)).count();
    assert!((1..=24).contains(&ended) && !bench.closed.contains(&slow), "{ended} gave way");
    brought(&mut bench);
    // Slow depositors make room for owners.
    for _ in 0..64 {
        brought(&mut bench);
    }
    bench.identify(BOX, BOX, None).unwrap();
}

#[test]
fn the_commands_of_a_session_are_done_one_after_the_other() {
    let (mut bench, tokens) = with_box();
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)), (201, 202));
    let session = bench.identify(BOX, BOX, None).unwrap();
    let id = bench.list(session, Selection::default())[0].object;
    // The disk is slow, and all deposits come at once.
    bench.slow = Some(Vec::new());
    let mailbox = fingerprint(BOX).to_string();
    let commands = [
        BoxCommand::Retrieve { mailbox: mailbox.clone(), object: id, part: Part::Whole, style: Style::default() },
        BoxCommand::Check { mailbox: mailbox.clone(), recursive: false },
        BoxCommand::Delete { mailbox: mailbox.clone(), objects: vec![id] },
        BoxCommand::Check { mailbox, recursive: false },
    ];
    let flight: String = commands.iter().map(|command| command.encode(None)).collect();
    bench.write(session, flight.as_bytes());
    assert!(bench.replies(session).is_empty());
    bench.catch_up();
    let counts: Vec<Count> = {
        let replies = bench.replies(session);
        let codes: Vec<_> = replies.iter().map(|(reply, _)| reply.code.number()).collect();
        assert_eq!(codes, [251, 240, 253, 240]);
        let counts = replies.iter().filter(|(reply, _)| reply.code.number() == 240);
        counts.map(|(reply, _)| Count::from_words(&reply.words).unwrap()).collect()
    };
    assert_eq!(counts.iter().map(|count| (count.unread, count.total)).collect::<Vec<_>>(), [(0, 1), (0, 0)]);
}

#[test]
fn settings_hold_for_the_session_or_for_the_mailbox() {
    let (mut bench, tokens) = with_box();
    let session = bench.identify(BOX, BOX, None).unwrap();
    let set = |bench: &mut Bench, global, name: &str, value: &str| {
        let command = BoxCommand::Set { global, name: name.to_owned(), value: value.to_owned() };
        bench.code(session, &command, b"")
    };
    for (global, name, value) in [(false, "JSON", "yes"), (false, "HOLD", "on"), (true, "JSON", "on")] {
        assert_eq!(set(&mut bench, global, name, value), 702, "{name} {value}");
    }
    for days in ["0", "4", "02", "+2", ""] {
        assert_eq!(set(&mut bench, true, "HOLD", days), 702, "{days}");
    }
    assert_eq!(set(&mut bench, true, "HOLD", "1"), 290);
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)), (201, 202));
    let id = bench.list(session, Selection::default())[0].object;
    assert_eq!(set(&mut bench, false, "JSON", "on"), 290);
    assert_eq!(set(&mut bench, false, "READ", "off"), 290);
    let (reply, _) = bench.retrieve(session, id, Part::Whole, Style::default());
    assert_eq!(reply.code.number(), 250);
    assert_eq!(bench.count(session), (1, 1), "it stayed unread");
    let other = bench.identify(BOX, BOX, None).unwrap();
    let (reply, _) = bench.retrieve(other, id, Part::Whole, Style::default());
    assert_eq!(reply.code.number(), 251, "another session has its own");
    // Objects are held for one day after the one on which they came; a restart knows that.
    assert_eq!(replay(&bench.log).mailboxes()[&fingerprint(BOX)].hold_days(), 1);
    bench.pass(Duration::from_secs(2 * 24 * 3600));
    let later = bench.identify(BOX, BOX, None).unwrap();
    assert_eq!(bench.count(later), (0, 0));
    let nobody = bench.connect();
    let command = BoxCommand::Set { global: false, name: "JSON".to_owned(), value: "on".to_owned() };
    assert_eq!(bench.code(nobody, &command, b""), 411);
}

#[test]
fn of_the_sessions_of_one_owner_the_oldest_gives_way() {
    let (mut bench, _) = with_box();
    let sessions: Vec<_> = (0..6).map(|_| bench.identify(BOX, BOX, None).unwrap()).collect();
    let ended: Vec<_> = sessions.iter().filter(|session| bench.closed.contains(session)).collect();
    // One more session was open before.
    assert_eq!(ended, [&sessions[0], &sessions[1]]);
    assert_eq!(bench.count(sessions[5]), (0, 0));
}

#[test]
fn whoever_watches_is_told_what_comes() {
    let (mut bench, tokens) = with_box();
    let session = bench.identify(BOX, BOX, None).unwrap();
    let watch = BoxCommand::Watch { mailbox: fingerprint(BOX).to_string() };
    assert_eq!(bench.code(session, &watch, b""), 260);
    bench.pass(Duration::from_secs(10 * 60));
    assert!(!bench.closed.contains(&session), "it may be silent");
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)), (201, 202));
    let said = bench.said(session);
    let entry = bench.list(session, Selection::default())[0];
    assert_eq!(said, format!("261 {} {}\n", fingerprint(BOX), entry.object));
    bench.input(CarrierInput::Request(RequestId(1), CarrierRequest::Remove(fingerprint(BOX))));
    assert_eq!(bench.answers.pop(), Some(Ok(())));
    assert!(bench.bodies.is_empty());
    assert_eq!(bench.deposit(tokens[1], &object(b'1', SMALL)).0, 420);
    assert_eq!(bench.code(session, &watch, b""), 411);
}

#[test]
fn a_carrier_that_is_switched_off_serves_nobody_and_keeps_what_it_has() {
    let (mut bench, tokens) = with_box();
    let idle = bench.connect();
    assert_eq!(bench.deposit(tokens[0], &object(1, SMALL)), (201, 202));
    bench.closed.clear();
    bench.input(CarrierInput::Request(RequestId(0), CarrierRequest::Serve(false)));
    assert!(bench.closed.contains(&idle), "it goes on");
    let late = SessionId(1_000);
    bench.input(CarrierInput::Accepted(late));
    assert!(bench.closed.contains(&late) && !bench.sent.contains_key(&late), "somebody is served");
    bench.input(CarrierInput::Request(RequestId(0), CarrierRequest::Serve(true)));
    let session = bench.identify(BOX, BOX, None).unwrap();
    assert_eq!(bench.count(session), (1, 1));
}
