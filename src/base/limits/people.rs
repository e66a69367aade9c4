//! People: quotas of their mail, requests, introductions, encryption keys, the address book.

use std::time::Duration;

use super::{EXPIRY_MAX, KIB};

/// How far the counter of a card may be above the last one of its author and above the hours since 1970 (from which an
/// identity that was restored goes on): far more cards than anybody sends, and far below the end of the numbers, so that no
/// card keeps all later ones out.
pub const CARD_JUMP: u64 = 10_000;
/// The life of an invitation, unless another is given.
pub const INVITATION: Duration = Duration::from_secs(7 * 24 * 3600);
/// Mail from one contact: how many messages at once, refilled at [`CONTACT_PER_HOUR`]. The bytes per day are the real
/// guard of the disk: a friend who was away for a week has a queue to empty.
pub const CONTACT_BURST: u32 = 3000;
/// Messages per hour from one contact, over time.
pub const CONTACT_PER_HOUR: u32 = 3600;
/// Bytes per day from one contact.
pub const CONTACT_BYTES_PER_DAY: u64 = 1 << 30;
/// Messages per hour from all strangers together.
pub const STRANGER_PER_HOUR: u32 = 5;
/// An object from a stranger, in bytes.
pub const STRANGER_BYTES: usize = 32 * KIB;
/// Strangers that may wait for an answer.
pub const REQUESTS_PENDING: usize = 100;
/// Bytes of what an introducer says of an introduction.
pub const INTRODUCTION_TEXT_BYTES: usize = KIB;
/// Bytes of the payload of an ask, a grant or an introduction: two certificates and a text have less.
pub const INTRODUCTION_BYTES: usize = 24 * KIB;
/// Bytes of a grant as it is signed: as base64, and with the longest text, it fits into an introduction.
pub const GRANT_BYTES: usize = 14 * KIB;
/// For how long contacts seal to one encryption key of ours; a new one follows within [`SEAL_KEY_SPREAD`] after that.
pub const SEAL_KEY_USE: Duration = Duration::from_secs(7 * 24 * 3600);
/// The random part of that time.
pub const SEAL_KEY_SPREAD: Duration = Duration::from_secs(24 * 3600);
/// For how long the secret half of an encryption key is kept after it was replaced: as long as a carrier holds what was
/// sealed to it (14 days), and as far as two clocks may differ (two days).
pub const SEAL_KEY_KEPT: Duration = Duration::from_secs(16 * 24 * 3600);
/// Objects in one box of ours that cannot be opened and of which contacts are told, in a day (UTC).
pub const UNREAD_TOLD: u32 = 64;
/// Within which time contacts are told of them, where nothing else goes to them sooner: so that junk in our box costs few of
/// the tokens that we have for boxes of others.
pub const UNREAD_DELAY: Duration = Duration::from_secs(24 * 3600);
/// How many secret halves are kept at most: a clock that is set again and again makes no more.
pub const SEAL_KEYS: usize = 16;
/// When it is tried again to make or to destroy an encryption key, after the disk failed.
pub const SEAL_KEY_RETRY: Duration = Duration::from_secs(3600);
/// How long an ask may be answered, a grant redeemed, and an introduction accepted: 14 days.
pub const INTRODUCTION: Duration = EXPIRY_MAX;
/// Introductions of one contact that wait for the user.
pub const INTRODUCTIONS_PENDING: usize = 10;
/// Introductions that wait, of each kind: those that we make, those that wait for the user.
pub const INTRODUCTIONS: usize = 200;
/// To how many others a message may show somebody who has to agree first.
pub const INTRODUCTION_OTHERS: u8 = 20;
/// Introducers who are remembered of one contact.
pub const INTRODUCERS: usize = 16;
/// A name for a contact, in characters.
pub const PETNAME_CHARACTERS: usize = 50;
/// Contacts of one identity.
pub const CONTACTS: usize = 5000;
/// Revocations of others that are remembered: each takes about a hundred bytes, for ever. More than contacts, because they
/// outlast them.
pub const REVOCATIONS: usize = 10_000;
/// Open invitations of one identity.
pub const INVITATIONS: usize = 1000;
/// Carriers that an invitation names.
pub const INVITATION_CARRIERS: usize = 3;
/// Characters of an invitation after `rune:`: a QR code holds 4,296.
pub const INVITATION_CHARACTERS: usize = 4096;
