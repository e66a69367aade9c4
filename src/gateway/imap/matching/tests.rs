//! Which messages match which search keys, and in which order.

use super::*;

const MESSAGE: &[u8] = b"Date: Tue, 3 Feb 2026 23:30:00 -0800\r\n\
    From: =?utf-8?Q?J=C3=BCrgen?= <j@example.org>\r\n\
    Subject: =?iso-8859-1?Q?Gr=FC=DFe?=\r\n =?iso-8859-1?Q?_aus_K=F6ln?=\r\n\
    Content-Type: multipart/mixed; boundary=b\r\n\r\n\
    --b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n\
    RGllIFNjaMO2bmUgQXVzc2ljaHQ=\r\n\
    --b\r\nContent-Type: application/octet-stream\r\n\r\nnothing to see\r\n--b--\r\n";

fn facts() -> Facts {
    let arrived = Day { year: 2026, month: 2, day: 4 };
    Facts { row: Row { seq: 2, uid: 5 }, flags: Flags::SEEN.union(Flags::keyword(0)), size: 100, arrived }
}

fn holds(key: &Key) -> bool {
    holds_for(key, MESSAGE)
}

fn holds_for(key: &Key, message: &[u8]) -> bool {
    key.holds(&facts(), &mut Texts::of_message(message, &mut || true)).unwrap()
}

#[test]
fn numbers_are_looked_up_in_ranges() {
    let ranges = [(2, 2), (5, 9)];
    let within: Vec<u32> = (0..12).filter(|number| is_within(&ranges, *number)).collect();
    assert_eq!(within, [2, 5, 6, 7, 8, 9]);
    assert!(!is_within(&[], 1));
    assert_eq!(Key::Numbers(vec![(1, 2)]).known(&facts()), Some(true));
    assert_eq!(Key::Uids(vec![(1, 4), (6, 9)]).known(&facts()), Some(false));
}

#[test]
fn a_header_in_a_message_is_read_as_far_as_a_header_may_go() {
    let many = "a:\r\n".repeat(limits::HEADER_FIELDS * 3);
    let message = format!("Content-Type: message/rfc822\r\n\r\n{many}\r\n");
    let mut go_on = || true;
    let mut texts = Texts::of_message(message.as_bytes(), &mut go_on);
    assert_eq!(texts.has_body("x"), Some(false));
    assert!(texts.body.unwrap().len() <= limits::HEADER_FIELDS + 1);
    let mut go_on = || true;
    let mut texts = Texts::of_header(many.as_bytes(), &mut go_on);
    assert_eq!(texts.has_line("x"), Some(false));
    assert!(texts.fields.unwrap().len() <= limits::HEADER_FIELDS);
}

#[test]
fn when_the_time_is_over_nothing_is_looked_at() {
    let mut go_on = || false;
    let mut texts = Texts::of_message(MESSAGE, &mut go_on);
    assert_eq!(Key::Not(Box::new(Key::body("x"))).holds(&facts(), &mut texts), None);
    assert!(texts.body.is_none(), "nothing was decoded");
}

#[test]
fn a_search_asks_whether_to_go_on_within_every_64_kib() {
    let text = "x=C3=B6 \u{e4}".repeat(300_000);
    for head in ["", "Content-Transfer-Encoding: base64\r\n", "Content-Transfer-Encoding: quoted-printable\r\n"] {
        for charset in
            ["", "Content-Type: text/plain; charset=iso-8859-1\r\n", "Content-Type: text/plain; charset=utf-7\r\n"]
        {
            let message = format!("{head}{charset}\r\n{text}");
            let mut before = meter::work(|| ()).0;
            let mut longest = 0;
            let (all, ()) = meter::work(|| {
                let mut go_on = || {
                    let now = meter::so_far();
                    if before > 0 {
                        longest = longest.max(now - before);
                    }
                    before = now;
                    true
                };
                let root = structure::parse_while(message.as_bytes(), &mut go_on).unwrap().root;
                let mut decoder = Decoder {
                    message: message.as_bytes(),
                    budget: HeaderBudget::default(),
                    texts: Vec::new(),
                    go_on: &mut go_on,
                };
                decoder.decode(&root, false).unwrap();
                let texts = decoder.texts;
                let found = texts.iter().any(|text| contains(text, "not there", &mut go_on).unwrap());
                assert!(!found);
            });
            assert!(longest <= 8 * PIECE as u64, "{longest} of {all} steps in {head}{charset}");
        }
    }
}

