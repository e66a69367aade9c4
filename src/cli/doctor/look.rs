//! What `doctor` looks at: the daemon's status, the data directory, the ports, and its boxes.

mod boxes;
mod directory;
mod ports;

use std::path::{Path, PathBuf};

pub(super) use self::boxes::{BoxSeen, Canary, boxes};
pub(super) use self::directory::{Open, Settings, View};
pub(super) use self::ports::{Answer, Port};
use crate::backup::Last;
use crate::base::Timestamp;
use crate::cli::absent::{self, Absent, ask};
use crate::control::reply::{LastBackup, Passwords, Status};
use crate::control::{Code, Command, Failure};
use crate::daemon::now;
use crate::store::vfs::{RealVfs, Vfs};

/// What the daemon says; or why it says nothing.
pub(super) type Seen = Result<Box<Status>, Absent>;

/// What can be seen without the daemon's status.
#[derive(Debug, Clone)]
pub(super) struct Local {
    pub(super) data: PathBuf,
    /// Whether nothing was ever set up here.
    pub(super) is_empty: bool,
    /// The time by this machine's clock.
    pub(super) now: Timestamp,
    /// When a file of the node was last written.
    pub(super) newest: Option<Timestamp>,
    /// Files and directories that others may look into.
    pub(super) open: Vec<Open>,
    /// Files and directories that belong to another user.
    pub(super) foreign: Vec<PathBuf>,
    pub(super) settings: Settings,
    /// Free space, in bytes.
    pub(super) free: Option<u64>,
    pub(super) view: View,
    pub(super) ports: Vec<Port>,
    /// How many passwords for mail programs each identity has.
    pub(super) passwords: Vec<(String, usize)>,
    pub(super) boxes: Vec<BoxSeen>,
    pub(super) backup: LastBackup,
}

impl Local {
    /// Looks at everything but the boxes, which takes longer.
    pub(super) fn of(data: &Path, seen: &Seen) -> Self {
        let (open, foreign) = directory::permissions(data);
        let settings = directory::settings(data);
        Self {
            is_empty: absent::is_empty(data),
            now: now(),
            newest: directory::newest(data),
            open,
            foreign,
            free: RealVfs.free_space(data).ok(),
            view: directory::view(data),
            ports: match seen {
                Ok(status) => ports::that_answer(status),
                Err(_) => ports::that_are_free(data),
            },
            passwords: seen.as_ref().map(|status| passwords(data, status)).unwrap_or_default(),
            boxes: Vec::new(),
            backup: backup(data),
            settings,
            data: data.to_owned(),
        }
    }
}

/// Asks the daemon how it stands.
pub(super) fn daemon(data: &Path) -> Seen {
    ask(data, None, Command::Status).map(Box::new).map_err(|failure: Failure| match failure.code {
        Code::DaemonDown => absent::why(data),
        _ => Absent {
            cure: failure.hint.unwrap_or_else(|| "start it again: runepeer down, then runepeer up".to_owned()),
            found: failure.message,
        },
    })
}

fn passwords(data: &Path, status: &Status) -> Vec<(String, usize)> {
    let names = status.identities.iter().map(|identity| identity.name.clone());
    let counted = |name: String| {
        let known: Passwords = ask(data, Some(name.clone()), Command::PasswordList).ok()?;
        Some((name, known.passwords.len()))
    };
    names.filter_map(counted).collect()
}

fn backup(data: &Path) -> LastBackup {
    let last = Last::load(&RealVfs, data);
    let time = |at: Option<Timestamp>| at.map(Timestamp::rfc3339);
    LastBackup { last: time(last.as_ref().map(|last| last.made)), verified: time(last.and_then(|last| last.verified)) }
}
