//! Stories of forwarding: three identities wired to each other in one thread (the harness).

use std::sync::Arc;
use std::time::Duration;

use crate::base::rng::SeededRng;
use crate::base::{BodyId, Onion, limits};
use crate::engine::api::{DeliveryOptions, Request, RequestError, RequestId, Submission};
use crate::engine::io::{Input, NewBody};
use crate::engine::state::Lost;
use crate::engine::state::forwarding::{Fate, Forwarded, read_line};
use crate::engine::state::mailbox::FolderRole;
use crate::engine::state::queue::{FailureReason, Progress};
use crate::engine::state::record::{BookRecord, CheckpointRecord, ForwardingRecord, Record};
use crate::engine::tests::harness::{DAY, MINUTE, World};
use crate::wire::{Claim, Command, Importance, Message, Send, authenticator, digest};

const ALICE: usize = 0;
const CAROL: usize = 1;
const BOB: usize = 2;
const DAVE: usize = 3;
const HOUR: Duration = Duration::from_secs(3600);

/// Alice knows carol and bob, who do not know each other. Bob forwards what alice writes to carol; alice never reaches
/// carol.
fn world(seed: u64) -> World {
    let mut world = World::new(seed, &["alice", "carol", "bob"]);
    world.introduce(ALICE, CAROL);
    world.introduce(ALICE, BOB);
    world.apart.insert((ALICE, CAROL));
    choose(&mut world);
    allow(&mut world, true);
    world
}

fn choose(world: &mut World) {
    let (contact, friend) = (world.contact(ALICE, CAROL).unwrap().id, world.contact(ALICE, BOB).unwrap().id);
    world.request(ALICE, Request::ChooseCarrier { contact, friend: Some(friend) }).unwrap();
}

fn allow(world: &mut World, on: bool) {
    let contact = world.contact(BOB, ALICE).unwrap().id;
    world.request(BOB, Request::AllowForwarding { contact, on }).unwrap();
}

fn set_online(world: &mut World, node: usize, online: bool) {
    world.nodes[node].online = online;
    world.restart(node);
}

fn carried(world: &World) -> usize {
    world.nodes[BOB].identity.state().forwarding().objects().count()
}

fn inbox(world: &World) -> usize {
    world.messages(CAROL, FolderRole::Inbox).len()
}

fn progress(world: &World) -> Progress {
    let queue = &world.nodes[ALICE].published.queue;
    queue.iter().next().or_else(|| queue.ended().last()).unwrap().recipients.values().next().unwrap().progress
}

/// How many carriers or friends say that they have alice's only message, and whether one says that it was delivered.
fn custody(world: &World) -> (usize, bool) {
    let published = &world.nodes[ALICE].published;
    let (queue, contact) = (published.queue.iter().next().unwrap().id, world.contact(ALICE, CAROL).unwrap().id);
    (published.boxes.custody(queue, contact), published.forwarding.says_delivered(queue, contact))
}

#[test]
fn a_friend_carries_what_is_for_somebody_who_is_away_and_a_receipt_ends_it() {
    let mut world = world(1);
    set_online(&mut world, CAROL, false);
    world.submit(ALICE, CAROL, "one").unwrap();
    world.pass(5 * MINUTE);
    assert_eq!((carried(&world), custody(&world), progress(&world)), (1, (1, false), Progress::Queued));
    // The friend and the sender may stop and start meanwhile.
    world.restart(BOB);
    set_online(&mut world, ALICE, false);
    set_online(&mut world, CAROL, true);
    world.pass(2 * HOUR);
    assert_eq!((inbox(&world), carried(&world)), (1, 0));
    assert_eq!(world.messages(CAROL, FolderRole::Requests).len(), 0, "carol's node is shown who wrote it");
    // Bob's word comes before carol's receipt.
    world.apart.insert((CAROL, ALICE));
    set_online(&mut world, ALICE, true);
    world.pass(2 * HOUR);
    assert_eq!((custody(&world), progress(&world)), ((1, true), Progress::Queued), "handed over, says bob");
    world.restart(ALICE);
    world.apart.remove(&(CAROL, ALICE));
    world.pass(3 * HOUR);
    assert!(matches!(progress(&world), Progress::Delivered(_)), "says carol's receipt");
    assert_eq!(inbox(&world), 1, "once");
    assert!(world.nodes[BOB].identity.state().forwarding().owed().next().is_none());
    world.check();
}

