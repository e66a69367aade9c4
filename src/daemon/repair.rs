//! `runepeer repair`: everything is read, and what is damaged is put aside so that the rest can be used (docs/on-disk.md,
//! "Damage"). Nothing is dropped in silence: what is lost is shown, agreed to, kept as it is, and named in a message.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::driver::now;
use super::node::{Preparation, broken, unlock};
use crate::base::{BodyId, IdentityId, SymmetricKey, Timestamp};
use crate::control::Failure;
use crate::engine::effect::{Durability, NewBody};
use crate::engine::mailbox::{FolderRole, Uid};
use crate::engine::{Lost, Record, State};
use crate::store::vfs::{Vfs, VfsFile};
use crate::store::{Damage, Keyring, OpenError, OsRng, ReadError, Sizes, SteppedLog};

/// Told how many bytes or messages of how many are done.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// What is wrong with an identity.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Its address; the name of its folder where that cannot be read.
    pub address: String,
    /// Damaged places of its log.
    pub damage: Vec<String>,
    /// Messages that are listed and cannot be read.
    pub unreadable: Vec<Unreadable>,
    /// Messages that wait and cannot be read: when each was submitted, and how many recipients wait for it.
    pub waiting: Vec<(Timestamp, usize)>,
    /// Why nothing of it can be saved.
    pub hopeless: Option<Failure>,
}

/// A message that is listed and cannot be read.
#[derive(Debug, Clone)]
pub struct Unreadable {
    /// The name of its folder.
    pub folder: String,
    /// Its UID there.
    pub uid: Uid,
    /// When it came.
    pub date: Timestamp,
}

impl Finding {
    /// Each on a line of its own, for people.
    pub fn lines(&self) -> Vec<String> {
        let unreadable = self.unreadable.iter().map(|Unreadable { folder, uid, date }| {
            format!("message {uid} in {folder}, of {}, cannot be read", date.rfc3339())
        });
        let waiting = self.waiting.iter().map(|(submitted, recipients)| {
            format!(
                "the message of {} that waits for {recipients} recipients cannot be read, and cannot be sent",
                submitted.rfc3339()
            )
        });
        let hopeless = self.hopeless.iter().map(|failure| format!("nothing of it can be saved: {failure}"));
        self.damage.iter().cloned().chain(unreadable).chain(waiting).chain(hopeless).collect()
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

/// What an examination of all identities found.
pub struct Examination<'a> {
    preparation: &'a Preparation,
    /// What is wrong; with it what can be mended.
    cases: Vec<(Finding, Option<Examined>)>,
}

/// Reads everything of every identity. Nothing of it is changed.
///
/// # Errors
/// Where the keys do not open.
pub fn examine<'a>(
    preparation: &'a Preparation,
    passphrase: Option<Zeroizing<String>>,
    progress: Progress<'_>,
) -> Result<Examination<'a>, Failure> {
    let keyring = unlock(preparation, passphrase)?;
    let ids = keyring.identities().map_err(|error| broken("the keys", error))?;
    let mut cases = Vec::new();
    for id in ids {
        match read(preparation, &keyring, id, progress) {
            Ok(examined) if examined.damage.is_empty() && examined.lost.is_empty() => {}
            Ok(examined) => cases.push((describe(&examined), Some(examined))),
            Err(failure) => cases.push((hopeless(id, failure), None)),
        }
    }
    Ok(Examination { preparation, cases })
}

impl Examination<'_> {
    /// What is wrong, one for every identity with which something is.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.cases.iter().map(|(finding, _)| finding)
    }

    /// Puts aside what is damaged, wherever the rest can be saved.
    ///
    /// # Errors
    /// The first one, after all were tried: where an identity cannot be saved, or the disk takes nothing.
    pub fn mend(self) -> Result<(), Failure> {
        let (vfs, root) = (&*self.preparation.vfs, self.preparation.root());
        let mut result = Ok(());
        for (finding, examined) in self.cases {
            let mended = match (examined, &finding.hopeless) {
                (Some(examined), _) => mend(vfs, root, examined, &finding),
                (None, Some(failure)) => Err(failure.clone()),
                (None, None) => Ok(()),
            };
            result = result.and(mended);
        }
        result
    }
}

