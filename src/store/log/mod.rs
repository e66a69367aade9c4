//! The log of one identity: its truth (docs/on-disk.md).
//!
//! A commit is a list of records and the bodies that they bring. One thread per log writes and syncs all waiting
//! commits together, while the next ones gather; there is no timer. Completions come in the order of the commits, on
//! that thread. After a failure the commits concerned are reported as failed and a new segment is opened for the next;
//! while the disk goes on failing, so do the commits.

mod bodies;
#[cfg(test)]
mod bounds_tests;
pub(super) mod checkpoint;
mod compaction;
#[cfg(test)]
mod compaction_tests;
#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod large_tests;
mod pending;
mod recover;
mod salvage;
#[cfg(test)]
mod salvage_tests;
mod search;
pub(super) mod segment;
mod site;
mod stepped;
#[cfg(test)]
mod tests;
mod upkeep;
mod writer;

pub use bodies::ReadError;
pub use compaction::Pins;
pub use recover::OpenError;
pub use salvage::Damage;
pub use site::Sizes;
pub use stepped::{Commit, SteppedLog};
pub use upkeep::{CompactError, Compacted};

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;
use std::{io, thread};

use serde::{Deserialize, Serialize};

use crate::base::limits::{COMMIT_BATCH_BYTES, DISK_RESERVE_BYTES, LAZY_RETRY, LAZY_SYNC};
use crate::base::{BodyId, Rng, SymmetricKey, Timestamp};
use crate::engine::io::{CommitError, Durability, NewBody};
use crate::store::crypt::{OsRng, Sealer, derive};
use crate::store::vfs::Vfs;
use bodies::Bodies;
use checkpoint::Mark;
use compaction::Obsolete;
use pending::Pending;
use recover::{Recovered, Told, recover, tidy};
use site::{Site, Spans};
use upkeep::Upkeep;
use writer::{Ground, Writer};

/// Receives the log number of the first record, or why nothing was committed. Runs on the log's thread: it must not
/// wait.
pub type Completion = Box<dyn FnOnce(Result<u64, CommitError>) + Send>;

/// A durable record of one log. A state that is saved with this position is the fold of all records up to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPosition {
    segment: u64,
    segment_id: [u8; 16],
    number: u64,
}

impl LogPosition {
    /// The log number of the record.
    pub const fn number(&self) -> u64 {
        self.number
    }

    fn is(&self, segment: u64, id: &[u8; 16], number: u64) -> bool {
        self.segment == segment && self.segment_id == *id && self.number == number
    }
}

/// An open log. Dropping it writes what waits and stops the thread.
pub struct Log {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The parts that the threads of a log share.
struct Shared {
    site: Arc<Site>,
    bodies: Arc<Bodies>,
    spans: Spans,
    upkeep: Upkeep,
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Job>,
    stopping: bool,
    /// The thread panicked: requests are dropped without an answer, so that those who wait for one see that it will
    /// never come.
    dead: bool,
}

enum Job {
    Commit(Pending),
    /// A request to say where the log ends, once everything before it is done.
    Mark(u64, MarkDone),
}

type MarkDone = Box<dyn FnOnce(Option<LogMark>) + Send>;

/// A place of a log; the state at it is the fold of all records before it.
#[derive(Debug, Clone, Copy)]
pub struct LogMark(Mark);

/// The files of a log at one moment; none of them is removed while this is held.
pub struct Contents {
    /// Each file with the number of its bytes that count.
    pub files: Vec<(PathBuf, u64)>,
    _pins: Pins,
}

impl Log {
    /// Makes the empty directories of a log, durably: `dir`, `dir/log` and `dir/blob`. Does nothing where they exist.
    /// The identity's key is committed after this ([`super::Keyring::add_identity`]).
    ///
    /// # Errors
    /// Errors of the disk; `PermissionDenied` with a text for the user where others may read a directory.
    pub fn create(vfs: &dyn Vfs, dir: &Path) -> io::Result<()> {
        vfs.mkdir(dir)?;
        vfs.mkdir(&dir.join("log"))?;
        vfs.mkdir(&dir.join("blob"))?;
        vfs.sync_dir(dir)?;
        dir.parent().map_or(Ok(()), |parent| vfs.sync_dir(parent))
    }

