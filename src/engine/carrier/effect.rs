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
    /// The records in order; each gets a log number of its own, one after the other.
    pub records: Arc<[HeldRecord]>,
    /// The bodies that they bring.
    pub bodies: Vec<NewBody>,
}

/// The requests of the owner of a carrier.
#[derive(Clone)]
pub enum CarrierRequest {
    /// Make an invitation with each of these secrets: all of them, or none.
    Invite {
        /// Their secrets.
        secrets: Vec<[u8; 16]>,
        /// What the box of each of them may take.
        terms: Terms,
        /// Until when the invitations can be used.
        expires: Timestamp,
    },
    /// Withdraw all invitations.
    RevokeInvitations,
    /// Give up a box with everything in it.
    Remove(Fingerprint),
    /// Allow this much from now on.
    Limit(CarrierLimits),
    /// Let an identification count for this long.
    Identification(Policy),
    /// Switch the carrier on or off. It keeps what it holds.
    Serve(bool),
}

/// Why a request was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CarrierRequestError {
    /// There are too many open invitations.
    #[error("there are too many open invitations; withdraw some first")]
    TooMany,
    /// There is no such box.
    #[error("there is no such mailbox here")]
    NoMailbox,
    /// Our own disk failed.
    #[error("it could not be written to the disk: {0}")]
    Disk(#[from] CommitError),
}

/// The inputs of a carrier.
pub enum CarrierInput {
    /// Its owner asks for something.
    Request(RequestId, CarrierRequest),
    /// A client connected.
    Accepted(SessionId),
    /// Bytes from a client.
    Received(SessionId, Vec<u8>),
    /// The client of a session that is behind has taken the bytes that were transmitted, or most of them.
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
    /// Completion of [`CarrierEffect::Examine`]: the bytes, if they are an object.
    Examined(OpId, Option<Vec<u8>>),
    /// Completion of [`CarrierEffect::ReadBody`]; `None` if the body cannot be read.
    BodyRead(OpId, Option<Vec<u8>>),
    /// The clock was set, or the machine slept.
    ClockSet(ClockStep),
    /// Whether the disk has so little space that nothing more is taken.
    DiskLow(bool),
}

/// The work that a carrier asks of its driver. Cryptographic work is done with the carrier's own keys.
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
    /// End a session once the bytes that were transmitted are sent.
    Close(SessionId),
    /// Answer a request.
    Respond(RequestId, Result<(), CarrierRequestError>),
    /// Publish this state of the carrier.
    Publish(CarrierStatus),
}

/// A detached signature to verify.
pub struct Detached {
    /// The text that was signed.
    pub text: String,
    /// The signature packet.
    pub signature: Vec<u8>,
    /// The certificate of the signer.
    pub certificate: Arc<[u8]>,
}

/// The state of a carrier, for its owner.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CarrierStatus {
    /// The boxes.
    pub mailboxes: Vec<MailboxStatus>,
    /// Invitations that were not used.
    pub invitations: usize,
    /// Whether the carrier is switched on.
    pub serves: bool,
    /// The limits that its owner set.
    pub limits: CarrierLimits,
    /// For how long an identification counts.
    pub policy: Policy,
}

/// The state of one box.
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
