//! Requests about people: invitations, contacts, and application passwords.

use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::{ContactId, InvitationId, MacKey, Timestamp};
use crate::mail::Invitation;
use crate::mail::invitation::SECRET_BYTES;

use crate::engine::api::{RequestError, Response};
use crate::engine::change::{Answer, Change, Outcome};
use crate::engine::context::Context;
use crate::engine::people::cards::next_card;
use crate::engine::state::book::{
    Cards, Contact, ContactChange, ContactStatus, HowMet, InvitationEntry, Provenance, same_name,
};
use crate::engine::state::boxes::{ReceiptPolicy, page_carriers, seats_for};
use crate::engine::state::record::{BookRecord, BoxRecord, IdentityRecord, PeopleRecord, Record};

const MS_PER_HOUR: i64 = 3_600_000;

/// Makes an invitation. Its text names whole hours, so its end is rounded down to one, but never to now. The label says for
/// whom it is, and does not leave the node.
pub(in crate::engine) fn invite(
    cx: &mut Context<'_>,
    public: bool,
    expires: Timestamp,
    label: Option<String>,
) -> Outcome {
    if let Some(label) = &label {
        check_petname(label)?;
        if public {
            return Err(RequestError::InvitationRefused(
                "a public invitation is for many, and cannot be for one person",
            ));
        }
    }
    let hour = expires.millis().div_euclid(MS_PER_HOUR) * MS_PER_HOUR;
    let rounded = Timestamp::from_millis(hour);
    let expires = if rounded > cx.now { rounded } else { Timestamp::from_millis(hour.saturating_add(MS_PER_HOUR)) };
    if expires <= cx.now {
        return Err(RequestError::InvitationRefused("an invitation must end in the future"));
    }
    if cx.state.book().invitations().filter(|invitation| invitation.is_open(cx.now)).count() >= limits::INVITATIONS {
        return Err(RequestError::Limit("an identity has up to 1000 open invitations; revoke some"));
    }
    let id = InvitationId::random(cx.rng);
    let secret = (!public).then(|| cx.rng.array::<SECRET_BYTES>());
    let own = cx.public();
    let text = Invitation {
        address: own.address.without_folder(),
        fingerprint: own.fingerprint,
        secret,
        expires: Some(expires),
        carriers: secret.iter().flat_map(|_| page_carriers(cx.state)).collect(),
    }
    .encode();
    let invitation = InvitationEntry { id, secret, made: cx.now, expires, used: None };
    let answer = Answer::Always(Response::Invited { id, text });
    let made = Record::Book(BookRecord::InvitationMade { invitation });
    let label = label.map(|label| Record::Book(BookRecord::InvitationLabelled { id, label }));
    Ok(Change::new(std::iter::once(made).chain(label).collect(), answer))
}

pub(in crate::engine) fn revoke_invitation(cx: &Context<'_>, id: InvitationId) -> Outcome {
    match cx.state.book().invitation(id) {
        Some(invitation) if invitation.used.is_some() => Err(RequestError::InvitationRefused(USED)),
        Some(_) => Ok(Change::done(
            vec![Record::Book(BookRecord::InvitationRevoked { id })],
            RequestError::InvitationRefused(USED),
        )),
        None => Err(RequestError::NotFound("invitation")),
    }
}

/// Adds the contact of an invitation, or greets a known one again with a new invitation.
pub(in crate::engine) fn add_contact(cx: &mut Context<'_>, text: &str, petname: Option<String>) -> Outcome {
    let invitation = Invitation::parse(text)?;
    let refused = |why| Err(RequestError::InvitationRefused(why));
    let (own, book) = (cx.public(), cx.state.book());
    let onion = invitation.address.onion();
    if onion == own.onion() || invitation.fingerprint == own.fingerprint {
        return refused("that is your own invitation; give it to somebody else");
    }
    if invitation.expires.is_some_and(|expires| expires <= cx.now) {
        return refused("the invitation has expired; ask for a new one");
    }
    if cx.state.revocations().concern(&invitation.fingerprint, onion) {
        return refused(
            "that identity was revoked: its address or its key must not be used any more. Ask its owner, in person or by telephone, for an invitation to a new one",
        );
    }
    match (book.by_onion(onion), book.by_fingerprint(&invitation.fingerprint)) {
        (None, None) => new_contact(cx, &invitation, petname),
        (Some(known), Some(same)) if known.id == same.id => greet_again(cx.now, cx.rng, known, &invitation),
        (Some(_), _) => refused(
            "that address is in your address book with another key; do not use this invitation unless they tell you in person that their key changed",
        ),
        (None, Some(_)) => refused("that key is in your address book with another address"),
    }
}

