//! Stories of contacts that lie: about themselves in cards, and about others in introductions. docs/testing.md, "Forgeries",
//! says which test is of which forgery.

use crate::base::{ContentId, MacKey, limits};
use crate::engine::api::{Request, Response};
use crate::engine::io::{Input, Sizes};
use crate::engine::state::book::ContactStatus;
use crate::engine::state::forwarding::{self, Fate};
use crate::engine::state::introductions::{Parts, Path};
use crate::engine::state::mailbox::FolderRole;
use crate::engine::state::record::{BoxRecord, Record};
use crate::engine::tests::harness::{DAY, MINUTE, World, certificate, crypto};
use crate::mail::introduction::{Grant, Introduction};
use crate::mail::{Binding, Card, Content, ContentKind, Invitation, Revocation};
use crate::wire::{Claim, Command, Importance, Message, Send, authenticator, digest};

const ALICE: usize = 0;
const BOB: usize = 1;
const CAROL: usize = 2;
const MALLORY: usize = 3;

/// Bob and mallory know alice and carol, who do not know each other.
fn world() -> World {
    let mut world = World::new(31, &["alice", "bob", "carol", "mallory"]);
    for (one, other) in [(BOB, ALICE), (BOB, CAROL), (MALLORY, ALICE), (MALLORY, CAROL), (BOB, MALLORY)] {
        world.introduce(one, other);
    }
    world
}

fn content(world: &mut World, kind: ContentKind, payload: Vec<u8>) -> Content {
    let (id, expires) = (ContentId::random(&mut world.nodes[MALLORY].rng), world.now.plus(DAY));
    Content { kind, id, expires, receipt: None, payload }
}

/// What one node sends another to bring it a content, under the key that it has, or as a stranger without one.
fn commands(world: &World, from: usize, to: usize, content: &Content) -> Vec<u8> {
    let (author, reader) = (world.fingerprint(from), world.fingerprint(to));
    let object = crypto::seal(&author, reader.as_bytes(), &content.encode(), Sizes::All);
    let claim = Claim::of(&object);
    let key = world.contact(from, to).unwrap().outbound.clone();
    let send = Send {
        to: world.address(to),
        certificate: None,
        server: None,
        claim: Some(claim),
        auth: key.map(|key| authenticator(&key, world.public(to).onion(), &claim)),
        onward: None,
        importance: Importance::Normal,
        secure: false,
    };
    let commands = [Command::Send(send), Command::Message(Message { sender: None, size: object.len() as u64 })];
    let mut bytes: Vec<u8> = commands.iter().flat_map(|command| command.encode(None).into_bytes()).collect();
    bytes.extend_from_slice(&object);
    bytes
}

/// One node brings another a content, in a session of its own; the answers.
fn bring(world: &mut World, from: usize, to: usize, content: &Content) -> String {
    let bytes = commands(world, from, to, content);
    let session = world.accept(to);
    world.run();
    world.replies.clear();
    world.input(to, Input::Received(session, bytes));
    world.pass(limits::WIRE_ANSWER);
    world.input(to, Input::Closed(session));
    world.run();
    world.replies.iter().filter(|(node, _)| *node == to).map(|(_, text)| text.as_str()).collect()
}

/// A card of mallory.
fn card(world: &World, counter: u64, key: u8) -> Card {
    let public = world.public(MALLORY);
    Card {
        counter,
        address: public.address.clone(),
        certificate: certificate(&public.fingerprint),
        binding: crypto::binding(&public.fingerprint),
        auth_key: MacKey::from_bytes([key; 32]),
        invitation: None,
        boxes: Vec::new(),
        receipts: true,
    }
}

fn bring_card(world: &mut World, card: &Card) -> String {
    let content = content(world, ContentKind::Card, serde_json::to_vec(card).unwrap());
    bring(world, MALLORY, ALICE, &content)
}

/// What alice knows of mallory by cards.
fn known(world: &World) -> (u64, MacKey) {
    let contact = world.contact(ALICE, MALLORY).unwrap();
    (contact.cards.seen, contact.outbound.clone().unwrap())
}

