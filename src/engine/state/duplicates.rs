//! The contents that were received, so that each is taken once (docs/protocol.md, "Content").
//!
//! An entry is kept for 30 days, and as long as its content could still be accepted. Only the dates in the records
//! decide what is forgotten, so a replay forgets the same.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::ids::Fingerprint;
use crate::base::limits;
use crate::base::{ContentId, Timestamp};

use crate::engine::state::record::ContentKey;

type Key = (ContentId, Fingerprint, [u8; 32]);

/// A content that was taken: its id, its author, the hash of its payload, and until when it is remembered.
pub type Remembered = (ContentId, Fingerprint, [u8; 32], Timestamp);

/// The contents that were taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duplicates {
    until: BTreeMap<Key, Timestamp>,
    cleaned: Timestamp,
}

const fn key(seen: &ContentKey) -> Key {
    (seen.content, seen.author, seen.payload)
}

impl Duplicates {
    /// Whether this content was taken.
    pub fn contains(&self, seen: &ContentKey) -> bool {
        self.until.contains_key(&key(seen))
    }

    /// The authors of the contents, and when each content was received at the latest.
    pub(in crate::engine) fn received(&self) -> impl Iterator<Item = (Fingerprint, Timestamp)> {
        self.until.iter().map(|((_, author, _), until)| (*author, until.minus(limits::TOMBSTONE)))
    }

    /// How many contents are remembered.
    pub fn len(&self) -> usize {
        self.until.len()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.until.is_empty()
    }

    /// What is remembered, for a checkpoint.
    pub(in crate::engine) fn kept(&self) -> (Vec<Remembered>, Timestamp) {
        let contents = self.until.iter().map(|(&(content, author, payload), &until)| (content, author, payload, until));
        (contents.collect(), self.cleaned)
    }

    /// Puts back what a checkpoint kept.
    pub(in crate::engine) fn keep(&mut self, contents: &[Remembered], cleaned: Timestamp) {
        self.cleaned = cleaned;
        self.until
            .extend(contents.iter().map(|&(content, author, payload, until)| ((content, author, payload), until)));
    }

    pub(in crate::engine) fn remember(&mut self, seen: &ContentKey) {
        let today = seen.received.floor_to_day();
        if today != self.cleaned {
            self.cleaned = today;
            self.until.retain(|_, until| *until > today);
        }
        let until = seen.received.plus(limits::TOMBSTONE).max(seen.expires.plus(limits::EXPIRY_SKEW));
        self.until.insert(key(seen), until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn seen(content: u8, received: Timestamp) -> ContentKey {
        ContentKey {
            content: ContentId::from_bytes([content; 16]),
            author: Fingerprint::from_bytes([1; 32]),
            payload: [2; 32],
            received,
            expires: received.plus(5 * DAY),
        }
    }

    #[test]
    fn a_content_is_remembered_for_thirty_days_and_then_forgotten() {
        let start = Timestamp::from_secs(1_800_000_000);
        let mut duplicates = Duplicates::default();
        duplicates.remember(&seen(1, start));
        duplicates.remember(&seen(2, start.plus(29 * DAY)));
        assert!(duplicates.contains(&seen(1, start.plus(29 * DAY))));
        duplicates.remember(&seen(3, start.plus(32 * DAY)));
        assert!(!duplicates.contains(&seen(1, start)));
        assert_eq!(duplicates.len(), 2);
    }

    #[test]
    fn the_same_id_with_another_payload_or_author_is_another_content() {
        let mut duplicates = Duplicates::default();
        let first = seen(1, Timestamp::from_secs(1_800_000_000));
        duplicates.remember(&first);
        assert!(!duplicates.contains(&ContentKey { payload: [3; 32], ..first }));
        assert!(!duplicates.contains(&ContentKey { author: Fingerprint::from_bytes([9; 32]), ..first }));
    }
}
