//! The encryption keys of an identity as a value: which one its contacts seal to, and since when each of the older ones is
//! replaced (docs/protocol.md, "Encryption keys"). The secret halves are not here.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::{SealKeyId, Timestamp};

/// An encryption key of ours whose secret half is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownKey {
    /// Its name.
    pub id: SealKeyId,
    /// Since when our certificate has it.
    pub since: Timestamp,
    /// Since when our certificate has another one.
    pub replaced: Option<Timestamp>,
}

/// The encryption keys, the oldest first. A clone shares all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealKeys {
    keys: Arc<Vec<KnownKey>>,
}

impl SealKeys {
    /// The key that our certificate has; `None` for an identity that an earlier version made, until its first renewal.
    pub fn current(&self) -> Option<&KnownKey> {
        self.keys.last().filter(|key| key.replaced.is_none())
    }

    /// All keys that are held, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &KnownKey> {
        self.keys.iter()
    }

    /// Our certificate has this key from now on. Nothing happens if the key is known.
    pub(in crate::engine) fn renew(&mut self, id: SealKeyId, at: Timestamp) -> bool {
        if self.keys.iter().any(|key| key.id == id) {
            return false;
        }
        let keys = Arc::make_mut(&mut self.keys);
        for key in keys.iter_mut() {
            // A moment that lies ahead was noted under a clock that was wrong.
            key.replaced = Some(key.replaced.map_or(at, |replaced| replaced.min(at)));
        }
        keys.push(KnownKey { id, since: at, replaced: None });
        true
    }

    /// The secret halves of these keys are there, though no record names them.
    pub(in crate::engine) fn found(&mut self, ids: &[SealKeyId], at: Timestamp) -> bool {
        let new: Vec<_> = ids.iter().filter(|id| !self.keys.iter().any(|key| key.id == **id)).collect();
        let old = new.iter().map(|id| KnownKey { id: **id, since: at, replaced: Some(at) });
        // The present key stays the last.
        Arc::make_mut(&mut self.keys).splice(..0, old);
        !new.is_empty()
    }

    /// The log was put back from a backup, or repaired: contacts may seal to a key that came later, so another one is due.
    pub(in crate::engine) fn distrust(&mut self) {
        if let Some(key) = Arc::make_mut(&mut self.keys).last_mut() {
            key.since = Timestamp::default();
        }
    }

    /// The secret halves of these keys are destroyed.
    pub(in crate::engine) fn destroyed(&mut self, ids: &[SealKeyId]) -> bool {
        let before = self.keys.len();
        Arc::make_mut(&mut self.keys).retain(|key| !ids.contains(&key.id));
        self.keys.len() < before
    }

    /// The keys as a checkpoint keeps them.
    pub(in crate::engine) fn kept(&self) -> Vec<KnownKey> {
        self.keys.to_vec()
    }

    /// Puts back what [`Self::kept`] gave.
    pub(in crate::engine) fn keep(&mut self, keys: &[KnownKey]) {
        self.keys = Arc::new(keys.to_vec());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn key(number: u8) -> SealKeyId {
        SealKeyId::from_bytes([number; 16])
    }

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(seconds)
    }

    #[test]
    fn one_key_is_current_and_the_others_are_replaced() {
        let mut keys = SealKeys::default();
        assert!(keys.current().is_none());
        assert!(keys.renew(key(1), at(10)) && keys.renew(key(2), at(20)) && keys.renew(key(3), at(30)));
        assert!(!keys.renew(key(2), at(40)), "it is known");
        assert_eq!(keys.current().unwrap().id, key(3));
        let replaced: Vec<_> = keys.iter().map(|key| key.replaced).collect();
        assert_eq!(replaced, [Some(at(20)), Some(at(30)), None]);
        assert!(keys.destroyed(&[key(1), key(9)]) && !keys.destroyed(&[key(9)]));
        assert_eq!(keys.iter().map(|key| key.id).collect::<Vec<_>>(), [key(2), key(3)]);
    }

    #[test]
    fn a_key_that_no_record_names_is_never_the_present_one() {
        let mut keys = SealKeys::default();
        assert!(keys.found(&[key(7)], at(5)) && !keys.found(&[key(7)], at(6)));
        assert!(keys.current().is_none());
        assert!(keys.renew(key(1), at(10)) && keys.found(&[key(8), key(1)], at(20)));
        assert_eq!(keys.current().unwrap().id, key(1));
        let replaced: Vec<_> = keys.iter().map(|key| key.replaced).collect();
        assert_eq!(replaced, [Some(at(20)), Some(at(5)), None]);
    }

    #[test]
    fn a_clock_that_ran_ahead_keeps_no_key_for_longer() {
        let mut keys = SealKeys::default();
        for (number, seconds) in [(1, 10), (2, 9000), (3, 20)] {
            assert!(keys.renew(key(number), at(seconds)));
        }
        let replaced: Vec<_> = keys.iter().map(|key| key.replaced).collect();
        assert_eq!(replaced, [Some(at(20)), Some(at(20)), None]);
    }
}