#[test]
fn a_piece_ends_where_a_character_begins_at_its_bound_or_before() {
    let places = [(0, 0), (1, 1), (2, 1), (3, 3), (4, 3), (5, 3), (6, 6), (7, 6), (usize::MAX, 6)];
    for (place, expected) in places {
        assert_eq!(boundary("aö€", place), expected, "{place}");
    }
}

#[test]
fn what_is_wanted_is_found_across_pieces() {
    let mut go_on = || true;
    let text = "ö".repeat(PIECE);
    for at in [0, PIECE - 4, PIECE - 1, PIECE, 2 * PIECE - 6] {
        let place = boundary(&text, at);
        let (before, after) = text.split_at(place);
        let text = format!("{before}needle{after}");
        assert_eq!(contains(&text, "needle", &mut go_on), Some(true), "{at}");
        assert_eq!(contains(&text, "needles", &mut go_on), Some(false), "{at}");
    }
    assert_eq!(contains("", "", &mut go_on), Some(true));
    assert_eq!(contains(&"a".repeat(3 * PIECE), &"a".repeat(2 * PIECE), &mut go_on), Some(true));
}

#[test]
fn searching_makes_no_more_steps_than_so_many_a_byte() {
    let multipart = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
    let shapes: [(&str, String, &str); 12] = [
        ("a leaf that calls itself multipart", "Content-Type: multipart/mixed\r\n\r\n".into(), "--\r\n"),
        ("a text that calls itself multipart later", format!("Content-Type: text/plain\r\n{multipart}"), "--b\r\n"),
        ("encoded words in a part", format!("{multipart}--b\r\nSubject: "), "=?utf-8?q?x?= "),
        ("beginnings of encoded words in a part", format!("{multipart}--b\r\nSubject: "), "=?"),
        ("encoded words in many parts", multipart.into(), "--b\r\nSubject: =?utf-8?q?x?= =?a?q?\r\n\r\n"),
        ("encoded words", "Subject: ".into(), "=?utf-8?b?w7Y=?="),
        ("parts", multipart.into(), "--b\r\n\r\n=C3\r\n"),
        ("escapes", "Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n".into(), "\u{1b}$B\u{1b}(B"),
        ("soft breaks", "Content-Transfer-Encoding: quoted-printable\r\n\r\n".into(), "= "),
        ("padding", "Content-Transfer-Encoding: base64\r\n\r\n".into(), "A\r\n"),
        ("messages", String::new(), "Content-Type: message/rfc822\r\nSubject: =?utf-8?q?x?=\r\n\r\n"),
        ("file names", "Content-Disposition: attachment".into(), ";filename*0*=''%41"),
    ];
    for (name, head, unit) in shapes {
        for count in [1000, 4000, 16_000] {
            let message = format!("{head}{}", unit.repeat(count)).into_bytes();
            let (steps, _) = meter::work(|| holds_for(&Key::text("not there"), &message));
            assert!(steps <= STEPS_PER_BYTE * message.len() as u64 + 2000, "{name}, {} bytes: {steps}", message.len());
        }
    }
}

#[test]
fn what_people_see_of_attachments_and_reports_is_found() {
    let attached = include_bytes!("../../../../tests/messages/S6-attachment-name.eml");
    let report = include_bytes!("../../../../tests/messages/S7-delivery-status.eml");
    let continued = include_bytes!("../../../../tests/messages/M4-filename-continued.eml");
    for key in [Key::body, Key::text] {
        assert!(holds_for(&key("Invoice.pdf"), attached));
        assert!(holds_for(&key("nobody@example.org"), report));
    }
    assert!(holds_for(&Key::text("filename*0=long"), continued));
    assert!(!holds_for(&Key::body("filename*0=long"), continued), "that is the header of the message");
    for message in [
        &include_bytes!("../../../../tests/messages/S1-raw-utf8-without-charset.eml")[..],
        include_bytes!("../../../../tests/messages/S2-base64-space-after.eml"),
        include_bytes!("../../../../tests/messages/S3-base64-folded-field.eml"),
        include_bytes!("../../../../tests/messages/S4-base64-comment.eml"),
        include_bytes!("../../../../tests/messages/S5-base64-then-list-footer.eml"),
    ] {
        assert!(holds_for(&Key::body("KÖLN"), message), "{}", String::from_utf8_lossy(message));
    }
}

