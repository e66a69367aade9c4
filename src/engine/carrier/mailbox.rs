//! Everything in a box: leaving objects, and the commands of its owner (docs/protocol.md, "Tokens", "Deposit" and
//! "Mailbox").

use std::collections::BTreeSet;

use serde::Serialize;

use super::effect::CarrierEffect;
use super::held::{Admission, Mailbox, Outcome, TokensError};
use super::machine::{AfterCommit, Carrier, InFlight, ReplyTo, failed};
use super::record::{HeldObject, HeldPage, HeldRecord, Spent};
use super::session::Storing;
use crate::base::ids::Fingerprint;
use crate::base::limits::{LIST_ENTRIES, RETRIEVED_BYTES};
use crate::base::rng::Rng;
use crate::base::{BodyId, ObjectId, SessionId, Timestamp};
use crate::engine::commit::{CommitError, NewBody};
use crate::engine::session::{Answer, Deposit, Line};
use crate::mail::page::PAGE_SIZES;
use crate::wire::mailbox::{BoxCommand, Count, Entry, Part, Piece, Said, Selection, Style};
use crate::wire::token::{Epoch, Token, TokenHash, epoch, hash_of};
use crate::wire::{Status, Word, number};

/// A part of an object that is being read, and the form in which it is given.
pub(super) struct Reading {
    mailbox: Fingerprint,
    object: HeldObject,
    offset: u64,
    /// Whether a range was asked for.
    part: bool,
    style: Style,
}

impl Carrier {
    /// The object of a deposit came whole.
    pub(super) fn deposit(&mut self, now: Timestamp, place: ReplyTo, deposit: Deposit, object: Vec<u8>) {
        let token = hash_of(&deposit.token);
        // The token may have been spent since it was admitted.
        match self.held.admits(&token, &deposit.claim, epoch(now)) {
            Admission::Refused => return self.answer(place, Status::NotAvailable),
            Admission::Again => return self.answer(place, Status::Roger),
            Admission::Fresh => {}
        }
        if let Some(storing) = self.storing.get_mut(&token) {
            if storing.hash != deposit.claim.hash {
                return self.answer(place, Status::NotAvailable);
            }
            return storing.waiting.push(place);
        }
        let (hash, size) = (deposit.claim.hash, deposit.claim.size);
        self.storing.insert(token, Storing { hash, size, waiting: vec![place] });
        self.note_in_flight(0, size);
        let op = self.operation(InFlight::Object(token));
        self.effect(CarrierEffect::Examine(op, object));
    }

    pub(super) fn examined(&mut self, now: Timestamp, rng: &mut dyn Rng, token: TokenHash, object: Option<Vec<u8>>) {
        let Some(hash) = self.storing.get(&token).map(|storing| storing.hash) else { return };
        let mailbox = self.held.mailbox_of(&token).and_then(|name| self.held.mailboxes().get(&name));
        let hold_days = mailbox.map(Mailbox::hold_days);
        let Some(object) = object else { return self.end_storing(token, Status::ContentRefused) };
        // The box was removed meanwhile, or the day of the token is over.
        let Some(hold_days) = hold_days else { return self.end_storing(token, Status::NotAvailable) };
        let (size, day) = (object.len() as u64, epoch(now));
        let body = NewBody::new(BodyId::random(rng), object.into());
        let held = HeldObject {
            id: ObjectId::random(rng),
            body: body.id,
            size,
            day,
            until: day.saturating_add(hold_days).saturating_add(1),
            read: false,
        };
        let record = HeldRecord::Deposited { spent: Spent { token, hash }, object: held };
        self.commit(vec![record], vec![body], AfterCommit::Stored(token));
    }

    /// The commit of an object is over: everybody who brought the object is answered.
    pub(super) fn stored(&mut self, token: TokenHash, outcome: Result<Outcome, CommitError>) {
        let status = match outcome {
            Ok(Outcome::Done | Outcome::Already) => Status::Roger,
            Ok(Outcome::Nothing) => Status::NotAvailable,
            // A full disk is told to nobody, like any other reason.
            Err(CommitError::NoSpace) => Status::NotAvailable,
            Err(error) => failed(error),
        };
        self.end_storing(token, status);
    }

