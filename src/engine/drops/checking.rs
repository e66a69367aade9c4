//! Checking a drop of ours end to end: something that is sealed to ourselves is left there on a circuit of its own, with a token
//! of a place that no contact has, and it must come back by the collection.
//!
//! All of it is memory: a check that a restart interrupts is over.

use super::rented::Rented;
use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::{ClockStep, ContentId, DropId, SessionId, Timestamp};
use crate::engine::effect::{DialError, Effect, Refusal, Sizes};
use crate::engine::identity::{Identity, Pending};
use crate::engine::request::{RequestError, Response};
use crate::engine::requests::{Answer, Change, Outcome};
use crate::engine::session::{Patron, Service, Ticket};
use crate::engine::state::AttemptError;
use crate::engine::turn::attempt_error;
use crate::mail::{Content, ContentKind};
use crate::wire::Status;
use crate::wire::token::{Class, Epoch, Token, epoch, token};

const ASKED: Ticket = Ticket(1);
const BROUGHT: Ticket = Ticket(2);
/// Tokens that are tried in one session: earlier checks may have used some.
const TRIES: usize = 8;

/// How the last check of a drop goes, or went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// It is on its way to the carrier.
    Leaving,
    /// The carrier says that it has it; it was not collected yet.
    Left,
    /// It came back.
    Works,
    /// It could not be left.
    Failed(AttemptError),
}

/// A check, and by what it is known when it comes back.
pub(in super::super) struct Known {
    pub(in super::super) check: Check,
    content: ContentId,
}

enum Stage {
    Dialling,
    Sealing,
    Asked,
}

/// One session that leaves something at a drop of ours.
pub(in super::super) struct Checking {
    drop: DropId,
    machine: Option<Patron>,
    stage: Stage,
    object: Vec<u8>,
    tried: usize,
}

impl Checking {
    pub(in super::super) fn poll_timeout(&self) -> Option<Timestamp> {
        self.machine.as_ref()?.poll_timeout()
    }

    pub(in super::super) fn clock_set(&mut self, step: ClockStep) {
        if let Some(machine) = &mut self.machine {
            machine.clock_set(step);
        }
    }
}

impl Identity {
    /// Begins a check; how it goes is published.
    pub(in super::super) fn check_drop(&mut self, rng: &mut dyn Rng, name: &str) -> Outcome {
        let rented = self.state.drops().by_name(name).ok_or(RequestError::NotFound("box"))?.clone();
        if !rented.is_open() {
            return Err(RequestError::InvitationRefused(
                "the carrier does not have that box yet; wait until it is open",
            ));
        }
        if rented.seats.iter().all(|seat| seat.contact.is_some()) {
            return Err(RequestError::Limit("contacts have all places of that box; none is left to check it with"));
        }
        let done = Change::new(Vec::new(), Answer::Always(Response::Done));
        if self.checks.get(&rented.id).is_some_and(|known| known.check == Check::Leaving) {
            return Ok(done);
        }
        self.checks.insert(rented.id, Known { check: Check::Leaving, content: ContentId::random(rng) });
        let session = self.new_session();
        let (machine, stage) = (None, Stage::Dialling);
        self.checking.insert(session, Checking { drop: rented.id, machine, stage, object: Vec::new(), tried: 0 });
        self.effect(Effect::Dial(session, rented.onion, None));
        self.attempts_changed();
        Ok(done)
    }

    /// What was left came back: `false` where it is no check of ours.
    pub(in super::super) fn check_came_back(&mut self, content: ContentId) -> bool {
        let Some(known) = self.checks.values_mut().find(|known| known.content == content) else { return false };
        known.check = Check::Works;
        self.attempts_changed();
        true
    }

