//! The first start of the real binary, at a terminal and without one: what it asks, and what is left where it fails. And
//! the passphrase from then on: asked again, changed, added, removed, and after a restore.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use support::temp_dir;
use support::terminal::Terminal;

/// A passphrase that no rule finds weak. One of its letters can be written in two ways.
const GOOD: &str = "lamp riv\u{e9}r onion desk";
/// The same passphrase as some keyboards write it.
const DECOMPOSED: &str = "lamp rive\u{301}r onion desk";

/// A person's machine: a data directory that is not there yet, and a network of one's own.
struct Machine {
    home: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        Self { home: temp_dir() }
    }

    fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// The arguments of `up` with these more, on this data directory, over a network of Unix sockets and on free ports.
    fn up<'a>(&self, before: &[&'a str], more: &[&'a str]) -> Vec<String> {
        let transport = format!("loopback:{}", self.home.path().join("net").display());
        let ports = ["--imap", "127.0.0.1:0", "--submission", "127.0.0.1:0"];
        let mut arguments = vec!["--data-dir".to_owned(), self.data().display().to_string()];
        arguments.extend(before.iter().map(|word| (*word).to_owned()));
        arguments.push("up".to_owned());
        for pair in ports.chunks(2).filter(|pair| !more.contains(&pair[0])) {
            arguments.extend(pair.iter().map(|word| (*word).to_owned()));
        }
        if !more.contains(&"--transport") {
            arguments.extend(["--transport".to_owned(), transport]);
        }
        arguments.extend(more.iter().map(|word| (*word).to_owned()));
        arguments
    }

    /// `up` at a terminal.
    fn at_terminal(&self, more: &[&str]) -> Terminal {
        let arguments = self.up(&[], more);
        Terminal::run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// `up` where nobody can be asked. It must end by itself.
    fn unattended(&self, more: &[&str]) -> (i32, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runepeer"));
        command.args(self.up(&["--no-input"], more));
        failure(&support::programs::run(command, b""))
    }

    /// Another command on this data directory.
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runepeer"));
        command.arg("--data-dir").arg(self.data()).arg("--no-input").args(arguments);
        support::programs::run(command, b"")
    }

    fn down(&self, mut terminal: Terminal) {
        assert!(self.run(&["down"]).status.success());
        assert!(terminal.ends().success());
    }

    /// A file with a passphrase, closed to others.
    fn secret(&self, name: &str, text: &str) -> String {
        let path = self.home.path().join(name);
        std::fs::write(&path, format!("{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    }

    /// The names in the data directory; none where it is not there.
    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.data());
        let mut names: Vec<String> = entries
            .map(|entries| entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect())
            .unwrap_or_default();
        names.sort();
        names
    }
}

/// The exit status and what stands on standard error.
fn failure(output: &Output) -> (i32, String) {
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{words}");
    (output.status.code().unwrap(), words)
}

#[test]
fn a_first_start_asks_for_a_name_until_it_is_allowed_and_says_which_are() {
    let machine = Machine::new();
    let mut terminal = machine.at_terminal(&[]);
    terminal.sees("Choose a name for your address");
    terminal.sees("3 to 50 letters (a to z), digits, dots,\nhyphens or underscores");
    for (name, objection) in [
        ("al", "it is too short"),
        ("alice smith", "it has a space"),
        ("", "There must be a name"),
        ("alice@example.org", "leave out the @"),
        ("al\u{ef}ce", "only the letters a to z"),
    ] {
        terminal.sees("Name:");
        terminal.types(name);
        terminal.sees(objection);
    }
    assert_eq!(machine.names(), ["lock"], "nothing is made before the questions are answered");
    terminal.sees("Name:");
    terminal.types("Alice");
    // Enter alone may be a mistake.
    for answer in ["", "what"] {
        terminal.sees("Passphrase: ");
        terminal.types("");
        terminal.sees("No passphrase was typed.\nChoose one? [Y/n]");
        terminal.types(answer);
    }
    terminal.sees("Answer with y or n. [Y/n]");
    terminal.types("n");
    // Standard output and standard error are written by two threads, and read in the order of the text.
    terminal.sees("alice is reachable as alice@");
    terminal.sees("runepeer passphrase add");
    terminal.sees("Next, in another terminal:");
    terminal.sees("The daemon runs here until Ctrl-C");
    assert!(!terminal.shown().contains("Tor's directory"), "it did not take long");
    machine.down(terminal);
}

