//! The queue, for people and scripts: which messages wait and why, how others ended, trying again and taking back.

use std::sync::Arc;

use super::compose;
use crate::base::{ContactId, QueueId, Timestamp};
use crate::control::reply::{self, QueuedKind, QueuedMessage, QueuedRecipient, RecipientState};
use crate::control::{Code, Failure};
use crate::daemon::hosts::account::LocalAccount;
use crate::daemon::runtime::clock::now;
use crate::engine::state::boxes::LeftCopy;
use crate::engine::state::queue::{FailureReason, Progress, Queued, Recipient};
use crate::engine::{Request, Snapshot};
use crate::mail::ContentKind;
use crate::wire::token::{begin_of, epoch};

/// A row for every recipient who has not got the message yet, the oldest first.
pub(in crate::daemon) fn waiting(snapshot: &Snapshot) -> Vec<QueuedRecipient> {
    let mut waiting: Vec<&Arc<Queued>> = snapshot.queue.iter().collect();
    waiting.sort_by_key(|queued| (queued.submitted, queued.id));
    let rows = |queued: &&Arc<Queued>| {
        let row = |(contact, recipient): (ContactId, &Recipient)| row(snapshot, queued, contact, recipient);
        queued.waiting().map(row).collect::<Vec<_>>()
    };
    waiting.iter().flat_map(rows).collect()
}

/// A row for every recipient of messages that ended lately, the newest first.
pub(in crate::daemon) fn ended(snapshot: &Snapshot) -> Vec<QueuedRecipient> {
    let rows = |queued: &Arc<Queued>| {
        let row = |(contact, recipient): (&ContactId, &Recipient)| row(snapshot, queued, *contact, recipient);
        queued.recipients.iter().map(row).collect::<Vec<_>>()
    };
    snapshot.queue.ended().rev().flat_map(rows).collect()
}

/// One message with all its recipients, whether it waits or has ended.
pub(in crate::daemon) fn show(snapshot: &Snapshot, beginning: &str) -> Result<QueuedMessage, Failure> {
    let all = snapshot.queue.iter().chain(snapshot.queue.ended());
    let queued = only(all.filter(|queued| queued.id.to_string().starts_with(beginning)))?;
    let recipients = queued.recipients.iter();
    Ok(QueuedMessage {
        id: queued.id.to_string(),
        kind: kind(snapshot, queued),
        subject: compose::header_text(&queued.headers, "Subject"),
        message_id: compose::header_text(&queued.headers, "Message-ID"),
        size: queued.size,
        submitted_at: queued.submitted.rfc3339(),
        expires_at: queued.expires.rfc3339(),
        late: queued.delayed,
        recipients: recipients.map(|(contact, recipient)| row(snapshot, queued, *contact, recipient)).collect(),
    })
}

/// Tries waiting messages now: one, or all.
pub(in crate::daemon) async fn retry(account: &LocalAccount, beginning: Option<&str>) -> Result<reply::Done, Failure> {
    let queue = beginning.map(|beginning| find(account, beginning)).transpose()?;
    account.ask(Request::Retry(queue)).await?;
    Ok(reply::Done {})
}

/// Takes a message back from every recipient who does not have it yet.
pub(in crate::daemon) async fn cancel(account: &LocalAccount, beginning: &str) -> Result<reply::QueueId, Failure> {
    let queue = find(account, beginning)?;
    account.ask(Request::Cancel(queue)).await?;
    Ok(reply::QueueId { id: queue.to_string() })
}

/// The waiting message whose id begins like this.
fn find(account: &LocalAccount, beginning: &str) -> Result<QueueId, Failure> {
    let snapshot = account.state();
    only(snapshot.queue.iter().filter(|queued| queued.id.to_string().starts_with(beginning))).map(|queued| queued.id)
}

fn only<'a>(mut found: impl Iterator<Item = &'a Arc<Queued>>) -> Result<&'a Arc<Queued>, Failure> {
    match (found.next(), found.next()) {
        (Some(queued), None) => Ok(queued),
        (None, _) => {
            Err(Failure::new(Code::NotFound, "there is no such message in the queue").hint("see: runepeer queue list"))
        }
        _ => Err(Failure::new(Code::Usage, "several messages begin like that; give more of the id")),
    }
}

