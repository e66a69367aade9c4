//! How a card that was taken changes the acquaintance with its author.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::{ContactId, MacKey};
use crate::engine::state::book::{Contact, PendingCard, Provenance};

/// What an accepted card makes of its author.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Acquaintance {
    /// A new entry. Nothing happens if the onion, the key or the petname is taken.
    New(Box<Contact>),
    /// What we learn of a contact. Nothing happens if this card or a later one was taken.
    Known(Box<Renewal>),
}

impl Acquaintance {
    /// The contact that it is about.
    pub fn contact(&self) -> ContactId {
        match self {
            Self::New(contact) => contact.id,
            Self::Known(renewal) => renewal.contact,
        }
    }
}

/// What a contact's card tells us.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewal {
    /// The contact.
    pub contact: ContactId,
    /// Its certificate.
    pub certificate: Arc<[u8]>,
    /// The epoch of its binding.
    pub binding_epoch: u32,
    /// The number of the card.
    pub counter: u64,
    /// The key with which we authenticate from now on.
    pub outbound: MacKey,
    /// Whether the contact becomes confirmed.
    pub confirm: bool,
    /// The key of the invitation that the contact used: valid until the contact uses the newest key.
    pub inbound: Option<MacKey>,
    /// The card that the contact gets back.
    pub reply: Option<PendingCard>,
    /// The line that is added to the contact's history.
    pub provenance: Option<Provenance>,
}

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewal").field("contact", &self.contact).finish_non_exhaustive()
    }
}
