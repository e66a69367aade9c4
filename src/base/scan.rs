//! Reading bytes from left to right.
//!
//! Parsers that read through a [`Scan`] cannot look at a byte without counting it ([`meter`]). A parser can go back to
//! an earlier place by a copy of the scan; its documentation says how often it does that at most.

use super::meter;

/// The bytes that were not read yet.
#[derive(Debug, Clone, Copy)]
pub struct Scan<'a> {
    rest: &'a [u8],
}

impl<'a> Scan<'a> {
    /// A scan at the beginning of these bytes.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The bytes that were not read yet.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything has been read.
    pub const fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next byte, without reading it.
    pub fn peek(&self) -> Option<u8> {
        meter::steps(1);
        self.rest.first().copied()
    }

    /// Reads the next byte.
    pub fn take(&mut self) -> Option<u8> {
        meter::steps(1);
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(byte)
    }

    /// Reads this byte, if it is the next one.
    pub fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.rest = self.rest.get(1..).unwrap_or_default();
        }
        found
    }

    /// Reads the bytes up to the first one for which `holds` is false.
    pub fn run(&mut self, holds: impl Fn(u8) -> bool) -> &'a [u8] {
        self.run_within(usize::MAX, holds)
    }

    /// As [`Self::run`], but reads at most `most` bytes.
    pub fn run_within(&mut self, most: usize, holds: impl Fn(u8) -> bool) -> &'a [u8] {
        let window = self.rest.get(..most.min(self.rest.len())).unwrap_or_default();
        let len = window.iter().position(|&byte| !holds(byte)).unwrap_or(window.len());
        meter::steps(len + 1);
        let (found, rest) = self.rest.split_at_checked(len).unwrap_or((self.rest, &[]));
        self.rest = rest;
        found
    }

    /// Reads the next line with its line end; empty at the end.
    pub fn line(&mut self) -> &'a [u8] {
        let len = self.rest.iter().position(|&byte| byte == b'\n').map_or(self.rest.len(), |at| at + 1);
        meter::steps(len + 1);
        let (line, rest) = self.rest.split_at_checked(len).unwrap_or((self.rest, &[]));
        self.rest = rest;
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_that_is_read_is_counted() {
        let text = b"abc, def\nghi";
        let (steps, ()) = meter::work(|| {
            let mut scan = Scan::new(text);
            assert_eq!(scan.run(|byte| byte.is_ascii_alphabetic()), b"abc");
            assert!(scan.eat(b','));
            assert_eq!(scan.line(), b" def\n");
            assert_eq!(scan.run_within(2, |_| true), b"gh");
            assert_eq!(scan.take(), Some(b'i'));
            assert!(scan.is_at_end() && scan.take().is_none());
        });
        assert!((text.len() as u64..2 * text.len() as u64).contains(&steps), "{steps}");
    }
}
