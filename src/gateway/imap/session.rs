//! One session: greeting, login, selected; the loop that reads a command, has it answered and goes on.
//!
//! States: not logged in (`user` is `None`), logged in, selected ([`User::selected`]). A session ends by LOGOUT, by
//! silence, after too many mistakes, on input that is not IMAP, when the daemon stops, or when the selected folder is
//! deleted or replaced.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use imap_codec::CommandCodec;
use imap_codec::decode::Decoder;
use imap_codec::imap_types::command::CommandBody;
use imap_codec::imap_types::mailbox::Mailbox as MailboxName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::base::{FolderId, limits};
use crate::engine::Snapshot;
use crate::engine::state::mailbox::Folder;
use crate::gateway::account::Account;
use crate::gateway::pacer::Tries;
use crate::gateway::places;

use super::framing::{Announced, Assembler, Bounds, Step};
use super::reply::{Condition, Done, End, Fail, Reply};
use super::stream::{ReadFailure, Reader, Writer};
use super::view::{Update, View};
use super::{AccountSession, Shared, encode, framing, utf7};

/// The capabilities, which are no secret from any client.
pub(super) const CAPABILITIES: &str = "IMAP4rev1 SASL-IR LITERAL+ AUTH=PLAIN AUTH=LOGIN ID ENABLE IDLE NAMESPACE UIDPLUS \
     MOVE UNSELECT SPECIAL-USE CHILDREN LIST-EXTENDED LIST-STATUS STATUS=SIZE APPENDLIMIT=26214400";

/// The user who logged in.
pub(super) struct User {
    pub(super) account: Arc<dyn Account>,
    pub(super) updates: watch::Receiver<Arc<Snapshot>>,
    pub(super) selected: Option<Selected>,
    _place: AccountSession,
}

/// The selected folder.
pub(super) struct Selected {
    pub(super) id: FolderId,
    pub(super) view: View,
    pub(super) read_only: bool,
}

impl User {
    pub(super) fn new(account: Arc<dyn Account>, place: AccountSession) -> Self {
        let updates = account.snapshot();
        Self { account, updates, selected: None, _place: place }
    }

    /// The state that is committed now.
    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.updates.borrow())
    }

    /// The folder of this name.
    pub(super) fn folder(&self, name: &MailboxName<'_>) -> Result<Arc<Folder>, Fail> {
        let found = folder_name(name).and_then(|name| self.snapshot().mailbox.by_name(&name).cloned());
        found.ok_or_else(|| Reply::no("there is no such folder").code("NONEXISTENT").into())
    }

    /// The selected folder as it is now, and the session's view of it.
    pub(super) fn selected(&mut self) -> Result<(Arc<Folder>, &mut Selected), Fail> {
        let snapshot = self.snapshot();
        let selected = self.selected.as_mut().ok_or_else(|| Reply::bad("no folder is selected"))?;
        let folder = snapshot.mailbox.folder(selected.id).cloned();
        match folder {
            Some(folder) if folder.uid_validity == selected.view.known().uid_validity => Ok((folder, selected)),
            _ => Err(Fail::End(End::Bye("the selected folder was deleted or replaced; log in again"))),
        }
    }

    /// As [`Self::selected`], for a command that changes the folder.
    pub(super) fn writable(&mut self) -> Result<(Arc<Folder>, &mut Selected), Fail> {
        let (folder, selected) = self.selected()?;
        if selected.read_only {
            return Err(Reply::no("the folder was opened for reading only").code("READ-ONLY").into());
        }
        Ok((folder, selected))
    }
}

/// The name of a folder in UTF-8, with INBOX in capitals; `None` where it cannot be a folder's name.
pub(super) fn folder_name(name: &MailboxName<'_>) -> Option<String> {
    match name {
        MailboxName::Inbox => Some("INBOX".to_owned()),
        MailboxName::Other(other) => {
            let name = utf7::decode(other.as_ref())?;
            match name.split_once('/') {
                Some((first, rest)) if first.eq_ignore_ascii_case("INBOX") => Some(format!("INBOX/{rest}")),
                _ => Some(name),
            }
        }
    }
}

/// One connection of a mail program.
pub(super) struct Session {
    pub(super) reader: Reader,
    pub(super) writer: Writer,
    pub(super) shared: Arc<Shared>,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) user: Option<User>,
    pub(super) unknown: Option<places::Place>,
    pub(super) tries: Tries,
    since: Instant,
    mistakes: u32,
    leaving: bool,
}

/// The last words to a mail program whose identity was removed from the node.
pub(super) const GONE: &str = "this identity is not on this node any more, or the daemon is stopping";

