//! Replies about the carrier of this node.

use serde::{Deserialize, Serialize};

/// The carrier, or the reason why it could not be opened.
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
    /// Whether it is switched on.
    pub enabled: bool,
    /// Whether its onion is published.
    pub reachable: bool,
    /// A problem that the owner should know.
    pub problem: Option<String>,
    /// The boxes of others.
    pub mailboxes: Vec<CarrierMailbox>,
    /// How many objects are in all of them.
    pub held: usize,
    /// How many bytes these have.
    pub stored: u64,
    /// How many more bytes may be left against tokens that were not spent.
    pub outstanding: u64,
    /// How many bytes all boxes together may hold; null where there is no bound.
    pub space: Option<u64>,
    /// How many invitations were not used.
    pub invitations: usize,
}

/// A box that somebody rents here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarrierMailbox {
    /// Its name: the fingerprint of its key.
    pub name: String,
    /// How many objects are in it.
    pub objects: usize,
    /// How many bytes they have.
    pub stored: u64,
    /// How many more bytes may be left in it against tokens that were not spent.
    pub outstanding: u64,
    /// How many bytes it may hold.
    pub quota: u64,
}

/// A carrier that could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokenCarrier {
    /// Always false.
    pub open: bool,
    /// Always false.
    pub enabled: bool,
    /// Why it could not be opened.
    pub problem: String,
    /// What the owner can do.
    pub hint: Option<String>,
}

/// Invitations to boxes that were just made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoxInvitations {
    /// The invitations, one entry each.
    pub invitations: Vec<BoxInvitation>,
    /// How many bytes such a box may hold.
    pub quota: u64,
    /// For how many days such a box holds objects.
    pub hold_days: u32,
}

/// An invitation to a box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoxInvitation {
    /// The text (`rune-box:…`).
    pub invitation: String,
    /// Until when it works.
    pub expires_at: String,
    /// How often it works.
    pub uses: u32,
}

/// The limits of a carrier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarrierLimits {
    /// How many bytes all boxes together may hold; null where there is no bound.
    pub space: Option<u64>,
    /// How many bytes they hold, and how many more may be left against tokens.
    pub promised: u64,
    /// How many bytes a box may hold if its invitation does not say.
    pub quota: u64,
    /// For how many days such a box holds objects.
    pub hold_days: u32,
    /// Whether anybody may have a box without an invitation.
    pub free_registration: bool,
    /// For how long an owner's identification counts: `session`, `command` or a number of seconds.
    pub identification: String,
}
