//! The IMAP gateway as mail programs meet it: over TCP, with transcripts of what they send.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]

mod clients;
mod fake;
mod logins;
mod messages;
mod places;
mod searches;
mod sessions;
mod uploads;
