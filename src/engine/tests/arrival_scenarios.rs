//! Stories of arrivals: what is taken from which sender, what is refused, and what strangers can take from others.

use std::time::Duration;

use crate::base::{ContentId, Timestamp, limits};
use crate::mail::{Content, ContentKind, names};
use crate::wire::{Claim, Command, Importance, Message, Send};

use crate::engine::api::{DeliveryOptions, Request, Submission};
use crate::engine::io::{Input, Sizes};
use crate::engine::state::book::ContactStatus;
use crate::engine::state::mailbox::{Flags, FolderRole};
use crate::engine::tests::harness::{DAY, MINUTE, World, crypto};
use crate::engine::tests::scenarios::{ALICE, BOB, CAROL, friends, world};

/// The answers of a node to a stranger's SEND and MESSAGE.
fn knock(world: &mut World, to: &str, object: &[u8]) -> String {
    let session = world.accept(ALICE);
    world.run();
    world.replies.clear();
    let send = Send {
        to: to.to_owned(),
        certificate: None,
        server: None,
        claim: Some(Claim::of(object)),
        auth: Some([7; 32]),
        onward: None,
        importance: Importance::Normal,
        secure: false,
    };
    let message = Message { sender: None, size: object.len() as u64 };
    let mut bytes = [Command::Send(send), Command::Message(message)]
        .iter()
        .flat_map(|command| command.encode(None).into_bytes())
        .collect::<Vec<_>>();
    bytes.extend_from_slice(object);
    world.input(ALICE, Input::Received(session, bytes));
    world.pass(limits::WIRE_ANSWER);
    world.input(ALICE, Input::Closed(session));
    world.replies.iter().map(|(_, text)| text.as_str()).collect()
}

#[test]
fn a_stranger_cannot_tell_unknown_from_full_or_busy() {
    let mut world = world();
    let alice = world.address(ALICE);
    let unknown = knock(&mut world, &alice.replace("alice@", "nobody@"), b"x");
    assert!(unknown.contains("420"), "{unknown}");
    world.input(ALICE, Input::DiskLow(true));
    assert_eq!(knock(&mut world, &alice, b"x"), unknown);
    world.input(ALICE, Input::DiskLow(false));
    assert_eq!(knock(&mut world, &alice, &[0; 100_000]), unknown);
    for _ in 0..5 {
        assert!(knock(&mut world, &alice, b"x").contains("409"));
    }
    assert_eq!(knock(&mut world, &alice, b"x"), unknown, "the strangers' quota is used up");
}

/// An object as the harness seals it.
fn sealed(world: &World, from: usize, to: usize, expires: Timestamp, payload: Vec<u8>) -> Vec<u8> {
    let content =
        Content { kind: ContentKind::Mail, id: ContentId::from_bytes([5; 16]), expires, receipt: None, payload };
    let (to, from) = (world.fingerprint(to), world.fingerprint(from));
    crypto::seal(&from, to.as_bytes(), &content.encode(), Sizes::All)
}

#[test]
fn mail_that_is_not_what_it_says_is_refused() {
    let mut world = friends();
    let (alice, soon) = (world.address(ALICE), world.now.plus(DAY));
    let honest = world.message(BOB, "x").to_vec();
    let forged = world.message(CAROL, "x").to_vec();
    let two = [b"From: <x@y>\r\n".as_slice(), &honest].concat();
    let (late, far) = (world.now.minus(3 * DAY), world.now.plus(30 * DAY));
    for object in [
        sealed(&world, CAROL, ALICE, soon, forged.clone()),
        sealed(&world, BOB, ALICE, soon, forged),
        sealed(&world, BOB, ALICE, soon, two),
    ] {
        assert!(knock(&mut world, &alice, &object).contains("409"));
    }
    // At first her own clock may be wrong. A sender that is no contact learns nothing of that.
    for (session, answer) in [("at the start", "420"), ("later", "409")] {
        for expires in [late, far] {
            let object = sealed(&world, BOB, ALICE, expires, honest.clone());
            assert!(knock(&mut world, &alice, &object).contains(answer), "{session}");
        }
        world.pass(Duration::from_secs(2 * 3600));
    }
    assert!(world.messages(ALICE, FolderRole::Inbox).is_empty());
}

