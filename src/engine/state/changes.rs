//! What each record changes.

use std::sync::Arc;

use crate::base::limits;
use crate::base::{ContactId, FolderId, QueueId, Timestamp};
use crate::engine::state::book::{Acquaintance, ContactChange, ContactStatus};
use crate::engine::state::boxes::ReceiptPolicy;
use crate::engine::state::boxes::own::BoxChange;
use crate::engine::state::forwarding::{Fate, Handed};
use crate::engine::state::mailbox::{Flags, FolderRole, Message, ModSeq, NewMessage, Uid};
use crate::engine::state::profile::Profile;
use crate::engine::state::queue::{Endpoint, Progress, Queue, Queued};
use crate::engine::state::record::{
    BookRecord, BoxRecord, ForwardingRecord, IdentityRecord, MailboxRecord, QueueRecord, ReceivedRecord, Record,
};
use crate::engine::state::{Applied, Password, State};

impl State {
    /// Takes in the record with this log number.
    pub fn apply(&mut self, number: ModSeq, record: &Record) -> Applied {
        self.last_record = self.last_record.max(number);
        match record {
            Record::Mailbox(record) => self.apply_to_mailbox(number, record),
            Record::Received(record) => self.apply_received(number, record),
            Record::Book(record) => self.apply_to_book(record),
            Record::Queue(record) => self.apply_to_queue(number, record).into(),
            Record::Identity(record) => self.apply_to_identity(number, record),
            Record::Boxes(record) => self.apply_to_boxes(number, record).into(),
            Record::Forwarding(record) => self.apply_to_forwarding(number, record).into(),
            Record::People(record) => self.apply_to_people(number, record).into(),
            Record::Introductions(record) => self.apply_to_introductions(number, record).into(),
            Record::Checkpoint(record) => self.apply_kept(number, record),
        }
    }

