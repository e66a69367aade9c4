//! Real mail programs read a mailbox of 1,000 messages: mbsync, neomutt in batch, Python's imaplib. Ignored, with the
//! reason, where one of them is not installed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use std::process::{Command, ExitCode};

use support::mail::{Imap, Login, message};
use support::node::Node;
use support::runner::{self, Missing};
use support::{maildir, mbsync, program, programs, run_mbsync, temp_dir};

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
