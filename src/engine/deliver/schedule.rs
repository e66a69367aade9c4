//! The schedule: which contact is dialled when, and for which messages. It decides; the queue only stores.
//!
//! It is only in memory, and is rebuilt from the queue at a start. A destination is idle, or has one session
//! (docs/protocol.md, "Delivery"): however much waits for a peer, it is dialled once. The first attempt is at once, the
//! next after a minute (a circuit broke, or the peer's machine starts anew), then after 5 minutes doubling to about 66,
//! with jitter; a peer that is seen online is tried within seconds. [`Slots`] decides which of the due destinations is
//! dialled next, and for how long its session has a place.
//!
//! A message ends, or is noticed as late, only after the clock has said for an hour that it is time: so nothing ends in
//! the first hour after a start, or after the clock was set. A clock that was wrong for a moment costs nothing, and a
//! node that was off for a week tries once more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::base::limits;
use crate::base::rng::{Rng, within};
use crate::base::{ClockStep, ContactId, QueueId, SessionId, Timestamp};

use crate::engine::deliver::destinations::{Destination, Destinations};
use crate::engine::deliver::slots::{Class, Slots, Standing, Waiting};
use crate::engine::state::book::Book;
use crate::engine::state::introductions::Introductions;
use crate::engine::state::queue::{Queue, Queued};
use crate::engine::state::shards::Shards;
use crate::engine::state::{AttemptError, Attempts};

/// The delay after this many failures: short once, then doubling, bounded, and varied by a quarter either way.
pub(in crate::engine) fn backoff(failed: u32, rng: &mut dyn Rng) -> Duration {
    let delay = match failed.checked_sub(2) {
        None => limits::RETRY_SOON,
        Some(doublings) => limits::RETRY_FIRST.saturating_mul(1 << doublings.min(16)).min(limits::RETRY_MAX),
    };
    let quarter = u64::try_from(delay.as_millis() / 4).unwrap_or(0);
    delay.saturating_sub(Duration::from_millis(quarter)) + Duration::from_millis(rng.below(2 * quarter + 1))
}

/// Which contact to dial when.
#[derive(Debug)]
pub(in crate::engine) struct Schedule {
    destinations: Destinations,
    expiries: BTreeSet<(Timestamp, QueueId)>,
    notices: BTreeSet<(Timestamp, QueueId)>,
    card_expiries: BTreeSet<(Timestamp, ContactId)>,
    /// Nothing expires and no notice is given before this.
    hold: Timestamp,
    /// Messages that are being taken back: they are not sent any more.
    recalled: BTreeSet<QueueId>,
    slots: Slots,
    standing: Standing<ContactId>,
    /// Until when a failed attempt is made again soon, because the network has just come back: those who are dialled
    /// may have lost it too, and need a moment.
    eager: Timestamp,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            destinations: Destinations::default(),
            expiries: BTreeSet::new(),
            notices: BTreeSet::new(),
            card_expiries: BTreeSet::new(),
            hold: Timestamp::default(),
            recalled: BTreeSet::new(),
            slots: Slots::new(limits::PARALLEL_DIALS),
            standing: Standing::new(),
            eager: Timestamp::default(),
        }
    }
}

impl Schedule {
    /// The schedule at a start: each destination soon, at a random moment of its own. `answered` says when something
    /// last went between a contact and us.
    pub(in crate::engine) fn at_start(
        queue: &Queue,
        book: &Book,
        introductions: &Introductions,
        answered: &BTreeMap<ContactId, Timestamp>,
        now: Timestamp,
        rng: &mut dyn Rng,
    ) -> Self {
        let mut schedule = Self { hold: now.plus(limits::CLOCK_CONFIRMATION), ..Self::default() };
        for queued in queue.iter() {
            schedule.submitted(queued, introductions.is_held(queued.id), now);
        }
        for contact in book.contacts() {
            schedule.card_changed(contact.id, book, now);
        }
        for (contact, destination) in schedule.destinations.iter_mut() {
            destination.next = within(now, limits::START_SPREAD, rng);
            let waits_since = destination.waiting.first().map(|(submitted, _)| *submitted);
            let answered = answered.get(&contact).copied();
            if waits_since.is_some_and(|since| since.plus(limits::MISSED_AFTER) < now && answered <= Some(since)) {
                schedule.standing.missed(contact);
            } else if answered.is_some_and(|at| now < at.plus(limits::ANSWERED_LATELY)) {
                schedule.standing.answered(contact);
            }
        }
        schedule
    }

