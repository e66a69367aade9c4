//! The profile: an identity's address and keys, with the secrets behind them.
//!
//! It is the first record of a log. Its name and its encryption subkey change later; nothing else does. The secrets are wiped when the last copy goes.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::base::ids::Fingerprint;
use crate::base::{Onion, OnionSeed, Timestamp};
use crate::mail::{Address, Binding};

/// Secret OpenPGP key material as bytes, wiped when dropped, never displayed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    /// Takes over the bytes.
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes, for the primitive that uses them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes([redacted])")
    }
}

/// What others may know of an identity.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicProfile {
    /// What its owner calls it on the command line.
    pub name: String,
    /// Its address.
    pub address: Address,
    /// Its primary key.
    pub fingerprint: Fingerprint,
    /// Its certificate.
    pub certificate: Arc<[u8]>,
    /// Ties the onion to the certificate.
    pub binding: Binding,
    /// When it was made.
    pub created: Timestamp,
}

impl PublicProfile {
    /// The onion of its address.
    pub const fn onion(&self) -> Onion {
        self.address.onion()
    }
}

impl fmt::Debug for PublicProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicProfile").finish_non_exhaustive()
    }
}

/// Everything that makes an identity. Only the driver that holds the keys looks at the secret part.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// What others may know.
    pub public: Arc<PublicProfile>,
    /// The key of its onion service.
    pub onion_seed: OnionSeed,
    /// Its OpenPGP secret keys.
    pub secret_keys: SecretBytes,
    /// The revocation of its certificate, made with it and kept sealed.
    pub certificate_revocation: Vec<u8>,
    /// The revocation of its onion, made with it and kept sealed.
    pub onion_revocation: Vec<u8>,
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profile").finish_non_exhaustive()
    }
}

/// The state has no profile: it is not one of an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the log has no identity in it")]
pub struct NoProfile;
