//! Reading what is left of a damaged log (docs/on-disk.md, "Damage"): every transaction that authenticates counts,
//! wherever it lies; all other bytes are named as damage. The normal start never does this.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bodies::Bodies;
use super::checkpoint;
use super::recover::{Link, OpenError, Recovered, Told, Window, frame_starts, header_of, newest, transaction};
use super::segment::{self, End, FRAME_BYTES, Frame, FrameKind, HEADER_BYTES, SegmentKey};
use super::site::{Site, Span};
use super::writer::Tail;
use crate::base::limits::LOG_NUMBER_GAP;
use crate::store::crypt::Sealer;
use crate::store::vfs::PatientVfs;

/// A part of a log that is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damage {
    /// These bytes of a file were changed.
    Bytes(PathBuf, Range<u64>),
    /// A whole file cannot be read.
    File(PathBuf),
    /// A file is not there.
    Missing(PathBuf),
}

impl Damage {
    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Bytes(path, _) | Self::File(path) | Self::Missing(path) => path,
        }
    }
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(path, bytes) => {
                write!(f, "{}: bytes {} to {} are not what was written", path.display(), bytes.start, bytes.end)
            }
            Self::File(path) => write!(f, "{} cannot be read", path.display()),
            Self::Missing(path) => {
                write!(f, "{} is missing, or a newer checkpoint (.ckp) that does without it", path.display())
            }
        }
    }
}

/// Reads whatever can be read, around bad blocks as well: fills the index of bodies, gives the records to `told`, and
/// names the damage.
pub(super) fn salvage(
    site: &Site,
    wrap: &Sealer,
    bodies: &Bodies,
    told: Told<'_>,
) -> Result<(Recovered, Vec<Damage>), OpenError> {
    let site = &site.over(Arc::new(PatientVfs(Arc::clone(&site.vfs))));
    let io_error = |error| OpenError::Io { dir: site.log_dir.clone(), error };
    let names = site.vfs.list(&site.log_dir).map_err(io_error)?;
    let numbers: Vec<u64> = names.iter().filter_map(|name| segment::number(name)).collect();
    let highest = numbers.iter().copied().max().unwrap_or(0);
    let checkpoints: Vec<u64> = names.iter().filter_map(|name| checkpoint::number(name)).collect();
    let base = newest(site, wrap, &checkpoints)?;
    let mark = base.found.as_ref().map(|(_, checkpoint)| checkpoint.mark);
    let first = mark.map_or(0, |mark| mark.segment);
    let mut damage: Vec<Damage> = base.broken.map(Damage::File).into_iter().collect();
    let mut links = BTreeMap::new();
    for number in numbers.iter().copied().filter(|number| *number >= first) {
        match header_of(site, wrap, number) {
            Ok(Some(link)) => drop(links.insert(number, link)),
            Ok(None) => {}
            Err(error @ (OpenError::Io { .. } | OpenError::Version { .. })) => return Err(error),
            Err(_) => damage.push(Damage::File(segment::path(&site.log_dir, number))),
        }
    }
    let mut reader = Salvage { bodies, told, damage, spans: BTreeMap::new(), next: 1 };
    if let Some((_, checkpoint)) = base.found {
        reader.next = checkpoint.mark.next.max(checkpoint.mark.number + 1);
        for number in checkpoint.holding().into_iter().filter(|number| !numbers.contains(number)) {
            reader.damage.push(Damage::Missing(segment::path(&site.log_dir, number)));
        }
        bodies.restore(checkpoint.bodies);
        checkpoint.records.iter().for_each(|record| (reader.told.replay)(mark.map_or(0, |mark| mark.number), record));
    }
    // Where a successor says how much of a segment counts, the bytes beyond never counted.
    let ends: BTreeMap<u64, u64> =
        links.values().map(|link| (link.header.predecessor, link.header.predecessor_end)).collect();
    let needed: BTreeSet<u64> = ends.keys().copied().chain(mark.map(|mark| mark.segment)).collect();
    for number in needed.range(first.max(1)..).filter(|number| !links.contains_key(number)) {
        let path = segment::path(&site.log_dir, *number);
        if !reader.damage.iter().any(|known| known.path() == path) {
            let there = numbers.contains(number);
            reader.damage.push(if there { Damage::File(path) } else { Damage::Missing(path) });
        }
    }
    let total = links.values().map(|link| link.size).sum();
    let (mut tail, mut read) = (Tail { highest, ..Tail::default() }, 0);
    for (number, link) in &links {
        let begin = mark
            .filter(|mark| mark.segment == *number)
            .map_or((HEADER_BYTES as u64, 0), |mark| (mark.offset, mark.counter));
        let end = reader.segment(link, begin, ends.get(number).copied()).map_err(io_error)?;
        tail = Tail { segment: *number, segment_id: link.header.id, end, ..tail };
        read += link.size;
        (reader.told.progress)(read, total);
    }
    tail.next = reader.next.saturating_add(LOG_NUMBER_GAP);
    // Nothing is removed: files that nothing seems to need may be needed by damaged records.
    let (damage, spans) = (reader.damage, reader.spans);
    let (unneeded, litter) = (Vec::new(), Vec::new());
    Ok((Recovered { tail, spans, unneeded, litter, marked: first, passed_over: None }, damage))
}

