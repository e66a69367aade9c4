//! A private Tor network on loopback: one directory authority and relays of Debian's `tor`.
//!
//! Started for one test program and stopped with it, by the processes' own ids. Reaches nothing outside this
//! machine. The consensus lasts an hour. Logs lie in a temporary directory, kept where `RUNEPEER_KEEP_TORNET` is set.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use runepeer::base::Timestamp;
use rustix::process::{Pid, Signal, kill_process};

use super::runner::Missing;
use super::{free_port, free_ports, program, temp_dir, wait_for};

/// How many relays there are beside the authority. `RELAYS` in the environment sets another number.
const RELAYS: usize = 4;
/// The authority votes in this rhythm, in seconds, until it has a first consensus: four seconds before the end of a
/// round. One try each; a busy machine needs a longer round for its relays to be up in time.
const ROUNDS: [u64; 3] = [10, 20, 30];
/// A consensus takes one round after the start; the rest is for a busy machine.
const CONSENSUS: Duration = Duration::from_secs(90);

/// The network; stops when dropped.
pub(crate) struct TorNet {
    table: toml::Table,
    /// The authority and the relays.
    processes: Mutex<Vec<Child>>,
    tor: PathBuf,
    homes: Vec<PathBuf>,
    /// What a relay that comes later is started with.
    dir_line: String,
    root: PathBuf,
    /// Last: the processes go before their files.
    _dir: Option<tempfile::TempDir>,
}

/// A relay that is in no consensus; stops when dropped.
pub(crate) struct Bridge {
    /// Where it is reached on loopback.
    pub(crate) port: u16,
    /// How a user of it writes it down.
    pub(crate) line: String,
    process: Child,
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A `tor` of a user of the network; stops when dropped.
pub(crate) struct Client {
    /// Its data directory.
    pub(crate) home: PathBuf,
    process: Child,
}

impl Client {
    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The programs of Debian's package `tor`.
struct Programs {
    tor: PathBuf,
    gencert: PathBuf,
}

/// What everybody must know of the authority.
struct Authority {
    dir_line: String,
    rsa_identity: String,
    ed_identity: String,
    v3ident: String,
    or_port: u16,
}

impl TorNet {
    /// Starts the network and waits until it has a consensus with all its relays. Panics where `tor` is there and the
    /// network does not come up.
    pub(crate) fn start() -> Result<Self, Missing> {
        let found = |name| program(name).ok_or_else(|| Missing(format!("{name} is not installed")));
        let programs = Programs { tor: found("tor")?, gencert: found("tor-gencert")? };
        // A relay that misses the first vote is out for the hour: then all is started anew.
        let network = ROUNDS.into_iter().find_map(|round| Self::try_start(&programs, round));
        Ok(network.expect("the private Tor network has no complete consensus after three tries"))
    }

    /// The `[tor]` table for a node in this network.
    pub(crate) fn table(&self) -> toml::Table {
        self.table.clone()
    }

    fn processes(&self) -> MutexGuard<'_, Vec<Child>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signal(&self, signal: Signal) {
        self.processes().iter().for_each(|process| kill_process(Pid::from_child(process), signal).unwrap());
    }

