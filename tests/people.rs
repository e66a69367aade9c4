//! People from the command line: a contact is verified by a number that both compare.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use serde_json::Value;
use support::node::Node;
use support::temp_dir;
use support::terminal::Terminal;

/// Two nodes that run, each a contact of the other.
fn friends(peers: &std::path::Path) -> (Node, Node) {
    let (mut alice, mut bob) = (Node::loopback("alice", peers), Node::loopback("bob", peers));
    alice.start();
    bob.start();
    alice.befriend(&bob);
    (alice, bob)
}

/// The words of a command that succeeds, on standard output.
fn words(node: &Node, arguments: &[&str]) -> String {
    let output = node.run(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn both_see_one_number_and_the_mark_stays_until_the_contact_is_removed() {
    let peers = temp_dir();
    let (mut alice, bob) = friends(peers.path());
    let seen = alice.json(&["contact", "verify", "bob"]);
    let number = seen["number"].as_str().unwrap().to_owned();
    assert_eq!(bob.json(&["contact", "verify", "alice"])["number"], number);
    let groups: Vec<&str> = number.split(' ').collect();
    assert!(groups.len() == 8 && groups.iter().all(|group| group.len() == 5), "{number}");
    assert_eq!(words(&alice, &["contact", "verify", "bob"]).trim_end(), number, "the data is the number alone");
    // Nobody could be asked, so nothing was marked.
    assert_eq!(seen["verified_at"], Value::Null);
    assert_eq!(alice.json(&["contact", "show", "bob"])["verified_at"], Value::Null);
    assert!(words(&alice, &["contact", "show", "bob"]).contains("not verified"));

    let marked = alice.json(&["--yes", "contact", "verify", "bob"]);
    assert_eq!(marked["number"], number);
    let at = marked["verified_at"].as_str().unwrap().to_owned();
    assert!(words(&alice, &["contact", "list"]).contains("confirmed  verified"));
    assert!(words(&alice, &["contact", "show", "bob"]).contains(&format!("you verified them: {at}")));
    assert_eq!(
        bob.json(&["contact", "show", "alice"])["verified_at"],
        Value::Null,
        "the mark leaves the node in no form"
    );
    alice.restart_after_kill();
    assert_eq!(alice.json(&["contact", "list"])["contacts"][0]["verified_at"], at);

    alice.json(&["--yes", "contact", "rm", "bob"]);
    bob.json(&["--yes", "contact", "rm", "alice"]);
    alice.befriend(&bob);
    assert_eq!(alice.json(&["contact", "show", "bob"])["verified_at"], Value::Null);
    assert_eq!(alice.json(&["contact", "verify", "bob"])["number"], number, "the keys are the same");
}

#[test]
fn at_a_terminal_the_answer_marks_a_contact_or_takes_the_mark_away_and_enter_leaves_it() {
    const QUESTION: &str = "Is it the same at both sides?";
    let peers = temp_dir();
    let (alice, _bob) = friends(peers.path());
    let data = alice.data().display().to_string();
    let number = alice.json(&["contact", "verify", "bob"])["number"].as_str().unwrap().to_owned();
    let is_marked = || alice.json(&["contact", "show", "bob"])["verified_at"] != Value::Null;
    for (answer, told, marked) in [
        ("", "Nothing was changed.", false),
        ("y", "bob is marked as verified.", true),
        ("", "Nothing was changed.", true),
        ("No", "bob is not marked as verified.", false),
    ] {
        let mut terminal = Terminal::run(&["--data-dir", &data, "contact", "verify", "bob"]);
        terminal.sees(&number);
        terminal.sees(QUESTION);
        if marked {
            terminal.types("perhaps");
            terminal.sees("Answer with y or n");
        }
        terminal.types(answer);
        terminal.sees(told);
        assert!(terminal.ends().success());
        assert_eq!(is_marked(), marked, "{answer:?}");
    }
    // A question that is left changes nothing.
    let mut terminal = Terminal::run(&["--data-dir", &data, "contact", "verify", "bob"]);
    terminal.sees(QUESTION);
    terminal.presses(b"\x03");
    assert!(!terminal.ends().success() && !is_marked());
}
