//! Records of the contents that peers sent.

use crate::base::{ContactId, FolderId, InvitationId};
use crate::engine::encoding::records;
use crate::engine::state::book::Acquaintance;
use crate::engine::state::mailbox::NewMessage;
use crate::engine::state::record::{ContentKey, Evidence};

records! {
    /// What became of a content that a peer sent.
    ReceivedRecord
    /// A message of a peer was opened, verified and put into a folder.
    7 Delivered {
        /// The folder.
        folder: FolderId,
        /// The message.
        message: NewMessage,
        /// The contact that wrote it.
        contact: ContactId,
        /// Its name among the duplicates.
        seen: ContentKey,
        /// The signed content; `None` where the body is not what was signed: a converted JSON message, or one whose header
        /// had no room for the names that its author wrote.
        evidence: Option<Evidence>,
    }
    /// A card was verified and taken: makes or renews a contact and uses up the invitation, all at once or not at all.
    19 CardAccepted {
        /// The card's name among the duplicates.
        seen: ContentKey,
        /// The invitation whose secret it brought.
        invitation: Option<InvitationId>,
        /// How it changes the acquaintance with its author.
        acquaintance: Acquaintance,
        /// If its author waits for an answer: the message in Requests by which the user decides.
        notice: Option<(FolderId, NewMessage)>,
    }
    /// A content was acknowledged and dropped: its author is blocked, or too many wait for an answer. It costs a commit
    /// like any other content, so that the author cannot tell from the time that it took.
    20 Discarded {
        /// Its name among the duplicates.
        seen: ContentKey,
    }
}
