//! Contacts that lie. A hostile identity has the keys of its contacts and what they sent it, and makes contents of its own of
//! that: cards that go back, jump or contradict each other, claims to be somebody else, what was taken before, grants that
//! are altered or meant for another introducer, consents that were given for something else, floods of asks.
//!
//! Nothing of it may change what honest nodes know of honest people (docs/testing.md, "Invariants").

use runepeer::base::ids::Fingerprint;
use runepeer::base::{ContactId, ContentId, MacKey, SessionId, limits};
use runepeer::engine::state::book::ContactStatus;
use runepeer::engine::{Input, State};
use runepeer::mail::introduction::{Ask, Grant, Introduction};
use runepeer::mail::{Card, Content, ContentKind, Invitation};
use runepeer::wire::{Claim, Command, Importance, Message, Send, authenticator};

use crate::climate::{DAY, MINUTE};
use crate::crypto;
use crate::node::{Held, Node};
use crate::world::{Event, NOWHERE, World};

/// How many contents the hostile remember together.
const KEPT: usize = 200;
/// Asks of one flood: more than may wait.
const FLOOD: usize = 15;

/// A content that a hostile identity has, and what its author signed.
#[derive(Clone)]
pub(crate) struct Known {
    owner: usize,
    /// Whether it wrote it itself.
    is_own: bool,
    content: Content,
    bytes: Vec<u8>,
    signature: Vec<u8>,
}

/// What the hostile have of others, and what they did with it.
#[derive(Default)]
pub(crate) struct Forger {
    known: Vec<Known>,
    next: usize,
    /// Contents that were forged and brought.
    pub(crate) forged: u64,
}

impl Forger {
    /// A hostile identity wrote or opened a content.
    pub(crate) fn notes(&mut self, owner: usize, is_own: bool, bytes: &[u8], signature: &[u8]) {
        let Ok(content) = Content::decode(bytes.to_vec()) else { return };
        let known = Known { owner, is_own, content, bytes: bytes.to_vec(), signature: signature.to_vec() };
        if self.known.len() < KEPT {
            self.known.push(known);
        } else {
            self.known[self.next % KEPT] = known;
            self.next += 1;
        }
    }
}

impl World {
    /// A hostile identity lies to one of its contacts.
    pub(crate) fn forge(&mut self) {
        self.note(26, 0, 0);
        let often = self.climate.forgeries as i64;
        if often > 0 {
            let delay = self.between(MINUTE, 2 * DAY / often);
            self.at(delay, Event::Forge);
        }
        let hostile: Vec<usize> = (0..self.nodes.len()).filter(|n| self.nodes[*n].hostile).collect();
        let Some(&liar) = hostile.get(self.below(hostile.len().max(1) as u64) as usize) else { return };
        let Some(running) = &self.nodes[liar].running else { return };
        let book = running.published.book.clone();
        let victims: Vec<_> = book
            .contacts()
            .filter(|contact| contact.status == ContactStatus::Confirmed && contact.outbound.is_some())
            .filter_map(|contact| Some((*self.by_onion.get(&contact.address.onion())?, contact.clone())))
            .filter(|(to, _)| *to < self.nodes.len() && !self.nodes[*to].hostile)
            .collect();
        let Some((to, contact)) = victims.get(self.below(victims.len().max(1) as u64) as usize).cloned() else {
            return;
        };
        let key = contact.outbound.clone().unwrap();
        for content in self.lies(liar, to, contact.cards.sent) {
            self.forger.forged += 1;
            self.bring(liar, to, &key, &content);
        }
    }

    fn lies(&mut self, liar: usize, to: usize, sent: u64) -> Vec<Vec<u8>> {
        let (fresh, other) = (self.below(256) as u8, self.below(self.nodes.len() as u64) as usize);
        let part = self.below(3);
        let hours = u64::try_from(self.now / 3_600_000).unwrap();
        match self.below(10) {
            // Cards that go back, jump, contradict one that was sent, or claim somebody else's address, key or binding.
            0 => vec![self.card(liar, sent.saturating_sub(1 + u64::from(fresh) % 3), fresh, None)],
            1 => {
                let jump = [u64::MAX, u64::MAX / 2, hours + 2 * limits::CARD_JUMP][fresh as usize % 3];
                vec![self.card(liar, jump, fresh, None)]
            }
            2 => (0..3).map(|step| self.card(liar, sent, fresh.wrapping_add(step), None)).collect(),
            3 => vec![self.card(liar, sent + 1, fresh, Some((other, part)))],
            4 => self.again(liar, true),
            5 => self.again(liar, false),
            6 => self.altered(liar, other),
            7 => self.for_another(liar),
            8 => self.with_consent(liar, to),
            _ => (0..FLOOD).map(|number| self.ask(number)).collect(),
        }
    }

