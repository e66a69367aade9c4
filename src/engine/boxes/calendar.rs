//! The calendar: when each box is dialled, a contact's box to leave something there and our own to collect. It is only
//! in memory, and is made anew at each start.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::limits;
use crate::base::rng::{Rng, within};
use crate::base::{BoxId, ClockStep, ContactId, Onion, SessionId, Timestamp};
use crate::engine::deliver::retry::Retry;
use crate::engine::deliver::slots::{Slots, Standing, Waiting};
use crate::engine::state::boxes::KnownBoxes;
use crate::engine::state::{AttemptError, Attempts};

/// How long the node may wait before it does these things of itself, each at a random moment.
#[derive(Debug, Clone, Copy)]
pub struct Delays {
    /// Until a message goes to the recipient's boxes, after a direct attempt failed.
    pub deposit: Duration,
    /// Until a receipt is returned, after a copy was opened.
    pub receipt: Duration,
}

impl Default for Delays {
    fn default() -> Self {
        Self { deposit: limits::DEPOSIT_SPREAD, receipt: limits::RECEIPT_SPREAD }
    }
}

/// When which box is dialled.
#[derive(Debug)]
pub(in crate::engine) struct Calendar {
    /// Within which time after a failed direct attempt a message goes to the recipient's boxes.
    delay: Duration,
    deposits: BTreeMap<(ContactId, Onion), Retry>,
    slots: Slots,
    /// How the last deposit at each box went.
    standing: Standing<(ContactId, Onion)>,
    collections: BTreeMap<BoxId, Retry>,
}

impl Calendar {
    /// At a start: our own boxes are dialled soon, each at a random moment of its own.
    pub(in crate::engine) fn at_start(boxes: &KnownBoxes, delay: Duration, now: Timestamp, rng: &mut dyn Rng) -> Self {
        let mut calendar = Self {
            delay,
            deposits: BTreeMap::new(),
            slots: Slots::new(limits::PARALLEL_DEPOSITS),
            standing: Standing::new(),
            collections: BTreeMap::new(),
        };
        for (place, held) in boxes.held() {
            if now < held.plus(limits::ANSWERED_LATELY) {
                calendar.standing.answered(place);
            }
        }
        for own_box in boxes.own() {
            calendar.collections.insert(own_box.id, Retry::at(within(now, limits::START_SPREAD, rng)));
        }
        calendar
    }

    /// When something is due.
    pub(in crate::engine) fn poll(&self) -> Option<Timestamp> {
        let deposits = self.slots.poll(&self.waiting());
        let collections = self.collections.values().filter(|retry| retry.session.is_none()).map(|retry| retry.next);
        deposits.into_iter().chain(collections).min()
    }

    /// The clock was set.
    pub(in crate::engine) fn clock_set(&mut self, by: ClockStep, now: Timestamp, rng: &mut dyn Rng) {
        self.deposits.values_mut().for_each(|retry| retry.clock_set(by, now, rng));
        self.collections.values_mut().for_each(|retry| retry.clock_set(by, now, rng));
        self.slots.clock_set(by);
    }

    /// The network is back after it was gone. A box that was to be dialled later for another reason than a failure
    /// keeps its time.
    pub(in crate::engine) fn network_back(&mut self, gone: Duration, now: Timestamp, rng: &mut dyn Rng) {
        let retries = self.deposits.values_mut().chain(self.collections.values_mut());
        retries.filter(|retry| retry.last_error.is_some()).for_each(|retry| retry.network_back(gone, now, rng));
        self.standing.forget_missed();
    }

    // Deposits.

    /// A contact does not answer: plans to leave something at these boxes, except where that is planned already.
    pub(in crate::engine) fn wants(&mut self, contact: ContactId, places: &[Onion], now: Timestamp, rng: &mut dyn Rng) {
        for onion in places {
            let next = within(now, self.delay, rng);
            self.deposits.entry((contact, *onion)).or_insert_with(|| Retry::at(next));
        }
    }

    /// The box at which to leave something now.
    pub(in crate::engine) fn deposit_due(&self, now: Timestamp) -> Option<(ContactId, Onion)> {
        self.slots.next(self.waiting(), now)
    }

