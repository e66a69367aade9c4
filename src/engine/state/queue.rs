//! The queue as a value: the messages that were submitted, and how far each recipient is.
//!
//! It is the fold of the queue records. An entry leaves it when no recipient is waiting any more; only then may its
//! body be forgotten. States only move forward: queued → (delivered | handed over → read) | failed | cancelled.
//!
//! Whether a copy may have arrived without an answer is a state too, per endpoint: it decides whether a report says
//! "failed" or "unconfirmed". Attempts and delays are only in the memory of the schedule: after a restart everything is
//! tried soon.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::limits;
use crate::base::{BodyId, ContactId, ContentId, QueueId, Timestamp};
use crate::engine::state::shards::Shards;
pub use crate::mail::dsn::FailureReason;
use crate::mail::{Address, headers};
use crate::wire::Importance;

/// How far a message is with one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Progress {
    /// Waiting to be sent.
    Queued,
    /// The recipient's node has it on its disk.
    Delivered(Timestamp),
    /// The attempts have ended; a report is in INBOX, unless the sender asked for none.
    Failed(Timestamp, FailureReason),
    /// Taken back by its sender.
    Cancelled,
    /// A carrier had it until it expired, and the recipient says that it returns no receipts.
    HandedOver(Timestamp),
    /// The recipient says that it was read.
    Read(Timestamp),
}

/// Where a copy of a message goes on its way to a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Endpoint {
    /// The recipient's own onion: an object that it acknowledges is delivered.
    Onion,
    /// A box of the recipient: an object that its carrier acknowledges is held.
    Box,
}

/// One recipient of a message, as it was submitted.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addressee {
    /// The address, with the folder that the sender asked for.
    pub address: Address,
    /// How far it is: [`Progress::Queued`].
    pub progress: Progress,
}

/// A message as it was submitted.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submitted {
    /// Its name here and in the mail program's log.
    pub id: QueueId,
    /// Its signed id, the same in every copy and retry.
    pub content: ContentId,
    /// The message to sign.
    pub body: BodyId,
    /// How many bytes the message has.
    pub size: u32,
    /// When it was taken.
    pub submitted: Timestamp,
    /// When the attempts end.
    pub expires: Timestamp,
    /// Its recipients.
    pub recipients: BTreeMap<ContactId, Addressee>,
    /// The fields of its header by which its sender knows it again in a report, as they were written.
    pub headers: Vec<u8>,
}

/// Which reports the sender wants for a recipient (RFC 3461 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notify {
    /// A report when the message was delivered.
    pub success: bool,
    /// A report when it was not.
    pub failure: bool,
    /// A report when it is late.
    pub delay: bool,
}

impl Default for Notify {
    /// The reports for a sender who asks for nothing special: of failures, and of delays.
    fn default() -> Self {
        Self { success: false, failure: true, delay: true }
    }
}

/// What a mail program asked for with a submission (RFC 3461), where it is not the default.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// ENVID: the mail program's own name of the submission.
    pub envelope: Option<String>,
    /// RET=FULL: a report of a failure holds the whole message.
    pub full: bool,
    /// NOTIFY and ORCPT, by recipient.
    pub recipients: BTreeMap<ContactId, RecipientOptions>,
}

/// What a mail program asked for with one recipient.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipientOptions {
    /// NOTIFY.
    pub notify: Notify,
    /// ORCPT: the address as the mail program first had it, with its type.
    pub original: Option<String>,
}

/// One recipient of a queued message.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// The address, with the folder that the sender asked for.
    pub address: Address,
    /// How far it is.
    pub progress: Progress,
    /// The endpoints to which a copy was sent without an answer that we know: it may have arrived there.
    pub sent: BTreeSet<Endpoint>,
    /// What the mail program asked for.
    pub options: RecipientOptions,
}

