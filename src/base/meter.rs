//! A count of the steps that parsers make, so that tests and fuzzing hold them to the multiple of their input that they
//! promise.
//!
//! A step is a byte (or an entry of a list) that is looked at or copied. A parser reports its steps with [`steps`]. The
//! product itself counts nothing: outside of tests and fuzzing the function is empty.

/// Counts so many steps.
#[cfg(not(any(test, fuzzing)))]
#[inline(always)]
pub const fn steps(_count: usize) {}

#[cfg(any(test, fuzzing))]
pub use counting::{so_far, steps, work};

#[cfg(any(test, fuzzing))]
mod counting {
    use std::cell::Cell;

    thread_local! {
        static STEPS: Cell<u64> = const { Cell::new(0) };
    }

    /// Counts so many steps.
    pub fn steps(count: usize) {
        STEPS.with(|steps| steps.set(steps.get().saturating_add(count as u64)));
    }

    /// The steps that this thread has made so far.
    pub fn so_far() -> u64 {
        STEPS.with(Cell::get)
    }

    /// The steps that the work makes on this thread, and its result.
    pub fn work<T>(what: impl FnOnce() -> T) -> (u64, T) {
        let before = so_far();
        let result = what();
        (so_far().saturating_sub(before), result)
    }
}
