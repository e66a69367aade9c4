//! Application passwords: made by us with 128 random bits, kept as a hash only, shown once.
//!
//! Nobody can search 2^128 passwords, so one SHA-256 without a salt keeps them: a try costs the same whether its user
//! exists or not, and however many passwords that user has. Earlier versions kept Argon2id, each with a salt of its
//! own. Those hashes still count, and are replaced by the present form when their password is used. Until then a try
//! that is not recognised is compared with all of them, of every user, so that its time says nothing either.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use argon2::password_hash::PasswordHash;
use argon2::{Argon2, PasswordVerifier};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::base::Rng;
use crate::daemon::runtime::crypto::Pool;
use crate::store::OsRng;

/// How many recognised passwords of the earlier form are remembered.
const REMEMBERED: usize = 1000;
/// The beginning of a hash of the present form; Argon2id in PHC form begins otherwise.
const PREFIX: &str = "$sha256$";

/// A new password: 26 lower-case letters and digits in groups, easy to type.
pub(in crate::daemon) fn generate() -> Zeroizing<String> {
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

/// The hash under which a password is kept.
pub(in crate::daemon) fn hash(password: &str) -> String {
    let digest = Sha256::new().chain_update(b"runepeer application password\0").chain_update(password).finalize();
    format!("{PREFIX}{}", data_encoding::HEXLOWER.encode(&digest))
}

/// Whether a hash is of the earlier form.
pub(in crate::daemon) fn is_old(hash: &str) -> bool {
    !hash.starts_with(PREFIX)
}

/// Recognises passwords.
#[derive(Default)]
pub(in crate::daemon) struct Verifier {
    /// Passwords that were found to match a hash of the earlier form, by their present hash.
    known: Mutex<BTreeMap<String, String>>,
    /// Hashes that were computed: each takes the same time as others of its kind.
    computed: AtomicU64,
    comparing: tokio::sync::Mutex<()>,
}

impl Verifier {
    /// The hash of this user that the password matches. `of_all` are the hashes of all users.
    pub(in crate::daemon) async fn verify(
        self: &Arc<Self>,
        pool: &Pool,
        password: Zeroizing<String>,
        own: Vec<String>,
        mut of_all: Vec<String>,
    ) -> Option<String> {
        if let Some(hash) = self.recognise(&password, &own) {
            return Some(hash.clone());
        }
        of_all.retain(|hash| is_old(hash));
        if of_all.is_empty() {
            return None;
        }
        // Tries are compared one at a time, in the order in which they came, so that guesses leave the pool to the
        // mail.
        let _turn = self.comparing.lock().await;
        let verifier = Arc::clone(self);
        pool.call(move || verifier.compare(&password, &own, &of_all).cloned()).await.flatten()
    }

    /// The hash of this user that the password matches, as far as one cheap hash can tell.
    fn recognise<'a>(&self, password: &str, own: &'a [String]) -> Option<&'a String> {
        self.computed.fetch_add(1, Ordering::Relaxed);
        let hash = hash(password);
        let known = self.known.lock().ok().and_then(|known| known.get(&hash).cloned());
        own.iter().find(|own| **own == hash || known.as_ref() == Some(own))
    }

    /// The hash of this user that the password matches. The password is compared with all of these hashes of the
    /// earlier form, which are those of all users.
    fn compare<'a>(&self, password: &str, own: &'a [String], old: &[String]) -> Option<&'a String> {
        let mut found = None;
        for old in old {
            self.computed.fetch_add(1, Ordering::Relaxed);
            let Ok(parsed) = PasswordHash::new(old) else { continue };
            // The parameters are read from the hash.
            if Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok() && found.is_none() {
                found = own.iter().find(|own| *own == old);
            }
        }
        if let (Some(found), Ok(mut known)) = (found, self.known.lock()) {
            if known.len() >= REMEMBERED {
                known.clear();
            }
            known.insert(hash(password), found.clone());
        }
        found
    }

    #[cfg(test)]
    pub(in crate::daemon) fn computed(&self) -> u64 {
        self.computed.load(Ordering::Relaxed)
    }
}

