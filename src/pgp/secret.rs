//! The secret half of an identity: made once, kept under the identity's storage key, wiped when dropped.

use ed25519_dalek::SigningKey;
use openpgp::cert::{Cert, CertBuilder, CipherSuite};
use openpgp::crypto::{Signer, mpi};
use openpgp::packet::key::Key6;
use openpgp::packet::key::{PublicParts, UnspecifiedRole};
use openpgp::packet::signature::SignatureBuilder;
use openpgp::packet::{Key, key};
use openpgp::parse::Parse;
use openpgp::serialize::MarshalInto;
use openpgp::types::{HashAlgorithm, KeyFlags, SignatureType};
use openpgp::{Packet, Profile};
use sequoia_openpgp as openpgp;
use std::sync::Arc;
use zeroize::{Zeroize, Zeroizing};

use crate::base::ids::Fingerprint;
use crate::base::{Onion, Rng, Timestamp};

use super::binding::revocation_statement;
use super::certificate::{Certificate, CertificateError, system_time};
use super::opener::Opener;
use super::seal_key::SealKey;

/// Why secret keys could not be made or read. It reveals nothing about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretKeysError {
    /// The operating system gave no random numbers, or the library failed.
    #[error("the keys could not be made")]
    Generate,
    /// The bytes were not made by [`SecretKeys::to_bytes`].
    #[error("these are no secret keys")]
    Malformed,
    /// The certificate in them is not of the profile.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// The secret keys of an identity: one to sign with, one or more to open with. Cheap to clone.
#[derive(Clone)]
pub struct SecretKeys(Arc<Keys>);

struct Keys {
    /// The transferable secret key (RFC 9580 §10.2), not encrypted.
    bytes: Zeroizing<Vec<u8>>,
    certificate: Certificate,
    signing: SigningKey,
    public: Key<PublicParts, UnspecifiedRole>,
    /// Those that are kept apart come first, the most recent of them first, because most mail is sealed to that one.
    openers: Vec<Arc<Opener>>,
}

/// The secrets that are made with an identity. The caller keeps all of them sealed.
pub struct Generated {
    /// The keys.
    pub keys: SecretKeys,
    /// Revokes the certificate: an OpenPGP key revocation signature packet, to be published when the keys are lost.
    pub key_revocation: Vec<u8>,
    /// Revokes the onion: see [`verify_onion_revocation`](super::verify_onion_revocation).
    pub onion_revocation: Vec<u8>,
}

impl std::fmt::Debug for Generated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Generated([redacted])")
    }
}

/// Makes the keys of a new identity with this onion, and their revocations.
///
/// The keys are dated into the month before `now`, at a random second of its first 26 days, so that they do not tell
/// when the identity was made, and a clock that is two days behind still accepts them.
///
/// # Errors
/// [`SecretKeysError::Generate`] where there are no random numbers.
pub fn generate(now: Timestamp, onion: Onion, rng: &mut dyn Rng) -> Result<Generated, SecretKeysError> {
    let failed = |_| SecretKeysError::Generate;
    let created = system_time(key_time(now, rng));
    let (cert, revocation) = CertBuilder::new()
        .set_profile(Profile::RFC9580)
        .map_err(failed)?
        .set_cipher_suite(CipherSuite::Cv25519)
        .set_creation_time(created)
        .set_primary_key_flags(KeyFlags::empty().set_certification().set_signing())
        // The suite with post-quantum signatures is also the one whose encryption key is ML-KEM-768+X25519.
        .add_subkey(for_encryption(), None, CipherSuite::MLDSA65_Ed25519)
        .generate()
        .map_err(failed)?;
    let keys = SecretKeys::from_cert(&cert)?;
    let onion_revocation = keys.sign_statement(revocation_statement(onion).as_bytes())?;
    let key_revocation = Packet::from(revocation).to_vec().map_err(failed)?;
    Ok(Generated { keys, key_revocation, onion_revocation })
}

/// What an encryption key is for.
fn for_encryption() -> KeyFlags {
    KeyFlags::empty().set_transport_encryption().set_storage_encryption()
}

