//! Names in mail that arrives: beside an address stands the name that the user gave it, and no name that its sender
//! wrote (docs/protocol.md, "Names of people").
//!
//! Otherwise a contact could call itself, or somebody else, by the name of another contact. A field that is changed is
//! kept beside the new one under another name, so that what was signed can be made again: see [`as_signed`]. Where the
//! header would become longer than a header that is read, it has addresses alone, and nothing is kept.
//!
//! Work: each byte of a header is read a fixed number of times.

use data_encoding::BASE64;

use crate::base::limits::{HEADER_BYTES, HEADER_FIELDS};
use crate::base::meter;

use super::Address;
use super::address_list;
use super::headers::{self, Entry, Field, Mailbox};

/// The beginning of the name under which a field that was changed is kept.
const KEPT: &str = "X-Signed-";
/// An encoded word has at most 75 characters (RFC 2047 §2), of which 12 are not the text; base64 makes four of three.
const WORD_BYTES: usize = 45;
/// Addresses without names are written on one line up to this length, because lines have at most 998 bytes (RFC 5322
/// §2.1.1).
const LINE_BYTES: usize = 900;
/// What stands for a list that names nobody (RFC 5322 §A.1.3).
const NOBODY: &str = "undisclosed-recipients";
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

/// A message that names people as its receiver does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The message.
    pub message: Vec<u8>,
    /// Whether [`as_signed`] makes of it what was signed.
    pub is_restorable: bool,
}

/// The message with the user's names in its header. The author is always named; for others a name stands only where
/// the sender wrote one. If this header would be longer than a header that is read ([`HEADER_BYTES`],
/// [`HEADER_FIELDS`]), no name stands in it, and it cannot be made again what it was. `None` if that is too long too.
pub fn local(message: &[u8], petname_of: PetnameOf<'_>) -> Option<Named> {
    let named = |names: Option<PetnameOf<'_>>| {
        Some(Named { message: written(message, names)?, is_restorable: names.is_some() })
    };
    named(Some(petname_of)).or_else(|| named(None))
}

/// The message with names, and what was signed beside them; or with addresses alone.
fn written(message: &[u8], names: Option<PetnameOf<'_>>) -> Option<Vec<u8>> {
    let (header, body) = headers::split(message);
    let mut shown = Vec::with_capacity(message.len() + 1024);
    let (mut rest, mut count) = (header, 0);
    for field in headers::fields(header) {
        meter::steps(2 * field.raw.len());
        rest = rest.get(field.raw.len()..).unwrap_or_default();
        let (mut new, mut kept) = (None, true);
        if is_kept(&field) {
            // A field of the sender's that looks like one of ours.
            kept = names.is_some();
            shown.extend_from_slice(if kept { KEPT.as_bytes() } else { b"" });
        } else if PEOPLE.iter().any(|name| field.is(name)) {
            new = renamed(&field, names);
        }
        if let Some(value) = new {
            shown.extend_from_slice(field.name);
            shown.extend_from_slice(if value.is_empty() { b":" } else { b": " });
            shown.extend_from_slice(&value);
            shown.extend_from_slice(b"\r\n");
            count += 1;
            kept = names.is_some();
            shown.extend_from_slice(if kept { KEPT.as_bytes() } else { b"" });
        }
        if kept {
            shown.extend_from_slice(field.raw);
            count += 1;
        }
        if shown.len() > HEADER_BYTES || count > HEADER_FIELDS {
            return None;
        }
    }
    shown.extend_from_slice(rest);
    if shown.len() > HEADER_BYTES {
        return None;
    }
    shown.extend_from_slice(body);
    Some(shown)
}

/// The message as its author signed it, from a message with the user's names that [is restorable](Named). Another one
/// has addresses alone, and stays as it is.
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

