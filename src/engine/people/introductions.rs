//! Introductions (docs/protocol.md, "Introductions"): a contact of ours makes two of its contacts known to each other, and
//! neither learns of the other before both have agreed.
//!
//! What we send waits in the queue as mail does. What comes makes a message in Requests, and the user decides by where it
//! goes: INBOX agrees, Junk and Trash decline. So do commands.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::limits;
use crate::base::{BodyId, ContactId, ContentId, InvitationId, QueueId, Timestamp};
use crate::mail::introduction::{self, Ask, Grant, Introduction};
use crate::mail::invitation::SECRET_BYTES;
use crate::mail::notice::Waiting;
use crate::mail::{Content, ContentKind, Invitation};

use crate::engine::api::{RequestError, Response};
use crate::engine::change::{Answer, Change, Outcome};
use crate::engine::context::Context;
use crate::engine::io::{Draft, NewBody};
use crate::engine::people::{contacts, notices};
use crate::engine::state::book::{Contact, ContactStatus, InvitationEntry};
use crate::engine::state::boxes::page_carriers;
use crate::engine::state::introductions::{Asked, Begun, Given, Offer, Path, Policy, is_open};
use crate::engine::state::mailbox::{FolderRole, Uid};
use crate::engine::state::queue::{Addressee, Progress, Submitted};
use crate::engine::state::record::{BookRecord, ContentKey, IntroductionRecord, MailboxRecord, ReceivedRecord, Record};

const NOT_THERE: RequestError = RequestError::NotFound("request");
const MS_PER_HOUR: i64 = 3_600_000;

/// Asks the host whether we may introduce it to the guest.
pub(in crate::engine) fn introduce(cx: &mut Context<'_>, guest: ContactId, host: ContactId, text: String) -> Outcome {
    let book = cx.state.book();
    let confirmed = |id| book.contact(id).filter(|contact| contact.status == ContactStatus::Confirmed);
    let (Some(_), Some(entry)) = (confirmed(guest), confirmed(host)) else {
        return Err(RequestError::NotReady(
            "both have to be your contacts, and to have answered you once; see: runepeer contact list",
        ));
    };
    if guest == host {
        return Err(RequestError::NotReady("nobody can be introduced to themselves; name two contacts"));
    }
    if !introduction::is_fit(&text) {
        return Err(RequestError::Limit("the text of an introduction has up to 1024 bytes and no control characters"));
    }
    let begun = &cx.state.introductions().parts().begun;
    let open = || begun.values().filter(|begun| is_open(begun.at, cx.now));
    if open().any(|begun| begun.guest == guest && begun.host == host) {
        return Err(RequestError::NotReady("they were asked already, and have 14 days to answer"));
    }
    if open().count() >= limits::INTRODUCTIONS {
        return Err(RequestError::Limit("up to 200 introductions can wait for an answer"));
    }
    let payload = serde_json::to_vec(&Ask { text: text.clone(), others: None }).unwrap_or_default();
    let (queued, body) = queue(cx, entry, payload)?;
    let begun = Box::new(Begun { guest, host, text, at: cx.now });
    let record = IntroductionRecord::IntroductionBegun { begun, queued: Box::new(queued) };
    let answer = Answer::All(Response::Done, RequestError::NotFound("contact"));
    Ok(Change { bodies: vec![body], ..Change::new(vec![record.into()], answer) })
}

/// A content that is no mail, for one contact, as the queue takes it.
pub(in crate::engine) fn queue(
    cx: &mut Context<'_>,
    to: &Contact,
    payload: Vec<u8>,
) -> Result<(Submitted, NewBody), RequestError> {
    if cx.state.queue().len() >= limits::QUEUE_MESSAGES {
        return Err(RequestError::Limit("the queue is full"));
    }
    if cx.disk_low {
        return Err(RequestError::Disk);
    }
    let body = NewBody::new(BodyId::random(cx.rng), payload.into());
    let addressee = Addressee { address: to.address.clone(), progress: Progress::Queued };
    let queued = Submitted {
        id: QueueId::random(cx.rng),
        content: ContentId::random(cx.rng),
        body: body.id,
        size: u32::try_from(body.bytes.len()).unwrap_or(u32::MAX),
        submitted: cx.now,
        expires: Timestamp::from_secs(cx.now.plus(limits::EXPIRY).secs()),
        recipients: BTreeMap::from([(to.id, addressee)]),
        headers: Vec::new(),
    };
    Ok((queued, body))
}

