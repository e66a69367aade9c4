//! Appending transactions: one write and one sync for everything that waits.
//!
//! States: no segment (at the start and after a failure), or one segment that is appended to. A segment is opened for
//! the first commit that needs it, and given up for good at the first error; its successor names how much of it was
//! durable, so that no commit that was reported as failed comes back once the successor is there. Nothing here waits or
//! runs by itself: `log` owns the thread.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::bodies::Bodies;
use super::checkpoint::Mark;
use super::compaction::Pins;
use super::pending::{Moved, Pending};
use super::segment::{self, BodyEntry, BodyTail, End, HEADER_BYTES, Header, Place, SegmentKey, body_frame};
use super::site::{Site, Sizes, Span, Spans};
use crate::base::limits::TRANSACTION_INLINE_BYTES;
use crate::base::{BodyId, Rng, SymmetricKey};
use crate::engine::io::{CommitError, Durability, NewBody};
use crate::store::crypt::{Sealer, seal_body, sealed_len};
use crate::store::vfs::VfsFile;

/// The name and the key of a body that has a file.
type Blob = ([u8; 16], SymmetricKey);

/// The end of the log, as the start found it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tail {
    /// The last segment; 0 where there is none.
    pub(super) segment: u64,
    /// Its id.
    pub(super) segment_id: [u8; 16],
    /// How many bytes of it count.
    pub(super) end: u64,
    /// The highest segment number of any file.
    pub(super) highest: u64,
    /// The next record's number.
    pub(super) next: u64,
}

/// The parts that a writer shares with the rest of its log.
pub(super) struct Ground {
    pub(super) site: Arc<Site>,
    pub(super) bodies: Arc<Bodies>,
    pub(super) spans: Spans,
    pub(super) pins: Pins,
}

pub(super) struct Writer {
    place: Arc<Site>,
    wrap: Sealer,
    rng: Box<dyn Rng>,
    bodies: Arc<Bodies>,
    spans: Spans,
    tail: Tail,
    current: Option<Current>,
    /// Lazy commits that were reported and are written, but not synced.
    unsynced: Vec<Pending>,
    /// Lazy commits that were reported, and whose sync failed: they are written again.
    carried: Vec<Pending>,
    /// Files of forgotten bodies: removed after the next sync, unless the files are being copied.
    unlink: Vec<PathBuf>,
    pins: Pins,
}

struct Current {
    key: SegmentKey,
    file: Arc<dyn VfsFile>,
    base: u64,
    /// Where the next byte goes.
    offset: u64,
    durable: u64,
    counter: u64,
}

impl Tail {
    /// Notes that a segment is not written to any more.
    const fn closed(&mut self, current: &Current) {
        self.segment = current.key.number;
        self.segment_id = current.key.id;
        self.end = current.durable;
    }
}

/// Transactions that go to the disk in one write.
#[derive(Default)]
struct Group {
    buffer: Vec<u8>,
    staged: VecDeque<Staged>,
}

/// The bytes of a body that have to be written.
struct Part<'a> {
    id: BodyId,
    own: &'a [u8],
    tail: Option<BodyTail>,
}

struct Staged {
    pending: Pending,
    outcome: Result<u64, CommitError>,
    entries: Vec<BodyEntry>,
}

impl Writer {
    pub(super) fn new(ground: Ground, wrap: Sealer, rng: Box<dyn Rng>, tail: Tail) -> Self {
        let Ground { site: place, bodies, spans, pins } = ground;
        let (unsynced, carried, unlink) = (Vec::new(), Vec::new(), Vec::new());
        Self { place, wrap, rng, bodies, spans, tail, current: None, unsynced, carried, unlink, pins }
    }

    /// The place where the log ends now, with everything that was reported before it durable; `number` is the last
    /// record that the caller knows. `None` where something cannot be made durable, or nothing was ever written.
    pub(super) fn mark(&mut self, number: u64) -> Option<Mark> {
        self.settle();
        if self.is_unsettled() {
            return None;
        }
        let mark = match &self.current {
            Some(current) if current.durable == current.offset => Mark {
                number,
                segment: current.key.number,
                segment_id: current.key.id,
                offset: current.offset,
                counter: current.counter,
                next: self.tail.next,
            },
            Some(_) => return None,
            // No transaction that counts follows in that segment. One that failed may lie there, so this place has a
            // counter that no transaction has.
            None => Mark {
                number,
                segment: self.tail.segment,
                segment_id: self.tail.segment_id,
                offset: self.tail.end,
                counter: u64::MAX,
                next: self.tail.next,
            },
        };
        (mark.segment > 0).then_some(mark)
    }

