//! What lies on the disk: nothing readable, and nothing that cannot be rebuilt.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout
)]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use support::mail::{Imap, Login, Smtp, message};
use support::node::Node;
use support::{temp_dir, wait_for};

const SUBJECT: &str = "canary-subject-7f3a";
const BODY: &str = "canary-body-91c2 Grüße";
const FOLDER: &str = "canaryfolder";

/// Every file below a directory.
fn files(directory: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.is_file() {
            found.push(path);
        }
    }
}

/// Without regard to the case of ASCII letters.
fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(&haystack.to_ascii_lowercase(), &needle.to_ascii_lowercase()).is_some()
}

/// Three nodes with passphrases: alice has written to bob and carol.
fn three_nodes(peers: &Path) -> [Node; 3] {
    let mut nodes = ["canaryalice", "canarybob", "canarycarol"]
        .map(|name| Node::loopback(name, peers).with_passphrase("correct horse battery staple"));
    nodes.iter_mut().for_each(Node::start);
    for guest in &nodes[1..] {
        nodes[0].befriend(guest);
    }
    let login = Login::new(&nodes[0], "test");
    let mut smtp = Smtp::open(nodes[0].port("submission"), &login).unwrap();
    for guest in &nodes[1..] {
        let to = guest.address();
        smtp.submit(&to, &message(&login.user, &to, SUBJECT, BODY)).unwrap();
        // Large enough for a body of its own.
        smtp.submit(&to, &message(&login.user, &to, SUBJECT, &format!("{BODY}\r\n").repeat(60_000))).unwrap();
        wait_for("the mails", Duration::from_secs(60), || {
            let list = guest.json(&["ls"]);
            (list["messages"].as_array().unwrap().len() == 2).then_some(())
        });
    }
    nodes
}

#[test]
fn a_locked_data_directory_tells_nothing() {
    let peers = temp_dir();
    let mut nodes = three_nodes(peers.path());
    let mut needles: Vec<(&str, Vec<u8>)> = vec![
        ("subject", SUBJECT.into()),
        ("body", BODY.into()),
        ("body, without accents", b"canary-body-91c2".to_vec()),
        ("passphrase", b"correct horse battery staple".to_vec()),
        ("name", b"canaryalice".to_vec()),
        ("name", b"canarybob".to_vec()),
        ("name", b"canarycarol".to_vec()),
    ];
    for node in &nodes {
        let address = node.address();
        let onion: runepeer::base::Onion = address.split('@').nth(1).unwrap().parse().unwrap();
        needles.push(("address", address.into_bytes()));
        needles.push(("onion", onion.label().into_bytes()));
        needles.push(("onion key", onion.public_key().to_vec()));
        let fingerprint = node.json(&["identity", "show"])["fingerprint"].as_str().unwrap().to_owned();
        needles.push(("fingerprint", data_encoding::HEXUPPER.decode(fingerprint.as_bytes()).unwrap()));
        needles.push(("fingerprint in hexadecimal", fingerprint.into_bytes()));
    }
    // While they run and after they have stopped: both may be seized.
    for stopped in [false, true] {
        if stopped {
            nodes.iter_mut().for_each(|node| assert!(node.terminate().success()));
        }
        let mut searched = 0;
        for node in &nodes {
            let mut found = Vec::new();
            files(&node.data(), &mut found);
            for path in found {
                let bytes = std::fs::read(&path).unwrap();
                searched += bytes.len();
                for (what, needle) in &needles {
                    assert!(!contains(&bytes, needle), "{what} stands readable in {}", path.display());
                }
            }
            for (what, needle) in &needles {
                assert!(!contains(node.words().as_bytes(), needle), "the log of a node tells a {what}");
            }
        }
        assert!(searched > 3_000_000, "only {searched} bytes were searched");
    }
}

