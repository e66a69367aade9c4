//! A small reader for the commands whose grammar the codec lacks (LIST of RFC 5258) or bounds too narrowly (SEARCH).
//!
//! It works on a whole command, literals included, and never goes back: at most four steps for a byte.

use crate::base::meter;

/// The command does not follow the grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the command could not be understood")]
pub(super) struct SyntaxError;

/// A place in a command.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// After the tag, the verb and the space behind it; `skip` is how many words that is.
    pub(super) fn after_words(command: &'a [u8], skip: usize) -> Result<Self, SyntaxError> {
        let mut rest = command.strip_suffix(b"\r\n").unwrap_or(command);
        for _ in 0..skip {
            let space = rest.iter().position(|&byte| byte == b' ').ok_or(SyntaxError)?;
            rest = rest.get(space + 1..).unwrap_or_default();
        }
        Ok(Self { rest })
    }

    /// The next byte.
    pub(super) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Takes this byte, if it is the next one.
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        meter::steps(1);
        match self.rest.split_first() {
            Some((&first, rest)) if first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Takes this byte.
    pub(super) fn expect(&mut self, byte: u8) -> Result<(), SyntaxError> {
        if self.eat(byte) { Ok(()) } else { Err(SyntaxError) }
    }

    /// Whether only spaces are left.
    pub(super) fn at_end(&self) -> bool {
        meter::steps(self.rest.iter().take_while(|&&byte| byte == b' ').count() + 1);
        self.rest.iter().all(|&byte| byte == b' ')
    }

    /// Expects the end of the command; spaces before it are allowed.
    pub(super) fn end(&self) -> Result<(), SyntaxError> {
        if self.at_end() { Ok(()) } else { Err(SyntaxError) }
    }

    /// A run of at least one byte, as long as `holds` is true.
    pub(super) fn run(&mut self, holds: impl Fn(u8) -> bool) -> Result<&'a [u8], SyntaxError> {
        let len = self.rest.iter().position(|&byte| !holds(byte)).unwrap_or(self.rest.len());
        meter::steps(2 * len + 1);
        let (found, rest) = self.rest.split_at_checked(len).ok_or(SyntaxError)?;
        if found.is_empty() {
            return Err(SyntaxError);
        }
        self.rest = rest;
        Ok(found)
    }

    /// A keyword of the protocol, in upper case.
    pub(super) fn word(&mut self) -> Result<String, SyntaxError> {
        let word = self.run(|byte| byte.is_ascii_alphanumeric() || b".-=".contains(&byte))?;
        Ok(String::from_utf8_lossy(word).to_ascii_uppercase())
    }

    /// A decimal number.
    pub(super) fn number(&mut self) -> Result<u32, SyntaxError> {
        let digits = self.run(|byte| byte.is_ascii_digit())?;
        std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).ok_or(SyntaxError)
    }

    /// An atom, a quoted string or a literal. Eight-bit bytes are accepted in all of them.
    pub(super) fn astring(&mut self) -> Result<Vec<u8>, SyntaxError> {
        self.string_or(|byte| is_atom(byte) || byte == b']')
    }

    /// A mailbox pattern: like [`Self::astring`], with `%` and `*`.
    pub(super) fn pattern(&mut self) -> Result<Vec<u8>, SyntaxError> {
        self.string_or(|byte| is_atom(byte) || b"]%*".contains(&byte))
    }

    fn string_or(&mut self, holds: impl Fn(u8) -> bool) -> Result<Vec<u8>, SyntaxError> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'{') => self.literal(),
            _ => self.run(holds).map(<[u8]>::to_vec),
        }
    }

    fn quoted(&mut self) -> Result<Vec<u8>, SyntaxError> {
        self.expect(b'"')?;
        let mut text = Vec::new();
        loop {
            let (&byte, rest) = self.rest.split_first().ok_or(SyntaxError)?;
            self.rest = rest;
            meter::steps(2);
            match byte {
                b'"' => return Ok(text),
                b'\\' => {
                    let (&escaped, rest) = self.rest.split_first().ok_or(SyntaxError)?;
                    self.rest = rest;
                    text.push(escaped);
                }
                b'\r' | b'\n' | 0 => return Err(SyntaxError),
                _ => text.push(byte),
            }
        }
    }

    fn literal(&mut self) -> Result<Vec<u8>, SyntaxError> {
        self.expect(b'{')?;
        let len = usize::try_from(self.number()?).map_err(|_| SyntaxError)?;
        self.eat(b'+');
        self.rest = self.rest.strip_prefix(b"}\r\n").ok_or(SyntaxError)?;
        let (text, rest) = self.rest.split_at_checked(len).ok_or(SyntaxError)?;
        meter::steps(len);
        self.rest = rest;
        Ok(text.to_vec())
    }
}

/// ATOM-CHAR (RFC 9051 §9), and 8-bit bytes.
fn is_atom(byte: u8) -> bool {
    byte > b' ' && byte != 0x7f && !b"(){%*\"\\]".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn strings_come_in_three_forms() {
        let mut cursor = Cursor::after_words(b"a LIST \"a\\\"b\" {3}\r\nx y INBOX.&A-/%  \r\n", 2).unwrap();
        assert_eq!(cursor.astring().unwrap(), b"a\"b");
        cursor.expect(b' ').unwrap();
        assert_eq!(cursor.astring().unwrap(), b"x y");
        cursor.expect(b' ').unwrap();
        assert_eq!(cursor.pattern().unwrap(), b"INBOX.&A-/%");
        assert!(cursor.end().is_ok());
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(mut cursor) = Cursor::after_words(&bytes, 1) {
                while cursor.astring().is_ok() || cursor.eat(b' ') || cursor.word().is_ok() {}
            }
        }
    }
}
