//! Stories of a carrier as its clients see them on the wire; and properties of what is held.

mod bench;

use std::time::Duration;

use crate::base::limits::{CARRIER_INVITATIONS, WIRE_ANSWER};
use crate::base::{ObjectId, SessionId};
use crate::engine::carrier::{Carrier, CarrierInput, CarrierLimits, CarrierRequest, CarrierRequestError, Terms};
use crate::engine::effect::CommitError;
use crate::engine::harness::profile;
use crate::engine::request::RequestId;
use crate::mail::proof::RegistrationProof;
use crate::wire::Claim;
use crate::wire::mailbox::{BoxCommand, Count, Entry, Part, Piece, Policy, Registration, Said, Selection, Style};
use crate::wire::token::{Class, begin_of, epoch, hash_of};

use bench::{
    Bench, CARRIER, DROP, MALLORY, OTHER, SECRET, SMALL, TERMS, fingerprint, object, replay, small, start, today,
    tokens, with_drop,
};

#[test]
fn an_invitation_makes_one_mailbox_and_registering_again_is_harmless() {
    let mut bench = Bench::new();
    assert_eq!(bench.register(DROP, SECRET), Err(417));
    bench.invite(SECRET, TERMS);
    assert_eq!(bench.register(DROP, SECRET), Ok(210));
    assert_eq!(bench.register(OTHER, SECRET), Err(417));
    assert_eq!(bench.register(DROP, SECRET), Ok(210));
    assert_eq!(bench.carrier.held().mailboxes().len(), 1);
    bench.invite([6; 16], TERMS);
    bench.pass(Duration::from_secs(8 * 24 * 3600));
    assert_eq!(bench.register(OTHER, [6; 16]), Err(417), "it is forgotten");
    bench.invite([7; 16], TERMS);
    bench.now = begin_of(epoch(bench.now) + 7).plus(Duration::from_secs(23 * 3600));
    assert_eq!(bench.register(OTHER, [7; 16]), Err(418));
    let session = bench.connect();
    assert_eq!(bench.challenge(session, OTHER, None), Err(405));
    // Of an invitation that is none nothing else is looked at.
    let register = Registration { address: None, invitation: Some([9; 16]), certificate: 1 };
    assert_eq!(bench.code(session, &BoxCommand::Register(register), b"x"), 417);
}

#[test]
fn of_two_who_answer_with_one_invitation_one_gets_a_mailbox() {
    let mut bench = Bench::new();
    bench.invite(SECRET, TERMS);
    let (one, other) = (bench.connect(), bench.connect());
    let first = bench.challenge(one, DROP, Some(SECRET)).unwrap();
    let second = bench.challenge(other, OTHER, Some(SECRET)).unwrap();
    assert_eq!(bench.accept(other, OTHER, &second), 210);
    assert_eq!(bench.accept(one, DROP, &first), 417);
    assert!(bench.closed.contains(&one));
    assert_eq!(bench.carrier.held().mailboxes().keys().collect::<Vec<_>>(), [&fingerprint(OTHER)]);
}

#[test]
fn only_the_owner_of_the_key_meets_the_challenge() {
    let mut bench = Bench::new();
    bench.invite(SECRET, TERMS);
    for wrong in 0..4 {
        let session = bench.connect();
        let mut proof = bench.challenge(session, DROP, Some(SECRET)).unwrap();
        let by = if wrong == 0 { MALLORY } else { DROP };
        match wrong {
            1 => proof.nonce = [0; 32],
            2 => proof.key = fingerprint(OTHER),
            3 => bench.now = bench.now.plus(Duration::from_secs(601)),
            _ => {}
        }
        assert_eq!(bench.accept(session, by, &proof), 410, "{wrong}");
        assert!(bench.closed.contains(&session));
    }
    let session = bench.connect();
    let proof = RegistrationProof {
        server: profile("box", CARRIER, start()).public.onion(),
        key: fingerprint(DROP),
        nonce: [0; 32],
    };
    assert_eq!(bench.accept(session, DROP, &proof), 410);
    assert!(bench.carrier.held().mailboxes().is_empty());
}

#[test]
fn anybody_may_register_where_the_owner_allows_it() {
    let mut bench = Bench::new();
    bench.limit(CarrierLimits { usual: TERMS, free: true, ..CarrierLimits::default() });
    let session = bench.connect();
    let proof = bench.challenge(session, DROP, None).unwrap();
    assert_eq!(bench.accept(session, DROP, &proof), 210);
    assert_eq!(bench.carrier.held().mailboxes()[&fingerprint(DROP)].terms(), TERMS);
    let register = Registration { address: Some("bob@x".to_owned()), invitation: None, certificate: 1 };
    assert_eq!(bench.code(session, &BoxCommand::Register(register), b"x"), 704);
}