    fn signed(&mut self, kind: ContentKind, payload: Vec<u8>) -> Vec<u8> {
        let expires = runepeer::base::Timestamp::from_secs((self.now + DAY) / 1000);
        Content { kind, id: ContentId::random(&mut self.rng), expires, receipt: None, payload }.encode()
    }

    fn card(&mut self, liar: usize, counter: u64, key: u8, stolen: Option<(usize, u64)>) -> Vec<u8> {
        let own = &self.nodes[liar];
        let address = |node: &Node| {
            let running = node.running.as_ref();
            running.and_then(|running| running.identity.state().profile().map(|own| own.public.address.clone()))
        };
        let Some(of_own) = address(own) else { return Vec::new() };
        let mut card = Card {
            counter,
            address: of_own,
            certificate: crypto::certificate(&own.fingerprint),
            binding: crypto::binding(&own.fingerprint),
            auth_key: MacKey::from_bytes([key; 32]),
            invitation: None,
            boxes: Vec::new(),
            receipts: true,
        };
        if let Some((other, part)) = stolen {
            let other = &self.nodes[other];
            match part {
                0 => card.certificate = crypto::certificate(&other.fingerprint),
                1 => card.binding = crypto::binding(&other.fingerprint),
                _ => card.address = address(other).unwrap_or(card.address),
            }
        }
        let payload = serde_json::to_vec(&card).unwrap();
        self.signed(ContentKind::Card, payload)
    }

    /// Something that the liar wrote before, or that others wrote to it, as it was or under another id.
    fn again(&mut self, liar: usize, own: bool) -> Vec<Vec<u8>> {
        let known = self.forger.known.iter().filter(|it| it.owner == liar && it.is_own == own).cloned();
        let known: Vec<Known> = known.collect();
        let Some(known) = known.get(self.below(known.len().max(1) as u64) as usize) else { return Vec::new() };
        if self.below(2) == 0 {
            return vec![known.bytes.clone()];
        }
        vec![self.signed(known.content.kind, known.content.payload.clone())]
    }

    fn grant_of(&mut self, fits: impl Fn(&Known) -> bool) -> Option<(Known, Grant)> {
        let is_grant = |it: &&Known| it.content.kind == ContentKind::IntroductionGrant && !it.is_own && fits(it);
        let grants: Vec<Known> = self.forger.known.iter().filter(is_grant).cloned().collect();
        let known = grants.get(self.below(grants.len().max(1) as u64) as usize)?.clone();
        let grant = serde_json::from_slice(&known.content.payload).ok()?;
        Some((known, grant))
    }

    fn introduction(&mut self, grant: Vec<u8>, signature: Vec<u8>, agreed: Option<ContentId>) -> Vec<u8> {
        let introduction = Introduction { text: "they sing".to_owned(), place: 0, agreed, grant, signature };
        self.signed(ContentKind::Introduction, serde_json::to_vec(&introduction).unwrap())
    }

    /// A grant that names somebody else, works longer, or says that it is because of a message; and it signed by the liar.
    fn altered(&mut self, liar: usize, other: usize) -> Vec<Vec<u8>> {
        let Some((known, mut grant)) = self.grant_of(|it| it.owner == liar) else { return Vec::new() };
        let victim = self.nodes[other].fingerprint;
        let Some(Ok(mut invitation)) = grant.invitations.first().map(|text| Invitation::parse(text)) else {
            return Vec::new();
        };
        match self.below(5) {
            0 => invitation.fingerprint = victim,
            1 => invitation.secret = Some([7; 16]),
            2 => grant.others = Some(1),
            3 => grant.certificate = crypto::certificate(&victim),
            _ => invitation.expires = invitation.expires.map(|at| at.plus(crate::climate::duration(DAY))),
        }
        grant.invitations = vec![invitation.encode()];
        let content = Content { payload: serde_json::to_vec(&grant).unwrap(), ..known.content }.encode();
        let own = self.nodes[liar].fingerprint;
        let forged = crypto::signature(&own, &own, &content);
        vec![self.introduction(content.clone(), known.signature, None), self.introduction(content, forged, None)]
    }

    /// A grant that another hostile identity got.
    fn for_another(&mut self, liar: usize) -> Vec<Vec<u8>> {
        let Some((known, _)) = self.grant_of(|it| it.owner != liar) else { return Vec::new() };
        vec![self.introduction(known.bytes, known.signature, None)]
    }

