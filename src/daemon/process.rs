//! What the whole process does before it touches a key: nothing that it makes is open to others, and a crash leaves no
//! copy of its memory.

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, setrlimit, umask};

/// Closes files and sockets that this process makes to everybody but its user, also those made by libraries, and
/// turns core dumps off.
pub fn close_to_others() {
    umask(Mode::RWXG | Mode::RWXO);
    // Lowering a limit cannot fail; if a system refuses it nevertheless, the program runs all the same.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}
