//! The keys of a node (docs/on-disk.md, "Keys"): passphrase or key file → node key → identity keys.
//!
//! `keys/node` makes the node initialised; `keys/<identity>` makes an identity exist. Each appears whole or not at all.
//! A node without a passphrase keeps `keys/node.key` beside what it opens: that protects nothing when the disk is
//! seized.

mod change;
mod passphrase;
mod seal_keys;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use zeroize::Zeroizing;

use crate::base::{IdentityId, Rng, SymmetricKey};
use crate::store::codec::Fields;
use crate::store::crypt::Sealer;
use crate::store::vfs::{TEMPORARY, Vfs, read_small, write_durably};

pub use passphrase::Passphrase;
pub(super) use passphrase::Stretching;
pub use seal_keys::SEAL_KEYS;

/// Why the keys could not be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum UnlockError {
    /// Another passphrase was given.
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    /// The node has a passphrase and none was given.
    #[error("this node is locked: its passphrase is needed")]
    NeedsPassphrase,
    /// The node was never set up.
    #[error("there is no node here yet")]
    NotInitialised,
    /// A file was changed or is incomplete.
    #[error("the key file {file} is damaged")]
    Damaged {
        /// The file.
        file: PathBuf,
    },
    /// A file is whole, but belongs to something else.
    #[error(
        "the key file {file} is whole and does not fit the others: it is of another node, or of another part of this one"
    )]
    Foreign {
        /// The file.
        file: PathBuf,
    },
    /// The two files of a node's key are whole, but belong to different nodes.
    #[error("the key files {node} and {key_file} are whole and do not fit each other: one of them is of another node")]
    Unfit {
        /// The file of the node key.
        node: PathBuf,
        /// The file that should open it.
        key_file: PathBuf,
    },
    /// A file is of a later version of the program.
    #[error("a later version of runepeer made the key file {file}; use that one")]
    Version {
        /// The file.
        file: PathBuf,
    },
    /// A file is not there.
    #[error("the key file {file} is missing")]
    Missing {
        /// The file.
        file: PathBuf,
    },
    /// The identity does not exist.
    #[error("there is no such identity")]
    NoSuchIdentity,
    /// The file that is to be made exists.
    #[error("{file} exists already")]
    Exists {
        /// The file.
        file: PathBuf,
    },
    /// The disk failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl UnlockError {
    /// Whether stored files are the reason: one was changed, exchanged or lost. A file of a later version, a wrong
    /// passphrase and a disk that fails are other reasons.
    pub const fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Foreign { .. } | Self::Unfit { .. } | Self::Missing { .. })
    }
}

/// The unlocked keys of a node.
pub struct Keyring {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    node: SymmetricKey,
    protected: bool,
    rng: Mutex<Box<dyn Rng>>,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyring").field("protected", &self.protected).finish_non_exhaustive()
    }
}

pub(super) const NODE: &str = "node";
pub(super) const KEY_FILE: &str = "node.key";
/// Before the id of a carrier, in the name of its key's file.
pub(super) const CARRIER: &str = "held-";
const NODE_MAGIC: &[u8; 8] = b"RUNENODE";
const FILE_MAGIC: &[u8; 8] = b"RUNEKEYF";
const IDENTITY_MAGIC: &[u8; 8] = b"RUNEIDKY";
const SEAL_KEYS_MAGIC: &[u8; 8] = b"RUNESEAL";
const VERSION: u16 = 1;
const CHECKSUM_BYTES: usize = 32;
/// The longest file that is read here, in bytes; those that we write are shorter.
const FILE_BYTES: usize = 4096;

/// How the node key is wrapped.
#[derive(Clone, Copy)]
enum Wrap {
    Passphrase(Stretching),
    KeyFile,
}

impl Keyring {
    /// Makes the keys of a new node in `dir` (`<data>/keys`), durably. Without a passphrase a key file opens them.
    ///
    /// # Errors
    /// [`UnlockError::Exists`] where the node is initialised; errors of the disk.
    pub fn create(
        vfs: Arc<dyn Vfs>,
        dir: &Path,
        passphrase: Option<&Passphrase>,
        mut rng: Box<dyn Rng>,
    ) -> Result<Self, UnlockError> {
        vfs.mkdir(dir)?;
        remove_leftovers(&*vfs, dir)?;
        let path = dir.join(NODE);
        if Self::is_initialised(&*vfs, dir)? {
            return Err(UnlockError::Exists { file: path });
        }
        let node = SymmetricKey::random(&mut *rng);
        let bytes = match passphrase {
            Some(passphrase) => locked(&node, passphrase, &mut *rng)?,
            None => wrapped(Wrap::KeyFile, &new_key_file(&*vfs, dir, &mut *rng)?, &node, &mut *rng),
        };
        write_durably(&*vfs, &path, &bytes, &mut *rng)?;
        Self::unlock(vfs, dir, passphrase, rng)
    }

