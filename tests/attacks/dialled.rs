//! Contacts whose own nodes are hostile: bob's node dials them, and they keep it busy.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::support::mail::{Smtp, message};
use super::support::peer::Peer;
use super::support::runner::Trial;
use super::world::{Honest, Stage, World};

pub(crate) const ATTACKS: &[Trial<World>] = &[
    ("a_peer_that_says_wait_again_and_again_stops_no_other_mail", |world| {
        dialled(world, 300, |stream, stage| {
            greet(stream);
            while stage.goes_on() && stream.write_all(b"100 wait\n1: 100 wait\n").is_ok() {
                std::thread::sleep(Duration::from_millis(300));
            }
        });
    }),
    ("a_peer_that_talks_without_an_end_costs_little", |world| {
        let before = world.processor();
        dialled(world, 310, |stream, stage| {
            greet(stream);
            let line = format!("100 {}\n", "x".repeat(8000));
            while stage.goes_on() && stream.write_all(line.as_bytes()).is_ok() {}
        });
        let used = world.processor() - before;
        assert!(used < 15.0, "{used} seconds of a processor");
    }),
    ("a_peer_that_never_greets_stops_no_other_mail", |world| {
        dialled(world, 320, |_, stage| idle(stage));
    }),
    ("a_peer_that_greets_and_is_silent_stops_no_other_mail", |world| {
        dialled(world, 330, |stream, stage| {
            greet(stream);
            idle(stage);
        });
    }),
    ("a_peer_that_greets_a_byte_at_a_time_stops_no_other_mail", |world| {
        dialled(world, 340, |stream, stage| {
            for byte in b"HOWDY RUNE/1 MAX=28311552 CAP=SEND".iter().cycle() {
                if !stage.goes_on() || stream.write_all(&[*byte]).is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        });
    }),
    ("a_peer_that_takes_nothing_stops_no_other_mail", |world| {
        dialled_with(world, 350, 2 << 20, |stream, stage| {
            let _ = stream.write_all(b"HOWDY RUNE/1 MAX=28311552 CAP=SEND\n");
            idle(stage);
        });
    }),
    ("a_peer_that_shows_certificates_without_an_end_fills_no_memory", |world| {
        dialled(world, 360, |stream, stage| {
            greet(stream);
            let reply = [b"1: 201 28311552 #262144 -\n".to_vec(), vec![7; 262_144]].concat();
            while stage.goes_on() && stream.write_all(&reply).is_ok() {}
        });
    }),
    ("a_peer_that_answers_what_was_not_asked_is_left", |world| {
        dialled(world, 370, |stream, stage| {
            greet(stream);
            let _ = stream.write_all(b"7: 202 ROGER\n8: 202 ROGER\n");
            idle(stage);
        });
    }),
    ("a_peer_that_closes_at_once_is_not_dialled_without_an_end", closing),
];

fn greet(stream: &mut UnixStream) {
    let _ = stream.write_all(b"HOWDY RUNE/1 MAX=28311552 CAP=SEND\n");
    // Something of what bob's node sends.
    let _ = stream.read(&mut [0; 256]);
}

fn idle(stage: &Stage) {
    while stage.goes_on() {
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn dialled(world: &World, base: usize, answer: impl Fn(&mut UnixStream, &Stage) + Sync) {
    dialled_with(world, base, 500, answer);
}

/// Six contacts whose nodes answer so are written to; meanwhile bob writes to alice, who is honest.
fn dialled_with(world: &World, base: usize, bytes: usize, answer: impl Fn(&mut UnixStream, &Stage) + Sync) {
    let hostile: Vec<_> = (0..6).map(|number| world.contact(base + number)).collect();
    let listeners: Vec<_> = hostile.iter().map(|peer| listener(world, peer)).collect();
    world.meanwhile(&[Honest::FromBob, Honest::ToBob], |stage| {
        std::thread::scope(|scope| {
            for listener in &listeners {
                let answer = &answer;
                scope.spawn(move || serve(listener, stage, |stream| answer(stream, stage)));
            }
            write_to(world, &hostile, bytes);
            // All that may be dialled at once are.
            std::thread::sleep(Duration::from_secs(2));
            stage.holds();
        });
    });
    take_back(world);
}

fn listener(world: &World, peer: &Peer) -> UnixListener {
    let path = world.peers().join(peer.address().onion().label());
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(path).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

fn serve(listener: &UnixListener, stage: &Stage, answer: impl Fn(&mut UnixStream) + Sync) {
    std::thread::scope(|scope| {
        while stage.goes_on() {
            match listener.accept() {
                Ok((mut stream, _)) => {
                    stream.set_nonblocking(false).unwrap();
                    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                    stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
                    let answer = &answer;
                    scope.spawn(move || answer(&mut stream));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    });
}

/// bob writes to each.
fn write_to(world: &World, peers: &[Peer], bytes: usize) {
    let mut smtp = Smtp::open(world.bob.port("submission"), &world.login).unwrap();
    for peer in peers {
        let to = peer.address().to_string();
        let body = "x".repeat(70).repeat(bytes / 70) + "x";
        let lines: Vec<_> = body.as_bytes().chunks(70).map(|line| String::from_utf8_lossy(line)).collect();
        smtp.submit(&to, &message(&world.login.user, &to, "to-the-hostile", &lines.join("\r\n"))).unwrap();
    }
}

/// What waits for them is not tried any more.
fn take_back(world: &World) {
    let waiting = world.bob.json(&["queue", "list"]);
    for row in waiting["queue"].as_array().unwrap() {
        // It may be on the wire.
        let _ = world.bob.try_json(&["--yes", "queue", "cancel", row["id"].as_str().unwrap()]);
    }
}

fn closing(world: &World) {
    let hostile = [world.contact(380)];
    let listener = listener(world, &hostile[0]);
    let dials = AtomicUsize::new(0);
    world.meanwhile(&[Honest::FromBob], |stage| {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                serve(&listener, stage, |_| {
                    dials.fetch_add(1, Ordering::SeqCst);
                });
            });
            write_to(world, &hostile, 500);
            std::thread::sleep(Duration::from_secs(5));
            stage.holds();
        });
    });
    let dials = dials.load(Ordering::SeqCst);
    assert!((1..5).contains(&dials), "{dials} dials");
    take_back(world);
}
