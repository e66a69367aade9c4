//! Giving back space: needed files stay, the others go an hour later, and every IO step of it may fail.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::recover::frame_starts;
use super::segment::{self, FRAME_BYTES, Frame, FrameKind};
use super::site::Sizes;
use super::stepped::SteppedLog;
use crate::base::limits::{DISK_RESERVE_BYTES, OBSOLETE_KEPT};
use crate::base::rng::SeededRng;
use crate::base::{BodyId, SymmetricKey, Timestamp};
use crate::engine::io::{Durability, NewBody, SharedEnd};
use crate::store::vfs::{CrashMode, Fault, FaultVfs, MemVfs, Plan, Vfs};
use crate::store::{Log, OpenError, OsRng, ReadError};

const DIR: &str = "/alice";
const SIZES: Sizes = Sizes { segment: 40_000, inline_body: 8_000 };
const RESET: &[u8] = b"reset";

fn empty() -> MemVfs {
    let vfs = MemVfs::new();
    Log::create(&vfs, Path::new(DIR)).unwrap();
    vfs
}

fn id(n: u8) -> BodyId {
    BodyId::from_bytes([n; 16])
}

/// A message of the test: its number decides the length and the content of its body.
fn body(n: u8) -> Vec<u8> {
    let len = if n % 7 == 3 { 9_000 } else { 1_000 + usize::from(n) * 13 };
    (0..len).map(|at| (at as u8).wrapping_mul(n).wrapping_add(n)).collect()
}

/// A log and the state that its records lead to: numbers of messages.
struct Store {
    log: SteppedLog,
    /// Message → log number of its record.
    state: BTreeMap<u8, u64>,
    last: u64,
}

impl Store {
    fn open(vfs: Arc<dyn Vfs>, seed: u64) -> Result<Self, OpenError> {
        let key = SymmetricKey::from_bytes([3; 32]);
        let (mut state, mut last) = (BTreeMap::new(), 0);
        let mut replay = |number, record: &[u8]| {
            last = number;
            match record {
                RESET => state.clear(),
                [n, b'+'] => drop(state.insert(*n, number)),
                [n, b'-'] => drop(state.remove(n)),
                // A record of a checkpoint brings its own log number.
                [n, rest @ ..] => drop(state.insert(*n, u64::from_le_bytes(rest.try_into().unwrap()))),
                [] => panic!("an empty record"),
            }
        };
        let rng = Box::new(SeededRng::new(seed));
        let log = SteppedLog::open(vfs, Path::new(DIR), &key, rng, SIZES, None, &mut replay)?;
        Ok(Self { log, state, last })
    }

    fn add(&mut self, n: u8, shared: Option<SharedEnd>) -> bool {
        let body = NewBody { shared, ..NewBody::new(id(n), body(n).into()) };
        self.commit(vec![n, b'+'], vec![body], |state, number| {
            state.insert(n, number);
        })
    }

    fn remove(&mut self, n: u8) -> bool {
        let done = self.commit(vec![n, b'-'], Vec::new(), |state, _| {
            state.remove(&n);
        });
        if done {
            self.log.forget(vec![id(n)]);
        }
        done
    }

    fn commit(
        &mut self,
        record: Vec<u8>,
        bodies: Vec<NewBody>,
        apply: impl FnOnce(&mut BTreeMap<u8, u64>, u64),
    ) -> bool {
        match self.log.commit(vec![(vec![record], bodies, Durability::Synced)]).remove(0) {
            Ok(number) => {
                self.last = number;
                apply(&mut self.state, number);
                true
            }
            Err(_) => false,
        }
    }

    fn compact(&mut self) -> bool {
        let Some(mark) = self.log.mark(self.last) else { return false };
        let mut records = vec![RESET.to_vec()];
        records.extend(self.state.iter().map(|(n, number)| [&[*n][..], &number.to_le_bytes()].concat()));
        self.log.compact(mark, records, &mut SeededRng::new(5)).is_ok()
    }

    /// Everything in the state reads as it was written, and no other body can be read.
    fn check(&self, context: &str) {
        for n in self.state.keys() {
            assert_eq!(self.log.read_body(id(*n), 0..u64::MAX).unwrap(), body(*n), "{context}: message {n}");
            assert_eq!(self.log.read_body(id(*n), 7..700).unwrap(), body(*n)[7..700], "{context}: message {n}");
        }
    }
}

