//! Another process, or a page in a browser, on bob's machine; and a mail program of bob's that goes wrong.

use std::time::{Duration, Instant};

use data_encoding::BASE64;

use super::raw::{self, Raw};
use super::support::mail::{Imap, Login, Smtp};
use super::support::runner::Trial;
use super::world::{Honest, World};

pub(crate) const ATTACKS: &[Trial<World>] = &[
    ("imap_connections_that_never_log_in_keep_nobody_out", imap_silence),
    ("submission_connections_that_never_log_in_keep_nobody_out", smtp_silence),
    ("passwords_are_not_guessed_at_imap", imap_guesses),
    ("passwords_are_not_guessed_at_submission", smtp_guesses),
    ("guessing_keeps_nobody_out", guessing),
    ("which_addresses_live_here_is_not_told_by_words", same_words),
    ("half_sent_messages_keep_no_small_one_waiting", half_sent),
    ("half_submitted_messages_keep_no_small_one_waiting", half_submitted),
    ("a_literal_of_four_gibibytes_is_refused", literals),
    ("a_line_without_an_end_ends_an_imap_session", imap_line),
    ("a_line_without_an_end_ends_a_submission_session", smtp_line),
    ("a_page_in_a_browser_does_nothing", browsers),
    ("nothing_is_smuggled_behind_the_end_of_a_message", smuggling),
    ("commands_before_login_do_nothing", before_login),
    ("a_search_of_ten_thousand_keys_is_bounded", search),
    ("answers_that_a_mail_program_does_not_take_fill_no_memory", untaken),
    ("a_storm_of_local_connections_keeps_nobody_out", storm),
];

fn imap(world: &World) -> Raw<std::net::TcpStream> {
    raw::port(world.bob.port("imap"))
}

fn smtp(world: &World) -> Raw<std::net::TcpStream> {
    raw::port(world.bob.port("submission"))
}

fn imap_silence(world: &World) {
    let port = world.bob.port("imap");
    world.meanwhile(&[Honest::Reading], |stage| {
        let held: Vec<_> = (0..150).map(|_| raw::port(port)).collect();
        stage.holds();
        drop(held);
    });
}

fn smtp_silence(world: &World) {
    let port = world.bob.port("submission");
    world.meanwhile(&[Honest::FromBob], |stage| {
        let held: Vec<_> = (0..150).map(|_| raw::port(port)).collect();
        stage.holds();
        drop(held);
    });
}

/// How many wrong passwords are answered in ten seconds, by many connections.
fn guesses(try_once: impl Fn() -> bool + Sync) -> usize {
    let answered = std::sync::atomic::AtomicUsize::new(0);
    let end = Instant::now() + GUESSING;
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                while Instant::now() < end {
                    if try_once() && Instant::now() < end {
                        answered.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    }
                }
            });
        }
    });
    answered.into_inner()
}

/// For how long somebody guesses.
const GUESSING: Duration = Duration::from_secs(6);
/// So many wrong tries in that time are what a shared delay that doubles lets through, and some.
const GUESSES: usize = 20;

fn imap_guesses(world: &World) {
    let (port, user) = (world.bob.port("imap"), world.login.user.clone());
    let answered = guesses(|| {
        let mut one = raw::port(port).impatient(GUESSING);
        one.send(format!("a LOGIN \"{user}\" \"wrong\"\r\nb LOGOUT\r\n"));
        one.rest().contains("a NO")
    });
    assert!(answered <= GUESSES, "{answered} guesses in {GUESSING:?}");
    world.goes_well(Honest::Reading);
}

fn smtp_guesses(world: &World) {
    let (port, user) = (world.bob.port("submission"), world.login.user.clone());
    let plain = BASE64.encode(format!("\0{user}\0wrong").as_bytes());
    let answered = guesses(|| {
        let mut one = raw::port(port).impatient(GUESSING);
        one.send(format!("EHLO x\r\nAUTH PLAIN {plain}\r\nQUIT\r\n"));
        one.rest().contains("535")
    });
    assert!(answered <= GUESSES, "{answered} guesses in {GUESSING:?}");
    world.goes_well(Honest::FromBob);
}

