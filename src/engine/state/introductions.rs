//! Introductions as values: those that we make, those that wait for the user, and by whom people were introduced
//! (docs/protocol.md, "Introductions").
//!
//! Each is named by the signed id of the content that began it at this node: of our ask, of the ask that came, of the
//! introduction that came.

mod changes;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::ids::Fingerprint;
use crate::base::limits;
use crate::base::{BodyId, ContactId, ContentId, InvitationId, QueueId, Timestamp};
use crate::engine::state::book::Contact;
use crate::engine::state::queue::Queue;
use crate::mail::ContentKind;

/// An introduction that we make: the host was asked, and has not answered.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// The contact that gets to know somebody.
    pub guest: ContactId,
    /// The contact that is asked.
    pub host: ContactId,
    /// What the user says of it, to both.
    pub text: String,
    /// When the user began it.
    pub at: Timestamp,
}

/// A contact asks whether it may introduce us to somebody.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The contact.
    pub by: ContactId,
    /// When it came.
    pub at: Timestamp,
    /// The message in Requests by which the user decides.
    pub notice: Option<BodyId>,
    /// To how many others a message of the contact would show us; `None` where it wants to introduce us to one.
    pub others: Option<u8>,
}

/// A contact introduces somebody to us.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The contact.
    pub by: ContactId,
    /// When it came.
    pub at: Timestamp,
    /// The host's invitation.
    pub invitation: String,
    /// The host's primary key.
    pub fingerprint: Fingerprint,
    /// The message in Requests by which the user decides.
    pub notice: Option<BodyId>,
    /// The ask by which we agreed before, where a message of the contact shows both of us.
    pub agreed: Option<ContentId>,
}

/// Who introduced somebody, and when that person agreed, or we did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Path {
    /// The introducer.
    pub by: ContactId,
    /// When.
    pub at: Timestamp,
    /// The ask by which we agreed to be shown to the others in a message: all who came by one such ask have agreed to see each
    /// other.
    pub ask: Option<ContentId>,
}

/// An ask because of a message, to which we agreed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreed {
    /// By whom it was, and when we agreed.
    pub path: Path,
    /// How many people it may still make contacts of ours without another question.
    pub left: u8,
}

/// A message that waits until everybody whom it names has agreed to be shown to the others.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The pairs that are to see each other and have not agreed to it before.
    pub pairs: Vec<(ContactId, ContactId)>,
    /// Those who were asked, by their asks.
    pub asks: BTreeMap<ContentId, ContactId>,
    /// What those gave who have agreed.
    pub given: BTreeMap<ContactId, Given>,
    /// When they were asked.
    pub at: Timestamp,
}

/// The grant of somebody who agreed to be shown to others.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// The ask.
    pub ask: ContentId,
    /// The content, as it was signed.
    pub content: Vec<u8>,
    /// The signature over it.
    pub signature: Vec<u8>,
}

impl Held {
    /// Those who have not agreed yet.
    pub fn missing(&self) -> impl Iterator<Item = ContactId> {
        self.asks.values().copied().filter(|contact| !self.given.contains_key(contact))
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("asks", &self.asks.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Given").field("ask", &self.ask).finish_non_exhaustive()
    }
}

/// Whether a contact may introduce us to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum Policy {
    /// Without asking the user.
    Yes,
    /// The user is asked each time.
    #[default]
    Ask,
    /// Never: an ask is dropped.
    Never,
}

impl fmt::Debug for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Begun").field("at", &self.at).finish_non_exhaustive()
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").field("at", &self.at).finish_non_exhaustive()
    }
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offer").field("at", &self.at).finish_non_exhaustive()
    }
}

/// All introductions. A clone shares them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Introductions(Arc<Parts>);

/// The introductions, as a checkpoint keeps them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    /// Those that we make.
    pub begun: BTreeMap<ContentId, Begun>,
    /// Asks that wait for the user.
    pub asked: BTreeMap<ContentId, Asked>,
    /// Introductions that wait for the user.
    pub offers: BTreeMap<ContentId, Offer>,
    /// The invitations that we gave through introducers, and that nobody has used.
    pub granted: BTreeMap<InvitationId, Path>,
    /// By whom people were introduced.
    pub paths: BTreeMap<Fingerprint, Vec<Path>>,
    /// Who may introduce us, where it is not the default.
    pub policies: BTreeMap<ContactId, Policy>,
    /// Entries of the queue that are no mail.
    pub kinds: BTreeMap<QueueId, ContentKind>,
    /// Messages that wait for consent.
    pub held: BTreeMap<QueueId, Held>,
    /// Pairs who have agreed to be shown to each other in a message of ours, and when; the lesser first.
    pub joined: BTreeMap<(ContactId, ContactId), Timestamp>,
    /// Asks because of messages to which we agreed.
    pub agreed: BTreeMap<ContentId, Agreed>,
}

impl Introductions {
    /// The introductions as they are.
    pub fn parts(&self) -> &Parts {
        &self.0
    }

    /// What an entry of the queue is.
    pub fn kind(&self, queue: QueueId) -> ContentKind {
        self.0.kinds.get(&queue).copied().unwrap_or(ContentKind::Mail)
    }

