//! Stories of senders to whom less is promised: strangers, people who ask, people who are blocked, holders of an
//! invitation; and of objects they send that look like more.

use std::time::Duration;

use crate::base::{ContentId, MacKey, limits};
use crate::engine::api::Request;
use crate::engine::io::{Input, Sizes};
use crate::engine::state::book::{ContactChange, ContactStatus};
use crate::engine::state::mailbox::{Flags, FolderRole};
use crate::engine::state::record::{BookRecord, Record};
use crate::engine::tests::harness::{DAY, MINUTE, World, certificate, crypto};
use crate::mail::{Binding, Card, Content, ContentKind, Invitation};
use crate::wire::{Claim, Command, Importance, Message, Send, authenticator};

const ALICE: usize = 0;
const BOB: usize = 1;
const CAROL: usize = 2;
const HOUR: Duration = Duration::from_secs(3600);

/// Alice and bob are contacts; carol asked to be one.
fn world() -> World {
    let mut world = World::new(1, &["alice", "bob", "carol"]);
    world.introduce(ALICE, BOB);
    let poster = world.invite(ALICE, true);
    world.add(CAROL, &poster).unwrap();
    world.pass(MINUTE);
    assert_eq!(world.contact(ALICE, CAROL).unwrap().status, ContactStatus::Request);
    world
}

/// An object for alice with this content.
fn sealed(world: &World, from: usize, content: &Content) -> Vec<u8> {
    crypto::seal(&world.fingerprint(from), world.fingerprint(ALICE).as_bytes(), &content.encode(), Sizes::All)
}

/// A message to alice that asks for a receipt.
fn mail(world: &World, from: usize, id: u8, receipt: Option<[u8; 32]>) -> Vec<u8> {
    let (id, expires, payload) =
        (ContentId::from_bytes([id; 16]), world.now.plus(DAY), world.message(from, "x").to_vec());
    sealed(world, from, &Content { kind: ContentKind::Mail, id, expires, receipt, payload })
}

/// A card of bob for alice, with a key of its own.
fn card(world: &World, counter: u64, key: u8) -> Vec<u8> {
    let public = world.public(BOB);
    let card = Card {
        counter,
        address: public.address.clone(),
        certificate: certificate(&public.fingerprint),
        binding: Binding { epoch: 1, onion_signature: vec![2; 64], key_signature: vec![2; 80] },
        auth_key: MacKey::from_bytes([key; 32]),
        invitation: None,
        boxes: Vec::new(),
        receipts: true,
    };
    let (id, expires) = (ContentId::from_bytes([key; 16]), world.now.plus(DAY));
    let payload = serde_json::to_vec(&card).unwrap();
    sealed(world, BOB, &Content { kind: ContentKind::Card, id, expires, receipt: None, payload })
}

/// Alice's answer to an object that a peer brings, with this key or with none.
fn bring(world: &mut World, object: &[u8], key: Option<&MacKey>, importance: Importance) -> String {
    let session = world.accept(ALICE);
    world.run();
    world.replies.clear();
    let bytes = commands(world, object, key, importance);
    world.input(ALICE, Input::Received(session, bytes));
    world.pass(limits::WIRE_ANSWER);
    world.input(ALICE, Input::Closed(session));
    world.run();
    world.replies.iter().map(|(_, text)| text.as_str()).collect()
}

/// What a peer sends that brings alice an object.
fn commands(world: &World, object: &[u8], key: Option<&MacKey>, importance: Importance) -> Vec<u8> {
    let claim = Claim::of(object);
    let auth = key.map_or([7; 32], |key| authenticator(key, world.public(ALICE).onion(), &claim));
    let send = Send {
        to: world.address(ALICE),
        certificate: None,
        server: None,
        claim: Some(claim),
        auth: Some(auth),
        onward: None,
        importance,
        secure: false,
    };
    let message = Message { sender: None, size: object.len() as u64 };
    let commands = [Command::Send(send), Command::Message(message)];
    let mut bytes: Vec<u8> = commands.iter().flat_map(|command| command.encode(None).into_bytes()).collect();
    bytes.extend_from_slice(object);
    bytes
}

fn dialled(world: &World, onion: usize) -> usize {
    let onion = world.public(onion).onion();
    world.circuits.iter().filter(|(node, to, _)| (*node, *to) == (ALICE, onion)).count()
}