    /// The boxes that wait for a dial.
    fn waiting(&self) -> Vec<Waiting<(ContactId, Onion)>> {
        let idle = self.deposits.iter().filter(|(_, retry)| retry.session.is_none());
        let waiting = idle.map(|(&key, retry)| {
            let (class, failed, next) = (self.standing.of(&key), retry.failed, retry.next);
            Waiting { class, failed, next, key }
        });
        waiting.collect()
    }

    /// The session that is one too many.
    pub(in crate::engine) fn surplus(&self) -> Option<SessionId> {
        self.slots.surplus()
    }

    pub(in crate::engine) fn deposit_begins(
        &mut self,
        place: (ContactId, Onion),
        session: SessionId,
        bytes: u64,
        now: Timestamp,
    ) {
        if let Some(retry) = self.deposits.get_mut(&place) {
            retry.session = Some(session);
            self.slots.begin(session, self.standing.of(&place), bytes, now);
        }
    }

    /// Something was left at this box.
    pub(in crate::engine) fn deposit_held(&mut self, place: (ContactId, Onion), session: SessionId, now: Timestamp) {
        self.standing.answered(place);
        self.slots.delivered(session, now);
    }

    /// A deposit ended: if there is more for the same box, it follows on a circuit of its own.
    pub(in crate::engine) fn deposit_ended(
        &mut self,
        place: (ContactId, Onion),
        problem: Option<AttemptError>,
        now: Timestamp,
        rng: &mut dyn Rng,
    ) {
        let Some(retry) = self.deposits.get_mut(&place) else { return };
        retry.session.iter().for_each(|session| self.slots.ended(*session));
        match problem {
            Some(error) => {
                // Only the carrier's own failures count against it.
                if !matches!(error, AttemptError::Offline | AttemptError::Local) {
                    self.standing.missed(place);
                }
                retry.failed(error, now, rng);
            }
            None => *retry = Retry::at(within(now, limits::ONLINE_SPREAD, rng)),
        }
    }

    /// There is nothing to leave at this box.
    pub(in crate::engine) fn deposit_over(&mut self, place: (ContactId, Onion)) {
        if self.deposits.get(&place).is_some_and(|retry| retry.session.is_none()) {
            self.deposits.remove(&place);
        }
    }

    // Collections.

    /// Dials a box of ours: it is new, or there is news for its carrier.
    pub(in crate::engine) fn collect(&mut self, box_id: BoxId, now: Timestamp) {
        let retry = self.collections.entry(box_id).or_insert_with(|| Retry::at(now));
        retry.next = retry.next.min(now);
    }

    pub(in crate::engine) fn collection_due(&self, now: Timestamp) -> Option<BoxId> {
        let due = self.collections.iter().filter(|(_, retry)| retry.due(now));
        due.min_by_key(|(_, retry)| retry.next).map(|(box_id, _)| *box_id)
    }

    pub(in crate::engine) fn collection_begins(&mut self, box_id: BoxId, session: SessionId) {
        if let Some(retry) = self.collections.get_mut(&box_id) {
            retry.session = Some(session);
        }
    }

    /// The box answered as it should.
    pub(in crate::engine) fn collection_works(&mut self, box_id: BoxId) {
        if let Some(retry) = self.collections.get_mut(&box_id) {
            (retry.failed, retry.failing_since) = (0, None);
            retry.last_error = None;
        }
    }

    pub(in crate::engine) fn collection_ended(
        &mut self,
        box_id: BoxId,
        problem: Option<AttemptError>,
        now: Timestamp,
        rng: &mut dyn Rng,
    ) {
        let Some(retry) = self.collections.get_mut(&box_id) else { return };
        match problem {
            Some(error) => retry.failed(error, now, rng),
            None => *retry = Retry::at(within(now, limits::ONLINE_SPREAD, rng)),
        }
    }

    pub(in crate::engine) fn collection_over(&mut self, box_id: BoxId) {
        self.collections.remove(&box_id);
    }

    /// How the attempts at our boxes go.
    pub(in crate::engine) fn attempts(&self) -> BTreeMap<BoxId, Attempts> {
        self.collections.iter().map(|(box_id, retry)| (*box_id, retry.attempts())).collect()
    }
}
