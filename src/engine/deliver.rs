//! The room that delivers: what waits for whom, when it is tried, and what its sender hears.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::{BodyId, ContactId, QueueId};

use super::drops::Batch;
use super::schedule::Schedule;
use super::submission::Ends;

/// The memory of delivery.
pub(super) struct Deliver {
    pub(super) schedule: Schedule,
    /// Messages of which a commit is about to say that they did not reach somebody.
    pub(super) taking_back: BTreeSet<(ContactId, QueueId)>,
    /// The ends of the messages that wait, by which copies of them are known again.
    pub(super) ends: Ends,
    /// Damaged messages of which the user was told.
    pub(super) told_damaged: BTreeSet<BodyId>,
    /// Receipts on their way to their authors.
    pub(super) returning: BTreeMap<ContactId, Batch>,
}

impl Deliver {
    pub(super) fn new(schedule: Schedule) -> Self {
        Self {
            schedule,
            taking_back: BTreeSet::new(),
            ends: Ends::default(),
            told_damaged: BTreeSet::new(),
            returning: BTreeMap::new(),
        }
    }
}
