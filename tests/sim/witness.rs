//! What was promised, and what became of it: the invariants (docs/testing.md, "Simulation"). It looks at what was reported
//! as committed, at the states that starts find, and never at how anything is done.

use std::collections::{BTreeMap, BTreeSet};

use runepeer::base::{BodyId, ContactId, FolderId, QueueId};
use runepeer::engine::state::forwarding::{Fate, Forwarding};
use runepeer::engine::state::mailbox::{FolderRole, Uid};
use runepeer::engine::state::queue::{FailureReason, Progress};
use runepeer::engine::{
    BoxRecord, ForwardingRecord, IntroductionRecord, KnownBoxes, MailboxRecord, QueueRecord, ReceivedRecord, Record,
    State, Transaction,
};

use crate::climate::HOUR;
use crate::node::Node;

/// How a message ended for one recipient, as its sender's node said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Delivered,
    Failed(FailureReason),
    /// Taken back; whether it may have arrived before.
    Cancelled(bool),
}

/// A message that was taken for delivery.
#[derive(Debug)]
struct Mail {
    author: usize,
    /// By recipient; `None` while it waits.
    recipients: BTreeMap<usize, Option<End>>,
    submitted: i64,
}

/// Everything that was promised.
#[derive(Default)]
pub(crate) struct Witness {
    mails: BTreeMap<String, Mail>,
    /// Entry of whose queue → the text by which the message is known.
    queues: BTreeMap<(usize, QueueId), String>,
    /// What each node has taken from peers, by that text.
    taken: BTreeMap<(usize, String), BodyId>,
    /// Which body each UID of a node means.
    uids: BTreeMap<(usize, FolderId, u32, Uid), BodyId>,
    /// The highest log number that a node was told.
    numbers: BTreeMap<usize, u64>,
    /// Nodes whose clock was set forward: what they end may be early.
    pub(crate) set_forward: BTreeSet<usize>,
    /// Whose message whose node refused for good (sender, receiver). That ends it; an earlier copy may still have arrived.
    pub(crate) refused: BTreeSet<(usize, usize)>,
    /// Who agreed to be introduced, and by whom (by what the nodes committed, whatever became of it).
    pub(crate) granted: BTreeSet<(usize, usize)>,
    pub(crate) delivered: u64,
    pub(crate) reported: u64,
    pub(crate) cancelled: u64,
    pub(crate) recoveries: u64,
    /// Copies that carriers said to hold, and messages that a receipt ended.
    pub(crate) held: u64,
    pub(crate) receipts: u64,
    pub(crate) carried: u64,
}

/// What a transaction is about to do, looked at before it takes effect.
pub(crate) struct Before {
    settled: Vec<(QueueId, ContactId, End)>,
}

