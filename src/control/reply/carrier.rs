//! Replies about the carrier of this node.

use serde::{Deserialize, Serialize};

/// The carrier, or why it is not there although it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum CarrierStatus {
    /// It is open.
    Open(Carrier),
    /// It could not be opened.
    Broken(BrokenCarrier),
}

/// A carrier that is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carrier {
    /// Its onion.
    pub onion: String,
    /// Its key.
    pub fingerprint: String,
    /// Always true.
    pub open: bool,
    /// Whether it carries.
    pub enabled: bool,
    /// Whether its onion is published.
    pub reachable: bool,
    /// A note for the owner.
    pub problem: Option<String>,
    /// The boxes of others.
    pub mailboxes: Vec<CarrierMailbox>,
    /// How many objects are in all of them.
    pub held: usize,
    /// How large these are.
    pub stored: u64,
    /// How much may still be left against tokens that were not spent.
    pub outstanding: u64,
    /// What all boxes may take; null where there is no bound.
    pub space: Option<u64>,
    /// How many invitations were not used.
    pub invitations: usize,
}

/// The box of somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarrierMailbox {
    /// Its name: the fingerprint of its key.
    pub name: String,
    /// How many objects are in it.
    pub objects: usize,
    /// How large they are.
    pub stored: u64,
    /// How much may still be left there against tokens that were not spent.
    pub outstanding: u64,
    /// The most that it may take.
    pub quota: u64,
}

/// A carrier that could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokenCarrier {
    /// Always false.
    pub open: bool,
    /// Always false.
    pub enabled: bool,
    /// Why.
    pub problem: String,
    /// What to do.
    pub hint: Option<String>,
}

/// Invitations to the box that were just made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoxInvitations {
    /// One each.
    pub invitations: Vec<BoxInvitation>,
    /// What such a box may take.
    pub quota: u64,
    /// For how many days it holds what was left.
    pub hold_days: u32,
}

/// An invitation to the box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoxInvitation {
    /// The text (`rune-box:…`).
    pub invitation: String,
    /// Until when it works.
    pub expires_at: String,
    /// How often it works.
    pub uses: u32,
}

/// What a carrier allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarrierLimits {
    /// What all boxes may take; null where there is no bound.
    pub space: Option<u64>,
    /// What they hold, and may still be left against tokens.
    pub promised: u64,
    /// What a box may take whose invitation does not say.
    pub quota: u64,
    /// For how many days such a box holds what was left.
    pub hold_days: u32,
    /// Whether anybody may have a box without an invitation.
    pub free_registration: bool,
    /// For how long an owner's identification counts: `session`, `command` or a number of seconds.
    pub identification: String,
}
