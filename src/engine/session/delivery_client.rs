//! The side that dialled a node and hands mail to it (docs/protocol.md, "Delivery").
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
    CertificateRef, Claim, Code, Command, Disposition, Message, PipelineId, Ready, Reply, Send, Status, authenticator,
    digest,
};

use super::client::{ClientCore, Heard};
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
pub struct DeliveryClient {
    /// With each announcement it keeps the 201 whose certificates are on their way.
    core: ClientCore<(PipelineId, Ready), Event>,
    waiting: VecDeque<(Ticket, Job)>,
    active: BTreeMap<PipelineId, Active>,
    next_id: u64,
    /// How often the peer sent a certificate.
    certificates: u32,
    finishing: bool,
}

impl DeliveryClient {
    /// A session that begins now.
    pub fn new(now: Timestamp) -> Self {
        Self {
            core: ClientCore::new(now),
            waiting: VecDeque::new(),
            active: BTreeMap::new(),
            next_id: 1,
            certificates: 0,
            finishing: false,
        }
    }

    /// Adds a job. It begins at once, or when there is room. Exactly one [`Event::Outcome`] or a mention in
    /// [`Event::Failed`] ends it, unless it is withdrawn.
    pub fn send(&mut self, now: Timestamp, ticket: Ticket, job: Job) {
        if self.core.wants_close() {
            self.core.report(Event::Failed { unresolved: vec![ticket], failure: Failure::Disconnected });
            return;
        }
        self.waiting.push_back((ticket, job));
        self.begin_waiting(now);
    }

    /// Gives its object to a job that waits for one, sealed to the certificate last reported. Ignored for other jobs.
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
        self.core.ask(now, awaited, |output| active.dial(id, output));
    }

    /// Ends a job that waits for its object or for room, without an event. Ignored for other jobs.
    pub fn withdraw(&mut self, now: Timestamp, ticket: Ticket) {
        self.waiting.retain(|(waiting, _)| *waiting != ticket);
        self.active.retain(|_, active| active.ticket != ticket || active.phase != Phase::Held);
        self.begin_waiting(now);
    }

    /// Whether another job would begin at once. Old sessions take no more: dial again.
    pub fn has_room(&self, now: Timestamp) -> bool {
        !self.core.is_closed()
            && !self.finishing
            && self.waiting.is_empty()
            && self.active.len() < WIRE_DELIVERIES
            && self.core.is_young(now)
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
        self.core.push(bytes);
        while let Some(heard) = self.core.hear() {
            if let Err(failure) = heard.and_then(|heard| self.heard(now, heard)) {
                self.fail(failure);
            }
        }
        self.core.received(now, bytes.len());
    }

    /// The connection ended.
    pub fn disconnected(&mut self) {
        self.fail(Failure::Disconnected);
    }

    /// The clock was set: deadlines move with it.
    pub fn clock_set(&mut self, step: ClockStep) {
        self.core.clock_set(step);
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.core.poll_timeout(self.waits_for_answer())
    }

    /// The deadline may be over.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        if self.core.is_over(now, self.waits_for_answer()) {
            self.fail(Failure::TimeOut);
        }
    }

    /// The bytes to send now.
    pub fn take_output(&mut self) -> Vec<u8> {
        self.core.take_output()
    }

    /// What happened since the last call, in order.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.core.take_events()
    }

    /// Whether to close the connection once the output is sent.
    pub const fn wants_close(&self) -> bool {
        self.core.wants_close()
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
            let awaited = self.waits_for_answer();
            self.core.ask(now, awaited, |output| active.dial(&id, output));
            self.active.insert(id, active);
        }
        if self.finishing && self.is_idle() {
            self.core.quit();
        }
    }

    fn heard(&mut self, now: Timestamp, heard: Heard<(PipelineId, Ready)>) -> Result<(), Failure> {
        match heard {
            Heard::Reply(reply) => self.reply(now, reply),
            Heard::Blocks((id, ready), blocks) => self.ready(now, &id, ready, blocks),
        }
    }

    fn reply(&mut self, now: Timestamp, reply: Reply) -> Result<(), Failure> {
        let Reply { id, code, more, words } = reply;
        let pending = more || code.disposition() == Disposition::Pending;
        let Some(id) = id else {
            return if pending { self.core.informed() } else { Err(Failure::Closed(code)) };
        };
        let phase = self.active.get(&id).map(|active| active.phase);
        if !self.core.is_greeted() || matches!(phase, None | Some(Phase::Held)) {
            return Err(Failure::Protocol);
        }
        if pending {
            return self.core.informed();
        }
        self.core.answered(now);
        if code == Status::Ready.code() && matches!(phase, Some(Phase::Asked | Phase::Announced | Phase::Pipelined)) {
            let ready = Ready::from_words(&words).map_err(|_| Failure::Protocol)?;
            if self.core.announced().is_none() {
                return self.ready(now, &id, ready, Vec::new());
            }
            self.certificates += 1;
            if self.certificates > WIRE_CERTIFICATES {
                return Err(Failure::Protocol);
            }
            return self.core.take_blocks(2 * CERTIFICATE_BYTES as u64, (id, ready));
        }
        if self.core.announced().is_some() {
            return Err(Failure::Protocol);
        }
        self.answered(now, &id, code)
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

    /// A 201 came, with all of its blocks.
    fn ready(&mut self, now: Timestamp, id: &PipelineId, ready: Ready, blocks: Vec<Vec<u8>>) -> Result<(), Failure> {
        let Some(active) = self.active.get_mut(id) else { return Err(Failure::Protocol) };
        let fresh = active.certificate(ready, blocks)?;
        let ticket = active.ticket;
        match active.phase {
            Phase::Pipelined => {
                active.phase = Phase::Sent;
                active.outdated = fresh.is_some();
                if let Some(bytes) = fresh {
                    self.core.report(Event::Certificate { ticket, bytes, wanted: false });
                }
            }
            Phase::Announced if fresh.is_none() => {
                let size = active.job.object.as_ref().map_or(0, |object| object.len());
                if size as u64 > ready.maximum {
                    self.conclude(now, id, ticket, Outcome::Refused(Status::ObjectTooLarge.code()));
                } else {
                    self.core.ask(now, false, |output| active.message(id, output));
                }
            }
            _ => {
                active.phase = Phase::Held;
                self.core.report(match fresh {
                    Some(bytes) => Event::Certificate { ticket, bytes, wanted: true },
                    None => Event::Wanted { ticket },
                });
            }
        }
        Ok(())
    }

    fn conclude(&mut self, now: Timestamp, id: &PipelineId, ticket: Ticket, outcome: Outcome) {
        self.active.remove(id);
        self.core.report(Event::Outcome { ticket, outcome });
        self.begin_waiting(now);
    }

    fn fail(&mut self, failure: Failure) {
        if !self.core.close() {
            return;
        }
        let mut unresolved = Vec::new();
        for active in std::mem::take(&mut self.active).into_values() {
            match active.phase {
                Phase::Refused(code) => {
                    let outcome = Outcome::Refused(code);
                    self.core.report(Event::Outcome { ticket: active.ticket, outcome });
                }
                _ => unresolved.push(active.ticket),
            }
        }
        unresolved.extend(self.waiting.drain(..).map(|(ticket, _)| ticket));
        unresolved.sort_unstable();
        if !unresolved.is_empty() || !self.core.is_quitting() {
            self.core.report(Event::Failed { unresolved, failure });
        }
    }
}

