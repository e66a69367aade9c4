//! Nodes of the real binary, one process each, with a data directory of their own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{faketime, programs, temp_dir, wait_for};

/// A node that starts comes up within this time, also on a slow machine and over Tor.
const UP: Duration = Duration::from_secs(120);
/// SIGTERM ends a node within ten seconds; the rest is for a busy machine.
const DOWN: Duration = Duration::from_secs(20);

/// One persona's node. Killed when dropped; its directory goes with it.
pub(crate) struct Node {
    name: String,
    transport: String,
    extra: Vec<String>,
    /// Whether it has no mailbox.
    carrier_only: bool,
    /// Its clock, in the words of libfaketime, where it is not the machine's.
    clock: Option<String>,
    /// What it logs (`RUNEPEER_LOG`), where that is not the usual.
    log: Option<String>,
    /// What else the daemon finds in its environment.
    environment: Vec<(String, String)>,
    process: Option<Child>,
    starts: u32,
    dir: tempfile::TempDir,
}

impl Node {
    /// A node over the loopback transport in a directory that all its peers share.
    pub(crate) fn loopback(name: &str, peers: &Path) -> Self {
        Self::new(name, format!("loopback:{}", peers.display()))
    }

    /// A node over Tor, with this `[tor]` table.
    pub(crate) fn tor(name: &str, table: toml::Table) -> Self {
        let node = Self::new(name, "tor".to_owned());
        let config = toml::Table::from_iter([("tor".to_owned(), toml::Value::Table(table))]);
        std::fs::write(node.data().join("config.toml"), config.to_string()).unwrap();
        node
    }

    fn new(name: &str, transport: String) -> Self {
        use std::os::unix::fs::DirBuilderExt;
        let dir = temp_dir();
        std::fs::DirBuilder::new().mode(0o700).create(dir.path().join("data")).unwrap();
        Self {
            name: name.to_owned(),
            transport,
            extra: Vec::new(),
            carrier_only: false,
            clock: None,
            log: None,
            environment: Vec::new(),
            process: None,
            starts: 0,
            dir,
        }
    }

    /// It carries mail for others, and has no mailbox.
    pub(crate) const fn carrier_only(mut self) -> Self {
        self.carrier_only = true;
        self
    }

    /// Seals the node's keys with this passphrase.
    pub(crate) fn with_passphrase(mut self, passphrase: &str) -> Self {
        let file = self.dir.path().join("passphrase");
        std::fs::write(&file, passphrase).unwrap();
        self.extra.extend(["--passphrase-file".to_owned(), file.display().to_string()]);
        self
    }

    /// From the next start on its clock is this much ahead of the machine's, and all its clocks go so much faster. Needs
    /// libfaketime.
    pub(crate) fn set_clock(&mut self, ahead: Duration, faster: u32) {
        self.clock = Some(format!("+{}s x{faster}", ahead.as_secs()));
    }