fn new_contact(cx: &mut Context<'_>, invitation: &Invitation, petname: Option<String>) -> Outcome {
    let book = cx.state.book();
    if book.contacts().count() >= limits::CONTACTS {
        return Err(RequestError::Limit("an address book has up to 5000 contacts"));
    }
    let own = cx.address().local();
    let petname = match petname {
        Some(petname) => {
            check_petname(&petname)?;
            if book.by_petname(&petname).is_some() || same_name(&petname, own.as_str()) {
                return Err(RequestError::NameTaken);
            }
            petname
        }
        None => book.free_petname(invitation.address.local().as_str(), own),
    };
    let mut contact = Contact {
        id: ContactId::random(cx.rng),
        petname: petname.clone(),
        address: invitation.address.without_folder(),
        fingerprint: invitation.fingerprint,
        certificate: None,
        binding_epoch: 0,
        status: ContactStatus::Greeting,
        provenance: vec![Provenance { how: HowMet::InvitationUsed, at: cx.now }],
        inbound: vec![MacKey::random(cx.rng)],
        outbound: invitation.auth_key(),
        cards: Cards::default(),
    };
    let card = next_card(&contact, cx.now, invitation.secret, cx.rng);
    contact.cards.sent = card.counter;
    contact.cards.pending = Some(card);
    let response = Response::ContactAdded { id: contact.id, petname };
    let id = contact.id;
    let mut records = vec![Record::Book(BookRecord::ContactAdded { contact: Box::new(contact) })];
    if let Some(pages) = pages_of(invitation, id) {
        records.push(pages);
        // The contact's answer may not find us online either, so its card names our boxes.
        records.extend(seats_for(cx.state, id));
    }
    Ok(Change::new(records, Answer::First(response, RequestError::NameTaken)))
}

/// Changes what a contact is told of its mail; it gets a card that says whether it can expect receipts.
pub(in crate::engine) fn tell(cx: &mut Context<'_>, contact: ContactId, told: ReceiptPolicy) -> Outcome {
    const UNKNOWN: RequestError = RequestError::NotFound("contact");
    let entry = cx.state.book().contact(contact).ok_or(UNKNOWN)?;
    let before = cx.state.boxes().told(contact);
    if before == told {
        return Ok(Change::new(Vec::new(), Answer::Always(Response::Done)));
    }
    let mut records = vec![Record::Boxes(BoxRecord::ReceiptsSwitched { contact, told })];
    let news = (before == ReceiptPolicy::Nothing) != (told == ReceiptPolicy::Nothing);
    if news && entry.status == ContactStatus::Confirmed {
        let change = ContactChange::CardQueued(next_card(entry, cx.now, None, cx.rng));
        records.push(Record::Book(BookRecord::ContactChanged { id: contact, change }));
    }
    Ok(Change::done(records, UNKNOWN))
}

pub(in crate::engine) fn add_password(cx: &mut Context<'_>, name: String, hash: String) -> Outcome {
    if name.is_empty() || name.len() > limits::PASSWORD_NAME_BYTES || name.chars().any(char::is_control) {
        return Err(RequestError::NameRefused("a password's name has 1 to 100 bytes and no control characters"));
    }
    if cx.state.passwords().len() >= limits::PASSWORDS {
        return Err(RequestError::Limit("an identity has up to 100 passwords; revoke some"));
    }
    if cx.state.passwords().iter().any(|password| password.name == name) {
        return Err(RequestError::NameTaken);
    }
    Ok(Change::done(
        vec![Record::Identity(IdentityRecord::PasswordAdded { name, hash, created: cx.now })],
        RequestError::NameTaken,
    ))
}

pub(in crate::engine) fn renew_password(cx: &Context<'_>, hash: &str, renewed: String) -> Outcome {
    const UNKNOWN: RequestError = RequestError::NotFound("password");
    let known = cx.state.passwords().iter().find(|password| password.hash == hash).ok_or(UNKNOWN)?;
    let (name, created) = (known.name.clone(), known.created);
    let removed = Record::Identity(IdentityRecord::PasswordRevoked { name: name.clone() });
    Ok(Change::done(
        vec![removed, Record::Identity(IdentityRecord::PasswordAdded { name, hash: renewed, created })],
        UNKNOWN,
    ))
}

