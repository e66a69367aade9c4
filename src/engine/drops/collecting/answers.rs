//! What the answers of a carrier lead to, and what our keys made of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::{Asked, PURPOSE, Step};
use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::{ContentId, ObjectId, SessionId, Timestamp};
use crate::engine::drops::rented::{DropChange, Rented};
use crate::engine::effect::{DropWork, Effect, Refusal};
use crate::engine::identity::{Identity, Pending, Then};
use crate::engine::record::Record;
use crate::engine::session::Answered;
use crate::engine::state::AttemptError;
use crate::mail::proof::{IdentificationProof, RegistrationProof};
use crate::mail::{Content, ContentKind};
use crate::wire::Status;
use crate::wire::mailbox::{BoxCommand, Challenge, Entry, IdentificationChallenge, Policy, Said};

impl Identity {
    /// The carrier answered what this step asked.
    pub(super) fn collection_answered(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        session: SessionId,
        lines: &[Answered],
    ) {
        let Some(collecting) = self.collections.get_mut(&session) else { return };
        let (drop, Some((last, before))) = (collecting.drop, lines.split_last()) else { return };
        let Some(rented) = self.state.drops().get(drop).cloned() else {
            return self.end_collection(now, rng, session, None);
        };
        let status = last.code().status();
        let refused = |status: Option<Status>| match status {
            Some(Status::Busy | Status::NoSpace | Status::TryLater) => AttemptError::Later,
            Some(Status::TimeOut | Status::ServerError) => AttemptError::Broken,
            _ => AttemptError::Refused,
        };
        match std::mem::replace(&mut collecting.step, Step::Noting) {
            Step::Registering if status == Some(Status::Challenge) => {
                let challenge = Challenge::from_words(&last.reply.words);
                let (Ok(_), [object, certificate]) = (challenge, last.blocks.as_slice()) else {
                    return self.end_collection(now, rng, session, Some(AttemptError::Broken));
                };
                let certificate: Arc<[u8]> = certificate.as_slice().into();
                let work = DropWork::OpenChallenge(object.clone(), certificate.clone(), rented.carrier);
                collecting.step = Step::Opening(certificate);
                let op = self.operation(Pending::Drop(session));
                self.effect(Effect::ForDrop(op, rented.keys.clone(), work));
            }
            Step::Proving if status == Some(Status::Registered) => {
                let record = Record::DropChanged { id: drop, change: DropChange::Registered };
                self.commit(vec![record], Vec::new(), Then::Collecting(session));
            }
            Step::Identifying if status == Some(Status::IdentificationChallenge) => {
                let challenge = IdentificationChallenge::from_words(&last.reply.words);
                let Ok(challenge) = challenge else {
                    return self.end_collection(now, rng, session, Some(AttemptError::Broken));
                };
                collecting.policy = Some(challenge.policy);
                if challenge.policy == Policy::Command && collecting.held_back.is_none() {
                    // This carrier wants a proof for each command, and no command waits for one yet.
                    collecting.identified = true;
                    return self.go_on(now, rng, session);
                }
                let for_one = collecting.held_back.as_ref().filter(|_| challenge.policy == Policy::Command);
                let command = for_one.map(|asked| asked.command.to_line());
                let client_nonce: [u8; 32] = rng.array();
                let proof = IdentificationProof {
                    server: rented.onion,
                    key: rented.fingerprint,
                    server_nonce: challenge.nonce,
                    client_nonce,
                    purpose: PURPOSE.to_owned(),
                    command: command.clone(),
                };
                collecting.step = Step::Signing(client_nonce, command);
                let op = self.operation(Pending::Drop(session));
                self.effect(Effect::ForDrop(op, rented.keys.clone(), DropWork::Sign(proof.text())));
            }
            Step::Responding if status == Some(Status::Identified) => {
                collecting.identified = true;
                collecting.identified_until = match collecting.policy {
                    // Half of it, because the time began at the carrier before its answer was here.
                    Some(Policy::TimeOut(seconds)) => Some(now.plus(Duration::from_secs(u64::from(seconds) / 2))),
                    _ => None,
                };
                let held_back = collecting.held_back.take();
                if let Some(Asked { command, block, bound, step }) = held_back {
                    collecting.ask(now, &command, &block, bound, step);
                }
                let waits = matches!(collecting.step, Step::Noting);
                self.rooms.boxes.calendar.collection_works(drop);
                self.attempts_changed();
                if waits {
                    self.go_on(now, rng, session);
                }
            }
            Step::Uploading(of, mut classes) => {
                if status == Some(Status::TokensStored) {
                    classes.remove(0);
                    return self.upload(now, session, &rented, of, classes);
                }
                // The carrier has no room for more tokens, or has another set already: mail is collected all the same.
                collecting.sets_refused = true;
                self.go_on(now, rng, session);
            }
            Step::Posting(invitation) => {
                if status == Some(Status::PageKept) {
                    self.rooms.boxes.posted_pages.insert((drop, invitation));
                } else {
                    collecting.pages_refused.insert(invitation);
                }
                self.go_on(now, rng, session);
            }
            Step::Watching if status == Some(Status::Watching) => self.go_on(now, rng, session),
            Step::Listing if status == Some(Status::ListEnd) => {
                self.listed(session, before);
                self.go_on(now, rng, session);
            }
            Step::Fetching(entry, bytes) => self.fetch_answered(now, rng, session, &rented, (entry, bytes), last),
            // No honest box holds so many objects that are not for us: the carrier makes them up, or lets somebody fill it.
            Step::Deleting if collecting.refused >= limits::COLLECT_REFUSED => {
                self.end_collection(now, rng, session, Some(AttemptError::Later));
            }
            Step::Deleting => self.go_on(now, rng, session),
            _ => self.end_collection(now, rng, session, Some(refused(status))),
        }
    }

