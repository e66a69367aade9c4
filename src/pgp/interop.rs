//! Our objects and the library's: the profile as it is described suffices for another implementation.

use openpgp::KeyHandle;
use openpgp::cert::Cert;
use openpgp::crypto::SessionKey;
use openpgp::packet::{PKESK, SKESK};
use openpgp::parse::Parse;
use openpgp::parse::stream::{DecryptionHelper, DecryptorBuilder, MessageLayer, MessageStructure, VerificationHelper};
use openpgp::policy::StandardPolicy;
use openpgp::serialize::stream::padding::Padder;
use openpgp::serialize::stream::{Encryptor, LiteralWriter, Message, Recipient, Signer};
use openpgp::types::SymmetricAlgorithm;
use sequoia_openpgp as openpgp;
use std::io::{Read, Write};

use super::testing::{NOW, Persona, alice, bob};
use super::{Certificate, open, seal};

fn secret_cert(of: &Persona) -> Cert {
    Cert::from_bytes(&of.keys().to_bytes()).unwrap()
}

struct Bob {
    signatures: usize,
}

impl VerificationHelper for &mut Bob {
    fn get_certs(&mut self, _ids: &[KeyHandle]) -> openpgp::Result<Vec<Cert>> {
        Ok(vec![Cert::from_bytes(alice().certificate().bytes())?])
    }

    fn check(&mut self, structure: MessageStructure<'_>) -> openpgp::Result<()> {
        for layer in structure {
            if let MessageLayer::SignatureGroup { results } = layer {
                for result in results {
                    result.map_err(|error| anyhow::anyhow!("{error}"))?;
                    self.signatures += 1;
                }
            }
        }
        Ok(())
    }
}

impl DecryptionHelper for &mut Bob {
    fn decrypt(
        &mut self,
        pkesks: &[PKESK],
        _skesks: &[SKESK],
        algorithm: Option<SymmetricAlgorithm>,
        decrypt: &mut dyn FnMut(Option<SymmetricAlgorithm>, &SessionKey) -> bool,
    ) -> openpgp::Result<Option<Cert>> {
        let cert = secret_cert(bob());
        for subkey in cert.keys().subkeys() {
            let mut pair = subkey.key().clone().parts_into_secret()?.into_keypair()?;
            for pkesk in pkesks {
                assert!(pkesk.recipient().is_none());
                if pkesk.decrypt(&mut pair, algorithm).is_some_and(|(algorithm, key)| decrypt(algorithm, &key)) {
                    // Once it has the certificate, the library checks the Intended Recipient.
                    return Ok(Some(cert));
                }
            }
        }
        Err(anyhow::anyhow!("no key"))
    }
}

#[test]
fn the_library_reads_and_verifies_what_we_seal() {
    let policy = StandardPolicy::new();
    for length in [0, 10, 5000, 100_000] {
        let content = vec![b'a'; length];
        let object = seal(&content, alice().keys(), bob().certificate(), NOW).unwrap();
        let mut helper = Bob { signatures: 0 };
        let mut read = Vec::new();
        DecryptorBuilder::from_bytes(&object)
            .unwrap()
            .with_policy(&policy, super::certificate::system_time(NOW.secs()), &mut helper)
            .unwrap()
            .read_to_end(&mut read)
            .unwrap();
        assert_eq!((read, helper.signatures), (content, 1));
    }
}

/// An object that the library's own writer makes, of a size at which it uses whole lengths.
fn sealed_by_the_library(content: &[u8], padded: u64) -> Vec<u8> {
    let (author, reader) = (secret_cert(alice()), Cert::from_bytes(bob().certificate().bytes()).unwrap());
    let signing = author.primary_key().key().clone().parts_into_secret().unwrap().into_keypair().unwrap();
    let subkey = reader.keys().subkeys().next().unwrap();
    let recipient = Recipient::new(openpgp::types::Features::sequoia(), None, subkey.key());
    let mut object = Vec::new();
    let message = Message::new(&mut object);
    let message = Encryptor::for_recipients(message, [recipient])
        .symmetric_algo(SymmetricAlgorithm::AES256)
        .aead_algo(openpgp::types::AEADAlgorithm::OCB)
        .build()
        .unwrap();
    let message = Padder::new(message).with_policy(move |_| padded).build().unwrap();
    let message = Signer::new(message, signing)
        .unwrap()
        .creation_time(super::certificate::system_time(NOW.floor_to_day().secs()))
        .add_intended_recipient(&reader)
        .build()
        .unwrap();
    let mut message = LiteralWriter::new(message).build().unwrap();
    message.write_all(content).unwrap();
    message.finalize().unwrap();
    object
}

#[test]
fn we_read_what_the_library_seals_in_the_profile() {
    // 4096 less PKESK (1167), header (6), prefix (36) and two tags.
    let object = sealed_by_the_library(b"from a stranger's program", 4096 - 1167 - 6 - 36 - 32);
    assert_eq!(object.len(), 4096);
    let opened = open(&object, bob().keys(), &alice().known(), NOW).unwrap();
    assert_eq!(opened.content, b"from a stranger's program");
    assert!(opened.verified);
}

#[test]
fn the_library_accepts_our_certificates() {
    let policy = StandardPolicy::new();
    let cert = Cert::from_bytes(alice().certificate().bytes()).unwrap();
    let time = super::certificate::system_time(NOW.secs());
    let valid = cert.with_policy(&policy, time).unwrap();
    assert_eq!(valid.keys().for_storage_encryption().count(), 1);
    assert!(valid.primary_key().for_signing());
    assert_eq!(cert.userids().count(), 0);
    assert!(Certificate::from_bytes(alice().certificate().bytes()).is_ok());
}
