//! Rotation: our contacts seal to another encryption key every week, and the secret half of each key is destroyed 16 days
//! after it was replaced (docs/protocol.md, "Encryption keys"). Whoever takes all keys of the node after that opens nothing
//! that was sealed to it.
//!
//! The driver keeps the secret halves. A new one is on the disk before the record that makes its key ours, and a card with
//! the new certificate follows for each contact. A half is destroyed before the record that says so; a crash between the
//! two is made up for at the next start, where the driver says which halves it has.

use std::sync::Arc;

use crate::base::limits;
use crate::base::rng::{Rng, within};
use crate::base::{OpId, SealKeyId, Timestamp};

use crate::engine::context::{Completion, Context, Owner, Room};
use crate::engine::io::{Draft, Effect};
use crate::engine::people::cards::next_card;
use crate::engine::state::State;
use crate::engine::state::book::{ContactChange, ContactStatus, PendingCard};
use crate::engine::state::record::{BookRecord, IdentityRecord, Record};
use crate::engine::state::seal_keys::KnownKey;

/// What an operation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The driver says which secret halves there are, after it destroyed some.
    Looking,
    /// A key is being made.
    Making,
    /// The record that makes it ours is being committed, with the cards that tell of it.
    Renewing,
    /// What was seen is being committed.
    Noting,
}

/// When the next step is due, and the one that is under way.
#[derive(Default)]
pub(in crate::engine) struct Rotation {
    /// Whether the driver said which secret halves it has.
    has_looked: bool,
    /// The secret half of the present key is not there: nobody can write to us, so that a new key is due now.
    is_lost: bool,
    under_way: Option<(OpId, Step)>,
    /// A key that was made and whose record could not be committed yet.
    made: Option<(SealKeyId, Arc<[u8]>)>,
    /// When the present key is replaced; `None` until that is decided.
    renewal: Option<Timestamp>,
    /// Nothing is begun before: the disk failed.
    pause: Option<Timestamp>,
}

impl Rotation {
    /// When something is due. The next key need not wait until the clock is trusted (`trusted`); a key that was destroyed
    /// does not come back.
    pub(in crate::engine) fn poll(&self, state: &State, trusted: Timestamp) -> Option<Timestamp> {
        if self.under_way.is_some() {
            return None;
        }
        let over = state.seal_keys().iter().filter_map(|key| key.replaced).min();
        let over = over.map(|replaced| replaced.plus(limits::SEAL_KEY_KEPT).max(trusted)).filter(|_| self.has_looked);
        let now = Timestamp::default();
        let renewal = if self.has_looked { self.renewal.unwrap_or(now) } else { now };
        let due = over.map_or(renewal, |over| over.min(renewal));
        Some(self.pause.map_or(due, |pause| pause.max(due)))
    }

    /// The clock was set: what is due is decided anew.
    pub(in crate::engine) const fn clock_set(&mut self) {
        (self.renewal, self.pause) = (None, None);
    }

    /// Begins the step that is due.
    pub(in crate::engine) fn handle_timeout(&mut self, cx: &mut Context<'_>, trusted: Timestamp) {
        if self.poll(cx.state, trusted).is_none_or(|due| due > cx.now) {
            return;
        }
        self.pause = None;
        if !self.has_looked {
            return self.look(cx, Vec::new());
        }
        // First, so that there is room for a new key.
        let old: Vec<_> = if cx.now < trusted { Vec::new() } else { over(cx.state, cx.now).collect() };
        if !old.is_empty() {
            return self.look(cx, old);
        }
        if self.renewal_due(cx) <= cx.now {
            self.renew(cx);
        }
    }

    fn look(&mut self, cx: &mut Context<'_>, destroyed: Vec<SealKeyId>) {
        let op = self.begin(cx, Step::Looking);
        cx.out.effect(Effect::DestroySealKeys(op, destroyed));
    }

    fn renew(&mut self, cx: &mut Context<'_>) {
        if let Some((id, certificate)) = self.made.clone() {
            // In one transaction: a card that waits does not leave again with another certificate and the number of before.
            let renewed = IdentityRecord::SealKeyRenewed { id, certificate, at: cx.now };
            let records: Vec<_> = std::iter::once(renewed.into()).chain(cards(cx)).collect();
            return self.commit(cx, records, Step::Renewing);
        }
        if cx.disk_low {
            self.pause = Some(cx.now.plus(limits::SEAL_KEY_RETRY));
            return;
        }
        let op = self.begin(cx, Step::Making);
        cx.out.effect(Effect::MakeSealKey(op));
    }

    fn begin(&mut self, cx: &mut Context<'_>, step: Step) -> OpId {
        let op = cx.out.operation(Owner::Room(Room::Rotation));
        self.under_way = Some((op, step));
        op
    }

