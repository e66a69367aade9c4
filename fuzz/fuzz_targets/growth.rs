//! A beginning, something that is repeated, and an end: whatever they are, no parser of mail makes more steps than a fixed multiple of what
//! it reads (`base::meter`).
#![no_main]

use libfuzzer_sys::fuzz_target;
use runepeer::base::limits::MIME_DEPTH;
use runepeer::base::rng::SeededRng;
use runepeer::base::{Onion, Timestamp, meter};
use runepeer::mail::headers::{address_list, from_addresses, select_fields};
use runepeer::mail::mail_json::to_json;
use runepeer::mail::{Address, date, outgoing, readable, structure};

/// More than any of them promises.
const STEPS_PER_BYTE: u64 = 100;
/// What making a message ready promises, for each level of messages that are encoded within others.
const PREPARING_STEPS_PER_BYTE: u64 = 250 * (MIME_DEPTH as u64 + 1);
const NOW: Timestamp = Timestamp::from_secs(1_795_220_400);
const LONGEST: usize = 128 * 1024;

fn holds<T>(name: &str, input: &[u8], read: impl FnOnce(&[u8]) -> T) {
    let (steps, _) = meter::work(|| read(input));
    assert!(steps <= STEPS_PER_BYTE * input.len() as u64 + 2000, "{name}: {steps} steps for {} bytes", input.len());
}

fuzz_target!(|input: (&[u8], &[u8], &[u8])| {
    let (head, unit, tail) = input;
    let own: Address = format!("alice@{}", Onion::from_public_key([7; 32])).parse().expect("an address");
    let bob: Address = format!("bob@{}", Onion::from_public_key([8; 32])).parse().expect("an address");
    let resolve = |name: &str| name.starts_with(['a', 'b']).then(|| bob.clone());
    let count = LONGEST / unit.len().max(1);
    for count in [count / 16, count] {
        let input = [head, &unit.repeat(count), tail].concat();
        holds("structure", &input, structure::parse);
        holds("value", &input, readable::of_value);
        holds("addresses", &input, address_list);
        holds("author", &input, from_addresses);
        holds("fields", &input, |input| select_fields(input, &[b"subject", b"to"], true));
        holds("date", &input, date::parse);
        holds("text", &input, |input| {
            let root = structure::parse(input).root;
            readable::of_part(&root, input, &mut || true)
        });
        holds("json", &input, to_json);
        let message = [format!("From: {own}\r\n").as_bytes(), input.as_slice()].concat();
        let (steps, _) = meter::work(|| outgoing::prepare(&message, &own, NOW, &resolve, &|_| None, &mut SeededRng::new(1)));
        let most = PREPARING_STEPS_PER_BYTE * message.len() as u64 + 10_000;
        assert!(steps <= most, "preparing: {steps} steps for {} bytes", message.len());
    }
});
