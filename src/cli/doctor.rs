//! `runepeer doctor`: looks whether everything works, and says of each thing what was found and what to do.
//!
//! `look` gathers what the daemon says, what lies in the data directory, and what answers at the ports; `judge` makes
//! findings of that, and does nothing else. `fix` does what is safe.

mod fix;
mod judge;
mod look;
#[cfg(test)]
mod tests;

use serde::Serialize;

use super::Context;
use crate::control::{Code, Failure};
use look::Local;

/// The finding of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    /// The thing: one word. Several findings may be of one thing, such as two identities.
    check: &'static str,
    state: State,
    /// The finding, in words.
    found: String,
    /// What to do; null where there is nothing to do.
    cure: Option<String>,
}

/// How well it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Warning,
    Failed,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, state: State::Ok, found: found.into(), cure: None }
    }

    fn warning(check: &'static str, found: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { check, state: State::Warning, found: found.into(), cure: Some(cure.into()) }
    }

    fn failed(check: &'static str, found: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { state: State::Failed, ..Self::warning(check, found, cure) }
    }

    /// A line for what was found, and one below it for the cure.
    fn words(&self) -> String {
        let mark = match self.state {
            State::Ok => "ok",
            State::Warning => "! ",
            State::Failed => "x ",
        };
        let lines = self.found.trim_end().lines().chain(self.cure.as_deref());
        format!("{mark} {}: {}", self.check, lines.collect::<Vec<_>>().join("\n     "))
    }
}

/// All findings, as `--json` prints them.
#[derive(Serialize)]
struct Report {
    checks: Vec<Finding>,
    /// What `--fix` did.
    fixed: Vec<String>,
}

pub(super) fn run(context: &Context, fix: bool) -> Result<(), Failure> {
    let mut seen = look::daemon(&context.data);
    let mut local = Local::of(&context.data, &seen);
    let fixed = if fix { fix::safely(&context.data, &seen, &local) } else { Vec::new() };
    if !fixed.is_empty() {
        seen = look::daemon(&context.data);
        local = Local::of(&context.data, &seen);
    }
    local.boxes = look::boxes(context, &seen);
    let report = Report { checks: judge::judge(&seen, &local), fixed };
    for done in &report.fixed {
        context.output.say(format!("Done: {done}."));
    }
    super::show::show(context, &report, |report| report.checks.iter().map(|finding| finding.words() + "\n").collect());
    let failed = report.checks.iter().filter(|finding| finding.state == State::Failed).count();
    match failed {
        0 => Ok(()),
        // The findings were printed: nothing is left to say.
        _ => Err(Failure::new(Code::Failed, "")),
    }
}
