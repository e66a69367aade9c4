//! The rooms of an identity, and the questions that go to all of them.

use std::sync::Arc;
use std::time::Duration;

use crate::base::rng::Rng;
use crate::base::{ClockStep, OpId, SessionId, Timestamp};
use crate::engine::boxes::{Boxes, Delays};
use crate::engine::context::{Completion, Context, Room};
use crate::engine::deliver::Deliver;
use crate::engine::forwarding::ForwardSchedule;
use crate::engine::people::knocks::Knocks;
use crate::engine::people::rotation::Rotation;
use crate::engine::people::sightings::Sightings;
use crate::engine::receive::{Receive, ReceiveRooms};
use crate::engine::requests::Requests;
use crate::engine::state::queue::Queued;
use crate::engine::state::record::Record;
use crate::engine::state::{Applied, State};

/// The rooms, each with its own memory.
pub(in crate::engine) struct Rooms {
    pub(in crate::engine) requests: Requests,
    pub(in crate::engine) receive: Receive,
    pub(in crate::engine) deliver: Deliver,
    pub(in crate::engine) boxes: Boxes,
    pub(in crate::engine) forwarding: ForwardSchedule,
    pub(in crate::engine) knocks: Knocks,
    pub(in crate::engine) sightings: Sightings,
    pub(in crate::engine) rotation: Rotation,
}

impl Rooms {
    /// At a start: whatever waits is tried soon.
    pub(in crate::engine) fn at_start(state: &State, delays: Delays, now: Timestamp, rng: &mut dyn Rng) -> Self {
        Self {
            requests: Requests::default(),
            receive: Receive::default(),
            deliver: Deliver::at_start(state, delays.receipt, now, rng),
            boxes: Boxes::at_start(state, delays.deposit, now, rng),
            forwarding: ForwardSchedule::at_start(state.forwarding(), now, rng),
            knocks: Knocks::default(),
            sightings: Sightings::at_start(state),
            rotation: Rotation::default(),
        }
    }

    /// When something is due.
    pub(in crate::engine) fn poll_timeout(&self, state: &State) -> Option<Timestamp> {
        let Self { receive, deliver, boxes, forwarding, knocks, rotation, .. } = self;
        let sessions = [receive.poll_timeout(), deliver.poll_timeout(), boxes.poll_timeout(), forwarding.poll()];
        let others = [
            forwarding.next_expiry(state, deliver),
            knocks.poll(),
            rotation.poll(state, deliver.not_before(Timestamp::default())),
        ];
        sessions.into_iter().chain(others).flatten().min()
    }

    /// A deadline may have passed.
    pub(in crate::engine) fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        self.receive.handle_timeout(cx);
        self.deliver.expire(cx);
        self.forwarding.expire(cx, &self.deliver);
        self.rotation.handle_timeout(cx, self.deliver.not_before(Timestamp::default()));
    }

    /// The clock was set.
    pub(in crate::engine) fn clock_set(&mut self, step: ClockStep, now: Timestamp, rng: &mut dyn Rng) {
        self.receive.clock_set(step);
        self.deliver.clock_set(step, now, rng);
        self.boxes.clock_set(step, now, rng);
        self.forwarding.clock_set(step, now, rng);
        self.knocks.clock_set(step);
        self.rotation.clock_set();
    }

    /// The network is back after it was gone for this long: what failed meanwhile says nothing about those who were dialled.
    pub(in crate::engine) fn network_back(&mut self, gone: Duration, now: Timestamp, rng: &mut dyn Rng) {
        self.deliver.network_back(gone, now, rng);
        self.boxes.network_back(gone, now, rng);
        self.forwarding.network_back(gone, now, rng);
    }

    /// The session that is one too many of its kind.
    pub(in crate::engine) fn surplus(&self) -> Option<SessionId> {
        let surplus = self.deliver.surplus().or_else(|| self.boxes.surplus());
        surplus.or_else(|| self.forwarding.surplus())
    }

    /// An operation that a room began is over.
    pub(in crate::engine) fn completed(&mut self, cx: &mut Context<'_>, room: Room, op: OpId, completion: Completion) {
        let Self { requests, receive, deliver, boxes, forwarding, rotation, .. } = self;
        match room {
            Room::Requests => requests.completed(cx.out, deliver, op, completion),
            Room::Receive => {
                receive.completed(cx, &mut ReceiveRooms { deliver, boxes, forwarding }, op, completion);
            }
            Room::Deliver => deliver.completed(cx, op, completion),
            Room::Boxes => boxes.completed(op),
            Room::Forwarding => forwarding.completed(cx, op, completion),
            Room::Rotation => rotation.completed(cx, op, completion),
        }
    }

    /// A record was applied. `before` is the message that it is about, as it was.
    pub(in crate::engine) fn on_record(
        &mut self,
        state: &State,
        now: Timestamp,
        record: &Record,
        applied: &Applied,
        before: Option<&Arc<Queued>>,
    ) {
        self.deliver.on_record(state, now, record, applied, before);
        self.sightings.on_record(state, record);
        if let Some(queued) = before.filter(|queued| state.queue().get(queued.id).is_none()) {
            self.boxes.forget(queued.id);
        }
    }

    /// A commit is applied and published: what its records mean for the rooms.
    pub(in crate::engine) fn on_records(&mut self, cx: &mut Context<'_>, records: &[Record]) {
        self.deliver.on_records(cx, records);
        self.boxes.on_records(cx, &self.deliver, records);
        self.receive.on_records(cx, records);
    }
}
