//! Messages, cards and certificates: how large they are, and their parts.

use super::{KIB, MIB};

/// A message as the mail program wrote it, in bytes: 25 MiB (between Postfix's 10 MB and Dovecot's 40 MiB).
pub const MESSAGE_BYTES: usize = 25 * MIB;
/// A sealed object on the wire, in bytes: the message, its signed header, the OpenPGP framing and the padding.
pub const OBJECT_BYTES: usize = 27 * MIB;
/// Packets in a certificate: a primary key and years of weekly encryption subkeys never come near it at once.
pub const CERTIFICATE_PACKETS: usize = 64;
/// A signature packet with its header, in bytes (ours have 180).
pub const SIGNATURE_BYTES: usize = 1024;
/// An OpenPGP certificate, in bytes.
pub const CERTIFICATE_BYTES: usize = 256 * KIB;
/// The signed header of a content, in bytes.
pub const CONTENT_HEADER_BYTES: usize = 8 * KIB;
/// A card, in bytes.
pub const CARD_BYTES: usize = 300 * KIB;
/// The header of a message, in bytes (Postfix: 102,400).
pub const HEADER_BYTES: usize = 100 * KIB;
/// Fields in the header of a message.
pub const HEADER_FIELDS: usize = 1000;
/// How much of the header of a MIME part that is not a message is read, in bytes: a type, an encoding and a name take a
/// few hundred.
pub const PART_HEADER_BYTES: usize = 16 * KIB;
/// Fields in the header of a MIME part that are read.
pub const PART_HEADER_FIELDS: usize = 100;
/// How much of the headers of a message and of all its parts is read, in bytes, all together: a digest of 400 messages.
/// Their contents are kept, and sent to mail programs.
pub const MIME_HEADER_BYTES: usize = 2 * MIB;
/// How many fields of all these headers together are read.
pub const MIME_HEADER_FIELDS: usize = 20_000;
/// Addresses in the envelopes of a message and of those within it, together: each takes a hundred bytes of memory.
pub const ENVELOPE_ADDRESSES: usize = 10_000;
/// Depth of nested MIME parts.
pub const MIME_DEPTH: usize = 30;
/// MIME parts in one message.
pub const MIME_PARTS: usize = 1000;
/// Recipients of one submission.
pub const RECIPIENTS: usize = 100;
/// Addresses that the fields of one submission name, each counted once: its recipients, and as many people who do not
/// get it.
pub const NAMED: usize = 2 * RECIPIENTS;
/// How much of a message's header is kept for a report to its sender, in bytes.
pub const REPORT_HEADER_BYTES: usize = 2 * KIB;
