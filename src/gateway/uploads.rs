//! The memory of messages that mail programs are handing over (APPEND, DATA): one bound for all gateways of a node.
//!
//! Small messages have a share of their own and never wait for large ones. A large one is taken while there is room for
//! it, in all and for its account. Where there is no room it waits, and uploads that make no progress give way: the
//! bytes that they had sent are dropped, and their programs are told to try again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep, timeout};

use crate::base::limits;

/// An upload that waits for room checks this often whether another one has stalled.
const LOOK: Duration = Duration::from_millis(500);

/// The shared memory; all clones share one state.
#[derive(Debug, Clone)]
pub struct Uploads {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// An upload without progress for this long gives way.
    stalled: Duration,
    changed: Notify,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    held: BTreeMap<u64, Held>,
}

#[derive(Debug)]
struct Held {
    account: String,
    bytes: usize,
    /// When it last moved so many bytes that they count as progress.
    progress: Instant,
    /// Bytes since then.
    moved: usize,
    leave: Option<oneshot::Sender<()>>,
}

/// Room for one message; given back when it is dropped.
#[derive(Debug)]
pub struct Upload {
    uploads: Uploads,
    number: u64,
    giving_way: oneshot::Receiver<()>,
}

impl Default for Uploads {
    fn default() -> Self {
        Self::new(limits::UPLOAD_STALL)
    }
}

impl Uploads {
    /// Memory in which an upload without progress for this long gives way to others.
    pub fn new(stalled: Duration) -> Self {
        Self { shared: Arc::new(Shared { stalled, changed: Notify::new(), state: Mutex::default() }) }
    }

    /// Reserves room for a message of this size; `None` where there was no room for too long.
    pub async fn begin(&self, account: &str, bytes: usize) -> Option<Upload> {
        let room = async {
            loop {
                let changed = self.shared.changed.notified();
                if let Some(upload) = self.enter(account, bytes) {
                    return upload;
                }
                let _ = timeout(LOOK, changed).await;
            }
        };
        tokio::select! {
            upload = room => Some(upload),
            () = sleep(limits::UPLOAD_WAIT) => None,
        }
    }

