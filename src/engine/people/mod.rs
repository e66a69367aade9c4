//! The people whom an identity knows: invitations, contacts, cards and requests, parting from a contact,
//! revocations, rotation of encryption keys, knocks, by which contacts learn that it can be reached again, what was seen of
//! them, and what the user is told of them in INBOX.

pub(in crate::engine) mod cards;
pub(in crate::engine) mod consent;
pub(in crate::engine) mod consents;
pub(in crate::engine) mod contacts;
pub(in crate::engine) mod introductions;
pub(in crate::engine) mod knocks;
pub(in crate::engine) mod notices;
pub(in crate::engine) mod parting;
pub(in crate::engine) mod revocation;
pub(in crate::engine) mod rotation;
pub(in crate::engine) mod sightings;
