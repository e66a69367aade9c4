//! Stories of revocations: contacts are told, directly and by their boxes, and take no other word for it; and what is
//! forged.

use crate::base::limits;
use crate::engine::Unaddressable;
use crate::engine::api::{Request, RequestError, Response};
use crate::engine::state::book::ContactStatus;
use crate::engine::state::mailbox::FolderRole;
use crate::engine::tests::harness::{DAY, MINUTE, World, crypto, replay};
use crate::engine::tests::scenarios::{ALICE, BOB, CAROL, friends};
use crate::mail::revocation::{Extent, Revocation};

const ONION: Extent = Extent { onion: true, key: false };
const KEY: Extent = Extent { onion: false, key: true };
const ALL: Extent = Extent { onion: true, key: true };

/// Alice revokes so much of her identity. Gives the statement, and how many contacts are told.
fn revoke(world: &mut World, extent: Extent) -> (Revocation, usize) {
    let answer = world.request(ALICE, Request::Revoke(extent));
    let Ok(Response::Revoked { statement, contacts }) = answer else { panic!("{answer:?}") };
    world.pass(MINUTE);
    (Revocation::read(&statement).unwrap(), contacts)
}

fn status(world: &World, node: usize, of: usize) -> Option<ContactStatus> {
    world.contact(node, of).map(|contact| contact.status)
}

fn has_text(world: &World, node: usize, words: &str) -> usize {
    world.texts(node, FolderRole::Inbox).iter().filter(|text| text.contains(words)).count()
}

#[test]
fn a_contact_that_is_told_sends_nothing_more_and_reads_why() {
    for extent in [ONION, KEY, ALL] {
        let mut world = friends();
        let (_, told) = revoke(&mut world, extent);
        assert_eq!(told, 1);
        assert_eq!(status(&world, BOB, ALICE), Some(ContactStatus::Revoked), "{extent:?}");
        let notices = has_text(&world, BOB, "A contact revoked its address or key");
        assert_eq!(notices, 1, "{extent:?}");
        assert_eq!(has_text(&world, BOB, extent.words()), 1);
        assert!(world.nodes[BOB].published.queue.is_empty() && world.nodes[ALICE].published.queue.is_empty());
        let refused = world.submit(BOB, ALICE, "later");
        assert!(
            matches!(refused, Err(RequestError::UnknownRecipient { why: Unaddressable::Revoked, .. })),
            "{refused:?}"
        );
        world.dials.clear();
        world.pass(2 * DAY);
        assert!(!world.dials.contains(&(BOB, ALICE)), "nobody calls there any more");
        world.check();
    }
}

#[test]
fn mail_that_waits_for_somebody_who_revoked_comes_back_with_the_reason() {
    let mut world = friends();
    world.nodes[ALICE].online = false;
    world.submit(BOB, ALICE, "waits").unwrap();
    world.pass(10 * MINUTE);
    let (statement, _) = revoke(&mut world, ALL);
    let alice = world.fingerprint(ALICE);
    world.request(BOB, Request::TakeRevocation(alice, Box::new(statement))).unwrap();
    world.pass(MINUTE);
    assert_eq!(has_text(&world, BOB, "They revoked this address or its key"), 1);
    assert!(world.nodes[BOB].published.queue.is_empty());
    world.nodes[ALICE].online = true;
    world.dials.clear();
    world.pass(2 * DAY);
    assert!(!world.dials.contains(&(BOB, ALICE)) && has_text(&world, ALICE, "Text of waits.") == 0);
    world.check();
}

