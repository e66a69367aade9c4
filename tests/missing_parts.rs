//! Files of a data directory that went missing, under the real binary: each is named, nothing is made anew in its place, and
//! putting it back is enough.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use support::mail::{Imap, Login, message};
use support::node::Node;
use support::temp_dir;

/// Every file of a directory with its bytes and when it was changed, and every directory with when a name in it was.
fn snapshot(root: &Path) -> BTreeMap<PathBuf, (Vec<u8>, i64, i64)> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        let meta = path.symlink_metadata().unwrap();
        let bytes = if meta.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
        if meta.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        found.insert(path, (bytes, meta.mtime(), meta.mtime_nsec()));
    }
    found
}

/// A stopped node with mail, one message of it in a file of its own, and with a carrier; the name of its backup's passphrase file.
fn node(peers: &Path) -> (Node, Login, String) {
    let mut node = Node::loopback("alice", peers);
    node.start();
    node.json(&["carrier", "enable"]);
    let login = Login::new(&node, "test");
    append(&node, &login);
    node.terminate();
    // Another start makes another segment.
    node.start();
    append(&node, &login);
    node.terminate();
    let secret = peers.join("secret");
    std::fs::write(&secret, "of the backup\n").unwrap();
    (node, login, secret.display().to_string())
}

fn append(node: &Node, login: &Login) {
    let mut imap = Imap::open(node.port("imap"), login).unwrap();
    for lines in [10, 80_000] {
        let text = "A line of text.\r\n".repeat(lines);
        imap.append("Archive", &message(&login.user, &login.user, &format!("{lines} lines"), &text)).unwrap();
    }
}

/// Puts files aside for as long as something is tried without them.
fn without<T>(files: &[&Path], act: impl FnOnce() -> T) -> T {
    let kept: Vec<_> = files.iter().map(|path| (path, std::fs::read(path).unwrap())).collect();
    for path in files {
        std::fs::remove_file(path).unwrap();
    }
    let done = act();
    for (path, bytes) in kept {
        assert!(!path.exists(), "{} was made anew", path.display());
        std::fs::write(path, bytes).unwrap();
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
    done
}

/// Runs a command that must fail, name one of these files, and change nothing.
fn refuses(node: &Node, arguments: &[&str], missing: &[&Path]) {
    let before = snapshot(&node.data());
    let output = node.run(arguments);
    let said = [output.stdout, output.stderr].map(|words| String::from_utf8_lossy(&words).into_owned()).concat();
    assert!(!output.status.success(), "{arguments:?} without {missing:?}");
    let named = |path: &&Path| said.contains(path.file_name().unwrap().to_str().unwrap());
    assert!(missing.iter().any(named), "{arguments:?} without {missing:?}: {said}");
    assert!(said.contains("is missing") || said.contains("are missing"), "{arguments:?} without {missing:?}: {said}");
    assert!(!said.contains("empty"), "{said}");
    assert!(snapshot(&node.data()) == before, "{arguments:?} without {missing:?} changed something");
}

fn keys(node: &Node) -> Vec<PathBuf> {
    let files = std::fs::read_dir(node.data().join("keys")).unwrap().map(|entry| entry.unwrap().path());
    // Encryption keys are made anew.
    files.filter(|path| path.extension().is_none_or(|end| end != "seal")).collect()
}

fn subjects(node: &Node) -> usize {
    node.json(&["ls", "Archive"])["messages"].as_array().unwrap().len()
}

#[test]
fn a_missing_key_is_named_and_no_other_is_made() {
    let peers = temp_dir();
    let (mut node, login, secret) = node(peers.path());
    let (file, transport) = (peers.path().join("backup"), format!("loopback:{}", peers.path().display()));
    let file = file.to_str().unwrap();
    let all = keys(&node);
    assert_eq!(all.len(), 4, "node, key file, identity, carrier: {all:?}");
    let segments: Vec<PathBuf> = snapshot(&node.data())
        .into_keys()
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .collect();
    let everything = || all.iter().chain(&segments).map(PathBuf::as_path);
    let mut cases: Vec<Vec<&Path>> = all.iter().map(|path| vec![path.as_path()]).collect();
    cases.extend(all.iter().flat_map(|one| {
        everything().filter(move |other| *other != one.as_path()).map(move |other| vec![one.as_path(), other])
    }));
    for missing in cases {
        without(&missing, || {
            let up = ["up", "--transport", &transport, "--imap", "127.0.0.1:0", "--submission", "127.0.0.1:0"];
            refuses(&node, &up, &missing);
            refuses(&node, &[&up[..], &["--name", "another"]].concat(), &missing);
            refuses(&node, &["repair", "--check"], &missing);
            refuses(&node, &["repair", "--yes"], &missing);
            refuses(&node, &["backup", "create", file, "--passphrase-file", &secret], &missing);
        });
    }
    assert!(!Path::new(file).exists());
    node.start();
    assert_eq!(subjects(&node), 4, "what was put back opens everything");
    Imap::open(node.port("imap"), &login).unwrap();
    // Neither does a daemon that runs copy what is not whole.
    let identity = all.iter().find(|path| path.file_name().unwrap().len() == 32).unwrap();
    without(&[identity], || {
        let output = node.run(&["backup", "create", file, "--passphrase-file", &secret]);
        assert!(!output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).contains("is missing"));
    });
    node.json(&["backup", "create", file, "--passphrase-file", &secret]);
}

