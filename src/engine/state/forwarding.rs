//! Everything that the records say of forwarding: which objects we forward and for whom, which friends forward for us,
//! and the fates.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::limits;
use crate::base::{BodyId, ContactId, Onion, QueueId, Timestamp};
use crate::engine::state::State;
use crate::engine::state::book::ContactStatus;
use crate::engine::state::shards::Shards;
use crate::mail::{Address, Receipt};
use crate::wire::Mac;

/// SHA-256 of a sealed object.
pub type ObjectHash = [u8; 32];

/// An object that a contact gave us to forward.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forwarded {
    /// The contact that gave it.
    pub contact: ContactId,
    /// Its hash.
    pub object: ObjectHash,
    /// Where it goes.
    pub to: Address,
    /// Its bytes.
    pub body: BodyId,
    /// How many bytes it has.
    pub size: u32,
    /// The digest of the receiver's certificate to which it is sealed.
    pub certificate: Option<[u8; 32]>,
    /// The authenticator that shows the receiver who sends it.
    pub onward: Option<Mac>,
    /// Whether it is more urgent than others.
    pub important: bool,
    /// Until when we try.
    pub until: Timestamp,
}

impl fmt::Debug for Forwarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwarded").field("size", &self.size).finish_non_exhaustive()
    }
}

/// What became of a forwarded object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// The receiver's node has it.
    Delivered,
    /// The receiver's node refuses it for good.
    Refused,
    /// The receiver's node did not take it in time, or the friend can no longer read it.
    Expired,
}

/// A copy of a message of ours that we gave to a friend.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handed {
    /// The friend who got it.
    pub friend: ContactId,
    /// The message.
    pub queue: QueueId,
    /// The recipient.
    pub contact: ContactId,
    /// A secret that only a node which opened the copy can know.
    pub receipt: Receipt,
    /// What the friend says became of it.
    pub fate: Option<Fate>,
}

impl fmt::Debug for Handed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handed").field("fate", &self.fate).finish_non_exhaustive()
    }
}

/// What the records say of forwarding.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forwarding {
    /// Contacts for which we forward.
    allowed: Shards<ContactId, ()>,
    /// The friend who forwards, by recipient.
    chosen: Shards<ContactId, ContactId>,
    objects: Shards<(ContactId, ObjectHash), Arc<Forwarded>>,
    /// The fates that are to be told to contacts for which we forwarded.
    fates: Shards<ContactId, BTreeMap<ObjectHash, Fate>>,
    handed: Shards<ObjectHash, Handed>,
}

impl Forwarding {
    /// Whether we forward for a contact.
    pub fn allows(&self, contact: ContactId) -> bool {
        self.allowed.contains_key(&contact)
    }

    /// The friend who forwards to a contact.
    pub fn friend_for(&self, contact: ContactId) -> Option<ContactId> {
        self.chosen.get(&contact).copied()
    }

    /// The objects that we forward.
    pub fn objects(&self) -> impl Iterator<Item = &Arc<Forwarded>> {
        self.objects.values()
    }

    /// One object that we forward.
    pub fn object(&self, contact: ContactId, object: &ObjectHash) -> Option<&Arc<Forwarded>> {
        self.objects.get(&(contact, *object))
    }

    /// Whether we may forward so many more bytes for a contact.
    pub fn has_room(&self, contact: ContactId, size: u64) -> bool {
        let of_contact = self.objects.values().filter(|forwarded| forwarded.contact == contact);
        let (count, bytes) =
            of_contact.fold((0, 0_u64), |(n, bytes), forwarded| (n + 1, bytes.saturating_add(forwarded.size.into())));
        count < limits::LOADS_OF_CONTACT && bytes.saturating_add(size) <= limits::LOAD_BYTES_OF_CONTACT
    }

    /// The fates that are to be told to a contact for which we forwarded.
    pub fn fates(&self, contact: ContactId) -> impl Iterator<Item = (ObjectHash, Fate)> {
        self.fates.get(&contact).into_iter().flatten().map(|(object, fate)| (*object, *fate))
    }

    /// The contacts that are to be told of fates.
    pub fn owed(&self) -> impl Iterator<Item = ContactId> {
        self.fates.keys().copied()
    }

    /// The copies of a message for a recipient that friends got.
    pub fn handed(&self, queue: QueueId, contact: ContactId) -> impl Iterator<Item = &Handed> {
        self.handed.values().filter(move |handed| handed.queue == queue && handed.contact == contact)
    }

    /// Whether this friend got this copy and has not said what became of it.
    pub fn is_open(&self, friend: ContactId, object: &ObjectHash) -> bool {
        self.handed.get(object).is_some_and(|handed| handed.friend == friend && handed.fate.is_none())
    }

