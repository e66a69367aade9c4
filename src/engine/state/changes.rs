//! What each record changes.

use std::sync::Arc;

use crate::base::limits;
use crate::base::{FolderId, QueueId, Timestamp};
use crate::engine::state::book::{Acquaintance, ContactStatus};
use crate::engine::state::boxes::ReceiptPolicy;
use crate::engine::state::boxes::own::BoxChange;
use crate::engine::state::forwarding::{Fate, Handed};
use crate::engine::state::mailbox::{Flags, FolderRole, Message, ModSeq, NewMessage, Uid};
use crate::engine::state::profile::Profile;
use crate::engine::state::queue::{Endpoint, Progress, Queue, Queued};
use crate::engine::state::record::Record;
use crate::engine::state::{Applied, Password, State};

impl State {
    /// Takes in the record with this log number.
    pub fn apply(&mut self, number: ModSeq, record: &Record) -> Applied {
        self.last_record = self.last_record.max(number);
        match record {
            Record::FolderCreated { .. }
            | Record::FolderRenamed { .. }
            | Record::FolderDeleted { .. }
            | Record::FolderSubscribed { .. }
            | Record::MessageAdded { .. }
            | Record::FlagsChanged { .. }
            | Record::Expunged { .. }
            | Record::Transferred { .. } => self.apply_to_mailbox(number, record),
            Record::Delivered { .. } | Record::CardAccepted { .. } | Record::Discarded { .. } => {
                self.apply_received(number, record)
            }
            Record::ContactAdded { .. }
            | Record::ContactChanged { .. }
            | Record::ContactRemoved { .. }
            | Record::InvitationMade { .. }
            | Record::InvitationRevoked { .. } => self.apply_to_book(record),
            Record::Submitted { .. }
            | Record::RecipientDelivered { .. }
            | Record::RecipientFailed { .. }
            | Record::RecipientHandedOver { .. }
            | Record::RecipientRead { .. }
            | Record::SubmissionCancelled { .. }
            | Record::SubmissionOptions { .. }
            | Record::ShownInOutbox { .. }
            | Record::Sent { .. }
            | Record::NotSent { .. }
            | Record::DelayReported { .. } => self.apply_to_queue(number, record),
            Record::IdentityCreated { .. }
            | Record::PasswordAdded { .. }
            | Record::PasswordRevoked { .. }
            | Record::ListenSwitched { .. } => self.apply_to_identity(record),
            Record::Restored { at, .. } => self.apply_restored(number, *at),
            Record::BoxRented { .. }
            | Record::BoxChanged { .. }
            | Record::BoxRemoved { .. }
            | Record::BoxesNamed { .. }
            | Record::Deposited { .. }
            | Record::DepositSettled { .. }
            | Record::ReceiptsDue { .. }
            | Record::ReceiptsReturned { .. }
            | Record::PagesNamed { .. }
            | Record::ReceiptsSwitched { .. }
            | Record::ReceiptsPromised { .. }
            | Record::ReadsReturned { .. } => self.apply_to_boxes(number, record).into(),
            Record::ForwardingAllowed { .. }
            | Record::ForwarderChosen { .. }
            | Record::ForwardedTaken { .. }
            | Record::ForwardedEnded { .. }
            | Record::FatesTold { .. }
            | Record::HandedOn { .. }
            | Record::FateHeard { .. } => self.apply_to_forwarding(number, record).into(),
            Record::CheckpointBegun { .. }
            | Record::FolderKept { .. }
            | Record::MessagesKept { .. }
            | Record::QueuedKept { .. }
            | Record::OutboxKept { .. }
            | Record::DuplicatesKept { .. }
            | Record::InvitationKept { .. }
            | Record::BoxesKept { .. }
            | Record::CopiesKept { .. }
            | Record::RefusedKept { .. }
            | Record::ReadsKept { .. }
            | Record::ForwardingKept { .. }
            | Record::ForwardedKept { .. }
            | Record::RequestsKept { .. } => self.apply_kept(number, record),
        }
    }

