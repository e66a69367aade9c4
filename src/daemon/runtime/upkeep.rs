//! Keeping a log small while the daemon runs: every few minutes it is checked whether that is worth it, and done on
//! threads of its own, never in the way of a commit (docs/on-disk.md, "Compaction").

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::clock::now;
use crate::base::limits;
use crate::store::{Log, LogMark};

/// When the log is due to be looked at, and whether work on it is under way.
pub(in crate::daemon) struct Upkeep {
    due: Instant,
    log: Arc<Log>,
    shared: Arc<Progress>,
}

/// The facts that the threads tell the driver.
#[derive(Default)]
struct Progress {
    /// Some work is under way.
    busy: AtomicBool,
    /// A state is needed for a checkpoint.
    wants_state: AtomicBool,
    /// A thread panicked: nothing keeps the log small any more.
    broken: Notify,
}

/// Tells when a thread of the upkeep panics.
struct Watch(Arc<Progress>);

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.broken.notify_one();
        }
    }
}

impl Upkeep {
    /// The first look is soon, later ones every few minutes.
    pub(in crate::daemon) fn new(log: Arc<Log>) -> Self {
        Self { due: Instant::now() + limits::UPKEEP / 10, log, shared: Arc::default() }
    }

    /// Looks at the log where that is due.
    pub(in crate::daemon) fn look(&mut self) {
        if Instant::now() < self.due || self.shared.busy.swap(true, Ordering::SeqCst) {
            return;
        }
        self.due = Instant::now() + limits::UPKEEP;
        let (log, shared) = (Arc::clone(&self.log), Arc::clone(&self.shared));
        tokio::task::spawn_blocking(move || {
            let _watch = Watch(Arc::clone(&shared));
            log.sweep(now());
            let wanted = log.wants_compaction();
            shared.wants_state.store(wanted, Ordering::SeqCst);
            shared.busy.store(wanted, Ordering::SeqCst);
        });
    }

    /// Returns when the upkeep cannot go on.
    pub(in crate::daemon) async fn broken(&self) {
        self.shared.broken.notified().await;
    }

    /// Whether a state is wanted. It must be the fold of everything that was committed, while no commit is under way.
    pub(in crate::daemon) fn wants_state(&self) -> bool {
        self.shared.wants_state.load(Ordering::SeqCst)
    }

    /// Continues with the state up to this record; `checkpoint` gives the records that lead to it.
    pub(in crate::daemon) fn give_state(
        &self,
        last_record: u64,
        checkpoint: impl FnOnce() -> Option<Vec<Vec<u8>>> + Send + 'static,
    ) {
        self.shared.wants_state.store(false, Ordering::SeqCst);
        let (log, shared) = (Arc::clone(&self.log), Arc::clone(&self.shared));
        let threads = Handle::current();
        self.log.mark(last_record, move |mark| {
            threads.spawn_blocking(move || {
                let _watch = Watch(Arc::clone(&shared));
                if let Some((mark, records)) = mark.zip(checkpoint()) {
                    compact(&log, mark, records);
                }
                shared.busy.store(false, Ordering::SeqCst);
            });
        });
    }
}

fn compact(log: &Log, mark: LogMark, records: Vec<Vec<u8>>) {
    match log.compact(mark, records) {
        Ok(_) => log.sweep(now()),
        Err(error) => tracing::warn!(%error, "the log could not be made smaller; it is tried again"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::base::SymmetricKey;
    use crate::store::OsRng;
    use crate::store::vfs::MemVfs;

    #[tokio::test(start_paused = true)]
    async fn a_log_is_looked_at_soon_after_a_start_and_then_now_and_then() {
        let (vfs, dir, key) = (MemVfs::new(), Path::new("/alice"), SymmetricKey::from_bytes([3; 32]));
        Log::create(&vfs, dir).unwrap();
        let log = Log::open(Arc::new(vfs), dir, &key, Box::new(OsRng), None, &mut |_, _| ()).unwrap();
        let mut upkeep = Upkeep::new(Arc::new(log));
        let soon = upkeep.due - Instant::now();
        assert_eq!(soon, limits::UPKEEP / 10);
        tokio::time::sleep(soon - Duration::from_millis(1)).await;
        let due = upkeep.due;
        upkeep.look();
        assert_eq!(upkeep.due, due, "it is not due yet");
        tokio::time::sleep(Duration::from_millis(1)).await;
        upkeep.look();
        assert_eq!(upkeep.due - Instant::now(), limits::UPKEEP);
    }
}
