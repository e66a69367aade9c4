//! One identity on its own disk: the real machine, the real log, and a driver that does what the product's does, at times
//! that the world decides.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};

use runepeer::base::ids::Fingerprint;
use runepeer::base::rng::SeededRng;
use runepeer::base::{Onion, OpId, Rng, SealKeyId, SessionId, SymmetricKey, Timestamp};
use runepeer::engine::boxes::Delays;
use runepeer::engine::io::Durability;
use runepeer::engine::{Identity, Record, Snapshot, State, Transaction};
use runepeer::store::vfs::{CrashMode, Fault, FaultVfs, MemVfs, Plan, Vfs};
use runepeer::store::{Log, LogPosition, OpenError, Sizes, SteppedLog};

use crate::crypto;

/// Small, so that segments fill, bodies get files, and there is something to compact.
pub(crate) const SIZES: Sizes = Sizes { segment: 64 * 1024, inline_body: 6 * 1024 };
const DIR: &str = "/identity";

/// What a disk does wrong from now on.
pub(crate) struct DiskFaults {
    rng: SeededRng,
    /// Of ten thousand operations, how many fail.
    pub(crate) errors: u64,
    /// After so many operations more, the process is dead.
    pub(crate) dies_in: Option<u64>,
    /// What is to fail, and how many operations there were since that was planned.
    plan: Option<(Plan, u64)>,
    fired: bool,
    dead: bool,
}

impl DiskFaults {
    fn decide(&mut self) -> Option<Fault> {
        if let Some((plan, step)) = &mut self.plan {
            *step += 1;
            let fault = plan.at(*step);
            self.fired |= fault.is_some();
            self.dead |= matches!(fault, Some(Fault::Kill | Fault::KillAfter));
            return fault;
        }
        let rng: &mut dyn Rng = &mut self.rng;
        if self.dead {
            return Some(Fault::Kill);
        }
        if let Some(left) = &mut self.dies_in {
            let Some(less) = left.checked_sub(1) else {
                self.dead = true;
                return Some(if rng.below(2) == 0 { Fault::Kill } else { Fault::KillAfter });
            };
            *left = less;
            return None;
        }
        let hit = self.errors > 0 && rng.below(10_000) < self.errors;
        hit.then(|| [Fault::Eio, Fault::Enospc, Fault::ShortWrite][rng.below(3) as usize])
    }
}

impl DiskFaults {
    /// From now on this fails.
    pub(crate) fn set_plan(&mut self, plan: Plan) {
        self.plan = Some((plan, 0));
        self.fired = false;
    }

    /// Nothing fails any more as was planned: whether it did.
    pub(crate) fn end_plan(&mut self) -> bool {
        self.plan = None;
        self.fired
    }
}

/// A commit that waits for the disk.
pub(crate) struct Waiting {
    pub(crate) op: OpId,
    pub(crate) transaction: Transaction,
    pub(crate) durability: Durability,
}

/// What happened on a session that reads no further for now.
pub(crate) enum Held {
    Bytes(Vec<u8>),
    Closed,
}

/// What is there while the process runs.
pub(crate) struct Running {
    pub(crate) identity: Identity,
    pub(crate) log: SteppedLog,
    pub(crate) published: Snapshot,
    pub(crate) waiting: Vec<Waiting>,
    pub(crate) committing: bool,
    /// Commits that were reported as failed since the last that was not: each may be there after a crash, or not.
    pub(crate) failed: Vec<Transaction>,
    /// Sessions that the driver knows as open.
    pub(crate) open: BTreeSet<SessionId>,
    pub(crate) held: BTreeMap<SessionId, VecDeque<Held>>,
    /// When the next wake-up is due that was asked for, in true time.
    pub(crate) wake: i64,
    /// The error of the clock that the machine knows of.
    pub(crate) skew: i64,
    pub(crate) settling: bool,
    pub(crate) next_session: u64,
    pub(crate) next_request: u64,
}

/// One identity.
pub(crate) struct Node {
    pub(crate) host: usize,
    pub(crate) onion: Onion,
    pub(crate) fingerprint: Fingerprint,
    /// It sends what no honest one sends: nothing is promised to it, nor by it.
    pub(crate) hostile: bool,
    pub(crate) disk: MemVfs,
    pub(crate) faults: Arc<Mutex<DiskFaults>>,
    pub(crate) running: Option<Running>,
    /// Grows with every start: what was on its way to an earlier process does not arrive.
    pub(crate) life: u32,
    pub(crate) rng: SeededRng,
    /// The encryption keys on its disk, besides the first one.
    pub(crate) seal_keys: Vec<SealKeyId>,
    /// The view.
    pub(crate) image: Option<(LogPosition, Vec<u8>)>,
}

