//! Named malformed and hostile objects, the rule by which each is refused, and what refusing it costs. An
//! [`OpenError::Outer`] proves that no secret key was used; an [`OpenError::Inner`] that no decrypted byte was
//! interpreted.

use super::bucket::{PKESK_BYTES, TAG_BYTES, bucket_for, buckets};
use super::gate::{InnerFault, OuterFault, outer};
use super::packet::{HeaderFault, tag};
use super::secret::SecretKeysError;
use super::signature::{Signature, SignatureFault};
use super::testing::{NOW, Persona, alice, bob, carol, encrypt_packets, packet};
use super::{Class, OpenError, open, seal};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::base::limits::OBJECT_BYTES;

const CONTENT: &[u8] = b"RUNE-CONTENT mail/1 critical\n\nhello";

struct Case {
    name: &'static str,
    object: Vec<u8>,
    refused: OpenError,
}

fn good() -> Vec<u8> {
    seal(CONTENT, alice().keys(), bob().certificate(), NOW).unwrap()
}

/// Bytes, then zeros up to a bucket's size.
fn filled(parts: &[&[u8]]) -> Vec<u8> {
    let mut object = parts.concat();
    let bucket = buckets().find(|bucket| *bucket >= object.len()).unwrap();
    object.resize(bucket, 0);
    object
}

/// A good object with the byte at an offset replaced.
fn patched(at: usize, value: u8) -> Vec<u8> {
    let mut object = good();
    object[at] = value;
    object
}

/// Where the encrypted data begins, and the first octet of its body.
const SEIPD: usize = PKESK_BYTES;
const SEIPD_BODY: usize = PKESK_BYTES + 6;

