//! Key material: one type per purpose, wiped when dropped, never displayed.

use serde::{Deserialize, Serialize};
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::rng::Rng;

macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
        pub struct $name([u8; 32]);

        impl $name {
            /// A fresh random key.
            pub fn random(rng: &mut dyn Rng) -> Self {
                Self(rng.array())
            }

            /// The key with these bytes.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The bytes, for the primitive that uses them.
            pub const fn expose(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.ct_eq(&other.0).into()
            }
        }

        impl Eq for $name {}

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "([redacted])"))
            }
        }
    };
}

secret! {
    /// An AES-256-GCM key of the storage layer.
    SymmetricKey
}
secret! {
    /// The ed25519 seed of an onion service.
    OnionSeed
}
secret! {
    /// The seed from which the tokens of one contact for one box are made (docs/protocol.md, "Tokens").
    TokenSeed
}
secret! {
    /// An HMAC-SHA-256 key with which one contact authenticates a SEND (docs/protocol.md, "Authenticator").
    MacKey
}
