//! How many messages of 4 KiB the log commits per second, durably, with one and with ten writers; beside it what the same
//! disk does for bare `write` + `fdatasync`. `cargo bench --bench log [-- DIRECTORY]`; without a directory `TMPDIR`.

#![allow(clippy::print_stdout, clippy::expect_used)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use runepeer::base::{BodyId, SymmetricKey};
use runepeer::engine::io::{Durability, NewBody};
use runepeer::store::vfs::RealVfs;
use runepeer::store::{Log, OsRng};

const TIME: Duration = Duration::from_secs(4);
const BYTES: usize = 4096;

fn main() {
    let dir = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).map(PathBuf::from);
    let dir = dir.unwrap_or_else(std::env::temp_dir);
    println!("{} (state file system and mount options with every figure)", dir.display());
    for depth in [1, 10] {
        println!("bare write+fdatasync, batches of {depth:2}: {:8.0} messages/s", bare(&dir, depth));
        println!("log, {depth:2} writers:                     {:8.0} messages/s", log(&dir, depth));
    }
}

fn bare(dir: &Path, batch: usize) -> f64 {
    let root = tempfile::tempdir_in(dir).expect("the directory can be written");
    let mut file = std::fs::File::create(root.path().join("bare")).expect("a file can be made");
    let bytes = vec![7; BYTES * batch];
    let begin = Instant::now();
    let mut count = 0;
    while begin.elapsed() < TIME {
        file.write_all(&bytes).expect("the disk takes it");
        file.sync_data().expect("the disk takes it");
        count += batch;
    }
    count as f64 / begin.elapsed().as_secs_f64()
}

fn log(dir: &Path, writers: usize) -> f64 {
    let root = tempfile::tempdir_in(dir).expect("the directory can be written");
    let path = root.path().join("identity");
    Log::create(&RealVfs, &path).expect("the log can be made");
    let key = SymmetricKey::random(&mut OsRng);
    let log = Log::open(Arc::new(RealVfs), &path, &key, Box::new(OsRng), None, &mut |_, _| ()).expect("it opens");
    let bytes: Arc<[u8]> = vec![7; BYTES].into();
    let count = AtomicU64::new(0);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..writers {
            scope.spawn(|| {
                while begin.elapsed() < TIME {
                    let (sender, answer) = sync_channel(1);
                    let body = NewBody::new(BodyId::random(&mut OsRng), Arc::clone(&bytes));
                    let record = vec![0; 100];
                    let done = Box::new(move |result| sender.send(result).unwrap_or_default());
                    log.commit(vec![record], vec![body], Durability::Synced, done);
                    answer.recv().expect("it answers").expect("it commits");
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    count.load(Ordering::Relaxed) as f64 / begin.elapsed().as_secs_f64()
}
