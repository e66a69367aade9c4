//! How long the side that dialled waits, and how much it reads meanwhile (docs/protocol.md, "Limits").
//!
//! The answer that comes next has one deadline, which begins anew with each final answer and with nothing else:
//! information, the lines before the last of an answer, empty lines and parts of a line do not move it. While the
//! blocks of an answer come, they must come at a minimal rate. Lines that are no answers are counted, and too many of
//! them end the session.

use std::time::Duration;

use super::Failure;
use crate::base::limits::{
    WIRE_HANDSHAKE, WIRE_IDLE, WIRE_INFORMATION_BYTES, WIRE_INFORMATION_LINES, WIRE_PROGRESS, WIRE_PROGRESS_BYTES,
    WIRE_SESSION, WIRE_SLOWEST_UPLOAD,
};
use crate::base::{ClockStep, Timestamp};

/// The deadlines of a session that we dialled, and how much was heard in it that is no answer.
#[derive(Debug)]
pub(super) struct Patience {
    begun: Timestamp,
    greeted: bool,
    /// When the peer can have received everything that was sent.
    uploaded: Timestamp,
    /// When the next final answer must be there.
    due: Timestamp,
    /// Within blocks: when the next [`WIRE_PROGRESS_BYTES`] must be there, and how many of those bytes have come.
    block: Option<(Timestamp, usize)>,
    /// Lines of information since the last final answer.
    lines: usize,
    /// Bytes of information in the whole session.
    bytes: usize,
}

impl Patience {
    pub(super) const fn new(now: Timestamp) -> Self {
        Self { begun: now, greeted: false, uploaded: now, due: now, block: None, lines: 0, bytes: 0 }
    }

    /// The peer's greeting came.
    pub(super) const fn greeted(&mut self) {
        self.greeted = true;
    }

    /// Whether the peer's greeting came.
    pub(super) const fn is_greeted(&self) -> bool {
        self.greeted
    }

    /// A command was sent that is to be answered. If another answer is `awaited` first, that answer gets no more time
    /// for it.
    pub(super) fn asked(&mut self, now: Timestamp, bytes: usize, awaited: bool) {
        let upload = Duration::from_secs((bytes / WIRE_SLOWEST_UPLOAD) as u64);
        self.uploaded = self.uploaded.max(now).plus(upload);
        if !awaited {
            self.due = self.uploaded.plus(WIRE_IDLE);
        }
    }

    /// A final answer came: the next one has all of its time.
    pub(super) fn answered(&mut self, now: Timestamp) {
        self.lines = 0;
        self.due = self.uploaded.max(now).plus(WIRE_IDLE);
    }

    /// A line came that is no final answer.
    ///
    /// # Errors
    /// [`Failure::Protocol`] if there are too many such lines, or they have too many bytes.
    pub(super) const fn informed(&mut self, bytes: usize) -> Result<(), Failure> {
        self.lines = self.lines.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.lines > WIRE_INFORMATION_LINES || self.bytes > WIRE_INFORMATION_BYTES {
            return Err(Failure::Protocol);
        }
        Ok(())
    }

    /// Bytes came and were read; `within` says that the blocks of an answer are coming.
    pub(super) fn received(&mut self, now: Timestamp, bytes: usize, within: bool) {
        self.block = match self.block {
            Some((due, before)) if within && before.saturating_add(bytes) < WIRE_PROGRESS_BYTES => {
                Some((due, before.saturating_add(bytes)))
            }
            _ => within.then(|| (now.plus(WIRE_PROGRESS), 0)),
        };
    }

    /// The clock was set: everything goes on as it was.
    pub(super) fn clock_set(&mut self, step: ClockStep) {
        for moment in [&mut self.begun, &mut self.uploaded, &mut self.due] {
            *moment = moment.stepped(step);
        }
        self.block = self.block.map(|(due, bytes)| (due.stepped(step), bytes));
    }

    /// The next deadline; if no answer is `awaited`, that of the whole session.
    pub(super) fn deadline(&self, awaited: bool) -> Timestamp {
        let total = self.begun.plus(WIRE_SESSION);
        match self.block {
            _ if !self.greeted => self.begun.plus(WIRE_HANDSHAKE),
            Some((due, _)) => total.min(due),
            None if awaited => total.min(self.due),
            None => total,
        }
    }

    /// Whether the session is young enough to begin something new.
    pub(super) fn is_young(&self, now: Timestamp) -> bool {
        now.since(self.begun) < WIRE_SESSION / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Timestamp {
        Timestamp::from_secs(1_800_000_000)
    }

    fn after(seconds: u64) -> Timestamp {
        start().plus(Duration::from_secs(seconds))
    }

    #[test]
    fn an_answer_has_its_time_from_when_it_could_have_been_given_and_nothing_but_an_answer_gives_more() {
        let mut patience = Patience::new(start());
        assert_eq!(patience.deadline(true), after(30), "the greeting");
        patience.greeted();
        assert_eq!(patience.deadline(false), after(900), "nothing is asked");
        assert_eq!([0, 449, 450, 900].map(|seconds| patience.is_young(after(seconds))), [true, true, false, false]);
        patience.asked(after(10), 100, false);
        assert_eq!(patience.deadline(true), after(130));
        patience.asked(after(20), 200 * WIRE_SLOWEST_UPLOAD, true);
        patience.informed(10).unwrap();
        patience.received(after(100), 10, false);
        assert_eq!(patience.deadline(true), after(130));
        patience.answered(after(125));
        assert_eq!(patience.deadline(true), after(340), "the answer after it: what was sent takes its time");
        patience.answered(after(339));
        assert_eq!(patience.deadline(true), after(459));
    }

    #[test]
    fn blocks_must_come_at_a_rate_and_information_is_bounded() {
        let mut patience = Patience::new(start());
        patience.greeted();
        patience.asked(start(), 0, false);
        patience.received(after(100), 10, true);
        assert_eq!(patience.deadline(true), after(130));
        patience.received(after(120), WIRE_PROGRESS_BYTES - 1, true);
        assert_eq!(patience.deadline(true), after(130), "less than is asked for");
        patience.received(after(125), 1, true);
        assert_eq!(patience.deadline(true), after(155));
        patience.received(after(150), 1, false);
        patience.answered(after(150));
        assert_eq!(patience.deadline(true), after(270));
        for _ in 0..WIRE_INFORMATION_LINES {
            patience.informed(1).unwrap();
        }
        assert_eq!(patience.informed(1), Err(Failure::Protocol));
        patience.answered(start());
        patience.informed(1).unwrap();
        assert_eq!(patience.informed(WIRE_INFORMATION_BYTES), Err(Failure::Protocol));
    }
}