#[test]
fn nobody_carries_unless_both_want_it() {
    let mut world = world(2);
    allow(&mut world, false);
    world.submit(ALICE, CAROL, "one").unwrap();
    world.pass(3 * HOUR);
    assert_eq!((carried(&world), inbox(&world), custody(&world)), (0, 0, (0, false)), "bob does not want it");
    allow(&mut world, true);
    world.pass(3 * HOUR);
    assert_eq!(inbox(&world), 1, "what was refused is asked again");
    let (contact, dials) = (world.contact(ALICE, CAROL).unwrap().id, world.dials.len());
    world.request(ALICE, Request::ChooseCarrier { contact, friend: None }).unwrap();
    world.submit(ALICE, CAROL, "two").unwrap();
    world.pass(3 * HOUR);
    assert_eq!(inbox(&world), 1);
    assert!(!world.dials[dials..].contains(&(ALICE, BOB)), "alice does not want it");
    let itself = Request::ChooseCarrier { contact, friend: Some(contact) };
    assert!(matches!(world.request(ALICE, itself), Err(RequestError::NotReady(_))));
    world.check();
}

/// An object for this address, with the authenticator of this node for bob.
fn offering(world: &World, to: &str, secure: bool, key_of: usize) -> Vec<u8> {
    let claim = Claim::of(b"object");
    let key = world.contact(key_of, BOB).and_then(|bob| bob.outbound.clone());
    let onion = to.rsplit_once('@').unwrap().1.parse().unwrap();
    let send = Send {
        claim: Some(claim),
        auth: key.map(|key| authenticator(&key, onion, &claim)),
        importance: Importance::Normal,
        secure,
        ..Send::to(to)
    };
    let message = Command::Message(Message { sender: None, size: 6 });
    [Command::Send(send).encode(None), message.encode(None), "object".to_owned()].concat().into_bytes()
}

/// Bob's answer to that object; just before, he gets another request.
fn ask_after(world: &mut World, before: Option<Request>, offering: Vec<u8>) -> String {
    let session = world.accept(BOB);
    world.run();
    world.replies.clear();
    if let Some(request) = before {
        world.input(BOB, Input::Request(RequestId(1_000_000), request));
    }
    world.input(BOB, Input::Received(session, offering));
    world.pass(limits::WIRE_ANSWER);
    world.input(BOB, Input::Closed(session));
    let mine = world.replies.iter().filter(|(node, _)| *node == BOB);
    mine.map(|(_, reply)| reply.as_str()).collect()
}

fn ask(world: &mut World, to: &str, secure: bool, key_of: usize) -> String {
    let offering = offering(world, to, secure, key_of);
    ask_after(world, None, offering)
}

#[test]
fn nothing_is_acknowledged_that_is_not_kept() {
    let mut world = world(9);
    set_online(&mut world, CAROL, false);
    let carol = world.address(CAROL);
    let offering = offering(&world, &carol, false, ALICE);
    // The permission goes while the object is on its way to the disk.
    let withdrawn = Request::AllowForwarding { contact: world.contact(BOB, ALICE).unwrap().id, on: false };
    let answer = ask_after(&mut world, Some(withdrawn), offering.clone());
    assert_eq!((answer.as_str(), carried(&world)), ("201 28311552 - -\n450 TRY LATER\n", 0));
    allow(&mut world, true);
    world.nodes[BOB].failing_commits = 1;
    let answer = ask_after(&mut world, None, offering.clone());
    assert_eq!((answer.as_str(), carried(&world)), ("708 TIME-OUT\n", 0), "nobody knows what the disk kept");
    assert!(ask_after(&mut world, None, offering).ends_with("202 ROGER\n"));
    assert_eq!(carried(&world), 1);
    world.check();
}

