//! Whole stories between two or three identities, with the faults that a network, a disk and a stranger bring.

use std::time::Duration;

use proptest::prelude::*;

use crate::base::rng::{Rng, SeededRng};
use crate::base::{ContentId, Timestamp};
use crate::mail::{Content, ContentKind};
use crate::wire::{Claim, Command, Importance, Message, Send};

use super::book::{ContactChange, ContactStatus, Unaddressable};
use super::effect::{Input, Refusal, Sizes};
use super::harness::{DAY, MINUTE, World, certificate, crypto};
use super::mailbox::{Flags, FolderRole, NamedFlags};
use super::record::Record;
use super::request::{Asked, Request, RequestError, Response, Submission};

const ALICE: usize = 0;
const BOB: usize = 1;
const CAROL: usize = 2;

fn world() -> World {
    World::new(1, &["alice", "bob", "carol"])
}

fn friends() -> World {
    let mut world = world();
    world.introduce(ALICE, BOB);
    world
}

#[test]
fn a_password_whose_hash_is_renewed_keeps_its_name_and_its_date() {
    let mut world = World::new(1, &["alice"]);
    world.request(0, Request::AddPassword { name: "phone".into(), hash: "old".into() }).unwrap();
    let before = world.nodes[0].published.passwords[0].clone();
    world.pass(MINUTE);
    let renew = |hash: &str| Request::RenewPassword { hash: hash.into(), renewed: "new".into() };
    assert_eq!(world.request(0, renew("old")), Ok(Response::Done));
    let after = world.nodes[0].published.passwords.clone();
    assert_eq!(after.len(), 1);
    assert_eq!((&after[0].name, after[0].created), (&before.name, before.created));
    assert_eq!(after[0].hash, "new");
    assert!(matches!(world.request(0, renew("old")), Err(RequestError::NotFound(_))));
    world.check();
}

#[test]
fn an_invitation_makes_both_contacts_and_mail_goes_both_ways() {
    let mut world = friends();
    for (node, other) in [(ALICE, BOB), (BOB, ALICE)] {
        let contact = world.contact(node, other).unwrap();
        assert_eq!(contact.status, ContactStatus::Confirmed);
        assert!(contact.certificate.is_some() && contact.outbound.is_some() && contact.cards.pending.is_none());
    }
    world.submit(ALICE, BOB, "one").unwrap();
    world.submit(BOB, ALICE, "two").unwrap();
    world.pass(MINUTE);
    assert_eq!(world.texts(BOB, FolderRole::Inbox).len(), 1);
    assert!(world.texts(ALICE, FolderRole::Inbox)[0].contains("Text of two."));
    assert!(world.nodes.iter().all(|node| node.published.queue.is_empty()));
    assert_eq!(
        world.contact(ALICE, BOB).unwrap().inbound.len(),
        1,
        "the invitation's key ends once the new one is used"
    );
    world.check();
}

#[test]
fn a_message_to_a_known_peer_is_authenticated_with_the_key_of_its_card() {
    let mut world = friends();
    let (ours, theirs) = (world.contact(ALICE, BOB).unwrap(), world.contact(BOB, ALICE).unwrap());
    assert_eq!(ours.outbound.as_ref(), theirs.inbound.first());
    assert_eq!(theirs.outbound.as_ref(), ours.inbound.first());
    world.submit(ALICE, BOB, "one").unwrap();
    world.pass(MINUTE);
    assert_eq!(world.messages(BOB, FolderRole::Inbox).len(), 1);
}

#[test]
fn a_lost_acknowledgement_costs_a_retry_and_never_a_second_copy() {
    let mut world = friends();
    world.cut_at = Some(b"202 ROGER");
    world.submit(ALICE, BOB, "one").unwrap();
    world.pass(MINUTE);
    assert_eq!(world.messages(BOB, FolderRole::Inbox).len(), 1);
    assert_eq!(world.nodes[ALICE].published.queue.len(), 1, "not acknowledged: still ours");
    world.pass(10 * MINUTE);
    assert!(world.nodes[ALICE].published.queue.is_empty());
    assert_eq!(world.messages(BOB, FolderRole::Inbox).len(), 1);
    world.check();
}

