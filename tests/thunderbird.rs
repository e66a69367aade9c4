//! The real Thunderbird opens the account that `mail setup thunderbird` wrote: it asks for the password, lists the
//! inbox and opens a message. Ignored, with the reason, where it or what drives it is not installed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use support::mail::{Imap, Login};
use support::node::Node;
use support::runner::{self, Missing};
use support::{program, temp_dir, wait_for};

/// Thunderbird's first start with a profile, a login, and one message, on a slow machine.
const LIMIT: Duration = Duration::from_secs(150);

fn main() -> ExitCode {
    runner::main(installed, &[("thunderbird_opens_the_account_and_reads_a_message", opens)])
}

fn installed() -> Result<(), Missing> {
    for name in ["thunderbird", "xvfb-run", "xdotool"] {
        program(name).ok_or_else(|| Missing(format!("{name} is not installed")))?;
    }
    Ok(())
}

/// Thunderbird under an X server of its own: all one process group, ended together.
struct Thunderbird(Child);

impl Thunderbird {
    fn start(home: &Path, profile: &Path, password: &str) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/thunderbird.sh");
        let mut child = Command::new("xvfb-run")
            .args(["--auto-servernum", "--server-args=-screen 0 1280x800x24", "sh", script])
            .arg(profile)
            .env("HOME", home)
            .env("TMPDIR", home)
            .env("LC_ALL", "C")
            .env_remove("WAYLAND_DISPLAY")
            .env_remove("DBUS_SESSION_BUS_ADDRESS")
            .env("MOZ_CRASHREPORTER_DISABLE", "1")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        writeln!(child.stdin.take().unwrap(), "{password}").unwrap();
        Self(child)
    }
}

impl Drop for Thunderbird {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.0);
        let _ = kill_process_group(group, Signal::TERM);
        // The shell ends Thunderbird, and xvfb-run its X server; what is left after that is killed.
        for _ in 0..50 {
            if self.0.try_wait().is_ok_and(|ended| ended.is_some()) {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.0.wait();
    }
}

fn opens((): &()) {
    let (peers, home) = (temp_dir(), temp_dir());
    let (mut alice, mut bob) = (Node::loopback("alice", peers.path()), Node::loopback("bob", peers.path()));
    alice.start();
    bob.start();
    bob.befriend(&alice);
    let attachment = home.path().join("notes.txt");
    std::fs::write(&attachment, "one\n").unwrap();
    let attach = attachment.to_str().unwrap();
    alice.feed(
        &["send", "--to", &bob.address(), "--subject", "First light", "--attach", attach, "-"],
        b"Good evening.\n",
    );
    let login = Login::new(&bob, "thunderbird");
    let mut imap = Imap::open(bob.port("imap"), &login).unwrap();
    let holds = |imap: &mut Imap, criterion: &str| {
        imap.run("SELECT INBOX").unwrap();
        let found = String::from_utf8(imap.run(&format!("SEARCH {criterion}")).unwrap()).unwrap();
        found.lines().any(|line| line.trim_end() == "* SEARCH 1").then_some(())
    };
    wait_for("the message to arrive", LIMIT, || holds(&mut imap, "UNSEEN"));

    let profile = home.path().join("profile");
    std::fs::create_dir(&profile).unwrap();
    bob.json(&["mail", "setup", "thunderbird", "--profile", profile.to_str().unwrap()]);
    let mut thunderbird = Thunderbird::start(home.path(), &profile, &login.password);
    // This test's own session changes no flags: it is Thunderbird that read the message.
    wait_for("Thunderbird to open the message", LIMIT, || {
        let ended = thunderbird.0.try_wait().unwrap();
        assert!(ended.is_none(), "Thunderbird, or what drives it, ended before: {ended:?}");
        holds(&mut imap, "SEEN")
    });
}
