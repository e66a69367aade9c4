//! Identities wired to each other in one thread: a clock that jumps, a log that is a vector, a network of queues, and a
//! stand-in for OpenPGP that only tags. Tests switch faults on. A seed replays exactly.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::base::ids::Fingerprint;
use crate::base::rng::SeededRng;
use crate::base::{BodyId, ContactId, Onion, OnionSeed, OpId, SealKeyId, SessionId, Timestamp, limits};
use crate::mail::Address;

mod carriers;
pub(in crate::engine) mod crypto;

use self::carriers::{CARRIERS, CarrierNode};
use crate::engine::api::{DeliveryOptions, Request, RequestError, RequestId, Response, Submission};
use crate::engine::boxes::Delays;
use crate::engine::carrier::{CarrierEffect, CarrierInput};
use crate::engine::identity::Identity;
use crate::engine::io::{CommitError, DialError, Effect, Input, NewBody, Opened, Refusal, Sizes, Transaction};
use crate::engine::state::book::Contact;
use crate::engine::state::mailbox::{FolderRole, Message};
use crate::engine::state::profile::{Profile, PublicProfile, SecretBytes};
use crate::engine::state::record::Record;
use crate::engine::state::{Snapshot, State};

pub(in crate::engine) const DAY: Duration = Duration::from_secs(24 * 3600);
pub(in crate::engine) const MINUTE: Duration = Duration::from_secs(60);

/// One node: an identity, its log and its bodies.
pub(in crate::engine) struct Node {
    pub(in crate::engine) identity: Identity,
    pub(in crate::engine) log: Vec<(u64, Record)>,
    pub(in crate::engine) bodies: BTreeMap<BodyId, Arc<[u8]>>,
    pub(in crate::engine) published: Snapshot,
    pub(in crate::engine) online: bool,
    /// How many commits fail from now on.
    pub(in crate::engine) failing_commits: u32,
    /// If it is set, only commits with a record for which it is true fail.
    pub(in crate::engine) failing_record: Option<fn(&Record) -> bool>,
    /// Why nothing can be sealed; `None` if everything can.
    pub(in crate::engine) sealing_fails: Option<Refusal>,
    /// Why nothing can be opened; `None` if everything can.
    pub(in crate::engine) opening_fails: Option<Refusal>,
    /// The encryption keys whose secret halves are on its disk.
    pub(in crate::engine) seal_keys: Vec<SealKeyId>,
    /// Whether no encryption key can be made.
    pub(in crate::engine) making_fails: bool,
    /// For each body, in order, whether it shares an end with another.
    pub(in crate::engine) shared: Vec<bool>,
    next_number: u64,
    answers: BTreeMap<u64, Result<Response, RequestError>>,
    pub(in crate::engine) rng: SeededRng,
}

