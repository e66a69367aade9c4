use super::*;
use crate::base::Onion;
use crate::base::rng::SeededRng;
use crate::mail::structure::{Inner, Section, Structure};
use proptest::prelude::*;

mod content;
mod foreign_fields;
mod work;

fn onion(byte: u8) -> Onion {
    Onion::from_public_key([byte; 32])
}

fn own() -> Address {
    format!("alice@{}", onion(1)).parse().unwrap()
}

fn bob() -> Address {
    format!("bob@{}", onion(2)).parse().unwrap()
}

fn carol() -> Address {
    format!("carol@{}", onion(3)).parse().unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_secs(1_795_218_052)
}

fn resolve(name: &str) -> Option<Address> {
    match name {
        "bobby@rune.internal" | "bobby" | "Bob B.@rune.internal" => Some(bob()),
        "caro@rune.internal" => Some(carol()),
        _ => None,
    }
}

/// Mallory is in the book too, and no mail may go there.
fn mallory() -> Address {
    format!("mallory@{}", onion(4)).parse().unwrap()
}

fn petname_of(address: &Address) -> Option<String> {
    let book = [(bob(), "bobby"), (carol(), "caro"), (mallory(), "pest")];
    book.into_iter().find_map(|(known, name)| (known == address.without_folder()).then(|| name.to_owned()))
}

fn run(message: &str) -> Result<Prepared, OutgoingError> {
    prepare(message.as_bytes(), &own(), now(), &resolve, &petname_of, &mut SeededRng::new(1))
}

fn text(message: &str) -> String {
    let first = run(message).unwrap();
    let again = prepare(&first.message, &own(), now(), &resolve, &petname_of, &mut SeededRng::new(2)).unwrap();
    assert_eq!(
        String::from_utf8_lossy(&again.message),
        String::from_utf8_lossy(&first.message),
        "what is ready is not changed again"
    );
    String::from_utf8(first.message).unwrap()
}

fn head() -> String {
    format!("Date: Sat, 21 Nov 2026 01:00:00 +0000\r\nMessage-ID: <x@{}>\r\nFrom: Alice <{}>\r\n", onion(1), own())
}

/// A message of these parts, each with its header.
fn multipart(kind: &str, parts: &[&str]) -> String {
    let parts: String = parts.iter().map(|part| format!("--next\r\n{part}\r\n")).collect();
    format!("MIME-Version: 1.0\r\nContent-Type: multipart/{kind}; boundary=next\r\n\r\n{parts}--next--\r\n")
}

fn clean(kind: &str, parts: &[&str]) -> String {
    text(&format!("{}{}", head(), multipart(kind, parts)))
}

#[test]
fn what_needs_no_change_is_not_changed() {
    let message = format!(
        "{}To: \"B, Bob\"\r\n\t<{}> , c@example.org (C)\r\nSubject: =?utf-8?q?x?=\r\n  y\r\nReferences: <a@{}>\r\n\
         X-Priority: 1\r\nMIME-Version: 1.0\r\nContent-Type: text/plain;\r\n charset=utf-8\r\n\
         Content-Transfer-Encoding: 8bit\r\n\r\n.body\r\n\r\nFrom: nobody\r\n\r\n",
        head(),
        bob(),
        onion(2)
    );
    assert_eq!(text(&message), message);
    assert_eq!(run(&message).unwrap().visible, [bob().to_string(), "c@example.org".to_owned()]);
    let without_body = head();
    assert_eq!(text(&without_body), without_body);
}

#[test]
fn dates_become_utc() {
    for (written, expected) in [
        ("Fri, 20 Nov 2026 23:40:52 -0130 (XYZ)", "Sat, 21 Nov 2026 01:10:52 +0000"),
        ("20 Nov 2026 23:40 GMT", "Fri, 20 Nov 2026 23:40:00 +0000"),
        ("yesterday", &*now().rfc5322()),
        ("1 Jan 4000000000 00:00 +0000", &*now().rfc5322()),
    ] {
        let message = head().replace("Sat, 21 Nov 2026 01:00:00 +0000", written);
        assert!(text(&message).contains(&format!("Date: {expected}\r\n")), "{written}: {}", text(&message));
    }
    let added = text(&format!("From: {}\r\n\r\nbody", own()));
    assert!(added.starts_with(&format!("Date: {}\r\nMessage-ID: <", now().rfc5322())), "{added}");
    assert!(added.contains(&format!("@{}>\r\nFrom: ", onion(1))));
}

