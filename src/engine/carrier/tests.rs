//! Stories of a carrier as its clients see them on the wire, with a stand-in for OpenPGP that keeps its promises, a log that
//! is a vector and faults that the test switches on; and properties of what is held.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::super::effect::{CommitError, Refusal};
use super::super::harness::profile;
use super::super::request::RequestId;
use super::effect::Detached;
use super::*;
use crate::base::ids::Fingerprint;
use crate::base::rng::SeededRng;
use crate::base::{BodyId, ContentId, ObjectId, OpId, SessionId, Timestamp, TokenSeed};
use crate::mail::proof::{IdentificationProof, RegistrationProof};
use crate::mail::{Content, ContentKind};
use crate::wire::mailbox::{
    BoxCommand, Challenge, Count, Entry, IdentificationChallenge, Part, Piece, Policy, Registration, Said, Selection,
    Style,
};
use crate::wire::token::{Class, Epoch, Token, begin_of, epoch, hash_of, token};
use crate::wire::{CertificateRef, Claim, Decoder, Item, Reply, ServerLine, Side, digest};

const CARRIER: u8 = 1;
const DROP: u8 = 2;
const OTHER: u8 = 3;
const MALLORY: u8 = 4;
const SECRET: [u8; 16] = [5; 16];
const SMALL: u64 = 4096;

fn start() -> Timestamp {
    begin_of(20_800).plus(Duration::from_secs(3600))
}

fn fingerprint(of: u8) -> Fingerprint {
    Fingerprint::from_bytes([of; 32])
}

/// What the harness makes of a number: its certificate is its name.
fn certificate(of: u8) -> Vec<u8> {
    profile("box", of, start()).public.certificate.to_vec()
}

/// A content that one key signed for another.
fn sealed(from: u8, to: u8, content: &[u8]) -> Vec<u8> {
    let mut object = [b"sealed", [from, to].as_slice(), content].concat();
    object.resize(SMALL as usize, 0);
    object
}

fn unsealed(object: &[u8], from: u8, to: u8) -> Result<Vec<u8>, Refusal> {
    let rest = object.strip_prefix(b"sealed").and_then(|rest| rest.strip_prefix(&[from, to]));
    let rest = rest.ok_or(Refusal::Permanent)?;
    let end = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    Ok(rest[..end].to_vec())
}

fn signature(by: u8, text: &str) -> Vec<u8> {
    digest(&[&[by], text.as_bytes()].concat()).to_vec()
}

fn object(filling: u8, size: u64) -> Vec<u8> {
    vec![filling; size as usize]
}

/// A carrier with its log, and whoever is connected.
struct Bench {
    carrier: Carrier,
    now: Timestamp,
    rng: SeededRng,
    log: Vec<(u64, HeldRecord)>,
    bodies: BTreeMap<BodyId, Arc<[u8]>>,
    /// How the next commits end.
    faults: VecDeque<CommitError>,
    /// Commits are held back here while it is `Some`.
    slow: Option<Vec<(OpId, HeldTransaction)>>,
    /// Peers take nothing.
    lazy: bool,
    sent: BTreeMap<SessionId, Vec<u8>>,
    closed: Vec<SessionId>,
    answers: Vec<Result<(), CarrierRequestError>>,
    sessions: u64,
}

const TERMS: Terms = Terms { quota: 64 * SMALL, hold_days: 3 };

