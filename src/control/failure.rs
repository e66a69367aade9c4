//! Failures that a person or a script sees: a stable code, a sentence, what to do next.

use serde::{Deserialize, Serialize};

/// The stable code of a failure, and with it the exit status of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// Anything that has no code of its own: exit 1.
    Failed,
    /// Wrong arguments: exit 2.
    Usage,
    /// No daemon runs in this data directory: exit 3.
    DaemonDown,
    /// No such identity, contact, folder, message: exit 4.
    NotFound,
    /// A passphrase is needed, or it is wrong: exit 5.
    NeedsUnlock,
    /// Tor or a peer cannot be reached: exit 6.
    Unreachable,
    /// Stored data is damaged, and was left as it is: exit 7.
    Damaged,
    /// Another daemon runs, or a limit is reached for now: exit 75.
    Busy,
}

impl Code {
    /// The exit status.
    pub const fn exit_status(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::DaemonDown => 3,
            Self::NotFound => 4,
            Self::NeedsUnlock => 5,
            Self::Unreachable => 6,
            Self::Damaged => 7,
            Self::Busy => 75,
        }
    }
}

/// A failure, for people and for scripts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The kind of failure.
    pub code: Code,
    /// What went wrong, in a sentence.
    pub message: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Whether the same request may succeed later.
    pub retryable: bool,
}

impl Failure {
    /// A failure of this kind; busy and unreachable may be tried again.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: None,
            retryable: matches!(code, Code::Busy | Code::Unreachable | Code::DaemonDown),
        }
    }

    /// The same failure, with a hint what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same failure, marked as one that may pass.
    #[must_use]
    pub const fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }
}
