//! Replies about identities.

use serde::{Deserialize, Serialize};

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