/// A contact asks whether it may introduce us, or show us to others in a message.
///
/// # Errors
/// Where it does not have the form, or no more can wait.
pub(in crate::engine) fn asked(
    cx: &mut Context<'_>,
    author: &Contact,
    seen: ContentKey,
    payload: &[u8],
    under_way: UnderWay,
) -> Result<Draft, Unfit> {
    let ask: Ask = read(payload)?;
    let wanted = ask.wanted().filter(|_| introduction::is_fit(&ask.text)).ok_or(Unfit::Malformed)?;
    let Ask { text, others } = ask;
    let discarded = Record::Received(ReceivedRecord::Discarded { seen });
    let asked = Asked { by: author.id, at: cx.now, notice: None, others };
    match cx.state.introductions().policy(author.id) {
        Policy::Never => Ok(discarded.into()),
        Policy::Yes => {
            let (granted, body) =
                grant(cx, author, seen.content, others.is_some(), wanted).map_err(|_| Unfit::NoRoom)?;
            let asked = IntroductionRecord::IntroductionAsked { seen, asked, notice: None };
            Ok(Draft { records: vec![asked.into(), granted], bodies: vec![body] })
        }
        Policy::Ask => {
            check_room(cx, author.id, under_way)?;
            let introducer = (author.petname.as_str(), &author.address);
            let text = match others {
                Some(others) => introduction::message_notice(cx.address(), introducer, others, seen.content, cx.now),
                None => introduction::ask_notice(cx.address(), introducer, &text, seen.content, cx.now),
            };
            let (folder, message, body) = cx.own_message(FolderRole::Requests, text).ok_or(Unfit::NoRoom)?;
            let by = body.id;
            let asked = Asked { notice: Some(by), ..asked };
            let record = IntroductionRecord::IntroductionAsked { seen, asked, notice: Some((folder, message)) };
            let mut draft = Draft { records: vec![record.into()], bodies: vec![body] };
            let petname = author.petname.as_str();
            let waiting = others.map_or(Waiting::Ask(petname), |others| Waiting::Message(petname, others));
            notices::tell_waiting(cx, by, waiting, &mut draft);
            Ok(draft)
        }
    }
}

/// Contents about introductions that are being committed, and so are not in the state yet.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct UnderWay {
    /// Of this author.
    pub(in crate::engine) of_author: usize,
    /// Of all.
    pub(in crate::engine) of_all: usize,
}

/// Why a content about an introduction is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Unfit {
    /// It does not have the form, or says what it cannot.
    Malformed,
    /// No more can wait for the user.
    NoRoom,
}

fn read<T: serde::de::DeserializeOwned>(payload: &[u8]) -> Result<T, Unfit> {
    if payload.len() > limits::INTRODUCTION_BYTES {
        return Err(Unfit::Malformed);
    }
    serde_json::from_slice(payload).map_err(|_| Unfit::Malformed)
}

fn check_room(cx: &Context<'_>, by: ContactId, under_way: UnderWay) -> Result<(), Unfit> {
    let introductions = cx.state.introductions();
    let full = introductions.pending_of(by, cx.now) + under_way.of_author >= limits::INTRODUCTIONS_PENDING
        || introductions.pending(cx.now) + under_way.of_all >= limits::INTRODUCTIONS;
    if full { Err(Unfit::NoRoom) } else { Ok(()) }
}