#[test]
fn a_name_that_is_not_allowed_fails_before_anything_is_made() {
    let machine = Machine::new();
    let (code, words) = machine.unattended(&["--name", "alice smith"]);
    assert!(code == 2 && words.contains("it has a space") && words.contains("3 to 50"), "{words}");
    assert!(!machine.data().exists());
}

#[test]
fn mistyped_weak_and_wrong_passphrases_are_asked_for_again_in_place() {
    let machine = Machine::new();
    let mut terminal = machine.at_terminal(&["--name", "alice"]);
    terminal.sees("Passphrase: ");
    terminal.types("password1");
    terminal.sees("This passphrase is weak: it is among the first that anybody tries.");
    terminal.sees("Choose another one? [Y/n]");
    terminal.types("");
    for (first, second) in [(GOOD, "something else"), (GOOD, DECOMPOSED)] {
        terminal.sees("Passphrase: ");
        terminal.types(first);
        terminal.sees("Once more: ");
        terminal.types(second);
        if second != DECOMPOSED {
            terminal.sees("The two are not the same");
        }
    }
    terminal.sees("alice is reachable as alice@");
    assert!(!terminal.shown().contains("lamp"), "what is typed is not shown");
    machine.down(terminal);
    let mut terminal = machine.at_terminal(&[]);
    for wrong in ["another one", ""] {
        terminal.sees("Passphrase of this node: ");
        terminal.types(wrong);
        terminal.sees("That passphrase is wrong. Once again.");
    }
    terminal.sees("Passphrase of this node: ");
    terminal.types(DECOMPOSED);
    terminal.sees("alice is reachable as alice@");
    machine.down(terminal);
    let mut terminal = machine.at_terminal(&[]);
    for _ in 0..3 {
        terminal.sees("Passphrase of this node: ");
        terminal.types("another one");
    }
    assert_eq!(terminal.ends().code(), Some(5));
    terminal.sees("the passphrase is wrong; nothing was changed");
    terminal.sees("cannot be recovered");
    // A file is read once.
    let wrong = machine.secret("wrong", "another one");
    let (code, words) = machine.unattended(&["--passphrase-file", &wrong]);
    assert!(code == 5 && words.contains("the passphrase is wrong") && words.contains("first line"), "{words}");
    // A weak one may be taken all the same.
    let machine = Machine::new();
    let mut terminal = machine.at_terminal(&["--name", "alice"]);
    terminal.sees("Passphrase: ");
    terminal.types("short");
    terminal.sees("Choose another one? [Y/n]");
    terminal.types("n");
    terminal.sees("Once more: ");
    terminal.types("short");
    terminal.sees("alice is reachable as alice@");
    machine.down(terminal);
}

#[test]
fn a_first_start_whose_port_is_taken_says_so_before_it_asks_and_leaves_nothing() {
    let machine = Machine::new();
    let [taken, another] = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let [port, other] = [&taken, &another].map(|taken| taken.local_addr().unwrap().to_string());
    let mut terminal = machine.at_terminal(&["--name", "alice", "--imap", &port]);
    assert_eq!(terminal.ends().code(), Some(1));
    let shown = terminal.shown();
    assert!(!shown.contains("assphrase"), "{shown}");
    assert!(shown.contains(&format!("IMAP cannot listen on {port}")), "{shown}");
    let free = shown.split_once("choose another one with --imap ").unwrap().1;
    let free = free.split_once(", which is free now").unwrap().0;
    TcpListener::bind(free).unwrap();
    assert_eq!(machine.names(), ["lock"]);
    // Both at once, and where nobody can be asked.
    let secret = machine.secret("secret", GOOD);
    let both = ["--name", "alice", "--imap", &port, "--submission", &other, "--passphrase-file", &secret];
    let (code, words) = machine.unattended(&both);
    assert!(code == 1 && words.contains("IMAP cannot") && words.contains("submission cannot"), "{words}");
    assert_eq!(machine.names(), ["lock"]);
    // The same one for both is nobody else's fault.
    let one = support::free_port().to_string();
    let there = format!("localhost:{one}");
    let same = ["--name", "alice", "--imap", &one, "--submission", &there, "--passphrase-file", &secret];
    let (code, words) = machine.unattended(&same);
    assert!(code == 2 && words.contains(&format!("cannot both listen on 127.0.0.1:{one}")), "{words}");
    assert!(words.contains("--submission 127.0.0.1:") && !words.contains("another program"), "{words}");
    assert_eq!(machine.names(), ["lock"]);
    let status = failure(&machine.run(&["status"])).1;
    assert!(status.contains("nothing is set up yet"), "{status}");
    // The next start asks, and what it is told counts.
    let mut terminal = machine.at_terminal(&["--name", "alice", "--imap", free]);
    terminal.sees("Passphrase: ");
    terminal.types(GOOD);
    terminal.sees("Once more: ");
    terminal.types(GOOD);
    terminal.sees("alice is reachable as alice@");
    machine.down(terminal);
    let (code, words) = machine.unattended(&[]);
    assert!(code == 5 && words.contains("locked with a passphrase") && words.contains("--passphrase-file"), "{words}");
    assert!(!machine.data().join("keys/node.key").exists());
}

