//! When the last backup was made, and whether it was looked at: for `status`.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::base::Timestamp;
use crate::store::vfs::{Vfs, read_small};

const FILE: &str = "backup.json";

/// The last backup of a data directory. Where it is, nobody writes down.
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
    /// What was noted in a data directory; `None` where there is nothing that can be read.
    pub fn load(vfs: &dyn Vfs, root: &Path) -> Option<Self> {
        serde_json::from_slice(&read_small(vfs, &root.join(FILE), 4096).ok()?).ok()
    }

    /// Notes it.
    ///
    /// # Errors
    /// Those of the disk.
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
