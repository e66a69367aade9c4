//! The verification number of two identities: both see the same one, and compare it (docs/protocol.md, "Verification").
//!
//! It covers nothing but what an address book pins for ever: the onions and the primary keys of both.

use std::fmt;

use sha2::{Digest, Sha512};

use crate::base::Onion;
use crate::base::ids::Fingerprint;

const LABEL: &[u8] = b"RUNE/1 verification";
/// How many hashes one number costs: a tenth of a second at most for the two who compare, and as much for each try of
/// somebody who looks for keys that lead to a wanted number.
const ROUNDS: u32 = 1 << 16;
const GROUPS: usize = 8;
/// How many octets of the hash make a group.
const OCTETS: usize = 5;
const PER_GROUP: u64 = 100_000;

/// What two people compare: eight groups of five digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerificationNumber([u32; GROUPS]);

impl VerificationNumber {
    /// The number of two identities, given as the onion and the fingerprint of each. Their order has no effect. Takes tens
    /// of milliseconds.
    pub fn of(one: (Onion, &Fingerprint), other: (Onion, &Fingerprint)) -> Self {
        let mut sides =
            [one, other].map(|(onion, fingerprint)| [*onion.public_key(), *fingerprint.as_bytes()].concat());
        sides.sort_unstable();
        let both = sides.concat();
        let mut hash = Sha512::new().chain_update(LABEL).chain_update(&both).finalize();
        for _ in 1..ROUNDS {
            hash = Sha512::new().chain_update(hash).chain_update(&both).finalize();
        }
        let mut groups = [0; GROUPS];
        for (group, octets) in groups.iter_mut().zip(hash.chunks_exact(OCTETS)) {
            let number = octets.iter().fold(0_u64, |number, octet| (number << 8) | u64::from(*octet));
            *group = u32::try_from(number % PER_GROUP).unwrap_or_default();
        }
        Self(groups)
    }
}

impl fmt::Display for VerificationNumber {
    /// The groups, with a space between them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, group) in self.0.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{group:05}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(onion: u8, key: u8) -> (Onion, Fingerprint) {
        (Onion::from_public_key([onion; 32]), Fingerprint::from_bytes([key; 32]))
    }

    fn number(one: (u8, u8), other: (u8, u8)) -> String {
        let (one, other) = (side(one.0, one.1), side(other.0, other.1));
        VerificationNumber::of((one.0, &one.1), (other.0, &other.1)).to_string()
    }

    #[test]
    fn both_sides_see_the_same_eight_groups_of_five_digits() {
        let alice = number((1, 2), (3, 4));
        assert_eq!(alice, number((3, 4), (1, 2)));
        let groups: Vec<&str> = alice.split(' ').collect();
        assert_eq!(groups.len(), 8);
        assert!(groups.iter().all(|group| group.len() == 5 && group.bytes().all(|digit| digit.is_ascii_digit())));
    }

    #[test]
    fn another_onion_or_key_of_either_side_gives_another_number() {
        let all = [
            ((1, 2), (3, 4)),
            ((9, 2), (3, 4)),
            ((1, 9), (3, 4)),
            ((1, 2), (9, 4)),
            ((1, 2), (3, 9)),
            ((1, 4), (3, 2)),
        ];
        let numbers: std::collections::BTreeSet<String> = all.iter().map(|(one, other)| number(*one, *other)).collect();
        assert_eq!(numbers.len(), all.len());
    }
}
