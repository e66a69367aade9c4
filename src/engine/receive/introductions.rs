//! Contents about introductions from peers: asks, grants, introductions (`people::introductions` says what each means).
//!
//! An introduction holds a grant that somebody signed whom we do not know yet, so that signature is verified before
//! anything of it counts.

use crate::mail::ContentKind;
use crate::wire::Status;

use crate::engine::context::{Context, Owner, Room, Signal};
use crate::engine::io::{Authorship, Draft, Effect};
use crate::engine::people::introductions::{self, Claimed, UnderWay, Unfit};
use crate::engine::receive::delivery::{Arrival, Received, account_of, receipt_for};
use crate::engine::receive::{AfterCommit, InFlight, Receive};
use crate::engine::state::book::Contact;
use crate::engine::state::record::{ContentKey, Record};
use crate::engine::status::no_room;

/// An introduction whose grant is being verified.
pub(in crate::engine) struct Introduced {
    arrival: Arrival,
    seen: ContentKey,
    receipt: Option<Record>,
    claimed: Claimed,
}

impl Receive {
    /// A contact sent something about an introduction.
    pub(in crate::engine) fn introduction_arrived(
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
        if self.is_open(&arrival) {
            cx.out.tell(Signal::PeerCameOnline(author.id));
        }
        let Received { content, header, signature, seen, .. } = received;
        let taken = match content.kind {
            ContentKind::IntroductionAsk => {
                introductions::asked(cx, author, seen, &content.payload, self.under_way(&seen))
            }
            ContentKind::IntroductionGrant => {
                let signed = [header.as_bytes(), &content.payload].concat();
                introductions::granted(cx, author, seen, (signed, signature), &content.payload)
            }
            _ => match introductions::claimed(cx, author, &content.payload) {
                Ok(claimed) => return self.verify_grant(cx, author, Introduced { arrival, seen, receipt, claimed }),
                Err(unfit) => Err(unfit),
            },
        };
        self.introduction_decided(cx, arrival, seen, receipt, taken);
    }

    fn verify_grant(&mut self, cx: &mut Context<'_>, author: &Contact, introduced: Introduced) {
        let Claimed { grant, invitation, signed, .. } = &introduced.claimed;
        let evidence = Authorship {
            onion: invitation.1.address.onion(),
            certificate: grant.certificate.clone(),
            binding: grant.binding.clone(),
            fingerprint: invitation.1.fingerprint,
            content: signed.0.clone(),
            signature: signed.1.clone(),
            // The host agreed that this contact hands it on, and nobody else.
            recipient: Some(author.fingerprint),
            revocation: None,
        };
        let op = cx.out.operation(Owner::Room(Room::Receive));
        self.in_flight.insert(op, InFlight::Introduction(Box::new(introduced)));
        cx.out.effect(Effect::VerifyCard(op, Box::new(evidence)));
    }

    /// The signatures of a grant were verified, or are false.
    pub(in crate::engine) fn grant_verified(&mut self, cx: &mut Context<'_>, introduced: Introduced, holds: bool) {
        let Introduced { arrival, seen, receipt, claimed } = introduced;
        let author = cx.state.book().by_fingerprint(&seen.author).filter(|author| author.may_receive());
        if holds && author.is_some() {
            let (_, shown) = &claimed.invitation;
            self.tell_change(cx, &shown.address.without_folder(), &shown.fingerprint);
        }
        let taken = match author {
            Some(author) if holds => introductions::offered(cx, author, seen, &claimed, self.under_way(&seen)),
            _ => Err(Unfit::Malformed),
        };
        self.introduction_decided(cx, arrival, seen, receipt, taken);
    }

    /// What is being committed beside this content: many that come at once do not pass the bound together.
    fn under_way(&self, seen: &ContentKey) -> UnderWay {
        let authors = self.in_flight.values().filter_map(|it| match it {
            InFlight::Commit(AfterCommit::Introduced(_, other)) => Some(other.author),
            _ => None,
        });
        let authors: Vec<_> = authors.collect();
        let of_author = authors.iter().filter(|author| **author == seen.author).count();
        UnderWay { of_author, of_all: authors.len() }
    }

    fn introduction_decided(
        &mut self,
        cx: &mut Context<'_>,
        arrival: Arrival,
        seen: ContentKey,
        receipt: Option<Record>,
        taken: Result<Draft, Unfit>,
    ) {
        match taken {
            Ok(mut draft) => {
                draft.records.extend(receipt);
                let op = cx.out.commit(Owner::Room(Room::Receive), draft);
                self.in_flight.insert(op, InFlight::Commit(AfterCommit::Introduced(arrival, seen)));
            }
            Err(Unfit::Malformed) => self.finish(arrival, Status::ContentRefused),
            Err(Unfit::NoRoom) => {
                let status = no_room(arrival.sender);
                self.finish(arrival, status);
            }
        }
    }
}
