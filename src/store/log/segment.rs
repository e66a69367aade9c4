//! The format of a segment: a header, then transactions (docs/on-disk.md, "Segments" and "Transactions").
//!
//! A transaction is any number of body frames and one end frame. Only the end frame is sealed with the segment's key;
//! it carries the records, the keys of the bodies and the hash of the body frames. A transaction without its end frame
//! does not count.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::base::{BodyId, Rng, SymmetricKey};
use crate::store::codec::{Fields, put_len};
use crate::store::crypt::{Forged, NONCE_BYTES, Sealer, TAG_BYTES, counter_nonce, sealed_len};

/// Bytes of a segment's header.
pub(super) const HEADER_BYTES: usize = 256;
/// Bytes of a frame's header.
pub(super) const FRAME_BYTES: usize = 32;
const MAGIC: &[u8; 8] = b"RUNELOG\0";
const VERSION: u16 = 1;
const AUTHENTICATED: usize = 64;
const WRAPPED_BYTES: usize = NONCE_BYTES + 32 + TAG_BYTES;
/// The first bytes of every frame; what a search for frames looks for.
pub(super) const FRAME_MAGIC: &[u8; 4] = b"RpF1";

/// The fields of a segment's header.
#[derive(Debug, Clone)]
pub(super) struct Header {
    /// Counted from 1.
    pub(super) number: u64,
    /// The number of its first record.
    pub(super) base: u64,
    /// The segment before it; 0 for the first.
    pub(super) predecessor: u64,
    /// How many bytes of the segment before it count.
    pub(super) predecessor_end: u64,
    /// Random: it distinguishes two segments of the same number, which exist after a backup was restored.
    pub(super) id: [u8; 16],
    /// Seals its end frames.
    pub(super) key: SymmetricKey,
}

/// The ways in which the first bytes of a segment file are not its header.
#[derive(Debug)]
pub(super) enum HeaderError {
    /// It was not sealed under this key.
    Forged,
    /// Made by a later version.
    Version,
}

impl Header {
    pub(super) fn encode(&self, wrap: &Sealer, rng: &mut dyn Rng) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 6]);
        for field in [self.number, self.base, self.predecessor, self.predecessor_end] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        bytes.extend_from_slice(&self.id);
        let wrapped = wrap.seal_value(&bytes, self.key.expose(), rng);
        bytes.extend_from_slice(&wrapped);
        bytes.resize(HEADER_BYTES, 0);
        bytes
    }

    pub(super) fn decode(bytes: &[u8], wrap: &Sealer) -> Result<Self, HeaderError> {
        Self::parse(bytes, wrap).unwrap_or(Err(HeaderError::Forged))
    }

    fn parse(bytes: &[u8], wrap: &Sealer) -> Option<Result<Self, HeaderError>> {
        let (authenticated, rest) = bytes.split_at_checked(AUTHENTICATED)?;
        let mut fields = Fields(authenticated);
        if fields.array()? != *MAGIC {
            return None;
        }
        let version = fields.u16()?;
        let wrapped = rest.get(..WRAPPED_BYTES)?;
        // In a torn header these bytes may be zero.
        if version != VERSION {
            let is_later = version > VERSION && !is_ours(authenticated, VERSION, wrapped, wrap);
            return is_later.then_some(Err(HeaderError::Version));
        }
        fields.take(6)?;
        let (number, base, predecessor, predecessor_end) = (fields.u64()?, fields.u64()?, fields.u64()?, fields.u64()?);
        let id = fields.array()?;
        let key = wrap.open_value(authenticated, wrapped).ok().map(Zeroizing::new)?;
        let key = SymmetricKey::from_bytes(key.as_slice().try_into().ok()?);
        Some(Ok(Self { number, base, predecessor, predecessor_end, id, key }))
    }
}

/// Whether nothing but the version of a header was changed: with this version in its place it authenticates.
pub(in crate::store) fn is_ours(authenticated: &[u8], version: u16, wrapped: &[u8], wrap: &Sealer) -> bool {
    let parts = authenticated.get(..MAGIC.len()).zip(authenticated.get(MAGIC.len() + 2..));
    parts.is_some_and(|(magic, rest)| {
        let ours = [magic, &version.to_le_bytes(), rest].concat();
        wrap.open_value(&ours, wrapped).map(Zeroizing::new).is_ok()
    })
}

