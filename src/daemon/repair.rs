//! `runepeer repair`: everything is read, and what is damaged is put aside so that the rest can be used
//! (docs/on-disk.md, "Damage"). Nothing is dropped in silence: what is lost is shown, agreed to, kept as it is, and
//! named in a message.

mod carrier;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::clock::now;
use super::failures::{broken, keyless};
use super::preparation::{Preparation, unlock};
use crate::backup::lacks_parts;
use crate::base::{BodyId, FolderId, IdentityId, SymmetricKey, Timestamp};
use crate::control::{Code, Failure};
use crate::engine::RecordError;
use crate::engine::effect::{Durability, NewBody};
use crate::engine::mailbox::{FolderRole, Uid};
use crate::engine::{Lost, Record, State};
use crate::store::vfs::{PatientVfs, RealVfs, Vfs};
use crate::store::{Damage, Keyring, OpenError, OsRng, ReadError, Sizes, SteppedLog, UnlockError};

/// Told how many bytes or messages of how many are done.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// What is wrong with an identity, or with the carrier.
#[derive(Debug, Clone, Default)]
pub struct Finding {
    /// Its address, or that it is the carrier; the name of its folder where that cannot be read.
    pub address: String,
    /// Damaged places of its log.
    pub damage: Vec<String>,
    /// Messages that are listed and cannot be read.
    pub unreadable: Vec<Unreadable>,
    /// Messages that wait and cannot be read.
    pub waiting: Vec<Waiting>,
    /// Folders whose own record is lost, by the names that they get: what lay in them is kept.
    pub recovered: Vec<String>,
    /// Whether the disk refuses to give what lies there.
    pub disk_fails: bool,
    /// Why nothing of it can be saved: because of damage where its code says so, else because it cannot be read by this
    /// version or from this disk.
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
    /// The file in which it lies.
    pub file: Option<PathBuf>,
}

/// A message that waits and cannot be read.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// When it was submitted.
    pub submitted: Timestamp,
    /// How many recipients wait for it.
    pub recipients: usize,
    /// The file in which it lies.
    pub file: Option<PathBuf>,
}

/// Why something cannot be read, in words that follow it.
fn lies_in(file: Option<&PathBuf>) -> String {
    file.map_or_else(String::new, |file| format!(": {} was changed, is incomplete, or is missing", file.display()))
}

impl Finding {
    /// Whether something is damaged: what a later version wrote is not.
    pub fn is_damage(&self) -> bool {
        self.hopeless.as_ref().is_none_or(|failure| failure.code == Code::Damaged)
    }

    /// Each on a line of its own, for people.
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

/// An identity whose log was read as far as it can be.
struct Examined {
    id: IdentityId,
    log: SteppedLog,
    state: State,
    damage: Vec<Damage>,
    /// Folders that had to be made, by their names.
    recovered: Vec<String>,
    /// Whether the disk refused to give something.
    disk_fails: bool,
    /// A checkpoint that is damaged, where everything could be read without it.
    passed_over: Option<PathBuf>,
    /// Messages that cannot be read.
    lost: Unread,
    /// Messages that cannot be read where they should be, and lie whole somewhere else.
    found: Unread,
}

/// What an examination of all identities and the carrier found.
pub struct Examination<'a> {
    preparation: &'a Preparation,
    /// What is wrong; with it what can be mended.
    cases: Vec<(Finding, Option<Examined>)>,
    carrier: Option<(Finding, Option<carrier::Examined>)>,
}

fn as_damage(failure: Failure) -> Failure {
    Failure { code: Code::Damaged, ..failure }
}

/// The failure of a repair that could not get a key. Only a key file that was changed, exchanged or lost is damage.
fn without_key(what: &str, error: &UnlockError) -> Failure {
    let failure = keyless(what, error);
    if error.is_damage() { as_damage(failure) } else { failure }
}

/// The failure of a repair that could not read a log even in part. A log of a later version is not damaged.
fn without_log(what: &str, error: OpenError) -> Failure {
    let failure = broken(what, &error);
    if error.damage().is_some() { as_damage(failure) } else { failure }
}

