//! The control socket: how the command line talks to a running daemon.
//!
//! `<data>/control.sock` takes one JSON object per line and answers each with one line (`{"ok": …}` or `{"error":
//! {code, message, hint, retryable}}`); the value of `ok` has a type of [`reply`]. Only the owner of the data directory
//! can connect: the directory is 0700. Requests are bounded by [`LINE_BYTES`].

mod client;
mod failure;
pub mod reply;
mod request;
mod server;
mod socket;

pub use client::Client;
pub use failure::{Code, Failure};
pub use request::{Attachment, BoxInvite, CarrierChange, Command, ContactChange, Draft, Request};
pub use server::{Handler, Server};

/// The socket's name in the data directory.
pub const SOCKET_NAME: &str = "control.sock";

/// The longest line in both directions, in bytes: a message of 25 MiB in base64, with some room.
pub const LINE_BYTES: usize = 40 * crate::base::limits::MIB;
