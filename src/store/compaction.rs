//! Giving back the space of what is gone (docs/on-disk.md, "Compaction").
//!
//! Closed segments of which bodies need less than half are emptied: their bodies are copied to the end of the log as they
//! are. Then a checkpoint is written, after which a start needs of all before it only the segments that hold bodies. The
//! others are removed an hour later, and not while somebody copies the files: a backup that is being made stays whole.

use std::sync::{Arc, Mutex, PoisonError};

use super::bodies::Bodies;
use super::checkpoint::{self, Checkpoint, CheckpointError, Mark};
use super::crypt::Sealer;
use super::segment::{self, BodyEntry};
use super::writer::{Moved, Site};
use crate::base::limits::{COMPACTION_PIECE_BYTES, OBSOLETE_KEPT, SMALL_SEGMENTS};
use crate::base::{Rng, Timestamp};

/// Held by whoever copies the files of a log: nothing is removed meanwhile.
#[derive(Clone, Default)]
pub struct Pins(Arc<()>);

impl Pins {
    /// Whether nobody but the log itself holds one.
    pub(super) fn is_free(&self) -> bool {
        // The log's own: its shared part and its writer.
        Arc::strong_count(&self.0) <= 2
    }
}

/// Files that are not needed any more, and since when that is known.
#[derive(Default)]
pub(super) struct Obsolete {
    files: Mutex<Vec<(Option<Timestamp>, File)>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum File {
    Segment(u64),
    Checkpoint(u64),
}

impl Obsolete {
    /// Notes files that are not needed, those that are known already aside.
    pub(super) fn add(&self, files: impl IntoIterator<Item = File>) {
        let mut known = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        for file in files {
            if !known.iter().any(|(_, other)| *other == file) {
                known.push((None, file));
            }
        }
    }

    fn knows(&self, file: File) -> bool {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|(_, other)| *other == file)
    }

    /// Removes what has not been needed for long enough; `at_once` where the disk is full.
    pub(super) fn sweep(&self, site: &Site, bodies: &Bodies, now: Timestamp, at_once: bool) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.retain_mut(|(since, file)| {
            let since = *since.get_or_insert(now);
            if !at_once && now.since(since) < OBSOLETE_KEPT {
                return true;
            }
            let path = match file {
                File::Segment(number) => {
                    bodies.close(*number);
                    segment::path(&site.log_dir, *number)
                }
                File::Checkpoint(number) => checkpoint::path(&site.log_dir, *number),
            };
            // If it stays, the next start finds it again.
            let _ = site.vfs.unlink(&path);
            false
        });
    }
}

/// What there is to gain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Survey {
    /// Segments before the mark that are to be emptied.
    pub(super) victims: Vec<u64>,
    /// Bytes that would be free then, of them and of those that hold nothing any more.
    pub(super) gain: u64,
    /// Bytes that a start reads behind the newest checkpoint.
    pub(super) replayed: u64,
}

/// Looks at the segments before this one, which is not touched; without one, at all but the last. `since` is the one from
/// which on a start reads.
pub(super) fn survey(
    site: &Site,
    bodies: &Bodies,
    obsolete: &Obsolete,
    before: Option<u64>,
    since: u64,
) -> std::io::Result<Survey> {
    let needed = bodies.needed();
    let mut survey = Survey { victims: Vec::new(), gain: 0, replayed: 0 };
    let mut small = Vec::new();
    let names = site.vfs.list(&site.log_dir)?;
    let numbers: Vec<u64> = names.iter().filter_map(|name| segment::number(name)).collect();
    let before = before.or_else(|| numbers.iter().copied().max()).unwrap_or(0);
    for number in numbers {
        if obsolete.knows(File::Segment(number)) {
            continue;
        }
        let size = site.vfs.open(&segment::path(&site.log_dir, number))?.size()?;
        if number >= since {
            survey.replayed = survey.replayed.saturating_add(size);
        }
        if number >= before {
            continue;
        }
        let live = needed.get(&number).copied().unwrap_or(0);
        if live < size / 2 {
            survey.gain = survey.gain.saturating_add(size.saturating_sub(live));
            if live > 0 {
                survey.victims.push(number);
            }
        } else if size < site.sizes.segment / 8 {
            small.push(number);
        }
    }
    // Every start makes a segment: many small ones become one.
    if small.len() > SMALL_SEGMENTS {
        survey.victims.extend(small);
        survey.victims.sort_unstable();
    }
    Ok(survey)
}

/// The bodies of a segment in pieces, ready to be copied.
pub(super) fn pieces(bodies: &Bodies, segment: u64) -> Vec<Vec<BodyEntry>> {
    let mut pieces = Vec::new();
    let (mut piece, mut size) = (Vec::new(), 0_u64);
    for entry in bodies.in_segment(segment) {
        size = size.saturating_add(entry.len);
        piece.push(entry);
        if size >= COMPACTION_PIECE_BYTES as u64 {
            pieces.push(std::mem::take(&mut piece));
            size = 0;
        }
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    pieces
}

/// Reads the sealed bytes of these bodies. One that cannot be read stays where it is, and its segment with it.
pub(super) fn read(bodies: &Bodies, entries: Vec<BodyEntry>) -> Vec<Moved> {
    let read = |entry: BodyEntry| match bodies.read_sealed(&entry) {
        Ok(sealed) => Some(Moved { entry, sealed }),
        Err(error) => {
            tracing::error!(%error, "a message could not be moved to another segment; it stays where it is");
            None
        }
    };
    entries.into_iter().filter_map(read).collect()
}

/// Writes a checkpoint, and gives the files that are not needed any more.
pub(super) fn checkpoint(
    site: &Site,
    bodies: &Bodies,
    wrap: &Sealer,
    rng: &mut dyn Rng,
    mark: Mark,
    records: Vec<Vec<u8>>,
) -> Result<Vec<File>, CheckpointError> {
    let names = site.vfs.list(&site.log_dir)?;
    let older: Vec<u64> = names.iter().filter_map(|name| checkpoint::number(name)).collect();
    let number = older.iter().copied().max().unwrap_or(0) + 1;
    let checkpoint = Checkpoint { mark, records, bodies: bodies.entries() };
    checkpoint.write(&*site.vfs, &site.log_dir, number, wrap, rng)?;
    let segments = names.iter().filter_map(|name| segment::number(name)).collect();
    Ok(unneeded(&checkpoint, number, segments, older))
}

/// The files before a checkpoint that nothing needs.
pub(super) fn unneeded(checkpoint: &Checkpoint, number: u64, segments: Vec<u64>, checkpoints: Vec<u64>) -> Vec<File> {
    let holding = checkpoint.holding();
    let segments = segments.into_iter().filter(|at| *at < checkpoint.mark.segment && !holding.contains(at));
    let checkpoints = checkpoints.into_iter().filter(|other| *other < number);
    segments.map(File::Segment).chain(checkpoints.map(File::Checkpoint)).collect()
}
