//! The corruption matrix: each kind of file that a node has, damaged in each way, under the real binary. No damage is
//! met with silence, a panic or a hang; what the program says names the file and what to do; nothing is made anew in
//! place of what is damaged; and every message that was acknowledged can be read afterwards, or lay in what is said to
//! be damaged.

mod table;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use table::{Backup, Check, DAMAGES, Damage, MATRIX, NEVER, Row, Start};
use world::{HELD_BEFORE, PASSPHRASE, State, Template, World, copy, log_of, passphrase, shown};

use crate::support::node::Node;
use crate::support::{programs, temp_dir};

/// A node that is to start starts within this time, and one that is to end ends.
const BOUND: Duration = Duration::from_secs(30);

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(World::new)
}

/// The files of a kind in a data directory, by name.
fn files(data: &Path, kind: &str) -> Vec<PathBuf> {
    let list = |dir: &Path, which: &dyn Fn(&str) -> bool| -> Vec<PathBuf> {
        let entries = fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path());
        let mut found: Vec<_> = entries.filter(|path| path.is_file() && which(name(path))).collect();
        found.sort();
        found
    };
    let newest = |dir: &Path| list(dir, &|name| name.ends_with(".seg")).pop().into_iter().collect();
    let first = |dir: &Path| list(dir, &|name| name.ends_with(".seg")).into_iter().take(1).collect();
    let log = log_of(data, "");
    let held = || log_of(data, "held-");
    let blob = |log: &Path| list(&log.with_file_name("blob"), &|_| true);
    let key = |log: &Path, prefix: &str| data.join("keys").join(format!("{prefix}{}", name(log.parent().unwrap())));
    match kind {
        "keys/<identity>" => vec![key(&log, "")],
        "keys/<identity>.seal" => vec![key(&log, "").with_extension("seal")],
        "keys/held-<carrier>" => vec![key(&held(), "held-")],
        "first segment" | "segment for its bodies" => first(&log),
        "newest segment" => newest(&log),
        "checkpoint" => list(&log, &|name| name.ends_with(".ckp")),
        "blob" => blob(&log),
        "carrier's first segment" => first(&held()),
        "carrier's newest segment" => newest(&held()),
        "carrier's checkpoint" => list(&held(), &|name| name.ends_with(".ckp")),
        "carrier's blob" => blob(&held()),
        "corrupt/" => list(&data.join("corrupt"), &|_| true),
        "view/snap" => list(&data.join("view"), &|name| name.starts_with("snap.")),
        "<identity>/restored" => vec![log.with_file_name("restored")],
        "<identity>/making" => vec![data.join("0123456789abcdef0123456789abcdef/making")],
        path => vec![data.join(path)],
    }
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// The kind to which a file belongs, by its path in the data directory.
fn kind_of(path: &str) -> Option<&'static str> {
    let is_id = |text: &str| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_part = |name: &str, end| name.strip_suffix(end).is_some_and(|number| number.len() == 16);
    Some(match path.split('/').collect::<Vec<_>>().as_slice() {
        ["keys", "node"] => "keys/node",
        ["keys", "node.key"] => "keys/node.key",
        ["keys", id] if is_id(id) => "keys/<identity>",
        ["keys", name] if name.strip_suffix(".seal").is_some_and(is_id) => "keys/<identity>.seal",
        ["keys", id] if id.strip_prefix("held-").is_some_and(is_id) => "keys/held-<carrier>",
        [id, "log", name] if is_id(id) && is_part(name, ".seg") => "first segment",
        [id, "log", name] if is_id(id) && is_part(name, ".ckp") => "checkpoint",
        [id, "blob", name] if is_id(id) && is_id(name) => "blob",
        ["held", id, "log", name] if is_id(id) && is_part(name, ".seg") => "carrier's first segment",
        ["held", id, "log", name] if is_id(id) && is_part(name, ".ckp") => "carrier's checkpoint",
        ["held", id, "blob", name] if is_id(id) && is_id(name) => "carrier's blob",
        [id, "restored"] if is_id(id) => "<identity>/restored",
        [id, "making"] if is_id(id) => "<identity>/making",
        ["config.toml"] => "config.toml",
        ["lock"] => "lock",
        ["backup.json"] => "backup.json",
        ["restored"] => "restored",
        ["restoring"] => "restoring",
        ["corrupt", _] => "corrupt/",
        ["view", "conf"] => "view/conf",
        ["view", "db"] => "view/db",
        ["view", name] if name.starts_with("snap.") => "view/snap",
        _ => return None,
    })
}

