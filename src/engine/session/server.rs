//! The side that was dialled (docs/protocol.md, "States").
//!
//! States: open; blocked (too many unsettled deliveries: nothing is read); ending (a closing reply waits for the
//! settlements before it); closed. A fault of the peer costs it a reply, a mistake, or the session; nothing it sends is
//! stored before the [`Host`] offered to take it. The answer to a SEND is held for a moment, unless the session has
//! shown its key before; the commands after it are worked on meanwhile.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::base::limits::{
    DEPOSIT_BYTES, OBJECT_BYTES, OUTPUT_WAITING, PIPELINED_OBJECT_BYTES, WIRE_ANSWER, WIRE_BUFFER_BYTES,
    WIRE_CERTIFICATES, WIRE_DELIVERIES, WIRE_MISTAKES, WIRE_REPLIES_WAITING, WIRE_SENDS, WIRE_SENDS_OPEN,
    WIRE_SKIPPED_BYTES,
};
use crate::base::{ClockStep, Terms, Timestamp};
use crate::wire::mailbox::BoxCommand;
use crate::wire::{
    self, CertificateRef, Command, CommandError, Decoder, Greeting, Item, Message, PipelineId, Ready, Reply, Send,
    Side, Status, Tagged, WireError, Word, digest,
};

use super::pace::Pace;
use super::replies::Replies;
use super::{Answer, Delivery, Deposit, Host, Offer, SendParams, Sender, Ticket};

/// The answer to a SEND or a DEPOSIT, kept until its MESSAGE comes.
pub(super) enum Envelope {
    Ready { params: Box<SendParams>, maximum: u64, sender: Sender, since: Timestamp },
    Deposit(Deposit),
    Refused(Status),
}

/// What the blocks that are on their way are for.
pub(super) enum Expected {
    Object { params: Box<SendParams>, sender: Sender, since: Timestamp },
    Deposit(Deposit),
    Command(BoxCommand),
    Refusal(Status),
}

/// One session with a peer that connected to us.
pub struct Server {
    pub(super) decoder: Decoder,
    pub(super) replies: Replies,
    pub(super) pace: Pace,
    pub(super) envelopes: Vec<(Option<PipelineId>, Envelope)>,
    pub(super) expected: Option<(Option<PipelineId>, Expected)>,
    next_ticket: u64,
    mistakes: u32,
    certificates: u32,
    sends: u32,
    /// The senders whose keys the session has shown.
    shown: BTreeSet<Sender>,
    skipped: u64,
    /// Whether silence is no fault, because the peer waits to be told something.
    patient: bool,
    ending: Option<(Option<PipelineId>, Status)>,
    pub(super) closed: bool,
    /// Bytes that were given out since the peer last had taken all of them.
    untaken: usize,
    /// With so many bytes not taken the session reads no more.
    most_untaken: usize,
}

impl Server {
    /// A session of an identity that begins now; its greeting is already in the output.
    pub fn new(now: Timestamp, terms: &Terms) -> Self {
        // The answers of an identity are short, so they need no bound.
        Self::serving(now, "SEND", terms, usize::MAX)
    }

    /// A session of a carrier that begins now; its greeting is already in the output.
    pub fn of_box(now: Timestamp) -> Self {
        let terms = Terms { maximum: DEPOSIT_BYTES as usize, ..Terms::default() };
        Self::serving(now, "BOX", &terms, OUTPUT_WAITING)
    }

    fn serving(now: Timestamp, capability: &str, terms: &Terms, most_untaken: usize) -> Self {
        let mut replies = Replies::default();
        let greeting = Greeting {
            versions: vec![wire::VERSION.to_owned()],
            maximum: terms.maximum as u64,
            capabilities: vec![capability.to_owned()],
            welcome: terms.welcome.clone(),
        };
        replies.raw(greeting.encode().as_bytes());
        Self {
            decoder: Decoder::new(Side::Commands),
            replies,
            pace: Pace::new(now),
            envelopes: Vec::new(),
            expected: None,
            next_ticket: 0,
            mistakes: 0,
            certificates: 0,
            sends: 0,
            shown: BTreeSet::new(),
            skipped: 0,
            patient: false,
            ending: None,
            closed: false,
            untaken: 0,
            most_untaken,
        }
    }

    /// Bytes from the peer.
    pub fn handle(&mut self, now: Timestamp, bytes: &[u8], host: &mut dyn Host) {
        if self.is_over() {
            return;
        }
        self.pace.received(now, bytes.len());
        self.decoder.push(bytes);
        self.read(now, host);
    }

    /// The answer to a delivery: [`Status::Roger`] only when the message is durable. Unknown tickets are ignored.
    pub fn settle(&mut self, now: Timestamp, ticket: Ticket, status: Status, host: &mut dyn Host) {
        self.answer(now, ticket, &status.into(), host);
    }

