//! Replies about messages that wait to be sent, and about those that ended lately.

use serde::{Deserialize, Serialize};

/// Waiting messages, the oldest first; or messages that ended, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// A row for every recipient of every message.
    pub queue: Vec<QueuedRecipient>,
}

/// One recipient of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedRecipient {
    /// The message's id.
    pub id: String,
    /// The recipient's petname; its address where it is not a contact.
    pub to: String,
    /// The recipient's address.
    pub address: String,
    /// What it is.
    #[serde(default)]
    pub kind: QueuedKind,
    /// How far the message is with this recipient.
    pub state: RecipientState,
    /// Those who have not agreed yet to be shown to the others whom the message names; while there are some it is sent to nobody.
    #[serde(default)]
    pub consent: Vec<String>,
    /// The carriers and friends that hold copies.
    pub custody: Vec<Copy>,
    /// Whether it may have arrived although no acknowledgement did.
    pub may_have_arrived: bool,
    /// Whether its sender was told that it is late.
    pub late: bool,
    /// Attempts in a row that did not reach the recipient.
    pub attempts: u32,
    /// When the first of these failed.
    pub failing_since: Option<String>,
    /// When it was submitted.
    pub submitted_at: String,
    /// When the next attempt is.
    pub next_at: Option<String>,
    /// Until when delivery is tried.
    pub expires_at: String,
    /// When it ended.
    pub ended_at: Option<String>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// When new tokens for the recipient's boxes count, where none that fits is left; null where one is, and where the
    /// recipient has no box for such a message.
    #[serde(default)]
    pub tokens_from: Option<String>,
}

/// [`QueuedRecipient::last_error`] where the recipient's node, or a carrier, asks to try again later. A clock that is
/// wrong is one of the reasons for which they do.
pub const TRY_LATER: &str = "their node asks to try again later";

/// A copy that a carrier or a friend holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copy {
    /// The onion at which it was left.
    pub carrier: String,
    /// The petname of the friend who brings it; null where a carrier holds it.
    pub friend: Option<String>,
    /// Since when it is there.
    pub since: String,
}

/// One message with all its recipients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedMessage {
    /// Its id.
    pub id: String,
    /// What it is.
    #[serde(default)]
    pub kind: QueuedKind,
    /// Its subject; empty where it is no mail.
    pub subject: String,
    /// Its field Message-ID.
    pub message_id: String,
    /// Its length.
    pub size: u32,
    /// When it was submitted.
    pub submitted_at: String,
    /// Until when delivery is tried.
    pub expires_at: String,
    /// Whether its sender was told that it is late.
    pub late: bool,
    /// Its recipients.
    pub recipients: Vec<QueuedRecipient>,
}

/// The message on which a command acted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueId {
    /// Its id.
    pub id: String,
}

super::words! {
    /// What waits in the queue.
    #[derive(Default)]
    QueuedKind {
        /// Mail.
        #[default]
        Mail = "mail",
        /// The question whether the recipient agrees to be introduced, or to be shown to the others in a message.
        Ask = "introduction_ask",
        /// The user's consent to be introduced, or shown to others.
        Grant = "introduction_grant",
        /// The introduction of somebody to the recipient.
        Introduction = "introduction",
        /// The word that the identity is revoked.
        Revocation = "revocation",
    }
}

super::words! {
    /// How far a message is with one recipient.
    RecipientState {
        /// It waits.
        Queued = "queued",
        /// Carriers or friends hold copies of it.
        Held = "held",
        /// A carrier had it until it expired, and no receipt will come; or the friend who forwards it says that it was
        /// delivered.
        HandedOver = "handed_over",
        /// The recipient's node has it.
        Delivered = "delivered",
        /// The recipient has read it.
        Read = "read",
        /// Its time ran out.
        Expired = "expired",
        /// It ended, and may have arrived.
        Unconfirmed = "unconfirmed",
        /// The recipient's node refuses it.
        Refused = "refused",
        /// It could not be sent.
        Failed = "failed",
        /// Its sender took it back.
        Cancelled = "cancelled",
    }
}
