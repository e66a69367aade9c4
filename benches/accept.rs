//! How many sealed messages of 4 KiB a node accepts per second, durably: over RUNE sessions on the loopback transport,
//! from SEND to the 202 that leaves after opening, verifying and syncing.
//!
//! `cargo bench --bench accept [-- DIRECTORY [SESSIONS WINDOW]]`; without a directory `TMPDIR`, without sessions and
//! window all settings. `benches/compare.sh` sets it beside Postfix in the same run.
//! Objects are sealed and requests are written down before the clock starts, as smtp-source does no work for its messages
//! either. The client threads share the processors with the node.

#![allow(clippy::print_stdout, reason = "a benchmark talks on stdout")]
#![allow(clippy::expect_used, clippy::indexing_slicing)]

#[path = "../tests/support/peer.rs"]
#[allow(dead_code, reason = "tests use more of it")]
mod peer;

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use runepeer::base::Onion;
use runepeer::base::limits::WIRE_SENDS;
use runepeer::config::{File, ListenFile};
use runepeer::control::Command;
use runepeer::control::reply::{Folder, Invitation};
use runepeer::daemon::{Node, Preparation, Start};
use runepeer::net::Loopback;

use peer::{Peer, Request, Session};

/// In one run of a setting, over all sessions; below what one contact may send at once.
const MESSAGES: usize = 2000;
/// Of each session, before the clock starts: sockets, threads and caches are there then.
const WARM_UP: usize = 20;
/// A message's header and text, in bytes.
const BYTES: usize = 4096;
/// Sessions, and messages of each that wait for their 202.
const SETTINGS: [(usize, usize); 4] = [(1, 1), (1, 4), (10, 1), (10, 4)];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let dir = arguments.first().map_or_else(std::env::temp_dir, PathBuf::from);
    let number = |at: usize| arguments.get(at).map(|text| text.parse::<usize>().expect("a number"));
    let asked = number(1).zip(number(2));
    println!("{}", place(&dir));
    for (sessions, window) in asked.map_or_else(|| SETTINGS.to_vec(), |setting| vec![setting]) {
        let (rate, object) = setting(&dir, sessions, window);
        println!(
            "accept: sessions={sessions} window={window} messages={MESSAGES} content={BYTES} object={object} \
             rate={rate:.0} messages/s"
        );
    }
}

/// Accepted messages per second of a fresh node, and the size of the objects.
fn setting(dir: &Path, sessions: usize, window: usize) -> (f64, usize) {
    let root = tempfile::Builder::new().prefix("rp").tempdir_in(dir).expect("the directory can be written");
    let peers = root.path().join("net");
    let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
    let (node, transport) = runtime.block_on(async {
        let node = start(root.path(), &peers).await;
        (node, Loopback::open(&peers).expect("the directory is ours"))
    });
    let each = MESSAGES / sessions;
    let mut loads = Vec::new();
    for number in 0..sessions {
        let peer = runtime.block_on(async {
            let made = node.ask(Command::Invite { public: false, life_secs: 3600, label: None }).await;
            let Invitation { invitation, .. } = made.expect("it can be made");
            Peer::befriend(number, &transport, &invitation).await
        });
        let requests: Vec<Request> =
            (0..WARM_UP + each).map(|n| peer.mail(n, &format!("Message {n}"), BYTES)).collect();
        loads.push((peer.receiver(), requests));
    }
    let object = loads.first().and_then(|(_, requests)| requests.first()).map_or(0, |request| request.object);
    let time = run(&peers, loads, window);
    runtime.block_on(async {
        assert_eq!(in_inbox(&node).await, sessions * (WARM_UP + each), "every 202 is a message in INBOX");
        node.stop().await;
    });
    ((each * sessions) as f64 / time.as_secs_f64(), object)
}

async fn start(root: &Path, peers: &Path) -> Node {
    let any = || Some("127.0.0.1:0".to_owned());
    let file = File {
        transport: Some(format!("loopback:{}", peers.display())),
        listen: ListenFile { imap: any(), submission: any() },
        ..File::default()
    };
    let preparation = Preparation::open(&root.join("data")).expect("the directory can be made");
    let ready = preparation.ready(file).await.expect("the ports are free");
    let start = Start::new(Some("bob".to_owned()), None);
    Node::start(ready, start).await.expect("the node starts")
}

async fn in_inbox(node: &Node) -> usize {
    let inbox: Folder = node.ask(Command::Ls { folder: "INBOX".into() }).await.expect("INBOX can be listed");
    inbox.messages.len()
}

/// From when every session is warm until the last 202 of all.
fn run(peers: &Path, loads: Vec<(Onion, Vec<Request>)>, window: usize) -> Duration {
    let warm = std::sync::Barrier::new(loads.len() + 1);
    let warm = &warm;
    thread::scope(|scope| {
        let clients: Vec<_> = loads
            .into_iter()
            .map(|(onion, requests)| {
                scope.spawn(move || {
                    let mut session = Session::connect(peers, onion).expect("the node listens");
                    let (first, rest) = requests.split_at(WARM_UP);
                    session.exchange(first, window).expect("the node accepts");
                    warm.wait();
                    // A session ends after so many; the next ones are part of what is measured.
                    for (at, requests) in rest.chunks(WIRE_SENDS as usize - WARM_UP).enumerate() {
                        if at > 0 {
                            session = Session::connect(peers, onion).expect("the node listens");
                        }
                        session.exchange(requests, window).expect("the node accepts");
                    }
                })
            })
            .collect();
        warm.wait();
        let begin = Instant::now();
        for client in clients {
            client.join().expect("every message is accepted");
        }
        begin.elapsed()
    })
}

/// The file system under a directory, as the kernel describes it.
fn place(dir: &Path) -> String {
    let dir = dir.canonicalize().expect("the directory exists");
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let under = mounts
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            dir.starts_with(fields.get(1)?).then_some(fields)
        })
        .max_by_key(|fields| fields.get(1).map_or(0, |at| at.len()));
    let text = under.map(|fields| fields.get(..4).unwrap_or_default().join(" ")).unwrap_or_default();
    assert!(!text.contains(" tmpfs "), "{} is in memory: nothing durable can be measured there", dir.display());
    format!("{} is on: {text}", dir.display())
}
