//! Kills at the moments at which a node does something else than to serve: while it starts, compacts its log, makes a backup, puts
//! one back; and kills of a carrier. What was acknowledged is there afterwards, once. MOMENTS sets how many kills each story has, SEED replays them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]
#![allow(clippy::print_stdout, reason = "figures for the reader of the test's output")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use runepeer::base::rng::SeededRng;
use runepeer::base::{ContentId, Onion, Rng};
use runepeer::mail::{Content, ContentKind, Invitation};
use runepeer::pgp::{self, SecretKeys};
use runepeer::store::OsRng;
use runepeer::wire::digest;
use runepeer::wire::mailbox::{BoxCommand, Entry, Part, Style};
use runepeer::wire::token::Class;
use support::box_client::{Answer, Session, new_keys, now};
use support::mail::{Imap, Login, message};
use support::node::Node;
use support::runner::{self, Missing, Trial};
use support::{StopOnDrop, faketime, temp_dir, wait_for};

fn main() -> ExitCode {
    let stories: [Trial<()>; 5] = [
        ("kills_while_a_node_starts_lose_nothing", starts),
        ("kills_while_a_log_is_compacted_lose_nothing", compactions),
        ("a_backup_whose_making_was_killed_is_no_backup_and_the_next_one_is", backups),
        ("a_restore_that_was_killed_is_completed_by_the_next", restores),
        ("kills_of_a_carrier_lose_nothing_that_was_left", carrier),
    ];
    runner::main(found, &stories)
}

