//! AES-256-GCM over ring, bodies in chunks, key derivation, and the operating system's randomness.
//!
//! A nonce is a counter where one writer holds the key, and random where a key seals few values. ring does not wipe its
//! expanded keys; the key bytes that we hold are wiped (`base::secret`).

use std::ops::Range;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hmac;
use zeroize::Zeroizing;

use crate::base::{BodyId, Rng, SymmetricKey};

/// Bytes that AES-GCM adds to each value.
pub(super) const TAG_BYTES: usize = 16;
/// Bytes of a nonce.
pub(super) const NONCE_BYTES: usize = 12;
/// A body is sealed in chunks of this many bytes, so that reading at any offset opens only one of them.
pub(super) const CHUNK_BYTES: usize = 64 * 1024;
/// The length of a sealed chunk in a file, the last one excepted.
pub(super) const SEALED_CHUNK: usize = CHUNK_BYTES + TAG_BYTES;

/// The bytes did not authenticate: they are damaged, or another key sealed them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Forged;

/// The operating system's random number generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsRng;

impl Rng for OsRng {
    /// Fills the buffer.
    ///
    /// # Panics
    /// Where the operating system has no randomness, since no key may be made then.
    fn fill(&mut self, buffer: &mut [u8]) {
        if let Err(error) = getrandom::fill(buffer) {
            panic!("the operating system gives no random bytes: {error}");
        }
    }
}

/// A key ready for use.
pub(super) struct Sealer(LessSafeKey);

impl Sealer {
    pub(super) fn new(key: &SymmetricKey) -> Self {
        match UnboundKey::new(&AES_256_GCM, key.expose()) {
            Ok(key) => Self(LessSafeKey::new(key)),
            Err(_) => unreachable!("the key has 32 bytes"),
        }
    }

    /// Encrypts `buffer[start..]` in place and appends the tag.
    pub(super) fn seal_tail(&self, nonce: [u8; NONCE_BYTES], aad: &[u8], buffer: &mut Vec<u8>, start: usize) {
        let plain = buffer.get_mut(start..).unwrap_or_default();
        let nonce = Nonce::assume_unique_for_key(nonce);
        match self.0.seal_in_place_separate_tag(nonce, Aad::from(aad), plain) {
            Ok(tag) => buffer.extend_from_slice(tag.as_ref()),
            Err(_) => unreachable!("below the 64 GiB of AES-GCM"),
        }
    }

    /// Decrypts in place and cuts off the tag.
    pub(super) fn open(&self, nonce: [u8; NONCE_BYTES], aad: &[u8], sealed: &mut Vec<u8>) -> Result<(), Forged> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let len = self.0.open_in_place(nonce, Aad::from(aad), sealed).map_err(|_| Forged)?.len();
        sealed.truncate(len);
        Ok(())
    }

    /// nonce ‖ ciphertext, with a random nonce. For keys that seal fewer than 2³² values.
    pub(super) fn seal_value(&self, aad: &[u8], plain: &[u8], rng: &mut dyn Rng) -> Vec<u8> {
        let nonce: [u8; NONCE_BYTES] = rng.array();
        let mut sealed = Vec::with_capacity(NONCE_BYTES + plain.len() + TAG_BYTES);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        self.seal_tail(nonce, aad, &mut sealed, NONCE_BYTES);
        sealed
    }

    /// Opens a value that [`Self::seal_value`] made.
    pub(super) fn open_value(&self, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Forged> {
        let (nonce, sealed) = sealed.split_first_chunk().ok_or(Forged)?;
        let mut plain = sealed.to_vec();
        self.open(*nonce, aad, &mut plain)?;
        Ok(plain)
    }
}

/// HMAC-SHA-256 of the data.
pub(super) fn mac(key: &SymmetricKey, data: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.expose()), data);
    let mut bytes = [0; 32];
    bytes.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
    bytes
}

/// The key for one purpose, derived from this key.
pub(super) fn derive(key: &SymmetricKey, purpose: &str) -> SymmetricKey {
    SymmetricKey::from_bytes(mac(key, purpose.as_bytes()))
}

/// The length of a sealed body of this length.
pub(super) const fn sealed_len(len: u64) -> u64 {
    let chunks = len.div_ceil(CHUNK_BYTES as u64);
    len + TAG_BYTES as u64 * if chunks == 0 { 1 } else { chunks }
}

/// Appends the body, sealed in chunks (docs/on-disk.md, "Bodies").
pub(super) fn seal_body(key: &SymmetricKey, id: BodyId, bytes: &[u8], out: &mut Vec<u8>) {
    let mut chunks = Chunks::new(key, id.as_bytes());
    chunks.push(bytes, out);
    chunks.finish(out);
}

/// Seals bytes that come bit by bit in chunks; an empty stream is one empty chunk.
pub(super) struct Chunks {
    sealer: Sealer,
    authenticated: Vec<u8>,
    counter: u64,
    /// Bytes that are not sealed yet: only the next bytes, or the end, show whether they are the last chunk.
    held: Zeroizing<Vec<u8>>,
}

impl Chunks {
    pub(super) fn new(key: &SymmetricKey, authenticated: &[u8]) -> Self {
        let held = Zeroizing::default();
        Self { sealer: Sealer::new(key), authenticated: authenticated.to_vec(), counter: 0, held }
    }