#[test]
fn what_was_sealed_to_a_key_that_was_replaced_is_sealed_anew() {
    let mut world = friends();
    let bob = world.contact(ALICE, BOB).unwrap().id;
    // Under bob's fingerprint alice knows subkeys that he has no more: carol's, for the harness.
    let older = certificate(&world.fingerprint(CAROL));
    let change = ContactChange::Certificate(older.into());
    world.append(ALICE, vec![Record::ContactChanged { id: bob, change }], vec![]);
    world.restart(ALICE);
    for subject in ["one", "two", "three"] {
        world.submit(ALICE, BOB, subject).unwrap();
    }
    world.pass(MINUTE);
    assert_eq!(world.messages(BOB, FolderRole::Inbox).len(), 3);
    assert!(world.nodes[ALICE].published.queue.is_empty());
    assert!(world.messages(ALICE, FolderRole::Inbox).is_empty(), "there is nothing to report");
    world.check();
}

#[test]
fn a_lost_acknowledgement_of_a_greeting_costs_a_retry_only() {
    let mut world = world();
    let text = world.invite(ALICE, false);
    world.cut_at = Some(b"202 ROGER");
    world.add(BOB, &text).unwrap();
    world.pass(20 * MINUTE);
    assert_eq!(world.contact(BOB, ALICE).unwrap().status, ContactStatus::Confirmed);
    assert_eq!(world.contact(ALICE, BOB).unwrap().status, ContactStatus::Confirmed);
    assert!(world.contact(BOB, ALICE).unwrap().cards.pending.is_none());
    assert!(world.messages(ALICE, FolderRole::Requests).is_empty());
    world.check();
}

#[test]
fn of_two_who_use_one_invitation_one_is_confirmed_and_the_other_asks() {
    let mut world = world();
    let text = world.invite(ALICE, false);
    world.add(BOB, &text).unwrap();
    world.add(CAROL, &text).unwrap();
    world.pass(MINUTE);
    let statuses: Vec<_> = [BOB, CAROL].map(|guest| world.contact(ALICE, guest).unwrap().status).to_vec();
    assert!(statuses.contains(&ContactStatus::Confirmed) && statuses.contains(&ContactStatus::Request), "{statuses:?}");
    assert_eq!(world.messages(ALICE, FolderRole::Requests).len(), 1);
    world.check();
}

#[test]
fn a_greeting_goes_before_any_mail_though_the_mail_was_written_offline() {
    let mut world = world();
    let text = world.invite(ALICE, false);
    world.nodes[ALICE].online = false;
    world.add(BOB, &text).unwrap();
    world.submit(BOB, ALICE, "early").unwrap();
    world.pass(60 * MINUTE);
    world.nodes[ALICE].online = true;
    world.pass(120 * MINUTE);
    assert!(world.texts(ALICE, FolderRole::Inbox)[0].contains("Text of early."));
    let to_alice: Vec<_> = world.objects.iter().filter(|(node, _)| *node == ALICE).collect();
    assert!(String::from_utf8_lossy(&to_alice[0].1).contains("card/1"));
    assert!(String::from_utf8_lossy(&to_alice.last().unwrap().1).contains("mail/1"));
}

