//! One newtype per kind of id, so that one cannot be given where another is meant.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

use super::rng::Rng;

/// Why a text is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an identifier: expected {expected} hexadecimal digits")]
pub struct IdError {
    expected: usize,
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name([u8; 16]);

        impl $name {
            /// A fresh random id (128 bits).
            pub fn random(rng: &mut dyn Rng) -> Self {
                Self(rng.array())
            }

            /// The id with these bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 16 bytes of the id.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let bytes = data_encoding::HEXLOWER_PERMISSIVE
                    .decode(text.as_bytes())
                    .map_err(|_| IdError { expected: 32 })?;
                bytes.try_into().map(Self).map_err(|_| IdError { expected: 32 })
            }
        }
    };
}

random_id! {
    /// One persona of a node. Names its folder on disk; never sent to anyone.
    IdentityId
}
random_id! {
    /// One address-book entry of an identity.
    ContactId
}
random_id! {
    /// One invitation that an identity made.
    InvitationId
}
random_id! {
    /// One folder of an identity's mailbox; its name is sealed elsewhere.
    FolderId
}
random_id! {
    /// One stored body. COPY and MOVE share it (docs/on-disk.md, "Bodies").
    BodyId
}
random_id! {
    /// The signed random id that every content carries (docs/protocol.md, "Content").
    ContentId
}
random_id! {
    /// One submitted message in the queue.
    QueueId
}
random_id! {
    /// One box that an identity rents at a carrier.
    BoxId
}
random_id! {
    /// One encryption key of an identity: the first half of the fingerprint of its subkey.
    SealKeyId
}
random_id! {
    /// One object in a box of a carrier (docs/protocol.md, "Mailbox").
    ObjectId
}

macro_rules! counter_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);
    };
}

counter_id! {
    /// Pairs an effect of the engine with its completion. Never reused within a run.
    OpId
}
counter_id! {
    /// One connection between two nodes. Never reused within a run.
    SessionId
}

/// An OpenPGP v6 fingerprint of a primary key (RFC 9580 §5.5.4.3): 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    /// 64 upper-case hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint([redacted])")
    }
}

impl FromStr for Fingerprint {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| IdError { expected: 64 })?;
        bytes.try_into().map(Self).map_err(|_| IdError { expected: 64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips() {
        let id = BodyId::from_bytes([7; 16]);
        assert_eq!(id.to_string().parse::<BodyId>(), Ok(id));
        assert!("07".parse::<BodyId>().is_err());
        let fingerprint = Fingerprint::from_bytes([0xAB; 32]);
        assert_eq!(fingerprint.to_string().parse::<Fingerprint>(), Ok(fingerprint));
    }
}
