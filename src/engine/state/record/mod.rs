//! Records: the log holds them, and the state is their fold (docs/on-disk.md, "Records"). Each part of the state has
//! its own kinds, in a file of its own.

mod book;
mod boxes;
mod checkpoint;
mod forwarding;
mod identity;
mod introductions;
mod mailbox;
mod people;
mod queue;
mod received;

pub use book::BookRecord;
pub use boxes::BoxRecord;
pub use checkpoint::CheckpointRecord;
pub use forwarding::ForwardingRecord;
pub use identity::IdentityRecord;
pub use introductions::IntroductionRecord;
pub use mailbox::MailboxRecord;
pub use people::PeopleRecord;
pub use queue::QueueRecord;
pub use received::ReceivedRecord;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::ids::Fingerprint;
use crate::base::{ContactId, ContentId, Timestamp};
use crate::engine::encoding::{RecordError, decode};
use crate::engine::state::queue::Submitted;

/// Names one received content, so that it is taken once (docs/protocol.md, "Content").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ContentKey {
    /// The content's signed id.
    pub content: ContentId,
    /// Its verified author.
    pub author: Fingerprint,
    /// SHA-256 of its payload: the same id with another payload is another content.
    pub payload: [u8; 32],
    /// When it was received.
    pub received: Timestamp,
    /// The expiry that its author signed.
    pub expires: Timestamp,
}

impl fmt::Debug for ContentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContentKey").field("content", &self.content).finish_non_exhaustive()
    }
}

/// Makes the signed content again, together with the body: header ‖ body, and the signature over it. The body is kept
/// with the user's names in it; [`as_signed`](crate::mail::names::as_signed) takes them out.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The signed header, with its empty line.
    pub header: String,
    /// The author's signature, as an OpenPGP packet.
    pub signature: Vec<u8>,
}

impl fmt::Debug for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evidence").finish_non_exhaustive()
    }
}

/// The records of all parts as one type, which hands each to the records of its part.
macro_rules! rooms {
    ($(#[$doc:meta])* Record $( $(#[$room_doc:meta])* $room:ident($records:ident) ),* $(,)?) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Record {
            $( $(#[$room_doc])* $room($records) ),*
        }

        impl Record {
            /// The number of this kind of record.
            pub const fn kind(&self) -> u16 {
                match self { $( Self::$room(record) => record.kind() ),* }
            }

            /// The bytes that the log keeps.
            ///
            /// # Errors
            /// [`RecordError::Malformed`] where a field cannot be encoded, which no value of ours leads to.
            pub fn encode(&self) -> Result<Vec<u8>, RecordError> {
                match self { $( Self::$room(record) => record.encode() ),* }
            }

            /// Reads a record; `None` if it is unknown and may be ignored.
            ///
            /// # Errors
            /// [`RecordError`]: the log must not be used further.
            pub fn decode(bytes: &[u8]) -> Result<Option<Self>, RecordError> {
                decode(bytes, |kind, payload| {
                    None$( .or_else(|| {
                        let read = $records::from_payload(kind, payload)?;
                        Some(read.map(|(record, rest)| (Self::$room(record), rest)))
                    }) )*
                })
            }
        }

        $( impl From<$records> for Record {
            fn from(record: $records) -> Self {
                Self::$room(record)
            }
        } )*
    };
}

rooms! {
    /// One change. [`State::apply`](crate::engine::state::State::apply) decides whether it takes effect: if its
    /// precondition no longer holds, nothing happens.
    ///
    /// Each part of the state has its own kinds. Their numbers on the disk are in [`Record::kind`].
    Record
    /// What happened to the identity itself.
    Identity(IdentityRecord),
    /// What happened to folders and messages.
    Mailbox(MailboxRecord),
    /// What became of a content that a peer sent.
    Received(ReceivedRecord),
    /// What happened in the address book.
    Book(BookRecord),
    /// What happened to a message that was submitted.
    Queue(QueueRecord),
    /// What happened to boxes of ours and of contacts.
    Boxes(BoxRecord),
    /// What happened in forwarding.
    Forwarding(ForwardingRecord),
    /// What the user knows of people.
    People(PeopleRecord),
    /// What happened to introductions.
    Introductions(IntroductionRecord),
    /// One part of the state, as it is. Only a checkpoint has these.
    Checkpoint(CheckpointRecord),
}

impl Record {
    /// The contact that this record takes out of the book.
    pub(in crate::engine) const fn removes(&self) -> Option<ContactId> {
        match self {
            Self::Book(BookRecord::ContactRemoved { id }) => Some(*id),
            Self::People(PeopleRecord::ContactReplaced { old, .. }) => Some(*old),
            _ => None,
        }
    }

    /// What this record puts into the queue.
    pub(in crate::engine) fn submitted(&self) -> Vec<&Submitted> {
        match self {
            Self::Queue(QueueRecord::Submitted { queued })
            | Self::Introductions(
                IntroductionRecord::IntroductionBegun { queued, .. }
                | IntroductionRecord::IntroductionGranted { queued, .. }
                | IntroductionRecord::IntroductionMade { queued, .. },
            ) => vec![queued],
            Self::Introductions(
                IntroductionRecord::ConsentSought { asks: all, .. }
                | IntroductionRecord::ConsentReached { introductions: all, .. },
            ) => all.iter().collect(),
            Self::Identity(IdentityRecord::IdentityRevoked { queued: Some(queued), .. }) => vec![queued],
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
