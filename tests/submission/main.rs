//! Submission, as mail programs and attackers speak it: scripts against the gateway over a pipe.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice)]

mod connections;
mod fake;
mod messages;
mod session;
