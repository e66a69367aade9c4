//! Commands that change messages: STORE, EXPUNGE, COPY, MOVE, APPEND.

use std::sync::Arc;
use std::time::Instant;

use imap_codec::CommandCodec;
use imap_codec::decode::Decoder;
use imap_codec::imap_types::command::CommandBody;
use imap_codec::imap_types::datetime::DateTime;
use imap_codec::imap_types::extensions::binary::LiteralOrLiteral8;
use imap_codec::imap_types::flag::{Flag, StoreResponse, StoreType};
use imap_codec::imap_types::mailbox::Mailbox as MailboxName;

use crate::base::{Timestamp, limits};
use crate::engine::state::mailbox::{FlagChange, Flags, Folder, NamedFlags, Uid};
use crate::engine::{Request, RequestError, Response};
use crate::gateway::uploads::Upload;

use super::dates;
use super::encode;
use super::folders::deleted;
use super::framing::Announced;
use super::reply::{Done, End, Fail, Reply};
use super::session::{Session, User, guarded, longest};
use super::view::NumberSet;

const CROWDED: &str = "too many messages are arriving at once; try again";

impl Session {
    pub(super) async fn store(
        &mut self,
        set: &NumberSet,
        kind: StoreType,
        response: StoreResponse,
        flags: &[Flag<'_>],
        by_uid: bool,
    ) -> Done {
        let named = named_flags(flags)?;
        let change = match kind {
            StoreType::Replace => FlagChange::Replace,
            StoreType::Add => FlagChange::Add,
            StoreType::Remove => FlagChange::Remove,
        };
        let user = self.user()?;
        let account = Arc::clone(&user.account);
        let (folder, selected) = user.writable()?;
        room_for(&folder, &named, change)?;
        let rows = selected.view.select(set, by_uid);
        let uids: Vec<Uid> = rows.iter().map(|row| row.uid).filter(|&uid| folder.messages.get(uid).is_some()).collect();
        let gone = uids.len() != rows.len();
        if !uids.is_empty() {
            let request = Request::Store { folder: folder.id, uids: uids.clone(), change, flags: named.clone() };
            account.request(request).await?;
            let (folder, selected) = self.user()?.selected()?;
            match response {
                StoreResponse::Answer => selected.view.doubt(&uids, &folder),
                StoreResponse::Silent => {
                    let bits = folder.flags(&named);
                    for uid in uids {
                        let Some(before) = selected.view.believed(uid) else { continue };
                        selected.view.tell(uid, applied(before, change, bits));
                    }
                }
            }
        }
        self.report(by_uid)?;
        Ok(Reply::ok("stored").gone(gone && !by_uid))
    }

    /// EXPUNGE, or UID EXPUNGE (RFC 4315) of only these UIDs.
    pub(super) async fn expunge(&mut self, only: Option<&NumberSet>) -> Done {
        let user = self.user()?;
        let account = Arc::clone(&user.account);
        let (folder, selected) = user.writable()?;
        let mut uids = deleted(&folder, selected);
        if let Some(set) = only {
            let chosen = selected.view.select(set, true);
            uids.retain(|uid| chosen.binary_search_by_key(uid, |row| row.uid).is_ok());
        }
        let expunged = match uids.is_empty() {
            true => Ok(Response::Done),
            false => account.request(Request::Expunge { folder: folder.id, uids }).await,
        };
        // If one of several messages in the Outbox is being sent, the others may be expunged already.
        self.report(true)?;
        expunged?;
        Ok(Reply::ok("expunged"))
    }

    /// COPY (`keep`) or MOVE (RFC 6851).
    pub(super) async fn transfer(
        &mut self,
        set: &NumberSet,
        target: &MailboxName<'_>,
        by_uid: bool,
        keep: bool,
    ) -> Done {
        let user = self.user()?;
        let account = Arc::clone(&user.account);
        let target = user.folder(target).map_err(try_create);
        let (folder, selected) = if keep { user.selected()? } else { user.writable()? };
        let target = target?;
        let rows = selected.view.select(set, by_uid);
        let uids: Vec<Uid> = rows.iter().map(|row| row.uid).filter(|&uid| folder.messages.get(uid).is_some()).collect();
        // COPYUID says which messages were copied; the others were expunged and can no longer be copied.
        let gone = uids.len() != rows.len() && !by_uid;
        if target.messages.len().saturating_add(uids.len()) > limits::FOLDER_MESSAGES {
            return Ok(Reply::no("that folder is full").code("LIMIT"));
        }
        if uids.is_empty() {
            self.report(true)?;
            return Ok(Reply::ok("there was nothing to do").gone(gone));
        }
        let request = Request::Transfer { from: folder.id, to: target.id, uids, keep };
        let response = match account.request(request).await {
            Err(RequestError::NoSuchFolder) => {
                return Ok(Reply::no("there is no such folder").code("TRYCREATE"));
            }
            Err(error) => {
                self.report(true)?;
                return Err(error.into());
            }
            Ok(response) => response,
        };
        let code = match response {
            Response::Transferred { uid_validity, pairs } if !pairs.is_empty() => {
                let from = encode::uid_set(pairs.iter().map(|&(from, _)| from));
                let to = encode::uid_set(pairs.iter().map(|&(_, to)| to));
                Some(format!("COPYUID {uid_validity} {from} {to}"))
            }
            _ => None,
        };
        match code {
            Some(code) if keep => {
                self.report(true)?;
                Ok(Reply::ok("copied").code(code))
            }
            Some(code) => {
                // RFC 6851 §4.3: COPYUID comes before the EXPUNGE responses, so that the client can tell where the
                // messages went.
                self.writer.line(&format!("* OK [{code}] moved"));
                self.report(true)?;
                Ok(Reply::ok("moved"))
            }
            None => {
                self.report(true)?;
                Ok(Reply::ok("there was nothing to do").gone(gone))
            }
        }
    }

    /// APPEND. When this is called the message has not arrived yet; if possible it is refused before the client is told
    /// to send it.
    pub(super) async fn append(&mut self, command: &[u8], announced: Announced) -> Done {
        let prepared = self.prepare_append(command, announced);
        let (folder, flags, date) = match prepared {
            Ok(prepared) => prepared,
            Err(fail) => {
                self.decline(announced).await?;
                return Err(fail);
            }
        };
        let patience = self.shared.limits.stall;
        let (uploads, account) = (self.shared.limits.uploads.clone(), self.user()?.account.address().to_string());
        let Some(upload) = uploads.begin(&account, announced.len).await else {
            self.decline(announced).await?;
            return Ok(Reply::no(CROWDED).code("LIMIT"));
        };
        if announced.sync {
            self.writer.line("+ go on");
            self.writer.flush().await?;
        }
        let Some((message, _upload)) = self.read_message(announced.len, upload).await? else {
            return Ok(Reply::no(CROWDED).code("LIMIT"));
        };
        let rest = guarded(&mut self.stop, patience, self.reader.line(limits::IMAP_LINE_BYTES)).await?;
        if let Some(another) = super::framing::announced(&rest) {
            self.decline(another).await?;
            return Ok(Reply::bad("one message at a time"));
        }
        if !rest.trim_ascii().is_empty() {
            return Ok(Reply::bad("the command could not be understood"));
        }
        if message.contains(&0) {
            return Ok(Reply::no("a message must not hold NUL").code("CANNOT"));
        }
        let account = Arc::clone(&self.user()?.account);
        let request = Request::Append { folder: folder.id, flags, date, message: message.into() };
        let response = account.request(request).await.map_err(|error| match error {
            RequestError::NoSuchFolder => Fail::from(Reply::no("there is no such folder").code("TRYCREATE")),
            other => other.into(),
        })?;
        self.report(true)?;
        match response {
            Response::Appended { uid_validity, uid } => {
                Ok(Reply::ok("stored").code(format!("APPENDUID {uid_validity} {uid}")))
            }
            _ => Ok(Reply::ok("stored")),
        }
    }

    /// Reads a message of this length. `None` where it had to give way to other uploads; it is then read to its end and
    /// dropped.
    async fn read_message(&mut self, len: usize, mut upload: Upload) -> Result<Option<(Vec<u8>, Upload)>, End> {
        let patience = self.shared.limits.stall;
        let until = Instant::now() + longest(len, patience);
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let missing = len - bytes.len();
            let patience = patience.min(until.saturating_duration_since(Instant::now()));
            let reading = guarded(&mut self.stop, patience, self.reader.take(missing, &mut bytes));
            let taken = tokio::select! {
                taken = reading => Some(taken?),
                () = upload.gives_way() => None,
            };
            let Some(taken) = taken else {
                let left = Announced { len: len - bytes.len(), sync: false };
                drop((bytes, upload));
                self.decline(left).await?;
                return Ok(None);
            };
            upload.moved(taken);
        }
        upload.complete();
        Ok(Some((bytes, upload)))
    }

