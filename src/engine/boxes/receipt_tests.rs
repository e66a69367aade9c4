//! Stories of what is told together and of what is not told at all.

use crate::base::{ContentId, limits};
use crate::engine::api::Request;
use crate::engine::boxes::tests::{ALICE, CAROL, HOUR, WHILE, custody, progress, set_online, world};
use crate::engine::state::book::{ContactChange, ContactStatus};
use crate::engine::state::boxes::ReceiptPolicy;
use crate::engine::state::forwarding::Fate;
use crate::engine::state::queue::{FailureReason, Progress};
use crate::engine::state::record::Record;
use crate::engine::tests::harness::{DAY, MINUTE, World};
use crate::mail::Content;

/// Different bytes for each number.
fn numbered<const N: usize>(number: usize) -> [u8; N] {
    let mut bytes = [7; N];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes
}

#[test]
fn no_more_is_told_together_than_its_author_reads_and_the_rest_follows() {
    for (receipts, reads, fates) in
        [(200, 100, 100), (256, 10, 10), (0, 300, 10), (250, 0, 100), (10, 10, 10), (0, 0, 257)]
    {
        let mut world = World::new(60, &["alice", "carol"]);
        world.introduce(ALICE, CAROL);
        let contact = world.contact(CAROL, ALICE).unwrap().id;
        world.nodes[ALICE].online = false;
        let read = (0..reads).map(|number| ContentId::from_bytes(numbered(number))).collect();
        let owed = if reads > 0 { vec![(contact, read)] } else { vec![] };
        let records = vec![
            Record::ReceiptsDue { contact, receipts: (0..receipts).map(numbered).collect() },
            Record::ReadsKept { unread: vec![], owed },
            Record::ForwardingKept {
                allowed: vec![],
                chosen: vec![],
                fates: (0..fates).map(|number| (contact, numbered(number), Fate::Delivered)).collect(),
                handed: vec![],
            },
        ];
        world.append(CAROL, records, vec![]);
        world.restart(CAROL);
        world.pass(2 * HOUR);
        let content =
            Content::decode(world.nodes[CAROL].identity.rooms.deliver.receipts.content(contact).unwrap()).unwrap();
        let lines = String::from_utf8(content.payload).unwrap().lines().count();
        let all = receipts + reads + fates;
        assert_eq!(lines, all.min(limits::RECEIPTS_TOGETHER), "{receipts} {reads} {fates}");
        world.nodes[ALICE].online = true;
        world.pass(8 * HOUR);
        let state = world.nodes[CAROL].identity.state();
        let left =
            state.boxes().owed().count() + state.boxes().reads().owed_to().count() + state.forwarding().owed().count();
        assert_eq!(left, 0, "{receipts} {reads} {fates}");
    }
}

#[test]
fn nothing_is_put_together_for_who_is_blocked_or_hears_nothing() {
    for blocked in [false, true] {
        let mut world = world(61, 1);
        world.apart.extend([(ALICE, CAROL), (CAROL, ALICE)]);
        world.submit(ALICE, CAROL, "one").unwrap();
        world.pass(WHILE);
        assert_eq!(world.nodes[CAROL].identity.state().boxes().owed().count(), 1);
        let contact = world.contact(CAROL, ALICE).unwrap().id;
        if blocked {
            let change = ContactChange::Status(ContactStatus::Blocked);
            world.append(CAROL, vec![Record::ContactChanged { id: contact, change }], vec![]);
            world.restart(CAROL);
            assert_eq!(world.nodes[CAROL].identity.state().boxes().owed().count(), 1);
        } else {
            world.request(CAROL, Request::Tell { contact, told: ReceiptPolicy::Nothing }).unwrap();
        }
        for _ in 0..120 {
            world.pass(MINUTE);
            assert!(!world.nodes[CAROL].identity.rooms.deliver.receipts.are_returning(contact), "blocked: {blocked}");
        }
    }
}

#[test]
fn what_nobody_ever_had_is_not_called_handed_over_where_no_receipts_come() {
    let mut world = world(62, 1);
    let contact = world.contact(CAROL, ALICE).unwrap().id;
    world.request(CAROL, Request::Tell { contact, told: ReceiptPolicy::Nothing }).unwrap();
    world.pass(5 * MINUTE);
    assert!(!world.nodes[ALICE].published.boxes.expects_receipts(world.contact(ALICE, CAROL).unwrap().id));
    world.carriers[0].online = false;
    world.restart_carrier(0, false);
    set_online(&mut world, CAROL, false);
    world.submit(ALICE, CAROL, "one").unwrap();
    world.pass(4 * DAY);
    assert_eq!((custody(&world), progress(&world)), (0, Progress::Queued));
    world.pass(2 * DAY);
    assert!(matches!(progress(&world), Progress::Failed(_, FailureReason::Expired)), "{:?}", progress(&world));
    world.check();
}
