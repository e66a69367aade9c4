//! Bytes, as they arrive, into lines and blocks.
//!
//! States: reading lines; waiting for the session to decide about the blocks that a line announced; reading blocks;
//! failed. The session decides with [`Decoder::take_blocks`] or [`Decoder::skip_blocks`], after it has read what the
//! line asks for, so that no unwanted block is stored. Nothing is allocated for a declared size: a block grows with its
//! bytes.

use std::collections::VecDeque;

use crate::base::limits::{WIRE_BLOCKS, WIRE_LINE_BYTES, WIRE_REPLY_LINE_BYTES};

use super::word::{Malformed, Word, words};

/// The side whose lines are read: only clients chain commands with `;`, and servers send shorter lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The lines of a client.
    Commands,
    /// The lines of a server.
    Replies,
}

/// Why nothing more can be read. The peer is to blame for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A line is over its bound.
    #[error("a line is too long")]
    LineTooLong,
    /// A line does not follow the grammar.
    #[error("a line is malformed")]
    Malformed,
    /// A line announces more blocks than allowed.
    #[error("too many blocks")]
    TooManyBlocks,
    /// A block is larger than the session allows at this point.
    #[error("a block is too large")]
    BlockTooLarge,
    /// A block came where the session expects none.
    #[error("an unexpected block")]
    UnexpectedBlock,
}

impl From<Malformed> for WireError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// An item that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// One command, or one reply. If it announces blocks, decide about them before asking for the next item. An empty
    /// line of a server is returned too, without words.
    Line(Vec<Word>),
    /// The blocks that the last line announced.
    Blocks(Vec<Vec<u8>>),
    /// The blocks of the last line were skipped.
    Skipped,
}

enum State {
    Lines,
    Announced(VecDeque<u64>),
    /// The sizes of later blocks, the missing bytes of the current one, and the complete ones; if `keep` is false,
    /// nothing is kept.
    Blocks {
        sizes: VecDeque<u64>,
        left: u64,
        done: Vec<Vec<u8>>,
        keep: bool,
    },
    Failed(WireError),
}

/// The incremental reader of one direction of a session.
pub struct Decoder {
    side: Side,
    buffer: Vec<u8>,
    /// Where in `buffer` the unread bytes begin.
    at: usize,
    /// How many unread bytes are known to hold no line end.
    scanned: usize,
    commands: VecDeque<Vec<Word>>,
    /// The length of the last line, in bytes.
    line: usize,
    state: State,
}

/// When so many bytes were read, they are dropped from the front of the buffer; dropping them more often would cost too
/// much moving.
const COMPACT_BYTES: usize = 64 * 1024;

impl Decoder {
    /// A reader at the beginning of a session.
    pub const fn new(side: Side) -> Self {
        Self { side, buffer: Vec::new(), at: 0, scanned: 0, commands: VecDeque::new(), line: 0, state: State::Lines }
    }

