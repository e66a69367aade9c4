//! Real mail programs read a mailbox of 1,000 messages: mbsync, neomutt in batch, Python's imaplib. Ignored, with the
//! reason, where one of them is not installed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use std::process::{Command, ExitCode};
use std::time::Duration;

use support::mail::{Imap, Login, message};
use support::node::Node;
use support::runner::{self, Missing};
use support::{maildir, mbsync, program, programs, run_mbsync, temp_dir, wait_for};

const MESSAGES: usize = 1000;

/// A node with a full mailbox.
struct Mailbox {
    node: Node,
    login: Login,
    _peers: tempfile::TempDir,
}

fn main() -> ExitCode {
    runner::main(
        Mailbox::fill,
        &[
            ("mbsync_reads_a_thousand_messages_and_finds_nothing_new_afterwards", mbsync_reads),
            ("neomutt_reads_a_thousand_messages", neomutt_reads),
            ("imaplib_reads_a_thousand_messages", imaplib_reads),
            ("imaplib_finds_every_command_as_it_expects", imaplib_checks),
            ("mbsync_mixes_nothing_after_a_restore", mbsync_after_a_restore),
            ("a_macro_of_neomutt_decides_an_introduction_and_a_move_by_mbsync_decides_none", introductions),
        ],
    )
}

impl Mailbox {
    fn fill() -> Result<Self, Missing> {
        for name in ["mbsync", "neomutt", "python3"] {
            program(name).ok_or_else(|| Missing(format!("{name} is not installed")))?;
        }
        let peers = temp_dir();
        let mut node = Node::loopback("alice", peers.path());
        node.start();
        let login = Login::new(&node, "test");
        let mut imap = Imap::open(node.port("imap"), &login).unwrap();
        for number in 0..MESSAGES {
            imap.append("INBOX", &text(&login, number)).unwrap();
        }
        Ok(Self { node, login, _peers: peers })
    }
}

fn text(login: &Login, number: usize) -> Vec<u8> {
    let body = format!("This is message {number}.\r\n").repeat(number % 50 + 1);
    message(&login.user, &login.user, &format!("number-{number}"), &body)
}

fn mbsync_reads(mailbox: &Mailbox) {
    let directory = temp_dir();
    for round in 0..2 {
        let mut messages = mbsync(&mailbox.node, &mailbox.login, directory.path());
        assert_eq!(messages.len(), MESSAGES, "round {round}");
        messages.sort();
        let mut wanted: Vec<Vec<u8>> = (0..MESSAGES).map(|number| text(&mailbox.login, number)).collect();
        // A Maildir has LF line ends.
        wanted.iter_mut().for_each(|message| message.retain(|byte| *byte != b'\r'));
        wanted.sort();
        for (got, want) in messages.iter_mut().zip(&wanted) {
            // mbsync adds a field of its own.
            let text = String::from_utf8(std::mem::take(got)).unwrap();
            let lines: Vec<&str> = text.split_inclusive('\n').filter(|line| !line.starts_with("X-TUID")).collect();
            assert_eq!(lines.concat().replace('\r', "").as_bytes(), want.as_slice(), "round {round}");
        }
    }
}

