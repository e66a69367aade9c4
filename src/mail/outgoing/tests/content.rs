//! The fields of content and the bounds of parts: each value that is allowed, and the first one beyond.

use super::*;
use crate::base::limits::{MIME_DEPTH, MIME_PARTS};
use crate::mail::readable;

/// The form in which this content type leaves, with the fields of its part that follow it.
fn sent_as(written: &str) -> String {
    let sent = clean("mixed", &["\r\ntext", &format!("Content-Type: {written}\r\n\r\nx")]);
    let part = sent.rsplit("text\r\n--").next().unwrap().split_once("\r\n").unwrap().1;
    part.split("\r\n\r\n").next().unwrap().strip_prefix("Content-Type: ").unwrap_or_default().to_owned()
}

#[test]
fn a_content_type_keeps_the_parameters_that_say_how_it_is_read_and_no_others() {
    for (written, expected) in [
        (
            "text/plain; charset=utf-8; format=flowed; delsp=yes; method=x",
            "text/plain; charset=utf-8; format=flowed; delsp=yes",
        ),
        ("text/plain; format=flowed", "text/plain; format=flowed"),
        ("text/html; charset=utf-8; format=flowed; codecs=x", "text/html; charset=utf-8"),
        ("text/calendar; method=REQUEST; component=VEVENT; delsp=x", "text/calendar; method=REQUEST; component=VEVENT"),
        (
            "application/pkcs7-mime; smime-type=enveloped-data; micalg=x",
            "application/pkcs7-mime; smime-type=enveloped-data",
        ),
        ("application/x-pkcs7-mime; smime-type=signed-data", "application/x-pkcs7-mime; smime-type=signed-data"),
        ("application/pdf; smime-type=x; type=y; start=z", "application/pdf"),
        ("audio/ogg; codecs=opus; rate=8000; channels=2; start=1", "audio/ogg; codecs=opus; rate=8000; channels=2"),
        ("video/mp4; codecs=avc1; method=x", "video/mp4; codecs=avc1"),
        ("image/png; rate=1; boundary=x; protocol=y", "image/png"),
        // The value of a parameter is plain and short.
        ("video/mp4; codecs=\"avc1.4d002a, mp4a.40.2\"", "video/mp4; codecs=\"avc1.4d002a, mp4a.40.2\""),
        ("video/mp4; codecs=\"a\\\"b\"; rate=1", "video/mp4; rate=1"),
        ("video/mp4; codecs=\"\"; rate=1", "video/mp4; rate=1"),
        (
            &format!("video/mp4; codecs={}; rate=1", "a".repeat(128)),
            &format!("video/mp4; codecs={}; rate=1", "a".repeat(128)),
        ),
        (&format!("video/mp4; codecs={}; rate=1", "a".repeat(129)), "video/mp4; rate=1"),
        // A type that is missing or cannot be read means text, and is left out.
        ("nonsense", ""),
        ("", ""),
        ("text/plain", "text/plain"),
    ] {
        assert_eq!(sent_as(written).replace("\r\n", ""), expected, "{written}");
    }
}

#[test]
fn the_line_between_signed_parts_stays_whatever_is_in_it() {
    for boundary in ["next", "odd?(line)'of=its,own", &"b".repeat(70)] {
        let signed = format!(
            "--{boundary}\r\n\r\ntext\r\n--{boundary}\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--{boundary}--\r\n"
        );
        for (protocol, kept) in [("application/pgp-signature", true), ("odd\\\"one", false)] {
            let message = format!(
                "{}MIME-Version: 1.0\r\nContent-Type: multipart/signed; micalg=pgp-sha512; protocol=\"{protocol}\";\r\n \
                 boundary=\"{boundary}\"; x-odd=1\r\n\r\n{signed}",
                head()
            );
            let sent = text(&message);
            let structure = structure::parse(sent.as_bytes());
            assert!(matches!(&structure.root.inner, Inner::Multipart(parts) if parts.len() == 2), "{sent}");
            assert_eq!(headers::split(sent.as_bytes()).1, signed.as_bytes());
            let names: Vec<&str> = structure.root.params.iter().map(|param| param.name.as_str()).collect();
            assert_eq!(names, if kept { vec!["micalg", "protocol", "boundary"] } else { vec!["micalg", "boundary"] });
        }
    }
}

#[test]
fn a_header_that_grew_beyond_its_bound_is_refused() {
    use crate::base::limits::HEADER_BYTES;
    let ready =
        |subject: usize| run(&format!("{}To: bobby@rune.internal\r\nSubject: {}\r\n", head(), "x".repeat(subject)));
    let fields = ready(1).unwrap().message.len();
    let most = HEADER_BYTES - fields + 1;
    assert_eq!(ready(most).unwrap().message.len(), HEADER_BYTES);
    assert_eq!(ready(most + 1), Err(OutgoingError::Ambiguous(Ambiguity::TooLong)));
}

