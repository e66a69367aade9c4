//! One session with a box of ours. It registers the box where the carrier does not have it yet, identifies us, uploads
//! the sets of tokens that the carrier lacks, watches, and takes what is in the box, one object at a time.
//!
//! An object is opened, judged and committed like one that came from its author directly; only then is it deleted at
//! the carrier. An object that cannot be taken now stays there and is looked at again. If a session breaks off within
//! an object of several parts, the parts that came are kept in memory, and the next session asks for the rest.

mod answers;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::{BoxId, ClockStep, InvitationId, ObjectId, OpId, Timestamp};
use crate::engine::boxes::Boxes;
use crate::engine::context::{Completion, Context, Owner, Room};
use crate::engine::dialled::{Dialled, Line, News};
use crate::engine::people::cards::next_card;
use crate::engine::session::{BoxClient, Service, Ticket};
use crate::engine::state::book::{Contact, ContactChange, ContactStatus};
use crate::engine::state::boxes::own::{BoxChange, OwnBox, Stage};
use crate::engine::state::forwarding::ObjectHash;
use crate::engine::state::record::{BookRecord, BoxRecord, Record};
use crate::engine::state::{AttemptError, State};
use crate::wire::mailbox::{BoxCommand, Entry, Part, Policy, Registration, Selection, Style};
use crate::wire::token::{Class, Epoch, epoch};

const PURPOSE: &str = "collect";
/// How long before its carrier would end it a session ends by itself. The next one follows at once: it sees whether
/// sets are missing, and so a connection that is dead without saying so does not last.
const MARGIN: Duration = Duration::from_secs(120);

/// What a session waits for.
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
    /// The proof is being signed; for one command, where the carrier wants a proof for each.
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
    /// RETRIEVE was sent; these bytes of the object came before.
    Fetching(Entry, Vec<u8>),
    /// An object is being judged.
    Judging(ObjectId),
    /// It is being noted who is told that an object cannot be opened.
    Telling(ObjectId),
    /// DELETE was sent.
    Deleting,
    /// A commit is under way.
    Noting,
    /// There is nothing to do until this moment.
    Resting(Timestamp),
}

/// A command that waits, and the step that follows when it is sent.
struct Asked {
    command: BoxCommand,
    block: Vec<u8>,
    bound: u64,
    step: Step,
}

/// One session with a box of ours.
pub(in crate::engine) struct CollectTask {
    line: Line<BoxClient>,
    box_id: BoxId,
    begun: Timestamp,
    /// How long it lasts at most.
    lasts: Duration,
    step: Step,
    last_ticket: u64,
    /// For how long the carrier lets an identification count; `None` until it was asked.
    policy: Option<Policy>,
    identified: bool,
    /// Until when our identification counts, where that is not the whole session.
    identified_until: Option<Timestamp>,
    /// The command that waits until the carrier has seen our key for it.
    held_back: Option<Asked>,
    watching: bool,
    /// The carrier takes no more sets now.
    sets_refused: bool,
    /// The carrier does not take these pages now.
    pages_refused: BTreeSet<InvitationId>,
    /// Whether the box may hold something that is not in the list.
    news: bool,
    /// LIST is not sent before this moment.
    list_from: Timestamp,
    listed: VecDeque<Entry>,
    /// Objects that could not be taken now.
    passed_over: BTreeSet<ObjectId>,
    /// Objects that were judged, and are not taken again whatever the carrier lists.
    judged: BTreeSet<ObjectId>,
    /// How many objects in a row were nothing for us.
    refused: u32,
    /// The hash of the object that is being judged, where it cannot be opened.
    unread: Option<ObjectHash>,
}

