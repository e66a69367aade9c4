//! Replies in the right order: those of one pipeline id in the order of its commands, those of different ids as they
//! come (docs/protocol.md, "Lines and blocks"). A reply may be held until a moment ("Unrevealing answers").

use std::collections::{BTreeSet, VecDeque};

use crate::base::{ClockStep, Timestamp};
use crate::wire::{PipelineId, Reply};

use super::{Answer, Ticket};

struct Slot {
    id: Option<PipelineId>,
    state: State,
}

enum State {
    Ready(Vec<u8>),
    /// The reply is ready, but leaves at this moment and not before.
    Held(Timestamp, Vec<u8>),
    Waiting(Ticket),
}

/// The replies of one session on their way out.
#[derive(Default)]
pub(super) struct Replies {
    slots: VecDeque<Slot>,
    output: Vec<u8>,
}

impl Replies {
    /// Bytes outside of the order of replies: the greeting.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// A complete reply, with its blocks.
    pub(super) fn push(&mut self, reply: &Reply, block: &[u8]) {
        let mut bytes = reply.encode().into_bytes();
        bytes.extend_from_slice(block);
        if self.slots.is_empty() {
            self.output.append(&mut bytes);
        } else {
            self.slots.push_back(Slot { id: reply.id.clone(), state: State::Ready(bytes) });
            self.flush();
        }
    }

    /// A complete reply, with its blocks, that leaves at this moment and not before.
    pub(super) fn hold(&mut self, until: Timestamp, reply: &Reply, block: &[u8]) {
        let mut bytes = reply.encode().into_bytes();
        bytes.extend_from_slice(block);
        self.slots.push_back(Slot { id: reply.id.clone(), state: State::Held(until, bytes) });
    }

    /// When the next reply that is held may leave.
    pub(super) fn held_until(&self) -> Option<Timestamp> {
        let held = self.slots.iter().filter_map(|slot| match slot.state {
            State::Held(until, _) => Some(until),
            _ => None,
        });
        held.min()
    }

    /// Lets go the replies that were held until now; `false` if there are none.
    pub(super) fn release(&mut self, now: Timestamp) -> bool {
        let mut any = false;
        for slot in &mut self.slots {
            if let State::Held(until, bytes) = &mut slot.state
                && *until <= now
            {
                slot.state = State::Ready(std::mem::take(bytes));
                any = true;
            }
        }
        if any {
            self.flush();
        }
        any
    }

    /// The clock was set.
    pub(super) fn clock_set(&mut self, step: ClockStep) {
        for slot in &mut self.slots {
            if let State::Held(until, _) = &mut slot.state {
                *until = until.stepped(step);
            }
        }
    }

    /// The place of a reply that comes later.
    pub(super) fn wait(&mut self, id: Option<PipelineId>, ticket: Ticket) {
        self.slots.push_back(Slot { id, state: State::Waiting(ticket) });
    }

    /// Fills a place. `false` if no place waits for that ticket.
    pub(super) fn settle(&mut self, ticket: Ticket, answer: &Answer) -> bool {
        for slot in &mut self.slots {
            if matches!(slot.state, State::Waiting(waiting) if waiting == ticket) {
                slot.state = State::Ready(answer.encode(slot.id.as_ref()));
                self.flush();
                return true;
            }
        }
        false
    }

    /// How many replies are not out yet.
    pub(super) fn pending(&self) -> usize {
        self.slots.len()
    }

    /// How many deliveries wait for their answer.
    pub(super) fn unsettled(&self) -> usize {
        self.slots.iter().filter(|slot| matches!(slot.state, State::Waiting(_))).count()
    }

    /// Bytes of replies that were not taken, also of those that wait for others before them.
    pub(super) fn ready(&self) -> usize {
        let waiting = self.slots.iter().map(|slot| match &slot.state {
            State::Ready(bytes) | State::Held(_, bytes) => bytes.len(),
            State::Waiting(_) => 0,
        });
        waiting.sum::<usize>() + self.output.len()
    }

    /// Gives up the replies that wait.
    pub(super) fn abandon(&mut self) {
        self.slots.clear();
    }

    /// The bytes to send now.
    pub(super) fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    fn flush(&mut self) {
        let mut held = BTreeSet::new();
        let mut kept = VecDeque::new();
        for slot in self.slots.drain(..) {
            match slot.state {
                State::Ready(bytes) if !held.contains(&slot.id) => self.output.extend_from_slice(&bytes),
                _ => {
                    held.insert(slot.id.clone());
                    kept.push_back(slot);
                }
            }
        }
        self.slots = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Status;

    fn id(text: &str) -> Option<PipelineId> {
        Some(text.parse().unwrap())
    }

    fn text(replies: &mut Replies) -> String {
        String::from_utf8(replies.take_output()).unwrap()
    }

    #[test]
    fn only_replies_of_other_ids_overtake() {
        let mut replies = Replies::default();
        replies.wait(id("a"), Ticket(1));
        replies.wait(None, Ticket(2));
        replies.push(&Reply::plain(id("a"), Status::TryLater), b"");
        replies.push(&Reply::plain(id("b"), Status::Busy), b"");
        replies.push(&Reply::plain(None, Status::NoSpace), b"");
        assert_eq!(text(&mut replies), "b: 451 BUSY\n");
        assert!(replies.settle(Ticket(2), &Status::Roger.into()));
        assert_eq!(text(&mut replies), "202 ROGER\n452 NO SPACE\n");
        assert!(replies.settle(Ticket(1), &Status::Roger.into()));
        assert!(!replies.settle(Ticket(1), &Status::Roger.into()));
        assert_eq!(text(&mut replies), "a: 202 ROGER\na: 450 TRY LATER\n");
        assert_eq!(replies.pending(), 0);
    }

    #[test]
    fn a_held_reply_leaves_at_its_moment_and_those_of_its_id_behind_it() {
        let start = Timestamp::from_secs(1_800_000_000);
        let later = start.plus(std::time::Duration::from_millis(25));
        let mut replies = Replies::default();
        replies.hold(later, &Reply::plain(id("a"), Status::NotAvailable), b"");
        replies.wait(id("a"), Ticket(1));
        replies.push(&Reply::plain(id("b"), Status::Busy), b"");
        assert!(replies.settle(Ticket(1), &Status::Roger.into()));
        assert_eq!(text(&mut replies), "b: 451 BUSY\n");
        assert_eq!((replies.held_until(), replies.unsettled()), (Some(later), 0));
        assert!(!replies.release(start));
        assert_eq!(text(&mut replies), "");
        assert!(replies.release(later));
        assert_eq!(text(&mut replies), "a: 420 NOT AVAILABLE\na: 202 ROGER\n");
        assert_eq!((replies.held_until(), replies.pending()), (None, 0));
    }
}
