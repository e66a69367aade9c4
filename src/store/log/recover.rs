//! Reading a log at the start: which segments count, how much of each, and where every body is.
//!
//! The chain of segments is followed from the newest to the first, or to the place of the newest checkpoint: each
//! segment names the one before it and how much of that one counts. Everything up to that length must be there; damage
//! is an error that names the file, never a gap. After the last transaction of the newest segment there may be a torn
//! tail, which was never acknowledged. A damaged checkpoint is passed over if the part of the log that it replaced is
//! still there.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::digest;

use super::LogPosition;
use super::bodies::Bodies;
use super::checkpoint::{self, Checkpoint, CheckpointError, Mark};
use super::compaction::{File, unneeded};
use super::salvage::Damage;
use super::segment::{
    self, End, EndError, FRAME_BYTES, FRAME_MAGIC, Frame, FrameKind, HEADER_BYTES, Header, HeaderError, SegmentKey,
};
use super::site::{Site, Span};
use super::writer::Tail;
use crate::base::limits::LOG_NUMBER_GAP;
use crate::store::crypt::Sealer;
use crate::store::vfs::{TEMPORARY, VfsFile, read_exact_at};

/// Why a log could not be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk failed.
    #[error("reading the log in {dir} failed: {error}")]
    Io {
        /// The folder of the log.
        dir: PathBuf,
        /// The error of the disk.
        error: io::Error,
    },
    /// Bytes that were durable were changed or are missing.
    #[error("the log is damaged: {file} was changed or is incomplete at byte {offset}")]
    Damaged {
        /// The segment.
        file: PathBuf,
        /// The place in it.
        offset: u64,
    },
    /// A segment is not there.
    #[error("the log is incomplete: {file} is missing, or a newer checkpoint (.ckp) that does without it")]
    Missing {
        /// The segment.
        file: PathBuf,
    },
    /// A later version of the program wrote it.
    #[error("{file} was written by a later version of this program; use that version")]
    Version {
        /// The segment.
        file: PathBuf,
    },
    /// The position to start from is not in this log (a backup was restored, or the tail was lost in a power cut): the
    /// state that was saved at it must be thrown away, and everything replayed. Nothing was replayed yet.
    #[error("the saved state is not of this log")]
    UnknownPosition,
}

impl OpenError {
    /// The damage, where that is the reason.
    pub fn damage(self) -> Option<Damage> {
        match self {
            Self::Damaged { file, .. } => Some(Damage::File(file)),
            Self::Missing { file } => Some(Damage::Missing(file)),
            Self::Io { .. } | Self::Version { .. } | Self::UnknownPosition => None,
        }
    }
}

/// The result of reading a log at the start.
pub(super) struct Recovered {
    pub(super) tail: Tail,
    pub(super) spans: BTreeMap<u64, Span>,
    /// Files before the newest checkpoint that nothing needs.
    pub(super) unneeded: Vec<File>,
    /// Files that an interrupted operation left.
    pub(super) litter: Vec<PathBuf>,
    /// The segment from which a start reads.
    pub(super) marked: u64,
    /// A damaged checkpoint, where everything could be read without it.
    pub(super) passed_over: Option<PathBuf>,
}

/// Where reading the log reports what it finds, while it goes on.
pub(super) struct Told<'a> {
    /// Every record, with its log number.
    pub(super) replay: &'a mut dyn FnMut(u64, &[u8]),
    /// How many bytes of how many were read.
    pub(super) progress: &'a mut dyn FnMut(u64, u64),
}

/// A segment whose header was read.
pub(super) struct Link {
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn VfsFile>,
    pub(super) size: u64,
    pub(super) header: Header,
}

