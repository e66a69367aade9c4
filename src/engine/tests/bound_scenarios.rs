//! How many of each thing an identity may have, and how much it takes from others at first sight: bounds and refusals
//! that documents promise and that no other story meets.

use std::time::Duration;

use crate::base::{BodyId, FolderId, Timestamp, limits};
use crate::engine::RequestError;
use crate::engine::api::{DeliveryOptions, Request, Response, Submission};
use crate::engine::io::{Input, NewBody, Sizes};
use crate::engine::state::mailbox::{FlagChange, Flags, FolderRole, Mailbox, NamedFlags, NewMessage};
use crate::engine::state::record::{BoxRecord, MailboxRecord, Record};
use crate::engine::tests::harness::{DAY, MINUTE, World, crypto};
use crate::mail::Invitation;
use crate::wire::{Claim, Command, Importance, Message, Send, authenticator};

const ALICE: usize = 0;
const BOB: usize = 1;
const CAROL: usize = 2;

fn friends() -> World {
    let mut world = World::new(1, &["alice", "bob", "carol"]);
    world.introduce(ALICE, BOB);
    world.pass(MINUTE);
    world
}

fn is_full(answer: &Result<Response, RequestError>) -> bool {
    matches!(answer, Err(RequestError::Limit(_)))
}

#[test]
fn folders_and_keywords_are_bounded() {
    let mut world = friends();
    let count = |world: &World| world.nodes[ALICE].published.mailbox.folders().count();
    let create = |number: usize| Request::CreateFolder { name: format!("folder {number}") };
    for number in count(&world)..limits::FOLDERS {
        world.request(ALICE, create(number)).unwrap();
    }
    let answer = world.request(ALICE, create(limits::FOLDERS));
    assert!(is_full(&answer) && count(&world) == limits::FOLDERS, "{answer:?}");

    world.submit(BOB, ALICE, "one").unwrap();
    world.pass(MINUTE);
    let folder = world.nodes[ALICE].published.mailbox.by_role(FolderRole::Inbox).unwrap().id;
    let mut store = |keyword: String| {
        let flags = NamedFlags { keywords: vec![keyword], ..NamedFlags::default() };
        world.request(ALICE, Request::Store { folder, uids: vec![1], change: FlagChange::Add, flags })
    };
    for number in 0..limits::KEYWORDS {
        store(format!("k{number}")).unwrap();
    }
    assert!(is_full(&store("one-more".to_owned())));
    store("K0".to_owned()).unwrap();
    assert!(is_full(&store("k".repeat(limits::KEYWORD_BYTES + 1))));
}

#[test]
fn a_folder_to_which_messages_bring_their_keywords_learns_no_more_than_it_has_room_for() {
    let mut mailbox = Mailbox::default();
    let folders = [1, 2].map(|number| FolderId::from_bytes([number; 16]));
    for (number, (folder, name)) in (1..).zip(folders.into_iter().zip(["INBOX", "other"])) {
        assert!(mailbox.create(number, folder, name, None, 1));
    }
    let named = |names: Vec<String>| NamedFlags { system: Flags::SEEN, keywords: names };
    let all: Vec<_> = (0..limits::KEYWORDS).map(|number| format!("k{number}")).collect();
    let (date, body) = (Timestamp::from_secs(5), BodyId::from_bytes([1; 16]));
    let message = NewMessage { uid: 1, flags: named(all.clone()), date, body, size: 1, content: None };
    assert!(mailbox.add(3, folders[0], &message));
    mailbox.store(4, folders[1], &[], FlagChange::Add, &named(vec!["other".to_owned()]));
    assert_eq!(mailbox.transfer(5, folders[0], folders[1], &[(1, 1)], true), [(1, 1)]);
    let there = mailbox.folder(folders[1]).unwrap();
    assert_eq!(there.keywords.len(), limits::KEYWORDS);
    let flags = there.messages.get(1).unwrap().flags;
    assert_eq!(there.keyword_names(flags).collect::<Vec<_>>(), all[..limits::KEYWORDS - 1], "the last one is left out");
    assert!(flags.contains(Flags::SEEN));
}

#[test]
fn a_message_has_a_hundred_recipients_and_no_more() {
    let mut world = friends();
    let bob = world.address(BOB);
    for (recipients, taken) in [(limits::RECIPIENTS, true), (limits::RECIPIENTS + 1, false)] {
        let message = world.message(ALICE, "many");
        let submission = Submission {
            recipients: vec![bob.clone(); recipients],
            visible: vec![],
            message,
            asked: DeliveryOptions::default(),
        };
        let answer = world.request(ALICE, Request::Submit(submission));
        assert_eq!((answer.is_ok(), is_full(&answer)), (taken, !taken), "{recipients}: {answer:?}");
    }
}

