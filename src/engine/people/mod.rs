//! The people whom an identity knows: invitations, contacts, cards and requests, parting from a contact,
//! revocations, knocks, by which contacts learn that it can be reached again, and what was seen of them.

pub(in crate::engine) mod cards;
pub(in crate::engine) mod consent;
pub(in crate::engine) mod consents;
pub(in crate::engine) mod contacts;
pub(in crate::engine) mod introductions;
pub(in crate::engine) mod knocks;
pub(in crate::engine) mod parting;
pub(in crate::engine) mod revocation;
pub(in crate::engine) mod sightings;
