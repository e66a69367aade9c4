//! What the gateways and the control socket ask of an identity, and the answers.
//!
//! Reading needs no request: every reader has the published [`Snapshot`](crate::engine::state::Snapshot).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::{BodyId, ContactId, FolderId, InvitationId, QueueId, Timestamp};

use crate::engine::state::book::Unaddressable;
use crate::engine::state::boxes::ReceiptPolicy;
use crate::engine::state::boxes::own::BoxKeys;
use crate::engine::state::mailbox::{FlagChange, NamedFlags, Uid};
use crate::engine::state::queue::RecipientOptions;

/// Pairs a request with its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A request to an identity. Each is one transaction: done and durable when it is answered with `Ok`.
#[derive(Clone)]
pub enum Request {
    /// Put a message into a folder (IMAP APPEND).
    Append {
        /// The folder.
        folder: FolderId,
        /// Its flags.
        flags: NamedFlags,
        /// Its INTERNALDATE; now where `None`.
        date: Option<Timestamp>,
        /// The message.
        message: Arc<[u8]>,
    },
    /// Change flags. Answered before the sync (docs/on-disk.md, "Flags").
    Store {
        /// The folder.
        folder: FolderId,
        /// The messages.
        uids: Vec<Uid>,
        /// How.
        change: FlagChange,
        /// Which flags.
        flags: NamedFlags,
    },
    /// Remove messages.
    Expunge {
        /// The folder.
        folder: FolderId,
        /// The messages.
        uids: Vec<Uid>,
    },
    /// COPY (`keep`) or MOVE.
    Transfer {
        /// From here.
        from: FolderId,
        /// To there.
        to: FolderId,
        /// The messages.
        uids: Vec<Uid>,
        /// Whether they also stay where they are.
        keep: bool,
    },
    /// Make a folder.
    CreateFolder {
        /// Its name, with `/` between levels.
        name: String,
    },
    /// Rename a folder and what is below it. Renaming INBOX moves its messages (RFC 9051 §6.3.6).
    RenameFolder {
        /// Which.
        folder: FolderId,
        /// Its new name.
        name: String,
    },
    /// Delete a folder and its messages.
    DeleteFolder {
        /// Which.
        folder: FolderId,
    },
    /// Subscribe or unsubscribe a folder.
    SubscribeFolder {
        /// Which.
        folder: FolderId,
        /// Whether LSUB shall list it.
        subscribed: bool,
    },
    /// Send a message. Answered when it is in the queue for all recipients, or for none.
    Submit(Submission),
    /// Take a message back from everybody who does not have it yet, with the copies of the same submission.
    Cancel(QueueId),
    /// Try what waits now: one message, or all.
    Retry(Option<QueueId>),
    /// Tell the user that a message is damaged on the disk, once.
    TellDamaged(BodyId),
    /// Make an invitation.
    Invite {
        /// Without a secret: for posters and web pages; whoever uses it lands in Requests.
        public: bool,
        /// When it stops working.
        expires: Timestamp,
    },
    /// Withdraw an invitation that was not used.
    RevokeInvitation(InvitationId),
    /// Add the contact of an invitation text (`rune:…`), and greet it.
    AddContact {
        /// The text.
        invitation: String,
        /// What the user calls it; the name in its address where `None`.
        petname: Option<String>,
    },
    /// What a contact hears from us of its mail; whether it gets receipts is in its next card.
    Tell {
        /// Which.
        contact: ContactId,
        /// What it hears.
        told: ReceiptPolicy,
    },
    /// Acknowledge and box what a contact sends, and send it nothing more.
    Block(ContactId),
    /// Let a blocked contact back.
    Unblock(ContactId),
    /// Take a contact out of the book; what it sends from now on is a stranger's.
    RemoveContact(ContactId),
    /// Whether we carry objects of a contact to nodes of others.
    AllowForwarding {
        /// Which.
        contact: ContactId,
        /// Whether we do.
        on: bool,
    },
    /// Who carries what we send to a contact that does not answer.
    ChooseCarrier {
        /// The contact.
        contact: ContactId,
        /// The friend; `None` for nobody.
        friend: Option<ContactId>,
    },
    /// Whether the identity's onion is to be published; else mail comes by its boxes alone.
    Listen(bool),
    /// Rent a box at a carrier with its invitation (`rune-box:…`).
    RentBox {
        /// The text.
        invitation: String,
        /// What the user calls it.
        name: String,
        /// Keys made for it, and for nothing else.
        keys: BoxKeys,
    },
    /// See whether a box works, end to end. How it goes is published.
    CheckBox {
        /// What the user calls it.
        name: String,
    },
    /// Give a box up.
    LeaveBox {
        /// What the user calls it.
        name: String,
    },
    /// Record the hash of a new application password.
    AddPassword {
        /// What the user calls it.
        name: String,
        /// As text.
        hash: String,
    },
    /// Record another hash for an application password.
    RenewPassword {
        /// The one that is recorded.
        hash: String,
        /// The other one.
        renewed: String,
    },
    /// Remove an application password.
    RevokePassword {
        /// Its name.
        name: String,
    },
}