    fn destination(&mut self, contact: ContactId) -> &mut Destination {
        self.destinations.or_default(contact)
    }

    /// A message was submitted, or is not held any more. While it is held it is sent to nobody.
    pub(in crate::engine) fn submitted(&mut self, queued: &Queued, is_held: bool, now: Timestamp) {
        self.expiries.insert((queued.expires, queued.id));
        if let Some(due) = queued.notice_due() {
            self.notices.insert((due, queued.id));
        }
        for (contact, _) in queued.waiting().filter(|_| !is_held) {
            let destination = self.destination(contact);
            if !destination.has_work() && destination.failed == 0 {
                destination.next = now;
            }
            destination.waiting.insert((queued.submitted, queued.id));
        }
    }

    /// The sender's wishes for reports of a message are known now.
    pub(in crate::engine) fn options_changed(&mut self, queued: &Queued) {
        self.notices.retain(|(_, id)| *id != queued.id);
        self.notices.extend(queued.notice_due().map(|due| (due, queued.id)));
    }

    /// A recipient no longer waits for a message.
    pub(in crate::engine) fn settled(&mut self, contact: ContactId, queue: QueueId) {
        if let Some(destination) = self.destinations.get_mut(contact) {
            destination.waiting.retain(|(_, waiting)| *waiting != queue);
            destination.busy.remove(&queue);
        }
        self.destinations.tidy(contact);
    }

    /// No recipient waits for a message any more.
    pub(in crate::engine) fn ended(&mut self, queued: &Queued) {
        self.expiries.remove(&(queued.expires, queued.id));
        self.notices.retain(|(_, id)| *id != queued.id);
        self.recalled.remove(&queued.id);
    }

    /// The clock was set, by this much against the time that went by: waiting goes on as it was, and messages end only
    /// after the clock has been the same for a while.
    pub(in crate::engine) fn clock_set(&mut self, by: ClockStep, now: Timestamp, rng: &mut dyn Rng) {
        self.hold = now.plus(limits::CLOCK_CONFIRMATION);
        for (_, destination) in self.destinations.iter_mut() {
            destination.next = match by {
                // Most likely the machine slept: contacts may have come online meanwhile.
                ClockStep::Forward(_) => destination.next.min(within(now, limits::START_SPREAD, rng)),
                ClockStep::Back(span) => destination.next.minus(span),
            };
            destination.planned = destination.planned.map(|planned| planned.stepped(by));
        }
        self.eager = self.eager.stepped(by);
        self.slots.clock_set(by);
    }

    /// The user wants a message to be tried now.
    pub(in crate::engine) fn try_now(&mut self, contact: ContactId, now: Timestamp) {
        if let Some(destination) = self.destinations.get_mut(contact)
            && destination.next > now
        {
            destination.planned = Some(destination.next);
            destination.next = now;
        }
    }

    /// The network is back after it was gone for this long: what failed meanwhile says nothing about the contacts. All
    /// are dialled soon, at a random moment for each, and where that fails, again after a short while; after a short
    /// absence that is not done twice within [`limits::EAGER_AGAIN`].
    pub(in crate::engine) fn network_back(&mut self, gone: Duration, now: Timestamp, rng: &mut dyn Rng) {
        if gone >= limits::SHORT_ABSENCE || now >= self.eager.plus(limits::EAGER_AGAIN) {
            self.eager = now.plus(limits::EAGER_AFTER_RETURN);
        }
        self.standing.forget_missed();
        let went = now.minus(gone).minus(limits::OUTAGE_NOTICED);
        for (_, destination) in self.destinations.iter_mut() {
            // Who was away before stays away, as far as is known.
            if destination.failing_since.is_none_or(|since| since >= went) {
                (destination.failed, destination.failing_since) = (0, None);
            }
            destination.planned = None;
            destination.next = destination.next.min(within(now, limits::START_SPREAD, rng));
        }
    }