    pub(in super::super) fn check_dialled(
        &mut self,
        now: Timestamp,
        session: SessionId,
        result: Result<(), DialError>,
    ) {
        let Some(checking) = self.checking.get_mut(&session) else { return };
        if let Err(error) = result {
            return self.end_check(session, Check::Failed(attempt_error(error)));
        }
        checking.machine = Some(Patron::new(now));
        checking.stage = Stage::Sealing;
        let Some(id) = self.checks.get(&checking.drop).map(|known| known.content) else {
            return self.end_check(session, Check::Failed(AttemptError::Local));
        };
        let expires = Timestamp::from_secs(now.plus(limits::EXPIRY).secs());
        let content = Content { kind: ContentKind::Check, id, expires, receipt: None, payload: Vec::new() };
        let (op, certificate) = (self.operation(Pending::Check(session)), self.public().certificate.clone());
        self.effect(Effect::Seal(op, content.encode(), certificate, Sizes::Drop));
    }

    pub(in super::super) fn check_sealed(
        &mut self,
        now: Timestamp,
        session: SessionId,
        result: Result<Vec<u8>, Refusal>,
    ) {
        let Some(checking) = self.checking.get_mut(&session) else { return };
        match result {
            Ok(object) => {
                checking.object = object;
                checking.stage = Stage::Asked;
                self.show_token(now, session);
            }
            Err(_) => self.end_check(session, Check::Failed(AttemptError::Local)),
        }
    }

    /// Shows the next token that no contact has.
    fn show_token(&mut self, now: Timestamp, session: SessionId) {
        let Some(checking) = self.checking.get_mut(&session) else { return };
        let rented = self.state.drops().get(checking.drop);
        let known = self.checks.get(&checking.drop);
        let token = rented
            .zip(known)
            .and_then(|(rented, known)| token_for(rented, known.content, &checking.object, epoch(now), checking.tried));
        let (Some(token), Some(machine)) = (token.filter(|_| checking.tried < TRIES), &mut checking.machine) else {
            return self.end_check(session, Check::Failed(AttemptError::Refused));
        };
        checking.tried += 1;
        machine.deposit(now, ASKED, BROUGHT, token, &checking.object);
        self.drive_check(now, session);
    }

    fn drive_check(&mut self, now: Timestamp, session: SessionId) {
        let machine = |all: &mut Self| all.checking.get_mut(&session).and_then(|checking| checking.machine.take());
        let Some(mut patron) = machine(self) else { return };
        let (events, output) = (patron.take_events(), patron.take_output());
        if let Some(checking) = self.checking.get_mut(&session) {
            checking.machine = Some(patron);
        }
        self.transmit(session, output);
        for event in events {
            match event {
                Service::Arrived(..) => {}
                Service::Failed(..) => self.end_check(session, Check::Failed(AttemptError::Broken)),
                Service::Answer(BROUGHT, lines) => match lines.last().and_then(|line| line.code().status()) {
                    Some(Status::Roger) => self.end_check(session, Check::Left),
                    _ => self.show_token(now, session),
                },
                Service::Answer(..) => {}
            }
        }
    }

    pub(in super::super) fn check_received(&mut self, now: Timestamp, session: SessionId, bytes: &[u8]) {
        if let Some(machine) = self.checking.get_mut(&session).and_then(|checking| checking.machine.as_mut()) {
            machine.handle(now, bytes);
            self.drive_check(now, session);
        }
    }

    pub(in super::super) fn check_closed(&mut self, session: SessionId) {
        self.end_check(session, Check::Failed(AttemptError::Broken));
    }

    /// Lets checks see that time has passed.
    pub(in super::super) fn check_timeouts(&mut self, now: Timestamp) {
        let due = |checking: &Checking| checking.poll_timeout().is_some_and(|at| at <= now);
        let sessions: Vec<_> =
            self.checking.iter().filter(|(_, checking)| due(checking)).map(|(&session, _)| session).collect();
        for session in sessions {
            if let Some(machine) = self.checking.get_mut(&session).and_then(|checking| checking.machine.as_mut()) {
                machine.handle_timeout(now);
            }
            self.drive_check(now, session);
        }
    }

    fn end_check(&mut self, session: SessionId, check: Check) {
        let Some(mut checking) = self.checking.remove(&session) else { return };
        if let Some(machine) = &mut checking.machine {
            machine.finish();
            let output = machine.take_output();
            self.transmit(session, output);
        }
        if !matches!(checking.stage, Stage::Dialling) {
            self.effect(Effect::Close(session));
        }
        // It may have come back before its carrier's answer.
        if let Some(known) = self.checks.get_mut(&checking.drop).filter(|known| known.check == Check::Leaving) {
            known.check = check;
        }
        self.attempts_changed();
    }
}