/// All nodes, the time, and the bytes on their way between them.
pub(in crate::engine) struct World {
    pub(in crate::engine) now: Timestamp,
    pub(in crate::engine) nodes: Vec<Node>,
    pub(in crate::engine) carriers: Vec<CarrierNode>,
    /// The nodes that cannot reach another node, with that node.
    pub(in crate::engine) apart: BTreeSet<(usize, usize)>,
    /// The nodes that dialled, with the nodes that they dialled, in order.
    pub(in crate::engine) dials: Vec<(usize, usize)>,
    /// Every dial, whether it was answered or not: the node that dialled, the onion, and the contact whose circuits it
    /// used.
    pub(in crate::engine) circuits: Vec<(usize, Onion, Option<ContactId>)>,
    /// Whether encryption keys are replaced: most stories are about something else.
    pub(in crate::engine) rotates: bool,
    /// Every object that a node was asked to open, in order.
    pub(in crate::engine) objects: Vec<(usize, Vec<u8>)>,
    /// What every node answered in sessions that it accepted.
    pub(in crate::engine) replies: Vec<(usize, String)>,
    /// The beginnings of what nodes sent in sessions that they dialled.
    pub(in crate::engine) commands: Vec<String>,
    /// How long it takes until a dial of a node that is away fails.
    pub(in crate::engine) dial_fails_after: Duration,
    /// Peers that accept, greet, and say nothing more.
    pub(in crate::engine) silent: BTreeSet<Onion>,
    /// The next bytes that contain this are lost, and the connection with them.
    pub(in crate::engine) cut_at: Option<&'static [u8]>,
    /// Commands that reach no carrier: how such a command begins, and the answer that its sender gets instead.
    pub(in crate::engine) answers: Vec<(&'static [u8], Vec<u8>)>,
    links: BTreeMap<(usize, SessionId), (usize, SessionId)>,
    /// Dials that will fail.
    failing: BTreeSet<(Timestamp, usize, SessionId)>,
    effects: VecDeque<(usize, Effect)>,
    carrier_effects: VecDeque<(usize, CarrierEffect)>,
    next_session: u64,
    next_request: u64,
}

pub(in crate::engine) const CERTIFICATE: &[u8] = b"CERT";
pub(in crate::engine) fn certificate(fingerprint: &Fingerprint) -> Vec<u8> {
    [CERTIFICATE, fingerprint.as_bytes()].concat()
}

pub(in crate::engine) fn profile(name: &str, number: u8, now: Timestamp) -> Profile {
    let onion = Onion::from_public_key([number; 32]);
    let fingerprint = Fingerprint::from_bytes([number; 32]);
    let address: Address = format!("{name}@{onion}").parse().unwrap();
    Profile {
        public: Arc::new(PublicProfile {
            name: name.to_owned(),
            address,
            fingerprint,
            certificate: certificate(&fingerprint).into(),
            binding: crypto::binding(&fingerprint),
            created: now,
        }),
        onion_seed: OnionSeed::from_bytes([number; 32]),
        secret_keys: SecretBytes::new(vec![number; 100]),
        certificate_revocation: crypto::sign(&fingerprint, "revocation of the key"),
        onion_revocation: crypto::sign(&fingerprint, &format!("revocation of {onion}")),
    }
}

/// The state that a log leads to.
pub(in crate::engine) fn replay(log: &[(u64, Record)]) -> State {
    let mut state = State::default();
    for (number, record) in log {
        let bytes = record.encode().unwrap();
        let decoded = Record::decode(&bytes).unwrap().unwrap();
        state.apply(*number, &decoded);
    }
    state.take_released();
    state
}

impl World {
    /// Nodes with these names, and the numbers 1, 2, 3… as keys.
    pub(in crate::engine) fn new(seed: u64, names: &[&str]) -> Self {
        let now = Timestamp::from_secs(1_800_000_000);
        let nodes = names
            .iter()
            .zip(1_u8..)
            .map(|(name, number)| {
                let mut rng = SeededRng::new(seed.wrapping_mul(1000) + u64::from(number));
                let records = State::genesis(profile(name, number, now), &mut rng);
                let log: Vec<_> = (1_u64..).zip(records).collect();
                let mut identity = Identity::new(replay(&log), Delays::default(), now, &mut rng).unwrap();
                Node {
                    published: identity.snapshot(),
                    identity,
                    next_number: log.len() as u64 + 1,
                    log,
                    bodies: BTreeMap::new(),
                    online: true,
                    failing_commits: 0,
                    failing_record: None,
                    sealing_fails: None,
                    opening_fails: None,
                    seal_keys: Vec::new(),
                    making_fails: false,
                    shared: Vec::new(),
                    answers: BTreeMap::new(),
                    rng,
                }
            })
            .collect();
        Self {
            now,
            nodes,
            carriers: Vec::new(),
            apart: BTreeSet::new(),
            dials: Vec::new(),
            circuits: Vec::new(),
            rotates: false,
            objects: Vec::new(),
            replies: Vec::new(),
            commands: Vec::new(),
            dial_fails_after: Duration::ZERO,
            silent: BTreeSet::new(),
            cut_at: None,
            answers: Vec::new(),
            links: BTreeMap::new(),
            failing: BTreeSet::new(),
            effects: VecDeque::new(),
            carrier_effects: VecDeque::new(),
            next_session: 0,
            next_request: 0,
        }
    }

    /// Gives a node an input; its effects are performed in [`Self::run`].
    pub(in crate::engine) fn input(&mut self, node: usize, input: Input) {
        let at = &mut self.nodes[node];
        let effects = at.identity.handle(self.now, &mut at.rng, input);
        self.effects.extend(effects.into_iter().map(|effect| (node, effect)));
    }

    /// Lets everything happen that needs no time.
    pub(in crate::engine) fn run(&mut self) {
        self.run_until(|_| false);
    }

