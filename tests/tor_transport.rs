//! The Tor transport on a private Tor network: nodes find each other by onion, survive restarts, keep their keys off
//! the disk, and say what hinders them. Ignored, with the reason, where `tor` is not installed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]
#![allow(clippy::print_stderr, reason = "figures for the reader of the test's output")]

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use data_encoding::{BASE32_NOPAD, BASE64_NOPAD, HEXLOWER};
use runepeer::base::{ContactId, IdentityId, Onion, OnionSeed};
use runepeer::net::{
    DialError, Isolation, ListenError, Listener, StartError, Stream, Tor, TorConfig, Transport, TransportState,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use support::tornet::TorNet;
use support::{free_port, runner, temp_dir};

const ALICE: IdentityId = IdentityId::from_bytes([1; 16]);
const BOB: IdentityId = IdentityId::from_bytes([2; 16]);
/// What takes under a second on a quiet machine.
const SOON: Duration = Duration::from_secs(90);

fn main() -> ExitCode {
    // `RUST_LOG=arti_client=debug`, say, where a test needs explaining.
    if let Ok(filter) = std::env::var("RUST_LOG") {
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    }
    runner::main(
        TorNet::start,
        &[
            ("nodes_echo_a_mebibyte_over_several_onions", nodes_echo),
            ("a_restarted_node_is_reached_at_the_same_onion", restarted),
            ("a_killed_node_is_reached_again_by_those_who_knew_it", killed),
            ("a_listener_can_be_dropped_and_launched_again", relaunched),
            ("no_key_material_reaches_the_disk", keys_stay_in_memory),
            ("a_peer_that_is_not_there_is_reported_in_time", absent_peer),
            ("a_second_client_on_one_directory_is_refused", second_client),
            ("a_blocked_network_is_reported_with_its_reason", blocked),
            ("with_a_bridge_nothing_else_is_connected_to_and_onions_are_reached", bridged),
        ],
    )
}

/// Random seeds: two runs on one network must not meet each other's descriptors.
fn seed() -> OnionSeed {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).unwrap();
    OnionSeed::from_bytes(bytes)
}

fn pair(contact: u8) -> Isolation {
    Isolation::Pair(ALICE, ContactId::from_bytes([contact; 16]))
}

fn on_runtime<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let result = runtime.block_on(test);
    // What arti left running must not hold the next test up.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn node(network: &TorNet, dir: &Path) -> Tor {
    let start = Instant::now();
    let tor = Tor::start(TorConfig::new(dir.join("tor"), network.table())).await.unwrap();
    let mut status = tor.status();
    let ready = status.wait_for(|now| now.state == TransportState::Ready);
    tokio::time::timeout(SOON, ready).await.expect("ready in time").unwrap();
    eprintln!("ready after {:?}", start.elapsed());
    tor
}

/// Dials until it works: a service takes a moment to be published, and the peer's view of it to follow.
async fn reach(tor: &Tor, to: Onion, isolation: Isolation) -> Box<dyn Stream> {
    let start = Instant::now();
    loop {
        match tor.dial(to, isolation).await {
            Ok(stream) => {
                eprintln!("reached after {:?}", start.elapsed());
                return stream;
            }
            Err(error) => assert!(start.elapsed() < SOON, "still {error} after {:?}", start.elapsed()),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Sends back what comes until the peer closes, for every stream.
fn echo(mut listener: Listener) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        while let Some(stream) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = tokio::io::split(stream);
                let mut block = vec![0; 65_536];
                while let Ok(read @ 1..) = reader.read(&mut block).await {
                    if writer.write_all(&block[..read]).await.is_err() || writer.flush().await.is_err() {
                        break;
                    }
                }
            });
        }
    })
}

async fn echoes(stream: Box<dyn Stream>, length: usize) {
    let sent: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let write = async {
        writer.write_all(&sent).await.unwrap();
        writer.flush().await.unwrap();
    };
    let mut heard = vec![0; length];
    let (_, read) = tokio::join!(write, tokio::time::timeout(SOON, reader.read_exact(&mut heard)));
    read.expect("echoed in time").unwrap();
    assert!(heard == sent, "the echo differs");
}

