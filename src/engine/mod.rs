//! The engine: everything an identity decides, as pure state machines.
//!
//! No IO, no async, no clock, no randomness of its own. Time and randomness are arguments; sealing,
//! committing and dialling are [`Effect`]s whose completions come back as [`Input`]s. The state of an identity
//! is the fold of its [`Record`]s, and what is visible is only what is committed.

#[cfg(test)]
mod arrival_scenarios;
pub mod book;
#[cfg(test)]
mod bound_scenarios;
mod cards;
pub mod carriage;
pub mod carrier;
mod change;
#[cfg(test)]
mod clock_scenarios;
#[cfg(test)]
mod contact_scenarios;
pub mod commit;
mod context;
mod deliver;
mod delivery;
#[cfg(test)]
mod dial_scenarios;
mod dialled;
pub mod drops;
pub mod duplicates;
pub mod effect;
mod encoding;
mod expiry;
#[cfg(test)]
mod fault_scenarios;
mod greeting;
#[cfg(test)]
mod harness;
pub mod identity;
mod keys;
#[cfg(test)]
mod limit_scenarios;
pub mod mailbox;
pub mod outbox;
mod outcomes;
mod parting;
mod people;
pub mod profile;
#[cfg(test)]
mod promise_scenarios;
pub mod queue;
#[cfg(test)]
mod queue_scenarios;
mod rates;
mod recall;
mod receive;
pub mod record;
mod references;
mod reports;
pub mod request;
mod requests;
mod restoration;
mod rooms;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod scenarios;
mod schedule;
mod sending;
pub mod session;
mod sessions;
#[cfg(test)]
mod share_scenarios;
mod shares;
mod slots;
pub mod state;
mod status;
#[cfg(test)]
mod stranger_scenarios;
mod submission;
mod task;
mod turn;

pub use book::{Book, Unaddressable};
pub use drops::Drops;
pub use effect::{Effect, Input, Transaction};
pub use encoding::RecordError;
pub use identity::Identity;
pub use mailbox::Mailbox;
pub use profile::{Profile, PublicProfile, SecretBytes};
pub use queue::Queue;
pub use record::Record;
pub use request::{Request, RequestError, Response};
pub use restoration::Lost;
pub use state::{Snapshot, State};
