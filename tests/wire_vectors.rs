//! The test vectors that docs/protocol.md quotes, made by our code and compared with what is in the repository, so
//! that neither can drift. `UPDATE_VECTORS=1 cargo test --test wire_vectors` writes them anew.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use runepeer::base::ids::Fingerprint;
use runepeer::base::{ContentId, MacKey, Onion, Timestamp, TokenSeed};
use runepeer::mail::introduction::Grant;
use runepeer::mail::page::PageKeys;
use runepeer::mail::{Address, Binding, Content, ContentKind, Invitation, Revocation, VerificationNumber};
use runepeer::wire::token::{Class, hash_of, token};
use runepeer::wire::{Claim, authenticator, digest};
use serde_json::{Value, json};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/rune1.json");
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/protocol.md");

/// Bytes that count up from `first`.
fn counting<const N: usize>(first: u8) -> [u8; N] {
    std::array::from_fn(|index| first.wrapping_add(index as u8))
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// The revocation of the identity that made this grant, as a content with this id and expiry.
fn revocation(onion: Onion, grant: &Grant, content: &Content) -> Value {
    let revocation = Revocation {
        onion,
        certificate: grant.certificate.clone(),
        binding: grant.binding.clone(),
        onion_revocation: Some(b"(the signature of the onion's end)".to_vec()),
        key_revocation: Some(b"(the signature of the key's end)".to_vec()),
    };
    let revoked = Content { kind: ContentKind::Revocation, payload: revocation.payload(), ..content.clone() };
    json!({
        "payload": String::from_utf8(revocation.payload()).unwrap(),
        "content_hash": hex(&digest(&revoked.encode())),
    })
}

fn vectors() -> Value {
    use ed25519_dalek::Signer;

    let seed = ed25519_dalek::SigningKey::from_bytes(&counting(0x00));
    let onion = Onion::from_public_key(seed.verifying_key().to_bytes());
    let fingerprint = Fingerprint::from_bytes(counting(0x20));
    let statement = Binding::statement(onion, &fingerprint, 1);
    let address: Address = format!("alice@{onion}").parse().unwrap();
    let expires = Timestamp::parse_rfc3339("2026-11-28T00:00:00Z").unwrap();
    let invitation =
        Invitation { address, fingerprint, secret: Some(counting(0x40)), expires: Some(expires), carriers: Vec::new() };
    let object = vec![0xAA; 4096];
    let claim = Claim::of(&object);
    let key = MacKey::from_bytes(counting(0x60));
    let content = Content {
        kind: ContentKind::Mail,
        id: ContentId::from_bytes(counting(0x80)),
        expires,
        receipt: None,
        payload: b"Subject: hi\r\n\r\nhello\r\n".to_vec(),
    };
    let token = token(&TokenSeed::from_bytes(counting(0xA0)), 20_783, Class::new(14).unwrap(), 3);
    let page = PageKeys::new(&counting(0x40), onion);
    let other_seed = ed25519_dalek::SigningKey::from_bytes(&counting(0xE0));
    let other = Onion::from_public_key(other_seed.verifying_key().to_bytes());
    let other_fingerprint = Fingerprint::from_bytes(counting(0xA0));
    let number = VerificationNumber::of((other, &other_fingerprint), (onion, &fingerprint));
    let grant = Grant {
        ask: content.id,
        others: None,
        invitations: vec![invitation.encode()],
        certificate: b"(the certificate, in binary)".to_vec(),
        binding: Binding {
            epoch: 1,
            onion_signature: seed.sign(statement.as_bytes()).to_bytes().to_vec(),
            key_signature: b"(the signature)".to_vec(),
        },
    };
    let sealed = page.seal(counting(0xC0), b"(the certificate, in binary)").unwrap();
    json!({
        "onion": { "seed": hex(&counting::<32>(0)), "public_key": hex(onion.public_key()), "name": onion.to_string() },
        "binding": {
            "fingerprint": fingerprint.to_string(),
            "epoch": 1,
            "statement": statement,
            "onion_signature": hex(&seed.sign(statement.as_bytes()).to_bytes()),
        },
        "invitation": {
            "address": invitation.address.to_string(),
            "fingerprint": fingerprint.to_string(),
            "secret": hex(&counting::<16>(0x40)),
            "expires": expires.rfc3339(),
            "text": invitation.encode(),
            "auth_key": hex(invitation.auth_key().unwrap().expose()),
        },
        "authenticator": {
            "key": hex(key.expose()),
            "recipient": onion.to_string(),
            "object": "4096 octets of aa",
            "hash": hex(&claim.hash),
            "size": claim.size,
            "auth": hex(&authenticator(&key, onion, &claim)),
        },
        "content": { "bytes": hex(&content.encode()) },
        "token": {
            "seed": hex(&counting::<32>(0xA0)),
            "epoch": 20_783,
            "class": 14,
            "i": 3,
            "token": hex(&token),
            "hash": hex(&hash_of(&token)),
        },
        "page": {
            "secret": hex(&counting::<16>(0x40)),
            "carrier": onion.to_string(),
            "nonce": hex(&counting::<12>(0xC0)),
            "certificate": "(the certificate, in binary)",
            "token": hex(&page.token()),
            "size": sealed.len(),
            "page_begins": hex(sealed.get(..64).unwrap()),
            "page_hash": hex(&digest(&sealed)),
        },
        "revocation": revocation(onion, &grant, &content),
        "introduction": { "grant": serde_json::to_string(&grant).unwrap() },
        "verification": {
            "public_key": hex(onion.public_key()),
            "fingerprint": fingerprint.to_string(),
            "other_public_key": hex(other.public_key()),
            "other_fingerprint": other_fingerprint.to_string(),
            "number": number.to_string(),
        },
    })
}

#[test]
fn vectors_are_those_in_the_repository() {
    let text = serde_json::to_string_pretty(&vectors()).unwrap() + "\n";
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        std::fs::write(FILE, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(FILE).unwrap(), text);
}

#[test]
fn the_document_quotes_the_vectors() {
    let document = std::fs::read_to_string(DOCUMENT).unwrap();
    let vectors = vectors();
    for path in [
        "/onion/name",
        "/onion/public_key",
        "/binding/onion_signature",
        "/invitation/text",
        "/invitation/auth_key",
        "/authenticator/hash",
        "/authenticator/auth",
        "/content/bytes",
        "/token/token",
        "/token/hash",
        "/page/token",
        "/page/page_begins",
        "/page/page_hash",
        "/verification/other_public_key",
        "/verification/number",
        "/introduction/grant",
        "/revocation/payload",
        "/revocation/content_hash",
    ] {
        let value = vectors.pointer(path).and_then(Value::as_str).unwrap();
        // The document may break long values into lines.
        let words: String = document.split_whitespace().collect();
        assert!(words.contains(&value.replace(' ', "")), "docs/protocol.md \"Test vectors\" lacks {path}: {value}");
    }
}
