//! The failures that people meet, under the real binary: `status` and `doctor` each say what is wrong and the sentence that
//! cures it, and after that cure nothing is wrong any more.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use support::node::Node;
use support::{temp_dir, wait_for};

/// A node that was started once, and does not run.
fn stopped(name: &str, peers: &Path) -> Node {
    let mut node = Node::loopback(name, peers);
    node.start();
    node.terminate();
    node
}

/// What doctor finds, and its exit status.
fn doctor(node: &Node, arguments: &[&str]) -> (Value, i32) {
    let output = node.run(&[&["--json", "doctor"], arguments].concat());
    let report: Value = serde_json::from_slice(&output.stdout).expect("one object");
    assert_eq!(report["schema"], 1);
    let failed = report["checks"].as_array().unwrap().iter().any(|finding| finding["state"] == "failed");
    let code = output.status.code().unwrap();
    assert_eq!(code, i32::from(failed), "{report}");
    (report, code)
}

/// The only finding of one thing.
fn finding(report: &Value, check: &str) -> Value {
    let all = report["checks"].as_array().unwrap().iter().filter(|finding| finding["check"] == check);
    let all: Vec<&Value> = all.collect();
    assert_eq!(all.len(), 1, "{check}: {report}");
    all[0].clone()
}

/// The only finding of one thing is in this state, and has these parts in its words and its cure.
fn says(node: &Node, check: &str, state: &str, parts: &[&str]) {
    let (report, _) = doctor(node, &[]);
    let finding = finding(&report, check);
    assert_eq!(finding["state"], state, "{finding}");
    let words = format!("{} {}", finding["found"].as_str().unwrap(), finding["cure"].as_str().unwrap_or_default());
    for part in parts {
        assert!(words.contains(part), "{words:?} lacks {part:?}");
    }
}

/// The words of `status`, which ends with this status, have these parts.
fn status_says(node: &Node, code: i32, parts: &[&str]) {
    let output = node.run(&["status"]);
    let words = [output.stdout, output.stderr].map(|words| String::from_utf8_lossy(&words).into_owned()).concat();
    assert_eq!(output.status.code(), Some(code), "{words}");
    for part in parts {
        assert!(words.contains(part), "{words:?} lacks {part:?}");
    }
}

/// `up` fails, and says this.
fn up_fails(node: &Node, arguments: &[&str], code: i32, part: &str) {
    let output = node.run(&[&["up"], arguments].concat());
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{words}");
    assert!(words.contains(part), "{words}");
}

/// The failure of a start is forgotten after one that succeeds.
fn is_well(node: &Node) {
    assert!(!node.data().join("failed-start.json").exists());
    let (report, code) = doctor(node, &[]);
    assert_eq!(code, 0, "{report}");
    assert_eq!(finding(&report, "daemon")["state"], "ok");
    status_says(node, 0, &["runepeer down stops it"]);
}

