//! Encrypted data (SEIPD version 2, AES-256-OCB in chunks of 4 KiB; RFC 9580 §5.13.2) and the session key before
//! it (PKESK version 6; §5.1.2), whole and in memory. The primitives are the library's; the framing is ours, so that
//! every length is whole and the size is a bucket's.

use openpgp::Packet;
use openpgp::crypto::SessionKey;
use openpgp::crypto::aead::{SEIPv2Schedule, Schedule};
use openpgp::packet::Key;
use openpgp::packet::key::{PublicParts, UnspecifiedRole};
use openpgp::packet::pkesk::PKESK6;
use openpgp::serialize::MarshalInto;
use openpgp::types::{AEADAlgorithm, SymmetricAlgorithm};
use sequoia_openpgp as openpgp;
use std::sync::Arc;
use zeroize::Zeroizing;

use super::bucket::{CHUNK_BYTES, PKESK_BYTES, SEIPD_PREFIX_BYTES, TAG_BYTES, plaintext_bytes};
use super::gate::{Outer, SEIPD_PARAMETERS};
use super::opener::Opener;
use super::packet::{HEADER_BYTES, header, tag};

const SESSION_KEY_BYTES: usize = 32;
const CIPHER: SymmetricAlgorithm = SymmetricAlgorithm::AES256;
const MODE: AEADAlgorithm = AEADAlgorithm::OCB;

/// Encrypting failed: there were no random numbers, or the plaintext does not fill the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EncryptFailed;

/// Why decrypting failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DecryptFailed {
    /// No key unwraps the session key.
    NotForUs,
    /// A tag is wrong.
    Damaged,
    /// Not enough memory now.
    Busy,
}

/// Encrypts packets that fill the bucket exactly; the object has the bucket's size.
pub(super) fn encrypt(
    plaintext: &[u8],
    recipient: &Key<PublicParts, UnspecifiedRole>,
    bucket: usize,
) -> Result<Vec<u8>, EncryptFailed> {
    if plaintext.is_empty() || plaintext.len() != plaintext_bytes(bucket) {
        return Err(EncryptFailed);
    }
    let session_key = SessionKey::new(SESSION_KEY_BYTES).map_err(|_| EncryptFailed)?;
    let mut salt = [0; 32];
    openpgp::crypto::random(&mut salt).map_err(|_| EncryptFailed)?;

    let mut object = Vec::with_capacity(bucket);
    object.extend_from_slice(&wrap(&session_key, recipient)?);
    object.extend_from_slice(&header(tag::SEIPD, bucket - PKESK_BYTES - HEADER_BYTES).ok_or(EncryptFailed)?);
    object.extend_from_slice(&SEIPD_PARAMETERS);
    object.extend_from_slice(&salt);
    debug_assert_eq!(object.len(), PKESK_BYTES + HEADER_BYTES + SEIPD_PREFIX_BYTES);
    encrypt_chunks(plaintext, &session_key, &salt, &mut object).map_err(|_| EncryptFailed)?;
    if object.len() == bucket { Ok(object) } else { Err(EncryptFailed) }
}

fn wrap(session_key: &SessionKey, recipient: &Key<PublicParts, UnspecifiedRole>) -> Result<Vec<u8>, EncryptFailed> {
    let mut pkesk = PKESK6::for_recipient(session_key, recipient).map_err(|_| EncryptFailed)?;
    pkesk.set_recipient(None);
    Packet::from(pkesk).to_vec().map_err(|_| EncryptFailed)
}

fn schedule(session_key: &SessionKey, salt: &[u8; 32]) -> openpgp::Result<SEIPv2Schedule> {
    SEIPv2Schedule::new(session_key, CIPHER, MODE, CHUNK_BYTES, salt)
}

fn encrypt_chunks(plaintext: &[u8], key: &SessionKey, salt: &[u8; 32], object: &mut Vec<u8>) -> openpgp::Result<()> {
    let schedule = schedule(key, salt)?;
    let mut sealed = [0; CHUNK_BYTES + TAG_BYTES];
    let mut index = 0;
    for chunk in plaintext.chunks(CHUNK_BYTES) {
        let sealed = sealed.get_mut(..chunk.len() + TAG_BYTES).unwrap_or_default();
        schedule.chunk(index, &mut |key, nonce, data| {
            MODE.context(CIPHER, key, data, nonce)?.for_encryption()?.encrypt_seal(sealed, chunk)
        })?;
        object.extend_from_slice(sealed);
        index += 1;
    }
    let mut last = [0; TAG_BYTES];
    schedule.finalizer(index, plaintext.len() as u64, &mut |key, nonce, data| {
        MODE.context(CIPHER, key, data, nonce)?.for_encryption()?.encrypt_seal(&mut last, &[])
    })?;
    object.extend_from_slice(&last);
    Ok(())
}

/// Decrypts an object that passed the outer gate, trying the keys in their order. Returns all of the plaintext, or
/// nothing.
pub(super) fn decrypt(outer: &Outer<'_>, keys: &[Arc<Opener>]) -> Result<Zeroizing<Vec<u8>>, DecryptFailed> {
    let session_key = keys
        .iter()
        .find_map(|key| key.session_key(outer))
        .filter(|key| key.len() == SESSION_KEY_BYTES)
        .ok_or(DecryptFailed::NotForUs)?
        .into();
    let mut plaintext = Zeroizing::new(Vec::new());
    plaintext.try_reserve_exact(outer.chunks.len()).map_err(|_| DecryptFailed::Busy)?;
    decrypt_chunks(outer, &session_key, &mut plaintext).map_err(|_| DecryptFailed::Damaged)?;
    Ok(plaintext)
}

fn decrypt_chunks(outer: &Outer<'_>, key: &SessionKey, plaintext: &mut Vec<u8>) -> openpgp::Result<()> {
    let damaged = || openpgp::Error::ManipulatedMessage;
    let schedule = schedule(key, outer.salt)?;
    let (chunks, last) = outer.chunks.split_last_chunk::<TAG_BYTES>().ok_or_else(damaged)?;
    let mut index = 0;
    for sealed in chunks.chunks(CHUNK_BYTES + TAG_BYTES) {
        let start = plaintext.len();
        plaintext.resize(start + sealed.len().checked_sub(TAG_BYTES).filter(|n| *n > 0).ok_or_else(damaged)?, 0);
        let opened = plaintext.get_mut(start..).ok_or_else(damaged)?;
        schedule.chunk(index, &mut |key, nonce, data| {
            MODE.context(CIPHER, key, data, nonce)?.for_decryption()?.decrypt_verify(opened, sealed)
        })?;
        index += 1;
    }
    schedule.finalizer(index, plaintext.len() as u64, &mut |key, nonce, data| {
        MODE.context(CIPHER, key, data, nonce)?.for_decryption()?.decrypt_verify(&mut [], last)
    })
}
