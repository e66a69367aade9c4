//! Removing an identity (docs/on-disk.md, "Removing an identity"): a mark, then its key goes, then its files, then the
//! mark. While the mark is there, nothing of the identity counts, and a start completes the removal.

use std::io;
use std::path::{Path, PathBuf};

use super::vfs::Vfs;
use crate::base::IdentityId;

/// Before the id of an identity, in the name of the mark.
const MARK: &str = "removing-";

fn mark(root: &Path, id: IdentityId) -> PathBuf {
    root.join(format!("{MARK}{id}"))
}

/// Notes that an identity is to be removed. When this returns it will be, after any crash.
///
/// # Errors
/// Errors of the disk, after which the mark may or may not be there.
pub fn begin_removal(vfs: &dyn Vfs, root: &Path, id: IdentityId) -> io::Result<()> {
    match vfs.create_excl(&mark(root, id)) {
        Ok(file) => file.sync()?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    vfs.sync_dir(root)
}

/// Removes the files of an identity whose key is destroyed, and then the mark.
///
/// # Errors
/// Errors of the disk; what is left goes with the next try.
pub fn end_removal(vfs: &dyn Vfs, root: &Path, id: IdentityId) -> io::Result<()> {
    match std::fs::remove_dir_all(root.join(id.to_string())) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    vfs.sync_dir(root)?;
    vfs.unlink(&mark(root, id))?;
    vfs.sync_dir(root)
}

/// The identities whose removal has begun and is not complete.
///
/// # Errors
/// Errors of the disk. A directory that is not there has none.
pub fn removals(vfs: &dyn Vfs, root: &Path) -> io::Result<Vec<IdentityId>> {
    match vfs.list(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        names => Ok(names?.iter().filter_map(|name| name.strip_prefix(MARK)?.parse().ok()).collect()),
    }
}
