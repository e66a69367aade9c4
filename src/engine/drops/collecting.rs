//! One session with a drop of ours: it is registered where it is not, then we identify ourselves, upload the sets of tokens that
//! the carrier is to have, watch, and take what is there, one object at a time.
//!
//! An object is opened, judged and committed like one that came from its author directly; only then is it deleted at the
//! carrier. What cannot be taken now stays there and is looked at again. Of an object in several parts, what came before a
//! session broke is kept in memory, and the next session asks for the rest.

mod answers;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::rented::{DropChange, Rented, Stage};
use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::{ClockStep, DropId, InvitationId, ObjectId, SessionId, Timestamp};
use crate::engine::book::{Contact, ContactChange, ContactStatus};
use crate::engine::effect::{CommitError, DialError, Effect};
use crate::engine::greeting::next_card;
use crate::engine::identity::{Identity, Then};
use crate::engine::record::Record;
use crate::engine::session::{Patron, Service, Ticket};
use crate::engine::state::AttemptError;
use crate::wire::mailbox::{BoxCommand, Entry, Part, Policy, Registration, Selection, Style};
use crate::wire::token::{Class, Epoch, epoch};

const PURPOSE: &str = "collect";
/// A session ends by itself so long before its carrier would end it. The next one follows at once: it sees whether sets are
/// missing, and a connection that is dead without saying so does not last.
const MARGIN: Duration = Duration::from_secs(120);

/// What it waits for.
enum Step {
    Dialling,
    /// REGISTER was sent.
    Registering,
    /// The challenge is being opened; this is the carrier's certificate.
    Opening(Arc<[u8]>),
    /// The answer is being sealed.
    Sealing,
    /// CHALLENGE_ACCEPTED was sent.
    Proving,
    /// IDENTIFY was sent.
    Identifying,
    /// The proof is being signed; for one command, where the carrier wants that.
    Signing([u8; 32], Option<String>),
    /// RESPOND was sent.
    Responding,
    /// TOKENS was sent for the first of these classes.
    Uploading(Epoch, Vec<Class>),
    /// PAGE was sent for this invitation.
    Posting(InvitationId),
    /// WATCH was sent.
    Watching,
    /// LIST was sent.
    Listing,
    /// RETRIEVE was sent; this is what came before.
    Fetching(Entry, Vec<u8>),
    /// An object is being judged.
    Judging(ObjectId),
    /// DELETE was sent.
    Deleting,
    /// A commit is under way.
    Noting,
    /// There is nothing to do until then.
    Resting(Timestamp),
}

/// A command that waits, with what it waits for then.
struct Asked {
    command: BoxCommand,
    block: Vec<u8>,
    bound: u64,
    step: Step,
}

/// One session with a drop of ours.
pub(in super::super) struct Collecting {
    drop: DropId,
    machine: Option<Patron>,
    begun: Timestamp,
    step: Step,
    last_ticket: u64,
    /// For how long the carrier lets an identification count; `None` until it was asked.
    policy: Option<Policy>,
    identified: bool,
    /// Until when it counts, where that is not the whole session.
    identified_until: Option<Timestamp>,
    /// What waits until the carrier has seen our key for it.
    held_back: Option<Asked>,
    watching: bool,
    /// The carrier takes no more sets now.
    sets_refused: bool,
    /// Nor these pages.
    pages_refused: BTreeSet<InvitationId>,
    /// Whether something may be there that is not in the list.
    news: bool,
    /// The list is not asked for before.
    list_from: Timestamp,
    listed: VecDeque<Entry>,
    /// What could not be taken now.
    passed_over: BTreeSet<ObjectId>,
    /// What was judged, and is not taken again whatever the carrier lists.
    judged: BTreeSet<ObjectId>,
    /// How many objects in a row were nothing for us.
    refused: u32,
}

impl Collecting {
    const fn new(drop: DropId, now: Timestamp) -> Self {
        Self {
            drop,
            machine: None,
            begun: now,
            step: Step::Dialling,
            last_ticket: 0,
            policy: None,
            identified: false,
            identified_until: None,
            held_back: None,
            watching: false,
            sets_refused: false,
            pages_refused: BTreeSet::new(),
            news: true,
            list_from: now,
            listed: VecDeque::new(),
            passed_over: BTreeSet::new(),
            judged: BTreeSet::new(),
            refused: 0,
        }
    }

    pub(in super::super) fn poll_timeout(&self) -> Option<Timestamp> {
        let machine = self.machine.as_ref()?.poll_timeout();
        let rest = match self.step {
            Step::Resting(until) => Some(until),
            _ => None,
        };
        machine.into_iter().chain(rest).min()
    }