#[test]
fn a_failed_commit_is_not_acknowledged_and_the_message_comes_again() {
    let mut world = friends();
    world.replies.clear();
    world.submit(ALICE, BOB, "one").unwrap();
    world.pass(MINUTE);
    world.nodes[BOB].failing_commits = 1;
    world.submit(ALICE, BOB, "two").unwrap();
    world.pass(MINUTE / 2);
    assert!(world.replies.iter().any(|(node, text)| *node == BOB && text.contains("708")), "{:?}", world.replies);
    assert!(!world.replies.iter().any(|(_, text)| text.contains("45")), "a refusal would say that nothing was kept");
    assert_eq!(world.messages(BOB, FolderRole::Inbox).len(), 1);
    assert_eq!(world.nodes[ALICE].published.queue.len(), 1);
    world.pass(10 * MINUTE);
    assert_eq!(world.messages(BOB, FolderRole::Inbox).len(), 2);
    world.check();
}

#[test]
fn a_failed_commit_of_an_outcome_keeps_the_message_until_it_is_known() {
    let mut world = friends();
    world.nodes[BOB].online = false;
    world.submit(ALICE, BOB, "one").unwrap();
    world.nodes[BOB].online = true;
    world.nodes[ALICE].failing_commits = 1;
    world.pass(30 * MINUTE);
    assert!(world.nodes[ALICE].published.queue.is_empty());
    assert_eq!(world.messages(BOB, FolderRole::Inbox).len(), 1);
    assert!(world.messages(ALICE, FolderRole::Inbox).is_empty());
    world.check();
}

#[test]
fn what_cannot_be_opened_now_is_refused_for_now_and_comes_again() {
    let mut world = friends();
    world.nodes[ALICE].opening_fails = Some(Refusal::Temporary);
    world.submit(BOB, ALICE, "later").unwrap();
    world.pass(10 * MINUTE);
    assert!(world.messages(ALICE, FolderRole::Inbox).is_empty());
    assert_eq!(world.nodes[BOB].published.queue.len(), 1, "it waits");
    assert!(world.texts(BOB, FolderRole::Inbox).is_empty(), "and nothing is reported");
    world.nodes[ALICE].opening_fails = None;
    world.pass(DAY);
    assert_eq!((world.messages(ALICE, FolderRole::Inbox).len(), world.nodes[BOB].published.queue.len()), (1, 0));
    world.check();
}

#[test]
fn a_destination_is_dialled_once_however_much_waits() {
    let mut world = friends();
    world.nodes[BOB].online = false;
    for n in 0..20 {
        world.submit(ALICE, BOB, &format!("number {n}")).unwrap();
    }
    world.dials.clear();
    world.nodes[BOB].online = true;
    world.pass(60 * MINUTE);
    assert_eq!(world.messages(BOB, FolderRole::Inbox).len(), 20);
    assert_eq!(world.dials, vec![(ALICE, BOB)]);
}

#[test]
fn a_peer_that_is_seen_online_is_tried_within_seconds() {
    let mut world = friends();
    world.nodes[BOB].online = false;
    world.submit(ALICE, BOB, "waiting").unwrap();
    world.pass(5 * 60 * MINUTE);
    world.nodes[BOB].online = true;
    world.submit(BOB, ALICE, "hello").unwrap();
    world.pass(Duration::from_secs(5));
    assert_eq!(world.messages(BOB, FolderRole::Inbox).len(), 1);
}

fn asked(world: &mut World) {
    let poster = world.invite(ALICE, true);
    world.add(CAROL, &poster).unwrap();
    world.pass(MINUTE);
}

fn decide(world: &mut World, to: FolderRole) {
    let mailbox = world.nodes[ALICE].published.mailbox.clone();
    let (from, to) = (mailbox.by_role(FolderRole::Requests).unwrap().id, mailbox.by_role(to).unwrap().id);
    let uids = world.messages(ALICE, FolderRole::Requests).iter().map(|message| message.uid).collect();
    world.request(ALICE, Request::Transfer { from, to, uids, keep: false }).unwrap();
    world.pass(MINUTE);
}

