//! The contents of a backup: the files of a data directory that belong to it, and the list of them at its beginning.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::base::{IdentityId, Timestamp};
use crate::store::vfs::Vfs;
use crate::store::{SEAL_KEYS, removals};

/// The list of files. A backup begins with the length of this list and the list in JSON; then come the files, one after
/// the other.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// The version of this list: 1.
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
    /// Whether every file is one that a data directory can have, in its right place, and no file is named twice.
    pub(super) fn is_sound(&self) -> bool {
        let mut paths: Vec<&str> = self.files.iter().map(|file| file.path.as_str()).collect();
        paths.sort_unstable();
        let distinct = paths.windows(2).all(|pair| pair.first() != pair.last());
        let fits = self.files.iter().try_fold(0_u64, |sum, file| sum.checked_add(file.bytes)).is_some();
        self.format == 1 && distinct && fits && paths.iter().all(|path| belongs(path))
    }
}

/// Whether a data directory can have such a file, and a backup copies it.
fn belongs(path: &str) -> bool {
    let hexadecimal = |text: &str, digits| {
        text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let numbered = |name: &str, end| name.strip_suffix(end).is_some_and(|number| hexadecimal(number, 16));
    match path.split('/').collect::<Vec<_>>().as_slice() {
        ["config.toml" | "default-identity"] | ["keys", "node" | "node.key"] => true,
        ["keys", name] => hexadecimal(name.strip_suffix(SEAL_KEYS).unwrap_or(name), 32),
        [identity, "log", name] => hexadecimal(identity, 32) && (numbered(name, ".seg") || numbered(name, ".ckp")),
        [identity, "blob", name] => hexadecimal(identity, 32) && hexadecimal(name, 32),
        _ => false,
    }
}

/// The files of a data directory in which no daemon runs; without `logs`, only those that do not belong to logs, for a
/// directory in which a daemon runs.
///
/// # Errors
/// Errors of the disk.
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
    // The key of an identity that is being removed may still be there.
    let removed = removals(vfs, root)?;
    if logs {
        let keys = vfs.list(&root.join("keys"))?;
        let counts = |name: &&String| name.parse::<IdentityId>().is_ok_and(|id| !removed.contains(&id));
        for identity in keys.iter().filter(counts) {
            take(&format!("{identity}/log"))?;
            take(&format!("{identity}/blob"))?;
        }
    }
    let is_of = |path: &str, id: &IdentityId| {
        let key = path.strip_prefix("keys/").map(|name| name.strip_suffix(SEAL_KEYS).unwrap_or(name));
        key == Some(&id.to_string())
    };
    found.retain(|entry| !removed.iter().any(|id| is_of(&entry.path, id)));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::vfs::{Fault, FaultVfs, MemVfs, Plan};
    use std::sync::Arc;

    #[test]
    fn only_what_a_data_directory_has_belongs_into_a_backup() {
        let id = "0123456789abcdef0123456789abcdef";
        for path in [
            "config.toml",
            "default-identity",
            "keys/node",
            "keys/node.key",
            &format!("keys/{id}"),
            &format!("keys/{id}.seal"),
        ] {
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
        let of_number = |number: &str| belongs(&format!("{id}/log/{number}"));
        for name in ["00000000000000af.seg", "00000000000000af.ckp"] {
            assert!(of_number(name), "{name}");
        }
        for name in ["00000000000000aF.seg", "00000000000000ag.ckp", "0000000000000000af.seg", "00000000000000af.tmp"] {
            assert!(!of_number(name), "{name}");
        }
        for identity in [id.split_at(1).1, &format!("{id}0"), "0123456789abcdef0123456789abcdeg"] {
            assert!(!belongs(&format!("keys/{identity}")), "{identity}");
            assert!(!belongs(&format!("{identity}/log/00000000000000af.seg")), "{identity}");
            assert!(!belongs(&format!("{identity}/blob/{id}")) && !belongs(&format!("{id}/blob/{identity}")));
        }
    }

    fn entry(path: &str, bytes: u64) -> Entry {
        Entry { path: path.to_owned(), bytes }
    }

    #[test]
    fn a_list_is_sound_where_every_file_belongs_there_once() {
        let list = |format, files: &[Entry]| {
            let (id, made, program) = (String::new(), Timestamp::from_secs(0), String::new());
            Manifest { format, id, made, program, files: files.to_vec() }.is_sound()
        };
        let (config, node, key) = (entry("config.toml", 1), entry("keys/node", 2), entry("keys/node.key", 3));
        assert!(list(1, &[]));
        assert!(list(1, &[node.clone(), config.clone(), key.clone()]));
        assert!(!list(2, &[node.clone(), config.clone(), key.clone()]), "another form");
        assert!(!list(1, &[node.clone(), entry("lock", 0)]), "a file that nobody copies");
        assert!(!list(1, &[node.clone(), config.clone(), node.clone()]), "one twice, with another between");
        assert!(!list(1, &[entry("keys/node", 9), node.clone()]), "one twice, of two lengths");
        assert!(list(1, &[node.clone(), entry("config.toml", u64::MAX - 2)]));
        assert!(!list(1, &[node, entry("config.toml", u64::MAX - 1)]), "more bytes than there can be");
    }

    #[test]
    fn a_directory_is_listed_with_the_logs_of_the_identities_that_have_a_key() {
        let (known, unknown) = ("0123456789abcdef0123456789abcdef", "ffffffffffffffffffffffffffffffff");
        let vfs = MemVfs::new();
        let files = [
            "config.toml".to_owned(),
            "lock".to_owned(),
            "keys/node".to_owned(),
            "keys/tmp-1".to_owned(),
            format!("keys/{known}"),
            format!("{known}/log/0000000000000001.seg"),
            format!("{known}/log/0000000000000001.ckp"),
            format!("{known}/log/tmp-2"),
            format!("{unknown}/log/0000000000000001.seg"),
            format!("keys/{known}.seal"),
        ];
        for (file, bytes) in files.iter().zip(1..) {
            let path = Path::new("/data").join(file);
            let dirs = path.ancestors().skip(1).filter(|dir| dir.parent().is_some()).collect::<Vec<_>>();
            dirs.into_iter().rev().for_each(|dir| vfs.mkdir(dir).unwrap());
            vfs.create_excl(&path).unwrap().write_at(0, &vec![0; bytes]).unwrap();
        }
        let listed = |logs| {
            let mut found = contents(&vfs, Path::new("/data"), logs).unwrap();
            found.sort();
            found
        };
        let outside = [
            entry(&format!("keys/{known}"), 5),
            entry(&format!("keys/{known}.seal"), 10),
            entry("config.toml", 1),
            entry("keys/node", 3),
        ];
        // The directory of the log's large messages does not exist yet.
        let logs = [
            entry(&format!("{known}/log/0000000000000001.ckp"), 7),
            entry(&format!("{known}/log/0000000000000001.seg"), 6),
        ];
        let sorted = |mut entries: Vec<Entry>| {
            entries.sort();
            entries
        };
        assert_eq!(listed(false), sorted(outside.to_vec()));
        assert_eq!(listed(true), sorted([&outside[..], &logs].concat()));
        for step in 1.. {
            let faulty = FaultVfs::new(Arc::new(vfs.clone()), Some(Plan { step, fault: Fault::Eio, sticky: false }));
            let found = contents(&faulty, Path::new("/data"), true);
            if !faulty.fired() {
                break;
            }
            assert!(found.is_err(), "step {step} failed and nobody was told");
        }
        // An identity that is being removed is in no backup, with none of its keys.
        vfs.create_excl(&Path::new("/data").join(format!("removing-{known}"))).unwrap();
        for logs in [false, true] {
            assert_eq!(listed(logs), sorted(outside[2..].to_vec()));
        }
    }
}
