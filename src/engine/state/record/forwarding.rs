//! Records of forwarding: objects that a friend brings to somebody else's node.

use crate::base::{ContactId, Onion};
use crate::engine::encoding::records;
use crate::engine::state::forwarding::{Fate, Forwarded, Handed, ObjectHash};

records! {
    /// What happened to objects that somebody brings for somebody else.
    ForwardingRecord
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
}
