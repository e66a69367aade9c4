//! Mail from peers: opened, checked, committed, and only then acknowledged.
//!
//! An arrival is opened by the crypto driver; its author must be in the book and its signature verified before
//! anything of it counts. Then: taken once, not expired, From is the author's address, and a folder that exists.
//! 202 leaves after the commit, or where the content was taken before. Refusals say nothing of their reason
//! (docs/protocol.md, "Unrevealing answers").
//!
//! | author | mail | card |
//! |---|---|---|
//! | unknown | refused | see `greeting` |
//! | confirmed, greeting | INBOX, or the folder of the address | renews what we know |
//! | request | Requests | acknowledged |
//! | blocked | acknowledged, dropped | acknowledged, dropped |

use crate::base::ids::Fingerprint;
use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::{BodyId, SessionId, Timestamp};
use crate::mail::mail_json::{self, JsonContext};
use crate::mail::{Address, Content, ContentError, ContentKind, headers};
use crate::wire::{Importance, Status, digest};

use super::book::{Contact, ContactStatus};
use super::drops::Told;
use super::effect::{CommitError, Effect, NewBody, Opened, Refusal};
use super::identity::{Identity, Pending, Then};
use super::mailbox::{Flags, Folder, FolderRole, NamedFlags, NewMessage};
use super::record::{Evidence, Record, Seen};
use super::session::{Delivery, Sender, Ticket};
use super::state::Applied;

/// An object on its way from a session to the log.
pub(super) struct Arrival {
    session: SessionId,
    ticket: Ticket,
    to: Address,
    pub(super) sender: Sender,
    important: bool,
    size: usize,
}

/// A content whose author is known by name but not yet judged.
pub(super) struct Received {
    pub(super) content: Content,
    pub(super) header: String,
    pub(super) signature: Vec<u8>,
    pub(super) issuer: Fingerprint,
    pub(super) verified: bool,
    pub(super) seen: Seen,
}

impl Identity {
    /// A session delivered an object.
    pub(super) fn arrived(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        session: SessionId,
        ticket: Ticket,
        delivery: Delivery,
    ) {
        let Delivery { send, sender, object } = delivery;
        let important = send.importance == Importance::High;
        let arrival = Arrival { session, ticket, to: send.to.clone(), sender, important, size: object.len() };
        self.in_flight = self.in_flight.saturating_add(arrival.size);
        let full = self.in_flight > limits::IN_FLIGHT_BYTES;
        if full || !self.rates.take(sender, arrival.size as u64, now) {
            let status = match sender {
                Sender::Contact(_) if full => Status::Busy,
                Sender::Contact(_) => Status::TryLater,
                Sender::Invitation(_) | Sender::Stranger => Status::NotAvailable,
            };
            return self.finish(arrival, status);
        }
        if send.to.without_folder() != *self.address() {
            return self.load_arrived(now, rng, arrival, send, object);
        }
        let op = self.operation(Pending::Open(arrival));
        self.effect(Effect::Open(op, object));
    }

    /// An object was collected at a drop of ours; `false` where it cannot be looked at now.
    pub(super) fn collected(&mut self, session: SessionId, object: Vec<u8>) -> bool {
        let (to, size) = (self.address().clone(), object.len());
        if self.disk_low || self.in_flight.saturating_add(size) > limits::IN_FLIGHT_BYTES {
            return false;
        }
        self.in_flight = self.in_flight.saturating_add(size);
        let arrival = Arrival { session, ticket: Ticket(0), to, sender: Sender::Stranger, important: false, size };
        let op = self.operation(Pending::Open(arrival));
        self.effect(Effect::Open(op, object));
        true
    }

    /// Answers an arrival.
    pub(super) fn finish(&mut self, arrival: Arrival, status: Status) {
        self.in_flight = self.in_flight.saturating_sub(arrival.size);
        self.settle(arrival.session, arrival.ticket, status);
    }

    /// An arrival was opened, or refused by the gates.
    pub(super) fn opened(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        arrival: Arrival,
        result: Result<Opened, Refusal>,
    ) {
        let opened = match result {
            Ok(opened) => opened,
            Err(Refusal::Date) => return self.refuse_date(now, arrival),
            Err(refusal) => return self.finish(arrival, status_of(refusal)),
        };
        let (issuer, verified) = (opened.issuer, opened.verified);
        match read(opened, now) {
            Ok(received) => self.judge(now, rng, arrival, received),
            // An optional content from somebody whom we know is acknowledged and ignored.
            Err(ContentError::UnknownOptional) if verified && self.state.book().by_fingerprint(&issuer).is_some() => {
                self.finish(arrival, Status::Roger);
            }
            Err(_) => self.finish(arrival, Status::ContentRefused),
        }
    }

