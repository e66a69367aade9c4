//! Tokens: a contact shows one to leave an object in a box; the carrier knows tokens by their hashes (docs/protocol.md,
//! "Tokens").

use hmac::Mac as _;

use super::auth::{digest, keyed};
use crate::base::{Timestamp, TokenSeed};

/// A whole day since 1970-01-01T00:00Z.
pub type Epoch = u32;

/// The bytes that a depositor shows.
pub type Token = [u8; 32];

/// The SHA-256 of a token, by which a carrier knows it.
pub type TokenHash = [u8; 32];

const CONTEXT: &[u8] = b"RUNE/1 token\0";
const SECONDS_OF_DAY: i64 = 24 * 3600;

/// The size of the objects that a token admits: 2^k octets, one of the sizes for which there are tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class(u8);

impl Class {
    /// All classes, the smallest first.
    pub const ALL: [Self; 7] = [Self(12), Self(14), Self(16), Self(18), Self(20), Self(22), Self(24)];

    /// The class with this number; `None` where no class has it.
    pub fn new(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.0 == number)
    }

    /// The class of objects of exactly this size; `None` where there is none.
    pub fn of(size: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.bytes() == size)
    }

    /// The smallest class into which an object of this size fits; `None` where it is too large for every class.
    pub fn that_holds(size: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.bytes() >= size)
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The size of its objects, in bytes.
    pub const fn bytes(self) -> u64 {
        1 << self.0
    }
}

/// The epoch of a moment; 0 before 1970.
pub fn epoch(now: Timestamp) -> Epoch {
    Epoch::try_from(now.secs().div_euclid(SECONDS_OF_DAY)).unwrap_or(0)
}

/// When an epoch begins.
pub fn begin_of(epoch: Epoch) -> Timestamp {
    Timestamp::from_secs(i64::from(epoch) * SECONDS_OF_DAY)
}

/// One token: HMAC-SHA-256 under the seed over context, epoch, class and number.
pub fn token(seed: &TokenSeed, epoch: Epoch, class: Class, number: u32) -> Token {
    let mut mac = keyed(seed.expose());
    mac.update(CONTEXT);
    mac.update(&epoch.to_be_bytes());
    mac.update(&[class.0]);
    mac.update(&number.to_be_bytes());
    mac.finalize().into_bytes().into()
}

/// The hash by which the carrier knows a token.
pub fn hash_of(token: &Token) -> TokenHash {
    digest(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_in_everything_that_makes_them() {
        let (seed, class) = (TokenSeed::from_bytes([7; 32]), Class::ALL[1]);
        let first = token(&seed, 20_000, class, 0);
        assert_eq!(first, token(&seed, 20_000, class, 0));
        for other in [
            token(&TokenSeed::from_bytes([8; 32]), 20_000, class, 0),
            token(&seed, 20_001, class, 0),
            token(&seed, 20_000, Class::ALL[2], 0),
            token(&seed, 20_000, class, 1),
            hash_of(&first),
        ] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn classes_are_sizes_of_objects() {
        assert_eq!(Class::of(4096), Class::new(12));
        assert_eq!(Class::of(2 << 20), None);
        assert_eq!(Class::that_holds(2 << 20), Class::new(22));
        assert_eq!(Class::that_holds(0), Class::new(12));
        assert_eq!(Class::that_holds((16 << 20) + 1), None);
        assert_eq!(Class::new(13), None);
    }

    #[test]
    fn an_epoch_is_a_day() {
        assert_eq!(epoch(begin_of(20_783)), 20_783);
        assert_eq!(epoch(Timestamp::from_millis(begin_of(20_783).millis() - 1)), 20_782);
        assert_eq!(epoch(Timestamp::from_secs(-1)), 0);
    }

    #[test]
    fn an_object_goes_into_the_smallest_class_that_holds_it() {
        let mut larger = Class::ALL.into_iter().skip(1);
        for class in Class::ALL {
            assert_eq!((Class::of(class.bytes()), Class::that_holds(class.bytes())), (Some(class), Some(class)));
            assert_eq!((Class::of(class.bytes() + 1), Class::of(class.bytes() - 1)), (None, None));
            assert_eq!(Class::that_holds(class.bytes() - 1), Some(class));
            assert_eq!(Class::that_holds(class.bytes() + 1), larger.next());
        }
    }
}
