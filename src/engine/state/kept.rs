//! Checkpoints: the state as records, and back.

use std::sync::Arc;

use crate::engine::state::book::Contact;
use crate::engine::state::boxes::own::OwnBox;
use crate::engine::state::forwarding::Forwarded;
use crate::engine::state::mailbox::{Message, ModSeq};
use crate::engine::state::profile::Profile;
use crate::engine::state::record::Record;
use crate::engine::state::{Applied, Password, State};

impl State {
    /// The state as records that lead to it from anywhere: what a checkpoint of the log holds. Each is small enough for
    /// one, however much there is.
    pub fn checkpoint(&self) -> Vec<Record> {
        const PIECE: usize = 1000;
        let mut records = vec![Record::CheckpointBegun { last_uid_validity: self.last_uid_validity }];
        let profile =
            self.profile.iter().map(|profile| Record::IdentityCreated { profile: Box::new(Profile::clone(profile)) });
        records.extend(profile);
        for folder in self.mailbox.folders() {
            records.push(Record::FolderKept { folder: Box::new(folder.as_ref().into()) });
            let messages: Vec<Message> = folder.messages.iter().cloned().collect();
            let pieces = messages.chunks(PIECE).map(<[Message]>::to_vec);
            records.extend(pieces.map(|messages| Record::MessagesKept { folder: folder.id, messages }));
        }
        let contacts =
            self.book.contacts().map(|contact| Record::ContactAdded { contact: Box::new(Contact::clone(contact)) });
        records.extend(contacts);
        let invitations = self.book.invitations().cloned();
        records.extend(invitations.map(|invitation| Record::InvitationKept { invitation }));
        let queue = self.queue.iter().chain(self.queue.ended());
        records.extend(queue.map(|queued| Record::QueuedKept { queued: Box::new(queued.as_ref().clone()) }));
        records.extend(self.outbox.kept().map(|(uid, queues)| Record::OutboxKept { uid, queues: queues.clone() }));
        records.extend(self.passwords.iter().map(|Password { name, hash, created }| Record::PasswordAdded {
            name: name.clone(),
            hash: hash.clone(),
            created: *created,
        }));
        records.push(Record::ListenSwitched { on: !self.hidden });
        let (contents, cleaned) = self.duplicates.kept();
        let pieces = contents.chunks(PIECE).map(<[_]>::to_vec);
        records.push(Record::DuplicatesKept { contents: Vec::new(), cleaned });
        records.extend(pieces.map(|contents| Record::DuplicatesKept { contents, cleaned }));
        let requests: Vec<_> = self.requests.iter().map(|(body, contact)| (*body, *contact)).collect();
        let pieces = requests.chunks(PIECE).map(<[_]>::to_vec);
        records.extend(pieces.map(|requests| Record::RequestsKept { requests }));
        records.extend(self.boxes.own().map(|box_id| Record::BoxRented { own_box: Box::new(OwnBox::clone(box_id)) }));
        let kept = self.boxes.kept_names();
        records.extend(kept.map(|(contact, boxes, used)| Record::BoxesKept { contact, boxes, used }));
        let copies = self.boxes.kept_copies();
        records.extend(copies.map(|(queue, contact, copies)| {
            let copies = copies.clone();
            Record::CopiesKept { queue, contact, copies }
        }));
        let refused = self.boxes.kept_refused();
        records.extend(refused.map(|(queue, contact, receipts)| {
            let receipts = receipts.clone();
            Record::RefusedKept { queue, contact, receipts }
        }));
        let pages = self.boxes.kept_pages();
        records.extend(pages.map(|(contact, carriers)| Record::PagesNamed { contact, carriers: carriers.clone() }));
        let switched = self.boxes.kept_told();
        records.extend(switched.map(|(contact, told)| Record::ReceiptsSwitched { contact, told }));
        let (unread, owed) = self.boxes.reads().kept();
        let pieces = unread.chunks(PIECE).map(<[_]>::to_vec);
        records.extend(pieces.map(|unread| Record::ReadsKept { unread, owed: Vec::new() }));
        if !owed.is_empty() {
            records.push(Record::ReadsKept { unread: Vec::new(), owed });
        }
        let silent = self.boxes.kept_silent().filter_map(|contact| self.book.contact(contact));
        records.extend(silent.map(|contact| {
            let (contact, counter) = (contact.id, contact.cards.seen);
            Record::ReceiptsPromised { contact, counter, promised: false }
        }));
        let receipts = self.boxes.kept_receipts();
        records.extend(receipts.map(|(contact, receipts)| Record::ReceiptsDue { contact, receipts }));
        let (allowed, chosen) = self.forwarding.kept_switches();
        let forwarding = |fates: &[_], handed: &[_]| Record::ForwardingKept {
            allowed: Vec::new(),
            chosen: Vec::new(),
            fates: fates.to_vec(),
            handed: handed.to_vec(),
        };
        records.extend(self.forwarding.kept_fates().chunks(PIECE).map(|fates| forwarding(fates, &[])));
        records.extend(self.forwarding.kept_handed().chunks(PIECE).map(|handed| forwarding(&[], handed)));
        records.push(Record::ForwardingKept { allowed, chosen, fates: Vec::new(), handed: Vec::new() });
        records.extend(
            self.forwarding
                .objects()
                .map(|forwarded| Record::ForwardedKept { forwarded: Box::new(Forwarded::clone(forwarded)) }),
        );
        records
    }

