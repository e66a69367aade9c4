//! Contacts, as the control socket shows and changes them.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::base::ContactId;
use crate::control::{Code, ContactChange, Failure};
use crate::daemon::hosts::account::LocalAccount;
use crate::engine::book::{Contact, ContactStatus, Introduction};
use crate::engine::drops::Told;
use crate::engine::{Request, Snapshot};

/// What a contact may hear of its mail, and what that is called.
const TOLD: [(Told, &str); 3] = [(Told::Nothing, "none"), (Told::Delivered, "delivered"), (Told::Read, "read")];

fn describe(snapshot: &Snapshot, contact: &Contact) -> Value {
    let status = match contact.status {
        ContactStatus::Greeting => "greeting",
        ContactStatus::Confirmed => "confirmed",
        ContactStatus::Request => "request",
        ContactStatus::Blocked => "blocked",
    };
    let provenance: Vec<String> = contact
        .provenance
        .iter()
        .map(|step| {
            let how = match step.how {
                Introduction::InvitationUsed => "you used their invitation",
                Introduction::InvitationMade(_) => "they used your invitation",
                Introduction::Unasked => "they wrote without a private invitation",
            };
            format!("{}: {how}", step.at.rfc3339())
        })
        .collect();
    let waiting = snapshot.carriage.loads().filter(|load| load.contact == contact.id).count();
    let via = snapshot.carriage.friend_for(contact.id).and_then(|friend| snapshot.book.contact(friend));
    let told = snapshot.drops.told(contact.id);
    let told = TOLD.iter().find(|(known, _)| *known == told).map(|(_, word)| *word);
    json!({
        "petname": contact.petname,
        "address": contact.address.to_string(),
        "fingerprint": contact.fingerprint.to_string(),
        "status": status,
        "receipts": { "given": told, "expected": snapshot.drops.expects_receipts(contact.id) },
        "carry": { "allowed": snapshot.carriage.allows(contact.id), "waiting": waiting },
        "via": via.map(|friend| friend.petname.clone()),
        "drops": snapshot.drops.of(contact.id).map_or(0, |of| of.iter().count()),
        "provenance": provenance,
    })
}

pub(in crate::daemon) fn show(account: &LocalAccount, who: &str) -> Result<Value, Failure> {
    let snapshot = account.snapshot.borrow().clone();
    Ok(describe(&snapshot, &*find(&snapshot, who)?))
}

pub(in crate::daemon) fn find(snapshot: &Snapshot, who: &str) -> Result<Arc<Contact>, Failure> {
    let book = &snapshot.book;
    let found = book
        .by_petname(who)
        .or_else(|| book.contacts().find(|contact| contact.address.to_string().eq_ignore_ascii_case(who)));
    found
        .cloned()
        .ok_or_else(|| Failure::new(Code::NotFound, "there is no such contact").hint("see: runepeer contact list"))
}

/// All of them, in the order of their names.
pub(in crate::daemon) fn list(account: &LocalAccount) -> Value {
    let snapshot = account.snapshot.borrow().clone();
    let mut contacts: Vec<&Arc<Contact>> = snapshot.book.contacts().collect();
    contacts.sort_by_key(|contact| contact.petname.to_lowercase());
    let contacts: Vec<Value> = contacts.into_iter().map(|contact| describe(&snapshot, contact)).collect();
    json!({ "contacts": contacts })
}

/// Makes the changes one after the other. A word or a name that is not known stops all of them; what the engine refuses stops
/// those after it.
pub(in crate::daemon) async fn set(account: &LocalAccount, change: ContactChange) -> Result<Value, Failure> {
    let ContactChange { who, receipts, carry, via } = change;
    let snapshot = account.snapshot.borrow().clone();
    let contact = find(&snapshot, &who)?.id;
    let mut requests = Vec::new();
    if let Some(word) = receipts {
        let known = TOLD.iter().find(|(_, known)| *known == word).map(|(told, _)| *told);
        let told = known.ok_or_else(|| Failure::new(Code::Usage, "say none, delivered or read"))?;
        requests.push(Request::Tell { contact, told });
    }
    if let Some(on) = carry {
        requests.push(Request::AllowCarriage { contact, on });
    }
    if let Some(friend) = via {
        let friend = if friend == "none" { None } else { Some(find(&snapshot, &friend)?.id) };
        requests.push(Request::ChooseCarrier { contact, friend });
    }
    if requests.is_empty() {
        return Err(Failure::new(Code::Usage, "say what is to change: --receipts, --carry or --via"));
    }
    for request in requests {
        account.ask(request).await?;
    }
    show(account, &who)
}

/// Blocks, lets back or removes a contact; describes it as it is then, or as it was before it was removed.
pub(in crate::daemon) async fn part(
    account: &LocalAccount,
    who: &str,
    request: fn(ContactId) -> Request,
) -> Result<Value, Failure> {
    let snapshot = account.snapshot.borrow().clone();
    let contact = find(&snapshot, who)?;
    account.ask(request(contact.id)).await?;
    show(account, who).or_else(|_| Ok(describe(&snapshot, &contact)))
}