    /// Performs effects until there are none, or until this holds.
    pub(in crate::engine) fn run_until(&mut self, holds: impl Fn(&Self) -> bool) {
        let mut steps = 0;
        while !holds(self) {
            if let Some((node, effect)) = self.effects.pop_front() {
                self.perform(node, effect);
            } else if let Some((carrier, effect)) = self.carrier_effects.pop_front() {
                self.perform_for_carrier(carrier, effect);
            } else {
                break;
            }
            steps += 1;
            assert!(steps < 200_000, "the machines never come to rest");
        }
    }

    /// Lets time pass, with everything that falls due in it.
    pub(in crate::engine) fn pass(&mut self, time: Duration) {
        let end = self.now.plus(time);
        self.run();
        let mut wakes = 0;
        loop {
            let nodes = self.nodes.iter().filter_map(|node| node.identity.poll_timeout());
            let fails = self.failing.first().map(|(at, ..)| *at);
            let next = nodes.chain(self.carriers.iter().filter_map(|at| at.carrier.poll_timeout())).chain(fails).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            while let Some(&(at, node, session)) = self.failing.first().filter(|(at, ..)| *at <= self.now) {
                self.failing.remove(&(at, node, session));
                self.input(node, Input::Dialled(session, Err(DialError::Unreachable)));
            }
            for node in 0..self.nodes.len() {
                let at = &mut self.nodes[node];
                if at.identity.poll_timeout().is_some_and(|due| due <= self.now) {
                    let effects = at.identity.handle_timeout(self.now, &mut at.rng);
                    self.effects.extend(effects.into_iter().map(|effect| (node, effect)));
                }
            }
            self.carrier_timeouts();
            self.run();
            wakes += 1;
            assert!(wakes < 100_000, "a deadline never moves");
        }
        self.now = end;
    }

    /// Sends a node a request, and gives its answer.
    pub(in crate::engine) fn request(&mut self, node: usize, request: Request) -> Result<Response, RequestError> {
        let id = self.ask(node, request);
        self.run();
        self.nodes[node].answers.remove(&id).expect("every request is answered")
    }

    /// Sends a node a request, and lets nothing happen yet; gives the number of the request.
    pub(in crate::engine) fn ask(&mut self, node: usize, request: Request) -> u64 {
        self.next_request += 1;
        self.input(node, Input::Request(RequestId(self.next_request), request));
        self.next_request
    }

    /// Adds a transaction to a node's log, behind the back of its machine.
    pub(in crate::engine) fn append(&mut self, node: usize, records: Vec<Record>, bodies: Vec<NewBody>) {
        let at = &mut self.nodes[node];
        at.bodies.extend(bodies.into_iter().map(|body| (body.id, body.bytes)));
        for record in records {
            at.log.push((at.next_number, record));
            at.next_number += 1;
        }
    }

    /// A node's process ends and starts again from its log.
    pub(in crate::engine) fn restart(&mut self, node: usize) {
        for session in self.sessions_of(node) {
            self.unlink(node, session);
        }
        self.effects.retain(|(owner, _)| *owner != node);
        self.failing.retain(|(_, owner, _)| *owner != node);
        let at = &mut self.nodes[node];
        at.identity = Identity::new(replay(&at.log), Delays::default(), self.now, &mut at.rng).unwrap();
        at.published = at.identity.snapshot();
        self.run();
    }

    fn sessions_of(&self, at: usize) -> Vec<SessionId> {
        self.links.keys().filter(|(owner, _)| *owner == at).map(|(_, session)| *session).collect()
    }

    fn unlink(&mut self, node: usize, session: SessionId) {
        if let Some((peer, other)) = self.links.remove(&(node, session)) {
            self.links.remove(&(peer, other));
            self.deliver(peer, other, None);
        }
    }

