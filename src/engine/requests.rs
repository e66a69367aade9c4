//! Requests of the gateways and the control socket: each is checked against the committed state, becomes one
//! transaction, and is answered when that is durable. Requests about folders and messages are here; those about people,
//! invitations and passwords in `people`, submission in `deliver::submission`.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::limits;
use crate::base::{BodyId, FolderId, OpId, QueueId, Timestamp};

use crate::engine::api::{Request, RequestError, RequestId, Response};
use crate::engine::boxes::{Boxes, CheckTask, leave_box, rent_box};
use crate::engine::change::{Answer, Change, Outcome};
use crate::engine::context::{Completion, Context, Out, Owner, Room};
use crate::engine::deliver::Deliver;
use crate::engine::deliver::recall;
use crate::engine::deliver::submission::{submit, submit_and_keep};
use crate::engine::forwarding;
use crate::engine::io::{CommitError, Draft, Durability, Effect, NewBody};
use crate::engine::people::{consent, contacts, introductions, parting, revocation};
use crate::engine::receive::delivery::has_room;
use crate::engine::state::Applied;
use crate::engine::state::mailbox::{FlagChange, Folder, FolderRole, NamedFlags, NewMessage, Uid};
use crate::engine::state::record::{IdentityRecord, MailboxRecord, Record};

/// A request whose transaction is being committed.
struct InFlight {
    id: RequestId,
    answer: Answer,
    /// Messages that it takes back.
    recalled: Vec<QueueId>,
}

/// The room that answers the gateways and the control socket.
#[derive(Default)]
pub(in crate::engine) struct Requests {
    in_flight: BTreeMap<OpId, InFlight>,
}

/// The rooms that requests are for.
pub(in crate::engine) struct RequestRooms<'r> {
    pub(in crate::engine) deliver: &'r mut Deliver,
    pub(in crate::engine) boxes: &'r mut Boxes,
    /// A session that a request began.
    pub(in crate::engine) begun: Option<CheckTask>,
}

impl Requests {
    /// A gateway or the control socket asks for something.
    pub(in crate::engine) fn request(
        &mut self,
        cx: &mut Context<'_>,
        rooms: &mut RequestRooms<'_>,
        id: RequestId,
        request: Request,
    ) {
        match plan(cx, rooms, request) {
            // There is nothing to write: an empty set of messages, or a rename to the same name.
            Ok(change) if change.records.is_empty() => respond(cx.out, id, change.answer, Ok(Vec::new())),
            Ok(Change { records, bodies, durability, answer, recalled }) => {
                for queue in &recalled {
                    rooms.deliver.set_recalled(*queue, true);
                }
                let op = cx.out.commit_with(Owner::Room(Room::Requests), Draft { records, bodies }, durability);
                self.in_flight.insert(op, InFlight { id, answer, recalled });
            }
            Err(error) => cx.out.effect(Effect::Respond(id, Err(error))),
        }
    }

    /// The commit of a request's transaction is over.
    pub(in crate::engine) fn completed(
        &mut self,
        out: &mut Out,
        deliver: &mut Deliver,
        op: OpId,
        completion: Completion,
    ) {
        let (Some(request), Completion::Committed(applied)) = (self.in_flight.remove(&op), completion) else { return };
        for queue in request.recalled {
            deliver.set_recalled(queue, false);
        }
        respond(out, request.id, request.answer, applied);
    }
}

/// Whether a request would have the identity write to somebody, or make a contact.
const fn reaches_people(request: &Request) -> bool {
    matches!(
        request,
        Request::Submit(_)
            | Request::SubmitAndKeep(_)
            | Request::Invite { .. }
            | Request::AddContact { .. }
            | Request::Accept(_)
            | Request::Introduce { .. }
            | Request::AcceptIntroduction(_)
            | Request::RentBox { .. }
    )
}

