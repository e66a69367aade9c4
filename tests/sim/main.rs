//! Simulation: the real machines, mailboxes and logs of 3 to 24 nodes, in a world of one thread whose clock, network, disks
//! and people are made up from a seed (docs/testing.md, "Simulation").
//!
//! `SEED=n` replays one seed, `SEEDS=n` runs so many fresh ones, `DAYS=n` makes them longer, `FIRST=n` says where they begin,
//! `SIM_SECONDS=n` begins no fresh seed after that time, and says how many there were;
//! `CARRIER_SEEDS=n` and `CARRIER_DAYS=n` say the same of those with carriers, `CARRIERS=1` replays one of them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout
)]
#![allow(clippy::panic, clippy::cast_possible_truncation, reason = "a test may panic")]

mod carriers;
mod climate;
mod crypto;
mod disk;
mod driver;
mod forger;
mod net;
mod network;
mod node;
mod people;
mod points;
mod taint;
mod weather;
mod witness;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use climate::{Climate, DAY, HOUR};
use runepeer::engine::Request;
use world::World;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// What a run of a seed came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Sum {
    trace: u64,
    events: u64,
    delivered: u64,
    reported: u64,
    cancelled: u64,
    recoveries: u64,
    held: u64,
    receipts: u64,
    carried: u64,
    introduced: u64,
    forged: u64,
}

/// A world of this seed, for so many days of bad weather and until everything has settled; with carriers or without.
fn run(seed: u64, days: u64, carriers: bool) -> Sum {
    live(World::new(seed), seed, days, carriers)
}

fn live(mut world: World, seed: u64, days: u64, carriers: bool) -> Sum {
    let count = world.nodes.len();
    for guest in 1..count {
        let host = world.below(guest as u64) as usize;
        people::introduce(&mut world, host, guest);
    }
    for _ in 0..count {
        let (a, b) = (world.below(count as u64) as usize, world.below(count as u64) as usize);
        if a != b {
            people::introduce(&mut world, a, b);
        }
    }
    world.pass(HOUR);
    if carriers {
        world.add_carriers(seed);
    }
    world.introduces = kept().iter().all(|(kept, _)| *kept != seed);
    world.storm();
    world.pass(days as i64 * DAY);
    world.check_people();
    world.calm();
    // Until what waits has arrived or come back; what cannot arrive has five days, or what a carrier holds a fortnight, and
    // clocks may be wrong by two days.
    for _ in 0..if world.carriers.is_empty() { 16 } else { 40 } {
        world.pass(12 * HOUR);
        if world.is_settled() {
            break;
        }
    }
    world.witness.finish(&world.nodes);
    world.check_people();
    for (n, node) in world.nodes.iter().enumerate() {
        for (path, bytes) in node.disk.files() {
            let shown = bytes.windows(7).any(|window| window == b"canary-");
            assert!(!shown, "{} of node {n} shows a message", path.display());
        }
    }
    for carrier in &world.carriers {
        for bytes in carrier.bodies() {
            assert!(!bytes.windows(7).any(|window| window == b"canary-"), "a carrier can read a message");
        }
    }
    Sum {
        trace: world.trace,
        events: world.events_seen,
        delivered: world.witness.delivered,
        reported: world.witness.reported,
        cancelled: world.witness.cancelled,
        recoveries: world.witness.recoveries,
        held: world.witness.held,
        receipts: world.witness.receipts,
        carried: world.witness.carried,
        introduced: people::introduced(&world),
        forged: world.forger.forged,
    }
}

