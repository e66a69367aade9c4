//! What sealing and opening guarantee to each other, to the library, and against strangers.

use proptest::prelude::*;

use super::bucket::{buckets, is_bucket, plaintext_bytes};
use super::testing::{NOW, alice, bob, carol};
use super::{Certificate, Class, OpenError, SealError, SecretKeys, open, seal, seal_for_box, verify_detached};
use crate::base::Timestamp;
use crate::base::limits::OBJECT_BYTES;

/// The bytes around the content: two headers and the one-pass body, the literal prefix, the signature, the padding
/// header.
fn overhead() -> usize {
    let sealed = seal(b"", alice().keys(), bob().certificate(), NOW).unwrap();
    let opened = open(&sealed, bob().keys(), &alice().known(), NOW).unwrap();
    (6 + 5 + 16 + 32 + 1) + (6 + 6) + opened.signature.len() + 6
}

#[test]
fn the_recipient_reads_what_the_author_wrote_and_knows_who_it_was() {
    let content = b"RUNE-CONTENT mail/1 critical\n\nhello";
    let object = seal(content, alice().keys(), bob().certificate(), NOW).unwrap();
    assert_eq!(object.len(), 4096);
    let opened = open(&object, bob().keys(), &alice().known(), NOW).unwrap();
    assert_eq!(opened.content, content);
    assert_eq!(opened.issuer, alice().fingerprint());
    assert!(opened.verified);
}

#[test]
fn copies_for_drops_have_the_sizes_of_tokens_and_nothing_in_common() {
    for (length, size) in [(0, 4096), (5000, 16 << 10), (300_000, 1 << 20), (1 << 20, 4 << 20), (5 << 20, 16 << 20)] {
        let content = vec![b'x'; length];
        let copies = [(); 2].map(|()| seal_for_box(&content, alice().keys(), bob().certificate(), NOW).unwrap());
        assert_eq!(copies.each_ref().map(Vec::len), [size; 2]);
        let opened = open(&copies[0], bob().keys(), &alice().known(), NOW).unwrap();
        assert!(opened.verified && opened.content == content);
        if length < 300_000 {
            let runs: std::collections::BTreeSet<&[u8]> = copies[0].windows(16).collect();
            assert!(!copies[1].windows(16).any(|run| runs.contains(run)), "two carriers could match them");
        }
    }
    let large = vec![0; 16 << 20];
    let refused = seal_for_box(&large, alice().keys(), bob().certificate(), NOW).unwrap_err();
    assert_eq!(refused, SealError::TooLarge);
}

#[test]
fn nobody_else_opens_it() {
    let object = seal(b"for bob", alice().keys(), bob().certificate(), NOW).unwrap();
    for other in [alice(), carol()] {
        assert_eq!(open(&object, other.keys(), &alice().known(), NOW).unwrap_err(), OpenError::NotForUs);
    }
}

#[test]
fn an_unknown_author_is_returned_unverified_and_can_be_verified_later() {
    let object = seal(b"hello", alice().keys(), bob().certificate(), NOW).unwrap();
    let opened = open(&object, bob().keys(), &|_| None, NOW).unwrap();
    assert!(!opened.verified);
    let verify = |content: &[u8], author: &super::testing::Persona, recipient: &super::testing::Persona| {
        verify_detached(content, &opened.signature, author.certificate(), &recipient.fingerprint(), NOW)
    };
    assert!(verify(&opened.content, alice(), bob()));
    assert!(!verify(b"hellp", alice(), bob()));
    assert!(!verify(&opened.content, carol(), bob()));
    assert!(!verify(&opened.content, alice(), carol()));
}

#[test]
fn clocks_may_differ_by_two_days() {
    let day = std::time::Duration::from_secs(86_400);
    for (sent, read, fits) in [
        (NOW, NOW.minus(2 * day), true),
        (NOW, NOW.plus(2 * day), true),
        (NOW, NOW.minus(4 * day), false),
        (NOW.minus(2 * day), NOW, true),
    ] {
        let object = seal(b"x", alice().keys(), bob().certificate(), sent).unwrap();
        assert_eq!(open(&object, bob().keys(), &alice().known(), read).is_ok(), fits, "{sent} {read}");
    }
}

