//! Sealing and opening: one at a time at three sizes, and a batch on two threads.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use runepeer::base::rng::SeededRng;
use runepeer::base::{Onion, OnionSeed, Timestamp};
use runepeer::pgp::{SecretKeys, generate, open, seal};
use std::hint::black_box;

const NOW: Timestamp = Timestamp::from_secs(1_795_220_400);
const BATCH: usize = 64;

fn keys(seed: u8) -> SecretKeys {
    let onion = Onion::of_seed(&OnionSeed::from_bytes([seed; 32]));
    match generate(NOW, onion, &mut SeededRng::new(u64::from(seed))) {
        Ok(made) => made.keys,
        Err(error) => panic!("{error}"),
    }
}

fn one_by_one(c: &mut Criterion) {
    let (alice, bob) = (keys(1), keys(2));
    let known = |_: &_| Some(alice.certificate().clone());
    for (name, length) in [("2KiB", 2 << 10), ("64KiB", 64 << 10), ("10MiB", 10 << 20)] {
        let content = vec![b'a'; length];
        let mut group = c.benchmark_group(format!("seal/{name}"));
        group.throughput(Throughput::Bytes(length as u64));
        if length > 1 << 20 {
            group.sample_size(20);
        }
        group.bench_function("seal", |b| b.iter(|| seal(black_box(&content), &alice, bob.certificate(), NOW)));
        let Ok(object) = seal(&content, &alice, bob.certificate(), NOW) else { continue };
        group.bench_function("open", |b| b.iter(|| open(black_box(&object), &bob, &known, NOW)));
        group.finish();
    }
}

fn batch(c: &mut Criterion) {
    let (alice, bob) = (keys(1), keys(2));
    let content = vec![b'a'; 2 << 10];
    let mut group = c.benchmark_group("seal/batch");
    group.throughput(Throughput::Elements(BATCH as u64));
    let two_threads = |work: &(dyn Fn(usize) + Sync)| {
        std::thread::scope(|scope| {
            for thread in 0..2 {
                scope.spawn(move || (thread..BATCH).step_by(2).for_each(work));
            }
        });
    };
    group.bench_function("seal 64 on two threads", |b| {
        b.iter(|| {
            two_threads(&|_| {
                black_box(seal(&content, &alice, bob.certificate(), NOW).is_ok());
            });
        });
    });
    let known = |_: &_| Some(alice.certificate().clone());
    group.bench_function("open 64 on two threads", |b| {
        b.iter_batched(
            || (0..BATCH).filter_map(|_| seal(&content, &alice, bob.certificate(), NOW).ok()).collect::<Vec<_>>(),
            |objects| {
                two_threads(&|at| {
                    black_box(objects.get(at).map(|object| open(object, &bob, &known, NOW).is_ok()));
                });
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, one_by_one, batch);
criterion_main!(benches);
