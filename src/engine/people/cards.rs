//! Cards: what a received card means for the address book, and what our own cards say (docs/protocol.md, "Card").
//!
//! A card is decided on what is committed when it is verified; `greeting` has the way from the session to the book.

use std::sync::Arc;

use crate::base::ids::Fingerprint;
use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::{ContactId, ContentId, MacKey, Timestamp};
use crate::mail::invitation::{SECRET_BYTES, auth_key};
use crate::mail::notice::Waiting;
use crate::mail::{Card, CardBox, Content, ContentKind, card, dsn};
use crate::wire::Status;

use crate::engine::context::Context;
use crate::engine::io::Draft;
use crate::engine::people::notices;
use crate::engine::session::Sender;
use crate::engine::state::State;
use crate::engine::state::book::{
    Acquaintance, Cards, Contact, ContactStatus, HowMet, InvitationEntry, PendingCard, Provenance, Renewal,
};
use crate::engine::state::boxes::contacts::ContactBox;
use crate::engine::state::boxes::own::OwnBox;
use crate::engine::state::boxes::{ReceiptPolicy, seats_for};
use crate::engine::state::mailbox::FolderRole;
use crate::engine::state::profile::PublicProfile;
use crate::engine::state::record::{BoxRecord, ContentKey, MailboxRecord, ReceivedRecord, Record};
use crate::engine::status::no_room;

/// What a card of this author means for the state that is committed now.
///
/// # Errors
/// The answer to a card that is refused.
pub(in crate::engine) fn decided(
    cx: &mut Context<'_>,
    sender: Sender,
    seen: ContentKey,
    card: &Card,
    issuer: Fingerprint,
    invitation: Option<&InvitationEntry>,
) -> Result<Draft, Status> {
    let (book, onion) = (cx.state.book(), card.address.onion());
    let known = book.by_fingerprint(&issuer);
    if card.counter > highest_counter(cx.now, known.map_or(0, |contact| contact.cards.seen)) {
        return Err(Status::ContentRefused);
    }
    match (known, book.by_onion(onion)) {
        // What was revoked comes back by no card, older or newer.
        _ if cx.state.revocations().concern(&issuer, onion) => Err(Status::ContentRefused),
        // The onion of a pinned key does not change, nor the key of a known onion.
        (Some(contact), _) if contact.address.onion() != onion => Err(Status::ContentRefused),
        (None, Some(_)) => Err(Status::ContentRefused),
        (Some(contact), _) => Ok(card_of_contact(cx, seen, card, contact, invitation)),
        (None, None) => match invitation {
            _ if book.contacts().count() >= limits::CONTACTS => Err(no_room(sender)),
            Some(invitation) => Ok(card_of_invited(cx, seen, card, issuer, invitation)),
            None if book.requests() >= limits::REQUESTS_PENDING => Err(no_room(sender)),
            None => card_of_stranger(cx, seen, card, issuer).ok_or_else(|| no_room(sender)),
        },
    }
}

/// The highest counter that a card may have whose author's last one had this.
fn highest_counter(now: Timestamp, seen: u64) -> u64 {
    let hours = u64::try_from(now.secs() / 3600).unwrap_or(0);
    seen.max(hours).saturating_add(limits::CARD_JUMP)
}

/// Whether a card says something else than an earlier one of the same contact with the same number. Our own node never
/// sends such a card: a retry has the same key and certificate.
pub(in crate::engine) fn is_forked(card: &Card, contact: &Contact, invitation: Option<&InvitationEntry>) -> bool {
    let is_same = contact.outbound.as_ref() == Some(&card.auth_key)
        && contact.certificate.as_deref().is_some_and(|known| known == card.certificate);
    card.counter == contact.cards.seen && invitation.is_none() && contact.status == ContactStatus::Confirmed && !is_same
}

