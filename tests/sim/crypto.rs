//! The stand-in for OpenPGP: keeps the types and what they promise to whom (only the recipient opens, changes show, the
//! author is told), and costs nothing.

use runepeer::base::ids::Fingerprint;
use runepeer::base::rng::SeededRng;
use runepeer::base::{Onion, OnionSeed, Rng, SealKeyId, Timestamp};
use runepeer::engine::io::{Authorship, BoxWork, Opened, Refusal, Sizes};
use runepeer::engine::{Profile, PublicProfile, SecretBytes, Snapshot};
use runepeer::mail::{Address, Binding, LocalPart};
use runepeer::wire::digest;
use runepeer::wire::token::Class;

const CERTIFICATE: &[u8] = b"CERT";
const SEALED: &[u8] = b"SEALED";
const NONCE: usize = 8;

/// The key of a persona: its onion and its fingerprint are made of it.
pub(crate) fn key(number: usize) -> [u8; 32] {
    digest(format!("persona {number}").as_bytes())
}

pub(crate) fn certificate(fingerprint: &Fingerprint) -> Vec<u8> {
    [CERTIFICATE, fingerprint.as_bytes()].concat()
}

/// A certificate with this encryption key in the place of the first one.
pub(crate) fn renewed(fingerprint: &Fingerprint, key: SealKeyId) -> Vec<u8> {
    [certificate(fingerprint).as_slice(), key.as_bytes()].concat()
}

pub(crate) fn profile(name: &str, number: usize, now: Timestamp) -> Profile {
    let key = key(number);
    let fingerprint = Fingerprint::from_bytes(key);
    Profile {
        public: std::sync::Arc::new(PublicProfile {
            name: name.to_owned(),
            address: Address::new(LocalPart::new(name).unwrap(), Onion::from_public_key(key)),
            fingerprint,
            certificate: certificate(&fingerprint).into(),
            binding: binding(&fingerprint),
            created: now,
        }),
        onion_seed: OnionSeed::from_bytes(key),
        secret_keys: SecretBytes::new(vec![3; 32]),
        certificate_revocation: vec![4],
        onion_revocation: vec![5],
    }
}

/// What only the recipient can take off again.
fn mask(to: &[u8], nonce: &[u8], bytes: &mut [u8]) {
    let seed = digest(&[to, nonce].concat());
    let mut stream = vec![0; bytes.len()];
    SeededRng::new(u64::from_le_bytes(seed[..8].try_into().unwrap())).fill(&mut stream);
    bytes.iter_mut().zip(stream).for_each(|(byte, mask)| *byte ^= mask);
}

pub(crate) fn seal(
    author: &Fingerprint,
    to: &[u8],
    content: &[u8],
    sizes: Sizes,
    rng: &mut dyn Rng,
) -> Result<Vec<u8>, Refusal> {
    let to = to.strip_prefix(CERTIFICATE).ok_or(Refusal::Permanent)?;
    let nonce: [u8; NONCE] = rng.array();
    let mut inside = [author.as_bytes().as_slice(), &digest(content), content].concat();
    mask(to, &nonce, &mut inside);
    let length = (inside.len() as u32).to_le_bytes();
    let mut object = [SEALED, &nonce, &length, &inside].concat();
    if sizes == Sizes::Box {
        let class = Class::that_holds(object.len() as u64).ok_or(Refusal::Permanent)?;
        object.resize(class.bytes() as usize, 0);
    }
    Ok(object)
}

/// Opens what was sealed to this fingerprint, and to its first encryption key or one of those that are held.
fn unseal(own: &Fingerprint, held: &[SealKeyId], object: &[u8]) -> Result<(Fingerprint, Vec<u8>), Refusal> {
    let first = unseal_with(own.as_bytes(), object);
    let newer = held.iter().map(|key| unseal_with(&[own.as_bytes().as_slice(), key.as_bytes()].concat(), object));
    std::iter::once(first).chain(newer).find(Result::is_ok).unwrap_or(Err(Refusal::Permanent))
}