/// Reads the whole log: fills the index of bodies, and gives every record after `from` to `told`.
pub(super) fn recover(
    site: &Site,
    wrap: &Sealer,
    bodies: &Bodies,
    from: Option<&LogPosition>,
    told: Told<'_>,
) -> Result<Recovered, OpenError> {
    let io_error = |error| OpenError::Io { dir: site.log_dir.clone(), error };
    let names = site.vfs.list(&site.log_dir).map_err(io_error)?;
    let segments: Vec<u64> = names.iter().filter_map(|name| segment::number(name)).collect();
    let highest = segments.iter().copied().max().unwrap_or(0);
    let checkpoints: Vec<u64> = names.iter().filter_map(|name| checkpoint::number(name)).collect();
    let Base { found: base, broken } = newest(site, wrap, &checkpoints)?;
    let mark = base.as_ref().map(|(_, checkpoint)| checkpoint.mark);
    let (links, unborn) = headers(site, wrap, &segments, mark.map_or(0, |mark| mark.segment))?;
    let (chain, dead) = follow(&site.log_dir, links, &unborn, mark.as_ref()).map_err(|error| match &broken {
        // The part of the log that the damaged checkpoint replaced is not there any more.
        Some(file) => OpenError::Damaged { file: file.clone(), offset: 0 },
        None => error,
    })?;
    let holding = base.as_ref().map(|(_, checkpoint)| checkpoint.holding()).unwrap_or_default();
    if let Some(missing) = holding.iter().find(|number| !segments.contains(number)) {
        return Err(OpenError::Missing { file: segment::path(&site.log_dir, *missing) });
    }
    let whole = base.is_some() && broken.is_none();
    let unneeded = match &base {
        Some((number, checkpoint)) if whole => unneeded(checkpoint, *number, segments, checkpoints),
        _ => Vec::new(),
    };
    let total = chain.iter().map(|link| link.size).sum();
    let mut reader = Reader { bodies, from, met: from.is_none(), told, spans: BTreeMap::new(), read: 0, total };
    let mut tail = Tail { highest, next: 1, ..Tail::default() };
    if let Some((_, checkpoint)) = base {
        tail.next = checkpoint.mark.next.max(checkpoint.mark.number + 1);
        reader.checkpoint(checkpoint);
    }
    let mut ends = chain.iter().skip(1).map(|next| next.header.predecessor_end);
    for link in &chain {
        let closed = ends.next();
        let start = mark.filter(|mark| mark.segment == link.header.number);
        let read = reader.segment(link, start.as_ref(), closed);
        let (end, next) = read.map_err(|failure| failure.locate(site, &link.path))?;
        let (segment, segment_id) = (link.header.number, link.header.id);
        tail = Tail { segment, segment_id, end, next: tail.next.max(next), ..tail };
    }
    if !reader.met {
        return Err(OpenError::UnknownPosition);
    }
    if let Some(newest) = chain.last() {
        // The segment may be readable only because the process died and not the machine: its successor will name it as
        // durable.
        newest.file.sync().and_then(|()| site.vfs.sync_dir(&site.log_dir)).map_err(io_error)?;
        tail.next = tail.next.saturating_add(LOG_NUMBER_GAP);
    }
    let spans = reader.spans;
    // Nothing was ever committed in these segments; the other files are checkpoints whose writing was interrupted.
    let unborn = unborn.into_iter().chain(dead).map(|number| segment::path(&site.log_dir, number));
    let temporary = names.iter().filter(|name| name.starts_with(TEMPORARY)).map(|name| site.log_dir.join(name));
    let litter = unborn.chain(temporary).collect();
    let marked = mark.map_or(0, |mark| mark.segment);
    Ok(Recovered { tail, spans, unneeded, litter, marked, passed_over: broken })
}

/// Removes the files that an interrupted operation left: files of the log that never counted, and blobs that no record
/// names. Only a normal start does that.
pub(super) fn tidy(site: &Site, bodies: &Bodies, litter: &[PathBuf]) -> Result<(), OpenError> {
    for path in litter {
        // A file that could not be removed is found again by the next start.
        let _ = site.vfs.unlink(path);
    }
    remove_orphans(site, bodies).map_err(|error| OpenError::Io { dir: site.log_dir.clone(), error })
}

/// The checkpoint from which a start continues.
#[derive(Default)]
pub(super) struct Base {
    /// The newest that can be read, with its number.
    pub(super) found: Option<(u64, Checkpoint)>,
    /// The newest that cannot be read, where there is one that is newer than that.
    pub(super) broken: Option<PathBuf>,
}

pub(super) fn newest(site: &Site, wrap: &Sealer, numbers: &[u64]) -> Result<Base, OpenError> {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    let mut base = Base::default();
    for number in sorted.into_iter().rev() {
        let file = checkpoint::path(&site.log_dir, number);
        match Checkpoint::read(&*site.vfs, &file, wrap) {
            Ok(checkpoint) => return Ok(Base { found: Some((number, checkpoint)), ..base }),
            Err(CheckpointError::Io(error)) => return Err(OpenError::Io { dir: site.log_dir.clone(), error }),
            Err(CheckpointError::Version) => return Err(OpenError::Version { file }),
            Err(CheckpointError::Damaged) => {
                tracing::error!(file = %file.display(), "a checkpoint of the log is damaged; going on without it where that is possible");
                base.broken.get_or_insert(file);
            }
        }
    }
    Ok(base)
}

