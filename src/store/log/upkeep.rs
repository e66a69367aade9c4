//! When a log is compacted, and how: the room that nothing needs any more is given back (docs/on-disk.md, "Compaction").

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::LogMark;
use super::bodies::Bodies;
use super::checkpoint::CheckpointError;
use super::compaction::{self, Obsolete, Pins, Survey};
use super::pending::Moved;
use super::site::Site;
use crate::base::limits::{REPLAYED_SEGMENTS, SMALL_SEGMENTS};
use crate::base::{Rng, Timestamp};
use crate::engine::io::CommitError;
use crate::store::crypt::Sealer;

/// Why a log was not compacted. Nothing is lost.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    /// Bodies could not be copied.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The checkpoint could not be written.
    #[error("a checkpoint of the log could not be written: {0}")]
    Checkpoint(io::Error),
}

/// The result of a compaction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Bodies that were copied to the end of the log.
    pub moved: usize,
}

/// The state of a log's compaction.
pub(super) struct Upkeep {
    pub(super) wrap: Sealer,
    pub(super) obsolete: Obsolete,
    pub(super) pins: Pins,
    /// The segment from which a start reads.
    pub(super) marked: AtomicU64,
    /// Held during a compaction, so that only one runs at a time.
    pub(super) busy: Mutex<()>,
}

impl Upkeep {
    fn survey(&self, site: &Site, bodies: &Bodies, before: Option<u64>) -> io::Result<Survey> {
        compaction::survey(site, bodies, &self.obsolete, before, self.marked.load(Ordering::SeqCst))
    }

    pub(super) fn wants(&self, site: &Site, bodies: &Bodies) -> bool {
        let worth_it = |survey: &Survey| {
            survey.gain >= site.sizes.segment / 4
                || survey.victims.len() > SMALL_SEGMENTS
                || survey.replayed > site.sizes.segment.saturating_mul(REPLAYED_SEGMENTS)
        };
        // A log that cannot be surveyed now is surveyed later.
        self.survey(site, bodies, None).is_ok_and(|survey| worth_it(&survey))
    }

    pub(super) fn compact(
        &self,
        site: &Site,
        bodies: &Bodies,
        mark: LogMark,
        state: Vec<Vec<u8>>,
        rng: &mut dyn Rng,
        commit: &mut dyn FnMut(Vec<Moved>) -> Result<(), CommitError>,
    ) -> Result<Compacted, CompactError> {
        let _alone = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let LogMark(mark) = mark;
        let mut compacted = Compacted::default();
        let survey = self.survey(site, bodies, Some(mark.segment)).map_err(CompactError::Checkpoint)?;
        for victim in survey.victims {
            for piece in compaction::pieces(bodies, victim) {
                let moved = compaction::read(bodies, piece);
                compacted.moved += moved.len();
                commit(moved)?;
            }
        }
        let unneeded = compaction::checkpoint(site, bodies, &self.wrap, rng, mark, state);
        let unneeded = unneeded.map_err(|error| match error {
            CheckpointError::Io(error) => CompactError::Checkpoint(error),
            CheckpointError::Damaged | CheckpointError::Version => {
                CompactError::Checkpoint(io::Error::other("what was written could not be read back"))
            }
        })?;
        self.marked.store(mark.segment, Ordering::SeqCst);
        self.obsolete.add(unneeded);
        Ok(compacted)
    }

    pub(super) fn sweep(&self, site: &Site, bodies: &Bodies, now: Timestamp, at_once: bool) {
        if self.pins.is_free() {
            self.obsolete.sweep(site, bodies, now, at_once);
        }
    }
}
