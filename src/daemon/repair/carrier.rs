//! The same for the carrier: what is held and can be read stays, the rest is given up.
//!
//! The sender of an object that is lost here hears of no delivery, and brings another copy or reports it as
//! unconfirmed. Where the record of a deposit is lost its token admits something once more.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{
    Finding, Preparation, Progress, Unread, as_damage, begin_anew, broken, found_elsewhere, look_elsewhere, put_aside,
    unreadable, without_checkpoint, without_log,
};
use crate::base::{BodyId, IdentityId, SymmetricKey};
use crate::control::Failure;
use crate::engine::RecordError;
use crate::engine::carrier::{Held, HeldRecord};
use crate::engine::effect::Durability;
use crate::store::vfs::Vfs;
use crate::store::{Damage, OpenError, OsRng, Sizes, SteppedLog};

/// A carrier whose log was read as far as it can be.
pub(super) struct Examined {
    id: IdentityId,
    log: SteppedLog,
    held: Held,
    damage: Vec<Damage>,
    disk_fails: bool,
    /// A checkpoint that is damaged, where everything could be read without it.
    passed_over: Option<PathBuf>,
    lost: Unread,
    /// What lies whole somewhere else than it should.
    found: Unread,
}

/// What is held, in the making.
#[derive(Default)]
struct Reader {
    held: Held,
    /// A record of a later version.
    unknown: Option<RecordError>,
}

impl Reader {
    fn record(&mut self, number: u64, bytes: &[u8]) {
        match HeldRecord::decode(bytes) {
            Ok(Some(record)) => drop(self.held.apply(number, &record)),
            Ok(None) => {}
            Err(error) => self.unknown = Some(error),
        }
    }
}

/// What is wrong with the carrier, where something is; with it what can be mended.
pub(super) fn examine(
    preparation: &Preparation,
    id: IdentityId,
    key: &SymmetricKey,
    progress: Progress<'_>,
) -> Option<(Finding, Option<Examined>)> {
    match open(&preparation.vfs, preparation.root(), id, key, progress) {
        Ok(examined) if examined.is_whole() => None,
        Ok(examined) => {
            let lost = (!examined.lost.is_empty()).then(|| {
                let files: BTreeSet<_> =
                    examined.lost.values().flatten().map(|file| file.display().to_string()).collect();
                let (count, files) = (examined.lost.len(), Vec::from_iter(files).join(", "));
                format!("{count} of the objects and pages that it holds cannot be read: {files}")
            });
            let (found, spared) = (found_elsewhere(&examined.found), without_checkpoint(examined.passed_over.as_ref()));
            let named = examined.damage.iter().map(ToString::to_string);
            let damage = named.chain(spared).chain(lost).chain(found).collect();
            Some((Finding { damage, disk_fails: examined.disk_fails, ..finding() }, Some(examined)))
        }
        Err(failure) => Some((hopeless(failure), None)),
    }
}

impl Examined {
    fn is_whole(&self) -> bool {
        self.damage.is_empty() && self.passed_over.is_none() && self.lost.is_empty() && self.found.is_empty()
    }
}

fn finding() -> Finding {
    Finding { address: "the carrier".to_owned(), ..Finding::default() }
}

/// Nothing of the carrier can be saved.
pub(super) fn hopeless(failure: Failure) -> Finding {
    Finding { hopeless: Some(failure), ..finding() }
}

