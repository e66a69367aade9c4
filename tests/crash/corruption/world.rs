//! What the matrix damages: data directories of one node as it stopped, with everything that a node can have, what lay
//! in them at an earlier moment, and the directory of another node.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use runepeer::base::{ContentId, Onion};
use runepeer::mail::{Content, ContentKind, Invitation};
use runepeer::pgp::{self, SecretKeys};
use runepeer::store::OsRng;
use runepeer::wire::mailbox::{BoxCommand, Entry, Part, Style};
use runepeer::wire::token::{Class, Token};

use crate::support::box_client::{Session, new_keys, now};
use crate::support::mail::{Imap, Login, Smtp, message};
use crate::support::node::Node;
use crate::support::{temp_dir, wait_for};

/// In which state of the node its files are damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// Stopped cleanly after three runs; nothing was compacted.
    Plain,
    /// Its logs begin with checkpoints; what those stand for is still there.
    Checkpoint,
    /// The same after what nothing needs any more was removed.
    Compacted,
    /// Put back from a backup, and not started since.
    Restored,
    /// In the middle of being put back from a backup.
    Restoring,
    /// As a crash leaves it while another identity is made.
    Making,
    /// As it stopped, with a passphrase.
    Locked,
}

/// Messages with their bytes, by folder, subject and UID.
pub(crate) type Mail = BTreeMap<(String, String, u64), Vec<u8>>;

/// One of these.
pub(crate) struct Template {
    /// The data directory.
    pub(crate) data: PathBuf,
    /// What can be read in it, by folder and subject.
    pub(crate) mail: Mail,
    /// What waits.
    pub(crate) waiting: usize,
    /// What its carrier holds.
    pub(crate) held: usize,
}

/// All that the cells of the matrix are made of.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) templates: BTreeMap<State, Template>,
    /// The data directory at an earlier moment of the last run.
    pub(crate) old: PathBuf,
    /// That of another node.
    pub(crate) other: PathBuf,
    /// Backups: the last one, one of before, and one of another node, with one passphrase.
    pub(crate) backups: [PathBuf; 3],
    pub(crate) login: Login,
    /// The owner of a box at the carrier.
    owner: SecretKeys,
    onion: Onion,
}

/// So many objects were left at the carrier before its last run.
pub(crate) const HELD_BEFORE: usize = 3;

/// The passphrase of the backups, and of the locked node.
pub(crate) const PASSPHRASE: &str = "of the matrix";

impl World {
    pub(crate) fn new() -> Self {
        let dir = temp_dir();
        let peers = dir.path().join("peers");
        fs::DirBuilder::new().mode(0o700).create(&peers).unwrap();
        fs::write(dir.path().join("passphrase"), format!("{PASSPHRASE}\n")).unwrap();
        let backups = ["backup", "backup.old", "backup.other"].map(|name| dir.path().join(name));
        let (mut alice, mut bob) = (Node::loopback("alice", &peers), Node::loopback("bob", &peers));
        bob.start();
        bob.json(&["carrier", "enable"]);
        alice.start();
        let onion: Onion = alice.json(&["carrier", "enable"])["onion"].as_str().unwrap().parse().unwrap();
        wait_for("the carriers are reachable", Duration::from_secs(30), || {
            [&alice, &bob].iter().all(|node| node.json(&["carrier", "show"])["reachable"] == true).then_some(())
        });
        let login = Login::new(&alice, "matrix");
        let mut story =
            Story { owner: new_keys(), author: new_keys(), onion, peers: peers.clone(), tokens: Vec::new() };
        story.register(&alice);
        bob.befriend(&alice);
        let own_box = bob.json(&["carrier", "invite"])["invitations"][0]["invitation"].as_str().unwrap().to_owned();
        alice.json(&["carrier", "add", &own_box, "--name", "bob"]);
        wait_for("the box works", Duration::from_secs(30), || {
            (alice.json(&["carrier", "list"])["carriers"][0]["state"] == "open").then_some(())
        });
        story.save(&alice, &login, "first", 1);
        story.leave("first", 1);
        let to = bob.address();
        back_up(&bob, &backups[2], dir.path());
        bob.json(&["backup", "verify", backups[2].to_str().unwrap(), "--passphrase-file", &passphrase(dir.path())]);
        bob.terminate();
        let other = dir.path().join("other");
        copy(&bob.data(), &other);
        alice.terminate();

        alice.start();
        story.save(&alice, &login, "middle", 0);
        story.leave("middle", 0);
        let mut smtp = Smtp::open(alice.port("submission"), &login).unwrap();
        smtp.submit(&to, &message(&login.user, &to, "waits", "It waits.\r\n")).unwrap();
        back_up(&alice, &backups[1], dir.path());
        alice.terminate();

        alice.start();
        story.save(&alice, &login, "last-1", 0);
        story.leave("last-1", 0);
        let old = dir.path().join("old");
        copy(&alice.data(), &old);
        story.save(&alice, &login, "last-2", 1);
        story.leave("last-2", 1);
        back_up(&alice, &backups[0], dir.path());
        alice.terminate();

        let mut world = Self { templates: BTreeMap::new(), old, other, backups, login, owner: story.owner, onion, dir };
        world.keep(State::Plain, &alice);
        world.checkpoint(&mut alice);
        world.keep(State::Checkpoint, &alice);
        remove_unneeded(&alice);
        world.keep(State::Compacted, &alice);
        world.restore();
        world.unfinished();
        world.lock();
        world
    }

