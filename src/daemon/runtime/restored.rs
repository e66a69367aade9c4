//! The first start after a restore: a copy must not run beside its original (docs/on-disk.md, "Backup"). Nothing is
//! published and nobody is dialled until every onion was looked for on the network and found absent.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::supervision::Ending;
use crate::backup::NODE_MARK;
use crate::base::{IdentityId, Onion, OnionSeed};
use crate::net::{
    DialError, Isolation, Later, ListenError, Listener, Stream, Transport, TransportState, TransportStatus,
};
use crate::store::vfs::Vfs;

/// How long after an attempt without a result the next one is made.
const AGAIN: Duration = Duration::from_secs(5);
/// How long after an attempt that found nobody the next one is made.
const ONCE_MORE: Duration = Duration::from_secs(5);
/// After so many attempts that reach nobody, over a network that is ready, the onion counts as absent.
const SILENCES: u32 = 3;

/// A transport that looks for the original first.
pub(in crate::daemon) struct Cautious {
    inner: Arc<dyn Transport>,
    /// Identities whose onions are still to be looked for. While there is one, no identity is published.
    unsure: watch::Sender<BTreeSet<IdentityId>>,
    vfs: Arc<dyn Vfs>,
    mark: PathBuf,
    ending: watch::Sender<Option<Ending>>,
}

impl Cautious {
    /// The transport, with caution where this data directory was restored and did not go online since.
    pub(in crate::daemon) fn where_needed(
        inner: Arc<dyn Transport>,
        vfs: &Arc<dyn Vfs>,
        root: &Path,
        identities: impl IntoIterator<Item = IdentityId>,
        ending: &watch::Sender<Option<Ending>>,
    ) -> Arc<dyn Transport> {
        let mark = root.join(NODE_MARK);
        if vfs.open(&mark).is_err() {
            return inner;
        }
        let unsure = watch::Sender::new(identities.into_iter().collect());
        Arc::new(Self { inner, unsure, vfs: Arc::clone(vfs), mark, ending: ending.clone() })
    }

    /// Looks whether a node answers at this onion: a node that does has the onion's key.
    async fn look(&self, onion: Onion) -> Result<(), ListenError> {
        let mut silences = 0;
        loop {
            match self.inner.dial(onion, Isolation::Fresh).await {
                Ok(_) | Err(DialError::Refused) => {
                    self.ending.send_replace(Some(Ending::Original));
                    return Err(ListenError::InUse);
                }
                Err(DialError::Stopped) => return Err(ListenError::Stopped),
                Err(DialError::Unreachable | DialError::TimedOut) => {
                    if self.inner.status().borrow().state == TransportState::Ready {
                        silences += 1;
                    }
                    if silences == SILENCES {
                        return Ok(());
                    }
                    tokio::time::sleep(ONCE_MORE).await;
                }
                Err(DialError::Network | DialError::Local) => tokio::time::sleep(AGAIN).await,
            }
        }
    }

    /// Notes that this identity has no original; returns when that is known of all identities.
    async fn settle(&self, identity: IdentityId) {
        self.unsure.send_if_modified(|unsure| {
            let last = unsure.remove(&identity) && unsure.is_empty();
            if last {
                // If the mark stays, the next start looks again.
                let _ = self.vfs.unlink(&self.mark);
            }
            last
        });
        // The wait can fail only when this transport is dropped.
        let _ = self.unsure.subscribe().wait_for(BTreeSet::is_empty).await;
    }
}

