//! What ends on this node: the name of an identity, and an identity.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{Identities, local_part};
use crate::base::IdentityId;
use crate::control::{Code, Failure};
use crate::daemon::default_identity;
use crate::daemon::failures::broken;
use crate::daemon::hosts::account::LocalAccount;
use crate::engine::{Request, RequestError};
use crate::store::vfs::Vfs;
use crate::store::{Keyring, begin_removal, end_removal};

/// How long the machine of an identity has to end. The parts that it is made of have their own bounds.
const ENDING: Duration = Duration::from_secs(20);

impl Identities {
    /// Gives an identity another name on this node; its address stays. Returns the name of the table in config.toml that
    /// has settings for the name before, where there is one: it counts for the new name no more.
    ///
    /// # Errors
    /// [`Code::Usage`] where that cannot be a name, [`Code::Failed`] where another identity has it; errors of the disk.
    pub(in crate::daemon) async fn rename(&self, account: &LocalAccount, to: &str) -> Result<Option<String>, Failure> {
        let to = local_part(to)?.to_string();
        // Names are given one after the other, so that no two identities get the same.
        let _turn = self.home.turn().await;
        let accounts = self.registry.all();
        let others = accounts.iter().filter(|other| other.id != account.id);
        if others.map(|other| other.name()).any(|name| name.eq_ignore_ascii_case(&to)) {
            return Err(
                Failure::new(Code::Failed, format!("there is an identity {to} already")).hint("choose another name")
            );
        }
        let before = account.name();
        account.ask(Request::RenameIdentity(to.clone())).await.map_err(|error: RequestError| Failure::from(error))?;
        let is_lost = |name: &&String| name.eq_ignore_ascii_case(&before) && !name.eq_ignore_ascii_case(&to);
        Ok(self.usage.terms.keys().find(is_lost).cloned())
    }

    /// Removes an identity: ends its machine, destroys its key, then removes its files. `is_copied` says whether a backup
    /// is being made, which is not to lose files half way.
    ///
    /// A crash leaves the identity as it was, or with a mark for which the next start completes the removal
    /// (docs/on-disk.md, "Removing an identity").
    ///
    /// # Errors
    /// [`Code::Busy`] while a backup is being made or where the machine does not end; errors of the disk.
    pub(in crate::daemon) async fn remove(
        &self,
        account: &Arc<LocalAccount>,
        is_copied: &(dyn Fn() -> bool + Sync),
    ) -> Result<(), Failure> {
        // Nothing is made or copied meanwhile.
        let _turn = self.home.turn().await;
        if is_copied() {
            return Err(Failure::new(Code::Busy, "a backup is being made; nothing was removed")
                .hint("wait until it is done (two minutes, where it was broken off), then try again"));
        }
        let id = account.id;
        let (vfs, root) = (Arc::clone(self.home.vfs()), self.home.path().to_owned());
        begin_removal(&*vfs, &root, id).map_err(|error| {
            broken("the data directory cannot be written", error).hint("nothing was removed; see: runepeer status")
        })?;
        self.registry.remove(id);
        if tokio::time::timeout(ENDING, account.running.end()).await.is_err() {
            return Err(Failure::new(Code::Busy, "the identity does not come to its end")
                .hint("it is removed with the next start: runepeer down, then runepeer up"));
        }
        self.home.forget_view(id);
        let done = tokio::task::spawn_blocking(move || complete(&*vfs, &root, id)).await;
        done.map_err(|error| broken("the identity cannot be removed", error))?
    }
}

/// Removes what is left of an identity whose removal has begun: its key first, its files, what was noted of it.
fn complete(vfs: &dyn Vfs, root: &Path, id: IdentityId) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        broken("the identity is only removed in part", error)
            .hint("the next start completes it: runepeer down, then runepeer up")
    };
    Keyring::destroy_identity(vfs, &root.join("keys"), id).map_err(failed)?;
    default_identity::forget(vfs, root, id).map_err(failed)?;
    end_removal(vfs, root, id).map_err(failed)
}

