//! A stand-in for OpenPGP that only tags: which key sealed an object, for whom, and whose signature it is.

use crate::base::SealKeyId;
use crate::base::ids::Fingerprint;
use crate::engine::io::{Authorship, BoxWork, Refusal, Sizes};
use crate::engine::tests::harness::{CERTIFICATE, certificate};
use crate::mail::{Binding, Revocation};
use crate::wire::digest;
use crate::wire::token::Class;

const SEALED: &[u8] = b"SEALED";

/// The encryption key of an identity from its beginning, which no test destroys.
const FIRST: SealKeyId = SealKeyId::from_bytes([0; 16]);

/// Seals to a fingerprint, or to a fingerprint and the id of an encryption key.
pub(in crate::engine) fn seal(author: &Fingerprint, to: &[u8], content: &[u8], sizes: Sizes) -> Vec<u8> {
    let length = (content.len() as u32).to_le_bytes();
    let (to, key) = to.split_at(32);
    let key = if key.is_empty() { FIRST.as_bytes() } else { key };
    let mut object = [SEALED, to, key, author.as_bytes(), &length, content].concat();
    if sizes == Sizes::Box {
        object.resize(Class::that_holds(object.len() as u64).unwrap().bytes() as usize, 0);
    }
    object
}

/// The author and the content of an object that was sealed to the first key.
pub(in crate::engine) fn open(own: &Fingerprint, object: &[u8]) -> Result<(Fingerprint, Vec<u8>), Refusal> {
    open_with(own, &[], object)
}

/// The author and the content of an object that was sealed to the first key, or to one of these.
pub(in crate::engine) fn open_with(
    own: &Fingerprint,
    held: &[SealKeyId],
    object: &[u8],
) -> Result<(Fingerprint, Vec<u8>), Refusal> {
    let rest = object.strip_prefix(SEALED).and_then(|rest| rest.strip_prefix(own.as_bytes().as_slice()));
    let (key, rest) = rest.and_then(|rest| rest.split_first_chunk::<16>()).ok_or(Refusal::Permanent)?;
    let key = SealKeyId::from_bytes(*key);
    if key != FIRST && !held.contains(&key) {
        return Err(Refusal::Permanent);
    }
    let (issuer, rest) = rest.split_first_chunk::<32>().ok_or(Refusal::Permanent)?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or(Refusal::Permanent)?;
    let content = rest.get(..u32::from_le_bytes(*length) as usize).ok_or(Refusal::Permanent)?;
    Ok((Fingerprint::from_bytes(*issuer), content.to_vec()))
}

pub(in crate::engine) fn is_object(bytes: &[u8]) -> bool {
    bytes.starts_with(SEALED)
}

pub(in crate::engine) fn fingerprint_of(certificate: &[u8]) -> Result<Fingerprint, Refusal> {
    let rest = certificate.strip_prefix(CERTIFICATE).ok_or(Refusal::Permanent)?;
    match rest.split_first_chunk() {
        Some((bytes, key)) if matches!(key.len(), 0 | 16) => Ok(Fingerprint::from_bytes(*bytes)),
        _ => Err(Refusal::Permanent),
    }
}

/// The signature of an author over a content for one recipient.
pub(in crate::engine) fn signature(by: &Fingerprint, to: &Fingerprint, content: &[u8]) -> Vec<u8> {
    digest(&[by.as_bytes(), to.as_bytes(), content].concat()).to_vec()
}

/// The statement of both keys of an identity, which are the same number.
pub(in crate::engine) fn binding(of: &Fingerprint) -> Binding {
    let number = of.as_bytes()[0];
    Binding { epoch: 1, onion_signature: vec![number; 64], key_signature: vec![number; 80] }
}

/// Whether a claim holds as a whole.
pub(in crate::engine) fn verify_card(own: &Fingerprint, evidence: &Authorship) -> bool {
    let Authorship { onion, certificate: bytes, binding: statement, fingerprint, content, signature: made, .. } =
        evidence;
    let Authorship { recipient, revocation, .. } = evidence;
    revocation.as_ref().is_none_or(|revocation| revokes(fingerprint, revocation))
        && fingerprint_of(bytes) == Ok(*fingerprint)
        && onion.public_key() == fingerprint.as_bytes()
        && *statement == binding(fingerprint)
        && *made == signature(fingerprint, recipient.as_ref().unwrap_or(own), content)
}

pub(in crate::engine) fn sign(by: &Fingerprint, text: &str) -> Vec<u8> {
    digest(&[by.as_bytes(), text.as_bytes()].concat()).to_vec()
}

/// Whether somebody revokes what is theirs.
pub(in crate::engine) fn revokes(by: &Fingerprint, revocation: &Revocation) -> bool {
    let Revocation { onion, certificate: of, onion_revocation, key_revocation, .. } = revocation;
    let is = |statement: &Option<Vec<u8>>, text: &str| statement.as_ref().is_none_or(|it| *it == sign(by, text));
    fingerprint_of(of) == Ok(*by)
        && onion.public_key() == by.as_bytes()
        && is(onion_revocation, &format!("revocation of {onion}"))
        && is(key_revocation, "revocation of the key")
}

/// Opens an object that this author must have sealed.
pub(in crate::engine) fn open_from(own: &Fingerprint, object: &[u8], by: &[u8]) -> Result<Vec<u8>, Refusal> {
    let (issuer, content) = open(own, object)?;
    if fingerprint_of(by) == Ok(issuer) { Ok(content) } else { Err(Refusal::Permanent) }
}

/// Does the work of the keys of a box, which are its fingerprint.
pub(in crate::engine) fn work_for_box(keys: &[u8], work: BoxWork) -> Result<Vec<u8>, Refusal> {
    let own = Fingerprint::from_bytes(keys.try_into().unwrap());
    match work {
        BoxWork::OpenChallenge(object, carrier, fingerprint) if *carrier == *certificate(&fingerprint) => {
            open_from(&own, &object, &carrier)
        }
        BoxWork::OpenChallenge(..) => Err(Refusal::Permanent),
        BoxWork::Seal(content, to) => Ok(seal(&own, &to[CERTIFICATE.len()..], &content, Sizes::Box)),
        BoxWork::Sign(text) => Ok(sign(&own, &text)),
    }
}
