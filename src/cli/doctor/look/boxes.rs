//! The check of every box that is open: something is left there, and has to come back.

use std::time::{Duration, Instant};

use super::Seen;
use crate::cli::Context;
use crate::cli::absent::ask;
use crate::cli::progress::Bar;
use crate::control::Command;
use crate::control::reply::{BoxState, BoxStatus, Boxes, CheckState, Done};

/// For how long all boxes together are waited for.
const CHECK: Duration = Duration::from_secs(120);
/// How often it is asked how the checks go.
const ASK: Duration = Duration::from_millis(300);

/// A box, and what came of its check.
#[derive(Debug, Clone)]
pub(in crate::cli::doctor) struct BoxSeen {
    /// The identity whose box it is.
    pub(in crate::cli::doctor) identity: String,
    pub(in crate::cli::doctor) status: BoxStatus,
    pub(in crate::cli::doctor) canary: Canary,
}

/// The result of the check of a box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli::doctor) enum Canary {
    /// The test object came back.
    Works,
    /// Nothing could be left there, and why.
    Failed(String),
    /// What was left there did not come back in time.
    Late,
    /// It was not tried: the box is not open, or the network is not there.
    Untried,
}

/// Checks the boxes of all identities at once.
pub(in crate::cli::doctor) fn boxes(context: &Context, seen: &Seen) -> Vec<BoxSeen> {
    let Ok(status) = seen else { return Vec::new() };
    let mut seen = Vec::new();
    for identity in status.identities.iter().map(|identity| &identity.name) {
        for own_box in listed(context, identity) {
            let canary = match own_box.state {
                BoxState::Open if status.tor.state == "ready" => begun(context, identity, &own_box.name),
                _ => Canary::Untried,
            };
            seen.push(BoxSeen { identity: identity.clone(), status: own_box, canary });
        }
    }
    if seen.iter().any(|own_box| own_box.canary == Canary::Late) {
        wait(context, &mut seen);
    }
    seen
}

fn listed(context: &Context, identity: &str) -> Vec<BoxStatus> {
    ask(&context.data, Some(identity.to_owned()), Command::BoxList)
        .map(|boxes: Boxes| boxes.carriers)
        .unwrap_or_default()
}

/// Begins the check of a box. Until there is an answer, it is late.
fn begun(context: &Context, identity: &str, name: &str) -> Canary {
    let check = Command::BoxCheck { name: name.to_owned() };
    match ask::<Done>(&context.data, Some(identity.to_owned()), check) {
        Ok(Done {}) => Canary::Late,
        Err(failure) => Canary::Failed(failure.message),
    }
}

fn wait(context: &Context, seen: &mut [BoxSeen]) {
    let bar = Bar::new(context, "Leaving something in each box");
    let begun = Instant::now();
    while seen.iter().any(|own_box| own_box.canary == Canary::Late) && begun.elapsed() < CHECK {
        std::thread::sleep(ASK);
        bar.set(begun.elapsed().as_secs(), CHECK.as_secs());
        for own_box in seen.iter_mut().filter(|own_box| own_box.canary == Canary::Late) {
            let now = listed(context, &own_box.identity).into_iter().find(|now| now.name == own_box.status.name);
            let Some(now) = now else { continue };
            match now.check {
                Some(CheckState::Works) => own_box.canary = Canary::Works,
                Some(CheckState::Failed) => {
                    let why = now.check_error.clone().unwrap_or_else(|| "its carrier did not take it".to_owned());
                    own_box.canary = Canary::Failed(why);
                }
                Some(CheckState::Leaving | CheckState::Left) | None => {}
            }
            own_box.status = now;
        }
    }
    bar.clear();
}
