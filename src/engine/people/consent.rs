//! Senders who wrote without an invitation, and what the user decides about them: by a message that goes from Requests
//! to INBOX or to Junk, or by a command.
//!
//! Mail programs that lack MOVE copy the message and remove the first one, so a copy decides as well.

use std::collections::BTreeSet;

use crate::base::{ContactId, limits};

use crate::engine::api::{RequestError, Response};
use crate::engine::change::{Answer, Change, Outcome};
use crate::engine::context::Context;
use crate::engine::people::cards::next_card;
use crate::engine::state::book::{ContactChange, ContactStatus};
use crate::engine::state::mailbox::{FolderRole, Uid};
use crate::engine::state::record::{BookRecord, MailboxRecord, Record};

/// Accepts a sender who waits in Requests.
pub(in crate::engine) fn accept(cx: &mut Context<'_>, contact: ContactId) -> Outcome {
    let unknown = RequestError::NotFound("contact");
    match cx.state.book().contact(contact).ok_or(unknown)?.status {
        ContactStatus::Request => {}
        ContactStatus::Confirmed => return Ok(Change::new(Vec::new(), Answer::Always(Response::Done))),
        ContactStatus::Greeting => {
            return Err(RequestError::NotReady(
                "you asked them, and they have not answered yet: there is nothing to accept here",
            ));
        }
        ContactStatus::Blocked => {
            return Err(RequestError::NotReady("they are blocked; let them back first: runepeer contact unblock NAME"));
        }
    }
    let records = decided(cx, contact, FolderRole::Inbox, &[]);
    Ok(Change::new(records, Answer::First(Response::Done, RequestError::NotFound("contact"))))
}

/// What it means for their senders that these messages go from Requests to another folder: INBOX accepts a sender, Junk
/// blocks it.
pub(in crate::engine) fn decided_by(cx: &mut Context<'_>, moved: &[Uid], to: FolderRole) -> Vec<Record> {
    let Some(requests) = cx.folder_of(FolderRole::Requests) else { return Vec::new() };
    let messages = moved.iter().filter_map(|uid| requests.messages.get(*uid));
    let senders: BTreeSet<_> = messages.filter_map(|message| cx.state.requester(message.body)).collect();
    senders.into_iter().flat_map(|sender| decided(cx, sender, to, moved)).collect()
}

/// The records of a decision. Everything else that waits from this sender goes to the same folder.
fn decided(cx: &mut Context<'_>, contact: ContactId, to: FolderRole, moved: &[Uid]) -> Vec<Record> {
    let Some(entry) = cx.state.book().contact(contact) else { return Vec::new() };
    let change = |change| Record::Book(BookRecord::ContactChanged { id: contact, change });
    let mut records = match to {
        FolderRole::Inbox => vec![
            change(ContactChange::Status(ContactStatus::Confirmed)),
            change(ContactChange::CardQueued(next_card(entry, cx.now, None, cx.rng))),
        ],
        FolderRole::Junk => vec![change(ContactChange::Status(ContactStatus::Blocked))],
        _ => return Vec::new(),
    };
    records.extend(rest_follows(cx, contact, to, moved));
    records
}

/// Moves what else waits from a sender; nothing, where the folder has no room for it.
fn rest_follows(cx: &mut Context<'_>, contact: ContactId, to: FolderRole, moved: &[Uid]) -> Option<Record> {
    let (requests, target) = (cx.folder_of(FolderRole::Requests)?, cx.folder_of(to)?);
    let waits = requests.messages.iter().filter(|message| cx.state.requester(message.body) == Some(contact));
    let rest: Vec<Uid> = waits.map(|message| message.uid).filter(|uid| !moved.contains(uid)).collect();
    let room = limits::FOLDER_MESSAGES.saturating_sub(target.messages.len().saturating_add(moved.len()));
    if rest.is_empty() || rest.len() > room {
        return None;
    }
    let (from, to) = (requests.id, target.id);
    let new = cx.reserve_uids(to, rest.len())?;
    let pairs = rest.into_iter().zip(new).collect();
    Some(Record::Mailbox(MailboxRecord::Transferred { from, to, pairs, keep: false }))
}
