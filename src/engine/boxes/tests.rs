//! Stories of boxes: identities and carriers wired to each other in one thread (the harness).

use std::time::Duration;

use crate::base::{ClockStep, limits};
use crate::engine::api::{DeliveryOptions, Request, Submission};
use crate::engine::carrier::CarrierInput;
use crate::engine::io::Input;
use crate::engine::state::AttemptError;
use crate::engine::state::boxes::Check;
use crate::engine::state::boxes::own::{OwnBox, Stage};
use crate::engine::state::mailbox::FolderRole;
use crate::engine::state::queue::{FailureReason, Progress};
use crate::engine::state::record::{BoxRecord, Record};
use crate::engine::tests::harness::{DAY, MINUTE, World};
use crate::wire::mailbox::Policy;
use crate::wire::token::{Class, epoch};

pub(in crate::engine) const ALICE: usize = 0;
pub(in crate::engine) const CAROL: usize = 1;
pub(in crate::engine) const HOUR: Duration = Duration::from_secs(3600);
/// Longer than it takes until a message is at a box.
pub(in crate::engine) const WHILE: Duration = Duration::from_secs(400);

/// Alice and carol know each other, and carol has boxes at so many carriers.
pub(in crate::engine) fn world(seed: u64, carriers: u8) -> World {
    let mut world = World::new(seed, &["alice", "carol"]);
    world.introduce(ALICE, CAROL);
    for number in 0..carriers {
        let carrier = world.add_carrier(100 + number);
        let invitation = world.invite_to_box(carrier);
        world.rent(CAROL, &invitation, 120 + number).unwrap();
    }
    world.pass(5 * MINUTE);
    let named = world.nodes[ALICE].published.boxes.of(world.contact(ALICE, CAROL).unwrap().id).cloned();
    assert_eq!(named.map_or(0, |named| named.iter().count()), usize::from(carriers), "her card names them");
    world
}

pub(in crate::engine) fn set_online(world: &mut World, node: usize, online: bool) {
    world.nodes[node].online = online;
    world.restart(node);
}

pub(in crate::engine) fn held(world: &World) -> usize {
    world.carriers.iter().map(|carrier| carrier.held().len()).sum()
}

pub(in crate::engine) fn inbox(world: &World, node: usize) -> usize {
    world.messages(node, FolderRole::Inbox).len()
}

/// How far the only message of alice is with carol.
pub(in crate::engine) fn progress(world: &World) -> Progress {
    let queue = &world.nodes[ALICE].published.queue;
    let queued = queue.iter().next().or_else(|| queue.ended().last()).unwrap();
    queued.recipients.values().next().unwrap().progress
}

pub(in crate::engine) fn custody(world: &World) -> usize {
    let published = &world.nodes[ALICE].published;
    let (queue, contact) = (published.queue.iter().next().unwrap().id, world.contact(ALICE, CAROL).unwrap().id);
    published.boxes.custody(queue, contact)
}

#[test]
fn mail_for_somebody_who_is_away_waits_and_a_receipt_ends_it() {
    let mut world = world(1, 1);
    set_online(&mut world, CAROL, false);
    world.submit(ALICE, CAROL, "one").unwrap();
    world.pass(WHILE);
    assert_eq!((held(&world), custody(&world), progress(&world)), (1, 1, Progress::Queued), "custody is not delivery");
    // Alice cannot reach carol any more, nor carol alice: only the carrier is between them.
    world.apart.extend([(ALICE, CAROL), (CAROL, ALICE)]);
    set_online(&mut world, CAROL, true);
    world.pass(MINUTE);
    assert_eq!((inbox(&world, CAROL), held(&world)), (1, 0), "collected once, and gone at the carrier");
    assert_eq!(progress(&world), Progress::Queued, "alice cannot know yet");
    world.apart.remove(&(CAROL, ALICE));
    world.pass(2 * HOUR);
    assert!(matches!(progress(&world), Progress::Delivered(_)), "the receipt says so");
    assert_eq!(inbox(&world, CAROL), 1);
    assert!(world.nodes[CAROL].identity.state().boxes().owed().next().is_none());
    world.check();
}