/// A copy has messages under UIDs that meant others in the original.
fn mbsync_after_a_restore(_: &Mailbox) {
    let (peers, directory) = (temp_dir(), temp_dir());
    let secret = peers.path().join("secret");
    std::fs::write(&secret, "of the backup\n").unwrap();
    let secret = secret.to_str().unwrap();
    let file = peers.path().join("backup");
    let file = file.to_str().unwrap();
    let mut original = Node::loopback("alice", peers.path());
    original.start();
    let login = Login::new(&original, "test");
    let save = |node: &Node, numbers: std::ops::Range<usize>| {
        let mut imap = Imap::open(node.port("imap"), &login).unwrap();
        numbers.for_each(|number| drop(imap.append("INBOX", &text(&login, number)).unwrap()));
    };
    save(&original, 0..10);
    original.json(&["backup", "create", file, "--passphrase-file", secret]);
    save(&original, 10..20);
    assert_eq!(mbsync(&original, &login, directory.path()).len(), 20);
    original.terminate();
    let mut copy = Node::loopback("alice", peers.path());
    copy.json(&["backup", "restore", file, "--passphrase-file", secret]);
    copy.start();
    save(&copy, 20..35);
    // It knows that its UIDs mean nothing any more, and touches nothing.
    let output = run_mbsync(&copy, &login, directory.path());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("UIDVALIDITY genuinely changed"), "{said}");
    let numbers = |messages: Vec<Vec<u8>>| -> Vec<String> {
        let subject = |message: &[u8]| {
            let text = String::from_utf8_lossy(message).into_owned();
            text.lines().find_map(|line| line.strip_prefix("Subject: ").map(str::to_owned))
        };
        let mut numbers: Vec<String> = messages.iter().filter_map(|message| subject(message)).collect();
        numbers.sort();
        numbers
    };
    let named = |numbers: &mut dyn Iterator<Item = usize>| -> Vec<String> {
        let mut names: Vec<String> = numbers.map(|number| format!("number-{number}")).collect();
        names.sort();
        names
    };
    assert_eq!(numbers(maildir(directory.path())), named(&mut (0..20)));
    // Begun anew it has what the copy has.
    let anew = temp_dir();
    let mut found = numbers(mbsync(&copy, &login, anew.path()));
    found.retain(|subject| subject.starts_with("number-"));
    assert_eq!(found, named(&mut (0..10).chain(20..35)));
}

/// A request of this kind that waits at a node.
fn waits(node: &Node, kind: &str) -> serde_json::Value {
    wait_for("a request", Duration::from_secs(60), || {
        let list = node.json(&["request", "list"]);
        list["requests"].as_array().unwrap().iter().find(|it| it["kind"] == kind).cloned()
    })
}

/// Carol agrees by a key of neomutt. Alice's mbsync carries a message from one folder to another as a new message, which is no
/// decision: she decides later.
fn introductions(_: &Mailbox) {
    let (peers, home) = (temp_dir(), temp_dir());
    let mut nodes = ["alice", "bob", "carol"].map(|name| Node::loopback(name, peers.path()));
    nodes.iter_mut().for_each(Node::start);
    let [alice, bob, carol] = &nodes;
    bob.befriend(alice);
    bob.befriend(carol);
    bob.json(&["contact", "introduce", "alice", "carol", "--text", "She sings."]);
    waits(carol, "ask");

    let (config, login) = (home.path().join("muttrc"), Login::new(carol, "mutt"));
    let text = format!(
        "set folder=\"imap://127.0.0.1:{}/\" spoolfile=+Requests\nset imap_user=\"{}\" imap_pass=\"{}\"\n\
         set ssl_starttls=no ssl_force_tls=no mbox_type=mbox confirmappend=no confirmcreate=no move=no\n\
         set wait_key=no delete=yes quit=yes\nmacro index A \"<save-message>=INBOX<enter>\"\npush \"A<quit>\"\n",
        carol.port("imap"),
        login.user,
        login.password,
    );
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new("neomutt");
    command.arg("-n").arg("-F").arg(&config).env("HOME", home.path());
    let shown = programs::run_in_terminal(command);
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stdout));
    let list = carol.json(&["request", "list"]);
    assert!(list["requests"].as_array().unwrap().is_empty(), "{list}: {}", String::from_utf8_lossy(&shown.stdout));

    let offer = waits(alice, "introduction");
    let (mail, config, login) = (home.path().join("mail"), home.path().join("mbsyncrc"), Login::new(alice, "mbsync"));
    std::fs::create_dir(&mail).unwrap();
    let text = format!(
        "IMAPAccount a\nHost 127.0.0.1\nPort {}\nUser {}\nPass {}\nSSLType None\nAuthMechs LOGIN\n\n\
         IMAPStore far\nAccount a\n\nMaildirStore near\nPath {mail}/\nInbox {mail}/INBOX\nSubFolders Verbatim\n\n\
         Channel all\nFar :far:\nNear :near:\nPatterns INBOX Requests\nCreate Near\nExpunge Both\nSyncState *\n",
        alice.port("imap"),
        login.user,
        login.password,
        mail = mail.display()
    );
    std::fs::write(&config, text).unwrap();
    let sync = || {
        let mut command = Command::new("mbsync");
        command.arg("-c").arg(&config).arg("-a").env("HOME", home.path());
        let output = programs::run(command, b"");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    sync();
    let mut files = ["cur", "new"].iter().flat_map(|sub| std::fs::read_dir(mail.join("Requests").join(sub)).unwrap());
    let file = files.next().expect("the notice").unwrap().path();
    std::fs::rename(file, mail.join("INBOX/new/1.1.moved")).unwrap();
    sync();
    sync();
    let inbox = alice.json(&["ls"]);
    // Beside the node's own mail that says that somebody waits.
    let came = |row: &&serde_json::Value| row["subject"] != "Somebody waits for your decision";
    assert_eq!(inbox["messages"].as_array().unwrap().iter().filter(came).count(), 1, "{inbox}");
    assert_eq!(waits(alice, "introduction"), offer, "nothing was decided");
    assert!(alice.try_json(&["contact", "show", "carol"]).is_none());
    assert_eq!(alice.json(&["contact", "show", "bob"])["status"], "confirmed", "and nobody blocked");
    alice.json(&["request", "accept", offer["id"].as_str().unwrap()]);
    wait_for("both to know each other", Duration::from_secs(60), || {
        let known = |node: &Node, who| {
            let shown = node.try_json(&["contact", "show", who]);
            shown.is_some_and(|contact| contact["status"] == "confirmed")
        };
        (known(alice, "carol") && known(carol, "alice")).then_some(())
    });
}

