//! What a collection does with the answers of the carrier, and with the results of the operations on the keys of the
//! box.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::base::limits;
use crate::base::{ContactId, ContentId, ObjectId};
use crate::engine::boxes::Boxes;
use crate::engine::boxes::collect::{Asked, CollectTask, PURPOSE, Step};
use crate::engine::context::{Context, Signal};
use crate::engine::dialled::Dialled;
use crate::engine::io::{BoxWork, Effect, Refusal};
use crate::engine::session::Answered;
use crate::engine::state::AttemptError;
use crate::engine::state::book::ContactStatus;
use crate::engine::state::boxes::ReceiptPolicy;
use crate::engine::state::boxes::own::{BoxChange, OwnBox};
use crate::engine::state::forwarding::ObjectHash;
use crate::engine::state::record::{BoxRecord, ForwardingRecord, Record};
use crate::mail::proof::{IdentificationProof, RegistrationProof};
use crate::mail::{Content, ContentKind};
use crate::wire::Status;
use crate::wire::mailbox::{BoxCommand, Challenge, Entry, IdentificationChallenge, Policy, Said};

impl CollectTask {
    /// The carrier answered the command of this step.
    pub(in crate::engine) fn answered(&mut self, cx: &mut Context<'_>, boxes: &mut Boxes, lines: &[Answered]) {
        let Some((last, before)) = lines.split_last() else { return };
        let Some(own_box) = cx.state.boxes().get(self.box_id) else { return self.end(cx, boxes, None) };
        let status = last.code().status();
        match std::mem::replace(&mut self.step, Step::Noting) {
            Step::Registering if status == Some(Status::Challenge) => self.challenged(cx, boxes, own_box, last),
            Step::Proving if status == Some(Status::Registered) => {
                let record = Record::Boxes(BoxRecord::BoxChanged { id: self.box_id, change: BoxChange::Registered });
                cx.out.commit(self.owner(), record);
            }
            Step::Identifying if status == Some(Status::IdentificationChallenge) => {
                self.asked_who_we_are(cx, boxes, own_box, last);
            }
            Step::Responding if status == Some(Status::Identified) => self.identified(cx, boxes),
            Step::Uploading(of, mut classes) => {
                if status == Some(Status::TokensStored) {
                    classes.remove(0);
                    return self.upload(cx, own_box, of, classes);
                }
                // The carrier has no room for more tokens, or has another set already: mail is collected all the same.
                self.sets_refused = true;
                self.next(cx, boxes);
            }
            Step::Posting(invitation) => {
                if status == Some(Status::PageKept) {
                    boxes.posted_pages.insert((self.box_id, invitation));
                } else {
                    self.pages_refused.insert(invitation);
                }
                self.next(cx, boxes);
            }
            Step::Watching if status == Some(Status::Watching) => self.next(cx, boxes),
            Step::Listing if status == Some(Status::ListEnd) => {
                self.was_listed(boxes, before);
                self.next(cx, boxes);
            }
            Step::Fetching(entry, bytes) => self.fetch_answered(cx, boxes, own_box, (entry, bytes), last),
            // No honest box holds so many objects that are not for us: the carrier makes them up, or lets somebody fill
            // it.
            Step::Deleting if self.refused >= limits::COLLECT_REFUSED => {
                self.end(cx, boxes, Some(AttemptError::Later));
            }
            Step::Deleting => self.next(cx, boxes),
            _ => self.end(cx, boxes, Some(meaning(status))),
        }
    }

    /// The carrier wants to see that the key of a new box is ours.
    fn challenged(&mut self, cx: &mut Context<'_>, boxes: &mut Boxes, own_box: &OwnBox, answer: &Answered) {
        let challenge = Challenge::from_words(&answer.reply.words);
        let (Ok(_), [object, certificate]) = (challenge, answer.blocks.as_slice()) else {
            return self.end(cx, boxes, Some(AttemptError::Broken));
        };
        let certificate: Arc<[u8]> = certificate.as_slice().into();
        self.step = Step::Opening(certificate.clone());
        self.work(cx, own_box, BoxWork::OpenChallenge(object.clone(), certificate, own_box.carrier));
    }

