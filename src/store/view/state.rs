//! Cutting a saved state into chunks by its content, so that a small change rewrites few of them.
//!
//! A boundary is where a rolling hash of the last bytes has a run of zeros: bytes that are inserted move the
//! boundaries after them along, and the chunks stay the same.

use serde::{Deserialize, Serialize};

use crate::base::limits::VIEW_VALUE_BYTES;
use crate::store::log::LogPosition;

/// A chunk is at least this long, the last one excepted.
const MIN_BYTES: usize = VIEW_VALUE_BYTES / 8;
/// A chunk is at most this long, so that it is a small value when it is sealed.
const MAX_BYTES: usize = VIEW_VALUE_BYTES - 64;
/// 15 bits: a boundary every 32 KiB on average.
const MASK: u64 = 0x7fff << 40;

/// The name of a chunk: a keyed hash of its content, cut to 16 bytes.
pub(super) type ChunkName = [u8; 16];

/// The contents of a saved state.
#[derive(Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) position: LogPosition,
    /// The chunks, in order.
    pub(super) chunks: Vec<ChunkName>,
}

/// Cuts bytes into chunks; put together, they are the bytes again.
pub(super) fn cut(bytes: &[u8]) -> Vec<&[u8]> {
    let mut chunks = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(boundary(rest));
        chunks.push(chunk);
        rest = after;
    }
    chunks
}

fn boundary(bytes: &[u8]) -> usize {
    let mut hash = 0_u64;
    for (place, byte) in bytes.iter().take(MAX_BYTES).enumerate() {
        hash = (hash << 1).wrapping_add(gear(*byte));
        if place + 1 >= MIN_BYTES && hash & MASK == 0 {
            return place + 1;
        }
    }
    bytes.len().min(MAX_BYTES)
}

/// A fixed random-looking number for each byte (the finaliser of SplitMix64).
const fn gear(byte: u8) -> u64 {
    let mut x = (byte as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;
    use crate::base::rng::SeededRng;
    use std::collections::BTreeSet;

    #[test]
    fn an_insertion_changes_few_chunks() {
        let mut bytes = vec![0; 2_000_000];
        SeededRng::new(3).fill(&mut bytes);
        let before: Vec<Vec<u8>> = cut(&bytes).into_iter().map(<[u8]>::to_vec).collect();
        assert_eq!(before.concat(), bytes);
        assert!(before.len() > 30);
        assert!(before.iter().all(|chunk| chunk.len() <= MAX_BYTES));
        let known: BTreeSet<_> = before.iter().collect();
        bytes.splice(700_000..700_000, *b"a new message");
        let after = cut(&bytes);
        assert_eq!(after.concat(), bytes);
        let new = after.iter().filter(|chunk| !known.contains(&chunk.to_vec())).count();
        assert!(new <= 3, "{new} of {} chunks are new", after.len());
    }

    #[test]
    fn bytes_without_any_boundary_are_cut_by_length() {
        assert!(cut(&[]).is_empty());
        let zeros = vec![0; 300_000];
        assert_eq!(cut(&zeros).concat(), zeros);
        assert_eq!(cut(&zeros[..5]), [&zeros[..5]]);
    }
}
