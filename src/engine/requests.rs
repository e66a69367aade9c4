//! Requests of the gateways and the control socket: each is checked against what is committed, becomes one
//! transaction, and is answered when that is durable. Folders and messages are here; people, invitations and passwords in
//! `people`, submission in `submission`.

use std::sync::Arc;

use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::{BodyId, FolderId, QueueId, Timestamp};

use super::delivery::has_room;
use super::effect::{CommitError, Durability, Effect, NewBody, Transaction};
use super::identity::{Identity, Then};
use super::mailbox::{FlagChange, Folder, FolderRole, NamedFlags, NewMessage, Uid};
use super::record::Record;
use super::request::{Request, RequestError, RequestId, Response};
use super::state::Applied;
use super::task::Task;

/// The answer to a request, once its transaction is committed.
pub(super) enum Answer {
    /// This, where every record took effect; otherwise the error.
    All(Response, RequestError),
    /// This, where the first record took effect; otherwise the error.
    First(Response, RequestError),
    /// This, whatever was still there.
    Always(Response),
    /// The UIDs that the first record changed.
    Changed,
    /// The pairs that the first record transferred, with this UIDVALIDITY.
    Transferred(u32),
    /// This error: a part of what was asked for could be done and was, the rest could not.
    Partly(RequestError),
}

/// A request as it goes to the log.
pub(super) struct Change {
    pub(super) records: Vec<Record>,
    pub(super) bodies: Vec<NewBody>,
    pub(super) durability: Durability,
    pub(super) answer: Answer,
    /// Messages that it takes back: until it is answered they are not sent.
    pub(super) recalled: Vec<QueueId>,
}

impl Change {
    pub(super) const fn new(records: Vec<Record>, answer: Answer) -> Self {
        Self { records, bodies: Vec::new(), durability: Durability::Synced, answer, recalled: Vec::new() }
    }

    pub(super) const fn done(records: Vec<Record>, otherwise: RequestError) -> Self {
        Self::new(records, Answer::All(Response::Done, otherwise))
    }
}

pub(super) type Outcome = Result<Change, RequestError>;

impl Identity {
    /// A gateway asks for something.
    pub(super) fn request(&mut self, now: Timestamp, rng: &mut dyn Rng, id: RequestId, request: Request) {
        match self.plan(now, rng, request) {
            // Nothing to write: an empty set of messages, a rename to the same name.
            Ok(change) if change.records.is_empty() => self.answer(id, change.answer, Ok(Vec::new())),
            Ok(Change { records, bodies, durability, answer, recalled }) if recalled.is_empty() => {
                self.commit_with(records, bodies, durability, Then::Answer(id, answer));
            }
            Ok(Change { records, bodies, durability, answer, recalled }) => {
                for queue in &recalled {
                    self.rooms.deliver.schedule.set_recalled(*queue, true);
                }
                self.commit_with(records, bodies, durability, Then::Recalled(id, answer, recalled));
            }
            Err(error) => self.effect(Effect::Respond(id, Err(error))),
        }
    }

