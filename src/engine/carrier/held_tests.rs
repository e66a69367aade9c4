//! Properties of what a carrier holds.

use std::sync::Arc;

use proptest::prelude::*;

use super::held::{Admission, Held, Outcome, TokensError};
use super::record::{BoxInvitation, CarrierLimits, HeldObject, HeldPage, HeldRecord, Spent, Terms};
use crate::base::ids::Fingerprint;
use crate::base::{BodyId, ObjectId, Timestamp};
use crate::wire::Claim;
use crate::wire::mailbox::Policy;
use crate::wire::token::{Class, begin_of};

const SMALL: u64 = 4096;

fn start() -> Timestamp {
    begin_of(20_800)
}

fn fingerprint(of: u8) -> Fingerprint {
    Fingerprint::from_bytes([of; 32])
}

/// Any record that may be in a log, in any order.
fn record() -> impl Strategy<Value = HeldRecord> {
    let mailbox = (2..5_u8).prop_map(fingerprint);
    let day = 20_795..20_805_u32;
    let secret = (0..3_u8).prop_map(|n| [n; 32]);
    let terms = Terms { quota: 20 * SMALL, hold_days: 3 };
    let expires = start();
    let class = prop_oneof![Just(12_u8), Just(14), Just(13)];
    // Tokens that overlap between boxes, days and classes.
    let hash = (0..12_u8).prop_map(|n| [n; 32]);
    let hashes = prop::collection::btree_set(hash.clone(), 1..9).prop_map(|set| set.into_iter().collect::<Vec<_>>());
    let id = (0..6_u8).prop_map(|n| ObjectId::from_bytes([n; 16]));
    let size = prop_oneof![Just(SMALL), Just(4 * SMALL)];
    prop_oneof![
        secret
            .clone()
            .prop_map(move |token| HeldRecord::InvitationMade { invitation: BoxInvitation { token, terms, expires } }),
        secret.clone().prop_map(|token| HeldRecord::InvitationRevoked { token }),
        (mailbox.clone(), prop::option::of(secret)).prop_map(move |(mailbox, invitation)| {
            HeldRecord::Registered { mailbox, certificate: Arc::from([1, 2]), invitation, terms }
        }),
        (mailbox.clone(), day.clone(), class, hashes)
            .prop_map(|(mailbox, epoch, class, tokens)| HeldRecord::TokensUploaded { mailbox, epoch, class, tokens }),
        (hash, any::<bool>(), any::<[u8; 16]>(), any::<[u8; 16]>(), day.clone(), size).prop_map(
            |(token, other, id, body, day, size)| HeldRecord::Deposited {
                spent: Spent { token, hash: [other.into(); 32] },
                object: HeldObject {
                    id: ObjectId::from_bytes(id),
                    body: BodyId::from_bytes(body),
                    size,
                    day,
                    until: day + 4,
                    read: false,
                },
            }
        ),
        (mailbox.clone(), prop::collection::vec(id, 0..3), any::<bool>())
            .prop_map(|(mailbox, objects, read)| HeldRecord::Marked { mailbox, objects, read }),
        (mailbox.clone(), (0..12_u8).prop_map(|n| [n; 32]), any::<[u8; 16]>(), day.clone()).prop_map(
            |(mailbox, name, body, until)| {
                let body = BodyId::from_bytes(body);
                HeldRecord::PagePut { mailbox, page: HeldPage { name, body, size: SMALL, until } }
            }
        ),
        day.prop_map(|day| HeldRecord::DayBegan { day }),
        mailbox.prop_map(|mailbox| HeldRecord::MailboxRemoved { mailbox }),
        any::<bool>().prop_map(|on| HeldRecord::Served { on }),
        prop_oneof![Just(Policy::Session), Just(Policy::Command), Just(Policy::TimeOut(60))]
            .prop_map(|policy| HeldRecord::IdentificationSet { policy }),
        (2..5_u8, 1..9_u32).prop_map(|(of, days)| HeldRecord::HoldSet { mailbox: fingerprint(of), days }),
        (0..40_u64).prop_map(move |space| {
            HeldRecord::LimitsSet { limits: CarrierLimits { space: space * SMALL, usual: terms, free: false } }
        }),
    ]
}