    fn judge(&mut self, now: Timestamp, rng: &mut dyn Rng, arrival: Arrival, received: Received) {
        let author = self.state.book().by_fingerprint(&received.issuer).cloned();
        if let Some(author) =
            author.as_ref().filter(|_| received.verified && self.state.duplicates().contains(&received.seen))
        {
            // The other copy had another receipt, or none.
            return match self.receipt_for(&received.content, author) {
                Some(record) => self.commit(vec![record], Vec::new(), Then::Acknowledge(arrival, received.seen)),
                None => self.finish(arrival, Status::Roger),
            };
        }
        if !is_current(&received.content, now) {
            return self.refuse_date(now, arrival);
        }
        match (author, received.content.kind) {
            (Some(author), _) if received.verified && author.status == ContactStatus::Blocked => {
                self.discard(arrival, received.seen);
            }
            (_, ContentKind::Card) => self.card_arrived(arrival, received),
            // Only we know what it is called.
            (None, ContentKind::Check) => {
                let known = self.check_came_back(received.content.id);
                self.finish(arrival, if known { Status::Roger } else { Status::ContentRefused });
            }
            // No mail, and nothing that an identity is asked.
            (_, ContentKind::Check | ContentKind::Challenge | ContentKind::ChallengeAnswer) => {
                self.finish(arrival, Status::ContentRefused)
            }
            (None, _) => self.finish(arrival, Status::ContentRefused),
            // Its certificate is not known here yet, so nobody could verify it.
            (Some(_), _) if !received.verified => self.finish(arrival, Status::Busy),
            (Some(author), ContentKind::Receipt) if author.status == ContactStatus::Confirmed => {
                self.receipts_arrived(now, rng, arrival, &received, &author);
            }
            (Some(_), ContentKind::Receipt) => self.discard(arrival, received.seen),
            (Some(author), _) => self.mail_arrived(now, rng, arrival, received, &author),
        }
    }

    /// Refuses what only its date is against; not for good while it may be our clock that is wrong.
    fn refuse_date(&mut self, now: Timestamp, arrival: Arrival) {
        let status = match arrival.sender {
            _ if !self.schedule.doubts_clock(now) => Status::ContentRefused,
            Sender::Contact(_) => Status::Busy,
            Sender::Invitation(_) | Sender::Stranger => Status::NotAvailable,
        };
        self.finish(arrival, status);
    }

    /// The receipt that the author of a copy is owed, where it asks for one and gets them.
    fn receipt_for(&self, content: &Content, author: &Contact) -> Option<Record> {
        let is_mail = matches!(content.kind, ContentKind::Mail | ContentKind::MailJson);
        let given = author.status == ContactStatus::Confirmed && self.state.drops().told(author.id) != Told::Nothing;
        let receipt = content.receipt.filter(|_| is_mail && given)?;
        Some(Record::ReceiptsDue { contact: author.id, receipts: vec![receipt] })
    }

    /// Acknowledges without taking, in the time that taking would need.
    pub(super) fn discard(&mut self, arrival: Arrival, seen: Seen) {
        self.commit(vec![Record::Discarded { seen }], Vec::new(), Then::Acknowledge(arrival, seen));
    }

    fn mail_arrived(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        arrival: Arrival,
        received: Received,
        author: &Contact,
    ) {
        let Received { content, header, signature, seen, .. } = received;
        let receipt = self.receipt_for(&content, author);
        let (message, evidence) = match content.kind {
            // What is kept of a JSON message is the message made from it; the signature is over something else.
            ContentKind::MailJson => (self.converted(now, &content, author), None),
            _ => (Some(content.payload), Some(Evidence { header, signature })),
        };
        let message = message.filter(|message| message.len() <= limits::MESSAGE_BYTES && is_from(message, author));
        let Some(message) = message else { return self.finish(arrival, Status::ContentRefused) };
        let folder = self.folder_for(&arrival.to, author).filter(|folder| has_room(folder));
        let folder = folder.map(|folder| folder.id);
        let uid = folder.and_then(|folder| self.reserve_uids(folder, 1)?.first().copied());
        let (Some(folder), Some(uid), Ok(size)) = (folder, uid, u32::try_from(message.len())) else {
            let status = no_room(arrival.sender);
            return self.finish(arrival, status);
        };
        // A contact may mark its mail as important; a stranger may not.
        let important = arrival.important && author.status == ContactStatus::Confirmed;
        let flags = NamedFlags::system(if important { Flags::FLAGGED } else { Flags::default() });
        let body = NewBody::new(BodyId::random(rng), message.into());
        let message = NewMessage { uid, flags, date: now, body: body.id, size, content: Some(seen.content) };
        let mut records = vec![Record::Delivered { folder, message, contact: author.id, seen, evidence }];
        records.extend(receipt);
        if arrival.sender == Sender::Contact(author.id) {
            records.extend(author.key_settled());
        }
        // Whose mail was collected may be away.
        if self.inbound.contains_key(&arrival.session) {
            self.schedule.online(author.id, now, rng);
        }
        self.commit(records, vec![body], Then::Acknowledge(arrival, seen));
    }

