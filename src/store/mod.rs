//! The store: the only code that touches mail and state files (docs/on-disk.md).
//!
//! [`Log`] is the truth of an identity: an append-only, sealed, segmented log of records and bodies. [`Keyring`] holds
//! the keys that open it. [`View`] is a cache in sled that may be deleted at any time. All three write through
//! [`vfs::Vfs`] (sled excepted, which is never on a commit path), so that every operation can be made to fail in a
//! test.
//!
//! A node starts with [`Keyring::unlock`]; then for each of [`Keyring::identities`] it takes what
//! [`IdentityView::load_state`] has, gives its position to [`Log::open`] (and nothing, if the answer is
//! [`OpenError::UnknownPosition`]), and folds what is replayed. A new identity is [`Log::create`] and its
//! first records, then [`Keyring::add_identity`]: that is the moment from which it exists.

mod archive;
mod codec;
mod crypt;
mod inventory;
#[cfg(test)]
mod inventory_tests;
mod keys;
mod log;
mod removal;
pub mod vfs;
mod view;

pub use archive::{Archive, ArchiveError, ArchiveWriter};
pub use crypt::OsRng;
pub use inventory::{
    Missing, begin_first_start, begin_making, end_first_start, end_making, failed_first_start, missing,
    missing_segments,
};
pub use keys::{Keyring, Passphrase, SEAL_KEYS, UnlockError};
pub use log::{
    Commit, CompactError, Compacted, Completion, Contents, Damage, Log, LogMark, LogPosition, OpenError, Pins,
    ReadError, Sizes, SteppedLog,
};
pub use removal::{begin_removal, end_removal, removals};
pub use view::{IdentityView, View};
