//! Mail as values: addresses, contents and their kinds, invitations, MIME in and out.
//!
//! Everything here is pure. Input of a peer or a mail program is read with bounds and without panics; a message that
//! cannot be read is an error or an opaque attachment, never lost.

mod address_list;
pub mod base91;
pub mod budget;
pub mod card;
mod charset;
pub mod compose;
pub mod content;
pub mod date;
pub mod dsn;
pub mod headers;
pub mod introduction;
pub mod invitation;
pub mod mail_json;
mod mime;
pub mod names;
pub mod notice;
pub mod outgoing;
pub mod page;
mod params;
pub mod proof;
pub mod readable;
pub mod revocation;
pub mod strict;
pub mod structure;
mod transfer;
pub mod verification;

pub use crate::base::address::{self, Address, AddressError, LocalPart};
pub use card::{Binding, Card, CardBox};
pub use content::{Content, ContentError, ContentKind, Receipt};
pub use invitation::{Invitation, InvitationError};
pub use revocation::Revocation;
pub use verification::VerificationNumber;

/// Bytes as base64 text in JSON.
pub(crate) mod base64_bytes {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&data_encoding::BASE64.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        data_encoding::BASE64.decode(text.as_bytes()).map_err(serde::de::Error::custom)
    }
}

/// Optional bytes as base64 text in JSON.
pub(crate) mod base64_option {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => serializer.serialize_str(&data_encoding::BASE64.encode(bytes)),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| data_encoding::BASE64.decode(text.as_bytes()).map_err(serde::de::Error::custom)).transpose()
    }
}

/// A key of 32 bytes as base64 text in JSON.
macro_rules! key_as_text {
    ($module:ident, $key:ident) => {
        pub(crate) mod $module {
            use crate::base::$key;
            use serde::{Deserializer, Serializer, de::Error};

            pub(crate) fn serialize<S: Serializer>(key: &$key, serializer: S) -> Result<S::Ok, S::Error> {
                super::base64_bytes::serialize(key.expose(), serializer)
            }

            pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<$key, D::Error> {
                let bytes = super::base64_bytes::deserialize(deserializer)?;
                bytes.try_into().map($key::from_bytes).map_err(|_| D::Error::custom("expected 32 bytes"))
            }
        }
    };
}
key_as_text!(mac_key, MacKey);
key_as_text!(token_seed, TokenSeed);

/// An optional value as the text of its `Display`.
pub(crate) mod text_option {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<T: Display, S: Serializer>(name: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
        match name {
            Some(name) => serializer.collect_str(name),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, T: FromStr, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse().map_err(|_| D::Error::custom("not a name of this kind"))).transpose()
    }
}

/// A value as the text of its `Display`.
pub(crate) mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<T: Display, S: Serializer>(name: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(name)
    }

    pub(crate) fn deserialize<'de, T: FromStr, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(|_| D::Error::custom("not a name of this kind"))
    }
}