/// Runs seeds on all processors; panics with those that fail.
fn run_all(seeds: &[u64], days: u64, carriers: bool) {
    let begun = Instant::now();
    let limit = setting("SIM_SECONDS").filter(|_| seeds.len() > 1).unwrap_or(u64::MAX);
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let results: Vec<(u64, Option<Sum>)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut mine = Vec::new();
                    while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                        if begun.elapsed().as_secs() >= limit {
                            break;
                        }
                        let result = catch_unwind(AssertUnwindSafe(|| run(*seed, days, carriers))).ok();
                        if result.is_none() {
                            let with = if carriers { " CARRIERS=1" } else { "" };
                            println!("FAILED: SEED={seed} DAYS={days}{with}");
                        }
                        mine.push((*seed, result));
                    }
                    mine
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let sums: Vec<Sum> = results.iter().filter_map(|(_, sum)| *sum).collect();
    let total = |of: fn(&Sum) -> u64| sums.iter().map(of).sum::<u64>();
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{} seeds of {days} days in {seconds:.1} s ({:.0} virtual days a second): {} events, {} delivered, {} reported, \
         {} taken back, {} recoveries, {} held, {} by receipt, {} carried by friends, {} introduced, {} lies",
        results.len(),
        (results.len() as u64 * days) as f64 / seconds,
        total(|sum| sum.events),
        total(|sum| sum.delivered),
        total(|sum| sum.reported),
        total(|sum| sum.cancelled),
        total(|sum| sum.recoveries),
        total(|sum| sum.held),
        total(|sum| sum.receipts),
        total(|sum| sum.carried),
        total(|sum| sum.introduced),
        total(|sum| sum.forged),
    );
    if results.len() < seeds.len() {
        println!("NOT ALL RUN HERE: {} of {} seeds in the time that there was", results.len(), seeds.len());
    }
    let failed: Vec<u64> = results.iter().filter(|(_, sum)| sum.is_none()).map(|(seed, _)| *seed).collect();
    assert!(failed.is_empty(), "an invariant is broken by SEED={failed:?}; add it to tests/sim/seeds.txt with the fix");
}

/// Seeds that once broke an invariant: `seed days what`.
fn kept() -> Vec<(u64, u64)> {
    let lines = include_str!("seeds.txt").lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines
        .map(|line| {
            let mut words = line.split_whitespace();
            (words.next().unwrap().parse().unwrap(), words.next().unwrap().parse().unwrap())
        })
        .collect()
}

/// So many seeds that were not there before.
fn fresh(count: u64) -> Vec<u64> {
    let first = setting("FIRST").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.as_secs() % 1_000_000_000 * 1000
    });
    println!("fresh seeds from {first}");
    (first..first + count).collect()
}

#[test]
fn no_seed_breaks_an_invariant() {
    let days = setting("DAYS").unwrap_or(14);
    if let Some(seed) = setting("SEED") {
        println!("{:?}", Climate::of(seed));
        println!("{:?}", run(seed, days, setting("CARRIERS").is_some()));
        return;
    }
    run_all(&fresh(setting("SEEDS").unwrap_or(12)), days, false);
}

#[test]
fn no_seed_with_carriers_breaks_an_invariant() {
    if setting("SEED").is_none() {
        run_all(&fresh(setting("CARRIER_SEEDS").unwrap_or(4)), setting("CARRIER_DAYS").unwrap_or(7), true);
    }
}

#[test]
fn kept_seeds_hold() {
    for (seed, days) in kept() {
        run_all(&[seed], days, false);
    }
}

/// `FAULTS=n` is for every n-th step only; `PAIRS=n` adds a second fault to every n-th of the first ones. 1 is all of them.
#[test]
fn every_step_of_every_operation_may_fail() {
    points::all(setting("FAULTS").unwrap_or(1) as usize, setting("PAIRS").unwrap_or(24));
}

