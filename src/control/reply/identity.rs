//! Replies about identities.

use serde::{Deserialize, Serialize};

use super::Revoked;

/// All identities of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identities {
    /// The identities, one entry each.
    pub identities: Vec<Identity>,
}

/// An identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// What its owner calls it. At first it is the part of its address before `@`.
    pub name: String,
    /// Its address.
    pub address: String,
    /// Its key.
    pub fingerprint: String,
    /// Whether a command means it that names no identity: it was chosen, or is the only one.
    #[serde(rename = "default")]
    pub is_default: bool,
    /// Whether its onion is published.
    pub reachable: bool,
    /// Whether its onion is to be published.
    pub listen: Listen,
    /// Whether contacts are shown that it can be reached again.
    #[serde(default = "super::yes")]
    pub knock: bool,
    /// What its owner revoked of it: it sends no mail then.
    #[serde(default)]
    pub revoked: Option<Revoked>,
    /// The contacts that have not acknowledged the revocation yet, by their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub untold: Vec<String>,
}

/// An identity that was revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// The identity.
    #[serde(flatten)]
    pub identity: Identity,
    /// How many contacts are being told.
    pub contacts: usize,
    /// What everybody else can be given: the content of a file.
    pub statement: String,
}

/// Whose revocation a file was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevocationTaken {
    /// Its key.
    pub fingerprint: String,
    /// The onion that was bound to it.
    pub onion: String,
    /// What is revoked: `address`, `key` or `address and key`.
    pub what: String,
    /// The contact with that key, which is written to no more.
    pub petname: Option<String>,
}

/// An identity that has another name now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renamed {
    /// The identity.
    #[serde(flatten)]
    pub identity: Identity,
    /// The name for which config.toml has settings that were this identity's.
    pub settings_of: Option<String>,
}

/// What this node has of an identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holdings {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
    /// The number of messages in its folders.
    pub messages: usize,
    /// The number of messages that wait to be sent.
    pub waiting: usize,
    /// The number of its contacts.
    pub contacts: usize,
    /// The names of its boxes.
    pub boxes: Vec<String>,
}

super::words! {
    /// Whether an onion is to be published.
    Listen {
        /// While the node runs.
        Always = "always",
        /// Never: mail comes by boxes only.
        Never = "never",
    }
}
