//! What goes into a carrier's machine and what comes out, as for an identity ([`crate::engine::io`]).

use std::ops::Range;
use std::sync::Arc;

use super::record::{CarrierLimits, HeldRecord, Terms};
use crate::base::ids::Fingerprint;
use crate::base::{BodyId, ClockStep, OpId, SessionId, Timestamp};
use crate::engine::api::RequestId;
use crate::engine::io::{CommitError, NewBody, Refusal};
use crate::wire::mailbox::Policy;

/// Records of a carrier that are committed together or not at all.
#[derive(Clone, Default)]
pub struct HeldTransaction {
    /// In order; each gets a log number of its own, one after the other.
    pub records: Arc<[HeldRecord]>,
    /// The bodies that they bring.
    pub bodies: Vec<NewBody>,
}

/// What the owner of a carrier asks for.
#[derive(Clone)]
pub enum CarrierRequest {
    /// Make an invitation with each of these secrets: all of them, or none.
    Invite {
        /// Their secrets.
        secrets: Vec<[u8; 16]>,
        /// What each mailbox may take.
        terms: Terms,
        /// Until when they can be used.
        expires: Timestamp,
    },
    /// Withdraw all invitations.
    RevokeInvitations,
    /// Give up a mailbox and what is in it.
    Remove(Fingerprint),
    /// Allow this from now on.
    Limit(CarrierLimits),
    /// For how long an identification counts.
    Identification(Policy),
    /// Switch it on or off. What it holds stays.
    Serve(bool),
}

/// Why a request was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CarrierRequestError {
    /// There are too many open invitations.
    #[error("there are too many open invitations; withdraw some first")]
    TooMany,
    /// There is no such mailbox.
    #[error("there is no such mailbox here")]
    NoMailbox,
    /// Our own disk.
    #[error("it could not be written to the disk: {0}")]
    Disk(#[from] CommitError),
}

/// What happens to a carrier.
pub enum CarrierInput {
    /// Its owner asks for something.
    Request(RequestId, CarrierRequest),
    /// Somebody connected.
    Accepted(SessionId),
    /// Bytes from them.
    Received(SessionId, Vec<u8>),
    /// The peer of a session that is behind has taken what was transmitted, or most of it.
    CaughtUp(SessionId),
    /// A session ended, by the peer or by a failure. Not sent after [`CarrierEffect::Close`].
    Closed(SessionId),
    /// Completion of [`CarrierEffect::Commit`]: the log number of the first record.
    Committed(OpId, Result<u64, CommitError>),
    /// Completion of [`CarrierEffect::ReadCertificate`]: its primary key.
    CertificateRead(OpId, Result<Fingerprint, Refusal>),
    /// Completion of [`CarrierEffect::Seal`].
    Sealed(OpId, Result<Vec<u8>, Refusal>),
    /// Completion of [`CarrierEffect::Open`]: the signed bytes.
    Opened(OpId, Result<Vec<u8>, Refusal>),
    /// Completion of [`CarrierEffect::Verify`]: whether the signature holds.
    Verified(OpId, bool),
    /// Completion of [`CarrierEffect::Examine`]: whether it is an object, and that.
    Examined(OpId, Option<Vec<u8>>),
    /// Completion of [`CarrierEffect::ReadBody`]; `None` where it cannot be read.
    BodyRead(OpId, Option<Vec<u8>>),
    /// The clock was set, or the machine slept.
    ClockSet(ClockStep),
    /// Whether the disk has so little space that nothing more is taken.
    DiskLow(bool),
}

/// What the driver of a carrier shall do. Cryptographic work is done with the carrier's own keys.
pub enum CarrierEffect {
    /// Append to the log and sync; completes with [`CarrierInput::Committed`], in the order of the effects.
    Commit(OpId, HeldTransaction),
    /// Check that a certificate is of the profile; completes with [`CarrierInput::CertificateRead`].
    ReadCertificate(OpId, Arc<[u8]>),
    /// Sign and seal these content bytes to this certificate; completes with [`CarrierInput::Sealed`].
    Seal(OpId, Vec<u8>, Arc<[u8]>),
    /// Decrypt an object and verify that this certificate signed it; completes with [`CarrierInput::Opened`].
    Open(OpId, Vec<u8>, Arc<[u8]>),
    /// Verify a detached signature by the primary key of a certificate; completes with [`CarrierInput::Verified`].
    Verify(OpId, Detached),
    /// Check that this is an object (docs/protocol.md, "Objects"); completes with [`CarrierInput::Examined`].
    Examine(OpId, Vec<u8>),
    /// Read a part of a committed body; completes with [`CarrierInput::BodyRead`].
    ReadBody(OpId, BodyId, Range<u64>),
    /// Nothing refers to these bodies any more: they may be given up.
    Forget(Vec<BodyId>),
    /// Send bytes on a session.
    Transmit(SessionId, Vec<u8>),
    /// End a session after what was transmitted.
    Close(SessionId),
    /// Answer a request.
    Respond(RequestId, Result<(), CarrierRequestError>),
    /// How things stand now.
    Publish(CarrierStatus),
}

/// A detached signature to verify.
pub struct Detached {
    /// What was signed.
    pub text: String,
    /// The signature packet.
    pub signature: Vec<u8>,
    /// By whom.
    pub certificate: Arc<[u8]>,
}

/// How things stand at a carrier, for its owner.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CarrierStatus {
    /// Every mailbox.
    pub mailboxes: Vec<MailboxStatus>,
    /// Invitations that were not used.
    pub invitations: usize,
    /// Whether it is switched on.
    pub serves: bool,
    /// What its owner allows.
    pub limits: CarrierLimits,
    /// For how long an identification counts.
    pub policy: Policy,
}

/// How things stand in one mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailboxStatus {
    /// Its name.
    pub name: Fingerprint,
    /// Objects in it.
    pub objects: usize,
    /// Their bytes.
    pub stored: u64,
    /// Bytes that outstanding tokens admit.
    pub outstanding: u64,
    /// The bound of both together.
    pub quota: u64,
}
