//! The data directory as it can be seen from outside: who may read it, its configuration, and its newest file.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::base::Timestamp;
use crate::config::{FILE_NAME, File};

/// A file or a directory that others may look into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli::doctor) struct Open {
    pub(in crate::cli::doctor) path: PathBuf,
    /// The mode that it has.
    pub(in crate::cli::doctor) mode: u32,
    /// The mode that it should have.
    pub(in crate::cli::doctor) closed: u32,
}

/// How `config.toml` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli::doctor) enum Settings {
    /// It can be used.
    Fine,
    /// There is none, or it is empty.
    Missing,
    /// It cannot be used, and why.
    Broken(String),
}

/// How the directory of the view is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli::doctor) enum View {
    /// It is a directory; or there is none, and the next start makes it.
    Fine,
    /// It failed in the last run, and the next start makes it anew.
    Failed,
    /// Something else is in its place.
    NoDirectory,
}

/// What lies open to others, and what belongs to another user: the data directory, the keys, and the directories.
pub(in crate::cli::doctor) fn permissions(data: &Path) -> (Vec<Open>, Vec<PathBuf>) {
    let user = rustix::process::geteuid().as_raw();
    let (mut open, mut foreign) = (Vec::new(), Vec::new());
    let keys = data.join("keys");
    let directories = entries(data).into_iter().filter(|path| path.symlink_metadata().is_ok_and(|meta| meta.is_dir()));
    for path in [data.to_owned()].into_iter().chain(directories).chain(entries(&keys)) {
        let Ok(meta) = path.symlink_metadata() else { continue };
        let mode = meta.mode() & 0o777;
        if meta.uid() != user {
            foreign.push(path);
        } else if mode & 0o077 != 0 && !meta.is_symlink() {
            open.push(Open { path, mode, closed: if meta.is_dir() { 0o700 } else { 0o600 } });
        }
    }
    (open, foreign)
}

pub(in crate::cli::doctor) fn settings(data: &Path) -> Settings {
    if data.join(FILE_NAME).metadata().map_or(true, |meta| meta.len() == 0) {
        return Settings::Missing;
    }
    match File::load(data).and_then(|file| file.validate()) {
        Ok(_) => Settings::Fine,
        Err(error) => Settings::Broken(error.to_string()),
    }
}

pub(in crate::cli::doctor) fn view(data: &Path) -> View {
    let view = data.join("view");
    match view.symlink_metadata() {
        Ok(meta) if !meta.is_dir() => View::NoDirectory,
        _ if view.join("failed").exists() => View::Failed,
        _ => View::Fine,
    }
}

/// When a file was last written, of those that the node writes: in the data directory, and in the logs.
pub(in crate::cli::doctor) fn newest(data: &Path) -> Option<Timestamp> {
    let logs = entries(data).into_iter().flat_map(|path| entries(&path.join("log")));
    let written = |path: PathBuf| {
        let meta = path.symlink_metadata().ok().filter(std::fs::Metadata::is_file)?;
        Some(Timestamp::from_secs(meta.mtime()))
    };
    entries(data).into_iter().chain(logs).filter_map(written).max()
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    entries.filter_map(Result::ok).map(|entry| entry.path()).collect()
}
