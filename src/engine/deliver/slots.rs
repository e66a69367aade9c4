//! Which destination is dialled next, where more wait than there are places: one [`Slots`] for each kind of session
//! that an identity dials (mail, deposits, forwarding).
//!
//! A session has a place for [`limits::SLOT`] from its dial, and as long again from each thing that it delivered; after
//! that it goes on without a place while others are dialled. A destination that answered last time comes first, then
//! one that was not tried yet, then one that did not answer, those with the fewest failures first. One place is never
//! given to a destination that did not answer. A destination that answered last time waits at most
//! [`limits::SLOT_FOR_ANSWERED`] for the place of a session that has delivered nothing; and one that may answer is
//! begun within [`limits::SLOT`] of its time even where such sessions have all places: the more wait, the faster one
//! follows the other. Where there are too many sessions, or they hold too many bytes, the one that has delivered
//! nothing for the longest time ends.

use std::collections::BTreeMap;

use crate::base::limits;
use crate::base::{ClockStep, SessionId, Timestamp};

/// How likely a destination is to answer, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::engine) enum Class {
    /// It answered last time.
    Answered,
    /// It was not tried since the start, and nothing else is known.
    Untried,
    /// It did not answer last time.
    Missed,
}

/// Which destinations answered last time, and which did not.
#[derive(Debug)]
pub(in crate::engine) struct Standing<K>(BTreeMap<K, Class>);

impl<K: Ord> Standing<K> {
    pub(in crate::engine) const fn new() -> Self {
        Self(BTreeMap::new())
    }

    pub(in crate::engine) fn of(&self, key: &K) -> Class {
        self.0.get(key).copied().unwrap_or(Class::Untried)
    }

    pub(in crate::engine) fn answered(&mut self, key: K) {
        self.0.insert(key, Class::Answered);
    }

    pub(in crate::engine) fn missed(&mut self, key: K) {
        self.0.insert(key, Class::Missed);
    }

    /// Nothing is known any more of those that did not answer: the network was gone.
    pub(in crate::engine) fn forget_missed(&mut self) {
        self.0.retain(|_, class| *class != Class::Missed);
    }
}

/// A destination that waits for a dial; the order is that in which they are dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::engine) struct Waiting<K> {
    pub(in crate::engine) class: Class,
    pub(in crate::engine) failed: u32,
    /// It is not dialled before this.
    pub(in crate::engine) next: Timestamp,
    pub(in crate::engine) key: K,
}

#[derive(Debug)]
struct Session {
    /// When the session began, or delivered something last.
    since: Timestamp,
    /// Until when the session has a place.
    until: Timestamp,
    /// How much memory the session holds for its peer, where that is much.
    bytes: u64,
    /// Whether the session has delivered anything.
    delivered: bool,
}

impl Session {
    /// Until when the session keeps a destination of this class from being dialled.
    fn blocks_until(&self, class: Class) -> Timestamp {
        match class {
            Class::Answered if !self.delivered => self.until.min(self.since.plus(limits::SLOT_FOR_ANSWERED)),
            _ => self.until,
        }
    }
}

/// From when on a destination of each class may be dialled, where one of that class waits.
struct Opens {
    answered: Option<Timestamp>,
    untried: Option<Timestamp>,
    missed: Option<Timestamp>,
}

impl Opens {
    const fn of(&self, class: Class) -> Option<Timestamp> {
        match class {
            Class::Answered => self.answered,
            Class::Untried => self.untried,
            Class::Missed => self.missed,
        }
    }
}

/// The sessions of one kind.
#[derive(Debug)]
pub(in crate::engine) struct Slots {
    places: usize,
    sessions: BTreeMap<SessionId, Session>,
    /// When the last session began with a destination that did not fail to answer last time.
    last: Timestamp,
}

impl Slots {
    pub(in crate::engine) const fn new(places: usize) -> Self {
        Self { places, sessions: BTreeMap::new(), last: Timestamp::from_secs(0) }
    }

    /// A destination of this class is being dialled, to bring so many bytes.
    pub(in crate::engine) fn begin(&mut self, session: SessionId, class: Class, bytes: u64, now: Timestamp) {
        let time = if class == Class::Missed { limits::SLOT_OF_MISSED } else { limits::SLOT };
        if class != Class::Missed {
            self.last = now;
        }
        self.sessions.insert(session, Session { since: now, until: now.plus(time), bytes, delivered: false });
    }

    /// A session begins to bring so many bytes.
    pub(in crate::engine) fn brings(&mut self, session: SessionId, bytes: u64, now: Timestamp) {
        if let Some(session) = self.sessions.get_mut(&session) {
            if bytes > session.bytes {
                session.since = now;
            }
            session.bytes = bytes;
        }
    }