/// The record that agrees to an ask, and the body of the grant.
fn grant(
    cx: &mut Context<'_>,
    introducer: &Contact,
    ask: ContentId,
    is_message: bool,
    wanted: u8,
) -> Result<(Record, NewBody), RequestError> {
    if cx.state.revoked().is_some() {
        return Err(RequestError::Revoked);
    }
    let open = cx.state.book().invitations().filter(|invitation| invitation.is_open(cx.now));
    if open.count() + usize::from(wanted) > limits::INVITATIONS {
        return Err(RequestError::Limit("an identity has up to 1000 open invitations; revoke some"));
    }
    // Where a contact may introduce us without asking, it takes no more than its part of the invitations.
    let granted = cx.state.introductions().parts().granted.iter().filter(|(_, path)| path.by == introducer.id);
    let is_open = |id| cx.state.book().invitation(id).is_some_and(|invitation| invitation.is_open(cx.now));
    let granted = granted.filter(|(id, _)| is_open(**id)).count();
    if granted + usize::from(wanted) > limits::INTRODUCTIONS {
        return Err(RequestError::Limit("up to 200 introductions by one contact can be open"));
    }
    let end = cx.now.plus(limits::INTRODUCTION).millis().div_euclid(MS_PER_HOUR) * MS_PER_HOUR;
    let (own, expires) = (cx.public(), Timestamp::from_millis(end));
    let (mut texts, mut invitations) = (Vec::new(), Vec::new());
    for _ in 0..wanted {
        let (id, secret) = (InvitationId::random(cx.rng), cx.rng.array::<SECRET_BYTES>());
        let invitation = Invitation {
            address: own.address.without_folder(),
            fingerprint: own.fingerprint,
            secret: Some(secret),
            expires: Some(expires),
            carriers: page_carriers(cx.state).collect(),
        };
        texts.push(invitation.encode());
        invitations.push(InvitationEntry { id, secret: Some(secret), made: cx.now, expires, used: None });
    }
    let (certificate, binding) = (own.certificate.to_vec(), own.binding.clone());
    let payload = serde_json::to_vec(&Grant {
        ask,
        others: is_message.then_some(wanted),
        invitations: texts,
        certificate,
        binding,
    })
    .unwrap_or_default();
    let (queued, body) = queue(cx, introducer, payload)?;
    let path = Path { by: introducer.id, at: cx.now, ask: is_message.then_some(ask) };
    let record = IntroductionRecord::IntroductionGranted { id: ask, path, invitations, queued: Box::new(queued) };
    Ok((record.into(), body))
}

/// A host agrees to be introduced: its grant goes on to the guest, with its signature. What nobody asked for is dropped.
pub(in crate::engine) fn granted(
    cx: &mut Context<'_>,
    author: &Contact,
    seen: ContentKey,
    signed: (Vec<u8>, Vec<u8>),
    payload: &[u8],
) -> Result<Draft, Unfit> {
    let grant: Grant = read(payload)?;
    let is_theirs = grant.invitations.iter().all(|text| {
        Invitation::parse(text).is_ok_and(|invitation| {
            invitation.fingerprint == author.fingerprint
                && invitation.address == author.address.without_folder()
                && invitation.secret.is_some()
                && invitation.expires.is_some_and(|expires| expires > cx.now)
        })
    });
    // What goes on must fit into the payload of an introduction.
    let is_theirs = is_theirs && signed.0.len() <= limits::GRANT_BYTES;
    if let Some((_, held)) = cx.state.introductions().held_for(grant.ask)
        && held.asks.get(&grant.ask) == Some(&author.id)
    {
        let wanted = held.pairs.iter().filter(|(a, b)| *a == author.id || *b == author.id).count();
        if !is_theirs || grant.invitations.len() < wanted {
            return Err(Unfit::Malformed);
        }
        let given = Box::new(Given { ask: grant.ask, content: signed.0, signature: signed.1 });
        return Ok(Record::from(IntroductionRecord::ConsentGiven { seen, given }).into());
    }
    let begun = cx.state.introductions().parts().begun.get(&grant.ask);
    let begun = begun.filter(|begun| begun.host == author.id && is_open(begun.at, cx.now));
    let guest = begun.and_then(|begun| cx.state.book().contact(begun.guest));
    let guest = guest.filter(|guest| guest.status == ContactStatus::Confirmed);
    let (Some(begun), Some(guest)) = (begun, guest) else {
        return Ok(Record::Received(ReceivedRecord::Discarded { seen }).into());
    };
    if !is_theirs || grant.invitations.is_empty() {
        return Err(Unfit::Malformed);
    }
    let ((grant_content, signature), text) = (signed, begun.text.clone());
    let introduction = Introduction { text, place: 0, agreed: None, grant: grant_content, signature };
    let payload = serde_json::to_vec(&introduction).unwrap_or_default();
    let (queued, body) = queue(cx, guest, payload).map_err(|_| Unfit::NoRoom)?;
    let record = IntroductionRecord::IntroductionMade { seen, id: grant.ask, queued: Box::new(queued) };
    Ok(Draft { records: vec![record.into()], bodies: vec![body] })
}

