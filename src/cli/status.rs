//! `runepeer status`: how the node stands.

use std::fmt::Write as _;

use super::show::show;
use super::{Context, absent, carrier, mail, queue};
use crate::base::limits;
use crate::control::reply::{Listen, Status};
use crate::control::{Code, Command, Failure};

pub(super) fn run(context: &Context) -> Result<(), Failure> {
    let status = absent::ask(&context.data, None, Command::Status).map_err(|failure| {
        if failure.code == Code::DaemonDown { absent::why(&context.data).failure() } else { failure }
    })?;
    show(context, &status, standing);
    Ok(())
}

/// The status of a node, in words.
pub(super) fn standing(status: &Status) -> String {
    let mut words = format!("runepeer {}, process {} (runepeer down stops it)\n", status.version, status.pid);
    let tor = &status.tor;
    let _ = writeln!(words, "network: {} ({} %); this machine's clock says {}", tor.state, tor.percent, status.clock);
    if let Some(reason) = &tor.blocked_reason {
        let _ = writeln!(words, "  {reason}");
    }
    if let Some(problem) = status.clock_problem.as_ref().filter(|problem| tor.blocked_reason.as_ref() != Some(*problem))
    {
        let _ = writeln!(words, "clock: {problem}");
    }
    for identity in &status.identities {
        let reachable = match (identity.listen, identity.reachable, &identity.checked_at) {
            (Listen::Never, ..) => "by its boxes only".to_owned(),
            (Listen::Always, true, Some(checked)) => format!("reachable, tried {checked}"),
            (Listen::Always, true, None) => "reachable".to_owned(),
            (Listen::Always, false, Some(checked)) => format!("not reachable, tried {checked}"),
            (Listen::Always, false, None) => "not reachable yet".to_owned(),
        };
        let _ = writeln!(words, "{}: {} ({reachable})", identity.name, identity.address);
        if let Some(problem) = &identity.problem {
            let _ = writeln!(words, "  {problem}");
        }
        if identity.requests > 0 {
            let _ = writeln!(
                words,
                "  {} in the folder Requests, without an invitation: runepeer contact list shows who, and \
                 runepeer contact accept WHO accepts them",
                if identity.requests == 1 {
                    "somebody waits".to_owned()
                } else {
                    format!("{} people wait", identity.requests)
                }
            );
        }
        if identity.introductions > 0 {
            let waiting = match identity.introductions {
                1 => "an introduction waits".to_owned(),
                many => format!("{many} introductions wait"),
            };
            let _ = writeln!(
                words,
                "  {waiting} in the folder Requests: runepeer request list shows which, and runepeer request accept ID accepts"
            );
        }
    }
    words += &status.carrier.as_ref().map(carrier::standing).unwrap_or_default();
    if let Some(disk) = status.disk.filter(|disk| disk.low) {
        let (free, enough) = (disk.free >> 20, limits::ENOUGH_DISK_BYTES >> 20);
        let _ = writeln!(
            words,
            "disk: nearly full ({free} MiB free); no mail is taken until there is space: make room until {enough} MiB \
             are free on the file system of the data directory"
        );
    }
    if let Some(problem) = &status.view_problem {
        let _ = writeln!(words, "view: {problem}");
    }
    for own_box in &status.carriers {
        let _ = write!(words, "box: {}", carrier::own_box(own_box));
    }
    if let Some(listen) = &status.listen {
        let _ = writeln!(words, "mail programs: IMAP {}, SMTP {}", listen.imap, listen.submission);
    }
    for sent in &status.wrong_passwords {
        let (found, cure) = mail::wrong_password(sent, &status.names());
        let _ = writeln!(words, "  {found}; {cure}");
    }
    let _ = match status.queue.len() {
        0 => writeln!(words, "nothing waits"),
        waiting => writeln!(words, "{waiting} waiting:"),
    };
    for item in &status.queue {
        let _ = writeln!(words, "  {}", queue::line(item));
    }
    let _ = match (&status.backup.last, &status.backup.verified) {
        (None, _) => writeln!(words, "no backup yet: runepeer backup create FILE"),
        (Some(last), Some(verified)) => writeln!(words, "last backup {last}, verified {verified}"),
        (Some(last), None) => writeln!(words, "last backup {last}, not verified: runepeer backup verify FILE"),
    };
    if status.identities.iter().any(|identity| identity.contacts == 0) {
        words.push_str("next: runepeer invite, or runepeer contact add, to know somebody\n");
    }
    words
}
