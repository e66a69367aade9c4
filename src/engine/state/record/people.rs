//! Records of what the user knows of people.

use crate::base::ids::Fingerprint;
use crate::base::{ContactId, FolderId, Timestamp};
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
    /// Somebody revoked an onion, a key or both, and that is true. It is never taken back.
    152 RevocationTaken {
        /// The content that said so; `None` where a file did, and in a checkpoint.
        seen: Option<ContentKey>,
        /// The primary key.
        fingerprint: Fingerprint,
        /// What is revoked.
        revoked: Revoked,
        /// The contact with that key, which is written to no more.
        contact: Option<ContactId>,
        /// The message in INBOX that says so.
        notice: Option<(FolderId, NewMessage)>,
    }
}
