//! The one form of signature that the profile knows (docs/protocol.md, "Signatures"): version 6, over binary
//! data, by an Ed25519 primary key, with SHA-512 or SHA-256.
//!
//! Its hashed area holds the creation time and the issuer's fingerprint, and in a message the Intended
//! Recipient; its unhashed area is empty. Reading it needs no library and no allocation; verifying it
//! is Ed25519 in its strict form. The library's own verification is not used for mail because it remembers
//! every signature it saw, without bound.

use ed25519_dalek::VerifyingKey;
use sha2::{Digest, Sha256, Sha512};

use crate::base::Timestamp;
use crate::base::ids::Fingerprint;
use crate::base::limits::{SIGNATURE_BYTES, SIGNATURE_SKEW};

use super::packet::{HeaderFault, split, tag};

const VERSION: u8 = 6;
const TYPE_BINARY: u8 = 0x00;
const ALGORITHM_ED25519: u8 = 27;
const HASH_SHA256: u8 = 8;
const HASH_SHA512: u8 = 10;

const SUBPACKET_CREATION: u8 = 2;
const SUBPACKET_ISSUER: u8 = 33;
const SUBPACKET_INTENDED: u8 = 35;

/// Why a signature is not of the profile, or is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFault {
    /// Not one whole signature packet, or longer than allowed.
    #[error("not one signature packet")]
    Packet,
    /// Not version 6.
    #[error("a signature of another version")]
    Version,
    /// Not over binary data.
    #[error("a signature of another type")]
    Type,
    /// Not Ed25519 with SHA-512 or SHA-256.
    #[error("a signature with other algorithms")]
    Algorithm,
    /// A part has the wrong length.
    #[error("a malformed signature")]
    Form,
    /// A subpacket that is unknown, twice, or not allowed here.
    #[error("a subpacket that the profile does not allow")]
    Subpacket,
    /// No creation time or no issuer.
    #[error("a signature without date or issuer")]
    Incomplete,
    /// No Intended Recipient.
    #[error("the signature lacks its intended recipient")]
    NoRecipient,
    /// Made for somebody else.
    #[error("the signature was made for another recipient")]
    OtherRecipient,
    /// Dated before its key, or after its key's end.
    #[error("the signature's date is impossible")]
    Date,
    /// Dated too far in the future.
    #[error("the signature is from the future")]
    Future,
    /// By another key than the certificate's primary key.
    #[error("the signature names another key")]
    Issuer,
    /// It does not verify.
    #[error("the signature is wrong")]
    Bad,
}

/// A signature that was read and not yet verified.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signature<'a> {
    hash: u8,
    created: u32,
    issuer: &'a [u8; 32],
    intended: Option<&'a [u8; 32]>,
    hashed: &'a [u8],
    prefix: [u8; 2],
    salt: &'a [u8],
    value: &'a [u8; 64],
}

/// The key that a signature is verified with.
pub(super) struct Verifier<'a> {
    pub(super) key: &'a VerifyingKey,
    pub(super) fingerprint: &'a Fingerprint,
    /// Seconds since 1970.
    pub(super) created: i64,
    /// Seconds since 1970; a signature made later does not count.
    pub(super) expires: Option<i64>,
}

impl<'a> Signature<'a> {
    /// Reads one signature packet, with its header, and nothing else.
    pub(super) fn parse(packet: &'a [u8]) -> Result<Self, SignatureFault> {
        if packet.len() > SIGNATURE_BYTES {
            return Err(SignatureFault::Packet);
        }
        let (packet, rest) = split(packet).map_err(|_: HeaderFault| SignatureFault::Packet)?;
        if packet.tag != tag::SIGNATURE || !rest.is_empty() {
            return Err(SignatureFault::Packet);
        }
        let (&[version, kind, algorithm, hash], rest) =
            packet.body.split_first_chunk::<4>().ok_or(SignatureFault::Form)?;
        if version != VERSION {
            return Err(SignatureFault::Version);
        }
        if kind != TYPE_BINARY {
            return Err(SignatureFault::Type);
        }
        if algorithm != ALGORITHM_ED25519 || salt_bytes(hash).is_none() {
            return Err(SignatureFault::Algorithm);
        }
        let (hashed, rest) = area(rest)?;
        let (unhashed, rest) = area(rest)?;
        if !unhashed.is_empty() {
            return Err(SignatureFault::Subpacket);
        }
        let (&prefix, rest) = rest.split_first_chunk::<2>().ok_or(SignatureFault::Form)?;
        let (&salt_length, rest) = rest.split_first().ok_or(SignatureFault::Form)?;
        let (salt, rest) = rest.split_at_checked(usize::from(salt_length)).ok_or(SignatureFault::Form)?;
        if Some(salt.len()) != salt_bytes(hash) {
            return Err(SignatureFault::Form);
        }
        let value = rest.try_into().map_err(|_| SignatureFault::Form)?;
        let Subpackets { created, issuer, intended } = subpackets(hashed)?;
        Ok(Self { hash, created, issuer, intended, hashed, prefix, salt, value })
    }

