//! A contact whose messages are made to keep mail programs, and the node between, busy: by their structure, their fields, their
//! character sets. Each is delivered, listed, read and searched while honest mail goes on.

use std::time::{Duration, Instant};

use super::raw::{codes, onion};
use super::support::mail::Imap;
use super::support::runner::Trial;
use super::world::{Honest, World};

pub(crate) const ATTACKS: &[Trial<World>] = &[
    ("comments_within_comments_of_a_content_type", |world| {
        field(world, "content-type-comments", &nested("Content-Type: text/plain;a"))
    }),
    ("comments_within_comments_of_an_address", |world| field(world, "address-comments", &nested("To: a@b "))),
    ("comments_within_comments_of_a_date", |world| {
        field(world, "date-comments", &nested("Resent-Date: Mon, 1 Jan 2026 "))
    }),
    ("groups_within_groups_of_addresses", |world| field(world, "groups", &format!("Cc: {}", "g:".repeat(40_000)))),
    ("a_hundred_thousand_addresses", |world| {
        field(world, "addresses", &format!("Cc: {}", folded("a@b.example, ", 7_000)))
    }),
    ("a_hundred_thousand_references", |world| {
        field(world, "references", &format!("References: {}", folded("<a@b.example> ", 7_000)))
    }),
    ("quoted_pairs_without_an_end", |world| field(world, "quoted-pairs", &format!("Cc: \"{}", "\\\"".repeat(45_000)))),
    ("encoded_words_beside_encoded_words", |world| {
        field(world, "encoded-words", &format!("Comments: {}", folded("=?utf-8?q?=41?= ", 5_000)));
    }),
    ("encoded_words_that_do_not_end", |world| {
        field(world, "open-words", &format!("Comments: {}", "=?utf-8?b?".repeat(9_000)))
    }),
    ("a_parameter_in_ten_thousand_pieces", |world| {
        let pieces: String = (0..4_000).map(|number| format!("; a*{number}*=%41%42")).collect();
        field(world, "pieces", &format!("Content-Type: text/plain{pieces}"));
    }),
    ("a_thousand_fields", |world| field(world, "fields", "X-A: b\r\n".repeat(900).trim_end())),
    ("a_field_of_a_hundred_thousand_folds", |world| {
        field(world, "folds", &format!("Comments: {}x", "\r\n ".repeat(30_000)))
    }),
    ("a_leaf_that_calls_itself_multipart", |world| {
        let body = "--b\r\n".repeat(300_000);
        message(world, "leaf", "Content-Type: multipart/mixed; boundary=other", &body);
    }),
    ("multiparts_with_one_boundary_within_each_other", |world| {
        let part = "--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n";
        message(world, "one-boundary", "Content-Type: multipart/mixed; boundary=b", &part.repeat(20_000));
    }),
    ("multiparts_ten_thousand_deep", |world| {
        let parts: String = (0..10_000)
            .map(|number| format!("--b{number}\r\nContent-Type: multipart/mixed; boundary=b{}\r\n\r\n", number + 1))
            .collect();
        message(world, "deep", "Content-Type: multipart/mixed; boundary=b0", &parts);
    }),
    ("messages_in_messages_ten_thousand_deep", |world| {
        message(
            world,
            "messages",
            "Content-Type: message/rfc822",
            &"Content-Type: message/rfc822\r\n\r\n".repeat(10_000),
        );
    }),
    ("a_hundred_thousand_parts", |world| {
        message(world, "parts", "Content-Type: multipart/mixed; boundary=b", &"--b\r\n\r\nx\r\n".repeat(100_000));
    }),
    ("boundaries_that_nearly_match", |world| {
        let near = format!("--{}c\r\n", "b".repeat(69));
        message(
            world,
            "near",
            &format!("Content-Type: multipart/mixed; boundary={}", "b".repeat(70)),
            &near.repeat(40_000),
        );
    }),
    ("a_part_header_of_encoded_words", |world| {
        let header = format!("Content-Description: {}", folded("=?utf-8?q?=41?= ", 60_000));
        message(
            world,
            "part-words",
            "Content-Type: multipart/mixed; boundary=b",
            &format!("--b\r\n{header}\r\n\r\nx\r\n--b--\r\n"),
        );
    }),
    ("a_part_header_of_a_million_lines", |world| {
        let header = "X: y\r\n".repeat(500_000);
        message(
            world,
            "part-lines",
            "Content-Type: multipart/mixed; boundary=b",
            &format!("--b\r\n{header}\r\nx\r\n--b--\r\n"),
        );
    }),
    ("a_part_whose_comments_do_not_end", |world| {
        let header = nested("Content-Type: text/plain;a");
        message(
            world,
            "part-comments",
            "Content-Type: multipart/mixed; boundary=b",
            &format!("--b\r\n{header}\r\n\r\nx\r\n--b--\r\n"),
        );
    }),
    ("a_text_of_escapes_of_iso_2022", |world| {
        let text = "\x1b$B\x1b(B".repeat(300_000);
        message(world, "iso-2022", "Content-Type: text/plain; charset=iso-2022-jp", &text);
    }),
    ("a_text_of_shifts_of_utf_7", |world| {
        message(world, "utf-7", "Content-Type: text/plain; charset=utf-7", &"+AEE-+".repeat(300_000));
    }),
    ("base64_with_a_space_after_every_letter", |world| {
        message(
            world,
            "base64",
            "Content-Type: text/plain\r\nContent-Transfer-Encoding: base64",
            &"Q ".repeat(900_000),
        );
    }),
    ("quoted_printable_of_soft_breaks", |world| {
        let header = "Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable";
        message(world, "quoted-printable", header, &"=\r\n".repeat(600_000));
    }),
    ("one_line_of_eight_megabytes", |world| {
        message(world, "one-line", "Content-Type: text/plain", &"x".repeat(8 << 20))
    }),
    ("a_header_that_two_programs_would_read_differently", readings),
];

