//! Records of revocations.

use super::{id, message, onion, seen, submitted, time};
use crate::base::ids::Fingerprint;
use crate::base::rng::Rng;
use crate::base::{ContactId, FolderId};
use crate::engine::state::record::{IdentityRecord, PeopleRecord, Record};
use crate::engine::state::revocations::Revoked;
use crate::mail::revocation::Extent;

fn extent(rng: &mut dyn Rng) -> Extent {
    let onion = rng.below(2) == 0;
    Extent { onion, key: !onion || rng.below(2) == 0 }
}

/// An identity was revoked. Rare, because hardly anything can happen to it afterwards.
pub(super) fn own(rng: &mut dyn Rng) -> Record {
    let queued = (rng.below(4) > 0).then(|| Box::new(submitted(rng)));
    IdentityRecord::IdentityRevoked { extent: extent(rng), at: time(rng), queued }.into()
}

/// Somebody else revoked something.
pub(super) fn taken(rng: &mut dyn Rng) -> Record {
    let notice = (rng.below(2) == 0).then(|| Box::new((FolderId::from_bytes(id(rng)), message(rng))));
    PeopleRecord::RevocationTaken {
        seen: (rng.below(4) > 0).then(|| Box::new(seen(rng))),
        fingerprint: Fingerprint::from_bytes([rng.below(4) as u8; 32]),
        revoked: Revoked { onion: onion(rng), extent: extent(rng), at: time(rng) },
        contact: (rng.below(4) > 0).then(|| ContactId::from_bytes(id(rng))),
        notice,
    }
    .into()
}
