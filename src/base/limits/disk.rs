//! The log, the disk, the view, and passphrases.

use std::time::Duration;

use super::{KIB, MESSAGE_BYTES, MIB};

/// A segment of the log, in bytes: small enough that compaction rewrites little, large enough that a mailbox of
/// 100 GB has fewer than 2,000.
pub const SEGMENT_BYTES: u64 = 64 * MIB as u64;
/// A body up to this many bytes lies in the log; a larger one in a file of its own.
pub const INLINE_BODY_BYTES: usize = MIB;
/// Bodies of one transaction that lie in the log, in bytes together; further ones get files, so that the transaction
/// fits a segment.
pub const TRANSACTION_INLINE_BYTES: usize = 16 * MIB;
/// Records of one transaction, in bytes together (a change of every message of the largest folder is 4 MB).
pub const TRANSACTION_RECORD_BYTES: usize = 16 * MIB;
/// How many bytes one write to the log gathers: further commits wait for the next write.
pub const COMMIT_BATCH_BYTES: usize = 16 * MIB;
/// Compaction copies bodies in pieces of about this many bytes, so that mail is not kept waiting.
pub const COMPACTION_PIECE_BYTES: usize = MIB;
/// If more closed segments than this are small, they are copied into one: every start of the daemon makes one.
pub const SMALL_SEGMENTS: usize = 16;
/// A start reads at most about this many segments' worth of log behind the newest checkpoint.
pub const REPLAYED_SEGMENTS: u64 = 4;
/// Files that compaction has made useless stay for this long, so that a copy of the directory that is made meanwhile is
/// whole.
pub const OBSOLETE_KEPT: Duration = Duration::from_secs(3600);
/// How often it is checked whether a log can give back space.
pub const UPKEEP: Duration = Duration::from_secs(10 * 60);
/// A lazy commit is synced this soon.
pub const LAZY_SYNC: Duration = Duration::from_millis(100);
/// After a failed sync, lazy commits that were already reported are written again this soon.
pub const LAZY_RETRY: Duration = Duration::from_secs(1);
/// Log numbers skipped at every start. They are more than a segment can hold (a record takes four bytes at least), so
/// that a number that was lost with a torn tail is never given again.
pub const LOG_NUMBER_GAP: u64 = SEGMENT_BYTES / 4;
/// Damaged messages that a node reports to its user between two starts.
pub const DAMAGE_TOLD: usize = 100;
/// Free space that new mail must leave, in bytes.
pub const DISK_RESERVE_BYTES: u64 = 256 * MIB as u64;
/// With less free space than this, in bytes, a message may be refused: a large one first.
pub const ENOUGH_DISK_BYTES: u64 = DISK_RESERVE_BYTES + MESSAGE_BYTES as u64;
/// Free space that objects left at a carrier must leave, in bytes: the owner's own mail has the rest.
pub const CARRIER_RESERVE_BYTES: u64 = 2 * DISK_RESERVE_BYTES;
/// Free space that reports, and changes without new mail, must leave, in bytes. They may use the rest of the reserve,
/// so that a full disk can be emptied and its owner is told.
pub const DISK_FLOOR_BYTES: u64 = 64 * MIB as u64;
/// Memory of Argon2id for a passphrase, in KiB (RFC 9106 §4, second recommendation).
pub const PASSPHRASE_MEMORY_KIB: u32 = 64 * KIB as u32;
/// Passes of Argon2id for a passphrase.
pub const PASSPHRASE_PASSES: u32 = 3;
/// Lanes of Argon2id for a passphrase.
pub const PASSPHRASE_LANES: u32 = 4;
/// sled's cache of the view, in bytes (its own default is 1 GiB).
pub const VIEW_CACHE_BYTES: u64 = 16 * MIB as u64;
/// A value of the view, in bytes: sled puts larger ones into files of their own.
pub const VIEW_VALUE_BYTES: usize = 64 * KIB;
/// Rows that wait for the view's writer; more are dropped, and computed again when they are needed.
pub const VIEW_WAITING: usize = 4096;
/// Below this size the view is not checked for waste, in bytes.
pub const VIEW_WASTE_BYTES: u64 = 64 * MIB as u64;