    /// A session delivered something.
    pub(in crate::engine) fn delivered(&mut self, session: SessionId, now: Timestamp) {
        if let Some(session) = self.sessions.get_mut(&session) {
            (session.since, session.until, session.delivered) = (now, now.plus(limits::SLOT), true);
        }
    }

    pub(in crate::engine) fn ended(&mut self, session: SessionId) {
        self.sessions.remove(&session);
    }

    /// The session that is one too many.
    pub(in crate::engine) fn surplus(&self) -> Option<SessionId> {
        let longest = |sessions: &mut dyn Iterator<Item = (&SessionId, &Session)>| {
            sessions.min_by_key(|(id, session)| (session.since, **id)).map(|(id, _)| *id)
        };
        let bytes: u64 = self.sessions.values().map(|session| session.bytes).sum();
        if bytes > (self.places * limits::OBJECT_BYTES) as u64 {
            return longest(&mut self.sessions.iter().filter(|(_, session)| session.bytes > 0));
        }
        let many = self.sessions.len() > self.places + limits::SESSIONS_WITHOUT_SLOT;
        if many { longest(&mut self.sessions.iter()) } else { None }
    }

    /// The one to dial now, of those that wait.
    pub(in crate::engine) fn next<K: Copy + Ord>(&self, waiting: Vec<Waiting<K>>, now: Timestamp) -> Option<K> {
        self.open(waiting, now).into_iter().min().map(|one| one.key)
    }

    /// Those of the waiting ones that may be dialled now.
    pub(in crate::engine) fn open<K>(&self, mut waiting: Vec<Waiting<K>>, now: Timestamp) -> Vec<Waiting<K>> {
        let opens = self.opens(&waiting);
        waiting.retain(|one| one.next <= now && opens.of(one.class).is_some_and(|at| at <= now));
        waiting
    }

    /// When one of the waiting ones may be dialled next.
    pub(in crate::engine) fn poll<K>(&self, waiting: &[Waiting<K>]) -> Option<Timestamp> {
        let Opens { answered, untried, missed } = self.opens(waiting);
        [answered, untried, missed].into_iter().flatten().min()
    }

    fn opens<K>(&self, waiting: &[Waiting<K>]) -> Opens {
        let first = |class| waiting.iter().filter(move |one| one.class == class).map(|one| one.next).min();
        let missed = first(Class::Missed);
        let missed = missed.map(|first| first.max(self.free(self.places.saturating_sub(1).max(1), Class::Missed)));
        let well = || waiting.iter().filter(|one| one.class != Class::Missed).map(|one| one.next);
        let turn = well().min().map(|first| {
            let crowd = well().filter(|next| *next <= first.plus(limits::START_SPREAD)).count();
            self.turn(first, crowd)
        });
        let open = |class| Some(first(class)?.max(self.free(self.places, class).min(turn?)));
        Opens { answered: open(Class::Answered), untried: open(Class::Untried), missed }
    }

    /// When fewer than so many sessions keep a destination of this class from being dialled.
    fn free(&self, places: usize, class: Class) -> Timestamp {
        let mut ends: Vec<_> = self.sessions.values().map(|session| session.blocks_until(class)).collect();
        ends.sort_unstable_by(|a, b| b.cmp(a));
        places.checked_sub(1).and_then(|last| ends.get(last)).copied().unwrap_or(Timestamp::from_secs(0))
    }

    /// When the first of a crowd begins without a free place, so that the last does within [`limits::SLOT`]: the time
    /// that is left is divided into equal parts.
    fn turn(&self, first: Timestamp, crowd: usize) -> Timestamp {
        let left = first.plus(limits::SLOT).since(self.last);
        let parts = u32::try_from(crowd).unwrap_or(u32::MAX).saturating_add(1);
        self.last.plus((left / parts).max(limits::SLOT_LEAST))
    }