#[test]
fn whoever_may_not_learns_the_same_as_for_an_unknown_name() {
    let mut world = world(3);
    let refused = "420 NOT AVAILABLE\n420 NOT AVAILABLE\n";
    let carol = world.address(CAROL);
    let nobody = carol.replace("carol", "nobody");
    let other = world.address(BOB).replace("bob", "other");
    // Carol is no contact of bob's.
    assert_eq!(ask(&mut world, &carol, false, CAROL), refused);
    assert_eq!(ask(&mut world, &other, false, ALICE), refused, "it is bob's own node");
    assert_eq!(ask(&mut world, &carol, true, ALICE), refused, "+SECURE: to the receiver's node alone");
    assert_eq!(carried(&world), 0);
    assert_eq!(ask(&mut world, &nobody, false, ALICE), "201 28311552 - -\n202 ROGER\n");
    assert_eq!(ask(&mut world, &nobody, false, ALICE), "201 28311552 - -\n202 ROGER\n", "the same again");
    assert_eq!(carried(&world), 1);
    allow(&mut world, false);
    assert_eq!(ask(&mut world, &carol, false, ALICE), refused);
}

#[test]
fn whatever_breaks_it_arrives_once() {
    for seed in 10..30 {
        let mut world = world(seed);
        set_online(&mut world, CAROL, false);
        world.submit(ALICE, CAROL, "one").unwrap();
        match seed % 5 {
            // Bob's acknowledgement is lost.
            0 => world.cut_at = Some(b"202 ROGER"),
            1 => world.nodes[BOB].failing_commits = 2,
            2 => world.nodes[ALICE].failing_commits = 2,
            3 => world.cut_at = Some(b"MESSAGE"),
            _ => {}
        }
        world.pass(2 * HOUR);
        assert!(carried(&world) >= 1, "seed {seed}");
        set_online(&mut world, CAROL, true);
        match seed % 4 {
            // Carol's acknowledgement is lost; or bob's disk does not take that it was delivered.
            0 => world.cut_at = Some(b"202 ROGER"),
            1 => {
                world.nodes[BOB].failing_commits = 1;
                world.nodes[BOB].failing_record =
                    Some(|record| matches!(record, Record::Forwarding(ForwardingRecord::ForwardedEnded { .. })));
            }
            2 => world.nodes[CAROL].failing_commits = 2,
            _ => world.restart(BOB),
        }
        world.pass(DAY);
        assert_eq!((inbox(&world), carried(&world)), (1, 0), "seed {seed}");
        assert!(matches!(progress(&world), Progress::Delivered(_)), "seed {seed}");
        world.check();
    }
}

#[test]
fn large_mail_is_carried_too() {
    let mut world = world(4);
    let text = "0123456789abcdef\r\n".repeat(60_000);
    let message: Arc<[u8]> = format!("From: <{}>\r\n\r\n{text}", world.address(ALICE)).into_bytes().into();
    let recipient = world.address(CAROL);
    let (recipients, visible) = (vec![recipient.clone()], vec![recipient]);
    world
        .request(ALICE, Request::Submit(Submission { recipients, visible, message, asked: DeliveryOptions::default() }))
        .unwrap();
    world.pass(HOUR);
    assert_eq!((inbox(&world), carried(&world)), (1, 0));
    world.check();
}

#[test]
fn what_never_arrives_is_given_up_and_said() {
    let mut world = world(5);
    set_online(&mut world, CAROL, false);
    world.submit(ALICE, CAROL, "one").unwrap();
    world.pass(DAY);
    assert_eq!(carried(&world), 1);
    world.pass(14 * DAY);
    assert_eq!(carried(&world), 0);
    world.pass(2 * DAY);
    assert!(matches!(progress(&world), Progress::Failed(_, FailureReason::Unconfirmed)));
    assert_eq!(
        world
            .texts(ALICE, FolderRole::Inbox)
            .iter()
            .filter(|text| text.contains("Subject: Delivery is unconfirmed"))
            .count(),
        1
    );
    world.check();
}