    fn converted(&self, now: Timestamp, content: &Content, author: &Contact) -> Option<Vec<u8>> {
        let context = JsonContext {
            from: &author.address,
            to: self.address(),
            date: now,
            message_id: format!("<{}@{}>", content.id, author.address.onion()),
        };
        mail_json::from_json(&content.payload, &context).ok()
    }

    fn folder_for(&self, to: &Address, author: &Contact) -> Option<&Folder> {
        if author.status == ContactStatus::Request {
            return self.folder_of(FolderRole::Requests).map(AsRef::as_ref);
        }
        // Only folders that the user made can be addressed; tags are in lower case.
        let named = to.folder().and_then(|tag| {
            let fits = |folder: &&std::sync::Arc<Folder>| folder.role.is_none() && folder.name.to_lowercase() == tag;
            self.state.mailbox().folders().find(fits)
        });
        named.or_else(|| self.folder_of(FolderRole::Inbox)).map(AsRef::as_ref)
    }

    /// Mail, or what was discarded, is on the disk, or is not.
    pub(super) fn acknowledge(&mut self, arrival: Arrival, seen: &Seen, applied: Result<Vec<Applied>, CommitError>) {
        let status = match applied {
            Err(error) => return self.not_committed(arrival, error),
            // Where the record did nothing, another copy was taken first; or the folder is gone, and then nothing was.
            Ok(_) if self.state.duplicates().contains(seen) => Status::Roger,
            Ok(_) => Status::Busy,
        };
        self.finish(arrival, status);
    }

    /// The disk did not take what arrived. A refusal says that nothing was kept; where that is not known the session ends
    /// without an answer.
    pub(super) fn not_committed(&mut self, arrival: Arrival, error: CommitError) {
        match error {
            CommitError::NoSpace => {
                let status = no_room(arrival.sender);
                self.finish(arrival, status);
            }
            CommitError::Io => {
                self.in_flight = self.in_flight.saturating_sub(arrival.size);
                self.give_way(arrival.session);
            }
        }
    }
}

/// What a sender is told when we have no room.
pub(super) const fn no_room(sender: Sender) -> Status {
    match sender {
        Sender::Contact(_) => Status::NoSpace,
        Sender::Invitation(_) | Sender::Stranger => Status::NotAvailable,
    }
}

pub(super) const fn status_of(refusal: Refusal) -> Status {
    match refusal {
        Refusal::Permanent | Refusal::Date => Status::ContentRefused,
        Refusal::Temporary => Status::Busy,
    }
}

/// Whether a folder takes another message.
pub(super) const fn has_room(folder: &Folder) -> bool {
    folder.messages.len() < limits::FOLDER_MESSAGES
}

fn read(opened: Opened, now: Timestamp) -> Result<Received, ContentError> {
    let Opened { content: bytes, signature, issuer, verified } = opened;
    let total = bytes.len();
    let window = bytes.get(..total.min(limits::CONTENT_HEADER_BYTES)).unwrap_or_default().to_vec();
    let content = Content::decode(bytes)?;
    // The header as it was signed: it may have fields that we do not know.
    let header = window.get(..total - content.payload.len()).map(<[u8]>::to_vec).map(String::from_utf8);
    let Some(Ok(header)) = header else { return Err(ContentError::Malformed) };
    let seen = Seen {
        content: content.id,
        author: issuer,
        payload: digest(&content.payload),
        received: now,
        expires: content.expires,
    };
    Ok(Received { content, header, signature, issuer, verified, seen })
}

/// Whether the signed expiry allows to take a content now.
fn is_current(content: &Content, now: Timestamp) -> bool {
    content.expires.plus(limits::EXPIRY_SKEW) >= now
        && content.expires <= now.plus(limits::EXPIRY_MAX).plus(limits::EXPIRY_SKEW)
}

/// Whether the message says that it is from its author, and from nobody else.
fn is_from(message: &[u8], author: &Contact) -> bool {
    match headers::from_addresses(message).as_deref() {
        Ok([from]) => {
            from.parse::<Address>().is_ok_and(|from| from.without_folder() == author.address.without_folder())
        }
        _ => false,
    }
}