    fn end_storing(&mut self, token: TokenHash, status: Status) {
        let Some(storing) = self.storing.remove(&token) else { return };
        self.note_in_flight(storing.size, 0);
        for place in storing.waiting {
            self.answer(place, status);
        }
    }

    /// Tells the sessions that watch a box that an object came.
    pub(super) fn tell_watchers(&mut self, mailbox: Fingerprint, object: ObjectId) {
        let watching = |watched: &Option<Fingerprint>| *watched == Some(mailbox);
        let sessions: Vec<SessionId> =
            self.sessions.iter().filter(|(_, session)| watching(&session.watching)).map(|(id, _)| *id).collect();
        for id in sessions {
            let words = vec![Word::text(mailbox.to_string()), Word::text(object.to_string())];
            if let Some(session) = self.sessions.get_mut(&id) {
                session.machine.tell(None, Status::Arrived, words);
            }
            self.flush(id);
        }
    }

    /// A command that needs an identification.
    pub(super) fn in_mailbox(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        place: ReplyTo,
        command: BoxCommand,
        block: Vec<u8>,
    ) {
        let identified = |carrier: &mut Self| {
            let session = carrier.session(place)?;
            let name = match &command {
                BoxCommand::Check { mailbox, .. }
                | BoxCommand::List { mailbox, .. }
                | BoxCommand::Retrieve { mailbox, .. }
                | BoxCommand::Delete { mailbox, .. }
                | BoxCommand::Watch { mailbox } => mailbox.clone(),
                // A command that names no box is for the one whose key was shown.
                _ => session.identified.as_ref()?.mailbox.to_string(),
            };
            session.may(now, &name, &command)
        };
        let Some(mailbox) = identified(self).filter(|name| self.held.mailboxes().contains_key(name)) else {
            return self.answer(place, Status::IdentificationFailed);
        };
        match command {
            BoxCommand::Tokens { epoch: day, class, .. } => self.upload(now, place, mailbox, (day, class), &block),
            BoxCommand::Page { name, until, .. } => self.keep_page(now, rng, place, mailbox, (name, until), block),
            BoxCommand::Check { .. } => self.check(place, mailbox),
            BoxCommand::List { selection, json, .. } => {
                let json = json || self.session(place).is_some_and(|session| session.style.json);
                self.list(place, mailbox, &selection, json);
            }
            BoxCommand::Retrieve { object, part, style, .. } => {
                let usual = self.session(place).map_or_else(Style::default, |session| session.style);
                let style = Style {
                    json: style.json || usual.json,
                    pretty: style.pretty || usual.pretty,
                    keep_unread: style.keep_unread || usual.keep_unread,
                };
                self.retrieve(place, mailbox, object, part, style);
            }
            BoxCommand::Set { global: true, name, value } => self.set_of_mailbox(place, mailbox, &name, &value),
            BoxCommand::Set { global: false, name, value } => self.set_of_session(place, &name, &value),
            BoxCommand::Delete { objects, .. } => self.delete(place, mailbox, objects),
            BoxCommand::Watch { .. } => {
                if let Some(session) = self.session(place) {
                    session.watching = Some(mailbox);
                    session.machine.be_patient();
                }
                self.answer(place, Status::Watching);
            }
            // Commands that need no identification were handled before.
            _ => self.answer(place, Status::ServerError),
        }
    }

    fn set_of_session(&mut self, place: ReplyTo, name: &str, value: &str) {
        let on = match value {
            "on" => true,
            "off" => false,
            _ => return self.answer(place, Status::BadParameter),
        };
        let Some(session) = self.session(place) else { return };
        match name {
            "JSON" => session.style.json = on,
            "PRETTY" => session.style.pretty = on,
            "READ" => session.style.keep_unread = !on,
            _ => return self.answer(place, Status::BadParameter),
        }
        self.answer(place, Status::Set);
    }

    fn set_of_mailbox(&mut self, place: ReplyTo, mailbox: Fingerprint, name: &str, value: &str) {
        let Some(terms) = self.held.mailboxes().get(&mailbox).map(Mailbox::terms) else { return };
        let days = number(value)
            .and_then(|days| u32::try_from(days).ok())
            .filter(|days| name == "HOLD" && (1..=terms.hold_days).contains(days));
        let Some(days) = days else { return self.answer(place, Status::BadParameter) };
        let set = |outcome| match outcome {
            Outcome::Done | Outcome::Already => Status::Set.into(),
            Outcome::Nothing => Status::IdentificationFailed.into(),
        };
        self.commit(vec![HeldRecord::HoldSet { mailbox, days }], Vec::new(), AfterCommit::Answer(place, set));
    }