fn nodes_echo(network: &TorNet) {
    let (alice_dir, bob_dir) = (temp_dir(), temp_dir());
    on_runtime(async {
        let (alice, bob) = tokio::join!(node(network, alice_dir.path()), node(network, bob_dir.path()));
        let seeds = [seed(), seed(), seed()];
        let mut onions = Vec::new();
        for seed in &seeds {
            let listener = bob.listen(BOB, seed).await.unwrap();
            onions.push(listener.onion());
            echo(listener);
        }
        assert_eq!(bob.listen(BOB, &seeds[0]).await.err(), Some(ListenError::InUse));
        assert!(onions[0] != onions[1] && onions[1] != onions[2] && onions[0] != onions[2]);
        let mut back = alice.listen(ALICE, &seed()).await.unwrap();
        for (contact, onion) in (0..).zip(&onions) {
            echoes(reach(&alice, *onion, pair(contact)).await, 1000).await;
        }
        let start = Instant::now();
        echoes(reach(&alice, onions[0], pair(0)).await, 1 << 20).await;
        eprintln!("1 MiB there and back: {:?}", start.elapsed());
        let start = Instant::now();
        echoes(reach(&alice, onions[0], Isolation::Fresh).await, 1).await;
        eprintln!("a new isolated stream: {:?}", start.elapsed());
        // The other way, and with the service's reachability seen.
        let mut reachability = back.reachability();
        let reachable = reachability.wait_for(|now| now.is_reachable());
        tokio::time::timeout(SOON, reachable).await.expect("reachable in time").unwrap();
        let onion = back.onion();
        let (_stream, accepted) = tokio::join!(reach(&bob, onion, pair(9)), back.accept());
        assert!(accepted.is_some());
        eprintln!("resident memory of two nodes with four services: {} KiB", resident_kib());
    });
}

/// A node on a runtime of its own, as it has in a process of its own.
struct Process {
    runtime: tokio::runtime::Runtime,
    tor: Tor,
    onion: Onion,
}

impl Process {
    fn start(network: &TorNet, dir: &Path, seed: &OnionSeed) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (tor, onion) = runtime.block_on(async {
            let tor = node(network, dir).await;
            let listener = tor.listen(BOB, seed).await.unwrap();
            let onion = listener.onion();
            echo(listener);
            (tor, onion)
        });
        Self { runtime, tor, onion }
    }

    /// Ends as SIGTERM does.
    fn stop(self) {
        let start = Instant::now();
        self.runtime.block_on(async {
            self.tor.stop().await;
            assert_eq!(self.tor.dial(self.onion, pair(1)).await.err(), Some(DialError::Stopped));
            assert_eq!(self.tor.listen(BOB, &seed()).await.err(), Some(ListenError::Stopped));
        });
        assert!(start.elapsed() < Duration::from_secs(5), "stopping took {:?}", start.elapsed());
        self.runtime.shutdown_timeout(Duration::from_secs(5));
        eprintln!("stopped in {:?}", start.elapsed());
    }

    /// Ends as SIGKILL does: without a word to anybody.
    fn kill(self) {
        self.runtime.shutdown_timeout(Duration::from_secs(5));
    }
}

/// Bob's process ends and starts again on the same directory; Alice goes on, and believes her circuits to be good.
fn reached_again(network: &TorNet, end: fn(Process)) {
    let (alice_dir, bob_dir) = (temp_dir(), temp_dir());
    let bob_seed = seed();
    let bob = Process::start(network, bob_dir.path(), &bob_seed);
    let onion = bob.onion;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let alice = runtime.block_on(async {
        let alice = node(network, alice_dir.path()).await;
        echoes(reach(&alice, onion, pair(1)).await, 1000).await;
        alice
    });
    end(bob);
    let bob = Process::start(network, bob_dir.path(), &bob_seed);
    assert_eq!(bob.onion, onion);
    let start = Instant::now();
    runtime.block_on(async { echoes(reach(&alice, onion, pair(1)).await, 1000).await });
    eprintln!("reached again {:?} after the restart", start.elapsed());
    bob.kill();
    drop(alice);
    runtime.shutdown_timeout(Duration::from_secs(1));
}

fn restarted(network: &TorNet) {
    reached_again(network, Process::stop);
}

