//! A log whose files were changed: what a start takes from it is what was written, in order, with nothing left out in the
//! middle; what is salvaged from it is a part of what was written; a body is read as it was, or not at all.
#![no_main]

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use libfuzzer_sys::fuzz_target;
use runepeer::base::rng::SeededRng;
use runepeer::base::{BodyId, SymmetricKey};
use runepeer::engine::io::{Durability, NewBody};
use runepeer::store::vfs::{CrashMode, MemVfs, Vfs};
use runepeer::store::{Log, OsRng, Sizes, SteppedLog};

const DIR: &str = "/alice";
const SIZES: Sizes = Sizes { segment: 4_000, inline_body: 1_500 };
const MESSAGES: u8 = 20;

fn key() -> SymmetricKey {
    SymmetricKey::from_bytes([3; 32])
}

fn body(number: u8) -> Vec<u8> {
    vec![number; 100 + usize::from(number % 5) * 500]
}

/// A log with a checkpoint in its middle, and its files.
fn written() -> &'static (MemVfs, Vec<PathBuf>) {
    static WRITTEN: OnceLock<(MemVfs, Vec<PathBuf>)> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        let vfs = MemVfs::new();
        Log::create(&vfs, Path::new(DIR)).expect("a log");
        let disk: Arc<dyn Vfs> = Arc::new(vfs.clone());
        let rng = Box::new(SeededRng::new(1));
        let mut log = SteppedLog::open(disk, Path::new(DIR), &key(), rng, SIZES, None, &mut |_, _| ()).expect("a log");
        for number in 0..MESSAGES {
            let new = NewBody::new(BodyId::from_bytes([number; 16]), body(number).into());
            let outcome = log.commit(vec![(vec![vec![number]], vec![new], Durability::Synced)]).remove(0);
            if number == MESSAGES / 2 {
                let mark = log.mark(outcome.expect("a commit")).expect("a mark");
                let records = (0..=number).map(|number| vec![number]).collect();
                log.compact(mark, records, &mut SeededRng::new(2)).expect("a checkpoint");
            }
        }
        log.close();
        let files = vfs.files().into_iter().map(|(path, _)| path).collect();
        (vfs, files)
    })
}

/// What is done to a file: which, where, what is written there, and whether it ends there.
type Change<'a> = (u8, u16, bool, &'a [u8]);

fuzz_target!(|changes: Vec<Change<'_>>| {
    let (vfs, files) = written();
    let vfs = vfs.crash(CrashMode::Kill, &mut SeededRng::new(0));
    for (file, at, ends, bytes) in changes {
        let path = &files[usize::from(file) % files.len()];
        let changed = vfs.tamper(path, |content| {
            let at = usize::from(at) % (content.len() + 1);
            content.iter_mut().skip(at).zip(bytes).for_each(|(to, from)| *to = *from);
            if ends {
                content.truncate(at);
            }
        });
        changed.expect("the file");
    }
    let salvaged = vfs.crash(CrashMode::Kill, &mut SeededRng::new(0));

    let mut records = Vec::new();
    let mut replay = |_, record: &[u8]| records.push(record.to_vec());
    let disk: Arc<dyn Vfs> = Arc::new(vfs);
    if let Ok(log) = SteppedLog::open(disk, Path::new(DIR), &key(), Box::new(OsRng), SIZES, None, &mut replay) {
        assert!(records.iter().enumerate().all(|(index, record)| *record == [index as u8]), "{records:?}");
        read(&log);
    }
    let mut records = Vec::new();
    let mut replay = |_, record: &[u8]| records.push(record.to_vec());
    let disk: Arc<dyn Vfs> = Arc::new(salvaged);
    let rng = Box::new(OsRng);
    if let Ok((log, _)) = SteppedLog::salvage(disk, Path::new(DIR), &key(), rng, SIZES, &mut replay, &mut |_, _| ()) {
        assert!(records.iter().all(|record| record.len() == 1 && record[0] < MESSAGES), "{records:?}");
        assert!(records.is_sorted(), "{records:?}");
        read(&log);
    }
});

fn read(log: &SteppedLog) {
    for id in log.body_ids() {
        if let Ok(bytes) = log.read_body(id, 0..u64::MAX) {
            assert!((0..MESSAGES).any(|number| BodyId::from_bytes([number; 16]) == id && body(number) == bytes));
        }
    }
}
