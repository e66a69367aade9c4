//! Findings about mail that waits, about mail programs, and about the backup.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::super::look::{Answer, Local, Port};
use super::Finding;
use crate::base::Timestamp;
use crate::cli::mail::wrong_password;
use crate::cli::queue::clock_matters;
use crate::control::reply::{QueuedRecipient, RecipientState, Status, WrongPassword};

/// A backup that is older than this lacks much.
const BACKUP_AGE: Duration = Duration::from_secs(30 * 24 * 3600);
/// So many people are named; of more the number is told.
const NAMED: usize = 5;

/// Messages for which no token is left.
pub(super) fn tokens(status: &Status) -> Finding {
    let lacking = status.queue.iter().filter_map(|item| Some((&item.to, item.tokens_from.as_ref()?)));
    let lacking: BTreeMap<_, _> = lacking.collect();
    if lacking.is_empty() {
        return Finding::ok("tokens", "no message lacks one");
    }
    let each = lacking.iter().map(|(to, from)| format!("{to} (new ones count from {from})")).collect();
    Finding::warning(
        "tokens",
        format!("no token is left for the boxes of {}", listed(each)),
        "there is nothing to do: what waits is left there when new ones count, or come with their next card, and goes straight \
         to their nodes when they are on before that",
    )
}

/// The messages that wait, with the reasons.
pub(super) fn queue(status: &Status) -> Finding {
    let waiting = status.queue.len();
    let failing: Vec<&QueuedRecipient> = status.queue.iter().filter(|item| item.last_error.is_some()).collect();
    if failing.is_empty() {
        let found = if waiting == 0 { "nothing waits".to_owned() } else { format!("{waiting} waiting, none failed") };
        return Finding::ok("queue", found);
    }
    let mut people: BTreeMap<&str, String> = BTreeMap::new();
    for item in &failing {
        let mut why = format!("{}: {}", item.to, item.last_error.as_deref().unwrap_or_default());
        if let Some(since) = &item.failing_since {
            let _ = write!(why, ", since {since}");
        }
        if item.state == RecipientState::Held {
            why.push_str(", held for them meanwhile");
        }
        people.entry(&item.to).or_insert(why);
    }
    let found =
        format!("{waiting} waiting, {} not yet through; {}", failing.len(), listed(people.into_values().collect()));
    let mut cure =
        "it goes out by itself when they are back, until the time that `runepeer queue list` shows; to try now: \
                    runepeer queue retry. A box at a carrier holds mail for people who are seldom on"
            .to_owned();
    if clock_matters(&status.queue) {
        let _ = write!(
            cure,
            ". Where they ask to try later, see that this machine's clock is right: it says {}",
            status.clock
        );
    }
    Finding::warning("queue", found, cure)
}

/// The first of them, and how many more there are.
fn listed(all: Vec<String>) -> String {
    let more = all.len().saturating_sub(NAMED);
    let named = all.into_iter().take(NAMED).collect::<Vec<_>>().join("; ");
    if more == 0 { named } else { format!("{named}; and {more} more") }
}

/// The ports of mail programs.
pub(super) fn ports(local: &Local) -> Vec<Finding> {
    local.ports.iter().map(port).collect()
}

fn port(port: &Port) -> Finding {
    let Port { what, setting, at, answer } = port;
    let another = format!("write another one into config.toml ({setting}, port 0 is any free one)");
    match answer {
        Answer::Greets => Finding::ok("ports", format!("{what} answers at {at}")),
        Answer::Free if at.ends_with(":0") => Finding::ok("ports", format!("{what} takes any port that is free")),
        Answer::Free => Finding::ok("ports", format!("{at} is free for {what}")),
        Answer::Silent(why) => Finding::failed(
            "ports",
            format!("{what} does not answer at {at}: {why}"),
            "start the daemon again: runepeer down, then runepeer up; a firewall on this machine may also be the reason",
        ),
        Answer::Taken => Finding::failed(
            "ports",
            format!("another program uses {at}, where {what} is to listen"),
            format!("end that program (ss -ltnp names it), or {another}"),
        ),
        Answer::Unusable(why) => Finding::failed("ports", format!("{what} cannot listen at {at}: {why}"), another),
    }
}

/// Whether a mail program can log in.
pub(super) fn passwords(local: &Local) -> Vec<Finding> {
    let judged = |(name, count): &(String, usize)| match count {
        0 => Finding::warning(
            "passwords",
            format!("{name}: no mail program can log in, because there is no password for one"),
            format!("make one: runepeer -i {name} mail password new; the settings: runepeer -i {name} mail setup show"),
        ),
        count => Finding::ok("passwords", format!("{name}: mail programs log in with one of {count} passwords")),
    };
    local.passwords.iter().map(judged).collect()
}

/// The wrong passwords that mail programs keep sending.
pub(super) fn logins(status: &Status) -> Vec<Finding> {
    let judged = |sent: &WrongPassword| {
        let (found, cure) = wrong_password(sent, &status.names());
        Finding::warning("logins", found, cure)
    };
    status.wrong_passwords.iter().map(judged).collect()
}

/// How old the last backup is; `None` where the node has no mailbox.
pub(super) fn backup(status: Option<&Status>, local: &Local) -> Option<Finding> {
    if status.is_some_and(|status| status.identities.is_empty()) {
        return None;
    }
    let make = "make one: runepeer backup create FILE, and keep it on another disk";
    let backup = status.map_or(&local.backup, |status| &status.backup);
    let Some(last) = &backup.last else {
        return Some(Finding::warning("backup", "there is none: with this disk all keys and mail are lost", make));
    };
    let age = Timestamp::parse_rfc3339(last).map(|last| local.now.since(last)).unwrap_or_default();
    let days = age.as_secs() / (24 * 3600);
    Some(match &backup.verified {
        _ if age > BACKUP_AGE => Finding::warning("backup", format!("the last one is {days} days old ({last})"), make),
        None => Finding::warning(
            "backup",
            format!("the last one was made at {last}, and never read again"),
            "see that it can be read: runepeer backup verify FILE",
        ),
        Some(verified) => Finding::ok("backup", format!("made at {last}, verified at {verified}")),
    })
}
