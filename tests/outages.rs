//! Nodes whose network goes away and comes back, on a private Tor network: what they say meanwhile, and how long after
//! the return they are reachable and waiting mail has arrived. Ignored, with the reason, where `tor` is not installed.
//!
//! `OUTAGES=20k,300s,1800k,600z,10800f,10800b` says which outages are tried instead of the short ones: so many seconds with
//! all relays killed (k) or stopped (s), or with one of the two nodes suspended (z); or that node's clock is set forward
//! (f) or back (b) by so many seconds, and then right again. `TEST_LIMIT` is the time for all, in seconds.
//! `SOAK=7200` has an outage of a random kind every ten minutes for so many seconds instead, and watches memory and
//! descriptors. The figures are printed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]
#![allow(clippy::print_stderr, reason = "figures for the reader of the test's output")]

mod support;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::Value;

use support::node::Node;
use support::tornet::TorNet;
use support::{runner, wait_for};

/// Waiting mail is to be delivered, and both nodes reachable, within this time of the return. That is held against the
/// outages that somebody asked for; those of every run may take longer on a busy machine, up to the limit.
const RETURN: Duration = Duration::from_secs(60);
const LIMIT: Duration = Duration::from_secs(240);
/// How long a node may take to notice that its relays have ended, or that nothing comes from them any more.
const NOTICE_KILLED: Duration = Duration::from_secs(50);
const NOTICE_STOPPED: Duration = Duration::from_secs(100);
/// The same where its clock was set.
const NOTICE_CLOCK: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    runner::main(TorNet::start, &[("waiting_mail_is_delivered_after_the_return_of_the_network", outages)])
}

/// What is done to the network, or to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Killed,
    Stopped,
    Suspended,
    /// The clock of one node is set forward.
    Forward,
    /// The clock of one node is set back.
    Back,
}

impl Kind {
    const fn sets_a_clock(self) -> bool {
        matches!(self, Self::Forward | Self::Back)
    }
}

fn planned() -> Vec<(Kind, Duration)> {
    let text = std::env::var("OUTAGES").unwrap_or_else(|_| "60k".to_owned());
    let one = |word: &str| {
        let (seconds, kind) = word.split_at(word.len() - 1);
        let kind = match kind {
            "k" => Kind::Killed,
            "s" => Kind::Stopped,
            "z" => Kind::Suspended,
            "f" => Kind::Forward,
            "b" => Kind::Back,
            other => panic!("no such outage: {other}"),
        };
        (kind, Duration::from_secs(seconds.parse().unwrap()))
    };
    text.split(',').map(one).collect()
}

fn outages(network: &TorNet) {
    let (mut alice, mut bob) = (Node::tor("alice", network.table()), Node::tor("bob", network.table()));
    if planned().iter().any(|(kind, _)| kind.sets_a_clock()) {
        bob = bob.with_clock();
    }
    alice.start();
    bob.start();
    alice.befriend(&bob);
    deliver(&alice, &bob, "before", Duration::from_secs(120));
    if let Ok(seconds) = std::env::var("SOAK") {
        return soak(network, &alice, &bob, Duration::from_secs(seconds.parse().unwrap()));
    }
    for (number, (kind, lasts)) in planned().into_iter().enumerate() {
        if kind.sets_a_clock() {
            clock(&alice, &bob, kind, lasts, number);
        } else {
            outage(network, &alice, &bob, kind, lasts, number);
        }
    }
}

/// The clock of a node is wrong by this much, and right again; mail is sent both times.
fn clock(alice: &Node, bob: &Node, kind: Kind, by: Duration, number: usize) {
    let by = by.as_secs() as i64;
    for offset in [if kind == Kind::Forward { by } else { -by }, 0] {
        bob.jump(offset);
        // It has to have noticed.
        std::thread::sleep(NOTICE_CLOCK);
        let jumped = Instant::now();
        let subject = format!("clock {number} {offset}");
        alice.feed(&["send", "-t", "bob", "-s", &subject, "-"], b"Hello\n");
        after(alice, bob, &format!("a clock set to {offset:+} s"), &subject, jumped);
    }
}

