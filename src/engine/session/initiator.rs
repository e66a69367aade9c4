//! The side that dialled (docs/protocol.md, "Delivery").
//!
//! States of the session: greeting awaited, open, quitting, closed. States of a job: waiting for room, asked (SEND
//! without an object), announced (SEND with a large object), pipelined (SEND and MESSAGE together), held (the
//! owner must provide an object), sent. A known peer with an object of up to
//! [`PIPELINED_OBJECT_BYTES`] costs one round trip: both commands leave with the first bytes of the session.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::base::limits::{CERTIFICATE_BYTES, PIPELINED_OBJECT_BYTES, WIRE_CERTIFICATES, WIRE_DELIVERIES};
use crate::base::{ClockStep, MacKey, Timestamp};
use crate::wire::{
    self, CertificateRef, Claim, Code, Command, Decoder, Disposition, Item, Message, PipelineId, Ready, Reply, Send,
    ServerLine, Side, Status, authenticator, digest,
};

use super::patience::Patience;
use super::{Event, Failure, Job, Outcome, Ticket, Way};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Asked,
    Announced,
    Pipelined,
    /// The SEND was refused with this code, and the answer to the pipelined MESSAGE is still to come.
    Refused(Code),
    Held,
    Sent,
}

struct Active {
    ticket: Ticket,
    job: Job,
    phase: Phase,
    /// The receiver showed another certificate than the one to which the object was sealed.
    outdated: bool,
}

/// One session with a peer that we dialled.
pub struct Initiator {
    decoder: Decoder,
    patience: Patience,
    output: Vec<u8>,
    events: VecDeque<Event>,
    waiting: VecDeque<(Ticket, Job)>,
    active: BTreeMap<PipelineId, Active>,
    next_id: u64,
    /// The 201 whose certificates are on their way.
    expected: Option<(PipelineId, Ready)>,
    /// How often the peer sent a certificate.
    certificates: u32,
    finishing: bool,
    quitting: bool,
    closed: bool,
}

impl Initiator {
    /// A session that begins now.
    pub fn new(now: Timestamp) -> Self {
        Self {
            decoder: Decoder::new(Side::Replies),
            patience: Patience::new(now),
            output: Vec::new(),
            events: VecDeque::new(),
            waiting: VecDeque::new(),
            active: BTreeMap::new(),
            next_id: 1,
            expected: None,
            certificates: 0,
            finishing: false,
            quitting: false,
            closed: false,
        }
    }

    /// Adds a job. It begins at once, or when there is room. Exactly one [`Event::Outcome`] or a mention in
    /// [`Event::Failed`] ends it, unless it is withdrawn.
    pub fn send(&mut self, now: Timestamp, ticket: Ticket, job: Job) {
        if self.closed || self.quitting {
            self.events.push_back(Event::Failed { unresolved: vec![ticket], failure: Failure::Disconnected });
            return;
        }
        self.waiting.push_back((ticket, job));
        self.begin_waiting(now);
    }

    /// Gives a job that waits for it its object, sealed to the certificate last reported. Ignored for other jobs.
    pub fn provide(&mut self, now: Timestamp, ticket: Ticket, object: Arc<[u8]>, auth: Option<MacKey>) {
        let held = |active: &&mut Active| active.ticket == ticket && active.phase == Phase::Held;
        let Some(active) = self.active.values_mut().find(held) else { return };
        active.job.object = Some(object);
        active.job.auth = auth;
        self.resume(now, ticket);
    }

    /// Lets a job that waits for [`Self::provide`] go on with the object that it has. Ignored for other jobs.
    pub fn resume(&mut self, now: Timestamp, ticket: Ticket) {
        let held = |active: &Active| active.ticket == ticket && active.phase == Phase::Held;
        let awaited = self.waits_for_answer();
        let Some((id, active)) = self.active.iter_mut().find(|(_, active)| held(active)) else { return };
        let sent = active.dial(id, &mut self.output);
        self.patience.asked(now, sent, awaited);
    }

