//! Checkpoints: the state as records, and back.

use crate::engine::state::book::Contact;
use crate::engine::state::boxes::own::OwnBox;
use crate::engine::state::forwarding::Forwarded;
use crate::engine::state::mailbox::{Message, ModSeq};
use crate::engine::state::profile::Profile;
use crate::engine::state::record::{
    BookRecord, BoxRecord, CheckpointRecord, IdentityRecord, IntroductionRecord, PeopleRecord, Record,
};
use crate::engine::state::{Applied, Password, State};

impl State {
    /// The state as records that lead to it from any other state: a checkpoint of the log holds them. However large the
    /// state is, each record has a size that the log takes.
    pub fn checkpoint(&self) -> Vec<Record> {
        let mut records = Vec::new();
        self.keep_identity(&mut records);
        self.keep_mail(&mut records);
        self.keep_people(&mut records);
        self.keep_boxes(&mut records);
        self.keep_forwarding(&mut records);
        records
    }

    fn keep_identity(&self, records: &mut Vec<Record>) {
        records.push(CheckpointRecord::CheckpointBegun { last_uid_validity: self.last_uid_validity }.into());
        let profile = self.profile.iter();
        records.extend(profile.map(|profile| {
            let profile = Box::new(Profile::clone(profile));
            IdentityRecord::IdentityCreated { profile }.into()
        }));
        let keys = self.seal_keys.kept();
        records.extend((!keys.is_empty()).then(|| CheckpointRecord::SealKeysKept { keys }.into()));
        records.extend(self.passwords.iter().map(|Password { name, hash, created }| {
            let (name, hash, created) = (name.clone(), hash.clone(), *created);
            IdentityRecord::PasswordAdded { name, hash, created }.into()
        }));
        records.extend(self.revocations.own().map(|revoked| {
            let (extent, at) = (revoked.extent, revoked.at);
            IdentityRecord::IdentityRevoked { extent, at, queued: None }.into()
        }));
        records.push(IdentityRecord::ListenSwitched { on: !self.hidden }.into());
    }

    fn keep_mail(&self, records: &mut Vec<Record>) {
        for folder in self.mailbox.folders() {
            records.push(CheckpointRecord::FolderKept { folder: Box::new(folder.as_ref().into()) }.into());
            let messages: Vec<Message> = folder.messages.iter().cloned().collect();
            let folder = folder.id;
            records.extend(pieces(&messages, |messages| CheckpointRecord::MessagesKept { folder, messages }));
        }
        let queue = self.queue.iter().chain(self.queue.ended());
        records.extend(queue.map(|queued| {
            let queued = Box::new(queued.as_ref().clone());
            CheckpointRecord::QueuedKept { queued }.into()
        }));
        let outbox = self.outbox.kept();
        records.extend(outbox.map(|(uid, queues)| CheckpointRecord::OutboxKept { uid, queues: queues.clone() }.into()));
        let (contents, cleaned) = self.duplicates.kept();
        records.push(CheckpointRecord::DuplicatesKept { contents: Vec::new(), cleaned }.into());
        records.extend(pieces(&contents, |contents| CheckpointRecord::DuplicatesKept { contents, cleaned }));
    }

    fn keep_people(&self, records: &mut Vec<Record>) {
        records.extend(self.book.contacts().map(|contact| {
            let contact = Box::new(Contact::clone(contact));
            BookRecord::ContactAdded { contact }.into()
        }));
        records.extend(self.book.all_verified().map(|(contact, at)| {
            let (contact, at) = (*contact, Some(*at));
            PeopleRecord::VerificationMarked { contact, at }.into()
        }));
        records.extend(self.notes.kept());
        // After the contacts: no contact is added whose key is known to be revoked.
        records.extend(self.revocations.iter().map(|(fingerprint, revoked)| {
            let (fingerprint, revoked) = (*fingerprint, *revoked);
            let (seen, contact, notice) = (None, None, None);
            PeopleRecord::RevocationTaken { seen, fingerprint, revoked, contact, notice }.into()
        }));
        let invitations = self.book.invitations().cloned();
        records.extend(invitations.map(|invitation| CheckpointRecord::InvitationKept { invitation }.into()));
        records.extend(self.book.labels().map(|(id, label)| {
            let (id, label) = (*id, label.clone());
            BookRecord::InvitationLabelled { id, label }.into()
        }));
        let requests: Vec<_> = self.requests.iter().map(|(body, contact)| (*body, *contact)).collect();
        records.extend(pieces(&requests, |requests| CheckpointRecord::RequestsKept { requests }));
        let introductions = self.introductions.kept().into_iter();
        records
            .extend(introductions.map(|parts| IntroductionRecord::IntroductionsKept { parts: Box::new(parts) }.into()));
    }

