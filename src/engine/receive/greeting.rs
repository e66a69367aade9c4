//! First contact and cards (docs/protocol.md, "First contact" and "Card").
//!
//! A node that redeems an invitation sends its card with the invitation's secret, before any mail. The maker of the
//! invitation checks the card, makes the contact and uses up the secret in one record, and sends a card back. A card
//! without a working secret makes a request, which waits for the user: a message that goes from Requests to INBOX accepts, to Junk
//! blocks. Where no more requests can wait, the card is refused for now, and its author tries again.
//!
//! A card is decided on what is committed when it is verified. Where something else was committed first (two used one
//! secret), its record does nothing, and the card is decided again.

use crate::base::ids::Fingerprint;
use crate::base::limits;
use crate::mail::Card;
use crate::wire::Status;

use crate::engine::context::{Context, Owner, Room, Signal};
use crate::engine::io::{Authorship, CommitError, Effect};
use crate::engine::people::cards::{decided, is_forked, tell_forked};
use crate::engine::receive::delivery::{Arrival, Received, account_of};
use crate::engine::receive::{AfterCommit, InFlight, Receive};
use crate::engine::session::Sender;
use crate::engine::state::Applied;
use crate::engine::state::book::ContactStatus;
use crate::engine::state::record::ContentKey;

/// A card on its way from a session to the book.
pub(in crate::engine) struct Greeting {
    arrival: Arrival,
    seen: ContentKey,
    card: Card,
    issuer: Fingerprint,
    rounds: u8,
}

/// How often a card is decided anew because something else was committed first.
const ROUNDS: u8 = 3;

impl Receive {
    /// A content of kind card was opened.
    pub(in crate::engine) fn card_arrived(&mut self, cx: &mut Context<'_>, arrival: Arrival, received: Received) {
        let Received { content, header, signature, issuer, seen, .. } = received;
        let card = (content.payload.len() <= limits::CARD_BYTES)
            .then(|| serde_json::from_slice::<Card>(&content.payload).ok())
            .flatten();
        let own = cx.public();
        let others = |card: &Card| issuer != own.fingerprint && card.address.onion() != own.onion();
        let Some(card) = card.filter(others) else { return self.finish(arrival, Status::ContentRefused) };
        let mut bytes = header.into_bytes();
        bytes.extend_from_slice(&content.payload);
        let evidence = Authorship {
            onion: card.address.onion(),
            certificate: card.certificate.clone(),
            binding: card.binding.clone(),
            fingerprint: issuer,
            content: bytes,
            signature,
            recipient: None,
            revocation: None,
        };
        let greeting = Greeting { arrival, seen, card, issuer, rounds: 0 };
        let op = cx.out.operation(Owner::Room(Room::Receive));
        self.in_flight.insert(op, InFlight::Card(Box::new(greeting)));
        cx.out.effect(Effect::VerifyCard(op, Box::new(evidence)));
    }

    /// The signature of a card was verified, or is false.
    pub(in crate::engine) fn card_verified(&mut self, cx: &mut Context<'_>, greeting: Greeting, holds: bool) {
        if holds {
            self.decide(cx, greeting);
        } else {
            self.finish(greeting.arrival, Status::ContentRefused);
        }
    }

    fn decide(&mut self, cx: &mut Context<'_>, mut greeting: Greeting) {
        let author = cx.state.book().by_fingerprint(&greeting.issuer);
        if cx.state.duplicates().contains(&greeting.seen) {
            if let Some(author) = author {
                self.give_back(cx.now, &mut greeting.arrival, author.id);
            }
            return self.finish(greeting.arrival, Status::Roger);
        }
        self.tell_change(cx, &greeting.card.address, &greeting.issuer);
        let Greeting { arrival, seen, card, issuer, .. } = &greeting;
        let book = cx.state.book();
        let invitation = card.invitation.as_ref().and_then(|secret| book.redeemable(secret, cx.now));
        let invitation = invitation.filter(|invitation| cx.state.introductions().may_be_used(invitation.id));
        let account = match author {
            Some(author) if author.status == ContactStatus::Blocked => None,
            Some(author) if account_of(Some(author)) != Sender::Stranger => Some(account_of(Some(author))),
            // The secret works once.
            _ if invitation.is_some() => None,
            _ => Some(Sender::Stranger),
        };
        let forked = author.filter(|author| is_forked(card, author, invitation) && !self.forked.contains(&author.id));
        let counter = card.counter;
        let decided = decided(cx, arrival.sender, *seen, card, *issuer, invitation);
        let charged = decided.and_then(|change| {
            account.map_or(Ok(()), |account| self.charge(cx.now, &mut greeting.arrival, account)).map(|()| change)
        });
        match charged {
            Ok(mut change) => {
                // Once since the start: who sends many of them does not fill INBOX.
                if let Some(contact) = forked {
                    self.forked.insert(contact.id);
                    tell_forked(cx, contact, counter, &mut change);
                }
                let op = cx.out.commit(Owner::Room(Room::Receive), change);
                self.in_flight.insert(op, InFlight::Commit(AfterCommit::Acquainted(Box::new(greeting))));
            }
            Err(status) => self.finish(greeting.arrival, status),
        }
    }

    /// The commit of a card's records succeeded or failed.
    pub(in crate::engine) fn acquainted(
        &mut self,
        cx: &mut Context<'_>,
        mut greeting: Greeting,
        applied: Result<Vec<Applied>, CommitError>,
    ) {
        match applied {
            Err(error) => self.not_committed(cx, greeting.arrival, error),
            Ok(_) if cx.state.duplicates().contains(&greeting.seen) => {
                // A card that was collected from a box says nothing of where its author is now.
                let is_here = greeting.arrival.from().is_some();
                if let Some(contact) = cx.state.book().by_fingerprint(&greeting.issuer).filter(|_| is_here) {
                    cx.out.tell(Signal::PeerCameOnline(contact.id));
                }
                self.finish(greeting.arrival, Status::Roger);
            }
            Ok(_) if greeting.rounds < ROUNDS => {
                greeting.rounds += 1;
                self.decide(cx, greeting);
            }
            Ok(_) => self.finish(greeting.arrival, Status::Busy),
        }
    }
}