impl Bench {
    fn new() -> Self {
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

    fn limit(&mut self, limits: CarrierLimits) {
        self.input(CarrierInput::Request(RequestId(0), CarrierRequest::Limit(limits)));
        assert_eq!(self.carrier.status().limits, limits);
    }

    fn set_policy(&mut self, policy: Policy) {
        self.input(CarrierInput::Request(RequestId(0), CarrierRequest::Identification(policy)));
        assert_eq!(self.carrier.status().policy, policy);
    }

    fn input(&mut self, input: CarrierInput) {
        let effects = self.carrier.handle(self.now, &mut self.rng, input);
        self.perform(effects);
    }

    fn perform(&mut self, effects: Vec<CarrierEffect>) {
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

    fn commit(&mut self, op: OpId, transaction: HeldTransaction) {
        if let Some(fault) = self.faults.pop_front() {
            return self.input(CarrierInput::Committed(op, Err(fault)));
        }
        let first = self.log.last().unwrap().0 + 1;
        self.bodies.extend(transaction.bodies.into_iter().map(|body| (body.id, body.bytes)));
        self.log.extend((first..).zip(transaction.records));
        self.input(CarrierInput::Committed(op, Ok(first)));
        assert_eq!(replay(&self.log).checkpoint(), self.carrier.held().checkpoint());
        self.check();
    }

    /// Lets the commits that were held back happen.
    fn catch_up(&mut self) {
        for (op, transaction) in self.slow.take().into_iter().flatten() {
            self.commit(op, transaction);
        }
    }

    /// What holds at any time.
    fn check(&self) {
        for mailbox in self.carrier.held().mailboxes().values() {
            assert!(mailbox.stored() + mailbox.outstanding() <= mailbox.terms().quota, "a quota is exceeded");
        }
        let named: Vec<_> = self.carrier.held().bodies().collect();
        assert!(named.iter().all(|body| self.bodies.contains_key(body)), "a body is missing");
        assert_eq!(named.len(), self.bodies.len(), "a body is left over");
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now.plus(time);
        while let Some(due) = self.carrier.poll_timeout().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            let effects = self.carrier.handle_timeout(self.now, &mut self.rng);
            self.perform(effects);
        }
        self.now = end;
    }

    fn connect(&mut self) -> SessionId {
        let session = SessionId(self.sessions);
        self.sessions += 1;
        self.input(CarrierInput::Accepted(session));
        let greeting = self.said(session);
        assert_eq!(greeting, "HOWDY RUNE/1 MAX=16777216 CAP=BOX\n");
        session
    }

    /// What was sent on a session since this was last asked, as text.
    fn said(&mut self, session: SessionId) -> String {
        String::from_utf8_lossy(&self.sent.remove(&session).unwrap_or_default()).into_owned()
    }

    fn write(&mut self, session: SessionId, bytes: &[u8]) {
        self.input(CarrierInput::Received(session, bytes.to_vec()));
    }

    /// Sends a command with its block, and gives the replies with their blocks.
    fn ask(&mut self, session: SessionId, command: &BoxCommand, block: &[u8]) -> Vec<(Reply, Vec<Vec<u8>>)> {
        self.write(session, &[command.encode(None).as_bytes(), block].concat());
        self.replies(session)
    }

    fn replies(&mut self, session: SessionId) -> Vec<(Reply, Vec<Vec<u8>>)> {
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

    fn code(&mut self, session: SessionId, command: &BoxCommand, block: &[u8]) -> u16 {
        self.ask(session, command, block).first().map_or(0, |(reply, _)| reply.code.number())
    }

    fn invite(&mut self, secret: [u8; 16], terms: Terms) {
        let expires = self.now.plus(Duration::from_secs(7 * 24 * 3600));
        self.input(CarrierInput::Request(RequestId(0), CarrierRequest::Invite { secret, terms, expires }));
        assert_eq!(self.answers.pop(), Some(Ok(())));
    }

    /// The challenge that a registration gets, or the code of its refusal.
    fn challenge(&mut self, session: SessionId, who: u8, secret: Option<[u8; 16]>) -> Result<RegistrationProof, u16> {
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
    fn accept(&mut self, session: SessionId, who: u8, proof: &RegistrationProof) -> u16 {
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

    fn register(&mut self, who: u8, secret: [u8; 16]) -> Result<u16, u16> {
        let session = self.connect();
        let proof = self.challenge(session, who, Some(secret))?;
        assert_eq!(proof.key, fingerprint(who));
        Ok(self.accept(session, who, &proof))
    }

    /// A session that shows the key of a mailbox, or the code of its refusal.
    fn identify(&mut self, name: u8, by: u8, command: Option<&str>) -> Result<SessionId, u16> {
        let session = self.connect();
        self.identify_in(session, name, by, command).map(|()| session)
    }

    fn identify_in(&mut self, session: SessionId, name: u8, by: u8, command: Option<&str>) -> Result<(), u16> {
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

    fn upload(&mut self, session: SessionId, day: Epoch, class: Class, tokens: &[Token]) -> u16 {
        let mut hashes: Vec<_> = tokens.iter().map(hash_of).collect();
        hashes.sort_unstable();
        let block = hashes.concat();
        let command = BoxCommand::Tokens { epoch: day, class: class.number(), size: block.len() as u64 };
        self.code(session, &command, &block)
    }

    /// Leaves an object on a session of its own: the codes of both answers.
    fn deposit(&mut self, token: Token, object: &[u8]) -> (u16, u16) {
        let session = self.connect();
        let command = BoxCommand::Deposit { token, claim: Claim::of(object) };
        let asked = self.code(session, &command, b"");
        self.write(session, &[format!("MESSAGE - #{}\n", object.len()).as_bytes(), object].concat());
        let stored = self.replies(session).first().map_or(0, |(reply, _)| reply.code.number());
        (asked, stored)
    }

    fn count(&mut self, session: SessionId) -> (u64, u64) {
        let check = BoxCommand::Check { mailbox: fingerprint(DROP).to_string(), recursive: false };
        let (reply, _) = self.ask(session, &check, b"").remove(0);
        assert_eq!(reply.code.number(), 240);
        let count = Count::from_words(&reply.words).unwrap();
        (count.unread, count.total)
    }

    fn list(&mut self, session: SessionId, selection: Selection) -> Vec<Entry> {
        let list = BoxCommand::List { mailbox: fingerprint(DROP).to_string(), selection, json: false };
        let mut replies = self.ask(session, &list, b"");
        let (end, _) = replies.pop().unwrap();
        assert_eq!((end.code.number(), end.more), (242, false));
        assert_eq!(end.words[0].as_text().unwrap(), replies.len().to_string());
        assert!(replies.iter().all(|(reply, _)| reply.code.number() == 241 && reply.more));
        replies.iter().map(|(reply, _)| Entry::from_words(&reply.words).unwrap()).collect()
    }

    fn retrieve(&mut self, session: SessionId, object: ObjectId, part: Part, style: Style) -> (Reply, Vec<Vec<u8>>) {
        let mailbox = fingerprint(DROP).to_string();
        self.ask(session, &BoxCommand::Retrieve { mailbox, object, part, style }, b"").remove(0)
    }

    fn delete(&mut self, session: SessionId, objects: Vec<ObjectId>) -> u16 {
        self.code(session, &BoxCommand::Delete { mailbox: fingerprint(DROP).to_string(), objects }, b"")
    }
}

fn replay(log: &[(u64, HeldRecord)]) -> Held {
    let mut held = Held::default();
    for (number, record) in log {
        held.apply(*number, &HeldRecord::decode(&record.encode().unwrap()).unwrap().unwrap());
    }
    held
}

fn tokens(seed: u8, day: Epoch, class: Class, count: u32) -> Vec<Token> {
    (0..count).map(|number| token(&TokenSeed::from_bytes([seed; 32]), day, class, number)).collect()
}

fn today() -> Epoch {
    epoch(start())
}

fn small() -> Class {
    Class::of(SMALL).unwrap()
}

/// A carrier with the mailbox of a drop, whose tokens of today were uploaded.
fn with_drop() -> (Bench, Vec<Token>) {
    let mut bench = Bench::new();
    bench.invite(SECRET, TERMS);
    assert_eq!(bench.register(DROP, SECRET), Ok(210));
    let session = bench.identify(DROP, DROP, None).unwrap();
    let tokens = tokens(1, today(), small(), 8);
    assert_eq!(bench.upload(session, today(), small(), &tokens), 220);
    (bench, tokens)
}

#[test]
fn an_invitation_makes_one_mailbox_and_registering_again_is_harmless() {
    let mut bench = Bench::new();
    assert_eq!(bench.register(DROP, SECRET), Err(417));
    bench.invite(SECRET, TERMS);
    assert_eq!(bench.register(DROP, SECRET), Ok(210));
    assert_eq!(bench.register(OTHER, SECRET), Err(417));
    assert_eq!(bench.register(DROP, SECRET), Ok(210));
    assert_eq!(bench.carrier.held().mailboxes().len(), 1);
    bench.invite([6; 16], TERMS);
    bench.pass(Duration::from_secs(8 * 24 * 3600));
    assert_eq!(bench.register(OTHER, [6; 16]), Err(417), "it is forgotten");
    bench.invite([7; 16], TERMS);
    bench.now = begin_of(epoch(bench.now) + 7).plus(Duration::from_secs(23 * 3600));
    assert_eq!(bench.register(OTHER, [7; 16]), Err(418));
    let session = bench.connect();
    assert_eq!(bench.challenge(session, OTHER, None), Err(405));
    // Of an invitation that is none nothing else is looked at.
    let register = Registration { address: None, invitation: Some([9; 16]), certificate: 1 };
    assert_eq!(bench.code(session, &BoxCommand::Register(register), b"x"), 417);
}

#[test]
fn of_two_who_answer_with_one_invitation_one_gets_a_mailbox() {
    let mut bench = Bench::new();
    bench.invite(SECRET, TERMS);
    let (one, other) = (bench.connect(), bench.connect());
    let first = bench.challenge(one, DROP, Some(SECRET)).unwrap();
    let second = bench.challenge(other, OTHER, Some(SECRET)).unwrap();
    assert_eq!(bench.accept(other, OTHER, &second), 210);
    assert_eq!(bench.accept(one, DROP, &first), 417);
    assert!(bench.closed.contains(&one));
    assert_eq!(bench.carrier.held().mailboxes().keys().collect::<Vec<_>>(), [&fingerprint(OTHER)]);
}

#[test]
fn only_the_owner_of_the_key_meets_the_challenge() {
    let mut bench = Bench::new();
    bench.invite(SECRET, TERMS);
    for wrong in 0..4 {
        let session = bench.connect();
        let mut proof = bench.challenge(session, DROP, Some(SECRET)).unwrap();
        let by = if wrong == 0 { MALLORY } else { DROP };
        match wrong {
            1 => proof.nonce = [0; 32],
            2 => proof.key = fingerprint(OTHER),
            3 => bench.now = bench.now.plus(Duration::from_secs(601)),
            _ => {}
        }
        assert_eq!(bench.accept(session, by, &proof), 410, "{wrong}");
        assert!(bench.closed.contains(&session));
    }
    let session = bench.connect();
    let proof = RegistrationProof {
        server: profile("box", CARRIER, start()).public.onion(),
        key: fingerprint(DROP),
        nonce: [0; 32],
    };
    assert_eq!(bench.accept(session, DROP, &proof), 410);
    assert!(bench.carrier.held().mailboxes().is_empty());
}

#[test]
fn anybody_may_register_where_the_owner_allows_it() {
    let mut bench = Bench::new();
    bench.limit(CarrierLimits { usual: TERMS, free: true, ..CarrierLimits::default() });
    let session = bench.connect();
    let proof = bench.challenge(session, DROP, None).unwrap();
    assert_eq!(bench.accept(session, DROP, &proof), 210);
    assert_eq!(bench.carrier.held().mailboxes()[&fingerprint(DROP)].terms(), TERMS);
    let register = Registration { address: Some("bob@x".to_owned()), invitation: None, certificate: 1 };
    assert_eq!(bench.code(session, &BoxCommand::Register(register), b"x"), 704);
}

#[test]
fn a_mailbox_opens_to_its_key_only_and_an_unknown_name_is_asked_for_a_signature_too() {
    let (mut bench, _) = with_drop();
    assert_eq!(bench.identify(DROP, MALLORY, None).unwrap_err(), 411);
    assert_eq!(bench.identify(OTHER, OTHER, None).unwrap_err(), 411);
    // Our own key stands for one that is not there, and opens nothing.
    assert_eq!(bench.identify(OTHER, CARRIER, None).unwrap_err(), 411);
    assert_eq!(bench.identify(DROP, DROP, Some("CHECK x")).unwrap_err(), 411);
    let check = BoxCommand::Check { mailbox: fingerprint(DROP).to_string(), recursive: false };
    let session = bench.connect();
    assert_eq!(bench.code(session, &check, b""), 411);
    assert!(bench.closed.contains(&session));
    let session = bench.connect();
    let respond = BoxCommand::Respond { nonce: [6; 32], command: None, signature: 3 };
    assert_eq!(bench.code(session, &respond, b"abc"), 411);
}

#[test]
fn an_identification_counts_as_long_as_the_policy_says() {
    let (mut bench, _) = with_drop();
    bench.set_policy(Policy::TimeOut(60));
    let session = bench.identify(DROP, DROP, None).unwrap();
    assert_eq!(bench.count(session), (0, 0));
    bench.now = bench.now.plus(Duration::from_secs(61));
    assert_eq!(bench.delete(session, vec![ObjectId::from_bytes([0; 16])]), 411);

    let session = bench.identify(DROP, DROP, None).unwrap();
    let hour = Duration::from_secs(3600);
    bench.now = bench.now.plus(hour);
    bench.input(CarrierInput::ClockSet(crate::base::ClockStep::Forward(hour)));
    assert_eq!(bench.count(session), (0, 0), "a clock that was set ends nothing early");

    bench.set_policy(Policy::Command);
    let check = format!("CHECK {}", fingerprint(DROP));
    let session = bench.identify(DROP, DROP, Some(&check)).unwrap();
    assert_eq!(bench.count(session), (0, 0));
    assert!(bench.carrier.sessions[&session].is_identified(), "it is an owner's, whatever it may do");
    assert_eq!(bench.delete(session, vec![ObjectId::from_bytes([0; 16])]), 411);
    let session = bench.identify(DROP, DROP, Some(&check)).unwrap();
    assert_eq!(bench.delete(session, vec![ObjectId::from_bytes([0; 16])]), 411);
    assert_eq!(bench.identify(DROP, DROP, None).unwrap_err(), 411);
}

#[test]
fn what_is_left_is_collected_and_deleted() {
    let (mut bench, tokens) = with_drop();
    let left: Vec<_> = (0..3).map(|n| object(b'a' + n, SMALL)).collect();
    for (token, object) in tokens.iter().zip(&left) {
        assert_eq!(bench.deposit(*token, object), (201, 202));
    }
    let session = bench.identify(DROP, DROP, None).unwrap();
    assert_eq!(bench.count(session), (3, 3));
    let entries = bench.list(session, Selection::default());
    assert_eq!(entries.len(), 3);
    assert!(entries.iter().all(|entry| entry.size == SMALL && entry.day == today() && !entry.read));
    let mut collected = Vec::new();
    for entry in &entries {
        let (reply, blocks) = bench.retrieve(session, entry.object, Part::Whole, Style::default());
        assert_eq!(reply.code.number(), 251);
        collected.push(blocks[0].clone());
    }
    collected.sort();
    assert_eq!(collected, left);
    assert_eq!(bench.count(session), (0, 3));
    let after = Some(entries[0].object);
    assert_eq!(
        bench.list(session, Selection { after, limit: Some(1), ..Selection::default() }),
        [Entry { read: true, ..entries[1] }]
    );
    assert!(bench.list(session, Selection { read: Some(false), ..Selection::default() }).is_empty());
    assert!(bench.list(session, Selection { since: Some(today() + 1), ..Selection::default() }).is_empty());
    assert_eq!(bench.delete(session, vec![entries[0].object, entries[1].object]), 253);
    assert_eq!(bench.delete(session, vec![entries[0].object]), 703);
    assert_eq!(bench.count(session), (0, 1));
    assert_eq!(bench.retrieve(session, entries[0].object, Part::Whole, Style::default()).0.code.number(), 703);
}

#[test]
fn a_large_object_is_fetched_in_parts_and_as_json() {
    let mut bench = Bench::new();
    let class = Class::of(4 << 20).unwrap();
    bench.invite(SECRET, Terms { quota: 8 << 20, ..TERMS });
    assert_eq!(bench.register(DROP, SECRET), Ok(210));
    let session = bench.identify(DROP, DROP, None).unwrap();
    let tokens = tokens(1, today(), class, 1);
    assert_eq!(bench.upload(session, today(), class, &tokens), 220);
    let mut left = object(b'x', class.bytes());
    left[3_000_000] = b'y';
    assert_eq!(bench.deposit(tokens[0], &left), (201, 202));
    let id = bench.list(session, Selection::default())[0].object;
    let (mut got, mut part) = (Vec::new(), Part::Whole);
    while (got.len() as u64) < class.bytes() {
        assert_eq!(bench.count(session), (1, 1));
        let (reply, blocks) = bench.retrieve(session, id, part, Style::default());
        assert_eq!(reply.code.number(), 252);
        let piece = Piece::from_words(&reply.words).unwrap();
        assert_eq!(piece, Piece { offset: got.len() as u64, size: blocks[0].len() as u64 });
        got.extend_from_slice(&blocks[0]);
        part = Part::Range { offset: got.len() as u64, length: None };
    }
    assert_eq!(got, left);
    assert_eq!(bench.count(session), (0, 1));
    let (offset, length) = (3_000_000, Some(3));
    let style = Style { json: true, pretty: true, keep_unread: true };
    let (reply, blocks) = bench.retrieve(session, id, Part::Range { offset, length }, style);
    assert_eq!(reply.code.number(), 250);
    let json: serde_json::Value = serde_json::from_slice(&blocks[0]).unwrap();
    assert_eq!(
        (json["offset"].as_u64(), json["object"].as_str(), json["schema"].as_u64()),
        (Some(offset), Some("eXh4"), Some(1))
    );
    let range = Part::Range { offset: class.bytes(), length: None };
    assert_eq!(bench.retrieve(session, id, range, style).0.code.number(), 702);
}

#[test]
fn a_token_admits_one_object_once_and_nothing_says_why_it_admits_no_more() {
    let (mut bench, tokens) = with_drop();
    let (first, second) = (object(b'1', SMALL), object(b'2', SMALL));
    assert_eq!(bench.deposit(tokens[0], &first), (201, 202));
    // The answer was lost: the same again is there already.
    assert_eq!(bench.deposit(tokens[0], &first), (201, 202));
    assert_eq!(bench.carrier.held().mailboxes()[&fingerprint(DROP)].objects().len(), 1);
    let tomorrow = self::tokens(1, today() + 1, small(), 1);
    let refusals =
        [(tokens[0], &second), ([9; 32], &second), (tomorrow[0], &second), (tokens[1], &object(b'3', 4 * SMALL))];
    for (token, object) in refusals {
        let session = bench.connect();
        bench.write(session, BoxCommand::Deposit { token, claim: Claim::of(object) }.encode(None).as_bytes());
        assert_eq!(bench.said(session), "420 NOT AVAILABLE\n");
    }
    // Also after its owner has collected and deleted it.
    let session = bench.identify(DROP, DROP, None).unwrap();
    let entries = bench.list(session, Selection::default());
    assert_eq!(bench.delete(session, vec![entries[0].object]), 253);
    assert_eq!(bench.deposit(tokens[0], &first), (201, 202));
    assert_eq!(bench.count(session), (0, 0));
    assert_eq!(bench.deposit(tokens[0], &second).0, 420);
}

#[test]
fn a_token_that_another_box_has_stays_there() {
    let (mut bench, tokens) = with_drop();
    bench.invite([6; 16], TERMS);
    assert_eq!(bench.register(MALLORY, [6; 16]), Ok(210));
    let session = bench.identify(MALLORY, MALLORY, None).unwrap();
    assert_eq!(bench.upload(session, today(), small(), &tokens), 220);
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)), (201, 202));
    let objects = |bench: &Bench, of| bench.carrier.held().mailboxes()[&fingerprint(of)].objects().len();
    assert_eq!((objects(&bench, DROP), objects(&bench, MALLORY)), (1, 0));
    bench.input(CarrierInput::Request(RequestId(1), CarrierRequest::Remove(fingerprint(DROP))));
    assert_eq!(bench.deposit(tokens[1], &object(b'1', SMALL)).0, 420);
}

#[test]
fn a_session_goes_no_further_while_its_peer_takes_nothing() {
    let (mut bench, tokens) = with_drop();
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)), (201, 202));
    let session = bench.identify(DROP, DROP, None).unwrap();
    let entry = bench.list(session, Selection::default())[0];
    let (mailbox, style) = (fingerprint(DROP).to_string(), Style { keep_unread: true, ..Style::default() });
    let asked = BoxCommand::Retrieve { mailbox, object: entry.object, part: Part::Whole, style }.encode(None);
    bench.lazy = true;
    bench.write(session, asked.repeat(400).as_bytes());
    let sent = bench.sent[&session].len();
    let most = crate::base::limits::OUTPUT_WAITING + 5 * SMALL as usize;
    assert!(sent < most && bench.carrier.is_blocked(session), "{sent}");
    bench.pass(Duration::from_secs(10 * 60));
    assert!(!bench.closed.contains(&session), "that is its driver's business");
    // What a peer takes is followed by more, up to the last.
    bench.lazy = false;
    bench.input(CarrierInput::CaughtUp(session));
    assert_eq!(bench.replies(session).len(), 400);
}

