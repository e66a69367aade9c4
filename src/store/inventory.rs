//! Which parts of a node are missing, as the parts that are left tell it (docs/on-disk.md, "Missing parts"): a key
//! without its log, a log without its key. Every opening of a data directory looks here first, so that a part that only
//! went missing is not made anew.
//!
//! A log that is being made has the mark `making` until its key is kept: a crash before that leaves files that mean
//! nothing. A data directory has the mark `beginning` during its first start: until there is an identity or a carrier,
//! everything that the start made means nothing.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use super::keys::{CARRIER, KEY_FILE, Keyring, NODE};
use super::log::{checkpoint, segment};
use super::removal::removals;
use super::vfs::{TEMPORARY, Vfs, read_small};
use crate::base::IdentityId;

/// A part of a node that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The file.
    pub path: PathBuf,
    /// By which sign it is known that the part existed.
    pub because: String,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is missing ({})", self.path.display(), self.because)
    }
}

/// The sign by which a missing segment is known.
const GOES_ON: &str = "a later segment goes on from it, and no checkpoint (.ckp) stands for it";
/// The name of the mark in the directory of a log whose key is not kept yet.
const MAKING: &str = "making";
/// The name of the mark in a data directory whose first start is under way.
const BEGINNING: &str = "beginning";
/// The most that is read of that mark, in bytes; what we write is shorter.
const OWN_BYTES: usize = 256;
/// Directories that only a node makes.
const TRACES: [&str; 4] = ["held", "view", "tor", "corrupt"];
/// Files that only a node makes.
const NOTES: [&str; 3] = ["backup.json", "restored", "default-identity"];

/// Makes the directory of a log, with the mark that its key is not kept yet.
///
/// # Errors
/// Errors of the disk.
pub fn begin_making(vfs: &dyn Vfs, dir: &Path) -> io::Result<()> {
    vfs.mkdir(dir)?;
    vfs.create_excl(&dir.join(MAKING))?.sync()?;
    vfs.sync_dir(dir)
}

/// Removes the mark, now that the key of this log is kept. Does nothing where there is no mark.
pub fn end_making(vfs: &dyn Vfs, dir: &Path) {
    if vfs.open(&dir.join(MAKING)).is_ok() && vfs.unlink(&dir.join(MAKING)).is_ok() {
        // After a crash the mark may come back. A log that has a key is nevertheless taken as complete.
        let _ = vfs.sync_dir(dir);
    }
}

/// Begins the first start of a data directory: until [`end_first_start`], what is made there counts only with the first
/// identity or carrier. `own` names files that the start makes and that a user may make as well.
///
/// # Errors
/// Errors of the disk.
pub fn begin_first_start(vfs: &dyn Vfs, root: &Path, own: &str) -> io::Result<()> {
    let file = vfs.create_excl(&root.join(BEGINNING))?;
    file.write_at(0, own.as_bytes())?;
    file.sync()?;
    vfs.sync_dir(root)
}

/// Removes the mark of a first start. Does nothing where there is none.
pub fn end_first_start(vfs: &dyn Vfs, root: &Path) {
    if vfs.open(&root.join(BEGINNING)).is_ok() && vfs.unlink(&root.join(BEGINNING)).is_ok() {
        // After a crash the mark may come back. Beside a key of an identity or a carrier it means nothing.
        let _ = vfs.sync_dir(root);
    }
}

/// Whether a first start ended here before there was an identity or a carrier; with the files that
/// [`begin_first_start`] was told of.
///
/// # Errors
/// Errors of the disk.
pub fn failed_first_start(vfs: &dyn Vfs, root: &Path) -> io::Result<Option<String>> {
    let own = match read_small(vfs, &root.join(BEGINNING), OWN_BYTES) {
        Err(error) if is_absent(&error) => return Ok(None),
        own => String::from_utf8_lossy(&own?).into_owned(),
    };
    let names = there(vfs.list(&root.join("keys")))?;
    let [identities, carriers] = kinds(root).map(|kind| kind.compare(vfs, &names));
    Ok((identities?.trace.is_none() && carriers?.trace.is_none()).then_some(own))
}

/// The parts of the node in `root` that are missing, as far as the other parts show it. The list is empty where there
/// is no part of a node.
///
/// # Errors
/// Errors of the disk.
pub fn missing(vfs: &dyn Vfs, root: &Path) -> io::Result<Vec<Missing>> {
    if failed_first_start(vfs, root)?.is_some() {
        return Ok(Vec::new());
    }
    let keys = root.join("keys");
    let names = there(vfs.list(&keys))?;
    let [identities, carriers] = kinds(root).map(|kind| kind.compare(vfs, &names));
    let (identities, carriers) = (identities?, carriers?);
    let mut missing = Vec::new();
    let has = |name: &str| names.iter().any(|known| known == name);
    if !has(NODE) {
        let because = match identities.trace.or(carriers.trace) {
            Some(trace) => Some(trace),
            None => other_trace(vfs, root)?,
        };
        missing.extend(because.map(|because| Missing { path: keys.join(NODE), because }));
    } else if !has(KEY_FILE) && Keyring::is_passphrase_protected(vfs, &keys).is_ok_and(|protected| !protected) {
        let because = "it opens keys/node, which has no passphrase".to_owned();
        missing.push(Missing { path: keys.join(KEY_FILE), because });
    }
    missing.extend(identities.missing.into_iter().chain(carriers.missing));
    Ok(missing)
}

