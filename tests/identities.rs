//! Identities from the command line: one is renamed, one is removed while the others go on, one is revoked.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use support::mail::{Imap, Login, Smtp, message};
use support::node::Node;
use support::terminal::Terminal;
use support::{temp_dir, wait_for};

const SOON: Duration = Duration::from_secs(60);

/// The names of a node's identities, the default one with a star.
fn names(node: &Node) -> Vec<String> {
    let all = node.json(&["identity", "list"]);
    let name = |it: &Value| {
        let star = if it["default"] == true { "*" } else { "" };
        format!("{}{star}", it["name"].as_str().unwrap())
    };
    let mut names: Vec<String> = all["identities"].as_array().unwrap().iter().map(name).collect();
    names.sort();
    names
}

/// The directories of a node's identities.
fn directories(node: &Node) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(node.data()).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().len() == 32 && path.is_dir()).collect()
}

#[test]
fn a_renamed_identity_keeps_its_address_its_contacts_and_the_logins_of_mail_programs() {
    let peers = temp_dir();
    let (mut alice, mut bob) = (Node::loopback("alice", peers.path()), Node::loopback("bob", peers.path()));
    alice.start();
    bob.start();
    alice.befriend(&bob);
    let (address, login) = (alice.address(), Login::new(&alice, "program"));
    assert!(login.user.starts_with("alice@"));
    let renamed = alice.json(&["identity", "rename", "alice", "work"]);
    assert!(renamed["name"] == "work" && renamed["address"] == address.as_str(), "{renamed}");
    assert_eq!(renamed["settings_of"], Value::Null);
    assert_eq!(names(&alice), ["work*"]);
    // By the address, by the new name, and by the part of the address that was the name.
    for user in [login.user.as_str(), "work", "alice"] {
        let login = Login { user: user.to_owned(), password: login.password.clone() };
        Imap::open(alice.port("imap"), &login).unwrap();
        assert_eq!(alice.json(&["-i", user, "identity", "show"])["address"], address.as_str(), "{user}");
    }
    let mut smtp = Smtp::open(alice.port("submission"), &login).unwrap();
    smtp.submit(&bob.address(), &message(&address, &bob.address(), "As before", "text")).unwrap();
    bob.feed(&["send", "-t", "alice", "-s", "An answer", "-"], b"text\n");
    for (node, subject) in [(&bob, "As before"), (&alice, "An answer")] {
        wait_for(subject, SOON, || node.json(&["ls", "INBOX"]).to_string().contains(subject).then_some(()));
    }
    alice.restart_after_kill();
    assert_eq!(names(&alice), ["work*"], "it is durable");

    // A name that another identity has, or that is none, is refused; the name that became free can be given again.
    alice.json(&["identity", "new", "alice"]);
    alice.json(&["identity", "default", "work"]);
    let second = alice.json(&["-i", "alice", "identity", "show"])["address"].as_str().unwrap().to_owned();
    assert!(second != address && second.starts_with("alice@"), "a name comes before the beginning of an address");
    for (to, code) in [("alice", 1), ("ALICE", 1), ("a b", 2), ("x", 2)] {
        let refused = alice.run(&["identity", "rename", "work", to]);
        assert_eq!(refused.status.code(), Some(code), "{to}: {refused:?}");
    }
    assert_eq!(alice.run(&["identity", "rename", "nobody", "else"]).status.code(), Some(4));
    alice.json(&["identity", "rename", "work", "Home"]);
    assert_eq!(names(&alice), ["alice", "home*"], "names are in lower case, and the default identity follows");
}

#[test]
fn a_table_of_settings_for_the_name_before_is_named() {
    let peers = temp_dir();
    let mut alice = Node::loopback("alice", peers.path());
    std::fs::write(alice.data().join("config.toml"), "[identity.alice]\nwelcome = \"Hello\"\n").unwrap();
    alice.start();
    let said = alice.run(&["identity", "rename", "alice", "work"]);
    let words = String::from_utf8(said.stderr).unwrap();
    assert!(words.contains("[identity.alice]") && words.contains("[identity.work]"), "{words}");
}

