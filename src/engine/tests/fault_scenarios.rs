//! Stories of interruptions: another sender was faster, the disk did not take a record, a session ended in the middle.

use std::time::Duration;

use crate::base::limits;
use crate::engine::api::Request;
use crate::engine::state::book::{ContactChange, ContactStatus};
use crate::engine::state::boxes::ReceiptPolicy;
use crate::engine::state::mailbox::FolderRole;
use crate::engine::state::record::{BookRecord, ReceivedRecord, Record};
use crate::engine::state::{AttemptError, Attempts};
use crate::engine::tests::harness::{DAY, MINUTE, World};

const ALICE: usize = 0;
const BOB: usize = 1;
const CAROL: usize = 2;
const SECOND: Duration = Duration::from_secs(1);

/// How one node's attempts at another go.
fn attempts(world: &World, node: usize, at: usize) -> Attempts {
    let contact = world.contact(node, at).unwrap().id;
    world.nodes[node].published.attempts.get(&contact).copied().unwrap_or_default()
}

#[test]
fn of_two_who_use_one_invitation_at_the_same_time_the_second_becomes_a_request_at_once() {
    let mut world = World::new(1, &["alice", "bob", "carol"]);
    let invitation = world.invite(ALICE, false);
    for guest in [BOB, CAROL] {
        world.ask(guest, Request::AddContact { invitation: invitation.clone(), petname: None });
    }
    world.pass(limits::WIRE_ANSWER + 5 * SECOND);
    let redeems =
        |record: &Record| matches!(record, Record::Received(ReceivedRecord::CardAccepted { invitation: Some(_), .. }));
    let redeemed = world.nodes[ALICE].log.iter().filter(|(_, record)| redeems(record)).count();
    assert_eq!(redeemed, 2, "both were decided before either was written");
    let status = [BOB, CAROL].map(|guest| world.contact(ALICE, guest).map(|contact| contact.status));
    let (confirmed, request) = (Some(ContactStatus::Confirmed), Some(ContactStatus::Request));
    assert!(status == [confirmed, request] || status == [request, confirmed], "{status:?}");
    assert_eq!(world.messages(ALICE, FolderRole::Requests).len(), 1);
    let waits = [BOB, CAROL].map(|guest| world.contact(guest, ALICE).unwrap().cards.pending.is_some());
    assert_eq!(waits, [false, false], "both cards were taken");
    world.check();
}

#[test]
fn a_certificate_that_the_disk_does_not_take_ends_the_session_and_is_asked_for_again_later() {
    let mut world = World::new(2, &["alice", "bob"]);
    let invitation = world.invite(BOB, false);
    world.nodes[ALICE].failing_commits = 1;
    world.nodes[ALICE].failing_record = Some(|record| {
        matches!(record, Record::Book(BookRecord::ContactChanged { change: ContactChange::Certificate(_), .. }))
    });
    world.add(ALICE, &invitation).unwrap();
    world.pass(20 * SECOND);
    assert_eq!(world.nodes[ALICE].failing_commits, 0, "it failed");
    let tried = attempts(&world, ALICE, BOB);
    assert_eq!((tried.failed, tried.last_error), (1, Some(AttemptError::Local)));
    assert_eq!(world.dials, [(ALICE, BOB)], "once");
    assert!(world.contact(ALICE, BOB).unwrap().certificate.is_none());
    world.pass(2 * MINUTE);
    assert_eq!(world.contact(ALICE, BOB).unwrap().status, ContactStatus::Confirmed);
    world.check();
}

#[test]
fn a_contact_who_took_a_card_was_reached_even_where_the_mail_behind_it_fails() {
    let mut world = World::new(3, &["alice", "bob"]);
    world.introduce(ALICE, BOB);
    world.nodes[BOB].online = false;
    world.restart(BOB);
    let contact = world.contact(ALICE, BOB).unwrap().id;
    world.request(ALICE, Request::Tell { contact, told: ReceiptPolicy::Nothing }).unwrap();
    world.submit(ALICE, BOB, "one").unwrap();
    world.pass(DAY / 2);
    assert!(attempts(&world, ALICE, BOB).failed > 5);
    world.nodes[BOB].online = true;
    world.nodes[BOB].failing_commits = u32::MAX;
    world.nodes[BOB].failing_record =
        Some(|record| matches!(record, Record::Received(ReceivedRecord::Delivered { .. })));
    let end = world.now.plus(DAY / 4);
    while world.contact(ALICE, BOB).unwrap().cards.pending.is_some() && world.now < end {
        world.pass(10 * SECOND);
    }
    assert!(world.contact(ALICE, BOB).unwrap().cards.pending.is_none(), "the card was taken");
    assert!(world.messages(BOB, FolderRole::Inbox).is_empty(), "and the mail was not");
    let tried = attempts(&world, ALICE, BOB);
    assert_eq!((tried.failed, tried.last_error), (1, Some(AttemptError::Broken)), "counted from the card on");
    world.nodes[BOB].failing_commits = 0;
    world.pass(5 * MINUTE);
    assert_eq!(world.messages(BOB, FolderRole::Inbox).len(), 1);
    world.check();
}
