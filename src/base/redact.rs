//! Values that must not reach a log: [`Sensitive`] hides its value in `Debug`.

use std::fmt;

/// An address, message id or other identifying value: prints as `[redacted]` unless taken out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sensitive<T>(T);

impl<T> Sensitive<T> {
    /// Wraps a value that must not be logged.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, for a use that is not a log.
    pub const fn reveal(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Sensitive<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl<T> fmt::Display for Sensitive<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
