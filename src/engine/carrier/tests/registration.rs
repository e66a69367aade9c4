//! Which clients get a box, and for which it opens.

use std::time::Duration;

use crate::base::ObjectId;
use crate::base::limits::CARRIER_INVITATIONS;
use crate::engine::api::RequestId;
use crate::engine::carrier::{CarrierInput, CarrierLimits, CarrierRequest, CarrierRequestError};
use crate::engine::tests::harness::profile;
use crate::mail::proof::RegistrationProof;
use crate::wire::mailbox::{BoxCommand, Policy, Registration};
use crate::wire::token::{begin_of, epoch};

use super::bench::{BOX, Bench, CARRIER, MALLORY, OTHER, SECRET, TERMS, fingerprint, start, with_box};

#[test]
fn an_invitation_makes_one_mailbox_and_registering_again_is_harmless() {
    let mut bench = Bench::new();
    assert_eq!(bench.register(BOX, SECRET), Err(417));
    bench.invite(SECRET, TERMS);
    assert_eq!(bench.register(BOX, SECRET), Ok(210));
    assert_eq!(bench.register(OTHER, SECRET), Err(417));
    assert_eq!(bench.register(BOX, SECRET), Ok(210));
    assert_eq!(bench.carrier.held().mailboxes().len(), 1);
    bench.invite([6; 16], TERMS);
    bench.pass(Duration::from_secs(8 * 24 * 3600));
    assert_eq!(bench.register(OTHER, [6; 16]), Err(417), "it is forgotten");
    bench.invite([7; 16], TERMS);
    bench.now = begin_of(epoch(bench.now) + 7).plus(Duration::from_secs(23 * 3600));
    assert_eq!(bench.register(OTHER, [7; 16]), Err(418));
    let session = bench.connect();
    assert_eq!(bench.challenge(session, OTHER, None), Err(405));
    // If the invitation is not valid, nothing else is looked at.
    let register = Registration { address: None, invitation: Some([9; 16]), certificate: 1 };
    assert_eq!(bench.code(session, &BoxCommand::Register(register), b"x"), 417);
}

#[test]
fn of_two_who_answer_with_one_invitation_one_gets_a_mailbox() {
    let mut bench = Bench::new();
    bench.invite(SECRET, TERMS);
    let (one, other) = (bench.connect(), bench.connect());
    let first = bench.challenge(one, BOX, Some(SECRET)).unwrap();
    let second = bench.challenge(other, OTHER, Some(SECRET)).unwrap();
    assert_eq!(bench.accept(other, OTHER, &second), 210);
    assert_eq!(bench.accept(one, BOX, &first), 417);
    assert!(bench.closed.contains(&one));
    assert_eq!(bench.carrier.held().mailboxes().keys().collect::<Vec<_>>(), [&fingerprint(OTHER)]);
}

#[test]
fn only_the_owner_of_the_key_meets_the_challenge() {
    let mut bench = Bench::new();
    bench.invite(SECRET, TERMS);
    for wrong in 0..4 {
        let session = bench.connect();
        let mut proof = bench.challenge(session, BOX, Some(SECRET)).unwrap();
        let by = if wrong == 0 { MALLORY } else { BOX };
        match wrong {
            1 => proof.nonce = [0; 32],
            2 => proof.key = fingerprint(OTHER),
            3 => bench.now = bench.now.plus(Duration::from_secs(601)),
            _ => {}
        }
        assert_eq!(bench.accept(session, by, &proof), 410, "{wrong}");
        assert!(bench.closed.contains(&session));
    }
    let session = bench.connect();
    let proof = RegistrationProof {
        server: profile("box", CARRIER, start()).public.onion(),
        key: fingerprint(BOX),
        nonce: [0; 32],
    };
    assert_eq!(bench.accept(session, BOX, &proof), 410);
    assert!(bench.carrier.held().mailboxes().is_empty());
}