/// The segments with a header, and the numbers of files that have none because they were being made. Of segments before
/// `first` only the bodies are needed, which have keys of their own.
fn headers(
    site: &Site,
    wrap: &Sealer,
    segments: &[u64],
    first: u64,
) -> Result<(BTreeMap<u64, Link>, BTreeSet<u64>), OpenError> {
    let (mut links, mut unborn) = (BTreeMap::new(), BTreeSet::new());
    for number in segments.iter().copied().filter(|number| *number >= first) {
        match header_of(site, wrap, number)? {
            Some(link) => drop(links.insert(number, link)),
            None => drop(unborn.insert(number)),
        }
    }
    Ok((links, unborn))
}

/// A segment with its header; `None` where it has none because it was being made.
pub(super) fn header_of(site: &Site, wrap: &Sealer, number: u64) -> Result<Option<Link>, OpenError> {
    let io_error = |error| OpenError::Io { dir: site.log_dir.clone(), error };
    let path = segment::path(&site.log_dir, number);
    let file = site.vfs.open(&path).map_err(io_error)?;
    let size = file.size().map_err(io_error)?;
    if size < HEADER_BYTES as u64 {
        // The fields may be there, and yet the header was never completed.
        return Ok(None);
    }
    let bytes = read_exact_at(&*file, 0, HEADER_BYTES).map_err(io_error)?;
    let more_follows = size > HEADER_BYTES as u64;
    match Header::decode(&bytes, wrap) {
        Ok(header) if header.number == number => Ok(Some(Link { path, file, size, header })),
        // The header is synced before anything is written behind it.
        Err(HeaderError::Forged) if !more_follows => Ok(None),
        Err(HeaderError::Version) => Err(OpenError::Version { file: path }),
        _ => Err(OpenError::Damaged { file: path, offset: 0 }),
    }
}

/// The segments that count, oldest first, and the numbers of those that do not: they were made, but not used because
/// making them was not completed.
fn follow(
    dir: &Path,
    mut links: BTreeMap<u64, Link>,
    unborn: &BTreeSet<u64>,
    mark: Option<&Mark>,
) -> Result<(Vec<Link>, Vec<u64>), OpenError> {
    let mut chain: Vec<Link> = Vec::new();
    let first = mark.map_or(0, |mark| mark.segment);
    // The segment of the checkpoint's mark must be there, even where no segment follows it.
    let mut wanted = links.keys().next_back().copied().unwrap_or(first);
    while wanted != 0 && (mark.is_none() || wanted >= first) {
        let path = segment::path(dir, wanted);
        let link = links.remove(&wanted).ok_or_else(|| {
            if unborn.contains(&wanted) {
                OpenError::Damaged { file: path.clone(), offset: 0 }
            } else {
                OpenError::Missing { file: path.clone() }
            }
        })?;
        let marked = mark.filter(|mark| mark.segment == wanted);
        if link.header.predecessor >= wanted || marked.is_some_and(|mark| mark.segment_id != link.header.id) {
            return Err(OpenError::Damaged { file: path, offset: 0 });
        }
        wanted = if marked.is_some() { 0 } else { link.header.predecessor };
        chain.push(link);
    }
    if chain.last().is_some_and(|oldest| mark.is_some_and(|mark| mark.segment != oldest.header.number)) {
        return Err(OpenError::Missing { file: segment::path(dir, first) });
    }
    chain.reverse();
    // A segment whose making was interrupted has no transaction; one that has any was cut out of the chain by damage.
    if let Some(link) = links.values().find(|link| link.size > HEADER_BYTES as u64) {
        return Err(OpenError::Damaged { file: link.path.clone(), offset: HEADER_BYTES as u64 });
    }
    Ok((chain, links.into_keys().collect()))
}