fn outer_cases() -> Vec<Case> {
    let case = |name, fault, object| Case { name, object, refused: OpenError::Outer(fault) };
    let header = OuterFault::Header;
    let good = good();
    let (session_key, encrypted) = good.split_at(PKESK_BYTES);
    // SKESK version 6, AES-256, OCB, Argon2 with t = 255, p = 255 and 2^31 KiB.
    let mut argon2 = vec![6, 20 + 4 + 3, 9, 2, 20, 4];
    argon2.extend([[7; 16].as_slice(), &[255, 255, 31], &[1; 15 + 48]].concat());
    let argon2 = packet(3, &argon2);
    let marker = packet(10, b"PGP");
    let mut pkesk3_wildcard = vec![3, 0, 0, 0, 0, 0, 0, 0, 0, 35];
    pkesk3_wildcard.extend([9; 1161]);
    let mut short_wrap = session_key[3..].to_vec();
    short_wrap[3 + 32 + 1088] = 32;
    short_wrap.truncate(short_wrap.len() - 8);
    let mut long_wrap = session_key[3..].to_vec();
    long_wrap.extend([0; 8]);
    let named = [&[6, 33, 6], &bob().fingerprint().as_bytes()[..], &session_key[5..]].concat();
    let literal = packet(tag::LITERAL, b"b\0\0\0\0\0hello");
    let plain_signed = [packet(tag::ONE_PASS, &one_pass(&signature())), literal.clone(), signature()].concat();
    let short_data = packet(tag::SEIPD, &[&[2, 9, 2, 6][..], &[0; 32 + 2 * TAG_BYTES]].concat());
    vec![
        case("nothing at all", OuterFault::Size, vec![]),
        case("one byte too many", OuterFault::Size, [&good[..], &[0]].concat()),
        case("one byte too few", OuterFault::Size, good[..good.len() - 1].to_vec()),
        case("a size between buckets", OuterFault::Size, vec![0xC1; 8192]),
        case("a size beyond the bound", OuterFault::Size, vec![0xC1; OBJECT_BYTES + (1 << 20)]),
        case("a thousand session keys", OuterFault::NoEncryptedData, filled(&[&session_key.repeat(1000), encrypted])),
        case("two session keys", OuterFault::NoEncryptedData, filled(&[session_key, session_key, encrypted])),
        case("password with huge Argon2", OuterFault::NoSessionKey, filled(&[&argon2, encrypted])),
        case("password beside the key", OuterFault::NoEncryptedData, filled(&[session_key, &argon2, encrypted])),
        case("version 3 session key", OuterFault::SessionKeyVersion, patched(3, 3)),
        case(
            "version 3 session key with wildcard key id",
            OuterFault::SessionKeyVersion,
            filled(&[&packet(tag::PKESK, &pkesk3_wildcard), encrypted]),
        ),
        case("named recipient", OuterFault::RecipientNamed, filled(&[&packet(tag::PKESK, &named), encrypted])),
        case("session key for X25519 alone", OuterFault::SessionKeyAlgorithm, patched(5, 25)),
        case("session key for RSA", OuterFault::SessionKeyAlgorithm, patched(5, 1)),
        case("short wrapped key", OuterFault::SessionKeyForm, filled(&[&packet(1, &short_wrap), encrypted])),
        case("long wrapped key", OuterFault::SessionKeyForm, filled(&[&packet(1, &long_wrap), encrypted])),
        case("empty session key", OuterFault::SessionKeyVersion, filled(&[&packet(1, &[]), encrypted])),
        case("session key alone", OuterFault::Header(HeaderFault::NotAPacket), filled(&[session_key])),
        case("encrypted data alone", OuterFault::NoSessionKey, filled(&[encrypted])),
        case("encrypted data version 1", OuterFault::EncryptedDataVersion, patched(SEIPD_BODY, 1)),
        case("encrypted data without integrity", OuterFault::NoEncryptedData, patched(SEIPD, 0xC0 | 9)),
        case("GnuPG's own encrypted data", OuterFault::NoEncryptedData, patched(SEIPD, 0xC0 | 20)),
        case("AES-128", OuterFault::EncryptedDataParameters, patched(SEIPD_BODY + 1, 7)),
        case("EAX", OuterFault::EncryptedDataParameters, patched(SEIPD_BODY + 2, 1)),
        case("GCM", OuterFault::EncryptedDataParameters, patched(SEIPD_BODY + 2, 3)),
        case("chunks of 64 bytes", OuterFault::EncryptedDataParameters, patched(SEIPD_BODY + 3, 0)),
        case("chunks of 4 MiB", OuterFault::EncryptedDataParameters, patched(SEIPD_BODY + 3, 16)),
        case("chunks beyond the standard", OuterFault::EncryptedDataParameters, patched(SEIPD_BODY + 3, 255)),
        case("encrypted data without content", OuterFault::EncryptedDataForm, filled(&[session_key, &short_data])),
        case(
            "partial length of 1 GiB",
            header(HeaderFault::PartialLength),
            filled(&[session_key, b"\xd2\xfe\x02\x09"]),
        ),
        case("partial length on the session key", header(HeaderFault::PartialLength), filled(&[b"\xc1\xea\x06\0\x23"])),
        case("declared 4 GiB", header(HeaderFault::Truncated), filled(&[session_key, b"\xd2\xff\xff\xff\xff\xff"])),
        case("declared 4 GiB of session key", header(HeaderFault::Truncated), filled(&[b"\xc1\xff\xff\xff\xff\xff"])),
        case("old-format session key", header(HeaderFault::OldFormat), filled(&[b"\x85\x04\x8c", &session_key[3..]])),
        case("old-format encrypted data", header(HeaderFault::OldFormat), patched(SEIPD, 0x80 | 18)),
        case("indeterminate length", header(HeaderFault::OldFormat), filled(&[session_key, b"\xa7\x01\x02"])),
        case("compressed data", OuterFault::NoSessionKey, filled(&[&packet(8, b"\x02x\x9c\x03\0\0\0\0\x01")])),
        case("unencrypted literal", OuterFault::NoSessionKey, filled(&[&literal])),
        case("signed but not encrypted", OuterFault::NoSessionKey, filled(&[&plain_signed])),
        case("armor", header(HeaderFault::NotAPacket), filled(&[b"-----BEGIN PGP MESSAGE-----\n\nwV"])),
        case("ten thousand markers", OuterFault::NoSessionKey, filled(&[&marker.repeat(10_000), &good])),
        case("marker in between", OuterFault::NoEncryptedData, filled(&[session_key, &marker, encrypted])),
        case("padding in front", OuterFault::NoSessionKey, filled(&[&packet(21, &[0; 9]), &good])),
        case("unknown critical packet", OuterFault::NoSessionKey, filled(&[&packet(39, b"?"), &good])),
        case("unknown packet", OuterFault::NoSessionKey, filled(&[&packet(60, b"?"), &good])),
        case("zeros behind", OuterFault::Trailing, filled(&[&good, &[0]])),
        case("a second message behind", OuterFault::Trailing, filled(&[&good, &good])),
        case("padding behind", OuterFault::Trailing, filled(&[&good, &packet(21, &[0; 9])])),
    ]
}