fn numbers(vfs: &MemVfs, end: &str) -> Vec<u64> {
    let number = |name: &str| u64::from_str_radix(name.strip_suffix(end)?, 16).ok();
    let names = vfs.list(Path::new("/alice/log")).unwrap();
    names.iter().filter_map(|name| number(name)).collect()
}

fn bytes(vfs: &MemVfs) -> usize {
    vfs.files().iter().map(|(_, bytes)| bytes.len()).sum()
}

/// A log of many segments from which most messages were removed.
fn wasteful() -> (MemVfs, Store) {
    let vfs = empty();
    let mut store = Store::open(Arc::new(vfs.clone()), 1).unwrap();
    (1..=120).for_each(|n| assert!(store.add(n, None)));
    (1..=120).filter(|n| n % 5 != 0).for_each(|n| assert!(store.remove(n)));
    (vfs, store)
}

fn later(hours: u64) -> Timestamp {
    Timestamp::from_secs(1_800_000_000).plus(std::time::Duration::from_secs(hours * 3600))
}

#[test]
fn what_is_needed_is_kept_and_the_rest_goes_after_an_hour() {
    let (vfs, mut store) = wasteful();
    let before = bytes(&vfs);
    assert!(store.log.wants_compaction());
    assert!(store.compact());
    assert!(!store.log.wants_compaction(), "once is enough");
    store.check("compacted");
    store.log.sweep(later(0));
    assert!(bytes(&vfs) > before, "whoever copies the files still finds them all");
    store.log.sweep(later(0).plus(OBSOLETE_KEPT));
    assert!(bytes(&vfs) < before / 2, "{} of {before}", bytes(&vfs));
    store.check("swept");
    assert!(store.add(200, None) && store.remove(5));
    let (state, last) = (store.state.clone(), store.last);
    drop(store);
    let mut store = Store::open(Arc::new(vfs.crash(CrashMode::PowerCut, &mut SeededRng::new(1))), 2).unwrap();
    store.check("reopened");
    assert_eq!((&store.state, store.last), (&state, last));
    assert!(store.add(201, None));
    assert!(store.state[&201] > last);
}

#[test]
fn a_segment_that_only_holds_bodies_of_others_stays_while_they_need_it() {
    let vfs = empty();
    let mut store = Store::open(Arc::new(vfs.clone()), 1).unwrap();
    assert!(store.add(1, None));
    // The same end as another body has, under another beginning.
    let mut text = b"another beginning".to_vec();
    text.extend_from_slice(&body(1)[100..]);
    let shared = Some(SharedEnd { at: 17, of: id(1), from: 100 });
    let copy = NewBody { shared, ..NewBody::new(id(2), text.clone().into()) };
    store.log.commit(vec![(vec![], vec![copy], Durability::Synced)]).remove(0).unwrap();
    let written = bytes(&vfs);
    assert!(written < 256 + 2 * body(1).len(), "the end is there once: {written}");
    store.log.forget(vec![id(1)]);
    assert!(matches!(store.log.read_body(id(1), 0..9), Err(ReadError::Unknown)));
    for _ in 0..2 {
        assert_eq!(store.log.read_body(id(2), 0..u64::MAX).unwrap(), text);
        assert_eq!(store.log.read_body(id(2), 10..30).unwrap(), text[10..30]);
        assert_eq!(store.log.read_body(id(2), 500..510).unwrap(), text[500..510]);
        (30..90).for_each(|n| assert!(store.add(n, None)));
        (30..90).for_each(|n| assert!(store.remove(n)));
        assert!(store.compact());
        store.log.sweep(later(0));
        store.log.sweep(later(2));
        drop(store);
        store = Store::open(Arc::new(vfs.clone()), 3).unwrap();
        assert_eq!(store.log.body_ids(), [id(2)]);
    }
    store.log.forget(vec![id(2)]);
    assert!(store.compact());
    drop(store);
    let store = Store::open(Arc::new(vfs.clone()), 4).unwrap();
    assert!(store.log.body_ids().is_empty());
    assert!(store.shared_bodies_are_gone());
}

impl Store {
    fn shared_bodies_are_gone(&self) -> bool {
        matches!(self.log.read_body(id(1), 0..9), Err(ReadError::Unknown))
            && matches!(self.log.read_body(id(2), 0..9), Err(ReadError::Unknown))
    }
}

