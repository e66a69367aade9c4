//! What a user of the log sees: order, laziness, positions, forgetting, full disks, and damage.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use crate::base::limits::{DISK_FLOOR_BYTES, DISK_RESERVE_BYTES, INLINE_BODY_BYTES, LOG_NUMBER_GAP, SEGMENT_BYTES};
use crate::base::rng::SeededRng;
use crate::base::{BodyId, IdentityId, SymmetricKey};
use crate::engine::io::{CommitError, Durability, NewBody};
use crate::store::vfs::{CrashMode, Fault, FaultVfs, MemVfs, Plan, RealVfs, Vfs};
use crate::store::{Completion, IdentityView, Log, LogPosition, OpenError, OsRng, ReadError, View};

const DIR: &str = "/alice";

/// Log numbers and records, as a start gave them.
type Replayed = Vec<(u64, Vec<u8>)>;

fn empty() -> MemVfs {
    let vfs = MemVfs::new();
    Log::create(&vfs, Path::new(DIR)).unwrap();
    vfs
}

fn try_open(vfs: &MemVfs, from: Option<&LogPosition>) -> Result<(Log, Replayed), OpenError> {
    let mut seen = Vec::new();
    let key = SymmetricKey::from_bytes([3; 32]);
    let mut replay = |number, record: &[u8]| seen.push((number, record.to_vec()));
    let log = Log::open(Arc::new(vfs.clone()), Path::new(DIR), &key, Box::new(OsRng), from, &mut replay)?;
    Ok((log, seen))
}

fn open(vfs: &MemVfs) -> (Log, Replayed) {
    try_open(vfs, None).unwrap()
}

type Answer = Receiver<Result<u64, CommitError>>;

fn completion() -> (Completion, Answer) {
    let (sender, receiver) = channel();
    (Box::new(move |result| sender.send(result).unwrap_or_default()), receiver)
}

fn put(log: &Log, record: &[u8], durability: Durability) -> Answer {
    let (done, answer) = completion();
    log.commit(vec![record.to_vec()], Vec::new(), durability, done);
    answer
}

fn put_body(log: &Log, id: u8, len: usize) -> Answer {
    put_new(log, id, NewBody::new(BodyId::from_bytes([id; 16]), vec![id; len].into()))
}

fn put_new(log: &Log, id: u8, body: NewBody) -> Answer {
    let (done, answer) = completion();
    log.commit(vec![vec![id]], vec![body], Durability::Synced, done);
    answer
}

fn read(log: &Log, id: u8) -> Result<Vec<u8>, ReadError> {
    log.read_body(BodyId::from_bytes([id; 16]), 0..u64::MAX)
}

fn segments(vfs: &MemVfs) -> Vec<PathBuf> {
    vfs.files().into_iter().map(|(path, _)| path).filter(|path| path.starts_with("/alice/log")).collect()
}

fn blobs(vfs: &MemVfs) -> Vec<PathBuf> {
    vfs.files().into_iter().map(|(path, _)| path).filter(|path| path.starts_with("/alice/blob")).collect()
}

