//! What runs machines: the identities of a node and its carrier, each made, opened from its log, and published.
//!
//! Of each there is a shell, which performs what the machine decides, and what the rest of the daemon knows it by.

pub(super) mod account;
pub(super) mod carrier;
pub(super) mod identity;
mod keys;
pub(super) mod passwords;