    /// The carrier wants a proof that we own the box.
    fn asked_who_we_are(&mut self, cx: &mut Context<'_>, boxes: &mut Boxes, own_box: &OwnBox, answer: &Answered) {
        let Ok(challenge) = IdentificationChallenge::from_words(&answer.reply.words) else {
            return self.end(cx, boxes, Some(AttemptError::Broken));
        };
        self.policy = Some(challenge.policy);
        if challenge.policy == Policy::Command && self.held_back.is_none() {
            // This carrier wants a proof for each command, and no command waits for one yet.
            self.identified = true;
            return self.next(cx, boxes);
        }
        let for_one = self.held_back.as_ref().filter(|_| challenge.policy == Policy::Command);
        let command = for_one.map(|asked| asked.command.to_line());
        let client_nonce: [u8; 32] = cx.rng.array();
        let proof = IdentificationProof {
            server: own_box.onion,
            key: own_box.fingerprint,
            server_nonce: challenge.nonce,
            client_nonce,
            purpose: PURPOSE.to_owned(),
            command: command.clone(),
        };
        self.step = Step::Signing(client_nonce, command);
        self.work(cx, own_box, BoxWork::Sign(proof.text()));
    }

    /// The carrier has seen our key.
    fn identified(&mut self, cx: &mut Context<'_>, boxes: &mut Boxes) {
        self.identified = true;
        self.identified_until = match self.policy {
            // Half of the time, because it began at the carrier before its answer was here.
            Some(Policy::TimeOut(seconds)) => Some(cx.now.plus(Duration::from_secs(u64::from(seconds) / 2))),
            _ => None,
        };
        if let Some(Asked { command, block, bound, step }) = self.held_back.take() {
            self.ask(cx.now, &command, &block, bound, step);
        }
        boxes.calendar.collection_works(self.box_id);
        cx.out.attempts_changed();
        if matches!(self.step, Step::Noting) {
            self.next(cx, boxes);
        }
    }

    /// The carrier listed the objects in the box: notes which of them to fetch.
    fn was_listed(&mut self, boxes: &mut Boxes, lines: &[Answered]) {
        let entries = lines.iter().filter_map(|line| Entry::from_words(&line.reply.words).ok());
        // A carrier may name an object twice.
        let mut named = self.passed_over.union(&self.judged).copied().collect::<BTreeSet<_>>();
        self.listed =
            entries.filter(|entry| named.insert(entry.object) && entry.size <= limits::DEPOSIT_BYTES).collect();
        let listed = |object: &ObjectId| self.listed.iter().any(|entry| entry.object == *object);
        if boxes.partly_fetched.get(&self.box_id).is_some_and(|(object, _)| !listed(object)) {
            boxes.partly_fetched.remove(&self.box_id);
        }
    }

