//! Records of the address book.

use crate::base::{ContactId, InvitationId};
use crate::engine::encoding::records;
use crate::engine::state::book::{Contact, ContactChange, InvitationEntry};

records! {
    /// What happened in the address book.
    BookRecord
    /// A contact was put into the address book.
    16 ContactAdded {
        /// The entry.
        contact: Box<Contact>,
    }
    /// One thing about a contact changed. Never the whole entry, so that two changes at the same time do not undo each
    /// other.
    17 ContactChanged {
        /// The contact.
        id: ContactId,
        /// The change.
        change: ContactChange,
    }
    /// A contact was removed from the address book.
    18 ContactRemoved {
        /// The contact.
        id: ContactId,
    }
    /// An invitation was made.
    24 InvitationMade {
        /// The invitation.
        invitation: InvitationEntry,
    }
    /// An invitation was withdrawn.
    25 InvitationRevoked {
        /// The invitation.
        id: InvitationId,
    }
    /// The user said for whom a private invitation is. It is in the transaction that made the invitation, and is told to
    /// nobody.
    61 InvitationLabelled {
        /// The invitation.
        id: InvitationId,
        /// What the user calls the person.
        label: String,
    }
}