#[test]
fn moving_a_request_to_inbox_accepts_its_sender() {
    let mut world = world();
    asked(&mut world);
    assert_eq!(world.contact(ALICE, CAROL).unwrap().status, ContactStatus::Request);
    assert_eq!(world.contact(CAROL, ALICE).unwrap().status, ContactStatus::Greeting, "the sender learns nothing");
    world.submit(CAROL, ALICE, "please").unwrap();
    world.pass(MINUTE);
    assert_eq!(world.messages(ALICE, FolderRole::Requests).len(), 2);
    let refused = world.submit(ALICE, CAROL, "no");
    assert!(matches!(refused, Err(RequestError::UnknownRecipient { why: Unaddressable::Waiting, .. })));
    decide(&mut world, FolderRole::Inbox);
    assert_eq!(world.contact(ALICE, CAROL).unwrap().status, ContactStatus::Confirmed);
    assert_eq!(world.contact(CAROL, ALICE).unwrap().status, ContactStatus::Confirmed);
    world.submit(CAROL, ALICE, "thanks").unwrap();
    world.pass(MINUTE);
    assert!(world.texts(ALICE, FolderRole::Inbox).last().unwrap().contains("Text of thanks."));
    world.check();
}

#[test]
fn a_blocked_sender_and_a_pending_one_see_the_same_and_no_other_move_means_anything() {
    let mut world = world();
    asked(&mut world);
    world.replies.clear();
    world.submit(CAROL, ALICE, "pending").unwrap();
    world.pass(MINUTE);
    let pending: Vec<_> = world.replies.drain(..).collect();
    decide(&mut world, FolderRole::Archive);
    assert_eq!(world.contact(ALICE, CAROL).unwrap().status, ContactStatus::Request);
    world.submit(CAROL, ALICE, "again").unwrap();
    world.pass(MINUTE);
    decide(&mut world, FolderRole::Junk);
    assert_eq!(world.contact(ALICE, CAROL).unwrap().status, ContactStatus::Blocked);
    let before: Vec<_> = FolderRole::ALL.iter().map(|role| world.messages(ALICE, *role).len()).collect();
    world.replies.clear();
    world.submit(CAROL, ALICE, "blocked").unwrap();
    world.pass(MINUTE);
    assert_eq!(world.replies, pending);
    let after: Vec<_> = FolderRole::ALL.iter().map(|role| world.messages(ALICE, *role).len()).collect();
    assert_eq!(before, after);
    world.check();
}

