//! A message to somebody who never comes back, with a real mail program and days that pass: the real daemon runs under a
//! clock that is set forward between its starts. Ignored, with the reason, where a program is not installed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use support::mail::{Login, Smtp, message};
use support::node::Node;
use support::runner::{self, Missing};
use support::{faketime, program, programs, temp_dir, wait_for};

const LATE: &str = "Your message is late, and is tried on";
const HOUR: Duration = Duration::from_secs(3600);

fn main() -> ExitCode {
    runner::main(found, &[("what_nobody_fetches_is_told_in_its_thread_and_what_was_taken_back_stays_there", story)])
}

fn found() -> Result<PathBuf, Missing> {
    program("neomutt").ok_or_else(|| Missing("neomutt is not installed".to_owned()))?;
    faketime().ok_or_else(|| Missing("libfaketime is not installed".to_owned()))
}

/// Alice's neomutt.
struct Neomutt {
    home: tempfile::TempDir,
    settings: String,
}

impl Neomutt {
    fn new(node: &Node, login: &Login) -> Self {
        let settings = format!(
            "set folder=\"imap://127.0.0.1:{imap}/\" imap_user=\"{user}\" imap_pass=\"{password}\"\n\
             set smtp_url=\"smtp://alice@127.0.0.1:{smtp}/\" smtp_pass=\"{password}\" smtp_authenticators=plain\n\
             set from=\"{user}\" use_from=yes envelope_from=yes copy=yes\n\
             set ssl_starttls=no ssl_force_tls=no mbox_type=mbox confirmappend=no confirmcreate=no move=no\n\
             set wait_key=no delete=yes quit=yes sort=threads strict_threads=yes\n",
            imap = node.port("imap"),
            smtp = node.port("submission"),
            user = login.user,
            password = login.password,
        );
        Self { home: temp_dir(), settings }
    }

    fn command(&self, more: &str) -> Command {
        let config = self.home.path().join("muttrc");
        std::fs::write(&config, [&self.settings, more].concat()).unwrap();
        let mut command = Command::new("neomutt");
        command.arg("-n").arg("-F").arg(&config).env("HOME", self.home.path());
        command
    }

    /// Sends a message, and keeps its copy in a file: in batch mode it writes none to a server.
    fn send(&self, to: &str, subject: &str) {
        let mut command = self.command(&format!("set record=\"{}\"\n", self.sent()));
        command.args(["-s", subject, "--", to]);
        let output = programs::run(command, b"Are you there?\n");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn sent(&self) -> String {
        self.home.path().join("sent").display().to_string()
    }

    /// Opens a folder and types this; what it showed.
    fn type_in(&self, folder: &str, keys: &str) -> String {
        let output = programs::run_in_terminal(self.command(&format!("set spoolfile=\"{folder}\"\npush \"{keys}\"\n")));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The subjects in the thread of the message with this one.
    fn thread(&self, subject: &str) -> Vec<String> {
        let copy = self.home.path().join("thread");
        let _ = std::fs::remove_file(&copy);
        let keys =
            format!("<tag-pattern>~(~s '{subject}$')<enter><tag-prefix><copy-message>{}<enter><quit>", copy.display());
        let shown = self.type_in("=INBOX", &keys);
        let copied = read(&copy);
        assert!(!copied.is_empty(), "neomutt copied nothing:\n{shown}");
        let subjects = copied.lines().filter_map(|line| line.strip_prefix("Subject: "));
        // Those of the messages, and not those within the reports.
        let mut subjects: Vec<String> = subjects.map(str::to_owned).collect();
        subjects.sort();
        subjects.dedup();
        subjects
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

fn subjects(node: &Node) -> Vec<String> {
    let rows = node.json(&["ls"]);
    rows["messages"].as_array().unwrap().iter().map(|row| row["subject"].as_str().unwrap().to_owned()).collect()
}

fn wait_for_subject(node: &Node, subject: &str) {
    wait_for(subject, Duration::from_secs(100), || subjects(node).iter().any(|found| found == subject).then_some(()));
}

/// Starts the node when so much time has gone by, and lets hours pass until this is so: nothing expires in the first hour
/// after a start. Then it runs on at the pace of the machine.
fn pass(node: &mut Node, ahead: Duration, done: impl Fn(&Node) -> bool) {
    node.terminate();
    node.set_clock(ahead, 200);
    node.start();
    wait_for("what time brings", Duration::from_secs(100), || done(node).then_some(()));
    node.terminate();
    node.set_clock(ahead + 2 * HOUR, 1);
    node.start();
}

fn story(_: &PathBuf) {
    let peers = temp_dir();
    let (mut alice, mut bob) = (Node::loopback("alice", peers.path()), Node::loopback("bob", peers.path()));
    alice.start();
    bob.start();
    alice.befriend(&bob);
    let login = Login::new(&alice, "neomutt");
    let to = bob.address();
    bob.terminate();

    let neomutt = Neomutt::new(&alice, &login);
    neomutt.send(&to, "unheard");
    neomutt.send(&to, "taken back");
    neomutt.type_in(&neomutt.sent(), "<tag-pattern>~A<enter><tag-prefix><copy-message>=INBOX<enter><quit>");
    assert_eq!(alice.json(&["queue", "list"])["queue"].as_array().unwrap().len(), 2);
    neomutt.type_in("=Outbox", "<delete-pattern>~s 'taken back'<enter><sync-mailbox><quit>");
    assert_eq!(alice.json(&["queue", "list"])["queue"].as_array().unwrap().len(), 1, "deleting there takes it back");
    assert_eq!(neomutt.thread("unheard"), ["unheard"]);

    // A day, in which Bob does not come.
    pass(&mut alice, 25 * HOUR, |alice| subjects(alice).iter().any(|subject| subject == LATE));
    let neomutt = Neomutt::new(&alice, &login);
    assert_eq!(neomutt.thread("unheard"), [LATE, "unheard"]);
    assert_eq!(neomutt.thread("taken back"), ["taken back"], "nothing is said of what was taken back");
    assert_eq!(alice.json(&["queue", "list"])["queue"].as_array().unwrap().len(), 1, "it still waits");

    // Five days: the end of it.
    pass(&mut alice, 121 * HOUR, |alice| alice.json(&["queue", "list"])["queue"].as_array().unwrap().is_empty());
    let neomutt = Neomutt::new(&alice, &login);
    let thread = neomutt.thread("unheard");
    assert_eq!(thread.len(), 3, "{thread:?}");
    assert_eq!(neomutt.thread("taken back"), ["taken back"]);

    // What comes back gets what is sent from now on, and nothing of what ended.
    bob.set_clock(123 * HOUR, 1);
    bob.start();
    let mut smtp = Smtp::open(alice.port("submission"), &login).unwrap();
    smtp.submit(&to, &message(&login.user, &to, "afterwards", "I am here.\r\n")).unwrap();
    wait_for_subject(&bob, "afterwards");
    assert_eq!(subjects(&bob).iter().filter(|subject| *subject != "afterwards").count(), 0, "{:?}", subjects(&bob));
}
