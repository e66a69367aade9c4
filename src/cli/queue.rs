//! `runepeer queue`: shows which messages wait and why, tries them again, and takes them back.

use std::fmt::Write as _;

use super::Context;
use super::args::Queue;
use super::show::{confirm, done, show};
use crate::control::reply::{self, Done, QueuedKind, QueuedMessage, QueuedRecipient, RecipientState, TRY_LATER};
use crate::control::{Command, Failure};
use crate::daemon::now;

pub(super) fn run(context: &Context, verb: Queue) -> Result<(), Failure> {
    match verb {
        Queue::List { ended } => {
            let queue: reply::Queue = context.ask(Command::QueueList { ended })?;
            let clock = clock_matters(&queue.queue).then(|| clock_note(&now().rfc3339()));
            show(context, &queue, |queue| {
                let lines = queue.queue.iter().map(line).chain(clock);
                lines.map(|line| line + "\n").collect()
            });
        }
        Queue::Show { id } => {
            let message: QueuedMessage = context.ask(Command::QueueShow { id })?;
            show(context, &message, |message| {
                let mut words = format!("{}  {} bytes\n", message.id, message.size);
                let _ = match what(message.kind) {
                    Some(what) => writeln!(words, "  what       {what}"),
                    None => writeln!(words, "  subject    {}", message.subject),
                };
                let _ = writeln!(words, "  submitted  {}", message.submitted_at);
                let _ = writeln!(words, "  until      {}", message.expires_at);
                for recipient in &message.recipients {
                    let _ = writeln!(words, "  to {}", standing(recipient));
                }
                if clock_matters(&message.recipients) {
                    let _ = writeln!(words, "{}", clock_note(&now().rfc3339()));
                }
                words
            });
        }
        Queue::Retry { id } => {
            context.ask::<Done>(Command::QueueRetry { id })?;
            done(context, "Trying. How it went: runepeer queue list");
        }
        Queue::Cancel { id } => {
            confirm(
                context,
                "Nothing more is sent of it. A copy that a carrier or a friend holds, or that is on its way, may still arrive. \
                 Take it back?",
            )?;
            context.ask::<reply::QueueId>(Command::QueueCancel { id })?;
            done(context, "Taken back. Where a copy may have arrived before, a message in INBOX says so.");
        }
    }
    Ok(())
}

/// One recipient of a message, in one line.
pub(super) fn line(item: &QueuedRecipient) -> String {
    let what = what(item.kind).map(|what| format!("{what}, ")).unwrap_or_default();
    format!("{}  {what}to {}", item.id, standing(item))
}

/// What an entry is that is no mail. Nobody has written it, so that it has no subject.
const fn what(kind: QueuedKind) -> Option<&'static str> {
    match kind {
        QueuedKind::Mail => None,
        QueuedKind::Ask => Some("question whether others may get to know them"),
        QueuedKind::Grant => Some("your consent that others get to know you"),
        QueuedKind::Introduction => Some("introduction of somebody"),
        QueuedKind::Revocation => Some("word that this identity is revoked"),
    }
}

/// Whether a clock that is wrong may be the reason for which one of these waits or ended.
pub(super) fn clock_matters(items: &[QueuedRecipient]) -> bool {
    let later = |item: &QueuedRecipient| item.last_error.as_deref().is_some_and(|error| error.contains(TRY_LATER));
    items.iter().any(|item| item.state == RecipientState::Expired || later(item))
}

/// What is said beside such an item, with what this machine's clock says.
fn clock_note(clock: &str) -> String {
    format!(
        "This machine's clock says {clock}. Where that is wrong, mail is put off or expires: set the right date and time."
    )
}

/// The holders of copies: friends by their names, carriers by how many there are. Empty where no copy is held.
fn holders(item: &QueuedRecipient) -> String {
    let friends: Vec<&String> = item.custody.iter().filter_map(|copy| copy.friend.as_ref()).collect();
    let carriers = match item.custody.len() - friends.len() {
        0 => None,
        1 => Some("1 carrier".to_owned()),
        several => Some(format!("{several} carriers")),
    };
    friends.into_iter().cloned().chain(carriers).collect::<Vec<_>>().join(" and ")
}

fn standing(item: &QueuedRecipient) -> String {
    let mut line = format!("{}  {}", item.to, item.state.to_string().replace('_', " "));
    let holders = holders(item);
    if !item.consent.is_empty() {
        let _ = write!(line, ", goes when {} agreed to be shown to the others", names(&item.consent));
    }
    if item.state == RecipientState::HandedOver && item.ended_at.is_none() {
        line.push_str(", as the friend who carried it says; not confirmed yet");
    } else if !holders.is_empty() {
        let _ = write!(line, " by {holders}, not with them yet as far as we know");
    } else if item.may_have_arrived {
        line.push_str(", sent but not acknowledged");
    }
    if let Some(next) = &item.next_at {
        let _ = write!(line, ", next attempt {next}");
    }
    if let Some(error) = &item.last_error {
        let _ = write!(line, " ({error}");
        if let Some(since) = &item.failing_since {
            let _ = write!(line, ", since {since}");
        }
        line.push(')');
    }
    if let Some(from) = &item.tokens_from {
        let _ = write!(
            line,
            ", no token is left for their boxes (new ones count from {from}, or come with their next card)"
        );
    }
    match (&item.ended_at, item.state) {
        (Some(ended), _) => {
            let _ = write!(line, " at {ended}");
        }
        (None, RecipientState::Queued | RecipientState::Held | RecipientState::HandedOver) => {
            let _ = write!(line, ", until {}", item.expires_at);
        }
        (None, _) => {}
    }
    line
}

