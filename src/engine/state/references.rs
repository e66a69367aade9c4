//! How many messages and queue entries refer to each body: a body that nothing refers to any more may be given up.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::base::BodyId;

/// The references to bodies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::engine) struct References {
    counts: BTreeMap<BodyId, u32>,
}

impl References {
    /// One more reference to this body.
    pub(in crate::engine) fn add(&mut self, body: BodyId) {
        *self.counts.entry(body).or_default() += 1;
    }

    /// One reference less to this body; `true` if it was the last.
    pub(in crate::engine) fn release(&mut self, body: BodyId) -> bool {
        let Entry::Occupied(mut count) = self.counts.entry(body) else { return false };
        *count.get_mut() = count.get().saturating_sub(1);
        let last = *count.get() == 0;
        if last {
            count.remove();
        }
        last
    }

    /// Whether something refers to this body.
    pub(in crate::engine) fn contains(&self, body: BodyId) -> bool {
        self.counts.contains_key(&body)
    }

    /// Every body to which something refers.
    pub(in crate::engine) fn bodies(&self) -> impl Iterator<Item = BodyId> {
        self.counts.keys().copied()
    }
}