/// A session may last without login for this many times the allowed silence.
const LOGIN_TRIES: u32 = 10;

enum Incoming {
    Command(Zeroizing<Vec<u8>>),
    Append(Vec<u8>, Announced),
    Refused(String, Reply),
}

impl Session {
    pub(super) fn new(
        input: impl AsyncRead + Send + Unpin + 'static,
        output: impl AsyncWrite + Send + Unpin + 'static,
        shared: Arc<Shared>,
        stop: watch::Receiver<bool>,
        place: places::Place,
    ) -> Self {
        let writer = Writer::new(output, shared.limits.stall);
        let tries = shared.limits.pacer.tries();
        Self {
            reader: Reader::new(input),
            writer,
            shared,
            stop,
            user: None,
            unknown: Some(place),
            tries,
            since: Instant::now(),
            mistakes: 0,
            leaving: false,
        }
    }

    /// Runs the session until it ends, or until it must make room for another one before it has logged in.
    pub(super) async fn run(mut self, giving_way: places::GivingWay) {
        let end = tokio::select! {
            end = self.converse() => end.err().unwrap_or(End::Silent),
            () = giving_way.wait() => {
                // A client that loses its place is not waited for.
                self.writer.be_brief();
                End::Bye("another connection needs the place; log in sooner")
            }
        };
        if let End::Bye(text) = end {
            self.writer.line(&format!("* BYE {text}"));
        }
        // If the client is already gone, no one needs this answer.
        let _ = self.writer.close().await;
    }

    async fn converse(&mut self) -> Result<(), End> {
        self.writer.line(&format!("* OK [CAPABILITY {CAPABILITIES}] runepeer"));
        self.writer.flush().await?;
        let patience = self.shared.limits.idle_before_login;
        let first = guarded(&mut self.stop, patience, self.reader.first()).await?;
        if framing::foreign(&[first]) {
            return Err(End::Silent);
        }
        let mut is_first = true;
        loop {
            let (tag, result) = match self.receive(&mut is_first).await? {
                Incoming::Command(command) => {
                    let tag = framing::tag(&command);
                    let result = self.execute(&tag, &command).await;
                    (tag, result)
                }
                Incoming::Append(command, announced) => {
                    let tag = framing::tag(&command);
                    if tag == "*" {
                        // The answer to this command could not be told from another one's, so nothing is stored.
                        self.decline(announced).await?;
                        (tag, Ok(Reply::bad("a command begins with a tag")))
                    } else {
                        let result = self.append(&command, announced).await;
                        (tag, result)
                    }
                }
                Incoming::Refused(tag, reply) => (tag, Ok(reply)),
            };
            let reply = match result {
                Ok(reply) | Err(Fail::Refused(reply)) => reply,
                Err(Fail::End(end)) => return Err(end),
            };
            self.writer.line(&reply.line(&tag));
            self.writer.flush().await?;
            self.writer.rest();
            if self.leaving {
                return Ok(());
            }
            if reply.condition == Condition::Bad || (reply.condition == Condition::No && self.user.is_none()) {
                self.mistakes += 1;
                if self.mistakes >= limits::CLIENT_MISTAKES {
                    return Err(End::Bye("too many mistakes"));
                }
            } else if self.user.is_some() {
                // A session may last for months, so its mistakes are not added up.
                self.mistakes = 0;
            }
        }
    }

    /// Reads one command.
    async fn receive(&mut self, is_first: &mut bool) -> Result<Incoming, End> {
        let (bounds, mut patience) = match self.user {
            Some(_) => (Bounds::AFTER_LOGIN, self.shared.limits.idle),
            None => {
                // A client that never logs in must not keep its place by sending NOOP.
                let idle = self.shared.limits.idle_before_login;
                let left = idle.saturating_mul(LOGIN_TRIES).saturating_sub(self.since.elapsed());
                (Bounds::BEFORE_LOGIN, idle.min(left))
            }
        };
        let mut assembler = Assembler::new(bounds);
        loop {
            let line = guarded(&mut self.stop, patience, self.reader.line(bounds.line)).await?;
            if std::mem::take(is_first) && framing::foreign(&line) {
                // Reliability B1: a browser was made to talk to us. None of its input is repeated.
                return Err(End::Bye("this is an IMAP server"));
            }
            match assembler.line(&line) {
                Step::Complete(command) => return Ok(Incoming::Command(Zeroizing::new(command))),
                Step::Message { command, announced } => return Ok(Incoming::Append(command, announced)),
                Step::TooLong => return Err(End::Bye("the command is too long")),
                Step::TooBig(announced) => {
                    let tag = assembler.tag();
                    if !bounds.drain && !announced.sync {
                        return Err(End::Bye("the literal is too big"));
                    }
                    self.decline(announced).await?;
                    return Ok(Incoming::Refused(tag, Reply::bad("the literal is too big")));
                }
                Step::Literal(announced) => {
                    if announced.sync {
                        self.writer.line("+ go on");
                        self.writer.flush().await?;
                    }
                    patience = patience.min(self.shared.limits.stall);
                    let literal = Zeroizing::new(self.read_literal(announced.len, patience).await?);
                    assembler.literal(&literal);
                }
            }
        }
    }

