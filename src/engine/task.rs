//! The kinds of sessions that we dial. A new kind is a type that implements [`Dialled`], a line in [`Task`], and a line in each of
//! its two methods.

use super::carriage::Carrying;
use super::context::Context;
use super::dialled::{Dialled, TaskEvent};
use super::drops::{Checking, Collecting, DepositRooms, Depositing};
use super::identity::Rooms;
use super::sending::Direct;
use crate::base::Timestamp;

/// One session that we dialled, or are dialling.
pub(super) enum Task {
    /// What waits for a contact is brought to its own node.
    Direct(Direct),
    /// Something for a contact is left in a box of it, or with a friend.
    Deposit(Depositing),
    /// What is in a box of ours is collected.
    Collect(Collecting),
    /// Something is left in a box of ours, to see whether it works.
    Check(Checking),
    /// An object that we carry is brought to its receiver.
    Forward(Carrying),
}

impl Task {
    /// Something happens to the session; `false` where it is over.
    pub(super) fn handle(&mut self, cx: &mut Context<'_>, rooms: &mut Rooms, event: TaskEvent<'_>) -> bool {
        let Rooms { deliver, boxes, forwarding, .. } = rooms;
        match self {
            Self::Direct(task) => task.handle(cx, deliver, event),
            Self::Deposit(task) => task.handle(cx, &mut DepositRooms { boxes, deliver }, event),
            Self::Collect(task) => task.handle(cx, boxes, event),
            Self::Check(task) => task.handle(cx, boxes, event),
            Self::Forward(task) => task.handle(cx, forwarding, event),
        }
    }

    /// When the session wants to be told that time has passed.
    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        match self {
            Self::Direct(task) => task.poll_timeout(),
            Self::Deposit(task) => task.poll_timeout(),
            Self::Collect(task) => task.poll_timeout(),
            Self::Check(task) => task.poll_timeout(),
            Self::Forward(task) => task.poll_timeout(),
        }
    }
}