    /// Opens the keys in `dir`. With a passphrase this takes some tenths of a second and 64 MiB.
    ///
    /// # Errors
    /// See [`UnlockError`].
    pub fn unlock(
        vfs: Arc<dyn Vfs>,
        dir: &Path,
        passphrase: Option<&Passphrase>,
        rng: Box<dyn Rng>,
    ) -> Result<Self, UnlockError> {
        if !Self::is_initialised(&*vfs, dir)? {
            return Err(UnlockError::NotInitialised);
        }
        vfs.mkdir(dir)?;
        remove_leftovers(&*vfs, dir)?;
        // The process that made the node may have died before it synced these names; from now on identities depend on
        // them.
        vfs.sync_dir(dir)?;
        dir.parent().map_or(Ok(()), |parent| vfs.sync_dir(parent))?;
        let (wrap, aad, sealed) = read_node(&*vfs, dir)?;
        let protected = matches!(wrap, Wrap::Passphrase(_));
        let open = |key: &SymmetricKey| open_key(key, &aad, &sealed);
        let node = match wrap {
            Wrap::Passphrase(stretching) => stretching
                .open(passphrase.ok_or(UnlockError::NeedsPassphrase)?, open)
                .ok_or_else(|| UnlockError::Damaged { file: dir.join(NODE) })?
                .ok_or(UnlockError::WrongPassphrase)?,
            Wrap::KeyFile => open(&read_key_file(&*vfs, dir)?)
                .ok_or_else(|| UnlockError::Unfit { node: dir.join(NODE), key_file: dir.join(KEY_FILE) })?,
        };
        if protected {
            change::remove_key_file(&*vfs, dir)?;
        }
        Ok(Self { vfs, dir: dir.to_owned(), node, protected, rng: Mutex::new(rng) })
    }

    /// Whether there is a node in `dir`.
    ///
    /// # Errors
    /// Errors of the disk. A missing directory is no error.
    pub fn is_initialised(vfs: &dyn Vfs, dir: &Path) -> Result<bool, UnlockError> {
        match vfs.list(dir) {
            Ok(names) => Ok(names.iter().any(|name| name == NODE)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the node in `dir` needs a passphrase.
    ///
    /// # Errors
    /// [`UnlockError::NotInitialised`], [`UnlockError::Damaged`], and errors of the disk.
    pub fn is_passphrase_protected(vfs: &dyn Vfs, dir: &Path) -> Result<bool, UnlockError> {
        if !Self::is_initialised(vfs, dir)? {
            return Err(UnlockError::NotInitialised);
        }
        Ok(matches!(read_node(vfs, dir)?.0, Wrap::Passphrase(_)))
    }

    /// Keeps the key of a new identity. When this returns, the identity exists and will after any crash; its log, with
    /// its first records, must have been made with this key before ([`crate::store::Log::create`]).
    ///
    /// # Errors
    /// [`UnlockError::Exists`]; errors of the disk, after which the identity may or may not exist.
    pub fn add_identity(&self, id: IdentityId, key: &SymmetricKey) -> Result<(), UnlockError> {
        self.add(&id.to_string(), id, key)
    }

    /// Destroys the key of an identity: overwrites it, and removes its file, durably. From then on nobody reads what the
    /// identity has on this disk, as far as no copy of its key is anywhere. Does nothing where there is no key.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn destroy_identity(vfs: &dyn Vfs, dir: &Path, id: IdentityId) -> io::Result<()> {
        for file in [id.to_string(), format!("{id}{SEAL_KEYS}")] {
            match vfs.erase(&dir.join(file)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => vfs.sync_dir(dir)?,
            }
        }
        Ok(())
    }

    fn add(&self, name: &str, id: IdentityId, key: &SymmetricKey) -> Result<(), UnlockError> {
        let path = self.dir.join(name);
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = header(IDENTITY_MAGIC);
        let sealed = Sealer::new(&self.node).seal_value(&identity_aad(&bytes, id), key.expose(), &mut **rng);
        bytes.extend_from_slice(&sealed);
        write_durably(&*self.vfs, &path, &checked(bytes), &mut **rng).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => UnlockError::Exists { file: path.clone() },
            _ => UnlockError::Io(error),
        })?;
        drop(rng);
        // The address is given out after this, so what was written is read back first.
        let read = self.key(name, id)?;
        if read == *key { Ok(()) } else { Err(UnlockError::Damaged { file: path }) }
    }