    fn perform(&mut self, node: usize, effect: Effect) {
        match effect {
            Effect::Commit(op, transaction, _) => self.perform_commit(node, op, transaction),
            Effect::Open(op, object) => {
                self.objects.push((node, object.clone()));
                let result = self.nodes[node].opening_fails.map_or_else(|| self.open(node, &object), Err);
                self.input(node, Input::Opened(op, result));
            }
            Effect::VerifyCard(op, evidence) => {
                let holds = crypto::verify_card(&self.fingerprint(node), &evidence);
                self.input(node, Input::CardVerified(op, holds));
            }
            Effect::CheckCertificate(op, bytes, fingerprint) => {
                let usable = crypto::fingerprint_of(&bytes) == Ok(fingerprint);
                self.input(node, Input::CertificateChecked(op, usable));
            }
            Effect::Seal(op, content, to, sizes) => self.perform_seal(node, op, &content, &to, sizes),
            Effect::SealBody(op, header, body, to, sizes) => {
                let content = [header.as_bytes(), &self.nodes[node].bodies[&body]].concat();
                self.perform_seal(node, op, &content, &to, sizes);
            }
            Effect::ForBox(op, keys, work) => {
                let result = crypto::work_for_box(keys.expose(), work);
                self.input(node, Input::BoxWorked(op, result));
            }
            Effect::MakeSealKey(op) => {
                let result = self.make_seal_key(node);
                self.input(node, Input::SealKeyMade(op, result));
            }
            // Where that is never answered, no key is replaced.
            Effect::DestroySealKeys(..) if !self.rotates => {}
            Effect::DestroySealKeys(op, ids) => {
                let at = &mut self.nodes[node];
                at.seal_keys.retain(|key| !ids.contains(key));
                let held = at.seal_keys.clone();
                self.input(node, Input::SealKeysHeld(op, Some(held)));
            }
            Effect::ReadBody(op, body) => {
                let bytes = self.nodes[node].bodies.get(&body).map(|bytes| bytes.to_vec());
                self.input(node, Input::BodyRead(op, bytes));
            }
            Effect::Forget(bodies) => {
                for body in bodies {
                    assert!(self.nodes[node].bodies.remove(&body).is_some(), "forgotten twice");
                }
            }
            Effect::Dial(session, onion, contact) => self.perform_dial(node, session, onion, contact),
            Effect::Transmit(session, bytes) => self.perform_transmit(node, session, bytes),
            Effect::Close(session) => {
                self.failing.retain(|(_, owner, dialled)| (*owner, *dialled) != (node, session));
                self.unlink(node, session);
            }
            Effect::Respond(id, answer) => {
                self.nodes[node].answers.insert(id.0, answer);
            }
            Effect::Publish(snapshot) => self.nodes[node].published = snapshot,
        }
    }

    fn perform_commit(&mut self, node: usize, op: OpId, transaction: Transaction) {
        let at = &mut self.nodes[node];
        assert!(!transaction.records.is_empty(), "an empty transaction");
        let counts = at.failing_record.is_none_or(|counts| transaction.records.iter().any(counts));
        if at.failing_commits > 0 && counts {
            at.failing_commits -= 1;
            return self.input(node, Input::Committed(op, Err(CommitError::Io)));
        }
        let first = at.next_number;
        for record in transaction.records.iter().cloned() {
            at.log.push((at.next_number, record));
            at.next_number += 1;
        }
        for body in transaction.bodies {
            if let Some(shared) = body.shared {
                let other = at.bodies.get(&shared.of).expect("the other body is there");
                assert_eq!(body.bytes[shared.at..], other[shared.from as usize..], "the ends are the same");
            }
            at.shared.push(body.shared.is_some());
            at.bodies.insert(body.id, body.bytes);
        }
        self.input(node, Input::Committed(op, Ok(first)));
    }

    fn perform_seal(&mut self, node: usize, op: OpId, content: &[u8], to: &[u8], sizes: Sizes) {
        if let Some(refusal) = self.nodes[node].sealing_fails {
            return self.input(node, Input::Sealed(op, Err(refusal)));
        }
        let object = crypto::seal(&self.fingerprint(node), &to[CERTIFICATE.len()..], content, sizes);
        self.input(node, Input::Sealed(op, Ok(object)));
    }

    fn make_seal_key(&mut self, node: usize) -> Result<(SealKeyId, Arc<[u8]>), Refusal> {
        let own = certificate(&self.fingerprint(node));
        let at = &mut self.nodes[node];
        if at.making_fails || at.seal_keys.len() >= limits::SEAL_KEYS {
            return Err(Refusal::Temporary);
        }
        let id = SealKeyId::random(&mut at.rng);
        at.seal_keys.push(id);
        Ok((id, [own.as_slice(), id.as_bytes()].concat().into()))
    }