#[test]
fn a_removed_identity_is_gone_with_its_key_and_files_and_the_others_go_on() {
    let peers = temp_dir();
    let (mut alice, mut bob) = (Node::loopback("alice", peers.path()), Node::loopback("bob", peers.path()));
    alice.start();
    bob.start();
    alice.befriend(&bob);
    let login = Login::new(&alice, "program");
    let mut imap = Imap::open(alice.port("imap"), &login).unwrap();
    alice.json(&["identity", "new", "work"]);
    alice.json(&["identity", "default", "alice"]);
    let work = alice.json(&["-i", "work", "identity", "show"])["address"].as_str().unwrap().to_owned();
    let before = directories(&alice);
    assert_eq!(before.len(), 2);

    // Nobody is asked in a script, and nothing is done without --yes.
    let refused = alice.run(&["identity", "rm", "alice"]);
    assert!(refused.status.code() == Some(2) && String::from_utf8_lossy(&refused.stderr).contains("--yes"));
    assert_eq!(names(&alice), ["alice*", "work"]);

    let gone = alice.json(&["--yes", "identity", "rm", "alice"]);
    assert!(gone["name"] == "alice" && gone["contacts"] == 1 && gone["waiting"] == 0, "{gone}");
    // The only one that is left is meant by commands that name none.
    assert_eq!(names(&alice), ["work*"]);
    assert_eq!(alice.json(&["identity", "show"])["address"], work.as_str());
    let left = directories(&alice);
    assert!(left.len() == 1 && before.contains(&left[0]), "{left:?}");
    let removed = before.iter().find(|path| !left.contains(path)).unwrap();
    assert!(!alice.data().join("keys").join(removed.file_name().unwrap()).exists());
    // A session of a mail program ends, and its login is not one any more.
    assert!(imap.run("LIST \"\" \"*\"").is_err());
    assert!(Imap::open(alice.port("imap"), &login).is_err());
    // Its onion answers nobody.
    bob.feed(&["send", "-t", "alice", "-s", "Too late", "-"], b"text\n");
    wait_for("an attempt that fails", SOON, || {
        let queue = bob.json(&["queue", "list"]);
        queue.to_string().contains("does not answer").then_some(())
    });
    alice.restart_after_kill();
    assert_eq!(names(&alice), ["work*"]);
    assert_eq!(alice.run(&["identity", "rm", "alice"]).status.code(), Some(4));
    // The node goes on: it makes, uses and backs up others.
    alice.json(&["identity", "new", "alice"]);
    assert_eq!(names(&alice).len(), 2);
}

#[test]
fn before_a_removal_a_person_sees_what_goes_and_types_the_name() {
    let peers = temp_dir();
    let (mut alice, mut bob) = (Node::loopback("alice", peers.path()), Node::loopback("bob", peers.path()));
    alice.start();
    bob.start();
    alice.befriend(&bob);
    bob.terminate();
    alice.feed(&["send", "-t", "bob", "-s", "It waits", "-"], b"text\n");
    let (data, address) = (alice.data().display().to_string(), alice.address());
    let rm = ["--data-dir", &data, "identity", "rm", "alice"];
    for typed in ["yes", ""] {
        let mut terminal = Terminal::run(&rm);
        terminal.sees("1 message waits to be sent");
        terminal.sees("Type the name (alice)");
        terminal.types(typed);
        terminal.sees("nothing was changed");
        assert!(!terminal.ends().success());
        assert_eq!(names(&alice), ["alice*"], "{typed:?}");
    }
    let mut terminal = Terminal::run(&rm);
    terminal.sees("1 contact");
    terminal.sees("Type the name (alice)");
    terminal.types("alice");
    terminal.sees("cannot destroy");
    assert!(terminal.ends().success());
    assert_eq!(names(&alice), Vec::<String>::new());
    assert!(directories(&alice).is_empty());
    // A node without identities goes on, and can be given one: also by a start that names it, as an empty node can.
    alice.json(&["identity", "new", "again"]);
    assert_eq!(names(&alice), ["again*"]);
    alice.json(&["--yes", "identity", "rm", "again"]);
    alice.restart_after_kill();
    assert_eq!(names(&alice), ["alice*"]);
    assert_ne!(alice.address(), address, "nothing comes back");
}

