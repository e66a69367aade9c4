//! A carrier under the real binary, with real keys: a friend registers a box, a stranger leaves sealed mail against
//! tokens, the friend collects it; kills in between lose nothing, and the disk shows nobody.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use runepeer::base::{ContentId, Onion};
use runepeer::mail::{Content, ContentKind, Invitation};
use runepeer::pgp::{self, SecretKeys};
use runepeer::store::OsRng;
use runepeer::wire::mailbox::{BoxCommand, Count, Entry, Part, Style};
use runepeer::wire::token::{Class, epoch};
use support::box_client::{Session, new_keys, now};
use support::node::Node;
use support::{temp_dir, wait_for};

const CANARY: &str = "Subject: canary-of-the-box";

/// A node that carries, and its onion.
fn carrier(peers: &Path) -> (Node, Onion) {
    let mut node = Node::loopback("bob", peers);
    node.start();
    let enabled = node.json(&["carrier", "enable"]);
    let onion: Onion = enabled["onion"].as_str().unwrap().parse().unwrap();
    wait_until_reachable(&node);
    (node, onion)
}

fn wait_until_reachable(node: &Node) {
    wait_for("the carrier is reachable", Duration::from_secs(30), || {
        (node.json(&["carrier", "show"])["reachable"] == true).then_some(())
    });
}

fn invitation(node: &Node, more: &[&str]) -> Invitation {
    let made = node.json(&[&["carrier", "invite"], more].concat());
    Invitation::parse_box(made["invitations"][0]["invitation"].as_str().unwrap()).unwrap()
}

fn object(from: &SecretKeys, to: &SecretKeys, text: &str) -> Vec<u8> {
    let content = Content {
        kind: ContentKind::Mail,
        id: ContentId::random(&mut OsRng),
        expires: now().plus(Duration::from_secs(86_400)),
        receipt: None,
        payload: text.as_bytes().to_vec(),
    };
    pgp::seal(&content.encode(), from, to.certificate(), now()).unwrap()
}

fn entries(session: &mut Session, mailbox: &str) -> Vec<Entry> {
    let list = BoxCommand::List { mailbox: mailbox.to_owned(), selection: Default::default(), json: false };
    let mut answers = session.ask(&list, b"").unwrap();
    assert_eq!(answers.pop().unwrap().code(), 242);
    answers.iter().map(support::box_client::Answer::said).collect()
}

#[test]
fn mail_that_was_left_survives_kills_and_is_collected_once() {
    let peers = temp_dir();
    let (mut node, onion) = carrier(peers.path());
    let invitation = invitation(&node, &[]);
    let (box_keys, alice) = (new_keys(), new_keys());
    let name = box_keys.certificate().fingerprint();
    let connect = || Session::connect(peers.path(), onion).unwrap();
    assert_eq!(connect().register(&box_keys, &invitation).unwrap(), 210);
    assert_eq!(connect().register(&alice, &invitation).unwrap(), 417, "it works once");
    node.restart_after_kill();
    wait_until_reachable(&node);

    let mut owner = connect();
    assert_eq!(owner.identify(name, &box_keys).unwrap(), 211);
    let tokens = owner.upload(Class::of(4096).unwrap(), 8);
    let large = owner.upload(Class::of(4 << 20).unwrap(), 1);
    let watch = BoxCommand::Watch { mailbox: name.to_string() };
    assert_eq!(owner.ask(&watch, b"").unwrap()[0].code(), 260);
    let mut left: Vec<_> =
        (0..5).map(|number| object(&alice, &box_keys, &format!("{CANARY} {number}\r\n\r\n"))).collect();
    for (token, object) in tokens.iter().zip(&left) {
        // Whoever deposits shows nothing but a token, on a connection of its own.
        assert_eq!(connect().deposit(*token, object).unwrap(), 202);
        assert_eq!(owner.answers().unwrap()[0].code(), 261, "whoever watches is told");
    }
    left.push(object(&alice, &box_keys, &format!("{CANARY}\r\n\r\n{}", "x".repeat(3_500_000))));
    assert_eq!(connect().deposit(large[0], &left[5]).unwrap(), 202);
    assert_eq!(connect().deposit(tokens[0], &left[1]).unwrap(), 420, "another object");
    assert_eq!(connect().deposit([1; 32], &left[1]).unwrap(), 420, "no such token");
    let forged = vec![0x55; 4096];
    assert_eq!(connect().deposit(tokens[6], &forged).unwrap(), 409, "no object");
    node.restart_after_kill();
    wait_until_reachable(&node);
    // The answer was lost, perhaps: the same again is there already.
    assert_eq!(connect().deposit(tokens[0], &left[0]).unwrap(), 202);

    let mut owner = connect();
    assert_eq!(owner.identify(name, &box_keys).unwrap(), 211);
    let mailbox = name.to_string();
    let check = BoxCommand::Check { mailbox: mailbox.clone(), recursive: false };
    let count: Count = owner.ask(&check, b"").unwrap()[0].said();
    assert_eq!((count.unread, count.total), (6, 6));
    let found = entries(&mut owner, &mailbox);
    let mut collected = Vec::new();
    for entry in &found {
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < entry.size {
            let part = Part::Range { offset: bytes.len() as u64, length: None };
            let (object, style) = (entry.object, Style::default());
            let retrieve = BoxCommand::Retrieve { mailbox: mailbox.clone(), object, part, style };
            bytes.extend_from_slice(&owner.ask(&retrieve, b"").unwrap()[0].blocks[0]);
        }
        collected.push(bytes);
    }
    collected.sort();
    left.sort();
    assert!(collected == left, "what is collected is what was left");
    let objects = found.iter().map(|entry| entry.object).collect();
    let delete = BoxCommand::Delete { mailbox: mailbox.clone(), objects };
    assert_eq!(owner.ask(&delete, b"").unwrap()[0].code(), 253);
    node.restart_after_kill();
    let shown = node.json(&["carrier", "show"]);
    assert_eq!(shown["held"], 0, "what was deleted does not come back");
    assert_eq!(shown["mailboxes"].as_array().unwrap().len(), 1);
}

