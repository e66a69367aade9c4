//! Records: what the log holds, and of which the state is the fold (docs/on-disk.md, "Records").

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::ids::Fingerprint;
use crate::base::{BodyId, BoxId, ContactId, ContentId, FolderId, InvitationId, Onion, QueueId, Timestamp};
use crate::mail::Receipt;

use crate::engine::encoding::records;
use crate::engine::state::book::{Acquaintance, Contact, ContactChange, InvitationEntry};
use crate::engine::state::boxes::contacts::{ContactBox, SetOf, TokenIndex};
use crate::engine::state::boxes::own::{BoxChange, OwnBox};
use crate::engine::state::boxes::{LeftCopy, ReceiptPolicy};
use crate::engine::state::duplicates::Remembered;
use crate::engine::state::forwarding::{Fate, Forwarded, Handed, ObjectHash};
use crate::engine::state::mailbox::{FlagChange, FolderRole, KeptFolder, Message, NamedFlags, NewMessage, Uid};
use crate::engine::state::profile::Profile;
use crate::engine::state::queue::{Endpoint, FailureReason, Options, Queued, Submitted};

/// Names one received content, so that it is taken once (docs/protocol.md, "Content").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ContentKey {
    /// The content's signed id.
    pub content: ContentId,
    /// Its verified author.
    pub author: Fingerprint,
    /// SHA-256 of its payload: the same id with another payload is another content.
    pub payload: [u8; 32],
    /// When it was received.
    pub received: Timestamp,
    /// The expiry that its author signed.
    pub expires: Timestamp,
}

impl fmt::Debug for ContentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContentKey").field("content", &self.content).finish_non_exhaustive()
    }
}

/// With the body, the signed content again: header ‖ body, and the signature over it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The signed header, with its empty line.
    pub header: String,
    /// The author's signature, as an OpenPGP packet.
    pub signature: Vec<u8>,
}

impl fmt::Debug for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evidence").finish_non_exhaustive()
    }
}

