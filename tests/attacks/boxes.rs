//! Somebody who knows the onion of bob's carrier, with or without a box there.

use std::time::Duration;

use super::raw::{self, codes, onion};
use super::support::box_client::{Session, new_keys};
use super::support::runner::Trial;
use super::world::{Honest, World};
use runepeer::wire::mailbox::BoxCommand;

pub(crate) const ATTACKS: &[Trial<World>] = &[
    ("silent_connections_keep_no_owner_from_a_box", silence),
    ("connections_that_send_a_byte_now_and_then_keep_no_owner_from_a_box", slowness),
    ("nobody_registers_without_an_invitation", uninvited),
    ("registrations_with_rubbish_cost_the_owners_nothing", rubbish),
    ("tokens_are_not_guessed", tokens),
    ("pages_are_not_guessed", pages),
    ("a_box_opens_to_its_key_only", other_key),
    ("a_box_that_is_not_there_sounds_like_one_that_is", unknown_box),
    ("commands_of_a_box_need_an_identification", unidentified),
    ("the_largest_certificates_keep_no_owner_from_a_box", certificates),
    ("an_owner_who_watches_many_times_keeps_nobody_out", watching),
    ("mail_for_a_person_is_not_taken_by_a_carrier", send),
];

fn talk(world: &World, script: impl AsRef<[u8]>) -> String {
    onion(world.peers(), world.carrier).talk(script)
}

fn silence(world: &World) {
    world.meanwhile(&[Honest::Box, Honest::ToBob], |stage| {
        let held: Vec<_> = (0..200).filter_map(|_| raw::try_onion(world.peers(), world.carrier)).collect();
        assert!(held.len() >= 64, "{}", held.len());
        stage.holds();
    });
}

fn slowness(world: &World) {
    world.meanwhile(&[Honest::Box], |stage| {
        let mut held: Vec<_> = (0..100).filter_map(|_| raw::try_onion(world.peers(), world.carrier)).collect();
        while stage.goes_on() {
            held.retain_mut(|one| one.send("D"));
            stage.begins();
            std::thread::sleep(Duration::from_millis(100));
        }
    });
}

fn uninvited(world: &World) {
    let keys = new_keys();
    let certificate = keys.certificate().bytes();
    let bytes = [format!("REGISTER - #{}\n", certificate.len()).as_bytes(), certificate, b"QUIT\n"].concat();
    assert_eq!(codes(&talk(world, bytes)), [405, 200]);
    let guess = "0".repeat(32);
    let line = format!("REGISTER_INVITATION - {guess} #{}\n", certificate.len());
    assert_eq!(codes(&talk(world, [line.as_bytes(), certificate].concat())), [417]);
}

fn rubbish(world: &World) {
    world.meanwhile(&[Honest::Box, Honest::ToBob], |stage| {
        let line = format!("REGISTER_INVITATION - {} #200000\n", "0".repeat(32));
        let bytes = [line.as_bytes(), &vec![0xC6; 200_000]].concat();
        while stage.goes_on() {
            talk(world, &bytes);
            stage.begins();
        }
    });
}

fn tokens(world: &World) {
    let script: String =
        (0..1000).map(|number| format!("DEPOSIT {number:064x} HASH={} SIZE=4096\n", "ab".repeat(32))).collect();
    let said = codes(&talk(world, script));
    assert!(said.len() <= 21 && said.last() == Some(&709), "{said:?}");
    assert!(said[..said.len() - 1].iter().all(|code| *code == 420), "{said:?}");
}

fn pages(world: &World) {
    let said =
        codes(&talk(world, (0..30).map(|number| format!("FETCH {number:064x}\n")).collect::<String>() + "QUIT\n"));
    assert!(said.iter().all(|code| matches!(code, 420 | 709 | 200)), "{said:?}");
}

fn other_key(world: &World) {
    let (owner, other) = (new_keys(), new_keys());
    let connect = || Session::connect(world.peers(), world.carrier).unwrap();
    assert_eq!(connect().register(&owner, &world.box_invitation()).unwrap(), 210);
    let name = owner.certificate().fingerprint();
    assert_eq!(connect().identify(name, &other).unwrap(), 411);
    assert_eq!(connect().identify(name, &owner).unwrap(), 211);
}

fn unknown_box(world: &World) {
    let (owner, other) = (new_keys(), new_keys());
    let connect = || Session::connect(world.peers(), world.carrier).unwrap();
    assert_eq!(connect().register(&owner, &world.box_invitation()).unwrap(), 210);
    let asked = |name: String| {
        let script = format!("IDENTIFY {name}\nRESPOND {} #3\nabc", "7".repeat(64));
        let said = talk(world, script);
        // The nonce is another one each time.
        said.lines()
            .map(|line| {
                line.split(' ').map(|word| if word.len() == 64 { "nonce" } else { word }).collect::<Vec<_>>().join(" ")
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(
        asked(owner.certificate().fingerprint().to_string()),
        asked(other.certificate().fingerprint().to_string())
    );
}

fn unidentified(world: &World) {
    let name = "AB".repeat(32);
    for command in ["CHECK", "LIST", "WATCH"] {
        assert_eq!(codes(&talk(world, format!("{command} {name}\n"))), [411], "{command}");
    }
    let uuid = "7".repeat(32);
    for line in [format!("RETRIEVE {name}#{uuid}\n"), format!("DELETE {name} {uuid}\n"), "SET JSON on\n".to_owned()] {
        assert_eq!(codes(&talk(world, &line)), [411], "{line}");
    }
}

fn certificates(world: &World) {
    world.meanwhile(&[Honest::Box], |stage| {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let bytes = [&b"REGISTER - #262144\n"[..], &vec![0xC6; 262_144], b"QUIT\n"].concat();
                    while stage.goes_on() {
                        talk(world, &bytes);
                        stage.begins();
                    }
                });
            }
        });
    });
}

fn watching(world: &World) {
    let owner = new_keys();
    let connect = || Session::connect(world.peers(), world.carrier);
    assert_eq!(connect().unwrap().register(&owner, &world.box_invitation()).unwrap(), 210);
    let name = owner.certificate().fingerprint();
    world.meanwhile(&[Honest::Box], |stage| {
        let held: Vec<_> = (0..80)
            .filter_map(|_| {
                let mut one = connect().ok()?;
                one.identify(name, &owner).ok()?;
                one.ask(&BoxCommand::Watch { mailbox: name.to_string() }, b"").ok()?;
                Some(one)
            })
            .collect();
        stage.holds();
        drop(held);
    });
}

fn send(world: &World) {
    let script = format!("SEND {}\nSEND box@{}\nQUIT\n", world.bob_address(), world.carrier);
    assert_eq!(codes(&talk(world, script)), [420, 420, 200]);
}
