//! Replies about contacts.

use serde::{Deserialize, Serialize};

/// All contacts, in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contacts {
    /// One each.
    pub contacts: Vec<Contact>,
}

/// A contact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// What the owner of the address book calls it.
    pub petname: String,
    /// Its address.
    pub address: String,
    /// Its key.
    pub fingerprint: String,
    /// How well both know each other.
    pub status: ContactStatus,
    /// Receipts in both directions.
    pub receipts: Receipts,
    /// What is carried for it.
    pub carry: Carry,
    /// The contact who carries mail to it.
    pub via: Option<String>,
    /// How many boxes of it are known.
    pub boxes: usize,
    /// How it came into the address book, step by step.
    pub provenance: Vec<String>,
}

/// Receipts in both directions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipts {
    /// What the contact hears of its mail.
    pub given: ReceiptsGiven,
    /// Whether it returns receipts.
    pub expected: bool,
}

/// What is carried for a contact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carry {
    /// Whether it may leave mail for others here.
    pub allowed: bool,
    /// How many of its messages wait here.
    pub waiting: usize,
}

super::words! {
    /// How well two know each other.
    ContactStatus {
        /// Its invitation was used, and it has not answered.
        Greeting = "greeting",
        /// Both know each other.
        Confirmed = "confirmed",
        /// It wrote without a private invitation.
        Request = "request",
        /// What it sends is dropped.
        Blocked = "blocked",
    }
}

super::words! {
    /// What a contact hears of its mail.
    ReceiptsGiven {
        /// Nothing.
        None = "none",
        /// That what waited at a carrier was delivered.
        Delivered = "delivered",
        /// Also what was read.
        Read = "read",
    }
}