    /// The carrier answered a request for more of an object, of which these bytes are here already.
    fn fetch_answered(
        &mut self,
        cx: &mut Context<'_>,
        boxes: &mut Boxes,
        own_box: &OwnBox,
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
                return self.fetched(cx, own_box, entry, bytes);
            }
            (Some(Status::NoMessage), _) => {}
            // The carrier cannot read the object now.
            _ => {
                self.passed_over.insert(entry.object);
            }
        }
        self.next(cx, boxes);
    }

    /// These bytes of an object are here: asks for the rest, or lets it be judged where it is whole.
    fn fetched(&mut self, cx: &mut Context<'_>, own_box: &OwnBox, entry: Entry, bytes: Vec<u8>) {
        if (bytes.len() as u64) < entry.size {
            return self.fetch(cx.now, own_box, entry, bytes);
        }
        self.step = Step::Judging(entry.object);
        cx.out.tell(Signal::Collected(self.line.session(), bytes));
    }

    /// The collected object is on the disk, or is nothing for us, or cannot be taken now.
    pub(in crate::engine) fn was_judged(&mut self, cx: &mut Context<'_>, boxes: &mut Boxes, status: Status) {
        let Step::Judging(object) = self.step else { return };
        let unread = self.unread.take();
        if !matches!(status, Status::Roger | Status::ContentRefused) {
            self.passed_over.insert(object);
            return self.next(cx, boxes);
        }
        self.judged.insert(object);
        self.refused = if status == Status::Roger { 0 } else { self.refused + 1 };
        if let Some(told) = unread.and_then(|hash| self.told_of_unread(cx, boxes, hash)) {
            self.step = Step::Telling(object);
            cx.out.commit(self.owner(), told);
            return;
        }
        self.delete(cx, object);
    }

    pub(in crate::engine) fn delete(&mut self, cx: &mut Context<'_>, object: ObjectId) {
        let Some(own_box) = cx.state.boxes().get(self.box_id) else { return };
        let delete = BoxCommand::Delete { mailbox: own_box.fingerprint.to_string(), objects: vec![object] };
        self.ask_as_owner(cx.now, own_box, (delete, Vec::new()), 0, Step::Deleting);
    }

    /// An object in the box cannot be opened: it may have been sealed to an encryption key that is destroyed. The carrier
    /// does not say who left it, so everybody who may leave something there and is sent receipts is told, and its author
    /// leaves it once more. `None` where nobody is to be told, or so many were today: whoever fills the box with what nobody
    /// can open is not to keep us busy.
    fn told_of_unread(&self, cx: &Context<'_>, boxes: &mut Boxes, object: ObjectHash) -> Option<Record> {
        let own_box = cx.state.boxes().get(self.box_id)?;
        let is_told = |contact: &ContactId| {
            let entry = cx.state.book().contact(*contact);
            entry.is_some_and(|entry| entry.status == ContactStatus::Confirmed)
                && cx.state.boxes().told(*contact) != ReceiptPolicy::Nothing
        };
        let contacts: Vec<_> = own_box.seats.iter().filter_map(|seat| seat.contact).filter(is_told).collect();
        let (day, told) = boxes.unread_told.entry(self.box_id).or_default();
        let today = cx.now.floor_to_day();
        if *day != today {
            (*day, *told) = (today, 0);
        }
        let may = !contacts.is_empty() && *told < limits::UNREAD_TOLD;
        *told += u32::from(may);
        may.then(|| ForwardingRecord::ObjectUnread { contacts, object }.into())
    }

    /// Begins an operation with the keys of the box.
    fn work(&self, cx: &mut Context<'_>, own_box: &OwnBox, work: BoxWork) {
        let op = cx.out.operation(self.owner());
        cx.out.effect(Effect::ForBox(op, own_box.keys.clone(), work));
    }

    /// An operation with the keys of the box is over.
    pub(in crate::engine) fn worked(
        &mut self,
        cx: &mut Context<'_>,
        boxes: &mut Boxes,
        result: Result<Vec<u8>, Refusal>,
    ) {
        let Some(own_box) = cx.state.boxes().get(self.box_id) else { return self.end(cx, boxes, None) };
        let Ok(bytes) = result else { return self.end(cx, boxes, Some(AttemptError::WrongCertificate)) };
        match std::mem::replace(&mut self.step, Step::Noting) {
            Step::Opening(certificate) => {
                let answer = Content::decode(bytes).ok().filter(|content| content.kind == ContentKind::Challenge);
                let proves = |content: &Content| {
                    RegistrationProof::from_text(&content.payload)
                        .is_some_and(|proof| proof.server == own_box.onion && proof.key == own_box.fingerprint)
                };
                let Some(challenge) = answer.filter(proves) else {
                    return self.end(cx, boxes, Some(AttemptError::WrongCertificate));
                };
                let (kind, id) = (ContentKind::ChallengeAnswer, ContentId::random(cx.rng));
                let answer =
                    Content { kind, id, expires: challenge.expires, receipt: None, payload: challenge.payload };
                self.step = Step::Sealing;
                self.work(cx, own_box, BoxWork::Seal(answer.encode(), certificate));
            }
            Step::Sealing => {
                let accepted = BoxCommand::ChallengeAccepted { answer: bytes.len() as u64 };
                self.ask(cx.now, &accepted, &bytes, 0, Step::Proving);
            }
            Step::Signing(nonce, command) => {
                let respond = BoxCommand::Respond { nonce, command, signature: bytes.len() as u64 };
                self.ask(cx.now, &respond, &bytes, 0, Step::Responding);
            }
            _ => {}
        }
    }
}

/// The error of an attempt that the carrier refused with this status.
const fn meaning(status: Option<Status>) -> AttemptError {
    match status {
        Some(Status::Busy | Status::NoSpace | Status::TryLater) => AttemptError::Later,
        Some(Status::TimeOut | Status::ServerError) => AttemptError::Broken,
        _ => AttemptError::Refused,
    }
}
