//! Stories of how people become contacts: invitations, greetings, requests and their ends.

use std::sync::Arc;

use crate::base::{ContentId, limits};
use crate::engine::api::{DeliveryOptions, Request, RequestError, Response, Submission};
use crate::engine::io::Input;
use crate::engine::state::book::{Acquaintance, ContactStatus, Renewal, Unaddressable};
use crate::engine::state::mailbox::FolderRole;
use crate::engine::state::record::{ContentKey, ReceivedRecord, Record};
use crate::engine::tests::harness::{DAY, MINUTE, World};
use crate::engine::tests::scenarios::{ALICE, BOB, CAROL, friends, world};

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

fn asked(world: &mut World) {
    let poster = world.invite(ALICE, true);
    world.add(CAROL, &poster).unwrap();
    world.pass(MINUTE);
}

fn decide(world: &mut World, to: FolderRole) {
    transfer(world, to, usize::MAX, false);
}

/// Moves, or copies, so many messages from Requests.
fn transfer(world: &mut World, to: FolderRole, many: usize, keep: bool) {
    let mailbox = world.nodes[ALICE].published.mailbox.clone();
    let (from, to) = (mailbox.by_role(FolderRole::Requests).unwrap().id, mailbox.by_role(to).unwrap().id);
    let uids = world.messages(ALICE, FolderRole::Requests).iter().map(|message| message.uid).take(many).collect();
    world.request(ALICE, Request::Transfer { from, to, uids, keep }).unwrap();
    world.pass(MINUTE);
}

/// Alice has a request of carol's, and two messages.
fn asked_and_written() -> World {
    let mut world = world();
    asked(&mut world);
    world.submit(CAROL, ALICE, "please").unwrap();
    world.submit(CAROL, ALICE, "please, please").unwrap();
    world.pass(MINUTE);
    assert_eq!(world.messages(ALICE, FolderRole::Requests).len(), 3);
    world
}

#[test]
fn a_copy_of_a_request_decides_as_a_move_does_and_what_else_waits_from_its_sender_follows() {
    for (to, status) in [(FolderRole::Inbox, ContactStatus::Confirmed), (FolderRole::Junk, ContactStatus::Blocked)] {
        for keep in [true, false] {
            let mut world = asked_and_written();
            let before = world.messages(ALICE, to).len();
            transfer(&mut world, to, 1, keep);
            assert_eq!(world.contact(ALICE, CAROL).unwrap().status, status, "{to:?} {keep}");
            assert_eq!(world.messages(ALICE, to).len(), before + 3, "{to:?} {keep}");
            // The mail program that copied a message removes the first one itself.
            assert_eq!(world.messages(ALICE, FolderRole::Requests).len(), usize::from(keep), "{to:?} {keep}");
            world.check();
        }
        // Any other folder decides nothing.
        let mut world = asked_and_written();
        transfer(&mut world, FolderRole::Archive, 1, true);
        assert_eq!(world.contact(ALICE, CAROL).unwrap().status, ContactStatus::Request);
    }
}

#[test]
fn a_request_is_accepted_by_a_command_and_its_mail_goes_to_inbox() {
    let mut world = asked_and_written();
    let carol = world.contact(ALICE, CAROL).unwrap().id;
    let before = world.messages(ALICE, FolderRole::Inbox).len();
    world.request(ALICE, Request::Accept(carol)).unwrap();
    world.pass(MINUTE);
    assert_eq!(world.contact(ALICE, CAROL).unwrap().status, ContactStatus::Confirmed);
    assert_eq!(world.contact(CAROL, ALICE).unwrap().status, ContactStatus::Confirmed);
    assert_eq!(world.messages(ALICE, FolderRole::Inbox).len(), before + 3);
    assert!(world.messages(ALICE, FolderRole::Requests).is_empty());
    // Once more changes nothing, and somebody who is blocked is let back first.
    world.request(ALICE, Request::Accept(carol)).unwrap();
    world.request(ALICE, Request::Block(carol)).unwrap();
    assert!(
        matches!(world.request(ALICE, Request::Accept(carol)), Err(RequestError::NotReady(why)) if why.contains("unblock"))
    );
    world.check();
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
            asked: DeliveryOptions::default(),
        };
        world.request(0, Request::Submit(submission)).unwrap();
    }
    world.pass(MINUTE);
    assert_eq!(world.messages(0, FolderRole::Inbox).len(), 2);
    assert!(world.messages(1, FolderRole::Inbox).is_empty());
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

/// An invitation with a name for its user.
fn invite_for(world: &mut World, label: &str) -> Result<String, RequestError> {
    let (expires, label) = (world.now.plus(7 * DAY), Some(label.to_owned()));
    match world.request(ALICE, Request::Invite { public: false, expires, label })? {
        Response::Invited { text, .. } => Ok(text),
        other => panic!("{other:?}"),
    }
}