#[test]
fn two_who_are_never_online_together_write_to_each_other_and_know_it() {
    let mut world = world(2, 1);
    let carrier = world.add_carrier(110);
    let invitation = world.invite_to_box(carrier);
    world.rent(ALICE, &invitation, 130).unwrap();
    world.pass(5 * MINUTE);
    world.apart.extend([(ALICE, CAROL), (CAROL, ALICE)]);
    world.submit(ALICE, CAROL, "one").unwrap();
    world.pass(3 * HOUR);
    assert_eq!(inbox(&world, CAROL), 1);
    assert!(matches!(progress(&world), Progress::Delivered(_)), "the receipt came by alice's own box");
    assert_eq!(held(&world), 0);
    world.check();
}

#[test]
fn of_two_carriers_one_may_lose_everything() {
    let mut world = world(3, 2);
    set_online(&mut world, CAROL, false);
    world.submit(ALICE, CAROL, "one").unwrap();
    world.pass(WHILE);
    assert_eq!((held(&world), custody(&world)), (2, 2));
    let copies: Vec<_> = world.carriers.iter().flat_map(|carrier| carrier.held()).collect();
    assert_ne!(copies[0], copies[1], "each copy is sealed for itself");
    world.restart_carrier(0, true);
    set_online(&mut world, ALICE, false);
    set_online(&mut world, CAROL, true);
    world.pass(MINUTE);
    assert_eq!((inbox(&world, CAROL), held(&world)), (1, 0));
    set_online(&mut world, ALICE, true);
    world.pass(2 * HOUR);
    assert!(matches!(progress(&world), Progress::Delivered(_)));
    assert_eq!(inbox(&world, CAROL), 1, "once");
    world.check();
}

#[test]
fn both_copies_of_two_carriers_make_one_message() {
    let mut world = world(4, 2);
    set_online(&mut world, CAROL, false);
    for number in 0..5 {
        world.submit(ALICE, CAROL, &format!("number {number}")).unwrap();
    }
    world.pass(WHILE);
    assert_eq!(held(&world), 10);
    set_online(&mut world, CAROL, true);
    world.pass(2 * HOUR);
    assert_eq!((inbox(&world, CAROL), held(&world)), (5, 0));
    assert_eq!(world.nodes[ALICE].published.queue.len(), 0);
    world.check();
}

#[test]
fn a_token_is_noted_before_it_is_shown_and_never_shown_for_something_else() {
    let mut world = world(5, 1);
    set_online(&mut world, CAROL, false);
    world.submit(ALICE, CAROL, "one").unwrap();
    // The carrier stores the object and its answer is lost: the next copy has another token, and the copies are one
    // message.
    world.cut_at = Some(b"202 ROGER");
    let until = world.now.plus(limits::DEPOSIT_SPREAD + MINUTE);
    while held(&world) == 0 && world.now < until {
        world.pass(Duration::from_secs(1));
    }
    let spent = |world: &World| {
        let log = &world.nodes[ALICE].log;
        log.iter().filter(|(_, record)| matches!(record, Record::Boxes(BoxRecord::Deposited { .. }))).count()
    };
    assert_eq!((held(&world), custody(&world)), (1, 0), "nobody told alice");
    world.pass(HOUR);
    assert_eq!((spent(&world), held(&world), custody(&world)), (2, 2, 1));
    set_online(&mut world, CAROL, true);
    world.pass(2 * HOUR);
    assert_eq!((inbox(&world, CAROL), held(&world)), (1, 0));
    world.check();
}

