//! A disk that changed what was written to it, under the real binary: named, told, put aside, and never in silence.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use support::mail::{Imap, Login, Smtp, message};
use support::node::Node;
use support::{temp_dir, wait_for};

const MESSAGES: usize = 12;

/// A node with messages, stopped; among them one with a file of its own.
fn node(peers: &Path) -> (Node, Login) {
    let mut node = Node::loopback("alice", peers);
    node.start();
    let login = Login::new(&node, "test");
    let mut imap = Imap::open(node.port("imap"), &login).unwrap();
    for number in 0..MESSAGES {
        let text = "A line of text.\r\n".repeat(if number == 5 { 80_000 } else { 100 });
        let message = message(&login.user, &login.user, &format!("number-{number}"), &text);
        imap.append("Archive", &message).unwrap();
    }
    node.terminate();
    (node, login)
}

fn files(node: &Node, folder: &str, extension: Option<&str>) -> Vec<PathBuf> {
    files_in(&identity(node), folder, extension)
}

fn identities(node: &Node) -> Vec<PathBuf> {
    let all = std::fs::read_dir(node.data()).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.join("log").is_dir()).collect()
}

fn identity(node: &Node) -> PathBuf {
    identities(node).remove(0)
}

fn files_in(identity: &Path, folder: &str, extension: Option<&str>) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(identity.join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| extension.is_none_or(|wanted| path.extension().is_some_and(|found| found == wanted)))
        .collect();
    found.sort();
    found
}

fn damage(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 0x55;
    std::fs::write(path, bytes).unwrap();
}

fn uid_validity(node: &Node, login: &Login) -> String {
    let mut imap = Imap::open(node.port("imap"), login).unwrap();
    let answer = String::from_utf8(imap.run("STATUS Archive (UIDVALIDITY)").unwrap()).unwrap();
    answer.split("UIDVALIDITY ").nth(1).unwrap().split(')').next().unwrap().to_owned()
}