impl Transport for Cautious {
    fn dial(&self, to: Onion, isolation: Isolation) -> Later<'_, Result<Box<dyn Stream>, DialError>> {
        if !self.unsure.borrow().is_empty() {
            return Box::pin(async { Err(DialError::Network) });
        }
        self.inner.dial(to, isolation)
    }

    fn threads(&self) -> Option<Handle> {
        self.inner.threads()
    }

    fn listen<'a>(&'a self, identity: IdentityId, seed: &'a OnionSeed) -> Later<'a, Result<Listener, ListenError>> {
        Box::pin(async move {
            let unsure = self.unsure.borrow().contains(&identity);
            if unsure {
                self.look(Onion::of_seed(seed)).await?;
            }
            self.settle(identity).await;
            self.inner.listen(identity, seed).await
        })
    }

    fn status(&self) -> watch::Receiver<TransportStatus> {
        self.inner.status()
    }

    fn stop(&self) -> Later<'_, ()> {
        self.inner.stop()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::base::rng::SeededRng;
    use crate::store::vfs::MemVfs;

    /// A network on which one onion is absent at once, and all others only after a minute; then the original may
    /// answer. It notes the identities that were published, and counts the dials.
    struct Network {
        quick: Onion,
        original: bool,
        published: Mutex<BTreeSet<IdentityId>>,
        dials: Mutex<u32>,
    }

    impl Transport for Network {
        fn dial(&self, to: Onion, _: Isolation) -> Later<'_, Result<Box<dyn Stream>, DialError>> {
            Box::pin(async move {
                *self.dials.lock().unwrap() += 1;
                if to == self.quick {
                    return Err(DialError::Unreachable);
                }
                tokio::time::sleep(Duration::from_secs(60)).await;
                Err(if self.original { DialError::Refused } else { DialError::TimedOut })
            })
        }

        fn listen<'a>(&'a self, identity: IdentityId, _: &'a OnionSeed) -> Later<'a, Result<Listener, ListenError>> {
            self.published.lock().unwrap().insert(identity);
            Box::pin(async { Err(ListenError::Stopped) })
        }

        fn status(&self) -> watch::Receiver<TransportStatus> {
            watch::Sender::new(TransportStatus::ready()).subscribe()
        }

        fn stop(&self) -> Later<'_, ()> {
            Box::pin(async {})
        }
    }

    /// Publishes two identities of a restored node. Returns how many were published after two minutes and in the end,
    /// whether the node ends, and whether the next start would look again.
    async fn start(original: bool) -> (usize, usize, bool, bool) {
        let mut rng = SeededRng::new(1);
        let ids = [IdentityId::random(&mut rng), IdentityId::random(&mut rng)];
        let seeds = [OnionSeed::from_bytes([1; 32]), OnionSeed::from_bytes([2; 32])];
        let (published, dials) = (Mutex::default(), Mutex::default());
        let network = Arc::new(Network { quick: Onion::of_seed(&seeds[0]), original, published, dials });
        let memory = MemVfs::new();
        memory.mkdir(Path::new("/node")).unwrap();
        memory.create_excl(&Path::new("/node").join(NODE_MARK)).unwrap();
        let vfs: Arc<dyn Vfs> = Arc::new(memory);
        let ending = watch::Sender::new(None);
        let inner: Arc<dyn Transport> = Arc::clone(&network) as _;
        let cautious = Cautious::where_needed(inner, &vfs, Path::new("/node"), ids, &ending);
        let publish = async { tokio::join!(cautious.listen(ids[0], &seeds[0]), cautious.listen(ids[1], &seeds[1])) };
        tokio::pin!(publish);
        let count = || network.published.lock().unwrap().len();
        let _ = tokio::time::timeout(Duration::from_secs(120), &mut publish).await;
        let early = count();
        assert!(matches!(cautious.dial(network.quick, Isolation::Fresh).await, Err(DialError::Network)));
        let _ = tokio::time::timeout(Duration::from_secs(300), &mut publish).await;
        if !original {
            assert_eq!(*network.dials.lock().unwrap(), 2 * SILENCES, "one attempt that finds nobody is not enough");
        }
        let looks_again = vfs.open(&Path::new("/node").join(NODE_MARK)).is_ok();
        (early, count(), ending.borrow().is_some(), looks_again)
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_published_before_every_identity_was_looked_for() {
        assert_eq!(start(false).await, (0, 2, false, false));
        assert_eq!(start(true).await, (0, 0, true, true));
    }
}