#[test]
fn message_ids_are_at_the_own_onion() {
    for (written, expected) in [
        ("<1.2$3@my-laptop.local>", format!("<1.2$3@{}>", onion(1))),
        (&*format!("<A@{}>", onion(1).to_string().to_ascii_uppercase()), format!("<A@{}>", onion(1))),
    ] {
        let message = head().replace(&format!("<x@{}>", onion(1)), written);
        assert!(text(&message).contains(&format!("Message-ID: {expected}\r\n")), "{written}");
    }
    for broken in ["", "x", "<x>", "<@y>", "<a b@y>", "<a@b@laptop>"] {
        let changed = text(&head().replace(&format!("<x@{}>", onion(1)), broken));
        assert!(changed.contains(&format!("@{}>\r\n", onion(1))) && !changed.contains("laptop"), "{changed}");
    }
}

#[test]
fn petnames_become_addresses() {
    let bob = bob();
    for (written, expected) in [
        ("bobby@rune.internal", format!("{bob}")),
        ("BB <bobby@RUNE.internal>, c@d", format!("BB <{bob}>, c@d")),
        ("\"Bob B.\"@rune.internal (friend)", format!("{bob} (friend)")),
        ("\"bobby@rune.internal\" <bobby@rune.internal>", format!("{bob}")),
        ("bobby", format!("{bob}")),
        (
            "somebody@example.org, BB <bobby@rune.internal> (of those days, and of these)",
            format!("somebody@example.org, BB <{bob}> (of those days, and of these)"),
        ),
        ("x@y, bobby@rune.internal (bobby@rune.internal)", format!("x@y, {bob}")),
        (
            "x@y, \"bobby@rune.internal\" <bobby@rune.internal>, BB <bobby@rune.internal>",
            format!("x@y, {bob}, BB <{bob}>"),
        ),
        ("g: bobby @ rune.internal, alice@rune.internal;", format!("g: {bob}, {};", own())),
        ("\"x\" <bobby(c)@rune.internal>", format!("\"x\" <{bob}>")),
    ] {
        for field in ["To", "Cc", "Reply-To", "Mail-Followup-To", "Disposition-Notification-To"] {
            let changed = text(&format!("{}{field}: {written}\r\n\r\n", head()));
            assert_eq!(changed, format!("{}{field}: {expected}\r\n\r\n", head()), "{written}");
        }
    }
    let from = text(&head().replace(&own().to_string(), "alice@rune.internal"));
    assert_eq!(from, head());
    assert_eq!(run(&format!("{}To: bobby@rune.internal\r\n\r\n", head())).unwrap().visible, ["bobby@rune.internal"]);
    let unknown = run(&format!("{}To: dave@rune.internal\r\n\r\n", head()));
    assert_eq!(unknown, Err(OutgoingError::UnknownRecipient { recipient: "dave@rune.internal".into() }));
    let in_name = run(&format!("{}To: \"bobby@rune.internal\" <c@d>\r\n\r\n", head()));
    assert_eq!(in_name, Err(OutgoingError::PetnameInName("To".into())));
}

#[test]
fn nobody_writes_as_somebody_else() {
    let not_yours = Err(OutgoingError::NotYours { own: own() });
    for from in [bob().to_string(), "bobby@rune.internal".into(), format!("{}, {}", own(), bob())] {
        assert_eq!(run(&format!("From: {from}\r\n\r\n")), not_yours, "{from}");
    }
    assert_eq!(run("Subject: x\r\n\r\n"), Err(OutgoingError::From(FromError::Missing)));
    let twice = run(&format!("{}From: {}\r\n\r\n", head(), bob()));
    assert_eq!(twice, Err(OutgoingError::Ambiguous(Ambiguity::Repeated("From"))));
    let tagged = format!("From: alice+x@{}\r\n\r\n", onion(1));
    assert!(run(&tagged).is_ok());
}

