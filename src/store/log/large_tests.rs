//! Logs of many megabytes: records behind the first piece that is read, and across the border of two pieces, count as
//! well.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::salvage::Damage;
use super::segment::{self, FRAME_BYTES, HEADER_BYTES};
use super::site::Sizes;
use super::stepped::SteppedLog;
use crate::base::rng::SeededRng;
use crate::base::{BodyId, SymmetricKey};
use crate::engine::io::{Durability, NewBody};
use crate::store::crypt::sealed_len;
use crate::store::vfs::{MemVfs, Vfs};
use crate::store::{Log, OsRng};

const DIR: &str = "/alice";
const SIZES: Sizes = Sizes { segment: 64 << 20, inline_body: 8 << 20 };
/// How many bytes are searched at a time where something is damaged.
const PIECE: usize = 4 << 20;

type Replayed = Vec<(u64, Vec<u8>)>;
type Progress = Vec<(u64, u64)>;

fn key() -> SymmetricKey {
    SymmetricKey::from_bytes([3; 32])
}

fn id(n: u8) -> BodyId {
    BodyId::from_bytes([n; 16])
}

fn body(n: u8, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8 ^ n).collect()
}

/// A log with bodies of these lengths, each in a transaction of its own.
fn written(lens: &[usize]) -> (MemVfs, SteppedLog) {
    let vfs = MemVfs::new();
    Log::create(&vfs, Path::new(DIR)).unwrap();
    let (mut log, _) = open(&vfs);
    for (n, len) in (1..).zip(lens) {
        let body = NewBody::new(id(n), body(n, *len).into());
        log.commit(vec![(vec![vec![n]], vec![body], Durability::Synced)]).remove(0).unwrap();
    }
    (vfs, log)
}

fn open(vfs: &MemVfs) -> (SteppedLog, Replayed) {
    let (vfs, mut seen): (Arc<dyn Vfs>, Replayed) = (Arc::new(vfs.clone()), Vec::new());
    let mut replay = |number, record: &[u8]| seen.push((number, record.to_vec()));
    let log = SteppedLog::open(vfs, Path::new(DIR), &key(), Box::new(OsRng), SIZES, None, &mut replay).unwrap();
    (log, seen)
}

fn salvage(vfs: &MemVfs) -> (SteppedLog, Replayed, Vec<Damage>, Progress) {
    let (vfs, mut seen, mut told): (Arc<dyn Vfs>, Replayed, Progress) = (Arc::new(vfs.clone()), vec![], vec![]);
    let mut replay = |number, record: &[u8]| seen.push((number, record.to_vec()));
    let mut progress = |read, total| told.push((read, total));
    let rng = Box::new(OsRng);
    let (log, damage) =
        SteppedLog::salvage(vfs, Path::new(DIR), &key(), rng, SIZES, &mut replay, &mut progress).unwrap();
    (log, seen, damage, told)
}

fn segment(number: u64) -> PathBuf {
    segment::path(&Path::new(DIR).join("log"), number)
}

fn size(vfs: &MemVfs, number: u64) -> u64 {
    vfs.open(&segment(number)).unwrap().size().unwrap()
}

#[test]
fn what_lies_behind_many_damaged_megabytes_is_saved() {
    const LEN: usize = 1_000_000;
    let (vfs, log) = written(&[LEN; 9]);
    log.close();
    let (log, seen) = open(&vfs);
    assert_eq!(seen.len(), 9);
    assert_eq!(log.read_body(id(9), 0..u64::MAX).unwrap(), body(9, LEN));
    drop(log);
    // All of the first four bodies and the first half of the fifth are damaged; the records of the fifth are behind its
    // body.
    let end = HEADER_BYTES + 4_500_000;
    vfs.tamper(&segment(1), |bytes| bytes[HEADER_BYTES..end].fill(0)).unwrap();
    let (log, seen, damage, _) = salvage(&vfs);
    assert_eq!(seen, (5..=9).map(|n: u8| (n.into(), vec![n])).collect::<Vec<_>>());
    for n in 1..=9 {
        let read = log.read_body(id(n), 0..u64::MAX);
        assert_eq!(read.ok(), (n > 5).then(|| body(n, LEN)), "{n}");
    }
    let [Damage::Bytes(path, range)] = &damage[..] else { panic!("{damage:?}") };
    assert_eq!((path, range.start), (&segment(1), HEADER_BYTES as u64));
    assert!((end as u64..end as u64 + 600_000).contains(&range.end), "{range:?}");
}

