//! Where every body is, and reading a part of one.
//!
//! The index is in memory and is rebuilt from the log at every start. A body enters it when its transaction is reported,
//! and leaves it when it is forgotten. A body may have its end in common with another one; that other one stays, unseen,
//! until the last that needs it is gone.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::crypt::{open_part, sealed_len, sealed_range};
use super::segment::{self, BodyEntry, BodyTail, FRAME_BYTES, Place};
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

/// Where a body is, in as few bytes as most need: there is one for each.
#[derive(Clone)]
struct Location {
    key: SymmetricKey,
    segment: u64,
    offset: u32,
    len: u32,
    more: Option<Box<More>>,
}

/// What few bodies need.
#[derive(Clone, Default)]
struct More {
    /// A file of its own, or an offset or a length that does not fit.
    far: Option<(Place, u64)>,
    tail: Option<BodyTail>,
    /// How many bodies have their end here.
    references: u32,
    /// Nobody may read it; it stays for those that have their end here.
    hidden: bool,
}

impl Location {
    fn new(key: SymmetricKey, place: Place, len: u64, mut more: More) -> Self {
        let near = match place {
            Place::Inline { segment, offset } => u32::try_from(offset).ok().map(|offset| (segment, offset)),
            Place::Blob(_) => None,
        };
        let near = near.zip(u32::try_from(len).ok());
        if near.is_none() {
            more.far = Some((place, len));
        }
        let ((segment, offset), len) = near.unwrap_or_default();
        let needs_more = more.far.is_some() || more.tail.is_some() || more.references > 0 || more.hidden;
        Self { key, segment, offset, len, more: needs_more.then(|| Box::new(more)) }
    }

    fn far(&self) -> Option<(Place, u64)> {
        self.more.as_ref().and_then(|more| more.far)
    }

    fn place(&self) -> Place {
        let near = Place::Inline { segment: self.segment, offset: self.offset.into() };
        self.far().map_or(near, |(place, _)| place)
    }

    /// How many bytes it has itself.
    fn len(&self) -> u64 {
        self.far().map_or_else(|| self.len.into(), |(_, len)| len)
    }

    fn tail(&self) -> Option<BodyTail> {
        self.more.as_ref().and_then(|more| more.tail)
    }

    fn references(&self) -> u32 {
        self.more.as_ref().map_or(0, |more| more.references)
    }

    fn hidden(&self) -> bool {
        self.more.as_ref().is_some_and(|more| more.hidden)
    }

    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    fn total(&self) -> u64 {
        self.len() + self.tail().map_or(0, |tail| tail.len)
    }

    /// The segment in which it takes this many bytes.
    fn weight(&self) -> Option<(u64, u64)> {
        match self.place() {
            Place::Inline { segment, .. } => Some((segment, sealed_len(self.len()) + FRAME_BYTES as u64)),
            Place::Blob(_) => None,
        }
    }
}

#[derive(Default)]
struct Index {
    locations: HashMap<BodyId, Location>,
    /// Bytes of each segment that bodies need.
    needed: BTreeMap<u64, u64>,
}

/// The bodies of one log.
pub(super) struct Bodies {
    vfs: Arc<dyn Vfs>,
    log_dir: PathBuf,
    blob_dir: PathBuf,
    index: RwLock<Index>,
    open: Mutex<BTreeMap<u64, Arc<dyn VfsFile>>>,
}

/// Segments kept open for reading.
const OPEN_SEGMENTS: usize = 32;

impl Index {
    fn weigh(&mut self, location: &Location, add: bool) {
        let Some((segment, bytes)) = location.weight() else { return };
        let needed = self.needed.entry(segment).or_default();
        *needed = if add { needed.saturating_add(bytes) } else { needed.saturating_sub(bytes) };
        if *needed == 0 {
            self.needed.remove(&segment);
        }
    }

