//! Requests about drops of ours: rent one with an invitation of a carrier, give one up.

use crate::base::DropId;
use crate::base::limits;
use crate::engine::api::RequestError;
use crate::engine::change::{Change, Outcome};
use crate::engine::context::Context;
use crate::engine::people::cards::next_card;
use crate::engine::people::contacts::check_petname;
use crate::engine::state::book::{ContactChange, ContactStatus};
use crate::engine::state::boxes::rented::{DropChange, DropKeys, Rented, Stage};
use crate::engine::state::record::Record;
use crate::mail::Invitation;

const UNKNOWN: RequestError = RequestError::NotFound("drop");

/// Rents a drop with the invitation to a box. The carrier hears of it in the next session.
pub(in crate::engine) fn rent_drop(cx: &mut Context<'_>, text: &str, name: String, keys: DropKeys) -> Outcome {
    let invitation = Invitation::parse_box(text)?;
    check_petname(&name)?;
    if invitation.expires.is_some_and(|expires| expires <= cx.now) {
        return Err(RequestError::InvitationRefused("the invitation has expired; ask for a new one"));
    }
    if cx.state.drops().rented().count() >= limits::DROPS {
        return Err(RequestError::Limit("an identity has up to 4 boxes at carriers; give one up first"));
    }
    if cx.state.drops().by_name(&name).is_some() {
        return Err(RequestError::NameTaken);
    }
    let onion = invitation.address.onion();
    if cx.state.drops().rented().any(|rented| rented.onion == onion) {
        return Err(RequestError::InvitationRefused("you have a box at that carrier already"));
    }
    let DropKeys { keys, certificate, fingerprint } = keys;
    let drop = Rented {
        id: DropId::random(cx.rng),
        name,
        onion,
        carrier: invitation.fingerprint,
        invitation: invitation.secret,
        keys,
        certificate,
        fingerprint,
        seats: Rented::seats(cx.rng),
        stage: Stage::Registering,
        uploaded: 0,
        rented: cx.now,
    };
    Ok(Change::done(vec![Record::DropRented { drop: Box::new(drop) }], RequestError::NameTaken))
}

/// Gives a drop up: at once where the carrier never had it, otherwise as soon as our contacts know. What is there until
/// then is collected.
pub(in crate::engine) fn leave_drop(cx: &mut Context<'_>, name: &str) -> Outcome {
    let rented = cx.state.drops().by_name(name).ok_or(UNKNOWN)?;
    if rented.stage == Stage::Registering {
        return Ok(Change::done(vec![Record::DropRemoved { id: rented.id }], UNKNOWN));
    }
    let mut records = vec![Record::DropChanged { id: rented.id, change: DropChange::Leaving }];
    for contact in rented.seats.iter().filter_map(|seat| cx.state.book().contact(seat.contact?)) {
        if contact.status == ContactStatus::Confirmed {
            let change = ContactChange::CardQueued(next_card(contact, cx.now, None, cx.rng));
            records.push(Record::ContactChanged { id: contact.id, change });
        }
    }
    Ok(Change::done(records, RequestError::InvitationRefused("you are giving that box up already")))
}
