//! Directories that only their owner may enter.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use super::transport::StartError;

/// Makes the directory, with those above it, where it does not exist, and opens it. Refuses a directory that is not
/// ours or that others may enter. Its mode is not repaired, because its files may have been read or exchanged already.
pub(super) fn make_private_directory(path: &Path) -> Result<File, StartError> {
    let failed = |source| StartError::Io { path: path.to_owned(), source };
    if let Err(error) = DirBuilder::new().recursive(true).mode(0o700).create(path) {
        return Err(if path.exists() { StartError::NotDirectory(path.to_owned()) } else { failed(error) });
    }
    let handle = File::open(path).map_err(failed)?;
    let found = handle.metadata().map_err(failed)?;
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(StartError::ForeignDirectory(path.to_owned()));
    }
    if found.mode() & 0o077 != 0 {
        return Err(StartError::OpenDirectory(path.to_owned()));
    }
    Ok(handle)
}