#[test]
fn an_identity_that_was_revoked_sends_nothing_and_what_waited_ends_with_a_report() {
    let mut world = friends();
    let invitation = world.invite(ALICE, false);
    world.nodes[BOB].online = false;
    world.submit(ALICE, BOB, "waits").unwrap();
    world.pass(10 * MINUTE);
    revoke(&mut world, ALL);
    assert_eq!(has_text(&world, ALICE, "You revoked this identity"), 1);
    assert_eq!(world.nodes[ALICE].published.queue.len(), 1, "the revocation alone waits");
    assert_eq!(world.submit(ALICE, BOB, "later"), Err(RequestError::Revoked));
    let expires = world.now.plus(DAY);
    let invite = Request::Invite { public: false, expires, label: None };
    assert_eq!(world.request(ALICE, invite), Err(RequestError::Revoked));
    let others = world.invite(CAROL, false);
    assert_eq!(world.add(ALICE, &others), Err(RequestError::Revoked));
    world.nodes[BOB].online = true;
    world.pass(2 * 60 * MINUTE);
    assert_eq!(status(&world, BOB, ALICE), Some(ContactStatus::Revoked));
    assert_eq!(has_text(&world, BOB, "Text of"), 0, "no mail came");
    // An invitation that she had given away makes nobody her contact.
    world.add(CAROL, &invitation).unwrap();
    world.pass(MINUTE);
    assert_ne!(status(&world, ALICE, CAROL), Some(ContactStatus::Confirmed));
    world.check();
}

#[test]
fn a_contact_that_is_away_learns_it_on_return_and_one_that_stays_away_is_named_after_two_weeks() {
    let mut world = friends();
    world.introduce(ALICE, CAROL);
    for away in [BOB, CAROL] {
        world.nodes[away].online = false;
    }
    assert_eq!(revoke(&mut world, ALL).1, 2);
    world.pass(9 * DAY);
    assert_eq!(status(&world, BOB, ALICE), Some(ContactStatus::Confirmed));
    world.nodes[BOB].online = true;
    world.pass(2 * 60 * MINUTE);
    assert_eq!(status(&world, BOB, ALICE), Some(ContactStatus::Revoked));
    world.pass(6 * DAY);
    assert_eq!(has_text(&world, ALICE, "The revocation of this identity"), 1, "carol was not told");
    assert!(world.nodes[ALICE].published.queue.is_empty());
    world.check();
}

#[test]
fn a_revocation_reaches_the_box_of_somebody_who_is_never_online_together_with_its_author() {
    let mut world = friends();
    let carrier = world.add_carrier(200);
    let place = world.invite_to_box(carrier);
    world.rent(BOB, &place, 201).unwrap();
    world.pass(30 * MINUTE);
    world.nodes[BOB].online = false;
    world.pass(MINUTE);
    revoke(&mut world, ALL);
    world.pass(DAY);
    world.nodes[ALICE].online = false;
    world.nodes[BOB].online = true;
    world.pass(DAY);
    assert_eq!(status(&world, BOB, ALICE), Some(ContactStatus::Revoked));
    assert_eq!(has_text(&world, BOB, "A contact revoked its address or key"), 1);
    world.check();
}

#[test]
fn what_was_revoked_comes_back_by_no_removal_invitation_card_or_backup() {
    for extent in [ONION, KEY] {
        let mut world = friends();
        world.introduce(ALICE, CAROL);
        let (poster, private) = (world.invite(ALICE, true), world.invite(ALICE, false));
        let before = world.nodes[ALICE].log.clone();
        revoke(&mut world, extent);
        let alice = world.contact(BOB, ALICE).unwrap().id;
        for refused in [Request::Block(alice), Request::Unblock(alice), Request::Accept(alice)] {
            let _ = world.request(BOB, refused);
            assert_eq!(status(&world, BOB, ALICE), Some(ContactStatus::Revoked));
        }
        world.restart(BOB);
        world.request(BOB, Request::RemoveContact(alice)).unwrap();
        assert_eq!(status(&world, BOB, ALICE), None);
        for invitation in [&poster, &private] {
            let refused = world.add(BOB, invitation);
            assert!(
                matches!(refused, Err(RequestError::InvitationRefused(why)) if why.contains("revoked")),
                "{refused:?}"
            );
        }
        // A backup of alice's node from before: it takes itself for whole, greets and writes.
        world.nodes[ALICE].log = before;
        world.restart(ALICE);
        let invitation = world.invite(BOB, false);
        world.add(ALICE, &invitation).unwrap();
        world.submit(ALICE, CAROL, "from the backup").unwrap();
        world.pass(DAY);
        assert_eq!(status(&world, BOB, ALICE), None, "no card brings her back: {extent:?}");
        assert_eq!(status(&world, CAROL, ALICE), Some(ContactStatus::Revoked));
        let read = has_text(&world, CAROL, "Text of from the backup.");
        assert_eq!(read, usize::from(!extent.key), "mail counts as long as its key does");
        assert!(replay(&world.nodes[BOB].log) == *world.nodes[BOB].identity.state());
        world.check();
    }
}

