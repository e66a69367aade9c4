//! The kinds of sessions that we dial. A new kind needs a type that implements [`Dialled`], a line in [`Task`], a line
//! in each of its two methods, and a line in [`Tasks::dial`] that begins it.

use std::collections::BTreeMap;

use crate::base::{SessionId, Timestamp};
use crate::engine::boxes::{CheckTask, CollectTask, DepositRooms, DepositTask};
use crate::engine::context::Context;
use crate::engine::deliver::direct::Direct;
use crate::engine::dialled::{Dialled, TaskEvent};
use crate::engine::forwarding::ForwardTask;
use crate::engine::people::knocks::KnockTask;
use crate::engine::rooms::Rooms;

/// One session that we dialled, or are dialling.
pub(in crate::engine) enum Task {
    /// Brings to a contact's own node what waits for it.
    Direct(Direct),
    /// Leaves something for a contact in one of its boxes, or with a friend.
    Deposit(DepositTask),
    /// Collects what is in a box of ours.
    Collect(Box<CollectTask>),
    /// Leaves an object in a box of ours, to see whether the box works.
    Check(CheckTask),
    /// Brings an object that we forward to its receiver.
    Forward(ForwardTask),
    /// Shows a contact that we are there.
    Knock(KnockTask),
}

impl Task {
    /// Handles an event of the session; `false` if the session is over.
    pub(in crate::engine) fn handle(&mut self, cx: &mut Context<'_>, rooms: &mut Rooms, event: TaskEvent<'_>) -> bool {
        let Rooms { deliver, boxes, forwarding, knocks, .. } = rooms;
        match self {
            Self::Direct(task) => task.handle(cx, deliver, event),
            Self::Deposit(task) => task.handle(cx, &mut DepositRooms { boxes, deliver }, event),
            Self::Collect(task) => task.handle(cx, boxes, event),
            Self::Check(task) => task.handle(cx, boxes, event),
            Self::Forward(task) => task.handle(cx, forwarding, event),
            Self::Knock(task) => task.handle(cx, knocks, event),
        }
    }

    /// When [`Self::handle`] is to be called with [`TaskEvent::Timeout`].
    pub(in crate::engine) fn poll_timeout(&self) -> Option<Timestamp> {
        match self {
            Self::Direct(task) => task.poll_timeout(),
            Self::Deposit(task) => task.poll_timeout(),
            Self::Collect(task) => task.poll_timeout(),
            Self::Check(task) => task.poll_timeout(),
            Self::Forward(task) => task.poll_timeout(),
            Self::Knock(task) => task.poll_timeout(),
        }
    }
}

/// The sessions that we dialled.
#[derive(Default)]
pub(in crate::engine) struct Tasks(BTreeMap<SessionId, Task>);

impl Tasks {
    /// A session begins.
    pub(in crate::engine) fn begin<T: Dialled>(&mut self, task: T, kind: fn(T) -> Task) {
        self.0.insert(task.line().session(), kind(task));
    }

    pub(in crate::engine) fn contains(&self, session: SessionId) -> bool {
        self.0.contains_key(&session)
    }

    /// The sessions, in the order in which they were dialled.
    #[cfg(test)]
    pub(in crate::engine) fn iter(&self) -> impl Iterator<Item = (SessionId, &Task)> {
        self.0.iter().map(|(session, task)| (*session, task))
    }

    /// Handles an event of one session.
    pub(in crate::engine) fn handle(
        &mut self,
        cx: &mut Context<'_>,
        rooms: &mut Rooms,
        session: SessionId,
        event: TaskEvent<'_>,
    ) {
        if let Some(task) = self.0.get_mut(&session)
            && !task.handle(cx, rooms, event)
        {
            self.0.remove(&session);
        }
    }

    /// Handles the same event in all sessions.
    pub(in crate::engine) fn handle_all<'e>(
        &mut self,
        cx: &mut Context<'_>,
        rooms: &mut Rooms,
        event: impl Fn() -> TaskEvent<'e>,
    ) {
        self.0.retain(|_, task| task.handle(cx, rooms, event()));
    }

    /// When [`Self::handle_timeout`] is to be called.
    pub(in crate::engine) fn poll_timeout(&self) -> Option<Timestamp> {
        self.0.values().filter_map(Task::poll_timeout).min()
    }

    /// A deadline may have passed.
    pub(in crate::engine) fn handle_timeout(&mut self, cx: &mut Context<'_>, rooms: &mut Rooms) {
        self.handle_all(cx, rooms, || TaskEvent::Timeout);
    }

    /// Dials everything that is due, as far as dials are free.
    pub(in crate::engine) fn dial(&mut self, cx: &mut Context<'_>, rooms: &mut Rooms) {
        loop {
            let Rooms { deliver, boxes, forwarding, knocks, .. } = rooms;
            if let Some(task) = deliver.next(cx) {
                self.begin(task, Task::Direct);
            } else if let Some(task) = boxes.next_deposit(cx, deliver) {
                self.begin(task, Task::Deposit);
            } else if let Some(task) = boxes.next_collection(cx) {
                self.begin(task, |task| Task::Collect(Box::new(task)));
            } else if let Some(task) = forwarding.next(cx) {
                self.begin(task, Task::Forward);
            } else if let Some(task) = knocks.next(cx, |contact| deliver.session(contact).is_some()) {
                self.begin(task, Task::Knock);
            } else {
                return;
            }
        }
    }

    /// Ends the sessions that are too many, of each kind.
    pub(in crate::engine) fn end_surplus(&mut self, cx: &mut Context<'_>, rooms: &mut Rooms) {
        while let Some(session) = rooms.surplus() {
            self.handle(cx, rooms, session, TaskEvent::Surplus);
        }
    }
}
