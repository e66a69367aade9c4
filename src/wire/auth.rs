//! The authenticator of a SEND: proves to the receiver which contact sends, without naming anybody
//! (docs/protocol.md, "Authenticator").

use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use crate::base::{MacKey, Onion};

/// The value of `AUTH=`.
pub type Mac = [u8; 32];

/// The description of an object in a SEND, before the object itself is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// SHA-256 of the object.
    pub hash: [u8; 32],
    /// Its size in bytes.
    pub size: u64,
}

impl Claim {
    /// The claim that is true of this object.
    pub fn of(object: &[u8]) -> Self {
        Self { hash: digest(object), size: object.len() as u64 }
    }
}

const CONTEXT: &[u8] = b"RUNE/1 SEND\0";

/// SHA-256: the name of an object and of a certificate on the wire.
pub fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// HMAC-SHA-256 under the contact's key over context, recipient onion, object hash and size.
pub fn authenticator(key: &MacKey, recipient: Onion, claim: &Claim) -> Mac {
    let mut mac = keyed(key.expose());
    mac.update(CONTEXT);
    mac.update(recipient.public_key());
    mac.update(&claim.hash);
    mac.update(&claim.size.to_be_bytes());
    mac.finalize().into_bytes().into()
}

/// Whether the authenticator was made with this key; takes the same time either way.
pub fn verify(key: &MacKey, recipient: Onion, claim: &Claim, mac: &Mac) -> bool {
    authenticator(key, recipient, claim).ct_eq(mac).into()
}

pub(super) fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    // HMAC takes keys of any length; the block-sized form cannot fail and gives the same result, since RFC 2104
    // pads a shorter key with zeros.
    let mut block = [0_u8; 64];
    let (head, _) = block.split_at_mut(32);
    head.copy_from_slice(key);
    let mac = <Hmac<Sha256> as hmac::digest::KeyInit>::new(&block.into());
    zeroize::Zeroize::zeroize(&mut block);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_authenticated() {
        let (key, onion) = (MacKey::from_bytes([1; 32]), Onion::from_public_key([2; 32]));
        let claim = Claim::of(b"object");
        let mac = authenticator(&key, onion, &claim);
        assert!(verify(&key, onion, &claim, &mac));
        assert!(!verify(&MacKey::from_bytes([3; 32]), onion, &claim, &mac));
        assert!(!verify(&key, Onion::from_public_key([3; 32]), &claim, &mac));
        assert!(!verify(&key, onion, &Claim { size: 7, ..claim }, &mac));
        assert!(!verify(&key, onion, &Claim::of(b"objekt"), &mac));
        let mut bad = mac;
        bad[31] ^= 1;
        assert!(!verify(&key, onion, &claim, &bad));
    }
}