/// A field whose comments open and do not close.
fn nested(field: &str) -> String {
    format!("{field}{}", "(;a".repeat(30_000))
}

/// Many times the same, in lines that are not too long.
fn folded(item: &str, times: usize) -> String {
    (0..times).map(|number| if number % 20 == 19 { format!("{item}\r\n ") } else { item.to_owned() }).collect()
}

fn field(world: &World, subject: &str, field: &str) {
    message(world, subject, field, "The body.");
}

/// Delivers a message with these fields and this body, and lets bob's mail program do with it what mail programs do. Whether it is
/// taken is up to the node; what is taken can be read.
fn message(world: &World, subject: &str, fields: &str, body: &str) {
    let peer = world.contact(200);
    let text = format!(
        "From: <{}>\r\nTo: <{}>\r\nSubject: {subject}\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{subject}@{}>\r\n\
         MIME-Version: 1.0\r\n{fields}\r\n\r\n{body}\r\n",
        peer.address(),
        peer.to(),
        peer.address().onion(),
    );
    let object = peer.sealed_mail(text);
    let began = world.processor();
    world.meanwhile(&[Honest::ToBob, Honest::Reading], |stage| {
        let request = peer.request(1, &object, Some(peer.auth()));
        let said = codes(&onion(world.peers(), world.onion()).talk([&request.bytes[..], b"QUIT\n"].concat()));
        assert!(said.contains(&202) || said.contains(&409), "{said:?}");
        stage.begins();
        if said.contains(&202) {
            read(world, subject);
        }
        stage.holds();
    });
    // What honest people did is in it, in a build that is not optimised.
    let used = world.processor() - began;
    assert!(used < 20.0, "{used} seconds of a processor for one message of {} octets", object.len());
}

/// What a mail program does with a message that is there.
fn read(world: &World, subject: &str) {
    let mut imap = Imap::open(world.bob.port("imap"), &world.login).unwrap();
    imap.run("SELECT INBOX").unwrap();
    let listed = imap.run("UID FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])").unwrap();
    let listed = String::from_utf8(listed).unwrap();
    let row = listed.split("* ").find(|row| row.contains(&format!("Subject: {subject}\r\n"))).unwrap();
    let uid = row.split("UID ").nth(1).unwrap().split([' ', ')']).next().unwrap();
    let began = Instant::now();
    imap.run(&format!("UID FETCH {uid} (FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)")).unwrap();
    imap.run(&format!("UID FETCH {uid} (BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT REFERENCES)])")).unwrap();
    imap.run(&format!("UID FETCH {uid} (BODY.PEEK[1] BODY.PEEK[1.MIME])")).unwrap();
    // These give up in time, with words, or find something.
    let _ = imap.run("UID SEARCH TEXT nowhere-to-be-found");
    let _ = imap.run("UID SEARCH BODY nowhere OR SUBJECT x TO y");
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
    imap.run(&format!("UID STORE {uid} +FLAGS.SILENT (\\Deleted)")).unwrap();
    imap.run(&format!("UID EXPUNGE {uid}")).unwrap();
}

fn readings(world: &World) {
    let peer = world.contact(201);
    let (from, alice) = (peer.address(), world.alice.address());
    for (name, header) in [
        ("a space before the colon", format!("From : <{from}>")),
        ("a vertical tab before the colon", format!("From\x0b: <{from}>")),
        ("a mark before the name", format!("\u{feff}From: <{from}>")),
        ("a line of an mbox", format!(">From x Mon Jan  1\r\nFrom: <{from}>")),
        ("the separator of an mbox", format!("From x@y Mon Jan  1 00:00:00 2026\r\nFrom: <{from}>")),
        ("two authors", format!("From: <{from}>\r\nFrom: <{alice}>")),
        ("a second author with a space", format!("From: <{from}>\r\nFrom : <{alice}>")),
        ("a bare CR", format!("From: <{from}>\r\nX: a\rFrom: <{alice}>")),
        ("a bare LF", format!("From: <{from}>\r\nX: a\nFrom: <{alice}>")),
        ("a NUL", format!("From: <{from}>\r\nX: a\0b")),
        ("a field without a name", format!("From: <{from}>\r\n: a")),
        ("a line without a colon", format!("From: <{from}>\r\nFrom <{alice}>")),
    ] {
        let object = peer.sealed_mail(format!("{header}\r\nSubject: misread\r\n\r\nx\r\n"));
        let request = peer.request(1, &object, Some(peer.auth()));
        let said = codes(&onion(world.peers(), world.onion()).talk([&request.bytes[..], b"QUIT\n"].concat()));
        assert!(said.contains(&409), "{name}: {said:?}");
    }
    assert!(!world.subjects("INBOX").contains(&"misread".to_owned()));
}
