//! Mail from peers: opened, checked, committed, and only then acknowledged.
//!
//! An arrival is opened by the crypto driver; its author must be in the book and its signature verified before anything
//! of it counts. Then it must be new and not expired, From must be the author's address, and its folder must exist. What
//! is kept has the user's names for people in its header, not those that its author wrote (`mail::names`). The answer
//! 202 leaves after the commit, or at once where the content was taken before. Refusals do not say their reason
//! (docs/protocol.md, "Unrevealing answers").
//!
//! Mail that is kept is charged to its author too, where somebody else brought it (`rates`): so no contact can bring
//! more mail of strangers than strangers may.
//!
//! | author | mail | card |
//! |---|---|---|
//! | unknown | refused | see `greeting` |
//! | confirmed, greeting | INBOX, or the folder of the address | renews what we know |
//! | request | Requests | acknowledged |
//! | blocked | acknowledged, dropped | acknowledged, dropped |
//! | revoked | as confirmed; refused where the key is revoked | refused |

use crate::base::ids::Fingerprint;
use crate::base::limits;
use crate::base::{BodyId, ContactId, SessionId, Timestamp};
use crate::mail::mail_json::{self, JsonContext};
use crate::mail::names::{self, Named};
use crate::mail::{Address, Content, ContentError, ContentKind, headers, strict};
use crate::wire::{Importance, Status, digest};

use crate::engine::context::{Context, Owner, Room, Signal};
use crate::engine::deliver::Deliver;
use crate::engine::deliver::receipts::read_receipts;
use crate::engine::dialled::News;
use crate::engine::forwarding;
use crate::engine::io::{CommitError, Draft, Effect, NewBody, Opened, Refusal};
use crate::engine::receive::rates::Charges;
use crate::engine::receive::{AfterCommit, InFlight, Receive, ReceiveRooms};
use crate::engine::session::{Delivery, SendParams, Sender, Ticket};
use crate::engine::state::book::{Contact, ContactStatus};
use crate::engine::state::boxes::ReceiptPolicy;
use crate::engine::state::forwarding::ObjectHash;
use crate::engine::state::mailbox::{Flags, Folder, FolderRole, NamedFlags, NewMessage};
use crate::engine::state::record::{BoxRecord, ContentKey, Evidence, ReceivedRecord, Record};
use crate::engine::state::{Applied, State};
use crate::engine::status::{frank, no_room};

/// An object on its way from a session to the log.
pub(in crate::engine) struct Arrival {
    session: SessionId,
    ticket: Ticket,
    to: Address,
    /// The sender that its AUTH showed, which decides how frank an answer is.
    pub(super) sender: Sender,
    important: bool,
    size: usize,
    charges: Charges,
    /// The hash of the object, if we collected it from a box of ours.
    collected: Option<ObjectHash>,
}

impl Arrival {
    /// The sender that brought it; `None` if we collected it.
    pub(super) fn from(&self) -> Option<Sender> {
        self.collected.is_none().then_some(self.sender)
    }
}

/// A content whose signature names its author, and which is not yet judged.
pub(in crate::engine) struct Received {
    pub(super) content: Content,
    pub(super) header: String,
    pub(super) signature: Vec<u8>,
    pub(super) issuer: Fingerprint,
    pub(super) verified: bool,
    pub(super) seen: ContentKey,
}

impl Receive {
    /// A session delivered an object.
    pub(in crate::engine) fn arrived(
        &mut self,
        cx: &mut Context<'_>,
        session: SessionId,
        ticket: Ticket,
        delivery: Delivery,
    ) {
        let Delivery { send, sender, object } = delivery;
        let important = send.importance == Importance::High;
        let (to, size) = (send.to.clone(), object.len());
        let charges = Charges::none(size as u64);
        let full = !self.unsettled.has_room(size);
        let mut arrival = Arrival { session, ticket, to, sender, important, size, charges, collected: None };
        self.unsettled.begin(arrival.from(), size);
        if full {
            return self.finish(arrival, frank(sender, Status::Busy));
        }
        if !self.rates.charge(&mut arrival.charges, sender, cx.now) {
            return self.finish(arrival, frank(sender, Status::TryLater));
        }
        if send.to.without_folder() != *cx.address() {
            return self.object_arrived(cx, arrival, send, object);
        }
        let op = cx.out.operation(Owner::Room(Room::Receive));
        self.in_flight.insert(op, InFlight::Open(arrival));
        cx.out.effect(Effect::Open(op, object));
    }