    /// The answer to a delivery or to a command of a box. Unknown tickets are ignored.
    pub fn answer(&mut self, now: Timestamp, ticket: Ticket, answer: &Answer, host: &mut dyn Host) {
        if self.closed || !self.settle_with(now, ticket, answer) {
            return;
        }
        self.read(now, host);
    }

    /// The clock was set: deadlines move with it.
    pub fn clock_set(&mut self, step: ClockStep) {
        self.pace.clock_set(step);
        self.replies.clock_set(step);
        self.promises_stepped(step);
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let deadline = self.deadline()?;
        Some(self.replies.held_until().map_or(deadline, |held| held.min(deadline)))
    }

    /// When the peer will have been too slow.
    fn deadline(&self) -> Option<Timestamp> {
        (!self.closed).then(|| self.pace.deadline(self.patient || self.replies.unsettled() > 0 || self.is_behind()))
    }

    /// The deadline may be over.
    pub fn handle_timeout(&mut self, now: Timestamp, host: &mut dyn Host) {
        if !self.closed && self.replies.release(now) {
            self.read(now, host);
        }
        if self.deadline().is_some_and(|deadline| now >= deadline) {
            self.give_way();
        }
    }

    /// Ends the session as a time-out does, because others wait for its place. Answers that it still owes are not
    /// given.
    pub fn give_way(&mut self) {
        self.replies.abandon();
        self.ending = None;
        self.end(None, Status::TimeOut);
    }

    /// From now on the peer may be silent for as long as the session lasts: it waits to be told something.
    pub const fn be_patient(&mut self) {
        self.patient = true;
    }

    /// Whether nothing complete has come yet.
    pub fn is_silent(&self) -> bool {
        self.pace.is_handshake()
    }

    /// Whether a delivery waits for its answer.
    pub fn owes_answer(&self) -> bool {
        self.replies.unsettled() > 0
    }

    /// Whether an object was admitted by its token and is on its way.
    pub fn is_bringing(&self) -> bool {
        matches!(self.expected, Some((_, Expected::Deposit(_))))
            || self.envelopes.iter().any(|(_, envelope)| matches!(envelope, Envelope::Deposit(_)))
    }

    /// The bytes to send now.
    pub fn take_output(&mut self) -> Vec<u8> {
        let output = self.replies.take_output();
        self.untaken = self.untaken.saturating_add(output.len());
        output
    }

    /// Whether so many bytes were given out that the session reads no more until [`Self::caught_up`].
    pub const fn is_behind(&self) -> bool {
        self.untaken >= self.most_untaken
    }

    /// The peer has taken the bytes that were given out, or most of them.
    pub fn caught_up(&mut self, now: Timestamp, host: &mut dyn Host) {
        self.untaken = 0;
        if !self.closed {
            self.pace.turn(now, Duration::ZERO);
            self.read(now, host);
        }
    }

    /// Whether to close the connection once the output is sent.
    pub const fn wants_close(&self) -> bool {
        self.closed
    }

    /// Whether reading further is of no use until deliveries are settled: the driver leaves bytes in the socket
    /// meanwhile.
    pub fn is_blocked(&self) -> bool {
        self.replies.unsettled() >= WIRE_DELIVERIES
            || self.replies.pending() >= WIRE_REPLIES_WAITING
            || self.untaken.saturating_add(self.replies.ready()) >= self.most_untaken
    }

    /// Bytes of memory that this session takes or has been promised, until it hands them to the host. The owner of many
    /// sessions bounds the sum (`limits::IN_FLIGHT_BYTES`) when it makes an offer.
    pub fn in_flight(&self) -> u64 {
        self.decoder.in_flight().saturating_add(self.announced())
    }

    const fn is_over(&self) -> bool {
        self.closed || self.ending.is_some()
    }

    fn read(&mut self, now: Timestamp, host: &mut dyn Host) {
        let mut complete = false;
        while !self.is_over() && !self.is_blocked() {
            match self.decoder.next_item() {
                Ok(None) => break,
                Ok(Some(item)) => {
                    complete = true;
                    self.item(now, item, host);
                }
                Err(error) => self.end(None, status_of(error)),
            }
        }
        if !self.is_over() && self.decoder.buffered() > WIRE_BUFFER_BYTES {
            self.end(None, Status::TooLarge);
        }
        self.pace.read(now, complete, self.decoder.is_within());
        self.finish();
    }