/// Completes the removals that a crash or a failure of the disk left, before a daemon runs.
///
/// # Errors
/// Errors of the disk.
pub(in crate::daemon) fn complete_removals(vfs: &dyn Vfs, root: &Path) -> Result<(), Failure> {
    let begun =
        crate::store::removals(vfs, root).map_err(|error| broken("the data directory cannot be read", error))?;
    for id in begun {
        complete(vfs, root, id)?;
        tracing::info!("the removal of an identity, which was not completed before, is complete now");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SymmetricKey;
    use crate::daemon::Preparation;
    use crate::store::vfs::RealVfs;
    use crate::store::{OsRng, SEAL_KEYS, missing};

    fn id(number: u8) -> IdentityId {
        IdentityId::from_bytes([number; 16])
    }

    /// A data directory with two identities, of which the first is the default one.
    fn two(root: &Path) {
        drop(Preparation::open(root).unwrap());
        let keyring = Keyring::create(Arc::new(RealVfs), &root.join("keys"), None, Box::new(OsRng)).unwrap();
        for id in [id(1), id(2)] {
            let dir = root.join(id.to_string());
            for part in ["log", "blob"] {
                std::fs::create_dir_all(dir.join(part)).unwrap();
            }
            std::fs::write(dir.join("log/0000000000000001.seg"), "records").unwrap();
            std::fs::write(dir.join("blob").join("a".repeat(32)), "a body").unwrap();
            keyring.put_seal_keys(id, &[4; 96]).unwrap();
            keyring.add_identity(id, &SymmetricKey::from_bytes([3; 32])).unwrap();
        }
        default_identity::choose(&RealVfs, root, id(1)).unwrap();
    }

    fn seal_keys(root: &Path, number: u8) -> std::path::PathBuf {
        root.join("keys").join(format!("{}{SEAL_KEYS}", id(number)))
    }

    /// What a crash can leave of a removal, from the earliest moment to the last.
    const MOMENTS: [fn(&Path); 6] = [
        |_| (),
        |root| std::fs::remove_file(root.join("keys").join(id(1).to_string())).unwrap(),
        |root| std::fs::remove_file(seal_keys(root, 1)).unwrap(),
        |root| std::fs::remove_file(root.join("default-identity")).unwrap(),
        |root| std::fs::remove_file(root.join(id(1).to_string()).join("log/0000000000000001.seg")).unwrap(),
        |root| std::fs::remove_dir_all(root.join(id(1).to_string())).unwrap(),
    ];

    #[test]
    fn a_removal_that_a_crash_broke_off_is_completed_by_the_next_start_and_by_nothing_that_only_reads() {
        for steps in 0..=MOMENTS.len() {
            let home = tempfile::tempdir().unwrap();
            let root = home.path().join("data");
            two(&root);
            begin_removal(&RealVfs, &root, id(1)).unwrap();
            MOMENTS.iter().take(steps).for_each(|step| step(&root));
            assert_eq!(missing(&RealVfs, &root).unwrap(), [], "step {steps}: nothing is called missing");
            drop(Preparation::open_to_read(&root).unwrap());
            assert_eq!(crate::store::removals(&RealVfs, &root).unwrap(), [id(1)], "step {steps}");
            let preparation = Preparation::open(&root).unwrap();
            assert_eq!(preparation.unlock(None).unwrap().identities().unwrap(), [id(2)], "step {steps}");
            assert!(!root.join(id(1).to_string()).exists(), "step {steps}");
            assert!(!seal_keys(&root, 1).exists() && seal_keys(&root, 2).exists(), "step {steps}");
            assert!(root.join(id(2).to_string()).join("log/0000000000000001.seg").exists());
            assert_eq!(crate::store::removals(&RealVfs, &root).unwrap(), []);
            assert_eq!(default_identity::chosen(&RealVfs, &root).unwrap(), None, "step {steps}");
        }
    }

    #[test]
    fn the_key_goes_before_the_files() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("data");
        two(&root);
        begin_removal(&RealVfs, &root, id(1)).unwrap();
        // Files that cannot be removed stay, and without their key nobody reads them.
        let (files, aside) = (root.join(id(1).to_string()), home.path().join("aside"));
        std::fs::rename(&files, &aside).unwrap();
        std::fs::write(&files, "no directory").unwrap();
        assert!(complete(&RealVfs, &root, id(1)).unwrap_err().hint.unwrap().contains("runepeer up"));
        assert!(!root.join("keys").join(id(1).to_string()).exists() && !seal_keys(&root, 1).exists());
        std::fs::remove_file(&files).unwrap();
        std::fs::rename(&aside, &files).unwrap();
        drop(Preparation::open(&root).unwrap());
        assert!(!files.exists());
    }

    #[test]
    fn a_default_identity_that_stays_is_still_the_default_one() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("data");
        two(&root);
        begin_removal(&RealVfs, &root, id(2)).unwrap();
        complete(&RealVfs, &root, id(2)).unwrap();
        assert_eq!(default_identity::chosen(&RealVfs, &root).unwrap(), Some(id(1)));
    }
}
