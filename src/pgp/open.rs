//! Opening: an object and keys in, a verified content out, or nothing.
//!
//! The order is fixed: outer gate, session key, all of the decryption, inner gate, recipient and date, signature. The
//! first failure ends it.

use crate::base::Timestamp;
use crate::base::ids::Fingerprint;

use super::Class;
use super::certificate::Certificate;
use super::gate::{InnerFault, OuterFault, inner, outer};
use super::secret::SecretKeys;
use super::seipd::{DecryptFailed, decrypt};
use super::signature::{Signature, SignatureFault};

/// Why an object was not opened. `Display` tells nothing; the variants are for tests and debugging, and no peer may
/// learn them, from a reply or from its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the object was refused")]
pub enum OpenError {
    /// Not of the profile; no secret key touched it.
    Outer(OuterFault),
    /// None of our keys opens it.
    NotForUs,
    /// It was altered.
    Damaged,
    /// The decrypted packets are not of the profile.
    Inner(InnerFault),
    /// The signature is for somebody else, from an impossible date, or wrong.
    Signature(SignatureFault),
    /// There is not enough memory now.
    Busy,
}

impl OpenError {
    /// Whether the same object may be opened later.
    pub const fn class(&self) -> Class {
        match self {
            Self::Busy => Class::Temporary,
            Self::Signature(SignatureFault::Future) => Class::Date,
            _ => Class::Permanent,
        }
    }
}

/// An object that was opened: decrypted, of the profile, made for us. Its content may be shown only where
/// `verified` is true.
pub struct OpenedObject {
    /// The signed bytes.
    pub content: Vec<u8>,
    /// The author's signature over them: one OpenPGP signature packet.
    pub signature: Vec<u8>,
    /// The primary key that the signature names.
    pub issuer: Fingerprint,
    /// Whether the signature was verified with the issuer's certificate. False only where `known` had no certificate:
    /// then [`verify_detached`] must follow, with a certificate that is found through the content.
    pub verified: bool,
}

impl std::fmt::Debug for OpenedObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenedObject").field("verified", &self.verified).finish_non_exhaustive()
    }
}

/// Opens an object. `known` gives the certificate of a primary key, if we have it.
///
/// # Errors
/// See [`OpenError`]. If the certificate is known and the signature is wrong, nothing of the content is returned.
pub fn open(
    object: &[u8],
    keys: &SecretKeys,
    known: &dyn Fn(&Fingerprint) -> Option<Certificate>,
    now: Timestamp,
) -> Result<OpenedObject, OpenError> {
    let outer = outer(object).map_err(OpenError::Outer)?;
    let mut plaintext = decrypt(&outer, keys.openers()).map_err(|failed| match failed {
        DecryptFailed::NotForUs => OpenError::NotForUs,
        DecryptFailed::Damaged => OpenError::Damaged,
        DecryptFailed::Busy => OpenError::Busy,
    })?;
    let message = inner(&plaintext).map_err(OpenError::Inner)?;
    message.signature.check(&keys.certificate().fingerprint(), now).map_err(OpenError::Signature)?;
    let issuer = message.signature.issuer();
    let certificate = known(&issuer);
    if let Some(certificate) = &certificate {
        message.signature.verify(message.content, &certificate.verifier()).map_err(OpenError::Signature)?;
    }
    let signature = message.packet.to_vec();
    let (start, length) = (message.content_start, message.content.len());
    // The content moves to the front of the buffer in which it was decrypted; there is no second copy.
    let mut content = std::mem::take(&mut *plaintext);
    content.drain(..start);
    content.truncate(length);
    Ok(OpenedObject { content, signature, issuer, verified: certificate.is_some() })
}

/// Whether this certificate made a signature from an opened object over this content, for this recipient.
pub fn verify_detached(
    content: &[u8],
    signature: &[u8],
    certificate: &Certificate,
    recipient: &Fingerprint,
    now: Timestamp,
) -> bool {
    Signature::parse(signature).is_ok_and(|signature| {
        signature.check(recipient, now).is_ok() && signature.verify(content, &certificate.verifier()).is_ok()
    })
}
