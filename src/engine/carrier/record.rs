//! The records of a carrier's log (docs/on-disk.md, "What a carrier holds").

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::ids::Fingerprint;
use crate::base::{BodyId, ObjectId, Timestamp, limits};
use crate::engine::encoding::{RecordError, decode, records};
use crate::engine::state::profile::Profile;
use crate::wire::mailbox::Policy;
use crate::wire::token::{Epoch, TokenHash};

/// What a mailbox may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// What is stored and what outstanding tokens admit, together, in bytes.
    pub quota: u64,
    /// For how many days an object is held.
    pub hold_days: u32,
}

/// What the owner of a carrier allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarrierLimits {
    /// What all mailboxes store and what their outstanding tokens admit, together, in bytes.
    pub space: u64,
    /// What a mailbox may take where its invitation does not say.
    pub usual: Terms,
    /// Whether anybody may register without an invitation, on those terms.
    pub free: bool,
}

impl Default for CarrierLimits {
    /// What holds where the log says nothing: a bound for each mailbox, and none for all together.
    fn default() -> Self {
        let usual = Terms { quota: limits::MAILBOX_QUOTA, hold_days: limits::HOLD_DAYS };
        Self { space: u64::MAX, usual, free: false }
    }
}

/// An invitation to the box. Of its token only the SHA-256 is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoxInvitation {
    /// What its token is known by.
    pub token: [u8; 32],
    /// What the mailbox that it makes may take.
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

/// A page: fetched, and answered once, by whoever has its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldPage {
    /// What its token is known by.
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
    /// What the token is known by.
    pub token: TokenHash,
    /// The object.
    pub hash: [u8; 32],
}

records! {
    /// One change. Whether it takes effect is decided when it is applied ([`Held::apply`](super::held::Held::apply)).
    HeldRecord
    /// The carrier was made. The first record of every such log.
    1 CarrierCreated {
        /// Who it is.
        profile: Box<Profile>,
    }
    /// An invitation was made.
    2 InvitationMade {
        /// The invitation.
        invitation: BoxInvitation,
    }
    /// An invitation was withdrawn.
    3 InvitationRevoked {
        /// What its token is known by.
        token: [u8; 32],
    }
    /// Somebody registered: the mailbox is there, and the invitation is used up.
    4 Registered {
        /// The mailbox.
        mailbox: Fingerprint,
        /// Its owner's certificate.
        certificate: Arc<[u8]>,
        /// The invitation; `None` where anybody may register, on these terms.
        invitation: Option<[u8; 32]>,
        /// What it may take, where it came without an invitation.
        terms: Terms,
    }
    /// Tokens of one epoch and class were uploaded.
    5 TokensUploaded {
        /// The mailbox.
        mailbox: Fingerprint,
        /// The epoch.
        epoch: Epoch,
        /// The class.
        class: u8,
        /// What they are known by, in order.
        tokens: Vec<TokenHash>,
    }
    /// An object was left, and its token is spent.
    6 Deposited {
        /// The token, and which object.
        spent: Spent,
        /// The object.
        object: HeldObject,
    }
    /// Objects were read, or are to count as unread.
    7 Marked {
        /// The mailbox.
        mailbox: Fingerprint,
        /// Which.
        objects: Vec<ObjectId>,
        /// Whether they were read.
        read: bool,
    }
    /// Objects were deleted by their owner.
    8 Deleted {
        /// The mailbox.
        mailbox: Fingerprint,
        /// Which.
        objects: Vec<ObjectId>,
    }
    /// A day began: what it ends is given up. One long before the last one: that was a mistake of the clock.
    9 DayBegan {
        /// Which.
        day: Epoch,
    }
    /// A mailbox and everything in it was given up by the carrier's owner.
    10 MailboxRemoved {
        /// Which.
        mailbox: Fingerprint,
    }
    /// Its owner switched it on or off.
    11 Served {
        /// Whether it serves.
        on: bool,
    }
    /// A page was put there, or took the place of another.
    12 PagePut {
        /// The mailbox.
        mailbox: Fingerprint,
        /// The page.
        page: HeldPage,
    }
    /// Its owner allows this from now on. What is stored or promised already stays.
    13 LimitsSet {
        /// What.
        limits: CarrierLimits,
    }
    /// For how many days a mailbox holds what comes from now on, says its owner; no longer than its terms say.
    14 HoldSet {
        /// The mailbox.
        mailbox: Fingerprint,
        /// For how many days.
        days: u32,
    }
    /// For how long an identification counts from now on, says the carrier's owner.
    15 IdentificationSet {
        /// For how long.
        policy: Policy,
    }
    /// A checkpoint begins: everything before it counts no more, and the records after it lead to the same state.
    64 CheckpointBegun {
        /// The day that was last begun.
        day: Epoch,
    }
    /// A mailbox as it is, without its tokens and objects. Checkpoints only, like the records after it.
    65 MailboxKept {
        /// Which.
        mailbox: Fingerprint,
        /// Its owner's certificate.
        certificate: Arc<[u8]>,
        /// What it may take.
        terms: Terms,
    }
    /// Tokens of one epoch and class as they are.
    66 TokensKept {
        /// The mailbox.
        mailbox: Fingerprint,
        /// The epoch.
        epoch: Epoch,
        /// The class.
        class: u8,
        /// What they are known by, in order.
        tokens: Vec<TokenHash>,
        /// Those of them that are spent.
        spent: Vec<Spent>,
        /// Those of them that belong to another set.
        foreign: Vec<TokenHash>,
    }
    /// Objects as they are.
    67 ObjectsKept {
        /// The mailbox.
        mailbox: Fingerprint,
        /// The objects.
        objects: Vec<HeldObject>,
    }
    /// Pages as they are.
    68 PagesKept {
        /// The mailbox.
        mailbox: Fingerprint,
        /// The pages, and for which object the token of each was used.
        pages: Vec<(HeldPage, Option<[u8; 32]>)>,
    }
}

impl HeldRecord {
    /// Reads a record; `None` where it is unknown and may be ignored.
    ///
    /// # Errors
    /// [`RecordError`]: the log must not be used further.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, RecordError> {
        decode(bytes, Self::from_payload)
    }
}
