//! Stories of a node whose own network went away and came back, and of attempts that its user asks for.

use std::time::Duration;

use super::queue_scenarios::{BOB, HOUR, submit, waiting};
use crate::base::limits;
use crate::engine::api::Request;
use crate::engine::io::Input;
use crate::engine::state::Attempts;
use crate::engine::state::mailbox::FolderRole;
use crate::engine::tests::harness::{DAY, MINUTE, World};

const ALICE: usize = 0;
const SOON: Duration = Duration::from_secs(2);

fn attempts(world: &World) -> Attempts {
    let contact = world.contact(ALICE, BOB).unwrap().id;
    world.nodes[ALICE].published.attempts.get(&contact).copied().unwrap()
}

#[test]
fn after_the_return_of_the_network_those_who_did_not_answer_are_dialled_within_seconds() {
    let mut world = waiting();
    submit(&mut world, "while bob seems away");
    world.pass(DAY / 2);
    let before = attempts(&world);
    assert!(before.failed > 5 && before.failing_since.is_some_and(|since| world.now.since(since) > HOUR));
    world.nodes[BOB].online = true;
    world.input(ALICE, Input::NetworkBack(DAY));
    world.run();
    let told = attempts(&world);
    assert_eq!((told.failed, told.failing_since), (0, None), "it was the network, not bob");
    world.pass(limits::START_SPREAD + SOON);
    assert_eq!(world.messages(BOB, FolderRole::Inbox).len(), 1);
}

#[test]
fn who_lost_the_network_too_and_is_not_back_yet_is_dialled_every_few_seconds() {
    let mut world = waiting();
    submit(&mut world, "both were cut off");
    world.pass(HOUR);
    world.input(ALICE, Input::NetworkBack(2 * HOUR));
    // Bob's node needs as long as this to be published again.
    world.pass(Duration::from_secs(40));
    world.nodes[BOB].online = true;
    world.pass(limits::RETRY_EAGER * 3 / 2 + SOON);
    assert_eq!(world.messages(BOB, FolderRole::Inbox).len(), 1);
}

#[test]
fn a_return_makes_nobody_dial_a_peer_who_is_away_every_few_seconds_for_ever() {
    let mut world = waiting();
    submit(&mut world, "bob is away for days");
    world.pass(HOUR);
    world.input(ALICE, Input::NetworkBack(2 * HOUR));
    world.pass(limits::EAGER_AFTER_RETURN + 20 * MINUTE);
    let before = attempts(&world).failed;
    world.pass(HOUR);
    let more = attempts(&world).failed - before;
    assert!((2..=5).contains(&more), "{more} attempts in an hour");
}

#[test]
fn who_comes_back_minutes_after_us_is_dialled_within_minutes() {
    let mut world = waiting();
    submit(&mut world, "one line for both");
    world.pass(HOUR);
    world.input(ALICE, Input::NetworkBack(2 * HOUR));
    world.pass(limits::EAGER_AFTER_RETURN + MINUTE);
    world.nodes[BOB].online = true;
    world.pass(7 * MINUTE);
    assert_eq!(world.messages(BOB, FolderRole::Inbox).len(), 1, "the eager attempts made the next ones no rarer");
}

#[test]
fn a_network_that_comes_and_goes_says_nothing_of_those_who_were_away_before() {
    let mut world = waiting();
    submit(&mut world, "bob is away for a day");
    world.pass(DAY / 2);
    let before = attempts(&world);
    world.input(ALICE, Input::NetworkBack(MINUTE));
    world.run();
    let after = attempts(&world);
    assert_eq!((after.failed, after.failing_since), (before.failed, before.failing_since));
    assert!(after.next < before.next, "he is tried once more");
    // Another return soon after it makes nobody dial every few seconds again, unless the network was really gone.
    for (gone, many) in [(limits::SHORT_ABSENCE / 2, false), (MINUTE, true)] {
        world.pass(limits::EAGER_AFTER_RETURN + MINUTE);
        let before = world.circuits.len();
        world.input(ALICE, Input::NetworkBack(gone));
        world.pass(limits::EAGER_AFTER_RETURN);
        let dials = world.circuits.len() - before;
        assert_eq!(dials > 5, many, "{dials} dials after {gone:?}");
    }
}

#[test]
fn an_attempt_that_the_user_asks_for_postpones_none_that_is_planned() {
    let mut world = waiting();
    let id = submit(&mut world, "retried by hand");
    world.pass(DAY / 2);
    let planned = attempts(&world);
    assert!(planned.next.is_some_and(|next| next > world.now));
    for _ in 0..3 {
        world.request(ALICE, Request::Retry(Some(id))).unwrap();
        world.pass(SOON);
        assert_eq!(attempts(&world), planned, "one attempt more, and the plan stands");
    }
    world.nodes[BOB].online = true;
    world.pass(planned.next.unwrap().since(world.now) + SOON);
    assert_eq!(world.messages(BOB, FolderRole::Inbox).len(), 1);
}
