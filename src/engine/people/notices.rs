//! What the user is told in INBOX about people: that the first request waits, and that a contact's changed key or address was
//! refused. Nobody can fill INBOX with either: the first is told once until nothing waits any more, the second once a day for each
//! contact.

use crate::base::ids::Fingerprint;
use crate::base::{BodyId, ContentId};
use crate::mail::Address;
use crate::mail::notice::{self, Changed, Waiting};

use crate::engine::context::Context;
use crate::engine::io::Draft;
use crate::engine::state::book::ContactStatus;
use crate::engine::state::mailbox::FolderRole;
use crate::engine::state::record::PeopleRecord;

/// Adds to the records by which something begins to wait for the user that they are told in INBOX, if nothing waited before.
/// `by` is the message in Requests by which the user decides. If INBOX takes no more, nothing is added.
pub(in crate::engine) fn tell_waiting(cx: &mut Context<'_>, by: BodyId, waiting: Waiting<'_>, draft: &mut Draft) {
    if cx.state.waiting(cx.now) > 0 {
        return;
    }
    let id = ContentId::random(cx.rng);
    let text = notice::first_request(cx.address(), waiting, id, cx.now);
    let Some((folder, message, body)) = cx.own_message(FolderRole::Inbox, text) else { return };
    draft.records.push(PeopleRecord::WaitingTold { at: cx.now, notice: by, folder, message }.into());
    draft.bodies.push(body);
}

/// Tells the user that somebody, who has proved to have both, showed this key with this address, and that it is another key for
/// the address of a contact, or another address for its key. `None` where it is neither, or was told lately.
pub(in crate::engine) fn change_refused(cx: &mut Context<'_>, address: &Address, key: &Fingerprint) -> Option<Draft> {
    let book = cx.state.book();
    let (contact, changed) = match (book.by_fingerprint(key), book.by_onion(address.onion())) {
        (Some(contact), _) if contact.address.onion() != address.onion() => {
            (contact, Changed::Address { shown: address })
        }
        (None, Some(contact)) => (contact, Changed::Key { known: &contact.fingerprint, shown: key }),
        _ => return None,
    };
    // Nobody is told of people who are no contacts; a stranger could have any number of keys.
    let is_contact = matches!(contact.status, ContactStatus::Confirmed | ContactStatus::Greeting);
    if !is_contact || cx.disk_low || !cx.state.notes().may_tell(contact.id, cx.now) {
        return None;
    }
    let id = ContentId::random(cx.rng);
    let text = notice::change_refused(cx.address(), (&contact.petname, &contact.address), changed, id, cx.now);
    let (folder, message, body) = cx.own_message(FolderRole::Inbox, text)?;
    let told = PeopleRecord::ChangeTold { contact: contact.id, at: cx.now, folder, message };
    Some(Draft { records: vec![told.into()], bodies: vec![body] })
}
