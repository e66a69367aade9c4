//! basE91, the encoding of attachments in the drafts' JSON message (docs/protocol.md, "Content").
//!
//! Thirteen or fourteen bits become two characters. Reading is strict: a character outside the alphabet is an
//! error, where the reference program skips it. Each character is looked at once, in both directions.

const ALPHABET: &[u8; 91] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&()*+,./:;<=>?@[]^_`{|}~\"";

/// The text is not basE91.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not base91")]
pub struct Base91Error;

/// The text of these bytes; about 23 % longer.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() / 13 * 16 + 4);
    let (mut queue, mut bits) = (0_u32, 0_u32);
    for &byte in bytes {
        queue |= u32::from(byte) << bits;
        bits += 8;
        if bits > 13 {
            // Fourteen bits where thirteen would leave the pair's range unused.
            let wide = queue & 0x1fff <= 88;
            let (width, mask) = if wide { (14, 0x3fff) } else { (13, 0x1fff) };
            let value = queue & mask;
            queue >>= width;
            bits -= width;
            text.extend([character(value % 91), character(value / 91)]);
        }
    }
    if bits > 0 {
        text.push(character(queue % 91));
        if bits > 7 || queue > 90 {
            text.push(character(queue / 91));
        }
    }
    text
}

/// The bytes of this text. They are never longer than the text.
///
/// # Errors
/// [`Base91Error`] at the first character that is not in the alphabet.
pub fn decode(text: &str) -> Result<Vec<u8>, Base91Error> {
    let mut bytes = Vec::with_capacity(text.len() / 16 * 13 + 2);
    let (mut queue, mut bits) = (0_u32, 0_u32);
    for pair in text.as_bytes().chunks(2) {
        match pair {
            [first, second] => {
                let value = digit(*first)? + digit(*second)? * 91;
                queue |= value << bits;
                bits += if value & 0x1fff > 88 { 13 } else { 14 };
                while bits > 7 {
                    bytes.extend(queue.to_le_bytes().first());
                    queue >>= 8;
                    bits -= 8;
                }
            }
            [last] => bytes.extend((queue | digit(*last)? << bits).to_le_bytes().first()),
            _ => {}
        }
    }
    Ok(bytes)
}

fn character(value: u32) -> char {
    usize::try_from(value).ok().and_then(|value| ALPHABET.get(value)).copied().map_or('"', char::from)
}

/// The place of a character in the alphabet, found without a search.
fn digit(character: u8) -> Result<u32, Base91Error> {
    let (first, place) = match character {
        b'A'..=b'Z' => (b'A', 0),
        b'a'..=b'z' => (b'a', 26),
        b'0'..=b'9' => (b'0', 52),
        b'!' => (b'!', 62),
        b'#'..=b'&' => (b'#', 63),
        b'('..=b',' => (b'(', 67),
        b'.' | b'/' => (b'.', 72),
        b':'..=b'@' => (b':', 74),
        b'[' => (b'[', 81),
        b']'..=b'`' => (b']', 82),
        b'{'..=b'~' => (b'{', 86),
        b'"' => (b'"', 90),
        _ => return Err(Base91Error),
    };
    Ok(u32::from(character - first + place))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_texts() {
        // An example from the reference program.
        assert_eq!(encode(b"Hello World!"), ">OwJh>Io0Tv!8PE");
        assert_eq!(decode(">OwJh>Io0Tv!8PE").unwrap(), b"Hello World!");
        assert_eq!(encode(b""), "");
        assert_eq!(decode("fPNKd").unwrap(), b"test");
    }

    #[test]
    fn every_character_has_its_place() {
        for byte in 0..=u8::MAX {
            let place = ALPHABET.iter().position(|&known| known == byte);
            assert_eq!(digit(byte).ok(), place.map(|place| u32::try_from(place).unwrap()), "{byte}");
        }
    }

    #[test]
    fn foreign_characters_are_refused() {
        for text in ["a b", "ab\n", "a-b", "\u{e4}", "a'"] {
            assert_eq!(decode(text), Err(Base91Error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn bytes_round_trip(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(decode(&encode(&bytes)), Ok(bytes));
        }

        #[test]
        fn any_text_decodes_within_its_length(text in "\\PC{0,200}|[!-~]{0,200}") {
            if let Ok(bytes) = decode(&text) {
                prop_assert!(bytes.len() <= text.len());
            }
        }
    }

    #[test]
    fn every_two_bytes_come_back() {
        // All pairs, of 13 and of 14 bits, and all places where one pair ends and the next begins.
        for number in 0..=u16::MAX {
            let bytes = [number.to_le_bytes(), number.to_le_bytes()].concat();
            assert_eq!(decode(&encode(&bytes[..2])).as_deref(), Ok(&bytes[..2]), "{number}");
            assert_eq!(decode(&encode(&bytes)), Ok(bytes), "{number}");
        }
    }
}
