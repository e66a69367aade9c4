//! The first mail with mutt and neomutt: each has the file that `mail setup` printed for it, and nothing else. It reads
//! a message, sends others, and saves its copies. Ignored, with the reason, where one of them is not installed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use support::mail::{Imap, Login};
use support::node::Node;
use support::runner::{self, Missing};
use support::{program, programs, temp_dir, wait_for};

/// A message that is on its way between two nodes of one machine.
const LIMIT: Duration = Duration::from_secs(60);

/// alice, whose mail programs are tested, and bob, whom she knows by this name.
struct World {
    alice: Node,
    bob: Node,
    _peers: tempfile::TempDir,
}

fn main() -> ExitCode {
    runner::main(
        World::begin,
        &[
            ("neomutt_works_with_nothing_but_what_was_printed", |world: &World| works(world, "neomutt")),
            ("mutt_works_with_nothing_but_what_was_printed", |world: &World| works(world, "mutt")),
            ("a_configuration_is_written_for_its_owner_alone", written),
        ],
    )
}

impl World {
    fn begin() -> Result<Self, Missing> {
        for name in ["neomutt", "mutt"] {
            program(name).ok_or_else(|| Missing(format!("{name} is not installed")))?;
        }
        let peers = temp_dir();
        let (mut alice, mut bob) = (Node::loopback("alice", peers.path()), Node::loopback("bob", peers.path()));
        alice.start();
        bob.start();
        bob.befriend(&alice);
        Ok(Self { alice, bob, _peers: peers })
    }
}

/// A program with a home of its own, and in it the file that was printed.
struct Program {
    name: &'static str,
    home: tempfile::TempDir,
    rc: PathBuf,
}

impl Program {
    fn set_up(alice: &Node, name: &'static str) -> Self {
        let printed = alice.run(&["mail", "setup", name]);
        let words = String::from_utf8(printed.stderr).unwrap();
        assert!(printed.status.success() && words.contains(&format!("{name} -F FILE")), "{words}");
        let home = temp_dir();
        let rc = home.path().join("runepeer");
        std::fs::write(&rc, printed.stdout).unwrap();
        Self { name, home, rc }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.name);
        command.arg("-F").arg(&self.rc).args(arguments).env("HOME", self.home.path()).env("LC_ALL", "C.UTF-8");
        command
    }

    /// Writes a message to somebody, with this text and this file beside it; gives what was shown meanwhile.
    fn send(&self, to: &str, subject: &str, text: &[u8], file: Option<&Path>) -> String {
        let body = self.home.path().join("body");
        std::fs::write(&body, text).unwrap();
        let attach = file.map_or(String::new(), |file| format!("<attach-file>{}<enter>", file.display()));
        let editor = format!("<enter-command>set editor='cp {}' recall=no<enter>", body.display());
        self.press(&format!("{editor}<mail>{to}<enter>{subject}<enter>{attach}<send-message><quit>"))
    }

    /// Presses these keys, and gives what was shown meanwhile.
    fn press(&self, keys: &str) -> String {
        let output = programs::run_in_terminal(self.command(&["-e", &format!("push \"{keys}\"")]));
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{} ended with {}:\n{shown}", self.name, output.status);
        shown
    }
}

/// The one message with this subject in a folder, once it is there.
fn found(node: &Node, login: &Login, folder: &str, subject: &str) -> String {
    let mut imap = Imap::open(node.port("imap"), login).unwrap();
    wait_for(&format!("{subject} in {folder}"), LIMIT, || {
        imap.run(&format!("SELECT {folder}")).unwrap();
        let answer = String::from_utf8(imap.run(&format!("UID SEARCH SUBJECT {subject}")).unwrap()).unwrap();
        let uids = answer.lines().find_map(|line| line.strip_prefix("* SEARCH"))?.trim().to_owned();
        let uid = uids.parse().ok()?;
        Some(String::from_utf8(imap.body(uid).unwrap()).unwrap())
    })
}

