//! The hosts of machines: the identities of a node and its carrier, each made, opened from its log, and published.
//!
//! Each host has two parts: a shell, which performs what the machine decides, and a handle for the rest of the daemon.

pub(super) mod account;
pub(super) mod carrier;
pub(super) mod identity;
mod keys;
pub(super) mod passwords;
mod seal_keys;