#[test]
fn neither_owners_nor_who_brings_something_keep_the_others_out() {
    let (mut bench, tokens) = with_drop();
    let brought = |bench: &mut Bench| {
        let session = bench.connect();
        let command = BoxCommand::Deposit { token: tokens[0], claim: Claim::of(&object(b'1', SMALL)) };
        assert_eq!(bench.code(session, &command, b""), 201);
        session
    };
    let slow = brought(&mut bench);
    // Who has shown nothing makes room for anybody, and nobody else does for them.
    for _ in 0..100 {
        bench.connect();
    }
    assert!(!bench.closed.contains(&slow));
    // Owners who watch make room as soon as there are too many of them.
    let mut watching = Vec::new();
    for who in 10..28 {
        bench.invite([who; 16], TERMS);
        assert_eq!(bench.register(who, [who; 16]), Ok(210));
        watching.extend((0..4).map(|_| bench.identify(who, who, None).unwrap()));
    }
    let ended = watching.iter().filter(|session| bench.closed.contains(session)).count();
    assert!((1..=24).contains(&ended) && !bench.closed.contains(&slow), "{ended} gave way");
    brought(&mut bench);
    // And who brings something, slowly, makes room for owners.
    for _ in 0..64 {
        brought(&mut bench);
    }
    bench.identify(DROP, DROP, None).unwrap();
}

