//! What every client does alike: it reads lines and blocks, waits for the greeting, keeps its deadlines, says QUIT and
//! ends. The machine that owns it decides what is asked, and what an answer means.
//!
//! States: greeting awaited, open, quitting, closed.

use std::collections::VecDeque;

use crate::base::{ClockStep, Timestamp};
use crate::wire::{self, Command, Decoder, Item, Reply, ServerLine, Side, Word};

use super::Failure;
use super::patience::Patience;

/// What a [`ClientCore`] heard from its peer.
pub(super) enum Heard<A> {
    /// A line that is a reply.
    Reply(Reply),
    /// The blocks that an announcement promised.
    Blocks(A, Vec<Vec<u8>>),
}

/// The common part of the clients. `A` is what a client keeps of an announcement until its blocks are there, `E` is an
/// event that it reports.
pub(super) struct ClientCore<A, E> {
    decoder: Decoder,
    patience: Patience,
    output: Vec<u8>,
    events: VecDeque<E>,
    /// The announcement whose blocks are coming.
    announcement: Option<A>,
    quitting: bool,
    closed: bool,
}

impl<A, E> ClientCore<A, E> {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            decoder: Decoder::new(Side::Replies),
            patience: Patience::new(now),
            output: Vec::new(),
            events: VecDeque::new(),
            announcement: None,
            quitting: false,
            closed: false,
        }
    }

    /// Whether QUIT was said or the session has ended: no command may follow, and the connection is closed once the
    /// output is sent.
    pub(super) const fn wants_close(&self) -> bool {
        self.closed || self.quitting
    }

    /// Whether QUIT was said.
    pub(super) const fn is_quitting(&self) -> bool {
        self.quitting
    }

    /// Whether the session has ended.
    pub(super) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether the peer has greeted.
    pub(super) const fn is_greeted(&self) -> bool {
        self.patience.is_greeted()
    }

    /// Whether the session is young enough to begin something new.
    pub(super) fn is_young(&self, now: Timestamp) -> bool {
        self.patience.is_young(now)
    }

    /// Writes a command that is to be answered. If another answer is `awaited` first, that answer gets no more time for
    /// it.
    pub(super) fn ask(&mut self, now: Timestamp, awaited: bool, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.output.len();
        write(&mut self.output);
        self.patience.asked(now, self.output.len().saturating_sub(before), awaited);
    }

    /// Says QUIT, once.
    pub(super) fn quit(&mut self) {
        if !self.wants_close() {
            self.quitting = true;
            self.output.extend_from_slice(Command::Quit.encode(None).as_bytes());
        }
    }

    /// Takes bytes from the peer. [`Self::hear`] gives their meaning, then [`Self::received`] moves the deadlines.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.decoder.push(bytes);
    }

    /// The next reply, or the next blocks, that have come whole. Greetings and empty lines are handled here.
    ///
    /// # Errors
    /// The [`Failure`] that the session has to end with.
    pub(super) fn hear(&mut self) -> Option<Result<Heard<A>, Failure>> {
        while !self.closed {
            let Ok(item) = self.decoder.next_item() else { return Some(Err(Failure::Protocol)) };
            match (item?, self.announcement.take()) {
                (Item::Line(words), None) => {
                    if let Some(reply) = self.line(words).transpose() {
                        return Some(reply.map(Heard::Reply));
                    }
                }
                (Item::Blocks(blocks), Some(announcement)) => return Some(Ok(Heard::Blocks(announcement, blocks))),
                _ => return Some(Err(Failure::Protocol)),
            }
        }
        None
    }

    /// So many bytes were read.
    pub(super) fn received(&mut self, now: Timestamp, bytes: usize) {
        self.patience.received(now, bytes, self.decoder.is_within_blocks());
    }

    /// The bytes that the line just heard announces.
    pub(super) fn announced(&self) -> Option<u64> {
        self.decoder.announced()
    }

    /// Waits for the blocks that the line just heard announces.
    ///
    /// # Errors
    /// [`Failure::Protocol`] if they have more than `bound` bytes together.
    pub(super) fn take_blocks(&mut self, bound: u64, announcement: A) -> Result<(), Failure> {
        self.decoder.take_blocks(bound).map_err(|_| Failure::Protocol)?;
        self.announcement = Some(announcement);
        Ok(())
    }

    /// The line just heard answers nothing: it is a word for people, or says that the answer takes longer.
    ///
    /// # Errors
    /// [`Failure::Protocol`] if there are too many such lines, or it announces blocks.
    pub(super) fn informed(&mut self) -> Result<(), Failure> {
        let blocks = self.announced().is_some();
        self.patience.informed(self.decoder.line_bytes()).and(if blocks { Err(Failure::Protocol) } else { Ok(()) })
    }

    /// A final answer came: the next one has all of its time.
    pub(super) fn answered(&mut self, now: Timestamp) {
        self.patience.answered(now);
    }

    /// Adds an event to be reported.
    pub(super) fn report(&mut self, event: E) {
        self.events.push_back(event);
    }

    /// Ends the session; `false` if it had ended before.
    pub(super) const fn close(&mut self) -> bool {
        !std::mem::replace(&mut self.closed, true)
    }

    /// The clock was set: deadlines move with it.
    pub(super) fn clock_set(&mut self, step: ClockStep) {
        self.patience.clock_set(step);
    }

    /// The next deadline; if no answer is `awaited`, that of the whole session.
    pub(super) fn poll_timeout(&self, awaited: bool) -> Option<Timestamp> {
        (!self.closed).then(|| self.patience.deadline(awaited))
    }

    /// Whether that deadline is over.
    pub(super) fn is_over(&self, now: Timestamp, awaited: bool) -> bool {
        self.poll_timeout(awaited).is_some_and(|deadline| now >= deadline)
    }

    /// The bytes to send now.
    pub(super) fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// The events since the last call, in order.
    pub(super) fn take_events(&mut self) -> Vec<E> {
        self.events.drain(..).collect()
    }

    /// A line as a reply; `None` if it is none.
    fn line(&mut self, words: Vec<Word>) -> Result<Option<Reply>, Failure> {
        if words.is_empty() {
            return self.patience.informed(self.decoder.line_bytes()).map(|()| None);
        }
        match ServerLine::decode(words).map_err(|_| Failure::Protocol)? {
            ServerLine::Greeting(_) if self.is_greeted() => Err(Failure::Protocol),
            ServerLine::Greeting(greeting) => {
                self.patience.greeted();
                let known = greeting.versions.iter().any(|version| version == wire::VERSION);
                if known { Ok(None) } else { Err(Failure::Version) }
            }
            ServerLine::Reply(reply) => Ok(Some(reply)),
        }
    }
}