    fn apply_to_mailbox(&mut self, number: ModSeq, record: &Record) -> Applied {
        match record {
            Record::FolderCreated { id, name, role, uid_validity } => {
                if *uid_validity <= self.last_uid_validity {
                    return Applied::Nothing;
                }
                let done = self.mailbox.create(number, *id, name, *role, *uid_validity);
                if done {
                    self.last_uid_validity = *uid_validity;
                }
                done.into()
            }
            Record::FolderRenamed { id, name } => self.mailbox.rename(number, *id, name).into(),
            Record::FolderDeleted { id } => match self.mailbox.delete(*id) {
                Some(folder) => {
                    let gone: Vec<Message> = folder.messages.iter().cloned().collect();
                    self.release(&gone);
                    Applied::Done
                }
                None => Applied::Nothing,
            },
            Record::FolderSubscribed { id, subscribed } => self.mailbox.subscribe(number, *id, *subscribed).into(),
            Record::MessageAdded { folder, message } => self.add_message(number, *folder, message).into(),
            Record::FlagsChanged { folder, uids, change, flags } => {
                let changed = self.mailbox.store(number, *folder, uids, *change, flags);
                self.note_read(*folder, &changed);
                Applied::Changed(changed)
            }
            Record::Expunged { folder, uids } => {
                let gone = self.mailbox.expunge(number, *folder, uids);
                self.release(&gone);
                self.left_outbox(*folder, gone.iter().map(|message| message.uid));
                Applied::Changed(gone.into_iter().map(|message| message.uid).collect())
            }
            Record::Transferred { from, to, pairs, keep } => {
                let source = self.mailbox.folder(*from).cloned();
                let done = self.mailbox.transfer(number, *from, *to, pairs, *keep);
                if *keep {
                    let copied = done.iter().filter_map(|(uid, _)| source.as_ref()?.messages.get(*uid));
                    copied.for_each(|message| self.references.add(message.body));
                } else {
                    self.left_outbox(*from, done.iter().map(|(uid, _)| *uid));
                }
                Applied::Transferred(done)
            }
            _ => Applied::Nothing,
        }
    }

    /// Messages were taken out of a folder; where that is the Outbox, they stand for nothing any more.
    fn left_outbox(&mut self, folder: FolderId, uids: impl Iterator<Item = Uid>) {
        if self.is_outbox(folder) {
            uids.for_each(|uid| self.outbox.forget(uid));
        }
    }

    fn apply_received(&mut self, number: ModSeq, record: &Record) -> Applied {
        match record {
            Record::Delivered { folder, message, contact, seen, .. } => {
                if self.duplicates.contains(seen) || !self.add_message(number, *folder, message) {
                    return Applied::Nothing;
                }
                self.duplicates.remember(seen);
                if self.boxes.told(*contact) == ReceiptPolicy::Read {
                    Arc::make_mut(&mut self.boxes).reads_mut().arrived(message.body, *contact, seen.content);
                }
                if self.book.contact(*contact).is_some_and(|contact| contact.status == ContactStatus::Request) {
                    self.requests.insert(message.body, *contact);
                }
                Applied::Done
            }
            Record::CardAccepted { seen, invitation, acquaintance, notice } => {
                if self.duplicates.contains(seen) {
                    return Applied::Nothing;
                }
                if !Arc::make_mut(&mut self.book).acquaint(seen.received, *invitation, acquaintance) {
                    return Applied::Nothing;
                }
                self.duplicates.remember(seen);
                if !self.boxes.pages(acquaintance.contact()).is_empty() {
                    Arc::make_mut(&mut self.boxes).forget_pages(acquaintance.contact());
                }
                if let (Some((folder, message)), Acquaintance::New(contact)) = (notice, acquaintance)
                    && self.add_message(number, *folder, message)
                {
                    self.requests.insert(message.body, contact.id);
                }
                self.forget_settled_requests();
                Applied::Done
            }
            Record::Discarded { seen } => {
                let new = !self.duplicates.contains(seen);
                self.duplicates.remember(seen);
                new.into()
            }
            _ => Applied::Nothing,
        }
    }