    /// The key of an identity.
    ///
    /// # Errors
    /// [`UnlockError::NoSuchIdentity`], [`UnlockError::Damaged`], [`UnlockError::Foreign`], and errors of the disk.
    pub fn identity_key(&self, id: IdentityId) -> Result<SymmetricKey, UnlockError> {
        self.key(&id.to_string(), id)
    }

    fn key(&self, name: &str, id: IdentityId) -> Result<SymmetricKey, UnlockError> {
        let path = self.dir.join(name);
        let bytes = match read_small(&*self.vfs, &path, FILE_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(UnlockError::NoSuchIdentity),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(UnlockError::Damaged { file: path });
            }
            other => other?,
        };
        let content = unchecked(&bytes, IDENTITY_MAGIC, &path)?;
        let opened = content
            .split_at_checked(HEADER_BYTES)
            .and_then(|(head, sealed)| open_key(&self.node, &identity_aad(head, id), sealed));
        opened.ok_or(UnlockError::Foreign { file: path })
    }

    /// Keeps the key of a new carrier, as [`Self::add_identity`] does that of an identity. There is one at most.
    ///
    /// # Errors
    /// As of [`Self::add_identity`].
    pub fn add_carrier(&self, id: IdentityId, key: &SymmetricKey) -> Result<(), UnlockError> {
        self.add(&format!("{CARRIER}{id}"), id, key)
    }

    /// The carrier of the node, and its key; `None` where there is none.
    ///
    /// # Errors
    /// [`UnlockError::Damaged`], and errors of the disk.
    pub fn carrier(&self) -> Result<Option<(IdentityId, SymmetricKey)>, UnlockError> {
        let names = self.vfs.list(&self.dir)?;
        let id = names.iter().find_map(|name| name.strip_prefix(CARRIER)?.parse().ok());
        id.map(|id: IdentityId| Ok((id, self.key(&format!("{CARRIER}{id}"), id)?))).transpose()
    }

    /// Whether this file is the key of a carrier.
    pub fn is_of_carrier(file: &Path) -> bool {
        file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(CARRIER))
    }

    /// Whether the node in `dir` has an identity.
    ///
    /// # Errors
    /// Errors of the disk. A missing directory is no error.
    pub fn has_identity(vfs: &dyn Vfs, dir: &Path) -> Result<bool, UnlockError> {
        match vfs.list(dir) {
            Ok(names) => Ok(names.iter().any(|name| name.parse::<IdentityId>().is_ok())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the node in `dir` has a carrier.
    ///
    /// # Errors
    /// Errors of the disk. A missing directory is no error.
    pub fn has_carrier(vfs: &dyn Vfs, dir: &Path) -> Result<bool, UnlockError> {
        match vfs.list(dir) {
            Ok(names) => Ok(names.iter().any(|name| name.starts_with(CARRIER))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The identities of the node, in the order of their ids.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn identities(&self) -> Result<Vec<IdentityId>, UnlockError> {
        let names = self.vfs.list(&self.dir)?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Whether this node has a passphrase.
    pub const fn has_passphrase(&self) -> bool {
        self.protected
    }
}

impl Wrap {
    fn encode(self, out: &mut Vec<u8>) {
        match self {
            Self::Passphrase(stretching) => {
                out.push(1);
                stretching.encode(out);
            }
            Self::KeyFile => out.push(2),
        }
    }

    fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        match fields.u8()? {
            1 => Stretching::decode(fields).map(Self::Passphrase),
            2 => Some(Self::KeyFile),
            _ => None,
        }
    }
}

/// The file of a node key that this passphrase opens.
fn locked(node: &SymmetricKey, passphrase: &Passphrase, rng: &mut dyn Rng) -> Result<Vec<u8>, UnlockError> {
    let stretching = Stretching::new(rng);
    let key = stretching.stretch(passphrase).ok_or(UnlockError::WrongPassphrase)?;
    Ok(wrapped(Wrap::Passphrase(stretching), &key, node, rng))
}

/// The file of a node key that this key opens.
fn wrapped(wrap: Wrap, key: &SymmetricKey, node: &SymmetricKey, rng: &mut dyn Rng) -> Vec<u8> {
    let mut bytes = header(NODE_MAGIC);
    wrap.encode(&mut bytes);
    let sealed = Sealer::new(key).seal_value(&bytes, node.expose(), rng);
    bytes.extend_from_slice(&sealed);
    checked(bytes)
}

fn read_node(vfs: &dyn Vfs, dir: &Path) -> Result<(Wrap, Vec<u8>, Vec<u8>), UnlockError> {
    let path = dir.join(NODE);
    let bytes = read_small(vfs, &path, FILE_BYTES).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => UnlockError::Damaged { file: path.clone() },
        _ => error.into(),
    })?;
    let content = unchecked(&bytes, NODE_MAGIC, &path)?;
    let parse = || {
        let mut fields = Fields(content);
        fields.take(HEADER_BYTES)?;
        let wrap = Wrap::decode(&mut fields)?;
        let sealed = fields.0;
        let aad = content.get(..content.len() - sealed.len())?;
        Some((wrap, aad.to_vec(), sealed.to_vec()))
    };
    parse().ok_or_else(|| UnlockError::Damaged { file: path.clone() })
}

/// An existing key file is used and not replaced: it may open a node key that only went missing.
fn new_key_file(vfs: &dyn Vfs, dir: &Path, rng: &mut dyn Rng) -> Result<SymmetricKey, UnlockError> {
    let path = dir.join(KEY_FILE);
    if vfs.list(dir)?.iter().any(|name| name == KEY_FILE) {
        return read_key_file(vfs, dir);
    }
    let key = SymmetricKey::random(rng);
    write_durably(vfs, &path, &key_file(&key), rng)?;
    Ok(key)
}

/// The bytes of the key file with this key.
fn key_file(key: &SymmetricKey) -> Zeroizing<Vec<u8>> {
    let mut bytes = header(FILE_MAGIC);
    bytes.extend_from_slice(key.expose());
    Zeroizing::new(checked(bytes))
}

fn read_key_file(vfs: &dyn Vfs, dir: &Path) -> Result<SymmetricKey, UnlockError> {
    let path = dir.join(KEY_FILE);
    let bytes = match read_small(vfs, &path, FILE_BYTES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(UnlockError::Missing { file: path }),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(UnlockError::Damaged { file: path }),
        other => Zeroizing::new(other?),
    };
    let content = unchecked(&bytes, FILE_MAGIC, &path)?;
    content
        .get(HEADER_BYTES..)
        .and_then(|key| key.try_into().ok())
        .map(SymmetricKey::from_bytes)
        .ok_or(UnlockError::Damaged { file: path })
}

fn remove_leftovers(vfs: &dyn Vfs, dir: &Path) -> io::Result<()> {
    for name in vfs.list(dir)?.iter().filter(|name| name.starts_with(TEMPORARY)) {
        match vfs.unlink(&dir.join(name)) {
            // A command that only reads leaves unfinished files where they are.
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {}
            other => other?,
        }
    }
    Ok(())
}

const HEADER_BYTES: usize = 10;

fn header(magic: &[u8; 8]) -> Vec<u8> {
    [magic.as_slice(), &VERSION.to_le_bytes()].concat()
}

fn identity_aad(head: &[u8], id: IdentityId) -> Vec<u8> {
    [head, id.as_bytes()].concat()
}

/// The bytes and their SHA-256, which distinguishes damage from a wrong passphrase.
fn checked(mut bytes: Vec<u8>) -> Vec<u8> {
    let digest = ring::digest::digest(&ring::digest::SHA256, &bytes);
    bytes.extend_from_slice(digest.as_ref());
    bytes
}

/// The content of a file of this kind and our version, with its header. The content of a later version's file is not
/// checked: its sum may be made in another way.
fn unchecked<'a>(bytes: &'a [u8], magic: &[u8; 8], file: &Path) -> Result<&'a [u8], UnlockError> {
    let version = bytes.strip_prefix(magic).and_then(|rest| rest.first_chunk()).map(|word| u16::from_le_bytes(*word));
    if version.is_some_and(|version| version > VERSION) {
        // If the sum is right once our version is put in its place, only the version was changed.
        let rest = bytes.get(HEADER_BYTES..).unwrap_or_default();
        let ours = Zeroizing::new([&header(magic), rest].concat());
        let file = file.to_owned();
        let is_ours = whole(&ours, magic).is_some();
        return Err(if is_ours { UnlockError::Damaged { file } } else { UnlockError::Version { file } });
    }
    whole(bytes, magic).ok_or_else(|| UnlockError::Damaged { file: file.to_owned() })
}

/// The content of a file of this kind and our version; `None` where it was changed.
fn whole<'a>(bytes: &'a [u8], magic: &[u8; 8]) -> Option<&'a [u8]> {
    let (content, sum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM_BYTES)?)?;
    let digest = ring::digest::digest(&ring::digest::SHA256, content);
    (digest.as_ref() == sum && content.starts_with(&header(magic))).then_some(content)
}

fn open_key(key: &SymmetricKey, aad: &[u8], sealed: &[u8]) -> Option<SymmetricKey> {
    let plain = Zeroizing::new(Sealer::new(key).open_value(aad, sealed).ok()?);
    plain.as_slice().try_into().ok().map(SymmetricKey::from_bytes)
}

#[cfg(test)]
mod change_tests;
#[cfg(test)]
mod tests;
