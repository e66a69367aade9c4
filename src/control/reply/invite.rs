//! Replies about invitations to become contacts.

use serde::{Deserialize, Serialize};

/// An invitation that was just made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// Its id.
    pub id: String,
    /// The text (`rune:…`).
    pub invitation: String,
    /// Until when it works.
    pub expires_at: String,
    /// How often it works; null where that has no bound.
    pub uses: Option<u32>,
    /// For whom it is, where that was said. It is not in the text.
    #[serde(default, rename = "for")]
    pub label: Option<String>,
    /// Why the person who uses it may get another name than that, and what to do; null where nothing speaks against the name.
    #[serde(default)]
    pub name_taken: Option<String>,
}

/// Invitations that can still be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenInvitations {
    /// The invitations, one entry each.
    pub invitations: Vec<OpenInvitation>,
}

/// An invitation that can still be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenInvitation {
    /// Its id.
    pub id: String,
    /// Whether many may use it.
    pub public: bool,
    /// When it was made.
    pub made_at: String,
    /// Until when it works.
    pub expires_at: String,
    /// For whom it is, where that was said.
    #[serde(default, rename = "for")]
    pub label: Option<String>,
}