#[test]
fn a_contact_that_was_away_learns_on_return_that_an_identity_was_revoked() {
    let peers = temp_dir();
    let nodes = ["alice", "bob", "carol"].map(|name| Node::loopback(name, peers.path()));
    let [mut alice, mut bob, mut carol] = nodes;
    for node in [&mut alice, &mut bob, &mut carol] {
        node.start();
    }
    alice.befriend(&bob);
    let poster = alice.json(&["invite", "--public"])["invitation"].as_str().unwrap().to_owned();
    bob.terminate();
    let file = temp_dir();
    let path = file.path().join("gone.json");
    let path = path.to_str().unwrap();

    // Nobody is asked in a script, and nothing is done without --yes.
    let refused = alice.run(&["identity", "revoke", "all", "--file", path]);
    assert!(refused.status.code() == Some(2) && !std::path::Path::new(path).exists(), "{refused:?}");
    let revoked = alice.json(&["--yes", "identity", "revoke", "all", "--file", path]);
    assert!(revoked["contacts"] == 1 && revoked["revoked"]["what"] == "address and key", "{revoked}");
    assert_eq!(std::fs::read_to_string(path).unwrap().trim_end(), revoked["statement"].as_str().unwrap());
    let untold = || alice.json(&["identity", "show"])["untold"].clone();
    assert_eq!(untold()[0], "bob");
    // It sends no mail, and says so.
    let send = alice.run(&["send", "-t", "bob", "-s", "x", "-"]);
    assert!(!send.status.success() && String::from_utf8_lossy(&send.stderr).contains("you revoked this identity"));
    assert!(alice.json(&["status"])["identities"][0]["problem"].as_str().unwrap().contains("it sends no mail"));
    let login = Login::new(&alice, "program");
    let mut smtp = Smtp::open(alice.port("submission"), &login).unwrap();
    let told = smtp.submit("bob@rune.internal", &message(&alice.address(), "bob@rune.internal", "x", "y"));
    assert!(told.unwrap_err().to_string().contains("550"), "a mail program is told so as well");

    bob.start();
    wait_for("bob to learn of it", Duration::from_secs(120), || {
        (bob.json(&["contact", "show", "alice"])["status"] == "revoked").then_some(())
    });
    wait_for("his acknowledgement", SOON, || untold().is_null().then_some(()));
    let shown = String::from_utf8(bob.run(&["contact", "show", "alice"]).stdout).unwrap();
    assert!(shown.contains("they revoked their address and key"), "{shown}");
    assert!(String::from_utf8(bob.run(&["contact", "list"]).stdout).unwrap().contains("  revoked"));
    let inbox = bob.json(&["ls", "INBOX"]).to_string();
    assert!(inbox.contains("A contact revoked its address or key"), "{inbox}");
    let refused = bob.run(&["send", "-t", "alice", "-s", "x", "-"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("has revoked this address"), "{said}");
    bob.restart_after_kill();
    assert_eq!(bob.json(&["contact", "show", "alice"])["status"], "revoked");

    // Somebody who is no contact has the file, and is kept from the poster. One that was changed is none.
    let changed = std::fs::read_to_string(path).unwrap().replacen("\"epoch\":1", "\"epoch\":2", 1);
    let changed_path = file.path().join("changed.json");
    std::fs::write(&changed_path, changed).unwrap();
    let refused = carol.run(&["contact", "revoked", changed_path.to_str().unwrap()]);
    assert!(refused.status.code() == Some(2), "{refused:?}");
    let taken = carol.json(&["contact", "revoked", path]);
    assert!(taken["what"] == "address and key" && taken["petname"].is_null(), "{taken}");
    let refused = carol.run(&["contact", "add", &poster]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("was revoked"), "{refused:?}");
}
