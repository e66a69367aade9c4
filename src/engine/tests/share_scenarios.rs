//! Stories of which sender is charged for what, and of what one sender can take from the others.

use std::time::Duration;

use crate::base::ids::Fingerprint;
use crate::base::{ContactId, ContentId, MacKey, Onion, SessionId, Terms, Timestamp, limits};
use crate::mail::invitation::Invitation;
use crate::mail::{Binding, Card, Content, ContentKind};
use crate::wire::{Claim, Command, Importance, Message, Send, authenticator, digest};

use crate::engine::io::{Input, Sizes};
use crate::engine::state::book::{Cards, Contact, ContactStatus};
use crate::engine::state::mailbox::FolderRole;
use crate::engine::state::record::{BookRecord, Record};
use crate::engine::tests::harness::{DAY, MINUTE, World, certificate, crypto};

pub(in crate::engine) const ALICE: usize = 0;
pub(in crate::engine) const BOB: usize = 1;
pub(in crate::engine) const CAROL: usize = 2;
const HOUR: Duration = Duration::from_secs(3600);

pub(in crate::engine) fn world() -> World {
    World::new(1, &["alice", "bob", "carol"])
}

/// Alice and Bob know each other; with the key by which he shows who he is.
pub(in crate::engine) fn friends() -> (World, MacKey) {
    let mut world = world();
    world.introduce(ALICE, BOB);
    let key = world.contact(BOB, ALICE).unwrap().outbound.clone().unwrap();
    (world, key)
}

/// The key of an invitation's text.
fn key_of(text: &str) -> MacKey {
    Invitation::parse(text).unwrap().auth_key().unwrap()
}

/// SEND and MESSAGE with this object to Alice, under this key.
pub(in crate::engine) fn request(world: &World, key: Option<&MacKey>, object: &[u8]) -> Vec<u8> {
    let lines = asks(world, key, Claim::of(object)) + &message_line(object.len());
    [lines.as_bytes(), object].concat()
}

/// A SEND of such an object to Alice, under this key.
pub(in crate::engine) fn asks(world: &World, key: Option<&MacKey>, claim: Claim) -> String {
    let send = Send {
        to: world.address(ALICE),
        certificate: Some(digest(&world.public(ALICE).certificate)),
        server: None,
        claim: Some(claim),
        auth: key.map(|key| authenticator(key, world.public(ALICE).onion(), &claim)),
        onward: None,
        importance: Importance::Normal,
        secure: false,
    };
    Command::Send(send).encode(None)
}

/// An announcement of an object of so many bytes, of which none comes.
pub(in crate::engine) fn announces(world: &World, key: &MacKey, size: usize) -> Vec<u8> {
    let claim = Claim { hash: [9; 32], size: size as u64 };
    (asks(world, Some(key), claim) + &message_line(size)).into_bytes()
}

fn message_line(size: usize) -> String {
    Command::Message(Message { sender: None, size: size as u64 }).encode(None)
}

/// Alice's answer to these bytes in a session of their own.
fn answer(world: &mut World, bytes: Vec<u8>) -> String {
    let session = world.accept(ALICE);
    world.run();
    let said = say(world, session, bytes);
    world.input(ALICE, Input::Closed(session));
    said
}

pub(in crate::engine) fn say(world: &mut World, session: SessionId, bytes: Vec<u8>) -> String {
    world.replies.clear();
    world.input(ALICE, Input::Received(session, bytes));
    world.pass(limits::WIRE_ANSWER);
    world.replies.iter().map(|(_, text)| text.as_str()).collect()
}

/// Alice's answer to an object under this key, in a session of its own.
fn brought(world: &mut World, key: Option<&MacKey>, object: &[u8]) -> String {
    let bytes = request(world, key, object);
    answer(world, bytes)
}

/// A sealed message of at least this length from one node to Alice; another number makes another message.
pub(in crate::engine) fn mail(world: &World, from: usize, number: u8, length: usize) -> Vec<u8> {
    mail_until(world, from, number, length, world.now.plus(DAY))
}