/// A token of a place that no contact has, of the half that whoever gets that place uses last. Each check begins somewhere else,
/// so that it rarely meets what another has used.
fn token_for(rented: &Rented, content: ContentId, object: &[u8], today: Epoch, tried: usize) -> Option<Token> {
    let class = Class::of(object.len() as u64)?;
    let (_, count) = Rented::classes().find(|(other, _)| *other == class)?;
    let current = today / limits::DROP_EPOCH_DAYS * limits::DROP_EPOCH_DAYS;
    let free = rented.seats.iter().filter(|seat| seat.contact.is_none());
    let tokens: Vec<_> = free.flat_map(|seat| (count / 2..count).map(move |i| (&seat.seed, i))).collect();
    let [first, second, ..] = *content.as_bytes();
    let at = (usize::from(u16::from_be_bytes([first, second])) + tried).checked_rem(tokens.len())?;
    tokens.get(at).filter(|_| tried < tokens.len()).map(|(seed, i)| token(seed, current, class, *i))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::rented::{Seat, Stage as HowFar};
    use super::*;
    use crate::base::ids::Fingerprint;
    use crate::base::{ContactId, Onion, TokenSeed};
    use crate::engine::profile::SecretBytes;

    /// A drop with these places: whether somebody has each.
    fn rented(taken: &[bool]) -> Rented {
        let seats = (1..).zip(taken).map(|(number, taken)| Seat {
            seed: TokenSeed::from_bytes([number; 32]),
            contact: taken.then_some(ContactId::from_bytes([number; 16])),
        });
        Rented {
            id: DropId::from_bytes([1; 16]),
            name: "box".to_owned(),
            onion: Onion::from_public_key([1; 32]),
            carrier: Fingerprint::from_bytes([1; 32]),
            invitation: None,
            keys: SecretBytes::new(vec![1]),
            certificate: [1_u8].as_slice().into(),
            fingerprint: Fingerprint::from_bytes([2; 32]),
            seats: seats.collect(),
            stage: HowFar::Open,
            uploaded: 20_804,
            rented: Timestamp::from_secs(0),
        }
    }

    #[test]
    fn a_check_shows_each_token_of_the_free_places_once_wherever_it_begins() {
        let (rented, object) = (rented(&[true, false, true, false]), [0; 4096]);
        let class = Class::of(4096).unwrap();
        // Of sixteen the last eight, and the epoch of the day.
        let epoch = 20_805 / limits::DROP_EPOCH_DAYS * limits::DROP_EPOCH_DAYS;
        let free = [2, 4].map(|number| TokenSeed::from_bytes([number; 32]));
        let all: Vec<_> = free.iter().flat_map(|seed| (8..16).map(move |i| token(seed, epoch, class, i))).collect();
        for begins in [0_u16, 1, 15, 16, 1003, u16::MAX] {
            let mut id = [9; 16];
            id[..2].copy_from_slice(&begins.to_be_bytes());
            let shown = |tried| token_for(&rented, ContentId::from_bytes(id), &object, 20_805, tried);
            let tokens: Vec<_> = (0..16).map(|tried| shown(tried).unwrap()).collect();
            let expected: Vec<_> = (0..16).map(|tried| all[(usize::from(begins) + tried) % 16]).collect();
            assert_eq!(tokens, expected, "one after the other, from {begins}");
            assert_eq!(tokens.into_iter().collect::<BTreeSet<_>>().len(), 16);
            assert_eq!(shown(16), None, "all were shown");
        }
    }

    #[test]
    fn nothing_is_shown_where_no_place_is_free_or_the_object_has_no_class() {
        let content = ContentId::from_bytes([0; 16]);
        assert_eq!(token_for(&rented(&[true, true]), content, &[0; 4096], 20_805, 0), None);
        assert_eq!(token_for(&rented(&[false]), content, &[0; 4097], 20_805, 0), None);
        assert!(token_for(&rented(&[false]), content, &[0; 4096], 20_805, 0).is_some());
    }
}
