//! Requests about boxes of ours: rent one with an invitation of a carrier, give one up.

use crate::base::BoxId;
use crate::base::limits;
use crate::engine::api::RequestError;
use crate::engine::change::{Change, Outcome};
use crate::engine::context::Context;
use crate::engine::people::cards::next_card;
use crate::engine::people::contacts::check_petname;
use crate::engine::state::book::{ContactChange, ContactStatus};
use crate::engine::state::boxes::own::{BoxChange, BoxKeys, OwnBox, Stage};
use crate::engine::state::record::{BookRecord, BoxRecord, Record};
use crate::mail::Invitation;

const UNKNOWN: RequestError = RequestError::NotFound("box");

/// Rents a box with an invitation of its carrier, which hears of it in the next session.
pub(in crate::engine) fn rent_box(cx: &mut Context<'_>, text: &str, name: String, keys: BoxKeys) -> Outcome {
    let invitation = Invitation::parse_box(text)?;
    check_petname(&name)?;
    if invitation.expires.is_some_and(|expires| expires <= cx.now) {
        return Err(RequestError::InvitationRefused("the invitation has expired; ask for a new one"));
    }
    if cx.state.boxes().own().count() >= limits::BOXES {
        return Err(RequestError::Limit("an identity has up to 4 boxes at carriers; give one up first"));
    }
    if cx.state.boxes().by_name(&name).is_some() {
        return Err(RequestError::NameTaken);
    }
    let onion = invitation.address.onion();
    if cx.state.boxes().own().any(|own_box| own_box.onion == onion) {
        return Err(RequestError::InvitationRefused("you have a box at that carrier already"));
    }
    let BoxKeys { keys, certificate, fingerprint } = keys;
    let own_box = OwnBox {
        id: BoxId::random(cx.rng),
        name,
        onion,
        carrier: invitation.fingerprint,
        invitation: invitation.secret,
        keys,
        certificate,
        fingerprint,
        seats: OwnBox::seats(cx.rng),
        stage: Stage::Registering,
        uploaded: 0,
        since: cx.now,
    };
    Ok(Change::done(vec![Record::Boxes(BoxRecord::BoxRented { own_box: Box::new(own_box) })], RequestError::NameTaken))
}

/// Gives a box up: at once where the carrier never had it, otherwise as soon as our contacts know. Until then its mail
/// is still collected.
pub(in crate::engine) fn leave_box(cx: &mut Context<'_>, name: &str) -> Outcome {
    let own_box = cx.state.boxes().by_name(name).ok_or(UNKNOWN)?;
    if own_box.stage == Stage::Registering {
        return Ok(Change::done(vec![Record::Boxes(BoxRecord::BoxRemoved { id: own_box.id })], UNKNOWN));
    }
    let mut records = vec![Record::Boxes(BoxRecord::BoxChanged { id: own_box.id, change: BoxChange::Leaving })];
    for contact in own_box.seats.iter().filter_map(|seat| cx.state.book().contact(seat.contact?)) {
        if contact.status == ContactStatus::Confirmed {
            let change = ContactChange::CardQueued(next_card(contact, cx.now, None, cx.rng));
            records.push(Record::Book(BookRecord::ContactChanged { id: contact.id, change }));
        }
    }
    Ok(Change::done(records, RequestError::InvitationRefused("you are giving that box up already")))
}