fn signature() -> Vec<u8> {
    alice().keys().sign_content(CONTENT, &bob().fingerprint(), NOW).unwrap()
}

fn one_pass(signature: &[u8]) -> Vec<u8> {
    Signature::parse(signature).unwrap().one_pass().collect()
}

/// One-pass signature, literal, signature.
fn message(one_pass: &[u8], literal: &[u8], signature: &[u8]) -> Vec<u8> {
    [&packet(tag::ONE_PASS, one_pass)[..], &packet(tag::LITERAL, literal), signature].concat()
}

fn literal() -> Vec<u8> {
    [b"b\0\0\0\0\0", CONTENT].concat()
}

/// A message whose signature is well-formed and announced, with any content.
fn signed(signature: &[u8]) -> Vec<u8> {
    message(&one_pass(signature), &literal(), signature)
}

/// A signature packet with these parts; its value is nonsense.
fn craft(head: [u8; 4], hashed: &[u8], unhashed: &[u8], salt: &[u8]) -> Vec<u8> {
    let length = |part: &[u8]| u32::try_from(part.len()).unwrap().to_be_bytes();
    let body = [
        &head[..],
        &length(hashed),
        hashed,
        &length(unhashed),
        unhashed,
        &[0xAB, 0xCD, u8::try_from(salt.len()).unwrap()],
        salt,
        &[0x11; 64],
    ]
    .concat();
    packet(tag::SIGNATURE, &body)
}

fn subpacket(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[u8::try_from(value.len() + 1).unwrap(), kind], value].concat()
}

fn fingerprint(kind: u8, of: &Persona) -> Vec<u8> {
    subpacket(kind, &[&[6][..], of.fingerprint().as_bytes()].concat())
}

