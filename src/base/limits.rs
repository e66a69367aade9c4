//! Every bound of the product in one place, with its unit and its reason. Reaching one is a typed error,
//! found before anything is allocated (docs/protocol.md, "Limits").

use std::time::Duration;

/// A message as the mail program wrote it, in bytes: 25 MiB (between Postfix's 10 MB and Dovecot's 40 MiB).
pub const MESSAGE_BYTES: usize = 25 * MIB;
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
/// A sealed object on the wire, in bytes: the message, its signed header, the OpenPGP framing and the padding.
pub const OBJECT_BYTES: usize = 27 * MIB;
/// Packets in a certificate: a primary key and years of weekly encryption subkeys never come near it at once.
pub const CERTIFICATE_PACKETS: usize = 64;
/// A signature packet with its header, in bytes (ours have 180).
pub const SIGNATURE_BYTES: usize = 1024;
/// A RUNE command or reply line without its line end, in bytes.
pub const WIRE_LINE_BYTES: usize = 8 * KIB;
/// How long a line of a RUNE server may be without its line end, in bytes: the longest of ours, with a welcome, has
/// half of it.
pub const WIRE_REPLY_LINE_BYTES: usize = KIB;
/// The welcome behind a greeting, in characters.
pub const WELCOME_CHARACTERS: usize = 200;
/// Blocks that one RUNE line may announce.
pub const WIRE_BLOCKS: usize = 4;
/// An OpenPGP certificate, in bytes.
pub const CERTIFICATE_BYTES: usize = 256 * KIB;
/// The largest object that a sender pipelines before it has seen 201, in bytes.
pub const PIPELINED_OBJECT_BYTES: usize = 256 * KIB;
/// Payload bytes that all sessions of a node may hold in memory together.
pub const IN_FLIGHT_BYTES: usize = 128 * MIB;
/// The signed header of a content, in bytes.
pub const CONTENT_HEADER_BYTES: usize = 8 * KIB;
/// A card, in bytes.
pub const CARD_BYTES: usize = 300 * KIB;
/// How far the counter of a card may be above the last one of its author and above the hours since 1970 (from which an
/// identity that was restored goes on): far more cards than anybody sends, and far below the end of the numbers, so that no
/// card keeps all later ones out.
pub const CARD_JUMP: u64 = 10_000;
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
/// Places for the sessions in which an identity delivers its own mail ([`SLOT`]).
pub const PARALLEL_DIALS: usize = 3;
/// A dialled session that has delivered nothing for this long loses its place, and another contact is dialled. This is
/// also the longest that a contact which may answer waits for those that do not.
pub const SLOT: Duration = Duration::from_secs(60);
/// The same for a session with a contact that did not answer last time.
pub const SLOT_OF_MISSED: Duration = Duration::from_secs(20);
/// The longest that a contact which answered last time waits for the place of a session that has delivered nothing.
pub const SLOT_FOR_ANSWERED: Duration = Duration::from_secs(1);
/// The time between two dials that begin without a free place: a crowd of 200 contacts is dialled within [`SLOT`].
pub const SLOT_LEAST: Duration = Duration::from_millis(300);
/// Sessions of one kind that go on without a place. Of any more, the one that has delivered nothing for the longest
/// time ends. In a crowd of 150 contacts each has 15 s, in which a cold connection succeeds.
pub const SESSIONS_WITHOUT_SLOT: usize = 36;
/// A delivery that has waited since before the start for at least this long is taken as one that failed.
pub const MISSED_AFTER: Duration = Duration::from_secs(120);
/// A contact that answered within this time before the start is expected to answer again.
pub const ANSWERED_LATELY: Duration = Duration::from_secs(24 * 3600);

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
/// SENDs of one RUNE session (ours has about [`SENDING_TURN`]).
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
/// [`CONNECTIONS`].
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

