//! Stories of nodes that come back, and show their contacts that they are there.

use std::time::Duration;

use super::queue_scenarios::{BOB, HOUR, submit, waiting};
use crate::base::{Terms, limits};
use crate::engine::api::Request;
use crate::engine::io::{DialError, Input};
use crate::engine::state::mailbox::FolderRole;
use crate::engine::tests::harness::{DAY, MINUTE, World};

const ALICE: usize = 0;
const CAROL: usize = 2;
const SOON: Duration = Duration::from_secs(2);

/// A node of the world can be reached again.
fn comes_back(world: &mut World, node: usize) {
    world.nodes[node].online = true;
    world.input(node, Input::Reachable);
    world.run();
}

/// How often a node has dialled alice, whether she was there or not.
fn dials_of_alice(world: &World, node: usize) -> usize {
    let onion = world.public(ALICE).onion();
    world.circuits.iter().filter(|(by, to, _)| *by == node && *to == onion).count()
}

#[test]
fn mail_that_waits_for_a_node_comes_within_seconds_of_its_return() {
    let mut world = waiting();
    submit(&mut world, "while bob sleeps");
    world.pass(DAY / 2);
    world.commands.clear();
    comes_back(&mut world, BOB);
    world.pass(limits::START_SPREAD + limits::ONLINE_SPREAD + SOON);
    assert_eq!(world.messages(BOB, FolderRole::Inbox).len(), 1);
    let knock = &world.commands[0];
    assert!(knock.contains(" SIZE=1 ") && knock.contains(" AUTH=") && !knock.contains("MESSAGE"), "{knock}");
    assert!(world.commands[1].contains("QUIT"), "{:?}", world.commands);
}

#[test]
fn a_contact_of_long_ago_is_knocked_at_within_minutes() {
    let mut world = waiting();
    world.pass(limits::ANSWERED_LATELY + HOUR);
    let before = dials_of_alice(&world, BOB);
    comes_back(&mut world, BOB);
    world.pass(limits::KNOCK_SPREAD);
    assert_eq!(dials_of_alice(&world, BOB), before + 1);
}

#[test]
fn an_onion_that_comes_and_goes_knocks_once_in_a_while() {
    let mut world = waiting();
    let before = dials_of_alice(&world, BOB);
    let lately = limits::ANSWERED_LATELY - HOUR;
    for _ in 0..360 {
        comes_back(&mut world, BOB);
        world.pass(Duration::from_secs(10));
    }
    let (most, knocks) =
        (HOUR.as_secs() / limits::KNOCK_AGAIN_LATELY.as_secs() + 1, dials_of_alice(&world, BOB) - before);
    assert!((6..=most as usize).contains(&knocks), "{knocks} in an hour");
    world.pass(lately);
    let before = dials_of_alice(&world, BOB);
    for _ in 0..360 {
        comes_back(&mut world, BOB);
        world.pass(Duration::from_secs(10));
    }
    let knocks = dials_of_alice(&world, BOB) - before;
    assert!((1..=3).contains(&knocks), "{knocks} in an hour at a contact of yesterday");
}

#[test]
fn an_onion_that_comes_and_goes_dials_nobody_twice_at_a_time_and_a_contact_that_is_blocked_meanwhile_is_left() {
    let mut world = waiting();
    world.nodes[ALICE].online = false;
    world.dial_fails_after = MINUTE;
    let before = dials_of_alice(&world, BOB);
    for _ in 0..5 {
        comes_back(&mut world, BOB);
        world.pass(Duration::from_secs(11));
    }
    assert_eq!(dials_of_alice(&world, BOB), before + 1);
    let alice = world.contact(BOB, ALICE).unwrap().id;
    world.request(BOB, Request::Block(alice)).unwrap();
    assert_eq!(world.nodes[BOB].identity.tasks.iter().count(), 0);
    world.pass(HOUR);
    assert_eq!(dials_of_alice(&world, BOB), before + 1);
}

#[test]
fn a_contact_to_whom_something_went_meanwhile_is_not_knocked_at() {
    let mut world = waiting();
    comes_back(&mut world, BOB);
    world.submit(BOB, ALICE, "bob is quicker").unwrap();
    world.run();
    assert_eq!(world.messages(ALICE, FolderRole::Inbox).len(), 1);
    let before = dials_of_alice(&world, BOB);
    world.pass(HOUR);
    assert_eq!(dials_of_alice(&world, BOB), before);
}

