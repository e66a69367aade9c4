//! Sessions of RUNE: lines, objects on their way, and the shares of one peer.

use std::time::Duration;

use super::{KIB, MIB, STRANGER_BYTES};

/// A RUNE command or reply line without its line end, in bytes.
pub const WIRE_LINE_BYTES: usize = 8 * KIB;
/// How long a line of a RUNE server may be without its line end, in bytes: the longest of ours, with a welcome, has
/// half of it.
pub const WIRE_REPLY_LINE_BYTES: usize = KIB;
/// The welcome behind a greeting, in characters.
pub const WELCOME_CHARACTERS: usize = 200;
/// Blocks that one RUNE line may announce.
pub const WIRE_BLOCKS: usize = 4;
/// The largest object that a sender pipelines before it has seen 201, in bytes.
pub const PIPELINED_OBJECT_BYTES: usize = 256 * KIB;
/// Payload bytes that all sessions of a node may hold in memory together.
pub const IN_FLIGHT_BYTES: usize = 128 * MIB;
/// RUNE sessions without authentication at a time, per identity.
pub const UNAUTHENTICATED_SESSIONS: usize = 16;
/// RUNE sessions at a time, per identity.
pub const SESSIONS: usize = 64;
/// Connections that one onion accepts at a time: more than [`SESSIONS`], so that the machine behind it sees the surplus
/// ones and decides which of them all makes room.
pub const CONNECTIONS: usize = 2 * SESSIONS;
/// RUNE sessions at a time of one contact; the oldest gives way. One is enough for the contact's own mail, and one for
/// mail that it forwards; the others allow for connections that broke and are not known to have ended.
pub const CONTACT_SESSIONS: usize = 4;
/// RUNE sessions at a time that show the key of one invitation; the oldest gives way.
pub const INVITATION_SESSIONS: usize = 2;
/// Payload bytes of one contact that all its sessions together may hold or be promised: one of the largest objects, and
/// others.
pub const CONTACT_IN_FLIGHT_BYTES: usize = 32 * MIB;
/// Payload bytes that one session of a stranger, or with the key of an invitation, may hold or be promised: two
/// objects.
pub const STRANGER_IN_FLIGHT_BYTES: usize = 2 * STRANGER_BYTES;
/// The part of [`IN_FLIGHT_BYTES`] that is kept for objects up to [`PIPELINED_OBJECT_BYTES`], so that large objects do
/// not keep out the others.
pub const SMALL_IN_FLIGHT_BYTES: usize = 16 * MIB;
/// Objects of one sender that are being opened and stored at a time.
pub const OBJECTS_UNSETTLED: usize = 8;
/// Bytes per second at which a promised object must arrive, after [`SLOW_GRACE`], if others need its memory: at this
/// rate the largest object takes a whole session.
pub const SLOWEST_OBJECT: u64 = 32 * KIB as u64;
/// How long a promised object may take to begin.
pub const SLOW_GRACE: Duration = Duration::from_secs(30);
/// A RUNE session has this long to send its first command.
pub const WIRE_HANDSHAKE: Duration = Duration::from_secs(30);
/// A RUNE session may be silent for this long.
pub const WIRE_IDLE: Duration = Duration::from_secs(120);
/// A RUNE session may last this long in all.
pub const WIRE_SESSION: Duration = Duration::from_secs(15 * 60);
/// Within a command or block, a peer has this long for each [`WIRE_PROGRESS_BYTES`].
pub const WIRE_PROGRESS: Duration = Duration::from_secs(30);
/// Bytes that count as progress: a slow Tor circuit manages more, a peer that only wants to hold the session does not.
pub const WIRE_PROGRESS_BYTES: usize = KIB;
/// Upload speed that a peer's network is trusted to have, in bytes per second, before its answer is overdue.
pub const WIRE_SLOWEST_UPLOAD: usize = 16 * KIB;
/// Lines of information that a client takes before each answer; with more it ends the session.
pub const WIRE_INFORMATION_LINES: usize = 16;
/// Bytes of these lines in one session, all together.
pub const WIRE_INFORMATION_BYTES: usize = 4 * KIB;
/// Deliveries of one RUNE session that wait for their answer; while there are so many, no more are read.
pub const WIRE_DELIVERIES: usize = 4;
/// Replies of one RUNE session that wait behind an unanswered delivery; while there are more, nothing is read.
pub const WIRE_REPLIES_WAITING: usize = 32;
/// SENDs of one RUNE session (ours has about [`SENDING_TURN`](super::SENDING_TURN)).
pub const WIRE_SENDS: u32 = 300;
/// SENDs of one RUNE session whose AUTH fits no key: a peer that guesses, or measures times, gets few tries.
pub const WIRE_AUTH_MISSES: u32 = 8;
/// A SEND is answered this long after it came, unless its session has shown the same key before. So the time that
/// trying the keys took does not tell how many there are. Trying 5,000 takes about 5 ms.
pub const WIRE_ANSWER: Duration = Duration::from_millis(25);
/// SENDs of one RUNE session that wait for their MESSAGE; the oldest is forgotten first.
pub const WIRE_SENDS_OPEN: usize = 16;
/// Certificates that one RUNE session hands out: a client learns one once, and names it afterwards.
pub const WIRE_CERTIFICATES: u32 = 4;
/// Bytes of refused blocks that one RUNE session reads past, so that a pipelined refusal does not end it.
pub const WIRE_SKIPPED_BYTES: u64 = 4 * MIB as u64;
/// Bytes that a RUNE session holds unread while it waits for settlements.
pub const WIRE_BUFFER_BYTES: usize = MIB;
/// Bytes of answers that may wait for the peer of a carrier's session: with more, the session reads nothing further.
pub const OUTPUT_WAITING: usize = 256 * KIB;
/// Mistakes of a peer after which its session ends (Postfix: 20).
pub const WIRE_MISTAKES: u32 = 20;