#[test]
fn the_number_of_a_card_jumps_only_so_far() {
    let mut world = world();
    let before = known(&world);
    let hours = u64::try_from(world.now.secs() / 3600).unwrap();
    for counter in [u64::MAX, u64::MAX - 1, hours + limits::CARD_JUMP + 1] {
        let card = card(&world, counter, 90);
        assert!(bring_card(&mut world, &card).contains("409"), "{counter}");
        assert!(known(&world) == before);
    }
    // A node that was restored goes on from the hours, and the next cards of anybody count.
    let mut last = 0;
    for (counter, key) in [(hours, 91), (hours + limits::CARD_JUMP, 92), (hours + 2 * limits::CARD_JUMP, 93)] {
        let card = card(&world, counter, key);
        assert!(bring_card(&mut world, &card).contains("202"), "{counter}");
        assert!(known(&world) == (counter, MacKey::from_bytes([key; 32])) && counter > last);
        last = counter;
    }
    world.check();
}

#[test]
fn two_cards_with_one_number_are_told_once_and_the_first_one_counts() {
    let mut world = world();
    let (seen, key) = known(&world);
    let told = |world: &World| {
        let texts = world.texts(ALICE, FolderRole::Inbox);
        texts
            .into_iter()
            .filter(|text| text.contains("Subject: A contact says two different things"))
            .collect::<Vec<_>>()
    };
    // The same again, and an older one, are no two.
    for card in [Card { auth_key: key.clone(), ..card(&world, seen, 0) }, card(&world, seen - 1, 81)] {
        assert!(bring_card(&mut world, &card).contains("202"));
        assert!(told(&world).is_empty());
    }
    for number in 82..90 {
        let card = card(&world, seen, number);
        assert!(bring_card(&mut world, &card).contains("202"));
    }
    assert!(known(&world) == (seen, key));
    let said = told(&world);
    assert!(said.len() == 1 && said[0].contains("mallory <mallory@"), "{said:?}");
    assert!(said[0].contains(&format!("sent two cards with the number {seen} that differ")));
    // So is another certificate with the same key.
    world.restart(ALICE);
    let mut other = card(&world, seen, 0);
    other.auth_key = known(&world).1;
    assert!(bring_card(&mut world, &other).contains("202"));
    assert_eq!(told(&world).len(), 1);
    // A blocked contact makes no mail.
    let mallory = world.contact(ALICE, MALLORY).unwrap().id;
    world.request(ALICE, Request::Block(mallory)).unwrap();
    let card = card(&world, seen, 95);
    assert!(bring_card(&mut world, &card).contains("202"));
    assert_eq!(told(&world).len(), 1);
    world.check();
}

#[test]
fn cards_go_on_from_the_number_of_one_that_brought_a_secret() {
    let mut world = world();
    let newest = card(&world, known(&world).0 + 50, 70);
    assert!(bring_card(&mut world, &newest).contains("202"));
    // Mallory's node lost what it had: it begins with 1 again, with a new invitation.
    let text = world.invite(ALICE, false);
    let secret = Invitation::parse(&text).unwrap().secret.map(|secret| secret.to_vec());
    for (counter, key, invitation) in [(1, 71, secret), (2, 72, None)] {
        let card = Card { invitation, ..card(&world, counter, key) };
        assert!(bring_card(&mut world, &card).contains("202"));
        assert!(known(&world) == (counter, MacKey::from_bytes([key; 32])), "{counter}");
    }
    world.check();
}

#[test]
fn a_card_with_the_binding_or_the_key_of_somebody_else_is_refused() {
    let mut world = world();
    let before = known(&world);
    let counter = before.0 + 1;
    let bob = world.fingerprint(BOB);
    let cards = [
        Card { binding: crypto::binding(&bob), ..card(&world, counter, 60) },
        Card {
            binding: Binding { epoch: 1, onion_signature: vec![4; 64], key_signature: vec![2; 80] },
            ..card(&world, counter, 60)
        },
        Card { certificate: certificate(&bob), ..card(&world, counter, 60) },
        Card { address: world.public(BOB).address.clone(), ..card(&world, counter, 60) },
        Card { address: world.public(CAROL).address.clone(), ..card(&world, counter, 60) },
    ];
    let of_bob = world.contact(ALICE, BOB).unwrap();
    for card in cards {
        assert!(bring_card(&mut world, &card).contains("409"));
        assert!(known(&world) == before && *world.contact(ALICE, BOB).unwrap() == *of_bob);
        assert!(world.contact(ALICE, CAROL).is_none());
    }
    world.check();
}

