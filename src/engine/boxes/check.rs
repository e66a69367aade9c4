//! Checks a box of ours from end to end: a session of its own leaves there an object that is sealed to ourselves, with
//! a token of a seat that no contact has. The box works if the object comes back by the collection.
//!
//! Checks are only in memory: a restart ends a check that is on its way.

use crate::base::limits;
use crate::base::{BoxId, ContentId, OpId, Timestamp};
use crate::engine::api::RequestError;
use crate::engine::boxes::Boxes;
use crate::engine::context::{Completion, Context, Out, Owner};
use crate::engine::dialled::{Dialled, Line};
use crate::engine::io::{Effect, Sizes};
use crate::engine::session::{BoxClient, Service, Ticket};
use crate::engine::state::AttemptError;
use crate::engine::state::boxes::Check;
use crate::engine::state::boxes::own::OwnBox;
use crate::mail::{Content, ContentKind};
use crate::wire::Status;
use crate::wire::token::{Class, Epoch, Token, epoch, token};

const ASKED: Ticket = Ticket(1);
const BROUGHT: Ticket = Ticket(2);
/// How many tokens are tried in one session: earlier checks may have used some.
const TRIES: usize = 8;

/// A check, and the content by which it is known when it comes back.
pub(in crate::engine) struct LastCheck {
    pub(super) check: Check,
    content: ContentId,
}

/// One session that leaves something at a box of ours.
pub(in crate::engine) struct CheckTask {
    line: Line<BoxClient>,
    box_id: BoxId,
    object: Vec<u8>,
    tried: usize,
}

impl Boxes {
    /// Begins a check, unless one is on its way; its progress is published.
    ///
    /// # Errors
    /// Where there is no such box, or it is not open, or contacts have all of its seats.
    pub(in crate::engine) fn check(
        &mut self,
        cx: &mut Context<'_>,
        name: &str,
    ) -> Result<Option<CheckTask>, RequestError> {
        let own_box = cx.state.boxes().by_name(name).ok_or(RequestError::NotFound("box"))?;
        if !own_box.is_open() {
            return Err(RequestError::InvitationRefused(
                "the carrier does not have that box yet; wait until it is open",
            ));
        }
        if own_box.seats.iter().all(|seat| seat.contact.is_some()) {
            return Err(RequestError::Limit("contacts have all places of that box; none is left to check it with"));
        }
        if self.checks.get(&own_box.id).is_some_and(|known| known.check == Check::Leaving) {
            return Ok(None);
        }
        self.checks.insert(own_box.id, LastCheck { check: Check::Leaving, content: ContentId::random(cx.rng) });
        let line = Line::dial(cx.out, own_box.onion, None);
        cx.out.attempts_changed();
        Ok(Some(CheckTask { line, box_id: own_box.id, object: Vec::new(), tried: 0 }))
    }

    /// A content was collected: `false` if it is not the one of a check of ours.
    pub(in crate::engine) fn check_came_back(&mut self, out: &mut Out, content: ContentId) -> bool {
        let Some(known) = self.checks.values_mut().find(|known| known.content == content) else { return false };
        known.check = Check::Works;
        out.attempts_changed();
        true
    }
}

impl Dialled for CheckTask {
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
        let Some(id) = boxes.checks.get(&self.box_id).map(|known| known.content) else {
            return self.end(cx, boxes, Some(AttemptError::Local));
        };
        let expires = Timestamp::from_secs(cx.now.plus(limits::EXPIRY).secs());
        let content = Content { kind: ContentKind::Check, id, expires, receipt: None, payload: Vec::new() };
        let op = cx.out.operation(Owner::Task(self.line.session()));
        cx.out.effect(Effect::Seal(op, content.encode(), cx.profile.public.certificate.clone(), Sizes::Box));
    }

    fn completed(&mut self, cx: &mut Context<'_>, boxes: &mut Boxes, _: OpId, completion: Completion) {
        match completion {
            Completion::Sealed(Ok(object)) => {
                self.object = object;
                self.show_token(cx, boxes);
            }
            _ => self.end(cx, boxes, Some(AttemptError::Local)),
        }
    }

    fn event(&mut self, cx: &mut Context<'_>, boxes: &mut Boxes, event: Service) {
        match event {
            Service::Answer(BROUGHT, lines) => match lines.last().and_then(|line| line.code().status()) {
                Some(Status::Roger) => self.end(cx, boxes, None),
                _ => self.show_token(cx, boxes),
            },
            Service::Failed(..) => self.end(cx, boxes, Some(AttemptError::Broken)),
            Service::Answer(..) | Service::Arrived(..) => {}
        }
    }

    fn ended(&mut self, cx: &mut Context<'_>, boxes: &mut Boxes, problem: Option<AttemptError>) {
        // The collection may have found it before the carrier's answer came.
        if let Some(known) = boxes.checks.get_mut(&self.box_id).filter(|known| known.check == Check::Leaving) {
            known.check = problem.map_or(Check::Left, Check::Failed);
        }
        cx.out.attempts_changed();
    }
}

