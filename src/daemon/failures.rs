//! Failures of the disk and of the keys, in words for the user.

use crate::control::{Code, Failure};
use crate::store::{Keyring, UnlockError};

pub(super) fn broken(what: &str, error: impl std::fmt::Display) -> Failure {
    Failure::new(Code::Failed, format!("{what}: {error}"))
}

/// The failure of a command that could not get a key: why, and what its user does next.
pub(super) fn keyless(what: &str, error: &UnlockError) -> Failure {
    let failure = broken(what, error);
    match error {
        UnlockError::Damaged { file } | UnlockError::Foreign { file } if Keyring::is_of_carrier(file) => failure.hint(
            "nothing was changed, and no backup has this file. Put it back as it was, from wherever a copy of it is; \
             or, to begin a new carrier, move it and the directory held out of the data directory",
        ),
        error if error.is_damage() => failure.hint(
            "nothing was changed. Put back what was there, from wherever a copy of it is; or restore a backup into a \
             new directory: runepeer --data-dir NEW backup restore FILE",
        ),
        UnlockError::Version { .. } => failure.hint("nothing was changed. Start the newer runepeer"),
        UnlockError::Io(_) => failure.hint(
            "see what the system says about the disk, and whether this user may read and write the directory keys; \
             then try again",
        ),
        _ => failure,
    }
}
