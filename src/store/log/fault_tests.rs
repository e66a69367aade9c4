//! Every IO step of the log fails once, in every way, in every kind of crash image (docs/on-disk.md, "Crashes").
//!
//! The promises: a commit that was reported is replayed, in order, once, with the log number it was given; one that was
//! reported as failed is there whole or not at all, and after a later commit not at all; log numbers and keys are never
//! used twice; bodies read as they were committed; nothing is readable without the key.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::pending::Pending;
use super::recover::Told;
use super::segment::{FRAME_BYTES, Frame, FrameKind, HEADER_BYTES};
use super::site::Sizes;
use super::writer::Writer;
use super::{Shared, open_writer};
use crate::base::limits::INLINE_BODY_BYTES;
use crate::base::rng::SeededRng;
use crate::base::{BodyId, SymmetricKey};
use crate::engine::io::{CommitError, Durability, NewBody};
use crate::store::vfs::{CrashMode, Fault, FaultVfs, MemVfs, Plan, Vfs};
use crate::store::{Log, OpenError, ReadError};

const DIR: &str = "/identity";
const CANARY: &str = "canary-that-no-disk-may-show";

/// Log numbers and records, as a start gave them.
type Replayed = Vec<(u64, Vec<u8>)>;

fn key() -> SymmetricKey {
    SymmetricKey::from_bytes([42; 32])
}

/// What one commit asks for. `tag` distinguishes its records and bodies from those of others.
#[derive(Debug, Clone)]
struct Ask {
    tag: u32,
    records: usize,
    bodies: Vec<usize>,
    lazy: bool,
}

fn record(tag: u32, index: usize) -> Vec<u8> {
    format!("{CANARY} {tag} {index}").into_bytes()
}

fn body_id(tag: u32, index: usize) -> BodyId {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&tag.to_le_bytes());
    bytes[4] = index as u8;
    BodyId::from_bytes(bytes)
}

fn body(tag: u32, index: usize, len: usize) -> Vec<u8> {
    let text = format!("{CANARY} body {tag} {index} ").into_bytes();
    let mut bytes = text.repeat(len / text.len() + 1);
    bytes.truncate(len);
    bytes
}

type Outcomes = Arc<Mutex<Vec<(u32, Result<u64, CommitError>)>>>;

impl Ask {
    fn pending(&self, outcomes: &Outcomes) -> Pending {
        let (tag, outcomes) = (self.tag, Arc::clone(outcomes));
        let new_body =
            |(index, len): (usize, &usize)| NewBody::new(body_id(self.tag, index), body(self.tag, index, *len).into());
        Pending {
            records: (0..self.records).map(|index| record(self.tag, index)).collect(),
            bodies: self.bodies.iter().enumerate().map(new_body).collect(),
            dropped: Vec::new(),
            moved: Vec::new(),
            durability: if self.lazy { Durability::Lazy } else { Durability::Synced },
            done: Some(Box::new(move |result| outcomes.lock().unwrap().push((tag, result)))),
        }
    }
}

fn open(vfs: Arc<dyn Vfs>, seed: u64) -> Result<(Arc<Shared>, Writer, Replayed), OpenError> {
    let mut seen = Vec::new();
    let rng = Box::new(SeededRng::new(seed));
    let mut replay = |number, record: &[u8]| seen.push((number, record.to_vec()));
    let told = Told { replay: &mut replay, progress: &mut |_, _| () };
    let read = |site: &_, wrap: &_, bodies: &_| {
        let recovered = super::recover::recover(site, wrap, bodies, None, told)?;
        super::recover::tidy(site, bodies, &recovered.litter)?;
        Ok(recovered)
    };
    let (shared, writer) = open_writer(vfs, Path::new(DIR), &key(), rng, Sizes::default(), read)?;
    Ok((shared, writer, seen))
}

/// What the tests expect of a log over its whole life.
#[derive(Default)]
struct Witness {
    asks: BTreeMap<u32, Ask>,
    /// Reported as committed and synced, with the number of the first record.
    kept: BTreeMap<u32, u64>,
    /// Reported as committed, lazily: may be lost, or replayed under a higher number.
    lazy: BTreeMap<u32, u64>,
    failed: BTreeSet<u32>,
    /// Failed, and after that something was committed in a later segment.
    gone: BTreeSet<u32>,
    highest: u64,
}