#[test]
fn the_id_that_was_written_is_told_where_it_is_another_now() {
    let told = |id: &str| {
        let ready = run(&format!("From: {}\r\n{id}\r\n", own())).unwrap();
        ready.written_id
    };
    assert_eq!(told("Message-ID: <1@laptop>\r\n"), Some("<1@laptop>".to_owned()));
    assert_eq!(told(&format!("Message-ID: <1@{}>\r\n", onion(1))), None);
    assert_eq!(told("Message-ID: junk\r\n"), None);
    assert_eq!(told(""), None);
}

#[test]
fn a_message_without_its_thread_is_the_same_otherwise() {
    let thread = "In-Reply-To: <a@b>\r\nREFERENCES: <a@b>\r\n <c@d>\r\n";
    let rest = |thread: &str| format!("From: a@x\r\n{thread}Subject: References: x\r\n\r\nReferences: <a@b>\r\n\r\nx");
    assert_eq!(String::from_utf8(without_thread(rest(thread).as_bytes())).unwrap(), rest(""));
    assert_eq!(without_thread(rest("").as_bytes()), rest("").as_bytes());
}

#[test]
fn a_message_has_so_many_parts_and_no_more() {
    let mixed = |count: usize| multipart("mixed", &vec!["\r\nx"; count]);
    let plain = |count: usize| run(&format!("{}{}", head(), mixed(count)));
    assert!(plain(MIME_PARTS - 1).is_ok());
    assert_eq!(plain(MIME_PARTS), Err(OutgoingError::Parts));
    // A signed part is not changed, but its parts count: the mixed part, those in it, and the signature.
    let signed = |count: usize| {
        let inner = mixed(count - 2);
        let content = inner.strip_prefix("MIME-Version: 1.0\r\n").unwrap();
        let signature = "Content-Type: application/pgp-signature\r\n\r\nx";
        run(&format!(
            "{}Content-Type: multipart/signed; boundary=s\r\n\r\n--s\r\n{content}--s\r\n{signature}\r\n--s--\r\n",
            head()
        ))
    };
    assert!(signed(MIME_PARTS - 1).is_ok());
    assert_eq!(signed(MIME_PARTS), Err(OutgoingError::Parts));
}

#[test]
fn a_message_is_so_deep_and_no_deeper() {
    let multiparts = |count: usize| {
        (0..count).fold("\r\ntext".to_owned(), |inner, level| {
            format!(
                "Content-Type: multipart/mixed; boundary=b{level}x\r\n\r\n--b{level}x\r\n{inner}\r\n--b{level}x--\r\n"
            )
        })
    };
    let messages =
        |count: usize, inner: &str| format!("{}{inner}", "Content-Type: message/rfc822\r\n\r\n".repeat(count));
    let encoded = format!(
        "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n{}",
        data_encoding::BASE64.encode(b"Subject: x\r\n\r\ntext")
    );
    let levels = |body: String| run(&format!("{}{body}", head()));
    assert!(levels(multiparts(MIME_DEPTH)).is_ok());
    assert_eq!(levels(multiparts(MIME_DEPTH + 1)), Err(OutgoingError::Parts));
    assert!(levels(messages(MIME_DEPTH, "Subject: x\r\n\r\ntext")).is_ok());
    assert_eq!(levels(messages(MIME_DEPTH + 1, "Subject: x\r\n\r\ntext")), Err(OutgoingError::Parts));
    assert!(levels(messages(MIME_DEPTH - 1, &encoded)).is_ok());
    assert_eq!(levels(messages(MIME_DEPTH, &encoded)), Err(OutgoingError::Parts));
}

