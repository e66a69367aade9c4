//! First contact and cards (docs/protocol.md, "First contact" and "Card").
//!
//! Who redeems an invitation sends its card with the invitation's secret, before any mail. Who made it checks the card,
//! makes the contact and uses up the secret in one record, and sends a card back. A card without a secret that
//! works makes a request, which waits for the user: MOVE from Requests to INBOX accepts, to Junk blocks. Where no more
//! requests can wait it is refused for now, and its author tries again.
//!
//! A card is decided on what is committed when it is verified. Where something else was committed first (two used one
//! secret), its record does nothing, and it is decided again.

use std::sync::Arc;

use crate::base::ids::Fingerprint;
use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::{ContactId, ContentId, MacKey, Timestamp};
use crate::mail::invitation::{SECRET_BYTES, auth_key};
use crate::mail::{Card, CardDrop, Content, ContentKind, dsn};
use crate::wire::Status;

use super::book::{
    Acquaintance, Cards, Contact, ContactChange, ContactStatus, Introduction, InvitationEntry, PendingCard, Provenance,
    Renewal,
};
use super::context::Signal;
use super::delivery::{Arrival, Received, no_room};
use super::drops::Told;
use super::drops::named::Named;
use super::drops::rented::Rented;
use super::drops::seats_for;
use super::effect::{CardEvidence, CommitError, Effect, Opened};
use super::identity::{Identity, Pending, Then};
use super::mailbox::FolderRole;
use super::profile::PublicProfile;
use super::record::{Record, Seen};
use super::session::Sender;
use super::state::{Applied, State};

/// A card on its way from a session to the book.
pub(super) struct Greeting {
    arrival: Arrival,
    seen: Seen,
    card: Card,
    issuer: Fingerprint,
    rounds: u8,
}

/// Times that a card is decided anew because something else was committed first.
const ROUNDS: u8 = 3;

impl Identity {
    /// A content of kind card was opened.
    pub(super) fn card_arrived(&mut self, arrival: Arrival, received: Received) {
        let Received { content, header, signature, issuer, verified, seen } = received;
        let card = (content.payload.len() <= limits::CARD_BYTES)
            .then(|| serde_json::from_slice::<Card>(&content.payload).ok())
            .flatten();
        let Some(card) = card else { return self.finish(arrival, Status::ContentRefused) };
        if issuer == self.public().fingerprint || card.address.onion() == self.public().onion() {
            return self.finish(arrival, Status::ContentRefused);
        }
        let mut bytes = header.into_bytes();
        bytes.extend_from_slice(&content.payload);
        let opened = Opened { content: bytes, signature, issuer, verified };
        let evidence = CardEvidence { card: card.clone(), fingerprint: issuer, opened };
        let greeting = Greeting { arrival, seen, card, issuer, rounds: 0 };
        let op = self.operation(Pending::Card(Box::new(greeting)));
        self.effect(Effect::VerifyCard(op, Box::new(evidence)));
    }

    /// A card was verified, or is false.
    pub(super) fn card_verified(&mut self, now: Timestamp, rng: &mut dyn Rng, greeting: Greeting, holds: bool) {
        if holds {
            self.decide(now, rng, greeting);
        } else {
            self.finish(greeting.arrival, Status::ContentRefused);
        }
    }

    fn decide(&mut self, now: Timestamp, rng: &mut dyn Rng, mut greeting: Greeting) {
        let author = self.state.book().by_fingerprint(&greeting.issuer).cloned();
        if self.state.duplicates().contains(&greeting.seen) {
            if let Some(author) = author {
                self.give_back(now, &mut greeting.arrival, author.id);
            }
            return self.finish(greeting.arrival, Status::Roger);
        }
        let Greeting { arrival, seen, card, issuer, .. } = &greeting;
        let (onion, refused) = (card.address.onion(), Status::ContentRefused);
        let book = self.state.book();
        let invitation = card.invitation.as_ref().and_then(|secret| book.redeemable(secret, now)).cloned();
        let account = match &author {
            Some(author) if author.status == ContactStatus::Blocked => None,
            Some(author) if author.may_receive() => Some(Sender::Contact(author.id)),
            // It works once.
            _ if invitation.is_some() => None,
            _ => Some(Sender::Stranger),
        };
        let decided = match (author, book.by_onion(onion)) {
            // The onion of a pinned key does not change, nor the key of a known onion.
            (Some(contact), _) if contact.address.onion() != onion => Err(refused),
            (None, Some(_)) => Err(refused),
            (Some(contact), _) => Ok(self.card_of_contact(now, rng, *seen, card, &contact, invitation.as_ref())),
            (None, None) => match invitation {
                _ if book.contacts().count() >= limits::CONTACTS => Err(no_room(arrival.sender)),
                Some(invitation) => Ok(self.card_of_invited(now, rng, *seen, card, *issuer, &invitation)),
                None if book.requests() >= limits::REQUESTS_PENDING => Err(no_room(arrival.sender)),
                None => self.card_of_stranger(now, rng, *seen, card, *issuer).ok_or_else(|| no_room(arrival.sender)),
            },
        };
        let charged = decided.and_then(|changes| {
            account.map_or(Ok(()), |account| self.charge(now, &mut greeting.arrival, account)).map(|()| changes)
        });
        match charged {
            Ok((records, bodies)) => self.commit(records, bodies, Then::Acquainted(Box::new(greeting))),
            Err(status) => self.finish(greeting.arrival, status),
        }
    }