/// Whether a message of this name lies in a file of this kind, and may be gone with it.
fn lies_in(kind: &str, subject: &str) -> bool {
    match kind {
        "newest segment" => subject.starts_with("last") || subject == "compacted",
        // Saved with a file of its own.
        "blob" => subject == "first-2" || subject == "last-2-2",
        // And of the next one, with which it is exchanged.
        "segment for its bodies" => subject == "waits" || subject.starts_with("middle") || subject.starts_with("last"),
        _ => false,
    }
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|words| String::from_utf8_lossy(words).into_owned()).concat()
}

/// Every file in a data directory but the lock, with its bytes.
fn snapshot(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.is_file() && path != root.join("lock") {
            let meta = path.metadata().unwrap();
            let is_blob = path.parent().unwrap().ends_with("blob");
            // Which are large, and never written again.
            let of_blob = || format!("{} {} {:?}", meta.ino(), meta.len(), meta.modified().unwrap()).into_bytes();
            let bytes = if is_blob { of_blob() } else { fs::read(&path).unwrap() };
            found.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), bytes);
        }
    }
    found
}

#[test]
fn every_kind_of_file_is_in_the_matrix_with_every_damage() {
    let kinds: BTreeSet<&str> = MATRIX.iter().map(|row| row.kind).collect();
    for Template { data, .. } in world().templates.values() {
        for path in snapshot(data).keys().map(String::as_str).chain(["lock"]) {
            let kind = kind_of(path);
            assert!(kind.is_some_and(|kind| kinds.contains(kind)), "{path} is of no kind in the matrix");
        }
    }
    for kind in kinds {
        let never = |damage: &Damage| NEVER.iter().any(|(of, damages, _)| *of == kind && damages.contains(damage));
        for damage in DAMAGES {
            let cells = MATRIX.iter().filter(|row| row.kind == kind && row.damages.contains(&damage));
            let states: Vec<State> = cells.map(|row| row.state).collect();
            let distinct: BTreeSet<_> = states.iter().collect();
            assert!(distinct.len() == states.len(), "{kind} {damage:?} is there twice");
            assert!(states.is_empty() == never(&damage), "{kind} {damage:?}");
        }
    }
}

#[test]
fn each_damage_to_each_kind_of_file_is_met_with_its_sentence() {
    let begin = Instant::now();
    let world = world();
    let made = begin.elapsed();
    let cells: Vec<_> = MATRIX.iter().flat_map(|row| row.damages.iter().map(move |damage| (row, *damage))).collect();
    let only = std::env::var("CELL").unwrap_or_default();
    let (next, ran, wrong) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        // A cell mostly waits for its node.
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((row, damage)) = cells.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let name = format!("{:?}, {}, {damage:?}", row.state, row.kind);
                    if !name.contains(&only) {
                        continue;
                    }
                    let mut cell = Cell::new(world, row, *damage);
                    cell.run();
                    ran.fetch_add(1, Ordering::SeqCst);
                    if !cell.wrong.is_empty() {
                        wrong.lock().unwrap().push(format!("== {name}\n{}", cell.wrong.join("\n")));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    let ran = ran.into_inner();
    assert!(ran > 0, "no cell has {only:?} in its name");
    // Past the test runner, which keeps what a test that passes prints.
    let took = begin.elapsed() - made;
    let _ = writeln!(
        std::io::stderr(),
        "corruption: {ran} cells in {took:.1?}, after {made:.1?} for what they are made of"
    );
    assert!(wrong.is_empty(), "{} of {ran} are wrong:\n{}", wrong.len(), wrong.join("\n\n"));
}

/// One damage to one file of a copy of a node.
struct Cell<'a> {
    world: &'a World,
    template: &'a Template,
    row: &'a Row,
    damage: Damage,
    peers: tempfile::TempDir,
    node: Node,
    /// The name of what is damaged.
    file: String,
    /// The data directory after the damage.
    damaged: BTreeMap<String, Vec<u8>>,
    wrong: Vec<String>,
}

