//! Whether a data directory, or a backup, has every part whose existence its other parts prove.

use std::path::Path;

use super::{failed, was_interrupted};
use crate::control::{Code, Failure};
use crate::store::vfs::Vfs;
use crate::store::{Missing, missing, missing_segments};

/// Names the parts of a node that are missing in a data directory, and what to do. Nothing is changed. A directory
/// without any part of a node is whole.
///
/// # Errors
/// [`Code::Failed`] where a part is missing.
pub fn check_whole(vfs: &dyn Vfs, root: &Path) -> Result<(), Failure> {
    if was_interrupted(vfs, root) {
        return Err(Failure::new(Code::Failed, "a backup was being restored here, and that did not come to its end")
            .hint("run the same command again: runepeer backup restore FILE"));
    }
    let parts = missing(vfs, root).map_err(|error| failed(&format!("{} cannot be read", root.display()), error))?;
    if parts.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Code::Failed, format!("a part of this node is missing: {}", list(&parts))).hint(
        "nothing was changed. Put back what is missing, from wherever a copy of it is; or restore a backup into a new \
         directory: runepeer --data-dir NEW backup restore FILE; or, to do without what is left of that part, move it out \
         of the data directory",
    ))
}

/// Whether a part is missing for which [`check_whole`] refuses the data directory.
pub fn lacks_parts(vfs: &dyn Vfs, root: &Path) -> bool {
    !was_interrupted(vfs, root) && missing(vfs, root).is_ok_and(|parts| !parts.is_empty())
}

/// Names the missing parts of the logs of a data directory in which no daemon runs, as far as they are known without
/// keys.
///
/// # Errors
/// [`Code::Failed`] where a segment is missing.
pub fn check_logs(vfs: &dyn Vfs, root: &Path) -> Result<(), Failure> {
    let parts = missing_segments(vfs, root).map_err(|error| failed("the logs cannot be read", error))?;
    if parts.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Code::Failed, format!("a part of a log is missing: {}", list(&parts)))
        .hint("nothing was made. Put it back, or save what is left, then make the backup: runepeer repair"))
}

/// As [`check_whole`], for a backup, whose files are below `/`.
pub(super) fn check_whole_backup(vfs: &dyn Vfs) -> Result<(), Failure> {
    let parts = missing(vfs, Path::new("/")).map_err(|error| failed("the backup cannot be read", error))?;
    if parts.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Code::Failed, format!("the backup is not whole: {}", list(&parts)))
        .hint("it was made of a data directory in which that was missing; use another backup"))
}

fn list(parts: &[Missing]) -> String {
    parts.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