#[test]
fn the_disk_and_the_words_of_a_carrier_show_nobody() {
    let peers = temp_dir();
    let mut node = Node::loopback("bob", peers.path()).with_passphrase("correct horse").talkative();
    node.start();
    let onion: Onion = node.json(&["carrier", "enable"])["onion"].as_str().unwrap().parse().unwrap();
    wait_until_reachable(&node);
    let invitation = invitation(&node, &["--quota-mib", "2", "--hold-days", "3"]);
    let (box_keys, alice) = (new_keys(), new_keys());
    let connect = || Session::connect(peers.path(), onion).unwrap();
    assert_eq!(connect().register(&box_keys, &invitation).unwrap(), 210);
    let mut owner = connect();
    assert_eq!(owner.identify(box_keys.certificate().fingerprint(), &box_keys).unwrap(), 211);
    let tokens = owner.upload(Class::of(4096).unwrap(), 128);
    for token in tokens.iter().take(100) {
        let object = object(&alice, &box_keys, &format!("{CANARY}\r\n\r\n"));
        assert_eq!(connect().deposit(*token, &object).unwrap(), 202);
    }
    // Of the author, and of what was written, not even its memory knows anything.
    let fingerprint = alice.certificate().fingerprint();
    let memory = memory_image(&node);
    let name = box_keys.certificate().fingerprint();
    assert!(
        memory.windows(32).any(|window| window == name.as_bytes()),
        "the name of the box is there, so it is the memory"
    );
    for secret in [CANARY.as_bytes(), fingerprint.as_bytes(), fingerprint.to_string().as_bytes()] {
        let shown = memory.windows(secret.len()).any(|window| window == secret);
        assert!(!shown, "its memory shows {}", String::from_utf8_lossy(secret));
    }
    node.terminate();
    let secrets: Vec<Vec<u8>> = vec![
        CANARY.as_bytes().to_vec(),
        fingerprint.as_bytes().to_vec(),
        fingerprint.to_string().into_bytes(),
        box_keys.certificate().fingerprint().as_bytes().to_vec(),
        box_keys.certificate().fingerprint().to_string().into_bytes(),
        onion.label().into_bytes(),
    ];
    let mut files = 0;
    let mut directories = vec![node.data()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            files += 1;
            for secret in &secrets {
                let shown = bytes.windows(secret.len()).any(|window| window == secret);
                assert!(!shown, "{} shows {}", path.display(), String::from_utf8_lossy(secret));
            }
        }
    }
    assert!(files > 3, "there is something to look at");
    let words = node.words();
    assert!(words.contains("TRACE"), "it said everything that it can say");
    for secret in &secrets {
        assert!(!words.contains(&*String::from_utf8_lossy(secret)), "the daemon's words show something");
    }
}