/// The file of a segment.
pub(in crate::store) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016x}.seg"))
}

/// The number in a segment's file name.
pub(in crate::store) fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    let number = u64::from_str_radix(digits, 16).ok()?;
    (digits == format!("{number:016x}") && number > 0).then_some(number)
}

/// The kind of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FrameKind {
    /// A sealed body.
    Body,
    /// The sealed end of a transaction.
    End,
}

/// The header of a frame, in the clear; that of an end frame is authenticated with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: FrameKind,
    /// Bytes after the header.
    pub(super) len: u32,
    /// The transaction's place in its segment, from 0: the nonce.
    pub(super) counter: u64,
    /// Where in the file the transaction begins.
    pub(super) start: u64,
}

impl Frame {
    pub(super) fn encode(&self) -> [u8; FRAME_BYTES] {
        let mut bytes = [0; FRAME_BYTES];
        let kind: u8 = match self.kind {
            FrameKind::Body => 1,
            FrameKind::End => 2,
        };
        let fields = FRAME_MAGIC
            .iter()
            .copied()
            .chain([kind, 0, 0, 0])
            .chain(self.len.to_le_bytes())
            .chain([0; 4])
            .chain(self.counter.to_le_bytes())
            .chain(self.start.to_le_bytes());
        bytes.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        if fields.array()? != *FRAME_MAGIC {
            return None;
        }
        let kind = match fields.u8()? {
            1 => FrameKind::Body,
            2 => FrameKind::End,
            _ => return None,
        };
        fields.take(3)?;
        let len = fields.u32()?;
        fields.take(4)?;
        Some(Self { kind, len, counter: fields.u64()?, start: fields.u64()? })
    }
}

/// Where a body's sealed bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In this segment, from this offset.
    Inline {
        /// The segment.
        segment: u64,
        /// The first sealed byte.
        offset: u64,
    },
    /// In a file of its own, with this name.
    Blob([u8; 16]),
}

/// A body as its transaction describes it: bytes of its own and, perhaps, the end of another body behind them.
#[derive(Debug, Clone)]
pub(super) struct BodyEntry {
    pub(super) id: BodyId,
    pub(super) key: SymmetricKey,
    pub(super) place: Place,
    /// How many bytes are its own.
    pub(super) len: u64,
    pub(super) tail: Option<BodyTail>,
}

/// The end that a body shares with another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BodyTail {
    /// The other body, which has all its bytes itself.
    pub(super) of: BodyId,
    /// The offset in the other body at which the shared end begins.
    pub(super) from: u64,
    /// How many bytes are shared.
    pub(super) len: u64,
}

/// A flag in the byte before a place: a tail follows.
const HAS_TAIL: u8 = 0x80;

impl BodyEntry {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.id.as_bytes());
        out.extend_from_slice(self.key.expose());
        out.extend_from_slice(&self.len.to_le_bytes());
        let tail = if self.tail.is_some() { HAS_TAIL } else { 0 };
        match self.place {
            Place::Inline { segment: _, offset } => {
                out.push(tail);
                out.extend_from_slice(&offset.to_le_bytes());
            }
            Place::Blob(name) => {
                out.push(tail | 1);
                out.extend_from_slice(&name);
            }
        }
        if let Some(tail) = &self.tail {
            out.extend_from_slice(tail.of.as_bytes());
            out.extend_from_slice(&tail.from.to_le_bytes());
            out.extend_from_slice(&tail.len.to_le_bytes());
        }
    }

    /// Reads an entry; the bytes of an inline body are in this segment.
    pub(super) fn decode(fields: &mut Fields<'_>, segment: u64) -> Option<Self> {
        let id = BodyId::from_bytes(fields.array()?);
        let key = SymmetricKey::from_bytes(fields.array()?);
        let len = fields.u64()?;
        let kind = fields.u8()?;
        let place = match kind & !HAS_TAIL {
            0 => Place::Inline { segment, offset: fields.u64()? },
            1 => Place::Blob(fields.array()?),
            _ => return None,
        };
        let tail = match kind & HAS_TAIL {
            0 => None,
            _ => Some(BodyTail { of: BodyId::from_bytes(fields.array()?), from: fields.u64()?, len: fields.u64()? }),
        };
        Some(Self { id, key, place, len, tail })
    }
}