    /// A message is being taken back, or that failed.
    pub(in crate::engine) fn set_recalled(&mut self, queue: QueueId, recalled: bool) {
        if recalled {
            self.recalled.insert(queue);
        } else {
            self.recalled.remove(&queue);
        }
    }

    /// Whether a message is being taken back.
    pub(in crate::engine) fn is_recalled(&self, queue: QueueId) -> bool {
        self.recalled.contains(&queue)
    }

    /// The card that waits for a contact may be another one now, or be gone.
    pub(in crate::engine) fn card_changed(&mut self, contact: ContactId, book: &Book, now: Timestamp) {
        self.card_expiries.retain(|(_, other)| *other != contact);
        let pending = book.contact(contact).and_then(|entry| entry.cards.pending.as_ref());
        if let Some(card) = pending {
            self.card_expiries.insert((card.expires, contact));
        }
        let waits = pending.is_some();
        if waits || self.destinations.get(contact).is_some() {
            let destination = self.destination(contact);
            if waits && !destination.card && destination.failed == 0 {
                destination.next = now;
            }
            destination.card = waits;
        }
        self.destinations.tidy(contact);
    }

    /// Receipts wait for a contact, or no longer do.
    pub(in crate::engine) fn set_receipts(&mut self, contact: ContactId, wait: bool, now: Timestamp) {
        if wait || self.destinations.get(contact).is_some() {
            let destination = self.destination(contact);
            if wait && !destination.has_work() && destination.failed == 0 {
                destination.next = now;
            }
            destination.receipts = wait;
        }
        self.destinations.tidy(contact);
    }

    /// The card that waits for a contact is not to be sent.
    pub(in crate::engine) fn forget_card(&mut self, contact: ContactId) {
        self.card_expiries.retain(|(_, other)| *other != contact);
        if let Some(destination) = self.destinations.get_mut(contact) {
            destination.card = false;
        }
        self.destinations.tidy(contact);
    }

    /// The contact to dial now, where one is due and a dial is free.
    pub(in crate::engine) fn due(&self, now: Timestamp) -> Option<ContactId> {
        self.slots.next(self.waiting(), now)
    }

    /// The contacts that wait for a dial.
    fn waiting(&self) -> Vec<Waiting<ContactId>> {
        let idle = self.destinations.iter();
        let idle = idle.filter(|(_, destination)| destination.session.is_none() && destination.has_work());
        let waiting = idle.map(|(key, destination)| {
            let class = self.standing.of(&key).max(if destination.had_turn { Class::Untried } else { Class::Answered });
            let (failed, next) = (destination.failed, destination.next);
            Waiting { class, failed, next, key }
        });
        waiting.collect()
    }

    /// The session that is one too many.
    pub(in crate::engine) fn surplus(&self) -> Option<SessionId> {
        self.slots.surplus()
    }

    /// A session begins to bring so many bytes.
    pub(in crate::engine) fn brings(&mut self, session: SessionId, bytes: u64, now: Timestamp) {
        self.slots.brings(session, bytes, now);
    }

    /// When something that is to end at this moment may end.
    pub(in crate::engine) fn not_before(&self, at: Timestamp) -> Timestamp {
        at.max(self.hold)
    }

    /// Whether the clock was set, or the daemon started, so lately that it may be wrong.
    pub(in crate::engine) fn doubts_clock(&self, now: Timestamp) -> bool {
        self.hold > now
    }

    /// When something is due.
    pub(in crate::engine) fn poll(&self) -> Option<Timestamp> {
        let expiry = self.expiries.first().map(|&(at, _)| at.max(self.hold));
        let notice = self.notices.first().map(|&(at, _)| at.max(self.hold));
        let card = self.card_expiries.first().map(|&(at, _)| at.max(self.hold));
        let dial = self.slots.poll(&self.waiting());
        [expiry, notice, card, dial].into_iter().flatten().min()
    }

    /// A session to a contact begins.
    pub(in crate::engine) fn begin(&mut self, contact: ContactId, session: SessionId, now: Timestamp) {
        self.destination(contact).session = Some(session);
        self.slots.begin(session, self.standing.of(&contact), 0, now);
    }

