//! The state of an identity: the fold of its records.
//!
//! [`State::apply`] is deterministic and decides conflicts: a record whose precondition no longer holds when its turn
//! comes (the UID was used, the message is gone, the invitation was redeemed, the content was seen) changes nothing,
//! now and in every later replay. A [`Snapshot`] is what readers get: it shares its parts and never changes.

pub mod book;
pub mod boxes;
mod changes;
pub mod duplicates;
pub mod forwarding;
pub mod introductions;
mod kept;
pub mod mailbox;
pub mod notes;
pub mod outbox;
pub mod profile;
pub mod queue;
pub mod record;
mod references;
mod replacement;
mod restoration;
pub mod revocations;
pub mod seal_keys;
pub mod shards;

pub use restoration::Lost;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::rng::Rng;
use crate::base::{BodyId, BoxId, ContactId, FolderId, QueueId, Timestamp};
use crate::mail::ContentKind;

use crate::engine::state::book::Book;
use crate::engine::state::boxes::{Check, KnownBoxes};
use crate::engine::state::duplicates::Duplicates;
use crate::engine::state::forwarding::Forwarding;
use crate::engine::state::introductions::Introductions;
use crate::engine::state::mailbox::{FolderRole, Mailbox, ModSeq, Uid};
use crate::engine::state::notes::Notes;
use crate::engine::state::outbox::Outbox;
use crate::engine::state::profile::{Profile, PublicProfile};
use crate::engine::state::queue::{Progress, Queue};
use crate::engine::state::record::{IdentityRecord, MailboxRecord, Record};
use crate::engine::state::references::References;
use crate::engine::state::revocations::{Revocations, Revoked};
use crate::engine::state::seal_keys::SealKeys;
use crate::engine::state::shards::Shards;

/// One application password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Password {
    /// What its user calls it.
    pub name: String,
    /// The hash of the password, as text; the code that checks passwords knows its form.
    pub hash: String,
    /// When it was made.
    pub created: Timestamp,
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Password").field("created", &self.created).finish_non_exhaustive()
    }
}

/// Everything that the records say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    profile: Option<Arc<Profile>>,
    mailbox: Mailbox,
    book: Book,
    queue: Queue,
    outbox: Outbox,
    passwords: Arc<Vec<Password>>,
    duplicates: Duplicates,
    requests: BTreeMap<BodyId, ContactId>,
    boxes: KnownBoxes,
    forwarding: Forwarding,
    introductions: Introductions,
    seal_keys: SealKeys,
    notes: Notes,
    revocations: Arc<Revocations>,
    hidden: bool,
    last_uid_validity: u32,
    last_record: ModSeq,
    /// It is not encoded: a state that is decoded counts its references anew.
    #[serde(skip)]
    references: References,
    /// Bodies to which nothing refers any more, since [`Self::take_released`] was last called.
    #[serde(skip)]
    released: Vec<BodyId>,
}

/// What applying a record did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// The change that the record asks for.
    Done,
    /// The change, for these UIDs: the others were gone.
    Changed(Vec<Uid>),
    /// The change, for these pairs: the other messages were gone.
    Transferred(Vec<(Uid, Uid)>),
    /// Nothing: its precondition no longer held.
    Nothing,
}

/// The committed state, for readers. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The identity's public profile; `None` only before its first record.
    pub profile: Option<Arc<PublicProfile>>,
    /// Folders and messages.
    pub mailbox: Mailbox,
    /// Contacts and invitations.
    pub book: Book,
    /// The messages that were submitted and wait.
    pub queue: Queue,
    /// Whether the identity's onion is not to be published.
    pub hidden: bool,
    /// How the attempts to reach each contact went, since the start of the daemon.
    pub attempts: Shards<ContactId, Attempts>,
    /// What was seen of each contact.
    pub sightings: Shards<ContactId, Sighting>,
    /// The application passwords.
    pub passwords: Arc<Vec<Password>>,
    /// Boxes, ours and those of contacts, and the copies that were left there.
    pub boxes: KnownBoxes,
    /// Which objects we forward and for whom, and which friends forward for us.
    pub forwarding: Forwarding,
    /// Introductions: those that we make, those that wait for the user, and who introduced whom.
    pub introductions: Introductions,
    /// Whether the identity knocks at anybody, as the configuration and its user want it.
    pub knocks: bool,
    /// Whom it knocks at then.
    pub notes: Notes,
    /// What this identity revoked of itself, and what others revoked.
    pub revocations: Arc<Revocations>,
    /// How the attempts at our own boxes go: when the next session is, and why the last one failed.
    pub collections: Arc<BTreeMap<BoxId, Attempts>>,
    /// How the last check of each of our boxes goes, or went, since the start of the daemon.
    pub checks: Arc<BTreeMap<BoxId, Check>>,
}

