//! Folders as a whole: SELECT, EXAMINE, STATUS, CREATE, DELETE, RENAME, SUBSCRIBE, CLOSE.

use std::sync::Arc;

use imap_codec::imap_types::mailbox::Mailbox as MailboxName;
use imap_codec::imap_types::status::StatusDataItemName;

use crate::base::limits;
use crate::engine::Request;
use crate::engine::state::mailbox::{Flags, Folder, FolderRole};

use super::encode;
use super::reply::{Done, Fail, Reply};
use super::session::{Selected, Session, folder_name};
use super::view::View;

/// The items that STATUS can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StatusItem {
    Messages,
    Recent,
    UidNext,
    UidValidity,
    Unseen,
    Deleted,
    DeletedStorage,
    Size,
}

impl StatusItem {
    const ALL: [Self; 8] = [
        Self::Messages,
        Self::Recent,
        Self::UidNext,
        Self::UidValidity,
        Self::Unseen,
        Self::Deleted,
        Self::DeletedStorage,
        Self::Size,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Messages => "MESSAGES",
            Self::Recent => "RECENT",
            Self::UidNext => "UIDNEXT",
            Self::UidValidity => "UIDVALIDITY",
            Self::Unseen => "UNSEEN",
            Self::Deleted => "DELETED",
            Self::DeletedStorage => "DELETED-STORAGE",
            Self::Size => "SIZE",
        }
    }

    /// The item of this name, in upper case.
    pub(super) fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|item| item.name() == name)
    }

    fn value(self, folder: &Folder) -> u64 {
        let deleted = || folder.messages.iter().filter(|message| message.flags.contains(Flags::DELETED));
        match self {
            Self::Messages => count(folder.messages.len()),
            // \Recent is not kept: it has a meaning in one session only, and no program needs it.
            Self::Recent => 0,
            Self::UidNext => folder.uid_next.into(),
            Self::UidValidity => folder.uid_validity.into(),
            Self::Unseen => count(folder.unseen()),
            Self::Deleted => count(deleted().count()),
            Self::DeletedStorage => deleted().map(|message| u64::from(message.size)).sum(),
            Self::Size => folder.messages.iter().map(|message| u64::from(message.size)).sum(),
        }
    }
}