#[test]
fn a_message_that_could_be_read_in_two_ways_is_refused() {
    for bad in ["From : x@y", "\u{feff}From: x@y", ">From: x@y", "no field"] {
        let message = format!("{bad}\r\n{}\r\n", head());
        assert_eq!(run(&message), Err(OutgoingError::Ambiguous(Ambiguity::Field)), "{bad:?}");
    }
    let lone = run(&format!("{}X: a\nb\r\n\r\nx", head())).unwrap_err().to_string();
    assert!(
        lone.starts_with("line 4 of the message has a line feed without a carriage return, after \"X: a\"; end "),
        "{lone}"
    );
    let part = run(&format!("{}{}", head(), multipart("mixed", &["X-Mailer : x\r\n\r\ntext"])));
    assert_eq!(part, Err(OutgoingError::Ambiguous(Ambiguity::Field)));
}

#[test]
fn answers_to_own_mail_name_it_as_others_have_it_and_not_the_machine() {
    let own_onion = onion(1);
    let sent = text(&format!(
        "From: <{}>\r\nMessage-ID: <2@Laptop.lan>\r\nIn-Reply-To: <1@laptop.lan>\r\n\
         References: <0@Rune.Internal>\r\n <1@LAPTOP.LAN>\r\n\r\nx\r\n",
        own()
    ));
    assert!(sent.contains(&format!("In-Reply-To: <1@{own_onion}>\r\n")), "{sent}");
    assert!(sent.contains(&format!("References: <0@{own_onion}>\r\n <1@{own_onion}>\r\n")), "{sent}");
    assert!(!sent.to_lowercase().contains("laptop"), "{sent}");
}

#[test]
fn an_answer_keeps_its_thread_and_a_forwarded_message_does_not_tell_whose_it_was() {
    let thread = format!("<1@{}>\r\n <2@{}>\r\n <3@{}> <4@mail.example.org> junk", onion(1), onion(2), onion(3));
    let sent =
        |to: &str| text(&format!("{}{to}References: {thread}\r\nIn-Reply-To: <3@{}>\r\n\r\nx", head(), onion(3)));
    let to_bob = sent("To: bobby@rune.internal\r\n");
    assert!(to_bob.contains(&format!("References: <1@{}>\r\n <2@{}>\r\n\r\n", onion(1), onion(2))), "{to_bob}");
    let to_carol = sent("To: caro@rune.internal\r\n");
    assert!(to_carol.contains(&format!("In-Reply-To: <3@{}>\r\n", onion(3))), "{to_carol}");
    assert!(!to_carol.contains(&onion(2).to_string()), "{to_carol}");
}

#[test]
fn a_copy_for_hidden_recipients_names_nobody_and_no_thread() {
    let bob_onion = onion(2).to_string();
    let forwarded = format!(
        "Content-Type: message/rfc822\r\n\r\nFrom: {}\r\nTo: Bob <{}>\r\nMessage-ID: <7@{bob_onion}>\r\nSubject: old\r\n\r\nold text",
        own(),
        bob()
    );
    let message = format!(
        "{}To: Bob <{}>\r\nReply-To: {}\r\nMail-Followup-To: {}\r\nReferences: <1@{}> <2@{bob_onion}>\r\n\
         In-Reply-To: <2@{bob_onion}>\r\nSubject: s\r\n{}",
        head(),
        bob(),
        own(),
        bob(),
        onion(1),
        multipart("mixed", &["\r\ntext", &forwarded])
    );
    let ready = run(&message).unwrap().message;
    assert_eq!(String::from_utf8_lossy(&ready).matches(&bob_onion).count(), 5);
    let copy = undisclosed(&ready, &own(), &mut SeededRng::new(3)).unwrap();
    let copy = String::from_utf8(copy).unwrap();
    assert!(copy.starts_with("To: undisclosed-recipients:;\r\nDate: "), "{copy}");
    assert!(!copy.contains(&bob_onion) && !copy.contains("References") && !copy.contains("In-Reply-To"), "{copy}");
    for kept in
        [&format!("Reply-To: {}\r\n", own()), "Subject: s\r\n", "\r\n\r\ntext\r\n", "Subject: old\r\n", "old text"]
    {
        assert!(copy.contains(kept), "{kept}: {copy}");
    }
    // If no message in it names anybody, the text stays the same, so that it is stored once.
    let plain = run(&format!("{}To: {}\r\n{}", head(), bob(), multipart("mixed", &["\r\na"]))).unwrap().message;
    let copy = undisclosed(&plain, &own(), &mut SeededRng::new(3)).unwrap();
    assert_eq!(headers::split(&copy).1, headers::split(&plain).1);
}

