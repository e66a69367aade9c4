//! How slow a peer may be: deadlines as state (docs/protocol.md, "Limits").

use std::time::Duration;

use crate::base::limits::{WIRE_HANDSHAKE, WIRE_IDLE, WIRE_PROGRESS, WIRE_PROGRESS_BYTES, WIRE_SESSION};
use crate::base::{ClockStep, Timestamp};

/// The deadlines of one session.
#[derive(Debug)]
pub(super) struct Pace {
    begun: Timestamp,
    /// When the peer must have finished its next step.
    step: Timestamp,
    /// Until when a silence between items is no fault: we kept the peer waiting, or it has much to receive.
    grace: Timestamp,
    /// Bytes that came since the step began.
    bytes: usize,
    phase: Phase,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing complete was received yet.
    Handshake,
    /// Between items.
    Between,
    /// Within an item.
    Within,
}

impl Pace {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { begun: now, step: now.plus(WIRE_HANDSHAKE), grace: now, bytes: 0, phase: Phase::Handshake }
    }

    /// Bytes arrived.
    pub(super) fn received(&mut self, now: Timestamp, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.phase == Phase::Within && self.bytes >= WIRE_PROGRESS_BYTES {
            self.bytes = 0;
            self.step = now.plus(WIRE_PROGRESS);
        }
    }

    /// Bytes that arrived were read: whether anything was complete, and whether a part of an item is left.
    pub(super) fn read(&mut self, now: Timestamp, complete: bool, within: bool) {
        if complete || (within && self.phase == Phase::Between) {
            self.bytes = 0;
            self.phase = if within { Phase::Within } else { Phase::Between };
            self.step = now.plus(if within { WIRE_PROGRESS } else { WIRE_IDLE });
        }
    }

    /// The next step is the peer's from now on; it has `allowance` more, for the bytes that it must receive first.
    pub(super) fn turn(&mut self, now: Timestamp, allowance: Duration) {
        self.grace = self.grace.max(now.plus(WIRE_IDLE).plus(allowance));
    }

    /// The clock was set: everything goes on as it was.
    pub(super) fn clock_set(&mut self, step: ClockStep) {
        for moment in [&mut self.begun, &mut self.step, &mut self.grace] {
            *moment = moment.stepped(step);
        }
    }

    /// Whether nothing complete was received yet.
    pub(super) fn is_handshake(&self) -> bool {
        self.phase == Phase::Handshake
    }

    /// The next deadline; only that of the whole session if the next step is `ours`.
    pub(super) fn deadline(&self, ours: bool) -> Timestamp {
        let total = self.begun.plus(WIRE_SESSION);
        match self.phase {
            _ if ours => total,
            Phase::Between => total.min(self.step.max(self.grace)),
            Phase::Handshake | Phase::Within => total.min(self.step),
        }
    }
}
