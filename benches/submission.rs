//! How many messages of 4 KiB a mail program hands over per second, durably queued, and how many per second also arrive: two
//! daemons of the real binary on the loopback transport, everything on.
//!
//! `cargo bench --bench submission [-- SESSIONS]`, on the disk of `TMPDIR`. `benches/compare.sh` sets it beside Postfix in
//! the same run.

#![allow(clippy::print_stdout, reason = "a benchmark talks on stdout")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::thread;
use std::time::{Duration, Instant};

use support::mail::{Imap, Login, Smtp, message};
use support::node::Node;
use support::temp_dir;

const MESSAGES: usize = 2000;
const BYTES: usize = 4096;

fn main() {
    let asked = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    for sessions in asked.map_or_else(|| vec![1, 10], |sessions: usize| vec![sessions]) {
        for arrives in [false, true] {
            let what = if arrives { "deliver" } else { "submit" };
            println!("{what}: sessions={sessions} messages={MESSAGES} rate={:.0} messages/s", rate(sessions, arrives));
        }
    }
}

/// Messages per second that are queued (for somebody who is off), or that also arrive.
fn rate(sessions: usize, arrives: bool) -> f64 {
    let peers = temp_dir();
    let (mut alice, mut bob) = (Node::loopback("alice", peers.path()), Node::loopback("bob", peers.path()));
    alice.start();
    bob.start();
    bob.befriend(&alice);
    let (login, to, port) = (Login::new(&alice, "bench"), bob.address(), alice.port("submission"));
    let mut inbox = if arrives {
        Some(Imap::open(bob.port("imap"), &Login::new(&bob, "bench")).unwrap())
    } else {
        bob.terminate();
        None
    };
    let line = "A line of some sixty characters, as people write them.\r\n";
    let empty = message(&login.user, &to, "bench", "");
    let text = message(&login.user, &to, "bench", &line.repeat((BYTES - empty.len()) / line.len()));
    let mut programs: Vec<Smtp> = (0..sessions).map(|_| Smtp::open(port, &login).unwrap()).collect();
    let begin = Instant::now();
    thread::scope(|scope| {
        for program in &mut programs {
            scope.spawn(|| {
                for _ in 0..MESSAGES / sessions {
                    program.submit(&to, &text).unwrap();
                }
            });
        }
    });
    if let Some(inbox) = &mut inbox {
        let all = format!("MESSAGES {MESSAGES}");
        while !String::from_utf8_lossy(&inbox.run("STATUS INBOX (MESSAGES)").unwrap()).contains(&all) {
            assert!(begin.elapsed() < Duration::from_secs(120), "not all of them arrive");
            thread::sleep(Duration::from_millis(20));
        }
    }
    let time = begin.elapsed();
    let node = if arrives { &bob } else { &alice };
    let folder = if arrives { "INBOX" } else { "Outbox" };
    let there = node.json(&["ls", folder])["messages"].as_array().unwrap().len();
    assert_eq!(there, MESSAGES, "every 250 is a message in {folder}");
    MESSAGES as f64 / time.as_secs_f64()
}
