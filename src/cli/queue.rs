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
            confirm(
                context,
                "Nothing more is sent of it. A copy that a carrier or a friend holds, or that is on its way, may still arrive. \
                 Take it back?",
            )?;
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

/// The holders of copies: friends by their names, carriers by their number. Empty where there are none.
fn holders(item: &Value) -> String {
    let friends: Vec<&str> = rows(item, "custody").filter_map(|copy| copy["friend"].as_str()).collect();
    let carriers = match rows(item, "custody").count() - friends.len() {
        0 => None,
        1 => Some("1 carrier".to_owned()),
        several => Some(format!("{several} carriers")),
    };
    friends.into_iter().map(str::to_owned).chain(carriers).collect::<Vec<_>>().join(" and ")
}

fn standing(item: &Value) -> String {
    let mut line = format!("{}  {}", text(item, "to"), text(item, "state").replace('_', " "));
    let holders = holders(item);
    if text(item, "state") == "handed_over" && item["ended_at"].is_null() {
        line.push_str(", as the friend who carried it says; not confirmed yet");
    } else if !holders.is_empty() {
        let _ = write!(line, " by {holders}, not with them yet as far as we know");
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_held_is_said_with_the_friends_who_hold_it_and_the_number_of_carriers() {
        let held = |custody: Value| {
            standing(
                &json!({ "to": "carol", "state": "held", "custody": custody, "expires_at": "2026-12-01T00:00:00Z" }),
            )
        };
        let (carrier, friend) = (json!({ "carrier": "x", "friend": null }), json!({ "carrier": "y", "friend": "bob" }));
        let rest = ", not with them yet as far as we know, until 2026-12-01T00:00:00Z";
        for (custody, by) in [
            (json!([carrier]), "1 carrier"),
            (json!([carrier, carrier]), "2 carriers"),
            (json!([friend]), "bob"),
            (json!([carrier, friend]), "bob and 1 carrier"),
        ] {
            assert_eq!(held(custody), format!("carol  held by {by}{rest}"));
        }
        assert!(
            !standing(&json!({ "to": "carol", "state": "queued", "expires_at": "x" })).contains("not with them yet")
        );
    }
}
