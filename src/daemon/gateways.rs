//! The sockets of mail programs, and the servers behind them.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::commands::compose;
use super::failures::broken;
use super::hosts::account::Registry;
use super::runtime::clock::now;
use super::runtime::supervision::Supervisor;
use crate::config::Config;
use crate::control::{Code, Failure};
use crate::gateway;
use crate::store::OsRng;

/// Where mail programs connect.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listening {
    pub(super) imap: SocketAddr,
    pub(super) submission: SocketAddr,
}

/// The sockets of mail programs, before any server accepts on them.
pub(super) struct Gateways {
    imap: TcpListener,
    submission: TcpListener,
}

impl Gateways {
    /// Takes both ports.
    pub(super) async fn listen(config: &Config) -> Result<Self, Failure> {
        let imap = listen(config.imap, "IMAP", "--imap").await?;
        let submission = listen(config.submission, "submission", "--submission").await?;
        Ok(Self { imap, submission })
    }

    /// Their addresses; a port 0 became a free port.
    pub(super) fn addresses(&self) -> Result<Listening, Failure> {
        Ok(Listening {
            imap: self.imap.local_addr().map_err(|error| broken("IMAP", error))?,
            submission: self.submission.local_addr().map_err(|error| broken("submission", error))?,
        })
    }

    /// Serves mail programs until the node stops; gives the task of each server.
    pub(super) fn serve(self, registry: &Arc<Registry>, supervisor: &Supervisor) -> [JoinHandle<()>; 2] {
        let Self { imap, submission } = self;
        let stop = || supervisor.stopping();
        let accounts = || Arc::clone(registry) as Arc<dyn gateway::account::Accounts>;
        let pacer = gateway::pacer::Pacer::default();
        let uploads = gateway::uploads::Uploads::default();
        let limits = gateway::imap::Limits {
            pacer: pacer.clone(),
            uploads: uploads.clone(),
            ..gateway::imap::Limits::default()
        };
        let server = gateway::imap::Server::new(accounts(), limits);
        let stopping = stop();
        let imap = supervisor.spawn("the IMAP server", async move { server.serve(imap, stopping).await });
        let resolve = |account: &dyn gateway::account::Account, name: &str| {
            compose::resolve(&account.snapshot().borrow().book, &account.address(), name)
        };
        let config = gateway::submission::Config {
            resolve: Arc::new(resolve),
            clock: now,
            rng: || Box::new(OsRng),
            bounds: gateway::submission::Bounds { pacer, uploads, ..gateway::submission::Bounds::default() },
        };
        let server = gateway::submission::Server::new(accounts(), config);
        let stopping = stop();
        let serve = async move { server.serve(submission, stopping).await };
        [imap, supervisor.spawn("the submission server", serve)]
    }
}

async fn listen(address: SocketAddr, what: &str, flag: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        let failure = Failure::new(Code::Failed, format!("{what} cannot listen on {address}: {error}"));
        if error.kind() == std::io::ErrorKind::AddrInUse {
            failure.hint(format!(
                "another program uses the port; choose another one with {flag} 127.0.0.1:PORT, or port 0 for any"
            ))
        } else {
            failure
        }
    })
}