/// Whenever a message is taken back with success, it is not delivered afterwards.
#[test]
fn what_was_taken_back_is_not_delivered() {
    let (mut taken_back, mut too_late) = (0, 0);
    for moment in 0..120 {
        let quiet = Climate { hosts: 2, double: 0, ..Climate::of(0).calm() };
        let mut world = World::empty(7, quiet);
        people::introduce(&mut world, 0, 1);
        world.pass(HOUR);
        points::submit(&mut world, 0, &[1], 100);
        world.pass(moment * 100);
        let queue = world.nodes[0].running.as_ref().unwrap().published.queue.iter().next().map(|queued| queued.id);
        let Some(queue) = queue else { continue };
        let id = world.request(0, Request::Cancel(queue));
        world.pass(HOUR);
        let arrived = world.witness.delivered > 0;
        match world.answers.remove(&(0, id)) {
            Some(Ok(_)) => {
                taken_back += 1;
                assert!(!arrived, "taken back after {moment} tenths of a second, and delivered");
            }
            Some(Err(_)) => too_late += 1,
            None => panic!("no answer"),
        }
    }
    println!("{taken_back} taken back, {too_late} too late");
    assert!(taken_back > 0 && too_late > 0);
}

/// Where nothing else goes wrong, so that there are many of them.
#[test]
fn lies_of_contacts_change_nothing_that_is_known_of_honest_people() {
    let (mut forged, mut introduced) = (0, 0);
    for seed in 0..setting("LIARS").unwrap_or(4) {
        let quiet = Climate { hosts: 5, double: 0, ..Climate::of(seed).calm() };
        let mut world = World::empty(seed, quiet.clone());
        world.climate = Climate { messages: 20, hostile: 40, forgeries: 150, ..quiet };
        let sum = live(world, seed, 3, false);
        forged += sum.forged;
        introduced += sum.introduced;
    }
    println!("{forged} lies, {introduced} introduced");
    assert!(forged > 300 && introduced > 5, "{forged} lies, {introduced} introduced");
}

/// Two identities of one machine begin to wait at the same moment; when each tries says nothing of the other.
#[test]
fn retries_of_two_identities_of_a_machine_have_nothing_in_common() {
    const TRIES: usize = 10;
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for seed in 0..120 {
        let quiet = Climate { hosts: 2, double: 100, ..Climate::of(0).calm() };
        let mut world = World::empty(seed, quiet);
        for (one, other) in [(0, 2), (1, 3)] {
            people::introduce(&mut world, one, other);
        }
        world.pass(HOUR);
        world.stop(1);
        world.dials.clear();
        points::submit(&mut world, 0, &[2], 100);
        points::submit(&mut world, 1, &[3], 100);
        world.pass(DAY / 2);
        let times = |node| world.dials.iter().filter(move |(who, ..)| *who == node).map(|(_, at, _)| *at);
        let pauses = |node| times(node).zip(times(node).skip(1)).map(|(a, b)| (b - a) as f64).take(TRIES);
        assert_eq!((pauses(0).count(), pauses(1).count()), (TRIES, TRIES));
        first.push(pauses(0).collect::<Vec<_>>());
        second.push(pauses(1).collect::<Vec<_>>());
    }
    // The same place in both rows has the same mean: what is left of it is the jitter.
    let jitter = |rows: &[Vec<f64>]| -> Vec<f64> {
        let mean = |place: usize| rows.iter().map(|row| row[place]).sum::<f64>() / rows.len() as f64;
        let means: Vec<f64> = (0..TRIES).map(mean).collect();
        rows.iter().flat_map(|row| row.iter().zip(&means).map(|(pause, mean)| pause / mean - 1.0)).collect()
    };
    let (first, second) = (jitter(&first), jitter(&second));
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let spread = (product(&first, &first) * product(&second, &second)).sqrt();
    let correlation = product(&first, &second) / spread;
    println!("correlation of {} pauses: {correlation:.3}", first.len());
    // Four standard deviations of what chance gives.
    assert!(correlation.abs() < 4.0 / (first.len() as f64).sqrt(), "{correlation}");
    assert!(product(&first, &first) / first.len() as f64 > 0.005, "and they are not all the same");
}

#[test]
fn a_seed_replays_exactly() {
    for (seed, carriers) in [(1, false), (2, false), (3, true)] {
        assert_eq!(run(seed, 5, carriers), run(seed, 5, carriers));
    }
}
