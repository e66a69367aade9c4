//! `runepeer repair`: everything is read, and what is damaged is put aside so that the rest can be used (docs/on-disk.md,
//! "Damage"). Nothing is dropped in silence: what is lost is shown, agreed to, kept as it is, and named in a message.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::driver::now;
use super::node::{Preparation, broken, unlock};
use crate::base::{BodyId, IdentityId, Timestamp};
use crate::control::Failure;
use crate::engine::effect::{Durability, NewBody};
use crate::engine::mailbox::{FolderRole, Uid};
use crate::engine::queue::FailureReason;
use crate::engine::{Record, State};
use crate::store::vfs::Vfs;
use crate::store::{Damage, OpenError, OsRng, ReadError, Sizes, SteppedLog};

/// Told how many bytes or messages of how many are done.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// What is wrong with an identity.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Its address.
    pub address: String,
    /// Damaged places of its log.
    pub damage: Vec<String>,
    /// Messages that are listed and cannot be read: folder, UID, when it came.
    pub unreadable: Vec<(String, Uid, Timestamp)>,
}

impl Finding {
    /// Each on a line of its own, for people.
    pub fn lines(&self) -> Vec<String> {
        let unreadable = self.unreadable.iter();
        let unreadable = unreadable
            .map(|(folder, uid, date)| format!("message {uid} in {folder}, of {}, cannot be read", date.rfc3339()));
        self.damage.iter().cloned().chain(unreadable).collect()
    }
}

/// An identity whose log was read as far as it can be.
struct Examined {
    id: IdentityId,
    log: SteppedLog,
    state: State,
    damage: Vec<Damage>,
    /// Messages that cannot be read, and the files in which they lie.
    lost: BTreeMap<BodyId, Option<PathBuf>>,
}

/// Reads everything of every identity. Where something is damaged and `consent` agrees to what was found, puts it aside.
/// What was found.
///
/// # Errors
/// Where the keys do not open, the disk fails, or nothing can be saved: then a backup is needed.
pub fn repair(
    preparation: &Preparation,
    passphrase: Option<Zeroizing<String>>,
    consent: &mut dyn FnMut(&[Finding]) -> Result<(), Failure>,
    progress: Progress<'_>,
) -> Result<Vec<Finding>, Failure> {
    let keyring = unlock(preparation, passphrase)?;
    let (vfs, root) = (&preparation.vfs, preparation.directory.path());
    let ids = keyring.identities().map_err(|error| broken("the keys", error))?;
    let mut damaged = Vec::new();
    for id in ids {
        let key = keyring.identity_key(id).map_err(|error| broken("the keys", error))?;
        let mut examined = open(vfs, root, id, &key)?;
        find_unreadable(&mut examined, progress)?;
        if !(examined.damage.is_empty() && examined.lost.is_empty()) {
            damaged.push(examined);
        }
    }
    let findings: Vec<Finding> = damaged.iter().map(describe).collect();
    if !findings.is_empty() {
        consent(&findings)?;
        for (examined, finding) in damaged.into_iter().zip(&findings) {
            mend(vfs, root, examined, finding)?;
        }
    }
    Ok(findings)
}

/// The log as it is where nothing is wrong with it; what is left of it otherwise.
fn open(vfs: &Arc<dyn Vfs>, root: &Path, id: IdentityId, key: &crate::base::SymmetricKey) -> Result<Examined, Failure> {
    let dir = root.join(id.to_string());
    let sizes = Sizes::default();
    let (mut state, mut unknown) = (State::default(), None);
    let mut replay = |number, bytes: &[u8]| match Record::decode(bytes) {
        Ok(Some(record)) => drop(state.apply(number, &record)),
        Ok(None) => {}
        Err(error) => unknown = Some(error),
    };
    let opened = SteppedLog::open(Arc::clone(vfs), &dir, key, Box::new(OsRng), sizes, None, &mut replay);
    let (log, damage) = match opened {
        Ok(log) => (log, Vec::new()),
        Err(OpenError::Damaged { .. } | OpenError::Missing { .. }) => {
            // What was replayed before the damage was met is void.
            (state, unknown) = (State::default(), None);
            let mut replay = |number, bytes: &[u8]| match Record::decode(bytes) {
                Ok(Some(record)) => drop(state.apply(number, &record)),
                Ok(None) => {}
                Err(error) => unknown = Some(error),
            };
            let salvaged =
                SteppedLog::salvage(Arc::clone(vfs), &dir, key, Box::new(OsRng), sizes, &mut replay, &mut |_, _| ());
            salvaged.map_err(|error| broken("the identity's log", error))?
        }
        Err(error) => return Err(broken("the identity's log", error)),
    };
    if let Some(error) = unknown {
        return Err(broken("the identity's log holds a record that this version does not know", error)
            .hint("it was written by a newer runepeer; use that one"));
    }
    if state.profile().is_none() {
        return Err(broken("the identity's log", "its first records are lost, and with them its keys").hint(
            "nothing was changed; restore a backup into a new directory: runepeer --data-dir NEW backup restore FILE",
        ));
    }
    Ok(Examined { id, log, state, damage, lost: BTreeMap::new() })
}

