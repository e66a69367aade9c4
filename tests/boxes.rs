//! Mail while you are away, with the real binary and real keys: carol rents a box at bob's carrier, alice's mail waits there
//! while carol is off, and a receipt tells alice that it was read from it. dave uses an invitation of carol's while she is off; the
//! two are never up together until she has his card. The clocks go faster, so that what takes an hour
//! takes two minutes. Ignored, with the reason, where libfaketime is not installed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;
use support::node::Node;
use support::runner::{self, Missing, Trial};
use support::{faketime, temp_dir, wait_for};

/// How much faster the clocks go.
const FASTER: u32 = 30;
/// Longer than anything here takes, on the machine's own clock.
const PATIENCE: Duration = Duration::from_secs(240);

fn main() -> ExitCode {
    let stories: [Trial<PathBuf>; 2] = [
        ("mail_for_somebody_who_is_away_waits_in_their_box_and_is_delivered_once", story),
        ("a_friend_carries_mail_to_somebody_who_is_away", carried),
    ];
    runner::main(found, &stories)
}

fn found() -> Result<PathBuf, Missing> {
    faketime().ok_or_else(|| Missing("libfaketime is not installed".to_owned()))
}

fn node(name: &str, peers: &Path) -> Node {
    let mut node = Node::loopback(name, peers);
    node.set_clock(Duration::ZERO, FASTER);
    node.start();
    node
}

fn introduce(inviter: &Node, guest: &Node) {
    let invitation = inviter.json(&["invite"])["invitation"].as_str().unwrap().to_owned();
    guest.json(&["contact", "add", &invitation]);
    for (node, other) in [(inviter, guest), (guest, inviter)] {
        wait_for("they know each other", PATIENCE, || {
            (node.try_json(&["contact", "show", other.name()])?["status"] == "confirmed").then_some(())
        });
    }
}

fn subjects(node: &Node) -> Vec<String> {
    let listed = node.json(&["ls", "INBOX"]);
    let rows = listed["messages"].as_array().unwrap().iter();
    rows.map(|row| row["subject"].as_str().unwrap().to_owned()).collect()
}

/// The state of the only message of a node's queue, waiting or ended.
fn state(node: &Node) -> Value {
    let waiting = node.json(&["queue", "list"])["queue"].clone();
    let ended = node.json(&["queue", "list", "--ended"])["queue"].clone();
    let all: Vec<&Value> = waiting.as_array().unwrap().iter().chain(ended.as_array().unwrap()).collect();
    // It may end between the two questions.
    assert!(all.iter().all(|row| row["id"] == all[0]["id"]), "{all:?}");
    all.last().map_or(Value::Null, |row| row["state"].clone())
}

fn story(_: &PathBuf) {
    let peers = temp_dir();
    let (alice, bob) = (node("alice", peers.path()), node("bob", peers.path()));
    let mut carol = node("carol", peers.path());
    introduce(&alice, &carol);
    bob.json(&["carrier", "enable"]);
    let invitation = bob.json(&["carrier", "invite"])["invitations"][0]["invitation"].as_str().unwrap().to_owned();
    carol.json(&["carrier", "add", &invitation, "--name", "bob"]);
    wait_for("carol's box is open and alice knows it", PATIENCE, || {
        let own_box = &carol.json(&["carrier", "list"])["carriers"][0];
        let open = own_box["state"] == "open" && own_box["contacts"] == 1;
        (open && alice.json(&["contact", "show", "carol"])["boxes"] == 1).then_some(())
    });

    carol.kill();
    alice.feed(&["send", "-t", "carol", "-s", "While you were out", "-"], b"It waits for you.\n");
    wait_for("bob holds it", PATIENCE, || (state(&alice) == "held").then_some(()));
    assert_eq!(bob.json(&["carrier", "show"])["held"], 1);

    carol.start();
    wait_for("carol has it", PATIENCE, || (subjects(&carol) == ["While you were out"]).then_some(()));
    wait_for("alice knows that it arrived", PATIENCE, || (state(&alice) == "delivered").then_some(()));
    wait_for("bob's carrier is empty again", PATIENCE, || (bob.json(&["carrier", "show"])["held"] == 0).then_some(()));
    assert_eq!(subjects(&carol), ["While you were out"], "once");
    assert_eq!(carol.json(&["carrier", "check", "bob"])["check"], "works");
    hidden(&alice, &mut carol);
    first_contact(&bob, carol, node("dave", peers.path()));
}

