//! Any bytes at both gates: no panic, and what passes the outer one has the size of a bucket.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runepeer::pgp::gate::{inner, outer};

fuzz_target!(|data: &[u8]| {
    let _ = inner(data);
    // The size is the first rule: without a bucket's size no input would get further.
    let bucket = if data.len() <= 4096 { 4096 } else { 16_384 };
    let mut object = data.to_vec();
    object.resize(bucket, 0);
    let _ = outer(&object);
    if outer(data).is_ok() {
        assert!(data.len() % 4096 == 0);
    }
});
