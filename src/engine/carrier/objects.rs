//! The memory of a carrier of each object and of each spent token, in as few bytes as it can: there may be 100,000 of
//! them in the memory of a small computer.

use super::record::{HeldObject, Spent};
use crate::base::{BodyId, ObjectId};
use crate::wire::token::{Class, Epoch, TokenHash};

/// The objects of one box, in the order of their names, which are random.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Objects(Vec<(ObjectId, Kept)>);

/// An object, under its name.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Kept {
    body: BodyId,
    day: Epoch,
    /// For how many days it is held.
    days: u8,
    class: Class,
    read: bool,
}

/// The spent tokens of one set, by their place in it, each with the object that spent it.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct SpentTokens(Vec<(u16, Brief)>);

/// The beginning of the SHA-256 of an object: enough to tell whether the same object is brought again. A sender that
/// finds another object with the same beginning deceives nobody else, because the token is the sender's own.
type Brief = [u8; 8];

impl Kept {
    fn of(object: &HeldObject) -> Option<Self> {
        let days = u8::try_from(object.until.saturating_sub(object.day)).unwrap_or(u8::MAX);
        let HeldObject { body, day, read, size, .. } = *object;
        Some(Self { body, day, days, class: Class::of(size)?, read })
    }

    fn named(&self, id: ObjectId) -> HeldObject {
        let Self { body, day, read, .. } = *self;
        HeldObject { id, body, size: self.class.bytes(), day, until: self.until(), read }
    }

    fn until(&self) -> Epoch {
        self.day.saturating_add(self.days.into())
    }
}

impl Objects {
    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = HeldObject> {
        self.0.iter().map(|(id, kept)| kept.named(*id))
    }

    pub(super) fn get(&self, id: ObjectId) -> Option<HeldObject> {
        self.0.get(self.place(id).ok()?).map(|(_, kept)| kept.named(id))
    }

    /// The objects that are no longer held on this day.
    pub(super) fn over(&self, day: Epoch) -> Vec<ObjectId> {
        self.0.iter().filter(|(_, kept)| kept.until() <= day).map(|(id, _)| *id).collect()
    }

    /// Keeps an object; `false` if it has no size that objects have.
    pub(super) fn put(&mut self, object: &HeldObject) -> bool {
        let Some(kept) = Kept::of(object) else { return false };
        self.take(object.id);
        let place = self.place(object.id).unwrap_or_else(|place| place);
        insert(&mut self.0, place, (object.id, kept));
        true
    }

    /// Marks an object as read or unread; `false` if it was so already.
    pub(super) fn mark(&mut self, id: ObjectId, read: bool) -> bool {
        let place = self.place(id).ok();
        let kept = place.and_then(|place| self.0.get_mut(place));
        kept.is_some_and(|(_, kept)| std::mem::replace(&mut kept.read, read) != read)
    }

    pub(super) fn take(&mut self, id: ObjectId) -> Option<HeldObject> {
        let (id, kept) = self.0.remove(self.place(id).ok()?);
        Some(kept.named(id))
    }

    fn place(&self, id: ObjectId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&id, |(id, _)| *id)
    }
}

impl SpentTokens {
    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the token at this place is spent, and if so, whether with this object.
    pub(super) fn with(&self, place: u16, hash: &[u8; 32]) -> Option<bool> {
        let at = self.place(place).ok()?;
        self.0.get(at).map(|(_, known)| *known == brief(hash))
    }

    pub(super) fn spend(&mut self, place: u16, hash: &[u8; 32]) {
        if let Err(at) = self.place(place) {
            insert(&mut self.0, at, (place, brief(hash)));
        }
    }

    /// The spent tokens for a checkpoint: of each hash only the part that is kept.
    pub(super) fn kept<'a>(&'a self, tokens: &'a [TokenHash]) -> impl Iterator<Item = Spent> + 'a {
        self.0.iter().filter_map(|(place, brief)| {
            let mut hash = [0; 32];
            hash.split_at_mut(brief.len()).0.copy_from_slice(brief);
            Some(Spent { token: *tokens.get(usize::from(*place))?, hash })
        })
    }

    fn place(&self, place: u16) -> Result<usize, usize> {
        self.0.binary_search_by_key(&place, |(place, _)| *place)
    }
}

/// Inserts; if that needs more memory, it takes a quarter more, and not twice as much.
fn insert<T>(all: &mut Vec<T>, place: usize, new: T) {
    if all.len() == all.capacity() {
        all.reserve_exact(all.len() / 4 + 4);
    }
    all.insert(place, new);
}

fn brief(hash: &[u8; 32]) -> Brief {
    hash.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_grow_by_a_quarter_and_seldom() {
        let (mut all, mut grown) = (Vec::new(), 0);
        for number in 0..10_000_usize {
            let before = all.capacity();
            insert(&mut all, number / 2, number);
            grown += usize::from(all.capacity() > before);
            assert!(all.capacity() <= all.len() + all.len() / 4 + 4, "{} for {}", all.capacity(), all.len());
        }
        assert!((20..60).contains(&grown), "{grown} times");
        assert_eq!((all[0], all[5000], all[9999], all.len()), (1, 9998, 0, 10_000));
    }

    #[test]
    fn a_token_is_spent_once_and_for_one_object() {
        let mut spent = SpentTokens::default();
        for place in [5, 1, 9, 1] {
            spent.spend(place, &[place as u8; 32]);
        }
        spent.spend(9, &[7; 32]);
        assert_eq!(spent.len(), 3);
        assert_eq!([1, 5, 9, 2].map(|place| spent.with(place, &[9; 32])), [Some(false), Some(false), Some(true), None]);
    }
}