    fn apply_to_mailbox(&mut self, number: ModSeq, record: &MailboxRecord) -> Applied {
        match record {
            MailboxRecord::FolderCreated { id, name, role, uid_validity } => {
                if *uid_validity <= self.last_uid_validity {
                    return Applied::Nothing;
                }
                let done = self.mailbox.create(number, *id, name, *role, *uid_validity);
                if done {
                    self.last_uid_validity = *uid_validity;
                }
                done.into()
            }
            MailboxRecord::FolderRenamed { id, name } => self.mailbox.rename(number, *id, name).into(),
            MailboxRecord::FolderDeleted { id } => match self.mailbox.delete(*id) {
                Some(folder) => {
                    let gone: Vec<Message> = folder.messages.iter().cloned().collect();
                    self.release(&gone);
                    Applied::Done
                }
                None => Applied::Nothing,
            },
            MailboxRecord::FolderSubscribed { id, subscribed } => {
                self.mailbox.subscribe(number, *id, *subscribed).into()
            }
            MailboxRecord::MessageAdded { folder, message } => self.add_message(number, *folder, message).into(),
            MailboxRecord::FlagsChanged { folder, uids, change, flags } => {
                let changed = self.mailbox.store(number, *folder, uids, *change, flags);
                self.note_read(*folder, &changed);
                Applied::Changed(changed)
            }
            MailboxRecord::Expunged { folder, uids } => {
                let gone = self.mailbox.expunge(number, *folder, uids);
                self.release(&gone);
                self.left_outbox(*folder, gone.iter().map(|message| message.uid));
                Applied::Changed(gone.into_iter().map(|message| message.uid).collect())
            }
            MailboxRecord::Transferred { from, to, pairs, keep } => {
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
        }
    }

    /// Messages were taken out of a folder; if that is the Outbox, they stand for no entries of the queue any more.
    fn left_outbox(&mut self, folder: FolderId, uids: impl Iterator<Item = Uid>) {
        if self.is_outbox(folder) {
            uids.for_each(|uid| self.outbox.forget(uid));
        }
    }

    fn apply_received(&mut self, number: ModSeq, record: &ReceivedRecord) -> Applied {
        match record {
            ReceivedRecord::Delivered { folder, message, contact, seen, .. } => {
                if self.duplicates.contains(seen) || !self.add_message(number, *folder, message) {
                    return Applied::Nothing;
                }
                self.duplicates.remember(seen);
                if self.boxes.told(*contact) == ReceiptPolicy::Read {
                    self.boxes.reads_mut().arrived(message.body, *contact, seen.content);
                }
                if self.book.contact(*contact).is_some_and(|contact| contact.status == ContactStatus::Request) {
                    self.requests.insert(message.body, *contact);
                }
                Applied::Done
            }
            ReceivedRecord::CardAccepted { seen, invitation, acquaintance, notice } => {
                let is_revoked = match acquaintance {
                    Acquaintance::New(contact) => self.is_revoked(contact),
                    Acquaintance::Known(renewal) => {
                        self.book.contact(renewal.contact).is_some_and(|contact| self.is_revoked(contact))
                    }
                };
                if self.duplicates.contains(seen) || is_revoked {
                    return Applied::Nothing;
                }
                if !self.book.acquaint(seen.received, *invitation, acquaintance) {
                    return Applied::Nothing;
                }
                self.duplicates.remember(seen);
                let author = self.book.contact(acquaintance.contact()).map(|contact| contact.fingerprint);
                if let (Some(invitation), Some(author)) = (invitation, author) {
                    self.introductions.redeemed(*invitation, author);
                }
                if !self.boxes.pages(acquaintance.contact()).is_empty() {
                    self.boxes.forget_pages(acquaintance.contact());
                }
                if let (Some((folder, message)), Acquaintance::New(contact)) = (notice, acquaintance)
                    && self.add_message(number, *folder, message)
                {
                    self.requests.insert(message.body, contact.id);
                }
                self.forget_settled_requests();
                Applied::Done
            }
            ReceivedRecord::Discarded { seen } => {
                let new = !self.duplicates.contains(seen);
                self.duplicates.remember(seen);
                new.into()
            }
        }
    }

    fn apply_to_book(&mut self, record: &BookRecord) -> Applied {
        let book = &mut self.book;
        let done = match record {
            BookRecord::ContactAdded { contact } => {
                !self.revocations.concern(&contact.fingerprint, contact.address.onion()) && book.add(contact)
            }
            BookRecord::ContactChanged { id, change } => {
                let contact = book.contact(*id);
                // An identity that was revoked makes no contacts, and has no cards.
                if self.revocations.own().is_some() && brings_back(change) {
                    return Applied::Nothing;
                }
                if brings_back(change)
                    && contact.is_some_and(|it| self.revocations.concern(&it.fingerprint, it.address.onion()))
                {
                    return Applied::Nothing;
                }
                if *change == ContactChange::Status(ContactStatus::Blocked) && book.contact(*id).is_some() {
                    let given = self.introductions.part(*id);
                    for invitation in given {
                        book.revoke(invitation);
                    }
                }
                book.change(*id, change)
            }
            BookRecord::ContactRemoved { id } => self.remove_contact(*id),
            BookRecord::InvitationMade { invitation } => book.invite(invitation),
            BookRecord::InvitationRevoked { id } => book.revoke(*id),
            BookRecord::InvitationLabelled { id, label } => book.label_invitation(*id, label),
        };
        if done {
            self.forget_settled_requests();
        }
        done.into()
    }

    /// Takes a contact out of the book, with what is kept for it.
    pub(super) fn remove_contact(&mut self, id: ContactId) -> bool {
        let book = &mut self.book;
        self.boxes.forget_contact(id);
        self.notes.forget(id);
        let given = self.introductions.part(id);
        for invitation in given {
            book.revoke(invitation);
        }
        self.introductions.forget(id, book.contact(id).map(|contact| &contact.fingerprint));
        let gone = self.forwarding.forget_contact(id);
        self.released.extend(gone.into_iter().filter(|body| self.references.release(*body)));
        book.remove(id)
    }

    pub(super) fn forget_settled_requests(&mut self) {
        let book = &self.book;
        self.requests.retain(|_, contact| {
            book.contact(*contact).is_some_and(|contact| contact.status == ContactStatus::Request)
        });
    }

    fn apply_to_queue(&mut self, number: ModSeq, record: &QueueRecord) -> bool {
        match record {
            QueueRecord::Submitted { queued } => {
                let done = self.queue.submit(queued);
                if done && self.queue.get(queued.id).is_some() {
                    self.references.add(queued.body);
                }
                done
            }
            QueueRecord::SubmissionOptions { queue, options } => self.queue.set_options(*queue, options),
            QueueRecord::ShownInOutbox { queues, message } => {
                let done = self.outbox.show(number, &mut self.mailbox, &self.queue, queues, message);
                if done {
                    self.references.add(message.body);
                }
                done
            }
            QueueRecord::Sent { contact, endpoint, queues } => queues.iter().fold(false, |done, queue| {
                done | self.change_queued(number, *queue, |all, id| all.set_sent(id, *contact, *endpoint, true))
            }),
            QueueRecord::NotSent { contact, endpoint, queues } => queues.iter().fold(false, |done, queue| {
                done | self.change_queued(number, *queue, |all, id| all.set_sent(id, *contact, *endpoint, false))
            }),
            QueueRecord::DelayReported { queue } => self.change_queued(number, *queue, Queue::set_delayed),
            QueueRecord::RecipientDelivered { queue, contact, at } => {
                self.change_queued(number, *queue, |all, id| all.settle(id, *contact, Progress::Delivered(*at)))
            }
            QueueRecord::RecipientFailed { queue, contact, at, reason } => {
                self.change_queued(number, *queue, |all, id| all.settle(id, *contact, Progress::Failed(*at, *reason)))
            }
            QueueRecord::RecipientHandedOver { queue, contact, at } => {
                self.change_queued(number, *queue, |all, id| all.settle(id, *contact, Progress::HandedOver(*at)))
            }
            QueueRecord::RecipientRead { queue, contact, at } => self.queue.set_read(*queue, *contact, *at),
            QueueRecord::SubmissionCancelled { queue } => self.change_queued(number, *queue, Queue::cancel),
        }
    }

    /// Changes an entry of the queue, and how the Outbox shows it.
    pub(super) fn change_queued(
        &mut self,
        number: ModSeq,
        id: QueueId,
        change: impl FnOnce(&mut Queue, QueueId) -> bool,
    ) -> bool {
        let Some(body) = self.queue.get(id).map(|queued| queued.body) else { return false };
        if !change(&mut self.queue, id) {
            return false;
        }
        if self.queue.get(id).is_none() {
            self.introductions.ended(id, &self.queue);
            if self.references.release(body) {
                self.released.push(body);
            }
        }
        // The copies are changed only if there are any: a change copies what readers share.
        if self.boxes.has_copies(id) {
            let queue = &self.queue;
            self.boxes.keep_copies(id, |contact| queue.get(id).is_some_and(|queued| queued.waits_for(contact)));
        }
        if self.forwarding.has_handed(id) {
            let queue = &self.queue;
            self.forwarding.keep_handed(id, |contact| queue.get(id).is_some_and(|queued| queued.waits_for(contact)));
        }
        let gone = self.outbox.update(number, &mut self.mailbox, &self.queue, id);
        self.release(&gone);
        true
    }

    fn apply_to_boxes(&mut self, number: ModSeq, record: &BoxRecord) -> bool {
        let boxes = &mut self.boxes;
        match record {
            BoxRecord::BoxRented { own_box } => boxes.rent(own_box),
            // The card that this seat was for may not have made a contact.
            BoxRecord::BoxChanged { change: BoxChange::Seated(contact), .. }
                if self.book.contact(*contact).is_none() =>
            {
                false
            }
            BoxRecord::BoxChanged { id, change } => boxes.change(*id, *change),
            BoxRecord::BoxRemoved { id } => boxes.remove(*id),
            BoxRecord::BoxesNamed { contact, counter, boxes: named } => {
                let current = self.book.contact(*contact).is_some_and(|contact| contact.cards.seen == *counter);
                current && boxes.name(*contact, named)
            }
            BoxRecord::Deposited { contact, queue, onion, place, receipt } => {
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
            BoxRecord::ObjectNamed { contact, queue, receipt, object } => {
                boxes.name_object(*queue, *contact, *object, *receipt)
            }
            BoxRecord::ObjectLost { contact, object } => boxes.lose_object(*contact, object),
            BoxRecord::DepositSettled { contact, queue, receipt, held } => {
                if !boxes.settle(*queue, *contact, receipt, *held) {
                    return false;
                }
                if held.is_none() && self.forwarding.has_handed(*queue) {
                    self.forwarding.not_handed(receipt);
                }
                // If the carrier says that it has no copy, that is only its word: the copy was in its hands, so a
                // report stays careful.
                if let Some(held) = held {
                    let until = held.plus(limits::EXPIRY_MAX);
                    self.change_queued(number, *queue, |all, id| all.extend(id, until));
                }
                true
            }
            BoxRecord::ReceiptsSwitched { contact, told } => {
                self.book.contact(*contact).is_some() && boxes.tell(*contact, *told)
            }
            BoxRecord::ReadsReturned { contact, contents } => boxes.reads_mut().returned(*contact, contents),
            BoxRecord::ReceiptsPromised { contact, counter, promised } => {
                let current = self.book.contact(*contact).is_some_and(|contact| contact.cards.seen == *counter);
                current && boxes.expect_receipts(*contact, *promised)
            }
            BoxRecord::ReceiptsDue { contact, receipts } => boxes.owe(*contact, receipts),
            BoxRecord::ReceiptsReturned { contact, receipts } => boxes.returned(*contact, receipts),
            BoxRecord::PagesNamed { contact, carriers } => {
                let known = self.book.contact(*contact).is_some();
                known && !carriers.is_empty() && boxes.name_pages(*contact, carriers)
            }
        }
    }

    fn apply_to_forwarding(&mut self, number: ModSeq, record: &ForwardingRecord) -> bool {
        let known = |contact| self.book.contact(contact).is_some();
        let forwarding = &mut self.forwarding;
        match record {
            ForwardingRecord::ForwardingAllowed { contact, on } => known(*contact) && forwarding.allow(*contact, *on),
            ForwardingRecord::ForwarderChosen { contact, friend } => {
                let both = known(*contact) && friend.is_none_or(|friend| known(friend) && friend != *contact);
                both && forwarding.choose(*contact, *friend)
            }
            ForwardingRecord::ForwardedTaken { forwarded } => {
                let taken = forwarding.take(forwarded);
                if taken {
                    self.references.add(forwarded.body);
                } else {
                    self.released.push(forwarded.body);
                }
                taken
            }
            ForwardingRecord::ForwardedEnded { contact, object, fate } => {
                let Some(body) = forwarding.end(*contact, object, *fate) else { return false };
                if self.references.release(body) {
                    self.released.push(body);
                }
                true
            }
            ForwardingRecord::ObjectUnread { contacts, object } => {
                let owed = contacts.iter().filter(|contact| known(**contact));
                owed.filter(|contact| forwarding.owe(**contact, *object)).count() > 0
            }
            ForwardingRecord::FatesTold { contact, objects } => forwarding.told(*contact, objects),
            ForwardingRecord::HandedOn { onion, object, handed } => {
                let Handed { queue, contact, receipt, .. } = **handed;
                let waits = self.queue.get(queue).is_some_and(|queued| queued.waits_for(contact));
                if !waits || !forwarding.hand_on(*object, handed) {
                    return false;
                }
                self.boxes.hand_on(queue, contact, *onion, receipt);
                self.change_queued(number, queue, |all, id| all.set_sent(id, contact, Endpoint::Box, true));
                true
            }
            ForwardingRecord::FateHeard { friend, object, fate } => {
                let Some(handed) = forwarding.hear(*friend, object, *fate) else { return false };
                if *fate != Fate::Delivered {
                    self.boxes.lose(handed.queue, handed.contact, &handed.receipt);
                }
                true
            }
        }
    }

    /// New UIDVALIDITYs, above any that the original may have given; card counters above any that it may have used;
    /// doubt whether the messages that wait have arrived.
    fn apply_restored(&mut self, number: ModSeq, at: Timestamp) -> Applied {
        let seconds = u32::try_from(at.secs()).unwrap_or(0);
        let first = seconds.max(self.last_uid_validity.saturating_add(1));
        self.last_uid_validity = self.mailbox.renew_uid_validities(number, first);
        let hours = u64::try_from(at.secs() / 3600).unwrap_or(0);
        self.book.raise_card_counters(hours);
        self.seal_keys.distrust();
        // A message that waits here may have been delivered since the backup, or the record that it was sent may be
        // lost.
        let waiting =
            |queued: &Arc<Queued>| queued.waiting().map(|(contact, _)| (queued.id, contact)).collect::<Vec<_>>();
        let waiting: Vec<_> = self.queue.iter().flat_map(waiting).collect();
        for (queue, contact) in waiting {
            self.change_queued(number, queue, |all, id| all.set_sent(id, contact, Endpoint::Onion, true));
        }
        Applied::Done
    }

    fn apply_to_identity(&mut self, number: ModSeq, record: &IdentityRecord) -> Applied {
        match record {
            IdentityRecord::IdentityCreated { profile } => {
                if self.profile.is_some() {
                    return Applied::Nothing;
                }
                self.profile = Some(Arc::new(Profile::clone(profile)));
                Applied::Done
            }
            IdentityRecord::SealKeyRenewed { id, certificate, at } => {
                let Some(profile) = self.profile.as_mut().filter(|_| self.seal_keys.renew(*id, *at)) else {
                    return Applied::Nothing;
                };
                Arc::make_mut(&mut Arc::make_mut(profile).public).certificate = certificate.clone();
                Applied::Done
            }
            IdentityRecord::SealKeysFound { ids, at } => self.seal_keys.found(ids, *at).into(),
            IdentityRecord::SealKeysDestroyed { ids } => self.seal_keys.destroyed(ids).into(),
            IdentityRecord::PasswordAdded { name, hash, created } => {
                if self.passwords.iter().any(|password| password.name == *name) {
                    return Applied::Nothing;
                }
                let password = Password { name: name.clone(), hash: hash.clone(), created: *created };
                Arc::make_mut(&mut self.passwords).push(password);
                Applied::Done
            }
            IdentityRecord::PasswordRevoked { name } => {
                let before = self.passwords.len();
                Arc::make_mut(&mut self.passwords).retain(|password| password.name != *name);
                (self.passwords.len() < before).into()
            }
            IdentityRecord::IdentityRenamed { name } => {
                let Some(profile) = &mut self.profile else { return Applied::Nothing };
                Arc::make_mut(&mut Arc::make_mut(profile).public).name.clone_from(name);
                Applied::Done
            }
            IdentityRecord::IdentityRevoked { extent, at, queued } => {
                self.apply_own_revocation(*extent, *at, queued.as_deref()).into()
            }
            IdentityRecord::ListenSwitched { on } => {
                self.hidden = !on;
                Applied::Done
            }
            IdentityRecord::Restored { at, .. } => self.apply_restored(number, *at),
        }
    }

    fn release(&mut self, gone: &[Message]) {
        for message in gone {
            if self.references.release(message.body) {
                self.released.push(message.body);
                if self.boxes.reads().is_waiting() {
                    self.boxes.reads_mut().settled(message.body, false);
                }
            }
        }
    }

    /// Messages may have been read whose authors are told of that.
    fn note_read(&mut self, folder: FolderId, uids: &[Uid]) {
        let Some(folder) = self.mailbox.folder(folder).filter(|_| self.boxes.reads().is_waiting()) else { return };
        let messages = uids.iter().filter_map(|uid| folder.messages.get(*uid));
        let read = messages.filter(|message| message.flags.contains(Flags::SEEN)).map(|message| message.body);
        let reads = self.boxes.reads_mut();
        read.for_each(|body| reads.settled(body, true));
    }

    /// Puts a message into a folder.
    pub(super) fn add_message(&mut self, number: ModSeq, folder: FolderId, message: &NewMessage) -> bool {
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

/// Whether a change would have something go to a contact again.
const fn brings_back(change: &ContactChange) -> bool {
    match change {
        ContactChange::Status(status) => !matches!(status, ContactStatus::Revoked | ContactStatus::Blocked),
        ContactChange::CardQueued(_) | ContactChange::Greeted(..) => true,
        _ => false,
    }
}
