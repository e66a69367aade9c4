//! A folder and its messages. [`Mailbox`](crate::engine::state::mailbox::Mailbox) changes them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::limits;
use crate::base::{BodyId, ContentId, FolderId, Timestamp};
use crate::engine::state::mailbox::{Flags, ModSeq, NamedFlags, Uid};

/// What a folder is for (RFC 6154), and two of our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FolderRole {
    /// INBOX.
    Inbox,
    /// `\Sent`
    Sent,
    /// `\Drafts`
    Drafts,
    /// `\Archive`
    Archive,
    /// `\Junk`
    Junk,
    /// `\Trash`
    Trash,
    /// Mail from senders that are not yet contacts.
    Requests,
    /// Messages that were submitted and wait. The queue fills and empties it; removing a message takes it back.
    Outbox,
}

impl FolderRole {
    /// All of them, in the order in which they are made.
    pub const ALL: [Self; 8] =
        [Self::Inbox, Self::Sent, Self::Drafts, Self::Archive, Self::Junk, Self::Trash, Self::Requests, Self::Outbox];

    /// The folder's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inbox => "INBOX",
            Self::Sent => "Sent",
            Self::Drafts => "Drafts",
            Self::Archive => "Archive",
            Self::Junk => "Junk",
            Self::Trash => "Trash",
            Self::Requests => "Requests",
            Self::Outbox => "Outbox",
        }
    }
}

/// One message in one folder. The body is shared by its copies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its UID here.
    pub uid: Uid,
    /// Its last change.
    pub modseq: ModSeq,
    /// Flags; keyword bits by this folder's list.
    pub flags: Flags,
    /// When it arrived here (INTERNALDATE).
    pub date: Timestamp,
    /// Where its bytes are.
    pub body: BodyId,
    /// How many bytes (RFC822.SIZE).
    pub size: u32,
    /// The author's content id, for received mail.
    pub content: Option<ContentId>,
}

const CHUNK: usize = 256;

/// The messages of a folder in the order of their UIDs, in shared chunks: a change copies one chunk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageTable {
    chunks: Vec<Arc<Vec<Message>>>,
    len: usize,
}

impl MessageTable {
    /// How many messages.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All messages, by UID.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Message> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    /// The message with this UID.
    pub fn get(&self, uid: Uid) -> Option<&Message> {
        let (chunk, place) = self.find(uid)?;
        self.chunks.get(chunk)?.get(place)
    }

    fn find(&self, uid: Uid) -> Option<(usize, usize)> {
        let chunk = self.chunks.partition_point(|chunk| chunk.last().is_some_and(|last| last.uid < uid));
        let place = self.chunks.get(chunk)?.binary_search_by_key(&uid, |message| message.uid).ok()?;
        Some((chunk, place))
    }

    /// Adds a message; its UID must be above all others.
    pub(super) fn push(&mut self, message: Message) {
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK => Arc::make_mut(chunk).push(message),
            _ => self.chunks.push(Arc::new(vec![message])),
        }
        self.len += 1;
    }

    pub(super) fn update(&mut self, uid: Uid, change: impl FnOnce(&mut Message)) -> bool {
        let Some((chunk, place)) = self.find(uid) else { return false };
        let Some(message) = self.chunks.get_mut(chunk).and_then(|chunk| Arc::make_mut(chunk).get_mut(place)) else {
            return false;
        };
        change(message);
        true
    }

    pub(super) fn remove(&mut self, uid: Uid) -> Option<Message> {
        let (place_of_chunk, place) = self.find(uid)?;
        let chunk = Arc::make_mut(self.chunks.get_mut(place_of_chunk)?);
        let message = chunk.remove(place);
        if chunk.is_empty() {
            self.chunks.remove(place_of_chunk);
        }
        self.len -= 1;
        Some(message)
    }
}

/// One folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    /// Its name on disk and in records.
    pub id: FolderId,
    /// Its name for people, with `/` between levels.
    pub name: String,
    /// What it is for, where it is one of the folders that always exist.
    pub role: Option<FolderRole>,
    /// Changes only when earlier UIDs lose their meaning. Never 0.
    pub uid_validity: u32,
    /// The next UID. Survives the expunge of the highest.
    pub uid_next: Uid,
    /// Whether LSUB lists it.
    pub subscribed: bool,
    /// The last change of anything in it.
    pub highest_modseq: ModSeq,
    /// Its keywords; the place is the bit ([`Flags::keyword`]).
    pub keywords: Vec<String>,
    /// Its messages.
    pub messages: MessageTable,
}

impl Folder {
    /// Flags for people: the names of the keywords in these flags.
    pub fn keyword_names(&self, flags: Flags) -> impl Iterator<Item = &str> {
        self.keywords
            .iter()
            .enumerate()
            .filter(move |(index, _)| flags.contains(Flags::keyword(*index)))
            .map(|(_, name)| name.as_str())
    }

    /// The bits of these flags here; a keyword that the folder does not have yet is left out.
    pub fn flags(&self, named: &NamedFlags) -> Flags {
        named.keywords.iter().filter_map(|keyword| self.keyword_bit(keyword)).fold(named.system, Flags::union)
    }

    pub(super) fn keyword_bit(&self, keyword: &str) -> Option<Flags> {
        self.keywords.iter().position(|known| known.eq_ignore_ascii_case(keyword)).map(Flags::keyword)
    }

    /// How many messages are not `\Seen`.
    pub fn unseen(&self) -> usize {
        self.messages.iter().filter(|message| !message.flags.contains(Flags::SEEN)).count()
    }

    pub(super) fn learn_keywords(&mut self, named: &NamedFlags) {
        for keyword in &named.keywords {
            if self.keyword_bit(keyword).is_none() && self.keywords.len() < limits::KEYWORDS {
                self.keywords.push(keyword.clone());
            }
        }
    }

    pub(super) fn name_flags(&self, flags: Flags) -> NamedFlags {
        NamedFlags { system: flags.system(), keywords: self.keyword_names(flags).map(str::to_owned).collect() }
    }
}

/// A folder without its messages, as a checkpoint keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptFolder {
    /// [`Folder::id`]
    pub id: FolderId,
    /// [`Folder::name`]
    pub name: String,
    /// [`Folder::role`]
    pub role: Option<FolderRole>,
    /// [`Folder::uid_validity`]
    pub uid_validity: u32,
    /// [`Folder::uid_next`]
    pub uid_next: Uid,
    /// [`Folder::subscribed`]
    pub subscribed: bool,
    /// [`Folder::highest_modseq`]
    pub highest_modseq: ModSeq,
    /// [`Folder::keywords`]
    pub keywords: Vec<String>,
}

impl From<&Folder> for KeptFolder {
    fn from(folder: &Folder) -> Self {
        Self {
            id: folder.id,
            name: folder.name.clone(),
            role: folder.role,
            uid_validity: folder.uid_validity,
            uid_next: folder.uid_next,
            subscribed: folder.subscribed,
            highest_modseq: folder.highest_modseq,
            keywords: folder.keywords.clone(),
        }
    }
}