/// A message as a mail program submits it. The submission gateway has already parsed and normalised it
/// (`mail::outgoing`); the engine resolves and checks the people.
#[derive(Clone)]
pub struct Submission {
    /// Envelope recipients as given: addresses, petnames at `rune.internal`, or bare petnames.
    pub recipients: Vec<String>,
    /// Whom the header names, the author aside, as it names them: recipients or not; up to `limits::NAMED`.
    pub visible: Vec<String>,
    /// The message to sign, with Bcc and identifying fields removed.
    pub message: Arc<[u8]>,
    /// What the mail program wants to hear of it.
    pub asked: DeliveryOptions,
}

/// The parameters of RFC 3461 with which a message was submitted.
#[derive(Clone, Default)]
pub struct DeliveryOptions {
    /// ENVID, of printable ASCII.
    pub envelope: Option<String>,
    /// RET=FULL.
    pub full: bool,
    /// The Message-ID under which the mail program has its copy, where the message has another.
    pub message_id: Option<String>,
    /// NOTIFY and ORCPT, by recipient as given in [`Submission::recipients`].
    pub recipients: BTreeMap<String, RecipientOptions>,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// [`Request::Append`]
    Appended {
        /// Of the folder.
        uid_validity: u32,
        /// Of the message.
        uid: Uid,
    },
    /// [`Request::Store`] and [`Request::Expunge`]: the UIDs that were there.
    Changed(Vec<Uid>),
    /// [`Request::Transfer`]
    Transferred {
        /// Of the folder that received them.
        uid_validity: u32,
        /// From UID and to UID of those that were there.
        pairs: Vec<(Uid, Uid)>,
    },
    /// [`Request::CreateFolder`]
    FolderCreated(FolderId),
    /// [`Request::Submit`]
    Submitted(QueueId),
    /// [`Request::Invite`]
    Invited {
        /// Its name, for revoking.
        id: InvitationId,
        /// The text to hand over.
        text: String,
    },
    /// [`Request::AddContact`]
    ContactAdded {
        /// The new entry.
        id: ContactId,
        /// What it is called now.
        petname: String,
    },
    /// Everything else.
    Done,
}

/// Why a request was not done. Its text is for the user and says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The folder does not exist.
    #[error("there is no such folder")]
    NoSuchFolder,
    /// The folder exists.
    #[error("a folder of that name exists")]
    FolderExists,
    /// A folder that always exists cannot be renamed or deleted; or a name is not allowed.
    #[error("that folder cannot be changed: {0}")]
    FolderRefused(&'static str),
    /// A bound was reached.
    #[error("a limit was reached: {0}")]
    Limit(&'static str),
    /// A recipient is nobody to whom the identity writes. Permanent.
    #[error("{}", why.sentence(recipient))]
    UnknownRecipient {
        /// As given.
        recipient: String,
        /// What stands in the way.
        why: Unaddressable,
    },
    /// A message whose visible recipients would learn each other's addresses, which is not possible yet. Permanent.
    #[error(
        "{first} and {second} would see each other's addresses, which is not possible yet; send to each of them alone, \
         or put all but one into Bcc"
    )]
    NotIntroduced {
        /// One petname.
        first: String,
        /// The other.
        second: String,
    },
    /// A message that is to be taken back is being handed over. Temporary.
    #[error("it is being handed over at this moment; ask again in a few seconds")]
    BeingSent,
    /// Something was to be put into the Outbox. Permanent.
    #[error("the Outbox shows what waits to be sent; to send a message, submit it")]
    Outbox,
    /// The message has no recipient.
    #[error("the message has no recipient")]
    NoRecipient,
    /// The invitation text cannot be read.
    #[error(transparent)]
    Invitation(#[from] crate::mail::InvitationError),
    /// The invitation cannot be used.
    #[error("{0}")]
    InvitationRefused(&'static str),
    /// Somebody must be a contact, or another one, first.
    #[error("{0}")]
    NotReady(&'static str),
    /// Nothing of that name.
    #[error("there is no {0} of that name")]
    NotFound(&'static str),
    /// The name cannot be used.
    #[error("{0}")]
    NameRefused(&'static str),
    /// The name is taken.
    #[error("that name is taken; choose another one")]
    NameTaken,
    /// The disk is full or failing. Temporary.
    #[error("the disk is full or failing; nothing was changed. Make space, then try again")]
    Disk,
    /// The daemon is going down. Temporary.
    #[error("the daemon is stopping")]
    Stopping,
}
