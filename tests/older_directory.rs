//! A data directory that an earlier version made opens, shows the same to a mail program and to the command line, and
//! goes on. The directory, and what it showed then, are in `tests/golden/older_directory/`; the README there says how they
//! were made.
//!
//! The test does not depend on the date: nothing expires in the first hour after a start.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use data_encoding::HEXLOWER;
use runepeer::base::{ContentId, Onion, limits};
use runepeer::mail::{Content, ContentKind, Invitation};
use runepeer::pgp::{self, SecretKeys};
use runepeer::store::OsRng;
use runepeer::wire::mailbox::{BoxCommand, Entry, Part, Style};
use runepeer::wire::token::Class;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use support::box_client::{Answer, Session, new_keys, now};
use support::mail::{Imap, Login, Smtp, message};
use support::node::Node;
use support::{program, temp_dir, wait_for};

const PASSPHRASE: &str = "of an earlier version";
const PATIENCE: Duration = Duration::from_secs(120);
/// The only folder that its owner made, with a level and letters beyond ASCII, as IMAP writes it.
const FOLDER: &str = "\"Reisen/Z&APw-rich\"";
/// What lies in the carrier for the box whose keys are kept.
const HELD: &[u8] = b"Subject: held since the earlier version\r\n\r\nIt is still here.\r\n";
/// Members of answers that say how things stand at the moment.
const PASSING: [&str; 6] = ["reachable", "connected", "attempts", "next_at", "last_error", "checked_at"];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/older_directory").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(golden(name)).unwrap()
}

/// What a mail program is told: of a message's bytes their hash, of anything else the untagged lines.
fn answer(imap: &mut Imap, command: &str) -> String {
    if let Some(uid) = command.strip_prefix("UID FETCH ").and_then(|rest| rest.strip_suffix(" (BODY.PEEK[])")) {
        let bytes = imap.body(uid.parse().unwrap()).unwrap();
        return format!("{} bytes, SHA-256 {}\n", bytes.len(), HEXLOWER.encode(&Sha256::digest(&bytes)));
    }
    let untagged = imap.run(command).unwrap();
    // Only opens the folder: how the answer is worded may change.
    if command.starts_with("EXAMINE ") {
        return String::new();
    }
    String::from_utf8(untagged).unwrap().replace("\r\n", "\n")
}

/// Runs the commands of a transcript again; the transcript as it is now.
fn shown_now(imap: &mut Imap, transcript: &str) -> String {
    let commands = transcript.lines().filter_map(|line| line.strip_prefix("> "));
    commands.map(|command| format!("> {command}\n{}", answer(imap, command))).collect()
}

/// Takes out what holds for the moment only.
fn lasting(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.into_iter().filter(|(key, _)| !PASSING.contains(&key.as_str()));
            Value::Object(kept.map(|(key, value)| (key, lasting(value))).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(lasting).collect()),
        other => other,
    }
}

fn said_now(node: &Node, command: &str) -> Value {
    lasting(node.json(&command.split(' ').collect::<Vec<_>>()))
}

fn login() -> Login {
    let kept: Value = serde_json::from_str(&read("login.json")).unwrap();
    let text = |key: &str| kept[key].as_str().unwrap().to_owned();
    Login { user: text("user"), password: text("password") }
}

/// The value without the members that the earlier version did not have.
fn as_then(now: Value, then: &Value) -> Value {
    match (now, then) {
        (Value::Object(now), Value::Object(then)) => {
            let known = now.into_iter().filter_map(|(key, value)| {
                let before = then.get(&key)?;
                Some((key, as_then(value, before)))
            });
            Value::Object(known.collect())
        }
        (Value::Array(now), Value::Array(then)) if now.len() == then.len() => {
            Value::Array(now.into_iter().zip(then).map(|(now, then)| as_then(now, then)).collect())
        }
        (now, _) => now,
    }
}

/// Everything is there as the earlier version showed it.
fn compare(node: &Node, login: &Login) {
    let transcript = read("imap.txt");
    let mut imap = Imap::open(node.port("imap"), login).unwrap();
    assert_eq!(shown_now(&mut imap, &transcript), transcript, "what a mail program is shown");
    // The field was called by the protocol's word then.
    let said = read("cli.json").replace("\"drops\":", "\"boxes\":");
    let said: Map<String, Value> = serde_json::from_str(&said).unwrap();
    for (command, then) in said {
        assert_eq!(as_then(said_now(node, &command), &then), then, "runepeer {command}");
    }
}

