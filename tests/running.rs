//! What a daemon promises while it runs and when it ends: that nobody reads its words changes nothing, and every usual
//! signal is a clean stop.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::Signal;
use support::mail::{Imap, Login};
use support::node::Node;
use support::{temp_dir, wait_for};

/// A pipe that is full, and its other end: nobody reads from it.
fn full_pipe(blocking: bool) -> (OwnedFd, OwnedFd) {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
    let mut file = File::from(writer);
    while file.write(&[b'x'; 4096]).is_ok() {}
    while file.write(b"x").is_ok() {}
    if blocking {
        fcntl_setfl(&file, OFlags::empty()).unwrap();
    }
    (reader, file.into())
}

/// A node that says everything it can say to this place serves mail programs and stops cleanly.
fn serves_and_stops(what: &str, words: Stdio) {
    let peers = temp_dir();
    let mut alice = Node::loopback("alice", peers.path()).talkative();
    alice.spawn_with(|command| {
        command.stderr(words);
    });
    alice.wait_until_reachable();
    let login = Login::new(&alice, "test");
    for _ in 0..3 {
        Imap::open(alice.port("imap"), &login).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    let begin = Instant::now();
    assert_eq!(alice.terminate().code(), Some(0), "{what}");
    assert!(begin.elapsed() < Duration::from_secs(12), "{what}: stopping took {:?}", begin.elapsed());
}

#[test]
fn a_daemon_whose_words_cannot_be_written_serves_on_and_stops() {
    serves_and_stops("a full disk", File::options().write(true).open("/dev/full").unwrap().into());
    let (reader, writer) = full_pipe(true);
    serves_and_stops("a full pipe that nobody reads", writer.into());
    drop(reader);
    let (reader, writer) = full_pipe(false);
    serves_and_stops("a full pipe that does not wait", writer.into());
    drop(reader);
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    drop(reader);
    serves_and_stops("a pipe whose reader is gone", writer.into());
}

#[test]
fn a_terminal_that_is_closed_or_an_impatient_user_stops_the_daemon_cleanly() {
    let peers = temp_dir();
    let mut alice = Node::loopback("alice", peers.path());
    for signals in [&[Signal::HUP][..], &[Signal::INT, Signal::INT], &[Signal::HUP, Signal::TERM, Signal::INT]] {
        alice.start();
        signals.iter().for_each(|signal| alice.signal(*signal));
        assert_eq!(alice.wait_for_end().code(), Some(0), "{signals:?}: {}", alice.words());
        assert!(alice.words().contains("Stopping"), "{signals:?}");
    }
    // As `nohup` does.
    alice.spawn_with(|command| {
        let mut shell = Command::new("sh");
        shell.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]).arg(command.get_program()).args(command.get_args());
        shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        *command = shell;
    });
    alice.wait_until_reachable();
    alice.signal(Signal::HUP);
    std::thread::sleep(Duration::from_millis(500));
    assert!(alice.try_json(&["status"]).is_some(), "nohup keeps it running");
    alice.terminate();
}

#[test]
fn words_in_files_have_no_colours_and_quiet_is_quiet() {
    let peers = temp_dir();
    let mut alice = Node::loopback("alice", peers.path()).talkative();
    alice.start();
    let said = || alice.data_written().contains("alice is reachable as").then_some(());
    wait_for("the address", Duration::from_secs(10), said);
    alice.terminate();
    assert!(alice.words().len() > 1000, "it said something");
    assert!(!alice.words().contains('\u{1b}'));
    let mut bob = Node::loopback("bob", peers.path());
    bob.spawn_with(|command| {
        command.arg("--quiet");
    });
    bob.wait_until_reachable();
    std::thread::sleep(Duration::from_millis(500));
    bob.terminate();
    assert_eq!(bob.data_written(), "");
    assert_eq!(bob.words(), "");
}

