//! Stories of encryption keys that are replaced and destroyed.

use std::time::Duration;

use crate::base::{SealKeyId, limits};
use crate::engine::io::Input;
use crate::engine::state::mailbox::FolderRole;
use crate::engine::state::record::{BoxRecord, IdentityRecord, Record};
use crate::engine::state::seal_keys::KnownKey;
use crate::engine::tests::harness::{DAY, MINUTE, World, crypto, replay};

const ALICE: usize = 0;
const BOB: usize = 1;
const HOUR: Duration = Duration::from_secs(3600);
/// Time enough for one renewal, with the card that tells of it.
const WEEK: Duration = Duration::from_secs(8 * 24 * 3600 + 3600);

/// Alice and bob are contacts of each other.
fn contacts() -> World {
    let mut world = World::new(1, &["alice", "bob"]);
    world.rotates = true;
    world.introduce(BOB, ALICE);
    world
}

fn keys(world: &World, node: usize) -> Vec<KnownKey> {
    world.nodes[node].identity.state().seal_keys().iter().copied().collect()
}

fn current(world: &World, node: usize) -> Option<SealKeyId> {
    world.nodes[node].identity.state().seal_keys().current().map(|key| key.id)
}

/// Whether one node would seal to the present key of another.
fn knows(world: &World, node: usize, of: usize) -> bool {
    world.contact(node, of).unwrap().certificate.as_deref() == Some(&*world.public(of).certificate)
}

/// Whether a node could open an object now.
fn opens(world: &World, node: usize, object: &[u8]) -> bool {
    crypto::open_with(&world.fingerprint(node), &world.nodes[node].seal_keys, object).is_ok()
}

/// The last object that came to a node.
fn last_object(world: &World, node: usize) -> Vec<u8> {
    world.objects.iter().rev().find(|(at, _)| *at == node).unwrap().1.clone()
}

fn deliver(world: &mut World, from: usize, to: usize, subject: &str) -> Vec<u8> {
    let before = world.messages(to, FolderRole::Inbox).len();
    world.submit(from, to, subject).unwrap();
    world.pass(MINUTE);
    assert_eq!(world.messages(to, FolderRole::Inbox).len(), before + 1, "{subject}");
    last_object(world, to)
}

#[test]
fn every_week_contacts_seal_to_another_key() {
    let mut world = contacts();
    assert_eq!(current(&world, BOB), None);
    let mut seen = Vec::new();
    for week in 1..=6 {
        world.pass(WEEK);
        let key = current(&world, BOB).unwrap();
        assert!(!seen.contains(&key), "week {week}");
        assert!(knows(&world, ALICE, BOB) && knows(&world, BOB, ALICE), "a card told them");
        let object = deliver(&mut world, ALICE, BOB, "hello");
        assert!(object.windows(16).any(|part| part == key.as_bytes()), "sealed to the key of this week");
        seen.push(key);
        assert!(keys(&world, BOB).len() <= 4, "old keys go: {:?}", keys(&world, BOB));
    }
    world.check();
}

#[test]
fn nothing_opens_what_was_recorded_before_a_key_was_destroyed() {
    let mut world = contacts();
    world.pass(WEEK);
    let recorded = deliver(&mut world, ALICE, BOB, "secret");
    world.pass(limits::SEAL_KEY_USE + limits::SEAL_KEY_SPREAD);
    assert!(opens(&world, BOB, &recorded), "it may still be under way");
    let replaced = keys(&world, BOB).iter().filter_map(|key| key.replaced).min().unwrap();
    world.pass(replaced.plus(limits::SEAL_KEY_KEPT).since(world.now) - MINUTE);
    assert!(opens(&world, BOB, &recorded));
    world.pass(2 * MINUTE);
    assert!(!opens(&world, BOB, &recorded), "all keys of the node together do not open it");
    assert_eq!(world.nodes[BOB].seal_keys, keys(&world, BOB).iter().map(|key| key.id).collect::<Vec<_>>());
    world.restart(BOB);
    world.pass(MINUTE);
    assert!(!opens(&world, BOB, &recorded));
    deliver(&mut world, ALICE, BOB, "later");
}

#[test]
fn mail_of_a_sender_who_was_off_for_sixty_days_comes_through() {
    let mut world = contacts();
    world.pass(WEEK);
    world.nodes[ALICE].online = false;
    world.pass(60 * DAY);
    let known = world.contact(ALICE, BOB).unwrap().certificate.clone().unwrap();
    let stale = crypto::seal(&world.fingerprint(ALICE), &known[4..], b"x", crate::engine::io::Sizes::All);
    assert!(!opens(&world, BOB, &stale), "the key that alice knows is destroyed");
    // Bob's cards do not come before alice's mail does.
    world.apart.insert((BOB, ALICE));
    world.submit(ALICE, BOB, "after two months").unwrap();
    world.nodes[ALICE].online = true;
    world.pass(2 * HOUR);
    assert_eq!(world.messages(BOB, FolderRole::Inbox).len(), 1);
    assert!(world.messages(ALICE, FolderRole::Inbox).is_empty(), "and no report says otherwise");
    let shown = world.contact(ALICE, BOB).unwrap().certificate.clone().unwrap();
    assert!(
        world.nodes[BOB].seal_keys.iter().any(|key| shown.ends_with(key.as_bytes())),
        "alice was shown a newer one"
    );
}