    /// A true grant, with the claim that the receiver has agreed already.
    fn with_consent(&mut self, liar: usize, to: usize) -> Vec<Vec<u8>> {
        let Some((known, _)) = self.grant_of(|it| it.owner == liar) else { return Vec::new() };
        let own = self.forger.known.iter().filter(|it| it.owner == liar);
        let mut asks: Vec<ContentId> = own.map(|it| it.content.id).collect();
        // What the receiver agreed to really, if anything: one consent is good for one message.
        if let Some(running) = &self.nodes[to].running {
            asks.extend(running.published.introductions.parts().agreed.keys().copied());
        }
        let agreed = asks.get(self.below(asks.len().max(1) as u64) as usize).copied();
        vec![self.introduction(known.bytes, known.signature, agreed)]
    }

    fn ask(&mut self, number: usize) -> Vec<u8> {
        let others = number.is_multiple_of(3).then_some(1 + number as u8);
        let payload = serde_json::to_vec(&Ask { text: format!("flood {number}"), others }).unwrap();
        self.signed(ContentKind::IntroductionAsk, payload)
    }

    /// Opens a session of its own for a content, and shows the key that the receiver gave.
    fn bring(&mut self, liar: usize, to: usize, key: &MacKey, content: &[u8]) {
        let (author, reader) = (self.nodes[liar].fingerprint, self.nodes[to].fingerprint);
        let certificate = crypto::certificate(&reader);
        let sizes = runepeer::engine::io::Sizes::All;
        let Ok(object) = crypto::seal(&author, &certificate, content, sizes, &mut self.rng) else { return };
        let Some(running) = &self.nodes[to].running else { return };
        let Some(profile) = running.identity.state().profile() else { return };
        let (address, claim) = (profile.public.address.clone(), Claim::of(&object));
        let send = Send {
            auth: Some(authenticator(key, address.onion(), &claim)),
            to: address.to_string(),
            certificate: None,
            server: None,
            claim: Some(claim),
            onward: None,
            importance: Importance::Normal,
            secure: false,
        };
        let commands = [Command::Send(send), Command::Message(Message { sender: None, size: object.len() as u64 })];
        let mut bytes: Vec<u8> = commands.iter().flat_map(|command| command.encode(None).into_bytes()).collect();
        bytes.extend_from_slice(&object);
        self.strangers += 1;
        let Some(session) = self.accept(to, (NOWHERE, SessionId(self.strangers))) else { return };
        self.feed(to, Input::Accepted(session));
        self.arrive((to, session), Held::Bytes(bytes));
    }

    /// What honest nodes know of people is what these said of themselves, and nobody was shown without consent.
    pub(crate) fn check_people(&self) {
        for (at, node) in self.nodes.iter().enumerate().filter(|(_, node)| !node.hostile) {
            let Some(running) = &node.running else { continue };
            self.check_book(at, running.identity.state());
        }
    }

    fn check_book(&self, at: usize, state: &State) {
        let now = self.local(at);
        for contact in state.book().contacts() {
            let Some(other) = self.nodes.iter().position(|node| node.onion == contact.address.onion()) else {
                panic!("{at} knows somebody whom nobody is");
            };
            let node = &self.nodes[other];
            assert_eq!(contact.fingerprint, node.fingerprint, "{at} has another key of {other}");
            assert!(
                contact.certificate.as_ref().is_none_or(|known| crypto::fingerprint_of(known) == Ok(node.fingerprint)),
                "{at}: certificate of {other}"
            );
            assert!(
                state.introductions().pending_of(contact.id, now) <= limits::INTRODUCTIONS_PENDING,
                "a flood at {at}"
            );
            self.check_paths(at, state, contact.fingerprint, other);
            let Some(theirs) = node.running.as_ref().filter(|_| !node.hostile) else { continue };
            let Some(own) = theirs.identity.state().book().by_onion(self.nodes[at].onion) else { continue };
            assert!(contact.cards.seen <= own.cards.sent, "{at} saw a card that {other} never made");
            let invitations = theirs.identity.state().book().invitations();
            let mut keys = invitations.filter_map(|entry| runepeer::mail::invitation::auth_key(entry.secret.as_ref()?));
            let given =
                contact.outbound.as_ref().is_none_or(|key| own.inbound.contains(key) || keys.any(|it| it == *key));
            assert!(given, "{at} has a key that {other} never gave it");
        }
    }

    /// Somebody whom an introducer made known has agreed to be introduced by that one, or we have.
    fn check_paths(&self, at: usize, state: &State, of: Fingerprint, other: usize) {
        let node_of = |contact: ContactId| {
            let onion = state.book().contact(contact)?.address.onion();
            self.nodes.iter().position(|node| node.onion == onion)
        };
        for by in state.introductions().paths(&of).iter().filter_map(|path| node_of(path.by)) {
            let agreed = |who: usize| self.witness.granted.contains(&(who, by));
            let known = self.nodes[other].hostile || agreed(other) || agreed(at);
            assert!(known, "{by} made {other} known to {at}, and neither agreed");
        }
    }
}
