//! When each contact was last seen, and how many duplicates came from it: for people who look at a contact.
//!
//! All of this is only in memory. At a start the times are those of the records: when something of a contact was last
//! taken, or a message last reached it, as far as that is remembered. The counts begin anew.

use std::time::Duration;

use crate::base::{ContactId, Timestamp};

use crate::engine::state::record::{QueueRecord, ReceivedRecord, Record};
use crate::engine::state::shards::Shards;
use crate::engine::state::{Sighting, State};

/// How exact the times are: what is seen sooner after the last time changes nothing.
const EXACT: Duration = Duration::from_secs(60);

/// What was seen of the contacts.
pub(in crate::engine) struct Sightings(Shards<ContactId, Sighting>);

impl Sightings {
    /// At a start: what the records say.
    pub(in crate::engine) fn at_start(state: &State) -> Self {
        let mut all = Shards::default();
        // A message that was delivered is remembered longer than a contact that was removed.
        let answered = state.answered().into_iter().filter(|(contact, _)| state.book().contact(*contact).is_some());
        all.extend(answered.map(|(contact, at)| (contact, Sighting { last: Some(at), duplicates: 0 })));
        Self(all)
    }

    /// What was seen, for readers.
    pub(in crate::engine) fn published(&self) -> Shards<ContactId, Sighting> {
        self.0.clone()
    }

    /// A contact was seen. `true` if readers do not know that yet.
    pub(in crate::engine) fn seen(&mut self, state: &State, contact: ContactId, now: Timestamp) -> bool {
        let last = self.0.get(&contact).and_then(|sighting| sighting.last);
        let is_known = last.is_some_and(|last| last <= now && now < last.plus(EXACT));
        if is_known || state.book().contact(contact).is_none() {
            return false;
        }
        self.0.or_default(contact).last = Some(now);
        true
    }

    /// A content came from a contact, and had come before.
    pub(in crate::engine) fn came_again(&mut self, contact: ContactId) {
        let duplicates = &mut self.0.or_default(contact).duplicates;
        *duplicates = duplicates.saturating_add(1);
    }

    /// A record was applied: it may say that something came from a contact, or reached it, or that it was removed.
    pub(in crate::engine) fn on_record(&mut self, state: &State, record: &Record) {
        match record {
            Record::Received(ReceivedRecord::Delivered { contact, seen, .. }) => {
                self.seen(state, *contact, seen.received)
            }
            Record::Queue(QueueRecord::RecipientDelivered { contact, at, .. }) => self.seen(state, *contact, *at),
            record => record.removes().is_some_and(|contact| self.0.remove(&contact).is_some()),
        };
    }
}