fn mail_until(world: &World, from: usize, number: u8, length: usize, expires: Timestamp) -> Vec<u8> {
    let mut payload = world.message(from, &format!("number {number}")).to_vec();
    payload.resize(payload.len().max(length), b'x');
    let id = ContentId::from_bytes([number; 16]);
    let content = Content { kind: ContentKind::Mail, id, expires, receipt: None, payload };
    let (to, from) = (world.fingerprint(ALICE), world.fingerprint(from));
    crypto::seal(&from, to.as_bytes(), &content.encode(), Sizes::All)
}

/// The card to Alice of a person that nobody knows; another number is another person.
fn card(world: &World, number: u8) -> Vec<u8> {
    let (fingerprint, onion) = (Fingerprint::from_bytes([number; 32]), Onion::from_public_key([number; 32]));
    let card = Card {
        counter: 1,
        address: format!("nobody{number}@{onion}").parse().unwrap(),
        certificate: certificate(&fingerprint),
        binding: Binding { epoch: 1, onion_signature: vec![number; 64], key_signature: vec![number; 80] },
        auth_key: MacKey::from_bytes([number; 32]),
        invitation: None,
        boxes: Vec::new(),
        receipts: true,
    };
    let (id, expires) = (ContentId::from_bytes([number; 16]), world.now.plus(DAY));
    let payload = serde_json::to_vec(&card).unwrap();
    let content = Content { kind: ContentKind::Card, id, expires, receipt: None, payload };
    crypto::seal(&fingerprint, world.fingerprint(ALICE).as_bytes(), &content.encode(), Sizes::All)
}

/// Adds a contact to Alice's book that is at no node; another number is another contact, with another key.
pub(in crate::engine) fn somebody(number: usize, status: ContactStatus) -> Record {
    let mut bytes = [0xee; 32];
    bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
    let fingerprint = Fingerprint::from_bytes(bytes);
    let contact = Contact {
        id: ContactId::from_bytes(bytes[..16].try_into().unwrap()),
        petname: format!("somebody-{number}"),
        address: format!("somebody@{}", Onion::from_public_key(bytes)).parse().unwrap(),
        fingerprint,
        certificate: Some(certificate(&fingerprint).into()),
        binding_epoch: 1,
        status,
        provenance: Vec::new(),
        inbound: vec![key_of_somebody(number)],
        outbound: None,
        cards: Cards::default(),
    };
    Record::Book(BookRecord::ContactAdded { contact: Box::new(contact) })
}

pub(in crate::engine) fn key_of_somebody(number: usize) -> MacKey {
    MacKey::from_bytes(*digest(&number.to_be_bytes()).first_chunk().unwrap())
}

/// Adds so many contacts to Alice's book.
pub(in crate::engine) fn populate(world: &mut World, count: usize, status: ContactStatus) {
    let records = (0..count).map(|number| somebody(number, status)).collect();
    world.append(ALICE, records, vec![]);
    world.restart(ALICE);
}

/// A session in which Alice heard an authenticator under this key.
fn opened_under(world: &mut World, key: &MacKey) -> SessionId {
    let session = world.accept(ALICE);
    world.run();
    let bytes = asks(world, Some(key), Claim::of(b"x")).into_bytes();
    say(world, session, bytes);
    session
}

pub(in crate::engine) fn is_open(world: &World, session: SessionId) -> bool {
    world.nodes[ALICE].identity.rooms.receive.inbound().contains_key(&session)
}

fn requests(world: &World) -> usize {
    world.nodes[ALICE].published.book.requests()
}

/// An object is collected at a box of alice.
fn collected(world: &mut World, object: Vec<u8>) -> bool {
    let (now, at) = (world.now, &mut world.nodes[ALICE]);
    let (mut cx, rooms, _) = at.identity.parts(now, &mut at.rng);
    rooms.receive.collected(&mut cx, SessionId(9999), object)
}