    /// The session to a contact ended well: if more waits, the contact is dialled again at once.
    pub(in crate::engine) fn succeeded(&mut self, contact: ContactId, now: Timestamp) {
        self.standing.answered(contact);
        let destination = self.destination(contact);
        (destination.failed, destination.failing_since) = (0, None);
        destination.last_error = None;
        destination.planned = None;
        destination.next = now;
        destination.had_turn = true;
        self.session_ended(contact);
    }

    /// The session to a contact, or the attempt at one, failed.
    pub(in crate::engine) fn failed(
        &mut self,
        contact: ContactId,
        error: AttemptError,
        now: Timestamp,
        rng: &mut dyn Rng,
    ) {
        // Only the contact's own failures count against it.
        if !matches!(error, AttemptError::Offline | AttemptError::Local) {
            self.standing.missed(contact);
        }
        let eager = (now < self.eager).then(|| within(now.plus(limits::RETRY_EAGER), limits::RETRY_EAGER / 2, rng));
        let is_ours = matches!(error, AttemptError::Offline);
        let destination = self.destination(contact);
        destination.last_error = Some(error);
        if !is_ours {
            destination.failing_since.get_or_insert(now);
        }
        let planned = destination.planned.take().filter(|planned| *planned > now);
        destination.next = match (planned, eager) {
            // The attempt that the user asked for is one more, and takes none away.
            (Some(planned), None) => planned,
            (Some(planned), Some(eager)) => planned.min(eager),
            (None, None) if is_ours => now.plus(limits::RETRY_OFFLINE).plus(Duration::from_millis(rng.below(10_000))),
            // One of many in a short time: they do not make the next ones rarer.
            (None, Some(eager)) => {
                destination.failed = destination.failed.max(u32::from(!is_ours));
                eager
            }
            (None, None) => {
                destination.failed = destination.failed.saturating_add(1);
                now.plus(backoff(destination.failed, rng))
            }
        };
        self.session_ended(contact);
    }

    /// Whether the last direct attempt at a contact did not reach it.
    pub(in crate::engine) fn is_away(&self, contact: ContactId) -> bool {
        self.destinations.get(contact).is_some_and(|destination| destination.failed > 0)
    }

    /// Why the last attempt at a contact came to nothing.
    pub(in crate::engine) fn last_error(&self, contact: ContactId) -> Option<AttemptError> {
        self.destinations.get(contact)?.last_error
    }

    /// A contact took something: the count of failures begins anew.
    pub(in crate::engine) fn reached(&mut self, contact: ContactId, now: Timestamp) {
        self.standing.answered(contact);
        let destination = self.destination(contact);
        (destination.failed, destination.failing_since) = (0, None);
        destination.last_error = None;
        if let Some(session) = destination.session {
            self.slots.delivered(session, now);
        }
    }

    fn session_ended(&mut self, contact: ContactId) {
        if let Some(session) = self.destination(contact).session.take() {
            self.slots.ended(session);
        }
        self.destinations.tidy(contact);
    }

    /// A contact was seen online.
    pub(in crate::engine) fn online(&mut self, contact: ContactId, now: Timestamp, rng: &mut dyn Rng) {
        self.standing.answered(contact);
        if let Some(destination) = self.destinations.get_mut(contact) {
            // It may not be reached at the first attempt, and is not to wait for an hour then.
            destination.failed = destination.failed.min(1);
            destination.next = destination.next.min(within(now, limits::ONLINE_SPREAD, rng));
        }
    }

    /// The session to a contact, where there is one.
    pub(in crate::engine) fn session(&self, contact: ContactId) -> Option<SessionId> {
        self.destinations.get(contact)?.session
    }

    /// The oldest message for a contact that is not on its way.
    pub(in crate::engine) fn next_message(&self, contact: ContactId, except: &BTreeSet<QueueId>) -> Option<QueueId> {
        let destination = self.destinations.get(contact)?;
        destination
            .waiting
            .iter()
            .map(|&(_, queue)| queue)
            .find(|queue| !destination.busy.contains(queue) && !except.contains(queue) && !self.is_recalled(*queue))
    }

    /// All messages for a contact that are not on their way.
    pub(in crate::engine) fn idle_messages(&self, contact: ContactId) -> Vec<QueueId> {
        let Some(destination) = self.destinations.get(contact) else { return Vec::new() };
        let waiting = destination.waiting.iter().map(|&(_, queue)| queue);
        waiting.filter(|queue| !destination.busy.contains(queue) && !self.is_recalled(*queue)).collect()
    }