/// How the attempts to reach a contact went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attempts {
    /// How many attempts failed since the last that succeeded.
    pub failed: u32,
    /// When the first of these failed.
    pub failing_since: Option<Timestamp>,
    /// When the next attempt is due; `None` while one runs or nothing waits.
    pub next: Option<Timestamp>,
    /// Why the last attempt failed.
    pub last_error: Option<AttemptError>,
}

/// What was seen of a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sighting {
    /// When it was last online, or something of it was taken, or a message reached it; to the minute.
    pub last: Option<Timestamp>,
    /// How many contents came from it that had come before, since the start of the daemon.
    pub duplicates: u64,
}

/// Why an attempt to reach a contact failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AttemptError {
    /// No node answers at the contact's onion.
    #[error("their node does not answer; it is probably off")]
    Unreachable,
    /// We are not connected.
    #[error("this node is not connected to the network yet")]
    Offline,
    /// The session broke off.
    #[error("the connection broke off")]
    Broken,
    /// The contact's node asked to try later.
    #[error("their node asks to try again later")]
    Later,
    /// The contact's node showed a certificate that is not of the pinned key.
    #[error("their node showed a certificate that does not belong to this contact")]
    WrongCertificate,
    /// A carrier refuses to do what it was asked.
    #[error("the carrier refuses; its invitation may be used up or expired, or it no longer has this box")]
    Refused,
    /// Our own disk or crypto failed.
    #[error("this node could not prepare the message now")]
    Local,
}

impl State {
    /// The records that make an identity: its profile and the folders that always exist.
    pub fn genesis(profile: Profile, rng: &mut dyn Rng) -> Vec<Record> {
        let created = profile.public.created;
        let mut records = vec![Record::Identity(IdentityRecord::IdentityCreated { profile: Box::new(profile) })];
        records.extend(Self::default().missing_folders(created, rng));
        records
    }

    /// The records that make the folders that always exist, as far as they are missing: all of them in a new identity,
    /// those that came with a later version in an older one. A name that the user has given away already gets a number.
    pub fn missing_folders(&self, now: Timestamp, rng: &mut dyn Rng) -> Vec<Record> {
        let seconds = u32::try_from(now.secs()).unwrap_or(1).max(1);
        let first = seconds.max(self.last_uid_validity.saturating_add(1));
        let missing = FolderRole::ALL.into_iter().filter(|role| self.mailbox.by_role(*role).is_none());
        missing
            .zip(first..)
            .map(|(role, uid_validity)| {
                Record::Mailbox(MailboxRecord::FolderCreated {
                    id: FolderId::random(rng),
                    name: self.mailbox.free_name(role.name()),
                    role: Some(role),
                    uid_validity,
                })
            })
            .collect()
    }

    /// The profile, with its secrets; `None` only before the first record.
    pub const fn profile(&self) -> Option<&Arc<Profile>> {
        self.profile.as_ref()
    }

    /// Folders and messages.
    pub const fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// Contacts and invitations.
    pub const fn book(&self) -> &Book {
        &self.book
    }

    /// The messages that were submitted and wait.
    pub const fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Which messages of the Outbox stand for which entries of the queue.
    pub const fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// The application passwords.
    pub fn passwords(&self) -> &[Password] {
        &self.passwords
    }

    /// Whether the identity's onion is not to be published.
    pub const fn is_hidden(&self) -> bool {
        self.hidden
    }