#[test]
fn an_end_is_shared_only_with_what_stays() {
    let vfs = empty();
    let mut store = Store::open(Arc::new(vfs.clone()), 1).unwrap();
    assert!(store.add(1, None));
    let same = |of, from| Some(SharedEnd { at: 100, of, from });
    // Bodies whose other body has another length, does not exist, or is given up in the same commit.
    let copy = |n: u8, shared| NewBody { shared, ..NewBody::new(id(n), body(1).into()) };
    for (n, shared) in [(2, same(id(1), 90)), (3, same(id(9), 100)), (4, same(id(1), u64::MAX))] {
        store.log.commit(vec![(vec![], vec![copy(n, shared)], Durability::Synced)]).remove(0).unwrap();
        assert_eq!(store.log.read_body(id(n), 0..u64::MAX).unwrap(), body(1));
    }
    store.log.commit(vec![(vec![], vec![copy(5, same(id(1), 100))], Durability::Synced)]).remove(0).unwrap();
    store.log.forget(vec![id(1)]);
    // A hidden body is not shared again.
    store.log.commit(vec![(vec![], vec![copy(6, same(id(1), 100))], Durability::Synced)]).remove(0).unwrap();
    store.log.forget(vec![id(5)]);
    drop(store);
    let store = Store::open(Arc::new(vfs), 2).unwrap();
    assert_eq!(store.log.read_body(id(6), 0..u64::MAX).unwrap(), body(1));
    assert_eq!(store.log.body_ids().len(), 4);
}

#[test]
fn many_small_segments_become_one() {
    let vfs = empty();
    for n in 1..=40 {
        let mut store = Store::open(Arc::new(vfs.clone()), u64::from(n)).unwrap();
        assert!(store.add(n, None));
    }
    let mut store = Store::open(Arc::new(vfs.clone()), 50).unwrap();
    assert_eq!(numbers(&vfs, ".seg").len(), 40);
    assert!(store.log.wants_compaction() && store.compact());
    store.log.sweep(later(0));
    store.log.sweep(later(2));
    assert!(numbers(&vfs, ".seg").len() < 5, "{:?}", numbers(&vfs, ".seg"));
    store.check("merged");
}

#[test]
fn nothing_is_removed_while_somebody_copies_the_files() {
    let vfs = empty();
    let key = SymmetricKey::from_bytes([3; 32]);
    let log = Log::open(Arc::new(vfs.clone()), Path::new(DIR), &key, Box::new(OsRng), None, &mut |_, _| ()).unwrap();
    let put = |n: u8, len: usize| {
        let (sender, answer) = std::sync::mpsc::channel();
        let body = NewBody::new(id(n), vec![n; len].into());
        log.commit(vec![vec![n]], vec![body], Durability::Synced, Box::new(move |done| sender.send(done).unwrap()));
        answer.recv().unwrap().unwrap()
    };
    put(1, 2 << 20);
    let blobs = || vfs.files().iter().filter(|(path, _)| path.starts_with("/alice/blob")).count();
    let pin = log.contents().unwrap();
    log.forget(vec![id(1)]);
    // A commit is reported before the files that it gives up are unlinked, so the third commit waits for those of the
    // second.
    for n in 2..=4 {
        put(n, 10);
    }
    assert_eq!(blobs(), 1);
    for (path, bytes) in &pin.files {
        assert!(vfs.open(path).unwrap().size().unwrap() >= *bytes, "{}", path.display());
    }
    drop(pin);
    put(5, 10);
    put(6, 10);
    assert_eq!(blobs(), 0, "what nobody needs is still there");
}