#[test]
fn a_page_is_given_to_who_has_its_token_and_lets_one_answer_in() {
    let (mut bench, tokens) = with_drop();
    let (page, other) = (vec![7; 4096], vec![8; 4096]);
    let (token, last) = ([3; 32], today() + 2);
    let keep = |bench: &mut Bench, session, page: &[u8], name: [u8; 32], until| {
        bench.code(session, &BoxCommand::Page { name, until, size: page.len() as u64 }, page)
    };
    let fetch = |bench: &mut Bench, token| {
        let session = bench.connect();
        let (reply, blocks) = bench.ask(session, &BoxCommand::Fetch { token }, b"").remove(0);
        (reply.code.number(), blocks.into_iter().next().unwrap_or_default())
    };
    let stranger = bench.connect();
    assert_eq!(keep(&mut bench, stranger, &page, hash_of(&token), last), 411);
    let session = bench.identify(DROP, DROP, None).unwrap();
    assert_eq!(fetch(&mut bench, token).0, 420);
    assert_eq!(bench.deposit(token, &object(b'1', SMALL)).0, 420);
    assert_eq!(keep(&mut bench, session, &page, hash_of(&token), last), 221);
    assert_eq!(fetch(&mut bench, token), (251, page.clone()));
    for (bytes, name, until) in [
        (&page[1..], hash_of(&[4; 32]), last),
        (&page[..], hash_of(&[4; 32]), today() + 34),
        (&page[..], hash_of(&[4; 32]), today() - 3),
        (&page[..], hash_of(&tokens[0]), last),
    ] {
        assert_eq!(keep(&mut bench, session, bytes, name, until), 702);
    }
    // One answer, of the size of a card.
    assert_eq!(bench.deposit(token, &object(b'0', 16 * SMALL)).0, 420);
    assert_eq!(bench.deposit(token, &object(b'1', 4 * SMALL)), (201, 202));
    assert_eq!(bench.deposit(token, &object(b'1', 4 * SMALL)), (201, 202));
    assert_eq!(bench.deposit(token, &object(b'2', SMALL)).0, 420);
    assert_eq!(bench.count(session), (1, 1));
    // Another in its place lets nothing more in.
    assert_eq!(keep(&mut bench, session, &other, hash_of(&token), last), 221);
    assert_eq!(fetch(&mut bench, token), (251, other.clone()));
    assert_eq!(bench.deposit(token, &object(b'2', SMALL)).0, 420);
    // Nobody else has it.
    bench.invite([6; 16], TERMS);
    assert_eq!(bench.register(MALLORY, [6; 16]), Ok(210));
    let mallory = bench.identify(MALLORY, MALLORY, None).unwrap();
    assert_eq!(keep(&mut bench, mallory, &page, hash_of(&token), last), 702);
    // It counts, and what may come for it: 8 of 64 are for tokens, 4 lie there and 1 is this.
    let mut kept = 0;
    while keep(&mut bench, session, &page, hash_of(&[100 + kept; 32]), last) == 221 {
        kept += 1;
    }
    assert_eq!(kept, (64 - 8 - 4 - 1) / 5);
    assert_eq!(fetch(&mut bench, [100; 32]).0, 251);
    bench.pass(Duration::from_secs(3 * 24 * 3600));
    assert_eq!(fetch(&mut bench, token).0, 420, "its last day is over");
    assert_eq!(bench.deposit([100; 32], &object(b'1', SMALL)).0, 420);
    let mailbox = &bench.carrier.held().mailboxes()[&fingerprint(DROP)];
    assert_eq!((mailbox.pages().count(), mailbox.outstanding()), (0, 8 * SMALL));
}