fn inner_cases() -> Vec<Case> {
    let case = |name, fault, packets: &[u8]| {
        let object = encrypt_packets(packets, bob());
        Case { name, object, refused: OpenError::Inner(fault) }
    };
    let unexpected = InnerFault::Unexpected;
    let header = InnerFault::Header;
    let signature = signature();
    let announced = packet(tag::ONE_PASS, &one_pass(&signature));
    let lit = packet(tag::LITERAL, &literal());
    let with_literal = |body: &[u8]| message(&one_pass(&signature), body, &signature);
    let between = |extra: &[u8]| [&announced[..], extra, &lit, &signature].concat();
    let mut nested = vec![0x61];
    for _ in 0..64 {
        nested = packet(8, &[&[0][..], &nested].concat());
    }
    let mut other_salt = one_pass(&signature);
    other_salt[9] ^= 1;
    let mut not_last = one_pass(&signature);
    *not_last.last_mut().unwrap() = 0;
    vec![
        case("compressed inside", unexpected(8), &packet(8, &[&[0][..], &signed(&signature)].concat())),
        case("compressed 64 deep", unexpected(8), &nested),
        case("compressed literal", unexpected(8), &between(&packet(8, &[&[0][..], &lit].concat()))),
        case("encrypted inside", unexpected(1), &good()),
        case("not signed", unexpected(11), &lit),
        case("nothing but padding", unexpected(21), &[]),
        case("announced and never signed", unexpected(21), &[&announced[..], &lit].concat()),
        case("two signatures", unexpected(4), &[&announced[..], &announced, &lit, &signature, &signature].concat()),
        case("a second signature", unexpected(2), &[&announced[..], &lit, &signature, &signature].concat()),
        case("signature in front", unexpected(2), &[&signature[..], &lit].concat()),
        case("marker inside", unexpected(10), &between(&packet(10, b"PGP"))),
        case("markers inside", unexpected(10), &packet(10, b"PGP").repeat(10_000)),
        case("user attribute in between", unexpected(17), &between(&packet(17, &[0; 40]))),
        case("user id in between", unexpected(13), &between(&packet(13, b"alice"))),
        case("certificate in between", unexpected(6), &between(alice().certificate().bytes())),
        case("unknown critical packet inside", unexpected(38), &between(&packet(38, b"?"))),
        case("unknown packet inside", unexpected(55), &between(&packet(55, b"?"))),
        case("private packet inside", unexpected(63), &between(&packet(63, b"?"))),
        case("two literals", unexpected(11), &between(&lit)),
        case("padding twice", InnerFault::Trailing, &[&signed(&signature)[..], &packet(21, &[1; 5])].concat()),
        case("literal with file name", InnerFault::Literal, &with_literal(b"b\x05a.txt\0\0\0\0hello")),
        case("literal for the console only", InnerFault::Literal, &with_literal(b"b\x08_CONSOLE\0\0\0\0hello")),
        case("literal with date", InnerFault::Literal, &with_literal(b"b\0\x60\0\0\0hello")),
        case("text literal", InnerFault::Literal, &with_literal(b"t\0\0\0\0\0hello")),
        case("UTF-8 literal", InnerFault::Literal, &with_literal(b"u\0\0\0\0\0hello")),
        case("short literal", InnerFault::Literal, &with_literal(b"b\0")),
        case("partial literal", header(HeaderFault::PartialLength), &[&announced[..], b"\xcb\xfeb"].concat()),
        case("giant literal", header(HeaderFault::Truncated), &[&announced[..], b"\xcb\xff\xff\xff\xff\xff"].concat()),
        case("old-format literal", header(HeaderFault::OldFormat), &[&announced[..], b"\xac\x06b\0\0\0\0\0"].concat()),
        case("literal without end", header(HeaderFault::OldFormat), &[&announced[..], b"\xafb\0\0\0\0\0"].concat()),
        case("other salt announced", InnerFault::OnePass, &message(&other_salt, &literal(), &signature)),
        case("more signatures announced", InnerFault::OnePass, &message(&not_last, &literal(), &signature)),
        case("empty announcement", InnerFault::OnePass, &message(&[], &literal(), &signature)),
    ]
}

