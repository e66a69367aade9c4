//! The last byte, number and record: each bound of a log is allowed exactly, and nothing beyond it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::pending::Pending;
use super::salvage::Damage;
use super::segment::{self, HEADER_BYTES};
use super::site::Sizes;
use super::stepped::SteppedLog;
use crate::base::limits::{
    DISK_FLOOR_BYTES, DISK_RESERVE_BYTES, LOG_NUMBER_GAP, REPLAYED_SEGMENTS, SMALL_SEGMENTS, TRANSACTION_RECORD_BYTES,
};
use crate::base::rng::SeededRng;
use crate::base::{BodyId, SymmetricKey};
use crate::engine::io::{CommitError, Durability, NewBody, SharedEnd};
use crate::store::vfs::{CrashMode, MemVfs, Vfs};
use crate::store::{Log, OpenError, OsRng};

const DIR: &str = "/alice";
/// A segment size that no test reaches.
const LARGE: Sizes = Sizes { segment: 64 << 20, inline_body: 1_000 };

type Replayed = Vec<(u64, Vec<u8>)>;

fn empty() -> MemVfs {
    let vfs = MemVfs::new();
    Log::create(&vfs, Path::new(DIR)).unwrap();
    vfs
}

fn key() -> SymmetricKey {
    SymmetricKey::from_bytes([3; 32])
}

fn open(vfs: &MemVfs, sizes: Sizes) -> Result<(SteppedLog, Replayed), OpenError> {
    let (vfs, mut seen): (Arc<dyn Vfs>, Replayed) = (Arc::new(vfs.clone()), Vec::new());
    let mut replay = |number, record: &[u8]| seen.push((number, record.to_vec()));
    let log = SteppedLog::open(vfs, Path::new(DIR), &key(), Box::new(OsRng), sizes, None, &mut replay)?;
    Ok((log, seen))
}

fn salvage(vfs: &MemVfs) -> (SteppedLog, Replayed, Vec<Damage>) {
    let (vfs, mut seen): (Arc<dyn Vfs>, Replayed) = (Arc::new(vfs.clone()), Vec::new());
    let mut replay = |number, record: &[u8]| seen.push((number, record.to_vec()));
    let (log, damage) =
        SteppedLog::salvage(vfs, Path::new(DIR), &key(), Box::new(OsRng), LARGE, &mut replay, &mut |_, _| ()).unwrap();
    (log, seen, damage)
}

fn id(n: u8) -> BodyId {
    BodyId::from_bytes([n; 16])
}

fn body(n: u8, len: usize) -> NewBody {
    NewBody::new(id(n), vec![n; len].into())
}

fn put(log: &mut SteppedLog, record: &[u8], bodies: Vec<NewBody>) -> Result<u64, CommitError> {
    log.commit(vec![(vec![record.to_vec()], bodies, Durability::Synced)]).remove(0)
}

fn compact(log: &mut SteppedLog, last: u64, state: &[u8]) {
    let mark = log.mark(last).unwrap();
    log.compact(mark, vec![state.to_vec()], &mut SeededRng::new(5)).unwrap();
}

/// The bytes of a segment; 0 where there is no such segment.
fn size(vfs: &MemVfs, number: u64) -> u64 {
    vfs.open(&segment_path(number)).map_or(0, |file| file.size().unwrap())
}

fn segment_path(number: u64) -> PathBuf {
    segment::path(&Path::new(DIR).join("log"), number)
}

fn count(vfs: &MemVfs, folder: &str) -> usize {
    vfs.list(&Path::new(DIR).join(folder)).unwrap().len()
}

/// Asserts that these numbers have a position, and that no other near them has.
fn assert_positions(log: &SteppedLog, durable: &[u64]) {
    for number in durable.iter().flat_map(|number| [number.saturating_sub(1), *number, number + 1, number + 2]) {
        assert_eq!(log.position(number).is_some(), durable.contains(&number), "{number} of {durable:?}");
    }
}