    /// Keeps a stopped node as a template.
    fn keep(&mut self, state: State, node: &Node) {
        let data = self.dir.path().join(format!("{state:?}"));
        copy(&node.data(), &data);
        let peers = temp_dir();
        let mut node = Node::loopback("alice", peers.path());
        copy(&data, &node.data());
        node.start();
        wait_for("the carrier is reachable", Duration::from_secs(30), || {
            (node.json(&["status"])["carrier"]["reachable"] == true).then_some(())
        });
        let (mail, unread) = shown(&node, &self.login);
        assert!(unread == 0 && mail.len() >= 11, "{state:?}: {:?}", mail.keys());
        let waiting = node.json(&["queue", "list"])["queue"].as_array().unwrap().len();
        let held = self.collected(peers.path()).unwrap();
        assert_eq!((waiting, held), (1, 6), "{state:?}");
        self.templates.insert(state, Template { data, mail, waiting, held });
    }

    /// Lets the logs of a node begin with checkpoints: what `repair` leaves of ones in which nothing was lost but the
    /// mark of a clean stop.
    fn checkpoint(&self, node: &mut Node) {
        let logs = [log_of(&node.data(), ""), log_of(&node.data(), "held-")];
        let first = logs.map(|log| fs::read_dir(log).unwrap().map(|entry| entry.unwrap().path()).min().unwrap());
        let whole = first.clone().map(|path| fs::read(path).unwrap());
        for (path, bytes) in first.iter().zip(&whole) {
            let mut damaged = bytes.clone();
            *damaged.last_mut().unwrap() ^= 1;
            fs::write(path, damaged).unwrap();
        }
        assert_eq!(node.json(&["repair", "--yes"])["repaired"], true);
        first.iter().zip(&whole).for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
        node.start();
        let mut imap = Imap::open(node.port("imap"), &self.login).unwrap();
        imap.append("Archive", &message(&self.login.user, &self.login.user, "compacted", "Text.\r\n")).unwrap();
        node.terminate();
    }

    fn restore(&mut self) {
        let data = self.dir.path().join("Restored");
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_runepeer"));
        command.arg("--no-input").arg("--data-dir").arg(&data).args(["backup", "restore"]).arg(&self.backups[0]);
        command.args(["--passphrase-file", &passphrase(self.dir.path())]);
        assert!(crate::support::programs::run(command, b"").status.success());
        let Template { mail, waiting, .. } = &self.templates[&State::Plain];
        let template = Template { data, mail: mail.clone(), waiting: *waiting, held: 0 };
        self.templates.insert(State::Restored, template);
    }

