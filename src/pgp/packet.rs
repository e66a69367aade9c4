//! OpenPGP packet headers, in the one form that the profile allows: new format, whole length
//! (RFC 9580 §4.2.1). Nothing is interpreted or allocated here; a declared length is only compared with the
//! bytes that are there.

/// Why the bytes do not begin with an acceptable packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// The first octet does not begin a packet.
    #[error("not a packet")]
    NotAPacket,
    /// An old-format header, with or without a length.
    #[error("an old-format packet header")]
    OldFormat,
    /// A partial body length.
    #[error("a partial body length")]
    PartialLength,
    /// Fewer bytes than the header declares.
    #[error("a packet that is cut off")]
    Truncated,
}

/// Packet type ids that occur in the profile (RFC 9580 §5).
pub(super) mod tag {
    pub(crate) const PKESK: u8 = 1;
    pub(crate) const SIGNATURE: u8 = 2;
    pub(crate) const ONE_PASS: u8 = 4;
    pub(crate) const PUBLIC_KEY: u8 = 6;
    pub(crate) const LITERAL: u8 = 11;
    pub(crate) const USER_ID: u8 = 13;
    pub(crate) const PUBLIC_SUBKEY: u8 = 14;
    pub(crate) const SEIPD: u8 = 18;
    pub(crate) const PADDING: u8 = 21;
}

/// One packet in a buffer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packet<'a> {
    pub(super) tag: u8,
    pub(super) body: &'a [u8],
    /// Header and body.
    pub(super) raw: &'a [u8],
}

/// Splits the first packet off; returns it and the rest.
pub(super) fn split(input: &[u8]) -> Result<(Packet<'_>, &[u8]), HeaderFault> {
    let (&first, after) = input.split_first().ok_or(HeaderFault::Truncated)?;
    if first & 0x80 == 0 {
        return Err(HeaderFault::NotAPacket);
    }
    if first & 0x40 == 0 {
        return Err(HeaderFault::OldFormat);
    }
    let (length, after) = match *after {
        [a @ 0..=191, ref rest @ ..] => (usize::from(a), rest),
        [a @ 192..=223, b, ref rest @ ..] => ((usize::from(a) - 192) * 256 + usize::from(b) + 192, rest),
        [224..=254, ..] => return Err(HeaderFault::PartialLength),
        [255, a, b, c, d, ref rest @ ..] => {
            let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).map_err(|_| HeaderFault::Truncated)?;
            (length, rest)
        }
        _ => return Err(HeaderFault::Truncated),
    };
    let (body, rest) = after.split_at_checked(length).ok_or(HeaderFault::Truncated)?;
    let raw = input.get(..input.len() - rest.len()).unwrap_or_default();
    Ok((Packet { tag: first & 0x3f, body, raw }, rest))
}

/// A header with a five-octet length: its size does not depend on the body's.
pub(super) fn header(tag: u8, length: usize) -> Option<[u8; HEADER_BYTES]> {
    let [a, b, c, d] = u32::try_from(length).ok()?.to_be_bytes();
    Some([0xC0 | tag, 0xFF, a, b, c, d])
}

/// How many bytes [`header`] writes.
pub(super) const HEADER_BYTES: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_three_whole_lengths_are_read() {
        for (bytes, length) in [(vec![0xCB, 3], 3), (vec![0xCB, 192, 0], 192), (vec![0xCB, 255, 0, 0, 0, 7], 7)] {
            let mut packet = bytes;
            packet.extend(std::iter::repeat_n(9, length));
            packet.push(0xAA);
            let (read, rest) = split(&packet).unwrap();
            assert_eq!((read.tag, read.body.len(), rest), (tag::LITERAL, length, &[0xAA][..]));
            assert_eq!(read.raw.len() + 1, packet.len());
        }
    }

    #[test]
    fn other_headers_are_named() {
        for (bytes, fault) in [
            (&b""[..], HeaderFault::Truncated),
            (b"\x00\x01a", HeaderFault::NotAPacket),
            (b"\xa3\x01a", HeaderFault::OldFormat),
            (b"\xaf", HeaderFault::OldFormat),
            (b"\xcb\xe1ab", HeaderFault::PartialLength),
            (b"\xcb", HeaderFault::Truncated),
            (b"\xcb\xc0", HeaderFault::Truncated),
            (b"\xcb\xff\x00\x00", HeaderFault::Truncated),
            (b"\xcb\xff\xff\xff\xff\xffabc", HeaderFault::Truncated),
        ] {
            assert_eq!(split(bytes).err(), Some(fault), "{bytes:x?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let mut rest = &bytes[..];
            while let Ok((packet, after)) = split(rest) {
                prop_assert!(after.len() < rest.len());
                prop_assert!(packet.raw.len() > packet.body.len());
                rest = after;
            }
        }
    }
}
