//! `runepeer contact export`: contacts as text, or as vCards for the address book of another program.
//!
//! An export has nothing that lets its reader write in the user's name, or leave mail in anybody's box: no tokens, no
//! keys of cards, no secrets of invitations.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::json;

use crate::cli::Context;
use crate::cli::show::show;
use crate::control::reply::{Contact, ContactStatus, Contacts};
use crate::control::{Command, Failure};

/// The longest line of a vCard, in octets without the line end (RFC 6350, section 3.2).
const LINE: usize = 75;

/// What `--json` prints.
#[derive(Serialize)]
struct Export<'a> {
    contacts: Vec<Exported<'a>>,
}

/// A contact as it is exported.
#[derive(Serialize)]
struct Exported<'a> {
    petname: &'a str,
    address: &'a str,
    fingerprint: &'a str,
    verified_at: Option<&'a str>,
}

impl<'a> Exported<'a> {
    fn of(contact: &'a Contact) -> Self {
        let Contact { petname, address, fingerprint, verified_at, .. } = contact;
        Self { petname, address, fingerprint, verified_at: verified_at.as_deref() }
    }
}

pub(super) fn run(context: &Context, who: Option<String>, is_vcard: bool) -> Result<(), Failure> {
    let contacts = match who {
        Some(who) => vec![context.ask::<Contact>(Command::ContactShow { who })?],
        // Strangers who ask, and people who are blocked, are only exported by their names.
        None => {
            let all: Contacts = context.ask(Command::ContactList)?;
            let known =
                |contact: &Contact| matches!(contact.status, ContactStatus::Greeting | ContactStatus::Confirmed);
            all.contacts.into_iter().filter(known).collect()
        }
    };
    if !is_vcard {
        let exported = contacts.iter().map(Exported::of).collect();
        show(context, &Export { contacts: exported }, |_| contacts.iter().map(text).collect());
        return Ok(());
    }
    let cards: String = contacts.iter().map(vcard).collect();
    if context.output.is_json() {
        context.output.object(&json!({ "vcards": cards }));
    } else {
        context.output.bytes(cards.as_bytes());
    }
    Ok(())
}

fn text(contact: &Contact) -> String {
    let mut words = format!("{}\n  {}\n  key {}\n", contact.petname, contact.address, contact.fingerprint);
    if let Some(at) = &contact.verified_at {
        let _ = writeln!(words, "  verified {at}");
    }
    words
}

/// A vCard 4.0 (RFC 6350). The address is an EMAIL, because a mail program writes to it as to any other.
fn vcard(contact: &Contact) -> String {
    let mut note = format!("runepeer key {}", contact.fingerprint);
    if let Some(at) = &contact.verified_at {
        let _ = write!(note, ", verified {at}");
    }
    let lines = [
        "BEGIN:VCARD".to_owned(),
        "VERSION:4.0".to_owned(),
        format!("FN:{}", escaped(&contact.petname)),
        format!("EMAIL:{}", escaped(&contact.address)),
        format!("NOTE:{}", escaped(&note)),
        "END:VCARD".to_owned(),
    ];
    lines.iter().map(|line| folded(line)).collect()
}

/// A text as the value of a property: what separates values there, and line ends, are escaped (RFC 6350, section 3.4).
/// Other control characters are left out.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | ',' | ';' => escaped.extend(['\\', c]),
            '\n' => escaped.push_str("\\n"),
            c if c.is_control() => {}
            c => escaped.push(c),
        }
    }
    escaped
}

/// A line with its end; one that is too long goes on in lines that begin with a space. No character is divided.
fn folded(line: &str) -> String {
    let (mut folded, mut length) = (String::with_capacity(line.len() + 8), 0);
    for c in line.chars() {
        if length + c.len_utf8() > LINE {
            folded.push_str("\r\n ");
            length = 1;
        }
        folded.push(c);
        length += c.len_utf8();
    }
    folded + "\r\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::reply::{Carry, Receipts, ReceiptsGiven};

    fn contact(petname: &str, verified_at: Option<&str>) -> Contact {
        Contact {
            petname: petname.to_owned(),
            address: format!("bob@{}.onion", "a".repeat(56)),
            write_to: format!("{petname}@rune.internal"),
            fingerprint: "0123456789ABCDEF".repeat(4),
            status: ContactStatus::Confirmed,
            verified_at: verified_at.map(str::to_owned),
            revoked: None,
            receipts: Receipts { given: ReceiptsGiven::Delivered, expected: true },
            carry: Carry { allowed: false, waiting: 0 },
            via: None,
            knock: true,
            introductions: "ask".to_owned(),
            boxes: 0,
            carriers: Vec::new(),
            last_seen_at: None,
            duplicates: 0,
            provenance: Vec::new(),
            met: Vec::new(),
            invitation: None,
        }
    }

    /// The lines of a vCard as a reader of RFC 6350 sees them.
    fn unfolded(card: &str) -> Vec<String> {
        assert!(card.split("\r\n").all(|line| line.len() <= LINE && !line.contains(['\r', '\n'])), "{card:?}");
        card.replace("\r\n ", "").split_terminator("\r\n").map(str::to_owned).collect()
    }

    #[test]
    fn a_vcard_has_the_petname_the_address_and_the_fingerprint() {
        let card = vcard(&contact("Zo\u{eb}", Some("2026-11-30T12:00:00Z")));
        let (address, key) = (format!("EMAIL:bob@{}.onion", "a".repeat(56)), "0123456789ABCDEF".repeat(4));
        let note = format!("NOTE:runepeer key {key}\\, verified 2026-11-30T12:00:00Z");
        assert_eq!(
            unfolded(&card),
            ["BEGIN:VCARD", "VERSION:4.0", "FN:Zo\u{eb}", address.as_str(), note.as_str(), "END:VCARD"]
        );
        assert!(!vcard(&contact("bob", None)).contains("verified"));
    }

    #[test]
    fn no_name_ends_a_property_or_adds_one() {
        assert_eq!(escaped("a;b,c\\d\ne\rf\u{7}"), "a\\;b\\,c\\\\d\\nef");
        let card = vcard(&contact("x\r\nEND:VCARD\r\nBEGIN:VCARD;,", None));
        assert_eq!(unfolded(&card).len(), 6, "{card:?}");
        assert_eq!(card.matches("\r\nEND:VCARD\r\n").count(), 1, "{card:?}");
    }

    #[test]
    fn a_long_line_is_folded_and_no_character_divided() {
        for name in ["\u{eb}".repeat(200), "\u{1f600}".repeat(60), "a".repeat(72), "a".repeat(73)] {
            let lines = unfolded(&vcard(&contact(&name, None)));
            assert!(lines.contains(&format!("FN:{name}")), "{lines:?}");
        }
    }
}
