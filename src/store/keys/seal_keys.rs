//! The encryption keys of an identity, in a file of their own: it is written anew where one is made or destroyed, so that
//! no copy of a destroyed key stays behind (docs/on-disk.md, "Encryption keys").

use std::io;
use std::path::PathBuf;
use std::sync::PoisonError;

use zeroize::Zeroizing;

use super::{
    FILE_BYTES, HEADER_BYTES, Keyring, SEAL_KEYS_MAGIC, UnlockError, checked, header, identity_aad, unchecked,
};
use crate::base::IdentityId;
use crate::store::crypt::Sealer;
use crate::store::vfs::{read_small, replace_durably};

/// The end of the file's name, after the id of its identity.
pub const SEAL_KEYS: &str = ".seal";

impl Keyring {
    fn seal_keys_file(&self, id: IdentityId) -> PathBuf {
        self.dir.join(format!("{id}{SEAL_KEYS}"))
    }

    /// Keeps these encryption keys of an identity in the place of those that were kept before. When this returns, the
    /// others are gone from the file, as far as the file system overwrites what it gives up.
    ///
    /// # Errors
    /// Errors of the disk, after which the file is the one of before, or the new one.
    pub fn put_seal_keys(&self, id: IdentityId, keys: &[u8]) -> Result<(), UnlockError> {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = header(SEAL_KEYS_MAGIC);
        let sealed = Sealer::new(&self.node).seal_value(&identity_aad(&bytes, id), keys, &mut **rng);
        bytes.extend_from_slice(&sealed);
        Ok(replace_durably(&*self.vfs, &self.seal_keys_file(id), &checked(bytes), &mut **rng)?)
    }

    /// Erases files of encryption keys that belong to no identity: a crash left them while one was made or removed.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn erase_orphans(&self) -> Result<(), UnlockError> {
        let names = self.vfs.list(&self.dir)?;
        let is_orphan = |name: &&String| {
            let identity = name.strip_suffix(SEAL_KEYS).filter(|id| id.parse::<IdentityId>().is_ok());
            identity.is_some_and(|id| !names.iter().any(|known| known == id))
        };
        for name in names.iter().filter(is_orphan) {
            self.vfs.erase(&self.dir.join(name))?;
        }
        Ok(())
    }

    /// The encryption keys of an identity; empty where it has no such file, as identities of earlier versions.
    ///
    /// # Errors
    /// [`UnlockError::Damaged`], [`UnlockError::Foreign`], [`UnlockError::Version`], and errors of the disk.
    pub fn seal_keys(&self, id: IdentityId) -> Result<Zeroizing<Vec<u8>>, UnlockError> {
        let file = self.seal_keys_file(id);
        let bytes = match read_small(&*self.vfs, &file, FILE_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Zeroizing::default()),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(UnlockError::Damaged { file }),
            other => other?,
        };
        let content = unchecked(&bytes, SEAL_KEYS_MAGIC, &file)?;
        let opened = content
            .split_at_checked(HEADER_BYTES)
            .and_then(|(head, sealed)| Sealer::new(&self.node).open_value(&identity_aad(head, id), sealed).ok());
        opened.map(Zeroizing::new).ok_or(UnlockError::Foreign { file })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::base::rng::SeededRng;
    use crate::store::vfs::{MemVfs, Vfs};

    const ID: IdentityId = IdentityId::from_bytes([1; 16]);

    fn keyring(vfs: &MemVfs) -> Keyring {
        let (vfs, dir): (Arc<dyn Vfs>, _) = (Arc::new(vfs.clone()), Path::new("/keys"));
        let rng = || Box::new(SeededRng::new(7));
        if Keyring::is_initialised(&*vfs, dir).unwrap() {
            Keyring::unlock(vfs, dir, None, rng()).unwrap()
        } else {
            Keyring::create(vfs, dir, None, rng()).unwrap()
        }
    }

    #[test]
    fn encryption_keys_are_kept_for_their_identity_and_replaced_whole() {
        let vfs = MemVfs::new();
        let keys = keyring(&vfs);
        assert!(keys.seal_keys(ID).unwrap().is_empty(), "there is no file");
        keys.put_seal_keys(ID, &[3; 300]).unwrap();
        keys.put_seal_keys(ID, &[4; 200]).unwrap();
        let again = keyring(&vfs);
        assert_eq!(again.seal_keys(ID).unwrap().as_slice(), [4; 200]);
        assert_eq!(again.identities().unwrap(), [], "it makes no identity");
        let other = IdentityId::from_bytes([2; 16]);
        vfs.rename(&keys.seal_keys_file(ID), &keys.seal_keys_file(other)).unwrap();
        assert!(matches!(again.seal_keys(other), Err(UnlockError::Foreign { .. })));
    }

    #[test]
    fn the_file_of_no_identity_is_erased() {
        let vfs = MemVfs::new();
        let keys = keyring(&vfs);
        let (own, other) = (IdentityId::from_bytes([1; 16]), IdentityId::from_bytes([2; 16]));
        keys.add_identity(own, &crate::base::SymmetricKey::from_bytes([9; 32])).unwrap();
        for id in [own, other] {
            keys.put_seal_keys(id, &[3; 96]).unwrap();
        }
        keys.erase_orphans().unwrap();
        assert_eq!(keys.seal_keys(own).unwrap().len(), 96);
        assert!(keys.seal_keys(other).unwrap().is_empty());
    }

    #[test]
    fn a_changed_file_is_named() {
        let vfs = MemVfs::new();
        let keys = keyring(&vfs);
        keys.put_seal_keys(ID, &[3; 96]).unwrap();
        let file = keys.seal_keys_file(ID);
        vfs.open(&file).unwrap().write_at(40, b"?").unwrap();
        assert!(matches!(keys.seal_keys(ID), Err(UnlockError::Damaged { file: named }) if named == file));
    }
}