    fn open(&self, node: usize, object: &[u8]) -> Result<Opened, Refusal> {
        let (issuer, content) = crypto::open_with(&self.fingerprint(node), &self.nodes[node].seal_keys, object)?;
        let book = self.nodes[node].identity.state().book();
        let verified = book.by_fingerprint(&issuer).is_some_and(|contact| contact.certificate.is_some());
        let signature = crypto::signature(&issuer, &self.fingerprint(node), &content);
        Ok(Opened { content, signature, issuer, verified })
    }

    fn perform_dial(&mut self, node: usize, session: SessionId, onion: Onion, contact: Option<ContactId>) {
        self.circuits.push((node, onion, contact));
        if let Some(entry) = contact.and_then(|contact| self.nodes[node].identity.state().book().contact(contact)) {
            assert_eq!(entry.address.onion(), onion, "the circuits of a contact lead to that contact alone");
        }
        if self.silent.contains(&onion) {
            self.input(node, Input::Dialled(session, Ok(())));
            return self.input(node, Input::Received(session, b"HOWDY RUNE/1 MAX=28311552\n".to_vec()));
        }
        let peer = self.nodes.iter().position(|node| node.identity.state().profile().unwrap().public.onion() == onion);
        let carrier = self.carriers.iter().position(|carrier| carrier.onion() == onion).map(|number| CARRIERS + number);
        let reachable = peer.or(carrier).filter(|&peer| self.is_online(peer) && self.nodes[node].online);
        let Some(peer) = reachable.filter(|peer| !self.apart.contains(&(node, *peer))) else {
            if self.dial_fails_after > Duration::ZERO {
                self.failing.insert((self.now.plus(self.dial_fails_after), node, session));
                return;
            }
            return self.input(node, Input::Dialled(session, Err(DialError::Unreachable)));
        };
        self.dials.push((node, peer));
        let accepted = self.accept(peer);
        self.links.insert((node, session), (peer, accepted));
        self.links.insert((peer, accepted), (node, session));
        self.input(node, Input::Dialled(session, Ok(())));
    }

    /// A peer connects to a node; the test decides what it sends.
    pub(in crate::engine) fn accept(&mut self, node: usize) -> SessionId {
        self.next_session += 1;
        let session = SessionId(self.next_session);
        match node.checked_sub(CARRIERS) {
            Some(carrier) => self.carrier_input(carrier, CarrierInput::Accepted(session)),
            None => self.input(node, Input::Accepted(session)),
        }
        session
    }

    fn is_online(&self, at: usize) -> bool {
        match at.checked_sub(CARRIERS) {
            Some(carrier) => self.carriers[carrier].online,
            None => self.nodes[at].online,
        }
    }

    /// Hands bytes to one end of a connection, or tells it that the connection ended.
    fn deliver(&mut self, at: usize, session: SessionId, bytes: Option<Vec<u8>>) {
        match (at.checked_sub(CARRIERS), bytes) {
            (Some(carrier), Some(bytes)) => self.carrier_input(carrier, CarrierInput::Received(session, bytes)),
            (Some(carrier), None) => self.carrier_input(carrier, CarrierInput::Closed(session)),
            (None, Some(bytes)) => self.input(at, Input::Received(session, bytes)),
            (None, None) => self.input(at, Input::Closed(session)),
        }
    }

    fn perform_transmit(&mut self, node: usize, session: SessionId, bytes: Vec<u8>) {
        if session.0 < crate::engine::io::DIALLED_SESSIONS {
            self.replies.push((node, String::from_utf8_lossy(&bytes).into_owned()));
        } else {
            self.commands.push(String::from_utf8_lossy(bytes.get(..1024).unwrap_or(&bytes)).into_owned());
        }
        if self.cut_at.is_some_and(|cut| bytes.windows(cut.len()).any(|window| window == cut)) {
            self.cut_at = None;
            if self.links.contains_key(&(node, session)) {
                self.unlink(node, session);
                self.deliver(node, session, None);
            }
            return;
        }
        if let Some(&(peer, other)) = self.links.get(&(node, session)) {
            let answer = self.answers.iter().find(|(begin, _)| bytes.starts_with(begin));
            if let (Some(carrier), Some((_, answer))) = (peer.checked_sub(CARRIERS), answer) {
                return self.carrier_effects.push_back((carrier, CarrierEffect::Transmit(other, answer.clone())));
            }
            self.deliver(peer, other, Some(bytes));
        }
    }

    // Questions of the tests.

