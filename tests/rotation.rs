//! Two real daemons for three months, under a clock that is set forward: encryption keys are replaced, and mail goes on. (That
//! what was sealed to a destroyed key stays closed is tested in `src`.) And three for a month: introductions that nobody decides
//! end. Ignored, with the reason, where libfaketime is not installed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use support::node::Node;
use support::people::{decide, introduce, requests, waits};
use support::runner::{self, Missing};
use support::{faketime, temp_dir, wait_for};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Time passes so much faster: an hour, for which a node does not trust its clock after a start, in a few seconds.
const FAST: u32 = 400;
const PATIENCE: Duration = Duration::from_secs(100);

fn main() -> ExitCode {
    runner::main(
        found,
        &[
            ("mail_goes_on_while_encryption_keys_are_replaced", story),
            ("an_introduction_that_nobody_decides_ends_after_two_weeks_and_can_begin_again", expiry),
        ],
    )
}

fn found() -> Result<PathBuf, Missing> {
    faketime().ok_or_else(|| Missing("libfaketime is not installed".to_owned()))
}

/// The file of the encryption keys, as it is now.
fn seal_keys(node: &Node) -> Vec<u8> {
    let mut files = std::fs::read_dir(node.data().join("keys")).unwrap().map(|entry| entry.unwrap().path());
    let file = files.find(|path| path.extension().is_some_and(|end| end == "seal")).unwrap();
    std::fs::read(file).unwrap()
}

/// The node starts when so many days have gone by.
fn start_at(node: &mut Node, day: u32) {
    node.set_clock(day * DAY, FAST);
    node.start();
}

/// The nodes end, and start when so many days have gone by.
fn at_day(nodes: &mut [&mut Node], day: u32) {
    for node in nodes {
        node.terminate();
        start_at(node, day);
    }
}

fn send(from: &Node, to: &Node, subject: &str) {
    let output = from.feed(&["send", "--to", "bob", "--subject", subject], b"text\n");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let came = || {
        let rows = to.json(&["ls"]);
        rows["messages"].as_array().unwrap().iter().any(|row| row["subject"] == subject).then_some(())
    };
    wait_for(subject, PATIENCE, came);
}

fn story(_: &PathBuf) {
    let peers = temp_dir();
    let (mut alice, mut bob) = (Node::loopback("alice", peers.path()), Node::loopback("bob", peers.path()));
    alice.start();
    bob.start();
    alice.befriend(&bob);
    let mut files = vec![seal_keys(&bob)];
    // A key is in use for eight days at most.
    for day in [9, 18, 27, 36] {
        at_day(&mut [&mut alice, &mut bob], day);
        let last = files.last().unwrap().clone();
        wait_for("another key", PATIENCE, || (seal_keys(&bob) != last).then_some(()));
        send(&alice, &bob, &format!("day {day}"));
        files.push(seal_keys(&bob));
    }
    assert!(files.windows(2).all(|pair| pair[0].len() == pair[1].len()), "the length tells nothing");

    // Alice is off for two months, and bob has other keys meanwhile.
    alice.terminate();
    for day in [54, 72, 90] {
        let last = seal_keys(&bob);
        at_day(&mut [&mut bob], day);
        wait_for("another key", PATIENCE, || (seal_keys(&bob) != last).then_some(()));
    }
    start_at(&mut alice, 90);
    send(&alice, &bob, "after two months");
    assert!(alice.json(&["queue", "list"])["queue"].as_array().unwrap().is_empty());
}

/// Bob asks carol whether he may introduce alice. Carol decides nothing for two weeks; a later ask counts anew.
fn expiry(_: &PathBuf) {
    let peers = temp_dir();
    let [mut alice, mut bob, mut carol] = ["alice", "bob", "carol"].map(|name| Node::loopback(name, peers.path()));
    [&mut alice, &mut bob, &mut carol].into_iter().for_each(Node::start);
    bob.befriend(&alice);
    bob.befriend(&carol);
    introduce(&bob, "alice", "carol", "");
    let ask = waits(&carol, "ask", "bob");
    assert!(!bob.run(&["contact", "introduce", "alice", "carol"]).status.success(), "one ask at a time");
    at_day(&mut [&mut alice, &mut bob, &mut carol], 15);
    assert!(requests(&carol).is_empty(), "nothing waits any more");
    let late = carol.run(&["request", "accept", ask["id"].as_str().unwrap()]);
    assert!(!late.status.success(), "{late:?}");
    assert!(requests(&alice).is_empty(), "alice never heard of it");
    introduce(&bob, "alice", "carol", "");
    decide(&carol, "accept", &waits(&carol, "ask", "bob"));
    // Now alice lets the time pass.
    let offer = waits(&alice, "introduction", "bob");
    at_day(&mut [&mut alice, &mut bob, &mut carol], 30);
    assert!(
        requests(&alice).is_empty()
            && !alice.run(&["request", "accept", offer["id"].as_str().unwrap()]).status.success()
    );
    assert_eq!(alice.json(&["contact", "list"])["contacts"].as_array().unwrap().len(), 1, "carol is nobody for alice");
}
