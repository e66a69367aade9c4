//! Questions at a terminal: how they can be left, and what counts as an answer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use rustix::process::Signal;
use rustix::termios::LocalModes;
use support::node::Node;
use support::temp_dir;
use support::terminal::Terminal;

/// The two ways in which a question is left here, and the exit status of each.
const WAYS: [(Option<Signal>, &str); 2] = [(None, "ended with 130"), (Some(Signal::TERM), "ended with 143")];

/// Runs this at a terminal up to the last of these questions, with an answer to those before, and leaves it by Ctrl-C and
/// by SIGTERM. The terminal must then be as it was.
fn left_at_the_last(arguments: &[&str], questions: &[(&str, &str)], undone: &str) {
    for (signal, ended) in WAYS {
        let mut terminal = Terminal::run_by_shell(arguments);
        let before = terminal.settings();
        assert!(before.2.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG));
        for (number, (question, answer)) in questions.iter().enumerate() {
            terminal.sees(question);
            if number + 1 < questions.len() {
                terminal.types(answer);
            }
        }
        match signal {
            None => terminal.presses(b"\x03"),
            Some(signal) => terminal.signals_child(signal),
        }
        let words = terminal.sees(ended);
        assert!(words.contains(undone), "{arguments:?} {ended}: {words:?}");
        assert_eq!(terminal.settings(), before, "{arguments:?} {ended}");
    }
}

#[test]
fn a_question_that_is_left_leaves_the_terminal_as_it_was_and_nothing_made() {
    const GOOD: &str = "lamp river onion desk";
    let home = temp_dir();
    let path = |name: &str| home.path().join(name).display().to_string();
    let (data, net) = (path("data"), format!("loopback:{}", path("net")));
    let up = ["--data-dir", &data, "up", "--transport", &net, "--imap", "127.0.0.1:0", "--submission", "127.0.0.1:0"];
    let (name, first, again) = (("Name:", "alice"), ("Passphrase: ", GOOD), ("Once more: ", GOOD));
    let weak = ("Passphrase: ", "password1");
    for questions in
        [&[name][..], &[name, first], &[name, first, again], &[name, weak, ("Choose another one? [Y/n]", "")]]
    {
        left_at_the_last(&up, questions, "Nothing was made.");
        let left: Vec<_> = std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["lock"], "{questions:?}");
    }
    // What was said up to there does not count, and the next start asks from the beginning.
    let mut terminal = Terminal::run(&up);
    for (question, answer) in [name, first, again] {
        terminal.sees(question);
        terminal.types(answer);
    }
    terminal.sees("alice is reachable as alice@");
    terminal.presses(b"\x03");
    assert!(terminal.ends().success(), "a daemon stops by the signal");
    let locked = ("Passphrase of this node: ", GOOD);
    left_at_the_last(&up, &[locked], "The node was not started.");
    let change = ["--data-dir", &data, "passphrase", "change"];
    left_at_the_last(&change, &[locked, ("New passphrase: ", GOOD), again], "Nothing was changed.");
    left_at_the_last(&["--data-dir", &data, "repair", "--check"], &[locked], "Nothing was changed.");
    let backup = path("backup");
    let create = ["--data-dir", &data, "backup", "create", &backup];
    left_at_the_last(&create, &[("Passphrase of the backup: ", "")], "No backup was made.");
    assert!(!std::path::Path::new(&backup).exists());
    let mut terminal = Terminal::run(&up);
    terminal.sees("Passphrase of this node: ");
    terminal.types(GOOD);
    terminal.sees("alice is reachable as alice@");
    assert!(!terminal.shown().contains("lamp"), "what is typed is not shown");
}

#[test]
fn a_removal_that_is_left_removes_nothing() {
    let peers = temp_dir();
    let mut alice = Node::loopback("alice", peers.path());
    alice.start();
    alice.json(&["mail", "password", "new", "phone"]);
    let data = alice.data().display().to_string();
    let revoke = ["--data-dir", &data, "mail", "password", "revoke", "phone"];
    left_at_the_last(&revoke, &[("Revoke it? [y/N]", "")], "Nothing was changed.");
    assert_eq!(alice.json(&["mail", "password", "list"])["passwords"][0]["name"], "phone");
}

