//! What happens to machines: their owners, crashes, clocks, full disks, partitions, strangers.

use std::time::Duration;

use runepeer::base::{Rng, SessionId};
use runepeer::engine::Input;

use crate::climate::{DAY, HOUR, MINUTE, next_of};
use crate::net::End;
use crate::node::{Held, Running};
use crate::world::{Event, NOWHERE, World};

/// Free space of a disk that is full, in bytes: below every reserve, or enough for reports.
const FULL: [u64; 2] = [1 << 20, 200 << 20];

impl World {
    /// The bad weather begins.
    pub(crate) fn storm(&mut self) {
        self.storm_at_carriers();
        let climate = self.climate.clone();
        for host in 0..self.hosts.len() {
            if climate.skew > 0 {
                self.hosts[host].skew = self.between(-climate.skew, climate.skew);
                self.witness.set_forward.extend((self.hosts[host].skew > 0).then_some(host));
            }
            let delay = self.between(0, 12 * HOUR);
            self.at(delay, Event::Presence(host));
            for (event, often) in [
                (Event::Crash(host), climate.crashes),
                (Event::ClockStep(host), climate.clock_steps),
                (Event::FullDisk(host, true), climate.full_disks),
            ] {
                if let Some(delay) = next_of(&mut self.rng, often) {
                    self.at(delay, event);
                }
            }
        }
        for n in 0..self.nodes.len() {
            self.nodes[n].hostile = self.below(100) < climate.hostile;
            self.nodes[n].faults.lock().unwrap().errors = climate.disk_errors;
            let delay = self.between(0, 6 * HOUR);
            self.at(delay, Event::User(n));
            let delay = self.between(0, 6 * HOUR);
            self.at(delay, Event::Upkeep(n));
        }
        if let Some(delay) = next_of(&mut self.rng, climate.partitions) {
            self.at(delay, Event::Partition(true));
        }
        if climate.strangers > 0 {
            self.at(HOUR, Event::Stranger);
        }
        if climate.forgeries > 0 && self.introduces {
            self.at(HOUR, Event::Forge);
        }
    }

    /// Everything is well again, and everybody there.
    pub(crate) fn calm(&mut self) {
        self.climate = self.climate.calm();
        self.events.retain(|_, event| !event.is_trouble());
        self.calm_at_carriers();
        self.partitioned = false;
        for n in 0..self.nodes.len() {
            self.nodes[n].faults.lock().unwrap().errors = 0;
            self.nodes[n].disk.set_free_space(1 << 40);
        }
        for host in 0..self.hosts.len() {
            self.hosts[host].present = true;
            self.start(host);
            for n in self.hosts[host].nodes.clone() {
                self.feed(n, Input::DiskLow(false));
            }
        }
    }

    /// Whether nothing waits anywhere.
    pub(crate) fn is_settled(&self) -> bool {
        self.nodes.iter().all(|node| {
            let done = |running: &Running| node.hostile || running.identity.state().queue().is_empty();
            node.running.as_ref().is_some_and(done)
        })
    }

    pub(crate) fn presence(&mut self, host: usize) {
        self.note(8, host, 0);
        let offline = self.climate.offline as i64;
        let here = self.hosts[host].present && self.hosts[host].on;
        let stay = self.between(10 * MINUTE, 8 * HOUR);
        let away = stay * offline / (100 - offline).max(5);
        if here && offline > 0 {
            if self.below(2) == 0 {
                self.hosts[host].present = false;
            } else {
                self.stop(host);
            }
            self.leave(host);
            let delay = self.between(away / 2, 2 * away).max(MINUTE);
            return self.at(delay, Event::Presence(host));
        }
        let hour = (self.now / HOUR - self.hosts[host].night).rem_euclid(24);
        if self.climate.diurnal && hour < 8 {
            return self.at((8 - hour) * HOUR, Event::Presence(host));
        }
        // A node that ran meanwhile notices that its network is back; one that starts now knows of nothing else.
        let back = self.hosts[host].on && !self.hosts[host].present;
        self.hosts[host].present = true;
        if back {
            for n in self.hosts[host].nodes.clone() {
                self.feed(n, Input::NetworkBack(Duration::from_secs(3600)));
                self.feed(n, Input::Reachable);
            }
        }
        self.start(host);
        if offline > 0 {
            self.at(stay, Event::Presence(host));
        }
    }

