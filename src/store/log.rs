//! The log of one identity: its truth (docs/on-disk.md).
//!
//! A commit is a list of records and the bodies that they bring. One thread per log writes and syncs whatever waits, in one
//! go, while the next commits gather; there is no timer. Completions come in the order of the commits, on that thread.
//! After a failure the commits concerned are reported as failed and a new segment is opened for the next; while the disk
//! goes on failing, so do the commits.

use std::collections::VecDeque;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;
use std::{io, thread};

use serde::{Deserialize, Serialize};

use super::bodies::{Bodies, ReadError};
use super::crypt::{Sealer, derive};
use super::recover::{OpenError, recover};
use super::vfs::Vfs;
use super::writer::{Pending, Site, Spans, Writer};
use crate::base::limits::{COMMIT_BATCH_BYTES, DISK_RESERVE_BYTES, LAZY_RETRY, LAZY_SYNC};
use crate::base::{BodyId, Rng, SymmetricKey};
use crate::engine::effect::{CommitError, Durability, NewBody};

/// Told the log number of the first record, or why nothing was committed. Runs on the log's thread: it must not wait.
pub type Completion = Box<dyn FnOnce(Result<u64, CommitError>) + Send>;

/// A durable record of one log: a state that was saved with it is the fold of all records up to it.
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

    pub(super) fn is(&self, segment: u64, id: &[u8; 16], number: u64) -> bool {
        self.segment == segment && self.segment_id == *id && self.number == number
    }
}

/// An open log. Dropping it writes what waits and stops the thread.
pub struct Log {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

pub(super) struct Shared {
    vfs: Arc<dyn Vfs>,
    log_dir: PathBuf,
    pub(super) bodies: Arc<Bodies>,
    spans: Spans,
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Pending>,
    stopping: bool,
}

impl Log {
    /// Makes the empty directories of a log, durably: `dir`, `dir/log` and `dir/blob`. Does nothing where they are.
    /// The identity's key is committed after this ([`super::Keyring::add_identity`]).
    ///
    /// # Errors
    /// Those of the disk; `PermissionDenied` with a text for the user where others may read a directory.
    pub fn create(vfs: &dyn Vfs, dir: &Path) -> io::Result<()> {
        vfs.mkdir(dir)?;
        vfs.mkdir(&dir.join("log"))?;
        vfs.mkdir(&dir.join("blob"))?;
        vfs.sync_dir(dir)?;
        dir.parent().map_or(Ok(()), |parent| vfs.sync_dir(parent))
    }

    /// Opens a log and gives every record after `from` (all of them where it is `None`), in order and with its log number,
    /// to `replay`. What `replay` received is void where this fails. Nobody else may have the log open.
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
        let (shared, mut writer) = open_writer(vfs, dir, key, rng, from, replay)?;
        let on_thread = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || run(&on_thread, &mut writer))
            .map_err(|error| OpenError::Io { dir: dir.to_owned(), error })?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Appends a transaction: all of it or nothing. Each record gets a log number, one after the other; the completion
    /// receives the first.
    ///
    /// A [`Durability::Lazy`] commit with bodies is treated as [`Durability::Synced`]. After [`Log::shutdown`] every
    /// commit fails.
    pub fn commit(&self, records: Vec<Vec<u8>>, bodies: Vec<NewBody>, durability: Durability, done: Completion) {
        self.enqueue(Pending { records, bodies, dropped: Vec::new(), durability, done: Some(done) });
    }

    /// Gives up bodies that no record refers to any more: they can no longer be read, and their space is free (blobs at
    /// once, others when the log is compacted). Lost where the process dies within 100 ms: whoever opens the log compares
    /// [`Log::body_ids`] with what it refers to.
    pub fn forget(&self, bodies: Vec<BodyId>) {
        if !bodies.is_empty() {
            let (records, done): (_, Completion) = (Vec::new(), Box::new(|_| ()));
            let durability = Durability::Lazy;
            self.enqueue(Pending { records, bodies: Vec::new(), dropped: bodies, durability, done: Some(done) });
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
        let spans = self.shared.spans.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, span) = spans.range(..=number).next_back().filter(|(_, span)| number <= span.last)?;
        Some(LogPosition { segment: span.segment, segment_id: span.id, number })
    }

    /// Whether there is so little space that commits with bodies are refused.
    pub fn disk_low(&self) -> bool {
        self.shared.vfs.free_space(&self.shared.log_dir).is_ok_and(|free| free < DISK_RESERVE_BYTES)
    }

    /// Writes and syncs what waits, and stops. Waits for that; bodies can be read afterwards.
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
        if queue.stopping {
            drop(queue);
            if let Some(done) = pending.done {
                done(Err(CommitError::Io));
            }
            return;
        }
        queue.waiting.push_back(pending);
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
pub(super) fn open_writer(
    vfs: Arc<dyn Vfs>,
    dir: &Path,
    key: &SymmetricKey,
    rng: Box<dyn Rng>,
    from: Option<&LogPosition>,
    replay: &mut dyn FnMut(u64, &[u8]),
) -> Result<(Arc<Shared>, Writer), OpenError> {
    let (log_dir, blob_dir) = (dir.join("log"), dir.join("blob"));
    let bodies = Arc::new(Bodies::new(Arc::clone(&vfs), log_dir.clone(), blob_dir.clone()));
    let site = Site { vfs: Arc::clone(&vfs), log_dir: log_dir.clone(), blob_dir };
    let wrap = Sealer::new(&derive(key, "runepeer log 1"));
    let recovered = recover(&site, &wrap, &bodies, from, replay)?;
    let spans: Spans = Arc::new(Mutex::new(recovered.spans));
    let writer = Writer::new(site, wrap, rng, Arc::clone(&bodies), Arc::clone(&spans), recovered.tail);
    let (queue, wake) = (Mutex::default(), Condvar::new());
    Ok((Arc::new(Shared { vfs, log_dir, bodies, spans, queue, wake }), writer))
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What waits, up to the bound of one write; empty at the deadline or when stopping. The flag says whether to stop.
    fn next_batch(&self, deadline: Option<Instant>) -> (Vec<Pending>, bool) {
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
        while let Some(next) = queue.waiting.front() {
            size = size.saturating_add(next.size());
            if size > COMMIT_BATCH_BYTES && !batch.is_empty() {
                break;
            }
            batch.extend(queue.waiting.pop_front());
        }
        let stop = batch.is_empty() && queue.stopping;
        (batch, stop)
    }
}

fn run(shared: &Shared, writer: &mut Writer) {
    let mut deadline: Option<Instant> = None;
    loop {
        let (mut batch, stop) = shared.next_batch(deadline);
        if stop {
            writer.close();
            return;
        }
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
