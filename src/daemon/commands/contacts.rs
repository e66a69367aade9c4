//! Contacts, as the control socket shows and changes them.

use std::sync::Arc;

use crate::base::{ContactId, Timestamp};
use crate::control::reply::{self, Meeting, Met, ReceiptsGiven};
use crate::control::{Code, ContactChange, Failure};
use crate::daemon::commands::{requests as waiting, unexpected, unless_taken};
use crate::daemon::hosts::account::LocalAccount;
use crate::engine::state::book::{Contact, ContactStatus, HowMet};
use crate::engine::state::boxes::ReceiptPolicy;
use crate::engine::state::revocations::Revoked;
use crate::engine::{Request, Response, Snapshot};
use crate::mail::address::PETNAME_DOMAIN;
use crate::mail::{Revocation, VerificationNumber};
use crate::pgp;

fn describe(snapshot: &Snapshot, contact: &Contact) -> reply::Contact {
    let status = match contact.status {
        ContactStatus::Greeting => reply::ContactStatus::Greeting,
        ContactStatus::Confirmed => reply::ContactStatus::Confirmed,
        ContactStatus::Request => reply::ContactStatus::Request,
        ContactStatus::Blocked => reply::ContactStatus::Blocked,
        ContactStatus::Revoked => reply::ContactStatus::Revoked,
    };
    let name = |by| snapshot.book.contact(by).map_or("somebody", |contact| contact.petname.as_str());
    let paths = snapshot.introductions.paths(&contact.fingerprint).iter();
    let introduced = paths.map(|path| format!("{}: {} introduced you to each other", path.at.rfc3339(), name(path.by)));
    let provenance = contact
        .provenance
        .iter()
        .map(|step| {
            let how = match step.how {
                HowMet::InvitationUsed => "you used their invitation",
                HowMet::InvitationMade(_) => "they used your invitation",
                HowMet::Unasked => "they wrote without a private invitation",
            };
            format!("{}: {how}", step.at.rfc3339())
        })
        .chain(introduced)
        .collect();
    let boxes = snapshot.boxes.of(contact.id).into_iter().flat_map(|of| of.iter());
    let carriers: Vec<String> = boxes.map(|named| named.onion.to_string()).collect();
    let sighting = snapshot.sightings.get(&contact.id).copied().unwrap_or_default();
    let waiting = snapshot.forwarding.objects().filter(|forwarded| forwarded.contact == contact.id).count();
    let via = snapshot.forwarding.friend_for(contact.id).and_then(|friend| snapshot.book.contact(friend));
    let given = match snapshot.boxes.told(contact.id) {
        ReceiptPolicy::Nothing => ReceiptsGiven::None,
        ReceiptPolicy::Delivered => ReceiptsGiven::Delivered,
        ReceiptPolicy::Read => ReceiptsGiven::Read,
    };
    reply::Contact {
        petname: contact.petname.clone(),
        address: contact.address.to_string(),
        write_to: write_to(contact),
        fingerprint: contact.fingerprint.to_string(),
        status,
        verified_at: snapshot.book.verified(contact.id).map(Timestamp::rfc3339),
        revoked: snapshot.revocations.of(&contact.fingerprint).map(revoked),
        receipts: reply::Receipts { given, expected: snapshot.boxes.expects_receipts(contact.id) },
        carry: reply::Carry { allowed: snapshot.forwarding.allows(contact.id), waiting },
        via: via.map(|friend| friend.petname.clone()),
        knock: snapshot.notes.knocks_at(contact.id),
        introductions: waiting::word(snapshot.introductions.policy(contact.id)).to_owned(),
        boxes: carriers.len(),
        carriers,
        last_seen_at: sighting.last.map(Timestamp::rfc3339),
        duplicates: sighting.duplicates,
        provenance,
        met: meetings(snapshot, contact),
        invitation: invitation_used(snapshot, contact),
    }
}

/// The ways by which a contact came, with those who introduced it.
fn meetings(snapshot: &Snapshot, contact: &Contact) -> Vec<Meeting> {
    let steps = contact.provenance.iter();
    let steps = steps.map(|step| Meeting { at: step.at.rfc3339(), how: met(step.how), by: None });
    let paths = snapshot.introductions.paths(&contact.fingerprint).iter().map(|path| {
        let by = snapshot.book.contact(path.by).map(|introducer| introducer.petname.clone());
        Meeting { at: path.at.rfc3339(), how: Met::Introduced, by }
    });
    steps.chain(paths).collect()
}