#[test]
fn a_key_is_made_later_where_the_disk_fails_now() {
    let mut world = contacts();
    world.nodes[BOB].making_fails = true;
    world.pass(WEEK + DAY);
    assert_eq!(current(&world, BOB), None);
    deliver(&mut world, ALICE, BOB, "meanwhile");
    world.nodes[BOB].making_fails = false;
    world.pass(limits::SEAL_KEY_RETRY + MINUTE);
    assert!(current(&world, BOB).is_some() && knows(&world, ALICE, BOB));
}

#[test]
fn a_file_that_is_full_of_old_keys_has_room_again_when_their_time_is_over() {
    let mut world = contacts();
    world.pass(WEEK);
    // Each is a key whose record was lost; it counts as replaced from the moment it is found.
    let found: Vec<_> = (100..).map(|octet| SealKeyId::from_bytes([octet; 16])).take(limits::SEAL_KEYS - 1).collect();
    world.nodes[BOB].seal_keys.extend(found.iter().copied());
    world.restart(BOB);
    world.pass(limits::SEAL_KEY_USE + limits::SEAL_KEY_SPREAD);
    let before = current(&world, BOB);
    assert_eq!(world.nodes[BOB].seal_keys.len(), limits::SEAL_KEYS, "no key can be made now");
    world.pass(limits::SEAL_KEY_KEPT - limits::SEAL_KEY_USE);
    assert!(found.iter().all(|id| !world.nodes[BOB].seal_keys.contains(id)), "destroyed");
    assert!(current(&world, BOB) != before && knows(&world, ALICE, BOB));
}

#[test]
fn a_crash_at_any_step_of_a_renewal_loses_no_mail() {
    let is_step = |record: &Record| matches!(record, Record::Identity(IdentityRecord::SealKeyRenewed { .. }));
    // The process dies after the secret half is on the disk, and before the record is.
    let mut world = contacts();
    world.nodes[BOB].failing_commits = u32::MAX;
    world.nodes[BOB].failing_record = Some(is_step);
    world.pass(WEEK);
    assert!(current(&world, BOB).is_none());
    assert_eq!(world.nodes[BOB].seal_keys.len(), 1, "one key is made, however often its record fails");
    world.nodes[BOB].failing_commits = 0;
    world.restart(BOB);
    deliver(&mut world, ALICE, BOB, "to the key of before");
    world.pass(2 * DAY);
    assert!(current(&world, BOB).is_some() && knows(&world, ALICE, BOB));
    // It dies after the secret half is destroyed, and before the record says so.
    let state = replay(&world.nodes[BOB].log);
    let key = state.seal_keys().current().unwrap().id;
    world.pass(WEEK);
    world.nodes[BOB].seal_keys.retain(|held| *held != key);
    world.restart(BOB);
    world.pass(MINUTE);
    assert!(keys(&world, BOB).iter().all(|known| known.id != key), "the start makes up for it");
    deliver(&mut world, ALICE, BOB, "and goes on");
    world.check();
}

#[test]
fn where_the_file_of_the_keys_is_lost_contacts_seal_to_a_new_one_at_once() {
    let mut world = contacts();
    world.pass(3 * WEEK);
    let lost = current(&world, BOB);
    world.nodes[BOB].seal_keys.clear();
    world.restart(BOB);
    world.pass(MINUTE);
    assert!(
        keys(&world, BOB).iter().all(|key| key.replaced.is_none() || Some(key.id) == lost),
        "{:?}",
        keys(&world, BOB)
    );
    world.submit(ALICE, BOB, "to a key that is gone").unwrap();
    world.pass(2 * HOUR);
    assert_ne!(current(&world, BOB), lost);
    assert!(knows(&world, ALICE, BOB));
    assert_eq!(world.messages(BOB, FolderRole::Inbox).len(), 1);
}

