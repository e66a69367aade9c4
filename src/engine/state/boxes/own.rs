//! A box of ours, which we rent at a carrier for our contacts to fill while we are away (docs/protocol.md, "Box").
//!
//! It is for a fixed number of contacts, its *seats*, each with a token seed from the beginning. So the carrier gets
//! the same sets whether a contact has a seat or nobody does, and a new contact has tokens at once.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::ids::Fingerprint;
use crate::base::limits;
use crate::base::{BoxId, ContactId, Onion, Rng, Timestamp, TokenSeed};
use crate::engine::state::profile::SecretBytes;
use crate::wire::token::{Class, Epoch, TokenHash, hash_of, token};

/// What a contact on one seat may leave in one epoch: classes, and how many objects of each.
const ALLOWANCE: [(u8, u32); 6] = [(12, 16), (14, 16), (16, 8), (18, 4), (20, 2), (22, 1)];

/// Keys that were made for a box.
#[derive(Clone)]
pub struct BoxKeys {
    /// The secret part.
    pub keys: SecretBytes,
    /// The certificate.
    pub certificate: Arc<[u8]>,
    /// Its primary key.
    pub fingerprint: Fingerprint,
}

/// The place of one contact in a box.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// The seed of its tokens.
    pub seed: TokenSeed,
    /// The contact that has it. No other contact ever gets it.
    pub contact: Option<ContactId>,
}

/// How far a box is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// The carrier does not have it yet.
    Registering,
    /// It can be filled.
    Open,
    /// It is given up as soon as our contacts know that.
    Leaving,
}

/// One box of ours.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnBox {
    /// Its name in records.
    pub id: BoxId,
    /// The user's name for it.
    pub name: String,
    /// The onion of the carrier.
    pub onion: Onion,
    /// The carrier's primary key.
    pub carrier: Fingerprint,
    /// The secret of the invitation that it was rented with.
    pub invitation: Option<[u8; 16]>,
    /// The box's own keys, made for it.
    pub keys: SecretBytes,
    /// The box's certificate.
    pub certificate: Arc<[u8]>,
    /// The primary key of that certificate: the name of the box at the carrier.
    pub fingerprint: Fingerprint,
    /// Its seats.
    pub seats: Vec<Seat>,
    /// How far it is.
    pub stage: Stage,
    /// The last epoch whose sets the carrier has; 0 before the first.
    pub uploaded: Epoch,
    /// When it was rented.
    pub since: Timestamp,
}

impl OwnBox {
    /// Seats with fresh seeds.
    pub fn seats(rng: &mut dyn Rng) -> Vec<Seat> {
        (0..limits::BOX_SEATS).map(|_| Seat { seed: TokenSeed::random(rng), contact: None }).collect()
    }

    /// The classes of which there are tokens.
    pub fn classes() -> impl Iterator<Item = (Class, u32)> {
        ALLOWANCE.into_iter().filter_map(|(class, count)| Some((Class::new(class)?, count)))
    }

    /// The set of one epoch and class, in the order of its octets.
    pub fn set(&self, epoch: Epoch, class: Class) -> Vec<TokenHash> {
        let count = Self::classes().find(|(other, _)| *other == class).map_or(0, |(_, count)| count);
        let of_seat =
            |seat: &Seat| (0..count).map(|i| hash_of(&token(&seat.seed, epoch, class, i))).collect::<Vec<_>>();
        let mut set: Vec<_> = self.seats.iter().flat_map(of_seat).collect();
        set.sort_unstable();
        set
    }

    /// The first epoch, from this day on, whose sets the carrier lacks.
    pub fn missing(&self, today: Epoch) -> Option<Epoch> {
        let step = limits::BOX_EPOCH_DAYS;
        let current = today / step * step;
        let last = current.saturating_add(limits::BOX_EPOCHS_AHEAD * step);
        // A later epoch than those was uploaded while our clock was wrong: the sets between are missing.
        let next = if (current..=last).contains(&self.uploaded) { self.uploaded.saturating_add(step) } else { current };
        (next <= last).then_some(next)
    }

    /// The seat of a contact.
    pub fn seat_of(&self, contact: ContactId) -> Option<&Seat> {
        self.seats.iter().find(|seat| seat.contact == Some(contact))
    }

    /// Whether our contacts may fill it.
    pub fn is_open(&self) -> bool {
        self.stage == Stage::Open && self.uploaded > 0
    }

    /// Whether one more contact may be told of it.
    pub fn has_seat(&self) -> bool {
        self.is_open() && self.seats.iter().any(|seat| seat.contact.is_none())
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat").field("taken", &self.contact.is_some()).finish_non_exhaustive()
    }
}

impl fmt::Debug for OwnBox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnBox").field("id", &self.id).field("stage", &self.stage).finish_non_exhaustive()
    }
}

/// One change of a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BoxChange {
    /// The carrier has it.
    Registered,
    /// The carrier has all sets up to this epoch.
    Uploaded(Epoch),
    /// A contact has the next free seat.
    Seated(ContactId),
    /// It is to be given up.
    Leaving,
}

impl OwnBox {
    /// `false` if that changes nothing.
    pub(in crate::engine) fn apply(&mut self, change: BoxChange) -> bool {
        match change {
            BoxChange::Registered if self.stage == Stage::Registering => self.stage = Stage::Open,
            BoxChange::Uploaded(epoch) if epoch != self.uploaded => self.uploaded = epoch,
            BoxChange::Seated(contact) if self.seat_of(contact).is_none() => {
                let Some(seat) = self.seats.iter_mut().find(|seat| seat.contact.is_none()) else { return false };
                seat.contact = Some(contact);
            }
            BoxChange::Leaving if self.stage != Stage::Leaving => self.stage = Stage::Leaving,
            _ => return false,
        }
        true
    }
}
