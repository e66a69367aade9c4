//! Stories of receipts, and of messages that were read: when the author is told, of what together, and of what not at
//! all.

use crate::base::{ContentId, limits};
use crate::engine::api::{DeliveryOptions, Request, Submission};
use crate::engine::boxes::tests::{ALICE, CAROL, HOUR, WHILE, custody, held, inbox, progress, set_online, world};
use crate::engine::state::book::{ContactChange, ContactStatus};
use crate::engine::state::boxes::ReceiptPolicy;
use crate::engine::state::forwarding::Fate;
use crate::engine::state::mailbox::{FlagChange, Flags, FolderRole, NamedFlags};
use crate::engine::state::queue::{FailureReason, Notify, Progress, RecipientOptions};
use crate::engine::state::record::{BookRecord, BoxRecord, CheckpointRecord, Record};
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
            Record::Boxes(BoxRecord::ReceiptsDue { contact, receipts: (0..receipts).map(numbered).collect() }),
            Record::Checkpoint(CheckpointRecord::ReadsKept { unread: vec![], owed }),
            Record::Checkpoint(CheckpointRecord::ForwardingKept {
                allowed: vec![],
                chosen: vec![],
                fates: (0..fates).map(|number| (contact, numbered(number), Fate::Delivered)).collect(),
                handed: vec![],
            }),
        ];
        world.append(CAROL, records, vec![]);
        world.restart(CAROL);
        world.pass(2 * HOUR);
        let content =
            Content::decode(world.nodes[CAROL].identity.rooms.deliver.receipts().content(contact).unwrap()).unwrap();
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
            world.append(CAROL, vec![Record::Book(BookRecord::ContactChanged { id: contact, change })], vec![]);
            world.restart(CAROL);
            assert_eq!(world.nodes[CAROL].identity.state().boxes().owed().count(), 1);
        } else {
            world.request(CAROL, Request::Tell { contact, told: ReceiptPolicy::Nothing }).unwrap();
        }
        for _ in 0..120 {
            world.pass(MINUTE);
            assert!(!world.nodes[CAROL].identity.rooms.deliver.receipts().are_returning(contact), "blocked: {blocked}");
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

#[test]
fn mail_to_somebody_who_returns_no_receipts_ends_as_handed_over() {
    let mut world = world(15, 1);
    let give = |world: &mut World, given| {
        let contact = world.contact(CAROL, ALICE).unwrap().id;
        let told = if given { ReceiptPolicy::Delivered } else { ReceiptPolicy::Nothing };
        world.request(CAROL, Request::Tell { contact, told }).unwrap();
        world.pass(5 * MINUTE);
        let known = world.nodes[ALICE].published.boxes.expects_receipts(world.contact(ALICE, CAROL).unwrap().id);
        assert_eq!(known, given, "her card says so");
    };
    give(&mut world, false);
    world.apart.extend([(ALICE, CAROL), (CAROL, ALICE)]);
    world.submit(ALICE, CAROL, "one").unwrap();
    world.pass(HOUR);
    assert_eq!((inbox(&world, CAROL), held(&world), custody(&world)), (1, 0, 1));
    assert!(world.nodes[CAROL].identity.state().boxes().owed().next().is_none());
    assert_eq!(progress(&world), Progress::Queued, "nobody knows yet");
    world.restart(ALICE);
    world.restart(CAROL);
    world.pass(15 * DAY);
    assert!(matches!(progress(&world), Progress::HandedOver(_)));
    let reports = world.texts(ALICE, FolderRole::Inbox);
    assert!(reports.iter().all(|text| !text.contains("Action: failed")), "it is no failure");
    assert!(reports.iter().any(|text| text.contains("A carrier of theirs has it")), "the notice after a day says so");
    assert!(world.messages(ALICE, FolderRole::Outbox).is_empty());
    // And in the other direction.
    world.apart.clear();
    give(&mut world, true);
    world.apart.insert((ALICE, CAROL));
    world.submit(ALICE, CAROL, "two").unwrap();
    world.pass(3 * HOUR);
    assert!(matches!(progress(&world), Progress::Delivered(_)));
    assert_eq!(inbox(&world, CAROL), 2);
    world.check();
}

#[test]
fn who_gets_no_receipts_any_more_is_owed_none() {
    let mut world = world(16, 1);
    world.apart.extend([(ALICE, CAROL), (CAROL, ALICE)]);
    world.submit(ALICE, CAROL, "one").unwrap();
    world.pass(WHILE);
    assert_eq!(world.nodes[CAROL].identity.state().boxes().owed().count(), 1);
    let contact = world.contact(CAROL, ALICE).unwrap().id;
    world.request(CAROL, Request::Tell { contact, told: ReceiptPolicy::Nothing }).unwrap();
    assert_eq!(world.nodes[CAROL].identity.state().boxes().owed().count(), 0);
    world.apart.remove(&(CAROL, ALICE));
    world.pass(3 * HOUR);
    assert_eq!(progress(&world), Progress::Queued, "none was returned");
    world.check();
}

#[test]
fn who_may_hear_nothing_any_more_hears_nothing_of_what_waits_to_be_told() {
    for told in [ReceiptPolicy::Delivered, ReceiptPolicy::Nothing] {
        let mut world = world(20, 1);
        let contact = world.contact(CAROL, ALICE).unwrap().id;
        world.request(CAROL, Request::Tell { contact, told: ReceiptPolicy::Read }).unwrap();
        world.submit(ALICE, CAROL, "one").unwrap();
        world.pass(MINUTE);
        world.apart.extend([(ALICE, CAROL), (CAROL, ALICE)]);
        let inbox = world.nodes[CAROL].published.mailbox.by_role(FolderRole::Inbox).unwrap();
        let (folder, uids) = (inbox.id, inbox.messages.iter().map(|message| message.uid).collect());
        let (change, flags) = (FlagChange::Add, NamedFlags::system(Flags::SEEN));
        world.request(CAROL, Request::Store { folder, uids, change, flags }).unwrap();
        world.pass(2 * HOUR);
        assert!(world.nodes[CAROL].identity.rooms.deliver.receipts().are_returning(contact), "it is on its way");
        world.request(CAROL, Request::Tell { contact, told }).unwrap();
        world.apart.clear();
        world.pass(3 * HOUR);
        assert!(matches!(progress(&world), Progress::Delivered(_)), "alice was told that it was read");
        world.check();
    }
}

#[test]
fn who_may_know_hears_what_was_read_and_nobody_else() {
    let mut world = world(18, 1);
    let contact = world.contact(CAROL, ALICE).unwrap().id;
    let read = |world: &mut World, uid| {
        let folder = world.nodes[CAROL].published.mailbox.by_role(FolderRole::Inbox).unwrap().id;
        let (change, flags) = (FlagChange::Add, NamedFlags::system(Flags::SEEN));
        world.request(CAROL, Request::Store { folder, uids: vec![uid], change, flags }).unwrap();
    };
    let uids = |world: &World| world.messages(CAROL, FolderRole::Inbox).iter().map(|m| m.uid).collect::<Vec<_>>();
    // The message goes directly, while carol tells nobody what she has read.
    world.submit(ALICE, CAROL, "one").unwrap();
    world.pass(MINUTE);
    let first = uids(&world)[0];
    read(&mut world, first);
    world.pass(2 * HOUR);
    assert!(matches!(progress(&world), Progress::Delivered(_)));
    world.request(CAROL, Request::Tell { contact, told: ReceiptPolicy::Read }).unwrap();
    // Another goes directly, and a third by the box.
    world.submit(ALICE, CAROL, "two").unwrap();
    world.pass(MINUTE);
    world.apart.insert((ALICE, CAROL));
    world.submit(ALICE, CAROL, "three").unwrap();
    world.pass(HOUR);
    let states = |world: &World| {
        let ended = world.nodes[ALICE].published.queue.ended().flat_map(|queued| queued.recipients.values());
        ended.map(|recipient| matches!(recipient.progress, Progress::Read(_))).collect::<Vec<_>>()
    };
    assert_eq!(states(&world), [false, false, false], "delivered");
    world.restart(CAROL);
    for uid in uids(&world) {
        read(&mut world, uid);
    }
    world.restart(CAROL);
    world.pass(3 * HOUR);
    assert_eq!(states(&world), [false, true, true]);
    assert!(world.nodes[CAROL].identity.state().boxes().reads().owed_to().next().is_none());
    world.check();
}

#[test]
fn a_message_whose_receipt_and_reading_come_together_is_reported_once() {
    let mut world = world(19, 1);
    let contact = world.contact(CAROL, ALICE).unwrap().id;
    world.request(CAROL, Request::Tell { contact, told: ReceiptPolicy::Read }).unwrap();
    world.apart.extend([(ALICE, CAROL), (CAROL, ALICE)]);
    let recipient = world.address(CAROL);
    let notify = Notify { success: true, failure: true, delay: true };
    let options = RecipientOptions { notify, original: None };
    let asked = DeliveryOptions {
        recipients: [(recipient.clone(), options)].into_iter().collect(),
        ..DeliveryOptions::default()
    };
    let (message, visible) = (world.message(ALICE, "one"), vec![recipient.clone()]);
    world.request(ALICE, Request::Submit(Submission { recipients: vec![recipient], visible, message, asked })).unwrap();
    world.pass(WHILE);
    // She reads the message before its receipt is on its way, so the two go together.
    let inbox = world.nodes[CAROL].published.mailbox.by_role(FolderRole::Inbox).unwrap();
    let (folder, uids) = (inbox.id, inbox.messages.iter().map(|message| message.uid).collect());
    let (change, flags) = (FlagChange::Add, NamedFlags::system(Flags::SEEN));
    world.request(CAROL, Request::Store { folder, uids, change, flags }).unwrap();
    world.apart.remove(&(CAROL, ALICE));
    world.pass(3 * HOUR);
    assert!(matches!(progress(&world), Progress::Read(_)));
    let reports = world.texts(ALICE, FolderRole::Inbox);
    assert_eq!(reports.iter().filter(|text| text.contains("Action: delivered")).count(), 1, "once");
    world.check();
}

#[test]
fn a_receipt_says_nothing_of_when_the_message_was_collected() {
    let mut minutes = Vec::new();
    for seed in 30..42 {
        let mut world = world(seed, 1);
        world.apart.extend([(ALICE, CAROL), (CAROL, ALICE)]);
        world.submit(ALICE, CAROL, "one").unwrap();
        while inbox(&world, CAROL) == 0 {
            world.pass(MINUTE);
        }
        // Nobody reaches her, and she reaches everybody.
        world.apart.remove(&(CAROL, ALICE));
        let collected = world.now;
        while progress(&world) == Progress::Queued {
            world.pass(MINUTE);
        }
        minutes.push(world.now.since(collected).as_secs() / 60);
    }
    assert!(minutes.iter().all(|minutes| *minutes <= 61), "within the hour: {minutes:?}");
    let (early, late) =
        (minutes.iter().filter(|minutes| **minutes < 20), minutes.iter().filter(|minutes| **minutes > 40));
    assert!(early.count() > 0 && late.count() > 0, "at a random moment of it: {minutes:?}");
}