pub(super) fn revoked(revoked: &Revoked) -> reply::Revoked {
    reply::Revoked { what: revoked.extent.words().to_owned(), at: revoked.at.rfc3339() }
}

const fn met(how: HowMet) -> Met {
    match how {
        HowMet::InvitationUsed => Met::InvitationUsed,
        HowMet::InvitationMade(_) => Met::InvitationMade,
        HowMet::Unasked => Met::Unasked,
    }
}

/// The invitation of ours that a contact used last, while it is remembered.
fn invitation_used(snapshot: &Snapshot, contact: &Contact) -> Option<reply::UsedInvitation> {
    contact.provenance.iter().rev().find_map(|step| {
        let HowMet::InvitationMade(id) = step.how else { return None };
        let made = snapshot.book.invitation(id)?.made;
        Some(reply::UsedInvitation { made_at: made.rfc3339(), label: snapshot.book.label(id).map(str::to_owned) })
    })
}

/// Some mail programs take no letters but those of ASCII in an address.
fn write_to(contact: &Contact) -> String {
    let Contact { petname, address, .. } = contact;
    if petname.is_ascii() { format!("{petname}@{PETNAME_DOMAIN}") } else { address.to_string() }
}

pub(in crate::daemon) fn show(account: &LocalAccount, who: &str) -> Result<reply::Contact, Failure> {
    let snapshot = account.state();
    Ok(describe(&snapshot, &*find(&snapshot, who)?))
}

/// Adds the contact of an invitation.
pub(in crate::daemon) async fn add(
    account: &LocalAccount,
    invitation: String,
    petname: Option<String>,
) -> Result<reply::Contact, Failure> {
    let taken = format!("{} is your name, or that of a contact", petname.as_deref().unwrap_or_default());
    let asked = account.ask(Request::AddContact { invitation, petname }).await;
    let way = "give this contact another name: --petname NAME";
    match asked.map_err(|error| unless_taken(error, &taken, way))? {
        Response::ContactAdded { petname, .. } => show(account, &petname),
        _ => Err(unexpected()),
    }
}

/// A contact by its petname, as `petname@rune.internal`, or by its address.
pub(in crate::daemon) fn find(snapshot: &Snapshot, who: &str) -> Result<Arc<Contact>, Failure> {
    let book = &snapshot.book;
    let petname = who.rsplit_once('@').filter(|(_, domain)| domain.eq_ignore_ascii_case(PETNAME_DOMAIN));
    let found = book
        .by_petname(petname.map_or(who, |(petname, _)| petname))
        .or_else(|| book.contacts().find(|contact| contact.address.to_string().eq_ignore_ascii_case(who)));
    found.cloned().ok_or_else(|| {
        let hint = match book.closest(who, |_| true) {
            Some(meant) => format!("did you mean {meant}? Everybody: runepeer contact list"),
            None => "see: runepeer contact list".to_owned(),
        };
        Failure::new(Code::NotFound, "there is no such contact").hint(hint)
    })
}

/// All of them, in the order of their names.
pub(in crate::daemon) fn list(account: &LocalAccount) -> reply::Contacts {
    let snapshot = account.state();
    let mut contacts: Vec<&Arc<Contact>> = snapshot.book.contacts().collect();
    contacts.sort_by_key(|contact| contact.petname.to_lowercase());
    reply::Contacts { contacts: contacts.into_iter().map(|contact| describe(&snapshot, contact)).collect() }
}

/// Makes the changes one after the other. With an unknown word or name none of them is made; a change that the engine
/// refuses stops those after it.
pub(in crate::daemon) async fn set(account: &LocalAccount, change: ContactChange) -> Result<reply::Contact, Failure> {
    let ContactChange { who, receipts, carry, via, introductions, knock } = change;
    let snapshot = account.state();
    let contact = find(&snapshot, &who)?.id;
    let mut requests = Vec::new();
    if let Some(word) = receipts {
        let told = match word.as_str() {
            "none" => ReceiptPolicy::Nothing,
            "delivered" => ReceiptPolicy::Delivered,
            "read" => ReceiptPolicy::Read,
            _ => return Err(Failure::new(Code::Usage, "say none, delivered or read")),
        };
        requests.push(Request::Tell { contact, told });
    }
    if let Some(on) = carry {
        requests.push(Request::AllowForwarding { contact, on });
    }
    if let Some(friend) = via {
        let friend = if friend == "none" { None } else { Some(find(&snapshot, &friend)?.id) };
        requests.push(Request::ChooseCarrier { contact, friend });
    }
    if let Some(word) = introductions {
        requests.push(Request::SetIntroductions(contact, waiting::policy(&word)?));
    }
    if let Some(on) = knock {
        requests.push(Request::SetKnocks { contact: Some(contact), on });
    }
    if requests.is_empty() {
        let ways = "say what is to change: --receipts, --carry, --via, --introductions or --knock";
        return Err(Failure::new(Code::Usage, ways));
    }
    for request in requests {
        account.ask(request).await?;
    }
    show(account, &who)
}