#[test]
fn the_text_of_a_used_invitation_is_nobody_once_the_card_of_its_maker_was_acknowledged() {
    let mut world = world();
    let text = world.invite(ALICE, false);
    world.add(BOB, &text).unwrap();
    world.pass(MINUTE);
    for _ in 0..5 {
        let object = request(&world, Some(&key_of(&text)), b"x");
        let said = answer(&mut world, object);
        assert!(said.contains("201 32768"), "{said}");
    }
    // The key of the used invitation no longer counts, so this used up the quota of the strangers.
    let object = request(&world, None, b"x");
    assert!(answer(&mut world, object).contains("420"));
    let keys = &world.contact(ALICE, BOB).unwrap().inbound;
    assert_eq!(keys.len(), 1, "no mail had to come for that");
    world.submit(BOB, ALICE, "hello").unwrap();
    world.pass(MINUTE);
    assert_eq!(world.messages(ALICE, FolderRole::Inbox).len(), 1);
    world.check();
}

#[test]
fn until_then_the_text_of_a_used_invitation_has_the_invitations_quota_and_size() {
    let mut world = world();
    let text = world.invite(ALICE, false);
    // Alice's card does not reach bob.
    world.apart.insert((ALICE, BOB));
    world.add(BOB, &text).unwrap();
    world.pass(MINUTE);
    assert_eq!(world.contact(ALICE, BOB).unwrap().inbound.len(), 2);
    let key = key_of(&text);
    let large = request(&world, Some(&key), &[0; 40_000]);
    assert!(answer(&mut world, large).contains("420"), "as to anybody who is no contact");
    // Bob's card was one of the five objects that an invitation may bring.
    for number in 0..4 {
        let object = mail(&world, BOB, number, 0);
        let said = brought(&mut world, Some(&key), &object);
        assert!(said.contains("201 32768") && said.contains("202"), "{said}");
    }
    let object = mail(&world, BOB, 9, 0);
    let bytes = request(&world, Some(&key), &object);
    assert!(answer(&mut world, bytes).contains("420"));
    // Nothing of that is charged to bob once he has a key of his own.
    world.apart.clear();
    world.pass(10 * MINUTE);
    let bytes = request(&world, world.contact(BOB, ALICE).unwrap().outbound.as_ref(), &object);
    assert!(answer(&mut world, bytes).contains("202"));
    assert_eq!(world.messages(ALICE, FolderRole::Inbox).len(), 5);
    world.check();
}

#[test]
fn cards_of_strangers_are_charged_to_strangers_whoever_brings_them() {
    let (mut world, bob) = friends();
    let invitation = key_of(&world.invite(ALICE, false));
    for number in 0..3 {
        let object = card(&world, 100 + number);
        assert!(brought(&mut world, Some(&bob), &object).contains("202"));
    }
    let object = card(&world, 110);
    assert!(brought(&mut world, Some(&invitation), &object).contains("202"));
    // The next card is collected at a box, where no sender is shown.
    let object = card(&world, 111);
    assert!(collected(&mut world, object));
    world.input(ALICE, Input::DiskLow(false));
    world.run();
    assert_eq!(requests(&world), 5);
    // The five an hour of the strangers are used up, and only a contact is told the reason.
    let object = card(&world, 112);
    assert!(brought(&mut world, Some(&bob), &object).contains("450"));
    assert!(brought(&mut world, Some(&invitation), &object).contains("420"));
    assert!(brought(&mut world, None, &object).contains("420"));
    assert!(collected(&mut world, object.clone()));
    world.input(ALICE, Input::DiskLow(false));
    world.run();
    assert_eq!(requests(&world), 5);
    // Bob's own mail is charged to bob.
    let object = mail(&world, BOB, 1, 100_000);
    assert!(brought(&mut world, Some(&bob), &object).contains("202"));
    world.pass(HOUR);
    let object = card(&world, 112);
    assert!(brought(&mut world, None, &object).contains("202"));
    assert_eq!(requests(&world), 6);
    world.check();
}

