//! The session of a deposit: with the carrier of a drop, or with a friend who carries.

use crate::base::{ClockStep, Timestamp};
use crate::engine::session::{Initiator, Patron};

/// Whom a deposit talks to.
pub(super) enum Leg {
    /// The carrier of a drop.
    Carrier(Patron),
    /// A friend.
    Friend(Initiator),
}

impl Leg {
    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        match self {
            Self::Carrier(patron) => patron.poll_timeout(),
            Self::Friend(initiator) => initiator.poll_timeout(),
        }
    }

    pub(super) fn clock_set(&mut self, step: ClockStep) {
        match self {
            Self::Carrier(patron) => patron.clock_set(step),
            Self::Friend(initiator) => initiator.clock_set(step),
        }
    }

    pub(super) fn handle(&mut self, now: Timestamp, bytes: &[u8]) {
        match self {
            Self::Carrier(patron) => patron.handle(now, bytes),
            Self::Friend(initiator) => initiator.handle(now, bytes),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Timestamp) {
        match self {
            Self::Carrier(patron) => patron.handle_timeout(now),
            Self::Friend(initiator) => initiator.handle_timeout(now),
        }
    }

    pub(super) fn disconnected(&mut self) {
        match self {
            Self::Carrier(patron) => patron.disconnected(),
            Self::Friend(initiator) => initiator.disconnected(),
        }
    }

    pub(super) fn finish(&mut self, now: Timestamp) {
        match self {
            Self::Carrier(patron) => patron.finish(),
            Self::Friend(initiator) => initiator.finish(now),
        }
    }

    pub(super) fn take_output(&mut self) -> Vec<u8> {
        match self {
            Self::Carrier(patron) => patron.take_output(),
            Self::Friend(initiator) => initiator.take_output(),
        }
    }
}
