//! How fast 24 MiB go over Tor: from one node to another, over a bare stream of the same arti, and over C-tor, one after the
//! other on one private Tor network on loopback.
//!
//! `cargo bench --bench tor [-- ROUNDS]`. Needs Debian's `tor`; says so where it is missing. `benches/tor.sh` prints the
//! ratios. `RELAYS` in the environment sets the number of relays.
//!
//! - `node`: a message with an attachment of 17 MiB is submitted at a daemon of the real binary, until it is in the INBOX of
//!   another one. The rate is that of the sealed object, from the moment at which it is given to the stream until its
//!   answer comes, which is after it was opened, verified and committed.
//! - `arti`: a client and an onion service in two processes that are nothing but arti, with the nodes' configuration of it,
//!   until one octet comes back. `arti-lite`: the same with circuits as short as those of C-tor (vanguards-lite).
//! - `tor`: a client and an onion service of Debian's `tor`, by its SOCKS port, until one octet comes back.
//!
//! The three stay up all the time, so each uses its circuits of the rounds before. The processor times are those of the
//! whole transfer: of the side that sends, the side that receives, and all relays together.

#![allow(clippy::print_stdout, reason = "a benchmark talks on stdout")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use arti_client::{TorClient, TorClientConfig};
use data_encoding::BASE64_MIME;
use futures::StreamExt;
use runepeer::base::{Onion, OnionSeed};
use runepeer::net::tor::RUNE_PORT;
use support::mail::{Imap, Login, Smtp};
use support::node::Node;
use support::runner::Missing;
use support::tornet::{Client, TorNet};
use support::{free_port, temp_dir, wait_for};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tor_cell::relaycell::msg::Connected;
use tor_config::{ConfigurationSource, ConfigurationSources, sources::MustRead};
use tor_hscrypto::pk::HsIdKeypair;
use tor_hsservice::config::OnionServiceConfigBuilder;
use tor_llcrypto::pk::ed25519;
use tor_rtcompat::PreferredRuntime;

const ROUNDS: u32 = 3;
const MIB: f64 = 1_048_576.0;
/// The attachment that makes an object of [`OBJECT`] octets.
const ATTACHMENT: usize = 17 << 20;
const OBJECT: usize = 24 << 20;
/// Before the first round, so that circuits are there.
const WARM_UP: usize = 256 << 10;
/// A transfer that takes longer is a failure.
const LIMIT: Duration = Duration::from_secs(240);
/// The same for a first connection.
const FIRST: Duration = Duration::from_secs(120);
/// The size of one write, in bytes.
const PIECE: usize = 64 << 10;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["arti-service", dir] => on_arti(dir, serve_arti),
        ["arti-client", dir, onion] => {
            let onion = (*onion).to_owned();
            on_arti(dir, |client| ask_arti(client, onion));
        }
        [rounds] => compare(rounds.parse().expect("a number of rounds")),
        _ => compare(ROUNDS),
    }
}

fn compare(rounds: u32) {
    let network = match TorNet::start() {
        Ok(network) => network,
        Err(Missing(reason)) => return println!("the throughput over Tor cannot be measured: {reason}"),
    };
    println!("network: {} relays, one of them the authority", network.ids().len());
    let mut nodes = Nodes::start(&network);
    let mut bare = [("arti", "full"), ("arti-lite", "lite")].map(|(name, mode)| (name, Arti::start(&network, mode)));
    let debian = Debian::start(&network);
    for round in 1..=rounds {
        nodes.carry(&network, round);
        for (name, arti) in &mut bare {
            let before = Processors::now(&network, arti.sender.id(), arti.receiver.id());
            let time = arti.carry(OBJECT);
            report(name, round, OBJECT, time, &before.used(&network), "");
        }
        let before = Processors::now(&network, debian.sender.id(), debian.receiver.id());
        let time = debian.carry(OBJECT);
        report("tor", round, OBJECT, time, &before.used(&network), "");
    }
}

fn report(name: &str, round: u32, octets: usize, time: Duration, used: &Processors, more: &str) {
    println!(
        "{name} round={round} octets={octets} seconds={:.2} rate={:.2} MiB/s sender={:.1}s receiver={:.1}s relays={:.1}s{more}",
        time.as_secs_f64(),
        octets as f64 / MIB / time.as_secs_f64(),
        used.sender,
        used.receiver,
        used.relays,
    );
}

