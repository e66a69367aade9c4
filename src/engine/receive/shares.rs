//! What each sender has under way, and which one gives way where there is not enough for everybody (docs/protocol.md,
//! "Fair shares").
//!
//! Memory: all sessions of one contact hold together one of the largest objects and little more; a session of anybody
//! else holds two of a stranger's. Large objects leave room for small ones. Where there is no more room, promised
//! objects that come too slowly give way, the largest first.
//!
//! Sessions: where one contact, or one invitation, has too many, its oldest gives way to its newest. Where senders who
//! are no contacts have too many, the oldest of these gives way; where there are too many of all, the oldest of the
//! contact with most.

use std::collections::BTreeMap;

use crate::base::{SessionId, Timestamp, limits};

use crate::engine::receive::peers::Inbound;
use crate::engine::session::{Promise, Sender};

/// Objects that arrived and are being opened and stored.
#[derive(Debug, Default)]
pub(in crate::engine) struct Unsettled {
    bytes: u64,
    senders: BTreeMap<Sender, (usize, u64)>,
}

impl Unsettled {
    /// An object arrived; `None` for one that was collected.
    pub(in crate::engine) fn begin(&mut self, sender: Option<Sender>, size: usize) {
        self.bytes = self.bytes.saturating_add(size as u64);
        if let Some(sender) = sender {
            let (objects, bytes) = self.senders.entry(sender).or_default();
            *objects += 1;
            *bytes = bytes.saturating_add(size as u64);
        }
    }

    /// An object is settled.
    pub(in crate::engine) fn end(&mut self, sender: Option<Sender>, size: usize) {
        self.bytes = self.bytes.saturating_sub(size as u64);
        if let Some(sender) = sender
            && let Some((objects, bytes)) = self.senders.get_mut(&sender)
        {
            *objects = objects.saturating_sub(1);
            *bytes = bytes.saturating_sub(size as u64);
            if *objects == 0 {
                self.senders.remove(&sender);
            }
        }
    }

    /// The bytes of all senders.
    pub(in crate::engine) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether there is room for another object beside these.
    pub(in crate::engine) const fn has_room(&self, size: usize) -> bool {
        self.bytes.saturating_add(size as u64) <= limits::IN_FLIGHT_BYTES as u64
    }

    /// How many objects and bytes of one sender there are.
    pub(in crate::engine) fn of(&self, sender: Sender) -> (usize, u64) {
        self.senders.get(&sender).copied().unwrap_or_default()
    }
}

/// All that is under way, seen from one session that asks for more.
pub(in crate::engine) struct Crowd<'a> {
    /// The other sessions.
    pub(super) others: &'a BTreeMap<SessionId, Inbound>,
    pub(super) unsettled: &'a Unsettled,
    /// The bytes that this session holds or was promised, of all senders.
    pub(super) own_bytes: u64,
    /// The objects that it was promised.
    pub(super) own: Vec<Promise>,
}

impl Crowd<'_> {
    /// The sessions that give way so that there is room for an object; `None` if there is no room.
    pub(in crate::engine) fn room_for(&self, sender: Sender, size: u64, now: Timestamp) -> Option<Vec<SessionId>> {
        let of_sender = |promise: &Promise| if promise.sender == sender { promise.size } else { 0 };
        let here: u64 = self.own.iter().map(of_sender).sum();
        let (held, share) = match sender {
            Sender::Contact(_) => {
                let there = self.others.values().flat_map(|other| other.machine.promises());
                let there: u64 = there.map(|promise| of_sender(&promise)).sum();
                (here + there + self.unsettled.of(sender).1, limits::CONTACT_IN_FLIGHT_BYTES)
            }
            Sender::Invitation(_) | Sender::Stranger => (here, limits::STRANGER_IN_FLIGHT_BYTES),
        };
        if held.saturating_add(size) > share as u64 {
            return None;
        }
        let kept = if size > limits::PIPELINED_OBJECT_BYTES as u64 { limits::SMALL_IN_FLIGHT_BYTES } else { 0 };
        let room = (limits::IN_FLIGHT_BYTES - kept) as u64;
        let theirs: u64 = self.others.values().map(|other| other.machine.in_flight()).sum();
        let total = theirs.saturating_add(self.own_bytes).saturating_add(self.unsettled.bytes()).saturating_add(size);
        let mut missing = total.saturating_sub(room);
        let mut slow: Vec<_> =
            self.others.iter().filter_map(|(session, other)| Some((slow_bytes(other, now)?, session))).collect();
        slow.sort_unstable_by(|a, b| b.cmp(a));
        let mut give_way = Vec::new();
        for (bytes, session) in slow {
            if missing == 0 {
                break;
            }
            missing = missing.saturating_sub(bytes);
            give_way.push(*session);
        }
        (missing == 0).then_some(give_way)
    }
}

/// The bytes that a session holds, if an object that it was promised comes too slowly.
fn slow_bytes(inbound: &Inbound, now: Timestamp) -> Option<u64> {
    inbound.machine.promises().any(|promise| promise.is_slow(now)).then(|| inbound.machine.in_flight())
}

/// The oldest session of this sender, if it has more than it may; never the session in which it just showed itself.
pub(in crate::engine) fn one_too_many(
    sessions: &BTreeMap<SessionId, Inbound>,
    sender: Sender,
    newest: SessionId,
) -> Option<SessionId> {
    let most = match sender {
        Sender::Contact(_) => limits::CONTACT_SESSIONS,
        Sender::Invitation(_) => limits::INVITATION_SESSIONS,
        Sender::Stranger => return None,
    };
    // Sessions are numbered in the order in which they come.
    let of_sender = || sessions.iter().filter(|(_, inbound)| inbound.owner() == Some(sender));
    let oldest = of_sender().map(|(session, _)| *session).find(|session| *session != newest);
    oldest.filter(|_| of_sender().count() > most)
}

/// The session that gives way to a new one; `Err` if there are too many and none gives way.
pub(in crate::engine) fn place_for_another(sessions: &BTreeMap<SessionId, Inbound>) -> Result<Option<SessionId>, ()> {
    let no_contacts = || sessions.iter().filter(|(_, inbound)| !matches!(inbound.owner(), Some(Sender::Contact(_))));
    if no_contacts().count() >= limits::UNAUTHENTICATED_SESSIONS {
        return oldest_idle(no_contacts()).map(Some).ok_or(());
    }
    if sessions.len() < limits::SESSIONS {
        return Ok(None);
    }
    let mut of_contacts = BTreeMap::<Sender, (usize, SessionId)>::new();
    for (session, inbound) in sessions {
        if let Some(owner @ Sender::Contact(_)) = inbound.owner() {
            of_contacts.entry(owner).or_insert((0, *session)).0 += 1;
        }
    }
    let most = of_contacts.into_values().max_by_key(|(count, _)| *count).filter(|(count, _)| *count > 1);
    most.map(|(_, oldest)| oldest).or_else(|| oldest_idle(no_contacts())).map(Some).ok_or(())
}

/// The oldest session to which no answer is owed: one that has shown nothing, or else one that has shown an invitation.
fn oldest_idle<'a>(sessions: impl Iterator<Item = (&'a SessionId, &'a Inbound)>) -> Option<SessionId> {
    let idle = sessions.filter(|(_, inbound)| !inbound.machine.owes_answer());
    idle.min_by_key(|(session, inbound)| (inbound.owner().is_some(), **session)).map(|(session, _)| *session)
}
