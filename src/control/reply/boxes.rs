//! Replies about boxes that an identity rents at carriers.

use serde::{Deserialize, Serialize};

/// The boxes of an identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boxes {
    /// The boxes, one entry each.
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
    /// How far the setting up of the box is.
    pub state: BoxState,
    /// Whether there is a session with the carrier.
    pub connected: bool,
    /// How far the last check of the box is.
    pub check: Option<CheckState>,
    /// Why the last check failed.
    pub check_error: Option<String>,
    /// How many contacts have a place in it.
    pub contacts: usize,
    /// How many places it has.
    pub places: usize,
    /// How many contacts have none because all are taken.
    pub contacts_without_place: usize,
    /// Attempts in a row that did not reach the carrier.
    pub attempts: u32,
    /// When the first of these failed.
    pub failing_since: Option<String>,
    /// What is wrong with the box, what that means for mail, and what to do.
    pub problem: Option<String>,
    /// When the next attempt is.
    pub next_at: Option<String>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

super::words! {
    /// How far the setting up of a box is.
    BoxState {
        /// The carrier does not have it yet.
        Registering = "registering",
        /// The carrier has it, and no tokens for it.
        Preparing = "preparing",
        /// Mail can be left there.
        Open = "open",
        /// The contacts are being told; then the box is given up.
        Leaving = "leaving",
    }
}

super::words! {
    /// How far the check of a box is.
    CheckState {
        /// A test object is being left in the box.
        Leaving = "leaving",
        /// The test object was left, and did not come back yet.
        Left = "left",
        /// The test object came back.
        Works = "works",
        /// The test object could not be left.
        Failed = "failed",
    }
}
