//! Somebody who has bob's address and nothing else: connections, lines and commands.

use std::time::{Duration, Instant};

use super::raw::{self, codes, onion};
use super::support::runner::Trial;
use super::world::{Honest, World};
use runepeer::base::{Onion, limits};

pub(crate) const ATTACKS: &[Trial<World>] = &[
    ("strangers_who_connect_and_say_nothing_keep_nobody_out", silence),
    ("strangers_who_send_a_byte_now_and_then_keep_nobody_out", slowness),
    ("a_storm_of_connections_that_close_at_once_keeps_nobody_out", storm),
    ("a_line_without_an_end_ends_the_session", endless_line),
    ("a_line_that_is_one_octet_too_long_ends_the_session", long_line),
    ("empty_lines_without_an_end_cost_little", empty_lines),
    ("commands_chained_to_the_end_of_the_line_are_bounded", chains),
    ("answers_that_nobody_takes_are_not_kept", untaken),
    ("a_declared_block_costs_nothing_before_it_comes", declared),
    ("numbers_beyond_every_bound_end_the_session", numbers),
    ("more_blocks_than_a_line_may_have_end_the_session", blocks),
    ("control_characters_end_the_session", controls),
    ("text_that_is_not_utf8_ends_the_session", not_utf8),
    ("commands_that_nobody_knows_are_few", unknown_commands),
    ("names_are_not_tried_one_after_the_other", names),
    ("sends_of_a_session_are_bounded", sends),
    ("a_certificate_is_not_handed_out_again_and_again", certificates),
    ("another_version_ends_the_session", version),
    ("a_browser_hears_nothing_of_its_own", browser),
    ("a_tls_client_is_turned_away", tls),
    ("a_mail_server_is_turned_away", smtp),
    ("what_follows_quit_is_not_read", after_quit),
    ("an_unknown_name_sounds_like_another_onion_and_like_too_much", same_words),
    ("an_address_is_not_searched_for_by_the_time_of_its_answer", same_time),
    ("a_carrier_of_nobodys_mail_is_not_recognised", onward),
    ("commands_of_a_box_are_not_served_at_an_identity", box_commands),
];

/// A session with this script, to its end.
fn talk(world: &World, script: impl AsRef<[u8]>) -> Vec<u16> {
    codes(&onion(world.peers(), world.onion()).talk(script))
}

fn silence(world: &World) {
    world.meanwhile(&[Honest::ToBob, Honest::FromBob], |stage| {
        let held: Vec<_> = (0..200).filter_map(|_| raw::try_onion(world.peers(), world.onion())).collect();
        assert!(held.len() >= 64, "{}", held.len());
        stage.holds();
    });
}