/// The content of an end frame.
#[derive(Debug, Default)]
pub(super) struct End {
    /// The number of the first record; without records, the number that the next one will get.
    pub(super) first: u64,
    /// How many bytes of this segment were durable when this was written.
    pub(super) durable: u64,
    /// SHA-256 of everything from the start of the transaction to the end frame.
    pub(super) bodies_hash: [u8; 32],
    pub(super) bodies: Vec<BodyEntry>,
    pub(super) dropped: Vec<BodyId>,
    pub(super) records: Vec<Vec<u8>>,
}

impl End {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&self.durable.to_le_bytes());
        out.extend_from_slice(&self.bodies_hash);
        put_len(out, self.bodies.len());
        put_len(out, self.dropped.len());
        put_len(out, self.records.len());
        for body in &self.bodies {
            body.encode(out);
        }
        for id in &self.dropped {
            out.extend_from_slice(id.as_bytes());
        }
        for record in &self.records {
            put_len(out, record.len());
            out.extend_from_slice(record);
        }
    }

    /// An upper bound of the encoded length.
    pub(super) fn bound(records: &[Vec<u8>], bodies: usize, dropped: usize) -> usize {
        const FIXED: usize = 8 + 8 + 32 + 12;
        const BODY: usize = 16 + 32 + 8 + 1 + 16 + 32;
        FIXED + bodies * BODY + dropped * 16 + records.iter().map(|record| 4 + record.len()).sum::<usize>()
    }

    fn decode(bytes: &[u8], segment: u64) -> Option<Self> {
        let mut fields = Fields(bytes);
        let (first, durable, bodies_hash) = (fields.u64()?, fields.u64()?, fields.array()?);
        let (bodies, dropped, records) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let mut end = Self { first, durable, bodies_hash, ..Self::default() };
        for _ in 0..bodies {
            end.bodies.push(BodyEntry::decode(&mut fields, segment)?);
        }
        for _ in 0..dropped {
            end.dropped.push(BodyId::from_bytes(fields.array()?));
        }
        for _ in 0..records {
            let len = usize::try_from(fields.u32()?).ok()?;
            end.records.push(fields.take(len)?.to_vec());
        }
        fields.is_empty().then_some(end)
    }
}

/// Seals and opens the end frames of one segment.
pub(super) struct SegmentKey {
    pub(super) id: [u8; 16],
    pub(super) number: u64,
    sealer: Sealer,
}

/// An end frame authenticates but cannot be read: a later version wrote it, or our own code is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndError {
    Forged,
    Unreadable,
}

impl SegmentKey {
    pub(super) fn new(header: &Header) -> Self {
        Self { id: header.id, number: header.number, sealer: Sealer::new(&header.key) }
    }

    /// Appends an end frame. `offset` is the place in the file at which it will lie.
    pub(super) fn seal_end(&self, end: &End, counter: u64, start: u64, offset: u64, out: &mut Vec<u8>) {
        let head = out.len();
        out.extend_from_slice(&[0; FRAME_BYTES]);
        end.encode(out);
        let len = u32::try_from(out.len() - head - FRAME_BYTES + TAG_BYTES).unwrap_or(u32::MAX);
        let frame = Frame { kind: FrameKind::End, len, counter, start }.encode();
        if let Some(place) = out.get_mut(head..head + FRAME_BYTES) {
            place.copy_from_slice(&frame);
        }
        self.sealer.seal_tail(counter_nonce(counter), &self.aad(&frame, offset), out, head + FRAME_BYTES);
    }

    /// Opens the end frame at this offset.
    pub(super) fn open_end(&self, frame: &Frame, offset: u64, sealed: &[u8]) -> Result<End, EndError> {
        let mut plain = Zeroizing::new(sealed.to_vec());
        self.sealer
            .open(counter_nonce(frame.counter), &self.aad(&frame.encode(), offset), &mut plain)
            .map_err(|Forged| EndError::Forged)?;
        End::decode(&plain, self.number).ok_or(EndError::Unreadable)
    }