fn guessing(world: &World) {
    let (port, user) = (world.bob.port("imap"), world.login.user.clone());
    world.meanwhile(&[Honest::Reading, Honest::FromBob], |stage| {
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    while stage.goes_on() {
                        let mut one = raw::port(port).impatient(Duration::from_secs(2));
                        one.send(format!("a LOGIN \"{user}\" \"wrong\"\r\nb LOGOUT\r\n"));
                        stage.begins();
                        one.rest();
                    }
                });
            }
        });
    });
}

fn same_words(world: &World) {
    // A node at which nobody has guessed: every wrong answer is later than the one before it.
    let node = world.victim();
    let login = Login::new(&node, "words");
    let domain = login.user.split_once('@').unwrap().1.to_owned();
    let said = |user: &str| {
        let mut one = raw::port(node.port("imap"));
        one.line();
        one.send(format!("a LOGIN \"{user}\" \"wrong\"\r\n"));
        one.line()
    };
    let known = said(&login.user);
    assert_eq!(said(&format!("nobody@{domain}")), known);
    assert_eq!(said("x"), known);
}

fn half_sent(world: &World) {
    world.meanwhile(&[Honest::Reading], |stage| {
        let held: Vec<_> = (0..12)
            .map(|_| {
                let mut one = imap(world);
                one.line();
                one.send(format!("a LOGIN \"{}\" \"{}\"\r\n", world.login.user, world.login.password));
                one.until("a OK");
                one.send("b APPEND Drafts {24000000+}\r\n");
                one.send(vec![b'x'; 100_000]);
                one
            })
            .collect();
        let began = Instant::now();
        let mut small = Imap::open(world.bob.port("imap"), &world.login).unwrap();
        small.append("Drafts", b"Subject: small\r\n\r\nsmall\r\n").unwrap();
        assert!(began.elapsed() < Duration::from_secs(10), "{:?} for a small one", began.elapsed());
        stage.holds();
        drop(held);
    });
}

fn half_submitted(world: &World) {
    world.meanwhile(&[Honest::FromBob], |stage| {
        let to = world.alice.address();
        let plain = BASE64.encode(format!("\0{}\0{}", world.login.user, world.login.password).as_bytes());
        let held: Vec<_> = (0..10)
            .map(|_| {
                let mut one = smtp(world);
                one.send(format!(
                    "EHLO x\r\nAUTH PLAIN {plain}\r\nMAIL FROM:<{}>\r\nRCPT TO:<{to}>\r\nDATA\r\n",
                    world.login.user
                ));
                one.until("354");
                one.send("x\r\n".repeat(100_000));
                one
            })
            .collect();
        stage.holds();
        drop(held);
    });
}

fn literals(world: &World) {
    for size in ["4294967295", "18446744073709551616", "99999999999999999999999"] {
        for command in ["a LOGIN", "a APPEND INBOX", "a SELECT"] {
            let said = imap(world).talk(format!("{command} {{{size}}}\r\nb LOGOUT\r\n"));
            assert!(!said.contains("\r\n+ "), "{command} {{{size}}}: {said}");
        }
    }
    world.is_well();
}

fn imap_line(world: &World) {
    let said = imap(world).talk(vec![b'x'; 4 << 20]);
    assert!(said.contains("BYE") || said.contains("BAD"), "{said}");
    world.goes_well(Honest::Reading);
}

fn smtp_line(world: &World) {
    let said = smtp(world).talk([&vec![b'x'; 4 << 20][..], b"\r\nQUIT\r\n"].concat());
    assert!(said.contains("500") || said.contains("421"), "{said}");
    world.goes_well(Honest::FromBob);
}