impl Boxes {
    /// Dials the next box of ours that is due.
    pub(in crate::engine) fn next_collection(&mut self, cx: &mut Context<'_>) -> Option<CollectTask> {
        while let Some(box_id) = self.calendar.collection_due(cx.now) {
            let Some(own_box) = cx.state.boxes().get(box_id) else {
                self.calendar.collection_over(box_id);
                continue;
            };
            let line = Line::dial(cx.out, own_box.onion, None);
            self.calendar.collection_begins(box_id, line.session());
            let lasts = lasts(cx.rng);
            return Some(CollectTask::new(line, box_id, cx.now, lasts));
        }
        None
    }

    /// Gives contacts that do not know our boxes yet a seat in each, and a card that names them.
    pub(in crate::engine) fn offer_seats(&mut self, cx: &mut Context<'_>) {
        if self.seating.is_some() {
            return;
        }
        let (mut records, mut told) = (Vec::new(), BTreeSet::new());
        for own_box in cx.state.boxes().own().filter(|own_box| own_box.has_seat()) {
            let free = own_box.seats.iter().filter(|seat| seat.contact.is_none()).count();
            let waits = |contact: &&Arc<Contact>| {
                let knows_us = contact.status == ContactStatus::Confirmed && contact.cards.pending.is_none();
                knows_us && own_box.seat_of(contact.id).is_none()
            };
            for contact in cx.state.book().contacts().filter(waits).take(free) {
                records.push(Record::Boxes(BoxRecord::BoxChanged {
                    id: own_box.id,
                    change: BoxChange::Seated(contact.id),
                }));
                told.insert(contact.id);
            }
        }
        let cards = told.into_iter().filter_map(|id| {
            let change = ContactChange::CardQueued(next_card(cx.state.book().contact(id)?, cx.now, None, cx.rng));
            Some(Record::Book(BookRecord::ContactChanged { id, change }))
        });
        records.extend(cards);
        if !records.is_empty() {
            self.seating = Some(cx.out.commit(Owner::Room(Room::Boxes), records));
        }
    }

    /// The commit that gives contacts seats is over.
    pub(in crate::engine) fn completed(&mut self, op: OpId) {
        self.seating.take_if(|seating| *seating == op);
    }
}

impl Dialled for CollectTask {
    type Machine = BoxClient;
    type Rooms<'r> = Boxes;

    fn line(&self) -> &Line<BoxClient> {
        &self.line
    }

    fn line_mut(&mut self) -> &mut Line<BoxClient> {
        &mut self.line
    }

    fn dialled(&mut self, cx: &mut Context<'_>, boxes: &mut Boxes) {
        self.line.connected(BoxClient::new(cx.now));
        self.begun = cx.now;
        self.next(cx, boxes);
    }

    fn event(&mut self, cx: &mut Context<'_>, boxes: &mut Boxes, event: Service) {
        match event {
            Service::Arrived(..) => {
                self.news = true;
                self.told(cx, boxes, News::ForCarriers);
            }
            Service::Answer(_, lines) => self.answered(cx, boxes, &lines),
            Service::Failed(..) => self.end(cx, boxes, Some(AttemptError::Broken)),
        }
    }

    fn completed(&mut self, cx: &mut Context<'_>, boxes: &mut Boxes, _: OpId, completion: Completion) {
        match completion {
            Completion::BoxWorked(result) => self.worked(cx, boxes, result),
            Completion::Committed(Ok(_)) => {
                if let Step::Telling(object) = self.step {
                    return self.delete(cx, object);
                }
                boxes.offer_seats(cx);
                self.next(cx, boxes);
            }
            Completion::Committed(Err(_)) => self.end(cx, boxes, Some(AttemptError::Local)),
            _ => {}
        }
    }

