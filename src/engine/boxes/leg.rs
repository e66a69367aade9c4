//! The session of a deposit: with the carrier of a drop, or with a friend who carries.

use crate::base::{ClockStep, Timestamp};
use crate::engine::dialled::Client;
use crate::engine::session::{Event, Initiator, Patron, Service};

/// Whom a deposit talks to.
pub(in crate::engine) enum Leg {
    /// The carrier of a drop.
    Carrier(Patron),
    /// A friend.
    Friend(Initiator),
}

/// What the one or the other reports.
pub(in crate::engine) enum LegEvent {
    Carrier(Service),
    Friend(Event),
}

impl Client for Leg {
    type Event = LegEvent;

    fn handle(&mut self, now: Timestamp, bytes: &[u8]) {
        match self {
            Self::Carrier(patron) => patron.handle(now, bytes),
            Self::Friend(initiator) => initiator.handle(now, bytes),
        }
    }

    fn handle_timeout(&mut self, now: Timestamp) {
        match self {
            Self::Carrier(patron) => patron.handle_timeout(now),
            Self::Friend(initiator) => initiator.handle_timeout(now),
        }
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        match self {
            Self::Carrier(patron) => patron.poll_timeout(),
            Self::Friend(initiator) => initiator.poll_timeout(),
        }
    }

    fn clock_set(&mut self, step: ClockStep) {
        match self {
            Self::Carrier(patron) => patron.clock_set(step),
            Self::Friend(initiator) => initiator.clock_set(step),
        }
    }

    fn disconnected(&mut self) {
        match self {
            Self::Carrier(patron) => patron.disconnected(),
            Self::Friend(initiator) => initiator.disconnected(),
        }
    }

    fn finish(&mut self, now: Timestamp) {
        match self {
            Self::Carrier(patron) => patron.finish(),
            Self::Friend(initiator) => initiator.finish(now),
        }
    }

    fn take_events(&mut self) -> Vec<LegEvent> {
        match self {
            Self::Carrier(patron) => patron.take_events().into_iter().map(LegEvent::Carrier).collect(),
            Self::Friend(initiator) => initiator.take_events().into_iter().map(LegEvent::Friend).collect(),
        }
    }

    fn take_output(&mut self) -> Vec<u8> {
        match self {
            Self::Carrier(patron) => patron.take_output(),
            Self::Friend(initiator) => initiator.take_output(),
        }
    }
}
