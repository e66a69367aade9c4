//! Hostile clients against a carrier: output is bounded, every command is answered or its session ends, no quota is
//! exceeded, and a replay of the log finds the same.
#![no_main]

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use runepeer::base::ids::Fingerprint;
use runepeer::base::rng::SeededRng;
use runepeer::base::limits::OUTPUT_WAITING;
use runepeer::base::{BodyId, Onion, OnionSeed, SessionId, Timestamp};
use runepeer::engine::carrier::{
    Carrier, CarrierEffect, CarrierInput, CarrierLimits, Held, HeldRecord, HeldTransaction, Terms,
};
use runepeer::engine::{Profile, PublicProfile, SecretBytes};
use runepeer::mail::Binding;
use runepeer::wire::token::{epoch, hash_of};

const SESSIONS: u8 = 3;

fn now() -> Timestamp {
    Timestamp::from_secs(1_800_000_000)
}

fn profile() -> Profile {
    let onion = Onion::from_public_key([9; 32]);
    Profile {
        public: Arc::new(PublicProfile {
            name: "box".to_owned(),
            address: format!("box@{onion}").parse().expect("an address"),
            fingerprint: Fingerprint::from_bytes([9; 32]),
            certificate: Arc::from(&b"certificate"[..]),
            binding: Binding { epoch: 1, onion_signature: vec![1; 64], key_signature: vec![2; 80] },
            created: now(),
        }),
        onion_seed: OnionSeed::from_bytes([9; 32]),
        secret_keys: SecretBytes::new(vec![3]),
        certificate_revocation: vec![4],
        onion_revocation: vec![5],
    }
}

/// A carrier with the mailbox `0101…`, whose tokens of today are `00…` to `07…`.
fn log() -> Vec<HeldRecord> {
    let mailbox = Fingerprint::from_bytes([1; 32]);
    let terms = Terms { quota: 1 << 16, hold_days: 3 };
    let mut tokens: Vec<_> = (0..8).map(|number| hash_of(&[number; 32])).collect();
    tokens.sort_unstable();
    vec![
        HeldRecord::CarrierCreated { profile: Box::new(profile()) },
        HeldRecord::DayBegan { day: epoch(now()) },
        HeldRecord::LimitsSet { limits: CarrierLimits { space: 1 << 17, usual: terms, free: true } },
        HeldRecord::Registered { mailbox, certificate: Arc::from(&[1][..]), invitation: None, terms },
        HeldRecord::TokensUploaded { mailbox, epoch: epoch(now()), class: 12, tokens },
    ]
}

fn replay(log: &[HeldRecord]) -> Held {
    let mut held = Held::default();
    for (number, record) in (1..).zip(log) {
        held.apply(number, record);
    }
    held
}

fuzz_target!(|pieces: Vec<(u8, &[u8])>| {
    let mut log = log();
    let mut carrier = Carrier::new(replay(&log), now()).expect("a carrier");
    let mut rng = SeededRng::new(1);
    let mut bodies: BTreeMap<BodyId, Arc<[u8]>> = BTreeMap::new();
    let mut sent = [0_usize; SESSIONS as usize];
    let accepted = (0..SESSIONS).map(|session| CarrierInput::Accepted(SessionId(session.into())));
    let received = pieces.iter().map(|(session, bytes)| {
        CarrierInput::Received(SessionId(u64::from(session % SESSIONS)), bytes.to_vec())
    });
    for input in accepted.chain(received) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for effect in carrier.handle(now(), &mut rng, input) {
                inputs.extend(match effect {
                    CarrierEffect::Commit(op, HeldTransaction { records, bodies: new }) => {
                        let first = log.len() as u64 + 1;
                        log.extend(records.iter().cloned());
                        bodies.extend(new.into_iter().map(|body| (body.id, body.bytes)));
                        Some(CarrierInput::Committed(op, Ok(first)))
                    }
                    CarrierEffect::ReadCertificate(op, bytes) => {
                        let key = Fingerprint::from_bytes([bytes.first().copied().unwrap_or(0); 32]);
                        Some(CarrierInput::CertificateRead(op, Ok(key)))
                    }
                    CarrierEffect::Seal(op, _, _) => Some(CarrierInput::Sealed(op, Ok(vec![0; 4096]))),
                    CarrierEffect::Open(op, object, _) => Some(CarrierInput::Opened(op, Ok(object))),
                    CarrierEffect::Verify(op, detached) => {
                        Some(CarrierInput::Verified(op, detached.signature.first() == Some(&b'1')))
                    }
                    CarrierEffect::Examine(op, object) => Some(CarrierInput::Examined(op, Some(object))),
                    CarrierEffect::ReadBody(op, body, range) => {
                        let bytes = bodies.get(&body).expect("a body that is held");
                        let part = bytes.get(range.start as usize..range.end as usize).expect("within it");
                        Some(CarrierInput::BodyRead(op, Some(part.to_vec())))
                    }
                    CarrierEffect::Forget(forgotten) => {
                        forgotten.iter().for_each(|body| drop(bodies.remove(body)));
                        None
                    }
                    CarrierEffect::Transmit(session, bytes) => {
                        sent[session.0 as usize] += bytes.len();
                        None
                    }
                    CarrierEffect::Close(_) | CarrierEffect::Respond(..) | CarrierEffect::Publish(_) => None,
                });
            }
        }
    }
    // Nobody takes anything, so that no session goes on for ever.
    assert!(sent.iter().all(|sent| *sent <= OUTPUT_WAITING + (1 << 20)));
    assert_eq!(replay(&log).checkpoint(), carrier.held().checkpoint());
    for mailbox in carrier.held().mailboxes().values() {
        assert!(mailbox.stored() + mailbox.outstanding() <= mailbox.terms().quota);
    }
    assert!(carrier.held().bodies().all(|body| bodies.contains_key(&body)));
});
