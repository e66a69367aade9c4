//! `doctor --fix`: what is safe to do without asking.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::look::{Local, Seen};
use crate::cli::absent::ask;
use crate::control::Command;
use crate::control::reply::Done;

/// Closes what is open to others, and tries again what waits; tells what was done.
pub(super) fn safely(data: &Path, seen: &Seen, local: &Local) -> Vec<String> {
    let mut done = Vec::new();
    for open in &local.open {
        if std::fs::set_permissions(&open.path, Permissions::from_mode(open.closed)).is_ok() {
            done.push(format!("chmod {:o} {} (it was {:o})", open.closed, open.path.display(), open.mode));
        }
    }
    let Ok(status) = seen else { return done };
    if status.queue.iter().any(|item| item.last_error.is_some()) {
        let names = status.identities.iter().map(|identity| &identity.name);
        let retry = |name: &&String| ask::<Done>(data, Some((*name).clone()), Command::QueueRetry { id: None }).is_ok();
        let names: Vec<&str> = names.filter(retry).map(String::as_str).collect();
        if !names.is_empty() {
            done.push(format!("what waits of {} is tried again now (runepeer queue retry)", names.join(", ")));
        }
    }
    done
}