#[test]
fn exactly_the_records_that_are_durable_have_a_position() {
    let vfs = empty();
    let (mut log, _) = open(&vfs, LARGE).unwrap();
    assert_positions(&log, &[]);
    let numbers: Vec<u64> = (1..=3).map(|n| put(&mut log, &[n], vec![]).unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert_positions(&log, &numbers);
    log.close();
    let (mut log, _) = open(&vfs, LARGE).unwrap();
    assert_positions(&log, &numbers);
    // A segment without a record, which only notes a forgotten body.
    log.forget(vec![id(1)]);
    log.close();
    let (mut log, _) = open(&vfs, LARGE).unwrap();
    assert_positions(&log, &numbers);
    // Every start leaves a gap in the log numbers.
    let fourth = put(&mut log, &[4], vec![]).unwrap();
    assert_eq!(fourth, 4 + 2 * LOG_NUMBER_GAP);
    assert_positions(&log, &[1, 2, 3, fourth]);
    log.close();
    let (log, _) = open(&vfs, LARGE).unwrap();
    assert_positions(&log, &[1, 2, 3, fourth]);
    log.close();
    let (log, seen, damage) = salvage(&vfs);
    assert_eq!((seen.len(), damage), (4, vec![]));
    assert!([1, 2, 3, fourth].into_iter().all(|number| log.position(number).is_some()));
    assert!(log.position(fourth + 1).is_none());
}

#[test]
fn what_follows_a_checkpoint_at_once_keeps_its_numbers_in_every_reading() {
    let vfs = empty();
    let (mut log, _) = open(&vfs, LARGE).unwrap();
    (1..=3).for_each(|n| assert_eq!(put(&mut log, &[n], vec![]), Ok(n.into())));
    compact(&mut log, 3, b"state");
    (4..=5).for_each(|n| assert_eq!(put(&mut log, &[n], vec![]), Ok(n.into())));
    drop(log);
    let expected = [(3, b"state".to_vec()), (4, vec![4]), (5, vec![5])];
    let copy = vfs.crash(CrashMode::Kill, &mut SeededRng::new(1));
    let (mut log, seen) = open(&copy, LARGE).unwrap();
    assert_eq!(seen, expected);
    assert_positions(&log, &[3, 4, 5]);
    assert_eq!(put(&mut log, &[6], vec![]), Ok(6 + LOG_NUMBER_GAP));
    let copy = vfs.crash(CrashMode::Kill, &mut SeededRng::new(1));
    let (mut log, seen, damage) = salvage(&copy);
    assert_eq!((seen, damage), (expected.to_vec(), vec![]));
    assert_positions(&log, &[4, 5]);
    assert_eq!(put(&mut log, &[6], vec![]), Ok(6 + LOG_NUMBER_GAP));
    // Where no record follows, the number after the last one is not given twice either.
    let vfs = empty();
    let (mut log, _) = open(&vfs, LARGE).unwrap();
    assert_eq!(put(&mut log, &[1], vec![]), Ok(1));
    compact(&mut log, 1, b"state");
    drop(log);
    let (mut log, _) = open(&vfs.crash(CrashMode::Kill, &mut SeededRng::new(1)), LARGE).unwrap();
    assert_eq!(put(&mut log, &[2], vec![]), Ok(2 + LOG_NUMBER_GAP));
    let (mut log, _, _) = salvage(&vfs);
    assert_eq!(put(&mut log, &[2], vec![]), Ok(2 + LOG_NUMBER_GAP));
}

#[test]
fn a_segment_that_ends_before_the_place_of_the_checkpoint_is_damaged_where_it_ends() {
    let vfs = empty();
    let (mut log, _) = open(&vfs, LARGE).unwrap();
    (1..=3).for_each(|n| assert!(put(&mut log, &[n], vec![body(n, 100)]).is_ok()));
    let end = size(&vfs, 1) as usize;
    compact(&mut log, 3, b"state");
    drop(log);
    for left in [HEADER_BYTES, HEADER_BYTES + 1, end / 2, end - 1] {
        let copy = vfs.crash(CrashMode::Kill, &mut SeededRng::new(1));
        copy.tamper(&segment_path(1), |bytes| bytes.truncate(left)).unwrap();
        match open(&copy, LARGE).map(|_| ()) {
            Err(OpenError::Damaged { file, offset }) => assert_eq!((file, offset), (segment_path(1), left as u64)),
            other => panic!("{left} of {end}: {other:?}"),
        }
        let (_, seen, damage) = salvage(&copy);
        assert_eq!(seen, [(3, b"state".to_vec())]);
        assert_eq!(damage, [Damage::Bytes(segment_path(1), left as u64..end as u64)]);
    }
    assert_eq!(size(&vfs, 1), end as u64);
    assert_eq!(open(&vfs, LARGE).unwrap().1, [(3, b"state".to_vec())]);
}

#[test]
fn a_log_is_made_smaller_for_a_quarter_of_a_segment_and_for_no_less() {
    let vfs = empty();
    let (mut log, _) = open(&vfs, LARGE).unwrap();
    put(&mut log, b"a", vec![body(1, 900)]).unwrap();
    log.close();
    let (mut log, _) = open(&vfs, LARGE).unwrap();
    log.forget(vec![id(1)]);
    log.close();
    let wants = |segment| open(&vfs, Sizes { segment, ..LARGE }).unwrap().0.wants_compaction();
    let gain = size(&vfs, 1);
    assert!(gain > 0 && wants(gain) && wants(4 * gain));
    assert!(!wants(4 * gain + 4));
}

#[test]
fn a_log_is_made_smaller_where_more_than_so_many_segments_hold_little() {
    for (count, wanted) in [(SMALL_SEGMENTS, false), (SMALL_SEGMENTS + 1, true)] {
        let vfs = empty();
        for n in 1..=u8::try_from(count).unwrap() {
            let (mut log, _) = open(&vfs, LARGE).unwrap();
            put(&mut log, &[n], vec![body(n, 100), body(n + 100, 900)]).unwrap();
            log.close();
        }
        let (mut log, _) = open(&vfs, LARGE).unwrap();
        log.forget((101..=200).map(id).collect());
        assert_eq!(log.wants_compaction(), wanted, "{count}");
    }
}

#[test]
fn a_log_is_made_smaller_once_a_start_reads_more_than_so_many_segments() {
    let log_of = |record: usize| {
        let vfs = empty();
        let (mut log, _) = open(&vfs, LARGE).unwrap();
        put(&mut log, &vec![1; record], vec![]).unwrap();
        log.close();
        vfs
    };
    let vfs = (1000..).map(log_of).find(|vfs| size(vfs, 1).is_multiple_of(REPLAYED_SEGMENTS)).unwrap();
    let wants = |segment| open(&vfs, Sizes { segment, ..LARGE }).unwrap().0.wants_compaction();
    let most = size(&vfs, 1) / REPLAYED_SEGMENTS;
    assert!(!wants(most));
    assert!(wants(most - 1));
    // The log before the checkpoint is not read.
    let (mut log, _) = open(&vfs, Sizes { segment: most - 1, ..LARGE }).unwrap();
    let last = put(&mut log, b"x", vec![]).unwrap();
    compact(&mut log, last, b"state");
    assert!(!log.wants_compaction());
    drop(log);
    assert!(!wants(most - 1));
}

#[test]
fn bodies_of_one_transaction_share_an_end_where_it_is_the_same() {
    let text: Vec<u8> = (0..900_u32).map(|at| (at % 251) as u8).collect();
    let new = |n: u8, bytes: &[u8], shared| NewBody { shared, ..NewBody::new(id(n), bytes.to_vec().into()) };
    let end = |of: u8, from: u64| Some(SharedEnd { at: 100, of: id(of), from });
    let written = |bodies: Vec<NewBody>| {
        let vfs = empty();
        let (mut log, _) = open(&vfs, LARGE).unwrap();
        let expected: Vec<(BodyId, Vec<u8>)> = bodies.iter().map(|body| (body.id, body.bytes.to_vec())).collect();
        put(&mut log, b"r", bodies).unwrap();
        let size = size(&vfs, 1) - HEADER_BYTES as u64;
        for log in [log, open(&vfs, LARGE).unwrap().0] {
            for (id, bytes) in &expected {
                assert_eq!(&log.read_body(*id, 0..u64::MAX).unwrap(), bytes);
                assert_eq!(log.read_body(*id, 90..110).unwrap(), bytes[90..110]);
            }
        }
        size
    };
    let other: Vec<u8> = [&[7; 100], &text[100..]].concat();
    let apart = written(vec![new(1, &text, None), new(2, &other, None)]);
    let shared = written(vec![new(1, &text, None), new(2, &other, end(1, 100))]);
    assert!(shared < apart - 700, "{shared} of {apart}");
    // A body is written whole where the bytes differ, or where the other comes later or has only a beginning itself.
    for bodies in [
        vec![new(1, &text, None), new(2, &other, end(1, 99))],
        vec![new(1, &text, None), new(2, &other, end(1, 101))],
        vec![new(2, &other, end(1, 100)), new(1, &text, None)],
        vec![new(1, &text, None), new(2, &other, end(2, 100))],
        vec![new(1, &text, None), new(2, &other, Some(SharedEnd { at: 901, of: id(1), from: 901 }))],
    ] {
        assert!(written(bodies) >= apart);
    }
    let three = vec![new(1, &text, None), new(2, &other, end(1, 100)), new(3, &other, end(2, 100))];
    let whole = written(three);
    assert!(whole > shared + 900, "{whole} with {shared}");
}

#[test]
fn a_segment_is_filled_to_its_last_byte_and_what_is_larger_has_one_of_its_own() {
    let (first, second) = (vec![1; 3000], vec![2; 500]);
    let segments = |segment: u64| {
        let vfs = empty();
        let (mut log, _) = open(&vfs, Sizes { segment, ..LARGE }).unwrap();
        put(&mut log, &first, vec![]).unwrap();
        put(&mut log, &second, vec![]).unwrap();
        (count(&vfs, "log"), size(&vfs, 1))
    };
    let (_, both) = segments(LARGE.segment);
    let most = Pending::of_records(vec![second.clone()], Durability::Synced, Box::new(|_| ())).size() as u64;
    let vfs = empty();
    let (mut log, _) = open(&vfs, LARGE).unwrap();
    put(&mut log, &first, vec![]).unwrap();
    let one = size(&vfs, 1);
    assert!(one < both && both <= one + most);
    assert_eq!(segments(one + most), (1, both));
    assert_eq!(segments(one + most - 1), (2, one));
    // The second body does not fit into the segment of the first: each gets a segment of its own, and neither is
    // refused.
    assert_eq!(segments(600), (2, one));
}

#[test]
fn bodies_lie_in_the_log_up_to_their_bound_and_that_of_a_transaction() {
    let sizes = Sizes { segment: 40_000, inline_body: 1_000 };
    for (lens, files) in [
        (&[1_000][..], 0),
        (&[1_001], 1),
        (&[1_000; 10], 0),
        (&[&[1_000; 10][..], &[1]].concat(), 1),
        (&[&[1_001][..], &[1_000; 10]].concat(), 1),
        (&[0, 1_001, 1_002], 2),
    ] {
        let vfs = empty();
        let (mut log, _) = open(&vfs, sizes).unwrap();
        let bodies = (1..).zip(lens).map(|(n, len)| body(n, *len)).collect();
        put(&mut log, b"r", bodies).unwrap();
        assert_eq!(count(&vfs, "blob"), files, "{lens:?}");
        let (log, _) = open(&vfs, sizes).unwrap();
        for (n, len) in (1..).zip(lens) {
            assert_eq!(log.read_body(id(n), 0..u64::MAX).unwrap(), vec![n; *len]);
        }
    }
}

#[test]
fn a_transaction_has_so_many_bytes_of_records_and_no_more() {
    for bodies in [0, 1] {
        let fits = TRANSACTION_RECORD_BYTES - 4 - bodies * 128;
        for (len, expected) in [(fits, Ok(1)), (fits + 1, Err(CommitError::Io))] {
            let (mut log, _) = open(&empty(), LARGE).unwrap();
            assert_eq!(put(&mut log, &vec![1; len], vec![body(1, 0); bodies]), expected, "{len} and {bodies} bodies");
        }
    }
}

#[test]
fn space_is_kept_free_to_the_byte_and_counted_over_a_batch() {
    let report = NewBody { report: true, ..body(1, 500) };
    for (bodies, reserve) in [
        (vec![], DISK_FLOOR_BYTES),
        (vec![report.clone()], DISK_FLOOR_BYTES),
        (vec![body(1, 500)], DISK_RESERVE_BYTES),
        (vec![report, body(2, 500)], DISK_RESERVE_BYTES),
    ] {
        let records = || vec![vec![1; 100]];
        let pending =
            Pending { bodies: bodies.clone(), ..Pending::of_records(records(), Durability::Synced, Box::new(|_| ())) };
        let size = pending.size() as u64;
        let done = |free: u64, commits: usize| {
            let vfs = empty();
            let (mut log, _) = open(&vfs, LARGE).unwrap();
            vfs.set_free_space(free);
            log.commit(vec![(records(), bodies.clone(), Durability::Synced); commits])
        };
        assert_eq!(done(reserve + size, 1), [Ok(1)]);
        assert_eq!(done(reserve + size - 1, 1), [Err(CommitError::NoSpace)]);
        assert_eq!(done(reserve + 2 * size, 2), [Ok(1), Ok(2)]);
        assert_eq!(done(reserve + 2 * size - 1, 2), [Ok(1), Err(CommitError::NoSpace)]);
        assert_eq!(done(size - 1, 1), [Err(CommitError::NoSpace)]);
    }
}
