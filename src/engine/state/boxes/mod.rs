//! Everything that the records say of boxes: our own, those of our contacts, the copies that we left there, and the
//! receipts that we owe.

pub mod contacts;
pub mod own;
mod reads;

pub use reads::Reads;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::limits;
use crate::base::{BoxId, ContactId, Onion, QueueId, Timestamp};
use crate::engine::state::boxes::contacts::{BoxesOf, ContactBox, SetOf, TokenIndex};
use crate::engine::state::boxes::own::{BoxChange, OwnBox, Stage};
use crate::engine::state::forwarding::ObjectHash;
use crate::engine::state::record::{BoxRecord, Record};
use crate::engine::state::shards::Shards;
use crate::engine::state::{AttemptError, State};
use crate::mail::Receipt;

/// One copy of a message at a box of its recipient.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftCopy {
    /// The onion of the box.
    pub onion: Onion,
    /// A secret that only a node which opened the copy can know.
    pub receipt: Receipt,
    /// Since when the carrier says that it has the copy; `None` if there was no answer.
    pub held: Option<Timestamp>,
}

impl fmt::Debug for LeftCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeftCopy").field("held", &self.held).finish_non_exhaustive()
    }
}

/// What a contact is told of the mail that it left at a box of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ReceiptPolicy {
    /// Nothing.
    Nothing,
    /// That it was delivered.
    #[default]
    Delivered,
    /// That it was delivered and, for all mail of the contact, that it was read.
    Read,
}

/// The keys of a message's copies, for all recipients.
fn all_of(queue: QueueId) -> RangeInclusive<(QueueId, ContactId)> {
    (queue, ContactId::from_bytes([0; 16]))..=(queue, ContactId::from_bytes([0xff; 16]))
}

/// What the records say of boxes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownBoxes {
    own: Shards<BoxId, Arc<OwnBox>>,
    named: Shards<ContactId, Arc<BoxesOf>>,
    copies: Shards<(QueueId, ContactId), Vec<LeftCopy>>,
    /// The receipts of copies that were refused, or so their carriers said: a recipient that returns one has the copy
    /// all the same.
    refused: Shards<(QueueId, ContactId), Vec<Receipt>>,
    /// The sealed objects that copies were, so that a recipient that cannot open one can name it.
    objects: Shards<(QueueId, ContactId), Vec<(ObjectHash, Receipt)>>,
    receipts: Shards<ContactId, BTreeSet<Receipt>>,
    pages: Shards<ContactId, Vec<Onion>>,
    /// What contacts are told of their mail, where that is not [`ReceiptPolicy::Delivered`].
    told: Shards<ContactId, ReceiptPolicy>,
    reads: Reads,
    /// Contacts that say that they return no receipts.
    silent: Shards<ContactId, ()>,
}

impl KnownBoxes {
    /// Our own boxes.
    pub fn own(&self) -> impl Iterator<Item = &Arc<OwnBox>> {
        self.own.values()
    }

    /// One of our own boxes.
    pub fn get(&self, id: BoxId) -> Option<&Arc<OwnBox>> {
        self.own.get(&id)
    }

    /// The box with this name of the user's.
    pub fn by_name(&self, name: &str) -> Option<&Arc<OwnBox>> {
        self.own.values().find(|own_box| own_box.name == name)
    }

    /// The boxes of a contact.
    pub fn of(&self, contact: ContactId) -> Option<&Arc<BoxesOf>> {
        self.named.get(&contact)
    }

    /// The carriers at which a contact that we greet has a page for us.
    pub fn pages(&self, contact: ContactId) -> &[Onion] {
        self.pages.get(&contact).map_or(&[], Vec::as_slice)
    }

    /// The copies of a message that were left for a recipient that waits for it.
    pub fn copies(&self, queue: QueueId, contact: ContactId) -> &[LeftCopy] {
        self.copies.get(&(queue, contact)).map_or(&[], Vec::as_slice)
    }

    /// Whether a copy of a message was left for any recipient.
    pub(in crate::engine) fn has_copies(&self, queue: QueueId) -> bool {
        let mut refused = self.refused.range(all_of(queue));
        self.copies.range(all_of(queue)).next().is_some() || refused.next().is_some()
    }

    /// How many carriers say that they have a copy of a message for a recipient.
    pub fn custody(&self, queue: QueueId, contact: ContactId) -> usize {
        let held = self.copies(queue, contact).iter().filter(|copy| copy.held.is_some());
        held.map(|copy| copy.onion).collect::<BTreeSet<_>>().len()
    }

