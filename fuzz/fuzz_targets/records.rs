//! Records: any bytes are read or refused; any that are read can be folded, and a checkpoint of the state says the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runepeer::engine::{Record, State};

/// The next record: a length of two bytes, and as many bytes as there are of it.
fn next<'a>(data: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = data.split_first_chunk()?;
    let (record, rest) = rest.split_at(usize::from(u16::from_be_bytes(*length)).min(rest.len()));
    *data = rest;
    Some(record)
}

fuzz_target!(|data: &[u8]| {
    let (mut state, mut data) = (State::default(), data);
    for (number, bytes) in (1..).zip(std::iter::from_fn(|| next(&mut data))) {
        let _ = State::decode(bytes);
        if let Ok(Some(record)) = Record::decode(bytes) {
            let written = record.encode().expect("what was read can be written");
            let again = Record::decode(&written).expect("what was written can be read").expect("a kind that is known");
            assert_eq!(again.encode().as_ref(), Ok(&written));
            state.apply(number, &record);
        }
    }
    let image = state.encode().expect("a state can be saved");
    let again = State::decode(&image).expect("what was saved can be read");
    assert_eq!(again.encode().as_ref(), Ok(&image));
    for record in state.checkpoint() {
        record.encode().expect("a checkpoint can be written");
    }
});