/// Delay of the first retry, with a quarter of jitter either way.
pub const RETRY_SOON: Duration = Duration::from_secs(60);
/// Delay of the second retry; it doubles up to [`RETRY_MAX`], with a quarter of jitter either way.
pub const RETRY_FIRST: Duration = Duration::from_secs(5 * 60);
/// Longest delay of a retry (Postfix: 4,000 s).
pub const RETRY_MAX: Duration = Duration::from_secs(4000);
/// Delay of a retry while our own connection to the network is not up.
pub const RETRY_OFFLINE: Duration = Duration::from_secs(30);
/// For this long after our own network came back, a failed attempt is made again after [`RETRY_EAGER`].
pub const EAGER_AFTER_RETURN: Duration = Duration::from_secs(3 * 60);
/// Where it was gone for a shorter time than this, it may be a network that comes and goes.
pub const SHORT_ABSENCE: Duration = Duration::from_secs(20);
/// Then attempts are made so soon only this long after the last such time ended.
pub const EAGER_AGAIN: Duration = Duration::from_secs(10 * 60);
/// How long it may take until a network that is gone is noticed: dials fail meanwhile.
pub const OUTAGE_NOTICED: Duration = Duration::from_secs(2 * 60);
/// The delay of such an attempt, and at random up to half as much again.
pub const RETRY_EAGER: Duration = Duration::from_secs(10);
/// After a start, waiting messages are tried at a random moment within this time: a start does not dial all contacts at
/// once.
pub const START_SPREAD: Duration = Duration::from_secs(10);
/// A peer that is seen online is dialled at a random moment within this time, if something waits for it.
pub const ONLINE_SPREAD: Duration = Duration::from_secs(2);
/// The user is told no sooner again that a changed key or address of a contact was refused.
pub const CHANGE_TOLD: Duration = Duration::from_secs(24 * 3600);
/// A node that peers reach again knocks at no more contacts than this.
pub const KNOCKS: usize = 100;
/// Knocks under way at a time.
pub const PARALLEL_KNOCKS: usize = 3;
/// Contacts to whom and from whom nothing went within [`ANSWERED_LATELY`] are knocked at, at random, within this time; the
/// others within [`START_SPREAD`].
pub const KNOCK_SPREAD: Duration = Duration::from_secs(5 * 60);
/// None of them is knocked at again before this time has passed.
pub const KNOCK_AGAIN: Duration = Duration::from_secs(30 * 60);
/// The same for contacts with whom something went lately: a machine that sleeps again and again is not to wait for mail.
pub const KNOCK_AGAIN_LATELY: Duration = Duration::from_secs(5 * 60);
/// A step that failed on our own disk is tried again after this time.
pub const RETRY_LOCAL: Duration = Duration::from_secs(60);
/// Objects that one outgoing session has under way at a time (a peer accepts this many before it answers).
pub const SENDING_WINDOW: usize = 4;
/// Messages after which an outgoing session ends, so that other destinations get a turn.
pub const SENDING_TURN: u32 = 100;
/// Refusals for now in a row after which an outgoing session ends.
pub const SENDING_REFUSALS: u32 = 3;
/// A message that has not arrived by then goes back to its sender with a report.
pub const EXPIRY: Duration = Duration::from_secs(5 * 24 * 3600);
/// A message that still waits after this long gets its sender a notice (Postfix can: `delay_warning_time`).
pub const DELAY_NOTICE: Duration = Duration::from_secs(24 * 3600);
/// Nothing expires before the clock has been the same for this long: after a start, and after it was set.
pub const CLOCK_CONFIRMATION: Duration = Duration::from_secs(3600);
/// If the clock differs from the time that went by at least by this, it was set, or the machine slept.
pub const CLOCK_STEP: Duration = Duration::from_secs(60);
/// Messages that ended, and that are still shown in the queue.
pub const QUEUE_ENDED: usize = 200;
/// Messages for one peer that are noted as sent in one commit.
pub const SENDING_NOTED: usize = 16;
/// If two messages have the same text of at least this length, in bytes, it is kept once.
pub const SHARED_END_BYTES: usize = 16 * KIB;
/// A larger message is not returned with a report, whatever its sender asked for, in bytes: only its headers are.
pub const RETURNED_BYTES: usize = MIB;
/// ENVID and ORCPT (RFC 3461 §4.2 and §4.4), in bytes.
pub const DSN_PARAMETER_BYTES: usize = 500;
/// A content is refused this long after its signed expiry: two clocks may differ by two days.
pub const EXPIRY_SKEW: Duration = Duration::from_secs(48 * 3600);
/// A signature or key may be dated this far ahead of our clock: two clocks may differ by two days.
pub const SIGNATURE_SKEW: Duration = Duration::from_secs(48 * 3600);
/// The longest expiry that a content may carry, counted from now.
pub const EXPIRY_MAX: Duration = Duration::from_secs(14 * 24 * 3600);
/// A duplicate is recognised for at least this long.
pub const TOMBSTONE: Duration = Duration::from_secs(30 * 24 * 3600);
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
/// A name for an application password, in bytes.
pub const PASSWORD_NAME_BYTES: usize = 100;
/// Application passwords of one identity.
pub const PASSWORDS: usize = 100;
/// How much of a message's header is kept for a report to its sender, in bytes.
pub const REPORT_HEADER_BYTES: usize = 2 * KIB;
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
/// Messages waiting in one identity's queue.
pub const QUEUE_MESSAGES: usize = 100_000;

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
/// Places for sessions that leave objects for contacts ([`SLOT`]).
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
/// Places for sessions in which a node forwards objects ([`SLOT`]): its own mail has other places.
pub const PARALLEL_CARRIAGE: usize = 2;
/// Objects in a row that a receiver may refuse for now before forwarding to its node pauses for a while.
pub const CARRIAGE_REFUSALS: u32 = 8;
/// Copies of one message for one recipient that one friend is given to forward, as many as are left in a box.
pub const COPIES_AT_FRIEND: usize = COPIES_AT_BOX;
/// For how many seconds an identification may count, as a carrier's owner may choose: clients use half of that, and no
/// session lasts longer than [`WIRE_SESSION`].
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

/// Bytes in a KiB.
pub const KIB: usize = 1024;
/// Bytes in a MiB.
pub const MIB: usize = 1024 * KIB;

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