    /// The body of the one-pass signature that announces this one (RFC 9580 §5.4).
    pub(super) fn one_pass(&self) -> impl Iterator<Item = u8> + use<'a> {
        let salt_length = u8::try_from(self.salt.len()).unwrap_or(0);
        [VERSION, TYPE_BINARY, self.hash, ALGORITHM_ED25519, salt_length]
            .into_iter()
            .chain(self.salt.iter().copied())
            .chain(self.issuer.iter().copied())
            .chain([1])
    }

    /// The primary key that the signature names as its own.
    pub(super) const fn issuer(&self) -> Fingerprint {
        Fingerprint::from_bytes(*self.issuer)
    }

    /// Whether it is a statement for everybody, and not a message for one recipient.
    pub(super) const fn has_no_recipient(&self) -> bool {
        self.intended.is_none()
    }

    /// Checks the facts that need no certificate: the recipient, and that the date is not in the future.
    pub(super) fn check(&self, recipient: &Fingerprint, now: Timestamp) -> Result<(), SignatureFault> {
        if self.intended.ok_or(SignatureFault::NoRecipient)? != recipient.as_bytes() {
            return Err(SignatureFault::OtherRecipient);
        }
        if i64::from(self.created) > now.plus(SIGNATURE_SKEW).secs() {
            return Err(SignatureFault::Future);
        }
        Ok(())
    }

    /// Verifies the signature over these bytes with this key.
    pub(super) fn verify(&self, data: &[u8], by: &Verifier<'_>) -> Result<(), SignatureFault> {
        if self.issuer != by.fingerprint.as_bytes() {
            return Err(SignatureFault::Issuer);
        }
        let created = i64::from(self.created);
        if created < by.created || by.expires.is_some_and(|end| created >= end) {
            return Err(SignatureFault::Date);
        }
        let value = ed25519_dalek::Signature::from_bytes(self.value);
        let holds = match self.hash {
            HASH_SHA256 => self.holds::<Sha256>(data, by.key, &value),
            _ => self.holds::<Sha512>(data, by.key, &value),
        };
        if holds { Ok(()) } else { Err(SignatureFault::Bad) }
    }

    fn holds<D: Digest>(&self, data: &[u8], key: &VerifyingKey, value: &ed25519_dalek::Signature) -> bool {
        // RFC 9580 §5.2.4: salt, data, the hashed part of the signature, the trailer.
        let head = [VERSION, TYPE_BINARY, ALGORITHM_ED25519, self.hash];
        let hashed_length = u32::try_from(self.hashed.len()).unwrap_or(u32::MAX);
        let digest = D::new()
            .chain_update(self.salt)
            .chain_update(data)
            .chain_update(head)
            .chain_update(hashed_length.to_be_bytes())
            .chain_update(self.hashed)
            .chain_update([VERSION, 0xFF])
            .chain_update(hashed_length.saturating_add(8).to_be_bytes())
            .finalize();
        digest.starts_with(&self.prefix) && key.verify_strict(&digest, value).is_ok()
    }
}

/// The salt of a version 6 signature with this hash; `None` for hashes that we do not accept.
const fn salt_bytes(hash: u8) -> Option<usize> {
    match hash {
        HASH_SHA256 => Some(16),
        HASH_SHA512 => Some(32),
        _ => None,
    }
}

fn area(input: &[u8]) -> Result<(&[u8], &[u8]), SignatureFault> {
    let (length, rest) = input.split_first_chunk::<4>().ok_or(SignatureFault::Form)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| SignatureFault::Form)?;
    rest.split_at_checked(length).ok_or(SignatureFault::Form)
}

struct Subpackets<'a> {
    created: u32,
    issuer: &'a [u8; 32],
    intended: Option<&'a [u8; 32]>,
}

fn subpackets(mut hashed: &[u8]) -> Result<Subpackets<'_>, SignatureFault> {
    let (mut created, mut issuer, mut intended) = (None, None, None);
    while let Some((&length, rest)) = hashed.split_first() {
        // A length of 192 or more takes more octets; no subpacket of the profile is that long.
        if length >= 192 {
            return Err(SignatureFault::Subpacket);
        }
        let (subpacket, rest) = rest.split_at_checked(usize::from(length)).ok_or(SignatureFault::Form)?;
        hashed = rest;
        let (&kind, value) = subpacket.split_first().ok_or(SignatureFault::Form)?;
        // The high bit marks the subpacket as critical, which changes nothing for those that we know.
        let again = match kind & 0x7F {
            SUBPACKET_CREATION => {
                let value = value.try_into().map_err(|_| SignatureFault::Form)?;
                created.replace(u32::from_be_bytes(value)).is_some()
            }
            SUBPACKET_ISSUER => issuer.replace(v6_fingerprint(value)?).is_some(),
            SUBPACKET_INTENDED => intended.replace(v6_fingerprint(value)?).is_some(),
            _ => true,
        };
        if again {
            return Err(SignatureFault::Subpacket);
        }
    }
    match (created, issuer) {
        (Some(created), Some(issuer)) => Ok(Subpackets { created, issuer, intended }),
        _ => Err(SignatureFault::Incomplete),
    }
}

fn v6_fingerprint(value: &[u8]) -> Result<&[u8; 32], SignatureFault> {
    match value {
        [VERSION, fingerprint @ ..] => fingerprint.try_into().map_err(|_| SignatureFault::Form),
        _ => Err(SignatureFault::Version),
    }
}