    fn apply_to_book(&mut self, record: &Record) -> Applied {
        let book = Arc::make_mut(&mut self.book);
        let done = match record {
            Record::ContactAdded { contact } => book.add(contact),
            Record::ContactChanged { id, change } => book.change(*id, change),
            Record::ContactRemoved { id } => {
                Arc::make_mut(&mut self.boxes).forget_contact(*id);
                let gone = Arc::make_mut(&mut self.forwarding).forget_contact(*id);
                self.released.extend(gone.into_iter().filter(|body| self.references.release(*body)));
                book.remove(*id)
            }
            Record::InvitationMade { invitation } => book.invite(invitation),
            Record::InvitationRevoked { id } => book.revoke(*id),
            _ => false,
        };
        if done {
            self.forget_settled_requests();
        }
        done.into()
    }

    fn forget_settled_requests(&mut self) {
        let book = &self.book;
        self.requests.retain(|_, contact| {
            book.contact(*contact).is_some_and(|contact| contact.status == ContactStatus::Request)
        });
    }

    fn apply_to_queue(&mut self, number: ModSeq, record: &Record) -> Applied {
        match record {
            Record::Submitted { queued } => {
                let done = self.queue.submit(queued);
                if done && self.queue.get(queued.id).is_some() {
                    self.references.add(queued.body);
                }
                done
            }
            Record::SubmissionOptions { queue, options } => self.queue.set_options(*queue, options),
            Record::ShownInOutbox { queues, message } => {
                let done = self.outbox.show(number, &mut self.mailbox, &self.queue, queues, message);
                if done {
                    self.references.add(message.body);
                }
                done
            }
            Record::Sent { contact, endpoint, queues } => queues.iter().fold(false, |done, queue| {
                done | self.change_queued(number, *queue, |all, id| all.set_sent(id, *contact, *endpoint, true))
            }),
            Record::NotSent { contact, endpoint, queues } => queues.iter().fold(false, |done, queue| {
                done | self.change_queued(number, *queue, |all, id| all.set_sent(id, *contact, *endpoint, false))
            }),
            Record::DelayReported { queue } => self.change_queued(number, *queue, Queue::set_delayed),
            Record::RecipientDelivered { queue, contact, at } => {
                self.change_queued(number, *queue, |all, id| all.settle(id, *contact, Progress::Delivered(*at)))
            }
            Record::RecipientFailed { queue, contact, at, reason } => {
                self.change_queued(number, *queue, |all, id| all.settle(id, *contact, Progress::Failed(*at, *reason)))
            }
            Record::RecipientHandedOver { queue, contact, at } => {
                self.change_queued(number, *queue, |all, id| all.settle(id, *contact, Progress::HandedOver(*at)))
            }
            Record::RecipientRead { queue, contact, at } => self.queue.set_read(*queue, *contact, *at),
            Record::SubmissionCancelled { queue } => self.change_queued(number, *queue, Queue::cancel),
            _ => false,
        }
        .into()
    }

    /// Changes an entry of the queue, and what the Outbox shows of it.
    fn change_queued(&mut self, number: ModSeq, id: QueueId, change: impl FnOnce(&mut Queue, QueueId) -> bool) -> bool {
        let Some(body) = self.queue.get(id).map(|queued| queued.body) else { return false };
        if !change(&mut self.queue, id) {
            return false;
        }
        if self.queue.get(id).is_none() && self.references.release(body) {
            self.released.push(body);
        }
        // Copied only where there is something to forget.
        if self.boxes.has_copies(id) {
            let queue = &self.queue;
            Arc::make_mut(&mut self.boxes)
                .keep_copies(id, |contact| queue.get(id).is_some_and(|queued| queued.waits_for(contact)));
        }
        if self.forwarding.has_handed(id) {
            let queue = &self.queue;
            Arc::make_mut(&mut self.forwarding)
                .keep_handed(id, |contact| queue.get(id).is_some_and(|queued| queued.waits_for(contact)));
        }
        let gone = self.outbox.update(number, &mut self.mailbox, &self.queue, id);
        self.release(&gone);
        true
    }