    fn keep_boxes(&self, records: &mut Vec<Record>) {
        records.extend(self.boxes.own().map(|own_box| {
            let own_box = Box::new(OwnBox::clone(own_box));
            BoxRecord::BoxRented { own_box }.into()
        }));
        let named = self.boxes.kept_names();
        records.extend(named.map(|(contact, boxes, used)| CheckpointRecord::BoxesKept { contact, boxes, used }.into()));
        records.extend(self.boxes.kept_copies().map(|(queue, contact, copies)| {
            let copies = copies.clone();
            CheckpointRecord::CopiesKept { queue, contact, copies }.into()
        }));
        records.extend(self.boxes.kept_objects().map(|(queue, contact, objects)| {
            let objects = objects.clone();
            CheckpointRecord::ObjectsKept { queue, contact, objects }.into()
        }));
        records.extend(self.boxes.kept_refused().map(|(queue, contact, receipts)| {
            let receipts = receipts.clone();
            CheckpointRecord::RefusedKept { queue, contact, receipts }.into()
        }));
        records.extend(self.boxes.kept_pages().map(|(contact, carriers)| {
            let carriers = carriers.clone();
            BoxRecord::PagesNamed { contact, carriers }.into()
        }));
        let switched = self.boxes.kept_told();
        records.extend(switched.map(|(contact, told)| BoxRecord::ReceiptsSwitched { contact, told }.into()));
        let (unread, owed) = self.boxes.reads().kept();
        records.extend(pieces(&unread, |unread| CheckpointRecord::ReadsKept { unread, owed: Vec::new() }));
        if !owed.is_empty() {
            records.push(CheckpointRecord::ReadsKept { unread: Vec::new(), owed }.into());
        }
        let silent = self.boxes.kept_silent().filter_map(|contact| self.book.contact(contact));
        records.extend(silent.map(|contact| {
            let (contact, counter) = (contact.id, contact.cards.seen);
            BoxRecord::ReceiptsPromised { contact, counter, promised: false }.into()
        }));
        let receipts = self.boxes.kept_receipts();
        records.extend(receipts.map(|(contact, receipts)| BoxRecord::ReceiptsDue { contact, receipts }.into()));
    }

    fn keep_forwarding(&self, records: &mut Vec<Record>) {
        let kept = |allowed, chosen, fates, handed| CheckpointRecord::ForwardingKept { allowed, chosen, fates, handed };
        records.extend(pieces(&self.forwarding.kept_fates(), |fates| kept(Vec::new(), Vec::new(), fates, Vec::new())));
        records
            .extend(pieces(&self.forwarding.kept_handed(), |handed| kept(Vec::new(), Vec::new(), Vec::new(), handed)));
        let (allowed, chosen) = self.forwarding.kept_switches();
        records.push(kept(allowed, chosen, Vec::new(), Vec::new()).into());
        records.extend(self.forwarding.objects().map(|forwarded| {
            let forwarded = Box::new(Forwarded::clone(forwarded));
            CheckpointRecord::ForwardedKept { forwarded }.into()
        }));
    }

    pub(in crate::engine) fn apply_kept(&mut self, number: ModSeq, record: &CheckpointRecord) -> Applied {
        match record {
            CheckpointRecord::CheckpointBegun { last_uid_validity } => {
                *self = Self { last_uid_validity: *last_uid_validity, last_record: number, ..Self::default() };
                true
            }
            CheckpointRecord::FolderKept { folder } => self.mailbox.keep(folder),
            CheckpointRecord::MessagesKept { folder, messages } => messages.iter().fold(true, |all, message| {
                let kept = self.mailbox.keep_message(*folder, message);
                if kept {
                    self.references.add(message.body);
                }
                all && kept
            }),
            CheckpointRecord::QueuedKept { queued } => {
                let kept = self.queue.keep(queued);
                if kept && queued.waiting().next().is_some() {
                    self.references.add(queued.body);
                }
                kept
            }
            CheckpointRecord::OutboxKept { uid, queues } => {
                self.outbox.keep(*uid, queues);
                true
            }
            CheckpointRecord::DuplicatesKept { contents, cleaned } => {
                self.duplicates.keep(contents, *cleaned);
                true
            }
            CheckpointRecord::InvitationKept { invitation } => {
                self.book.keep_invitation(invitation);
                true
            }
            CheckpointRecord::RequestsKept { requests } => {
                self.requests.extend(requests.iter().copied());
                true
            }
            CheckpointRecord::BoxesKept { contact, boxes, used } => {
                self.boxes.keep_names(*contact, boxes, used);
                true
            }
            CheckpointRecord::ReadsKept { unread, owed } => {
                self.boxes.reads_mut().keep(unread, owed);
                true
            }
            CheckpointRecord::ForwardingKept { allowed, chosen, fates, handed } => {
                let forwarding = &mut self.forwarding;
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
            CheckpointRecord::ForwardedKept { forwarded } => {
                let new = self.forwarding.object(forwarded.contact, &forwarded.object).is_none();
                if new {
                    self.forwarding.keep_forwarded(forwarded);
                    self.references.add(forwarded.body);
                }
                new
            }
            CheckpointRecord::ObjectsKept { queue, contact, objects } => {
                self.boxes.keep_objects(*queue, *contact, objects);
                true
            }
            CheckpointRecord::SealKeysKept { keys } => {
                self.seal_keys.keep(keys);
                true
            }
            CheckpointRecord::RefusedKept { queue, contact, receipts } => {
                self.boxes.keep_refused_of(*queue, *contact, receipts);
                true
            }
            CheckpointRecord::CopiesKept { queue, contact, copies } => {
                self.boxes.keep_copies_of(*queue, *contact, copies);
                true
            }
        }
        .into()
    }
}

/// A list in records of a bounded size.
fn pieces<T: Clone>(list: &[T], record: impl Fn(Vec<T>) -> CheckpointRecord) -> Vec<Record> {
    const PIECE: usize = 1000;
    list.chunks(PIECE).map(|piece| record(piece.to_vec()).into()).collect()
}
