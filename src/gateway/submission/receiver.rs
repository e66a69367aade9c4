//! Reading DATA (RFC 5321 §4.5.2): only CRLF `.` CRLF ends it, whatever else it contains.
//!
//! A lone CR or LF is kept as it is: text files have them, and `mail::outgoing` mends the part or says where it stands.
//! But a line of one dot beside one could be the end of the message to another program, so it makes the message
//! invalid; so do a NUL, and a line or a message beyond its bound. An invalid message is read to its end and dropped, so
//! that nothing inside it can be taken for a command (SMTP smuggling).
//!
//! A byte is looked at once or twice and copied once, in whatever pieces it comes: at most four steps.

use crate::base::limits::DATA_LINE_BYTES;
use crate::base::meter;

/// Why a message that was read to its end is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum DataProblem {
    /// Too many messages are arriving at once.
    Crowded,
    /// A NUL, in this line of the message (from 1).
    Nul(usize),
    /// A line of one dot that follows or ends with a lone CR or LF; the number of the line.
    LoneDot(usize),
    /// A line beyond its bound.
    LongLine,
    /// A message beyond its bound.
    TooLarge,
}

/// The place of the next byte in a line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LineState {
    /// After CRLF, or at the beginning.
    Start,
    /// After a dot at the start.
    Dot,
    /// After a dot and CR at the start.
    DotCr,
    /// After a lone CR or LF.
    Lone,
    /// After a lone CR or LF and a dot.
    LoneDot,
    /// Anywhere else.
    Middle,
    /// After CR.
    Cr,
}

/// The state of one DATA.
pub(super) struct Receiver {
    place: LineState,
    message: Vec<u8>,
    /// The length of the line so far.
    line: usize,
    /// The number of the line, from 1: each LF ends one, whether a CR stands before it or not.
    number: usize,
    /// How many bytes were read, stored or not.
    read: usize,
    most: usize,
    problem: Option<DataProblem>,
}

impl Receiver {
    /// A receiver for a message of at most this many bytes.
    pub(super) const fn new(most: usize) -> Self {
        Self { place: LineState::Start, message: Vec::new(), line: 0, number: 1, read: 0, most, problem: None }
    }

    /// How many bytes were read, stored or not.
    pub(super) const fn read(&self) -> usize {
        self.read
    }