/// Carol grants somebody an invitation for alice; what the introducer would hand on. Alice gets nothing of it.
fn granted(world: &mut World, introducer: usize) -> Introduction {
    world.nodes[ALICE].online = false;
    let (guest, host) = (world.contact(introducer, ALICE).unwrap().id, world.contact(introducer, CAROL).unwrap().id);
    world.request(introducer, Request::Introduce { guest, host, text: String::new() }).unwrap();
    world.pass(MINUTE);
    let id = *world.nodes[CAROL].identity.state().introductions().parts().asked.keys().next().unwrap();
    world.request(CAROL, Request::AcceptIntroduction(id)).unwrap();
    world.pass(MINUTE);
    let queued = world.nodes[introducer].published.queue.iter().next().unwrap().clone();
    serde_json::from_slice(&world.nodes[introducer].bodies[&queued.body]).unwrap()
}

fn grant_of(introduction: &Introduction) -> (Content, Grant) {
    let content = Content::decode(introduction.grant.clone()).unwrap();
    let grant = serde_json::from_slice(&content.payload).unwrap();
    (content, grant)
}

fn hand_on(world: &mut World, by: usize, introduction: &Introduction) -> String {
    let content = content(world, ContentKind::Introduction, serde_json::to_vec(introduction).unwrap());
    bring(world, by, ALICE, &content)
}

fn offers(world: &World) -> usize {
    world.nodes[ALICE].identity.state().introductions().parts().offers.len()
}

#[test]
fn a_grant_that_its_introducer_altered_is_refused() {
    let mut world = world();
    let honest = granted(&mut world, MALLORY);
    let (signed, grant) = grant_of(&honest);
    let invitation = Invitation::parse(&grant.invitations[0]).unwrap();
    let of = |change: &dyn Fn(&mut Invitation)| {
        let mut invitation = invitation.clone();
        change(&mut invitation);
        Grant { invitations: vec![invitation.encode()], ..grant.clone() }
    };
    let mallory = world.public(MALLORY).clone();
    let altered = [
        // Somebody else's address, key or secret; a later end; one invitation more; the word that it is because of a message.
        of(&|invitation| invitation.address = mallory.address.clone()),
        of(&|invitation| invitation.fingerprint = mallory.fingerprint),
        of(&|invitation| invitation.secret = Some([9; 16])),
        of(&|invitation| invitation.expires = invitation.expires.map(|expires| expires.plus(DAY))),
        Grant { invitations: vec![grant.invitations[0].clone(); 2], ..grant.clone() },
        Grant { others: Some(1), ..grant.clone() },
        Grant { ask: ContentId::from_bytes([1; 16]), ..grant.clone() },
        Grant { binding: mallory.binding.clone(), ..grant.clone() },
        Grant { certificate: mallory.certificate.to_vec(), ..grant.clone() },
    ];
    for grant in altered {
        let content = Content { payload: serde_json::to_vec(&grant).unwrap(), ..signed.clone() };
        let introduction = Introduction { grant: content.encode(), ..honest.clone() };
        assert!(hand_on(&mut world, MALLORY, &introduction).contains("409"));
        // Nor does it help to sign it oneself.
        let own = crypto::signature(&mallory.fingerprint, &mallory.fingerprint, &introduction.grant);
        assert!(hand_on(&mut world, MALLORY, &Introduction { signature: own, ..introduction }).contains("409"));
    }
    assert!(offers(&world) == 0 && world.messages(ALICE, FolderRole::Requests).is_empty());
    assert!(hand_on(&mut world, MALLORY, &honest).contains("202"));
    assert_eq!(offers(&world), 1, "and what is not altered is taken");
    world.check();
}

#[test]
fn a_grant_for_another_introducer_is_refused() {
    let mut world = world();
    let honest = granted(&mut world, BOB);
    assert!(
        hand_on(&mut world, MALLORY, &honest).contains("409"),
        "carol agreed that bob introduces her, and nobody else"
    );
    assert_eq!(offers(&world), 0);
    assert!(hand_on(&mut world, BOB, &honest).contains("202"));
    assert_eq!(offers(&world), 1);
    world.check();
}

