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

use crate::base::limits;
use crate::base::{ClockStep, DropId, InvitationId, ObjectId, OpId, Timestamp};
use crate::engine::boxes::Boxes;
use crate::engine::context::{Completion, Context, Owner, Room};
use crate::engine::dialled::{Dialled, Line, Told};
use crate::engine::people::cards::next_card;
use crate::engine::session::{Patron, Service, Ticket};
use crate::engine::state::book::{Contact, ContactChange, ContactStatus};
use crate::engine::state::boxes::rented::{DropChange, Rented, Stage};
use crate::engine::state::record::Record;
use crate::engine::state::{AttemptError, State};
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
pub(in crate::engine) struct Collecting {
    line: Line<Patron>,
    drop: DropId,
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
    /// The carrier does not take these pages now.
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

impl Boxes {
    /// Dials the next drop of ours that is due.
    pub(in crate::engine) fn next_collection(&mut self, cx: &mut Context<'_>) -> Option<Collecting> {
        while let Some(drop) = self.calendar.collection_due(cx.now) {
            let Some(rented) = cx.state.drops().get(drop) else {
                self.calendar.collection_over(drop);
                continue;
            };
            let line = Line::dial(cx.out, rented.onion, None);
            self.calendar.collection_begins(drop, line.session());
            return Some(Collecting::new(line, drop, cx.now));
        }
        None
    }

    /// Tells contacts of drops of ours that they do not know yet: each gets a seat, and a card that names it.
    pub(in crate::engine) fn offer_seats(&mut self, cx: &mut Context<'_>) {
        if self.seating.is_some() {
            return;
        }
        let (mut records, mut told) = (Vec::new(), BTreeSet::new());
        for rented in cx.state.drops().rented().filter(|rented| rented.has_seat()) {
            let free = rented.seats.iter().filter(|seat| seat.contact.is_none()).count();
            let waits = |contact: &&Arc<Contact>| {
                let knows_us = contact.status == ContactStatus::Confirmed && contact.cards.pending.is_none();
                knows_us && rented.seat_of(contact.id).is_none()
            };
            for contact in cx.state.book().contacts().filter(waits).take(free) {
                records.push(Record::DropChanged { id: rented.id, change: DropChange::Seated(contact.id) });
                told.insert(contact.id);
            }
        }
        let cards = told.into_iter().filter_map(|id| {
            let change = ContactChange::CardQueued(next_card(cx.state.book().contact(id)?, cx.now, None, cx.rng));
            Some(Record::ContactChanged { id, change })
        });
        records.extend(cards);
        if !records.is_empty() {
            self.seating = Some(cx.out.commit(Owner::Room(Room::Boxes), records));
        }
    }

    /// Contacts have seats, or that failed.
    pub(in crate::engine) fn completed(&mut self, op: OpId) {
        self.seating.take_if(|seating| *seating == op);
    }
}

impl Dialled for Collecting {
    type Machine = Patron;
    type Rooms<'r> = Boxes;

    fn line(&self) -> &Line<Patron> {
        &self.line
    }

    fn line_mut(&mut self) -> &mut Line<Patron> {
        &mut self.line
    }

    fn dialled(&mut self, cx: &mut Context<'_>, boxes: &mut Boxes) {
        self.line.connected(Patron::new(cx.now));
        self.begun = cx.now;
        self.next(cx, boxes);
    }

    fn event(&mut self, cx: &mut Context<'_>, boxes: &mut Boxes, event: Service) {
        match event {
            Service::Arrived(..) => {
                self.news = true;
                self.told(cx, boxes, Told::News);
            }
            Service::Answer(_, lines) => self.answered(cx, boxes, &lines),
            Service::Failed(..) => self.end(cx, boxes, Some(AttemptError::Broken)),
        }
    }

    fn completed(&mut self, cx: &mut Context<'_>, boxes: &mut Boxes, _: OpId, completion: Completion) {
        match completion {
            Completion::DropWorked(result) => self.worked(cx, boxes, result),
            Completion::Committed(Ok(_)) => {
                boxes.offer_seats(cx);
                self.next(cx, boxes);
            }
            Completion::Committed(Err(_)) => self.end(cx, boxes, Some(AttemptError::Local)),
            _ => {}
        }
    }

