//! Mail that waits: when it is tried, how many at once, and when it ends.

use std::time::Duration;

use super::KIB;

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
/// A content is refused this long after its signed expiry: two clocks may differ by two days.
pub const EXPIRY_SKEW: Duration = Duration::from_secs(48 * 3600);
/// A signature or key may be dated this far ahead of our clock: two clocks may differ by two days.
pub const SIGNATURE_SKEW: Duration = Duration::from_secs(48 * 3600);
/// The longest expiry that a content may carry, counted from now.
pub const EXPIRY_MAX: Duration = Duration::from_secs(14 * 24 * 3600);
/// A duplicate is recognised for at least this long.
pub const TOMBSTONE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Messages waiting in one identity's queue.
pub const QUEUE_MESSAGES: usize = 100_000;
