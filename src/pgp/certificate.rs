//! Certificates: the public half of an identity, checked against the profile once when they are read
//! (docs/protocol.md, "Certificates").
//!
//! The profile: a version 6 Ed25519 primary key with a direct key signature that announces SEIPDv2, not revoked;
//! subkeys of ML-KEM-768+X25519 only, at least one bound for encryption and not revoked. User ids may be there and mean
//! nothing.

use ed25519_dalek::VerifyingKey;
use openpgp::cert::Cert;
use openpgp::packet::key::{PublicParts, UnspecifiedRole};
use openpgp::packet::{Key, Signature};
use openpgp::parse::Parse;
use openpgp::policy::{HashAlgoSecurity, Policy, StandardPolicy};
use openpgp::types::{HashAlgorithm, PublicKeyAlgorithm, SignatureType};
use sequoia_openpgp as openpgp;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::base::Timestamp;
use crate::base::ids::Fingerprint;
use crate::base::limits::{CERTIFICATE_BYTES, CERTIFICATE_PACKETS, SIGNATURE_SKEW};

use super::packet::{split, tag};
use super::signature::Verifier;

/// Why bytes are not a certificate that we accept. Permanent: the same bytes are never accepted later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Longer than [`CERTIFICATE_BYTES`] or of more than [`CERTIFICATE_PACKETS`] packets.
    #[error("the certificate is too large")]
    TooLarge,
    /// Not one whole certificate in binary form.
    #[error("not an OpenPGP certificate in binary form")]
    Malformed,
    /// The primary key is not a version 6 Ed25519 key, or its own signature does not hold.
    #[error("the certificate's primary key is not of our profile")]
    PrimaryKey,
    /// The certificate does not announce SEIPDv2.
    #[error("the certificate does not announce authenticated encryption")]
    Features,
    /// A subkey of another algorithm.
    #[error("the certificate has a subkey of another kind")]
    OtherSubkey,
    /// No ML-KEM-768+X25519 subkey that is bound and not revoked.
    #[error("the certificate has no encryption key of our profile")]
    NoEncryptionKey,
    /// The primary key is revoked.
    #[error("the certificate is revoked")]
    Revoked,
}

/// A certificate of the profile. Cheap to clone.
#[derive(Clone)]
pub struct Certificate(Arc<Checked>);

struct Checked {
    bytes: Box<[u8]>,
    digest: [u8; 32],
    fingerprint: Fingerprint,
    primary: VerifyingKey,
    created: i64,
    expires: Option<i64>,
    /// The encryption keys, the most recent first.
    encryption: Vec<EncryptionKey>,
}

struct EncryptionKey {
    key: Key<PublicParts, UnspecifiedRole>,
    from: i64,
    until: Option<i64>,
}

