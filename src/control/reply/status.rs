//! Replies about the node as a whole.

use serde::{Deserialize, Serialize};

use super::{BoxStatus, CarrierStatus, LastBackup, Listen, QueuedRecipient};

/// The state of the daemon, and the messages that wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The daemon's version.
    pub version: String,
    /// The daemon's process.
    pub pid: u32,
    /// The time of this answer, by this machine's clock.
    pub clock: String,
    /// Why the clock must be wrong, and what to do; null where nothing shows that it is.
    #[serde(default)]
    pub clock_problem: Option<String>,
    /// The identities.
    pub identities: Vec<IdentityStatus>,
    /// Where mail programs connect; null where there is no identity.
    pub listen: Option<Listeners>,
    /// The wrong passwords that mail programs keep sending.
    #[serde(default)]
    pub wrong_passwords: Vec<WrongPassword>,
    /// How peers are reached.
    pub tor: Network,
    /// The carrier of this node; null where there is none.
    pub carrier: Option<CarrierStatus>,
    /// The boxes that its identities rent.
    pub carriers: Vec<BoxStatus>,
    /// The messages that wait.
    pub queue: Vec<QueuedRecipient>,
    /// The last backup.
    pub backup: LastBackup,
    /// The disk; null where its free space is not known.
    pub disk: Option<Disk>,
    /// Why the view, a copy of the state for readers, cannot be used, and what to do; null where it works.
    #[serde(default)]
    pub view_problem: Option<String>,
}

impl Status {
    /// The names of the identities.
    pub fn names(&self) -> Vec<&str> {
        self.identities.iter().map(|identity| identity.name.as_str()).collect()
    }
}

/// An identity, and whether peers can reach it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityStatus {
    /// The part of its address before `@`.
    pub name: String,
    /// Its address.
    pub address: String,
    /// Whether peers reach its onion: the daemon looked, as a peer would.
    pub reachable: bool,
    /// Whether its onion is to be published.
    pub listen: Listen,
    /// Why no peer can reach it, where that is known.
    pub problem: Option<String>,
    /// When the daemon looked last whether peers reach it; null where it has not looked yet.
    pub checked_at: Option<String>,
    /// How many contacts it has.
    pub contacts: usize,
    /// How many people wrote without an invitation, and wait in the folder Requests.
    #[serde(default)]
    pub requests: usize,
    /// How many introductions wait for a decision of the user.
    pub introductions: usize,
}

/// Where mail programs connect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listeners {
    /// Address and port of IMAP.
    pub imap: String,
    /// Address and port of submission.
    pub submission: String,
}

/// A wrong password that a mail program keeps sending: the same one, again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrongPassword {
    /// The identity for which it comes; null where no identity has the name that comes with it.
    pub identity: Option<String>,
    /// How often it came.
    pub times: u32,
    /// When it came first.
    pub since: String,
    /// When it came last.
    pub last_at: String,
}

/// How peers are reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// The state of the transport.
    pub state: String,
    /// How far it is on the way to the network.
    pub percent: u8,
    /// Why it makes no progress.
    pub blocked_reason: Option<String>,
    /// Since when the network, which answered before, does not.
    pub gone_since: Option<String>,
}

/// The disk of the data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// How much is free.
    pub free: u64,
    /// Whether that is so little that mail is refused, large messages first.
    pub low: bool,
}
