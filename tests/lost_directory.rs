//! A data directory that goes away, or back in time, under the real binary.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use support::mail::{Imap, Login, Smtp, message};
use support::node::Node;
use support::{temp_dir, wait_for};

fn friends(peers: &Path) -> (Node, Node) {
    let (mut alice, mut bob) = (Node::loopback("alice", peers), Node::loopback("bob", peers));
    alice.start();
    bob.start();
    bob.befriend(&alice);
    (alice, bob)
}

fn send(from: &Node, to: &str, subject: &str) {
    let login = Login::new(from, subject);
    let mut smtp = Smtp::open(from.port("submission"), &login).unwrap();
    smtp.submit(to, &message(&login.user, to, subject, "text")).unwrap();
}

fn waits(node: &Node) -> usize {
    node.json(&["queue", "list"])["queue"].as_array().unwrap().len()
}

fn subjects(node: &Node, folder: &str) -> Vec<String> {
    let rows = node.json(&["ls", folder]);
    rows["messages"].as_array().unwrap().iter().map(|row| row["subject"].as_str().unwrap().to_owned()).collect()
}

fn uid_validity(node: &Node, login: &Login) -> u32 {
    let mut imap = Imap::open(node.port("imap"), login).unwrap();
    let answer = String::from_utf8(imap.run("STATUS INBOX (UIDVALIDITY)").unwrap()).unwrap();
    answer.split("UIDVALIDITY ").nth(1).unwrap().split(')').next().unwrap().parse().unwrap()
}

/// The directory of the only identity.
fn identity(node: &Node) -> PathBuf {
    let mut all = std::fs::read_dir(node.data()).unwrap().map(|entry| entry.unwrap().path());
    all.find(|path| path.join("log").is_dir()).unwrap()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    std::fs::set_permissions(to, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn no_mail_is_acknowledged_into_a_directory_that_is_gone() {
    let lose: [fn(&Path); 4] = [
        |data| std::fs::remove_dir_all(data).unwrap(),
        |data| std::fs::rename(data, data.with_extension("moved")).unwrap(),
        |data| {
            std::fs::rename(data, data.with_extension("moved")).unwrap();
            copy(&data.with_extension("moved"), data);
        },
        |data| std::fs::remove_file(data.join("lock")).unwrap(),
    ];
    for (number, lose) in lose.into_iter().enumerate() {
        let peers = temp_dir();
        let (alice, mut bob) = friends(peers.path());
        let to = bob.address();
        let _ = std::fs::remove_file(bob.data().join("control.sock"));
        lose(&bob.data());
        // Mail that comes within the second until the node notices is what this is about.
        send(&alice, &to, "after");
        let ended = bob.wait_for_end();
        assert_eq!(ended.code(), Some(1), "way {number}");
        assert!(bob.words().contains("the data directory of this node is gone"), "way {number}: {}", bob.words());
        if number != 3 {
            assert_eq!(waits(&alice), 1, "way {number}: its sender heard of a delivery");
        }
    }
}

#[test]
fn an_older_copy_of_a_mailbox_is_treated_as_a_restore_once() {
    let peers = temp_dir();
    let (alice, mut bob) = friends(peers.path());
    let (to, login) = (bob.address(), Login::new(&bob, "test"));
    bob.terminate();
    let (old, there) = (peers.path().join("old"), identity(&bob));
    copy(&there, &old);
    bob.start();
    let before = uid_validity(&bob, &login);
    send(&alice, &to, "lost");
    wait_for("the mail", Duration::from_secs(30), || {
        subjects(&bob, "INBOX").contains(&"lost".to_owned()).then_some(())
    });
    bob.terminate();
    std::fs::remove_dir_all(&there).unwrap();
    copy(&old, &there);
    bob.start();
    let told =
        |bob: &Node| subjects(bob, "INBOX").iter().filter(|it| *it == "This mailbox is older than it was").count();
    assert_eq!(told(&bob), 1);
    assert!(!subjects(&bob, "INBOX").contains(&"lost".to_owned()));
    let after = uid_validity(&bob, &login);
    assert!(after > before, "a UID means another message now");
    bob.restart_after_kill();
    assert_eq!((told(&bob), uid_validity(&bob, &login)), (1, after), "it is told once");
    send(&alice, &to, "new");
    wait_for("mail again", Duration::from_secs(30), || {
        subjects(&bob, "INBOX").contains(&"new".to_owned()).then_some(())
    });
}

#[test]
fn names_that_are_not_utf_8_are_names() {
    use std::os::unix::ffi::OsStrExt;
    let peers = temp_dir();
    let odd = |name: &[u8]| peers.path().join(std::ffi::OsStr::from_bytes(name));
    let run = |data: &Path, arguments: &[&std::ffi::OsStr]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_runepeer"));
        command.args(["--no-input", "--json", "--data-dir"]).arg(data).args(arguments);
        let output = support::programs::run(command, b"");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    };
    let mut node = Node::loopback("alice", peers.path());
    node.start();
    let (secret, backup, restored) = (odd(b"secret\xff"), odd(b"backup\xff"), odd(b"data\xff"));
    std::fs::write(&secret, "of the backup\n").unwrap();
    let words = |words: &[&'static str]| words.iter().map(|word| std::ffi::OsStr::new(*word)).collect::<Vec<_>>();
    let with = |first: &[&'static str]| {
        let mut all = words(first);
        all.extend([backup.as_os_str(), std::ffi::OsStr::new("--passphrase-file"), secret.as_os_str()]);
        all
    };
    run(&node.data(), &with(&["backup", "create"]));
    run(&node.data(), &with(&["backup", "verify"]));
    run(&restored, &with(&["backup", "restore"]));
    run(&restored, &words(&["config", "path"]));
    run(&restored, &words(&["repair", "--check"]));
}