/// `carol has`, `carol and dora have`.
fn names(people: &[String]) -> String {
    match people {
        [only] => format!("{only} has"),
        [first @ .., last] => format!("{} and {last} have", first.join(", ")),
        [] => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_waits_for_consent_says_for_whose() {
        let waits = |people: &[&str]| {
            let consent = people.iter().map(|name| (*name).to_owned()).collect();
            line(&QueuedRecipient { consent, ..item(RecipientState::Queued, vec![]) })
        };
        assert!(waits(&["carol"]).contains(", goes when carol has agreed to be shown to the others, until"));
        assert!(waits(&["carol", "dora", "emil"]).contains("when carol, dora and emil have agreed"));
        assert!(!waits(&[]).contains("agreed"));
    }

    #[test]
    fn what_is_no_mail_says_what_it_is() {
        let said = |kind| line(&QueuedRecipient { kind, ..item(RecipientState::Queued, vec![]) });
        assert!(said(QueuedKind::Mail).starts_with("1f  to carol  queued"));
        let ask = said(QueuedKind::Ask);
        assert!(ask.starts_with("1f  question whether others may get to know them, to carol  queued"), "{ask}");
        let kinds = [QueuedKind::Ask, QueuedKind::Grant, QueuedKind::Introduction, QueuedKind::Revocation];
        let all: std::collections::BTreeSet<_> = kinds.iter().map(|kind| what(*kind)).collect();
        assert!(all.len() == kinds.len() && !all.contains(&None));
    }

    fn item(state: RecipientState, custody: Vec<reply::Copy>) -> QueuedRecipient {
        QueuedRecipient {
            consent: Vec::new(),
            id: "1f".to_owned(),
            to: "carol".to_owned(),
            address: "carol@x.onion".to_owned(),
            kind: QueuedKind::Mail,
            state,
            custody,
            may_have_arrived: false,
            late: false,
            attempts: 0,
            failing_since: None,
            submitted_at: "2026-11-26T00:00:00Z".to_owned(),
            next_at: None,
            expires_at: "2026-12-01T00:00:00Z".to_owned(),
            ended_at: None,
            last_error: None,
            tokens_from: None,
        }
    }

    #[test]
    fn what_is_held_is_said_with_the_friends_who_hold_it_and_the_number_of_carriers() {
        let copy = |friend: Option<&str>| reply::Copy {
            carrier: "x".to_owned(),
            friend: friend.map(str::to_owned),
            since: "2026-11-26T00:00:00Z".to_owned(),
        };
        let (carrier, friend) = (copy(None), copy(Some("bob")));
        let rest = ", not with them yet as far as we know, until 2026-12-01T00:00:00Z";
        for (custody, by) in [
            (vec![carrier.clone()], "1 carrier"),
            (vec![carrier.clone(), carrier.clone()], "2 carriers"),
            (vec![friend.clone()], "bob"),
            (vec![carrier, friend], "bob and 1 carrier"),
        ] {
            assert_eq!(standing(&item(RecipientState::Held, custody)), format!("carol  held by {by}{rest}"));
        }
        assert!(!standing(&item(RecipientState::Queued, vec![])).contains("not with them yet"));
    }

    #[test]
    fn a_message_that_has_no_token_says_when_new_ones_come() {
        let from = Some("2026-12-03T00:00:00Z".to_owned());
        let said = line(&QueuedRecipient { tokens_from: from, ..item(RecipientState::Queued, vec![]) });
        let part =
            "no token is left for their boxes (new ones count from 2026-12-03T00:00:00Z, or come with their next card)";
        assert!(said.contains(part), "{said}");
        assert!(!line(&item(RecipientState::Queued, vec![])).contains("token"));
    }

    #[test]
    fn the_clock_is_named_beside_what_expired_and_what_is_put_off() {
        let waits = item(RecipientState::Queued, vec![]);
        let failed = |error: &str| QueuedRecipient { last_error: Some(error.to_owned()), ..waits.clone() };
        assert!(clock_matters(&[waits.clone(), failed(TRY_LATER)]));
        assert!(clock_matters(&[item(RecipientState::Expired, vec![])]));
        assert!(!clock_matters(&[waits.clone(), failed("their node does not answer; it is probably off")]));
        assert!(clock_note("2026-11-26T00:00:00Z").contains("clock says 2026-11-26T00:00:00Z"));
    }
}
