//! The queue as a value: what was submitted and how far each recipient is.
//!
//! It is the fold of the queue records. An entry leaves it when no recipient is waiting any more; only then may its
//! body be forgotten. States only move forward: queued → delivered | failed | cancelled (design: "An honest end").
//! Attempts and delays are not here but in the scheduler's memory: after a restart everything is tried soon.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::{BodyId, ContactId, ContentId, QueueId, Timestamp};
use crate::mail::Address;
pub use crate::mail::dsn::FailureReason;

/// How far a message is with one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Progress {
    /// Waiting to be sent.
    Queued,
    /// The recipient's node has it on its disk.
    Delivered(Timestamp),
    /// The attempts have ended; a report is in INBOX.
    Failed(Timestamp, FailureReason),
    /// Taken back by its sender.
    Cancelled,
}

/// One recipient of a queued message.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// Where to, with the folder that the sender asked for.
    pub address: Address,
    /// How far it is.
    pub progress: Progress,
}

/// One submitted message.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queued {
    /// Its name here and in the mail program's log.
    pub id: QueueId,
    /// Its signed id, the same in every copy and retry.
    pub content: ContentId,
    /// The message to sign.
    pub body: BodyId,
    /// How many bytes the message has.
    pub size: u32,
    /// When it was taken.
    pub submitted: Timestamp,
    /// When the attempts end.
    pub expires: Timestamp,
    /// Its recipients.
    pub recipients: BTreeMap<ContactId, Recipient>,
    /// The fields of its header by which its sender knows it again in a report, as they were written.
    pub headers: Vec<u8>,
}

impl Queued {
    /// The recipients that still wait.
    pub fn waiting(&self) -> impl Iterator<Item = (ContactId, &Recipient)> {
        self.recipients
            .iter()
            .filter(|(_, recipient)| recipient.progress == Progress::Queued)
            .map(|(&contact, recipient)| (contact, recipient))
    }

    /// Whether this recipient still waits.
    pub fn waits_for(&self, contact: ContactId) -> bool {
        self.recipients.get(&contact).is_some_and(|recipient| recipient.progress == Progress::Queued)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recipient").field("progress", &self.progress).finish_non_exhaustive()
    }
}

impl fmt::Debug for Queued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queued")
            .field("id", &self.id)
            .field("recipients", &self.recipients.len())
            .finish_non_exhaustive()
    }
}

/// Everything that waits. Cheap to clone, and a change copies one of up to 256 shards.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    shards: BTreeMap<u8, Arc<BTreeMap<QueueId, Arc<Queued>>>>,
}

const fn shard(id: QueueId) -> u8 {
    let [first, ..] = *id.as_bytes();
    first
}

impl Queue {
    /// The entry with this id.
    pub fn get(&self, id: QueueId) -> Option<&Arc<Queued>> {
        self.shards.get(&shard(id))?.get(&id)
    }

    /// All entries, in no order that means anything to a person.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Queued>> {
        self.shards.values().flat_map(|shard| shard.values())
    }

    /// How many entries.
    pub fn len(&self) -> usize {
        self.shards.values().map(|shard| shard.len()).sum()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.shards.is_empty()
    }

    /// Takes a new entry. Nothing happens where the id exists.
    pub(super) fn submit(&mut self, queued: &Queued) -> bool {
        if self.get(queued.id).is_some() {
            return false;
        }
        if queued.waiting().next().is_some() {
            let shard = Arc::make_mut(self.shards.entry(shard(queued.id)).or_default());
            shard.insert(queued.id, Arc::new(queued.clone()));
        }
        true
    }

    /// Moves a recipient forward; the entry goes with its last one. Nothing happens where it does not wait.
    pub(super) fn settle(&mut self, id: QueueId, contact: ContactId, progress: Progress) -> bool {
        if !self.get(id).is_some_and(|queued| queued.waits_for(contact)) {
            return false;
        }
        self.edit(id, |queued| {
            if let Some(recipient) = queued.recipients.get_mut(&contact) {
                recipient.progress = progress;
            }
        });
        true
    }

    /// Takes a message back from everybody who still waits.
    pub(super) fn cancel(&mut self, id: QueueId) -> bool {
        if self.get(id).is_none() {
            return false;
        }
        self.edit(id, |queued| {
            for recipient in queued.recipients.values_mut() {
                if recipient.progress == Progress::Queued {
                    recipient.progress = Progress::Cancelled;
                }
            }
        });
        true
    }

    fn edit(&mut self, id: QueueId, change: impl FnOnce(&mut Queued)) {
        let key = shard(id);
        let Some(entries) = self.shards.get_mut(&key).map(Arc::make_mut) else { return };
        let Some(queued) = entries.get_mut(&id).map(Arc::make_mut) else { return };
        change(queued);
        if queued.waiting().next().is_none() {
            entries.remove(&id);
        }
        if entries.is_empty() {
            self.shards.remove(&key);
        }
    }
}