fn signature_form_cases() -> Vec<Case> {
    let head = [6, 0, 27, 10];
    let created = subpacket(2, &1_795_219_200_u32.to_be_bytes());
    let issuer = fingerprint(33, alice());
    let intended = fingerprint(35, bob());
    let hashed = [&created[..], &issuer, &intended].concat();
    let with = |extra: &[u8]| craft(head, &[&hashed[..], extra].concat(), &[], &[5; 32]);
    let announced = one_pass(&signature());
    let case = |name, fault, signature: &[u8]| {
        let object = encrypt_packets(&message(&announced, &literal(), signature), bob());
        Case { name, object, refused: OpenError::Inner(InnerFault::Signature(fault)) }
    };
    let mut short = with(&[]);
    short.truncate(short.len() - 1);
    short[5] -= 1;
    let v4_recipient = subpacket(35, &[&[4][..], &[9; 20]].concat());
    vec![
        case("SHA-1", SignatureFault::Algorithm, &craft([6, 0, 27, 2], &hashed, &[], &[5; 16])),
        case("MD5", SignatureFault::Algorithm, &craft([6, 0, 27, 1], &hashed, &[], &[5; 16])),
        case("RSA", SignatureFault::Algorithm, &craft([6, 0, 1, 10], &hashed, &[], &[5; 32])),
        case("version 4", SignatureFault::Version, &craft([4, 0, 27, 10], &hashed, &[], &[5; 32])),
        case("version 3", SignatureFault::Version, &craft([3, 0, 27, 10], &hashed, &[], &[5; 32])),
        case("text mode", SignatureFault::Type, &craft([6, 1, 27, 10], &hashed, &[], &[5; 32])),
        case("certification", SignatureFault::Type, &craft([6, 0x10, 27, 10], &hashed, &[], &[5; 32])),
        case("short salt", SignatureFault::Form, &craft(head, &hashed, &[], &[5; 16])),
        case("no salt", SignatureFault::Form, &craft(head, &hashed, &[], &[])),
        case("short value", SignatureFault::Form, &short),
        case("empty signature", SignatureFault::Form, &packet(tag::SIGNATURE, &[])),
        case("unhashed subpacket", SignatureFault::Subpacket, &craft(head, &hashed, &issuer, &[5; 32])),
        case("expiring signature", SignatureFault::Subpacket, &with(&subpacket(3, &[0, 0, 0, 9]))),
        case("critical notation", SignatureFault::Subpacket, &with(&subpacket(0x80 | 20, &[0; 9]))),
        case("unknown critical subpacket", SignatureFault::Subpacket, &with(&subpacket(0x80 | 100, b"?"))),
        case("embedded signature", SignatureFault::Subpacket, &with(&subpacket(32, &[0; 90]))),
        case("two recipients", SignatureFault::Subpacket, &with(&fingerprint(35, carol()))),
        case("two issuers", SignatureFault::Subpacket, &with(&fingerprint(33, carol()))),
        case("two dates", SignatureFault::Subpacket, &with(&created)),
        case("empty subpacket", SignatureFault::Form, &with(&[0])),
        case("subpacket beyond the end", SignatureFault::Form, &with(&[40, 35, 6])),
        case("long subpacket length", SignatureFault::Subpacket, &with(&[255, 255, 255, 255, 255, 35])),
        case("recipient of version 4", SignatureFault::Version, &craft(head, &v4_recipient, &[], &[5; 32])),
        case("no date", SignatureFault::Incomplete, &craft(head, &[issuer, intended.clone()].concat(), &[], &[5; 32])),
        case("no issuer", SignatureFault::Incomplete, &craft(head, &[created, intended].concat(), &[], &[5; 32])),
        case("giant signature", SignatureFault::Packet, &with(&subpacket(20, &[0; 150]).repeat(9))),
    ]
}

fn signature_cases() -> Result<Vec<Case>, SecretKeysError> {
    let case = |name, fault, packets: &[u8]| {
        let object = encrypt_packets(packets, bob());
        Case { name, object, refused: OpenError::Signature(fault) }
    };
    let bob_is = bob().fingerprint();
    let day = Duration::from_secs(86_400);
    let before_key = alice().keys().sign(CONTENT, Some(&bob_is), NOW.minus(90 * day).secs())?;
    let future = alice().keys().sign_content(CONTENT, &bob_is, NOW.plus(4 * day))?;
    let of_other_content = alice().keys().sign_content(b"other", &bob_is, NOW)?;
    // Carol signs, and claims to be Alice.
    let mut forged = carol().keys().sign_content(CONTENT, &bob_is, NOW)?;
    let at = forged.windows(32).position(|run| run == carol().fingerprint().as_bytes()).unwrap();
    forged[at..at + 32].copy_from_slice(alice().fingerprint().as_bytes());
    let mut wrong_value = signature();
    *wrong_value.last_mut().unwrap() ^= 1;
    let mut wrong_prefix = signature();
    let prefix = wrong_prefix.len() - 64 - 16 - 1 - 2;
    wrong_prefix[prefix] ^= 1;
    Ok(vec![
        case("no intended recipient", SignatureFault::NoRecipient, &signed(&alice().keys().sign_statement(CONTENT)?)),
        case(
            "forwarded as if meant for us",
            SignatureFault::OtherRecipient,
            &signed(&alice().keys().sign_content(CONTENT, &carol().fingerprint(), NOW)?),
        ),
        case("dated in the future", SignatureFault::Future, &signed(&future)),
        case("dated before its key", SignatureFault::Date, &signed(&before_key)),
        case("signature of another content", SignatureFault::Bad, &signed(&of_other_content)),
        case("signature by another key", SignatureFault::Bad, &signed(&forged)),
        case("wrong signature value", SignatureFault::Bad, &signed(&wrong_value)),
        case("wrong digest prefix", SignatureFault::Bad, &signed(&wrong_prefix)),
    ])
}

