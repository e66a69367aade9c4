//! Putting a backup back into an empty data directory.
//!
//! While a restore goes on, a file `restoring` is in the directory: no daemon starts on it, and the next attempt begins
//! anew. When the restore is complete, there is a file `restored` instead, and one in each identity's directory. The
//! next start tells each identity what happened (`IdentityRecord::Restored`), and looks for the original before it publishes
//! anything.

use std::io;
use std::path::{Path, PathBuf};

use super::contents::Entry;
use super::files::{Backup, unreadable};
use super::{Progress, failed};
use crate::base::{IdentityId, Timestamp};
use crate::control::{Code, Failure};
use crate::store::vfs::Vfs;

const RESTORING: &str = "restoring";
/// The mark in a data directory that says: the original may still run.
pub const NODE_MARK: &str = "restored";

/// The file that tells an identity that it was restored.
pub fn mark(root: &Path, identity: IdentityId) -> PathBuf {
    root.join(identity.to_string()).join(NODE_MARK)
}

/// Whether a restore was begun in this data directory and not completed.
pub fn was_interrupted(vfs: &dyn Vfs, root: &Path) -> bool {
    vfs.open(&root.join(RESTORING)).is_ok()
}

/// Writes all files of a backup into an empty data directory that this process holds.
///
/// # Errors
/// [`Code::Failed`]; a restore that had begun can be tried again.
pub fn restore(backup: &Backup, vfs: &dyn Vfs, root: &Path, progress: Progress<'_>) -> Result<(), Failure> {
    let unwritable = |error: io::Error| {
        failed(&format!("the data directory {} cannot be written", root.display()), error)
            .hint("what was written is not used; run the command again")
    };
    if was_interrupted(vfs, root) {
        clear(vfs, root, backup).map_err(unwritable)?;
    } else if !is_empty(vfs, root, backup).map_err(unwritable)? {
        return Err(Failure::new(Code::Failed, format!("there is something in {}", root.display()))
            .hint("restore into an empty directory: runepeer --data-dir NEW backup restore FILE"));
    } else {
        write_whole(vfs, &root.join(RESTORING), b"").and_then(|()| vfs.sync_dir(root)).map_err(unwritable)?;
    }
    // The file that makes the node exist comes last.
    let mut files: Vec<&Entry> = backup.manifest.files.iter().collect();
    files.sort_by_key(|file| file.path == "keys/node");
    let total = files.iter().map(|file| file.bytes).sum();
    let mut done = 0;
    for file in &files {
        done = copy(backup, vfs, root, file, done, total, progress)?;
    }
    let made = backup.manifest.made.millis().to_string();
    let finish = || -> io::Result<()> {
        for dir in directories(backup) {
            vfs.sync_dir(&root.join(dir))?;
        }
        for identity in identities(backup) {
            for dir in ["log", "blob"] {
                vfs.mkdir(&root.join(identity.to_string()).join(dir))?;
            }
            write_whole(vfs, &mark(root, identity), made.as_bytes())?;
            vfs.sync_dir(&root.join(identity.to_string()))?;
        }
        write_whole(vfs, &root.join(NODE_MARK), b"")?;
        vfs.sync_dir(root)?;
        vfs.unlink(&root.join(RESTORING))?;
        vfs.sync_dir(root)
    };
    finish().map_err(unwritable)
}

/// When the backup was made from which an identity was restored; `None` where it was not restored, or was told already.
///
/// # Errors
/// Errors of the disk.
pub(crate) fn restored_from(vfs: &dyn Vfs, path: &Path) -> io::Result<Option<Timestamp>> {
    match crate::store::vfs::read_small(vfs, path, 64) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => {
            let text = String::from_utf8(other?).unwrap_or_default();
            Ok(Some(Timestamp::from_millis(text.trim().parse().unwrap_or_default())))
        }
    }
}

fn copy(
    backup: &Backup,
    vfs: &dyn Vfs,
    root: &Path,
    entry: &Entry,
    mut done: u64,
    total: u64,
    progress: Progress<'_>,
) -> Result<u64, Failure> {
    const PIECE: u64 = 1 << 20;
    let unwritable = |error: io::Error| failed(&format!("{} cannot be written", entry.path), error);
    let path = root.join(&entry.path);
    for dir in path.parent().into_iter().flat_map(|parent| parent.ancestors()).collect::<Vec<_>>().into_iter().rev() {
        if dir.starts_with(root) && dir != root {
            vfs.mkdir(dir).map_err(unwritable)?;
        }
    }
    let file = vfs.create_excl(&path).map_err(unwritable)?;
    let mut at = 0;
    while at < entry.bytes {
        let piece = backup.files.read(&Path::new("/").join(&entry.path), at, PIECE).map_err(unreadable)?;
        file.write_at(at, &piece).map_err(unwritable)?;
        at += piece.len() as u64;
        done += piece.len() as u64;
        progress(done, total)?;
    }
    file.sync().map_err(unwritable)?;
    Ok(done)
}

fn write_whole(vfs: &dyn Vfs, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = vfs.create_excl(path)?;
    file.write_at(0, bytes)?;
    file.sync()
}

/// All directories of a backup below the data directory, each before its subdirectories.
fn directories(backup: &Backup) -> std::collections::BTreeSet<PathBuf> {
    let parents = backup.manifest.files.iter().flat_map(|file| Path::new(&file.path).ancestors().skip(1));
    parents.filter(|path| !path.as_os_str().is_empty()).map(Path::to_owned).collect()
}

fn identities(backup: &Backup) -> Vec<IdentityId> {
    let names = backup.manifest.files.iter().filter_map(|file| file.path.strip_prefix("keys/"));
    names.filter_map(|name| name.parse().ok()).collect()
}

/// Whether the data directory is empty: no file, and no directory that a node has or that this backup fills.
fn is_empty(vfs: &dyn Vfs, root: &Path, backup: &Backup) -> io::Result<bool> {
    let files = vfs.list(root)?.into_iter().all(|name| name == "lock");
    let mut directories = directories(backup);
    directories.insert("keys".into());
    let missing = |dir: PathBuf| match vfs.list(&root.join(dir)) {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    };
    directories.into_iter().try_fold(files, |empty, dir| Ok(empty && missing(dir)?))
}

/// Removes the files of an attempt that was interrupted.
fn clear(vfs: &dyn Vfs, root: &Path, backup: &Backup) -> io::Result<()> {
    let mut dirs: Vec<PathBuf> = directories(backup).into_iter().map(|dir| root.join(dir)).collect();
    dirs.push(root.join("keys"));
    for dir in dirs {
        match vfs.list(&dir) {
            Ok(names) => names.iter().try_for_each(|name| vfs.unlink(&dir.join(name)))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    for name in vfs.list(root)?.into_iter().filter(|name| name != "lock" && name != RESTORING) {
        vfs.unlink(&root.join(name))?;
    }
    Ok(())
}
