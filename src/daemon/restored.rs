//! The first start after a restore: a copy must not run beside its original (docs/on-disk.md, "Backup"). Until every
//! onion was looked for on the network and found absent, nothing is published and nobody is dialled.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::node::Ending;
use crate::backup::NODE_MARK;
use crate::base::{IdentityId, Onion, OnionSeed};
use crate::net::{DialError, Isolation, Later, ListenError, Listener, Stream, Transport, TransportStatus};
use crate::store::vfs::Vfs;

/// How long after an attempt without a result the next one is made.
const AGAIN: Duration = Duration::from_secs(5);
/// So many attempts without an answer are as good as a refusal.
const SILENCES: u32 = 3;

/// A transport that looks for the original first.
pub(super) struct Cautious {
    inner: Arc<dyn Transport>,
    /// Identities whose onions were not looked for.
    unsure: Mutex<BTreeSet<IdentityId>>,
    vfs: Arc<dyn Vfs>,
    mark: PathBuf,
    ending: watch::Sender<Option<Ending>>,
}

impl Cautious {
    /// The transport, with caution where this data directory was restored and did not go online since.
    pub(super) fn where_needed(
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
        let unsure = Mutex::new(identities.into_iter().collect());
        Arc::new(Self { inner, unsure, vfs: Arc::clone(vfs), mark, ending: ending.clone() })
    }

    fn unsure(&self) -> std::sync::MutexGuard<'_, BTreeSet<IdentityId>> {
        self.unsure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks whether somebody answers at this onion: whoever does has its key.
    async fn look(&self, onion: Onion) -> Result<(), ListenError> {
        let mut silences = 0;
        loop {
            match self.inner.dial(onion, Isolation::Fresh).await {
                Ok(_) | Err(DialError::Refused) => {
                    self.ending.send_replace(Some(Ending::Original));
                    return Err(ListenError::InUse);
                }
                Err(DialError::Unreachable) => return Ok(()),
                Err(DialError::Stopped) => return Err(ListenError::Stopped),
                Err(DialError::TimedOut) => {
                    silences += 1;
                    if silences == SILENCES {
                        return Ok(());
                    }
                }
                Err(DialError::Network | DialError::Local) => tokio::time::sleep(AGAIN).await,
            }
        }
    }

    fn is_sure(&self, identity: IdentityId) {
        let mut unsure = self.unsure();
        unsure.remove(&identity);
        if unsure.is_empty() {
            // If it stays, the next start looks again.
            let _ = self.vfs.unlink(&self.mark);
        }
    }
}

impl Transport for Cautious {
    fn dial(&self, to: Onion, isolation: Isolation) -> Later<'_, Result<Box<dyn Stream>, DialError>> {
        if !self.unsure().is_empty() {
            return Box::pin(async { Err(DialError::Network) });
        }
        self.inner.dial(to, isolation)
    }

    fn listen<'a>(&'a self, identity: IdentityId, seed: &'a OnionSeed) -> Later<'a, Result<Listener, ListenError>> {
        Box::pin(async move {
            let unsure = self.unsure().contains(&identity);
            if unsure {
                self.look(Onion::of_seed(seed)).await?;
                self.is_sure(identity);
            }
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
