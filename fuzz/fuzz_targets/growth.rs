//! A beginning, something that is repeated, and an end: whatever they are, no parser of mail makes more steps than a fixed multiple of what
//! it reads (`base::meter`).
#![no_main]

use libfuzzer_sys::fuzz_target;
use runepeer::base::meter;
use runepeer::mail::headers::{address_list, from_addresses, select_fields};
use runepeer::mail::mail_json::to_json;
use runepeer::mail::{date, readable, structure};

/// More than any of them promises.
const STEPS_PER_BYTE: u64 = 100;
const LONGEST: usize = 128 * 1024;

fn holds<T>(name: &str, input: &[u8], read: impl FnOnce(&[u8]) -> T) {
    let (steps, _) = meter::work(|| read(input));
    assert!(steps <= STEPS_PER_BYTE * input.len() as u64 + 2000, "{name}: {steps} steps for {} bytes", input.len());
}

fuzz_target!(|input: (&[u8], &[u8], &[u8])| {
    let (head, unit, tail) = input;
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
    }
});