impl Witness {
    fn note(&mut self, batch: &[Ask], outcomes: &Outcomes) {
        let outcomes = std::mem::take(&mut *outcomes.lock().unwrap());
        assert_eq!(
            outcomes.iter().map(|(tag, _)| *tag).collect::<Vec<_>>(),
            batch.iter().map(|ask| ask.tag).collect::<Vec<_>>()
        );
        for (ask, (tag, outcome)) in batch.iter().zip(outcomes) {
            self.asks.insert(tag, ask.clone());
            match outcome {
                Ok(first) => {
                    if ask.records > 0 {
                        assert!(first > self.highest, "log numbers only grow");
                        self.highest = first + ask.records as u64 - 1;
                    }
                    let lazy = ask.lazy && ask.bodies.is_empty();
                    if !lazy {
                        // This sync came after all lazy commits before it, and after every segment that failed.
                        self.kept.append(&mut self.lazy);
                        self.gone.append(&mut self.failed);
                    }
                    if lazy { &mut self.lazy } else { &mut self.kept }.insert(tag, first);
                }
                Err(_) => {
                    self.failed.insert(tag);
                }
            }
        }
    }

    /// Checks what a start replayed, and takes it as the truth from here on.
    fn check(&mut self, shared: &Shared, seen: &[(u64, Vec<u8>)], context: &str) {
        assert!(seen.is_sorted_by(|a, b| a.0 < b.0), "{context}: in order, once");
        let mut at: BTreeMap<u32, Vec<(u64, usize)>> = BTreeMap::new();
        for (number, bytes) in seen {
            let text = std::str::from_utf8(bytes).unwrap();
            let mut parts = text.strip_prefix(CANARY).unwrap().split_whitespace();
            let (tag, index) = (parts.next().unwrap().parse().unwrap(), parts.next().unwrap().parse().unwrap());
            at.entry(tag).or_default().push((*number, index));
        }
        for (tag, places) in &at {
            let ask = &self.asks[tag];
            let indexes: Vec<_> = places.iter().map(|(_, index)| *index).collect();
            assert_eq!(indexes, (0..ask.records).collect::<Vec<_>>(), "{context}: {tag} is whole and there once");
            assert!(places.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0), "{context}: consecutive numbers");
            assert!(!self.gone.contains(tag), "{context}: {tag} was reported as failed and came back");
        }
        for (tag, first) in &self.kept {
            let ask = &self.asks[tag];
            let Some(places) = at.get(tag) else {
                assert_eq!(ask.records, 0, "{context}: commit {tag} was acknowledged and is lost");
                continue;
            };
            let carried = ask.lazy && ask.bodies.is_empty();
            assert!(places[0].0 == *first || (carried && places[0].0 > *first), "{context}: the number of {tag}");
        }
        for (tag, ask) in &self.asks {
            let there = at.contains_key(tag) || (ask.records == 0 && self.kept.contains_key(tag));
            for (index, len) in ask.bodies.iter().enumerate() {
                let read = shared.bodies.read(body_id(*tag, index), 0..u64::MAX);
                if matches!(read, Err(ReadError::Io { .. })) {
                    continue; // the fault of this run
                }
                if there {
                    assert_eq!(read.unwrap(), body(*tag, index, *len), "{context}: body of {tag}");
                } else if ask.records > 0 {
                    assert!(matches!(read, Err(ReadError::Unknown)), "{context}: body of {tag}, which is not there");
                }
            }
        }
        // Of the uncertain commits, those that were replayed stay; the others must never be seen again.
        for tag in std::mem::take(&mut self.failed).into_iter().chain(std::mem::take(&mut self.lazy).into_keys()) {
            match at.get(&tag) {
                Some(places) => {
                    self.kept.insert(tag, places[0].0);
                }
                None => {
                    self.gone.insert(tag);
                }
            }
        }
    }
}

/// What was sealed under each nonce: (segment id, counter) → the frame.
#[derive(Default)]
struct Nonces {
    seen: BTreeMap<([u8; 16], u64), Vec<u8>>,
    before: BTreeSet<PathBuf>,
}

impl Nonces {
    fn segments(vfs: &MemVfs) -> impl Iterator<Item = (PathBuf, Vec<u8>)> {
        vfs.files().into_iter().filter(|(path, _)| path.extension().is_some_and(|end| end == "seg"))
    }