pub(in crate::engine) fn revoke_password(cx: &Context<'_>, name: String) -> Outcome {
    const UNKNOWN: RequestError = RequestError::NotFound("password");
    if !cx.state.passwords().iter().any(|password| password.name == name) {
        return Err(UNKNOWN);
    }
    Ok(Change::done(vec![Record::Identity(IdentityRecord::PasswordRevoked { name })], UNKNOWN))
}

const USED: &str = "that invitation was used; block or remove the contact instead: runepeer contact block NAME, runepeer contact rm NAME";

fn greet_again(now: Timestamp, rng: &mut dyn Rng, known: &Contact, invitation: &Invitation) -> Outcome {
    if known.status == ContactStatus::Confirmed && invitation.secret.is_none() {
        return Err(RequestError::InvitationRefused("they are in your address book already"));
    }
    let card = next_card(known, now, invitation.secret, rng);
    let provenance = Provenance { how: HowMet::InvitationUsed, at: now };
    let change = ContactChange::Greeted(card, invitation.auth_key(), provenance);
    let response = Response::ContactAdded { id: known.id, petname: known.petname.clone() };
    let record = Record::Book(BookRecord::ContactChanged { id: known.id, change });
    let records = std::iter::once(record).chain(pages_of(invitation, known.id)).collect();
    Ok(Change::new(records, Answer::First(response, RequestError::NotFound("contact"))))
}

/// The carriers at which the maker of an invitation has a page for the node that uses it.
fn pages_of(invitation: &Invitation, contact: ContactId) -> Option<Record> {
    let carriers = invitation.carriers.clone();
    let private = invitation.secret.is_some() && !carriers.is_empty();
    private.then_some(Record::Boxes(BoxRecord::PagesNamed { contact, carriers }))
}

/// The user calls a contact otherwise.
pub(in crate::engine) fn rename(cx: &Context<'_>, contact: ContactId, petname: String) -> Outcome {
    let (book, own) = (cx.state.book(), cx.address().local());
    book.contact(contact).ok_or(RequestError::NotFound("contact"))?;
    check_petname(&petname)?;
    let is_others = book.by_petname(&petname).is_some_and(|other| other.id != contact);
    if is_others || same_name(&petname, own.as_str()) {
        return Err(RequestError::NameTaken);
    }
    let change = ContactChange::Petname(petname);
    let record = Record::Book(BookRecord::ContactChanged { id: contact, change });
    Ok(Change::done(vec![record], RequestError::NameTaken))
}

/// The user compared the verification number of a contact. Where it is the same at both sides, the contact is marked as
/// verified at this moment; where not, a mark from before goes.
pub(in crate::engine) fn verify(cx: &Context<'_>, contact: ContactId, same: bool) -> Outcome {
    const UNKNOWN: RequestError = RequestError::NotFound("contact");
    cx.state.book().contact(contact).ok_or(UNKNOWN)?;
    let at = same.then_some(cx.now);
    Ok(Change::done(vec![Record::People(PeopleRecord::VerificationMarked { contact, at })], UNKNOWN))
}

/// Whether a contact is knocked at, or anybody.
pub(in crate::engine) fn set_knocks(cx: &Context<'_>, contact: Option<ContactId>, on: bool) -> Outcome {
    const UNKNOWN: RequestError = RequestError::NotFound("contact");
    if let Some(contact) = contact {
        cx.state.book().contact(contact).ok_or(UNKNOWN)?;
    }
    let notes = cx.state.notes();
    if contact.map_or_else(|| notes.knocks(), |contact| notes.knocks_at(contact)) == on {
        return Ok(Change::new(Vec::new(), Answer::Always(Response::Done)));
    }
    Ok(Change::done(vec![PeopleRecord::KnocksSwitched { contact, on }.into()], UNKNOWN))
}

/// A petname must be writable before `@rune.internal`.
pub(in crate::engine) fn check_petname(petname: &str) -> Result<(), RequestError> {
    let fits = (1..=limits::PETNAME_CHARACTERS).contains(&petname.chars().count())
        && petname.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_'))
        && !petname.starts_with('.')
        && !petname.ends_with('.')
        && !petname.contains("..");
    if fits {
        Ok(())
    } else {
        Err(RequestError::NameRefused("a contact's name has 1 to 50 letters, digits, dots, hyphens or underscores"))
    }
}
