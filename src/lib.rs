//! runepeer: serverless electronic mail.
//!
//! One daemon per person publishes Tor onion services, accepts RUNE sessions from peers, and keeps sealed
//! mail in an append-only log; a mail program reads and writes it over IMAP and SMTP on loopback.
//! The layers, from the ground up (imports point down only; `tests/layers/` checks it):
//! [`base`], [`wire`] and [`mail`], [`pgp`] and [`engine`], [`store`] and [`net`], [`gateway`], [`control`] and
//! [`config`], [`daemon`], [`cli`]. The map is in `docs/architecture.md`.

pub mod backup;
pub mod base;
pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
pub mod engine;
pub mod gateway;
pub mod mail;
pub mod net;
pub mod pgp;
pub mod store;
pub mod wire;