/// Tells the user in INBOX that a contact sent two cards with one number; nothing where INBOX takes no more.
pub(in crate::engine) fn tell_forked(cx: &mut Context<'_>, contact: &Contact, counter: u64, draft: &mut Draft) {
    let id = ContentId::random(cx.rng);
    let text = card::forked_notice(cx.address(), &contact.petname, &contact.address, counter, id, cx.now);
    if let Some((folder, message, body)) = cx.own_message(FolderRole::Inbox, text) {
        draft.records.push(Record::Mailbox(MailboxRecord::MessageAdded { folder, message }));
        draft.bodies.push(body);
    }
}

fn card_of_contact(
    cx: &mut Context<'_>,
    seen: ContentKey,
    card: &Card,
    contact: &Contact,
    invitation: Option<&InvitationEntry>,
) -> Draft {
    let old = card.counter <= contact.cards.seen && invitation.is_none();
    if old || contact.status == ContactStatus::Blocked {
        return Record::Received(ReceivedRecord::Discarded { seen }).into();
    }
    let renewal = Renewal {
        contact: contact.id,
        certificate: card.certificate.as_slice().into(),
        binding_epoch: card.binding.epoch,
        counter: card.counter,
        outbound: card.auth_key.clone(),
        // The card answers our greeting, or brings a secret that we gave its author.
        confirm: invitation.is_some() || contact.status == ContactStatus::Greeting,
        inbound: invitation.and_then(key_of),
        reply: invitation.map(|_| next_card(contact, cx.now, None, cx.rng)),
        provenance: invitation.map(|invitation| Provenance { how: HowMet::InvitationMade(invitation.id), at: cx.now }),
    };
    let acquaintance = Acquaintance::Known(Box::new(renewal));
    let invitation = invitation.map(|invitation| invitation.id);
    let accepted = Record::Received(ReceivedRecord::CardAccepted { seen, invitation, acquaintance, notice: None });
    std::iter::once(accepted).chain(told_by(cx.state, card, contact.id)).collect::<Vec<_>>().into()
}

fn card_of_invited(
    cx: &mut Context<'_>,
    seen: ContentKey,
    card: &Card,
    issuer: Fingerprint,
    invitation: &InvitationEntry,
) -> Draft {
    let provenance = Provenance { how: HowMet::InvitationMade(invitation.id), at: cx.now };
    let mut contact = contact_from(cx, card, issuer, ContactStatus::Confirmed, provenance);
    // The name that the user gave comes before the one that the card says.
    if let Some(label) = cx.state.book().label(invitation.id) {
        contact.petname = cx.state.book().free_petname(label, cx.address().local());
    }
    contact.inbound.extend(key_of(invitation));
    contact.cards.pending = Some(next_card(&contact, cx.now, None, cx.rng));
    contact.cards.sent = 1;
    let (id, told) = (contact.id, told_by(cx.state, card, contact.id));
    let acquaintance = Acquaintance::New(Box::new(contact));
    let accepted = Record::Received(ReceivedRecord::CardAccepted {
        seen,
        invitation: Some(invitation.id),
        acquaintance,
        notice: None,
    });
    // The card that goes back names our boxes.
    std::iter::once(accepted).chain(told).chain(seats_for(cx.state, id)).collect::<Vec<_>>().into()
}

/// A request, with a message in Requests by which the user decides; `None` if that folder takes no more.
fn card_of_stranger(cx: &mut Context<'_>, seen: ContentKey, card: &Card, issuer: Fingerprint) -> Option<Draft> {
    let provenance = Provenance { how: HowMet::Unasked, at: cx.now };
    let contact = contact_from(cx, card, issuer, ContactStatus::Request, provenance);
    let text = dsn::request(cx.address(), &contact.address, &issuer, seen.content, cx.now);
    let (folder, message, body) = cx.own_message(FolderRole::Requests, text)?;
    let (by, address) = (body.id, contact.address.clone());
    let acquaintance = Acquaintance::New(Box::new(contact));
    let notice = Some((folder, message));
    let accepted = Record::Received(ReceivedRecord::CardAccepted { seen, invitation: None, acquaintance, notice });
    let mut draft = Draft { records: vec![accepted], bodies: vec![body] };
    notices::tell_waiting(cx, by, Waiting::Stranger(&address), &mut draft);
    Some(draft)
}

