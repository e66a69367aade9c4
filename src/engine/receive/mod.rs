//! The room that receives: the sessions that peers open, and the objects that come in them.
//!
//! `peers` has the sessions, `delivery` handles mail and `greeting` cards; `shares` and `rates` say how much one sender
//! may take.

pub(in crate::engine) mod delivery;
mod greeting;
mod introductions;
mod keys;
mod peers;
mod rates;
mod revocations;
mod shares;

use std::collections::{BTreeMap, VecDeque};

use crate::base::{ClockStep, OpId, SessionId, Terms, Timestamp};

use crate::engine::boxes::Boxes;
use crate::engine::context::{Completion, Context};
use crate::engine::deliver::Deliver;
use crate::engine::forwarding::ForwardSchedule;
use crate::engine::receive::delivery::Arrival;
use crate::engine::receive::greeting::Greeting;
use crate::engine::receive::introductions::Introduced;
use crate::engine::receive::keys::Keys;
use crate::engine::receive::peers::{Inbound, Settlement};
use crate::engine::receive::rates::Rates;
use crate::engine::receive::revocations::Claimed;
use crate::engine::receive::shares::Unsettled;
use crate::engine::state::forwarding::ObjectHash;
use crate::engine::state::record::ContentKey;

/// An operation that the room waits for.
pub(in crate::engine) enum InFlight {
    /// An object is being opened.
    Open(Arrival),
    /// A card is being verified.
    Card(Box<Greeting>),
    /// A grant that a contact handed on is being verified.
    Introduction(Box<Introduced>),
    /// A revocation is being verified.
    Revocation(Box<Claimed>),
    Commit(AfterCommit),
}

/// What follows a commit of this room.
pub(in crate::engine) enum AfterCommit {
    /// Mail is acknowledged.
    Acknowledge(Arrival, ContentKey),
    /// A card is acknowledged, if it was taken.
    Acquainted(Box<Greeting>),
    /// An object that we are to forward is acknowledged.
    Loaded(Arrival, ObjectHash),
}

/// The rooms that handle what peers bring.
pub(in crate::engine) struct ReceiveRooms<'r> {
    pub(in crate::engine) deliver: &'r Deliver,
    pub(in crate::engine) boxes: &'r mut Boxes,
    pub(in crate::engine) forwarding: &'r mut ForwardSchedule,
}

/// The memory of this room.
#[derive(Default)]
pub(in crate::engine) struct Receive {
    terms: Terms,
    inbound: BTreeMap<SessionId, Inbound>,
    rates: Rates,
    keys: Keys,
    /// Objects that arrived and are not settled.
    unsettled: Unsettled,
    /// Answers to deliveries that are to be given.
    settlements: VecDeque<Settlement>,
    in_flight: BTreeMap<OpId, InFlight>,
}

impl Receive {
    /// The sessions that peers opened.
    #[cfg(test)]
    pub(in crate::engine) const fn inbound(&self) -> &BTreeMap<SessionId, Inbound> {
        &self.inbound
    }

    /// Other terms hold for sessions that begin from now on.
    pub(in crate::engine) fn set_terms(&mut self, terms: Terms) {
        self.terms = terms;
    }

    /// An operation of this room is over.
    pub(in crate::engine) fn completed(
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
            (Some(InFlight::Introduction(introduced)), Completion::CardVerified(holds)) => {
                self.grant_verified(cx, *introduced, holds);
            }
            (Some(InFlight::Revocation(claimed)), Completion::CardVerified(holds)) => {
                self.revocation_verified(cx, *claimed, holds);
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
    pub(in crate::engine) fn poll_timeout(&self) -> Option<Timestamp> {
        self.inbound.values().filter_map(Inbound::poll_timeout).min()
    }

    /// The clock was set.
    pub(in crate::engine) fn clock_set(&mut self, step: ClockStep) {
        self.inbound.values_mut().for_each(|inbound| inbound.clock_set(step));
    }
}