#[test]
fn a_command_that_is_left_after_its_answer_says_that_it_may_be_done() {
    for (signal, ended) in WAYS {
        let peers = temp_dir();
        let mut alice = Node::loopback("alice", peers.path());
        alice.start();
        alice.json(&["mail", "password", "new", "phone"]);
        let data = alice.data().display().to_string();
        // The daemon stands still, so that the command waits for it.
        alice.pause();
        let mut terminal = Terminal::run_by_shell(&["--data-dir", &data, "mail", "password", "revoke", "phone"]);
        let before = terminal.settings();
        terminal.sees("Revoke it? [y/N]");
        terminal.types("y");
        std::thread::sleep(std::time::Duration::from_secs(2));
        match signal {
            None => terminal.presses(b"\x03"),
            Some(signal) => terminal.signals_child(signal),
        }
        let words = terminal.sees(ended);
        assert!(words.contains("Interrupted. What was begun is done as a whole, or not at all."), "{words:?}");
        assert!(!words.contains("Nothing"), "{words:?}");
        assert_eq!(terminal.settings(), before);
        alice.resume();
    }
}

#[test]
fn an_invitation_that_is_pasted_is_taken_at_enter_and_asked_for_again_where_it_is_mistyped() {
    let peers = temp_dir();
    let (mut alice, mut bob) = (Node::loopback("alice", peers.path()), Node::loopback("bob", peers.path()));
    alice.start();
    bob.start();
    let text = alice.json(&["invite"])["invitation"].as_str().unwrap().to_owned();
    let taken = bob.run(&["contact", "add", "--petname", "bob", &text]);
    let words = String::from_utf8_lossy(&taken.stderr).into_owned();
    assert!(
        !taken.status.success() && words.contains("bob is your name") && words.contains("--petname NAME"),
        "{words}"
    );
    let other = if &text[40..41] == "a" { "b" } else { "a" };
    let wrong = format!("{}{other}{}", &text[..40], &text[41..]);
    let data = bob.data().display().to_string();
    let mut terminal = Terminal::run_by_shell(&["--data-dir", &data, "contact", "add"]);
    let before = terminal.settings();
    terminal.sees("Paste the invitation, then press Enter:");
    terminal.types(&format!("Here is my rune:\n{wrong}\nSee you"));
    terminal.sees("there is a mistyped character between");
    terminal.sees("Paste it again, then press Enter:");
    terminal.types(&text[..90]);
    terminal.sees("That is no whole invitation yet.");
    terminal.types(&format!("{}\nSee you\nwithout an end", &text[90..]));
    terminal.sees("Write to them as alice@rune.internal");
    terminal.sees("ended with 0");
    assert_eq!(terminal.settings(), before);
    // The shell waits for a line, and gets none of what was pasted.
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(terminal.runs());
    assert_eq!(bob.json(&["contact", "list"])["contacts"].as_array().unwrap().len(), 1);

    // Here no daemon runs: what is taken fails with 3, and what is not taken with 2.
    let nowhere = peers.path().join("nowhere").display().to_string();
    let add = ["--data-dir", &nowhere, "contact", "add"];
    let mut terminal = Terminal::run(&add);
    terminal.sees("then press Enter:");
    terminal.presses(text.as_bytes());
    terminal.presses(b"\x04");
    assert_eq!(terminal.ends().code(), Some(3), "{}", terminal.shown());
    terminal.sees("\nrunepeer: ");
    let mut terminal = Terminal::run(&add);
    for _ in 0..3 {
        terminal.sees("then press Enter:");
        terminal.types(&wrong);
        terminal.sees("there is a mistyped character between");
    }
    assert_eq!(terminal.ends().code(), Some(2));
    let mut terminal = Terminal::run(&add);
    terminal.sees("then press Enter:");
    terminal.presses(b"\x04");
    assert_ne!(terminal.ends().code(), Some(0));
    terminal.sees("nothing was changed");
    left_at_the_last(&add, &[("then press Enter:", "")], "Nothing was changed.");
}