#[test]
fn a_compaction_removes_nothing_while_somebody_copies_the_files() {
    let vfs = empty();
    let key = SymmetricKey::from_bytes([3; 32]);
    let open =
        || Log::open(Arc::new(vfs.clone()), Path::new(DIR), &key, Box::new(OsRng), None, &mut |_, _| ()).unwrap();
    let put = |log: &Log, n: u8| {
        let (sender, answer) = std::sync::mpsc::channel();
        let body = NewBody::new(id(n), vec![n; 1000].into());
        log.commit(vec![vec![n]], vec![body], Durability::Synced, Box::new(move |done| sender.send(done).unwrap()));
        answer.recv().unwrap().unwrap()
    };
    // Every start makes a segment.
    for n in 1..=4 {
        put(&open(), n);
    }
    let log = open();
    let last = put(&log, 5);
    let pin = log.contents().unwrap();
    log.forget((1..=5).map(id).collect());
    let (sender, mark) = std::sync::mpsc::channel();
    log.mark(last, move |mark| sender.send(mark).unwrap());
    log.compact(mark.recv().unwrap().unwrap(), vec![RESET.to_vec()]).unwrap();
    let there = || pin.files.iter().filter(|(path, _)| vfs.open(path).is_ok()).count();
    // As long as they are pinned, they stay even after the hour, and even where the disk is full.
    log.sweep(later(0));
    log.sweep(later(9));
    vfs.set_free_space(DISK_RESERVE_BYTES - 1);
    log.sweep(later(10));
    assert_eq!(there(), pin.files.len());
    let files = pin.files.clone();
    drop(pin);
    log.sweep(later(10));
    let left = files.iter().filter(|(path, _)| vfs.open(path).is_ok()).count();
    assert!(left < files.len() - 2, "{left} of {} are still there", files.len());
}

#[test]
fn a_disk_that_is_full_does_not_wait_an_hour() {
    let (vfs, mut store) = wasteful();
    let before = bytes(&vfs);
    vfs.set_free_space(DISK_RESERVE_BYTES - 1);
    assert!(store.compact(), "below the reserve of new mail it still works");
    store.log.sweep(later(0));
    assert!(bytes(&vfs) < before / 2);
    store.check("swept at once");
}

#[test]
fn a_damaged_checkpoint_is_passed_over_while_the_log_is_there_and_named_when_it_is_not() {
    let (vfs, mut store) = wasteful();
    assert!(store.compact());
    let state = store.state.clone();
    drop(store);
    let checkpoint = Path::new("/alice/log").join(format!("{:016x}.ckp", 1));
    for place in [20, 100, 300, 400] {
        vfs.tamper(&checkpoint, |bytes| bytes[place] ^= 1).unwrap();
        let store = Store::open(Arc::new(vfs.clone()), 2).unwrap();
        assert_eq!(store.state, state, "the log tells the same");
        store.check("without a checkpoint");
        // A file is not removed before it is known that nothing needs it.
        store.log.sweep(later(9));
        store.log.sweep(later(99));
        vfs.tamper(&checkpoint, |bytes| bytes[place] ^= 1).unwrap();
    }
    let store = Store::open(Arc::new(vfs.clone()), 3).unwrap();
    store.log.sweep(later(0));
    store.log.sweep(later(2));
    drop(store);
    vfs.tamper(&checkpoint, |bytes| bytes[400] ^= 1).unwrap();
    match Store::open(Arc::new(vfs.clone()), 4).map(|_| ()) {
        Err(OpenError::Damaged { file, .. }) => assert_eq!(file, checkpoint),
        other => panic!("{other:?}"),
    }
    vfs.tamper(&checkpoint, |bytes| bytes[400] ^= 1).unwrap();
    // A segment whose bodies a checkpoint names.
    let holding = numbers(&vfs, ".seg")[0];
    vfs.unlink(&segment::path(Path::new("/alice/log"), holding)).unwrap();
    assert!(matches!(Store::open(Arc::new(vfs), 5), Err(OpenError::Missing { .. })));
}

#[test]
fn what_a_crash_left_of_a_checkpoint_is_removed() {
    let (vfs, store) = wasteful();
    drop(store);
    vfs.create_excl(Path::new("/alice/log/tmp-0011223344556677")).unwrap().write_at(0, b"RUNECKPT").unwrap();
    let store = Store::open(Arc::new(vfs.clone()), 2).unwrap();
    store.check("reopened");
    assert!(!vfs.files().iter().any(|(path, _)| path.to_string_lossy().contains("tmp-")));
}

