//! The half of depositing that is with a friend, who carries what is for a contact, instead of a carrier.

use std::sync::Arc;

use super::{DepositStep, Depositing, Parcel, Stage};
use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::{ContactId, Onion, QueueId, SessionId, Timestamp};
use crate::engine::book::{Contact, ContactStatus};
use crate::engine::carriage::Handed;
use crate::engine::identity::{Identity, Then};
use crate::engine::record::Record;
use crate::engine::session::{Event, Job, Outcome, Way};
use crate::engine::state::AttemptError;
use crate::wire::digest;

impl Identity {
    /// The friend who carries what is for a contact, where that is who is at this onion.
    pub(super) fn friend_at(&self, contact: ContactId, onion: Onion) -> Option<ContactId> {
        self.state.carriage().friend_for(contact).filter(|_| self.friend_onion(contact) == Some(onion))
    }

    /// A message for a contact that a friend is to carry.
    pub(super) fn parcel_for_friend(&self, now: Timestamp, entry: &Contact) -> Option<Parcel> {
        if entry.status != ContactStatus::Confirmed || entry.certificate.is_none() {
            return None;
        }
        let waiting = self.rooms.deliver.schedule.idle_messages(entry.id).into_iter();
        let wanting: Vec<_> =
            waiting.filter(|queue| self.may_copy(now, *queue) && self.wants_friend(*queue, entry.id)).collect();
        // What was refused before comes last.
        let fresh = wanting.iter().find(|queue| !self.rooms.boxes.refused_by_friend.contains(queue));
        fresh.or_else(|| wanting.first()).copied().map(Parcel::Mail)
    }

    /// Whether the friend who is chosen now should get a copy of a message: it has none, nor got too many.
    fn wants_friend(&self, queue: QueueId, contact: ContactId) -> bool {
        let carriage = self.state.carriage();
        let copies = self.state.drops().copies(queue, contact);
        let held = |receipt| copies.iter().any(|copy| copy.receipt == receipt && copy.held.is_some());
        let friend = carriage.friend_for(contact);
        let (mut count, mut has) = (0, carriage.says_delivered(queue, contact));
        for handed in carriage.handed(queue, contact).filter(|handed| Some(handed.friend) == friend) {
            count += 1;
            has |= held(handed.receipt);
        }
        !has && count < limits::COPIES_AT_FRIEND
    }

    pub(super) fn note_handing(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        session: SessionId,
        object: Arc<[u8]>,
        (friend, queue): (ContactId, QueueId),
    ) {
        if self.rooms.deliver.schedule.is_recalled(queue) {
            return self.end_deposit(now, rng, session, Some(AttemptError::Later));
        }
        let Some(deposit) = self.deposits.get_mut(&session) else { return };
        let (contact, receipt, onion) = (deposit.contact, deposit.receipt, deposit.carrier);
        let handed = Box::new(Handed { friend, queue, contact, receipt, fate: None });
        let record = Record::HandedOn { onion, object: digest(&object), handed };
        deposit.stage = Stage::Noting(object, None);
        self.commit(vec![record], Vec::new(), Then::Depositing(session, DepositStep::Noted));
    }

    /// What a friend is asked to carry.
    pub(super) fn job_for_friend(&self, deposit: &Depositing, object: &Arc<[u8]>) -> Option<Job> {
        let Parcel::Mail(queue) = deposit.parcel else { return None };
        let (book, queued) = (self.state.book(), self.state.queue().get(queue)?);
        let (contact, friend) = (book.contact(deposit.contact)?, book.contact(deposit.friend?)?);
        Some(Job {
            to: queued.recipients.get(&contact.id)?.address.clone(),
            certificate: contact.certificate.as_ref().map(|bytes| digest(bytes)),
            object: Some(Arc::clone(object)),
            auth: friend.outbound.clone(),
            importance: queued.importance(),
            way: Way::Carried(contact.outbound.clone()),
        })
    }

    pub(super) fn friend_event(&mut self, now: Timestamp, rng: &mut dyn Rng, session: SessionId, event: &Event) {
        let Some(deposit) = self.deposits.get_mut(&session) else { return };
        match (event, &deposit.stage) {
            (Event::Outcome { outcome: Outcome::Accepted, .. }, Stage::Brought) => self.deposit_held(now, rng, session),
            (Event::Outcome { .. }, Stage::Brought) => self.deposit_refused(now, rng, session),
            // It may have it.
            (Event::Failed { .. }, Stage::Brought) => {
                self.end_deposit(now, rng, session, Some(AttemptError::Broken));
            }
            (Event::Failed { .. }, _) => deposit.machine = None,
            _ => {}
        }
    }
}