    pub(crate) fn clock_step(&mut self, host: usize) {
        self.note(11, host, 0);
        let often = self.climate.clock_steps;
        if let Some(delay) = next_of(&mut self.rng, often) {
            self.at(delay, Event::ClockStep(host));
        }
        let by = match self.below(3) {
            0 => self.between(MINUTE, HOUR),
            _ => self.between(HOUR, 48 * HOUR),
        };
        // Within two days of the truth, as everything that a node may be asked to stand.
        let back = self.hosts[host].skew > 0 || self.below(2) == 0;
        let skew = self.hosts[host].skew + if back { -by } else { by };
        self.hosts[host].skew = skew.clamp(-48 * HOUR, 48 * HOUR);
        self.witness.set_forward.insert(host);
        for n in self.hosts[host].nodes.clone() {
            self.tell_clock(n);
            self.schedule_wake(n);
        }
    }

    pub(crate) fn full_disk(&mut self, host: usize, full: bool) {
        self.note(12, host, usize::from(full));
        let often = self.climate.full_disks;
        let delay = if full { Some(self.between(HOUR, 48 * HOUR)) } else { next_of(&mut self.rng, often) };
        if let Some(delay) = delay {
            self.at(delay, Event::FullDisk(host, !full));
        }
        let left = FULL[self.below(2) as usize];
        for n in self.hosts[host].nodes.clone() {
            self.nodes[n].disk.set_free_space(if full { left } else { 1 << 40 });
            self.feed(n, Input::DiskLow(full));
        }
    }

    pub(crate) fn partition(&mut self, begins: bool) {
        self.note(13, usize::from(begins), 0);
        self.partitioned = begins;
        let often = self.climate.partitions;
        let delay = if begins { Some(self.between(HOUR, 12 * HOUR)) } else { next_of(&mut self.rng, often) };
        if let Some(delay) = delay {
            self.at(delay, Event::Partition(!begins));
        }
        for host in 0..self.hosts.len() {
            self.hosts[host].partition = self.below(2) == 0;
        }
        if begins {
            let apart = |world: &Self, (a, _): End, (b, _): End| b != NOWHERE && !world.reaches(a, b);
            for n in 0..self.nodes.len() {
                for end in self.net.ends_of(n) {
                    if self.net.other(end).is_some_and(|other| apart(self, end, other)) {
                        self.cut(end);
                    }
                }
            }
        }
    }

    /// Somebody connects and sends what no honest node does, or what an honest one sent before.
    pub(crate) fn stranger(&mut self) {
        self.note(14, 0, 0);
        let often = self.climate.strangers as i64;
        if often > 0 {
            let delay = self.between(MINUTE, 2 * DAY / often);
            self.at(delay, Event::Stranger);
        }
        let heard = self.below(self.overheard.len().max(1) as u64) as usize;
        let again = self.overheard.get(heard).cloned();
        let n = self.below(self.nodes.len() as u64) as usize;
        let (to, bytes) = match self.below(4) {
            0 => (n, b"GET / HTTP/1.1\r\n\r\n".to_vec()),
            1 => {
                let mut noise = vec![0; 3000];
                self.rng.fill(&mut noise);
                (n, noise)
            }
            2 => (n, Vec::new()),
            _ => again.unwrap_or_else(|| (n, b"SEND\n".to_vec())),
        };
        self.strangers += 1;
        let end = (NOWHERE, SessionId(self.strangers));
        let Some(session) = self.accept(to, end) else { return };
        self.feed(to, Input::Accepted(session));
        self.arrive((to, session), Held::Bytes(bytes));
    }
}
