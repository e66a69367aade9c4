//! What people do with each other in the stories of several nodes, by the command line and as a mail program does it.

use std::time::Duration;

use serde_json::Value;

use super::mail::{Imap, Login};
use super::node::Node;
use super::wait_for;

/// What happens between nodes that run takes seconds; the rest is for a busy machine, and for Tor.
pub(crate) const SOON: Duration = Duration::from_secs(120);

/// The requests that wait at a node for a decision of its user.
pub(crate) fn requests(node: &Node) -> Vec<Value> {
    node.json(&["request", "list"])["requests"].as_array().unwrap().clone()
}

/// A request of this kind that waits at a node, by somebody.
pub(crate) fn waits(node: &Node, kind: &str, from: &str) -> Value {
    wait_for(&format!("a request at {}", node.name()), SOON, || {
        requests(node).into_iter().find(|it| it["kind"] == kind && it["from"] == from)
    })
}

/// Accepts or rejects a request.
pub(crate) fn decide(node: &Node, word: &str, request: &Value) {
    node.json(&["request", word, request["id"].as_str().unwrap()]);
}

/// What somebody is to a node; nothing where the node does not know that petname.
pub(crate) fn status(node: &Node, petname: &str) -> String {
    let shown = node.try_json(&["contact", "show", petname]).unwrap_or_default();
    shown["status"].as_str().unwrap_or_default().to_owned()
}

/// Waits until somebody is a contact.
pub(crate) fn knows(node: &Node, petname: &str) {
    wait_for(&format!("{} to know {petname}", node.name()), SOON, || {
        (status(node, petname) == "confirmed").then_some(())
    });
}

/// Whether a message with this subject is in INBOX.
pub(crate) fn has(node: &Node, subject: &str) -> bool {
    let inbox = node.json(&["ls"]);
    inbox["messages"].as_array().unwrap().iter().any(|message| message["subject"] == subject)
}

/// Waits for such a message.
pub(crate) fn gets(node: &Node, subject: &str) {
    wait_for(&format!("{subject:?} at {}", node.name()), SOON, || has(node, subject).then_some(()));
}

/// Sends a message of one line.
pub(crate) fn send(node: &Node, to: &str, subject: &str) {
    node.feed(&["send", "--to", to, "--subject", subject], b"Hello.\n");
}

/// The text of an invitation that is made so.
pub(crate) fn invitation(node: &Node, how: &[&str]) -> String {
    let made = node.json(&[&["invite"], how].concat());
    made["invitation"].as_str().unwrap().to_owned()
}

/// Moves everything in Requests to INBOX, as a mail program does.
pub(crate) fn accept_by_moving(node: &Node) {
    let mut program =
        Imap::open(node.port("imap"), &Login::new(node, &format!("laptop {}", requests(node).len()))).unwrap();
    program.run("SELECT Requests").unwrap();
    program.run("MOVE 1:* INBOX").unwrap();
}

/// One asks whether it may introduce two others.
pub(crate) fn introduce(by: &Node, guest: &str, host: &str, text: &str) {
    by.json(&["contact", "introduce", guest, host, "--text", text]);
}
