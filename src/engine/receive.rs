//! The room that receives: the sessions that peers open, and what they bring.
//!
//! `sessions` has the sessions, `delivery` what becomes of mail, `greeting` of cards; `shares` and `rates` say how much one
//! sender may take.

use std::collections::{BTreeMap, VecDeque};

use crate::base::{ClockStep, OpId, SessionId, Terms, Timestamp};

use super::carriage::{ObjectHash, Rounds};
use super::context::{Completion, Context};
use super::deliver::Deliver;
use super::delivery::Arrival;
use super::drops::Boxes;
use super::greeting::Greeting;
use super::keys::Keys;
use super::rates::Rates;
use super::record::Seen;
use super::sessions::{Inbound, Settlement};
use super::shares::Unsettled;

/// An operation that the room waits for.
pub(super) enum InFlight {
    /// An object is being opened.
    Open(Arrival),
    /// A card is being verified.
    Card(Box<Greeting>),
    Commit(AfterCommit),
}

/// What follows a commit of this room.
pub(super) enum AfterCommit {
    /// Mail is acknowledged.
    Acknowledge(Arrival, Seen),
    /// A card is acknowledged, if it was taken.
    Acquainted(Box<Greeting>),
    /// Something that we are to carry is acknowledged.
    Loaded(Arrival, ObjectHash),
}

/// The rooms for which peers bring something.
pub(super) struct ReceiveRooms<'r> {
    pub(super) deliver: &'r Deliver,
    pub(super) boxes: &'r mut Boxes,
    pub(super) forwarding: &'r mut Rounds,
}

/// The memory of what peers bring.
#[derive(Default)]
pub(super) struct Receive {
    pub(super) terms: Terms,
    pub(super) inbound: BTreeMap<SessionId, Inbound>,
    pub(super) rates: Rates,
    pub(super) keys: Keys,
    /// Objects that arrived and are not settled.
    pub(super) unsettled: Unsettled,
    /// Answers to deliveries that are to be given.
    pub(super) settlements: VecDeque<Settlement>,
    pub(super) in_flight: BTreeMap<OpId, InFlight>,
}

impl Receive {
    /// An operation of this room is over.
    pub(super) fn completed(
        &mut self,
        cx: &mut Context<'_>,
        rooms: &mut ReceiveRooms<'_>,
        op: OpId,
        completion: Completion,
    ) {
        match (self.in_flight.remove(&op), completion) {
            (Some(InFlight::Open(arrival)), Completion::Opened(result)) => self.opened(cx, rooms, arrival, result),
            (Some(InFlight::Card(greeting)), Completion::CardVerified(holds)) => {
                self.card_verified(cx, *greeting, holds);
            }
            (Some(InFlight::Commit(then)), Completion::Committed(applied)) => match then {
                AfterCommit::Acknowledge(arrival, seen) => self.acknowledge(cx, arrival, &seen, applied),
                AfterCommit::Acquainted(greeting) => self.acquainted(cx, *greeting, applied),
                AfterCommit::Loaded(arrival, object) => self.loaded(cx, rooms, arrival, &object, applied),
            },
            _ => {}
        }
    }

    /// When a session wants to be told that time has passed.
    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        self.inbound.values().filter_map(Inbound::poll_timeout).min()
    }

    /// The clock was set.
    pub(super) fn clock_set(&mut self, step: ClockStep) {
        self.inbound.values_mut().for_each(|inbound| inbound.clock_set(step));
    }
}
