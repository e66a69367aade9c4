//! The failure of the last start, kept in the data directory until a start succeeds, so that `status` and `doctor` can
//! say why no daemon runs (docs/on-disk.md). It is a convenience: it means nothing to a start, is in no backup, and may
//! be deleted.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::directory;
use super::runtime::clock::now;
use crate::backup::check_whole;
use crate::base::Timestamp;
use crate::control::Failure;
use crate::store::vfs::{RealVfs, Vfs, read_small};
use crate::store::{Keyring, failed_first_start};

const FILE: &str = "failed-start.json";
/// A longer file was not written by this program, in bytes.
const MOST: usize = 16 * 1024;

/// Why the last `runepeer up` ended, where that was a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedStart {
    /// When.
    pub at: Timestamp,
    /// Why, and what to do next.
    pub failure: Failure,
}

impl FailedStart {
    /// The failure of the last start in a data directory; `None` where it succeeded, and where nothing that can be read
    /// was noted.
    pub fn load(data: &Path) -> Option<Self> {
        serde_json::from_slice(&read_small(&RealVfs, &data.join(FILE), MOST).ok()?).ok()
    }

    /// Notes the failure of a start, as far as that is possible: a failure to write it is not reported. Nothing is written
    /// where there is no node, where a part of it is missing (that is seen at any time), and where another process holds
    /// the directory, because that one has started.
    pub fn note(data: &Path, failure: &Failure) {
        let is_node = Keyring::is_initialised(&RealVfs, &data.join("keys")).is_ok_and(|made| made)
            && failed_first_start(&RealVfs, data).is_ok_and(|unfinished| unfinished.is_none());
        let held = directory::holder(data).is_some_and(|process| process != std::process::id().to_string());
        if is_node && !held && check_whole(&RealVfs, data).is_ok() {
            let failure = Failure {
                message: without_addresses(&failure.message),
                hint: failure.hint.as_deref().map(without_addresses),
                ..failure.clone()
            };
            let _ = Self { at: now(), failure }.save(data);
        }
    }

    /// Forgets the failure of an earlier start, because one succeeded.
    pub fn clear(data: &Path) {
        let _ = RealVfs.unlink(&data.join(FILE));
    }

    fn save(&self, data: &Path) -> io::Result<()> {
        Self::clear(data);
        let bytes = serde_json::to_vec(self).map_err(io::Error::other)?;
        RealVfs.create_excl(&data.join(FILE))?.write_at(0, &bytes)
    }
}

/// The text without the addresses in it: the file is in the clear, also where the rest of the directory is locked.
fn without_addresses(text: &str) -> String {
    let hidden = |word: &str| if word.contains(".onion") { "(an address)".to_owned() } else { word.to_owned() };
    text.split(' ').map(hidden).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::control::Code;
    use crate::daemon::DataDir;
    use crate::store::OsRng;
    use std::sync::Arc;

    fn taken() -> Failure {
        Failure::new(Code::Failed, "IMAP cannot listen on 127.0.0.1:1143").hint("choose another port")
    }

    /// A data directory with a node that has no identity yet.
    fn with_node() -> tempfile::TempDir {
        let data = tempfile::tempdir().unwrap();
        std::fs::set_permissions(data.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        Keyring::create(Arc::new(RealVfs), &data.path().join("keys"), None, Box::new(OsRng)).unwrap();
        data
    }

    #[test]
    fn a_failure_is_noted_for_the_owner_alone_and_forgotten_after_a_start() {
        let data = with_node();
        let begin = now();
        FailedStart::note(data.path(), &taken());
        let noted = FailedStart::load(data.path()).unwrap();
        assert!(noted.at >= begin && noted.failure == taken());
        let mode = data.path().join(FILE).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let later = Failure::new(Code::Failed, "no space is left");
        FailedStart::note(data.path(), &later);
        assert_eq!(FailedStart::load(data.path()).unwrap().failure, later);
        let backup = crate::backup::contents(&RealVfs, data.path(), true).unwrap();
        assert!(!backup.is_empty() && backup.iter().all(|entry| entry.path != FILE), "{backup:?}");
        FailedStart::clear(data.path());
        assert_eq!(FailedStart::load(data.path()), None);
    }

    #[test]
    fn nothing_is_noted_without_a_whole_node_or_beside_a_daemon_that_runs() {
        let empty = tempfile::tempdir().unwrap();
        FailedStart::note(empty.path(), &taken());
        assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0);
        let data = with_node();
        std::fs::remove_file(data.path().join("keys/node.key")).unwrap();
        FailedStart::note(data.path(), &taken());
        assert_eq!(FailedStart::load(data.path()), None, "the key file is missing");
        let data = with_node();
        let held = DataDir::open(data.path()).unwrap();
        FailedStart::note(data.path(), &taken());
        assert_eq!(FailedStart::load(data.path()), None, "another process holds it");
        held.note_process().unwrap();
        FailedStart::note(data.path(), &taken());
        assert!(FailedStart::load(data.path()).is_some(), "this process holds it");
    }

    #[test]
    fn addresses_are_not_noted_and_what_cannot_be_read_is_nothing() {
        let onion = format!("{}.onion", "a".repeat(56));
        let said = without_addresses(&format!("nobody answers at bob@{onion}, or {onion} is off"));
        assert_eq!(said, "nobody answers at (an address) or (an address) is off");
        let data = with_node();
        for bytes in [&b"{"[..], b"", &[b' '; MOST + 1]] {
            std::fs::write(data.path().join(FILE), bytes).unwrap();
            assert_eq!(FailedStart::load(data.path()), None);
        }
        FailedStart::note(data.path(), &taken());
        assert!(FailedStart::load(data.path()).is_some(), "the next one takes its place");
    }
}
