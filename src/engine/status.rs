//! How much an answer tells a sender (docs/protocol.md, "Unrevealing answers").

use crate::engine::session::Sender;
use crate::wire::Status;

/// What a sender is told: to a contact the reason, to others always the same.
pub(in crate::engine) const fn frank(sender: Sender, reason: Status) -> Status {
    match sender {
        Sender::Contact(_) => reason,
        Sender::Invitation(_) | Sender::Stranger => Status::NotAvailable,
    }
}

/// What a sender is told when we have no room.
pub(in crate::engine) const fn no_room(sender: Sender) -> Status {
    frank(sender, Status::NoSpace)
}