    /// Reads exactly this many bytes. A client that sends them too slowly holds memory that others wait for, so its
    /// session ends.
    pub(super) async fn read_literal(&mut self, len: usize, patience: Duration) -> Result<Vec<u8>, End> {
        let mut bytes = Vec::with_capacity(len);
        let until = Instant::now() + longest(len, patience);
        while bytes.len() < len {
            let missing = len - bytes.len();
            let patience = patience.min(until.saturating_duration_since(Instant::now()));
            guarded(&mut self.stop, patience, self.reader.take(missing, &mut bytes)).await?;
        }
        Ok(bytes)
    }

    /// Refuses a literal. If the client sends the literal without asking, it is read and dropped, with the rest of its
    /// command.
    pub(super) async fn decline(&mut self, mut announced: Announced) -> Result<(), End> {
        let patience = self.shared.limits.stall;
        let mut allowance = limits::IMAP_DRAIN_BYTES;
        while !announced.sync {
            allowance = allowance.checked_sub(announced.len).ok_or(End::Bye("the literal is too big"))?;
            let mut left = announced.len;
            while left > 0 {
                left -= guarded(&mut self.stop, patience, self.reader.skip(left)).await?;
            }
            let line = guarded(&mut self.stop, patience, self.reader.line(limits::IMAP_LINE_BYTES)).await?;
            match framing::announced(&line) {
                Some(next) => announced = next,
                None => return Ok(()),
            }
        }
        Ok(())
    }

    pub(super) fn user(&mut self) -> Result<&mut User, Fail> {
        let user = self.user.as_mut().ok_or_else(|| Reply::bad("log in first"))?;
        // Nobody reports changes any more: the machine has ended.
        if user.updates.has_changed().is_err() {
            return Err(Fail::End(End::Bye(GONE)));
        }
        Ok(user)
    }

    async fn execute(&mut self, tag: &str, command: &[u8]) -> Done {
        if tag == "*" {
            return Ok(Reply::bad("a command begins with a tag"));
        }
        let second = framing::verb(command);
        match second.as_slice() {
            b"LIST" => return self.list(command),
            b"SEARCH" => return self.search(command, false).await,
            b"UID" if third_word(command).eq_ignore_ascii_case(b"SEARCH") => return self.search(command, true).await,
            _ => {}
        }
        match CommandCodec::default().decode(command) {
            Ok((b"", decoded)) => self.answer(decoded.body).await,
            _ => Ok(Reply::bad("the command could not be understood")),
        }
    }

    async fn answer(&mut self, body: CommandBody<'_>) -> Done {
        use CommandBody as C;
        match body {
            C::Capability => {
                self.writer.line(&format!("* CAPABILITY {CAPABILITIES}"));
                Ok(Reply::ok("that is all"))
            }
            C::Noop => {
                self.report(true)?;
                Ok(Reply::ok("done"))
            }
            C::Check => {
                self.user()?.selected()?;
                self.report(true)?;
                Ok(Reply::ok("done"))
            }
            C::Logout => {
                self.writer.line("* BYE logging out");
                self.leaving = true;
                Ok(Reply::ok("good bye"))
            }
            C::Id { .. } => {
                self.writer.line("* ID (\"name\" \"runepeer\")");
                Ok(Reply::ok("pleased to meet you"))
            }
            C::Login { username, password } => self.login(username.as_ref(), password.declassify().as_ref()).await,
            C::Authenticate { mechanism, initial_response } => {
                let initial = initial_response.map(|secret| Zeroizing::new(secret.declassify().to_vec()));
                self.authenticate(&mechanism, initial).await
            }
            other => {
                self.user()?;
                self.answer_user(other).await
            }
        }
    }

