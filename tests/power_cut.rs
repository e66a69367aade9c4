//! The power goes while the real binary runs, on real file systems (ext4 and xfs in a file of their own): the file system is shut
//! down without a flush, so that what was written and not synced is gone, then mounted again as after a start of the machine.
//! Everything for which a mail program got 250 or OK, and a peer 202, is there, once. CUTS sets how often, SEED replays the moments.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]
#![allow(clippy::print_stdout, reason = "figures for the reader of the test's output")]

#[path = "crash/clients.rs"]
mod clients;
mod support;
#[path = "crash/witness.rs"]
mod witness;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use clients::{Clients, Target};
use runepeer::base::Rng;
use runepeer::base::rng::SeededRng;
use support::mail::Login;
use support::node::Node;
use support::runner::{self, Missing};
use support::{program, temp_dir, wait_for};
use witness::Witness;

fn main() -> ExitCode {
    runner::main(
        can_mount,
        &[
            ("what_was_acknowledged_survives_power_cuts_on_ext4", |_| cuts("ext4")),
            ("what_was_acknowledged_survives_power_cuts_on_xfs", |_| cuts("xfs")),
        ],
    )
}

/// The request of Linux that ends a file system at once (`FS_IOC_SHUTDOWN`, without flushing its journal).
const SHUT_DOWN: &str = "import fcntl, os, struct, sys\n\
    fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))\n";

/// A file system in a file, mounted until it is dropped.
struct Disk {
    image: PathBuf,
    at: PathBuf,
    _dir: tempfile::TempDir,
}

impl Disk {
    fn new(kind: &str, at: &Path) -> Result<Self, String> {
        let dir = temp_dir();
        let image = dir.path().join("image");
        // Sparse: what is not written takes no space.
        std::fs::File::create(&image).and_then(|file| file.set_len(2 << 30)).map_err(|error| error.to_string())?;
        let quiet = if kind == "ext4" { "-qF" } else { "-qf" };
        run(Command::new(format!("mkfs.{kind}")).arg(quiet).arg(&image))?;
        let disk = Self { image, at: at.to_owned(), _dir: dir };
        disk.mount()?;
        run(Command::new("chmod").arg("700").arg(at))?;
        Ok(disk)
    }

    fn mount(&self) -> Result<(), String> {
        run(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.at))
    }

    /// What was not synced is gone.
    fn shut_down(&self) {
        run(Command::new("python3").args(["-c", SHUT_DOWN]).arg(&self.at)).unwrap();
    }

    /// The machine is on again.
    fn restart(&self) {
        // The daemon that was killed may hold it for a moment.
        wait_for("the file system to be free", Duration::from_secs(20), || {
            run(Command::new("umount").arg(&self.at)).ok()
        });
        self.mount().unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.at).status();
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
}

fn can_mount() -> Result<(), Missing> {
    let missing = |reason: &str| Missing(format!("a file system cannot be mounted and shut down here: {reason}"));
    if let Some(name) = ["python3", "mkfs.ext4", "mkfs.xfs"].into_iter().find(|name| program(name).is_none()) {
        return Err(missing(&format!("{name} is not installed")));
    }
    let place = temp_dir();
    let disk = Disk::new("ext4", place.path()).map_err(|error| missing(&error))?;
    run(Command::new("python3").args(["-c", SHUT_DOWN]).arg(place.path())).map_err(|error| missing(&error))?;
    drop(disk);
    Ok(())
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn cuts(kind: &str) {
    let (cuts, seed) = (setting("CUTS", 12), setting("SEED", u64::from(std::process::id())));
    println!("SEED={seed} CUTS={cuts}");
    let mut random = SeededRng::new(seed);
    let random: &mut dyn Rng = &mut random;
    let peers = temp_dir();
    let (mut alice, mut bob) = (Node::loopback("alice", peers.path()), Node::loopback("bob", peers.path()));
    let disks = [&alice, &bob].map(|node| Disk::new(kind, &node.data()).unwrap());
    alice.start();
    bob.start();
    bob.befriend(&alice);
    let (sending, receiving) = (Login::new(&alice, "cut"), Login::new(&bob, "cut"));
    let (submission, imap) = (Target::new(&alice, "submission"), Target::new(&bob, "imap"));
    let witness = Witness::default();
    let clients = Clients::new(&bob, peers.path());
    let to = bob.address();
    std::thread::scope(|scope| {
        let (clients, witness, submission, imap) = (&clients, &witness, &submission, &imap);
        let _running = clients.until_dropped();
        let (login, to) = (sending.clone(), to.clone());
        scope.spawn(move || clients.submit_on_and_on(0, witness, submission, &login, &to));
        let login = receiving.clone();
        scope.spawn(move || clients.file_on_and_on(0, witness, imap, &login));
        scope.spawn(move || clients.deliver_on_and_on(witness));
        for _ in 0..cuts {
            std::thread::sleep(Duration::from_millis(100 + random.below(900)));
            // The power of both machines goes, one after the other.
            submission.gone();
            imap.gone();
            // Linux may call a sync done that the shutdown overtook: what is acknowledged is acknowledged before.
            alice.pause();
            bob.pause();
            witness.power_goes();
            disks.iter().for_each(Disk::shut_down);
            alice.kill();
            bob.kill();
            disks.iter().for_each(Disk::restart);
            alice.start();
            bob.start();
            submission.back(&alice);
            imap.back(&bob);
        }
    });
    // A restart of the sender tries everything soon.
    wait_for("the queue to drain", Duration::from_secs(300), || {
        alice.restart_after_kill();
        bob.restart_after_kill();
        std::thread::sleep(Duration::from_secs(15));
        alice.json(&["queue", "list"])["queue"].as_array().is_some_and(Vec::is_empty).then_some(())
    });
    let shown = witness::shown(bob.port("imap"), &receiving);
    println!("{cuts} power cuts on {kind}; {}", witness.summary(shown.len()));
    assert!(witness.acknowledged() > cuts, "too few acknowledgements to say anything");
    let broken = witness.compare(&shown);
    assert!(broken.is_empty(), "{broken:#?} (SEED={seed})");
    alice.kill();
    bob.kill();
}
