//! An encryption key by itself: kept apart from the other secrets of its identity, so that it can be destroyed
//! (docs/protocol.md, "Encryption keys").

use openpgp::packet::Key;
use openpgp::packet::key::{PublicParts, SubordinateRole};
use sequoia_openpgp as openpgp;
use zeroize::Zeroizing;

use crate::base::SealKeyId;

use super::opener::{HALVES, Opener, halves};

/// The octets of [`SealKey::to_bytes`]: the id (16), then both secret halves (96).
pub const SEAL_KEY_BYTES: usize = 16 + HALVES;

/// The secret half of one encryption key, with its id. Wiped when dropped.
#[derive(Clone)]
pub struct SealKey {
    id: SealKeyId,
    halves: Zeroizing<[u8; HALVES]>,
}

impl SealKey {
    /// The secret half of a subkey; `None` where it has none, or is of another algorithm.
    pub(super) fn of(subkey: &Key<PublicParts, SubordinateRole>) -> Option<Self> {
        let fingerprint = subkey.fingerprint();
        let id = SealKeyId::from_bytes(*fingerprint.as_bytes().first_chunk()?);
        let secret = subkey.clone().parts_into_secret().ok()?;
        Some(Self { id, halves: halves(&secret.role_into_unspecified())? })
    }

    /// Its name.
    pub const fn id(&self) -> SealKeyId {
        self.id
    }

    /// Reads what [`Self::to_bytes`] gave; `None` where it has another length.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (id, rest) = bytes.split_first_chunk::<16>()?;
        Some(Self { id: SealKeyId::from_bytes(*id), halves: Zeroizing::new(rest.try_into().ok()?) })
    }

    /// The key as bytes, not encrypted.
    pub fn to_bytes(&self) -> Zeroizing<[u8; SEAL_KEY_BYTES]> {
        let mut bytes = Zeroizing::new([0; SEAL_KEY_BYTES]);
        if let Some((id, rest)) = bytes.split_first_chunk_mut::<16>() {
            *id = *self.id.as_bytes();
            rest.copy_from_slice(&*self.halves);
        }
        bytes
    }

    pub(super) fn opener(&self) -> Option<Opener> {
        Opener::from_halves(&self.halves)
    }
}

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealKey([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use openpgp::parse::Parse;

    use super::super::testing::{NOW, alice, bob};
    use super::super::{OpenError, SecretKeys, open, seal};
    use super::*;

    /// Alice's keys without encryption keys, and the one that she has.
    fn parted() -> (SecretKeys, SealKey) {
        let (keys, mut seal_keys) = alice().keys().parted().unwrap();
        assert_eq!(seal_keys.len(), 1);
        (keys, seal_keys.remove(0))
    }

    #[test]
    fn keys_that_were_parted_open_nothing_until_they_are_together_again() {
        let (keys, seal_key) = parted();
        assert_eq!(keys.certificate(), alice().certificate());
        let object = seal(b"x", bob().keys(), alice().certificate(), NOW).unwrap();
        let from_disk = SecretKeys::from_bytes(&keys.to_bytes()).unwrap();
        for keys in [&keys, &from_disk] {
            assert_eq!(open(&object, keys, &bob().known(), NOW).unwrap_err(), OpenError::NotForUs);
            let seal_key = SealKey::from_bytes(&*seal_key.to_bytes()).unwrap();
            let whole = keys.with(&[seal_key], alice().certificate().bytes()).unwrap();
            assert!(open(&object, &whole, &bob().known(), NOW).unwrap().verified);
            let signed = seal(b"x", &whole, bob().certificate(), NOW).unwrap();
            assert!(open(&signed, bob().keys(), &alice().known(), NOW).unwrap().verified);
        }
        let secret = &seal_key.to_bytes()[16..];
        let bytes = keys.to_bytes();
        assert!(!bytes.windows(32).any(|window| window == &secret[..32]), "no half of it is left");
    }

    #[test]
    fn what_was_sealed_to_a_key_is_opened_by_that_key_alone() {
        let (keys, first) = parted();
        let (second, certificate) = keys.new_seal_key().unwrap();
        assert!(certificate != *alice().certificate() && first.id() != second.id());
        assert_eq!(certificate.fingerprint(), alice().fingerprint());
        let older = seal(b"older", bob().keys(), alice().certificate(), NOW).unwrap();
        let newer = seal(b"newer", bob().keys(), &certificate, NOW).unwrap();
        let opens = |seal_keys: &[SealKey], object: &[u8]| {
            let keys = keys.with(seal_keys, certificate.bytes()).unwrap();
            open(object, &keys, &bob().known(), NOW).is_ok()
        };
        let both = [second.clone(), first.clone()];
        assert!(opens(&both, &older) && opens(&both, &newer));
        assert!(!opens(std::slice::from_ref(&second), &older), "the older key is destroyed: nothing opens it any more");
        assert!(opens(&[second], &newer) && !opens(&[first], &newer));
    }

    #[test]
    fn a_certificate_has_one_encryption_key_and_no_date_of_its_own() {
        let (keys, first) = parted();
        let (second, certificate) = keys.new_seal_key().unwrap();
        let (third, again) = keys.with(&[second], certificate.bytes()).unwrap().new_seal_key().unwrap();
        assert_ne!(third.id(), first.id());
        assert_eq!(again.bytes().len(), alice().certificate().bytes().len());
        let cert = openpgp::cert::Cert::from_bytes(again.bytes()).unwrap();
        assert_eq!(cert.keys().subkeys().count(), 1);
        let created = cert.primary_key().key().creation_time();
        for packet in cert.into_packets() {
            match packet {
                openpgp::Packet::Signature(signature) => {
                    assert_eq!(signature.signature_creation_time(), Some(created));
                }
                openpgp::Packet::PublicSubkey(subkey) => assert_eq!(subkey.creation_time(), created),
                _ => {}
            }
        }
    }

    #[test]
    fn keys_do_not_take_the_certificate_of_somebody_else() {
        let (keys, seal_key) = parted();
        assert!(keys.with(&[seal_key], bob().certificate().bytes()).is_err());
        assert!(SealKey::from_bytes(&[0; SEAL_KEY_BYTES - 1]).is_none());
        assert!(SealKey::from_bytes(&[0; SEAL_KEY_BYTES + 1]).is_none());
    }
}
