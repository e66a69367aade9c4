//! Giving back the space of removed messages (docs/on-disk.md, "Compaction").
//!
//! A closed segment of which bodies need less than half is emptied: its bodies are copied to the end of the log as they
//! are. Then a checkpoint is written; of everything before it, a start then needs only the segments that hold bodies.
//! The others are removed an hour later, and not while their files are being copied: a backup in progress stays whole.

use std::sync::{Arc, Mutex, PoisonError};

use super::bodies::Bodies;
use super::checkpoint::{self, Checkpoint, CheckpointError, Mark};
use super::pending::Moved;
use super::segment::{self, BodyEntry};
use super::site::Site;
use crate::base::limits::{COMPACTION_PIECE_BYTES, OBSOLETE_KEPT, SMALL_SEGMENTS};
use crate::base::{Rng, Timestamp};
use crate::store::crypt::Sealer;

/// Held while the files of a log are copied: none of them is removed meanwhile.
#[derive(Clone, Default)]
pub struct Pins(Arc<()>);

impl Pins {
    /// Whether only the log itself holds one.
    pub(super) fn is_free(&self) -> bool {
        // The log holds two of its own: one in its shared part, one in its writer.
        Arc::strong_count(&self.0) <= 2
    }
}

/// Files that are not needed any more, each with the time since which that is known.
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
    /// Notes files that are not needed, except those that were noted before.
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

    /// Removes files that have not been needed for long enough; all of them with `at_once`, which is for a full disk.
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
            // A file that could not be removed is found again by the next start.
            let _ = site.vfs.unlink(&path);
            false
        });
    }
}

/// What a compaction would gain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Survey {
    /// Segments before the mark that are to be emptied.
    pub(super) victims: Vec<u64>,
    /// Bytes that it would free: in these segments, and in those that no body needs any more.
    pub(super) gain: u64,
    /// Bytes that a start reads behind the newest checkpoint.
    pub(super) replayed: u64,
}

/// Looks at the segments before number `before`; at all but the last where that is `None`. A start reads from the
/// segment `since` on.
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
    // Every start makes a segment. Many small ones are copied together into one.
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

