//! Objects that are left in a box and collected from it, and what its tokens admit.

use std::time::Duration;

use crate::base::limits::WIRE_ANSWER;
use crate::engine::api::RequestId;
use crate::engine::carrier::{CarrierInput, CarrierLimits, CarrierRequest, Terms};
use crate::engine::io::CommitError;
use crate::engine::tests::harness::profile;
use crate::wire::Claim;
use crate::wire::mailbox::{BoxCommand, Entry, Part, Piece, Said, Selection, Style};
use crate::wire::token::{Class, hash_of};

use super::bench::{
    BOX, Bench, CARRIER, MALLORY, OTHER, SECRET, SMALL, TERMS, fingerprint, object, replay, small, start, today,
    tokens, with_box,
};

#[test]
fn what_is_left_is_collected_and_deleted() {
    let (mut bench, tokens) = with_box();
    let left: Vec<_> = (0..3).map(|n| object(b'a' + n, SMALL)).collect();
    for (token, object) in tokens.iter().zip(&left) {
        assert_eq!(bench.deposit(*token, object), (201, 202));
    }
    let session = bench.identify(BOX, BOX, None).unwrap();
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
    assert_eq!(bench.register(BOX, SECRET), Ok(210));
    let session = bench.identify(BOX, BOX, None).unwrap();
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
    let (mut bench, tokens) = with_box();
    let (first, second) = (object(b'1', SMALL), object(b'2', SMALL));
    assert_eq!(bench.deposit(tokens[0], &first), (201, 202));
    // The answer was lost: the same object is brought again, and is there already.
    assert_eq!(bench.deposit(tokens[0], &first), (201, 202));
    assert_eq!(bench.carrier.held().mailboxes()[&fingerprint(BOX)].objects().len(), 1);
    let tomorrow = self::tokens(1, today() + 1, small(), 1);
    let refusals =
        [(tokens[0], &second), ([9; 32], &second), (tomorrow[0], &second), (tokens[1], &object(b'3', 4 * SMALL))];
    for (token, object) in refusals {
        let session = bench.connect();
        bench.write(session, BoxCommand::Deposit { token, claim: Claim::of(object) }.encode(None).as_bytes());
        assert_eq!(bench.said(session), "420 NOT AVAILABLE\n");
    }
    // This holds also after its owner has collected and deleted it.
    let session = bench.identify(BOX, BOX, None).unwrap();
    let entries = bench.list(session, Selection::default());
    assert_eq!(bench.delete(session, vec![entries[0].object]), 253);
    assert_eq!(bench.deposit(tokens[0], &first), (201, 202));
    assert_eq!(bench.count(session), (0, 0));
    assert_eq!(bench.deposit(tokens[0], &second).0, 420);
}

#[test]
fn a_token_that_another_box_has_stays_there() {
    let (mut bench, tokens) = with_box();
    bench.invite([6; 16], TERMS);
    assert_eq!(bench.register(MALLORY, [6; 16]), Ok(210));
    let session = bench.identify(MALLORY, MALLORY, None).unwrap();
    assert_eq!(bench.upload(session, today(), small(), &tokens), 220);
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)), (201, 202));
    let objects = |bench: &Bench, of| bench.carrier.held().mailboxes()[&fingerprint(of)].objects().len();
    assert_eq!((objects(&bench, BOX), objects(&bench, MALLORY)), (1, 0));
    bench.input(CarrierInput::Request(RequestId(1), CarrierRequest::Remove(fingerprint(BOX))));
    assert_eq!(bench.deposit(tokens[1], &object(b'1', SMALL)).0, 420);
}

