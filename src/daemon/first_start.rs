//! The first start of a data directory. Until there is an identity or a carrier, what it made means nothing: where it
//! fails, or its process dies, the next command finds the directory as empty as before (docs/on-disk.md, "The first
//! start").

use std::io;
use std::path::Path;

use super::directory::DataDir;
use super::failures::broken;
use crate::base::IdentityId;
use crate::config;
use crate::control::{Failure, SOCKET_NAME};
use crate::store::vfs::Vfs;
use crate::store::{begin_first_start, failed_first_start};

/// Directories that only a node makes.
const MADE: [&str; 3] = ["view", "tor", "held"];

/// Files that a first start makes, and that may be there before it.
const MADE_WHERE_MISSING: [&str; 2] = [config::FILE_NAME, "keys/node.key"];

/// Notes that a first start begins, and which files were there before it.
pub(super) fn begin(vfs: &dyn Vfs, root: &Path) -> Result<(), Failure> {
    let missing = MADE_WHERE_MISSING.into_iter().filter(|name| root.join(name).symlink_metadata().is_err());
    let own = missing.collect::<Vec<_>>().join("\n");
    begin_first_start(vfs, root, &own).map_err(|error| broken("the data directory cannot be written", error))
}

/// Removes what a first start left that ended before there was an identity or a carrier. Does nothing elsewhere.
pub(super) fn clear(vfs: &dyn Vfs, root: &Path) -> Result<(), Failure> {
    let cleared = match failed_first_start(vfs, root) {
        Ok(Some(own)) => remove(vfs, root, &own),
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    cleared.map_err(|error| broken("what an earlier start left in the data directory cannot be removed", error))
}

/// Removes what a first start left in a data directory that no daemon holds. A failure of that changes nothing: the next
/// command tries again.
pub fn clear_failed_first_start(data: &Path) {
    if let Ok(directory) = DataDir::open_to_read(data)
        && directory.is_held()
    {
        let _ = clear(&crate::store::vfs::RealVfs, directory.path());
    }
}

/// Removes everything; the mark goes last, when all else is gone for good.
fn remove(vfs: &dyn Vfs, root: &Path, own: &str) -> io::Result<()> {
    let keys = root.join("keys");
    // The node key comes first: without it there is no node.
    gone(vfs.unlink(&keys.join("node")))?;
    gone(vfs.sync_dir(&keys))?;
    for name in MADE_WHERE_MISSING.into_iter().filter(|name| own.lines().any(|own| own == *name)) {
        gone(vfs.unlink(&root.join(name)))?;
    }
    // Something else may be there, and stays.
    let _ = std::fs::remove_dir(&keys);
    let logs = vfs.dirs(root)?.into_iter().filter(|name| name.parse::<IdentityId>().is_ok());
    for name in MADE.map(str::to_owned).into_iter().chain(logs) {
        gone(std::fs::remove_dir_all(root.join(name)))?;
    }
    gone(vfs.unlink(&root.join(SOCKET_NAME)))?;
    vfs.sync_dir(root)?;
    crate::store::end_first_start(vfs, root);
    Ok(())
}

/// A file that is not there need not be removed.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SymmetricKey;
    use crate::daemon::Preparation;
    use crate::store::vfs::RealVfs;
    use crate::store::{Keyring, OsRng, begin_making};
    use std::sync::Arc;

    /// Everything that a first start makes before there is an identity.
    fn begun(data: &Path) -> Keyring {
        drop(DataDir::open(data).unwrap());
        begin(&RealVfs, data).unwrap();
        let keyring = Keyring::create(Arc::new(RealVfs), &data.join("keys"), None, Box::new(OsRng)).unwrap();
        for name in ["view", "tor", "held"] {
            std::fs::create_dir(data.join(name)).unwrap();
            std::fs::write(data.join(name).join("file"), "content").unwrap();
        }
        let log = data.join(id().to_string());
        begin_making(&RealVfs, &log).unwrap();
        std::fs::create_dir(log.join("log")).unwrap();
        std::fs::write(data.join(config::FILE_NAME), "").unwrap();
        std::fs::write(data.join(SOCKET_NAME), "").unwrap();
        keyring
    }

    fn id() -> IdentityId {
        IdentityId::from_bytes([3; 16])
    }

    fn names(data: &Path) -> Vec<String> {
        let names = std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn what_a_first_start_left_without_an_identity_is_removed() {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("data");
        drop(begun(&data));
        assert!(Preparation::open_to_read(&data).is_err(), "there is no node");
        assert!(names(&data).len() > 5, "a command that reads changes nothing");
        let preparation = Preparation::open(&data).unwrap();
        assert!(!preparation.is_initialised().unwrap());
        drop(preparation);
        assert_eq!(names(&data), ["lock"]);
        // It can end at any place, while it removes as well.
        for gone in ["keys/node", "keys", "view", "tor", "config.toml"] {
            drop(begun(&data));
            let path = data.join(gone);
            if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.unwrap();
            drop(Preparation::open(&data).unwrap());
            assert_eq!(names(&data), ["lock"], "{gone}");
        }
    }

    #[test]
    fn what_was_there_before_a_first_start_stays() {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("data");
        drop(DataDir::open(&data).unwrap());
        std::fs::write(data.join(config::FILE_NAME), "").unwrap();
        std::fs::write(data.join("notes"), "mine").unwrap();
        drop(begun(&data));
        drop(Preparation::open(&data).unwrap());
        assert_eq!(names(&data), [config::FILE_NAME, "lock", "notes"]);
        // Nor does a key file go that may open a node key which is only missing.
        drop(begun(&data));
        std::fs::remove_file(data.join("beginning")).unwrap();
        std::fs::remove_file(data.join("keys/node")).unwrap();
        begin(&RealVfs, &data).unwrap();
        clear(&RealVfs, &data).unwrap();
        assert!(data.join("keys/node.key").exists() && !data.join("beginning").exists());
    }

    #[test]
    fn an_identity_or_a_carrier_makes_everything_count() {
        for is_carrier in [false, true] {
            let home = tempfile::tempdir().unwrap();
            let data = home.path().join("data");
            let (keyring, key) = (begun(&data), SymmetricKey::from_bytes([1; 32]));
            if is_carrier { keyring.add_carrier(id(), &key) } else { keyring.add_identity(id(), &key) }.unwrap();
            let before = names(&data);
            clear(&RealVfs, &data).unwrap();
            assert_eq!(names(&data), before);
            // Without the key it is no first start any more once that was noted.
            crate::store::end_first_start(&RealVfs, &data);
            std::fs::remove_dir_all(data.join("keys")).unwrap();
            clear(&RealVfs, &data).unwrap();
            assert!(data.join("tor").exists());
            assert!(Preparation::open(&data).is_err_and(|failure| failure.message.contains("keys/node is missing")));
        }
    }
}
