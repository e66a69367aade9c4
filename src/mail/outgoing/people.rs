//! People in a message: petnames become addresses, and a forwarded message names nobody whom its receiver does not
//! know.

use std::collections::BTreeSet;

use crate::base::limits::HEADER_BYTES;
use crate::base::{Onion, meter};

use super::super::Address;
use super::super::address::PETNAME_DOMAIN;
use super::super::address_list::{self, local_part, quoted};
use super::super::headers::{self, Entry, Field, Mailbox};
use super::super::names::PetnameOf;
use super::super::readable;
use super::super::strict::Ambiguity;
use super::OutgoingError;

/// The steps of writing one address: a name, and an onion with its checksum.
pub(super) const ADDRESS_STEPS: usize = 128;

/// Whether this is the identity's address, with any folder, or its own name, alone or at `rune.internal`.
pub fn is_own(address: &str, own: &Address) -> bool {
    if let Ok(address) = address.parse::<Address>() {
        return address.without_folder() == own.without_folder();
    }
    let (name, domain) = address.rsplit_once('@').unwrap_or((address, PETNAME_DOMAIN));
    domain.eq_ignore_ascii_case(PETNAME_DOMAIN) && name.eq_ignore_ascii_case(own.local().as_str())
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
    meter::steps(2 * text.len());
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

/// Finds the people whom the names in a message mean.
pub(super) struct People<'a> {
    pub(super) own: &'a Address,
    pub(super) resolve: &'a dyn Fn(&str) -> Option<Address>,
    /// Names everybody in the address book, whether or not mail may go there.
    pub(super) petname_of: PetnameOf<'a>,
}

