//! The files in a backup as a file system that can only be read: logs and keys are opened inside the backup, and
//! nothing is unpacked.

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
        ArchiveError::WrongPassphrase => Failure::new(Code::NeedsUnlock, "the passphrase of the backup is wrong").hint(
            "it is the one that was chosen when the backup was made; it cannot be recovered if it is lost. Where it is \
                 surely right, the first bytes of the file are damaged: use another backup",
        ),
        error => Failure::new(Code::Failed, error.to_string()),
    }
}

/// Opens a backup: checks the passphrase, and reads the list.
///
/// # Errors
/// [`Code::NeedsUnlock`] where the passphrase is wrong, [`Code::Failed`] where the file is not a backup, or is damaged.
pub fn open(vfs: &dyn Vfs, path: &Path, passphrase: &Passphrase) -> Result<Backup, Failure> {
    let file =
        vfs.open(path).map_err(|error| failed(&format!("the backup {} cannot be read", path.display()), error))?;
    let archive = Archive::open(file, passphrase).map_err(unreadable)?;
    let damaged = || Failure::new(Code::Failed, "the list of files in the backup cannot be read; use another backup");
    let length = list_length(&archive.read(0..4).map_err(unreadable)?).ok_or_else(damaged)?;
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

/// The length of the list, from the first bytes; `None` where no backup has so long a list.
fn list_length(first: &[u8]) -> Option<u64> {
    let length = u64::from(u32::from_le_bytes(first.try_into().ok()?));
    (length <= MANIFEST_BYTES).then_some(length)
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

/// [`Files`] as a [`Vfs`].
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

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
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

#[cfg(test)]
mod tests {
    use super::super::contents::Entry;
    use super::*;
    use crate::base::Timestamp;
    use crate::base::rng::SeededRng;
    use crate::store::ArchiveWriter;
    use crate::store::vfs::MemVfs;

    const ID: &str = "0123456789abcdef0123456789abcdef";

    fn entry(path: &str, bytes: u64) -> Entry {
        Entry { path: path.to_owned(), bytes }
    }

    fn manifest() -> Manifest {
        let files = vec![
            entry("config.toml", 3),
            entry(&format!("{ID}/log/0000000000000001.seg"), 5),
            entry("keys/node", 0),
            entry(&format!("keys/{ID}"), 2),
        ];
        Manifest { format: 1, id: "a".into(), made: Timestamp::from_secs(7), program: "0".into(), files }
    }

    /// Opens a backup that begins with this list and continues with these bytes.
    fn opened(manifest: &Manifest, bytes: &[u8]) -> Result<Backup, Failure> {
        let passphrase = Passphrase::new("of the test".to_owned());
        let list = serde_json::to_vec(manifest).unwrap();
        let mut archive = ArchiveWriter::new(Vec::new(), &passphrase, &mut SeededRng::new(1)).unwrap();
        for part in [&u32::try_from(list.len()).unwrap().to_le_bytes()[..], &list, bytes] {
            archive.push(part).unwrap();
        }
        let vfs = MemVfs::new();
        vfs.create_excl(Path::new("/a")).unwrap().write_at(0, &archive.finish().unwrap()).unwrap();
        open(&vfs, Path::new("/a"), &passphrase)
    }

    #[test]
    fn a_list_is_read_up_to_its_bound() {
        let length = |length: u64| list_length(&u32::try_from(length).unwrap().to_le_bytes());
        for read in [0, 1, MANIFEST_BYTES] {
            assert_eq!(length(read), Some(read));
        }
        assert_eq!(length(MANIFEST_BYTES + 1), None);
        assert_eq!(list_length(&[1, 0, 0]), None);
    }

    #[test]
    fn a_list_that_does_not_fit_its_files_is_named() {
        let refused = |manifest: &Manifest, bytes: &[u8]| opened(manifest, bytes).map(|_| ()).unwrap_err().message;
        let damaged = "the list of files in the backup cannot be read";
        for bytes in [&b"abcABCDExyz"[..], b"abcABCDEx", b""] {
            assert!(refused(&manifest(), bytes).contains(damaged), "{bytes:?}");
        }
        let mut twice = manifest();
        twice.files.push(entry("config.toml", 0));
        assert!(refused(&twice, b"abcABCDExy").contains(damaged));
        let later = refused(&Manifest { format: 2, ..manifest() }, b"abcABCDExy");
        assert!(later.contains("a later version"), "{later}");
    }

    #[test]
    fn the_files_of_a_backup_are_read_where_they_are_and_nothing_is_written() {
        let backup = opened(&manifest(), b"abcABCDExy").unwrap();
        let vfs = ReadOnly(Arc::clone(&backup.files));
        let segment = format!("/{ID}/log/0000000000000001.seg");
        for (path, content) in
            [("/config.toml", "abc"), (&segment, "ABCDE"), ("/keys/node", ""), (&format!("/keys/{ID}"), "xy")]
        {
            let file = vfs.open(Path::new(path)).unwrap();
            assert_eq!(file.size().unwrap(), content.len() as u64, "{path}");
            for (at, len) in [(0, 9), (0, 2), (1, 2), (1, 9), (5, 1), (u64::MAX, 3)] {
                let mut buffer = vec![b'-'; len];
                let read = file.read_at(at, &mut buffer).unwrap();
                let from = usize::try_from(at).unwrap_or(usize::MAX).min(content.len());
                let expected = &content.as_bytes()[from..(from + len).min(content.len())];
                assert_eq!(
                    (&buffer[..read], &buffer[read..]),
                    (expected, &vec![b'-'; len - read][..]),
                    "{path} at {at}"
                );
            }
            file.sync().unwrap();
            assert_eq!(file.write_at(0, b"x").unwrap_err().kind(), io::ErrorKind::ReadOnlyFilesystem);
        }
        assert_eq!(vfs.list(Path::new("/")).unwrap(), ["config.toml"]);
        assert_eq!(vfs.list(Path::new("/keys")).unwrap(), [ID, "node"]);
        assert_eq!(vfs.list(Path::new("/else")).unwrap(), Vec::<String>::new());
        assert_eq!(vfs.dirs(Path::new("/")).unwrap(), [ID, "keys"]);
        assert_eq!(vfs.dirs(&Path::new("/").join(ID)).unwrap(), ["log"]);
        vfs.mkdir(Path::new("/keys")).unwrap();
        vfs.sync_dir(Path::new("/keys")).unwrap();
        let path = Path::new("/keys/node");
        let refusals = [
            vfs.mkdir(Path::new("/else")),
            vfs.create_excl(Path::new("/else")).map(|_| ()),
            vfs.rename_noreplace(path, Path::new("/keys/other")),
            vfs.unlink(path),
        ];
        for refused in refusals {
            assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::ReadOnlyFilesystem);
        }
        assert_eq!(vfs.open(Path::new("/else")).map(|_| ()).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(vfs.free_space(Path::new("/")).unwrap(), 0);
    }
}
