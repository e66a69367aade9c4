//! The router: one identity's rooms behind one door.
//!
//! Inputs go in with the time and randomness, effects come out; deadlines are state ([`Identity::poll_timeout`]). The
//! router knows which room or task an input is for, and nothing of what they do. Only records whose commit was reported
//! change the state, in the order in which they were committed; after each such transaction the snapshot is published
//! before anybody is answered.

use std::sync::Arc;

use crate::base::rng::Rng;
use crate::base::{OpId, SessionId, Terms, Timestamp};

use crate::engine::boxes::Delays;
use crate::engine::context::{Completion, Context, Out, Owner};
use crate::engine::deliver::Deliver;
use crate::engine::dialled::TaskEvent;
use crate::engine::io::{CommitError, DIALLED_SESSIONS, Effect, Input};
use crate::engine::requests::RequestRooms;
use crate::engine::rooms::Rooms;
use crate::engine::signals::{part, parted, tell_all};
use crate::engine::state::mailbox::ModSeq;
use crate::engine::state::profile::{NoProfile, Profile};
use crate::engine::state::record::Record;
use crate::engine::state::{Applied, Snapshot, State};
use crate::engine::task::{Task, Tasks};

/// One identity: its state, its rooms and its sessions.
pub struct Identity {
    state: State,
    profile: Arc<Profile>,
    disk_low: bool,
    pub(in crate::engine) rooms: Rooms,
    /// The sessions that we dialled.
    pub(in crate::engine) tasks: Tasks,
    out: Out,
}

impl Identity {
    /// An identity with the state of its log. Messages that wait in the queue are tried soon.
    ///
    /// # Errors
    /// [`NoProfile`] if the log does not begin with an identity.
    pub fn new(state: State, delays: Delays, now: Timestamp, rng: &mut dyn Rng) -> Result<Self, NoProfile> {
        let profile = state.profile().cloned().ok_or(NoProfile)?;
        let rooms = Rooms::at_start(&state, delays, now, rng);
        Ok(Self { state, profile, disk_low: false, rooms, tasks: Tasks::default(), out: Out::default() })
    }

    /// Sets other terms than the usual ones, for sessions that begin from now on.
    pub fn set_terms(&mut self, terms: Terms) {
        self.rooms.knocks.set_wanted(terms.knocks);
        self.rooms.receive.set_terms(terms);
    }

    /// The committed state.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The copy of the state for readers.
    pub fn snapshot(&mut self) -> Snapshot {
        let Rooms { deliver, boxes, sightings, knocks, .. } = &mut self.rooms;
        Snapshot {
            knocks: knocks.are_wanted() && self.state.notes().knocks(),
            attempts: deliver.attempts(),
            sightings: sightings.published(),
            collections: Arc::new(boxes.attempts()),
            checks: Arc::new(boxes.checks()),
            ..self.state.snapshot()
        }
    }

    /// Whether a session that a peer opened reads no further until deliveries are settled: the driver leaves its bytes
    /// in the socket meanwhile.
    pub fn is_blocked(&self, session: SessionId) -> bool {
        self.rooms.receive.is_blocked(session)
    }

    /// Handles an input. The effects are to be carried out in their order.
    pub fn handle(&mut self, now: Timestamp, rng: &mut dyn Rng, input: Input) -> Vec<Effect> {
        let (mut cx, rooms, tasks) = self.parts(now, rng);
        match input {
            Input::Request(id, request) => {
                let mut asked = RequestRooms { deliver: &mut rooms.deliver, boxes: &mut rooms.boxes, begun: None };
                rooms.requests.request(&mut cx, &mut asked, id, request);
                if let Some(task) = asked.begun {
                    tasks.begin(task, Task::Check);
                }
            }
            Input::Accepted(session) => rooms.receive.accepted(&mut cx, session),
            Input::Dialled(session, result) => {
                // The session ended while it was being dialled.
                if result.is_ok() && !tasks.contains(session) {
                    cx.out.effect(Effect::Close(session));
                }
                tasks.handle(&mut cx, rooms, session, TaskEvent::Dialled(result));
            }
            Input::Received(session, bytes) if session.0 < DIALLED_SESSIONS => {
                rooms.receive.received(&mut cx, session, &bytes);
            }
            Input::Received(session, bytes) => tasks.handle(&mut cx, rooms, session, TaskEvent::Received(&bytes)),
            Input::Closed(session) if session.0 < DIALLED_SESSIONS => rooms.receive.closed(session),
            Input::Closed(session) => tasks.handle(&mut cx, rooms, session, TaskEvent::Closed),
            Input::Committed(op, result) => self.committed(now, rng, op, result),
            Input::Opened(op, result) => self.completed(now, rng, op, Completion::Opened(result)),
            Input::CardVerified(op, holds) => self.completed(now, rng, op, Completion::CardVerified(holds)),
            Input::CertificateChecked(op, usable) => {
                self.completed(now, rng, op, Completion::CertificateChecked(usable));
            }
            Input::Sealed(op, result) => self.completed(now, rng, op, Completion::Sealed(result)),
            Input::BoxWorked(op, result) => self.completed(now, rng, op, Completion::BoxWorked(result)),
            Input::BodyRead(op, message) => self.completed(now, rng, op, Completion::BodyRead(message)),
            Input::SealKeyMade(op, result) => self.completed(now, rng, op, Completion::SealKeyMade(result)),
            Input::SealKeysHeld(op, held) => self.completed(now, rng, op, Completion::SealKeysHeld(held)),
            Input::DiskLow(low) => self.disk_low = low,
            Input::NetworkBack(gone) => {
                rooms.network_back(gone, cx.now, cx.rng);
                cx.out.attempts_changed();
            }
            Input::Reachable => rooms.knocks.reachable(&mut cx),
            Input::ClockSet(step) => {
                rooms.clock_set(step, cx.now, cx.rng);
                tasks.handle_all(&mut cx, rooms, || TaskEvent::ClockSet(step));
                cx.out.attempts_changed();
            }
        }
        self.after_input(now, rng)
    }