fn hopeless(id: IdentityId, failure: Failure) -> Finding {
    let (damage, unreadable, waiting) = (Vec::new(), Vec::new(), Vec::new());
    Finding { address: format!("the identity in {id}"), damage, unreadable, waiting, hopeless: Some(failure) }
}

fn read(
    preparation: &Preparation,
    keyring: &Keyring,
    id: IdentityId,
    progress: Progress<'_>,
) -> Result<Examined, Failure> {
    let key = keyring.identity_key(id).map_err(|error| broken("the keys", error))?;
    let (mut examined, refused) = open(&preparation.vfs, preparation.root(), id, &key, progress)?;
    find_unreadable(&mut examined, progress);
    if examined.damage.is_empty() && examined.lost.is_empty() {
        // Whatever stops the start is named, also where nothing seems to be lost with it.
        examined.damage.extend(refused);
    }
    Ok(examined)
}

/// The log as it is where nothing is wrong with it; what is left of it otherwise, and what stopped the normal start.
fn open(
    vfs: &Arc<dyn Vfs>,
    root: &Path,
    id: IdentityId,
    key: &SymmetricKey,
    progress: Progress<'_>,
) -> Result<(Examined, Option<Damage>), Failure> {
    let dir = root.join(id.to_string());
    let sizes = Sizes::default();
    let (mut state, mut unknown) = (State::default(), None);
    let mut replay = |number, bytes: &[u8]| match Record::decode(bytes) {
        Ok(Some(record)) => drop(state.apply(number, &record)),
        Ok(None) => {}
        Err(error) => unknown = Some(error),
    };
    let opened = SteppedLog::open(Arc::clone(vfs), &dir, key, Box::new(OsRng), sizes, None, &mut replay);
    let (log, damage, refused) = match opened {
        Ok(log) => (log, Vec::new(), None),
        Err(error @ (OpenError::Damaged { .. } | OpenError::Missing { .. })) => {
            // What was replayed before the damage was met is void.
            (state, unknown) = (State::default(), None);
            let mut replay = |number, bytes: &[u8]| match Record::decode(bytes) {
                Ok(Some(record)) => drop(state.apply(number, &record)),
                Ok(None) => {}
                Err(error) => unknown = Some(error),
            };
            let salvaged =
                SteppedLog::salvage(Arc::clone(vfs), &dir, key, Box::new(OsRng), sizes, &mut replay, progress);
            let (log, damage) = salvaged.map_err(|error| broken("the identity's log", error))?;
            (log, damage, error.damage())
        }
        Err(error @ OpenError::Io { .. }) => {
            return Err(broken("the identity's log", error)
                .hint("the disk is failing: copy the data directory to another one, and run this on the copy"));
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
    Ok((Examined { id, log, state, damage, lost: BTreeMap::new() }, refused))
}

fn find_unreadable(examined: &mut Examined, progress: Progress<'_>) {
    let bodies = examined.state.bodies();
    let total = bodies.len() as u64;
    for (done, body) in (1..).zip(bodies) {
        match examined.log.read_body(body, 0..u64::MAX) {
            Ok(_) => {}
            Err(ReadError::Damaged { file } | ReadError::Io { file, .. }) => {
                examined.lost.insert(body, Some(file));
            }
            Err(ReadError::Unknown) => drop(examined.lost.insert(body, None)),
        }
        progress(done, total);
    }
}

fn describe(examined: &Examined) -> Finding {
    let Examined { state, damage, lost, .. } = examined;
    // What the Outbox shows follows from the queue.
    let folders = state.mailbox().folders().filter(|folder| folder.role != Some(FolderRole::Outbox));
    let unreadable = folders.flat_map(|folder| {
        let lost = folder.messages.iter().filter(|message| lost.contains_key(&message.body));
        lost.map(|message| Unreadable { folder: folder.name.clone(), uid: message.uid, date: message.date })
    });
    let waiting = state.queue().iter().filter(|queued| lost.contains_key(&queued.body));
    Finding {
        address: state.profile().map(|profile| profile.public.address.to_string()).unwrap_or_default(),
        damage: damage.iter().map(ToString::to_string).collect(),
        unreadable: unreadable.collect(),
        waiting: waiting.map(|queued| (queued.submitted, queued.waiting().count())).collect(),
        hopeless: None,
    }
}

/// Keeps a copy of what is damaged, takes what cannot be read out of the folders, says so in INBOX, and makes the next
/// start independent of what is damaged.
fn mend(vfs: &dyn Vfs, root: &Path, mut examined: Examined, finding: &Finding) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| broken("the repair", error);
    let aside = put_aside(vfs, root, &examined).map_err(|error| failed(&error))?;
    let (bodies, kept): (BTreeSet<BodyId>, _) = (examined.lost.keys().copied().collect(), aside.display().to_string());
    let lost = Lost { bodies: &bodies, records: !examined.damage.is_empty(), lines: &finding.lines(), kept: &kept };
    let (records, bodies) = examined.state.repair(&lost, now(), &mut OsRng);
    commit(&mut examined, &records, bodies)?;
    // What nothing refers to may lie in what is damaged, too.
    let mut needed = examined.state.bodies();
    needed.retain(|body| !examined.lost.contains_key(body));
    let unneeded = examined.log.body_ids().into_iter().filter(|body| !needed.contains(body)).collect();
    examined.log.forget(unneeded);
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
fn put_aside(vfs: &dyn Vfs, root: &Path, examined: &Examined) -> io::Result<PathBuf> {
    let aside = root.join("corrupt");
    vfs.mkdir(&aside)?;
    let unreadable = examined.lost.values().flatten().cloned();
    let damaged = examined.damage.iter().filter(|damage| !matches!(damage, Damage::Missing(_)));
    let files: BTreeSet<PathBuf> = unreadable.chain(damaged.map(|damage| damage.path().to_owned())).collect();
    for path in files {
        let from = match vfs.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let to = vfs.create_excl(&aside.join(format!("{}-{}-{name}", now().secs(), examined.id)))?;
        copy_what_can_be_read(&*from, &*to)?;
        to.sync()?;
    }
    vfs.sync_dir(&aside)?;
    vfs.sync_dir(root)?;
    Ok(aside)
}

/// Copies a file; zeros where the disk does not give what was there.
fn copy_what_can_be_read(from: &dyn VfsFile, to: &dyn VfsFile) -> io::Result<()> {
    const BLOCK: usize = 4096;
    let size = from.size()?;
    let mut at = 0;
    let mut block = [0; BLOCK];
    while at < size {
        let wanted = usize::try_from(size - at).unwrap_or(BLOCK).min(BLOCK);
        let Some(piece) = block.get_mut(..wanted) else { break };
        if !from.read_at(at, piece).is_ok_and(|read| read == wanted) {
            piece.fill(0);
        }
        to.write_at(at, piece)?;
        at += wanted as u64;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use crate::store::vfs::MemVfs;

    /// A file of 10,000 sevens on a disk with one bad block.
    struct Failing;

    impl VfsFile for Failing {
        fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
            Err(io::ErrorKind::ReadOnlyFilesystem.into())
        }

        fn sync(&self) -> io::Result<()> {
            Ok(())
        }

        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
            if offset < 5000 && offset + buffer.len() as u64 > 5000 {
                return Err(io::Error::other("the disk failed"));
            }
            buffer.fill(7);
            Ok(buffer.len())
        }

        fn size(&self) -> io::Result<u64> {
            Ok(10_000)
        }
    }

    #[test]
    fn of_a_failing_disk_every_block_that_can_be_read_is_kept() {
        let vfs = MemVfs::new();
        vfs.mkdir(Path::new("/aside")).unwrap();
        let to = vfs.create_excl(Path::new("/aside/copy")).unwrap();
        copy_what_can_be_read(&Failing, &*to).unwrap();
        let mut copied = vec![1; 10_000];
        assert_eq!((to.size().unwrap(), to.read_at(0, &mut copied).unwrap()), (10_000, 10_000));
        assert!(copied[..4096].iter().chain(&copied[8192..]).all(|byte| *byte == 7));
        assert!(copied[4096..8192].iter().all(|byte| *byte == 0));
    }
}
