//! What a room of the engine, or a task, is given with each input: the committed state, the time, randomness, and a
//! place for the commits and effects that it asks for.
//!
//! A room changes its own memory and nothing else. It asks for commits and effects through [`Out`], and tells the other
//! rooms what happened with a [`Signal`]. The completion of an operation goes back to its [`Owner`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::base::rng::Rng;
use crate::base::{BodyId, ContactId, FolderId, OpId, SealKeyId, SessionId, Timestamp};
use crate::mail::Address;

use crate::engine::dialled::News;
use crate::engine::io::{
    CommitError, DIALLED_SESSIONS, Draft, Durability, Effect, NewBody, Opened, Refusal, Transaction,
};
use crate::engine::state::mailbox::{Folder, FolderRole, NamedFlags, NewMessage, Uid};
use crate::engine::state::profile::{Profile, PublicProfile};
use crate::engine::state::record::Record;
use crate::engine::state::{Applied, State};

/// One input, as a room or a task sees it.
pub(in crate::engine) struct Context<'a> {
    /// The committed state.
    pub(in crate::engine) state: &'a State,
    /// The identity's profile.
    pub(in crate::engine) profile: &'a Profile,
    /// Whether the disk has so little space that new mail is refused.
    pub(in crate::engine) disk_low: bool,
    pub(in crate::engine) now: Timestamp,
    pub(in crate::engine) rng: &'a mut dyn Rng,
    /// The place for the commits and effects that the room asks for.
    pub(in crate::engine) out: &'a mut Out,
}

impl<'a> Context<'a> {
    pub(in crate::engine) fn public(&self) -> &'a PublicProfile {
        &self.profile.public
    }

    pub(in crate::engine) fn address(&self) -> &'a Address {
        &self.profile.public.address
    }

    pub(in crate::engine) fn folder_of(&self, role: FolderRole) -> Option<&'a Arc<Folder>> {
        self.state.mailbox().by_role(role)
    }

    /// UIDs for this many messages in a folder, ahead of everything committed or on its way there. UIDs that a failed
    /// commit reserved stay a gap. `None` if the folder is gone or has no UIDs left.
    pub(in crate::engine) fn reserve_uids(&mut self, folder: FolderId, count: usize) -> Option<Vec<Uid>> {
        let known = self.state.mailbox().folder(folder)?.uid_next;
        let first = self.out.reserved_uids.get(&folder).copied().unwrap_or(0).max(known);
        let end = first.checked_add(Uid::try_from(count).ok()?)?;
        self.out.reserved_uids.insert(folder, end);
        Some((first..end).collect())
    }

    /// A UID for one message.
    pub(in crate::engine) fn reserve_uid(&mut self, folder: FolderId) -> Option<Uid> {
        self.reserve_uids(folder, 1)?.first().copied()
    }

    /// A UIDVALIDITY above every one before (docs/on-disk.md, "Records").
    pub(in crate::engine) fn reserve_uid_validity(&mut self) -> u32 {
        let last = self.state.last_uid_validity().max(self.out.reserved_uid_validity);
        let seconds = u32::try_from(self.now.secs()).unwrap_or(0);
        self.out.reserved_uid_validity = seconds.max(last.saturating_add(1));
        self.out.reserved_uid_validity
    }

    /// A message of our own making for a folder, with its body; `None` if the folder takes no more.
    pub(in crate::engine) fn own_message(
        &mut self,
        role: FolderRole,
        bytes: Vec<u8>,
    ) -> Option<(FolderId, NewMessage, NewBody)> {
        let folder = self.folder_of(role)?.id;
        let uid = self.reserve_uid(folder)?;
        // Other senders can make us write messages into other folders, so only INBOX gets the last of the space.
        let report = role == FolderRole::Inbox;
        let body = NewBody { report, ..NewBody::new(BodyId::random(self.rng), bytes.into()) };
        let size = u32::try_from(body.bytes.len()).ok()?;
        let message =
            NewMessage { uid, flags: NamedFlags::default(), date: self.now, body: body.id, size, content: None };
        Some((folder, message, body))
    }
}

/// The room or the task that began an operation, and gets its completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Owner {
    /// A session that we dialled.
    Task(SessionId),
    /// A room.
    Room(Room),
}

/// A room that begins operations of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Room {
    Requests,
    Receive,
    Deliver,
    Boxes,
    Forwarding,
    Rotation,
}