#[test]
fn what_is_no_object_burns_no_token() {
    let (mut bench, tokens) = with_drop();
    assert_eq!(bench.deposit(tokens[0], &object(b'!', SMALL)), (201, 409));
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)), (201, 202));
}

#[test]
fn a_failed_commit_burns_no_token_and_doubles_nothing() {
    let (mut bench, tokens) = with_drop();
    bench.faults.push_back(CommitError::NoSpace);
    // A full disk is nobody's business.
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)), (201, 420));
    bench.faults.push_back(CommitError::Io);
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)), (201, 708));
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)), (201, 202));
    let session = bench.identify(DROP, DROP, None).unwrap();
    assert_eq!(bench.count(session), (1, 1));
}

#[test]
fn two_who_bring_the_same_at_once_are_both_told_and_another_object_is_refused() {
    let (mut bench, tokens) = with_drop();
    let (same, other) = (object(b'1', SMALL), object(b'2', SMALL));
    let sessions: Vec<_> = (0..3).map(|_| bench.connect()).collect();
    let brought = [&same, &same, &other];
    // All are admitted before any comes.
    for (session, object) in sessions.iter().zip(brought) {
        let command = BoxCommand::Deposit { token: tokens[0], claim: Claim::of(object) };
        assert_eq!(bench.code(*session, &command, b""), 201);
    }
    bench.slow = Some(Vec::new());
    for (session, object) in sessions.iter().zip(brought) {
        bench.write(*session, &[format!("MESSAGE - #{SMALL}\n").as_bytes(), object].concat());
    }
    assert_eq!(bench.said(sessions[0]), "");
    bench.catch_up();
    let said: Vec<_> = sessions.iter().map(|session| bench.said(*session)).collect();
    assert_eq!(said, ["202 ROGER\n", "202 ROGER\n", "420 NOT AVAILABLE\n"]);
    assert_eq!(bench.carrier.held().mailboxes()[&fingerprint(DROP)].objects().len(), 1);
}