#[test]
fn mail_of_somebody_who_waits_is_a_strangers_whoever_brings_it() {
    let (mut world, bob) = friends();
    let poster = world.invite(ALICE, true);
    world.add(CAROL, &poster).unwrap();
    world.pass(MINUTE);
    let large = mail(&world, CAROL, 1, limits::STRANGER_BYTES);
    assert!(brought(&mut world, Some(&bob), &large).contains("413"));
    assert!(collected(&mut world, large));
    world.input(ALICE, Input::DiskLow(false));
    world.run();
    // Carol's card, with its notice in Requests, was one of the five.
    for number in 2..6 {
        let object = mail(&world, CAROL, number, 0);
        assert!(brought(&mut world, Some(&bob), &object).contains("202"));
    }
    let object = mail(&world, CAROL, 6, 0);
    assert!(brought(&mut world, Some(&bob), &object).contains("450"));
    assert_eq!(world.messages(ALICE, FolderRole::Requests).len(), 1 + 4);
    world.check();
}

#[test]
fn what_came_before_and_what_is_past_its_date_costs_a_contact_nothing() {
    let (mut world, bob) = friends();
    // After that she no longer takes her own clock for wrong.
    world.pass(2 * HOUR);
    let old = mail_until(&world, BOB, 1, 0, world.now.minus(3 * DAY));
    let object = mail(&world, BOB, 2, 0);
    for _ in 0..limits::CONTACT_BURST {
        assert!(brought(&mut world, Some(&bob), &object).contains("202"));
        assert!(brought(&mut world, Some(&bob), &old).contains("409"));
    }
    let object = mail(&world, BOB, 3, 0);
    assert!(brought(&mut world, Some(&bob), &object).contains("202"));
    assert_eq!(world.messages(ALICE, FolderRole::Inbox).len(), 2);
}

#[test]
fn where_no_more_requests_can_wait_a_card_is_refused_for_now_and_comes_again() {
    let (mut world, bob) = friends();
    populate(&mut world, limits::REQUESTS_PENDING, ContactStatus::Request);
    let poster = world.invite(ALICE, true);
    world.replies.clear();
    world.add(CAROL, &poster).unwrap();
    world.submit(CAROL, ALICE, "please").unwrap();
    world.pass(10 * MINUTE);
    let said: String = world.replies.iter().map(|(_, text)| text.as_str()).collect();
    assert!(said.contains("420") && !said.contains("202"), "{said}");
    let object = card(&world, 100);
    assert!(brought(&mut world, Some(&bob), &object).contains("452"));
    assert_eq!(requests(&world), limits::REQUESTS_PENDING);
    // The user decides about one of them.
    let waiting = world.nodes[ALICE].published.book.by_petname("somebody-7").unwrap().id;
    world.append(ALICE, vec![Record::Book(BookRecord::ContactRemoved { id: waiting })], vec![]);
    world.restart(ALICE);
    world.pass(2 * HOUR);
    assert_eq!(world.contact(ALICE, CAROL).unwrap().status, ContactStatus::Request);
    let waiting = world.texts(ALICE, FolderRole::Requests);
    assert!(waiting.iter().any(|text| text.contains("Text of please.")), "{waiting:?}");
    assert!(world.messages(CAROL, FolderRole::Inbox).is_empty(), "nothing failed");
    world.check();
}

#[test]
fn somebody_whose_greeting_was_lost_greets_again_and_no_mail_fails() {
    let mut world = world();
    let poster = world.invite(ALICE, true);
    world.add(CAROL, &poster).unwrap();
    world.pass(MINUTE);
    assert_eq!(requests(&world), 1);
    // Alice's node did as one whose requests are full did: it took the card and kept nothing.
    let carol = world.contact(ALICE, CAROL).unwrap().id;
    world.append(ALICE, vec![Record::Book(BookRecord::ContactRemoved { id: carol })], vec![]);
    world.restart(ALICE);
    world.submit(CAROL, ALICE, "one").unwrap();
    world.submit(CAROL, ALICE, "two").unwrap();
    world.pass(HOUR);
    assert_eq!(world.contact(ALICE, CAROL).unwrap().status, ContactStatus::Request);
    let waiting = world.texts(ALICE, FolderRole::Requests);
    for text in ["Text of one.", "Text of two."] {
        assert!(waiting.iter().any(|message| message.contains(text)), "{waiting:?}");
    }
    assert!(world.messages(CAROL, FolderRole::Inbox).is_empty(), "nothing failed");
    assert!(world.nodes[CAROL].published.queue.is_empty());
    let cards =
        |(node, object): &&(usize, Vec<u8>)| *node == ALICE && String::from_utf8_lossy(object).contains("card/1");
    assert_eq!(world.objects.iter().filter(cards).count(), 2, "once, though two messages were refused");
    world.check();
}

