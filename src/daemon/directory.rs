//! The data directory: made with closed permissions, checked, and held by one daemon at a time.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Weak;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags, StatVfsMountFlags, flock, fstatvfs};
use tokio::sync::watch;

use super::home::Home;
use super::hosts::account::Registry;
use super::runtime::supervision::Ending;
use crate::control::{Code, Failure};
use crate::store::vfs::is_at;

/// A data directory that this process holds.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    // The lock lives as long as the descriptor. `None` for a directory without a lock file, which nothing holds.
    lock: Option<File>,
}

impl DataDir {
    /// Makes the directory where it is missing, checks who may read it, and takes its lock.
    ///
    /// # Errors
    /// [`Code::Failed`] where it cannot be used, [`Code::Busy`] where another daemon holds it.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| unusable(path, &error))?;
        let path = checked(path)?;
        let lock = Some(lock(&path, true)?);
        Ok(Self { path, lock })
    }

    /// Takes the lock of a directory that exists, and changes nothing in it. A directory without a lock file has no
    /// daemon; then no lock is taken.
    ///
    /// # Errors
    /// As of [`Self::open`], and where the directory does not exist.
    pub fn open_to_read(path: &Path) -> Result<Self, Failure> {
        let path = checked(path)?;
        let lock = path.join(LOCK).symlink_metadata().is_ok().then(|| lock(&path, false)).transpose()?;
        Ok(Self { path, lock })
    }

    /// Writes the id of this process into the lock file, for another process that finds the directory locked.
    ///
    /// # Errors
    /// [`Code::Failed`] where it cannot be written.
    pub fn note_process(&self) -> Result<(), Failure> {
        let Some(mut file) = self.lock.as_ref() else { return Ok(()) };
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(|error| unlockable(&self.path, &error))
    }

    /// Where it is, as an absolute path without links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is a lock file, which this process holds.
    pub(super) const fn is_held(&self) -> bool {
        self.lock.is_some()
    }

    /// Why nothing can be written to it any more, if that is so.
    pub(super) fn lost(&self) -> Option<Ending> {
        let lock = self.lock.as_ref()?;
        if !is_at(lock, &self.path.join(LOCK)) {
            return Some(Ending::Gone);
        }
        let is_read_only = fstatvfs(lock).is_ok_and(|system| system.f_flag.contains(StatVfsMountFlags::RDONLY));
        is_read_only.then_some(Ending::ReadOnly)
    }
}

/// Ends the node when its data directory is gone. Each log checks that itself before it reports a commit; this check is
/// for times without commits. Returns when the node is gone.
pub(super) async fn watch(home: Weak<Home>, registry: Weak<Registry>, ending: watch::Sender<Option<Ending>>) {
    while let (Some(home), Some(registry)) = (home.upgrade(), registry.upgrade()) {
        let is_gone = || registry.all().iter().any(|account| account.log.is_gone());
        let lost = home.lost().or_else(|| is_gone().then_some(Ending::Gone));
        if let Some(lost) = lost {
            return lost.request(&ending);
        }
        drop((home, registry));
        tokio::time::sleep(LOOK).await;
    }
}

/// How often the data directory is looked at.
const LOOK: Duration = Duration::from_secs(1);

const LOCK: &str = "lock";

fn unusable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Code::Failed, format!("the data directory {} cannot be used: {error}", path.display()))
}

fn unlockable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Code::Failed, format!("the data directory {} cannot be locked: {error}", path.display()))
}

/// The directory without links, if it is ours and closed to others.
fn checked(path: &Path) -> Result<PathBuf, Failure> {
    let unusable = |error| unusable(path, &error);
    let path = path.canonicalize().map_err(unusable)?;
    let meta = path.metadata().map_err(unusable)?;
    if meta.mode() & 0o077 != 0 {
        return Err(Failure::new(
            Code::Failed,
            format!("others may look into the data directory {} (mode {:o})", path.display(), meta.mode() & 0o777),
        )
        .hint(format!("close it, then start again: chmod 700 '{}'", path.display())));
    }
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(Failure::new(Code::Failed, format!("the data directory {} is not yours", path.display()))
            .hint("run the daemon as the user who owns it, or choose another one with --data-dir"));
    }
    Ok(path)
}