fn open(
    vfs: &Arc<dyn Vfs>,
    root: &Path,
    id: IdentityId,
    key: &SymmetricKey,
    progress: Progress<'_>,
) -> Result<Examined, Failure> {
    let failed = |error: &dyn std::fmt::Display| broken("the carrier's log", error);
    let dir = root.join("held").join(id.to_string());
    let mut reader = Reader::default();
    let mut replay = |number, bytes: &[u8]| reader.record(number, bytes);
    let opened = SteppedLog::examine(Arc::clone(vfs), &dir, key, Box::new(OsRng), &mut replay, progress);
    let (log, passed_over, mut damage, refused) = match opened {
        Ok((log, passed_over)) => (log, passed_over, Vec::new(), None),
        Err(error @ (OpenError::Damaged { .. } | OpenError::Missing { .. } | OpenError::Io { .. })) => {
            // What was replayed before the damage was met is void.
            reader = Reader::default();
            let mut replay = |number, bytes: &[u8]| reader.record(number, bytes);
            let (vfs, sizes) = (Arc::clone(vfs), Sizes::default());
            let salvaged = SteppedLog::salvage(vfs, &dir, key, Box::new(OsRng), sizes, &mut replay, progress);
            let (log, damage) = salvaged.map_err(|error| without_log("the carrier's log", error))?;
            (log, None, damage, Some(error))
        }
        Err(error) => return Err(failed(&error)),
    };
    let Reader { mut held, unknown } = reader;
    if let Some(error) = unknown {
        return Err(broken("the carrier's log holds a record that this version does not know", error)
            .hint("it was written by a newer runepeer; use that one"));
    }
    if held.profile().is_none() {
        let named = damage.iter().map(ToString::to_string).chain(refused.map(|error| error.to_string()));
        let named = named.collect::<Vec<_>>().join("; ");
        let failure = failed(&format!("its first records are lost, and with them its keys ({named})"));
        return Err(as_damage(failure).hint(format!(
            "nothing was changed; to begin a new carrier, move {} and keys/held-{id} somewhere else",
            dir.display()
        )));
    }
    held.take_released();
    let disk_refused = matches!(refused, Some(OpenError::Io { .. }));
    let (lost, disk_fails) = unreadable(&log, held.bodies().collect(), progress);
    let (lost, found) = look_elsewhere(&log, lost);
    if damage.is_empty() && lost.is_empty() && found.is_empty() {
        damage.extend(refused.and_then(OpenError::damage));
    }
    Ok(Examined { id, log, held, damage, disk_fails: disk_refused || disk_fails, passed_over, lost, found })
}

/// Keeps a copy of what is damaged, gives up what cannot be read, and makes the next start independent of what is
/// damaged.
pub(super) fn mend(vfs: &Arc<dyn Vfs>, root: &Path, mut examined: Examined) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| broken("the repair of the carrier", error);
    // A disk that was away for a moment took nothing with it.
    let reads = |body: &BodyId| examined.log.read_body(*body, 0..u64::MAX).is_ok();
    examined.lost.retain(|body, _| !reads(body));
    if examined.is_whole() {
        return Ok(());
    }
    let Examined { id, mut log, mut held, damage, passed_over, lost, found, .. } = examined;
    let unread = lost.values().chain(found.values()).chain([&passed_over]);
    put_aside(vfs, root, id, &damage, unread).map_err(|error| failed(&error))?;
    let given_up = held.mailboxes().iter().filter_map(|(mailbox, of)| {
        let objects: Vec<_> = of.objects().filter(|object| lost.contains_key(&object.body)).map(|it| it.id).collect();
        (!objects.is_empty()).then_some(HeldRecord::Deleted { mailbox: *mailbox, objects })
    });
    let records: Vec<_> = given_up.collect();
    if !records.is_empty() {
        let encoded = records.iter().map(HeldRecord::encode).collect::<Result<_, _>>();
        let transaction = (encoded.map_err(|error| failed(&error))?, Vec::new(), Durability::Synced);
        let outcome = log.commit(vec![transaction]).pop().ok_or_else(|| failed(&"nothing was written"))?;
        let first = outcome.map_err(|error| failed(&error))?;
        for (number, record) in (first..).zip(&records) {
            held.apply(number, record);
        }
    }
    let needed: BTreeSet<BodyId> = held.bodies().filter(|body| !lost.contains_key(body)).collect();
    log.forget(log.body_ids().into_iter().filter(|body| !needed.contains(body)).collect());
    let checkpoint = held.checkpoint().iter().map(HeldRecord::encode).collect::<Result<_, _>>();
    begin_anew(log, held.last_record(), checkpoint.map_err(|error| failed(&error))?)
}