/// Takes a data directory: to look at it, or to mend what is damaged.
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
/// [`Code::Damaged`] where the file that says so is; [`Code::Failed`] where it cannot be read, or is of a later
/// version.
pub fn is_locked(preparation: &Preparation) -> Result<bool, Failure> {
    let protected = Keyring::is_passphrase_protected(&*preparation.vfs, &preparation.keys());
    protected.map_err(|error| without_key("the keys", &error))
}

/// Reads everything of every identity and of the carrier. Nothing of it is changed.
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
            Ok(examined) if examined.is_whole() => {}
            Ok(examined) => cases.push((describe(&examined), Some(examined))),
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
    /// What is wrong, one for every identity with which something is, and for the carrier.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        let carrier = self.carrier.iter().map(|(finding, _)| finding);
        self.cases.iter().map(|(finding, _)| finding).chain(carrier)
    }

    /// Puts aside what is damaged, wherever the rest can be saved.
    ///
    /// # Errors
    /// The first one, after all were tried: where an identity cannot be saved, or the disk takes nothing.
    pub fn mend(self) -> Result<(), Failure> {
        let (vfs, root) = (&self.preparation.vfs, self.preparation.root());
        let mut result = Ok(());
        for (finding, examined) in self.cases {
            let mended = match (examined, &finding.hopeless) {
                (Some(examined), _) => mend(vfs, root, examined),
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
) -> Result<Examined, Failure> {
    let key = keyring.identity_key(id).map_err(|error| without_key("the keys", &error))?;
    let (mut examined, refused) = open(&preparation.vfs, preparation.root(), id, &key, progress)?;
    find_unreadable(&mut examined, progress);
    if examined.is_whole() {
        // Whatever stops the start is named, also where nothing seems to be lost with it.
        examined.damage.extend(refused);
    }
    Ok(examined)
}

/// A state in the making.
#[derive(Default)]
struct Reader {
    state: State,
    /// A record of a later version.
    unknown: Option<RecordError>,
    /// Whether records may be lost: then a folder that was never made had a record that is.
    salvages: bool,
    deleted: BTreeSet<FolderId>,
    recovered: Vec<String>,
}

impl Reader {
    fn record(&mut self, number: u64, bytes: &[u8]) {
        match Record::decode(bytes) {
            Ok(Some(record)) => {
                if self.salvages {
                    self.recover_folder(number, &record);
                }
                drop(self.state.apply(number, &record));
            }
            Ok(None) => {}
            Err(error) => self.unknown = Some(error),
        }
    }

    /// Makes the folder into which this record puts something, where there is none.
    fn recover_folder(&mut self, number: u64, record: &Record) {
        let id = match record {
            Record::FolderDeleted { id } => {
                self.deleted.insert(*id);
                return;
            }
            Record::MessageAdded { folder, .. } | Record::Delivered { folder, .. } => *folder,
            Record::Transferred { to, .. } => *to,
            _ => return,
        };
        let mailbox = self.state.mailbox();
        if mailbox.folder(id).is_none() && !self.deleted.contains(&id) {
            let name = mailbox.free_name("Recovered");
            self.recovered.push(name.clone());
            // The lost record had this or a higher one, and what follows it a higher one still.
            let uid_validity = self.state.last_uid_validity().saturating_add(1);
            drop(self.state.apply(number, &Record::FolderCreated { id, name, role: None, uid_validity }));
        }
    }
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
    let mut reader = Reader::default();
    let mut replay = |number, bytes: &[u8]| reader.record(number, bytes);
    let opened = SteppedLog::examine(Arc::clone(vfs), &dir, key, Box::new(OsRng), &mut replay, progress);
    let (log, passed_over, damage, refused) = match opened {
        Ok((log, passed_over)) => (log, passed_over, Vec::new(), None),
        Err(error @ (OpenError::Damaged { .. } | OpenError::Missing { .. } | OpenError::Io { .. })) => {
            // What was replayed before the damage was met is void.
            reader = Reader { salvages: true, ..Reader::default() };
            let mut replay = |number, bytes: &[u8]| reader.record(number, bytes);
            let (vfs, sizes) = (Arc::clone(vfs), Sizes::default());
            let salvaged = SteppedLog::salvage(vfs, &dir, key, Box::new(OsRng), sizes, &mut replay, progress);
            let (log, damage) = salvaged.map_err(|error| without_log("the identity's log", error))?;
            (log, None, damage, Some(error))
        }
        Err(error) => return Err(broken("the identity's log", error)),
    };
    let Reader { state, unknown, recovered, .. } = reader;
    if let Some(error) = unknown {
        return Err(broken("the identity's log holds a record that this version does not know", error)
            .hint("it was written by a newer runepeer; use that one"));
    }
    if state.profile().is_none() {
        let damage: Vec<String> =
            damage.iter().map(ToString::to_string).chain(refused.map(|error| error.to_string())).collect();
        let lost = format!("its first records are lost, and with them its keys ({})", damage.join("; "));
        return Err(as_damage(broken("the identity's log", lost).hint(
            "nothing was changed; put back what is missing, or restore a backup into a new directory: runepeer \
             --data-dir NEW backup restore FILE",
        )));
    }
    let disk_fails = matches!(refused, Some(OpenError::Io { .. }));
    let refused = refused.and_then(OpenError::damage);
    let (lost, found) = Default::default();
    Ok((Examined { id, log, state, damage, recovered, disk_fails, passed_over, lost, found }, refused))
}

impl Examined {
    fn is_whole(&self) -> bool {
        self.damage.is_empty() && self.passed_over.is_none() && self.lost.is_empty() && self.found.is_empty()
    }
}

fn find_unreadable(examined: &mut Examined, progress: Progress<'_>) {
    let (lost, disk_fails) = unreadable(&examined.log, examined.state.bodies(), progress);
    (examined.lost, examined.found) = look_elsewhere(&examined.log, lost);
    examined.disk_fails |= disk_fails;
}

/// Looks in every segment for what cannot be read: what is lost after all, and what was found.
fn look_elsewhere(log: &SteppedLog, lost: Unread) -> (Unread, Unread) {
    if !lost.is_empty()
        && let Err(error) = log.search(&lost.keys().copied().collect())
    {
        tracing::error!(%error, "not every segment could be searched for what cannot be read");
    }
    lost.into_iter().partition(|(body, _)| log.read_body(*body, 0..u64::MAX).is_err())
}

/// That a checkpoint was passed over, in words.
fn without_checkpoint(passed_over: Option<&PathBuf>) -> Option<String> {
    passed_over.map(|file| format!("{} was changed or is incomplete; everything was read without it", file.display()))
}

/// How many messages were found, in words.
fn found_elsewhere(found: &Unread) -> Option<String> {
    let count = found.len();
    (count > 0)
        .then(|| format!("{count} messages cannot be read where they should be, and lie whole in another segment"))
}

/// Bodies that cannot be read, and the files in which they lie.
type Unread = BTreeMap<BodyId, Option<PathBuf>>;

/// Which of these bodies cannot be read, and whether it is the disk that refuses.
fn unreadable(log: &SteppedLog, bodies: BTreeSet<BodyId>, progress: Progress<'_>) -> (Unread, bool) {
    let (mut lost, mut disk_fails) = (Unread::new(), false);
    let total = bodies.len() as u64;
    for (done, body) in (1..).zip(bodies) {
        match log.read_body(body, 0..u64::MAX) {
            Ok(_) => {}
            Err(ReadError::Damaged { file }) => drop(lost.insert(body, Some(file))),
            Err(ReadError::Io { file, .. }) => {
                disk_fails = true;
                lost.insert(body, Some(file));
            }
            Err(ReadError::Unknown) => drop(lost.insert(body, None)),
        }
        progress(done, total);
    }
    (lost, disk_fails)
}

fn lost_file(lost: &Unread, body: BodyId) -> Option<PathBuf> {
    lost.get(&body).cloned().flatten()
}

fn describe(examined: &Examined) -> Finding {
    let Examined { state, damage, lost, passed_over, .. } = examined;
    let spared = without_checkpoint(passed_over.as_ref()).into_iter().chain(found_elsewhere(&examined.found));
    // What the Outbox shows follows from the queue.
    let folders = state.mailbox().folders().filter(|folder| folder.role != Some(FolderRole::Outbox));
    let unreadable = folders.flat_map(|folder| {
        let lost = folder.messages.iter().filter(|message| examined.lost.contains_key(&message.body));
        lost.map(|message| Unreadable {
            folder: folder.name.clone(),
            uid: message.uid,
            date: message.date,
            file: lost_file(&examined.lost, message.body),
        })
    });
    let waiting = state.queue().iter().filter(|queued| lost.contains_key(&queued.body));
    Finding {
        address: state.profile().map(|profile| profile.public.address.to_string()).unwrap_or_default(),
        damage: damage.iter().map(ToString::to_string).chain(spared).collect(),
        unreadable: unreadable.collect(),
        waiting: waiting
            .map(|queued| Waiting {
                submitted: queued.submitted,
                recipients: queued.waiting().count(),
                file: lost_file(lost, queued.body),
            })
            .collect(),
        recovered: examined.recovered.clone(),
        disk_fails: examined.disk_fails,
        hopeless: None,
    }
}

/// Keeps a copy of what is damaged, takes what cannot be read out of the folders, says so in INBOX, and makes the next
/// start independent of what is damaged.
fn mend(vfs: &Arc<dyn Vfs>, root: &Path, mut examined: Examined) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| broken("the repair", error);
    // A disk that was away for a moment took nothing with it.
    let log = &examined.log;
    examined.lost.retain(|body, _| log.read_body(*body, 0..u64::MAX).is_err());
    if examined.is_whole() {
        return Ok(());
    }
    let finding = describe(&examined);
    let unread = examined.lost.values().chain(examined.found.values()).chain([&examined.passed_over]);
    let aside = put_aside(vfs, root, examined.id, &examined.damage, unread).map_err(|error| failed(&error))?;
    let (bodies, kept): (BTreeSet<BodyId>, _) = (examined.lost.keys().copied().collect(), aside.display().to_string());
    let lost = Lost { bodies: &bodies, records: !examined.damage.is_empty(), lines: &finding.lines(), kept: &kept };
    let (records, bodies) = examined.state.repair(&lost, now(), &mut OsRng);
    commit(&mut examined, &records, bodies)?;
    // What nothing refers to may lie in what is damaged, too.
    let mut needed = examined.state.bodies();
    needed.retain(|body| !examined.lost.contains_key(body));
    let unneeded = examined.log.body_ids().into_iter().filter(|body| !needed.contains(body)).collect();
    examined.log.forget(unneeded);
    let checkpoint = examined.state.checkpoint().iter().map(Record::encode).collect::<Result<_, _>>();
    let checkpoint = checkpoint.map_err(|error| failed(&error))?;
    begin_anew(examined.log, examined.state.last_record(), checkpoint)
}

/// Makes the next start read this checkpoint, and nothing that lies before it.
fn begin_anew(mut log: SteppedLog, last: u64, checkpoint: Vec<Vec<u8>>) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| broken("the repair", error);
    let mark = log.mark(last).ok_or_else(|| failed(&"the log cannot be synced"))?;
    log.compact(mark, checkpoint, &mut OsRng).map_err(|error| failed(&error))?;
    log.close();
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

/// Copies every damaged file as it is to `<data>/corrupt/<when>-<identity>-<name>`, with zeros where the disk does not
/// give what was there. Returns the directory of the copies.
fn put_aside<'a>(
    vfs: &Arc<dyn Vfs>,
    root: &Path,
    id: IdentityId,
    damage: &[Damage],
    unread: impl Iterator<Item = &'a Option<PathBuf>>,
) -> io::Result<PathBuf> {
    let vfs = PatientVfs(Arc::clone(vfs));
    let aside = root.join("corrupt");
    vfs.mkdir(&aside)?;
    let unreadable = unread.flatten().cloned();
    let damaged = damage.iter().filter(|damage| !matches!(damage, Damage::Missing(_)));
    let files: BTreeSet<PathBuf> = unreadable.chain(damaged.map(|damage| damage.path().to_owned())).collect();
    for path in files {
        let from = match vfs.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let to = vfs.create_excl(&aside.join(format!("{}-{}-{name}", now().secs(), id)))?;
        let (mut at, mut piece) = (0, vec![0; 1 << 20]);
        loop {
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

#[cfg(test)]
mod tests;