#[test]
fn a_mailbox_opens_to_its_key_only_and_an_unknown_name_is_asked_for_a_signature_too() {
    let (mut bench, _) = with_drop();
    assert_eq!(bench.identify(DROP, MALLORY, None).unwrap_err(), 411);
    assert_eq!(bench.identify(OTHER, OTHER, None).unwrap_err(), 411);
    // Our own key stands for one that is not there, and opens nothing.
    assert_eq!(bench.identify(OTHER, CARRIER, None).unwrap_err(), 411);
    assert_eq!(bench.identify(DROP, DROP, Some("CHECK x")).unwrap_err(), 411);
    let check = BoxCommand::Check { mailbox: fingerprint(DROP).to_string(), recursive: false };
    let session = bench.connect();
    assert_eq!(bench.code(session, &check, b""), 411);
    assert!(bench.closed.contains(&session));
    let session = bench.connect();
    let respond = BoxCommand::Respond { nonce: [6; 32], command: None, signature: 3 };
    assert_eq!(bench.code(session, &respond, b"abc"), 411);
}

#[test]
fn an_identification_counts_as_long_as_the_policy_says() {
    let (mut bench, _) = with_drop();
    bench.set_policy(Policy::TimeOut(60));
    let session = bench.identify(DROP, DROP, None).unwrap();
    assert_eq!(bench.count(session), (0, 0));
    bench.now = bench.now.plus(Duration::from_secs(61));
    assert_eq!(bench.delete(session, vec![ObjectId::from_bytes([0; 16])]), 411);

    let session = bench.identify(DROP, DROP, None).unwrap();
    let hour = Duration::from_secs(3600);
    bench.now = bench.now.plus(hour);
    bench.input(CarrierInput::ClockSet(crate::base::ClockStep::Forward(hour)));
    assert_eq!(bench.count(session), (0, 0), "a clock that was set ends nothing early");

    bench.set_policy(Policy::Command);
    let check = format!("CHECK {}", fingerprint(DROP));
    let session = bench.identify(DROP, DROP, Some(&check)).unwrap();
    assert_eq!(bench.count(session), (0, 0));
    assert!(bench.carrier.sessions[&session].is_identified(), "it is an owner's, whatever it may do");
    assert_eq!(bench.delete(session, vec![ObjectId::from_bytes([0; 16])]), 411);
    let session = bench.identify(DROP, DROP, Some(&check)).unwrap();
    assert_eq!(bench.delete(session, vec![ObjectId::from_bytes([0; 16])]), 411);
    assert_eq!(bench.identify(DROP, DROP, None).unwrap_err(), 411);
}

#[test]
fn what_is_left_is_collected_and_deleted() {
    let (mut bench, tokens) = with_drop();
    let left: Vec<_> = (0..3).map(|n| object(b'a' + n, SMALL)).collect();
    for (token, object) in tokens.iter().zip(&left) {
        assert_eq!(bench.deposit(*token, object), (201, 202));
    }
    let session = bench.identify(DROP, DROP, None).unwrap();
    assert_eq!(bench.count(session), (3, 3));
    let entries = bench.list(session, Selection::default());
    assert_eq!(entries.len(), 3);
    assert!(entries.iter().all(|entry| entry.size == SMALL && entry.day == today() && !entry.read));
    let mut collected = Vec::new();
    for entry in &entries {
        let (reply, blocks) = bench.retrieve(session, entry.object, Part::Whole, Style::default());
        assert_eq!(reply.code.number(), 251);
        collected.push(blocks[0].clone());
    }
    collected.sort();
    assert_eq!(collected, left);
    assert_eq!(bench.count(session), (0, 3));
    let after = Some(entries[0].object);
    assert_eq!(
        bench.list(session, Selection { after, limit: Some(1), ..Selection::default() }),
        [Entry { read: true, ..entries[1] }]
    );
    assert!(bench.list(session, Selection { read: Some(false), ..Selection::default() }).is_empty());
    assert_eq!(bench.list(session, Selection { since: Some(today()), ..Selection::default() }).len(), 3);
    assert!(bench.list(session, Selection { since: Some(today() + 1), ..Selection::default() }).is_empty());
    assert_eq!(bench.delete(session, vec![entries[0].object, entries[1].object]), 253);
    assert_eq!(bench.delete(session, vec![entries[0].object]), 703);
    assert_eq!(bench.count(session), (0, 1));
    assert_eq!(bench.retrieve(session, entries[0].object, Part::Whole, Style::default()).0.code.number(), 703);
}