#[test]
fn tokens_that_would_not_fit_the_quota_are_refused_and_a_set_is_fixed() {
    let (mut bench, first) = with_drop();
    let session = bench.identify(DROP, DROP, None).unwrap();
    let upload = |bench: &mut Bench, day, count| bench.upload(session, day, small(), &tokens(1, day, small(), count));
    // 8 of 64 are outstanding.
    assert_eq!(upload(&mut bench, today() + 1, 64), 452);
    assert_eq!(upload(&mut bench, today() + 1, 32), 220);
    assert_eq!(upload(&mut bench, today() + 1, 32), 220);
    assert_eq!(upload(&mut bench, today() + 1, 16), 702);
    assert_eq!(upload(&mut bench, today() + 2, 32), 452);
    assert_eq!(upload(&mut bench, today() + 2, 16), 220);
    assert_eq!(upload(&mut bench, today() + 3, 3), 702);
    assert_eq!(upload(&mut bench, today() + 31, 1), 702);
    assert_eq!(upload(&mut bench, today() - 15, 1), 702);
    let unordered = [[2; 32], [1; 32]].concat();
    let command = BoxCommand::Tokens { epoch: today() + 3, class: 12, size: 64 };
    assert_eq!(bench.code(session, &command, &unordered), 702);
    assert_eq!(bench.code(session, &BoxCommand::Tokens { epoch: today(), class: 13, size: 32 }, &[1; 32]), 702);
    assert_eq!(bench.code(session, &BoxCommand::Tokens { epoch: today(), class: 12, size: 31 }, &[1; 31]), 702);
    // What is stored counts as what was outstanding did.
    assert_eq!(bench.deposit(first[0], &object(b'1', SMALL)), (201, 202));
    assert_eq!(upload(&mut bench, today() + 4, 16), 452);
    assert_eq!(upload(&mut bench, today() + 4, 8), 220);
}

#[test]
fn the_commands_of_a_session_are_done_one_after_the_other() {
    let (mut bench, tokens) = with_drop();
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)), (201, 202));
    let session = bench.identify(DROP, DROP, None).unwrap();
    let id = bench.list(session, Selection::default())[0].object;
    // The disk is slow, and everything comes in one flight.
    bench.slow = Some(Vec::new());
    let mailbox = fingerprint(DROP).to_string();
    let commands = [
        BoxCommand::Retrieve { mailbox: mailbox.clone(), object: id, part: Part::Whole, style: Style::default() },
        BoxCommand::Check { mailbox: mailbox.clone(), recursive: false },
        BoxCommand::Delete { mailbox: mailbox.clone(), objects: vec![id] },
        BoxCommand::Check { mailbox, recursive: false },
    ];
    let flight: String = commands.iter().map(|command| command.encode(None)).collect();
    bench.write(session, flight.as_bytes());
    assert!(bench.replies(session).is_empty());
    bench.catch_up();
    let counts: Vec<Count> = {
        let replies = bench.replies(session);
        let codes: Vec<_> = replies.iter().map(|(reply, _)| reply.code.number()).collect();
        assert_eq!(codes, [251, 240, 253, 240]);
        let counts = replies.iter().filter(|(reply, _)| reply.code.number() == 240);
        counts.map(|(reply, _)| Count::from_words(&reply.words).unwrap()).collect()
    };
    assert_eq!(counts.iter().map(|count| (count.unread, count.total)).collect::<Vec<_>>(), [(0, 1), (0, 0)]);
}