    /// Whether this contact may introduce us.
    pub fn policy(&self, contact: ContactId) -> Policy {
        self.0.policies.get(&contact).copied().unwrap_or_default()
    }

    /// By whom somebody with this primary key was introduced, oldest first.
    pub fn paths(&self, of: &Fingerprint) -> &[Path] {
        self.0.paths.get(of).map_or(&[], Vec::as_slice)
    }

    /// Whether a message waits for consent.
    pub fn is_held(&self, queue: QueueId) -> bool {
        self.0.held.contains_key(&queue)
    }

    /// The messages for which everybody has agreed.
    pub fn complete(&self) -> impl Iterator<Item = (QueueId, &Held)> {
        self.0.held.iter().filter(|(_, held)| held.missing().next().is_none()).map(|(queue, held)| (*queue, held))
    }

    /// The message for which this ask is.
    pub fn held_for(&self, ask: ContentId) -> Option<(QueueId, &Held)> {
        self.0.held.iter().find(|(_, held)| held.asks.contains_key(&ask)).map(|(queue, held)| (*queue, held))
    }

    /// Whether we know that two contacts may see each other: they agreed to it for a message of ours; one of them introduced
    /// the other to us; or both came to us by one message of somebody else.
    pub fn may_meet(&self, a: &Contact, b: &Contact) -> bool {
        let (of_a, of_b) = (self.paths(&a.fingerprint), self.paths(&b.fingerprint));
        self.0.joined.contains_key(&pair(a.id, b.id))
            || of_a.iter().any(|path| path.by == b.id)
            || of_b.iter().any(|path| path.by == a.id)
            || of_a.iter().any(|one| one.ask.is_some() && of_b.iter().any(|two| (one.by, one.ask) == (two.by, two.ask)))
    }

    /// Asks and introductions of one contact that still wait for the user.
    pub fn pending_of(&self, contact: ContactId, now: Timestamp) -> usize {
        let asked = self.0.asked.values().filter(|asked| asked.by == contact && is_open(asked.at, now));
        let offers = self.0.offers.values().filter(|offer| offer.by == contact && is_open(offer.at, now));
        asked.count() + offers.count()
    }

    /// How many asks and introductions wait for the user.
    pub fn pending(&self, now: Timestamp) -> usize {
        self.0.asked.values().filter(|asked| is_open(asked.at, now)).count()
            + self.0.offers.values().filter(|offer| is_open(offer.at, now)).count()
    }

    pub(in crate::engine) fn parts_mut(&mut self) -> &mut Parts {
        Arc::make_mut(&mut self.0)
    }

    /// An entry of the queue has ended. What it was is known for as long as it is shown among those that ended.
    pub(in crate::engine) fn ended(&mut self, queue: QueueId, all: &Queue) {
        if self.0.held.contains_key(&queue) {
            self.parts_mut().held.remove(&queue);
        }
        if self.0.kinds.is_empty() {
            return;
        }
        let ended: BTreeSet<_> = all.ended().map(|queued| queued.id).collect();
        let is_shown = |id: &QueueId| all.get(*id).is_some() || ended.contains(id);
        if !self.0.kinds.keys().all(is_shown) {
            self.parts_mut().kinds.retain(|id, _| is_shown(id));
        }
    }

    /// Somebody who was introduced used the invitation that we granted.
    pub(in crate::engine) fn redeemed(&mut self, invitation: InvitationId, by: Fingerprint) {
        if let Some(path) = self.0.granted.get(&invitation).copied() {
            let parts = self.parts_mut();
            parts.granted.remove(&invitation);
            parts.use_consent(path.ask);
            parts.add_path(by, path);
        }
    }

    /// Whether an invitation that we gave through an introducer may still be used: a consent counts for as many people as the ask
    /// named, whether they use an invitation of ours or we one of theirs.
    pub fn may_be_used(&self, invitation: InvitationId) -> bool {
        let ask = self.0.granted.get(&invitation).and_then(|path| path.ask);
        ask.and_then(|ask| self.0.agreed.get(&ask)).is_none_or(|agreed| agreed.left > 0)
    }

    /// A contact is blocked, or removed: nothing of its introductions waits any more. Returns the invitations that it was given for
    /// others.
    pub(in crate::engine) fn part(&mut self, contact: ContactId) -> Vec<InvitationId> {
        let parts = self.parts_mut();
        parts.asked.retain(|_, asked| asked.by != contact);
        parts.offers.retain(|_, offer| offer.by != contact);
        parts.agreed.retain(|_, agreed| agreed.path.by != contact);
        parts.policies.remove(&contact);
        let given = parts.granted.iter().filter(|(_, path)| path.by == contact).map(|(id, _)| *id).collect();
        parts.granted.retain(|_, path| path.by != contact);
        given
    }

    /// A contact was removed from the book.
    pub(in crate::engine) fn forget(&mut self, contact: ContactId, fingerprint: Option<&Fingerprint>) {
        let parts = self.parts_mut();
        parts.begun.retain(|_, begun| begun.guest != contact && begun.host != contact);
        parts.joined.retain(|(a, b), _| *a != contact && *b != contact);
        if let Some(fingerprint) = fingerprint {
            parts.paths.remove(fingerprint);
        }
    }