    /// An object was collected at a box of ours; `false` where it cannot be looked at now.
    pub(in crate::engine) fn collected(&mut self, cx: &mut Context<'_>, session: SessionId, object: Vec<u8>) -> bool {
        let (to, size) = (cx.address().clone(), object.len());
        if cx.disk_low || !self.unsettled.has_room(size) {
            return false;
        }
        let (ticket, sender, charges) = (Ticket(0), Sender::Stranger, Charges::none(size as u64));
        let collected = Some(digest(&object));
        let arrival = Arrival { session, ticket, to, sender, important: false, size, charges, collected };
        self.unsettled.begin(arrival.from(), size);
        let op = cx.out.operation(Owner::Room(Room::Receive));
        self.in_flight.insert(op, InFlight::Open(arrival));
        cx.out.effect(Effect::Open(op, object));
        true
    }

    /// Answers an arrival.
    pub(in crate::engine) fn finish(&mut self, arrival: Arrival, status: Status) {
        self.unsettled.end(arrival.from(), arrival.size);
        self.settle(arrival.session, arrival.ticket, status);
    }

    /// An arrival was opened, or refused by the gates.
    pub(in crate::engine) fn opened(
        &mut self,
        cx: &mut Context<'_>,
        rooms: &mut ReceiveRooms<'_>,
        arrival: Arrival,
        result: Result<Opened, Refusal>,
    ) {
        let opened = match result {
            Ok(opened) => opened,
            Err(Refusal::Date) => return self.refuse_date(cx.now, rooms.deliver, arrival),
            Err(refusal) => {
                if let (Refusal::Permanent, Some(object)) = (refusal, arrival.collected) {
                    cx.out.tell(Signal::News(arrival.session, News::Unread(object)));
                }
                return self.finish(arrival, status_of(refusal));
            }
        };
        let (issuer, verified) = (opened.issuer, opened.verified);
        match read(opened, cx.now) {
            Ok(received) => self.judge(cx, rooms, arrival, received),
            // An optional content from a known author is acknowledged and ignored.
            Err(ContentError::UnknownOptional) if verified && cx.state.book().by_fingerprint(&issuer).is_some() => {
                self.finish(arrival, Status::Roger);
            }
            Err(_) => self.finish(arrival, Status::ContentRefused),
        }
    }

    fn judge(&mut self, cx: &mut Context<'_>, rooms: &mut ReceiveRooms<'_>, mut arrival: Arrival, received: Received) {
        let author = cx.state.book().by_fingerprint(&received.issuer);
        let verified = author.filter(|_| received.verified);
        if let Some(author) = verified.filter(|_| cx.state.duplicates().contains(&received.seen)) {
            self.give_back(cx.now, &mut arrival, author.id);
            cx.out.tell(Signal::CameAgain(author.id));
            // This copy asks for a receipt of its own: the copy that was taken before had another one, or none.
            return match receipt_for(cx.state, &received.content, author) {
                Some(record) => self.keep(cx, record, arrival, received.seen),
                None => self.finish(arrival, Status::Roger),
            };
        }
        if !is_current(&received.content, cx.now) {
            // A friend or a carrier may have kept the object for long, and may bring it again and again.
            if let Some(author) = verified {
                self.give_back(cx.now, &mut arrival, author.id);
            }
            return self.refuse_date(cx.now, rooms.deliver, arrival);
        }
        let account = account_of(author.map(AsRef::as_ref));
        let too_large = account == Sender::Stranger && arrival.size > limits::STRANGER_BYTES;
        match (author, received.content.kind) {
            (Some(author), ContentKind::Revocation) if received.verified => {
                self.revocation_arrived(cx, arrival, received, author);
            }
            (Some(author), _) if received.verified && author.status == ContactStatus::Blocked => {
                self.discard(cx, arrival, received.seen);
            }
            (_, kind) if too_large && kind != ContentKind::Check => {
                let is_contact = matches!(arrival.sender, Sender::Contact(_));
                self.finish(arrival, if is_contact { Status::ObjectTooLarge } else { Status::ContentRefused });
            }
            (_, ContentKind::Card) => self.card_arrived(cx, arrival, received),
            // Only we know the id of our check, so no author is needed.
            (None, ContentKind::Check) => {
                let known = rooms.boxes.check_came_back(cx.out, received.content.id);
                self.finish(arrival, if known { Status::Roger } else { Status::ContentRefused });
            }
            // These are no mail, and nobody asks them of an identity.
            (_, ContentKind::Check | ContentKind::Challenge | ContentKind::ChallengeAnswer) => {
                self.finish(arrival, Status::ContentRefused)
            }
            (None, _) => self.finish(arrival, Status::ContentRefused),
            // The author's certificate is not known here yet, so the signature could not be verified.
            (Some(_), _) if !received.verified => self.finish(arrival, Status::Busy),
            // Somebody else may have the key of an author who revoked it.
            (Some(author), _) if has_no_key(cx.state, author) => self.finish(arrival, Status::ContentRefused),
            (Some(author), ContentKind::Receipt) if author.status == ContactStatus::Confirmed => {
                self.receipts_arrived(cx, arrival, &received, author.id);
            }
            (Some(_), ContentKind::Receipt) => match self.charge(cx.now, &mut arrival, account) {
                Ok(()) => self.discard(cx, arrival, received.seen),
                Err(status) => self.finish(arrival, status),
            },
            (Some(author), kind) if is_about_introductions(kind) => {
                if author.status == ContactStatus::Confirmed {
                    return self.introduction_arrived(cx, arrival, received, author);
                }
                match self.charge(cx.now, &mut arrival, account) {
                    Ok(()) => self.discard(cx, arrival, received.seen),
                    Err(status) => self.finish(arrival, status),
                }
            }
            (Some(author), _) => self.mail_arrived(cx, arrival, received, author),
        }
    }

