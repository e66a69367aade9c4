//! The cost of making a message ready is bounded, whatever its author or the authors of forwarded messages wrote.

use std::collections::BTreeMap;

use super::*;
use crate::base::limits::{HEADER_BYTES, NAMED};
use crate::base::meter;

/// The most steps that this module makes for a byte of a message. Most of them are made where an address replaces a
/// name of one byte.
const STEPS_PER_BYTE: u64 = 250;
const CONTACTS: usize = 5000;

/// An address book. Looking up a name is a step for each byte and each comparison.
fn book() -> BTreeMap<String, Address> {
    let named = |number: usize| (format!("c{number}"), if number.is_multiple_of(2) { bob() } else { carol() });
    (0..CONTACTS).map(named).chain([("a".to_owned(), bob())]).collect()
}

fn steps_of(message: &str, book: &BTreeMap<String, Address>) -> (u64, Result<Prepared, OutgoingError>) {
    let resolve = |text: &str| {
        meter::steps(text.len() + CONTACTS.ilog2() as usize);
        book.get(text.strip_suffix("@rune.internal").unwrap_or(text)).cloned()
    };
    let petname_of = |address: &Address| {
        meter::steps(address.to_string().len() + CONTACTS.ilog2() as usize);
        petname_of(address)
    };
    meter::work(|| prepare(message.as_bytes(), &own(), now(), &resolve, &petname_of, &mut SeededRng::new(1)))
}

/// A message that repeats something `count` times.
fn hostile(count: usize) -> Vec<(&'static str, String)> {
    let head = head();
    let top = |field: &str, unit: &str| format!("{head}{field}{}\r\n\r\nbody\r\n", unit.repeat(count));
    let part = |header: &str, unit: &str| format!("{head}{header}{}\r\n", unit.repeat(count));
    let forwarded = "Content-Type: message/rfc822\r\n\r\n";
    let mixed = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n";
    let encoded = "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n";
    let all = (0..count).map(|number| format!("c{},", number % CONTACTS)).collect::<String>();
    vec![
        ("a name again and again", top("Cc: ", "a,")),
        ("petnames", top("Cc: ", "a@rune.internal,")),
        ("petnames in angles", top("Cc: ", "<a@rune.internal>,")),
        ("petnames in names", top("Cc: ", "\"a@rune.internal\" <a@rune.internal>,")),
        ("all contacts", top("Cc: ", &all)),
        ("unknown names", top("Cc: ", "z,")),
        ("groups", top("To: ", "a:b,;")),
        ("folds", top("To: ", "a,\r\n ")),
        ("references", top("References: ", "<a@rune.internal>")),
        ("references that never close", top("References: ", "<a@rune.internal")),
        ("references that never open", top("References: ", "a>")),
        ("parameters", part("Content-Type: text/plain", ";a=b")),
        ("pieces of a name", part("Content-Disposition: attachment", ";filename*0*=''%41")),
        ("drives in a name", part("Content-Disposition: attachment; filename=", "c:")),
        ("encoded words in a name", part("Content-Disposition: attachment; filename=", "=?a?q?b?=")),
        ("names in a forwarded message", part(&format!("{forwarded}From: b@x\r\nTo: "), "a,")),
        ("petnames in a forwarded message", part(&format!("{forwarded}From: b@x\r\nTo: "), "a@rune.internal,")),
        ("strangers in a forwarded message", part(&format!("{forwarded}From: b@x\r\nTo: "), "z@x,")),
        ("forwarded messages", part(mixed, "--b\r\nContent-Type: message/rfc822\r\n\r\nTo: a,a\r\n\r\n")),
        ("messages in messages", format!("{head}{}To: {}\r\n\r\n", forwarded.repeat(20), "a,".repeat(count))),
        ("messages in encoded messages", format!("{head}{}To: {}\r\n\r\n", encoded.repeat(3), "z,".repeat(count))),
        ("a report", part("Content-Type: message/delivery-status\r\n\r\n", "Final-Recipient: x;a\r\n\r\n")),
        ("a calendar", part("Content-Type: text/calendar\r\n\r\n", "ATTENDEE:mailto:a@rune.internal\r\n")),
        ("parameters in a calendar", part("Content-Type: text/calendar\r\n\r\nA", ";X-A=\"a@rune.internal\"")),
        ("folds in a calendar", part("Content-Type: text/calendar\r\n\r\nA:b", "\r\n b")),
        ("references to content", part(&format!("{mixed}--b\r\nContent-ID: <i@x>\r\n\r\n"), "cid:i@x ")),
    ]
}

#[test]
fn no_message_that_is_made_ready_makes_more_steps_than_so_many_a_byte() {
    let book = book();
    for count in [500, 2000, 8000] {
        for (name, message) in hostile(count) {
            let (steps, _) = steps_of(&message, &book);
            let most = STEPS_PER_BYTE * message.len() as u64;
            assert!(
                steps <= most,
                "{name}, {} bytes: {steps} steps, {} a byte",
                message.len(),
                steps / message.len() as u64
            );
        }
    }
}

#[test]
fn a_message_names_two_hundred_people_and_each_as_often_as_its_author_likes() {
    let book = book();
    let to =
        |count: usize| (0..count).map(|number| format!("c{number}@rune.internal")).collect::<Vec<_>>().join(",\r\n ");
    for (count, taken) in [(NAMED, true), (NAMED + 1, false)] {
        let message = format!("{}To: {}\r\nCc: {}\r\n\r\nbody\r\n", head(), to(count), to(count));
        let (_, prepared) = steps_of(&message, &book);
        let visible = prepared.map(|prepared| prepared.visible.len());
        assert_eq!(visible, if taken { Ok(NAMED) } else { Err(OutgoingError::TooManyNamed) });
    }
    let message = format!("{}To: {}\r\n\r\nbody\r\n", head(), "a, b@x, ".repeat(500));
    assert_eq!(steps_of(&message, &book).1.unwrap().visible, ["a", "b@x"]);
}

#[test]
fn addresses_are_written_in_the_place_of_names_until_the_header_is_full() {
    let book = book();
    let length = bob().to_string().len() + 2;
    for field in ["Cc", "Content-Type: message/rfc822\r\n\r\nTo"] {
        for (count, fits) in
            [((HEADER_BYTES - 1000) / (length + 2), true), (HEADER_BYTES / length + 1, false), (30_000, false)]
        {
            let message = format!("{}{field}: {}a\r\n\r\nbody\r\n", head(), "a, ".repeat(count - 1));
            let message = message.replace("From: Alice", "To: a\r\nFrom: Alice");
            let (_, prepared) = steps_of(&message, &book);
            assert_eq!(prepared.is_ok(), fits, "{field} {count}: {:?}", prepared.err());
        }
    }
}
