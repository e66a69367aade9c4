//! Killing the daemons at random moments loses nothing that was acknowledged, and shows nothing twice.
//!
//! The witness is the mail program's side: every 250 that it received. KILLS sets how many kills, SEED replays the moments.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout
)]

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use runepeer::base::Rng;
use runepeer::base::rng::SeededRng;
use support::mail::{Login, Smtp, message};
use support::node::Node;
use support::{temp_dir, wait_for};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What the submitting side knows: where alice listens now, and which messages were acknowledged.
struct Witness {
    port: Mutex<Option<u16>>,
    acknowledged: Mutex<Vec<String>>,
    stop: AtomicBool,
}

/// Submits one message after the other, for as long as there is somebody to submit to.
fn submit_on_and_on(witness: &Witness, login: &Login, to: &str) {
    let mut number = 0_u32;
    while !witness.stop.load(Ordering::Relaxed) {
        let Some(port) = *witness.port.lock().unwrap() else {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        };
        let Ok(mut smtp) = Smtp::open(port, login) else {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        };
        while !witness.stop.load(Ordering::Relaxed) {
            number += 1;
            let subject = format!("witness-{number:06}");
            let body = "x".repeat(usize::try_from(number % 7 * 1500).unwrap());
            if smtp.submit(to, &message(&login.user, to, &subject, &body)).is_err() {
                break;
            }
            witness.acknowledged.lock().unwrap().push(subject);
            std::thread::sleep(Duration::from_millis(15));
        }
    }
}

#[test]
fn sigkill_at_random_moments_loses_and_doubles_nothing() {
    let kills = setting("KILLS", 200);
    let seed = setting("SEED", u64::from(std::process::id()));
    println!("SEED={seed} KILLS={kills}");
    let mut random = SeededRng::new(seed);
    let random: &mut dyn Rng = &mut random;

    let peers = temp_dir();
    let (mut alice, mut bob) = (Node::loopback("alice", peers.path()), Node::loopback("bob", peers.path()));
    alice.start();
    bob.start();
    bob.befriend(&alice);
    wait_for("both to know each other", Duration::from_secs(30), || knows(&bob, "alice").then_some(()));
    let login = Login::new(&alice, "crash");
    let to = bob.address();

    let witness = Arc::new(Witness {
        port: Mutex::new(Some(alice.port("submission"))),
        acknowledged: Mutex::default(),
        stop: AtomicBool::new(false),
    });
    let submitting = std::thread::spawn({
        let witness = Arc::clone(&witness);
        move || submit_on_and_on(&witness, &login, &to)
    });
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(5 + random.below(250)));
        let both = random.below(4) == 0;
        if random.below(2) == 0 || both {
            *witness.port.lock().unwrap() = None;
            alice.restart_after_kill();
            *witness.port.lock().unwrap() = Some(alice.port("submission"));
        } else {
            bob.restart_after_kill();
        }
        if both {
            bob.restart_after_kill();
        }
    }
    witness.stop.store(true, Ordering::Relaxed);
    submitting.join().unwrap();

    drain(&mut alice);
    let acknowledged = std::mem::take(&mut *witness.acknowledged.lock().unwrap());
    let mut shown: BTreeMap<String, u32> = BTreeMap::new();
    for row in bob.json(&["list"])["messages"].as_array().unwrap() {
        *shown.entry(row["subject"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    let lost: Vec<&String> = acknowledged.iter().filter(|subject| !shown.contains_key(*subject)).collect();
    let doubled: Vec<_> = shown.iter().filter(|(_, times)| **times > 1).collect();
    println!("{} acknowledged, {} shown, {kills} kills", acknowledged.len(), shown.len());
    assert!(acknowledged.len() as u64 >= kills, "too few messages to say anything");
    assert!(lost.is_empty(), "lost: {lost:?} (SEED={seed})");
    assert!(doubled.is_empty(), "twice: {doubled:?} (SEED={seed})");
}

fn knows(node: &Node, petname: &str) -> bool {
    let contacts = node.json(&["contact", "list"]);
    contacts["contacts"]
        .as_array()
        .unwrap()
        .iter()
        .any(|contact| contact["petname"] == petname && contact["status"] == "confirmed")
}

/// Until nothing waits. A restart tries everything soon, where a failed attempt would wait for minutes.
fn drain(alice: &mut Node) {
    for _ in 0..10 {
        alice.restart_after_kill();
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            if alice.json(&["queue", "list"])["queue"].as_array().is_some_and(Vec::is_empty) {
                return;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    panic!("the queue does not drain: {}", alice.json(&["queue", "list"]));
}
