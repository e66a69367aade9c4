//! Addresses: `name@<56 characters>.onion`, with `group/` before and `+folder` after the name
//! (docs/protocol.md, "Addresses").

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

use super::onion::{Onion, OnionError};

/// The domain under which a mail program may name a contact by its petname: `alice@rune.internal`.
/// It never leaves the node.
pub const PETNAME_DOMAIN: &str = "rune.internal";

/// Why a text is not an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No `@`, or nothing on one of its sides.
    #[error("an address looks like name@<56 characters>.onion")]
    Form,
    /// The part before `@` has a wrong length or a wrong character.
    #[error("the name before @ has 3 to 50 letters, digits, dots, hyphens or underscores")]
    LocalPart,
    /// The name that somebody chooses has a dot where mail programs take none.
    #[error("mail programs take no name with a dot at its beginning or end, or with two in a row")]
    Dots,
    /// The tag after `+` has a wrong character or is too long.
    #[error("the folder after + has up to 50 letters, digits, dots, hyphens or underscores")]
    Folder,
    /// The part after `@` is not an onion name.
    #[error(transparent)]
    Onion(#[from] OnionError),
}

/// The name before `@`: 3 to 50 of `A-Z a-z 0-9 . - _`, compared without regard to case, kept in lower case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LocalPart(String);

const fn is_name_character(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_')
}

impl LocalPart {
    /// Reads a name.
    ///
    /// # Errors
    /// [`AddressError::LocalPart`] where its length or a character is not allowed.
    pub fn new(text: &str) -> Result<Self, AddressError> {
        if !(3..=50).contains(&text.len()) || !text.bytes().all(is_name_character) {
            return Err(AddressError::LocalPart);
        }
        Ok(Self(text.to_ascii_lowercase()))
    }

    /// Reads a name that somebody chooses for a new address. Mail programs take no address whose name begins or ends with a
    /// dot, or has two in a row, although the protocol allows it.
    ///
    /// # Errors
    /// [`AddressError::LocalPart`], and [`AddressError::Dots`].
    pub fn chosen(text: &str) -> Result<Self, AddressError> {
        let name = Self::new(text)?;
        if text.starts_with('.') || text.ends_with('.') || text.contains("..") {
            return Err(AddressError::Dots);
        }
        Ok(name)
    }

    /// The name, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for LocalPart {
    type Error = AddressError;
    fn try_from(text: String) -> Result<Self, AddressError> {
        Self::new(&text)
    }
}

impl From<LocalPart> for String {
    fn from(name: LocalPart) -> Self {
        name.0
    }
}

impl fmt::Display for LocalPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for LocalPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalPart([redacted])")
    }
}

/// `[group/]name[+folder]@<56 characters>.onion`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    group: Option<LocalPart>,
    local: LocalPart,
    folder: Option<String>,
    onion: Onion,
}

impl Address {
    /// The plain address of a name at an onion.
    pub const fn new(local: LocalPart, onion: Onion) -> Self {
        Self { group: None, local, folder: None, onion }
    }

    /// The name before `@`, without group and folder.
    pub const fn local(&self) -> &LocalPart {
        &self.local
    }

    /// The subnode's parent: `helpdesk` of `helpdesk/alice@…`.
    pub const fn group(&self) -> Option<&LocalPart> {
        self.group.as_ref()
    }

    /// The folder that the sender asks for: `lists` of `alice+lists@…`. Unknown and default folders mean INBOX.
    pub fn folder(&self) -> Option<&str> {
        self.folder.as_deref()
    }

    /// The onion after `@`.
    pub const fn onion(&self) -> Onion {
        self.onion
    }

    /// The address without its folder: what identifies the recipient.
    pub fn without_folder(&self) -> Self {
        Self { folder: None, ..self.clone() }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (name, domain) = text.rsplit_once('@').ok_or(AddressError::Form)?;
        let onion = domain.parse()?;
        let (group, name) = match name.split_once('/') {
            Some((group, name)) => (Some(LocalPart::new(group)?), name),
            None => (None, name),
        };
        let (name, folder) = match name.split_once('+') {
            Some((name, folder)) => (name, Some(folder)),
            None => (name, None),
        };
        let folder = match folder {
            Some(tag) if !(1..=50).contains(&tag.len()) || !tag.bytes().all(is_name_character) => {
                return Err(AddressError::Folder);
            }
            tag => tag.map(str::to_ascii_lowercase),
        };
        Ok(Self { group, local: LocalPart::new(name)?, folder, onion })
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;
    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(group) = &self.group {
            write!(f, "{group}/")?;
        }
        write!(f, "{}", self.local)?;
        if let Some(folder) = &self.folder {
            write!(f, "+{folder}")?;
        }
        write!(f, "@{}", self.onion)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Address([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONION: &str = "duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion";

    #[test]
    fn every_form_round_trips() {
        for name in ["alice", "Alice", "a-b_c.d", "helpdesk/alice", "alice+lists", "helpdesk/alice+lists"] {
            let text = format!("{name}@{ONION}");
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), text.to_ascii_lowercase());
        }
    }

    #[test]
    fn a_name_that_mail_programs_do_not_take_is_not_chosen() {
        for name in [".bob", "bob.", "b..ob", "..."] {
            assert_eq!(LocalPart::chosen(name), Err(AddressError::Dots), "{name}");
            assert!(LocalPart::new(name).is_ok(), "somebody else may have it");
        }
        assert!(LocalPart::chosen("bob.o-b_b").is_ok());
        assert_eq!(LocalPart::chosen("b.").unwrap_err(), AddressError::LocalPart);
    }

    #[test]
    fn what_is_not_an_address_is_refused() {
        for name in ["", "al", "al ice", "alice+", "/alice", "älice", "alice+../x", "a\r\nb@x"] {
            assert!(format!("{name}@{ONION}").parse::<Address>().is_err(), "{name}");
        }
        assert!("alice@example.org".parse::<Address>().is_err());
        assert!("alice".parse::<Address>().is_err());
    }
}
