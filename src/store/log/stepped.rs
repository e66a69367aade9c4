//! A log without a thread: everything happens when it is told to, in the caller's order. Simulations run on it; the
//! code below it is that of [`Log`](super::Log).

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::bodies::ReadError;
use super::pending::Pending;
use super::recover::{OpenError, Told, recover, tidy};
use super::salvage::{Damage, salvage};
use super::search::search;
use super::site::Sizes;
use super::writer::Writer;
use super::{CompactError, Compacted, LogMark, LogPosition, Shared, open_writer};
use crate::base::limits::DISK_RESERVE_BYTES;
use crate::base::{BodyId, Rng, SymmetricKey, Timestamp};
use crate::engine::io::{CommitError, Durability, NewBody};
use crate::store::vfs::Vfs;

/// A commit of a batch: its records, the bodies that they bring, and when it is reported.
pub type Commit = (Vec<Vec<u8>>, Vec<NewBody>, Durability);

/// A log that works only when it is called.
pub struct SteppedLog {
    shared: Arc<Shared>,
    writer: Writer,
}

impl SteppedLog {
    /// Opens a log; see [`Log::open`](super::Log::open).
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        vfs: Arc<dyn Vfs>,
        dir: &Path,
        key: &SymmetricKey,
        rng: Box<dyn Rng>,
        sizes: Sizes,
        from: Option<&LogPosition>,
        replay: &mut dyn FnMut(u64, &[u8]),
    ) -> Result<Self, OpenError> {
        let told = Told { replay, progress: &mut |_, _| () };
        let read = |site: &_, wrap: &_, bodies: &_| {
            let recovered = recover(site, wrap, bodies, from, told)?;
            tidy(site, bodies, &recovered.litter)?;
            Ok(recovered)
        };
        let (shared, writer) = open_writer(vfs, dir, key, rng, sizes, read)?;
        Ok(Self { shared, writer })
    }

    /// Opens a log as [`Self::open`] does, but removes nothing: files that nothing seems to need may be needed by lost
    /// records. Returns with it a damaged checkpoint, where everything could be read without that.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn examine(
        vfs: Arc<dyn Vfs>,
        dir: &Path,
        key: &SymmetricKey,
        rng: Box<dyn Rng>,
        replay: &mut dyn FnMut(u64, &[u8]),
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(Self, Option<PathBuf>), OpenError> {
        let told = Told { replay, progress };
        let mut passed_over = None;
        let read = |site: &_, wrap: &_, bodies: &_| {
            let mut recovered = recover(site, wrap, bodies, None, told)?;
            passed_over = recovered.passed_over.take();
            Ok(recovered)
        };
        let (shared, writer) = open_writer(vfs, dir, key, rng, Sizes::default(), read)?;
        Ok((Self { shared, writer }, passed_over))
    }

    /// Opens what is left of a damaged log, and names the damage. Nothing in it is changed; later commits lie behind
    /// it, and [`Self::compact`] makes the next start independent of the damaged parts.
    ///
    /// # Errors
    /// Errors of the disk, and [`OpenError::Version`].
    pub fn salvage(
        vfs: Arc<dyn Vfs>,
        dir: &Path,
        key: &SymmetricKey,
        rng: Box<dyn Rng>,
        sizes: Sizes,
        replay: &mut dyn FnMut(u64, &[u8]),
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(Self, Vec<Damage>), OpenError> {
        let mut damage = Vec::new();
        let read = |site: &_, wrap: &_, bodies: &_| {
            let (recovered, found) = salvage(site, wrap, bodies, Told { replay, progress })?;
            damage = found;
            Ok(recovered)
        };
        let (shared, writer) = open_writer(vfs, dir, key, rng, sizes, read)?;
        Ok((Self { shared, writer }, damage))
    }

    /// Writes a batch, syncs if one of its commits asks for that, and returns the result of each, in order.
    pub fn commit(&mut self, batch: Vec<Commit>) -> Vec<Result<u64, CommitError>> {
        let outcomes = Outcomes::default();
        let pending = batch.into_iter().map(|(records, bodies, durability)| Pending {
            bodies,
            ..Pending::of_records(records, durability, outcomes.next())
        });
        self.writer.commit(pending.collect::<Vec<_>>());
        outcomes.take()
    }

    /// Gives up bodies; see [`Log::forget`](super::Log::forget).
    pub fn forget(&mut self, bodies: Vec<BodyId>) {
        let done = Box::new(|_| ());
        let pending = Pending { dropped: bodies, ..Pending::of_records(Vec::new(), Durability::Lazy, done) };
        self.writer.commit([pending]);
    }

    /// Syncs everything that was reported before it was synced; `false` where some of it still is not durable.
    pub fn settle(&mut self) -> bool {
        self.writer.settle();
        !self.writer.is_unsettled()
    }

    /// Ends as a node does when it stops.
    pub fn close(mut self) {
        self.writer.close();
    }

    /// See [`Log::read_body`](super::Log::read_body).
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read_body(&self, id: BodyId, part: Range<u64>) -> Result<Vec<u8>, ReadError> {
        self.shared.bodies.read(id, part)
    }

    /// Looks for unreadable bodies in every segment that is there: a copy from before or after a compaction, under its
    /// own key, is as good. A body that is found is read from that place.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn search(&self, bodies: &BTreeSet<BodyId>) -> std::io::Result<()> {
        let Shared { site, bodies: index, upkeep, .. } = &*self.shared;
        search(site, &upkeep.wrap, index, bodies)
    }

    /// All bodies that can be read, in no order.
    pub fn body_ids(&self) -> Vec<BodyId> {
        self.shared.bodies.ids()
    }

    /// See [`Log::position`](super::Log::position).
    pub fn position(&self, number: u64) -> Option<LogPosition> {
        self.shared.position(number)
    }

    /// See [`Log::disk_low`](super::Log::disk_low).
    pub fn disk_low(&self) -> bool {
        self.shared.disk_low(DISK_RESERVE_BYTES)
    }

    /// See [`Log::wants_compaction`](super::Log::wants_compaction).
    pub fn wants_compaction(&self) -> bool {
        self.shared.upkeep.wants(&self.shared.site, &self.shared.bodies)
    }

    /// See [`Log::mark`](super::Log::mark).
    pub fn mark(&mut self, number: u64) -> Option<LogMark> {
        self.writer.mark(number).map(LogMark)
    }

    /// See [`Log::compact`](super::Log::compact).
    ///
    /// # Errors
    /// [`CompactError`]: the log is as it was.
    pub fn compact(
        &mut self,
        mark: LogMark,
        state: Vec<Vec<u8>>,
        rng: &mut dyn Rng,
    ) -> Result<Compacted, CompactError> {
        let (shared, writer) = (Arc::clone(&self.shared), &mut self.writer);
        let mut commit = |moved| {
            let outcomes = Outcomes::default();
            writer.commit([Pending { moved, ..Pending::of_records(Vec::new(), Durability::Synced, outcomes.next()) }]);
            outcomes.take().pop().unwrap_or(Err(CommitError::Io)).map(|_| ())
        };
        shared.upkeep.compact(&shared.site, &shared.bodies, mark, state, rng, &mut commit)
    }

    /// See [`Log::sweep`](super::Log::sweep).
    pub fn sweep(&self, now: Timestamp) {
        let Shared { site, bodies, upkeep, .. } = &*self.shared;
        upkeep.sweep(site, bodies, now, self.shared.disk_low(DISK_RESERVE_BYTES));
    }
}

/// The results that were reported, in order.
#[derive(Default)]
struct Outcomes(Arc<Mutex<Vec<Result<u64, CommitError>>>>);

impl Outcomes {
    fn next(&self) -> super::Completion {
        let outcomes = Arc::clone(&self.0);
        Box::new(move |outcome| outcomes.lock().unwrap_or_else(PoisonError::into_inner).push(outcome))
    }

    fn take(&self) -> Vec<Result<u64, CommitError>> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
