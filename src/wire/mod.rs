//! RUNE/1 as bytes: text lines and counted blocks on one side, typed commands and replies on the other
//! (docs/protocol.md, "Lines and blocks").
//!
//! [`Decoder`] takes bytes as they arrive and yields lines and blocks; every line and block is bounded before
//! anything is allocated for it, and a block is read only after the session said how large it may be. What a
//! line says is read by [`Command::decode`] and [`ServerLine::decode`]. An error of the decoder ends the
//! session, since nobody can know where the next line begins; an error of a command is answered, and the
//! session goes on.

pub mod auth;
pub mod command;
pub mod decoder;
pub mod mailbox;
pub mod reply;
pub mod status;
pub mod token;
pub mod word;

pub use auth::{Claim, Mac, authenticator, digest, verify};
pub use command::{Command, CommandError, Importance, Keyword, Message, Send, Tagged};
pub use decoder::{Decoder, Item, Side, WireError};
pub use reply::{CertificateRef, Greeting, Ready, Reply, ServerLine};
pub use status::{Code, Disposition, Status};
pub use word::{PipelineId, Word, number};

/// The version that we speak.
pub const VERSION: &str = "RUNE/1";
