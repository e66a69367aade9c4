//! What the tests share: alice, bob and carol, and a way to seal packets that no correct program seals.

use std::sync::OnceLock;

use crate::base::ids::Fingerprint;
use crate::base::rng::SeededRng;
use crate::base::{Onion, OnionSeed, Timestamp};

use super::Certificate;
use super::bucket::{bucket_for, plaintext_bytes};
use super::packet::{HEADER_BYTES, header, tag};
use super::secret::{Generated, SecretKeys, generate};
use super::seipd::encrypt;

/// 2026-11-21T00:20:00Z.
pub(super) const NOW: Timestamp = Timestamp::from_secs(1_795_220_400);

/// A persona with its onion.
pub(super) struct Persona {
    pub(super) made: Generated,
    pub(super) onion_seed: OnionSeed,
}

impl Persona {
    fn new(seed: u8) -> Self {
        let onion_seed = OnionSeed::from_bytes([seed; 32]);
        let made = generate(NOW, Onion::of_seed(&onion_seed), &mut SeededRng::new(u64::from(seed))).unwrap();
        Self { made, onion_seed }
    }

    pub(super) fn keys(&self) -> &SecretKeys {
        &self.made.keys
    }

    pub(super) fn certificate(&self) -> &Certificate {
        self.made.keys.certificate()
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        self.certificate().fingerprint()
    }

    /// Finds the certificate of this persona, and no other.
    pub(super) fn known(&self) -> impl Fn(&Fingerprint) -> Option<Certificate> + use<> {
        let certificate = self.certificate().clone();
        move |wanted| (*wanted == certificate.fingerprint()).then(|| certificate.clone())
    }
}

pub(super) fn alice() -> &'static Persona {
    static PERSONA: OnceLock<Persona> = OnceLock::new();
    PERSONA.get_or_init(|| Persona::new(1))
}

pub(super) fn bob() -> &'static Persona {
    static PERSONA: OnceLock<Persona> = OnceLock::new();
    PERSONA.get_or_init(|| Persona::new(2))
}

pub(super) fn carol() -> &'static Persona {
    static PERSONA: OnceLock<Persona> = OnceLock::new();
    PERSONA.get_or_init(|| Persona::new(3))
}

/// Encrypts these packets to a persona, followed by a padding packet that fills the bucket.
pub(super) fn encrypt_packets(packets: &[u8], to: &Persona) -> Vec<u8> {
    let bucket = bucket_for(packets.len() + HEADER_BYTES).unwrap();
    let mut plaintext = packets.to_vec();
    let padding = plaintext_bytes(bucket) - packets.len() - HEADER_BYTES;
    plaintext.extend_from_slice(&header(tag::PADDING, padding).unwrap());
    plaintext.extend(std::iter::repeat_n(0x55, padding));
    encrypt(&plaintext, to.certificate().encryption_key(NOW).unwrap(), bucket).unwrap()
}

/// A packet with a five-octet length.
pub(super) fn packet(tag: u8, body: &[u8]) -> Vec<u8> {
    [&header(tag, body.len()).unwrap()[..], body].concat()
}
