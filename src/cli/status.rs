//! `runepeer status`: how the node stands.

use std::fmt::Write as _;

use super::show::show;
use super::{Context, carrier, queue};
use crate::control::reply::{Listen, Status};
use crate::control::{Code, Command, Failure};

pub(super) fn run(context: &Context) -> Result<(), Failure> {
    let status = match context.ask(Command::Status) {
        Err(failure) if failure.code == Code::DaemonDown && !context.data.join("keys").exists() => {
            return Err(failure.hint("nothing is set up yet; begin with: runepeer up"));
        }
        answer => answer?,
    };
    show(context, &status, standing);
    Ok(())
}

/// The status of a node, in words.
fn standing(status: &Status) -> String {
    let mut words = format!("runepeer {}, process {}\n", status.version, status.pid);
    let tor = &status.tor;
    let _ = writeln!(words, "network: {} ({} %); this machine's clock says {}", tor.state, tor.percent, status.clock);
    if let Some(reason) = &tor.blocked_reason {
        let _ = writeln!(words, "  {reason}");
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
    }
    words += &status.carrier.as_ref().map(carrier::standing).unwrap_or_default();
    if let Some(disk) = status.disk.filter(|disk| disk.low) {
        let free = disk.free >> 20;
        let _ = writeln!(words, "disk: nearly full ({free} MiB free); no mail is taken until there is space");
    }
    for own_box in &status.carriers {
        let _ = write!(words, "box: {}", carrier::own_box(own_box));
    }
    if let Some(listen) = &status.listen {
        let _ = writeln!(words, "mail programs: IMAP {}, SMTP {}", listen.imap, listen.submission);
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
