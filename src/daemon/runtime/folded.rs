//! A state that is the fold of the records of its log: how it is made, opened, and written to while no machine runs.
//! Identities and the carrier share this code; `repair` reads with the same [`Reader`].
//!
//! A log that cannot be opened, or that holds a record of a later version, is a failure that names the next step for
//! the user; nothing of the log is given up.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::driver::Encoded;
use crate::base::{BodyId, SymmetricKey};
use crate::control::Failure;
use crate::daemon::failures::broken;
use crate::engine::RecordError;
use crate::engine::io::{CommitError, Durability, NewBody};
use crate::store::vfs::Vfs;
use crate::store::{Log, LogPosition, OpenError, OsRng, begin_making};

/// Makes an image of a state; `None` where it cannot be encoded. May take long, so it is called on a thread that may
/// wait.
pub(in crate::daemon) type Image = Box<dyn FnOnce() -> Option<Vec<u8>> + Send>;

/// A state that is the fold of the records of a log.
pub(in crate::daemon) trait Folded: Clone + Default + Send + Sync + 'static {
    /// The records of the log.
    type Record: Send + 'static;

    /// The name of the log in failures.
    const LOG: &'static str;
    /// The view gets a new image of the state after this many commits, and at the end.
    const COMMITS_PER_IMAGE: u32;

    /// What the user can do where the log cannot be opened for this reason.
    fn next_step(error: &OpenError) -> Option<&'static str>;

    /// The record in these bytes; `None` for a record of a later version that may be skipped.
    fn decode(bytes: &[u8]) -> Result<Option<Self::Record>, RecordError>;
    /// The record as the log keeps it.
    fn encode(record: &Self::Record) -> Result<Vec<u8>, RecordError>;
    /// Applies the next record.
    fn apply(&mut self, number: u64, record: &Self::Record);
    /// The number of the last record that was applied.
    fn last_record(&self) -> u64;
    /// Whether its first records, with its keys, were applied.
    fn is_begun(&self) -> bool;
    /// The bodies that it needs.
    fn bodies(&self) -> BTreeSet<BodyId>;
    /// Forgets which bodies it no longer needs, after the caller has given them up.
    fn settle(&mut self);
    /// The maker of an image of the state as it is now. Returns at once.
    fn image(&self) -> Image;
    /// Records that lead to this state.
    fn checkpoint(&self) -> Vec<Self::Record>;
}

/// Records as the log keeps them; `None` where one cannot be encoded.
pub(in crate::daemon) fn encoded<F: Folded>(records: &[F::Record]) -> Encoded {
    let encoded: Result<_, _> = records.iter().map(F::encode).collect();
    encoded.inspect_err(|_| tracing::error!("a record cannot be encoded, and is refused. Please report this")).ok()
}

/// Folds the records of a log as they are read.
#[derive(Default)]
pub(in crate::daemon) struct Reader<F> {
    pub(in crate::daemon) state: F,
    /// How many records were read.
    pub(in crate::daemon) read: u32,
    /// A record of a later version.
    unknown: Option<RecordError>,
}

impl<F: Folded> Reader<F> {
    /// A reader that begins with this state.
    pub(in crate::daemon) const fn from(state: F) -> Self {
        Self { state, read: 0, unknown: None }
    }

    /// Takes a record.
    pub(in crate::daemon) fn record(&mut self, number: u64, bytes: &[u8]) {
        self.record_after(number, bytes, |_, _, _| ());
    }

    /// Takes a record, and lets `first` change the state before that.
    pub(in crate::daemon) fn record_after(
        &mut self,
        number: u64,
        bytes: &[u8],
        first: impl FnOnce(&mut F, u64, &F::Record),
    ) {
        self.read = self.read.saturating_add(1);
        match F::decode(bytes) {
            Ok(Some(record)) => {
                first(&mut self.state, number, &record);
                self.state.apply(number, &record);
            }
            Ok(None) => {}
            Err(error) => self.unknown = Some(error),
        }
    }