    /// What crashes leave in the middle of a restore and of the making of an identity.
    fn unfinished(&mut self) {
        let id = "0123456789abcdef0123456789abcdef";
        for (state, of) in [(State::Restoring, State::Restored), (State::Making, State::Plain)] {
            let data = self.dir.path().join(format!("{state:?}"));
            let from = &self.templates[&of];
            copy(&from.data, &data);
            if state == State::Restoring {
                fs::remove_file(data.join("keys/node")).unwrap();
                fs::rename(data.join("restored"), data.join("restoring")).unwrap();
            } else {
                let log = log_of(&from.data, "");
                copy(&log, &data.join(id).join("log"));
                fs::write(data.join(id).join("making"), "").unwrap();
            }
            let (mail, waiting, held) = (from.mail.clone(), from.waiting, from.held);
            self.templates.insert(state, Template { data, mail, waiting, held });
        }
    }

    fn lock(&mut self) {
        let peers = temp_dir();
        let mut node = Node::loopback("alice", peers.path()).with_passphrase(PASSPHRASE);
        node.start();
        node.terminate();
        let data = self.dir.path().join("Locked");
        copy(&node.data(), &data);
        let template = Template { data, mail: BTreeMap::new(), waiting: 0, held: 0 };
        self.templates.insert(State::Locked, template);
    }

    /// How many of the objects in the box at the carrier its owner gets; `None` where the carrier cannot be reached.
    pub(crate) fn collected(&self, peers: &Path) -> Option<usize> {
        let mut session = (0..50).find_map(|_| {
            std::thread::sleep(Duration::from_millis(20));
            Session::connect(peers, self.onion).ok()
        })?;
        let mailbox = self.owner.certificate().fingerprint();
        if session.identify(mailbox, &self.owner).ok()? != 211 {
            return Some(0);
        }
        let list = BoxCommand::List { mailbox: mailbox.to_string(), selection: Default::default(), json: false };
        let mut answers = session.ask(&list, b"").ok()?;
        answers.pop();
        let entries: Vec<Entry> = answers.iter().map(|answer| answer.said()).collect();
        let mut whole = 0;
        for entry in &entries {
            let mut read = 0;
            while read < entry.size {
                let part = Part::Range { offset: read, length: None };
                let (mailbox, object, style) = (mailbox.to_string(), entry.object, Style::default());
                let retrieve = BoxCommand::Retrieve { mailbox, object, part, style };
                let Ok(answers) = session.ask(&retrieve, b"") else { return Some(whole) };
                let Some(block) = answers[0].blocks.first() else { break };
                read += block.len() as u64;
            }
            whole += usize::from(read == entry.size);
        }
        Some(whole)
    }
}

/// What happens to alice while she runs.
struct Story {
    owner: SecretKeys,
    author: SecretKeys,
    onion: Onion,
    peers: PathBuf,
    tokens: Vec<Token>,
}

impl Story {
    /// Somebody has a box at her carrier.
    fn register(&mut self, alice: &Node) {
        let made = alice.json(&["carrier", "invite", "--quota-mib", "64"]);
        let invitation = Invitation::parse_box(made["invitations"][0]["invitation"].as_str().unwrap()).unwrap();
        let connect = || Session::connect(&self.peers, self.onion).unwrap();
        assert_eq!(connect().register(&self.owner, &invitation).unwrap(), 210);
        let mut session = connect();
        assert_eq!(session.identify(self.owner.certificate().fingerprint(), &self.owner).unwrap(), 211);
        for (class, count) in [(4096, 8), (4 << 20, 4)] {
            self.tokens.extend(session.upload(Class::of(class).unwrap(), count));
        }
    }

