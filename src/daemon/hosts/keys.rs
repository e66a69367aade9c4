//! An identity's keys at work: sealing, opening, checking, on the threads of the crypto pool.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

use crate::base::ids::Fingerprint;
use crate::base::{BodyId, Timestamp};
use crate::engine::Snapshot;
use crate::engine::io::{Authorship, BoxWork, Opened, Refusal, Sizes};
use crate::pgp::{self, Certificate, SecretKeys};
use crate::store::{Log, ReadError};

/// How many parsed certificates are kept.
const CERTIFICATES_AT_HAND: usize = 1000;

/// The secret keys of an identity, and the parsed certificates of its contacts.
pub(in crate::daemon) struct KeyChain {
    keys: SecretKeys,
    // By the SHA-256 of their bytes, so that a renewed certificate is a new entry.
    parsed: Mutex<BTreeMap<[u8; 32], Certificate>>,
}

const fn refusal(class: pgp::Class) -> Refusal {
    match class {
        pgp::Class::Permanent => Refusal::Permanent,
        pgp::Class::Date => Refusal::Date,
        pgp::Class::Temporary => Refusal::Temporary,
    }
}

impl KeyChain {
    pub(in crate::daemon) const fn new(keys: SecretKeys) -> Self {
        Self { keys, parsed: Mutex::new(BTreeMap::new()) }
    }