    /// Fails where a record was of a later version. To be called before any body is given up: a record that cannot be
    /// read may need bodies that no other record names. `what` says what is to be done with the newer runepeer.
    ///
    /// # Errors
    /// Where a record was of a later version.
    pub(in crate::daemon) fn check_known(&self, what: &str) -> Result<(), Failure> {
        let Some(error) = self.unknown else { return Ok(()) };
        Err(broken(&format!("{} holds a record that this version does not know", F::LOG), error)
            .hint(format!("it was written by a newer runepeer; {what} that one")))
    }
}

/// Opens a log and folds it into this state, which is the state at `from`, or empty where that is `None`. Bodies that
/// are not needed are given up. Returns how many records were read; `reading` is told how many bytes were, and of how
/// many.
///
/// # Errors
/// Each says what to do next.
pub(in crate::daemon) fn open<F: Folded>(
    vfs: &Arc<dyn Vfs>,
    path: &Path,
    key: &SymmetricKey,
    from: Option<&LogPosition>,
    state: F,
    reading: &dyn Fn(u64, u64),
) -> Result<(Log, F, u32), Failure> {
    let mut reader = Reader::from(state);
    let mut replay = |number, bytes: &[u8]| reader.record(number, bytes);
    let mut progress = |done, total| reading(done, total);
    let opened = Log::open_with_progress(Arc::clone(vfs), path, key, Box::new(OsRng), from, &mut replay, &mut progress);
    let log = opened.map_err(|error| {
        let failure = broken(&format!("{} cannot be opened", F::LOG), &error);
        match F::next_step(&error) {
            Some(step) => failure.hint(step),
            None => failure,
        }
    })?;
    reader.check_known("start")?;
    let Reader { mut state, read, .. } = reader;
    let needed = state.bodies();
    log.forget(log.body_ids().into_iter().filter(|body| !needed.contains(body)).collect());
    state.settle();
    Ok((log, state, read))
}

/// Makes a log with its first records. It belongs to no identity until its key is kept (docs/on-disk.md).
///
/// # Errors
/// Errors of the disk.
pub(in crate::daemon) fn make<F: Folded>(
    vfs: &Arc<dyn Vfs>,
    path: &Path,
    key: &SymmetricKey,
    records: &[F::Record],
) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| broken(&format!("{} cannot be made", F::LOG), error);
    begin_making(&**vfs, path).map_err(|error| failed(&error))?;
    Log::create(&**vfs, path).map_err(|error| failed(&error))?;
    let log =
        Log::open(Arc::clone(vfs), path, key, Box::new(OsRng), None, &mut |_, _| ()).map_err(|error| failed(&error))?;
    commit::<F>(&log, records, Vec::new()).map(drop)
}

/// Commits records to a log that no machine writes to, and applies them.
///
/// # Errors
/// Errors of the disk; nothing is applied then.
pub(in crate::daemon) fn extend<F: Folded>(
    state: &mut F,
    log: &Log,
    records: &[F::Record],
    bodies: Vec<NewBody>,
) -> Result<(), Failure> {
    let first = commit::<F>(log, records, bodies)?;
    (first..).zip(records).for_each(|(number, record)| state.apply(number, record));
    Ok(())
}

/// Commits records and waits for it; gives the number of the first.
fn commit<F: Folded>(log: &Log, records: &[F::Record], bodies: Vec<NewBody>) -> Result<u64, Failure> {
    let failed = |error: &dyn std::fmt::Display| broken(&format!("{} cannot be written", F::LOG), error);
    let records = encoded::<F>(records).ok_or_else(|| failed(&CommitError::Io))?;
    let (done, committed) = std::sync::mpsc::channel();
    let report = Box::new(move |result| {
        // The receiver below waits for this.
        let _ = done.send(result);
    });
    log.commit(records, bodies, Durability::Synced, report);
    committed.recv().map_err(|error| failed(&error))?.map_err(|error| failed(&error))
}