#[test]
fn a_disk_that_fails_at_either_side_loses_nothing_and_doubles_nothing() {
    for (at_carrier, failing) in [(true, 1), (true, 3), (false, 1), (false, 2), (false, 5)] {
        let mut world = world(6, 1);
        set_online(&mut world, CAROL, false);
        world.submit(ALICE, CAROL, "one").unwrap();
        if at_carrier {
            world.carriers[0].failing_commits = failing;
        } else {
            world.nodes[ALICE].failing_commits = failing;
        }
        world.pass(4 * HOUR);
        assert!(custody(&world) == 1, "it gets there in the end");
        set_online(&mut world, CAROL, true);
        world.nodes[CAROL].failing_commits = failing;
        world.pass(6 * HOUR);
        assert_eq!((inbox(&world, CAROL), held(&world)), (1, 0), "{at_carrier} {failing}");
        assert!(matches!(progress(&world), Progress::Delivered(_)));
        world.check();
    }
}

#[test]
fn what_no_receipt_comes_for_ends_as_unconfirmed_with_the_custody() {
    let mut world = world(7, 1);
    set_online(&mut world, CAROL, false);
    world.submit(ALICE, CAROL, "one").unwrap();
    world.pass(6 * DAY);
    assert_eq!(progress(&world), Progress::Queued, "the carrier has it for longer than five days");
    world.pass(9 * DAY);
    assert!(matches!(progress(&world), Progress::Failed(_, FailureReason::Unconfirmed)));
    assert_eq!(held(&world), 0, "and no longer than it says");
    let told = world.texts(ALICE, FolderRole::Inbox);
    assert!(told.iter().any(|text| text.contains("may have arrived") || text.contains("unconfirmed")), "{told:?}");
    world.check();
}

#[test]
fn a_carrier_that_says_that_it_has_none_is_not_believed() {
    let mut world = world(14, 1);
    set_online(&mut world, CAROL, false);
    world.submit(ALICE, CAROL, "one").unwrap();
    // The carrier's disk fails, so that it says that it has no object, and has it all the same.
    world.carriers[0].failing_commits = u32::MAX;
    world.pass(6 * DAY);
    assert!(matches!(progress(&world), Progress::Failed(_, FailureReason::Unconfirmed)), "{:?}", progress(&world));
    world.carriers[0].failing_commits = 0;
    world.restart_carrier(0, false);
    set_online(&mut world, CAROL, true);
    world.pass(HOUR);
    assert_eq!(inbox(&world, CAROL), 1, "it came after all");
    world.check();
}

#[test]
fn a_receipt_counts_whatever_the_carrier_said() {
    let mut world = world(24, 1);
    set_online(&mut world, CAROL, false);
    world.cut_at = Some(b"202 ");
    world.submit(ALICE, CAROL, "one").unwrap();
    while world.cut_at.is_some() {
        world.pass(Duration::from_secs(1));
    }
    set_online(&mut world, ALICE, false);
    assert_eq!((held(&world), custody(&world)), (1, 0));
    let published = &world.nodes[ALICE].published;
    let (queue, contact) = (published.queue.iter().next().unwrap().id, world.contact(ALICE, CAROL).unwrap().id);
    let receipt = published.boxes.copies(queue, contact)[0].receipt;
    // As if the carrier had answered that it does not have the object.
    world.append(ALICE, vec![Record::Boxes(BoxRecord::DepositSettled { contact, queue, receipt, held: None })], vec![]);
    world.restart(ALICE);
    assert!(world.nodes[ALICE].published.boxes.copies(queue, contact).is_empty());
    // No other copy gets to carol.
    world.apart.extend([(ALICE, CAROL), (ALICE, 1000)]);
    set_online(&mut world, CAROL, true);
    set_online(&mut world, ALICE, true);
    world.pass(3 * HOUR);
    assert!(matches!(progress(&world), Progress::Delivered(_)), "{:?}", progress(&world));
    assert!(!world.nodes[ALICE].identity.state().boxes().has_copies(queue));
    world.check();
}