#[test]
fn a_page_is_given_to_who_has_its_token_and_lets_one_answer_in() {
    let (mut bench, tokens) = with_box();
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
    let session = bench.identify(BOX, BOX, None).unwrap();
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
    // A page takes one answer, of the size of a card.
    assert_eq!(bench.deposit(token, &object(b'0', 16 * SMALL)).0, 420);
    assert_eq!(bench.deposit(token, &object(b'1', 4 * SMALL)), (201, 202));
    assert_eq!(bench.deposit(token, &object(b'1', 4 * SMALL)), (201, 202));
    assert_eq!(bench.deposit(token, &object(b'2', SMALL)).0, 420);
    assert_eq!(bench.count(session), (1, 1));
    // A page that takes its place lets no second answer in.
    assert_eq!(keep(&mut bench, session, &other, hash_of(&token), last), 221);
    assert_eq!(fetch(&mut bench, token), (251, other.clone()));
    assert_eq!(bench.deposit(token, &object(b'2', SMALL)).0, 420);
    // No other box can keep a page under the same token.
    bench.invite([6; 16], TERMS);
    assert_eq!(bench.register(MALLORY, [6; 16]), Ok(210));
    let mallory = bench.identify(MALLORY, MALLORY, None).unwrap();
    assert_eq!(keep(&mut bench, mallory, &page, hash_of(&token), last), 702);
    // The page counts, and so does its answer: 8 of 64 are for tokens, 4 are that answer and 1 is the page.
    let mut kept = 0;
    while keep(&mut bench, session, &page, hash_of(&[100 + kept; 32]), last) == 221 {
        kept += 1;
    }
    assert_eq!(kept, (64 - 8 - 4 - 1) / 5);
    assert_eq!(fetch(&mut bench, [100; 32]).0, 251);
    bench.pass(Duration::from_secs(3 * 24 * 3600));
    assert_eq!(fetch(&mut bench, token).0, 420, "its last day is over");
    assert_eq!(bench.deposit([100; 32], &object(b'1', SMALL)).0, 420);
    let mailbox = &bench.carrier.held().mailboxes()[&fingerprint(BOX)];
    assert_eq!((mailbox.pages().count(), mailbox.outstanding()), (0, 8 * SMALL));
}

#[test]
fn what_is_no_object_burns_no_token() {
    let (mut bench, tokens) = with_box();
    assert_eq!(bench.deposit(tokens[0], &object(b'!', SMALL)), (201, 409));
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)), (201, 202));
}

#[test]
fn a_failed_commit_burns_no_token_and_doubles_nothing() {
    let (mut bench, tokens) = with_box();
    bench.faults.push_back(CommitError::NoSpace);
    // A full disk is told to nobody.
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)), (201, 420));
    bench.faults.push_back(CommitError::Io);
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)), (201, 708));
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)), (201, 202));
    let session = bench.identify(BOX, BOX, None).unwrap();
    assert_eq!(bench.count(session), (1, 1));
}

#[test]
fn two_who_bring_the_same_at_once_are_both_told_and_another_object_is_refused() {
    let (mut bench, tokens) = with_box();
    let (same, other) = (object(b'1', SMALL), object(b'2', SMALL));
    let sessions: Vec<_> = (0..3).map(|_| bench.connect()).collect();
    let brought = [&same, &same, &other];
    // All deposits are admitted before any object comes.
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
    assert_eq!(bench.carrier.held().mailboxes()[&fingerprint(BOX)].objects().len(), 1);
}

#[test]
fn tokens_that_would_not_fit_the_quota_are_refused_and_a_set_is_fixed() {
    let (mut bench, first) = with_box();
    let session = bench.identify(BOX, BOX, None).unwrap();
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
    // A stored object counts as its token did while it was outstanding.
    assert_eq!(bench.deposit(first[0], &object(b'1', SMALL)), (201, 202));
    assert_eq!(upload(&mut bench, today() + 4, 16), 452);
    assert_eq!(upload(&mut bench, today() + 4, 8), 220);
}

#[test]
fn all_boxes_together_take_no_more_than_there_is_space_for() {
    let (mut bench, first) = with_box();
    bench.invite([6; 16], TERMS);
    assert_eq!(bench.register(OTHER, [6; 16]), Ok(210));
    let sessions = [BOX, OTHER].map(|who| bench.identify(who, who, None).unwrap());
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
    // Objects that were promised are taken, also if the owner allows less now; objects that go make room.
    bench.limit(CarrierLimits { space: SMALL, ..limits });
    assert_eq!(bench.deposit(first[0], &object(b'1', SMALL)), (201, 202));
    assert_eq!(upload(&mut bench, 1, today() + 2, 1), 452);
    bench.limit(limits);
    bench.input(CarrierInput::Request(RequestId(0), CarrierRequest::Remove(fingerprint(BOX))));
    assert_eq!(upload(&mut bench, 1, today() + 2, 16), 220);
    // A restart knows the bound.
    assert_eq!(replay(&bench.log).limits(), limits);
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
    let (mut bench, tokens) = with_box();
    bench.input(CarrierInput::DiskLow(true));
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)).0, 420);
    bench.input(CarrierInput::DiskLow(false));
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)), (201, 202));
}
