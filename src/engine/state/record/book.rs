//! Records of the address book.

use crate::base::{ContactId, InvitationId};
use crate::engine::encoding::records;
use crate::engine::state::book::{Contact, ContactChange, InvitationEntry};

records! {
    /// What happened in the address book.
    BookRecord
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
}
