//! Programs in another language, written from docs/protocol.md alone, against the real binary: one that redeems an invitation and
//! writes, and one that rents a box and uses it. Ignored, with the reason, where Python or its `cryptography` is missing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use support::node::Node;
use support::runner::{self, Missing};
use support::{programs, temp_dir, wait_for};

const SOON: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    runner::main(
        python,
        &[
            ("a_stranger_from_another_program_redeems_an_invitation_and_writes", first_contact),
            ("a_box_is_rented_filled_and_emptied_by_another_program", a_box),
        ],
    )
}

/// A Python that has what the programs need.
struct Python(PathBuf);

/// The project's own, or the machine's.
fn python() -> Result<Python, Missing> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/interop/bin/python");
    let fits = |python: &PathBuf| {
        let needed = "from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey";
        let asked = Command::new(python).args(["-c", needed]).output();
        asked.is_ok_and(|output| output.status.success())
    };
    [own, PathBuf::from("python3")]
        .into_iter()
        .find(fits)
        .map(Python)
        .ok_or_else(|| Missing("Python with `cryptography` 48 is not installed".to_owned()))
}

/// Runs a program of the repository that must succeed; what it said.
fn run(Python(python): &Python, program: &str, peers: &Path, input: &str) -> String {
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(program)).arg("--loopback").arg(peers);
    let output = programs::run(command, input.as_bytes());
    let words = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}:\n{words}");
    words
}

fn first_contact(python: &Python) {
    let peers = temp_dir();
    let mut alice = Node::loopback("alice", peers.path());
    alice.start();
    let invitation = alice.json(&["invite"])["invitation"].as_str().unwrap().to_owned();
    run(python, "examples/first_contact.py", peers.path(), &invitation);
    wait_for("their mail is in INBOX", SOON, || {
        let listed = alice.json(&["ls"]);
        let subjects = listed["messages"].as_array()?.iter().map(|row| row["subject"].as_str().unwrap_or_default());
        (subjects.collect::<Vec<_>>() == ["Written by another program"]).then_some(())
    });
}

fn a_box(python: &Python) {
    let peers = temp_dir();
    let mut carrier = Node::loopback("carrier", peers.path()).carrier_only();
    carrier.start();
    let invited = carrier.json(&["carrier", "invite"]);
    let invitation = invited["invitations"][0]["invitation"].as_str().unwrap();
    let words = run(python, "tests/interop/box_client.py", peers.path(), invitation);
    assert!(words.ends_with("done\n"), "{words}");
    let shown = carrier.json(&["carrier", "show"]);
    assert!(shown["held"] == 0 && shown["mailboxes"].as_array().unwrap().len() == 1, "{shown}");
}