    /// Objects are left in that box, one of them small, so many with a file of their own.
    fn leave(&mut self, text: &str, large: usize) {
        for size in [10].into_iter().chain(std::iter::repeat_n(3_500_000, large)) {
            let content = Content {
                kind: ContentKind::Mail,
                id: ContentId::random(&mut OsRng),
                expires: now().plus(Duration::from_secs(86_400)),
                receipt: None,
                payload: format!("Subject: {text}\r\n\r\n{}", "x".repeat(size)).into_bytes(),
            };
            let object = pgp::seal(&content.encode(), &self.author, self.owner.certificate(), now()).unwrap();
            let token = if size > 10 { self.tokens.pop().unwrap() } else { self.tokens.remove(0) };
            let mut session = Session::connect(&self.peers, self.onion).unwrap();
            assert_eq!(session.deposit(token, &object).unwrap(), 202);
        }
    }

    /// Messages are saved in her Archive, two of them small, so many with a file of their own.
    fn save(&self, alice: &Node, login: &Login, name: &str, large: usize) {
        let mut imap = Imap::open(alice.port("imap"), login).unwrap();
        for (number, lines) in [10, 20].into_iter().chain(std::iter::repeat_n(80_000, large)).enumerate() {
            let text = "A line of text.\r\n".repeat(lines);
            let message = message(&login.user, &login.user, &format!("{name}-{number}"), &text);
            imap.append("Archive", &message).unwrap();
        }
    }
}

pub(crate) fn passphrase(dir: &Path) -> String {
    dir.join("passphrase").display().to_string()
}

fn back_up(node: &Node, file: &Path, dir: &Path) {
    node.json(&["backup", "create", file.to_str().unwrap(), "--passphrase-file", &passphrase(dir)]);
}

/// What a mail program can read, and how many messages it sees and cannot read.
pub(crate) fn shown(node: &Node, login: &Login) -> (Mail, usize) {
    let (mut read, mut unread) = (BTreeMap::new(), 0);
    let open = || Imap::open(node.port("imap"), login).unwrap();
    for folder in ["INBOX", "Archive", "Outbox", "Recovered"] {
        let Some(listed) = node.try_json(&["ls", folder]) else { continue };
        let mut imap = open();
        imap.run(&format!("EXAMINE {folder}")).unwrap();
        for row in listed["messages"].as_array().unwrap() {
            let (uid, subject) = (row["uid"].as_u64().unwrap(), row["subject"].as_str().unwrap_or_default().to_owned());
            match imap.body(u32::try_from(uid).unwrap()) {
                Ok(bytes) => drop(read.insert((folder.to_owned(), subject, uid), bytes)),
                Err(_) => {
                    unread += 1;
                    imap = open();
                    imap.run(&format!("EXAMINE {folder}")).unwrap();
                }
            }
        }
    }
    (read, unread)
}

/// The directory of the log whose key's name begins so.
pub(crate) fn log_of(data: &Path, key: &str) -> PathBuf {
    let names = fs::read_dir(data.join("keys")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let id = names.filter_map(|name| Some(name.strip_prefix(key)?.to_owned())).find(|id| id.len() == 32).unwrap();
    let home = if key.is_empty() { data.to_owned() } else { data.join("held") };
    home.join(id).join("log")
}

/// Removes what the upkeep would remove an hour later: of what lies before the newest checkpoint, all that nothing
/// needs.
fn remove_unneeded(node: &Node) {
    for log in [log_of(&node.data(), ""), log_of(&node.data(), "held-")] {
        let mut files: Vec<PathBuf> = fs::read_dir(log).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let checkpoint = files.iter().rfind(|path| is(path, "ckp")).unwrap();
        let marked = u64::from_le_bytes(fs::read(checkpoint).unwrap()[24..32].try_into().unwrap());
        let marked = checkpoint.with_file_name(format!("{marked:016x}.seg"));
        for path in files.iter().filter(|path| is(path, "seg") && **path < marked) {
            let bytes = fs::read(path).unwrap();
            fs::remove_file(path).unwrap();
            if !node.run(&["repair", "--check"]).status.success() {
                fs::write(path, bytes).unwrap();
                fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
            }
        }
    }
}

fn is(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

/// Copies a data directory with its permissions, without sockets.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::DirBuilder::new().mode(0o700).recursive(true).create(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else if path.is_file() && from.ends_with("blob") {
            // Large, and never written again.
            fs::hard_link(&path, to.join(name)).unwrap();
        } else if path.is_file() {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}
