//! The sizes that a sealed object may have, and the arithmetic that fills one exactly
//! (docs/protocol.md, "Sizes").
//!
//! The buckets are 4, 16, 64 and 256 KiB, then every whole MiB up to
//! [`OBJECT_BYTES`]: the size of an object says no more than that.

use crate::base::limits::OBJECT_BYTES;

use super::packet::HEADER_BYTES;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const SMALL: [usize; 4] = [4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB];

/// The PKESK of the profile, with its header. All of them have this size.
pub(super) const PKESK_BYTES: usize = 1 + 2 + PKESK_BODY_BYTES;
/// Version, empty recipient, algorithm, X25519 share, ML-KEM-768 ciphertext, length and wrapped session key.
pub(super) const PKESK_BODY_BYTES: usize = 3 + X25519_BYTES + MLKEM_BYTES + 1 + WRAPPED_KEY_BYTES;
/// An X25519 share.
pub(super) const X25519_BYTES: usize = 32;
/// An ML-KEM-768 ciphertext.
pub(super) const MLKEM_BYTES: usize = 1088;
/// A 32-byte session key under AES key wrap.
pub(super) const WRAPPED_KEY_BYTES: usize = 40;
/// The fields before the chunks in a SEIPD: version, cipher, mode, chunk size, salt.
pub(super) const SEIPD_PREFIX_BYTES: usize = 4 + 32;
/// Plaintext bytes in a chunk.
pub(super) const CHUNK_BYTES: usize = 4 * KIB;
/// An authentication tag.
pub(super) const TAG_BYTES: usize = 16;

/// Every bucket, the smallest first.
pub(super) fn buckets() -> impl Iterator<Item = usize> {
    SMALL.into_iter().chain((1..=OBJECT_BYTES / MIB).map(|count| count * MIB))
}

/// Whether a sealed object may have this size.
pub(super) fn is_bucket(length: usize) -> bool {
    SMALL.contains(&length) || (length > 0 && length.is_multiple_of(MIB) && length <= OBJECT_BYTES)
}

/// How many plaintext bytes an object of this size holds: exactly this many.
pub(super) const fn plaintext_bytes(bucket: usize) -> usize {
    let chunks = bucket.saturating_sub(PKESK_BYTES + HEADER_BYTES + SEIPD_PREFIX_BYTES + TAG_BYTES);
    let sealed_chunk = CHUNK_BYTES + TAG_BYTES;
    (chunks / sealed_chunk) * CHUNK_BYTES + (chunks % sealed_chunk).saturating_sub(TAG_BYTES)
}

/// The buckets for which there are tokens (docs/protocol.md, "Tokens"), the smallest first.
const AT_BOXES: [usize; 7] = [4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB, 16 * MIB];

/// The smallest bucket with tokens that holds this many plaintext bytes; `None` where none does.
pub(super) fn box_bucket_for(plaintext: usize) -> Option<usize> {
    AT_BOXES.into_iter().find(|bucket| plaintext_bytes(*bucket) >= plaintext)
}

/// The smallest bucket that holds this many plaintext bytes; `None` where no bucket does.
pub(super) fn bucket_for(plaintext: usize) -> Option<usize> {
    buckets().find(|bucket| plaintext_bytes(*bucket) >= plaintext)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bucket_can_be_filled_exactly() {
        for bucket in buckets() {
            assert!(is_bucket(bucket));
            let plaintext = plaintext_bytes(bucket);
            let tags = (plaintext.div_ceil(CHUNK_BYTES) + 1) * TAG_BYTES;
            assert_eq!(PKESK_BYTES + HEADER_BYTES + SEIPD_PREFIX_BYTES + plaintext + tags, bucket);
            assert_eq!(bucket_for(plaintext), Some(bucket));
            assert_ne!(bucket_for(plaintext + 1), Some(bucket));
        }
        assert_eq!(buckets().last(), Some(OBJECT_BYTES));
    }

    #[test]
    fn other_sizes_are_no_buckets() {
        for length in [0, 1, 4095, 4097, 8192, 512 * KIB, MIB + 1, MIB - 1, OBJECT_BYTES + MIB] {
            assert!(!is_bucket(length), "{length}");
        }
    }
}
