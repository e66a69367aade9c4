//! The router of a carrier: one door, as for an identity. Sessions are in `session`, registering is in `registration`,
//! showing a key in `identification`, and everything in a box in `mailbox`. Only records whose commit was reported
//! change what is held, in the order in which they were committed; a session that waits for a commit is answered after
//! that.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::effect::{
    CarrierEffect, CarrierInput, CarrierRequest, CarrierRequestError, CarrierStatus, HeldTransaction, MailboxStatus,
};
use super::held::{Held, Outcome, is_back};
use super::identification::Proving;
use super::mailbox::Reading;
use super::record::{BoxInvitation, HeldRecord};
use super::registration::{Proposed, Register};
use super::session::{Asked, BoxSession, Reception, Storing};
use crate::base::ids::Fingerprint;
use crate::base::rng::Rng;
use crate::base::{OpId, SessionId, Timestamp, limits};
use crate::engine::api::RequestId;
use crate::engine::commit::{CommitError, NewBody};
use crate::engine::session::{Answer, Line, Server, Ticket};
use crate::engine::state::profile::{NoProfile, Profile};
use crate::wire::mailbox::BoxCommand;
use crate::wire::token::{Epoch, TokenHash, begin_of, epoch};
use crate::wire::{Status, Word, digest};

/// The session and the command that an answer belongs to.
pub(super) type ReplyTo = (SessionId, Ticket);

/// The reason for an operation, known again when it is complete.
pub(super) enum InFlight {
    /// A certificate is being checked.
    Certificate(ReplyTo, Register),
    /// A challenge is being sealed.
    Challenge(ReplyTo, Proposed),
    /// The answer to a challenge is being opened.
    Answer(ReplyTo),
    /// A signature is being verified.
    Identification(ReplyTo, Proving),
    /// An object is being examined.
    Object(TokenHash),
    /// A part of an object is being read.
    Reading(ReplyTo, Reading),
    /// A page is being read.
    Page(ReplyTo),
    /// A commit: the records to apply, and what follows.
    Commit(Arc<[HeldRecord]>, AfterCommit),
}

/// What follows a commit.
pub(super) enum AfterCommit {
    /// The answer, by what the last record did.
    Answer(ReplyTo, fn(Outcome) -> Answer),
    /// This answer, however the commit went.
    Say(ReplyTo, Line),
    /// The answer that a box is registered.
    Registered(ReplyTo, Fingerprint),
    /// The answers to all sessions that brought this object.
    Stored(TokenHash),
    /// The answer how many objects were deleted.
    Deleted(ReplyTo, usize),
    /// The answer to the owner.
    Respond(RequestId, CarrierRequestError),
    /// Nothing.
    Nothing,
}

/// A carrier.
pub struct Carrier {
    pub(super) held: Held,
    pub(super) profile: Arc<Profile>,
    pub(super) sessions: BTreeMap<SessionId, BoxSession>,
    /// Objects on their way to the disk.
    pub(super) storing: BTreeMap<TokenHash, Storing>,
    disk_low: bool,
    /// Since when the clock was not set.
    clock_since: Timestamp,
    /// The day of the last input.
    today: Epoch,
    /// The begin of a day is not tried again before this: it is under way, or the disk failed.
    day_tried: Timestamp,
    /// Bytes of objects that arrived and are not settled.
    in_flight: u64,
    answers: VecDeque<(ReplyTo, Answer)>,
    pending: BTreeMap<OpId, InFlight>,
    effects: Vec<CarrierEffect>,
    last_op: u64,
}

impl Carrier {
    /// A carrier with the state of its log.
    ///
    /// # Errors
    /// [`NoProfile`] if the log does not begin with a carrier.
    pub fn new(held: Held, now: Timestamp) -> Result<Self, NoProfile> {
        let profile = held.profile().cloned().ok_or(NoProfile)?;
        Ok(Self {
            held,
            profile,
            sessions: BTreeMap::new(),
            storing: BTreeMap::new(),
            disk_low: false,
            clock_since: now,
            today: epoch(now),
            day_tried: now,
            in_flight: 0,
            answers: VecDeque::new(),
            pending: BTreeMap::new(),
            effects: Vec::new(),
            last_op: 0,
        })
    }

