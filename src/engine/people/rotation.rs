//! Rotation: our contacts seal to another encryption key every week, and the secret half of each key is destroyed when
//! nothing that was sealed to it can be under way any more (docs/protocol.md, "Encryption keys"). Whoever takes all keys
//! of the node after that opens nothing that was recorded before.
//!
//! The driver keeps the secret halves. A new one is on the disk before the record that makes its key ours, and a card with
//! the new certificate follows for each contact. A half is destroyed before the record that says so; a crash between the
//! two is made up for at the next start, where the driver says which halves it has.

use crate::base::limits;
use crate::base::rng::{Rng, within};
use crate::base::{OpId, SealKeyId, Timestamp};

use crate::engine::context::{Completion, Context, Owner, Room};
use crate::engine::io::Effect;
use crate::engine::people::cards::next_card;
use crate::engine::state::State;
use crate::engine::state::book::{ContactChange, ContactStatus, PendingCard};
use crate::engine::state::record::{BookRecord, IdentityRecord, Record};
use crate::engine::state::seal_keys::KnownKey;

/// When the next step is due, and the one that is under way.
pub(in crate::engine) struct Rotation {
    /// Whether the driver said which secret halves it has.
    has_looked: bool,
    /// The secret half of the present key is not there: nobody can write to us, so that a new key does not wait for
    /// anything.
    is_lost: bool,
    under_way: Option<OpId>,
    /// When the present key is replaced; `None` until that is known.
    renewal: Option<Timestamp>,
    next: Timestamp,
}

impl Rotation {
    /// At a start the first step is to see which secret halves there are.
    pub(in crate::engine) const fn at_start(now: Timestamp) -> Self {
        Self { has_looked: false, is_lost: false, under_way: None, renewal: None, next: now }
    }

    /// When something is due: not before the clock is trusted (`from`), for a key that was destroyed does not come back.
    pub(in crate::engine) fn poll(&self, from: Timestamp) -> Option<Timestamp> {
        let next = if self.has_looked && !self.is_lost { self.next.max(from) } else { self.next };
        Some(next).filter(|_| self.under_way.is_none())
    }

    /// The clock was set: what is due is decided anew.
    pub(in crate::engine) const fn clock_set(&mut self, now: Timestamp) {
        (self.renewal, self.next) = (None, now);
    }

    /// Begins the step that is due.
    pub(in crate::engine) fn handle_timeout(&mut self, cx: &mut Context<'_>, trusted: Timestamp) {
        if self.poll(trusted).is_none_or(|due| due > cx.now) {
            return;
        }
        let settled = self.has_looked && !self.is_lost;
        let old: Vec<SealKeyId> = if settled { over(cx.state, cx.now).collect() } else { Vec::new() };
        if self.has_looked && old.is_empty() {
            if self.renewal_due(cx) > cx.now {
                return self.plan(cx);
            }
            let op = self.begin(cx);
            return cx.out.effect(Effect::MakeSealKey(op));
        }
        let op = self.begin(cx);
        cx.out.effect(Effect::DestroySealKeys(op, old));
    }

    fn begin(&mut self, cx: &mut Context<'_>) -> OpId {
        let op = cx.out.operation(Owner::Room(Room::Rotation));
        self.under_way = Some(op);
        op
    }

    /// An operation is over.
    pub(in crate::engine) fn completed(&mut self, cx: &mut Context<'_>, op: OpId, completion: Completion) {
        if self.under_way != Some(op) {
            return;
        }
        self.under_way = None;
        let records = match completion {
            Completion::SealKeysHeld(Some(held)) => self.looked(cx, &held),
            Completion::SealKeyMade(Ok((id, certificate))) => {
                self.is_lost = false;
                let renewed = IdentityRecord::SealKeyRenewed { id, certificate, at: cx.now };
                std::iter::once(renewed.into()).chain(cards(cx)).collect()
            }
            Completion::Committed(Ok(_)) => {
                self.renewal = None;
                return self.plan(cx);
            }
            _ => {
                self.next = cx.now.plus(limits::SEAL_KEY_RETRY);
                return;
            }
        };
        if records.is_empty() {
            return self.plan(cx);
        }
        self.under_way = Some(cx.out.commit(Owner::Room(Room::Rotation), records));
    }

    /// The driver has these secret halves: gives the records of those that are gone. If the present one is gone, a new key
    /// is due, because nobody could write to us.
    fn looked(&mut self, cx: &Context<'_>, held: &[SealKeyId]) -> Vec<Record> {
        self.has_looked = true;
        let keys = cx.state.seal_keys();
        let gone = |key: &&KnownKey| !held.contains(&key.id);
        if keys.current().filter(gone).is_some() {
            (self.is_lost, self.renewal) = (true, Some(cx.now));
        }
        let ids: Vec<_> = keys.iter().filter(gone).filter(|key| key.replaced.is_some()).map(|key| key.id).collect();
        if ids.is_empty() { Vec::new() } else { vec![IdentityRecord::SealKeysDestroyed { ids }.into()] }
    }

    /// Decides when the next step is due.
    fn plan(&mut self, cx: &mut Context<'_>) {
        let renewal = self.renewal_due(cx);
        let replaced = cx.state.seal_keys().iter().filter_map(|key| key.replaced);
        let over = replaced.map(|replaced| replaced.plus(limits::SEAL_KEY_KEPT)).min();
        self.next = over.map_or(renewal, |over| over.min(renewal)).max(cx.now);
    }

    /// When the present key is to be replaced.
    fn renewal_due(&mut self, cx: &mut Context<'_>) -> Timestamp {
        let now = cx.now;
        *self.renewal.get_or_insert_with(|| due(cx.state, now, cx.rng))
    }
}

/// When the present key is to be replaced. A key that was made in the future, under a clock that was wrong, is replaced now.
fn due(state: &State, now: Timestamp, rng: &mut dyn Rng) -> Timestamp {
    let made = state.profile().map(|profile| profile.public.created);
    let since = state.seal_keys().current().map(|key| key.since).or(made).unwrap_or(now);
    if since > now.plus(limits::SIGNATURE_SKEW) {
        return now;
    }
    within(since.plus(limits::SEAL_KEY_USE), limits::SEAL_KEY_SPREAD, rng)
}

/// The keys whose secret halves are not needed any more.
fn over(state: &State, now: Timestamp) -> impl Iterator<Item = SealKeyId> {
    let is_over =
        move |key: &&KnownKey| key.replaced.is_some_and(|replaced| replaced.plus(limits::SEAL_KEY_KEPT) <= now);
    state.seal_keys().iter().filter(is_over).map(|key| key.id)
}

/// A new card for each contact that has one of ours. A greeting that waits counts for as long as before. Nobody takes a card
/// of an identity that was revoked.
fn cards(cx: &mut Context<'_>) -> Vec<Record> {
    if cx.state.revoked().is_some() {
        return Vec::new();
    }
    let queued = cx.state.book().contacts().filter_map(|contact| {
        let card = match (contact.status, &contact.cards.pending) {
            (ContactStatus::Confirmed, _) => next_card(contact, cx.now, None, cx.rng),
            (ContactStatus::Greeting, Some(waiting)) => {
                let card = next_card(contact, cx.now, waiting.secret, cx.rng);
                PendingCard { expires: waiting.expires, ..card }
            }
            _ => return None,
        };
        let change = ContactChange::CardQueued(card);
        Some(BookRecord::ContactChanged { id: contact.id, change }.into())
    });
    queued.collect()
}
