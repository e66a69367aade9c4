//! Receipts: a node that opened and committed a copy which came through a box tells the author, with the secret that
//! only that copy had (docs/protocol.md, "Receipts").
//!
//! Receipts for one author are returned together, at a random moment within an hour, by the next session with the
//! author or through one of its boxes. The log has the receipts that are owed; a batch on its way is only in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::base::limits;
use crate::base::rng::{Rng, within};
use crate::base::{ClockStep, ContactId, ContentId, Timestamp};
use crate::engine::context::Context;
use crate::engine::deliver::Deliver;
use crate::engine::deliver::reports;
use crate::engine::io::Draft;
use crate::engine::state::State;
use crate::engine::state::book::{Contact, ContactStatus};
use crate::engine::state::boxes::ReceiptPolicy;
use crate::engine::state::forwarding::{self, Fate, ObjectHash};
use crate::engine::state::record::{BoxRecord, ForwardingRecord, QueueRecord, Record};
use crate::mail::{Content, ContentKind, Receipt};

/// Receipts that are on their way to their author.
struct Batch {
    content: ContentId,
    expires: Timestamp,
    receipts: Vec<Receipt>,
    /// Messages that were read, where the author is told of that.
    reads: Vec<ContentId>,
    /// The fates of objects that we forwarded for the contact.
    fates: Vec<(ObjectHash, Fate)>,
}

/// Which receipts are owed, and which are on their way.
pub(in crate::engine) struct Receipts {
    /// Within which time a receipt is returned.
    delay: Duration,
    /// When the receipts for each contact are put together.
    due: BTreeMap<ContactId, Timestamp>,
    /// The batches that are on their way.
    returning: BTreeMap<ContactId, Batch>,
}

impl Receipts {
    /// At a start: all receipts that are owed are returned within the usual time.
    pub(in crate::engine) fn at_start(state: &State, delay: Duration, now: Timestamp, rng: &mut dyn Rng) -> Self {
        let mut receipts = Self { delay, due: BTreeMap::new(), returning: BTreeMap::new() };
        let (boxes, forwarding) = (state.boxes(), state.forwarding());
        for contact in boxes.owed().chain(boxes.reads().owed_to()).chain(forwarding.owed()) {
            receipts.owes(contact, now, rng);
        }
        receipts
    }

    /// A contact is owed receipts: they go within an hour, with those that come until then.
    pub(in crate::engine) fn owes(&mut self, contact: ContactId, now: Timestamp, rng: &mut dyn Rng) {
        let (latest, due) = (now.plus(self.delay), within(now, self.delay, rng));
        let known = self.due.entry(contact).or_insert(due);
        if *known > latest {
            *known = due;
        }
    }

    /// A contact is to be told of an object that cannot be opened: with the next receipts, within a day.
    pub(in crate::engine) fn owes_unread(&mut self, contact: ContactId, now: Timestamp, rng: &mut dyn Rng) {
        self.due.entry(contact).or_insert_with(|| within(now, limits::UNREAD_DELAY, rng));
    }

    /// When something is due.
    pub(in crate::engine) fn poll(&self) -> Option<Timestamp> {
        self.due.values().copied().min()
    }

    /// The clock was set.
    pub(in crate::engine) fn clock_set(&mut self, by: ClockStep) {
        if let ClockStep::Back(span) = by {
            self.due.values_mut().for_each(|due| *due = due.minus(span));
        }
    }

    fn take_due(&mut self, now: Timestamp) -> Option<ContactId> {
        let (&contact, _) = self.due.iter().find(|(_, due)| **due <= now)?;
        self.due.remove(&contact);
        Some(contact)
    }

    /// Whether receipts are on their way to a contact.
    pub(in crate::engine) fn are_returning(&self, contact: ContactId) -> bool {
        self.returning.contains_key(&contact)
    }

    /// The receipts that are on their way to a contact, by the name of their content.
    pub(in crate::engine) fn batch(&self, contact: ContactId) -> Option<ContentId> {
        Some(self.returning.get(&contact)?.content)
    }

    /// The signed bytes of the receipts for a contact.
    pub(in crate::engine) fn content(&self, contact: ContactId) -> Option<Vec<u8>> {
        let Batch { content, expires, receipts, reads, fates } = self.returning.get(&contact)?;
        let line = |receipt: &Receipt| format!("{}\n", data_encoding::HEXLOWER.encode(receipt));
        let reads = reads.iter().map(|read| format!("{read}\n"));
        let fates = fates.iter().map(|(object, fate)| forwarding::line(object, *fate));
        let payload = receipts.iter().map(line).chain(reads).chain(fates).collect::<String>().into_bytes();
        let (kind, id, expires) = (ContentKind::Receipt, *content, *expires);
        Some(Content { kind, id, expires, receipt: None, payload }.encode())
    }

    /// The records that say that a contact or one of its boxes has the receipts; `None` if they went another way
    /// meanwhile.
    pub(in crate::engine) fn returned_records(&self, contact: ContactId) -> Option<Vec<Record>> {
        let Batch { receipts, reads, fates, .. } = self.returning.get(&contact)?;
        let mut records = vec![Record::Boxes(BoxRecord::ReceiptsReturned { contact, receipts: receipts.clone() })];
        if !reads.is_empty() {
            records.push(Record::Boxes(BoxRecord::ReadsReturned { contact, contents: reads.clone() }));
        }
        if !fates.is_empty() {
            let objects = fates.iter().map(|(object, _)| *object).collect();
            records.push(Record::Forwarding(ForwardingRecord::FatesTold { contact, objects }));
        }
        Some(records)
    }
}

