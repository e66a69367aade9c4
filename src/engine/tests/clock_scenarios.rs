//! Stories of a clock that is set: sessions last as long as they would have, and waiting work is done as soon.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::base::{ClockStep, SessionId, limits};

use crate::engine::api::Request;
use crate::engine::carrier::CarrierInput;
use crate::engine::identity::Identity;
use crate::engine::io::Input;
use crate::engine::state::mailbox::FolderRole;
use crate::engine::task::Task;
use crate::engine::tests::harness::{DAY, MINUTE, World};

const ALICE: usize = 0;
const CAROL: usize = 1;
const BOB: usize = 2;
const HOUR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);

/// Sets the clocks of all nodes.
fn set(world: &mut World, step: ClockStep) {
    world.now = world.now.stepped(step);
    for node in 0..world.nodes.len() {
        world.input(node, Input::ClockSet(step));
    }
    for carrier in 0..world.carriers.len() {
        world.carrier_input(carrier, CarrierInput::ClockSet(step));
    }
    world.run();
}

/// Alice and carol know each other, and carol has a box.
fn with_box() -> World {
    let mut world = World::new(1, &["alice", "carol"]);
    world.introduce(ALICE, CAROL);
    let carrier = world.add_carrier(100);
    let invitation = world.invite_to_box(carrier);
    world.rent(CAROL, &invitation, 120).unwrap();
    world.pass(5 * MINUTE);
    world
}

/// Alice knows carol and bob, who do not know each other; bob forwards what alice writes to carol, whom she never
/// reaches.
fn with_friend() -> World {
    let mut world = World::new(1, &["alice", "carol", "bob"]);
    world.introduce(ALICE, CAROL);
    world.introduce(ALICE, BOB);
    world.apart.insert((ALICE, CAROL));
    let (contact, friend) = (world.contact(ALICE, CAROL).unwrap().id, world.contact(ALICE, BOB).unwrap().id);
    world.request(ALICE, Request::ChooseCarrier { contact, friend: Some(friend) }).unwrap();
    let contact = world.contact(BOB, ALICE).unwrap().id;
    world.request(BOB, Request::AllowForwarding { contact, on: true }).unwrap();
    world
}

fn away(world: &mut World, node: usize) {
    world.nodes[node].online = false;
    world.restart(node);
}

fn inbox(world: &World, node: usize) -> usize {
    world.messages(node, FolderRole::Inbox).len()
}

type Sessions = fn(&Identity) -> BTreeSet<SessionId>;

fn dialled(of: &Identity, kind: fn(&Task) -> bool) -> BTreeSet<SessionId> {
    of.tasks.iter().filter(|(_, task)| kind(task)).map(|(session, _)| session).collect()
}

/// A session of each kind in which nothing comes any more: the world, the node whose session it is, and a function that
/// lists the sessions of that kind.
fn hanging(kind: usize) -> (World, usize, Sessions) {
    let (mut world, node, sessions): (World, usize, Sessions) = match kind {
        0 => {
            let mut world = World::new(1, &["alice"]);
            world.accept(ALICE);
            (world, ALICE, |of| of.rooms.receive.inbound().keys().copied().collect())
        }
        1 => {
            let mut world = World::new(1, &["alice", "carol"]);
            world.introduce(ALICE, CAROL);
            world.silent.insert(world.public(CAROL).onion());
            world.submit(ALICE, CAROL, "one").unwrap();
            (world, ALICE, |of| dialled(of, |task| matches!(task, Task::Direct(_))))
        }
        2 => {
            let mut world = with_box();
            away(&mut world, CAROL);
            world.carriers[0].deaf = true;
            world.submit(ALICE, CAROL, "one").unwrap();
            (world, ALICE, |of| dialled(of, |task| matches!(task, Task::Deposit(_))))
        }
        3 => {
            let mut world = with_box();
            world.carriers[0].deaf = true;
            world.restart(CAROL);
            (world, CAROL, |of| dialled(of, |task| matches!(task, Task::Collect(_))))
        }
        4 => {
            let mut world = with_box();
            world.carriers[0].deaf = true;
            world.request(CAROL, Request::CheckBox { name: "box120".to_owned() }).unwrap();
            (world, CAROL, |of| dialled(of, |task| matches!(task, Task::Check(_))))
        }
        _ => {
            let mut world = with_friend();
            world.silent.insert(world.public(CAROL).onion());
            world.submit(ALICE, CAROL, "one").unwrap();
            (world, BOB, |of| dialled(of, |task| matches!(task, Task::Forward(_))))
        }
    };
    let end = world.now.plus(HOUR);
    while sessions(&world.nodes[node].identity).is_empty() && world.now < end {
        world.pass(SECOND);
    }
    (world, node, sessions)
}

#[test]
fn no_session_ends_early_or_late_because_a_clock_was_set() {
    for kind in 0..6 {
        let (mut world, node, sessions) = hanging(kind);
        let session =
            *sessions(&world.nodes[node].identity).first().unwrap_or_else(|| panic!("kind {kind}: no session"));
        let is_open = |world: &World| sessions(&world.nodes[node].identity).contains(&session);
        set(&mut world, ClockStep::Forward(DAY));
        world.pass(5 * SECOND);
        assert!(is_open(&world), "kind {kind}: it had more time");
        let (mut world, ..) = hanging(kind);
        assert!(is_open(&world), "kind {kind}: the same seed");
        set(&mut world, ClockStep::Back(DAY));
        world.pass(limits::WIRE_IDLE + MINUTE);
        assert!(!is_open(&world), "kind {kind}: it has had its time");
    }
}

#[test]
fn what_waits_for_a_box_or_a_friend_is_not_late_because_a_clock_was_set_back() {
    // A message is to be left at a box whose carrier was away.
    let mut world = with_box();
    away(&mut world, CAROL);
    world.carriers[0].online = false;
    world.submit(ALICE, CAROL, "one").unwrap();
    world.pass(HOUR);
    set(&mut world, ClockStep::Back(DAY));
    world.carriers[0].online = true;
    world.pass(2 * HOUR);
    assert_eq!(world.carriers[0].held().len(), 1);
    // Carol is to collect it from a carrier that did not answer her, and to return a receipt.
    world.apart.insert((ALICE, CAROL));
    world.carriers[0].online = false;
    world.nodes[CAROL].online = true;
    world.restart(CAROL);
    world.pass(HOUR);
    set(&mut world, ClockStep::Back(DAY));
    world.carriers[0].online = true;
    world.pass(MINUTE);
    let began = world.now;
    while inbox(&world, CAROL) == 0 && world.now < began.plus(2 * HOUR) {
        world.pass(MINUTE);
    }
    assert_eq!(inbox(&world, CAROL), 1);
    set(&mut world, ClockStep::Back(DAY));
    world.pass(3 * HOUR);
    assert!(world.nodes[ALICE].published.queue.is_empty(), "her receipt came");
    // A friend forwards a message to a contact that was away.
    let mut world = with_friend();
    away(&mut world, CAROL);
    world.submit(ALICE, CAROL, "one").unwrap();
    world.pass(HOUR);
    set(&mut world, ClockStep::Back(DAY));
    world.nodes[CAROL].online = true;
    world.pass(2 * HOUR);
    assert_eq!(inbox(&world, CAROL), 1);
}