    /// When each contact last sent something that was taken, or took something, as far as that is remembered.
    pub(in crate::engine) fn answered(&self) -> BTreeMap<ContactId, Timestamp> {
        let of = |author| self.book.by_fingerprint(author).map(|contact| contact.id);
        let received: Vec<_> = self.duplicates.received().collect();
        let received = received.iter().filter_map(|(author, at)| Some((of(author)?, *at)));
        let delivered = self.queue.ended().flat_map(|queued| {
            let recipients = queued.recipients.iter();
            recipients.filter_map(|(contact, recipient)| match recipient.progress {
                Progress::Delivered(at) => Some((*contact, at)),
                _ => None,
            })
        });
        let mut answered: BTreeMap<ContactId, Timestamp> = BTreeMap::new();
        for (contact, at) in received.chain(delivered) {
            let last = answered.entry(contact).or_insert(at);
            *last = at.max(*last);
        }
        answered
    }

    /// The contents that were received and are not to be taken again.
    pub const fn duplicates(&self) -> &Duplicates {
        &self.duplicates
    }

    /// The contact that asks with this message to be accepted, until the user decides.
    pub fn requester(&self, body: BodyId) -> Option<ContactId> {
        self.requests.get(&body).copied()
    }

    /// Boxes, ours and those of contacts, and the copies that were left there.
    pub const fn boxes(&self) -> &KnownBoxes {
        &self.boxes
    }

    /// Which objects we forward and for whom, and which friends forward for us.
    pub const fn forwarding(&self) -> &Forwarding {
        &self.forwarding
    }

    /// Introductions: those that we make, those that wait for the user, and who introduced whom.
    pub const fn introductions(&self) -> &Introductions {
        &self.introductions
    }

    /// Our encryption keys.
    pub const fn seal_keys(&self) -> &SealKeys {
        &self.seal_keys
    }

    /// What this identity revoked of itself.
    pub fn revoked(&self) -> Option<&Revoked> {
        self.revocations.own()
    }

    /// What others revoked.
    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// Whether an entry of the queue may be sent: an identity that was revoked sends nothing but the revocation.
    pub(in crate::engine) fn may_send(&self, queue: QueueId) -> bool {
        self.revoked().is_none() || self.introductions.kind(queue) == ContentKind::Revocation
    }

    /// The highest UIDVALIDITY that was ever given.
    pub const fn last_uid_validity(&self) -> u32 {
        self.last_uid_validity
    }

    /// The number of the last record that was applied.
    pub const fn last_record(&self) -> ModSeq {
        self.last_record
    }

    /// Every body that is still needed.
    pub fn bodies(&self) -> BTreeSet<BodyId> {
        self.references.bodies().collect()
    }

    /// The bodies that are no longer needed since this was last asked.
    pub fn take_released(&mut self) -> Vec<BodyId> {
        let mut released = std::mem::take(&mut self.released);
        // A body may be referred to again: by a transaction that removes a message and puts its copy elsewhere.
        released.retain(|body| !self.references.contains(*body));
        released
    }

    /// The part of the state that readers get; the attempts are added by the rooms.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            profile: self.profile.as_ref().map(|profile| profile.public.clone()),
            mailbox: self.mailbox.clone(),
            book: self.book.clone(),
            queue: self.queue.clone(),
            hidden: self.hidden,
            passwords: self.passwords.clone(),
            boxes: self.boxes.clone(),
            forwarding: self.forwarding.clone(),
            introductions: self.introductions.clone(),
            notes: self.notes.clone(),
            revocations: Arc::clone(&self.revocations),
            ..Snapshot::default()
        }
    }

    /// The bytes that the view keeps, so that a start need not replay the whole log. They hold secrets, so the view
    /// seals them.
    ///
    /// # Errors
    /// [`StateError`], which no state of ours leads to.
    pub fn encode(&self) -> Result<Vec<u8>, StateError> {
        postcard::to_extend(self, vec![STATE_VERSION]).map_err(|_| StateError)
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`StateError`]: replay the log instead.
    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        match bytes.split_first() {
            Some((&STATE_VERSION, rest)) => match postcard::take_from_bytes::<Self>(rest) {
                Ok((mut state, [])) => {
                    let objects = state.forwarding.objects().map(|forwarded| forwarded.body);
                    let bodies =
                        state.mailbox.bodies().chain(state.queue.iter().map(|queued| queued.body)).chain(objects);
                    bodies.for_each(|body| state.references.add(body));
                    Ok(state)
                }
                _ => Err(StateError),
            },
            _ => Err(StateError),
        }
    }
}