fn damage_cases() -> Vec<Case> {
    let flipped = |object: &[u8], at: usize| {
        let mut object = object.to_vec();
        object[at] ^= 0x10;
        object
    };
    let good = good();
    let long = seal(&[b'a'; 20_000], alice().keys(), bob().certificate(), NOW).unwrap();
    let chunk = 4096 + TAG_BYTES;
    let start = SEIPD_BODY + 36;
    let mut swapped = long.clone();
    swapped[start..start + 2 * chunk].rotate_left(chunk);
    let mut repeated = long.clone();
    repeated.copy_within(start..start + chunk, start + chunk);
    // Whole chunks are cut off, so that a smaller bucket is filled; the final tag is the old one.
    let mut cut = long.clone();
    let target = bucket_for(12_000).unwrap();
    cut.drain(target - TAG_BYTES..long.len() - TAG_BYTES);
    let length = u32::try_from(target - SEIPD_BODY).unwrap();
    cut[SEIPD + 2..SEIPD_BODY].copy_from_slice(&length.to_be_bytes());
    let for_carol = seal(CONTENT, alice().keys(), carol().certificate(), NOW).unwrap();
    let spliced = [&good[..SEIPD], &for_carol[SEIPD..]].concat();
    let case = |name, refused, object| Case { name, object, refused };
    vec![
        case("sealed to somebody else", OpenError::NotForUs, for_carol),
        case("flipped bit in the X25519 share", OpenError::NotForUs, flipped(&good, 10)),
        case("flipped bit in the ML-KEM ciphertext", OpenError::NotForUs, flipped(&good, 300)),
        case("flipped bit in the wrapped key", OpenError::NotForUs, flipped(&good, SEIPD - 5)),
        case("flipped bit in the salt", OpenError::Damaged, flipped(&good, SEIPD_BODY + 9)),
        case("flipped bit in the first chunk", OpenError::Damaged, flipped(&good, start + 1)),
        case("flipped bit in the last chunk", OpenError::Damaged, flipped(&long, long.len() - 60)),
        case("flipped bit in the final tag", OpenError::Damaged, flipped(&good, good.len() - 1)),
        case("chunks swapped", OpenError::Damaged, swapped),
        case("chunk repeated", OpenError::Damaged, repeated),
        case("chunks cut off", OpenError::Damaged, cut),
        case("encrypted data of another object", OpenError::Damaged, spliced),
    ]
}

/// The most that refusing any object may cost: memory beyond the object itself, and processor time.
const COST_BYTES: u64 = 32 << 20;
const COST_TIME: Duration = Duration::from_millis(50);

#[derive(Debug)]
struct Cost {
    bytes: u64,
    time: Duration,
}

/// The processor time of this thread, so that the load of the machine does not matter.
fn measured<T>(work: impl FnOnce() -> T) -> (T, Cost) {
    let time = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
    let (begin, mut result) = (time(), None);
    let memory = allocation_counter::measure(|| result = Some(work()));
    (result.unwrap(), Cost { bytes: memory.bytes_max, time: time() - begin })
}