#[test]
fn a_large_object_is_fetched_in_parts_and_as_json() {
    let mut bench = Bench::new();
    let class = Class::of(4 << 20).unwrap();
    bench.invite(SECRET, Terms { quota: 8 << 20, ..TERMS });
    assert_eq!(bench.register(DROP, SECRET), Ok(210));
    let session = bench.identify(DROP, DROP, None).unwrap();
    let tokens = tokens(1, today(), class, 1);
    assert_eq!(bench.upload(session, today(), class, &tokens), 220);
    let mut left = object(b'x', class.bytes());
    left[3_000_000] = b'y';
    assert_eq!(bench.deposit(tokens[0], &left), (201, 202));
    let id = bench.list(session, Selection::default())[0].object;
    let (mut got, mut part) = (Vec::new(), Part::Whole);
    while (got.len() as u64) < class.bytes() {
        assert_eq!(bench.count(session), (1, 1));
        let (reply, blocks) = bench.retrieve(session, id, part, Style::default());
        assert_eq!(reply.code.number(), 252);
        let piece = Piece::from_words(&reply.words).unwrap();
        assert_eq!(piece, Piece { offset: got.len() as u64, size: blocks[0].len() as u64 });
        got.extend_from_slice(&blocks[0]);
        part = Part::Range { offset: got.len() as u64, length: None };
    }
    assert_eq!(got, left);
    assert_eq!(bench.count(session), (0, 1));
    let (offset, length) = (3_000_000, Some(3));
    let style = Style { json: true, pretty: true, keep_unread: true };
    let (reply, blocks) = bench.retrieve(session, id, Part::Range { offset, length }, style);
    assert_eq!(reply.code.number(), 250);
    let json: serde_json::Value = serde_json::from_slice(&blocks[0]).unwrap();
    assert_eq!(
        (json["offset"].as_u64(), json["object"].as_str(), json["schema"].as_u64()),
        (Some(offset), Some("eXh4"), Some(1))
    );
    let range = Part::Range { offset: class.bytes(), length: None };
    assert_eq!(bench.retrieve(session, id, range, style).0.code.number(), 702);
}

#[test]
fn a_token_admits_one_object_once_and_nothing_says_why_it_admits_no_more() {
    let (mut bench, tokens) = with_drop();
    let (first, second) = (object(b'1', SMALL), object(b'2', SMALL));
    assert_eq!(bench.deposit(tokens[0], &first), (201, 202));
    // The answer was lost: the same again is there already.
    assert_eq!(bench.deposit(tokens[0], &first), (201, 202));
    assert_eq!(bench.carrier.held().mailboxes()[&fingerprint(DROP)].objects().len(), 1);
    let tomorrow = self::tokens(1, today() + 1, small(), 1);
    let refusals =
        [(tokens[0], &second), ([9; 32], &second), (tomorrow[0], &second), (tokens[1], &object(b'3', 4 * SMALL))];
    for (token, object) in refusals {
        let session = bench.connect();
        bench.write(session, BoxCommand::Deposit { token, claim: Claim::of(object) }.encode(None).as_bytes());
        assert_eq!(bench.said(session), "420 NOT AVAILABLE\n");
    }
    // Also after its owner has collected and deleted it.
    let session = bench.identify(DROP, DROP, None).unwrap();
    let entries = bench.list(session, Selection::default());
    assert_eq!(bench.delete(session, vec![entries[0].object]), 253);
    assert_eq!(bench.deposit(tokens[0], &first), (201, 202));
    assert_eq!(bench.count(session), (0, 0));
    assert_eq!(bench.deposit(tokens[0], &second).0, 420);
}

#[test]
fn a_token_that_another_box_has_stays_there() {
    let (mut bench, tokens) = with_drop();
    bench.invite([6; 16], TERMS);
    assert_eq!(bench.register(MALLORY, [6; 16]), Ok(210));
    let session = bench.identify(MALLORY, MALLORY, None).unwrap();
    assert_eq!(bench.upload(session, today(), small(), &tokens), 220);
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)), (201, 202));
    let objects = |bench: &Bench, of| bench.carrier.held().mailboxes()[&fingerprint(of)].objects().len();
    assert_eq!((objects(&bench, DROP), objects(&bench, MALLORY)), (1, 0));
    bench.input(CarrierInput::Request(RequestId(1), CarrierRequest::Remove(fingerprint(DROP))));
    assert_eq!(bench.deposit(tokens[1], &object(b'1', SMALL)).0, 420);
}

