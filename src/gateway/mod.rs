//! Local listeners for mail programs: IMAP and submission.

pub mod account;
pub mod imap;
pub mod pacer;
mod places;
pub mod submission;
pub mod uploads;
