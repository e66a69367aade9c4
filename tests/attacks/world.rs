//! What every attack finds: bob's node, with a mailbox and a carrier, alice's node, which writes to him as honest people do, and
//! what must hold meanwhile.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use runepeer::base::Onion;
use runepeer::mail::{Address, Invitation};
use runepeer::net::Loopback;
use runepeer::pgp::SecretKeys;

use crate::support::box_client::{self, new_keys};
use crate::support::mail::{Imap, Login, Smtp, message};
use crate::support::node::Node;
use crate::support::peer::Peer;
use crate::support::{temp_dir, wait_for};

/// What a node may have in memory, whatever is done to it.
const MEMORY: u64 = 384 << 20;
/// Honest mail takes at most so many times what it usually takes.
const SLOWER: u32 = 3;
/// What counts as usual where it is less: the tests share two processors with each other and with the attacker.
const USUAL: Duration = Duration::from_secs(1);
/// How often honest mail is sent during an attack.
const LETTERS: usize = 3;

/// What honest people want during an attack.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Honest {
    /// alice writes to bob.
    ToBob,
    /// bob writes to alice.
    FromBob,
    /// bob's mail program connects, logs in, and reads.
    Reading,
    /// The owner of a box at bob's carrier shows its key and asks what is there.
    Box,
}

const ALL: [Honest; 4] = [Honest::ToBob, Honest::FromBob, Honest::Reading, Honest::Box];