    fn card_of_contact(
        &self,
        now: Timestamp,
        rng: &mut dyn Rng,
        seen: Seen,
        card: &Card,
        contact: &Contact,
        invitation: Option<&InvitationEntry>,
    ) -> Changes {
        let old = card.counter <= contact.cards.seen && invitation.is_none();
        if old || contact.status == ContactStatus::Blocked {
            return (vec![Record::Discarded { seen }], vec![]);
        }
        let renewal = Renewal {
            contact: contact.id,
            certificate: card.certificate.as_slice().into(),
            binding_epoch: card.binding.epoch,
            counter: card.counter,
            outbound: card.auth_key.clone(),
            // It answers our greeting, or brings a secret that we gave it.
            confirm: invitation.is_some() || contact.status == ContactStatus::Greeting,
            inbound: invitation.and_then(key_of),
            reply: invitation.map(|_| next_card(contact, now, None, rng)),
            provenance: invitation
                .map(|invitation| Provenance { how: Introduction::InvitationMade(invitation.id), at: now }),
        };
        let acquaintance = Acquaintance::Known(Box::new(renewal));
        let invitation = invitation.map(|invitation| invitation.id);
        let accepted = Record::CardAccepted { seen, invitation, acquaintance, notice: None };
        (std::iter::once(accepted).chain(told_by(&self.state, card, contact.id)).collect(), vec![])
    }

    fn card_of_invited(
        &self,
        now: Timestamp,
        rng: &mut dyn Rng,
        seen: Seen,
        card: &Card,
        issuer: Fingerprint,
        invitation: &InvitationEntry,
    ) -> Changes {
        let provenance = Provenance { how: Introduction::InvitationMade(invitation.id), at: now };
        let mut contact = self.contact_from(card, issuer, ContactStatus::Confirmed, provenance, rng);
        contact.inbound.extend(key_of(invitation));
        contact.cards.pending = Some(next_card(&contact, now, None, rng));
        contact.cards.sent = 1;
        let (id, told) = (contact.id, told_by(&self.state, card, contact.id));
        let acquaintance = Acquaintance::New(Box::new(contact));
        let accepted = Record::CardAccepted { seen, invitation: Some(invitation.id), acquaintance, notice: None };
        // The card that goes back names our drops.
        (std::iter::once(accepted).chain(told).chain(seats_for(&self.state, id)).collect(), vec![])
    }

    /// A request, with a message in Requests by which the user can decide; `None` where that folder takes no more.
    fn card_of_stranger(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        seen: Seen,
        card: &Card,
        issuer: Fingerprint,
    ) -> Option<Changes> {
        let provenance = Provenance { how: Introduction::Unasked, at: now };
        let contact = self.contact_from(card, issuer, ContactStatus::Request, provenance, rng);
        let text = dsn::request(self.address(), &contact.address, &issuer, seen.content, now);
        let (folder, message, body) = self.own_message(now, rng, FolderRole::Requests, text)?;
        let acquaintance = Acquaintance::New(Box::new(contact));
        let notice = Some((folder, message));
        Some((vec![Record::CardAccepted { seen, invitation: None, acquaintance, notice }], vec![body]))
    }

