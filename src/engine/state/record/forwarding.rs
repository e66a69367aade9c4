//! Records of forwarding: objects that a friend brings to somebody else's node.

use crate::base::{ContactId, Onion};
use crate::engine::encoding::records;
use crate::engine::state::forwarding::{Fate, Forwarded, Handed, ObjectHash};

records! {
    /// What happened in forwarding.
    ForwardingRecord
    /// Whether we forward for a contact.
    26 ForwardingAllowed {
        /// The contact.
        contact: ContactId,
        /// Whether we do.
        on: bool,
    }
    /// The friend who forwards what we send to a contact that does not answer.
    27 ForwarderChosen {
        /// The contact.
        contact: ContactId,
        /// The friend; `None` for none.
        friend: Option<ContactId>,
    }
    /// A contact gave us an object to forward.
    28 ForwardedTaken {
        /// The object.
        forwarded: Box<Forwarded>,
    }
    /// An object is forwarded no further.
    29 ForwardedEnded {
        /// The contact that gave it.
        contact: ContactId,
        /// The object.
        object: ObjectHash,
        /// Its fate.
        fate: Fate,
    }
    /// A contact was told of these fates, or that is at one of its boxes.
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
        /// The friend, the message, and the recipient.
        handed: Box<Handed>,
    }
    /// A friend says what became of a copy.
    46 FateHeard {
        /// The friend.
        friend: ContactId,
        /// The copy.
        object: ObjectHash,
        /// Its fate.
        fate: Fate,
    }
    /// An object in a box of ours cannot be opened: the contacts that may have left it are to be told.
    165 ObjectUnread {
        /// The contacts that have a seat in that box.
        contacts: Vec<ContactId>,
        /// The object.
        object: ObjectHash,
    }
}