#[test]
fn anybody_may_register_where_the_owner_allows_it() {
    let mut bench = Bench::new();
    bench.limit(CarrierLimits { usual: TERMS, free: true, ..CarrierLimits::default() });
    let session = bench.connect();
    let proof = bench.challenge(session, BOX, None).unwrap();
    assert_eq!(bench.accept(session, BOX, &proof), 210);
    assert_eq!(bench.carrier.held().mailboxes()[&fingerprint(BOX)].terms(), TERMS);
    let register = Registration { address: Some("bob@x".to_owned()), invitation: None, certificate: 1 };
    assert_eq!(bench.code(session, &BoxCommand::Register(register), b"x"), 704);
}

#[test]
fn a_mailbox_opens_to_its_key_only_and_an_unknown_name_is_asked_for_a_signature_too() {
    let (mut bench, _) = with_box();
    assert_eq!(bench.identify(BOX, MALLORY, None).unwrap_err(), 411);
    assert_eq!(bench.identify(OTHER, OTHER, None).unwrap_err(), 411);
    // Our own key stands for that of a box that does not exist, and opens nothing.
    assert_eq!(bench.identify(OTHER, CARRIER, None).unwrap_err(), 411);
    assert_eq!(bench.identify(BOX, BOX, Some("CHECK x")).unwrap_err(), 411);
    let check = BoxCommand::Check { mailbox: fingerprint(BOX).to_string(), recursive: false };
    let session = bench.connect();
    assert_eq!(bench.code(session, &check, b""), 411);
    assert!(bench.closed.contains(&session));
    let session = bench.connect();
    let respond = BoxCommand::Respond { nonce: [6; 32], command: None, signature: 3 };
    assert_eq!(bench.code(session, &respond, b"abc"), 411);
}

#[test]
fn an_identification_counts_as_long_as_the_policy_says() {
    let (mut bench, _) = with_box();
    bench.set_policy(Policy::TimeOut(60));
    let session = bench.identify(BOX, BOX, None).unwrap();
    assert_eq!(bench.count(session), (0, 0));
    bench.now = bench.now.plus(Duration::from_secs(61));
    assert_eq!(bench.delete(session, vec![ObjectId::from_bytes([0; 16])]), 411);

    let session = bench.identify(BOX, BOX, None).unwrap();
    let hour = Duration::from_secs(3600);
    bench.now = bench.now.plus(hour);
    bench.input(CarrierInput::ClockSet(crate::base::ClockStep::Forward(hour)));
    assert_eq!(bench.count(session), (0, 0), "a clock that was set ends nothing early");

    bench.set_policy(Policy::Command);
    let check = format!("CHECK {}", fingerprint(BOX));
    let session = bench.identify(BOX, BOX, Some(&check)).unwrap();
    assert_eq!(bench.count(session), (0, 0));
    assert!(bench.carrier.sessions[&session].is_identified(), "it is an owner's, whatever it may do");
    assert_eq!(bench.delete(session, vec![ObjectId::from_bytes([0; 16])]), 411);
    let session = bench.identify(BOX, BOX, Some(&check)).unwrap();
    assert_eq!(bench.delete(session, vec![ObjectId::from_bytes([0; 16])]), 411);
    assert_eq!(bench.identify(BOX, BOX, None).unwrap_err(), 411);
}

#[test]
fn of_invitations_that_are_too_many_together_none_is_made() {
    let mut bench = Bench::new();
    let expires = bench.now.plus(Duration::from_secs(3600));
    let mut invite = |count: usize| {
        let secrets = (0..count).map(|number| (number as u128).to_be_bytes()).collect();
        bench.input(CarrierInput::Request(RequestId(0), CarrierRequest::Invite { secrets, terms: TERMS, expires }));
        (bench.answers.pop().unwrap(), bench.carrier.held().invitations().len())
    };
    assert_eq!(invite(CARRIER_INVITATIONS + 1), (Err(CarrierRequestError::TooMany), 0));
    assert_eq!(invite(CARRIER_INVITATIONS), (Ok(()), CARRIER_INVITATIONS));
    assert_eq!(invite(1), (Err(CarrierRequestError::TooMany), CARRIER_INVITATIONS));
}
