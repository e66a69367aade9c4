//! What a seed decides: how many there are, how often they are there, and what goes wrong how often. Each kind of fault is
//! there in half of the seeds, so that it is met alone and together with each other.

use std::time::Duration;

use runepeer::base::Rng;
use runepeer::base::rng::SeededRng;

pub(crate) const SECOND: i64 = 1000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;

/// The weather of one seed.
#[derive(Debug, Clone)]
pub(crate) struct Climate {
    /// Machines; some have two identities.
    pub(crate) hosts: usize,
    /// Of a hundred, how many have two identities.
    pub(crate) double: u64,
    /// Of a hundred hours, how many a machine is off.
    pub(crate) offline: u64,
    /// Whether machines sleep at night.
    pub(crate) diurnal: bool,
    /// Messages of an identity in a day of being there.
    pub(crate) messages: u64,
    /// One way, in milliseconds.
    pub(crate) latency: (i64, i64),
    /// Of a thousand dials, how many fail.
    pub(crate) dial_fails: u64,
    /// Of a thousand pieces that are sent, how many are the last of their connection.
    pub(crate) cut: u64,
    /// The same for pieces that hold an acknowledgement.
    pub(crate) cut_acknowledgement: u64,
    /// Partitions in ten days.
    pub(crate) partitions: u64,
    /// Crashes of a machine in ten days.
    pub(crate) crashes: u64,
    /// Of ten thousand disk operations, how many fail.
    pub(crate) disk_errors: u64,
    /// Times in ten days that a machine's disk fills up.
    pub(crate) full_disks: u64,
    /// How far clocks are off, in milliseconds.
    pub(crate) skew: i64,
    /// Times in ten days that a clock is set.
    pub(crate) clock_steps: u64,
    /// Of a hundred identities, how many send what no honest one sends.
    pub(crate) hostile: u64,
    /// Connections of strangers with garbage in a day, to all together.
    pub(crate) strangers: u64,
    /// Lies of the hostile to their contacts in a day, of all together.
    pub(crate) forgeries: u64,
    /// Carriers, in a run that has some.
    pub(crate) carriers: usize,
    /// Times in a day that a log is looked at for what can be given back.
    pub(crate) upkeep: u64,
}

impl Climate {
    /// The weather of this seed.
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = SeededRng::new(seed ^ 0x5eed_c11a_7e00_0000);
        let rng: &mut dyn Rng = &mut rng;
        let hosts = match rng.below(10) {
            0 if rng.below(2) == 0 => 16 + rng.below(9),
            0..=2 => 7 + rng.below(9),
            _ => 3 + rng.below(4),
        } as usize;
        let mut perhaps = |most: u64| if rng.below(2) == 0 { 0 } else { 1 + rng.below(most) };
        Self {
            hosts,
            double: perhaps(50),
            dial_fails: perhaps(300),
            cut: perhaps(30),
            cut_acknowledgement: perhaps(200),
            partitions: perhaps(10),
            crashes: perhaps(100),
            disk_errors: perhaps(50),
            full_disks: perhaps(5),
            skew: perhaps(48) as i64 * HOUR,
            clock_steps: perhaps(10),
            hostile: perhaps(30),
            strangers: perhaps(20),
            upkeep: perhaps(12),
            carriers: 1 + seed as usize % 4,
            offline: 30 + rng.below(66),
            diurnal: rng.below(2) == 0,
            messages: 2 + rng.below(60) / hosts as u64,
            latency: [(100, 1500), (200, 5000), (1000, 60_000)][rng.below(3) as usize],
            forgeries: rng.below(2) * (1 + rng.below(40)),
        }
    }

    /// The same without any fault and with everybody there: how it ends.
    pub(crate) fn calm(&self) -> Self {
        Self {
            offline: 0,
            diurnal: false,
            messages: 0,
            dial_fails: 0,
            cut: 0,
            cut_acknowledgement: 0,
            partitions: 0,
            crashes: 0,
            disk_errors: 0,
            full_disks: 0,
            clock_steps: 0,
            strangers: 0,
            forgeries: 0,
            hostile: 0,
            latency: (100, 1500),
            ..self.clone()
        }
    }
}

/// A time drawn between two, in milliseconds.
pub(crate) fn between(rng: &mut dyn Rng, low: i64, high: i64) -> i64 {
    low + rng.below((high - low + 1).max(1) as u64) as i64
}

/// When the next of so many events in ten days happens, from now, in milliseconds; `None` where there are none.
pub(crate) fn next_of(rng: &mut dyn Rng, in_ten_days: u64) -> Option<i64> {
    let mean = (10 * DAY).checked_div(in_ten_days as i64)?;
    Some(between(rng, mean / 20, 2 * mean))
}

pub(crate) fn duration(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}
