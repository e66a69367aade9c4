//! The address book: contacts, how each became one, and the invitations that this identity made.
//!
//! It is the fold of the contact and invitation records. A primary key is pinned from the first moment: an onion never
//! gets a second one, a key never a second onion. The local name always wins over what the peer says.
//!
//! A contact is in one of five states:
//!
//! | state | reached by | mail from it | mail to it |
//! |---|---|---|---|
//! | greeting | we used its invitation | INBOX | after our card was acknowledged |
//! | confirmed | its card came, or we accepted it | INBOX | yes |
//! | request | its card came without a valid secret | Requests | no |
//! | blocked | `contact block`, or moved from Requests to Junk | acknowledged and dropped | no |
//! | revoked | it said so | INBOX; refused where its key is revoked | no |

mod acquaintance;
mod closest;
mod index;
mod unaddressable;

pub use acquaintance::{Acquaintance, Renewal};
pub use unaddressable::Unaddressable;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::ids::Fingerprint;
use crate::base::limits;
use crate::base::{ContactId, ContentId, InvitationId, MacKey, Onion, Timestamp};
use crate::mail::address::PETNAME_DOMAIN;
use crate::mail::invitation::SECRET_BYTES;
use crate::mail::{Address, LocalPart};

use crate::engine::state::record::{BookRecord, Record};
use crate::engine::state::shards::Shards;
use index::Index;

/// The state of a contact (the table above).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ContactStatus {
    /// We used its invitation and wait for its card.
    Greeting,
    /// Both sides know each other.
    Confirmed,
    /// It wrote without an invitation and waits for an answer.
    Request,
    /// Its mail is acknowledged and dropped.
    Blocked,
    /// It revoked its onion or its key.
    Revoked,
}

/// How a contact came into the book.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// In what way.
    pub how: HowMet,
    /// When.
    pub at: Timestamp,
}

/// In what way a contact became known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HowMet {
    /// We used an invitation that it made.
    InvitationUsed,
    /// It used an invitation that we made.
    InvitationMade(InvitationId),
    /// It wrote on its own, for example after a public invitation.
    Unasked,
}

/// A card that waits to be sent. Its content is made from this and the profile, so every retry says the same.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingCard {
    /// Its signed id.
    pub content: ContentId,
    /// Its signed expiry.
    pub expires: Timestamp,
    /// Its number towards this contact.
    pub counter: u64,
    /// The secret of the invitation that it redeems.
    pub secret: Option<[u8; SECRET_BYTES]>,
}

impl fmt::Debug for PendingCard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingCard").field("content", &self.content).finish_non_exhaustive()
    }
}

/// The cards that went both ways.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cards {
    /// The number of the last card made for it.
    pub sent: u64,
    /// The number of the last card that came from it.
    pub seen: u64,
    /// The card that the contact gets before anything else.
    pub pending: Option<PendingCard>,
}

/// One entry of the address book.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// Its name in records.
    pub id: ContactId,
    /// The user's name for it; unique without regard to case.
    pub petname: String,
    /// Its address.
    pub address: Address,
    /// Its pinned primary key.
    pub fingerprint: Fingerprint,
    /// Its certificate, once known.
    pub certificate: Option<Arc<[u8]>>,
    /// The epoch of the last binding that it proved; 0 before the first.
    pub binding_epoch: u32,
    /// The state that it is in.
    pub status: ContactStatus,
    /// How it came into the book, oldest first.
    pub provenance: Vec<Provenance>,
    /// The key of our cards, with which it authenticates to us; after it the key of the invitation that it used, until
    /// it has the other (`keys`).
    pub inbound: Vec<MacKey>,
    /// The key with which we authenticate to it.
    pub outbound: Option<MacKey>,
    /// The cards that went both ways.
    pub cards: Cards,
}

impl Contact {
    /// Whether mail may be addressed to it.
    pub const fn may_receive(&self) -> bool {
        self.unaddressable().is_none()
    }

    const fn unaddressable(&self) -> Option<Unaddressable> {
        match self.status {
            ContactStatus::Greeting | ContactStatus::Confirmed => None,
            ContactStatus::Request => Some(Unaddressable::Waiting),
            ContactStatus::Blocked => Some(Unaddressable::Blocked),
            ContactStatus::Revoked => Some(Unaddressable::Revoked),
        }
    }