    /// Whether a friend says that a recipient's node has a message.
    pub fn says_delivered(&self, queue: QueueId, contact: ContactId) -> bool {
        self.handed(queue, contact).any(|handed| handed.fate == Some(Fate::Delivered))
    }

    // Changes by records. Each is `false` if it changes nothing.

    pub(in crate::engine) fn allow(&mut self, contact: ContactId, on: bool) -> bool {
        let before = self.allows(contact);
        if on && !before {
            self.allowed.insert(contact, ());
        } else if !on {
            self.allowed.remove(&contact);
        }
        before != on
    }

    pub(in crate::engine) fn choose(&mut self, contact: ContactId, friend: Option<ContactId>) -> bool {
        let before = match friend {
            Some(friend) => self.chosen.insert(contact, friend),
            None => self.chosen.remove(&contact),
        };
        before != friend
    }

    pub(in crate::engine) fn take(&mut self, forwarded: &Forwarded) -> bool {
        let fits = self.allows(forwarded.contact)
            && self.has_room(forwarded.contact, forwarded.size.into())
            && self.object(forwarded.contact, &forwarded.object).is_none();
        if fits {
            self.keep_forwarded(forwarded);
        }
        fits
    }

    /// An object is forwarded no further; gives its body.
    pub(in crate::engine) fn end(&mut self, contact: ContactId, object: &ObjectHash, fate: Fate) -> Option<BodyId> {
        let forwarded = self.objects.remove(&(contact, *object))?;
        if self.fates(contact).count() < limits::RECEIPTS_OWED {
            self.fates.or_default(contact).insert(*object, fate);
        }
        Some(forwarded.body)
    }

    /// A contact is to be told that an object which it may have left for us cannot be opened.
    pub(in crate::engine) fn owe(&mut self, contact: ContactId, object: ObjectHash) -> bool {
        let known = self.fates.get(&contact);
        let new = known.is_none_or(|fates| fates.len() < limits::RECEIPTS_OWED && !fates.contains_key(&object));
        if new {
            self.fates.or_default(contact).insert(object, Fate::Refused);
        }
        new
    }

    pub(in crate::engine) fn told(&mut self, contact: ContactId, objects: &[ObjectHash]) -> bool {
        if !self.fates(contact).any(|(object, _)| objects.contains(&object)) {
            return false;
        }
        let Some(fates) = self.fates.get_mut(&contact) else { return false };
        fates.retain(|object, _| !objects.contains(object));
        if fates.is_empty() {
            self.fates.remove(&contact);
        }
        true
    }

    pub(in crate::engine) fn hand_on(&mut self, object: ObjectHash, handed: &Handed) -> bool {
        let new = !self.handed.contains_key(&object);
        if new {
            self.handed.insert(object, handed.clone());
        }
        new
    }

    /// A friend says that it did not take a copy.
    pub(in crate::engine) fn not_handed(&mut self, receipt: &Receipt) {
        self.handed.retain(|_, handed| handed.receipt != *receipt);
    }

    /// A friend says what became of a copy; gives the copy, if that is news.
    pub(in crate::engine) fn hear(&mut self, friend: ContactId, object: &ObjectHash, fate: Fate) -> Option<Handed> {
        if !self.is_open(friend, object) {
            return None;
        }
        let handed = self.handed.get_mut(object)?;
        handed.fate = Some(fate);
        Some(handed.clone())
    }

    /// Copies of a message count for as long as its recipient waits for it.
    pub(in crate::engine) fn keep_handed(&mut self, queue: QueueId, waits: impl Fn(ContactId) -> bool) {
        self.handed.retain(|_, handed| handed.queue != queue || waits(handed.contact));
    }

    /// Whether a friend got a copy of a message.
    pub(in crate::engine) fn has_handed(&self, queue: QueueId) -> bool {
        self.handed.values().any(|handed| handed.queue == queue)
    }

    /// A contact is no longer in the book: the objects that we forward for it are given up. Gives their bodies.
    pub(in crate::engine) fn forget_contact(&mut self, contact: ContactId) -> Vec<BodyId> {
        self.allowed.remove(&contact);
        self.chosen.retain(|recipient, friend| *recipient != contact && *friend != contact);
        self.fates.remove(&contact);
        let gone: Vec<_> = self
            .objects
            .values()
            .filter(|forwarded| forwarded.contact == contact)
            .map(|forwarded| forwarded.body)
            .collect();
        self.objects.retain(|(giver, _), _| *giver != contact);
        gone
    }

    // Checkpoints.

    pub(in crate::engine) fn kept_switches(&self) -> (Vec<ContactId>, Vec<(ContactId, ContactId)>) {
        let chosen = self.chosen.iter().map(|(contact, friend)| (*contact, *friend)).collect();
        (self.allowed.keys().copied().collect(), chosen)
    }