#[test]
fn a_missing_part_of_a_log_is_named_and_putting_it_back_is_enough() {
    let peers = temp_dir();
    let (mut node, _, secret) = node(peers.path());
    let file = peers.path().join("backup");
    let of_identities = |path: &&PathBuf| !path.starts_with(node.data().join("held"));
    let all = snapshot(&node.data());
    let named = |wanted: &str| -> Vec<PathBuf> {
        let in_folder = |path: &&PathBuf| path.is_file() && path.parent().unwrap().ends_with(wanted);
        all.keys().filter(of_identities).filter(in_folder).cloned().collect()
    };
    let (segments, blobs) = (named("log"), named("blob"));
    assert_eq!((segments.len(), blobs.len()), (3, 2));
    let first = [segments[0].as_path()];
    without(&first, || {
        refuses(&node, &["repair", "--check"], &first);
        refuses(&node, &["backup", "create", file.to_str().unwrap(), "--passphrase-file", &secret], &first);
        node.spawn();
        assert_eq!(node.wait_for_end().code(), Some(1));
        assert!(node.words().contains("0000000000000001.seg is missing"), "{}", node.words());
    });
    let all: Vec<&Path> = segments.iter().map(PathBuf::as_path).collect();
    without(&all, || refuses(&node, &["repair", "--check"], &all));
    node.start();
    assert_eq!(subjects(&node), 4);
    without(&[&blobs[0]], || {
        let output = node.run(&["backup", "create", file.to_str().unwrap(), "--passphrase-file", &secret]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("is missing"), "{said}");
    });
    node.json(&["backup", "create", file.to_str().unwrap(), "--passphrase-file", &secret]);
}

#[test]
fn commands_that_only_look_write_nothing() {
    let peers = temp_dir();
    let (mut node, _, secret) = node(peers.path());
    let file = peers.path().join("backup");
    let file = file.to_str().unwrap();
    // Left by a process that was killed.
    std::fs::write(node.data().join("keys/tmp-00"), "x").unwrap();
    let before = snapshot(&node.data());
    node.json(&["repair", "--check"]);
    assert!(!node.run(&["status"]).status.success());
    assert!(!node.run(&["doctor"]).status.success());
    assert!(!node.run(&["down"]).status.success());
    node.json(&["config", "path"]);
    assert!(snapshot(&node.data()) == before);
    let lock = node.data().join("lock");
    without(&[&lock], || node.json(&["repair", "--check"]));
    node.json(&["backup", "create", file, "--passphrase-file", &secret]);
    let noted = node.data().join("backup.json");
    std::fs::remove_file(noted).unwrap();
    node.json(&["backup", "verify", file, "--passphrase-file", &secret]);
    let files = |snapshot: BTreeMap<PathBuf, (Vec<u8>, i64, i64)>| -> Vec<_> {
        snapshot.into_iter().map(|(path, (bytes, ..))| (path, bytes)).collect()
    };
    assert!(files(snapshot(&node.data())) == files(before), "a backup notes nothing but that it was made");
    // Where there is nothing, nothing is made.
    let nothing = peers.path().join("nothing");
    for arguments in [&["repair", "--check"][..], &["repair", "--yes"], &["backup", "create", file]] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_runepeer"));
        command.args(["--no-input", "--data-dir"]).arg(&nothing).args(arguments);
        assert!(!support::programs::run(command, b"").status.success());
        assert!(!nothing.exists(), "{arguments:?}");
    }
    node.start();
}