#[test]
fn nothing_that_a_node_makes_is_open_to_others() {
    let peers = temp_dir();
    let mut alice = Node::loopback("alice", peers.path());
    alice.start();
    let mut open = Vec::new();
    let mut looked_at = 0;
    let mut waiting = vec![alice.data(), peers.path().to_owned()];
    while let Some(path) = waiting.pop() {
        let meta = path.symlink_metadata().unwrap();
        looked_at += 1;
        if meta.permissions().mode() & 0o077 != 0 {
            open.push(path.clone());
        }
        if meta.is_dir() {
            waiting.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    assert!(looked_at > 10 && open.is_empty(), "others may look into {open:?}");
    let pid = alice.json(&["status"])["pid"].as_u64().unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core: Vec<&str> =
        limits.lines().find(|line| line.starts_with("Max core")).unwrap().split_whitespace().collect();
    assert_eq!(core[4..6], ["0", "0"], "a crash would write the memory to a file");
}

#[test]
fn a_log_that_lost_its_end_is_reported() {
    let peers = temp_dir();
    let mut alice = Node::loopback("alice", peers.path());
    alice.start();
    let login = Login::new(&alice, "test");
    let mut imap = Imap::open(alice.port("imap"), &login).unwrap();
    for number in 0..10 {
        imap.append("INBOX", &message(&login.user, &login.user, &format!("number-{number}"), BODY)).unwrap();
    }
    drop(imap);
    assert!(alice.terminate().success());
    let mut found = Vec::new();
    files(&alice.data(), &mut found);
    let last = found.into_iter().filter(|path| path.extension().is_some_and(|end| end == "seg")).max().unwrap();
    let segment = std::fs::OpenOptions::new().write(true).open(&last).unwrap();
    segment.set_len(segment.metadata().unwrap().len() / 2).unwrap();
    alice.start();
    assert!(alice.json(&["ls"])["messages"].as_array().unwrap().len() < 10);
    assert!(alice.words().contains("the end of an identity's log is missing"), "{}", alice.words());
}

/// Everything that a mail program can see, as raw answers.
fn seen_by_a_mail_program(node: &Node, login: &Login) -> Vec<Vec<u8>> {
    let mut imap = Imap::open(node.port("imap"), login).unwrap();
    let mut seen = vec![imap.run("LIST \"\" \"*\"").unwrap(), imap.run("LSUB \"\" \"*\"").unwrap()];
    for folder in ["INBOX", FOLDER, "Sent", "Trash"] {
        seen.push(imap.run(&format!("STATUS {folder} (MESSAGES UIDNEXT UIDVALIDITY UNSEEN)")).unwrap());
        seen.push(imap.run(&format!("SELECT {folder}")).unwrap());
        seen.push(imap.run("UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)").unwrap());
        seen.push(imap.run("UID FETCH 1:* (UID BODY.PEEK[])").unwrap());
    }
    seen
}

#[test]
fn deleting_view_and_spool_changes_nothing_that_a_mail_program_sees() {
    let peers = temp_dir();
    let mut alice = Node::loopback("alice", peers.path());
    alice.start();
    let login = Login::new(&alice, "test");
    let mut imap = Imap::open(alice.port("imap"), &login).unwrap();
    imap.run(&format!("CREATE {FOLDER}")).unwrap();
    for number in 0..40 {
        let body = "y".repeat(number * 997);
        imap.append("INBOX", &message(&login.user, &login.user, &format!("number-{number}"), &body)).unwrap();
    }
    imap.append("INBOX", &message(&login.user, &login.user, "large", &"z".repeat(3_000_000))).unwrap();
    imap.run("SELECT INBOX").unwrap();
    imap.run("UID STORE 3,5,7 +FLAGS (\\Seen \\Flagged $Label1)").unwrap();
    imap.run(&format!("UID MOVE 10:20 {FOLDER}")).unwrap();
    imap.run("UID COPY 1:5 Sent").unwrap();
    imap.run("UID STORE 1,41 +FLAGS (\\Deleted)").unwrap();
    imap.run("EXPUNGE").unwrap();
    drop(imap);
    let before = seen_by_a_mail_program(&alice, &login);
    assert!(alice.terminate().success());
    alice.start();
    assert!(before == seen_by_a_mail_program(&alice, &login), "a restart changed something");
    assert!(alice.terminate().success());
    for derived in ["view", "spool"] {
        let path = alice.data().join(derived);
        if path.exists() {
            std::fs::remove_dir_all(path).unwrap();
        }
    }
    alice.start();
    assert!(before == seen_by_a_mail_program(&alice, &login), "without the view something is different");
    // Broken instead of missing: the same.
    alice.kill();
    let mut broken = Vec::new();
    files(&alice.data().join("view"), &mut broken);
    assert!(!broken.is_empty());
    for path in broken {
        let bytes = std::fs::read(&path).unwrap();
        let half = bytes.iter().map(|byte| byte ^ 0x55).take(bytes.len() / 2).collect::<Vec<_>>();
        std::fs::write(path, half).unwrap();
    }
    alice.start();
    assert!(before == seen_by_a_mail_program(&alice, &login), "with a broken view something is different");
}
