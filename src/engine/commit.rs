//! Parts of a commit that the logs of identities and of carriers share: what it contains besides its records, when it
//! is reported, and why it may fail.

use std::sync::Arc;

use crate::base::BodyId;

/// Bytes that a transaction brings along; records name them by their id.
#[derive(Clone)]
pub struct NewBody {
    /// The name by which records refer to it.
    pub id: BodyId,
    /// The bytes.
    pub bytes: Arc<[u8]>,
    /// Where it has its end in common with another body: the store may keep that end once for both.
    pub shared: Option<SharedEnd>,
    /// Whether it is a report of the node's own, which may use the space that is kept back when a disk fills up.
    pub report: bool,
}

impl NewBody {
    /// A body that shares nothing.
    pub const fn new(id: BodyId, bytes: Arc<[u8]>) -> Self {
        Self { id, bytes, shared: None, report: false }
    }
}

/// Says that the bytes of a body from a place on are those of another body from a place to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedEnd {
    /// The place in this body, in bytes.
    pub at: usize,
    /// The other body: committed, or before this one in the same transaction.
    pub of: BodyId,
    /// The place in the other body, in bytes.
    pub from: u64,
}

/// When a commit is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// After the log was synced: everything that acknowledges mail.
    Synced,
    /// At once; the sync follows within 100 ms: flag changes only.
    Lazy,
}

/// Why a commit did not happen. Nothing of the transaction is in effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Too little space on the disk. Nothing of the transaction will ever be there.
    #[error("too little space on the disk")]
    NoSpace,
    /// Writing or syncing failed. Until the next commit succeeds, a crash may bring all of the transaction back: so
    /// nobody can say that it is not there.
    #[error("writing to the disk failed")]
    Io,
}
