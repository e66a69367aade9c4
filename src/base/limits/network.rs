//! Dials, streams and Tor.

use std::time::Duration;

use super::{KIB, MIB};

/// One attempt to reach a peer may take this long (docs/architecture.md, "Tor").
pub const DIAL: Duration = Duration::from_secs(60);
/// A try within [`DIAL`] that has not succeeded after this is joined by another, on circuits of its own. A cold
/// connection over the public network takes 5 to 15 s; arti would take longer to notice one that stalls.
pub const DIAL_TRY: Duration = Duration::from_secs(10);
/// Tries within [`DIAL`].
pub const DIAL_TRIES: usize = 4;
/// The third try waits this long after the second failed, the fourth twice as long: a peer that restarted is about to
/// publish itself.
pub const DIAL_PAUSE: Duration = Duration::from_secs(3);
/// How long a dial waits for a transport that is not ready yet.
pub const DIAL_READY: Duration = Duration::from_secs(25);
/// Bytes that a transport reads from a stream at a time, and the most that it holds unread for the engine.
pub const STREAM_READ_BYTES: usize = 64 * KIB;
/// A peer that takes fewer bytes than this in [`STREAM_PROGRESS`] is too slow to be served.
pub const STREAM_PROGRESS_BYTES: usize = KIB;
/// The time in which a peer must take [`STREAM_PROGRESS_BYTES`], or all that is left.
pub const STREAM_PROGRESS: Duration = Duration::from_secs(30);
/// Bytes that were given to a stream before its machine closed it must be taken within this time.
pub const STREAM_CLOSING: Duration = Duration::from_secs(30);
/// For how long the bytes that a peer sent before it closed its side are read after we can no longer write.
pub const STREAM_LINGER: Duration = Duration::from_secs(5);
/// Pairs of identity and contact that have circuits of their own, per node. Beyond this number, all pairs get new
/// circuits.
pub const ISOLATION_PAIRS: usize = 65_536;
/// Memory that arti may use for its queues, in bytes (its own default goes up to 8 GiB).
pub const TOR_MEMORY_BYTES: usize = 256 * MIB;
/// Streams that a peer may open on one rendezvous circuit (arti's default: 65,535).
pub const TOR_STREAMS_PER_CIRCUIT: u32 = 8;
/// Rendezvous circuits to one onion service at a time; contacts keep theirs open for a while after a session. With
/// more, the oldest circuit without a connection gives way. There always is one, because this bound is higher than
/// [`CONNECTIONS`](super::CONNECTIONS).
pub const TOR_CIRCUITS: usize = 256;
/// A rendezvous circuit on which no stream begins for this long is closed; the peer builds another.
pub const TOR_CIRCUIT_IDLE: Duration = Duration::from_secs(20 * 60);
/// Answering a request for a stream may take this long; then its circuit ends.
pub const TOR_ANSWER: Duration = Duration::from_secs(25);
/// Introductions per second that we ask an introduction point to let through, over time.
pub const TOR_INTRODUCTIONS_PER_SECOND: u32 = 10;
/// Introductions that we ask an introduction point to let through at once.
pub const TOR_INTRODUCTION_BURST: u32 = 50;
/// Tor that is not ready after this long without progress is reported as blocked, with the reason.
pub const TOR_BLOCKED_AFTER: Duration = Duration::from_secs(45);
/// Onion services get this long to go when the node stops.
pub const TRANSPORT_STOP: Duration = Duration::from_secs(3);
