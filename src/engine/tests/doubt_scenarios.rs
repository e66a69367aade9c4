//! A message that may have arrived stays in doubt until something says what became of it.

use crate::base::limits::WIRE_ANSWER;
use crate::engine::io::Input;
use crate::engine::state::outbox;

use super::queue_scenarios::{BOB, HOUR, keywords, submit, waiting};

/// A refusal is about the copy that was refused, and not about an earlier one that had no answer.
#[test]
fn a_refusal_takes_no_earlier_doubt_away() {
    let mut world = waiting();
    world.nodes[BOB].online = true;
    world.cut_at = Some(b"202 ROGER");
    submit(&mut world, "may have arrived");
    world.pass(WIRE_ANSWER);
    world.cut_at = None;
    assert_eq!(keywords(&world), [[outbox::WAITING, outbox::UNCONFIRMED]]);
    let before = world.dials.len();
    world.input(BOB, Input::DiskLow(true));
    world.pass(HOUR);
    assert!(world.dials.len() > before, "it was tried again, and refused");
    assert_eq!(keywords(&world), [[outbox::WAITING, outbox::UNCONFIRMED]]);
    world.check();
}
