//! The people whom an identity knows: invitations, contacts and cards, and parting from somebody.

pub(in crate::engine) mod cards;
pub(in crate::engine) mod contacts;
pub(in crate::engine) mod parting;