/// The segments of all identities' logs in `root` that a start would need and that are missing. No key is needed to
/// know that: each segment names the one before it in the clear.
///
/// # Errors
/// Errors of the disk.
pub fn missing_segments(vfs: &dyn Vfs, root: &Path) -> io::Result<Vec<Missing>> {
    let mut missing = Vec::new();
    let removed = removals(vfs, root)?;
    let counts = |name: &&String| name.parse::<IdentityId>().is_ok_and(|id| !removed.contains(&id));
    for id in there(vfs.dirs(root))?.iter().filter(counts) {
        let log = root.join(id).join("log");
        let names = there(vfs.list(&log))?;
        let begin = names.iter().filter_map(|name| checkpoint::number(name)).max();
        let begin = begin.map_or(Ok(None), |number| word(vfs, &checkpoint::path(&log, number), 24))?.unwrap_or(0);
        let segments: BTreeSet<u64> = names.iter().filter_map(|name| segment::number(name)).collect();
        let mut wanted = segments.last().copied().unwrap_or(begin);
        while wanted > 0 && wanted >= begin {
            let path = segment::path(&log, wanted);
            if !segments.contains(&wanted) {
                missing.push(Missing { path, because: GOES_ON.to_owned() });
                break;
            }
            // A segment that names itself or a later one is damaged; this function does not look for damage.
            wanted = word(vfs, &path, 32)?.filter(|before| *before < wanted).unwrap_or(0);
        }
    }
    Ok(missing)
}

/// The number at this place of a file; `None` where the file ends before.
fn word(vfs: &dyn Vfs, path: &Path, at: u64) -> io::Result<Option<u64>> {
    let mut bytes = [0; 8];
    let read = vfs.open(path)?.read_at(at, &mut bytes)?;
    Ok((read == bytes.len()).then(|| u64::from_le_bytes(bytes)))
}

/// What a node has: identities, and carriers.
fn kinds(root: &Path) -> [Kind; 2] {
    let keys = root.join("keys");
    let part = |prefix, logs| Kind { root: root.to_owned(), keys: keys.clone(), prefix, logs };
    [part("", root.to_owned()), part(CARRIER, root.join("held"))]
}

/// Keys and logs of one kind.
struct Kind {
    root: PathBuf,
    keys: PathBuf,
    /// How the name of a key begins.
    prefix: &'static str,
    /// The directory of the logs' directories.
    logs: PathBuf,
}

#[derive(Default)]
struct Compared {
    missing: Vec<Missing>,
    /// A file that proves that a node is, or was, here.
    trace: Option<String>,
}

impl Kind {
    fn compare(&self, vfs: &dyn Vfs, names: &[String]) -> io::Result<Compared> {
        // An identity that is being removed counts no more, whatever is left of it.
        let removed = removals(vfs, &self.root)?;
        let counts = |id: &IdentityId| !removed.contains(id);
        let keys: BTreeSet<IdentityId> =
            names.iter().filter_map(|name| name.strip_prefix(self.prefix)?.parse().ok()).filter(counts).collect();
        let mut logs = BTreeSet::new();
        for id in there(vfs.dirs(&self.logs))?.iter().filter_map(|name| name.parse::<IdentityId>().ok()).filter(counts)
        {
            let dir = self.logs.join(id.to_string());
            let is_being_made = vfs.list(&dir)?.iter().any(|name| name == MAKING);
            if !is_being_made && vfs.dirs(&dir)?.iter().any(|name| name == "log") {
                logs.insert(id);
            }
        }
        let key = |id: &IdentityId| self.keys.join(format!("{}{id}", self.prefix));
        let log = |id: &IdentityId| self.logs.join(id.to_string()).join("log");
        let trace = match (keys.first(), logs.first()) {
            (Some(id), _) => Some(format!("{} is there", key(id).display())),
            (None, Some(id)) => Some(format!("{} is there", log(id).display())),
            (None, None) => None,
        };
        let mut missing = Vec::new();
        for id in logs.difference(&keys) {
            missing.push(Missing { path: key(id), because: format!("{} is there", log(id).display()) });
        }
        for id in &keys {
            let in_log = there(vfs.list(&log(id)))?;
            let counts = |name: &String| segment::number(name).is_some() || checkpoint::number(name).is_some();
            if !in_log.iter().any(counts) {
                let because = format!("nothing of the log is left whose key is {}", key(id).display());
                missing.push(Missing { path: segment::path(&log(id), 1), because });
            } else if vfs.list(&self.logs.join(id.to_string()).join("blob")).is_err_and(|error| is_absent(&error)) {
                let because = "every log has such a directory".to_owned();
                missing.push(Missing { path: self.logs.join(id.to_string()).join("blob"), because });
            }
        }
        Ok(Compared { missing, trace })
    }
}

/// Another file or directory that only a node leaves.
fn other_trace(vfs: &dyn Vfs, root: &Path) -> io::Result<Option<String>> {
    let dirs = there(vfs.dirs(root))?.into_iter().filter(|name| TRACES.contains(&name.as_str()));
    let files = there(vfs.list(root))?.into_iter().filter(|name| NOTES.contains(&name.as_str()));
    Ok(dirs.chain(files).next().map(|name| format!("{} is there", root.join(name).display())))
}

fn is_absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

/// The names in a directory, without those of unfinished files; none where the directory is missing.
fn there(names: io::Result<Vec<String>>) -> io::Result<Vec<String>> {
    match names {
        Err(error) if is_absent(&error) => Ok(Vec::new()),
        names => Ok(names?.into_iter().filter(|name| !name.starts_with(TEMPORARY)).collect()),
    }
}
