//! A carrier on a bench: a stand-in for OpenPGP that keeps its promises, a log that is a vector, faults that the test
//! switches on, and the commands of the carrier's clients.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::base::ids::Fingerprint;
use crate::base::rng::SeededRng;
use crate::base::{BodyId, ContentId, ObjectId, OpId, SessionId, Timestamp, TokenSeed};
use crate::engine::api::RequestId;
use crate::engine::carrier::effect::Detached;
use crate::engine::carrier::{
    Carrier, CarrierEffect, CarrierInput, CarrierLimits, CarrierRequest, CarrierRequestError, Held, HeldRecord,
    HeldTransaction, Terms,
};
use crate::engine::io::{CommitError, Refusal};
use crate::engine::tests::harness::profile;
use crate::mail::proof::{IdentificationProof, RegistrationProof};
use crate::mail::{Content, ContentKind};
use crate::wire::mailbox::{
    BoxCommand, Challenge, Count, Entry, IdentificationChallenge, Part, Policy, Registration, Said, Selection, Style,
};
use crate::wire::token::{Class, Epoch, Token, begin_of, epoch, hash_of, token};
use crate::wire::{CertificateRef, Claim, Decoder, Item, Reply, ServerLine, Side, digest};

pub(super) const CARRIER: u8 = 1;
pub(super) const BOX: u8 = 2;
pub(super) const OTHER: u8 = 3;
pub(super) const MALLORY: u8 = 4;
pub(super) const SECRET: [u8; 16] = [5; 16];
pub(super) const SMALL: u64 = 4096;

pub(super) fn start() -> Timestamp {
    begin_of(20_800).plus(Duration::from_secs(3600))
}

pub(super) fn fingerprint(of: u8) -> Fingerprint {
    Fingerprint::from_bytes([of; 32])
}

/// The certificate that the bench makes of a number: it is its own name.
pub(super) fn certificate(of: u8) -> Vec<u8> {
    profile("box", of, start()).public.certificate.to_vec()
}

/// A content that one key signed for another.
pub(super) fn sealed(from: u8, to: u8, content: &[u8]) -> Vec<u8> {
    let mut object = [b"sealed", [from, to].as_slice(), content].concat();
    object.resize(SMALL as usize, 0);
    object
}

pub(super) fn unsealed(object: &[u8], from: u8, to: u8) -> Result<Vec<u8>, Refusal> {
    let rest = object.strip_prefix(b"sealed").and_then(|rest| rest.strip_prefix(&[from, to]));
    let rest = rest.ok_or(Refusal::Permanent)?;
    let end = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    Ok(rest[..end].to_vec())
}

pub(super) fn signature(by: u8, text: &str) -> Vec<u8> {
    digest(&[&[by], text.as_bytes()].concat()).to_vec()
}

pub(super) fn object(filling: u8, size: u64) -> Vec<u8> {
    vec![filling; size as usize]
}

/// A carrier with its log, and the clients that are connected.
pub(super) struct Bench {
    pub(super) carrier: Carrier,
    pub(super) now: Timestamp,
    pub(super) rng: SeededRng,
    pub(super) log: Vec<(u64, HeldRecord)>,
    pub(super) bodies: BTreeMap<BodyId, Arc<[u8]>>,
    /// How the next commits end.
    pub(super) faults: VecDeque<CommitError>,
    /// Commits are held back here while it is `Some`.
    pub(super) slow: Option<Vec<(OpId, HeldTransaction)>>,
    /// Whether the clients take no bytes.
    pub(super) lazy: bool,
    pub(super) sent: BTreeMap<SessionId, Vec<u8>>,
    pub(super) closed: Vec<SessionId>,
    pub(super) answers: Vec<Result<(), CarrierRequestError>>,
    pub(super) sessions: u64,
}

pub(super) const TERMS: Terms = Terms { quota: 64 * SMALL, hold_days: 3 };

impl Bench {
    pub(super) fn new() -> Self {
        let record = HeldRecord::CarrierCreated { profile: Box::new(profile("box", CARRIER, start())) };
        let log = vec![(1, record), (2, HeldRecord::DayBegan { day: epoch(start()) })];
        let carrier = Carrier::new(replay(&log), start()).unwrap();
        Self {
            carrier,
            now: start(),
            rng: SeededRng::new(1),
            log,
            bodies: BTreeMap::new(),
            faults: VecDeque::new(),
            slow: None,
            lazy: false,
            sent: BTreeMap::new(),
            closed: Vec::new(),
            answers: Vec::new(),
            sessions: 0,
        }
    }

    pub(super) fn limit(&mut self, limits: CarrierLimits) {
        self.input(CarrierInput::Request(RequestId(0), CarrierRequest::Limit(limits)));
        assert_eq!(self.carrier.status().limits, limits);
    }

