//! Records of a carrier: any bytes are read or refused; any that are read can be folded, no quota is exceeded, and a
//! checkpoint leads to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runepeer::engine::carrier::{Held, HeldRecord};

/// The next record: a length of two bytes, and as many bytes as there are of it.
fn next<'a>(data: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = data.split_first_chunk()?;
    let (record, rest) = rest.split_at(usize::from(u16::from_be_bytes(*length)).min(rest.len()));
    *data = rest;
    Some(record)
}

fuzz_target!(|data: &[u8]| {
    let (mut held, mut data) = (Held::default(), data);
    for (number, bytes) in (1..).zip(std::iter::from_fn(|| next(&mut data))) {
        if let Ok(Some(record)) = HeldRecord::decode(bytes) {
            let written = record.encode().expect("what was read can be written");
            let again = HeldRecord::decode(&written).expect("what was written can be read");
            assert_eq!(again.expect("a kind that is known").encode().as_ref(), Ok(&written));
            // What only checkpoints hold is taken as it is.
            if record.kind() < 64 {
                held.apply(number, &record);
            }
        }
    }
    for mailbox in held.mailboxes().values() {
        assert!(mailbox.stored() + mailbox.outstanding() <= mailbox.terms().quota);
    }
    let mut again = Held::default();
    for (number, record) in (1..).zip(held.checkpoint()) {
        again.apply(number, &record);
    }
    assert_eq!(again.checkpoint(), held.checkpoint());
});
