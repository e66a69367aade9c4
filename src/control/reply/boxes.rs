//! Replies about boxes that an identity rents at carriers.

use serde::{Deserialize, Serialize};

/// The boxes of an identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boxes {
    /// One each.
    pub carriers: Vec<BoxStatus>,
}

/// A box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoxStatus {
    /// The name that its owner gives it.
    pub name: String,
    /// Always `box`.
    pub role: String,
    /// The carrier's onion.
    pub onion: String,
    /// How far it is.
    pub state: BoxState,
    /// Whether there is a session with the carrier.
    pub connected: bool,
    /// How far the last look is whether it works.
    pub check: Option<CheckState>,
    /// Why that failed.
    pub check_error: Option<String>,
    /// How many contacts have a place in it.
    pub contacts: usize,
    /// How many places it has.
    pub places: usize,
    /// How many contacts have none because all are taken.
    pub contacts_without_place: usize,
    /// Attempts in a row that did not reach the carrier.
    pub attempts: u32,
    /// When the next one is.
    pub next_at: Option<String>,
    /// Why the last one failed.
    pub last_error: Option<String>,
}

super::words! {
    /// How far a box is.
    BoxState {
        /// The carrier does not have it yet.
        Registering = "registering",
        /// The carrier has it, and no tokens for it.
        Preparing = "preparing",
        /// Mail can be left there.
        Open = "open",
        /// Contacts are told, then it is given up.
        Leaving = "leaving",
    }
}

super::words! {
    /// How far the look at a box is.
    CheckState {
        /// Something is being left there.
        Leaving = "leaving",
        /// It was left, and did not come back yet.
        Left = "left",
        /// It came back.
        Works = "works",
        /// It could not be left.
        Failed = "failed",
    }
}