    fn insert(&mut self, entry: BodyEntry, hidden: bool) {
        let BodyEntry { id, key, place, len, tail } = entry;
        let before = self.locations.remove(&id);
        if let Some(before) = &before {
            self.weigh(before, false);
        }
        // One that was moved keeps what others have in it.
        let (references, hidden) = before.as_ref().map_or((0, hidden), |before| (before.references(), before.hidden()));
        if let (Some(tail), None) = (&tail, &before)
            && let Some(other) = self.locations.get_mut(&tail.of)
        {
            other.more().references += 1;
        }
        let location = Location::new(key, place, len, More { far: None, tail, references, hidden });
        self.weigh(&location, true);
        self.locations.insert(id, location);
    }

    /// Takes a body out, and those that only it kept here; gives the places of what is gone.
    fn remove(&mut self, id: BodyId, gone: &mut Vec<Place>) {
        let Some(location) = self.locations.get_mut(&id) else { return };
        if location.references() > 0 {
            location.more().hidden = true;
            return;
        }
        let Some(location) = self.locations.remove(&id) else { return };
        self.weigh(&location, false);
        gone.push(location.place());
        let Some(tail) = location.tail() else { return };
        let Some(other) = self.locations.get_mut(&tail.of) else { return };
        let more = other.more();
        more.references = more.references.saturating_sub(1);
        if more.hidden && more.references == 0 {
            self.remove(tail.of, gone);
        }
    }
}

impl Bodies {
    pub(super) fn new(vfs: Arc<dyn Vfs>, log_dir: PathBuf, blob_dir: PathBuf) -> Self {
        Self { vfs, log_dir, blob_dir, index: RwLock::default(), open: Mutex::default() }
    }

    pub(super) fn insert(&self, entry: BodyEntry) {
        self.write().insert(entry, false);
    }