#[test]
fn whoever_any_field_names_is_visible() {
    let message = format!("{}To: a@b\r\nReply-To: c@d\r\nMail-Followup-To: <e@f>\r\nCc: g@h\r\n\r\nx\r\n", head());
    assert_eq!(run(&message).unwrap().visible, ["c@d", "a@b", "g@h", "e@f"]);
}

#[test]
fn importance_and_automatic_mail_are_told_in_one_word() {
    let told = text(&format!(
        "{}X-Priority: 1 (Highest)\r\nImportance: High\r\nPriority: URGENT (x)\r\nAuto-Submitted: auto-replied; owner-email=\"me@x\"\r\n\r\n",
        head()
    ));
    let expected = "Importance: high\r\nPriority: urgent\r\nX-Priority: 1\r\nAuto-Submitted: auto-replied\r\n\r\n";
    assert_eq!(told, format!("{}{expected}", head()));
    let other = "X-Priority: 3 (Normal)\r\nImportance: laptop\r\nPriority: normal\r\nAuto-Submitted: no\r\n\r\n";
    assert_eq!(text(&format!("{}{other}", head())), format!("{}\r\n", head()));
}

#[test]
fn parts_tell_neither_program_nor_machine() {
    let sent = text(&format!(
        "{}Mime-Version: 1.0 (Mac OS X Mail 16.0 \\(3774.500\\))\r\n\
         Content-Type: multipart/mixed; boundary=\"Apple-Mail=_1234\"; X-Apple=1\r\nContent-Language: de\r\n\r\n\
         This is a multi-part message in MIME format.\r\n--Apple-Mail=_1234\r\n\
         content-type: TEXT/plain; charset=UTF-8; format=flowed; x-laptop=1; reply-type=original\r\n\
         X-Mailer: part\r\nContent-Location: file:///home/alice/x\r\nContent-Base: file:///home\r\nContent-Language: de\r\n\
         Content-Description: C:\\secret\r\nContent-MD5: x\r\nContent-Transfer-Encoding: 7BIT\r\n\r\nText.\r\n\
         --Apple-Mail=_1234\r\nContent-Type: application/pdf; name=\"C:\\\\Users\\\\alice\\\\x.pdf\"; x-unix-mode=0644;\r\n\
         \tx-mac-type=50444620\r\nX-Attachment-Id: f_1\r\nContent-Disposition: attachment;\r\n filename=\"/home/alice/x.pdf\";\r\n\
         \tcreation-date=\"Sat, 21 Nov 2026 01:00:00 +0100\"; size=3\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n\
         --Apple-Mail=_1234--\r\nSent by laptop\r\n",
        head()
    ));
    let boundary = sent.split("boundary=\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(boundary.len() == 34 && boundary.starts_with("=_"), "{boundary}");
    let expected = format!(
        "{}MIME-Version: 1.0\r\nContent-Type: multipart/mixed;\r\n boundary=\"{boundary}\"\r\n\r\n--{boundary}\r\n\
         Content-Type: text/plain;\r\n charset=UTF-8;\r\n format=flowed\r\nContent-Transfer-Encoding: 7bit\r\n\r\nText.\r\n\
         --{boundary}\r\nContent-Type: application/pdf;\r\n name=x.pdf\r\nContent-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment;\r\n filename=x.pdf\r\n\r\nAAAA\r\n--{boundary}--\r\n",
        head()
    );
    assert_eq!(sent, expected);
}

#[test]
fn pictures_are_found_in_the_text_under_ids_that_name_no_host() {
    let html = "<img src=\"cid:image001.png@01D8ABCD.12345678\"><img src='CID:other%40laptop.lan'> acid:other@laptop.lan cid:none@x";
    let quoted = html.replace('=', "=3D").replace("01D8", "01=\r\nD8");
    let encoded = data_encoding::BASE64.encode(html.as_bytes());
    let pictures = [
        "Content-Type: image/png\r\nContent-ID: <image001.png@01D8ABCD.12345678>\r\n\r\nAAAA",
        "Content-Type: image/png\r\nContent-Id: <other@laptop.lan>\r\n\r\nBBBB",
    ];
    for (encoding, body) in [("8bit", html), ("quoted-printable", &quoted), ("base64", &encoded)] {
        let text =
            format!("Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{body}");
        let sent = clean("related; start=\"<other@laptop.lan>\"", &[&text, pictures[0], pictures[1]]);
        let ids: Vec<&str> = sent.split("Content-ID: <").skip(1).map(|rest| rest.split('>').next().unwrap()).collect();
        assert!(ids.len() == 2 && ids[0] != ids[1], "{sent}");
        assert!(ids.iter().all(|id| id.ends_with(&format!("@{}", onion(1)))), "{sent}");
        assert!(sent.contains(&format!(" start=\"<{}>\"", ids[1])), "{sent}");
        let parsed = structure::parse(sent.as_bytes());
        let body = parsed.part(&[1], Section::Body).unwrap().of(sent.as_bytes());
        let decoded = texts::decoded(body, if encoding == "8bit" { "8bit" } else { "base64" }).unwrap();
        let expected = html
            .replace("image001.png@01D8ABCD.12345678", ids[0])
            .replace("CID:other%40laptop.lan", &format!("CID:{}", ids[1]));
        assert_eq!(String::from_utf8_lossy(&decoded), expected, "{encoding}");
        assert!(!sent.contains("01D8"), "{sent}");
    }
    // A file that is attached keeps its bytes.
    let file = format!("Content-Type: text/html\r\nContent-Disposition: attachment\r\n\r\n{html}");
    assert!(clean("mixed", &[&file, pictures[0]]).contains(html));
}

#[test]
fn what_is_signed_or_encrypted_stays_byte_for_byte() {
    for kind in [
        "signed; protocol=\"application/pgp-signature\"; micalg=pgp-sha512",
        "encrypted; protocol=\"application/pgp-encrypted\"",
    ] {
        let sealed = "preamble\r\n--next\r\nContent-Type: text/plain; x-odd=1\r\nX-Mailer: y\r\nTo: bobby@rune.internal\r\n\r\na \r\n\
                      --next\r\nContent-Type: application/pgp-signature; name=\"/home/x.asc\"\r\n\r\nS\r\n--next--\r\nepilogue";
        let field = format!("Content-Type: multipart/{kind}; boundary=next; x-odd=2\r\n");
        for whole in [
            format!("{}Mime-Version: 1.0\r\n{field}X-Mailer: z\r\n\r\n{sealed}", head()),
            format!(
                "{}{}",
                head(),
                multipart(
                    "mixed",
                    &[&format!("{}X-Mailer: z\r\n\r\n{sealed}", field.replace("next", "inner"))
                        .replace("--next", "--inner")]
                )
            ),
        ] {
            let sent = text(&whole);
            assert!(sent.replace("inner", "next").contains(&format!("\r\n\r\n{sealed}")), "{sent}");
            assert!(!sent.contains("X-Mailer: z") && !sent.contains("x-odd=2"), "{sent}");
            assert!(sent.contains("protocol=\"application/pgp-"), "{sent}");
        }
    }
}

#[test]
fn a_forwarded_message_of_ones_own_is_cleaned_like_a_new_one() {
    let inner = format!(
        "From - Sat Nov 21 01:00:00 2026\r\nX-Mozilla-Status: 0001\r\nReceived: from laptop\r\n\
         From: Alice <alice@rune.internal>\r\nTo: \"My love\" <caro@rune.internal>, Out <x@example.org>, {}, bobby@rune.internal\r\n\
         Bcc: caro@rune.internal\r\nCc: {}\r\nDate: Sat, 21 Nov 2026 02:00:00 +0100\r\nMessage-ID: <5@laptop.lan>\r\n\
         References: <4@{}>\r\nIn-Reply-To: <4@{}>\r\nSubject: old\r\nX-Host: laptop\r\n{}",
        own(),
        carol(),
        onion(3),
        onion(3),
        multipart("alternative", &["X-Mailer: y\r\n\r\ninner text"]).replace("next", "----=_NextPart_000")
    );
    let base64 = data_encoding::BASE64.encode(inner.replace("\r\n", "\n").as_bytes());
    for part in [
        format!("Content-Type: message/rfc822; name=old.eml\r\n\r\n{inner}"),
        format!("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n{base64}"),
        format!("Content-Type: message/rfc822\r\n\r\nFrom: {}\r\nContent-Type: message/rfc822\r\n\r\n{inner}", bob()),
    ] {
        let message = format!("{}To: bobby@rune.internal\r\n{}", head(), multipart("mixed", &["\r\nsee below", &part]));
        let sent = text(&message);
        for gone in [
            "rune.internal",
            "laptop",
            "X-",
            "Bcc",
            "References",
            "In-Reply-To",
            "Received",
            "+0100",
            "NextPart",
            "love",
            "From - ",
            &onion(3).to_string(),
        ] {
            assert!(!sent.contains(gone), "{gone}: {sent}");
        }
        let fields = format!(
            "Date: Sat, 21 Nov 2026 01:00:00 +0000\r\nMessage-ID: <5@{0}>\r\nFrom: Alice <{1}>\r\n\
             To: Out <x@example.org>,\r\n {1},\r\n {2}\r\nCc: undisclosed-recipients:;\r\nSubject: old\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/alternative;\r\n",
            onion(1),
            own(),
            bob()
        );
        assert!(sent.contains(&fields), "{sent}\n\nexpected\n{fields}");
        assert!(sent.contains("\r\ninner text\r\n"), "{sent}");
    }
}

#[test]
fn a_forwarded_message_of_somebody_else_keeps_its_author() {
    let inner = format!(
        "Received: x\r\nFrom: Carol <{0}>\r\nSender: {0}\r\nReply-To: {0}\r\nTo: {1}\r\nMessage-ID: <9@{2}>\r\n\
         In-Reply-To: <8@{3}>\r\nSubject: hers\r\n\r\nhello",
        carol(),
        own(),
        onion(3),
        onion(1)
    );
    let sent = clean("mixed", &[&format!("Content-Type: message/rfc822\r\n\r\n{inner}")]);
    let expected = format!(
        "Message-ID: <9@{}>\r\nFrom: Carol <{}>\r\nTo: {}\r\nSubject: hers\r\n\r\nhello\r\n",
        onion(3),
        carol(),
        own()
    );
    assert!(sent.contains(&format!("Content-Type: message/rfc822\r\n\r\n{expected}")), "{sent}");
}

#[test]
fn reports_of_reading_and_delivery_name_neither_program_nor_others() {
    let reading = format!(
        "Content-Type: message/disposition-notification; name=\"MDNPart2.txt\"\r\nContent-Transfer-Encoding: 7Bit\r\n\r\n\
         reporting-ua: laptop.lan;\r\n Mozilla/5.0 (X11; Linux x86_64)\r\nFinal-Recipient: rfc822;alice@rune.internal\r\n\
         Original-Recipient: rfc822;alice@rune.internal\r\nOriginal-Message-ID: <1@{}>\r\nX-Odd: y\r\n\
         Disposition: manual-action/MDN-sent-manually; displayed (by laptop)\r\n",
        onion(2)
    );
    let delivery = format!(
        "Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; laptop\r\nX-Rune-Queue-Id: 1\r\n\
         Arrival-Date: Sat, 21 Nov 2026 02:00:00 +0100\r\n\r\nFinal-Recipient: rfc822; caro@rune.internal\r\nDiagnostic-Code: smtp; laptop\r\n\
         Action: failed\r\nStatus: 5.1.1\r\n\r\nFinal-Recipient: rfc822; {}\r\nAction: delayed\r\n",
        carol()
    );
    let original = format!(
        "Content-Type: text/rfc822-headers\r\n\r\nFrom: {}\r\nTo: alice@rune.internal\r\nX-Host: laptop\r\nSubject: his\r\n",
        bob()
    );
    let message = format!(
        "{}To: {}\r\n{}",
        head(),
        bob(),
        multipart("report; report-type=disposition-notification", &["\r\nread", &reading, &delivery, &original])
    );
    let sent = text(&message);
    for gone in ["laptop", "rune.internal", "Original-Recipient", "X-", "Reporting", "+0100", &onion(3).to_string()] {
        assert!(!sent.contains(gone), "{gone}: {sent}");
    }
    for kept in [
        &format!("Final-Recipient: rfc822; {}\r\nOriginal-Message-ID: <1@{}>\r\n", own(), onion(2)),
        "Disposition: manual-action/MDN-sent-manually; displayed\r\n",
        "Arrival-Date: Sat, 21 Nov 2026 01:00:00 +0000\r\n\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\nAction: delayed\r\n",
        &format!("\r\n\r\nFrom: {}\r\nTo: {}\r\nSubject: his\r\n", bob(), own()),
        "report-type=disposition-notification",
    ] {
        assert!(sent.contains(kept), "{kept}: {sent}");
    }
}

#[test]
fn a_calendar_tells_no_program_and_no_petname_and_keeps_its_times() {
    let calendar = "BEGIN:VCALENDAR\r\nPRODID:-//Laptop Calendar//EN\r\nVERSION:2.0\r\nX-WR-TIMEZONE:Europe/Berlin\r\nBEGIN:VEVENT\r\n\
         DTSTART;TZID=Europe/Berlin;X-ODD=1:20261121T100000\r\nSUMMARY:Tea: at X-mas\\, with\r\n  bobby\r\nX-MOZ-LASTACK:1\r\n  2\r\n\
         ORGANIZER;CN=Alice:mailto:alice@rune.internal\r\nATTENDEE;CN=\"caro@rune.internal\":mailto:caro@rune.internal\r\n\
         ATTENDEE;CN=\"Bob; B\";ROLE=CHAIR:MAILTO:bobby@rune.internal\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
    let expected = format!(
        "BEGIN:VCALENDAR\r\nPRODID:-//-//EN\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\n\
         DTSTART;TZID=Europe/Berlin:20261121T100000\r\nSUMMARY:Tea: at X-mas\\, with\r\n  bobby\r\n\
         ORGANIZER;CN=Alice:mailto:{}\r\nATTENDEE;CN=\"Bob; B\";ROLE=CHAIR:mailto:{}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
        own(),
        bob()
    );
    for encoded in [false, true] {
        let body = if encoded { data_encoding::BASE64.encode(calendar.as_bytes()) } else { calendar.to_owned() };
        let encoding = if encoded { "base64" } else { "8bit" };
        let message = format!(
            "{}To: {}\r\nContent-Type: text/calendar; method=REQUEST; x-odd=1; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{body}",
            head(),
            bob()
        );
        let sent = text(&message);
        assert!(sent.contains("text/calendar;\r\n method=REQUEST;\r\n charset=utf-8\r\n"), "{sent}");
        let (_, body) = headers::split(sent.as_bytes());
        let decoded = String::from_utf8(texts::decoded(body, encoding).unwrap().into_owned()).unwrap();
        // Long lines are folded.
        assert_eq!(decoded.replace("\r\n ", ""), expected.replace("\r\n ", ""));
        assert!(decoded.lines().all(|line| line.len() <= 75), "{decoded}");
    }
}

/// The leaves of a message that are files, in their order.
fn files<'m>(part: &Structure, message: &'m [u8], found: &mut Vec<&'m [u8]>) {
    match &part.inner {
        Inner::Multipart(parts) => parts.iter().for_each(|part| files(part, message, found)),
        Inner::Message(inner) => files(&inner.root, message, found),
        Inner::Leaf if part.media_type == "application" || part.media_type == "text" => {
            found.push(part.body.of(message))
        }
        Inner::Leaf => {}
    }
}