    fn apply_to_boxes(&mut self, number: ModSeq, record: &Record) -> bool {
        let boxes = Arc::make_mut(&mut self.boxes);
        match record {
            Record::BoxRented { own_box } => boxes.rent(own_box),
            // Whoever it was for may not have become a contact.
            Record::BoxChanged { change: BoxChange::Seated(contact), .. } if self.book.contact(*contact).is_none() => {
                false
            }
            Record::BoxChanged { id, change } => boxes.change(*id, *change),
            Record::BoxRemoved { id } => boxes.remove(*id),
            Record::BoxesNamed { contact, counter, boxes: named } => {
                let current = self.book.contact(*contact).is_some_and(|contact| contact.cards.seen == *counter);
                current && boxes.name(*contact, named)
            }
            Record::Deposited { contact, queue, onion, place, receipt } => {
                let waits = |queue| self.queue.get(queue).is_some_and(|queued| queued.waits_for(*contact));
                if queue.is_some_and(|queue| !waits(queue)) || !boxes.leave(*contact, *queue, *onion, *place, *receipt)
                {
                    return false;
                }
                if let Some(queue) = queue {
                    self.change_queued(number, *queue, |all, id| all.set_sent(id, *contact, Endpoint::Box, true));
                }
                true
            }
            Record::DepositSettled { contact, queue, receipt, held } => {
                if !boxes.settle(*queue, *contact, receipt, *held) {
                    return false;
                }
                if held.is_none() && self.forwarding.has_handed(*queue) {
                    Arc::make_mut(&mut self.forwarding).not_handed(receipt);
                }
                // Where it says that it has none, that is a carrier's word: the copy was in its hands, and a report stays careful.
                if let Some(held) = held {
                    let until = held.plus(limits::EXPIRY_MAX);
                    self.change_queued(number, *queue, |all, id| all.extend(id, until));
                }
                true
            }
            Record::ReceiptsSwitched { contact, told } => {
                self.book.contact(*contact).is_some() && boxes.tell(*contact, *told)
            }
            Record::ReadsReturned { contact, contents } => boxes.reads_mut().returned(*contact, contents),
            Record::ReceiptsPromised { contact, counter, promised } => {
                let current = self.book.contact(*contact).is_some_and(|contact| contact.cards.seen == *counter);
                current && boxes.expect_receipts(*contact, *promised)
            }
            Record::ReceiptsDue { contact, receipts } => boxes.owe(*contact, receipts),
            Record::ReceiptsReturned { contact, receipts } => boxes.returned(*contact, receipts),
            Record::PagesNamed { contact, carriers } => {
                let known = self.book.contact(*contact).is_some();
                known && !carriers.is_empty() && boxes.name_pages(*contact, carriers)
            }
            _ => false,
        }
    }

    fn apply_to_forwarding(&mut self, number: ModSeq, record: &Record) -> bool {
        let known = |contact| self.book.contact(contact).is_some();
        let forwarding = Arc::make_mut(&mut self.forwarding);
        match record {
            Record::ForwardingAllowed { contact, on } => known(*contact) && forwarding.allow(*contact, *on),
            Record::ForwarderChosen { contact, friend } => {
                let both = known(*contact) && friend.is_none_or(|friend| known(friend) && friend != *contact);
                both && forwarding.choose(*contact, *friend)
            }
            Record::ForwardedTaken { forwarded } => {
                let taken = forwarding.take(forwarded);
                if taken {
                    self.references.add(forwarded.body);
                } else {
                    self.released.push(forwarded.body);
                }
                taken
            }
            Record::ForwardedEnded { contact, object, fate } => {
                let Some(body) = forwarding.end(*contact, object, *fate) else { return false };
                if self.references.release(body) {
                    self.released.push(body);
                }
                true
            }
            Record::FatesTold { contact, objects } => forwarding.told(*contact, objects),
            Record::HandedOn { onion, object, handed } => {
                let Handed { queue, contact, receipt, .. } = **handed;
                let waits = self.queue.get(queue).is_some_and(|queued| queued.waits_for(contact));
                if !waits || !forwarding.hand_on(*object, handed) {
                    return false;
                }
                Arc::make_mut(&mut self.boxes).hand_on(queue, contact, *onion, receipt);
                self.change_queued(number, queue, |all, id| all.set_sent(id, contact, Endpoint::Box, true));
                true
            }
            Record::FateHeard { friend, object, fate } => {
                let Some(handed) = forwarding.hear(*friend, object, *fate) else { return false };
                if *fate != Fate::Delivered {
                    Arc::make_mut(&mut self.boxes).lose(handed.queue, handed.contact, &handed.receipt);
                }
                true
            }
            _ => false,
        }
    }

