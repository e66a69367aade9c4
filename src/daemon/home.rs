//! What a node has on the disk: its data directory, its keys, and the cache of what its logs say.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::MutexGuard;

use super::directory::DataDir;
use super::failures::keyless;
use super::preparation::Preparation;
use super::runtime::supervision::Ending;
use crate::base::{IdentityId, SymmetricKey};
use crate::control::Failure;
use crate::store::vfs::Vfs;
use crate::store::{IdentityView, Keyring, UnlockError, View};

/// The data directory of a running node, and what opens it.
pub(super) struct Home {
    directory: DataDir,
    vfs: Arc<dyn Vfs>,
    keyring: Mutex<Keyring>,
    making: tokio::sync::Mutex<()>,
    view: View,
}

impl Home {
    /// The home of a prepared data directory; opens the cache as well.
    pub(super) fn new(preparation: Preparation, keyring: Keyring) -> Self {
        let Preparation { directory, vfs } = preparation;
        let view = View::open(&directory.path().join("view"));
        Self { directory, vfs, keyring: Mutex::new(keyring), making: tokio::sync::Mutex::default(), view }
    }

    /// Where the data directory is.
    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The file system on which it lies.
    pub(super) const fn vfs(&self) -> &Arc<dyn Vfs> {
        &self.vfs
    }

    /// Why nothing can be written there any more, if that is so.
    pub(super) fn lost(&self) -> Option<Ending> {
        self.directory.lost()
    }

    /// Whether the cache works.
    pub(super) fn view_works(&self) -> bool {
        self.view.is_on()
    }

    /// The part of the cache that belongs to an identity or to the carrier.
    pub(super) fn view(&self, id: IdentityId, key: &SymmetricKey) -> IdentityView {
        self.view.identity(id, key)
    }

    /// Drops the part of the cache that belongs to an identity, where its key is still known.
    pub(super) fn forget_view(&self, id: IdentityId) {
        if let Ok(key) = self.with_keyring(|keyring| keyring.identity_key(id)) {
            self.view.forget(id, &key);
        }
    }

    /// Does something with the keys.
    ///
    /// # Errors
    /// The failure of the keyring, in words for the user.
    pub(super) fn with_keyring<T>(
        &self,
        work: impl FnOnce(&mut Keyring) -> Result<T, UnlockError>,
    ) -> Result<T, Failure> {
        let mut keyring = self.keyring.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut keyring).map_err(|error| keyless("the keys", &error))
    }

    /// Waits for the turn to make an identity or a carrier, or to copy all of them: one after the other. While one is
    /// made, it has keys and no log, or a log and no keys.
    pub(super) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.making.lock().await
    }
}