    /// The message whose copy for this contact has this receipt.
    pub fn copy_with(&self, contact: ContactId, receipt: &Receipt) -> Option<QueueId> {
        let left = self.copies.iter().flat_map(|(key, copies)| copies.iter().map(move |copy| (key, &copy.receipt)));
        let refused =
            self.refused.iter().flat_map(|(key, receipts)| receipts.iter().map(move |receipt| (key, receipt)));
        let mut all = left.chain(refused);
        all.find(|((_, to), of_copy)| *to == contact && *of_copy == receipt).map(|((queue, _), _)| *queue)
    }

    /// The message whose copy for this contact was this object, and the receipt of that copy.
    pub(in crate::engine) fn copy_that_was(
        &self,
        contact: ContactId,
        object: &ObjectHash,
    ) -> Option<(QueueId, Receipt)> {
        let all = self.objects.iter().filter(|((_, to), _)| *to == contact);
        let mut all = all.flat_map(|((queue, _), objects)| objects.iter().map(move |known| (*queue, known)));
        all.find(|(_, (known, _))| known == object).map(|(queue, (_, receipt))| (queue, *receipt))
    }

    /// Where copies are held, and since when.
    pub(in crate::engine) fn held(&self) -> impl Iterator<Item = ((ContactId, Onion), Timestamp)> {
        let copies =
            self.copies.iter().flat_map(|((_, contact), copies)| copies.iter().map(move |copy| (*contact, copy)));
        copies.filter_map(|(contact, copy)| Some(((contact, copy.onion), copy.held?)))
    }

    /// The receipts that a contact is owed.
    pub fn receipts(&self, contact: ContactId) -> impl Iterator<Item = &Receipt> {
        self.receipts.get(&contact).into_iter().flatten()
    }

    /// What a contact is told of its mail.
    pub fn told(&self, contact: ContactId) -> ReceiptPolicy {
        self.told.get(&contact).copied().unwrap_or_default()
    }

    /// Messages whose authors are told that they were read.
    pub const fn reads(&self) -> &Reads {
        &self.reads
    }

    pub(in crate::engine) const fn reads_mut(&mut self) -> &mut Reads {
        &mut self.reads
    }

    /// Whether a contact says that it returns receipts, or does not say.
    pub fn expects_receipts(&self, contact: ContactId) -> bool {
        !self.silent.contains_key(&contact)
    }

    /// All contacts that are owed a receipt.
    pub fn owed(&self) -> impl Iterator<Item = ContactId> {
        self.receipts.keys().copied()
    }

    // Changes by records. Each is `false` if it changes nothing.

    pub(in crate::engine) fn rent(&mut self, own_box: &OwnBox) -> bool {
        let taken = self.own.contains_key(&own_box.id)
            || self.by_name(&own_box.name).is_some()
            || self.own.values().any(|other| other.onion == own_box.onion);
        if !taken {
            self.own.insert(own_box.id, Arc::new(own_box.clone()));
        }
        !taken
    }

    pub(in crate::engine) fn change(&mut self, id: BoxId, change: BoxChange) -> bool {
        self.own.get_mut(&id).is_some_and(|own_box| Arc::make_mut(own_box).apply(change))
    }

    pub(in crate::engine) fn remove(&mut self, id: BoxId) -> bool {
        self.own.remove(&id).is_some()
    }

    pub(in crate::engine) fn name(&mut self, contact: ContactId, boxes: &[ContactBox]) -> bool {
        if boxes.is_empty() {
            return self.named.remove(&contact).is_some();
        }
        Arc::make_mut(self.named.or_default(contact)).set(boxes);
        true
    }

    pub(in crate::engine) fn name_pages(&mut self, contact: ContactId, carriers: &[Onion]) -> bool {
        let new = self.pages(contact) != carriers;
        if new {
            self.pages.insert(contact, carriers.to_vec());
        }
        new
    }

    /// The contact's card has come, so its pages are of no use any more.
    pub(in crate::engine) fn forget_pages(&mut self, contact: ContactId) {
        self.pages.remove(&contact);
    }

    pub(in crate::engine) fn leave(
        &mut self,
        contact: ContactId,
        queue: Option<QueueId>,
        onion: Onion,
        place: TokenIndex,
        receipt: Receipt,
    ) -> bool {
        if !self.of(contact).is_some_and(|named| named.is_unused(onion, place)) {
            return false;
        }
        if let Some(named) = self.named.get_mut(&contact) {
            Arc::make_mut(named).spend(onion, place);
        }
        if let Some(queue) = queue {
            let copy = LeftCopy { onion, receipt, held: None };
            self.copies.or_default((queue, contact)).push(copy);
        }
        true
    }

    /// A copy that is about to be left is this object.
    pub(in crate::engine) fn name_object(
        &mut self,
        queue: QueueId,
        contact: ContactId,
        object: ObjectHash,
        receipt: Receipt,
    ) -> bool {
        let left = self.copies(queue, contact).iter().any(|copy| copy.receipt == receipt);
        if left {
            self.objects.or_default((queue, contact)).push((object, receipt));
        }
        left
    }

