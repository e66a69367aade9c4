//! Invitations on the command line: what they say, whom they are for, and links to them that are clicked.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use std::process::{Command, Output};
use std::time::Duration;

use support::node::Node;
use support::programs::run_with_typed;
use support::{temp_dir, wait_for};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Opens a link in a terminal, and types this.
fn opened(node: &Node, link: &str, typed: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runepeer"));
    command.arg("--data-dir").arg(node.data()).args(["invite", "open", "--", link]);
    run_with_typed(command, typed.as_bytes())
}

#[test]
fn an_invitation_says_until_when_and_how_often_it_works() {
    let peers = temp_dir();
    let mut alice = Node::loopback("alice", peers.path());
    alice.start();
    let once = said(&alice.run(&["invite"]));
    assert!(once.contains("works once, until 20") && once.contains(" UTC (7 days)."), "{once}");
    let soon = said(&alice.run(&["invite", "--expires", "12h"]));
    assert!(soon.contains(" UTC (12 hours)."), "{soon}");
    let many = said(&alice.run(&["invite", "--public", "--expires", "4w"]));
    assert!(many.contains("Many may use this text until 20") && many.contains("(28 days)"), "{many}");
    assert!(many.contains("Requests"), "{many}");
    let made = alice.json(&["invite", "--public"]);
    assert!(
        made["uses"].is_null() && made["for"].is_null() && made["expires_at"].as_str().unwrap().ends_with(":00:00Z")
    );
    assert!(said(&alice.run(&["--quiet", "invite"])).is_empty());
    assert!(alice.run(&["carrier", "enable"]).status.success());
    let place = said(&alice.run(&["carrier", "invite"]));
    assert!(place.contains("once, until 20") && place.contains("(7 days)"), "{place}");
}

#[test]
fn an_invitation_for_somebody_makes_a_contact_of_that_name() {
    let peers = temp_dir();
    let (mut alice, mut bob) = (Node::loopback("alice", peers.path()), Node::loopback("rob", peers.path()));
    alice.start();
    bob.start();
    assert_eq!(alice.run(&["invite", "--for", "bob", "--public"]).status.code(), Some(2));
    let refused = alice.run(&["invite", "--for", "two words"]);
    assert!(!refused.status.success() && said(&refused).contains("letters"), "{}", said(&refused));
    let made = alice.json(&["invite", "--for", "bob"]);
    assert_eq!(made["for"], "bob");
    assert_eq!(alice.json(&["invite", "list"])["invitations"][0]["for"], "bob");
    let listed = String::from_utf8(alice.run(&["invite", "list"]).stdout).unwrap();
    assert!(listed.trim_end().ends_with("  for bob"), "{listed}");
    assert!(bob.run(&["contact", "add", made["invitation"].as_str().unwrap()]).status.success());
    let named = || alice.try_json(&["contact", "show", "bob"]).filter(|bob| bob["status"] == "confirmed");
    let contact = wait_for("bob is a contact", Duration::from_secs(60), named);
    assert_eq!(contact["address"], bob.address(), "who calls himself rob");
}

#[test]
fn an_invitation_for_a_name_that_is_taken_says_what_its_user_becomes_and_what_to_do() {
    let peers = temp_dir();
    let (mut alice, mut bob) = (Node::loopback("alice", peers.path()), Node::loopback("bob", peers.path()));
    alice.start();
    bob.start();
    let invite = |name: &str| said(&alice.run(&["invite", "--for", name]));
    assert!(!invite("carol").contains("Note:"));
    let own = invite("Alice");
    assert!(own.contains("Alice is your own name: whoever uses this becomes Alice-2"), "{own}");
    // Two invitations for one name are open.
    let first = alice.json(&["invite", "--for", "bob"]);
    assert!(first["name_taken"].is_null(), "{first}");
    let second = invite("BOB");
    assert!(second.contains("another invitation for BOB is open"), "{second}");
    assert!(bob.run(&["contact", "add", first["invitation"].as_str().unwrap()]).status.success());
    let named = || alice.try_json(&["contact", "show", "bob"]).filter(|bob| bob["status"] == "confirmed");
    wait_for("bob is a contact", Duration::from_secs(60), named);
    let taken = invite("bob");
    for part in [
        "you have a contact bob already: whoever uses this becomes bob-2 in your address book",
        "runepeer invite revoke",
        "runepeer contact rename bob-2 NAME",
    ] {
        assert!(taken.contains(part), "{taken}");
    }
    // What is said comes true.
    let made = alice.json(&["invite", "--for", "bob"]);
    assert!(made["name_taken"].as_str().unwrap().contains("becomes bob-2"), "{made}");
    let mut dave = Node::loopback("dave", peers.path());
    dave.start();
    assert!(dave.run(&["contact", "add", made["invitation"].as_str().unwrap()]).status.success());
    let named = || alice.try_json(&["contact", "show", "bob-2"]).filter(|dave| dave["status"] == "confirmed");
    let contact = wait_for("dave is a contact", Duration::from_secs(60), named);
    assert_eq!(contact["address"], dave.address());
}

