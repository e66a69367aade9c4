//! What the command line promises: exit codes, sentences that say what to do, JSON.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout
)]

mod support;

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use support::node::Node;
use support::temp_dir;

fn runepeer(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_runepeer")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// The exit status and what stands on standard error.
fn failure(output: &Output) -> (i32, String) {
    assert!(!output.status.success());
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn without_a_daemon_the_next_step_is_named() {
    let home = temp_dir();
    let data = home.path().join("data");
    let (code, words) = failure(&runepeer(&["--data-dir", data.to_str().unwrap()]));
    assert_eq!(code, 3);
    assert!(words.contains("nothing is set up yet; begin with: runepeer up"), "{words}");
    let output = runepeer(&["--data-dir", data.to_str().unwrap(), "--json", "ls"]);
    assert_eq!(output.status.code(), Some(3));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["schema"], 1);
    assert_eq!(json["error"]["code"], "daemon-down");
    assert_eq!(json["error"]["retryable"], true);
    assert!(!data.exists(), "asking makes no directory");
    // Where something is set up, it is only to be started.
    std::fs::create_dir_all(data.join("keys")).unwrap();
    let (code, words) = failure(&runepeer(&["--data-dir", data.to_str().unwrap()]));
    assert_eq!(code, 3);
    assert!(words.contains("start it with: runepeer up") && !words.contains("nothing is set up"), "{words}");
}

#[test]
fn wrong_arguments_end_with_2_and_help_with_0() {
    assert_eq!(runepeer(&["frobnicate"]).status.code(), Some(2));
    // A folder's messages are listed by `ls`.
    assert_eq!(runepeer(&["list"]).status.code(), Some(2));
    assert_eq!(runepeer(&["invite", "--expires", "soon"]).status.code(), Some(2));
    assert_eq!(runepeer(&["--help"]).status.code(), Some(0));
    assert_eq!(runepeer(&["--version"]).status.code(), Some(0));
    let helped = |arguments: &[&str]| {
        let output = runepeer(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        output.stdout
    };
    assert_eq!(helped(&["help"]), helped(&["--help"]));
    assert_eq!(helped(&["help", "mail", "setup"]), helped(&["mail", "setup", "--help"]));
    for noun in ["invite", "carrier"] {
        // An invitation counts in hours.
        let verb: &[&str] = if noun == "carrier" { &["help", noun, "invite"] } else { &["help", noun] };
        assert!(String::from_utf8(helped(verb)).unwrap().contains("full hour (UTC)"), "{noun}");
    }
    // Words that are usual elsewhere.
    for (word, here) in [("stop", "'down'"), ("start", "'up'"), ("list", "'ls'")] {
        let (code, words) = failure(&runepeer(&[word]));
        assert!(code == 2 && words.contains(here), "{words}");
    }
    assert!(!failure(&runepeer(&["carrier", "stop"])).1.contains("'down'"));
    let said = |arguments: &[&str]| String::from_utf8(runepeer(arguments).stdout).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(said(&["version"]), format!("runepeer {version}\n"));
    let json: serde_json::Value = serde_json::from_str(&said(&["--json", "version"])).unwrap();
    assert_eq!(json, serde_json::json!({ "schema": 1, "version": version }));
    assert_eq!(said(&["--data-dir", "/nowhere", "config", "path"]), "/nowhere/config.toml\n");
    let json: serde_json::Value =
        serde_json::from_str(&said(&["--json", "--data-dir", "/nowhere", "config", "path"])).unwrap();
    assert_eq!(json, serde_json::json!({ "schema": 1, "path": "/nowhere/config.toml" }));
}

#[test]
fn wrong_arguments_are_json_to_a_script() {
    for arguments in [&["--json", "frobnicate"][..], &["ls", "--bogus", "--json"], &["--json", "read", "x\u{1b}[2J"]] {
        let output = runepeer(arguments);
        assert_eq!(output.status.code(), Some(2));
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(json["error"]["code"], "usage");
        assert!(!json["error"]["message"].as_str().unwrap().is_empty());
    }
}

#[test]
fn too_much_on_standard_input_is_refused_not_cut() {
    let home = temp_dir();
    let long = home.path().join("long");
    std::fs::write(&long, "x".repeat(26_214_401)).unwrap();
    for arguments in [&["contact", "add", "-"][..], &["send", "-t", "nobody", "-"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_runepeer"))
            .args(["--data-dir", home.path().join("data").to_str().unwrap()])
            .args(arguments)
            .stdin(std::fs::File::open(&long).unwrap())
            .output()
            .unwrap();
        let (code, words) = failure(&output);
        assert!(code == 2 && words.contains("more than"), "{words}");
    }
}

#[test]
fn up_on_an_empty_directory_needs_a_good_name() {
    let home = temp_dir();
    let data = home.path().join("data");
    let up = |arguments: &[&str]| {
        let peers = format!("loopback:{}", home.path().join("peers").display());
        let fixed = ["--data-dir", data.to_str().unwrap(), "--no-input", "up", "--transport", &peers];
        let fixed = [&fixed[..], &["--submission", "127.0.0.1:0"]].concat();
        runepeer(&[&fixed[..], arguments].concat())
    };
    let (code, words) = failure(&up(&[]));
    assert!(code == 2 && words.contains("--name"), "{words}");
    let (code, words) = failure(&up(&["--name", "a b"]));
    assert!(code == 2 && words.contains("3 to 50"), "{words}");
    let (code, words) = failure(&up(&["--name", "alice", "--imap", "192.0.2.1:143"]));
    assert!(code == 2 && words.contains("loopback"), "{words}");
    let (code, words) = failure(&up(&["--name", "alice", "--imap", "imap"]));
    assert!(code == 2 && words.contains("a port, as 1144, or an address with one, as 127.0.0.1:1144"), "{words}");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().to_string();
    let (code, words) = failure(&up(&["--name", "alice", "--imap", &port]));
    assert!(code == 1 && words.contains("choose another one with --imap"), "{words}");
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o755)).unwrap();
    let (code, words) = failure(&up(&["--name", "alice", "--imap", "127.0.0.1:0"]));
    assert!(code == 1 && words.contains("chmod 700"), "{words}");
}

#[test]
fn a_locked_node_opens_with_its_passphrase_only() {
    let peers = temp_dir();
    let mut alice = Node::loopback("alice", peers.path()).with_passphrase("the right one");
    alice.start();
    let second = alice.run(&["up"]);
    let (code, words) = failure(&second);
    assert!(code == 75 && words.contains("another daemon runs"), "{words}");
    let begin = Instant::now();
    assert!(alice.run(&["down"]).status.success());
    assert!(begin.elapsed() < Duration::from_secs(12));
    let (code, words) = failure(&alice.run(&["up"]));
    assert!(code == 5 && words.contains("--passphrase-file"), "{words}");
    let wrong = peers.path().join("wrong");
    std::fs::write(&wrong, "the wrong one\n").unwrap();
    let (code, words) = failure(&alice.run(&["up", "--passphrase-file", wrong.to_str().unwrap()]));
    assert!(code == 5 && words.contains("passphrase is wrong"), "{words}");
    alice.kill();
    alice.start();
}

#[test]
fn commands_answer_in_words_and_json() {
    let peers = temp_dir();
    let mut alice = Node::loopback("alice", peers.path());
    alice.start();
    let status = alice.json(&["status"]);
    for key in ["version", "pid", "identities", "listen", "tor", "carriers", "queue", "backup", "disk"] {
        assert!(status.get(key).is_some(), "status lacks {key}");
    }
    assert_eq!(status["schema"], 1);

    let invitation = alice.json(&["invite"]);
    let text = invitation["invitation"].as_str().unwrap().to_owned();
    assert!(text.starts_with("rune:"));
    assert_eq!(invitation["uses"], 1);
    let png = peers.path().join("code.png");
    assert!(alice.run(&["invite", "--qr", "--png", png.to_str().unwrap()]).status.success());
    assert!(std::fs::read(&png).unwrap().starts_with(b"\x89PNG"));
    let open = alice.json(&["invite", "list"]);
    assert_eq!(open["invitations"].as_array().unwrap().len(), 2);
    let id = open["invitations"][0]["id"].as_str().unwrap();
    let (code, _) = failure(&alice.run(&["invite", "revoke", id]));
    assert_eq!(code, 2, "revoking asks, and nobody can be asked");
    assert!(alice.run(&["--yes", "invite", "revoke", id]).status.success());
    assert_eq!(alice.json(&["invite", "list"])["invitations"].as_array().unwrap().len(), 1);

    // A typo is located; one's own invitation is refused.
    let mut typed: Vec<char> = text.chars().collect();
    typed[40] = if typed[40] == 'a' { 'b' } else { 'a' };
    let (code, words) = failure(&alice.run(&["contact", "add", &typed.iter().collect::<String>()]));
    assert!(code == 2 && words.contains("between characters"), "{words}");
    assert!(!alice.run(&["contact", "add", &text]).status.success());

    let (code, words) = failure(&alice.run(&["send", "-t", "nobody", "-s", "x"]));
    assert!(code == 4 && words.contains("contact add"), "{words}");
    let (code, _) = failure(&alice.run(&["read", "7"]));
    assert_eq!(code, 4);
    let (code, _) = failure(&alice.run(&["ls", "Nowhere"]));
    assert_eq!(code, 4);
    let (code, _) = failure(&alice.run(&["-i", "zoe", "identity", "show"]));
    assert_eq!(code, 4);

    let password = alice.json(&["mail", "password", "new", "phone"]);
    assert_eq!(password["user"], alice.address());
    assert!(password["password"].as_str().unwrap().len() >= 26);
    let (code, words) = failure(&alice.run(&["mail", "password", "new", "phone"]));
    assert!(code == 1 && words.contains("there is a password phone already"), "{words}");
    assert!(words.contains("runepeer mail password revoke phone"), "{words}");
    assert_eq!(alice.json(&["mail", "password", "list"])["passwords"][0]["name"], "phone");
    let settings = alice.json(&["mail", "setup", "show"]);
    assert_eq!(settings["imap"]["port"], alice.port("imap"));
    assert_eq!(settings["submission"]["user"], alice.address());
    let words = String::from_utf8(alice.run(&["mail", "setup", "show"]).stdout).unwrap();
    for part in ["User name:      alice (", "petname@rune.internal", "ssl_force_tls=no", "/user=alice/notls"] {
        assert!(words.contains(part), "{words}");
    }

    // Another identity: then a command must say which is meant.
    assert!(alice.run(&["identity", "new", "work"]).status.success());
    let (code, words) = failure(&alice.run(&["ls"]));
    assert!(code == 2 && words.contains("-i NAME"), "{words}");
    assert_eq!(alice.json(&["-i", "work", "ls"])["messages"].as_array().unwrap().len(), 0);
}

#[test]
fn a_message_from_the_command_line_arrives() {
    let peers = temp_dir();
    let (mut alice, mut bob) = (Node::loopback("alice", peers.path()), Node::loopback("bob", peers.path()));
    alice.start();
    bob.start();
    alice.befriend(&bob);
    let file = peers.path().join("notes.txt");
    std::fs::write(&file, "attached").unwrap();
    bob.feed(&["send", "-t", "alice", "-s", "Grüße", "-a", file.to_str().unwrap(), "-"], b"Hello\n");
    let list = support::wait_for("the mail", Duration::from_secs(30), || {
        let list = alice.json(&["ls"]);
        (!list["messages"].as_array().unwrap().is_empty()).then_some(list)
    });
    assert_eq!(list["messages"][0]["subject"], "Grüße");
    let uid = list["messages"][0]["uid"].to_string();
    let message = String::from_utf8(alice.run(&["read", &uid]).stdout).unwrap();
    assert!(message.contains("Hello\r\n") && message.contains("notes.txt"), "{message}");
    assert!(!message.contains("rune.internal"), "a petname left the node");
    assert!(message.contains(&format!("From: \"bob\" <{}>\r\n", bob.address())), "{message}");
    // As a mail program would, the command keeps a copy.
    let sent = bob.json(&["ls", "Sent"]);
    assert_eq!(sent["messages"].as_array().unwrap().len(), 1, "{sent}");
    assert!(sent["messages"][0]["subject"] == "Grüße" && sent["messages"][0]["seen"] == true, "{sent}");
    let uid = sent["messages"][0]["uid"].to_string();
    let kept = String::from_utf8(bob.run(&["read", &uid, "Sent"]).stdout).unwrap();
    assert!(kept.contains("Hello\r\n") && kept.contains("notes.txt"), "{kept}");

    // A name that is nearly that of a contact is answered with that one.
    let (code, words) = failure(&bob.run(&["send", "-t", "alcie", "-s", "x"]));
    assert!(code == 4 && words.contains("alcie is not in the address book; did you mean alice?"), "{words}");
    for verb in ["show", "block"] {
        let (code, words) = failure(&bob.run(&["contact", verb, "alise@rune.internal"]));
        assert!(code == 4 && words.contains("no such contact") && words.contains("did you mean alice?"), "{words}");
    }
    let (_, words) = failure(&bob.run(&["contact", "show", "dave"]));
    assert!(!words.contains("did you mean"), "{words}");

    // A contact is told with the address at which a mail program writes to it.
    assert_eq!(alice.json(&["contact", "show", "bob"])["write_to"], "bob@rune.internal");
    let another = bob.json(&["invite"])["invitation"].as_str().unwrap().to_owned();
    let words = String::from_utf8(alice.feed(&["contact", "add", "-"], another.as_bytes()).stderr).unwrap();
    assert!(words.contains("Write to them as bob@rune.internal"), "{words}");
}

#[test]
fn a_contact_is_blocked_let_back_and_removed_from_the_command_line() {
    let peers = temp_dir();
    let (mut alice, mut bob) = (Node::loopback("alice", peers.path()), Node::loopback("bob", peers.path()));
    alice.start();
    bob.start();
    alice.befriend(&bob);
    let send = |subject: &str| bob.feed(&["send", "-t", "alice", "-s", subject, "--important", "-"], b"Hello\n");
    let delivered = |what: &str| {
        support::wait_for(what, Duration::from_secs(30), || {
            bob.json(&["queue", "list"])["queue"].as_array().unwrap().is_empty().then_some(())
        });
    };
    assert_eq!(alice.json(&["contact", "block", "bob"])["status"], "blocked");
    send("dropped");
    delivered("bob to hear that it arrived");
    assert!(alice.json(&["ls"])["messages"].as_array().unwrap().is_empty());
    let (code, words) = failure(&alice.run(&["send", "-t", "bob", "-s", "x"]));
    assert!(code == 4 && words.contains("contact unblock bob"), "{words}");
    assert_eq!(alice.json(&["contact", "unblock", "bob"])["status"], "confirmed");
    send("kept");
    let list = support::wait_for("the mail", Duration::from_secs(30), || {
        let list = alice.json(&["ls"]);
        (!list["messages"].as_array().unwrap().is_empty()).then_some(list)
    });
    assert_eq!(list["messages"][0]["subject"], "kept");
    let (code, _) = failure(&alice.run(&["contact", "rm", "bob"]));
    assert_eq!(code, 2, "removing asks, and nobody can be asked");
    assert!(alice.run(&["--yes", "contact", "rm", "bob"]).status.success());
    assert!(alice.json(&["contact", "list"])["contacts"].as_array().unwrap().is_empty());
    for verb in ["block", "unblock", "rm"] {
        assert_eq!(failure(&alice.run(&["--yes", "contact", verb, "bob"])).0, 4, "{verb}");
    }
}

#[test]
fn nobody_becomes_unreachable_without_being_told() {
    let peers = temp_dir();
    let mut alice = Node::loopback("alice", peers.path());
    alice.start();
    assert_eq!(alice.json(&["status"])["identities"][0]["problem"], serde_json::Value::Null);
    let (code, words) = failure(&alice.run(&["identity", "set", "--listen", "never"]));
    assert!(code == 1 && words.contains("carrier add") && words.contains("--yes"), "{words}");
    assert_eq!(alice.json(&["identity", "show"])["listen"], "always");
    assert!(alice.run(&["--yes", "identity", "set", "--listen", "never"]).status.success());
    let words = String::from_utf8(alice.run(&["status"]).stdout).unwrap();
    assert!(words.contains("nobody can reach it"), "{words}");
    assert!(alice.run(&["identity", "set", "--listen", "always"]).status.success());
    assert_eq!(alice.json(&["status"])["identities"][0]["problem"], serde_json::Value::Null);
}

#[test]
fn what_a_contact_hears_and_who_carries_is_said_in_words() {
    let peers = temp_dir();
    let (mut alice, mut bob) = (Node::loopback("alice", peers.path()), Node::loopback("bob", peers.path()));
    alice.start();
    bob.start();
    alice.befriend(&bob);
    let set = |change: [&str; 2]| {
        let output = alice.run(&["contact", "set", "bob", change[0], change[1]]);
        assert!(output.status.success(), "{change:?}: {output:?}");
        String::from_utf8(alice.run(&["contact", "show", "bob"]).stdout).unwrap()
    };
    let (nothing, read, carried) =
        ("hear nothing of their mail", "hear what you have read", "your node carries their mail");
    assert!(set(["--receipts", "none"]).contains(nothing));
    assert_eq!(alice.json(&["contact", "show", "bob"])["receipts"]["given"], "none");
    assert!(set(["--receipts", "read"]).contains(read));
    let words = set(["--receipts", "delivered"]);
    assert!(!words.contains(nothing) && !words.contains(read) && !words.contains(carried), "{words}");
    let words = set(["--carry", "on"]);
    assert!(words.contains(carried) && words.contains("sees to whom they write"), "{words}");
    assert!(!set(["--carry", "off"]).contains(carried));
    assert!(!set(["--via", "none"]).contains("carries"));

    for wrong in [&[][..], &["--receipts", "all"], &["--carry", "maybe"]] {
        let (code, _) = failure(&alice.run(&[&["contact", "set", "bob"], wrong].concat()));
        assert_eq!(code, 2, "{wrong:?}");
    }
    for (who, friend, expected) in [("carol", "none", 4), ("bob", "carol", 4), ("bob", "bob", 1)] {
        let (code, words) = failure(&alice.run(&["contact", "set", who, "--via", friend]));
        assert!(code == expected && !words.is_empty(), "{who} {friend}: {code} {words}");
    }
}

#[test]
fn a_passphrase_that_would_protect_nothing_is_refused() {
    let peers = temp_dir();
    let mut alice = Node::loopback("alice", peers.path());
    alice.start();
    assert!(alice.run(&["down"]).status.success());
    alice.kill();
    let file = peers.path().join("passphrase");
    std::fs::write(&file, "too late\n").unwrap();
    let (code, words) = failure(&alice.run(&["up", "--passphrase-file", file.to_str().unwrap()]));
    assert!(code == 2 && words.contains("without a passphrase"), "{words}");
    // It has its identity, and says so to whoever gives it a name.
    let told = "There is an identity already; --name is for an empty data directory.";
    assert!(!alice.words().contains(told));
    alice.start();
    assert!(alice.words().contains(told), "{}", alice.words());
}

/// What this command writes to a terminal that stands for its standard error.
fn on_terminal(data: &std::path::Path, arguments: &[&str]) -> String {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let terminal = std::fs::File::options().read(true).write(true).open(name).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_runepeer"));
    command.arg("--data-dir").arg(data).args(arguments).env("TERM", "xterm").env_remove("NO_COLOR");
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(terminal).spawn().unwrap();
    // The last one who holds the terminal is the program: reading ends with it.
    drop(command);
    let (mut shown, mut piece) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = rustix::io::read(&master, &mut piece) {
        shown.extend_from_slice(&piece[..read]);
    }
    assert!(child.wait().unwrap().success());
    String::from_utf8_lossy(&shown).into_owned()
}

#[test]
fn progress_is_shown_to_whoever_looks_and_nobody_else() {
    let peers = temp_dir();
    let mut alice = Node::loopback("alice", peers.path());
    alice.start();
    assert!(alice.run(&["down"]).status.success());
    let data = alice.data();
    let shown = on_terminal(&data, &["repair", "--check"]);
    assert!(shown.contains("reading") && shown.contains('%'), "{shown:?}");
    for arguments in [["--quiet", "repair", "--check"], ["--json", "repair", "--check"]] {
        let shown = on_terminal(&data, &arguments);
        assert!(!shown.contains("reading") && !shown.contains('%'), "{shown:?}");
    }
    let piped = alice.run(&["repair", "--check"]);
    assert!(piped.status.success() && piped.stderr.is_empty());
}

#[test]
fn the_demo_tells_its_story_to_the_end() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runepeer"));
    command.arg("demo");
    let output = support::programs::run(command, b"");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let story = String::from_utf8_lossy(&output.stderr);
    let mut rest = &*story;
    for words in [
        "Three people on this machine: alice, bob and carol. Unix sockets stand in for Tor; all else is real.",
        "Each has an address of its own (an onion name), OpenPGP keys whose seal a quantum computer does",
        "not open either, and a sealed mailbox. Nobody knows anybody yet.",
        "alice makes an invitation and gives it to bob:",
        "  rune:",
        "bob adds it. Now both have each other in the address book, with keys that were checked.",
        "alice makes an invitation and gives it to carol:",
        "carol adds it.",
        "alice writes to bob in her mail program, with a photo of 300 KiB attached. It speaks SMTP to",
        "her own node, which answers only when the message is safe on the disk:",
        "  250 ",
        "Her node signed it, sealed it to bob, and handed it to bob's node, onion to onion. bob's node opened",
        "and verified it, put it on its disk, and only then said 202: alice's queue is empty.",
        "bob reads it in his mail program over IMAP: ",
        " bytes, text and photo as she wrote them.",
        "bob's node is always on. He makes it a carrier, and gives carol an invitation to a box there:",
        "  rune",
        "carol's node tells alice's. bob's will not learn who leaves what there, nor what it says.",
        "carol goes offline, and alice writes to her.",
        "alice's status says: held by 1 carrier, not with her yet. That is all she can know, and all it says.",
        "carol is back. Her node collects the mail from her box, and returns a receipt that only it can make.",
        "alice's status says: delivered. bob's carrier holds nothing any more.",
        "That was the whole thing, in ",
    ] {
        rest = rest.split_once(words).unwrap_or_else(|| panic!("{words:?} is missing in {rest}")).1;
    }
    assert!(output.stdout.is_empty());
}