#[test]
fn a_first_start_that_fails_in_any_other_way_leaves_the_directory_as_it_was() {
    let secret = |machine: &Machine| machine.secret("secret", GOOD);
    let name = ["--name", "alice", "--passphrase-file"];
    let cases: [(&[&str], &str); 4] = [
        (&["--transport", "carrier pigeon"], "is not known"),
        (&["--transport", "loopback:/dev/null/net"], "/dev/null"),
        (&["--transport", "tor"], "nonsense"),
        (&["--imap", "192.0.2.1:143"], "loopback address"),
    ];
    for (more, told) in cases {
        let machine = Machine::new();
        let file = secret(&machine);
        let is_tor = more.contains(&"tor");
        let config = machine.data().join("config.toml");
        let written = "[tor]\nnonsense = 1\n";
        if is_tor {
            std::fs::create_dir(machine.data()).unwrap();
            std::fs::set_permissions(machine.data(), std::fs::Permissions::from_mode(0o700)).unwrap();
            std::fs::write(&config, written).unwrap();
        }
        let (_, words) = machine.unattended(&[&name[..], &[&file], more].concat());
        assert!(words.contains(told), "{more:?}: {words}");
        let left: &[&str] = if is_tor { &["config.toml", "lock"] } else { &["lock"] };
        assert_eq!(machine.names(), left, "{more:?}: {words}");
        if is_tor {
            assert_eq!(std::fs::read_to_string(&config).unwrap(), written);
            std::fs::remove_file(config).unwrap();
        }
        // The next start makes a node, with the passphrase that it is given.
        let mut terminal = machine.at_terminal(&["--name", "bob"]);
        terminal.types_no_passphrase();
        terminal.sees("bob is reachable as bob@");
        machine.down(terminal);
    }
    let machine = Machine::new();
    let (code, words) = machine.unattended(&[&name[..], &["/nowhere/at/all"]].concat());
    assert!(code == 1 && words.contains("/nowhere/at/all cannot be read"), "{words}");
    assert_eq!(machine.names(), ["lock"]);
}

