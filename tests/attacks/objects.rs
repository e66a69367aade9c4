//! Somebody who brings objects that are none, or that are not what they say.

use super::raw::{codes, onion};
use super::support::peer::Peer;
use super::support::runner::Trial;
use super::world::{Honest, World};

pub(crate) const ATTACKS: &[Trial<World>] = &[
    ("an_object_of_zeros_is_refused", zeros),
    ("a_password_that_wants_a_terabyte_is_refused_before_it_is_tried", argon2),
    ("packets_of_partial_length_are_refused", partial),
    ("a_packet_that_says_four_gibibytes_is_refused", four_gib),
    ("compressed_packets_are_refused", compressed),
    ("ten_thousand_packets_are_refused", packets),
    ("an_object_between_the_sizes_is_refused", between),
    ("an_altered_object_is_refused", altered),
    ("an_object_other_than_its_hash_ends_the_session", other_hash),
    ("another_size_than_was_said_ends_the_session", other_size),
    ("objects_that_cannot_be_opened_do_not_slow_down_honest_mail", flood),
    ("the_largest_objects_of_rubbish_fit_in_memory", largest),
    ("the_same_object_again_makes_no_second_message", replay),
    ("a_stranger_learns_nothing_from_why_an_object_is_refused", same_refusal),
];

/// The code for an object that a contact brings.
fn code(world: &World, peer: &Peer, object: &[u8]) -> u16 {
    let request = peer.request(1, object, Some(peer.auth()));
    let said = codes(&onion(world.peers(), world.onion()).talk([&request.bytes[..], b"QUIT\n"].concat()));
    *said.iter().find(|code| **code != 201).unwrap()
}

fn padded(parts: &[&[u8]]) -> Vec<u8> {
    let mut object = parts.concat();
    let size = [4096, 16_384, 65_536, 262_144].into_iter().find(|size| *size >= object.len()).unwrap();
    object.resize(size, 0);
    object
}

fn good(peer: &Peer) -> Vec<u8> {
    peer.sealed_mail(super::support::peer::text(peer.address(), peer.to(), "good", 500))
}

/// Where the second packet of an object begins.
const ENCRYPTED: usize = 3 + 1164;

fn refused(world: &World, object: &[u8]) {
    let peer = world.contact(1);
    assert_eq!(code(world, &peer, object), 409);
    world.is_well();
}

fn zeros(world: &World) {
    refused(world, &[0; 4096]);
}

fn argon2(world: &World) {
    let mut body = vec![6, 27, 9, 2, 20, 4];
    body.extend([[7; 16].as_slice(), &[255, 255, 31], &[1; 63]].concat());
    refused(world, &padded(&[&[0xC3, body.len() as u8], &body]));
}

fn partial(world: &World) {
    refused(world, &padded(&[b"\xc1\xfe\x02\x09", b"\xd2\xfe\x02\x09"]));
}

fn four_gib(world: &World) {
    refused(world, &padded(&[b"\xc1\xff\xff\xff\xff\xff"]));
    let peer = world.contact(2);
    let mut object = good(&peer);
    object[ENCRYPTED + 1..ENCRYPTED + 6].copy_from_slice(b"\xff\xff\xff\xff\xff");
    assert_eq!(code(world, &peer, &object), 409);
}

fn compressed(world: &World) {
    refused(world, &padded(&[b"\xc8\x0a\x02x\x9c\x03\0\0\0\0\x01"]));
}

fn packets(world: &World) {
    refused(world, &padded(&[&b"\xca\x03PGP".repeat(10_000)]));
}

fn between(world: &World) {
    let peer = world.contact(3);
    for size in [1, 4095, 4097, 8192, 300_000] {
        assert_eq!(code(world, &peer, &vec![0xC1; size]), 409, "{size}");
    }
}

fn altered(world: &World) {
    let peer = world.contact(4);
    let object = good(&peer);
    for at in [0, 3, 5, 40, 1130, ENCRYPTED, ENCRYPTED + 7, ENCRYPTED + 30, 2000, 4095] {
        let mut object = object.clone();
        object[at] ^= 1;
        assert_eq!(code(world, &peer, &object), 409, "octet {at}");
    }
    assert_eq!(code(world, &peer, &object), 202);
}

fn other_hash(world: &World) {
    let peer = world.contact(5);
    let object = good(&peer);
    let mut request = peer.request(1, &object, Some(peer.auth())).bytes;
    *request.last_mut().unwrap() ^= 1;
    let said = codes(&onion(world.peers(), world.onion()).talk(request));
    assert_eq!(said, [201, 700]);
}

fn other_size(world: &World) {
    let peer = world.contact(6);
    let (said, object) = (good(&peer), vec![0; 16_384]);
    let request = peer.announced(1, &said, Some(peer.auth())).replace("MESSAGE - #4096", "MESSAGE - #16384");
    let said = codes(&onion(world.peers(), world.onion()).talk([request.as_bytes(), &object].concat()));
    assert_eq!(said, [201, 700]);
}

fn flood(world: &World) {
    let peer = world.contact(7);
    let mut object = good(&peer);
    object[2000] ^= 1;
    world.meanwhile(&[Honest::ToBob, Honest::FromBob], |stage| {
        let request = peer.request(1, &object, Some(peer.auth()));
        while stage.goes_on() {
            let mut one = onion(world.peers(), world.onion());
            for _ in 0..20 {
                if !one.send(&request.bytes) || one.line().is_empty() {
                    break;
                }
                stage.begins();
            }
        }
    });
}

fn largest(world: &World) {
    let peers: Vec<_> = (0..4).map(|number| world.contact(20 + number)).collect();
    let object = vec![0xC1; 27 << 20];
    world.meanwhile(&[Honest::ToBob], |stage| {
        std::thread::scope(|scope| {
            for peer in &peers {
                let object = &object;
                scope.spawn(move || {
                    let request = peer.request(1, object, Some(peer.auth()));
                    while stage.goes_on() {
                        let mut one = onion(world.peers(), world.onion());
                        one.send(&request.bytes);
                        stage.begins();
                        one.send("QUIT\n");
                        one.rest();
                    }
                });
            }
        });
    });
}

fn replay(world: &World) {
    let peer = world.contact(8);
    let object = peer.sealed_mail(super::support::peer::text(peer.address(), peer.to(), "only-once", 500));
    for _ in 0..5 {
        assert_eq!(code(world, &peer, &object), 202);
    }
    let mine = world.subjects("INBOX").iter().filter(|subject| *subject == "only-once").count();
    assert_eq!(mine, 1);
}

fn same_refusal(world: &World) {
    let node = world.victim();
    let (peer, _) = world.contact_of(&node, 9);
    let whole = good(&peer);
    let other = super::support::box_client::new_keys();
    let foreign = runepeer::pgp::seal(
        b"RUNE-CONTENT mail/1 critical\n\nx",
        &other,
        other.certificate(),
        super::support::box_client::now(),
    )
    .unwrap();
    let damaged = {
        let mut object = whole;
        object[2000] ^= 1;
        object
    };
    let said = |object: &[u8]| {
        let request = peer.request(1, object, None);
        onion(world.peers(), peer.receiver()).talk([&request.bytes[..], b"QUIT\n"].concat())
    };
    let first = said(&[0; 4096]);
    assert!(first.contains("409 CONTENT REFUSED"), "{first}");
    assert_eq!(said(&foreign), first);
    assert_eq!(said(&damaged), first);
}