    /// Takes bytes, and appends the chunks that are complete and cannot be the last.
    pub(super) fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while self.held.len() + bytes.len() > CHUNK_BYTES {
            let (part, rest) = bytes.split_at_checked(CHUNK_BYTES - self.held.len()).unwrap_or((bytes, &[]));
            bytes = rest;
            let start = out.len();
            out.extend_from_slice(&self.held);
            out.extend_from_slice(part);
            self.held.clear();
            self.seal(out, start, false);
        }
        self.held.extend_from_slice(bytes);
    }

    /// Appends the last chunk.
    pub(super) fn finish(mut self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.held);
        self.seal(out, start, true);
    }

    fn seal(&mut self, out: &mut Vec<u8>, start: usize, last: bool) {
        self.sealer.seal_tail(chunk_nonce(self.counter, last), &self.authenticated, out, start);
        self.counter += 1;
    }
}

/// Opens one chunk of such a stream.
pub(super) fn open_chunk(
    sealer: &Sealer,
    authenticated: &[u8],
    counter: u64,
    last: bool,
    sealed: &mut Vec<u8>,
) -> Result<(), Forged> {
    sealer.open(chunk_nonce(counter, last), authenticated, sealed)
}

/// The range of sealed bytes to read for this part of a body of `len` bytes. The part must lie within the body, and
/// must not be empty unless the body is.
pub(super) fn sealed_range(len: u64, part: &Range<u64>) -> Range<u64> {
    let first = part.start / CHUNK_BYTES as u64;
    let end = part.end.div_ceil(CHUNK_BYTES as u64).max(first + 1);
    first * SEALED_CHUNK as u64..sealed_len(len).min(end * SEALED_CHUNK as u64)
}

/// Opens the chunks that [`sealed_range`] named and cuts out the part.
pub(super) fn open_part(
    key: &SymmetricKey,
    id: BodyId,
    len: u64,
    part: &Range<u64>,
    sealed: &[u8],
) -> Result<Vec<u8>, Forged> {
    let sealer = Sealer::new(key);
    let first = part.start / CHUNK_BYTES as u64;
    let chunks = len.div_ceil(CHUNK_BYTES as u64).max(1);
    let mut plain = Vec::with_capacity(sealed.len());
    for (counter, chunk) in (first..).zip(sealed.chunks(SEALED_CHUNK)) {
        let mut chunk = chunk.to_vec();
        sealer.open(chunk_nonce(counter, counter + 1 == chunks), id.as_bytes(), &mut chunk)?;
        plain.extend_from_slice(&chunk);
    }
    let skip = usize::try_from(part.start - first * CHUNK_BYTES as u64).map_err(|_| Forged)?;
    let wanted = usize::try_from(part.end - part.start).map_err(|_| Forged)?;
    if plain.len() < skip + wanted {
        return Err(Forged);
    }
    plain.drain(..skip);
    plain.truncate(wanted);
    Ok(plain)
}

fn chunk_nonce(counter: u64, last: bool) -> [u8; NONCE_BYTES] {
    let mut nonce = counter_nonce(counter);
    if let Some(end) = nonce.last_mut() {
        *end = u8::from(last);
    }
    nonce
}

/// The nonce of a counter: eight bytes, and four zeros.
pub(super) fn counter_nonce(counter: u64) -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    nonce.iter_mut().zip(counter.to_le_bytes()).for_each(|(to, from)| *to = from);
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> SymmetricKey {
        SymmetricKey::from_bytes([5; 32])
    }

    fn id() -> BodyId {
        BodyId::from_bytes([6; 16])
    }

    fn part_of(sealed: &[u8], len: u64, part: &Range<u64>) -> Result<Vec<u8>, Forged> {
        let range = sealed_range(len, part);
        open_part(&key(), id(), len, part, &sealed[range.start as usize..range.end as usize])
    }

    proptest! {
        #[test]
        fn any_part_of_a_body_opens(len in prop_oneof![Just(0_usize), Just(CHUNK_BYTES), Just(2 * CHUNK_BYTES), 0..300_000_usize],
                                    a in any::<u32>(), b in any::<u32>()) {
            let body: Vec<u8> = (0..len).map(|i| (i * 7 % 251) as u8).collect();
            let mut sealed = Vec::new();
            seal_body(&key(), id(), &body, &mut sealed);
            prop_assert_eq!(sealed.len() as u64, sealed_len(len as u64));
            let (a, b) = (a as usize % (len + 1), b as usize % (len + 1));
            let part = a.min(b) as u64..a.max(b) as u64;
            if !part.is_empty() || len == 0 {
                prop_assert_eq!(part_of(&sealed, len as u64, &part).unwrap(), &body[part.start as usize..part.end as usize]);
            }
        }
    }

    #[test]
    fn a_body_that_was_cut_or_changed_does_not_open() {
        let body = vec![3; 2 * CHUNK_BYTES];
        let mut sealed = Vec::new();
        seal_body(&key(), id(), &body, &mut sealed);
        let half = CHUNK_BYTES as u64;
        assert_eq!(part_of(&sealed, half, &(0..half)), Err(Forged), "the last flag is missing");
        let mut changed = sealed.clone();
        changed[70_000] ^= 1;
        assert!(part_of(&changed, 2 * half, &(0..half)).is_ok());
        assert_eq!(part_of(&changed, 2 * half, &(half..half + 1)), Err(Forged));
        let (first, second) = sealed.split_at(SEALED_CHUNK);
        let swapped = [second, first].concat();
        assert_eq!(part_of(&swapped, 2 * half, &(0..1)), Err(Forged));
    }

    #[test]
    fn values_open_only_under_their_own_name() {
        let sealer = Sealer::new(&key());
        let sealed = sealer.seal_value(b"name", b"value", &mut OsRng);
        assert_eq!(sealer.open_value(b"name", &sealed).unwrap(), b"value");
        assert_eq!(sealer.open_value(b"other", &sealed), Err(Forged));
        assert_eq!(sealer.open_value(b"name", &sealed[..5]), Err(Forged));
    }
}
