//! When the last backup was made, and whether it was verified: for `status`.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::base::Timestamp;
use crate::store::vfs::{Vfs, read_small};

const FILE: &str = "backup.json";

/// The last backup of a data directory. Its place is not written down.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    /// Its random name.
    pub id: String,
    /// When it was begun.
    pub made: Timestamp,
    /// When everything in it was last read.
    #[serde(default)]
    pub verified: Option<Timestamp>,
}

impl Last {
    /// The last backup that was noted in a data directory; `None` where no note can be read.
    pub fn load(vfs: &dyn Vfs, root: &Path) -> Option<Self> {
        serde_json::from_slice(&read_small(vfs, &root.join(FILE), 4096).ok()?).ok()
    }

    /// Writes the note.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn save(&self, vfs: &dyn Vfs, root: &Path) -> io::Result<()> {
        let path = root.join(FILE);
        match vfs.unlink(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let bytes = serde_json::to_vec(self).map_err(io::Error::other)?;
        let file = vfs.create_excl(&path)?;
        file.write_at(0, &bytes)?;
        file.sync()?;
        vfs.sync_dir(root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::vfs::{Fault, FaultVfs, MemVfs, Plan};
    use std::sync::Arc;

    const ROOT: &str = "/data";

    fn empty() -> MemVfs {
        let vfs = MemVfs::new();
        vfs.mkdir(Path::new(ROOT)).unwrap();
        vfs
    }

    fn noted(id: &str) -> Last {
        Last { id: id.to_owned(), made: Timestamp::from_secs(7), verified: None }
    }

    fn write(bytes: &[u8]) -> MemVfs {
        let vfs = empty();
        vfs.create_excl(&Path::new(ROOT).join(FILE)).unwrap().write_at(0, bytes).unwrap();
        vfs
    }

    #[test]
    fn what_is_noted_replaces_what_was_noted_before() {
        let vfs = empty();
        assert_eq!(Last::load(&vfs, Path::new(ROOT)), None);
        for last in [noted("a"), Last { verified: Some(Timestamp::from_secs(9)), ..noted("a") }, noted("b")] {
            last.save(&vfs, Path::new(ROOT)).unwrap();
            assert_eq!(Last::load(&vfs, Path::new(ROOT)), Some(last));
        }
    }

    #[test]
    fn what_cannot_be_read_is_as_good_as_nothing() {
        let json = serde_json::to_string(&noted("a")).unwrap();
        let without = json.replace(",\"verified\":null", "");
        assert_eq!(Last::load(&write(without.as_bytes()), Path::new(ROOT)), Some(noted("a")), "of an earlier version");
        let filled = |len: usize| write(format!("{json:<len$}").as_bytes());
        assert_eq!(Last::load(&filled(4096), Path::new(ROOT)), Some(noted("a")));
        assert_eq!(Last::load(&filled(4097), Path::new(ROOT)), None);
        assert_eq!(Last::load(&write(&json.as_bytes()[..20]), Path::new(ROOT)), None);
    }

    #[test]
    fn what_the_disk_says_is_told_as_it_is_and_the_next_attempt_notes_it() {
        for fault in [Fault::Eio, Fault::ShortWrite] {
            for step in 1.. {
                let vfs = empty();
                noted("a").save(&vfs, Path::new(ROOT)).unwrap();
                let faulty = FaultVfs::new(Arc::new(vfs.clone()), Some(Plan { step, fault, sticky: false }));
                let saved = noted("b").save(&faulty, Path::new(ROOT));
                if !faulty.fired() {
                    saved.unwrap();
                    break;
                }
                let error = saved.unwrap_err().raw_os_error();
                assert_eq!(error, Some(rustix::io::Errno::IO.raw_os_error()), "{fault:?} at step {step}");
                let left = Last::load(&vfs, Path::new(ROOT));
                assert!(left.is_none_or(|last| last == noted(if step == 1 { "a" } else { "b" })), "step {step}");
                noted("c").save(&vfs, Path::new(ROOT)).unwrap();
                assert_eq!(Last::load(&vfs, Path::new(ROOT)), Some(noted("c")));
            }
        }
    }
}