/// What a node answers to a stranger's SEND and MESSAGE.
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
    world.pass(crate::base::limits::WIRE_ANSWER);
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
    // At first it may be her own clock that is wrong. Whoever is no contact learns nothing of that.
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
fn visible_recipients_are_refused_and_blind_ones_get_a_copy_that_names_nobody() {
    let mut world = friends();
    world.introduce(ALICE, CAROL);
    let (bob, carol) = (world.address(BOB), world.address(CAROL));
    let (_, bobs_onion) = bob.split_once('@').unwrap();
    let thread = format!("In-Reply-To: <1@{bobs_onion}>\r\nReferences: <0@own>\r\n <1@{bobs_onion}>\r\n");
    let written = |to: &str| -> std::sync::Arc<[u8]> {
        format!("From: <{}>\r\n{to}{thread}Subject: s\r\n\r\nx\r\n", world.address(ALICE)).into_bytes().into()
    };
    let (message, to_nobody) = (written(&format!("To: <{bob}>\r\n")), written(""));
    let recipients = vec![bob.clone(), "carol@rune.internal".to_owned()];
    let submission = Submission {
        recipients: recipients.clone(),
        visible: recipients.clone(),
        message: message.clone(),
        asked: Asked::default(),
    };
    let refused = world.request(ALICE, Request::Submit(submission));
    assert!(matches!(refused, Err(RequestError::NotIntroduced { .. })), "{refused:?}");
    assert!(world.nodes[ALICE].published.queue.is_empty());
    // Nor may a message to one of them name the other.
    let (only, named) = (vec![bob.clone()], vec![bob.clone(), carol.clone()]);
    let submission = Submission { recipients: only, visible: named, message: message.clone(), asked: Asked::default() };
    let refused = world.request(ALICE, Request::Submit(submission));
    assert!(matches!(refused, Err(RequestError::NotIntroduced { .. })), "{refused:?}");
    let submission =
        Submission { recipients, visible: vec![bob.clone()], message: message.clone(), asked: Asked::default() };
    world.request(ALICE, Request::Submit(submission)).unwrap();
    world.pass(MINUTE);
    let visible = &world.texts(BOB, FolderRole::Inbox)[0];
    assert!(visible.contains(&bob) && visible.contains(&thread), "{visible}");
    let nobody = |copy: &String| {
        let told = [bobs_onion, &carol, "In-Reply-To", "References"].iter().any(|other| copy.contains(other));
        !told && copy.contains("Subject: s\r\n")
    };
    assert!(nobody(&world.texts(CAROL, FolderRole::Inbox)[0]));
    // Whom it names gets it not: then nobody reads of them.
    world.nodes[CAROL].online = false;
    let (only, named) = (vec![carol.clone()], vec![bob.clone()]);
    let submission = Submission { recipients: only, visible: named, message, asked: Asked::default() };
    let Ok(Response::Submitted(queue)) = world.request(ALICE, Request::Submit(submission)) else { panic!() };
    assert!(world.nodes[ALICE].published.queue.get(queue).is_some(), "the id is that of what waits");
    world.nodes[CAROL].online = true;
    world.pass(10 * MINUTE);
    assert!(nobody(&world.texts(CAROL, FolderRole::Inbox)[1]));
    // Where all are hidden, none reads of a thread with another.
    let recipients = vec![bob.clone(), carol.clone()];
    let submission = Submission { recipients, visible: vec![], message: to_nobody, asked: Asked::default() };
    world.request(ALICE, Request::Submit(submission)).unwrap();
    world.pass(MINUTE);
    assert!(nobody(&world.texts(CAROL, FolderRole::Inbox)[2]));
    assert!(nobody(&world.texts(BOB, FolderRole::Inbox)[1]));
    world.check();
}

#[test]
fn ones_own_name_is_nobody_elses_petname() {
    let mut world = World::new(2, &["alice", "alice", "carol"]);
    let invitation = world.invite(1, false);
    let refused =
        world.request(0, Request::AddContact { invitation: invitation.clone(), petname: Some("Alice".to_owned()) });
    assert!(matches!(refused, Err(RequestError::NameTaken)), "{refused:?}");
    world.add(0, &invitation).unwrap();
    world.pass(MINUTE);
    assert_eq!(world.contact(0, 1).unwrap().petname, "alice-2");
    assert_eq!(world.contact(1, 0).unwrap().petname, "alice-2");
    let message = world.message(0, "to myself");
    for own in [world.address(0), "alice@rune.internal".to_owned()] {
        let submission = Submission {
            recipients: vec![own.clone()],
            visible: vec![own],
            message: message.clone(),
            asked: Asked::default(),
        };
        world.request(0, Request::Submit(submission)).unwrap();
    }
    world.pass(MINUTE);
    assert_eq!(world.messages(0, FolderRole::Inbox).len(), 2);
    assert!(world.messages(1, FolderRole::Inbox).is_empty());
}

#[test]
fn a_folder_tag_files_into_a_folder_of_ones_own_and_nowhere_else() {
    let mut world = friends();
    world.request(BOB, Request::CreateFolder { name: "Lists".into() }).unwrap();
    let message = world.message(ALICE, "x");
    for tag in ["lists", "trash", "unknown"] {
        let to = world.address(BOB).replace("bob@", &format!("bob+{tag}@"));
        let submission =
            Submission { recipients: vec![to], visible: vec![], message: message.clone(), asked: Asked::default() };
        world.request(ALICE, Request::Submit(submission)).unwrap();
    }
    world.pass(MINUTE);
    assert_eq!(world.nodes[BOB].published.mailbox.by_name("Lists").unwrap().messages.len(), 1);
    assert_eq!(world.messages(BOB, FolderRole::Inbox).len(), 2);
    assert!(world.messages(BOB, FolderRole::Trash).is_empty());
}