    fn told(&mut self, cx: &mut Context<'_>, boxes: &mut Boxes, told: Told) {
        match told {
            Told::Judged(status) => self.was_judged(cx, boxes, status),
            Told::News if matches!(self.step, Step::Resting(_)) => self.next(cx, boxes),
            _ => {}
        }
    }

    fn timeout(&mut self, cx: &mut Context<'_>, boxes: &mut Boxes) {
        if !self.line.is_over() && matches!(self.step, Step::Resting(until) if until <= cx.now) {
            self.sets_refused = false;
            self.news |= !std::mem::take(&mut self.passed_over).is_empty();
            self.next(cx, boxes);
        }
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        let rest = match self.step {
            Step::Resting(until) => Some(until),
            _ => None,
        };
        let usable = self.line.is_usable();
        self.line.poll_timeout().into_iter().chain(rest).filter(|_| usable).min()
    }

    fn clock_set(&mut self, step: ClockStep, now: Timestamp) {
        self.begun = self.begun.stepped(step);
        self.list_from = self.list_from.stepped(step);
        if let Step::Resting(until) = &mut self.step {
            *until = (*until).min(now.plus(limits::COLLECT_AGAIN));
        }
        self.identified_until = self.identified_until.map(|until| until.stepped(step));
    }

    fn ended(&mut self, cx: &mut Context<'_>, boxes: &mut Boxes, problem: Option<AttemptError>) {
        if cx.state.drops().get(self.drop).is_none() {
            boxes.partly_fetched.remove(&self.drop);
            boxes.calendar.collection_over(self.drop);
        } else {
            // The next session goes on with what it has.
            let step = std::mem::replace(&mut self.step, Step::Dialling);
            if let Step::Fetching(entry, bytes) = self.held_back.take().map_or(step, |asked| asked.step)
                && !bytes.is_empty()
            {
                boxes.partly_fetched.insert(self.drop, (entry.object, bytes));
            }
            boxes.calendar.collection_ended(self.drop, problem, cx.now, cx.rng);
        }
        cx.out.attempts_changed();
    }
}

impl Collecting {
    const fn new(line: Line<Patron>, drop: DropId, now: Timestamp) -> Self {
        Self {
            line,
            drop,
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

    const fn owner(&self) -> Owner {
        Owner::Task(self.line.session())
    }

    fn ask(&mut self, now: Timestamp, command: &BoxCommand, block: &[u8], bound: u64, step: Step) {
        self.last_ticket += 1;
        self.step = step;
        let ticket = Ticket(self.last_ticket);
        if let Some(machine) = self.line.machine() {
            machine.ask(now, ticket, command, block, bound);
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

    /// Begins whatever comes next.
    fn next(&mut self, cx: &mut Context<'_>, boxes: &mut Boxes) {
        let Some(rented) = cx.state.drops().get(self.drop) else { return self.end(cx, boxes, None) };
        // What takes long is begun by a session that has time for it.
        let end = self.begun.plus(limits::WIRE_SESSION.saturating_sub(MARGIN));
        let young = cx.now.since(self.begun) < limits::WIRE_SESSION / 2;
        if cx.now >= end || (!young && !self.listed.is_empty()) {
            return self.end(cx, boxes, None);
        }
        if !self.prepare(cx, boxes, rented) && !self.collect(cx, boxes, rented) {
            self.rest_until(cx, rented, end);
        }
    }

    /// Lets the carrier know us, our tokens and our pages; `false` where it does.
    fn prepare(&mut self, cx: &mut Context<'_>, boxes: &Boxes, rented: &Rented) -> bool {
        if rented.stage == Stage::Registering {
            let certificate = rented.certificate.clone();
            let registration =
                Registration { address: None, invitation: rented.invitation, certificate: certificate.len() as u64 };
            let bound = (limits::CHALLENGE_BYTES + limits::CERTIFICATE_BYTES) as u64;
            self.ask(cx.now, &BoxCommand::Register(registration), &certificate, bound, Step::Registering);
        } else if !self.identified {
            self.identify(cx.now, rented);
        } else if let Some(missing) = rented.missing(epoch(cx.now)).filter(|_| !self.sets_refused) {
            let classes = Rented::classes().map(|(class, _)| class).collect();
            self.upload(cx, rented, missing, classes);
        } else if let Some(page) = boxes.missing_page(cx, rented, &self.pages_refused) {
            let command = BoxCommand::Page { name: page.name, until: page.until, size: page.bytes.len() as u64 };
            let step = Step::Posting(page.invitation);
            self.ask_as_owner(cx.now, rented, (command, page.bytes), 0, step);
        } else {
            return false;
        }
        true
    }

    /// Looks what is there, and takes it; `false` where there is nothing that can be taken now.
    fn collect(&mut self, cx: &Context<'_>, boxes: &mut Boxes, rented: &Rented) -> bool {
        let mailbox = rented.fingerprint.to_string();
        if !self.watching {
            self.watching = true;
            self.ask_as_owner(cx.now, rented, (BoxCommand::Watch { mailbox }, Vec::new()), 0, Step::Watching);
        } else if self.news && cx.now >= self.list_from {
            self.news = false;
            self.list_from = cx.now.plus(limits::LIST_PAUSE);
            let list = BoxCommand::List { mailbox, selection: Selection::default(), json: false };
            self.ask_as_owner(cx.now, rented, (list, Vec::new()), 0, Step::Listing);
        } else if let (false, Some(entry)) = (cx.disk_low, self.listed.front().copied()) {
            self.listed.pop_front();
            let known = boxes.partly_fetched.get(&rented.id).is_some_and(|(object, _)| *object == entry.object);
            let before = if known { boxes.partly_fetched.remove(&rented.id) } else { None };
            self.fetch(cx.now, rented, entry, before.map_or_else(Vec::new, |(_, bytes)| bytes));
        } else {
            return false;
        }
        true
    }

    /// Nothing is to be done until something comes; a drop that is given up, and that nobody uses any more, goes.
    fn rest_until(&mut self, cx: &mut Context<'_>, rented: &Rented, end: Timestamp) {
        let nothing_left = self.passed_over.is_empty() && self.listed.is_empty();
        if nothing_left && !self.news && rented.stage == Stage::Leaving && is_forgotten(cx.state, rented) {
            self.step = Step::Noting;
            cx.out.commit(self.owner(), Record::DropRemoved { id: rented.id });
            return;
        }
        let again = if nothing_left { end } else { cx.now.plus(limits::COLLECT_AGAIN).min(end) };
        let again = if self.news { again.min(self.list_from) } else { again };
        self.step = Step::Resting(again);
    }

    fn upload(&mut self, cx: &mut Context<'_>, rented: &Rented, of: Epoch, classes: Vec<Class>) {
        let Some(class) = classes.first().copied() else {
            self.step = Step::Noting;
            let record = Record::DropChanged { id: rented.id, change: DropChange::Uploaded(of) };
            cx.out.commit(self.owner(), record);
            return;
        };
        let block = rented.set(of, class).concat();
        let command = BoxCommand::Tokens { epoch: of, class: class.number(), size: block.len() as u64 };
        self.ask_as_owner(cx.now, rented, (command, block), 0, Step::Uploading(of, classes));
    }

    fn fetch(&mut self, now: Timestamp, rented: &Rented, entry: Entry, before: Vec<u8>) {
        let part = Part::Range { offset: before.len() as u64, length: None };
        let (mailbox, style) = (rented.fingerprint.to_string(), Style::default());
        let command = BoxCommand::Retrieve { mailbox, object: entry.object, part, style };
        let (bound, step) = (limits::RETRIEVED_BYTES, Step::Fetching(entry, before));
        self.ask_as_owner(now, rented, (command, Vec::new()), bound, step);
    }
}

/// Whether nobody leaves anything at a drop any more: everybody who knew it was told.
fn is_forgotten(state: &State, rented: &Rented) -> bool {
    let told = |contact| {
        let entry = state.book().contact(contact);
        entry.is_none_or(|entry| entry.status != ContactStatus::Confirmed || entry.cards.pending.is_none())
    };
    rented.seats.iter().filter_map(|seat| seat.contact).all(told)
}