    fn item(&mut self, now: Timestamp, item: Item, host: &mut dyn Host) {
        match (item, self.expected.take()) {
            (Item::Line(words), None) => self.command(now, words, host),
            (Item::Blocks(blocks), Some((id, expected))) => {
                let block = blocks.into_iter().next().unwrap_or_default();
                match expected {
                    Expected::Object { params, sender, .. } => self.object(now, id, *params, sender, block, host),
                    Expected::Deposit(deposit) => self.deposited(now, id, deposit, block, host),
                    Expected::Command(command) => self.ask(now, id, command, block, host),
                    Expected::Refusal(_) => self.end(id, Status::ServerError),
                }
            }
            (Item::Skipped, Some((id, Expected::Refusal(status)))) => self.refuse(id, status),
            _ => self.end(None, Status::ServerError),
        }
    }

    fn command(&mut self, now: Timestamp, words: Vec<Word>, host: &mut dyn Host) {
        let Tagged { id, body } = Command::decode(words);
        match body {
            Ok(Command::Howdy(versions)) => {
                if !versions.iter().any(|version| version.eq_ignore_ascii_case(wire::VERSION)) {
                    self.end(id, Status::Version);
                }
            }
            Ok(Command::Send(send)) => self.send(now, id, send, host),
            Ok(Command::Message(message)) => self.message(now, id, &message, host),
            Ok(Command::Quit) => self.end(id, Status::Bye),
            Ok(Command::Unsupported { keyword, parameters }) => self.beyond(now, id, keyword, &parameters, host),
            Err(CommandError::Unknown) => self.refuse_past_blocks(id, Status::BadCommand),
            Err(CommandError::Parameter) => self.refuse_past_blocks(id, Status::BadParameter),
            Err(CommandError::Send) => {
                self.open(id.clone(), Envelope::Refused(Status::BadParameter));
                self.refuse_past_blocks(id, Status::BadParameter);
            }
        }
    }

    fn send(&mut self, now: Timestamp, id: Option<PipelineId>, send: Send, host: &mut dyn Host) {
        let Ok(to) = send.to.parse() else {
            self.open(id.clone(), Envelope::Refused(Status::BadParameter));
            return self.refuse(id, Status::BadParameter);
        };
        self.sends += 1;
        if self.sends > WIRE_SENDS {
            return self.end(id, Status::TooManyMistakes);
        }
        let Send { claim, auth, onward, certificate, importance, secure, .. } = send;
        let params = Box::new(SendParams { to, claim, auth, onward, certificate, importance, secure });
        let (maximum, certificate, sender) = match host.offer(now, &params) {
            Offer::Ready { maximum, certificate, sender } => (maximum, Some(certificate), sender),
            Offer::Carried { maximum, sender } => (maximum, None, sender),
            Offer::Refused(status) => return self.refuse_send(now, id, status),
        };
        let maximum = maximum.min(OBJECT_BYTES) as u64;
        if claim.is_some_and(|claim| claim.size > maximum) {
            // docs/protocol.md "Unrevealing answers": a stranger learns the same as about an unknown name.
            let status = if sender == Sender::Stranger { Status::NotAvailable } else { Status::ObjectTooLarge };
            return self.refuse_send(now, id, status);
        }
        let known = |certificate: &[u8]| params.certificate.filter(|known| *known == digest(certificate));
        let (receiver, block) = match &certificate {
            None => (None, &[][..]),
            Some(certificate) => match known(certificate) {
                Some(digest) => (Some(CertificateRef::Digest(digest)), &[][..]),
                None => (Some(CertificateRef::Block(certificate.len() as u64)), &**certificate),
            },
        };
        if !block.is_empty() {
            self.certificates += 1;
            if self.certificates > WIRE_CERTIFICATES {
                return self.end(id, Status::TooManyMistakes);
            }
        }
        let reply = Ready { maximum, receiver, server: None }.reply(id.clone());
        if sender != Sender::Stranger && !self.shown.insert(sender) {
            self.replies.push(&reply, block);
        } else {
            self.replies.hold(now.plus(WIRE_ANSWER), &reply, block);
        }
        self.open(id, Envelope::Ready { params, maximum, sender, since: now });
    }

    /// Refuses a SEND, and the MESSAGE that follows. Neither words nor time show the reason.
    fn refuse_send(&mut self, now: Timestamp, id: Option<PipelineId>, status: Status) {
        self.open(id.clone(), Envelope::Refused(status));
        if !status.closes() {
            self.replies.hold(now.plus(WIRE_ANSWER), &Reply::plain(id.clone(), status), b"");
        }
        self.count_refusal(id, status);
    }