    /// The record that ends the key of the invitation that the contact used, because it has the key of our card. `None`
    /// if that key has ended already.
    pub(in crate::engine) fn key_settled(&self) -> Option<Record> {
        let change = ContactChange::KeySettled;
        (self.inbound.len() > 1).then_some(Record::Book(BookRecord::ContactChanged { id: self.id, change }))
    }
}

impl fmt::Debug for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contact").field("id", &self.id).field("status", &self.status).finish_non_exhaustive()
    }
}

/// One change of a contact.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContactChange {
    /// Its certificate became known or was renewed under the pinned key.
    Certificate(Arc<[u8]>),
    /// It is to get this card.
    CardQueued(PendingCard),
    /// The card with this id was acknowledged, or given up.
    CardSettled(ContentId),
    /// It has the key of our card, so the key of the invitation ends.
    KeySettled,
    /// The user accepted or blocked it.
    Status(ContactStatus),
    /// Another of its invitations was used: greet it again, and authenticate with this key meanwhile.
    Greeted(PendingCard, Option<MacKey>, Provenance),
    /// The user calls it this.
    Petname(String),
}

impl fmt::Debug for ContactChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate(_) => "Certificate",
            Self::CardQueued(_) => "CardQueued",
            Self::CardSettled(_) => "CardSettled",
            Self::KeySettled => "KeySettled",
            Self::Status(_) => "Status",
            Self::Greeted(..) => "Greeted",
            Self::Petname(_) => "Petname",
        })
    }
}

/// One invitation that this identity made.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvitationEntry {
    /// Its name, for revoking.
    pub id: InvitationId,
    /// `None` for a public one, which nobody can redeem: a sender that uses it lands in Requests.
    pub secret: Option<[u8; SECRET_BYTES]>,
    /// When it was made.
    pub made: Timestamp,
    /// When it stops working.
    pub expires: Timestamp,
    /// The contact that used it.
    pub used: Option<ContactId>,
}

impl InvitationEntry {
    /// Whether its secret still makes a contact.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.secret.is_some() && self.used.is_none() && now < self.expires
    }
}

impl fmt::Debug for InvitationEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InvitationEntry").field("id", &self.id).field("used", &self.used).finish_non_exhaustive()
    }
}

/// The contacts and the invitations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Kept")]
pub struct Book {
    contacts: Shards<ContactId, Arc<Contact>>,
    invitations: Shards<InvitationId, InvitationEntry>,
    /// For whom invitations are, in the words of the user.
    labels: Shards<InvitationId, String>,
    /// When the user last said that the verification number of a contact is the same at both sides.
    verified: Shards<ContactId, Timestamp>,
    /// Made anew when a book is read. Most changes leave it as it is, and copies of the book share it.
    #[serde(skip)]
    index: Index,
}

/// A book as it is written: without its index.
#[derive(Deserialize)]
struct Kept {
    contacts: Shards<ContactId, Arc<Contact>>,
    invitations: Shards<InvitationId, InvitationEntry>,
    labels: Shards<InvitationId, String>,
    verified: Shards<ContactId, Timestamp>,
}

impl From<Kept> for Book {
    fn from(Kept { contacts, invitations, labels, verified }: Kept) -> Self {
        let mut index = Index::default();
        contacts.values().for_each(|contact| index.add(contact));
        Self { contacts, invitations, labels, verified, index }
    }
}

/// Whether two names for people are the same.
pub(in crate::engine) fn same_name(a: &str, b: &str) -> bool {
    fold(a) == fold(b)
}

/// A name as it is compared.
fn fold(name: &str) -> String {
    name.to_lowercase()
}

impl Book {
    /// All contacts, blocked ones and requests included.
    pub fn contacts(&self) -> impl Iterator<Item = &Arc<Contact>> {
        self.contacts.values()
    }

    /// The contact with this id.
    pub fn contact(&self, id: ContactId) -> Option<&Arc<Contact>> {
        self.contacts.get(&id)
    }