#[test]
fn mail_shows_the_names_that_the_user_gave_and_keeps_them() {
    let mut world = friends();
    world.introduce(ALICE, CAROL);
    let (bob, carol) = (world.address(BOB), world.address(CAROL));
    let signed = format!(
        "From: Carol <{bob}>\r\nReply-To: \"bob\" <{carol}>\r\nTo: alice (carol) <{}>\r\nSubject: x\r\n\r\nFrom: Carol\r\n",
        world.address(ALICE)
    );
    let mut submission = world.submission(BOB, ALICE, "x");
    submission.message = signed.clone().into_bytes().into();
    world.request(BOB, Request::Submit(submission)).unwrap();
    world.run();
    let shown = world.texts(ALICE, FolderRole::Inbox).remove(0);
    for field in [
        format!("From: \"bob\" <{bob}>\r\nX-Signed-From: Carol <{bob}>\r\n"),
        format!("\r\nReply-To: \"carol\" <{carol}>\r\n"),
        format!("\r\nTo: <{}>\r\n", world.address(ALICE)),
        "\r\n\r\nFrom: Carol\r\n".to_owned(),
    ] {
        assert!(shown.contains(&field), "{field}{shown}");
    }
    assert_eq!(String::from_utf8(names::as_signed(shown.as_bytes())).unwrap(), signed);
    let size = world.messages(ALICE, FolderRole::Inbox)[0].size;
    assert_eq!(size as usize, shown.len());
    // Once she does not know him any more, the message is what it was.
    let contact = world.nodes[ALICE].published.book.by_petname("bob").unwrap().id;
    world.request(ALICE, Request::RemoveContact(contact)).unwrap();
    assert_eq!(world.texts(ALICE, FolderRole::Inbox), [shown]);
    world.check();
}

#[test]
fn mail_whose_header_has_no_room_for_names_shows_addresses_alone_or_is_refused() {
    let mut world = friends();
    let (alice, bob, soon) = (world.address(ALICE), world.address(BOB), world.now.plus(DAY));
    let message = |fill: &str| format!("{fill}From: Carol <{bob}>\r\nSubject: x\r\n\r\nbody\r\n").into_bytes();
    let object = sealed(&world, BOB, ALICE, soon, message(&"Resent-To: x <a@b>\r\n".repeat(900)));
    assert!(knock(&mut world, &alice, &object).contains("202"));
    let shown = world.texts(ALICE, FolderRole::Inbox).remove(0);
    let bare = message(&"Resent-To: <a@b>\r\n".repeat(900));
    assert_eq!(shown, String::from_utf8(bare).unwrap().replace("Carol ", ""));
    // A list without spaces grows where its lines are folded, and has no room for that at the bound.
    for (room, arrived) in [(1000, 2), (0, 2)] {
        let count = (limits::HEADER_BYTES - message("").len() - room) / 4 - 4;
        let mut submission = world.submission(BOB, ALICE, "x");
        submission.message = message(&format!("To: x <a@b>{}\r\n", ",a@b".repeat(count))).into();
        world.request(BOB, Request::Submit(submission)).unwrap();
        world.run();
        assert_eq!(world.messages(ALICE, FolderRole::Inbox).len(), arrived, "{room}");
    }
    world.check();
}

