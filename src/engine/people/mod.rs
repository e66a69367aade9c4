//! The people whom an identity knows: invitations, contacts and cards, and parting from a contact.

pub(in crate::engine) mod cards;
pub(in crate::engine) mod contacts;
pub(in crate::engine) mod parting;