    /// New UIDVALIDITYs, above any that the original may have given; card counters above any that it may have used; doubt
    /// whether what waits has arrived.
    fn apply_restored(&mut self, number: ModSeq, at: Timestamp) -> Applied {
        let seconds = u32::try_from(at.secs()).unwrap_or(0);
        let first = seconds.max(self.last_uid_validity.saturating_add(1));
        self.last_uid_validity = self.mailbox.renew_uid_validities(number, first);
        let hours = u64::try_from(at.secs() / 3600).unwrap_or(0);
        Arc::make_mut(&mut self.book).raise_card_counters(hours);
        // What waits here may have been delivered since, or that it was sent may be what is lost.
        let waiting =
            |queued: &Arc<Queued>| queued.waiting().map(|(contact, _)| (queued.id, contact)).collect::<Vec<_>>();
        let waiting: Vec<_> = self.queue.iter().flat_map(waiting).collect();
        for (queue, contact) in waiting {
            self.change_queued(number, queue, |all, id| all.set_sent(id, contact, Endpoint::Onion, true));
        }
        Applied::Done
    }

    fn apply_to_identity(&mut self, record: &Record) -> Applied {
        match record {
            Record::IdentityCreated { profile } => {
                if self.profile.is_some() {
                    return Applied::Nothing;
                }
                self.profile = Some(Arc::new(Profile::clone(profile)));
                Applied::Done
            }
            Record::PasswordAdded { name, hash, created } => {
                if self.passwords.iter().any(|password| password.name == *name) {
                    return Applied::Nothing;
                }
                let password = Password { name: name.clone(), hash: hash.clone(), created: *created };
                Arc::make_mut(&mut self.passwords).push(password);
                Applied::Done
            }
            Record::PasswordRevoked { name } => {
                let before = self.passwords.len();
                Arc::make_mut(&mut self.passwords).retain(|password| password.name != *name);
                (self.passwords.len() < before).into()
            }
            Record::ListenSwitched { on } => {
                self.hidden = !on;
                Applied::Done
            }
            _ => Applied::Nothing,
        }
    }

    fn release(&mut self, gone: &[Message]) {
        for message in gone {
            if self.references.release(message.body) {
                self.released.push(message.body);
                if self.boxes.reads().is_waiting() {
                    Arc::make_mut(&mut self.boxes).reads_mut().settled(message.body, false);
                }
            }
        }
    }

    /// Messages of those who hear that they were read may have been.
    fn note_read(&mut self, folder: FolderId, uids: &[Uid]) {
        let Some(folder) = self.mailbox.folder(folder).filter(|_| self.boxes.reads().is_waiting()) else { return };
        let messages = uids.iter().filter_map(|uid| folder.messages.get(*uid));
        let read = messages.filter(|message| message.flags.contains(Flags::SEEN)).map(|message| message.body);
        let reads = Arc::make_mut(&mut self.boxes).reads_mut();
        read.for_each(|body| reads.settled(body, true));
    }

    /// Puts a message into a folder.
    fn add_message(&mut self, number: ModSeq, folder: FolderId, message: &NewMessage) -> bool {
        let done = self.mailbox.add(number, folder, message);
        if done {
            self.references.add(message.body);
        }
        done
    }

    fn is_outbox(&self, folder: FolderId) -> bool {
        self.mailbox.folder(folder).is_some_and(|folder| folder.role == Some(FolderRole::Outbox))
    }
}