fn neomutt_reads(mailbox: &Mailbox) {
    let home = temp_dir();
    let target = home.path().join("copy");
    let config = home.path().join("muttrc");
    // Tag everything and copy it into a local mailbox: every message is fetched.
    let text = format!(
        "set folder=\"imap://127.0.0.1:{}/\" spoolfile=+INBOX\nset imap_user=\"{}\" imap_pass=\"{}\"\n\
         set ssl_starttls=no ssl_force_tls=no mbox_type=mbox confirmappend=no confirmcreate=no move=no\n\
         set wait_key=no delete=no quit=yes\n\
         push \"<tag-pattern>~A<enter><tag-prefix><copy-message>{}<enter><quit>\"\n",
        mailbox.node.port("imap"),
        mailbox.login.user,
        mailbox.login.password,
        target.display()
    );
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new("neomutt");
    command.arg("-n").arg("-F").arg(&config).env("HOME", home.path());
    let output = programs::run_in_terminal(command);
    let copied = std::fs::read(&target).unwrap_or_default();
    let copied = String::from_utf8_lossy(&copied);
    let count = copied.lines().filter(|line| line.starts_with("Subject: number-")).count();
    assert_eq!(count, MESSAGES, "neomutt ended with {}:\n{}", output.status, String::from_utf8_lossy(&output.stdout));
}

fn python(arguments: &[&str]) {
    let mut command = Command::new("python3");
    command.args(arguments);
    let output = programs::run(command, b"");
    assert!(
        output.status.success(),
        "python3 {:?} ended with {}:\n{}{}",
        &arguments[..1],
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn imaplib_reads(mailbox: &Mailbox) {
    const SCRIPT: &str = "
import imaplib, sys
host, port, user, password, count = sys.argv[1:]
box = imaplib.IMAP4(host, int(port))
box.login(user, password)
status, data = box.select('INBOX', readonly=True)
assert int(data[0]) == int(count), data
status, data = box.uid('FETCH', '1:*', '(UID FLAGS RFC822.SIZE BODY.PEEK[])')
parts = [part for part in data if isinstance(part, tuple)]
assert len(parts) == int(count), len(parts)
for number, (head, body) in enumerate(parts):
    assert ('RFC822.SIZE %d ' % len(body)).encode() in head, head
    assert b'Subject: number-%d\\r\\n' % number in body
box.logout()
";
    let (port, login) = (mailbox.node.port("imap").to_string(), &mailbox.login);
    python(&["-c", SCRIPT, "127.0.0.1", &port, &login.user, &login.password, &MESSAGES.to_string()]);
}

fn imaplib_checks(mailbox: &Mailbox) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/imaplib_check.py");
    let (port, login) = (mailbox.node.port("imap").to_string(), &mailbox.login);
    python(&[script, "127.0.0.1", &port, &login.user, &login.password]);
}