#[test]
fn every_io_step_of_compaction_may_fail_in_every_way() {
    let faults = [
        (Fault::Kill, false),
        (Fault::KillAfter, false),
        (Fault::Eio, false),
        (Fault::Eio, true),
        (Fault::Enospc, false),
        (Fault::Enospc, true),
        (Fault::ShortWrite, false),
    ];
    let (clean, store) = wasteful();
    drop(store);
    let mut total = 0;
    for (fault, sticky) in faults {
        for mode in [CrashMode::Kill, CrashMode::PowerCut, CrashMode::Torn] {
            for step in (1..).step_by(if sticky { 3 } else { 1 }) {
                let context = format!("{fault:?} {sticky} {mode:?} step {step}");
                let vfs = clean.crash(CrashMode::Kill, &mut SeededRng::new(1));
                let faulty = FaultVfs::new(Arc::new(vfs.clone()), Some(Plan { step, fault, sticky }));
                let mut expected = None;
                if let Ok(mut store) = Store::open(Arc::new(faulty.clone()), step) {
                    expected = Some(store.state.clone());
                    store.compact();
                    store.add(250, None);
                    store.log.sweep(later(0));
                    store.log.sweep(later(2));
                    store.remove(10);
                    expected = expected.map(|_| store.state.clone());
                }
                total += 1;
                let image = vfs.crash(mode, &mut SeededRng::new(step));
                let store = Store::open(Arc::new(image), step + 1).unwrap_or_else(|error| panic!("{context}: {error}"));
                store.check(&context);
                if let Some(expected) = expected {
                    // The commit that failed last may be there or not.
                    let differs = |n: &u8| expected.contains_key(n) != store.state.contains_key(n);
                    let mut odd = (0..=255).filter(differs);
                    assert!(odd.all(|n| faulty.fired() && [10, 250].contains(&n)), "{context}");
                }
                if !faulty.fired() {
                    break;
                }
            }
        }
    }
    assert!(total > 1000, "{total}");
}

#[test]
fn what_was_copied_into_a_segment_that_is_gone_is_found_where_it_was_before() {
    let (vfs, mut store) = wasteful();
    let before = numbers(&vfs, ".seg");
    assert!(store.compact());
    let state = store.state.clone();
    drop(store);
    for number in numbers(&vfs, ".seg").into_iter().filter(|number| !before.contains(number)) {
        vfs.unlink(&segment::path(Path::new("/alice/log"), number)).unwrap();
    }
    let log = salvaged(&vfs);
    let lost = || lost(&log, &state);
    let missed = lost();
    assert!(missed.len() > 3, "{}", missed.len());
    log.search(&missed).unwrap();
    assert_eq!(lost().len(), 0);
}

/// The log of [`wasteful`] as a repair opens it.
fn salvaged(vfs: &MemVfs) -> SteppedLog {
    let (vfs, key): (Arc<dyn Vfs>, _) = (Arc::new(vfs.clone()), SymmetricKey::from_bytes([3; 32]));
    let (rng, replay, progress) = (Box::new(OsRng), &mut |_, _: &[u8]| (), &mut |_, _| ());
    SteppedLog::salvage(vfs, Path::new(DIR), &key, rng, SIZES, replay, progress).unwrap().0
}

/// The bodies that cannot be read.
fn lost(log: &SteppedLog, state: &BTreeMap<u8, u64>) -> BTreeSet<BodyId> {
    let whole = |n: &&u8| log.read_body(id(**n), 0..u64::MAX).is_ok_and(|bytes| bytes == body(**n));
    state.keys().filter(|n| !whole(n)).map(|n| id(*n)).collect()
}

#[test]
fn a_damaged_body_is_found_in_a_copy_whose_segment_nothing_tells_of() {
    let (vfs, mut store) = wasteful();
    let before = numbers(&vfs, ".seg");
    assert!(store.compact());
    let state = store.state.clone();
    drop(store);
    // No checkpoint names the copies; the header of the new segment, where many of them are, is damaged, and so are all
    // earlier segments.
    let log = Path::new("/alice/log");
    for (path, bytes) in vfs.files().into_iter().filter(|(path, _)| path.starts_with(log)) {
        let number = path.file_name().and_then(|name| segment::number(name.to_str()?));
        let Some(number) = number else {
            vfs.unlink(&path).unwrap();
            continue;
        };
        let file = vfs.open(&path).unwrap();
        if !before.contains(&number) {
            file.write_at(100, &[0; 20]).unwrap();
            continue;
        }
        for place in frame_starts(&bytes) {
            let frame = Frame::decode(&bytes[place..]).filter(|frame| frame.kind == FrameKind::Body);
            if frame.is_some() {
                file.write_at((place + FRAME_BYTES + 9) as u64, b"damage").unwrap();
            }
        }
    }
    let log = salvaged(&vfs);
    let lost = || lost(&log, &state);
    let missed = lost();
    log.search(&missed).unwrap();
    let found = missed.len() - lost().len();
    assert!(found > 5, "{found} of {}", missed.len());
}
