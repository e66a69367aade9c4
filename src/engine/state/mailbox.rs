//! The mailbox as a value: folders, UIDs, flags and their change numbers.
//!
//! It is the fold of the mailbox records of the log: every method that changes it is deterministic, and is
//! called only for what is committed. A clone is cheap (the tables are shared), so a session of a mail
//! program works on a snapshot of its own, and nothing it sees can be undone.

mod flags;
mod folder;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::{BodyId, ContentId, FolderId, Timestamp};

pub use flags::{FlagChange, Flags, NamedFlags};
pub use folder::{Folder, FolderRole, KeptFolder, Message, MessageTable};

/// A UID (RFC 9051 §2.3.1.1): never 0, grows within a folder, never reused.
pub type Uid = u32;
/// The log number of the last change (RFC 7162): grows over the whole identity.
pub type ModSeq = u64;

/// All folders of an identity.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mailbox {
    folders: Arc<BTreeMap<FolderId, Arc<Folder>>>,
}

/// A message that is about to be in a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewMessage {
    /// Its UID, from [`Folder::uid_next`] or above.
    pub uid: Uid,
    /// Its flags.
    pub flags: NamedFlags,
    /// Its INTERNALDATE.
    pub date: Timestamp,
    /// Its bytes.
    pub body: BodyId,
    /// How many bytes.
    pub size: u32,
    /// The author's content id, for received mail.
    pub content: Option<ContentId>,
}

impl Mailbox {
    /// All folders, in no particular order.
    pub fn folders(&self) -> impl Iterator<Item = &Arc<Folder>> {
        self.folders.values()
    }

    /// The folder with this id.
    pub fn folder(&self, id: FolderId) -> Option<&Arc<Folder>> {
        self.folders.get(&id)
    }

    /// The folder with this name; INBOX without regard to case (RFC 9051 §5.1).
    pub fn by_name(&self, name: &str) -> Option<&Arc<Folder>> {
        self.folders.values().find(|folder| {
            folder.name == name || (folder.role == Some(FolderRole::Inbox) && name.eq_ignore_ascii_case("INBOX"))
        })
    }

    /// A name that no folder has: the wanted one, or with a number behind it.
    pub fn free_name(&self, wanted: &str) -> String {
        let mut names = std::iter::once(wanted.to_owned()).chain((2_u32..).map(|n| format!("{wanted}-{n}")));
        names.find(|name| self.by_name(name).is_none()).unwrap_or_default()
    }

    /// The folder with this role.
    pub fn by_role(&self, role: FolderRole) -> Option<&Arc<Folder>> {
        self.folders.values().find(|folder| folder.role == Some(role))
    }

    /// Every body that some message uses, once per message.
    pub fn bodies(&self) -> impl Iterator<Item = BodyId> {
        self.folders.values().flat_map(|folder| folder.messages.iter().map(|message| message.body))
    }

    /// Gives every folder a new UIDVALIDITY, from this one on; tells the last.
    pub(in crate::engine) fn renew_uid_validities(&mut self, modseq: ModSeq, first: u32) -> u32 {
        let ids: Vec<FolderId> = self.folders().map(|folder| folder.id).collect();
        let mut next = first;
        for id in ids {
            if let Some(folder) = self.edit(id, modseq) {
                folder.uid_validity = next;
                next = next.saturating_add(1);
            }
        }
        next.saturating_sub(1)
    }

    fn edit(&mut self, id: FolderId, modseq: ModSeq) -> Option<&mut Folder> {
        let folder = Arc::make_mut(Arc::make_mut(&mut self.folders).get_mut(&id)?);
        folder.highest_modseq = folder.highest_modseq.max(modseq);
        Some(folder)
    }

    /// Makes a folder. Nothing happens if the id or the name exists.
    pub fn create(
        &mut self,
        modseq: ModSeq,
        id: FolderId,
        name: &str,
        role: Option<FolderRole>,
        uid_validity: u32,
    ) -> bool {
        if self.folders.contains_key(&id) || self.by_name(name).is_some() {
            return false;
        }
        let folder = Folder {
            id,
            name: name.to_owned(),
            role,
            uid_validity,
            uid_next: 1,
            subscribed: true,
            highest_modseq: modseq,
            keywords: Vec::new(),
            messages: MessageTable::default(),
        };
        Arc::make_mut(&mut self.folders).insert(id, Arc::new(folder));
        true
    }

