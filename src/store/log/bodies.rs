//! Where every body is, and reading a part of one.
//!
//! The index is in memory and is rebuilt from the log at every start. A body enters it when its transaction is
//! reported, and leaves it when it is forgotten. A body may share its end with another one; the other one then stays,
//! hidden from readers, until the last body that needs it is gone.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::segment::{self, BodyEntry, BodyTail, FRAME_BYTES, Place};
use crate::base::{BodyId, SymmetricKey};
use crate::store::crypt::{open_part, sealed_len, sealed_range};
use crate::store::vfs::{Vfs, VfsFile, read_exact_at};

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No committed transaction brought it, or it was forgotten.
    #[error("there is no such body")]
    Unknown,
    /// The stored bytes were changed, or some are missing.
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
        /// The error of the disk.
        error: std::io::Error,
    },
}

/// Where a body is. There is one of these for each body, so it has only the fields that most bodies need. The other
/// fields are in [`More`]; `len` is [`ELSEWHERE`] then.
#[derive(Clone)]
struct Location {
    key: SymmetricKey,
    segment: u32,
    offset: u32,
    len: u32,
}

const ELSEWHERE: u32 = u32::MAX;

/// Fields that only few bodies need.
#[derive(Clone)]
struct More {
    place: Place,
    len: u64,
    tail: Option<BodyTail>,
    /// How many bodies share their end with this one.
    references: u32,
    /// Whether the body was removed: it can no longer be read, and stays only because others share their end with it.
    hidden: bool,
}

/// A body, with both kinds of fields.
#[derive(Clone)]
struct Known {
    key: SymmetricKey,
    more: More,
}

impl Location {
    /// The short form, for a body that needs no [`More`].
    fn near(known: &Known) -> Option<Self> {
        let More { place: Place::Inline { segment, offset }, len, tail: None, references: 0, hidden: false } =
            known.more
        else {
            return None;
        };
        let len = u32::try_from(len).ok().filter(|len| *len != ELSEWHERE)?;
        let (segment, offset) = (u32::try_from(segment).ok()?, u32::try_from(offset).ok()?);
        Some(Self { key: known.key.clone(), segment, offset, len })
    }

    fn elsewhere(key: SymmetricKey) -> Self {
        Self { key, segment: 0, offset: 0, len: ELSEWHERE }
    }
}

impl Known {
    fn place(&self) -> Place {
        self.more.place
    }

    /// How many bytes are the body's own, without a shared end.
    fn len(&self) -> u64 {
        self.more.len
    }

    fn total(&self) -> u64 {
        self.len() + self.more.tail.map_or(0, |tail| tail.len)
    }

    /// The segment in which it lies, and how many bytes it takes there.
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
    more: BTreeMap<BodyId, More>,
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
    fn weigh(&mut self, known: &Known, add: bool) {
        let Some((segment, bytes)) = known.weight() else { return };
        let needed = self.needed.entry(segment).or_default();
        *needed = if add { needed.saturating_add(bytes) } else { needed.saturating_sub(bytes) };
        if *needed == 0 {
            self.needed.remove(&segment);
        }
    }

    fn get(&self, id: BodyId) -> Option<Known> {
        Some(self.known(id, self.locations.get(&id)?))
    }

    /// The body, unless it is hidden.
    fn shown(&self, id: BodyId) -> Option<Known> {
        self.get(id).filter(|known| !known.more.hidden)
    }

    fn iter(&self) -> impl Iterator<Item = (BodyId, Known)> {
        self.locations.iter().map(|(id, location)| (*id, self.known(*id, location)))
    }

    fn known(&self, id: BodyId, location: &Location) -> Known {
        let Location { key, segment, offset, len } = location;
        let place = Place::Inline { segment: (*segment).into(), offset: (*offset).into() };
        let near = More { place, len: (*len).into(), tail: None, references: 0, hidden: false };
        let more = if *len == ELSEWHERE { self.more.get(&id).cloned() } else { None };
        Known { key: key.clone(), more: more.unwrap_or(near) }
    }

    fn set(&mut self, id: BodyId, known: Known) {
        let location = match Location::near(&known) {
            Some(near) => {
                self.more.remove(&id);
                near
            }
            None => {
                self.more.insert(id, known.more);
                Location::elsewhere(known.key)
            }
        };
        self.locations.insert(id, location);
    }

