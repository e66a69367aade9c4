//! `runepeer repair`: everything is read, and damaged parts are put aside so that the rest can be used
//! (docs/on-disk.md, "Damage"). Nothing is dropped in silence: each loss is shown, agreed to, kept as it is, and named
//! in a message.

mod carrier;
mod identity;
mod log;

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::failures::{broken, keyless};
use super::preparation::{Preparation, unlock};
use crate::backup::lacks_parts;
use crate::base::{IdentityId, Timestamp};
use crate::control::{Code, Failure};
use crate::engine::carrier::Held;
use crate::engine::state::mailbox::Uid;
use crate::store::vfs::RealVfs;
use crate::store::{Keyring, UnlockError};

/// Is told how many bytes or messages are done, and of how many.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// The damage of an identity, or of the carrier.
#[derive(Debug, Clone, Default)]
pub struct Finding {
    /// The address of the identity, or that it is the carrier; the name of its folder where the address cannot be read.
    pub address: String,
    /// Damaged places of its log.
    pub damage: Vec<String>,
    /// Messages that are listed and cannot be read.
    pub unreadable: Vec<Unreadable>,
    /// Messages in the queue that cannot be read.
    pub waiting: Vec<Waiting>,
    /// Folders whose own record is lost, by the names that they get; the messages in them are kept.
    pub recovered: Vec<String>,
    /// Whether the disk refuses to read some of the bytes.
    pub disk_fails: bool,
    /// Why nothing of it can be saved. Its code says whether damage is the reason; otherwise this version or this disk
    /// cannot read it.
    pub hopeless: Option<Failure>,
}

/// A message that is listed and cannot be read.
#[derive(Debug, Clone)]
pub struct Unreadable {
    /// The name of its folder.
    pub folder: String,
    /// Its UID there.
    pub uid: Uid,
    /// When it arrived.
    pub date: Timestamp,
    /// The file in which it lies.
    pub file: Option<PathBuf>,
}

/// A message in the queue that cannot be read.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// When it was submitted.
    pub submitted: Timestamp,
    /// How many recipients wait for it.
    pub recipients: usize,
    /// The file in which it lies.
    pub file: Option<PathBuf>,
}

/// The reason, with the file, in words that follow "cannot be read".
fn lies_in(file: Option<&PathBuf>) -> String {
    file.map_or_else(String::new, |file| format!(": {} was changed, is incomplete, or is missing", file.display()))
}

impl Finding {
    /// Whether something is damaged. Records of a later version are not damage.
    pub fn is_damage(&self) -> bool {
        self.hopeless.as_ref().is_none_or(|failure| failure.code == Code::Damaged)
    }

    /// The finding in lines for people.
    pub fn lines(&self) -> Vec<String> {
        let unreadable = self.unreadable.iter().map(|Unreadable { folder, uid, date, file }| {
            format!("message {uid} in {folder}, of {}, cannot be read{}", date.rfc3339(), lies_in(file.as_ref()))
        });
        let waiting = self.waiting.iter().map(|Waiting { submitted, recipients, file }| {
            format!(
                "the message of {} that waits for {recipients} recipients cannot be read, and cannot be sent{}",
                submitted.rfc3339(),
                lies_in(file.as_ref())
            )
        });
        let recovered = self.recovered.iter().map(|name| format!("the name of a folder is lost; it becomes {name}"));
        let disk = self.disk_fails.then(|| {
            "the disk fails: copy the data directory to another one first (with ddrescue, which reads around what \
             fails), and repair the copy"
                .to_owned()
        });
        let hopeless = self.hopeless.iter().flat_map(|failure| {
            let cannot = if self.is_damage() { "nothing of it can be saved" } else { "it cannot be read" };
            let reason = format!("{cannot}: {failure}");
            [Some(reason), failure.hint.clone()].into_iter().flatten()
        });
        let lines = self.damage.iter().cloned().chain(unreadable).chain(waiting).chain(recovered);
        lines.chain(disk).chain(hopeless).collect()
    }
}

/// The result of examining all identities and the carrier.
pub struct Examination<'a> {
    preparation: &'a Preparation,
    /// Each finding; with it the log that was examined, where it can be mended.
    cases: Vec<(Finding, Option<identity::Examined>)>,
    carrier: Option<(Finding, Option<log::Examined<Held>>)>,
}