    fn enter(&self, account: &str, bytes: usize) -> Option<Upload> {
        let small = |bytes: usize| bytes <= limits::UPLOAD_SMALL_BYTES;
        let (most, most_of_account) = match small(bytes) {
            true => (limits::UPLOADS_SMALL_BYTES, limits::UPLOADS_SMALL_BYTES / 2),
            false => (limits::UPLOADS_BYTES, limits::UPLOADS_BYTES_OF_ACCOUNT),
        };
        let mut state = self.state();
        let like = |held: &&mut Held| small(held.bytes) == small(bytes);
        let (mut all, mut own) = (bytes, bytes);
        for held in state.held.values_mut().filter(like) {
            all = all.saturating_add(held.bytes);
            own = own.saturating_add(if held.account == account { held.bytes } else { 0 });
        }
        if all > most || own > most_of_account {
            let now = Instant::now();
            let in_the_way = |held: &&mut Held| {
                let stalled = now.duration_since(held.progress) >= self.shared.stalled;
                stalled && held.leave.is_some() && (own <= most_of_account || held.account == account)
            };
            let slowest = state.held.values_mut().filter(like).filter(in_the_way).min_by_key(|held| held.progress);
            if let Some(leave) = slowest.and_then(|held| held.leave.take()) {
                // The upload may have ended meanwhile.
                let _ = leave.send(());
            }
            return None;
        }
        state.next += 1;
        let number = state.next;
        let (leave, giving_way) = oneshot::channel();
        let held = Held { account: account.to_owned(), bytes, progress: Instant::now(), moved: 0, leave: Some(leave) };
        state.held.insert(number, held);
        Some(Upload { uploads: self.clone(), number, giving_way })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Upload {
    /// Notes that so many bytes of the message arrived.
    pub fn moved(&self, bytes: usize) {
        if let Some(held) = self.uploads.state().held.get_mut(&self.number) {
            held.moved = held.moved.saturating_add(bytes);
            if held.moved >= limits::UPLOAD_PROGRESS_BYTES {
                (held.moved, held.progress) = (0, Instant::now());
            }
        }
    }

    /// Notes that the whole message arrived: from now on it never gives way.
    pub fn complete(&self) {
        if let Some(held) = self.uploads.state().held.get_mut(&self.number) {
            held.leave = None;
        }
    }

    /// Returns when the upload must give way to others.
    pub async fn gives_way(&mut self) {
        if (&mut self.giving_way).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.uploads.state().held.remove(&self.number);
        self.uploads.shared.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limits::MIB;

    #[tokio::test(start_paused = true)]
    async fn small_ones_do_not_wait_for_large_ones_and_stalled_ones_give_way() {
        let uploads = Uploads::default();
        let started = Instant::now();
        let mut stalled =
            [uploads.begin("alice", 24 * MIB).await.unwrap(), uploads.begin("alice", 24 * MIB).await.unwrap()];
        for _ in 0..20 {
            drop(uploads.begin("alice", 1000).await.unwrap());
        }
        // Another account has its own share of the memory.
        let other = uploads.begin("bob", 24 * MIB).await.unwrap();
        assert_eq!(started.elapsed(), Duration::ZERO);
        let waiting = tokio::spawn({
            let uploads = uploads.clone();
            async move { uploads.begin("alice", 24 * MIB).await }
        });
        stalled[0].gives_way().await;
        assert!(started.elapsed() < limits::UPLOAD_STALL + 2 * LOOK, "{:?}", started.elapsed());
        let [first, second] = stalled;
        drop(first);
        assert!(waiting.await.unwrap().is_some());
        drop((second, other));
    }

    #[tokio::test(start_paused = true)]
    async fn what_fits_to_the_last_byte_is_taken_and_no_more() {
        let (small, half) = (limits::UPLOAD_SMALL_BYTES, limits::UPLOADS_SMALL_BYTES / 2);
        let (account, all) = (limits::UPLOADS_BYTES_OF_ACCOUNT, limits::UPLOADS_BYTES);
        let uploads = Uploads::default();
        let mut held = Vec::new();
        for _ in 0..half / small {
            held.push(uploads.enter("alice", small).unwrap());
        }
        assert!(uploads.enter("alice", 1).is_none(), "half of the room for small ones is for others");
        held.push(uploads.enter("alice", account).unwrap());
        assert!(uploads.enter("alice", small + 1).is_none());
        for _ in 0..half / small {
            held.push(uploads.enter("bob", small).unwrap());
        }
        assert!(uploads.enter("carol", 1).is_none());
        held.push(uploads.enter("bob", all - account).unwrap());
        assert!(uploads.enter("carol", small + 1).is_none());
        drop(held);
        assert!(uploads.enter("carol", account).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_has_too_much_waits_for_its_own_and_everybody_else_for_whoever_stalls_longest() {
        let second = Duration::from_secs(1);
        let is_told = |upload: &mut Upload| upload.giving_way.try_recv().is_ok();
        let uploads = Uploads::default();
        let mut of_bob = [uploads.enter("bob", 25 * MIB).unwrap(), uploads.enter("bob", 25 * MIB).unwrap()];
        sleep(second).await;
        let mut of_alice = uploads.enter("alice", 25 * MIB).unwrap();
        assert!(uploads.enter("alice", 25 * MIB).is_none());
        assert!(!of_bob.iter_mut().any(is_told) && !is_told(&mut of_alice), "nobody stalls yet");
        sleep(limits::UPLOAD_STALL).await;
        // With this upload she would have exactly what an account may have, so the oldest of all gives way.
        assert!(uploads.enter("alice", 25 * MIB).is_none());
        assert_eq!(of_bob.each_mut().map(is_told), [true, false]);
        assert!(!is_told(&mut of_alice));
        assert!(uploads.enter("alice", 25 * MIB + 1).is_none());
        assert!(is_told(&mut of_alice), "her own, where she has too much");
        assert_eq!(of_bob.each_mut().map(is_told), [false, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_makes_progress_keeps_its_room_and_one_that_drips_does_not() {
        for (bytes, stays) in [(limits::UPLOAD_PROGRESS_BYTES, true), (10, false)] {
            let uploads = Uploads::default();
            let mut first = uploads.begin("alice", 25 * MIB).await.unwrap();
            let second = uploads.begin("alice", 25 * MIB).await.unwrap();
            let waiting = tokio::spawn({
                let uploads = uploads.clone();
                async move { uploads.begin("alice", 25 * MIB).await }
            });
            let mut gave_way = false;
            for _ in 0..30 {
                first.moved(bytes);
                second.moved(limits::UPLOAD_PROGRESS_BYTES);
                gave_way |= timeout(Duration::from_secs(1), first.gives_way()).await.is_ok();
                if gave_way {
                    break;
                }
            }
            assert_eq!(gave_way, !stays);
            drop(first);
            assert!(waiting.await.unwrap().is_some());
        }
    }
}