#[test]
fn file_names_keep_no_folder_in_any_form() {
    for (written, expected) in [
        ("filename=x.pdf", "filename=x.pdf"),
        ("filename=\"a b (1).pdf\"", "filename=\"a b (1).pdf\""),
        ("filename=\"/home/bob/x.pdf\"", "filename=x.pdf"),
        ("filename=\"C:\\\\Users\\\\bob\\\\x.pdf\"", "filename=x.pdf"),
        ("filename=C:D:x.pdf", "filename=x.pdf"),
        ("filename=\"file:///home/bob/x.pdf\"", "filename=x.pdf"),
        ("filename*=utf-8'de'%2Fhome%2Fbob%2F%C3%A4.pdf", "filename*=utf-8''%C3%A4.pdf"),
        ("filename*=iso-8859-1''C%3A%5Cbob%5C%E4.pdf", "filename*=utf-8''%C3%A4.pdf"),
        ("filename*0*=utf-8''%2Fhome; filename*1*=%2Fbob%2F; filename*2=x.pdf", "filename=x.pdf"),
        ("filename*1=.pdf; filename*0=\"/home/bob/x\"", "filename=x.pdf"),
        ("filename=\"=?utf-8?Q?=2Fhome=2Fbob=2F=C3=A4.pdf?=\"", "filename*=utf-8''%C3%A4.pdf"),
        ("filename=\"\u{e4}.pdf\"", "filename*=utf-8''%C3%A4.pdf"),
        ("filename=\"/\"", "filename=attachment"),
        ("filename=x.pdf; modification-date=\"Sat, 21 Nov 2026 01:00:00 +0100\"; x-host=laptop", "filename=x.pdf"),
    ] {
        let part = format!("Content-Type: application/pdf\r\nContent-Disposition: attachment; {written}\r\n\r\nx");
        let sent = clean("mixed", &["\r\ntext", &part]);
        let expected =
            format!("Content-Type: application/pdf\r\nContent-Disposition: attachment;\r\n {expected}\r\n\r\nx\r\n");
        assert!(sent.contains(&expected), "{written}: {sent}");
    }
    let long = format!("filename=\"/home/{}.pdf\"", "\u{e4}".repeat(190));
    let sent = clean("mixed", &[&format!("Content-Disposition: attachment; {long}\r\n\r\nx")]);
    assert!(sent.lines().all(|line| line.len() < 100) && !sent.contains("home"), "{sent}");
    let parsed = structure::parse(sent.as_bytes());
    let part = parsed.part(&[1], Section::Mime).unwrap().of(sent.as_bytes());
    let read = mailparse::parse_mail(part).unwrap().get_content_disposition();
    assert_eq!(read.params.get("filename").unwrap(), &format!("{}.pdf", "\u{e4}".repeat(190)));
}

#[test]
fn what_cannot_be_seen_through_is_refused() {
    let many = multipart("mixed", &vec!["\r\nx"; 1001]);
    let mut deep = "\r\ntext".to_owned();
    for level in 0..40 {
        deep = format!(
            "Content-Type: multipart/mixed; boundary=b{level}x\r\n\r\n--b{level}x\r\n{deep}\r\n--b{level}x--\r\n"
        );
    }
    for body in [
        many.as_str(),
        &deep,
        "Content-Type: multipart/mixed\r\n\r\nx",
        "Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: base64\r\n\r\nLS1i",
        "Content-Type: message/partial; id=x; number=1\r\n\r\nX-Mailer: y\r\n",
        "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: x-unknown\r\n\r\nX-Mailer: y\r\n",
    ] {
        assert_eq!(
            run(&format!("{}{body}", head())),
            Err(OutgoingError::Parts),
            "{}",
            body.chars().take(300).collect::<String>()
        );
    }
    let most = text(&format!("{}{}", head(), multipart("mixed", &vec!["\r\nx"; 990])));
    assert_eq!(most.matches("\r\nx\r\n").count(), 990);
}

#[test]
fn a_part_with_a_lone_line_end_leaves_in_base64_with_the_bytes_that_it_has() {
    let (odd, inner) = ("one\rtwo\nthree\r\n\r", "From: x@y\r\n\r\na\rb\r\n");
    let message = format!(
        "{}{}",
        head(),
        multipart(
            "mixed",
            &[
                "\r\nplain\r\n",
                &format!("\r\n{odd}"),
                &format!("Content-Type: text/html\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{odd}"),
                &format!("Content-Type: application/pdf; name=x.pdf\r\n\r\n{odd}"),
                &format!("Content-Type: message/rfc822\r\n\r\n{inner}"),
            ]
        )
    );
    let sent = text(&message);
    assert!(has_strict_lines(sent.as_bytes()));
    let root = structure::parse(sent.as_bytes()).root;
    let Inner::Multipart(parts) = &root.inner else { panic!("{sent}") };
    let part =
        |number: usize| (parts[number].encoding.as_str(), readable::bytes_of_part(&parts[number], sent.as_bytes()));
    assert_eq!(part(0), ("7bit", b"plain\r\n".to_vec()));
    for number in 1..=3 {
        assert_eq!(part(number), ("base64", odd.as_bytes().to_vec()), "{number}");
    }
    let Inner::Message(inner) = &parts[4].inner else { panic!("{sent}") };
    assert_eq!(readable::bytes_of_part(&inner.root, sent.as_bytes()), b"a\rb\r\n");
    // The same without parts.
    let sent = text(&format!("{}\r\n{odd}", head()));
    let root = structure::parse(sent.as_bytes()).root;
    assert!(sent.contains("MIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n"), "{sent}");
    assert_eq!(readable::bytes_of_part(&root, sent.as_bytes()), odd.as_bytes());
}

#[test]
fn a_message_that_ends_its_lines_with_lf_leaves_with_crlf() {
    let sent = text(&format!("{}\nname\n.\n", head().replace("\r\n", "\n")));
    assert!(sent.ends_with("\r\n\r\nname\r\n.\r\n"), "{sent}");
}