/// How an operation ended.
pub(in crate::engine) enum Completion {
    /// What each record of a commit did.
    Committed(Result<Vec<Applied>, CommitError>),
    Opened(Result<Opened, Refusal>),
    CardVerified(bool),
    CertificateChecked(bool),
    Sealed(Result<Vec<u8>, Refusal>),
    BoxWorked(Result<Vec<u8>, Refusal>),
    BodyRead(Option<Vec<u8>>),
    SealKeyMade(Result<(SealKeyId, Arc<[u8]>), Refusal>),
    SealKeysHeld(Option<Vec<SealKeyId>>),
}

/// What one room tells the others.
#[derive(Debug)]
pub(in crate::engine) enum Signal {
    /// An object was collected at a box of ours.
    Collected(SessionId, Vec<u8>),
    /// Something happened that is for one session alone.
    News(SessionId, News),
    /// A contact was seen online.
    PeerCameOnline(ContactId),
    /// A contact's own node took something from us.
    PeerAnswered(ContactId),
    /// A content came from a contact that had come before.
    CameAgain(ContactId),
    /// A contact does not answer, and something waits for it.
    PeerIsAway(ContactId),
    /// There may be something new to tell our carriers.
    BoxNews,
}

/// The effects that one input leads to, and the operations that were begun.
pub(in crate::engine) struct Out {
    effects: Vec<Effect>,
    signals: VecDeque<Signal>,
    owners: BTreeMap<OpId, Owner>,
    /// The records of commits that are under way.
    commits: BTreeMap<OpId, Arc<[Record]>>,
    reserved_uids: BTreeMap<FolderId, Uid>,
    reserved_uid_validity: u32,
    last_op: u64,
    last_session: u64,
    /// Whether the attempts changed since readers were last shown them.
    attempts_changed: bool,
}

impl Default for Out {
    fn default() -> Self {
        Self {
            effects: Vec::new(),
            signals: VecDeque::new(),
            owners: BTreeMap::new(),
            commits: BTreeMap::new(),
            reserved_uids: BTreeMap::new(),
            reserved_uid_validity: 0,
            last_op: 0,
            last_session: DIALLED_SESSIONS,
            attempts_changed: false,
        }
    }
}

impl Out {
    pub(in crate::engine) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub(in crate::engine) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Sends the bytes of a session, if there are any.
    pub(in crate::engine) fn transmit(&mut self, session: SessionId, output: Vec<u8>) {
        if !output.is_empty() {
            self.effect(Effect::Transmit(session, output));
        }
    }

    pub(in crate::engine) fn tell(&mut self, signal: Signal) {
        self.signals.push_back(signal);
    }

    pub(in crate::engine) fn next_signal(&mut self) -> Option<Signal> {
        self.signals.pop_front()
    }

    /// A number for a session that we dial.
    pub(in crate::engine) const fn new_session(&mut self) -> SessionId {
        let session = SessionId(self.last_session);
        self.last_session += 1;
        session
    }

    /// A number for an operation; its completion goes to the owner.
    pub(in crate::engine) fn operation(&mut self, owner: Owner) -> OpId {
        self.last_op += 1;
        let op = OpId(self.last_op);
        self.owners.insert(op, owner);
        op
    }

    /// The owner of an operation, which is over.
    pub(in crate::engine) fn end_operation(&mut self, op: OpId) -> Option<Owner> {
        self.owners.remove(&op)
    }

    /// The records of a commit that is over.
    pub(in crate::engine) fn end_commit(&mut self, op: OpId) -> Option<Arc<[Record]>> {
        self.commits.remove(&op)
    }

    pub(in crate::engine) fn commit(&mut self, owner: Owner, change: impl Into<Draft>) -> OpId {
        self.commit_with(owner, change, Durability::Synced)
    }

    pub(in crate::engine) fn commit_with(
        &mut self,
        owner: Owner,
        change: impl Into<Draft>,
        durability: Durability,
    ) -> OpId {
        let (op, change) = (self.operation(owner), Transaction::from(change.into()));
        self.commits.insert(op, change.records.clone());
        self.effect(Effect::Commit(op, change, durability));
        op
    }

    /// The attempts, or what was seen of a contact, changed: readers are shown them once all of this input is handled.
    pub(in crate::engine) const fn attempts_changed(&mut self) {
        self.attempts_changed = true;
    }

    /// Whether readers are to be shown the attempts; the caller shows them now.
    pub(in crate::engine) const fn take_attempts_changed(&mut self) -> bool {
        std::mem::replace(&mut self.attempts_changed, false)
    }
}