#[test]
fn commits_from_many_threads_are_replayed_with_the_numbers_they_were_told() {
    let vfs = empty();
    let (log, seen) = open(&vfs);
    assert!(seen.is_empty());
    let mut told = Vec::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4_u8)
            .map(|writer| {
                let log = &log;
                scope.spawn(move || {
                    let answers: Vec<_> = (0..50_u8)
                        .map(|n| {
                            (
                                [writer, n],
                                put(log, &[writer, n], if n % 3 == 0 { Durability::Lazy } else { Durability::Synced }),
                            )
                        })
                        .collect();
                    answers
                        .into_iter()
                        .map(|(record, answer)| (answer.recv().unwrap().unwrap(), record.to_vec()))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        for thread in threads {
            let mine = thread.join().unwrap();
            assert!(mine.is_sorted(), "completions come in the order of the commits");
            told.extend(mine);
        }
    });
    told.sort();
    log.shutdown();
    assert_eq!(put(&log, b"late", Durability::Synced).recv().unwrap(), Err(CommitError::Io));
    drop(log);
    let (_, seen) = open(&vfs.crash(CrashMode::PowerCut, &mut SeededRng::new(1)));
    assert_eq!(seen, told);
}

#[test]
fn who_asks_for_the_end_of_a_log_that_has_stopped_is_told_that_there_is_none() {
    let mark = |log: &Log| {
        let (sender, answer) = channel();
        log.mark(1, move |mark| sender.send(mark.is_some()).unwrap_or_default());
        answer.recv_timeout(std::time::Duration::from_secs(20))
    };
    let (log, _) = open(&empty());
    put(&log, b"a", Durability::Synced).recv().unwrap().unwrap();
    assert_eq!(mark(&log), Ok(true));
    log.shutdown();
    assert_eq!(mark(&log), Ok(false));
    let (log, _) = open(&empty());
    let answer = put(&log, b"a", Durability::Synced);
    log.panic();
    answer.recv().unwrap().unwrap();
    // Once a commit is no longer answered, the thread has ended.
    while put(&log, b"b", Durability::Synced).recv().is_ok() {}
    assert_eq!(mark(&log), Ok(false));
}

#[test]
fn a_lazy_commit_is_synced_by_itself() {
    let vfs = empty();
    let (log, _) = open(&vfs);
    let first = put(&log, b"flag", Durability::Lazy).recv().unwrap().unwrap();
    let waited = std::time::Instant::now();
    while log.position(first).is_none() {
        assert!(waited.elapsed().as_secs() < 10, "it was never synced");
        std::thread::yield_now();
    }
    let (_, seen) = open(&vfs.crash(CrashMode::PowerCut, &mut SeededRng::new(1)));
    assert_eq!(seen, [(first, b"flag".to_vec())]);
}

#[test]
fn replay_goes_on_after_a_position_and_refuses_one_of_another_log() {
    let vfs = empty();
    let (log, _) = open(&vfs);
    let numbers: Vec<u64> = (0..3_u8).map(|n| put(&log, &[n], Durability::Synced).recv().unwrap().unwrap()).collect();
    let middle = log.position(numbers[1]).unwrap();
    assert_eq!(log.position(numbers[2] + 1), None);
    assert_eq!(log.position(0), None);
    drop(log);
    let (log, seen) = try_open(&vfs, Some(&middle)).unwrap();
    assert_eq!(seen, [(numbers[2], vec![2])]);
    assert_eq!(log.position(numbers[1]), Some(middle.clone()), "positions of before are still known");
    let next = put(&log, b"x", Durability::Synced).recv().unwrap().unwrap();
    assert!(next >= numbers[2] + LOG_NUMBER_GAP, "a start skips what a torn tail may have used");
    drop(log);

    let other = empty();
    let (log, _) = open(&other);
    (0..3_u8).for_each(|n| assert!(put(&log, &[n], Durability::Synced).recv().unwrap().is_ok()));
    drop(log);
    let mut called = false;
    let key = SymmetricKey::from_bytes([3; 32]);
    let vfs: Arc<dyn Vfs> = Arc::new(other);
    let refused = Log::open(vfs, Path::new(DIR), &key, Box::new(OsRng), Some(&middle), &mut |_, _| called = true);
    assert!(matches!(refused, Err(OpenError::UnknownPosition)));
    assert!(!called, "nothing is replayed on top of a state that is not of this log");
}

#[test]
fn parts_of_bodies_read_and_forgotten_ones_are_gone() {
    let vfs = empty();
    let (log, _) = open(&vfs);
    for (id, len) in [(1, 100_000), (2, INLINE_BODY_BYTES + 5), (3, 10)] {
        put_body(&log, id, len).recv().unwrap().unwrap();
        assert_eq!(log.body_len(BodyId::from_bytes([id; 16])), Some(len as u64));
        assert_eq!(read(&log, id).unwrap(), vec![id; len]);
        assert_eq!(log.read_body(BodyId::from_bytes([id; 16]), 5..8).unwrap(), [id; 3]);
        assert!(log.read_body(BodyId::from_bytes([id; 16]), len as u64 + 1..u64::MAX).unwrap().is_empty());
    }
    assert_eq!(blobs(&vfs).len(), 1);
    log.forget(vec![BodyId::from_bytes([1; 16]), BodyId::from_bytes([2; 16])]);
    put(&log, b"after", Durability::Synced).recv().unwrap().unwrap();
    assert!(matches!(read(&log, 2), Err(ReadError::Unknown)));
    log.shutdown();
    assert!(blobs(&vfs).is_empty(), "the file went with its body");
    assert_eq!(read(&log, 3).unwrap(), [3; 10]);
    drop(log);
    let (log, _) = open(&vfs.crash(CrashMode::PowerCut, &mut SeededRng::new(1)));
    assert_eq!(log.body_ids(), [BodyId::from_bytes([3; 16])]);
}

/// Found by the simulation: half of a header already authenticates itself, the rest of it is empty.
#[test]
fn a_header_that_was_half_written_is_no_segment() {
    let vfs = empty();
    for n in 1..=2 {
        let (log, _) = open(&vfs);
        put_body(&log, n, 10).recv().unwrap().unwrap();
        drop(log);
    }
    let newest = segments(&vfs).pop().unwrap();
    vfs.tamper(&newest, |bytes| bytes.truncate(128)).unwrap();
    let (log, records) = open(&vfs);
    assert_eq!(records.len(), 1);
    assert_eq!(read(&log, 1).unwrap(), [1; 10]);
    assert!(!segments(&vfs).contains(&newest));
}

#[test]
fn files_that_no_record_names_are_removed_at_the_start() {
    let vfs = empty();
    let (log, _) = open(&vfs);
    put_body(&log, 1, INLINE_BODY_BYTES + 1).recv().unwrap().unwrap();
    drop(log);
    vfs.create_excl(Path::new("/alice/blob/00000000000000000000000000000000")).unwrap();
    vfs.create_excl(Path::new("/alice/log/0000000000000009.seg")).unwrap().write_at(0, b"RUNE").unwrap();
    let (log, _) = open(&vfs);
    assert_eq!((blobs(&vfs).len(), segments(&vfs).len()), (1, 1));
    assert_eq!(read(&log, 1).unwrap().len(), INLINE_BODY_BYTES + 1);
}

#[test]
fn a_full_disk_refuses_mail_first_and_flags_last() {
    let vfs = empty();
    let (log, _) = open(&vfs);
    put_body(&log, 1, 10).recv().unwrap().unwrap();
    assert!(!log.disk_low(DISK_RESERVE_BYTES));
    vfs.set_free_space(DISK_RESERVE_BYTES - 1);
    assert!(log.disk_low(DISK_RESERVE_BYTES));
    assert_eq!(put_body(&log, 2, 10).recv().unwrap(), Err(CommitError::NoSpace));
    put(&log, b"expunged", Durability::Synced).recv().unwrap().unwrap();
    let report = NewBody { report: true, ..NewBody::new(BodyId::from_bytes([9; 16]), vec![9; 10].into()) };
    assert!(put_new(&log, 9, report).recv().unwrap().is_ok(), "a report may still be written");
    vfs.set_free_space(DISK_FLOOR_BYTES);
    assert_eq!(put(&log, b"flag", Durability::Lazy).recv().unwrap(), Err(CommitError::NoSpace));
    vfs.set_free_space(1 << 40);
    put_body(&log, 2, 10).recv().unwrap().unwrap();
    drop(log);
    assert_eq!(open(&vfs).1.len(), 4);
}

#[test]
fn segments_roll_over_and_the_chain_is_followed() {
    let vfs = empty();
    let (log, _) = open(&vfs);
    let count = (SEGMENT_BYTES / INLINE_BODY_BYTES as u64 + 20) as u8;
    for id in 0..count {
        put_body(&log, id, INLINE_BODY_BYTES).recv().unwrap().unwrap();
    }
    drop(log);
    let paths = segments(&vfs);
    assert_eq!(paths.len(), 2);
    assert!(vfs.files().iter().all(|(_, bytes)| bytes.len() as u64 <= SEGMENT_BYTES));
    let (log, seen) = open(&vfs.crash(CrashMode::PowerCut, &mut SeededRng::new(1)));
    assert_eq!(seen.iter().map(|(_, record)| record[0]).collect::<Vec<_>>(), (0..count).collect::<Vec<_>>());
    assert!((0..count).all(|id| read(&log, id).unwrap() == vec![id; INLINE_BODY_BYTES]));
}

/// A log of three starts, with several transactions in each.
fn three_segments() -> MemVfs {
    let vfs = empty();
    for run in 0..3_u8 {
        let (log, _) = open(&vfs);
        (0..4).for_each(|n| assert!(put_body(&log, run * 10 + n, 2000).recv().unwrap().is_ok()));
    }
    assert_eq!(segments(&vfs).len(), 3);
    vfs
}

#[test]
fn damage_before_a_durable_end_is_reported_with_the_file_and_never_skipped() {
    let (_, all) = open(&three_segments());
    for (index, _) in segments(&three_segments()).iter().enumerate() {
        let vfs = three_segments();
        let path = segments(&vfs)[index].clone();
        let size = vfs.files().iter().find(|(file, _)| *file == path).unwrap().1.len();
        for place in (0..size - 200).step_by(97) {
            let image = vfs.crash(CrashMode::Kill, &mut SeededRng::new(1));
            image.tamper(&path, |bytes| bytes[place] ^= 0x55).unwrap();
            match try_open(&image, None) {
                Err(error) => {
                    assert!(
                        matches!(&error, OpenError::Damaged { file, .. } | OpenError::Version { file } if *file == path)
                    );
                    assert!(error.to_string().contains(path.to_str().unwrap()));
                }
                // The damage is in the padding of the header, or in a body of a closed segment: all records are there,
                // and reading the body reports it.
                Ok((log, seen)) => {
                    assert_eq!(seen.len(), all.len(), "byte {place} of {}", path.display());
                    let damaged =
                        (0..32).filter(|id| matches!(read(&log, *id), Err(ReadError::Damaged { .. }))).count();
                    assert!(damaged == 1 || (124..256).contains(&place), "byte {place}: {damaged}");
                }
            }
        }
        let image = vfs.crash(CrashMode::Kill, &mut SeededRng::new(1));
        image.tamper(&path, |bytes| bytes.truncate(bytes.len() / 2)).unwrap();
        if index < 2 {
            assert!(matches!(try_open(&image, None), Err(OpenError::Damaged { .. })));
        }
        let image = vfs.crash(CrashMode::Kill, &mut SeededRng::new(1));
        image.unlink(&path).unwrap();
        if index < 2 {
            let missing = try_open(&image, None).err().unwrap();
            assert!(matches!(&missing, OpenError::Missing { file } if *file == path), "{missing}");
        }
    }
}

#[test]
fn a_failing_disk_fails_commits_and_a_recovered_one_takes_them_again() {
    let mut costly = 0;
    for step in 1.. {
        let vfs = empty();
        let faulty = FaultVfs::new(Arc::new(vfs.clone()), Some(Plan { step, fault: Fault::Eio, sticky: false }));
        let key = SymmetricKey::from_bytes([3; 32]);
        let opened = Log::open(Arc::new(faulty.clone()), Path::new(DIR), &key, Box::new(OsRng), None, &mut |_, _| ());
        let Ok(log) = opened else { continue };
        let answers: Vec<_> = (0..6_u8).map(|n| put(&log, &[n], Durability::Synced).recv().unwrap()).collect();
        drop(log);
        let failed = answers.iter().filter(|answer| answer.is_err()).count();
        assert!(failed <= 1, "one failure costs what was in it: {answers:?}");
        costly += failed;
        let (_, seen) = open(&vfs);
        // The commit that failed last may be there: nothing was committed after it.
        assert!(seen.len() == 6 - failed || (answers[5].is_err() && seen.len() == 6), "step {step}: {answers:?}");
        if !faulty.fired() {
            break;
        }
    }
    assert!(costly > 12, "each write and each sync: {costly}");
}

#[test]
fn a_lazy_commit_that_was_reported_survives_a_failed_sync() {
    let mut step = 1;
    loop {
        let vfs = empty();
        let faulty = FaultVfs::new(Arc::new(vfs.clone()), Some(Plan { step, fault: Fault::Eio, sticky: false }));
        let key = SymmetricKey::from_bytes([3; 32]);
        let opened = Log::open(Arc::new(faulty.clone()), Path::new(DIR), &key, Box::new(OsRng), None, &mut |_, _| ());
        if let Ok(log) = opened {
            let lazy = put(&log, b"flag", Durability::Lazy).recv().unwrap();
            let _ = put(&log, b"mail", Durability::Synced).recv().unwrap();
            drop(log);
            let (_, seen) = open(&vfs.crash(CrashMode::PowerCut, &mut SeededRng::new(1)));
            let there = seen.iter().filter(|(_, record)| record == b"flag").count();
            assert_eq!(there, usize::from(lazy.is_ok()), "step {step}: {seen:?}");
        }
        if !faulty.fired() {
            break;
        }
        step += 1;
    }
    assert!(step > 8);
}

/// The fold of a log as a node computes it at a start: from the view where that fits the log, else from the beginning.
fn fold(root: &Path, key: &SymmetricKey) -> (Log, View, IdentityView, Vec<u64>) {
    let view = View::open(&root.join("view"));
    let mine = view.identity(IdentityId::from_bytes([1; 16]), key);
    let numbers = |state: Vec<u8>| -> Vec<u64> { postcard::from_bytes(&state).unwrap() };
    let (position, mut state) = mine.load_state().map_or((None, Vec::new()), |(at, state)| (Some(at), numbers(state)));
    let open = |from: Option<&LogPosition>, state: &mut Vec<u64>| {
        Log::open(Arc::new(RealVfs), &root.join("alice"), key, Box::new(OsRng), from, &mut |number, _| {
            state.push(number)
        })
    };
    let log = match open(position.as_ref(), &mut state) {
        Err(OpenError::UnknownPosition) => {
            state.clear();
            open(None, &mut state)
        }
        other => other,
    };
    (log.unwrap(), view, mine, state)
}

#[test]
fn on_a_real_disk_deleting_the_view_changes_nothing_and_one_of_another_log_is_not_believed() {
    let root = tempfile::tempdir().unwrap();
    let key = SymmetricKey::from_bytes([3; 32]);
    let mut told = Vec::new();
    for run in 0..6_u8 {
        if run == 0 || run == 4 {
            // A backup from before the first commit is restored, but the view stays.
            let _ = std::fs::remove_dir_all(root.path().join("alice"));
            Log::create(&RealVfs, &root.path().join("alice")).unwrap();
            told.clear();
        }
        if run == 2 {
            std::fs::remove_dir_all(root.path().join("view")).unwrap();
        }
        let (log, view, mine, mut state) = fold(root.path(), &key);
        assert_eq!(state, told, "run {run}");
        for n in 0..5_u8 {
            let number = put(&log, &[run, n], Durability::Synced).recv().unwrap().unwrap();
            state.push(number);
            told.push(number);
            if n == 2 {
                mine.save_state(&log.position(number).unwrap(), &postcard::to_stdvec(&state).unwrap());
            }
        }
        mine.flush();
        drop((log, mine, view));
    }
    let mode = |path: &Path| std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(path).unwrap()) & 0o777;
    for entry in std::fs::read_dir(root.path().join("alice/log")).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
    assert_eq!((mode(&root.path().join("alice")), mode(&root.path().join("view"))), (0o700, 0o700));
}

