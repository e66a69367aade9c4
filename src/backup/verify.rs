//! Reading everything in a backup, without writing anything: keys, logs, every message.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::{Backup, ReadOnly, unreadable};
use super::whole::check_whole_backup;
use super::{Progress, failed};
use crate::base::{IdentityId, Timestamp};
use crate::control::{Code, Failure};
use crate::engine::{Record, State};
use crate::store::vfs::Vfs;
use crate::store::{Keyring, OsRng, Passphrase, Sizes, SteppedLog, UnlockError};

/// The contents of a backup, all of which could be read.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The backup's random name.
    pub id: String,
    /// When it was begun.
    pub made: Timestamp,
    /// How many bytes were copied.
    pub bytes: u64,
    /// Its identities.
    pub identities: Vec<CheckedIdentity>,
}

/// An identity in a backup.
#[derive(Debug, Clone)]
pub struct CheckedIdentity {
    /// Its address.
    pub address: String,
    /// Messages in all its folders.
    pub messages: usize,
    /// Messages that wait in the queue.
    pub waiting: usize,
    /// Entries of its address book.
    pub contacts: usize,
}

/// Reads everything. `passphrase` is asked for the node's own passphrase, if the node has one; and again, with the
/// failure, where that was wrong, until it gives that failure back.
///
/// # Errors
/// [`Code::NeedsUnlock`] where the node's passphrase is wrong, [`Code::Failed`] where anything cannot be read.
pub fn verify(
    backup: &Backup,
    passphrase: &mut dyn FnMut(Option<Failure>) -> Result<Passphrase, Failure>,
    progress: Progress<'_>,
) -> Result<Checked, Failure> {
    let bytes = read_all(backup, progress)?;
    let vfs: Arc<dyn Vfs> = Arc::new(ReadOnly(Arc::clone(&backup.files)));
    check_whole_backup(&*vfs)?;
    let keys = Path::new("/keys");
    let locked = Keyring::is_passphrase_protected(&*vfs, keys).map_err(|error| unusable("the keys", error))?;
    let mut wrong = None;
    let keyring = loop {
        let given = if locked { Some(passphrase(wrong)?) } else { None };
        match Keyring::unlock(Arc::clone(&vfs), keys, given.as_ref(), Box::new(OsRng)) {
            Err(UnlockError::WrongPassphrase) => {
                let failure = Failure::new(Code::NeedsUnlock, "the passphrase of the node is wrong");
                wrong = Some(failure.hint(
                    "the backup itself is whole; its node opens with the passphrase that `runepeer up` asked for when \
                     the backup was made",
                ));
            }
            opened => break opened.map_err(|error| unusable("the keys", error))?,
        }
    };
    let ids = keyring.identities().map_err(|error| unusable("the keys", error))?;
    let identity = |id: &IdentityId| identity(&vfs, &keyring, *id);
    let identities = ids.iter().map(identity).collect::<Result<_, _>>()?;
    Ok(Checked { id: backup.manifest.id.clone(), made: backup.manifest.made, bytes, identities })
}

/// The failure for a backup that is as it was made, but has contents that were already damaged then.
fn unusable(what: &str, error: impl std::fmt::Display) -> Failure {
    failed(what, error).hint(
        "it was so in the data directory of which the backup was made. Look there with: runepeer repair --check; and \
         use another backup",
    )
}

/// Reads every byte, in the order of the file.
fn read_all(backup: &Backup, progress: Progress<'_>) -> Result<u64, Failure> {
    const PIECE: u64 = 1 << 20;
    let total = backup.manifest.files.iter().map(|file| file.bytes).sum();
    let mut done = 0;
    for file in &backup.manifest.files {
        let path = Path::new("/").join(&file.path);
        let mut at = 0;
        while at < file.bytes {
            let piece = backup.files.read(&path, at, PIECE).map_err(unreadable)?;
            at += piece.len() as u64;
            done += piece.len() as u64;
            progress(done, total)?;
        }
    }
    Ok(total)
}

fn identity(vfs: &Arc<dyn Vfs>, keyring: &Keyring, id: IdentityId) -> Result<CheckedIdentity, Failure> {
    let key = keyring.identity_key(id).map_err(|error| unusable("the keys", error))?;
    let path: PathBuf = Path::new("/").join(id.to_string());
    let (mut state, mut unknown) = (State::default(), None);
    let mut replay = |number, bytes: &[u8]| match Record::decode(bytes) {
        Ok(Some(record)) => {
            state.apply(number, &record);
        }
        Ok(None) => {}
        Err(error) => unknown = Some(error),
    };
    let log = SteppedLog::open(Arc::clone(vfs), &path, &key, Box::new(OsRng), Sizes::default(), None, &mut replay)
        .map_err(|error| unusable("an identity's log in the backup", error))?;
    if let Some(error) = unknown {
        return Err(failed("a record in the backup is of a later version", error));
    }
    for body in state.bodies() {
        log.read_body(body, 0..u64::MAX).map_err(|error| unusable("a message in the backup cannot be read", error))?;
    }
    let profile =
        state.profile().ok_or_else(|| Failure::new(Code::Failed, "an identity in the backup has no profile"))?;
    Ok(CheckedIdentity {
        address: profile.public.address.to_string(),
        messages: state.mailbox().folders().map(|folder| folder.messages.len()).sum(),
        waiting: state.queue().len(),
        contacts: state.book().contacts().count(),
    })
}
