//! How a card that was taken changes the acquaintance with its author.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::{ContactId, MacKey};
use crate::engine::state::book::{Contact, PendingCard, Provenance};

/// What an accepted card makes of its author.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Acquaintance {
    /// A new entry. Nothing happens where the onion, the key or the petname is taken.
    New(Box<Contact>),
    /// What an entry learns. Nothing happens where it has seen this or a later card.
    Known(Box<Renewal>),
}

impl Acquaintance {
    /// Whom it is about.
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
    /// Who.
    pub contact: ContactId,
    /// Its certificate.
    pub certificate: Arc<[u8]>,
    /// The epoch of its binding.
    pub binding_epoch: u32,
    /// The number of the card.
    pub counter: u64,
    /// The key with which we authenticate from now on.
    pub outbound: MacKey,
    /// Whether it becomes confirmed.
    pub confirm: bool,
    /// The key of the invitation that it used: valid until it uses the newest.
    pub inbound: Option<MacKey>,
    /// The card that it gets back.
    pub reply: Option<PendingCard>,
    /// What is added to how we know it.
    pub provenance: Option<Provenance>,
}

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewal").field("contact", &self.contact).finish_non_exhaustive()
    }
}
