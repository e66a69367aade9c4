//! The kinds of sessions that we dial. A new kind is a type that implements [`Dialled`], a line in [`Task`], and a line in each of
//! its two methods.

use super::carriage::Carrying;
use super::context::Context;
use super::dialled::{Dialled, TaskEvent};
use super::drops::Checking;
use super::identity::Rooms;
use crate::base::Timestamp;

/// One session that we dialled, or are dialling.
pub(super) enum Task {
    /// Something is left in a box of ours, to see whether it works.
    Check(Checking),
    /// An object that we carry is brought to its receiver.
    Forward(Carrying),
}

impl Task {
    /// Something happens to the session; `false` where it is over.
    pub(super) fn handle(&mut self, cx: &mut Context<'_>, rooms: &mut Rooms, event: TaskEvent<'_>) -> bool {
        match self {
            Self::Check(task) => handle(task, cx, &mut rooms.boxes, event),
            Self::Forward(task) => handle(task, cx, &mut rooms.forwarding, event),
        }
    }

    /// When it wants to be told that time has passed.
    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        match self {
            Self::Check(task) => task.poll_timeout(),
            Self::Forward(task) => task.poll_timeout(),
        }
    }
}

fn handle<T: Dialled>(task: &mut T, cx: &mut Context<'_>, rooms: &mut T::Rooms<'_>, event: TaskEvent<'_>) -> bool {
    task.handle(cx, rooms, event);
    !task.line().is_over()
}
