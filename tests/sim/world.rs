//! The world: machines that come and go, a network between them, disks and clocks, and the one order in which everything
//! happens. One thread; a seed replays exactly.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use runepeer::base::ids::Fingerprint;
use runepeer::base::rng::SeededRng;
use runepeer::base::{BodyId, Onion, OpId, Rng, SealKeyId, SessionId, Timestamp};
use runepeer::engine::api::{RequestId, Response};
use runepeer::engine::carrier::CarrierInput;
use runepeer::engine::io::{Authorship, BoxWork, Sizes};
use runepeer::engine::{Input, Request, RequestError, SecretBytes, State, Transaction};
use runepeer::store::vfs::CrashMode;

use crate::carriers::CarrierNode;
use crate::climate::{Climate, DAY, MINUTE, SECOND, between};
use crate::forger::Forger;
use crate::net::{End, Net};
use crate::node::Node;
use crate::witness::Witness;

/// The moment at which a world begins, in milliseconds.
const BEGIN: i64 = 1_800_000_000 * SECOND;
/// The node at which sessions of strangers end: none.
pub(crate) const NOWHERE: usize = usize::MAX;

/// A machine, with one or two identities.
pub(crate) struct Host {
    pub(crate) nodes: Vec<usize>,
    /// Whether it has a network.
    pub(crate) present: bool,
    /// Whether it is switched on.
    pub(crate) on: bool,
    /// By how much its clock is wrong.
    pub(crate) skew: i64,
    /// When its night begins, in hours of true time.
    pub(crate) night: i64,
    pub(crate) partition: bool,
}

/// Work of the crypto pool and the reading threads.
pub(crate) enum Work {
    Open(OpId, Vec<u8>),
    VerifyCard(OpId, Box<Authorship>),
    Check(OpId, Arc<[u8]>, Fingerprint),
    Seal(OpId, Vec<u8>, Arc<[u8]>, Sizes),
    SealBody(OpId, String, BodyId, Arc<[u8]>, Sizes),
    ForBox(OpId, SecretBytes, BoxWork),
    MakeSealKey(OpId),
    DestroySealKeys(OpId, Vec<SealKeyId>),
    Read(OpId, BodyId),
}

/// A node that does not run: what it had reported, and what it had not.
pub(crate) struct Stopped {
    pub(crate) reported: State,
    pub(crate) doubtful: Vec<Transaction>,
}

pub(crate) enum Event {
    Wake(usize, u32),
    Commit(usize, u32),
    Settle(usize, u32),
    Done(usize, u32, Work),
    Dialled(usize, u32, SessionId, Option<usize>),
    Bytes(End, u32, Vec<u8>),
    Closed(End, u32),
    Presence(usize),
    Crash(usize),
    Start(usize),
    ClockStep(usize),
    FullDisk(usize, bool),
    Partition(bool),
    User(usize),
    Upkeep(usize),
    Stranger,
    Forge,
    CarrierPresence(usize),
    CarrierCrash(usize),
    CarrierStart(usize),
    CarrierWake(usize, u32),
    CarrierCommit(usize, u32),
    CarrierDone(usize, u32, Box<CarrierInput>),
}

impl Event {
    /// Whether it is bad weather that begins, which does not happen any more once the weather is calm.
    pub(crate) const fn is_trouble(&self) -> bool {
        matches!(
            self,
            Self::Crash(_)
                | Self::ClockStep(_)
                | Self::FullDisk(_, true)
                | Self::Partition(true)
                | Self::Stranger
                | Self::Forge
                | Self::CarrierCrash(_)
        )
    }
}

