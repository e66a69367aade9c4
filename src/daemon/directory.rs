//! The data directory: made with closed permissions, checked, and held by one daemon at a time.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::control::{Code, Failure};

/// A data directory that this process holds.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    // The lock lives as long as the descriptor.
    _lock: File,
}

impl DataDir {
    /// Makes the directory where it is missing, checks who may read it, and takes its lock.
    ///
    /// # Errors
    /// [`Code::Failed`] where it cannot be used, [`Code::Busy`] where another daemon holds it.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let unusable = |error: std::io::Error| {
            Failure::new(Code::Failed, format!("the data directory {} cannot be used: {error}", path.display()))
        };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable)?;
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
        let lock = lock(&path)?;
        Ok(Self { path, _lock: lock })
    }

    /// Where it is, as an absolute path without links.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn lock(directory: &Path) -> Result<File, Failure> {
    let failure = |error: std::io::Error| {
        Failure::new(Code::Failed, format!("the data directory {} cannot be locked: {error}", directory.display()))
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(directory.join("lock"))
        .map_err(failure)?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut holder = String::new();
        // Only to tell the person; an unreadable number is no reason to fail differently.
        let _ = (&mut file).take(20).read_to_string(&mut holder);
        return Err(Failure::new(
            Code::Busy,
            format!("another daemon runs in {} (process {})", directory.display(), holder.trim()),
        )
        .hint("see what it does with: runepeer status; stop it with: runepeer down"));
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(failure)?;
    Ok(file)
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
        assert_eq!(held.path().metadata().unwrap().permissions().mode() & 0o777, 0o700);
        let second = DataDir::open(&path).unwrap_err();
        assert_eq!(second.code, Code::Busy);
        assert!(second.message.contains(&std::process::id().to_string()));
        drop(held);
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn an_open_directory_is_refused_with_the_way_out() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let failure = DataDir::open(directory.path()).unwrap_err();
        assert!(failure.hint.unwrap().contains("chmod 700"));
    }
}
