//! What is asked of carriage: by the user, by a contact who brings something, and by a friend who reports.

use super::fold::{Fate, Load, ObjectHash};
use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::{BodyId, ContactId, Onion, Timestamp};
use crate::engine::book::ContactStatus;
use crate::engine::delivery::Arrival;
use crate::engine::effect::{CommitError, NewBody};
use crate::engine::identity::{Identity, Then};
use crate::engine::record::Record;
use crate::engine::request::{RequestError, Response};
use crate::engine::requests::{Answer, Change, Outcome};
use crate::engine::session::{SendParams, Sender};
use crate::engine::state::{Applied, State};
use crate::wire::{Importance, Status};

const UNKNOWN: RequestError = RequestError::NotFound("contact");

/// A line that says what became of an object: the hash in hexadecimal, a space, one of these words.
const FATES: [(Fate, &str); 3] =
    [(Fate::Delivered, "delivered"), (Fate::Refused, "refused"), (Fate::Expired, "expired")];

/// The line of a report (docs/protocol.md, "Carriage").
pub(in super::super) fn line(object: &ObjectHash, fate: Fate) -> String {
    let word = FATES.iter().find(|(known, _)| *known == fate).map_or("", |(_, word)| *word);
    format!("{} {word}\n", data_encoding::HEXLOWER.encode(object))
}

/// Reads a line of a report.
pub(in super::super) fn read_line(line: &str) -> Option<(ObjectHash, Fate)> {
    let (object, word) = line.split_once(' ')?;
    let object = data_encoding::HEXLOWER_PERMISSIVE.decode(object.as_bytes()).ok()?.try_into().ok()?;
    FATES.iter().find(|(_, known)| *known == word).map(|(fate, _)| (object, *fate))
}

impl Identity {
    /// From now on we carry for a contact, or no more. What we have of it already is carried on.
    pub(in super::super) fn allow_carriage(&self, contact: ContactId, on: bool) -> Outcome {
        let entry = self.state.book().contact(contact).ok_or(UNKNOWN)?;
        if on && entry.status != ContactStatus::Confirmed {
            return Err(RequestError::NotReady(
                "they are not a confirmed contact yet: wait until both nodes have been online, then see: runepeer contact show NAME",
            ));
        }
        Ok(Change::new(vec![Record::CarriageAllowed { contact, on }], Answer::Always(Response::Done)))
    }

    /// A friend carries what is for a contact that does not answer, or nobody does.
    pub(in super::super) fn choose_carrier(&self, contact: ContactId, friend: Option<ContactId>) -> Outcome {
        self.state.book().contact(contact).ok_or(UNKNOWN)?;
        if let Some(friend) = friend {
            let entry = self.state.book().contact(friend).ok_or(UNKNOWN)?;
            if friend == contact {
                return Err(RequestError::NotReady("nobody carries mail to themselves; name somebody else"));
            }
            if entry.status != ContactStatus::Confirmed {
                return Err(RequestError::NotReady(
                    "whoever is to carry is not a confirmed contact yet: wait until both nodes have been online, then see: runepeer contact show NAME",
                ));
            }
        }
        Ok(Change::new(vec![Record::CarrierChosen { contact, friend }], Answer::Always(Response::Done)))
    }

    /// A contact brought an object for somebody else's node.
    pub(in super::super) fn load_arrived(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        arrival: Arrival,
        send: SendParams,
        object: Vec<u8>,
    ) {
        let (Sender::Contact(contact), Some(claim)) = (arrival.sender, send.claim) else {
            return self.finish(arrival, Status::NotAvailable);
        };
        if self.state.carriage().load(contact, &claim.hash).is_some() {
            return self.finish(arrival, Status::Roger);
        }
        let size = u32::try_from(object.len()).ok();
        let Some(size) = size.filter(|size| self.state.carriage().has_room(contact, (*size).into())) else {
            return self.finish(arrival, Status::TryLater);
        };
        let body = NewBody::new(BodyId::random(rng), object.into());
        let load = Load {
            contact,
            object: claim.hash,
            to: send.to,
            body: body.id,
            size,
            certificate: send.certificate,
            onward: send.onward,
            important: send.importance == Importance::High,
            until: now.plus(limits::CARRIAGE),
        };
        let record = Record::LoadTaken { load: Box::new(load) };
        self.commit(vec![record], vec![body], Then::Loaded(arrival, claim.hash));
    }

    /// It is on the disk, or is not.
    pub(in super::super) fn loaded(
        &mut self,
        now: Timestamp,
        arrival: Arrival,
        object: &ObjectHash,
        applied: Result<Vec<Applied>, CommitError>,
    ) {
        let Sender::Contact(contact) = arrival.sender else { return self.finish(arrival, Status::NotAvailable) };
        match applied {
            Err(error) => self.not_committed(arrival, error),
            Ok(_) => {
                let there = self.state.carriage().load(contact, object).cloned();
                if let Some(load) = &there {
                    self.rooms.forwarding.wants(load.to.onion(), now);
                }
                self.finish(arrival, if there.is_some() { Status::Roger } else { Status::TryLater });
            }
        }
    }
}

/// The onion of the friend who carries what is for a contact.
pub(in super::super) fn friend_onion(state: &State, contact: ContactId) -> Option<Onion> {
    let friend = state.book().contact(state.carriage().friend_for(contact)?)?;
    (friend.status == ContactStatus::Confirmed).then(|| friend.address.onion())
}
