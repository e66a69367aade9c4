//! Paths of Unix sockets, which the system bounds to 107 bytes.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The system's bound on a socket's path (`sun_path` less its NUL).
const SOCKET_PATH_BYTES: usize = 107;

/// A path by which the socket `name` in `directory` can be bound or connected to, and the descriptor that must live as
/// long as the path is used.
pub(super) fn address(directory: &Path, name: &str) -> io::Result<(PathBuf, Option<OwnedFd>)> {
    let path = directory.join(name);
    if path.as_os_str().len() <= SOCKET_PATH_BYTES {
        return Ok((path, None));
    }
    // The path is too long: the directory's descriptor has a shorter one.
    let directory: OwnedFd = std::fs::File::open(directory)?.into();
    let path = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name);
    Ok((path, Some(directory)))
}