/// Gives a contact another petname.
pub(in crate::daemon) async fn rename(
    account: &LocalAccount,
    who: &str,
    petname: String,
) -> Result<reply::Contact, Failure> {
    let contact = find(&account.state(), who)?.id;
    let taken = format!("{petname} is your name, or that of another contact");
    let asked = account.ask(Request::Rename(contact, petname.clone())).await;
    asked.map_err(|error| unless_taken(error, &taken, "choose another name"))?;
    show(account, &petname)
}

/// Puts a contact into the place of another.
pub(in crate::daemon) async fn replace(
    account: &LocalAccount,
    who: &str,
    by: &str,
) -> Result<reply::Replaced, Failure> {
    let snapshot = account.state();
    let (old, new) = (find(&snapshot, who)?, find(&snapshot, by)?);
    let Response::Replaced { moved, ended } = account.ask(Request::ReplaceContact { old: old.id, new: new.id }).await?
    else {
        return Err(unexpected());
    };
    Ok(reply::Replaced { contact: show(account, &new.address.to_string())?, moved, ended })
}

/// Accepts, blocks, unblocks or removes a contact; describes it as it is then, or as it was before it was removed.
pub(in crate::daemon) async fn part(
    account: &LocalAccount,
    who: &str,
    request: fn(ContactId) -> Request,
) -> Result<reply::Contact, Failure> {
    let snapshot = account.state();
    let contact = find(&snapshot, who)?;
    account.ask(request(contact.id)).await?;
    show(account, who).or_else(|_| Ok(describe(&snapshot, &contact)))
}

/// Takes the revocation in a file: what it says is verified, and holds for whoever has that key.
///
/// # Errors
/// [`Code::Usage`] where it is none, or one of its signatures is false.
pub(in crate::daemon) async fn take_revocation(
    account: &LocalAccount,
    statement: &str,
) -> Result<reply::RevocationTaken, Failure> {
    let unfit = || {
        Failure::new(Code::Usage, "this is no revocation, or one of its signatures is false; nothing was changed")
            .hint("a revocation is a file that `runepeer identity revoke` writes")
    };
    let revocation = Revocation::read(statement.trim().as_bytes()).filter(pgp::verify_revocation).ok_or_else(unfit)?;
    let fingerprint = pgp::fingerprint_of(&revocation.certificate).ok_or_else(unfit)?;
    let (onion, extent) = (revocation.onion, revocation.extent());
    account.ask(Request::TakeRevocation(fingerprint, Box::new(revocation))).await?;
    let snapshot = account.state();
    Ok(reply::RevocationTaken {
        fingerprint: fingerprint.to_string(),
        onion: onion.to_string(),
        what: extent.words().to_owned(),
        petname: snapshot.book.by_fingerprint(&fingerprint).map(|contact| contact.petname.clone()),
    })
}

/// The verification number of a contact, after its mark was set or taken away as `same` says.
pub(in crate::daemon) async fn verify(
    account: &LocalAccount,
    who: &str,
    same: Option<bool>,
) -> Result<reply::Verification, Failure> {
    let snapshot = account.state();
    let contact = find(&snapshot, who)?;
    let own = snapshot.profile.clone().ok_or_else(unexpected)?;
    let (ours, theirs) = ((own.onion(), own.fingerprint), (contact.address.onion(), contact.fingerprint));
    // That takes tens of milliseconds, for which no other session should wait.
    let computed =
        tokio::task::spawn_blocking(move || VerificationNumber::of((ours.0, &ours.1), (theirs.0, &theirs.1)));
    let number = computed.await.map_err(|_| unexpected())?;
    if let Some(same) = same {
        account.ask(Request::Verify { contact: contact.id, same }).await?;
    }
    let verified = account.state().book.verified(contact.id);
    Ok(reply::Verification {
        petname: contact.petname.clone(),
        address: contact.address.to_string(),
        number: number.to_string(),
        verified_at: verified.map(Timestamp::rfc3339),
    })
}