#[test]
fn one_contacts_sessions_cost_only_its_own_oldest() {
    let (mut world, bob) = friends();
    world.introduce(ALICE, CAROL);
    let carol = world.contact(CAROL, ALICE).unwrap().outbound.clone().unwrap();
    let hers = opened_under(&mut world, &carol);
    let his: Vec<_> = (0..limits::CONTACT_SESSIONS).map(|_| opened_under(&mut world, &bob)).collect();
    assert!(his.iter().all(|session| is_open(&world, *session)));
    world.replies.clear();
    let last = opened_under(&mut world, &bob);
    let open: Vec<_> = his.iter().map(|session| is_open(&world, *session)).collect();
    assert_eq!(open, [false, true, true, true]);
    assert!(is_open(&world, hers) && is_open(&world, last));
    let said: String = world.replies.iter().map(|(_, text)| text.as_str()).collect();
    assert!(said.contains("708"), "{said}");
}

#[test]
fn contacts_who_fill_every_session_keep_no_other_out() {
    let (mut world, _) = friends();
    let most = limits::SESSIONS / limits::CONTACT_SESSIONS;
    populate(&mut world, most, ContactStatus::Confirmed);
    for number in 0..most {
        for _ in 0..limits::CONTACT_SESSIONS {
            opened_under(&mut world, &key_of_somebody(number));
        }
    }
    assert_eq!(world.nodes[ALICE].identity.rooms.receive.inbound().len(), limits::SESSIONS);
    world.submit(BOB, ALICE, "hello").unwrap();
    world.pass(Duration::from_secs(1));
    assert_eq!(world.messages(ALICE, FolderRole::Inbox).len(), 1);
    // Strangers do not push out contacts that have one session each either.
    for _ in 0..2 * limits::SESSIONS {
        world.accept(ALICE);
    }
    world.run();
    let owners: std::collections::BTreeSet<_> =
        world.nodes[ALICE].identity.rooms.receive.inbound().values().filter_map(|inbound| inbound.owner()).collect();
    assert_eq!(owners.len(), most, "everybody has a session left");
}

#[test]
fn holders_of_invitations_keep_no_contact_out() {
    let (mut world, _) = friends();
    let one = key_of(&world.invite(ALICE, false));
    let sessions: Vec<_> = (0..limits::SESSIONS).map(|_| opened_under(&mut world, &one)).collect();
    let open = sessions.iter().filter(|session| is_open(&world, **session)).count();
    assert_eq!(open, limits::INVITATION_SESSIONS);
    for _ in 0..20 {
        let another = key_of(&world.invite(ALICE, false));
        for _ in 0..limits::INVITATION_SESSIONS {
            opened_under(&mut world, &another);
        }
    }
    assert_eq!(world.nodes[ALICE].identity.rooms.receive.inbound().len(), limits::UNAUTHENTICATED_SESSIONS);
    world.submit(BOB, ALICE, "hello").unwrap();
    world.pass(Duration::from_secs(1));
    assert_eq!(world.messages(ALICE, FolderRole::Inbox).len(), 1);
}