    fn prepare_append(
        &mut self,
        command: &[u8],
        announced: Announced,
    ) -> Result<(Arc<Folder>, NamedFlags, Option<Timestamp>), Fail> {
        let user: &mut User = self.user()?;
        let decoded = CommandCodec::default().decode(command);
        // The framing found an APPEND: what else may be wrong with it is its date-time.
        let Ok((_, decoded)) = decoded else { return Err(Reply::bad(dates::FORM).into()) };
        let CommandBody::Append { mailbox, flags, date, message } = decoded.body else {
            return Err(Reply::bad("the command could not be understood").into());
        };
        if matches!(message, LiteralOrLiteral8::Literal8(_)) {
            return Err(Reply::bad("binary literals are not offered here").into());
        }
        let flags = named_flags(&flags)?;
        let folder = user.folder(&mailbox).map_err(try_create)?;
        room_for(&folder, &flags, FlagChange::Add)?;
        fits(folder.messages.len(), announced.len)?;
        Ok((folder, flags, date.as_ref().map(timestamp)))
    }
}

/// The failure for a missing target folder: the client may make the folder and try again.
fn try_create(fail: Fail) -> Fail {
    match fail {
        Fail::Refused(reply) => Fail::Refused(reply.code("TRYCREATE")),
        end @ Fail::End(_) => end,
    }
}