    pub(in super::super) fn clock_set(&mut self, step: ClockStep, now: Timestamp) {
        if let Some(machine) = &mut self.machine {
            machine.clock_set(step);
        }
        self.begun = self.begun.stepped(step);
        self.list_from = self.list_from.stepped(step);
        if let Step::Resting(until) = &mut self.step {
            *until = (*until).min(now.plus(limits::COLLECT_AGAIN));
        }
        self.identified_until = self.identified_until.map(|until| until.stepped(step));
    }

    fn ask(&mut self, now: Timestamp, command: &BoxCommand, block: &[u8], bound: u64, step: Step) {
        self.last_ticket += 1;
        self.step = step;
        if let Some(machine) = &mut self.machine {
            machine.ask(now, Ticket(self.last_ticket), command, block, bound);
        }
    }

    fn identify(&mut self, now: Timestamp, rented: &Rented) {
        let identify = BoxCommand::Identify { mailbox: rented.fingerprint.to_string(), purpose: PURPOSE.to_owned() };
        self.ask(now, &identify, b"", 0, Step::Identifying);
    }

    /// Asks what the owner alone may ask, once the carrier has seen our key for it.
    fn ask_as_owner(
        &mut self,
        now: Timestamp,
        rented: &Rented,
        (command, block): (BoxCommand, Vec<u8>),
        bound: u64,
        step: Step,
    ) {
        let over = self.identified_until.is_some_and(|until| now >= until);
        if self.policy == Some(Policy::Command) || over {
            self.held_back = Some(Asked { command, block, bound, step });
            return self.identify(now, rented);
        }
        self.ask(now, &command, &block, bound, step);
    }
}

impl Identity {
    /// Dials the drops of ours that are due.
    pub(in super::super) fn collect_what_is_due(&mut self, now: Timestamp) {
        while let Some(drop) = self.rooms.boxes.calendar.collection_due(now) {
            let Some(rented) = self.state.drops().get(drop).cloned() else {
                self.rooms.boxes.calendar.collection_over(drop);
                continue;
            };
            let session = self.new_session();
            self.rooms.boxes.calendar.collection_begins(drop, session);
            self.collections.insert(session, Collecting::new(drop, now));
            self.effect(Effect::Dial(session, rented.onion, None));
        }
    }

    /// There may be something new to tell a carrier.
    pub(in super::super) fn wake_collections(&mut self, now: Timestamp, rng: &mut dyn Rng) {
        let rests = |collecting: &Collecting| matches!(collecting.step, Step::Resting(_));
        let sessions: Vec<_> =
            self.collections.iter().filter(|(_, collecting)| rests(collecting)).map(|(&session, _)| session).collect();
        for session in sessions {
            self.go_on(now, rng, session);
        }
    }

    /// The answer to the dial of a collection.
    pub(in super::super) fn collection_dialled(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        session: SessionId,
        result: Result<(), DialError>,
    ) {
        let Some(collecting) = self.collections.get_mut(&session) else { return };
        match result {
            Ok(()) => {
                collecting.machine = Some(Patron::new(now));
                collecting.begun = now;
                self.go_on(now, rng, session);
            }
            Err(error) => self.end_collection(now, rng, session, Some(error.into())),
        }
    }