    /// Leaves a contact alone for a while.
    pub(in crate::engine) fn postpone(&mut self, contact: ContactId, now: Timestamp) {
        if let Some(destination) = self.destinations.get_mut(contact) {
            destination.next = now.plus(limits::RETRY_LOCAL);
        }
    }

    /// Marks a message as on its way to a contact, or no longer.
    pub(in crate::engine) fn set_busy(&mut self, contact: ContactId, queue: QueueId, busy: bool) {
        if let Some(destination) = self.destinations.get_mut(contact) {
            if busy {
                destination.busy.insert(queue);
            } else {
                destination.busy.remove(&queue);
            }
        }
    }

    /// Whether a message is on its way to a contact.
    pub(in crate::engine) fn is_busy(&self, contact: ContactId, queue: QueueId) -> bool {
        self.destinations.get(contact).is_some_and(|destination| destination.busy.contains(&queue))
    }

    /// The next message whose time has run out; it is not named again, unless [`Self::look_again`] says so.
    pub(in crate::engine) fn take_expired(&mut self, now: Timestamp) -> Option<QueueId> {
        let (at, queue) = *self.expiries.first()?;
        if at.max(self.hold) > now {
            return None;
        }
        self.expiries.pop_first();
        Some(queue)
    }

    /// The next message whose sender is to be told that it is late; it is not named again, unless
    /// [`Self::notice_later`] says so.
    pub(in crate::engine) fn take_notice(&mut self, now: Timestamp) -> Option<QueueId> {
        let (at, queue) = *self.notices.first()?;
        if at.max(self.hold) > now {
            return None;
        }
        self.notices.pop_first();
        Some(queue)
    }

    /// Looks at a message's delay again later.
    pub(in crate::engine) fn notice_later(&mut self, queue: QueueId, now: Timestamp) {
        self.notices.insert((now.plus(limits::RETRY_LOCAL), queue));
    }

    /// Notes when a message expires.
    pub(in crate::engine) fn expires(&mut self, queue: QueueId, at: Timestamp) {
        self.expiries.insert((at, queue));
    }

    /// Looks at a message's expiry again later.
    pub(in crate::engine) fn look_again(&mut self, queue: QueueId, now: Timestamp) {
        self.expiries.insert((now.plus(limits::RETRY_LOCAL), queue));
    }

    /// The next contact whose waiting card has run out; looked at again in a minute if it still waits.
    pub(in crate::engine) fn take_expired_card(&mut self, now: Timestamp) -> Option<ContactId> {
        let (at, contact) = *self.card_expiries.first()?;
        if at.max(self.hold) > now {
            return None;
        }
        self.card_expiries.pop_first();
        self.card_expiries.insert((now.plus(limits::RETRY_LOCAL), contact));
        Some(contact)
    }

