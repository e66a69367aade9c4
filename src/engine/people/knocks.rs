//! Knocks: a node that can be reached again shows its contacts that it is there, so that what waits for it comes at once
//! instead of at their next attempt (docs/protocol.md, "Knock").
//!
//! A knock is a session with an authenticated SEND and no MESSAGE. Contacts with whom something went lately are knocked
//! at within seconds, the others within minutes, each at a random moment of its own; none again soon, and none that has
//! taken something from us meanwhile. All of this is only in memory.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::base::limits;
use crate::base::rng::within;
use crate::base::{ClockStep, ContactId, OpId, SessionId, Timestamp};

use crate::engine::context::{Completion, Context};
use crate::engine::dialled::{Dialled, Line};
use crate::engine::session::{DeliveryClient, Event, Job, Ticket, Way};
use crate::engine::state::book::{Contact, ContactStatus};
use crate::engine::state::{AttemptError, State};
use crate::wire::{Claim, Importance, digest};

/// A knock that is to be made.
struct Planned {
    at: Timestamp,
    /// Whether it is made again, once, where it fails.
    again: bool,
}

/// A knock that is being made.
struct UnderWay {
    session: SessionId,
    /// Whether the contact took something from us meanwhile.
    seen: bool,
}

/// The knocks that are planned and under way.
#[derive(Default)]
pub(in crate::engine) struct Knocks {
    /// The owner wants none.
    off: bool,
    planned: BTreeMap<ContactId, Planned>,
    under_way: BTreeMap<ContactId, UnderWay>,
    /// When each contact was last knocked at.
    knocked: BTreeMap<ContactId, Timestamp>,
}

impl Knocks {
    /// Whether the configuration lets this identity knock.
    pub(in crate::engine) const fn are_wanted(&self) -> bool {
        !self.off
    }

    /// Whether the owner wants any, from the next time on that peers reach us.
    pub(in crate::engine) const fn set_wanted(&mut self, wanted: bool) {
        self.off = !wanted;
    }

    /// Peers reach us, and did not before: plans a knock at each contact.
    pub(in crate::engine) fn reachable(&mut self, cx: &mut Context<'_>) {
        if self.off || !cx.state.notes().knocks() {
            return;
        }
        let answered = cx.state.answered();
        let known = cx.state.book().contacts().filter(|contact| may_be_knocked_at(cx.state, contact));
        let known = known.filter(|contact| !self.under_way.contains_key(&contact.id));
        let mut contacts: Vec<_> = known.map(|contact| (answered.get(&contact.id).copied(), contact.id)).collect();
        contacts.sort_unstable_by_key(|contact| Reverse(*contact));
        contacts.truncate(limits::KNOCKS);
        for (answered, contact) in contacts {
            let lately = answered.is_some_and(|at| cx.now < at.plus(limits::ANSWERED_LATELY));
            let (pause, spread) = if lately {
                (limits::KNOCK_AGAIN_LATELY, limits::START_SPREAD)
            } else {
                (limits::KNOCK_AGAIN, limits::KNOCK_SPREAD)
            };
            let soonest = self.knocked.get(&contact).map_or(cx.now, |at| at.plus(pause).max(cx.now));
            let at = within(soonest, spread, cx.rng);
            self.planned.entry(contact).or_insert(Planned { at, again: true });
        }
    }

    /// A contact has taken something from us, so that it knows that we are there. (That it brought something shows less: a
    /// friend may have brought it for the contact.)
    pub(in crate::engine) fn seen_by(&mut self, contact: ContactId) {
        self.planned.remove(&contact);
        if let Some(under_way) = self.under_way.get_mut(&contact) {
            under_way.seen = true;
        }
    }

    /// We have parted from a contact; the session in which it is knocked at just now, if there is one, is to end.
    pub(in crate::engine) fn part(&mut self, contact: ContactId) -> Option<SessionId> {
        self.planned.remove(&contact);
        self.knocked.remove(&contact);
        self.under_way.get(&contact).map(|under_way| under_way.session)
    }

    /// The clock was set. After a sleep a planned knock is due sooner, and the last one was longer ago.
    pub(in crate::engine) fn clock_set(&mut self, step: ClockStep) {
        if let ClockStep::Back(_) = step {
            self.planned.values_mut().for_each(|planned| planned.at = planned.at.stepped(step));
            self.knocked.values_mut().for_each(|at| *at = at.stepped(step));
        }
    }