    /// Begins whatever comes next.
    fn go_on(&mut self, now: Timestamp, rng: &mut dyn Rng, session: SessionId) {
        let Some(collecting) = self.collections.get(&session) else { return };
        let Some(rented) = self.state.drops().get(collecting.drop).cloned() else {
            return self.end_collection(now, rng, session, None);
        };
        let (mailbox, disk_low) = (rented.fingerprint.to_string(), self.disk_low);
        let forgotten = rented.stage == Stage::Leaving && self.is_forgotten(&rented);
        let missing_page = self.missing_page(now, rng, &rented, &collecting.pages_refused);
        let Some(collecting) = self.collections.get_mut(&session) else { return };
        // What takes long is begun by a session that has time for it.
        let end = collecting.begun.plus(limits::WIRE_SESSION.saturating_sub(MARGIN));
        let young = now.since(collecting.begun) < limits::WIRE_SESSION / 2;
        if now >= end || (!young && !collecting.listed.is_empty()) {
            return self.end_collection(now, rng, session, None);
        }
        if rented.stage == Stage::Registering {
            let certificate = rented.certificate.clone();
            let registration =
                Registration { address: None, invitation: rented.invitation, certificate: certificate.len() as u64 };
            let bound = (limits::CHALLENGE_BYTES + limits::CERTIFICATE_BYTES) as u64;
            collecting.ask(now, &BoxCommand::Register(registration), &certificate, bound, Step::Registering);
        } else if !collecting.identified {
            collecting.identify(now, &rented);
        } else if let Some(missing) = rented.missing(epoch(now)).filter(|_| !collecting.sets_refused) {
            let classes = Rented::classes().map(|(class, _)| class).collect();
            self.upload(now, session, &rented, missing, classes);
        } else if let Some(page) = missing_page {
            let command = BoxCommand::Page { name: page.name, until: page.until, size: page.bytes.len() as u64 };
            let step = Step::Posting(page.invitation);
            collecting.ask_as_owner(now, &rented, (command, page.bytes), 0, step);
        } else if !collecting.watching {
            collecting.watching = true;
            let watch = BoxCommand::Watch { mailbox };
            collecting.ask_as_owner(now, &rented, (watch, Vec::new()), 0, Step::Watching);
        } else if collecting.news && now >= collecting.list_from {
            collecting.news = false;
            collecting.list_from = now.plus(limits::LIST_PAUSE);
            let list = BoxCommand::List { mailbox, selection: Selection::default(), json: false };
            collecting.ask_as_owner(now, &rented, (list, Vec::new()), 0, Step::Listing);
        } else if let (false, Some(entry)) = (disk_low, collecting.listed.front().copied()) {
            collecting.listed.pop_front();
            let known =
                self.rooms.boxes.partly_fetched.get(&rented.id).is_some_and(|(object, _)| *object == entry.object);
            let before = if known { self.rooms.boxes.partly_fetched.remove(&rented.id) } else { None };
            self.fetch(now, session, &rented, entry, before.map_or_else(Vec::new, |(_, bytes)| bytes));
        } else if forgotten && !collecting.news && collecting.passed_over.is_empty() && collecting.listed.is_empty() {
            collecting.step = Step::Noting;
            let record = Record::DropRemoved { id: rented.id };
            self.commit(vec![record], Vec::new(), Then::Collecting(session));
        } else {
            let nothing_left = collecting.passed_over.is_empty() && collecting.listed.is_empty();
            let again = if nothing_left { end } else { now.plus(limits::COLLECT_AGAIN).min(end) };
            let again = if collecting.news { again.min(collecting.list_from) } else { again };
            collecting.step = Step::Resting(again);
        }
        self.flush_collection(session);
    }

    /// Whether nobody leaves anything at a drop any more: everybody who knew it was told.
    fn is_forgotten(&self, rented: &Rented) -> bool {
        let told = |contact| {
            let entry = self.state.book().contact(contact);
            entry.is_none_or(|entry| entry.status != ContactStatus::Confirmed || entry.cards.pending.is_none())
        };
        rented.seats.iter().filter_map(|seat| seat.contact).all(told)
    }

    fn upload(&mut self, now: Timestamp, session: SessionId, rented: &Rented, of: Epoch, classes: Vec<Class>) {
        let Some(collecting) = self.collections.get_mut(&session) else { return };
        let Some(class) = classes.first().copied() else {
            collecting.step = Step::Noting;
            let record = Record::DropChanged { id: rented.id, change: DropChange::Uploaded(of) };
            return self.commit(vec![record], Vec::new(), Then::Collecting(session));
        };
        let block = rented.set(of, class).concat();
        let command = BoxCommand::Tokens { epoch: of, class: class.number(), size: block.len() as u64 };
        collecting.ask_as_owner(now, rented, (command, block), 0, Step::Uploading(of, classes));
        self.flush_collection(session);
    }

    fn fetch(&mut self, now: Timestamp, session: SessionId, rented: &Rented, entry: Entry, before: Vec<u8>) {
        let Some(collecting) = self.collections.get_mut(&session) else { return };
        let part = Part::Range { offset: before.len() as u64, length: None };
        let (mailbox, style) = (rented.fingerprint.to_string(), Style::default());
        let command = BoxCommand::Retrieve { mailbox, object: entry.object, part, style };
        let (bound, step) = (limits::RETRIEVED_BYTES, Step::Fetching(entry, before));
        collecting.ask_as_owner(now, rented, (command, Vec::new()), bound, step);
        self.flush_collection(session);
    }

    /// The carrier sent bytes.
    pub(in super::super) fn collection_received(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        session: SessionId,
        bytes: &[u8],
    ) {
        self.with_collection(now, rng, session, |machine| machine.handle(now, bytes));
    }

    /// The connection ended.
    pub(in super::super) fn collection_closed(&mut self, now: Timestamp, rng: &mut dyn Rng, session: SessionId) {
        self.end_collection(now, rng, session, Some(AttemptError::Broken));
    }

