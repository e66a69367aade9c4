//! The keys that show who sends, and whose each is (docs/protocol.md, "Authenticator").
//!
//! | key | shows | until |
//! |---|---|---|
//! | of a card that we sent | that contact | the contact is removed |
//! | of an invitation that is open | that invitation | it is used, expires or is revoked |
//! | of an invitation that was used | that invitation, and not the contact who used it | the contact acknowledges our card, or uses the key of that card |
//!
//! Everybody who has the text of an invitation has its key. That is why it never gives what a contact may.

use std::collections::BTreeMap;

use crate::base::{InvitationId, MacKey, Onion, Timestamp};
use crate::mail::invitation::auth_key;
use crate::wire::{Claim, Mac, verify};

use super::book::{Book, InvitationEntry};
use super::session::Sender;

/// The keys of the invitations, each derived once.
#[derive(Default)]
pub(super) struct Keys {
    invitations: BTreeMap<InvitationId, MacKey>,
}

impl Keys {
    /// Whose key made this authenticator of a claim, for an object to this onion.
    pub(super) fn sender(&mut self, book: &Book, now: Timestamp, to: Onion, claim: &Claim, mac: &Mac) -> Sender {
        let fits = |key: &MacKey| verify(key, to, claim, mac);
        if let Some(contact) = book.contacts().find(|contact| contact.inbound.first().is_some_and(fits)) {
            return Sender::Contact(contact.id);
        }
        self.learn(book);
        let key_of = |invitation: &InvitationEntry| self.invitations.get(&invitation.id);
        let shows = |invitation: &InvitationEntry| {
            let serves = |key: &&MacKey| match invitation.used {
                None => invitation.is_open(now),
                Some(contact) => book.contact(contact).is_some_and(|contact| contact.inbound.contains(*key)),
            };
            key_of(invitation).filter(serves).is_some_and(fits)
        };
        let found = book.invitations().find(|invitation| shows(invitation));
        found.map_or(Sender::Stranger, |invitation| Sender::Invitation(invitation.id))
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
        if self.invitations.len() > book.invitations().count() {
            self.invitations.retain(|id, _| book.invitation(*id).is_some());
        }
    }
}