#[test]
fn what_was_taken_back_before_it_left_is_at_no_carrier() {
    let mut world = world(8, 1);
    set_online(&mut world, CAROL, false);
    world.submit(ALICE, CAROL, "one").unwrap();
    world.run();
    let queue = world.nodes[ALICE].published.queue.iter().next().unwrap().id;
    world.request(ALICE, Request::Cancel(queue)).unwrap();
    world.pass(DAY);
    assert_eq!(held(&world), 0);
}

#[test]
fn a_restart_of_anybody_at_any_moment_loses_nothing() {
    for step in 0..60 {
        let mut world = world(9, 1);
        world.apart.extend([(ALICE, CAROL), (CAROL, ALICE)]);
        world.submit(ALICE, CAROL, "one").unwrap();
        world.pass(Duration::from_secs(step * 3));
        match step % 3 {
            0 => world.restart(ALICE),
            1 => world.restart(CAROL),
            _ => world.restart_carrier(0, false),
        }
        world.pass(3 * HOUR);
        assert_eq!((inbox(&world, CAROL), held(&world)), (1, 0), "step {step}");
        world.apart.clear();
        world.pass(4 * HOUR);
        assert!(matches!(progress(&world), Progress::Delivered(_)), "step {step}");
        assert_eq!(inbox(&world, CAROL), 1);
        world.check();
    }
}

#[test]
fn a_box_is_given_up_only_after_everybody_was_told() {
    let mut world = world(10, 1);
    set_online(&mut world, ALICE, false);
    world.request(CAROL, Request::LeaveBox { name: "box120".to_owned() }).unwrap();
    world.pass(DAY);
    let stage = |world: &World| world.nodes[CAROL].published.boxes.own().next().map(|own_box| own_box.stage);
    assert_eq!(stage(&world), Some(Stage::Leaving), "alice does not know yet");
    set_online(&mut world, ALICE, true);
    world.pass(DAY);
    assert_eq!(stage(&world), None);
    let alice_knows = world.nodes[ALICE].published.boxes.of(world.contact(ALICE, CAROL).unwrap().id).cloned();
    assert!(alice_knows.is_none_or(|named| named.iter().count() == 0));
    world.check();
}

#[test]
fn a_box_is_not_given_up_while_something_is_in_it() {
    let mut world = world(43, 1);
    set_online(&mut world, CAROL, false);
    world.submit(ALICE, CAROL, "one").unwrap();
    world.pass(WHILE);
    world.apart.extend([(ALICE, CAROL)]);
    set_online(&mut world, CAROL, true);
    world.input(CAROL, Input::DiskLow(true));
    world.request(CAROL, Request::LeaveBox { name: "box120".to_owned() }).unwrap();
    world.pass(DAY);
    assert_eq!((held(&world), world.nodes[CAROL].published.boxes.own().count()), (1, 1), "there is no room for it");
    world.input(CAROL, Input::DiskLow(false));
    world.pass(DAY);
    assert_eq!((inbox(&world, CAROL), held(&world), world.nodes[CAROL].published.boxes.own().count()), (1, 0, 0));
    world.check();
}

#[test]
fn sets_are_uploaded_ahead_for_as_long_as_the_box_is_there() {
    let mut world = world(11, 1);
    for week in 0..8 {
        let uploaded = world.nodes[CAROL].published.boxes.own().next().unwrap().uploaded;
        assert!(uploaded >= epoch(world.now), "week {week}");
        set_online(&mut world, CAROL, false);
        world.submit(ALICE, CAROL, &format!("week {week}")).unwrap();
        world.pass(WHILE);
        assert_eq!(custody(&world), 1, "week {week}");
        set_online(&mut world, CAROL, true);
        world.pass(7 * DAY);
        assert_eq!(inbox(&world, CAROL), week + 1);
    }
    world.check();
}