    /// Puts a folder back as a checkpoint kept it. Nothing happens if the id or the name exists.
    pub(in crate::engine) fn keep(&mut self, kept: &KeptFolder) -> bool {
        if self.folders.contains_key(&kept.id) || self.by_name(&kept.name).is_some() {
            return false;
        }
        let folder = Folder {
            id: kept.id,
            name: kept.name.clone(),
            role: kept.role,
            uid_validity: kept.uid_validity,
            uid_next: kept.uid_next,
            subscribed: kept.subscribed,
            highest_modseq: kept.highest_modseq,
            keywords: kept.keywords.clone(),
            messages: MessageTable::default(),
        };
        Arc::make_mut(&mut self.folders).insert(kept.id, Arc::new(folder));
        true
    }

    /// Puts a message back as a checkpoint kept it. Nothing happens if the folder is gone, or the UID is not the next
    /// among those that were given.
    pub(in crate::engine) fn keep_message(&mut self, folder: FolderId, message: &Message) -> bool {
        let Some(folder) = Arc::make_mut(&mut self.folders).get_mut(&folder).map(Arc::make_mut) else { return false };
        let last = folder.messages.iter().next_back().map_or(0, |last| last.uid);
        if message.uid <= last || message.uid >= folder.uid_next {
            return false;
        }
        folder.messages.push(message.clone());
        true
    }

    /// Renames a folder. Nothing happens if the folder does not exist, or the new name does.
    pub fn rename(&mut self, modseq: ModSeq, id: FolderId, name: &str) -> bool {
        if self.by_name(name).is_some() {
            return false;
        }
        let Some(folder) = self.edit(id, modseq) else { return false };
        name.clone_into(&mut folder.name);
        true
    }

    /// Deletes a folder with its messages, and gives it; a folder with a role stays.
    pub fn delete(&mut self, id: FolderId) -> Option<Arc<Folder>> {
        match self.folders.get(&id) {
            Some(folder) if folder.role.is_none() => Arc::make_mut(&mut self.folders).remove(&id),
            _ => None,
        }
    }

    /// Sets whether LSUB lists a folder.
    pub fn subscribe(&mut self, modseq: ModSeq, id: FolderId, subscribed: bool) -> bool {
        let Some(folder) = self.edit(id, modseq) else { return false };
        folder.subscribed = subscribed;
        true
    }

    /// Adds a message. Nothing happens if the folder is gone or the UID was used.
    pub fn add(&mut self, modseq: ModSeq, folder: FolderId, new: &NewMessage) -> bool {
        let Some(folder) = self.edit(folder, modseq) else { return false };
        if new.uid < folder.uid_next {
            return false;
        }
        folder.learn_keywords(&new.flags);
        folder.uid_next = new.uid.saturating_add(1);
        folder.messages.push(Message {
            uid: new.uid,
            modseq,
            flags: folder.flags(&new.flags),
            date: new.date,
            body: new.body,
            size: new.size,
            content: new.content,
        });
        true
    }

    /// Changes the flags of those UIDs that are still there; returns them.
    pub fn store(
        &mut self,
        modseq: ModSeq,
        folder: FolderId,
        uids: &[Uid],
        change: FlagChange,
        named: &NamedFlags,
    ) -> Vec<Uid> {
        let Some(folder) = self.edit(folder, modseq) else { return Vec::new() };
        if change != FlagChange::Remove {
            folder.learn_keywords(named);
        }
        let flags = folder.flags(named);
        let mut changed = Vec::new();
        for &uid in uids {
            let found = folder.messages.update(uid, |message| {
                message.flags = match change {
                    FlagChange::Replace => flags,
                    FlagChange::Add => message.flags.union(flags),
                    FlagChange::Remove => message.flags.without(flags),
                };
                message.modseq = modseq;
            });
            if found {
                changed.push(uid);
            }
        }
        changed
    }

    /// Removes those UIDs that are still there; returns what was removed.
    pub fn expunge(&mut self, modseq: ModSeq, folder: FolderId, uids: &[Uid]) -> Vec<Message> {
        let Some(folder) = self.edit(folder, modseq) else { return Vec::new() };
        uids.iter().filter_map(|&uid| folder.messages.remove(uid)).collect()
    }