    /// Writes the batch, syncs if one of its commits asks for that, and reports each in order.
    pub(super) fn commit(&mut self, batch: impl IntoIterator<Item = Pending>) {
        let group = self.stage_all(batch);
        self.finish(group, false);
    }

    /// Whether a commit that was reported is not synced.
    pub(super) fn is_unsettled(&self) -> bool {
        !self.unsynced.is_empty() || !self.carried.is_empty()
    }

    /// Whether the last sync failed and reported commits wait to be written again.
    pub(super) fn is_failing(&self) -> bool {
        !self.carried.is_empty()
    }

    /// Syncs all reported commits; writes those again whose sync failed.
    pub(super) fn settle(&mut self) {
        let group = self.stage_all([]);
        self.finish(group, true);
    }

    /// Settles, and marks everything before the end as durable, so that the next start recognises damage there.
    pub(super) fn close(&mut self) {
        self.settle();
        let Some(current) = &mut self.current else { return };
        let (start, mut stop) = (current.offset, Vec::new());
        let end = End { first: self.tail.next, durable: current.durable, bodies_hash: hash(&[]), ..End::default() };
        current.key.seal_end(&end, current.counter, start, start, &mut stop);
        // The mark helps, but nothing depends on it: a stop without it is like a crash, after which nothing is lost
        // either.
        let _ = current.file.write_at(start, &stop).and_then(|()| current.file.sync());
        self.abandon();
    }

    fn stage_all(&mut self, batch: impl IntoIterator<Item = Pending>) -> Group {
        let mut group = Group::default();
        // If the file system cannot say how much is free, that is no reason to refuse commits.
        let mut space = self.place.vfs.free_space(&self.place.log_dir).unwrap_or(u64::MAX);
        let mut broken = None;
        let mut held = Vec::new();
        let mut queue: VecDeque<Pending> = batch.into_iter().collect();
        loop {
            // Commits that were reported go first, also those whose segment failed only just now.
            for carried in std::mem::take(&mut self.carried).into_iter().rev() {
                queue.push_front(carried);
            }
            let Some(pending) = queue.pop_front() else { break };
            let mut entries = Vec::new();
            let room = broken.map_or(Ok(()), Err).and_then(|()| {
                pending.check_size()?;
                pending.check_space(&mut space)?;
                self.make_room(&pending, &mut group).inspect_err(|error| broken = Some(*error))
            });
            if room.is_ok() && !self.carried.is_empty() {
                queue.push_front(pending);
                continue;
            }
            let outcome = room.and_then(|()| self.stage(&pending, &mut entries, &mut group));
            match outcome {
                Err(error) if pending.done.is_none() => {
                    // No later commit may overtake this one: two changes of one flag would be replayed in the wrong
                    // order.
                    broken = Some(error);
                    held.push(pending);
                }
                _ => group.staged.push_back(Staged { pending, outcome, entries }),
            }
        }
        self.carried = held;
        group
    }

    /// A segment that this transaction fits into.
    fn make_room(&mut self, pending: &Pending, group: &mut Group) -> Result<(), CommitError> {
        if self.place.gone.load(Ordering::SeqCst) {
            return Err(CommitError::Io);
        }
        let limit = self.place.sizes.segment;
        let size = (pending.size() as u64).min(limit / 2);
        let full =
            self.current.as_ref().is_some_and(|current| current.offset + group.buffer.len() as u64 + size > limit);
        if full {
            self.finish(std::mem::take(group), true);
            if let Some(current) = self.current.take() {
                self.tail.closed(&current);
            }
        }
        if self.current.is_none() {
            self.open_segment().map_err(|error| {
                tracing::error!(%error, "a new segment of the log could not be made; nothing can be stored until it can");
                commit_error(&error)
            })?;
        }
        Ok(())
    }

    fn open_segment(&mut self) -> io::Result<()> {
        self.tail.highest += 1;
        let rng = &mut *self.rng;
        let header = Header {
            number: self.tail.highest,
            base: self.tail.next,
            predecessor: self.tail.segment,
            predecessor_end: self.tail.end,
            id: rng.array(),
            key: SymmetricKey::random(rng),
        };
        let bytes = header.encode(&self.wrap, rng);
        let path = segment::path(&self.place.log_dir, header.number);
        let file = self.place.vfs.create_excl(&path)?;
        let synced = file
            .write_at(0, &bytes)
            .and_then(|()| file.sync())
            .and_then(|()| self.place.vfs.sync_dir(&self.place.log_dir));
        if let Err(error) = synced {
            // If the file stays, the next start sees that no segment follows it.
            let _ = self.place.vfs.unlink(&path);
            return Err(error);
        }
        let end = HEADER_BYTES as u64;
        let key = SegmentKey::new(&header);
        self.current = Some(Current { key, file, base: header.base, offset: end, durable: end, counter: 0 });
        Ok(())
    }

