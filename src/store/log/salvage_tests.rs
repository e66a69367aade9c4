//! A log that was damaged anywhere: the normal start names the damage, and everything else is saved.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::salvage::Damage;
use super::segment::HEADER_BYTES;
use super::site::Sizes;
use super::stepped::SteppedLog;
use crate::base::rng::SeededRng;
use crate::base::{BodyId, SymmetricKey};
use crate::engine::io::{Durability, NewBody};
use crate::store::vfs::{CrashMode, MemVfs, Vfs};
use crate::store::{Log, OpenError, OsRng};

const DIR: &str = "/alice";
const SIZES: Sizes = Sizes { segment: 8_000, inline_body: 1_500 };
const MESSAGES: u8 = 40;

fn id(n: u8) -> BodyId {
    BodyId::from_bytes([n; 16])
}

fn body(n: u8) -> Vec<u8> {
    vec![n; 200 + usize::from(n % 5) * 400]
}

/// The numbers of messages, by log number.
type State = BTreeMap<u8, u64>;

fn replay(state: &mut State) -> impl FnMut(u64, &[u8]) + '_ {
    |number, record| match record {
        [] => state.clear(),
        [n] => drop(state.insert(*n, number)),
        [n, rest @ ..] => drop(state.insert(*n, u64::from_le_bytes(rest.try_into().unwrap()))),
    }
}

fn key() -> SymmetricKey {
    SymmetricKey::from_bytes([3; 32])
}

fn open(vfs: &MemVfs) -> Result<(SteppedLog, State), OpenError> {
    let (vfs, mut state): (Arc<dyn Vfs>, State) = (Arc::new(vfs.clone()), State::new());
    let rng = Box::new(OsRng);
    let log = SteppedLog::open(vfs, Path::new(DIR), &key(), rng, SIZES, None, &mut replay(&mut state))?;
    Ok((log, state))
}

fn salvage(vfs: &MemVfs) -> (SteppedLog, State, Vec<Damage>) {
    let (vfs, mut state): (Arc<dyn Vfs>, State) = (Arc::new(vfs.clone()), State::new());
    let rng = Box::new(OsRng);
    let (log, damage) =
        SteppedLog::salvage(vfs, Path::new(DIR), &key(), rng, SIZES, &mut replay(&mut state), &mut |_, _| ()).unwrap();
    (log, state, damage)
}

fn add(log: &mut SteppedLog, state: &mut State, n: u8) -> u64 {
    let new = NewBody::new(id(n), body(n).into());
    let number = log.commit(vec![(vec![vec![n]], vec![new], Durability::Synced)])[0].unwrap();
    state.insert(n, number);
    number
}

fn compact(log: &mut SteppedLog, state: &State, last: u64) {
    let mark = log.mark(last).unwrap();
    let kept = state.iter().map(|(n, number)| [&[*n][..], &number.to_le_bytes()].concat());
    let records = [Vec::new()].into_iter().chain(kept).collect();
    log.compact(mark, records, &mut SeededRng::new(6)).unwrap();
}

/// A log of several segments, with a restart and, if asked for, a checkpoint in the middle.
fn written(with_checkpoint: bool) -> MemVfs {
    let vfs = MemVfs::new();
    Log::create(&vfs, Path::new(DIR)).unwrap();
    let (mut log, mut state) = open(&vfs).unwrap();
    for n in 1..=MESSAGES {
        let number = add(&mut log, &mut state, n);
        if n == MESSAGES / 2 {
            if with_checkpoint {
                compact(&mut log, &state, number);
            }
            log.close();
            (log, state) = open(&vfs).unwrap();
        }
    }
    log.close();
    vfs
}

/// Which messages there are, and which of them can be read.
fn readable(log: &SteppedLog, state: &State) -> Vec<u8> {
    let whole = |n: &&u8| log.read_body(id(**n), 0..u64::MAX).is_ok_and(|bytes| bytes == body(**n));
    state.keys().filter(whole).copied().collect()
}

/// After this damage, the start either works and lists everything, or names a file. In the second case at most so many
/// messages are lost, and the next start works.
fn check(vfs: &MemVfs, what: &str, most_lost: usize) {
    match open(vfs) {
        Ok((log, state)) => {
            assert_eq!(state.len(), usize::from(MESSAGES), "{what}: a message is gone in silence");
            assert!(readable(&log, &state).len() + most_lost >= state.len(), "{what}");
            return;
        }
        Err(OpenError::Damaged { .. } | OpenError::Missing { .. }) => {}
        Err(error) => panic!("{what}: {error}"),
    }
    let (mut log, mut state, damage) = salvage(vfs);
    let saved = readable(&log, &state);
    assert!(!damage.is_empty() || saved.len() < state.len(), "{what}: nothing is named");
    assert!(saved.len() + most_lost >= usize::from(MESSAGES), "{what}: {} saved", saved.len());
    log.forget(log.body_ids().into_iter().filter(|body| !saved.iter().any(|n| id(*n) == *body)).collect());
    state.retain(|n, _| saved.contains(n));
    let last = add(&mut log, &mut state, 99);
    compact(&mut log, &state, last);
    log.close();
    let (log, again) = open(vfs).unwrap_or_else(|error| panic!("{what}: repaired, and {error}"));
    assert_eq!(again, state, "{what}");
    assert_eq!(readable(&log, &again).len(), saved.len() + 1, "{what}");
}

fn files(vfs: &MemVfs) -> Vec<(PathBuf, usize)> {
    vfs.files().into_iter().map(|(path, bytes)| (path, bytes.len())).collect()
}

fn is_segment(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "seg")
}

