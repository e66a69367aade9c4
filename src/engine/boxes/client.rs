//! The client that a deposit talks through: to the carrier of a box, or to a friend who forwards.

use crate::base::{ClockStep, Timestamp};
use crate::engine::dialled::Client;
use crate::engine::session::{BoxClient, DeliveryClient, Event, Service};

/// The client of a carrier or of a friend.
pub(in crate::engine) enum DepositClient {
    /// The carrier of a box.
    Carrier(BoxClient),
    /// A friend.
    Friend(DeliveryClient),
}

/// What the client of a carrier or of a friend reports.
pub(in crate::engine) enum DepositEvent {
    Carrier(Service),
    Friend(Event),
}

impl Client for DepositClient {
    type Event = DepositEvent;

    fn handle(&mut self, now: Timestamp, bytes: &[u8]) {
        match self {
            Self::Carrier(client) => client.handle(now, bytes),
            Self::Friend(client) => client.handle(now, bytes),
        }
    }

    fn handle_timeout(&mut self, now: Timestamp) {
        match self {
            Self::Carrier(client) => client.handle_timeout(now),
            Self::Friend(client) => client.handle_timeout(now),
        }
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        match self {
            Self::Carrier(client) => client.poll_timeout(),
            Self::Friend(client) => client.poll_timeout(),
        }
    }

    fn clock_set(&mut self, step: ClockStep) {
        match self {
            Self::Carrier(client) => client.clock_set(step),
            Self::Friend(client) => client.clock_set(step),
        }
    }

    fn disconnected(&mut self) {
        match self {
            Self::Carrier(client) => client.disconnected(),
            Self::Friend(client) => client.disconnected(),
        }
    }

    fn finish(&mut self, now: Timestamp) {
        match self {
            Self::Carrier(client) => client.finish(),
            Self::Friend(client) => client.finish(now),
        }
    }

    fn take_events(&mut self) -> Vec<DepositEvent> {
        match self {
            Self::Carrier(client) => client.take_events().into_iter().map(DepositEvent::Carrier).collect(),
            Self::Friend(client) => client.take_events().into_iter().map(DepositEvent::Friend).collect(),
        }
    }

    fn take_output(&mut self) -> Vec<u8> {
        match self {
            Self::Carrier(client) => client.take_output(),
            Self::Friend(client) => client.take_output(),
        }
    }
}