/// The word by which a message of the simulation is known, wherever it is.
pub(crate) fn token(bytes: &[u8]) -> Option<String> {
    const MARK: &[u8] = b"canary-";
    let at = bytes.windows(MARK.len()).position(|window| window == MARK)?;
    let word = bytes[at..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-');
    Some(word.map(|byte| char::from(*byte)).collect())
}

fn node_of(nodes: &[Node], state: &State, contact: ContactId) -> Option<usize> {
    let onion = state.book().contact(contact)?.address.onion();
    nodes.iter().position(|node| node.onion == onion)
}

impl Witness {
    pub(crate) fn before(state: &State, transaction: &Transaction) -> Before {
        let mut settled = Vec::new();
        let waits = |queue: &QueueId, contact: &ContactId| {
            state.queue().get(*queue).is_some_and(|queued| queued.waits_for(*contact))
        };
        for record in transaction.records.iter() {
            match record {
                Record::Queue(QueueRecord::RecipientDelivered { queue, contact, .. }) if waits(queue, contact) => {
                    settled.push((*queue, *contact, End::Delivered));
                }
                Record::Queue(QueueRecord::RecipientFailed { queue, contact, reason, .. }) if waits(queue, contact) => {
                    settled.push((*queue, *contact, End::Failed(*reason)));
                }
                Record::Queue(QueueRecord::SubmissionCancelled { queue }) => {
                    let waiting = state.queue().get(*queue).into_iter().flat_map(|queued| queued.waiting());
                    settled.extend(
                        waiting
                            .map(|(contact, recipient)| (*queue, contact, End::Cancelled(!recipient.sent.is_empty()))),
                    );
                }
                _ => {}
            }
        }
        Before { settled }
    }

    /// A commit was reported, and has taken effect.
    pub(crate) fn committed(
        &mut self,
        nodes: &[Node],
        at: usize,
        now: i64,
        number: u64,
        before: Before,
        transaction: &Transaction,
    ) {
        let running = nodes[at].running.as_ref().unwrap();
        let state = running.identity.state();
        let highest = self.numbers.insert(at, number + transaction.records.len() as u64 - 1).unwrap_or(0);
        assert!(number > highest, "log numbers only grow");
        let text =
            |body: BodyId| transaction.bodies.iter().find(|new| new.id == body).and_then(|new| token(&new.bytes));
        for record in transaction.records.iter() {
            match record {
                Record::Queue(QueueRecord::Submitted { queued }) if state.queue().get(queued.id).is_some() => {
                    let Some(text) = text(queued.body) else { continue };
                    self.queues.insert((at, queued.id), text.clone());
                    let to = queued.recipients.keys().filter_map(|contact| node_of(nodes, state, *contact));
                    let mail = self.mails.entry(text).or_insert_with(|| Mail {
                        author: at,
                        recipients: BTreeMap::new(),
                        submitted: now,
                    });
                    mail.recipients.extend(to.map(|node| (node, None)));
                }
                Record::Received(ReceivedRecord::Delivered { folder, message, .. }) => {
                    let there = state.mailbox().folder(*folder).and_then(|folder| folder.messages.get(message.uid));
                    if there.is_some_and(|there| there.body == message.body) {
                        self.arrived(nodes, at, text(message.body), message.body);
                    }
                }
                _ => self.note_grant(nodes, at, state, record),
            }
        }
        let held = |record: &&Record| matches!(record, Record::Boxes(BoxRecord::DepositSettled { held: Some(_), .. }));
        self.held += transaction.records.iter().filter(held).count() as u64;
        let carried = |record: &&Record| {
            matches!(record, Record::Forwarding(ForwardingRecord::ForwardedEnded { fate: Fate::Delivered, .. }))
        };
        self.carried += transaction.records.iter().filter(carried).count() as u64;
        if matches!(transaction.records.first(), Some(Record::Received(ReceivedRecord::Discarded { .. }))) {
            self.receipts += before.settled.len() as u64;
        }
        let reports = transaction
            .records
            .iter()
            .filter(|record| matches!(record, Record::Mailbox(MailboxRecord::MessageAdded { .. })))
            .count();
        for (queue, contact, end) in before.settled {
            let Some(text) = self.queues.get(&(at, queue)).cloned() else { continue };
            let Some(to) = node_of(nodes, state, contact) else { continue };
            self.settled(nodes, at, now, &text, to, end);
            if let End::Failed(_) = end {
                let ended = state.queue().ended().chain(state.queue().iter()).find(|queued| queued.id == queue);
                let wanted =
                    ended.and_then(|queued| queued.recipients.get(&contact)).map(|one| one.options.notify.failure);
                assert!(wanted != Some(true) || reports > 0, "{text}: an end without a report");
            }
        }
        self.note_uids(at, state);
    }

    fn note_grant(&mut self, nodes: &[Node], at: usize, state: &State, record: &Record) {
        if let Record::Introductions(IntroductionRecord::IntroductionGranted { path, .. }) = record {
            self.granted.extend(node_of(nodes, state, path.by).map(|by| (at, by)));
        }
    }

    fn arrived(&mut self, nodes: &[Node], at: usize, text: Option<String>, body: BodyId) {
        let Some(text) = text else { return };
        let before = self.taken.insert((at, text.clone()), body);
        let Some(mail) = self.mails.get(&text) else {
            // Only what was accepted leaves its author's node; what a hostile one makes up is its own.
            assert!(nodes[at].hostile || nodes.iter().any(|node| node.hostile), "{text} came from nowhere");
            return;
        };
        if nodes[mail.author].hostile {
            return;
        }
        assert!(before.is_none(), "{text} is in a mailbox twice");
        let Some(end) = mail.recipients.get(&at) else { panic!("{text} came to somebody else") };
        match end {
            None | Some(End::Failed(FailureReason::Unconfirmed | FailureReason::Recalled) | End::Cancelled(true)) => {}
            Some(end) => panic!("{text} arrived at {at} after its sender was told {end:?}"),
        }
        self.delivered += 1;
    }

    fn settled(&mut self, nodes: &[Node], at: usize, now: i64, text: &str, to: usize, end: End) {
        let there = self.taken.contains_key(&(to, text.to_owned()));
        let Some(mail) = self.mails.get_mut(text) else { return };
        let Some(known) = mail.recipients.get_mut(&to) else { return };
        assert!(known.is_none(), "{text} ended twice for {to}: {known:?}, {end:?}");
        *known = Some(end);
        match end {
            End::Delivered => {}
            End::Failed(_) => self.reported += 1,
            End::Cancelled(_) => self.cancelled += 1,
        }
        if nodes[to].hostile || nodes[at].hostile {
            return;
        }
        match end {
            End::Delivered => assert!(there, "{text}: delivered, says its sender's node, and is not there"),
            End::Failed(FailureReason::Unconfirmed | FailureReason::Recalled) | End::Cancelled(true) => {}
            End::Failed(reason) => assert!(!there, "{text}: {reason:?}, says its sender's node, and it is there"),
            End::Cancelled(false) => assert!(!there, "{text}: taken back in time, and it is there"),
        }
        let early = now - mail.submitted < 5 * 24 * HOUR - HOUR;
        let refused = self.refused.contains(&(at, to));
        let expired = match end {
            End::Failed(FailureReason::Expired) => true,
            End::Failed(FailureReason::Unconfirmed) => !refused,
            End::Failed(FailureReason::Refused) => {
                assert!(refused, "{text}: refused, says its sender's node, and it was not");
                false
            }
            _ => false,
        };
        if expired && early {
            assert!(self.set_forward.contains(&nodes[at].host), "{text} expired early");
        }
    }

    fn note_uids(&mut self, at: usize, state: &State) {
        for folder in state.mailbox().folders() {
            // What is new stands at the end.
            for message in folder.messages.iter().rev() {
                let key = (at, folder.id, folder.uid_validity, message.uid);
                match self.uids.insert(key, message.body) {
                    None => {}
                    Some(body) => {
                        assert!(body == message.body, "a UID means another message");
                        break;
                    }
                }
            }
        }
    }

    /// A start found this state, where this one was reported before, with these commits in doubt.
    pub(crate) fn recovered(&mut self, at: usize, found: &State, reported: &State, doubtful: &[Transaction]) {
        self.recoveries += 1;
        let wanted = projection(found);
        // No later commit can name a body of one that was in doubt: whose body is there is there itself, and whose is not
        // is not. For those without a body every choice is tried.
        let bodies = if doubtful.is_empty() { BTreeSet::new() } else { found.bodies() };
        let possible = doubtful.iter().filter(|transaction| {
            transaction.bodies.is_empty() || transaction.bodies.iter().any(|new| bodies.contains(&new.id))
        });
        let (open, sure): (Vec<_>, Vec<_>) =
            possible.enumerate().partition(|(_, transaction)| transaction.bodies.is_empty());
        let fits = (0..1_u32 << open.len().min(16)).any(|choice| {
            let chosen = open.iter().enumerate().filter(|(n, _)| choice & 1 << n != 0).map(|(_, open)| open);
            let mut chosen: Vec<_> = sure.iter().chain(chosen).collect();
            chosen.sort_by_key(|(place, _)| *place);
            let mut state = reported.clone();
            let records = chosen.iter().flat_map(|(_, transaction)| transaction.records.iter());
            for (number, record) in (u64::MAX / 2..).zip(records) {
                state.apply(number, record);
            }
            projection(&state) == wanted
        });
        let apart = || wanted.apart(&projection(reported));
        assert!(fits, "node {at}: a start found another state than was reported: {}", apart());
    }

    /// What of the doubtful a start found counts from now on.
    pub(crate) fn found(&mut self, nodes: &[Node], at: usize, now: i64, state: &State, doubtful: &[Transaction]) {
        self.note_uids(at, state);
        for transaction in doubtful {
            for record in transaction.records.iter() {
                let text = |body: BodyId| {
                    transaction.bodies.iter().find(|new| new.id == body).and_then(|new| token(&new.bytes))
                };
                match record {
                    Record::Received(ReceivedRecord::Delivered { folder, message, .. }) => {
                        let there = state.mailbox().folder(*folder).and_then(|folder| folder.messages.get(message.uid));
                        if there.is_some_and(|there| there.body == message.body) {
                            self.arrived(nodes, at, text(message.body), message.body);
                        }
                    }
                    Record::Queue(QueueRecord::Submitted { queued }) if state.queue().get(queued.id).is_some() => {
                        let Some(text) = text(queued.body) else { continue };
                        self.queues.insert((at, queued.id), text.clone());
                        let to = queued.recipients.keys().filter_map(|contact| node_of(nodes, state, *contact));
                        let to: Vec<_> = to.map(|node| (node, None)).collect();
                        // When it was taken is not known: somewhere before the end of its process.
                        let mail = Mail { author: at, recipients: BTreeMap::new(), submitted: i64::MIN / 2 };
                        self.mails.entry(text).or_insert(mail).recipients.extend(to);
                    }
                    Record::Queue(QueueRecord::RecipientDelivered { queue, contact, .. }) => {
                        self.ended_unseen(nodes, at, now, state, *queue, *contact, End::Delivered);
                    }
                    Record::Queue(QueueRecord::RecipientFailed { queue, contact, reason, .. }) => {
                        self.ended_unseen(nodes, at, now, state, *queue, *contact, End::Failed(*reason));
                    }
                    Record::Queue(QueueRecord::SubmissionCancelled { queue }) => {
                        let ended: Vec<_> =
                            state.queue().ended().filter(|queued| queued.id == *queue).cloned().collect();
                        for (contact, recipient) in ended.iter().flat_map(|queued| queued.recipients.iter()) {
                            if recipient.progress == Progress::Cancelled {
                                let end = End::Cancelled(!recipient.sent.is_empty());
                                self.ended_unseen(nodes, at, now, state, *queue, *contact, end);
                            }
                        }
                    }
                    _ => self.note_grant(nodes, at, state, record),
                }
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn ended_unseen(
        &mut self,
        nodes: &[Node],
        at: usize,
        now: i64,
        state: &State,
        queue: QueueId,
        contact: ContactId,
        end: End,
    ) {
        let waits = state.queue().get(queue).is_some_and(|queued| queued.waits_for(contact));
        let Some(text) = self.queues.get(&(at, queue)).cloned() else { return };
        let Some(to) = node_of(nodes, state, contact) else { return };
        let open = self.mails.get(&text).and_then(|mail| mail.recipients.get(&to)).is_some_and(Option::is_none);
        if !waits && open {
            self.settled(nodes, at, now, &text, to, end);
        }
    }

    /// At the end, with everybody there and nothing wrong for days: everything that was accepted has ended.
    pub(crate) fn finish(&self, nodes: &[Node]) {
        for (text, mail) in &self.mails {
            if nodes[mail.author].hostile {
                continue;
            }
            for (to, end) in &mail.recipients {
                let there = self.taken.contains_key(&(*to, text.clone()));
                if nodes[*to].hostile {
                    continue;
                }
                assert!(end.is_some(), "{text} from {} to {to} never ended (there: {there})", mail.author);
            }
        }
        for (at, node) in nodes.iter().enumerate() {
            let state = node.running.as_ref().unwrap().identity.state();
            assert!(state.queue().is_empty() || node.hostile, "the queue of {at} does not drain");
            let outbox = state.mailbox().by_role(FolderRole::Outbox).unwrap();
            assert!(outbox.messages.is_empty() || node.hostile, "the Outbox of {at} shows what does not wait");
        }
    }
}

/// Name, UIDVALIDITY, next UID, whether it is subscribed, and its messages.
type FolderProjection = (FolderId, String, (u32, Uid), bool, Vec<(Uid, BodyId)>);

/// What of a state was promised: everything but flags and what follows from them, which may lag, and log numbers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Projection {
    folders: Vec<FolderProjection>,
    contacts: Vec<String>,
    invitations: Vec<String>,
    queue: BTreeMap<QueueId, (BTreeMap<ContactId, Progress>, bool)>,
    passwords: usize,
    duplicates: usize,
    bodies: BTreeSet<BodyId>,
    boxes: KnownBoxes,
    forwarding: Forwarding,
}

/// The flags of every message, by name.
pub(crate) fn flags(state: &State) -> Vec<(FolderId, Uid, u64, BTreeSet<&str>)> {
    let all = state.mailbox().folders().flat_map(|folder| folder.messages.iter().map(move |message| (folder, message)));
    all.map(|(folder, message)| {
        (folder.id, message.uid, message.flags.0 & 0xff, folder.keyword_names(message.flags).collect())
    })
    .collect()
}

impl Projection {
    /// The lines in which two differ.
    pub(crate) fn apart(&self, other: &Self) -> String {
        let (mine, other) = (format!("{self:#?}"), format!("{other:#?}"));
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<String>>();
        let (mine, other) = (lines(&mine), lines(&other));
        let only = |sign, a: &BTreeSet<String>, b: &BTreeSet<String>| -> String {
            a.difference(b).map(|line| format!("\n{sign}{line}")).collect()
        };
        only('+', &mine, &other) + &only('-', &other, &mine)
    }
}

pub(crate) fn projection(state: &State) -> Projection {
    let recipients = |queued: &runepeer::engine::state::queue::Queued| {
        queued.recipients.iter().map(|(contact, recipient)| (*contact, recipient.progress)).collect()
    };
    let queue = state.queue().iter().map(|queued| (queued.id, (recipients(queued), queued.delayed))).collect();
    Projection {
        folders: state
            .mailbox()
            .folders()
            .map(|folder| {
                let messages = folder.messages.iter().map(|message| (message.uid, message.body)).collect();
                (folder.id, folder.name.clone(), (folder.uid_validity, folder.uid_next), folder.subscribed, messages)
            })
            .collect(),
        contacts: state
            .book()
            .contacts()
            .map(|contact| {
                format!("{:?} {:?} {:?} {:?}", contact.id, contact.status, contact.cards, contact.inbound.len())
            })
            .collect(),
        invitations: state.book().invitations().map(|entry| format!("{:?} {:?}", entry.id, entry.used)).collect(),
        queue,
        passwords: state.passwords().len(),
        duplicates: state.duplicates().len(),
        bodies: state.bodies(),
        boxes: state.boxes().clone(),
        forwarding: state.forwarding().clone(),
    }
}