#[test]
fn a_port_that_is_taken_is_named_until_another_one_is_chosen() {
    let peers = temp_dir();
    let mut alice = stopped("alice", peers.path());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap().to_string();
    let path = alice.data().join("config.toml");
    let written = std::fs::read_to_string(&path).unwrap();
    let other = written.replacen("127.0.0.1:0", &at, 1);
    assert_ne!(other, written);
    std::fs::write(&path, other).unwrap();
    up_fails(&alice, &[], 1, "choose another one");
    let cure = format!("cannot listen on {at}");
    status_says(&alice, 3, &["the last `runepeer up` failed at 20", &cure, "choose another one"]);
    let (report, _) = doctor(&alice, &[]);
    assert!(finding(&report, "daemon")["found"].as_str().unwrap().contains(&cure), "{report}");
    let ports: Vec<&Value> =
        report["checks"].as_array().unwrap().iter().filter(|finding| finding["check"] == "ports").collect();
    let states: Vec<&str> = ports.iter().map(|finding| finding["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["failed", "ok"], "{report}");
    assert!(ports[0]["cure"].as_str().unwrap().contains("listen.imap"), "{report}");
    // Another command that fails changes nothing of it.
    assert!(!alice.run(&["queue", "list"]).status.success());
    status_says(&alice, 3, &[&cure]);
    std::fs::write(&path, written).unwrap();
    alice.start();
    is_well(&alice);
}

#[test]
fn a_wrong_passphrase_is_remembered_without_it() {
    let peers = temp_dir();
    let mut alice = Node::loopback("alice", peers.path()).with_passphrase("the right one");
    alice.start();
    alice.terminate();
    up_fails(&alice, &[], 5, "--passphrase-file");
    status_says(&alice, 3, &["locked with a passphrase", "--passphrase-file FILE, or start on a terminal"]);
    let wrong = peers.path().join("wrong");
    std::fs::write(&wrong, "canary-passphrase\n").unwrap();
    up_fails(&alice, &["--passphrase-file", wrong.to_str().unwrap()], 5, "passphrase is wrong");
    let parts = ["the passphrase is wrong", "cannot be recovered"];
    status_says(&alice, 3, &parts);
    says(&alice, "daemon", "failed", &parts);
    let noted = std::fs::read_to_string(alice.data().join("failed-start.json")).unwrap();
    assert!(!noted.contains("canary") && !noted.contains(".onion"), "{noted}");
    let open = alice.data().join("failed-start.json").metadata().unwrap().permissions().mode() & 0o077;
    assert_eq!(open, 0);
    alice.start();
    is_well(&alice);
}

#[test]
fn a_second_daemon_is_refused_and_the_first_one_named() {
    let peers = temp_dir();
    let mut alice = Node::loopback("alice", peers.path());
    alice.start();
    let process = alice.json(&["status"])["pid"].to_string();
    up_fails(&alice, &[], 75, &format!("(process {process})"));
    up_fails(&alice, &[], 75, "stop it with: runepeer down");
    status_says(&alice, 0, &[&format!("process {process} (runepeer down stops it)")]);
    says(&alice, "daemon", "ok", &[&format!("process {process}"), "second `runepeer up`", "runepeer down"]);
    assert!(!alice.data().join("failed-start.json").exists(), "the first one has started");
    // It is killed, and a refusal of before is no reason for that.
    alice.kill();
    status_says(&alice, 3, &["no daemon runs", "start it with: runepeer up"]);
    says(&alice, "daemon", "failed", &["no daemon runs", "start it with: runepeer up"]);
    // It hangs.
    alice.start();
    alice.pause();
    let parts = ["holds", "does not answer", "kill "];
    status_says(&alice, 3, &parts);
    says(&alice, "daemon", "failed", &parts);
    alice.resume();
    is_well(&alice);
}

#[test]
fn a_configuration_that_is_broken_is_named_with_its_line() {
    let peers = temp_dir();
    let mut alice = Node::loopback("alice", peers.path());
    alice.start();
    let path = alice.data().join("config.toml");
    let written = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("nonsense = 1\n{written}")).unwrap();
    // A daemon that runs goes on; the next start would fail.
    says(&alice, "config", "failed", &["nonsense", "mend that in config.toml"]);
    alice.terminate();
    up_fails(&alice, &[], 2, "nonsense");
    let parts = ["nonsense", "mend that in config.toml, then start it with: runepeer up"];
    status_says(&alice, 3, &parts);
    says(&alice, "daemon", "failed", &parts);
    std::fs::write(&path, written).unwrap();
    alice.start();
    is_well(&alice);
}

#[test]
fn what_lies_open_to_others_is_closed_by_fix_and_what_waits_is_tried_again() {
    let peers = temp_dir();
    let (mut alice, mut bob) = (Node::loopback("alice", peers.path()), Node::loopback("bob", peers.path()));
    alice.start();
    bob.start();
    alice.befriend(&bob);
    bob.terminate();
    alice.feed(&["send", "-t", "bob", "-s", "Hi", "-"], b"Hello\n");
    wait_for("an attempt that fails", Duration::from_secs(60), || {
        alice.json(&["queue", "list"])["queue"][0]["last_error"].is_string().then_some(())
    });
    says(&alice, "queue", "warning", &["bob: their node does not answer", "runepeer queue retry"]);
    status_says(&alice, 0, &["1 waiting:", "their node does not answer; it is probably off", "since 20"]);
    let (report, _) = doctor(&alice, &["--fix"]);
    let fixed = report["fixed"].as_array().unwrap();
    assert!(fixed.len() == 1 && fixed[0].as_str().unwrap().contains("tried again"), "{report}");

    alice.terminate();
    let key = alice.data().join("keys/node");
    std::fs::set_permissions(alice.data(), Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    up_fails(&alice, &[], 1, "chmod 700");
    status_says(&alice, 3, &["others may look into the data directory", "chmod 700"]);
    says(&alice, "directory", "failed", &["(mode 755) and 1 more", "runepeer doctor --fix", "chmod 700"]);
    let (report, _) = doctor(&alice, &["--fix"]);
    assert_eq!(report["fixed"].as_array().unwrap().len(), 2, "{report}");
    assert_eq!(finding(&report, "directory")["state"], "ok", "{report}");
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&alice.data()), mode(&key)), (0o700, 0o600));
    alice.start();
    is_well(&alice);
}