    /// Lets collections see that time has passed.
    pub(in super::super) fn collection_timeouts(&mut self, now: Timestamp, rng: &mut dyn Rng) {
        let due = |collecting: &Collecting| collecting.poll_timeout().is_some_and(|at| at <= now);
        let sessions: Vec<_> =
            self.collections.iter().filter(|(_, collecting)| due(collecting)).map(|(&session, _)| session).collect();
        for session in sessions {
            self.with_collection(now, rng, session, |machine| machine.handle_timeout(now));
            let Some(collecting) = self.collections.get_mut(&session) else { continue };
            if matches!(collecting.step, Step::Resting(until) if until <= now) {
                collecting.sets_refused = false;
                collecting.news |= !std::mem::take(&mut collecting.passed_over).is_empty();
                self.go_on(now, rng, session);
            }
        }
    }

    fn with_collection(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        session: SessionId,
        act: impl FnOnce(&mut Patron),
    ) {
        let machine = |all: &mut Self| all.collections.get_mut(&session).and_then(|one| one.machine.take());
        let Some(mut patron) = machine(self) else { return };
        act(&mut patron);
        let events = patron.take_events();
        if let Some(collecting) = self.collections.get_mut(&session) {
            collecting.machine = Some(patron);
        }
        for event in events {
            match event {
                Service::Arrived(..) => self.collection_news(now, rng, session),
                Service::Answer(_, lines) => self.collection_answered(now, rng, session, &lines),
                Service::Failed(..) => self.end_collection(now, rng, session, Some(AttemptError::Broken)),
            }
        }
        self.flush_collection(session);
    }

    fn collection_news(&mut self, now: Timestamp, rng: &mut dyn Rng, session: SessionId) {
        let Some(collecting) = self.collections.get_mut(&session) else { return };
        collecting.news = true;
        if matches!(collecting.step, Step::Resting(_)) {
            self.go_on(now, rng, session);
        }
    }

    /// A commit of a collection was done, or was not.
    pub(in super::super) fn collection_committed(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        session: SessionId,
        result: Result<(), CommitError>,
    ) {
        match result {
            Ok(()) => {
                self.offer_seats(now, rng);
                self.go_on(now, rng, session);
            }
            Err(_) => self.end_collection(now, rng, session, Some(AttemptError::Local)),
        }
    }

    /// Tells contacts of drops of ours that they do not know yet: each gets a seat, and a card that names it.
    pub(in super::super) fn offer_seats(&mut self, now: Timestamp, rng: &mut dyn Rng) {
        if self.rooms.boxes.seating {
            return;
        }
        let (mut records, mut told) = (Vec::new(), BTreeSet::new());
        for rented in self.state.drops().rented().filter(|rented| rented.has_seat()) {
            let free = rented.seats.iter().filter(|seat| seat.contact.is_none()).count();
            let waits = |contact: &&Arc<Contact>| {
                let knows_us = contact.status == ContactStatus::Confirmed && contact.cards.pending.is_none();
                knows_us && rented.seat_of(contact.id).is_none()
            };
            for contact in self.state.book().contacts().filter(waits).take(free) {
                records.push(Record::DropChanged { id: rented.id, change: DropChange::Seated(contact.id) });
                told.insert(contact.id);
            }
        }
        let cards = told.into_iter().filter_map(|id| {
            let change = ContactChange::CardQueued(next_card(self.state.book().contact(id)?, now, None, rng));
            Some(Record::ContactChanged { id, change })
        });
        records.extend(cards);
        if !records.is_empty() {
            self.rooms.boxes.seating = true;
            self.commit(records, Vec::new(), Then::Seated);
        }
    }

    fn flush_collection(&mut self, session: SessionId) {
        let Some(machine) = self.collections.get_mut(&session).and_then(|one| one.machine.as_mut()) else { return };
        let output = machine.take_output();
        self.transmit(session, output);
    }

    pub(in super::super) fn end_collection(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        session: SessionId,
        problem: Option<AttemptError>,
    ) {
        let Some(mut collecting) = self.collections.remove(&session) else { return };
        if let Some(machine) = &mut collecting.machine {
            machine.finish();
            let output = machine.take_output();
            self.transmit(session, output);
        }
        if !matches!(collecting.step, Step::Dialling) {
            self.effect(Effect::Close(session));
        }
        if self.state.drops().get(collecting.drop).is_none() {
            self.rooms.boxes.partly_fetched.remove(&collecting.drop);
            self.rooms.boxes.calendar.collection_over(collecting.drop);
        } else {
            // The next session goes on with what it has.
            let asked = collecting.held_back.map(|asked| asked.step);
            if let Step::Fetching(entry, bytes) = asked.unwrap_or(collecting.step)
                && !bytes.is_empty()
            {
                self.rooms.boxes.partly_fetched.insert(collecting.drop, (entry.object, bytes));
            }
            self.rooms.boxes.calendar.collection_ended(collecting.drop, problem, now, rng);
        }
        self.attempts_changed();
    }
}