/// The objects in the box whose keys are kept, opened.
fn held(peers: &Path, onion: Onion, keys: &SecretKeys) -> Vec<Vec<u8>> {
    let name = keys.certificate().fingerprint();
    let mut owner = Session::connect(peers, onion).unwrap();
    assert_eq!(owner.identify(name, keys).unwrap(), 211);
    let list = BoxCommand::List { mailbox: name.to_string(), selection: Default::default(), json: false };
    let mut answers = owner.ask(&list, b"").unwrap();
    answers.pop();
    let entries: Vec<Entry> = answers.iter().map(Answer::said).collect();
    let mut retrieve = |entry: &Entry| {
        let part = Part::Range { offset: 0, length: None };
        let (mailbox, object) = (name.to_string(), entry.object);
        let command = BoxCommand::Retrieve { mailbox, object, part, style: Style::default() };
        let bytes = owner.ask(&command, b"").unwrap()[0].blocks[0].clone();
        let author = |_: &_| Some(keys.certificate().clone());
        let opened = pgp::open(&bytes, keys, &author, now()).unwrap();
        Content::decode(opened.content).unwrap().payload
    };
    entries.iter().map(&mut retrieve).collect()
}

#[test]
fn it_opens_shows_the_same_and_goes_on() {
    let peers = temp_dir();
    let mut alice = Node::loopback("alice", peers.path()).with_passphrase(PASSPHRASE);
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(golden("data.tar.gz")).arg("--no-same-owner").arg("-C").arg(alice.data());
    assert!(tar.status().expect("tar").success());
    let login = login();
    alice.start();
    compare(&alice, &login);
    // What it carries for others is there, and is theirs.
    let keys = SecretKeys::from_bytes(&HEXLOWER.decode(read("box-keys.txt").trim().as_bytes()).unwrap()).unwrap();
    let onion: Onion = alice.json(&["carrier", "show"])["onion"].as_str().unwrap().parse().unwrap();
    let reachable = || (alice.json(&["carrier", "show"])["reachable"] == true).then_some(());
    wait_for("the carrier is reachable", PATIENCE, reachable);
    assert_eq!(held(peers.path(), onion, &keys), [HELD]);

    // And once more, after this version has written to it.
    assert!(alice.terminate().success());
    alice.start();
    compare(&alice, &login);

    let mut dave = Node::loopback("dave", peers.path());
    dave.start();
    alice.befriend(&dave);
    let mut imap = Imap::open(alice.port("imap"), &login).unwrap();
    let next: u32 = number(&answer(&mut imap, "STATUS INBOX (UIDNEXT)"), "UIDNEXT ");
    dave.feed(&["send", "-t", "alice", "-s", "To the earlier version", "-"], b"Good morning.\n");
    wait_for("dave's mail", PATIENCE, || {
        (number(&answer(&mut imap, "STATUS INBOX (UIDNEXT)"), "UIDNEXT ") == next + 1).then_some(())
    });
    imap.run("SELECT INBOX").unwrap();
    let arrived = String::from_utf8(imap.body(next).unwrap()).unwrap();
    assert!(arrived.contains("To the earlier version") && arrived.contains("Good morning."), "{arrived}");
    let mut smtp = Smtp::open(alice.port("submission"), &login).unwrap();
    let to = dave.address();
    smtp.submit(&to, &message(&login.user, &to, "answer", "From the earlier version.")).unwrap();
    let login = Login::new(&dave, "test");
    let mut imap = Imap::open(dave.port("imap"), &login).unwrap();
    wait_for("the answer", PATIENCE, || {
        (number(&answer(&mut imap, "STATUS INBOX (MESSAGES)"), "MESSAGES ") == 1).then_some(())
    });
}

/// The number that follows a word.
fn number(text: &str, word: &str) -> u32 {
    let digits = text.split_once(word).unwrap().1;
    digits.split(|letter: char| !letter.is_ascii_digit()).next().unwrap().parse().unwrap()
}

