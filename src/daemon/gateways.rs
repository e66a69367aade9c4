//! The sockets of mail programs, and the servers behind them.

use std::io;
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
    /// Takes both ports. A failure names free ones; `is_kept` says whether the settings are in a file already, in which
    /// another port would have to be written.
    pub(super) async fn listen(config: &Config, is_kept: bool) -> Result<Self, Failure> {
        if config.imap == config.submission && config.imap.port() != 0 {
            return Err(the_same(config.imap, is_kept));
        }
        match (TcpListener::bind(config.imap).await, TcpListener::bind(config.submission).await) {
            (Ok(imap), Ok(submission)) => Ok(Self { imap, submission }),
            (imap, submission) => {
                let imap = imap.err().map(|error| Refused::new("IMAP", "--imap", config.imap, error));
                let submission =
                    submission.err().map(|error| Refused::new("submission", "--submission", config.submission, error));
                Err(refusal(&imap.into_iter().chain(submission).collect::<Vec<_>>(), is_kept))
            }
        }
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
        let pacer = registry.pacer().clone();
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

/// A port that could not be taken.
struct Refused {
    what: &'static str,
    flag: &'static str,
    address: SocketAddr,
    error: io::Error,
}

impl Refused {
    const fn new(what: &'static str, flag: &'static str, address: SocketAddr, error: io::Error) -> Self {
        Self { what, flag, address, error }
    }

    /// Whether another port would do, and why this one does not.
    fn reason(&self) -> Option<&'static str> {
        match self.error.kind() {
            io::ErrorKind::AddrInUse => Some("another program uses the port"),
            io::ErrorKind::PermissionDenied => Some("this user may not take the port"),
            _ => None,
        }
    }
}

/// The failure of a start for which these ports could not be taken.
fn refusal(refused: &[Refused], is_kept: bool) -> Failure {
    let sentence =
        |Refused { what, address, error, .. }: &Refused| format!("{what} cannot listen on {address}: {error}");
    let failure = Failure::new(Code::Failed, refused.iter().map(sentence).collect::<Vec<_>>().join("; "));
    let Some(reason) = refused.iter().find_map(Refused::reason) else { return failure };
    let mut named = Vec::new();
    for Refused { address, .. } in refused.iter().filter(|refused| refused.reason().is_some()) {
        named.push(free_port(*address, &named));
    }
    let others = refused.iter().filter(|refused| refused.reason().is_some()).zip(&named);
    let flags: Vec<String> = others.map(|(Refused { flag, .. }, address)| format!("{flag} {address}")).collect();
    failure.hint(format!(
        "{reason}; choose another one with {}, which is free now; port 0 means any{}",
        flags.join(" "),
        keep(is_kept)
    ))
}

/// The failure of a start that was given one port for both.
fn the_same(address: SocketAddr, is_kept: bool) -> Failure {
    Failure::new(Code::Usage, format!("IMAP and submission cannot both listen on {address}")).hint(format!(
        "give one of them another port, for example with --submission {}, which is free now; port 0 means any{}",
        free_port(address, &[]),
        keep(is_kept)
    ))
}

/// How a port that is chosen with a flag is kept, where the file `is_kept` in which another one stands.
const fn keep(is_kept: bool) -> &'static str {
    if is_kept { "; to keep it, write it into config.toml (runepeer config path says where that is)" } else { "" }
}

/// The next free port at this address that is not named yet; 0, which stands for any, where none of the next is free.
fn free_port(address: SocketAddr, named: &[SocketAddr]) -> SocketAddr {
    let first = address.port().max(1023).saturating_add(1);
    let nearby = (first..=first.saturating_add(NEARBY)).map(|port| SocketAddr::new(address.ip(), port));
    let is_free = |address: &SocketAddr| !named.contains(address) && std::net::TcpListener::bind(address).is_ok();
    nearby.into_iter().find(is_free).unwrap_or_else(|| SocketAddr::new(address.ip(), 0))
}

/// How many ports are tried to find a free one.
const NEARBY: u16 = 50;

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(what: &'static str, flag: &'static str, address: SocketAddr, kind: io::ErrorKind) -> Refused {
        Refused::new(what, flag, address, kind.into())
    }

    #[test]
    fn a_port_that_cannot_be_taken_is_named_with_a_free_one() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = taken.local_addr().unwrap();
        let imap = refused("IMAP", "--imap", at, io::ErrorKind::AddrInUse);
        let submission = refused("submission", "--submission", at, io::ErrorKind::AddrInUse);
        let failure = refusal(&[imap, submission], false);
        assert!(failure.message.contains(&format!("IMAP cannot listen on {at}")), "{failure}");
        assert!(failure.message.contains(&format!("submission cannot listen on {at}")), "{failure}");
        let hint = failure.hint.unwrap();
        let mut ports =
            hint.split_whitespace().filter_map(|word| word.trim_end_matches(',').parse::<SocketAddr>().ok());
        let (one, other) = (ports.next().unwrap(), ports.next().unwrap());
        assert!(one != other && one != at && other != at, "{hint}");
        std::net::TcpListener::bind(one).unwrap();
        std::net::TcpListener::bind(other).unwrap();
        assert!(!hint.contains("config.toml"), "{hint}");
        // A node that has a configuration would forget the flag with the next start.
        let again = refusal(&[refused("IMAP", "--imap", at, io::ErrorKind::AddrInUse)], true);
        assert!(again.hint.unwrap().contains("config.toml"));
    }

    #[test]
    fn a_port_of_the_system_gives_way_to_one_that_anybody_may_take() {
        let low = "127.0.0.1:143".parse().unwrap();
        let failure = refusal(&[refused("IMAP", "--imap", low, io::ErrorKind::PermissionDenied)], false);
        let hint = failure.hint.unwrap();
        assert!(hint.contains("may not take the port") && hint.contains("--imap 127.0.0.1:1"), "{hint}");
        let strange = refusal(&[refused("IMAP", "--imap", low, io::ErrorKind::Other)], false);
        assert_eq!(strange.hint, None, "another port would not help");
    }
}