/// Somebody uses an invitation; what carol knows of them then.
fn uses(world: &mut World, node: usize, text: &str) -> Option<ContactStatus> {
    if let Some(known) = world.contact(CAROL, node) {
        world.request(CAROL, Request::RemoveContact(known.id)).unwrap();
    }
    if let Some(known) = world.contact(node, CAROL) {
        world.request(node, Request::RemoveContact(known.id)).unwrap();
    }
    let _: Result<Response, _> = world.add(node, text);
    world.pass(5 * MINUTE);
    world.contact(CAROL, node).map(|contact| contact.status)
}

#[test]
fn a_grant_that_mallory_uses_makes_mallory_known_as_introduced_by_bob_and_nobody_as_alice() {
    let mut world = world();
    let honest = granted(&mut world, BOB);
    let text = grant_of(&honest).1.invitations[0].clone();
    assert_eq!(uses(&mut world, MALLORY, &text), Some(ContactStatus::Confirmed));
    let contact = world.contact(CAROL, MALLORY).unwrap();
    assert!(contact.petname == "mallory" && contact.address == world.public(MALLORY).address);
    let by: Vec<_> = world.nodes[CAROL].identity.state().introductions().paths(&contact.fingerprint).to_vec();
    assert!(by.len() == 1 && by[0].by == world.contact(CAROL, BOB).unwrap().id, "{by:?}");
    assert!(world.contact(CAROL, ALICE).is_none());
    // The one for whom it was finds it used, and waits for carol's decision.
    world.nodes[ALICE].online = true;
    assert_eq!(uses(&mut world, ALICE, &text), Some(ContactStatus::Request));
    world.check();
}

#[test]
fn a_grant_is_worth_nothing_after_its_use_its_end_and_its_withdrawal() {
    // After its use, by anybody.
    let mut used = world();
    let honest = granted(&mut used, BOB);
    let text = grant_of(&honest).1.invitations[0].clone();
    used.nodes[ALICE].online = true;
    assert_eq!(uses(&mut used, ALICE, &text), Some(ContactStatus::Confirmed));
    assert_eq!(uses(&mut used, MALLORY, &text), Some(ContactStatus::Request));
    used.check();
    // After its end: whoever has it cannot use it, and an introduction with it is dropped.
    let mut ended = world();
    let honest = granted(&mut ended, BOB);
    let text = grant_of(&honest).1.invitations[0].clone();
    ended.pass(limits::INTRODUCTION);
    assert!(ended.add(ALICE, &text).unwrap_err().to_string().contains("expired"));
    assert!(hand_on(&mut ended, BOB, &honest).contains("202"));
    assert_eq!(offers(&ended), 0);
    ended.check();
    // After carol withdrew it.
    let mut withdrawn = world();
    let honest = granted(&mut withdrawn, BOB);
    let text = grant_of(&honest).1.invitations[0].clone();
    let id = *withdrawn.nodes[CAROL].identity.state().introductions().parts().granted.keys().next().unwrap();
    withdrawn.request(CAROL, Request::RevokeInvitation(id)).unwrap();
    assert_eq!(uses(&mut withdrawn, MALLORY, &text), Some(ContactStatus::Request));
    withdrawn.check();
}

#[test]
fn what_was_taken_once_asks_and_changes_nothing_when_it_comes_again_under_another_id() {
    let mut world = world();
    let honest = granted(&mut world, BOB);
    world.nodes[ALICE].online = true;
    assert!(hand_on(&mut world, BOB, &honest).contains("202"));
    let id = *world.nodes[ALICE].identity.state().introductions().parts().offers.keys().next().unwrap();
    world.request(ALICE, Request::AcceptIntroduction(id)).unwrap();
    world.pass(3 * 60 * MINUTE);
    let carol = world.contact(ALICE, CAROL).unwrap();
    assert_eq!(carol.status, ContactStatus::Confirmed);
    let paths = |world: &World| world.nodes[ALICE].identity.state().introductions().paths(&carol.fingerprint).len();
    let before = (paths(&world), world.messages(ALICE, FolderRole::Requests).len());
    for _ in 0..3 {
        assert!(hand_on(&mut world, BOB, &honest).contains("202"));
    }
    assert_eq!((paths(&world), world.messages(ALICE, FolderRole::Requests).len()), before);
    assert!(*world.contact(ALICE, CAROL).unwrap() == *carol);
    // Carol's grant again: bob has used it, and has nothing to hand on to alice, for whom it would wait.
    world.nodes[ALICE].online = false;
    let (signed, _) = grant_of(&honest);
    let again = content(&mut world, ContentKind::IntroductionGrant, signed.payload);
    assert!(bring(&mut world, CAROL, BOB, &again).contains("202"));
    assert!(world.nodes[BOB].published.queue.is_empty());
    world.check();
}