    /// Opens a log and gives every record after `from` (all of them where it is `None`), in order and with its log
    /// number, to `replay`. Where this fails, the records that `replay` received are void. No other process may have
    /// the log open.
    ///
    /// # Errors
    /// See [`OpenError`]. After [`OpenError::UnknownPosition`], call again with `None`.
    pub fn open(
        vfs: Arc<dyn Vfs>,
        dir: &Path,
        key: &SymmetricKey,
        rng: Box<dyn Rng>,
        from: Option<&LogPosition>,
        replay: &mut dyn FnMut(u64, &[u8]),
    ) -> Result<Self, OpenError> {
        let told = Told { replay, progress: &mut |_, _| () };
        Self::open_telling(vfs, dir, key, rng, from, told)
    }

    /// As [`Log::open`]; also reports progress: how many bytes of how many were read.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub fn open_with_progress(
        vfs: Arc<dyn Vfs>,
        dir: &Path,
        key: &SymmetricKey,
        rng: Box<dyn Rng>,
        from: Option<&LogPosition>,
        replay: &mut dyn FnMut(u64, &[u8]),
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self, OpenError> {
        Self::open_telling(vfs, dir, key, rng, from, Told { replay, progress })
    }

    fn open_telling(
        vfs: Arc<dyn Vfs>,
        dir: &Path,
        key: &SymmetricKey,
        rng: Box<dyn Rng>,
        from: Option<&LogPosition>,
        told: Told<'_>,
    ) -> Result<Self, OpenError> {
        let (shared, mut writer) = open_writer(vfs, dir, key, rng, Sizes::default(), |site, wrap, bodies| {
            let recovered = recover(site, wrap, bodies, from, told)?;
            tidy(site, bodies, &recovered.litter)?;
            Ok(recovered)
        })?;
        let on_thread = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || {
                let ran = catch_unwind(AssertUnwindSafe(|| run(&on_thread, &mut writer)));
                if ran.is_err() {
                    tracing::error!("the log's thread failed unexpectedly");
                    on_thread.die();
                }
            })
            .map_err(|error| OpenError::Io { dir: dir.to_owned(), error })?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Appends a transaction: all of it or nothing. Each record gets a log number, one after the other; the completion
    /// receives the first.
    ///
    /// A [`Durability::Lazy`] commit with bodies is treated as [`Durability::Synced`]. After [`Log::shutdown`] every
    /// commit fails.
    pub fn commit(&self, records: Vec<Vec<u8>>, bodies: Vec<NewBody>, durability: Durability, done: Completion) {
        self.enqueue(Pending { bodies, ..Pending::of_records(records, durability, done) });
    }

    /// Gives up bodies that no record refers to any more: they can no longer be read, and their space becomes free
    /// (that of blobs at once, that of others when the log is compacted). The request is lost where the process dies
    /// within 100 ms; therefore every opening of a log compares [`Log::body_ids`] with the bodies that its state refers
    /// to.
    pub fn forget(&self, bodies: Vec<BodyId>) {
        if !bodies.is_empty() {
            let done: Completion = Box::new(|_| ());
            self.enqueue(Pending { dropped: bodies, ..Pending::of_records(Vec::new(), Durability::Lazy, done) });
        }
    }

    /// A part of a committed body, cut to its length. Reads the disk.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read_body(&self, id: BodyId, part: Range<u64>) -> Result<Vec<u8>, ReadError> {
        self.shared.bodies.read(id, part)
    }

    /// The length of a committed body, in bytes.
    pub fn body_len(&self, id: BodyId) -> Option<u64> {
        self.shared.bodies.len(id)
    }

    /// All bodies that can be read, in no order.
    pub fn body_ids(&self) -> Vec<BodyId> {
        self.shared.bodies.ids()
    }

    /// The position of the record with this log number; `None` while it is not durable (or never was). A state may be
    /// saved only with a position.
    pub fn position(&self, number: u64) -> Option<LogPosition> {
        self.shared.position(number)
    }

    /// Whether less than `reserve` bytes of the disk are free. Below [`DISK_RESERVE_BYTES`] commits with bodies are
    /// refused.
    pub fn disk_low(&self, reserve: u64) -> bool {
        self.shared.disk_low(reserve)
    }

    /// Whether the file that was written last is no longer in its place. Since then nothing was reported as committed,
    /// and nothing will be.
    pub fn is_gone(&self) -> bool {
        self.shared.site.gone.load(Ordering::SeqCst)
    }

    /// Whether compacting the log is worth it. Looks at every file of the log, so it should be asked only every few
    /// minutes.
    pub fn wants_compaction(&self) -> bool {
        let Shared { site, bodies, upkeep, .. } = &*self.shared;
        upkeep.wants(site, bodies)
    }

