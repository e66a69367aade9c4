//! Opening and verifying what a peer made. Four ways in, chosen by the first byte: a real object with bytes replaced;
//! any signature over any content; any certificate; one of our certificates with bytes replaced. Nothing may panic, and
//! nothing altered may open.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runepeer::base::rng::SeededRng;
use runepeer::base::{Onion, OnionSeed, Timestamp};
use runepeer::pgp::{Certificate, SecretKeys, generate, open, seal, verify_detached};
use std::sync::OnceLock;

const NOW: Timestamp = Timestamp::from_secs(1_795_220_400);

struct World {
    alice: SecretKeys,
    bob: SecretKeys,
    object: Vec<u8>,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let keys = |seed: u8| {
            let onion = Onion::of_seed(&OnionSeed::from_bytes([seed; 32]));
            generate(NOW, onion, &mut SeededRng::new(u64::from(seed))).expect("random numbers").keys
        };
        let (alice, bob) = (keys(1), keys(2));
        let object = seal(b"hello", &alice, bob.certificate(), NOW).expect("an object");
        World { alice, bob, object }
    })
}

/// The first two bytes say where, the rest is written there.
fn altered(original: &[u8], data: &[u8]) -> Vec<u8> {
    let mut bytes = original.to_vec();
    if let [high, low, patch @ ..] = data {
        let at = usize::from(u16::from_be_bytes([*high, *low])) % bytes.len();
        bytes.iter_mut().skip(at).zip(patch).for_each(|(to, from)| *to = *from);
    }
    bytes
}

fuzz_target!(|data: &[u8]| {
    let Some((way, data)) = data.split_first() else { return };
    let World { alice, bob, object } = world();
    match way % 4 {
        0 => {
            let altered = altered(object, data);
            let opened = open(&altered, bob, &|_| Some(alice.certificate().clone()), NOW);
            assert!(opened.is_err() || altered == *object);
        }
        1 => {
            let (signature, content) = data.split_at(data.len().min(200));
            let recipient = bob.certificate().fingerprint();
            assert!(!verify_detached(content, signature, alice.certificate(), &recipient, NOW));
        }
        2 => {
            let _ = Certificate::from_bytes(data);
        }
        _ => {
            if let Ok(read) = Certificate::from_bytes(&altered(alice.certificate().bytes(), data)) {
                assert_eq!(read.fingerprint(), alice.certificate().fingerprint());
            }
        }
    }
});