impl People<'_> {
    /// The field's value, with addresses in the place of petnames.
    pub(super) fn without_petnames(&self, field: &Field<'_>) -> Result<Vec<u8>, OutgoingError> {
        let (mut value, mut done) = (Vec::with_capacity(field.value.len()), 0);
        let between = |from: usize, to: usize| field.value.get(from..to).unwrap_or_default();
        for entry in headers::entries(field.value) {
            let Some(address) = self.address_of(&entry, field.is("from"))? else {
                if self.is_named_by_petname(&entry.mailbox) {
                    value.extend_from_slice(between(done, entry.whole.start));
                    value.extend_from_slice(between(entry.spec.start, entry.spec.end));
                    done = entry.whole.end;
                }
                continue;
            };
            // A display name such as "bob@rune.internal" is the mail program's copy of the address.
            let name = field.value.get(entry.whole.clone()).unwrap_or_default();
            let outside =
                [name.get(..entry.spec.start - entry.whole.start), name.get(entry.spec.end - entry.whole.start..)];
            let in_name = outside.iter().flatten().any(|text| has_petname(text));
            let place = if in_name || self.is_petname(&entry.mailbox, &address) { entry.whole } else { entry.spec };
            meter::steps(place.end.saturating_sub(done) + ADDRESS_STEPS);
            value.extend_from_slice(between(done, place.start));
            value.extend_from_slice(address.to_string().as_bytes());
            done = place.end;
            if value.len() > HEADER_BYTES {
                // Addresses are longer than petnames, and the result is too long.
                return Err(Ambiguity::TooLong.into());
            }
        }
        value.extend_from_slice(between(done, field.value.len()));
        if has_petname(&value) {
            return Err(OutgoingError::PetnameInName(String::from_utf8_lossy(field.name).into_owned()));
        }
        Ok(value)
    }

    /// The address that replaces this entry, if it is a petname. In the author's field the user's own name means the
    /// author; elsewhere a contact may have had that name first.
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

    /// Whether the display name of an address is the petname of that contact: the node shows it beside mail of the
    /// contact, and the mail program copies it into an answer. It is nobody else's business.
    fn is_named_by_petname(&self, mailbox: &Mailbox) -> bool {
        let Mailbox::Address { local, domain: Some(domain), .. } = mailbox else { return false };
        let address = [local.as_slice(), b"@", domain].concat();
        let address = std::str::from_utf8(&address).ok().and_then(|address| address.parse::<Address>().ok());
        address.is_some_and(|address| self.is_petname(mailbox, &address))
    }

    /// Whether an entry's display name is the petname of the contact at this address, perhaps with a folder. Case does not
    /// matter.
    fn is_petname(&self, mailbox: &Mailbox, address: &Address) -> bool {
        let Mailbox::Address { name: Some(name), .. } = mailbox else { return false };
        if address.without_folder() == self.own.without_folder() {
            return false;
        }
        let Some(petname) = (self.petname_of)(address) else { return false };
        let name = readable::of_value(name);
        let (name, petname) = (name.trim().to_lowercase(), petname.to_lowercase());
        name == petname || name.rsplit_once('+').is_some_and(|(name, _)| name == petname)
    }

    /// The address that this name at `rune.internal` means.
    pub(super) fn of_petname(&self, written: &str, is_author: bool) -> Option<Address> {
        let own = is_own(written, self.own).then(|| self.own.clone());
        if is_author && own.is_some() {
            return own;
        }
        let name = written.rsplit_once('@').map_or(written, |(name, _)| name);
        (self.resolve)(&format!("{name}@{PETNAME_DOMAIN}")).or(own)
    }

    /// The entries of an address field of a forwarded message, without the people of whom its receiver must not learn:
    /// those at an onion that is not in `known`, and petnames of such. An author at another onion is shown, because the
    /// author is why a message is forwarded. The list ends soon after the longest header that is allowed.
    pub(super) fn disclosed(&self, value: &[u8], known: &BTreeSet<Onion>, is_author: bool) -> Vec<String> {
        let value = headers::unfold(value);
        let shown = |entry: Entry| {
            meter::steps(entry.whole.len() + ADDRESS_STEPS);
            let replaced = self.address_of(&entry, is_author).ok()?;
            let private = match &replaced {
                Some(address) => self.is_petname(&entry.mailbox, address),
                None => self.is_named_by_petname(&entry.mailbox),
            };
            let Mailbox::Address { name, local, domain } = entry.mailbox else { return None };
            let name = name.filter(|_| !private);
            if let Some(address) = replaced {
                return known.contains(&address.onion()).then(|| mailbox(name, &address.to_string())).flatten();
            }
            let domain = String::from_utf8(domain?).ok()?;
            let told = is_author || !is_onion(&domain) || domain.parse().is_ok_and(|onion| known.contains(&onion));
            told.then(|| mailbox(name, &format!("{}@{domain}", local_part(&local)?))).flatten()
        };
        let mut length = 0;
        let within = |shown: String| {
            let goes_on = length <= HEADER_BYTES;
            length += shown.len();
            goes_on.then_some(shown)
        };
        headers::entries(&value).into_iter().filter_map(shown).map_while(within).collect()
    }
}

fn is_onion(domain: &str) -> bool {
    domain.to_ascii_lowercase().trim_end_matches('.').ends_with(".onion")
}