    /// The contact with this pinned primary key.
    pub fn by_fingerprint(&self, fingerprint: &Fingerprint) -> Option<&Arc<Contact>> {
        self.contact(self.index.with_key(fingerprint)?)
    }

    /// The contact at this onion.
    pub fn by_onion(&self, onion: Onion) -> Option<&Arc<Contact>> {
        self.contact(self.index.at(onion)?)
    }

    /// The contact with this petname.
    pub fn by_petname(&self, petname: &str) -> Option<&Arc<Contact>> {
        self.contact(self.index.named(petname)?)
    }

    /// The petname of the contact at this address, with any folder and whatever its status.
    pub fn petname_of(&self, address: &Address) -> Option<&str> {
        let contact = self.by_onion(address.onion())?;
        (contact.address.without_folder() == address.without_folder()).then_some(contact.petname.as_str())
    }

    /// The contact and the address that a text means: a full address (with `+folder`), `petname@rune.internal` or a
    /// bare petname. Only contacts that may receive mail.
    pub fn resolve(&self, text: &str) -> Result<(&Arc<Contact>, Address), Unaddressable> {
        let (contact, address) = self.meant(text).ok_or(Unaddressable::Unknown)?;
        contact.unaddressable().map_or(Ok((contact, address)), Err)
    }

    /// The contact and the address that a text means, whether or not mail may go there.
    fn meant(&self, text: &str) -> Option<(&Arc<Contact>, Address)> {
        let (contact, folder) = match text.rsplit_once('@') {
            Some((petname, domain)) if domain.eq_ignore_ascii_case(PETNAME_DOMAIN) => self.named(petname)?,
            Some(_) => {
                let address: Address = text.parse().ok()?;
                let contact = self.by_onion(address.onion())?;
                let known = contact.address.without_folder() == address.without_folder();
                return known.then_some((contact, address));
            }
            None => self.named(text)?,
        };
        let address = match folder {
            Some(folder) => with_folder(&contact.address, folder)?,
            None => contact.address.clone(),
        };
        Some((contact, address))
    }

