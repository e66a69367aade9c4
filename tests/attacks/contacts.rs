//! A contact who means ill: what it may send, how often, and at whose cost.

use std::time::Duration;

use super::raw::{self, codes, onion};
use super::support::peer::text;
use super::support::runner::Trial;
use super::world::{Honest, World};

pub(crate) const ATTACKS: &[Trial<World>] = &[
    ("sessions_of_one_contact_keep_nobody_out", sessions),
    ("five_large_objects_that_never_come_keep_nobody_out", trickles),
    ("large_objects_of_several_contacts_that_never_come_keep_nobody_out", colluding),
    ("mail_without_an_end_keeps_nobody_out", mail),
    ("unanswered_objects_are_bounded", unanswered),
    ("a_wrong_authenticator_is_not_tried_again_and_again", authenticators),
    ("a_contact_writes_as_nobody_else", other_author),
    ("a_contact_suppresses_nothing_by_an_id", same_id),
    ("mail_that_expired_long_ago_is_refused", expired),
    ("an_unknown_critical_kind_is_refused", critical),
    ("a_folder_that_is_not_there_is_not_made", folder),
    ("a_receipt_for_what_was_never_sent_means_nothing", receipt),
];

fn sessions(world: &World) {
    let peer = world.contact(60);
    let object = vec![0xC1; 65_536];
    world.meanwhile(&[Honest::ToBob, Honest::FromBob], |stage| {
        let held: Vec<_> = (0..100)
            .filter_map(|number| {
                let mut one = raw::try_onion(world.peers(), world.onion())?;
                one.send(peer.announced(number, &object, Some(peer.auth())));
                Some(one)
            })
            .collect();
        stage.holds();
        drop(held);
    });
}

/// Announces large objects, and sends next to nothing of them.
fn trickle(world: &World, contacts: usize, each: usize, base: usize) {
    let peers: Vec<_> = (0..contacts).map(|number| world.contact(base + number)).collect();
    let object = vec![0xC1; 27 << 20];
    world.meanwhile(&[Honest::ToBob, Honest::FromBob], |stage| {
        let mut held = Vec::new();
        for peer in &peers {
            for number in 0..each {
                let mut one = onion(world.peers(), world.onion());
                one.send(peer.announced(number, &object, Some(peer.auth())));
                held.push(one);
            }
        }
        while stage.goes_on() {
            held.retain_mut(|one| one.send([0xC1; 100]));
            stage.begins();
            std::thread::sleep(Duration::from_millis(200));
        }
    });
}

fn trickles(world: &World) {
    trickle(world, 1, 5, 61);
}

fn colluding(world: &World) {
    trickle(world, 6, 2, 100);
}

fn mail(world: &World) {
    let peer = world.contact(62);
    let requests: Vec<_> = (0..200).map(|number| peer.mail(number, "on-and-on", 2000)).collect();
    world.meanwhile(&[Honest::ToBob, Honest::FromBob], |stage| {
        for request in requests.iter().cycle() {
            let mut one = onion(world.peers(), world.onion());
            one.send(&request.bytes);
            one.send("QUIT\n");
            one.rest();
            stage.begins();
            if !stage.goes_on() {
                return;
            }
        }
    });
}

fn unanswered(world: &World) {
    let peer = world.contact(63);
    let requests: Vec<_> = (0..64).map(|number| peer.mail(number, "at-once", 200_000)).collect();
    world.meanwhile(&[Honest::ToBob], |stage| {
        std::thread::scope(|scope| {
            for some in requests.chunks(16) {
                scope.spawn(move || {
                    let mut one = onion(world.peers(), world.onion());
                    stage.begins();
                    for request in some {
                        if !one.send(&request.bytes) {
                            return;
                        }
                    }
                    one.send("QUIT\n");
                    one.rest();
                });
            }
        });
        stage.holds();
    });
}

fn authenticators(world: &World) {
    let (peer, other) = (world.contact(64), world.contact(65));
    let object = vec![0xC1; 4096];
    let wrong = peer.announced(1, &object, Some(&runepeer::base::MacKey::from_bytes([9; 32])));
    let send = wrong.lines().next().unwrap();
    let said = codes(&onion(world.peers(), world.onion()).talk(format!("{send}\n").repeat(500)));
    assert_eq!(said.last(), Some(&709));
    assert!(said.len() < 30, "{} tries in one session", said.len());
    // And the others' keys still fit.
    let request = other.mail(1, "still-a-contact", 500);
    let said = codes(&onion(world.peers(), world.onion()).talk([&request.bytes[..], b"QUIT\n"].concat()));
    assert!(said.contains(&202), "{said:?}");
}