proptest! {
    #[test]
    fn any_records_in_any_order_keep_the_quotas_and_a_checkpoint_leads_to_the_same(
        records in prop::collection::vec(record(), 0..80),
        doomed in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
    ) {
        let mut held = Held::default();
        let mut bodies = std::collections::BTreeSet::new();
        for (number, record) in (1..).zip(&records) {
            match record {
                HeldRecord::Deposited { object, .. } => bodies.insert(object.body),
                HeldRecord::PagePut { page, .. } => bodies.insert(page.body),
                _ => false,
            };
            let promised = held.promised();
            held.apply(number, record);
            prop_assert!(held.promised() <= promised.max(held.limits().space), "more than there is space for");
            for body in held.take_released() {
                prop_assert!(bodies.remove(&body), "released twice");
            }
            for mailbox in held.mailboxes().values() {
                prop_assert!(mailbox.stored() + mailbox.outstanding() <= mailbox.terms().quota);
                let stored: u64 = mailbox.objects().map(|object| object.size).sum();
                let pages: u64 = mailbox.pages().map(|page| page.size).sum();
                prop_assert_eq!(stored + pages, mailbox.stored());
            }
            prop_assert_eq!(held.bodies().collect::<std::collections::BTreeSet<_>>(), bodies.clone());
        }
        let names: Vec<_> = held.mailboxes().keys().copied().collect();
        for index in doomed.iter().filter(|_| !names.is_empty()) {
            let mailbox = *index.get(&names);
            let objects = held.mailboxes()[&mailbox].objects().map(|object| object.id).take(1).collect();
            held.apply(1000, &HeldRecord::Deleted { mailbox, objects });
        }
        held.take_released();
        let mut again = held.clone();
        for (number, record) in (2000..).zip(held.checkpoint()) {
            again.apply(number, &record);
        }
        prop_assert!(again.take_released().is_empty(), "a checkpoint gives nothing up");
        prop_assert_eq!(again.checkpoint(), held.checkpoint());
        let mut fresh = Held::default();
        for (number, record) in (2000..).zip(held.checkpoint()) {
            fresh.apply(number, &record);
        }
        prop_assert_eq!(fresh.checkpoint(), held.checkpoint());
        for token in 0..12 {
            for hash in [[0; 32], [1; 32]] {
                let claim = Claim { hash, size: SMALL };
                prop_assert_eq!(fresh.admits(&[token; 32], &claim, 20_800), held.admits(&[token; 32], &claim, 20_800));
            }
        }
    }

    #[test]
    fn any_record_reads_as_it_was_written(record in record()) {
        prop_assert_eq!(HeldRecord::decode(&record.encode().unwrap()), Ok(Some(record)));
    }

    #[test]
    fn a_set_is_taken_only_where_it_is_of_the_form(count in 0..40_usize, class in 10..26_u8, day in 20_700..20_900_u32) {
        let mut held = Held::default();
        let terms = Terms { quota: u64::MAX, hold_days: 1 };
        let registered = HeldRecord::Registered { mailbox: fingerprint(2), certificate: Arc::from([1]), invitation: None, terms };
        prop_assert_eq!(held.apply(1, &registered), Outcome::Done);
        let tokens: Vec<_> = (0..count as u8).map(|n| [n; 32]).collect();
        let fits = count.is_power_of_two() && Class::new(class).is_some() && (20_786..=20_830).contains(&day);
        let expected = if fits { Ok(Outcome::Done) } else { Err(TokensError::Form) };
        prop_assert_eq!(held.may_upload(&fingerprint(2), (day, class), &tokens, 20_800), expected);
    }
}

fn with_mailbox() -> Held {
    let mut held = Held::default();
    let (mailbox, terms) = (fingerprint(2), Terms { quota: u64::MAX, hold_days: 1 });
    let registered = HeldRecord::Registered { mailbox, certificate: Arc::from([1]), invitation: None, terms };
    assert_eq!(held.apply(1, &registered), Outcome::Done);
    held
}

#[test]
fn a_set_is_for_an_epoch_from_fourteen_days_ago_to_thirty_ahead() {
    let held = with_mailbox();
    for (epoch, taken) in [
        (20_785, false),
        (20_786, true),
        (20_800, true),
        (20_826, true),
        (20_829, true),
        (20_830, true),
        (20_831, false),
    ] {
        let outcome = held.may_upload(&fingerprint(2), (epoch, 12), &[[1; 32]], 20_800);
        assert_eq!(outcome, if taken { Ok(Outcome::Done) } else { Err(TokensError::Form) }, "{epoch}");
    }
}

#[test]
fn tokens_admit_something_for_fourteen_days_after_their_own_and_then_count_no_more() {
    let mut held = with_mailbox();
    let uploaded = HeldRecord::TokensUploaded {
        mailbox: fingerprint(2),
        epoch: 20_800,
        class: 12,
        tokens: vec![[1; 32], [2; 32]],
    };
    assert_eq!(held.apply(2, &uploaded), Outcome::Done);
    let claim = Claim { hash: [7; 32], size: SMALL };
    for (day, admits, outstanding) in [
        (20_797, Admission::Refused, 2 * SMALL),
        (20_798, Admission::Fresh, 2 * SMALL),
        (20_814, Admission::Fresh, 2 * SMALL),
        (20_815, Admission::Refused, 0),
    ] {
        held.apply(3, &HeldRecord::DayBegan { day });
        assert_eq!(held.admits(&[1; 32], &claim, day), admits, "{day}");
        let mailbox = &held.mailboxes()[&fingerprint(2)];
        assert_eq!(mailbox.outstanding(), outstanding, "{day}");
    }
    // Tokens that are gone may come again, in a set of another day.
    let again = HeldRecord::TokensUploaded {
        mailbox: fingerprint(2),
        epoch: 20_816,
        class: 12,
        tokens: vec![[1; 32], [2; 32]],
    };
    assert_eq!(held.apply(4, &again), Outcome::Done);
    assert_eq!(held.admits(&[1; 32], &claim, 20_816), Admission::Fresh);
}
