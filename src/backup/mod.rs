//! Backups (docs/on-disk.md, "Backup"): one file that a passphrase opens, and that holds a whole node: its keys, its
//! configuration, and the logs of its identities as they were at one moment.
//!
//! A backup is a copy of files that do not change while it is made. Its files are opened and read for [`verify()`]
//! without being written anywhere; [`restore()`] writes it into an empty data directory, where the next start continues
//! from it.

mod contents;
mod create;
mod files;
mod last;
mod restore;
mod verify;
mod whole;

pub use contents::{Entry, contents};
pub use create::{Made, Order, create};
pub use files::{Backup, open};
pub use last::Last;
pub(crate) use restore::restored_from;
pub use restore::{NODE_MARK, mark, restore, was_interrupted};
pub use verify::{Checked, CheckedIdentity, verify};
pub use whole::{check_logs, check_whole, lacks_parts};

use crate::control::{Code, Failure};

/// Is told how many bytes are done, and of how many; an error that it returns ends the work.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64) -> Result<(), Failure>;

fn failed(what: &str, error: impl std::fmt::Display) -> Failure {
    Failure::new(Code::Failed, format!("{what}: {error}"))
}

#[cfg(test)]
mod tests;