    fn plan(&mut self, now: Timestamp, rng: &mut dyn Rng, request: Request) -> Outcome {
        match request {
            Request::Append { folder, flags, date, message } => {
                self.append(now, rng, folder, flags, date.unwrap_or(now), message)
            }
            Request::Store { folder, uids, change, flags } => self.store_flags(folder, uids, change, flags),
            Request::Expunge { folder, uids } => self.expunge(now, rng, folder, uids),
            Request::Transfer { from, to, uids, keep } => self.transfer(now, rng, from, to, &uids, keep),
            Request::CreateFolder { name } => self.create_folder(now, rng, &name),
            Request::RenameFolder { folder, name } => self.rename_folder(now, rng, folder, &name),
            Request::DeleteFolder { folder } => match self.known_folder(folder)?.role {
                Some(_) => Err(RequestError::FolderRefused("it always exists")),
                None => Ok(Change::done(vec![Record::FolderDeleted { id: folder }], RequestError::NoSuchFolder)),
            },
            Request::SubscribeFolder { folder, subscribed } => {
                self.known_folder(folder)?;
                let record = Record::FolderSubscribed { id: folder, subscribed };
                Ok(Change::done(vec![record], RequestError::NoSuchFolder))
            }
            Request::Submit(submission) => self.submit(now, rng, &submission),
            Request::Cancel(queue) => self.cancel(now, rng, queue),
            Request::Retry(queue) => self.retry(now, queue),
            Request::TellDamaged(body) => {
                let (mut cx, rooms) = self.parts(now, rng);
                let Transaction { records, bodies } = rooms.deliver.tell_damaged(&mut cx, body);
                Ok(Change { bodies, ..Change::new(records, Answer::Always(Response::Done)) })
            }
            Request::Invite { public, expires } => self.invite(now, rng, public, expires),
            Request::RevokeInvitation(id) => self.revoke_invitation(id),
            Request::AddContact { invitation, petname } => self.add_contact(now, rng, &invitation, petname),
            Request::Tell { contact, told } => self.tell(now, rng, contact, told),
            Request::Block(contact) => self.block(contact),
            Request::Unblock(contact) => self.unblock(now, rng, contact),
            Request::RemoveContact(contact) => self.remove_contact(contact),
            Request::AllowCarriage { contact, on } => self.allow_carriage(contact, on),
            Request::ChooseCarrier { contact, friend } => self.choose_carrier(contact, friend),
            Request::Listen(on) => {
                let answer = Answer::Always(Response::Done);
                Ok(Change::new(vec![Record::ListenSwitched { on }], answer))
            }
            Request::RentDrop { invitation, name, keys } => self.rent_drop(now, rng, &invitation, name, keys),
            Request::CheckDrop { name } => {
                let (mut cx, rooms) = self.parts(now, rng);
                if let Some(task) = rooms.boxes.check(&mut cx, &name)? {
                    self.begin(task, Task::Check);
                }
                Ok(Change::new(Vec::new(), Answer::Always(Response::Done)))
            }
            Request::LeaveDrop { name } => self.leave_drop(now, rng, &name),
            Request::AddPassword { name, hash } => self.add_password(now, name, hash),
            Request::RenewPassword { hash, renewed } => self.renew_password(&hash, renewed),
            Request::RevokePassword { name } => self.revoke_password(name),
        }
    }

    /// A request's transaction was committed, or was not.
    pub(super) fn answer(&mut self, id: RequestId, answer: Answer, applied: Result<Vec<Applied>, CommitError>) {
        let result = match (applied, answer) {
            (Err(_), _) => Err(RequestError::Disk),
            (Ok(_), Answer::Partly(error)) => Err(error),
            (Ok(applied), Answer::All(_, otherwise)) if applied.contains(&Applied::Nothing) => Err(otherwise),
            (Ok(applied), Answer::First(_, otherwise)) if applied.first() == Some(&Applied::Nothing) => Err(otherwise),
            (Ok(_), Answer::All(response, _) | Answer::First(response, _) | Answer::Always(response)) => Ok(response),
            (Ok(applied), Answer::Changed) => Ok(Response::Changed(match applied.into_iter().next() {
                Some(Applied::Changed(uids)) => uids,
                _ => Vec::new(),
            })),
            (Ok(applied), Answer::Transferred(uid_validity)) => Ok(Response::Transferred {
                uid_validity,
                pairs: match applied.into_iter().next() {
                    Some(Applied::Transferred(pairs)) => pairs,
                    _ => Vec::new(),
                },
            }),
        };
        self.effect(Effect::Respond(id, result));
    }

    fn known_folder(&self, id: FolderId) -> Result<&Arc<Folder>, RequestError> {
        self.state.mailbox().folder(id).ok_or(RequestError::NoSuchFolder)
    }

    fn append(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        folder: FolderId,
        flags: NamedFlags,
        date: Timestamp,
        message: Arc<[u8]>,
    ) -> Outcome {
        let known = self.known_folder(folder)?;
        let uid_validity = known.uid_validity;
        if known.role == Some(FolderRole::Outbox) {
            return Err(RequestError::Outbox);
        }
        if message.len() > limits::MESSAGE_BYTES {
            return Err(RequestError::Limit("a message has up to 25 MiB"));
        }
        if !has_room(known) {
            return Err(RequestError::Limit("the folder is full"));
        }
        check_keywords(known, &flags)?;
        if self.disk_low {
            return Err(RequestError::Disk);
        }
        let size = u32::try_from(message.len()).map_err(|_| RequestError::Limit("a message has up to 25 MiB"))?;
        let uid = self.reserve_uids(now, rng, folder, 1).and_then(|uids| uids.first().copied()).ok_or(NO_UIDS)?;
        let shared = self.rooms.deliver.ends.find(&message);
        let body = NewBody { shared, ..NewBody::new(BodyId::random(rng), message) };
        let message = NewMessage { uid, flags, date, body: body.id, size, content: None };
        let response = Response::Appended { uid_validity, uid };
        let mut change = Change::new(
            vec![Record::MessageAdded { folder, message }],
            Answer::All(response, RequestError::NoSuchFolder),
        );
        change.bodies.push(body);
        Ok(change)
    }