#[test]
fn nothing_is_reported_as_committed_into_a_file_that_nobody_finds_again() {
    let lose: [fn(&Path); 3] = [
        |data| std::fs::remove_dir_all(data).unwrap(),
        |data| std::fs::rename(data, data.with_extension("moved")).unwrap(),
        |data| {
            // Another directory with the same names is in its place.
            std::fs::rename(data, data.with_extension("moved")).unwrap();
            Log::create(&RealVfs, data).unwrap();
            std::fs::copy(
                data.with_extension("moved").join("log/0000000000000001.seg"),
                data.join("log/0000000000000001.seg"),
            )
            .unwrap();
        },
    ];
    for lose in lose {
        let parent = tempfile::tempdir().unwrap();
        let data = parent.path().join("alice");
        Log::create(&RealVfs, &data).unwrap();
        let key = SymmetricKey::from_bytes([3; 32]);
        let log = Log::open(Arc::new(RealVfs), &data, &key, Box::new(OsRng), None, &mut |_, _| ()).unwrap();
        put(&log, b"one", Durability::Synced).recv().unwrap().unwrap();
        assert!(!log.is_gone());
        lose(&data);
        put(&log, b"two", Durability::Synced).recv().unwrap().unwrap_err();
        assert!(log.is_gone());
        put(&log, b"three", Durability::Synced).recv().unwrap().unwrap_err();
        let left = std::fs::read_dir(data.join("log")).map_or(0, Iterator::count);
        assert!(left <= 1, "nothing is written into what took its place");
    }
}

#[test]
fn a_segment_of_a_later_version_is_called_that_and_stays() {
    let vfs = empty();
    let (log, _) = open(&vfs);
    put(&log, b"one", Durability::Synced).recv().unwrap().unwrap();
    drop(log);
    let path = segments(&vfs).remove(0);
    // A later version authenticates its version number too; a number that was only changed is damage.
    vfs.tamper(&path, |bytes| bytes[8] = 2).unwrap();
    assert!(matches!(try_open(&vfs, None), Err(OpenError::Damaged { .. })));
    vfs.tamper(&path, |bytes| bytes[70] ^= 1).unwrap();
    assert!(matches!(try_open(&vfs, None), Err(OpenError::Version { .. })));
    // The same where nothing follows the header yet.
    vfs.tamper(&path, |bytes| bytes.truncate(256)).unwrap();
    assert!(matches!(try_open(&vfs, None), Err(OpenError::Version { .. })));
    assert_eq!(segments(&vfs), [path]);
}