/// Makes the directory, and all that is expected of it, anew with the program as it is now: see the README there.
#[test]
#[ignore = "writes tests/golden/older_directory anew where MAKE_OLDER_DIRECTORY is set"]
fn make() {
    if std::env::var_os("MAKE_OLDER_DIRECTORY").is_none() {
        return;
    }
    let peers = temp_dir();
    let mut alice = Node::loopback("alice", peers.path()).with_passphrase(PASSPHRASE);
    let [mut bob, mut carol] = ["bob", "carol"].map(|name| Node::loopback(name, peers.path()));
    [&mut alice, &mut bob, &mut carol].into_iter().for_each(Node::start);
    alice.befriend(&bob);
    alice.befriend(&carol);
    alice.json(&["contact", "set", "carol", "--receipts", "none", "--carry", "on"]);
    let login = Login::new(&alice, "mail program");
    boxes(&alice, &bob);
    receive(&alice, &bob, &carol);
    read_and_file(&alice, &login);
    compact(&mut alice, &login);
    let keys = leave_something(&alice, peers.path());
    bob.terminate();
    carol.terminate();
    let mut smtp = Smtp::open(alice.port("submission"), &login).unwrap();
    for away in [&bob, &carol] {
        let to = contact(&alice, away.name())["address"].as_str().unwrap().to_owned();
        smtp.submit(&to, &message(&login.user, &to, &format!("waits for {}", away.name()), "You are away.")).unwrap();
    }
    wait_for("one is held, one waits", PATIENCE, || {
        let queue = alice.json(&["queue", "list"])["queue"].clone();
        let state =
            |name: &str| queue.as_array().unwrap().iter().find(|row| row["to"] == name).unwrap()["state"].clone();
        (state("bob") == "held" && state("carol") == "queued").then_some(())
    });
    std::fs::write(golden("imap.txt"), transcript(&alice, &login)).unwrap();
    let commands = [
        "identity show",
        "contact list",
        "queue list",
        "queue list --ended",
        "carrier list",
        "carrier show",
        "carrier limits",
        "mail password list",
    ];
    let said: Map<String, Value> =
        commands.into_iter().map(|command| (command.to_owned(), said_now(&alice, command))).collect();
    std::fs::write(golden("cli.json"), format!("{:#}\n", Value::Object(said))).unwrap();
    std::fs::write(golden("box-keys.txt"), format!("{}\n", HEXLOWER.encode(&keys.to_bytes()))).unwrap();
    let kept = serde_json::json!({ "user": login.user, "password": login.password });
    std::fs::write(golden("login.json"), format!("{kept:#}\n")).unwrap();
    assert!(alice.terminate().success());
    // The next start names another place where its peers are.
    let config = alice.data().join("config.toml");
    let text = std::fs::read_to_string(&config).unwrap().replace(peers.path().to_str().unwrap(), "/nowhere");
    std::fs::write(&config, text).unwrap();
    let mut tar = Command::new(program("tar").expect("tar"));
    tar.args([
        "--sort=name",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
        "--exclude=./lock",
        "--exclude=./control.sock",
    ]);
    tar.arg("--exclude=view").arg("-czf").arg(golden("data.tar.gz")).arg("-C").arg(alice.data()).arg(".");
    assert!(tar.status().unwrap().success());
    assert!(std::fs::metadata(golden("data.tar.gz")).unwrap().len() <= 300 * 1024);
}

fn contact(node: &Node, name: &str) -> Value {
    node.json(&["contact", "show", name])
}

/// Each of the two rents a box at the other's carrier.
fn boxes(alice: &Node, bob: &Node) {
    for (carrier, owner) in [(alice, bob), (bob, alice)] {
        carrier.json(&["carrier", "enable"]);
        let invitation = carrier.json(&["carrier", "invite"])["invitations"][0]["invitation"].clone();
        owner.json(&["carrier", "add", invitation.as_str().unwrap(), "--name", carrier.name()]);
    }
    wait_for("both boxes are open and told", PATIENCE, || {
        let open = |node: &Node| node.json(&["carrier", "list"])["carriers"][0]["state"] == "open";
        let told = contact(alice, "bob")["boxes"] == 1 && contact(bob, "alice")["boxes"] == 1;
        (open(alice) && open(bob) && told).then_some(())
    });
}

/// Mail of both contacts, and an answer to one.
fn receive(alice: &Node, bob: &Node, carol: &Node) {
    let picture = temp_dir();
    let picture = picture.path().join("Zürich.txt");
    std::fs::write(&picture, "Häuser am See\n".repeat(40)).unwrap();
    let inbox = |wanted: usize| {
        wait_for("alice has it", PATIENCE, || {
            (alice.json(&["ls"])["messages"].as_array().unwrap().len() == wanted).then_some(())
        });
    };
    for (number, subject) in ["one", "two: Grüße", "three"].into_iter().enumerate() {
        bob.feed(&["send", "-t", "alice", "-s", subject, "-"], b"From bob.\n.\nWith a dot.\n");
        inbox(number + 1);
    }
    let attached = picture.to_str().unwrap();
    carol.feed(&["send", "-t", "alice", "-s", "four", "--important", "-a", attached, "-"], "Schöne Grüße\n".as_bytes());
    inbox(4);
    alice.feed(&["send", "-t", "bob", "-s", "Re: one", "-"], b"Thank you.\n");
    wait_for("bob has the answer", PATIENCE, || {
        (alice.json(&["queue", "list"])["queue"].as_array().unwrap().is_empty()).then_some(())
    });
}