    /// Refuses a content for its date; not for good while our own clock may be wrong.
    fn refuse_date(&mut self, now: Timestamp, deliver: &Deliver, arrival: Arrival) {
        let doubtful = deliver.doubts_clock(now);
        let status = if doubtful { frank(arrival.sender, Status::Busy) } else { Status::ContentRefused };
        self.finish(arrival, status);
    }

    /// Takes an object that is about to be kept from its author's allowance too.
    ///
    /// # Errors
    /// The answer, if the allowance has not enough.
    pub(in crate::engine) fn charge(
        &mut self,
        now: Timestamp,
        arrival: &mut Arrival,
        account: Sender,
    ) -> Result<(), Status> {
        let enough = self.rates.charge(&mut arrival.charges, account, now);
        if enough { Ok(()) } else { Err(frank(arrival.sender, Status::TryLater)) }
    }

    /// The content was taken before: a contact that brought its own content again pays nothing for that.
    pub(in crate::engine) fn give_back(&mut self, now: Timestamp, arrival: &mut Arrival, author: ContactId) {
        self.rates.give_back(&mut arrival.charges, author, now);
    }

    /// Acknowledges without taking, in the time that taking would need.
    pub(in crate::engine) fn discard(&mut self, cx: &mut Context<'_>, arrival: Arrival, seen: ContentKey) {
        self.keep(cx, Record::Received(ReceivedRecord::Discarded { seen }), arrival, seen);
    }

    /// A contact returns receipts.
    fn receipts_arrived(&mut self, cx: &mut Context<'_>, mut arrival: Arrival, received: &Received, author: ContactId) {
        if let Err(status) = self.charge(cx.now, &mut arrival, Sender::Contact(author)) {
            return self.finish(arrival, status);
        }
        let text = String::from_utf8_lossy(&received.content.payload);
        let mut change = read_receipts(cx, &text, author);
        change.records.insert(0, Record::Received(ReceivedRecord::Discarded { seen: received.seen }));
        self.keep(cx, change, arrival, received.seen);
    }

    fn mail_arrived(&mut self, cx: &mut Context<'_>, mut arrival: Arrival, received: Received, author: &Contact) {
        let Received { content, header, signature, seen, .. } = received;
        let receipt = receipt_for(cx.state, &content, author);
        let (message, evidence) = match content.kind {
            // The message made from a JSON message is kept, and the signature is over something else.
            ContentKind::MailJson => (converted(cx, &content, author), None),
            _ => (Some(content.payload), Some(Evidence { header, signature })),
        };
        let message = message.filter(|message| message.len() <= limits::MESSAGE_BYTES && is_from(message, author));
        let Some(message) = message else { return self.finish(arrival, Status::ContentRefused) };
        let named = names::local(&message, &|address| cx.state.book().petname_of(address).map(str::to_owned));
        let Some(Named { message, is_restorable }) = named else { return self.finish(arrival, Status::ContentRefused) };
        let evidence = evidence.filter(|_| is_restorable);
        let folder = folder_for(cx, &arrival.to, author).filter(|folder| has_room(folder));
        let folder = folder.map(|folder| folder.id);
        let uid = folder.and_then(|folder| cx.reserve_uid(folder));
        let (Some(folder), Some(uid), Ok(size)) = (folder, uid, u32::try_from(message.len())) else {
            let status = no_room(arrival.sender);
            return self.finish(arrival, status);
        };
        if let Err(status) = self.charge(cx.now, &mut arrival, account_of(Some(author))) {
            return self.finish(arrival, status);
        }
        // A contact may mark its mail as important; a stranger may not.
        let important = arrival.important && author.status == ContactStatus::Confirmed;
        let flags = NamedFlags::system(if important { Flags::FLAGGED } else { Flags::default() });
        let body = NewBody::new(BodyId::random(cx.rng), message.into());
        let message = NewMessage { uid, flags, date: cx.now, body: body.id, size, content: Some(seen.content) };
        let mut records =
            vec![Record::Received(ReceivedRecord::Delivered { folder, message, contact: author.id, seen, evidence })];
        records.extend(receipt);
        // A contact that leaves mail in our box has the card that names the box.
        if arrival.collected.is_some() || arrival.sender == Sender::Contact(author.id) {
            records.extend(author.key_settled());
        }
        // The author of collected mail may be away; the author of mail that a peer brought is taken to be online.
        if self.is_open(&arrival) {
            cx.out.tell(Signal::PeerCameOnline(author.id));
        }
        self.keep(cx, Draft { records, bodies: vec![body] }, arrival, seen);
    }