impl Node {
    /// A new identity: its log with its first records.
    pub(crate) fn new(number: usize, host: usize, seed: u64, now: Timestamp) -> Self {
        let name = format!("persona{number}");
        let profile = crypto::profile(&name, number, now);
        let (onion, fingerprint) = (profile.public.onion(), profile.public.fingerprint);
        let rng = SeededRng::new(seed.wrapping_mul(0x9e37_79b9).wrapping_add(number as u64));
        let faults = DiskFaults {
            rng: SeededRng::new(seed ^ (number as u64) << 32),
            errors: 0,
            dies_in: None,
            plan: None,
            fired: false,
            dead: false,
        };
        let disk = MemVfs::new();
        Log::create(&disk, Path::new(DIR)).unwrap();
        let mut node = Self {
            host,
            onion,
            fingerprint,
            hostile: false,
            disk,
            faults: Arc::new(Mutex::new(faults)),
            running: None,
            seal_keys: Vec::new(),
            life: 0,
            rng,
            image: None,
        };
        let (mut log, _) = node.open(false).unwrap();
        let records = State::genesis(profile, &mut node.rng).iter().map(|record| record.encode().unwrap()).collect();
        log.commit(vec![(records, Vec::new(), Durability::Synced)]).remove(0).unwrap();
        log.close();
        node
    }

    /// Opens the log and folds its state: from the view where that is wanted and right, else from the log alone.
    pub(crate) fn open(&mut self, from_view: bool) -> Result<(SteppedLog, State), OpenError> {
        let image = self.image.clone().filter(|_| from_view);
        if let Some((position, bytes)) = image {
            let state = State::decode(&bytes).unwrap();
            match self.fold(Some(&position), state) {
                // The end was lost with the power after the view had it: the log is the truth.
                Err(OpenError::UnknownPosition) => {}
                other => return other,
            }
        }
        self.fold(None, State::default())
    }

    fn fold(&mut self, from: Option<&LogPosition>, mut state: State) -> Result<(SteppedLog, State), OpenError> {
        let faults = Arc::clone(&self.faults);
        let decide = Box::new(move |_| faults.lock().unwrap().decide());
        let vfs: Arc<dyn Vfs> = Arc::new(FaultVfs::deciding(Arc::new(self.disk.clone()), decide));
        let rng = Box::new(SeededRng::new((&mut self.rng as &mut dyn Rng).below(u64::MAX)));
        let key = SymmetricKey::from_bytes([9; 32]);
        let mut replay = |number, bytes: &[u8]| {
            state.apply(number, &Record::decode(bytes).unwrap().unwrap());
        };
        let mut log = SteppedLog::open(vfs, Path::new(DIR), &key, rng, SIZES, from, &mut replay)?;
        state.take_released();
        let needed = state.bodies();
        let mut unneeded = log.body_ids();
        unneeded.retain(|body| !needed.contains(body));
        unneeded.sort_unstable();
        if !unneeded.is_empty() {
            log.forget(unneeded);
        }
        Ok((log, state))
    }

    /// What a start would find on this disk, where nothing goes wrong.
    pub(crate) fn peek(&mut self, disk: MemVfs) -> Result<State, OpenError> {
        let real = std::mem::replace(&mut self.disk, disk);
        let quiet =
            DiskFaults { errors: 0, dies_in: None, plan: None, fired: false, dead: false, rng: SeededRng::new(0) };
        let faults = std::mem::replace(&mut *self.faults.lock().unwrap(), quiet);
        let found = self.open(false).map(|(log, state)| {
            for body in state.bodies() {
                let read = log.read_body(body, 0..u64::MAX);
                assert!(read.is_ok(), "a message that is there cannot be read: {:?}", read.err());
            }
            state
        });
        *self.faults.lock().unwrap() = faults;
        self.disk = real;
        found
    }

    /// Whether the process has ended in the middle of its work with the disk.
    pub(crate) fn is_dead(&self) -> bool {
        self.faults.lock().unwrap().dead
    }

    /// The disk as the next start finds it.
    pub(crate) fn crash(&mut self, mode: CrashMode) {
        self.disk = self.disk.crash(mode, &mut self.rng);
        let mut faults = self.faults.lock().unwrap();
        faults.dies_in = None;
        faults.plan = None;
        faults.dead = false;
        drop(faults);
        self.running = None;
        self.life += 1;
    }

    /// The process runs with this log and state.
    pub(crate) fn run(&mut self, log: SteppedLog, state: State, now: Timestamp, skew: i64) {
        let mut identity = Identity::new(state, Delays::default(), now, &mut self.rng).unwrap();
        self.life += 1;
        self.running = Some(Running {
            published: identity.snapshot(),
            identity,
            log,
            waiting: Vec::new(),
            committing: false,
            failed: Vec::new(),
            open: BTreeSet::new(),
            held: BTreeMap::new(),
            wake: i64::MAX,
            skew,
            settling: false,
            next_session: 0,
            next_request: 0,
        });
    }
}
