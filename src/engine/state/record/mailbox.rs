//! Records of folders and of the messages in them.

use crate::base::FolderId;
use crate::engine::encoding::records;
use crate::engine::state::mailbox::{FlagChange, FolderRole, NamedFlags, NewMessage, Uid};

records! {
    /// What happened to folders and messages.
    MailboxRecord
    /// A folder was made.
    2 FolderCreated {
        /// Its id.
        id: FolderId,
        /// Its name.
        name: String,
        /// What it is for.
        role: Option<FolderRole>,
        /// Its UIDVALIDITY.
        uid_validity: u32,
    }
    /// A folder was renamed.
    3 FolderRenamed {
        /// The folder.
        id: FolderId,
        /// Its new name.
        name: String,
    }
    /// A folder and its messages were deleted.
    4 FolderDeleted {
        /// The folder.
        id: FolderId,
    }
    /// A folder was subscribed or unsubscribed.
    5 FolderSubscribed {
        /// The folder.
        id: FolderId,
        /// Whether it is subscribed now.
        subscribed: bool,
    }
    /// A message of our own making was put into a folder: APPEND, a report, a copy to oneself.
    6 MessageAdded {
        /// The folder.
        folder: FolderId,
        /// The message.
        message: NewMessage,
    }
    /// Flags were changed.
    8 FlagsChanged {
        /// The folder.
        folder: FolderId,
        /// The messages.
        uids: Vec<Uid>,
        /// How they were changed.
        change: FlagChange,
        /// Which flags.
        flags: NamedFlags,
    }
    /// Messages were removed.
    9 Expunged {
        /// The folder.
        folder: FolderId,
        /// The messages.
        uids: Vec<Uid>,
    }
    /// Messages were copied or moved.
    10 Transferred {
        /// The folder that they come from.
        from: FolderId,
        /// The folder that they go to.
        to: FolderId,
        /// From UID and to UID of each.
        pairs: Vec<(Uid, Uid)>,
        /// Whether they also stay where they were.
        keep: bool,
    }
}