fn as_damage(failure: Failure) -> Failure {
    Failure { code: Code::Damaged, ..failure }
}

/// The failure of a repair that could not get a key. Only a key file that was changed, exchanged or lost is damage.
fn without_key(what: &str, error: &UnlockError) -> Failure {
    let failure = keyless(what, error);
    if error.is_damage() { as_damage(failure) } else { failure }
}

/// Takes a data directory, either only to look at it or to mend it.
///
/// # Errors
/// As of [`Preparation::open_to_read`] and [`Preparation::open_existing`]; [`Code::Damaged`] where a part is missing.
pub fn prepare(data: &Path, check: bool) -> Result<Preparation, Failure> {
    let open = if check { Preparation::open_to_read } else { Preparation::open_existing };
    open(data).map_err(|failure| match failure.code {
        Code::Failed if lacks_parts(&RealVfs, data) => as_damage(failure),
        _ => failure,
    })
}

/// Whether a passphrase locks the keys.
///
/// # Errors
/// [`Code::Damaged`] where the file that says so is damaged; [`Code::Failed`] where it cannot be read, or is of a later
/// version.
pub fn is_locked(preparation: &Preparation) -> Result<bool, Failure> {
    let protected = Keyring::is_passphrase_protected(&*preparation.vfs, &preparation.keys());
    protected.map_err(|error| without_key("the keys", &error))
}

/// Reads everything of every identity and of the carrier. Changes nothing.
///
/// # Errors
/// Where the keys do not open.
pub fn examine<'a>(
    preparation: &'a Preparation,
    passphrase: Option<Zeroizing<String>>,
    progress: Progress<'_>,
) -> Result<Examination<'a>, Failure> {
    let keyring = unlock(preparation, passphrase, without_key)?;
    let ids = keyring.identities().map_err(|error| broken("the keys", error))?;
    let mut cases = Vec::new();
    for id in ids {
        match read(preparation, &keyring, id, progress) {
            Ok(examined) if examined.read.is_whole() => {}
            Ok(examined) => cases.push((examined.finding(), Some(examined))),
            Err(failure) => cases.push((hopeless(id, failure), None)),
        }
    }
    let carrier = match keyring.carrier() {
        Ok(Some((id, key))) => carrier::examine(preparation, id, &key, progress),
        Ok(None) => None,
        Err(error) => Some((carrier::hopeless(without_key("the keys", &error)), None)),
    };
    Ok(Examination { preparation, cases, carrier })
}

impl Examination<'_> {
    /// The findings: one for every identity that has damage, and for the carrier.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        let carrier = self.carrier.iter().map(|(finding, _)| finding);
        self.cases.iter().map(|(finding, _)| finding).chain(carrier)
    }

    /// Puts the damaged parts aside, wherever the rest can be saved.
    ///
    /// # Errors
    /// The first error, after all repairs were tried: an identity cannot be saved, or the disk cannot be written.
    pub fn mend(self) -> Result<(), Failure> {
        let (vfs, root) = (&self.preparation.vfs, self.preparation.root());
        let mut result = Ok(());
        for (finding, examined) in self.cases {
            let mended = match (examined, &finding.hopeless) {
                (Some(examined), _) => identity::mend(vfs, root, examined),
                (None, Some(failure)) => Err(failure.clone()),
                (None, None) => Ok(()),
            };
            result = result.and(mended);
        }
        let mended = match self.carrier {
            Some((_, Some(examined))) => carrier::mend(vfs, root, examined),
            Some((Finding { hopeless: Some(failure), .. }, None)) => Err(failure),
            Some((_, None)) | None => Ok(()),
        };
        result.and(mended)
    }
}

fn hopeless(id: IdentityId, failure: Failure) -> Finding {
    Finding { address: format!("the identity in {id}"), hopeless: Some(failure), ..Finding::default() }
}

fn read(
    preparation: &Preparation,
    keyring: &Keyring,
    id: IdentityId,
    progress: Progress<'_>,
) -> Result<identity::Examined, Failure> {
    let key = keyring.identity_key(id).map_err(|error| without_key("the keys", &error))?;
    identity::examine(&preparation.vfs, preparation.root(), id, &key, progress)
}

#[cfg(test)]
mod tests;