/// A moment in the first 26 days of the month before `now`, in seconds.
fn key_time(now: Timestamp, rng: &mut dyn Rng) -> i64 {
    const DAY: i64 = 86_400;
    let today = now.floor_to_day().secs();
    let this_month = today - (i64::from(now.civil().day) - 1) * DAY;
    let last_month_day = Timestamp::from_secs(this_month - DAY).civil().day;
    let last_month = this_month - i64::from(last_month_day) * DAY;
    last_month + i64::try_from(rng.below(26 * 86_400)).unwrap_or(0)
}

impl SecretKeys {
    /// Reads the bytes that [`Self::to_bytes`] made.
    ///
    /// # Errors
    /// See [`SecretKeysError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SecretKeysError> {
        Self::from_cert(&Cert::from_bytes(bytes).map_err(|_| SecretKeysError::Malformed)?)
    }

    /// The keys as bytes, unencrypted: for the storage layer, which seals them.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        self.0.bytes.clone()
    }

    /// The public half.
    pub fn certificate(&self) -> &Certificate {
        &self.0.certificate
    }

    fn from_cert(cert: &Cert) -> Result<Self, SecretKeysError> {
        let malformed = SecretKeysError::Malformed;
        let public = cert.clone().strip_secret_key_material().to_vec().map_err(|_| malformed)?;
        let certificate = Certificate::from_bytes(&public)?;
        let bytes = Zeroizing::new(cert.as_tsk().to_vec().map_err(|_| malformed)?);
        let primary = cert.primary_key().key();
        let mut subkeys: Vec<_> = cert.keys().subkeys().map(|subkey| subkey.key()).collect();
        subkeys.sort_by_key(|subkey| std::cmp::Reverse(subkey.creation_time()));
        let secrets = subkeys.into_iter().filter_map(|subkey| subkey.clone().parts_into_secret().ok());
        let openers: Option<Vec<_>> =
            secrets.map(|key| Opener::new(&key.role_into_unspecified()).map(Arc::new)).collect();
        let openers = openers.ok_or(malformed)?;
        let secret = primary.optional_secret().ok_or(malformed)?;
        Ok(Self(Arc::new(Keys {
            bytes,
            certificate,
            signing: signing_key(secret).ok_or(malformed)?,
            public: primary.clone().parts_into_public().role_into_unspecified(),
            openers,
        })))
    }

    /// These keys without the secret halves of their encryption keys, and those halves: to be kept apart from the others,
    /// so that they can be destroyed.
    ///
    /// # Errors
    /// [`SecretKeysError::Malformed`], which no keys of ours lead to.
    pub fn parted(&self) -> Result<(Self, Vec<SealKey>), SecretKeysError> {
        let malformed = |_| SecretKeysError::Malformed;
        let cert = Cert::from_bytes(&*self.0.bytes).map_err(malformed)?;
        let seal_keys: Option<Vec<_>> = cert.keys().subkeys().map(|subkey| SealKey::of(subkey.key())).collect();
        let primary = cert.primary_key().key().clone();
        let without = Cert::from_packets(cert.strip_secret_key_material().into_packets()).map_err(malformed)?;
        let primary = primary.parts_into_secret().map_err(malformed)?;
        let (cert, _) = without.insert_packets([Packet::SecretKey(primary)]).map_err(malformed)?;
        Ok((Self::from_cert(&cert)?, seal_keys.ok_or(SecretKeysError::Malformed)?))
    }

    /// These keys, which open with the given encryption keys as well; those are tried first, in their order. The
    /// certificate is the given one: that of the same primary key with the encryption key to which others seal now.
    ///
    /// # Errors
    /// [`SecretKeysError::Malformed`] where the certificate is of another primary key.
    pub fn with(&self, seal_keys: &[SealKey], certificate: &[u8]) -> Result<Self, SecretKeysError> {
        let Keys { bytes, signing, public, openers, .. } = &*self.0;
        let certificate = Certificate::from_bytes(certificate)?;
        if certificate.fingerprint() != self.certificate().fingerprint() {
            return Err(SecretKeysError::Malformed);
        }
        let own = openers.iter().cloned().map(Some);
        let openers: Option<Vec<_>> = seal_keys.iter().map(|key| key.opener().map(Arc::new)).chain(own).collect();
        Ok(Self(Arc::new(Keys {
            bytes: bytes.clone(),
            certificate,
            signing: signing.clone(),
            public: public.clone(),
            openers: openers.ok_or(SecretKeysError::Malformed)?,
        })))
    }

    /// A new encryption key, and the certificate with it in the place of all others. Both have the date of the primary
    /// key, so that the certificate does not tell when the key was made.
    ///
    /// # Errors
    /// [`SecretKeysError::Generate`] where there are no random numbers, or the library failed.
    pub fn new_seal_key(&self) -> Result<(SealKey, Certificate), SecretKeysError> {
        let failed = |_| SecretKeysError::Generate;
        let created = system_time(self.certificate().created());
        let mut subkey = Key6::<_, key::SubordinateRole>::generate_mlkem768_x25519().map_err(failed)?;
        subkey.set_creation_time(created).map_err(failed)?;
        let subkey = Key::from(subkey);
        let primary = Cert::from_bytes(self.certificate().bytes()).map_err(failed)?;
        let binding = SignatureBuilder::new(SignatureType::SubkeyBinding)
            .set_hash_algo(HashAlgorithm::SHA512)
            .set_signature_creation_time(created)
            .map_err(failed)?
            .set_key_flags(for_encryption())
            .map_err(failed)?;
        let signer = &mut PrimarySigner(&self.0);
        let binding = subkey.bind(signer, &primary, binding).map_err(failed)?;
        let kept = primary.retain_subkeys(|_| false).retain_userids(|_| false);
        let public = Packet::PublicSubkey(subkey.clone().parts_into_public());
        let (cert, _) = kept.insert_packets([public, binding.into()]).map_err(failed)?;
        let certificate = Certificate::from_bytes(&cert.to_vec().map_err(failed)?)?;
        let seal_key = SealKey::of(&subkey.parts_into_public()).ok_or(SecretKeysError::Generate)?;
        Ok((seal_key, certificate))
    }

    /// The keys for opening, in the order in which they are tried.
    pub(super) fn openers(&self) -> &[Arc<Opener>] {
        &self.0.openers
    }

    /// Signs a content for one recipient, dated with the day. Returns a signature packet.
    pub(super) fn sign_content(
        &self,
        content: &[u8],
        recipient: &Fingerprint,
        now: Timestamp,
    ) -> Result<Vec<u8>, SecretKeysError> {
        let day = now.floor_to_day().secs().max(self.certificate().created());
        self.sign(content, Some(recipient), day)
    }

    /// Signs a text that is not a message: a binding, a revocation, an identification. The signature has no intended
    /// recipient, and the date of the key.
    ///
    /// # Errors
    /// [`SecretKeysError::Generate`] where there are no random numbers.
    pub fn sign_statement(&self, statement: &[u8]) -> Result<Vec<u8>, SecretKeysError> {
        self.sign(statement, None, self.certificate().created())
    }

    pub(super) fn sign(
        &self,
        data: &[u8],
        recipient: Option<&Fingerprint>,
        when: i64,
    ) -> Result<Vec<u8>, SecretKeysError> {
        let failed = |_| SecretKeysError::Generate;
        let mut builder = SignatureBuilder::new(SignatureType::Binary)
            // With SHA instructions it is more than twice as fast as SHA-512, and no weaker than Ed25519; because of
            // the salt of version 6, no attacker can prepare a collision.
            .set_hash_algo(HashAlgorithm::SHA256)
            .set_signature_creation_time(system_time(when))
            .map_err(failed)?;
        if let Some(recipient) = recipient {
            let recipient = openpgp::Fingerprint::from_bytes(6, recipient.as_bytes()).map_err(failed)?;
            builder = builder.set_intended_recipients([recipient]).map_err(failed)?;
        }
        let signature = builder.sign_message(&mut PrimarySigner(&self.0), data).map_err(failed)?;
        Packet::from(signature).to_vec().map_err(failed)
    }
}

