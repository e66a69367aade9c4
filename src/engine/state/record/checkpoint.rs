//! Records that make up a checkpoint: the state as it is.

use crate::base::{BodyId, ContactId, ContentId, FolderId, QueueId, Timestamp};
use crate::engine::encoding::records;
use crate::engine::state::book::InvitationEntry;
use crate::engine::state::boxes::LeftCopy;
use crate::engine::state::boxes::contacts::{ContactBox, SetOf};
use crate::engine::state::duplicates::Remembered;
use crate::engine::state::forwarding::{Fate, Forwarded, Handed, ObjectHash};
use crate::engine::state::mailbox::{KeptFolder, Message, Uid};
use crate::engine::state::queue::Queued;
use crate::engine::state::seal_keys::KnownKey;
use crate::mail::Receipt;

records! {
    /// One part of the state as it is; only checkpoints have these.
    CheckpointRecord
    /// A checkpoint begins: everything before it no longer counts, and the records after it lead to the same state.
    64 CheckpointBegun {
        /// The highest UIDVALIDITY that was ever given.
        last_uid_validity: u32,
    }
    /// A folder as it is, without its messages. Checkpoints only, like the records after it.
    65 FolderKept {
        /// The folder.
        folder: Box<KeptFolder>,
    }
    /// Messages as they are in a folder, in the order of their UIDs, after those before them.
    66 MessagesKept {
        /// The folder.
        folder: FolderId,
        /// The messages.
        messages: Vec<Message>,
    }
    /// A queue entry as it is, waiting or ended.
    67 QueuedKept {
        /// The entry.
        queued: Box<Queued>,
    }
    /// The entries of the queue that a message of the Outbox stands for.
    68 OutboxKept {
        /// The message.
        uid: Uid,
        /// The entries.
        queues: Vec<QueueId>,
    }
    /// Contents that were received and are not to be taken again.
    69 DuplicatesKept {
        /// The names of the contents, and until when each is remembered.
        contents: Vec<Remembered>,
        /// The day on which contents were last forgotten.
        cleaned: Timestamp,
    }
    /// The messages by which the user decides about senders that ask to be contacts.
    70 RequestsKept {
        /// The bodies of the messages, and the contacts that asked.
        requests: Vec<(BodyId, ContactId)>,
    }
    /// An invitation as it is.
    71 InvitationKept {
        /// The invitation.
        invitation: InvitationEntry,
    }
    /// The boxes of a contact as they are, and how many tokens of each set were used.
    72 BoxesKept {
        /// The contact.
        contact: ContactId,
        /// The boxes.
        boxes: Vec<ContactBox>,
        /// The sets, and how many of their tokens were used.
        used: Vec<(SetOf, u32)>,
    }
    /// The copies of a message that were left for a recipient.
    73 CopiesKept {
        /// The message.
        queue: QueueId,
        /// The recipient.
        contact: ContactId,
        /// The copies.
        copies: Vec<LeftCopy>,
    }
    /// Messages whose authors are to hear that they were read.
    74 ReadsKept {
        /// Messages that were not read: their bodies, authors and signed ids.
        unread: Vec<(BodyId, ContactId, ContentId)>,
        /// Messages that were read, by their authors.
        owed: Vec<(ContactId, Vec<ContentId>)>,
    }
    /// The state of forwarding, without the objects.
    75 ForwardingKept {
        /// Contacts for which we forward.
        allowed: Vec<ContactId>,
        /// The friends who forward, by recipient.
        chosen: Vec<(ContactId, ContactId)>,
        /// The fates that are to be told to contacts for which we forwarded.
        fates: Vec<(ContactId, ObjectHash, Fate)>,
        /// Copies that friends got.
        handed: Vec<(ObjectHash, Handed)>,
    }
    /// An object that we forward.
    76 ForwardedKept {
        /// The object.
        forwarded: Box<Forwarded>,
    }
    /// Our encryption keys; the certificate is in the profile.
    162 SealKeysKept {
        /// The keys, the oldest first.
        keys: Vec<KnownKey>,
    }
    /// The sealed objects that copies of a message were.
    166 ObjectsKept {
        /// The message.
        queue: QueueId,
        /// The recipient.
        contact: ContactId,
        /// The objects, each with the receipt of its copy.
        objects: Vec<(ObjectHash, Receipt)>,
    }
    /// The receipts of copies of a message that carriers refused.
    77 RefusedKept {
        /// The message.
        queue: QueueId,
        /// The recipient.
        contact: ContactId,
        /// The receipts.
        receipts: Vec<Receipt>,
    }
}
