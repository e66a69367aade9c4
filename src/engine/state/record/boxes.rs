//! Records of boxes, of what is left there, and of receipts.

use crate::base::{BoxId, ContactId, ContentId, Onion, QueueId, Timestamp};
use crate::engine::encoding::records;
use crate::engine::state::boxes::ReceiptPolicy;
use crate::engine::state::boxes::contacts::{ContactBox, TokenIndex};
use crate::engine::state::boxes::own::{BoxChange, OwnBox};
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
    /// That messages were read was told to their author, or was left at one of the author's boxes.
    60 ReadsReturned {
        /// The author.
        contact: ContactId,
        /// The messages, by their signed ids.
        contents: Vec<ContentId>,
    }
}