    /// Whether the peer that brought an arrival is still connected.
    pub(super) fn is_open(&self, arrival: &Arrival) -> bool {
        self.inbound.contains_key(&arrival.session)
    }

    /// The commit of mail, or of a content that is dropped, succeeded or failed.
    pub(in crate::engine) fn acknowledge(
        &mut self,
        cx: &mut Context<'_>,
        arrival: Arrival,
        seen: &ContentKey,
        applied: Result<Vec<Applied>, CommitError>,
    ) {
        let status = match applied {
            Err(error) => return self.not_committed(cx, arrival, error),
            // If the record did nothing, another copy was taken first; or the folder is gone, and then no copy was.
            Ok(_) if cx.state.duplicates().contains(seen) => Status::Roger,
            Ok(_) => Status::Busy,
        };
        self.finish(arrival, status);
    }

    /// The disk did not take an arrival. A refusal says that nothing was kept; if that is not certain, the session ends
    /// without an answer.
    pub(in crate::engine) fn not_committed(&mut self, cx: &mut Context<'_>, arrival: Arrival, error: CommitError) {
        match error {
            CommitError::NoSpace => {
                let status = no_room(arrival.sender);
                self.finish(arrival, status);
            }
            CommitError::Io => {
                self.unsettled.end(arrival.from(), arrival.size);
                self.give_way(cx.out, arrival.session);
            }
        }
    }

    /// Commits the content of an arrival, which is acknowledged after that.
    pub(super) fn keep(&mut self, cx: &mut Context<'_>, change: impl Into<Draft>, arrival: Arrival, seen: ContentKey) {
        let op = cx.out.commit(Owner::Room(Room::Receive), change);
        self.in_flight.insert(op, InFlight::Commit(AfterCommit::Acknowledge(arrival, seen)));
    }

    /// A contact brought an object for somebody else's node.
    fn object_arrived(&mut self, cx: &mut Context<'_>, arrival: Arrival, send: SendParams, object: Vec<u8>) {
        let (Sender::Contact(contact), Some(claim)) = (arrival.sender, send.claim) else {
            return self.finish(arrival, Status::NotAvailable);
        };
        if cx.state.forwarding().object(contact, &claim.hash).is_some() {
            return self.finish(arrival, Status::Roger);
        }
        match forwarding::take(cx, contact, claim, send, object) {
            Some(change) => {
                let op = cx.out.commit(Owner::Room(Room::Receive), change);
                self.in_flight.insert(op, InFlight::Commit(AfterCommit::Loaded(arrival, claim.hash)));
            }
            None => self.finish(arrival, Status::TryLater),
        }
    }

    /// The commit of an object that we are to forward succeeded or failed.
    pub(in crate::engine) fn loaded(
        &mut self,
        cx: &mut Context<'_>,
        rooms: &mut ReceiveRooms<'_>,
        arrival: Arrival,
        object: &ObjectHash,
        applied: Result<Vec<Applied>, CommitError>,
    ) {
        let Sender::Contact(contact) = arrival.sender else { return self.finish(arrival, Status::NotAvailable) };
        match applied {
            Err(error) => self.not_committed(cx, arrival, error),
            Ok(_) => {
                let there = cx.state.forwarding().object(contact, object);
                if let Some(load) = there {
                    rooms.forwarding.wants(load.to.onion(), cx.now);
                }
                self.finish(arrival, if there.is_some() { Status::Roger } else { Status::TryLater });
            }
        }
    }
}