    /// Appends the transaction to the group's buffer. On an error the buffer is as it was.
    fn stage(
        &mut self,
        pending: &Pending,
        entries: &mut Vec<BodyEntry>,
        group: &mut Group,
    ) -> Result<u64, CommitError> {
        let parts: Vec<Part<'_>> =
            (0..).zip(&pending.bodies).map(|(n, body)| self.part(body, n, pending, group)).collect();
        let places = self.write_blobs(&parts)?;
        let Some(current) = &mut self.current else { return Err(CommitError::Io) };
        let begin = group.buffer.len();
        let start = current.offset + begin as u64;
        let number = current.key.number;
        for (part, blob) in parts.into_iter().zip(places) {
            let len = part.own.len() as u64;
            let (key, place) = match blob {
                Some((name, key)) => (key, Place::Blob(name)),
                None => {
                    let key = SymmetricKey::random(&mut *self.rng);
                    group.buffer.extend_from_slice(&body_frame(len, current.counter, start).encode());
                    let offset = current.offset + group.buffer.len() as u64;
                    seal_body(&key, part.id, part.own, &mut group.buffer);
                    (key, Place::Inline { segment: number, offset })
                }
            };
            entries.push(BodyEntry { id: part.id, key, place, len, tail: part.tail });
        }
        for Moved { entry, sealed } in &pending.moved {
            if self.bodies.place(entry.id) == Some(entry.place) {
                group.buffer.extend_from_slice(&body_frame(entry.len, current.counter, start).encode());
                let place = Place::Inline { segment: number, offset: current.offset + group.buffer.len() as u64 };
                group.buffer.extend_from_slice(sealed);
                entries.push(BodyEntry { place, ..entry.clone() });
            }
        }
        let end = End {
            first: self.tail.next,
            durable: current.durable,
            bodies_hash: hash(group.buffer.get(begin..).unwrap_or_default()),
            bodies: entries.clone(),
            dropped: pending.dropped.clone(),
            records: pending.records.clone(),
        };
        let offset = current.offset + group.buffer.len() as u64;
        current.key.seal_end(&end, current.counter, start, offset, &mut group.buffer);
        current.counter += 1;
        let first = self.tail.next;
        self.tail.next += pending.records.len() as u64;
        Ok(first)
    }

