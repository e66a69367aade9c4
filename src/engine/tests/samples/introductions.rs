//! Records of introductions.

use std::collections::BTreeMap;

use super::{contact, id, invitation, message, seen, submitted, time};
use crate::base::ids::Fingerprint;
use crate::base::rng::Rng;
use crate::base::{BodyId, ContactId, ContentId, FolderId, InvitationId, QueueId};
use crate::engine::state::introductions::{Agreed, Asked, Begun, Given, Held, Offer, Parts, Path, Policy};
use crate::engine::state::record::{IntroductionRecord, Record};
use crate::mail::ContentKind;

fn content(rng: &mut dyn Rng) -> ContentId {
    ContentId::from_bytes(id(rng))
}

fn who(rng: &mut dyn Rng) -> ContactId {
    ContactId::from_bytes(id(rng))
}

fn fingerprint(rng: &mut dyn Rng) -> Fingerprint {
    Fingerprint::from_bytes([rng.below(4) as u8; 32])
}

fn begun(rng: &mut dyn Rng) -> Begun {
    Begun { guest: who(rng), host: who(rng), text: "Grüße".to_owned(), at: time(rng) }
}

fn notice(rng: &mut dyn Rng) -> Option<BodyId> {
    (rng.below(4) > 0).then(|| BodyId::from_bytes(id(rng)))
}

fn asked(rng: &mut dyn Rng) -> Asked {
    Asked { by: who(rng), at: time(rng), notice: notice(rng), others: (rng.below(2) == 0).then_some(2) }
}

fn offer(rng: &mut dyn Rng) -> Offer {
    let (by, at, fingerprint, notice) = (who(rng), time(rng), fingerprint(rng), notice(rng));
    let agreed = (rng.below(2) == 0).then(|| content(rng));
    Offer { by, at, invitation: "rune:x".to_owned(), fingerprint, notice, agreed }
}

fn path(rng: &mut dyn Rng) -> Path {
    Path { by: who(rng), at: time(rng), ask: (rng.below(2) == 0).then(|| content(rng)) }
}

fn policy(rng: &mut dyn Rng) -> Policy {
    [Policy::Yes, Policy::Ask, Policy::Never][rng.below(3) as usize]
}

fn given(rng: &mut dyn Rng) -> Given {
    Given { ask: content(rng), content: vec![1, 2], signature: vec![3] }
}

fn held(rng: &mut dyn Rng) -> Held {
    Held {
        pairs: vec![(who(rng), who(rng))],
        asks: BTreeMap::from([(content(rng), who(rng))]),
        given: BTreeMap::from([(who(rng), given(rng))]),
        at: time(rng),
    }
}

/// A change of introductions: kinds from 0 to 10.
pub(super) fn change(kind: u64, rng: &mut dyn Rng) -> Record {
    let message = |rng: &mut dyn Rng| (rng.below(4) > 0).then(|| (FolderId::from_bytes(id(rng)), message(rng)));
    Record::Introductions(match kind {
        0 => IntroductionRecord::IntroductionBegun { begun: Box::new(begun(rng)), queued: Box::new(submitted(rng)) },
        1 => IntroductionRecord::IntroductionAsked { seen: seen(rng), asked: asked(rng), notice: message(rng) },
        2 => IntroductionRecord::IntroductionGranted {
            id: content(rng),
            path: path(rng),
            invitations: vec![invitation(rng)],
            queued: Box::new(submitted(rng)),
        },
        3 => IntroductionRecord::IntroductionDeclined { id: content(rng) },
        4 => {
            IntroductionRecord::IntroductionMade { seen: seen(rng), id: content(rng), queued: Box::new(submitted(rng)) }
        }
        5 => IntroductionRecord::IntroductionOffered {
            seen: seen(rng),
            offer: Box::new(offer(rng)),
            notice: message(rng),
            contact: (rng.below(3) == 0).then(|| Box::new(contact(rng))),
        },
        6 => IntroductionRecord::IntroductionTaken {
            id: content(rng),
            at: time(rng),
            contact: (rng.below(3) > 0).then(|| Box::new(contact(rng))),
        },
        7 => IntroductionRecord::ConsentSought {
            queue: QueueId::from_bytes(id(rng)),
            held: Box::new(held(rng)),
            asks: vec![submitted(rng)],
        },
        8 => IntroductionRecord::ConsentGiven { seen: seen(rng), given: Box::new(given(rng)) },
        9 => IntroductionRecord::ConsentReached {
            queue: QueueId::from_bytes(id(rng)),
            at: time(rng),
            introductions: vec![submitted(rng)],
        },
        _ => IntroductionRecord::IntroductionPolicySet { contact: who(rng), policy: policy(rng) },
    })
}

/// A part of a checkpoint.
pub(super) fn kept(rng: &mut dyn Rng) -> Record {
    let parts = Parts {
        begun: BTreeMap::from([(content(rng), begun(rng))]),
        asked: BTreeMap::from([(content(rng), asked(rng))]),
        offers: BTreeMap::from([(content(rng), offer(rng))]),
        granted: BTreeMap::from([(InvitationId::from_bytes(id(rng)), path(rng))]),
        paths: BTreeMap::from([(fingerprint(rng), vec![path(rng)])]),
        policies: BTreeMap::from([(who(rng), Policy::Never)]),
        kinds: BTreeMap::from([(QueueId::from_bytes(id(rng)), ContentKind::IntroductionAsk)]),
        held: BTreeMap::from([(QueueId::from_bytes(id(rng)), held(rng))]),
        joined: BTreeMap::from([((who(rng), who(rng)), time(rng))]),
        agreed: BTreeMap::from([(content(rng), Agreed { path: path(rng), left: rng.below(3) as u8 })]),
    };
    Record::Introductions(IntroductionRecord::IntroductionsKept { parts: Box::new(parts) })
}
