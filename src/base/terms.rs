//! The terms that an identity announces in its sessions, and obeys.

use super::limits::OBJECT_BYTES;

/// The terms on which an identity accepts mail in a session (docs/protocol.md, "Connection and greeting").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The text behind the greeting: printable ASCII, at most
    /// [`WELCOME_CHARACTERS`](super::limits::WELCOME_CHARACTERS).
    pub welcome: Option<String>,
    /// The largest object that is accepted in a session, in octets: at most [`OBJECT_BYTES`].
    pub maximum: usize,
}

impl Default for Terms {
    fn default() -> Self {
        Self { welcome: None, maximum: OBJECT_BYTES }
    }
}
