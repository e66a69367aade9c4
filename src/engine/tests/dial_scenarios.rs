//! Stories of dials: many nodes that are gone, or that answer and take nothing, do not keep mail from those that are
//! there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::base::ids::Fingerprint;
use crate::base::{BodyId, MacKey, Onion, limits};
use crate::engine::api::{DeliveryOptions, Request, Response, Submission};
use crate::engine::io::NewBody;
use crate::engine::state::book::Contact;
use crate::engine::state::forwarding::Forwarded;
use crate::engine::state::mailbox::FolderRole;
use crate::engine::state::record::{BookRecord, ForwardingRecord, Record};
use crate::engine::tests::harness::{DAY, MINUTE, World, certificate};
use crate::engine::tests::samples::known;
use crate::mail::Address;
use crate::wire::digest;

const ALICE: usize = 0;
const BOB: usize = 1;
const CAROL: usize = 2;
/// How much longer it may take, because everything that falls due within seconds happens at one moment.
const SOON: Duration = Duration::from_secs(12);

/// The address of a contact that is no node of the harness.
fn somebody(number: u8) -> Address {
    format!("gone{number}@{}", Onion::from_public_key([100 + number; 32])).parse().unwrap()
}

/// Adds so many contacts to a node's book, which are gone or silent.
fn acquaint(world: &mut World, node: usize, count: u8) -> Vec<Address> {
    let others: Vec<_> = (0..count).map(somebody).collect();
    let records = others.iter().zip(100_u8..).map(|(address, number)| {
        let fingerprint = Fingerprint::from_bytes([number; 32]);
        let contact = Contact {
            address: address.clone(),
            fingerprint,
            certificate: Some(certificate(&fingerprint).into()),
            inbound: vec![MacKey::from_bytes([number; 32])],
            outbound: Some(MacKey::from_bytes([number; 32])),
            ..known(number.into(), &format!("gone{number}"))
        };
        Record::Book(BookRecord::ContactAdded { contact: Box::new(contact) })
    });
    world.append(node, records.collect(), Vec::new());
    others
}

fn write(world: &mut World, node: usize, to: &Address, subject: &str) {
    let (message, recipient) = (world.message(node, subject), to.to_string());
    let visible = vec![recipient.clone()];
    let submission = Submission { recipients: vec![recipient], visible, message, asked: DeliveryOptions::default() };
    assert!(matches!(world.request(node, Request::Submit(submission)), Ok(Response::Submitted(_))));
}

/// Alice knows bob and so many others, and does not know which of them are there.
fn world(others: u8) -> (World, Vec<Address>) {
    let mut world = World::new(7, &["alice", "bob", "carol"]);
    world.introduce(ALICE, BOB);
    world.pass(2 * DAY);
    let others = acquaint(&mut world, ALICE, others);
    world.restart(ALICE);
    (world, others)
}

fn arrived(world: &World) -> bool {
    !world.messages(BOB, FolderRole::Inbox).is_empty()
}

/// How long it takes, in steps of a second, until this holds.
fn until(world: &mut World, most: Duration, holds: impl Fn(&World) -> bool) -> Duration {
    let begun = world.now;
    while !holds(world) {
        assert!(world.now.since(begun) <= most, "not within {most:?}");
        world.pass(Duration::from_secs(1));
    }
    world.now.since(begun)
}

#[test]
fn peers_who_take_nothing_delay_mail_to_others_by_a_minute_at_most() {
    for count in [3, 20, 50] {
        let (mut world, others) = world(count);
        world.silent.extend(others.iter().map(Address::onion));
        for other in &others {
            write(&mut world, ALICE, other, "held up");
        }
        world.submit(ALICE, BOB, "to bob").unwrap();
        let took = until(&mut world, limits::SLOT + SOON, arrived);
        assert!(took >= Duration::from_secs(20), "{count}: they were before it, {took:?}");
        // From then on alice knows which are there, and one place is kept from those that are not.
        world.pass(5 * MINUTE);
        world.submit(ALICE, BOB, "again").unwrap();
        until(&mut world, SOON, |world| world.messages(BOB, FolderRole::Inbox).len() == 2);
    }
}

#[test]
fn mail_to_the_one_who_is_there_does_not_wait_for_150_who_are_gone() {
    let (mut world, others) = world(150);
    world.dial_fails_after = limits::DIAL;
    for other in &others {
        write(&mut world, ALICE, other, "to nobody");
    }
    world.submit(ALICE, BOB, "to bob").unwrap();
    // Nothing is known of any of them: a crowd, each of which is dialled within a minute.
    world.restart(ALICE);
    until(&mut world, limits::SLOT + SOON, arrived);
    // All are tried again and again; a message to bob goes at once, also after a start.
    for restart in [false, true] {
        world.pass(10 * MINUTE);
        let before = world.messages(BOB, FolderRole::Inbox).len();
        world.submit(ALICE, BOB, "more").unwrap();
        if restart {
            world.restart(ALICE);
        }
        until(&mut world, SOON, |world| world.messages(BOB, FolderRole::Inbox).len() > before);
    }
}