    /// Copies or moves messages (from UID, to UID) that are still there; returns the pairs that were done.
    pub fn transfer(
        &mut self,
        modseq: ModSeq,
        from: FolderId,
        to: FolderId,
        pairs: &[(Uid, Uid)],
        keep: bool,
    ) -> Vec<(Uid, Uid)> {
        let Some(source) = self.folders.get(&from).cloned() else { return Vec::new() };
        let mut done = Vec::new();
        for &(old, new) in pairs {
            let Some(message) = source.messages.get(old) else { continue };
            let copy = NewMessage {
                uid: new,
                flags: source.name_flags(message.flags),
                date: message.date,
                body: message.body,
                size: message.size,
                content: message.content,
            };
            if self.add(modseq, to, &copy) {
                done.push((old, new));
            }
        }
        if !keep {
            let gone: Vec<Uid> = done.iter().map(|&(old, _)| old).collect();
            self.expunge(modseq, from, &gone);
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(n: u8) -> FolderId {
        FolderId::from_bytes([n; 16])
    }

    fn message(uid: Uid) -> NewMessage {
        NewMessage {
            uid,
            flags: NamedFlags { system: Flags::SEEN, keywords: vec!["Work".into()] },
            date: Timestamp::from_secs(5),
            body: BodyId::from_bytes([3; 16]),
            size: 10,
            content: None,
        }
    }

    fn mailbox(messages: Uid) -> Mailbox {
        let mut mailbox = Mailbox::default();
        mailbox.create(1, folder(1), "INBOX", Some(FolderRole::Inbox), 7);
        mailbox.create(2, folder(2), "Work", None, 8);
        for uid in 1..=messages {
            assert!(mailbox.add(u64::from(uid) + 2, folder(1), &message(uid)));
        }
        mailbox
    }

    #[test]
    fn a_uid_is_never_reused_even_after_the_highest_is_expunged() {
        let mut mailbox = mailbox(3);
        assert_eq!(mailbox.expunge(9, folder(1), &[3, 4]).iter().map(|gone| gone.uid).collect::<Vec<_>>(), vec![3]);
        assert!(!mailbox.add(10, folder(1), &message(3)));
        assert!(mailbox.add(11, folder(1), &message(4)));
        assert_eq!(mailbox.folder(folder(1)).unwrap().uid_next, 5);
    }

    #[test]
    fn moving_keeps_flags_by_name_and_happens_once() {
        let mut mailbox = mailbox(600);
        mailbox.store(
            700,
            folder(2),
            &[],
            FlagChange::Add,
            &NamedFlags { system: Flags::default(), keywords: vec!["Other".into()] },
        );
        assert_eq!(
            mailbox.transfer(701, folder(1), folder(2), &[(300, 1), (300, 2), (999, 3)], true),
            vec![(300, 1), (300, 2)]
        );
        assert_eq!(mailbox.transfer(702, folder(1), folder(2), &[(300, 3)], false), vec![(300, 3)]);
        assert_eq!(mailbox.transfer(703, folder(1), folder(2), &[(300, 4)], false), vec![]);
        let work = mailbox.by_name("Work").unwrap();
        let moved = work.messages.get(3).unwrap();
        assert_eq!(work.keyword_names(moved.flags).collect::<Vec<_>>(), vec!["Work"]);
        assert_eq!(mailbox.by_name("inbox").unwrap().messages.len(), 599);
    }

    #[test]
    fn a_snapshot_does_not_change() {
        let mut mailbox = mailbox(2);
        let before = mailbox.clone();
        mailbox.store(50, folder(1), &[1], FlagChange::Replace, &NamedFlags::default());
        assert!(before.folder(folder(1)).unwrap().messages.get(1).unwrap().flags.contains(Flags::SEEN));
        assert_eq!(mailbox.folder(folder(1)).unwrap().unseen(), 1);
        assert_eq!(mailbox.folder(folder(1)).unwrap().highest_modseq, 50);
    }

    #[test]
    fn folders_with_a_role_stay_and_names_are_unique() {
        let mut mailbox = mailbox(0);
        assert!(mailbox.delete(folder(1)).is_none());
        assert!(!mailbox.create(5, folder(3), "Inbox", None, 9));
        assert!(!mailbox.rename(5, folder(2), "INBOX"));
        assert!(mailbox.delete(folder(2)).is_some());
    }
}
