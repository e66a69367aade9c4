//! Records of what the user knows of people.

use crate::base::ids::Fingerprint;
use crate::base::{BodyId, ContactId, FolderId, QueueId, Timestamp};
use crate::engine::encoding::records;
use crate::engine::state::mailbox::NewMessage;
use crate::engine::state::record::ContentKey;
use crate::engine::state::revocations::Revoked;

records! {
    /// What the user knows of people.
    PeopleRecord
    /// The user said whether the verification numbers of a contact are the same at both sides.
    128 VerificationMarked {
        /// The contact.
        contact: ContactId,
        /// When the user said that they are the same; `None` takes the mark away.
        at: Option<Timestamp>,
    }
    /// The user is told in INBOX that somebody, or an introduction, waits for a decision, and nothing waited before. It is in the
    /// transaction of what waits, behind it.
    144 WaitingTold {
        /// When.
        at: Timestamp,
        /// The message in Requests by which the user decides.
        notice: BodyId,
        /// INBOX.
        folder: FolderId,
        /// The message there.
        message: NewMessage,
    }
    /// The user is told in INBOX that a changed key or address of a contact was refused.
    145 ChangeTold {
        /// The contact.
        contact: ContactId,
        /// When.
        at: Timestamp,
        /// INBOX.
        folder: FolderId,
        /// The message there.
        message: NewMessage,
    }
    /// A contact who began anew is another contact now: that one gets the petname and the messages that wait and of which nothing
    /// was sent; the first one leaves the address book.
    146 ContactReplaced {
        /// The contact who is no more.
        old: ContactId,
        /// The contact who takes its place.
        new: ContactId,
        /// The messages that go to the new one.
        messages: Vec<QueueId>,
    }
    /// Whether a contact is knocked at.
    147 KnocksSwitched {
        /// The contact; `None` for all.
        contact: Option<ContactId>,
        /// Whether it is.
        on: bool,
    }
    /// When the user was told of changes that were refused. Only a checkpoint has this.
    148 TellingKept {
        /// The contacts, and when the user was told.
        told: Vec<(ContactId, Timestamp)>,
    }
    /// Somebody revoked an onion, a key or both, and that is true. It is never taken back.
    152 RevocationTaken {
        /// The content that said so; `None` where a file did, and in a checkpoint.
        seen: Option<Box<ContentKey>>,
        /// The primary key.
        fingerprint: Fingerprint,
        /// What is revoked.
        revoked: Revoked,
        /// The contact with that key, which is written to no more.
        contact: Option<ContactId>,
        /// The message in INBOX that says so.
        notice: Option<Box<(FolderId, NewMessage)>>,
    }
}