/// For so long the clocks of carol and of her carrier are wrong by so much; then they are right again.
fn wrong_clock(world: &mut World, by: Duration, lasting: Duration) {
    let before = world.now;
    world.now = before.plus(by);
    world.input(CAROL, Input::ClockSet(ClockStep::Forward(by)));
    world.carrier_input(0, CarrierInput::ClockSet(ClockStep::Forward(by)));
    world.pass(lasting);
    world.now = before.plus(lasting);
    world.input(CAROL, Input::ClockSet(ClockStep::Back(by)));
    world.carrier_input(0, CarrierInput::ClockSet(ClockStep::Back(by)));
}

#[test]
fn what_comes_while_the_clock_is_wrong_is_left_at_the_carrier() {
    let mut world = world(21, 1);
    set_online(&mut world, CAROL, false);
    world.submit(ALICE, CAROL, "one").unwrap();
    world.pass(WHILE);
    world.apart.extend([(ALICE, CAROL), (CAROL, ALICE)]);
    world.nodes[CAROL].online = true;
    wrong_clock(&mut world, 20 * DAY, HOUR / 2);
    assert_eq!((inbox(&world, CAROL), held(&world)), (0, 1));
    world.pass(HOUR);
    assert_eq!((inbox(&world, CAROL), held(&world)), (1, 0));
    world.check();
}

#[test]
fn sets_for_days_that_only_a_wrong_clock_saw_do_not_stand_in_for_others() {
    let mut world = world(22, 1);
    let uploaded = |world: &World| world.nodes[CAROL].published.boxes.own().next().unwrap().uploaded;
    wrong_clock(&mut world, 20 * DAY, HOUR / 2);
    assert!(uploaded(&world) > epoch(world.now.plus(14 * DAY)), "it saw nothing of it");
    world.pass(HOUR);
    for week in 0..4 {
        set_online(&mut world, CAROL, false);
        world.submit(ALICE, CAROL, &format!("week {week}")).unwrap();
        world.pass(WHILE);
        assert_eq!(custody(&world), 1, "week {week}");
        set_online(&mut world, CAROL, true);
        world.pass(7 * DAY);
        assert_eq!(inbox(&world, CAROL), week + 1);
    }
    world.check();
}

#[test]
fn a_message_for_which_no_token_is_left_keeps_no_other_back() {
    let mut world = world(23, 1);
    set_online(&mut world, CAROL, false);
    let size = |world: &mut World, bytes| world.submit_sized(ALICE, CAROL, bytes).unwrap();
    for _ in 0..16 {
        size(&mut world, 200);
    }
    world.pass(2 * HOUR);
    assert_eq!(held(&world), 16, "all that there are of this size");
    // The message could be larger than it is.
    size(&mut world, 2200);
    world.pass(HOUR);
    size(&mut world, 6000);
    world.pass(3 * HOUR);
    assert_eq!(held(&world), 17, "the one behind it");
    world.check();
}

#[test]
fn an_invitation_that_was_used_makes_no_box_and_says_so() {
    let mut world = World::new(12, &["alice", "carol"]);
    let carrier = world.add_carrier(100);
    let invitation = world.invite_to_box(carrier);
    world.rent(ALICE, &invitation, 120).unwrap();
    world.pass(MINUTE);
    world.rent(CAROL, &invitation, 121).unwrap();
    world.pass(MINUTE);
    let published = &world.nodes[CAROL].published;
    let own_box = published.boxes.own().next().unwrap();
    assert_eq!(own_box.stage, Stage::Registering);
    assert!(published.collections[&own_box.id].last_error.is_some());
    world.request(CAROL, Request::LeaveBox { name: "box121".to_owned() }).unwrap();
    world.pass(DAY);
    assert_eq!(world.nodes[CAROL].published.boxes.own().count(), 0);
    world.check();
}

