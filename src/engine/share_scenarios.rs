//! Stories of who is charged for what, and of what one sender can take from the others.

use crate::base::{ContentId, MacKey, SessionId};
use crate::mail::invitation::Invitation;
use crate::mail::{Content, ContentKind};
use crate::wire::{Claim, Command, Importance, Message, Send, authenticator};

use super::effect::{Input, Sizes};
use super::harness::{DAY, MINUTE, World, crypto};
use super::mailbox::FolderRole;

const ALICE: usize = 0;
const BOB: usize = 1;

fn world() -> World {
    World::new(1, &["alice", "bob", "carol"])
}

/// The key of an invitation's text.
fn key_of(text: &str) -> MacKey {
    Invitation::parse(text).unwrap().auth_key().unwrap()
}

/// SEND and MESSAGE with this object to Alice, under this key.
fn request(world: &World, key: Option<&MacKey>, object: &[u8]) -> Vec<u8> {
    let claim = Claim::of(object);
    let send = Send {
        to: world.address(ALICE),
        certificate: None,
        server: None,
        claim: Some(claim),
        auth: key.map(|key| authenticator(key, world.public(ALICE).onion(), &claim)),
        onward: None,
        importance: Importance::Normal,
        secure: false,
    };
    let message = Message { sender: None, size: object.len() as u64 };
    let lines = [Command::Send(send), Command::Message(message)].map(|command| command.encode(None));
    [lines.concat().as_bytes(), object].concat()
}

/// What Alice answers to these bytes in a session of their own.
fn answer(world: &mut World, bytes: Vec<u8>) -> String {
    let session = world.accept(ALICE);
    world.run();
    let said = say(world, session, bytes);
    world.input(ALICE, Input::Closed(session));
    said
}

fn say(world: &mut World, session: SessionId, bytes: Vec<u8>) -> String {
    world.replies.clear();
    world.input(ALICE, Input::Received(session, bytes));
    world.run();
    world.replies.iter().map(|(_, text)| text.as_str()).collect()
}

/// A message of this length from somebody to Alice, sealed; other numbers make others.
fn mail(world: &World, from: usize, number: u8, length: usize) -> Vec<u8> {
    let mut payload = world.message(from, &format!("number {number}")).to_vec();
    payload.resize(payload.len().max(length), b'x');
    let (id, expires) = (ContentId::from_bytes([number; 16]), world.now.plus(DAY));
    let content = Content { kind: ContentKind::Mail, id, expires, receipt: None, payload };
    let (to, from) = (world.fingerprint(ALICE), world.fingerprint(from));
    crypto::seal(&from, to.as_bytes(), &content.encode(), Sizes::All)
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
    // It is a stranger's quota that is used up now.
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
    // Her card does not get there.
    world.apart.insert((ALICE, BOB));
    world.add(BOB, &text).unwrap();
    world.pass(MINUTE);
    assert_eq!(world.contact(ALICE, BOB).unwrap().inbound.len(), 2);
    let key = key_of(&text);
    let large = request(&world, Some(&key), &[0; 40_000]);
    assert!(answer(&mut world, large).contains("420"), "as to anybody who is no contact");
    // His card was one of five.
    for number in 0..4 {
        let object = mail(&world, BOB, number, 0);
        let said = {
            let bytes = request(&world, Some(&key), &object);
            answer(&mut world, bytes)
        };
        assert!(said.contains("201 32768") && said.contains("202"), "{said}");
    }
    let object = mail(&world, BOB, 9, 0);
    let bytes = request(&world, Some(&key), &object);
    assert!(answer(&mut world, bytes).contains("420"));
    // None of that is charged to him once he has a key of his own.
    world.apart.clear();
    world.pass(10 * MINUTE);
    let bytes = request(&world, world.contact(BOB, ALICE).unwrap().outbound.as_ref(), &object);
    assert!(answer(&mut world, bytes).contains("202"));
    assert_eq!(world.messages(ALICE, FolderRole::Inbox).len(), 5);
    world.check();
}