/// An introduction that came, and whose grant is to be verified.
pub(in crate::engine) struct Claimed {
    pub(in crate::engine) text: String,
    pub(in crate::engine) grant: Grant,
    /// The invitation that is for us, as text and read.
    pub(in crate::engine) invitation: (String, Invitation),
    /// The ask by which we have agreed already.
    pub(in crate::engine) agreed: Option<ContentId>,
    /// The grant as the host signed it, and the signature.
    pub(in crate::engine) signed: (Vec<u8>, Vec<u8>),
}

/// Reads an introduction.
///
/// # Errors
/// Where it does not have the form, or introduces us to ourselves or to its author.
pub(in crate::engine) fn claimed(cx: &Context<'_>, author: &Contact, payload: &[u8]) -> Result<Claimed, Unfit> {
    let Introduction { text, place, agreed, grant: content, signature } = read(payload)?;
    let signed = (content.clone(), signature);
    let content = Content::decode(content).map_err(|_| Unfit::Malformed)?;
    if content.kind != ContentKind::IntroductionGrant || !introduction::is_fit(&text) {
        return Err(Unfit::Malformed);
    }
    let grant: Grant = read(&content.payload)?;
    let words = grant.invitations.get(usize::from(place)).cloned().ok_or(Unfit::Malformed)?;
    let invitation = Invitation::parse(&words).map_err(|_| Unfit::Malformed)?;
    let (own, onion) = (cx.public(), invitation.address.onion());
    let is_somebody = onion != own.onion()
        && invitation.fingerprint != own.fingerprint
        && onion != author.address.onion()
        && invitation.fingerprint != author.fingerprint
        && invitation.secret.is_some();
    // A consent to be shown to others in a message says nothing of other introductions.
    let agreed = agreed.filter(|_| grant.others.is_some());
    let invitation = (words, invitation);
    if is_somebody { Ok(Claimed { text, grant, invitation, agreed, signed }) } else { Err(Unfit::Malformed) }
}

