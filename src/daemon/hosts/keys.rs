//! An identity's keys at work: sealing, opening, checking, on the threads of the crypto pool.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::seal_keys::SealKeyFile;
use crate::base::ids::Fingerprint;
use crate::base::limits;
use crate::base::{BodyId, SealKeyId, Timestamp};
use crate::control::Failure;
use crate::daemon::failures::broken;
use crate::engine::Snapshot;
use crate::engine::io::{Authorship, BoxWork, Opened, Refusal, Sizes};
use crate::pgp::{self, Certificate, SealKey, SecretKeys};
use crate::store::{Log, ReadError};

/// How many parsed certificates are kept.
const CERTIFICATES_AT_HAND: usize = 1000;

/// The secret keys of an identity, and the parsed certificates of its contacts.
pub(in crate::daemon) struct KeyChain {
    keys: Mutex<SecretKeys>,
    /// The encryption keys that are kept apart from the others, and their file; `None` where there are none, as for a box.
    sealed: Option<Mutex<SealKeys>>,
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

/// The encryption keys of an identity, as they are in its file.
struct SealKeys {
    file: SealKeyFile,
    /// The keys that are not in the file.
    others: SecretKeys,
    /// The oldest first.
    held: Vec<SealKey>,
    /// The one in the present certificate; `None` for an identity of an earlier version, whose key is in its log.
    current: Option<SealKeyId>,
}

impl SealKeys {
    /// All keys together, with the most recent encryption key first.
    fn together(&self, certificate: &[u8]) -> Result<SecretKeys, pgp::SecretKeysError> {
        let newest_first: Vec<_> = self.held.iter().rev().cloned().collect();
        self.others.with(&newest_first, certificate)
    }

    fn ids(&self) -> Vec<SealKeyId> {
        self.held.iter().map(SealKey::id).collect()
    }
}

impl KeyChain {
    pub(in crate::daemon) const fn new(keys: SecretKeys) -> Self {
        Self { keys: Mutex::new(keys), sealed: None, parsed: Mutex::new(BTreeMap::new()) }
    }

    /// The keys of an identity whose encryption keys are in a file, with its present certificate and the encryption key in it.
    /// Where the file is damaged, nothing opens what was sealed to its keys; so a new one is made, and contacts seal to that.
    ///
    /// # Errors
    /// Where the file cannot be read now, or is of a later version: what is in it must not be replaced.
    pub(in crate::daemon) fn of_identity(
        others: SecretKeys,
        certificate: &[u8],
        current: Option<SealKeyId>,
        file: SealKeyFile,
    ) -> Result<Self, Failure> {
        let held = file.read()?;
        let sealed = SealKeys { file, others, held, current };
        let keys = sealed.together(certificate).map_err(|error| broken("the identity's keys", error))?;
        Ok(Self { sealed: Some(Mutex::new(sealed)), ..Self::new(keys) })
    }

    /// Whether the secret half of an encryption key is here.
    pub(in crate::daemon) fn holds(&self, id: SealKeyId) -> bool {
        let sealed = self.sealed.as_ref().and_then(|sealed| sealed.lock().ok());
        sealed.is_some_and(|sealed| sealed.held.iter().any(|key| key.id() == id))
    }

    /// Whether the encryption key to which others seal now is here.
    fn is_whole(&self) -> bool {
        let Some(sealed) = &self.sealed else { return true };
        let sealed = sealed.lock().unwrap_or_else(PoisonError::into_inner);
        sealed.current.is_none_or(|current| sealed.held.iter().any(|key| key.id() == current))
    }

    /// Makes an encryption key and keeps it; returns its id, and the certificate with it.
    pub(in crate::daemon) fn make_seal_key(&self) -> Result<(SealKeyId, Arc<[u8]>), Refusal> {
        let mut sealed = self.sealed.as_ref().ok_or(Refusal::Permanent)?.lock().map_err(|_| Refusal::Temporary)?;
        // No key gives way to a new one: the one that gives way could be in use.
        if sealed.held.len() >= limits::SEAL_KEYS {
            return Err(Refusal::Temporary);
        }
        let (key, certificate) = self.keys().new_seal_key().map_err(|_| Refusal::Temporary)?;
        let (id, before) = (key.id(), sealed.held.clone());
        sealed.held.push(key);
        self.keep(&mut sealed, certificate.bytes(), before)?;
        sealed.current = Some(id);
        Ok((id, certificate.bytes().into()))
    }

    /// Destroys these encryption keys; returns those that are held now.
    pub(in crate::daemon) fn destroy_seal_keys(&self, ids: &[SealKeyId]) -> Option<Vec<SealKeyId>> {
        let mut sealed = self.sealed.as_ref()?.lock().ok()?;
        if !ids.is_empty() {
            let before = sealed.held.clone();
            sealed.held.retain(|key| !ids.contains(&key.id()));
            let certificate = self.keys().certificate().bytes().to_vec();
            self.keep(&mut sealed, &certificate, before).ok()?;
        }
        Some(sealed.ids())
    }

    /// Keeps the encryption keys as they are now, and uses them; where the disk fails, those of before stay.
    fn keep(&self, sealed: &mut SealKeys, certificate: &[u8], before: Vec<SealKey>) -> Result<(), Refusal> {
        let kept = sealed.together(certificate).map_err(|_| Refusal::Temporary).and_then(|keys| {
            let written = sealed.file.write(&sealed.held);
            let written =
                written.inspect_err(|failure| tracing::error!(%failure, "the encryption keys cannot be written"));
            written.map(|()| keys).map_err(|_| Refusal::Temporary)
        });
        match kept {
            Ok(keys) => {
                *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = keys;
                Ok(())
            }
            Err(refusal) => {
                sealed.held = before;
                Err(refusal)
            }
        }
    }