#[test]
fn a_frame_across_the_border_of_two_pieces_is_found() {
    // The end frame of the first transaction begins sixteen bytes before the border.
    let sealed = PIECE - FRAME_BYTES - 16;
    let len = (0..=sealed).rev().find(|len| sealed_len(*len as u64) == sealed as u64).unwrap();
    for moved in [0, 1, 15, 16, 17] {
        let (vfs, log) = written(&[len + moved, 100]);
        log.close();
        vfs.tamper(&segment(1), |bytes| bytes[HEADER_BYTES..HEADER_BYTES + FRAME_BYTES].fill(0)).unwrap();
        let (log, seen, damage, _) = salvage(&vfs);
        assert_eq!(seen, [(1, vec![1]), (2, vec![2])], "moved by {moved}");
        assert_eq!(log.read_body(id(1), 0..u64::MAX).unwrap(), body(1, len + moved));
        let place = (HEADER_BYTES + PIECE - 16 + moved) as u64;
        assert_eq!(damage, [Damage::Bytes(segment(1), HEADER_BYTES as u64..place)]);
    }
}

#[test]
fn bodies_are_found_again_in_all_of_a_large_segment() {
    const LEN: usize = 1_000_000;
    let (vfs, mut log) = written(&[LEN; 9]);
    log.forget([1, 2, 3, 4, 7].map(id).to_vec());
    let mark = log.mark(9).unwrap();
    log.close();
    let (mut log, _) = open(&vfs);
    let last = log.commit(vec![(vec![vec![9]], Vec::new(), Durability::Synced)]).remove(0).unwrap();
    let mark = log.mark(last).unwrap_or(mark);
    let moved = log.compact(mark, vec![b"state".to_vec()], &mut SeededRng::new(5)).unwrap().moved;
    assert_eq!(moved, 4);
    log.close();
    // Only the copies are lost: the bodies that they were made from are still there.
    vfs.unlink(&segment(2)).unwrap();
    let (log, ..) = salvage(&vfs);
    let kept = [5, 6, 8, 9];
    let readable =
        || kept.iter().filter(|n| log.read_body(id(**n), 0..u64::MAX).is_ok_and(|read| read == body(**n, LEN))).count();
    assert_eq!(readable(), 0);
    log.search(&kept.map(id).into_iter().collect::<BTreeSet<_>>()).unwrap();
    assert_eq!(readable(), 4);
}

#[test]
fn whoever_waits_is_told_how_much_of_all_segments_was_read() {
    let vfs = MemVfs::new();
    Log::create(&vfs, Path::new(DIR)).unwrap();
    for n in 1..=3_u8 {
        let (mut log, _) = open(&vfs);
        for record in 0..3 {
            let records = vec![vec![n, record]; usize::from(n)];
            log.commit(vec![(records, Vec::new(), Durability::Synced)]).remove(0).unwrap();
        }
        log.close();
    }
    let sizes = [1, 2, 3].map(|number| size(&vfs, number));
    let total: u64 = sizes.iter().sum();
    let (_, _, damage, told) = salvage(&vfs);
    assert_eq!((damage, told), (vec![], vec![(sizes[0], total), (sizes[0] + sizes[1], total), (total, total)]));
    let mut told = Progress::new();
    let mut progress = |read, total| told.push((read, total));
    let shared: Arc<dyn Vfs> = Arc::new(vfs.clone());
    drop(SteppedLog::examine(shared, Path::new(DIR), &key(), Box::new(OsRng), &mut |_, _| (), &mut progress).unwrap());
    // One report for each of the three transactions, and one for the end of each segment.
    assert_eq!(told.len(), 3 * 4);
    assert!(told.is_sorted() && told.iter().all(|(_, of)| *of == total), "{told:?}");
    assert_eq!([told[3].0, told[7].0, told[11].0], [sizes[0], sizes[0] + sizes[1], total]);
}