#[test]
fn a_session_goes_no_further_while_its_peer_takes_nothing() {
    let (mut bench, tokens) = with_drop();
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)), (201, 202));
    let session = bench.identify(DROP, DROP, None).unwrap();
    let entry = bench.list(session, Selection::default())[0];
    let (mailbox, style) = (fingerprint(DROP).to_string(), Style { keep_unread: true, ..Style::default() });
    let asked = BoxCommand::Retrieve { mailbox, object: entry.object, part: Part::Whole, style }.encode(None);
    bench.lazy = true;
    bench.write(session, asked.repeat(400).as_bytes());
    let sent = bench.sent[&session].len();
    let most = crate::base::limits::OUTPUT_WAITING + 5 * SMALL as usize;
    assert!(sent < most && bench.carrier.is_blocked(session), "{sent}");
    bench.pass(Duration::from_secs(10 * 60));
    assert!(!bench.closed.contains(&session), "that is its driver's business");
    // What a peer takes is followed by more, up to the last.
    bench.lazy = false;
    bench.input(CarrierInput::CaughtUp(session));
    assert_eq!(bench.replies(session).len(), 400);
}

#[test]
fn neither_owners_nor_who_brings_something_keep_the_others_out() {
    let (mut bench, tokens) = with_drop();
    let brought = |bench: &mut Bench| {
        let session = bench.connect();
        let command = BoxCommand::Deposit { token: tokens[0], claim: Claim::of(&object(b'1', SMALL)) };
        assert_eq!(bench.code(session, &command, b""), 201);
        session
    };
    let slow = brought(&mut bench);
    // Who has shown nothing makes room for anybody, and nobody else does for them.
    for _ in 0..100 {
        bench.connect();
    }
    assert!(!bench.closed.contains(&slow));
    // Owners who watch make room as soon as there are too many of them.
    let mut watching = Vec::new();
    for who in 10..28 {
        bench.invite([who; 16], TERMS);
        assert_eq!(bench.register(who, [who; 16]), Ok(210));
        watching.extend((0..4).map(|_| bench.identify(who, who, None).unwrap()));
    }
    let ended = watching.iter().filter(|session| bench.closed.contains(session)).count();
    assert!((1..=24).contains(&ended) && !bench.closed.contains(&slow), "{ended} gave way");
    brought(&mut bench);
    // And who brings something, slowly, makes room for owners.
    for _ in 0..64 {
        brought(&mut bench);
    }
    bench.identify(DROP, DROP, None).unwrap();
}

#[test]
fn a_page_is_given_to_who_has_its_token_and_lets_one_answer_in() {
    let (mut bench, tokens) = with_drop();
    let (page, other) = (vec![7; 4096], vec![8; 4096]);
    let (token, last) = ([3; 32], today() + 2);
    let keep = |bench: &mut Bench, session, page: &[u8], name: [u8; 32], until| {
        bench.code(session, &BoxCommand::Page { name, until, size: page.len() as u64 }, page)
    };
    let fetch = |bench: &mut Bench, token| {
        let session = bench.connect();
        let (reply, blocks) = bench.ask(session, &BoxCommand::Fetch { token }, b"").remove(0);
        (reply.code.number(), blocks.into_iter().next().unwrap_or_default())
    };
    let stranger = bench.connect();
    assert_eq!(keep(&mut bench, stranger, &page, hash_of(&token), last), 411);
    let session = bench.identify(DROP, DROP, None).unwrap();
    assert_eq!(fetch(&mut bench, token).0, 420);
    assert_eq!(bench.deposit(token, &object(b'1', SMALL)).0, 420);
    assert_eq!(keep(&mut bench, session, &page, hash_of(&token), last), 221);
    assert_eq!(fetch(&mut bench, token), (251, page.clone()));
    for (bytes, name, until) in [
        (&page[1..], hash_of(&[4; 32]), last),
        (&page[..], hash_of(&[4; 32]), today() + 34),
        (&page[..], hash_of(&[4; 32]), today() - 3),
        (&page[..], hash_of(&tokens[0]), last),
    ] {
        assert_eq!(keep(&mut bench, session, bytes, name, until), 702);
    }
    // One answer, of the size of a card.
    assert_eq!(bench.deposit(token, &object(b'0', 16 * SMALL)).0, 420);
    assert_eq!(bench.deposit(token, &object(b'1', 4 * SMALL)), (201, 202));
    assert_eq!(bench.deposit(token, &object(b'1', 4 * SMALL)), (201, 202));
    assert_eq!(bench.deposit(token, &object(b'2', SMALL)).0, 420);
    assert_eq!(bench.count(session), (1, 1));
    // Another in its place lets nothing more in.
    assert_eq!(keep(&mut bench, session, &other, hash_of(&token), last), 221);
    assert_eq!(fetch(&mut bench, token), (251, other.clone()));
    assert_eq!(bench.deposit(token, &object(b'2', SMALL)).0, 420);
    // Nobody else has it.
    bench.invite([6; 16], TERMS);
    assert_eq!(bench.register(MALLORY, [6; 16]), Ok(210));
    let mallory = bench.identify(MALLORY, MALLORY, None).unwrap();
    assert_eq!(keep(&mut bench, mallory, &page, hash_of(&token), last), 702);
    // It counts, and what may come for it: 8 of 64 are for tokens, 4 lie there and 1 is this.
    let mut kept = 0;
    while keep(&mut bench, session, &page, hash_of(&[100 + kept; 32]), last) == 221 {
        kept += 1;
    }
    assert_eq!(kept, (64 - 8 - 4 - 1) / 5);
    assert_eq!(fetch(&mut bench, [100; 32]).0, 251);
    bench.pass(Duration::from_secs(3 * 24 * 3600));
    assert_eq!(fetch(&mut bench, token).0, 420, "its last day is over");
    assert_eq!(bench.deposit([100; 32], &object(b'1', SMALL)).0, 420);
    let mailbox = &bench.carrier.held().mailboxes()[&fingerprint(DROP)];
    assert_eq!((mailbox.pages().count(), mailbox.outstanding()), (0, 8 * SMALL));
}

