//! Records of encryption keys.

use super::{id, receipt, time};
use crate::base::rng::Rng;
use crate::base::{ContactId, QueueId, SealKeyId};
use crate::engine::state::record::{BoxRecord, CheckpointRecord, ForwardingRecord, IdentityRecord, Record};
use crate::engine::state::seal_keys::KnownKey;

fn key(rng: &mut dyn Rng) -> SealKeyId {
    SealKeyId::from_bytes(id(rng))
}

pub(super) fn renewed(rng: &mut dyn Rng) -> Record {
    IdentityRecord::SealKeyRenewed { id: key(rng), certificate: [rng.below(9) as u8; 3].into(), at: time(rng) }.into()
}

pub(super) fn found(rng: &mut dyn Rng) -> Record {
    IdentityRecord::SealKeysFound { ids: vec![key(rng)], at: time(rng) }.into()
}

pub(super) fn destroyed(rng: &mut dyn Rng) -> Record {
    IdentityRecord::SealKeysDestroyed { ids: vec![key(rng)] }.into()
}

fn object(rng: &mut dyn Rng) -> [u8; 32] {
    [rng.below(4) as u8; 32]
}

/// Records of objects that may be unreadable.
pub(super) fn of_objects(kind: u64, rng: &mut dyn Rng) -> Record {
    let (contact, queue) = (ContactId::from_bytes(id(rng)), QueueId::from_bytes(id(rng)));
    match kind {
        0 => BoxRecord::ObjectNamed { contact, queue, receipt: receipt(rng), object: object(rng) }.into(),
        1 => BoxRecord::ObjectLost { contact, object: object(rng) }.into(),
        2 => ForwardingRecord::ObjectUnread { contacts: vec![contact], object: object(rng) }.into(),
        _ => {
            let objects = vec![(object(rng), receipt(rng))];
            CheckpointRecord::ObjectsKept { queue, contact, objects }.into()
        }
    }
}

pub(super) fn kept(rng: &mut dyn Rng) -> Record {
    let replaced = (rng.below(2) == 0).then(|| time(rng));
    CheckpointRecord::SealKeysKept { keys: vec![KnownKey { id: key(rng), since: time(rng), replaced }] }.into()
}