#[test]
fn a_friend_who_lies_is_not_believed() {
    let mut world = world(6);
    set_online(&mut world, CAROL, false);
    world.submit(ALICE, CAROL, "one").unwrap();
    world.pass(5 * MINUTE);
    let forwarded = world.nodes[BOB].identity.state().forwarding().objects().next().unwrap().clone();
    world.append(
        BOB,
        vec![Record::Forwarding(ForwardingRecord::ForwardedEnded {
            contact: forwarded.contact,
            object: forwarded.object,
            fate: Fate::Delivered,
        })],
        vec![],
    );
    world.nodes[BOB].bodies.remove(&forwarded.body);
    world.restart(BOB);
    world.pass(3 * HOUR);
    assert_eq!((custody(&world), progress(&world)), ((1, true), Progress::Queued), "his word is no receipt");
    world.pass(16 * DAY);
    assert!(matches!(progress(&world), Progress::Failed(_, FailureReason::Unconfirmed)));
    // Nobody else's word counts either.
    assert!(read_line(&format!("{} delivered", "0".repeat(64))).is_some());
    assert!(read_line(&format!("{} arrived", "0".repeat(64))).is_none());
    world.check();
}

#[test]
fn a_contact_fills_no_more_than_its_share() {
    let mut world = world(7);
    set_online(&mut world, CAROL, false);
    for number in 0..limits::LOADS_OF_CONTACT + 20 {
        world.submit(ALICE, CAROL, &format!("number {number}")).unwrap();
    }
    world.pass(5 * HOUR);
    assert_eq!(carried(&world), limits::LOADS_OF_CONTACT);
    set_online(&mut world, CAROL, true);
    world.pass(DAY);
    assert_eq!((inbox(&world), carried(&world)), (limits::LOADS_OF_CONTACT + 20, 0), "the rest follows");
    world.check();
}

#[test]
fn whoever_is_removed_is_carried_for_no_more() {
    let mut world = world(8);
    set_online(&mut world, CAROL, false);
    world.submit(ALICE, CAROL, "one").unwrap();
    world.pass(5 * MINUTE);
    assert_eq!(carried(&world), 1);
    let (id, body) = (world.contact(BOB, ALICE).unwrap().id, world.nodes[BOB].bodies.len());
    world.append(BOB, vec![Record::Book(BookRecord::ContactRemoved { id })], vec![]);
    world.restart(BOB);
    assert_eq!((carried(&world), world.nodes[BOB].identity.state().forwarding().allows(id)), (0, false));
    assert!(body > 0 && world.nodes[BOB].identity.state().bodies().is_empty());
}

/// Dave is a fourth: he too knows carol and bob, and bob forwards for him.
fn with_dave(seed: u64) -> World {
    let mut world = World::new(seed, &["alice", "carol", "bob", "dave"]);
    for (one, other) in [(ALICE, CAROL), (ALICE, BOB), (DAVE, CAROL), (DAVE, BOB), (ALICE, DAVE)] {
        world.introduce(one, other);
    }
    world.apart.extend([(ALICE, CAROL), (DAVE, CAROL)]);
    for giver in [ALICE, DAVE] {
        let contact = world.contact(BOB, giver).unwrap().id;
        world.request(BOB, Request::AllowForwarding { contact, on: true }).unwrap();
        let (contact, friend) = (world.contact(giver, CAROL).unwrap().id, world.contact(giver, BOB).unwrap().id);
        world.request(giver, Request::ChooseCarrier { contact, friend: Some(friend) }).unwrap();
    }
    world
}

#[test]
fn what_a_node_does_not_take_keeps_nothing_else_from_it() {
    for seed in 50..56 {
        let mut world = with_dave(seed);
        set_online(&mut world, CAROL, false);
        // The message is too large for strangers, and alice will be one.
        let text = "0123456789abcdef\r\n".repeat(3_000);
        let message: Arc<[u8]> = format!("From: <{}>\r\n\r\n{text}", world.address(ALICE)).into_bytes().into();
        let recipient = world.address(CAROL);
        let (recipients, visible) = (vec![recipient.clone()], vec![recipient]);
        let large = Submission { recipients, visible, message, asked: DeliveryOptions::default() };
        world.request(ALICE, Request::Submit(large)).unwrap();
        world.submit(DAVE, CAROL, "from dave").unwrap();
        world.pass(HOUR);
        assert_eq!(carried(&world), 2);
        let id = world.contact(CAROL, ALICE).unwrap().id;
        world.append(CAROL, vec![Record::Book(BookRecord::ContactRemoved { id })], vec![]);
        set_online(&mut world, CAROL, true);
        world.pass(3 * HOUR);
        assert_eq!((inbox(&world), carried(&world)), (1, 1), "seed {seed}");
    }
}

