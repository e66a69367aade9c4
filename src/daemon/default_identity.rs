//! The default identity: the one that a command means which names none. The user chooses it, and its id is noted in the
//! data directory (docs/on-disk.md). The note is in the clear, so it has no name.

use std::io::{self, ErrorKind};
use std::path::Path;

use crate::base::IdentityId;
use crate::control::{Code, Failure};
use crate::store::vfs::{Vfs, read_small};

const FILE: &str = "default-identity";
/// A note that is being written. One that a crash left is replaced by the next.
const UNFINISHED: &str = "default-identity.new";
/// A longer file was not written by this program, in bytes.
const MOST: usize = 64;

/// The identity that was chosen; `None` where none was.
///
/// # Errors
/// [`Code::Failed`] where the note cannot be read. No other identity is taken for it, because mail that leaves from the
/// wrong one cannot be called back.
pub(super) fn chosen(vfs: &dyn Vfs, root: &Path) -> Result<Option<IdentityId>, Failure> {
    let bytes = match read_small(vfs, &root.join(FILE), MOST) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(root, &error.to_string())),
        Ok(bytes) => bytes,
    };
    let id = std::str::from_utf8(&bytes).ok().and_then(|text| text.trim().parse().ok());
    id.map(Some).ok_or_else(|| unreadable(root, "it is damaged"))
}

/// Notes the identity that was chosen, in place of the one before. A crash leaves the one or the other.
///
/// # Errors
/// Errors of the disk.
pub(super) fn choose(vfs: &dyn Vfs, root: &Path, id: IdentityId) -> io::Result<()> {
    let unfinished = root.join(UNFINISHED);
    match vfs.unlink(&unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = vfs.create_excl(&unfinished)?;
    file.write_at(0, format!("{id}\n").as_bytes())?;
    file.sync()?;
    vfs.rename(&unfinished, &root.join(FILE))?;
    vfs.sync_dir(root)
}

/// Takes the choice back, where it was this identity. A note that cannot be read names nobody, and stays.
///
/// # Errors
/// Errors of the disk.
pub(super) fn forget(vfs: &dyn Vfs, root: &Path, id: IdentityId) -> io::Result<()> {
    if chosen(vfs, root).is_ok_and(|chosen| chosen == Some(id)) {
        vfs.unlink(&root.join(FILE))?;
        vfs.sync_dir(root)?;
    }
    Ok(())
}

fn unreadable(root: &Path, why: &str) -> Failure {
    let path = root.join(FILE);
    Failure::new(Code::Failed, format!("the note of the default identity, {}, cannot be read: {why}", path.display()))
        .hint("choose the default identity again: runepeer identity default NAME; or say which one with -i NAME")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::SeededRng;
    use crate::store::vfs::{CrashMode, Fault, FaultVfs, MemVfs, Plan};
    use std::sync::Arc;

    const ROOT: &str = "/data";

    fn empty() -> MemVfs {
        let vfs = MemVfs::new();
        vfs.mkdir(Path::new(ROOT)).unwrap();
        vfs.sync_dir(Path::new("/")).unwrap();
        vfs
    }

    fn id(number: u8) -> IdentityId {
        IdentityId::from_bytes([number; 16])
    }

    #[test]
    fn the_last_choice_counts_and_a_note_that_cannot_be_read_is_never_none() {
        let (vfs, root) = (empty(), Path::new(ROOT));
        assert_eq!(chosen(&vfs, root).unwrap(), None);
        for number in [1, 2] {
            choose(&vfs, root, id(number)).unwrap();
            assert_eq!(chosen(&vfs, root).unwrap(), Some(id(number)));
        }
        for damaged in ["", "0202", &"2".repeat(65), "alice"] {
            vfs.unlink(&root.join(FILE)).unwrap();
            vfs.create_excl(&root.join(FILE)).unwrap().write_at(0, damaged.as_bytes()).unwrap();
            let hint = chosen(&vfs, root).unwrap_err().hint.unwrap();
            assert!(hint.contains("identity default NAME"), "{damaged:?}: {hint}");
        }
        choose(&vfs, root, id(3)).unwrap();
        assert_eq!(chosen(&vfs, root).unwrap(), Some(id(3)));
    }

    #[test]
    fn after_a_crash_or_an_error_of_the_disk_the_choice_before_or_the_new_one_is_there() {
        for step in 1.. {
            let vfs = empty();
            choose(&vfs, Path::new(ROOT), id(1)).unwrap();
            let faulty = FaultVfs::new(Arc::new(vfs.clone()), Some(Plan { step, fault: Fault::Eio, sticky: true }));
            let done = choose(&faulty, Path::new(ROOT), id(2)).is_ok();
            for (mode, seed) in
                [(CrashMode::Kill, 1), (CrashMode::PowerCut, 1), (CrashMode::Torn, 1), (CrashMode::Torn, 2)]
            {
                let left = chosen(&vfs.crash(mode, &mut SeededRng::new(seed)), Path::new(ROOT)).unwrap();
                assert!(left == Some(id(2)) || !done && left == Some(id(1)), "step {step}, {mode:?}: {left:?}");
            }
            choose(&vfs, Path::new(ROOT), id(3)).unwrap();
            assert_eq!(chosen(&vfs, Path::new(ROOT)).unwrap(), Some(id(3)));
            if !faulty.fired() {
                return assert!(done);
            }
        }
    }
}
