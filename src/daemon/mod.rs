//! The daemon: wires the machines' effects to the shells that perform them.
//!
//! [`Node`] is one running daemon. Each identity has a machine (`engine`), a driver that feeds it (`runtime`), a log,
//! and a published onion. The gateways and the control socket see identities as accounts (`hosts`).
//! `runtime` drives machines and publishes their onions, `hosts` makes and opens identities and the carrier, `commands`
//! answers the control socket, `repair` mends what is damaged, and `node` starts and stops all of it.
//! Starting fails with a sentence that says what to do; stopping commits what was begun; a kill is always safe.

mod bridges;
mod commands;
mod default_identity;
mod directory;
mod failed_start;
mod failures;
mod first_start;
mod gateways;
mod home;
mod hosts;
mod invitations;
pub mod logging;
mod node;
mod preparation;
mod process;
mod ready;
pub mod repair;
mod runtime;

pub use bridges::Bridges;
pub use directory::{DataDir, holder};
pub use failed_start::FailedStart;
pub use first_start::clear_failed_first_start;
pub use invitations::{Looked, Progress, look, progress};
pub use node::{Node, Reading, Start};
pub use preparation::Preparation;
pub use ready::Ready;
pub use runtime::clock::now;

pub use crate::engine::boxes::Delays;
pub use process::close_to_others;