    /// Gives the place behind every commit that was asked for before; `number` is the last record that the caller
    /// knows. `None` where not everything before the place is durable. Runs on the log's thread.
    pub fn mark(&self, number: u64, done: impl FnOnce(Option<LogMark>) + Send + 'static) {
        let mut queue = self.shared.lock();
        if queue.stopping || queue.dead {
            drop(queue);
            return done(None);
        }
        queue.waiting.push_back(Job::Mark(number, Box::new(done)));
        drop(queue);
        self.shared.wake.notify_one();
    }

    /// Compacts the log: copies the needed bodies out of segments that are mostly not needed, and writes a checkpoint
    /// with this state, as records that lead to it. Waits for the disk, perhaps for many seconds; commits go on
    /// meanwhile.
    ///
    /// # Errors
    /// [`CompactError`]: the log is as it was.
    pub fn compact(&self, mark: LogMark, state: Vec<Vec<u8>>) -> Result<Compacted, CompactError> {
        let shared = &*self.shared;
        let mut commit = |moved| {
            let (sender, answer) = sync_channel(1);
            let done: Completion = Box::new(move |result| sender.send(result).unwrap_or_default());
            self.enqueue(Pending { moved, ..Pending::of_records(Vec::new(), Durability::Synced, done) });
            answer.recv().unwrap_or(Err(CommitError::Io)).map(|_| ())
        };
        shared.upkeep.compact(&shared.site, &shared.bodies, mark, state, &mut OsRng, &mut commit)
    }

    /// Removes the files that were not needed for an hour; all unneeded files where the disk is nearly full. Removes
    /// none while a [`Pins`] is held.
    pub fn sweep(&self, now: Timestamp) {
        let Shared { site, bodies, upkeep, .. } = &*self.shared;
        upkeep.sweep(site, bodies, now, self.shared.disk_low(DISK_RESERVE_BYTES));
    }