/// One outage, with mail that is sent meanwhile; returns how long after the return it had arrived.
fn outage(network: &TorNet, alice: &Node, bob: &Node, kind: Kind, lasts: Duration, number: usize) -> Duration {
    let subject = format!("outage {number}");
    match kind {
        Kind::Killed => network.kill_relays(),
        Kind::Stopped => network.stop_relays(),
        Kind::Suspended => bob.pause(),
        Kind::Forward | Kind::Back => unreachable!("that is no outage"),
    }
    let begun = Instant::now();
    alice.feed(&["send", "-t", "bob", "-s", &subject, "-"], b"Hello\n");
    let notice = if kind == Kind::Killed { NOTICE_KILLED } else { NOTICE_STOPPED };
    if kind != Kind::Suspended && lasts > notice {
        for node in [alice, bob] {
            let status = wait_for("the outage in status", notice, || gone(node));
            let reason = status["tor"]["blocked_reason"].as_str().unwrap().to_owned();
            assert!(reason.contains("has not answered since"), "{reason}");
            let doctor = String::from_utf8_lossy(&node.run(&["doctor"]).stdout).into_owned();
            assert!(doctor.contains("x  tor: gone since "), "{doctor}");
            assert_eq!(status["identities"][0]["reachable"], false);
        }
        eprintln!("{kind:?}: both nodes said so after {:?}", begun.elapsed());
    }
    std::thread::sleep(lasts.saturating_sub(begun.elapsed()));
    match kind {
        Kind::Killed => network.start_relays(),
        Kind::Stopped => network.continue_relays(),
        Kind::Suspended => bob.resume(),
        Kind::Forward | Kind::Back => {}
    }
    after(alice, bob, &format!("{kind:?} for {lasts:?}"), &subject, Instant::now())
}

/// Both nodes are reachable soon after this moment, and a message that waits arrives, and an answer; returns how long after
/// it the message had arrived.
fn after(alice: &Node, bob: &Node, what: &str, subject: &str, returned: Instant) -> Duration {
    let arrived = arrives(bob, subject, LIMIT) - returned;
    let reachable = |node: &Node| {
        wait_for(&format!("{} to be reachable", node.name()), LIMIT, || {
            (node.json(&["status"])["identities"][0]["reachable"] == true).then(Instant::now)
        })
    };
    let both = reachable(alice).max(reachable(bob)) - returned;
    // The other way, now that everything is said to be well.
    let back = deliver(bob, alice, &format!("answer to {subject}"), LIMIT);
    eprintln!("{what}: waiting mail after {arrived:.1?}, both reachable after {both:.1?}, an answer took {back:.1?}");
    let most = if std::env::var_os("OUTAGES").or_else(|| std::env::var_os("SOAK")).is_some() { RETURN } else { LIMIT };
    if arrived.max(both) > most {
        for node in [alice, bob] {
            eprintln!("{}:\n{}", node.name(), node.words());
        }
    }
    assert!(arrived <= most, "waiting mail came {arrived:?} after the return");
    assert!(both <= most, "reachable {both:?} after the return");
    arrived
}

/// The status of a node that says that the network is gone.
fn gone(node: &Node) -> Option<Value> {
    let status = node.json(&["status"]);
    (status["tor"]["state"] == "blocked" && status["tor"]["gone_since"].is_string()).then_some(status)
}

fn deliver(from: &Node, to: &Node, subject: &str, limit: Duration) -> Duration {
    let begun = Instant::now();
    from.feed(&["send", "-t", to.name(), "-s", subject, "-"], b"Hello\n");
    arrives(to, subject, limit) - begun
}

fn arrives(node: &Node, subject: &str, limit: Duration) -> Instant {
    wait_for(&format!("{subject} at {}", node.name()), limit, || {
        let listed = node.json(&["ls"]);
        let mut messages = listed["messages"].as_array().into_iter().flatten();
        messages.any(|message| message["subject"] == subject).then(Instant::now)
    })
}

/// An outage every ten minutes: mail is never late, and memory and descriptors do not grow.
fn soak(network: &TorNet, alice: &Node, bob: &Node, lasts: Duration) {
    let begun = Instant::now();
    let (mut latest, mut figures) = (Duration::ZERO, Vec::new());
    for number in 0.. {
        if begun.elapsed() >= lasts {
            break;
        }
        let kind = [Kind::Killed, Kind::Stopped, Kind::Suspended][number % 3];
        let outage_lasts = Duration::from_secs([25, 130, 70, 240][number % 4]);
        let round = Instant::now();
        latest = latest.max(outage(network, alice, bob, kind, outage_lasts, number));
        figures.push([alice, bob].map(Node::memory_and_descriptors));
        eprintln!("after {:.0?}: KiB and descriptors {:?}", begun.elapsed(), figures.last().unwrap());
        std::thread::sleep(Duration::from_secs(600).saturating_sub(round.elapsed()));
    }
    eprintln!("{} outages in {:.0?}; mail at most {latest:.1?} after a return", figures.len(), begun.elapsed());
    let (first, last) = (figures[figures.len() / 3], figures[figures.len() - 1]);
    for (first, last) in first.into_iter().zip(last) {
        assert!(last.0 <= first.0 + first.0 / 2 && last.1 <= first.1 + 40, "{first:?} then {last:?}");
    }
}
