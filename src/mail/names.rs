//! Names in mail that arrives: beside an address stands the name that the user gave it, and no name that its sender
//! wrote (docs/protocol.md, "Names of people").
//!
//! Otherwise a contact could call itself, or somebody else, by the name of another contact. A field that is changed is
//! kept beside the new one under another name, so that what was signed can be made again: see [`as_signed`].
//!
//! Work: each byte of a header is read a fixed number of times.

use data_encoding::BASE64;

use crate::base::meter;

use super::Address;
use super::headers::{self, Entry, Field, Mailbox};

/// The beginning of the name under which a field that was changed is kept.
const KEPT: &str = "X-Signed-";
/// An encoded word has at most 75 characters (RFC 2047 §2), of which 12 are not the text; base64 makes four of three.
const WORD_BYTES: usize = 45;
/// The fields with people that programs show, or take answers from.
const PEOPLE: [&str; 16] = [
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Bcc",
    "Mail-Followup-To",
    "Mail-Reply-To",
    "Disposition-Notification-To",
    "Return-Receipt-To",
    "Resent-From",
    "Resent-Sender",
    "Resent-Reply-To",
    "Resent-To",
    "Resent-Cc",
    "Resent-Bcc",
];

/// Tells the name that the user gave to an address.
pub type PetnameOf<'a> = &'a dyn Fn(&Address) -> Option<String>;

/// The message with the user's names in its header. The author is always named; for others a name stands only where
/// the sender wrote one.
pub fn local(message: &[u8], petname_of: PetnameOf<'_>) -> Vec<u8> {
    let (header, body) = headers::split(message);
    let mut shown = Vec::with_capacity(message.len() + 1024);
    let mut rest = header;
    for field in headers::fields(header) {
        meter::steps(2 * field.raw.len());
        rest = rest.get(field.raw.len()..).unwrap_or_default();
        if is_kept(&field) {
            // A field of the sender's that looks like one of ours.
            shown.extend_from_slice(KEPT.as_bytes());
        } else if let Some(value) =
            PEOPLE.iter().any(|name| field.is(name)).then(|| renamed(&field, petname_of)).flatten()
        {
            shown.extend_from_slice(field.name);
            shown.extend_from_slice(b": ");
            shown.extend_from_slice(&value);
            shown.extend_from_slice(b"\r\n");
            shown.extend_from_slice(KEPT.as_bytes());
        }
        shown.extend_from_slice(field.raw);
    }
    shown.extend_from_slice(rest);
    shown.extend_from_slice(body);
    shown
}

/// The message as its author signed it, from the message with the user's names.
pub fn as_signed(message: &[u8]) -> Vec<u8> {
    let (header, body) = headers::split(message);
    let mut signed = Vec::with_capacity(message.len());
    let (mut rest, mut before) = (header, 0);
    for field in headers::fields(header) {
        rest = rest.get(field.raw.len()..).unwrap_or_default();
        let kept = field.raw.get(KEPT.len()..).filter(|_| is_kept(&field));
        if kept.is_some_and(|kept| !starts_with_kept(kept)) {
            // The field before is ours.
            signed.truncate(before);
        }
        before = signed.len();
        signed.extend_from_slice(kept.unwrap_or(field.raw));
    }
    signed.extend_from_slice(rest);
    signed.extend_from_slice(body);
    signed
}

fn is_kept(field: &Field<'_>) -> bool {
    starts_with_kept(field.name)
}

fn starts_with_kept(text: &[u8]) -> bool {
    text.get(..KEPT.len()).is_some_and(|start| start.eq_ignore_ascii_case(KEPT.as_bytes()))
}

/// The value with the user's names; `None` where it stays as it is.
fn renamed(field: &Field<'_>, petname_of: PetnameOf<'_>) -> Option<Vec<u8>> {
    let value = headers::unfold(field.value);
    let is_author = field.is("From");
    let mut changes = false;
    let mut shown: Vec<u8> = Vec::with_capacity(value.len() + 64);
    let mut done = 0;
    for entry in headers::entries(&value) {
        let between = value.get(done..entry.whole.start).unwrap_or_default().trim_ascii();
        let written = value.get(entry.whole.clone()).unwrap_or_default();
        let new = named(&entry, &value, is_author, petname_of);
        changes |= new.as_ref().is_some_and(|new| new != written);
        shown.extend_from_slice(between);
        let text = new.as_deref().unwrap_or(written);
        if !shown.is_empty() && !text.is_empty() {
            shown.extend_from_slice(b"\r\n ");
        }
        shown.extend_from_slice(text);
        done = entry.whole.end;
    }
    shown.extend_from_slice(value.get(done..).unwrap_or_default());
    changes.then_some(shown)
}

