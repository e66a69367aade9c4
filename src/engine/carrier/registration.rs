//! Registering a box (docs/protocol.md, "Registration"): an invitation, a certificate, a challenge that only the owner
//! of the certificate can open, and the answer to it. Nothing is stored before the answer.

use std::sync::Arc;

use super::effect::CarrierEffect;
use super::held::Outcome;
use super::machine::{AfterCommit, CHALLENGE_LIFE, Carrier, InFlight, ReplyTo};
use super::record::HeldRecord;
use super::session::Registering;
use crate::base::ids::Fingerprint;
use crate::base::limits::CARRIER_MAILBOXES;
use crate::base::rng::Rng;
use crate::base::{ContentId, Timestamp};
use crate::engine::io::Refusal;
use crate::engine::session::Line;
use crate::mail::proof::RegistrationProof;
use crate::mail::{Content, ContentKind};
use crate::wire::mailbox::{Challenge, Registration};
use crate::wire::{CertificateRef, Status, Word, digest};

/// A registration whose certificate is being checked.
pub(super) struct Register {
    certificate: Arc<[u8]>,
    invitation: Option<[u8; 32]>,
}

/// A challenge that is being sealed.
pub(super) struct Proposed(Registering);

impl Carrier {
    pub(super) fn register(
        &mut self,
        now: Timestamp,
        place: ReplyTo,
        registration: Registration,
        certificate: Vec<u8>,
    ) {
        if registration.address.is_some() {
            return self.answer(place, Status::NotImplemented);
        }
        if registration.invitation.is_none() && !self.held.limits().free {
            return self.answer(place, Status::FreeRegistrationNotAvailable);
        }
        let certificate: Arc<[u8]> = certificate.into();
        let invitation = registration.invitation.map(|token| digest(&token));
        // The invitation is looked at before anything that costs more than a comparison.
        if let Some(refusal) = invitation.and_then(|token| self.refusal_of(&token, now))
            && !self.held.mailboxes().values().any(|mailbox| *mailbox.certificate() == certificate)
        {
            return self.answer(place, refusal);
        }
        let register = Register { certificate: Arc::clone(&certificate), invitation };
        let op = self.operation(InFlight::Certificate(place, register));
        self.effect(CarrierEffect::ReadCertificate(op, certificate));
    }

    /// The refusal of an invitation that makes no box; `None` if it makes one.
    fn refusal_of(&self, token: &[u8; 32], now: Timestamp) -> Option<Status> {
        match self.held.invitations().get(token) {
            None => Some(Status::InvitationTokenInvalid),
            Some(known) => (known.expires < now).then_some(Status::InvitationTokenExpired),
        }
    }

    pub(super) fn certificate_read(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        place: ReplyTo,
        register: Register,
        key: Result<Fingerprint, Refusal>,
    ) {
        let Register { certificate, invitation } = register;
        let mailbox = match key {
            Ok(key) => key,
            Err(Refusal::Permanent | Refusal::Date) => return self.answer(place, Status::BadParameter),
            Err(Refusal::Temporary) => return self.answer(place, Status::Busy),
        };
        // The owner of a box may register again, with the invitation that it used up: perhaps the answer was lost.
        if !self.held.mailboxes().contains_key(&mailbox) {
            if let Some(refusal) = invitation.and_then(|token| self.refusal_of(&token, now)) {
                return self.answer(place, refusal);
            }
            if self.held.mailboxes().len() >= CARRIER_MAILBOXES {
                return self.answer(place, Status::NoSpace);
            }
        }
        let registering = Registering { mailbox, certificate, invitation, nonce: rng.array(), asked: now };
        let content = Content {
            kind: ContentKind::Challenge,
            id: ContentId::random(rng),
            expires: Timestamp::from_secs(now.plus(CHALLENGE_LIFE).secs()),
            receipt: None,
            payload: self.registration_proof(&registering).text().into_bytes(),
        };
        let certificate = Arc::clone(&registering.certificate);
        let op = self.operation(InFlight::Challenge(place, Proposed(registering)));
        self.effect(CarrierEffect::Seal(op, content.encode(), certificate));
    }

    pub(super) fn challenge_sealed(
        &mut self,
        now: Timestamp,
        place: ReplyTo,
        Proposed(registering): Proposed,
        object: Result<Vec<u8>, Refusal>,
    ) {
        let Ok(object) = object else { return self.answer(place, Status::Busy) };
        let Some(session) = self.session(place) else { return };
        session.registering = Some(Registering { asked: now, ..registering });
        let own = Arc::clone(&self.profile.public.certificate);
        let said = Challenge { size: object.len() as u64, server: CertificateRef::Block(own.len() as u64) };
        let blocks = [object.as_slice(), &own].concat();
        self.answer(place, Line::saying(Status::Challenge, &said).with(blocks.into()));
    }

    pub(super) fn challenge_accepted(&mut self, now: Timestamp, place: ReplyTo, object: Vec<u8>) {
        let registering = self.session(place).and_then(|session| session.registering.as_ref());
        let counts = registering.filter(|registering| now.since(registering.asked) <= CHALLENGE_LIFE);
        let Some(certificate) = counts.map(|registering| Arc::clone(&registering.certificate)) else {
            return self.answer(place, Status::RegistrationChallengeFailed);
        };
        let op = self.operation(InFlight::Answer(place));
        self.effect(CarrierEffect::Open(op, object, certificate));
    }

    pub(super) fn answer_opened(&mut self, now: Timestamp, place: ReplyTo, content: Result<Vec<u8>, Refusal>) {
        let Some(registering) = self.session(place).and_then(|session| session.registering.take()) else {
            return self.answer(place, Status::RegistrationChallengeFailed);
        };
        let content = match content {
            Err(Refusal::Temporary) => return self.answer(place, Status::Busy),
            Err(Refusal::Permanent | Refusal::Date) => None,
            Ok(content) => Content::decode(content).ok(),
        };
        let expected = self.registration_proof(&registering);
        let met = content.is_some_and(|content| {
            content.kind == ContentKind::ChallengeAnswer
                && content.expires >= now
                && RegistrationProof::from_text(&content.payload) == Some(expected)
        });
        if !met {
            return self.answer(place, Status::RegistrationChallengeFailed);
        }
        let Registering { mailbox, certificate, invitation, .. } = registering;
        let terms = self.held.limits().usual;
        let record = HeldRecord::Registered { mailbox, certificate, invitation, terms };
        self.commit(vec![record], Vec::new(), AfterCommit::Registered(place, mailbox));
    }

    /// The commit of a registration is over.
    pub(super) fn registered(&mut self, place: ReplyTo, mailbox: Fingerprint, outcome: Outcome) {
        match outcome {
            Outcome::Done | Outcome::Already => {
                let name = vec![Word::text(mailbox.to_string())];
                self.answer(place, Line::new(Status::Registered, name));
            }
            // Another client used the invitation meanwhile.
            Outcome::Nothing => self.answer(place, Status::InvitationTokenInvalid),
        }
    }

    fn registration_proof(&self, registering: &Registering) -> RegistrationProof {
        let server = self.profile.public.onion();
        RegistrationProof { server, key: registering.mailbox, nonce: registering.nonce }
    }
}
