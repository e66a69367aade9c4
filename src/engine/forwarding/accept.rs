//! What others ask of forwarding: requests of the user, objects that a contact brings, and reports of a friend who
//! forwards for us.

use crate::base::limits;
use crate::base::{BodyId, ContactId};
use crate::engine::api::{RequestError, Response};
use crate::engine::change::{Answer, Change, Outcome};
use crate::engine::context::Context;
use crate::engine::io::{Draft, NewBody};
use crate::engine::session::SendParams;
use crate::engine::state::book::ContactStatus;
use crate::engine::state::forwarding::Forwarded;
use crate::engine::state::record::{ForwardingRecord, Record};
use crate::wire::{Claim, Importance};

const UNKNOWN: RequestError = RequestError::NotFound("contact");

/// Begins or ends forwarding for a contact. Objects that the contact gave us before are still forwarded.
pub(in crate::engine) fn allow_forwarding(cx: &Context<'_>, contact: ContactId, on: bool) -> Outcome {
    let entry = cx.state.book().contact(contact).ok_or(UNKNOWN)?;
    if on && entry.status != ContactStatus::Confirmed {
        return Err(RequestError::NotReady(
            "they are not a confirmed contact yet: wait until both nodes have been online, then see: runepeer contact show NAME",
        ));
    }
    Ok(Change::new(
        vec![Record::Forwarding(ForwardingRecord::ForwardingAllowed { contact, on })],
        Answer::Always(Response::Done),
    ))
}

/// Chooses the friend who forwards to a contact that does not answer; `None` for none.
pub(in crate::engine) fn choose_carrier(cx: &Context<'_>, contact: ContactId, friend: Option<ContactId>) -> Outcome {
    cx.state.book().contact(contact).ok_or(UNKNOWN)?;
    if let Some(friend) = friend {
        let entry = cx.state.book().contact(friend).ok_or(UNKNOWN)?;
        if friend == contact {
            return Err(RequestError::NotReady("nobody carries mail to themselves; name somebody else"));
        }
        if entry.status != ContactStatus::Confirmed {
            return Err(RequestError::NotReady(
                "whoever is to carry is not a confirmed contact yet: wait until both nodes have been online, then see: runepeer contact show NAME",
            ));
        }
    }
    Ok(Change::new(
        vec![Record::Forwarding(ForwardingRecord::ForwarderChosen { contact, friend })],
        Answer::Always(Response::Done),
    ))
}

/// A contact brought an object for somebody else's node: the change that keeps it; `None` if there is no room.
pub(in crate::engine) fn take(
    cx: &mut Context<'_>,
    contact: ContactId,
    claim: Claim,
    send: SendParams,
    object: Vec<u8>,
) -> Option<Draft> {
    let size = u32::try_from(object.len()).ok();
    let size = size.filter(|size| cx.state.forwarding().has_room(contact, (*size).into()))?;
    let body = NewBody::new(BodyId::random(cx.rng), object.into());
    let forwarded = Forwarded {
        contact,
        object: claim.hash,
        to: send.to,
        body: body.id,
        size,
        certificate: send.certificate,
        onward: send.onward,
        important: send.importance == Importance::High,
        until: cx.now.plus(limits::CARRIAGE),
    };
    Some(Draft {
        records: vec![Record::Forwarding(ForwardingRecord::ForwardedTaken { forwarded: Box::new(forwarded) })],
        bodies: vec![body],
    })
}