fn row(snapshot: &Snapshot, queued: &Queued, contact: ContactId, recipient: &Recipient) -> QueuedRecipient {
    let address = recipient.address.to_string();
    let waits = recipient.progress == Progress::Queued;
    let attempts = snapshot.attempts.get(&contact).filter(|_| waits).copied().unwrap_or_default();
    let copies = snapshot.boxes.copies(queued.id, contact).iter();
    let friend = |copy: &LeftCopy| {
        let handed = snapshot.forwarding.handed(queued.id, contact).find(|handed| handed.receipt == copy.receipt)?;
        Some(snapshot.book.contact(handed.friend)?.petname.clone())
    };
    let custody: Vec<reply::Copy> = copies
        .filter_map(|copy| {
            let since = copy.held?.rfc3339();
            Some(reply::Copy { carrier: copy.onion.to_string(), friend: friend(copy), since })
        })
        .collect();
    let lacks = attempts.last_error.is_some() && custody.is_empty();
    let tokens_from = lacks.then(|| tokens_from(snapshot, queued, contact)).flatten();
    let (state, ended) = match state(recipient.progress) {
        (RecipientState::Queued, ended) if snapshot.forwarding.says_delivered(queued.id, contact) => {
            (RecipientState::HandedOver, ended)
        }
        (RecipientState::Queued, ended) if !custody.is_empty() => (RecipientState::Held, ended),
        other => other,
    };
    let held = snapshot.introductions.parts().held.get(&queued.id).filter(|_| waits);
    let petname = |contact| snapshot.book.contact(contact).map(|contact| contact.petname.clone());
    let mut consent: Vec<String> = held.into_iter().flat_map(|held| held.missing().filter_map(petname)).collect();
    consent.sort();
    QueuedRecipient {
        consent,
        id: queued.id.to_string(),
        to: snapshot.book.contact(contact).map_or_else(|| address.clone(), |contact| contact.petname.clone()),
        address,
        kind: kind(snapshot, queued),
        state,
        custody,
        may_have_arrived: waits && !recipient.sent.is_empty(),
        late: queued.delayed,
        attempts: attempts.failed,
        failing_since: attempts.failing_since.map(Timestamp::rfc3339),
        submitted_at: queued.submitted.rfc3339(),
        next_at: attempts.next.map(Timestamp::rfc3339),
        expires_at: queued.expires.rfc3339(),
        ended_at: ended.map(Timestamp::rfc3339),
        last_error: attempts.last_error.map(|error| error.to_string()),
        tokens_from,
    }
}

/// What an entry is.
fn kind(snapshot: &Snapshot, queued: &Queued) -> QueuedKind {
    match snapshot.introductions.kind(queued.id) {
        ContentKind::IntroductionAsk => QueuedKind::Ask,
        ContentKind::IntroductionGrant => QueuedKind::Grant,
        ContentKind::Introduction => QueuedKind::Introduction,
        ContentKind::Revocation => QueuedKind::Revocation,
        _ => QueuedKind::Mail,
    }
}

/// When new tokens for a contact's boxes count, where none that fits this message is left.
fn tokens_from(snapshot: &Snapshot, queued: &Queued, contact: ContactId) -> Option<String> {
    let again = snapshot.boxes.of(contact)?.tokens_again(queued.size.into(), epoch(now()))?;
    Some(begin_of(again).rfc3339())
}

/// How far a message is with one recipient; with it when that ended, if it has.
const fn state(progress: Progress) -> (RecipientState, Option<Timestamp>) {
    match progress {
        Progress::Queued => (RecipientState::Queued, None),
        Progress::Delivered(at) => (RecipientState::Delivered, Some(at)),
        Progress::Failed(at, FailureReason::Expired | FailureReason::NoConsent) => (RecipientState::Expired, Some(at)),
        Progress::Failed(at, FailureReason::Unconfirmed | FailureReason::Recalled) => {
            (RecipientState::Unconfirmed, Some(at))
        }
        Progress::Failed(at, FailureReason::Refused | FailureReason::TooLarge) => (RecipientState::Refused, Some(at)),
        Progress::Failed(
            at,
            FailureReason::Unsealable | FailureReason::NoContact | FailureReason::Revoked | FailureReason::OwnRevoked,
        ) => (RecipientState::Failed, Some(at)),
        Progress::Cancelled => (RecipientState::Cancelled, None),
        Progress::Read(at) => (RecipientState::Read, Some(at)),
        Progress::HandedOver(at) => (RecipientState::HandedOver, Some(at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::state::AttemptError;

    #[test]
    fn the_words_by_which_the_command_line_knows_a_later_attempt_are_those_of_the_engine() {
        assert_eq!(AttemptError::Later.to_string(), reply::TRY_LATER);
    }
}