    pub(super) fn set_policy(&mut self, policy: Policy) {
        self.input(CarrierInput::Request(RequestId(0), CarrierRequest::Identification(policy)));
        assert_eq!(self.carrier.status().policy, policy);
    }

    pub(super) fn input(&mut self, input: CarrierInput) {
        let effects = self.carrier.handle(self.now, &mut self.rng, input);
        self.perform(effects);
    }

    pub(super) fn perform(&mut self, effects: Vec<CarrierEffect>) {
        for effect in effects {
            match effect {
                CarrierEffect::Commit(op, transaction) => match &mut self.slow {
                    Some(waiting) => waiting.push((op, transaction)),
                    None => self.commit(op, transaction),
                },
                CarrierEffect::ReadCertificate(op, bytes) => {
                    let of = (0..=u8::MAX).find(|of| certificate(*of) == *bytes);
                    self.input(CarrierInput::CertificateRead(op, of.map(fingerprint).ok_or(Refusal::Permanent)));
                }
                CarrierEffect::Seal(op, content, to) => {
                    let to = (0..=u8::MAX).find(|of| certificate(*of) == *to).unwrap();
                    self.input(CarrierInput::Sealed(op, Ok(sealed(CARRIER, to, &content))));
                }
                CarrierEffect::Open(op, object, from) => {
                    let from = (0..=u8::MAX).find(|of| certificate(*of) == *from).unwrap();
                    self.input(CarrierInput::Opened(op, unsealed(&object, from, CARRIER)));
                }
                CarrierEffect::Verify(op, Detached { text, signature: given, certificate: by }) => {
                    let by = (0..=u8::MAX).find(|of| certificate(*of) == *by).unwrap();
                    self.input(CarrierInput::Verified(op, signature(by, &text) == given));
                }
                CarrierEffect::Examine(op, object) => {
                    let is_object = object.first() != Some(&b'!');
                    self.input(CarrierInput::Examined(op, is_object.then_some(object)));
                }
                CarrierEffect::ReadBody(op, body, Range { start, end }) => {
                    let bytes = self.bodies.get(&body).map(|bytes| bytes[start as usize..end as usize].to_vec());
                    self.input(CarrierInput::BodyRead(op, bytes));
                }
                CarrierEffect::Forget(bodies) => bodies.iter().for_each(|body| drop(self.bodies.remove(body))),
                CarrierEffect::Transmit(session, bytes) => self.sent.entry(session).or_default().extend(bytes),
                CarrierEffect::Close(session) => self.closed.push(session),
                CarrierEffect::Respond(_, result) => self.answers.push(result),
                CarrierEffect::Publish(_) => {}
            }
        }
        let behind = if self.lazy { Vec::new() } else { self.carrier.behind() };
        behind.into_iter().for_each(|session| self.input(CarrierInput::CaughtUp(session)));
    }

    pub(super) fn commit(&mut self, op: OpId, transaction: HeldTransaction) {
        if let Some(fault) = self.faults.pop_front() {
            return self.input(CarrierInput::Committed(op, Err(fault)));
        }
        let first = self.log.last().unwrap().0 + 1;
        self.bodies.extend(transaction.bodies.into_iter().map(|body| (body.id, body.bytes)));
        self.log.extend((first..).zip(transaction.records.iter().cloned()));
        self.input(CarrierInput::Committed(op, Ok(first)));
        assert_eq!(replay(&self.log).checkpoint(), self.carrier.held().checkpoint());
        self.check();
    }

    /// Carries out the commits that were held back.
    pub(super) fn catch_up(&mut self) {
        for (op, transaction) in self.slow.take().into_iter().flatten() {
            self.commit(op, transaction);
        }
    }