#[test]
fn a_message_names_two_hundred_people_and_no_more() {
    let mut world = friends();
    let bob = world.address(BOB);
    for (named, taken) in [(limits::NAMED, true), (limits::NAMED + 1, false)] {
        let visible = (1..named).map(|number| format!("{number}@example.org")).chain([bob.clone()]).collect();
        let (recipients, message) = (vec![bob.clone()], world.message(ALICE, "many"));
        let answer = world.request(
            ALICE,
            Request::Submit(Submission { recipients, visible, message, asked: DeliveryOptions::default() }),
        );
        assert_eq!((answer.is_ok(), is_full(&answer)), (taken, !taken), "{named}: {answer:?}");
    }
}

#[test]
fn a_mail_program_may_put_25_mib_into_a_folder_and_no_more() {
    let mut world = World::new(1, &["alice"]);
    let folder = world.nodes[ALICE].published.mailbox.by_role(FolderRole::Inbox).unwrap().id;
    for (bytes, taken) in [(limits::MESSAGE_BYTES, true), (limits::MESSAGE_BYTES + 1, false)] {
        let (flags, message) = (NamedFlags::default(), vec![b'x'; bytes].into());
        let answer = world.request(ALICE, Request::Append { folder, flags, date: None, message });
        assert_eq!((answer.is_ok(), is_full(&answer)), (taken, !taken), "{bytes}: {answer:?}");
    }
    assert_eq!(world.messages(ALICE, FolderRole::Inbox).len(), 1);
}

#[test]
fn of_a_disk_that_damages_everything_inbox_says_a_hundred_times_which_and_no_more() {
    let mut world = World::new(1, &["alice"]);
    let folder = world.nodes[ALICE].published.mailbox.by_role(FolderRole::Archive).unwrap().id;
    let body = |number: usize| BodyId::from_bytes([number as u8 + 1; 16]);
    let (mut records, mut bodies) = (Vec::new(), Vec::new());
    for number in 0..=limits::DAMAGE_TOLD {
        let (uid, flags, date) = (number as u32 + 1, NamedFlags::default(), world.now);
        let message = NewMessage { uid, flags, date, body: body(number), size: 1, content: None };
        records.push(Record::Mailbox(MailboxRecord::MessageAdded { folder, message }));
        bodies.push(NewBody::new(body(number), b"x".as_slice().into()));
    }
    world.append(ALICE, records, bodies);
    world.restart(ALICE);
    let said = |world: &World| world.messages(ALICE, FolderRole::Inbox).len();
    for number in 0..limits::DAMAGE_TOLD {
        for _ in 0..2 {
            world.request(ALICE, Request::TellDamaged(body(number))).unwrap();
            assert_eq!(said(&world), number + 1, "each once");
        }
    }
    world.request(ALICE, Request::TellDamaged(body(limits::DAMAGE_TOLD))).unwrap();
    assert_eq!(said(&world), limits::DAMAGE_TOLD);
    assert!(world.texts(ALICE, FolderRole::Inbox)[41].contains("message 42 in Archive"));
}

#[test]
fn an_identity_has_one_box_at_each_of_four_carriers() {
    let mut world = World::new(2, &["alice"]);
    let mut invitations = Vec::new();
    for number in 0..5 {
        let carrier = world.add_carrier(100 + number);
        invitations.push(world.invite_to_box(carrier));
        if number == 0 {
            invitations.push(world.invite_to_box(carrier));
        }
    }
    world.rent(ALICE, &invitations[0], 120).unwrap();
    let again = world.rent(ALICE, &invitations[1], 121);
    assert!(matches!(again, Err(RequestError::InvitationRefused(_))), "{again:?}");
    for (number, invitation) in (122..).zip(&invitations[2..5]) {
        world.rent(ALICE, invitation, number).unwrap();
    }
    let fifth = world.rent(ALICE, &invitations[5], 130);
    assert!(is_full(&fifth), "{fifth:?}");
}

