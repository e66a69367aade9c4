//! Repair of an identity's log: messages that cannot be read are taken out of its folders and its queue, and a message
//! in INBOX says so. A folder whose own record is lost is made again for the messages in it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::runtime::clock::now;
use super::log::{self, LogLocation, Unread};
use super::{Finding, Progress, Unreadable, Waiting};
use crate::base::{BodyId, FolderId, IdentityId, SymmetricKey};
use crate::control::Failure;
use crate::engine::state::mailbox::FolderRole;
use crate::engine::{Lost, MailboxRecord, ReceivedRecord, Record, State};
use crate::store::OsRng;
use crate::store::vfs::Vfs;

/// An identity whose log was read as far as it can be.
pub(super) struct Examined {
    pub(super) read: log::Examined<State>,
    /// Folders that had to be made, by their names.
    recovered: Vec<String>,
}

/// Makes lost folders again while a damaged log is read: a record that uses a folder which does not exist proves that
/// the folder's own record is lost.
#[derive(Default)]
pub(super) struct Recovery {
    deleted: BTreeSet<FolderId>,
    /// The names of the folders that were made.
    pub(super) made: Vec<String>,
}

impl Recovery {
    /// Makes the folder into which this record puts something, if there is no such folder.
    pub(super) fn before(&mut self, state: &mut State, number: u64, record: &Record) {
        let id = match record {
            Record::Mailbox(MailboxRecord::FolderDeleted { id }) => {
                self.deleted.insert(*id);
                return;
            }
            Record::Mailbox(MailboxRecord::MessageAdded { folder, .. })
            | Record::Received(ReceivedRecord::Delivered { folder, .. }) => *folder,
            Record::Mailbox(MailboxRecord::Transferred { to, .. }) => *to,
            _ => return,
        };
        let mailbox = state.mailbox();
        if mailbox.folder(id).is_none() && !self.deleted.contains(&id) {
            let name = mailbox.free_name("Recovered");
            self.made.push(name.clone());
            // The lost record had this number or a higher one, and the records behind it a higher one still.
            let uid_validity = state.last_uid_validity().saturating_add(1);
            drop(
                state.apply(
                    number,
                    &Record::Mailbox(MailboxRecord::FolderCreated { id, name, role: None, uid_validity }),
                ),
            );
        }
    }
}

impl Examined {
    /// The finding about this identity.
    pub(super) fn finding(&self) -> Finding {
        describe(&self.read, &self.recovered)
    }
}

/// Reads everything of an identity.
///
/// # Errors
/// Where nothing of it can be saved.
pub(super) fn examine(
    vfs: &Arc<dyn Vfs>,
    root: &Path,
    id: IdentityId,
    key: &SymmetricKey,
    progress: Progress<'_>,
) -> Result<Examined, Failure> {
    let dir = root.join(id.to_string());
    let mut recovery = Recovery::default();
    let mut salvaging = |state: &mut State, number, record: &Record| recovery.before(state, number, record);
    let hint = "nothing was changed; put back what is missing, or restore a backup into a new directory: runepeer \
                --data-dir NEW backup restore FILE";
    let read = log::examine(&LogLocation { vfs, dir: &dir, id, key }, &mut salvaging, hint, progress)?;
    Ok(Examined { read, recovered: recovery.made })
}

fn lost_file(lost: &Unread, body: BodyId) -> Option<PathBuf> {
    lost.get(&body).cloned().flatten()
}

fn describe(read: &log::Examined<State>, recovered: &[String]) -> Finding {
    let log::Examined { state, lost, disk_fails, .. } = read;
    // The Outbox shows the queue, so it is not examined by itself.
    let folders = state.mailbox().folders().filter(|folder| folder.role != Some(FolderRole::Outbox));
    let unreadable = folders.flat_map(|folder| {
        let here = folder.messages.iter().filter(|message| lost.contains_key(&message.body));
        here.map(|message| Unreadable {
            folder: folder.name.clone(),
            uid: message.uid,
            date: message.date,
            file: lost_file(lost, message.body),
        })
    });
    let waiting = state.queue().iter().filter(|queued| lost.contains_key(&queued.body));
    Finding {
        address: state.profile().map(|profile| profile.public.address.to_string()).unwrap_or_default(),
        damage: read.named(),
        unreadable: unreadable.collect(),
        waiting: waiting
            .map(|queued| Waiting {
                submitted: queued.submitted,
                recipients: queued.waiting().count(),
                file: lost_file(lost, queued.body),
            })
            .collect(),
        recovered: recovered.to_vec(),
        disk_fails: *disk_fails,
        hopeless: None,
    }
}

/// Takes the messages that cannot be read out of the folders, and reports them in INBOX.
///
/// # Errors
/// Errors of the disk.
pub(super) fn mend(vfs: &Arc<dyn Vfs>, root: &Path, examined: Examined) -> Result<(), Failure> {
    let Examined { read, recovered } = examined;
    log::mend(vfs, root, read, "the repair", |read, aside| {
        let lines = describe(read, &recovered).lines();
        let (bodies, kept): (BTreeSet<BodyId>, _) = (read.lost.keys().copied().collect(), aside.display().to_string());
        let lost = Lost { bodies: &bodies, records: !read.damage.is_empty(), lines: &lines, kept: &kept };
        read.state.repair(&lost, now(), &mut OsRng)
    })
}
