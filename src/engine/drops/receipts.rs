//! Receipts: whoever opened and committed a copy that came through a drop tells its author, with the secret that only that
//! copy had (docs/protocol.md, "Receipts").
//!
//! They are returned together, at a random moment within an hour, by the next session with the author or by one of its drops.
//! What is owed is in the log; a batch on its way is memory.

use std::collections::BTreeSet;

use super::Told;
use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::{ContactId, ContentId, Timestamp};
use crate::engine::book::{Contact, ContactStatus};
use crate::engine::carriage::{self, Fate, ObjectHash};
use crate::engine::delivery::{Arrival, Received};
use crate::engine::identity::{Identity, Then};
use crate::engine::record::Record;
use crate::engine::session::Sender;
use crate::mail::{Content, ContentKind, Receipt};

/// Receipts that are on their way to their author.
#[derive(Clone)]
pub(in super::super) struct Batch {
    pub(in super::super) content: ContentId,
    expires: Timestamp,
    receipts: Vec<Receipt>,
    /// Messages that were read, where the author hears of that.
    reads: Vec<ContentId>,
    /// What became of objects that we carried for it.
    fates: Vec<(ObjectHash, Fate)>,
}

impl Identity {
    /// Puts together what is due.
    pub(in super::super) fn return_what_is_due(&mut self, now: Timestamp, rng: &mut dyn Rng) {
        while let Some(contact) = self.rooms.boxes.calendar.take_receipts_due(now) {
            let confirmed = |entry: &std::sync::Arc<Contact>| entry.status == ContactStatus::Confirmed;
            let known = self.state.book().contact(contact).is_some_and(confirmed);
            let receipts: Vec<_> =
                self.state.drops().receipts(contact).take(limits::RECEIPTS_TOGETHER).copied().collect();
            let room = limits::RECEIPTS_TOGETHER - receipts.len();
            let reads: Vec<_> = self.state.drops().reads().owed(contact).take(room).copied().collect();
            let room = room - reads.len();
            let fates: Vec<_> = self.state.carriage().fates(contact).take(room).collect();
            let nothing = receipts.is_empty() && reads.is_empty() && fates.is_empty();
            if !known || nothing || self.rooms.deliver.returning.contains_key(&contact) {
                continue;
            }
            let expires = Timestamp::from_secs(now.plus(limits::EXPIRY_MAX).secs());
            self.rooms
                .deliver
                .returning
                .insert(contact, Batch { content: ContentId::random(rng), expires, receipts, reads, fates });
            self.rooms.deliver.schedule.set_receipts(contact, true, now);
            self.attempts_changed();
        }
    }

    /// What a contact hears is another matter from now on, for what waits to be returned too.
    pub(in super::super) fn told_otherwise(&mut self, now: Timestamp, contact: ContactId) {
        let told = self.state.drops().told(contact);
        let Some(batch) = self.rooms.deliver.returning.get_mut(&contact) else { return };
        if told != Told::Read {
            batch.reads.clear();
        }
        if told == Told::Nothing {
            batch.receipts.clear();
        }
        if batch.receipts.is_empty() && batch.reads.is_empty() && batch.fates.is_empty() {
            self.rooms.deliver.returning.remove(&contact);
            self.rooms.deliver.schedule.set_receipts(contact, false, now);
        }
    }

    /// The signed bytes of the receipts for a contact.
    pub(in super::super) fn receipts_content(&self, contact: ContactId) -> Option<Vec<u8>> {
        let Batch { content, expires, receipts, reads, fates } = self.rooms.deliver.returning.get(&contact)?;
        let line = |receipt: &Receipt| format!("{}\n", data_encoding::HEXLOWER.encode(receipt));
        let reads = reads.iter().map(|read| format!("{read}\n"));
        let fates = fates.iter().map(|(object, fate)| carriage::line(object, *fate));
        let payload = receipts.iter().map(line).chain(reads).chain(fates).collect::<String>().into_bytes();
        let (kind, id, expires) = (ContentKind::Receipt, *content, *expires);
        Some(Content { kind, id, expires, receipt: None, payload }.encode())
    }

    /// What it means that the receipts for a contact are with it, or at a drop of it; `None` where they went another way
    /// meanwhile.
    pub(in super::super) fn returned_records(&self, contact: ContactId) -> Option<Vec<Record>> {
        let Batch { receipts, reads, fates, .. } = self.rooms.deliver.returning.get(&contact)?;
        let mut records = vec![Record::ReceiptsReturned { contact, receipts: receipts.clone() }];
        if !reads.is_empty() {
            records.push(Record::ReadsReturned { contact, contents: reads.clone() });
        }
        if !fates.is_empty() {
            let objects = fates.iter().map(|(object, _)| *object).collect();
            records.push(Record::FatesTold { contact, objects });
        }
        Some(records)
    }

    /// They are returned, says the log: what came meanwhile follows.
    pub(in super::super) fn receipts_returned(&mut self, now: Timestamp, rng: &mut dyn Rng, contact: ContactId) {
        self.rooms.deliver.returning.remove(&contact);
        self.rooms.deliver.schedule.set_receipts(contact, false, now);
        let (drops, carriage) = (self.state.drops(), self.state.carriage());
        let receipts = drops.receipts(contact).next().is_some() || drops.reads().owed(contact).next().is_some();
        if receipts || carriage.fates(contact).next().is_some() {
            self.rooms.boxes.calendar.owes(contact, now, rng);
        }
    }

    /// Somebody returns receipts: those messages are delivered.
    pub(in super::super) fn receipts_arrived(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        mut arrival: Arrival,
        received: &Received,
        author: &Contact,
    ) {
        if let Err(status) = self.charge(now, &mut arrival, Sender::Contact(author.id)) {
            return self.finish(arrival, status);
        }
        let (mut records, mut bodies) = (vec![Record::Discarded { seen: received.seen }], Vec::new());
        let text = String::from_utf8_lossy(&received.content.payload);
        // However often a line stands there.
        let (mut done, mut read) = (BTreeSet::new(), BTreeSet::new());
        for line in text.lines().take(limits::RECEIPTS_TOGETHER) {
            if let Ok(content) = line.parse::<ContentId>() {
                let Some(queued) = self.state.queue().with_content(content, author.id) else { continue };
                let (queue, waits) = (queued.id, queued.waits_for(author.id));
                // Whoever read it has it.
                if waits && done.insert(queue) {
                    self.add_delivered(now, rng, queue, author.id, &mut records, &mut bodies);
                }
                if read.insert(queue) {
                    records.push(Record::RecipientRead { queue, contact: author.id, at: now });
                }
                continue;
            }
            if let Some((object, fate)) = carriage::read_line(line) {
                if self.state.carriage().is_open(author.id, &object) {
                    records.push(Record::FateHeard { friend: author.id, object, fate });
                }
                continue;
            }
            let receipt = data_encoding::HEXLOWER_PERMISSIVE.decode(line.as_bytes());
            // A word of a later version means nothing to us, and costs what stands beside it nothing.
            let Some(receipt) = receipt.ok().and_then(|bytes| Receipt::try_from(bytes).ok()) else { continue };
            let queue = self.state.drops().copy_with(author.id, &receipt);
            if let Some(queue) = queue.filter(|queue| done.insert(*queue)) {
                self.add_delivered(now, rng, queue, author.id, &mut records, &mut bodies);
            }
        }
        let seen = received.seen;
        self.commit(records, bodies, Then::Acknowledge(arrival, seen));
    }
}