#[test]
fn mail_that_some_program_could_show_as_somebody_elses_is_refused() {
    let mut world = friends();
    let (alice, soon) = (world.address(ALICE), world.now.plus(DAY));
    // A stranger may knock five times an hour.
    let answer = |world: &mut World, message: String| {
        world.pass(Duration::from_secs(900));
        knock(world, &alice, &sealed(world, BOB, ALICE, soon, message.into_bytes()))
    };
    let honest = String::from_utf8(world.message(BOB, "x").to_vec()).unwrap();
    for line in [
        "From : <x@y>",
        "From\u{b}: <x@y>",
        "\u{feff}From: <x@y>",
        ">From: <x@y>",
        ">From x@y Mon Jan  1 00:00:00 2026",
        "From x@y Mon Jan  1 00:00:00 2026",
        "Sender: <x@y>",
        "Sender:",
        "Subject: x\r\nSubject: y",
        "X: \u{1}",
        "X: y\r\n ",
        "X: y\nFrom: <x@y>",
    ] {
        assert!(answer(&mut world, format!("{line}\r\n{honest}")).contains("409"), "{line:?}");
    }
    for end in ["a\nb", "a\rb", "a\0b"] {
        assert!(answer(&mut world, format!("{honest}{end}\r\n")).contains("409"), "{end:?}");
    }
    assert!(world.messages(ALICE, FolderRole::Inbox).is_empty());
    let written = format!("X-Any_Field: \u{e4}\r\nSender: <{}>\r\n{honest}", world.address(BOB));
    assert!(answer(&mut world, written).contains("202"));
}

#[test]
fn the_same_id_with_other_content_is_another_message() {
    let mut world = friends();
    let (alice, soon) = (world.address(ALICE), world.now.plus(DAY));
    for subject in ["x", "x", "y"] {
        let payload = world.message(BOB, subject).to_vec();
        let object = sealed(&world, BOB, ALICE, soon, payload);
        assert!(knock(&mut world, &alice, &object).contains("202"));
    }
    assert_eq!(world.messages(ALICE, FolderRole::Inbox).len(), 2);
}

#[test]
fn a_folder_tag_files_into_a_folder_of_ones_own_and_nowhere_else() {
    let mut world = friends();
    world.request(BOB, Request::CreateFolder { name: "Lists".into() }).unwrap();
    let message = world.message(ALICE, "x");
    for tag in ["lists", "trash", "unknown"] {
        let to = world.address(BOB).replace("bob@", &format!("bob+{tag}@"));
        let submission = Submission {
            recipients: vec![to],
            visible: vec![],
            message: message.clone(),
            asked: DeliveryOptions::default(),
        };
        world.request(ALICE, Request::Submit(submission)).unwrap();
    }
    world.pass(MINUTE);
    assert_eq!(world.nodes[BOB].published.mailbox.by_name("Lists").unwrap().messages.len(), 1);
    assert_eq!(world.messages(BOB, FolderRole::Inbox).len(), 2);
    assert!(world.messages(BOB, FolderRole::Trash).is_empty());
}

#[test]
fn strangers_who_use_up_their_quota_do_not_keep_an_invited_peer_out() {
    let mut world = world();
    let alice = world.address(ALICE);
    for _ in 0..6 {
        knock(&mut world, &alice, b"x");
    }
    world.introduce(ALICE, BOB);
    assert_eq!(world.contact(ALICE, BOB).unwrap().status, ContactStatus::Confirmed);
}

#[test]
fn strangers_who_stay_are_bounded_and_keep_nobody_out() {
    let mut world = world();
    for _ in 0..20 {
        world.accept(ALICE);
    }
    world.run();
    assert_eq!(world.nodes[ALICE].identity.rooms.receive.inbound().len(), limits::UNAUTHENTICATED_SESSIONS);
    // A contact can be made while they are still there.
    world.introduce(ALICE, BOB);
    assert!(world.contact(ALICE, BOB).is_some());
}

#[test]
fn strangers_who_hold_every_session_keep_no_contact_out() {
    let mut world = friends();
    for _ in 0..limits::SESSIONS {
        world.accept(ALICE);
    }
    world.run();
    world.submit(BOB, ALICE, "at once").unwrap();
    world.run();
    assert_eq!(world.messages(ALICE, FolderRole::Inbox).len(), 1);
    world.check();
}

