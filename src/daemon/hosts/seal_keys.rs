//! The encryption keys of an identity in its key file: at most [`SEAL_KEYS`](limits::SEAL_KEYS), in a file that always has
//! the same length, so that a backup that is made meanwhile copies it whole.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::base::IdentityId;
use crate::base::limits;
use crate::control::Failure;
use crate::daemon::home::Home;
use crate::pgp::{SEAL_KEY_BYTES, SealKey};

/// Where the encryption keys of one identity are kept.
pub(in crate::daemon) struct SealKeyFile {
    pub(in crate::daemon) home: Arc<Home>,
    pub(in crate::daemon) id: IdentityId,
}

impl SealKeyFile {
    /// The keys that are kept, the oldest first; none where the file is damaged, or is another identity's.
    ///
    /// # Errors
    /// Where the file cannot be read now, or is of a later version.
    pub(in crate::daemon) fn read(&self) -> Result<Vec<SealKey>, Failure> {
        self.home.with_keyring(|keyring| match keyring.seal_keys(self.id) {
            Ok(bytes) => Ok(decode(&bytes)),
            Err(error) if error.is_damage() => {
                tracing::error!(%error, "the encryption keys of an identity cannot be read");
                Ok(Vec::new())
            }
            Err(error) => Err(error),
        })
    }

    /// Keeps these keys in the place of those that were kept before, durably.
    ///
    /// # Errors
    /// Errors of the disk.
    pub(in crate::daemon) fn write(&self, keys: &[SealKey]) -> Result<(), Failure> {
        self.home.with_keyring(|keyring| keyring.put_seal_keys(self.id, &encode(keys)))
    }
}

/// How many keys there are, the keys, zeros.
fn encode(keys: &[SealKey]) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(1 + limits::SEAL_KEYS * SEAL_KEY_BYTES));
    bytes.push(u8::try_from(keys.len()).unwrap_or(u8::MAX));
    keys.iter().for_each(|key| bytes.extend_from_slice(&*key.to_bytes()));
    bytes.resize(1 + limits::SEAL_KEYS * SEAL_KEY_BYTES, 0);
    bytes
}

fn decode(bytes: &[u8]) -> Vec<SealKey> {
    let Some((count, rest)) = bytes.split_first() else { return Vec::new() };
    rest.chunks_exact(SEAL_KEY_BYTES).take(usize::from(*count)).filter_map(SealKey::from_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::SeededRng;
    use crate::base::{Onion, OnionSeed, Timestamp};
    use crate::pgp;

    #[test]
    fn the_file_has_one_length_however_many_keys_there_are() {
        let onion = Onion::of_seed(&OnionSeed::from_bytes([1; 32]));
        let made = pgp::generate(Timestamp::from_secs(1_795_220_400), onion, &mut SeededRng::new(1)).unwrap();
        let (_, first) = made.keys.parted().unwrap();
        let (second, _) = made.keys.new_seal_key().unwrap();
        let keys = [first, vec![second]].concat();
        let length = encode(&[]).len();
        for count in 0..=2 {
            let bytes = encode(&keys[..count]);
            assert_eq!(bytes.len(), length);
            let read: Vec<_> = decode(&bytes).iter().map(SealKey::id).collect();
            assert_eq!(read, keys[..count].iter().map(SealKey::id).collect::<Vec<_>>());
        }
        assert!(decode(&[]).is_empty() && decode(&[9, 1, 2]).is_empty());
    }
}