/// Everything.
pub(crate) struct World {
    pub(crate) climate: Climate,
    pub(crate) now: i64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) carriers: Vec<CarrierNode>,
    pub(crate) witness: Witness,
    pub(crate) rng: SeededRng,
    /// What every event was, in one number: two runs of one seed have the same.
    pub(crate) trace: u64,
    pub(crate) events_seen: u64,
    pub(crate) answers: BTreeMap<(usize, u64), Result<Response, RequestError>>,
    /// Invitations that were asked for, by whom, and for whom.
    pub(crate) invited: Vec<(usize, u64, usize)>,
    /// Whether people introduce each other. Kept seeds are from before that was possible.
    pub(crate) introduces: bool,
    /// Who dialled, when, in true time, and which number among nodes and carriers has the onion.
    pub(crate) dials: Vec<(usize, i64, usize)>,
    /// What each node sent to its peers, as it went out and as its receivers read it; `None` where nobody wants to know.
    pub(crate) sent: Option<BTreeMap<usize, Vec<Vec<u8>>>>,
    /// Messages that were written.
    pub(crate) written: u64,
    pub(crate) net: Net,
    pub(crate) partitioned: bool,
    pub(crate) events: BTreeMap<(i64, u64), Event>,
    pub(crate) sequence: u64,
    pub(crate) by_onion: BTreeMap<Onion, usize>,
    /// Pieces with objects in them that were delivered, and to whom: what a peer could send again.
    pub(crate) overheard: VecDeque<(usize, Vec<u8>)>,
    /// The same while their answers are awaited, by the end that answers, with the number of answers.
    pub(crate) unanswered: BTreeMap<End, (usize, Vec<Vec<u8>>)>,
    pub(crate) strangers: u64,
    pub(crate) forger: Forger,
    pub(crate) stopped: BTreeMap<usize, Stopped>,
    /// How processes end whose disk says that they are dead.
    pub(crate) crash_mode: CrashMode,
}

impl World {
    /// A world of this seed, in which nobody knows anybody, everybody is there and nothing goes wrong.
    pub(crate) fn new(seed: u64) -> Self {
        let climate = Climate::of(seed);
        let mut world = Self::empty(seed, climate.calm());
        world.climate = climate;
        world
    }

    /// The same with this weather.
    pub(crate) fn empty(seed: u64, climate: Climate) -> Self {
        let double = climate.double;
        Self::inhabited(seed, climate, |_, rng| if rng.below(100) < double { 2 } else { 1 })
    }

    /// The same, with so many identities on each machine.
    pub(crate) fn inhabited(
        seed: u64,
        climate: Climate,
        mut identities: impl FnMut(usize, &mut dyn Rng) -> usize,
    ) -> Self {
        let mut rng = SeededRng::new(seed);
        let (mut nodes, mut hosts) = (Vec::new(), Vec::new());
        for host in 0..climate.hosts {
            let count = identities(host, &mut rng);
            let numbers: Vec<usize> = (nodes.len()..nodes.len() + count).collect();
            nodes.extend(numbers.iter().map(|number| Node::new(*number, host, seed, Timestamp::from_millis(BEGIN))));
            let night = between(&mut rng, 0, 23);
            hosts.push(Host { nodes: numbers, present: true, on: true, skew: 0, night, partition: false });
        }
        let by_onion = nodes.iter().enumerate().map(|(at, node)| (node.onion, at)).collect();
        let mut world = Self {
            climate,
            now: BEGIN,
            nodes,
            hosts,
            carriers: Vec::new(),
            witness: Witness::default(),
            rng,
            trace: 0xcbf2_9ce4_8422_2325,
            events_seen: 0,
            answers: BTreeMap::new(),
            invited: Vec::new(),
            introduces: false,
            dials: Vec::new(),
            sent: None,
            written: 0,
            net: Net::default(),
            partitioned: false,
            events: BTreeMap::new(),
            sequence: 0,
            by_onion,
            overheard: VecDeque::new(),
            unanswered: BTreeMap::new(),
            strangers: 0,
            forger: Forger::default(),
            stopped: BTreeMap::new(),
            crash_mode: CrashMode::Kill,
        };
        (0..world.hosts.len()).for_each(|host| world.start(host));
        world
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        (&mut self.rng as &mut dyn Rng).below(bound)
    }

