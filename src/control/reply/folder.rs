//! Replies about folders and messages.

use serde::{Deserialize, Serialize};

/// A folder with its messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    /// Its name.
    pub folder: String,
    /// Its messages, in the order of their UIDs.
    pub messages: Vec<FolderMessage>,
}

/// A message of a folder. The texts from its header were written by others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderMessage {
    /// Its UID.
    pub uid: u32,
    /// When it came into the folder.
    pub date: String,
    /// Its length.
    pub size: u32,
    /// Whether it was read.
    pub seen: bool,
    /// The field From.
    pub from: String,
    /// The field To.
    pub to: String,
    /// The field Subject.
    pub subject: String,
    /// The field Message-ID.
    pub message_id: String,
    /// Why it cannot be read.
    pub problem: Option<String>,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its UID.
    pub uid: u32,
    /// Its bytes as they were received, in base64.
    pub message: String,
}
