//! Killing the daemons at random moments loses nothing that was acknowledged, and shows nothing twice.
//!
//! The witness is the other side: every 250 that a mail program got, every 202 that a peer got, every OK of IMAP. KILLS sets
//! how many kills, SEED replays the moments.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout
)]

mod clients;
mod corruption;
#[path = "../support/mod.rs"]
mod support;
mod witness;

use std::time::{Duration, Instant};

use clients::{Clients, Target};
use runepeer::base::Rng;
use runepeer::base::rng::SeededRng;
use support::mail::Login;
use support::node::Node;
use support::temp_dir;
use witness::Witness;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// So many kills of the same two nodes; then two new ones: what they hold grows with every round trip, and reading it with
/// every start.
const ROUND: u64 = 60;

#[test]
fn sigkill_at_random_moments_loses_and_doubles_nothing() {
    let kills = setting("KILLS", ROUND);
    let seed = setting("SEED", u64::from(std::process::id()));
    println!("SEED={seed} KILLS={kills}");
    let mut random = SeededRng::new(seed);
    for done in (0..kills).step_by(usize::try_from(ROUND).unwrap()) {
        round(ROUND.min(kills - done), seed, &mut random);
    }
}

fn round(kills: u64, seed: u64, random: &mut dyn Rng) {
    let peers = temp_dir();
    let (mut alice, mut bob) = (Node::loopback("alice", peers.path()), Node::loopback("bob", peers.path()));
    alice.start();
    bob.start();
    bob.befriend(&alice);
    let (sending, receiving) = (Login::new(&alice, "crash"), Login::new(&bob, "crash"));
    let (submission, imap) = (Target::new(&alice, "submission"), Target::new(&bob, "imap"));

    let witness = Witness::default();
    let clients = Clients::new(&bob, peers.path());
    std::thread::scope(|scope| {
        let _running = clients.until_dropped();
        for number in 0..2 {
            let (clients, witness, submission) = (&clients, &witness, &submission);
            let (login, to) = (sending.clone(), bob.address());
            scope.spawn(move || clients.submit_on_and_on(number, witness, submission, &login, &to));
            let (imap, login) = (&imap, receiving.clone());
            scope.spawn(move || clients.file_on_and_on(number, witness, imap, &login));
        }
        scope.spawn(|| clients.deliver_on_and_on(&witness));
        let mut done = 0;
        while done < kills {
            std::thread::sleep(Duration::from_millis(5 + random.below(250)));
            // One, the other, or both.
            let whom = random.below(3);
            if whom != 0 {
                submission.gone();
                alice.restart_after_kill();
                submission.back(&alice);
                done += 1;
            }
            if whom != 1 {
                imap.gone();
                bob.restart_after_kill();
                imap.back(&bob);
                done += 1;
            }
        }
    });

    drain(&mut alice, &mut bob);
    bob.restart_after_kill();
    let shown = witness::shown(bob.port("imap"), &receiving);
    println!("{kills} kills; {}", witness.summary(shown.len()));
    assert!(witness.acknowledged() > kills, "too few acknowledgements to say anything");
    let broken = witness.compare(&shown);
    assert!(broken.is_empty(), "{broken:#?} (SEED={seed})");
}

/// Until nothing waits. A restart of the sender tries everything soon, where a failed attempt would wait for minutes; one of the
/// recipient forgets how much the sender sent in this hour.
fn drain(alice: &mut Node, bob: &mut Node) {
    for _ in 0..10 {
        bob.restart_after_kill();
        alice.restart_after_kill();
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline {
            if alice.json(&["queue", "list"])["queue"].as_array().is_some_and(Vec::is_empty) {
                return;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    panic!("the queue does not drain");
}
