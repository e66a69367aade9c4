//! A disk that is really full, under the real binary: a small file system in memory, filled during a storm.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]
#![allow(clippy::print_stdout, reason = "figures for the reader of the test's output")]

mod support;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use support::mail::{Imap, Login, Smtp, message};
use support::node::Node;
use support::runner::{self, Missing};
use support::{temp_dir, wait_for};

/// Of which new mail leaves 256 free, and everything but reading 64.
const MIB: u64 = 330;

fn main() -> ExitCode {
    runner::main(can_mount, &[("a_storm_on_a_full_disk_loses_nothing_and_passes", storm)])
}

/// A small file system, until it is dropped.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path) -> Result<Self, String> {
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={MIB}m,mode=0700"), "tmpfs"]).arg(at);
        let output = command.output().map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        Ok(Self(at.to_owned()))
    }

    /// Takes all space but this, in bytes; gives it back when it is called again.
    fn leave(&self, free: u64) {
        let filler = self.0.join("filler");
        let _ = std::fs::remove_file(&filler);
        let space = rustix::fs::statvfs(&self.0).unwrap();
        let mut left = (space.f_bavail * space.f_frsize).saturating_sub(free);
        let mut file = File::create(&filler).unwrap();
        let piece = vec![1; 1 << 20];
        while left > 0 {
            let len = usize::try_from(left.min(1 << 20)).unwrap();
            match file.write_all(&piece[..len]) {
                Ok(()) => left -= len as u64,
                Err(error) if error.kind() == io::ErrorKind::StorageFull => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// There is room again, more than before.
    fn grow(&self) {
        let _ = std::fs::remove_file(self.0.join("filler"));
        let remount = format!("remount,size={}m", 2 * MIB);
        assert!(Command::new("mount").args(["-o", &remount]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn can_mount() -> Result<(), Missing> {
    let place = temp_dir();
    Small::mount(place.path())
        .map(drop)
        .map_err(|error| Missing(format!("a small file system cannot be mounted here (this needs root): {error}")))
}

/// Submits until it is refused; what was acknowledged is noted. The refusal.
fn submit(port: u16, login: &Login, to: &str, acknowledged: &mut Vec<String>, limit: usize) -> Option<String> {
    let mut smtp = Smtp::open(port, login).ok()?;
    let text = "The same line again and again, so that the disk fills.\r\n".repeat(10_000);
    for _ in 0..limit {
        let subject = format!("storm-{:05}", acknowledged.len());
        match smtp.submit(to, &message(&login.user, to, &subject, &text)) {
            Ok(_) => acknowledged.push(subject),
            Err(refusal) => return Some(refusal.to_string()),
        }
    }
    None
}

fn storm((): &()) {
    let peers = temp_dir();
    let (mut alice, mut bob) = (Node::loopback("alice", peers.path()), Node::loopback("bob", peers.path()));
    let small = Small::mount(&alice.data()).unwrap();
    alice.start();
    bob.start();
    bob.befriend(&alice);
    let (login, to) = (Login::new(&alice, "storm"), bob.address());
    let mut drafts = Imap::open(alice.port("imap"), &login).unwrap();
    drafts.append("Drafts", &message(&login.user, &to, "kept", "kept")).unwrap();
    drafts.append("Drafts", &message(&login.user, &to, "removed", "removed")).unwrap();
    bob.terminate();

    // Until the reserve is reached: from then on nothing but refusals that may pass.
    let mut acknowledged = Vec::new();
    let refusal = submit(alice.port("submission"), &login, &to, &mut acknowledged, 1000).expect("the disk fills up");
    assert!(refusal.starts_with("452"), "{refusal}");
    assert!(acknowledged.len() > 20, "{}", acknowledged.len());
    assert_eq!(alice.json(&["status"])["disk"]["low"], true, "status tells it");
    let words = alice.run(&["status"]).stdout;
    assert!(String::from_utf8_lossy(&words).contains("no mail is taken until there is space: make room until"));
    let doctor = alice.run(&["doctor"]);
    assert_eq!(doctor.status.code(), Some(1));
    let words = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(words.contains("x  disk: nearly full") && words.contains("make room until"), "{words}");
    // What makes room, or only says something, still works.
    small.leave(100 << 20);
    drafts.run("SELECT Drafts").unwrap();
    drafts.run("UID STORE 2 +FLAGS (\\Deleted)").unwrap();
    drafts.run("UID EXPUNGE 2").unwrap();
    assert!(drafts.append("Drafts", b"Subject: more\r\n\r\nmore\r\n").unwrap_err().to_string().contains("NO"));

    // Not a byte: reading goes on, also after a kill, and refusals stay refusals.
    small.leave(0);
    for _ in 0..2 {
        let before = acknowledged.len();
        let refusal = submit(alice.port("submission"), &login, &to, &mut acknowledged, 3).expect("refused");
        assert!(refusal.starts_with('4'), "{refusal}");
        assert_eq!(acknowledged.len(), before);
        let mut imap = Imap::open(alice.port("imap"), &login).unwrap();
        imap.run("SELECT Drafts").unwrap();
        assert!(String::from_utf8_lossy(&imap.body(1).unwrap()).contains("kept"));
        assert!(imap.run("UID STORE 1 +FLAGS (\\Flagged)").is_err());
        alice.restart_after_kill();
    }

    // Space returns: it goes on by itself.
    small.grow();
    wait_for("mail to be accepted again", Duration::from_secs(60), || {
        submit(alice.port("submission"), &login, &to, &mut acknowledged, 1).is_none().then_some(())
    });
    assert_eq!(alice.json(&["status"])["disk"]["low"], false, "until it is over");
    bob.start();
    alice.json(&["queue", "retry"]);
    wait_for("the queue to drain", Duration::from_secs(120), || {
        alice.json(&["queue", "list"])["queue"].as_array().unwrap().is_empty().then_some(())
    });
    let mut shown: BTreeMap<String, u32> = BTreeMap::new();
    for row in bob.json(&["ls"])["messages"].as_array().unwrap() {
        *shown.entry(row["subject"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    println!("{} acknowledged, {} shown", acknowledged.len(), shown.len());
    let twice: Vec<_> = shown.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    assert_eq!(shown.into_keys().collect::<Vec<_>>(), acknowledged, "each of them, and no other");
    let mut imap = Imap::open(alice.port("imap"), &login).unwrap();
    let found = String::from_utf8(imap.run("STATUS Drafts (MESSAGES)").unwrap()).unwrap();
    assert!(found.contains("MESSAGES 1"), "{found}");
}