    /// Opens an object with this identity's keys; its author is verified where the book has a certificate.
    pub(in crate::daemon) fn open(
        &self,
        object: &[u8],
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Result<Opened, Refusal> {
        let known = |fingerprint: &Fingerprint| {
            let certificate = snapshot.book.by_fingerprint(fingerprint)?.certificate.clone()?;
            self.certificate(&certificate)
        };
        pgp::open(object, &self.keys, &known, now)
            .map(|opened| Opened {
                content: opened.content,
                signature: opened.signature,
                issuer: opened.issuer,
                verified: opened.verified,
            })
            .map_err(|error| refusal(error.class()))
    }

    /// Opens an object that this certificate must have signed.
    pub(in crate::daemon) fn open_from(
        &self,
        object: &[u8],
        author: &Arc<[u8]>,
        now: Timestamp,
    ) -> Result<Vec<u8>, Refusal> {
        let author = self.certificate(author).ok_or(Refusal::Permanent)?;
        let known = |fingerprint: &Fingerprint| (*fingerprint == author.fingerprint()).then(|| author.clone());
        match pgp::open(object, &self.keys, &known, now) {
            Ok(opened) if opened.verified => Ok(opened.content),
            Ok(_) => Err(Refusal::Permanent),
            Err(error) => Err(refusal(error.class())),
        }
    }

    /// The primary key of a certificate of the profile.
    pub(in crate::daemon) fn fingerprint_of(&self, certificate: &Arc<[u8]>) -> Result<Fingerprint, Refusal> {
        self.certificate(certificate).map(|certificate| certificate.fingerprint()).ok_or(Refusal::Permanent)
    }

    /// Whether this certificate made the signature over a text that is not a message.
    pub(in crate::daemon) fn verify_statement(&self, text: &str, signature: &[u8], by: &Arc<[u8]>) -> bool {
        self.certificate(by).is_some_and(|by| pgp::verify_statement(text.as_bytes(), signature, &by))
    }

    /// Whether every statement in a card or a grant is true.
    pub(in crate::daemon) fn verify_card(&self, evidence: &Authorship, now: Timestamp) -> bool {
        let Authorship { onion, certificate, binding, fingerprint, content, signature, recipient, revocation } =
            evidence;
        let recipient = recipient.unwrap_or_else(|| self.keys.certificate().fingerprint());
        let claim = pgp::Claim { onion: *onion, certificate, binding };
        pgp::verify_claim(claim, fingerprint, content, signature, &recipient, now)
            && revocation.as_ref().is_none_or(|revocation| pgp::verify_revocation(revocation))
    }

    /// Whether a certificate is of the profile and has this primary key.
    pub(in crate::daemon) fn check_certificate(&self, certificate: &[u8], fingerprint: &Fingerprint) -> bool {
        Certificate::from_bytes(certificate).is_ok_and(|certificate| certificate.fingerprint() == *fingerprint)
    }

    /// Signs and seals a content.
    pub(in crate::daemon) fn seal(
        &self,
        content: &[u8],
        recipient: &Arc<[u8]>,
        sizes: Sizes,
        now: Timestamp,
    ) -> Result<Vec<u8>, Refusal> {
        let recipient = self.certificate(recipient).ok_or(Refusal::Permanent)?;
        let seal = match sizes {
            Sizes::All => pgp::seal,
            Sizes::Box => pgp::seal_for_box,
        };
        seal(content, &self.keys, &recipient, now).map_err(|error| refusal(error.class()))
    }

    /// Does a piece of work with the keys of a box.
    pub(in crate::daemon) fn work_for_box(&self, work: BoxWork, now: Timestamp) -> Result<Vec<u8>, Refusal> {
        match work {
            BoxWork::OpenChallenge(object, carrier, fingerprint) => {
                if self.fingerprint_of(&carrier)? != fingerprint {
                    return Err(Refusal::Permanent);
                }
                self.open_from(&object, &carrier, now)
            }
            BoxWork::Seal(content, recipient) => self.seal(&content, &recipient, Sizes::All, now),
            BoxWork::Sign(text) => self.keys.sign_statement(text.as_bytes()).map_err(|_| Refusal::Temporary),
        }
    }

    /// Signs and seals a content whose payload is a stored body.
    pub(in crate::daemon) fn seal_body(
        &self,
        header: String,
        log: &Log,
        body: BodyId,
        recipient: &Arc<[u8]>,
        sizes: Sizes,
        now: Timestamp,
    ) -> Result<Vec<u8>, Refusal> {
        let length = log.body_len(body).ok_or(Refusal::Temporary)?;
        let mut content = header.into_bytes();
        let body = log.read_body(body, 0..length).map_err(|error| {
            tracing::error!(%error, "a message in the queue cannot be read from the disk");
            match error {
                ReadError::Damaged { .. } => Refusal::Permanent,
                _ => Refusal::Temporary,
            }
        })?;
        content.extend_from_slice(&body);
        self.seal(&content, recipient, sizes, now)
    }

    /// The parsed certificate. Parsing checks signatures, so it is done once for each.
    fn certificate(&self, bytes: &Arc<[u8]>) -> Option<Certificate> {
        let digest: [u8; 32] = Sha256::digest(bytes).into();
        if let Some(found) = self.parsed.lock().ok()?.get(&digest) {
            return Some(found.clone());
        }
        let certificate = Certificate::from_bytes(bytes).ok()?;
        let mut parsed = self.parsed.lock().ok()?;
        if parsed.len() >= CERTIFICATES_AT_HAND {
            parsed.clear();
        }
        parsed.insert(digest, certificate.clone());
        Some(certificate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::SeededRng;
    use crate::base::{Onion, OnionSeed};
    use crate::pgp::OpenError;

    const NOW: Timestamp = Timestamp::from_secs(1_795_220_400);

    fn keys(number: u8) -> SecretKeys {
        let onion = Onion::of_seed(&OnionSeed::from_bytes([number; 32]));
        pgp::generate(NOW, onion, &mut SeededRng::new(number.into())).unwrap().keys
    }

    fn certificate(keys: &SecretKeys) -> Arc<[u8]> {
        keys.certificate().bytes().into()
    }

    #[test]
    fn what_there_is_no_memory_for_now_is_refused_for_now() {
        assert_eq!(refusal(OpenError::Busy.class()), Refusal::Temporary);
        assert_eq!(refusal(OpenError::NotForUs.class()), Refusal::Permanent);
        assert_eq!(refusal(OpenError::Damaged.class()), Refusal::Permanent);
    }

    #[test]
    fn a_certificate_counts_for_its_own_fingerprint_and_nothing_else_is_one() {
        let (alice, bob) = (keys(1), keys(2));
        let (own, other) = (alice.certificate().fingerprint(), bob.certificate().fingerprint());
        let (hers, his) = (certificate(&alice), certificate(&bob));
        let chain = KeyChain::new(alice);
        assert!(chain.check_certificate(&hers, &own) && chain.check_certificate(&his, &other));
        assert!(!chain.check_certificate(&his, &own) && !chain.check_certificate(&hers, &other));
        assert!(!chain.check_certificate(&hers[1..], &own) && !chain.check_certificate(b"", &own));
        assert_eq!(chain.fingerprint_of(&his), Ok(other));
        assert_eq!(chain.fingerprint_of(&Arc::from(&his[1..])), Err(Refusal::Permanent));
    }

    #[test]
    fn what_somebody_signed_is_theirs_alone() {
        let [alice, bob, carol] = [1, 2, 3].map(keys);
        let [hers, his, carols] = [&alice, &bob, &carol].map(certificate);
        let (alice, bob) = (KeyChain::new(alice), KeyChain::new(bob));
        let object = bob.seal(b"content", &hers, Sizes::All, NOW).unwrap();
        assert_eq!(alice.open_from(&object, &his, NOW).as_deref(), Ok(&b"content"[..]));
        assert_eq!(alice.open_from(&object, &carols, NOW), Err(Refusal::Permanent), "not hers");
        assert_eq!(bob.open_from(&object, &his, NOW), Err(Refusal::Permanent), "not for him");
        let statement = bob.work_for_box(BoxWork::Sign("statement".to_owned()), NOW).unwrap();
        assert!(alice.verify_statement("statement", &statement, &his));
        assert!(!alice.verify_statement("statement", &statement, &carols));
        assert!(!alice.verify_statement("another", &statement, &his));
        let challenge =
            |of: &SecretKeys| BoxWork::OpenChallenge(object.clone(), his.clone(), of.certificate().fingerprint());
        assert!(alice.work_for_box(challenge(&bob.keys), NOW).is_ok());
        assert_eq!(alice.work_for_box(challenge(&carol), NOW), Err(Refusal::Permanent), "of another carrier");
    }

    #[test]
    fn no_more_certificates_are_at_hand_than_the_limit() {
        let (alice, bob) = (keys(1), keys(2));
        let (hers, his) = (certificate(&alice), certificate(&bob));
        let some = alice.certificate().clone();
        let chain = KeyChain::new(alice);
        let at_hand = || chain.parsed.lock().unwrap().len();
        for number in 1..CERTIFICATES_AT_HAND as u64 {
            let digest = Sha256::digest(number.to_be_bytes()).into();
            chain.parsed.lock().unwrap().insert(digest, some.clone());
        }
        for _ in 0..2 {
            assert!(chain.certificate(&hers).is_some());
            assert_eq!(at_hand(), CERTIFICATES_AT_HAND);
        }
        assert!(chain.certificate(&his).is_some());
        assert_eq!(at_hand(), 1);
    }
}
