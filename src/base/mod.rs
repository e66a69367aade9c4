//! The ground floor: names, time, randomness, limits and redaction.
//!
//! It imports nothing of ours, does no IO, and reads no clock and no randomness of its own: time and randomness are
//! arguments everywhere above.

pub mod address;
pub mod ids;
pub mod limits;
pub mod meter;
pub mod onion;
pub mod redact;
pub mod rng;
pub mod scan;
pub mod secret;
pub mod terms;
pub mod time;

pub use address::{Address, AddressError, LocalPart};
pub use ids::{
    BodyId, BoxId, ContactId, ContentId, FolderId, IdentityId, InvitationId, ObjectId, OpId, QueueId, SealKeyId,
    SessionId,
};
pub use onion::Onion;
pub use redact::Sensitive;
pub use rng::Rng;
pub use secret::{MacKey, OnionSeed, SymmetricKey, TokenSeed};
pub use terms::Terms;
pub use time::{ClockStep, Timestamp};