fn subjects(node: &Node, folder: &str) -> Vec<String> {
    let rows = node.json(&["ls", folder]);
    rows["messages"].as_array().unwrap().iter().map(|row| row["subject"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_damaged_message_is_named_and_put_aside_and_the_others_stay() {
    let peers = temp_dir();
    let (mut node, login) = node(peers.path());
    assert_eq!(node.json(&["repair"])["findings"].as_array().unwrap().len(), 0, "nothing is wrong");
    damage(&files(&node, "blob", None)[0], 700_000);

    // The daemon starts, shows the others, and says which one it cannot show.
    node.start();
    let mut imap = Imap::open(node.port("imap"), &login).unwrap();
    imap.run("SELECT Archive").unwrap();
    assert!(imap.body(6).is_err());
    let mut imap = Imap::open(node.port("imap"), &login).unwrap();
    imap.run("SELECT Archive").unwrap();
    assert!(String::from_utf8_lossy(&imap.body(7).unwrap()).contains("number-6"));
    wait_for("a message that says so", Duration::from_secs(10), || {
        subjects(&node, "INBOX").contains(&"A message is damaged on the disk".to_owned()).then_some(())
    });
    assert!(imap.body(6).is_err(), "told once");
    let before = uid_validity(&node, &login);
    let output = node.run(&["repair"]);
    assert_eq!(output.status.code(), Some(75), "not while the daemon runs");
    node.terminate();

    let looked = node.finds_damage();
    assert_eq!(looked["repaired"], false);
    let unreadable = &looked["findings"][0]["unreadable"];
    assert_eq!((&unreadable[0]["folder"], &unreadable[0]["uid"]), (&"Archive".into(), &6.into()), "{looked}");
    assert_eq!(node.run(&["repair"]).status.code(), Some(2), "not without consent");
    assert_eq!(node.json(&["repair", "--yes"])["repaired"], true);
    let kept: Vec<_> = std::fs::read_dir(node.data().join("corrupt")).unwrap().collect();
    assert_eq!(kept.len(), 1, "the file is kept as it was");
    assert_eq!(node.json(&["repair", "--check"])["findings"].as_array().unwrap().len(), 0);
    node.start();
    assert_eq!(uid_validity(&node, &login), before, "what mail programs know still holds");
    let left = subjects(&node, "Archive");
    assert_eq!(left.len(), MESSAGES - 1);
    assert!(!left.contains(&"number-5".to_owned()));
    let notices = subjects(&node, "INBOX");
    assert!(notices.contains(&"A part of this mailbox was damaged on the disk".to_owned()), "{notices:?}");
    assert_eq!(notices.iter().filter(|subject| *subject == "A message is damaged on the disk").count(), 1);
}

#[test]
fn a_damaged_log_stops_the_start_and_what_is_left_is_saved() {
    let peers = temp_dir();
    let (mut node, login) = node(peers.path());
    node.start();
    let before = uid_validity(&node, &login);
    node.terminate();
    let log = files(&node, "log", Some("seg")).pop().unwrap();
    let len = std::fs::metadata(&log).unwrap().len();
    // Near the end: the last messages with their records, before the mark of the clean stop.
    let len = usize::try_from(len).unwrap();
    (len - 2500..len - 400).for_each(|at| damage(&log, at));
    node.spawn();
    assert_eq!(node.wait_for_end().code(), Some(1));
    let said = node.words();
    assert!(said.contains("damaged") && said.contains(log.file_name().unwrap().to_str().unwrap()), "{said}");
    assert!(said.contains("runepeer repair") && said.contains("backup restore"), "{said}");

    let looked = node.finds_damage();
    assert!(looked["findings"][0]["damage"][0].as_str().unwrap().contains("bytes"), "{looked}");
    assert_eq!(node.json(&["repair", "--yes"])["repaired"], true);
    node.start();
    let left = subjects(&node, "Archive");
    assert!((MESSAGES - 2..MESSAGES).contains(&left.len()), "{left:?}");
    assert!(subjects(&node, "INBOX").contains(&"A part of this mailbox was damaged on the disk".to_owned()));
    assert_ne!(uid_validity(&node, &login), before, "a UID that is not known any more may have been told");
    let mut imap = Imap::open(node.port("imap"), &login).unwrap();
    imap.append("Archive", b"Subject: after\r\n\r\nafter\r\n").unwrap();
    node.restart_after_kill();
    assert!(subjects(&node, "Archive").contains(&"after".to_owned()));
}

#[test]
fn waiting_mail_that_cannot_be_read_is_shown_before_and_reported_afterwards() {
    let peers = temp_dir();
    let (mut alice, mut bob, mut carol) = (
        Node::loopback("alice", peers.path()),
        Node::loopback("bob", peers.path()),
        Node::loopback("carol", peers.path()),
    );
    for node in [&mut alice, &mut bob, &mut carol] {
        node.start();
    }
    bob.befriend(&alice);
    carol.befriend(&alice);
    let (to, copy) = (bob.address(), carol.address());
    bob.terminate();
    carol.terminate();
    let login = Login::new(&alice, "test");
    // Large enough for a file of its own; carol gets a copy of which bob is not told.
    let mail = message(&login.user, &to, "will be damaged", &"A line of text.\r\n".repeat(80_000));
    let mut smtp = Smtp::open(alice.port("submission"), &login).unwrap();
    smtp.submit_to(&[&to, &copy], &mail).unwrap();
    alice.terminate();
    for blob in files(&alice, "blob", None) {
        damage(&blob, 700_000);
    }

    let looked = alice.finds_damage();
    let waiting = looked["findings"][0]["waiting"].as_array().unwrap();
    let recipients: u64 = waiting.iter().map(|one| one["recipients"].as_u64().unwrap()).sum();
    assert_eq!(recipients, 2, "{looked}");
    assert_eq!(alice.json(&["repair", "--yes"])["repaired"], true);
    alice.start();
    assert!(alice.json(&["queue", "list"])["queue"].as_array().unwrap().is_empty());
    let reports: Vec<_> = alice.json(&["ls"])["messages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["subject"] == "Your message was not delivered")
        .map(|row| String::from_utf8(alice.run(&["read", &row["uid"].to_string()]).stdout).unwrap())
        .collect();
    assert!([&to, &copy].iter().all(|address| reports.iter().any(|report| report.contains(*address))), "{reports:?}");
}

#[test]
fn what_can_be_saved_is_saved_beside_an_identity_that_cannot() {
    let peers = temp_dir();
    let (mut node, _) = node(peers.path());
    let first = identity(&node);
    node.start();
    node.json(&["identity", "new", "second"]);
    node.terminate();
    // The first can be repaired; the keys of the second are lost.
    damage(&files_in(&first, "blob", None)[0], 700_000);
    let second = identities(&node).into_iter().find(|path| *path != first).unwrap();
    damage(&files_in(&second, "log", Some("seg"))[0], 300);
    let output = node.run(&["--json", "repair", "--yes"]);
    assert_eq!(output.status.code(), Some(7));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("backup restore"), "{said}");
    assert_eq!(std::fs::read_dir(node.data().join("corrupt")).unwrap().count(), 1, "what was damaged of the first");
    let again = node.finds_damage();
    assert_eq!(again["findings"].as_array().unwrap().len(), 1, "the first is whole: {again}");
    assert!(again["findings"][0]["hopeless"].is_object(), "{again}");
}

#[test]
fn where_the_keys_are_lost_only_a_backup_helps_and_nothing_is_changed() {
    let peers = temp_dir();
    let (node, _) = node(peers.path());
    let first = files(&node, "log", Some("seg")).remove(0);
    damage(&first, 300);
    let before = std::fs::read(&first).unwrap();
    let output = node.run(&["repair", "--yes"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(7));
    assert!(said.contains("backup restore"), "{said}");
    assert_eq!(std::fs::read(&first).unwrap(), before);
}

#[test]
fn a_key_file_of_a_later_version_is_called_that_and_no_damage() {
    let peers = temp_dir();
    let (node, _) = node(peers.path());
    let keys = std::fs::read_dir(node.data().join("keys")).unwrap().map(|entry| entry.unwrap().path());
    // Encryption keys are no matter of a repair.
    let keys: Vec<PathBuf> = keys.filter(|path| path.extension().is_none_or(|end| end != "seal")).collect();
    assert_eq!(keys.len(), 3, "node, key file, identity: {keys:?}");
    for path in &keys {
        let whole = std::fs::read(path).unwrap();
        let mut bytes = whole.clone();
        bytes[8] = 2;
        // Its sum is made in another way.
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(path, bytes).unwrap();
        for arguments in [["repair", "--check"], ["repair", "--yes"]] {
            let output = node.run(&arguments);
            let said =
                [&output.stdout, &output.stderr].map(|words| String::from_utf8_lossy(words).into_owned()).concat();
            assert!(said.contains("a later version of runepeer made the key file"), "{}: {said}", path.display());
            assert!(said.contains("newer runepeer") && !said.contains("damaged"), "{}: {said}", path.display());
            assert_eq!(output.status.code(), Some(1), "{}: {said}", path.display());
        }
        std::fs::write(path, whole).unwrap();
    }
    node.json(&["repair", "--check"]);
}
