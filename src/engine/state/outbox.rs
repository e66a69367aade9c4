//! The Outbox: the queue as messages that a mail program can see.
//!
//! A message appears with its submission, and goes in the same record that ends the wait for its last recipient; its
//! state is told by keywords. The Outbox knows the entries of the queue that a message stands for: one, or two where
//! hidden recipients get a copy of their own. Taking a message out of the folder takes it back (`recall`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::QueueId;

use crate::engine::state::mailbox::{FlagChange, FolderRole, Mailbox, Message, ModSeq, NamedFlags, NewMessage, Uid};
use crate::engine::state::queue::{Queue, Queued};

/// It waits for its recipients.
pub const WAITING: &str = "$Waiting";
/// A copy was sent and may have arrived; no answer came.
pub const UNCONFIRMED: &str = "$Unconfirmed";
/// It is late: its sender was told.
pub const DELAYED: &str = "$Delayed";
/// Some of its recipients have it.
pub const PARTLY_DELIVERED: &str = "$PartlyDelivered";

/// All keywords that the Outbox gives.
pub const KEYWORDS: [&str; 4] = [WAITING, UNCONFIRMED, DELAYED, PARTLY_DELIVERED];

/// Which messages of the Outbox stand for which entries of the queue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outbox {
    shown: BTreeMap<Uid, Vec<QueueId>>,
    by_queue: BTreeMap<QueueId, Uid>,
}

impl Outbox {
    /// The entries of the queue for which a message stands.
    pub fn queues(&self, uid: Uid) -> &[QueueId] {
        self.shown.get(&uid).map_or(&[], Vec::as_slice)
    }

    /// The message that stands for an entry of the queue.
    pub fn message(&self, queue: QueueId) -> Option<Uid> {
        self.by_queue.get(&queue).copied()
    }

    /// Puts a message into the Outbox. Nothing happens if there is no such folder or the UID was used.
    pub(in crate::engine) fn show(
        &mut self,
        number: ModSeq,
        mailbox: &mut Mailbox,
        queue: &Queue,
        queues: &[QueueId],
        message: &NewMessage,
    ) -> bool {
        let Some(folder) = mailbox.by_role(FolderRole::Outbox).map(|folder| folder.id) else { return false };
        if queues.iter().all(|id| queue.get(*id).is_none()) || !mailbox.add(number, folder, message) {
            return false;
        }
        for id in queues {
            self.by_queue.insert(*id, message.uid);
        }
        self.shown.insert(message.uid, queues.to_vec());
        true
    }

    /// All messages with the entries that each stands for, for a checkpoint.
    pub(in crate::engine) fn kept(&self) -> impl Iterator<Item = (Uid, &Vec<QueueId>)> {
        self.shown.iter().map(|(&uid, queues)| (uid, queues))
    }

    /// Puts back what a checkpoint kept.
    pub(in crate::engine) fn keep(&mut self, uid: Uid, queues: &[QueueId]) {
        self.by_queue.extend(queues.iter().map(|id| (*id, uid)));
        self.shown.insert(uid, queues.to_vec());
    }

    /// An entry of the queue changed, or is gone: its message is marked so, or removed. Gives the messages that were
    /// removed.
    pub(in crate::engine) fn update(
        &mut self,
        number: ModSeq,
        mailbox: &mut Mailbox,
        queue: &Queue,
        id: QueueId,
    ) -> Vec<Message> {
        let Some(uid) = self.message(id) else { return Vec::new() };
        let Some(folder) = mailbox.by_role(FolderRole::Outbox).cloned() else { return Vec::new() };
        let entries: Vec<_> = self.queues(uid).iter().filter_map(|id| queue.get(*id)).collect();
        if entries.is_empty() {
            self.forget(uid);
            return mailbox.expunge(number, folder.id, &[uid]);
        }
        let Some(message) = folder.messages.get(uid) else { return Vec::new() };
        let wanted = keywords(entries.iter().map(|entry| entry.as_ref()));
        let told = |keyword: &&str| folder.keyword_names(message.flags).any(|name| name == *keyword);
        let (stay, wrong): (Vec<&str>, Vec<&str>) = KEYWORDS.into_iter().partition(|keyword| wanted.contains(keyword));
        if stay.iter().all(told) && !wrong.iter().any(told) {
            return Vec::new();
        }
        mailbox.store(number, folder.id, &[uid], FlagChange::Remove, &named(&wrong));
        mailbox.store(number, folder.id, &[uid], FlagChange::Add, &named(&wanted));
        Vec::new()
    }

    /// A message is no longer in the folder.
    pub(in crate::engine) fn forget(&mut self, uid: Uid) {
        for id in self.shown.remove(&uid).unwrap_or_default() {
            self.by_queue.remove(&id);
        }
    }
}

/// These keywords as flags.
pub(in crate::engine) fn named(keywords: &[&str]) -> NamedFlags {
    NamedFlags { keywords: keywords.iter().map(|keyword| (*keyword).to_owned()).collect(), ..NamedFlags::default() }
}

/// The keywords that tell the state of a message that stands for these entries, in the order of [`KEYWORDS`].
pub(in crate::engine) fn keywords<'a>(entries: impl Iterator<Item = &'a Queued> + Clone) -> Vec<&'static str> {
    let any = |holds: fn(&Queued) -> bool| entries.clone().any(holds);
    let states = [
        (WAITING, true),
        (UNCONFIRMED, any(Queued::may_have_arrived)),
        (DELAYED, any(|entry| entry.delayed)),
        (PARTLY_DELIVERED, any(Queued::is_partly_delivered)),
    ];
    states.into_iter().filter(|(_, holds)| *holds).map(|(keyword, _)| keyword).collect()
}
