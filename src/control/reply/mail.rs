//! Replies about mail programs.

use serde::{Deserialize, Serialize};

/// Settings for a mail program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailSettings {
    /// The name of the identity.
    pub name: String,
    /// Its address.
    pub address: String,
    /// The server for reading mail.
    pub imap: MailServer,
    /// The server for submitting mail.
    pub submission: MailServer,
}

/// A server on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailServer {
    /// Its address on loopback.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The name to log in with.
    pub user: String,
}

/// An application password that was just made; it is shown once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewPassword {
    /// The name to log in with.
    pub user: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewPassword").finish_non_exhaustive()
    }
}

/// The application passwords of an identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passwords {
    /// The passwords, one entry each.
    pub passwords: Vec<Password>,
}

/// An application password, without the password itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Password {
    /// The name that its owner gave it.
    pub name: String,
    /// When it was made.
    pub created_at: String,
}