#[test]
fn whoever_is_no_confirmed_contact_is_owed_no_receipt_and_never_dialled_for_one() {
    let mut world = world();
    let before = (dialled(&world, BOB), dialled(&world, CAROL));
    let asking = mail(&world, CAROL, 1, Some([1; 32]));
    assert!(bring(&mut world, &asking, None, Importance::Normal).contains("202"));
    assert_eq!(world.messages(ALICE, FolderRole::Requests).len(), 2, "her mail waits for a decision");
    assert_eq!(world.nodes[ALICE].identity.state().boxes().owed().count(), 0);
    // Bob is owed a receipt, and is blocked before it leaves; then he sends another message that asks for one.
    let owed = mail(&world, BOB, 2, Some([2; 32]));
    assert!(bring(&mut world, &owed, None, Importance::Normal).contains("202"));
    assert_eq!(world.nodes[ALICE].identity.state().boxes().owed().count(), 1);
    let bob = world.contact(ALICE, BOB).unwrap().id;
    let change = ContactChange::Status(ContactStatus::Blocked);
    world.append(ALICE, vec![Record::Book(BookRecord::ContactChanged { id: bob, change })], Vec::new());
    world.restart(ALICE);
    let blocked = mail(&world, BOB, 3, Some([3; 32]));
    assert!(bring(&mut world, &blocked, None, Importance::Normal).contains("202"));
    world.pass(3 * HOUR);
    assert_eq!((dialled(&world, BOB), dialled(&world, CAROL)), before);
    world.check();
}

#[test]
fn mail_that_comes_while_its_sender_is_accepted_or_blocked_does_not_stay_in_requests() {
    for (accepted, folder) in [(true, FolderRole::Inbox), (false, FolderRole::Junk)] {
        // The message is opened before the decision is made, and committed after it or before it.
        for mail_first in [false, true] {
            let mut world = world();
            let carol = world.contact(ALICE, CAROL).unwrap().id;
            let object = mail(&world, CAROL, 1, None);
            let session = world.accept(ALICE);
            world.run();
            let bytes = commands(&world, &object, None, Importance::Normal);
            let asked = world.objects.len();
            world.input(ALICE, Input::Received(session, bytes));
            if mail_first {
                world.run_until(|world| world.objects.len() > asked);
            }
            world.ask(ALICE, if accepted { Request::Accept(carol) } else { Request::Block(carol) });
            world.pass(MINUTE);
            let there = |role| world.texts(ALICE, role).iter().filter(|text| text.contains("Subject: x")).count();
            assert_eq!((there(FolderRole::Requests), there(folder)), (0, 1), "{folder:?} {mail_first}");
            world.check();
        }
    }
}

#[test]
fn mail_that_was_sealed_to_another_identity_is_answered_like_garbage() {
    let mut world = world();
    let invitation = world.invite(ALICE, false);
    let of_contact = world.contact(BOB, ALICE).unwrap().outbound.clone().unwrap();
    let of_invitation = Invitation::parse(&invitation).unwrap().auth_key().unwrap();
    for key in [Some(&of_contact), Some(&of_invitation), None] {
        // A true message of bob, who is alice's contact, for carol's key.
        let content = Content {
            kind: ContentKind::Mail,
            id: ContentId::from_bytes([1; 16]),
            expires: world.now.plus(DAY),
            receipt: Some([1; 32]),
            payload: world.message(BOB, "x").to_vec(),
        };
        let (bob, carol) = (world.fingerprint(BOB), world.fingerprint(CAROL));
        let elsewhere = crypto::seal(&bob, carol.as_bytes(), &content.encode(), Sizes::All);
        let garbage = vec![0xe5; elsewhere.len()];
        let answers = [&garbage, &elsewhere, &garbage].map(|object| {
            let before = world.now;
            let answer = bring(&mut world, object, key, Importance::High);
            (answer, world.now.since(before))
        });
        assert!(answers[0].0.contains("409 CONTENT REFUSED"), "{}", answers[0].0);
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        assert!(world.texts(ALICE, FolderRole::Inbox).iter().all(|text| !text.contains("Subject: x")));
        world.pass(HOUR);
    }
    world.check();
}

