//! The few file operations that the store uses, behind a trait.
//!
//! [`RealVfs`] is the disk. [`MemVfs`] is a disk in memory that knows what a power cut leaves; [`FaultVfs`] makes one
//! operation fail. With the last two every crash row of docs/on-disk.md is tested, and simulations run on them.
//! Everything written through here is written once: files are created, appended to, renamed and removed, never changed.

mod fault;
mod mem;
mod patient;
mod read_only;
mod real;

pub use fault::{Decide, Fault, FaultVfs, Plan};
pub use mem::{CrashMode, MemVfs};
pub use patient::PatientVfs;
pub use read_only::ReadOnlyVfs;
pub use real::RealVfs;
pub(crate) use real::is_at;

use std::io;
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::base::Rng;

/// A file system.
pub trait Vfs: Send + Sync {
    /// Makes a directory that only its owner may use (0700), or checks that an existing one is such a directory.
    ///
    /// # Errors
    /// `PermissionDenied`, with a text that says what to do, where others may read the directory or it is not ours.
    fn mkdir(&self, dir: &Path) -> io::Result<()>;

    /// Makes a new file (0600) for writing and reading; `AlreadyExists` where something of that name is there.
    ///
    /// # Errors
    /// Errors of the disk.
    fn create_excl(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>>;

    /// Opens an existing file for reading and syncing. A symbolic link is refused.
    ///
    /// # Errors
    /// Errors of the disk; `NotFound`.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>>;

    /// Gives a file a new name in the same directory; `AlreadyExists` where the name is taken.
    ///
    /// # Errors
    /// Errors of the disk.
    fn rename_noreplace(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file a new name in the same directory, in the place of the file that has that name, where there is one. A
    /// reader finds the one file or the other, whole, also after a crash.
    ///
    /// # Errors
    /// Errors of the disk.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// Errors of the disk; `NotFound`.
    fn unlink(&self, path: &Path) -> io::Result<()>;

    /// Removes a file that holds a secret, and overwrites it before, where that can be done.
    ///
    /// # Errors
    /// Errors of the disk; `NotFound`.
    fn erase(&self, path: &Path) -> io::Result<()> {
        self.unlink(path)
    }

    /// Makes the names in a directory durable. A file that was synced may still be lost without it.
    ///
    /// # Errors
    /// Errors of the disk.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// The names of the files in a directory (not of directories), sorted. Names that are not UTF-8 are left out.
    ///
    /// # Errors
    /// Errors of the disk; `NotFound`.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// The names of the directories in a directory, sorted. Names that are not UTF-8, and links, are left out.
    ///
    /// # Errors
    /// Errors of the disk; `NotFound`.
    fn dirs(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Bytes that can still be written on the file system of this directory.
    ///
    /// # Errors
    /// Errors of the disk.
    fn free_space(&self, dir: &Path) -> io::Result<u64>;
}

/// An open file.
pub trait VfsFile: Send + Sync {
    /// Writes all bytes at this offset.
    ///
    /// # Errors
    /// Errors of the disk; some of the bytes may be there.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes everything written so far durable. After an error nothing may be assumed about bytes that were written
    /// since the last success, and trying again proves nothing.
    ///
    /// # Errors
    /// Errors of the disk.
    fn sync(&self) -> io::Result<()>;

    /// Reads at this offset; fewer bytes than asked for only at the end of the file.
    ///
    /// # Errors
    /// Errors of the disk.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// The length of the file, in bytes.
    ///
    /// # Errors
    /// Errors of the disk.
    fn size(&self) -> io::Result<u64>;

    /// Whether this path still leads to this very file: it was not removed or replaced, nor was a directory above it.
    fn is_at(&self, path: &Path) -> bool {
        let _ = path;
        true
    }
}

/// Reads `len` bytes at `offset`; `UnexpectedEof` where the file ends before.
pub(crate) fn read_exact_at(file: &dyn VfsFile, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    if file.read_at(offset, &mut bytes)? != len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

/// Reads a whole small file; `InvalidData` where it is longer than `bound`.
pub(crate) fn read_small(vfs: &dyn Vfs, path: &Path, bound: usize) -> io::Result<Vec<u8>> {
    let file = vfs.open(path)?;
    let size = usize::try_from(file.size()?).unwrap_or(usize::MAX);
    if size > bound {
        return Err(io::ErrorKind::InvalidData.into());
    }
    read_exact_at(&*file, 0, size)
}

/// Writes a small file so that it is there whole or not at all: a temporary name, sync, rename, sync of the directory.
/// A file that a crash left under its temporary name has a name that begins with [`TEMPORARY`].
pub(crate) fn write_durably(vfs: &dyn Vfs, path: &Path, bytes: &[u8], rng: &mut dyn Rng) -> io::Result<()> {
    written(vfs, path, bytes, rng, |temporary| vfs.rename_noreplace(temporary, path))
}

/// Writes a small file in the place of the one that is there, so that a crash leaves the old one or the new one, whole.
/// What was written is read back before the old file goes.
pub(crate) fn replace_durably(vfs: &dyn Vfs, path: &Path, bytes: &[u8], rng: &mut dyn Rng) -> io::Result<()> {
    written(vfs, path, bytes, rng, |temporary| {
        let read = Zeroizing::new(read_small(vfs, temporary, bytes.len())?);
        if *read != bytes {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the disk gave back other bytes than were written"));
        }
        vfs.rename(temporary, path)
    })
}

fn written(
    vfs: &dyn Vfs,
    path: &Path,
    bytes: &[u8],
    rng: &mut dyn Rng,
    name: impl FnOnce(&Path) -> io::Result<()>,
) -> io::Result<()> {
    let dir = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let unique = data_encoding::HEXLOWER.encode(&rng.array::<8>());
    let temporary = dir.join(format!("{TEMPORARY}{unique}"));
    let written = vfs
        .create_excl(&temporary)
        .and_then(|file| file.write_at(0, bytes).and_then(|()| file.sync()))
        .and_then(|()| name(&temporary));
    if let Err(error) = written {
        // It may not be there; whatever is left is removed at the next start.
        let _ = vfs.unlink(&temporary);
        return Err(error);
    }
    vfs.sync_dir(dir)
}

/// How the name of a file begins that was being written when the process died.
pub(crate) const TEMPORARY: &str = "tmp-";