fn answer(world: &World, peer: &super::support::peer::Peer, object: &[u8]) -> u16 {
    let request = peer.request(1, object, Some(peer.auth()));
    let said = codes(&onion(world.peers(), world.onion()).talk([&request.bytes[..], b"QUIT\n"].concat()));
    *said.iter().find(|code| **code != 201).unwrap()
}

fn other_author(world: &World) {
    let peer = world.contact(66);
    let alice = world.alice.address();
    let forged = text(&alice.parse().unwrap(), peer.to(), "forged", 500);
    assert_eq!(answer(world, &peer, &peer.sealed_mail(forged.clone())), 409);
    let twice = text(peer.address(), peer.to(), "forged", 500).replacen("\r\n", &format!("\r\nFrom: <{alice}>\r\n"), 1);
    assert_eq!(answer(world, &peer, &peer.sealed_mail(twice)), 409);
    assert!(!world.subjects("INBOX").contains(&"forged".to_owned()));
}

/// A content of this header, sealed.
fn content(peer: &super::support::peer::Peer, header: &str, payload: &str) -> Vec<u8> {
    let content = format!("{header}\n\n{payload}");
    let now = super::support::box_client::now();
    runepeer::pgp::seal(content.as_bytes(), peer.keys(), peer.certificate(), now).unwrap()
}

fn soon(days: i64) -> String {
    let now = super::support::box_client::now();
    let day = Duration::from_secs(86_400);
    let at = if days < 0 { now.minus(day * days.unsigned_abs() as u32) } else { now.plus(day * days as u32) };
    runepeer::base::Timestamp::from_secs(at.secs()).rfc3339()
}

fn same_id(world: &World) {
    let peer = world.contact(67);
    let header = format!("RUNE-CONTENT mail/1 critical\nId: {}\nExpires: {}", "7".repeat(32), soon(2));
    for subject in ["first-of-two", "second-of-two"] {
        let object = content(&peer, &header, &text(peer.address(), peer.to(), subject, 300));
        assert_eq!(answer(world, &peer, &object), 202);
    }
    let subjects = world.subjects("INBOX");
    assert!(subjects.contains(&"first-of-two".to_owned()) && subjects.contains(&"second-of-two".to_owned()));
}

fn expired(world: &World) {
    let peer = world.contact(68);
    for days in [-3, 17, 4000] {
        let header = format!("RUNE-CONTENT mail/1 critical\nId: {}\nExpires: {}", "8".repeat(32), soon(days));
        let object = content(&peer, &header, &text(peer.address(), peer.to(), "expired", 300));
        // Within an hour after its start the node may be the one whose clock is wrong.
        assert!(matches!(answer(world, &peer, &object), 409 | 451), "{days} days");
    }
    assert!(!world.subjects("INBOX").contains(&"expired".to_owned()));
}

fn critical(world: &World) {
    let peer = world.contact(69);
    let with = |kind: &str| format!("RUNE-CONTENT {kind}\nId: {}\nExpires: {}", "9".repeat(32), soon(2));
    assert_eq!(answer(world, &peer, &content(&peer, &with("wish/1 critical"), "x")), 409);
    assert_eq!(answer(world, &peer, &content(&peer, &with("wish/1 optional"), "x")), 202);
    assert_eq!(answer(world, &peer, &content(&peer, "RUNE-CONTENT mail/1 critical", "x")), 409);
    assert_eq!(answer(world, &peer, &content(&peer, "From: x", "x")), 409);
}

fn folder(world: &World) {
    let peer = world.contact(70);
    let request = peer.mail(1, "into-a-folder", 500);
    let to = peer.to().to_string();
    let (name, onion_name) = to.split_once('@').unwrap();
    for folder in ["secret", "sent", "..", "inbox.x"] {
        let from = format!("SEND {to}").into_bytes();
        let at = request.bytes.windows(from.len()).position(|window| window == from).unwrap();
        let to = format!("SEND {name}+{folder}@{onion_name}").into_bytes();
        let bytes = [&request.bytes[..at], &to, &request.bytes[at + from.len()..], b"QUIT\n"].concat();
        let said = codes(&onion(world.peers(), world.onion()).talk(bytes));
        assert!(said.contains(&202), "{folder}: {said:?}");
    }
    let listed = world.bob.json(&["mail", "setup", "show"]);
    assert!(!listed.is_null());
    assert_eq!(world.subjects("INBOX").iter().filter(|subject| *subject == "into-a-folder").count(), 1);
}

fn receipt(world: &World) {
    let peer = world.contact(71);
    let header = format!("RUNE-CONTENT receipt/1 optional\nId: {}\nExpires: {}", "a".repeat(32), soon(2));
    let lines = format!("{}\n{}\n{} delivered\n", "b".repeat(64), "c".repeat(32), "d".repeat(64));
    assert_eq!(answer(world, &peer, &content(&peer, &header, &lines.repeat(200))), 202);
    world.goes_well(Honest::FromBob);
}