#[test]
fn an_expiry_that_cannot_be_noted_is_tried_again_and_not_at_once() {
    let mut world = world(60);
    set_online(&mut world, CAROL, false);
    world.submit(ALICE, CAROL, "one").unwrap();
    world.pass(HOUR);
    world.nodes[BOB].failing_commits = 1_000_000;
    world.nodes[BOB].failing_record =
        Some(|record| matches!(record, Record::Forwarding(ForwardingRecord::ForwardedEnded { .. })));
    world.pass(14 * DAY + HOUR);
    let tries = 1_000_000 - world.nodes[BOB].failing_commits;
    assert!((1..200).contains(&tries), "{tries}");
    assert_eq!(carried(&world), 1);
    world.nodes[BOB].failing_commits = 0;
    world.pass(HOUR);
    assert_eq!(carried(&world), 0);
    world.check();
}

#[test]
fn what_the_disk_does_not_give_now_is_carried_later() {
    let mut world = world(61);
    set_online(&mut world, CAROL, false);
    world.submit(ALICE, CAROL, "one").unwrap();
    world.pass(HOUR);
    let body = world.nodes[BOB].identity.state().forwarding().objects().next().unwrap().body;
    let bytes = world.nodes[BOB].bodies.remove(&body).unwrap();
    set_online(&mut world, CAROL, true);
    world.pass(3 * HOUR);
    assert_eq!((inbox(&world), carried(&world)), (0, 1));
    world.nodes[BOB].bodies.insert(body, bytes);
    world.pass(3 * HOUR);
    assert_eq!((inbox(&world), carried(&world)), (1, 0));
    world.check();
}

#[test]
fn a_receipt_counts_whatever_the_friend_said() {
    let mut world = world(62);
    set_online(&mut world, CAROL, false);
    world.submit(ALICE, CAROL, "one").unwrap();
    world.pass(5 * MINUTE);
    let (friend, object) = (
        world.contact(ALICE, BOB).unwrap().id,
        world.nodes[BOB].identity.state().forwarding().objects().next().unwrap().object,
    );
    world.append(
        ALICE,
        vec![Record::Forwarding(ForwardingRecord::FateHeard { friend, object, fate: Fate::Expired })],
        vec![],
    );
    set_online(&mut world, ALICE, false);
    assert_eq!(custody(&world).0, 0, "he has it no more, he says");
    set_online(&mut world, CAROL, true);
    world.pass(2 * HOUR);
    assert_eq!(inbox(&world), 1, "and brought it");
    set_online(&mut world, BOB, false);
    set_online(&mut world, ALICE, true);
    world.pass(3 * HOUR);
    assert!(matches!(progress(&world), Progress::Delivered(_)));
    world.check();
}

#[test]
fn another_friend_gets_what_the_first_one_had() {
    let mut world = with_dave(63);
    set_online(&mut world, CAROL, false);
    world.submit(ALICE, CAROL, "one").unwrap();
    world.pass(5 * MINUTE);
    assert_eq!(custody(&world), (1, false));
    set_online(&mut world, BOB, false);
    let (contact, dave) = (world.contact(ALICE, CAROL).unwrap().id, world.contact(ALICE, DAVE).unwrap().id);
    let by_dave = world.contact(DAVE, ALICE).unwrap().id;
    world.request(DAVE, Request::AllowForwarding { contact: by_dave, on: true }).unwrap();
    world.request(ALICE, Request::ChooseCarrier { contact, friend: Some(dave) }).unwrap();
    world.apart.remove(&(DAVE, CAROL));
    world.pass(3 * HOUR);
    assert_eq!(world.nodes[DAVE].identity.state().forwarding().objects().count(), 1);
    set_online(&mut world, CAROL, true);
    world.pass(3 * HOUR);
    assert_eq!(inbox(&world), 1);
    assert!(matches!(progress(&world), Progress::Delivered(_)));
}