/// How long a daemon that starts waits for the lock: [`holder`] has it for a moment, and so has a daemon that was just killed.
const LOCK_WAIT: Duration = Duration::from_secs(1);

fn lock(directory: &Path, make: bool) -> Result<File, Failure> {
    let file = lock_file(directory, make).map_err(|error| unlockable(directory, &error))?;
    let deadline = Instant::now() + LOCK_WAIT;
    while let Some(process) = taken_by(&file, FlockOperation::NonBlockingLockExclusive) {
        if Instant::now() >= deadline {
            let runs = format!("another daemon runs in {} (process {process})", directory.display());
            return Err(Failure::new(Code::Busy, runs)
                .hint("see what it does with: runepeer status; stop it with: runepeer down"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(file)
}

/// The process that holds a data directory, as its lock file names it; `None` where none does, or nothing can be known.
pub fn holder(directory: &Path) -> Option<String> {
    // Shared, so that two who look do not take each other for a daemon.
    taken_by(&lock_file(directory, false).ok()?, FlockOperation::NonBlockingLockShared)
}

fn lock_file(directory: &Path, make: bool) -> std::io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(make)
        .truncate(false)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(directory.join(LOCK))
}

/// Takes the lock for as long as this file is open; where another process has it, the id of that one.
fn taken_by(mut file: &File, operation: FlockOperation) -> Option<String> {
    flock(file, operation).err()?;
    let mut holder = String::new();
    // The number only helps the person; if it cannot be read, the failure stays the same.
    let _ = file.rewind().and_then(|()| Read::take(file, 20).read_to_string(&mut holder));
    Some(holder.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn one_daemon_per_directory() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("deep/er");
        let held = DataDir::open(&path).unwrap();
        held.note_process().unwrap();
        assert_eq!(held.path().metadata().unwrap().permissions().mode() & 0o777, 0o700);
        let second = DataDir::open(&path).unwrap_err();
        assert_eq!(second.code, Code::Busy);
        assert!(second.message.contains(&std::process::id().to_string()));
        assert_eq!(holder(&path), Some(std::process::id().to_string()));
        assert_eq!(holder(parent.path()), None, "no daemon ever ran there");
        drop(held);
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn who_looks_whether_a_daemon_runs_does_not_keep_one_from_starting() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        drop(DataDir::open(&path).unwrap());
        let look = lock_file(&path, false).unwrap();
        assert_eq!(taken_by(&look, FlockOperation::NonBlockingLockShared), None);
        assert_eq!(holder(&path), None, "another look is no daemon");
        let looking = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            drop(look);
        });
        DataDir::open(&path).unwrap();
        looking.join().unwrap();
    }

    #[test]
    fn an_open_directory_is_refused_with_the_way_out() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let failure = DataDir::open(directory.path()).unwrap_err();
        assert!(failure.hint.unwrap().contains("chmod 700"));
    }

    #[test]
    fn a_lock_that_is_a_link_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        drop(DataDir::open(&path).unwrap());
        let elsewhere = parent.path().join("elsewhere");
        std::fs::write(&elsewhere, "mine").unwrap();
        std::fs::remove_file(path.join(LOCK)).unwrap();
        std::os::unix::fs::symlink(&elsewhere, path.join(LOCK)).unwrap();
        assert!(DataDir::open(&path).is_err());
        assert!(DataDir::open_to_read(&path).is_err());
        assert_eq!(std::fs::read_to_string(elsewhere).unwrap(), "mine");
    }

    #[test]
    fn a_directory_that_is_gone_or_another_one_is_noticed() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        let held = DataDir::open(&path).unwrap();
        assert_eq!(held.lost(), None);
        std::fs::rename(&path, parent.path().join("moved")).unwrap();
        assert_eq!(held.lost(), Some(Ending::Gone));
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join(LOCK), "").unwrap();
        assert_eq!(held.lost(), Some(Ending::Gone));
        let held = DataDir::open(&parent.path().join("moved")).unwrap_err();
        assert_eq!(held.code, Code::Busy);
    }
}