    /// Whether an ask to which we agreed may still make somebody a contact of ours.
    fn is_left(&self, ask: Option<ContentId>) -> bool {
        ask.and_then(|ask| self.0.agreed.get(&ask)).is_some_and(|agreed| agreed.left > 0)
    }

    pub(in crate::engine) fn begin(&mut self, id: ContentId, begun: &Begun) -> bool {
        put(&mut self.parts_mut().begun, id, begun, |begun| begun.at)
    }

    pub(in crate::engine) fn ask(&mut self, id: ContentId, asked: &Asked) -> bool {
        put(&mut self.parts_mut().asked, id, asked, |asked| asked.at)
    }

    pub(in crate::engine) fn offer(&mut self, id: ContentId, offer: &Offer) -> bool {
        put(&mut self.parts_mut().offers, id, offer, |offer| offer.at)
    }
}

/// Adds an entry that is new, and drops those that can no longer be answered. `false` where it is known, or there are too many.
fn put<T: Clone>(map: &mut BTreeMap<ContentId, T>, id: ContentId, entry: &T, at: impl Fn(&T) -> Timestamp) -> bool {
    let now = at(entry);
    map.retain(|_, other| is_open(at(other), now));
    let new = map.len() < limits::INTRODUCTIONS && !map.contains_key(&id);
    if new {
        map.insert(id, entry.clone());
    }
    new
}

impl Parts {
    /// One more person became a contact by an ask to which we agreed.
    fn use_consent(&mut self, ask: Option<ContentId>) {
        if let Some(agreed) = ask.and_then(|ask| self.agreed.get_mut(&ask)) {
            agreed.left = agreed.left.saturating_sub(1);
        }
    }

    pub(in crate::engine) fn add_path(&mut self, of: Fingerprint, path: Path) {
        let paths = self.paths.entry(of).or_default();
        if paths.iter().all(|known| (known.by, known.ask) != (path.by, path.ask)) {
            if paths.len() >= limits::INTRODUCERS {
                // One who comes again and again replaces its own.
                let oldest = paths.iter().position(|known| known.by == path.by).unwrap_or(0);
                paths.remove(oldest);
            }
            paths.push(path);
        }
    }
}

/// Two contacts, in whatever order they are named.
pub(in crate::engine) fn pair(a: ContactId, b: ContactId) -> (ContactId, ContactId) {
    if a <= b { (a, b) } else { (b, a) }
}

/// Whether something that began at this moment can still be answered.
pub fn is_open(at: Timestamp, now: Timestamp) -> bool {
    now < at.plus(limits::INTRODUCTION)
}

impl Introductions {
    /// The introductions as records of a checkpoint, each of a bounded size.
    pub(in crate::engine) fn kept(&self) -> Vec<Parts> {
        let Parts { begun, asked, offers, granted, paths, policies, kinds, held, joined, agreed } = self.parts();
        let mut kept = Vec::new();
        for begun in pieces(begun) {
            kept.push(Parts { begun, ..Parts::default() });
        }
        for asked in pieces(asked) {
            kept.push(Parts { asked, ..Parts::default() });
        }
        for offers in pieces(offers) {
            kept.push(Parts { offers, ..Parts::default() });
        }
        for granted in pieces(granted) {
            kept.push(Parts { granted, ..Parts::default() });
        }
        for paths in pieces(paths) {
            kept.push(Parts { paths, ..Parts::default() });
        }
        for policies in pieces(policies) {
            kept.push(Parts { policies, ..Parts::default() });
        }
        for kinds in pieces(kinds) {
            kept.push(Parts { kinds, ..Parts::default() });
        }
        for (queue, held) in held {
            kept.push(Parts { held: BTreeMap::from([(*queue, held.clone())]), ..Parts::default() });
        }
        for joined in pieces(joined) {
            kept.push(Parts { joined, ..Parts::default() });
        }
        for agreed in pieces(agreed) {
            kept.push(Parts { agreed, ..Parts::default() });
        }
        kept
    }

    fn keep(&mut self, kept: &Parts) {
        let Parts { begun, asked, offers, granted, paths, policies, kinds, held, joined, agreed } = kept.clone();
        let parts = self.parts_mut();
        parts.begun.extend(begun);
        parts.asked.extend(asked);
        parts.offers.extend(offers);
        parts.granted.extend(granted);
        parts.paths.extend(paths);
        parts.policies.extend(policies);
        parts.kinds.extend(kinds);
        parts.held.extend(held);
        parts.joined.extend(joined);
        parts.agreed.extend(agreed);
    }
}

/// A map in pieces of a bounded size.
fn pieces<K: Ord + Copy, V: Clone>(map: &BTreeMap<K, V>) -> Vec<BTreeMap<K, V>> {
    const PIECE: usize = 200;
    let entries: Vec<_> = map.iter().map(|(key, value)| (*key, value.clone())).collect();
    entries.chunks(PIECE).map(|piece| piece.iter().cloned().collect()).collect()
}