#[test]
fn invitations_that_cannot_work_are_refused_with_a_reason() {
    let mut world = friends();
    let own = world.invite(ALICE, false);
    assert!(matches!(world.add(ALICE, &own), Err(RequestError::InvitationRefused(_))));
    world.pass(8 * DAY);
    assert!(matches!(world.add(CAROL, &own), Err(RequestError::InvitationRefused(_))));
    assert!(matches!(world.add(CAROL, "rune:x"), Err(RequestError::Invitation(_))));
}

#[test]
fn a_revoked_invitation_makes_a_request_and_no_contact() {
    let mut world = friends();
    let text = world.invite(ALICE, false);
    let id = world.nodes[ALICE].published.book.invitations().find(|entry| entry.used.is_none()).unwrap().id;
    world.request(ALICE, Request::RevokeInvitation(id)).unwrap();
    world.add(CAROL, &text).unwrap();
    world.pass(MINUTE);
    assert_eq!(world.contact(ALICE, CAROL).unwrap().status, ContactStatus::Request);
}

#[test]
fn folders_follow_the_rules_of_imap() {
    let mut world = world();
    let mailbox = |world: &World| world.nodes[ALICE].published.mailbox.clone();
    world.request(ALICE, Request::CreateFolder { name: "a".into() }).unwrap();
    world.request(ALICE, Request::CreateFolder { name: "a/b".into() }).unwrap();
    assert!(world.request(ALICE, Request::CreateFolder { name: "A/../".into() }).is_ok());
    assert_eq!(world.request(ALICE, Request::CreateFolder { name: "inbox".into() }), Err(RequestError::FolderExists));
    let a = mailbox(&world).by_name("a").unwrap().id;
    world.request(ALICE, Request::RenameFolder { folder: a, name: "c".into() }).unwrap();
    assert!(mailbox(&world).by_name("c/b").is_some() && mailbox(&world).by_name("a/b").is_none());
    let inbox = mailbox(&world).by_role(FolderRole::Inbox).unwrap().id;
    let append =
        Request::Append { folder: inbox, flags: NamedFlags::default(), date: None, message: b"x".to_vec().into() };
    let answer = world.request(ALICE, append.clone()).unwrap();
    assert!(matches!(answer, Response::Appended { uid: 1, .. }), "{answer:?}");
    world.request(ALICE, Request::RenameFolder { folder: inbox, name: "old".into() }).unwrap();
    assert_eq!(mailbox(&world).by_name("old").unwrap().messages.len(), 1);
    assert_eq!(world.messages(ALICE, FolderRole::Inbox).len(), 0);
    assert!(matches!(world.request(ALICE, append).unwrap(), Response::Appended { uid: 2, .. }));
    assert!(matches!(
        world.request(ALICE, Request::DeleteFolder { folder: inbox }),
        Err(RequestError::FolderRefused(_))
    ));
    let validities: std::collections::BTreeSet<_> =
        mailbox(&world).folders().map(|folder| folder.uid_validity).collect();
    assert_eq!(validities.len(), mailbox(&world).folders().count());
    world.check();
}

#[test]
fn a_failed_commit_is_an_error_to_its_requester_and_leaves_nothing() {
    let mut world = friends();
    world.nodes[ALICE].failing_commits = 1;
    assert_eq!(world.submit(ALICE, BOB, "x"), Err(RequestError::Disk));
    assert!(world.nodes[ALICE].published.queue.is_empty());
    world.pass(MINUTE);
    assert!(world.messages(BOB, FolderRole::Inbox).is_empty());
    world.check();
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
    assert_eq!(world.nodes[ALICE].identity.rooms.receive.inbound.len(), crate::base::limits::UNAUTHENTICATED_SESSIONS);
    // While they are still there.
    world.introduce(ALICE, BOB);
    assert!(world.contact(ALICE, BOB).is_some());
}