fn works(world: &World, name: &'static str) {
    let World { alice, bob, .. } = world;
    let program = Program::set_up(alice, name);
    let (hers, his) = (Login::new(alice, &format!("test of {name}")), Login::new(bob, &format!("test of {name}")));
    let subject = |of: &str| format!("{of}-{name}");

    // She reads what bob wrote; he is shown by the name that she knows.
    let evening = subject("evening");
    bob.feed(&["send", "--to", "alice", "--subject", &evening, "-"], b"Good evening.\n");
    let received = found(alice, &hers, "INBOX", &evening);
    assert!(received.contains(&format!("\r\nFrom: \"bob\" <{}>\r\n", bob.address())), "{received}");
    let read = program.home.path().join("read");
    let shown = program.press(&format!(
        "<enter-command>set wait_key=no<enter><limit>~s {evening}<enter><display-message><exit>\
         <pipe-message>cat > {}<enter><quit>",
        read.display()
    ));
    let text = std::fs::read_to_string(&read).unwrap_or_default();
    assert!(text.contains("Good evening.") && shown.contains("bob   "), "{text}{shown}");
    let mut imap = Imap::open(alice.port("imap"), &hers).unwrap();
    imap.run("SELECT INBOX").unwrap();
    let seen = String::from_utf8(imap.run(&format!("SEARCH SEEN SUBJECT {evening}")).unwrap()).unwrap();
    assert!(seen.lines().any(|line| line.starts_with("* SEARCH ") && line.trim_end() != "* SEARCH"), "{seen}");

    // She writes to him: by the long form of his petname, and by the short one with a text that has a lone CR.
    let first = subject("first");
    program.send("bob@rune.internal", &first, b"How are you?\n", None);
    let arrived = found(bob, &his, "INBOX", &first);
    assert!(arrived.contains("How are you?") && arrived.contains("\r\nFrom: \"alice\" <"), "{arrived}");
    let copy = found(alice, &hers, "Sent", &first);
    assert!(copy.contains("To: bob@rune.internal\r\n") && copy.contains("How are you?"), "{copy}");

    let odd = program.home.path().join("odd.txt");
    std::fs::write(&odd, "one\rtwo\n.\nthree\n").unwrap();
    let second = subject("second");
    program.send("bob", &second, b"one\rtwo\n", Some(&odd));
    let arrived = found(bob, &his, "INBOX", &second);
    assert!(arrived.contains("filename=odd.txt"), "{arrived}");
    assert!(arrived.contains(&format!("\r\nTo: {}\r\n", bob.address())), "{arrived}");
    found(alice, &hers, "Sent", &second);

    // Who is meant by a wrong name is said where it can be read.
    let refused = programs::run(program.command(&["-s", "x", "bbo"]), b"x\n");
    let said = String::from_utf8_lossy(&[&refused.stdout[..], &refused.stderr].concat()).into_owned();
    assert!(!refused.status.success() && said.contains("write to a contact as petname@rune.internal"), "{said}");
    assert!(said.contains("did you mean bob?"), "{said}");

    // An answer tells him nothing of the name that she has for him.
    let answer = program.press(&format!(
        "<limit>~s {evening}<enter><enter-command>set editor=true fast_reply=yes include=yes abort_unmodified=no \
         recall=no<enter><reply><send-message><quit>"
    ));
    let mut imap = Imap::open(bob.port("imap"), &his).unwrap();
    let arrived = wait_for(&format!("the answer; {name} showed {answer}"), LIMIT, || {
        imap.run("SELECT INBOX").unwrap();
        let found = String::from_utf8(imap.run(&format!("UID SEARCH SUBJECT \"Re: {evening}\"")).unwrap()).unwrap();
        let uid = found.lines().find_map(|line| line.strip_prefix("* SEARCH "))?.trim().parse().ok()?;
        Some(String::from_utf8(imap.body(uid).unwrap()).unwrap())
    });
    assert!(arrived.contains("you wrote:\r\n> Good evening."), "{arrived}");
    assert!(arrived.contains(&format!("\r\nTo: {}\r\n", bob.address())), "{arrived}");
}

fn written(world: &World) {
    let home = temp_dir();
    let path = home.path().join("config/runepeer");
    let file = path.to_str().unwrap();
    let write = || world.alice.run(&["mail", "setup", "mutt", "--write", file]);
    let first = write();
    assert!(first.status.success());
    assert_eq!(String::from_utf8(first.stdout).unwrap().trim_end(), file);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("set ssl_force_tls=no\n") && !String::from_utf8_lossy(&first.stderr).contains("imap_pass"));
    assert_eq!(mode(&path), 0o600);
    let names = || {
        let list = world.alice.json(&["mail", "password", "list"]);
        list["passwords"].as_array().unwrap().len()
    };
    let before = names();
    let again = write();
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(!again.status.success() && said.contains("nothing was changed; give another name"), "{said}");
    assert_eq!((std::fs::read_to_string(&path).unwrap(), names()), (text, before));
    let json = world.alice.json(&["mail", "setup", "neomutt"]);
    assert!(json["muttrc"].as_str().unwrap().contains("set imap_pass=\""), "{json}");
    assert!(json["password_name"].as_str().unwrap().starts_with("neomutt"), "{json}");
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}