    /// The carrier listed what it holds: notes what of it is to be fetched.
    fn listed(&mut self, session: SessionId, lines: &[Answered]) {
        let Some(collecting) = self.collections.get_mut(&session) else { return };
        let entries = lines.iter().filter_map(|line| Entry::from_words(&line.reply.words).ok());
        // A carrier may name one twice.
        let mut named = collecting.passed_over.union(&collecting.judged).copied().collect::<BTreeSet<_>>();
        collecting.listed =
            entries.filter(|entry| named.insert(entry.object) && entry.size <= limits::DEPOSIT_BYTES).collect();
        let listed = |object: &ObjectId| collecting.listed.iter().any(|entry| entry.object == *object);
        let drop = collecting.drop;
        if self.rooms.boxes.partly_fetched.get(&drop).is_some_and(|(object, _)| !listed(object)) {
            self.rooms.boxes.partly_fetched.remove(&drop);
        }
    }

    /// The carrier answered a request for more of an object, of which these bytes are here already.
    fn fetch_answered(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        session: SessionId,
        rented: &Rented,
        (entry, mut bytes): (Entry, Vec<u8>),
        answer: &Answered,
    ) {
        match (answer.code().status(), answer.blocks.as_slice()) {
            // A part has at least 1 KiB, or all that is left: a carrier must not hand out an object in crumbs.
            (Some(Status::MessageObject | Status::MessagePart), [part])
                if part.len() as u64 >= entry.size.saturating_sub(bytes.len() as u64).min(limits::KIB as u64)
                    && !part.is_empty() =>
            {
                bytes.extend_from_slice(part);
                return self.fetched(now, rng, session, rented, entry, bytes);
            }
            (Some(Status::NoMessage), _) => {}
            // The carrier cannot read the object now.
            _ => {
                let Some(collecting) = self.collections.get_mut(&session) else { return };
                collecting.passed_over.insert(entry.object);
            }
        }
        self.go_on(now, rng, session);
    }

    /// These bytes of an object are here: asks for the rest, or opens it where it is whole.
    fn fetched(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        session: SessionId,
        rented: &Rented,
        entry: Entry,
        bytes: Vec<u8>,
    ) {
        if (bytes.len() as u64) < entry.size {
            return self.fetch(now, session, rented, entry, bytes);
        }
        let Some(collecting) = self.collections.get_mut(&session) else { return };
        collecting.step = Step::Judging(entry.object);
        if !self.collected(session, bytes) {
            self.collection_judged(now, rng, session, Status::Busy);
        }
    }

    /// What was collected is on the disk, or is nothing for us, or cannot be taken now.
    pub(in super::super::super) fn collection_judged(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        session: SessionId,
        status: Status,
    ) {
        let Some(collecting) = self.collections.get_mut(&session) else { return };
        let Step::Judging(object) = collecting.step else { return };
        if matches!(status, Status::Roger | Status::ContentRefused) {
            collecting.judged.insert(object);
            collecting.refused = if status == Status::Roger { 0 } else { collecting.refused + 1 };
            let Some(rented) = self.state.drops().get(collecting.drop) else { return };
            let delete = BoxCommand::Delete { mailbox: rented.fingerprint.to_string(), objects: vec![object] };
            let rented = rented.clone();
            collecting.ask_as_owner(now, &rented, (delete, Vec::new()), 0, Step::Deleting);
            return self.flush_collection(session);
        }
        collecting.passed_over.insert(object);
        self.go_on(now, rng, session);
    }

    /// The keys of a drop did what was asked.
    pub(in super::super::super) fn drop_worked(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        session: SessionId,
        result: Result<Vec<u8>, Refusal>,
    ) {
        let Some(collecting) = self.collections.get_mut(&session) else { return };
        let Some(rented) = self.state.drops().get(collecting.drop).cloned() else {
            return self.end_collection(now, rng, session, None);
        };
        let Ok(bytes) = result else {
            return self.end_collection(now, rng, session, Some(AttemptError::WrongCertificate));
        };
        match std::mem::replace(&mut collecting.step, Step::Noting) {
            Step::Opening(certificate) => {
                let answer = Content::decode(bytes).ok().filter(|content| content.kind == ContentKind::Challenge);
                let proves = |content: &Content| {
                    RegistrationProof::from_text(&content.payload)
                        .is_some_and(|proof| proof.server == rented.onion && proof.key == rented.fingerprint)
                };
                let Some(challenge) = answer.filter(proves) else {
                    return self.end_collection(now, rng, session, Some(AttemptError::WrongCertificate));
                };
                let (kind, id) = (ContentKind::ChallengeAnswer, ContentId::random(rng));
                let answer =
                    Content { kind, id, expires: challenge.expires, receipt: None, payload: challenge.payload };
                collecting.step = Step::Sealing;
                let op = self.operation(Pending::Drop(session));
                let work = DropWork::Seal(answer.encode(), certificate);
                self.effect(Effect::ForDrop(op, rented.keys.clone(), work));
            }
            Step::Sealing => {
                let accepted = BoxCommand::ChallengeAccepted { answer: bytes.len() as u64 };
                collecting.ask(now, &accepted, &bytes, 0, Step::Proving);
            }
            Step::Signing(nonce, command) => {
                let respond = BoxCommand::Respond { nonce, command, signature: bytes.len() as u64 };
                collecting.ask(now, &respond, &bytes, 0, Step::Responding);
            }
            _ => {}
        }
        self.flush_collection(session);
    }
}
