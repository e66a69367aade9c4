//! Read messages of which the author is told, where the reader chose so (docs/protocol.md, "Receipts").

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::base::limits;
use crate::base::{BodyId, ContactId, ContentId};
use crate::engine::state::shards::Shards;

/// A message that was not read: its body, its author, and its signed id.
type Unread = (BodyId, ContactId, ContentId);
/// An author, and those of the author's messages that were read.
type Owed = (ContactId, Vec<ContentId>);

/// The messages that are still to be read, and those that were read and whose authors are not told yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reads {
    unread: Shards<BodyId, (ContactId, ContentId)>,
    owed: Shards<ContactId, BTreeSet<ContentId>>,
}

impl Reads {
    /// The messages of a contact that were read and of which it is to be told.
    pub fn owed(&self, contact: ContactId) -> impl Iterator<Item = &ContentId> {
        self.owed.get(&contact).into_iter().flatten()
    }

    /// All contacts that are to be told of something.
    pub fn owed_to(&self) -> impl Iterator<Item = ContactId> {
        self.owed.keys().copied()
    }

    /// Whether there is a message of which its author is to be told once it is read.
    pub(in crate::engine) fn is_waiting(&self) -> bool {
        !self.unread.is_empty()
    }

    pub(in crate::engine) fn arrived(&mut self, body: BodyId, contact: ContactId, content: ContentId) {
        self.unread.insert(body, (contact, content));
    }

    /// A message was read, or is gone.
    pub(in crate::engine) fn settled(&mut self, body: BodyId, read: bool) {
        let Some((contact, content)) = self.unread.remove(&body) else { return };
        if read && self.owed(contact).count() < limits::RECEIPTS_OWED {
            self.owed.or_default(contact).insert(content);
        }
    }

    pub(in crate::engine) fn returned(&mut self, contact: ContactId, contents: &[ContentId]) -> bool {
        if !self.owed(contact).any(|content| contents.contains(content)) {
            return false;
        }
        let Some(owed) = self.owed.get_mut(&contact) else { return false };
        owed.retain(|content| !contents.contains(content));
        if owed.is_empty() {
            self.owed.remove(&contact);
        }
        true
    }

    /// A contact is not told of anything any more.
    pub(in crate::engine) fn forget(&mut self, contact: ContactId) {
        self.unread.retain(|_, (of, _)| *of != contact);
        self.owed.remove(&contact);
    }

    // Checkpoints.

    pub(in crate::engine) fn kept(&self) -> (Vec<Unread>, Vec<Owed>) {
        let unread = self.unread.iter().map(|(body, (contact, content))| (*body, *contact, *content)).collect();
        let owed = self.owed.iter().map(|(contact, contents)| (*contact, contents.iter().copied().collect()));
        (unread, owed.collect())
    }

    pub(in crate::engine) fn keep(&mut self, unread: &[Unread], owed: &[Owed]) {
        self.unread.extend(unread.iter().map(|(body, contact, content)| (*body, (*contact, *content))));
        for (contact, contents) in owed {
            self.owed.or_default(*contact).extend(contents.iter().copied());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: ContactId = ContactId::from_bytes([1; 16]);
    const BOB: ContactId = ContactId::from_bytes([2; 16]);

    fn content(number: usize) -> ContentId {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        ContentId::from_bytes(bytes)
    }

    fn body(number: usize) -> BodyId {
        BodyId::from_bytes(*content(number).as_bytes())
    }

    fn owed(reads: &Reads, contact: ContactId) -> Vec<ContentId> {
        reads.owed(contact).copied().collect()
    }

    #[test]
    fn what_was_read_is_owed_until_it_is_told_and_what_is_gone_unread_is_not() {
        let mut reads = Reads::default();
        assert!(!reads.is_waiting());
        for (number, contact) in [(1, ANN), (2, ANN), (3, BOB), (4, ANN)] {
            reads.arrived(body(number), contact, content(number));
        }
        assert!(reads.is_waiting());
        for (number, read) in [(1, true), (2, true), (3, false), (9, true)] {
            reads.settled(body(number), read);
        }
        assert_eq!((owed(&reads, ANN), owed(&reads, BOB)), (vec![content(1), content(2)], vec![]));
        assert_eq!(reads.owed_to().collect::<Vec<_>>(), [ANN]);
        assert!(!reads.returned(BOB, &[content(1)]), "nothing is owed to him");
        assert!(!reads.returned(ANN, &[content(3)]), "that was not owed");
        assert!(reads.returned(ANN, &[content(1), content(3)]));
        assert_eq!(owed(&reads, ANN), [content(2)]);
        assert!(reads.returned(ANN, &[content(2)]));
        assert_eq!(reads.owed_to().count(), 0);
        reads.forget(BOB);
        assert!(reads.is_waiting(), "hers is still to be read");
        reads.forget(ANN);
        assert_eq!(reads, Reads::default());
    }

    #[test]
    fn no_more_is_owed_than_the_limit_and_a_checkpoint_keeps_all_of_it() {
        let mut reads = Reads::default();
        for number in 0..=limits::RECEIPTS_OWED {
            reads.arrived(body(number), ANN, content(number));
            reads.settled(body(number), true);
        }
        assert_eq!(owed(&reads, ANN).len(), limits::RECEIPTS_OWED);
        reads.arrived(body(1), BOB, content(1));
        let (unread, owed) = reads.kept();
        let mut again = Reads::default();
        again.keep(&unread, &owed);
        assert_eq!(again, reads);
    }
}