#[test]
fn whom_an_invitation_is_for_is_the_petname_of_its_user_and_leaves_the_node_in_no_form() {
    let mut world = world();
    let (one, other) = (invite_for(&mut world, "Robert").unwrap(), invite_for(&mut world, "robert").unwrap());
    assert_eq!(one.len(), world.invite(ALICE, false).len(), "the text says no more than another one");
    world.restart(ALICE);
    world.add(BOB, &one).unwrap();
    world.pass(MINUTE);
    assert_eq!(world.contact(ALICE, BOB).unwrap().petname, "Robert", "and not bob, as the card says");
    assert_eq!(world.contact(BOB, ALICE).unwrap().petname, "alice");
    world.add(CAROL, &other).unwrap();
    world.pass(MINUTE);
    assert_eq!(world.contact(ALICE, CAROL).unwrap().petname, "robert-2", "no petname is given twice");
    for (to, name) in [(BOB, "Robert"), (CAROL, "robert-2")] {
        world.submit(ALICE, to, "hello").unwrap();
        world.pass(MINUTE);
        assert_eq!(world.messages(to, FolderRole::Inbox).len(), 1, "{name}");
    }
    assert!(world.objects.len() >= 6);
    for (_, object) in &world.objects {
        assert!(!String::from_utf8_lossy(object).to_lowercase().contains("robert"));
    }
    world.check();
}

#[test]
fn a_contact_who_uses_another_invitation_keeps_the_petname_and_a_name_ends_with_its_invitation() {
    let mut world = friends();
    let text = invite_for(&mut world, "Robert").unwrap();
    world.add(BOB, &text).unwrap();
    world.pass(MINUTE);
    assert_eq!(world.contact(ALICE, BOB).unwrap().petname, "bob");
    let label = |world: &World, id| world.nodes[ALICE].published.book.label(id).map(str::to_owned);
    invite_for(&mut world, "Zo\u{eb}").unwrap();
    let open = world.nodes[ALICE].published.book.invitations().find(|entry| entry.used.is_none()).unwrap().id;
    assert_eq!(label(&world, open).as_deref(), Some("Zo\u{eb}"));
    world.request(ALICE, Request::RevokeInvitation(open)).unwrap();
    assert_eq!(label(&world, open), None);
}

#[test]
fn an_invitation_is_for_somebody_who_can_be_called_so_and_a_public_one_for_nobody() {
    let mut world = world();
    for name in ["", "two words", "bob@rune.internal", ".bob", &"b".repeat(51)] {
        let refused = invite_for(&mut world, name);
        assert!(matches!(refused, Err(RequestError::NameRefused(_))), "{name}: {refused:?}");
    }
    let (expires, label) = (world.now.plus(DAY), Some("bob".to_owned()));
    let refused = world.request(ALICE, Request::Invite { public: true, expires, label });
    assert!(matches!(refused, Err(RequestError::InvitationRefused(_))), "{refused:?}");
    assert_eq!(world.nodes[ALICE].published.book.invitations().count(), 0);
}

#[test]
fn a_contact_is_renamed_and_mail_goes_to_the_new_name_only() {
    let mut world = world();
    world.introduce(ALICE, BOB);
    world.introduce(ALICE, CAROL);
    let bob = world.contact(ALICE, BOB).unwrap().id;
    let rename = |world: &mut World, name: &str| world.request(ALICE, Request::Rename(bob, name.to_owned()));
    for taken in ["carol", "Carol", "alice"] {
        assert!(matches!(rename(&mut world, taken), Err(RequestError::NameTaken)), "{taken}");
    }
    assert!(matches!(rename(&mut world, ".bob"), Err(RequestError::NameRefused(_))));
    for name in ["Bob", "robert"] {
        rename(&mut world, name).unwrap();
        assert_eq!(world.contact(ALICE, BOB).unwrap().petname, name);
    }
    let write = |world: &mut World, name: &str| {
        let recipient = format!("{name}@rune.internal");
        let submission = Submission {
            recipients: vec![recipient.clone()],
            visible: vec![recipient],
            message: world.message(ALICE, "renamed"),
            asked: DeliveryOptions::default(),
        };
        world.request(ALICE, Request::Submit(submission))
    };
    assert!(write(&mut world, "robert").is_ok());
    assert!(matches!(write(&mut world, "bob"), Err(RequestError::UnknownRecipient { .. })));
    // The name is free for somebody else.
    let carol = world.contact(ALICE, CAROL).unwrap().id;
    world.request(ALICE, Request::Rename(carol, "bob".to_owned())).unwrap();
    world.check();
}