    /// The bytes of a body that have to be written: all of them, or those before the end that it shares with another
    /// one. The other one must be there now and after any replay: committed, or earlier in the same transaction.
    fn part<'a>(&self, body: &'a NewBody, place: usize, pending: &Pending, group: &Group) -> Part<'a> {
        let whole = Part { id: body.id, own: &body.bytes, tail: None };
        let Some(shared) = body.shared else { return whole };
        let Some((own, end)) = body.bytes.split_at_checked(shared.at) else { return whole };
        let len = end.len() as u64;
        let beside = pending.bodies.iter().take(place).find(|other| other.id == shared.of);
        let tail = match beside {
            Some(other) if other.shared.is_some() => None,
            Some(other) => (shared.from.checked_add(len) == Some(other.bytes.len() as u64)).then_some(BodyTail {
                of: shared.of,
                from: shared.from,
                len,
            }),
            None if group.staged.iter().any(|staged| staged.pending.dropped.contains(&shared.of)) => None,
            None => self.bodies.resolve(shared.of, shared.from, len),
        };
        match tail {
            Some(_) => Part { id: body.id, own, tail },
            None => whole,
        }
    }

    /// Writes the bodies that do not go into the log; gives the name and key of each that got a file.
    fn write_blobs(&mut self, bodies: &[Part<'_>]) -> Result<Vec<Option<Blob>>, CommitError> {
        let mut inline = 0_usize;
        let mut places = Vec::with_capacity(bodies.len());
        let mut written: Vec<PathBuf> = Vec::new();
        let mut result = Ok(());
        let Sizes { segment, inline_body } = self.place.sizes;
        let most = TRANSACTION_INLINE_BYTES.min(usize::try_from(segment / 4).unwrap_or(usize::MAX));
        for body in bodies {
            let fits = body.own.len() <= inline_body && inline + body.own.len() <= most;
            if fits {
                inline += body.own.len();
                places.push(None);
                continue;
            }
            let (name, key) = (self.rng.array(), SymmetricKey::random(&mut *self.rng));
            let path = self.bodies.blob_path(name);
            let mut sealed = Vec::with_capacity(usize::try_from(sealed_len(body.own.len() as u64)).unwrap_or(0));
            seal_body(&key, body.id, body.own, &mut sealed);
            written.push(path.clone());
            result =
                self.place.vfs.create_excl(&path).and_then(|file| file.write_at(0, &sealed).and_then(|()| file.sync()));
            if result.is_err() {
                break;
            }
            places.push(Some((name, key)));
        }
        if result.is_ok() && !written.is_empty() {
            result = self.place.vfs.sync_dir(&self.place.blob_dir);
        }
        result.map(|()| places).map_err(|error| {
            tracing::error!(%error, "a large message could not be written");
            for path in &written {
                // Nothing refers to the file; if it stays, the next start removes it.
                let _ = self.place.vfs.unlink(path);
            }
            commit_error(&error)
        })
    }

    /// Writes the group, syncs if anything in it asks for that (or `sync` does), and reports.
    fn finish(&mut self, mut group: Group, sync: bool) {
        if let Err(error) = self.append(&group.buffer) {
            self.give_up(group, &error);
            return;
        }
        while group.staged.front().is_some_and(|staged| staged.outcome.is_err() || staged.is_lazy()) {
            if let Some(staged) = group.staged.pop_front() {
                self.report(staged);
            }
        }
        if group.staged.is_empty() && !sync {
            return;
        }
        if let Err(error) = self.sync() {
            self.give_up(group, &error);
            return;
        }
        for staged in group.staged {
            self.report(staged);
        }
        // Everything reported so far is durable, lazy ones included.
        self.unsynced.clear();
        if self.pins.is_free() {
            for path in self.unlink.drain(..) {
                // If the file stays, nothing refers to it, and the next start removes it.
                let _ = self.place.vfs.unlink(&path);
            }
        }
    }

    fn append(&mut self, buffer: &[u8]) -> io::Result<()> {
        let Some(current) = &mut self.current else { return Ok(()) };
        if !buffer.is_empty() {
            current.file.write_at(current.offset, buffer)?;
            current.offset += buffer.len() as u64;
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let Some(current) = &mut self.current else { return Ok(()) };
        if current.durable == current.offset {
            return Ok(());
        }
        current.file.sync()?;
        // Bytes synced into a file that no start will find are not kept.
        if !current.file.is_at(&segment::path(&self.place.log_dir, current.key.number)) {
            self.place.gone.store(true, Ordering::SeqCst);
            return Err(io::Error::new(io::ErrorKind::NotFound, "the segment was removed, or its directory replaced"));
        }
        current.durable = current.offset;
        if self.tail.next > current.base {
            let span = Span { segment: current.key.number, id: current.key.id, last: self.tail.next - 1 };
            self.spans.lock().unwrap_or_else(PoisonError::into_inner).insert(current.base, span);
        }
        Ok(())
    }

    /// The write or the sync failed: nothing of the group was committed, and the segment is not used again. A crash
    /// before the next segment begins may bring the group back nevertheless, so its commits fail with the error that
    /// leaves this open.
    fn give_up(&mut self, group: Group, error: &io::Error) {
        tracing::error!(%error, "writing the log failed; going on with a new segment");
        self.abandon();
        for mut staged in group.staged {
            if staged.pending.done.is_none() {
                self.carried.push(staged.pending);
            } else {
                staged.outcome = staged.outcome.and(Err(CommitError::Io));
                self.report(staged);
            }
        }
    }

    fn abandon(&mut self) {
        if let Some(current) = self.current.take() {
            self.tail.closed(&current);
        }
        self.carried.append(&mut self.unsynced);
    }

    fn report(&mut self, staged: Staged) {
        let lazy = staged.is_lazy();
        let Staged { mut pending, outcome, entries } = staged;
        if outcome.is_ok() {
            for entry in entries {
                self.bodies.insert(entry);
            }
            for place in self.bodies.remove(&pending.dropped) {
                if let Place::Blob(name) = place {
                    self.unlink.push(self.bodies.blob_path(name));
                }
            }
        }
        let done = pending.done.take();
        if outcome.is_ok() && lazy {
            self.unsynced.push(pending);
        }
        if let Some(done) = done {
            done(outcome);
        }
    }
}

impl Staged {
    /// A commit with bodies is never lazy: the bodies could not be written again after a failed sync.
    fn is_lazy(&self) -> bool {
        let Pending { bodies, moved, durability, .. } = &self.pending;
        *durability == Durability::Lazy && bodies.is_empty() && moved.is_empty()
    }
}

/// The error of a step that failed before anything of the transaction was written to the log.
fn commit_error(error: &io::Error) -> CommitError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => CommitError::NoSpace,
        _ => CommitError::Io,
    }
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let mut out = [0; 32];
    out.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    out
}
