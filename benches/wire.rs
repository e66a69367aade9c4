//! How fast bytes become commands: MiB/s of decoding, and sessions of the responder.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use runepeer::base::limits::WIRE_ANSWER;
use runepeer::base::{ContactId, Onion, Timestamp};
use runepeer::engine::session::{Delivery, Host, Offer, SendParams, Sender, Server, Ticket};
use runepeer::wire::{Command, Decoder, Item, Side, Status, digest};

/// What a client sends for one message of this size: SEND, MESSAGE and the object.
fn message(size: usize) -> Vec<u8> {
    let (address, known) = (format!("bob@{}", Onion::from_public_key([9; 32])), digest(&[7; 1600]));
    let known = data_encoding::HEXLOWER.encode(&known);
    let mut bytes = format!("AS 1 SEND {address} CERT={known}\nAS 1 MESSAGE - #{size}\n").into_bytes();
    bytes.extend(std::iter::repeat_n(0xAA, size));
    bytes
}

/// Reads everything as a socket would give it.
fn decode(bytes: &[u8]) -> usize {
    let mut decoder = Decoder::new(Side::Commands);
    let mut count = 0;
    for piece in bytes.chunks(16 * 1024) {
        decoder.push(piece);
        while let Ok(Some(item)) = decoder.next_item() {
            count += 1;
            if let Item::Line(words) = item {
                black_box(Command::decode(words));
            }
            if decoder.take_blocks(u64::MAX).is_err() {
                return count;
            }
        }
    }
    count
}

struct TakesAll(Arc<[u8]>);

impl Host for TakesAll {
    fn offer(&mut self, _: Timestamp, _: &SendParams) -> Offer {
        let sender = Sender::Contact(ContactId::from_bytes([1; 16]));
        Offer::Ready { maximum: usize::MAX, certificate: Arc::clone(&self.0), sender }
    }

    fn deliver(&mut self, _: Timestamp, _: Ticket, delivery: Delivery) -> Option<Status> {
        black_box(delivery);
        Some(Status::Roger)
    }
}

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wire");
    for (name, size, count) in [("lines", 0, 1000), ("4 KiB", 4096, 200), ("1 MiB", 1 << 20, 8)] {
        let bytes = message(size).repeat(count);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(format!("decode/{name}"), |bencher| bencher.iter(|| decode(black_box(&bytes))));
    }
    let (bytes, now) = (message(4096), Timestamp::from_secs(1_800_000_000));
    let mut host = TakesAll(vec![7; 1600].into());
    group.throughput(Throughput::Elements(1));
    group.bench_function("responder/4 KiB message", |bencher| {
        bencher.iter(|| {
            let mut responder = Server::new(now, &runepeer::base::Terms::default());
            responder.handle(now, black_box(&bytes), &mut host);
            responder.handle_timeout(now.plus(WIRE_ANSWER), &mut host);
            responder.take_output()
        });
    });
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
