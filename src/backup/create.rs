//! Making a backup: the files that it consists of are chosen and copied into one sealed file.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::contents::{Entry, Manifest};
use super::{Progress, failed};
use crate::base::{Rng, Timestamp};
use crate::control::{Code, Failure};
use crate::store::vfs::{Vfs, VfsFile};
use crate::store::{ArchiveWriter, Passphrase};

/// A backup that was made.
#[derive(Debug, Clone)]
pub struct Made {
    /// Its random name.
    pub id: String,
    /// When it was begun.
    pub made: Timestamp,
    /// Its size, in bytes.
    pub bytes: u64,
}

/// The files to copy, and the file to make.
pub struct Order<'a> {
    /// The data directory.
    pub root: &'a Path,
    /// Its files.
    pub files: Vec<Entry>,
    /// The file to make.
    pub to: &'a Path,
    /// The passphrase that is to open the backup.
    pub passphrase: &'a Passphrase,
}

/// Files are copied in pieces of this size, in bytes.
const PIECE: u64 = 1 << 20;

/// Copies these files of a data directory into a new file that the passphrase opens. It appears whole or not at all.
///
/// # Errors
/// [`Code::Failed`] with what to do; nothing is left behind.
pub fn create(
    vfs: &dyn Vfs,
    order: Order<'_>,
    now: Timestamp,
    rng: &mut dyn Rng,
    progress: Progress<'_>,
) -> Result<Made, Failure> {
    let Order { root, files, to, passphrase } = order;
    let id = data_encoding::HEXLOWER.encode(&rng.array::<16>());
    let manifest =
        Manifest { format: 1, id: id.clone(), made: now, program: env!("CARGO_PKG_VERSION").to_owned(), files };
    if !manifest.is_sound() {
        return Err(Failure::new(Code::Failed, "the data directory has files of a later version of this program"));
    }
    let unwritable = |error: io::Error| failed(&format!("the backup {} cannot be written", to.display()), error);
    let temporary = partial(to);
    // A file that an earlier attempt left.
    match vfs.unlink(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unwritable(error)),
        _ => {}
    }
    let file = vfs.create_excl(&temporary).map_err(unwritable)?;
    let begun = ArchiveWriter::new(Appending { file: Arc::clone(&file), at: 0 }, passphrase, rng).map_err(unwritable);
    let written = begun.and_then(|archive| write(vfs, root, &manifest, archive, progress)).and_then(|bytes| {
        file.sync().and_then(|()| vfs.rename_noreplace(&temporary, to)).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Failure::new(Code::Failed, format!("{} exists already", to.display()))
                .hint("choose another name; a backup is never written over another"),
            _ => unwritable(error),
        })?;
        Ok(bytes)
    });
    if written.is_err() {
        // The file may be gone already.
        let _ = vfs.unlink(&temporary);
    }
    let bytes = written?;
    vfs.sync_dir(to.parent().unwrap_or_else(|| Path::new("/"))).map_err(unwritable)?;
    Ok(Made { id, made: now, bytes })
}

fn partial(to: &Path) -> PathBuf {
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    to.with_file_name(name)
}

fn write(
    vfs: &dyn Vfs,
    root: &Path,
    manifest: &Manifest,
    mut archive: ArchiveWriter<Appending>,
    progress: Progress<'_>,
) -> Result<u64, Failure> {
    let unwritable = |error: io::Error| failed("the backup cannot be written", error);
    let list = serde_json::to_vec(manifest).map_err(|error| failed("the backup's list", error))?;
    let length = u32::try_from(list.len()).map_err(|error| failed("the backup's list", error))?;
    archive.push(&length.to_le_bytes()).and_then(|()| archive.push(&list)).map_err(unwritable)?;
    let total = manifest.files.iter().map(|file| file.bytes).sum();
    let mut done = 0;
    for entry in &manifest.files {
        let from = vfs.open(&root.join(&entry.path)).map_err(|error| unreadable(&entry.path, error))?;
        let mut at = 0;
        while at < entry.bytes {
            let piece =
                read(&*from, at, (entry.bytes - at).min(PIECE)).map_err(|error| unreadable(&entry.path, error))?;
            archive.push(&piece).map_err(unwritable)?;
            at += piece.len() as u64;
            done += piece.len() as u64;
            progress(done, total)?;
        }
    }
    archive.finish().map(|written| written.at).map_err(unwritable)
}

fn unreadable(path: &str, error: io::Error) -> Failure {
    failed(&format!("{path} cannot be read"), error).hint("nothing was written; try again")
}

fn read(from: &dyn VfsFile, at: u64, len: u64) -> io::Result<Vec<u8>> {
    crate::store::vfs::read_exact_at(from, at, usize::try_from(len).unwrap_or(usize::MAX))
}

/// A file that is written from its beginning to its end.
struct Appending {
    file: Arc<dyn VfsFile>,
    at: u64,
}

impl Write for Appending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(self.at, bytes)?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
