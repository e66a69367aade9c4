//! What was revoked: by this identity, and by others. Neither is ever taken back.
//!
//! What others revoked is kept by their primary key, and apart from the address book: it outlasts the contact, so that
//! nothing brings a revoked key or onion back into the book, whatever an older card, a grant or an invitation says.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::ids::Fingerprint;
use crate::base::{ContactId, Onion, Timestamp};
use crate::engine::state::State;
use crate::engine::state::book::{Contact, ContactChange, ContactStatus};
use crate::engine::state::mailbox::ModSeq;
use crate::engine::state::queue::{Notify, Options, RecipientOptions, Submitted};
use crate::engine::state::record::PeopleRecord;
use crate::mail::ContentKind;
use crate::mail::revocation::Extent;

/// The report that the user wants of the revocation itself: who could not be told.
const FAILURES: Notify = Notify { success: false, failure: true, delay: false };

/// What somebody revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// The onion that was bound to the key.
    pub onion: Onion,
    /// What is revoked.
    pub extent: Extent,
    /// When we learnt of it first; for our own, when it was done.
    pub at: Timestamp,
}

/// What this identity revoked of itself, and what others revoked, by primary key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocations {
    own: Option<Revoked>,
    others: BTreeMap<Fingerprint, Revoked>,
}

impl Revocations {
    /// What this identity revoked of itself: it sends no mail then.
    pub const fn own(&self) -> Option<&Revoked> {
        self.own.as_ref()
    }

    /// What the holder of this key revoked.
    pub fn of(&self, fingerprint: &Fingerprint) -> Option<&Revoked> {
        self.others.get(fingerprint)
    }

    /// Whether somebody with this key at this onion may not become a contact, or stay one.
    pub fn concern(&self, fingerprint: &Fingerprint, onion: Onion) -> bool {
        self.others.contains_key(fingerprint)
            || self.others.values().any(|revoked| revoked.extent.onion && revoked.onion == onion)
    }

    /// All of others.
    pub fn iter(&self) -> impl Iterator<Item = (&Fingerprint, &Revoked)> {
        self.others.iter()
    }

    /// How many there are of others.
    pub fn len(&self) -> usize {
        self.others.len()
    }

    /// Whether there is none of others.
    pub fn is_empty(&self) -> bool {
        self.others.is_empty()
    }

    /// Takes one in, with what was known before; whether that says anything new.
    pub(in crate::engine) fn take(&mut self, fingerprint: Fingerprint, revoked: &Revoked) -> bool {
        let known = self.others.entry(fingerprint).or_insert_with(|| Revoked { extent: Extent::default(), ..*revoked });
        let before = known.extent;
        known.extent = before.and(revoked.extent);
        before != known.extent
    }
}

impl State {
    /// Whether a contact revoked its key, or the onion at which it is.
    pub(in crate::engine::state) fn is_revoked(&self, contact: &Contact) -> bool {
        self.revocations.concern(&contact.fingerprint, contact.address.onion())
    }

    /// Somebody revoked something: it is noted, nothing is sent there any more, and the user is told once.
    pub(in crate::engine::state) fn take_revocation(&mut self, number: ModSeq, record: &PeopleRecord) -> bool {
        let PeopleRecord::RevocationTaken { seen, fingerprint, revoked, contact, notice } = record else {
            return false;
        };
        if seen.as_ref().is_some_and(|seen| self.duplicates.contains(seen)) {
            self.released.extend(notice.iter().map(|notice| notice.1.body));
            return false;
        }
        if let Some(seen) = seen {
            self.duplicates.remember(seen);
        }
        let is_news = Arc::make_mut(&mut self.revocations).take(*fingerprint, revoked);
        if let Some(contact) = contact.filter(|contact| self.book.contact(*contact).is_some()) {
            self.write_no_more(contact);
        }
        match notice {
            Some(notice) if is_news => {
                let (folder, message) = &**notice;
                self.add_message(number, *folder, message);
            }
            _ => self.released.extend(notice.iter().map(|notice| notice.1.body)),
        }
        true
    }

    /// A contact is written to no more, and nothing that it was given counts. One that is blocked, or waits in Requests, stays
    /// so: its mail is not to be shown otherwise than before.
    fn write_no_more(&mut self, contact: ContactId) {
        let card = self.book.contact(contact).and_then(|entry| entry.cards.pending.as_ref().map(|card| card.content));
        if let Some(card) = card {
            self.book.change(contact, &ContactChange::CardSettled(card));
        }
        let known = |status| matches!(status, ContactStatus::Confirmed | ContactStatus::Greeting);
        if self.book.contact(contact).is_some_and(|entry| known(entry.status)) {
            self.book.change(contact, &ContactChange::Status(ContactStatus::Revoked));
        }
        for invitation in self.introductions.part(contact) {
            self.book.revoke(invitation);
        }
        self.forwarding.allow(contact, false);
    }

    /// This identity is revoked, and its contacts are told.
    pub(in crate::engine::state) fn apply_own_revocation(
        &mut self,
        extent: Extent,
        at: Timestamp,
        queued: Option<&Submitted>,
    ) -> bool {
        let Some(onion) = self.profile.as_ref().map(|profile| profile.public.onion()) else {
            self.released.extend(queued.map(|queued| queued.body));
            return false;
        };
        let known = Arc::make_mut(&mut self.revocations).own.get_or_insert_with(|| Revoked {
            onion,
            extent: Extent::default(),
            at,
        });
        known.extent = known.extent.and(extent);
        let open: Vec<_> = self.book.invitations().filter(|it| it.used.is_none()).map(|it| it.id).collect();
        for invitation in open {
            self.book.revoke(invitation);
        }
        if let Some(queued) = queued {
            self.queue_content(queued, ContentKind::Revocation);
            let asked = RecipientOptions { notify: FAILURES, ..RecipientOptions::default() };
            let recipients = queued.recipients.keys().map(|contact| (*contact, asked.clone())).collect();
            self.queue.set_options(queued.id, &Options { recipients, ..Options::default() });
        }
        true
    }
}