#[test]
fn an_introducer_who_comes_again_and_again_pushes_no_other_out_of_the_history() {
    let world = world();
    let [bob, mallory] = [BOB, MALLORY].map(|node| world.contact(ALICE, node).unwrap().id);
    let (fingerprint, at) = (world.fingerprint(CAROL), world.now);
    let mut parts = Parts::default();
    let path = |by, ask| Path { by, at, ask };
    parts.add_path(fingerprint, path(bob, None));
    for number in 0..200 {
        parts.add_path(fingerprint, path(mallory, Some(ContentId::from_bytes([number; 16]))));
    }
    let paths = &parts.paths[&fingerprint];
    assert!(paths.len() <= limits::INTRODUCERS && paths[0].by == bob);
}

#[test]
fn asks_that_come_at_once_do_not_pass_the_bound_together() {
    let mut world = world();
    for _ in 0..3 {
        let sessions: Vec<_> = (0..limits::CONTACT_SESSIONS).map(|_| world.accept(ALICE)).collect();
        world.run();
        for session in sessions {
            let mut bytes = Vec::new();
            for _ in 0..2 {
                let ask = content(&mut world, ContentKind::IntroductionAsk, b"{}".to_vec());
                bytes.extend(commands(&world, MALLORY, ALICE, &ask));
            }
            world.input(ALICE, Input::Received(session, bytes));
        }
        world.pass(MINUTE);
    }
    assert_eq!(world.messages(ALICE, FolderRole::Requests).len(), limits::INTRODUCTIONS_PENDING);
    world.check();
}

#[test]
fn a_revocation_by_somebody_who_waits_in_requests_only_ends_the_request() {
    let mut world = world();
    let poster = world.invite(CAROL, true);
    world.add(ALICE, &poster).unwrap();
    world.pass(MINUTE);
    assert_eq!(world.contact(CAROL, ALICE).unwrap().status, ContactStatus::Request);
    let alice = world.public(ALICE);
    let revocation = Revocation {
        onion: alice.onion(),
        certificate: alice.certificate.to_vec(),
        binding: alice.binding.clone(),
        onion_revocation: None,
        key_revocation: Some(crypto::sign(&alice.fingerprint, "revocation of the key")),
    };
    let told = world.texts(CAROL, FolderRole::Inbox).len();
    let content = content(&mut world, ContentKind::Revocation, revocation.payload());
    let answer = bring(&mut world, ALICE, CAROL, &content);
    assert!(answer.contains("202"), "{answer}");
    assert!(world.contact(CAROL, ALICE).is_none(), "nobody waits any more");
    assert!(world.nodes[CAROL].identity.state().revocations().is_empty(), "a stranger makes her remember nothing");
    assert_eq!(world.texts(CAROL, FolderRole::Inbox).len(), told);
    world.check();
}

#[test]
fn a_contact_calls_no_copy_lost_but_the_one_that_was_left_for_it() {
    let mut world = world();
    let carrier = world.add_carrier(200);
    let place = world.invite_to_box(carrier);
    world.rent(BOB, &place, 201).unwrap();
    world.pass(30 * MINUTE);
    world.apart.extend([(ALICE, BOB), (BOB, ALICE)]);
    world.nodes[BOB].online = false;
    world.submit(ALICE, BOB, "at the box").unwrap();
    world.pass(60 * MINUTE);
    let held = world.carriers[carrier].held();
    assert_eq!(held.len(), 1);
    let line = forwarding::line(&digest(&held[0]), Fate::Refused).into_bytes();
    let lost = |world: &World| {
        let is_lost = |record: &Record| matches!(record, Record::Boxes(BoxRecord::ObjectLost { .. }));
        world.nodes[ALICE].log.iter().filter(|(_, record)| is_lost(record)).count()
    };
    for (from, count) in [(MALLORY, 0), (BOB, 1), (BOB, 1)] {
        let content = content(&mut world, ContentKind::Receipt, line.clone());
        assert!(bring(&mut world, from, ALICE, &content).contains("202"));
        assert_eq!(lost(&world), count, "{from}");
    }
    world.check();
}