/// The receipt that the author of a copy is owed, if it asks for one and is sent receipts.
pub(super) fn receipt_for(state: &State, content: &Content, author: &Contact) -> Option<Record> {
    let given = author.status == ContactStatus::Confirmed && state.boxes().told(author.id) != ReceiptPolicy::Nothing;
    let receipt = content.receipt.filter(|_| content.kind.is_queued() && given)?;
    Some(Record::Boxes(BoxRecord::ReceiptsDue { contact: author.id, receipts: vec![receipt] }))
}

fn converted(cx: &Context<'_>, content: &Content, author: &Contact) -> Option<Vec<u8>> {
    let context = JsonContext {
        from: &author.address,
        to: cx.address(),
        date: cx.now,
        message_id: format!("<{}@{}>", content.id, author.address.onion()),
    };
    mail_json::from_json(&content.payload, &context).ok()
}

fn folder_for<'a>(cx: &Context<'a>, to: &Address, author: &Contact) -> Option<&'a Folder> {
    if author.status == ContactStatus::Request {
        return cx.folder_of(FolderRole::Requests).map(AsRef::as_ref);
    }
    // Only folders that the user made can be addressed; tags are in lower case.
    let named = to.folder().and_then(|tag| {
        let fits = |folder: &&std::sync::Arc<Folder>| folder.role.is_none() && folder.name.to_lowercase() == tag;
        cx.state.mailbox().folders().find(fits)
    });
    named.or_else(|| cx.folder_of(FolderRole::Inbox)).map(AsRef::as_ref)
}

/// Whether an author revoked its key.
fn has_no_key(state: &State, author: &Contact) -> bool {
    state.revocations().of(&author.fingerprint).is_some_and(|revoked| revoked.extent.key)
}

const fn is_about_introductions(kind: ContentKind) -> bool {
    use ContentKind::{Introduction, IntroductionAsk, IntroductionGrant};
    matches!(kind, IntroductionAsk | IntroductionGrant | Introduction)
}

/// The sender from whose allowance an author's content is taken.
pub(in crate::engine) fn account_of(author: Option<&Contact>) -> Sender {
    // What a contact that revoked its onion or its key sent before that is still a contact's.
    let counts = |author: &&Contact| author.may_receive() || author.status == ContactStatus::Revoked;
    author.filter(counts).map_or(Sender::Stranger, |author| Sender::Contact(author.id))
}

pub(in crate::engine) const fn status_of(refusal: Refusal) -> Status {
    match refusal {
        Refusal::Permanent | Refusal::Date => Status::ContentRefused,
        Refusal::Temporary => Status::Busy,
    }
}

/// Whether a folder takes another message.
pub(in crate::engine) const fn has_room(folder: &Folder) -> bool {
    folder.messages.len() < limits::FOLDER_MESSAGES
}

fn read(opened: Opened, now: Timestamp) -> Result<Received, ContentError> {
    let Opened { content: bytes, signature, issuer, verified } = opened;
    let total = bytes.len();
    let window = bytes.get(..total.min(limits::CONTENT_HEADER_BYTES)).unwrap_or_default().to_vec();
    let content = Content::decode(bytes)?;
    // The header as it was signed: it may have fields that this program does not know.
    let header = window.get(..total - content.payload.len()).map(<[u8]>::to_vec).map(String::from_utf8);
    let Some(Ok(header)) = header else { return Err(ContentError::Malformed) };
    let seen = ContentKey {
        content: content.id,
        author: issuer,
        payload: digest(&content.payload),
        received: now,
        expires: content.expires,
    };
    Ok(Received { content, header, signature, issuer, verified, seen })
}

/// Whether the signed expiry still allows a content to be taken.
fn is_current(content: &Content, now: Timestamp) -> bool {
    content.expires.plus(limits::EXPIRY_SKEW) >= now
        && content.expires <= now.plus(limits::EXPIRY_MAX).plus(limits::EXPIRY_SKEW)
}

/// Whether every mail program will show the message as one of its author, and of nobody else.
fn is_from(message: &[u8], author: &Contact) -> bool {
    let is_author = |address: &String| {
        let address = address.parse::<Address>();
        address.is_ok_and(|address| address.without_folder() == author.address.without_folder())
    };
    strict::check(message).is_ok()
        && matches!(headers::from_addresses(message).as_deref(), Ok([from]) if is_author(from))
        && headers::sender_addresses(message).is_ok_and(|senders| senders.iter().all(is_author))
}
