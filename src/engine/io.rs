//! What goes into an identity's machine and what comes out: inputs, effects, completions.
//!
//! An effect with an [`OpId`] is answered by exactly one completion with the same id. The driver holds no
//! policy: it does what an effect says and reports what happened.

use std::sync::Arc;
use std::time::Duration;

use crate::base::ids::Fingerprint;
use crate::base::{BodyId, ClockStep, ContactId, Onion, OpId, SealKeyId, SessionId};

use crate::engine::api::{Request, RequestError, RequestId, Response};
pub use crate::engine::commit::{CommitError, Durability, NewBody, SharedEnd};
use crate::engine::state::mailbox::ModSeq;
use crate::engine::state::profile::SecretBytes;
use crate::engine::state::record::Record;
use crate::engine::state::{AttemptError, Snapshot};
use crate::mail::{Binding, Revocation};

/// The first number of a session that the engine dials; below it are those that the driver accepts.
pub const DIALLED_SESSIONS: u64 = 1 << 63;

/// Records that are committed together or not at all.
#[derive(Clone)]
pub struct Transaction {
    /// The records in order; each gets a log number of its own, one after the other. The machine shares them, and
    /// applies them when the commit is reported.
    pub records: Arc<[Record]>,
    /// The bodies that they bring.
    pub bodies: Vec<NewBody>,
}

/// A transaction that is being put together.
#[derive(Default)]
pub(in crate::engine) struct Draft {
    pub(in crate::engine) records: Vec<Record>,
    pub(in crate::engine) bodies: Vec<NewBody>,
}

impl From<Draft> for Transaction {
    fn from(Draft { records, bodies }: Draft) -> Self {
        Self { records: records.into(), bodies }
    }
}

impl From<Record> for Draft {
    fn from(record: Record) -> Self {
        Self { records: vec![record], bodies: Vec::new() }
    }
}

impl From<Vec<Record>> for Draft {
    fn from(records: Vec<Record>) -> Self {
        Self { records, bodies: Vec::new() }
    }
}

/// A content that was opened. No part of it may be shown before its author is verified.
#[derive(Clone)]
pub struct Opened {
    /// The signed bytes (docs/protocol.md, "Content").
    pub content: Vec<u8>,
    /// The author's signature over them, as an OpenPGP signature packet.
    pub signature: Vec<u8>,
    /// The primary key that the signature names.
    pub issuer: Fingerprint,
    /// Whether the signature was verified with a certificate from the book.
    pub verified: bool,
}

/// Why an object or a card was refused. The peer is never told (docs/protocol.md, "Unrevealing answers").
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is not for us, not of the profile, damaged, or its signature is wrong.
    #[error("the object was refused")]
    Permanent,
    /// It is dated in the future by our clock.
    #[error("the object is from the future")]
    Date,
    /// It could not be looked at now.
    #[error("the object could not be examined now")]
    Temporary,
}

/// Why a peer could not be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// No node answers at that onion now.
    #[error("the peer's onion service does not answer")]
    Unreachable,
    /// Our own connection to the network is not up.
    #[error("not connected to the network yet")]
    Offline,
}

impl From<DialError> for AttemptError {
    fn from(error: DialError) -> Self {
        match error {
            DialError::Unreachable => Self::Unreachable,
            DialError::Offline => Self::Offline,
        }
    }
}

/// The inputs of an identity.
pub enum Input {
    /// A gateway or the control socket asks for something.
    Request(RequestId, Request),
    /// A peer connected to our onion.
    Accepted(SessionId),
    /// The answer to [`Effect::Dial`].
    Dialled(SessionId, Result<(), DialError>),
    /// Bytes from a peer.
    Received(SessionId, Vec<u8>),
    /// A session ended, by the peer or by a failure. Not sent after [`Effect::Close`].
    Closed(SessionId),
    /// Completion of [`Effect::Commit`]: the log number of the first record.
    Committed(OpId, Result<ModSeq, CommitError>),
    /// Completion of [`Effect::Open`].
    Opened(OpId, Result<Opened, Refusal>),
    /// Completion of [`Effect::VerifyCard`]: whether everything holds.
    CardVerified(OpId, bool),
    /// Completion of [`Effect::CheckCertificate`]: whether it may be used for this contact.
    CertificateChecked(OpId, bool),
    /// Completion of [`Effect::Seal`] and [`Effect::SealBody`].
    Sealed(OpId, Result<Vec<u8>, Refusal>),
    /// Completion of [`Effect::MakeSealKey`]: the new key, and the certificate with it in the place of the one before.
    SealKeyMade(OpId, Result<(SealKeyId, Arc<[u8]>), Refusal>),
    /// Completion of [`Effect::DestroySealKeys`]: the keys whose secret halves are held now; `None` if the disk failed.
    SealKeysHeld(OpId, Option<Vec<SealKeyId>>),
    /// Completion of [`Effect::ReadBody`]; `None` if the body cannot be read.
    BodyRead(OpId, Option<Vec<u8>>),
    /// Completion of [`Effect::ForBox`].
    BoxWorked(OpId, Result<Vec<u8>, Refusal>),
    /// The clock was set, or the machine slept: the time jumped by at least
    /// [`CLOCK_STEP`](crate::base::limits::CLOCK_STEP).
    ClockSet(ClockStep),
    /// The network is back, after it was gone for this long.
    NetworkBack(Duration),
    /// Peers reach our onion, and did not before.
    Reachable,
    /// Whether the disk has so little space that new mail is refused.
    DiskLow(bool),
}