    pub(in crate::engine) fn kept_fates(&self) -> Vec<(ContactId, ObjectHash, Fate)> {
        let of = |(contact, fates): (&ContactId, &BTreeMap<ObjectHash, Fate>)| {
            fates.iter().map(|(object, fate)| (*contact, *object, *fate)).collect::<Vec<_>>()
        };
        self.fates.iter().flat_map(of).collect()
    }

    pub(in crate::engine) fn kept_handed(&self) -> Vec<(ObjectHash, Handed)> {
        self.handed.iter().map(|(object, handed)| (*object, handed.clone())).collect()
    }

    pub(in crate::engine) fn keep_forwarded(&mut self, forwarded: &Forwarded) {
        self.objects.insert((forwarded.contact, forwarded.object), Arc::new(forwarded.clone()));
    }

    pub(in crate::engine) fn keep_fates(&mut self, fates: &[(ContactId, ObjectHash, Fate)]) {
        for (contact, object, fate) in fates {
            self.fates.or_default(*contact).insert(*object, *fate);
        }
    }

    pub(in crate::engine) fn keep_handed_on(&mut self, handed: &[(ObjectHash, Handed)]) {
        self.handed.extend(handed.iter().cloned());
    }
}

/// A line that says what became of an object: the hash in hexadecimal, a space, one of these words.
const FATES: [(Fate, &str); 3] =
    [(Fate::Delivered, "delivered"), (Fate::Refused, "refused"), (Fate::Expired, "expired")];

/// The line of a report (docs/protocol.md, "Carriage").
pub(in crate::engine) fn line(object: &ObjectHash, fate: Fate) -> String {
    let word = FATES.iter().find(|(known, _)| *known == fate).map_or("", |(_, word)| *word);
    format!("{} {word}\n", data_encoding::HEXLOWER.encode(object))
}

/// Reads a line of a report.
pub(in crate::engine) fn read_line(line: &str) -> Option<(ObjectHash, Fate)> {
    let (object, word) = line.split_once(' ')?;
    let object = data_encoding::HEXLOWER_PERMISSIVE.decode(object.as_bytes()).ok()?.try_into().ok()?;
    FATES.iter().find(|(_, known)| *known == word).map(|(fate, _)| (object, *fate))
}

/// The onion of the friend who forwards to a contact.
pub(in crate::engine) fn friend_onion(state: &State, contact: ContactId) -> Option<Onion> {
    let friend = state.book().contact(state.forwarding().friend_for(contact)?)?;
    (friend.status == ContactStatus::Confirmed).then(|| friend.address.onion())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_friend_who_has_a_copy_says_what_became_of_it_and_once() {
        let [friend, other, contact] = [1, 2, 3].map(|number| ContactId::from_bytes([number; 16]));
        let queue = QueueId::from_bytes([4; 16]);
        let mut forwarding = Forwarding::default();
        let handed = Handed { friend, queue, contact, receipt: [5; 32], fate: None };
        assert!(forwarding.hand_on([6; 32], &handed) && !forwarding.hand_on([6; 32], &handed));
        assert!(forwarding.hear(other, &[6; 32], Fate::Delivered).is_none());
        assert!(forwarding.hear(friend, &[7; 32], Fate::Delivered).is_none());
        assert!(!forwarding.says_delivered(queue, contact));
        assert!(forwarding.hear(friend, &[6; 32], Fate::Delivered).is_some());
        assert!(forwarding.hear(friend, &[6; 32], Fate::Refused).is_none());
        assert!(forwarding.says_delivered(queue, contact));
        forwarding.keep_handed(queue, |_| false);
        assert_eq!(forwarding, Forwarding::default());
    }

    #[test]
    fn for_one_contact_so_many_bytes_are_carried_and_no_more() {
        let [giver, other] = [1, 2].map(|number| ContactId::from_bytes([number; 16]));
        let mut forwarding = Forwarding::default();
        let size = 27 << 20;
        for number in 0..9 {
            forwarding.keep_forwarded(&Forwarded {
                contact: giver,
                object: [number; 32],
                to: format!("carol@{}", Onion::from_public_key([3; 32])).parse().unwrap(),
                body: BodyId::from_bytes([number; 16]),
                size,
                certificate: None,
                onward: None,
                important: false,
                until: Timestamp::from_secs(0),
            });
        }
        let left = limits::LOAD_BYTES_OF_CONTACT - 9 * u64::from(size);
        assert!(forwarding.has_room(giver, left) && !forwarding.has_room(giver, left + 1));
        assert!(forwarding.has_room(other, limits::LOAD_BYTES_OF_CONTACT));
    }
}
