//! Asking a daemon that may be absent: why none answers, as far as that can be seen from outside, and what to do.

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::backup::check_whole;
use crate::config::File;
use crate::control::{Client, Code, Command, Failure, Request};
use crate::daemon::{FailedStart, holder};
use crate::store::vfs::RealVfs;

/// A daemon that answers does so within this time, also on a busy machine.
const ANSWER: Duration = Duration::from_secs(20);
/// What to do where nothing is known to be wrong.
const START: &str = "start it with: runepeer up";

/// Why no daemon answers, and the cure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Absent {
    pub(super) found: String,
    pub(super) cure: String,
}

impl Absent {
    /// The same as the failure of a command.
    pub(super) fn failure(self) -> Failure {
        Failure::new(Code::DaemonDown, self.found).hint(self.cure)
    }
}

/// Asks the daemon one thing, and gives up after a while: then it counts as absent.
///
/// # Errors
/// As of [`Client`].
pub(super) fn ask<R: DeserializeOwned + Send + 'static>(
    data: &Path,
    identity: Option<String>,
    command: Command,
) -> Result<R, Failure> {
    let (sender, answer) = mpsc::channel();
    let directory = data.to_owned();
    // A daemon that hangs keeps the thread, and not the person.
    std::thread::spawn(move || {
        let asked = Client::connect(&directory).and_then(|mut client| client.ask(&Request { identity, command }));
        let _ = sender.send(asked);
    });
    answer.recv_timeout(ANSWER).unwrap_or_else(|_| {
        Err(Failure::new(Code::DaemonDown, format!("the daemon in {} does not answer", data.display())))
    })
}

/// Whether nothing was ever set up in a data directory.
pub(super) fn is_empty(data: &Path) -> bool {
    !data.join("keys").exists()
}

/// Why no daemon answers in this data directory.
pub(super) fn why(data: &Path) -> Absent {
    let none = format!("no daemon runs in {}", data.display());
    let absent = |found: String, cure: &str| Absent { found, cure: cure.to_owned() };
    if is_empty(data) {
        return absent(none, "nothing is set up yet; begin with: runepeer up");
    }
    if let Some(process) = holder(data) {
        return held(data, &process);
    }
    if let Err(failure) = check_whole(&RealVfs, data) {
        return absent(format!("{none}, and none can start: {failure}"), failure.hint.as_deref().unwrap_or(START));
    }
    if let Err(error) = File::load(data).and_then(|file| file.validate()) {
        let error = error.to_string();
        return absent(
            format!("{none}, and none can start: {}", error.trim_end()),
            "mend that in config.toml, then start it with: runepeer up",
        );
    }
    match FailedStart::load(data) {
        Some(FailedStart { at, failure }) => absent(
            format!("{none}; the last `runepeer up` failed at {}: {}", at.rfc3339(), failure.message.trim_end()),
            failure.hint.as_deref().unwrap_or("when that is mended, start it with: runepeer up"),
        ),
        None => absent(none, START),
    }
}

/// A process holds the directory and does not answer.
fn held(data: &Path, process: &str) -> Absent {
    let kill = if process.is_empty() { String::new() } else { format!(" (kill {process})") };
    let process = if process.is_empty() { "a process".to_owned() } else { format!("process {process}") };
    Absent {
        found: format!("{process} holds {}, and does not answer: it starts, stops, or hangs", data.display()),
        cure: format!(
            "wait a minute and ask again; if that does not help, end it{kill}, which loses nothing that was \
             acknowledged, then start again: runepeer up"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::daemon::DataDir;
    use crate::store::{Keyring, OsRng};

    #[test]
    fn each_reason_for_which_no_daemon_answers_has_its_cure() {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("data");
        assert!(why(&data).cure.contains("begin with: runepeer up"));
        let held = DataDir::open(&data).unwrap();
        Keyring::create(Arc::new(RealVfs), &data.join("keys"), None, Box::new(OsRng)).unwrap();
        held.note_process().unwrap();
        let said = why(&data);
        let process = std::process::id().to_string();
        assert!(said.found.contains(&process) && said.cure.contains(&format!("kill {process}")), "{said:?}");
        drop(held);
        assert_eq!(why(&data).cure, START);
        let failure = Failure::new(Code::NeedsUnlock, "the passphrase is wrong").hint("try again");
        FailedStart::note(&data, &failure);
        let said = why(&data);
        assert!(said.found.contains("failed at 20") && said.found.ends_with(": the passphrase is wrong"), "{said:?}");
        assert_eq!(said.clone().failure().hint.unwrap(), "try again");
        std::fs::write(data.join("config.toml"), "listen = 7\n").unwrap();
        let said = why(&data);
        assert!(said.found.contains("none can start") && said.cure.contains("config.toml"), "{said:?}");
        std::fs::remove_file(data.join("keys/node.key")).unwrap();
        assert!(why(&data).found.contains("node.key is missing"), "what is missing comes first");
    }
}
