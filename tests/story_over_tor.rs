//! What several people do with each other, on a private Tor network, with the real binary: invitations as text and as a
//! picture, an introduction, a revocation, a message to two who have not met, and mail that waited for somebody who was away.
//! `story.rs` has more of it, without Tor. Ignored, with the reason, where `tor` is not installed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]
#![allow(clippy::print_stdout, reason = "a figure that docs/testing.md has")]

mod support;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::node::Node;
use support::people::{accept_by_moving, decide, gets, has, introduce, knows, requests, send, status, waits};
use support::runner;
use support::tornet::TorNet;
use support::wait_for;

/// A node that comes back has the mail that waited for it within this time: the promise of a knock.
const KNOCK: Duration = Duration::from_secs(5 * 60);

fn main() -> ExitCode {
    runner::main(TorNet::start, &[("four_people_meet_write_and_come_back_over_tor", story)])
}

fn story(network: &TorNet) {
    let [mut alice, mut bob, mut carol, mut dora] =
        ["alice", "bob", "carol", "dora"].map(|name| Node::tor(name, network.table()));
    let begun = Instant::now();
    let stage = |name: &str| println!("{:5.1} s  {name}", begun.elapsed().as_secs_f64());
    [&mut alice, &mut bob, &mut carol, &mut dora].into_iter().for_each(Node::spawn);
    [&mut alice, &mut bob, &mut carol, &mut dora].into_iter().for_each(Node::wait_until_reachable);
    stage("four nodes are reachable");

    bob.befriend(&alice);
    bob.befriend(&dora);
    let picture = bob.data().join("for carol.png");
    bob.json(&["invite", "--png", picture.to_str().unwrap()]);
    carol.json(&["contact", "add", "--qr", picture.to_str().unwrap()]);
    knows(&carol, "bob");
    knows(&bob, "carol");
    stage("bob has invited three, one by a picture");

    introduce(&bob, "alice", "carol", "We met in Wien.");
    decide(&carol, "accept", &waits(&carol, "ask", "bob"));
    assert_eq!(waits(&alice, "introduction", "bob")["address"], carol.address());
    assert_eq!(status(&carol, "alice"), "", "alice has not agreed yet");
    accept_by_moving(&alice);
    knows(&alice, "carol");
    knows(&carol, "alice");
    send(&alice, "carol", "hello carol");
    gets(&carol, "hello carol");
    stage("alice and carol were introduced");

    bob.feed(&["send", "--to", "alice", "--cc", "dora", "--subject", "dinner"], b"At eight?\n");
    for node in [&alice, &dora] {
        let ask = waits(node, "ask", "bob");
        assert!(!has(&alice, "dinner") && !has(&dora, "dinner"), "not before both have agreed");
        decide(node, "accept", &ask);
    }
    [&alice, &dora].into_iter().for_each(|node| gets(node, "dinner"));
    knows(&dora, "alice");
    dora.feed(&["send", "--to", "bob", "--cc", "alice", "--subject", "Re: dinner"], b"Gladly.\n");
    [&alice, &bob].into_iter().for_each(|node| gets(node, "Re: dinner"));
    stage("a message to two who had not met, and an answer to all");

    // Mail waits for carol, who is away; dora revokes her address and her key.
    assert!(carol.terminate().success());
    send(&alice, "carol", "while you were away");
    wait_for("an attempt to fail", KNOCK, || {
        let row = alice.json(&["queue", "list"])["queue"][0].take();
        row["attempts"].as_u64().filter(|attempts| *attempts > 0)
    });
    let file = dora.data().join("revocation.json");
    dora.json(&["--yes", "identity", "revoke", "all", "--file", file.to_str().unwrap()]);
    for node in [&alice, &bob] {
        wait_for(&format!("{} to hear of the revocation", node.name()), KNOCK, || {
            (status(node, "dora") == "revoked").then_some(())
        });
    }
    carol.start();
    let back = Instant::now();
    wait_for("what waited", KNOCK, || has(&carol, "while you were away").then_some(()));
    println!("mail that waited was there {:.1} s after its receiver was reachable again", back.elapsed().as_secs_f64());
    stage("carol came back, and dora is revoked");
    for node in [&alice, &bob, &carol] {
        assert!(requests(node).is_empty(), "{}: {:?}", node.name(), requests(node));
        let queue: Value = node.json(&["queue", "list"]);
        assert!(queue["queue"].as_array().unwrap().is_empty(), "{}: {queue}", node.name());
    }
}
