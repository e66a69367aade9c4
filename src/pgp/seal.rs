//! Sealing: content and keys in, an object of a bucket's size out.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use sequoia_openpgp as openpgp;
use zeroize::Zeroizing;

use crate::base::Timestamp;

use super::Class;
use super::bucket::{box_bucket_for, bucket_for, plaintext_bytes};
use super::certificate::Certificate;
use super::gate::LITERAL_PREFIX;
use super::packet::{HEADER_BYTES, header, tag};
use super::secret::{SecretKeys, SecretKeysError};
use super::seipd::{EncryptFailed, encrypt};
use super::signature::Signature;

/// Why a content was not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The content does not fit into [`OBJECT_BYTES`](crate::base::limits::OBJECT_BYTES).
    #[error("the content is too large to be sealed")]
    TooLarge,
    /// The recipient's certificate has no key that is valid now: the recipient must send a card with a new certificate.
    #[error("the recipient's certificate has no valid encryption key now")]
    NoValidKey,
    /// The operating system gave no random numbers, or the library failed.
    #[error("sealing failed")]
    Failed,
}

impl SealError {
    /// Whether the same call may succeed later.
    pub const fn class(&self) -> Class {
        match self {
            Self::TooLarge => Class::Permanent,
            Self::NoValidKey | Self::Failed => Class::Temporary,
        }
    }
}

impl From<SecretKeysError> for SealError {
    fn from(_: SecretKeysError) -> Self {
        Self::Failed
    }
}

impl From<EncryptFailed> for SealError {
    fn from(_: EncryptFailed) -> Self {
        Self::Failed
    }
}

/// Signs a content and seals it to one recipient. Every call makes another object, with a session key of its own.
///
/// # Errors
/// See [`SealError`].
pub fn seal(content: &[u8], keys: &SecretKeys, recipient: &Certificate, now: Timestamp) -> Result<Vec<u8>, SealError> {
    seal_into(content, keys, recipient, bucket_for, now)
}

/// As [`seal`], but the object has a size for which there are tokens.
///
/// # Errors
/// See [`SealError`].
pub fn seal_for_box(
    content: &[u8],
    keys: &SecretKeys,
    recipient: &Certificate,
    now: Timestamp,
) -> Result<Vec<u8>, SealError> {
    seal_into(content, keys, recipient, box_bucket_for, now)
}

/// Chooses the bucket for so many plaintext bytes.
type Bucket = fn(usize) -> Option<usize>;

fn seal_into(
    content: &[u8],
    keys: &SecretKeys,
    recipient: &Certificate,
    bucket: Bucket,
    now: Timestamp,
) -> Result<Vec<u8>, SealError> {
    let key = recipient.encryption_key(now).ok_or(SealError::NoValidKey)?;
    // A content that cannot fit is refused before it is hashed.
    bucket(content.len()).ok_or(SealError::TooLarge)?;
    let signature = keys.sign_content(content, &recipient.fingerprint(), now)?;
    let (plaintext, bucket) = message(content, &signature, bucket)?;
    Ok(encrypt(&plaintext, key, bucket)?)
}

/// One-pass signature, literal, signature, and the padding that fills the bucket.
fn message(content: &[u8], signature: &[u8], bucket: Bucket) -> Result<(Zeroizing<Vec<u8>>, usize), SealError> {
    let one_pass: Vec<u8> = Signature::parse(signature).map_err(|_| SealError::Failed)?.one_pass().collect();
    let literal = LITERAL_PREFIX.len() + content.len();
    let unpadded = HEADER_BYTES + one_pass.len() + HEADER_BYTES + literal + signature.len();
    let bucket = bucket(unpadded + HEADER_BYTES).ok_or(SealError::TooLarge)?;
    let total = plaintext_bytes(bucket);
    let mut plaintext = Zeroizing::new(Vec::with_capacity(total));
    plaintext.extend_from_slice(&header(tag::ONE_PASS, one_pass.len()).ok_or(SealError::TooLarge)?);
    plaintext.extend_from_slice(&one_pass);
    plaintext.extend_from_slice(&header(tag::LITERAL, literal).ok_or(SealError::TooLarge)?);
    plaintext.extend_from_slice(&LITERAL_PREFIX);
    plaintext.extend_from_slice(content);
    plaintext.extend_from_slice(signature);
    pad(&mut plaintext, total)?;
    Ok((plaintext, bucket))
}

/// Appends a padding packet up to `total` bytes. The packet has at least [`HEADER_BYTES`].
fn pad(plaintext: &mut Vec<u8>, total: usize) -> Result<(), SealError> {
    let padding = total.checked_sub(plaintext.len() + HEADER_BYTES).ok_or(SealError::Failed)?;
    plaintext.extend_from_slice(&header(tag::PADDING, padding).ok_or(SealError::Failed)?);
    let start = plaintext.len();
    plaintext.resize(total, 0);
    // Random, so that it does not compress (RFC 9580 §5.14); from a stretched seed, since it may be a MiB.
    let mut seed = Zeroizing::new([0; 32]);
    openpgp::crypto::random(seed.as_mut_slice()).map_err(|_| SealError::Failed)?;
    ChaCha20Rng::from_seed(*seed).fill_bytes(plaintext.get_mut(start..).unwrap_or_default());
    Ok(())
}
