//! Checkpoints: the state as records, and back.

use std::sync::Arc;

use crate::engine::state::book::Contact;
use crate::engine::state::boxes::rented::Rented;
use crate::engine::state::forwarding::Load;
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
        records.extend(self.drops.rented().map(|drop| Record::DropRented { drop: Box::new(Rented::clone(drop)) }));
        let kept = self.drops.kept_names();
        records.extend(kept.map(|(contact, drops, used)| Record::DropsKept { contact, drops, used }));
        let copies = self.drops.kept_copies();
        records.extend(copies.map(|(queue, contact, copies)| {
            let copies = copies.clone();
            Record::CopiesKept { queue, contact, copies }
        }));
        let refused = self.drops.kept_refused();
        records.extend(refused.map(|(queue, contact, receipts)| {
            let receipts = receipts.clone();
            Record::RefusedKept { queue, contact, receipts }
        }));
        let pages = self.drops.kept_pages();
        records.extend(pages.map(|(contact, carriers)| Record::PagesNamed { contact, carriers: carriers.clone() }));
        let switched = self.drops.kept_told();
        records.extend(switched.map(|(contact, told)| Record::ReceiptsSwitched { contact, told }));
        let (unread, owed) = self.drops.reads().kept();
        let pieces = unread.chunks(PIECE).map(<[_]>::to_vec);
        records.extend(pieces.map(|unread| Record::ReadsKept { unread, owed: Vec::new() }));
        if !owed.is_empty() {
            records.push(Record::ReadsKept { unread: Vec::new(), owed });
        }
        let silent = self.drops.kept_silent().filter_map(|contact| self.book.contact(contact));
        records.extend(silent.map(|contact| {
            let (contact, counter) = (contact.id, contact.cards.seen);
            Record::ReceiptsPromised { contact, counter, promised: false }
        }));
        let receipts = self.drops.kept_receipts();
        records.extend(receipts.map(|(contact, receipts)| Record::ReceiptsDue { contact, receipts }));
        let (allowed, chosen) = self.carriage.kept_switches();
        let carriage = |fates: &[_], handed: &[_]| Record::CarriageKept {
            allowed: Vec::new(),
            chosen: Vec::new(),
            fates: fates.to_vec(),
            handed: handed.to_vec(),
        };
        records.extend(self.carriage.kept_fates().chunks(PIECE).map(|fates| carriage(fates, &[])));
        records.extend(self.carriage.kept_handed().chunks(PIECE).map(|handed| carriage(&[], handed)));
        records.push(Record::CarriageKept { allowed, chosen, fates: Vec::new(), handed: Vec::new() });
        records.extend(self.carriage.loads().map(|load| Record::LoadKept { load: Box::new(Load::clone(load)) }));
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
            Record::DropsKept { contact, drops, used } => {
                Arc::make_mut(&mut self.drops).keep_names(*contact, drops, used);
                true
            }
            Record::ReadsKept { unread, owed } => {
                Arc::make_mut(&mut self.drops).reads_mut().keep(unread, owed);
                true
            }
            Record::CarriageKept { allowed, chosen, fates, handed } => {
                let carriage = Arc::make_mut(&mut self.carriage);
                for contact in allowed {
                    carriage.allow(*contact, true);
                }
                for (contact, friend) in chosen {
                    carriage.choose(*contact, Some(*friend));
                }
                carriage.keep_fates(fates);
                carriage.keep_handed_on(handed);
                true
            }
            Record::LoadKept { load } => {
                let new = self.carriage.load(load.contact, &load.object).is_none();
                if new {
                    Arc::make_mut(&mut self.carriage).keep_load(load);
                    self.references.add(load.body);
                }
                new
            }
            Record::RefusedKept { queue, contact, receipts } => {
                Arc::make_mut(&mut self.drops).keep_refused_of(*queue, *contact, receipts);
                true
            }
            Record::CopiesKept { queue, contact, copies } => {
                Arc::make_mut(&mut self.drops).keep_copies_of(*queue, *contact, copies);
                true
            }
            _ => false,
        }
        .into()
    }
}
