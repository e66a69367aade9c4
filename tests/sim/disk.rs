//! Commits and everything else that a node does with its disk, and how processes begin and end.

use runepeer::engine::io::{CommitError, Durability};
use runepeer::engine::{Input, State, Transaction};
use runepeer::store::OpenError;
use runepeer::store::vfs::CrashMode;

use crate::climate::{DAY, HOUR, MINUTE, SECOND, next_of};
use crate::node::Waiting;
use crate::witness::{Witness, flags, projection};
use crate::world::{Event, Stopped, World};

impl World {
    pub(crate) fn ask_commit(&mut self, n: usize, waiting: Waiting) {
        assert!(!waiting.transaction.records.is_empty(), "an empty transaction");
        let Some(running) = &mut self.nodes[n].running else { return };
        running.waiting.push(waiting);
        if !std::mem::replace(&mut running.committing, true) {
            let life = self.nodes[n].life;
            let delay = if self.below(200) == 0 { self.between(500, 3000) } else { self.between(1, 30) };
            self.at(delay, Event::Commit(n, life));
        }
    }

    pub(crate) fn encode(transaction: &Transaction) -> Vec<Vec<u8>> {
        transaction.records.iter().map(|record| record.encode().unwrap()).collect()
    }

    pub(crate) fn commit(&mut self, n: usize, life: u32) {
        if !self.lives(n, life) {
            return;
        }
        let Some(running) = &mut self.nodes[n].running else { return };
        let batch = std::mem::take(&mut running.waiting);
        running.committing = false;
        let commits = batch.iter().map(|waiting| {
            (Self::encode(&waiting.transaction), waiting.transaction.bodies.clone(), waiting.durability)
        });
        let results = running.log.commit(commits.collect());
        // What was reported before the end may have been told to others; nothing is told after it.
        let dead = self.nodes[n].is_dead();
        let Some(running) = &mut self.nodes[n].running else { return };
        let lazy = batch.iter().any(|waiting| waiting.durability == Durability::Lazy);
        if lazy && !std::mem::replace(&mut running.settling, true) {
            self.at(100, Event::Settle(n, life));
        }
        self.note(3, n, batch.len());
        for (waiting, result) in batch.into_iter().zip(results) {
            match &mut self.nodes[n].running {
                Some(running) if dead && result.is_err() => running.failed.push(waiting.transaction),
                _ => self.committed(n, waiting, result),
            }
        }
        self.perish(n);
        if self.below(150) == 0 && self.lives(n, life) {
            self.check_power_cut(n);
        }
    }

    pub(crate) fn committed(&mut self, n: usize, waiting: Waiting, result: Result<u64, CommitError>) {
        let Some(running) = &mut self.nodes[n].running else { return };
        let Waiting { op, transaction, durability } = waiting;
        let Ok(first) = result else {
            if result == Err(CommitError::Io) {
                running.failed.push(transaction);
            }
            return self.feed(n, Input::Committed(op, result));
        };
        if durability == Durability::Synced {
            running.failed.clear();
        }
        let before = Witness::before(running.identity.state(), &transaction);
        self.feed(n, Input::Committed(op, result));
        self.witness.committed(&self.nodes, n, self.now, first, before, &transaction);
    }

    pub(crate) fn settle(&mut self, n: usize, life: u32) {
        if !self.lives(n, life) {
            return;
        }
        let Some(running) = &mut self.nodes[n].running else { return };
        running.settling = !running.log.settle();
        if running.settling {
            self.at(SECOND, Event::Settle(n, life));
        }
        self.perish(n);
    }

    /// If the power went at this moment, everything that was reported would be there.
    pub(crate) fn check_power_cut(&mut self, n: usize) {
        let image = self.nodes[n].disk.crash(CrashMode::PowerCut, &mut self.rng);
        let reported = self.nodes[n].running.as_ref().unwrap().identity.state().clone();
        let doubtful = self.doubtful(n);
        let found = self.nodes[n].peek(image);
        let found = found.unwrap_or_else(|error| panic!("node {n} could not start after a power cut: {error}"));
        self.witness.recovered(n, &found, &reported, &doubtful);
    }

    /// What may be there after a crash, or not.
    pub(crate) fn doubtful(&self, n: usize) -> Vec<Transaction> {
        let Some(running) = &self.nodes[n].running else { return Vec::new() };
        let waiting = running.waiting.iter().map(|waiting| waiting.transaction.clone());
        running.failed.iter().cloned().chain(waiting).collect()
    }

    /// Ends a process whose disk says that it is dead.
    pub(crate) fn perish(&mut self, n: usize) {
        if self.nodes[n].running.is_some() && self.nodes[n].is_dead() {
            self.end(n, self.crash_mode);
            let host = self.nodes[n].host;
            if self.hosts[host].on {
                self.at(SECOND, Event::Start(host));
            }
        }
    }

    /// A process ends here and now.
    pub(crate) fn end(&mut self, n: usize, mode: CrashMode) {
        let doubtful = self.doubtful(n);
        let Some(running) = &self.nodes[n].running else { return };
        let reported = running.identity.state().clone();
        for end in self.net.ends_of(n) {
            self.cut(end);
        }
        self.nodes[n].crash(mode);
        self.stopped.insert(n, Stopped { reported, doubtful });
    }

