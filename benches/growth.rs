//! What a full mailbox costs: the real binary with 1,000, 10,000 and 100,000 messages of 2 KiB. How long one delivery, one
//! saved message and one read message take, how long a start takes with its view and without it, and how long a mail
//! program waits for the envelopes of all of them after the view was lost.
//!
//! `cargo bench --bench growth [-- MESSAGES …]`, on the disk of `TMPDIR`.

#![allow(clippy::print_stdout, reason = "a benchmark talks on stdout")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use runepeer::base::Rng;
use runepeer::base::rng::SeededRng;
use runepeer::net::Loopback;
use support::mail::{Imap, Login, message};
use support::node::Node;
use support::peer::{Peer, Session};
use support::temp_dir;

const SIZES: [usize; 3] = [1_000, 10_000, 100_000];
/// So many mail programs fill the mailbox.
const WRITERS: usize = 8;
/// How often each thing is measured (reading ten times as often); below what one contact may send at once.
const SAMPLES: usize = 400;
const BYTES: usize = 2048;

fn main() {
    let arguments = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let mut sizes: Vec<usize> = arguments.collect();
    if sizes.is_empty() {
        sizes = SIZES.to_vec();
    }
    let peers = temp_dir();
    let mut node = Node::loopback("alice", peers.path());
    node.start();
    let login = Login::new(&node, "growth");
    let peer = Sender::new(&node, peers.path());
    let mut there = 0;
    let mut rng = SeededRng::new(1);
    let mut first: Option<[Duration; 3]> = None;
    for size in sizes {
        fill(&node, &login, size - there);
        there = size;
        let delivery = peer.deliver();
        let mut imap = Imap::open(node.port("imap"), &login).unwrap();
        let text = message(&login.user, &login.user, "saved", &"x".repeat(BYTES - 300));
        let saving = median(SAMPLES, || drop(imap.append("Drafts", &text).unwrap()));
        imap.run("SELECT Archive").unwrap();
        let reading = median(10 * SAMPLES, || {
            let uid = (&mut rng as &mut dyn Rng).below(there as u64) + 1;
            imap.run(&format!("UID FETCH {uid} (BODY.PEEK[])")).unwrap();
        });
        let now = [delivery, saving, reading];
        let smallest = *first.get_or_insert(now);
        for (what, now, smallest) in
            [("deliver", 0), ("save", 1), ("read", 2)].map(|(what, at)| (what, now[at], smallest[at]))
        {
            println!("{size:6} messages: {what:8} {:8.3} ms  ratio {:.2}", ms(now), ms(now) / ms(smallest));
        }
        node.terminate();
        println!("{size:6} messages: start    {:8.0} ms with its view", ms(start(&mut node)));
        node.terminate();
        std::fs::remove_dir_all(node.data().join("view")).unwrap();
        println!("{size:6} messages: start    {:8.0} ms without a view", ms(start(&mut node)));
        let mut imap = Imap::open(node.port("imap"), &login).unwrap();
        imap.run("SELECT Archive").unwrap();
        let begin = Instant::now();
        let answer = imap.run("UID FETCH 1:* (FLAGS ENVELOPE)").unwrap();
        println!("{size:6} messages: list     {:8.0} ms, all envelopes, for the first time", ms(begin.elapsed()));
        assert!(answer.len() > there * 100);
        let begin = Instant::now();
        imap.run("UID FETCH 1:* (FLAGS ENVELOPE)").unwrap();
        println!("{size:6} messages: list     {:8.0} ms, all envelopes, again", ms(begin.elapsed()));
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn median(samples: usize, mut act: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..samples)
        .map(|_| {
            let begin = Instant::now();
            act();
            begin.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[samples / 2]
}

fn fill(node: &Node, login: &Login, count: usize) {
    let port = node.port("imap");
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            scope.spawn(move || {
                let mut imap = Imap::open(port, login).unwrap();
                for number in (writer..count).step_by(WRITERS) {
                    let text = "A line of text that somebody wrote.\r\n".repeat((BYTES - 300) / 37);
                    let text = message(&login.user, &login.user, &format!("number {number}"), &text);
                    imap.append("Archive", &text).unwrap();
                }
            });
        }
    });
}

/// From the start of the process until it answers and its identity is reachable.
fn start(node: &mut Node) -> Duration {
    let begin = Instant::now();
    node.spawn();
    node.wait_until_reachable();
    begin.elapsed()
}

/// Somebody who delivers over RUNE.
struct Sender<'a> {
    peers: &'a Path,
    peer: std::cell::RefCell<(Peer, usize)>,
}

impl<'a> Sender<'a> {
    fn new(node: &Node, peers: &'a Path) -> Self {
        let invitation = node.json(&["invite"])["invitation"].as_str().unwrap().to_owned();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let peer = runtime.block_on(async {
            let transport = Loopback::open(peers).unwrap();
            Peer::befriend(0, &transport, &invitation).await
        });
        Self { peers, peer: std::cell::RefCell::new((peer, 0)) }
    }

    /// The time of one delivery, from SEND to 202.
    fn deliver(&self) -> Duration {
        let (peer, sent) = &mut *self.peer.borrow_mut();
        let requests: Vec<_> =
            (0..SAMPLES + 1).map(|n| peer.mail(*sent + n, &format!("Message {}", *sent + n), BYTES)).collect();
        *sent += requests.len();
        let mut session = Session::connect(self.peers, peer.receiver()).unwrap();
        session.exchange(&requests[..1], 1).unwrap();
        let mut rest = requests[1..].iter();
        median(SAMPLES, || session.exchange(std::slice::from_ref(rest.next().unwrap()), 1).unwrap())
    }
}
