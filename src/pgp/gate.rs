//! The two gates (docs/protocol.md, "The seal"): their grammar refuses everything that is not exactly of the profile.
//!
//! [`outer`] looks at an object before any secret key touches it, [`inner`] at the decrypted packets before any of them
//! is interpreted. Neither allocates, recurses or calls into the OpenPGP library; each reads every header once.

use super::bucket::{
    MLKEM_BYTES, PKESK_BODY_BYTES, SEIPD_PREFIX_BYTES, TAG_BYTES, WRAPPED_KEY_BYTES, X25519_BYTES, is_bucket,
};
use super::packet::{HeaderFault, Packet, split, tag};
use super::signature::{Signature, SignatureFault};

/// ML-KEM-768+X25519 (RFC 9980).
pub(super) const ALGORITHM_MLKEM768_X25519: u8 = 35;
/// AES with a 256-bit key.
const CIPHER_AES256: u8 = 9;
/// OCB.
const MODE_OCB: u8 = 2;
/// Chunks of 2^(6+6) bytes.
const CHUNK_OCTET: u8 = 6;
/// The version of a PKESK that names a v6 key, or no key.
const PKESK_VERSION: u8 = 6;
/// The version of SEIPD with AEAD.
const SEIPD_VERSION: u8 = 2;

/// The four octets that begin a SEIPD of the profile.
pub(super) const SEIPD_PARAMETERS: [u8; 4] = [SEIPD_VERSION, CIPHER_AES256, MODE_OCB, CHUNK_OCTET];

/// Why the outer gate refused an object. Nothing was decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OuterFault {
    /// Its size is not one of the buckets.
    #[error("not of a bucket's size")]
    Size,
    /// A packet header that the profile does not allow.
    #[error(transparent)]
    Header(#[from] HeaderFault),
    /// The first packet is not a PKESK.
    #[error("does not begin with a PKESK")]
    NoSessionKey,
    /// The PKESK is not of version 6.
    #[error("a PKESK of another version")]
    SessionKeyVersion,
    /// The PKESK names a recipient.
    #[error("a PKESK that names its recipient")]
    RecipientNamed,
    /// The PKESK is for another algorithm than ML-KEM-768+X25519.
    #[error("a PKESK for another algorithm")]
    SessionKeyAlgorithm,
    /// The PKESK has another form than the algorithm's.
    #[error("a malformed PKESK")]
    SessionKeyForm,
    /// The second packet is not a SEIPD.
    #[error("the PKESK is not followed by encrypted data")]
    NoEncryptedData,
    /// The SEIPD is not of version 2.
    #[error("encrypted data of another version")]
    EncryptedDataVersion,
    /// The SEIPD uses another cipher, mode or chunk size.
    #[error("encrypted data with other parameters")]
    EncryptedDataParameters,
    /// The SEIPD is too short to hold any content.
    #[error("encrypted data without content")]
    EncryptedDataForm,
    /// Something follows the SEIPD.
    #[error("something follows the encrypted data")]
    Trailing,
}

/// The parts of an object that passed the outer gate.
#[derive(Debug, Clone, Copy)]
pub struct Outer<'a> {
    pub(super) ecdh: &'a [u8; X25519_BYTES],
    pub(super) mlkem: &'a [u8; MLKEM_BYTES],
    pub(super) wrapped: &'a [u8],
    pub(super) salt: &'a [u8; 32],
    /// The chunks and the final tag.
    pub(super) chunks: &'a [u8],
}

/// The outer gate: one PKESK with a hidden recipient, one SEIPD of the profile, nothing else, of a bucket's size.
///
/// # Errors
/// [`OuterFault`] names the first rule that the object breaks.
pub fn outer(object: &[u8]) -> Result<Outer<'_>, OuterFault> {
    if !is_bucket(object.len()) {
        return Err(OuterFault::Size);
    }
    let (first, rest) = split(object)?;
    let (ecdh, mlkem, wrapped) = session_key(first)?;
    let (second, rest) = split(rest)?;
    let (salt, chunks) = encrypted_data(second)?;
    if !rest.is_empty() {
        return Err(OuterFault::Trailing);
    }
    Ok(Outer { ecdh, mlkem, wrapped, salt, chunks })
}

type SessionKeyParts<'a> = (&'a [u8; X25519_BYTES], &'a [u8; MLKEM_BYTES], &'a [u8]);