#[test]
fn a_connection_that_is_dead_and_does_not_say_so_is_noticed() {
    let mut world = world(13, 1);
    let failed = |world: &World| world.nodes[CAROL].published.collections.values().next().unwrap().failed;
    world.pass(HOUR);
    assert_eq!(failed(&world), 0, "it rests");
    world.carriers[0].deaf = true;
    world.pass(20 * MINUTE);
    assert!(failed(&world) > 0);
    world.carriers[0].deaf = false;
    let restored = world.now;
    for _ in 0..30 {
        world.pass(4 * MINUTE);
        assert!(failed(&world) == 0 || world.now < restored.plus(45 * MINUTE), "one session follows the other");
    }
    world.check();
}

#[test]
fn a_check_goes_to_the_carrier_and_comes_back_and_says_where_it_does_not() {
    let mut world = world(17, 1);
    let check = |world: &mut World| world.request(CAROL, Request::CheckBox { name: "box120".to_owned() });
    let how = |world: &World| world.nodes[CAROL].published.checks.values().next().copied();
    for _ in 0..20 {
        check(&mut world).unwrap();
        world.pass(MINUTE);
        assert_eq!((how(&world), held(&world)), (Some(Check::Works), 0), "each needs another token");
    }
    assert_eq!(inbox(&world, CAROL), 0, "it is no mail");
    // A check after a restart does not know which tokens were used.
    world.restart(CAROL);
    world.pass(10 * MINUTE);
    check(&mut world).unwrap();
    world.pass(MINUTE);
    assert_eq!(how(&world), Some(Check::Works));
    world.carriers[0].failing_commits = 1;
    check(&mut world).unwrap();
    world.pass(MINUTE);
    assert!(matches!(how(&world), Some(Check::Failed(AttemptError::Broken))), "its disk failed: no answer is true");
    check(&mut world).unwrap();
    world.pass(MINUTE);
    assert_eq!(how(&world), Some(Check::Works), "and works again");
    world.carriers[0].online = false;
    world.restart_carrier(0, false);
    check(&mut world).unwrap();
    world.pass(MINUTE);
    assert_eq!(how(&world), Some(Check::Failed(AttemptError::Unreachable)));
    assert!(world.request(CAROL, Request::CheckBox { name: "none".to_owned() }).is_err());
    world.check();
}

#[test]
fn a_large_object_goes_on_where_its_session_broke() {
    // The session breaks in the carrier's answer; and where the key has to be shown once more.
    large_object(Policy::Session, b"252 2097152 ");
    large_object(Policy::Command, b"OFFSET=2097152");
}

fn large_object(policy: Policy, cut_at: &'static [u8]) {
    let mut world = world(14, 1);
    world.set_policy(0, policy);
    set_online(&mut world, CAROL, false);
    let recipient = world.address(CAROL);
    let mut message = world.message(ALICE, "large").to_vec();
    message.resize(3 << 20, b'x');
    let visible = vec![recipient.clone()];
    let (recipients, message, asked) = (vec![recipient], message.into(), DeliveryOptions::default());
    world.request(ALICE, Request::Submit(Submission { recipients, visible, message, asked })).unwrap();
    world.pass(WHILE);
    assert_eq!(held(&world), 1);
    world.apart.extend([(ALICE, CAROL), (CAROL, ALICE)]);
    world.replies.clear();
    // The session breaks in the third part.
    world.cut_at = Some(cut_at);
    set_online(&mut world, CAROL, true);
    world.pass(HOUR);
    assert_eq!(world.cut_at, None, "it was cut");
    assert_eq!((inbox(&world, CAROL), held(&world)), (1, 0));
    let parts = |offset: &str| world.replies.iter().filter(|(_, reply)| reply.starts_with(offset)).count();
    let all = [parts("252 0 "), parts("252 1048576 "), parts("252 2097152 ")];
    assert!(all == [1, 1, 2] || (policy == Policy::Command && all == [1, 1, 1]), "nothing came twice: {all:?}");
    world.check();
}