    /// A run begins. Frames that are there now may be torn, and were checked when they were written.
    fn start(&mut self, vfs: &MemVfs) {
        self.before = Self::segments(vfs).map(|(path, _)| path).collect();
    }

    fn look(&mut self, vfs: &MemVfs) {
        for (path, bytes) in Self::segments(vfs).filter(|(path, _)| !self.before.contains(path)) {
            let Some(id) = bytes.get(48..64) else { continue };
            let mut offset = HEADER_BYTES;
            while let Some(frame) = bytes.get(offset..).and_then(Frame::decode) {
                let end = offset + FRAME_BYTES + frame.len as usize;
                let Some(whole) = bytes.get(offset..end) else { break };
                if frame.kind == FrameKind::End {
                    let name = (id.try_into().unwrap(), frame.counter);
                    let first = self.seen.entry(name).or_insert_with(|| whole.to_vec());
                    assert_eq!(first, whole, "a nonce was used twice in {}", path.display());
                }
                offset = end;
            }
        }
    }
}

fn assert_sealed(vfs: &MemVfs) {
    for (path, bytes) in vfs.files() {
        let plain = bytes.windows(12).any(|window| window == &CANARY.as_bytes()[..12]);
        assert!(!plain, "{} shows what was stored", path.display());
    }
}

fn empty() -> MemVfs {
    let vfs = MemVfs::new();
    Log::create(&vfs, Path::new(DIR)).unwrap();
    vfs
}

fn ask(tag: u32, records: usize, bodies: &[usize], lazy: bool) -> Ask {
    Ask { tag, records, bodies: bodies.to_vec(), lazy }
}

/// A life in three runs: batches of commits, of all shapes.
fn life() -> Vec<Vec<Vec<Ask>>> {
    vec![
        vec![
            vec![ask(1, 2, &[], false)],
            vec![ask(2, 1, &[100, 70_000], false), ask(3, 1, &[], true), ask(4, 3, &[0], false)],
            vec![ask(5, 1, &[], true)],
            vec![ask(6, 1, &[], true), ask(7, 1, &[INLINE_BODY_BYTES + 1], false)],
            vec![ask(8, 1, &[10], false)],
        ],
        vec![
            vec![ask(11, 1, &[5000], false)],
            vec![ask(12, 1, &[], true)],
            vec![ask(13, 2, &[1], false), ask(14, 0, &[9], false)],
        ],
        vec![vec![ask(21, 1, &[], true)], vec![ask(22, 1, &[300], false)]],
    ]
}

/// Runs the life with a fault in one of its runs, crashes there, and checks every start; returns whether the fault
/// happened.
fn live(faulty_run: usize, plan: Plan, mode: CrashMode, seed: u64) -> bool {
    let context = format!("run {faulty_run}, {plan:?}, {mode:?}");
    let mut disk = empty();
    let mut witness = Witness::default();
    let mut fired = false;
    let mut nonces = Nonces::default();
    for (number, batches) in life().iter().enumerate() {
        let faulty = FaultVfs::new(Arc::new(disk.clone()), (number == faulty_run).then_some(plan));
        nonces.start(&disk);
        match open(Arc::new(faulty.clone()), seed + number as u64) {
            Ok((shared, mut writer, seen)) => {
                witness.check(&shared, &seen, &context);
                let outcomes = Outcomes::default();
                for batch in batches {
                    writer.commit(batch.iter().map(|ask| ask.pending(&outcomes)));
                    witness.note(batch, &outcomes);
                    nonces.look(&disk);
                }
                if number == 1 {
                    writer.close();
                }
            }
            Err(error) => {
                assert!(faulty.fired(), "{context}: {error}");
                assert!(matches!(error, OpenError::Io { .. }), "{context}: {error}");
            }
        }
        fired |= faulty.fired();
        disk = disk.crash(mode, &mut SeededRng::new(seed + 7));
    }
    // Twice: a start must not change what the next one finds, not even if the power goes between them.
    for _ in 0..2 {
        let (shared, _, seen) =
            open(Arc::new(disk.clone()), seed + 99).unwrap_or_else(|error| panic!("{context}: {error}"));
        witness.check(&shared, &seen, &context);
        disk = disk.crash(CrashMode::PowerCut, &mut SeededRng::new(seed));
    }
    fired
}

