//! What ends as days pass, and clocks that are wrong.

use std::time::Duration;

use crate::engine::carrier::{Carrier, CarrierInput};
use crate::engine::io::CommitError;
use crate::wire::token::{begin_of, epoch};

use super::bench::{BOX, Bench, SMALL, fingerprint, object, replay, small, today, tokens, with_box};

#[test]
fn days_end_objects_and_tokens_but_not_by_a_clock_that_was_just_set() {
    let (mut bench, tokens) = with_box();
    let session = bench.identify(BOX, BOX, None).unwrap();
    let ahead = self::tokens(2, today() + 20, small(), 1);
    assert_eq!(bench.upload(session, today() + 20, small(), &ahead), 220);
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)), (201, 202));
    assert_eq!(bench.deposit(ahead[0], &object(b'2', SMALL)).0, 420);
    let day = Duration::from_secs(24 * 3600);
    bench.pass(3 * day);
    assert_eq!(bench.carrier.held().mailboxes()[&fingerprint(BOX)].objects().len(), 1);
    bench.pass(day);
    assert_eq!(bench.carrier.held().mailboxes()[&fingerprint(BOX)].objects().len(), 0);
    assert_eq!(bench.deposit(tokens[1], &object(b'1', SMALL)), (201, 202));
    bench.pass(11 * day);
    assert_eq!(bench.deposit(tokens[2], &object(b'1', SMALL)).0, 420);
    assert_eq!(bench.carrier.held().mailboxes()[&fingerprint(BOX)].outstanding(), SMALL);
    // Two clocks may differ.
    bench.pass(3 * day);
    assert_eq!(bench.deposit(ahead[0], &object(b'2', SMALL)), (201, 202));
    let step = crate::base::ClockStep::Forward(100 * day);
    bench.now = bench.now.plus(100 * day);
    bench.input(CarrierInput::ClockSet(step));
    bench.pass(Duration::from_secs(1800));
    assert_eq!(bench.carrier.held().mailboxes()[&fingerprint(BOX)].objects().len(), 1);
    bench.pass(Duration::from_secs(1801));
    assert_eq!(bench.carrier.held().mailboxes()[&fingerprint(BOX)].objects().len(), 1, "so many days are doubtful");
    bench.pass(day / 4);
    assert_eq!(bench.carrier.held().mailboxes()[&fingerprint(BOX)].objects().len(), 0);
}

#[test]
fn a_carrier_that_is_off_at_night_begins_its_days() {
    let (hour, mut night) = (Duration::from_secs(3600), Bench::new());
    night.log.truncate(1);
    for (off, runs, begun) in [(16, 2, true), (30 * 24, 5, false), (30 * 24, 7, true)] {
        night.now = night.now.plus(off * hour);
        night.carrier = Carrier::new(replay(&night.log), night.now).unwrap();
        night.pass(runs * hour);
        assert_eq!(night.carrier.held().day() == epoch(night.now), begun, "off for {off} hours, on for {runs}");
    }
}

#[test]
fn a_carrier_comes_back_from_a_clock_that_was_wrong() {
    let (mut bench, tokens) = with_box();
    let set = |bench: &mut Bench, step: crate::base::ClockStep| {
        bench.now = bench.now.stepped(step);
        bench.input(CarrierInput::ClockSet(step));
    };
    let (day, far) = (Duration::from_secs(24 * 3600), Duration::from_secs(1000 * 24 * 3600));
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)), (201, 202));
    set(&mut bench, crate::base::ClockStep::Forward(far));
    bench.pass(day / 5);
    set(&mut bench, crate::base::ClockStep::Back(far));
    bench.pass(day * 4 / 5);
    let held = |bench: &Bench| bench.carrier.held().mailboxes()[&fingerprint(BOX)].objects().len();
    assert_eq!((held(&bench), bench.carrier.held().day()), (1, today() + 1));
    // A clock that is wrong for longer is believed, and the object is given up.
    set(&mut bench, crate::base::ClockStep::Forward(far));
    bench.pass(2 * day);
    assert_eq!(held(&bench), 0);
    set(&mut bench, crate::base::ClockStep::Back(far));
    bench.pass(day / 2);
    assert_eq!(bench.carrier.held().day(), epoch(bench.now));
    let session = bench.identify(BOX, BOX, None).unwrap();
    let fresh = self::tokens(9, today() + 3, small(), 1);
    assert_eq!(bench.upload(session, today() + 3, small(), &fresh), 220);
    assert_eq!(bench.deposit(fresh[0], &object(b'1', SMALL)), (201, 202));
    bench.pass(5 * day);
    assert_eq!(held(&bench), 0, "and days go on");
}

#[test]
fn a_day_whose_record_cannot_be_written_is_tried_again_and_not_at_once() {
    let (mut bench, tokens) = with_box();
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)), (201, 202));
    bench.pass(Duration::from_secs(20 * 24 * 3600));
    assert!(bench.carrier.held().bodies().next().is_none());
    let begun = bench.carrier.held().day();
    bench.faults.extend([CommitError::NoSpace; 3]);
    bench.pass(Duration::from_secs(24 * 3600));
    assert_eq!((bench.carrier.held().day(), bench.faults.len()), (begun + 1, 0));
    // While the begin of a day is under way, nothing else is due.
    bench.slow = Some(Vec::new());
    bench.now = begin_of(begun + 2);
    let effects = bench.carrier.handle_timeout(bench.now, &mut bench.rng);
    bench.perform(effects);
    assert!(bench.carrier.poll_timeout().unwrap() > bench.now);
}
