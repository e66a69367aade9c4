//! Replies about backups.

use serde::{Deserialize, Serialize};

/// The files of a backup, which stay while it is made. `F` is how the backup names a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupFiles<F> {
    /// By this name the daemon is told that they are still needed.
    pub lease: String,
    /// The files.
    pub files: Vec<F>,
}

/// The last backup that was made here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastBackup {
    /// When it was made; null where there was none.
    pub last: Option<String>,
    /// When it was read again to its end.
    pub verified: Option<String>,
}