    /// The recipient says that it cannot open this object: the copy is lost. Its receipt may come all the same.
    pub(in crate::engine) fn lose_object(&mut self, contact: ContactId, object: &ObjectHash) -> bool {
        let Some((queue, receipt)) = self.copy_that_was(contact, object) else { return false };
        if let Some(objects) = self.objects.get_mut(&(queue, contact)) {
            objects.retain(|(known, _)| known != object);
        }
        self.lose(queue, contact, &receipt);
        true
    }

    /// A copy is about to be given to a friend who forwards.
    pub(in crate::engine) fn hand_on(&mut self, queue: QueueId, contact: ContactId, onion: Onion, receipt: Receipt) {
        self.copies.or_default((queue, contact)).push(LeftCopy { onion, receipt, held: None });
    }

    /// The friend that had a copy says that it no longer has it. The receipt of the copy may come all the same.
    pub(in crate::engine) fn lose(&mut self, queue: QueueId, contact: ContactId, receipt: &Receipt) {
        let copies = self.copies.get_mut(&(queue, contact)).into_iter().flatten();
        copies.filter(|copy| copy.receipt == *receipt).for_each(|copy| copy.held = None);
    }

    /// The carrier answered: it holds the copy since then, or says that it does not have it.
    pub(in crate::engine) fn settle(
        &mut self,
        queue: QueueId,
        contact: ContactId,
        receipt: &Receipt,
        held: Option<Timestamp>,
    ) -> bool {
        let open = |copy: &LeftCopy| copy.receipt == *receipt && copy.held.is_none();
        let Some(at) = self.copies(queue, contact).iter().position(open) else { return false };
        let Some(copies) = self.copies.get_mut(&(queue, contact)) else { return false };
        match (held, copies.get_mut(at)) {
            (Some(held), Some(copy)) => copy.held = Some(held),
            _ => drop(copies.remove(at)),
        }
        if copies.is_empty() {
            self.copies.remove(&(queue, contact));
        }
        if held.is_none() {
            if let Some(objects) = self.objects.get_mut(&(queue, contact)) {
                objects.retain(|(_, of_copy)| of_copy != receipt);
            }
            let refused = self.refused.or_default((queue, contact));
            refused.push(*receipt);
            let over = refused.len().saturating_sub(limits::REFUSED_COPIES);
            refused.drain(..over);
        }
        true
    }

    /// Sets what a contact is told. Receipts that it is not told of any more are owed no more.
    pub(in crate::engine) fn tell(&mut self, contact: ContactId, told: ReceiptPolicy) -> bool {
        if told == ReceiptPolicy::Nothing {
            self.receipts.remove(&contact);
        }
        if told != ReceiptPolicy::Read {
            self.reads.forget(contact);
        }
        let before = self.told(contact);
        match told {
            ReceiptPolicy::Delivered => drop(self.told.remove(&contact)),
            told => drop(self.told.insert(contact, told)),
        }
        before != told
    }

    pub(in crate::engine) fn expect_receipts(&mut self, contact: ContactId, promised: bool) -> bool {
        let before = self.expects_receipts(contact);
        if promised {
            self.silent.remove(&contact);
        } else {
            self.silent.insert(contact, ());
        }
        before != promised
    }

    pub(in crate::engine) fn owe(&mut self, contact: ContactId, receipts: &[Receipt]) -> bool {
        if self.told(contact) == ReceiptPolicy::Nothing {
            return false;
        }
        let known = self.receipts.get(&contact);
        let room = limits::RECEIPTS_OWED.saturating_sub(known.map_or(0, BTreeSet::len));
        let is_new = |receipt: &&Receipt| known.is_none_or(|known| !known.contains(*receipt));
        let new: BTreeSet<Receipt> = receipts.iter().take(room).filter(is_new).copied().collect();
        if !new.is_empty() {
            self.receipts.or_default(contact).extend(&new);
        }
        !new.is_empty()
    }

    pub(in crate::engine) fn returned(&mut self, contact: ContactId, receipts: &[Receipt]) -> bool {
        if !self.receipts(contact).any(|receipt| receipts.contains(receipt)) {
            return false;
        }
        let Some(owed) = self.receipts.get_mut(&contact) else { return false };
        owed.retain(|receipt| !receipts.contains(receipt));
        if owed.is_empty() {
            self.receipts.remove(&contact);
        }
        true
    }

    /// Copies of a message count for as long as its recipient waits for it.
    pub(in crate::engine) fn keep_copies(&mut self, queue: QueueId, waits: impl Fn(ContactId) -> bool) {
        let known = self.copies.range(all_of(queue)).map(|(key, _)| *key);
        let known = known.chain(self.refused.range(all_of(queue)).map(|(key, _)| *key));
        let ended: BTreeSet<_> = known.filter(|(_, contact)| !waits(*contact)).collect();
        for key in ended {
            self.copies.remove(&key);
            self.refused.remove(&key);
            self.objects.remove(&key);
        }
    }

