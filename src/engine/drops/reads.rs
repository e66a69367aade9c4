//! Messages whose authors hear that they were read, where the reader chose so (docs/protocol.md, "Receipts").

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::base::limits;
use crate::base::{BodyId, ContactId, ContentId};

/// A message that was not read: its body, its author, and its signed id.
type Unread = (BodyId, ContactId, ContentId);
/// An author, and what of the author's was read.
type Owed = (ContactId, Vec<ContentId>);

/// What is still to be read, and what was and is not told yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reads {
    unread: BTreeMap<BodyId, (ContactId, ContentId)>,
    owed: BTreeMap<ContactId, BTreeSet<ContentId>>,
}

impl Reads {
    /// What a contact is to hear.
    pub fn owed(&self, contact: ContactId) -> impl Iterator<Item = &ContentId> {
        self.owed.get(&contact).into_iter().flatten()
    }

    /// Everybody who is to hear something.
    pub fn owed_to(&self) -> impl Iterator<Item = ContactId> {
        self.owed.keys().copied()
    }

    /// Whether something may be read that somebody is to hear of.
    pub(in super::super) fn is_waiting(&self) -> bool {
        !self.unread.is_empty()
    }

    pub(in super::super) fn arrived(&mut self, body: BodyId, contact: ContactId, content: ContentId) {
        self.unread.insert(body, (contact, content));
    }

    /// A message was read, or is gone.
    pub(in super::super) fn settled(&mut self, body: BodyId, read: bool) {
        let Some((contact, content)) = self.unread.remove(&body) else { return };
        let owed = self.owed.entry(contact).or_default();
        if read && owed.len() < limits::RECEIPTS_OWED {
            owed.insert(content);
        }
        if owed.is_empty() {
            self.owed.remove(&contact);
        }
    }

    pub(in super::super) fn returned(&mut self, contact: ContactId, contents: &[ContentId]) -> bool {
        let Some(owed) = self.owed.get_mut(&contact) else { return false };
        let before = owed.len();
        owed.retain(|content| !contents.contains(content));
        let less = owed.len() < before;
        if owed.is_empty() {
            self.owed.remove(&contact);
        }
        less
    }

    /// A contact is to hear nothing any more.
    pub(in super::super) fn forget(&mut self, contact: ContactId) {
        self.unread.retain(|_, (of, _)| *of != contact);
        self.owed.remove(&contact);
    }

    // Checkpoints.

    pub(in super::super) fn kept(&self) -> (Vec<Unread>, Vec<Owed>) {
        let unread = self.unread.iter().map(|(body, (contact, content))| (*body, *contact, *content)).collect();
        let owed = self.owed.iter().map(|(contact, contents)| (*contact, contents.iter().copied().collect()));
        (unread, owed.collect())
    }

    pub(in super::super) fn keep(&mut self, unread: &[Unread], owed: &[Owed]) {
        self.unread.extend(unread.iter().map(|(body, contact, content)| (*body, (*contact, *content))));
        for (contact, contents) in owed {
            self.owed.entry(*contact).or_default().extend(contents.iter().copied());
        }
    }
}
