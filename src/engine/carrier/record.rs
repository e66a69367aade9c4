//! The records of a carrier's log (docs/on-disk.md, "What a carrier holds").

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::ids::Fingerprint;
use crate::base::{BodyId, ObjectId, Timestamp, limits};
use crate::engine::encoding::{RecordError, decode, records};
use crate::engine::state::profile::Profile;
use crate::wire::mailbox::Policy;
use crate::wire::token::{Epoch, TokenHash};

/// What a box may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Bytes of everything in it and of the objects that its outstanding tokens admit, together.
    pub quota: u64,
    /// For how many days an object is held.
    pub hold_days: u32,
}

/// The limits that the owner of a carrier sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarrierLimits {
    /// Bytes of everything in all boxes and of the objects that their outstanding tokens admit, together.
    pub space: u64,
    /// What a box may take if its invitation does not say.
    pub usual: Terms,
    /// Whether anybody may register without an invitation, on those terms.
    pub free: bool,
}

impl Default for CarrierLimits {
    /// The limits if the log says nothing: a bound for each box, and none for all together.
    fn default() -> Self {
        let usual = Terms { quota: limits::MAILBOX_QUOTA, hold_days: limits::HOLD_DAYS };
        Self { space: u64::MAX, usual, free: false }
    }
}

/// An invitation to a box. Of its token only the SHA-256 is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoxInvitation {
    /// The hash of its token.
    pub token: [u8; 32],
    /// What the box that it makes may take.
    pub terms: Terms,
    /// Until when it can be used.
    pub expires: Timestamp,
}

/// An object that was left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldObject {
    /// Its name.
    pub id: ObjectId,
    /// Its bytes.
    pub body: BodyId,
    /// Its size in bytes.
    pub size: u64,
    /// The epoch in which it was left.
    pub day: Epoch,
    /// The first epoch in which it is no longer held.
    pub until: Epoch,
    /// Whether its owner read it.
    pub read: bool,
}

/// A page: a client that has its token can fetch it, and answer it once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldPage {
    /// The hash of its token.
    pub name: TokenHash,
    /// Its bytes.
    pub body: BodyId,
    /// Its size in bytes.
    pub size: u64,
    /// The last epoch in which it is there.
    pub until: Epoch,
}

/// A token that was used, and the SHA-256 of the object that it admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Spent {
    /// The hash of the token.
    pub token: TokenHash,
    /// The object.
    pub hash: [u8; 32],
}

records! {
    /// One change. [`Held::apply`](super::held::Held::apply) decides whether it takes effect.
    HeldRecord
    /// The carrier was made. The first record of every such log.
    1 CarrierCreated {
        /// Its profile.
        profile: Box<Profile>,
    }
    /// An invitation was made.
    2 InvitationMade {
        /// The invitation.
        invitation: BoxInvitation,
    }
    /// An invitation was withdrawn.
    3 InvitationRevoked {
        /// The hash of its token.
        token: [u8; 32],
    }
    /// A box was registered, and the invitation is used up.
    4 Registered {
        /// The box.
        mailbox: Fingerprint,
        /// Its owner's certificate.
        certificate: Arc<[u8]>,
        /// The hash of the invitation's token; `None` if everybody may register, on these terms.
        invitation: Option<[u8; 32]>,
        /// What the box may take, if it came without an invitation.
        terms: Terms,
    }
    /// Tokens of one epoch and class were uploaded.
    5 TokensUploaded {
        /// The box.
        mailbox: Fingerprint,
        /// The epoch.
        epoch: Epoch,
        /// The class.
        class: u8,
        /// The hashes of the tokens, in order.
        tokens: Vec<TokenHash>,
    }
    /// An object was left, and its token is spent.
    6 Deposited {
        /// The token, with the hash of the object.
        spent: Spent,
        /// The object.
        object: HeldObject,
    }
    /// Objects were read, or are to count as unread.
    7 Marked {
        /// The box.
        mailbox: Fingerprint,
        /// The objects.
        objects: Vec<ObjectId>,
        /// Whether they were read.
        read: bool,
    }
    /// Objects were deleted by their owner.
    8 Deleted {
        /// The box.
        mailbox: Fingerprint,
        /// The objects.
        objects: Vec<ObjectId>,
    }
    /// A day began, and what ends with it is given up. A day long before the last one says that the last was a mistake
    /// of the clock.
    9 DayBegan {
        /// The day.
        day: Epoch,
    }
    /// The carrier's owner gave up a box with everything in it.
    10 MailboxRemoved {
        /// The box.
        mailbox: Fingerprint,
    }
    /// The carrier's owner switched it on or off.
    11 Served {
        /// Whether it serves.
        on: bool,
    }
    /// A page was put there, or took the place of another.
    12 PagePut {
        /// The box.
        mailbox: Fingerprint,
        /// The page.
        page: HeldPage,
    }
    /// The carrier's owner set these limits. Objects that are stored or promised already stay.
    13 LimitsSet {
        /// The limits.
        limits: CarrierLimits,
    }
    /// The owner of a box chose for how many days it holds objects from now on; no longer than its terms say.
    14 HoldSet {
        /// The box.
        mailbox: Fingerprint,
        /// For how many days.
        days: u32,
    }
    /// The carrier's owner chose for how long an identification counts from now on.
    15 IdentificationSet {
        /// For how long.
        policy: Policy,
    }
    /// A checkpoint begins: everything before it no longer counts, and the records after it lead to the same state.
    64 CheckpointBegun {
        /// The day that was last begun.
        day: Epoch,
    }
    /// A box as it is, without its tokens and objects. Checkpoints only, like the records after it.
    65 MailboxKept {
        /// The box.
        mailbox: Fingerprint,
        /// Its owner's certificate.
        certificate: Arc<[u8]>,
        /// What it may take.
        terms: Terms,
    }
    /// Tokens of one epoch and class as they are.
    66 TokensKept {
        /// The box.
        mailbox: Fingerprint,
        /// The epoch.
        epoch: Epoch,
        /// The class.
        class: u8,
        /// The hashes of the tokens, in order.
        tokens: Vec<TokenHash>,
        /// Those of them that are spent.
        spent: Vec<Spent>,
        /// Those of them that belong to another set.
        foreign: Vec<TokenHash>,
    }
    /// Objects as they are.
    67 ObjectsKept {
        /// The box.
        mailbox: Fingerprint,
        /// The objects.
        objects: Vec<HeldObject>,
    }
    /// Pages as they are.
    68 PagesKept {
        /// The box.
        mailbox: Fingerprint,
        /// The pages, and for which object the token of each was used.
        pages: Vec<(HeldPage, Option<[u8; 32]>)>,
    }
}

impl HeldRecord {
    /// Reads a record; `None` if it is unknown and may be ignored.
    ///
    /// # Errors
    /// [`RecordError`]: the log must not be used further.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, RecordError> {
        decode(bytes, Self::from_payload)
    }
}
