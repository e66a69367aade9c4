//! The files in a backup as a file system that can only be read: logs and keys are opened in it where they are.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::contents::{MANIFEST_BYTES, Manifest};
use super::failed;
use crate::control::{Code, Failure};
use crate::store::vfs::{Vfs, VfsFile};
use crate::store::{Archive, ArchiveError, Passphrase};

/// An opened backup.
pub struct Backup {
    pub(super) manifest: Manifest,
    pub(super) files: Arc<Files>,
}

/// The files of a backup, below `/`.
pub(super) struct Files {
    archive: Archive,
    /// Where each file begins, and its length.
    places: BTreeMap<PathBuf, (u64, u64)>,
}

pub(super) fn unreadable(error: ArchiveError) -> Failure {
    match error {
        ArchiveError::WrongPassphrase => Failure::new(Code::NeedsUnlock, "the passphrase of the backup is wrong")
            .hint("it is the one that was chosen when the backup was made; it cannot be recovered if it is lost"),
        error => Failure::new(Code::Failed, error.to_string()),
    }
}

/// Opens a backup: its passphrase, and its list.
///
/// # Errors
/// [`Code::NeedsUnlock`] where the passphrase is another one, [`Code::Failed`] where the file is none, or damaged.
pub fn open(vfs: &dyn Vfs, path: &Path, passphrase: &Passphrase) -> Result<Backup, Failure> {
    let file =
        vfs.open(path).map_err(|error| failed(&format!("the backup {} cannot be read", path.display()), error))?;
    let archive = Archive::open(file, passphrase).map_err(unreadable)?;
    let damaged = || Failure::new(Code::Failed, "the list of files in the backup cannot be read; use another backup");
    let length = archive.read(0..4).map_err(unreadable)?;
    let length = u64::from(u32::from_le_bytes(length.as_slice().try_into().map_err(|_| damaged())?));
    if length > MANIFEST_BYTES {
        return Err(damaged());
    }
    let list = archive.read(4..4 + length).map_err(unreadable)?;
    let manifest: Manifest = serde_json::from_slice(&list).map_err(|_| damaged())?;
    if manifest.format != 1 {
        return Err(unreadable(ArchiveError::Version));
    }
    if !manifest.is_sound() {
        return Err(damaged());
    }
    let (mut places, mut at) = (BTreeMap::new(), 4 + length);
    for file in &manifest.files {
        places.insert(Path::new("/").join(&file.path), (at, file.bytes));
        at += file.bytes;
    }
    if at != archive.len() {
        return Err(damaged());
    }
    Ok(Backup { manifest, files: Arc::new(Files { archive, places }) })
}

impl Files {
    /// Bytes of a file, cut to its length.
    pub(super) fn read(&self, path: &Path, at: u64, len: u64) -> Result<Vec<u8>, ArchiveError> {
        let (start, bytes) = self.places.get(path).copied().unwrap_or_default();
        let (from, to) = (at.min(bytes), at.saturating_add(len).min(bytes));
        self.archive.read(start + from..start + to)
    }

    fn has(&self, dir: &Path) -> bool {
        self.places.keys().any(|path| path.starts_with(dir))
    }
}

/// [`Files`] behind the trait.
pub(super) struct ReadOnly(pub(super) Arc<Files>);

struct ReadOnlyFile {
    files: Arc<Files>,
    path: PathBuf,
    bytes: u64,
}

fn refused<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Vfs for ReadOnly {
    fn mkdir(&self, dir: &Path) -> io::Result<()> {
        if self.0.has(dir) { Ok(()) } else { refused() }
    }

    fn create_excl(&self, _: &Path) -> io::Result<Arc<dyn VfsFile>> {
        refused()
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        let (_, bytes) = self.0.places.get(path).copied().ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(ReadOnlyFile { files: Arc::clone(&self.0), path: path.to_owned(), bytes }))
    }

    fn rename_noreplace(&self, _: &Path, _: &Path) -> io::Result<()> {
        refused()
    }

    fn unlink(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let within =
            |path: &PathBuf| (path.parent() == Some(dir)).then(|| Some(path.file_name()?.to_str()?.to_owned()));
        Ok(self.0.places.keys().filter_map(within).flatten().collect())
    }

    fn dirs(&self, dir: &Path) -> io::Result<Vec<String>> {
        let within = |path: &PathBuf| {
            let below = path.parent()?.strip_prefix(dir).ok()?;
            Some(below.components().next()?.as_os_str().to_str()?.to_owned())
        };
        let names: BTreeSet<String> = self.0.places.keys().filter_map(within).collect();
        Ok(names.into_iter().collect())
    }

    fn free_space(&self, _: &Path) -> io::Result<u64> {
        Ok(0)
    }
}

impl VfsFile for ReadOnlyFile {
    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        refused()
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.files.read(&self.path, offset, buffer.len() as u64).map_err(|error| match error {
            ArchiveError::Io(error) => error,
            error => io::Error::new(io::ErrorKind::InvalidData, error),
        })?;
        buffer.iter_mut().zip(&bytes).for_each(|(to, from)| *to = *from);
        Ok(bytes.len())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.bytes)
    }
}
