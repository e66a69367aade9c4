//! The daemon: wires the machines' effects to the shells that perform them.
//!
//! [`Node`] is one running daemon. Each identity has a machine (`engine`), a driver that feeds it (`driver`), a log, and a
//! published onion. The gateways and the control socket see identities as accounts (`account`).
//! Starting fails with a sentence that says what to do; stopping commits what was begun; a kill is always safe.

mod account;
mod backup;
mod carrier;
mod clock;
mod commands;
mod compose;
mod contacts;
mod crypto;
mod directory;
mod driver;
mod drops;
mod failures;
mod folded;
mod gateways;
mod home;
mod identities;
mod identity;
mod images;
mod keys;
pub mod logging;
mod node;
mod passwords;
mod preparation;
mod process;
mod publishing;
mod queue;
pub mod repair;
mod restored;
mod runtime;
mod sessions;
mod supervision;
mod twin;
mod upkeep;

pub use clock::now;
pub use directory::DataDir;
pub use node::{Node, Reading, Start};
pub use preparation::Preparation;

pub use crate::engine::drops::Delays;
pub use process::close_to_others;