fn slowness(world: &World) {
    world.meanwhile(&[Honest::ToBob, Honest::FromBob], |stage| {
        let mut held: Vec<_> = (0..64).filter_map(|_| raw::try_onion(world.peers(), world.onion())).collect();
        let text = b"SEND alice@".iter().cycle();
        for byte in text {
            held.retain_mut(|one| one.send([*byte]));
            stage.begins();
            if !stage.goes_on() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    });
}

fn storm(world: &World) {
    world.meanwhile(&[Honest::ToBob], |stage| {
        for _ in 0..3000 {
            drop(raw::try_onion(world.peers(), world.onion()));
            stage.begins();
            if !stage.goes_on() {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        stage.holds();
    });
}

fn endless_line(world: &World) {
    world.meanwhile(&[Honest::ToBob], |stage| {
        assert_eq!(talk(world, vec![b'x'; 8 << 20]), [706]);
        stage.holds();
    });
}

fn long_line(world: &World) {
    let line = |length: usize| format!("{}\nQUIT\n", "x".repeat(length));
    assert_eq!(talk(world, line(limits::WIRE_LINE_BYTES)), [701, 200]);
    assert_eq!(talk(world, line(limits::WIRE_LINE_BYTES + 1)), [706]);
}

fn empty_lines(world: &World) {
    world.meanwhile(&[Honest::ToBob], |stage| {
        let mut one = onion(world.peers(), world.onion());
        let piece = b"\n;;; ;\r\n".repeat(8 << 10);
        for _ in 0..32 {
            one.send(&piece);
            stage.begins();
        }
        stage.holds();
    });
}

fn chains(world: &World) {
    let line = "x;".repeat(limits::WIRE_LINE_BYTES / 2);
    let said = talk(world, format!("{line}\n").repeat(10));
    assert_eq!(said.last(), Some(&709));
    assert!(said.len() <= limits::WIRE_MISTAKES as usize + 1, "{}", said.len());
}

fn untaken(world: &World) {
    world.meanwhile(&[Honest::ToBob], |stage| {
        let ask = format!("SEND {}\n", world.bob_address()).repeat(4);
        let held: Vec<_> = (0..16)
            .map(|_| {
                let mut one = onion(world.peers(), world.onion());
                for _ in 0..200 {
                    one.send(&ask);
                }
                one
            })
            .collect();
        stage.holds();
        drop(held);
    });
}

fn declared(world: &World) {
    world.meanwhile(&[Honest::ToBob], |stage| {
        let held: Vec<_> = (0..64)
            .filter_map(|_| {
                let mut one = raw::try_onion(world.peers(), world.onion())?;
                one.send(format!("SEND {}\nMESSAGE - #28311552\nabc", world.bob_address()));
                Some(one)
            })
            .collect();
        stage.holds();
        drop(held);
    });
}

fn numbers(world: &World) {
    let (to, known) = (world.bob_address(), certificate_digest(world));
    for size in ["18446744073709551615", "28311553", "99999999999999999999", "-1", "0x10", "007", "1e9"] {
        let said = talk(world, format!("SEND {to} CERT={known}\nMESSAGE - #{size}\nQUIT\n"));
        let last = *said.last().unwrap();
        assert!(matches!(last, 700 | 702 | 706 | 200), "#{size}: {said:?}");
        assert!(!said.contains(&202), "#{size}: {said:?}");
    }
}

fn blocks(world: &World) {
    assert_eq!(talk(world, "x #1 #1 #1 #1 #1\naaaaaQUIT\n"), [706]);
    assert_eq!(talk(world, "x #1 #1 #1 #1\naaaaQUIT\n"), [701, 200]);
}

fn controls(world: &World) {
    for byte in (0..32_u8).filter(|byte| !matches!(byte, b'\n' | b'\r')).chain([127]) {
        let said = talk(world, [b"SEND a", &[byte][..], b"b\nQUIT\n"].concat());
        assert_eq!(said, [700], "octet {byte}");
    }
    assert_eq!(talk(world, "SEND a\rb\nQUIT\n"), [700], "a CR that stands alone");
}

fn not_utf8(world: &World) {
    for bytes in [&b"SEND \"\xff\""[..], b"SEND \"\xc0\xaf\"", b"SEND \"\xed\xa0\x80\"", b"SEND \xe2\x80\xae"] {
        assert_eq!(talk(world, [bytes, b"\nQUIT\n"].concat()), [700], "{bytes:?}");
    }
}

fn unknown_commands(world: &World) {
    let said = talk(world, "EHLO\n".repeat(1000));
    assert_eq!(said.iter().filter(|code| **code == 701).count(), limits::WIRE_MISTAKES as usize);
    assert_eq!(said.last(), Some(&709));
}

fn names(world: &World) {
    let onion = world.onion();
    let script: String = (0..1000).map(|number| format!("SEND name{number}@{onion}\n")).collect();
    let said = talk(world, script);
    assert_eq!(said.iter().filter(|code| **code == 420).count(), limits::WIRE_MISTAKES as usize);
    assert_eq!(said.last(), Some(&709));
}

fn sends(world: &World) {
    // With the right certificate: no mistake, and nothing to hand out.
    let known = certificate_digest(world);
    let said = talk(world, format!("SEND {} CERT={known}\n", world.bob_address()).repeat(5000));
    assert!(said.len() < 600, "{} answers in one session", said.len());
    assert_eq!(said.last(), Some(&709));
}

/// The digest of bob's certificate, as anybody learns it who has his address.
pub(crate) fn certificate_digest(world: &World) -> String {
    use std::fmt::Write;
    let digest = runepeer::wire::digest(world.contact(900).certificate().bytes());
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn certificates(world: &World) {
    let mut one = onion(world.peers(), world.onion());
    let (script, certificate) = (format!("SEND {}\n", world.bob_address()).repeat(100), 8192);
    one.send(script);
    let said = one.rest();
    assert!(said.len() < 5 * certificate, "{} octets", said.len());
    assert!(said.trim_end().ends_with("709 TOO MANY MISTAKES"), "{said:?}");
}

fn version(world: &World) {
    assert_eq!(talk(world, "HOWDY RUNE/2\nQUIT\n"), [707]);
    assert_eq!(talk(world, "HOWDY RUNE/2 rune/1\nQUIT\n"), [200]);
}

fn browser(world: &World) {
    let request =
        "POST /canary-path HTTP/1.1\r\nHost: canary-host\r\nContent-Length: 20\r\n\r\nSEND canary-body\r\nQUIT\r\n";
    let said = onion(world.peers(), world.onion()).talk(request);
    assert!(!said.contains("canary"), "{said}");
}

fn tls(world: &World) {
    let mut hello = b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".to_vec();
    hello.resize(517, 7);
    hello.push(b'\n');
    assert_eq!(talk(world, hello), [700]);
}

fn smtp(world: &World) {
    let said = onion(world.peers(), world.onion())
        .talk("EHLO canary\r\nMAIL FROM:<canary@x>\r\nRCPT TO:<y@z>\r\nDATA\r\nQUIT\r\n");
    assert!(!said.contains("canary") && !codes(&said).contains(&202), "{said}");
}

fn after_quit(world: &World) {
    let mut script = b"QUIT\n".to_vec();
    script.extend(vec![b'x'; 4 << 20]);
    assert_eq!(talk(world, script), [200]);
}

/// The whole of what is said to a SEND.
fn answer(world: &World, send: &str) -> String {
    let said = onion(world.peers(), world.onion()).talk(format!("{send}\nMESSAGE - #3\nabcQUIT\n"));
    said.split_once('\n').unwrap().1.to_owned()
}

fn same_words(world: &World) {
    let (onion, other) = (world.onion(), Onion::from_public_key([9; 32]));
    let unknown = answer(world, &format!("SEND nobody@{onion}"));
    assert_eq!(unknown, "420 NOT AVAILABLE\n420 NOT AVAILABLE\n200 BYE\n");
    let bob = world.bob_address();
    let (local, hash) = (bob.local(), "ab".repeat(32));
    for send in [
        format!("SEND {local}@{other}"),
        format!("SEND group/{local}@{onion}"),
        format!("SEND {bob} HASH={hash} SIZE=32769"),
        format!("SEND {bob} HASH={hash} SIZE=28311552"),
        format!("SEND {bob} HASH={hash} SIZE=18446744073709551615"),
        format!("SEND nobody@{onion} HASH={hash} SIZE=5 AUTH={hash}"),
    ] {
        assert_eq!(answer(world, &send), unknown, "{send}");
    }
}

/// The middle of how long the answer to a SEND takes.
fn usual_time(world: &World, send: &str) -> Duration {
    let mut times: Vec<_> = (0..15)
        .map(|_| {
            let mut one = onion(world.peers(), world.onion());
            one.line();
            let began = Instant::now();
            one.send(format!("{send}\n"));
            one.line();
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

fn same_time(world: &World) {
    let (onion, bob) = (world.onion(), world.bob_address());
    let unknown = usual_time(world, &format!("SEND nobody@{onion}"));
    let too_large = usual_time(world, &format!("SEND {bob} HASH={} SIZE=99999", "ab".repeat(32)));
    let apart = unknown.abs_diff(too_large);
    assert!(apart < Duration::from_millis(10), "{unknown:?} and {too_large:?}");
}

fn onward(world: &World) {
    let (other, hash) = (Onion::from_public_key([9; 32]), "ab".repeat(32));
    let carried = answer(world, &format!("SEND carol@{other} HASH={hash} SIZE=3 AUTH={hash} ONWARD={hash}"));
    assert_eq!(carried, answer(world, &format!("SEND nobody@{}", world.onion())));
}

fn box_commands(world: &World) {
    let script = "REGISTER - #1\nxIDENTIFY a\nDEPOSIT a\nPAGE a 1 #1\nxFETCH a\nWATCH a\nLIST a\nSET JSON on\nQUIT\n";
    let said = talk(world, script);
    assert_eq!(said.last(), Some(&200));
    assert!(said[..said.len() - 1].iter().all(|code| *code == 704), "{said:?}");
}
