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
    /// The part of its address before `@`.
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