/// The time that processes have had a processor, in seconds.
struct Processors {
    ids: (u32, u32),
    sender: f64,
    receiver: f64,
    relays: f64,
}

impl Processors {
    fn now(network: &TorNet, sender: u32, receiver: u32) -> Self {
        let relays = network.ids().into_iter().map(Self::of).sum();
        Self { ids: (sender, receiver), sender: Self::of(sender), receiver: Self::of(receiver), relays }
    }

    /// The time since then.
    fn used(&self, network: &TorNet) -> Self {
        let now = Self::now(network, self.ids.0, self.ids.1);
        let (sender, receiver) = (now.sender - self.sender, now.receiver - self.receiver);
        Self { ids: self.ids, sender, receiver, relays: now.relays - self.relays }
    }

    fn of(process: u32) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
        // Behind the name: the state is the third field, the times in hundredths are the fourteenth and the fifteenth.
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
    }
}

/// Two nodes of the real binary that know each other.
struct Nodes {
    alice: Node,
    bob: Node,
    program: Smtp,
    inbox: Imap,
    from: String,
    to: String,
}

impl Nodes {
    fn start(network: &TorNet) -> Self {
        // The pump of the sender says when it is given bytes and when it has read some, which here is seldom.
        let mut alice =
            Node::tor("alice", network.table()).with_environment("RUNEPEER_LOG", "warn,runepeer::net::pump=trace");
        let mut bob = Node::tor("bob", network.table());
        alice.start();
        bob.start();
        alice.befriend(&bob);
        let login = Login::new(&alice, "bench");
        let program = Smtp::open(alice.port("submission"), &login).unwrap();
        let inbox = Imap::open(bob.port("imap"), &Login::new(&bob, "bench")).unwrap();
        let to = bob.address();
        Self { alice, bob, program, inbox, from: login.user, to }
    }

    fn carry(&mut self, network: &TorNet, round: u32) {
        let mut attachment = vec![0; ATTACHMENT];
        getrandom::fill(&mut attachment).unwrap();
        let message = format!(
            "From: <{}>\r\nTo: <{}>\r\nSubject: {round}\r\nMIME-Version: 1.0\r\n\
             Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n{}",
            self.from,
            self.to,
            BASE64_MIME.encode(&attachment)
        );
        let pid = |node: &Node| u32::try_from(node.json(&["status"])["pid"].as_u64().unwrap()).unwrap();
        let before = Processors::now(network, pid(&self.alice), pid(&self.bob));
        let begin = Instant::now();
        self.program.submit(&self.to, message.as_bytes()).unwrap();
        let submitted = begin.elapsed();
        let all = format!("MESSAGES {round})");
        while !String::from_utf8_lossy(&self.inbox.run("STATUS INBOX (MESSAGES)").unwrap()).contains(&all) {
            assert!(begin.elapsed() < LIMIT, "message {round} does not arrive");
            sleep(Duration::from_millis(20));
        }
        let whole = begin.elapsed();
        let used = before.used(network);
        let (octets, time) = wait_for("the answer in the log", FIRST, || last_object(&self.alice.words()));
        let whole = whole.as_secs_f64();
        let more = format!(
            " submitted={:.2}s whole={whole:.2}s whole_rate={:.2} MiB/s",
            submitted.as_secs_f64(),
            octets as f64 / MIB / whole
        );
        report("node", round, octets, time, &used, &more);
    }
}

/// The size of the last large object in the log of a node that sends, and the time until its answer.
fn last_object(log: &str) -> Option<(usize, Duration)> {
    let lines: Vec<(f64, usize, bool)> = log.lines().filter_map(line).collect();
    let (at, (given, octets, _)) = lines.iter().enumerate().rfind(|(_, (_, bytes, read))| !read && *bytes >= OBJECT)?;
    let (answered, ..) = lines[at..].iter().find(|(.., read)| *read)?;
    // Over midnight the seconds of the day begin anew.
    Some((*octets, Duration::from_secs_f64((answered - given).rem_euclid(86_400.0))))
}