    /// A contact is no longer in the book. No other contact gets its seat.
    pub(in crate::engine) fn forget_contact(&mut self, contact: ContactId) {
        self.named.remove(&contact);
        self.receipts.remove(&contact);
        self.pages.remove(&contact);
        self.told.remove(&contact);
        self.reads.forget(contact);
        self.silent.remove(&contact);
    }

    // Checkpoints.

    pub(in crate::engine) fn kept_told(&self) -> impl Iterator<Item = (ContactId, ReceiptPolicy)> {
        self.told.iter().map(|(contact, told)| (*contact, *told))
    }

    pub(in crate::engine) fn kept_silent(&self) -> impl Iterator<Item = ContactId> {
        self.silent.keys().copied()
    }

    pub(in crate::engine) fn kept_names(
        &self,
    ) -> impl Iterator<Item = (ContactId, Vec<ContactBox>, Vec<(SetOf, u32)>)> {
        let used = |of: &BoxesOf| of.used.iter().map(|(set, count)| (*set, *count)).collect();
        self.named.iter().map(move |(contact, of)| (*contact, of.boxes.clone(), used(of)))
    }

    pub(in crate::engine) fn kept_pages(&self) -> impl Iterator<Item = (ContactId, &Vec<Onion>)> {
        self.pages.iter().map(|(contact, carriers)| (*contact, carriers))
    }

    pub(in crate::engine) fn kept_copies(&self) -> impl Iterator<Item = (QueueId, ContactId, &Vec<LeftCopy>)> {
        self.copies.iter().map(|((queue, contact), copies)| (*queue, *contact, copies))
    }

    pub(in crate::engine) fn kept_refused(&self) -> impl Iterator<Item = (QueueId, ContactId, &Vec<Receipt>)> {
        self.refused.iter().map(|((queue, contact), receipts)| (*queue, *contact, receipts))
    }

    pub(in crate::engine) fn kept_objects(
        &self,
    ) -> impl Iterator<Item = (QueueId, ContactId, &Vec<(ObjectHash, Receipt)>)> {
        self.objects.iter().map(|((queue, contact), objects)| (*queue, *contact, objects))
    }

    pub(in crate::engine) fn keep_objects(
        &mut self,
        queue: QueueId,
        contact: ContactId,
        objects: &[(ObjectHash, Receipt)],
    ) {
        self.objects.insert((queue, contact), objects.to_vec());
    }

    pub(in crate::engine) fn kept_receipts(&self) -> impl Iterator<Item = (ContactId, Vec<Receipt>)> {
        self.receipts.iter().map(|(contact, receipts)| (*contact, receipts.iter().copied().collect()))
    }

    pub(in crate::engine) fn keep_names(&mut self, contact: ContactId, boxes: &[ContactBox], used: &[(SetOf, u32)]) {
        let used = used.iter().copied().collect();
        self.named.insert(contact, Arc::new(BoxesOf { boxes: boxes.to_vec(), used }));
    }

    pub(in crate::engine) fn keep_copies_of(&mut self, queue: QueueId, contact: ContactId, copies: &[LeftCopy]) {
        self.copies.insert((queue, contact), copies.to_vec());
    }

    pub(in crate::engine) fn keep_refused_of(&mut self, queue: QueueId, contact: ContactId, receipts: &[Receipt]) {
        self.refused.insert((queue, contact), receipts.to_vec());
    }
}

/// How the last check of a box of ours goes, or went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// It is on its way to the carrier.
    Leaving,
    /// The carrier says that it has the object; it was not collected yet.
    Left,
    /// It came back.
    Works,
    /// The object could not be left.
    Failed(AttemptError),
}

/// Gives a contact a seat in every box of ours that has one left.
pub(in crate::engine) fn seats_for(state: &State, contact: ContactId) -> impl Iterator<Item = Record> {
    let seated = move |own_box: &Arc<OwnBox>| {
        let change = BoxChange::Seated(contact);
        (own_box.has_seat() && own_box.seat_of(contact).is_none())
            .then_some(Record::Boxes(BoxRecord::BoxChanged { id: own_box.id, change }))
    };
    state.boxes().own().filter_map(seated)
}

/// The carriers that a new invitation names.
pub(in crate::engine) fn page_carriers(state: &State) -> impl Iterator<Item = Onion> {
    let open = state.boxes().own().filter(|own_box| own_box.stage == Stage::Open);
    open.map(|own_box| own_box.onion).take(limits::INVITATION_CARRIERS)
}