fn killed(network: &TorNet) {
    reached_again(network, Process::kill);
}

fn relaunched(network: &TorNet) {
    let (alice_dir, bob_dir) = (temp_dir(), temp_dir());
    on_runtime(async {
        let (alice, bob) = tokio::join!(node(network, alice_dir.path()), node(network, bob_dir.path()));
        let bob_seed = seed();
        let mut listener = bob.listen(BOB, &bob_seed).await.unwrap();
        let onion = listener.onion();
        let (_first, accepted) = tokio::join!(reach(&alice, onion, pair(1)), listener.accept());
        drop(accepted);
        drop(listener);
        let start = Instant::now();
        let again = loop {
            match bob.listen(BOB, &bob_seed).await {
                Ok(again) => break again,
                Err(ListenError::InUse) if start.elapsed() < SOON => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => panic!("the service does not start again: {error}"),
            }
        };
        assert_eq!(again.onion(), onion);
        echo(again);
        echoes(reach(&alice, onion, pair(1)).await, 1000).await;
    });
}

fn keys_stay_in_memory(network: &TorNet) {
    let dir = temp_dir();
    let secret = seed();
    let peer = seed();
    let onion = on_runtime(async {
        let tor = node(network, dir.path()).await;
        let listener = tor.listen(BOB, &secret).await.unwrap();
        let other = tor.listen(BOB, &peer).await.unwrap();
        let onions = (listener.onion(), other.onion());
        echo(listener);
        echo(other);
        echoes(reach(&tor, onions.0, pair(1)).await, 1000).await;
        echoes(reach(&tor, onions.1, pair(2)).await, 1000).await;
        tor.stop().await;
        onions.0
    });
    let expanded = tor_llcrypto::pk::ed25519::ExpandedKeypair::from(&tor_llcrypto::pk::ed25519::Keypair::from_bytes(
        secret.expose(),
    ))
    .to_secret_key_bytes();
    let mut needles = Vec::new();
    for key in [secret.expose().as_slice(), &expanded, &expanded[..32], &expanded[32..], onion.public_key()] {
        needles.push(key.to_vec());
        needles.push(HEXLOWER.encode(key).into_bytes());
        needles.push(BASE32_NOPAD.encode(key).to_ascii_lowercase().into_bytes());
        // Inside a longer text in base64 (a PEM file, say) a key begins at one of three places of a group.
        for before in 0..3 {
            let shifted = [&vec![0; before], key, &[0, 0]].concat();
            let text = BASE64_NOPAD.encode(&shifted);
            let whole = &text[(before * 8).div_ceil(6)..(before + key.len()) * 8 / 6];
            needles.push(whole.to_ascii_lowercase().into_bytes());
            needles.push(whole.replace('+', "-").replace('/', "_").to_ascii_lowercase().into_bytes());
        }
    }
    needles.push(onion.label().into_bytes());
    let mut searched = 0;
    search(dir.path(), &needles, &mut searched);
    assert!(searched > 5, "arti keeps some files there; {searched} were found");
}

/// Every file below, and every file name, as it is, and in lower case without white space.
fn search(dir: &Path, needles: &[Vec<u8>], searched: &mut usize) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().as_encoded_bytes().to_owned();
        let raw = if path.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
        for haystack in [&raw, &folded(&raw), &folded(&name)] {
            for needle in needles {
                let found = haystack.windows(needle.len()).any(|window| window == needle.as_slice());
                assert!(!found, "{} holds key material", path.display());
            }
        }
        *searched += 1;
        if path.is_dir() {
            search(&path, needles, searched);
        }
    }
}

fn folded(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().filter(|byte| !byte.is_ascii_whitespace()).map(u8::to_ascii_lowercase).collect()
}

fn second_client(network: &TorNet) {
    let dir = temp_dir();
    on_runtime(async {
        let _first = node(network, dir.path()).await;
        let second = Tor::start(TorConfig::new(dir.path().join("tor"), network.table())).await;
        assert!(matches!(second, Err(StartError::Busy(_))), "arti would go on without saving its state");
    });
}

