//! A disk that fails under the real binary: writes, syncs and reads of its data directory end with EIO or ENOSPC, once or from a
//! moment on. What was acknowledged is there afterwards, once; what was refused may be tried again.
//!
//! A small library that is loaded before the C library makes the calls fail (`tests/faults/io.c`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]
#![allow(clippy::print_stdout, reason = "figures for the reader of the test's output")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use support::mail::{Imap, Login, Smtp, message};
use support::node::Node;
use support::runner::{self, Missing};
use support::{program, temp_dir};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// Calls, and the errors that each may have.
const FAULTS: [(&str, i32); 6] =
    [("pwrite", EIO), ("pwrite", ENOSPC), ("fdatasync", EIO), ("fsync", EIO), ("pread", EIO), ("write", ENOSPC)];

fn main() -> ExitCode {
    runner::main(library, &[("what_was_acknowledged_survives_a_disk_that_fails", storm)])
}

/// The library, and the directory in which it lies.
struct Library {
    path: PathBuf,
    _dir: tempfile::TempDir,
}

fn library() -> Result<Library, Missing> {
    let compiler = program("cc").ok_or_else(|| Missing("there is no C compiler".to_owned()))?;
    let dir = temp_dir();
    let path = dir.path().join("faults.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/io.c");
    let mut command = Command::new(compiler);
    command.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&path).arg(source).args(["-ldl", "-lpthread"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(Library { path, _dir: dir })
}

/// What was acknowledged, and what was begun.
#[derive(Default)]
struct Promises {
    acknowledged: BTreeMap<String, &'static str>,
    begun: u32,
    refused: u32,
}

impl Promises {
    fn next(&mut self, what: &str) -> String {
        self.begun += 1;
        format!("{what}-{:04}", self.begun)
    }

    fn note(&mut self, subject: String, folder: &'static str, done: bool) {
        if done {
            self.acknowledged.insert(subject, folder);
        } else {
            self.refused += 1;
        }
    }
}

fn storm(library: &Library) {
    let peers = temp_dir();
    let node = Node::loopback("alice", peers.path());
    let (data, control) = (node.data(), peers.path().join("control"));
    let mut node = node
        .with_environment("LD_PRELOAD", library.path.to_str().unwrap())
        .with_environment("FAULTS_IN", data.to_str().unwrap())
        .with_environment("FAULTS_FROM", control.to_str().unwrap());
    node.start();
    let login = Login::new(&node, "storm");
    let mut promises = Promises::default();
    let mut ends = 0;
    for (call, error) in FAULTS {
        for (at, mode) in [(1, "once"), (2, "once"), (5, "once"), (1, "on"), (4, "on")] {
            work(&node, &login, &mut promises, 4);
            // Another file, so that no half a line is read.
            let next = peers.path().join("next");
            std::fs::write(&next, format!("{call} {error} {at} {mode} {}\n", promises.begun)).unwrap();
            std::fs::rename(&next, &control).unwrap();
            work(&node, &login, &mut promises, 12);
            std::fs::remove_file(&control).unwrap();
            let name = format!("{call} with {error} at {at}, {mode}");
            if node.has_ended() {
                ends += 1;
                node.kill();
                node.start();
            }
            recovers(&node, &login, &mut promises, &name);
            let words = node.words();
            assert!(!words.contains("panicked"), "{name}: {words}");
            node.restart_after_kill();
            compare(&node, &login, &promises, &name);
        }
    }
    println!("{} acknowledged, {} refused, the node ended {ends} times", promises.acknowledged.len(), promises.refused);
    assert!(promises.refused > 20, "the faults were met");
}

/// Saves and submits, whatever comes of it.
fn work(node: &Node, login: &Login, promises: &mut Promises, times: u32) {
    let Some(status) = node.try_json(&["status"]) else { return };
    let port = |gateway: &str| {
        status["listen"][gateway].as_str().and_then(|text| text.rsplit(':').next()?.parse::<u16>().ok())
    };
    let (Some(imap), Some(submission)) = (port("imap"), port("submission")) else { return };
    for number in 0..times {
        let body = "x".repeat(if number % 5 == 4 { 1_200_000 } else { 900 });
        let subject = promises.next("saved");
        let saved = Imap::open(imap, login)
            .and_then(|mut imap| imap.append("Drafts", &message(&login.user, &login.user, &subject, &body)));
        promises.note(subject, "Drafts", saved.is_ok());
        let subject = promises.next("sent");
        let sent = Smtp::open(submission, login)
            .and_then(|mut smtp| smtp.submit(&login.user, &message(&login.user, &login.user, &subject, "to myself")));
        promises.note(subject, "INBOX", sent.is_ok());
    }
}

/// Once the disk works again, so does the node, by itself.
fn recovers(node: &Node, login: &Login, promises: &mut Promises, name: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let before = promises.acknowledged.len();
        work(node, login, promises, 1);
        if promises.acknowledged.len() == before + 2 {
            return;
        }
        assert!(Instant::now() < deadline, "{name}: the node takes nothing any more\n{}", node.words());
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn compare(node: &Node, login: &Login, promises: &Promises, name: &str) {
    let mut imap = Imap::open(node.port("imap"), login).unwrap();
    for folder in ["Drafts", "INBOX"] {
        let mut shown: BTreeMap<String, u32> = BTreeMap::new();
        imap.run(&format!("EXAMINE {folder}")).unwrap();
        let answer = imap.run("UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])").unwrap();
        for line in String::from_utf8(answer).unwrap().lines() {
            if let Some(subject) = line.strip_prefix("Subject: ") {
                *shown.entry(subject.to_owned()).or_default() += 1;
            }
        }
        for (subject, _) in promises.acknowledged.iter().filter(|(_, place)| **place == folder) {
            assert_eq!(shown.get(subject), Some(&1), "{name}: {subject} in {folder}");
        }
        // A large one is read to its end.
        let large =
            promises.acknowledged.keys().rev().find(|subject| folder == "Drafts" && subject.starts_with("saved"));
        if large.is_some() {
            imap.run("UID FETCH * (BODY.PEEK[])").unwrap();
        }
    }
}