fn timestamp(date: &DateTime) -> Timestamp {
    Timestamp::from_secs(date.as_ref().timestamp())
}

fn named_flags(flags: &[Flag<'_>]) -> Result<NamedFlags, Fail> {
    let mut named = NamedFlags::default();
    for flag in flags {
        let system = match flag {
            Flag::Answered => Flags::ANSWERED,
            Flag::Deleted => Flags::DELETED,
            Flag::Draft => Flags::DRAFT,
            Flag::Flagged => Flags::FLAGGED,
            Flag::Seen => Flags::SEEN,
            // \Recent is the server's own; other system flags are unknown to us.
            Flag::Extension(_) => continue,
            Flag::Keyword(keyword) => {
                let keyword: &str = keyword.as_ref();
                if keyword.len() > limits::KEYWORD_BYTES {
                    return Err(Reply::no("a keyword is too long").code("LIMIT").into());
                }
                if !named.keywords.iter().any(|known| known.eq_ignore_ascii_case(keyword)) {
                    named.keywords.push(keyword.to_owned());
                }
                continue;
            }
        };
        named.system = named.system.union(system);
    }
    Ok(named)
}

/// Whether a folder of so many messages can hold another one of this length.
fn fits(messages: usize, len: usize) -> Result<(), Fail> {
    if messages >= limits::FOLDER_MESSAGES {
        return Err(Reply::no("that folder is full").code("LIMIT").into());
    }
    if len > limits::MESSAGE_BYTES {
        return Err(Reply::no("a message can have 25 MiB at most").code("TOOBIG").into());
    }
    if len == 0 {
        return Err(Reply::no("the message is empty").code("CANNOT").into());
    }
    Ok(())
}

/// Whether the folder can hold these keywords too.
fn room_for(folder: &Folder, named: &NamedFlags, change: FlagChange) -> Result<(), Fail> {
    let new = named.keywords.iter().filter(|new| !folder.keywords.iter().any(|known| known.eq_ignore_ascii_case(new)));
    if change != FlagChange::Remove && folder.keywords.len().saturating_add(new.count()) > limits::KEYWORDS {
        return Err(Reply::no("the folder has too many keywords").code("LIMIT").into());
    }
    Ok(())
}

const fn applied(before: Flags, change: FlagChange, flags: Flags) -> Flags {
    match change {
        FlagChange::Replace => flags,
        FlagChange::Add => before.union(flags),
        FlagChange::Remove => before.without(flags),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{BodyId, FolderId};
    use crate::engine::Mailbox;
    use crate::engine::state::mailbox::NewMessage;

    #[test]
    fn a_folder_takes_its_last_message_and_a_message_its_last_byte() {
        assert!(fits(limits::FOLDER_MESSAGES - 1, limits::MESSAGE_BYTES).is_ok());
        assert!(fits(0, 1).is_ok());
        for (messages, len) in [(limits::FOLDER_MESSAGES, 1), (0, limits::MESSAGE_BYTES + 1), (0, 0)] {
            assert!(fits(messages, len).is_err(), "{messages} {len}");
        }
    }

    #[test]
    fn a_folder_takes_its_last_keyword_and_only_new_ones_count() {
        let named = |keywords: &[String]| NamedFlags { keywords: keywords.to_vec(), ..NamedFlags::default() };
        let known: Vec<String> = (1..limits::KEYWORDS).map(|number| format!("k{number}")).collect();
        let (id, date, body) = (FolderId::from_bytes([1; 16]), Timestamp::from_secs(0), BodyId::from_bytes([1; 16]));
        let mut mailbox = Mailbox::default();
        mailbox.create(1, id, "Work", None, 7);
        let message = NewMessage { uid: 1, flags: named(&known), date, body, size: 1, content: None };
        assert!(mailbox.add(2, id, &message));
        let folder = mailbox.folder(id).unwrap();
        let (one, two) = (["new".to_owned()], ["new".to_owned(), "newer".to_owned()]);
        let held = ["K1".to_owned(), "new".to_owned()];
        assert!(room_for(folder, &named(&one), FlagChange::Add).is_ok());
        assert!(room_for(folder, &named(&held), FlagChange::Replace).is_ok(), "one of them is there");
        for change in [FlagChange::Add, FlagChange::Replace] {
            assert!(room_for(folder, &named(&two), change).is_err());
        }
        assert!(room_for(folder, &named(&two), FlagChange::Remove).is_ok(), "what is taken away needs no room");
    }
}
