//! The secret half of an encryption key, ready to unwrap session keys.
//!
//! For every object the library would take both halves out of its protected memory and expand the ML-KEM key from its
//! seed: that was half of the time of opening a short one. Here they are expanded once, and wiped when dropped. How the
//! two shared secrets become one key is in docs/protocol.md, "Objects".

use ml_kem::kem::Decapsulate;
use ml_kem::{DecapsulationKey, MlKem768};
use openpgp::crypto::ecdh::aes_key_unwrap;
use openpgp::crypto::mem::Protected;
use openpgp::crypto::mpi;
use openpgp::packet::Key;
use openpgp::packet::key::{SecretKeyMaterial, SecretParts, UnspecifiedRole};
use openpgp::types::SymmetricAlgorithm;
use sequoia_openpgp as openpgp;
use sha3::{Digest, Sha3_256};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, Zeroizing};

use super::gate::{ALGORITHM_MLKEM768_X25519, Outer};

/// Separates this use of SHA3-256 from others; its last octet is the length of the other octets.
const DOMAIN: &[u8; 22] = b"OpenPGPCompositeKDFv1\x15";

/// The octets of both secret halves: the X25519 scalar (32), then the ML-KEM-768 seed (64).
pub(super) const HALVES: usize = 96;

/// The secret halves of a key; `None` where it has another algorithm, or is locked.
pub(super) fn halves(key: &Key<SecretParts, UnspecifiedRole>) -> Option<Zeroizing<[u8; HALVES]>> {
    let SecretKeyMaterial::Unencrypted(secret) = key.secret() else { return None };
    secret.map(|material| {
        let mpi::SecretKeyMaterial::MLKEM768_X25519 { ecdh, mlkem } = material else { return None };
        let mut halves = Zeroizing::new([0; HALVES]);
        let (scalar, seed) = halves.split_first_chunk_mut::<32>()?;
        *scalar = (**ecdh).try_into().ok()?;
        *<&mut [u8; 64]>::try_from(seed).ok()? = (**mlkem).try_into().ok()?;
        Some(halves)
    })
}

/// An ML-KEM-768+X25519 subkey.
pub(super) struct Opener {
    x25519: StaticSecret,
    x25519_public: PublicKey,
    ml_kem: Box<DecapsulationKey<MlKem768>>,
}

impl Opener {
    /// Expands the key; `None` where it has another algorithm, or is locked.
    pub(super) fn new(key: &Key<SecretParts, UnspecifiedRole>) -> Option<Self> {
        Self::from_halves(&*halves(key)?)
    }

    /// Expands the two halves that [`halves`] gave.
    pub(super) fn from_halves(halves: &[u8; HALVES]) -> Option<Self> {
        let (scalar, seed) = halves.split_first_chunk::<32>()?;
        let x25519 = StaticSecret::from(*scalar);
        let ml_kem = Box::new(DecapsulationKey::from_seed(seed.try_into().ok()?));
        Some(Self { x25519_public: PublicKey::from(&x25519), x25519, ml_kem })
    }

    /// The session key of an object; `None` where it was not wrapped for this subkey.
    pub(super) fn session_key(&self, object: &Outer<'_>) -> Option<Protected> {
        let x25519 = self.x25519.diffie_hellman(&PublicKey::from(*object.ecdh));
        let ml_kem = Zeroizing::new(<[u8; 32]>::from(self.ml_kem.decapsulate(object.mlkem.into())));
        let mut hash = Sha3_256::new()
            .chain_update(*ml_kem)
            .chain_update(x25519.as_bytes())
            .chain_update(object.ecdh)
            .chain_update(self.x25519_public.as_bytes())
            .chain_update([ALGORITHM_MLKEM768_X25519])
            .chain_update(DOMAIN)
            .finalize();
        let key_encryption_key = Protected::from(hash.as_slice());
        hash.zeroize();
        aes_key_unwrap(SymmetricAlgorithm::AES256, &key_encryption_key, object.wrapped).ok()
    }
}