#[test]
fn whoever_answered_before_a_start_is_dialled_first_after_it() {
    let (mut world, others) = world(150);
    world.dial_fails_after = limits::DIAL;
    world.submit(BOB, ALICE, "from bob").unwrap();
    world.run();
    for other in &others {
        write(&mut world, ALICE, other, "to nobody");
    }
    world.nodes[BOB].online = false;
    world.submit(ALICE, BOB, "to bob").unwrap();
    world.nodes[BOB].online = true;
    world.restart(ALICE);
    until(&mut world, SOON, arrived);
}

#[test]
fn a_contact_who_is_gone_is_still_met_when_it_comes_back() {
    let (mut world, others) = world(50);
    world.dial_fails_after = limits::DIAL;
    world.nodes[BOB].online = false;
    world.submit(ALICE, BOB, "late").unwrap();
    for other in &others {
        write(&mut world, ALICE, other, "to nobody");
    }
    world.pass(DAY / 4);
    world.nodes[BOB].online = true;
    until(&mut world, 80 * MINUTE, arrived);
}

/// Alice's contacts have boxes at carriers that take nothing; one contact has its box at a carrier that works.
#[test]
fn carriers_who_take_nothing_delay_a_copy_for_another_by_a_minute_at_most() {
    for count in [3, 20] {
        let names: Vec<String> = (0..=count).map(|number| format!("name{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut world = World::new(9, &names);
        for node in 1..=count {
            world.introduce(ALICE, node);
            let carrier = world.add_carrier(100 + node as u8);
            let invitation = world.invite_to_box(carrier);
            world.rent(node, &invitation, 150 + node as u8).unwrap();
        }
        world.pass(5 * MINUTE);
        for node in 1..=count {
            world.nodes[node].online = false;
            world.restart(node);
        }
        // The last carrier works.
        let onions: BTreeSet<_> = world.carriers.iter().take(count - 1).map(|carrier| carrier.onion()).collect();
        world.silent = onions;
        world.restart(ALICE);
        for node in 1..=count {
            world.submit(ALICE, node, "while away").unwrap();
        }
        for node in 1..=count {
            let named = world.nodes[ALICE].published.boxes.of(world.contact(ALICE, node).unwrap().id).cloned();
            assert_eq!(named.map_or(0, |named| named.iter().count()), 1, "{node} of {count} told her of its box");
        }
        let held = |world: &World| world.carriers.last().unwrap().held().len() == 1;
        until(&mut world, limits::DEPOSIT_SPREAD + limits::SLOT + SOON, held);
    }
}

#[test]
fn carriers_who_take_nothing_do_not_delay_what_another_holds_for_us() {
    let mut world = World::new(5, &["alice", "bob"]);
    world.introduce(ALICE, BOB);
    for number in 0..4 {
        let carrier = world.add_carrier(100 + number);
        let invitation = world.invite_to_box(carrier);
        world.rent(BOB, &invitation, 120 + number).unwrap();
    }
    world.pass(5 * MINUTE);
    world.nodes[BOB].online = false;
    world.submit(ALICE, BOB, "while away").unwrap();
    world.pass(10 * MINUTE);
    world.silent = world.carriers.iter().take(3).map(|carrier| carrier.onion()).collect();
    world.nodes[ALICE].online = false;
    world.nodes[BOB].online = true;
    world.restart(BOB);
    until(&mut world, SOON, arrived);
}

#[test]
fn receivers_who_take_nothing_delay_what_is_carried_to_others_by_a_minute_at_most() {
    for count in [3, 20, 50] {
        let mut world = World::new(6, &["alice", "bob", "carol"]);
        world.introduce(BOB, ALICE);
        let contact = world.contact(BOB, ALICE).unwrap().id;
        world.request(BOB, Request::AllowForwarding { contact, on: true }).unwrap();
        let mut receivers: Vec<_> = (0..count).map(somebody).collect();
        world.silent.extend(receivers.iter().map(Address::onion));
        receivers.push(world.address(CAROL).parse().unwrap());
        for (to, number) in receivers.into_iter().zip(1_u8..) {
            let bytes: Arc<[u8]> = vec![number; 4096].into();
            let (object, body) = (digest(&bytes), BodyId::from_bytes([number; 16]));
            let until = world.now.plus(DAY);
            let (certificate, onward, important) = (None, None, false);
            let size = 4096;
            let forwarded = Forwarded { contact, object, to, body, size, certificate, onward, important, until };
            let record = Record::Forwarding(ForwardingRecord::ForwardedTaken { forwarded: Box::new(forwarded) });
            world.append(BOB, vec![record], vec![NewBody::new(body, bytes)]);
        }
        world.restart(BOB);
        until(&mut world, limits::SLOT + SOON, |world| world.dials.contains(&(BOB, CAROL)));
    }
}
