//! `runepeer queue`: what waits and why, trying again, taking back.

use std::fmt::Write as _;

use serde_json::Value;

use super::Context;
use super::args::Queue;
use super::commands::{confirm, done, rows, show, text};
use crate::control::{Command, Failure};

pub(super) fn run(context: &Context, verb: Queue) -> Result<(), Failure> {
    match verb {
        Queue::List { ended } => {
            let value = context.ask(Command::QueueList { ended })?;
            show(context, value, |value| rows(value, "queue").map(|item| line(item) + "\n").collect());
        }
        Queue::Show { id } => {
            let value = context.ask(Command::QueueShow { id })?;
            show(context, value, |value| {
                let mut words = format!("{}  {} bytes\n", text(value, "id"), value["size"]);
                let _ = writeln!(words, "  subject    {}", text(value, "subject"));
                let _ = writeln!(words, "  submitted  {}", text(value, "submitted_at"));
                let _ = writeln!(words, "  until      {}", text(value, "expires_at"));
                for recipient in rows(value, "recipients") {
                    let _ = writeln!(words, "  to {}", standing(recipient));
                }
                words
            });
        }
        Queue::Retry { id } => {
            context.ask(Command::QueueRetry { id })?;
            done(context, "Trying. How it went: runepeer queue list");
        }
        Queue::Cancel { id } => {
            confirm(context, "Whoever does not have the message yet will not get it. Take it back?")?;
            context.ask(Command::QueueCancel { id })?;
            done(context, "Taken back. Where a copy may have arrived before, a message in INBOX says so.");
        }
    }
    Ok(())
}

/// One recipient of a message, on a line.
pub(super) fn line(item: &Value) -> String {
    format!("{}  to {}", text(item, "id"), standing(item))
}

fn standing(item: &Value) -> String {
    let mut line = format!("{}  {}", text(item, "to"), text(item, "state").replace('_', " "));
    let held = rows(item, "custody").count();
    if text(item, "state") == "handed_over" && item["ended_at"].is_null() {
        line.push_str(", as whoever carries it says; not confirmed yet");
    } else if held > 0 {
        let _ = write!(line, " by {held}, not with them yet as far as we know");
    } else if item["may_have_arrived"] == true {
        line.push_str(", sent but not acknowledged");
    }
    if let Some(next) = item["next_at"].as_str() {
        let _ = write!(line, ", next attempt {next}");
    }
    if let Some(error) = item["last_error"].as_str() {
        let _ = write!(line, " ({error})");
    }
    match item["ended_at"].as_str() {
        Some(ended) => {
            let _ = write!(line, " at {ended}");
        }
        None if matches!(text(item, "state"), "queued" | "held" | "handed_over") => {
            let _ = write!(line, ", until {}", text(item, "expires_at"));
        }
        None => {}
    }
    line
}