    /// Stops all relays where they are: their connections stay open, and nothing comes from them.
    pub(crate) fn stop_relays(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets the relays go on.
    pub(crate) fn continue_relays(&self) {
        self.signal(Signal::CONT);
    }

    /// Ends all relays: their connections break.
    pub(crate) fn kill_relays(&self) {
        for mut process in std::mem::take(&mut *self.processes()) {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Starts the relays that were killed, with the keys and the consensus that they had.
    pub(crate) fn start_relays(&self) {
        *self.processes() = self.homes.iter().map(|home| spawn(&self.tor, home)).collect();
    }

    /// Starts a bridge, and waits until it knows the network.
    pub(crate) fn bridge(&self) -> Bridge {
        let (home, port) = (self.root.join("bridge"), free_port());
        fs::create_dir_all(&home).unwrap();
        restrict(&home);
        make_relay_keys(&self.tor, &home, "bridge");
        let own = "BridgeRelay 1\nPublishServerDescriptor 0\nBridgeDistribution none\n";
        fs::write(home.join("torrc"), common_lines(&home, "bridge", port) + &self.dir_line + own).unwrap();
        let fingerprint = fs::read_to_string(home.join("fingerprint")).unwrap();
        let line = format!("127.0.0.1:{port} {}", fingerprint.split_whitespace().nth(1).unwrap());
        let bridge = Bridge { port, line, process: spawn(&self.tor, &home) };
        wait_for("the bridge knows the network", CONSENSUS, || {
            fs::read_to_string(home.join("log")).ok()?.contains("Bootstrapped 100%").then_some(())
        });
        bridge
    }

    /// The processes of the authority and the relays.
    pub(crate) fn ids(&self) -> Vec<u32> {
        self.processes().iter().map(Child::id).collect()
    }

    /// Starts a `tor` that uses the network, with these lines of its own in its configuration, and waits until it knows the
    /// network. `$HOME` in them is its data directory.
    pub(crate) fn client(&self, name: &str, own: &str) -> Client {
        let home = self.root.join(name);
        fs::create_dir_all(&home).unwrap();
        restrict(&home);
        let place = home.to_str().unwrap();
        let lines = own_lines(&home) + &self.dir_line + &own.replace("$HOME", place);
        fs::write(home.join("torrc"), lines).unwrap();
        let client = Client { process: spawn(&self.tor, &home), home };
        wait_for("a tor that uses the network knows it", CONSENSUS, || {
            fs::read_to_string(client.home.join("log")).ok()?.contains("Bootstrapped 100%").then_some(())
        });
        client
    }

    fn try_start(programs: &Programs, round: u64) -> Option<Self> {
        let dir = temp_dir();
        let relays = std::env::var("RELAYS").map_or(RELAYS, |number| number.parse().unwrap());
        let mut ports = free_ports(relays + 2);
        let dir_port = ports.remove(0);
        let authority = make_authority(programs, dir.path(), dir_port, ports[0]);
        let names: Vec<_> =
            (0..ports.len()).map(|i| if i == 0 { "auth".to_owned() } else { format!("relay{i}") }).collect();
        for (name, port) in names.iter().zip(ports) {
            let own = if name == "auth" { authority_lines(dir_port, round) } else { String::new() };
            let home = dir.path().join(name);
            fs::create_dir_all(&home).unwrap();
            restrict(&home);
            if name != "auth" {
                make_relay_keys(&programs.tor, &home, name);
            }
            let lines = common_lines(&home, name, port) + &authority.dir_line + &own;
            fs::write(home.join("torrc"), lines).unwrap();
        }
        just_after_a_round(Duration::from_secs(round));
        let homes: Vec<_> = names.iter().map(|name| dir.path().join(name)).collect();
        let processes = Mutex::new(homes.iter().map(|home| spawn(&programs.tor, home)).collect());
        let consensus = dir.path().join("auth/cached-microdesc-consensus");
        let table = node_table(&authority);
        let root = dir.path().to_owned();
        let kept = if std::env::var_os("RUNEPEER_KEEP_TORNET").is_some() {
            drop(dir.keep());
            None
        } else {
            Some(dir)
        };
        // From here on a panic stops the processes too.
        let (tor, dir_line) = (programs.tor.clone(), authority.dir_line.clone());
        let network = Self { table, processes, tor, homes, dir_line, root, _dir: kept };
        let listed = wait_for("a consensus of the private Tor network", CONSENSUS, || {
            let text = fs::read_to_string(&consensus).ok()?;
            Some(text.lines().filter(|line| line.starts_with("r ")).count())
        });
        (listed == relays + 1).then_some(network)
    }
}

impl Drop for TorNet {
    fn drop(&mut self) {
        self.kill_relays();
    }
}

fn make_authority(programs: &Programs, dir: &Path, dir_port: u16, or_port: u16) -> Authority {
    let home = dir.join("auth");
    let keys = home.join("keys");
    fs::create_dir_all(&keys).unwrap();
    restrict(&home);
    restrict(&keys);
    let mut gencert = Command::new(&programs.gencert)
        .args(["--create-identity-key", "--passphrase-fd", "0", "-m", "12", "-a"])
        .arg(format!("127.0.0.1:{dir_port}"))
        .current_dir(&keys)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    gencert.stdin.take().unwrap().write_all(b"test\n").unwrap();
    assert!(gencert.wait().unwrap().success(), "tor-gencert failed");
    let certificate = fs::read_to_string(keys.join("authority_certificate")).unwrap();
    let v3ident = certificate.lines().find_map(|line| line.strip_prefix("fingerprint ")).unwrap().to_owned();

    make_relay_keys(&programs.tor, &home, "auth");
    let fingerprint = fs::read_to_string(home.join("fingerprint")).unwrap();
    let rsa_identity = fingerprint.split_whitespace().nth(1).unwrap().to_owned();
    // A header of 32 bytes, then the key.
    let ed_key = fs::read(home.join("keys/ed25519_master_id_public_key")).unwrap();
    let ed_identity = data_encoding::BASE64_NOPAD.encode(&ed_key[32..64]);
    write_shared_random(&home);
    let dir_line =
        format!("DirAuthority auth orport={or_port} no-v2 v3ident={v3ident} 127.0.0.1:{dir_port} {rsa_identity}\n");
    Authority { dir_line, rsa_identity, ed_identity, v3ident, or_port }
}

/// Makes a relay's own keys beforehand: made at its start, they would make it late for the first vote.
fn make_relay_keys(tor: &Path, home: &Path, name: &str) {
    let listed = Command::new(tor)
        .args(["--defaults-torrc", "/nonexistent", "-f", "/nonexistent", "--ignore-missing-torrc", "--quiet"])
        .args(["--list-fingerprint", "--ORPort", "1", "--Nickname", name])
        // Never asked, and it must be somebody.
        .args(["--DirAuthority", "none 127.0.0.1:1 ffffffffffffffffffffffffffffffffffffffff"])
        .arg("--DataDirectory")
        .arg(home)
        .output()
        .unwrap();
    assert!(listed.status.success(), "tor --list-fingerprint failed");
}

/// Without shared random values services stay "unreachable" although they are reachable, and values take a day.
fn write_shared_random(home: &Path) {
    let now = now().as_secs() as i64;
    let midnight = now - now.rem_euclid(86_400);
    let time = |secs| Timestamp::from_secs(secs).rfc3339().replace('T', " ").replace('Z', "");
    let value = || {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).unwrap();
        data_encoding::BASE64.encode(&bytes)
    };
    let state = format!(
        "Version 1\nTorVersion Tor 0.4.8.0\nValidAfter {}\nValidUntil {}\n\
         SharedRandPreviousValue 1 {}\nSharedRandCurrentValue 1 {}\n",
        time(midnight),
        time(midnight + 86_400),
        value(),
        value(),
    );
    fs::write(home.join("sr-state"), state).unwrap();
}

/// What every `tor` of the network is told.
fn own_lines(home: &Path) -> String {
    let home = home.display();
    format!(
        "DataDirectory {home}\n\
         Log notice file {home}/log\n\
         __OwningControllerProcess {}\n\
         TestingTorNetwork 1\nControlPort 0\nShutdownWaitLength 0\nSandbox 0\nRunAsDaemon 0\n\
         PathsNeededToBuildCircuits 0.67\nNumCPUs 1\nSchedulers Vanilla\n",
        std::process::id(),
    )
}

fn common_lines(home: &Path, name: &str, port: u16) -> String {
    format!(
        "{}Nickname {name}\nAddress 127.0.0.1\nSocksPort 0\nV3AuthNIntervalsValid 3\n\
         ORPort 127.0.0.1:{port} IPv4Only\nExitRelay 0\nExitPolicy reject *:*\nAssumeReachable 1\n\
         DoSCircuitCreationEnabled 0\nDoSConnectionEnabled 0\n",
        own_lines(home),
    )
}

fn authority_lines(dir_port: u16, round: u64) -> String {
    // The interval of an hour makes onion periods a day long, as arti expects, and one consensus last for all tests.
    format!(
        "AuthoritativeDirectory 1\nV3AuthoritativeDirectory 1\nDirPort 127.0.0.1:{dir_port} IPv4Only\n\
         ContactInfo test@localhost\n\
         TestingV3AuthInitialVotingInterval {round}\nTestingV3AuthInitialVoteDelay 2\n\
         TestingV3AuthInitialDistDelay 2\nV3AuthVotingInterval 3600\nV3AuthVoteDelay 2\nV3AuthDistDelay 2\n\
         TestingDirAuthVoteGuard *\nTestingDirAuthVoteHSDir *\nTestingDirAuthVoteExit *\n\
         TestingMinExitFlagThreshold 0\nTestingAuthDirTimeToLearnReachability 0\nAuthDirTestReachability 0\n"
    )
}

/// What arti needs to know of a network that is not the public one. All relays share one address.
fn node_table(authority: &Authority) -> toml::Table {
    let Authority { rsa_identity, ed_identity, v3ident, or_port, .. } = authority;
    format!(
        "[tor_network]\n\
         fallback_caches = [{{ rsa_identity = \"{rsa_identity}\", ed_identity = \"{ed_identity}\", \
         orports = [\"127.0.0.1:{or_port}\"] }}]\n\
         authorities = {{ v3idents = [\"{v3ident}\"] }}\n\
         [path_rules]\nipv4_subnet_family_prefix = 33\nipv6_subnet_family_prefix = 129\n\
         [override_net_params]\ncbtmintimeout = 5000\n"
    )
    .parse()
    .unwrap()
}

/// Relays that start late in a round miss its vote.
fn just_after_a_round(round: Duration) {
    let now = now();
    let into = Duration::from_millis((now.as_millis() % round.as_millis()) as u64);
    std::thread::sleep(round - into + Duration::from_millis(200));
}

fn spawn(tor: &Path, home: &Path) -> Child {
    Command::new(tor)
        .args(["--defaults-torrc", "/nonexistent", "--quiet", "-f"])
        .arg(home.join("torrc"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn restrict(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).unwrap();
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}