fn plan(cx: &mut Context<'_>, rooms: &mut RequestRooms<'_>, request: Request) -> Outcome {
    let RequestRooms { deliver, boxes, begun } = rooms;
    if cx.state.revoked().is_some() && reaches_people(&request) {
        return Err(RequestError::Revoked);
    }
    match request {
        Request::Append { folder, flags, date, message } => {
            let date = date.unwrap_or(cx.now);
            append(cx, deliver, folder, flags, date, message)
        }
        Request::Store { folder, uids, change, flags } => store_flags(cx, folder, uids, change, flags),
        Request::Expunge { folder, uids } => expunge(cx, deliver, folder, uids),
        Request::Transfer { from, to, uids, keep } => transfer(cx, deliver, from, to, &uids, keep),
        Request::CreateFolder { name } => create_folder(cx, &name),
        Request::RenameFolder { folder, name } => rename_folder(cx, folder, &name),
        Request::DeleteFolder { folder } => match known_folder(cx, folder)?.role {
            Some(_) => Err(RequestError::FolderRefused("it always exists")),
            None => Ok(Change::done(
                vec![Record::Mailbox(MailboxRecord::FolderDeleted { id: folder })],
                RequestError::NoSuchFolder,
            )),
        },
        Request::SubscribeFolder { folder, subscribed } => {
            known_folder(cx, folder)?;
            let record = Record::Mailbox(MailboxRecord::FolderSubscribed { id: folder, subscribed });
            Ok(Change::done(vec![record], RequestError::NoSuchFolder))
        }
        Request::Submit(submission) => submit(cx, deliver, &submission),
        Request::SubmitAndKeep(submission) => submit_and_keep(cx, deliver, &submission),
        Request::Cancel(queue) => recall::cancel(cx, deliver, queue),
        Request::Retry(queue) => recall::retry(cx, deliver, queue),
        Request::TellDamaged(body) => {
            let Draft { records, bodies } = deliver.tell_damaged(cx, body);
            Ok(Change { bodies, ..Change::new(records, Answer::Always(Response::Done)) })
        }
        Request::Invite { public, expires, label } => contacts::invite(cx, public, expires, label),
        Request::RevokeInvitation(id) => contacts::revoke_invitation(cx, id),
        Request::AddContact { invitation, petname } => contacts::add_contact(cx, &invitation, petname),
        Request::Tell { contact, told } => contacts::tell(cx, contact, told),
        Request::Accept(contact) => consent::accept(cx, contact),
        Request::Rename(contact, petname) => contacts::rename(cx, contact, petname),
        Request::Verify { contact, same } => contacts::verify(cx, contact, same),
        Request::Introduce { guest, host, text } => introductions::introduce(cx, guest, host, text),
        Request::AcceptIntroduction(id) => introductions::accept(cx, id),
        Request::DeclineIntroduction(id) => introductions::decline(cx, id),
        Request::SetIntroductions(contact, policy) => introductions::set_policy(cx, contact, policy),
        Request::Block(contact) => parting::block(cx, contact),
        Request::Unblock(contact) => parting::unblock(cx, contact),
        Request::RemoveContact(contact) => parting::remove_contact(cx, contact),
        Request::ReplaceContact { old, new } => parting::replace(cx, old, new, |queue| deliver.is_on_the_wire(queue)),
        Request::SetKnocks { contact, on } => contacts::set_knocks(cx, contact, on),
        Request::AllowForwarding { contact, on } => forwarding::allow_forwarding(cx, contact, on),
        Request::ChooseCarrier { contact, friend } => forwarding::choose_carrier(cx, contact, friend),
        Request::RenameIdentity(name) => {
            let record = Record::Identity(IdentityRecord::IdentityRenamed { name });
            Ok(Change::done(vec![record], RequestError::NotFound("identity")))
        }
        Request::Revoke(extent) => revocation::revoke(cx, extent),
        Request::TakeRevocation(fingerprint, revocation) => revocation::take(cx, fingerprint, &revocation),
        Request::Listen(on) => {
            let answer = Answer::Always(Response::Done);
            Ok(Change::new(vec![Record::Identity(IdentityRecord::ListenSwitched { on })], answer))
        }
        Request::RentBox { invitation, name, keys } => rent_box(cx, &invitation, name, keys),
        Request::CheckBox { name } => {
            *begun = boxes.check(cx, &name)?;
            Ok(Change::new(Vec::new(), Answer::Always(Response::Done)))
        }
        Request::LeaveBox { name } => leave_box(cx, &name),
        Request::AddPassword { name, hash } => contacts::add_password(cx, name, hash),
        Request::RenewPassword { hash, renewed } => contacts::renew_password(cx, &hash, renewed),
        Request::RevokePassword { name } => contacts::revoke_password(cx, name),
    }
}

