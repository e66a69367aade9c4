//! A log that may be damaged, as `repair` reads and mends it: that of an identity, or of the carrier.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::failures::broken;
use super::super::runtime::clock::now;
use super::super::runtime::folded::{Folded, Reader, encoded};
use super::{Progress, as_damage};
use crate::base::{BodyId, IdentityId, SymmetricKey};
use crate::control::Failure;
use crate::engine::io::{CommitError, Durability, NewBody};
use crate::store::vfs::{PatientVfs, Vfs};
use crate::store::{Damage, OpenError, OsRng, ReadError, Sizes, SteppedLog};

/// Bodies that cannot be read, and the files in which they lie.
pub(super) type Unread = BTreeMap<BodyId, Option<PathBuf>>;

/// A log that was read as far as it can be.
pub(super) struct Examined<F> {
    pub(super) id: IdentityId,
    pub(super) log: SteppedLog,
    pub(super) state: F,
    pub(super) damage: Vec<Damage>,
    /// Whether the disk refused to read some bytes.
    pub(super) disk_fails: bool,
    /// A damaged checkpoint, where everything could be read without it.
    pub(super) passed_over: Option<PathBuf>,
    /// Bodies that cannot be read.
    pub(super) lost: Unread,
    /// Bodies that cannot be read in their place, and lie whole in another.
    pub(super) found: Unread,
}

impl<F> Examined<F> {
    /// Whether nothing is wrong.
    pub(super) fn is_whole(&self) -> bool {
        self.damage.is_empty() && self.passed_over.is_none() && self.lost.is_empty() && self.found.is_empty()
    }

    /// The damage and what could be done without, in words.
    pub(super) fn named(&self) -> Vec<String> {
        let spared = without_checkpoint(self.passed_over.as_ref()).into_iter().chain(found_elsewhere(&self.found));
        self.damage.iter().map(ToString::to_string).chain(spared).collect()
    }
}

/// Where the log of an identity or of the carrier lies, and what opens it.
pub(super) struct LogLocation<'a> {
    pub(super) vfs: &'a Arc<dyn Vfs>,
    pub(super) dir: &'a Path,
    pub(super) id: IdentityId,
    pub(super) key: &'a SymmetricKey,
}

/// Reads everything: the log as it is, if nothing is wrong with it, and otherwise what is left of it. In the second
/// case `salvaging` sees each record before it is applied. Nothing is changed.
///
/// # Errors
/// Where nothing can be saved; `hint` says what to do where the first records are lost.
pub(super) fn examine<F: Folded>(
    place: &LogLocation<'_>,
    salvaging: &mut dyn FnMut(&mut F, u64, &F::Record),
    hint: &str,
    progress: Progress<'_>,
) -> Result<Examined<F>, Failure> {
    let (mut examined, refused) = open(place, salvaging, hint, progress)?;
    let (lost, disk_fails) = unreadable(&examined.log, examined.state.bodies(), progress);
    (examined.lost, examined.found) = look_elsewhere(&examined.log, lost);
    examined.disk_fails |= disk_fails;
    if examined.is_whole() {
        // The error that stops the start is named, even if nothing seems to be lost with it.
        examined.damage.extend(refused);
    }
    Ok(examined)
}

/// Reads the log, but not yet the bodies; returns with it the error that stopped the normal start.
fn open<F: Folded>(
    place: &LogLocation<'_>,
    salvaging: &mut dyn FnMut(&mut F, u64, &F::Record),
    hint: &str,
    progress: Progress<'_>,
) -> Result<(Examined<F>, Option<Damage>), Failure> {
    let LogLocation { vfs, dir, id, key } = *place;
    let mut reader = Reader::<F>::default();
    let mut replay = |number, bytes: &[u8]| reader.record(number, bytes);
    let opened = SteppedLog::examine(Arc::clone(vfs), dir, key, Box::new(OsRng), &mut replay, progress);
    let (log, passed_over, damage, refused) = match opened {
        Ok((log, passed_over)) => (log, passed_over, Vec::new(), None),
        Err(error @ (OpenError::Damaged { .. } | OpenError::Missing { .. } | OpenError::Io { .. })) => {
            // The records that were replayed before the damage was met are void.
            reader = Reader::default();
            let mut replay = |number, bytes: &[u8]| reader.record_after(number, bytes, &mut *salvaging);
            let (vfs, sizes) = (Arc::clone(vfs), Sizes::default());
            let salvaged = SteppedLog::salvage(vfs, dir, key, Box::new(OsRng), sizes, &mut replay, progress);
            let (log, damage) = salvaged.map_err(|error| without_log(F::LOG, error))?;
            (log, None, damage, Some(error))
        }
        Err(error) => return Err(broken(F::LOG, error)),
    };
    reader.check_known("use")?;
    let mut state = reader.state;
    if !state.is_begun() {
        let named = damage.iter().map(ToString::to_string).chain(refused.map(|error| error.to_string()));
        let named = named.collect::<Vec<_>>().join("; ");
        let lost = format!("its first records are lost, and with them its keys ({named})");
        return Err(as_damage(broken(F::LOG, lost)).hint(hint));
    }
    state.settle();
    let disk_fails = matches!(refused, Some(OpenError::Io { .. }));
    let refused = refused.and_then(OpenError::damage);
    let (lost, found) = Default::default();
    Ok((Examined { id, log, state, damage, disk_fails, passed_over, lost, found }, refused))
}