#[test]
fn strangers_who_hold_every_session_keep_no_contact_out() {
    let mut world = friends();
    for _ in 0..crate::base::limits::SESSIONS {
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
fn two_who_use_each_others_invitation_at_once_know_each_other() {
    let mut world = world();
    let (ours, theirs) = (world.invite(ALICE, false), world.invite(BOB, false));
    world.nodes[ALICE].online = false;
    world.add(ALICE, &theirs).unwrap();
    world.add(BOB, &ours).unwrap();
    world.nodes[ALICE].online = true;
    world.pass(60 * MINUTE);
    for (node, other) in [(ALICE, BOB), (BOB, ALICE)] {
        let contact = world.contact(node, other).unwrap();
        assert_eq!(contact.status, ContactStatus::Confirmed);
        assert!(contact.cards.pending.is_none());
        world.submit(node, other, "hello").unwrap();
    }
    world.pass(MINUTE);
    assert_eq!(world.messages(ALICE, FolderRole::Inbox).len() + world.messages(BOB, FolderRole::Inbox).len(), 2);
}

#[test]
fn a_greeting_that_nobody_answers_ends_with_a_notice() {
    let mut world = world();
    let text = world.invite(ALICE, false);
    world.nodes[ALICE].online = false;
    world.add(BOB, &text).unwrap();
    world.pass(6 * DAY);
    let notices = world.texts(BOB, FolderRole::Inbox);
    assert_eq!(notices.len(), 1);
    assert!(notices[0].contains("could not be greeted"));
    assert_eq!(world.nodes[BOB].identity.poll_timeout(), None, "nothing is left to do");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Nodes come and go, disks fail, connections break, processes restart: every message arrives once.
    #[test]
    fn every_accepted_message_arrives_once_through_faults(seed in any::<u64>()) {
        let mut world = World::new(seed, &["alice", "bob", "carol"]);
        world.introduce(ALICE, BOB);
        world.introduce(CAROL, BOB);
        let mut rng = SeededRng::new(seed);
        let rng: &mut dyn Rng = &mut rng;
        let mut accepted = Vec::new();
        for n in 0..40 {
            let node = rng.below(3) as usize;
            match rng.below(7) {
                0..=2 => {
                    let to = if node == BOB { [ALICE, CAROL][rng.below(2) as usize] } else { BOB };
                    let subject = format!("number-{n}-");
                    if world.submit(node, to, &subject).is_ok() {
                        accepted.push((to, subject));
                    }
                }
                3 => world.nodes[node].online = !world.nodes[node].online,
                4 => world.nodes[node].failing_commits = rng.below(3) as u32,
                5 => world.cut_at = Some([b"202 ROGER".as_slice(), b"201 ", b"MESSAGE", b"HOWDY"][rng.below(4) as usize]),
                _ => world.restart(node),
            }
            world.pass(Duration::from_secs(rng.below(900)));
            world.check();
        }
        world.cut_at = None;
        for node in &mut world.nodes {
            node.online = true;
            node.failing_commits = 0;
        }
        world.pass(DAY);
        world.check();
        for (to, subject) in accepted {
            let copies = world.texts(to, FolderRole::Inbox).iter().filter(|text| text.contains(&subject)).count();
            prop_assert_eq!(copies, 1, "{} at {}", subject, to);
        }
        prop_assert!(world.nodes.iter().all(|node| node.published.queue.is_empty()));
    }
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
            .request(ALICE, Request::Submit(Submission { recipients, visible, message, asked: Asked::default() }))
            .unwrap();
        // It is remembered over a restart.
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