    /// Takes bytes from the peer. After an error they are dropped.
    pub fn push(&mut self, bytes: &[u8]) {
        let mut bytes = bytes;
        if matches!(self.state, State::Failed(_)) {
            return;
        }
        if self.unread().is_empty()
            && let State::Blocks { sizes, left, done, keep } = &mut self.state
        {
            let used = fill(sizes, left, done, *keep, bytes);
            bytes = bytes.get(used..).unwrap_or_default();
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes that were pushed and not read yet. A session that does not read must bound them.
    pub fn buffered(&self) -> usize {
        self.unread().len()
    }

    /// How much memory the blocks that are being stored take when they are complete, together with unread bytes.
    pub fn in_flight(&self) -> u64 {
        let (stored, left) = self.storing();
        stored.saturating_add(left).saturating_add(self.buffered() as u64)
    }

    /// How many bytes of the blocks that are being stored have arrived, and how many are still to come.
    pub fn storing(&self) -> (u64, u64) {
        match &self.state {
            State::Blocks { sizes, left, done, keep: true } => {
                let stored = done.iter().fold(0, |sum: u64, block| sum.saturating_add(block.len() as u64));
                (stored, sum(sizes).saturating_add(*left))
            }
            _ => (0, 0),
        }
    }

    /// The length of the last line that was given, with its line end, in bytes.
    pub const fn line_bytes(&self) -> usize {
        self.line
    }

    /// Whether the reader is within the blocks of a line.
    pub const fn is_within_blocks(&self) -> bool {
        matches!(self.state, State::Blocks { .. })
    }

    /// Whether the reader is within a line or block, so that the peer owes the rest of it.
    pub fn is_within(&self) -> bool {
        self.is_within_blocks() || !self.unread().is_empty()
    }

    /// The next line or blocks; `None` where more bytes are needed.
    ///
    /// # Errors
    /// [`WireError`]; the same again at every later call.
    pub fn next_item(&mut self) -> Result<Option<Item>, WireError> {
        match &mut self.state {
            State::Failed(error) => Err(*error),
            State::Announced(_) => self.fail(WireError::UnexpectedBlock),
            State::Blocks { .. } => Ok(self.next_blocks()),
            State::Lines => match self.next_line() {
                Ok(item) => Ok(item),
                Err(error) => self.fail(error),
            },
        }
    }

    /// Decides to store the announced blocks, which together may have up to `limit` bytes.
    ///
    /// # Errors
    /// [`WireError::BlockTooLarge`], and the reader has failed.
    pub fn take_blocks(&mut self, limit: u64) -> Result<(), WireError> {
        self.decide(limit, true)
    }

    /// Decides to skip the announced blocks, which together may have up to `limit` bytes.
    ///
    /// # Errors
    /// [`WireError::BlockTooLarge`], and the reader has failed.
    pub fn skip_blocks(&mut self, limit: u64) -> Result<(), WireError> {
        self.decide(limit, false)
    }

    /// The sizes of the blocks that wait for a decision, added up.
    pub fn announced(&self) -> Option<u64> {
        match &self.state {
            State::Announced(sizes) => Some(sum(sizes)),
            _ => None,
        }
    }

    fn decide(&mut self, limit: u64, keep: bool) -> Result<(), WireError> {
        let State::Announced(sizes) = &mut self.state else { return Ok(()) };
        if sum(sizes) > limit {
            return self.fail(WireError::BlockTooLarge);
        }
        let mut sizes = std::mem::take(sizes);
        let left = sizes.pop_front().unwrap_or(0);
        let mut done = Vec::new();
        if keep {
            done.push(Vec::new());
        }
        self.state = State::Blocks { sizes, left, done, keep };
        Ok(())
    }

    fn next_blocks(&mut self) -> Option<Item> {
        let State::Blocks { sizes, left, done, keep } = &mut self.state else { return None };
        let used = fill(sizes, left, done, *keep, self.buffer.get(self.at..).unwrap_or_default());
        let complete = *left == 0 && sizes.is_empty();
        let item = complete.then(|| if *keep { Item::Blocks(std::mem::take(done)) } else { Item::Skipped });
        self.advance(used);
        if item.is_some() {
            self.state = State::Lines;
        }
        item
    }

    fn next_line(&mut self) -> Result<Option<Item>, WireError> {
        let longest = match self.side {
            Side::Commands => WIRE_LINE_BYTES,
            Side::Replies => WIRE_REPLY_LINE_BYTES,
        };
        loop {
            if let Some(words) = self.commands.pop_front() {
                let sizes = sizes(&words);
                if !sizes.is_empty() {
                    self.state = State::Announced(sizes);
                }
                return Ok(Some(Item::Line(words)));
            }
            let unread = self.unread();
            let fresh = unread.get(self.scanned..).unwrap_or_default();
            let Some(end) = fresh.iter().position(|byte| *byte == b'\n').map(|at| at + self.scanned) else {
                // One byte more than the bound is allowed here, because it may be the CR of the line end.
                if unread.len() > longest + 1 {
                    return Err(WireError::LineTooLong);
                }
                self.scanned = unread.len();
                return Ok(None);
            };
            let line = unread.get(..end).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.len() > longest {
                return Err(WireError::LineTooLong);
            }
            let line = std::str::from_utf8(line).map_err(|_| WireError::Malformed)?;
            let mut commands = words(line, self.side == Side::Commands)?;
            if commands.iter().flatten().filter(|word| matches!(word, Word::Block(_))).count() > WIRE_BLOCKS {
                return Err(WireError::TooManyBlocks);
            }
            if commands.is_empty() && self.side == Side::Replies {
                commands.push(Vec::new());
            }
            self.commands = commands.into();
            self.line = end + 1;
            self.advance(end + 1);
        }
    }

    fn unread(&self) -> &[u8] {
        self.buffer.get(self.at..).unwrap_or_default()
    }

    fn advance(&mut self, used: usize) {
        self.at += used;
        self.scanned = 0;
        if self.at >= self.buffer.len() {
            self.at = 0;
            if self.buffer.capacity() > COMPACT_BYTES {
                self.buffer = Vec::new();
            }
            self.buffer.clear();
        } else if self.at > COMPACT_BYTES {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
    }

    fn fail<T>(&mut self, error: WireError) -> Result<T, WireError> {
        self.state = State::Failed(error);
        self.buffer = Vec::new();
        self.commands = VecDeque::new();
        self.at = 0;
        Err(error)
    }
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").field("buffered", &self.buffered()).finish_non_exhaustive()
    }
}

fn sizes(words: &[Word]) -> VecDeque<u64> {
    words
        .iter()
        .filter_map(|word| match word {
            Word::Block(size) => Some(*size),
            _ => None,
        })
        .collect()
}

fn sum(sizes: &VecDeque<u64>) -> u64 {
    sizes.iter().fold(0, |sum, size| sum.saturating_add(*size))
}

/// Moves bytes into the blocks; returns how many were used.
fn fill(sizes: &mut VecDeque<u64>, left: &mut u64, done: &mut Vec<Vec<u8>>, keep: bool, bytes: &[u8]) -> usize {
    let mut used = 0;
    loop {
        let rest = bytes.get(used..).unwrap_or_default();
        let take = rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
        if keep && let Some(block) = done.last_mut() {
            block.extend_from_slice(rest.get(..take).unwrap_or_default());
        }
        used += take;
        *left -= take as u64;
        if *left > 0 {
            return used;
        }
        let Some(next) = sizes.pop_front() else { return used };
        *left = next;
        if keep {
            done.push(Vec::new());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_all(decoder: &mut Decoder) -> (Vec<Item>, Option<WireError>) {
        let mut items = Vec::new();
        loop {
            match decoder.next_item() {
                Ok(Some(item)) => {
                    items.push(item);
                    if decoder.announced().is_some() && decoder.take_blocks(100).is_err() {
                        continue;
                    }
                }
                Ok(None) => return (items, None),
                Err(error) => return (items, Some(error)),
            }
        }
    }

    /// Pushes the bytes in pieces of this size, and reads all items after each.
    fn in_pieces(bytes: &[u8], size: usize) -> (Vec<Item>, Option<WireError>) {
        let mut decoder = Decoder::new(Side::Commands);
        let mut items = Vec::new();
        for piece in bytes.chunks(size.max(1)) {
            decoder.push(piece);
            let (more, error) = read_all(&mut decoder);
            items.extend(more);
            if error.is_some() {
                return (items, error);
            }
        }
        (items, None)
    }

    #[test]
    fn blocks_follow_the_whole_line_in_the_order_of_their_announcement() {
        let bytes = b"A #3 #0;B;C #2\r\nabc\r\nD\n";
        let expected = [
            Item::Line(vec![Word::text("A"), Word::Block(3), Word::Block(0)]),
            Item::Blocks(vec![b"abc".to_vec(), Vec::new()]),
            Item::Line(vec![Word::text("B")]),
            Item::Line(vec![Word::text("C"), Word::Block(2)]),
            Item::Blocks(vec![b"\r\n".to_vec()]),
            Item::Line(vec![Word::text("D")]),
        ];
        for size in 1..=bytes.len() {
            assert_eq!(in_pieces(bytes, size), (expected.to_vec(), None), "in pieces of {size}");
        }
    }

    #[test]
    fn lines_are_bounded_with_and_without_their_end() {
        let longest = vec![b'a'; WIRE_LINE_BYTES];
        for end in ["\n", "\r\n"] {
            let line = [&longest, end.as_bytes()].concat();
            assert_eq!(in_pieces(&line, 1000).1, None);
            let over = [b"a", &*line].concat();
            assert_eq!(in_pieces(&over, over.len()).1, Some(WireError::LineTooLong));
        }
        assert_eq!(in_pieces(&vec![b'a'; WIRE_LINE_BYTES + 2], 1000).1, Some(WireError::LineTooLong));
    }

    #[test]
    fn a_declared_size_costs_nothing_before_its_bytes_and_a_large_one_ends_the_session() {
        let mut decoder = Decoder::new(Side::Commands);
        decoder.push(b"A #1000000000000\n");
        assert!(matches!(decoder.next_item(), Ok(Some(Item::Line(_)))));
        assert_eq!(decoder.take_blocks(1_000_000), Err(WireError::BlockTooLarge));
        assert_eq!(decoder.next_item(), Err(WireError::BlockTooLarge));
        let mut decoder = Decoder::new(Side::Commands);
        decoder.push(b"A #1000000000000\nxyz");
        assert!(matches!(decoder.next_item(), Ok(Some(Item::Line(_)))));
        decoder.take_blocks(u64::MAX).unwrap();
        assert_eq!(decoder.next_item(), Ok(None));
        assert!(matches!(&decoder.state, State::Blocks { done, .. } if done[0].capacity() < 100));
    }

    #[test]
    fn what_is_in_flight_is_known_before_it_is_there() {
        let mut decoder = Decoder::new(Side::Commands);
        decoder.push(b"A #60 #40\nabc");
        assert!(decoder.next_item().is_ok());
        decoder.take_blocks(100).unwrap();
        for _ in 0..90 {
            assert_eq!(decoder.next_item(), Ok(None));
            assert_eq!(decoder.in_flight(), 100);
            decoder.push(b"x");
        }
        decoder.push(b"1234567");
        assert!(matches!(decoder.next_item(), Ok(Some(Item::Blocks(_)))));
        assert_eq!(decoder.in_flight(), 0);
    }

    #[test]
    fn sizes_add_up_before_they_are_compared() {
        let mut decoder = Decoder::new(Side::Commands);
        decoder.push(b"A #60 #60\n");
        assert!(decoder.next_item().is_ok());
        assert_eq!(decoder.take_blocks(100), Err(WireError::BlockTooLarge));
        assert_eq!(in_pieces(b"A #1 #1 #1; B #1 #1\n", 99).1, Some(WireError::TooManyBlocks));
        assert_eq!(in_pieces(b"A #18446744073709551615 #18446744073709551615\n", 99).1, Some(WireError::BlockTooLarge));
    }

    #[test]
    fn a_block_that_nobody_decided_about_is_an_error_and_a_skipped_one_leaves_nothing() {
        let mut decoder = Decoder::new(Side::Commands);
        decoder.push(b"A #3\nabcB\n");
        assert!(decoder.next_item().is_ok());
        let mut skipping = Decoder::new(Side::Commands);
        skipping.push(b"A #3\nabcB\n");
        assert!(skipping.next_item().is_ok());
        skipping.skip_blocks(3).unwrap();
        assert_eq!(skipping.next_item(), Ok(Some(Item::Skipped)));
        assert_eq!(skipping.next_item(), Ok(Some(Item::Line(vec![Word::text("B")]))));
        assert_eq!(decoder.next_item(), Err(WireError::UnexpectedBlock));
        assert_eq!(decoder.next_item(), Err(WireError::UnexpectedBlock));
        decoder.push(&[0; 1000]);
        assert_eq!(decoder.buffered(), 0);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_the_same_in_any_pieces(
            bytes in prop::collection::vec(prop_oneof![
                Just(b'\n'), Just(b' '), Just(b'#'), Just(b'1'), Just(b'"'), Just(b';'), Just(b'\r'), any::<u8>()
            ], 0..200),
            size in 1..50_usize,
        ) {
            prop_assert_eq!(in_pieces(&bytes, size), in_pieces(&bytes, bytes.len()));
        }
    }

    #[test]
    fn where_the_pieces_of_the_longest_line_end_does_not_matter() {
        for (side, longest) in [(Side::Commands, WIRE_LINE_BYTES), (Side::Replies, WIRE_REPLY_LINE_BYTES)] {
            let line = [&vec![b'a'; longest][..], b"\r\n"].concat();
            for cut in [longest - 1, longest, longest + 1] {
                let mut decoder = Decoder::new(side);
                decoder.push(&line[..cut]);
                assert_eq!(decoder.next_item(), Ok(None), "{cut} bytes of it");
                decoder.push(&line[cut..]);
                assert!(matches!(decoder.next_item(), Ok(Some(Item::Line(_)))), "cut after {cut}");
            }
            // One byte more is too many, even before the line end arrives.
            let mut decoder = Decoder::new(side);
            decoder.push(&vec![b'a'; longest + 2]);
            assert_eq!(decoder.next_item(), Err(WireError::LineTooLong));
        }
    }
}