/// Bob's node brings carol what alice wrote, while alice's is off.
fn carried(_: &PathBuf) {
    let peers = temp_dir();
    let (mut alice, mut bob) = (node("alice", peers.path()), node("bob", peers.path()));
    let mut carol = node("carol", peers.path());
    introduce(&alice, &carol);
    introduce(&alice, &bob);
    assert_eq!(bob.json(&["contact", "set", "alice", "--carry", "on"])["carry"]["allowed"], true);
    assert_eq!(alice.json(&["contact", "set", "carol", "--via", "bob"])["via"], "bob");
    carol.kill();
    alice.feed(&["send", "-t", "carol", "-s", "By a friend", "-"], b"Bob cannot read it.\n");
    wait_for("bob's node has it", PATIENCE, || (state(&alice) == "held").then_some(()));
    let row = alice.json(&["queue", "list"])["queue"][0].clone();
    assert_eq!(row["custody"][0]["friend"], "bob");
    let waiting = |bob: &Node| bob.json(&["contact", "show", "alice"])["carry"]["waiting"].clone();
    assert_eq!(waiting(&bob), 1);
    alice.kill();
    bob.kill();
    bob.start();
    carol.start();
    wait_for("carol has it", PATIENCE, || (subjects(&carol) == ["By a friend"]).then_some(()));
    wait_for("bob's node has nothing to carry", PATIENCE, || (waiting(&bob) == 0).then_some(()));
    alice.start();
    wait_for("alice knows that it arrived", PATIENCE, || (state(&alice) == "delivered").then_some(()));
    assert_eq!(subjects(&carol), ["By a friend"], "once");
}

/// Carol is up, and nobody can see that: her onion is not published. She gives alice no receipts.
fn hidden(alice: &Node, carol: &mut Node) {
    assert_eq!(carol.json(&["identity", "set", "--listen", "never"])["listen"], "never");
    carol.json(&["contact", "set", "alice", "--receipts", "none"]);
    // It stays so, and a start does not wait for it.
    carol.kill();
    carol.start();
    assert_eq!(carol.json(&["status"])["identities"][0]["reachable"], false);
    wait_for("alice knows that there will be no receipts", PATIENCE, || {
        (alice.json(&["contact", "show", "carol"])["receipts"]["expected"] == false).then_some(())
    });
    alice.feed(&["send", "-t", "carol", "-s", "Are you there?", "-"], b"Nobody answers.\n");
    wait_for("carol has it", PATIENCE, || subjects(carol).contains(&"Are you there?".to_owned()).then_some(()));
    assert_eq!(alice.json(&["queue", "list"])["queue"][0]["state"], "held", "alice knows no more than that");
    carol.json(&["identity", "set", "--listen", "always"]);
    wait_for("her onion is there again", PATIENCE, || {
        (carol.json(&["status"])["identities"][0]["reachable"] == true).then_some(())
    });
    alice.json(&["queue", "retry"]);
    wait_for("alice reaches her", PATIENCE, || {
        alice.json(&["queue", "list"])["queue"].as_array().unwrap().is_empty().then_some(())
    });
    assert_eq!(subjects(carol).iter().filter(|subject| *subject == "Are you there?").count(), 1, "once");
}

fn first_contact(bob: &Node, mut carol: Node, mut dave: Node) {
    let invitation = carol.json(&["invite"])["invitation"].as_str().unwrap().to_owned();
    wait_for("her page is at bob's carrier", PATIENCE, || {
        (bob.json(&["carrier", "show"])["mailboxes"][0]["stored"] == 4096).then_some(())
    });
    carol.kill();
    dave.json(&["contact", "add", &invitation]);
    wait_for("dave's card is at bob's carrier", PATIENCE, || {
        (bob.json(&["carrier", "show"])["held"] == 1).then_some(())
    });
    dave.kill();
    carol.start();
    let confirmed = |node: &Node, other: &Node| {
        let wait = || (node.try_json(&["contact", "show", other.name()])?["status"] == "confirmed").then_some(());
        wait_for("they know each other", PATIENCE, wait);
    };
    confirmed(&carol, &dave);
    dave.start();
    confirmed(&dave, &carol);
    dave.feed(&["send", "-t", "carol", "-s", "Nice to meet you", "-"], b"At last.\n");
    wait_for("carol has it", PATIENCE, || subjects(&carol).contains(&"Nice to meet you".to_owned()).then_some(()));
}