#[test]
fn what_is_no_object_burns_no_token() {
    let (mut bench, tokens) = with_drop();
    assert_eq!(bench.deposit(tokens[0], &object(b'!', SMALL)), (201, 409));
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)), (201, 202));
}

#[test]
fn a_failed_commit_burns_no_token_and_doubles_nothing() {
    let (mut bench, tokens) = with_drop();
    bench.faults.push_back(CommitError::NoSpace);
    // A full disk is nobody's business.
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)), (201, 420));
    bench.faults.push_back(CommitError::Io);
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)), (201, 708));
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)), (201, 202));
    let session = bench.identify(DROP, DROP, None).unwrap();
    assert_eq!(bench.count(session), (1, 1));
}

#[test]
fn two_who_bring_the_same_at_once_are_both_told_and_another_object_is_refused() {
    let (mut bench, tokens) = with_drop();
    let (same, other) = (object(b'1', SMALL), object(b'2', SMALL));
    let sessions: Vec<_> = (0..3).map(|_| bench.connect()).collect();
    let brought = [&same, &same, &other];
    // All are admitted before any comes.
    for (session, object) in sessions.iter().zip(brought) {
        let command = BoxCommand::Deposit { token: tokens[0], claim: Claim::of(object) };
        assert_eq!(bench.code(*session, &command, b""), 201);
    }
    bench.slow = Some(Vec::new());
    for (session, object) in sessions.iter().zip(brought) {
        bench.write(*session, &[format!("MESSAGE - #{SMALL}\n").as_bytes(), object].concat());
    }
    assert_eq!(bench.said(sessions[0]), "");
    bench.catch_up();
    let said: Vec<_> = sessions.iter().map(|session| bench.said(*session)).collect();
    assert_eq!(said, ["202 ROGER\n", "202 ROGER\n", "420 NOT AVAILABLE\n"]);
    assert_eq!(bench.carrier.held().mailboxes()[&fingerprint(DROP)].objects().len(), 1);
}

#[test]
fn tokens_that_would_not_fit_the_quota_are_refused_and_a_set_is_fixed() {
    let (mut bench, first) = with_drop();
    let session = bench.identify(DROP, DROP, None).unwrap();
    let upload = |bench: &mut Bench, day, count| bench.upload(session, day, small(), &tokens(1, day, small(), count));
    // 8 of 64 are outstanding.
    assert_eq!(upload(&mut bench, today() + 1, 64), 452);
    assert_eq!(upload(&mut bench, today() + 1, 32), 220);
    assert_eq!(upload(&mut bench, today() + 1, 32), 220);
    assert_eq!(upload(&mut bench, today() + 1, 16), 702);
    assert_eq!(upload(&mut bench, today() + 2, 32), 452);
    assert_eq!(upload(&mut bench, today() + 2, 16), 220);
    assert_eq!(upload(&mut bench, today() + 3, 3), 702);
    assert_eq!(upload(&mut bench, today() + 31, 1), 702);
    assert_eq!(upload(&mut bench, today() - 15, 1), 702);
    let unordered = [[2; 32], [1; 32]].concat();
    let command = BoxCommand::Tokens { epoch: today() + 3, class: 12, size: 64 };
    assert_eq!(bench.code(session, &command, &unordered), 702);
    assert_eq!(bench.code(session, &BoxCommand::Tokens { epoch: today(), class: 13, size: 32 }, &[1; 32]), 702);
    assert_eq!(bench.code(session, &BoxCommand::Tokens { epoch: today(), class: 12, size: 31 }, &[1; 31]), 702);
    // What is stored counts as what was outstanding did.
    assert_eq!(bench.deposit(first[0], &object(b'1', SMALL)), (201, 202));
    assert_eq!(upload(&mut bench, today() + 4, 16), 452);
    assert_eq!(upload(&mut bench, today() + 4, 8), 220);
}

