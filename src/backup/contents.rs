//! What a backup consists of: which files of a data directory, and the list of them that it begins with.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::base::{IdentityId, Timestamp};
use crate::store::vfs::Vfs;

/// The first bytes of a backup are this list's length, then this list in JSON; then the files, one after the other.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// Of this list: 1.
    pub(super) format: u32,
    /// A random name.
    pub(super) id: String,
    /// When the backup was begun.
    pub(super) made: Timestamp,
    /// The version of the program that made it.
    pub(super) program: String,
    /// The files, in the order in which their bytes follow.
    pub(super) files: Vec<Entry>,
}

/// A file of a data directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Entry {
    /// Its name within the data directory, with `/` between the parts.
    pub path: String,
    /// How many of its bytes count.
    pub bytes: u64,
}

/// The longest list, in bytes: a million files.
pub(super) const MANIFEST_BYTES: u64 = 128 << 20;

impl Manifest {
    /// Whether every file is one that a data directory has, in a place where it belongs, and none is there twice.
    pub(super) fn is_sound(&self) -> bool {
        let mut paths: Vec<&str> = self.files.iter().map(|file| file.path.as_str()).collect();
        paths.sort_unstable();
        let distinct = paths.windows(2).all(|pair| pair.first() != pair.last());
        let fits = self.files.iter().try_fold(0_u64, |sum, file| sum.checked_add(file.bytes)).is_some();
        self.format == 1 && distinct && fits && paths.iter().all(|path| belongs(path))
    }
}

/// Whether a data directory has such a file, and a backup copies it.
fn belongs(path: &str) -> bool {
    let hexadecimal = |text: &str, digits| {
        text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let numbered = |name: &str, end| name.strip_suffix(end).is_some_and(|number| hexadecimal(number, 16));
    match path.split('/').collect::<Vec<_>>().as_slice() {
        ["config.toml"] | ["keys", "node" | "node.key"] => true,
        ["keys", identity] => hexadecimal(identity, 32),
        [identity, "log", name] => hexadecimal(identity, 32) && (numbered(name, ".seg") || numbered(name, ".ckp")),
        [identity, "blob", name] => hexadecimal(identity, 32) && hexadecimal(name, 32),
        _ => false,
    }
}

/// The files of a data directory in which no daemon runs; with `identities`, of a running one without those of its logs.
///
/// # Errors
/// Those of the disk.
pub fn contents(vfs: &dyn Vfs, root: &Path, logs: bool) -> io::Result<Vec<Entry>> {
    let mut found = Vec::new();
    let mut take = |folder: &str| -> io::Result<()> {
        let names = match vfs.list(&root.join(folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        for name in names {
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            if belongs(&path) {
                let bytes = vfs.open(&root.join(&path))?.size()?;
                found.push(Entry { path, bytes });
            }
        }
        Ok(())
    };
    take("")?;
    take("keys")?;
    if logs {
        let keys = vfs.list(&root.join("keys"))?;
        for identity in keys.iter().filter(|name| name.parse::<IdentityId>().is_ok()) {
            take(&format!("{identity}/log"))?;
            take(&format!("{identity}/blob"))?;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_data_directory_has_belongs_into_a_backup() {
        let id = "0123456789abcdef0123456789abcdef";
        for path in ["config.toml", "keys/node", "keys/node.key", &format!("keys/{id}")] {
            assert!(belongs(path), "{path}");
        }
        for path in [format!("{id}/log/0000000000000001.seg"), format!("{id}/blob/{id}")] {
            assert!(belongs(&path), "{path}");
        }
        for path in
            ["", "lock", "../keys/node", "keys/../x", "/etc/passwd", "keys/tmp-1", "view/db", "keys/node/x", "a"]
        {
            assert!(!belongs(path), "{path}");
        }
        for path in [format!("{id}/log/1.seg"), format!("{id}/tor/{id}"), format!("{id}/log/../blob/{id}")] {
            assert!(!belongs(&path), "{path}");
        }
    }
}