    fn message(&mut self, now: Timestamp, id: Option<PipelineId>, message: &Message, host: &mut dyn Host) {
        let envelope = self.envelopes.iter().position(|(open, _)| *open == id).map(|at| self.envelopes.remove(at).1);
        let (claim, maximum, expected) = match envelope {
            Some(Envelope::Ready { params, maximum, sender, since }) => {
                (params.claim, maximum, Expected::Object { params, sender, since })
            }
            Some(Envelope::Deposit(deposit)) => (Some(deposit.claim), deposit.claim.size, Expected::Deposit(deposit)),
            Some(Envelope::Refused(status)) => return self.refuse_past_blocks(id, status),
            None => return self.refuse_past_blocks(id, Status::SendFirst),
        };
        if message.sender.is_some() {
            return self.refuse_past_blocks(id, Status::NotImplemented);
        }
        if claim.is_some_and(|claim| claim.size != message.size) {
            return self.end(id, Status::ProtocolError);
        }
        // Several deposits may have been admitted while there was room for one, so this one is looked at again.
        if let Expected::Deposit(deposit) = &expected
            && !host.as_box().is_some_and(|host| host.admits(now, deposit))
        {
            return self.refuse_past_blocks(id, Status::NotAvailable);
        }
        self.take(id, maximum, expected);
    }

    /// Stores the blocks that are on their way, up to so many octets, for this purpose.
    pub(super) fn take(&mut self, id: Option<PipelineId>, maximum: u64, expected: Expected) {
        match self.decoder.take_blocks(maximum) {
            Ok(()) => self.expected = Some((id, expected)),
            Err(error) => self.end(id, status_of(error)),
        }
    }

    fn object(
        &mut self,
        now: Timestamp,
        id: Option<PipelineId>,
        params: SendParams,
        sender: Sender,
        object: Vec<u8>,
        host: &mut dyn Host,
    ) {
        if params.claim.is_some_and(|claim| claim.hash != digest(&object)) {
            return self.end(id, Status::ProtocolError);
        }
        let ticket = self.wait(id);
        let delivery = Delivery { send: params, sender, object };
        if let Some(status) = host.deliver(now, ticket, delivery) {
            self.settle_with(now, ticket, &status.into());
        }
    }

    /// The place of an answer that comes now or later.
    pub(super) fn wait(&mut self, id: Option<PipelineId>) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.replies.wait(id, ticket);
        ticket
    }

    /// Gives an answer; `false` if no command waits for it.
    pub(super) fn settle_with(&mut self, now: Timestamp, ticket: Ticket, answer: &Answer) -> bool {
        if !self.replies.settle(ticket, answer) {
            return false;
        }
        self.closed |= answer.closes();
        if self.replies.unsettled() == 0 {
            self.pace.turn(now, Duration::ZERO);
        }
        true
    }

    /// Answers a command that will not be done, after the blocks that it brings.
    pub(super) fn refuse_past_blocks(&mut self, id: Option<PipelineId>, status: Status) {
        let Some(size) = self.decoder.announced() else { return self.refuse(id, status) };
        self.skipped = self.skipped.saturating_add(size);
        if self.skipped > WIRE_SKIPPED_BYTES {
            return self.end(id, Status::TooLarge);
        }
        match self.decoder.skip_blocks(PIPELINED_OBJECT_BYTES as u64) {
            Ok(()) => self.expected = Some((id, Expected::Refusal(status))),
            Err(error) => self.end(id, status_of(error)),
        }
    }

    pub(super) fn refuse(&mut self, id: Option<PipelineId>, status: Status) {
        if !status.closes() {
            self.replies.push(&Reply::plain(id.clone(), status), b"");
        }
        self.count_refusal(id, status);
    }

    /// Counts a refusal as a mistake, if it is one; ends the session at its last mistake, or because of the status.
    fn count_refusal(&mut self, id: Option<PipelineId>, status: Status) {
        if status.closes() {
            return self.end(id, status);
        }
        // A refused name counts as well: a peer that tries one name after the other gets few of them a session.
        if status.number() >= 700 || status == Status::NotAvailable {
            self.mistakes += 1;
            if self.mistakes >= WIRE_MISTAKES {
                self.end(None, Status::TooManyMistakes);
            }
        }
    }

    pub(super) fn open(&mut self, id: Option<PipelineId>, envelope: Envelope) {
        self.envelopes.retain(|(open, _)| *open != id);
        if self.envelopes.len() >= WIRE_SENDS_OPEN {
            self.envelopes.remove(0);
        }
        self.envelopes.push((id, envelope));
    }

    /// Reads nothing more, and sends this status once everything before it is answered.
    pub(super) fn end(&mut self, id: Option<PipelineId>, status: Status) {
        if !self.is_over() {
            self.ending = Some((id, status));
            self.finish();
        }
    }

    fn finish(&mut self) {
        if self.replies.pending() == 0
            && !self.closed
            && let Some((id, status)) = self.ending.take()
        {
            self.replies.push(&Reply::plain(id, status), b"");
            self.closed = true;
        }
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("closed", &self.closed).finish_non_exhaustive()
    }
}

const fn status_of(error: WireError) -> Status {
    match error {
        WireError::LineTooLong | WireError::TooManyBlocks | WireError::BlockTooLarge => Status::TooLarge,
        WireError::Malformed | WireError::UnexpectedBlock => Status::ProtocolError,
    }
}