    fn keys(&self) -> SecretKeys {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
        let opened = pgp::open(object, &self.keys(), &known, now);
        if matches!(opened, Err(pgp::OpenError::NotForUs)) && !self.is_whole() {
            // A new key is being made; then the peer is told, and seals anew.
            return Err(Refusal::Temporary);
        }
        opened
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
        match pgp::open(object, &self.keys(), &known, now) {
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
        let recipient = recipient.unwrap_or_else(|| self.keys().certificate().fingerprint());
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
        seal(content, &self.keys(), &recipient, now).map_err(|error| refusal(error.class()))
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
            BoxWork::Sign(text) => self.keys().sign_statement(text.as_bytes()).map_err(|_| Refusal::Temporary),
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
    use crate::base::{IdentityId, Onion, OnionSeed};
    use crate::daemon::Preparation;
    use crate::daemon::home::Home;
    use crate::pgp::OpenError;
    use crate::store::{Keyring, OsRng};

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
        assert!(alice.work_for_box(challenge(&bob.keys()), NOW).is_ok());
        assert_eq!(alice.work_for_box(challenge(&carol), NOW), Err(Refusal::Permanent), "of another carrier");
    }

    fn private_dir() -> tempfile::TempDir {
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        tempfile::Builder::new().permissions(private).tempdir().unwrap()
    }

    /// The keys of an identity whose encryption keys are in a file of this directory.
    fn in_file(dir: &std::path::Path, others: &SecretKeys, certificate: &[u8]) -> KeyChain {
        let preparation = Preparation::open(dir).unwrap();
        let (vfs, place) = (Arc::clone(&preparation.vfs), preparation.root().join("keys"));
        let keyring = if Keyring::is_initialised(&*vfs, &place).unwrap() {
            Keyring::unlock(vfs, &place, None, Box::new(OsRng)).unwrap()
        } else {
            Keyring::create(vfs, &place, None, Box::new(OsRng)).unwrap()
        };
        let home = Arc::new(Home::new(preparation, keyring));
        let file = SealKeyFile { home, id: IdentityId::from_bytes([5; 16]) };
        KeyChain::of_identity(others.clone(), certificate, None, file).unwrap()
    }

    /// Somebody takes everything that the node has on its disk, after an encryption key was destroyed.
    #[test]
    fn a_copy_of_all_keys_opens_nothing_that_was_sealed_to_a_destroyed_one() {
        let dir = private_dir();
        let (alice, bob) = (keys(1), KeyChain::new(keys(2)));
        let (hers, his) = (certificate(&alice), certificate(&bob.keys()));
        let (others, first) = alice.parted().unwrap();
        let chain = in_file(dir.path(), &others, &hers);
        assert!(!chain.holds(first[0].id()), "nothing is in the file yet");
        let (before, certificate) = chain.make_seal_key().unwrap();
        let recorded = bob.seal(b"recorded", &certificate, Sizes::All, NOW).unwrap();
        let (now, renewed) = chain.make_seal_key().unwrap();
        let later = bob.seal(b"later", &renewed, Sizes::All, NOW).unwrap();
        assert!(chain.open_from(&recorded, &his, NOW).is_ok(), "it may be under way");
        assert_eq!(chain.destroy_seal_keys(&[before]), Some(vec![now]));
        assert!(chain.open_from(&recorded, &his, NOW).is_err());
        drop(chain);
        let taken = in_file(dir.path(), &others, &renewed);
        assert!(taken.holds(now) && !taken.holds(before));
        assert!(taken.open_from(&recorded, &his, NOW).is_err(), "nor does a copy of the disk open it");
        assert_eq!(taken.open_from(&later, &his, NOW).as_deref(), Ok(&b"later"[..]));
    }

    #[test]
    fn so_many_encryption_keys_are_kept_and_none_gives_way_to_another() {
        let dir = private_dir();
        let alice = keys(1);
        let chain = in_file(dir.path(), &alice.parted().unwrap().0, &certificate(&alice));
        let made: Vec<_> = (0..limits::SEAL_KEYS).map(|_| chain.make_seal_key().unwrap().0).collect();
        assert_eq!(chain.make_seal_key(), Err(Refusal::Temporary));
        assert_eq!(chain.destroy_seal_keys(&[]).unwrap(), made);
        assert_eq!(chain.destroy_seal_keys(&made[..1]).unwrap(), made[1..]);
        assert!(chain.make_seal_key().is_ok());
    }

    #[test]
    fn nothing_is_refused_for_good_while_the_present_key_is_not_there() {
        let dir = private_dir();
        let (alice, bob) = (keys(1), KeyChain::new(keys(2)));
        let (others, first) = alice.parted().unwrap();
        let chain = in_file(dir.path(), &others, &certificate(&alice));
        chain.sealed.as_ref().unwrap().lock().unwrap().current = Some(first[0].id());
        let object = bob.seal(b"x", &certificate(&alice), Sizes::All, NOW).unwrap();
        let refused = |chain: &KeyChain| chain.open(&object, &Snapshot::default(), NOW).err();
        assert_eq!(refused(&chain), Some(Refusal::Temporary));
        chain.make_seal_key().unwrap();
        assert_eq!(refused(&chain), Some(Refusal::Permanent), "its author is shown the new one");
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