    /// When [`Self::handle_timeout`] is to be called at the latest.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.tasks.poll_timeout().into_iter().chain(self.rooms.poll_timeout(&self.state)).min()
    }

    /// A deadline may have passed.
    pub fn handle_timeout(&mut self, now: Timestamp, rng: &mut dyn Rng) -> Vec<Effect> {
        let (mut cx, rooms, tasks) = self.parts(now, rng);
        tasks.handle_timeout(&mut cx, rooms);
        rooms.handle_timeout(&mut cx);
        self.after_input(now, rng)
    }

    /// This identity as its rooms see it with one input, its rooms, and the sessions that it dialled.
    pub(in crate::engine) fn parts<'a>(
        &'a mut self,
        now: Timestamp,
        rng: &'a mut dyn Rng,
    ) -> (Context<'a>, &'a mut Rooms, &'a mut Tasks) {
        let Self { state, profile, disk_low, out, rooms, tasks } = self;
        (Context { state, profile, disk_low: *disk_low, now, rng, out }, rooms, tasks)
    }

    /// The steps after every input: signals between the rooms, answers, dials; gives the effects.
    fn after_input(&mut self, now: Timestamp, rng: &mut dyn Rng) -> Vec<Effect> {
        let (mut cx, rooms, tasks) = self.parts(now, rng);
        tell_all(&mut cx, rooms, tasks);
        rooms.deliver.return_what_is_due(&mut cx);
        tasks.dial(&mut cx, rooms);
        tasks.end_surplus(&mut cx, rooms);
        tell_all(&mut cx, rooms, tasks);
        if self.out.take_attempts_changed() {
            self.publish();
        }
        self.out.take_effects()
    }

    /// An operation is over: the room or the task that began it is told.
    fn completed(&mut self, now: Timestamp, rng: &mut dyn Rng, op: OpId, completion: Completion) {
        let (mut cx, rooms, tasks) = self.parts(now, rng);
        match cx.out.end_operation(op) {
            None => {}
            Some(Owner::Task(session)) => {
                tasks.handle(&mut cx, rooms, session, TaskEvent::Completed(op, completion));
            }
            Some(Owner::Room(room)) => rooms.completed(&mut cx, room, op, completion),
        }
    }

    /// A commit succeeded or failed: its records are applied and published, and the room or the task that began it is
    /// told.
    fn committed(&mut self, now: Timestamp, rng: &mut dyn Rng, op: OpId, result: Result<ModSeq, CommitError>) {
        let Some(records) = self.out.end_commit(op) else { return };
        let applied = result.map(|first| {
            let applied: Vec<_> =
                (first..).zip(records.iter()).map(|(number, record)| self.apply(now, number, record)).collect();
            self.publish();
            let released = self.state.take_released();
            if !released.is_empty() {
                self.out.effect(Effect::Forget(released));
            }
            let (mut cx, rooms, tasks) = self.parts(now, rng);
            rooms.on_records(&mut cx, &records);
            for contact in records.iter().filter_map(parted) {
                part(&mut cx, rooms, tasks, contact);
            }
            applied
        });
        self.completed(now, rng, op, Completion::Committed(applied));
    }

    /// Applies a committed record.
    fn apply(&mut self, now: Timestamp, number: ModSeq, record: &Record) -> Applied {
        let before = Deliver::before(&self.state, record);
        let applied = self.state.apply(number, record);
        if let (Record::Identity(_), Some(profile)) = (record, self.state.profile()) {
            self.profile = profile.clone();
        }
        self.rooms.on_record(&self.state, now, record, &applied, before.as_ref());
        applied
    }

    /// Shows readers the committed state and the attempts.
    fn publish(&mut self) {
        self.out.take_attempts_changed();
        let snapshot = self.snapshot();
        self.out.effect(Effect::Publish(snapshot));
    }
}
