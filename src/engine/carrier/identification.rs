//! Showing the key of a box (docs/protocol.md, "Identification"). A session that names a box which does not exist is
//! asked for a signature like any other, and the signature is checked for as long, so that nobody learns which boxes
//! exist.

use std::sync::Arc;
use std::time::Duration;

use super::effect::{CarrierEffect, Detached};
use super::machine::{Carrier, InFlight, ReplyTo};
use super::session::{BoxSession, Identified, Identifying};
use crate::base::Timestamp;
use crate::base::ids::Fingerprint;
use crate::base::limits::{MAILBOX_SESSIONS, PURPOSE_BYTES};
use crate::base::rng::Rng;
use crate::engine::session::Line;
use crate::mail::proof::IdentificationProof;
use crate::wire::Status;
use crate::wire::mailbox::{BoxCommand, IdentificationChallenge, Policy};

/// A signature that is being verified.
pub(super) struct Proving {
    /// `None` if there is no such box.
    mailbox: Option<Fingerprint>,
    command: Option<BoxCommand>,
}

impl Carrier {
    pub(super) fn identify(&mut self, rng: &mut dyn Rng, place: ReplyTo, mailbox: &str, purpose: String) {
        if purpose.len() > PURPOSE_BYTES {
            return self.answer(place, Status::BadParameter);
        }
        let mailbox = mailbox.parse().ok().filter(|name| self.held.mailboxes().contains_key(name));
        let nonce = rng.array();
        let policy = self.held.policy();
        let Some(session) = self.session(place) else { return };
        session.identifying = Some(Identifying { mailbox, nonce, purpose });
        self.answer(place, Line::saying(Status::IdentificationChallenge, &IdentificationChallenge { nonce, policy }));
    }

    pub(super) fn respond(&mut self, place: ReplyTo, nonce: [u8; 32], command: Option<String>, signature: Vec<u8>) {
        let Some(asked) = self.session(place).and_then(|session| session.identifying.take()) else {
            return self.answer(place, Status::IdentificationFailed);
        };
        let only = command.as_deref().map(BoxCommand::from_line);
        let of_policy = matches!(
            (self.held.policy(), &only),
            (Policy::Command, Some(Some(_))) | (Policy::Session | Policy::TimeOut(_), None)
        );
        if !of_policy {
            return self.answer(place, Status::IdentificationFailed);
        }
        let own = &self.profile.public;
        let known = asked.mailbox.and_then(|name| Some((name, self.held.mailboxes().get(&name)?)));
        // Our own certificate stands for that of a box that does not exist: the signature cannot be by it.
        let (key, certificate) = match known {
            Some((name, mailbox)) => (name, Arc::clone(mailbox.certificate())),
            None => (own.fingerprint, Arc::clone(&own.certificate)),
        };
        let proof = IdentificationProof {
            server: own.onion(),
            key,
            server_nonce: asked.nonce,
            client_nonce: nonce,
            purpose: asked.purpose,
            command,
        };
        let proving = Proving { mailbox: asked.mailbox, command: only.flatten() };
        let op = self.operation(InFlight::Identification(place, proving));
        self.effect(CarrierEffect::Verify(op, Detached { text: proof.text(), signature, certificate }));
    }

    /// Ends the oldest session of a box that has too many, so that one owner does not keep the others out.
    fn make_room(&mut self, place: ReplyTo, mailbox: Fingerprint) {
        let of_mailbox = |session: &BoxSession| session.identified.as_ref().is_some_and(|it| it.mailbox == mailbox);
        // Sessions are numbered in the order in which they come.
        let sessions: Vec<_> = self
            .sessions
            .iter()
            .filter(|(id, session)| **id != place.0 && of_mailbox(session))
            .map(|(id, _)| *id)
            .collect();
        if sessions.len() >= MAILBOX_SESSIONS
            && let Some(oldest) = sessions.first()
        {
            self.give_way(*oldest);
        }
    }

    pub(super) fn verified(&mut self, now: Timestamp, place: ReplyTo, proving: Proving, holds: bool) {
        let until = match self.held.policy() {
            Policy::TimeOut(seconds) => Some(now.plus(Duration::from_secs(seconds.into()))),
            Policy::Session | Policy::Command => None,
        };
        let (Some(mailbox), true) = (proving.mailbox, holds) else {
            return self.answer(place, Status::IdentificationFailed);
        };
        self.make_room(place, mailbox);
        let Some(session) = self.session(place) else { return };
        session.identified = Some(Identified { mailbox, until, command: proving.command, used: false });
        self.answer(place, Status::Identified);
    }
}
