//! A large body whose file was changed, read at any place: as it was, or not at all.
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
const SIZES: Sizes = Sizes { segment: 1 << 20, inline_body: 6_000 };
const BODY: BodyId = BodyId::from_bytes([1; 16]);

fn key() -> SymmetricKey {
    SymmetricKey::from_bytes([3; 32])
}

fn body() -> Vec<u8> {
    (0..150_000_u32).map(|at| (at / 7) as u8).collect()
}

fn open(vfs: MemVfs) -> SteppedLog {
    let (disk, rng): (Arc<dyn Vfs>, _) = (Arc::new(vfs), Box::new(OsRng));
    SteppedLog::open(disk, Path::new(DIR), &key(), rng, SIZES, None, &mut |_, _| ()).expect("a log")
}

fn written() -> &'static (MemVfs, PathBuf) {
    static WRITTEN: OnceLock<(MemVfs, PathBuf)> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        let vfs = MemVfs::new();
        Log::create(&vfs, Path::new(DIR)).expect("a log");
        let mut log = open(vfs.clone());
        let outcome = log.commit(vec![(vec![vec![1]], vec![NewBody::new(BODY, body().into())], Durability::Synced)]);
        assert!(outcome.iter().all(Result::is_ok));
        log.close();
        let files = vfs.files().into_iter().map(|(path, _)| path);
        let blob = files.into_iter().find(|path| path.starts_with("/alice/blob")).expect("a file of its own");
        (vfs, blob)
    })
}

fuzz_target!(|input: (u32, u32, Vec<(u32, bool, &[u8])>)| {
    let (start, len, changes) = input;
    let (vfs, blob) = written();
    let vfs = vfs.crash(CrashMode::Kill, &mut SeededRng::new(0));
    let log = open(vfs.clone());
    for (at, ends, bytes) in changes {
        let changed = vfs.tamper(blob, |content| {
            let at = at as usize % (content.len() + 1);
            content.iter_mut().skip(at).zip(bytes).for_each(|(to, from)| *to = *from);
            if ends {
                content.truncate(at);
            }
        });
        changed.expect("the file");
    }
    let body = body();
    let (start, len) = (start as usize % (body.len() * 2), len as usize % (body.len() * 2));
    if let Ok(read) = log.read_body(BODY, start as u64..(start + len) as u64) {
        assert_eq!(read, body[start.min(body.len())..(start + len).min(body.len())]);
    }
});