#[test]
fn settings_hold_for_the_session_or_for_the_mailbox() {
    let (mut bench, tokens) = with_drop();
    let session = bench.identify(DROP, DROP, None).unwrap();
    let set = |bench: &mut Bench, global, name: &str, value: &str| {
        let command = BoxCommand::Set { global, name: name.to_owned(), value: value.to_owned() };
        bench.code(session, &command, b"")
    };
    for (global, name, value) in
        [(false, "JSON", "yes"), (false, "HOLD", "on"), (true, "JSON", "on"), (true, "HOLD", "0"), (true, "HOLD", "4")]
    {
        assert_eq!(set(&mut bench, global, name, value), 702, "{name} {value}");
    }
    assert_eq!(set(&mut bench, true, "HOLD", "1"), 290);
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)), (201, 202));
    let id = bench.list(session, Selection::default())[0].object;
    assert_eq!(set(&mut bench, false, "JSON", "on"), 290);
    assert_eq!(set(&mut bench, false, "READ", "off"), 290);
    let (reply, _) = bench.retrieve(session, id, Part::Whole, Style::default());
    assert_eq!(reply.code.number(), 250);
    assert_eq!(bench.count(session), (1, 1), "it stayed unread");
    let other = bench.identify(DROP, DROP, None).unwrap();
    let (reply, _) = bench.retrieve(other, id, Part::Whole, Style::default());
    assert_eq!(reply.code.number(), 251, "another session has its own");
    // Held for one day after the one on which it came; a restart knows that.
    assert_eq!(replay(&bench.log).mailboxes()[&fingerprint(DROP)].hold_days(), 1);
    bench.pass(Duration::from_secs(2 * 24 * 3600));
    let later = bench.identify(DROP, DROP, None).unwrap();
    assert_eq!(bench.count(later), (0, 0));
    let nobody = bench.connect();
    let command = BoxCommand::Set { global: false, name: "JSON".to_owned(), value: "on".to_owned() };
    assert_eq!(bench.code(nobody, &command, b""), 411);
}

#[test]
fn all_boxes_together_take_no_more_than_there_is_space_for() {
    let (mut bench, first) = with_drop();
    bench.invite([6; 16], TERMS);
    assert_eq!(bench.register(OTHER, [6; 16]), Ok(210));
    let sessions = [DROP, OTHER].map(|who| bench.identify(who, who, None).unwrap());
    let upload = |bench: &mut Bench, at: usize, day, count| {
        bench.upload(sessions[at], day, small(), &tokens(at as u8 + 1, day, small(), count))
    };
    // 8 are outstanding.
    let limits = CarrierLimits { space: 24 * SMALL, ..CarrierLimits::default() };
    bench.limit(limits);
    assert_eq!(upload(&mut bench, 1, today() + 1, 32), 452);
    assert_eq!(upload(&mut bench, 1, today() + 1, 8), 220);
    assert_eq!(upload(&mut bench, 0, today() + 1, 16), 452);
    let page = |name: u8| BoxCommand::Page { name: [name; 32], until: today(), size: SMALL };
    assert_eq!(bench.code(sessions[0], &page(1), &object(0, SMALL)), 221);
    // A page counts with the answer that it lets in: five and five.
    assert_eq!(bench.code(sessions[1], &page(2), &object(0, SMALL)), 452);
    // What was promised is taken, also where the owner gives less now; what goes makes room.
    bench.limit(CarrierLimits { space: SMALL, ..limits });
    assert_eq!(bench.deposit(first[0], &object(b'1', SMALL)), (201, 202));
    assert_eq!(upload(&mut bench, 1, today() + 2, 1), 452);
    bench.limit(limits);
    bench.input(CarrierInput::Request(RequestId(0), CarrierRequest::Remove(fingerprint(DROP))));
    assert_eq!(upload(&mut bench, 1, today() + 2, 16), 220);
    // A restart knows the bound.
    assert_eq!(replay(&bench.log).limits(), limits);
}

#[test]
fn days_end_objects_and_tokens_but_not_by_a_clock_that_was_just_set() {
    let (mut bench, tokens) = with_drop();
    let session = bench.identify(DROP, DROP, None).unwrap();
    let ahead = self::tokens(2, today() + 20, small(), 1);
    assert_eq!(bench.upload(session, today() + 20, small(), &ahead), 220);
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)), (201, 202));
    assert_eq!(bench.deposit(ahead[0], &object(b'2', SMALL)).0, 420);
    let day = Duration::from_secs(24 * 3600);
    bench.pass(3 * day);
    assert_eq!(bench.carrier.held().mailboxes()[&fingerprint(DROP)].objects().len(), 1);
    bench.pass(day);
    assert_eq!(bench.carrier.held().mailboxes()[&fingerprint(DROP)].objects().len(), 0);
    assert_eq!(bench.deposit(tokens[1], &object(b'1', SMALL)), (201, 202));
    bench.pass(11 * day);
    assert_eq!(bench.deposit(tokens[2], &object(b'1', SMALL)).0, 420);
    assert_eq!(bench.carrier.held().mailboxes()[&fingerprint(DROP)].outstanding(), SMALL);
    // Two clocks may differ.
    bench.pass(3 * day);
    assert_eq!(bench.deposit(ahead[0], &object(b'2', SMALL)), (201, 202));
    let step = crate::base::ClockStep::Forward(100 * day);
    bench.now = bench.now.plus(100 * day);
    bench.input(CarrierInput::ClockSet(step));
    bench.pass(Duration::from_secs(1800));
    assert_eq!(bench.carrier.held().mailboxes()[&fingerprint(DROP)].objects().len(), 1);
    bench.pass(Duration::from_secs(1801));
    assert_eq!(bench.carrier.held().mailboxes()[&fingerprint(DROP)].objects().len(), 1, "so many days are doubtful");
    bench.pass(day / 4);
    assert_eq!(bench.carrier.held().mailboxes()[&fingerprint(DROP)].objects().len(), 0);
}