    fn store_flags(&self, folder: FolderId, uids: Vec<Uid>, change: FlagChange, flags: NamedFlags) -> Outcome {
        let known = self.known_folder(folder)?;
        if change != FlagChange::Remove {
            check_keywords(known, &flags)?;
        }
        let records = uids_record(uids, |uids| Record::FlagsChanged { folder, uids, change, flags });
        Ok(Change { durability: Durability::Lazy, ..Change::new(records, Answer::Changed) })
    }

    fn transfer(
        &mut self,
        now: Timestamp,
        rng: &mut dyn Rng,
        from: FolderId,
        to: FolderId,
        uids: &[Uid],
        keep: bool,
    ) -> Outcome {
        let (source, target) = (self.known_folder(from)?.clone(), self.known_folder(to)?.clone());
        if target.role == Some(FolderRole::Outbox) {
            return Err(RequestError::Outbox);
        }
        let mut present: Vec<Uid> = uids.iter().copied().filter(|&uid| source.messages.get(uid).is_some()).collect();
        let recalls = source.role == Some(FolderRole::Outbox) && !keep;
        let answer = match recalls && !self.retain_recallable(&mut present) {
            true => Answer::Partly(RequestError::BeingSent),
            false => Answer::Transferred(target.uid_validity),
        };
        if target.messages.len().saturating_add(present.len()) > limits::FOLDER_MESSAGES {
            return Err(RequestError::Limit("the folder is full"));
        }
        if present.is_empty() {
            return Ok(Change::new(Vec::new(), answer));
        }
        let new = self.reserve_uids(now, rng, to, present.len()).ok_or(NO_UIDS)?;
        let mut decided = Vec::new();
        if let (Some(FolderRole::Requests), Some(role), false) = (source.role, target.role, keep) {
            let messages = present.iter().filter_map(|&uid| source.messages.get(uid));
            let senders: std::collections::BTreeSet<_> =
                messages.filter_map(|message| self.state.requester(message.body)).collect();
            for sender in senders {
                decided.extend(self.request_decided(now, rng, sender, role));
            }
        }
        let mut change = Change::new(Vec::new(), answer);
        if recalls {
            self.recall_shown(now, rng, &present, &mut change);
        }
        let pairs = present.into_iter().zip(new).collect();
        change.records.insert(0, Record::Transferred { from, to, pairs, keep });
        change.records.extend(decided);
        Ok(change)
    }

    /// Removes messages; in the Outbox that takes them back, but for those that are being handed over at this moment:
    /// they stay, and the answer says so.
    fn expunge(&mut self, now: Timestamp, rng: &mut dyn Rng, folder: FolderId, mut uids: Vec<Uid>) -> Outcome {
        let mut change = Change::new(Vec::new(), Answer::Changed);
        if self.known_folder(folder)?.role == Some(FolderRole::Outbox) {
            if !self.retain_recallable(&mut uids) {
                change.answer = Answer::Partly(RequestError::BeingSent);
            }
            self.recall_shown(now, rng, &uids, &mut change);
        }
        if !uids.is_empty() {
            change.records.insert(0, Record::Expunged { folder, uids });
        }
        Ok(change)
    }

    fn room_for_a_folder(&self) -> Result<(), RequestError> {
        match self.state.mailbox().folders().count() < limits::FOLDERS {
            true => Ok(()),
            false => Err(RequestError::Limit("an identity has up to 1000 folders")),
        }
    }

    fn create_folder(&mut self, now: Timestamp, rng: &mut dyn Rng, name: &str) -> Outcome {
        let name = folder_name(name)?;
        self.room_for_a_folder()?;
        if self.state.mailbox().by_name(&name).is_some() {
            return Err(RequestError::FolderExists);
        }
        let (id, record) = self.new_folder(now, rng, name);
        Ok(Change::new(vec![record], Answer::All(Response::FolderCreated(id), RequestError::FolderExists)))
    }

    fn new_folder(&mut self, now: Timestamp, rng: &mut dyn Rng, name: String) -> (FolderId, Record) {
        let id = FolderId::random(rng);
        let uid_validity = self.parts(now, rng).0.reserve_uid_validity();
        (id, Record::FolderCreated { id, name, role: None, uid_validity })
    }

