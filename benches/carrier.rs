//! What a carrier does: how many objects of 4 KiB it takes per second, durably, from DEPOSIT to the 202; and with 100,000 objects
//! for 1,000 drops, how long it looks at a token, by what that token is, how much memory an object takes, and how long a start
//! takes. The real binary on the loopback transport, nothing but a carrier.
//!
//! `cargo bench --bench carrier [-- deposits [SESSIONS WINDOW] | full]`, on the disk of `TMPDIR`. `benches/compare.sh` sets the first beside
//! Postfix in the same run.

#![allow(clippy::print_stdout, reason = "a benchmark talks on stdout")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use runepeer::base::{ContentId, Onion, TokenSeed};
use runepeer::mail::{Content, ContentKind, Invitation};
use runepeer::pgp::{self, SecretKeys};
use runepeer::store::OsRng;
use runepeer::wire::mailbox::BoxCommand;
use runepeer::wire::token::{Class, Epoch, Token, epoch, hash_of, token};
use runepeer::wire::{Claim, Command, Message};
use support::box_client::{Session, new_keys, now};
use support::node::Node;
use support::temp_dir;

/// In one run of a setting, over all sessions.
const OBJECTS: usize = 2000;
/// Sessions, and objects of each that wait for their 202.
const SETTINGS: [(usize, usize); 4] = [(1, 1), (1, 4), (10, 1), (10, 4)];
const DROPS: usize = 1000;
const OBJECTS_OF_BOX: usize = 100;
/// Tokens come in powers of two.
const TOKENS_OF_BOX: usize = 256;
const TOKENS_OF_SET: usize = 1024;
/// How often each kind of token is shown.
const TRIES: usize = 1000;
/// Refusals that one session may get, and some to spare.
const REFUSALS: usize = 12;

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    if asked.first().is_none_or(|what| what == "deposits") {
        let number = |at: usize| asked.get(at).map(|text| text.parse::<usize>().unwrap());
        let setting = number(1).zip(number(2));
        for (sessions, window) in setting.map_or_else(|| SETTINGS.to_vec(), |setting| vec![setting]) {
            println!(
                "deposits: sessions={sessions} window={window} objects={OBJECTS} object=4096 rate={:.0} objects/s",
                deposits(sessions, window)
            );
        }
    }
    if asked.first().is_none_or(|what| what == "full") {
        full();
    }
}

/// A carrier, and where its peers are.
struct Bench {
    node: Node,
    peers: tempfile::TempDir,
    onion: Onion,
}

impl Bench {
    fn new() -> Self {
        let peers = temp_dir();
        let mut node = Node::loopback("carrier", peers.path()).carrier_only();
        node.start();
        let onion = node.json(&["status"])["carrier"]["onion"].as_str().unwrap().parse().unwrap();
        Self { node, peers, onion }
    }

    fn connect(&self) -> Session {
        connect(self.peers.path(), self.onion)
    }

    fn invitations(&self, count: usize) -> Vec<Invitation> {
        let made = self.node.json(&["carrier", "invite", "--count", &count.to_string()]);
        let texts = made["invitations"].as_array().unwrap().iter().map(|row| row["invitation"].as_str().unwrap());
        texts.map(|text| Invitation::parse_box(text).unwrap()).collect()
    }

    /// Makes a mailbox with so many tokens of an epoch.
    fn new_box(&self, keys: &SecretKeys, invitation: &Invitation, day: Epoch, count: usize) -> Vec<Token> {
        let mut session = self.connect();
        assert_eq!(session.register(keys, invitation).unwrap(), 210);
        assert_eq!(session.identify(keys.certificate().fingerprint(), keys).unwrap(), 211);
        upload(&mut session, day, count)
    }
}

fn connect(peers: &Path, onion: Onion) -> Session {
    Session::connect(peers, onion).unwrap()
}

fn class() -> Class {
    Class::of(4096).unwrap()
}

fn upload(session: &mut Session, day: Epoch, count: usize) -> Vec<Token> {
    let seed = TokenSeed::random(&mut OsRng);
    let tokens: Vec<_> = (0..count as u32).map(|number| token(&seed, day, class(), number)).collect();
    let mut hashes: Vec<_> = tokens.iter().map(hash_of).collect();
    hashes.sort_unstable();
    let block = hashes.concat();
    let command = BoxCommand::Tokens { epoch: day, class: class().number(), size: block.len() as u64 };
    assert_eq!(session.ask(&command, &block).unwrap()[0].code(), 220);
    tokens
}

fn object(keys: &SecretKeys) -> Vec<u8> {
    let content = Content {
        kind: ContentKind::Mail,
        id: ContentId::random(&mut OsRng),
        expires: now().plus(Duration::from_secs(86_400)),
        receipt: None,
        payload: b"Subject: x\r\n\r\n".to_vec(),
    };
    pgp::seal_for_box(&content.encode(), keys, keys.certificate(), now()).unwrap()
}

/// Leaves the same object against each of these tokens.
fn leave(session: &mut Session, tokens: &[Token], object: &[u8], window: usize) {
    let claim = Claim::of(object);
    let message = Command::Message(Message { sender: None, size: object.len() as u64 }).encode(None);
    for together in tokens.chunks(window) {
        let mut bytes = Vec::new();
        for token in together {
            let command = BoxCommand::Deposit { token: *token, claim }.encode(None);
            bytes.extend_from_slice(&[command.as_bytes(), message.as_bytes(), object].concat());
        }
        session.write(&bytes).unwrap();
        for _ in together {
            assert_eq!(session.answers().unwrap()[0].code(), 201);
            assert_eq!(session.answers().unwrap()[0].code(), 202);
        }
    }
}