    /// How the attempts went, for people.
    pub(in crate::engine) fn attempts(&mut self) -> Shards<ContactId, Attempts> {
        self.destinations.attempts()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::SeededRng;
    use crate::base::{BodyId, ContentId};
    use crate::engine::state::book::{Cards, Contact, PendingCard};
    use crate::engine::state::queue::{Addressee, Progress, Submitted};
    use crate::engine::tests::samples::known;

    #[test]
    fn delays_are_a_minute_then_double_from_five_to_about_an_hour_with_a_quarter_of_jitter() {
        let mut rng = SeededRng::new(1);
        for (failed, middle) in [(1, 60), (2, 300), (3, 600), (4, 1200), (5, 2400), (6, 4000), (40, 4000)] {
            let delays: BTreeSet<u128> = (0..200).map(|_| backoff(failed, &mut rng).as_millis()).collect();
            let (low, high) = (middle * 750, middle * 1250);
            assert!(delays.iter().all(|delay| (low..=high).contains(delay)), "{failed}: {delays:?}");
            assert!(delays.first().unwrap() + 300 * middle < *delays.last().unwrap(), "no jitter after {failed}");
        }
    }

    #[test]
    fn dials_are_bounded_and_a_destination_that_had_its_turn_waits_for_the_others() {
        let mut now = Timestamp::from_secs(1_800_000_000);
        let mut schedule = Schedule::default();
        for n in 1..=5 {
            schedule.submitted(queue(n, now).iter().next().unwrap(), false, now);
        }
        let mut dialled = Vec::new();
        while let Some(next) = schedule.due(now) {
            schedule.begin(next, SessionId(dialled.len() as u64), now);
            dialled.push(next);
        }
        assert_eq!(dialled, [contact(1), contact(2), contact(3)]);
        now = now.plus(Duration::from_secs(1));
        schedule.succeeded(contact(1), now);
        assert_eq!(schedule.due(now), Some(contact(4)), "the first has more to send, but had its turn");
    }

    #[test]
    fn at_a_start_the_log_says_who_did_not_answer_and_who_did_lately() {
        let (now, moment) = (Timestamp::from_secs(1_800_000_000), Duration::from_millis(1));
        let (lately, long) = (now.minus(limits::MISSED_AFTER), now.minus(limits::MISSED_AFTER).minus(moment));
        let day_ago = now.minus(limits::ANSWERED_LATELY);
        for (since, answered, class) in [
            (long, None, Class::Missed),
            (long, Some(long.minus(moment)), Class::Missed),
            (long, Some(long), Class::Missed),
            (long, Some(long.plus(moment)), Class::Answered),
            (lately, None, Class::Untried),
            (lately, Some(day_ago), Class::Untried),
            (lately, Some(day_ago.plus(moment)), Class::Answered),
        ] {
            let answered = answered.map(|at| (contact(1), at)).into_iter().collect();
            let mut rng = SeededRng::new(1);
            let schedule = Schedule::at_start(
                &queue(1, since),
                &Book::default(),
                &Introductions::default(),
                &answered,
                now,
                &mut rng,
            );
            assert_eq!(schedule.standing.of(&contact(1)), class, "waits since {since:?}, answered {answered:?}");
        }
    }

    #[test]
    fn a_card_that_begins_to_wait_is_sent_at_once_but_not_to_who_did_not_answer() {
        let now = Timestamp::from_secs(1_800_000_000);
        for (failed, waited, waits, at_once) in [
            (0, false, true, true),
            (0, true, true, false),
            (0, false, false, false),
            (1, false, true, false),
            (1, true, true, false),
        ] {
            let (mut schedule, mut book) = (Schedule::default(), Book::default());
            let (content, expires) = (ContentId::from_bytes([1; 16]), now.plus(limits::EXPIRY));
            let card = PendingCard { content, expires, counter: 1, secret: None };
            assert!(book.add(&somebody(waits.then_some(card))));
            schedule.submitted(queue(1, now).iter().next().unwrap(), false, now);
            let destination = schedule.destination(contact(1));
            (destination.failed, destination.card) = (failed, waited);
            destination.next = now.plus(limits::RETRY_SOON);
            schedule.card_changed(contact(1), &book, now);
            let destination = schedule.destination(contact(1));
            let told = (destination.next == now, destination.card);
            assert_eq!(told, (at_once, waits), "{failed} failed, one waited: {waited}, one waits: {waits}");
        }
    }

    fn contact(n: u8) -> ContactId {
        ContactId::from_bytes([n; 16])
    }

    fn somebody(pending: Option<PendingCard>) -> Contact {
        Contact { id: contact(1), cards: Cards { pending, ..Cards::default() }, ..known(1, "bob") }
    }

    /// A message for the contact of this number.
    fn queue(n: u8, submitted: Timestamp) -> Queue {
        let recipient = Addressee { address: address(), progress: Progress::Queued };
        let mut queue = Queue::default();
        queue.submit(&Submitted {
            id: QueueId::from_bytes([n; 16]),
            content: ContentId::from_bytes([n; 16]),
            body: BodyId::from_bytes([n; 16]),
            size: 1,
            submitted,
            expires: submitted.plus(limits::EXPIRY),
            recipients: BTreeMap::from([(contact(n), recipient)]),
            headers: Vec::new(),
        });
        queue
    }

    fn address() -> crate::mail::Address {
        format!("bob@{}", crate::base::Onion::from_public_key([1; 32])).parse().unwrap()
    }
}
