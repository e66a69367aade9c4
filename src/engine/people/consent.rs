//! Senders who wrote without an invitation, and what the user decides about them: by a message that goes from Requests
//! to INBOX or to Junk, or by a command.
//!
//! Mail programs that lack MOVE copy the message and remove the first one, so a copy decides as well.

use std::collections::BTreeSet;

use crate::base::{BodyId, ContactId, limits};

use crate::engine::api::{RequestError, Response};
use crate::engine::change::{Answer, Change, Outcome};
use crate::engine::context::Context;
use crate::engine::people::cards::next_card;
use crate::engine::state::book::{ContactChange, ContactStatus};
use crate::engine::state::mailbox::{FolderRole, Uid};
use crate::engine::state::record::{BookRecord, MailboxRecord, Record};

/// Accepts a sender who waits in Requests.
pub(in crate::engine) fn accept(cx: &mut Context<'_>, contact: ContactId) -> Outcome {
    let entry = cx.state.book().contact(contact).ok_or(RequestError::NotFound("contact"))?;
    if cx.state.revocations().concern(&entry.fingerprint, entry.address.onion()) {
        return Err(RequestError::NotReady(
            "they revoked their address or key; ask them in person or by telephone for a new invitation",
        ));
    }
    match entry.status {
        ContactStatus::Request => {}
        ContactStatus::Confirmed => return Ok(Change::new(Vec::new(), Answer::Always(Response::Done))),
        ContactStatus::Greeting => {
            return Err(RequestError::NotReady(
                "you asked them, and they have not answered yet: there is nothing to accept here",
            ));
        }
        // Not without a revocation.
        ContactStatus::Revoked => return Err(RequestError::NotFound("request")),
        ContactStatus::Blocked => {
            return Err(RequestError::NotReady("they are blocked; let them back first: runepeer contact unblock NAME"));
        }
    }
    let (senders, nothing) = (BTreeSet::from([contact]), BTreeSet::new());
    let mut records = decisions(cx, &senders, FolderRole::Inbox);
    records.extend(rest_follows(cx, &senders, FolderRole::Inbox, &nothing)?);
    Ok(Change::new(records, Answer::First(Response::Done, RequestError::NotFound("contact"))))
}

/// What it means for their senders that these messages go from Requests to another folder: INBOX accepts a sender, Junk
/// blocks it. Everything else that waits from these senders goes to the same folder, if it has room for all.
pub(in crate::engine) fn decided_by(cx: &mut Context<'_>, moved: &[Uid], to: FolderRole) -> Vec<Record> {
    let Some(requests) = cx.folder_of(FolderRole::Requests) else { return Vec::new() };
    // An identity that was revoked accepts nobody.
    if cx.state.revoked().is_some() && to == FolderRole::Inbox {
        return Vec::new();
    }
    let messages = moved.iter().filter_map(|uid| requests.messages.get(*uid));
    let senders: BTreeSet<_> = messages.filter_map(|message| cx.state.requester(message.body)).collect();
    let mut records = decisions(cx, &senders, to);
    if !records.is_empty() {
        let moved = moved.iter().copied().collect();
        records.extend(rest_follows(cx, &senders, to, &moved).ok().flatten());
    }
    records
}

/// The user decided about a sender while this message of it was on its way into Requests: the record that lets it follow
/// the others. `None` where nothing is decided, or the message is not there.
pub(in crate::engine) fn overtaken(cx: &mut Context<'_>, message: BodyId, author: ContactId) -> Option<Record> {
    let to = match cx.state.book().contact(author)?.status {
        ContactStatus::Confirmed | ContactStatus::Greeting | ContactStatus::Revoked => FolderRole::Inbox,
        ContactStatus::Blocked => FolderRole::Junk,
        ContactStatus::Request => return None,
    };
    let (requests, target) = (cx.folder_of(FolderRole::Requests)?, cx.folder_of(to)?);
    let uid = requests.messages.iter().find(|it| it.body == message)?.uid;
    let (from, to) = (requests.id, target.id);
    let new = cx.reserve_uid(to)?;
    Some(Record::Mailbox(MailboxRecord::Transferred { from, to, pairs: vec![(uid, new)], keep: false }))
}

/// The records of what is decided about these senders.
fn decisions(cx: &mut Context<'_>, senders: &BTreeSet<ContactId>, to: FolderRole) -> Vec<Record> {
    let mut records = Vec::new();
    for entry in senders.iter().filter_map(|sender| cx.state.book().contact(*sender)) {
        let change = |change| Record::Book(BookRecord::ContactChanged { id: entry.id, change });
        match to {
            FolderRole::Inbox => {
                records.push(change(ContactChange::Status(ContactStatus::Confirmed)));
                records.push(change(ContactChange::CardQueued(next_card(entry, cx.now, None, cx.rng))));
            }
            FolderRole::Junk => records.push(change(ContactChange::Status(ContactStatus::Blocked))),
            _ => {}
        }
    }
    records
}

/// Moves what else waits from these senders, beside the messages that are moved already.
///
/// # Errors
/// Where the folder has no room for all of it.
fn rest_follows(
    cx: &mut Context<'_>,
    senders: &BTreeSet<ContactId>,
    to: FolderRole,
    moved: &BTreeSet<Uid>,
) -> Result<Option<Record>, RequestError> {
    let (Some(requests), Some(target)) = (cx.folder_of(FolderRole::Requests), cx.folder_of(to)) else {
        return Ok(None);
    };
    let is_theirs = |body| cx.state.requester(body).is_some_and(|sender| senders.contains(&sender));
    let waits = requests.messages.iter().filter(|message| !moved.contains(&message.uid) && is_theirs(message.body));
    let rest: Vec<Uid> = waits.map(|message| message.uid).collect();
    let full = RequestError::Limit("the folder is full");
    if target.messages.len().saturating_add(moved.len()).saturating_add(rest.len()) > limits::FOLDER_MESSAGES {
        return Err(full);
    }
    if rest.is_empty() {
        return Ok(None);
    }
    let (from, to) = (requests.id, target.id);
    let new = cx.reserve_uids(to, rest.len()).ok_or(full)?;
    let pairs = rest.into_iter().zip(new).collect();
    Ok(Some(Record::Mailbox(MailboxRecord::Transferred { from, to, pairs, keep: false })))
}