/// Which of these bodies cannot be read, and whether the disk is the reason.
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

/// Searches every segment for bodies that cannot be read; returns those that stay lost, and those that were found.
fn look_elsewhere(log: &SteppedLog, lost: Unread) -> (Unread, Unread) {
    if !lost.is_empty()
        && let Err(error) = log.search(&lost.keys().copied().collect())
    {
        tracing::error!(%error, "not every segment could be searched for what cannot be read");
    }
    lost.into_iter().partition(|(body, _)| log.read_body(*body, 0..u64::MAX).is_err())
}

/// A sentence about the checkpoint that was passed over.
fn without_checkpoint(passed_over: Option<&PathBuf>) -> Option<String> {
    passed_over.map(|file| format!("{} was changed or is incomplete; everything was read without it", file.display()))
}

/// A sentence about the messages that were found elsewhere.
fn found_elsewhere(found: &Unread) -> Option<String> {
    let count = found.len();
    (count > 0)
        .then(|| format!("{count} messages cannot be read where they should be, and lie whole in another segment"))
}

/// The failure of a repair that could read nothing of a log. A log of a later version is not damaged.
fn without_log(what: &str, error: OpenError) -> Failure {
    let failure = broken(what, &error);
    if error.damage().is_some() { as_damage(failure) } else { failure }
}

/// Keeps a copy of the damaged files, commits the records of `amends`, gives up bodies that nothing needs or that
/// cannot be read, and makes the next start independent of the damage. `amends` is told where the copies are; `what`
/// names the repair in a failure.
///
/// # Errors
/// Errors of the disk.
pub(super) fn mend<F: Folded>(
    vfs: &Arc<dyn Vfs>,
    root: &Path,
    mut examined: Examined<F>,
    what: &str,
    amends: impl FnOnce(&mut Examined<F>, &Path) -> (Vec<F::Record>, Vec<NewBody>),
) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| broken(what, error);
    // A disk that failed only for a moment has lost nothing.
    let log = &examined.log;
    examined.lost.retain(|body, _| log.read_body(*body, 0..u64::MAX).is_err());
    if examined.is_whole() {
        return Ok(());
    }
    let aside = put_aside(vfs, root, &examined).map_err(|error| failed(&error))?;
    let (records, bodies) = amends(&mut examined, &aside);
    commit(&mut examined, &records, bodies).map_err(|error| broken(&format!("{what} cannot be written"), error))?;
    // Bodies that no record refers to may lie in damaged files, too.
    let Examined { mut log, state, lost, .. } = examined;
    let mut needed = state.bodies();
    needed.retain(|body| !lost.contains_key(body));
    log.forget(log.body_ids().into_iter().filter(|body| !needed.contains(body)).collect());
    // From now on a start reads this checkpoint, and nothing before it.
    let checkpoint = encoded::<F>(&state.checkpoint()).ok_or_else(|| failed(&CommitError::Io))?;
    let mark = log.mark(state.last_record()).ok_or_else(|| failed(&"the log cannot be synced"))?;
    log.compact(mark, checkpoint, &mut OsRng).map_err(|error| failed(&error))?;
    log.close();
    Ok(())
}

fn commit<F: Folded>(
    examined: &mut Examined<F>,
    records: &[F::Record],
    bodies: Vec<NewBody>,
) -> Result<(), CommitError> {
    if records.is_empty() {
        return Ok(());
    }
    let encoded = encoded::<F>(records).ok_or(CommitError::Io)?;
    let outcome = examined.log.commit(vec![(encoded, bodies, Durability::Synced)]).pop();
    let first = outcome.unwrap_or(Err(CommitError::Io))?;
    (first..).zip(records).for_each(|(number, record)| examined.state.apply(number, record));
    Ok(())
}

/// Copies every damaged file as it is to `<data>/corrupt/<when>-<identity>-<name>`, with zeros where the disk cannot be
/// read. Returns the directory of the copies.
fn put_aside<F>(vfs: &Arc<dyn Vfs>, root: &Path, examined: &Examined<F>) -> io::Result<PathBuf> {
    let Examined { id, damage, lost, found, passed_over, .. } = examined;
    let unread = lost.values().chain(found.values()).chain([passed_over]);
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