#[test]
fn who_asks_for_much_and_takes_nothing_is_not_read_any_further() {
    use std::io::{Read, Write};
    let peers = temp_dir();
    let (node, onion) = carrier(peers.path());
    let (box_keys, alice) = (new_keys(), new_keys());
    let name = box_keys.certificate().fingerprint();
    let connect = || Session::connect(peers.path(), onion).unwrap();
    assert_eq!(connect().register(&box_keys, &invitation(&node, &[])).unwrap(), 210);
    let mut owner = connect();
    assert_eq!(owner.identify(name, &box_keys).unwrap(), 211);
    let class = Class::of(1 << 20).unwrap();
    let tokens = owner.upload(class, 1);
    let left = object(&alice, &box_keys, &"x".repeat(700_000));
    assert_eq!(connect().deposit(tokens[0], &left).unwrap(), 202);
    let (mailbox, object) = (name.to_string(), entries(&mut owner, &name.to_string())[0].object);
    let style = Style { keep_unread: true, ..Style::default() };
    let asked = BoxCommand::Retrieve { mailbox, object, part: Part::Whole, style }.encode(None);
    let before = memory(&node);
    let mut stream = owner.into_stream();
    // The empty lines make the carrier read much at once.
    stream.write_all(("\n".repeat(4096) + &asked.repeat(300)).as_bytes()).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    let grown = memory(&node).saturating_sub(before);
    assert!(grown < 64 << 20, "{} MiB more for one session", grown >> 20);
    // And what was asked for comes, as soon as it is taken.
    let mut taken = vec![0; 300 << 20];
    stream.read_exact(&mut taken).unwrap();
}

/// What the daemon has written to its memory.
fn memory_image(node: &Node) -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    let pid = node.json(&["status"])["pid"].as_u64().unwrap();
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = std::fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut image = Vec::new();
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (range, rights) = (fields.next().unwrap(), fields.next().unwrap());
        if !rights.starts_with("rw") {
            continue;
        }
        let (start, end) = range.split_once('-').unwrap();
        let [start, end] = [start, end].map(|place| u64::from_str_radix(place, 16).unwrap());
        let mut piece = vec![0; (end - start) as usize];
        if memory.read_exact_at(&mut piece, start).is_ok() {
            image.extend_from_slice(&piece);
        }
    }
    image
}

/// Bytes that the daemon has in memory.
fn memory(node: &Node) -> u64 {
    let pid = node.json(&["status"])["pid"].as_u64().unwrap();
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[test]
fn a_carrier_that_cannot_be_opened_keeps_nobody_from_their_own_mail() {
    let peers = temp_dir();
    let (mut node, _) = carrier(peers.path());
    node.terminate();
    let log = std::fs::read_dir(node.data().join("held")).unwrap().next().unwrap().unwrap().path().join("log");
    for entry in std::fs::read_dir(log).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.iter_mut().skip(20).step_by(7).for_each(|byte| *byte ^= 0x55);
        std::fs::write(path, bytes).unwrap();
    }
    node.start();
    assert_eq!(node.json(&["status"])["carrier"]["enabled"], false);
    assert!(node.words().contains("carries no mail for others until"), "{}", node.words());
    let refused = node.run(&["carrier", "enable"]);
    assert!(!refused.status.success(), "and no other one is made in its place");
}

#[test]
fn a_node_may_have_nothing_but_a_carrier() {
    let peers = temp_dir();
    let mut node = Node::loopback("box", peers.path()).carrier_only();
    node.start();
    let status = node.json(&["status"]);
    assert!(status["listen"].is_null() && status["identities"].as_array().unwrap().is_empty());
    let onion: Onion = status["carrier"]["onion"].as_str().unwrap().parse().unwrap();
    let invitation = invitation(&node, &[]);
    assert_eq!(node.json(&["carrier", "limits"])["free_registration"], false);
    let stranger = new_keys();
    let open = Invitation { secret: None, ..invitation.clone() };
    assert_eq!(Session::connect(peers.path(), onion).unwrap().register(&stranger, &open).unwrap(), 405);
    let asked = ["--space", "1MiB", "--quota", "4MiB", "--hold-days", "3", "--free-registration", "true"];
    let limits = node.json(&[&["carrier", "limits"], &asked[..]].concat());
    assert_eq!(limits["space"], 1 << 20);
    // It stays what it is without being told again.
    node.restart_after_kill();
    wait_until_reachable(&node);
    let box_keys = new_keys();
    assert_eq!(Session::connect(peers.path(), onion).unwrap().register(&box_keys, &invitation).unwrap(), 210);
    assert_eq!(node.run(&["mail", "setup", "show"]).status.code(), Some(4), "there is no mailbox");
    assert_eq!(node.json(&["carrier", "limits"]), limits);
    let mut session = Session::connect(peers.path(), onion).unwrap();
    assert_eq!(session.register(&stranger, &open).unwrap(), 210);
    assert_eq!(session.identify(stranger.certificate().fingerprint(), &stranger).unwrap(), 211);
    session.upload(Class::of(4096).unwrap(), 256);
    assert_eq!(node.json(&["carrier", "limits"])["promised"], 1 << 20, "all of the space");
    let more = BoxCommand::Tokens { epoch: epoch(now()), class: 14, size: 32 };
    assert_eq!(session.ask(&more, &[1; 32]).unwrap()[0].code(), 452);
    assert_eq!(node.run(&["carrier", "limits", "--space", "much"]).status.code(), Some(2));
}