/// A contact introduced somebody, and the grant is true.
pub(in crate::engine) fn offered(
    cx: &mut Context<'_>,
    author: &Contact,
    seen: ContentKey,
    claimed: &Claimed,
    under_way: UnderWay,
) -> Result<Draft, Unfit> {
    let Claimed { text, invitation: (words, invitation), agreed, .. } = claimed;
    let (fingerprint, onion) = (invitation.fingerprint, invitation.address.onion());
    // Nobody is introduced by what they revoked.
    let revoked = cx.state.revocations().concern(&fingerprint, onion);
    if revoked || invitation.expires.is_none_or(|expires| expires <= cx.now) {
        return Ok(Record::Received(ReceivedRecord::Discarded { seen }).into());
    }
    let (by, at) = (author.id, cx.now);
    // What somebody claims of our consent counts only where we gave it, to the same contact.
    let agreed = agreed.filter(|ask| {
        let known = cx.state.introductions().parts().agreed.get(ask);
        known.is_some_and(|agreed| agreed.path.by == by && agreed.left > 0 && is_open(agreed.path.at, at))
    });
    let offer = Offer { by, at, invitation: words.clone(), fingerprint, notice: None, agreed };
    let book = cx.state.book();
    match (book.by_fingerprint(&fingerprint), book.by_onion(onion)) {
        // One more who introduces a contact.
        (Some(known), Some(same)) if known.id == same.id && known.status == ContactStatus::Confirmed => {
            let offer = Box::new(offer);
            let record = IntroductionRecord::IntroductionOffered { seen, offer, notice: None, contact: None };
            Ok(Record::from(record).into())
        }
        (Some(known), Some(same)) if known.id != same.id => Err(Unfit::Malformed),
        (Some(known), _) if known.status == ContactStatus::Blocked => {
            Ok(Record::Received(ReceivedRecord::Discarded { seen }).into())
        }
        // The onion of a pinned key does not change, nor the key of a known onion.
        (Some(_), None) | (None, Some(_)) => Err(Unfit::Malformed),
        (None, None) if agreed.is_some() => {
            let (contact, rest) = added(cx, words).map_err(|_| Unfit::NoRoom)?;
            let offer = Box::new(offer);
            let record = IntroductionRecord::IntroductionOffered { seen, offer, notice: None, contact };
            Ok(std::iter::once(record.into()).chain(rest).collect::<Vec<_>>().into())
        }
        _ => {
            check_room(cx, author.id, under_way)?;
            let introducer = (author.petname.as_str(), &author.address);
            let text = introduction::offer_notice(cx.address(), introducer, invitation, text, seen.content, cx.now);
            let (folder, message, body) = cx.own_message(FolderRole::Requests, text).ok_or(Unfit::NoRoom)?;
            let by = body.id;
            let offer = Box::new(Offer { notice: Some(by), ..offer });
            let record =
                IntroductionRecord::IntroductionOffered { seen, offer, notice: Some((folder, message)), contact: None };
            let mut draft = Draft { records: vec![record.into()], bodies: vec![body] };
            notices::tell_waiting(cx, by, Waiting::Offer(&author.petname, &invitation.address), &mut draft);
            Ok(draft)
        }
    }
}

/// What it means for introductions that these messages go from Requests to another folder.
///
/// # Errors
/// Where one of them cannot be accepted any more, or not now.
pub(in crate::engine) fn decided_by(
    cx: &mut Context<'_>,
    moved: &[Uid],
    to: FolderRole,
) -> Result<Draft, RequestError> {
    let mut draft = Draft::default();
    let Some(requests) = cx.folder_of(FolderRole::Requests) else { return Ok(draft) };
    if cx.state.introductions().pending(cx.now) == 0 {
        return Ok(draft);
    }
    let bodies: BTreeSet<_> = moved.iter().filter_map(|uid| requests.messages.get(*uid)).map(|it| it.body).collect();
    for id in with_notice(cx, &bodies) {
        match to {
            FolderRole::Inbox => {
                // What can no longer be accepted is a message like any other.
                let agreed = match agree(cx, id) {
                    Err(RequestError::NotFound(_) | RequestError::InvitationRefused(_)) => continue,
                    agreed => agreed?,
                };
                draft.records.extend(agreed.records);
                draft.bodies.extend(agreed.bodies);
            }
            FolderRole::Junk | FolderRole::Trash => {
                draft.records.push(IntroductionRecord::IntroductionDeclined { id }.into());
            }
            _ => {}
        }
    }
    Ok(draft)
}

/// The asks and introductions for which these messages stand.
fn with_notice(cx: &Context<'_>, bodies: &BTreeSet<BodyId>) -> Vec<ContentId> {
    let parts = cx.state.introductions().parts();
    let is_moved = |notice: Option<BodyId>| notice.is_some_and(|body| bodies.contains(&body));
    let asked = parts.asked.iter().filter(|(_, asked)| is_moved(asked.notice)).map(|(id, _)| *id);
    let offers = parts.offers.iter().filter(|(_, offer)| is_moved(offer.notice)).map(|(id, _)| *id);
    asked.chain(offers).collect()
}