/// The people of a field, as one list without groups, with the user's names or with none; `None` where the field stays as
/// it is. What is no address is left out.
fn renamed(field: &Field<'_>, names: Option<PetnameOf<'_>>) -> Option<Vec<u8>> {
    let value = headers::unfold(field.value);
    let is_author = field.is("From");
    let (mut changes, mut has_group) = (false, false);
    let mut shown: Vec<u8> = Vec::with_capacity(value.len() + 64);
    let (mut done, mut line) = (0, 0);
    let outside = |from: usize, to: usize| {
        let between = value.get(from..to).unwrap_or_default();
        between.iter().any(|byte| !byte.is_ascii_whitespace() && !b",;".contains(byte))
    };
    for entry in headers::entries(&value) {
        changes |= outside(done, entry.whole.start);
        done = entry.whole.end;
        let written = value.get(entry.whole.clone()).unwrap_or_default();
        match &entry.mailbox {
            Mailbox::GroupStart(phrase) => {
                has_group = true;
                changes |= !phrase.eq_ignore_ascii_case(NOBODY.as_bytes());
            }
            Mailbox::GroupEnd => {}
            Mailbox::Address { .. } => {
                let text = named(&entry, &value, is_author, names);
                changes |= text.as_deref() != Some(written);
                let Some(text) = text else { continue };
                if !shown.is_empty() {
                    shown.push(b',');
                    line += 1;
                }
                if !shown.is_empty() && (names.is_some() || line + text.len() > LINE_BYTES) {
                    shown.extend_from_slice(b"\r\n ");
                    line = 0;
                }
                line += text.len();
                shown.extend_from_slice(&text);
            }
        }
    }
    changes |= outside(done, value.len());
    if shown.is_empty() && has_group {
        shown.extend_from_slice(format!("{NOBODY}:;").as_bytes());
    }
    changes.then_some(shown)
}