fn absent_peer(network: &TorNet) {
    let dir = temp_dir();
    on_runtime(async {
        let tor = node(network, dir.path()).await;
        let nobody = Onion::from_public_key(*alice_like().public_key());
        let start = Instant::now();
        let error = tor.dial(nobody, pair(1)).await.err().expect("nobody is there");
        assert!(matches!(error, DialError::Unreachable | DialError::TimedOut), "{error:?}");
        assert!(start.elapsed() < Duration::from_secs(70), "it took {:?}", start.elapsed());
        assert!(!error.is_ours());
        eprintln!("an absent peer is reported after {:?}", start.elapsed());
    });
}

/// An onion that nobody publishes.
fn alice_like() -> Onion {
    let key = tor_llcrypto::pk::ed25519::Keypair::from_bytes(seed().expose());
    Onion::from_public_key(key.verifying_key().to_bytes())
}

fn blocked(network: &TorNet) {
    let dir = temp_dir();
    on_runtime(async {
        let mut table = network.table();
        let caches = table["tor_network"]["fallback_caches"].as_array_mut().unwrap();
        let nowhere = toml::Value::from(format!("127.0.0.1:{}", free_port()));
        caches[0]["orports"] = toml::Value::Array(vec![nowhere]);
        let config =
            TorConfig { blocked_after: Duration::from_secs(5), ..TorConfig::new(dir.path().join("tor"), table) };
        let tor = Tor::start(config).await.unwrap();
        let mut status = tor.status();
        let blocked = status.wait_for(|now| now.state == TransportState::Blocked);
        let blocked = tokio::time::timeout(Duration::from_secs(20), blocked).await.expect("in time").unwrap().clone();
        let reason = blocked.blocked_reason.unwrap();
        eprintln!("blocked at {} %: {reason}", blocked.percent);
        assert!(reason.starts_with("Tor cannot ") && reason.contains("runepeer bridge add"), "{reason}");
        assert_eq!(tor.dial(alice_like(), pair(1)).await.err(), Some(DialError::Network));
        let stopping = Instant::now();
        tor.stop().await;
        assert!(stopping.elapsed() < Duration::from_secs(5));
    });
}

/// Two nodes, each of which knows nothing of the network but one bridge, which is in no consensus.
fn bridged(network: &TorNet) {
    let bridge = network.bridge();
    let mut table = network.table();
    let caches = table["tor_network"]["fallback_caches"].as_array_mut().unwrap();
    caches[0]["orports"] = toml::Value::Array(vec![format!("127.0.0.1:{}", free_port()).into()]);
    let bridges = format!("enabled = true\nbridges = [\"{}\"]", bridge.line);
    table.insert("bridges".into(), bridges.parse::<toml::Table>().unwrap().into());
    let (alice_dir, bob_dir) = (temp_dir(), temp_dir());
    let start = |dir: &Path| {
        let config = TorConfig::new(dir.join("tor"), table.clone());
        async move {
            let tor = Tor::start(config).await.unwrap();
            let mut status = tor.status();
            let ready = status.wait_for(|now| now.state == TransportState::Ready);
            tokio::time::timeout(SOON, ready).await.expect("ready in time").unwrap();
            tor
        }
    };
    on_runtime(async {
        let (alice, bob) = tokio::join!(start(alice_dir.path()), start(bob_dir.path()));
        let listener = bob.listen(BOB, &seed()).await.unwrap();
        let onion = listener.onion();
        echo(listener);
        echoes(reach(&alice, onion, pair(1)).await, 100_000).await;
        assert_eq!(connected_to(), BTreeSet::from([bridge.port]), "both nodes are in this process");
        alice.stop().await;
        bob.stop().await;
    });
}

/// The ports to which this process has connections of TCP.
fn connected_to() -> BTreeSet<u16> {
    let files = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| entry.unwrap().path().read_link().ok());
    let inode = |link: std::path::PathBuf| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned());
    let ours: BTreeSet<String> = files.filter_map(inode).collect();
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let connected = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // State 1 is "established"; field 2 is the other side, field 9 the inode.
        let port = u16::from_str_radix(fields[2].rsplit_once(':')?.1, 16).ok()?;
        (fields[3] == "01" && ours.contains(fields[9])).then_some(port)
    });
    connected.collect()
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or(0)
}