/// Saves messages in so many starts that the log is compacted, and has a checkpoint: every start makes a segment.
fn compact(alice: &mut Node, login: &Login) {
    for number in 0..limits::SMALL_SEGMENTS + 4 {
        let text = format!("Line {number} of many.\r\n").repeat(100);
        let mut imap = Imap::open(alice.port("imap"), login).unwrap();
        imap.append("Archive", &message(&login.user, &login.user, &format!("archived-{number}"), &text)).unwrap();
        // A start that was just made may end by the signal itself.
        alice.terminate();
        alice.start();
    }
    let identity = |path: &PathBuf| path.join("log").is_dir();
    let mut folders = std::fs::read_dir(alice.data()).unwrap().map(|entry| entry.unwrap().path());
    let log = folders.find(identity).unwrap().join("log");
    wait_for("a checkpoint", PATIENCE, || {
        let mut files = std::fs::read_dir(&log).unwrap().map(|entry| entry.unwrap().path());
        files.any(|path| path.extension().is_some_and(|extension| extension == "ckp")).then_some(())
    });
}

/// A mail program reads, flags, moves, saves and removes.
fn read_and_file(alice: &Node, login: &Login) {
    let mut imap = Imap::open(alice.port("imap"), login).unwrap();
    let sent = message(&login.user, &login.user, "kept", "A copy of what was sent.");
    imap.append("Sent", &sent).unwrap();
    imap.append("Drafts", &message(&login.user, &login.user, "unfinished", "Dear")).unwrap();
    for command in [
        &format!("CREATE {FOLDER}"),
        "SELECT Drafts",
        "STORE 1 +FLAGS (\\Draft)",
        "SELECT INBOX",
        "UID STORE 1 +FLAGS (\\Seen \\Answered)",
        "UID STORE 2 +FLAGS (\\Seen \\Flagged Reise)",
        "UID STORE 3 +FLAGS (\\Deleted)",
        "EXPUNGE",
        &format!("UID COPY 1 {FOLDER}"),
        &format!("UID MOVE 2 {FOLDER}"),
    ] {
        imap.run(command).unwrap();
    }
    // Flags may lag behind by 100 ms.
    std::thread::sleep(Duration::from_secs(1));
}

/// Leaves something at alice's carrier in a box of which the keys are known.
fn leave_something(alice: &Node, peers: &Path) -> SecretKeys {
    let shown = alice.json(&["carrier", "show"]);
    let onion: Onion = shown["onion"].as_str().unwrap().parse().unwrap();
    wait_for("the carrier is reachable", PATIENCE, || {
        (alice.json(&["carrier", "show"])["reachable"] == true).then_some(())
    });
    let made = alice.json(&["carrier", "invite", "--quota-mib", "2", "--hold-days", "14"]);
    let invitation = Invitation::parse_box(made["invitations"][0]["invitation"].as_str().unwrap()).unwrap();
    let keys = new_keys();
    let connect = || Session::connect(peers, onion).unwrap();
    assert_eq!(connect().register(&keys, &invitation).unwrap(), 210);
    let mut owner = connect();
    assert_eq!(owner.identify(keys.certificate().fingerprint(), &keys).unwrap(), 211);
    let tokens = owner.upload(Class::of(4096).unwrap(), 8);
    let content = Content {
        kind: ContentKind::Mail,
        id: ContentId::random(&mut OsRng),
        expires: now().plus(Duration::from_secs(5 * 86_400)),
        receipt: None,
        payload: HELD.to_vec(),
    };
    let object = pgp::seal(&content.encode(), &keys, keys.certificate(), now()).unwrap();
    assert_eq!(connect().deposit(tokens[0], &object).unwrap(), 202);
    keys
}

/// The commands of a mail program that looks at everything, and their answers.
fn transcript(alice: &Node, login: &Login) -> String {
    let mut imap = Imap::open(alice.port("imap"), login).unwrap();
    let listed = answer(&mut imap, "LIST \"\" \"*\"");
    let mut commands = Vec::new();
    for line in listed.lines() {
        let folder = line.split_once(" \"/\" ").unwrap().1;
        commands.push(format!("LIST \"\" {folder}"));
        commands.push(format!("LSUB \"\" {folder}"));
        // A level above a folder is no folder by itself.
        if line.to_ascii_lowercase().contains("\\nos") {
            continue;
        }
        commands.push(format!("STATUS {folder} (MESSAGES UIDNEXT UIDVALIDITY UNSEEN)"));
        imap.run(&format!("EXAMINE {folder}")).unwrap();
        commands.push(format!("EXAMINE {folder}"));
        let found = answer(&mut imap, "UID SEARCH ALL");
        let uids: Vec<&str> = found.split_whitespace().skip(2).collect();
        if !uids.is_empty() {
            commands.push("UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)".to_owned());
        }
        commands.extend(uids.iter().map(|uid| format!("UID FETCH {uid} (BODY.PEEK[])")));
    }
    let commands: String = commands.iter().map(|command| format!("> {command}\n")).collect();
    shown_now(&mut imap, &commands)
}
