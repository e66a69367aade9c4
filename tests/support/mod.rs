//! What the test programs share: a runner that can report tests as ignored with a reason, a private Tor network,
//! and nodes of the real binary.

#![allow(dead_code, reason = "each test program uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]

pub(crate) mod box_client;
pub(crate) mod mail;
pub(crate) mod node;
pub(crate) mod peer;
pub(crate) mod people;
pub(crate) mod programs;
pub(crate) mod runner;
pub(crate) mod terminal;
pub(crate) mod tornet;

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A TCP port on loopback that nobody uses just now.
pub(crate) fn free_port() -> u16 {
    free_ports(1)[0]
}

/// Several free ports, all different. They lie below those that a system gives to whoever asks for any, so that a port
/// whose owner is away for a while stays free.
pub(crate) fn free_ports(many: usize) -> Vec<u16> {
    let mut random = [0; 2];
    getrandom::fill(&mut random).unwrap();
    // All are held until the last is known, so that none is given twice.
    let mut held = Vec::new();
    for step in 0..2_000 {
        let port = 10_000 + (u16::from_ne_bytes(random) % 20_000 + step * 7) % 20_000;
        held.extend(TcpListener::bind((Ipv4Addr::LOCALHOST, port)));
        if held.len() == many {
            return held.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        }
    }
    panic!("no {many} ports are free");
}

/// The program of this name, where it is installed.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let places = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")]);
    places.map(|place| place.join(name)).find(|file| file.is_file())
}

/// The library that shows another time to a program, where it is installed.
pub(crate) fn faketime() -> Option<PathBuf> {
    let libraries = std::fs::read_dir("/usr/lib").ok()?.filter_map(Result::ok).map(|entry| entry.path());
    libraries.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).find(|file| file.is_file())
}

/// A directory that is removed with what it holds when dropped; closed to others, with a short path.
pub(crate) fn temp_dir() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    tempfile::Builder::new().prefix("runepeer-").permissions(std::fs::Permissions::from_mode(0o700)).tempdir().unwrap()
}

/// Asks until there is an answer, or panics with what was waited for.
pub(crate) fn wait_for<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {limit:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Fetches INBOX with mbsync into a Maildir below this directory, and reads it.
pub(crate) fn mbsync(node: &node::Node, login: &mail::Login, directory: &std::path::Path) -> Vec<Vec<u8>> {
    let output = run_mbsync(node, login, directory);
    assert!(
        output.status.success(),
        "mbsync ended with {}:\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    maildir(directory)
}

/// Runs mbsync as [`mbsync`] does.
pub(crate) fn run_mbsync(node: &node::Node, login: &mail::Login, directory: &std::path::Path) -> std::process::Output {
    std::fs::create_dir_all(directory).unwrap();
    let config = directory.join("mbsyncrc");
    let text = format!(
        "IMAPAccount node\nHost 127.0.0.1\nPort {port}\nUser {user}\nPass {password}\nSSLType None\nAuthMechs LOGIN\n\n\
         IMAPStore far\nAccount node\n\nMaildirStore near\nPath {path}/\nInbox {path}/INBOX\nSubFolders Verbatim\n\n\
         Channel mail\nFar :far:\nNear :near:\nPatterns INBOX\nCreate Near\nSync Pull\nSyncState {path}/state-\n",
        port = node.port("imap"),
        user = login.user,
        password = login.password,
        path = directory.display(),
    );
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new("mbsync");
    command.arg("-c").arg(&config).arg("mail");
    programs::run(command, b"")
}

/// The messages of the INBOX that mbsync keeps below this directory.
pub(crate) fn maildir(directory: &std::path::Path) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    for part in ["cur", "new"] {
        for entry in std::fs::read_dir(directory.join("INBOX").join(part)).unwrap() {
            messages.push(std::fs::read(entry.unwrap().path()).unwrap());
        }
    }
    messages
}

/// Ends threads that look at this switch.
pub(crate) struct StopOnDrop<'a>(pub(crate) &'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