    /// Its clock can be set while it runs, with [`Self::jump`]; the time that passes is the machine's. Needs libfaketime.
    pub(crate) fn with_clock(self) -> Self {
        let file = self.dir.path().join("clock");
        std::fs::write(&file, "+0").unwrap();
        self.with_environment("LD_PRELOAD", faketime().expect("libfaketime").to_str().unwrap())
            .with_environment("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap())
            .with_environment("FAKETIME_NO_CACHE", "1")
            .with_environment("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    }

    /// Sets its clock so many seconds before or after the machine's, from now on.
    pub(crate) fn jump(&self, seconds: i64) {
        let (file, new) = (self.dir.path().join("clock"), self.dir.path().join("clock.new"));
        std::fs::write(&new, format!("{seconds:+}")).unwrap();
        std::fs::rename(new, file).unwrap();
    }

    /// Its daemon finds this in its environment.
    pub(crate) fn with_environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Lets it say everything that it can say.
    pub(crate) fn talkative(mut self) -> Self {
        self.log = Some("trace".to_owned());
        self
    }

    /// The name of its identity.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Starts the daemon on free ports and waits until its identity is reachable.
    pub(crate) fn start(&mut self) {
        self.spawn();
        self.wait_until_reachable();
    }

    /// Starts the daemon and does not wait.
    pub(crate) fn spawn(&mut self) {
        self.spawn_with(|_| ());
    }

    /// Starts the daemon with this change to its command, and does not wait.
    pub(crate) fn spawn_with(&mut self, change: impl FnOnce(&mut Command)) {
        assert!(self.process.is_none(), "{} runs already", self.name);
        self.starts += 1;
        let log = |kind: &str| File::create(self.dir.path().join(format!("{kind}.{}", self.starts))).unwrap();
        let mut command = self.command();
        if let Some(clock) = &self.clock {
            command.env("LD_PRELOAD", faketime().expect("libfaketime")).env("FAKETIME", clock);
        }
        if let Some(log) = &self.log {
            command.env("RUNEPEER_LOG", log);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.args(["--no-input", "up", "--transport", &self.transport]);
        if self.carrier_only {
            // Once is enough.
            command.args((self.starts == 1).then_some("--carrier-only"));
        } else {
            // Tests wait for no random moment; src/daemon/hosts/identity/mod.rs has the test of those.
            command.args(["--at-once", "--name", &self.name, "--imap", "127.0.0.1:0", "--submission", "127.0.0.1:0"]);
        }
        command.args(&self.extra).stdin(Stdio::null()).stdout(log("out")).stderr(log("err"));
        change(&mut command);
        self.process = Some(command.spawn().unwrap());
    }

    /// Waits until `status` calls every identity reachable whose onion is to be published; panics with the daemon's words where it ends before.
    pub(crate) fn wait_until_reachable(&mut self) {
        let deadline = Instant::now() + UP;
        loop {
            if let Some(ended) = self.process.as_mut().expect("started").try_wait().unwrap() {
                panic!("{} ended with {ended} while starting:\n{}", self.name, self.words());
            }
            let reachable = |status: Value| {
                let identities = status["identities"].as_array()?;
                let up = |identity: &Value| identity["reachable"] == true || identity["listen"] == "never";
                let all = identities.iter().all(up);
                Some(all && (!identities.is_empty() || status["carrier"]["reachable"] == true))
            };
            if self.try_json(&["status"]).and_then(reachable) == Some(true) {
                return;
            }
            assert!(Instant::now() < deadline, "{} is not reachable after {UP:?}:\n{}", self.name, self.words());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// What the daemon of the last start wrote on stderr.
    pub(crate) fn words(&self) -> String {
        let path = self.dir.path().join(format!("err.{}", self.starts));
        std::fs::read_to_string(path).unwrap_or_default()
    }

    /// Lets a daemon that was stopped where it is go on.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// How much memory its daemon uses, in KiB, and how many descriptors it has open.
    pub(crate) fn memory_and_descriptors(&self) -> (u64, usize) {
        let process = format!("/proc/{}", self.process.as_ref().expect("started").id());
        let status = std::fs::read_to_string(format!("{process}/status")).unwrap();
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let memory = memory.trim().trim_end_matches(" kB").parse().unwrap();
        (memory, std::fs::read_dir(format!("{process}/fd")).unwrap().count())
    }

    /// Stops the daemon where it is: it says nothing more.
    pub(crate) fn pause(&self) {
        let process = self.process.as_ref().expect("started");
        kill_process(Pid::from_child(process), Signal::STOP).unwrap();
        wait_for("the daemon to stand still", DOWN, || {
            let threads = std::fs::read_dir(format!("/proc/{}/task", process.id())).ok()?;
            let stopped = |stat: String| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'));
            let mut all =
                threads.filter_map(Result::ok).map(|thread| std::fs::read_to_string(thread.path().join("stat")));
            all.all(|stat| stat.is_ok_and(stopped)).then_some(())
        });
    }

    /// Ends the daemon as a power cut would, as far as the process goes.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Whether the daemon has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.as_mut().is_none_or(|process| process.try_wait().unwrap().is_some())
    }

    /// Waits until the daemon ends by itself.
    pub(crate) fn wait_for_end(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("started");
        let name = self.name.clone();
        wait_for(&format!("{name} to end"), DOWN, || process.try_wait().unwrap())
    }

    /// Asks the daemon to end with SIGTERM and waits.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait_for_end()
    }

    /// Sends the daemon a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.process.as_ref().expect("started")), signal).unwrap();
    }

    /// What the daemon of the last start wrote on stdout.
    pub(crate) fn data_written(&self) -> String {
        let path = self.dir.path().join(format!("out.{}", self.starts));
        std::fs::read_to_string(path).unwrap_or_default()
    }

    /// Kills the daemon and starts it again on the same directory.
    pub(crate) fn restart_after_kill(&mut self) {
        self.kill();
        self.start();
    }

    /// Runs the command line against this node.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.command();
        command.arg("--no-input").args(arguments);
        programs::run(command, b"")
    }

    /// Runs the command line with this input; panics where it fails.
    pub(crate) fn feed(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut command = self.command();
        command.arg("--no-input").args(arguments);
        succeeded(arguments, programs::run(command, input))
    }

    /// Runs the command line with `--json` and reads its answer; panics where it fails.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = succeeded(arguments, self.run(&[&["--json"], arguments].concat()));
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{arguments:?} --json did not write JSON: {error}"))
    }

    /// What `repair --check` finds, which must be something: it ends with the status of damage.
    pub(crate) fn finds_damage(&self) -> Value {
        let output = self.run(&["--json", "repair", "--check"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(7), "{said}");
        let found: Value = serde_json::from_slice(&output.stdout).expect("one object");
        assert_eq!(found["error"]["code"], "damaged", "{found}");
        found
    }

    /// Like [`Node::json`], `None` where it fails: before the daemon is up, for one.
    pub(crate) fn try_json(&self, arguments: &[&str]) -> Option<Value> {
        let output = self.run(&[&["--json"], arguments].concat());
        output.status.success().then(|| serde_json::from_slice(&output.stdout).ok())?
    }

    /// The port of a gateway, `imap` or `submission`.
    pub(crate) fn port(&self, gateway: &str) -> u16 {
        let listen = &self.json(&["status"])["listen"][gateway];
        let text = listen.as_str().unwrap_or_else(|| panic!("status names no {gateway} listener"));
        text.rsplit(':').next().unwrap().parse().unwrap()
    }

    /// The address of its identity.
    pub(crate) fn address(&self) -> String {
        self.json(&["status"])["identities"][0]["address"].as_str().expect("an address").to_owned()
    }

    /// Makes this node and another each other's contacts by an invitation, and waits until both know it.
    pub(crate) fn befriend(&self, other: &Self) {
        let before = (self.confirmed(), other.confirmed());
        let invitation = self.json(&["invite"])["invitation"].as_str().expect("an invitation").to_owned();
        other.feed(&["contact", "add", "-", "--petname", self.name()], invitation.as_bytes());
        wait_for("both to know each other", UP, || {
            (self.confirmed() > before.0 && other.confirmed() > before.1).then_some(())
        });
    }

    /// How many contacts are confirmed.
    fn confirmed(&self) -> usize {
        let contacts = self.json(&["contact", "list"]);
        contacts["contacts"].as_array().unwrap().iter().filter(|contact| contact["status"] == "confirmed").count()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runepeer"));
        command.arg("--data-dir").arg(self.data());
        command
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn succeeded(arguments: &[&str], output: Output) -> Output {
    assert!(
        output.status.success(),
        "runepeer {arguments:?} ended with {}:\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    output
}