/// Objects per second of a fresh carrier.
fn deposits(sessions: usize, window: usize) -> f64 {
    let bench = Bench::new();
    let keys = new_keys();
    let object = object(&keys);
    let today = epoch(now());
    let invitation = &bench.invitations(1)[0];
    let mut tokens = bench.new_box(&keys, invitation, today, TOKENS_OF_SET);
    let mut owner = bench.connect();
    assert_eq!(owner.identify(keys.certificate().fingerprint(), &keys).unwrap(), 211);
    tokens.extend(upload(&mut owner, today + 1, TOKENS_OF_SET));
    tokens.truncate(OBJECTS);
    let ready = &std::sync::Barrier::new(sessions + 1);
    let time = thread::scope(|scope| {
        let loads: Vec<_> = tokens.chunks(OBJECTS / sessions).collect();
        let clients: Vec<_> = loads
            .into_iter()
            .map(|tokens| {
                let (bench, object) = (&bench, &object);
                scope.spawn(move || {
                    let mut session = bench.connect();
                    ready.wait();
                    leave(&mut session, tokens, object, window);
                })
            })
            .collect();
        ready.wait();
        let begin = Instant::now();
        clients.into_iter().for_each(|client| client.join().unwrap());
        begin.elapsed()
    });
    assert_eq!(bench.node.json(&["carrier", "show"])["held"], OBJECTS);
    OBJECTS as f64 / time.as_secs_f64()
}

/// A carrier with 100,000 objects.
fn full() {
    let mut bench = Bench::new();
    let today = epoch(now());
    let keys: Vec<_> = (0..DROPS).map(|_| new_keys()).collect();
    let object = object(&keys[0]);
    let mut invitations = Vec::new();
    for _ in 0..DROPS / 100 {
        invitations.extend(bench.invitations(100));
    }
    let tokens: Vec<Vec<Token>> = keys
        .iter()
        .zip(&invitations)
        .map(|(keys, invitation)| bench.new_box(keys, invitation, today, TOKENS_OF_BOX))
        .collect();
    // Both times after a start: what a load leaves behind in the allocator is not what is held.
    bench.node.terminate();
    bench.node.start();
    let before = memory(&bench.node);
    thread::scope(|scope| {
        for drops in tokens.chunks(DROPS / 8) {
            let (bench, object) = (&bench, &object);
            scope.spawn(move || {
                for tokens in drops {
                    leave(&mut bench.connect(), &tokens[..OBJECTS_OF_BOX], object, 4);
                }
            });
        }
    });
    let held = bench.node.json(&["carrier", "show"])["held"].as_u64().unwrap();
    println!(
        "full: {held} objects for {DROPS} drops; under load {} bytes more for each",
        (memory(&bench.node) - before) / held
    );

    let mut times = [const { Vec::<Duration>::new() }; 4];
    let mut session = bench.connect();
    let other = vec![7; 4096];
    for number in 0..TRIES {
        if number % (REFUSALS / 3) == 0 {
            session = bench.connect();
        }
        // Each of another drop, so that none finds the cache warm by the one before it.
        let of_drop = |quarter: usize| &tokens[(number + quarter * DROPS / 4) % DROPS];
        let shown = [
            // Known and unused: taken.
            (of_drop(0)[OBJECTS_OF_BOX + number / DROPS], Claim::of(&object)),
            // Spent with another object.
            (of_drop(1)[number % OBJECTS_OF_BOX], Claim::of(&other)),
            // Of no set.
            (hash_of(&[number as u8; 32].map(|byte| byte ^ (number >> 8) as u8)), Claim::of(&object)),
            // Of another class.
            (of_drop(2)[OBJECTS_OF_BOX + 1], Claim::of(&[0; 16_384])),
        ];
        // Each comes as often at each place, and after each of the others: what a carrier does after an answer is not the next
        // one's.
        for kind in order(number) {
            let (token, claim) = shown[kind];
            let begin = Instant::now();
            session.ask(&BoxCommand::Deposit { token, claim }, b"").unwrap();
            times[kind].push(begin.elapsed());
        }
    }
    for (what, times) in ["known", "spent", "unknown", "another class"].iter().zip(&mut times) {
        times.sort_unstable();
        println!("full: a token that is {what}: {:.1} µs, median of {TRIES}", times[TRIES / 2].as_secs_f64() * 1e6);
    }
    let refused = times[1..].iter().map(|times| times[TRIES / 2]);
    let (least, most) = (refused.clone().min().unwrap(), refused.max().unwrap());
    let apart = (most.as_secs_f64() / least.as_secs_f64() - 1.0) * 100.0;
    println!("full: the medians of what is refused are within {apart:.1} % of each other");
    drop(session);

    bench.node.terminate();
    let begin = Instant::now();
    bench.node.start();
    println!("full: a start, until it is reachable: {:.2} s", begin.elapsed().as_secs_f64());
    assert_eq!(bench.node.json(&["carrier", "show"])["held"], held);
    println!("full: memory for each object: {} bytes", memory(&bench.node).saturating_sub(before) / held);
}

/// One of the 24 orders of four things.
fn order(number: usize) -> Vec<usize> {
    let (mut rest, mut number) = ((0..4).collect::<Vec<_>>(), number % 24);
    let mut order = Vec::new();
    while !rest.is_empty() {
        order.push(rest.remove(number % rest.len()));
        number /= rest.len() + 1;
    }
    order
}

/// Bytes that the daemon has in memory.
fn memory(node: &Node) -> u64 {
    let pid = node.json(&["status"])["pid"].as_u64().unwrap();
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
