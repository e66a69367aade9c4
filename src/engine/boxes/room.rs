//! The memory of the room that leaves mail in boxes and collects it, apart from that of the sessions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::base::rng::Rng;
use crate::base::{
    BoxId, ClockStep, ContactId, ContentId, InvitationId, ObjectId, Onion, OpId, QueueId, SessionId, Timestamp,
};
use crate::engine::boxes::calendar::Calendar;
use crate::engine::boxes::check::LastCheck;
use crate::engine::context::{Context, Signal};
use crate::engine::deliver::Deliver;
use crate::engine::state::book::{ContactChange, ContactStatus};
use crate::engine::state::boxes::Check;
use crate::engine::state::boxes::own::BoxChange;
use crate::engine::state::record::{
    BookRecord, BoxRecord, ForwardingRecord, IdentityRecord, IntroductionRecord, ReceivedRecord, Record,
};
use crate::engine::state::{Attempts, State};

/// The memory of boxes, of our own and of those of contacts.
pub(in crate::engine) struct Boxes {
    pub(super) calendar: Calendar,
    /// How the last check of each box of ours went.
    pub(super) checks: BTreeMap<BoxId, LastCheck>,
    /// The beginning of an object at a box, where the rest did not come.
    pub(super) partly_fetched: BTreeMap<BoxId, (ObjectId, Vec<u8>)>,
    /// Messages that fit no token.
    pub(super) too_large_for_boxes: BTreeSet<QueueId>,
    /// Messages that a friend did not take, or that cannot be given to one: other messages come first.
    pub(super) refused_by_friend: BTreeSet<QueueId>,
    /// Messages that could not be left at a box when they were to be: other messages come first there.
    pub(super) unplaced: BTreeSet<(Onion, QueueId)>,
    /// Cards of ours that carriers hold.
    pub(super) left_cards: BTreeSet<(Onion, ContentId)>,
    /// Pages of ours that carriers have, since the start.
    pub(super) posted_pages: BTreeSet<(BoxId, InvitationId)>,
    /// How many objects of each box were told of as unreadable, on which day.
    pub(super) unread_told: BTreeMap<BoxId, (Timestamp, u32)>,
    /// Contacts whose receipts are being left at a box.
    pub(super) returning: BTreeSet<ContactId>,
    /// The commit under way that gives contacts seats.
    pub(super) seating: Option<OpId>,
}

impl Boxes {
    /// When something is due.
    pub(in crate::engine) fn poll_timeout(&self) -> Option<Timestamp> {
        self.calendar.poll()
    }

    /// The network is back after it was gone.
    pub(in crate::engine) fn network_back(&mut self, gone: Duration, now: Timestamp, rng: &mut dyn Rng) {
        self.calendar.network_back(gone, now, rng);
    }

    /// The clock was set.
    pub(in crate::engine) fn clock_set(&mut self, step: ClockStep, now: Timestamp, rng: &mut dyn Rng) {
        self.calendar.clock_set(step, now, rng);
    }

    /// The session with a carrier that is one too many.
    pub(in crate::engine) fn surplus(&self) -> Option<SessionId> {
        self.calendar.surplus()
    }

    /// How the attempts at our own boxes go, for people.
    pub(in crate::engine) fn attempts(&self) -> BTreeMap<BoxId, Attempts> {
        self.calendar.attempts()
    }

    /// How the last check of each of our boxes goes, or went.
    pub(in crate::engine) fn checks(&self) -> BTreeMap<BoxId, Check> {
        self.checks.iter().map(|(box_id, last)| (*box_id, last.check)).collect()
    }

    /// The messages that a friend did not take, or that cannot be given to one.
    #[cfg(test)]
    pub(in crate::engine) const fn refused_by_friend(&self) -> &BTreeSet<QueueId> {
        &self.refused_by_friend
    }

    const fn new(calendar: Calendar) -> Self {
        Self {
            calendar,
            checks: BTreeMap::new(),
            partly_fetched: BTreeMap::new(),
            too_large_for_boxes: BTreeSet::new(),
            refused_by_friend: BTreeSet::new(),
            unplaced: BTreeSet::new(),
            left_cards: BTreeSet::new(),
            posted_pages: BTreeSet::new(),
            unread_told: BTreeMap::new(),
            returning: BTreeSet::new(),
            seating: None,
        }
    }

    /// At a start: our own boxes are dialled soon.
    pub(in crate::engine) fn at_start(state: &State, delay: Duration, now: Timestamp, rng: &mut dyn Rng) -> Self {
        Self::new(Calendar::at_start(state.boxes(), delay, now, rng))
    }

    /// A message is over.
    pub(in crate::engine) fn forget(&mut self, queue: QueueId) {
        self.too_large_for_boxes.remove(&queue);
        self.refused_by_friend.remove(&queue);
        self.unplaced.retain(|(_, other)| *other != queue);
    }

    /// A commit is applied and published: what its records mean for boxes.
    pub(in crate::engine) fn on_records(&mut self, cx: &mut Context<'_>, deliver: &Deliver, records: &[Record]) {
        for record in records {
            // If the last direct attempt did not reach the contact, the message goes to its boxes without another one.
            let held = |queue| cx.state.introductions().is_held(queue);
            let submitted = record.submitted().into_iter().filter(|queued| !held(queued.id));
            let recipients: Vec<_> = submitted.flat_map(|queued| queued.recipients.keys().copied()).collect();
            for contact in recipients.into_iter().chain(released(cx, record)) {
                if deliver.is_away(contact) {
                    self.wants_deposits(cx, contact);
                }
            }
            match record {
                Record::Forwarding(ForwardingRecord::ForwarderChosen { contact, friend: Some(_) })
                    if deliver.is_away(*contact) =>
                {
                    self.wants_deposits(cx, *contact);
                }
                // The pages at our carriers have the certificate of before.
                Record::Identity(IdentityRecord::SealKeyRenewed { .. }) => {
                    self.posted_pages.clear();
                    cx.out.tell(Signal::BoxNews);
                }
                Record::Book(BookRecord::InvitationMade { .. })
                | Record::Introductions(IntroductionRecord::IntroductionGranted { .. }) => cx.out.tell(Signal::BoxNews),
                Record::Boxes(BoxRecord::BoxRented { own_box }) => self.calendar.collect(own_box.id, cx.now),
                Record::Boxes(BoxRecord::BoxChanged { change: BoxChange::Leaving, id }) => {
                    self.calendar.collect(*id, cx.now)
                }
                Record::Book(BookRecord::ContactChanged {
                    change: ContactChange::Status(ContactStatus::Blocked),
                    ..
                }) => {}
                Record::Book(BookRecord::ContactChanged { .. })
                | Record::Received(ReceivedRecord::CardAccepted { .. })
                | Record::Boxes(BoxRecord::BoxChanged { .. }) => {
                    self.offer_seats(cx);
                }
                _ => {}
            }
        }
    }
}

/// The recipients of a message that is held no more.
fn released(cx: &Context<'_>, record: &Record) -> Vec<ContactId> {
    let Record::Introductions(IntroductionRecord::ConsentReached { queue, .. }) = record else { return Vec::new() };
    cx.state
        .queue()
        .get(*queue)
        .map(|queued| queued.waiting().map(|(contact, _)| contact).collect())
        .unwrap_or_default()
}