records! {
    /// One change. Whether it takes effect is decided when it is applied
    /// ([`State::apply`](crate::engine::state::State::apply)): where its precondition no longer holds, nothing happens.
    Record
    /// The identity was made. The first record of every log.
    1 IdentityCreated {
        /// Who it is.
        profile: Box<Profile>,
    }
    /// A folder was made.
    2 FolderCreated {
        /// Its id.
        id: FolderId,
        /// Its name.
        name: String,
        /// What it is for.
        role: Option<FolderRole>,
        /// Its UIDVALIDITY.
        uid_validity: u32,
    }
    /// A folder was renamed.
    3 FolderRenamed {
        /// Which.
        id: FolderId,
        /// Its new name.
        name: String,
    }
    /// A folder and its messages were deleted.
    4 FolderDeleted {
        /// Which.
        id: FolderId,
    }
    /// A folder was subscribed or unsubscribed.
    5 FolderSubscribed {
        /// Which.
        id: FolderId,
        /// Whether it is subscribed now.
        subscribed: bool,
    }
    /// A message of our own making was put into a folder: APPEND, a report, a copy to oneself.
    6 MessageAdded {
        /// The folder.
        folder: FolderId,
        /// The message.
        message: NewMessage,
    }
    /// A message of a peer was opened, verified and put into a folder.
    7 Delivered {
        /// The folder.
        folder: FolderId,
        /// The message.
        message: NewMessage,
        /// The contact who wrote it.
        contact: ContactId,
        /// Its name among the duplicates.
        seen: ContentKey,
        /// The signed content; `None` where the body is not what was signed (a converted JSON message).
        evidence: Option<Evidence>,
    }
    /// Flags were changed.
    8 FlagsChanged {
        /// The folder.
        folder: FolderId,
        /// The messages.
        uids: Vec<Uid>,
        /// How.
        change: FlagChange,
        /// Which flags.
        flags: NamedFlags,
    }
    /// Messages were removed.
    9 Expunged {
        /// The folder.
        folder: FolderId,
        /// The messages.
        uids: Vec<Uid>,
    }
    /// Messages were copied or moved.
    10 Transferred {
        /// From here.
        from: FolderId,
        /// To there.
        to: FolderId,
        /// From UID and to UID of each.
        pairs: Vec<(Uid, Uid)>,
        /// Whether they also stay where they were.
        keep: bool,
    }
    /// Somebody was put into the address book.
    16 ContactAdded {
        /// The entry.
        contact: Box<Contact>,
    }
    /// One thing about a contact changed. Never the whole entry: changes that cross each other must not undo each other.
    17 ContactChanged {
        /// Who.
        id: ContactId,
        /// What.
        change: ContactChange,
    }
    /// A contact was removed from the address book.
    18 ContactRemoved {
        /// Who.
        id: ContactId,
    }
    /// A card was verified and taken: makes or renews a contact and uses up the invitation, all at once or not at all.
    19 CardAccepted {
        /// The card's name among the duplicates.
        seen: ContentKey,
        /// The invitation whose secret it brought.
        invitation: Option<InvitationId>,
        /// What it makes of its author.
        acquaintance: Acquaintance,
        /// Where its author waits for an answer: the message in Requests that the user decides by.
        notice: Option<(FolderId, NewMessage)>,
    }
    /// A content was acknowledged and dropped: its author is blocked, or too many wait for an answer. It costs a commit
    /// like any other content, so that its author cannot tell from the time that it took.
    20 Discarded {
        /// Its name among the duplicates.
        seen: ContentKey,
    }
    /// An invitation was made.
    24 InvitationMade {
        /// The invitation.
        invitation: InvitationEntry,
    }
    /// An invitation was withdrawn.
    25 InvitationRevoked {
        /// Which.
        id: InvitationId,
    }
    /// A message was taken for delivery to all its recipients.
    32 Submitted {
        /// The message as it was submitted.
        queued: Box<Submitted>,
    }
    /// A recipient's node has acknowledged a message.
    33 RecipientDelivered {
        /// Which message.
        queue: QueueId,
        /// Which recipient.
        contact: ContactId,
        /// When.
        at: Timestamp,
    }
    /// The attempts to reach a recipient with a message have ended.
    34 RecipientFailed {
        /// Which message.
        queue: QueueId,
        /// Which recipient.
        contact: ContactId,
        /// When.
        at: Timestamp,
        /// Why.
        reason: FailureReason,
    }
    /// The sender took a message back from those who do not have it yet.
    35 SubmissionCancelled {
        /// Which message.
        queue: QueueId,
    }
    /// What the mail program asked for with a submission, where it is not the default.
    36 SubmissionOptions {
        /// Which message.
        queue: QueueId,
        /// What it asked for.
        options: Box<Options>,
    }
    /// What was submitted is shown in the Outbox, until nobody waits for it any more.
    37 ShownInOutbox {
        /// The entries of the queue for which the message stands.
        queues: Vec<QueueId>,
        /// The message.
        message: NewMessage,
    }
    /// Copies are about to be handed over: from now on they may have arrived. Committed before the first byte leaves.
    38 Sent {
        /// Which recipient.
        contact: ContactId,
        /// Where to.
        endpoint: Endpoint,
        /// Which messages.
        queues: Vec<QueueId>,
    }
    /// Copies did not arrive: none was handed over after all, or the endpoint refused it.
    39 NotSent {
        /// Which recipient.
        contact: ContactId,
        /// Where to.
        endpoint: Endpoint,
        /// Which messages.
        queues: Vec<QueueId>,
    }
    /// The sender was told that a message is late.
    42 DelayReported {
        /// Which message.
        queue: QueueId,
    }
    /// An application password was made.
    40 PasswordAdded {
        /// What its user calls it.
        name: String,
        /// Argon2id, in PHC form.
        hash: String,
        /// When.
        created: Timestamp,
    }
    /// An application password was removed.
    41 PasswordRevoked {
        /// Its name.
        name: String,
    }
    /// A message has expired at the boxes of a recipient who returns no receipts.
    44 RecipientHandedOver {
        /// Which message.
        queue: QueueId,
        /// Which recipient.
        contact: ContactId,
        /// When.
        at: Timestamp,
    }
    /// A recipient says that a message was read.
    45 RecipientRead {
        /// Which message.
        queue: QueueId,
        /// Which recipient.
        contact: ContactId,
        /// When that was heard.
        at: Timestamp,
    }
    /// The log was put back from a backup, or repaired: what mail programs and contacts learned of what is not there any more
    /// is not known here.
    43 Restored {
        /// When the backup was made; of a repair, when that was.
        made: Timestamp,
        /// When it was put back, or repaired.
        at: Timestamp,
    }
    /// A box was rented at a carrier: its keys are made, the carrier does not know it yet.
    48 BoxRented {
        /// The box.
        own_box: Box<OwnBox>,
    }
    /// One thing about a box of ours changed.
    49 BoxChanged {
        /// Which.
        id: BoxId,
        /// What.
        change: BoxChange,
    }
    /// A box of ours is given up.
    50 BoxRemoved {
        /// Which.
        id: BoxId,
    }
    /// What the card of this number says of its author's boxes. Nothing happens where a later card was taken.
    51 BoxesNamed {
        /// The author.
        contact: ContactId,
        /// The number of the card.
        counter: u64,
        /// The boxes.
        boxes: Vec<ContactBox>,
    }
    /// A token is about to be shown at a box of a contact, with a copy of a message or with receipts. Committed before the
    /// first byte leaves.
    52 Deposited {
        /// Whose box.
        contact: ContactId,
        /// The message; `None` for receipts.
        queue: Option<QueueId>,
        /// Where its carrier is.
        onion: Onion,
        /// Which token.
        place: TokenIndex,
        /// What the copy says is to be returned.
        receipt: Receipt,
    }
    /// The carrier says that it has a copy, or that it does not.
    53 DepositSettled {
        /// Whose box.
        contact: ContactId,
        /// The message.
        queue: QueueId,
        /// Which copy.
        receipt: Receipt,
        /// Since when it is held; `None` where it says that it is not there.
        held: Option<Timestamp>,
    }
    /// Mail came through a box: its author is to have these receipts.
    54 ReceiptsDue {
        /// The author.
        contact: ContactId,
        /// The receipts.
        receipts: Vec<Receipt>,
    }
    /// Receipts are with their author, or at one of the author's boxes.
    55 ReceiptsReturned {
        /// The author.
        contact: ContactId,
        /// The receipts.
        receipts: Vec<Receipt>,
    }
    /// The invitation of a contact whom we greet names these carriers, where a page is and an answer can be left.
    56 PagesNamed {
        /// The contact.
        contact: ContactId,
        /// The carriers.
        carriers: Vec<Onion>,
    }
    /// What a contact hears from us of its mail.
    57 ReceiptsSwitched {
        /// The contact.
        contact: ContactId,
        /// What it hears.
        told: ReceiptPolicy,
    }
    /// What the card of this number says of receipts. Nothing happens where a later card was taken.
    58 ReceiptsPromised {
        /// The author.
        contact: ContactId,
        /// The number of the card.
        counter: u64,
        /// Whether its author returns receipts.
        promised: bool,
    }
    /// Whether the identity's onion is to be published.
    59 ListenSwitched {
        /// Whether it is.
        on: bool,
    }
    /// That messages were read was told to their author, or was left at one of the author's boxes.
    60 ReadsReturned {
        /// The author.
        contact: ContactId,
        /// The messages, by their signed ids.
        contents: Vec<ContentId>,
    }
    /// Whether we carry for a contact.
    26 ForwardingAllowed {
        /// The contact.
        contact: ContactId,
        /// Whether we do.
        on: bool,
    }
    /// Who carries what we send to a contact that does not answer.
    27 ForwarderChosen {
        /// The contact.
        contact: ContactId,
        /// The friend; `None` for nobody.
        friend: Option<ContactId>,
    }
    /// A contact gave us an object to carry.
    28 ForwardedTaken {
        /// The object.
        forwarded: Box<Forwarded>,
    }
    /// An object is carried no further.
    29 ForwardedEnded {
        /// Who gave it.
        contact: ContactId,
        /// Which.
        object: ObjectHash,
        /// What became of it.
        fate: Fate,
    }
    /// A contact heard what became of these, or that is at one of its boxes.
    30 FatesTold {
        /// The contact.
        contact: ContactId,
        /// The objects.
        objects: Vec<ObjectHash>,
    }
    /// A copy of a message is about to be given to a friend. Committed before the first byte leaves.
    31 HandedOn {
        /// The friend's onion.
        onion: Onion,
        /// The copy.
        object: ObjectHash,
        /// To whom, of what, for whom.
        handed: Box<Handed>,
    }
    /// A friend says what became of a copy.
    46 FateHeard {
        /// The friend.
        friend: ContactId,
        /// The copy.
        object: ObjectHash,
        /// What became of it.
        fate: Fate,
    }
    /// A checkpoint begins: everything before it counts no more, and the records after it lead to the same state.
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
    /// Which entries of the queue a message of the Outbox stands for.
    68 OutboxKept {
        /// The message.
        uid: Uid,
        /// The entries.
        queues: Vec<QueueId>,
    }
    /// Contents that were received and are not to be taken again.
    69 DuplicatesKept {
        /// What they are known by, and until when each is remembered.
        contents: Vec<Remembered>,
        /// The day on which the last were forgotten.
        cleaned: Timestamp,
    }
    /// An invitation as it is.
    71 InvitationKept {
        /// The invitation.
        invitation: InvitationEntry,
    }
    /// The boxes of a contact as they are, and how many tokens of each set were used.
    72 BoxesKept {
        /// Whose.
        contact: ContactId,
        /// The boxes.
        boxes: Vec<ContactBox>,
        /// The sets, and how many of their tokens.
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
    /// The receipts of copies of a message that carriers refused.
    77 RefusedKept {
        /// The message.
        queue: QueueId,
        /// The recipient.
        contact: ContactId,
        /// The receipts.
        receipts: Vec<Receipt>,
    }
    /// Messages whose authors are to hear that they were read.
    74 ReadsKept {
        /// Those that were not read: their bodies, authors and signed ids.
        unread: Vec<(BodyId, ContactId, ContentId)>,
        /// Those that were, by their authors.
        owed: Vec<(ContactId, Vec<ContentId>)>,
    }
    /// What is known of forwarding, without what is carried.
    75 ForwardingKept {
        /// For whom we carry.
        allowed: Vec<ContactId>,
        /// Who carries, by recipient.
        chosen: Vec<(ContactId, ContactId)>,
        /// What those for whom we carried have to hear.
        fates: Vec<(ContactId, ObjectHash, Fate)>,
        /// Copies that friends got.
        handed: Vec<(ObjectHash, Handed)>,
    }
    /// An object that we carry.
    76 ForwardedKept {
        /// The object.
        forwarded: Box<Forwarded>,
    }
    /// Messages by which the user decides about somebody who asked.
    70 RequestsKept {
        /// The bodies of the messages, and who asked.
        requests: Vec<(BodyId, ContactId)>,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::SeededRng;
    use crate::engine::encoding::RecordError;
    use crate::engine::tests::samples;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_record_is_read_as_it_was_written(seed in any::<u64>(), kind in 0..samples::KINDS) {
            let record = samples::record(kind, &mut SeededRng::new(seed));
            prop_assert_eq!(Record::decode(&record.encode().unwrap()), Ok(Some(record)));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0_u8..90) {
            let _ = Record::decode(&bytes);
            let _ = Record::decode(&[&[kind, 0, 1, 1], bytes.as_slice()].concat());
        }

        #[test]
        fn a_record_that_is_cut_off_is_malformed(seed in any::<u64>(), kind in 0..samples::KINDS, cut in 1_usize..8) {
            let bytes = samples::record(kind, &mut SeededRng::new(seed)).encode().unwrap();
            let short = &bytes[..bytes.len() - cut.min(bytes.len() - 4)];
            let malformed = matches!(Record::decode(short), Err(RecordError::Malformed { .. }));
            prop_assert!(malformed);
        }
    }

    #[test]
    fn what_is_unknown_stops_the_start_only_where_it_is_critical() {
        assert_eq!(Record::decode(&[0xff, 0xff, 1, 0, 9]), Ok(None));
        assert_eq!(Record::decode(&[0xff, 0xff, 1, 1, 9]), Err(RecordError::Unknown { kind: 0xffff, version: 1 }));
        assert_eq!(Record::decode(&[4, 0, 2, 0, 9]), Ok(None));
        assert_eq!(Record::decode(&[4, 0, 2, 1, 9]), Err(RecordError::Unknown { kind: 4, version: 2 }));
        assert_eq!(Record::decode(&[4, 0]), Err(RecordError::Malformed { kind: 0 }));
    }

    /// Old logs must stay readable: where this fails, the change needs a new version of the record, not a new file.
    #[test]
    fn the_encoding_does_not_change() {
        let lines: String = (0..samples::KINDS)
            .map(|kind| {
                let bytes = samples::record(kind, &mut SeededRng::new(7)).encode().unwrap();
                format!("{}\n", data_encoding::HEXLOWER.encode(&bytes))
            })
            .collect();
        let golden = include_str!("../../../tests/golden/records.txt");
        assert_eq!(lines.lines().count(), golden.lines().count(), "{lines}");
        for (now, then) in lines.lines().zip(golden.lines()) {
            assert_eq!(now, then);
        }
    }
}