#[test]
fn a_box_has_places_for_sixteen_contacts_and_the_first_have_them() {
    let names: Vec<String> = (0..=limits::BOX_SEATS + 1).map(|number| format!("name{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::new(3, &names);
    for other in 1..names.len() {
        world.introduce(ALICE, other);
    }
    let carrier = world.add_carrier(200);
    let invitation = world.invite_to_box(carrier);
    world.rent(ALICE, &invitation, 210).unwrap();
    world.pass(10 * MINUTE);
    let told = |other: &usize| {
        let contact = world.contact(*other, ALICE).unwrap().id;
        world.nodes[*other].published.boxes.of(contact).is_some_and(|named| named.iter().count() == 1)
    };
    let with_place = (1..names.len()).filter(told).count();
    assert_eq!((names.len() - 1, with_place), (limits::BOX_SEATS + 1, limits::BOX_SEATS));
}

#[test]
fn a_message_without_an_answer_is_left_three_times_at_one_drop() {
    let mut world = World::new(4, &["alice", "bob"]);
    world.introduce(ALICE, BOB);
    let carrier = world.add_carrier(100);
    let invitation = world.invite_to_box(carrier);
    world.rent(BOB, &invitation, 120).unwrap();
    world.pass(5 * MINUTE);
    world.nodes[BOB].online = false;
    world.submit(ALICE, BOB, "one").unwrap();
    for _ in 0..4 * 24 * 60 {
        // Each time the carrier stores the object, and its answer is lost.
        world.cut_at = Some(b"202 ROGER");
        world.pass(MINUTE);
    }
    let left = world.nodes[ALICE]
        .log
        .iter()
        .filter(|(_, record)| matches!(record, Record::Boxes(BoxRecord::Deposited { .. })))
        .count();
    assert_eq!(left, limits::COPIES_AT_BOX);
}

/// A peer that answers at an onion cannot name a key of its own: only the key in the invitation counts.
#[test]
fn nothing_is_given_to_a_node_that_shows_a_certificate_of_another_key() {
    let mut world = friends();
    let text = world.invite(BOB, false);
    let stranger = world.fingerprint(ALICE);
    let forged = Invitation { fingerprint: stranger, ..Invitation::parse(&text).unwrap() }.encode();
    world.add(CAROL, &forged).unwrap();
    world.objects.clear();
    world.submit(CAROL, BOB, "for the one in the invitation").unwrap();
    world.pass(Duration::from_secs(3 * 3600));
    assert!(world.dials.contains(&(CAROL, BOB)), "it was tried");
    assert!(world.objects.iter().all(|(node, _)| *node != BOB), "neither a card nor mail");
    assert!(world.nodes[CAROL].published.book.contacts().all(|contact| contact.certificate.is_none()));
    assert!(world.contact(BOB, CAROL).is_none());
}

#[test]
fn an_unknown_kind_is_refused_where_it_is_critical_and_dropped_where_it_is_optional() {
    let mut world = friends();
    let key = world.contact(BOB, ALICE).unwrap().outbound.clone().unwrap();
    let counts = |world: &World| FolderRole::ALL.map(|role| world.messages(ALICE, role).len());
    let before = counts(&world);
    let expires = world.now.plus(DAY).rfc3339();
    for (from, word, code) in [(BOB, "critical", "409"), (BOB, "optional", "202"), (CAROL, "optional", "409")] {
        let content =
            format!("RUNE-CONTENT gossip/7 {word}\nId: {}\nExpires: {expires}\n\nhello", "5".repeat(32)).into_bytes();
        let (issuer, recipient) = (world.fingerprint(from), world.fingerprint(ALICE));
        let object = crypto::seal(&issuer, recipient.as_bytes(), &content, Sizes::All);
        let claim = Claim::of(&object);
        let send = Send {
            to: world.address(ALICE),
            certificate: None,
            server: None,
            auth: Some(authenticator(&key, world.public(ALICE).onion(), &claim)),
            claim: Some(claim),
            onward: None,
            importance: Importance::Normal,
            secure: false,
        };
        let message = Message { sender: None, size: object.len() as u64 };
        let commands = [Command::Send(send), Command::Message(message)];
        let mut bytes: Vec<u8> = commands.iter().flat_map(|command| command.encode(None).into_bytes()).collect();
        bytes.extend_from_slice(&object);
        let session = world.accept(ALICE);
        world.replies.clear();
        world.input(ALICE, Input::Received(session, bytes));
        world.pass(limits::WIRE_ANSWER);
        let said: String = world.replies.iter().map(|(_, text)| text.as_str()).collect();
        assert!(said.contains(code), "{from} {word}: {said}");
    }
    assert_eq!(counts(&world), before);
}