fn found() -> Result<(), Missing> {
    faketime().map(drop).ok_or_else(|| Missing("libfaketime is not installed".to_owned()))
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn kills() -> u64 {
    setting("MOMENTS", 12)
}

fn random(story: &str) -> SeededRng {
    let seed = setting("SEED", u64::from(std::process::id()));
    println!("{story}: SEED={seed} MOMENTS={}", kills());
    SeededRng::new(seed)
}

fn pause(random: &mut SeededRng, most: u64) {
    let random: &mut dyn Rng = random;
    std::thread::sleep(Duration::from_millis(random.below(most)));
}

/// The subjects in Archive, each with how often it is there.
fn archived(node: &Node, login: &Login) -> BTreeMap<String, u32> {
    let mut imap = Imap::open(node.port("imap"), login).unwrap();
    let mut shown = BTreeMap::new();
    imap.run("EXAMINE Archive").unwrap();
    let answer = imap.run("UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])").unwrap();
    for line in String::from_utf8(answer).unwrap().lines() {
        if let Some(subject) = line.strip_prefix("Subject: ") {
            *shown.entry(subject.to_owned()).or_default() += 1;
        }
    }
    shown
}

fn save(imap: &mut Imap, login: &Login, subject: &str, bytes: usize) -> std::io::Result<String> {
    imap.append("Archive", &message(&login.user, &login.user, subject, &"x".repeat(bytes)))
}

/// A node with some messages, small and large.
fn filled(name: &str, peers: &Path) -> (Node, Login, BTreeMap<String, u32>) {
    let mut node = Node::loopback(name, peers);
    node.start();
    let login = Login::new(&node, "moments");
    let mut imap = Imap::open(node.port("imap"), &login).unwrap();
    for number in 0..60 {
        save(&mut imap, &login, &format!("kept-{number:03}"), if number % 10 == 0 { 1_500_000 } else { 3_000 })
            .unwrap();
    }
    let kept = archived(&node, &login);
    assert_eq!(kept.len(), 60);
    (node, login, kept)
}

fn starts((): &()) {
    let peers = temp_dir();
    let mut random = random("starts");
    let (mut node, login, kept) = filled("alice", peers.path());
    for _ in 0..kills() {
        node.kill();
        node.spawn();
        pause(&mut random, 600);
    }
    node.restart_after_kill();
    assert_eq!(archived(&node, &login), kept);
    assert!(node.terminate().success());
    assert_eq!(node.json(&["repair", "--check"])["findings"].as_array().unwrap().len(), 0);
}

fn compactions((): &()) {
    let peers = temp_dir();
    let mut random = random("compactions");
    let (mut node, login, mut kept) = filled("alice", peers.path());
    // The log is looked at a minute after a start, and then every ten minutes.
    node.set_clock(Duration::ZERO, 120);
    let segments = |node: &Node| {
        let identity = std::fs::read_dir(node.data()).unwrap().map(|entry| entry.unwrap().path().join("log"));
        let log = identity.into_iter().find(|path| path.is_dir()).unwrap();
        std::fs::read_dir(log).unwrap().count()
    };
    let mut most = 0;
    for round in 0..kills() {
        node.restart_after_kill();
        let mut imap = Imap::open(node.port("imap"), &login).unwrap();
        for number in 0..6 {
            let subject = format!("saved-{round:03}-{number}");
            // As much as lies in the log itself.
            save(&mut imap, &login, &subject, 900_000).unwrap();
            kept.insert(subject, 1);
        }
        // Half of what is there goes: there is something to be given back.
        let (gone, _): (Vec<_>, Vec<_>) = kept.keys().cloned().partition(|subject| subject.ends_with(['1', '3', '5']));
        imap.run("SELECT Archive").unwrap();
        for subject in gone {
            let found = String::from_utf8(imap.run(&format!("UID SEARCH SUBJECT {subject}")).unwrap()).unwrap();
            let uid = found.trim_end().rsplit(' ').next().unwrap().to_owned();
            imap.run(&format!("UID STORE {uid} +FLAGS.SILENT (\\Deleted)")).unwrap();
            imap.run(&format!("UID EXPUNGE {uid}")).unwrap();
            kept.remove(&subject);
        }
        most = most.max(segments(&node));
        pause(&mut random, 1500);
    }
    node.restart_after_kill();
    assert_eq!(archived(&node, &login), kept);
    let mut imap = Imap::open(node.port("imap"), &login).unwrap();
    imap.run("EXAMINE Archive").unwrap();
    imap.run("UID FETCH 1:* (BODY.PEEK[])").unwrap();
    wait_for("space to be given back", Duration::from_secs(120), || (segments(&node) < most).then_some(()));
    assert_eq!(archived(&node, &login), kept);
}

/// Runs the program on a data directory and kills it after a while; whether it was killed.
fn killed_after(data: &Path, arguments: &[&str], random: &mut SeededRng, most: u64) -> bool {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runepeer"));
    command.arg("--data-dir").arg(data).arg("--no-input").args(arguments);
    let mut process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    pause(random, most);
    let ended = process.try_wait().unwrap().is_some();
    let _ = process.kill();
    process.wait().unwrap();
    !ended
}

fn secret(dir: &Path) -> PathBuf {
    let file = dir.join("secret");
    std::fs::write(&file, "of the backup\n").unwrap();
    file
}

fn backups((): &()) {
    let peers = temp_dir();
    let mut random = random("backups");
    let (mut node, login, kept) = filled("alice", peers.path());
    let secret = secret(peers.path());
    let secret = secret.to_str().unwrap();
    let mut killed = 0;
    for round in 0..kills() {
        let file = peers.path().join(format!("{round}.runebackup"));
        let create = ["backup", "create", file.to_str().unwrap(), "--passphrase-file", secret];
        // The command, or the daemon that makes it.
        let during = if round % 2 == 0 {
            killed_after(&node.data(), &create, &mut random, 400)
        } else {
            std::thread::scope(|scope| {
                let making = scope.spawn(|| node.run(&create));
                pause(&mut random, 400);
                let during = !making.is_finished();
                kill(&node);
                making.join().unwrap();
                during
            })
        };
        killed += u64::from(during);
        if round % 2 == 1 {
            node.restart_after_kill();
        }
        if file.exists() {
            let verified = node.run(&["backup", "verify", file.to_str().unwrap(), "--passphrase-file", secret]);
            assert!(verified.status.success() || during, "a whole backup that cannot be read");
        }
    }
    println!("{killed} of {} backups were killed", kills());
    let file = peers.path().join("whole.runebackup");
    node.json(&["backup", "create", file.to_str().unwrap(), "--passphrase-file", secret]);
    let checked = node.json(&["backup", "verify", file.to_str().unwrap(), "--passphrase-file", secret]);
    assert!(checked["identities"][0]["messages"].as_u64().unwrap() >= kept.len() as u64);
    assert_eq!(archived(&node, &login), kept);
}

/// Ends the daemon, which somebody else waits for.
fn kill(node: &Node) {
    use rustix::process::{Pid, Signal, kill_process};
    let pid = node.json(&["status"])["pid"].as_u64().unwrap();
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL).unwrap();
}