fn browsers(world: &World) {
    let request = "POST /canary HTTP/1.1\r\nHost: canary\r\nContent-Length: 60\r\n\r\na LOGIN x y\r\nEHLO canary\r\nMAIL FROM:<canary>\r\n";
    for said in [imap(world).talk(request), smtp(world).talk(request)] {
        assert!(!said.contains("canary") && !said.contains("a NO") && !said.contains("250"), "{said}");
    }
}

fn smuggling(world: &World) {
    let to = world.alice.address();
    for end in ["\n.\n", "\n.\r\n", "\r.\r", "\r\n.\n", "\r\n.\r", "\0\r\n.\r\n\0"] {
        let mut one = Smtp::open(world.bob.port("submission"), &world.login).unwrap();
        one.command(&format!("MAIL FROM:<{}>", world.login.user), "250").unwrap();
        one.command(&format!("RCPT TO:<{to}>"), "250").unwrap();
        one.command("DATA", "354").unwrap();
        let text = format!(
            "From: <{}>\r\nSubject: outer\r\n\r\nx{end}MAIL FROM:<{}>\r\nRCPT TO:<{to}>\r\nDATA\r\nFrom: <{}>\r\nSubject: smuggled\r\n\r\nx\r\n.",
            world.login.user, world.login.user, world.login.user
        );
        // One answer, whatever it is, for one message.
        let _ = one.command(&text, "250");
        let _ = one.command("QUIT", "221");
    }
    std::thread::sleep(Duration::from_secs(1));
    let login = Login::new(&world.alice, "smuggling");
    assert!(!super::world::subjects(&world.alice, &login, "INBOX").contains(&"smuggled".to_owned()));
}

fn before_login(world: &World) {
    let said = imap(world)
        .talk("a SELECT INBOX\r\nb FETCH 1 BODY[]\r\nc APPEND INBOX {3+}\r\nabc\r\nd LIST \"\" *\r\ne LOGOUT\r\n");
    for tag in ["a", "b", "c", "d"] {
        assert!(!said.contains(&format!("\r\n{tag} OK")), "{said}");
    }
    let said =
        smtp(world).talk(format!("EHLO x\r\nMAIL FROM:<{}>\r\nRCPT TO:<x@y>\r\nDATA\r\nQUIT\r\n", world.login.user));
    assert!(!said.contains("354"), "{said}");
}

fn search(world: &World) {
    world.meanwhile(&[Honest::Reading, Honest::ToBob], |stage| {
        let mut one = Imap::open(world.bob.port("imap"), &world.login).unwrap();
        one.run("SELECT INBOX").unwrap();
        stage.begins();
        while stage.goes_on() {
            let keys = "BODY x ".repeat(8000);
            if one.run(&format!("SEARCH {keys}")).is_err() {
                one = Imap::open(world.bob.port("imap"), &world.login).unwrap();
                one.run("SELECT INBOX").unwrap();
            }
            let _ = one.run(&format!("SEARCH {}ALL", "NOT ".repeat(5000)));
            one = Imap::open(world.bob.port("imap"), &world.login).unwrap();
            one.run("SELECT INBOX").unwrap();
        }
    });
}

fn untaken(world: &World) {
    world.meanwhile(&[Honest::Reading, Honest::ToBob], |stage| {
        let held: Vec<_> = (0..16)
            .map(|_| {
                let mut one = imap(world);
                one.line();
                one.send(format!(
                    "a LOGIN \"{}\" \"{}\"\r\nb SELECT INBOX\r\n",
                    world.login.user, world.login.password
                ));
                one.until("b OK");
                one.send("c FETCH 1:* (BODY.PEEK[] BODY.PEEK[TEXT])\r\n".repeat(100));
                one
            })
            .collect();
        stage.holds();
        drop(held);
    });
}

fn storm(world: &World) {
    let ports = [world.bob.port("imap"), world.bob.port("submission")];
    world.meanwhile(&[Honest::Reading, Honest::FromBob], |stage| {
        while stage.goes_on() {
            ports.iter().for_each(|port| drop(std::net::TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, *port))));
            stage.begins();
            std::thread::sleep(Duration::from_millis(2));
        }
    });
}
