//! Backups with the real binary: made while mail arrives, read, put back elsewhere, and never beside the original.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::mail::{Imap, Login, Smtp, message};
use support::node::Node;
use support::{temp_dir, wait_for};

/// The file of a passphrase.
fn passphrase(dir: &Path, name: &str, text: &str) -> PathBuf {
    let file = dir.join(name);
    std::fs::write(&file, format!("{text}\n")).unwrap();
    file
}

fn subjects(node: &Node, folder: &str) -> BTreeSet<String> {
    let rows = node.json(&["ls", folder]);
    rows["messages"].as_array().unwrap().iter().map(|row| row["subject"].as_str().unwrap().to_owned()).collect()
}

fn uid_validity(node: &Node, login: &Login) -> u32 {
    let mut imap = Imap::open(node.port("imap"), login).unwrap();
    let answer = String::from_utf8(imap.run("STATUS INBOX (UIDVALIDITY)").unwrap()).unwrap();
    answer.split("UIDVALIDITY ").nth(1).unwrap().split(')').next().unwrap().parse().unwrap()
}

fn friends(peers: &Path) -> (Node, Node) {
    let (mut alice, mut bob) = (Node::loopback("alice", peers), Node::loopback("bob", peers));
    bob = bob.with_passphrase("of the node");
    alice.start();
    bob.start();
    bob.befriend(&alice);
    (alice, bob)
}

#[test]
fn a_backup_of_a_node_in_a_storm_holds_what_was_acknowledged_before() {
    let peers = temp_dir();
    let (alice, mut bob) = friends(peers.path());
    let (sending, receiving) = (Login::new(&alice, "storm"), Login::new(&bob, "storm"));
    let (to, port, imap) = (bob.address(), alice.port("submission"), bob.port("imap"));
    let stop = AtomicBool::new(false);
    let secret = passphrase(peers.path(), "secret", "of the backup");
    let (file, secret) = (peers.path().join("bob.runebackup"), secret.to_str().unwrap());
    let (before, validity) = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut smtp = Smtp::open(port, &sending).unwrap();
            for number in 0.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let text = "A storm comes up.\r\n".repeat(number % 40 * 100);
                let subject = format!("sent-{number:05}");
                smtp.submit(&to, &message(&sending.user, &to, &subject, &text)).unwrap();
            }
        });
        scope.spawn(|| {
            let mut client = Imap::open(imap, &receiving).unwrap();
            for number in 0.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                // Every tenth has a file of its own.
                let text = "Put away.\r\n".repeat(if number % 10 == 0 { 110_000 } else { 50 });
                let subject = format!("saved-{number:05}");
                client.append("Archive", &message(&to, &to, &subject, &text)).unwrap();
            }
        });
        wait_for("the storm", Duration::from_secs(60), || (subjects(&bob, "INBOX").len() > 30).then_some(()));
        let before = (subjects(&bob, "INBOX"), subjects(&bob, "Archive"));
        let made = bob.json(&["backup", "create", file.to_str().unwrap(), "--passphrase-file", secret]);
        assert_eq!(made["bytes"], file.metadata().unwrap().len());
        stop.store(true, Ordering::Relaxed);
        (before, uid_validity(&bob, &receiving))
    });
    let node_secret = passphrase(peers.path(), "node", "of the node");
    let node_secret = node_secret.to_str().unwrap();
    let verify = ["backup", "verify", file.to_str().unwrap(), "--passphrase-file", secret, "--node-passphrase-file"];
    let checked = bob.json(&[&verify[..], &[node_secret]].concat());
    assert!(checked["identities"][0]["messages"].as_u64().unwrap() >= (before.0.len() + before.1.len()) as u64);
    let status = bob.json(&["status"]);
    assert!(status["backup"]["last"].is_string() && status["backup"]["verified"].is_string(), "{status}");
    assert!(!std::fs::read(&file).unwrap().windows(6).any(|window| window == b"saved-"), "nothing of it is readable");

    // The original runs: the copy refuses.
    let mut copy = Node::loopback("bob", peers.path()).with_passphrase("of the node");
    copy.json(&["backup", "restore", file.to_str().unwrap(), "--passphrase-file", secret]);
    copy.spawn();
    assert_eq!(copy.wait_for_end().code(), Some(75));
    assert!(copy.words().contains("original"), "{}", copy.words());
    bob.terminate();
    copy.start();
    let (inbox, archive) = (subjects(&copy, "INBOX"), subjects(&copy, "Archive"));
    let lost: Vec<_> = before.0.difference(&inbox).chain(before.1.difference(&archive)).collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert!(inbox.contains("This mailbox was restored from a backup"));
    assert_eq!(copy.address(), to);
    assert!(uid_validity(&copy, &receiving) > validity, "mail programs begin anew, with the same password");
    // It is a node like any other, also after its next start.
    copy.restart_after_kill();
    let mut smtp = Smtp::open(port, &sending).unwrap();
    smtp.submit(&to, &message(&sending.user, &to, "to the copy", "")).unwrap();
    wait_for("mail for the copy", Duration::from_secs(60), || {
        subjects(&copy, "INBOX").contains("to the copy").then_some(())
    });
    let notices = copy.json(&["ls"])["messages"].as_array().unwrap().clone();
    let told = notices.iter().filter(|row| row["subject"] == "This mailbox was restored from a backup").count();
    assert_eq!(told, 1, "it is told once");
}

#[test]
fn mistakes_are_refused_with_the_way_out() {
    let peers = temp_dir();
    let (_, mut bob) = friends(peers.path());
    let secret = passphrase(peers.path(), "secret", "right");
    let wrong = passphrase(peers.path(), "wrong", "wrong");
    let (secret, wrong) = (secret.to_str().unwrap(), wrong.to_str().unwrap());
    let file = peers.path().join("a");
    let file = file.to_str().unwrap();
    let fails = |node: &Node, arguments: &[&str], code: i32, words: &str| {
        let output = node.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    };
    fails(&bob, &["backup", "create", file], 5, "--passphrase-file");
    // Without a daemon as well.
    bob.terminate();
    bob.json(&["backup", "create", file, "--passphrase-file", secret]);
    fails(&bob, &["backup", "create", file, "--passphrase-file", secret], 2, "exists already");
    fails(&bob, &["backup", "verify", file, "--passphrase-file", wrong], 5, "passphrase of the backup is wrong");
    let verify = ["backup", "verify", file, "--passphrase-file", secret];
    fails(&bob, &verify, 5, "--node-passphrase-file");
    fails(&bob, &[&verify[..], &["--node-passphrase-file", wrong]].concat(), 5, "passphrase of the node is wrong");
    fails(&bob, &["backup", "restore", file, "--passphrase-file", secret], 1, "empty directory");
    fails(&bob, &["backup", "verify", "/dev/null", "--passphrase-file", secret], 1, "no backup of runepeer");
    // Half of a node is none.
    std::fs::write(bob.data().join("restoring"), "").unwrap();
    fails(&bob, &["backup", "create", &format!("{file}2"), "--passphrase-file", secret], 1, "backup restore");
    let nobody = Node::loopback("nobody", peers.path());
    fails(&nobody, &["backup", "create", &format!("{file}2"), "--passphrase-file", secret], 4, "--data-dir");
}