#[test]
fn the_commands_of_a_session_are_done_one_after_the_other() {
    let (mut bench, tokens) = with_drop();
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)), (201, 202));
    let session = bench.identify(DROP, DROP, None).unwrap();
    let id = bench.list(session, Selection::default())[0].object;
    // The disk is slow, and everything comes in one flight.
    bench.slow = Some(Vec::new());
    let mailbox = fingerprint(DROP).to_string();
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
    let (mut bench, tokens) = with_drop();
    let session = bench.identify(DROP, DROP, None).unwrap();
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
    let other = bench.identify(DROP, DROP, None).unwrap();
    let (reply, _) = bench.retrieve(other, id, Part::Whole, Style::default());
    assert_eq!(reply.code.number(), 251, "another session has its own");
    // Held for one day after the one on which it came; a restart knows that.
    assert_eq!(replay(&bench.log).mailboxes()[&fingerprint(DROP)].hold_days(), 1);
    bench.pass(Duration::from_secs(2 * 24 * 3600));
    let later = bench.identify(DROP, DROP, None).unwrap();
    assert_eq!(bench.count(later), (0, 0));
    let nobody = bench.connect();
    let command = BoxCommand::Set { global: false, name: "JSON".to_owned(), value: "on".to_owned() };
    assert_eq!(bench.code(nobody, &command, b""), 411);
}

#[test]
fn all_boxes_together_take_no_more_than_there_is_space_for() {
    let (mut bench, first) = with_drop();
    bench.invite([6; 16], TERMS);
    assert_eq!(bench.register(OTHER, [6; 16]), Ok(210));
    let sessions = [DROP, OTHER].map(|who| bench.identify(who, who, None).unwrap());
    let upload = |bench: &mut Bench, at: usize, day, count| {
        bench.upload(sessions[at], day, small(), &tokens(at as u8 + 1, day, small(), count))
    };
    // 8 are outstanding.
    let limits = CarrierLimits { space: 24 * SMALL, ..CarrierLimits::default() };
    bench.limit(limits);
    assert_eq!(upload(&mut bench, 1, today() + 1, 32), 452);
    assert_eq!(upload(&mut bench, 1, today() + 1, 8), 220);
    assert_eq!(upload(&mut bench, 0, today() + 1, 16), 452);
    let page = |name: u8| BoxCommand::Page { name: [name; 32], until: today(), size: SMALL };
    assert_eq!(bench.code(sessions[0], &page(1), &object(0, SMALL)), 221);
    // A page counts with the answer that it lets in: five and five.
    assert_eq!(bench.code(sessions[1], &page(2), &object(0, SMALL)), 452);
    // What was promised is taken, also where the owner gives less now; what goes makes room.
    bench.limit(CarrierLimits { space: SMALL, ..limits });
    assert_eq!(bench.deposit(first[0], &object(b'1', SMALL)), (201, 202));
    assert_eq!(upload(&mut bench, 1, today() + 2, 1), 452);
    bench.limit(limits);
    bench.input(CarrierInput::Request(RequestId(0), CarrierRequest::Remove(fingerprint(DROP))));
    assert_eq!(upload(&mut bench, 1, today() + 2, 16), 220);
    // A restart knows the bound.
    assert_eq!(replay(&bench.log).limits(), limits);
}

