//! A map that readers and the machine share: a clone shares everything, and a change copies a small part of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::ids::Fingerprint;
use crate::base::{BodyId, BoxId, ContactId, InvitationId, Onion, QueueId};

/// A key of [`Shards`].
pub trait ShardKey: Ord + Clone {
    /// The shard of this key. A greater key is never in a lower shard.
    fn shard(&self) -> u8;
}

macro_rules! by_first_octet {
    ($( $key:ty ),*) => {
        $( impl ShardKey for $key {
            fn shard(&self) -> u8 {
                self.as_bytes().first().copied().unwrap_or_default()
            }
        } )*
    };
}
by_first_octet!(BodyId, BoxId, ContactId, InvitationId, QueueId, Fingerprint);

impl ShardKey for Onion {
    fn shard(&self) -> u8 {
        let [first, ..] = *self.public_key();
        first
    }
}

impl ShardKey for [u8; 32] {
    fn shard(&self) -> u8 {
        let [first, ..] = *self;
        first
    }
}

/// The first key of the pair decides, so that a range with one first key is in one shard.
impl<A: ShardKey, B: Ord + Clone> ShardKey for (A, B) {
    fn shard(&self) -> u8 {
        self.0.shard()
    }
}

/// An ordered map in up to 256 shards. A clone costs nothing; the first change after it copies the list of the shards
/// and the one shard that is changed. A call that changes nothing copies nothing.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(
    serialize = "K: Ord + Serialize, V: Serialize",
    deserialize = "K: Ord + Deserialize<'de>, V: Deserialize<'de>"
))]
pub struct Shards<K, V>(Arc<BTreeMap<u8, Arc<BTreeMap<K, V>>>>);

impl<K, V> Default for Shards<K, V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: ShardKey, V> fmt::Debug for Shards<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shards").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl<K: ShardKey, V> Shards<K, V> {
    /// The value of this key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.0.get(&key.shard())?.get(key)
    }

    /// Whether the key is there.
    pub fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// All keys and their values, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.values().flat_map(|shard| shard.iter())
    }

    /// All keys, in their order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// All values, in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// The keys between these, in their order.
    pub fn range(&self, keys: RangeInclusive<K>) -> impl Iterator<Item = (&K, &V)> {
        let shards = self.0.range(keys.start().shard()..=keys.end().shard());
        shards.flat_map(move |(_, shard)| shard.range(keys.clone()))
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.0.values().map(|shard| shard.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K: ShardKey, V: Clone> Shards<K, V> {
    fn shard(&mut self, number: u8) -> &mut BTreeMap<K, V> {
        Arc::make_mut(Arc::make_mut(&mut self.0).entry(number).or_default())
    }

    /// The value of this key, to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        if !self.contains_key(key) {
            return None;
        }
        self.shard(key.shard()).get_mut(key)
    }

    /// The value of this key, to be changed; a default is put there if it is missing.
    pub fn or_default(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        self.shard(key.shard()).entry(key).or_default()
    }

    /// Puts a value there; gives the value that was there before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.shard(key.shard()).insert(key, value)
    }

    /// Takes a key out; gives its value.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        if !self.contains_key(key) {
            return None;
        }
        let number = key.shard();
        let shard = self.shard(number);
        let removed = shard.remove(key);
        if shard.is_empty() {
            Arc::make_mut(&mut self.0).remove(&number);
        }
        removed
    }

    /// Takes out all entries that are not wanted; a shard without any of them is not copied.
    pub fn retain(&mut self, wanted: impl Fn(&K, &V) -> bool) {
        let unwanted: BTreeSet<K> =
            self.iter().filter(|(key, value)| !wanted(key, value)).map(|(key, _)| key.clone()).collect();
        for key in &unwanted {
            self.remove(key);
        }
    }

    /// All values, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        Arc::make_mut(&mut self.0).values_mut().flat_map(|shard| Arc::make_mut(shard).values_mut())
    }
}

impl<K: ShardKey, V: Clone> Extend<(K, V)> for Shards<K, V> {
    fn extend<T: IntoIterator<Item = (K, V)>>(&mut self, entries: T) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(number: u16) -> QueueId {
        let [high, low] = number.to_be_bytes();
        QueueId::from_bytes([high, low, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    }

    proptest! {
        #[test]
        fn it_is_a_map_and_a_clone_of_before_stays_as_it_was(
            changes in prop::collection::vec((any::<u16>(), 0..4_u8), 0..200)
        ) {
            let (mut shards, mut map) = (Shards::default(), BTreeMap::new());
            for (number, what) in changes {
                let (before, was) = (shards.clone(), map.clone());
                let (key, range) = (key(number % 600), key(number / 2 % 300)..=key(300 + number % 300));
                match what {
                    0 | 1 => prop_assert_eq!(shards.insert(key, number), map.insert(key, number)),
                    2 => prop_assert_eq!(shards.remove(&key), map.remove(&key)),
                    _ => {
                        shards.retain(|_, value| value % 7 != number % 7);
                        map.retain(|_, value| *value % 7 != number % 7);
                    }
                }
                if let Some(value) = shards.get_mut(&key) {
                    *value = value.wrapping_add(1);
                    map.entry(key).and_modify(|value| *value = value.wrapping_add(1));
                }
                prop_assert!(shards.iter().eq(map.iter()));
                prop_assert!(before.iter().eq(was.iter()));
                prop_assert_eq!((shards.len(), shards.is_empty()), (map.len(), map.is_empty()));
                prop_assert!(shards.range(range.clone()).eq(map.range(range)));
            }
        }
    }

    /// The shards that two maps do not share.
    fn copied<V>(one: &Shards<QueueId, V>, other: &Shards<QueueId, V>) -> usize {
        one.0.iter().filter(|(number, shard)| other.0.get(number).is_none_or(|same| !Arc::ptr_eq(shard, same))).count()
    }

    #[test]
    fn a_change_copies_one_shard_and_what_changes_nothing_copies_none() {
        let mut shards = Shards::default();
        shards.extend((0..u16::MAX).step_by(16).map(|number| (key(number), number)));
        let before = shards.clone();
        assert!(shards.remove(&key(1)).is_none() && shards.get_mut(&key(1)).is_none());
        shards.retain(|_, _| true);
        assert!(Arc::ptr_eq(&shards.0, &before.0));
        shards.insert(key(1), 1);
        assert_eq!(copied(&shards, &before), 1);
        shards.remove(&key(0x7010));
        assert_eq!((copied(&shards, &before), shards.0.len()), (2, 256));
    }
}
