//! Passphrases: the same whichever keyboard, editor or system wrote them, and how one becomes a key.

use std::borrow::Cow;

use argon2::{Algorithm, Argon2, Params, Version};
use icu_normalizer::ComposingNormalizerBorrowed;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::base::limits::{PASSPHRASE_LANES, PASSPHRASE_MEMORY_KIB, PASSPHRASE_PASSES};
use crate::base::{Rng, SymmetricKey};
use crate::store::codec::Fields;

/// What editors of some systems put before the first letter of a file.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// What the user types to unlock a node. Wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Passphrase {
    text: String,
    /// The text as it was given, where it is another one: earlier versions made keys of it.
    given: Option<String>,
}

impl Passphrase {
    /// The passphrase with this text, in the normal form NFC. A byte order mark at the beginning, and a line end that a
    /// prompt or a file left at the end, are no part of it.
    pub fn new(mut given: String) -> Self {
        let kept = given.trim_end_matches(['\r', '\n']).len();
        given.truncate(kept);
        let bare = given.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&given);
        let text = match ComposingNormalizerBorrowed::new_nfc().normalize(bare) {
            Cow::Borrowed(text) => text.to_owned(),
            Cow::Owned(text) => text,
        };
        if text == given {
            given.zeroize();
            return Self { text, given: None };
        }
        Self { text, given: Some(given) }
    }

    /// The passphrase of an earlier version: the text as it was given.
    #[cfg(test)]
    pub(in crate::store) const fn of_earlier_version(text: String) -> Self {
        Self { text, given: None }
    }

    /// Whether there is nothing in it.
    pub const fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The texts that may open what was locked with this passphrase, the likelier one first.
    fn texts(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.text.as_str()).chain(self.given.as_deref())
    }
}

impl PartialEq for Passphrase {
    /// Whether both are the same in normal form.
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Passphrase {}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase([redacted])")
    }
}

/// How a passphrase becomes a key: Argon2id with these parameters.
#[derive(Clone, Copy)]
pub(in crate::store) struct Stretching {
    pub(super) memory: u32,
    pub(super) passes: u32,
    pub(super) lanes: u32,
    pub(super) salt: [u8; 16],
}

impl Stretching {
    pub(in crate::store) fn new(rng: &mut dyn Rng) -> Self {
        // Tests need many nodes with a passphrase, so they stretch it less; the real cost is tested where it is read
        // back.
        let memory = if cfg!(test) { PASSPHRASE_MEMORY_KIB / 1024 } else { PASSPHRASE_MEMORY_KIB };
        let (passes, lanes) = (PASSPHRASE_PASSES, PASSPHRASE_LANES);
        Self { memory, passes, lanes, salt: rng.array() }
    }

    pub(in crate::store) fn encode(self, out: &mut Vec<u8>) {
        for parameter in [self.memory, self.passes, self.lanes] {
            out.extend_from_slice(&parameter.to_le_bytes());
        }
        out.extend_from_slice(&self.salt);
    }

    pub(in crate::store) fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        let (memory, passes, lanes) = (fields.u32()?, fields.u32()?, fields.u32()?);
        // Up to four times our own parameters are allowed; higher ones are not ours, and would only use up memory.
        let sane = memory <= 4 * PASSPHRASE_MEMORY_KIB && passes <= 4 * PASSPHRASE_PASSES && lanes <= 16;
        sane.then_some(())?;
        Some(Self { memory, passes, lanes, salt: fields.array()? })
    }

    /// The key that locks; `None` where the parameters are not allowed.
    pub(in crate::store) fn stretch(self, passphrase: &Passphrase) -> Option<SymmetricKey> {
        self.of_text(&passphrase.text)
    }

    /// What one of the keys that this passphrase may have become opens; `Some(None)` where none of them opens anything,
    /// and `None` where the parameters are not allowed. Each key takes some tenths of a second.
    pub(in crate::store) fn open<T>(
        self,
        passphrase: &Passphrase,
        open: impl Fn(&SymmetricKey) -> Option<T>,
    ) -> Option<Option<T>> {
        for text in passphrase.texts() {
            if let Some(opened) = open(&self.of_text(text)?) {
                return Some(Some(opened));
            }
        }
        Some(None)
    }

    pub(super) fn of_text(self, text: &str) -> Option<SymmetricKey> {
        let params = Params::new(self.memory, self.passes, self.lanes, Some(32)).ok()?;
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(text.as_bytes(), &self.salt, &mut *key)
            .ok()?;
        Some(SymmetricKey::from_bytes(*key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passphrase_is_the_same_whoever_wrote_it() {
        let composed = Passphrase::new("caf\u{e9} \u{fc}ber".to_owned());
        for given in ["cafe\u{301} u\u{308}ber", "\u{feff}caf\u{e9} \u{fc}ber\r\n", "caf\u{e9} \u{fc}ber\n"] {
            let read = Passphrase::new(given.to_owned());
            assert!(read == composed, "{given:?}");
            let kept = given.trim_end_matches(['\r', '\n']);
            let texts: Vec<&str> = read.texts().collect();
            // What earlier versions made a key of is tried second.
            let both = [composed.text.as_str(), kept];
            assert_eq!(texts, if kept == composed.text { &both[..1] } else { &both[..] }, "{given:?}");
        }
        assert!(Passphrase::new("\u{feff}".to_owned()).is_empty());
        assert!(Passphrase::new(" a".to_owned()) != Passphrase::new("a".to_owned()), "spaces count");
        assert_eq!(format!("{composed:?}"), "Passphrase([redacted])");
    }
}