#[test]
fn days_end_objects_and_tokens_but_not_by_a_clock_that_was_just_set() {
    let (mut bench, tokens) = with_drop();
    let session = bench.identify(DROP, DROP, None).unwrap();
    let ahead = self::tokens(2, today() + 20, small(), 1);
    assert_eq!(bench.upload(session, today() + 20, small(), &ahead), 220);
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)), (201, 202));
    assert_eq!(bench.deposit(ahead[0], &object(b'2', SMALL)).0, 420);
    let day = Duration::from_secs(24 * 3600);
    bench.pass(3 * day);
    assert_eq!(bench.carrier.held().mailboxes()[&fingerprint(DROP)].objects().len(), 1);
    bench.pass(day);
    assert_eq!(bench.carrier.held().mailboxes()[&fingerprint(DROP)].objects().len(), 0);
    assert_eq!(bench.deposit(tokens[1], &object(b'1', SMALL)), (201, 202));
    bench.pass(11 * day);
    assert_eq!(bench.deposit(tokens[2], &object(b'1', SMALL)).0, 420);
    assert_eq!(bench.carrier.held().mailboxes()[&fingerprint(DROP)].outstanding(), SMALL);
    // Two clocks may differ.
    bench.pass(3 * day);
    assert_eq!(bench.deposit(ahead[0], &object(b'2', SMALL)), (201, 202));
    let step = crate::base::ClockStep::Forward(100 * day);
    bench.now = bench.now.plus(100 * day);
    bench.input(CarrierInput::ClockSet(step));
    bench.pass(Duration::from_secs(1800));
    assert_eq!(bench.carrier.held().mailboxes()[&fingerprint(DROP)].objects().len(), 1);
    bench.pass(Duration::from_secs(1801));
    assert_eq!(bench.carrier.held().mailboxes()[&fingerprint(DROP)].objects().len(), 1, "so many days are doubtful");
    bench.pass(day / 4);
    assert_eq!(bench.carrier.held().mailboxes()[&fingerprint(DROP)].objects().len(), 0);
}

#[test]
fn a_carrier_that_is_off_at_night_begins_its_days() {
    let (hour, mut night) = (Duration::from_secs(3600), Bench::new());
    night.log.truncate(1);
    for (off, runs, begun) in [(16, 2, true), (30 * 24, 5, false), (30 * 24, 7, true)] {
        night.now = night.now.plus(off * hour);
        night.carrier = Carrier::new(replay(&night.log), night.now).unwrap();
        night.pass(runs * hour);
        assert_eq!(night.carrier.held().day() == epoch(night.now), begun, "off for {off} hours, on for {runs}");
    }
}

#[test]
fn a_carrier_comes_back_from_a_clock_that_was_wrong() {
    let (mut bench, tokens) = with_drop();
    let set = |bench: &mut Bench, step: crate::base::ClockStep| {
        bench.now = bench.now.stepped(step);
        bench.input(CarrierInput::ClockSet(step));
    };
    let (day, far) = (Duration::from_secs(24 * 3600), Duration::from_secs(1000 * 24 * 3600));
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)), (201, 202));
    set(&mut bench, crate::base::ClockStep::Forward(far));
    bench.pass(day / 5);
    set(&mut bench, crate::base::ClockStep::Back(far));
    bench.pass(day * 4 / 5);
    let held = |bench: &Bench| bench.carrier.held().mailboxes()[&fingerprint(DROP)].objects().len();
    assert_eq!((held(&bench), bench.carrier.held().day()), (1, today() + 1));
    // For longer: it is believed, and forgotten.
    set(&mut bench, crate::base::ClockStep::Forward(far));
    bench.pass(2 * day);
    assert_eq!(held(&bench), 0);
    set(&mut bench, crate::base::ClockStep::Back(far));
    bench.pass(day / 2);
    assert_eq!(bench.carrier.held().day(), epoch(bench.now));
    let session = bench.identify(DROP, DROP, None).unwrap();
    let fresh = self::tokens(9, today() + 3, small(), 1);
    assert_eq!(bench.upload(session, today() + 3, small(), &fresh), 220);
    assert_eq!(bench.deposit(fresh[0], &object(b'1', SMALL)), (201, 202));
    bench.pass(5 * day);
    assert_eq!(held(&bench), 0, "and days go on");
}

#[test]
fn of_the_sessions_of_one_owner_the_oldest_gives_way() {
    let (mut bench, _) = with_drop();
    let sessions: Vec<_> = (0..6).map(|_| bench.identify(DROP, DROP, None).unwrap()).collect();
    let ended: Vec<_> = sessions.iter().filter(|session| bench.closed.contains(session)).collect();
    // One more was open before.
    assert_eq!(ended, [&sessions[0], &sessions[1]]);
    assert_eq!(bench.count(sessions[5]), (0, 0));
}