/// Answers a request whose commit is over.
fn respond(out: &mut Out, id: RequestId, answer: Answer, applied: Result<Vec<Applied>, CommitError>) {
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
    out.effect(Effect::Respond(id, result));
}

fn known_folder<'a>(cx: &Context<'a>, id: FolderId) -> Result<&'a Arc<Folder>, RequestError> {
    cx.state.mailbox().folder(id).ok_or(RequestError::NoSuchFolder)
}

fn append(
    cx: &mut Context<'_>,
    deliver: &Deliver,
    folder: FolderId,
    flags: NamedFlags,
    date: Timestamp,
    message: Arc<[u8]>,
) -> Outcome {
    let known = known_folder(cx, folder)?;
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
    if cx.disk_low {
        return Err(RequestError::Disk);
    }
    let size = u32::try_from(message.len()).map_err(|_| RequestError::Limit("a message has up to 25 MiB"))?;
    let uid = cx.reserve_uid(folder).ok_or(NO_UIDS)?;
    let shared = deliver.same_end(&message);
    let body = NewBody { shared, ..NewBody::new(BodyId::random(cx.rng), message) };
    let message = NewMessage { uid, flags, date, body: body.id, size, content: None };
    let response = Response::Appended { uid_validity, uid };
    let mut change = Change::new(
        vec![Record::Mailbox(MailboxRecord::MessageAdded { folder, message })],
        Answer::All(response, RequestError::NoSuchFolder),
    );
    change.bodies.push(body);
    Ok(change)
}

fn store_flags(cx: &Context<'_>, folder: FolderId, uids: Vec<Uid>, change: FlagChange, flags: NamedFlags) -> Outcome {
    let known = known_folder(cx, folder)?;
    if change != FlagChange::Remove {
        check_keywords(known, &flags)?;
    }
    let records =
        uids_record(uids, |uids| Record::Mailbox(MailboxRecord::FlagsChanged { folder, uids, change, flags }));
    Ok(Change { durability: Durability::Lazy, ..Change::new(records, Answer::Changed) })
}

fn transfer(
    cx: &mut Context<'_>,
    deliver: &Deliver,
    from: FolderId,
    to: FolderId,
    uids: &[Uid],
    keep: bool,
) -> Outcome {
    let (source, target) = (known_folder(cx, from)?, known_folder(cx, to)?);
    if target.role == Some(FolderRole::Outbox) {
        return Err(RequestError::Outbox);
    }
    let mut present: Vec<Uid> = uids.iter().copied().filter(|&uid| source.messages.get(uid).is_some()).collect();
    let recalls = source.role == Some(FolderRole::Outbox) && !keep;
    let answer = match recalls && !recall::retain_recallable(cx, deliver, &mut present) {
        true => Answer::Partly(RequestError::BeingSent),
        false => Answer::Transferred(target.uid_validity),
    };
    if target.messages.len().saturating_add(present.len()) > limits::FOLDER_MESSAGES {
        return Err(RequestError::Limit("the folder is full"));
    }
    if present.is_empty() {
        return Ok(Change::new(Vec::new(), answer));
    }
    let new = cx.reserve_uids(to, present.len()).ok_or(NO_UIDS)?;
    let mut decided = Draft::default();
    if let (Some(FolderRole::Requests), Some(role)) = (source.role, target.role) {
        decided = introductions::decided_by(cx, &present, role)?;
        decided.records.extend(consent::decided_by(cx, &present, role));
    }
    let mut change = Change::new(Vec::new(), answer);
    if recalls {
        recall::recall_shown(cx, &present, &mut change);
    }
    let pairs = present.into_iter().zip(new).collect();
    change.records.insert(0, Record::Mailbox(MailboxRecord::Transferred { from, to, pairs, keep }));
    change.records.extend(decided.records);
    change.bodies.extend(decided.bodies);
    Ok(change)
}