/// How many messages lie in a file; for a checkpoint, all of those before it.
fn messages_in(path: &Path) -> usize {
    if path.extension().is_some_and(|extension| extension == "ckp") { usize::from(MESSAGES) / 2 } else { 12 }
}

#[test]
fn one_changed_byte_costs_one_message_at_most() {
    for with_checkpoint in [false, true] {
        let vfs = written(with_checkpoint);
        for (path, len) in files(&vfs) {
            for at in (0..len).step_by(53) {
                let copy = vfs.crash(CrashMode::Kill, &mut SeededRng::new(1));
                copy.tamper(&path, |bytes| bytes[at] ^= 0x10).unwrap();
                // Without a segment's header, or a part of a checkpoint, nothing in that file can be opened.
                let header = at < 124 || path.extension().is_some_and(|extension| extension == "ckp");
                let most = if header { messages_in(&path) } else { 1 };
                check(&copy, &format!("{} at {at}, checkpoint: {with_checkpoint}", path.display()), most);
            }
        }
    }
}

#[test]
fn a_file_that_is_gone_or_cut_costs_what_was_in_it() {
    for with_checkpoint in [false, true] {
        let vfs = written(with_checkpoint);
        for (path, len) in files(&vfs) {
            let what = format!("{}, checkpoint: {with_checkpoint}", path.display());
            // No file tells that the newest one is missing (docs/on-disk.md, "Start").
            let newest =
                files(&vfs).iter().filter(|(other, _)| other.extension() == path.extension()).max().unwrap().0 == path;
            if !newest {
                let copy = vfs.crash(CrashMode::Kill, &mut SeededRng::new(1));
                copy.unlink(&path).unwrap();
                check(&copy, &format!("without {what}"), messages_in(&path));
                for part in [len / 3, len / 2, len - 1] {
                    let copy = vfs.crash(CrashMode::Kill, &mut SeededRng::new(1));
                    copy.tamper(&path, |bytes| bytes.truncate(part)).unwrap();
                    check(&copy, &format!("{part} bytes of {what}"), messages_in(&path));
                }
            }
        }
    }
}

#[test]
fn the_newest_segment_keeps_the_records_whose_bodies_are_damaged_behind_them() {
    let vfs = written(false);
    let (newest, bytes) = vfs.files().into_iter().filter(|(path, _)| is_segment(path)).max().unwrap();
    let (mut kept, mut without_header) = (0, 0);
    for at in (HEADER_BYTES..bytes.len()).step_by(41) {
        let copy = vfs.crash(CrashMode::Kill, &mut SeededRng::new(1));
        copy.tamper(&newest, |bytes| bytes[at] ^= 0x10).unwrap();
        let (log, state, damage) = salvage(&copy);
        if damage.is_empty() && readable(&log, &state).len() < state.len() {
            assert_eq!(state.len(), usize::from(MESSAGES), "at {at}");
            kept += 1;
        }
        // The frame around a body was damaged: the frame with the records still counts.
        without_header += usize::from(!damage.is_empty() && state.len() == usize::from(MESSAGES));
    }
    assert!(kept > 20 && without_header > 0, "{kept} and {without_header} times");
}

#[test]
fn a_missing_segment_in_which_only_a_mark_is_is_named_and_nothing_is_removed() {
    let vfs = MemVfs::new();
    Log::create(&vfs, Path::new(DIR)).unwrap();
    let (mut log, mut state) = open(&vfs).unwrap();
    let large = NewBody::new(id(1), vec![1; 5_000].into());
    let number = log.commit(vec![(vec![vec![1]], vec![large], Durability::Synced)])[0].unwrap();
    state.insert(1, number);
    compact(&mut log, &state, number);
    log.close();
    let segments = || vfs.files().into_iter().filter(|(path, _)| is_segment(path));
    let newest = segments().max().unwrap().0;
    vfs.unlink(&newest).unwrap();
    let before: Vec<_> = vfs.files().into_iter().collect();
    let (_, _, damage) = salvage(&vfs);
    assert_eq!(damage, [Damage::Missing(newest)]);
    assert_eq!(vfs.files().into_iter().collect::<Vec<_>>(), before, "looking changes nothing");
}

#[test]
fn what_is_whole_is_read_as_the_normal_start_reads_it() {
    for with_checkpoint in [false, true] {
        let vfs = written(with_checkpoint);
        let (log, state, damage) = salvage(&vfs);
        assert_eq!(damage, []);
        assert_eq!(state, open(&vfs).unwrap().1);
        assert_eq!(readable(&log, &state).len(), usize::from(MESSAGES));
    }
}

#[test]
fn a_repair_gives_no_number_again_that_a_damaged_record_had() {
    for with_checkpoint in [false, true] {
        let vfs = written(with_checkpoint);
        let last = *open(&vfs).unwrap().1.values().max().unwrap();
        let (newest, bytes) = vfs.files().into_iter().filter(|(path, _)| is_segment(path)).max().unwrap();
        let mut unseen = 0;
        for at in (HEADER_BYTES..bytes.len()).step_by(41) {
            let copy = vfs.crash(CrashMode::Kill, &mut SeededRng::new(1));
            // Everything from here on is lost, including records whose numbers mail programs were told.
            copy.tamper(&newest, |bytes| bytes[at..].fill(0)).unwrap();
            let (mut log, mut state, _) = salvage(&copy);
            unseen += usize::from(state.values().max() < Some(&last));
            let next = add(&mut log, &mut state, 99);
            assert!(next > last, "{next} after {last}, damaged from {at} on");
        }
        assert!(unseen > 5, "{unseen}");
    }
}