#[test]
fn a_day_whose_record_cannot_be_written_is_tried_again_and_not_at_once() {
    let (mut bench, tokens) = with_drop();
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)), (201, 202));
    bench.pass(Duration::from_secs(20 * 24 * 3600));
    assert!(bench.carrier.held().bodies().next().is_none());
    let begun = bench.carrier.held().day();
    bench.faults.extend([CommitError::NoSpace; 3]);
    bench.pass(Duration::from_secs(24 * 3600));
    assert_eq!((bench.carrier.held().day(), bench.faults.len()), (begun + 1, 0));
    // While it is under way nothing else is due.
    bench.slow = Some(Vec::new());
    bench.now = begin_of(begun + 2);
    let effects = bench.carrier.handle_timeout(bench.now, &mut bench.rng);
    bench.perform(effects);
    assert!(bench.carrier.poll_timeout().unwrap() > bench.now);
}

#[test]
fn whoever_watches_is_told_what_comes() {
    let (mut bench, tokens) = with_drop();
    let session = bench.identify(DROP, DROP, None).unwrap();
    let watch = BoxCommand::Watch { mailbox: fingerprint(DROP).to_string() };
    assert_eq!(bench.code(session, &watch, b""), 260);
    bench.pass(Duration::from_secs(10 * 60));
    assert!(!bench.closed.contains(&session), "it may be silent");
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)), (201, 202));
    let said = bench.said(session);
    let entry = bench.list(session, Selection::default())[0];
    assert_eq!(said, format!("261 {} {}\n", fingerprint(DROP), entry.object));
    bench.input(CarrierInput::Request(RequestId(1), CarrierRequest::Remove(fingerprint(DROP))));
    assert_eq!(bench.answers.pop(), Some(Ok(())));
    assert!(bench.bodies.is_empty());
    assert_eq!(bench.deposit(tokens[1], &object(b'1', SMALL)).0, 420);
    assert_eq!(bench.code(session, &watch, b""), 411);
}

#[test]
fn a_box_takes_no_mail_by_address() {
    let mut bench = Bench::new();
    let session = bench.connect();
    let address = profile("box", CARRIER, start()).public.address.clone();
    bench.write(session, format!("SEND {address}\n").as_bytes());
    bench.pass(WIRE_ANSWER);
    assert_eq!(bench.said(session), "420 NOT AVAILABLE\n");
    bench.write(session, b"DEPOSIT x\nMESSAGE - #3\nabcPUBLISH x\n");
    assert_eq!(bench.said(session), "702 BAD PARAMETER\n702 BAD PARAMETER\n704 NOT IMPLEMENTED\n");
}

#[test]
fn a_full_disk_refuses_like_an_unknown_token() {
    let (mut bench, tokens) = with_drop();
    bench.input(CarrierInput::DiskLow(true));
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)).0, 420);
    bench.input(CarrierInput::DiskLow(false));
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)), (201, 202));
}

#[test]
fn a_carrier_that_is_switched_off_serves_nobody_and_keeps_what_it_has() {
    let (mut bench, tokens) = with_drop();
    let idle = bench.connect();
    assert_eq!(bench.deposit(tokens[0], &object(1, SMALL)), (201, 202));
    bench.closed.clear();
    bench.input(CarrierInput::Request(RequestId(0), CarrierRequest::Serve(false)));
    assert!(bench.closed.contains(&idle), "it goes on");
    let late = SessionId(1_000);
    bench.input(CarrierInput::Accepted(late));
    assert!(bench.closed.contains(&late) && !bench.sent.contains_key(&late), "somebody is served");
    bench.input(CarrierInput::Request(RequestId(0), CarrierRequest::Serve(true)));
    let session = bench.identify(DROP, DROP, None).unwrap();
    assert_eq!(bench.count(session), (1, 1));
}

#[test]
fn of_invitations_that_are_too_many_together_none_is_made() {
    let mut bench = Bench::new();
    let expires = bench.now.plus(Duration::from_secs(3600));
    let mut invite = |count: usize| {
        let secrets = (0..count).map(|number| (number as u128).to_be_bytes()).collect();
        bench.input(CarrierInput::Request(RequestId(0), CarrierRequest::Invite { secrets, terms: TERMS, expires }));
        (bench.answers.pop().unwrap(), bench.carrier.held().invitations().len())
    };
    assert_eq!(invite(CARRIER_INVITATIONS + 1), (Err(CarrierRequestError::TooMany), 0));
    assert_eq!(invite(CARRIER_INVITATIONS), (Ok(()), CARRIER_INVITATIONS));
    assert_eq!(invite(1), (Err(CarrierRequestError::TooMany), CARRIER_INVITATIONS));
}
