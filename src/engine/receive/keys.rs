//! The keys of authenticators: which sender each of them shows (docs/protocol.md, "Authenticator").
//!
//! | key | shows | until |
//! |---|---|---|
//! | of a card that we sent | that contact | the contact is removed |
//! | of an invitation that is open | that invitation | it is used, expires or is revoked |
//! | of an invitation that was used | that invitation, not its user | the user acknowledges our card, or uses its key |
//!
//! Everybody who has the text of an invitation has its key. That is why such a key never gives the rights of a contact.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::{InvitationId, MacKey, Onion, Timestamp};
use crate::mail::invitation::auth_key;
use crate::wire::{Claim, Mac, verify};

use crate::engine::session::Sender;
use crate::engine::state::book::{Book, InvitationEntry};

/// The keys of the invitations, each derived once.
#[derive(Default)]
pub(in crate::engine) struct Keys {
    invitations: BTreeMap<InvitationId, MacKey>,
}

impl Keys {
    /// The sender whose key made this authenticator of a claim, for an object to this onion. The keys that a session
    /// has shown before are tried first.
    pub(in crate::engine) fn sender(
        &mut self,
        book: &Book,
        now: Timestamp,
        shown: &BTreeSet<Sender>,
        to: Onion,
        claim: &Claim,
        mac: &Mac,
    ) -> Sender {
        self.learn(book);
        let fits = |key: &MacKey| verify(key, to, claim, mac);
        let invitation = |entry: &InvitationEntry| self.open_key(book, entry, now).is_some_and(fits);
        let shows = |sender: Sender| match sender {
            Sender::Contact(id) => book.contact(id).and_then(|contact| contact.inbound.first()).is_some_and(fits),
            Sender::Invitation(id) => book.invitation(id).is_some_and(invitation),
            Sender::Stranger => false,
        };
        if let Some(known) = shown.iter().copied().find(|known| shows(*known)) {
            return known;
        }
        if let Some(contact) = book.contacts().find(|contact| contact.inbound.first().is_some_and(fits)) {
            return Sender::Contact(contact.id);
        }
        let found = book.invitations().find(|entry| invitation(entry));
        found.map_or(Sender::Stranger, |entry| Sender::Invitation(entry.id))
    }

    /// The key of an invitation, if it still shows a sender.
    fn open_key(&self, book: &Book, invitation: &InvitationEntry, now: Timestamp) -> Option<&MacKey> {
        let serves = |key: &&MacKey| match invitation.used {
            None => invitation.is_open(now),
            Some(contact) => book.contact(contact).is_some_and(|contact| contact.inbound.contains(*key)),
        };
        self.invitations.get(&invitation.id).filter(serves)
    }

    /// Derives the keys of invitations that were made since, and forgets those of invitations that are gone.
    fn learn(&mut self, book: &Book) {
        for invitation in book.invitations() {
            if let Some(secret) = &invitation.secret
                && !self.invitations.contains_key(&invitation.id)
                && let Some(key) = auth_key(secret)
            {
                self.invitations.insert(invitation.id, key);
            }
        }
        self.invitations.retain(|id, _| book.invitation(*id).is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(numbers: &[(u8, bool)]) -> Book {
        let (made, expires) = (Timestamp::from_secs(1_800_000_000), Timestamp::from_secs(1_800_003_600));
        let mut book = Book::default();
        for &(number, has_secret) in numbers {
            let (id, secret) = (InvitationId::from_bytes([number; 16]), has_secret.then_some([number; 16]));
            assert!(book.invite(&InvitationEntry { id, secret, made, expires, used: None }));
        }
        book
    }

    #[test]
    fn keys_are_known_of_the_invitations_that_are_there_and_of_no_others() {
        let mut keys = Keys::default();
        // An invitation without a secret has no key, and does not hide that another one is gone.
        for invitations in [[(1, true), (2, true), (3, true)].as_slice(), &[(2, true), (4, false), (5, true)], &[]] {
            keys.learn(&book(invitations));
            let known: Vec<_> = keys.invitations.keys().map(|id| id.as_bytes()[0]).collect();
            let expected: Vec<_> =
                invitations.iter().filter(|(_, secret)| *secret).map(|(number, _)| *number).collect();
            assert_eq!(known, expected);
        }
    }
}
