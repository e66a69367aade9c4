//! Where a log is, the sizes of its pieces, and how much of it is durable.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use crate::base::limits::{INLINE_BODY_BYTES, SEGMENT_BYTES};
use crate::store::vfs::Vfs;

/// The record numbers that are durable in one segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) segment: u64,
    pub(super) id: [u8; 16],
    pub(super) last: u64,
}

/// First record number → its segment.
pub(super) type Spans = Arc<Mutex<BTreeMap<u64, Span>>>;

/// Where a log is, and the sizes of its pieces.
pub(super) struct Site {
    pub(super) vfs: Arc<dyn Vfs>,
    pub(super) log_dir: PathBuf,
    pub(super) blob_dir: PathBuf,
    pub(super) sizes: Sizes,
    /// The file that is being written is no longer in its place: no commit is accepted any more.
    pub(super) gone: AtomicBool,
}

impl Site {
    /// The same place, on another file system.
    pub(super) fn over(&self, vfs: Arc<dyn Vfs>) -> Self {
        let (log_dir, blob_dir) = (self.log_dir.clone(), self.blob_dir.clone());
        Self { vfs, log_dir, blob_dir, sizes: self.sizes, gone: AtomicBool::new(false) }
    }
}

/// The sizes of the pieces of a log. [`Sizes::default`] is the product's; simulations use small ones, so that they meet
/// every case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// A segment, in bytes.
    pub segment: u64,
    /// A body up to this many bytes lies in the log, a larger one in a file of its own.
    pub inline_body: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { segment: SEGMENT_BYTES, inline_body: INLINE_BODY_BYTES }
    }
}