#[test]
fn the_largest_object_is_refused_in_bounded_memory() {
    let largest = vec![b'x'; OBJECT_BYTES - (1 << 20)];
    let mut object = seal(&largest, alice().keys(), bob().certificate(), NOW).unwrap();
    // The whole object is decrypted before the last tag shows that it is false. (The time that this takes in a release
    // build is in docs/performance.md.)
    *object.last_mut().unwrap() ^= 1;
    let (result, cost) = measured(|| open(&object, bob().keys(), &alice().known(), NOW));
    assert_eq!((result.unwrap_err(), object.len()), (OpenError::Damaged, OBJECT_BYTES));
    assert!(cost.bytes <= COST_BYTES, "{cost:?}");
}

#[test]
fn every_hostile_object_is_refused_by_its_rule() {
    let mut cases = outer_cases();
    cases.extend(inner_cases());
    cases.extend(signature_form_cases());
    cases.extend(signature_cases().unwrap());
    cases.extend(damage_cases());
    let names: std::collections::BTreeSet<_> = cases.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), cases.len(), "every case has a name of its own");
    assert!(cases.len() >= 100, "{}", cases.len());
    for Case { name, object, refused } in cases {
        let (result, cost) = measured(|| open(&object, bob().keys(), &alice().known(), NOW));
        let error = result.expect_err(name);
        assert!(cost.bytes <= COST_BYTES && cost.time <= COST_TIME, "{name}: {cost:?}");
        assert_eq!(error, refused, "{name}");
        let class = if error == OpenError::Signature(SignatureFault::Future) { Class::Date } else { Class::Permanent };
        assert_eq!(error.class(), class, "{name}");
        assert_eq!(error.to_string(), "the object was refused", "{name}");
    }
}

#[test]
fn an_object_cut_anywhere_is_refused_before_any_key_is_used() {
    let good = good();
    for at in (0..200).chain(PKESK_BYTES - 50..PKESK_BYTES + 120).chain(good.len() - 40..good.len()) {
        assert_eq!(outer(&good[..at]).err(), Some(OuterFault::Size), "{at}");
        // In a larger bucket, the lengths show that bytes are missing.
        let moved = [&good[..at], &vec![0; 16384 - at]].concat();
        assert!(outer(&moved).is_err(), "{at}");
    }
}

#[test]
fn a_signature_that_names_a_subkey_is_never_verified() {
    let hashed = [
        subpacket(2, &1_795_219_200_u32.to_be_bytes()),
        subpacket(33, &[&[6][..], &[0x77; 32]].concat()),
        fingerprint(35, bob()),
    ];
    let by_subkey = craft([6, 0, 27, 10], &hashed.concat(), &[], &[5; 32]);
    let object = encrypt_packets(&signed(&by_subkey), bob());
    let opened = open(&object, bob().keys(), &alice().known(), NOW).unwrap();
    assert!(!opened.verified);
    assert_ne!(opened.issuer, alice().fingerprint());
    let verified =
        super::verify_detached(&opened.content, &opened.signature, alice().certificate(), &bob().fingerprint(), NOW);
    assert!(!verified);
}

#[test]
fn a_signature_is_one_packet_of_its_kind_and_nothing_more() {
    let signature = alice().keys().sign_statement(b"a statement").unwrap();
    assert!(Signature::parse(&signature).is_ok());
    for (what, bytes) in [
        ("followed by a byte", [&signature[..], &[0]].concat()),
        ("twice", [&signature[..], &signature[..]].concat()),
        ("a key", alice().certificate().bytes().to_vec()),
        ("the same under another tag", [&[0xc0 | tag::USER_ID][..], &signature[1..]].concat()),
        ("cut", signature[..signature.len() - 1].to_vec()),
        ("nothing", Vec::new()),
    ] {
        assert_eq!(Signature::parse(&bytes).err(), Some(SignatureFault::Packet), "{what}");
    }
}