/// Grows with every change of a type that the state holds: an older image is then replayed instead of misread.
const STATE_VERSION: u8 = 11;

/// A kept state cannot be used; the log has everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the kept state is of another version or damaged")]
pub struct StateError;

impl From<bool> for Applied {
    fn from(done: bool) -> Self {
        if done { Self::Done } else { Self::Nothing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::Fingerprint;
    use crate::base::rng::{Rng, SeededRng};
    use crate::base::{ContentId, MacKey, Onion};
    use crate::engine::state::book::{Cards, Contact, ContactChange, ContactStatus, HowMet, PendingCard, Provenance};
    use crate::engine::state::record::BookRecord;
    use crate::engine::tests::samples;
    use proptest::prelude::*;

    proptest! {
        /// Whatever records a log has, in any order: applying them ends, gives the same each time, and keeps what must
        /// hold.
        #[test]
        fn any_records_in_any_order_have_one_fold(seed in any::<u64>(), count in 0_u64..120) {
            let mut rng = SeededRng::new(seed);
            let rng: &mut dyn Rng = &mut rng;
            let mut records = Vec::new();
            for _ in 0..count {
                // A record of a checkpoint never stands among the others.
                let kind = rng.below(samples::CHANGES);
                records.push(samples::record(kind, rng));
            }
            let (mut state, mut again) = (State::default(), State::default());
            let mut highest = BTreeMap::new();
            for (number, record) in (1..).zip(&records) {
                let applied = state.apply(number, record);
                // From a kept state in the middle, the rest of the log leads to the same state.
                again = State::decode(&again.encode().unwrap()).unwrap();
                prop_assert_eq!(again.apply(number, record), applied);
                for folder in state.mailbox().folders() {
                    let key = (folder.id, folder.uid_validity);
                    let before = highest.insert(key, folder.uid_next).unwrap_or(0);
                    prop_assert!(folder.uid_next >= before, "a UID could be given twice");
                }
            }
            let _ = (state.take_released(), again.take_released());
            prop_assert!(state == again);
            // A checkpoint leads to the same state, whatever was there before.
            for mut other in [State::default(), State::decode(&again.encode().unwrap()).unwrap()] {
                for record in state.checkpoint() {
                    let decoded = Record::decode(&record.encode().unwrap()).unwrap().unwrap();
                    prop_assert_eq!(other.apply(count, &decoded), Applied::Done);
                }
                other.last_record = count;
                prop_assert!(state == other);
            }
            let objects = state.forwarding.objects().map(|forwarded| forwarded.body);
            let needed: BTreeSet<_> =
                state.mailbox.bodies().chain(state.queue.iter().map(|queued| queued.body)).chain(objects).collect();
            prop_assert_eq!(state.bodies(), needed);
            prop_assert_eq!(state.last_record(), count);
            let fingerprints: BTreeSet<_> = state.book().contacts().map(|contact| contact.fingerprint).collect();
            prop_assert_eq!(fingerprints.len(), state.book().contacts().count());
        }
    }

    proptest! {
        #[test]
        fn even_records_in_the_wrong_place_have_one_fold(seed in any::<u64>(), count in 0_u64..120) {
            let mut rng = SeededRng::new(seed);
            let rng: &mut dyn Rng = &mut rng;
            let (mut state, mut again) = (State::default(), State::default());
            for number in 1..count {
                let kind = rng.below(samples::KINDS);
                let record = samples::record(kind, rng);
                let applied = state.apply(number, &record);
                again = State::decode(&again.encode().unwrap()).unwrap();
                prop_assert_eq!(again.apply(number, &record), applied);
            }
            let _ = (state.take_released(), again.take_released());
            prop_assert!(state == again);
        }
    }

    #[test]
    fn an_image_of_another_version_or_with_damage_is_not_used() {
        let mut bytes = State::default().encode().unwrap();
        assert_eq!(State::decode(&bytes), Ok(State::default()));
        assert_eq!(State::decode(&bytes[..bytes.len() - 1]), Err(StateError));
        bytes[0] += 1;
        assert_eq!(State::decode(&bytes), Err(StateError));
        assert_eq!(State::decode(&[]), Err(StateError));
    }

    fn known(state: &State) -> &Contact {
        state.book().contact(ContactId::from_bytes([1; 16])).unwrap()
    }

    /// A contact that was sent three cards, of which the last waits.
    fn with_contact() -> State {
        let (card, at) = (card(3), Timestamp::from_secs(1_800_000_000));
        let contact = Contact {
            id: ContactId::from_bytes([1; 16]),
            petname: "bob".to_owned(),
            address: format!("bob@{}", Onion::from_public_key([1; 32])).parse().unwrap(),
            fingerprint: Fingerprint::from_bytes([1; 32]),
            certificate: None,
            binding_epoch: 1,
            status: ContactStatus::Confirmed,
            provenance: vec![Provenance { how: HowMet::Unasked, at }],
            inbound: vec![MacKey::from_bytes([1; 32])],
            outbound: Some(MacKey::from_bytes([2; 32])),
            cards: Cards { sent: 3, seen: 5, pending: Some(card) },
        };
        let mut state = State::default();
        assert_eq!(
            state.apply(1, &Record::Book(BookRecord::ContactAdded { contact: Box::new(contact) })),
            Applied::Done
        );
        state
    }

    fn card(counter: u64) -> PendingCard {
        let (content, expires) = (ContentId::from_bytes([counter as u8; 16]), Timestamp::from_secs(1_800_000_000));
        PendingCard { content, expires, counter, secret: None }
    }

    #[test]
    fn cards_after_a_restore_count_from_the_hours_since_1970_and_never_back() {
        let mut state = with_contact();
        let at = Timestamp::from_secs(1_800_003_599);
        assert_eq!(state.apply(2, &Record::Identity(IdentityRecord::Restored { made: at, at })), Applied::Done);
        let cards = |state: &State| (known(state).cards.sent, known(state).cards.pending.as_ref().unwrap().counter);
        assert_eq!(cards(&state), (500_001, 500_001), "above the hour, for the card that waits");
        let at = Timestamp::from_secs(1_800_003_600);
        state.apply(3, &Record::Identity(IdentityRecord::Restored { made: at, at }));
        assert_eq!(cards(&state), (500_002, 500_002));
        let at = Timestamp::from_secs(1_700_000_000);
        state.apply(4, &Record::Identity(IdentityRecord::Restored { made: at, at }));
        assert_eq!(cards(&state), (500_003, 500_003), "a clock that is behind takes nothing back");
    }

    #[test]
    fn who_is_greeted_with_another_invitation_is_shown_its_key_and_keeps_where_it_stands() {
        use ContactStatus::{Blocked, Confirmed, Greeting, Request};
        let provenance = Provenance { how: HowMet::InvitationUsed, at: Timestamp::from_secs(1_800_000_000) };
        for (before, after) in [(Confirmed, Confirmed), (Greeting, Greeting), (Request, Greeting), (Blocked, Greeting)]
        {
            for key in [Some(MacKey::from_bytes([9; 32])), None] {
                let (mut state, id) = (with_contact(), ContactId::from_bytes([1; 16]));
                state.apply(2, &Record::Book(BookRecord::ContactChanged { id, change: ContactChange::Status(before) }));
                let change = ContactChange::Greeted(card(4), key.clone(), provenance.clone());
                assert_eq!(state.apply(3, &Record::Book(BookRecord::ContactChanged { id, change })), Applied::Done);
                let contact = known(&state);
                assert_eq!((contact.status, &contact.cards.pending), (after, &Some(card(4))));
                assert!(
                    contact.outbound == Some(key.unwrap_or_else(|| MacKey::from_bytes([2; 32]))),
                    "the key to show"
                );
                assert_eq!((contact.cards.sent, contact.provenance.last()), (4, Some(&provenance)));
            }
        }
    }
}
