//! How much each sender may bring: token buckets in memory. They are not persisted: a restart is rare, and the
//! bytes per day guard the disk well enough without a record per message.
//!
//! A session's arrivals are taken from the allowance of the sender that AUTH shows. Mail that is kept is taken from
//! that of its author as well, where the author is another: from a contact's own allowance where it is confirmed or we
//! greeted it, and from the allowance of the strangers for everybody else. Nothing is taken twice from one allowance. A
//! contact gets back what a duplicate took.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::limits;
use crate::base::{ContactId, InvitationId, Timestamp};

use crate::engine::session::Sender;

const HOUR_MS: u128 = 3_600_000;
const DAY_MS: u128 = 24 * HOUR_MS;

/// A bucket that refills by `refill` units per `period_ms`, up to `burst`.
#[derive(Debug, Clone)]
struct Bucket {
    burst: u64,
    refill: u64,
    period_ms: u128,
    /// What was taken and has not been refilled, in units times `period_ms`: no rounding is ever lost.
    used: u128,
    updated: Timestamp,
}

impl Bucket {
    const fn new(burst: u64, refill: u64, period_ms: u128, now: Timestamp) -> Self {
        Self { burst, refill, period_ms, used: 0, updated: now }
    }

    fn refill(&mut self, now: Timestamp) {
        let elapsed = now.since(self.updated).as_millis();
        self.used = self.used.saturating_sub(elapsed.saturating_mul(u128::from(self.refill)));
        self.updated = now;
    }

    fn has(&mut self, units: u64, now: Timestamp) -> bool {
        self.refill(now);
        self.used.saturating_add(u128::from(units).saturating_mul(self.period_ms))
            <= u128::from(self.burst).saturating_mul(self.period_ms)
    }

    fn take(&mut self, units: u64) {
        self.used = self.used.saturating_add(u128::from(units).saturating_mul(self.period_ms));
    }

    fn give_back(&mut self, units: u64) {
        self.used = self.used.saturating_sub(u128::from(units).saturating_mul(self.period_ms));
    }
}

#[derive(Debug, Clone)]
struct Allowance {
    messages: Bucket,
    bytes: Bucket,
}

/// The allowances from which an object was taken.
#[derive(Debug)]
pub(in crate::engine) struct Charges {
    size: u64,
    taken_from: BTreeSet<Sender>,
}

impl Charges {
    /// An object of so many bytes, which was taken from no allowance yet.
    pub(in crate::engine) const fn none(size: u64) -> Self {
        Self { size, taken_from: BTreeSet::new() }
    }
}

/// How much every sender may still bring.
#[derive(Debug, Default)]
pub(in crate::engine) struct Rates {
    contacts: BTreeMap<ContactId, Allowance>,
    invitations: BTreeMap<InvitationId, Bucket>,
    strangers: Option<Bucket>,
}

impl Rates {
    /// Whether this sender may bring another object at all.
    pub(in crate::engine) fn admits(&mut self, sender: Sender, size: u64, now: Timestamp) -> bool {
        match sender {
            Sender::Contact(id) => {
                let allowance = self.contact(id, now);
                allowance.messages.has(1, now) && allowance.bytes.has(size, now)
            }
            Sender::Invitation(id) => self.invitation(id, now).has(1, now),
            Sender::Stranger => self.strangers(now).has(1, now),
        }
    }

    /// Takes an object from an allowance, unless it was taken from that one already; `false` if there is not enough,
    /// and then nothing is taken.
    pub(in crate::engine) fn charge(&mut self, charges: &mut Charges, sender: Sender, now: Timestamp) -> bool {
        if charges.taken_from.contains(&sender) {
            return true;
        }
        if !self.admits(sender, charges.size, now) {
            return false;
        }
        match sender {
            Sender::Contact(id) => {
                let allowance = self.contact(id, now);
                allowance.messages.take(1);
                allowance.bytes.take(charges.size);
            }
            Sender::Invitation(id) => self.invitation(id, now).take(1),
            Sender::Stranger => self.strangers(now).take(1),
        }
        charges.taken_from.insert(sender)
    }