/// Removes messages. In the Outbox that takes them back, except those that are being handed over at this moment: they
/// stay, and the answer says so.
fn expunge(cx: &mut Context<'_>, deliver: &Deliver, folder: FolderId, mut uids: Vec<Uid>) -> Outcome {
    let mut change = Change::new(Vec::new(), Answer::Changed);
    if known_folder(cx, folder)?.role == Some(FolderRole::Outbox) {
        if !recall::retain_recallable(cx, deliver, &mut uids) {
            change.answer = Answer::Partly(RequestError::BeingSent);
        }
        recall::recall_shown(cx, &uids, &mut change);
    }
    if !uids.is_empty() {
        change.records.insert(0, Record::Mailbox(MailboxRecord::Expunged { folder, uids }));
    }
    Ok(change)
}

fn room_for_a_folder(cx: &Context<'_>) -> Result<(), RequestError> {
    match cx.state.mailbox().folders().count() < limits::FOLDERS {
        true => Ok(()),
        false => Err(RequestError::Limit("an identity has up to 1000 folders")),
    }
}

fn create_folder(cx: &mut Context<'_>, name: &str) -> Outcome {
    let name = folder_name(name)?;
    room_for_a_folder(cx)?;
    if cx.state.mailbox().by_name(&name).is_some() {
        return Err(RequestError::FolderExists);
    }
    let (id, record) = new_folder(cx, name);
    Ok(Change::new(vec![record], Answer::All(Response::FolderCreated(id), RequestError::FolderExists)))
}

fn new_folder(cx: &mut Context<'_>, name: String) -> (FolderId, Record) {
    let id = FolderId::random(cx.rng);
    let uid_validity = cx.reserve_uid_validity();
    (id, Record::Mailbox(MailboxRecord::FolderCreated { id, name, role: None, uid_validity }))
}

/// Renames a folder and those below it. INBOX stays: its messages move into a new folder (RFC 9051 §6.3.6).
fn rename_folder(cx: &mut Context<'_>, folder: FolderId, name: &str) -> Outcome {
    let name = folder_name(name)?;
    let known = known_folder(cx, folder)?;
    if cx.state.mailbox().by_name(&name).is_some() {
        return Err(RequestError::FolderExists);
    }
    match known.role {
        Some(FolderRole::Inbox) => return rename_inbox(cx, known, name),
        Some(_) => return Err(RequestError::FolderRefused("it always exists")),
        None => {}
    }
    let below = format!("{}/", known.name);
    if name.starts_with(&below) {
        return Err(RequestError::FolderRefused("it cannot be moved below itself"));
    }
    let mut records = vec![Record::Mailbox(MailboxRecord::FolderRenamed { id: folder, name: name.clone() })];
    for child in cx.state.mailbox().folders() {
        let Some(rest) = child.name.strip_prefix(&below) else { continue };
        let renamed = folder_name(&format!("{name}/{rest}"))?;
        if cx.state.mailbox().by_name(&renamed).is_some() {
            return Err(RequestError::FolderExists);
        }
        records.push(Record::Mailbox(MailboxRecord::FolderRenamed { id: child.id, name: renamed }));
    }
    Ok(Change::done(records, RequestError::FolderExists))
}

fn rename_inbox(cx: &mut Context<'_>, inbox: &Folder, name: String) -> Outcome {
    room_for_a_folder(cx)?;
    let (to, created) = new_folder(cx, name);
    let pairs: Vec<(Uid, Uid)> = inbox.messages.iter().map(|message| message.uid).zip(1..).collect();
    let mut records = vec![created];
    if !pairs.is_empty() {
        records.push(Record::Mailbox(MailboxRecord::Transferred { from: inbox.id, to, pairs, keep: false }));
    }
    Ok(Change::done(records, RequestError::FolderExists))
}

const NO_UIDS: RequestError = RequestError::Limit("the folder has no UIDs left; make a new one");

/// One record for these messages; none if there are no messages.
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

/// A folder's name as it is kept: without `/` at its end, and with INBOX in capitals as its first level.
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