    fn upload(
        &mut self,
        now: Timestamp,
        place: ReplyTo,
        mailbox: Fingerprint,
        (day, class): (Epoch, u8),
        block: &[u8],
    ) {
        let (tokens, rest) = block.as_chunks::<32>();
        let allowed = match rest {
            [] => self.held.may_upload(&mailbox, (day, class), tokens, epoch(now)),
            _ => Err(TokensError::Form),
        };
        match allowed {
            Ok(Outcome::Already) => self.answer(place, Status::TokensStored),
            Ok(_) => {
                let record = HeldRecord::TokensUploaded { mailbox, epoch: day, class, tokens: tokens.to_vec() };
                self.commit(
                    vec![record],
                    Vec::new(),
                    AfterCommit::Answer(place, |outcome| match outcome {
                        Outcome::Done | Outcome::Already => Status::TokensStored.into(),
                        Outcome::Nothing => Status::NoSpace.into(),
                    }),
                );
            }
            Err(TokensError::Form) => self.answer(place, Status::BadParameter),
            Err(TokensError::Quota) => self.answer(place, Status::NoSpace),
        }
    }

    fn keep_page(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        place: ReplyTo,
        mailbox: Fingerprint,
        (name, until): (TokenHash, Epoch),
        block: Vec<u8>,
    ) {
        let size = block.len() as u64;
        let allowed = match PAGE_SIZES.contains(&block.len()) {
            true => self.held.may_keep(&mailbox, (&name, size, until), epoch(now)),
            false => Err(TokensError::Form),
        };
        match allowed {
            Ok(()) => {
                let body = NewBody::new(BodyId::random(rng), block.into());
                let page = HeldPage { name, body: body.id, size, until };
                let answer = |outcome| match outcome {
                    Outcome::Done | Outcome::Already => Status::PageKept.into(),
                    Outcome::Nothing => Status::NoSpace.into(),
                };
                self.commit(
                    vec![HeldRecord::PagePut { mailbox, page }],
                    vec![body],
                    AfterCommit::Answer(place, answer),
                );
            }
            Err(TokensError::Form) => self.answer(place, Status::BadParameter),
            Err(TokensError::Quota) => self.answer(place, Status::NoSpace),
        }
    }

    /// A client asks for a page. If there is none, the reason is told to nobody.
    pub(super) fn fetch(&mut self, now: Timestamp, place: ReplyTo, token: &Token) {
        let Some(page) = self.held.page(&hash_of(token), epoch(now)) else {
            return self.answer(place, Status::NotAvailable);
        };
        let op = self.operation(InFlight::Page(place));
        self.effect(CarrierEffect::ReadBody(op, page.body, 0..page.size));
    }

    pub(super) fn page_read(&mut self, place: ReplyTo, bytes: Option<Vec<u8>>) {
        match bytes {
            Some(bytes) => {
                let words = vec![Word::Block(bytes.len() as u64)];
                self.answer(place, Line::new(Status::MessageObject, words).with(bytes.into()));
            }
            None => self.answer(place, Status::Busy),
        }
    }

    fn check(&mut self, place: ReplyTo, mailbox: Fingerprint) {
        let Some(known) = self.held.mailboxes().get(&mailbox) else { return };
        let (unread, total) = (known.unread() as u64, known.objects().len() as u64);
        let count = Count { mailbox: mailbox.to_string(), unread, total };
        self.answer(place, Line::saying(Status::MailboxStatus, &count));
    }