    /// Gives a contact back what an object took from its allowance.
    pub(in crate::engine) fn give_back(&mut self, charges: &mut Charges, contact: ContactId, now: Timestamp) {
        if charges.taken_from.remove(&Sender::Contact(contact)) {
            let allowance = self.contact(contact, now);
            allowance.messages.give_back(1);
            allowance.bytes.give_back(charges.size);
        }
    }

    fn contact(&mut self, id: ContactId, now: Timestamp) -> &mut Allowance {
        self.contacts.entry(id).or_insert_with(|| Allowance {
            messages: Bucket::new(u64::from(limits::CONTACT_BURST), u64::from(limits::CONTACT_PER_HOUR), HOUR_MS, now),
            bytes: Bucket::new(limits::CONTACT_BYTES_PER_DAY, limits::CONTACT_BYTES_PER_DAY, DAY_MS, now),
        })
    }

    fn invitation(&mut self, id: InvitationId, now: Timestamp) -> &mut Bucket {
        let per_hour = u64::from(limits::STRANGER_PER_HOUR);
        self.invitations.entry(id).or_insert_with(|| Bucket::new(per_hour, per_hour, HOUR_MS, now))
    }

    fn strangers(&mut self, now: Timestamp) -> &mut Bucket {
        let per_hour = u64::from(limits::STRANGER_PER_HOUR);
        self.strangers.get_or_insert_with(|| Bucket::new(per_hour, per_hour, HOUR_MS, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    impl Rates {
        fn take(&mut self, sender: Sender, size: u64, now: Timestamp) -> bool {
            self.charge(&mut Charges::none(size), sender, now)
        }
    }

    #[test]
    fn strangers_share_five_an_hour_and_contacts_are_apart() {
        let mut now = Timestamp::from_secs(1_800_000_000);
        let mut rates = Rates::default();
        for _ in 0..limits::STRANGER_PER_HOUR {
            assert!(rates.take(Sender::Stranger, 1, now));
        }
        assert!(!rates.take(Sender::Stranger, 1, now));
        assert!(rates.take(Sender::Contact(ContactId::from_bytes([1; 16])), 1, now));
        now = now.plus(Duration::from_secs(720));
        assert!(rates.take(Sender::Stranger, 1, now));
        assert!(!rates.take(Sender::Stranger, 1, now));
    }

    #[test]
    fn one_contact_brings_no_more_than_its_bytes_a_day() {
        let now = Timestamp::from_secs(1_800_000_000);
        let contact = Sender::Contact(ContactId::from_bytes([1; 16]));
        let mut rates = Rates::default();
        let size = limits::OBJECT_BYTES as u64;
        let taken = (0..1000).filter(|_| rates.take(contact, size, now)).count() as u64;
        assert_eq!(taken, limits::CONTACT_BYTES_PER_DAY / size);
        let half = now.plus(Duration::from_secs(12 * 3600));
        let more = (0..1000).filter(|_| rates.take(contact, size, half)).count() as u64;
        assert!((taken / 2..=taken / 2 + 1).contains(&more));
    }

    #[test]
    fn a_clock_that_goes_back_refills_nothing() {
        let now = Timestamp::from_secs(1_800_000_000);
        let mut rates = Rates::default();
        while rates.take(Sender::Stranger, 1, now) {}
        assert!(!rates.take(Sender::Stranger, 1, now.minus(Duration::from_secs(9999))));
    }

    #[test]
    fn nothing_is_taken_twice_from_one_allowance_and_what_is_given_back_can_be_taken_again() {
        let now = Timestamp::from_secs(1_800_000_000);
        let id = ContactId::from_bytes([1; 16]);
        let mut rates = Rates::default();
        let mut charges = Charges::none(limits::CONTACT_BYTES_PER_DAY);
        assert!(rates.charge(&mut charges, Sender::Contact(id), now));
        assert!(rates.charge(&mut charges, Sender::Contact(id), now));
        assert!(!rates.take(Sender::Contact(id), 1, now));
        rates.give_back(&mut charges, id, now);
        rates.give_back(&mut charges, id, now);
        assert!(rates.take(Sender::Contact(id), limits::CONTACT_BYTES_PER_DAY, now));
        assert!(!rates.take(Sender::Contact(id), 1, now));
    }
}
