//! How much an answer tells a sender (docs/protocol.md, "Unrevealing answers").

use crate::engine::session::Sender;
use crate::wire::Status;

/// The answer to a sender: a contact is told the reason, every other sender the same for all reasons.
pub(in crate::engine) const fn frank(sender: Sender, reason: Status) -> Status {
    match sender {
        Sender::Contact(_) => reason,
        Sender::Invitation(_) | Sender::Stranger => Status::NotAvailable,
    }
}

/// The answer to a sender if we have no room.
pub(in crate::engine) const fn no_room(sender: Sender) -> Status {
    frank(sender, Status::NoSpace)
}
