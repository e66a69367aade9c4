//! Mail programs: what they hand over, what they ask for, and how long that may take.

use std::time::Duration;

use super::{KIB, MESSAGE_BYTES, MIB};

/// How many bytes a submitted message may gain on its way out, by addresses in the place of petnames, Date and
/// Message-ID. EHLO announces [`MESSAGE_BYTES`] without them, so that a message of the announced size always fits.
pub const SUBMISSION_GAIN_BYTES: usize = 512 * KIB;
/// A message up to this size that a mail program hands over never waits for a larger one, in bytes.
pub const UPLOAD_SMALL_BYTES: usize = 256 * KIB;
/// Memory for all such small messages that are arriving, in bytes; one account may use half of it.
pub const UPLOADS_SMALL_BYTES: usize = 16 * MIB;
/// Memory for all larger messages that are arriving, in bytes: three of the largest.
pub const UPLOADS_BYTES: usize = 80 * MIB;
/// Memory for the larger messages of one account, in bytes: two of the largest.
pub const UPLOADS_BYTES_OF_ACCOUNT: usize = 2 * MESSAGE_BYTES;
/// An arriving message that makes no progress for this long gives way, if others wait for its memory.
pub const UPLOAD_STALL: Duration = Duration::from_secs(3);
/// How many bytes count as progress of an arriving message.
pub const UPLOAD_PROGRESS_BYTES: usize = 64 * KIB;
/// A message for which there is no room for this long is refused for now.
pub const UPLOAD_WAIT: Duration = Duration::from_secs(60);
/// Memory for the messages that IMAP sessions read to look into them, in bytes, all together: two of the largest and
/// some.
pub const IMAP_READ_BYTES: usize = 64 * MIB;
/// An SMTP command line, in bytes with its line end (Postfix: 2,048).
pub const SMTP_LINE_BYTES: usize = 2048;
/// A line of a submitted message, in bytes without its line end (OpenSMTPD: 65,535; RFC 5321 asks for 998).
pub const DATA_LINE_BYTES: usize = 65_535;
/// A message that is refused for its size is read, not stored, up to this many bytes; then the session ends.
pub const DATA_DRAIN: usize = 4 * MESSAGE_BYTES;
/// An IMAP command line without literals, in bytes, before login.
pub const IMAP_LINE_BYTES_BEFORE_LOGIN: usize = 8 * KIB;
/// An IMAP command line without literals, in bytes, after login.
pub const IMAP_LINE_BYTES: usize = 64 * KIB;
/// An IMAP literal that is not an APPEND, in bytes, before login.
pub const IMAP_LITERAL_BYTES_BEFORE_LOGIN: usize = KIB;
/// An IMAP literal that is not an APPEND, in bytes, after login.
pub const IMAP_LITERAL_BYTES: usize = 64 * KIB;
/// An IMAP command with its literals (other than a message), in bytes: a LIST or SEARCH with a few strings.
pub const IMAP_COMMAND_BYTES: usize = 256 * KIB;
/// A refused literal that the client sends without asking is read and dropped up to this size; above it the
/// session ends, in bytes.
pub const IMAP_DRAIN_BYTES: usize = 4 * MESSAGE_BYTES;
/// IMAP responses are handed to the socket in pieces of this size, in bytes.
pub const IMAP_PIECE_BYTES: usize = 256 * KIB;
/// Patterns of one LIST.
pub const LIST_PATTERNS: usize = 32;
/// Depth of an IMAP SEARCH: Thunderbird nests one OR for each term of a quick filter.
pub const IMAP_SEARCH_DEPTH: usize = 128;
/// Keys of one IMAP SEARCH.
pub const IMAP_SEARCH_KEYS: usize = 10_000;
/// Time that one IMAP SEARCH may take.
pub const IMAP_SEARCH_TIME: Duration = Duration::from_secs(10);
/// Messages in one folder.
pub const FOLDER_MESSAGES: usize = 1_000_000;
/// Folders of one identity.
pub const FOLDERS: usize = 1000;
/// A folder's name, in bytes of UTF-8.
pub const FOLDER_NAME_BYTES: usize = 200;
/// Different keywords in one folder.
pub const KEYWORDS: usize = 56;
/// A keyword, in bytes.
pub const KEYWORD_BYTES: usize = 64;
/// IMAP sessions of one account at a time (Dovecot: 10 per address).
pub const IMAP_SESSIONS: usize = 32;
/// IMAP connections that are not logged in, at a time, in all; the oldest gives way to a new one.
pub const IMAP_SESSIONS_BEFORE_LOGIN: usize = 64;
/// Submission sessions of one account at a time.
pub const SUBMISSION_SESSIONS: usize = 16;
/// Submission connections that are not logged in, at a time, in all; the oldest gives way to a new one.
pub const SUBMISSION_SESSIONS_BEFORE_LOGIN: usize = 64;
/// IMAP: the longest silence before login.
pub const IMAP_IDLE_BEFORE_LOGIN: Duration = Duration::from_secs(60);
/// IMAP: the longest silence after login (RFC 9051 §5.4 asks for 30 minutes at least).
pub const IMAP_IDLE: Duration = Duration::from_secs(30 * 60);
/// Bytes per second at which a mail program must send a literal, after [`IMAP_STALL`].
pub const IMAP_SLOWEST_UPLOAD: usize = 64 * KIB;
/// IMAP: a client may take nothing, or pause within a literal, for this long.
pub const IMAP_STALL: Duration = Duration::from_secs(120);
/// Submission: the longest silence (RFC 5321 §4.5.3.2).
pub const SUBMISSION_IDLE: Duration = Duration::from_secs(300);
/// The delay of the answer to a wrong password, over all connections of local programs; each further one doubles it.
pub const LOGIN_DELAY: Duration = Duration::from_secs(1);
/// How often that delay doubles at most: to 64 seconds, or 56 an hour.
pub const LOGIN_DELAY_DOUBLINGS: u32 = 6;
/// Wrong passwords that wait for their answer at a time; with more, the one that waits longest is turned away.
pub const LOGIN_ANSWERS_WAITING: usize = 8;
/// So many wrong passwords are remembered, to tell one that comes again from a guess: more than mail programs one person has.
pub const LOGIN_WRONG_KEPT: usize = 16;
/// A wrong password that came so often is one that a mail program keeps sending. One that somebody mistypes comes once or
/// twice, because many programs try it by two mechanisms.
pub const LOGIN_STALE_TIMES: u32 = 3;
/// A mail program that was silent for so long does not keep sending its password: most look for mail every ten minutes.
pub const LOGIN_STALE: Duration = Duration::from_secs(3600);
/// Mistakes of a local client after which its session ends.
pub const CLIENT_MISTAKES: u32 = 20;
/// A larger message is not returned with a report, whatever its sender asked for, in bytes: only its headers are.
pub const RETURNED_BYTES: usize = MIB;
/// ENVID and ORCPT (RFC 3461 §4.2 and §4.4), in bytes.
pub const DSN_PARAMETER_BYTES: usize = 500;
/// A name for an application password, in bytes.
pub const PASSWORD_NAME_BYTES: usize = 100;
/// Application passwords of one identity.
pub const PASSWORDS: usize = 100;