/// An entry with the user's name for it, or with none; `None` where it is no address.
fn named(entry: &Entry, value: &[u8], is_author: bool, names: Option<PetnameOf<'_>>) -> Option<Vec<u8>> {
    let Mailbox::Address { name, local, domain: Some(domain) } = &entry.mailbox else { return None };
    // The bytes of the address are not taken over, because comments may be among them.
    let written = address_list::written(local, domain)?;
    let address = written.parse::<Address>().ok().filter(|_| name.is_some() || is_author);
    let petname = names.zip(address).and_then(|(petname_of, address)| petname_of(&address));
    let in_angles = entry.spec.start.checked_sub(1).and_then(|before| value.get(before)) == Some(&b'<');
    Some(match petname {
        Some(petname) => format!("{} <{written}>", phrase(&petname)).into_bytes(),
        None if in_angles => format!("<{written}>").into_bytes(),
        None => written.into_bytes(),
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
        let Named { message: shown, is_restorable } = local(message.as_bytes(), &book).unwrap();
        assert!(is_restorable);
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
        assert_eq!(shown(&group), format!("To: <{alice}>\r\nX-Signed-{group}"));
        assert_eq!(shown("Subject: Bobby <x@y>\r\n"), "Subject: Bobby <x@y>\r\n");
    }

    #[test]
    fn no_name_of_the_senders_is_left_around_an_address() {
        let alice = address("alice", 1);
        let (local, onion) = (alice.local().as_str().to_owned(), alice.onion());
        for (written, expected) in [
            // What has no domain is no address.
            ("\"Bobby\" <x>".to_owned(), String::new()),
            ("Bobby".into(), String::new()),
            ("(Bobby)".into(), String::new()),
            ("Bobby <>, \"Bobby\" <x@>, <@x>".into(), String::new()),
            (format!("Bobby, {alice}"), format!("{alice}")),
            // Groups.
            (format!("Bobby: {alice};"), format!("{alice}")),
            (format!("\"Bobby\": {alice}, <x@y>; (C\u{e4}ro), z@y"), format!("{alice},\r\n <x@y>,\r\n z@y")),
            ("Bobby:;".into(), "undisclosed-recipients:;".into()),
            (format!("Bobby: {alice}"), format!("{alice}")),
            // Inside and around an address.
            (format!("{local} (Bobby) @{onion}"), format!("{alice}")),
            (format!("<{local}(Bobby)@{onion}>"), format!("<{alice}>")),
            (format!("<{local}@(Bobby){onion} (Bobby)>"), format!("<{alice}>")),
            (format!("<{alice}> Bobby"), format!("<{alice}>")),
            (format!("(Bobby)(), {alice} (Bobby)()"), format!("{alice}")),
            (format!("{alice}, (Bobby)()"), format!("{alice}")),
            ("<@Bobby:x@y>".into(), "<x@y>".into()),
            ("<x@\"Bobby B\">, <x@y (Bobby) z>".into(), "<x@yz>".into()),
            ("\"x\\\"y\" (Bobby) @z".into(), "\"x\\\"y\"@z".into()),
        ] {
            for name in ["To", "Reply-To", "Resent-Cc"] {
                let field = format!("{name}: {written}\r\n");
                let space = if expected.is_empty() { "" } else { " " };
                assert_eq!(shown(&field), format!("{name}:{space}{expected}\r\nX-Signed-{field}"), "{written}");
            }
        }
    }

    /// What stays within the bounds has names; what does not has none, and says so.
    #[test]
    fn no_header_grows_beyond_the_bounds_with_which_it_is_read() {
        let bob = address("bob", 2);
        let of =
            |fill: &str| format!("Resent-To: Caro <{bob}>\r\n{fill}From: Caro <{bob}>\r\nSubject: s\r\n\r\nbody\r\n");
        let header = |message: &str| headers::split(message.as_bytes()).0.len();
        let bare = format!("Resent-To: <{bob}>\r\n");
        let padded = |len: usize| of(&format!("X: {}\r\n", "y".repeat(len - header(&of("X: \r\n")))));
        let growth = local(of("").as_bytes(), &book).unwrap().message.len() - of("").len();
        let fields = |count: usize| of(&"X: y\r\n".repeat(count - 3));
        let people = of(&"Resent-To: x <a@b>\r\n".repeat(900));
        let kept = of(&"X-Signed-From: Caro\r\n".repeat(997));
        for (message, is_named) in [
            (padded(HEADER_BYTES - growth), true),
            (padded(HEADER_BYTES - growth + 1), false),
            (padded(HEADER_BYTES), false),
            (fields(HEADER_FIELDS - 2), true),
            (fields(HEADER_FIELDS - 1), false),
            (fields(HEADER_FIELDS), false),
            (people, false),
            (kept, false),
        ] {
            assert_eq!(strict::check(message.as_bytes()), Ok(()));
            let Named { message: shown, is_restorable } = local(message.as_bytes(), &book).unwrap();
            assert_eq!(is_restorable, is_named);
            assert_eq!(strict::check(&shown), Ok(()));
            assert_eq!(as_signed(&shown), if is_named { message.as_bytes() } else { &shown });
            let shown = String::from_utf8(shown).unwrap();
            assert!(shown.ends_with("Subject: s\r\n\r\nbody\r\n"));
            assert_eq!(shown.contains("X-Signed-"), is_named);
            assert!(!shown.contains(" x <") && (is_named || !shown.contains("Caro")), "{shown}");
            assert!(is_named || shown.starts_with(&bare) && shown.contains(&format!("\r\nFrom: <{bob}>\r\n")));
            let budget = crate::mail::budget::HeaderBudget::default().fields(headers::split(shown.as_bytes()).0, true);
            assert!(budget.iter().any(|field| field.is("Subject")));
        }
        // Addresses without spaces, which grow where their lines are folded.
        let list = "a@b,".repeat((HEADER_BYTES - header(&of("To: x <a@b>,\r\n"))) / 4);
        let message = of(&format!("To: x <a@b>,{list}\r\n"));
        assert_eq!(strict::check(message.as_bytes()), Ok(()));
        assert_eq!(local(message.as_bytes(), &book), None);
    }

    #[test]
    fn a_sender_cannot_write_what_we_keep() {
        let bob = address("bob", 2);
        let forged = format!("X-Signed-From: Caro <{bob}>\r\nFrom: {bob}\r\nx-signed-x-signed-to: y\r\nTo: z@x\r\n");
        let expected = format!(
            "X-Signed-X-Signed-From: Caro <{bob}>\r\nFrom: \"Bobby\" <{bob}>\r\nX-Signed-From: {bob}\r\n\
             X-Signed-x-signed-x-signed-to: y\r\nTo: z@x\r\n"
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
                assert!(steps <= 48 * header.len() as u64 + 100, "{unit}: {steps} for {}", header.len());
                let shown = shown.map_or(header, |shown| shown.message);
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
            let shown = local(&message, &|_| Some("Bob".to_owned())).unwrap();
            prop_assert!(shown.is_restorable);
            prop_assert_eq!(as_signed(&shown.message), message);
        }

        #[test]
        fn any_bytes_come_back(message in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(as_signed(&local(&message, &|_| Some("Bob".to_owned())).unwrap().message), message);
        }
    }
}