impl std::fmt::Debug for SecretKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKeys([redacted])")
    }
}

fn signing_key(secret: &key::SecretKeyMaterial) -> Option<SigningKey> {
    let key::SecretKeyMaterial::Unencrypted(secret) = secret else { return None };
    secret.map(|material| {
        let mpi::SecretKeyMaterial::Ed25519 { x } = material else { return None };
        let mut seed: [u8; 32] = (**x).try_into().ok()?;
        let signing = SigningKey::from_bytes(&seed);
        seed.zeroize();
        Some(signing)
    })
}

/// Gives our primary key to the library. The library's own signer holds the key encrypted in memory and decrypts it
/// each time.
struct PrimarySigner<'a>(&'a Keys);

impl Signer for PrimarySigner<'_> {
    fn public(&self) -> &Key<PublicParts, UnspecifiedRole> {
        &self.0.public
    }

    fn sign(&mut self, _hash: HashAlgorithm, digest: &[u8]) -> openpgp::Result<mpi::Signature> {
        use ed25519_dalek::Signer as _;
        let signature = self.0.signing.sign(digest).to_bytes();
        Ok(mpi::Signature::Ed25519 { s: Box::new(signature) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW, alice, bob};
    use super::super::{open, seal};
    use super::*;
    use crate::base::rng::SeededRng;
    use std::time::Duration;

    #[test]
    fn keys_survive_storage() {
        let restored = SecretKeys::from_bytes(&alice().keys().to_bytes()).unwrap();
        assert_eq!(restored.certificate(), alice().certificate());
        let object = seal(b"x", bob().keys(), restored.certificate(), NOW).unwrap();
        assert!(open(&object, &restored, &bob().known(), NOW).unwrap().verified);
        let object = seal(b"x", &restored, bob().certificate(), NOW).unwrap();
        assert!(open(&object, bob().keys(), &alice().known(), NOW).unwrap().verified);
    }

    #[test]
    fn a_certificate_is_no_secret_key() {
        let public = alice().certificate().bytes();
        assert_eq!(SecretKeys::from_bytes(public).unwrap_err(), SecretKeysError::Malformed);
    }

    #[test]
    fn secrets_do_not_print() {
        let text = format!("{:?} {:?} {:?}", alice().keys(), alice().made, alice().certificate());
        assert_eq!(text, "SecretKeys([redacted]) Generated([redacted]) Certificate([redacted])");
    }

    #[test]
    fn keys_are_dated_into_the_month_before() {
        for (now, month) in [
            ("2026-01-01T00:00:00Z", "2025-12"),
            ("2026-03-01T00:00:00Z", "2026-02"),
            ("2026-03-31T23:59:59Z", "2026-02"),
            ("2024-03-15T12:00:00Z", "2024-02"),
            ("2026-12-31T12:00:00Z", "2026-11"),
        ] {
            let now = Timestamp::parse_rfc3339(now).unwrap();
            for seed in 0..50 {
                let made = Timestamp::from_secs(key_time(now, &mut SeededRng::new(seed)));
                assert!(made.rfc3339().starts_with(month), "{made}");
                assert!(now.since(made) >= Duration::from_secs(48 * 3600), "{made}");
            }
        }
    }

    #[test]
    fn every_date_in_a_certificate_is_that_of_the_key() {
        let cert = Cert::from_bytes(alice().certificate().bytes()).unwrap();
        let created = cert.primary_key().key().creation_time();
        for packet in cert.into_packets() {
            match packet {
                Packet::Signature(signature) => assert_eq!(signature.signature_creation_time(), Some(created)),
                Packet::PublicSubkey(subkey) => assert_eq!(subkey.creation_time(), created),
                _ => {}
            }
        }
    }

    #[test]
    fn the_key_revocation_is_the_primary_keys() {
        let cert = Cert::from_bytes(alice().certificate().bytes()).unwrap();
        let Ok(Packet::Signature(revocation)) = Packet::from_bytes(&alice().made.key_revocation) else { panic!() };
        let primary = cert.primary_key().key();
        assert!(revocation.verify_primary_key_revocation(primary, primary).is_ok());
    }
}