fn contact_from(
    cx: &mut Context<'_>,
    card: &Card,
    issuer: Fingerprint,
    status: ContactStatus,
    provenance: Provenance,
) -> Contact {
    let address = card.address.without_folder();
    Contact {
        id: ContactId::random(cx.rng),
        petname: cx.state.book().free_petname(address.local().as_str(), cx.address().local()),
        address,
        fingerprint: issuer,
        certificate: Some(card.certificate.as_slice().into()),
        binding_epoch: card.binding.epoch,
        status,
        provenance: vec![provenance],
        inbound: vec![MacKey::random(cx.rng)],
        outbound: Some(card.auth_key.clone()),
        cards: Cards { sent: 0, seen: card.counter, pending: None },
    }
}

/// The signed bytes of the card that waits for a contact; with another expiry if the card waits at a carrier.
pub(in crate::engine) fn card_content(
    state: &State,
    public: &PublicProfile,
    contact: &Contact,
    expires: Option<Timestamp>,
) -> Option<Vec<u8>> {
    let pending = contact.cards.pending.as_ref()?;
    let card = Card {
        counter: pending.counter,
        address: public.address.clone(),
        certificate: public.certificate.to_vec(),
        binding: public.binding.clone(),
        auth_key: contact.inbound.first()?.clone(),
        invitation: pending.secret.map(|secret| secret.to_vec()),
        boxes: boxes_for(state, contact.id),
        receipts: state.boxes().told(contact.id) != ReceiptPolicy::Nothing,
    };
    let payload = serde_json::to_vec(&card).ok()?;
    let (kind, id, expires) = (ContentKind::Card, pending.content, expires.unwrap_or(pending.expires));
    Some(Content { kind, id, expires, receipt: None, payload }.encode())
}

/// The records of the boxes and receipts that a card tells of, where that is something new.
fn told_by(state: &State, card: &Card, contact: ContactId) -> Vec<Record> {
    let (known, counter, promised) = (state.boxes(), card.counter, card.receipts);
    let boxes: Vec<_> = card.boxes.iter().filter_map(ContactBox::from_card).take(limits::BOXES).collect();
    let news = !boxes.is_empty() || known.of(contact).is_some();
    let boxes = news.then_some(Record::Boxes(BoxRecord::BoxesNamed { contact, counter, boxes }));
    let news = promised != known.expects_receipts(contact);
    let receipts = news.then_some(Record::Boxes(BoxRecord::ReceiptsPromised { contact, counter, promised }));
    boxes.into_iter().chain(receipts).collect()
}

/// Our boxes, as a card for this contact names them.
fn boxes_for(state: &State, contact: ContactId) -> Vec<CardBox> {
    let named = |own_box: &Arc<OwnBox>| {
        let seat = own_box.seat_of(contact).filter(|_| own_box.is_open())?;
        Some(CardBox {
            onion: own_box.onion,
            fingerprint: own_box.carrier,
            seed: seat.seed.clone(),
            classes: OwnBox::classes().map(|(class, count)| (class.number(), count)).collect(),
            every: limits::BOX_EPOCH_DAYS,
        })
    };
    state.boxes().own().filter_map(named).collect()
}

fn key_of(invitation: &InvitationEntry) -> Option<MacKey> {
    auth_key(invitation.secret.as_ref()?)
}

/// The next card for a contact.
pub(in crate::engine) fn next_card(
    contact: &Contact,
    now: Timestamp,
    secret: Option<[u8; SECRET_BYTES]>,
    rng: &mut dyn Rng,
) -> PendingCard {
    PendingCard {
        content: ContentId::random(rng),
        expires: Timestamp::from_secs(now.plus(limits::EXPIRY).secs()),
        counter: contact.cards.sent.saturating_add(1),
        secret,
    }
}

/// A certificate as the book keeps it.
pub(in crate::engine) fn same_certificate(contact: &Contact, bytes: &Arc<[u8]>) -> bool {
    contact.certificate.as_ref().is_some_and(|known| known == bytes)
}
