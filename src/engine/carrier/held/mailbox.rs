//! One box at a carrier: its objects, its tokens and its pages, and how many bytes they are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Outcome;
use crate::base::limits::PAGE_ANSWER_BYTES;
use crate::base::{BodyId, ObjectId};
use crate::engine::carrier::objects::{Objects, SpentTokens};
use crate::engine::carrier::record::{HeldObject, HeldPage, Spent, Terms};
use crate::wire::token::{Class, Epoch, TokenHash};

/// One box.
#[derive(Clone, PartialEq, Eq)]
pub struct Mailbox {
    pub(super) certificate: Arc<[u8]>,
    pub(super) terms: Terms,
    /// For how many days an object is held, if its owner wants fewer than the terms give.
    pub(super) hold_days: Option<u32>,
    pub(super) objects: Objects,
    pub(super) sets: BTreeMap<(Epoch, Class), TokenSet>,
    pub(super) pages: BTreeMap<TokenHash, Page>,
    /// Bytes of the objects and pages.
    pub(super) stored: u64,
    /// Bytes of the objects that tokens which are not spent admit.
    pub(super) outstanding: u64,
    /// How many tokens there are, spent or not.
    pub(super) tokens: usize,
}

/// A page, and the object that answered it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) held: HeldPage,
    pub(super) answer: Option<[u8; 32]>,
}

/// The tokens of one epoch and class.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct TokenSet {
    /// The hashes of the tokens, in order.
    pub(super) tokens: Vec<TokenHash>,
    /// Those of them that are spent.
    pub(super) spent: SpentTokens,
    /// Those of them that were in another set before, and admit nothing to this one. A contact that has a box at the
    /// same carrier can bring that about, with its own tokens only.
    pub(super) foreign: BTreeSet<TokenHash>,
}

impl Mailbox {
    pub(super) fn new(certificate: Arc<[u8]>, terms: Terms) -> Self {
        let (objects, sets, pages) = (Objects::default(), BTreeMap::new(), BTreeMap::new());
        Self { certificate, terms, hold_days: None, objects, sets, pages, stored: 0, outstanding: 0, tokens: 0 }
    }

    /// Its owner's certificate.
    pub const fn certificate(&self) -> &Arc<[u8]> {
        &self.certificate
    }

    /// What it may take.
    pub const fn terms(&self) -> Terms {
        self.terms
    }

    /// For how many days an object is held that comes now.
    pub fn hold_days(&self) -> u32 {
        self.hold_days.map_or(self.terms.hold_days, |days| days.min(self.terms.hold_days))
    }

    /// Its objects in the order of their names, which are random.
    pub fn objects(&self) -> impl ExactSizeIterator<Item = HeldObject> {
        self.objects.iter()
    }

    /// The object of this name.
    pub fn object(&self, id: ObjectId) -> Option<HeldObject> {
        self.objects.get(id)
    }

    /// Its pages.
    pub fn pages(&self) -> impl Iterator<Item = &HeldPage> {
        self.pages.values().map(|page| &page.held)
    }

    /// Bytes of its objects and pages.
    pub const fn stored(&self) -> u64 {
        self.stored
    }

    /// Bytes of the objects that tokens which are not spent admit.
    pub const fn outstanding(&self) -> u64 {
        self.outstanding
    }

    /// Objects that were not read.
    pub fn unread(&self) -> usize {
        self.objects().filter(|object| !object.read).count()
    }

    pub(super) fn bodies(&self) -> impl Iterator<Item = BodyId> {
        self.objects().map(|object| object.body).chain(self.pages().map(|page| page.body))
    }

    /// Keeps an object; `false` if it has no size that objects have.
    pub(super) fn put(&mut self, object: &HeldObject) -> bool {
        let put = self.objects.put(object);
        if put {
            self.stored = self.stored.saturating_add(object.size);
        }
        put
    }

    pub(super) fn put_page(&mut self, page: Page) {
        self.stored = self.stored.saturating_add(page.held.size);
        self.outstanding = self.outstanding.saturating_add(page.admits());
        self.pages.insert(page.held.name, page);
    }

    /// Takes the one object that a page lets in.
    pub(super) fn answer_page(&mut self, spent: &Spent, object: &HeldObject) -> Outcome {
        let Some(page) = self.pages.get_mut(&spent.token).filter(|_| answers_page(object.size)) else {
            return Outcome::Nothing;
        };
        match page.answer {
            Some(hash) if hash == spent.hash => return Outcome::Already,
            Some(_) => return Outcome::Nothing,
            None => self.outstanding = self.outstanding.saturating_sub(page.admits()),
        }
        page.answer = Some(spent.hash);
        self.put(object);
        Outcome::Done
    }

    pub(super) fn take_page(&mut self, name: &TokenHash) -> Option<Page> {
        let page = self.pages.remove(name)?;
        self.stored = self.stored.saturating_sub(page.held.size);
        self.outstanding = self.outstanding.saturating_sub(page.admits());
        Some(page)
    }

    pub(super) fn take(&mut self, id: ObjectId) -> Option<BodyId> {
        let object = self.objects.take(id)?;
        self.stored = self.stored.saturating_sub(object.size);
        Some(object.body)
    }
}

impl Page {
    /// Bytes of the object that may still come for the page.
    pub(super) const fn admits(&self) -> u64 {
        if self.answer.is_none() { PAGE_ANSWER_BYTES } else { 0 }
    }
}

impl TokenSet {
    pub(super) fn place(&self, token: &TokenHash) -> Option<u16> {
        self.tokens.binary_search(token).ok().and_then(|place| u16::try_from(place).ok())
    }

    /// Whether a token of the set is spent, and if so, whether with this object.
    pub(super) fn spent_with(&self, token: &TokenHash, hash: &[u8; 32]) -> Option<bool> {
        self.spent.with(self.place(token)?, hash)
    }

    pub(super) fn spend(&mut self, spent: &Spent) {
        if let Some(place) = self.place(&spent.token) {
            self.spent.spend(place, &spent.hash);
        }
    }

    pub(super) fn unspent(&self, class: Class) -> u64 {
        (self.tokens.len().saturating_sub(self.spent.len()) as u64).saturating_mul(class.bytes())
    }
}

impl std::fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mailbox").field("objects", &self.objects.len()).finish_non_exhaustive()
    }
}

/// Whether an object of this size can answer a page: a card has one of the two smallest sizes that have tokens.
pub(super) fn answers_page(size: u64) -> bool {
    size <= PAGE_ANSWER_BYTES && Class::of(size).is_some()
}