    fn list(&mut self, place: ReplyTo, mailbox: Fingerprint, selection: &Selection, json: bool) {
        let Some(known) = self.held.mailboxes().get(&mailbox) else { return };
        let limit = selection.limit.map_or(LIST_ENTRIES, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let lines: Vec<Line> = known
            .objects()
            .filter(|object| selection.after.is_none_or(|after| object.id > after))
            .filter(|object| selection.read.is_none_or(|read| object.read == read))
            .filter(|object| selection.since.is_none_or(|since| object.day >= since))
            .take(limit.min(LIST_ENTRIES))
            .map(|object| {
                let json = json.then(|| serde_json::to_string(&Described::from(&object)).ok()).flatten();
                let words = json.map_or_else(|| entry(&object).words(), |json| vec![Word::text(json)]);
                Line::new(Status::ListEntry, words)
            })
            .collect();
        let count = vec![Word::text(lines.len().to_string())];
        self.answer(place, Answer::lines(lines, Line::new(Status::ListEnd, count)));
    }

    fn retrieve(&mut self, place: ReplyTo, mailbox: Fingerprint, object: ObjectId, part: Part, style: Style) {
        let known = self.held.mailboxes().get(&mailbox).and_then(|mailbox| mailbox.object(object));
        let Some(object) = known else { return self.answer(place, Status::NoMessage) };
        let (part, offset, length) = match part {
            Part::Whole => (false, 0, object.size),
            Part::Range { offset, length } => (true, offset, length.unwrap_or(u64::MAX)),
        };
        if offset >= object.size {
            return self.answer(place, Status::BadParameter);
        }
        let end = offset.saturating_add(length.min(RETRIEVED_BYTES)).min(object.size);
        let body = object.body;
        let op = self.operation(InFlight::Reading(place, Reading { mailbox, object, offset, part, style }));
        self.effect(CarrierEffect::ReadBody(op, body, offset..end));
    }

    pub(super) fn body_read(&mut self, place: ReplyTo, reading: Reading, bytes: Option<Vec<u8>>) {
        let Reading { mailbox, object, offset, part, style } = reading;
        let Some(bytes) = bytes else { return self.answer(place, Status::Busy) };
        let ends = offset.saturating_add(bytes.len() as u64) >= object.size;
        let size = bytes.len() as u64;
        let line = if style.json {
            let described = Described {
                offset: Some(offset),
                object: Some(data_encoding::BASE64.encode(&bytes)),
                ..Described::from(&object)
            };
            let text = match style.pretty {
                true => serde_json::to_string_pretty(&described),
                false => serde_json::to_string(&described),
            };
            let Ok(text) = text.map(|text| text + "\n") else { return self.answer(place, Status::ServerError) };
            Line::new(Status::MessageJson, vec![Word::Block(text.len() as u64)]).with(text.into_bytes().into())
        } else if size == object.size && !part {
            Line::new(Status::MessageObject, vec![Word::Block(size)]).with(bytes.into())
        } else {
            Line::saying(Status::MessagePart, &Piece { offset, size }).with(bytes.into())
        };
        if ends && !style.keep_unread && !object.read {
            // The mark comes first, so that the next session sees it. If its commit fails, the object is shown as
            // unread once more.
            let record = HeldRecord::Marked { mailbox, objects: vec![object.id], read: true };
            return self.commit(vec![record], Vec::new(), AfterCommit::Say(place, line));
        }
        self.answer(place, line);
    }

    fn delete(&mut self, place: ReplyTo, mailbox: Fingerprint, objects: Vec<ObjectId>) {
        let Some(known) = self.held.mailboxes().get(&mailbox) else { return };
        // Each object counts once, however often it is named.
        let there: BTreeSet<_> = objects.into_iter().filter(|object| known.object(*object).is_some()).collect();
        if there.is_empty() {
            return self.answer(place, Status::NoMessage);
        }
        let count = there.len();
        let record = HeldRecord::Deleted { mailbox, objects: there.into_iter().collect() };
        self.commit(vec![record], Vec::new(), AfterCommit::Deleted(place, count));
    }
}

fn entry(object: &HeldObject) -> Entry {
    Entry { object: object.id, size: object.size, day: object.day, read: object.read }
}

/// An object as JSON.
#[derive(Serialize)]
struct Described {
    schema: u32,
    uuid: String,
    size: u64,
    day: Epoch,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    /// The octets of the object from the offset on, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<String>,
}

impl From<&HeldObject> for Described {
    fn from(object: &HeldObject) -> Self {
        let (uuid, size, day) = (object.id.to_string(), object.size, object.day);
        let state = if object.read { "read" } else { "unread" };
        Self { schema: 1, uuid, size, day, state, offset: None, object: None }
    }
}