    async fn answer_user(&mut self, body: CommandBody<'_>) -> Done {
        use CommandBody as C;
        match body {
            C::Enable { .. } => {
                // Nothing that we offer has to be enabled; neomutt asks for UTF8=ACCEPT although we do not offer it.
                self.writer.line("* ENABLED");
                Ok(Reply::ok("done"))
            }
            C::Namespace => {
                self.writer.line("* NAMESPACE ((\"\" \"/\")) NIL NIL");
                Ok(Reply::ok("done"))
            }
            C::Select { mailbox } => self.select(&mailbox, false),
            C::Examine { mailbox } => self.select(&mailbox, true),
            C::Unselect => self.unselect(),
            C::Close => self.close().await,
            C::Create { mailbox } => self.create(&mailbox).await,
            C::Delete { mailbox } => self.delete(&mailbox).await,
            C::Rename { from, to } => self.rename(&from, &to).await,
            C::Subscribe { mailbox } => self.subscribe(&mailbox, true).await,
            C::Unsubscribe { mailbox } => self.subscribe(&mailbox, false).await,
            C::Lsub { reference, mailbox_wildcard } => self.lsub(&reference, &mailbox_wildcard),
            C::Status { mailbox, item_names } => self.status(&mailbox, &item_names),
            C::Fetch { sequence_set, macro_or_item_names, uid } => {
                self.fetch(&(&sequence_set).into(), &macro_or_item_names, uid).await
            }
            C::Store { sequence_set, kind, response, flags, uid } => {
                self.store(&(&sequence_set).into(), kind, response, &flags, uid).await
            }
            C::Copy { sequence_set, mailbox, uid } => self.transfer(&(&sequence_set).into(), &mailbox, uid, true).await,
            C::Move { sequence_set, mailbox, uid } => {
                self.transfer(&(&sequence_set).into(), &mailbox, uid, false).await
            }
            C::Expunge => self.expunge(None).await,
            C::ExpungeUid { sequence_set } => self.expunge(Some(&(&sequence_set).into())).await,
            C::Idle => self.idle().await,
            _ => Ok(Reply::bad("that command is not offered here")),
        }
    }

    /// Brings the client up to date on its selected folder.
    pub(super) fn report(&mut self, expunges: bool) -> Result<(), Fail> {
        let Some(user) = self.user.as_mut().filter(|user| user.selected.is_some()) else { return Ok(()) };
        let (folder, selected) = user.selected()?;
        let out = self.writer.out();
        for update in selected.view.sync(&folder, expunges) {
            match update {
                Update::Keywords => super::folders::write_flags(out, &folder, selected.read_only),
                Update::Expunge(seq) => out.extend_from_slice(format!("* {seq} EXPUNGE\r\n").as_bytes()),
                Update::Exists(count) => out.extend_from_slice(format!("* {count} EXISTS\r\n").as_bytes()),
                Update::Flags(row, flags) => {
                    out.extend_from_slice(format!("* {} FETCH (UID {} FLAGS ", row.seq, row.uid).as_bytes());
                    encode::flags(out, &folder, flags);
                    out.extend_from_slice(b")\r\n");
                }
            }
        }
        Ok(())
    }
}

fn third_word(command: &[u8]) -> &[u8] {
    command.split(|&byte| byte == b' ').nth(2).unwrap_or_default()
}

/// Waits for the client, until the daemon stops or the time is over.
pub(super) async fn guarded<T>(
    stop: &mut watch::Receiver<bool>,
    patience: Duration,
    reading: impl Future<Output = Result<T, ReadFailure>>,
) -> Result<T, End> {
    tokio::select! {
        biased;
        () = stopped(stop) => Err(End::Bye("the daemon is stopping")),
        read = timeout(patience, reading) => match read {
            Ok(read) => Ok(read?),
            Err(_) => Err(End::Bye("silent for too long")),
        },
    }
}

/// How long a literal may take altogether if the client never pauses for longer than `patience`.
pub(super) fn longest(len: usize, patience: Duration) -> Duration {
    patience + Duration::from_secs((len / limits::IMAP_SLOWEST_UPLOAD) as u64)
}

/// Returns when the daemon stops.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone: that is a stop as well.
    let _ = stop.wait_for(|stop| *stop).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_has_time_by_its_length() {
        let (patience, a_second) = (Duration::from_secs(7), limits::IMAP_SLOWEST_UPLOAD);
        for (len, seconds) in [(0, 7), (a_second - 1, 7), (a_second, 8), (100 * a_second, 107)] {
            assert_eq!(longest(len, patience), Duration::from_secs(seconds), "{len}");
        }
    }

    #[test]
    fn the_announced_limit_is_the_limit() {
        assert!(CAPABILITIES.ends_with(&format!(" APPENDLIMIT={}", limits::MESSAGE_BYTES)));
    }
}
