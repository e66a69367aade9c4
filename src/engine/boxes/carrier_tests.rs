//! Stories of carriers that give another answer than they should, and of what is remembered of their refusals.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::base::ids::Fingerprint;
use crate::base::rng::SeededRng;
use crate::base::{ContentId, ObjectId, QueueId, limits};
use crate::engine::api::{Request, RequestId, Response};
use crate::engine::boxes::tests::{ALICE, CAROL, HOUR, WHILE, held, inbox, progress, set_online, world};
use crate::engine::io::{DialError, Effect, Input, Refusal};
use crate::engine::state::AttemptError;
use crate::engine::state::boxes::Check;
use crate::engine::state::queue::Progress;
use crate::engine::tests::harness::{MINUTE, World};
use crate::wire::mailbox::Policy;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_carrier_that_refuses_what_collecting_needs_is_left_and_asked_again_later() {
    const ANSWERS: [(&str, AttemptError); 4] = [
        ("450 TRY LATER\n", AttemptError::Later),
        ("420 NOT AVAILABLE\n", AttemptError::Refused),
        ("705 SERVER ERROR\n", AttemptError::Broken),
        ("202 ROGER\n", AttemptError::Refused),
    ];
    for command in [b"IDENTIFY ".as_slice(), b"RESPOND ", b"WATCH ", b"LIST "] {
        for (answer, error) in ANSWERS {
            let mut world = world(50, 1);
            world.answers = vec![(command, answer.into())];
            world.commands.clear();
            world.restart(CAROL);
            world.pass(20 * SECOND);
            let attempts = |world: &World| *world.nodes[CAROL].published.collections.values().next().unwrap();
            let (tried, said) = (attempts(&world), String::from_utf8_lossy(command));
            assert_eq!((tried.failed, tried.last_error), (1, Some(error)), "{said}: {answer}");
            let last = world.commands.iter().rev().find(|command| *command != "QUIT\n").unwrap();
            assert!(last.starts_with(&*said), "nothing else is asked for: {last}");
            world.answers.clear();
            world.pass(5 * MINUTE);
            assert_eq!(attempts(&world).failed, 0, "{said}: {answer}");
        }
    }
}

#[test]
fn an_identification_that_counts_for_a_while_is_shown_again_after_half_of_it() {
    let mut world = world(51, 1);
    world.set_policy(0, Policy::TimeOut(100));
    world.commands.clear();
    world.restart(CAROL);
    let count = |world: &World, word: &str| world.commands.iter().filter(|command| command.starts_with(word)).count();
    while count(&world, "LIST ") == 0 {
        world.pass(SECOND);
    }
    let news = format!("261 {} {}\n", Fingerprint::from_bytes([120; 32]), ContentId::from_bytes([9; 16]));
    for (wait, lists, identified) in [(48, 2, 1), (3, 3, 2), (48, 4, 2), (3, 5, 3)] {
        world.pass(wait * SECOND);
        let session = world.nodes[CAROL].identity.tasks.iter().next().unwrap().0;
        world.input(CAROL, Input::Received(session, news.clone().into_bytes()));
        world.run();
        assert_eq!((count(&world, "LIST "), count(&world, "IDENTIFY ")), (lists, identified));
    }
    assert_eq!(world.nodes[CAROL].published.collections.values().next().unwrap().failed, 0);
}

#[test]
fn a_carrier_that_hands_out_nothing_for_us_is_left_after_64_objects() {
    for objects in [63_usize, 64, 65] {
        let mut world = world(54, 1);
        let entry = |number| format!("241- {} 4096 20783 unread\n", ObjectId::from_bytes([number as u8; 16]));
        let list = (1..=objects).map(entry).collect::<String>() + &format!("242 {objects}\n");
        let junk = [b"251 #4096\n".as_slice(), &[b'x'; 4096]].concat();
        world.answers = vec![(b"LIST ", list.into()), (b"RETRIEVE ", junk)];
        world.commands.clear();
        world.restart(CAROL);
        world.pass(20 * SECOND);
        let asked = |word: &str| world.commands.iter().filter(|command| command.starts_with(word)).count();
        let most = objects.min(limits::COLLECT_REFUSED as usize);
        assert_eq!((asked("RETRIEVE "), asked("DELETE ")), (most, most), "{objects}");
        let tried = world.nodes[CAROL].published.collections.values().next().unwrap();
        let failed = objects >= 64;
        assert_eq!(
            (tried.failed, tried.last_error),
            (failed.into(), failed.then_some(AttemptError::Later)),
            "{objects}"
        );
    }
}

#[test]
fn a_check_that_fails_says_so_and_closes_what_was_opened_for_it() {
    let closed = |dialled: Result<(), DialError>| {
        let mut world = world(52, 1);
        let (now, rng, carol) = (world.now, &mut SeededRng::new(1), &mut world.nodes[CAROL].identity);
        let check = Request::CheckBox { name: "box120".to_owned() };
        let effects = carol.handle(now, rng, Input::Request(RequestId(1_000_000), check));
        let dial = |effect: &Effect| if let Effect::Dial(session, ..) = effect { Some(*session) } else { None };
        let session = effects.iter().find_map(dial).unwrap();
        let mut effects = carol.handle(now, rng, Input::Dialled(session, dialled));
        let seal = |effect: &Effect| if let Effect::Seal(op, ..) = effect { Some(*op) } else { None };
        if let Some(op) = effects.iter().find_map(seal) {
            effects = carol.handle(now, rng, Input::Sealed(op, Err(Refusal::Temporary)));
        }
        let how = carol.snapshot().checks.values().next().copied().unwrap();
        (how, effects.iter().any(|effect| matches!(effect, Effect::Close(other) if *other == session)))
    };
    assert_eq!(closed(Ok(())), (Check::Failed(AttemptError::Local), true), "it cannot be sealed");
    assert_eq!(
        closed(Err(DialError::Unreachable)),
        (Check::Failed(AttemptError::Unreachable), false),
        "nobody answers"
    );
}