    /// Everything that a checkpoint says, hidden bodies included: those that others need come first.
    pub(super) fn restore(&self, entries: Vec<(BodyEntry, bool)>) {
        let mut index = self.write();
        let (plain, composed): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(entry, _)| entry.tail.is_none());
        for (entry, hidden) in plain.into_iter().chain(composed) {
            index.insert(entry, hidden);
        }
    }

    /// Every body with its place, for a checkpoint, in the order of their ids; whether each is hidden.
    pub(super) fn entries(&self) -> Vec<(BodyEntry, bool)> {
        let index = self.index();
        let entry = |(id, location): (&BodyId, &Location)| {
            let (key, place, len, tail) = (location.key.clone(), location.place(), location.len(), location.tail());
            (BodyEntry { id: *id, key, place, len, tail }, location.hidden())
        };
        let mut entries: Vec<_> = index.locations.iter().map(entry).collect();
        drop(index);
        entries.sort_unstable_by_key(|(entry, _)| entry.id);
        entries
    }

    /// The bodies whose own bytes lie in a segment, in the order in which they lie there.
    pub(super) fn in_segment(&self, wanted: u64) -> Vec<BodyEntry> {
        let lies_there = |entry: &BodyEntry| matches!(entry.place, Place::Inline { segment, .. } if segment == wanted);
        let entries = self.entries().into_iter().map(|(entry, _)| entry);
        let mut found: Vec<BodyEntry> = entries.filter(lies_there).collect();
        found.sort_unstable_by_key(|entry| match entry.place {
            Place::Inline { offset, .. } => offset,
            Place::Blob(_) => 0,
        });
        found
    }

    /// How many bytes of each segment bodies need.
    pub(super) fn needed(&self) -> BTreeMap<u64, u64> {
        self.index().needed.clone()
    }

    /// Where a body's own bytes are.
    pub(super) fn place(&self, id: BodyId) -> Option<Place> {
        self.index().locations.get(&id).map(Location::place)
    }

    /// Where a part of a body is: in which body that has all its bytes itself, and from where on.
    pub(super) fn resolve(&self, id: BodyId, from: u64, len: u64) -> Option<BodyTail> {
        let index = self.index();
        let location = index.locations.get(&id).filter(|location| !location.hidden())?;
        if location.total() != from.checked_add(len)? {
            return None;
        }
        match location.tail() {
            None => Some(BodyTail { of: id, from, len }),
            Some(tail) => Some(BodyTail { of: tail.of, from: tail.from + from.checked_sub(location.len())?, len }),
        }
    }

    /// Takes bodies out; gives the places of those that nobody needs.
    pub(super) fn remove(&self, ids: &[BodyId]) -> Vec<Place> {
        let mut index = self.write();
        let mut gone = Vec::new();
        for id in ids {
            index.remove(*id, &mut gone);
        }
        gone
    }

    pub(super) fn len(&self, id: BodyId) -> Option<u64> {
        self.index().locations.get(&id).filter(|location| !location.hidden()).map(Location::total)
    }

    pub(super) fn ids(&self) -> Vec<BodyId> {
        self.index().locations.iter().filter(|(_, location)| !location.hidden()).map(|(id, _)| *id).collect()
    }

    /// The names of the blobs that hold a body.
    pub(super) fn blobs(&self) -> Vec<[u8; 16]> {
        let name = |location: &Location| match location.place() {
            Place::Blob(name) => Some(name),
            Place::Inline { .. } => None,
        };
        self.index().locations.values().filter_map(name).collect()
    }

    pub(super) fn blob_path(&self, name: [u8; 16]) -> PathBuf {
        self.blob_dir.join(data_encoding::HEXLOWER.encode(&name))
    }

    /// A part of a body, cut to its length.
    pub(super) fn read(&self, id: BodyId, part: Range<u64>) -> Result<Vec<u8>, ReadError> {
        let (location, tail) = {
            let index = self.index();
            let location = index.locations.get(&id).filter(|location| !location.hidden()).cloned();
            let location = location.ok_or(ReadError::Unknown)?;
            let tail = location.tail().map(|tail| (tail, index.locations.get(&tail.of).cloned()));
            (location, tail)
        };
        let mut bytes = self.read_own(id, &location, part.clone())?;
        if let Some((tail, other)) = tail.filter(|_| part.end > location.len()) {
            let other = other.ok_or_else(|| ReadError::Damaged { file: self.path(location.place()) })?;
            let own = location.len();
            let within = part.start.saturating_sub(own)..part.end.saturating_sub(own).min(tail.len);
            let there = tail.from.saturating_add(within.start)..tail.from.saturating_add(within.end);
            bytes.extend_from_slice(&self.read_own(tail.of, &other, there)?);
        }
        Ok(bytes)
    }

    fn path(&self, place: Place) -> PathBuf {
        match place {
            Place::Inline { segment, .. } => segment::path(&self.log_dir, segment),
            Place::Blob(name) => self.blob_path(name),
        }
    }

    /// A part of a body's own bytes, cut to them.
    fn read_own(&self, id: BodyId, location: &Location, part: Range<u64>) -> Result<Vec<u8>, ReadError> {
        let (key, place, len) = (&location.key, location.place(), location.len());
        let part = part.start.min(len)..part.end.min(len);
        if part.is_empty() {
            return Ok(Vec::new());
        }
        let range = sealed_range(len, &part);
        let sealed = self.sealed(place, range)?;
        open_part(key, id, len, &part, &sealed).map_err(|_| ReadError::Damaged { file: self.path(place) })
    }

    /// The sealed bytes of a body that lies in a segment, as they are: to be moved.
    pub(super) fn read_sealed(&self, entry: &BodyEntry) -> Result<Vec<u8>, ReadError> {
        self.sealed(entry.place, 0..sealed_len(entry.len))
    }

    fn sealed(&self, place: Place, range: Range<u64>) -> Result<Vec<u8>, ReadError> {
        let path = self.path(place);
        let base = match place {
            Place::Inline { offset, .. } => offset,
            Place::Blob(_) => 0,
        };
        let size = usize::try_from(range.end - range.start).map_err(|_| ReadError::Damaged { file: path.clone() })?;
        let read = self.file(place, &path).and_then(|file| read_exact_at(&*file, base + range.start, size));
        read.map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::NotFound => ReadError::Damaged { file: path },
            _ => ReadError::Io { file: path, error },
        })
    }

    fn file(&self, place: Place, path: &Path) -> std::io::Result<Arc<dyn VfsFile>> {
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

    /// A segment is about to be removed: its file is not kept open.
    pub(super) fn close(&self, segment: u64) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&segment);
    }

    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}