#[test]
fn nine_keys_that_fit_nothing_end_a_session() {
    let mut world = world();
    let session = world.accept(ALICE);
    world.run();
    for number in 0..limits::WIRE_AUTH_MISSES {
        let bytes = asks(&world, Some(&key_of_somebody(number as usize)), Claim::of(b"x")).into_bytes();
        let said = say(&mut world, session, bytes);
        assert!(said.contains("201 32768"), "{said}");
    }
    let bytes = asks(&world, Some(&key_of_somebody(99)), Claim::of(b"x")).into_bytes();
    assert!(say(&mut world, session, bytes).contains("709"));
    assert!(!is_open(&world, session));
}

/// Alice's answer to each of these in turn, and after how many milliseconds.
fn moments(world: &mut World, session: SessionId, asked: &[String]) -> Vec<(u32, String)> {
    let mut said = Vec::new();
    for bytes in asked {
        world.replies.clear();
        world.input(ALICE, Input::Received(session, bytes.clone().into_bytes()));
        for millisecond in 0..40 {
            world.run();
            said.extend(world.replies.drain(..).map(|(_, text)| (millisecond, text)));
            world.pass(Duration::from_millis(1));
        }
    }
    said
}

#[test]
fn the_moments_of_answers_say_nothing_of_how_many_contacts_there_are() {
    let mut seen = Vec::new();
    for count in [0, 50, 1000] {
        let (mut world, bob) = friends();
        populate(&mut world, count, ContactStatus::Confirmed);
        let claim = Claim::of(b"x");
        let nobody = asks(&world, None, claim).replace("alice@", "nobody@");
        let asked = [
            asks(&world, None, claim),
            nobody,
            asks(&world, Some(&key_of_somebody(9999)), claim),
            asks(&world, Some(&bob), claim),
            asks(&world, Some(&bob), claim),
        ];
        let session = world.accept(ALICE);
        world.run();
        seen.push(moments(&mut world, session, &asked));
    }
    let after: Vec<_> = seen[0].iter().map(|(millisecond, _)| *millisecond).collect();
    assert_eq!(after, [25, 25, 25, 25, 0], "{seen:?}");
    assert!(seen.iter().all(|moments| *moments == seen[0]), "{seen:?}");
}

#[test]
fn a_session_welcomes_and_takes_as_much_as_its_owner_set_and_the_sender_is_told_the_reason() {
    let (mut world, key) = friends();
    let welcome = Some("Small things, please.".to_owned());
    world.nodes[ALICE].identity.set_terms(Terms { welcome, maximum: limits::MIB, ..Terms::default() });
    world.replies.clear();
    let session = world.accept(ALICE);
    world.run();
    assert_eq!(world.replies, [(ALICE, "HOWDY RUNE/1 MAX=1048576 CAP=SEND \"Small things, please.\"\n".to_owned())]);
    world.input(ALICE, Input::Closed(session));
    let most = announces(&world, &key, limits::MIB);
    assert!(answer(&mut world, most).contains("201 1048576 "));
    let more = announces(&world, &key, limits::MIB + 1);
    assert!(answer(&mut world, more).contains("413"));
    // A stranger learns the usual maximum of strangers, or the owner's if that is less.
    let small = asks(&world, None, Claim { hash: [9; 32], size: 1 });
    assert!(answer(&mut world, small.clone().into_bytes()).contains("201 32768 "));
    world.nodes[ALICE].identity.set_terms(Terms { maximum: limits::STRANGER_BYTES - 1, ..Terms::default() });
    assert!(answer(&mut world, small.into_bytes()).contains("201 32767 "));
    let too_much = asks(&world, None, Claim { hash: [9; 32], size: limits::STRANGER_BYTES as u64 });
    assert!(answer(&mut world, too_much.into_bytes()).contains("420"));
    // Bob's own node reads the welcome, and tells him what Alice's node does not take.
    world.nodes[ALICE].identity.set_terms(Terms { welcome: Some("Hi".to_owned()), maximum: 1, ..Terms::default() });
    world.submit(BOB, ALICE, "too much").unwrap();
    world.pass(MINUTE);
    assert!(world.nodes[BOB].published.queue.is_empty());
    let reports = world.texts(BOB, FolderRole::Inbox);
    assert!(reports.iter().any(|text| text.contains("larger than their node takes")), "{reports:?}");
}
