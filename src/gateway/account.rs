//! An identity as a gateway sees it: its published state, its bodies, and a way to ask for changes.

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::watch;

use crate::base::BodyId;
use crate::engine::{Request, RequestError, Response, Snapshot};
use crate::mail::Address;

/// A boxed future that a backend returns.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A body could not be read: the disk failed, or its content does not authenticate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message could not be read from the disk; the daemon's log says more")]
pub struct ReadError;

/// One identity, as a logged-in mail program may use it.
pub trait Account: Send + Sync {
    /// The identity's own address.
    fn address(&self) -> Address;

    /// The state that is committed now, and a signal when it changes.
    fn snapshot(&self) -> watch::Receiver<Arc<Snapshot>>;

    /// A part of a body. The range is cut to the body's length.
    fn body(&self, id: BodyId, range: Range<u64>) -> Later<'_, Result<Vec<u8>, ReadError>>;

    /// The value that [`Account::cache`] stored for this body, if it is still there.
    fn cached(&self, id: BodyId) -> Option<Vec<u8>>;

    /// Stores a value that was computed from a body (envelope, structure) until it is needed again. The value may be
    /// lost.
    fn cache(&self, id: BodyId, value: Vec<u8>);

    /// Asks for a change; answered when it is committed.
    fn request(&self, request: Request) -> Later<'_, Result<Response, RequestError>>;
}

/// The accounts to which mail programs may log in.
pub trait Accounts: Send + Sync {
    /// The account of this user name (an identity's name or address) and application password; `None` without saying
    /// which of the two was wrong. Takes the same work whether or not the user exists, and whatever passwords it has.
    fn login(&self, user: &str, password: &str) -> Later<'_, Option<Arc<dyn Account>>>;
}
