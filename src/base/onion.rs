//! The name of an onion service: an ed25519 public key and its `.onion` text form.

use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};
use sha3_checksum::checksum;
use std::fmt;
use std::str::FromStr;

use super::OnionSeed;

/// A version 3 onion name (rend-spec-v3, "Encoding onion addresses"): the service's ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Onion([u8; 32]);

/// Why a text is not an onion name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OnionError {
    /// Not 56 characters of base32 followed by `.onion`.
    #[error("an onion name is 56 letters and digits (a-z, 2-7) followed by .onion")]
    Form,
    /// A mistyped character: the built-in checksum does not match.
    #[error("the onion name is mistyped: its checksum does not match")]
    Checksum,
    /// Not version 3.
    #[error("the onion name is not of version 3")]
    Version,
}

const VERSION: u8 = 3;

impl Onion {
    /// The onion whose service key is this ed25519 public key.
    pub const fn from_public_key(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// The onion whose service key is made from this seed (RFC 8032 key expansion, as Tor does it).
    pub fn of_seed(seed: &OnionSeed) -> Self {
        Self(SigningKey::from_bytes(seed.expose()).verifying_key().to_bytes())
    }

    /// The ed25519 public key of the service.
    pub const fn public_key(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 56 base32 characters, without `.onion`.
    pub fn label(&self) -> String {
        let mut bytes = [0_u8; 35];
        let (key, rest) = bytes.split_at_mut(32);
        key.copy_from_slice(&self.0);
        let (sum, version) = rest.split_at_mut(2);
        sum.copy_from_slice(&checksum(&self.0, VERSION));
        version.copy_from_slice(&[VERSION]);
        data_encoding::BASE32_NOPAD.encode(&bytes).to_ascii_lowercase()
    }
}

mod sha3_checksum {
    use sha3::{Digest, Sha3_256};

    /// The two checksum bytes of an onion name.
    pub(super) fn checksum(key: &[u8; 32], version: u8) -> [u8; 2] {
        let digest =
            Sha3_256::new().chain_update(b".onion checksum").chain_update(key).chain_update([version]).finalize();
        let mut sum = [0; 2];
        for (to, from) in sum.iter_mut().zip(digest) {
            *to = from;
        }
        sum
    }
}

impl fmt::Display for Onion {
    /// `<56 characters>.onion`, in lower case.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.onion", self.label())
    }
}

impl fmt::Debug for Onion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Onion([redacted])")
    }
}

impl FromStr for Onion {
    type Err = OnionError;

    fn from_str(text: &str) -> Result<Self, OnionError> {
        let lower = text.to_ascii_lowercase();
        let label = lower.strip_suffix(".onion").ok_or(OnionError::Form)?;
        let bytes =
            data_encoding::BASE32_NOPAD.decode(label.to_ascii_uppercase().as_bytes()).map_err(|_| OnionError::Form)?;
        let bytes: [u8; 35] = bytes.try_into().map_err(|_| OnionError::Form)?;
        let (key, rest) = bytes.split_first_chunk::<32>().ok_or(OnionError::Form)?;
        let [first, second, version] = rest else { return Err(OnionError::Form) };
        if *version != VERSION {
            return Err(OnionError::Version);
        }
        if checksum(key, VERSION) != [*first, *second] {
            return Err(OnionError::Checksum);
        }
        Ok(Self(*key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_onion_of_a_seed_is_its_ed25519_public_key() {
        // RFC 8032 §7.1, test 1.
        let decode = |text: &[u8]| data_encoding::HEXLOWER.decode(text).unwrap().try_into().unwrap();
        let seed = OnionSeed::from_bytes(decode(b"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"));
        let public = decode(b"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        assert_eq!(Onion::of_seed(&seed), Onion::from_public_key(public));
    }

    #[test]
    fn a_well_known_onion_name_reads_and_a_typo_does_not() {
        let name = "duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion";
        let onion: Onion = name.parse().unwrap();
        assert_eq!(onion.to_string(), name);
        assert_eq!(name.to_uppercase().parse::<Onion>(), Ok(onion));
        assert_eq!(name.replace("gg42", "gg43").parse::<Onion>(), Err(OnionError::Checksum));
        assert_eq!("short.onion".parse::<Onion>(), Err(OnionError::Form));
    }
}