impl Deliver {
    /// Puts together the receipts that are due.
    pub(in crate::engine) fn return_what_is_due(&mut self, cx: &mut Context<'_>) {
        while let Some(contact) = self.receipts.take_due(cx.now) {
            let confirmed = |entry: &Arc<Contact>| entry.status == ContactStatus::Confirmed;
            let known = cx.state.book().contact(contact).is_some_and(confirmed);
            let receipts: Vec<_> =
                cx.state.boxes().receipts(contact).take(limits::RECEIPTS_TOGETHER).copied().collect();
            let room = limits::RECEIPTS_TOGETHER - receipts.len();
            let reads: Vec<_> = cx.state.boxes().reads().owed(contact).take(room).copied().collect();
            let room = room - reads.len();
            let fates: Vec<_> = cx.state.forwarding().fates(contact).take(room).collect();
            let revoked = cx.state.revoked().is_some();
            let nothing = revoked || (receipts.is_empty() && reads.is_empty() && fates.is_empty());
            if !known || nothing || self.receipts.are_returning(contact) {
                continue;
            }
            let expires = Timestamp::from_secs(cx.now.plus(limits::EXPIRY_MAX).secs());
            let batch = Batch { content: ContentId::random(cx.rng), expires, receipts, reads, fates };
            self.receipts.returning.insert(contact, batch);
            self.schedule.set_receipts(contact, true, cx.now);
            cx.out.attempts_changed();
        }
    }

    /// The receipt policy for a contact changed: it holds for receipts that wait to be returned too.
    pub(in crate::engine) fn told_otherwise(&mut self, cx: &Context<'_>, contact: ContactId) {
        let told = cx.state.boxes().told(contact);
        let Some(batch) = self.receipts.returning.get_mut(&contact) else { return };
        if told != ReceiptPolicy::Read {
            batch.reads.clear();
        }
        if told == ReceiptPolicy::Nothing {
            batch.receipts.clear();
        }
        if batch.receipts.is_empty() && batch.reads.is_empty() && batch.fates.is_empty() {
            self.forget_receipts(contact, cx.now);
        }
    }

    /// The log says that the receipts for a contact are returned: those that came meanwhile follow.
    pub(in crate::engine) fn receipts_returned(&mut self, cx: &mut Context<'_>, contact: ContactId) {
        self.forget_receipts(contact, cx.now);
        let (boxes, forwarding) = (cx.state.boxes(), cx.state.forwarding());
        let receipts = boxes.receipts(contact).next().is_some() || boxes.reads().owed(contact).next().is_some();
        if receipts || forwarding.fates(contact).next().is_some() {
            self.receipts.owes(contact, cx.now, cx.rng);
        }
    }

    /// No receipts are on their way to a contact any more.
    pub(in crate::engine) fn forget_receipts(&mut self, contact: ContactId, now: Timestamp) {
        self.receipts.returning.remove(&contact);
        self.schedule.set_receipts(contact, false, now);
    }
}

/// Reads the receipts that a contact returns: those messages are delivered.
pub(in crate::engine) fn read_receipts(cx: &mut Context<'_>, text: &str, author: ContactId) -> Draft {
    let mut change = Draft::default();
    // However often a receipt names a message, it counts once.
    let (mut done, mut read) = (BTreeSet::new(), BTreeSet::new());
    for line in text.lines().take(limits::RECEIPTS_TOGETHER) {
        if let Ok(content) = line.parse::<ContentId>() {
            let Some(queued) = cx.state.queue().with_content(content, author) else { continue };
            let (queue, waits) = (queued.id, queued.waits_for(author));
            // A recipient that read a message has it.
            if waits && done.insert(queue) {
                reports::add_delivered(cx, queue, author, &mut change);
            }
            if read.insert(queue) {
                change.records.push(Record::Queue(QueueRecord::RecipientRead { queue, contact: author, at: cx.now }));
            }
            continue;
        }
        if let Some((object, fate)) = forwarding::read_line(line) {
            if cx.state.forwarding().is_open(author, &object) {
                change.records.push(Record::Forwarding(ForwardingRecord::FateHeard { friend: author, object, fate }));
            } else if fate == Fate::Refused && cx.state.boxes().copy_that_was(author, &object).is_some() {
                change.records.push(Record::Boxes(BoxRecord::ObjectLost { contact: author, object }));
            }
            continue;
        }
        let receipt = data_encoding::HEXLOWER_PERMISSIVE.decode(line.as_bytes());
        // A word of a later version is skipped, and the words beside it still count.
        let Some(receipt) = receipt.ok().and_then(|bytes| Receipt::try_from(bytes).ok()) else { continue };
        let queue = cx.state.boxes().copy_with(author, &receipt);
        if let Some(queue) = queue.filter(|queue| done.insert(*queue)) {
            reports::add_delivered(cx, queue, author, &mut change);
        }
    }
    change
}
