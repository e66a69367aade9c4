//! The memory of the room that leaves mail in boxes and collects it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Calendar, Known};
use crate::base::{ContentId, DropId, InvitationId, ObjectId, Onion, QueueId};

/// What is remembered of boxes, ours and those of contacts.
pub(in super::super) struct Boxes {
    pub(in super::super) calendar: Calendar,
    /// How the last check of each box of ours went.
    pub(in super::super) checks: BTreeMap<DropId, Known>,
    /// The beginning of an object at a box whose rest did not come.
    pub(in super::super) partly_fetched: BTreeMap<DropId, (ObjectId, Vec<u8>)>,
    /// Messages that fit no token.
    pub(in super::super) too_large_for_drops: BTreeSet<QueueId>,
    /// Messages that a friend did not take, or that cannot be given to one: others come first.
    pub(in super::super) refused_by_friend: BTreeSet<QueueId>,
    /// Messages that could not be left at a box when they were to be: others come first there.
    pub(in super::super) unplaced: BTreeSet<(Onion, QueueId)>,
    /// Cards of ours that carriers hold.
    pub(in super::super) left_cards: BTreeSet<(Onion, ContentId)>,
    /// Pages of ours that carriers have, since the start.
    pub(in super::super) posted_pages: BTreeSet<(DropId, InvitationId)>,
    /// Contacts are being given seats.
    pub(in super::super) seating: bool,
}

impl Boxes {
    pub(in super::super) const fn new(calendar: Calendar) -> Self {
        Self {
            calendar,
            checks: BTreeMap::new(),
            partly_fetched: BTreeMap::new(),
            too_large_for_drops: BTreeSet::new(),
            refused_by_friend: BTreeSet::new(),
            unplaced: BTreeSet::new(),
            left_cards: BTreeSet::new(),
            posted_pages: BTreeSet::new(),
            seating: false,
        }
    }
}
