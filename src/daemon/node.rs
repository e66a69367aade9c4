//! A node at run time: one data directory, one transport, the identities, the local listeners.
//!
//! How it starts is in `start`, how it stops in `stop`.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

mod start;
mod stop;

use super::commands::Commands;
use super::hosts::account::Registry;
use super::hosts::carrier::CarrierHost;
use super::hosts::identity::Identities;
use super::runtime::Runtime;
use crate::control::{Command, Failure, Handler, Request, reply};
use crate::engine::boxes::Delays;

/// The settings with which a daemon is started.
pub struct Start {
    /// The name of the identity to make, in an empty data directory.
    pub name: Option<String>,
    /// The passphrase, where there is one and the keys are not open yet.
    pub passphrase: Option<Zeroizing<String>>,
    /// Is told how many bytes of an identity's log were read, and of how many.
    pub reading: Reading,
    /// Whether several identities come on line at once, and not at random moments within a minute.
    pub at_once: bool,
    /// How much the carrier may hold, in bytes, if that is to change.
    pub space: Option<u64>,
    /// Within which times mail goes to boxes and receipts come back.
    pub delays: Delays,
}

impl Start {
    /// A start whose progress is not shown.
    pub fn new(name: Option<String>, passphrase: Option<Zeroizing<String>>) -> Self {
        Self { name, passphrase, reading: Arc::new(|_, _| ()), at_once: false, space: None, delays: Delays::default() }
    }
}

/// Is told how many bytes were read, and of how many.
pub type Reading = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// A running node.
pub struct Node {
    runtime: Runtime,
    registry: Arc<Registry>,
    identities: Arc<Identities>,
    carrier: Arc<CarrierHost>,
    commands: Arc<Commands>,
    /// The servers of mail programs.
    gateways: Vec<JoinHandle<()>>,
    is_passphrase_protected: bool,
}

impl Node {
    /// Asks anything that the control socket can ask; the answer is of a type of [`reply`].
    ///
    /// # Errors
    /// What the socket would answer, or [`Code::Failed`](crate::control::Code::Failed) where the answer is of another
    /// type.
    pub async fn ask<R: DeserializeOwned>(&self, command: Command) -> Result<R, Failure> {
        self.commands.handle(Request { identity: None, command }).await.and_then(reply::read)
    }

    /// Whether a passphrase locks the keys of this node.
    pub const fn is_passphrase_protected(&self) -> bool {
        self.is_passphrase_protected
    }

    /// Returns when the node has to stop: somebody asked for it by the control socket, or it cannot go on.
    ///
    /// # Errors
    /// [`Code::Failed`](crate::control::Code::Failed) where it cannot go on.
    pub async fn stop_requested(&self) -> Result<(), Failure> {
        self.runtime.supervisor.ended().await.told()
    }
}

#[cfg(test)]
mod tests;
