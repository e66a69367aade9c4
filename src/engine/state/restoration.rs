//! What an identity is told about its own log before its machine runs: that it was put back from a backup, or that a
//! part of it was lost (docs/on-disk.md, "Backup", "Damage").

use std::collections::BTreeSet;

use crate::base::rng::Rng;
use crate::base::{BodyId, ContentId, FolderId, Timestamp};
use crate::mail::dsn::{self, Outcome};

use crate::engine::commit::NewBody;
use crate::engine::state::State;
use crate::engine::state::forwarding::Fate;
use crate::engine::state::mailbox::{FolderRole, NamedFlags, NewMessage, Uid};
use crate::engine::state::queue::{FailureReason, Queued};
use crate::engine::state::record::{ForwardingRecord, IdentityRecord, MailboxRecord, QueueRecord, Record};

/// The damage of a log.
#[derive(Debug, Clone, Copy)]
pub struct Lost<'a> {
    /// Messages that cannot be read.
    pub bodies: &'a BTreeSet<BodyId>,
    /// Whether records may be lost.
    pub records: bool,
    /// A description of the damage, for people.
    pub lines: &'a [String],
    /// Where a copy of the damaged files was kept.
    pub kept: &'a str,
}

impl State {
    /// The transaction that says that the log was put back: new UIDVALIDITYs, higher card counters, doubt whether the
    /// messages that wait have arrived, a notice in INBOX. `made` is when the backup was made.
    pub fn restoration(&self, made: Timestamp, now: Timestamp, rng: &mut dyn Rng) -> (Vec<Record>, Vec<NewBody>) {
        let mut story = Story::new(self, now);
        story.records.push(Record::Identity(IdentityRecord::Restored { made, at: now }));
        story.notice(rng, |state, id| state.profile().map(|own| dsn::restored(&own.public.address, made, id, now)));
        (story.records, story.bodies)
    }

    /// The transaction that says that the end of the log is missing: as after a restore, for the same reasons.
    pub fn rollback(&self, now: Timestamp, rng: &mut dyn Rng) -> (Vec<Record>, Vec<NewBody>) {
        let mut story = Story::new(self, now);
        story.records.push(Record::Identity(IdentityRecord::Restored { made: now, at: now }));
        story.notice(rng, |state, id| state.profile().map(|own| dsn::rolled_back(&own.public.address, id, now)));
        (story.records, story.bodies)
    }

    /// The transaction that takes unreadable messages out of their folders, ends with reports those that wait and
    /// cannot be sent, and says so in INBOX. If records are lost, UIDs and card counters may have been given, and
    /// copies sent, that the log does not know: this is handled as after a restore.
    pub fn repair(&self, lost: &Lost<'_>, now: Timestamp, rng: &mut dyn Rng) -> (Vec<Record>, Vec<NewBody>) {
        let mut story = Story::new(self, now);
        if lost.records {
            story.records.push(Record::Identity(IdentityRecord::Restored { made: now, at: now }));
        }
        // The Outbox follows from the queue.
        for folder in self.mailbox().folders().filter(|folder| folder.role != Some(FolderRole::Outbox)) {
            let unreadable = folder.messages.iter().filter(|message| lost.bodies.contains(&message.body));
            let uids: Vec<Uid> = unreadable.map(|message| message.uid).collect();
            if !uids.is_empty() {
                story.records.push(Record::Mailbox(MailboxRecord::Expunged { folder: folder.id, uids }));
            }
        }
        for queued in self.queue().iter().filter(|queued| lost.bodies.contains(&queued.body)) {
            story.unsendable(queued, lost.records, rng);
        }
        for load in self.forwarding().objects().filter(|load| lost.bodies.contains(&load.body)) {
            let (contact, object, fate) = (load.contact, load.object, Fate::Expired);
            story.records.push(Record::Forwarding(ForwardingRecord::ForwardedEnded { contact, object, fate }));
        }
        story.notice(rng, |state, id| {
            state.profile().map(|own| dsn::repaired(&own.public.address, lost.lines, lost.kept, id, now))
        });
        (story.records, story.bodies)
    }
}

/// A transaction in the making.
struct Story<'a> {
    state: &'a State,
    now: Timestamp,
    /// INBOX, and its next UID.
    inbox: Option<(FolderId, Uid)>,
    records: Vec<Record>,
    bodies: Vec<NewBody>,
}

impl<'a> Story<'a> {
    fn new(state: &'a State, now: Timestamp) -> Self {
        let inbox = state.mailbox().by_role(FolderRole::Inbox).map(|inbox| (inbox.id, inbox.uid_next));
        Self { state, now, inbox, records: Vec::new(), bodies: Vec::new() }
    }

    /// Ends a message with a report, as its body cannot be read.
    fn unsendable(&mut self, queued: &Queued, doubtful: bool, rng: &mut dyn Rng) {
        let reason = |sent: bool| if doubtful || sent { FailureReason::Unconfirmed } else { FailureReason::Unsealable };
        let failures = queued.waiting().map(|(contact, recipient)| (contact, reason(!recipient.sent.is_empty())));
        let failures: Vec<_> = failures.collect();
        let (queue, at) = (queued.id, self.now);
        let failed = |&(contact, reason)| Record::Queue(QueueRecord::RecipientFailed { queue, contact, at, reason });
        self.records.extend(failures.iter().map(failed));
        let outcomes: Vec<_> = failures.iter().map(|&(contact, reason)| (contact, Outcome::Failed(reason))).collect();
        let text = self.state.report(self.now, rng, queued, &outcomes, None);
        self.add(text, rng);
    }

    fn notice(&mut self, rng: &mut dyn Rng, text: impl FnOnce(&State, ContentId) -> Option<Vec<u8>>) {
        let text = text(self.state, ContentId::random(rng));
        self.add(text, rng);
    }

    /// Adds a message to INBOX.
    fn add(&mut self, text: Option<Vec<u8>>, rng: &mut dyn Rng) {
        let (Some(text), Some((folder, uid))) = (text, self.inbox) else { return };
        let body = NewBody { report: true, ..NewBody::new(BodyId::random(rng), text.into()) };
        let size = u32::try_from(body.bytes.len()).unwrap_or(u32::MAX);
        let flags = NamedFlags::default();
        let message = NewMessage { uid, flags, date: self.now, body: body.id, size, content: None };
        self.records.push(Record::Mailbox(MailboxRecord::MessageAdded { folder, message }));
        self.bodies.push(body);
        self.inbox = Some((folder, uid.saturating_add(1)));
    }
}
