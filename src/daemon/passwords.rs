//! Application passwords: made by us with 128 random bits, kept as Argon2id only, shown once.
//!
//! A mail program logs in with every connection, so a password that was verified once in this run is recognised
//! afterwards by a keyed hash that lives in memory only.

use std::collections::BTreeSet;
use std::sync::Mutex;

use argon2::password_hash::{PasswordHash, SaltString};
use argon2::{Argon2, Params, PasswordHasher, PasswordVerifier};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::base::Rng;
use crate::store::OsRng;

/// Memory of one hash, in KiB. The passwords are random, so this guards against a weak generator, not
/// against dictionaries; a small figure keeps the idle daemon small.
const MEMORY_KIB: u32 = 8 * 1024;
const PASSES: u32 = 3;
/// Verified passwords that are remembered at a time.
const REMEMBERED: usize = 1000;

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).unwrap_or_default();
    Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
}

/// A new password: 26 lower-case letters and digits in groups, easy to type.
pub(super) fn generate() -> Zeroizing<String> {
    let bytes: Zeroizing<[u8; 16]> = Zeroizing::new((&mut OsRng as &mut dyn Rng).array());
    let text = Zeroizing::new(data_encoding::BASE32_NOPAD.encode(bytes.as_ref()).to_ascii_lowercase());
    let mut grouped = Zeroizing::new(String::with_capacity(32));
    for (place, character) in text.chars().enumerate() {
        if place > 0 && place % 5 == 0 {
            grouped.push('-');
        }
        grouped.push(character);
    }
    grouped
}

/// The Argon2id hash of a password in PHC form; `None` where the hash cannot be computed.
pub(super) fn hash(password: &str) -> Option<String> {
    let salt: [u8; 16] = (&mut OsRng as &mut dyn Rng).array();
    let salt = SaltString::encode_b64(&salt).ok()?;
    Some(argon2().hash_password(password.as_bytes(), &salt).ok()?.to_string())
}

/// Recognises passwords that were verified before.
pub(super) struct Verifier {
    key: [u8; 32],
    known: Mutex<BTreeSet<[u8; 32]>>,
}

impl Verifier {
    pub(super) fn new() -> Self {
        Self { key: (&mut OsRng as &mut dyn Rng).array(), known: Mutex::new(BTreeSet::new()) }
    }

    /// Whether the password has one of these hashes. Takes some 30 ms for one that was not seen before, also where
    /// there is no hash to compare with: the time does not tell which users exist.
    pub(super) fn verify(&self, password: &str, hashes: &[String]) -> bool {
        if hashes.is_empty() {
            // Only its time matters.
            let _ = hash(password);
        }
        hashes.iter().any(|hash| self.verify_one(password, hash))
    }

    fn verify_one(&self, password: &str, hash: &str) -> bool {
        let tag = self.tag(password, hash);
        if self.known.lock().is_ok_and(|known| known.contains(&tag)) {
            return true;
        }
        let Ok(parsed) = PasswordHash::new(hash) else { return false };
        if argon2().verify_password(password.as_bytes(), &parsed).is_err() {
            return false;
        }
        if let Ok(mut known) = self.known.lock() {
            if known.len() >= REMEMBERED {
                known.clear();
            }
            known.insert(tag);
        }
        true
    }

    fn tag(&self, password: &str, hash: &str) -> [u8; 32] {
        // The hash is part of the tag, so that a revoked password is not recognised: its hash is not asked for.
        let tag = Sha256::new().chain_update(self.key).chain_update(hash).chain_update([0]).chain_update(password);
        tag.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_verifies_against_its_hash_only() {
        let (first, second) = (generate(), generate());
        let hashes = vec![hash(&first).unwrap()];
        assert!(!hashes[0].contains(first.as_str()));
        let verifier = Verifier::new();
        assert!(verifier.verify(&first, &hashes));
        assert!(verifier.verify(&first, &hashes), "remembered");
        assert!(!verifier.verify(&second, &hashes));
        assert!(!verifier.verify(&first, &[]), "revoked");
        assert!(!verifier.verify(&first, &["not a hash".into()]));
    }
}