    fn contact_from(
        &self,
        card: &Card,
        issuer: Fingerprint,
        status: ContactStatus,
        provenance: Provenance,
        rng: &mut dyn Rng,
    ) -> Contact {
        let address = card.address.without_folder();
        Contact {
            id: ContactId::random(rng),
            petname: self.state.book().free_petname(address.local().as_str(), self.address().local()),
            address,
            fingerprint: issuer,
            certificate: Some(card.certificate.as_slice().into()),
            binding_epoch: card.binding.epoch,
            status,
            provenance: vec![provenance],
            inbound: vec![MacKey::random(rng)],
            outbound: Some(card.auth_key.clone()),
            cards: Cards { sent: 0, seen: card.counter, pending: None },
        }
    }

    /// A card's records are on the disk, or are not.
    pub(super) fn acquainted(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        mut greeting: Greeting,
        applied: Result<Vec<Applied>, CommitError>,
    ) {
        match applied {
            Err(error) => self.not_committed(greeting.arrival, error),
            Ok(_) if self.state.duplicates().contains(&greeting.seen) => {
                if let Some(contact) = self.state.book().by_fingerprint(&greeting.issuer).map(|contact| contact.id) {
                    self.out.tell(Signal::PeerCameOnline(contact));
                }
                self.finish(greeting.arrival, Status::Roger);
            }
            Ok(_) if greeting.rounds < ROUNDS => {
                greeting.rounds += 1;
                self.decide(now, rng, greeting);
            }
            Ok(_) => self.finish(greeting.arrival, Status::Busy),
        }
    }

    /// What moving a requester's message out of Requests means: into INBOX accepts it, into Junk blocks it.
    pub(super) fn request_decided(
        &self,
        now: Timestamp,
        rng: &mut dyn Rng,
        contact: ContactId,
        to: FolderRole,
    ) -> Vec<Record> {
        let Some(contact) = self.state.book().contact(contact) else { return Vec::new() };
        let change = |change| Record::ContactChanged { id: contact.id, change };
        match to {
            FolderRole::Inbox => vec![
                change(ContactChange::Status(ContactStatus::Confirmed)),
                change(ContactChange::CardQueued(next_card(contact, now, None, rng))),
            ],
            FolderRole::Junk => vec![change(ContactChange::Status(ContactStatus::Blocked))],
            _ => Vec::new(),
        }
    }
}

/// The signed bytes of the card that waits for a contact; with another expiry where it waits at a carrier.
pub(super) fn card_content(
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
        drops: drops_for(state, contact.id),
        receipts: state.drops().told(contact.id) != Told::Nothing,
    };
    let payload = serde_json::to_vec(&card).ok()?;
    let (kind, id, expires) = (ContentKind::Card, pending.content, expires.unwrap_or(pending.expires));
    Some(Content { kind, id, expires, receipt: None, payload }.encode())
}

/// What a card says of its author's drops and receipts, where that is something new.
fn told_by(state: &State, card: &Card, contact: ContactId) -> Vec<Record> {
    let (known, counter, promised) = (state.drops(), card.counter, card.receipts);
    let drops: Vec<_> = card.drops.iter().filter_map(Named::from_card).take(limits::DROPS).collect();
    let news = !drops.is_empty() || known.of(contact).is_some();
    let drops = news.then_some(Record::DropsNamed { contact, counter, drops });
    let news = promised != known.expects_receipts(contact);
    let receipts = news.then_some(Record::ReceiptsPromised { contact, counter, promised });
    drops.into_iter().chain(receipts).collect()
}

/// Our drops, as a card for this contact names them.
fn drops_for(state: &State, contact: ContactId) -> Vec<CardDrop> {
    let named = |rented: &Arc<Rented>| {
        let seat = rented.seat_of(contact).filter(|_| rented.is_open())?;
        Some(CardDrop {
            onion: rented.onion,
            fingerprint: rented.carrier,
            seed: seat.seed.clone(),
            classes: Rented::classes().map(|(class, count)| (class.number(), count)).collect(),
            every: limits::DROP_EPOCH_DAYS,
        })
    };
    state.drops().rented().filter_map(named).collect()
}

type Changes = (Vec<Record>, Vec<super::effect::NewBody>);

fn key_of(invitation: &InvitationEntry) -> Option<MacKey> {
    auth_key(invitation.secret.as_ref()?)
}

/// The next card for a contact.
pub(super) fn next_card(
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
pub(super) fn same_certificate(contact: &Contact, bytes: &Arc<[u8]>) -> bool {
    contact.certificate.as_ref().is_some_and(|known| known == bytes)
}
