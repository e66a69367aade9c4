//! Randomness as an argument.
//!
//! The pure layers receive a `&mut dyn Rng`. The daemon gives them the operating system's generator;
//! tests and the simulator give a seeded one, so that a run replays exactly.

use std::time::Duration;

use super::Timestamp;

/// A source of random bytes.
pub trait Rng: Send {
    /// Fills the buffer.
    fn fill(&mut self, buffer: &mut [u8]);
}

impl dyn Rng + '_ {
    /// An array of random bytes.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// A number below `bound` (0 where the bound is 0); the bias is below 2⁻³² for bounds of 32 bits.
    pub fn below(&mut self, bound: u64) -> u64 {
        u64::from_le_bytes(self.array()).checked_rem(bound).unwrap_or(0)
    }
}

/// A random moment within this time from now.
pub fn within(now: Timestamp, spread: Duration, rng: &mut dyn Rng) -> Timestamp {
    let millis = u64::try_from(spread.as_millis()).unwrap_or(u64::MAX);
    now.plus(Duration::from_millis(rng.below(millis.saturating_add(1))))
}

/// A deterministic generator (ChaCha20) for tests and simulations.
#[derive(Debug, Clone)]
pub struct SeededRng(rand_chacha::ChaCha20Rng);

impl SeededRng {
    /// The generator that always yields the same bytes for this seed.
    pub fn new(seed: u64) -> Self {
        use rand_chacha::rand_core::SeedableRng;
        Self(rand_chacha::ChaCha20Rng::seed_from_u64(seed))
    }
}

impl Rng for SeededRng {
    fn fill(&mut self, buffer: &mut [u8]) {
        use rand_chacha::rand_core::RngCore;
        self.0.fill_bytes(buffer);
    }
}
