//! Boxes, carriers and what is forwarded.

use std::time::Duration;

use super::{EXPIRY_MAX, KIB, MIB};

/// The largest object that can be left in a box, in bytes: the highest class of tokens.
pub const DEPOSIT_BYTES: u64 = 16 * MIB as u64;
/// The object of a registration's challenge, in bytes.
pub const CHALLENGE_BYTES: usize = 4 * KIB;
/// A challenge can be answered for this long.
pub const CHALLENGE_LIFE: Duration = Duration::from_secs(600);
/// The purpose that an identification names, in bytes.
pub const PURPOSE_BYTES: usize = 200;
/// Boxes that an identity rents, and that a card names.
pub const BOXES: usize = 4;
/// Contacts for whom one box has seats. A power of two.
pub const BOX_SEATS: usize = 16;
/// Days between two epochs for which sets of tokens are uploaded.
pub const BOX_EPOCH_DAYS: u32 = 7;
/// Sets of tokens that the carrier has beyond that of the current epoch.
pub const BOX_EPOCHS_AHEAD: u32 = 1;
/// Within this time after a failed direct attempt a message goes to the recipient's boxes.
pub const DEPOSIT_SPREAD: Duration = Duration::from_secs(120);
/// Places for sessions that leave objects for contacts ([`SLOT`](super::SLOT)).
pub const PARALLEL_DEPOSITS: usize = 2;
/// Copies of one message that are left in one box as long as its carrier confirms none of them.
pub const COPIES_AT_BOX: usize = 3;
/// A receipt is returned within this time.
pub const RECEIPT_SPREAD: Duration = Duration::from_secs(3600);
/// Refused copies of a message for one recipient whose receipts are remembered.
pub const REFUSED_COPIES: usize = 64;
/// Receipts that one contact may be owed.
pub const RECEIPTS_OWED: usize = 1000;
/// Receipts that are returned together.
pub const RECEIPTS_TOGETHER: usize = 256;
/// Objects that a node forwards for one contact at a time: a week of one person's mail, but too little to fill a disk.
pub const LOADS_OF_CONTACT: usize = 256;
/// The bytes of these objects: nine of the largest.
pub const LOAD_BYTES_OF_CONTACT: u64 = 256 * 1024 * 1024;
/// For how long a node tries to forward an object: no content lives longer.
pub const CARRIAGE: Duration = EXPIRY_MAX;
/// Places for sessions in which a node forwards objects ([`SLOT`](super::SLOT)): its own mail has other places.
pub const PARALLEL_CARRIAGE: usize = 2;
/// Objects in a row that a receiver may refuse for now before forwarding to its node pauses for a while.
pub const CARRIAGE_REFUSALS: u32 = 8;
/// Copies of one message for one recipient that one friend is given to forward, as many as are left in a box.
pub const COPIES_AT_FRIEND: usize = COPIES_AT_BOX;
/// For how many seconds an identification may count, as a carrier's owner may choose: clients use half of that, and no
/// session lasts longer than [`WIRE_SESSION`](super::WIRE_SESSION).
pub const IDENTIFICATION_SECS: std::ops::RangeInclusive<u32> = 60..=900;
/// How long mail in a box that could not be collected is left alone.
pub const COLLECT_AGAIN: Duration = Duration::from_secs(600);
/// The least time between two requests for the list of a box, however often its carrier reports an arrival.
pub const LIST_PAUSE: Duration = Duration::from_secs(1);
/// A session with a box ends after so many objects in a row that are not for us.
pub const COLLECT_REFUSED: u32 = 64;
/// Tokens of one epoch and class in one box.
pub const TOKENS_OF_SET: usize = 1024;
/// Tokens of one box that a carrier remembers.
pub const TOKENS_OF_MAILBOX: usize = 16_384;
/// Objects that one box holds.
pub const OBJECTS_OF_MAILBOX: usize = 16_384;
/// Tokens are uploaded up to so many days ahead.
pub const TOKENS_AHEAD_DAYS: u32 = 28;
/// A token is valid for so many days after its epoch.
pub const TOKENS_AFTER_DAYS: u32 = 14;
/// A token is valid so many days before its epoch: two clocks may differ by two days.
pub const TOKENS_EARLY_DAYS: u32 = 2;
/// An object is held for at most so many days.
pub const HOLD_DAYS: u32 = 14;
/// If a day is farther than this from the last day that a carrier began, it needs [`DAY_CONFIRMATION`].
pub const DAY_PLAUSIBLE: u32 = 15;
/// The clock must go on for this long, without being set, before a carrier believes that many days have passed. Even a
/// node that is off at night runs for so long in a day.
pub const DAY_CONFIRMATION: Duration = Duration::from_secs(6 * 3600);
/// Boxes of one carrier.
pub const CARRIER_MAILBOXES: usize = 1000;
/// Sessions at a time that have shown the key of one box; the oldest gives way.
pub const MAILBOX_SESSIONS: usize = 4;
/// When a carrier has too many sessions, so many of them are for the owners of boxes; the others are for peers that
/// leave objects.
pub const SESSIONS_OF_OWNERS: usize = 48;
/// Open invitations of one carrier.
pub const CARRIER_INVITATIONS: usize = 1000;
/// How much a carrier may hold unless its owner says otherwise, in bytes.
pub const CARRIER_SPACE: u64 = 32 << 30;
/// How much a box may hold unless its invitation says otherwise, in bytes.
pub const MAILBOX_QUOTA: u64 = 1 << 30;
/// Pages of one box.
pub const PAGES_OF_MAILBOX: usize = 64;
/// A page is kept for at most so many days from the day on which it arrived.
pub const PAGE_DAYS: u32 = 31;
/// The largest page, in bytes.
pub const PAGE_BYTES: u64 = 16 * KIB as u64;
/// The largest object that the token of a page admits, in bytes: a card.
pub const PAGE_ANSWER_BYTES: u64 = 16 * KIB as u64;
/// Entries of one answer to LIST.
pub const LIST_ENTRIES: usize = 1000;
/// How much of an object one answer gives, in bytes: the rest is asked for by its offset.
pub const RETRIEVED_BYTES: u64 = MIB as u64;