/// One submitted message, and how far it is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queued {
    /// Its name here and in the mail program's log.
    pub id: QueueId,
    /// Its signed id, the same in every copy and retry.
    pub content: ContentId,
    /// The message to sign.
    pub body: BodyId,
    /// How many bytes the message has.
    pub size: u32,
    /// When it was taken.
    pub submitted: Timestamp,
    /// When the attempts end.
    pub expires: Timestamp,
    /// Its recipients.
    pub recipients: BTreeMap<ContactId, Recipient>,
    /// The fields of its header by which its sender knows it again in a report, as they were written.
    pub headers: Vec<u8>,
    /// ENVID (RFC 3461).
    pub envelope: Option<String>,
    /// RET=FULL (RFC 3461).
    pub full: bool,
    /// Whether its sender was told that it is late.
    pub delayed: bool,
}

impl Queued {
    fn new(submitted: &Submitted) -> Self {
        let recipient = |addressee: &Addressee| Recipient {
            address: addressee.address.clone(),
            progress: addressee.progress,
            sent: BTreeSet::new(),
            options: RecipientOptions::default(),
        };
        Self {
            id: submitted.id,
            content: submitted.content,
            body: submitted.body,
            size: submitted.size,
            submitted: submitted.submitted,
            expires: submitted.expires,
            recipients: submitted.recipients.iter().map(|(&id, addressee)| (id, recipient(addressee))).collect(),
            headers: submitted.headers.clone(),
            envelope: None,
            full: false,
            delayed: false,
        }
    }

    /// How urgent its author called it: `Importance` (RFC 4021 §2.1.55), `X-Priority` from 1 to 5, or `Priority`.
    pub fn importance(&self) -> Importance {
        let said = |name: &str| {
            let field = headers::fields(&self.headers).find(|field| field.is(name))?;
            let value = String::from_utf8_lossy(field.value).trim().to_ascii_lowercase();
            // `X-Priority: 1 (Highest)`
            let word = value.split([' ', '\t', '(']).next()?;
            match word {
                "high" | "urgent" | "1" | "2" => Some(Importance::High),
                "low" | "non-urgent" | "4" | "5" => Some(Importance::Low),
                _ => None,
            }
        };
        ["Importance", "X-Priority", "Priority"].into_iter().find_map(said).unwrap_or(Importance::Normal)
    }

    /// The recipients that still wait.
    pub fn waiting(&self) -> impl Iterator<Item = (ContactId, &Recipient)> {
        self.recipients
            .iter()
            .filter(|(_, recipient)| recipient.progress == Progress::Queued)
            .map(|(&contact, recipient)| (contact, recipient))
    }

    /// Whether this recipient still waits.
    pub fn waits_for(&self, contact: ContactId) -> bool {
        self.recipients.get(&contact).is_some_and(|recipient| recipient.progress == Progress::Queued)
    }

    /// Whether a copy was sent to a recipient who still waits, without an answer that we know.
    pub fn may_have_arrived(&self) -> bool {
        self.waiting().any(|(_, recipient)| !recipient.sent.is_empty())
    }

    /// Whether a recipient has it already.
    pub fn is_partly_delivered(&self) -> bool {
        self.recipients
            .values()
            .any(|recipient| matches!(recipient.progress, Progress::Delivered(_) | Progress::Read(_)))
    }

    /// When the sender is to be told that the message is late, if a recipient that still waits is a reason for that.
    pub fn notice_due(&self) -> Option<Timestamp> {
        let wanted = !self.delayed && self.waiting().any(|(_, recipient)| recipient.options.notify.delay);
        wanted.then(|| self.submitted.plus(limits::DELAY_NOTICE)).filter(|due| *due < self.expires)
    }
}

impl fmt::Debug for Addressee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Addressee").finish_non_exhaustive()
    }
}

impl fmt::Debug for Submitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submitted").field("id", &self.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("full", &self.full).finish_non_exhaustive()
    }
}

impl fmt::Debug for RecipientOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecipientOptions").field("notify", &self.notify).finish_non_exhaustive()
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recipient").field("progress", &self.progress).finish_non_exhaustive()
    }
}

