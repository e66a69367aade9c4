//! A commit that waits for the writer: its records and bodies, and whether it may be written.

use super::Completion;
use super::segment::{BodyEntry, End, FRAME_BYTES};
use crate::base::BodyId;
use crate::base::limits::{DISK_FLOOR_BYTES, DISK_RESERVE_BYTES, TRANSACTION_RECORD_BYTES};
use crate::engine::io::{CommitError, Durability, NewBody};
use crate::store::crypt::{TAG_BYTES, sealed_len};

/// A commit that waits.
pub(super) struct Pending {
    pub(super) records: Vec<Vec<u8>>,
    pub(super) bodies: Vec<NewBody>,
    pub(super) dropped: Vec<BodyId>,
    /// Bodies that are copied from an older segment to the end of the log.
    pub(super) moved: Vec<Moved>,
    pub(super) durability: Durability,
    /// `None` for a commit that was reported before, and is written again after a failed sync.
    pub(super) done: Option<Completion>,
}

/// A body that is copied as it is, sealed under its own key, which does not depend on the segment.
pub(super) struct Moved {
    /// Where it was when it was read. A body that was dropped or moved since is not copied.
    pub(super) entry: BodyEntry,
    pub(super) sealed: Vec<u8>,
}

impl Pending {
    /// About how many bytes it takes on the disk.
    pub(super) fn size(&self) -> usize {
        let sealed = |body: &NewBody| usize::try_from(sealed_len(body.bytes.len() as u64)).unwrap_or(usize::MAX);
        let bodies: usize = self.bodies.iter().map(|body| sealed(body).saturating_add(FRAME_BYTES)).sum();
        let moved: usize = self.moved.iter().map(|moved| moved.sealed.len() + FRAME_BYTES).sum();
        let count = self.bodies.len() + self.moved.len();
        FRAME_BYTES + TAG_BYTES + bodies + moved + End::bound(&self.records, count, self.dropped.len())
    }

    /// Records alone, which are reported before they are synced.
    pub(super) fn of_records(records: Vec<Vec<u8>>, durability: Durability, done: Completion) -> Self {
        Self { records, bodies: Vec::new(), dropped: Vec::new(), moved: Vec::new(), durability, done: Some(done) }
    }

    /// Whether the commit is small enough for the log.
    pub(super) fn check_size(&self) -> Result<(), CommitError> {
        let records: usize = self.records.iter().map(|record| record.len() + 4).sum();
        if records + (self.bodies.len() + self.moved.len()) * 128 > TRANSACTION_RECORD_BYTES {
            tracing::error!(records, "a transaction is larger than the log takes");
            return Err(CommitError::Io);
        }
        Ok(())
    }

    /// Subtracts the commit's size from the free space. A reserve must be left, a larger one where the commit brings
    /// new mail.
    pub(super) fn check_space(&self, space: &mut u64) -> Result<(), CommitError> {
        let new_mail = self.bodies.iter().any(|body| !body.report);
        let reserve = if new_mail { DISK_RESERVE_BYTES } else { DISK_FLOOR_BYTES };
        let left = space.checked_sub(self.size() as u64).filter(|left| *left >= reserve);
        *space = left.ok_or(CommitError::NoSpace)?;
        Ok(())
    }
}