impl CheckTask {
    /// Shows the next token of a seat that no contact has.
    fn show_token(&mut self, cx: &mut Context<'_>, boxes: &mut Boxes) {
        let (own_box, known) = (cx.state.boxes().get(self.box_id), boxes.checks.get(&self.box_id));
        let token = own_box
            .zip(known)
            .and_then(|(own_box, known)| token_for(own_box, known.content, &self.object, epoch(cx.now), self.tried));
        let (Some(token), Some(machine)) = (token.filter(|_| self.tried < TRIES), self.line.machine()) else {
            return self.end(cx, boxes, Some(AttemptError::Refused));
        };
        self.tried += 1;
        machine.deposit(cx.now, ASKED, BROUGHT, token, &self.object);
    }
}

/// A token of a seat that no contact has, from the half of the tokens that a contact on that seat would use last. Each
/// check begins somewhere else, so that it rarely meets a token that another check has used.
fn token_for(own_box: &OwnBox, content: ContentId, object: &[u8], today: Epoch, tried: usize) -> Option<Token> {
    let class = Class::of(object.len() as u64)?;
    let (_, count) = OwnBox::classes().find(|(other, _)| *other == class)?;
    let current = today / limits::BOX_EPOCH_DAYS * limits::BOX_EPOCH_DAYS;
    let free = own_box.seats.iter().filter(|seat| seat.contact.is_none());
    let tokens: Vec<_> = free.flat_map(|seat| (count / 2..count).map(move |i| (&seat.seed, i))).collect();
    let [first, second, ..] = *content.as_bytes();
    let at = (usize::from(u16::from_be_bytes([first, second])) + tried).checked_rem(tokens.len())?;
    tokens.get(at).filter(|_| tried < tokens.len()).map(|(seed, i)| token(seed, current, class, *i))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::base::ids::Fingerprint;
    use crate::base::{ContactId, Onion, TokenSeed};
    use crate::engine::state::boxes::own::{Seat, Stage};
    use crate::engine::state::profile::SecretBytes;

    /// A box with these seats: whether a contact has each.
    fn own_box(taken: &[bool]) -> OwnBox {
        let seats = (1..).zip(taken).map(|(number, taken)| Seat {
            seed: TokenSeed::from_bytes([number; 32]),
            contact: taken.then_some(ContactId::from_bytes([number; 16])),
        });
        OwnBox {
            id: BoxId::from_bytes([1; 16]),
            name: "box".to_owned(),
            onion: Onion::from_public_key([1; 32]),
            carrier: Fingerprint::from_bytes([1; 32]),
            invitation: None,
            keys: SecretBytes::new(vec![1]),
            certificate: [1_u8].as_slice().into(),
            fingerprint: Fingerprint::from_bytes([2; 32]),
            seats: seats.collect(),
            stage: Stage::Open,
            uploaded: 20_804,
            since: Timestamp::from_secs(0),
        }
    }

    #[test]
    fn a_check_shows_each_token_of_the_free_places_once_wherever_it_begins() {
        let (own_box, object) = (own_box(&[true, false, true, false]), [0; 4096]);
        let class = Class::of(4096).unwrap();
        // Of sixteen tokens the last eight, and the epoch of the day.
        let epoch = 20_805 / limits::BOX_EPOCH_DAYS * limits::BOX_EPOCH_DAYS;
        let free = [2, 4].map(|number| TokenSeed::from_bytes([number; 32]));
        let all: Vec<_> = free.iter().flat_map(|seed| (8..16).map(move |i| token(seed, epoch, class, i))).collect();
        for begins in [0_u16, 1, 15, 16, 1003, u16::MAX] {
            let mut id = [9; 16];
            id[..2].copy_from_slice(&begins.to_be_bytes());
            let shown = |tried| token_for(&own_box, ContentId::from_bytes(id), &object, 20_805, tried);
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
        assert_eq!(token_for(&own_box(&[true, true]), content, &[0; 4096], 20_805, 0), None);
        assert_eq!(token_for(&own_box(&[false]), content, &[0; 4097], 20_805, 0), None);
        assert!(token_for(&own_box(&[false]), content, &[0; 4096], 20_805, 0).is_some());
    }
}