#[test]
fn bridges_are_kept_for_the_next_start_and_a_wrong_one_is_named_by_it() {
    const KEY: &str = "0123456789012345678901234567890123456789";
    let home = temp_dir();
    let data = home.path().join("data");
    let run =
        |arguments: &[&str]| runepeer(&[&["--data-dir", data.to_str().unwrap(), "--no-input"], arguments].concat());
    let listed = || {
        let json: serde_json::Value =
            serde_json::from_slice(&run(&["--json", "bridge", "list"]).stdout).expect("a list in JSON");
        json["bridges"].as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(listed().is_empty());
    let (one, other) = (format!("192.0.2.1:443 {KEY}"), format!("192.0.2.2:443 {KEY}"));
    let added = run(&["bridge", "add", &format!("Bridge {one}")]);
    assert!(String::from_utf8_lossy(&added.stderr).contains("next start"), "{added:?}");
    assert!(run(&["bridge", "add", &other]).status.success());
    assert_eq!(listed(), [one.clone(), other]);
    let mode = std::os::unix::fs::MetadataExt::mode(&data.join("config.toml").metadata().unwrap());
    assert_eq!(mode & 0o777, 0o600, "bridges are shown to their owner only");
    let (code, words) = failure(&run(&["bridge", "add", &format!("obfs4 192.0.2.3:443 {KEY} cert=x iat-mode=0")]));
    assert!(code == 2 && words.contains("obfs4proxy") && words.contains("[[tor.bridges.transports]]"), "{words}");
    assert!(run(&["bridge", "rm", "2"]).status.success());
    assert_eq!(listed(), [one]);
    let (code, words) = failure(&run(&["bridge", "rm", "1"]));
    assert!(code == 2 && words.contains("--yes"), "without a bridge Tor is used in the open: {words}");

    let path = data.join("config.toml");
    let broken =
        std::fs::read_to_string(&path).unwrap().replace(&format!(":443 {KEY}"), &format!(":443 {}", &KEY[1..]));
    std::fs::write(&path, broken).unwrap();
    let (code, words) =
        failure(&run(&["up", "--name", "alice", "--imap", "127.0.0.1:0", "--submission", "127.0.0.1:0"]));
    assert!(code == 1 && words.contains("bridge 1 cannot be used") && words.contains(&KEY[1..]), "{words}");
    assert!(words.contains("runepeer bridge list"), "{words}");
    assert!(run(&["--yes", "bridge", "rm", "1"]).status.success());
    assert!(listed().is_empty());
}