fn remove_orphans(site: &Site, bodies: &Bodies) -> io::Result<()> {
    let mut wanted: BTreeSet<PathBuf> = bodies.blobs().into_iter().map(|name| bodies.blob_path(name)).collect();
    for name in site.vfs.list(&site.blob_dir)? {
        let path = site.blob_dir.join(name);
        if !wanted.remove(&path) {
            // A file that could not be removed is found again by the next start.
            let _ = site.vfs.unlink(&path);
        }
    }
    if !wanted.is_empty() {
        tracing::error!(
            missing = wanted.len(),
            "files of large messages are missing; reading those messages will fail"
        );
    }
    Ok(())
}

pub(super) enum Failure {
    Io(io::Error),
    Damaged(u64),
}

impl Failure {
    /// Turns damage into `None`: damaged bytes count as missing.
    pub(super) fn ignore_damage<T>(self) -> io::Result<Option<T>> {
        match self {
            Self::Io(error) => Err(error),
            Self::Damaged(_) => Ok(None),
        }
    }

    fn locate(self, site: &Site, path: &Path) -> OpenError {
        match self {
            Self::Io(error) => OpenError::Io { dir: site.log_dir.clone(), error },
            Self::Damaged(offset) => OpenError::Damaged { file: path.to_owned(), offset },
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

struct Reader<'a, 't> {
    bodies: &'a Bodies,
    from: Option<&'a LogPosition>,
    /// Whether the position to start from was reached: the records after it are replayed.
    met: bool,
    told: Told<'t>,
    spans: BTreeMap<u64, Span>,
    read: u64,
    total: u64,
}

impl Reader<'_, '_> {
    /// Takes in a checkpoint. Its records are replayed unless the position to start from is at its place or behind it.
    fn checkpoint(&mut self, checkpoint: Checkpoint) {
        let Checkpoint { mark, records, bodies } = checkpoint;
        self.bodies.restore(bodies);
        self.spans.insert(mark.number, Span { segment: mark.segment, id: mark.segment_id, last: mark.number });
        match self.from {
            // The saved state is the state of this very place.
            Some(from) if from.is(mark.segment, &mark.segment_id, mark.number) => self.met = true,
            Some(from) if from.number() > mark.number => {}
            _ => {
                self.met = true;
                records.iter().for_each(|record| (self.told.replay)(mark.number, record));
            }
        }
    }

    /// Reads one segment, from this mark in it where there is one; returns where it ends, and the number after its last
    /// record. `closed` is its end as its successor names it.
    fn segment(&mut self, link: &Link, mark: Option<&Mark>, closed: Option<u64>) -> Result<(u64, u64), Failure> {
        let header = &link.header;
        let limit = closed.unwrap_or(link.size);
        if limit > link.size || limit < HEADER_BYTES as u64 || mark.is_some_and(|mark| mark.offset > limit) {
            return Err(Failure::Damaged(link.size));
        }
        let mut window = Window::new(&*link.file, limit);
        let key = SegmentKey::new(header);
        let begin = mark.map_or((HEADER_BYTES as u64, 0, header.base), |mark| (mark.offset, mark.counter, mark.next));
        let (mut offset, mut counter, mut next) = begin;
        let first = next;
        while offset < limit {
            // The bodies of a closed segment are not checked now: each of their chunks is authenticated when it is
            // read.
            let Some((end, after)) = transaction(&mut window, &key, offset, counter, closed.is_none())? else { break };
            if end.first != next {
                return Err(Failure::Damaged(offset));
            }
            next += end.records.len() as u64;
            self.take(header, end);
            (offset, counter) = (after, counter + 1);
            (self.told.progress)(self.read.saturating_add(offset), self.total);
        }
        self.read = self.read.saturating_add(link.size);
        match closed {
            Some(_) if offset != limit => return Err(Failure::Damaged(offset)),
            Some(_) => {}
            None => check_tail(&mut window, &key, offset)?,
        }
        if next > first {
            self.spans.insert(first, Span { segment: header.number, id: header.id, last: next - 1 });
        }
        Ok((offset, next))
    }

    fn take(&mut self, header: &Header, end: End) {
        for entry in end.bodies {
            self.bodies.insert(entry);
        }
        self.bodies.remove(&end.dropped);
        for (number, record) in (end.first..).zip(&end.records) {
            if self.met {
                (self.told.replay)(number, record);
            } else {
                self.met = self.from.is_some_and(|from| from.is(header.number, &header.id, number));
            }
        }
    }
}

/// The transaction at this offset and where it ends; `None` where no whole one is there.
pub(super) fn transaction(
    window: &mut Window<'_>,
    key: &SegmentKey,
    start: u64,
    counter: u64,
    verify: bool,
) -> Result<Option<(End, u64)>, Failure> {
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut offset = start;
    loop {
        let Some(bytes) = window.get(offset, FRAME_BYTES)? else { return Ok(None) };
        let Some(frame) = Frame::decode(bytes).filter(|frame| frame.counter == counter && frame.start == start) else {
            return Ok(None);
        };
        let content = offset + FRAME_BYTES as u64;
        let after = content + u64::from(frame.len);
        if after > window.limit {
            return Ok(None);
        }
        if frame.kind == FrameKind::End {
            let len = usize::try_from(frame.len).unwrap_or(usize::MAX);
            let Some(sealed) = window.get(content, len)? else { return Ok(None) };
            let end = match key.open_end(&frame, offset, sealed) {
                Ok(end) => end,
                Err(EndError::Forged) => return Ok(None),
                Err(EndError::Unreadable) => return Err(Failure::Damaged(offset)),
            };
            let whole = !verify || hash.finish().as_ref() == end.bodies_hash;
            return Ok(whole.then_some((end, after)));
        }
        if verify {
            window.feed(offset..after, &mut hash)?;
        }
        offset = after;
    }
}

/// Decides what follows the last whole transaction of the newest segment: a torn tail, unless a later frame says that
/// this place was durable.
fn check_tail(window: &mut Window<'_>, key: &SegmentKey, torn: u64) -> Result<(), Failure> {
    let rest = usize::try_from(window.limit - torn).unwrap_or(usize::MAX);
    let Some(bytes) = window.get(torn, rest)?.map(<[u8]>::to_vec) else { return Ok(()) };
    for place in frame_starts(&bytes) {
        let Some(frame) = bytes.get(place..).and_then(Frame::decode).filter(|frame| frame.kind == FrameKind::End)
        else {
            continue;
        };
        let content = place + FRAME_BYTES;
        let len = usize::try_from(frame.len).unwrap_or(usize::MAX);
        let Some(sealed) = content.checked_add(len).and_then(|end| bytes.get(content..end)) else { continue };
        let offset = torn + place as u64;
        if key.open_end(&frame, offset, sealed).is_ok_and(|end| end.durable > torn) {
            return Err(Failure::Damaged(torn));
        }
    }
    Ok(())
}

/// The places at which frames may begin.
pub(super) fn frame_starts(bytes: &[u8]) -> impl Iterator<Item = usize> + '_ {
    bytes.windows(FRAME_MAGIC.len()).enumerate().filter(|(_, window)| window == FRAME_MAGIC).map(|(place, _)| place)
}

/// A file read forward, mostly in small steps.
pub(super) struct Window<'a> {
    file: &'a dyn VfsFile,
    limit: u64,
    start: u64,
    bytes: Vec<u8>,
}

const WINDOW_BYTES: usize = 64 * 1024;

impl<'a> Window<'a> {
    pub(super) fn new(file: &'a dyn VfsFile, limit: u64) -> Self {
        Self { file, limit, start: 0, bytes: Vec::new() }
    }

    /// The bytes at this place; `None` where they would go beyond the limit.
    pub(super) fn get(&mut self, offset: u64, len: usize) -> io::Result<Option<&[u8]>> {
        if offset.checked_add(len as u64).is_none_or(|end| end > self.limit) {
            return Ok(None);
        }
        let held = self.start..=self.start + self.bytes.len() as u64;
        if !(held.contains(&offset) && held.contains(&(offset + len as u64))) {
            let left = usize::try_from(self.limit - offset).unwrap_or(usize::MAX);
            self.bytes = read_exact_at(self.file, offset, len.max(WINDOW_BYTES.min(left)))?;
            self.start = offset;
        }
        let place = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        Ok(self.bytes.get(place..place + len))
    }

    fn feed(&mut self, mut range: std::ops::Range<u64>, hash: &mut digest::Context) -> io::Result<()> {
        while !range.is_empty() {
            let len = usize::try_from(range.end - range.start).unwrap_or(WINDOW_BYTES).min(WINDOW_BYTES);
            if let Some(bytes) = self.get(range.start, len)? {
                hash.update(bytes);
            }
            range.start += len as u64;
        }
        Ok(())
    }
}