#[test]
fn a_link_adds_nobody_before_its_reader_agrees() {
    let peers = temp_dir();
    let (mut alice, mut bob) = (Node::loopback("alice", peers.path()), Node::loopback("bob", peers.path()));
    alice.start();
    bob.start();
    let link = alice.json(&["invite"])["invitation"].as_str().unwrap().to_owned();
    let known = || bob.json(&["contact", "list"])["contacts"].as_array().unwrap().len();

    // Where nobody can be asked.
    let unasked = bob.run(&["invite", "open", "--", &link]);
    assert_eq!(unasked.status.code(), Some(2));
    assert!(said(&unasked).contains(&alice.address()), "{}", said(&unasked));
    assert_eq!(known(), 0);
    // Enter alone is no.
    let refused = opened(&bob, &link, "\n\n");
    let shown = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{shown}");
    assert!(shown.contains(&format!("This invitation is from {}", alice.address())), "{shown}");
    assert!(shown.contains("nothing was changed") && shown.contains("Press Enter to close this."), "{shown}");
    assert_eq!(known(), 0);
    // A link may hold anything: it is one argument, and means nothing to a shell.
    let broken = opened(&bob, "rune:$(touch evil);`id` --yes", "\n");
    assert_eq!(broken.status.code(), Some(2), "{}", String::from_utf8_lossy(&broken.stdout));
    let agreed = opened(&bob, &link, "y\n\n");
    assert!(agreed.status.success(), "{}", String::from_utf8_lossy(&agreed.stdout));
    assert_eq!(known(), 1);

    // The other kind of link rents a box, and asks as well.
    assert!(alice.run(&["carrier", "enable"]).status.success());
    let made = alice.json(&["carrier", "invite"]);
    let link = made["invitations"][0]["invitation"].as_str().unwrap();
    let boxes = || bob.json(&["carrier", "list"])["carriers"].as_array().unwrap().len();
    let refused = opened(&bob, link, "n\n\n");
    assert!(!refused.status.success() && boxes() == 0, "{}", String::from_utf8_lossy(&refused.stdout));
    let agreed = opened(&bob, link, "y\n\n");
    assert!(agreed.status.success() && boxes() == 1, "{}", String::from_utf8_lossy(&agreed.stdout));
}

#[test]
fn an_invitation_is_read_from_the_picture_of_its_code_for_a_contact_and_for_a_box() {
    let peers = temp_dir();
    let (mut alice, mut bob) = (Node::loopback("alice", peers.path()), Node::loopback("bob", peers.path()));
    alice.start();
    bob.start();
    let file = |name: &str| peers.path().join(name).display().to_string();
    let picture = file("code.png");
    assert!(alice.run(&["invite", "--png", &picture]).status.success());
    // What is no picture of one invitation is refused, says why, and adds nobody.
    std::fs::write(file("text.png"), "rune:").unwrap();
    std::fs::write(file("bomb.png"), b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x7f\xff\xff\xff\x7f\xff\xff\xff").unwrap();
    for (path, why) in [("text.png", "no PNG"), ("bomb.png", "cannot be read"), ("gone.png", "cannot read")] {
        let refused = bob.run(&["contact", "add", "--qr", &file(path)]);
        assert!(!refused.status.success() && said(&refused).contains(why), "{path}: {}", said(&refused));
    }
    assert_eq!(bob.run(&["contact", "add", "rune:", "--qr", &picture]).status.code(), Some(2), "one or the other");
    let kind = bob.run(&["carrier", "add", "--qr", &picture]);
    assert!(!kind.status.success(), "an invitation of the other kind: {kind:?}");

    let added = bob.json(&["contact", "add", "--qr", &picture]);
    assert_eq!(added["address"], alice.address());
    let known = || alice.try_json(&["contact", "show", "bob"]).filter(|bob| bob["status"] == "confirmed");
    wait_for("bob is a contact", Duration::from_secs(60), known);
    // From standard input, as a program that takes screenshots gives it.
    let mut carol = Node::loopback("carol", peers.path());
    carol.start();
    assert!(alice.run(&["invite", "--png", &picture]).status.success());
    let added = carol.feed(&["contact", "add", "--qr", "-"], &std::fs::read(&picture).unwrap());
    assert!(added.status.success(), "{added:?}");
}