#[test]
fn whoever_is_blocked_or_waits_in_requests_and_revokes_is_let_in_by_nothing() {
    let mut world = friends();
    let alice = world.contact(BOB, ALICE).unwrap().id;
    world.request(BOB, Request::Block(alice)).unwrap();
    let poster = world.invite(CAROL, true);
    world.add(ALICE, &poster).unwrap();
    world.pass(MINUTE);
    assert_eq!(status(&world, CAROL, ALICE), Some(ContactStatus::Request));
    let (statement, _) = revoke(&mut world, ONION);
    assert_eq!(status(&world, BOB, ALICE), Some(ContactStatus::Blocked), "her mail is dropped as before");
    world.request(BOB, Request::Unblock(alice)).unwrap();
    assert_eq!(status(&world, BOB, ALICE), Some(ContactStatus::Revoked));
    let fingerprint = world.fingerprint(ALICE);
    world.request(CAROL, Request::TakeRevocation(fingerprint, Box::new(statement))).unwrap();
    let waits = world.contact(CAROL, ALICE).unwrap().id;
    assert!(matches!(world.request(CAROL, Request::Accept(waits)), Err(RequestError::NotReady(_))));
    assert_eq!(status(&world, CAROL, ALICE), Some(ContactStatus::Request));
    world.request(CAROL, Request::Block(waits)).unwrap();
    assert_eq!(status(&world, CAROL, ALICE), Some(ContactStatus::Blocked), "she can be refused");
    world.pass(MINUTE);
    world.check();
}

#[test]
fn an_identity_that_was_revoked_accepts_nobody_who_waits() {
    let mut world = friends();
    let poster = world.invite(ALICE, true);
    world.add(CAROL, &poster).unwrap();
    for subject in ["please", "again"] {
        world.submit(CAROL, ALICE, subject).unwrap();
        world.pass(MINUTE);
    }
    assert_eq!(status(&world, ALICE, CAROL), Some(ContactStatus::Request));
    revoke(&mut world, ONION);
    let carol = world.contact(ALICE, CAROL).unwrap().id;
    assert_eq!(world.request(ALICE, Request::Accept(carol)), Err(RequestError::Revoked));
    let mailbox = world.nodes[ALICE].published.mailbox.clone();
    let role = |role| mailbox.by_role(role).unwrap().id;
    let (from, to) = (role(FolderRole::Requests), role(FolderRole::Inbox));
    let waiting = world.messages(ALICE, FolderRole::Requests);
    let uids = vec![waiting.last().unwrap().uid];
    world.request(ALICE, Request::Transfer { from, to, uids, keep: false }).unwrap();
    world.dials.clear();
    world.pass(2 * DAY);
    assert_eq!(status(&world, ALICE, CAROL), Some(ContactStatus::Request));
    let left = world.messages(ALICE, FolderRole::Requests).len();
    assert_eq!(left, waiting.len() - 1, "nothing else follows, because nothing is decided");
    assert!(!world.dials.contains(&(ALICE, CAROL)), "and she is told nothing");
    let moved = has_text(&world, ALICE, "Text of please.") + has_text(&world, ALICE, "Text of again.");
    assert_eq!(moved, 1, "her mail is read all the same");
    world.check();
}