    /// A petname, or a petname with `+folder`.
    fn named<'a>(&self, text: &'a str) -> Option<(&Arc<Contact>, Option<&'a str>)> {
        if let Some(contact) = self.by_petname(text) {
            return Some((contact, None));
        }
        let (petname, folder) = text.rsplit_once('+')?;
        Some((self.by_petname(petname)?, Some(folder)))
    }

    /// A petname that no contact has, nor the identity itself: the wanted one, or with a number behind it.
    pub fn free_petname(&self, wanted: &str, own: &LocalPart) -> String {
        // No mail program takes a dot at the beginning or end of a name, or two in a row.
        let parts: Vec<_> = wanted.split('.').filter(|part| !part.is_empty()).collect();
        let wanted = if parts.is_empty() { "contact".to_owned() } else { parts.join(".") };
        let wanted = wanted.as_str();
        let taken = |name: &str| self.by_petname(name).is_some() || same_name(name, own.as_str());
        if !taken(wanted) {
            return wanted.to_owned();
        }
        (2_u32..).map(|n| format!("{wanted}-{n}")).find(|name| !taken(name)).unwrap_or_default()
    }

    /// When the user verified this contact; `None` where that was not done, or was taken back.
    pub fn verified(&self, id: ContactId) -> Option<Timestamp> {
        self.verified.get(&id).copied()
    }

    /// The contacts that the user verified, and when.
    pub(in crate::engine) fn all_verified(&self) -> impl Iterator<Item = (&ContactId, &Timestamp)> {
        self.verified.iter()
    }

    /// How many contacts wait for an answer.
    pub fn requests(&self) -> usize {
        self.contacts.values().filter(|contact| contact.status == ContactStatus::Request).count()
    }

    /// All invitations that are remembered, used and expired ones included.
    pub fn invitations(&self) -> impl Iterator<Item = &InvitationEntry> {
        self.invitations.values()
    }

    /// The invitation with this id.
    pub fn invitation(&self, id: InvitationId) -> Option<&InvitationEntry> {
        self.invitations.get(&id)
    }

    /// For whom the user made an invitation, where they said so: the petname that its user gets.
    pub fn label(&self, id: InvitationId) -> Option<&str> {
        self.labels.get(&id).map(String::as_str)
    }

    /// The invitations whose user was named, with the names.
    pub(in crate::engine) fn labels(&self) -> impl Iterator<Item = (&InvitationId, &String)> {
        self.labels.iter()
    }

    /// The open invitation with this secret.
    pub fn redeemable(&self, secret: &[u8], now: Timestamp) -> Option<&InvitationEntry> {
        use subtle::ConstantTimeEq;
        // All of them are compared, so that the time does not tell which one matches.
        self.invitations.values().filter(|invitation| invitation.is_open(now)).fold(None, |found, invitation| {
            match &invitation.secret {
                Some(known) if bool::from(known.as_slice().ct_eq(secret)) => Some(invitation),
                _ => found,
            }
        })
    }

    pub(in crate::engine) fn add(&mut self, contact: &Contact) -> bool {
        let taken = self.contacts.contains_key(&contact.id)
            || self.by_fingerprint(&contact.fingerprint).is_some()
            || self.by_onion(contact.address.onion()).is_some()
            || self.by_petname(&contact.petname).is_some();
        if !taken {
            self.index.add(contact);
            self.contacts.insert(contact.id, Arc::new(contact.clone()));
        }
        !taken
    }

    pub(in crate::engine) fn change(&mut self, id: ContactId, change: &ContactChange) -> bool {
        if let ContactChange::Petname(petname) = change
            && self.by_petname(petname).is_some_and(|other| other.id != id)
        {
            return false;
        }
        let Some(contact) = self.contact(id) else { return false };
        if let ContactChange::CardSettled(content) = change
            && contact.cards.pending.as_ref().is_none_or(|pending| pending.content != *content)
        {
            return false;
        }
        let Some(contact) = self.contacts.get_mut(&id) else { return false };
        let renamed = matches!(change, ContactChange::Petname(_));
        if renamed {
            self.index.remove(contact);
        }
        Arc::make_mut(contact).apply(change);
        if renamed {
            self.index.add(contact);
        }
        true
    }

    pub(in crate::engine) fn remove(&mut self, id: ContactId) -> bool {
        let Some(contact) = self.contacts.remove(&id) else { return false };
        self.index.remove(&contact);
        self.verified.remove(&id);
        true
    }

    /// Marks a contact as verified, or takes the mark away.
    pub(in crate::engine) fn mark_verified(&mut self, id: ContactId, at: Option<Timestamp>) -> bool {
        let is_known = self.contacts.contains_key(&id);
        match at.filter(|_| is_known) {
            Some(at) => self.verified.insert(id, at),
            None => self.verified.remove(&id),
        };
        is_known
    }

    pub(in crate::engine) fn invite(&mut self, invitation: &InvitationEntry) -> bool {
        if self.invitations.contains_key(&invitation.id) {
            return false;
        }
        // An invitation that ended long ago is of no use to anybody.
        let now = invitation.made;
        self.invitations.retain(|_, old| old.expires.plus(limits::TOMBSTONE) > now);
        let invitations = &self.invitations;
        self.labels.retain(|id, _| invitations.contains_key(id));
        self.invitations.insert(invitation.id, invitation.clone());
        true
    }

    /// Notes for whom a private invitation is.
    pub(in crate::engine) fn label_invitation(&mut self, id: InvitationId, label: &str) -> bool {
        let private = self.invitation(id).is_some_and(|invitation| invitation.secret.is_some());
        if private {
            self.labels.insert(id, label.to_owned());
        }
        private
    }

    /// Puts an invitation back as a checkpoint kept it.
    pub(in crate::engine) fn keep_invitation(&mut self, invitation: &InvitationEntry) {
        self.invitations.insert(invitation.id, invitation.clone());
    }

    pub(in crate::engine) fn revoke(&mut self, id: InvitationId) -> bool {
        match self.invitations.get(&id) {
            Some(invitation) if invitation.used.is_none() => {
                self.labels.remove(&id);
                self.invitations.remove(&id).is_some()
            }
            _ => false,
        }
    }

    /// Raises the counters, so that no later card has one below this.
    pub(in crate::engine) fn raise_card_counters(&mut self, least: u64) {
        for contact in self.contacts.values_mut() {
            let cards = &mut Arc::make_mut(contact).cards;
            cards.sent = cards.sent.max(least);
            if let Some(card) = &mut cards.pending {
                cards.sent = cards.sent.saturating_add(1);
                card.counter = cards.sent;
            }
        }
    }

    /// Takes a card, whole or not at all.
    pub(in crate::engine) fn acquaint(
        &mut self,
        at: Timestamp,
        invitation: Option<InvitationId>,
        acquaintance: &Acquaintance,
    ) -> bool {
        if let Some(id) = invitation
            && !self.invitations.get(&id).is_some_and(|invitation| invitation.is_open(at))
        {
            return false;
        }
        let contact = match acquaintance {
            Acquaintance::New(contact) => {
                if !self.add(contact) {
                    return false;
                }
                contact.id
            }
            Acquaintance::Known(renewal) => {
                let known = self.contact(renewal.contact);
                if known.is_none_or(|known| renewal.counter <= known.cards.seen && invitation.is_none()) {
                    return false;
                }
                if let Some(contact) = self.contacts.get_mut(&renewal.contact) {
                    Arc::make_mut(contact).renew(renewal);
                }
                renewal.contact
            }
        };
        if let Some(used) = invitation.and_then(|id| self.invitations.get_mut(&id)) {
            used.used = Some(contact);
        }
        true
    }
}