#[test]
fn text_is_compared_as_people_see_it() {
    assert!(holds(&Key::header("FROM", "JÜRGEN")));
    assert!(holds(&Key::header("Subject", "grüße aus köln")));
    assert!(holds(&Key::header("subject", "")));
    assert!(!holds(&Key::header("x-none", "")));
    assert!(holds(&Key::body("schöne aussicht")));
    assert!(!holds(&Key::body("nothing to see")));
    assert!(!holds(&Key::body("RGllIFNj")));
    assert!(holds(&Key::text("KÖLN")));
    assert!(holds(&Key::text("subject: grüße")));
    assert!(!holds(&Key::body("köln")));
}

#[test]
fn the_day_sent_is_the_day_written() {
    let day = |text: &str| Day::parse(text).unwrap();
    assert!(holds(&Key::SentOn(day("3 Feb 2026"))));
    assert!(holds(&Key::SentBefore(day("4 Feb 2026"))));
    assert!(!holds(&Key::SentSince(day("4 Feb 2026"))));
    assert!(holds(&Key::On(day("4 Feb 2026"))));
    assert_eq!(Day::parse("Tue, 1 Feb 94 10:00"), Some(Day { year: 1994, month: 2, day: 1 }));
    assert_eq!(Day::parse("no date 99 Foo 12"), None);
}

#[test]
fn sizes_and_days_are_compared_to_the_byte_and_the_day() {
    let day = |text: &str| Day::parse(text).unwrap();
    // The message has 100 bytes, and arrived on the fourth.
    for (key, holds) in [
        (Key::Larger(99), true),
        (Key::Larger(100), false),
        (Key::Smaller(101), true),
        (Key::Smaller(100), false),
        (Key::Before(day("5 Feb 2026")), true),
        (Key::Before(day("4 Feb 2026")), false),
        (Key::On(day("4 Feb 2026")), true),
        (Key::On(day("3 Feb 2026")), false),
        (Key::Since(day("4 Feb 2026")), true),
        (Key::Since(day("5 Feb 2026")), false),
    ] {
        assert_eq!(key.known(&facts()), Some(holds), "{key:?}");
    }
    for (key, holds) in [
        (Key::SentBefore(day("3 Feb 2026")), false),
        (Key::SentOn(day("4 Feb 2026")), false),
        (Key::SentSince(day("3 Feb 2026")), true),
    ] {
        assert_eq!(self::holds(&key), holds, "{key:?}");
    }
}

#[test]
fn what_needs_less_is_looked_at_first_and_the_rest_as_it_was_written() {
    let (first, second, flag) = (Key::body("a"), Key::body("b"), Key::Flag(Flags::SEEN));
    let either = |first: &Key, second: &Key| Key::Either(Box::new(first.clone()), Box::new(second.clone()));
    assert_eq!(Key::either(first.clone(), second.clone()), either(&first, &second));
    assert_eq!(Key::either(first.clone(), flag.clone()), either(&flag, &first));
    assert_eq!(Key::either(flag.clone(), first.clone()), either(&flag, &first));
    let all = Key::all(vec![first.clone(), second.clone(), flag.clone()]);
    assert_eq!(all, Key::All(vec![flag, first, second]));
    assert_eq!(all.count(), (4, 2));
}

#[test]
fn what_flags_decide_needs_no_reading() {
    let body = Key::body("x");
    let unseen = Key::Not(Box::new(Key::Flag(Flags::SEEN)));
    assert_eq!(Key::All(vec![body.clone(), unseen.clone()]).known(&facts()), Some(false));
    assert_eq!(Key::Either(Box::new(body.clone()), Box::new(Key::Flag(Flags::SEEN))).known(&facts()), Some(true));
    assert_eq!(Key::Either(Box::new(body.clone()), Box::new(unseen)).known(&facts()), None);
    assert_eq!(Key::All(vec![Key::Flag(Flags::keyword(0)), Key::Larger(99)]).known(&facts()), Some(true));
    assert_eq!(Key::All(vec![Key::header("to", "x"), body]).needs(), Needs::Body);
}