#[test]
fn a_carrier_is_switched_off_and_on_and_gives_up_a_box() {
    let peers = temp_dir();
    let (node, onion) = carrier(peers.path());
    let spare = invitation(&node, &["--count", "2"]);
    let box_keys = new_keys();
    assert_eq!(Session::connect(peers.path(), onion).unwrap().register(&box_keys, &spare).unwrap(), 210);
    assert_eq!(node.json(&["carrier", "show"])["invitations"], 1);
    node.json(&["--yes", "carrier", "revoke"]);
    assert_eq!(node.json(&["carrier", "show"])["invitations"], 0);
    node.json(&["--yes", "carrier", "disable"]);
    wait_for("the onion is gone", Duration::from_secs(20), || {
        Session::connect(peers.path(), onion).is_err().then_some(())
    });
    assert!(node.json(&["status"])["carrier"]["enabled"] == false);
    node.json(&["carrier", "enable"]);
    wait_until_reachable(&node);
    let name = box_keys.certificate().fingerprint();
    assert_eq!(Session::connect(peers.path(), onion).unwrap().identify(name, &box_keys).unwrap(), 211);
    node.json(&["--yes", "carrier", "evict", &name.to_string()[..9]]);
    assert_eq!(Session::connect(peers.path(), onion).unwrap().identify(name, &box_keys).unwrap(), 411);
    assert_eq!(node.run(&["--yes", "carrier", "evict", ""]).status.code(), Some(2), "an empty name is nobody's");
    let refused = node.run(&["--yes", "carrier", "evict", "00000000"]);
    assert_eq!(refused.status.code(), Some(4), "there is no such box");
}

#[test]
fn what_is_left_of_a_damaged_carrier_is_saved() {
    let peers = temp_dir();
    let mut node = Node::loopback("box", peers.path()).carrier_only();
    node.start();
    let onion: Onion = node.json(&["status"])["carrier"]["onion"].as_str().unwrap().parse().unwrap();
    let (alice, box_keys) = (new_keys(), new_keys());
    let invitation = invitation(&node, &[]);
    let mailbox = box_keys.certificate().fingerprint();
    let mut session = Session::connect(peers.path(), onion).unwrap();
    assert_eq!(session.register(&box_keys, &invitation).unwrap(), 210);
    assert_eq!(session.identify(mailbox, &box_keys).unwrap(), 211);
    let tokens = session.upload(Class::of(4096).unwrap(), 16);
    for token in &tokens[..8] {
        let object = object(&alice, &box_keys, "held");
        assert_eq!(Session::connect(peers.path(), onion).unwrap().deposit(*token, &object).unwrap(), 202);
    }
    assert!(node.terminate().success());
    assert_eq!(node.json(&["repair", "--check"])["findings"].as_array().unwrap().len(), 0);
    let held = std::fs::read_dir(node.data().join("held")).unwrap().next().unwrap().unwrap().path().join("log");
    let mut segments: Vec<_> = std::fs::read_dir(held).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.sort();
    // In the bodies of the last deposits, and their records.
    let (log, mut bytes) = (segments.last().unwrap(), std::fs::read(segments.last().unwrap()).unwrap());
    let end = bytes.len();
    bytes[end - 6000..end - 400].fill(0x55);
    std::fs::write(log, bytes).unwrap();

    node.spawn();
    assert_eq!(node.wait_for_end().code(), Some(1));
    assert!(node.words().contains("runepeer repair"), "{}", node.words());
    let looked = node.finds_damage();
    assert_eq!((&looked["findings"][0]["address"], &looked["repaired"]), (&"the carrier".into(), &false.into()));
    assert_eq!(node.json(&["repair", "--yes"])["repaired"], true);
    assert_eq!(node.json(&["repair", "--check"])["findings"].as_array().unwrap().len(), 0);
    node.start();
    wait_until_reachable(&node);
    let mut session = Session::connect(peers.path(), onion).unwrap();
    assert_eq!(session.identify(mailbox, &box_keys).unwrap(), 211);
    let left = entries(&mut session, &mailbox.to_string());
    assert!((5..8).contains(&left.len()), "{} are left", left.len());
    for entry in left {
        let whole = BoxCommand::Retrieve {
            mailbox: mailbox.to_string(),
            object: entry.object,
            part: Part::Whole,
            style: Style::default(),
        };
        assert_eq!(session.ask(&whole, b"").unwrap()[0].code(), 251, "what is listed can be read");
    }
}

