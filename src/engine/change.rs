//! A request as it goes to the log: the records of one transaction, and what is answered once they are committed.

use crate::base::QueueId;

use super::effect::{Durability, NewBody};
use super::record::Record;
use super::request::{RequestError, Response};

/// The answer to a request, once its transaction is committed.
pub(super) enum Answer {
    /// This, where every record took effect; otherwise the error.
    All(Response, RequestError),
    /// This, where the first record took effect; otherwise the error.
    First(Response, RequestError),
    /// This, whatever was still there.
    Always(Response),
    /// The UIDs that the first record changed.
    Changed,
    /// The pairs that the first record transferred, with this UIDVALIDITY.
    Transferred(u32),
    /// This error: a part of what was asked for could be done and was, the rest could not.
    Partly(RequestError),
}

/// A request as it goes to the log.
pub(super) struct Change {
    pub(super) records: Vec<Record>,
    pub(super) bodies: Vec<NewBody>,
    pub(super) durability: Durability,
    pub(super) answer: Answer,
    /// Messages that it takes back: until it is answered they are not sent.
    pub(super) recalled: Vec<QueueId>,
}

impl Change {
    pub(super) const fn new(records: Vec<Record>, answer: Answer) -> Self {
        Self { records, bodies: Vec::new(), durability: Durability::Synced, answer, recalled: Vec::new() }
    }

    pub(super) const fn done(records: Vec<Record>, otherwise: RequestError) -> Self {
        Self::new(records, Answer::All(Response::Done, otherwise))
    }
}

pub(super) type Outcome = Result<Change, RequestError>;
