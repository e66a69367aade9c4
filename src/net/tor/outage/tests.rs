use super::*;
use crate::base::rng::{Rng, SeededRng};

const SECOND: Duration = Duration::from_secs(1);
const WALL: i64 = 1_800_000_000;

/// A machine with an arti that behaves as arti does: it is ready once and for all, its tries are ever farther apart while
/// they fail, and a new one tries after half a minute, or when it is asked for something.
struct Machine {
    outage: Outage,
    /// The clock that nobody sets, and by how much the other one differs from it.
    now: Duration,
    clock: i64,
    /// Whether the network is there.
    up: bool,
    /// Whether relays are stopped rather than gone: what waits goes on when they do.
    stopped: bool,
    stopped_at: Duration,
    heard: Duration,
    ready: bool,
    born: Duration,
    /// When this arti tries its guards next by itself, and how long it waits after that.
    retry: Duration,
    /// Whether it has tried them, so that it knows which ones do not answer.
    tried: bool,
    pause: Duration,
    probe_ends: Option<Duration>,
    restarts: u32,
    probes: u32,
}

impl Machine {
    fn new() -> Self {
        Self {
            outage: Outage::new(Duration::ZERO),
            now: Duration::ZERO,
            clock: WALL,
            up: true,
            stopped: false,
            stopped_at: Duration::ZERO,
            heard: Duration::ZERO,
            ready: false,
            born: Duration::ZERO,
            retry: Duration::ZERO,
            tried: true,
            pause: 30 * SECOND,
            probe_ends: None,
            restarts: 0,
            probes: 0,
        }
    }

    fn wall(&self) -> Timestamp {
        Timestamp::from_secs(self.clock).plus(self.now)
    }

    /// One second passes, and a look is taken.
    fn second(&mut self) {
        self.now += SECOND;
        // arti's own tries. Where its connections stay open although nothing comes, it notices nothing.
        let connected = self.stopped && self.born < self.stopped_at;
        if self.now >= self.retry && !connected {
            if self.up {
                (self.heard, self.retry, self.pause) = (self.now, self.now, 30 * SECOND);
                self.ready = self.ready || self.now >= self.born + 2 * SECOND;
            } else {
                self.retry = self.now + self.pause;
                self.pause = (self.pause * 3).min(Duration::from_secs(3 * 3600));
            }
        }
        let seen = Seen {
            now: self.now,
            wall: self.wall(),
            silent: self.now - self.heard,
            ready: self.ready,
            percent: if self.ready { 99 } else { 10 },
            doubted: !self.up && !self.stopped,
        };
        if self.probe_ends.is_some_and(|ends| self.now >= ends) {
            self.probe_ends = None;
            let tries = !self.tried || self.now >= self.retry;
            let answered = self.up && tries;
            if answered {
                (self.heard, self.retry, self.tried) = (self.now, self.now, true);
            } else if tries {
                (self.retry, self.tried) = (self.now + self.pause, true);
                self.pause = (self.pause * 3).min(Duration::from_secs(3 * 3600));
            }
            self.outage.probed(answered, &seen);
        }
        match self.outage.look(&seen) {
            Step::Wait => {}
            Step::Probe => {
                self.probes += 1;
                let takes = if self.stopped { 6 * SECOND } else { SECOND };
                self.probe_ends = Some(self.now + takes);
            }
            Step::Restart => {
                self.restarts += 1;
                // Where its directory is on the disk, nothing makes a new arti connect until it builds circuits in advance.
                (self.born, self.retry, self.pause) = (self.now, self.now + 30 * SECOND, 30 * SECOND);
                (self.tried, self.probe_ends) = (false, None);
                // The directory is on the disk, but a relay has to answer before arti is ready.
                self.ready = false;
                self.outage.restarted(self.now);
            }
        }
    }

    /// The network goes away: its relays end, or they are only stopped.
    fn cut(&mut self, stopped: bool) {
        (self.up, self.stopped, self.stopped_at) = (false, stopped, self.now);
    }

    /// It is back.
    fn restore(&mut self) {
        (self.up, self.stopped) = (true, false);
    }

    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.second();
        }
    }

    fn works(&self) -> bool {
        self.outage.standing() == Standing::Works
    }

    /// Seconds until the network counts as there, and is; at most so many.
    fn until_it_works(&mut self, most: u64) -> u64 {
        (0..most)
            .find(|_| {
                self.second();
                self.works() && self.ready && self.now - self.heard <= SECOND
            })
            .unwrap_or(most)
    }

    /// The machine is suspended: no clock but the one of the wall goes on.
    fn suspend(&mut self, seconds: i64) {
        self.clock += seconds;
    }
}

