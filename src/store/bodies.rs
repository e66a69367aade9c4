//! Where every body is, and reading a part of one.
//!
//! The index is in memory and is rebuilt from the log at every start. A body enters it when its transaction is reported,
//! and leaves it when it is forgotten.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::crypt::{open_part, sealed_range};
use super::segment::{self, BodyEntry, Place};
use super::vfs::{Vfs, VfsFile, read_exact_at};
use crate::base::{BodyId, SymmetricKey};

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No committed transaction brought it, or it was forgotten.
    #[error("there is no such body")]
    Unknown,
    /// Its bytes are not what was written.
    #[error("a stored body is damaged: {file} was changed or is incomplete")]
    Damaged {
        /// The file in which it is.
        file: PathBuf,
    },
    /// The disk failed.
    #[error("reading {file} failed: {error}")]
    Io {
        /// The file in which it is.
        file: PathBuf,
        /// What the disk said.
        error: std::io::Error,
    },
}

#[derive(Clone)]
pub(super) struct Location {
    pub(super) key: SymmetricKey,
    pub(super) place: Place,
    pub(super) len: u64,
}

/// The bodies of one log.
pub(super) struct Bodies {
    vfs: Arc<dyn Vfs>,
    log_dir: PathBuf,
    blob_dir: PathBuf,
    index: RwLock<HashMap<BodyId, Location>>,
    open: Mutex<BTreeMap<u64, Arc<dyn VfsFile>>>,
}

/// Segments kept open for reading.
const OPEN_SEGMENTS: usize = 32;

impl Bodies {
    pub(super) fn new(vfs: Arc<dyn Vfs>, log_dir: PathBuf, blob_dir: PathBuf) -> Self {
        Self { vfs, log_dir, blob_dir, index: RwLock::default(), open: Mutex::default() }
    }

    pub(super) fn insert(&self, entry: BodyEntry) {
        let BodyEntry { id, key, place, len } = entry;
        self.write().insert(id, Location { key, place, len });
    }

    /// Takes bodies out; gives where they were.
    pub(super) fn remove(&self, ids: &[BodyId]) -> Vec<Location> {
        let mut index = self.write();
        ids.iter().filter_map(|id| index.remove(id)).collect()
    }

    pub(super) fn len(&self, id: BodyId) -> Option<u64> {
        self.index().get(&id).map(|location| location.len)
    }

    pub(super) fn ids(&self) -> Vec<BodyId> {
        self.index().keys().copied().collect()
    }

    /// The names of the blobs that hold a body.
    pub(super) fn blobs(&self) -> Vec<[u8; 16]> {
        let name = |location: &Location| match location.place {
            Place::Blob(name) => Some(name),
            Place::Inline { .. } => None,
        };
        self.index().values().filter_map(name).collect()
    }

    pub(super) fn blob_path(&self, name: [u8; 16]) -> PathBuf {
        self.blob_dir.join(data_encoding::HEXLOWER.encode(&name))
    }

    /// A part of a body, cut to its length.
    pub(super) fn read(&self, id: BodyId, part: Range<u64>) -> Result<Vec<u8>, ReadError> {
        let Location { key, place, len } = self.index().get(&id).cloned().ok_or(ReadError::Unknown)?;
        let part = part.start.min(len)..part.end.min(len);
        if part.is_empty() {
            return Ok(Vec::new());
        }
        let range = sealed_range(len, &part);
        let (path, base) = match place {
            Place::Inline { segment, offset } => (segment::path(&self.log_dir, segment), offset),
            Place::Blob(name) => (self.blob_path(name), 0),
        };
        let size = usize::try_from(range.end - range.start).map_err(|_| ReadError::Damaged { file: path.clone() })?;
        let sealed = self.file(place, &path).and_then(|file| read_exact_at(&*file, base + range.start, size)).map_err(
            |error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::NotFound => {
                    ReadError::Damaged { file: path.clone() }
                }
                _ => ReadError::Io { file: path.clone(), error },
            },
        )?;
        open_part(&key, id, len, &part, &sealed).map_err(|_| ReadError::Damaged { file: path })
    }

    fn file(&self, place: Place, path: &std::path::Path) -> std::io::Result<Arc<dyn VfsFile>> {
        let Place::Inline { segment, .. } = place else { return self.vfs.open(path) };
        if let Some(file) = self.open.lock().unwrap_or_else(PoisonError::into_inner).get(&segment) {
            return Ok(Arc::clone(file));
        }
        let file = self.vfs.open(path)?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= OPEN_SEGMENTS {
            open.pop_first();
        }
        open.insert(segment, Arc::clone(&file));
        Ok(file)
    }

    fn index(&self) -> RwLockReadGuard<'_, HashMap<BodyId, Location>> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<BodyId, Location>> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}