    pub(crate) fn upkeep(&mut self, n: usize) {
        let times = self.climate.upkeep as i64;
        if times > 0 {
            let delay = self.between(HOUR, 2 * DAY / times);
            self.at(delay, Event::Upkeep(n));
        }
        let (local, image) = (self.local(n), self.below(4) == 0);
        let node = &mut self.nodes[n];
        let Some(running) = &mut node.running else { return };
        running.log.sweep(local);
        let state = running.identity.state();
        if running.waiting.is_empty() && running.log.wants_compaction() {
            let records = state.checkpoint().iter().map(|record| record.encode().unwrap()).collect();
            if let Some(mark) = running.log.mark(state.last_record()) {
                // Where the disk fails the log is as it was.
                let _ = running.log.compact(mark, records, &mut node.rng);
            }
        }
        if image && let Some(position) = running.log.position(running.identity.state().last_record()) {
            node.image = Some((position, running.identity.state().encode().unwrap()));
        }
        self.perish(n);
        self.note(4, n, 0);
    }

    /// All connections of a host break.
    pub(crate) fn leave(&mut self, host: usize) {
        for n in self.hosts[host].nodes.clone() {
            for end in self.net.ends_of(n) {
                self.cut(end);
            }
        }
    }

    /// The daemon ends in good order.
    pub(crate) fn stop(&mut self, host: usize) {
        self.hosts[host].on = false;
        self.leave(host);
        for n in self.hosts[host].nodes.clone() {
            let life = self.nodes[n].life;
            if self.nodes[n].running.is_some() {
                self.commit(n, life);
            }
            // What came of that is not done any more.
            let doubtful = self.doubtful(n);
            let Some(running) = self.nodes[n].running.take() else { continue };
            let reported = running.identity.state().clone();
            running.log.close();
            let dead = self.nodes[n].is_dead();
            let node = &mut self.nodes[n];
            node.life += 1;
            node.image = node.image.take().filter(|_| node.life.is_multiple_of(2));
            if dead {
                node.crash(self.crash_mode);
            }
            self.stopped.insert(n, Stopped { reported, doubtful });
        }
    }

    pub(crate) fn crash(&mut self, host: usize) {
        self.note(9, host, 0);
        let often = self.climate.crashes;
        if let Some(delay) = next_of(&mut self.rng, often) {
            self.at(delay, Event::Crash(host));
        }
        if !self.hosts[host].on {
            return;
        }
        self.leave(host);
        self.hosts[host].on = false;
        let power = self.below(2) == 0;
        for n in self.hosts[host].nodes.clone() {
            let torn = self.below(2) == 0;
            let mode = match (power, torn) {
                (false, _) => CrashMode::Kill,
                (true, false) => CrashMode::PowerCut,
                (true, true) => CrashMode::Torn,
            };
            self.die(n, mode);
        }
        let delay = if self.below(2) == 0 { self.between(SECOND, MINUTE) } else { self.between(MINUTE, 8 * HOUR) };
        self.at(delay, Event::Start(host));
    }

    /// A process ends, perhaps in the middle of a write.
    pub(crate) fn die(&mut self, n: usize, mode: CrashMode) {
        let (steps, life) = (self.below(12), self.nodes[n].life);
        self.crash_mode = mode;
        if self.nodes[n].running.as_ref().is_some_and(|running| !running.waiting.is_empty()) {
            self.nodes[n].faults.lock().unwrap().dies_in = Some(steps);
            self.commit(n, life);
        }
        if self.lives(n, life) {
            self.end(n, mode);
        }
    }

    /// Starts what does not run.
    pub(crate) fn start(&mut self, host: usize) {
        self.note(10, host, 0);
        for n in self.hosts[host].nodes.clone() {
            if self.nodes[n].running.is_none() && !self.start_node(n) {
                // A disk that cannot be read now: its owner tries again.
                return self.at(10 * MINUTE, Event::Start(host));
            }
        }
        self.hosts[host].on = true;
    }

    pub(crate) fn start_node(&mut self, n: usize) -> bool {
        let from_view = self.below(2) == 0;
        let (log, state) = match self.nodes[n].open(from_view) {
            Ok(opened) => opened,
            Err(OpenError::Io { .. }) => {
                if self.nodes[n].is_dead() {
                    self.nodes[n].crash(self.crash_mode);
                }
                return false;
            }
            Err(error) => panic!("node {n} does not start: {error}"),
        };
        if let Some(Stopped { reported, doubtful }) = self.stopped.remove(&n) {
            self.witness.recovered(n, &state, &reported, &doubtful);
            self.witness.found(&self.nodes, n, self.now, &state, &doubtful);
        }
        if self.below(20) == 0 {
            self.check_view(n, &state);
        }
        let (local, skew) = (self.local(n), self.hosts[self.nodes[n].host].skew);
        let low = log.disk_low();
        self.nodes[n].run(log, state, local, skew);
        self.feed(n, Input::DiskLow(low));
        if self.hosts[self.nodes[n].host].present {
            self.feed(n, Input::Reachable);
        }
        true
    }

    /// Without the view a start finds the same.
    pub(crate) fn check_view(&mut self, n: usize, state: &State) {
        let disk = self.nodes[n].disk.crash(CrashMode::Kill, &mut self.rng);
        let other = self.nodes[n].peek(disk).unwrap();
        let (from_log, from_view) = (projection(&other), projection(state));
        assert!(from_log == from_view, "node {n}: the view told another state: {}", from_log.apart(&from_view));
        assert!(flags(&other) == flags(state), "node {n}: the view told other flags than the log");
    }
}