#[test]
fn what_lies_in_a_box_of_somebody_who_revoked_the_onion_alone_is_still_a_contacts_mail() {
    let mut world = friends();
    let carrier = world.add_carrier(200);
    let place = world.invite_to_box(carrier);
    world.rent(BOB, &place, 201).unwrap();
    world.pass(30 * MINUTE);
    world.apart.extend([(ALICE, BOB), (BOB, ALICE)]);
    world.nodes[BOB].online = false;
    // More than a stranger may send.
    let size = 2 * limits::STRANGER_BYTES;
    world.submit_sized(ALICE, BOB, size).unwrap();
    world.pass(60 * MINUTE);
    assert_eq!(world.carriers[carrier].held().len(), 1);
    let (statement, _) = revoke(&mut world, ONION);
    let alice = world.fingerprint(ALICE);
    world.request(BOB, Request::TakeRevocation(alice, Box::new(statement))).unwrap();
    assert_eq!(status(&world, BOB, ALICE), Some(ContactStatus::Revoked));
    world.nodes[BOB].online = true;
    world.pass(DAY);
    assert_eq!(has_text(&world, BOB, "Subject: sized"), 1);
    world.check();
}

#[test]
fn nobody_is_introduced_by_what_they_revoked() {
    let mut world = World::new(5, &["alice", "bob", "carol"]);
    world.introduce(BOB, ALICE);
    world.introduce(BOB, CAROL);
    // Alice revoked her key. Carol has the file, and bob, who introduces them, knows nothing of it.
    let (guest, host) = (world.contact(BOB, CAROL).unwrap().id, world.contact(BOB, ALICE).unwrap().id);
    world.request(BOB, Request::Introduce { guest, host, text: String::new() }).unwrap();
    world.pass(MINUTE);
    world.nodes[BOB].online = false;
    let mailbox = world.nodes[ALICE].published.mailbox.clone();
    let role = |role| mailbox.by_role(role).unwrap().id;
    let (from, to) = (role(FolderRole::Requests), role(FolderRole::Inbox));
    let uids = world.messages(ALICE, FolderRole::Requests).iter().map(|message| message.uid).collect();
    world.request(ALICE, Request::Transfer { from, to, uids, keep: false }).unwrap();
    let statement = Revocation {
        onion: world.public(ALICE).onion(),
        certificate: world.public(ALICE).certificate.to_vec(),
        binding: world.public(ALICE).binding.clone(),
        onion_revocation: None,
        key_revocation: Some(vec![1]),
    };
    let alice = world.fingerprint(ALICE);
    world.request(CAROL, Request::TakeRevocation(alice, Box::new(statement))).unwrap();
    world.nodes[BOB].online = true;
    world.pass(2 * 60 * MINUTE);
    assert!(world.messages(CAROL, FolderRole::Requests).is_empty(), "she is not asked");
    assert_eq!(status(&world, CAROL, ALICE), None);
    world.check();
}

#[test]
fn a_file_is_taken_for_a_contact_once_and_for_a_stranger_before_they_meet() {
    let mut world = friends();
    let poster = world.invite(ALICE, true);
    world.nodes[ALICE].online = false;
    let (statement, _) = revoke(&mut world, ALL);
    let alice = world.fingerprint(ALICE);
    for _ in 0..2 {
        world.request(BOB, Request::TakeRevocation(alice, Box::new(statement.clone()))).unwrap();
        world.pass(MINUTE);
    }
    assert_eq!(status(&world, BOB, ALICE), Some(ContactStatus::Revoked));
    assert_eq!(has_text(&world, BOB, "A contact revoked its address or key"), 1, "once");
    world.request(CAROL, Request::TakeRevocation(alice, Box::new(statement.clone()))).unwrap();
    assert!(world.add(CAROL, &poster).is_err());
    let own = world.request(ALICE, Request::TakeRevocation(alice, Box::new(statement)));
    assert!(matches!(own, Err(RequestError::NotReady(_))), "{own:?}");
    world.check();
}