#[test]
fn no_copy_is_given_that_may_come_after_the_first_is_forgotten() {
    let mut world = world(70);
    set_online(&mut world, CAROL, false);
    world.submit(ALICE, CAROL, "one").unwrap();
    let copies = |world: &World| world.nodes[ALICE].identity.state().forwarding().kept_handed();
    // Bob says that he could not bring it, each time when it is about to end.
    for (days, given) in [(13, 2), (13, 2)] {
        world.pass(days * DAY);
        let (object, handed) = copies(&world).into_iter().find(|(_, handed)| handed.fate.is_none()).unwrap();
        let heard =
            Record::Forwarding(ForwardingRecord::FateHeard { friend: handed.friend, object, fate: Fate::Expired });
        world.append(ALICE, vec![heard], vec![]);
        world.restart(ALICE);
        world.pass(6 * HOUR);
        assert_eq!(copies(&world).len(), given);
    }
    world.pass(4 * DAY);
    assert!(matches!(progress(&world), Progress::Failed(_, FailureReason::Unconfirmed)));
    assert!(limits::EXPIRY_MAX * 2 + limits::EXPIRY_SKEW <= limits::TOMBSTONE);
}

#[test]
fn of_what_two_contacts_give_something_of_each_is_on_its_way() {
    const FIRST: usize = 4;
    for seed in 0..6 {
        // Alice writes to each of three contacts, dave to one.
        let mut world = World::new(seed, &["alice", "carol", "bob", "dave", "eve", "frank", "grace"]);
        for (giver, receivers) in [(ALICE, [CAROL, FIRST, FIRST + 1].as_slice()), (DAVE, &[FIRST + 2])] {
            world.introduce(giver, BOB);
            let contact = world.contact(BOB, giver).unwrap().id;
            world.request(BOB, Request::AllowForwarding { contact, on: true }).unwrap();
            for receiver in receivers {
                world.introduce(giver, *receiver);
                let (contact, friend) =
                    (world.contact(giver, *receiver).unwrap().id, world.contact(giver, BOB).unwrap().id);
                world.request(giver, Request::ChooseCarrier { contact, friend: Some(friend) }).unwrap();
                world.nodes[*receiver].online = false;
                world.submit(giver, *receiver, "one").unwrap();
            }
        }
        world.pass(3 * HOUR);
        assert_eq!(carried(&world), 4);
        // All nodes become due together, as where sessions took long.
        world.now = world.now.plus(DAY);
        [CAROL, FIRST, FIRST + 1, FIRST + 2].into_iter().for_each(|receiver| world.nodes[receiver].online = true);
        world.dials.clear();
        world.pass(Duration::from_secs(1));
        let by_bob = world.dials.iter().filter(|(from, to)| *from == BOB && ![ALICE, DAVE].contains(to));
        let first: Vec<_> = by_bob.map(|(_, to)| *to == FIRST + 2).take(limits::PARALLEL_CARRIAGE).collect();
        assert_eq!((first.len(), first.iter().filter(|of_dave| **of_dave).count()), (2, 1), "seed {seed}");
    }
}

/// An object for carol, which bob forwards for alice.
fn load(world: &World, object: &[u8], body: u8) -> Forwarded {
    Forwarded {
        contact: world.contact(BOB, ALICE).unwrap().id,
        object: digest(object),
        to: world.address(CAROL).parse().unwrap(),
        body: BodyId::from_bytes([body; 16]),
        size: object.len() as u32,
        certificate: Some([5; 32]),
        onward: None,
        important: false,
        until: world.now.plus(7 * DAY),
    }
}