    fn insert(&mut self, entry: BodyEntry, hidden: bool) {
        let BodyEntry { id, key, place, len, tail } = entry;
        let before = self.get(id);
        if let Some(before) = &before {
            self.weigh(before, false);
        }
        // A body that was moved keeps its references and stays hidden if it was.
        let (references, hidden) =
            before.as_ref().map_or((0, hidden), |before| (before.more.references, before.more.hidden));
        if let (Some(tail), None) = (&tail, &before)
            && let Some(mut other) = self.get(tail.of)
        {
            other.more.references += 1;
            self.set(tail.of, other);
        }
        let known = Known { key, more: More { place, len, tail, references, hidden } };
        self.weigh(&known, true);
        self.set(id, known);
    }

    /// Takes a body out, and those that only it kept here; adds their places to `gone`.
    fn remove(&mut self, id: BodyId, gone: &mut Vec<Place>) {
        let Some(mut known) = self.get(id) else { return };
        if known.more.references > 0 {
            known.more.hidden = true;
            return self.set(id, known);
        }
        self.locations.remove(&id);
        self.more.remove(&id);
        self.weigh(&known, false);
        gone.push(known.place());
        let Some(tail) = known.more.tail else { return };
        let Some(mut other) = self.get(tail.of) else { return };
        other.more.references = other.more.references.saturating_sub(1);
        let over = other.more.hidden && other.more.references == 0;
        self.set(tail.of, other);
        if over {
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

    /// Takes in all bodies of a checkpoint, hidden ones included. A body with a shared end comes after the body that it
    /// needs.
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
        let entry = |(id, Known { key, more: More { place, len, tail, hidden, .. } })| {
            (BodyEntry { id, key, place, len, tail }, hidden)
        };
        let mut entries: Vec<_> = index.iter().map(entry).collect();
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
        self.index().get(id).map(|known| known.place())
    }

    /// Where a part of a body is: the body that has these bytes itself, and the offset in that one.
    pub(super) fn resolve(&self, id: BodyId, from: u64, len: u64) -> Option<BodyTail> {
        let known = self.index().shown(id)?;
        if known.total() != from.checked_add(len)? {
            return None;
        }
        match known.more.tail {
            None => Some(BodyTail { of: id, from, len }),
            Some(tail) => Some(BodyTail { of: tail.of, from: tail.from + from.checked_sub(known.len())?, len }),
        }
    }

    /// The entry of a body, as its transaction described it.
    pub(super) fn entry(&self, id: BodyId) -> Option<BodyEntry> {
        let Known { key, more: More { place, len, tail, .. } } = self.index().get(id)?;
        Some(BodyEntry { id, key, place, len, tail })
    }

    /// Whether a body's own bytes lie whole where this entry says.
    pub(super) fn is_whole(&self, entry: &BodyEntry) -> bool {
        let BodyEntry { id, key, place, len, tail } = entry.clone();
        let known = Known { key, more: More { place, len, tail, references: 0, hidden: false } };
        self.read_own(id, &known, 0..len).is_ok()
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
        self.index().shown(id).map(|known| known.total())
    }

    pub(super) fn ids(&self) -> Vec<BodyId> {
        self.index().iter().filter(|(_, known)| !known.more.hidden).map(|(id, _)| id).collect()
    }

    /// The names of the blobs that hold a body.
    pub(super) fn blobs(&self) -> Vec<[u8; 16]> {
        let name = |more: &More| match more.place {
            Place::Blob(name) => Some(name),
            Place::Inline { .. } => None,
        };
        self.index().more.values().filter_map(name).collect()
    }

    pub(super) fn blob_path(&self, name: [u8; 16]) -> PathBuf {
        self.blob_dir.join(data_encoding::HEXLOWER.encode(&name))
    }

    /// A part of a body, cut to its length.
    pub(super) fn read(&self, id: BodyId, part: Range<u64>) -> Result<Vec<u8>, ReadError> {
        let (known, tail) = {
            let index = self.index();
            let known = index.shown(id).ok_or(ReadError::Unknown)?;
            let tail = known.more.tail.map(|tail| (tail, index.get(tail.of)));
            (known, tail)
        };
        let mut bytes = self.read_own(id, &known, part.clone())?;
        if let Some((tail, other)) = tail.filter(|_| part.end > known.len()) {
            let other = other.ok_or_else(|| ReadError::Damaged { file: self.path(known.place()) })?;
            let own = known.len();
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
    fn read_own(&self, id: BodyId, known: &Known, part: Range<u64>) -> Result<Vec<u8>, ReadError> {
        let (key, place, len) = (&known.key, known.place(), known.len());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::vfs::MemVfs;

    fn id(n: u8) -> BodyId {
        BodyId::from_bytes([n; 16])
    }

    fn entry(n: u8, len: u64, tail: Option<(u8, u64, u64)>) -> BodyEntry {
        let tail = tail.map(|(of, from, len)| BodyTail { of: id(of), from, len });
        let place = Place::Inline { segment: 1, offset: u64::from(n) * 1_000 };
        BodyEntry { id: id(n), key: SymmetricKey::from_bytes([n; 32]), place, len, tail }
    }

    fn index() -> Bodies {
        Bodies::new(Arc::new(MemVfs::new()), PathBuf::from("/log"), PathBuf::from("/blob"))
    }

    #[test]
    fn the_end_of_a_body_is_where_its_bytes_are() {
        let bodies = index();
        bodies.insert(entry(1, 100, None));
        bodies.insert(entry(2, 30, Some((1, 40, 60))));
        let resolved = |n, from, len| bodies.resolve(id(n), from, len).map(|tail| (tail.of, tail.from, tail.len));
        for (n, from, len, expected) in [
            (1, 0, 100, Some((1, 0))),
            (1, 99, 1, Some((1, 99))),
            (1, 100, 0, Some((1, 100))),
            (1, 50, 49, None),
            (1, 50, 51, None),
            (1, u64::MAX, 1, None),
            (2, 30, 60, Some((1, 40))),
            (2, 31, 59, Some((1, 41))),
            // Its beginning is its own, and cannot be had together with the end.
            (2, 29, 61, None),
            (3, 0, 0, None),
        ] {
            assert_eq!(resolved(n, from, len), expected.map(|(of, from)| (id(of), from, len)), "{n} from {from}");
        }
        assert_eq!((bodies.len(id(1)), bodies.len(id(2)), bodies.len(id(3))), (Some(100), Some(90), None));
    }

    #[test]
    fn a_body_stays_unseen_until_the_last_that_needs_it_is_gone() {
        let bodies = index();
        bodies.insert(entry(1, 100, None));
        bodies.insert(entry(2, 30, Some((1, 40, 60))));
        bodies.insert(entry(3, 10, Some((1, 90, 10))));
        let ids = || {
            let mut ids = bodies.ids();
            ids.sort();
            ids
        };
        let place = |n: u8| entry(n, 0, None).place;
        assert_eq!(bodies.remove(&[id(1)]), []);
        assert_eq!((ids(), bodies.len(id(1)), bodies.place(id(1))), (vec![id(2), id(3)], None, Some(place(1))));
        assert_eq!(bodies.resolve(id(1), 0, 100), None, "nobody else may need it");
        // The entries for the next start say so too.
        let again = index();
        again.restore(bodies.entries().into_iter().rev().collect());
        for bodies in [&bodies, &again] {
            assert_eq!(bodies.remove(&[id(2)]), [place(2)]);
            assert_eq!(bodies.remove(&[id(2)]), [], "once");
            assert_eq!(bodies.remove(&[id(3)]), [place(3), place(1)]);
            assert_eq!((bodies.ids(), bodies.entries().len(), bodies.needed().len()), (vec![], 0, 0));
        }
    }

    #[test]
    fn so_many_segments_stay_open_and_one_that_goes_does_not() {
        let vfs = MemVfs::new();
        let dir = PathBuf::from("/log");
        vfs.mkdir(&dir).unwrap();
        let bodies = Bodies::new(Arc::new(vfs.clone()), dir.clone(), PathBuf::from("/blob"));
        let open = || bodies.open.lock().unwrap().len();
        for number in 1..=40 {
            let path = segment::path(&dir, number);
            vfs.create_excl(&path).unwrap().write_at(0, &number.to_le_bytes()).unwrap();
            for _ in 0..2 {
                let file = bodies.file(Place::Inline { segment: number, offset: 0 }, &path).unwrap();
                assert_eq!(read_exact_at(&*file, 0, 8).unwrap(), number.to_le_bytes());
            }
            assert_eq!(open(), OPEN_SEGMENTS.min(number as usize));
        }
        bodies.close(40);
        assert_eq!(open(), OPEN_SEGMENTS - 1);
    }
}
