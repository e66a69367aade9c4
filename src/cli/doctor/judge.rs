//! What each thing that was looked at means. Nothing here looks or asks: the same things seen give the same findings.

mod mail;
mod network;

use std::time::Duration;

use super::Finding;
use super::look::{Local, Open, Seen, Settings, View};
use crate::base::limits;
use crate::control::reply::Status;

/// Bytes in a MiB.
const MIB: u64 = limits::MIB as u64;
/// A clock is wrong that is behind what was written before by more than this.
const BEHIND: Duration = Duration::from_secs(300);
/// How to set the clock.
const SET_CLOCK: &str = "set the right date, time and time zone, for example with: timedatectl set-ntp true";

/// The findings of everything that was looked at.
pub(super) fn judge(seen: &Seen, local: &Local) -> Vec<Finding> {
    let mut findings = vec![daemon(seen)];
    if local.is_empty {
        return findings;
    }
    let status = seen.as_deref().ok();
    findings.extend([
        directory(local),
        settings(local),
        disk(status, local),
        view(status, local),
        clock(status, local),
    ]);
    if let Some(status) = status {
        findings.push(network::network(status));
        findings.extend(network::addresses(status, local.now));
        findings.extend(network::carrier(status));
        findings.extend(network::boxes(status, local));
        findings.push(mail::tokens(status));
        findings.push(mail::queue(status));
    }
    findings.extend(mail::ports(local));
    findings.extend(mail::passwords(local));
    findings.extend(status.into_iter().flat_map(mail::logins));
    findings.extend(mail::backup(status, local));
    findings
}

fn daemon(seen: &Seen) -> Finding {
    let ours = env!("CARGO_PKG_VERSION");
    match seen {
        Err(absent) => Finding::failed("daemon", &*absent.found, &*absent.cure),
        Ok(status) if status.version != ours => Finding::warning(
            "daemon",
            format!("process {} is runepeer {}, and this program is {ours}", status.pid, status.version),
            "start it again: runepeer down, then runepeer up",
        ),
        Ok(status) => Finding::ok(
            "daemon",
            format!(
                "process {} runs here; a second `runepeer up` is refused until it is stopped (runepeer down)",
                status.pid
            ),
        ),
    }
}

fn directory(local: &Local) -> Finding {
    let here = local.data.display();
    if let Some(foreign) = local.foreign.first() {
        return Finding::failed(
            "directory",
            format!("{} belongs to another user", foreign.display()),
            "run runepeer as the user who owns the data directory, or give that user all of it: chown -R USER DIR",
        );
    }
    let Some(first) = local.open.first() else {
        return Finding::ok("directory", format!("nobody else may look into {here}"));
    };
    let named = |open: &Open| format!("{} (mode {:o})", open.path.display(), open.mode);
    let more = match local.open.len() - 1 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Finding::failed(
        "directory",
        format!("others may look into {}{more}", named(first)),
        format!("close it: runepeer doctor --fix, or: chmod {:o} '{}'", first.closed, first.path.display()),
    )
}

fn settings(local: &Local) -> Finding {
    match &local.settings {
        Settings::Fine => Finding::ok("config", "config.toml can be used"),
        Settings::Missing => Finding::warning(
            "config",
            "config.toml is missing or empty: a start takes the usual settings",
            "put it back, if anything stood there",
        ),
        Settings::Broken(error) => Finding::failed(
            "config",
            error,
            "mend that in config.toml: with it no start succeeds. A daemon that runs goes on with what it read before",
        ),
    }
}

fn disk(status: Option<&Status>, local: &Local) -> Finding {
    let here = local.data.display();
    let Some(free) = status.and_then(|status| status.disk).map(|disk| disk.free).or(local.free) else {
        return Finding::warning(
            "disk",
            format!("the free space at {here} is not known"),
            "see what the system says about this file system: df, dmesg",
        );
    };
    if free >= limits::ENOUGH_DISK_BYTES {
        return Finding::ok("disk", format!("{} MiB are free", free / MIB));
    }
    Finding::failed(
        "disk",
        format!("nearly full: {} MiB are free, and no mail is taken until there is space", free / MIB),
        format!(
            "make room until {} MiB are free on the file system of {here}; then mail is taken again by itself. Nothing that was \
             acknowledged is lost",
            limits::ENOUGH_DISK_BYTES.div_ceil(MIB)
        ),
    )
}

fn view(status: Option<&Status>, local: &Local) -> Finding {
    let delete = |path: &std::path::Path| {
        format!(
            "runepeer down, then delete it, which is safe (it is made anew from the log): rm -r '{}', then runepeer up",
            path.display()
        )
    };
    let path = local.data.join("view");
    match (status, local.view) {
        (Some(Status { view_problem: Some(problem), .. }), _) => Finding::warning("view", problem, delete(&path)),
        (None, View::NoDirectory) => {
            Finding::warning("view", format!("{} is no directory", path.display()), delete(&path))
        }
        (Some(_), _) => Finding::ok("view", "the copy of the mailbox for readers works"),
        (None, View::Failed) => {
            Finding::ok("view", "the copy of the mailbox for readers failed, and the next start makes it anew")
        }
        (None, View::Fine) => {
            Finding::ok("view", "where the copy of the mailbox for readers is broken, the next start makes it anew")
        }
    }
}

fn clock(status: Option<&Status>, local: &Local) -> Finding {
    if let Some((problem, status)) = status.and_then(|status| Some((status.clock_problem.as_ref()?, status))) {
        // What Tor says is certain; a later time that was written down may have been the wrong one.
        return match status.tor.blocked_reason.as_ref() == Some(problem) {
            true => Finding::failed("clock", problem, SET_CLOCK),
            false => Finding::warning("clock", problem, SET_CLOCK),
        };
    }
    let clock = local.now.rfc3339();
    match local.newest.filter(|newest| newest.since(local.now) > BEHIND) {
        Some(newest) => Finding::warning(
            "clock",
            format!(
                "this machine's clock says {clock}, which is before {}, when a file of this node was last written: it is \
                 wrong now, or was wrong then",
                newest.rfc3339()
            ),
            SET_CLOCK,
        ),
        None => Finding::ok("clock", format!("this machine's clock says {clock}, and nothing shows that it is wrong")),
    }
}