    fn aad(&self, frame: &[u8; FRAME_BYTES], offset: u64) -> Vec<u8> {
        [&self.id[..], &self.number.to_le_bytes(), &offset.to_le_bytes(), frame].concat()
    }
}

/// The header of the body frame for a body of this length.
pub(super) fn body_frame(len: u64, counter: u64, start: u64) -> Frame {
    let len = u32::try_from(sealed_len(len)).unwrap_or(u32::MAX);
    Frame { kind: FrameKind::Body, len, counter, start }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::SeededRng;
    use proptest::prelude::*;

    fn header() -> Header {
        let key = SymmetricKey::from_bytes([1; 32]);
        Header { number: 7, base: 1 << 24, predecessor: 5, predecessor_end: 999, id: [2; 16], key }
    }

    #[test]
    fn a_header_opens_whole_and_any_changed_bit_shows() {
        let wrap = Sealer::new(&SymmetricKey::from_bytes([9; 32]));
        let bytes = header().encode(&wrap, &mut SeededRng::new(1));
        assert_eq!(bytes.len(), HEADER_BYTES);
        let read = Header::decode(&bytes, &wrap).unwrap();
        assert_eq!((read.number, read.base, read.predecessor, read.predecessor_end), (7, 1 << 24, 5, 999));
        assert!(read.key == header().key);
        for bit in 0..(AUTHENTICATED + WRAPPED_BYTES) * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::decode(&changed, &wrap).is_err(), "bit {bit}");
        }
        assert!(Header::decode(&bytes[..100], &wrap).is_err());
        assert!(Header::decode(&bytes, &Sealer::new(&SymmetricKey::from_bytes([8; 32]))).is_err());
    }

    #[test]
    fn file_names_round_trip_and_others_are_no_segments() {
        assert_eq!(number(path(Path::new("/"), 0x1234).file_name().unwrap().to_str().unwrap()), Some(0x1234));
        for name in ["1.seg", "0000000000000000.seg", "000000000000000A.seg", "0000000000000001", "tmp-1"] {
            assert_eq!(number(name), None, "{name}");
        }
    }

    #[test]
    fn an_end_is_as_long_as_its_bound_where_every_body_has_a_file_and_a_tail_and_never_longer() {
        let (id, key) = (BodyId::from_bytes([1; 16]), SymmetricKey::from_bytes([2; 32]));
        let tail = Some(BodyTail { of: id, from: 7, len: 9 });
        let longest = BodyEntry { id, key, place: Place::Blob([3; 16]), len: 5, tail };
        let shorter = BodyEntry { place: Place::Inline { segment: 1, offset: 4 }, tail: None, ..longest.clone() };
        for (bodies, dropped, records) in [(0, 0, vec![]), (3, 0, vec![1]), (0, 5, vec![]), (2, 4, vec![0, 10, 300])] {
            let records: Vec<Vec<u8>> = records.into_iter().map(|len| vec![8; len]).collect();
            let end = |body: &BodyEntry| {
                let (bodies, dropped) = (vec![body.clone(); bodies], vec![id; dropped]);
                let mut bytes = Vec::new();
                End { bodies, dropped, records: records.clone(), ..End::default() }.encode(&mut bytes);
                bytes.len()
            };
            let bound = End::bound(&records, bodies, dropped);
            assert_eq!(end(&longest), bound);
            assert!(end(&shorter) <= bound);
        }
    }

    #[test]
    fn an_end_frame_opens_only_where_it_was_written() {
        let key = SegmentKey::new(&header());
        let end = End { first: 3, records: vec![b"a".to_vec(), Vec::new()], ..End::default() };
        let mut bytes = Vec::new();
        key.seal_end(&end, 4, 100, 200, &mut bytes);
        let frame = Frame::decode(&bytes).unwrap();
        let sealed = &bytes[FRAME_BYTES..];
        assert_eq!(key.open_end(&frame, 200, sealed).unwrap().records, end.records);
        assert_eq!(key.open_end(&frame, 201, sealed).unwrap_err(), EndError::Forged);
        assert_eq!(key.open_end(&Frame { start: 99, ..frame }, 200, sealed).unwrap_err(), EndError::Forged);
    }

    proptest! {
        #[test]
        fn frames_and_ends_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Frame::decode(&bytes);
            let _ = End::decode(&bytes, 1);
        }
    }
}