#[test]
fn a_quiet_network_is_left_alone() {
    let mut machine = Machine::new();
    machine.pass(24 * 3600);
    assert!(machine.works());
    assert_eq!((machine.restarts, machine.probes), (0, 0), "relays send padding");
}

#[test]
fn a_pause_of_twenty_seconds_breaks_nothing_off() {
    let mut machine = Machine::new();
    machine.pass(60);
    machine.cut(true);
    machine.pass(20);
    machine.restore();
    machine.pass(60);
    assert!(machine.works());
    assert_eq!(machine.restarts, 0);
}

#[test]
fn a_network_that_is_gone_is_noticed_with_its_time() {
    for (stopped, most) in [(true, 75), (false, 15)] {
        let mut machine = Machine::new();
        machine.pass(60);
        let went = machine.wall();
        machine.cut(stopped);
        let noticed = (1..).find(|_| {
            machine.second();
            !machine.works()
        });
        assert!(noticed <= Some(most), "{stopped}: {noticed:?}");
        let Standing::Gone(since) = machine.outage.standing() else { panic!("gone") };
        assert!(since.since(went) <= SECOND && went.since(since) <= SECOND);
    }
}

#[test]
fn it_is_back_within_half_a_minute_of_its_return_however_long_it_was_gone() {
    for minutes in [1, 5, 12, 30, 119] {
        for stopped in [false, true] {
            for phase in 0..30 {
                let mut machine = Machine::new();
                machine.pass(60 + phase);
                machine.cut(stopped);
                machine.pass(minutes * 60);
                assert!(!machine.works() || minutes == 1, "{minutes} min, stopped: {stopped}");
                machine.restore();
                let took = machine.until_it_works(600);
                assert!(took <= 35, "{minutes} min, stopped: {stopped}, phase {phase}: {took} s");
            }
        }
    }
}

#[test]
fn a_machine_that_starts_without_a_network_is_there_soon_after_it_comes() {
    let mut machine = Machine::new();
    machine.up = false;
    machine.pass(3600);
    machine.up = true;
    assert!(machine.until_it_works(600) <= 65);
}

#[test]
fn after_a_sleep_and_after_the_clock_was_set_arti_begins_anew() {
    for leap in [600, 3 * 3600, -3 * 3600] {
        let mut machine = Machine::new();
        machine.pass(60);
        machine.suspend(leap);
        machine.second();
        assert_eq!((machine.restarts, machine.works()), (1, false), "{leap}");
        assert!(machine.until_it_works(60) < 5);
        machine.pass(600);
        assert_eq!(machine.restarts, 1, "once");
    }
}

#[test]
fn an_arti_that_is_no_longer_ready_counts_as_starting() {
    let mut machine = Machine::new();
    machine.pass(60);
    machine.ready = false;
    machine.born = Duration::MAX - 2 * SECOND;
    machine.pass(15);
    assert_eq!(machine.outage.standing(), Standing::Starting);
    machine.pass(120);
    assert_eq!(machine.restarts, 0, "something comes from its relays: it may be loading the directory");
    machine.pass(200);
    assert_eq!(machine.restarts, 1);
}

/// Two days of flaps, outages, sleeps and clocks that are set, for each of many seeds.
#[test]
fn two_days_of_every_trouble_never_leave_it_cut_off() {
    for seed in 0..20_u64 {
        let mut rng = SeededRng::new(seed);
        let rng: &mut dyn Rng = &mut rng;
        let mut machine = Machine::new();
        let mut outages = 0_u32;
        while machine.now < Duration::from_secs(48 * 3600) {
            // It is there for a while, in which nothing may cut it off for long.
            let well = 40 + rng.below(3600);
            let took = machine.until_it_works(120);
            assert!(took <= 65, "seed {seed} at {:?}: {took} s", machine.now);
            for _ in 0..well {
                machine.second();
                assert!(!matches!(machine.outage.standing(), Standing::Gone(_)), "seed {seed} at {:?}", machine.now);
            }
            match rng.below(4) {
                0 => machine.suspend(60 + rng.below(6 * 3600) as i64),
                1 => machine.suspend(3 * 3600 - rng.below(6 * 3600) as i64),
                _ => {
                    outages += 1;
                    machine.cut(rng.below(2) == 0);
                    let lasts = if rng.below(2) == 0 { rng.below(90) } else { rng.below(3600) };
                    machine.pass(lasts);
                    if rng.below(8) == 0 {
                        machine.suspend(3600);
                        machine.second();
                    }
                    machine.restore();
                }
            }
        }
        let most = outages * 3600 / 15 + 200;
        assert!(machine.restarts <= most, "seed {seed}: {} restarts, {outages} outages", machine.restarts);
    }
}