    /// The clock was set: everything goes on as it was.
    pub(in crate::engine) fn clock_set(&mut self, step: ClockStep) {
        self.last = self.last.stepped(step);
        for session in self.sessions.values_mut() {
            (session.since, session.until) = (session.since.stepped(step), session.until.stepped(step));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_secs(1_800_000_000).plus(Duration::from_secs(seconds))
    }

    fn one(key: u64, class: Class, failed: u32) -> Waiting<u64> {
        Waiting { class, failed, next: at(0), key }
    }

    /// Dials all of these, none of which ever answers; says when each began.
    fn dialled(slots: &mut Slots, mut waiting: Vec<Waiting<u64>>) -> Vec<(u64, u64)> {
        let (mut now, mut begun) = (at(0), Vec::new());
        while let Some(wake) = slots.poll(&waiting) {
            assert!(
                wake > now || slots.next(waiting.clone(), now.max(wake)).is_some(),
                "a deadline that does not move"
            );
            now = now.max(wake);
            while let Some(key) = slots.next(waiting.clone(), now) {
                let class = waiting.iter().find(|one| one.key == key).unwrap().class;
                waiting.retain(|one| one.key != key);
                slots.begin(SessionId(key), class, 0, now);
                begun.push((key, now.since(at(0)).as_secs()));
                while let Some(session) = slots.surplus() {
                    slots.ended(session);
                }
            }
        }
        begun
    }

    #[test]
    fn nobody_who_may_answer_waits_longer_than_a_minute_however_many_do_not() {
        for others in [3, 20, 50, 150] {
            let mut slots = Slots::new(3);
            let waiting = (0..=others).map(|key| one(key, Class::Untried, 0)).collect();
            let begun = dialled(&mut slots, waiting);
            assert_eq!(begun.last().unwrap().0, others);
            assert!(begun.last().unwrap().1 <= 60, "{others}: {:?}", begun.last());
            assert!(slots.sessions.len() <= 3 + limits::SESSIONS_WITHOUT_SLOT);
        }
    }

    #[test]
    fn who_answered_comes_first_and_who_did_not_last_and_never_has_all_places() {
        let mut slots = Slots::new(3);
        let mut waiting: Vec<_> = (0..5).map(|key| one(key, Class::Missed, 2)).collect();
        waiting.push(one(5, Class::Missed, 1));
        waiting.push(one(6, Class::Untried, 0));
        waiting.push(one(7, Class::Answered, 0));
        let begun = dialled(&mut slots, waiting);
        assert_eq!(begun[..2], [(7, 0), (6, 0)]);
        assert_eq!(begun[2], (5, 60), "one place is kept from those who did not answer");
        assert_eq!(begun.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [7, 6, 5, 0, 1, 2, 3, 4]);
        assert_eq!(begun[7].1, 60 + 40, "two at a time, twenty seconds each");
        assert_eq!(slots.next(vec![one(8, Class::Untried, 0)], at(100)), Some(8));
    }

    #[test]
    fn who_answered_hardly_waits_for_sessions_that_deliver_nothing() {
        let mut slots = Slots::new(3);
        for key in 0..6 {
            slots.begin(SessionId(key), Class::Answered, 0, at(0));
        }
        let answered = [one(9, Class::Answered, 0)];
        assert_eq!(slots.poll(&answered), Some(at(0).plus(limits::SLOT_FOR_ANSWERED)));
        (0..3).for_each(|key| slots.delivered(SessionId(key), at(0)));
        assert!(slots.poll(&answered) > Some(at(10)), "sessions that deliver keep their places");
    }

    #[test]
    fn a_crowd_is_who_waits_within_ten_seconds_of_the_first() {
        let beyond = limits::START_SPREAD + Duration::from_millis(1);
        for (apart, begins) in [(Duration::ZERO, 20), (limits::START_SPREAD, 20), (beyond, 30)] {
            let mut slots = Slots::new(1);
            slots.begin(SessionId(1), Class::Untried, 0, at(0));
            let second = Waiting { next: at(0).plus(apart), ..one(3, Class::Untried, 0) };
            let waiting = [one(2, Class::Untried, 0), second];
            assert_eq!(slots.poll(&waiting), Some(at(begins)), "{apart:?}: parts of the minute for each, and one more");
        }
    }

    #[test]
    fn a_session_that_delivers_keeps_its_place_and_the_one_that_never_did_ends_first() {
        let mut slots = Slots::new(1);
        slots.begin(SessionId(1), Class::Answered, 0, at(0));
        slots.delivered(SessionId(1), at(50));
        let waits = [one(2, Class::Missed, 1)];
        assert_eq!(slots.poll(&waits), Some(at(110)));
        slots.begin(SessionId(2), Class::Missed, 20 << 20, at(40));
        assert_eq!(slots.surplus(), None);
        slots.begin(SessionId(3), Class::Untried, 20 << 20, at(45));
        assert_eq!(slots.surplus(), Some(SessionId(2)), "more than memory is for");
        slots.ended(SessionId(2));
        assert_eq!(slots.surplus(), None);
        slots.clock_set(ClockStep::Back(Duration::from_secs(10)));
        assert_eq!(slots.poll(&waits), Some(at(100)));
    }
}
