//! Revocations that contacts bring (`people::revocation` says what they mean). Everything in one is verified before any of
//! it counts.

use crate::base::limits;
use crate::mail::Revocation;
use crate::wire::Status;

use crate::engine::context::{Context, Owner, Room};
use crate::engine::io::{Authorship, Effect};
use crate::engine::people::revocation::taken;
use crate::engine::receive::delivery::{Arrival, Received, account_of, receipt_for};
use crate::engine::receive::{InFlight, Receive};
use crate::engine::state::book::{Contact, ContactStatus};
use crate::engine::state::record::{BookRecord, ContentKey, ReceivedRecord, Record};
use crate::engine::status::no_room;

/// A revocation that is being verified.
pub(in crate::engine) struct Claimed {
    arrival: Arrival,
    seen: ContentKey,
    receipt: Option<Record>,
    revocation: Box<Revocation>,
}

impl Receive {
    /// Somebody in the book revokes their onion or key.
    pub(in crate::engine) fn revocation_arrived(
        &mut self,
        cx: &mut Context<'_>,
        mut arrival: Arrival,
        received: Received,
        author: &Contact,
    ) {
        if let Err(status) = self.charge(cx.now, &mut arrival, account_of(Some(author))) {
            return self.finish(arrival, status);
        }
        let receipt = receipt_for(cx.state, &received.content, author);
        let Received { content, header, signature, issuer, seen, .. } = received;
        let revocation = Revocation::read(&content.payload).filter(|it| it.onion == author.address.onion());
        let Some(revocation) = revocation.map(Box::new) else {
            return self.finish(arrival, Status::ContentRefused);
        };
        let known = cx.state.revocations();
        if known.len() >= limits::REVOCATIONS && known.of(&issuer).is_none() {
            let status = no_room(arrival.sender);
            return self.finish(arrival, status);
        }
        let evidence = Authorship {
            onion: revocation.onion,
            certificate: revocation.certificate.clone(),
            binding: revocation.binding.clone(),
            fingerprint: issuer,
            content: [header.as_bytes(), &content.payload].concat(),
            signature,
            recipient: None,
            revocation: Some(revocation.clone()),
        };
        let op = cx.out.operation(Owner::Room(Room::Receive));
        self.in_flight.insert(op, InFlight::Revocation(Box::new(Claimed { arrival, seen, receipt, revocation })));
        cx.out.effect(Effect::VerifyCard(op, Box::new(evidence)));
    }

    /// The signatures of a revocation were verified, or are false.
    pub(in crate::engine) fn revocation_verified(&mut self, cx: &mut Context<'_>, claimed: Claimed, holds: bool) {
        let Claimed { arrival, seen, receipt, revocation } = claimed;
        if !holds {
            return self.finish(arrival, Status::ContentRefused);
        }
        // Somebody who waits in Requests only withdraws the request: a stranger makes us remember nothing, and tell nothing.
        let waits =
            cx.state.book().by_fingerprint(&seen.author).filter(|author| author.status == ContactStatus::Request);
        if let Some(id) = waits.map(|author| author.id) {
            let withdrawn = vec![ReceivedRecord::Discarded { seen }.into(), BookRecord::ContactRemoved { id }.into()];
            return self.keep(cx, withdrawn, arrival, seen);
        }
        let mut draft = taken(cx, Some(seen), seen.author, &revocation);
        draft.records.extend(receipt);
        self.keep(cx, draft, arrival, seen);
    }
}