    /// The committed state.
    pub const fn held(&self) -> &Held {
        &self.held
    }

    /// The state of the carrier, for its owner.
    pub fn status(&self) -> CarrierStatus {
        let mailboxes = self.held.mailboxes().iter().map(|(name, mailbox)| MailboxStatus {
            name: *name,
            objects: mailbox.objects().len(),
            stored: mailbox.stored(),
            outstanding: mailbox.outstanding(),
            quota: mailbox.terms().quota,
        });
        let (mailboxes, serves) = (mailboxes.collect(), self.held.serves());
        let (invitations, limits, policy) = (self.held.invitations().len(), self.held.limits(), self.held.policy());
        CarrierStatus { mailboxes, invitations, serves, limits, policy }
    }

    /// Handles an input. The effects are to be carried out in their order.
    pub fn handle(&mut self, now: Timestamp, rng: &mut dyn Rng, input: CarrierInput) -> Vec<CarrierEffect> {
        self.today = epoch(now);
        match input {
            CarrierInput::Request(id, request) => self.request(id, request),
            CarrierInput::Accepted(session) => self.accepted(now, session),
            CarrierInput::Received(session, bytes) => {
                self.with_session(now, rng, session, |machine, host| machine.handle(now, &bytes, host));
            }
            CarrierInput::CaughtUp(session) => {
                self.with_session(now, rng, session, |machine, host| machine.caught_up(now, host));
            }
            CarrierInput::Closed(session) => drop(self.sessions.remove(&session)),
            CarrierInput::Committed(op, result) => self.committed(op, result),
            CarrierInput::CertificateRead(op, result) => {
                if let Some(InFlight::Certificate(place, register)) = self.pending.remove(&op) {
                    self.certificate_read(now, rng, place, register, result);
                }
            }
            CarrierInput::Sealed(op, result) => {
                if let Some(InFlight::Challenge(place, proposed)) = self.pending.remove(&op) {
                    self.challenge_sealed(now, place, proposed, result);
                }
            }
            CarrierInput::Opened(op, result) => {
                if let Some(InFlight::Answer(place)) = self.pending.remove(&op) {
                    self.answer_opened(now, place, result);
                }
            }
            CarrierInput::Verified(op, holds) => {
                if let Some(InFlight::Identification(place, proving)) = self.pending.remove(&op) {
                    self.verified(now, place, proving, holds);
                }
            }
            CarrierInput::Examined(op, object) => {
                if let Some(InFlight::Object(token)) = self.pending.remove(&op) {
                    self.examined(now, rng, token, object);
                }
            }
            CarrierInput::BodyRead(op, bytes) => match self.pending.remove(&op) {
                Some(InFlight::Reading(place, reading)) => self.body_read(place, reading, bytes),
                Some(InFlight::Page(place)) => self.page_read(place, bytes),
                _ => {}
            },
            CarrierInput::ClockSet(step) => {
                self.clock_since = now;
                self.day_tried = self.day_tried.stepped(step);
                self.sessions.values_mut().for_each(|session| session.clock_set(step));
            }
            CarrierInput::DiskLow(low) => self.disk_low = low,
        }
        self.give_answers(now, rng);
        std::mem::take(&mut self.effects)
    }

