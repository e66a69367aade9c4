//! The terms that an identity announces in its sessions, or obeys.

use super::limits::OBJECT_BYTES;

/// The terms on which an identity accepts mail in a session (docs/protocol.md, "Connection and greeting"), and whether it
/// dials contacts that nothing waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The text behind the greeting: printable ASCII, at most
    /// [`WELCOME_CHARACTERS`](super::limits::WELCOME_CHARACTERS).
    pub welcome: Option<String>,
    /// The largest object that is accepted in a session, in octets: at most [`OBJECT_BYTES`].
    pub maximum: usize,
    /// Whether contacts are shown that the identity can be reached again (docs/protocol.md, "Knock").
    pub knocks: bool,
}

impl Default for Terms {
    fn default() -> Self {
        Self { welcome: None, maximum: OBJECT_BYTES, knocks: true }
    }
}