    pub(crate) fn chance(&mut self, of_a_thousand: u64) -> bool {
        of_a_thousand > 0 && self.below(1000) < of_a_thousand
    }

    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        between(&mut self.rng, low, high)
    }

    /// What a node's clock shows.
    pub(crate) fn local(&self, node: usize) -> Timestamp {
        Timestamp::from_millis(self.now + self.hosts[self.nodes[node].host].skew)
    }

    pub(crate) fn at(&mut self, delay: i64, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now + delay, self.sequence), event);
    }

    pub(crate) fn note(&mut self, kind: u8, who: usize, what: usize) {
        self.events_seen += 1;
        for word in [u64::from(kind), self.now as u64, who as u64, what as u64] {
            self.trace = (self.trace ^ word).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, time: i64) {
        let end = self.now + time;
        let begun = self.events_seen;
        while let Some(entry) = self.events.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            self.happen(event);
            assert!(self.events_seen - begun < 30_000_000, "the world never comes to rest");
        }
        self.now = end;
    }

    pub(crate) fn happen(&mut self, event: Event) {
        match event {
            Event::Wake(n, life) => self.wake(n, life),
            Event::Commit(n, life) => self.commit(n, life),
            Event::Settle(n, life) => self.settle(n, life),
            Event::Done(n, life, work) => self.done(n, life, work),
            Event::Dialled(n, life, session, to) => self.dialled(n, life, session, to),
            Event::Bytes(end, life, bytes) => self.bytes(end, life, bytes),
            Event::Closed(end, life) => self.closed(end, life),
            Event::Presence(host) => self.presence(host),
            Event::Crash(host) => self.crash(host),
            Event::Start(host) => self.start(host),
            Event::ClockStep(host) => self.clock_step(host),
            Event::FullDisk(host, full) => self.full_disk(host, full),
            Event::Partition(begins) => self.partition(begins),
            Event::User(n) => self.user(n),
            Event::Upkeep(n) => self.upkeep(n),
            Event::Stranger => self.stranger(),
            Event::Forge => self.forge(),
            Event::CarrierPresence(c) => self.carrier_presence(c),
            Event::CarrierCrash(c) => self.carrier_crash(c),
            Event::CarrierStart(c) => self.start_carrier(c),
            Event::CarrierWake(c, life) => self.carrier_wake(c, life),
            Event::CarrierCommit(c, life) => self.carrier_commit(c, life),
            Event::CarrierDone(c, life, input) => self.carrier_done(c, life, *input),
        }
    }

    /// A node sent this to a peer.
    pub(crate) fn note_sent(&mut self, n: usize, bytes: &[u8]) {
        if let Some(sent) = &mut self.sent {
            sent.entry(n).or_default().push(bytes.to_vec());
        }
    }

    pub(crate) fn lives(&self, n: usize, life: u32) -> bool {
        self.nodes.get(n).is_some_and(|node| node.running.is_some() && node.life == life)
    }

    // People.

    /// Asks a node for something, as its user or their mail program does.
    pub(crate) fn request(&mut self, n: usize, request: Request) -> u64 {
        let life = u64::from(self.nodes[n].life);
        let Some(running) = &mut self.nodes[n].running else { return 0 };
        running.next_request += 1;
        let id = life << 32 | running.next_request;
        self.feed(n, Input::Request(RequestId(id), request));
        id
    }

    fn user(&mut self, n: usize) {
        let messages = self.climate.messages as i64;
        if messages > 0 {
            // Twice as often as messages: the other half is filing, reading, deleting.
            let delay = self.between(MINUTE, DAY / messages);
            self.at(delay, Event::User(n));
        }
        self.note(15, n, 0);
        if self.nodes[n].running.is_some() {
            crate::people::act(self, n);
        }
    }
}