    /// When the next knock is due.
    pub(in crate::engine) fn poll(&self) -> Option<Timestamp> {
        let free = self.under_way.len() < limits::PARALLEL_KNOCKS;
        self.planned.values().map(|planned| planned.at).min().filter(|_| free)
    }

    /// Dials the next contact that is due, if a dial is free. `is_dialled` says whether a session leads there already,
    /// which shows the same.
    pub(in crate::engine) fn next(
        &mut self,
        cx: &mut Context<'_>,
        is_dialled: impl Fn(ContactId) -> bool,
    ) -> Option<KnockTask> {
        while self.poll().is_some_and(|at| at <= cx.now) {
            let (&contact, _) = self.planned.iter().min_by_key(|(_, planned)| planned.at)?;
            let again = self.planned.remove(&contact).is_some_and(|planned| planned.again);
            let entry = cx.state.book().contact(contact).filter(|entry| may_be_knocked_at(cx.state, entry));
            let Some(entry) = entry.filter(|_| !cx.state.is_hidden() && !is_dialled(contact)) else { continue };
            let line = Line::dial(cx.out, entry.address.onion(), Some(contact));
            self.under_way.insert(contact, UnderWay { session: line.session(), seen: false });
            return Some(KnockTask { line, contact, again });
        }
        None
    }
}

/// Whether a contact would learn anything from a knock, and may.
fn may_be_knocked_at(state: &State, contact: &Contact) -> bool {
    let notes = state.notes();
    contact.status == ContactStatus::Confirmed
        && state.revoked().is_none()
        && contact.outbound.is_some()
        && notes.knocks()
        && notes.knocks_at(contact.id)
}

/// One session that shows a contact that we are there.
pub(in crate::engine) struct KnockTask {
    line: Line<DeliveryClient>,
    contact: ContactId,
    again: bool,
}

impl Dialled for KnockTask {
    type Machine = DeliveryClient;
    type Rooms<'r> = Knocks;

    fn line(&self) -> &Line<DeliveryClient> {
        &self.line
    }

    fn line_mut(&mut self) -> &mut Line<DeliveryClient> {
        &mut self.line
    }

    fn dialled(&mut self, cx: &mut Context<'_>, knocks: &mut Knocks) {
        self.line.connected(DeliveryClient::new(cx.now));
        let contact = cx.state.book().contact(self.contact).filter(|contact| may_be_knocked_at(cx.state, contact));
        let (Some(contact), Some(machine)) = (contact, self.line.machine()) else {
            return self.end(cx, knocks, None);
        };
        // The authenticator covers what is announced; another hash each time, so that no two of them are the same.
        let mut hash = [0; 32];
        cx.rng.fill(&mut hash);
        let job = Job {
            to: contact.address.clone(),
            certificate: contact.certificate.as_ref().map(|bytes| digest(bytes)),
            object: None,
            auth: contact.outbound.clone(),
            importance: Importance::Normal,
            way: Way::Knock(Claim { hash, size: 1 }),
        };
        machine.send(cx.now, Ticket(1), job);
    }

    fn event(&mut self, cx: &mut Context<'_>, knocks: &mut Knocks, event: Event) {
        let problem = match event {
            Event::Wanted { ticket } | Event::Certificate { ticket, .. } => {
                if let Some(machine) = self.line.machine() {
                    machine.withdraw(cx.now, ticket);
                }
                None
            }
            Event::Outcome { .. } => None,
            Event::Failed { .. } => Some(AttemptError::Broken),
        };
        self.end(cx, knocks, problem);
    }

    fn completed(&mut self, _: &mut Context<'_>, _: &mut Knocks, _: OpId, _: Completion) {}

    fn ended(&mut self, cx: &mut Context<'_>, knocks: &mut Knocks, problem: Option<AttemptError>) {
        let seen = knocks.under_way.remove(&self.contact).is_some_and(|under_way| under_way.seen);
        let is_gone = cx.state.book().contact(self.contact).is_none();
        // Where it was our own network, its return plans knocks anew.
        if is_gone || matches!(problem, Some(AttemptError::Offline | AttemptError::Local)) {
            return;
        }
        knocks.knocked.insert(self.contact, cx.now);
        if problem.is_some() && self.again && !seen {
            let at = within(cx.now.plus(limits::RETRY_SOON), limits::RETRY_SOON, cx.rng);
            knocks.planned.entry(self.contact).or_insert(Planned { at, again: false });
        }
    }
}