impl Certificate {
    /// Reads and checks a certificate: binary form, without secrets.
    ///
    /// # Errors
    /// See [`CertificateError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CertificateError> {
        check_packets(bytes)?;
        let cert = Cert::from_bytes(bytes).map_err(|_| CertificateError::Malformed)?;
        let policy = StandardPolicy::new();
        let primary = cert.primary_key();
        if primary.self_revocations().next().is_some() {
            return Err(CertificateError::Revoked);
        }
        let key = primary.key();
        let openpgp::crypto::mpi::PublicKey::Ed25519 { a } = key.mpis() else {
            return Err(CertificateError::PrimaryKey);
        };
        let verifying = VerifyingKey::from_bytes(a).map_err(|_| CertificateError::PrimaryKey)?;
        if verifying.is_weak() {
            return Err(CertificateError::PrimaryKey);
        }
        let created = seconds(key.creation_time());
        let itself =
            newest(primary.self_signatures(), SignatureType::DirectKey, &policy).ok_or(CertificateError::PrimaryKey)?;
        if !itself.features().is_some_and(|features| features.supports_seipdv2()) {
            return Err(CertificateError::Features);
        }
        let expires = end(created, itself);
        let fingerprint = key.fingerprint().as_bytes().try_into().map_err(|_| CertificateError::PrimaryKey)?;
        Ok(Self(Arc::new(Checked {
            digest: Sha256::digest(bytes).into(),
            fingerprint: Fingerprint::from_bytes(fingerprint),
            primary: verifying,
            created,
            expires,
            encryption: encryption_keys(&cert, &policy)?,
            bytes: bytes.into(),
        })))
    }

    /// The fingerprint of the primary key, which identifies the owner.
    pub fn fingerprint(&self) -> Fingerprint {
        self.0.fingerprint
    }

    /// The bytes as they were read.
    pub fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// SHA-256 of [`Self::bytes`], which identifies this state of the certificate.
    pub fn digest(&self) -> [u8; 32] {
        self.0.digest
    }

    /// The key to seal to: the most recent one that is valid now. `None` where no key is.
    pub(super) fn encryption_key(&self, now: Timestamp) -> Option<&Key<PublicParts, UnspecifiedRole>> {
        let (begun, now) = (now.plus(SIGNATURE_SKEW).secs(), now.secs());
        let alive = |end: Option<i64>| end.is_none_or(|end| now < end);
        let usable = |key: &&EncryptionKey| key.from <= begun && alive(key.until);
        self.0.encryption.iter().filter(|_| alive(self.0.expires)).find(usable).map(|found| &found.key)
    }

    /// The primary key, to verify with.
    pub(super) fn verifier(&self) -> Verifier<'_> {
        let Checked { primary, fingerprint, created, expires, .. } = &*self.0;
        Verifier { key: primary, fingerprint, created: *created, expires: *expires }
    }

    /// When the primary key was made, in seconds since 1970.
    pub(super) fn created(&self) -> i64 {
        self.0.created
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.0.bytes == other.0.bytes
    }
}

impl Eq for Certificate {}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Certificate([redacted])")
    }
}

/// Seconds since 1970 of a time that the library gives.
pub(super) fn seconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// The library's form of a time.
pub(super) fn system_time(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// The grammar, before the library reads anything: a version 6 primary key, then version 6 subkeys, user ids and
/// signatures, every length whole.
fn check_packets(bytes: &[u8]) -> Result<(), CertificateError> {
    if bytes.len() > CERTIFICATE_BYTES {
        return Err(CertificateError::TooLarge);
    }
    let mut rest = bytes;
    for position in 0..CERTIFICATE_PACKETS {
        if rest.is_empty() && position > 0 {
            return Ok(());
        }
        let (packet, after) = split(rest).map_err(|_| CertificateError::Malformed)?;
        let version = packet.body.first().copied();
        match (packet.tag, position) {
            (tag::PUBLIC_KEY, 0) if version != Some(6) => return Err(CertificateError::PrimaryKey),
            (tag::PUBLIC_KEY, 0) => {}
            (_, 0) => return Err(CertificateError::Malformed),
            (tag::PUBLIC_SUBKEY, _) if version != Some(6) => return Err(CertificateError::OtherSubkey),
            (tag::PUBLIC_SUBKEY | tag::SIGNATURE | tag::USER_ID, _) => {}
            _ => return Err(CertificateError::Malformed),
        }
        rest = after;
    }
    if rest.is_empty() { Ok(()) } else { Err(CertificateError::TooLarge) }
}

/// The subkeys that may be sealed to at some time, the most recent first.
fn encryption_keys(cert: &Cert, policy: &StandardPolicy<'_>) -> Result<Vec<EncryptionKey>, CertificateError> {
    let mut keys = Vec::new();
    for subkey in cert.keys().subkeys() {
        let key = subkey.key();
        if key.pk_algo() != PublicKeyAlgorithm::MLKEM768_X25519 {
            return Err(CertificateError::OtherSubkey);
        }
        if subkey.self_revocations().next().is_some() {
            continue;
        }
        let Some(binding) = newest(subkey.self_signatures(), SignatureType::SubkeyBinding, policy) else { continue };
        let flags = binding.key_flags();
        if !flags.is_some_and(|flags| flags.for_transport_encryption() || flags.for_storage_encryption()) {
            continue;
        }
        let created = seconds(key.creation_time());
        let bound = binding.signature_creation_time().map_or(created, seconds);
        let key = key.clone().role_into_unspecified();
        keys.push(EncryptionKey { key, from: created.max(bound), until: end(created, binding) });
    }
    if keys.is_empty() {
        return Err(CertificateError::NoEncryptionKey);
    }
    keys.sort_by_key(|key| std::cmp::Reverse(key.from));
    Ok(keys)
}

/// The most recent acceptable signature of a type. The library yields only signatures that verify.
fn newest<'a>(
    signatures: impl Iterator<Item = &'a Signature>,
    kind: SignatureType,
    policy: &StandardPolicy<'_>,
) -> Option<&'a Signature> {
    signatures
        .filter(|signature| {
            signature.typ() == kind
                && matches!(signature.hash_algo(), HashAlgorithm::SHA256 | HashAlgorithm::SHA512)
                // The policy refuses critical subpackets that it does not know.
                && policy.signature(signature, HashAlgoSecurity::CollisionResistance).is_ok()
        })
        .max_by_key(|signature| signature.signature_creation_time())
}