impl Active {
    /// Writes the SEND, and the MESSAGE if it need not wait.
    fn dial(&mut self, id: &PipelineId, output: &mut Vec<u8>) {
        let claim = match &self.job.way {
            Way::Knock(claim) => Some(*claim),
            _ => self.job.object.as_ref().map(|object| Claim::of(object)),
        };
        let mut send = Send::to(self.job.to.to_string());
        send.certificate = self.job.certificate;
        send.claim = claim;
        let made = |key: &Option<MacKey>| Some(authenticator(key.as_ref()?, self.job.to.onion(), claim.as_ref()?));
        send.auth = made(&self.job.auth);
        match &self.job.way {
            Way::Direct | Way::Knock(_) => {}
            Way::Carried(key) => send.onward = made(key),
            Way::Carrying(mac) => send.auth = mac.filter(|_| claim.is_some()),
        }
        send.importance = self.job.importance;
        output.extend_from_slice(Command::Send(send).encode(Some(id)).as_bytes());
        self.phase = match claim {
            None => Phase::Asked,
            Some(_) if self.job.object.is_none() => Phase::Asked,
            Some(claim) if self.job.certificate.is_some() && claim.size <= PIPELINED_OBJECT_BYTES as u64 => {
                self.message(id, output);
                Phase::Pipelined
            }
            Some(_) => Phase::Announced,
        };
    }

    fn message(&mut self, id: &PipelineId, output: &mut Vec<u8>) {
        let Some(object) = &self.job.object else { return };
        let message = Message { sender: None, size: object.len() as u64 };
        output.extend_from_slice(Command::Message(message).encode(Some(id)).as_bytes());
        output.extend_from_slice(object);
        self.phase = Phase::Sent;
    }

    /// The receiver's certificate out of a 201, if it is another one than the job named.
    fn certificate(&mut self, ready: Ready, blocks: Vec<Vec<u8>>) -> Result<Option<Arc<[u8]>>, Failure> {
        // A friend who is to forward has no certificate of the receiver's; every other peer has.
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

impl std::fmt::Debug for DeliveryClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeliveryClient").field("closed", &self.core.is_closed()).finish_non_exhaustive()
    }
}