    /// Ends a job that waits for its object or for room, without an event. Ignored for other jobs.
    pub fn withdraw(&mut self, now: Timestamp, ticket: Ticket) {
        self.waiting.retain(|(waiting, _)| *waiting != ticket);
        self.active.retain(|_, active| active.ticket != ticket || active.phase != Phase::Held);
        self.begin_waiting(now);
    }

    /// Whether another job would begin at once. Old sessions take no more: dial again.
    pub fn has_room(&self, now: Timestamp) -> bool {
        !self.closed
            && !self.finishing
            && self.waiting.is_empty()
            && self.active.len() < WIRE_DELIVERIES
            && self.patience.is_young(now)
    }

    /// Whether there is no job.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.active.is_empty()
    }

    /// Says QUIT when all jobs have ended.
    pub fn finish(&mut self, now: Timestamp) {
        self.finishing = true;
        self.begin_waiting(now);
    }

    /// Bytes from the peer.
    pub fn handle(&mut self, now: Timestamp, bytes: &[u8]) {
        self.decoder.push(bytes);
        while !self.closed {
            match self.decoder.next_item() {
                Ok(None) => break,
                Ok(Some(item)) => {
                    if let Err(failure) = self.item(now, item) {
                        self.fail(failure);
                    }
                }
                Err(_) => self.fail(Failure::Protocol),
            }
        }
        self.patience.received(now, bytes.len(), self.decoder.is_within_blocks());
    }

    /// The connection ended.
    pub fn disconnected(&mut self) {
        self.fail(Failure::Disconnected);
    }

    /// The clock was set: deadlines move with it.
    pub fn clock_set(&mut self, step: ClockStep) {
        self.patience.clock_set(step);
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        (!self.closed).then(|| self.patience.deadline(self.waits_for_answer()))
    }

    /// The time has come, or not yet.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        if self.poll_timeout().is_some_and(|deadline| now >= deadline) {
            self.fail(Failure::TimeOut);
        }
    }

    /// The bytes to send now.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// What happened since the last call, in order.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.events.drain(..).collect()
    }

    /// Whether to close the connection once the output is sent.
    pub const fn wants_close(&self) -> bool {
        self.closed || self.quitting
    }

    fn waits_for_answer(&self) -> bool {
        self.active.values().any(|active| active.phase != Phase::Held)
    }

    fn begin_waiting(&mut self, now: Timestamp) {
        while self.active.len() < WIRE_DELIVERIES
            && let Some((ticket, job)) = self.waiting.pop_front()
        {
            let id = PipelineId::from(self.next_id);
            self.next_id += 1;
            let mut active = Active { ticket, job, phase: Phase::Asked, outdated: false };
            let (sent, awaited) = (active.dial(&id, &mut self.output), self.waits_for_answer());
            self.active.insert(id, active);
            self.patience.asked(now, sent, awaited);
        }
        if self.finishing && !self.quitting && !self.closed && self.is_idle() {
            self.quitting = true;
            self.output.extend_from_slice(Command::Quit.encode(None).as_bytes());
        }
    }

    fn item(&mut self, now: Timestamp, item: Item) -> Result<(), Failure> {
        match (item, self.expected.take()) {
            (Item::Line(words), None) if words.is_empty() => self.patience.informed(self.decoder.line_bytes()),
            (Item::Line(words), None) => match ServerLine::decode(words).map_err(|_| Failure::Protocol)? {
                ServerLine::Greeting(_) if self.patience.is_greeted() => Err(Failure::Protocol),
                ServerLine::Greeting(greeting) => {
                    self.patience.greeted();
                    let known = greeting.versions.iter().any(|version| version == wire::VERSION);
                    if known { Ok(()) } else { Err(Failure::Version) }
                }
                ServerLine::Reply(reply) => self.reply(now, reply),
            },
            (Item::Blocks(blocks), Some((id, ready))) => self.ready(now, &id, ready, blocks),
            _ => Err(Failure::Protocol),
        }
    }

    fn reply(&mut self, now: Timestamp, reply: Reply) -> Result<(), Failure> {
        let Reply { id, code, more, words } = reply;
        let pending = more || code.disposition() == Disposition::Pending;
        let Some(id) = id else {
            return if pending { self.informed() } else { Err(Failure::Closed(code)) };
        };
        let phase = self.active.get(&id).map(|active| active.phase);
        if !self.patience.is_greeted() || matches!(phase, None | Some(Phase::Held)) {
            return Err(Failure::Protocol);
        }
        if pending {
            return self.informed();
        }
        self.patience.answered(now);
        if code == Status::Ready.code() && matches!(phase, Some(Phase::Asked | Phase::Announced | Phase::Pipelined)) {
            let ready = Ready::from_words(&words).map_err(|_| Failure::Protocol)?;
            if self.decoder.announced().is_none() {
                return self.ready(now, &id, ready, Vec::new());
            }
            self.certificates += 1;
            if self.certificates > WIRE_CERTIFICATES {
                return Err(Failure::Protocol);
            }
            self.decoder.take_blocks(2 * CERTIFICATE_BYTES as u64).map_err(|_| Failure::Protocol)?;
            self.expected = Some((id, ready));
            return Ok(());
        }
        if self.decoder.announced().is_some() {
            return Err(Failure::Protocol);
        }
        self.answered(now, &id, code)
    }

    /// A line that answers nothing.
    fn informed(&mut self) -> Result<(), Failure> {
        let blocks = self.decoder.announced().is_some();
        self.patience.informed(self.decoder.line_bytes()).and(if blocks { Err(Failure::Protocol) } else { Ok(()) })
    }

    /// A final reply other than 201.
    fn answered(&mut self, now: Timestamp, id: &PipelineId, code: Code) -> Result<(), Failure> {
        let Some(active) = self.active.get_mut(id) else { return Err(Failure::Protocol) };
        let accepted = code == Status::Roger.code();
        if !accepted && code.disposition() == Disposition::Done {
            return Err(Failure::Protocol);
        }
        let closes = code.status().is_some_and(Status::closes);
        let outcome = match active.phase {
            Phase::Sent | Phase::Refused(_) if accepted => Outcome::Accepted,
            _ if accepted => return Err(Failure::Protocol),
            Phase::Pipelined if !closes => {
                active.phase = Phase::Refused(code);
                return Ok(());
            }
            Phase::Refused(first) => Outcome::Refused(first),
            Phase::Sent if active.outdated && code == Status::ContentRefused.code() => Outcome::Outdated,
            _ => Outcome::Refused(code),
        };
        let ticket = active.ticket;
        self.conclude(now, id, ticket, outcome);
        if closes { Err(Failure::Closed(code)) } else { Ok(()) }
    }

    /// A 201 that is complete.
    fn ready(&mut self, now: Timestamp, id: &PipelineId, ready: Ready, blocks: Vec<Vec<u8>>) -> Result<(), Failure> {
        let Some(active) = self.active.get_mut(id) else { return Err(Failure::Protocol) };
        let fresh = active.certificate(ready, blocks)?;
        let ticket = active.ticket;
        match active.phase {
            Phase::Pipelined => {
                active.phase = Phase::Sent;
                active.outdated = fresh.is_some();
                self.events.extend(fresh.map(|bytes| Event::Certificate { ticket, bytes, wanted: false }));
            }
            Phase::Announced if fresh.is_none() => {
                let size = active.job.object.as_ref().map_or(0, |object| object.len());
                if size as u64 > ready.maximum {
                    self.conclude(now, id, ticket, Outcome::Refused(Status::ObjectTooLarge.code()));
                } else {
                    active.message(id, &mut self.output);
                    self.patience.asked(now, size, false);
                }
            }
            _ => {
                active.phase = Phase::Held;
                self.events.push_back(match fresh {
                    Some(bytes) => Event::Certificate { ticket, bytes, wanted: true },
                    None => Event::Wanted { ticket },
                });
            }
        }
        Ok(())
    }

    fn conclude(&mut self, now: Timestamp, id: &PipelineId, ticket: Ticket, outcome: Outcome) {
        self.active.remove(id);
        self.events.push_back(Event::Outcome { ticket, outcome });
        self.begin_waiting(now);
    }

    fn fail(&mut self, failure: Failure) {
        if self.closed {
            return;
        }
        self.closed = true;
        let mut unresolved = Vec::new();
        for active in std::mem::take(&mut self.active).into_values() {
            match active.phase {
                Phase::Refused(code) => {
                    let outcome = Outcome::Refused(code);
                    self.events.push_back(Event::Outcome { ticket: active.ticket, outcome });
                }
                _ => unresolved.push(active.ticket),
            }
        }
        unresolved.extend(self.waiting.drain(..).map(|(ticket, _)| ticket));
        unresolved.sort_unstable();
        if !unresolved.is_empty() || !self.quitting {
            self.events.push_back(Event::Failed { unresolved, failure });
        }
    }
}