#[test]
fn every_io_step_may_fail_once_in_every_way() {
    let faults = [
        (Fault::Kill, false),
        (Fault::KillAfter, false),
        (Fault::Eio, false),
        (Fault::Eio, true),
        (Fault::Enospc, false),
        (Fault::Enospc, true),
        (Fault::ShortWrite, false),
    ];
    let mut total = 0;
    for run in 0..life().len() {
        for (fault, sticky) in faults {
            for mode in [CrashMode::Kill, CrashMode::PowerCut, CrashMode::Torn] {
                if mode == CrashMode::Kill && sticky {
                    continue; // the process ends here as if it were killed
                }
                let mut step = 1;
                while live(run, Plan { step, fault, sticky }, mode, step * 31) {
                    step += 1;
                    total += 1;
                    assert!(step < 10_000);
                }
                assert!(step > 10, "the faults must reach the run");
            }
        }
    }
    assert!(total > 1000, "{total}");
}

#[test]
fn nothing_on_the_disk_is_readable_without_the_key() {
    let disk = empty();
    let (_, mut writer, _) = open(Arc::new(disk.clone()), 1).unwrap();
    for batch in life().into_iter().flatten() {
        writer.commit(batch.iter().map(|ask| ask.pending(&Outcomes::default())));
    }
    writer.close();
    assert!(disk.files().len() >= 2, "a segment and a blob");
    assert_sealed(&disk);
}

#[test]
fn what_a_start_read_from_memory_is_on_the_disk_before_anything_follows_it() {
    let disk = empty();
    let outcomes = Outcomes::default();
    let (_, mut writer, _) = open(Arc::new(disk.clone()), 1).unwrap();
    writer.commit([ask(1, 1, &[], true).pending(&outcomes)]);
    let disk = disk.crash(CrashMode::Kill, &mut SeededRng::new(1));
    let (_, mut writer, seen) = open(Arc::new(disk.clone()), 2).unwrap();
    assert_eq!(seen.len(), 1, "a killed process loses nothing");
    writer.commit([ask(2, 1, &[], false).pending(&outcomes)]);
    let disk = disk.crash(CrashMode::PowerCut, &mut SeededRng::new(1));
    assert_eq!(open(Arc::new(disk), 3).unwrap().2.len(), 2);
}

#[test]
fn torn_images_of_many_kinds_recover() {
    let plan = Plan { step: u64::MAX, fault: Fault::Kill, sticky: false };
    for seed in 0..300 {
        live(0, plan, CrashMode::Torn, seed * 1000);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn any_commits_with_any_restarts(
        runs in proptest::collection::vec(
            (proptest::collection::vec(proptest::collection::vec(
                (0..4_usize, proptest::collection::vec(0..200_000_usize, 0..3), any::<bool>()), 1..4), 0..5),
             0..3_usize, any::<u64>(), any::<bool>(), 1..60_u64, any::<bool>()), 1..5)
    ) {
        let mut disk = empty();
        let mut witness = Witness::default();
        let mut tag = 0;
        for (batches, mode, seed, clean, step, fails) in runs {
            let plan = fails.then_some(Plan { step: step + 6, fault: Fault::Eio, sticky: false });
            let faulty = FaultVfs::new(Arc::new(disk.clone()), plan);
            if let Ok((shared, mut writer, seen)) = open(Arc::new(faulty), seed) {
                witness.check(&shared, &seen, "proptest");
                let outcomes = Outcomes::default();
                for batch in batches {
                    let batch: Vec<_> = batch.into_iter().map(|(records, bodies, lazy)| {
                        tag += 1;
                        Ask { tag, records, bodies, lazy }
                    }).collect();
                    writer.commit(batch.iter().map(|ask| ask.pending(&outcomes)));
                    witness.note(&batch, &outcomes);
                }
                if clean {
                    writer.close();
                }
            }
            let mode = [CrashMode::Kill, CrashMode::PowerCut, CrashMode::Torn][mode];
            disk = disk.crash(mode, &mut SeededRng::new(seed));
        }
        let (shared, _, seen) = open(Arc::new(disk), 5).unwrap();
        witness.check(&shared, &seen, "proptest");
    }
}