/// Asserts that the headers of these parts have only allowed fields.
fn assert_allowed(part: &Structure, message: &[u8], is_message: bool) {
    const CONTENT: [&str; 4] = ["content-type", "content-transfer-encoding", "content-disposition", "content-id"];
    for field in headers::fields(part.header.of(message)) {
        let name = String::from_utf8_lossy(field.name).to_ascii_lowercase();
        let at_top = fields::allowed().any(|allowed| allowed.eq_ignore_ascii_case(&name)) || name == "mime-version";
        assert!(CONTENT.contains(&&*name) || is_message && at_top, "{name}");
    }
    const PARAMS: [&str; 8] = ["charset", "format", "boundary", "start", "type", "name", "name*", "method"];
    assert!(part.params.iter().all(|param| PARAMS.contains(&&*param.name)), "{:?}", part.params);
    let disposition = part.disposition.iter().flat_map(|disposition| &disposition.params);
    assert!(disposition.into_iter().all(|param| param.name == "filename" || param.name == "filename*"));
    match &part.inner {
        Inner::Multipart(parts) => parts.iter().for_each(|part| assert_allowed(part, message, false)),
        Inner::Message(inner) => assert_allowed(&inner.root, message, true),
        Inner::Leaf => {}
    }
}

fn any_part() -> impl Strategy<Value = String> {
    let field = prop::sample::select(vec![
        "Content-Type: text/plain; charset=utf-8; x-a=b\r\n",
        "Content-Type: application/pdf; name=\"/a/b.pdf\"\r\n",
        "Content-Disposition: attachment; filename=\"C:\\\\a\\\\b\"; size=1\r\n",
        "Content-Transfer-Encoding: 8bit\r\n",
        "Content-ID: <a@laptop>\r\n",
        "X-Mailer: laptop\r\n",
        "Content-Location: laptop\r\n",
        "Content-Language: de\r\n",
    ]);
    let body = "([ -~\u{e4}\t]{0,20}\r\n){0,3}[a-z]{0,5}";
    let leaf = (prop::collection::btree_set(field, 0..5), body).prop_map(|(fields, body)| {
        let mut types = 0;
        let fields: String = fields
            .into_iter()
            .filter(|field| {
                !field.starts_with("Content-Type") || {
                    types += 1;
                    types == 1
                }
            })
            .collect();
        format!("{fields}\r\n{body}")
    });
    leaf.prop_recursive(3, 12, 3, |inner| {
        let parts = prop::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            (parts, "[a-z=_]{5,9}[0-9]{20}", "[a-z ]{0,9}").prop_map(|(parts, boundary, around)| {
                let parts: String = parts.iter().map(|part| format!("--{boundary}\r\n{part}\r\n")).collect();
                format!("Content-Type: multipart/mixed; boundary=\"{boundary}\"\r\n\r\n{around}\r\n{parts}--{boundary}--\r\n{around}")
            }),
            inner.prop_map(|part| format!(
                "Content-Type: message/rfc822\r\n\r\nFrom: x@y\r\nX-Host: laptop\r\nBcc: z@y\r\nReceived: laptop\r\n{part}"
            )),
        ]
    })
}

