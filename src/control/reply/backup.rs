//! Replies about backups.

use serde::{Deserialize, Serialize};

/// The files of a backup, none of which is removed while the backup is made. `F` is how the backup names a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupFiles<F> {
    /// The name under which the daemon is told that the files are still needed.
    pub lease: String,
    /// The files.
    pub files: Vec<F>,
}

/// The last backup that was made here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastBackup {
    /// When it was made; null where there was none.
    pub last: Option<String>,
    /// When it was last verified.
    pub verified: Option<String>,
}