impl<'a> Cell<'a> {
    fn new(world: &'a World, row: &'a Row, damage: Damage) -> Self {
        let (template, peers) = (&world.templates[&row.state], temp_dir());
        let node = Node::loopback("alice", peers.path());
        let node = if row.state == State::Locked { node.with_passphrase(PASSPHRASE) } else { node };
        copy(&template.data, &node.data());
        let path = files(&node.data(), row.kind).pop().unwrap();
        damage_file(world, row, damage, &node.data(), &path);
        let (file, damaged) = (name(&path).to_owned(), snapshot(&node.data()));
        Self { world, template, row, damage, peers, node, file, damaged, wrong: Vec::new() }
    }

    fn run(&mut self) {
        self.check();
        if self.damage == self.row.damages[0] {
            self.back_up();
        }
        self.node.spawn();
        let ended = self.wait();
        let words = self.node.words();
        self.sane(&words);
        match (self.row.start, ended) {
            (Start::Refuses(wanted), true) => {
                self.says("up", &words, wanted);
                self.unchanged("up");
                self.repair();
            }
            (Start::Well, false) => {
                let lost = self.lost(&|_| false);
                self.expect(lost.is_empty(), || format!("lost without a word: {lost:?}\n{words}"));
            }
            (Start::Says(wanted), false) => {
                let kind = self.row.kind;
                let lost = self.lost(&|subject| lies_in(kind, subject));
                self.expect(lost.is_empty(), || format!("lost, and lay somewhere else: {lost:?}"));
                self.is_told(wanted);
                self.mend_carrier();
            }
            (_, true) => self.wrong.push(format!("it ended: {words}")),
            (_, false) => self.wrong.push(format!("it runs: {words}")),
        }
        let keys = |files: &BTreeMap<String, Vec<u8>>| -> Vec<_> {
            // Encryption keys that are lost are made anew, and nothing else is.
            let keys = files.iter().filter(|(path, _)| path.starts_with("keys/") && !path.ends_with(".seal"));
            keys.map(|(path, bytes)| (path.clone(), bytes.clone())).collect()
        };
        let kept = keys(&self.damaged) == keys(&snapshot(&self.node.data()));
        self.expect(kept, || "a key was changed".to_owned());
    }