impl From<&StatusDataItemName> for StatusItem {
    fn from(name: &StatusDataItemName) -> Self {
        match name {
            StatusDataItemName::Messages => Self::Messages,
            StatusDataItemName::Recent => Self::Recent,
            StatusDataItemName::UidNext => Self::UidNext,
            StatusDataItemName::UidValidity => Self::UidValidity,
            StatusDataItemName::Unseen => Self::Unseen,
            StatusDataItemName::Deleted => Self::Deleted,
            StatusDataItemName::DeletedStorage => Self::DeletedStorage,
            StatusDataItemName::Size => Self::Size,
        }
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// Removes repeated items: some of them take a walk over all messages.
pub(super) fn each_once(items: &mut Vec<StatusItem>) {
    let mut seen = Vec::new();
    items.retain(|item| {
        !seen.contains(item) && {
            seen.push(*item);
            true
        }
    });
}

/// `* STATUS name (…)`
pub(super) fn write_status(out: &mut Vec<u8>, folder: &Folder, items: &[StatusItem]) {
    out.extend_from_slice(b"* STATUS ");
    encode::mailbox(out, &folder.name);
    let values: Vec<String> = items.iter().map(|item| format!("{} {}", item.name(), item.value(folder))).collect();
    out.extend_from_slice(format!(" ({})\r\n", values.join(" ")).as_bytes());
}

/// `* FLAGS` and PERMANENTFLAGS.
pub(super) fn write_flags(out: &mut Vec<u8>, folder: &Folder, read_only: bool) {
    out.extend_from_slice(b"* FLAGS ");
    encode::possible_flags(out, folder, false);
    out.extend_from_slice(b"\r\n* OK [PERMANENTFLAGS ");
    if read_only {
        out.extend_from_slice(b"()");
    } else {
        encode::possible_flags(out, folder, folder.keywords.len() < limits::KEYWORDS);
    }
    out.extend_from_slice(b"] what can be stored\r\n");
}

impl Session {
    pub(super) fn select(&mut self, name: &MailboxName<'_>, read_only: bool) -> Done {
        let user = self.user.as_mut().ok_or_else(|| Reply::bad("log in first"))?;
        // A SELECT that fails leaves nothing selected (RFC 3501 §6.3.1).
        user.selected = None;
        let folder = user.folder(name)?;
        let view = View::new(Arc::clone(&folder));
        let out = self.writer.out();
        write_flags(out, &folder, read_only);
        let mut line = |text: String| out.extend_from_slice(text.as_bytes());
        line(format!("* {} EXISTS\r\n* 0 RECENT\r\n", view.exists()));
        if let Some(seq) = view.first_unseen() {
            line(format!("* OK [UNSEEN {seq}] the first unread message\r\n"));
        }
        line(format!("* OK [UIDVALIDITY {}] UIDs are valid\r\n", folder.uid_validity));
        line(format!("* OK [UIDNEXT {}] the next UID\r\n", folder.uid_next));
        user.selected = Some(Selected { id: folder.id, view, read_only });
        let (text, code) = if read_only { ("opened for reading", "READ-ONLY") } else { ("opened", "READ-WRITE") };
        Ok(Reply::ok(text).code(code))
    }

    pub(super) fn unselect(&mut self) -> Done {
        let user = self.user()?;
        match user.selected.take() {
            Some(_) => Ok(Reply::ok("closed")),
            None => Ok(Reply::bad("no folder is selected")),
        }
    }

    /// CLOSE expunges without telling the client. If that is refused, the folder stays open.
    pub(super) async fn close(&mut self) -> Done {
        let user = self.user()?;
        let (folder, selected) = user.selected()?;
        let deleted = if selected.read_only { Vec::new() } else { deleted(&folder, selected) };
        let account = Arc::clone(&user.account);
        if !deleted.is_empty() {
            account.request(Request::Expunge { folder: folder.id, uids: deleted }).await?;
        }
        self.user()?.selected = None;
        Ok(Reply::ok("closed"))
    }

    pub(super) fn status(&mut self, name: &MailboxName<'_>, items: &[StatusDataItemName]) -> Done {
        let folder = self.user()?.folder(name)?;
        let mut items: Vec<StatusItem> = items.iter().map(StatusItem::from).collect();
        each_once(&mut items);
        write_status(self.writer.out(), &folder, &items);
        self.report(true)?;
        Ok(Reply::ok("done"))
    }

    pub(super) async fn create(&mut self, name: &MailboxName<'_>) -> Done {
        let user = self.user()?;
        let name = new_name(name)?;
        let snapshot = user.snapshot();
        if snapshot.mailbox.by_name(&name).is_some() {
            return Ok(Reply::no("a folder of that name exists").code("ALREADYEXISTS"));
        }
        if snapshot.mailbox.folders().count() >= limits::FOLDERS {
            return Ok(Reply::no("there are too many folders").code("LIMIT"));
        }
        user.account.request(Request::CreateFolder { name }).await?;
        self.report(true)?;
        Ok(Reply::ok("created"))
    }

    pub(super) async fn delete(&mut self, name: &MailboxName<'_>) -> Done {
        let user = self.user()?;
        let folder = user.folder(name)?;
        if folder.role.is_some() {
            return Ok(Reply::no("that folder always exists").code("CANNOT"));
        }
        user.account.request(Request::DeleteFolder { folder: folder.id }).await?;
        if user.selected.as_ref().is_some_and(|selected| selected.id == folder.id) {
            user.selected = None;
            self.writer.line("* OK [CLOSED] the selected folder was deleted");
        }
        self.report(true)?;
        Ok(Reply::ok("deleted"))
    }

    pub(super) async fn rename(&mut self, from: &MailboxName<'_>, to: &MailboxName<'_>) -> Done {
        let user = self.user()?;
        let folder = user.folder(from)?;
        let name = new_name(to)?;
        if user.snapshot().mailbox.by_name(&name).is_some() {
            return Ok(Reply::no("a folder of that name exists").code("ALREADYEXISTS"));
        }
        // INBOX stays in its place: its messages move to the new folder (RFC 3501 §6.3.5).
        let stays = folder.role == Some(FolderRole::Inbox);
        if !stays && name.strip_prefix(folder.name.as_str()).is_some_and(|rest| rest.starts_with('/')) {
            return Ok(Reply::no("a folder cannot be moved into itself").code("CANNOT"));
        }
        user.account.request(Request::RenameFolder { folder: folder.id, name }).await?;
        self.report(true)?;
        Ok(Reply::ok("renamed"))
    }

    pub(super) async fn subscribe(&mut self, name: &MailboxName<'_>, subscribed: bool) -> Done {
        let user = self.user()?;
        let folder = match user.folder(name) {
            // A program that has just deleted the folder takes it off the list as well.
            Err(_) if !subscribed => return Ok(Reply::ok("it is not on the list")),
            found => found?,
        };
        if folder.subscribed != subscribed {
            user.account.request(Request::SubscribeFolder { folder: folder.id, subscribed }).await?;
        }
        self.report(true)?;
        Ok(Reply::ok("done"))
    }
}

/// The messages that this session may expunge: those that it knows and that are marked as deleted.
pub(super) fn deleted(folder: &Folder, selected: &Selected) -> Vec<u32> {
    let last = selected.view.rows().map(|row| row.uid).last().unwrap_or(0);
    let marked = folder.messages.iter().filter(|message| message.flags.contains(Flags::DELETED));
    marked.map(|message| message.uid).take_while(|&uid| uid <= last).collect()
}

/// The name of a folder that is to be made.
fn new_name(name: &MailboxName<'_>) -> Result<String, Fail> {
    let refused = |text| Fail::from(Reply::no(text).code("CANNOT"));
    let name = folder_name(name).ok_or_else(|| refused("that is not a name for a folder"))?;
    // With a trailing delimiter a client says that it will make folders below this one.
    let name = name.strip_suffix('/').unwrap_or(&name).to_owned();
    if name.len() > limits::FOLDER_NAME_BYTES {
        return Err(refused("the name is too long"));
    }
    if name.split('/').any(str::is_empty) || name.contains(|c: char| c.is_control() || c == '%' || c == '*') {
        return Err(refused("that is not a name for a folder"));
    }
    Ok(name)
}
