//! The engine: everything an identity decides, as pure state machines.
//!
//! No IO, no async, no clock, no randomness of its own. Time and randomness are arguments; sealing, committing and
//! dialling are [`Effect`]s whose completions come back as [`Input`]s. The state of an identity is the fold of its
//! [`Record`]s, and readers see only what is committed.

pub mod api;
pub mod boxes;
pub mod carrier;
mod change;
pub mod commit;
mod context;
mod deliver;
mod dialled;
mod encoding;
mod forwarding;
pub mod identity;
pub mod io;
mod people;
mod receive;
mod requests;
mod rooms;
pub mod session;
mod signals;
pub mod state;
mod status;
mod task;
#[cfg(test)]
mod tests;

pub use api::{Request, RequestError, Response};
pub use encoding::RecordError;
pub use identity::Identity;
pub use io::{Effect, Input, Transaction};
pub use state::book::{Book, Unaddressable};
pub use state::boxes::KnownBoxes;
pub use state::mailbox::Mailbox;
pub use state::profile::{Profile, PublicProfile, SecretBytes};
pub use state::queue::Queue;
pub use state::record::{
    BookRecord, BoxRecord, CheckpointRecord, ForwardingRecord, IdentityRecord, IntroductionRecord, MailboxRecord,
    QueueRecord, ReceivedRecord, Record,
};
pub use state::{Lost, Snapshot, State};