/// The same address with a folder; `None` where the folder's name is not allowed.
fn with_folder(address: &Address, folder: &str) -> Option<Address> {
    let text = address.without_folder().to_string();
    let (name, domain) = text.rsplit_once('@')?;
    format!("{name}+{folder}@{domain}").parse().ok()
}

/// How many entries of a contact's history are kept: enough for a person, bounded for a peer that repeats itself.
const PROVENANCE: usize = 16;

impl Contact {
    fn apply(&mut self, change: &ContactChange) {
        match change {
            ContactChange::Certificate(certificate) => self.certificate = Some(certificate.clone()),
            ContactChange::CardQueued(card) => self.queue_card(card),
            ContactChange::CardSettled(_) => self.cards.pending = None,
            ContactChange::KeySettled => self.inbound.truncate(1),
            ContactChange::Status(status) => self.status = *status,
            ContactChange::Greeted(card, key, provenance) => {
                self.queue_card(card);
                if let Some(key) = key {
                    self.outbound = Some(key.clone());
                }
                if self.status != ContactStatus::Confirmed {
                    self.status = ContactStatus::Greeting;
                }
                self.remember(provenance.clone());
            }
            ContactChange::Petname(petname) => petname.clone_into(&mut self.petname),
        }
    }

    fn queue_card(&mut self, card: &PendingCard) {
        // Two cards that were begun before either was committed do not get one number.
        let begun = self.cards.pending.as_ref().is_some_and(|pending| pending.content == card.content);
        let counter = if begun { card.counter } else { card.counter.max(self.cards.sent.saturating_add(1)) };
        self.cards.sent = self.cards.sent.max(counter);
        self.cards.pending = Some(PendingCard { counter, ..card.clone() });
    }

    fn remember(&mut self, provenance: Provenance) {
        if self.provenance.len() < PROVENANCE {
            self.provenance.push(provenance);
        }
    }

    fn renew(&mut self, renewal: &Renewal) {
        self.certificate = Some(renewal.certificate.clone());
        self.binding_epoch = self.binding_epoch.max(renewal.binding_epoch);
        // A card that brings a secret of ours counts whatever its number is, and its author goes on from there.
        let begins_anew = renewal.inbound.is_some();
        self.cards.seen = if begins_anew { renewal.counter } else { self.cards.seen.max(renewal.counter) };
        self.outbound = Some(renewal.outbound.clone());
        if renewal.confirm {
            self.status = ContactStatus::Confirmed;
        }
        if let Some(key) = &renewal.inbound {
            self.inbound.truncate(1);
            self.inbound.push(key.clone());
        }
        if let Some(card) = &renewal.reply {
            self.queue_card(card);
        }
        if let Some(provenance) = &renewal.provenance {
            self.remember(provenance.clone());
        }
    }
}