fn find_unreadable(examined: &mut Examined, progress: Progress<'_>) -> Result<(), Failure> {
    let bodies = examined.state.bodies();
    let total = bodies.len() as u64;
    for (done, body) in (1..).zip(bodies) {
        match examined.log.read_body(body, 0..u64::MAX) {
            Ok(_) => {}
            Err(ReadError::Damaged { file }) => drop(examined.lost.insert(body, Some(file))),
            Err(ReadError::Unknown) => drop(examined.lost.insert(body, None)),
            Err(error) => return Err(broken("a message", error)),
        }
        progress(done, total);
    }
    Ok(())
}

fn describe(examined: &Examined) -> Finding {
    let folders = examined.state.mailbox().folders();
    let unreadable = folders.flat_map(|folder| {
        let lost = folder.messages.iter().filter(|message| examined.lost.contains_key(&message.body));
        lost.map(|message| (folder.name.clone(), message.uid, message.date)).collect::<Vec<_>>()
    });
    Finding {
        address: examined.state.profile().map(|profile| profile.public.address.to_string()).unwrap_or_default(),
        damage: examined.damage.iter().map(ToString::to_string).collect(),
        unreadable: unreadable.collect(),
    }
}

/// Keeps a copy of what is damaged, takes what cannot be read out of the folders, says so in INBOX, and makes the next
/// start independent of what is damaged.
fn mend(vfs: &Arc<dyn Vfs>, root: &Path, mut examined: Examined, finding: &Finding) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| broken("the repair", error);
    let aside = put_aside(&**vfs, root, &examined).map_err(|error| failed(&error))?;
    let state = &examined.state;
    let mut records = Vec::new();
    // What the Outbox shows follows from the queue.
    let folders = state.mailbox().folders().filter(|folder| folder.role != Some(FolderRole::Outbox));
    for folder in folders {
        let lost = folder.messages.iter().filter(|message| examined.lost.contains_key(&message.body));
        let uids: Vec<Uid> = lost.map(|message| message.uid).collect();
        if !uids.is_empty() {
            records.push(Record::Expunged { folder: folder.id, uids });
        }
    }
    for queued in state.queue().iter().filter(|queued| examined.lost.contains_key(&queued.body)) {
        for (contact, _) in queued.waiting() {
            let (queue, at, reason) = (queued.id, now(), FailureReason::Unsealable);
            records.push(Record::RecipientFailed { queue, contact, at, reason });
        }
    }
    let (lost, kept) = (finding.lines(), aside.display().to_string());
    let (repair, bodies) = state.repair(&lost, !examined.damage.is_empty(), &kept, now(), &mut OsRng);
    records.extend(repair);
    commit(&mut examined, &records, bodies)?;
    let lost: Vec<BodyId> = examined.lost.keys().copied().collect();
    examined.log.forget(lost);
    let last = examined.state.last_record();
    let mark = examined.log.mark(last).ok_or_else(|| failed(&"the log cannot be synced"))?;
    let checkpoint = examined.state.checkpoint().iter().map(Record::encode).collect::<Result<_, _>>();
    let checkpoint = checkpoint.map_err(|error| failed(&error))?;
    examined.log.compact(mark, checkpoint, &mut OsRng).map_err(|error| failed(&error))?;
    examined.log.close();
    Ok(())
}

fn commit(examined: &mut Examined, records: &[Record], bodies: Vec<NewBody>) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| broken("the repair cannot be written", error);
    let encoded = records.iter().map(Record::encode).collect::<Result<_, _>>().map_err(|error| failed(&error))?;
    let outcome = examined.log.commit(vec![(encoded, bodies, Durability::Synced)]).pop();
    let first = outcome.ok_or_else(|| failed(&"nothing was written"))?.map_err(|error| failed(&error))?;
    for (number, record) in (first..).zip(records) {
        examined.state.apply(number, record);
    }
    Ok(())
}

/// Copies every damaged file as it is: `<data>/corrupt/<when>-<identity>-<name>`. Where.
fn put_aside(vfs: &dyn Vfs, root: &Path, examined: &Examined) -> std::io::Result<PathBuf> {
    let aside = root.join("corrupt");
    vfs.mkdir(&aside)?;
    let unreadable = examined.lost.values().flatten().cloned();
    let damaged = examined.damage.iter().filter(|damage| !matches!(damage, Damage::Missing(_)));
    let files: BTreeSet<PathBuf> = unreadable.chain(damaged.map(|damage| damage.path().to_owned())).collect();
    for path in files {
        let from = match vfs.open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            other => other?,
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let copy = aside.join(format!("{}-{}-{name}", now().secs(), examined.id));
        let to = vfs.create_excl(&copy)?;
        let (size, mut at) = (from.size()?, 0);
        let mut piece = vec![0; 1 << 20];
        while at < size {
            let read = from.read_at(at, &mut piece)?;
            if read == 0 {
                break;
            }
            to.write_at(at, piece.get(..read).unwrap_or_default())?;
            at += read as u64;
        }
        to.sync()?;
    }
    vfs.sync_dir(&aside)?;
    vfs.sync_dir(root)?;
    Ok(aside)
}