#[test]
fn the_drafts_json_message_arrives_as_a_message() {
    let mut world = friends();
    let payload = br#"{"content":{"subject":"Hello","body":"From the draft.","attachments":[]}}"#.to_vec();
    let expires = world.now.plus(DAY);
    let content =
        Content { kind: ContentKind::MailJson, id: ContentId::from_bytes([6; 16]), expires, receipt: None, payload };
    let (to, from) = (world.fingerprint(ALICE), world.fingerprint(BOB));
    let object = crypto::seal(&from, to.as_bytes(), &content.encode(), Sizes::All);
    let alice = world.address(ALICE);
    assert!(knock(&mut world, &alice, &object).contains("202"));
    let text = world.texts(ALICE, FolderRole::Inbox).remove(0);
    assert!(text.contains("Subject: Hello") && text.contains("From the draft.") && text.contains(&world.address(BOB)));
}

#[test]
fn a_line_among_receipts_that_nobody_knows_costs_the_others_nothing() {
    let mut world = friends();
    world.nodes[BOB].online = false;
    world.submit(ALICE, BOB, "one").unwrap();
    world.pass(MINUTE);
    let sent = world.nodes[ALICE].identity.state().queue().iter().next().unwrap().content;
    let payload = format!("{} postponed\nlater=1\n{sent}\n", "0".repeat(64)).into_bytes();
    let expires = world.now.plus(DAY);
    let content =
        Content { kind: ContentKind::Receipt, id: ContentId::from_bytes([7; 16]), expires, receipt: None, payload };
    let (to, from) = (world.fingerprint(ALICE), world.fingerprint(BOB));
    let object = crypto::seal(&from, to.as_bytes(), &content.encode(), Sizes::All);
    let alice = world.address(ALICE);
    assert!(knock(&mut world, &alice, &object).contains("202"));
    assert!(world.nodes[ALICE].published.queue.is_empty(), "he has read it");
    world.check();
}

#[test]
fn what_its_author_calls_important_is_flagged_at_the_receiver_and_nothing_else_is() {
    let mut world = world();
    world.introduce(ALICE, BOB);
    world.pass(MINUTE);
    let fields = [
        ("Importance: high", true, false),
        ("X-Priority: 1 (Highest)", true, false),
        ("x-priority: 2", true, false),
        ("Priority: urgent", true, false),
        ("X-Priority: 3", false, false),
        ("Importance: low", false, true),
        ("X-Priority: 5", false, true),
        ("Priority: non-urgent", false, true),
        ("Subject: Importance: high", false, false),
    ];
    for (number, (field, high, low)) in fields.iter().enumerate() {
        let recipient = world.address(BOB);
        let text = format!("From: <{}>\r\n{field}\r\n\r\nText {number}.\r\n", world.address(ALICE));
        let (recipients, visible) = (vec![recipient.clone()], vec![recipient]);
        let message = text.into_bytes().into();
        world.nodes[BOB].online = false;
        world
            .request(
                ALICE,
                Request::Submit(Submission { recipients, visible, message, asked: DeliveryOptions::default() }),
            )
            .unwrap();
        // The content is remembered over a restart.
        world.restart(ALICE);
        world.nodes[BOB].online = true;
        world.commands.clear();
        world.pass(10 * MINUTE);
        let said = |word: &str| world.commands.iter().any(|text| text.contains(word));
        assert_eq!((said(" +IMPORTANT"), said(" -IMPORTANT")), (*high, *low), "{field}: {:?}", world.commands);
    }
    let inbox = world.messages(BOB, FolderRole::Inbox);
    let flagged: Vec<_> = inbox.iter().map(|message| message.flags.contains(Flags::FLAGGED)).collect();
    assert_eq!(flagged, fields.map(|(_, high, _)| high));
    world.check();
}