/// Messages that may be larger than their class has tokens for are tried after the others; once they are gone, nothing
/// of them is remembered.
#[test]
fn what_found_no_token_is_remembered_for_as_long_as_it_waits() {
    let mut world = world(53, 1);
    set_online(&mut world, CAROL, false);
    let submit = |world: &mut World, bytes| world.submit_sized(ALICE, CAROL, bytes).unwrap();
    for _ in 0..16 {
        submit(&mut world, 200);
    }
    world.pass(2 * HOUR);
    assert_eq!(held(&world), 16, "all that there are of this size");
    let small: BTreeSet<QueueId> = world.nodes[ALICE].published.queue.iter().map(|queued| queued.id).collect();
    submit(&mut world, 2200);
    submit(&mut world, 2200);
    world.pass(4 * HOUR);
    let waiting = world.nodes[ALICE].published.queue.iter().map(|queued| queued.id);
    let large: Vec<_> = waiting.filter(|queue| !small.contains(queue)).collect();
    let unplaced = |world: &World| {
        world.nodes[ALICE].identity.rooms.boxes.unplaced.iter().map(|(_, queue)| *queue).collect::<Vec<_>>()
    };
    assert_eq!((held(&world), unplaced(&world), large.len()), (16, large.clone(), 2));
    world.request(ALICE, Request::Cancel(large[0])).unwrap();
    assert_eq!(unplaced(&world), large[1..]);
    set_online(&mut world, CAROL, true);
    world.pass(3 * HOUR);
    assert!(matches!(progress(&world), Progress::Delivered(_)));
    assert_eq!((inbox(&world, CAROL), unplaced(&world)), (17, vec![]));
}

#[test]
fn an_object_is_not_taken_in_crumbs() {
    // The octets of each part, and how often the object of 4,096 octets is asked for.
    for (part, asked) in [(0, 1), (1, 1), (1023, 1), (1024, 4), (2000, 3), (4096, 1)] {
        let mut world = world(55, 1);
        let list = format!("241- {} 4096 20783 unread\n242 1\n", ObjectId::from_bytes([1; 16]));
        let answer = [format!("251 #{part}\n").into_bytes(), vec![b'x'; part]].concat();
        world.answers = vec![(b"LIST ", list.into()), (b"RETRIEVE ", answer)];
        world.commands.clear();
        world.restart(CAROL);
        world.pass(20 * SECOND);
        let retrieved = world.commands.iter().filter(|command| command.starts_with("RETRIEVE ")).count();
        assert_eq!(retrieved, asked, "{part}");
    }
}

#[test]
fn a_carrier_that_hands_out_the_same_for_ever_and_always_has_news_costs_little() {
    let mut world = world(31, 1);
    set_online(&mut world, CAROL, false);
    world.submit(ALICE, CAROL, "one").unwrap();
    world.pass(WHILE);
    // The carrier deletes nothing, says that it did, and says after each list that something came.
    let held_now = world.carriers[0].carrier.held();
    let (name, mailbox) = held_now.mailboxes().iter().next().unwrap();
    let object = mailbox.objects().next().unwrap();
    let list = format!("241- {0} {1} 20783 unread\n242 1\n261 {name} {0}\n", object.id, object.size);
    world.answers = vec![(b"LIST ", list.into()), (b"DELETE ", "253 DELETED\n".into())];
    set_online(&mut world, CAROL, true);
    world.commands.clear();
    world.pass(MINUTE);
    let asked = |word: &str| world.commands.iter().filter(|command| command.starts_with(word)).count();
    assert_eq!((inbox(&world, CAROL), asked("RETRIEVE"), asked("DELETE")), (1, 1, 1));
    assert!((30..=61).contains(&asked("LIST")), "{}", asked("LIST"));
    // An honest carrier's news is heard as before.
    world.answers.clear();
    world.pass(MINUTE);
    world.apart.extend([(ALICE, CAROL), (CAROL, ALICE)]);
    world.submit(ALICE, CAROL, "two").unwrap();
    world.pass(WHILE);
    assert_eq!((inbox(&world, CAROL), held(&world)), (2, 1));
    // The next session deletes the objects that this one believed to be gone.
    world.pass(HOUR);
    assert_eq!((inbox(&world, CAROL), held(&world)), (2, 0));
    world.check();
}

#[test]
fn a_message_that_ends_is_forgotten_and_no_other() {
    let mut world = World::new(1, &["alice", "carol"]);
    world.introduce(ALICE, CAROL);
    world.nodes[CAROL].online = false;
    let mut submit = |subject| match world.submit(ALICE, CAROL, subject) {
        Ok(Response::Submitted(id)) => id,
        other => panic!("{other:?}"),
    };
    let (first, second) = (submit("first"), submit("second"));
    let onion = world.public(CAROL).onion();
    let unplaced = [(onion, first), (onion, second)];
    let identity = &mut world.nodes[ALICE].identity;
    identity.rooms.boxes.unplaced = unplaced.into();
    identity.rooms.boxes.refused_by_friend = [first, second].into();
    identity.rooms.boxes.too_large_for_boxes = [first, second].into();
    world.append(ALICE, vec![], vec![]);
    world.request(ALICE, Request::Cancel(first)).unwrap();
    let identity = &world.nodes[ALICE].identity;
    assert_eq!(identity.rooms.boxes.unplaced, [unplaced[1]].into());
    assert_eq!(
        (&identity.rooms.boxes.refused_by_friend, &identity.rooms.boxes.too_large_for_boxes),
        (&[second].into(), &[second].into())
    );
}
