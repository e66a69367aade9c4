//! People in a message: petnames become addresses, and a forwarded message names nobody whom its receiver does not know.

use std::collections::BTreeSet;

use crate::base::Onion;

use super::super::Address;
use super::super::address::PETNAME_DOMAIN;
use super::super::headers::{self, Entry, Field, Mailbox};
use super::OutgoingError;

/// Whether this is the identity's address, with any folder, or `name@rune.internal` of its own name.
pub fn is_own(address: &str, own: &Address) -> bool {
    if let Ok(address) = address.parse::<Address>() {
        return address.without_folder() == own.without_folder();
    }
    address.rsplit_once('@').is_some_and(|(name, domain)| {
        domain.eq_ignore_ascii_case(PETNAME_DOMAIN) && name.eq_ignore_ascii_case(own.local().as_str())
    })
}

/// The addresses in a value as they are written, `local@domain` or the name alone.
pub(super) fn named_in(value: &[u8]) -> impl Iterator<Item = String> {
    headers::address_list(value).into_iter().filter_map(|mailbox| as_written(&mailbox))
}

/// The onions of the addresses in a value.
pub(super) fn onions_in(value: &[u8]) -> impl Iterator<Item = Onion> {
    named_in(value).filter_map(|address| address.rsplit_once('@')?.1.parse().ok())
}

/// Whether a text names the domain of petnames.
pub(super) fn has_petname(text: &[u8]) -> bool {
    text.windows(PETNAME_DOMAIN.len()).any(|part| part.eq_ignore_ascii_case(PETNAME_DOMAIN.as_bytes()))
}

fn as_written(mailbox: &Mailbox) -> Option<String> {
    let Mailbox::Address { local, domain, .. } = mailbox else { return None };
    let local = String::from_utf8_lossy(local);
    Some(match domain {
        Some(domain) => format!("{local}@{}", String::from_utf8_lossy(domain)),
        None => local.into_owned(),
    })
}

/// Who is meant by the names in a message.
pub(super) struct People<'a> {
    pub(super) own: &'a Address,
    pub(super) resolve: &'a dyn Fn(&str) -> Option<Address>,
}

impl People<'_> {
    /// The field's value with addresses for petnames.
    pub(super) fn without_petnames(&self, field: &Field<'_>) -> Result<Vec<u8>, OutgoingError> {
        let mut value = field.value.to_vec();
        // From the last to the first, so that the places before stay right.
        for entry in headers::entries(field.value).into_iter().rev() {
            let Some(address) = self.address_of(&entry, field.is("from"))? else { continue };
            // A name such as "bob@rune.internal" is the mail program's copy of the address.
            let name = field.value.get(entry.whole.clone()).unwrap_or_default();
            let outside =
                [name.get(..entry.spec.start - entry.whole.start), name.get(entry.spec.end - entry.whole.start..)];
            let in_name = outside.iter().flatten().any(|text| has_petname(text));
            value.splice(if in_name { entry.whole } else { entry.spec }, address.to_string().into_bytes());
        }
        if has_petname(&value) {
            return Err(OutgoingError::PetnameInName(String::from_utf8_lossy(field.name).into_owned()));
        }
        Ok(value)
    }

    /// The address that replaces this entry, where it is a petname. One's own name is the author's; elsewhere a contact may
    /// have had it first.
    fn address_of(&self, entry: &Entry, is_author: bool) -> Result<Option<Address>, OutgoingError> {
        let Some(written) = as_written(&entry.mailbox) else { return Ok(None) };
        let is_petname = match &entry.mailbox {
            Mailbox::Address { domain: Some(domain), .. } => domain.eq_ignore_ascii_case(PETNAME_DOMAIN.as_bytes()),
            _ => return Ok((self.resolve)(&written)),
        };
        if !is_petname {
            return Ok(None);
        }
        self.of_petname(&written, is_author).map(Some).ok_or(OutgoingError::UnknownRecipient { recipient: written })
    }

    /// Whose name at `rune.internal` this is.
    pub(super) fn of_petname(&self, written: &str, is_author: bool) -> Option<Address> {
        let own = is_own(written, self.own).then(|| self.own.clone());
        if is_author && own.is_some() {
            return own;
        }
        let name = written.rsplit_once('@').map_or(written, |(name, _)| name);
        (self.resolve)(&format!("{name}@{PETNAME_DOMAIN}")).or(own)
    }

    /// The list of a field of a forwarded message, without those of whom its receiver must not learn: an address at an
    /// onion that is not in `known`, and any petname of such. An author at another onion is shown, since it is why somebody
    /// forwards.
    pub(super) fn disclosed(&self, value: &[u8], known: &BTreeSet<Onion>, is_author: bool) -> Vec<String> {
        let value = headers::unfold(value);
        let shown = |entry: Entry| {
            let replaced = self.address_of(&entry, is_author).ok()?;
            let Mailbox::Address { name, local, domain } = entry.mailbox else { return None };
            if let Some(address) = replaced {
                return known.contains(&address.onion()).then(|| mailbox(name, &address.to_string())).flatten();
            }
            let domain = String::from_utf8(domain?).ok()?;
            let told = is_author || !is_onion(&domain) || domain.parse().is_ok_and(|onion| known.contains(&onion));
            told.then(|| mailbox(name, &format!("{}@{domain}", local_part(&local)?))).flatten()
        };
        headers::entries(&value).into_iter().filter_map(shown).collect()
    }
}

fn is_onion(domain: &str) -> bool {
    domain.to_ascii_lowercase().trim_end_matches('.').ends_with(".onion")
}

/// The part before `@`, in quotes where it needs them.
fn local_part(local: &[u8]) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte);
    let text =
        std::str::from_utf8(local).ok().filter(|text| !text.is_empty() && !text.chars().any(char::is_control))?;
    Some(if text.bytes().all(plain) { text.to_owned() } else { quoted(text) })
}

/// A mailbox as we write it; `None` where the address cannot be read by everybody.
fn mailbox(name: Option<Vec<u8>>, address: &str) -> Option<String> {
    let (_, domain) = address.rsplit_once('@')?;
    if domain.is_empty() || !domain.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte)) {
        return None;
    }
    let name = name.filter(|name| !has_petname(name)).and_then(|name| String::from_utf8(name).ok());
    let Some(name) = name.filter(|name| !name.trim().is_empty() && !name.chars().any(char::is_control)) else {
        return Some(if address.starts_with('"') { format!("<{address}>") } else { address.to_owned() });
    };
    let plain = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~ ".contains(c);
    let bare = name.chars().all(plain) && name.trim() == name && !name.contains("  ");
    Some(format!("{} <{address}>", if bare { name } else { quoted(&name) }))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