#[test]
fn output_that_nobody_wants_is_no_failure_and_output_that_is_lost_is_one() {
    let run =
        |out: Stdio| Command::new(env!("CARGO_BIN_EXE_runepeer")).arg("--version").stdout(out).status().unwrap().code();
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    drop(reader);
    assert_eq!(run(writer.into()), Some(0));
    let peers = temp_dir();
    let mut alice = Node::loopback("alice", peers.path());
    alice.start();
    let status = |out: Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runepeer"));
        command.arg("--data-dir").arg(alice.data()).args(["--json", "status"]);
        command.stdout(out).stderr(Stdio::null()).status().unwrap().code()
    };
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    drop(reader);
    assert_eq!(status(writer.into()), Some(0), "as with `| head`");
    assert_eq!(status(File::options().write(true).open("/dev/full").unwrap().into()), Some(1));
}

#[test]
fn an_identity_greets_with_the_welcome_and_the_maximum_that_config_toml_has_for_it() {
    let peers = temp_dir();
    let mut alice = Node::loopback("alice", peers.path());
    let table = "[identity.Alice]\nwelcome = \"Small things, please.\"\nmaximum_mib = 1\n";
    std::fs::write(alice.data().join("config.toml"), table).unwrap();
    alice.start();
    alice.json(&["identity", "new", "work"]);
    alice.wait_until_reachable();
    let mut greetings = Vec::new();
    for identity in alice.json(&["status"])["identities"].as_array().unwrap() {
        let (name, onion) = identity["address"].as_str().unwrap().split_once('@').unwrap();
        let stream = UnixStream::connect(peers.path().join(onion.strip_suffix(".onion").unwrap())).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut greeting = String::new();
        BufReader::new(stream).read_line(&mut greeting).unwrap();
        greetings.push((name.to_owned(), greeting));
    }
    greetings.sort();
    let expected = [
        ("alice".to_owned(), "HOWDY RUNE/1 MAX=1048576 CAP=SEND \"Small things, please.\"\n".to_owned()),
        ("work".to_owned(), "HOWDY RUNE/1 MAX=28311552 CAP=SEND\n".to_owned()),
    ];
    assert_eq!(greetings, expected);
}

#[test]
fn mail_that_waits_for_a_node_comes_when_the_node_starts_unless_it_is_not_to_knock() {
    let peers = temp_dir();
    let (mut alice, mut bob) = (Node::loopback("alice", peers.path()), Node::loopback("bob", peers.path()));
    alice.start();
    bob.start();
    bob.befriend(&alice);
    // The time from bob's start to alice's next attempt, of which the message needs a part, or all.
    let comes_before = |subject: &str, bob: &mut Node| {
        bob.kill();
        alice.feed(&["send", "-t", "bob", "-s", subject, "-"], b"Hello\n");
        let row = wait_for("an attempt to fail", Duration::from_secs(60), || {
            let row = alice.json(&["queue", "list"])["queue"][0].take();
            (row["attempts"].as_u64()? > 0).then_some(row)
        });
        let planned = row["next_at"].as_str().unwrap().to_owned();
        bob.start();
        let arrived = wait_for("the message", Duration::from_secs(500), || {
            let listed = bob.json(&["ls"]);
            let mut messages = listed["messages"].as_array().into_iter().flatten();
            let time = bob.json(&["status"])["clock"].as_str()?.to_owned();
            messages.any(|message| message["subject"] == subject).then_some(time)
        });
        arrived < planned
    };
    // A slow machine may take longer for the start than alice waits.
    assert!((0..4).any(|number| comes_before(&format!("knocked {number}"), &mut bob)), "the knock made no difference");
    let table = "transport = \"loopback\"\n[identity.bob]\nknock = false\n"
        .replace("loopback", &format!("loopback:{}", peers.path().display()));
    std::fs::write(bob.data().join("config.toml"), table).unwrap();
    assert!(!comes_before("quiet", &mut bob), "bob knocked although he is not to");
}
