//! Any bytes at both gates, and a real object with bytes replaced at the outer one: no panic, and what passes the outer one
//! has the size of a bucket.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use runepeer::base::rng::SeededRng;
use runepeer::base::{Onion, OnionSeed, Timestamp};
use runepeer::pgp::gate::{inner, outer};
use runepeer::pgp::{generate, seal};

const NOW: Timestamp = Timestamp::from_secs(1_795_220_400);

fn object() -> &'static [u8] {
    static OBJECT: OnceLock<Vec<u8>> = OnceLock::new();
    OBJECT.get_or_init(|| {
        let keys = |seed: u8| {
            let onion = Onion::of_seed(&OnionSeed::from_bytes([seed; 32]));
            generate(NOW, onion, &mut SeededRng::new(u64::from(seed))).expect("random numbers").keys
        };
        seal(b"hello", &keys(1), keys(2).certificate(), NOW).expect("an object")
    })
}

fuzz_target!(|input: (bool, u16, &[u8])| {
    let (real, at, data) = input;
    if real {
        let mut altered = object().to_vec();
        let at = usize::from(at) % altered.len();
        altered.iter_mut().skip(at).zip(data).for_each(|(to, from)| *to = *from);
        let _ = (outer(&altered), inner(&altered));
        return;
    }
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
