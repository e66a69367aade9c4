//! The tables of docs/protocol.md are those of the code: status codes, limits, commands. (`tests/layers/` checks that
//! the sections which comments cite exist.)
#![allow(clippy::indexing_slicing, clippy::string_slice, clippy::unwrap_used, reason = "a test may panic")]

use std::fs;

use runepeer::base::limits;
use runepeer::wire::{Disposition, Keyword, Status};

fn document() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/protocol.md")).unwrap()
}

#[test]
fn the_table_of_status_codes_is_that_of_the_code() {
    let document = document();
    let rows =
        document.lines().filter(|line| line.starts_with("| ") && line[2..].starts_with(|c: char| c.is_ascii_digit()));
    let rows: Vec<Vec<&str>> = rows
        .map(|row| row.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>())
        .filter(|row| row.len() == 5)
        .collect();
    assert_eq!(rows.len(), Status::ALL.len());
    for (row, status) in rows.iter().zip(Status::ALL) {
        let again = match status.disposition() {
            Disposition::Temporary => "later",
            Disposition::Permanent => "never",
            Disposition::Done | Disposition::Pending => "",
        };
        assert_eq!(row[0], status.number().to_string());
        assert_eq!(row[1], format!("`{}`", status.text()));
        assert_eq!((row[3], row[4]), (again, if status.closes() { "closes" } else { "" }), "{status}");
    }
}

#[test]
fn limits_and_commands_in_the_document_are_those_of_the_code() {
    let document = document();
    for size in [
        limits::WIRE_LINE_BYTES,
        limits::OBJECT_BYTES,
        limits::MESSAGE_BYTES,
        limits::STRANGER_BYTES,
        limits::PIPELINED_OBJECT_BYTES,
        limits::CERTIFICATE_BYTES,
        limits::CONTENT_HEADER_BYTES,
        limits::CARD_BYTES,
        limits::IN_FLIGHT_BYTES,
        limits::SIGNATURE_BYTES,
        limits::DEPOSIT_BYTES as usize,
        limits::RETRIEVED_BYTES as usize,
        limits::LIST_ENTRIES,
        limits::INVITATION_CHARACTERS,
        limits::CONTACT_BURST as usize,
        limits::CONTACT_PER_HOUR as usize,
    ] {
        let text = grouped(size);
        assert!(document.contains(&text), "docs/protocol.md lacks {text}");
    }
    for (seconds, text) in [
        (limits::WIRE_HANDSHAKE.as_secs(), "| first command | 30 s |"),
        (limits::WIRE_IDLE.as_secs(), "| silence | 120 s;"),
        (limits::WIRE_PROGRESS.as_secs(), "| progress within a line or block | 1 KiB in 30 s |"),
        (limits::WIRE_SESSION.as_secs() / 60, "| session | 15 minutes |"),
    ] {
        assert!(document.contains(text) && text.contains(&seconds.to_string()), "{text}");
    }
    for keyword in Keyword::ALL {
        assert!(document.contains(keyword.as_str()), "docs/protocol.md does not describe {}", keyword.as_str());
    }
}

#[test]
fn rows_of_bounds_in_the_document_are_those_of_the_code() {
    let document = document();
    let (strangers, requests) = (limits::STRANGER_PER_HOUR, limits::REQUESTS_PENDING);
    for row in [
        format!("| contacts of an identity | {},{:03};", limits::CONTACTS / 1000, limits::CONTACTS % 1000),
        format!("| messages of all strangers; of one open invitation | {strangers} an hour; {strangers} an hour |"),
        format!("| requests that wait | {requests} |"),
        format!(
            "| `counter` of a card, above the last one and above the hours since 1970 | {} |",
            grouped(usize::try_from(limits::CARD_JUMP).unwrap())
        ),
        format!("| unanswered MESSAGEs and commands of a box, of a session | {} |", limits::WIRE_DELIVERIES),
        format!(
            "| mailboxes; open invitations | {}; {} a carrier |",
            grouped(limits::CARRIER_MAILBOXES),
            grouped(limits::CARRIER_INVITATIONS)
        ),
        format!(
            "| objects; tokens | {}; {} a mailbox |",
            grouped(limits::OBJECTS_OF_MAILBOX),
            grouped(limits::TOKENS_OF_MAILBOX)
        ),
        format!(
            "| what a client takes before each answer that is none: lines; their octets in a session | {}; {} |",
            limits::WIRE_INFORMATION_LINES,
            grouped(limits::WIRE_INFORMATION_BYTES)
        ),
        format!(
            "| line, without its end; one of a server | {}; {} octets |",
            grouped(limits::WIRE_LINE_BYTES),
            grouped(limits::WIRE_REPLY_LINE_BYTES)
        ),
        format!("| tokens of one epoch and class | {} |", grouped(limits::TOKENS_OF_SET)),
        format!("| challenge of a registration | {} minutes |", limits::CHALLENGE_LIFE.as_secs() / 60),
        format!("| mistakes ([States](#states)) | {} a session |", limits::WIRE_MISTAKES),
        format!(
            "| sessions that nobody authenticated; all | {}; {} an identity |",
            limits::UNAUTHENTICATED_SESSIONS,
            limits::SESSIONS
        ),
        format!(
            "| sessions of one contact; of one invitation ([Fair shares](#fair-shares)) | {}; {} |",
            limits::CONTACT_SESSIONS,
            limits::INVITATION_SESSIONS
        ),
        format!(
            "| SENDs; SENDs whose AUTH fits no key | {}; {} a session |",
            limits::WIRE_SENDS,
            limits::WIRE_AUTH_MISSES
        ),
        format!(
            "| the answer to SEND ([Unrevealing answers](#unrevealing-answers)) | not before {} ms, where the session has not shown its key |",
            limits::WIRE_ANSWER.as_millis()
        ),
        format!(
            "| octets promised to, or held for, one contact; one session of anybody else | {}; {} |",
            grouped(limits::CONTACT_IN_FLIGHT_BYTES),
            grouped(limits::STRANGER_IN_FLIGHT_BYTES)
        ),
        format!("| objects of one sender that are being opened and stored | {} |", limits::OBJECTS_UNSETTLED),
        format!(
            "| octets of objects over {} together | {} an identity |",
            grouped(limits::PIPELINED_OBJECT_BYTES),
            grouped(limits::IN_FLIGHT_BYTES - limits::SMALL_IN_FLIGHT_BYTES)
        ),
        format!(
            "| a promised object, where others need its memory | {} octets a second, after {} s |",
            grouped(limits::SLOWEST_OBJECT as usize),
            limits::SLOW_GRACE.as_secs()
        ),
        format!(
            "| SENDs that wait for MESSAGE; certificates handed out | {}; {} a session |",
            limits::WIRE_SENDS_OPEN,
            limits::WIRE_CERTIFICATES
        ),
    ] {
        assert!(document.contains(&row), "docs/protocol.md lacks {row}");
    }
}

/// A number as documents write it: `16,384`.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
