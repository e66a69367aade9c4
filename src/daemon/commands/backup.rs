//! Backups while the daemon runs: it names the files of one moment, and keeps them until the command has copied them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::backup::{self, Entry};
use crate::base::{IdentityId, Rng};
use crate::control::reply::{BackupFiles, Done};
use crate::control::{Code, Failure};
use crate::daemon::failures::broken;
use crate::daemon::home::Home;
use crate::daemon::hosts::account::Registry;
use crate::store::{Contents, OsRng};

/// How long files are kept for a backup whose command no longer reports.
const LEASE: Duration = Duration::from_secs(120);

/// The backups that copy files now.
#[derive(Default)]
pub(in crate::daemon) struct Leases(Mutex<BTreeMap<String, (Instant, Vec<Contents>)>>);

impl Leases {
    fn all(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, (Instant, Vec<Contents>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops what is kept no more; whether nothing is kept then.
    pub(in crate::daemon) fn expire(&self) -> bool {
        let mut all = self.all();
        all.retain(|_, (until, _)| *until > Instant::now());
        all.is_empty()
    }

    /// Keeps these files for a backup; the name that is returned is its lease.
    fn begin(self: &Arc<Self>, contents: Vec<Contents>) -> String {
        let lease = data_encoding::HEXLOWER.encode(&(&mut OsRng as &mut dyn Rng).array::<8>());
        self.all().insert(lease.clone(), (Instant::now() + LEASE, contents));
        let leases = Arc::clone(self);
        tokio::spawn(async move {
            while !leases.expire() {
                tokio::time::sleep(LEASE / 4).await;
            }
        });
        lease
    }

    /// Extends a lease, or ends it where `end` is set. `false` where no files are kept under this name.
    fn hold(&self, lease: &str, end: bool) -> bool {
        let mut all = self.all();
        let Some((until, _)) = all.get_mut(lease) else { return false };
        *until = Instant::now() + LEASE;
        if end {
            all.remove(lease);
        }
        true
    }
}

/// Names the files of this moment.
pub(in crate::daemon) async fn begin(
    home: &Home,
    registry: &Registry,
    leases: &Arc<Leases>,
) -> Result<BackupFiles<Entry>, Failure> {
    // An identity in the making has keys before it has a log.
    let _turn = home.turn().await;
    let logs: Vec<_> = registry.all().iter().map(|account| Arc::clone(&account.log)).collect();
    let (vfs, root) = (Arc::clone(home.vfs()), home.path().to_owned());
    let failed = |error: &dyn std::fmt::Display| {
        broken("the files of the backup cannot be listed", error)
            .hint("try again; status says whether the disk is full")
    };
    let listed = tokio::task::spawn_blocking(move || {
        backup::check_whole(&*vfs, &root)?;
        let mut files = backup::contents(&*vfs, &root, false).map_err(|error| failed(&error))?;
        let contents = logs.iter().map(|log| log.contents()).collect::<Result<Vec<_>, _>>();
        let contents = contents.map_err(|error| failed(&error))?;
        // An identity whose making failed after its key was written has no log here.
        let opened: BTreeSet<String> = contents
            .iter()
            .flat_map(|contents| &contents.files)
            .filter_map(|(path, _)| identity(path, &root))
            .collect();
        files.retain(|entry| {
            let key = entry.path.strip_prefix("keys/").filter(|name| name.parse::<IdentityId>().is_ok());
            key.is_none_or(|name| opened.contains(name))
        });
        for (path, bytes) in contents.iter().flat_map(|contents| &contents.files) {
            files.push(Entry { path: relative(path, &root), bytes: *bytes });
        }
        Ok::<_, Failure>((files, contents))
    });
    let (files, contents) = listed.await.map_err(|error| failed(&error))??;
    Ok(BackupFiles { lease: leases.begin(contents), files })
}

/// Extends a lease, or ends it where `end` is set.
pub(in crate::daemon) fn hold(leases: &Leases, lease: &str, end: bool) -> Result<Done, Failure> {
    if !leases.hold(lease, end) {
        return Err(
            Failure::new(Code::Failed, "this backup took too long without a sign of life").hint("begin it again")
        );
    }
    Ok(Done {})
}

/// The folder of the identity to which a file belongs.
fn identity(path: &Path, root: &Path) -> Option<String> {
    relative(path, root).split_once('/').map(|(identity, _)| identity.to_owned())
}

fn relative(path: &Path, root: &Path) -> String {
    let parts = path.strip_prefix(root).unwrap_or(path).components();
    parts.map(|part| part.as_os_str().to_string_lossy().into_owned()).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{BodyId, SymmetricKey};
    use crate::engine::io::{Durability, NewBody};
    use crate::store::Log;
    use crate::store::vfs::MemVfs;

    const DIR: &str = "/alice";

    fn put(log: &Log, n: u8, size: usize) {
        let (sender, answer) = std::sync::mpsc::channel();
        let body = NewBody::new(BodyId::from_bytes([n; 16]), vec![n; size].into());
        log.commit(vec![vec![n]], vec![body], Durability::Synced, Box::new(move |done| sender.send(done).unwrap()));
        answer.recv().unwrap().unwrap();
    }

    /// Removes a message that has a file of its own, and has the log unlink what it may; returns whether the file is
    /// gone.
    fn removed(log: &Log, vfs: &MemVfs) -> bool {
        (0..3).for_each(|n| put(log, 100 + n, 10));
        !vfs.files().iter().any(|(path, _)| path.starts_with("/alice/blob"))
    }

    #[tokio::test(start_paused = true)]
    async fn a_backup_of_many_minutes_keeps_its_files_while_it_gives_signs_of_life() {
        let vfs = MemVfs::new();
        Log::create(&vfs, Path::new(DIR)).unwrap();
        let (key, shared) = (SymmetricKey::from_bytes([3; 32]), Arc::new(vfs.clone()));
        let log = Log::open(shared, Path::new(DIR), &key, Box::new(OsRng), None, &mut |_, _| ()).unwrap();
        put(&log, 1, 2 << 20);
        let leases = Arc::new(Leases::default());
        let lease = leases.begin(vec![log.contents().unwrap()]);
        log.forget(vec![BodyId::from_bytes([1; 16])]);
        for minute in 1..=10 {
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert!(leases.hold(&lease, false), "after {minute} minutes");
            assert!(!removed(&log, &vfs), "after {minute} minutes");
        }
        assert!(!leases.hold("another", false));
        // A lease that is not extended runs out, and its files go.
        tokio::time::sleep(2 * LEASE).await;
        assert!(!leases.hold(&lease, false));
        assert!(removed(&log, &vfs));
        // A lease can be ended.
        let lease = leases.begin(vec![log.contents().unwrap()]);
        assert!(leases.hold(&lease, true) && !leases.hold(&lease, false));
    }
}