#[test]
fn a_receiver_may_show_two_other_certificates_before_it_takes_an_object_and_no_third() {
    for shown in 1..=4_usize {
        let mut world = world(80);
        let object: Arc<[u8]> = vec![9; limits::PIPELINED_OBJECT_BYTES + 1].into();
        let forwarded = load(&world, &object, 9);
        let body = NewBody::new(forwarded.body, object);
        world.append(
            BOB,
            vec![Record::Checkpoint(CheckpointRecord::ForwardedKept { forwarded: Box::new(forwarded) })],
            vec![body],
        );
        world.silent.insert(world.public(CAROL).onion());
        world.commands.clear();
        world.restart(BOB);
        world.pass(limits::START_SPREAD);
        let session = world.nodes[BOB].identity.tasks.iter().next().unwrap().0;
        let hear = |world: &mut World, line: String| {
            world.input(BOB, Input::Received(session, line.into_bytes()));
            world.run();
        };
        for number in 1..=shown {
            hear(&mut world, format!("1: 201 28311552 #1 -\n{number}"));
        }
        let known = data_encoding::HEXLOWER.encode(&digest(shown.to_string().as_bytes()));
        hear(&mut world, format!("1: 201 28311552 {known} -\n"));
        let said = |word: &str| world.commands.iter().filter(|command| command.starts_with(word)).count();
        assert_eq!(said("AS 1 SEND "), shown.min(2) + 1, "{shown} shown");
        assert_eq!(said("AS 1 MESSAGE "), usize::from(shown <= 2), "{shown} shown");
        assert_eq!(world.nodes[BOB].identity.tasks.contains(session), shown <= 2, "{shown} shown");
    }
}

#[test]
fn what_a_friend_refuses_keeps_nothing_else_from_being_carried() {
    let mut world = world(81);
    set_online(&mut world, CAROL, false);
    // Bob has little room left for alice's objects.
    let full = Forwarded {
        to: format!("eve@{}", Onion::from_public_key([99; 32])).parse().unwrap(),
        size: (limits::LOAD_BYTES_OF_CONTACT - 100 * 1024) as u32,
        ..load(&world, b"other", 9)
    };
    world.append(BOB, vec![Record::Checkpoint(CheckpointRecord::ForwardedKept { forwarded: Box::new(full) })], vec![]);
    world.restart(BOB);
    let text = "0123456789abcdef\r\n".repeat(12_000);
    let message: Arc<[u8]> = format!("From: <{}>\r\n\r\n{text}", world.address(ALICE)).into_bytes().into();
    let recipient = world.address(CAROL);
    let (recipients, visible) = (vec![recipient.clone()], vec![recipient]);
    let large = Submission { recipients, visible, message, asked: DeliveryOptions::default() };
    world.request(ALICE, Request::Submit(large)).unwrap();
    world.pass(Duration::from_secs(1));
    world.submit(ALICE, CAROL, "small").unwrap();
    world.pass(6 * HOUR);
    assert_eq!(carried(&world), 2, "the small one, which was behind it");
    let queue = &world.nodes[ALICE].published.queue;
    let large = queue.iter().find(|queued| queued.size > 100_000).unwrap().id;
    let refused: Vec<_> = world.nodes[ALICE].identity.rooms.boxes.refused_by_friend().iter().copied().collect();
    assert_eq!(refused, [large]);
}

#[test]
fn what_a_friend_carries_and_cannot_read_any_more_is_given_up_by_a_repair_and_its_giver_hears_it() {
    let mut world = world(82);
    set_online(&mut world, CAROL, false);
    world.submit(ALICE, CAROL, "lost").unwrap();
    world.submit(ALICE, CAROL, "kept").unwrap();
    world.pass(HOUR);
    assert_eq!(carried(&world), 2);
    let state = world.nodes[BOB].identity.state();
    let lost = state.forwarding().objects().next().unwrap().clone();
    let bodies = [lost.body].into();
    let lines = ["a line".to_owned()];
    let damage = Lost { bodies: &bodies, records: false, lines: &lines, kept: "/kept" };
    let (records, new) = state.repair(&damage, world.now, &mut SeededRng::new(7));
    world.append(BOB, records, new);
    world.nodes[BOB].bodies.remove(&lost.body);
    world.restart(BOB);
    assert_eq!(carried(&world), 1, "the other one is still carried");
    let fates: Vec<_> = world.nodes[BOB].identity.state().forwarding().fates(lost.contact).collect();
    assert_eq!(fates, [(lost.object, Fate::Expired)]);
    set_online(&mut world, CAROL, true);
    world.pass(DAY);
    assert_eq!((inbox(&world), carried(&world)), (2, 0), "alice heard it, and gave him another copy");
    world.check();
}
