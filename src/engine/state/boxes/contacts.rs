//! The boxes of a contact, as its card names them, and which of their tokens we have used
//! (docs/protocol.md, "Drops in cards").

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::ids::Fingerprint;
use crate::base::limits;
use crate::base::{Onion, TokenSeed};
use crate::mail::CardBox;
use crate::wire::token::{Class, Epoch, Token, token};

/// One box of a contact.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactBox {
    /// The onion of its carrier.
    pub onion: Onion,
    /// The carrier's primary key.
    pub carrier: Fingerprint,
    /// The seed of our tokens.
    pub seed: TokenSeed,
    /// Tokens of each class in an epoch.
    pub classes: BTreeMap<u8, u32>,
    /// Days from one epoch with tokens to the next.
    pub every: u32,
}

impl ContactBox {
    /// A box as a card describes it; `None` if the description makes no sense.
    pub(in crate::engine) fn from_card(said: &CardBox) -> Option<Self> {
        let known = |(&class, &count): (&u8, &u32)| {
            Class::new(class)?;
            (1..=limits::TOKENS_OF_SET as u32).contains(&count).then_some((class, count))
        };
        let fits = (1..=limits::TOKENS_AFTER_DAYS).contains(&said.every);
        fits.then(|| Self {
            onion: said.onion,
            carrier: said.fingerprint,
            seed: said.seed.clone(),
            classes: said.classes.iter().filter_map(known).collect(),
            every: said.every,
        })
    }
}

impl fmt::Debug for ContactBox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContactBox").field("classes", &self.classes.len()).finish_non_exhaustive()
    }
}

/// About how many bytes an object has more than its content; the tags of its chunks add one byte in 200 besides.
const SEAL_BYTES: u64 = 2048;

/// The class of objects that a content of this size takes at most.
pub(in crate::engine) fn class_for(size: u64) -> Option<Class> {
    Class::that_holds(size.saturating_add(size / 200).saturating_add(SEAL_BYTES))
}

/// Which set a token is of: the box's carrier, the epoch, the class.
pub type SetOf = (Onion, Epoch, u8);

/// The place of a token in its set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenIndex {
    /// The epoch.
    pub epoch: Epoch,
    /// The number of the class.
    pub class: u8,
    /// Its number among the tokens of that epoch and class.
    pub number: u32,
}

/// All boxes of one contact.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoxesOf {
    pub(in crate::engine) boxes: Vec<ContactBox>,
    /// How many tokens of each set were used.
    pub(in crate::engine) used: BTreeMap<SetOf, u32>,
}

impl BoxesOf {
    /// The boxes.
    pub fn iter(&self) -> impl Iterator<Item = &ContactBox> {
        self.boxes.iter()
    }

    /// The box at this carrier.
    pub fn at(&self, onion: Onion) -> Option<&ContactBox> {
        self.boxes.iter().find(|named| named.onion == onion)
    }

    /// An unused token of this class: of the newest epoch that counts on this day. `None` if there is none.
    pub fn next_token(&self, onion: Onion, class: Class, today: Epoch) -> Option<(TokenIndex, Token)> {
        let named = self.at(onion)?;
        let count = *named.classes.get(&class.number())?;
        let newest = today / named.every * named.every;
        // A day less than the carrier takes tokens, because clocks differ.
        let counts = |epoch: &Epoch| epoch.saturating_add(limits::TOKENS_AFTER_DAYS) > today;
        let mut epochs =
            (0..).map_while(|back: u32| newest.checked_sub(back.checked_mul(named.every)?)).take_while(counts);
        epochs.find_map(|epoch| {
            let number = self.used.get(&(onion, epoch, class.number())).copied().unwrap_or(0);
            let place = TokenIndex { epoch, class: class.number(), number };
            (number < count).then(|| (place, token(&named.seed, epoch, class, number)))
        })
    }

    /// Where all tokens that fit a content of this size are used up on this day: the first day on which new ones count.
    /// `None` where one is left, and where no box has tokens for contents of this size.
    pub fn tokens_again(&self, size: u64, today: Epoch) -> Option<Epoch> {
        let class = class_for(size)?;
        let fitting = || self.iter().filter(|named| named.classes.contains_key(&class.number()));
        let next = |named: &ContactBox| (today / named.every * named.every).saturating_add(named.every);
        let left = fitting().any(|named| self.next_token(named.onion, class, today).is_some());
        fitting().map(next).min().filter(|_| !left)
    }