fn restores((): &()) {
    let peers = temp_dir();
    let mut random = random("restores");
    let (mut node, login, kept) = filled("alice", peers.path());
    let (secret, file) = (secret(peers.path()), peers.path().join("whole.runebackup"));
    let (secret, file) = (secret.to_str().unwrap(), file.to_str().unwrap());
    node.json(&["backup", "create", file, "--passphrase-file", secret]);
    assert!(node.terminate().success());
    let restore = ["backup", "restore", file, "--passphrase-file", secret];
    let mut copy = Node::loopback("alice", peers.path());
    let killed = (0..kills()).filter(|_| killed_after(&copy.data(), &restore, &mut random, 900)).count();
    println!("{killed} of {} restores were killed", kills());
    // Where one was completed the next refuses to go beside it.
    let last = copy.run(&restore);
    let words = String::from_utf8_lossy(&last.stderr).into_owned();
    assert!(last.status.success() || words.contains("empty directory"), "{words}");
    copy.start();
    assert_eq!(archived(&copy, &login), kept);
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

/// What was left at the carrier, and what of it was taken away.
#[derive(Default)]
struct Left {
    /// Digests of objects, each with whether it was acknowledged.
    brought: BTreeMap<[u8; 32], bool>,
    /// Those that a DELETE was sent for, each with whether it was acknowledged.
    deleted: BTreeMap<[u8; 32], bool>,
}

fn carrier((): &()) {
    let peers = temp_dir();
    let mut random = random("carrier");
    let mut node = Node::loopback("box", peers.path()).carrier_only();
    node.start();
    let onion: Onion = node.json(&["status"])["carrier"]["onion"].as_str().unwrap().parse().unwrap();
    let made = node.json(&["carrier", "invite"]);
    let invitation = Invitation::parse_box(made["invitations"][0]["invitation"].as_str().unwrap()).unwrap();
    let (owner, author) = (new_keys(), new_keys());
    let name = owner.certificate().fingerprint();
    let mut session = Session::connect(peers.path(), onion).unwrap();
    assert_eq!(session.register(&owner, &invitation).unwrap(), 210);
    assert_eq!(session.identify(name, &owner).unwrap(), 211);
    let tokens = session.upload(Class::of(4096).unwrap(), 1024);
    let (left, stop) = (Mutex::new(Left::default()), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let _running = StopOnDrop(&stop);
        scope.spawn(|| {
            for (number, token) in tokens.iter().enumerate() {
                let object = object(&author, &owner, &format!("Subject: {number}\r\n\r\n"));
                left.lock().unwrap().brought.insert(digest(&object), false);
                // The same again, until it is known that it was taken.
                while !stop.load(Ordering::Relaxed) {
                    let code = Session::connect(peers.path(), onion).and_then(|mut one| one.deposit(*token, &object));
                    if code.is_ok_and(|code| code == 202) {
                        left.lock().unwrap().brought.insert(digest(&object), true);
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
                if stop.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // The connection broke, perhaps: another one.
                let _ =
                    Session::connect(peers.path(), onion).and_then(|mut one| collect(&mut one, &owner, &left, &stop));
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        for _ in 0..kills() {
            pause(&mut random, 500);
            node.restart_after_kill();
        }
    });
    node.restart_after_kill();
    let mut session = Session::connect(peers.path(), onion).unwrap();
    assert_eq!(session.identify(name, &owner).unwrap(), 211);
    let mut there = BTreeSet::new();
    for entry in entries(&mut session, &name.to_string()).unwrap() {
        let held = digest(&retrieve(&mut session, &name.to_string(), &entry).unwrap());
        assert!(there.insert(held), "it is held twice");
    }
    let left = left.into_inner().unwrap();
    let acknowledged: Vec<_> = left.brought.iter().filter(|(_, acknowledged)| **acknowledged).collect();
    println!("{} left, {} deleted, {} held", acknowledged.len(), left.deleted.len(), there.len());
    assert!(acknowledged.len() as u64 > kills(), "too few to say anything");
    for (object, _) in acknowledged {
        assert!(there.contains(object) || left.deleted.contains_key(object), "something that was left is gone");
    }
    for (object, acknowledged) in &left.deleted {
        assert!(!(*acknowledged && there.contains(object)), "what was deleted is back");
    }
}

fn entries(session: &mut Session, mailbox: &str) -> std::io::Result<Vec<Entry>> {
    let list = BoxCommand::List { mailbox: mailbox.to_owned(), selection: Default::default(), json: false };
    let mut answers = session.ask(&list, b"")?;
    assert_eq!(answers.pop().unwrap().code(), 242);
    Ok(answers.iter().map(Answer::said).collect())
}

fn retrieve(session: &mut Session, mailbox: &str, entry: &Entry) -> std::io::Result<Vec<u8>> {
    let (mailbox, style) = (mailbox.to_owned(), Style::default());
    let command = BoxCommand::Retrieve { mailbox, object: entry.object, part: Part::Whole, style };
    Ok(session.ask(&command, b"")?.remove(0).blocks.remove(0))
}

/// Takes away half of what is there.
fn collect(session: &mut Session, keys: &SecretKeys, left: &Mutex<Left>, stop: &AtomicBool) -> std::io::Result<()> {
    let name = keys.certificate().fingerprint();
    let mailbox = name.to_string();
    session.identify(name, keys)?;
    while !stop.load(Ordering::Relaxed) {
        for entry in entries(session, &mailbox)?.iter().step_by(2) {
            let held = digest(&retrieve(session, &mailbox, entry)?);
            assert!(left.lock().unwrap().brought.contains_key(&held), "nobody left this");
            left.lock().unwrap().deleted.insert(held, false);
            let delete = BoxCommand::Delete { mailbox: mailbox.clone(), objects: vec![entry.object] };
            if session.ask(&delete, b"")?[0].code() == 253 {
                left.lock().unwrap().deleted.insert(held, true);
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
