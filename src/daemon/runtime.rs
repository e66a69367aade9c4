//! What every machine of a node runs on: the network, the pool of threads for cryptography, and the supervisor, which
//! sees that none of them ends before the node.

use std::sync::Arc;
use std::time::Duration;

pub(super) mod clock;
pub(super) mod crypto;
pub(super) mod driver;
pub(super) mod folded;
pub(super) mod images;
pub(super) mod presence;
pub(super) mod publishing;
pub(super) mod restored;
pub(super) mod sessions;
pub(super) mod supervision;
pub(super) mod twin;
mod upkeep;

use tokio::sync::{mpsc, watch};

use self::crypto::Pool;
use self::driver::{Driver, DriverHandle, Shell};
use self::images::Images;
use self::presence::Presence;
use self::publishing::{Network, Place};
use self::supervision::Supervisor;
use crate::base::{IdentityId, OnionSeed};

/// What every machine of a node runs on.
#[derive(Clone)]
pub(super) struct Runtime {
    pub(super) network: Arc<Network>,
    pub(super) supervisor: Arc<Supervisor>,
    pub(super) pool: Pool,
}

/// An onion that leads to a machine.
pub(super) struct Published {
    pub(super) id: IdentityId,
    pub(super) seed: OnionSeed,
    /// Whether it is to be published.
    pub(super) wanted: watch::Receiver<bool>,
    /// How long it is not, at first.
    pub(super) after: Duration,
}

/// The names of the two tasks of a machine, as a failure gives them.
pub(super) struct Tasks {
    pub(super) driver: &'static str,
    pub(super) publishing: &'static str,
}

/// The handles by which the rest of the daemon reaches a running machine.
pub(super) struct Reached<R> {
    pub(super) requests: mpsc::Sender<R>,
    /// Whether peers reach its onion.
    pub(super) presence: watch::Receiver<Presence>,
    pub(super) running: Running,
}

/// A machine that runs, and can be ended before the node.
#[derive(Clone)]
pub(super) struct Running {
    stop: watch::Sender<bool>,
    /// Closed when its driver has ended and its onion is published no more.
    parts: watch::Receiver<()>,
}

impl Running {
    /// Ends the machine: commits under way are completed, its onion is published no more. Returns when that is done.
    pub(super) async fn end(&self) {
        self.stop.send_replace(true);
        let mut parts = self.parts.clone();
        while parts.changed().await.is_ok() {}
    }
}

impl Runtime {
    /// Drives a machine until the node stops, and publishes its onion while that is wanted.
    pub(super) fn run<S: Shell>(
        &self,
        tasks: Tasks,
        machine: S::Machine,
        shell: S,
        images: Images,
        onion: Published,
    ) -> Reached<S::Request> {
        let (mut driver, DriverHandle { requests, incoming }) = Driver::new(machine, shell, images, self.pool.clone());
        driver.watch_network(self.network.changes());
        driver.carried_by(Arc::clone(&self.network.transport));
        let stop = self.supervisor.branch();
        let part = watch::Sender::new(());
        let parts = part.subscribe();
        let place = Place { part: tasks.publishing, stop: stop.subscribe(), running: part.clone() };
        let presence = self.network.publish(&self.supervisor, place, onion, incoming);
        driver.watch_onion(presence.clone());
        let run = driver.run(stop.subscribe());
        self.supervisor.drive(stop.subscribe(), tasks.driver, async move {
            run.await;
            drop(part);
        });
        Reached { requests, presence, running: Running { stop, parts } }
    }
}
