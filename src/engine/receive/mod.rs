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

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::base::ids::Fingerprint;
use crate::base::{BodyId, ClockStep, ContactId, OpId, SessionId, Terms, Timestamp, limits};

use crate::engine::boxes::Boxes;
use crate::engine::context::{Completion, Context, Owner, Room};
use crate::engine::deliver::Deliver;
use crate::engine::forwarding::ForwardSchedule;
use crate::engine::people::{consent, notices};
use crate::engine::receive::delivery::Arrival;
use crate::engine::receive::greeting::Greeting;
use crate::engine::receive::introductions::Introduced;
use crate::engine::receive::keys::Keys;
use crate::engine::receive::peers::{Inbound, Settlement};
use crate::engine::receive::rates::Rates;
use crate::engine::receive::revocations::Claimed;
use crate::engine::receive::shares::Unsettled;
use crate::engine::state::book::{ContactChange, ContactStatus};
use crate::engine::state::forwarding::ObjectHash;
use crate::engine::state::mailbox::FolderRole;
use crate::engine::state::record::{BookRecord, ContentKey, ReceivedRecord, Record};
use crate::mail::Address;

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
    /// A content about an introduction is acknowledged.
    Introduced(Arrival, ContentKey),
    /// A card is acknowledged, if it was taken.
    Acquainted(Box<Greeting>),
    /// An object that we are to forward is acknowledged.
    Loaded(Arrival, ObjectHash),
    /// The user was told of something, and nothing else follows. If that failed, it is told at the next occasion.
    Told,
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
    /// Contacts of whom the user was told, since the start, that they sent two cards with one number.
    forked: BTreeSet<ContactId>,
    /// The last messages that went into Requests, and their authors. A decision that is committed beside them does not know
    /// of them.
    asking: VecDeque<(BodyId, ContactId)>,
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
                AfterCommit::Acknowledge(arrival, seen) | AfterCommit::Introduced(arrival, seen) => {
                    self.acknowledge(cx, arrival, &seen, applied)
                }
                AfterCommit::Acquainted(greeting) => self.acquainted(cx, *greeting, applied),
                AfterCommit::Loaded(arrival, object) => self.loaded(cx, rooms, arrival, &object, applied),
                AfterCommit::Told => {}
            },
            _ => {}
        }
    }

    /// Tells the user where somebody showed another key for a contact's address, or another address for its key.
    pub(super) fn tell_change(&mut self, cx: &mut Context<'_>, address: &Address, key: &Fingerprint) {
        if let Some(told) = notices::change_refused(cx, address, key) {
            let op = cx.out.commit(Owner::Room(Room::Receive), told);
            self.in_flight.insert(op, InFlight::Commit(AfterCommit::Told));
        }
    }

    /// A commit took effect: where it is a decision about somebody who waits in Requests, or a message that came beside one,
    /// the message follows the decision.
    pub(in crate::engine) fn on_records(&mut self, cx: &mut Context<'_>, records: &[Record]) {
        let Some(requests) = cx.folder_of(FolderRole::Requests).map(|folder| folder.id) else { return };
        for record in records {
            let author = match record {
                Record::Received(ReceivedRecord::Delivered { folder, message, contact, .. }) if *folder == requests => {
                    self.asking.push_back((message.body, *contact));
                    let surplus = self.asking.len().saturating_sub(limits::REQUESTS_PENDING);
                    self.asking.drain(..surplus);
                    *contact
                }
                Record::Book(BookRecord::ContactChanged { id, change: ContactChange::Status(_) }) => *id,
                _ => continue,
            };
            for (message, _) in self.asking.iter().filter(|(_, by)| *by == author) {
                if let Some(record) = consent::overtaken(cx, *message, author) {
                    cx.out.commit(Owner::Room(Room::Receive), record);
                }
            }
            let is_open = cx.state.book().contact(author).is_some_and(|it| it.status == ContactStatus::Request);
            self.asking.retain(|(_, by)| is_open || *by != author);
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
