//! `runepeer bridge`: how this node gets into Tor where Tor is blocked. It changes `config.toml`, with and without a daemon.

use std::os::unix::fs::DirBuilderExt;

use serde::Serialize;

use super::Context;
use super::args::Bridge;
use super::show::{confirm, pasted, show};
use crate::control::{Client, Code, Failure};
use crate::daemon::Bridges;

/// The bridges of a data directory.
#[derive(Serialize)]
struct Listed<'a> {
    bridges: &'a [String],
}

/// What a change of the bridges means.
#[derive(Serialize)]
struct Changed {
    /// How many bridges there are now.
    bridges: usize,
    /// Whether a daemon runs that goes on without the change until it is started again.
    restart_needed: bool,
}

pub(super) fn run(context: &Context, verb: Bridge) -> Result<(), Failure> {
    match verb {
        Bridge::List => {
            let bridges = Bridges::open(&context.data)?;
            let numbered = |(number, line): (usize, &String)| format!("{number}  {line}\n");
            show(context, &Listed { bridges: bridges.lines() }, |listed| {
                (1..).zip(listed.bridges).map(numbered).collect()
            });
            if bridges.lines().is_empty() {
                context.output.say("There are none: this node connects to Tor directly.");
            }
            Ok(())
        }
        Bridge::Add { line } => {
            let text = match line.filter(|line| line != "-") {
                Some(line) => line,
                None => pasted("Paste the bridge, or several on a line each, then press Enter and Ctrl-D:")?,
            };
            let mut bridges = Bridges::open(&context.data)?;
            // Before the first start, where Tor is blocked from the beginning.
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&context.data).map_err(|error| {
                Failure::new(Code::Failed, format!("{} cannot be made: {error}", context.data.display()))
            })?;
            let new = bridges.add(&text)?;
            changed(context, &bridges, &format!("{new} added; there are {} now.", bridges.lines().len()));
            Ok(())
        }
        Bridge::Rm { number } => {
            let mut bridges = Bridges::open(&context.data)?;
            if bridges.lines().len() == 1 {
                confirm(context, "It is the last one: this node connects to Tor directly then. Remove it?")?;
            }
            bridges.remove(number)?;
            changed(context, &bridges, &format!("Removed; there are {} now.", bridges.lines().len()));
            Ok(())
        }
    }
}

/// Says what was done, and from when on it counts.
fn changed(context: &Context, bridges: &Bridges, done: &str) {
    let runs = Client::connect(&context.data).is_ok();
    show(context, &Changed { bridges: bridges.lines().len(), restart_needed: runs }, |_| String::new());
    context.output.say(done);
    context.output.say(if runs {
        "The daemon reads this when it starts: runepeer down, then runepeer up."
    } else {
        "It counts from the next start: runepeer up."
    });
}
