//! Records of boxes, of the objects that are left there, and of receipts.

use crate::base::{BoxId, ContactId, ContentId, Onion, QueueId, Timestamp};
use crate::engine::encoding::records;
use crate::engine::state::boxes::ReceiptPolicy;
use crate::engine::state::boxes::contacts::{ContactBox, TokenIndex};
use crate::engine::state::boxes::own::{BoxChange, OwnBox};
use crate::engine::state::forwarding::ObjectHash;
use crate::mail::Receipt;

records! {
    /// What happened to boxes of ours and of contacts.
    BoxRecord
    /// A box was rented at a carrier: its keys are made, the carrier does not know it yet.
    48 BoxRented {
        /// The box.
        own_box: Box<OwnBox>,
    }
    /// One thing about a box of ours changed.
    49 BoxChanged {
        /// The box.
        id: BoxId,
        /// The change.
        change: BoxChange,
    }
    /// A box of ours is given up.
    50 BoxRemoved {
        /// The box.
        id: BoxId,
    }
    /// The boxes of a contact, as its card of this number names them. Nothing happens if a later card was taken.
    51 BoxesNamed {
        /// The author.
        contact: ContactId,
        /// The number of the card.
        counter: u64,
        /// The boxes.
        boxes: Vec<ContactBox>,
    }
    /// A token is about to be shown at a box of a contact, with a copy of a message or with receipts. Committed before
    /// the first byte leaves.
    52 Deposited {
        /// The contact.
        contact: ContactId,
        /// The message; `None` for receipts.
        queue: Option<QueueId>,
        /// The onion of the box.
        onion: Onion,
        /// The token.
        place: TokenIndex,
        /// The receipt that the copy asks for.
        receipt: Receipt,
    }
    /// The carrier says that it has a copy, or that it does not.
    53 DepositSettled {
        /// The contact.
        contact: ContactId,
        /// The message.
        queue: QueueId,
        /// The receipt of the copy.
        receipt: Receipt,
        /// Since when the carrier holds it; `None` if it says that it does not.
        held: Option<Timestamp>,
    }
    /// The sealed object that a copy is, which is about to be left: committed together with [`Self::Deposited`].
    163 ObjectNamed {
        /// The contact.
        contact: ContactId,
        /// The message.
        queue: QueueId,
        /// The receipt of the copy.
        receipt: Receipt,
        /// The object.
        object: ObjectHash,
    }
    /// The recipient cannot open an object that was left for it.
    164 ObjectLost {
        /// The recipient.
        contact: ContactId,
        /// The object.
        object: ObjectHash,
    }
    /// Mail came through a box: its author is owed these receipts.
    54 ReceiptsDue {
        /// The author.
        contact: ContactId,
        /// The receipts.
        receipts: Vec<Receipt>,
    }
    /// The author has these receipts, or one of the author's boxes does.
    55 ReceiptsReturned {
        /// The author.
        contact: ContactId,
        /// The receipts.
        receipts: Vec<Receipt>,
    }
    /// The invitation of a contact that we greet names these carriers, where a page is and an answer can be left.
    56 PagesNamed {
        /// The contact.
        contact: ContactId,
        /// The carriers.
        carriers: Vec<Onion>,
    }
    /// What a contact is told of its mail.
    57 ReceiptsSwitched {
        /// The contact.
        contact: ContactId,
        /// What it is told.
        told: ReceiptPolicy,
    }
    /// The promise of receipts in the card of this number. Nothing happens if a later card was taken.
    58 ReceiptsPromised {
        /// The author.
        contact: ContactId,
        /// The number of the card.
        counter: u64,
        /// Whether its author returns receipts.
        promised: bool,
    }
    /// The author was told that messages were read, or that is at one of the author's boxes.
    60 ReadsReturned {
        /// The author.
        contact: ContactId,
        /// The messages, by their signed ids.
        contents: Vec<ContentId>,
    }
}