    pub(in crate::engine) fn fingerprint(&self, node: usize) -> Fingerprint {
        self.public(node).fingerprint
    }

    pub(in crate::engine) fn public(&self, node: usize) -> &PublicProfile {
        &self.nodes[node].identity.state().profile().unwrap().public
    }

    pub(in crate::engine) fn address(&self, node: usize) -> String {
        self.public(node).address.to_string()
    }

    /// What one node's address book says of another.
    pub(in crate::engine) fn contact(&self, node: usize, of: usize) -> Option<Arc<Contact>> {
        let fingerprint = self.fingerprint(of);
        self.nodes[node].published.book.by_fingerprint(&fingerprint).cloned()
    }

    pub(in crate::engine) fn messages(&self, node: usize, role: FolderRole) -> Vec<Message> {
        self.nodes[node].published.mailbox.by_role(role).unwrap().messages.iter().cloned().collect()
    }

    /// The texts of the messages in a folder.
    pub(in crate::engine) fn texts(&self, node: usize, role: FolderRole) -> Vec<String> {
        let bodies = &self.nodes[node].bodies;
        let text = |message: &Message| String::from_utf8_lossy(&bodies[&message.body]).into_owned();
        self.messages(node, role).iter().map(text).collect()
    }

    /// One node makes an invitation; nothing has happened between the nodes yet.
    pub(in crate::engine) fn invite(&mut self, node: usize, public: bool) -> String {
        let expires = self.now.plus(7 * DAY);
        match self.request(node, Request::Invite { public, expires, label: None }) {
            Ok(Response::Invited { text, .. }) => text,
            other => panic!("{other:?}"),
        }
    }

    pub(in crate::engine) fn add(&mut self, node: usize, text: &str) -> Result<Response, RequestError> {
        self.request(node, Request::AddContact { invitation: text.to_owned(), petname: None })
    }

    /// Makes two nodes contacts of each other.
    pub(in crate::engine) fn introduce(&mut self, inviter: usize, guest: usize) {
        let text = self.invite(inviter, false);
        self.add(guest, &text).unwrap();
        self.pass(MINUTE);
    }

    pub(in crate::engine) fn message(&self, node: usize, subject: &str) -> Arc<[u8]> {
        format!("From: <{}>\r\nSubject: {subject}\r\n\r\nText of {subject}.\r\n", self.address(node))
            .into_bytes()
            .into()
    }

    /// Submits a message from one node to another.
    pub(in crate::engine) fn submit(
        &mut self,
        node: usize,
        to: usize,
        subject: &str,
    ) -> Result<Response, RequestError> {
        self.request(node, Request::Submit(self.submission(node, to, subject)))
    }

    /// A message from one node to another, as it is submitted.
    pub(in crate::engine) fn submission(&self, node: usize, to: usize, subject: &str) -> Submission {
        let recipient = self.address(to);
        let message = self.message(node, subject);
        Submission {
            recipients: vec![recipient.clone()],
            visible: vec![recipient],
            message,
            asked: DeliveryOptions::default(),
        }
    }

    /// Submits a message of so many bytes from one node to another.
    pub(in crate::engine) fn submit_sized(
        &mut self,
        node: usize,
        to: usize,
        bytes: usize,
    ) -> Result<Response, RequestError> {
        let mut submission = self.submission(node, to, "sized");
        let mut message = submission.message.to_vec();
        message.resize(bytes, b'x');
        submission.message = message.into();
        self.request(node, Request::Submit(submission))
    }

    /// Checks what must hold at any moment: the log leads to the state, and the published state is that one; no UID is
    /// there twice; every body that is needed is there.
    pub(in crate::engine) fn check(&self) {
        for node in &self.nodes {
            let replayed = replay(&node.log);
            assert!(replayed == *node.identity.state(), "the fold of the log is not the state");
            assert_eq!(State::decode(&replayed.encode().unwrap()), Ok(replayed));
            assert_eq!(node.published.mailbox, *node.identity.state().mailbox());
            for folder in node.published.mailbox.folders() {
                let uids: Vec<_> = folder.messages.iter().map(|message| message.uid).collect();
                assert!(uids.windows(2).all(|pair| pair[0] < pair[1]) && uids.last() < Some(&folder.uid_next));
            }
            let needed = node.identity.state().bodies();
            assert_eq!(needed, node.bodies.keys().copied().collect::<BTreeSet<_>>());
        }
    }
}