#[test]
fn the_size_is_a_bucket_on_both_sides_of_every_edge() {
    let overhead = overhead();
    for bucket in buckets().take(6) {
        let most = plaintext_bytes(bucket) - overhead;
        for length in [most - 1, most, most + 1] {
            let content = vec![b'a'; length];
            let object = seal(&content, alice().keys(), bob().certificate(), NOW).unwrap();
            assert!(is_bucket(object.len()));
            assert_eq!(object.len() == bucket, length <= most, "{length}");
            assert_eq!(open(&object, bob().keys(), &alice().known(), NOW).unwrap().content, content);
        }
    }
}

#[test]
fn what_is_too_large_is_refused() {
    for length in [OBJECT_BYTES, plaintext_bytes(OBJECT_BYTES) - overhead() + 1] {
        let error = seal(&vec![0; length], alice().keys(), bob().certificate(), NOW).unwrap_err();
        assert_eq!((error, error.class()), (SealError::TooLarge, Class::Permanent));
    }
}

#[test]
fn two_copies_have_nothing_in_common() {
    let content = vec![b'a'; 6000];
    let one = seal(&content, alice().keys(), bob().certificate(), NOW).unwrap();
    let two = seal(&content, alice().keys(), bob().certificate(), NOW).unwrap();
    let runs: std::collections::BTreeSet<&[u8]> = one.windows(16).collect();
    assert!(two.windows(16).all(|run| !runs.contains(run)));
}

#[test]
fn the_author_is_not_readable_outside() {
    let object = seal(b"x", alice().keys(), bob().certificate(), NOW).unwrap();
    for persona in [alice(), bob()] {
        let fingerprint = persona.fingerprint();
        assert!(object.windows(8).all(|run| !fingerprint.as_bytes().starts_with(run)));
    }
}

/// An object of the first version, with keys that were made for this test only. It must open after every later change.
#[test]
fn the_first_objects_still_open_and_only_for_their_recipient() {
    let object = include_bytes!("testdata/object");
    let recipient = SecretKeys::from_bytes(include_bytes!("testdata/recipient.key")).unwrap();
    let author = Certificate::from_bytes(include_bytes!("testdata/author.cert")).unwrap();
    let known = |wanted: &_| (*wanted == author.fingerprint()).then(|| author.clone());
    let opened = open(object, &recipient, &known, NOW).unwrap();
    assert_eq!(opened.content, b"RUNE-CONTENT mail/1 critical\n\ngolden");
    assert!(opened.verified);
    assert_eq!(open(object, bob().keys(), &known, NOW).unwrap_err(), OpenError::NotForUs);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_content_round_trips(length in prop_oneof![0_usize..9000, 0_usize..2 << 20], fill in any::<u8>()) {
        let content: Vec<u8> = (0..length).map(|at| fill.wrapping_add(at as u8)).collect();
        let object = seal(&content, alice().keys(), bob().certificate(), NOW).unwrap();
        prop_assert!(is_bucket(object.len()));
        let opened = open(&object, bob().keys(), &alice().known(), NOW).unwrap();
        prop_assert_eq!(opened.content, content);
        prop_assert!(opened.verified);
    }

    #[test]
    fn a_changed_bit_is_noticed(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut object = seal(&[b'a'; 5000], alice().keys(), bob().certificate(), NOW).unwrap();
        let at = at.index(object.len());
        object[at] ^= 1 << bit;
        prop_assert!(open(&object, bob().keys(), &alice().known(), NOW).is_err());
    }

    #[test]
    fn any_time_of_making_verifies_two_days_before(days in 0_i64..4000, seconds in 0_i64..86_400) {
        let made = Timestamp::from_secs(1_700_000_000 + days * 86_400 + seconds);
        let onion = crate::base::Onion::of_seed(&alice().onion_seed);
        let keys = super::generate(made, onion, &mut crate::base::rng::SeededRng::new(days as u64)).unwrap().keys;
        let object = seal(b"x", &keys, keys.certificate(), made).unwrap();
        let known = |_: &_| Some(keys.certificate().clone());
        let behind = made.minus(std::time::Duration::from_secs(48 * 3600));
        prop_assert!(open(&object, &keys, &known, behind).is_ok());
        // The sender's clock is two days behind the time at which its own key was made.
        let early = seal(b"x", &keys, keys.certificate(), behind).unwrap();
        prop_assert!(open(&early, &keys, &known, made).is_ok());
    }
}
