//! A data directory before its daemon runs: taken, looked at, and unlocked.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::directory::DataDir;
use super::failures::{broken, keyless};
use super::first_start;
use super::hosts::identity::complete_removals;
use crate::backup;
use crate::control::{Code, Failure};
use crate::store::vfs::{ReadOnlyVfs, RealVfs, Vfs};
use crate::store::{Keyring, OsRng, Passphrase, UnlockError, failed_first_start};

/// A data directory that this process holds, before its daemon runs.
pub struct Preparation {
    pub(super) directory: DataDir,
    pub(super) vfs: Arc<dyn Vfs>,
}

impl Preparation {
    /// Takes the data directory, and makes it where it is missing. Where a part of a node is missing, nothing is
    /// changed. What a first start left that came to no identity and no carrier is removed, and so is what is left of an
    /// identity whose removal had begun.
    ///
    /// # Errors
    /// See [`DataDir::open`]; [`Code::Failed`] where a part of the node is missing.
    pub fn open(data: &Path) -> Result<Self, Failure> {
        // Checked before the lock is taken: the lock file may be the missing part, and would be made.
        backup::check_whole(&RealVfs, data)?;
        let directory = DataDir::open(data)?;
        backup::check_whole(&RealVfs, directory.path())?;
        first_start::clear(&RealVfs, directory.path())?;
        complete_removals(&RealVfs, directory.path())?;
        directory.note_process()?;
        Ok(Self { directory, vfs: Arc::new(RealVfs) })
    }

    /// Takes a data directory that has a node, to look at it. Nothing in it can be changed through the value that is
    /// returned.
    ///
    /// # Errors
    /// As of [`Self::open`]; [`Code::NotFound`] where there is no node.
    pub fn open_to_read(data: &Path) -> Result<Self, Failure> {
        let vfs: Arc<dyn Vfs> = Arc::new(ReadOnlyVfs(Arc::new(RealVfs)));
        let none = || {
            Failure::new(Code::NotFound, format!("there is no node in {}", data.display()))
                .hint("say where it is with --data-dir")
        };
        if !data.exists() {
            return Err(none());
        }
        let directory = DataDir::open_to_read(data)?;
        backup::check_whole(&*vfs, directory.path())?;
        let preparation = Self { directory, vfs };
        let unfinished = failed_first_start(&*preparation.vfs, preparation.root());
        let is_unfinished = unfinished.map_err(|error| broken("the data directory cannot be read", error))?.is_some();
        if preparation.is_initialised()? && !is_unfinished { Ok(preparation) } else { Err(none()) }
    }

    /// The same for a command that changes a node but makes none.
    ///
    /// # Errors
    /// As of [`Self::open_to_read`].
    pub fn open_existing(data: &Path) -> Result<Self, Failure> {
        drop(Self::open_to_read(data)?);
        Self::open(data)
    }

    /// Where the data directory is.
    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    pub(super) fn keys(&self) -> PathBuf {
        self.root().join("keys")
    }

    /// Whether the node's key was made here.
    ///
    /// # Errors
    /// [`Code::Failed`] where the directory cannot be read.
    pub fn is_initialised(&self) -> Result<bool, Failure> {
        Keyring::is_initialised(&*self.vfs, &self.keys()).map_err(|error| broken("the keys", error))
    }

    /// Whether an identity was made here.
    ///
    /// # Errors
    /// [`Code::Failed`] where the directory cannot be read.
    pub fn has_identity(&self) -> Result<bool, Failure> {
        Keyring::has_identity(&*self.vfs, &self.keys()).map_err(|error| broken("the keys", error))
    }

    /// Whether a carrier was made here.
    ///
    /// # Errors
    /// [`Code::Failed`] where the directory cannot be read.
    pub fn has_carrier(&self) -> Result<bool, Failure> {
        Keyring::has_carrier(&*self.vfs, &self.keys()).map_err(|error| broken("the keys", error))
    }

    /// Whether a passphrase locks the keys.
    ///
    /// # Errors
    /// [`Code::Failed`] where the keys cannot be read.
    pub fn needs_passphrase(&self) -> Result<bool, Failure> {
        Keyring::is_passphrase_protected(&*self.vfs, &self.keys()).map_err(|error| keyless("the keys", &error))
    }

    /// Whether a backup was restored here, and the node was not online since.
    pub fn is_restored(&self) -> bool {
        self.vfs.open(&self.root().join(backup::NODE_MARK)).is_ok()
    }

    /// The keys of a node that exists.
    ///
    /// # Errors
    /// [`Code::NeedsUnlock`] where the passphrase is wrong or missing, [`Code::Usage`] where one is given and none is
    /// needed, [`Code::Failed`] where the keys cannot be read.
    pub fn unlock(&self, passphrase: Option<Zeroizing<String>>) -> Result<Keyring, Failure> {
        unlock(self, passphrase, keyless)
    }

    /// Locks the keys with this passphrase; without one, with a key file beside them, which protects nothing.
    ///
    /// # Errors
    /// [`Code::Failed`] where the disk fails; then either passphrase may be the one that opens the keys.
    pub fn change_passphrase(&self, keyring: &mut Keyring, new: Option<&Passphrase>) -> Result<(), Failure> {
        keyring.change_passphrase(new).map_err(|error| {
            broken("the disk failed while the keys were locked anew", error)
                .hint("nothing is lost: the keys open as before or as wanted. Try both, then change it again")
        })
    }
}

fn wrong_passphrase() -> Failure {
    Failure::new(Code::NeedsUnlock, "the passphrase is wrong; nothing was changed")
}

/// The keys of a node that exists. An error is turned into a failure by `told`: [`keyless`] or a function like it.
pub(super) fn unlock(
    preparation: &Preparation,
    passphrase: Option<Zeroizing<String>>,
    told: fn(&str, &UnlockError) -> Failure,
) -> Result<Keyring, Failure> {
    let (vfs, keys) = (Arc::clone(&preparation.vfs), preparation.keys());
    let passphrase = passphrase.map(|text| Passphrase::new(text.to_string()));
    let is_locked = || Keyring::is_passphrase_protected(&*vfs, &keys).map_err(|error| told("the keys", &error));
    if passphrase.is_some() && !is_locked()? {
        return Err(Failure::new(Code::Usage, "this data directory is without a passphrase, and one was given")
            .hint("start without it; or lock the directory with one first: runepeer passphrase add"));
    }
    Keyring::unlock(Arc::clone(&vfs), &keys, passphrase.as_ref(), Box::new(OsRng)).map_err(|error| match error {
        UnlockError::WrongPassphrase if preparation.is_restored() => wrong_passphrase().hint(
            "this node was restored from a backup: it opens with the passphrase that it had when the backup was made, \
             and not with the passphrase of the backup",
        ),
        UnlockError::WrongPassphrase => wrong_passphrase().hint(
            "it is the one that `runepeer up` was given in this data directory, and not that of a backup. Look at the \
             keyboard's layout and capital letters, or, where a file was given, at its first line. A passphrase that is \
             lost cannot be recovered",
        ),
        UnlockError::NeedsPassphrase => {
            Failure::new(Code::NeedsUnlock, "this data directory is locked with a passphrase")
                .hint("give it with --passphrase-file FILE, or start on a terminal")
        }
        error => told("the keys cannot be opened", &error),
    })
}