/// Agrees to be introduced, or to an introduction.
fn agree(cx: &mut Context<'_>, id: ContentId) -> Result<Draft, RequestError> {
    const OVER: RequestError = RequestError::InvitationRefused("the introduction has expired; ask for a new one");
    if cx.state.revoked().is_some() {
        return Err(RequestError::Revoked);
    }
    let parts = cx.state.introductions().parts();
    if let Some(asked) = parts.asked.get(&id) {
        let introducer = cx.state.book().contact(asked.by).filter(|contact| contact.may_receive()).ok_or(NOT_THERE)?;
        if !is_open(asked.at, cx.now) {
            return Err(OVER);
        }
        let (is_message, wanted) = (asked.others.is_some(), asked.others.unwrap_or(1));
        let (record, body) = grant(cx, introducer, id, is_message, wanted)?;
        return Ok(Draft { records: vec![record], bodies: vec![body] });
    }
    let offer = parts.offers.get(&id).ok_or(NOT_THERE)?;
    let (contact, rest) = added(cx, &offer.invitation)?;
    let taken = IntroductionRecord::IntroductionTaken { id, at: cx.now, contact };
    Ok(std::iter::once(taken.into()).chain(rest).collect::<Vec<_>>().into())
}

/// The contact that an invitation adds, where it is not in the book; and the other records that go with it.
fn added(cx: &mut Context<'_>, invitation: &str) -> Result<(Option<Box<Contact>>, Vec<Record>), RequestError> {
    let (mut contact, mut rest) = (None, Vec::new());
    for record in contacts::add_contact(cx, invitation, None)?.records {
        match record {
            Record::Book(BookRecord::ContactAdded { contact: added }) => contact = Some(added),
            other => rest.push(other),
        }
    }
    Ok((contact, rest))
}

/// Agrees to an ask or an introduction by a command; its message goes to INBOX.
pub(in crate::engine) fn accept(cx: &mut Context<'_>, id: ContentId) -> Outcome {
    let Draft { mut records, bodies } = agree(cx, id)?;
    records.extend(notice_goes(cx, id, FolderRole::Inbox));
    Ok(Change { bodies, ..Change::new(records, Answer::First(Response::Done, NOT_THERE)) })
}

/// Declines an ask or an introduction by a command, and its message goes to Trash; or gives up an introduction of our own,
/// for which a grant may still come.
pub(in crate::engine) fn decline(cx: &mut Context<'_>, id: ContentId) -> Outcome {
    let parts = cx.state.introductions().parts();
    if !parts.asked.contains_key(&id) && !parts.offers.contains_key(&id) && !parts.begun.contains_key(&id) {
        return Err(NOT_THERE);
    }
    let mut records = vec![IntroductionRecord::IntroductionDeclined { id }.into()];
    records.extend(notice_goes(cx, id, FolderRole::Trash));
    Ok(Change::new(records, Answer::First(Response::Done, NOT_THERE)))
}

/// Moves the message by which the user would have decided, if it is still in Requests.
fn notice_goes(cx: &mut Context<'_>, id: ContentId, to: FolderRole) -> Option<Record> {
    let parts = cx.state.introductions().parts();
    let asked = parts.asked.get(&id).and_then(|asked| asked.notice);
    let notice = asked.or_else(|| parts.offers.get(&id).and_then(|offer| offer.notice))?;
    let (requests, target) = (cx.folder_of(FolderRole::Requests)?, cx.folder_of(to)?);
    let uid = requests.messages.iter().find(|message| message.body == notice)?.uid;
    let (from, to) = (requests.id, target.id);
    let new = cx.reserve_uid(to)?;
    Some(Record::Mailbox(MailboxRecord::Transferred { from, to, pairs: vec![(uid, new)], keep: false }))
}

/// Whether a contact may introduce us to others.
pub(in crate::engine) fn set_policy(cx: &Context<'_>, contact: ContactId, policy: Policy) -> Outcome {
    const UNKNOWN: RequestError = RequestError::NotFound("contact");
    cx.state.book().contact(contact).ok_or(UNKNOWN)?;
    if cx.state.introductions().policy(contact) == policy {
        return Ok(Change::new(Vec::new(), Answer::Always(Response::Done)));
    }
    let record = IntroductionRecord::IntroductionPolicySet { contact, policy };
    Ok(Change::done(vec![record.into()], UNKNOWN))
}
