//! Certificates, sealing, opening and the gates: OpenPGP (RFC 9580) behind types of ours.
//!
//! One profile and nothing else. What follows is all that another OpenPGP library needs to make and read our objects
//! (docs/protocol.md, "The seal").
//!
//! # Certificates
//!
//! Binary, at most 256 KiB and 64 packets, new-format headers with whole lengths. In order:
//!
//! | packet | contents |
//! |---|---|
//! | Public-Key (6) | version 6, algorithm 27 (Ed25519) |
//! | Signature (2) | version 6, type 0x1F (direct key), by the primary key, Features with bit 0x08 (SEIPDv2) |
//! | Public-Subkey (14) | version 6, algorithm 35 (ML-KEM-768+X25519); one or more |
//! | Signature (2) | version 6, type 0x18 (subkey binding), Key Flags with 0x04 or 0x08 (encryption) |
//!
//! User ids (13) may be there and mean nothing. Self-signatures use SHA-512 (10) or SHA-256 (8). A revoked primary key,
//! a subkey of another algorithm, or none that is usable: refused. Of several valid subkeys the most recent is sealed
//! to. Ours are dated into the month before they are made, at a random second of its first 26 days.
//!
//! # Objects
//!
//! An object is exactly 4, 16, 64 or 256 KiB long, or a whole number of MiB up to 27, and consists of two packets with
//! new-format headers and whole lengths: no partial lengths, no armor, nothing before, between or after.
//!
//! | octets | Public-Key Encrypted Session Key (packet type 1), body of 1164 octets |
//! |---|---|
//! | 1 | version 6 |
//! | 1 | 0: no recipient is named |
//! | 1 | algorithm 35 (ML-KEM-768+X25519) |
//! | 32 | X25519 share |
//! | 1088 | ML-KEM-768 ciphertext |
//! | 1 | 40 |
//! | 40 | the 32-octet session key, wrapped |
//!
//! | octets | Symmetrically Encrypted and Integrity Protected Data (packet type 18) |
//! |---|---|
//! | 1 | version 2 |
//! | 1 | cipher 9 (AES-256) |
//! | 1 | mode 2 (OCB) |
//! | 1 | chunk size 6: chunks of 4096 octets |
//! | 32 | salt |
//! | – | the chunks, each with its tag of 16 octets, then the final tag |
//!
//! We write the second header with a five-octet length; any whole length is read. A library that streams writes
//! partial lengths: join them before sending. The plaintext is these packets, again with whole lengths (we write
//! five-octet ones):
//!
//! | packet | contents |
//! |---|---|
//! | One-Pass Signature (4) | version 6; type, hash, algorithm, salt and fingerprint of the signature; last octet 1 |
//! | Literal Data (11) | format `b`, no file name, date 0, then the content |
//! | Signature (2) | see below |
//! | Padding (21) | random octets, so that the object has its size; may be absent where nothing is missing |
//!
//! # Signatures
//!
//! Version 6, type 0x00 (binary), algorithm 27 (Ed25519), hash 8 (SHA-256; 10, SHA-512, is read too), by the primary
//! key, at most 1 KiB. Hashed subpackets, each once, in any order, and no others: Signature Creation Time (2, floored
//! to the day), Issuer Fingerprint (33, version 6), Intended Recipient Fingerprint (35, version 6: the recipient's
//! primary key). No unhashed subpackets. The date lies between the creation of the key and 48 hours from now.
//!
//! Statements (bindings, revocations of an onion) are signed the same way, without Intended Recipient and
//! dated like the key, so that neither can be taken for the other.
//!
//! # Failures
//!
//! Errors are typed and name the broken rule for us; their class is all that a peer may notice. Nothing here logs.

mod binding;
mod bucket;
mod certificate;
pub mod gate;
mod open;
mod opener;
mod packet;
mod seal;
mod seal_key;
mod secret;
mod seipd;
mod signature;

pub use binding::{
    Claim, fingerprint_of, sign_binding, verify_binding, verify_claim, verify_key_revocation, verify_onion_revocation,
    verify_revocation, verify_statement,
};
pub use certificate::{Certificate, CertificateError};
pub use open::{OpenError, OpenedObject, open, verify_detached};
pub use packet::HeaderFault;
pub use seal::{SealError, seal, seal_for_box};
pub use seal_key::{SEAL_KEY_BYTES, SealKey};
pub use secret::{Generated, SecretKeys, SecretKeysError, generate};
pub use signature::SignatureFault;

/// Whether trying again with the same input can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Trying again never helps.
    Permanent,
    /// Trying again never helps, unless our clock is wrong.
    Date,
    /// Trying again may help.
    Temporary,
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod interop;
#[cfg(test)]
mod round_trip;
#[cfg(test)]
mod testing;