    fn expect(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.wrong.push(what());
        }
    }

    fn says(&mut self, who: &str, words: &str, wanted: &[&str]) {
        let wanted = wanted.iter().map(|fragment| fragment.replace("{file}", &self.file));
        let missing: Vec<_> = wanted.filter(|fragment| !words.contains(fragment.as_str())).collect();
        self.expect(missing.is_empty(), || format!("{who} does not say {missing:?}, but: {words}"));
    }

    /// Nothing panics, whoever catches it.
    fn sane(&mut self, words: &str) {
        let panics = ["panicked", "failed unexpectedly"].iter().any(|word| words.contains(word));
        self.expect(!panics, || format!("it panicked: {words}"));
    }

    /// Nothing was changed but what sled tidies in its own directory, and the note that a start failed.
    fn unchanged(&mut self, who: &str) {
        let of_node = |files: &BTreeMap<String, Vec<u8>>| -> BTreeMap<_, _> {
            let counts = |path: &str| !path.starts_with("view/") && path != "failed-start.json";
            files.iter().filter(|(path, _)| counts(path)).map(|(p, b)| (p.clone(), b.clone())).collect()
        };
        let same = of_node(&self.damaged) == of_node(&snapshot(&self.node.data()));
        self.expect(same, || format!("{who} changed something"));
    }

    fn with_passphrase<'b>(&self, arguments: &[&'b str], option: &'b str, secret: &'b str) -> Vec<&'b str> {
        let more = [option, secret];
        arguments.iter().copied().chain(more.into_iter().filter(|_| self.row.state == State::Locked)).collect()
    }

    fn check(&mut self) {
        let secret = passphrase(self.world.dir.path());
        let output = self.node.run(&self.with_passphrase(&["repair", "--check"], "--passphrase-file", &secret));
        let (words, Check(code, wanted)) = (said(&output), self.row.check);
        self.sane(&words);
        let found = output.status.code();
        self.expect(found == Some(code), || format!("repair --check ended with {found:?}: {words}"));
        self.says("repair --check", &words, wanted);
        let same = snapshot(&self.node.data()) == self.damaged;
        self.expect(same, || "repair --check changed something".to_owned());
    }

    fn back_up(&mut self) {
        let secret = passphrase(self.world.dir.path());
        let file = self.peers.path().join("backup").display().to_string();
        let made = self.node.run(&["backup", "create", &file, "--passphrase-file", &secret]);
        let verify = ["backup", "verify", &file, "--passphrase-file", &secret];
        let verify = self.with_passphrase(&verify, "--node-passphrase-file", &secret);
        let (ended, words) = match self.row.backup {
            Backup::Refused(_) => (!made.status.success(), said(&made)),
            Backup::Whole => (true, said(&self.node.run(&verify))),
            Backup::Verify(_) => {
                let output = self.node.run(&verify);
                (made.status.success() && !output.status.success(), said(&output))
            }
        };
        self.sane(&words);
        self.expect(ended, || format!("the backup: {}{words}", said(&made)));
        match self.row.backup {
            Backup::Whole => self.says("backup verify", &words, &["is whole"]),
            Backup::Verify(wanted) | Backup::Refused(wanted) => self.says("the backup", &words, wanted),
        }
        // That a backup was made is noted.
        if let Some(noted) = snapshot(&self.node.data()).remove("backup.json") {
            self.damaged.insert("backup.json".to_owned(), noted);
        }
    }

    /// Whether the daemon has ended, once it has or everything of it is up.
    fn wait(&mut self) -> bool {
        let deadline = Instant::now() + BOUND;
        while Instant::now() < deadline {
            if self.node.has_ended() {
                let code = self.node.wait_for_end().code();
                self.expect(matches!(code, Some(1 | 2)), || format!("it ended with {code:?}"));
                return true;
            }
            let up = |of: &serde_json::Value| of["reachable"] == true;
            let status = self.node.try_json(&["status"]).unwrap_or_default();
            let carrier = &status["carrier"];
            let carries = carrier.is_null() || carrier["open"] == false || up(carrier);
            if carries && status["identities"].as_array().is_some_and(|all| all.iter().all(up)) {
                return false;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        self.wrong.push(format!("it neither ends nor comes up within {BOUND:?}: {}", self.node.words()));
        false
    }

    /// The messages that cannot be read any more, without those that lay in what is damaged.
    fn lost(&mut self, may: &dyn Fn(&str) -> bool) -> Vec<String> {
        if self.template.mail.is_empty() {
            return Vec::new();
        }
        let (read, _) = shown(&self.node, &self.world.login);
        let there: BTreeSet<_> = read.iter().map(|((folder, _, _), bytes)| (folder, bytes)).collect();
        let all = self.template.mail.iter();
        let lost = all.filter(|((folder, subject, _), bytes)| !may(subject) && !there.contains(&(folder, bytes)));
        let mut lost: Vec<String> = lost.map(|((folder, subject, _), _)| format!("{folder}/{subject}")).collect();
        let waiting = self.node.json(&["queue", "list"])["queue"].as_array().unwrap().len();
        if waiting < self.template.waiting && !may("waits") {
            lost.push("what waits".to_owned());
        }
        lost.extend(self.gone_from_carrier());
        lost
    }

    /// What is wrong with the number of whole objects that the carrier hands out, where it runs.
    fn gone_from_carrier(&self) -> Option<String> {
        let all = self.template.held;
        if all == 0 || self.node.json(&["status"])["carrier"]["open"] == false {
            return None;
        }
        let held = self.world.collected(self.peers.path());
        let right = match (self.row.kind, self.damage) {
            // Two of them are in each other's place.
            ("carrier's blob", Damage::Swapped) => all - 2..=all - 2,
            ("carrier's blob", _) => all - 1..=all - 1,
            // The objects of the runs before lie in other segments.
            ("carrier's newest segment", damage) if damage != Damage::Last => HELD_BEFORE..=all,
            _ => all..=all,
        };
        (!held.is_some_and(|held| right.contains(&held)))
            .then(|| format!("{held:?} objects are held, and not {right:?}"))
    }

    /// A carrier that is off runs again after a repair, or it is said why not.
    fn mend_carrier(&mut self) {
        if self.node.json(&["status"])["carrier"]["open"] != false {
            return;
        }
        self.node.terminate();
        let output = self.node.run(&["repair", "--yes"]);
        let words = said(&output);
        self.sane(&words);
        if !output.status.success() {
            self.expect(output.status.code() == Some(7), || format!("repair ended with {:?}", output.status));
            return self.says("repair", &words, &["nothing was changed"]);
        }
        self.node.spawn();
        let ended = self.wait();
        let words = self.node.words();
        self.expect(!ended, || format!("after the repair it ends: {words}"));
        let carrier = &self.node.json(&["status"])["carrier"];
        self.expect(carrier["open"] == true, || format!("after the repair the carrier is off: {carrier}"));
        let gone = self.gone_from_carrier();
        self.expect(gone.is_none(), || format!("lost by the repair: {gone:?}"));
    }

    /// Its log, its status, or a message in INBOX says this.
    fn is_told(&mut self, wanted: &[&str]) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let told = [&["--json", "status"][..], &["--json", "ls"]].map(|arguments| said(&self.node.run(arguments)));
            let words = [self.node.words(), told.concat()].concat();
            let missing = |fragment: &&str| !words.contains(&fragment.replace("{file}", &self.file));
            if !wanted.iter().any(missing) || Instant::now() > deadline {
                self.sane(&words);
                return self.says("up", &words, wanted);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// What a start refuses is repaired, or it is said why not.
    fn repair(&mut self) {
        let secret = passphrase(self.world.dir.path());
        let output = self.node.run(&self.with_passphrase(&["repair", "--yes"], "--passphrase-file", &secret));
        let words = said(&output);
        self.sane(&words);
        if !output.status.success() {
            self.unchanged("a repair that failed");
            return self.says("repair", &words, &["nothing was changed"]);
        }
        if self.row.kind == "config.toml" {
            return;
        }
        self.node.spawn();
        if self.wait() {
            let words = self.node.words();
            return self.wrong.push(format!("after the repair it ends: {words}"));
        }
        let kind = self.row.kind;
        let lost = self.lost(&|subject| lies_in(kind, subject));
        self.expect(lost.is_empty(), || format!("lost by the repair: {lost:?}"));
        self.is_told(&["A part of this mailbox was damaged on the disk"]);
    }
}

/// Does this to a file.
fn damage_file(world: &World, row: &Row, damage: Damage, data: &Path, path: &Path) {
    let before = fs::read(path).unwrap();
    // Behind its content sled's file is empty.
    let used = before.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let mut bytes = before.clone();
    let mut other = None;
    match damage {
        Damage::First => bytes[0] ^= 0x55,
        Damage::Version => bytes[8.min(used - 1)] ^= 0x55,
        Damage::Middle => bytes[used / 2] ^= 0x55,
        Damage::Last => bytes[used - 1] ^= 0x55,
        Damage::Zeros => bytes[used / 4..used / 2].fill(0),
        Damage::Half => bytes.truncate(used / 2),
        Damage::Empty | Damage::Gone => bytes.clear(),
        Damage::Swapped => {
            let path = counterpart(world, row, data, path);
            bytes = fs::read(&path).unwrap();
            other = Some(path).filter(|path| path.starts_with(data));
        }
        Damage::Old => bytes = fs::read(world.old.join(path.strip_prefix(data).unwrap())).unwrap(),
    }
    assert!(damage == Damage::Gone || bytes != before, "{} {damage:?} changes nothing", row.kind);
    // Another name may lead to the same file.
    fs::remove_file(path).unwrap();
    if damage != Damage::Gone {
        fs::write(path, bytes).unwrap();
    }
    if let Some(other) = other {
        fs::remove_file(&other).unwrap();
        fs::write(other, before).unwrap();
    }
}

/// Another file of the kind: of this node, or of another one.
fn counterpart(world: &World, row: &Row, data: &Path, path: &Path) -> PathBuf {
    let of_this = |kind: &str| files(data, kind).into_iter().find(|other| other != path);
    let found = match row.kind {
        "keys/<identity>" => of_this("keys/held-<carrier>"),
        "keys/held-<carrier>" => of_this("keys/<identity>"),
        "first segment" => of_this("newest segment"),
        // The next one, in which bodies lie as well.
        "segment for its bodies" => path
            .parent()
            .unwrap()
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|other| other != path && other.extension().is_some_and(|extension| extension == "seg"))
            .min(),
        "newest segment" => of_this("first segment"),
        "carrier's first segment" => of_this("carrier's newest segment"),
        "carrier's newest segment" => of_this("carrier's first segment"),
        "checkpoint" => of_this("carrier's checkpoint"),
        "carrier's checkpoint" => of_this("checkpoint"),
        "view/snap" => files(&world.templates[&State::Checkpoint].data, "view/snap").pop(),
        kind => of_this(kind).or_else(|| files(&world.other, kind).pop()),
    };
    found.unwrap()
}

#[test]
fn each_damage_to_a_backup_is_met_with_its_sentence() {
    let world = world();
    let secret = passphrase(world.dir.path());
    let [last, old, other] = &world.backups;
    for damage in DAMAGES {
        let home = temp_dir();
        let (file, data) = (home.path().join("backup"), home.path().join("data"));
        let mut bytes = fs::read(last).unwrap();
        let len = bytes.len();
        match damage {
            Damage::First => bytes[0] ^= 0x55,
            Damage::Version => bytes[8] ^= 0x55,
            Damage::Middle => bytes[len / 2] ^= 0x55,
            Damage::Last => bytes[len - 1] ^= 0x55,
            Damage::Zeros => bytes[len / 4..len / 2].fill(0),
            Damage::Half => bytes.truncate(len / 2),
            Damage::Empty | Damage::Gone => bytes.clear(),
            Damage::Swapped => bytes = fs::read(other).unwrap(),
            Damage::Old => bytes = fs::read(old).unwrap(),
        }
        if damage != Damage::Gone {
            fs::write(&file, bytes).unwrap();
        }
        let run = |verb: &str| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_runepeer"));
            command.args(["--no-input", "--data-dir"]).arg(&data).args(["backup", verb]).arg(&file);
            command.args(["--passphrase-file", &secret]);
            let output = programs::run(command, b"");
            (output.status.code(), said(&output))
        };
        let (code, wanted): (_, &[&str]) = match damage {
            Damage::First | Damage::Empty => (1, &["this is no backup of runepeer"]),
            Damage::Version => (1, &["the backup is damaged at byte 8", "use another one"]),
            Damage::Gone => (1, &["cannot be read"]),
            // Of whom it is, and of when, is said.
            Damage::Swapped => (0, &["bob@", "is whole"]),
            Damage::Old => (0, &["alice@", "is whole", "6 messages"]),
            _ => (1, &["the backup", "use another"]),
        };
        let (ended, words) = run("verify");
        assert!(ended == Some(code) && wanted.iter().all(|part| words.contains(part)), "{damage:?}: {ended:?} {words}");
        let (ended, words) = run("restore");
        assert_eq!(ended, Some(code), "{damage:?}: {words}");
        // What is put back in part is no node.
        assert!(code == 0 || !data.join("keys/node").exists(), "{damage:?}");
    }
}
