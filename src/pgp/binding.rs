//! The statements that bind an onion to a certificate, and that revoke the binding (docs/protocol.md, "Binding
//! statement").

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};

use crate::base::ids::Fingerprint;
use crate::base::limits::SIGNATURE_BYTES;
use crate::base::{Onion, OnionSeed, Timestamp};
use crate::mail::{Binding, Revocation};

use super::certificate::{Certificate, CertificateError};
use super::open::verify_detached;
use super::packet::{split, tag};
use super::secret::{SecretKeys, SecretKeysError};
use super::signature::Signature;

/// States with both keys that the onion and the certificate are one identity.
///
/// # Errors
/// [`SecretKeysError::Generate`] where there are no random numbers.
pub fn sign_binding(seed: &OnionSeed, keys: &SecretKeys, epoch: u32) -> Result<Binding, SecretKeysError> {
    let onion_key = SigningKey::from_bytes(seed.expose());
    let statement = Binding::statement(Onion::of_seed(seed), &keys.certificate().fingerprint(), epoch);
    Ok(Binding {
        epoch,
        onion_signature: onion_key.sign(statement.as_bytes()).to_bytes().to_vec(),
        key_signature: keys.sign_statement(statement.as_bytes())?,
    })
}

/// Whether both signatures of a binding hold for this onion and this certificate.
pub fn verify_binding(onion: Onion, certificate: &Certificate, binding: &Binding) -> bool {
    let statement = Binding::statement(onion, &certificate.fingerprint(), binding.epoch);
    let Ok(onion_key) = VerifyingKey::from_bytes(onion.public_key()) else { return false };
    let Ok(signature) = ed25519_dalek::Signature::from_slice(&binding.onion_signature) else { return false };
    onion_key.verify_strict(statement.as_bytes(), &signature).is_ok()
        && verify_statement(statement.as_bytes(), &binding.key_signature, certificate)
}

/// The text that the primary key signs to revoke an onion. The onion key never signs it: it signs nothing but
/// bindings.
pub(super) fn revocation_statement(onion: Onion) -> String {
    format!("RUNE/1 revocation\nonion: {onion}\n")
}

/// Whether this is the certificate's revocation of the onion.
pub fn verify_onion_revocation(onion: Onion, certificate: &Certificate, revocation: &[u8]) -> bool {
    verify_statement(revocation_statement(onion).as_bytes(), revocation, certificate)
}

/// Whether this is the certificate's own revocation: an OpenPGP key revocation signature by its primary key.
pub fn verify_key_revocation(certificate: &Certificate, revocation: &[u8]) -> bool {
    let is_signature = revocation.len() <= SIGNATURE_BYTES
        && split(revocation).is_ok_and(|(packet, rest)| packet.tag == tag::SIGNATURE && rest.is_empty());
    let Ok((primary, rest)) = split(certificate.bytes()) else { return false };
    // What is read of a certificate with this signature decides: the same code refuses it wherever it comes from.
    let with = [primary.raw, revocation, rest].concat();
    is_signature && Certificate::from_bytes(&with).is_err_and(|error| error == CertificateError::Revoked)
}

/// Whether everything that a revocation says is true: its certificate is of the profile and bound to its onion, and each
/// statement in it was made by the primary key.
pub fn verify_revocation(revocation: &Revocation) -> bool {
    let Revocation { onion, certificate, binding, onion_revocation, key_revocation } = revocation;
    Certificate::from_bytes(certificate).is_ok_and(|certificate| {
        verify_binding(*onion, &certificate, binding)
            && onion_revocation.as_ref().is_none_or(|it| verify_onion_revocation(*onion, &certificate, it))
            && key_revocation.as_ref().is_none_or(|it| verify_key_revocation(&certificate, it))
            && (onion_revocation.is_some() || key_revocation.is_some())
    })
}

/// The primary key of a certificate of the profile.
pub fn fingerprint_of(certificate: &[u8]) -> Option<Fingerprint> {
    Certificate::from_bytes(certificate).ok().map(|certificate| certificate.fingerprint())
}

/// Whether this certificate made a signature over a text that is not a message.
///
/// A statement is for everybody: its signature has no intended recipient, so that no message can pass for one. Its date
/// is the key's own and has no meaning, so no clock is needed.
pub fn verify_statement(statement: &[u8], signature: &[u8], certificate: &Certificate) -> bool {
    Signature::parse(signature).is_ok_and(|signature| {
        signature.has_no_recipient() && signature.verify(statement, &certificate.verifier()).is_ok()
    })
}

/// What somebody says of themselves, in a card or in a grant.
#[derive(Clone, Copy)]
pub struct Claim<'a> {
    /// The onion of their address.
    pub onion: Onion,
    /// Their certificate.
    pub certificate: &'a [u8],
    /// Binds the onion to the certificate.
    pub binding: &'a Binding,
}