impl Active {
    /// Writes the SEND, and the MESSAGE where it need not wait; returns how many bytes that were.
    fn dial(&mut self, id: &PipelineId, output: &mut Vec<u8>) -> usize {
        let before = output.len();
        let claim = self.job.object.as_ref().map(|object| Claim::of(object));
        let mut send = Send::to(self.job.to.to_string());
        send.certificate = self.job.certificate;
        send.claim = claim;
        let made = |key: &Option<MacKey>| Some(authenticator(key.as_ref()?, self.job.to.onion(), claim.as_ref()?));
        send.auth = made(&self.job.auth);
        match &self.job.way {
            Way::Direct => {}
            Way::Carried(key) => send.onward = made(key),
            Way::Carrying(mac) => send.auth = mac.filter(|_| claim.is_some()),
        }
        send.importance = self.job.importance;
        output.extend_from_slice(Command::Send(send).encode(Some(id)).as_bytes());
        self.phase = match claim {
            None => Phase::Asked,
            Some(claim) if self.job.certificate.is_some() && claim.size <= PIPELINED_OBJECT_BYTES as u64 => {
                self.message(id, output);
                Phase::Pipelined
            }
            Some(_) => Phase::Announced,
        };
        output.len().saturating_sub(before)
    }

    fn message(&mut self, id: &PipelineId, output: &mut Vec<u8>) {
        let Some(object) = &self.job.object else { return };
        let message = Message { sender: None, size: object.len() as u64 };
        output.extend_from_slice(Command::Message(message).encode(Some(id)).as_bytes());
        output.extend_from_slice(object);
        self.phase = Phase::Sent;
    }