#[test]
fn a_greeting_that_waits_keeps_its_secret_and_its_time() {
    let mut world = World::new(2, &["alice", "bob"]);
    world.rotates = true;
    world.pass(WEEK);
    let before = current(&world, ALICE);
    let since = keys(&world, ALICE).last().unwrap().since;
    let soon = since.plus(limits::SEAL_KEY_USE).since(world.now);
    world.pass(soon.saturating_sub(HOUR));
    let text = world.invite(BOB, false);
    world.nodes[BOB].online = false;
    world.add(ALICE, &text).unwrap();
    world.pass(MINUTE);
    let waiting = world.contact(ALICE, BOB).unwrap().cards.pending.clone().unwrap();
    world.pass(DAY + 2 * HOUR);
    assert_ne!(current(&world, ALICE), before);
    let renewed = world.contact(ALICE, BOB).unwrap().cards.pending.clone().unwrap();
    assert!(renewed.content != waiting.content && renewed.counter >= waiting.counter);
    assert_eq!((renewed.secret, renewed.expires), (waiting.secret, waiting.expires));
    world.nodes[BOB].online = true;
    world.pass(2 * HOUR);
    deliver(&mut world, BOB, ALICE, "welcome");
    assert!(knows(&world, BOB, ALICE));
}

#[test]
fn a_clock_that_ran_a_year_ahead_leaves_no_key_in_use_for_a_year() {
    let mut world = contacts();
    world.pass(WEEK);
    let year = 365 * DAY;
    let before = world.now;
    world.now = before.plus(year);
    world.input(BOB, Input::ClockSet(crate::base::ClockStep::Forward(year)));
    world.run();
    world.pass(limits::CLOCK_CONFIRMATION + HOUR);
    let ahead = current(&world, BOB);
    world.now = before.plus(DAY);
    for node in [ALICE, BOB] {
        world.input(node, Input::ClockSet(crate::base::ClockStep::Back(year - DAY)));
    }
    world.run();
    world.pass(limits::CLOCK_CONFIRMATION + HOUR);
    assert_ne!(current(&world, BOB), ahead, "a key of the future is replaced");
    let now = world.now;
    assert!(keys(&world, BOB).iter().all(|key| key.since <= now || key.replaced.is_some_and(|at| at <= now)));
    world.pass(WEEK);
    deliver(&mut world, ALICE, BOB, "back in time");
}

/// Both have a box that the other knows, each at a carrier of its own. Bob's node lost its encryption keys while a message for him was at the carrier.
fn waits_unread() -> World {
    let mut world = contacts();
    let carriers = [BOB, ALICE].map(|node| {
        let carrier = world.add_carrier(100 + node as u8);
        let invitation = world.invite_to_box(carrier);
        world.rent(node, &invitation, 120 + node as u8).unwrap();
        carrier
    });
    let carrier = carriers[0];
    world.pass(WEEK);
    // From now on they never meet.
    world.apart.extend([(ALICE, BOB), (BOB, ALICE)]);
    world.nodes[BOB].online = false;
    world.restart(BOB);
    world.submit(ALICE, BOB, "at the box").unwrap();
    world.pass(HOUR);
    assert_eq!(held(&world, carrier), 1);
    world.nodes[BOB].seal_keys.clear();
    world
}

fn held(world: &World, carrier: usize) -> usize {
    let held = world.carriers[carrier].carrier.held();
    held.mailboxes().values().map(|mailbox| mailbox.objects().len()).sum()
}

#[test]
fn what_a_box_holds_and_nobody_can_open_is_left_once_more_sealed_to_the_new_key() {
    let mut world = waits_unread();
    world.nodes[BOB].online = true;
    world.restart(BOB);
    world.pass(2 * DAY);
    assert!(knows(&world, ALICE, BOB), "the card came by alice's box");
    assert_eq!(world.messages(BOB, FolderRole::Inbox).len(), 1);
    assert!(world.messages(ALICE, FolderRole::Inbox).is_empty());
    world.check();
}

#[test]
fn what_nobody_can_open_costs_its_author_three_copies_at_most() {
    let mut world = waits_unread();
    world.nodes[BOB].opening_fails = Some(crate::engine::io::Refusal::Permanent);
    world.nodes[BOB].online = true;
    world.restart(BOB);
    world.pass(5 * DAY);
    let is_copy = |record: &Record| matches!(record, Record::Boxes(BoxRecord::Deposited { queue: Some(_), .. }));
    let copies = world.nodes[ALICE].log.iter().filter(|(_, record)| is_copy(record)).count();
    assert!((2..=limits::COPIES_AT_BOX).contains(&copies), "{copies} copies of one message");
    assert!(world.messages(BOB, FolderRole::Inbox).is_empty());
    world.check();
}

#[test]
fn a_log_that_was_put_back_is_followed_by_a_new_key_at_once() {
    let mut world = contacts();
    world.pass(2 * WEEK);
    let before = current(&world, BOB);
    let at = world.now;
    world.append(BOB, vec![IdentityRecord::Restored { made: at, at }.into()], vec![]);
    world.restart(BOB);
    world.pass(MINUTE);
    assert_ne!(current(&world, BOB), before);
    assert!(knows(&world, ALICE, BOB));
}