/// The effects that an identity asks its driver for.
pub enum Effect {
    /// Append to the log; completes with [`Input::Committed`], in the order of the effects.
    Commit(OpId, Transaction, Durability),
    /// Decrypt and check an object with this identity's keys; completes with [`Input::Opened`].
    Open(OpId, Vec<u8>),
    /// Check a card from an author who is not known yet, or who renews a certificate, or a grant that somebody else handed
    /// on: the certificate has our profile and this fingerprint, the signature over the content is its, both signatures of
    /// the binding hold for the onion. Completes with [`Input::CardVerified`].
    VerifyCard(OpId, Box<Authorship>),
    /// Check a certificate that a peer showed: it has our profile and this primary key. Completes with
    /// [`Input::CertificateChecked`].
    CheckCertificate(OpId, Arc<[u8]>, Fingerprint),
    /// Sign and seal these content bytes to this certificate; completes with [`Input::Sealed`].
    Seal(OpId, Vec<u8>, Arc<[u8]>, Sizes),
    /// The same for a content whose payload is a stored body: the signed bytes are header ‖ body.
    SealBody(OpId, String, BodyId, Arc<[u8]>, Sizes),
    /// Use the keys of a box; completes with [`Input::BoxWorked`].
    ForBox(OpId, SecretBytes, BoxWork),
    /// Make a new encryption key and keep its secret half, durably: from then on it opens objects, beside the others.
    /// Completes with [`Input::SealKeyMade`].
    MakeSealKey(OpId),
    /// Destroy the secret halves of these encryption keys, durably: nothing opens what was sealed to them any more.
    /// Completes with [`Input::SealKeysHeld`].
    DestroySealKeys(OpId, Vec<SealKeyId>),
    /// Read a committed body; completes with [`Input::BodyRead`].
    ReadBody(OpId, BodyId),
    /// Nothing refers to these bodies any more: they may be given up.
    Forget(Vec<BodyId>),
    /// Connect to a peer, on circuits used for this contact only, or on circuits of the session's own if there is no
    /// contact; completes with [`Input::Dialled`]. The engine numbers these sessions from [`DIALLED_SESSIONS`] up, the
    /// driver numbers those that it accepts from 0 up.
    Dial(SessionId, Onion, Option<ContactId>),
    /// Send bytes on a session.
    Transmit(SessionId, Vec<u8>),
    /// End a session once the bytes that were transmitted are sent.
    Close(SessionId),
    /// Answer a request.
    Respond(RequestId, Result<Response, RequestError>),
    /// Publish this copy of the state for readers.
    Publish(Snapshot),
}

/// Which sizes a sealed object may have (docs/protocol.md, "Sizes").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sizes {
    /// Any of them.
    All,
    /// Those for which there are tokens.
    Box,
}

/// The work that is done with the keys of a box.
pub enum BoxWork {
    /// Open the challenge of a carrier: this certificate has this primary key and signed it. Gives the content.
    OpenChallenge(Vec<u8>, Arc<[u8]>, Fingerprint),
    /// Sign and seal these content bytes to this certificate.
    Seal(Vec<u8>, Arc<[u8]>),
    /// Sign this text.
    Sign(String),
}

/// What somebody says of themselves in a card or a grant, and the signatures, for [`Effect::VerifyCard`].
pub struct Authorship {
    /// The onion of their address.
    pub onion: Onion,
    /// Their certificate.
    pub certificate: Vec<u8>,
    /// Binds the onion to the certificate.
    pub binding: Binding,
    /// The primary key that they must have.
    pub fingerprint: Fingerprint,
    /// The signed bytes.
    pub content: Vec<u8>,
    /// The signature over them, as an OpenPGP signature packet.
    pub signature: Vec<u8>,
    /// The primary key for which they signed; our own if `None`.
    pub recipient: Option<Fingerprint>,
    /// What they revoke, which has to be true as well.
    pub revocation: Option<Box<Revocation>>,
}