    /// The receiver's certificate out of a 201, where it is another one than the job named.
    fn certificate(&mut self, ready: Ready, blocks: Vec<Vec<u8>>) -> Result<Option<Arc<[u8]>>, Failure> {
        // Whoever carries has no certificate of the receiver's, and everybody else has.
        if ready.receiver.is_none() != matches!(self.job.way, Way::Carried(_)) {
            return Err(Failure::Protocol);
        }
        let announced = [ready.receiver, ready.server];
        let expected = announced.iter().filter(|place| matches!(place, Some(CertificateRef::Block(_)))).count();
        if blocks.len() != expected || blocks.iter().any(|block| block.len() > CERTIFICATE_BYTES) {
            return Err(Failure::Protocol);
        }
        let Some(receiver) = ready.receiver else { return Ok(None) };
        match (receiver, blocks.into_iter().next()) {
            (CertificateRef::Digest(digest), _) if self.job.certificate == Some(digest) => Ok(None),
            (CertificateRef::Block(_), Some(bytes)) => {
                let name = digest(&bytes);
                Ok((self.job.certificate.replace(name) != Some(name)).then(|| bytes.into()))
            }
            _ => Err(Failure::Protocol),
        }
    }
}

impl std::fmt::Debug for Initiator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Initiator").field("closed", &self.closed).finish_non_exhaustive()
    }
}