    pub(in crate::engine) fn apply_kept(&mut self, number: ModSeq, record: &Record) -> Applied {
        match record {
            Record::CheckpointBegun { last_uid_validity } => {
                *self = Self { last_uid_validity: *last_uid_validity, last_record: number, ..Self::default() };
                true
            }
            Record::FolderKept { folder } => self.mailbox.keep(folder),
            Record::MessagesKept { folder, messages } => messages.iter().fold(true, |all, message| {
                let kept = self.mailbox.keep_message(*folder, message);
                if kept {
                    self.references.add(message.body);
                }
                all && kept
            }),
            Record::QueuedKept { queued } => {
                let kept = self.queue.keep(queued);
                if kept && queued.waiting().next().is_some() {
                    self.references.add(queued.body);
                }
                kept
            }
            Record::OutboxKept { uid, queues } => {
                self.outbox.keep(*uid, queues);
                true
            }
            Record::DuplicatesKept { contents, cleaned } => {
                self.duplicates.keep(contents, *cleaned);
                true
            }
            Record::InvitationKept { invitation } => {
                Arc::make_mut(&mut self.book).keep_invitation(invitation);
                true
            }
            Record::RequestsKept { requests } => {
                self.requests.extend(requests.iter().copied());
                true
            }
            Record::BoxesKept { contact, boxes, used } => {
                Arc::make_mut(&mut self.boxes).keep_names(*contact, boxes, used);
                true
            }
            Record::ReadsKept { unread, owed } => {
                Arc::make_mut(&mut self.boxes).reads_mut().keep(unread, owed);
                true
            }
            Record::ForwardingKept { allowed, chosen, fates, handed } => {
                let forwarding = Arc::make_mut(&mut self.forwarding);
                for contact in allowed {
                    forwarding.allow(*contact, true);
                }
                for (contact, friend) in chosen {
                    forwarding.choose(*contact, Some(*friend));
                }
                forwarding.keep_fates(fates);
                forwarding.keep_handed_on(handed);
                true
            }
            Record::ForwardedKept { forwarded } => {
                let new = self.forwarding.object(forwarded.contact, &forwarded.object).is_none();
                if new {
                    Arc::make_mut(&mut self.forwarding).keep_forwarded(forwarded);
                    self.references.add(forwarded.body);
                }
                new
            }
            Record::RefusedKept { queue, contact, receipts } => {
                Arc::make_mut(&mut self.boxes).keep_refused_of(*queue, *contact, receipts);
                true
            }
            Record::CopiesKept { queue, contact, copies } => {
                Arc::make_mut(&mut self.boxes).keep_copies_of(*queue, *contact, copies);
                true
            }
            _ => false,
        }
        .into()
    }
}
