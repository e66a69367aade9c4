//! Whole stories between two or three identities, with the faults that a network, a disk and a stranger bring.

use std::time::Duration;

use proptest::prelude::*;

use crate::base::rng::{Rng, SeededRng};

use crate::engine::api::{DeliveryOptions, Request, RequestError, Response, Submission};
use crate::engine::io::Refusal;
use crate::engine::state::book::ContactChange;
use crate::engine::state::mailbox::{Flags, FolderRole, NamedFlags};
use crate::engine::state::record::{BookRecord, Record};
use crate::engine::tests::harness::{DAY, MINUTE, World, certificate};

pub(in crate::engine) const ALICE: usize = 0;
pub(in crate::engine) const BOB: usize = 1;
pub(in crate::engine) const CAROL: usize = 2;

pub(in crate::engine) fn world() -> World {
    World::new(1, &["alice", "bob", "carol"])
}

pub(in crate::engine) fn friends() -> World {
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
    // Under bob's fingerprint alice knows subkeys that he no longer has: in the harness, those of carol.
    let older = certificate(&world.fingerprint(CAROL));
    let change = ContactChange::Certificate(older.into());
    world.append(ALICE, vec![Record::Book(BookRecord::ContactChanged { id: bob, change })], vec![]);
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

#[test]
fn several_visible_recipients_wait_for_consent_and_blind_ones_get_a_copy_that_names_nobody() {
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
        asked: DeliveryOptions::default(),
    };
    // What came, without what the node itself tells its user.
    let mail = |world: &World, node: usize| -> Vec<String> {
        let texts = world.texts(node, FolderRole::Inbox).into_iter();
        texts.filter(|text| !text.contains("Subject: Somebody waits for your decision\r\n")).collect()
    };
    let wait_for_consent = |world: &mut World, submission: Submission| {
        let Ok(Response::Submitted(queue)) = world.request(ALICE, Request::Submit(submission)) else { panic!() };
        world.pass(MINUTE);
        for node in [BOB, CAROL] {
            assert!(mail(world, node).is_empty(), "nobody is shown to anybody without consent");
            assert!(!world.messages(node, FolderRole::Requests).is_empty());
        }
        world.request(ALICE, Request::Cancel(queue)).unwrap();
    };
    wait_for_consent(&mut world, submission);
    assert!(world.nodes[ALICE].published.queue.is_empty());
    // A message to only one of them may not name the other either.
    let (only, named) = (vec![bob.clone()], vec![bob.clone(), carol.clone()]);
    let submission =
        Submission { recipients: only, visible: named, message: message.clone(), asked: DeliveryOptions::default() };
    wait_for_consent(&mut world, submission);
    let submission = Submission {
        recipients,
        visible: vec![bob.clone()],
        message: message.clone(),
        asked: DeliveryOptions::default(),
    };
    world.request(ALICE, Request::Submit(submission)).unwrap();
    world.pass(MINUTE);
    let visible = &mail(&world, BOB)[0];
    assert!(visible.contains(&bob) && visible.contains(&thread), "{visible}");
    let nobody = |copy: &String| {
        let told = [bobs_onion, &carol, "In-Reply-To", "References"].iter().any(|other| copy.contains(other));
        !told && copy.contains("Subject: s\r\n")
    };
    assert!(nobody(&mail(&world, CAROL)[0]));
    // The contact that the header names does not get the message: then the recipient must not read the name.
    world.nodes[CAROL].online = false;
    let (only, named) = (vec![carol.clone()], vec![bob.clone()]);
    let submission = Submission { recipients: only, visible: named, message, asked: DeliveryOptions::default() };
    let Ok(Response::Submitted(queue)) = world.request(ALICE, Request::Submit(submission)) else { panic!() };
    assert!(world.nodes[ALICE].published.queue.get(queue).is_some(), "the id is that of what waits");
    world.nodes[CAROL].online = true;
    world.pass(10 * MINUTE);
    assert!(nobody(&mail(&world, CAROL)[1]));
    // If all recipients are hidden, none of them reads of a thread with another.
    let recipients = vec![bob.clone(), carol.clone()];
    let submission = Submission { recipients, visible: vec![], message: to_nobody, asked: DeliveryOptions::default() };
    world.request(ALICE, Request::Submit(submission)).unwrap();
    world.pass(MINUTE);
    assert!(nobody(&mail(&world, CAROL)[2]));
    assert!(nobody(&mail(&world, BOB)[1]));
    world.check();
}

#[test]
fn a_message_that_no_mail_program_saves_is_kept_in_sent_as_it_was_sent() {
    let mut world = friends();
    world.introduce(ALICE, CAROL);
    world.nodes[BOB].online = false;
    let kept = world.submission(ALICE, BOB, "kept");
    let written = String::from_utf8(kept.message.to_vec()).unwrap();
    world.request(ALICE, Request::SubmitAndKeep(kept)).unwrap();
    // A mail program saves its own copies.
    world.submit(ALICE, BOB, "not kept").unwrap();
    assert_eq!(world.texts(ALICE, FolderRole::Sent), std::slice::from_ref(&written));
    let copy = &world.messages(ALICE, FolderRole::Sent)[0];
    assert!(copy.flags.contains(Flags::SEEN), "nobody has to read what they wrote themselves");
    assert_eq!(copy.body, world.messages(ALICE, FolderRole::Outbox)[0].body, "it is stored once");
    // It stays once the message has arrived, and after a restart.
    world.nodes[BOB].online = true;
    world.pass(10 * MINUTE);
    assert_eq!(world.texts(BOB, FolderRole::Inbox).len(), 2);
    assert!(world.messages(ALICE, FolderRole::Outbox).is_empty());
    world.check();
    world.restart(ALICE);
    assert_eq!(world.texts(ALICE, FolderRole::Sent), [written]);
    // One for hidden recipients is kept as it was written.
    let (message, asked) = (world.message(ALICE, "hidden"), DeliveryOptions::default());
    let recipients = vec![world.address(BOB), world.address(CAROL)];
    let visible = vec![world.address(BOB)];
    let submission = Submission { recipients, visible, message: message.clone(), asked };
    world.request(ALICE, Request::SubmitAndKeep(submission)).unwrap();
    world.pass(10 * MINUTE);
    assert_eq!(world.texts(ALICE, FolderRole::Sent)[1].as_bytes(), &*message);
    // What is refused is not kept, and leaves no copy.
    let unknown = Submission { recipients: vec!["nobody".to_owned()], ..world.submission(ALICE, BOB, "refused") };
    world.request(ALICE, Request::SubmitAndKeep(unknown)).unwrap_err();
    assert_eq!(world.messages(ALICE, FolderRole::Sent).len(), 2);
    world.check();
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
