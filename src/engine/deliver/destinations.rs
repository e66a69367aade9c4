//! The contacts for whom something waits, and how the attempts to reach each of them go.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::{ContactId, QueueId, SessionId, Timestamp};
use crate::engine::state::shards::Shards;
use crate::engine::state::{AttemptError, Attempts};

/// One contact for whom something waits, and when its node is dialled.
#[derive(Debug, Default)]
pub(super) struct Destination {
    /// The messages that wait, in the order of submission.
    pub(super) waiting: BTreeSet<(Timestamp, QueueId)>,
    /// Messages that are on their way in a session, or whose outcome is being committed.
    pub(super) busy: BTreeSet<QueueId>,
    /// Whether a card waits.
    pub(super) card: bool,
    /// Whether receipts wait.
    pub(super) receipts: bool,
    pub(super) session: Option<SessionId>,
    /// Whether it was dialled since something began to wait for it: then other destinations that wait come before it.
    pub(super) had_turn: bool,
    pub(super) next: Timestamp,
    /// Where the user had it tried earlier: when the attempt was planned, which stays planned if this one fails.
    pub(super) planned: Option<Timestamp>,
    pub(super) failed: u32,
    pub(super) failing_since: Option<Timestamp>,
    pub(super) last_error: Option<AttemptError>,
}

impl Destination {
    pub(super) fn has_work(&self) -> bool {
        self.card || self.receipts || self.waiting.iter().any(|(_, queue)| !self.busy.contains(queue))
    }

    /// Whether nothing waits, and nothing is being sent.
    pub(super) fn is_over(&self) -> bool {
        self.waiting.is_empty() && !self.card && !self.receipts && self.session.is_none()
    }

    fn attempts(&self) -> Attempts {
        let waits = self.session.is_none() && self.has_work();
        let (failed, failing_since, last_error) = (self.failed, self.failing_since, self.last_error);
        Attempts { failed, failing_since, next: waits.then_some(self.next), last_error }
    }
}

/// All destinations. The copy for readers is made anew only for those that changed.
#[derive(Debug, Default)]
pub(super) struct Destinations {
    all: BTreeMap<ContactId, Destination>,
    /// The attempts as readers saw them last.
    shown: Shards<ContactId, Attempts>,
    /// Destinations whose attempts may differ from what readers saw.
    changed: BTreeSet<ContactId>,
}

impl Destinations {
    pub(super) fn get(&self, contact: ContactId) -> Option<&Destination> {
        self.all.get(&contact)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ContactId, &Destination)> {
        self.all.iter().map(|(contact, destination)| (*contact, destination))
    }

    /// A destination, to be changed.
    pub(super) fn get_mut(&mut self, contact: ContactId) -> Option<&mut Destination> {
        let destination = self.all.get_mut(&contact)?;
        self.changed.insert(contact);
        Some(destination)
    }

    /// A destination, to be changed; it is made if it is not there.
    pub(super) fn or_default(&mut self, contact: ContactId) -> &mut Destination {
        self.changed.insert(contact);
        self.all.entry(contact).or_default()
    }

    /// All destinations, to be changed.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (ContactId, &mut Destination)> {
        let Self { all, changed, .. } = self;
        all.iter_mut().map(|(contact, destination)| {
            changed.insert(*contact);
            (*contact, destination)
        })
    }

    /// Forgets a destination for which nothing waits.
    pub(super) fn tidy(&mut self, contact: ContactId) {
        if self.get(contact).is_some_and(Destination::is_over) {
            self.all.remove(&contact);
            self.changed.insert(contact);
        }
    }

    /// How the attempts went, for people.
    pub(super) fn attempts(&mut self) -> Shards<ContactId, Attempts> {
        while let Some(contact) = self.changed.pop_first() {
            match self.all.get(&contact).map(Destination::attempts) {
                // Attempts that did not change copy nothing.
                Some(attempts) if self.shown.get(&contact) == Some(&attempts) => {}
                Some(attempts) => drop(self.shown.insert(contact, attempts)),
                None => drop(self.shown.remove(&contact)),
            }
        }
        self.shown.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever changed in whatever way, readers see what there is.
        #[test]
        fn readers_see_every_change(changes in prop::collection::vec((0_u8..4, 0_u8..6, any::<bool>()), 0..60)) {
            let mut destinations = Destinations::default();
            for (number, what, look) in changes {
                let contact = ContactId::from_bytes([number; 16]);
                match what {
                    0 => destinations.or_default(contact).card = true,
                    1 => destinations.or_default(contact).failed += 1,
                    2 => destinations.get_mut(contact).into_iter().for_each(|known| known.card = !known.card),
                    3 => destinations.get_mut(contact).into_iter().for_each(|known| known.session = Some(SessionId(1))),
                    4 => destinations.iter_mut().for_each(|(_, known)| known.next = Timestamp::from_secs(number.into())),
                    _ => destinations.iter_mut().for_each(|(_, known)| (known.card, known.session) = (false, None)),
                }
                destinations.tidy(contact);
                if look {
                    let there: Vec<_> = destinations.iter().map(|(contact, known)| (contact, known.attempts())).collect();
                    let seen = destinations.attempts();
                    prop_assert!(seen.iter().map(|(contact, attempts)| (*contact, *attempts)).eq(there));
                }
            }
        }
    }
}