/// A hash as earlier versions kept it.
#[cfg(test)]
fn old_hash(password: &str) -> String {
    use argon2::password_hash::{PasswordHasher, SaltString};
    let salt: [u8; 16] = (&mut OsRng as &mut dyn Rng).array();
    let params = argon2::Params::new(8, 1, 1, None).unwrap();
    let argon2 = Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    argon2.hash_password(password.as_bytes(), &SaltString::encode_b64(&salt).unwrap()).unwrap().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_has_its_own_hash_only() {
        let (first, second) = (generate(), generate());
        let hashes = vec![hash(&second), hash(&first)];
        assert!(!hashes[1].contains(first.as_str()));
        let verifier = Verifier::default();
        assert_eq!(verifier.recognise(&first, &hashes), Some(&hashes[1]));
        assert_eq!(verifier.recognise(&generate(), &hashes), None);
        assert_eq!(verifier.recognise(&first, &[]), None, "revoked");
        assert_eq!(verifier.recognise(&first, &["not a hash".into(), String::new()]), None);
    }

    #[test]
    fn a_password_of_an_earlier_version_counts_for_its_user_and_is_remembered() {
        let (first, second) = (generate(), generate());
        let own = vec![hash(&second), old_hash(&first)];
        let of_all = vec![old_hash(&second), own[1].clone(), "not a hash".into()];
        let verifier = Verifier::default();
        assert_eq!(verifier.recognise(&first, &own), None);
        assert_eq!(verifier.compare(&first, &own, &of_all), Some(&own[1]));
        assert_eq!(verifier.recognise(&first, &own), Some(&own[1]), "remembered");
        assert_eq!(verifier.recognise(&first, &own[..1]), None, "revoked");
        assert_eq!(verifier.compare(&first, &[], &of_all), None, "somebody else's");
        assert_eq!(verifier.compare(&generate(), &own, &of_all), None);
    }

    #[test]
    fn a_password_is_written_in_groups_of_five() {
        let password = generate();
        let groups: Vec<_> = password.split('-').map(str::len).collect();
        assert_eq!(groups, [5, 5, 5, 5, 5, 1]);
        assert!(password.chars().all(|c| matches!(c, 'a'..='z' | '2'..='7' | '-')));
    }

    #[test]
    fn no_more_old_passwords_are_remembered_than_the_limit() {
        let verifier = Verifier::default();
        let (password, other) = (generate(), generate());
        let (old, another) = ([old_hash(&password)], [old_hash(&other)]);
        let remembered = || verifier.known.lock().unwrap().len();
        for number in 1..REMEMBERED {
            verifier.known.lock().unwrap().insert(number.to_string(), String::new());
        }
        assert!(verifier.compare(&password, &old, &old).is_some());
        assert_eq!(remembered(), REMEMBERED);
        assert!(verifier.compare(&other, &another, &another).is_some());
        assert_eq!(remembered(), 1);
    }

    #[tokio::test]
    async fn a_wrong_password_costs_the_same_whether_its_user_exists_and_whatever_it_has() {
        let pool = Pool::new().unwrap();
        let new = |count: usize| -> Vec<String> { (0..count).map(|_| hash(&generate())).collect() };
        for old in [0, 3] {
            let mut users: Vec<Vec<String>> = [0, 1, 8, 100].map(new).into();
            users[1].extend((0..old).map(|_| old_hash(&generate())));
            let of_all: Vec<String> = users.iter().flatten().cloned().collect();
            let verifier = Arc::new(Verifier::default());
            let mut works = Vec::new();
            let unknown = Vec::new();
            for own in users.iter().chain([&unknown]) {
                let before = verifier.computed();
                let wrong = verifier.verify(&pool, generate(), own.clone(), of_all.clone()).await;
                assert_eq!(wrong, None);
                works.push(verifier.computed() - before);
            }
            assert_eq!(works, [1 + old; 5]);
        }
    }
}