#[test]
fn a_carrier_that_is_off_at_night_begins_its_days() {
    let (hour, mut night) = (Duration::from_secs(3600), Bench::new());
    night.log.truncate(1);
    for (off, runs, begun) in [(16, 2, true), (30 * 24, 5, false), (30 * 24, 7, true)] {
        night.now = night.now.plus(off * hour);
        night.carrier = Carrier::new(replay(&night.log), night.now).unwrap();
        night.pass(runs * hour);
        assert_eq!(night.carrier.held().day() == epoch(night.now), begun, "off for {off} hours, on for {runs}");
    }
}

#[test]
fn a_carrier_comes_back_from_a_clock_that_was_wrong() {
    let (mut bench, tokens) = with_drop();
    let set = |bench: &mut Bench, step: crate::base::ClockStep| {
        bench.now = bench.now.stepped(step);
        bench.input(CarrierInput::ClockSet(step));
    };
    let (day, far) = (Duration::from_secs(24 * 3600), Duration::from_secs(1000 * 24 * 3600));
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)), (201, 202));
    set(&mut bench, crate::base::ClockStep::Forward(far));
    bench.pass(day / 5);
    set(&mut bench, crate::base::ClockStep::Back(far));
    bench.pass(day * 4 / 5);
    let held = |bench: &Bench| bench.carrier.held().mailboxes()[&fingerprint(DROP)].objects().len();
    assert_eq!((held(&bench), bench.carrier.held().day()), (1, today() + 1));
    // For longer: it is believed, and forgotten.
    set(&mut bench, crate::base::ClockStep::Forward(far));
    bench.pass(2 * day);
    assert_eq!(held(&bench), 0);
    set(&mut bench, crate::base::ClockStep::Back(far));
    bench.pass(day / 2);
    assert_eq!(bench.carrier.held().day(), epoch(bench.now));
    let session = bench.identify(DROP, DROP, None).unwrap();
    let fresh = self::tokens(9, today() + 3, small(), 1);
    assert_eq!(bench.upload(session, today() + 3, small(), &fresh), 220);
    assert_eq!(bench.deposit(fresh[0], &object(b'1', SMALL)), (201, 202));
    bench.pass(5 * day);
    assert_eq!(held(&bench), 0, "and days go on");
}

#[test]
fn of_the_sessions_of_one_owner_the_oldest_gives_way() {
    let (mut bench, _) = with_drop();
    let sessions: Vec<_> = (0..6).map(|_| bench.identify(DROP, DROP, None).unwrap()).collect();
    let ended: Vec<_> = sessions.iter().filter(|session| bench.closed.contains(session)).collect();
    // One more was open before.
    assert_eq!(ended, [&sessions[0], &sessions[1]]);
    assert_eq!(bench.count(sessions[5]), (0, 0));
}

#[test]
fn a_day_whose_record_cannot_be_written_is_tried_again_and_not_at_once() {
    let (mut bench, tokens) = with_drop();
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)), (201, 202));
    bench.pass(Duration::from_secs(20 * 24 * 3600));
    assert!(bench.carrier.held().bodies().next().is_none());
    let begun = bench.carrier.held().day();
    bench.faults.extend([CommitError::NoSpace; 3]);
    bench.pass(Duration::from_secs(24 * 3600));
    assert_eq!((bench.carrier.held().day(), bench.faults.len()), (begun + 1, 0));
    // While it is under way nothing else is due.
    bench.slow = Some(Vec::new());
    bench.now = begin_of(begun + 2);
    let effects = bench.carrier.handle_timeout(bench.now, &mut bench.rng);
    bench.perform(effects);
    assert!(bench.carrier.poll_timeout().unwrap() > bench.now);
}

#[test]
fn whoever_watches_is_told_what_comes() {
    let (mut bench, tokens) = with_drop();
    let session = bench.identify(DROP, DROP, None).unwrap();
    let watch = BoxCommand::Watch { mailbox: fingerprint(DROP).to_string() };
    assert_eq!(bench.code(session, &watch, b""), 260);
    bench.pass(Duration::from_secs(10 * 60));
    assert!(!bench.closed.contains(&session), "it may be silent");
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)), (201, 202));
    let said = bench.said(session);
    let entry = bench.list(session, Selection::default())[0];
    assert_eq!(said, format!("261 {} {}\n", fingerprint(DROP), entry.object));
    bench.input(CarrierInput::Request(RequestId(1), CarrierRequest::Remove(fingerprint(DROP))));
    assert_eq!(bench.answers.pop(), Some(Ok(())));
    assert!(bench.bodies.is_empty());
    assert_eq!(bench.deposit(tokens[1], &object(b'1', SMALL)).0, 420);
    assert_eq!(bench.code(session, &watch, b""), 411);
}

#[test]
fn a_box_takes_no_mail_by_address() {
    let mut bench = Bench::new();
    let session = bench.connect();
    let address = profile("box", CARRIER, start()).public.address.clone();
    bench.write(session, format!("SEND {address}\n").as_bytes());
    assert_eq!(bench.said(session), "420 NOT AVAILABLE\n");
    bench.write(session, b"DEPOSIT x\nMESSAGE - #3\nabcPUBLISH x\n");
    assert_eq!(bench.said(session), "702 BAD PARAMETER\n702 BAD PARAMETER\n704 NOT IMPLEMENTED\n");
}

#[test]
fn a_full_disk_refuses_like_an_unknown_token() {
    let (mut bench, tokens) = with_drop();
    bench.input(CarrierInput::DiskLow(true));
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)).0, 420);
    bench.input(CarrierInput::DiskLow(false));
    assert_eq!(bench.deposit(tokens[0], &object(b'1', SMALL)), (201, 202));
}
