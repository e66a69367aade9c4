//! Why mail cannot be addressed to somebody, in words for the user who wrote it.

use crate::mail::address::PETNAME_DOMAIN;

/// Why mail cannot be addressed to a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unaddressable {
    /// No contact is meant.
    Unknown,
    /// It is blocked.
    Blocked,
    /// It asks to be a contact.
    Waiting,
    /// It revoked its address or its key.
    Revoked,
}

/// Whether this has the form of an address in the ordinary mail system.
fn is_ordinary(recipient: &str) -> bool {
    let domain = recipient.rsplit_once('@').map(|(_, domain)| domain.trim_end_matches('>').to_ascii_lowercase());
    domain.is_some_and(|domain| !domain.ends_with(".onion") && domain != PETNAME_DOMAIN && domain.contains('.'))
}

impl Unaddressable {
    /// The sentence for the user who wrote to this recipient; with the petname that was probably meant, where there is one.
    pub fn sentence(self, recipient: &str, meant: Option<&str>) -> String {
        let (is, advice) = match self {
            Self::Unknown if is_ordinary(recipient) => (
                "is an ordinary mail address",
                format!(
                    "mail goes from here to contacts only, as petname@{PETNAME_DOMAIN} or to an address that ends in .onion: \
                     ask for an invitation, and add it with: runepeer contact add"
                ),
            ),
            Self::Unknown => (
                "is not in the address book",
                format!(
                    "write to a contact as petname@{PETNAME_DOMAIN} (runepeer contact list shows the petnames), or add \
                     somebody with an invitation from them: runepeer contact add"
                ),
            ),
            Self::Blocked => {
                ("is blocked", format!("to write to them, let them back first: runepeer contact unblock {recipient}"))
            }
            Self::Revoked => (
                "has revoked this address or its key",
                "ask them in person or by telephone for a new invitation, and add it with: runepeer contact add"
                    .to_owned(),
            ),
            Self::Waiting => (
                "waits in Requests",
                format!(
                    "to write to them, accept them first: runepeer contact accept {recipient}, or move their mail from \
                     there to INBOX"
                ),
            ),
        };
        match meant {
            Some(meant) => format!("{recipient} {is}; did you mean {meant}? Otherwise {advice}"),
            None => format!("{recipient} {is}; {advice}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_address_is_told_from_a_mistyped_one() {
        for ordinary in ["bob@example.org", "<Bob@Mail.Example.ORG>"] {
            assert!(Unaddressable::Unknown.sentence(ordinary, None).contains("contacts only"), "{ordinary}");
        }
        let onion = format!("bob@{}.onion", "a".repeat(56));
        for other in ["boob@rune.internal", "boob", "boob@localhost", &onion] {
            assert!(Unaddressable::Unknown.sentence(other, None).contains("not in the address book"), "{other}");
        }
        let said = Unaddressable::Unknown.sentence("boob", Some("bob"));
        assert!(said.contains("did you mean bob? Otherwise write to a contact as petname@rune.internal"), "{said}");
        assert!(Unaddressable::Waiting.sentence("bob", None).contains("runepeer contact accept bob"));
    }
}