#[test]
fn a_view_that_is_broken_is_made_anew_and_one_that_cannot_be_made_may_be_deleted() {
    let peers = temp_dir();
    let mut alice = stopped("alice", peers.path());
    let view = alice.data().join("view");
    std::fs::write(view.join("db"), "no database").unwrap();
    alice.start();
    assert!(alice.json(&["status"])["view_problem"].is_null());
    says(&alice, "view", "ok", &["works"]);
    alice.terminate();
    std::fs::remove_dir_all(&view).unwrap();
    std::fs::write(&view, "no directory").unwrap();
    says(&alice, "view", "warning", &["is no directory", "is safe", "rm -r"]);
    alice.start();
    let remove = format!("rm -r '{}'", view.canonicalize().unwrap().display());
    status_says(&alice, 0, &["view: the view", "is safe", &remove]);
    says(&alice, "view", "warning", &["cannot be used", "is safe", "rm -r"]);
    alice.terminate();
    std::fs::remove_file(&view).unwrap();
    alice.start();
    says(&alice, "view", "ok", &["works"]);
    is_well(&alice);
}

#[test]
fn a_box_whose_carrier_is_gone_says_since_when_and_what_that_means() {
    let peers = temp_dir();
    let (mut bob, mut carol) = (Node::loopback("bob", peers.path()), Node::loopback("carol", peers.path()));
    bob.start();
    carol.start();
    bob.json(&["carrier", "enable"]);
    let invitation = bob.json(&["carrier", "invite"])["invitations"][0]["invitation"].as_str().unwrap().to_owned();
    carol.json(&["carrier", "add", &invitation, "--name", "home"]);
    let patience = Duration::from_secs(120);
    wait_for("the box", patience, || {
        (carol.json(&["carrier", "list"])["carriers"][0]["state"] == "open").then_some(())
    });
    says(&carol, "box", "ok", &["home: it works", "came back"]);
    bob.kill();
    wait_for("carol's node to notice", patience, || {
        carol.json(&["status"])["carriers"][0]["failing_since"].is_string().then_some(())
    });
    let parts = ["its carrier has not answered since 20", "mail that lies there comes when it is back", "carrier add"];
    status_says(&carol, 0, &parts);
    says(&carol, "box", "failed", &[&parts[..], &["runepeer carrier rm home"]].concat());
    bob.start();
    wait_for("the box again", patience, || {
        carol.json(&["status"])["carriers"][0]["failing_since"].is_null().then_some(())
    });
    is_well(&carol);
}

#[test]
fn doctor_changes_nothing_and_says_what_is_not_done_yet() {
    let peers = temp_dir();
    let empty = Node::loopback("nobody", peers.path());
    let (report, code) = doctor(&empty, &["--fix"]);
    assert_eq!((report["checks"].as_array().unwrap().len(), code), (1, 1), "{report}");
    says(&empty, "daemon", "failed", &["nothing is set up yet; begin with: runepeer up"]);
    assert_eq!(std::fs::read_dir(empty.data()).unwrap().count(), 0);
    let mut alice = Node::loopback("alice", peers.path());
    alice.start();
    says(&alice, "passwords", "warning", &["alice", "runepeer -i alice mail password new"]);
    says(&alice, "backup", "warning", &["there is none", "runepeer backup create"]);
    alice.json(&["mail", "password", "new"]);
    says(&alice, "passwords", "ok", &[]);
    let output = alice.run(&["doctor"]);
    let words = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "warnings are no failure");
    assert!(words.lines().any(|line| line == "ok tor: connected"), "{words}");
    let cured = |pair: &[&str]| pair[0].starts_with("!  backup: ") && pair[1].starts_with("     ");
    assert!(words.lines().collect::<Vec<_>>().windows(2).any(cured), "{words}");
}
