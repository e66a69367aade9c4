//! Names that say nothing of who has them: eight letters that can be pronounced.

use crate::base::Rng;

const CONSONANTS: &[u8; 16] = b"bdfghjklmnprstvz";
const VOWELS: &[u8; 4] = b"aiou";
const SYLLABLES: usize = 4;

/// A random name: four syllables of a consonant and a vowel, of which there are 16,777,216.
pub(super) fn random_name(rng: &mut dyn Rng) -> String {
    let mut letter = |letters: &[u8]| {
        let place = usize::try_from(rng.below(letters.len() as u64)).unwrap_or_default();
        char::from(letters.get(place).copied().unwrap_or(b'a'))
    };
    (0..SYLLABLES).flat_map(|_| [letter(CONSONANTS), letter(VOWELS)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::SeededRng;
    use crate::daemon::hosts::identity::local_part;
    use std::collections::BTreeSet;

    #[test]
    fn a_random_name_can_be_pronounced_and_is_another_one_each_time() {
        let mut rng = SeededRng::new(7);
        let names: BTreeSet<String> = (0..1000).map(|_| random_name(&mut rng)).collect();
        assert!(names.len() > 998);
        for name in names {
            local_part(&name).unwrap();
            let sound = name.bytes().enumerate().all(|(place, letter)| {
                if place % 2 == 0 { CONSONANTS.contains(&letter) } else { VOWELS.contains(&letter) }
            });
            assert!(name.len() == 8 && sound, "{name}");
        }
    }
}
