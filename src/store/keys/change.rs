//! Another passphrase for a node, or its first one, or none: the node key stays and is wrapped anew
//! (docs/on-disk.md, "Another passphrase").

use std::io;
use std::path::Path;
use std::sync::PoisonError;

use super::{KEY_FILE, Keyring, NODE, Passphrase, SymmetricKey, UnlockError, Wrap, key_file, locked, wrapped};
use crate::store::vfs::{Vfs, replace_durably};

impl Keyring {
    /// Locks the node with this passphrase; without one, a key file opens it from now on. A crash at any step leaves a
    /// node that opens as before, or as it will.
    ///
    /// # Errors
    /// Errors of the disk, after which it is not known which of the two opens the node.
    pub fn change_passphrase(&mut self, passphrase: Option<&Passphrase>) -> Result<(), UnlockError> {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        let (vfs, rng) = (&*self.vfs, &mut **rng);
        let bytes = if let Some(passphrase) = passphrase {
            locked(&self.node, passphrase, rng)?
        } else {
            if !self.protected {
                return Ok(());
            }
            let key = SymmetricKey::random(rng);
            // A key file that is there was left by a change that a crash ended, and opens nothing.
            replace_durably(vfs, &self.dir.join(KEY_FILE), &key_file(&key), rng)?;
            wrapped(Wrap::KeyFile, &key, &self.node, rng)
        };
        replace_durably(vfs, &self.dir.join(NODE), &bytes, rng)?;
        self.protected = passphrase.is_some();
        if self.protected { Ok(remove_key_file(vfs, &self.dir)?) } else { Ok(()) }
    }
}

/// Removes the key file of a node that a passphrase opened: it opens nothing any more.
pub(super) fn remove_key_file(vfs: &dyn Vfs, dir: &Path) -> io::Result<()> {
    if !vfs.list(dir)?.iter().any(|name| name == KEY_FILE) {
        return Ok(());
    }
    match vfs.unlink(&dir.join(KEY_FILE)) {
        // A command that only reads leaves it where it is.
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => Ok(()),
        Err(error) => Err(error),
        Ok(()) => vfs.sync_dir(dir),
    }
}