    /// Reads from these bytes; returns how many were used, and whether the message ended there.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut rest = bytes;
        let mut ended = false;
        while !ended {
            if self.place == LineState::Middle {
                let plain = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n' | 0)).unwrap_or(rest.len());
                meter::steps(2 * plain);
                let (text, after) = rest.split_at_checked(plain).unwrap_or((rest, &[]));
                self.store(text);
                rest = after;
            }
            let Some((byte, after)) = rest.split_first() else { break };
            ended = self.step(*byte);
            rest = after;
        }
        let used = bytes.len() - rest.len();
        self.read = self.read.saturating_add(used);
        (used, ended)
    }

    /// Whether the message is read to its end without being stored.
    pub(super) const fn is_refused(&self) -> bool {
        self.problem.is_some()
    }

    /// How many bytes are stored.
    pub(super) const fn stored(&self) -> usize {
        self.message.len()
    }

    /// Drops the message to make room for others: it is read to its end and not stored.
    pub(super) fn give_way(&mut self) {
        self.refuse(DataProblem::Crowded);
    }

    /// The message, once it ended.
    pub(super) fn finish(self) -> Result<Vec<u8>, DataProblem> {
        match self.problem {
            None => Ok(self.message),
            Some(problem) => Err(problem),
        }
    }

    /// One byte; true at the end of the message.
    fn step(&mut self, byte: u8) -> bool {
        meter::steps(2);
        match (self.place, byte) {
            (_, 0) => {
                self.refuse(DataProblem::Nul(self.number));
                self.place = LineState::Middle;
            }
            (LineState::Start, b'.') => self.place = LineState::Dot,
            (LineState::Dot, b'\r') => self.place = LineState::DotCr,
            (LineState::DotCr, b'\n') => return true,
            (LineState::Cr, b'\n') => self.end_line(b"\r\n", LineState::Start),
            (LineState::Dot | LineState::LoneDot, b'\r' | b'\n') | (LineState::DotCr, _) => {
                self.refuse(DataProblem::LoneDot(self.number));
                self.place = LineState::Middle;
                return self.step(byte);
            }
            (LineState::Cr, _) => {
                self.end_line(b"\r", LineState::Lone);
                return self.step(byte);
            }
            (LineState::Lone, b'.') => {
                self.store(b".");
                self.place = LineState::LoneDot;
            }
            (_, b'\r') => self.place = LineState::Cr,
            (_, b'\n') => self.end_line(b"\n", LineState::Lone),
            (_, byte) => {
                self.store(&[byte]);
                self.place = LineState::Middle;
            }
        }
        false
    }

    fn end_line(&mut self, end: &[u8], next: LineState) {
        self.line = 0;
        self.store(end);
        self.line = 0;
        self.number = self.number.saturating_add(usize::from(end.ends_with(b"\n")));
        self.place = next;
    }

    fn store(&mut self, bytes: &[u8]) {
        self.line = self.line.saturating_add(bytes.len());
        if self.message.len().saturating_add(bytes.len()) > self.most {
            self.refuse(DataProblem::TooLarge);
        }
        if self.line > DATA_LINE_BYTES {
            self.refuse(DataProblem::LongLine);
        }
        if self.problem.is_none() {
            self.message.extend_from_slice(bytes);
        }
    }

    /// Only the gravest problem is reported: a message that is too large stays so when everything else is mended.
    fn refuse(&mut self, problem: DataProblem) {
        self.problem = self.problem.max(Some(problem));
        self.message = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Message = Result<Vec<u8>, DataProblem>;

    /// The message, and the bytes that follow its end.
    fn read(bytes: &[u8]) -> Option<(Message, Vec<u8>)> {
        let mut receiver = Receiver::new(100);
        let (used, ended) = receiver.receive(bytes);
        ended.then(|| (receiver.finish(), bytes[used..].to_vec()))
    }

    #[test]
    fn dots_are_unstuffed() {
        for (wire, message) in [
            ("a\r\n.\r\n", "a\r\n"),
            ("..\r\n.\r\n", ".\r\n"),
            (".x\r\n.\r\n", "x\r\n"),
            (".\r\n", ""),
            ("\r\n.\r\n", "\r\n"),
            ("a.\r\n...b\r\n.\r\n", "a.\r\n..b\r\n"),
        ] {
            assert_eq!(read(wire.as_bytes()), Some((Ok(message.as_bytes().to_vec()), vec![])), "{wire:?}");
        }
    }

    #[test]
    fn nothing_else_ends_a_message() {
        for wire in [
            "\n.\n",
            "\r\n.\n",
            "\n.\r\n",
            "\r.\r",
            "\r\n.\r",
            "\r.\r\n",
            "\r\n\0.\r\n",
            "\r\n.\r\r\n",
            "\r\n.\n\r\n",
            "\r\n. \r\n",
            "\r\n.\0\r\n",
        ] {
            let wire = format!("a{wire}MAIL FROM:<x@y>\r\n");
            assert_eq!(read(wire.as_bytes()), None, "{wire:?}");
            let ended = format!("{wire}.\r\nNOOP\r\n");
            let (message, rest) = read(ended.as_bytes()).unwrap();
            assert_eq!(rest, b"NOOP\r\n");
            let refused = matches!(message, Err(DataProblem::LoneDot(1..=3) | DataProblem::Nul(1..=3)));
            assert!(refused || wire.contains(". \r\n"), "{wire:?}");
        }
    }

    #[test]
    fn a_lone_line_end_is_kept_and_ends_nothing() {
        for text in ["a\rb", "a\nb", "\ra", "a\r\r\n", "a\n\r\n", "\n\n", "a\n.b\r\n", "a\r..\r\n", "a\n\r\n..b\r\n"] {
            let wire = format!("{text}{}.\r\n", if text.ends_with("\r\n") { "" } else { "\r\n" });
            let message = wire.strip_suffix(".\r\n").unwrap().replace("\r\n..", "\r\n.");
            assert_eq!(read(wire.as_bytes()), Some((Ok(message.into_bytes()), vec![])), "{text:?}");
        }
    }

    #[test]
    fn the_line_of_a_problem_is_counted_as_an_editor_counts() {
        let problem = |wire: &str| read(wire.as_bytes()).unwrap().0.unwrap_err();
        assert_eq!(problem("a\r\nb\nc\rd\0\r\n.\r\n"), DataProblem::Nul(3));
        assert_eq!(problem("a\r\nb\n.\nc\r\n.\r\n"), DataProblem::LoneDot(3));
        assert_eq!(problem("a\r\n.\nc\r\n.\r\n"), DataProblem::LoneDot(2));
    }

    #[test]
    fn bounds_hold_and_nothing_is_kept() {
        let wire = format!("{}\r\n.\r\n", "x".repeat(101));
        assert_eq!(read(wire.as_bytes()), Some((Err(DataProblem::TooLarge), vec![])));
        let mut receiver = Receiver::new(usize::MAX);
        receiver.receive(&vec![b'x'; DATA_LINE_BYTES + 1]);
        assert!(receiver.message.is_empty());
        assert_eq!(receiver.receive(b"\r\n.\r\n"), (5, true));
        assert_eq!(receiver.finish(), Err(DataProblem::LongLine));
    }

    #[test]
    fn no_message_makes_more_steps_than_four_a_byte_in_any_pieces() {
        for unit in ["\r\n.", "\r\n..\r\n", "\r", ".\r", "\r\n.\r", "x", "\0", "\r\n"] {
            let wire = unit.repeat(50_000);
            for piece in [1, 3, 4096, usize::MAX] {
                let mut receiver = Receiver::new(1 << 20);
                let (steps, ()) = meter::work(|| {
                    for bytes in wire.as_bytes().chunks(piece.min(wire.len())) {
                        receiver.receive(bytes);
                    }
                });
                assert!(steps <= 4 * wire.len() as u64 + 10, "{unit:?} in {piece}: {steps}");
            }
        }
    }

    /// Reads the whole input at once, by a plain version of the rule.
    fn reference(wire: &[u8]) -> Option<usize> {
        let start = wire.starts_with(b".\r\n").then_some(3);
        start.or_else(|| wire.windows(5).position(|window| window == b"\r\n.\r\n").map(|at| at + 5))
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same(wire in "[a\r\n.\0]{0,40}(\r\n\\.\r\n)?", cuts in prop::collection::vec(0_usize..5, 0..20)) {
            let wire = wire.into_bytes();
            let mut receiver = Receiver::new(100);
            let (mut at, mut ended, mut cuts) = (0, false, cuts.into_iter());
            while at < wire.len() && !ended {
                let end = wire.len().min(at + cuts.next().unwrap_or(7).max(1));
                let (used, end_found) = receiver.receive(&wire[at..end]);
                at += used;
                ended = end_found;
            }
            prop_assert_eq!(ended.then_some(at), reference(&wire));
            if let (true, Ok(message)) = (ended, receiver.finish()) {
                // To a program for which a lone CR or LF ends a line, no line of it is one dot either.
                let text = String::from_utf8(message).unwrap().replace("\r\n", "\n");
                let ended = |end: &u8| matches!(end, b'\r' | b'\n');
                let doubled = |window: &&[u8]| window.starts_with(b"\r\n..") && window.last().is_some_and(ended);
                let first = wire.starts_with(b"..") && wire.get(2).is_some_and(ended);
                let of_sent = wire.windows(5).filter(doubled).count() + usize::from(first);
                prop_assert!(text.split(['\r', '\n']).filter(|line| *line == ".").count() <= of_sent);
            }
        }
    }
}