#[test]
fn a_knock_that_fails_is_made_again_once() {
    let mut world = waiting();
    world.nodes[ALICE].online = false;
    let before = dials_of_alice(&world, BOB);
    comes_back(&mut world, BOB);
    world.pass(HOUR);
    assert_eq!(dials_of_alice(&world, BOB), before + 2);
}

#[test]
fn a_knock_that_our_own_network_prevented_does_not_count() {
    let mut world = waiting();
    world.nodes[ALICE].online = false;
    world.dial_fails_after = MINUTE;
    let before = dials_of_alice(&world, BOB);
    comes_back(&mut world, BOB);
    world.pass(limits::START_SPREAD);
    let session = world.nodes[BOB].identity.tasks.iter().next().unwrap().0;
    world.input(BOB, Input::Dialled(session, Err(DialError::Offline)));
    world.nodes[ALICE].online = true;
    comes_back(&mut world, BOB);
    world.pass(limits::START_SPREAD);
    assert_eq!(dials_of_alice(&world, BOB), before + 2, "the next return knocks at once");
}

#[test]
fn who_is_blocked_or_knows_nothing_of_us_is_not_knocked_at_and_neither_is_anybody_where_that_is_off() {
    for story in ["off", "off here", "off for her", "off meanwhile", "blocked", "blocked meanwhile", "hidden meanwhile"]
    {
        let mut world = waiting();
        let alice = world.contact(BOB, ALICE).unwrap().id;
        match story {
            "off" => world.nodes[BOB].identity.set_terms(Terms { knocks: false, ..Terms::default() }),
            "off here" => drop(world.request(BOB, Request::SetKnocks { contact: None, on: false }).unwrap()),
            "off for her" => drop(world.request(BOB, Request::SetKnocks { contact: Some(alice), on: false }).unwrap()),
            "blocked" => drop(world.request(BOB, Request::Block(alice)).unwrap()),
            _ => {}
        }
        let before = dials_of_alice(&world, BOB);
        comes_back(&mut world, BOB);
        match story {
            "blocked meanwhile" => drop(world.request(BOB, Request::Block(alice)).unwrap()),
            "off meanwhile" => drop(world.request(BOB, Request::SetKnocks { contact: None, on: false }).unwrap()),
            "hidden meanwhile" => drop(world.request(BOB, Request::Listen(false)).unwrap()),
            _ => {}
        }
        world.pass(HOUR);
        assert_eq!(dials_of_alice(&world, BOB), before, "{story}");
    }
    // Who switches it on again is seen again; and a start forgets nothing of it.
    let mut world = waiting();
    let alice = world.contact(BOB, ALICE).unwrap().id;
    for contact in [None, Some(alice)] {
        world.request(BOB, Request::SetKnocks { contact, on: false }).unwrap();
        world.restart(BOB);
        let before = dials_of_alice(&world, BOB);
        comes_back(&mut world, BOB);
        world.pass(HOUR);
        assert_eq!(dials_of_alice(&world, BOB), before, "{contact:?}");
        world.request(BOB, Request::SetKnocks { contact, on: true }).unwrap();
        comes_back(&mut world, BOB);
        world.pass(HOUR);
        assert_eq!(dials_of_alice(&world, BOB), before + 1, "{contact:?}");
        world.check();
    }
    let mut world = World::new(1, &["alice", "bob", "carol"]);
    comes_back(&mut world, CAROL);
    world.pass(HOUR);
    assert!(world.circuits.is_empty(), "carol knows nobody");
}

#[test]
fn a_knock_takes_nothing_from_what_a_contact_may_send_and_leaves_no_session_behind() {
    let mut world = waiting();
    for _ in 0..50 {
        comes_back(&mut world, BOB);
        world.pass(limits::KNOCK_AGAIN_LATELY + MINUTE);
    }
    world.submit(BOB, ALICE, "after fifty knocks").unwrap();
    world.pass(MINUTE);
    assert_eq!(world.messages(ALICE, FolderRole::Inbox).len(), 1);
    assert_eq!(world.nodes[BOB].identity.tasks.iter().count(), 0);
    assert_eq!(world.nodes[ALICE].identity.rooms.receive.poll_timeout(), None);
}