proptest! {
    #[test]
    fn no_petname_leaves(list in "([a-c\"<>(),:; ]|bobby@rune\\.internal|caro@rune\\.internal){0,8}") {
        let forwarded = format!("Content-Type: message/rfc822\r\n\r\nFrom: {list}\r\nTo: {list}\r\n\r\nx");
        let message = format!("{}To: {list}\r\nCc: {list}\r\n{}", head(), multipart("mixed", &[&forwarded]));
        if let Ok(prepared) = run(&message) {
            prop_assert!(!String::from_utf8(prepared.message.clone()).unwrap().contains("rune.internal"));
            let again = prepare(&prepared.message, &own(), now(), &resolve, &petname_of, &mut SeededRng::new(2));
            prop_assert_eq!(again.map(|again| again.message), Ok(prepared.message));
        }
    }

    #[test]
    fn only_what_is_allowed_leaves_and_files_keep_their_bytes(part in any_part()) {
        let message = format!("{}X-Host: laptop\r\n{part}", head());
        let prepared = run(&message).unwrap().message;
        prop_assert!(!String::from_utf8_lossy(&prepared).contains("laptop"));
        let (before, after) = (structure::parse(message.as_bytes()), structure::parse(&prepared));
        assert_allowed(&after.root, &prepared, true);
        let (mut written, mut sent) = (Vec::new(), Vec::new());
        files(&before.root, message.as_bytes(), &mut written);
        files(&after.root, &prepared, &mut sent);
        prop_assert_eq!(written, sent);
        let again = prepare(&prepared, &own(), now(), &resolve, &petname_of, &mut SeededRng::new(2));
        prop_assert_eq!(again.map(|again| again.message), Ok(prepared));
    }

    #[test]
    fn bytes_are_prepared_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut message = head().into_bytes();
        message.extend(bytes);
        if let Ok(prepared) = prepare(&message, &own(), now(), &|_| None, &|_| None, &mut SeededRng::new(1)) {
            prop_assert_eq!(strict::check(&prepared.message), Ok(()));
        }
    }
}