impl fmt::Debug for Queued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queued")
            .field("id", &self.id)
            .field("recipients", &self.recipients.len())
            .finish_non_exhaustive()
    }
}

/// The messages that wait, and those that ended lately. A clone shares all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    waiting: Shards<QueueId, Arc<Queued>>,
    ended: Arc<VecDeque<Arc<Queued>>>,
}

impl Queue {
    /// The entry with this id, while it waits.
    pub fn get(&self, id: QueueId) -> Option<&Arc<Queued>> {
        self.waiting.get(&id)
    }

    /// All entries that wait, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Queued>> {
        self.waiting.values()
    }

    /// The entries that ended last, the newest at the end: for people who want to know what became of a message.
    pub fn ended(&self) -> impl DoubleEndedIterator<Item = &Arc<Queued>> {
        self.ended.iter()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes a new entry. Nothing happens if the id exists.
    pub(in crate::engine) fn submit(&mut self, submitted: &Submitted) -> bool {
        if self.get(submitted.id).is_some() {
            return false;
        }
        let queued = Queued::new(submitted);
        if queued.waiting().next().is_some() {
            self.waiting.insert(queued.id, Arc::new(queued));
        }
        true
    }

    /// Puts an entry back as a checkpoint kept it: among those that wait (nothing happens if the id exists), or at the
    /// end of those that ended.
    pub(in crate::engine) fn keep(&mut self, queued: &Queued) -> bool {
        if queued.waiting().next().is_none() {
            Arc::make_mut(&mut self.ended).push_back(Arc::new(queued.clone()));
        } else if self.get(queued.id).is_some() {
            return false;
        } else {
            self.waiting.insert(queued.id, Arc::new(queued.clone()));
        }
        true
    }

    /// Notes what the mail program asked for.
    pub(in crate::engine) fn set_options(&mut self, id: QueueId, options: &Options) -> bool {
        self.edit(id, |queued| {
            queued.envelope.clone_from(&options.envelope);
            queued.full = options.full;
            for (contact, asked) in &options.recipients {
                if let Some(recipient) = queued.recipients.get_mut(contact) {
                    recipient.options = asked.clone();
                }
            }
        })
    }

    /// The message with this signed id, for a contact that waits for it or has it.
    pub(in crate::engine) fn with_content(&self, content: ContentId, contact: ContactId) -> Option<&Arc<Queued>> {
        let is_it = |queued: &&Arc<Queued>| queued.content == content && queued.recipients.contains_key(&contact);
        self.ended.iter().rev().chain(self.iter()).find(is_it)
    }

    /// A recipient that has a message has read it.
    pub(in crate::engine) fn set_read(&mut self, id: QueueId, contact: ContactId, at: Timestamp) -> bool {
        let mut done = false;
        let mut read = |queued: &mut Queued| {
            if let Some(recipient) = queued.recipients.get_mut(&contact)
                && matches!(recipient.progress, Progress::Delivered(_) | Progress::HandedOver(_))
            {
                recipient.progress = Progress::Read(at);
                done = true;
            }
        };
        if self.get(id).is_some() {
            self.edit(id, read);
        } else if let Some(queued) = Arc::make_mut(&mut self.ended).iter_mut().find(|queued| queued.id == id) {
            read(Arc::make_mut(queued));
        }
        done
    }

    /// Moves a recipient forward; the entry goes with its last one. Nothing happens if the recipient does not wait.
    pub(in crate::engine) fn settle(&mut self, id: QueueId, contact: ContactId, progress: Progress) -> bool {
        if !self.get(id).is_some_and(|queued| queued.waits_for(contact)) {
            return false;
        }
        self.edit(id, |queued| {
            if let Some(recipient) = queued.recipients.get_mut(&contact) {
                recipient.progress = progress;
            }
        })
    }

    /// Notes that a copy goes to an endpoint of a recipient, or that it certainly did not arrive there.
    pub(in crate::engine) fn set_sent(
        &mut self,
        id: QueueId,
        contact: ContactId,
        endpoint: Endpoint,
        sent: bool,
    ) -> bool {
        let known = self.get(id).and_then(|queued| queued.recipients.get(&contact));
        if known.is_none_or(|recipient| recipient.sent.contains(&endpoint) == sent) {
            return false;
        }
        self.edit(id, |queued| {
            if let Some(recipient) = queued.recipients.get_mut(&contact) {
                if sent {
                    recipient.sent.insert(endpoint);
                } else {
                    recipient.sent.remove(&endpoint);
                }
            }
        })
    }

    /// A message goes to another contact instead of this one. The folder that its sender asked for stays behind: it is one of the
    /// first contact. Nothing happens where the message does not wait for the one, or is for the other as well.
    pub(in crate::engine) fn readdress(&mut self, id: QueueId, from: ContactId, to: ContactId, at: &Address) -> bool {
        let waits = self.get(id).is_some_and(|queued| queued.waits_for(from) && !queued.recipients.contains_key(&to));
        waits
            && self.edit(id, |queued| {
                if let Some(recipient) = queued.recipients.remove(&from) {
                    queued.recipients.insert(to, Recipient { address: at.clone(), ..recipient });
                }
            })
    }

    /// Attempts do not end before this: a carrier holds a copy until then.
    pub(in crate::engine) fn extend(&mut self, id: QueueId, until: Timestamp) -> bool {
        self.get(id).is_some_and(|queued| queued.expires < until) && self.edit(id, |queued| queued.expires = until)
    }

    /// Notes that the sender was told of the delay.
    pub(in crate::engine) fn set_delayed(&mut self, id: QueueId) -> bool {
        self.edit(id, |queued| queued.delayed = true)
    }

    /// Takes a message back from every recipient that still waits.
    pub(in crate::engine) fn cancel(&mut self, id: QueueId) -> bool {
        self.edit(id, |queued| {
            for recipient in queued.recipients.values_mut() {
                if recipient.progress == Progress::Queued {
                    recipient.progress = Progress::Cancelled;
                }
            }
        })
    }

    /// Changes an entry, and removes it when no recipient waits any more. `false` if there is none.
    fn edit(&mut self, id: QueueId, change: impl FnOnce(&mut Queued)) -> bool {
        let Some(queued) = self.waiting.get_mut(&id) else { return false };
        change(Arc::make_mut(queued));
        if queued.waiting().next().is_none() {
            let ended = self.waiting.remove(&id);
            let list = Arc::make_mut(&mut self.ended);
            list.extend(ended);
            while list.len() > limits::QUEUE_ENDED {
                list.pop_front();
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Onion;

    #[test]
    fn attempts_are_extended_to_a_later_end_and_never_to_the_same_or_an_earlier_one() {
        let (id, submitted) = (QueueId::from_bytes([1; 16]), Timestamp::from_secs(1_800_000_000));
        let address: Address = format!("bob@{}", Onion::from_public_key([1; 32])).parse().unwrap();
        let recipients =
            BTreeMap::from([(ContactId::from_bytes([1; 16]), Addressee { address, progress: Progress::Queued })]);
        let expires = submitted.plus(limits::EXPIRY);
        let (content, body, headers) = (ContentId::from_bytes([1; 16]), BodyId::from_bytes([1; 16]), Vec::new());
        let mut queue = Queue::default();
        queue.submit(&Submitted { id, content, body, size: 1, submitted, expires, recipients, headers });
        let moment = std::time::Duration::from_millis(1);
        for (until, extends) in [(expires.minus(moment), false), (expires, false), (expires.plus(moment), true)] {
            assert_eq!(queue.extend(id, until), extends, "{until:?}");
            assert_eq!(queue.get(id).unwrap().expires, until.max(expires));
        }
        assert!(!queue.extend(QueueId::from_bytes([2; 16]), expires), "there is none");
    }
}
