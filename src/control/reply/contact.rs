//! Replies about contacts.

use serde::{Deserialize, Serialize};

/// All contacts, in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contacts {
    /// The contacts, one entry each.
    pub contacts: Vec<Contact>,
}

/// A contact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// The name that the owner of the address book gave it.
    pub petname: String,
    /// Its address.
    pub address: String,
    /// The shortest address at which a mail program of the user writes to it.
    pub write_to: String,
    /// Its key.
    pub fingerprint: String,
    /// How well the contact and the user know each other.
    pub status: ContactStatus,
    /// When the user verified it, by the number that both compared.
    pub verified_at: Option<String>,
    /// What the contact revoked of its identity.
    #[serde(default)]
    pub revoked: Option<Revoked>,
    /// Receipts in both directions.
    pub receipts: Receipts,
    /// The mail of others that the contact may leave here.
    pub carry: Carry,
    /// The contact through whom mail for it is forwarded.
    pub via: Option<String>,
    /// Whether it may introduce the user to others: `yes`, `ask` or `never`.
    pub introductions: String,
    /// Whether it is shown when the node can be reached again, where contacts are (`knock` of the identity).
    #[serde(default = "super::yes")]
    pub knock: bool,
    /// How many of its boxes are known.
    pub boxes: usize,
    /// The onions of the carriers at which these boxes are.
    pub carriers: Vec<String>,
    /// When it was last seen, to the minute: it was online, or something came from it, or a message reached it. Absent
    /// where that is not remembered.
    pub last_seen_at: Option<String>,
    /// How many copies of what had come before came from it since the start of the daemon. They were dropped.
    pub duplicates: u64,
    /// How it came into the address book, step by step, in words.
    pub provenance: Vec<String>,
    /// The same steps, for programs.
    pub met: Vec<Meeting>,
    /// The user's own invitation that it used, while that is remembered.
    pub invitation: Option<UsedInvitation>,
}

/// What an identity revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// What: `address`, `key` or `address and key`.
    pub what: String,
    /// When it was revoked, or, of a contact, when that became known here.
    pub at: String,
}

/// One step by which a contact came into the address book.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meeting {
    /// When.
    pub at: String,
    /// In what way.
    pub how: Met,
    /// Who introduced the contact and the user to each other; absent where nobody did, and where that is no contact any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// A contact that took the place of another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced {
    /// The contact, as it is now.
    pub contact: Contact,
    /// How many messages that waited for the other one go to this one.
    pub moved: usize,
    /// How many ended with a report.
    pub ended: usize,
}

super::words! {
    /// In what way a contact came into the address book.
    Met {
        /// The user used an invitation of the contact.
        InvitationUsed = "invitation_used",
        /// The contact used an invitation of the user.
        InvitationMade = "invitation_made",
        /// It wrote without a private invitation.
        Unasked = "unasked",
        /// Another contact introduced both.
        Introduced = "introduced",
    }
}

/// An invitation that a contact used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsedInvitation {
    /// When the user made it.
    pub made_at: String,
    /// For whom the user made it, where they said so.
    pub label: Option<String>,
}

/// The verification number of a contact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// The name that the owner of the address book gave it.
    pub petname: String,
    /// Its address.
    pub address: String,
    /// Eight groups of five digits, with a space between them.
    pub number: String,
    /// When the user verified the contact.
    pub verified_at: Option<String>,
}

/// Receipts in both directions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipts {
    /// The receipts that the contact is sent.
    pub given: ReceiptsGiven,
    /// Whether it returns receipts.
    pub expected: bool,
}

/// The mail for others that is forwarded for a contact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carry {
    /// Whether the contact may leave mail for others here.
    pub allowed: bool,
    /// How many of its messages wait here.
    pub waiting: usize,
}

super::words! {
    /// How well a contact and the user know each other.
    ContactStatus {
        /// The user used its invitation, and it has not answered.
        Greeting = "greeting",
        /// Both know each other.
        Confirmed = "confirmed",
        /// It wrote without a private invitation.
        Request = "request",
        /// Everything that it sends is dropped.
        Blocked = "blocked",
        /// It revoked its address or key.
        Revoked = "revoked",
    }
}

super::words! {
    /// The receipts that a contact is sent.
    ReceiptsGiven {
        /// None.
        None = "none",
        /// That mail which waited at a carrier was delivered.
        Delivered = "delivered",
        /// Also that mail was read.
        Read = "read",
    }
}
