//! Stories of memory: objects that senders announce and bring take room, and some give way where there is none.

use std::time::Duration;

use crate::base::{MacKey, SessionId, limits};
use crate::wire::Claim;

use crate::engine::io::Input;
use crate::engine::state::book::ContactStatus;
use crate::engine::state::mailbox::FolderRole;
use crate::engine::tests::harness::World;
use crate::engine::tests::share_scenarios::{
    ALICE, BOB, CAROL, announces, asks, friends, is_open, key_of_somebody, mail, populate, request, say,
};

/// Alice's answer to a contact that announces an object in a session of its own.
fn announced(world: &mut World, key: &MacKey, size: usize) -> (SessionId, String) {
    let session = world.accept(ALICE);
    world.run();
    let bytes = announces(world, key, size);
    let said = say(world, session, bytes);
    (session, said)
}

#[test]
fn what_one_contact_announces_keeps_no_other_out() {
    let (mut world, bob) = friends();
    world.introduce(ALICE, CAROL);
    let carol = world.contact(CAROL, ALICE).unwrap().outbound.clone().unwrap();
    assert!(announced(&mut world, &bob, limits::OBJECT_BYTES).1.contains("201"));
    for _ in 0..3 {
        assert!(announced(&mut world, &bob, limits::OBJECT_BYTES).1.contains("451"));
    }
    assert!(announced(&mut world, &carol, limits::OBJECT_BYTES).1.contains("201"));
    // In one session the same holds for the second announcement, though nothing of the first has come yet.
    let session = world.accept(ALICE);
    world.run();
    let claim = Claim { hash: [9; 32], size: 3 << 20 };
    let twice =
        [asks(&world, Some(&carol), claim), asks(&world, Some(&carol), claim)].concat().replace("SEND", "AS n SEND");
    let twice = twice.replacen("AS n", "AS m", 1);
    let said = say(&mut world, session, twice.into_bytes());
    assert!(said.contains("m: 201") && said.contains("n: 451"), "{said}");
}

/// Objects are opened only when the world runs: until then they are unsettled.
#[test]
fn what_a_contact_has_brought_counts_until_it_is_opened() {
    let (mut world, bob) = friends();
    let sessions = [world.accept(ALICE), world.accept(ALICE)];
    world.run();
    world.replies.clear();
    let brings = request(&world, Some(&bob), &vec![7; 20 << 20]);
    world.input(ALICE, Input::Received(sessions[0], brings));
    let asks = announces(&world, &bob, 20 << 20);
    world.input(ALICE, Input::Received(sessions[1], asks));
    world.pass(limits::WIRE_ANSWER);
    let said: String = world.replies.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!((said.matches("201 ").count(), said.matches("451 ").count()), (1, 1), "{said}");
    assert!(announced(&mut world, &bob, 20 << 20).1.contains("201"));
}

#[test]
fn what_others_have_brought_takes_room_until_it_is_opened() {
    let (mut world, bob) = friends();
    populate(&mut world, 4, ContactStatus::Confirmed);
    let sessions: Vec<_> = (0..5).map(|_| world.accept(ALICE)).collect();
    world.run();
    world.replies.clear();
    for (number, session) in sessions[..4].iter().enumerate() {
        let brings = request(&world, Some(&key_of_somebody(number)), &vec![number as u8; 27 << 20]);
        world.input(ALICE, Input::Received(*session, brings));
    }
    let asks = announces(&world, &bob, 20 << 20);
    world.input(ALICE, Input::Received(sessions[4], asks));
    world.pass(limits::WIRE_ANSWER);
    let said: String = world.replies.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!((said.matches("201 ").count(), said.matches("451 ").count()), (4, 1), "{said}");
    assert!(announced(&mut world, &bob, 20 << 20).1.contains("201"));
}

#[test]
fn slow_promises_give_way_where_others_need_the_memory() {
    let (mut world, bob) = friends();
    populate(&mut world, 4, ContactStatus::Confirmed);
    let mut sessions = Vec::new();
    for number in 0..4 {
        let (session, said) = announced(&mut world, &key_of_somebody(number), limits::OBJECT_BYTES);
        assert!(said.contains("201"), "{said}");
        sessions.push(session);
    }
    assert!(announced(&mut world, &bob, limits::OBJECT_BYTES).1.contains("451"), "they have just begun");
    let all_there_is = 20 << 20;
    assert!(announced(&mut world, &bob, all_there_is).1.contains("451"), "what is left is for small ones");
    // One object comes as fast as it should, the others as slowly as a session allows.
    for second in 1..=60_u64 {
        world.pass(Duration::from_secs(1));
        world.input(ALICE, Input::Received(sessions[0], vec![0; 64 * 1024]));
        if second % 10 == 0 {
            for session in &sessions[1..] {
                world.input(ALICE, Input::Received(*session, vec![0; 1024]));
            }
        }
        world.run();
    }
    assert!(sessions.iter().all(|session| is_open(&world, *session)), "nobody needed it");
    world.submit(BOB, ALICE, "small").unwrap();
    world.pass(Duration::from_secs(1));
    assert_eq!(world.messages(ALICE, FolderRole::Inbox).len(), 1, "what is small has memory of its own");
    assert!(sessions.iter().all(|session| is_open(&world, *session)));
    assert!(announced(&mut world, &bob, limits::OBJECT_BYTES).1.contains("201"));
    let open: Vec<_> = sessions.iter().map(|session| is_open(&world, *session)).collect();
    assert!(open[0] && open.iter().filter(|open| **open).count() == 3, "{open:?}");
}

#[test]
fn one_contact_has_eight_objects_under_way_and_no_more() {
    let (mut world, bob) = friends();
    let mut said = String::new();
    // The first objects are being opened when more come: the work is done only when the world runs.
    let sessions: Vec<_> = (0..3).map(|_| world.accept(ALICE)).collect();
    world.run();
    let mut number = 0;
    world.replies.clear();
    for session in &sessions {
        for _ in 0..4 {
            let object = mail(&world, BOB, number, 0);
            let bytes = request(&world, Some(&bob), &object);
            world.input(ALICE, Input::Received(*session, bytes));
            number += 1;
        }
    }
    world.pass(limits::WIRE_ANSWER);
    said.extend(world.replies.iter().map(|(_, text)| text.as_str()));
    let count = |text: &str| said.matches(text).count();
    assert_eq!((count("202 "), count("451 ")), (limits::OBJECTS_UNSETTLED, 12 - limits::OBJECTS_UNSETTLED), "{said}");
}