    fn told(&mut self, cx: &mut Context<'_>, boxes: &mut Boxes, told: News) {
        match told {
            News::Judged(status) => self.was_judged(cx, boxes, status),
            News::Unread(object) => self.unread = Some(object),
            News::ForCarriers if matches!(self.step, Step::Resting(_)) => self.next(cx, boxes),
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
        if cx.state.boxes().get(self.box_id).is_none() {
            boxes.partly_fetched.remove(&self.box_id);
            boxes.calendar.collection_over(self.box_id);
        } else {
            // The next session for the same box goes on with the bytes that came.
            let step = std::mem::replace(&mut self.step, Step::Dialling);
            if let Step::Fetching(entry, bytes) = self.held_back.take().map_or(step, |asked| asked.step)
                && !bytes.is_empty()
            {
                boxes.partly_fetched.insert(self.box_id, (entry.object, bytes));
            }
            boxes.calendar.collection_ended(self.box_id, problem, cx.now, cx.rng);
        }
        cx.out.attempts_changed();
    }
}

impl CollectTask {
    const fn new(line: Line<BoxClient>, box_id: BoxId, now: Timestamp, lasts: Duration) -> Self {
        Self {
            line,
            box_id,
            begun: now,
            lasts,
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
            unread: None,
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

    fn identify(&mut self, now: Timestamp, own_box: &OwnBox) {
        let identify = BoxCommand::Identify { mailbox: own_box.fingerprint.to_string(), purpose: PURPOSE.to_owned() };
        self.ask(now, &identify, b"", 0, Step::Identifying);
    }

    /// Sends a command that only the owner may send, once the carrier has seen our key for it.
    fn ask_as_owner(
        &mut self,
        now: Timestamp,
        own_box: &OwnBox,
        (command, block): (BoxCommand, Vec<u8>),
        bound: u64,
        step: Step,
    ) {
        let over = self.identified_until.is_some_and(|until| now >= until);
        if self.policy == Some(Policy::Command) || over {
            self.held_back = Some(Asked { command, block, bound, step });
            return self.identify(now, own_box);
        }
        self.ask(now, &command, &block, bound, step);
    }

    /// Begins the next step.
    fn next(&mut self, cx: &mut Context<'_>, boxes: &mut Boxes) {
        let Some(own_box) = cx.state.boxes().get(self.box_id) else { return self.end(cx, boxes, None) };
        // Only a session that has time for them begins things that take long.
        let end = self.begun.plus(self.lasts);
        let young = cx.now.since(self.begun) < limits::WIRE_SESSION / 2;
        if cx.now >= end || (!young && !self.listed.is_empty()) {
            return self.end(cx, boxes, None);
        }
        if !self.prepare(cx, boxes, own_box) && !self.collect(cx, boxes, own_box) {
            self.rest_until(cx, own_box, end);
        }
    }

    /// Lets the carrier know us, our tokens and our pages; `false` where it knows all of them.
    fn prepare(&mut self, cx: &mut Context<'_>, boxes: &Boxes, own_box: &OwnBox) -> bool {
        if own_box.stage == Stage::Registering {
            let certificate = own_box.certificate.clone();
            let registration =
                Registration { address: None, invitation: own_box.invitation, certificate: certificate.len() as u64 };
            let bound = (limits::CHALLENGE_BYTES + limits::CERTIFICATE_BYTES) as u64;
            self.ask(cx.now, &BoxCommand::Register(registration), &certificate, bound, Step::Registering);
        } else if !self.identified {
            self.identify(cx.now, own_box);
        } else if let Some(missing) = own_box.missing(epoch(cx.now)).filter(|_| !self.sets_refused) {
            let classes = OwnBox::classes().map(|(class, _)| class).collect();
            self.upload(cx, own_box, missing, classes);
        } else if let Some(page) = boxes.missing_page(cx, own_box, &self.pages_refused) {
            let command = BoxCommand::Page { name: page.name, until: page.until, size: page.bytes.len() as u64 };
            let step = Step::Posting(page.invitation);
            self.ask_as_owner(cx.now, own_box, (command, page.bytes), 0, step);
        } else {
            return false;
        }
        true
    }

    /// Lists what the box holds and takes it; `false` where nothing can be taken now.
    fn collect(&mut self, cx: &Context<'_>, boxes: &mut Boxes, own_box: &OwnBox) -> bool {
        let mailbox = own_box.fingerprint.to_string();
        if !self.watching {
            self.watching = true;
            self.ask_as_owner(cx.now, own_box, (BoxCommand::Watch { mailbox }, Vec::new()), 0, Step::Watching);
        } else if self.news && cx.now >= self.list_from {
            self.news = false;
            self.list_from = cx.now.plus(limits::LIST_PAUSE);
            let list = BoxCommand::List { mailbox, selection: Selection::default(), json: false };
            self.ask_as_owner(cx.now, own_box, (list, Vec::new()), 0, Step::Listing);
        } else if let (false, Some(entry)) = (cx.disk_low, self.listed.front().copied()) {
            self.listed.pop_front();
            let known = boxes.partly_fetched.get(&own_box.id).is_some_and(|(object, _)| *object == entry.object);
            let before = if known { boxes.partly_fetched.remove(&own_box.id) } else { None };
            self.fetch(cx.now, own_box, entry, before.map_or_else(Vec::new, |(_, bytes)| bytes));
        } else {
            return false;
        }
        true
    }

    /// There is nothing to do until something comes. A box that is given up, and that nobody uses any more, is removed.
    fn rest_until(&mut self, cx: &mut Context<'_>, own_box: &OwnBox, end: Timestamp) {
        let nothing_left = self.passed_over.is_empty() && self.listed.is_empty();
        if nothing_left && !self.news && own_box.stage == Stage::Leaving && is_forgotten(cx.state, own_box) {
            self.step = Step::Noting;
            cx.out.commit(self.owner(), Record::Boxes(BoxRecord::BoxRemoved { id: own_box.id }));
            return;
        }
        let again = if nothing_left { end } else { cx.now.plus(limits::COLLECT_AGAIN).min(end) };
        let again = if self.news { again.min(self.list_from) } else { again };
        self.step = Step::Resting(again);
    }

    fn upload(&mut self, cx: &mut Context<'_>, own_box: &OwnBox, of: Epoch, classes: Vec<Class>) {
        let Some(class) = classes.first().copied() else {
            self.step = Step::Noting;
            let record = Record::Boxes(BoxRecord::BoxChanged { id: own_box.id, change: BoxChange::Uploaded(of) });
            cx.out.commit(self.owner(), record);
            return;
        };
        let block = own_box.set(of, class).concat();
        let command = BoxCommand::Tokens { epoch: of, class: class.number(), size: block.len() as u64 };
        self.ask_as_owner(cx.now, own_box, (command, block), 0, Step::Uploading(of, classes));
    }

    fn fetch(&mut self, now: Timestamp, own_box: &OwnBox, entry: Entry, before: Vec<u8>) {
        let part = Part::Range { offset: before.len() as u64, length: None };
        let (mailbox, style) = (own_box.fingerprint.to_string(), Style::default());
        let command = BoxCommand::Retrieve { mailbox, object: entry.object, part, style };
        let (bound, step) = (limits::RETRIEVED_BYTES, Step::Fetching(entry, before));
        self.ask_as_owner(now, own_box, (command, Vec::new()), bound, step);
    }
}

/// How long a session lasts: a different time each, so that the sessions of two identities of a node that once began
/// together do not go on together.
fn lasts(rng: &mut dyn Rng) -> Duration {
    let longest = limits::WIRE_SESSION.saturating_sub(MARGIN);
    let third = u64::try_from(longest.as_millis() / 3).unwrap_or(u64::MAX);
    longest.saturating_sub(Duration::from_millis(rng.below(third.max(1))))
}

/// Whether nobody leaves anything at a box any more: every contact that knew it was told.
fn is_forgotten(state: &State, own_box: &OwnBox) -> bool {
    let told = |contact| {
        let entry = state.book().contact(contact);
        entry.is_none_or(|entry| entry.status != ContactStatus::Confirmed || entry.cards.pending.is_none())
    };
    own_box.seats.iter().filter_map(|seat| seat.contact).all(told)
}