    /// The files that hold everything that was committed before this call, and how much of each counts. None of them is
    /// removed while the result is held. Waits for the disk.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn contents(&self) -> io::Result<Contents> {
        let Shared { site, bodies, upkeep, .. } = &*self.shared;
        let pins = upkeep.pins.clone();
        // The pins keep these segments, which bodies need now.
        let segments = bodies.needed().into_keys().map(|number| segment::path(&site.log_dir, number));
        let needed: Vec<PathBuf> =
            segments.chain(bodies.blobs().into_iter().map(|name| bodies.blob_path(name))).collect();
        // A checkpoint that is made after the mark may need segments from after it.
        let checkpoints = site.vfs.list(&site.log_dir)?.into_iter().filter(|name| checkpoint::number(name).is_some());
        let (sender, answer) = sync_channel(1);
        self.mark(0, move |mark| sender.send(mark).unwrap_or_default());
        let LogMark(mark) = answer.recv().ok().flatten().ok_or_else(|| io::Error::other("the log cannot be synced"))?;
        let segments = site.vfs.list(&site.log_dir)?.into_iter();
        let segments = segments.filter(|name| segment::number(name).is_some_and(|number| number <= mark.segment));
        let in_log = checkpoints.chain(segments).map(|name| site.log_dir.join(name));
        // The directory is listed instead of the index: bodies that were given up since the mark still have their
        // files.
        let in_blobs = site.vfs.list(&site.blob_dir)?.into_iter().map(|name| site.blob_dir.join(name));
        let end = segment::path(&site.log_dir, mark.segment);
        let mut files = Vec::new();
        let found: BTreeSet<PathBuf> = in_log.chain(in_blobs).collect();
        if let Some(missing) = needed.iter().find(|path| !found.contains(*path)) {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("{} is missing", missing.display())));
        }
        for path in found {
            let bytes = if path == end { mark.offset } else { site.vfs.open(&path)?.size()? };
            files.push((path, bytes));
        }
        Ok(Contents { files, _pins: pins })
    }

    /// Makes the log's thread panic.
    #[cfg(test)]
    pub(crate) fn panic(&self) {
        self.shared.lock().waiting.push_back(Job::Mark(0, Box::new(|_| panic!("expected by the test"))));
        self.shared.wake.notify_one();
    }

    /// Writes and syncs all waiting commits, and stops. Waits for that; bodies can be read afterwards.
    pub fn shutdown(&self) {
        self.shared.lock().stopping = true;
        self.shared.wake.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A completion may hold the last handle: the thread cannot wait for itself.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id()) {
            let _ = thread.join();
        }
    }

    fn enqueue(&self, pending: Pending) {
        let mut queue = self.shared.lock();
        if queue.dead {
            return;
        }
        if queue.stopping {
            drop(queue);
            if let Some(done) = pending.done {
                done(Err(CommitError::Io));
            }
            return;
        }
        queue.waiting.push_back(Job::Commit(pending));
        drop(queue);
        self.shared.wake.notify_one();
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// Opens the log without its thread.
fn open_writer(
    vfs: Arc<dyn Vfs>,
    dir: &Path,
    key: &SymmetricKey,
    rng: Box<dyn Rng>,
    sizes: Sizes,
    read: impl FnOnce(&Site, &Sealer, &Bodies) -> Result<Recovered, OpenError>,
) -> Result<(Arc<Shared>, Writer), OpenError> {
    let (log_dir, blob_dir) = (dir.join("log"), dir.join("blob"));
    let bodies = Arc::new(Bodies::new(Arc::clone(&vfs), log_dir.clone(), blob_dir.clone()));
    let site = Arc::new(Site { vfs, log_dir, blob_dir, sizes, gone: AtomicBool::new(false) });
    let key = derive(key, "runepeer log 1");
    let wrap = || Sealer::new(&key);
    let recovered = read(&site, &wrap(), &bodies)?;
    let spans: Spans = Arc::new(Mutex::new(recovered.spans));
    let pins = Pins::default();
    let upkeep = Upkeep {
        wrap: wrap(),
        obsolete: Obsolete::default(),
        pins: pins.clone(),
        marked: AtomicU64::new(recovered.marked),
        busy: Mutex::default(),
    };
    upkeep.obsolete.add(recovered.unneeded);
    let ground = Ground { site: Arc::clone(&site), bodies: Arc::clone(&bodies), spans: Arc::clone(&spans), pins };
    let writer = Writer::new(ground, wrap(), rng, recovered.tail);
    let (queue, wake) = (Mutex::default(), Condvar::new());
    Ok((Arc::new(Shared { site, bodies, spans, upkeep, queue, wake }), writer))
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends all work: see [`Queue::dead`].
    fn die(&self) {
        let mut queue = self.lock();
        queue.dead = true;
        let waiting = std::mem::take(&mut queue.waiting);
        drop(queue);
        drop(waiting);
    }

    fn position(&self, number: u64) -> Option<LogPosition> {
        let spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, span) = spans.range(..=number).next_back().filter(|(_, span)| number <= span.last)?;
        Some(LogPosition { segment: span.segment, segment_id: span.id, number })
    }

    fn disk_low(&self, reserve: u64) -> bool {
        self.site.vfs.free_space(&self.site.log_dir).is_ok_and(|free| free < reserve)
    }

    /// The waiting commits, up to the bound of one write; none when the deadline has passed.
    fn next(&self, deadline: Option<Instant>) -> Next {
        let mut queue = self.lock();
        while queue.waiting.is_empty() && !queue.stopping {
            queue = match deadline {
                None => self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break;
                    }
                    self.wake.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        let (mut batch, mut size) = (Vec::new(), 0_usize);
        while let Some(Job::Commit(next)) = queue.waiting.front() {
            size = size.saturating_add(next.size());
            if size > COMMIT_BATCH_BYTES && !batch.is_empty() {
                break;
            }
            if let Some(Job::Commit(pending)) = queue.waiting.pop_front() {
                batch.push(pending);
            }
        }
        if !batch.is_empty() {
            return Next::Commit(batch);
        }
        match queue.waiting.pop_front() {
            Some(Job::Mark(number, done)) => Next::Mark(number, done),
            _ if queue.stopping => Next::Stop,
            _ => Next::Commit(batch),
        }
    }
}

/// The next work of the log's thread.
enum Next {
    Commit(Vec<Pending>),
    Mark(u64, MarkDone),
    Stop,
}

fn run(shared: &Shared, writer: &mut Writer) {
    let mut deadline: Option<Instant> = None;
    loop {
        let mut batch = match shared.next(deadline) {
            Next::Commit(batch) => batch,
            Next::Mark(number, done) => {
                done(writer.mark(number).map(LogMark));
                continue;
            }
            Next::Stop => {
                writer.close();
                return;
            }
        };
        for pending in &mut batch {
            // A completion that panics must not take the log with it.
            pending.done = pending.done.take().map(|done| -> Completion {
                Box::new(move |result| {
                    if catch_unwind(AssertUnwindSafe(|| done(result))).is_err() {
                        tracing::error!("the completion of a commit panicked");
                    }
                })
            });
        }
        if !batch.is_empty() {
            writer.commit(batch);
        }
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            writer.settle();
            deadline = None;
        }
        deadline = if writer.is_unsettled() {
            let wait = if writer.is_failing() { LAZY_RETRY } else { LAZY_SYNC };
            deadline.or_else(|| Instant::now().checked_add(wait))
        } else {
            None
        };
    }
}