/// A mailbox as we write it; `None` where some programs could not read the address.
fn mailbox(name: Option<Vec<u8>>, address: &str) -> Option<String> {
    let (_, domain) = address.rsplit_once('@')?;
    if !address_list::is_host(domain.as_bytes()) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ones_own_address_has_a_long_form_and_short_ones() {
        let own: Address = format!("alice@{}", Onion::from_public_key([1; 32])).parse().unwrap();
        let tagged = own.to_string().replace('@', "+folder@").to_ascii_uppercase();
        for text in [&own.to_string(), &tagged, "alice@rune.internal", "Alice@Rune.Internal", "alice"] {
            assert!(is_own(text, &own), "{text}");
        }
        for text in ["alice@laptop", "bob", "bob@rune.internal", "@rune.internal", "", "alice@"] {
            assert!(!is_own(text, &own), "{text}");
        }
    }

    #[test]
    fn a_mailbox_is_written_so_that_everybody_reads_the_same() {
        let written = |name: &str, address: &str| mailbox(Some(name.as_bytes().to_vec()), address);
        for (name, expected) in [
            ("Bob B", "Bob B <b@x>"),
            ("B\u{f6}b", "B\u{f6}b <b@x>"),
            ("B, Bob", "\"B, Bob\" <b@x>"),
            ("B.", "\"B.\" <b@x>"),
            ("a\"b\\", "\"a\\\"b\\\\\" <b@x>"),
            ("a  b", "\"a  b\" <b@x>"),
            (" a", "\" a\" <b@x>"),
            ("=?utf-8?q?x?=", "=?utf-8?q?x?= <b@x>"),
            // A name that is empty or private is left out.
            ("", "b@x"),
            (" \t", "b@x"),
            ("a\tb", "b@x"),
            ("bobby@rune.internal", "b@x"),
        ] {
            assert_eq!(written(name, "b@x").as_deref(), Some(expected), "{name:?}");
        }
        assert_eq!(mailbox(None, "b@x").as_deref(), Some("b@x"));
        assert_eq!(mailbox(Some(vec![0xff]), "b@x").as_deref(), Some("b@x"));
        assert_eq!(mailbox(None, "\"b b\"@x").as_deref(), Some("<\"b b\"@x>"));
        assert_eq!(written("B", "\"b b\"@x").as_deref(), Some("B <\"b b\"@x>"));
        for address in ["b", "b@", "b@x y", "b@[1]", "b@\u{e4}"] {
            assert_eq!(mailbox(None, address), None, "{address}");
        }
    }

    #[test]
    fn a_host_is_an_onion_by_its_end() {
        for host in ["a.onion", "A.ONION", "b.a.onion", "a.onion.", "a.onion.."] {
            assert!(is_onion(host), "{host}");
        }
        for host in ["onion", "aonion", "a.onion.org", "a.onions", ""] {
            assert!(!is_onion(host), "{host}");
        }
    }

    #[test]
    fn the_own_address_has_any_folder_and_the_own_name() {
        let own: Address = format!("alice@{}", Onion::from_public_key([1; 32])).parse().unwrap();
        let other = Onion::from_public_key([2; 32]);
        let own_onion = own.onion();
        for address in [
            own.to_string(),
            format!("alice+work@{own_onion}"),
            "alice@rune.internal".into(),
            "ALICE@Rune.Internal".into(),
            "alice".into(),
        ] {
            assert!(is_own(&address, &own), "{address}");
        }
        for address in [
            format!("alice@{other}"),
            format!("alicia@{own_onion}"),
            "bob@rune.internal".into(),
            "alice@rune.external".into(),
            "alicia".into(),
            "alice@x@rune.internal".into(),
        ] {
            assert!(!is_own(&address, &own), "{address}");
        }
    }

    #[test]
    fn a_name_that_is_the_authors_and_a_contacts_is_the_contacts_except_in_from() {
        let own: Address = format!("alice@{}", Onion::from_public_key([1; 32])).parse().unwrap();
        let friend: Address = format!("alice@{}", Onion::from_public_key([2; 32])).parse().unwrap();
        let resolve = |name: &str| (name == "alice@rune.internal").then(|| friend.clone());
        let people = People { own: &own, resolve: &resolve, petname_of: &|_| None };
        assert_eq!(people.of_petname("alice@rune.internal", true), Some(own.clone()));
        assert_eq!(people.of_petname("alice@rune.internal", false), Some(friend.clone()));
        assert_eq!(people.of_petname("bob@rune.internal", true), None);
        let people = People { own: &own, resolve: &|_| None, petname_of: &|_| None };
        assert_eq!(people.of_petname("alice@rune.internal", false), Some(own.clone()));
    }
}