#[test]
fn a_second_revocation_extends_the_first_and_the_same_again_tells_nobody() {
    let mut world = friends();
    assert_eq!(revoke(&mut world, ONION).1, 1);
    assert_eq!(revoke(&mut world, ONION).1, 0);
    let (statement, told) = revoke(&mut world, KEY);
    assert_eq!((statement.extent(), told), (ALL, 1));
    assert_eq!(world.nodes[BOB].identity.state().revocations().of(&world.fingerprint(ALICE)).unwrap().extent, ALL);
    assert_eq!(has_text(&world, BOB, "A contact revoked its address or key"), 2);
    world.check();
}

/// Alice's revocation waits for bob, who is away: the payload is changed.
fn forged(change: impl Fn(&mut Revocation, &World)) -> World {
    let mut world = friends();
    world.nodes[BOB].online = false;
    revoke(&mut world, ALL);
    let queued = world.nodes[ALICE].published.queue.iter().next().unwrap().clone();
    let mut revocation = Revocation::read(&world.nodes[ALICE].bodies[&queued.body]).unwrap();
    change(&mut revocation, &world);
    world.nodes[ALICE].bodies.insert(queued.body, revocation.payload().into());
    world.nodes[BOB].online = true;
    world.pass(2 * 60 * MINUTE);
    world
}

/// Nothing of it counts, and its author's node hears that it was refused.
fn without_effect(world: &World) {
    assert_eq!(status(world, BOB, ALICE), Some(ContactStatus::Confirmed));
    assert!(world.nodes[BOB].identity.state().revocations().is_empty());
    assert_eq!(has_text(world, BOB, "revoked"), 0);
    assert!(world.nodes[ALICE].published.queue.is_empty());
    world.check();
}

#[test]
fn a_revocation_that_is_not_forged_is_taken() {
    assert_eq!(status(&forged(|_, _| ()), BOB, ALICE), Some(ContactStatus::Revoked));
}

#[test]
fn a_revocation_by_the_wrong_signer_is_refused() {
    let signed = |by: usize, text: &str, world: &World| Some(crypto::sign(&world.fingerprint(by), text));
    without_effect(&forged(|revocation, world| {
        revocation.key_revocation = signed(CAROL, "revocation of the key", world);
    }));
    without_effect(&forged(|revocation, world| {
        revocation.onion_revocation = signed(CAROL, &format!("revocation of {}", revocation.onion), world);
    }));
    // Everything in it is carol's own, and true; but alice sent it.
    without_effect(&forged(|revocation, world| {
        let carol = world.public(CAROL);
        *revocation = Revocation {
            onion: carol.onion(),
            certificate: carol.certificate.to_vec(),
            binding: carol.binding.clone(),
            onion_revocation: None,
            key_revocation: signed(CAROL, "revocation of the key", world),
        };
    }));
}

#[test]
fn a_revocation_of_the_wrong_onion_is_refused() {
    without_effect(&forged(|revocation, world| {
        revocation.onion = world.public(CAROL).onion();
        let text = format!("revocation of {}", revocation.onion);
        let alice = world.fingerprint(ALICE);
        revocation.onion_revocation = Some(crypto::sign(&alice, &text));
    }));
}

#[test]
fn a_signature_of_something_else_is_no_revocation() {
    without_effect(&forged(|revocation, world| {
        let text = "RUNE/1 binding";
        revocation.key_revocation = Some(crypto::sign(&world.fingerprint(ALICE), text));
    }));
    without_effect(&forged(|revocation, _| {
        (revocation.onion_revocation, revocation.key_revocation) = (None, revocation.onion_revocation.clone());
    }));
}