#[test]
fn only_a_contact_marks_its_mail_as_important() {
    let mut world = world();
    let key = world.contact(BOB, ALICE).unwrap().outbound.clone().unwrap();
    let (of_bob, of_carol) = (mail(&world, BOB, 1, None), mail(&world, CAROL, 2, None));
    assert!(bring(&mut world, &of_bob, Some(&key), Importance::High).contains("202"));
    assert!(bring(&mut world, &of_carol, None, Importance::High).contains("202"));
    let flagged = |role| -> Vec<bool> {
        let messages = world.messages(ALICE, role);
        messages.iter().map(|message| message.flags.contains(Flags::FLAGGED)).collect()
    };
    // In INBOX is what the node said of carol's request, and bob's mail.
    assert_eq!((flagged(FolderRole::Inbox), flagged(FolderRole::Requests)), (vec![false, true], vec![false, false]));
}

#[test]
fn an_older_card_replaces_no_newer_one() {
    let mut world = world();
    let known = |world: &World| world.contact(ALICE, BOB).unwrap().outbound.clone().unwrap();
    let newest = world.contact(ALICE, BOB).unwrap().cards.seen + 5;
    let newer = card(&world, newest, 50);
    assert!(bring(&mut world, &newer, None, Importance::Normal).contains("202"));
    assert!(known(&world) == MacKey::from_bytes([50; 32]), "a newer one does");
    for (counter, key) in [(newest, 51), (newest - 1, 52), (0, 53)] {
        let older = card(&world, counter, key);
        // An older card may only have been late, so it is not refused.
        assert!(bring(&mut world, &older, None, Importance::Normal).contains("202"));
        assert!(known(&world) == MacKey::from_bytes([50; 32]), "card {counter} after card {newest}");
    }
    world.restart(ALICE);
    assert!(known(&world) == MacKey::from_bytes([50; 32]));
    world.check();
}

#[test]
fn an_invitation_ends_when_it_says() {
    for (late, status) in [(false, ContactStatus::Confirmed), (true, ContactStatus::Request)] {
        let mut world = World::new(1, &["alice", "bob"]);
        let text = world.invite(ALICE, false);
        let expires = Invitation::parse(&text).unwrap().expires.unwrap();
        // He uses the invitation in time, and she comes online just before its end, or just after.
        world.nodes[ALICE].online = false;
        world.pass(expires.since(world.now) - 40 * MINUTE);
        world.add(BOB, &text).unwrap();
        world.submit(BOB, ALICE, "hello").unwrap();
        let end = if late { expires.plus(Duration::from_millis(1)) } else { expires.minus(Duration::from_secs(2)) };
        world.pass(end.since(world.now));
        world.nodes[ALICE].online = true;
        world.request(BOB, Request::Retry(None)).unwrap();
        world.pass(4 * limits::WIRE_ANSWER);
        let used = world.nodes[ALICE].published.book.invitations().any(|invitation| invitation.used.is_some());
        assert_eq!((world.contact(ALICE, BOB).map(|contact| contact.status), used), (Some(status), !late));
        let mut entry = world.nodes[ALICE].published.book.invitations().next().unwrap().clone();
        entry.used = None;
        assert!(entry.is_open(entry.expires.minus(Duration::from_millis(1))) && !entry.is_open(entry.expires));
    }
}

#[test]
fn holders_of_an_invitation_bring_no_more_than_strangers_together() {
    let mut world = world();
    let text = world.invite(ALICE, false);
    let key = Invitation::parse(&text).unwrap().auth_key().unwrap();
    let mut answers = Vec::new();
    for number in 0..3 * limits::STRANGER_PER_HOUR {
        answers.push(bring(&mut world, &[number as u8; 9], Some(&key), Importance::Normal));
    }
    let taken = answers.iter().filter(|answer| answer.contains("409")).count();
    assert_eq!(taken, limits::STRANGER_PER_HOUR as usize, "looked at: {answers:?}");
    assert!(answers.last().unwrap().contains("420"));
    // Contacts have their own allowance.
    let key = world.contact(BOB, ALICE).unwrap().outbound.clone().unwrap();
    let honest = mail(&world, BOB, 1, None);
    assert!(bring(&mut world, &honest, Some(&key), Importance::Normal).contains("202"));
}