fn unseal_with(key: &[u8], object: &[u8]) -> Result<(Fingerprint, Vec<u8>), Refusal> {
    let rest = object.strip_prefix(SEALED).ok_or(Refusal::Permanent)?;
    let (nonce, rest) = rest.split_at_checked(NONCE).ok_or(Refusal::Permanent)?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or(Refusal::Permanent)?;
    let inside = rest.get(..u32::from_le_bytes(*length) as usize).ok_or(Refusal::Permanent)?;
    let mut inside = inside.to_vec();
    mask(key, nonce, &mut inside);
    let (issuer, rest) = inside.split_first_chunk::<32>().ok_or(Refusal::Permanent)?;
    let (hash, content) = rest.split_first_chunk::<32>().ok_or(Refusal::Permanent)?;
    if digest(content) != *hash {
        return Err(Refusal::Permanent);
    }
    Ok((Fingerprint::from_bytes(*issuer), content.to_vec()))
}

pub(crate) fn open(own: &Fingerprint, held: &[SealKeyId], object: &[u8], book: &Snapshot) -> Result<Opened, Refusal> {
    let (issuer, content) = unseal(own, held, object)?;
    let verified = book.book.by_fingerprint(&issuer).is_some_and(|contact| contact.certificate.is_some());
    let signature = signature(&issuer, own, &content);
    Ok(Opened { content, signature, issuer, verified })
}

/// What the owner of this certificate must have sealed.
pub(crate) fn open_from(own: &Fingerprint, object: &[u8], by: &[u8]) -> Result<Vec<u8>, Refusal> {
    let (issuer, content) = unseal(own, &[], object)?;
    if fingerprint_of(by) == Ok(issuer) { Ok(content) } else { Err(Refusal::Permanent) }
}

pub(crate) fn is_object(bytes: &[u8]) -> bool {
    bytes.starts_with(SEALED)
}

pub(crate) fn fingerprint_of(certificate: &[u8]) -> Result<Fingerprint, Refusal> {
    let rest = certificate.strip_prefix(CERTIFICATE).ok_or(Refusal::Permanent)?;
    match rest.split_first_chunk() {
        Some((bytes, key)) if matches!(key.len(), 0 | 16) => Ok(Fingerprint::from_bytes(*bytes)),
        _ => Err(Refusal::Permanent),
    }
}

pub(crate) fn sign(by: &Fingerprint, text: &str) -> Vec<u8> {
    digest(&[by.as_bytes(), text.as_bytes()].concat()).to_vec()
}

/// The keys of a box are its fingerprint.
pub(crate) fn work_for_box(keys: &[u8], work: BoxWork, rng: &mut dyn Rng) -> Result<Vec<u8>, Refusal> {
    let own = Fingerprint::from_bytes(keys.try_into().unwrap());
    match work {
        BoxWork::OpenChallenge(object, carrier, fingerprint) if *carrier == *certificate(&fingerprint) => {
            open_from(&own, &object, &carrier)
        }
        BoxWork::OpenChallenge(..) => Err(Refusal::Permanent),
        BoxWork::Seal(content, to) => seal(&own, &to, &content, Sizes::All, rng),
        BoxWork::Sign(text) => Ok(sign(&own, &text)),
    }
}

/// The signature of an author over a content, for one recipient.
pub(crate) fn signature(by: &Fingerprint, to: &Fingerprint, content: &[u8]) -> Vec<u8> {
    digest(&[by.as_bytes(), to.as_bytes(), content].concat()).to_vec()
}

/// The statement of both keys of an identity, which are one here.
pub(crate) fn binding(of: &Fingerprint) -> Binding {
    Binding { epoch: 1, onion_signature: sign(of, "onion"), key_signature: sign(of, "key") }
}

pub(crate) fn verify_card(own: &Fingerprint, evidence: &Authorship) -> bool {
    let recipient = evidence.recipient.as_ref().unwrap_or(own);
    fingerprint_of(&evidence.certificate) == Ok(evidence.fingerprint)
        && evidence.onion.public_key() == evidence.fingerprint.as_bytes()
        && evidence.binding == binding(&evidence.fingerprint)
        && evidence.signature == signature(&evidence.fingerprint, recipient, &evidence.content)
}