    /// When [`Self::handle_timeout`] is to be called at the latest.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let sessions = self.sessions.values().filter_map(|session| session.machine.poll_timeout());
        let next_day = self.next_day().max(self.day_tried);
        sessions.chain([next_day]).min()
    }

    /// When to begin a new day, because the last one that was begun is no longer that of the clock. A clock that was
    /// just set may be wrong, and what a day ends is gone: so the farther the new day is, the longer its begin waits. A
    /// clock that went back is followed.
    fn next_day(&self) -> Timestamp {
        let begun = self.held.day();
        // A new carrier has begun no day, and has nothing to lose.
        let far = begun != 0 && self.today > begun.saturating_add(limits::DAY_PLAUSIBLE);
        let confirmation = if far { limits::DAY_CONFIRMATION } else { limits::CLOCK_CONFIRMATION };
        let confirmed = self.clock_since.plus(confirmation);
        if is_back(self.today, begun) { confirmed } else { begin_of(begun.saturating_add(1)).max(confirmed) }
    }

    /// A deadline may have passed.
    pub fn handle_timeout(&mut self, now: Timestamp, rng: &mut dyn Rng) -> Vec<CarrierEffect> {
        self.today = epoch(now);
        let due = |session: &BoxSession| session.machine.poll_timeout().is_some_and(|at| at <= now);
        let sessions: Vec<_> = self.sessions.iter().filter(|(_, session)| due(session)).map(|(id, _)| *id).collect();
        for session in sessions {
            self.with_session(now, rng, session, |machine, host| machine.handle_timeout(now, host));
        }
        if now >= self.next_day().max(self.day_tried) {
            self.day_tried = now.plus(limits::RETRY_LOCAL);
            self.commit(vec![HeldRecord::DayBegan { day: epoch(now) }], Vec::new(), AfterCommit::Nothing);
        }
        self.give_answers(now, rng);
        std::mem::take(&mut self.effects)
    }

    /// Sessions that read no more until their clients have taken the bytes that were transmitted
    /// ([`CarrierInput::CaughtUp`]).
    pub fn behind(&self) -> Vec<SessionId> {
        self.sessions.iter().filter(|(_, session)| session.machine.is_behind()).map(|(id, _)| *id).collect()
    }

    /// Whether a session reads no more until something is settled: the driver leaves its bytes in the socket meanwhile.
    pub fn is_blocked(&self, session: SessionId) -> bool {
        self.sessions.get(&session).is_some_and(|session| session.machine.is_blocked())
    }

    fn request(&mut self, id: RequestId, request: CarrierRequest) {
        let (record, error) = match request {
            CarrierRequest::Invite { secrets, terms, expires } => {
                if self.held.invitations().len().saturating_add(secrets.len()) > limits::CARRIER_INVITATIONS {
                    return self.effect(CarrierEffect::Respond(id, Err(CarrierRequestError::TooMany)));
                }
                let invitations = secrets.iter().map(|secret| BoxInvitation { token: digest(secret), terms, expires });
                let records = invitations.map(|invitation| HeldRecord::InvitationMade { invitation }).collect();
                return self.respond_after(id, records, CarrierRequestError::TooMany);
            }
            CarrierRequest::RevokeInvitations => {
                let records: Vec<_> = self.held.invitations().keys().copied().collect();
                let records = records.into_iter().map(|token| HeldRecord::InvitationRevoked { token });
                return self.respond_after(id, records.collect(), CarrierRequestError::TooMany);
            }
            CarrierRequest::Identification(policy) => {
                (HeldRecord::IdentificationSet { policy }, CarrierRequestError::TooMany)
            }
            CarrierRequest::Limit(limits) => (HeldRecord::LimitsSet { limits }, CarrierRequestError::TooMany),
            CarrierRequest::Serve(on) => (HeldRecord::Served { on }, CarrierRequestError::TooMany),
            CarrierRequest::Remove(mailbox) => (HeldRecord::MailboxRemoved { mailbox }, CarrierRequestError::NoMailbox),
        };
        self.respond_after(id, vec![record], error);
    }

    fn respond_after(&mut self, id: RequestId, records: Vec<HeldRecord>, error: CarrierRequestError) {
        if records.is_empty() {
            return self.effect(CarrierEffect::Respond(id, Ok(())));
        }
        self.commit(records, Vec::new(), AfterCommit::Respond(id, error));
    }

    /// A client connected.
    fn accepted(&mut self, now: Timestamp, session: SessionId) {
        if !self.held.serves() {
            return self.effect(CarrierEffect::Close(session));
        }
        if self.sessions.len() >= limits::SESSIONS {
            let Some(oldest) = self.first_to_go() else { return self.effect(CarrierEffect::Close(session)) };
            self.give_way(oldest);
        }
        self.sessions.insert(session, BoxSession::new(now));
        self.flush(session);
    }

    /// The session that gives way where there are too many: the oldest one that has said nothing, or else one that has
    /// shown nothing. Otherwise owners and depositors have each their part, so that neither keep the others out: the
    /// oldest session of the kind that has more than its part gives way.
    fn first_to_go(&self) -> Option<SessionId> {
        let oldest = |fits: &dyn Fn(&BoxSession) -> bool| {
            let free = |session: &BoxSession| !session.machine.owes_answer() && fits(session);
            self.sessions.iter().find(|(_, session)| free(session)).map(|(id, _)| *id)
        };
        let shown_nothing = |session: &BoxSession| !session.is_identified() && !session.machine.is_bringing();
        let nobody = oldest(&|session| session.machine.is_silent()).or_else(|| oldest(&shown_nothing));
        nobody.or_else(|| {
            let owners = self.sessions.values().filter(|session| session.is_identified()).count();
            let owner = owners >= limits::SESSIONS_OF_OWNERS;
            oldest(&|session| session.is_identified() == owner)
        })
    }

    /// Ends all sessions. Objects that are being stored are stored, without an answer.
    fn end_sessions(&mut self) {
        let sessions: Vec<_> = self.sessions.keys().copied().collect();
        sessions.into_iter().for_each(|session| self.give_way(session));
    }

    /// Ends a session as a time-out does.
    pub(super) fn give_way(&mut self, session: SessionId) {
        if let Some(open) = self.sessions.get_mut(&session) {
            open.machine.give_way();
        }
        self.flush(session);
    }

    fn with_session(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        session: SessionId,
        act: impl FnOnce(&mut Server, &mut Reception<'_>),
    ) {
        let receiving: u64 = self.sessions.values().map(|session| session.machine.in_flight()).sum();
        let in_memory = receiving.saturating_add(self.in_flight);
        let Some(open) = self.sessions.get_mut(&session) else { return };
        let mut host = Reception {
            held: &self.held,
            storing: &self.storing,
            disk_low: self.disk_low,
            in_memory,
            asked: Vec::new(),
        };
        act(&mut open.machine, &mut host);
        for (ticket, asked) in host.asked {
            self.in_turn(now, rng, (session, ticket), asked);
        }
        self.flush(session);
    }

    /// Commands of one session are done one after the other, so that each sees what those before it did. Deposits need
    /// no order.
    fn in_turn(&mut self, now: Timestamp, rng: &mut dyn Rng, place: ReplyTo, asked: Asked) {
        if matches!(asked, Asked::Command(..)) {
            let Some(session) = self.session(place) else { return };
            if session.doing.is_some() {
                return session.waiting.push_back((place.1, asked));
            }
            session.doing = Some(place.1);
        }
        self.asked(now, rng, place, asked);
    }

    fn asked(&mut self, now: Timestamp, rng: &mut dyn Rng, place: ReplyTo, asked: Asked) {
        match asked {
            Asked::Deposit(deposit, object) => self.deposit(now, place, deposit, object),
            Asked::Command(BoxCommand::Register(registration), block) => self.register(now, place, registration, block),
            Asked::Command(BoxCommand::ChallengeAccepted { .. }, block) => self.challenge_accepted(now, place, block),
            Asked::Command(BoxCommand::Identify { mailbox, purpose }, _) => {
                self.identify(rng, place, &mailbox, purpose)
            }
            Asked::Command(BoxCommand::Respond { nonce, command, .. }, block) => {
                self.respond(place, nonce, command, block);
            }
            Asked::Command(BoxCommand::Fetch { token }, _) => self.fetch(now, place, &token),
            Asked::Command(command, block) => self.in_mailbox(now, rng, place, command, block),
        }
    }

    fn committed(&mut self, op: OpId, result: Result<u64, CommitError>) {
        let Some(InFlight::Commit(records, then)) = self.pending.remove(&op) else { return };
        let outcome = result.map(|first| {
            let outcomes = (first..).zip(records.iter()).map(|(number, record)| self.held.apply(number, record));
            let last = outcomes.last().unwrap_or(Outcome::Nothing);
            let released = self.held.take_released();
            if !released.is_empty() {
                self.effect(CarrierEffect::Forget(released));
            }
            let status = self.status();
            self.effect(CarrierEffect::Publish(status));
            if !self.held.serves() {
                self.end_sessions();
            }
            last
        });
        match then {
            AfterCommit::Answer(place, answer) => {
                let answer = outcome.map_or_else(|error| failed(error).into(), answer);
                self.answer(place, answer);
            }
            AfterCommit::Say(place, line) => self.answer(place, line),
            AfterCommit::Registered(place, mailbox) => match outcome {
                Ok(outcome) => self.registered(place, mailbox, outcome),
                Err(error) => self.answer(place, failed(error)),
            },
            AfterCommit::Stored(token) => {
                for record in records.iter() {
                    if let (HeldRecord::Deposited { spent, object }, Ok(Outcome::Done)) = (record, outcome)
                        && let Some(mailbox) = self.held.mailbox_of(&spent.token)
                    {
                        self.tell_watchers(mailbox, object.id);
                    }
                }
                self.stored(token, outcome);
            }
            AfterCommit::Deleted(place, count) => match outcome {
                Ok(Outcome::Done) => {
                    let count = vec![Word::text(count.to_string())];
                    self.answer(place, Line::new(Status::Deleted, count));
                }
                Ok(_) => self.answer(place, Status::NoMessage),
                Err(error) => self.answer(place, failed(error)),
            },
            AfterCommit::Respond(id, error) => {
                let result = match outcome {
                    Ok(Outcome::Done | Outcome::Already) => Ok(()),
                    Ok(Outcome::Nothing) => Err(error),
                    Err(error) => Err(error.into()),
                };
                self.effect(CarrierEffect::Respond(id, result));
            }
            AfterCommit::Nothing => {}
        }
    }

    /// Gives the answers that were noted, one after the other: an answer can let a session read on and bring the next
    /// command.
    fn give_answers(&mut self, now: Timestamp, rng: &mut dyn Rng) {
        while let Some(((session, ticket), answer)) = self.answers.pop_front() {
            self.with_session(now, rng, session, |machine, host| machine.answer(now, ticket, &answer, host));
            let Some(open) = self.sessions.get_mut(&session).filter(|open| open.doing == Some(ticket)) else {
                continue;
            };
            open.doing = None;
            if let Some((next, asked)) = open.waiting.pop_front() {
                self.in_turn(now, rng, (session, next), asked);
            }
        }
    }

    // Functions that the parts share.

    pub(super) fn effect(&mut self, effect: CarrierEffect) {
        self.effects.push(effect);
    }

    pub(super) fn operation(&mut self, pending: InFlight) -> OpId {
        self.last_op += 1;
        let op = OpId(self.last_op);
        self.pending.insert(op, pending);
        op
    }

    pub(super) fn commit(&mut self, records: Vec<HeldRecord>, bodies: Vec<NewBody>, then: AfterCommit) {
        let records: Arc<[HeldRecord]> = records.into();
        let transaction = HeldTransaction { records: records.clone(), bodies };
        let op = self.operation(InFlight::Commit(records, then));
        self.effect(CarrierEffect::Commit(op, transaction));
    }

    /// Notes an answer.
    pub(super) fn answer(&mut self, place: ReplyTo, answer: impl Into<Answer>) {
        self.answers.push_back((place, answer.into()));
    }

    /// Objects that arrived and are not settled took `before` bytes, and take `after` bytes now.
    pub(super) const fn note_in_flight(&mut self, before: u64, after: u64) {
        self.in_flight = self.in_flight.saturating_sub(before).saturating_add(after);
    }

    pub(super) fn session(&mut self, place: ReplyTo) -> Option<&mut BoxSession> {
        self.sessions.get_mut(&place.0)
    }

    pub(super) fn flush(&mut self, session: SessionId) {
        let Some(open) = self.sessions.get_mut(&session) else { return };
        let output = open.machine.take_output();
        let close = open.machine.wants_close();
        if !output.is_empty() {
            self.effect(CarrierEffect::Transmit(session, output));
        }
        if close {
            self.sessions.remove(&session);
            self.effect(CarrierEffect::Close(session));
        }
    }
}

/// The answer to a peer after a failed commit. If nobody knows what the disk kept, no answer would be true.
pub(super) const fn failed(error: CommitError) -> Status {
    match error {
        CommitError::NoSpace => Status::NoSpace,
        CommitError::Io => Status::TimeOut,
    }
}

/// A challenge counts for this long.
pub(super) const CHALLENGE_LIFE: Duration = limits::CHALLENGE_LIFE;
