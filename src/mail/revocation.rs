//! Revocations: an identity says that its onion, its key or both are not to be used any more (docs/protocol.md,
//! "Revocation"). The statements are signed by the primary key; with the certificate and the binding beside them, everybody
//! can verify them who never heard of the identity.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use crate::base::limits::CARD_BYTES;
use crate::base::{ContentId, Onion, Timestamp};

use super::dsn::{PLAIN, head};
use super::{Address, Binding};

/// The payload of a `revocation/1` content, and of the file for anybody else: JSON. Unknown members are ignored.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// The onion of the identity.
    #[serde(with = "super::text")]
    pub onion: Onion,
    /// Its certificate (OpenPGP, binary, base64 in the JSON).
    #[serde(with = "super::base64_bytes")]
    pub certificate: Vec<u8>,
    /// Binds the onion to the certificate.
    pub binding: Binding,
    /// The primary key's signature over the text that revokes the onion; absent where the onion is not revoked.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "super::base64_option")]
    pub onion_revocation: Option<Vec<u8>>,
    /// The primary key's own revocation, an OpenPGP signature packet; absent where the key is not revoked.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "super::base64_option")]
    pub key_revocation: Option<Vec<u8>>,
}

impl fmt::Debug for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocation").finish_non_exhaustive()
    }
}

impl Revocation {
    /// Reads a payload; `None` where it does not have the form, is longer than [`CARD_BYTES`], or revokes nothing. Whether it is
    /// true is another question.
    pub fn read(payload: &[u8]) -> Option<Self> {
        let read: Self = (payload.len() <= CARD_BYTES).then(|| serde_json::from_slice(payload).ok()).flatten()?;
        (read.onion_revocation.is_some() || read.key_revocation.is_some()).then_some(read)
    }

    /// The payload: members in the order of the fields, without white space.
    pub fn payload(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// What it revokes.
    pub const fn extent(&self) -> Extent {
        Extent { onion: self.onion_revocation.is_some(), key: self.key_revocation.is_some() }
    }
}

/// What is revoked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// Whether the onion is.
    pub onion: bool,
    /// Whether the primary key is.
    pub key: bool,
}

impl Extent {
    /// What is revoked by either.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self { onion: self.onion || other.onion, key: self.key || other.key }
    }

    /// Whether this revokes nothing that the other does not.
    pub const fn is_within(self, other: Self) -> bool {
        (other.onion || !self.onion) && (other.key || !self.key)
    }

    /// In words for people: `address and key`.
    pub const fn words(self) -> &'static str {
        match (self.onion, self.key) {
            (true, true) => "address and key",
            (true, false) => "address",
            (false, _) => "key",
        }
    }
}

/// A notice in INBOX: a contact revoked its address, its key or both.
pub fn notice(own: &Address, who: (&str, &Address), extent: Extent, id: ContentId, now: Timestamp) -> Vec<u8> {
    let (petname, address) = who;
    let daemon = format!("Mail delivery <mailer-daemon@{}>", own.onion());
    let mut text = head(&daemon, own, "A contact revoked its address or key", id, now);
    let what = extent.words();
    let _ = write!(
        text,
        "Auto-Submitted: auto-generated\r\n{PLAIN}\r\n\
         This is your own node. Your contact\r\n\r\n{petname} <{address}>\r\n\r\n\
         says, signed with its key, that its {what} must not be used any more. People do so when a device or a key was lost\r\n\
         or stolen, or when they give an address up. So from now on your node sends nothing there; mail that waited for it comes\r\n\
         back to you as reports. "
    );
    text.push_str(if extent.key {
        "It takes nothing any more that this key signs, because somebody else may have it.\r\n\r\n"
    } else {
        "Mail that was on its way from them is still shown.\r\n\r\n"
    });
    let _ = write!(
        text,
        "To write to this person again, ask them in person or by telephone, and not by mail to this address, for a new\r\n\
         invitation, and add it with: runepeer contact add. Be careful with a new invitation that comes in their name by mail.\r\n\
         Their mail stays where it is. This cannot be taken back, and is remembered also where you remove the contact.\r\n"
    );
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Revocation {
        Revocation {
            onion: Onion::from_public_key([1; 32]),
            certificate: vec![1, 2],
            binding: Binding { epoch: 1, onion_signature: vec![3], key_signature: vec![4] },
            onion_revocation: Some(vec![5]),
            key_revocation: None,
        }
    }

    #[test]
    fn a_revocation_is_read_as_it_was_written_and_one_of_nothing_is_none() {
        let good = sample();
        assert_eq!(Revocation::read(&good.payload()), Some(good.clone()));
        let text = String::from_utf8(good.payload()).unwrap();
        assert!(text.starts_with(&format!("{{\"onion\":\"{}\",\"certificate\":\"AQI=\"", good.onion)), "{text}");
        assert!(!text.contains("key_revocation"), "what is not revoked is not there");
        let more = text.replacen('{', "{\"later\":1,", 1);
        assert_eq!(Revocation::read(more.as_bytes()), Some(good.clone()));
        for bad in [
            Revocation { onion_revocation: None, ..good.clone() }.payload(),
            text.replacen("epoch", "epoc", 1).into_bytes(),
            text.replacen(".onion", ".onio", 1).into_bytes(),
            [good.payload(), vec![b' '; CARD_BYTES]].concat(),
            Vec::new(),
        ] {
            assert_eq!(Revocation::read(&bad), None);
        }
    }

    #[test]
    fn what_is_revoked_only_grows() {
        let (onion, key) = (Extent { onion: true, key: false }, Extent { onion: false, key: true });
        let both = onion.and(key);
        assert_eq!((onion.words(), key.words(), both.words()), ("address", "key", "address and key"));
        assert!(onion.is_within(both) && key.is_within(both) && !both.is_within(key) && !onion.is_within(key));
        assert_eq!(both.and(onion), both);
    }
}