/// When a key ends, by its binding; `None` where it has no end.
fn end(created: i64, binding: &Signature) -> Option<i64> {
    let period = binding.key_validity_period()?;
    Some(created.saturating_add(i64::try_from(period.as_secs()).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::super::signature::Signature as Signed;
    use super::super::testing::{NOW, alice, bob, packet};
    use super::super::{OpenError, SealError, SecretKeys, SignatureFault, open, seal};
    use super::*;
    use openpgp::Profile;
    use openpgp::cert::{CertBuilder, CipherSuite, KeyBuilder};
    use openpgp::packet::UserID;
    use openpgp::serialize::MarshalInto;
    use openpgp::types::{Features, KeyFlags};
    use proptest::prelude::*;

    const DAY: i64 = 86_400;

    fn builder() -> CertBuilder<'static> {
        CertBuilder::new()
            .set_profile(Profile::RFC9580)
            .unwrap()
            .set_cipher_suite(CipherSuite::Cv25519)
            .set_creation_time(system_time(NOW.secs() - 90 * DAY))
    }

    fn encryption() -> KeyFlags {
        KeyFlags::empty().set_storage_encryption()
    }

    fn bytes(builder: CertBuilder<'_>) -> Vec<u8> {
        builder.generate().unwrap().0.strip_secret_key_material().to_vec().unwrap()
    }

    fn revoked() -> Vec<u8> {
        let cert = Cert::from_bytes(alice().certificate().bytes()).unwrap();
        let revocation = openpgp::Packet::from_bytes(&alice().made.key_revocation).unwrap();
        cert.insert_packets([revocation]).unwrap().0.to_vec().unwrap()
    }

    fn with_subkey(suite: CipherSuite, flags: KeyFlags) -> Vec<u8> {
        bytes(builder().add_subkey(flags, None, suite))
    }

    #[test]
    fn what_is_not_of_the_profile_is_refused_by_its_rule() {
        let good = alice().certificate().bytes();
        let primary_only = bytes(builder());
        let version4 =
            bytes(CertBuilder::new().set_cipher_suite(CipherSuite::Cv25519).add_transport_encryption_subkey());
        let no_seipdv2 = bytes(builder().set_features(Features::empty().set_seipdv1()).unwrap().add_subkey(
            encryption(),
            None,
            CipherSuite::MLDSA65_Ed25519,
        ));
        let with_names: Vec<u8> = [good, &packet(tag::USER_ID, b"alice").repeat(CERTIFICATE_PACKETS)].concat();
        let mut broken_self_signature = good.to_vec();
        let (primary, _) = split(good).unwrap();
        broken_self_signature[primary.raw.len() + 60] ^= 1;
        let mut broken_binding = good.to_vec();
        *broken_binding.last_mut().unwrap() ^= 1;
        let armored = Cert::from_bytes(good).unwrap().armored().to_vec().unwrap();
        let signing_subkey = with_subkey(CipherSuite::Cv25519, KeyFlags::empty().set_signing());
        for (name, certificate, error) in [
            ("nothing", vec![], CertificateError::Malformed),
            ("too long", vec![0xC6; CERTIFICATE_BYTES + 1], CertificateError::TooLarge),
            ("too many packets", with_names, CertificateError::TooLarge),
            ("armored", armored, CertificateError::Malformed),
            ("cut", good[..good.len() - 1].to_vec(), CertificateError::Malformed),
            ("followed by another", [good, bob().certificate().bytes()].concat(), CertificateError::Malformed),
            (
                "followed by a literal",
                [good, &packet(tag::LITERAL, b"b\0\0\0\0\0")].concat(),
                CertificateError::Malformed,
            ),
            ("secret", alice().keys().to_bytes().to_vec(), CertificateError::Malformed),
            ("revoked", revoked(), CertificateError::Revoked),
            ("version 4", version4, CertificateError::PrimaryKey),
            ("post-quantum primary key", with_primary(CipherSuite::MLDSA65_Ed25519), CertificateError::PrimaryKey),
            ("Ed448 primary key", with_primary(CipherSuite::Cv448), CertificateError::PrimaryKey),
            ("broken self-signature", broken_self_signature, CertificateError::PrimaryKey),
            ("no SEIPDv2", no_seipdv2, CertificateError::Features),
            ("X25519 subkey", with_subkey(CipherSuite::Cv25519, encryption()), CertificateError::OtherSubkey),
            ("signing subkey", signing_subkey, CertificateError::OtherSubkey),
            ("no subkey", primary_only, CertificateError::NoEncryptionKey),
            ("broken binding", broken_binding, CertificateError::NoEncryptionKey),
        ] {
            assert_eq!(Certificate::from_bytes(&certificate).err(), Some(error), "{name}");
        }
    }

    fn with_primary(suite: CipherSuite) -> Vec<u8> {
        bytes(builder().set_cipher_suite(suite).add_subkey(encryption(), None, CipherSuite::MLDSA65_Ed25519))
    }

    #[test]
    fn a_certificate_keeps_its_bytes_and_is_found_by_fingerprint_and_digest() {
        let certificate = alice().certificate();
        let read = Certificate::from_bytes(certificate.bytes()).unwrap();
        assert_eq!(read, *certificate);
        assert_eq!(read.digest(), <[u8; 32]>::from(Sha256::digest(certificate.bytes())));
        assert_ne!(read.fingerprint(), bob().fingerprint());
        assert!(certificate.bytes().len() < 1700, "{}", certificate.bytes().len());
    }

    #[test]
    fn a_name_in_a_certificate_is_ignored() {
        let cert = Cert::from_bytes(&alice().keys().to_bytes()).unwrap();
        let signer = cert.primary_key().key().clone().parts_into_secret().unwrap();
        let name = UserID::from("alice <alice@example.org>");
        let template = openpgp::packet::signature::SignatureBuilder::new(SignatureType::PositiveCertification);
        let binding = name.bind(&mut signer.into_keypair().unwrap(), &cert, template).unwrap();
        let named = cert.insert_packets([openpgp::Packet::from(name), binding.into()]).unwrap().0;
        let named = Certificate::from_bytes(&named.strip_secret_key_material().to_vec().unwrap()).unwrap();
        assert_eq!(named.fingerprint(), alice().fingerprint());
    }

    /// Keys whose first subkey ended ten days ago and whose second was made twenty days ago.
    fn rotated() -> (SecretKeys, SecretKeys) {
        let old = builder()
            .add_subkey(encryption(), Duration::from_secs(80 * 86_400), CipherSuite::MLDSA65_Ed25519)
            .generate()
            .unwrap()
            .0;
        let made = NOW.secs() - 20 * DAY;
        let policy = StandardPolicy::new();
        let new = KeyBuilder::new(encryption())
            .set_cipher_suite(CipherSuite::MLDSA65_Ed25519)
            .set_creation_time(system_time(made))
            .subkey(old.with_policy(&policy, system_time(made)).unwrap())
            .unwrap()
            .set_signature_creation_time(system_time(made))
            .unwrap()
            .set_key_validity_period(Duration::from_secs(60 * 86_400))
            .unwrap()
            .attach_cert()
            .unwrap();
        let keys = |cert: &Cert| SecretKeys::from_bytes(&cert.as_tsk().to_vec().unwrap()).unwrap();
        (keys(&old), keys(&new))
    }

    #[test]
    fn the_newest_valid_subkey_is_sealed_to_and_every_subkey_opens() {
        let (old, new) = rotated();
        let known = |_: &_| Some(alice().certificate().clone());
        let to_new = seal(b"now", alice().keys(), new.certificate(), NOW).unwrap();
        assert!(open(&to_new, &old, &known, NOW).is_err());
        assert_eq!(open(&to_new, &new, &known, NOW).unwrap().content, b"now");
        // While both keys are valid, the newer one is used.
        let both = Timestamp::from_secs(NOW.secs() - 15 * DAY);
        assert!(open(&seal(b"x", alice().keys(), old.certificate(), both).unwrap(), &old, &known, NOW).is_ok());
        for _ in 0..4 {
            let (old, new) = rotated();
            let object = seal(b"both", alice().keys(), new.certificate(), both).unwrap();
            assert!(open(&object, &old, &known, NOW).is_err());
        }
        // Objects that were sealed before the rotation still open.
        let before = Timestamp::from_secs(NOW.secs() - 30 * DAY);
        let to_old = seal(b"before", alice().keys(), new.certificate(), before).unwrap();
        assert_eq!(open(&to_old, &new, &known, NOW).unwrap().content, b"before");
        assert_eq!(open(&to_old, &old, &known, NOW).unwrap().content, b"before");
    }

    #[test]
    fn a_primary_key_that_ended_neither_signs_nor_is_sealed_to() {
        let cert = builder()
            .set_validity_period(Duration::from_secs(80 * 86_400))
            .add_subkey(encryption(), Duration::from_secs(300 * 86_400), CipherSuite::MLDSA65_Ed25519)
            .generate()
            .unwrap()
            .0;
        let ended = SecretKeys::from_bytes(&cert.as_tsk().to_vec().unwrap()).unwrap();
        let known = |_: &_| Some(ended.certificate().clone());
        let while_it_was = Timestamp::from_secs(NOW.secs() - 12 * DAY);
        let open_at = |sealed: Timestamp| {
            let object = seal(b"x", &ended, bob().certificate(), sealed).unwrap();
            open(&object, bob().keys(), &known, NOW).map(|opened| opened.verified)
        };
        assert_eq!(open_at(while_it_was), Ok(true));
        assert_eq!(open_at(NOW), Err(OpenError::Signature(SignatureFault::Date)));
        assert!(seal(b"x", alice().keys(), ended.certificate(), while_it_was).is_ok());
        assert_eq!(seal(b"x", alice().keys(), ended.certificate(), NOW), Err(SealError::NoValidKey));
    }

    #[test]
    fn nothing_is_sealed_to_a_key_that_ended() {
        let (old, new) = rotated();
        assert_eq!(seal(b"x", alice().keys(), old.certificate(), NOW), Err(SealError::NoValidKey));
        let later = Timestamp::from_secs(NOW.secs() + 41 * DAY);
        assert_eq!(seal(b"x", alice().keys(), new.certificate(), later), Err(SealError::NoValidKey));
    }

    #[test]
    fn a_key_is_used_from_its_making_less_the_skew_of_clocks_to_the_second_before_its_end() {
        let (made, end, skew) = (NOW.secs() - 90 * DAY, NOW.secs() - 10 * DAY, SIGNATURE_SKEW.as_secs() as i64);
        let (old, _) = rotated();
        let primary_ends = builder().set_validity_period(Duration::from_secs(80 * 86_400)).add_subkey(
            encryption(),
            Duration::from_secs(300 * 86_400),
            CipherSuite::MLDSA65_Ed25519,
        );
        let primary_ends = Certificate::from_bytes(&bytes(primary_ends)).unwrap();
        for certificate in [old.certificate(), &primary_ends] {
            let usable = |at| certificate.encryption_key(Timestamp::from_secs(at)).is_some();
            assert_eq!([made - skew - 1, made - skew, end - 1, end].map(usable), [false, true, true, false]);
        }
    }

    #[test]
    fn a_signature_counts_from_the_second_of_its_key_to_the_one_before_the_end() {
        let cert = builder()
            .set_validity_period(Duration::from_secs(80 * 86_400))
            .add_subkey(encryption(), None, CipherSuite::MLDSA65_Ed25519)
            .generate()
            .unwrap()
            .0;
        let keys = SecretKeys::from_bytes(&cert.as_tsk().to_vec().unwrap()).unwrap();
        let (made, end) = (NOW.secs() - 90 * DAY, NOW.secs() - 10 * DAY);
        let verified = |at: i64| {
            let signature = keys.sign(b"x", Some(&bob().fingerprint()), at).unwrap();
            Signed::parse(&signature).unwrap().verify(b"x", &keys.certificate().verifier())
        };
        for at in [made, end - 1] {
            assert_eq!(verified(at), Ok(()), "{at}");
        }
        for at in [made - 1, end] {
            assert_eq!(verified(at), Err(SignatureFault::Date), "{at}");
        }
        // Clocks may differ by this much and no more.
        let skew = SIGNATURE_SKEW.as_secs() as i64;
        let checked = |at: i64| {
            let signature = keys.sign(b"x", Some(&bob().fingerprint()), at).unwrap();
            Signed::parse(&signature).unwrap().check(&bob().fingerprint(), NOW)
        };
        assert_eq!(checked(NOW.secs() + skew), Ok(()));
        assert_eq!(checked(NOW.secs() + skew + 1), Err(SignatureFault::Future));
    }

    #[test]
    fn a_certificate_has_so_many_packets_and_bytes_and_no_more() {
        let good = alice().certificate().bytes();
        let (mut own, mut rest) = (0, good);
        while !rest.is_empty() {
            (own, rest) = (own + 1, split(rest).unwrap().1);
        }
        let names = |count: usize| [good, &packet(tag::USER_ID, b"a").repeat(count)].concat();
        assert!(Certificate::from_bytes(&names(CERTIFICATE_PACKETS - own)).is_ok());
        let many = Certificate::from_bytes(&names(CERTIFICATE_PACKETS - own + 1));
        assert_eq!(many.err(), Some(CertificateError::TooLarge));
        let long = |len: usize| {
            let name = vec![b'a'; len - good.len() - packet(tag::USER_ID, b"").len()];
            Certificate::from_bytes(&[good, &packet(tag::USER_ID, &name)].concat()).err()
        };
        assert_eq!(long(CERTIFICATE_BYTES), None);
        assert_eq!(long(CERTIFICATE_BYTES + 1), Some(CertificateError::TooLarge));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_flipped_bit_makes_no_other_identity(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let mut bytes = alice().certificate().bytes().to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            if let Ok(read) = Certificate::from_bytes(&bytes) {
                prop_assert_eq!(read.fingerprint(), alice().fingerprint());
            }
        }

        #[test]
        fn any_bytes_are_refused_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Certificate::from_bytes(&bytes).is_err());
            prop_assert!(SecretKeys::from_bytes(&bytes).is_err());
        }
    }
}
