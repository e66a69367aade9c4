//! Tor, the addresses of this node, its carrier, and the boxes that it rents.

use std::time::Duration;

use super::super::look::{BoxSeen, Canary, Local};
use super::{Finding, SET_CLOCK};
use crate::base::Timestamp;
use crate::control::reply::{BoxState, BoxStatus, CarrierStatus, IdentityStatus, Listen, Status};

/// The node looks at its own addresses more often than this.
const LOOKED: Duration = Duration::from_secs(3600);

/// The connection to the network.
pub(super) fn network(status: &Status) -> Finding {
    let tor = &status.tor;
    match (&tor.blocked_reason, tor.state.as_str()) {
        (None, "ready") => Finding::ok("tor", "connected"),
        (None, state) => Finding::warning(
            "tor",
            format!("{state} ({} %); this machine's clock says {}", tor.percent, status.clock),
            "wait a minute and look again: runepeer doctor",
        ),
        (Some(reason), _) if status.clock_problem.as_ref() == Some(reason) => Finding::failed("tor", reason, SET_CLOCK),
        (Some(reason), _) => {
            let since = tor.gone_since.as_ref().map(|since| format!("gone since {since}: ")).unwrap_or_default();
            Finding::failed(
                "tor",
                format!("{since}{reason} (this machine's clock says {})", status.clock),
                "see whether other programs on this machine reach the internet. If they do not, mend that connection, and this \
                 node goes on by itself; if they do, Tor is blocked here: take another network, or a bridge (runepeer bridge add)",
            )
        }
    }
}

/// Whether peers reach each identity.
pub(super) fn addresses(status: &Status, now: Timestamp) -> Vec<Finding> {
    status.identities.iter().map(|identity| address(identity, &status.tor.state, now)).collect()
}

fn address(identity: &IdentityStatus, network: &str, now: Timestamp) -> Finding {
    let name = &identity.name;
    let found = |words: &str| format!("{name}: {words}");
    match (identity.listen, &identity.problem) {
        (Listen::Never, Some(problem)) => {
            return Finding::failed(
                "address",
                found(problem),
                "rent a box (runepeer carrier add), or let it listen (runepeer identity set --listen always)",
            );
        }
        (Listen::Never, None) => return Finding::ok("address", found("mail comes by its boxes only")),
        (Listen::Always, Some(problem)) if network == "ready" => {
            return Finding::failed(
                "address",
                found(problem),
                "it is published anew by itself; where that takes longer than half an hour, see that the clock is right, and \
                 start again: runepeer down, then runepeer up",
            );
        }
        (Listen::Always, _) => {}
    }
    let checked = identity.checked_at.as_deref();
    let age = checked.and_then(Timestamp::parse_rfc3339).map(|checked| now.since(checked));
    match (identity.reachable, checked) {
        (true, Some(checked)) if age.is_some_and(|age| age > LOOKED) => Finding::warning(
            "address",
            found(&format!("this node last got through to it at {checked}, which is long ago")),
            "start it again if peers do not reach it: runepeer down, then runepeer up",
        ),
        (true, Some(checked)) => Finding::ok(
            "address",
            found(&format!(
                "reachable: at {checked} this node fetched its descriptor and got through to it as a peer does"
            )),
        ),
        (true, None) => Finding::ok("address", found("reachable")),
        (false, _) if network != "ready" => Finding::warning(
            "address",
            found("nobody reaches it while this node is not connected"),
            "it is published by itself once the network is there: see what is said of tor",
        ),
        (false, _) => Finding::warning(
            "address",
            found("not reachable yet; it is being published"),
            "wait two minutes and look again: runepeer doctor",
        ),
    }
}

/// The carrier of this node, if it has one that is on or broken.
pub(super) fn carrier(status: &Status) -> Option<Finding> {
    match status.carrier.as_ref()? {
        CarrierStatus::Broken(carrier) => Some(Finding::failed(
            "carrier",
            format!("it carries nothing until this is mended: {}", carrier.problem),
            carrier.hint.as_deref().unwrap_or("see what the log of the daemon says"),
        )),
        CarrierStatus::Open(carrier) => {
            if let Some(problem) = &carrier.problem {
                let cure = "see what it holds: runepeer carrier show; and docs/carriers.md";
                return Some(Finding::warning("carrier", problem, cure));
            }
            let held = format!("{} objects are held in {} boxes", carrier.held, carrier.mailboxes.len());
            match (carrier.enabled, carrier.reachable) {
                (false, _) => None,
                (true, true) => Some(Finding::ok("carrier", held)),
                (true, false) => Some(Finding::warning(
                    "carrier",
                    format!("not reachable; {held}"),
                    "wait two minutes and look again; what is said of tor comes first",
                )),
            }
        }
    }
}

/// The boxes that this node rents.
pub(super) fn boxes(status: &Status, local: &Local) -> Vec<Finding> {
    if status.identities.is_empty() {
        return Vec::new();
    }
    if local.boxes.is_empty() {
        let none = "none is rented; while this node is off, mail for it waits at its senders (runepeer carrier add)";
        return vec![Finding::ok("box", none)];
    }
    local.boxes.iter().flat_map(|seen| [Some(own_box(seen)), crowded(&seen.status)]).flatten().collect()
}

fn own_box(seen: &BoxSeen) -> Finding {
    let BoxStatus { name, state, places, contacts, .. } = &seen.status;
    let again = format!("try it again: runepeer carrier check {name}");
    let instead = format!(
        "ask its owner, or rent another box (runepeer carrier add) and give this one up (runepeer carrier rm {name})"
    );
    match (&seen.status.problem, &seen.canary) {
        (Some(problem), _) => Finding::failed("box", format!("{name}: {problem}"), instead),
        (None, Canary::Failed(why)) => Finding::failed(
            "box",
            format!("{name}: nothing can be left there: {why}"),
            format!("{again}; or {instead}"),
        ),
        (None, Canary::Late) => {
            Finding::warning("box", format!("{name}: what was left there did not come back within two minutes"), again)
        }
        (None, Canary::Works) => Finding::ok(
            "box",
            format!("{name}: it works, what was left there came back; {contacts} of {places} places are taken"),
        ),
        (None, Canary::Untried) if *state == BoxState::Open => {
            Finding::warning("box", format!("{name}: it was not tried, because this node is not connected"), again)
        }
        (None, Canary::Untried) => {
            let error = seen.status.last_error.as_ref().map(|error| format!(" ({error})")).unwrap_or_default();
            Finding::warning(
                "box",
                format!("{name}: {state}{error}"),
                "wait until it is open: runepeer carrier list; its carrier has to be on for that",
            )
        }
    }
}

/// A box in which all places are taken.
fn crowded(own_box: &BoxStatus) -> Option<Finding> {
    let BoxStatus { name, places, contacts_without_place: without, .. } = own_box;
    (*without > 0).then(|| {
        Finding::warning(
            "tokens",
            format!("{name}: all {places} places are taken, and {without} contacts have none"),
            "rent another box: runepeer carrier add",
        )
    })
}