pub(crate) struct World {
    pub(crate) alice: Node,
    pub(crate) bob: Node,
    pub(crate) carrier: Onion,
    pub(crate) login: Login,
    alices: Login,
    box_keys: SecretKeys,
    usual: [Duration; ALL.len()],
    letters: AtomicUsize,
    runtime: tokio::runtime::Runtime,
    peers: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let peers = temp_dir();
        let (mut alice, mut bob) = (Node::loopback("alice", peers.path()), Node::loopback("bob", peers.path()));
        alice.start();
        bob.start();
        bob.befriend(&alice);
        let carrier: Onion = bob.json(&["carrier", "enable"])["onion"].as_str().unwrap().parse().unwrap();
        wait_for("the carrier is reachable", Duration::from_secs(30), || {
            (bob.json(&["carrier", "show"])["reachable"] == true).then_some(())
        });
        let (login, alices) = (Login::new(&bob, "attacks"), Login::new(&alice, "attacks"));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (box_keys, letters, usual) = (new_keys(), AtomicUsize::new(0), [Duration::ZERO; ALL.len()]);
        let mut world = Self { alice, bob, carrier, login, alices, box_keys, usual, letters, runtime, peers };
        let mut owner = box_client::Session::connect(world.peers(), carrier).unwrap();
        assert_eq!(owner.register(&world.box_keys, &world.box_invitation()).unwrap(), 210);
        for (at, honest) in ALL.into_iter().enumerate() {
            let mut times: Vec<_> = (0..5).map(|_| world.time(honest)).collect();
            times.sort_unstable();
            world.usual[at] = times[2].max(USUAL);
        }
        world
    }

    /// The directory of sockets that all share.
    pub(crate) fn peers(&self) -> &Path {
        self.peers.path()
    }

    /// Where strangers reach bob.
    pub(crate) fn onion(&self) -> Onion {
        self.bob_address().onion()
    }

    pub(crate) fn bob_address(&self) -> Address {
        self.bob.address().parse().unwrap()
    }

    /// An invitation of bob's.
    pub(crate) fn invitation(&self) -> Invitation {
        Invitation::parse(self.bob.json(&["invite"])["invitation"].as_str().unwrap()).unwrap()
    }

    /// A box at bob's carrier, for somebody.
    pub(crate) fn box_invitation(&self) -> Invitation {
        let made = self.bob.json(&["carrier", "invite"]);
        Invitation::parse_box(made["invitations"][0]["invitation"].as_str().unwrap()).unwrap()
    }

    /// Somebody who is a contact of bob's, and means ill.
    pub(crate) fn contact(&self, number: usize) -> Peer {
        self.contact_by(number).0
    }

    /// Another node, for what would leave bob's without its quotas for an hour.
    pub(crate) fn victim(&self) -> Node {
        let number = self.letters.fetch_add(1, Ordering::Relaxed);
        let mut node = Node::loopback(&format!("victim{number}"), self.peers());
        node.start();
        node
    }

    /// The same, with the invitation by which it became one.
    pub(crate) fn contact_by(&self, number: usize) -> (Peer, Invitation) {
        self.contact_of(&self.bob, number)
    }

    /// A contact of another node, with the invitation by which it became one.
    pub(crate) fn contact_of(&self, node: &Node, number: usize) -> (Peer, Invitation) {
        let text = node.json(&["invite"])["invitation"].as_str().unwrap().to_owned();
        let transport = Loopback::open(self.peers()).unwrap();
        let peer = self.runtime.block_on(Peer::befriend(number, &transport, &text));
        (peer, Invitation::parse(&text).unwrap())
    }

    /// Lets an attack go on for as long as honest people do what they want, and looks at what it cost them. The attack says
    /// by its first argument that it is under way, and ends when its second says so.
    pub(crate) fn meanwhile(&self, honest: &[Honest], attack: impl Fn(&Stage) + Sync) {
        self.forget_peak();
        let stage = Stage { begun: AtomicBool::new(false), over: AtomicBool::new(false) };
        std::thread::scope(|scope| {
            let attacking = scope.spawn(|| {
                let _end = EndsWith(&stage.begun);
                attack(&stage);
            });
            let _over = EndsWith(&stage.over);
            wait_for("the attack to begin", Duration::from_secs(60), || {
                stage.begun.load(Ordering::SeqCst).then_some(())
            });
            for honest in honest {
                for _ in 0..LETTERS {
                    self.goes_well(*honest);
                }
            }
            stage.over.store(true, Ordering::SeqCst);
            if let Err(panic) = attacking.join() {
                std::panic::resume_unwind(panic);
            }
        });
        self.is_well();
    }

    /// Honest people get what they want, in the time that it usually takes or some times that.
    pub(crate) fn goes_well(&self, honest: Honest) {
        let usual = self.usual[ALL.iter().position(|other| *other as u8 == honest as u8).unwrap()];
        let took = self.time(honest);
        assert!(took <= usual * SLOWER, "{honest:?} took {took:?}, and usually {usual:?}");
    }

    /// The node runs, nothing in it panicked, and it has not taken more memory than it may.
    pub(crate) fn is_well(&self) {
        let words = self.bob.words();
        assert!(!words.contains("panicked"), "{words}");
        let peak = self.peak();
        assert!(peak <= MEMORY, "{} MiB in memory", peak >> 20);
    }

    fn time(&self, honest: Honest) -> Duration {
        let began = Instant::now();
        match honest {
            Honest::ToBob => self.letter(&self.alice, &self.alices, &self.bob, &self.login),
            Honest::FromBob => self.letter(&self.bob, &self.login, &self.alice, &self.alices),
            Honest::Reading => {
                let mut imap = Imap::open(self.bob.port("imap"), &self.login).unwrap();
                let shown = imap.run("EXAMINE INBOX").unwrap();
                assert!(String::from_utf8_lossy(&shown).contains("EXISTS"));
            }
            Honest::Box => {
                let name = self.box_keys.certificate().fingerprint();
                let mut owner = box_client::Session::connect(self.peers(), self.carrier).unwrap();
                assert_eq!(owner.identify(name, &self.box_keys).unwrap(), 211);
            }
        }
        began.elapsed()
    }

    /// From the mail program of the one to that of the other.
    fn letter(&self, from: &Node, author: &Login, to: &Node, reader: &Login) {
        let number = self.letters.fetch_add(1, Ordering::Relaxed);
        let subject = format!("letter-{number}");
        let mut imap = Imap::open(to.port("imap"), reader).unwrap();
        imap.run("SELECT INBOX").unwrap();
        let mut smtp = Smtp::open(from.port("submission"), author).unwrap();
        let address = to.address();
        smtp.submit(&address, &message(&author.user, &address, &subject, "Good evening.")).unwrap();
        let search = format!("UID SEARCH SUBJECT {subject}");
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            let found = imap.run(&search).unwrap();
            if String::from_utf8_lossy(&found)
                .trim_end()
                .rsplit(' ')
                .next()
                .is_some_and(|uid| uid.parse::<u32>().is_ok())
            {
                return;
            }
            assert!(Instant::now() < deadline, "an honest letter does not arrive");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The subjects in a folder of bob's.
    pub(crate) fn subjects(&self, folder: &str) -> Vec<String> {
        subjects(&self.bob, &self.login, folder)
    }

    fn pid(&self) -> u64 {
        self.bob.json(&["status"])["pid"].as_u64().unwrap()
    }

    fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").unwrap();
    }

    /// The most that bob's node had in memory since, in bytes.
    fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() << 10
    }

    /// How much of a processor bob's node has used, in seconds.
    pub(crate) fn processor(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        ticks as f64 / 100.0
    }
}

/// The subjects in a folder.
pub(crate) fn subjects(node: &Node, login: &Login, folder: &str) -> Vec<String> {
    let mut imap = Imap::open(node.port("imap"), login).unwrap();
    imap.run(&format!("EXAMINE {folder}")).unwrap();
    let found = imap.run("UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])").unwrap_or_default();
    let text = String::from_utf8_lossy(&found).into_owned();
    text.lines().filter_map(|line| line.strip_prefix("Subject: ")).map(str::to_owned).collect()
}

/// How far an attack is.
pub(crate) struct Stage {
    begun: AtomicBool,
    over: AtomicBool,
}

impl Stage {
    /// It is under way.
    pub(crate) fn begins(&self) {
        self.begun.store(true, Ordering::SeqCst);
    }

    /// Whether it is to go on.
    pub(crate) fn goes_on(&self) -> bool {
        !self.over.load(Ordering::SeqCst)
    }

    /// It is under way, and nothing more is to be done for it.
    pub(crate) fn holds(&self) {
        self.begins();
        while self.goes_on() {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Sets a flag however its scope ends.
struct EndsWith<'a>(&'a AtomicBool);

impl Drop for EndsWith<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
