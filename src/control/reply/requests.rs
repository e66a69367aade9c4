//! Replies about what waits for a decision of the user.

use serde::{Deserialize, Serialize};

/// The people and introductions that wait for a decision of the user, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// The requests, one entry each.
    pub requests: Vec<WaitingRequest>,
}

/// Something that waits for a decision of the user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingRequest {
    /// Its name, for accepting and rejecting: the address of somebody who asks, or the id of an introduction.
    pub id: String,
    /// What is asked.
    pub kind: RequestKind,
    /// The petname of who asks, or introduces.
    pub from: String,
    /// The address of whoever would become a contact; unknown where a contact wants to introduce us to somebody.
    pub address: Option<String>,
    /// To how many others a message of `from` would show the user, where an ask is because of one.
    pub others: Option<u8>,
    /// When it came.
    pub at: String,
}

super::words! {
    /// What is asked of the user.
    RequestKind {
        /// Somebody without a private invitation asks to become a contact.
        Stranger = "stranger",
        /// A contact would like to introduce us to somebody.
        Ask = "ask",
        /// A contact introduces somebody to us.
        Introduction = "introduction",
    }
}