    /// Renames a folder and those below it. INBOX stays: its messages move into a new folder (RFC 9051 §6.3.6).
    fn rename_folder(&mut self, now: Timestamp, rng: &mut dyn Rng, folder: FolderId, name: &str) -> Outcome {
        let name = folder_name(name)?;
        let known = self.known_folder(folder)?.clone();
        if self.state.mailbox().by_name(&name).is_some() {
            return Err(RequestError::FolderExists);
        }
        match known.role {
            Some(FolderRole::Inbox) => return self.rename_inbox(now, rng, &known, name),
            Some(_) => return Err(RequestError::FolderRefused("it always exists")),
            None => {}
        }
        let below = format!("{}/", known.name);
        if name.starts_with(&below) {
            return Err(RequestError::FolderRefused("it cannot be moved below itself"));
        }
        let mut records = vec![Record::FolderRenamed { id: folder, name: name.clone() }];
        for child in self.state.mailbox().folders() {
            let Some(rest) = child.name.strip_prefix(&below) else { continue };
            let renamed = folder_name(&format!("{name}/{rest}"))?;
            if self.state.mailbox().by_name(&renamed).is_some() {
                return Err(RequestError::FolderExists);
            }
            records.push(Record::FolderRenamed { id: child.id, name: renamed });
        }
        Ok(Change::done(records, RequestError::FolderExists))
    }

    fn rename_inbox(&mut self, now: Timestamp, rng: &mut dyn Rng, inbox: &Folder, name: String) -> Outcome {
        self.room_for_a_folder()?;
        let (to, created) = self.new_folder(now, rng, name);
        let pairs: Vec<(Uid, Uid)> = inbox.messages.iter().map(|message| message.uid).zip(1..).collect();
        let mut records = vec![created];
        if !pairs.is_empty() {
            records.push(Record::Transferred { from: inbox.id, to, pairs, keep: false });
        }
        Ok(Change::done(records, RequestError::FolderExists))
    }
}

const NO_UIDS: RequestError = RequestError::Limit("the folder has no UIDs left; make a new one");

/// No record for no message.
fn uids_record(uids: Vec<Uid>, record: impl FnOnce(Vec<Uid>) -> Record) -> Vec<Record> {
    if uids.is_empty() { Vec::new() } else { vec![record(uids)] }
}

fn check_keywords(folder: &Folder, flags: &NamedFlags) -> Result<(), RequestError> {
    let known = |keyword: &String| folder.keywords.iter().any(|other| other.eq_ignore_ascii_case(keyword));
    let new = flags.keywords.iter().filter(|keyword| !known(keyword)).count();
    if folder.keywords.len().saturating_add(new) > limits::KEYWORDS {
        return Err(RequestError::Limit("a folder has up to 56 different keywords"));
    }
    if flags.keywords.iter().any(|keyword| keyword.is_empty() || keyword.len() > limits::KEYWORD_BYTES) {
        return Err(RequestError::Limit("a keyword has up to 64 bytes"));
    }
    Ok(())
}

/// A folder's name as it is kept: without `/` at its end, INBOX in capitals where it is the first level.
fn folder_name(name: &str) -> Result<String, RequestError> {
    let name = name.strip_suffix('/').unwrap_or(name);
    if name.is_empty() || name.len() > limits::FOLDER_NAME_BYTES {
        return Err(RequestError::FolderRefused("a name has 1 to 200 bytes"));
    }
    if name.split('/').any(str::is_empty) {
        return Err(RequestError::FolderRefused("no level of a name may be empty"));
    }
    if name.chars().any(|c| c.is_control() || matches!(c, '*' | '%' | '\u{2028}' | '\u{2029}')) {
        return Err(RequestError::FolderRefused("a name has no control characters, * or %"));
    }
    match name.split_once('/') {
        Some((first, rest)) if first.eq_ignore_ascii_case("INBOX") => Ok(format!("INBOX/{rest}")),
        _ => Ok(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_names_are_checked() {
        assert_eq!(folder_name("Work/"), Ok("Work".to_owned()));
        assert_eq!(folder_name("inbox/Old"), Ok("INBOX/Old".to_owned()));
        assert_eq!(folder_name("Ärzte/2026"), Ok("Ärzte/2026".to_owned()));
        for bad in ["", "/", "a//b", "/a", "a\r\nb", "a*", "100%", &"x".repeat(201)] {
            assert!(folder_name(bad).is_err(), "{bad:?}");
        }
    }
}