#[test]
fn sets_have_sizes_that_say_nothing_of_how_many_contacts_there_are() {
    assert!(limits::BOX_SEATS.is_power_of_two());
    let sizes = OwnBox::classes().map(|(_, count)| count as usize * limits::BOX_SEATS);
    let mut bytes = 0;
    for ((class, count), size) in OwnBox::classes().zip(sizes) {
        assert!(size.is_power_of_two() && size <= limits::TOKENS_OF_SET, "{class:?}");
        bytes += u64::from(count) * limits::BOX_SEATS as u64 * class.bytes();
    }
    // The sets of the last 14 days and those ahead.
    let sets = u64::from(limits::TOKENS_AFTER_DAYS.div_ceil(limits::BOX_EPOCH_DAYS) + 1 + limits::BOX_EPOCHS_AHEAD);
    assert!(sets * bytes <= limits::MAILBOX_QUOTA / 2, "half of the usual quota is for what is there");
    assert_eq!(Class::ALL.len(), 7);
}

#[test]
fn whatever_a_carrier_wants_shown_for_each_command_is_shown() {
    for (seed, policy) in [(40, Policy::Command), (41, Policy::TimeOut(60)), (42, Policy::TimeOut(900))] {
        let mut world = world(seed, 1);
        world.set_policy(0, policy);
        set_online(&mut world, CAROL, false);
        for number in 0..3 {
            world.submit(ALICE, CAROL, &format!("number {number}")).unwrap();
        }
        world.pass(20 * MINUTE);
        assert_eq!(held(&world), 3);
        world.apart.extend([(ALICE, CAROL), (CAROL, ALICE)]);
        set_online(&mut world, CAROL, true);
        world.pass(5 * MINUTE);
        assert_eq!((inbox(&world, CAROL), held(&world)), (3, 0), "{policy:?}");
        // Mail comes while she watches, long after her key was shown.
        world.pass(6 * MINUTE);
        world.submit(ALICE, CAROL, "late").unwrap();
        world.pass(20 * MINUTE);
        assert_eq!((inbox(&world, CAROL), held(&world)), (4, 0), "{policy:?}");
        let attempts = world.nodes[CAROL].published.collections.values().next().unwrap().failed;
        assert_eq!(attempts, 0, "{policy:?}");
        world.pass(8 * DAY);
        world.submit(ALICE, CAROL, "a week later").unwrap();
        world.pass(2 * HOUR);
        assert_eq!(inbox(&world, CAROL), 5, "{policy:?}: the sets of tokens were uploaded");
        world.check();
    }
}

#[test]
fn what_is_left_at_a_drop_goes_on_circuits_that_nobody_knows_the_author_by() {
    let mut world = world(21, 1);
    set_online(&mut world, CAROL, false);
    let (carol, carrier) = (world.public(CAROL).onion(), world.carriers[0].onion());
    let contact = world.contact(ALICE, CAROL).unwrap().id;
    world.circuits.clear();
    world.submit(ALICE, CAROL, "one").unwrap();
    world.pass(WHILE);
    assert_eq!(held(&world), 1);
    let of = |onion| {
        let of_alice = world.circuits.iter().filter(move |(node, to, _)| (*node, *to) == (ALICE, onion));
        of_alice.map(|(_, _, contact)| *contact).collect::<Vec<_>>()
    };
    let (direct, left) = (of(carol), of(carrier));
    assert!(!direct.is_empty() && direct.iter().all(|on| *on == Some(contact)), "her own circuits: {direct:?}");
    assert!(!left.is_empty() && left.iter().all(Option::is_none), "new ones: {left:?}");
    // She collects on circuits of no contact.
    world.circuits.clear();
    set_online(&mut world, CAROL, true);
    world.pass(HOUR);
    let to_carrier = world.circuits.iter().filter(|(node, to, _)| (*node, *to) == (CAROL, carrier));
    assert!(to_carrier.clone().count() > 0 && to_carrier.clone().all(|(_, _, contact)| contact.is_none()));
}