/// Whether everything in a claim is true: its certificate is of the profile and has this fingerprint, the signature over
/// the content that carried the claim was made by that key for `recipient`, and both signatures of the binding are valid
/// for the onion.
pub fn verify_claim(
    claim: Claim<'_>,
    fingerprint: &Fingerprint,
    content: &[u8],
    signature: &[u8],
    recipient: &Fingerprint,
    now: Timestamp,
) -> bool {
    Certificate::from_bytes(claim.certificate).is_ok_and(|certificate| {
        certificate.fingerprint() == *fingerprint
            && verify_detached(content, signature, &certificate, recipient, now)
            && verify_binding(claim.onion, &certificate, claim.binding)
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW, alice, bob, carol};
    use super::super::{open, seal};
    use super::*;
    use crate::base::MacKey;
    use crate::mail::{Address, Card, LocalPart};

    fn binding() -> Binding {
        sign_binding(&alice().onion_seed, alice().keys(), 1).unwrap()
    }

    #[test]
    fn a_binding_holds_for_its_onion_certificate_and_epoch_only() {
        let onion = Onion::of_seed(&alice().onion_seed);
        let good = binding();
        assert!(verify_binding(onion, alice().certificate(), &good));
        assert!(!verify_binding(Onion::of_seed(&bob().onion_seed), alice().certificate(), &good));
        assert!(!verify_binding(onion, bob().certificate(), &good));
        let other = sign_binding(&bob().onion_seed, alice().keys(), 1).unwrap();
        for bad in [
            Binding { epoch: 2, ..good.clone() },
            Binding { onion_signature: vec![], ..good.clone() },
            Binding { onion_signature: vec![0; 64], ..good.clone() },
            Binding { key_signature: vec![], ..good.clone() },
            Binding { onion_signature: other.onion_signature, ..good.clone() },
            Binding { key_signature: other.key_signature, ..good.clone() },
        ] {
            assert!(!verify_binding(onion, alice().certificate(), &bad), "{bad:?}");
        }
    }

    #[test]
    fn an_onion_that_every_signature_fits_is_refused() {
        // The identity point: under a lax verifier R = identity, s = 0 verifies for every text.
        let mut identity = [0; 32];
        identity[0] = 1;
        let onion = Onion::from_public_key(identity);
        let statement = Binding::statement(onion, &alice().fingerprint(), 1);
        let lax = Binding {
            epoch: 1,
            onion_signature: [&identity[..], &[0; 32]].concat(),
            key_signature: alice().keys().sign_statement(statement.as_bytes()).unwrap(),
        };
        assert!(!verify_binding(onion, alice().certificate(), &lax));
    }

    #[test]
    fn a_message_is_no_statement_and_a_statement_no_message() {
        let statement = Binding::statement(Onion::of_seed(&alice().onion_seed), &alice().fingerprint(), 1);
        let object = seal(statement.as_bytes(), alice().keys(), bob().certificate(), NOW).unwrap();
        let opened = open(&object, bob().keys(), &alice().known(), NOW).unwrap();
        let bad = Binding { key_signature: opened.signature, ..binding() };
        assert!(!verify_binding(Onion::of_seed(&alice().onion_seed), alice().certificate(), &bad));
        let taken = binding().key_signature;
        assert!(!verify_detached(statement.as_bytes(), &taken, alice().certificate(), &bob().fingerprint(), NOW));
    }

    #[test]
    fn the_onion_revocation_is_for_its_onion_and_by_its_certificate() {
        let revocation = &alice().made.onion_revocation;
        let onion = Onion::of_seed(&alice().onion_seed);
        assert!(verify_onion_revocation(onion, alice().certificate(), revocation));
        assert!(!verify_onion_revocation(onion, bob().certificate(), revocation));
        assert!(!verify_onion_revocation(Onion::of_seed(&bob().onion_seed), alice().certificate(), revocation));
        assert!(!verify_onion_revocation(onion, alice().certificate(), &binding().key_signature));
    }

    /// What alice revokes.
    fn revocation() -> Revocation {
        Revocation {
            onion: Onion::of_seed(&alice().onion_seed),
            certificate: alice().certificate().bytes().to_vec(),
            binding: binding(),
            onion_revocation: Some(alice().made.onion_revocation.clone()),
            key_revocation: Some(alice().made.key_revocation.clone()),
        }
    }

    #[test]
    fn a_revocation_is_true_for_its_own_onion_and_key_and_each_statement_alone() {
        let good = revocation();
        assert!(verify_revocation(&good));
        assert!(verify_revocation(&Revocation { onion_revocation: None, ..good.clone() }));
        assert!(verify_revocation(&Revocation { key_revocation: None, ..good.clone() }));
        assert!(!verify_revocation(&Revocation { onion_revocation: None, key_revocation: None, ..good }));
    }

    #[test]
    fn a_revocation_that_another_key_signed_is_none() {
        for forged in [
            Revocation { onion_revocation: Some(bob().made.onion_revocation.clone()), ..revocation() },
            Revocation { key_revocation: Some(bob().made.key_revocation.clone()), ..revocation() },
            // Bob's certificate in it, with everything that bob can sign for alice's onion.
            Revocation {
                certificate: bob().certificate().bytes().to_vec(),
                binding: sign_binding(&bob().onion_seed, bob().keys(), 1).unwrap(),
                onion_revocation: Some(
                    bob()
                        .keys()
                        .sign_statement(revocation_statement(Onion::of_seed(&alice().onion_seed)).as_bytes())
                        .unwrap(),
                ),
                key_revocation: Some(bob().made.key_revocation.clone()),
                ..revocation()
            },
        ] {
            assert!(!verify_revocation(&forged));
        }
    }

    #[test]
    fn a_revocation_of_another_onion_is_none() {
        let of_bob = Onion::of_seed(&bob().onion_seed);
        let statement = alice().keys().sign_statement(revocation_statement(of_bob).as_bytes()).unwrap();
        assert!(!verify_revocation(&Revocation { onion_revocation: Some(statement.clone()), ..revocation() }));
        assert!(!verify_revocation(&Revocation { onion: of_bob, onion_revocation: Some(statement), ..revocation() }));
        assert!(!verify_revocation(&Revocation { onion: of_bob, onion_revocation: None, ..revocation() }));
    }

    #[test]
    fn a_signature_of_something_else_revokes_nothing() {
        let sign = |text: &[u8]| alice().keys().sign_statement(text).unwrap();
        let statement = revocation_statement(Onion::of_seed(&alice().onion_seed));
        let object = seal(statement.as_bytes(), alice().keys(), bob().certificate(), NOW).unwrap();
        let message = open(&object, bob().keys(), &alice().known(), NOW).unwrap().signature;
        for other in
            [binding().key_signature, sign(b"RUNE/1 revocation\n"), message, alice().made.key_revocation.clone()]
        {
            assert!(!verify_revocation(&Revocation { onion_revocation: Some(other), ..revocation() }));
        }
        // A packet of the certificate, such as the binding of a subkey, is no revocation either; nor are two packets.
        let (_, rest) = split(alice().certificate().bytes()).unwrap();
        let (direct_key, _) = split(rest).unwrap();
        let twice = alice().made.key_revocation.repeat(2);
        for other in [direct_key.raw.to_vec(), alice().made.onion_revocation.clone(), sign(b"key"), twice, Vec::new()] {
            assert!(!verify_revocation(&Revocation { key_revocation: Some(other), ..revocation() }));
        }
        for at in 0..alice().made.key_revocation.len() {
            let mut flipped = alice().made.key_revocation.clone();
            flipped[at] ^= 1;
            let flipped = Revocation { onion_revocation: None, key_revocation: Some(flipped), ..revocation() };
            assert!(!verify_revocation(&flipped), "octet {at}");
        }
    }

    #[test]
    fn a_card_holds_only_as_a_whole() {
        let card = Card {
            counter: 1,
            address: Address::new(LocalPart::new("alice").unwrap(), Onion::of_seed(&alice().onion_seed)),
            certificate: alice().certificate().bytes().to_vec(),
            binding: binding(),
            auth_key: MacKey::from_bytes([0; 32]),
            invitation: None,
            boxes: Vec::new(),
            receipts: true,
        };
        let content = b"the card";
        let object = seal(content, alice().keys(), bob().certificate(), NOW).unwrap();
        let signature = open(&object, bob().keys(), &|_| None, NOW).unwrap().signature;
        let holds = |card: &Card, who: &super::super::testing::Persona, content: &[u8], to: &Fingerprint| {
            let claim = Claim { onion: card.address.onion(), certificate: &card.certificate, binding: &card.binding };
            verify_claim(claim, &who.fingerprint(), content, &signature, to, NOW)
        };
        let bob_is = bob().fingerprint();
        assert!(holds(&card, alice(), content, &bob_is));
        assert!(!holds(&card, carol(), content, &bob_is));
        assert!(!holds(&card, alice(), b"other", &bob_is));
        assert!(!holds(&card, alice(), content, &carol().fingerprint()));
        let other_onion = Address::new(LocalPart::new("alice").unwrap(), Onion::of_seed(&carol().onion_seed));
        assert!(!holds(&Card { address: other_onion, ..card.clone() }, alice(), content, &bob_is));
        let certificate = carol().certificate().bytes().to_vec();
        assert!(!holds(&Card { certificate, ..card }, alice(), content, &bob_is));
    }
}