/// Writes a checkpoint, and gives the files that are no longer needed after it.
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    use super::super::segment::{FRAME_BYTES, Place};
    use super::super::site::Sizes;
    use crate::base::{BodyId, SymmetricKey};
    use crate::store::crypt::TAG_BYTES;
    use crate::store::vfs::{MemVfs, Vfs};

    /// An empty log with such a segment size that segments below a thousand bytes count as small.
    fn site(vfs: &MemVfs) -> (Site, Bodies) {
        let (log_dir, blob_dir) = (Path::new("/log").to_owned(), Path::new("/blob").to_owned());
        vfs.mkdir(&log_dir).unwrap();
        let shared: Arc<dyn Vfs> = Arc::new(vfs.clone());
        let bodies = Bodies::new(Arc::clone(&shared), log_dir.clone(), blob_dir.clone());
        let sizes = Sizes { segment: 8_000, inline_body: 1_000 };
        (Site { vfs: shared, log_dir, blob_dir, sizes, gone: AtomicBool::new(false) }, bodies)
    }

    fn entry(n: u32, segment: u64, offset: u64, len: u64) -> BodyEntry {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&n.to_be_bytes());
        let key = SymmetricKey::from_bytes([1; 32]);
        BodyEntry { id: BodyId::from_bytes(id), key, place: Place::Inline { segment, offset }, len, tail: None }
    }

    /// A survey of segments, given as number, size, and bytes that a body needs.
    fn surveyed(segments: &[(u64, u64, u64)], before: Option<u64>, since: u64) -> Survey {
        let vfs = MemVfs::new();
        let (site, bodies) = site(&vfs);
        for &(number, size, live) in segments {
            let file = vfs.create_excl(&segment::path(&site.log_dir, number)).unwrap();
            file.write_at(0, &vec![0; size as usize]).unwrap();
            if live > 0 {
                bodies.insert(entry(number as u32, number, 0, live - (TAG_BYTES + FRAME_BYTES) as u64));
            }
        }
        survey(&site, &bodies, &Obsolete::default(), before, since).unwrap()
    }

    #[test]
    fn a_segment_is_emptied_where_less_than_half_of_it_is_needed() {
        let segments = [(1, 2_000, 1_000), (2, 2_000, 999), (3, 2_000, 0), (4, 2_001, 999), (5, 9_000, 100)];
        let all = 2_000 * 3 + 2_001 + 9_000;
        assert_eq!(
            surveyed(&segments, None, 0),
            Survey { victims: vec![2, 4], gain: 1_001 + 2_000 + 1_002, replayed: all }
        );
        // Only segments before `before` are victims; `since` decides which bytes a start reads.
        assert_eq!(surveyed(&segments, Some(3), 5), Survey { victims: vec![2], gain: 1_001, replayed: 9_000 });
        assert_eq!(surveyed(&segments, Some(1), 4), Survey { victims: vec![], gain: 0, replayed: 2_001 + 9_000 });
        assert_eq!(surveyed(&segments, Some(6), 6).victims, [2, 4, 5]);
        assert_eq!(surveyed(&[], None, 0), Survey { victims: vec![], gain: 0, replayed: 0 });
    }

    #[test]
    fn small_segments_become_one_where_there_are_more_than_so_many() {
        let small = |count: u64, size: u64| {
            let mut segments: Vec<_> = (1..=count).map(|number| (2 * number, size, size - 100)).collect();
            // Among them is one of which little is needed, and behind all of them a large one.
            segments.extend([(5, 3_000, 100), (1_000, 3_000, 2_900)]);
            surveyed(&segments, None, 0).victims
        };
        let most = SMALL_SEGMENTS as u64;
        assert_eq!(small(most, 999), [5]);
        assert_eq!(small(most + 1, 1_000), [5]);
        let victims = small(most + 1, 999);
        assert!(victims.is_sorted() && victims.contains(&5), "{victims:?}");
        assert_eq!(victims.len(), SMALL_SEGMENTS + 2);
    }

    #[test]
    fn what_is_not_needed_goes_after_its_time_and_at_once_where_the_disk_is_full() {
        let vfs = MemVfs::new();
        let (site, bodies) = site(&vfs);
        let files = || vfs.list(&site.log_dir).unwrap();
        let make = || {
            vfs.create_excl(&segment::path(&site.log_dir, 1)).unwrap();
            vfs.create_excl(&checkpoint::path(&site.log_dir, 1)).unwrap();
        };
        make();
        let obsolete = Obsolete::default();
        obsolete.add([File::Segment(1), File::Checkpoint(1)]);
        let (noon, later) = (Timestamp::from_secs(1_800_000_000), |by| Timestamp::from_secs(1_800_000_000).plus(by));
        obsolete.sweep(&site, &bodies, noon, false);
        // A file that is known already: its hour does not begin anew.
        obsolete.add([File::Segment(1)]);
        obsolete.sweep(&site, &bodies, later(OBSOLETE_KEPT - Duration::from_millis(1)), false);
        assert_eq!(files().len(), 2);
        obsolete.sweep(&site, &bodies, later(OBSOLETE_KEPT), false);
        assert_eq!(files(), Vec::<String>::new());
        assert!(!obsolete.knows(File::Segment(1)));
        make();
        obsolete.sweep(&site, &bodies, later(3 * OBSOLETE_KEPT), true);
        assert_eq!(files().len(), 2, "of which nobody said anything");
        obsolete.add([File::Checkpoint(1)]);
        assert!(obsolete.knows(File::Checkpoint(1)) && !obsolete.knows(File::Segment(1)));
        obsolete.sweep(&site, &bodies, noon, true);
        assert_eq!(files(), ["0000000000000001.seg"]);
    }

    #[test]
    fn what_is_known_to_be_useless_is_not_surveyed_again() {
        let vfs = MemVfs::new();
        let (site, bodies) = site(&vfs);
        for number in 1..=3 {
            vfs.create_excl(&segment::path(&site.log_dir, number)).unwrap().write_at(0, &[0; 500]).unwrap();
        }
        let obsolete = Obsolete::default();
        obsolete.add([File::Segment(1)]);
        let found = survey(&site, &bodies, &obsolete, None, 0).unwrap();
        assert_eq!(found, Survey { victims: vec![], gain: 500, replayed: 1_000 });
    }

    #[test]
    fn bodies_are_copied_in_pieces_that_hold_a_bound_and_no_more_than_one_body_beyond_it() {
        const PIECE: u64 = COMPACTION_PIECE_BYTES as u64;
        for (lens, expected) in [
            (&[][..], &[][..]),
            (&[PIECE], &[1]),
            (&[PIECE, 1], &[1, 1]),
            (&[PIECE - 1, 1, 1], &[2, 1]),
            (&[PIECE - 1, PIECE, 1], &[2, 1]),
            (&[1, 2, 3], &[3]),
        ] {
            let (_, bodies) = site(&MemVfs::new());
            let mut offset = 0;
            for (n, len) in (0_u32..).zip(lens) {
                // The order of the ids is the reverse of the order of the places.
                bodies.insert(entry(1_000 - n, 7, offset, *len));
                offset += len;
            }
            bodies.insert(entry(5_000, 8, 0, 9));
            let found = pieces(&bodies, 7);
            assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), expected, "{lens:?}");
            let found: Vec<u64> = found.into_iter().flatten().map(|entry| entry.len).collect();
            assert_eq!(found, lens, "in the order in which they lie there");
        }
    }

    #[test]
    fn what_a_checkpoint_makes_useless_lies_before_it_and_holds_nothing() {
        let mark = Mark { number: 1, segment: 5, segment_id: [0; 16], offset: 0, counter: 0, next: 2 };
        let bodies = vec![(entry(1, 2, 0, 9), false), (entry(2, 3, 0, 9), true)];
        let checkpoint = Checkpoint { mark, records: vec![], bodies };
        let found = unneeded(&checkpoint, 4, (1..=7).collect(), (1..=6).collect());
        let expected: Vec<File> =
            [1, 4].map(File::Segment).into_iter().chain([1, 2, 3].map(File::Checkpoint)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn files_are_pinned_while_somebody_else_holds_them() {
        let (shared, writer) = {
            let pins = Pins::default();
            (pins.clone(), pins)
        };
        assert!(shared.is_free() && writer.is_free());
        let held = shared.clone();
        assert!(!shared.is_free() && !writer.is_free());
        drop(held);
        assert!(writer.is_free());
    }

    #[test]
    fn needed_bytes_are_counted_for_each_segment() {
        let (_, bodies) = site(&MemVfs::new());
        let own = (TAG_BYTES + FRAME_BYTES) as u64;
        bodies.insert(entry(1, 1, 0, 100));
        bodies.insert(entry(2, 1, 200, 50));
        bodies.insert(entry(3, 2, 0, 70));
        assert_eq!(bodies.needed(), BTreeMap::from([(1, 150 + 2 * own), (2, 70 + own)]));
        // The body was moved: its new segment is needed now.
        bodies.insert(entry(2, 3, 0, 50));
        assert_eq!(bodies.needed(), BTreeMap::from([(1, 100 + own), (2, 70 + own), (3, 50 + own)]));
        bodies.remove(&[entry(1, 1, 0, 0).id]);
        assert_eq!(bodies.needed(), BTreeMap::from([(2, 70 + own), (3, 50 + own)]));
    }
}
