//! People from the command line: a contact is verified by a number that both compare, and exported, and commands know
//! which of several identities is meant.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use std::time::Duration;

use serde_json::Value;
use support::node::Node;
use support::terminal::Terminal;
use support::{temp_dir, wait_for};

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

#[test]
fn scripts_go_on_working_where_a_second_identity_is_made_and_the_first_is_the_default() {
    let peers = temp_dir();
    let mut alice = Node::loopback("alice", peers.path());
    alice.start();
    let identities = |node: &Node| -> Vec<(String, bool)> {
        let all = node.json(&["identity", "list"]);
        let of = |it: &Value| (it["name"].as_str().unwrap().to_owned(), it["default"].as_bool().unwrap());
        all["identities"].as_array().unwrap().iter().map(of).collect()
    };
    let meant = |node: &Node| node.json(&["identity", "show"])["name"].as_str().unwrap().to_owned();
    assert_eq!(identities(&alice), [("alice".to_owned(), true)], "the only one is meant");
    let made = alice.run(&["identity", "new", "work"]);
    assert!(
        made.status.success() && String::from_utf8_lossy(&made.stderr).contains("identity default NAME"),
        "{made:?}"
    );
    assert!(identities(&alice).iter().all(|(_, is_default)| !is_default));
    let refused = alice.run(&["ls"]);
    assert!(refused.status.code() == Some(2), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("runepeer identity default NAME"));

    assert!(words(&alice, &["identity", "default", "alice"]).contains("default"));
    assert_eq!(meant(&alice), "alice");
    assert_eq!(alice.json(&["-i", "work", "identity", "show"])["name"], "work");
    assert!(
        words(&alice, &["identity", "list"]).lines().any(|line| line.starts_with("alice") && line.ends_with("default"))
    );
    let third = alice.run(&["identity", "new", "--random"]);
    assert!(third.status.success() && !String::from_utf8_lossy(&third.stderr).contains("-i NAME"), "{third:?}");
    alice.restart_after_kill();
    assert_eq!(meant(&alice), "alice", "a start keeps the choice");
    assert_eq!(alice.json(&["identity", "default", "WORK"])["default"], true);
    assert_eq!(meant(&alice), "work");
    assert_eq!(identities(&alice).iter().filter(|(_, is_default)| *is_default).count(), 1);
    assert_eq!(alice.run(&["identity", "default", "zoe"]).status.code(), Some(4));

    // A backup has the choice, and what is noted names nobody.
    let note = std::fs::read_to_string(alice.data().join("default-identity")).unwrap();
    assert!(!note.contains("work") && alice.data().join(note.trim()).join("log").is_dir(), "{note:?}");
    let path = |name: &str| peers.path().join(name).display().to_string();
    std::fs::write(path("passphrase"), "lamp river onion desk\n").unwrap();
    let (file, secret, copy) = (path("backup"), path("passphrase"), Node::loopback("copy", peers.path()));
    alice.json(&["backup", "create", &file, "--passphrase-file", &secret]);
    copy.json(&["backup", "restore", &file, "--passphrase-file", &secret]);
    assert_eq!(std::fs::read_to_string(copy.data().join("default-identity")).unwrap(), note);

    // Where the default identity is gone, or the note is damaged, no other one is taken for it.
    for (written, code) in [("00".repeat(16), 4), ("work".to_owned(), 1)] {
        std::fs::write(alice.data().join("default-identity"), written).unwrap();
        let refused = alice.run(&["ls"]);
        assert_eq!(refused.status.code(), Some(code), "{refused:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("runepeer identity default NAME"), "{refused:?}");
        assert_eq!(alice.json(&["-i", "alice", "identity", "show"])["name"], "alice");
    }
    alice.json(&["identity", "default", "alice"]);
    assert_eq!(meant(&alice), "alice");
}

#[test]
fn a_random_name_is_made_up_where_none_is_given_and_only_then() {
    let peers = temp_dir();
    let mut alice = Node::loopback("alice", peers.path());
    alice.start();
    let names: Vec<String> =
        (0..2).map(|_| alice.json(&["identity", "new", "--random"])["name"].as_str().unwrap().to_owned()).collect();
    assert_ne!(names[0], names[1]);
    assert!(
        names.iter().all(|name| name.len() == 8 && name.bytes().all(|letter| letter.is_ascii_lowercase())),
        "{names:?}"
    );
    assert!(alice.json(&["-i", &names[1], "identity", "show"])["address"].as_str().unwrap().starts_with(&names[1]));
    for wrong in [&["identity", "new"][..], &["identity", "new", "work", "--random"]] {
        assert_eq!(alice.run(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn contacts_are_exported_as_text_and_vcards_and_with_nothing_that_is_secret() {
    let peers = temp_dir();
    let (alice, bob) = friends(peers.path());
    let mut carol = Node::loopback("carol", peers.path());
    carol.start();
    // Somebody who only asks is no contact.
    let poster = alice.json(&["invite", "--public"])["invitation"].as_str().unwrap().to_owned();
    carol.feed(&["contact", "add", "-", "--petname", "alice"], poster.as_bytes());
    wait_for("carol's request", Duration::from_secs(60), || {
        (alice.json(&["status"])["identities"][0]["requests"] == 1).then_some(())
    });
    alice.json(&["--yes", "contact", "verify", "bob"]);
    let (address, key) = (bob.address(), bob.json(&["identity", "show"])["fingerprint"].as_str().unwrap().to_owned());
    let text = words(&alice, &["contact", "export"]);
    assert!(text.starts_with("bob\n") && text.contains(&address) && text.contains(&key), "{text}");
    assert!(text.contains("verified 20") && !text.contains("carol"), "{text}");
    assert_eq!(words(&alice, &["contact", "export", "bob@rune.internal"]), text);

    let cards = words(&alice, &["contact", "export", "--vcard"]);
    assert!(
        cards.starts_with("BEGIN:VCARD\r\nVERSION:4.0\r\nFN:bob\r\nEMAIL:") && cards.ends_with("END:VCARD\r\n"),
        "{cards}"
    );
    let unfolded = cards.replace("\r\n ", "");
    assert!(unfolded.contains(&format!("EMAIL:{address}\r\n")) && unfolded.contains(&key), "{cards}");
    assert!(!cards.contains("carol") && words(&alice, &["contact", "export", "carol", "--vcard"]).contains("FN:carol"));
    assert_eq!(alice.json(&["contact", "export", "--vcard"])["vcards"], cards);
    let exported = alice.json(&["contact", "export"]);
    assert_eq!(exported["contacts"].as_array().unwrap().len(), 1);
    // The names of members are the interface; a new one has to be looked at here.
    let members: Vec<&str> = exported["contacts"][0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["address", "fingerprint", "petname", "verified_at"]);
    assert_eq!(alice.run(&["contact", "export", "zoe"]).status.code(), Some(4));
}

#[test]
fn contact_show_says_how_they_met_when_it_was_seen_and_where_mail_can_be_left() {
    let peers = temp_dir();
    let (mut alice, mut bob) = (Node::loopback("alice", peers.path()), Node::loopback("bob", peers.path()));
    alice.start();
    bob.start();
    let invitation = alice.json(&["invite", "--for", "robert"])["invitation"].as_str().unwrap().to_owned();
    bob.feed(&["contact", "add", "-", "--petname", "alice"], invitation.as_bytes());
    let shown = wait_for("both to know each other", Duration::from_secs(60), || {
        let shown = alice.try_json(&["contact", "show", "robert"])?;
        (shown["status"] == "confirmed" && bob.json(&["contact", "show", "alice"])["status"] == "confirmed")
            .then_some(shown)
    });
    assert_eq!(shown["invitation"]["label"], "robert");
    let steps = shown["provenance"].as_array().unwrap();
    assert!(steps.len() == 1 && steps[0].as_str().unwrap().ends_with(": they used your invitation"), "{steps:?}");
    let said = words(&alice, &["contact", "show", "robert"]);
    let made = shown["invitation"]["made_at"].as_str().unwrap();
    assert!(said.contains(&format!("you made that invitation {made}, for robert")), "{said}");
    let seen = shown["last_seen_at"].as_str().unwrap();
    assert!(said.contains(&format!("last seen {seen}")) && !said.contains("copies of what"), "{said}");
    assert!(
        (shown["duplicates"] == 0) && shown["carriers"].as_array().unwrap().is_empty() && shown["boxes"] == 0,
        "{shown}"
    );
    assert_eq!(bob.json(&["contact", "show", "alice"])["invitation"], Value::Null);

    let graph = words(&alice, &["contact", "graph"]);
    assert!(
        graph.starts_with("alice\n\u{2514}\u{2500} used an invitation of alice\n   \u{2514}\u{2500} robert  "),
        "{graph}"
    );
    let edges = bob.json(&["contact", "graph"]);
    assert!(edges["identity"] == "bob" && edges["edges"][0]["how"] == "invitation_used", "{edges}");

    // Bob rents a box at alice's carrier, and his card names it.
    alice.json(&["carrier", "enable"]);
    let onion = alice.json(&["carrier", "show"])["onion"].as_str().unwrap().to_owned();
    let place = alice.json(&["carrier", "invite"])["invitations"][0]["invitation"].as_str().unwrap().to_owned();
    bob.json(&["carrier", "add", &place, "--name", "alice"]);
    let told = wait_for("the box to be told", Duration::from_secs(120), || {
        let shown = alice.json(&["contact", "show", "robert"]);
        (shown["boxes"] == 1).then_some(shown)
    });
    assert_eq!(told["carriers"][0], onion.as_str());
    let said = words(&alice, &["contact", "show", "robert"]);
    assert!(said.contains(&format!("mail can be left for them at: {onion}")), "{said}");
}

#[test]
fn a_friend_who_began_anew_takes_the_place_of_before_with_the_name_and_the_mail_that_waits() {
    let peers = temp_dir();
    let (alice, mut bob) = friends(peers.path());
    alice.json(&["--yes", "contact", "verify", "bob"]);
    bob.kill();
    assert!(alice.feed(&["send", "--to", "bob", "--subject", "waits"], b"Text.\n").status.success());
    // Bob's disk is gone. His new node has another key and another address.
    let mut again = Node::loopback("bob", peers.path());
    again.start();
    let invitation = alice.json(&["invite", "--for", "bob-anew"])["invitation"].as_str().unwrap().to_owned();
    assert!(again.feed(&["contact", "add", "-", "--petname", "alice"], invitation.as_bytes()).status.success());
    wait_for("both to know each other", Duration::from_secs(60), || {
        let known = |node: &Node, who: &str| {
            node.try_json(&["contact", "show", who]).is_some_and(|it| it["status"] == "confirmed")
        };
        (known(&alice, "bob-anew") && known(&again, "alice")).then_some(())
    });

    let unasked = alice.run(&["contact", "replace", "bob", "--by", "bob-anew"]);
    assert_eq!(unasked.status.code(), Some(2), "{unasked:?}");
    assert!(alice.try_json(&["contact", "show", "bob-anew"]).is_some(), "nothing was changed");
    assert_eq!(alice.run(&["--yes", "contact", "replace", "bob", "--by", "zoe"]).status.code(), Some(4));
    assert!(!alice.run(&["--yes", "contact", "replace", "bob", "--by", "bob"]).status.success());

    let replaced = alice.run(&["--yes", "contact", "replace", "bob", "--by", "bob-anew"]);
    let said = String::from_utf8_lossy(&replaced.stderr).into_owned();
    assert!(replaced.status.success() && said.contains("1 message that waited will go to them"), "{said}");
    assert!(said.contains("compare the number anew"), "{said}");
    let shown = alice.json(&["contact", "show", "bob"]);
    assert!(shown["address"] == again.address() && shown["verified_at"].is_null(), "{shown}");
    assert_eq!(alice.json(&["contact", "list"])["contacts"].as_array().unwrap().len(), 1);
    wait_for("the message", Duration::from_secs(60), || {
        let inbox = again.json(&["ls"]);
        inbox["messages"].as_array().unwrap().iter().any(|message| message["subject"] == "waits").then_some(())
    });
    assert!(alice.json(&["queue", "list"])["queue"].as_array().unwrap().is_empty());
}

#[test]
fn knocks_are_switched_for_a_contact_and_for_an_identity() {
    let peers = temp_dir();
    let (mut alice, _bob) = friends(peers.path());
    assert_eq!(alice.json(&["contact", "show", "bob"])["knock"], true);
    assert_eq!(alice.json(&["contact", "set", "bob", "--knock", "off"])["knock"], false);
    assert!(words(&alice, &["contact", "show", "bob"]).contains("not shown when your node is back"));
    assert_eq!(alice.json(&["identity", "show"])["knock"], true);
    let set = alice.json(&["identity", "set", "--knock", "off"]);
    assert!(set["knock"] == false && set["listen"] == "always", "{set}");
    assert_eq!(alice.run(&["identity", "set"]).status.code(), Some(2), "something has to be said");
    alice.restart_after_kill();
    assert_eq!(alice.json(&["identity", "show"])["knock"], false);
    assert_eq!(alice.json(&["contact", "show", "bob"])["knock"], false);
    assert_eq!(alice.json(&["contact", "set", "bob", "--knock", "on"])["knock"], true);
    let both = alice.json(&["identity", "set", "--knock", "on", "--listen", "always"]);
    assert!(both["knock"] == true && both["listen"] == "always", "{both}");
}