/// The record of a card by which bob tells alice of another certificate.
fn renewed(world: &World, certificate: Arc<[u8]>) -> Record {
    let bob = world.contact(ALICE, BOB).unwrap();
    let renewal = Renewal {
        contact: bob.id,
        certificate,
        binding_epoch: bob.binding_epoch,
        counter: bob.cards.seen + 1,
        outbound: bob.outbound.clone().unwrap(),
        confirm: true,
        inbound: None,
        reply: None,
        provenance: None,
    };
    let (content, received, expires) = (ContentId::from_bytes([9; 16]), world.now, world.now.plus(DAY));
    let seen = ContentKey { content, author: bob.fingerprint, payload: [9; 32], received, expires };
    let acquaintance = Acquaintance::Known(Box::new(renewal));
    ReceivedRecord::CardAccepted { seen, invitation: None, acquaintance, notice: None }.into()
}

#[test]
fn a_verified_contact_stays_so_with_another_seal_key_and_ends_so_with_its_removal() {
    let mut world = friends();
    let bob = world.contact(ALICE, BOB).unwrap().id;
    let verified = |world: &World| world.nodes[ALICE].published.book.verified(bob);
    let verify = |world: &mut World, same| world.request(ALICE, Request::Verify { contact: bob, same }).unwrap();
    verify(&mut world, false);
    assert_eq!(verified(&world), None);
    verify(&mut world, true);
    let at = verified(&world).unwrap();
    assert_eq!(at, world.now);
    // A card with other subkeys under the same primary key, and a start.
    let certificate: Arc<[u8]> = b"other subkeys".as_slice().into();
    world.append(ALICE, vec![renewed(&world, Arc::clone(&certificate))], Vec::new());
    world.restart(ALICE);
    assert_eq!(world.contact(ALICE, BOB).unwrap().certificate, Some(certificate));
    assert_eq!(verified(&world), Some(at));
    // A later comparison has a date of its own, and one that fails takes the mark away.
    world.pass(DAY);
    verify(&mut world, true);
    assert!(verified(&world) > Some(at));
    verify(&mut world, false);
    assert_eq!(verified(&world), None);
    verify(&mut world, true);
    world.request(ALICE, Request::Block(bob)).unwrap();
    assert!(verified(&world).is_some(), "a contact that is blocked is who it is");
    world.request(ALICE, Request::RemoveContact(bob)).unwrap();
    assert_eq!(verified(&world), None);
    let gone = world.request(ALICE, Request::Verify { contact: bob, same: true });
    assert_eq!(gone, Err(RequestError::NotFound("contact")));
    world.introduce(ALICE, BOB);
    let again = world.contact(ALICE, BOB).unwrap().id;
    assert_eq!(world.nodes[ALICE].published.book.verified(again), None);
    world.check();
}

#[test]
fn when_a_contact_was_seen_is_known_also_after_a_start_and_what_came_again_is_counted() {
    let mut world = friends();
    let bob = world.contact(ALICE, BOB).unwrap().id;
    let seen = |world: &World| world.nodes[ALICE].published.sightings.get(&bob).copied().unwrap_or_default();
    world.pass(DAY);
    let before = seen(&world).last;
    // Mail of bob's whose acknowledgement is lost comes again.
    world.cut_at = Some(b"202 ROGER");
    world.submit(BOB, ALICE, "once").unwrap();
    world.pass(20 * MINUTE);
    assert_eq!(world.messages(ALICE, FolderRole::Inbox).len(), 1);
    let now = seen(&world);
    assert!(now.last > before && now.last <= Some(world.now), "{now:?}");
    assert_eq!(now.duplicates, 1);
    // Mail that reaches bob shows him as well, and a moment that is not far from the last one changes nothing.
    world.pass(DAY);
    world.submit(ALICE, BOB, "an answer").unwrap();
    world.pass(MINUTE / 6);
    assert_eq!(world.messages(BOB, FolderRole::Inbox).len(), 1);
    let answered = seen(&world).last.unwrap();
    assert!(Some(answered) > now.last);
    world.submit(ALICE, BOB, "another answer").unwrap();
    world.pass(MINUTE / 6);
    assert_eq!(world.messages(BOB, FolderRole::Inbox).len(), 2);
    assert_eq!(seen(&world).last, Some(answered));
    world.restart(ALICE);
    let after = seen(&world);
    assert!(after.last >= Some(answered) && after.duplicates == 0, "{after:?}");
    world.request(ALICE, Request::RemoveContact(bob)).unwrap();
    assert_eq!(seen(&world).last, None);
    world.restart(ALICE);
    assert_eq!(seen(&world).last, None);
}

#[test]
fn a_knock_is_seen_without_anything_that_is_kept() {
    let mut world = friends();
    let bob = world.contact(ALICE, BOB).unwrap().id;
    world.pass(DAY);
    let last = |world: &World| world.nodes[ALICE].published.sightings.get(&bob).and_then(|sighting| sighting.last);
    let (before, records) = (last(&world), world.nodes[ALICE].log.len());
    world.input(BOB, Input::Reachable);
    world.pass(limits::KNOCK_SPREAD);
    assert!(last(&world) > before);
    assert_eq!(world.nodes[ALICE].log.len(), records);
}