#[test]
fn silent_connections_keep_nobody_away_from_a_carrier() {
    let peers = temp_dir();
    let (node, onion) = carrier(peers.path());
    let mut silent = Vec::new();
    for more in [64, 136] {
        let connect = |_| UnixStream::connect(peers.path().join(onion.label())).unwrap();
        silent.extend((0..more).map(connect));
        let begun = Instant::now();
        let (box_keys, alice) = (new_keys(), new_keys());
        let invitation = invitation(&node, &[]);
        let mut session = Session::connect(peers.path(), onion).unwrap();
        assert_eq!(session.register(&box_keys, &invitation).unwrap(), 210);
        assert_eq!(session.identify(box_keys.certificate().fingerprint(), &box_keys).unwrap(), 211);
        let tokens = session.upload(Class::of(4096).unwrap(), 1);
        let deposited =
            Session::connect(peers.path(), onion).unwrap().deposit(tokens[0], &object(&alice, &box_keys, "x"));
        assert_eq!(deposited.unwrap(), 202);
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?} beside {} silent ones", begun.elapsed(), silent.len());
    }
    // The oldest gave way, and those who came last did not.
    let ended = |stream: &mut UnixStream| {
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut said = String::new();
        let _ = stream.take(200).read_to_string(&mut said);
        said.contains("708")
    };
    assert!(ended(&mut silent[0]));
    silent[199].set_nonblocking(true).unwrap();
    let mut said = [0; 200];
    let read = silent[199].read(&mut said).unwrap();
    assert!(said[..read].starts_with(b"HOWDY") && !String::from_utf8_lossy(&said[..read]).contains("708"));
}

#[test]
fn a_carrier_that_cannot_be_opened_shows_in_status_until_it_is_mended() {
    let peers = temp_dir();
    let mut node = Node::loopback("alice", peers.path());
    node.start();
    node.json(&["carrier", "enable"]);
    assert!(node.terminate().success());
    let held = std::fs::read_dir(node.data().join("held")).unwrap().next().unwrap().unwrap().path().join("log");
    let segments: Vec<_> = std::fs::read_dir(held).unwrap().map(|entry| entry.unwrap().path()).collect();
    let kept: Vec<_> = segments.iter().map(|path| std::fs::read(path).unwrap()).collect();
    segments.iter().for_each(|path| std::fs::write(path, [0x55; 4096]).unwrap());
    node.start();
    let carrier = &node.json(&["status"])["carrier"];
    assert!(carrier["problem"].as_str().unwrap().contains("log"), "{carrier}");
    assert_eq!((&carrier["enabled"], &carrier["open"]), (&false.into(), &false.into()));
    let words = String::from_utf8(node.run(&["status"]).stdout).unwrap();
    assert!(
        words.contains("it carries nothing until this is mended: ") && words.contains("runepeer repair"),
        "{words}"
    );
    assert_eq!(node.run(&["carrier", "show"]).status.code(), Some(1), "it is there, and broken");
    assert!(node.terminate().success());
    segments.iter().zip(kept).for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
    // Its key is of a later version, in which the sum is made in another way.
    let keys = std::fs::read_dir(node.data().join("keys")).unwrap().map(|entry| entry.unwrap().path());
    let key = keys.into_iter().find(|path| path.to_str().unwrap().contains("held-")).unwrap();
    let kept = std::fs::read(&key).unwrap();
    let mut later = kept.clone();
    later[8] = 2;
    *later.last_mut().unwrap() ^= 1;
    std::fs::write(&key, later).unwrap();
    node.start();
    assert_eq!(node.json(&["status"])["carrier"]["open"], false);
    let words = String::from_utf8(node.run(&["status"]).stdout).unwrap();
    assert!(words.contains("it carries nothing until this is mended: ") && words.contains("newer runepeer"), "{words}");
    assert!(node.terminate().success());
    std::fs::write(&key, kept).unwrap();
    node.start();
    let carrier = &node.json(&["status"])["carrier"];
    assert_eq!((&carrier["enabled"], &carrier["open"]), (&true.into(), &true.into()));
}