    /// A card names these boxes from now on. Tokens of a seed that were used stay used.
    pub(in crate::engine) fn set(&mut self, boxes: &[ContactBox]) {
        let known = |onion: Onion| boxes.iter().find(|named| named.onion == onion).map(|named| &named.seed);
        let kept: Vec<Onion> = self
            .boxes
            .iter()
            .filter(|old| known(old.onion).is_some_and(|seed| *seed == old.seed))
            .map(|old| old.onion)
            .collect();
        self.used.retain(|(onion, _, _), _| kept.contains(onion));
        self.boxes = boxes.to_vec();
    }

    /// Whether we know the box, and neither this token nor a later one of its set was used.
    pub(in crate::engine) fn is_unused(&self, onion: Onion, place: TokenIndex) -> bool {
        let TokenIndex { epoch, class, number } = place;
        self.at(onion).is_some() && self.used.get(&(onion, epoch, class)).is_none_or(|used| number >= *used)
    }

    /// Uses up a token that [`Self::is_unused`], and those before it.
    pub(in crate::engine) fn spend(&mut self, onion: Onion, place: TokenIndex) {
        let TokenIndex { epoch, class, number } = place;
        self.used.insert((onion, epoch, class), number.saturating_add(1));
        let over = |old: Epoch| old.saturating_add(limits::TOKENS_AFTER_DAYS + limits::TOKENS_AFTER_DAYS) < epoch;
        self.used.retain(|(_, old, _), _| !over(*old));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::OnionSeed;
    use crate::base::rng::SeededRng;

    #[test]
    fn a_content_is_left_in_the_class_that_has_room_for_its_seal_too() {
        // The largest sizes of each class: a two-hundredth more and 2 KiB fill it.
        for (size, class) in [
            (0, 12),
            (2038, 12),
            (14_265, 14),
            (63_173, 16),
            (258_802, 18),
            (1_041_322, 20),
            (4_171_399, 22),
            (16_691_710, 24),
        ] {
            assert_eq!(class_for(size).map(Class::number), Some(class), "{size}");
            let next = class_for(size + 1).map(Class::number);
            assert_eq!(next, if size == 0 { Some(12) } else { Some(class + 2).filter(|class| *class <= 24) }, "{size}");
        }
        assert_eq!(class_for(u64::MAX), None);
    }

    #[test]
    fn a_contact_whose_tokens_are_used_up_gets_new_ones_with_the_next_epoch() {
        let mut rng = SeededRng::new(1);
        let mut named = |classes: &[(u8, u32)], every| ContactBox {
            onion: Onion::of_seed(&OnionSeed::random(&mut rng)),
            carrier: Fingerprint::from_bytes([1; 32]),
            seed: TokenSeed::random(&mut rng),
            classes: classes.iter().copied().collect(),
            every,
        };
        let (weekly, daily, today) = (named(&[(12, 1), (14, 1)], 7), named(&[(12, 1)], 1), 7 * 3000 + 2);
        let mut of = BoxesOf { boxes: vec![weekly.clone(), daily], used: BTreeMap::new() };
        assert_eq!(of.tokens_again(1, today), None, "all are left");
        let spend_all = |of: &mut BoxesOf, size| {
            for named in of.boxes.clone() {
                let class = class_for(size).unwrap();
                while let Some((place, _)) = of.next_token(named.onion, class, today) {
                    of.spend(named.onion, place);
                }
            }
        };
        spend_all(&mut of, 1);
        assert_eq!(of.tokens_again(1, today), Some(today + 1), "of the box that gets new ones first");
        assert_eq!(of.tokens_again(10_000, today), None, "a larger class has some left");
        spend_all(&mut of, 10_000);
        assert_eq!(of.tokens_again(10_000, today), Some(7 * 3001), "the other box has no such tokens");
        assert_eq!(of.tokens_again(10_000, 7 * 3001), None, "they have come");
        assert_eq!(of.tokens_again(1_000_000, today), None, "no box ever has tokens for so much");
        assert_eq!(BoxesOf::default().tokens_again(1, today), None, "no box");
    }
}
