//! Repair of a carrier's log: the objects that can be read stay, the others are given up.
//!
//! The sender of an object that is lost here is told of no delivery, and deposits another copy or reports the message
//! as unconfirmed. Where the record of a deposit is lost, its token admits one more object.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::log::{self, Examined, LogLocation};
use super::{Finding, Preparation, Progress};
use crate::base::{IdentityId, SymmetricKey};
use crate::control::Failure;
use crate::engine::carrier::{Held, HeldRecord};
use crate::store::vfs::Vfs;

/// The finding for the carrier, if there is one; with it the log, where it can be mended.
pub(super) fn examine(
    preparation: &Preparation,
    id: IdentityId,
    key: &SymmetricKey,
    progress: Progress<'_>,
) -> Option<(Finding, Option<Examined<Held>>)> {
    match open(&preparation.vfs, preparation.root(), id, key, progress) {
        Ok(examined) if examined.is_whole() => None,
        Ok(examined) => {
            let lost = (!examined.lost.is_empty()).then(|| {
                let files: BTreeSet<_> =
                    examined.lost.values().flatten().map(|file| file.display().to_string()).collect();
                let (count, files) = (examined.lost.len(), Vec::from_iter(files).join(", "));
                format!("{count} of the objects and pages that it holds cannot be read: {files}")
            });
            let damage = examined.named().into_iter().chain(lost).collect();
            Some((Finding { damage, disk_fails: examined.disk_fails, ..finding() }, Some(examined)))
        }
        Err(failure) => Some((hopeless(failure), None)),
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
) -> Result<Examined<Held>, Failure> {
    let dir = root.join("held").join(id.to_string());
    let hint = format!(
        "nothing was changed; to begin a new carrier, move {} and keys/held-{id} somewhere else",
        dir.display()
    );
    log::examine(&LogLocation { vfs, dir: &dir, id, key }, &mut |_, _, _| (), &hint, progress)
}

/// Gives up the objects that cannot be read.
///
/// # Errors
/// Errors of the disk.
pub(super) fn mend(vfs: &Arc<dyn Vfs>, root: &Path, examined: Examined<Held>) -> Result<(), Failure> {
    log::mend(vfs, root, examined, "the repair of the carrier", |Examined { state, lost, .. }, _| {
        let given_up = state.mailboxes().iter().filter_map(|(mailbox, of)| {
            let lost = of.objects().filter(|object| lost.contains_key(&object.body));
            let objects: Vec<_> = lost.map(|object| object.id).collect();
            (!objects.is_empty()).then_some(HeldRecord::Deleted { mailbox: *mailbox, objects })
        });
        (given_up.collect(), Vec::new())
    })
}