    fn commit(&mut self, cx: &mut Context<'_>, change: impl Into<Draft>, step: Step) {
        self.under_way = Some((cx.out.commit(Owner::Room(Room::Rotation), change), step));
    }

    /// An operation is over.
    pub(in crate::engine) fn completed(&mut self, cx: &mut Context<'_>, op: OpId, completion: Completion) {
        let Some((_, step)) = self.under_way.take_if(|(waiting, _)| *waiting == op) else { return };
        match (step, completion) {
            (Step::Looking, Completion::SealKeysHeld(Some(held))) => self.looked(cx, &held),
            (Step::Making, Completion::SealKeyMade(Ok(made))) => {
                self.made = Some(made);
                self.renew(cx);
            }
            (Step::Renewing, Completion::Committed(Ok(_))) => {
                (self.made, self.is_lost, self.renewal) = (None, false, None);
                self.renewal_due(cx);
            }
            (Step::Noting, Completion::Committed(Ok(_))) => {}
            _ => self.pause = Some(cx.now.plus(limits::SEAL_KEY_RETRY)),
        }
    }

    /// The driver has these secret halves: notes those that are gone, and those that no record names, which count as
    /// replaced from now on.
    fn looked(&mut self, cx: &mut Context<'_>, held: &[SealKeyId]) {
        self.has_looked = true;
        let keys = cx.state.seal_keys();
        let is_gone = |key: &&KnownKey| !held.contains(&key.id);
        self.is_lost = keys.current().is_some_and(|key| is_gone(&key));
        self.renewal_due(cx);
        let gone = keys.iter().filter(is_gone).filter(|key| key.replaced.is_some());
        let gone: Vec<_> = gone.map(|key| key.id).collect();
        let made = self.made.as_ref().map(|(id, _)| *id);
        let known = |id: &SealKeyId| keys.iter().any(|key| key.id == *id) || made == Some(*id);
        let found: Vec<_> = held.iter().filter(|id| !known(id)).copied().collect();
        let gone = (!gone.is_empty()).then_some(IdentityRecord::SealKeysDestroyed { ids: gone });
        let found = (!found.is_empty()).then_some(IdentityRecord::SealKeysFound { ids: found, at: cx.now });
        let records: Vec<Record> = gone.into_iter().chain(found).map(Record::from).collect();
        if !records.is_empty() {
            self.commit(cx, records, Step::Noting);
        }
    }

    /// When the present key is to be replaced.
    fn renewal_due(&mut self, cx: &mut Context<'_>) -> Timestamp {
        if self.is_lost || self.made.is_some() {
            self.renewal = Some(cx.now);
        }
        let now = cx.now;
        *self.renewal.get_or_insert_with(|| due(cx.state, now, cx.rng))
    }
}

/// When the present key is to be replaced. A key that was made in the future, under a clock that was wrong, is replaced now.
/// The first one serves for a time of its own, so that two identities which were made together do not go on together.
fn due(state: &State, now: Timestamp, rng: &mut dyn Rng) -> Timestamp {
    let made = state.profile().map(|profile| profile.public.created);
    let since = state.seal_keys().current().map(|key| key.since).or(made).unwrap_or(now);
    if since > now.plus(limits::SIGNATURE_SKEW) {
        return now;
    }
    if Some(since) == made {
        return within(since, limits::SEAL_KEY_USE + limits::SEAL_KEY_SPREAD, rng);
    }
    within(since.plus(limits::SEAL_KEY_USE), limits::SEAL_KEY_SPREAD, rng)
}

/// The keys whose secret halves are not needed any more.
fn over(state: &State, now: Timestamp) -> impl Iterator<Item = SealKeyId> {
    let is_over =
        move |key: &&KnownKey| key.replaced.is_some_and(|replaced| replaced.plus(limits::SEAL_KEY_KEPT) <= now);
    state.seal_keys().iter().filter(is_over).map(|key| key.id)
}

/// A new card for each contact that has one of ours, with the secret of the card that waits where there is one. A greeting
/// that waits counts for as long as before. Nobody takes a card of an identity that was revoked.
fn cards(cx: &mut Context<'_>) -> Vec<Record> {
    if cx.state.revoked().is_some() {
        return Vec::new();
    }
    let queued = cx.state.book().contacts().filter_map(|contact| {
        let waiting = contact.cards.pending.as_ref();
        let card = next_card(contact, cx.now, waiting.and_then(|card| card.secret), cx.rng);
        let card = match (contact.status, waiting) {
            (ContactStatus::Confirmed, _) => card,
            (ContactStatus::Greeting, Some(waiting)) => PendingCard { expires: waiting.expires, ..card },
            _ => return None,
        };
        let change = ContactChange::CardQueued(card);
        Some(BookRecord::ContactChanged { id: contact.id, change }.into())
    });
    queued.collect()
}