struct Salvage<'a, 't> {
    bodies: &'a Bodies,
    told: Told<'t>,
    damage: Vec<Damage>,
    spans: BTreeMap<u64, Span>,
    next: u64,
}

impl Salvage<'_, '_> {
    /// Takes every transaction of a segment that authenticates; returns where the last of them ends. In the newest
    /// segment, a transaction that no other one calls durable counts only with all of its bodies: it may be torn, and
    /// its commit was never reported.
    fn segment(&mut self, link: &Link, begin: (u64, u64), closed: Option<u64>) -> std::io::Result<u64> {
        let limit = closed.unwrap_or(link.size).min(link.size);
        let mut window = Window::new(&*link.file, limit);
        let key = SegmentKey::new(&link.header);
        let (mut offset, mut counter) = begin;
        let first = self.next;
        if offset > link.size {
            self.damage.push(Damage::Bytes(link.path.clone(), link.size..offset));
        }
        let durable = match closed {
            Some(end) => end,
            None => durable(&mut window, &key, offset, limit)?,
        };
        loop {
            if let Some((end, after)) = transaction(&mut window, &key, offset, counter, offset >= durable)
                .or_else(|failure| failure.ignore_damage())?
            {
                self.take(end);
                (offset, counter) = (after, counter + 1);
                continue;
            }
            match find(&mut window, &key, offset, limit.min(durable))? {
                Some(Found { place, counter: at, end, after }) => {
                    self.damage.push(Damage::Bytes(link.path.clone(), offset..place));
                    self.take(end);
                    (offset, counter) = (after, at + 1);
                }
                None => break,
            }
        }
        if offset < durable {
            self.damage.push(Damage::Bytes(link.path.clone(), offset..durable));
        }
        if self.next > first {
            let span = Span { segment: link.header.number, id: link.header.id, last: self.next - 1 };
            self.spans.insert(first, span);
        }
        Ok(offset)
    }

    fn take(&mut self, end: End) {
        for entry in end.bodies {
            self.bodies.insert(entry);
        }
        self.bodies.remove(&end.dropped);
        for (number, record) in (end.first.max(self.next)..).zip(&end.records) {
            (self.told.replay)(number, record);
        }
        self.next = self.next.max(end.first) + end.records.len() as u64;
    }
}

/// How many bytes are searched at a time.
const STEP: u64 = 4 << 20;

/// How much of a segment was durable, as its own transactions say.
fn durable(window: &mut Window<'_>, key: &SegmentKey, from: u64, limit: u64) -> std::io::Result<u64> {
    let (mut at, mut durable) = (from, 0);
    while at < limit {
        let len = usize::try_from((limit - at).min(STEP + FRAME_BYTES as u64)).unwrap_or(0);
        let Some(bytes) = window.get(at, len)?.map(<[u8]>::to_vec) else { break };
        for place in frame_starts(&bytes) {
            let frame = bytes.get(place..).and_then(Frame::decode).filter(|frame| frame.kind == FrameKind::End);
            let Some(frame) = frame else { continue };
            let offset = at + place as u64;
            let len = usize::try_from(frame.len).unwrap_or(usize::MAX);
            let Some(sealed) = window.get(offset + FRAME_BYTES as u64, len)? else { continue };
            durable = key.open_end(&frame, offset, sealed).map_or(durable, |end| durable.max(end.durable));
        }
        at += STEP;
    }
    Ok(durable)
}

/// A transaction that was found behind damage.
struct Found {
    /// Where it begins; the damage ends there.
    place: u64,
    counter: u64,
    end: End,
    after: u64,
}

/// The next transaction behind `from` that begins before `limit`: a whole one, or only the end frame of one whose other
/// frames are damaged. The end frame holds the records; each of the bodies is checked by itself.
fn find(window: &mut Window<'_>, key: &SegmentKey, from: u64, limit: u64) -> std::io::Result<Option<Found>> {
    let mut at = from;
    while at < limit {
        // A frame may lie across the end of a piece.
        let len = usize::try_from((limit - at).min(STEP + FRAME_BYTES as u64)).unwrap_or(0);
        let Some(bytes) = window.get(at, len)?.map(<[u8]>::to_vec) else { return Ok(None) };
        for place in frame_starts(&bytes) {
            let place_in_file = at + place as u64;
            let frame = bytes.get(place..).and_then(Frame::decode).filter(|_| place_in_file > from);
            let Some(frame) = frame else { continue };
            let (place, counter) = (place_in_file, frame.counter);
            if frame.start == place {
                let whole =
                    transaction(window, key, place, counter, false).or_else(|failure| failure.ignore_damage())?;
                if let Some((end, after)) = whole {
                    return Ok(Some(Found { place, counter, end, after }));
                }
            } else if frame.kind == FrameKind::End && frame.start >= from {
                let content = place + FRAME_BYTES as u64;
                let len = usize::try_from(frame.len).unwrap_or(usize::MAX);
                let sealed = window.get(content, len)?;
                if let Some(end) = sealed.and_then(|sealed| key.open_end(&frame, place, sealed).ok()) {
                    return Ok(Some(Found { place, counter, end, after: content + u64::from(frame.len) }));
                }
            }
        }
        at += STEP;
    }
    Ok(None)
}
