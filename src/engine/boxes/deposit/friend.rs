//! The half of a deposit that deals with a friend who forwards, instead of with a carrier.

use std::sync::Arc;

use crate::base::limits;
use crate::base::{ContactId, Onion, QueueId};
use crate::engine::boxes::Boxes;
use crate::engine::boxes::deposit::{Deposit, DepositRooms, DepositTask, InFlight, Stage, may_copy};
use crate::engine::context::Context;
use crate::engine::deliver::Deliver;
use crate::engine::dialled::Dialled;
use crate::engine::session::{Event, Job, Outcome, Way};
use crate::engine::state::book::{Contact, ContactStatus};
use crate::engine::state::forwarding::{Handed, friend_onion};
use crate::engine::state::record::{ForwardingRecord, Record};
use crate::engine::state::{AttemptError, State};
use crate::wire::digest;

/// The friend who forwards to a contact, if this onion is the friend's.
pub(in crate::engine) fn friend_at(state: &State, contact: ContactId, onion: Onion) -> Option<ContactId> {
    state.forwarding().friend_for(contact).filter(|_| friend_onion(state, contact) == Some(onion))
}

/// Whether the friend who is chosen now should get a copy of a message: the friend has none, and did not get too many.
fn wants_friend(state: &State, queue: QueueId, contact: ContactId) -> bool {
    let forwarding = state.forwarding();
    let copies = state.boxes().copies(queue, contact);
    let held = |receipt| copies.iter().any(|copy| copy.receipt == receipt && copy.held.is_some());
    let friend = forwarding.friend_for(contact);
    let (mut count, mut has) = (0, forwarding.says_delivered(queue, contact));
    for handed in forwarding.handed(queue, contact).filter(|handed| Some(handed.friend) == friend) {
        count += 1;
        has |= held(handed.receipt);
    }
    !has && count < limits::COPIES_AT_FRIEND
}

impl Boxes {
    /// A message for a contact that a friend is to forward.
    pub(in crate::engine) fn parcel_for_friend(
        &self,
        cx: &Context<'_>,
        deliver: &Deliver,
        entry: &Contact,
    ) -> Option<Deposit> {
        if entry.status != ContactStatus::Confirmed || entry.certificate.is_none() {
            return None;
        }
        let waiting = deliver.idle_messages(entry.id).into_iter();
        let wanting: Vec<_> = waiting
            .filter(|queue| {
                may_copy(cx, *queue) && cx.state.may_send(*queue) && wants_friend(cx.state, *queue, entry.id)
            })
            .collect();
        // Messages that the friend refused before come last.
        let fresh = wanting.iter().find(|queue| !self.refused_by_friend.contains(queue));
        fresh.or_else(|| wanting.first()).copied().map(Deposit::Mail)
    }
}

impl DepositTask {
    /// Notes on the disk that a friend is about to get a copy.
    pub(in crate::engine) fn note_handing(
        &mut self,
        cx: &mut Context<'_>,
        rooms: &mut DepositRooms<'_>,
        object: Arc<[u8]>,
        (friend, queue): (ContactId, QueueId),
    ) {
        if rooms.deliver.is_recalled(queue) {
            return self.end(cx, rooms, Some(AttemptError::Later));
        }
        let handed = Box::new(Handed { friend, queue, contact: self.contact, receipt: self.receipt, fate: None });
        let record =
            Record::Forwarding(ForwardingRecord::HandedOn { onion: self.carrier, object: digest(&object), handed });
        self.stage = Stage::Noting(object, None);
        self.commit(cx, record, InFlight::Noted);
    }

    /// The job that asks a friend to forward.
    pub(in crate::engine) fn job_for_friend(&self, state: &State, object: &Arc<[u8]>) -> Option<Job> {
        let Deposit::Mail(queue) = self.deposit else { return None };
        let (book, queued) = (state.book(), state.queue().get(queue)?);
        let (contact, friend) = (book.contact(self.contact)?, book.contact(self.friend?)?);
        Some(Job {
            to: queued.recipients.get(&contact.id)?.address.clone(),
            certificate: contact.certificate.as_ref().map(|bytes| digest(bytes)),
            object: Some(Arc::clone(object)),
            auth: friend.outbound.clone(),
            importance: queued.importance(),
            way: Way::Carried(contact.outbound.clone()),
        })
    }

    /// The client that talks with a friend reports something.
    pub(in crate::engine) fn friend_reported(
        &mut self,
        cx: &mut Context<'_>,
        rooms: &mut DepositRooms<'_>,
        event: &Event,
    ) {
        match (event, &self.stage) {
            (Event::Outcome { outcome: Outcome::Accepted, .. }, Stage::Brought) => self.held(cx, rooms),
            (Event::Outcome { .. }, Stage::Brought) => self.refused(cx, rooms),
            // The friend may have the object.
            (Event::Failed { .. }, Stage::Brought) => self.end(cx, rooms, Some(AttemptError::Broken)),
            (Event::Failed { .. }, _) => self.line.lose(),
            _ => {}
        }
    }
}