#[test]
fn a_first_start_that_was_killed_counts_only_once_there_is_an_identity() {
    let is_identity = |name: &str| name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut begun = [0, 0];
    for millis in [20, 60, 100, 150, 200, 250, 300, 400, 500, 700, 1500] {
        let machine = Machine::new();
        let (first, second) = (machine.secret("first", GOOD), machine.secret("second", "another good passphrase"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_runepeer"));
        command.args(machine.up(&["--no-input"], &["--name", "alice", "--passphrase-file", &first]));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(millis));
        child.kill().unwrap();
        child.wait().unwrap();
        let keys = std::fs::read_dir(machine.data().join("keys"));
        let has_identity =
            keys.is_ok_and(|mut keys| keys.any(|key| is_identity(key.unwrap().file_name().to_str().unwrap())));
        begun[usize::from(has_identity)] += 1;
        let secret = if has_identity { &first } else { &second };
        let mut terminal = machine.at_terminal(&["--name", "alice", "--passphrase-file", secret]);
        terminal.sees("alice is reachable as alice@");
        machine.down(terminal);
        assert!(!machine.names().contains(&"beginning".to_owned()));
        let other = if has_identity { &second } else { &first };
        let (code, words) = machine.unattended(&["--passphrase-file", other]);
        assert_eq!(code, 5, "{millis} ms: {words}");
    }
    assert!(begun[0] > 0, "every kill came too late");
}

#[test]
fn a_passphrase_is_changed_added_and_removed() {
    let machine = Machine::new();
    let [first, second] = [("first", GOOD), ("second", "another good passphrase")].map(|(n, t)| machine.secret(n, t));
    let opens = |file: Option<&str>| {
        let more = file.map(|file| vec!["--passphrase-file", file]).unwrap_or_default();
        let mut terminal = machine.at_terminal(&more);
        terminal.sees("alice is reachable as alice@");
        machine.down(terminal);
    };
    let (code, words) = failure(&machine.run(&["passphrase", "add", "--new-passphrase-file", &first]));
    assert!(code == 4 && words.contains("there is no node"), "{words}");
    let mut terminal = machine.at_terminal(&["--name", "alice", "--passphrase-file", &first]);
    terminal.sees("alice is reachable as alice@");
    let change = ["passphrase", "change", "--passphrase-file", &first, "--new-passphrase-file", &second];
    let (code, words) = failure(&machine.run(&change));
    assert!(code == 75 && words.contains("Stop it first: runepeer down"), "{words}");
    machine.down(terminal);
    let wrong = ["passphrase", "change", "--passphrase-file", &second, "--new-passphrase-file", &second];
    assert_eq!(failure(&machine.run(&wrong)).0, 5);
    assert_eq!(failure(&machine.run(&["passphrase", "add", "--new-passphrase-file", &second])).0, 2);
    let words = failure(&machine.run(&["passphrase", "change", "--passphrase-file", &first])).1;
    assert!(words.contains("--new-passphrase-file"), "{words}");
    opens(Some(&first));

    let changed = machine.run(&change);
    let words = String::from_utf8_lossy(&changed.stderr).into_owned();
    assert!(changed.status.success() && words.contains("still opens with the old passphrase"), "{words}");
    assert_eq!(machine.unattended(&["--passphrase-file", &first]).0, 5);
    opens(Some(&second));

    let (code, words) = failure(&machine.run(&["passphrase", "remove", "--passphrase-file", &second]));
    assert!(code == 2 && words.contains("--yes"), "{words}");
    let removed = machine.run(&["--yes", "passphrase", "remove", "--passphrase-file", &second]);
    assert!(removed.status.success());
    assert!(String::from_utf8_lossy(&removed.stderr).contains("the disk protects nothing"));
    assert!(machine.data().join("keys/node.key").exists());
    opens(None);
    for verb in ["change", "remove"] {
        let (code, words) = failure(&machine.run(&["--yes", "passphrase", verb, "--passphrase-file", &second]));
        assert!(code == 2 && words.contains("passphrase add"), "{words}");
    }

    // At a terminal the new one is asked for twice.
    let data = machine.data().display().to_string();
    let mut terminal = Terminal::run(&["--data-dir", &data, "passphrase", "add"]);
    terminal.sees("New passphrase: ");
    terminal.types(GOOD);
    terminal.sees("Once more: ");
    terminal.types(GOOD);
    terminal.sees("The data directory is locked.");
    assert!(terminal.ends().success());
    assert!(!machine.data().join("keys/node.key").exists());
    assert_eq!(machine.unattended(&[]).0, 5);
    let mut terminal = Terminal::run(&["--data-dir", &data, "passphrase", "change"]);
    terminal.sees("Passphrase of this node: ");
    terminal.types("mistyped");
    terminal.sees("That passphrase is wrong. Once again.");
    terminal.sees("Passphrase of this node: ");
    terminal.types(GOOD);
    terminal.sees("New passphrase: ");
    terminal.types("another good passphrase");
    terminal.sees("Once more: ");
    terminal.types("another good passphrase");
    terminal.sees("The passphrase is changed.");
    assert!(terminal.ends().success());
    opens(Some(&second));
}

#[test]
fn a_passphrase_file_that_others_can_read_gets_a_warning() {
    let machine = Machine::new();
    let file = machine.secret("secret", "\u{feff}wrong\r");
    let mut terminal = machine.at_terminal(&["--name", "alice", "--passphrase-file", &file]);
    terminal.sees("Note: this passphrase is weak");
    terminal.sees("alice is reachable as alice@");
    assert!(!terminal.shown().contains("chmod"));
    machine.down(terminal);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let output = machine.run(&["repair", "--check", "--passphrase-file", &file]);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{words}");
    assert!(words.contains("(mode 644)") && words.contains(&format!("chmod 600 '{file}'")), "{words}");
    // What an editor put around it is no part of it.
    let plain = machine.secret("plain", "wrong");
    assert!(machine.run(&["repair", "--check", "--passphrase-file", &plain]).status.success());
}

#[test]
fn a_backup_says_what_opens_what_and_a_restored_node_whose_passphrase_it_wants() {
    let machine = Machine::new();
    let [node, backup] =
        [("node", GOOD), ("backup", "of the backup alone")].map(|(name, text)| machine.secret(name, text));
    let mut terminal = machine.at_terminal(&["--name", "alice", "--passphrase-file", &node]);
    terminal.sees("alice is reachable as alice@");
    let file = machine.home.path().join("file").display().to_string();
    let made = machine.run(&["backup", "create", &file, "--passphrase-file", &backup]);
    let words = String::from_utf8_lossy(&made.stderr).into_owned();
    assert!(made.status.success() && words.contains("opens this file, and nothing else"), "{words}");
    assert!(words.contains("keeps its own passphrase, the one that `runepeer up` asks for"), "{words}");
    machine.down(terminal);
    verified_and_examined(&machine, &file);
    let copy = Machine::new();
    let restored = copy.run(&["backup", "restore", &file, "--passphrase-file", &backup]);
    let words = String::from_utf8_lossy(&restored.stderr).into_owned();
    assert!(restored.status.success(), "{words}");
    assert!(words.contains("the passphrase that the node had when the backup was made"), "{words}");
    let (code, words) = copy.unattended(&["--passphrase-file", &backup]);
    assert!(code == 5 && words.contains("restored from a backup"), "{words}");
    let mut terminal = copy.at_terminal(&[]);
    terminal.sees("This node was restored from a backup.");
    terminal.sees("Passphrase of the restored node: ");
    terminal.types("of the backup alone");
    terminal.sees("That passphrase is wrong. Once again.");
    terminal.sees("Passphrase of the restored node: ");
    terminal.types(GOOD);
    // Three looks for the original take ten seconds, so it is said what the start waits for.
    terminal.sees("It looks whether the original answers anywhere");
    terminal.sees("alice is reachable as alice@");
    copy.down(terminal);
    // Without a passphrase of its own.
    let words = unlocked_backup(&backup);
    assert!(words.contains("The node in it has no passphrase"), "{words}");
}

/// Reads the backup and the data directory at a terminal, and mistypes each passphrase once.
fn verified_and_examined(machine: &Machine, file: &str) {
    let data = machine.data().display().to_string();
    let mistypes = |terminal: &mut Terminal, question: &str, right: &str| {
        for text in ["mistyped", right] {
            terminal.sees(question);
            terminal.types(text);
            if text != right {
                terminal.sees("That passphrase is wrong. Once again.");
            }
        }
    };
    let mut terminal = Terminal::run(&["--data-dir", &data, "backup", "verify", file]);
    mistypes(&mut terminal, "Passphrase of the backup: ", "of the backup alone");
    mistypes(&mut terminal, "Passphrase of the node in the backup: ", GOOD);
    terminal.sees("is whole; everything in it was read");
    assert!(terminal.ends().success());
    let mut terminal = Terminal::run(&["--data-dir", &data, "repair", "--check"]);
    mistypes(&mut terminal, "Passphrase of this node: ", GOOD);
    terminal.sees("nothing is damaged");
    assert!(terminal.ends().success());
}

/// What `backup create` says of a node without a passphrase.
fn unlocked_backup(secret: &str) -> String {
    let machine = Machine::new();
    let mut terminal = machine.at_terminal(&["--name", "bob"]);
    terminal.types_no_passphrase();
    terminal.sees("bob is reachable as bob@");
    let file = machine.home.path().join("file");
    let made = machine.run(&["backup", "create", path(&file), "--passphrase-file", secret]);
    assert!(made.status.success());
    machine.down(terminal);
    String::from_utf8_lossy(&made.stderr).into_owned()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
