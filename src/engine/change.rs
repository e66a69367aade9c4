//! A request as it goes to the log: the records of one transaction, and the answer that follows once they are
//! committed.

use crate::base::QueueId;

use crate::engine::api::{RequestError, Response};
use crate::engine::io::{Durability, NewBody};
use crate::engine::state::record::Record;

/// The answer to a request, once its transaction is committed.
pub(in crate::engine) enum Answer {
    /// This response, if every record took effect; otherwise the error.
    All(Response, RequestError),
    /// This response, if the first record took effect; otherwise the error.
    First(Response, RequestError),
    /// This response, whatever took effect.
    Always(Response),
    /// The UIDs that the first record changed.
    Changed,
    /// The pairs that the first record transferred, with this UIDVALIDITY.
    Transferred(u32),
    /// This error: a part of what was asked for could be done and was, the rest could not.
    Partly(RequestError),
}

/// A request as it goes to the log.
pub(in crate::engine) struct Change {
    pub(in crate::engine) records: Vec<Record>,
    pub(in crate::engine) bodies: Vec<NewBody>,
    pub(in crate::engine) durability: Durability,
    pub(in crate::engine) answer: Answer,
    /// Messages that it takes back: they are not sent until the request is answered.
    pub(in crate::engine) recalled: Vec<QueueId>,
}

impl Change {
    pub(in crate::engine) const fn new(records: Vec<Record>, answer: Answer) -> Self {
        Self { records, bodies: Vec::new(), durability: Durability::Synced, answer, recalled: Vec::new() }
    }

    pub(in crate::engine) const fn done(records: Vec<Record>, otherwise: RequestError) -> Self {
        Self::new(records, Answer::All(Response::Done, otherwise))
    }
}

pub(in crate::engine) type Outcome = Result<Change, RequestError>;