/// A line of the pump: the seconds of the day, the bytes, and whether they were read.
fn line(line: &str) -> Option<(f64, usize, bool)> {
    let (_, time) = line.split_once(' ')?.0.trim_end_matches('Z').split_once('T')?;
    let mut parts = time.split(':').map(|part| part.parse::<f64>().ok());
    let seconds = parts.next()?? * 3600.0 + parts.next()?? * 60.0 + parts.next()??;
    let bytes = line.rsplit_once("bytes=")?.1.split(' ').next()?.parse().ok()?;
    Some((seconds, bytes, line.contains("read from a peer")))
}

/// Two processes that are nothing but arti.
struct Arti {
    sender: Child,
    receiver: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    _dirs: [tempfile::TempDir; 2],
}

impl Arti {
    fn start(network: &TorNet, vanguards: &str) -> Self {
        let dirs = [temp_dir(), temp_dir()];
        for dir in &dirs {
            let table = network.table().to_string() + &arti_lines(dir.path(), vanguards);
            std::fs::write(dir.path().join("tor.toml"), table).unwrap();
        }
        let mut receiver =
            this("arti-service", dirs[0].path()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut onion = String::new();
        BufReader::new(receiver.stdout.take().unwrap()).read_line(&mut onion).unwrap();
        let mut sender = this("arti-client", dirs[1].path())
            .arg(onion.trim())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (orders, answers) = (sender.stdin.take().unwrap(), BufReader::new(sender.stdout.take().unwrap()));
        let mut arti = Self { sender, receiver, orders, answers, _dirs: dirs };
        arti.carry(WARM_UP);
        arti
    }

    /// Carries so many octets, in this time.
    fn carry(&mut self, octets: usize) -> Duration {
        writeln!(self.orders, "{octets}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        Duration::from_secs_f64(answer.trim().parse().expect("arti carries it"))
    }
}

impl Drop for Arti {
    fn drop(&mut self) {
        for process in [&mut self.sender, &mut self.receiver] {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn this(role: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(role).arg(dir);
    command
}

/// What a node decides for arti (`src/net/tor/settings.rs`), as far as it concerns circuits and queues.
fn arti_lines(dir: &Path, vanguards: &str) -> String {
    let dir = dir.display();
    format!(
        "[storage]\ncache_dir = \"{dir}/cache\"\nstate_dir = \"{dir}/state\"\n[vanguards]\nmode = \"{vanguards}\"\n\
         [system.memory]\nmax = 268435456\n"
    )
}

/// Runs a piece of work with a client of arti, on as many threads as a node gives it.
fn on_arti<F>(dir: &str, work: impl FnOnce(Arc<TorClient<PreferredRuntime>>) -> F + Send + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    let text = std::fs::read_to_string(Path::new(dir).join("tor.toml")).unwrap();
    let mut sources = ConfigurationSources::new_empty();
    sources.push_source(ConfigurationSource::from_verbatim(text), MustRead::MustRead);
    let config: TorClientConfig = tor_config::resolve(&sources.load().unwrap()).unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // On the threads of arti, and not on this one, which the others would have to wake for every cell.
    let worked = runtime.spawn(async move {
        let builder = TorClient::with_runtime(PreferredRuntime::current().unwrap()).config(config);
        work(builder.create_bootstrapped().await.unwrap()).await;
    });
    runtime.block_on(worked).unwrap();
}

/// Publishes an onion, says which, and answers each stream once it has read what was announced.
async fn serve_arti(client: Arc<TorClient<PreferredRuntime>>) {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).unwrap();
    let key = ed25519::ExpandedKeypair::from(&ed25519::Keypair::from_bytes(&seed));
    let config = OnionServiceConfigBuilder::default().nickname("bench".parse().unwrap()).build().unwrap();
    let launched = client.launch_onion_service_with_hsid(config, HsIdKeypair::from(key)).unwrap();
    let (_running, requests) = launched.expect("it is enabled");
    println!("{}", Onion::of_seed(&OnionSeed::from_bytes(seed)));
    let mut streams = std::pin::pin!(tor_hsservice::handle_rend_requests(requests));
    while let Some(request) = streams.next().await {
        tokio::spawn(async move {
            let Ok(mut stream) = request.accept(Connected::new_empty()).await else { return };
            let Ok(mut left) = stream.read_u64().await else { return };
            let mut piece = vec![0; PIECE];
            while left > 0 {
                match stream.read(&mut piece).await {
                    Ok(read @ 1..) => left -= read as u64,
                    _ => return,
                }
            }
            let _ = stream.write_all(b"+").await;
            let _ = stream.flush().await;
            // Until the other side closes.
            let _ = stream.read(&mut piece).await;
        });
    }
}

/// For each number on stdin: sends so many octets, and says how long that took.
async fn ask_arti(client: Arc<TorClient<PreferredRuntime>>, onion: String) {
    let piece = vec![7; PIECE];
    loop {
        let order = tokio::task::spawn_blocking(|| std::io::stdin().lines().next()).await.unwrap();
        let Some(Ok(order)) = order else { return };
        let octets: usize = order.parse().unwrap();
        let begin = Instant::now();
        let mut stream = loop {
            match client.connect((onion.as_str(), RUNE_PORT)).await {
                Ok(stream) => break stream,
                Err(error) => assert!(begin.elapsed() < FIRST, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        };
        let begin = Instant::now();
        let carried = async {
            stream.write_u64(octets as u64).await?;
            let mut left = octets;
            while left > 0 {
                let now = left.min(PIECE);
                stream.write_all(&piece[..now]).await?;
                left -= now;
            }
            stream.flush().await?;
            stream.read_u8().await
        };
        tokio::time::timeout(LIMIT, carried).await.expect("in time").unwrap();
        println!("{}", begin.elapsed().as_secs_f64());
    }
}

/// Two processes of Debian's `tor`, and a program behind the onion service.
struct Debian {
    sender: Client,
    receiver: Client,
    socks: u16,
    onion: String,
}

impl Debian {
    fn start(network: &TorNet) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming() {
                thread::spawn(move || answer(stream.unwrap()));
            }
        });
        let service =
            format!("SocksPort 0\nHiddenServiceDir $HOME/onion\nHiddenServicePort {RUNE_PORT} 127.0.0.1:{port}\n");
        let receiver = network.client("service", &service);
        let socks = free_port();
        let sender = network.client("client", &format!("SocksPort 127.0.0.1:{socks}\n"));
        let onion = std::fs::read_to_string(receiver.home.join("onion/hostname")).unwrap().trim().to_owned();
        let debian = Self { sender, receiver, socks, onion };
        debian.carry(WARM_UP);
        debian
    }

    /// Carries so many octets, in this time.
    fn carry(&self, octets: usize) -> Duration {
        let mut stream = wait_for("a connection by C-tor", FIRST, || self.connect().ok());
        let piece = vec![7; PIECE];
        let begin = Instant::now();
        stream.write_all(&(octets as u64).to_be_bytes()).unwrap();
        let mut left = octets;
        while left > 0 {
            let now = left.min(PIECE);
            stream.write_all(&piece[..now]).unwrap();
            left -= now;
        }
        stream.read_exact(&mut [0]).expect("C-tor carries it in time");
        begin.elapsed()
    }

    /// A stream by SOCKS 5.
    fn connect(&self) -> std::io::Result<TcpStream> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.socks))?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(&[5, 1, 0])?;
        stream.read_exact(&mut [0; 2])?;
        let mut request = vec![5, 1, 0, 3, u8::try_from(self.onion.len()).unwrap()];
        request.extend_from_slice(self.onion.as_bytes());
        request.extend_from_slice(&RUNE_PORT.to_be_bytes());
        stream.write_all(&request)?;
        let mut reply = [0; 10];
        stream.read_exact(&mut reply)?;
        if reply[1] == 0 { Ok(stream) } else { Err(std::io::Error::other("refused")) }
    }
}

/// Reads what was announced, and answers.
fn answer(mut stream: TcpStream) {
    let mut announced = [0; 8];
    if stream.read_exact(&mut announced).is_err() {
        return;
    }
    let mut left = u64::from_be_bytes(announced);
    let mut piece = vec![0; PIECE];
    while left > 0 {
        match stream.read(&mut piece) {
            Ok(read @ 1..) => left -= read as u64,
            _ => return,
        }
    }
    let _ = stream.write_all(b"+");
    let _ = stream.read(&mut piece);
}