fn session_key(packet: Packet<'_>) -> Result<SessionKeyParts<'_>, OuterFault> {
    if packet.tag != tag::PKESK {
        return Err(OuterFault::NoSessionKey);
    }
    let ciphertext = match packet.body {
        [PKESK_VERSION, 0, ALGORITHM_MLKEM768_X25519, ciphertext @ ..] => ciphertext,
        [PKESK_VERSION, 0, ..] => return Err(OuterFault::SessionKeyAlgorithm),
        [PKESK_VERSION, ..] => return Err(OuterFault::RecipientNamed),
        _ => return Err(OuterFault::SessionKeyVersion),
    };
    let form = OuterFault::SessionKeyForm;
    let (ecdh, ciphertext) = ciphertext.split_first_chunk().ok_or(form)?;
    let (mlkem, ciphertext) = ciphertext.split_first_chunk().ok_or(form)?;
    let (&length, wrapped) = ciphertext.split_first().ok_or(form)?;
    if usize::from(length) != WRAPPED_KEY_BYTES || packet.body.len() != PKESK_BODY_BYTES {
        return Err(form);
    }
    Ok((ecdh, mlkem, wrapped))
}

fn encrypted_data(packet: Packet<'_>) -> Result<(&[u8; 32], &[u8]), OuterFault> {
    if packet.tag != tag::SEIPD {
        return Err(OuterFault::NoEncryptedData);
    }
    let (parameters, rest) = packet.body.split_first_chunk::<4>().ok_or(OuterFault::EncryptedDataForm)?;
    if *parameters != SEIPD_PARAMETERS {
        let [version, ..] = parameters;
        return Err(match *version {
            SEIPD_VERSION => OuterFault::EncryptedDataParameters,
            _ => OuterFault::EncryptedDataVersion,
        });
    }
    let (salt, chunks) = rest.split_first_chunk().ok_or(OuterFault::EncryptedDataForm)?;
    // At least one chunk with content, its tag, and the final tag.
    if chunks.len() <= 2 * TAG_BYTES {
        return Err(OuterFault::EncryptedDataForm);
    }
    debug_assert!(packet.body.len() > SEIPD_PREFIX_BYTES);
    Ok((salt, chunks))
}

/// Why the inner gate refused a decrypted message. None of it was interpreted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InnerFault {
    /// A packet header that the profile does not allow.
    #[error(transparent)]
    Header(#[from] HeaderFault),
    /// Another packet stands where the profile wants a one-pass signature, literal, signature, or padding.
    #[error("a packet of type {0} out of place")]
    Unexpected(u8),
    /// The one-pass signature does not announce the signature that follows.
    #[error("the one-pass signature and the signature differ")]
    OnePass,
    /// The literal has a format other than binary, a file name or a date.
    #[error("a literal with a format, name or date")]
    Literal,
    /// The signature is not of the profile.
    #[error(transparent)]
    Signature(#[from] SignatureFault),
    /// Something follows the padding.
    #[error("something follows the message")]
    Trailing,
}

/// The parts of a message that passed the inner gate. Its signature is not verified yet.
#[derive(Debug, Clone, Copy)]
pub struct Inner<'a> {
    pub(super) content: &'a [u8],
    /// Where the content begins in the plaintext.
    pub(super) content_start: usize,
    /// The signature packet, with its header.
    pub(super) packet: &'a [u8],
    pub(super) signature: Signature<'a>,
}

/// The beginning of a literal: binary, no name, no date.
pub(super) const LITERAL_PREFIX: [u8; 6] = [b'b', 0, 0, 0, 0, 0];

/// The inner gate: one-pass signature, literal, signature, at most one padding packet, and nothing else.
///
/// # Errors
/// [`InnerFault`] names the first rule that the message breaks.
pub fn inner(plaintext: &[u8]) -> Result<Inner<'_>, InnerFault> {
    let (one_pass, rest) = expect(plaintext, tag::ONE_PASS)?;
    let (literal, rest) = expect(rest, tag::LITERAL)?;
    let (signed, rest) = expect(rest, tag::SIGNATURE)?;
    if !rest.is_empty() {
        let (_, rest) = expect(rest, tag::PADDING)?;
        if !rest.is_empty() {
            return Err(InnerFault::Trailing);
        }
    }
    let content = literal.body.strip_prefix(&LITERAL_PREFIX).ok_or(InnerFault::Literal)?;
    let signature = Signature::parse(signed.raw)?;
    if !signature.one_pass().eq(one_pass.body.iter().copied()) {
        return Err(InnerFault::OnePass);
    }
    let content_start = one_pass.raw.len() + literal.raw.len() - content.len();
    Ok(Inner { content, content_start, packet: signed.raw, signature })
}

fn expect(input: &[u8], wanted: u8) -> Result<(Packet<'_>, &[u8]), InnerFault> {
    let (packet, rest) = split(input)?;
    if packet.tag != wanted {
        return Err(InnerFault::Unexpected(packet.tag));
    }
    Ok((packet, rest))
}