/// An entry with the user's name for it, or with none; `None` where it is no address.
fn named(entry: &Entry, value: &[u8], is_author: bool, petname_of: PetnameOf<'_>) -> Option<Vec<u8>> {
    let Mailbox::Address { name, local, domain: Some(domain) } = &entry.mailbox else { return None };
    let spec = value.get(entry.spec.clone())?.trim_ascii();
    if name.is_none() && !is_author {
        return None;
    }
    let address = [local.as_slice(), b"@", domain].concat();
    let address = std::str::from_utf8(&address).ok().and_then(|address| address.parse::<Address>().ok());
    Some(match address.and_then(|address| petname_of(&address)) {
        Some(petname) => [phrase(&petname).as_bytes(), b" <", spec, b">"].concat(),
        // In a list of its own an address needs no angle brackets, but a route or a quoted part may.
        None if entry.spec.start > 0 && value.get(entry.spec.start - 1) == Some(&b'<') => [b"<", spec, b">"].concat(),
        None => spec.to_vec(),
    })
}

/// A name before an address: in quotes, or in encoded words where it is not ASCII.
fn phrase(name: &str) -> String {
    if name.is_ascii() {
        let name: String = name.chars().filter(|c| !c.is_ascii_control()).collect();
        return format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""));
    }
    let mut words: Vec<String> = vec![String::new()];
    for c in name.chars() {
        match words.last_mut() {
            Some(word) if word.len() + c.len_utf8() <= WORD_BYTES => word.push(c),
            _ => words.push(c.to_string()),
        }
    }
    let words = words.iter().map(|word| format!("=?utf-8?B?{}?=", BASE64.encode(word.as_bytes())));
    words.collect::<Vec<_>>().join("\r\n ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Onion;
    use crate::mail::{readable, strict};
    use proptest::prelude::*;

    fn address(name: &str, byte: u8) -> Address {
        format!("{name}@{}", Onion::from_public_key([byte; 32])).parse().unwrap()
    }

    fn book(of: &Address) -> Option<String> {
        let (bob, carol) = (address("bob", 2), address("carol", 3));
        [(bob, "Bobby"), (carol, "C\u{e4}ro")]
            .into_iter()
            .find_map(|(known, name)| (known == of.without_folder()).then(|| name.to_owned()))
    }

    /// The header as it is shown; what was signed must come back.
    fn shown(header: &str) -> String {
        let message = format!("{header}\r\nFrom: in the body\r\n");
        let shown = local(message.as_bytes(), &book);
        assert_eq!(as_signed(&shown), message.as_bytes(), "{header}");
        assert_eq!(strict::check(&shown), Ok(()));
        let shown = String::from_utf8(shown).unwrap();
        shown.strip_suffix("\r\nFrom: in the body\r\n").unwrap().to_owned()
    }

    #[test]
    fn the_author_has_the_name_that_the_user_gave() {
        let (bob, carol) = (address("bob", 2), address("carol", 3));
        for from in [format!("{bob}"), format!("<{bob}>"), format!("C\u{e4}ro <{bob}>"), format!("{bob} (C\u{e4}ro)")] {
            let expected = format!("Date: x\r\nFrom: \"Bobby\" <{bob}>\r\nX-Signed-From: {from}\r\nSubject: y\r\n");
            assert_eq!(shown(&format!("Date: x\r\nFrom: {from}\r\nSubject: y\r\n")), expected);
        }
        let right = format!("From: \"Bobby\" <{bob}>\r\n");
        assert_eq!(shown(&right), right);
        let folded = shown(&format!("FROM:\r\n =?utf-8?q?Boss?=\r\n <{carol}>\r\n"));
        let expected =
            format!("FROM: =?utf-8?B?Q8Okcm8=?= <{carol}>\r\nX-Signed-FROM:\r\n =?utf-8?q?Boss?=\r\n <{carol}>\r\n");
        assert_eq!(folded, expected);
    }

    #[test]
    fn no_field_names_somebody_as_its_sender_likes() {
        let (alice, bob, carol) = (address("alice", 1), address("bob", 2), address("carol", 3));
        for name in ["Sender", "Reply-To", "To", "cc", "Mail-Followup-To", "Resent-From"] {
            let field = format!("{name}: \"Bobby\" <{alice}>, Caro <{bob}>,\r\n {carol}, \"X\" <x@example.org>\r\n");
            let expected = format!(
                "{name}: <{alice}>,\r\n \"Bobby\" <{bob}>,\r\n {carol},\r\n <x@example.org>\r\nX-Signed-{field}"
            );
            assert_eq!(shown(&field), expected);
        }
        for kept in
            [format!("To: {bob}\r\n"), format!("Cc: <{alice}>,{bob}\r\n"), "To: undisclosed-recipients:;\r\n".into()]
        {
            assert_eq!(shown(&kept), kept);
        }
        let group = format!("To: friends: Bobby <{alice}>;\r\n");
        assert_eq!(shown(&group), format!("To: friends:\r\n <{alice}>;\r\nX-Signed-{group}"));
        assert_eq!(shown("Subject: Bobby <x@y>\r\n"), "Subject: Bobby <x@y>\r\n");
    }

    #[test]
    fn a_sender_cannot_write_what_we_keep() {
        let bob = address("bob", 2);
        let forged = format!("X-Signed-From: Caro <{bob}>\r\nFrom: {bob}\r\nx-signed-x-signed-to: y\r\nTo: z\r\n");
        let expected = format!(
            "X-Signed-X-Signed-From: Caro <{bob}>\r\nFrom: \"Bobby\" <{bob}>\r\nX-Signed-From: {bob}\r\n\
             X-Signed-x-signed-x-signed-to: y\r\nTo: z\r\n"
        );
        assert_eq!(shown(&forged), expected);
    }

    #[test]
    fn a_long_name_is_divided_between_words() {
        let name = "\u{e4}".repeat(50);
        let phrase = phrase(&name);
        assert!(phrase.split("\r\n ").all(|word| word.len() <= 75), "{phrase}");
        assert_eq!(readable::of_value(phrase.as_bytes()), name);
        assert_eq!(super::phrase("a\"b\\c"), "\"a\\\"b\\\\c\"");
    }

    #[test]
    fn no_header_makes_more_steps_than_so_many_a_byte() {
        let bob = address("bob", 2).to_string();
        let list = format!("x <{bob}>,");
        for (head, unit) in [
            ("", "To: a@x\r\n"),
            ("", "a:\n"),
            ("", "X-Signed-X-Signed-:\r\n"),
            ("To: ", "((\\"),
            ("To: ", "a <a@x>,"),
            ("To: ", "\"a\" <"),
            ("Cc: ", list.as_str()),
            ("Cc: ", "g:;"),
        ] {
            for count in [500, 5000] {
                let header = format!("{head}{}\r\n\r\n", unit.repeat(count)).into_bytes();
                let (steps, shown) = meter::work(|| local(&header, &book));
                assert!(steps <= 24 * header.len() as u64 + 100, "{unit}: {steps} for {}", header.len());
                let (steps, _) = meter::work(|| as_signed(&shown));
                assert!(steps <= 24 * shown.len() as u64 + 100, "{unit}: {steps} for {}", shown.len());
            }
        }
    }

    proptest! {
        #[test]
        fn what_was_signed_comes_back(fields in prop::collection::vec((
            prop::sample::select(vec!["From", "to", "X-Signed-From", "X-Signed-", "x-signed-X-Signed-To", "Subject", "Cc"]),
            "([a-c\"<>(),:;@ ]|bob@aibagbafaydqqcikbmga2dqpcaireeyuculbogazdinryhi6d4quzqad\\.onion|\r\n ){0,8}",
        ), 0..6)) {
            let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let message = format!("{fields}\r\nbody\r\n").into_bytes();
            let shown = local(&message, &|_| Some("Bob".to_owned()));
            prop_assert_eq!(as_signed(&shown), message);
        }

        #[test]
        fn any_bytes_come_back(message in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(as_signed(&local(&message, &|_| Some("Bob".to_owned()))), message);
        }
    }
}