    /// Checks what must hold at any time.
    pub(super) fn check(&self) {
        for mailbox in self.carrier.held().mailboxes().values() {
            assert!(mailbox.stored() + mailbox.outstanding() <= mailbox.terms().quota, "a quota is exceeded");
        }
        let named: Vec<_> = self.carrier.held().bodies().collect();
        assert!(named.iter().all(|body| self.bodies.contains_key(body)), "a body is missing");
        assert_eq!(named.len(), self.bodies.len(), "a body is left over");
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now.plus(time);
        while let Some(due) = self.carrier.poll_timeout().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            let effects = self.carrier.handle_timeout(self.now, &mut self.rng);
            self.perform(effects);
        }
        self.now = end;
    }

    pub(super) fn connect(&mut self) -> SessionId {
        let session = SessionId(self.sessions);
        self.sessions += 1;
        self.input(CarrierInput::Accepted(session));
        let greeting = self.said(session);
        assert_eq!(greeting, "HOWDY RUNE/1 MAX=16777216 CAP=BOX\n");
        session
    }

    /// What was sent on a session since this was last asked, as text.
    pub(super) fn said(&mut self, session: SessionId) -> String {
        String::from_utf8_lossy(&self.sent.remove(&session).unwrap_or_default()).into_owned()
    }

    pub(super) fn write(&mut self, session: SessionId, bytes: &[u8]) {
        self.input(CarrierInput::Received(session, bytes.to_vec()));
    }

    /// Sends a command with its block, and gives the replies with their blocks.
    pub(super) fn ask(&mut self, session: SessionId, command: &BoxCommand, block: &[u8]) -> Vec<(Reply, Vec<Vec<u8>>)> {
        self.write(session, &[command.encode(None).as_bytes(), block].concat());
        self.replies(session)
    }

    pub(super) fn replies(&mut self, session: SessionId) -> Vec<(Reply, Vec<Vec<u8>>)> {
        let mut decoder = Decoder::new(Side::Replies);
        decoder.push(&self.sent.remove(&session).unwrap_or_default());
        let mut replies = Vec::new();
        while let Some(item) = decoder.next_item().unwrap() {
            match item {
                Item::Line(words) => match ServerLine::decode(words) {
                    Ok(ServerLine::Reply(reply)) => replies.push((reply, Vec::new())),
                    other => panic!("{other:?}"),
                },
                Item::Blocks(blocks) => replies.last_mut().unwrap().1 = blocks,
                Item::Skipped => panic!("nothing is skipped"),
            }
            if decoder.announced().is_some() {
                decoder.take_blocks(u64::MAX).unwrap();
            }
        }
        replies
    }

    pub(super) fn code(&mut self, session: SessionId, command: &BoxCommand, block: &[u8]) -> u16 {
        self.ask(session, command, block).first().map_or(0, |(reply, _)| reply.code.number())
    }

    pub(super) fn invite(&mut self, secret: [u8; 16], terms: Terms) {
        let expires = self.now.plus(Duration::from_secs(7 * 24 * 3600));
        let invite = CarrierRequest::Invite { secrets: vec![secret], terms, expires };
        self.input(CarrierInput::Request(RequestId(0), invite));
        assert_eq!(self.answers.pop(), Some(Ok(())));
    }

    /// The challenge that a registration gets, or the code of its refusal.
    pub(super) fn challenge(
        &mut self,
        session: SessionId,
        who: u8,
        secret: Option<[u8; 16]>,
    ) -> Result<RegistrationProof, u16> {
        let certificate = certificate(who);
        let register = Registration { address: None, invitation: secret, certificate: certificate.len() as u64 };
        let (reply, blocks) = self.ask(session, &BoxCommand::Register(register), &certificate).remove(0);
        let Ok(challenge) = Challenge::from_words(&reply.words) else { return Err(reply.code.number()) };
        assert_eq!(reply.code.number(), 215);
        assert_eq!(challenge.server, CertificateRef::Block(self::certificate(CARRIER).len() as u64));
        assert_eq!(blocks[1], self::certificate(CARRIER));
        let content = Content::decode(unsealed(&blocks[0], CARRIER, who).unwrap()).unwrap();
        assert_eq!(content.kind, ContentKind::Challenge);
        Ok(RegistrationProof::from_text(&content.payload).unwrap())
    }

    /// Answers a challenge.
    pub(super) fn accept(&mut self, session: SessionId, who: u8, proof: &RegistrationProof) -> u16 {
        let content = Content {
            kind: ContentKind::ChallengeAnswer,
            id: ContentId::from_bytes([1; 16]),
            expires: self.now.plus(Duration::from_secs(60)),
            receipt: None,
            payload: proof.text().into_bytes(),
        };
        let answer = sealed(who, CARRIER, &content.encode());
        self.code(session, &BoxCommand::ChallengeAccepted { answer: answer.len() as u64 }, &answer)
    }

    pub(super) fn register(&mut self, who: u8, secret: [u8; 16]) -> Result<u16, u16> {
        let session = self.connect();
        let proof = self.challenge(session, who, Some(secret))?;
        assert_eq!(proof.key, fingerprint(who));
        Ok(self.accept(session, who, &proof))
    }

    /// A session that shows the key of a box, or the code of its refusal.
    pub(super) fn identify(&mut self, name: u8, by: u8, command: Option<&str>) -> Result<SessionId, u16> {
        let session = self.connect();
        self.identify_in(session, name, by, command).map(|()| session)
    }

    pub(super) fn identify_in(
        &mut self,
        session: SessionId,
        name: u8,
        by: u8,
        command: Option<&str>,
    ) -> Result<(), u16> {
        let (mailbox, purpose) = (fingerprint(name).to_string(), "collect".to_owned());
        let (reply, _) = self.ask(session, &BoxCommand::Identify { mailbox, purpose: purpose.clone() }, b"").remove(0);
        assert_eq!(reply.code.number(), 216);
        let challenge = IdentificationChallenge::from_words(&reply.words).unwrap();
        let proof = IdentificationProof {
            server: profile("box", CARRIER, start()).public.onion(),
            key: fingerprint(name),
            server_nonce: challenge.nonce,
            client_nonce: [6; 32],
            purpose,
            command: command.map(str::to_owned),
        };
        let signature = signature(by, &proof.text());
        let respond = BoxCommand::Respond { nonce: [6; 32], command: proof.command, signature: signature.len() as u64 };
        match self.code(session, &respond, &signature) {
            211 => Ok(()),
            code => Err(code),
        }
    }

    pub(super) fn upload(&mut self, session: SessionId, day: Epoch, class: Class, tokens: &[Token]) -> u16 {
        let mut hashes: Vec<_> = tokens.iter().map(hash_of).collect();
        hashes.sort_unstable();
        let block = hashes.concat();
        let command = BoxCommand::Tokens { epoch: day, class: class.number(), size: block.len() as u64 };
        self.code(session, &command, &block)
    }

    /// Leaves an object in a session of its own: the codes of both answers.
    pub(super) fn deposit(&mut self, token: Token, object: &[u8]) -> (u16, u16) {
        let session = self.connect();
        let command = BoxCommand::Deposit { token, claim: Claim::of(object) };
        let asked = self.code(session, &command, b"");
        self.write(session, &[format!("MESSAGE - #{}\n", object.len()).as_bytes(), object].concat());
        let stored = self.replies(session).first().map_or(0, |(reply, _)| reply.code.number());
        (asked, stored)
    }

    pub(super) fn count(&mut self, session: SessionId) -> (u64, u64) {
        let check = BoxCommand::Check { mailbox: fingerprint(BOX).to_string(), recursive: false };
        let (reply, _) = self.ask(session, &check, b"").remove(0);
        assert_eq!(reply.code.number(), 240);
        let count = Count::from_words(&reply.words).unwrap();
        (count.unread, count.total)
    }

    pub(super) fn list(&mut self, session: SessionId, selection: Selection) -> Vec<Entry> {
        let list = BoxCommand::List { mailbox: fingerprint(BOX).to_string(), selection, json: false };
        let mut replies = self.ask(session, &list, b"");
        let (end, _) = replies.pop().unwrap();
        assert_eq!((end.code.number(), end.more), (242, false));
        assert_eq!(end.words[0].as_text().unwrap(), replies.len().to_string());
        assert!(replies.iter().all(|(reply, _)| reply.code.number() == 241 && reply.more));
        replies.iter().map(|(reply, _)| Entry::from_words(&reply.words).unwrap()).collect()
    }

    pub(super) fn retrieve(
        &mut self,
        session: SessionId,
        object: ObjectId,
        part: Part,
        style: Style,
    ) -> (Reply, Vec<Vec<u8>>) {
        let mailbox = fingerprint(BOX).to_string();
        self.ask(session, &BoxCommand::Retrieve { mailbox, object, part, style }, b"").remove(0)
    }

    pub(super) fn delete(&mut self, session: SessionId, objects: Vec<ObjectId>) -> u16 {
        self.code(session, &BoxCommand::Delete { mailbox: fingerprint(BOX).to_string(), objects }, b"")
    }
}

pub(super) fn replay(log: &[(u64, HeldRecord)]) -> Held {
    let mut held = Held::default();
    for (number, record) in log {
        held.apply(*number, &HeldRecord::decode(&record.encode().unwrap()).unwrap().unwrap());
    }
    held
}

pub(super) fn tokens(seed: u8, day: Epoch, class: Class, count: u32) -> Vec<Token> {
    (0..count).map(|number| token(&TokenSeed::from_bytes([seed; 32]), day, class, number)).collect()
}

pub(super) fn today() -> Epoch {
    epoch(start())
}

pub(super) fn small() -> Class {
    Class::of(SMALL).unwrap()
}

/// A carrier with a box, whose tokens of today were uploaded.
pub(super) fn with_box() -> (Bench, Vec<Token>) {
    let mut bench = Bench::new();
    bench.invite(SECRET, TERMS);
    assert_eq!(bench.register(BOX, SECRET), Ok(210));
    let session = bench.identify(BOX, BOX, None).unwrap();
    let tokens = tokens(1, today(), small(), 8);
    assert_eq!(bench.upload(session, today(), small(), &tokens), 220);
    (bench, tokens)
}
