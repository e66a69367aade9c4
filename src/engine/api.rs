//! What the gateways and the control socket ask of an identity, and the answers.
//!
//! Reading needs no request: every reader has the published [`Snapshot`](crate::engine::state::Snapshot).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::{BodyId, ContactId, ContentId, FolderId, InvitationId, QueueId, Timestamp};

use crate::base::ids::Fingerprint;
use crate::engine::state::book::{Book, Contact, Unaddressable};
use crate::engine::state::boxes::ReceiptPolicy;
use crate::engine::state::boxes::own::BoxKeys;
use crate::engine::state::introductions::Policy;
use crate::engine::state::mailbox::{FlagChange, NamedFlags, Uid};
use crate::engine::state::queue::RecipientOptions;
use crate::mail::Revocation;
use crate::mail::revocation::Extent;

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
        /// Its INTERNALDATE; the present time if `None`.
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
        /// How they are changed.
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
        /// The folder that they come from.
        from: FolderId,
        /// The folder that they go to.
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
        /// The folder.
        folder: FolderId,
        /// Its new name.
        name: String,
    },
    /// Delete a folder and its messages.
    DeleteFolder {
        /// The folder.
        folder: FolderId,
    },
    /// Subscribe or unsubscribe a folder.
    SubscribeFolder {
        /// The folder.
        folder: FolderId,
        /// Whether LSUB is to list it.
        subscribed: bool,
    },
    /// Send a message. Answered when it is in the queue for all recipients, or for none.
    Submit(Submission),
    /// The same, with a copy in Sent: for a message that no mail program submits, which would save its own.
    SubmitAndKeep(Submission),
    /// Take a message back from every recipient that does not have it yet, with the copies of the same submission.
    Cancel(QueueId),
    /// Try one message now, or all that wait.
    Retry(Option<QueueId>),
    /// Tell the user that a message is damaged on the disk, once.
    TellDamaged(BodyId),
    /// Make an invitation.
    Invite {
        /// Without a secret, for posters and web pages: a sender that uses it lands in Requests.
        public: bool,
        /// When it stops working.
        expires: Timestamp,
        /// What the user calls the person who gets a private one: the petname of the contact who uses it.
        label: Option<String>,
    },
    /// Withdraw an invitation that was not used.
    RevokeInvitation(InvitationId),
    /// Add the contact of an invitation text (`rune:…`), and greet it.
    AddContact {
        /// The text.
        invitation: String,
        /// The user's name for it; the name in its address if `None`.
        petname: Option<String>,
    },
    /// Change what a contact is told of its mail; its next card says whether it can expect receipts.
    Tell {
        /// The contact.
        contact: ContactId,
        /// How much the contact is told.
        told: ReceiptPolicy,
    },
    /// Acknowledge and drop what a contact sends, and send it nothing more.
    Block(ContactId),
    /// Call a contact otherwise.
    Rename(ContactId, String),
    /// Mark a contact as verified, now, or take the mark away.
    Verify {
        /// The contact.
        contact: ContactId,
        /// Whether the user found the same verification number at both sides.
        same: bool,
    },
    /// Accept a sender who waits in Requests; what it wrote goes to INBOX.
    Accept(ContactId),
    /// Introduce a contact, the guest, to another one, the host, who is asked first.
    Introduce {
        /// The guest.
        guest: ContactId,
        /// The host.
        host: ContactId,
        /// What the user says of it, to both.
        text: String,
    },
    /// Agree to an introduction that waits in Requests, or to be introduced.
    AcceptIntroduction(ContentId),
    /// Decline it.
    DeclineIntroduction(ContentId),
    /// Whether a contact may introduce us to others.
    SetIntroductions(ContactId, Policy),
    /// Let a blocked contact back.
    Unblock(ContactId),
    /// Take a contact out of the book; its mail counts as a stranger's from now on.
    RemoveContact(ContactId),
    /// Put a contact into the place of another, who began anew: it gets the petname and the mail that waits, and the other one
    /// leaves the book.
    ReplaceContact {
        /// The contact who is no more.
        old: ContactId,
        /// The contact who takes its place.
        new: ContactId,
    },
    /// Whether a contact is knocked at; `None` for all.
    SetKnocks {
        /// The contact.
        contact: Option<ContactId>,
        /// Whether it is.
        on: bool,
    },
    /// Whether we forward objects of a contact to nodes of others.
    AllowForwarding {
        /// The contact.
        contact: ContactId,
        /// Whether we do.
        on: bool,
    },
    /// Choose the friend who forwards what we send to a contact that does not answer.
    ChooseCarrier {
        /// The contact.
        contact: ContactId,
        /// The friend; `None` for none.
        friend: Option<ContactId>,
    },
    /// Call the identity otherwise; its address stays.
    RenameIdentity(String),
    /// Revoke the identity: its onion, its key or both, for ever; every contact is told.
    Revoke(Extent),
    /// Take the revocation of somebody from a file. It was verified, and this is the key that signed it.
    TakeRevocation(Fingerprint, Box<Revocation>),
    /// Whether the identity's onion is to be published; if it is not, mail comes by its boxes alone.
    Listen(bool),
    /// Rent a box at a carrier with its invitation (`rune-box:…`).
    RentBox {
        /// The text.
        invitation: String,
        /// The user's name for it.
        name: String,
        /// Keys made for it, and for nothing else.
        keys: BoxKeys,
    },
    /// See whether a box works, from end to end. The progress is published.
    CheckBox {
        /// The user's name for it.
        name: String,
    },
    /// Give a box up.
    LeaveBox {
        /// The user's name for it.
        name: String,
    },
    /// Record the hash of a new application password.
    AddPassword {
        /// The user's name for it.
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
    /// The people whom the header names besides the author, as it names them: recipients or not; up to `limits::NAMED`.
    pub visible: Vec<String>,
    /// The message to sign, with Bcc and identifying fields removed.
    pub message: Arc<[u8]>,
    /// The reports that the mail program wants.
    pub asked: DeliveryOptions,
}

/// The parameters of RFC 3461 with which a message was submitted.
#[derive(Clone, Default)]
pub struct DeliveryOptions {
    /// ENVID, of printable ASCII.
    pub envelope: Option<String>,
    /// RET=FULL.
    pub full: bool,
    /// The Message-ID under which the mail program has its copy, if the message has another.
    pub message_id: Option<String>,
    /// NOTIFY and ORCPT, by recipient as given in [`Submission::recipients`].
    pub recipients: BTreeMap<String, RecipientOptions>,
}

/// The result of a request that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// [`Request::Append`]
    Appended {
        /// The UIDVALIDITY of the folder.
        uid_validity: u32,
        /// The UID of the message.
        uid: Uid,
    },
    /// [`Request::Store`] and [`Request::Expunge`]: the UIDs that were there.
    Changed(Vec<Uid>),
    /// [`Request::Transfer`]
    Transferred {
        /// The UIDVALIDITY of the folder that received them.
        uid_validity: u32,
        /// From UID and to UID of those that were there.
        pairs: Vec<(Uid, Uid)>,
    },
    /// [`Request::CreateFolder`]
    FolderCreated(FolderId),
    /// [`Request::Submit`] and [`Request::SubmitAndKeep`]
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
        /// Its petname.
        petname: String,
    },
    /// [`Request::ReplaceContact`]
    Replaced {
        /// How many messages that waited go to the new contact.
        moved: usize,
        /// How many end with a report, because a copy of them was sent, or others are named in them.
        ended: usize,
    },
    /// [`Request::Revoke`]
    Revoked {
        /// The statement, for those who are no contacts.
        statement: Vec<u8>,
        /// How many contacts are being told.
        contacts: usize,
    },
    /// Every other request.
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
    /// The identity writes to no such recipient. Permanent.
    #[error("{}", why.sentence(recipient, meant.as_deref()))]
    UnknownRecipient {
        /// As given.
        recipient: String,
        /// The reason.
        why: Unaddressable,
        /// The petname that was probably meant.
        meant: Option<String>,
    },
    /// A message whose visible recipients would learn each other's addresses, and who cannot be asked whether they agree.
    /// Permanent.
    #[error(
        "{first} and {second} would see each other's addresses, and cannot be asked yet whether they agree, because one of them has \
         not answered you; send to each of them alone, or put all but one into Bcc"
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
    /// A message was to be put into the Outbox. Permanent.
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
    /// A contact must be confirmed, or another one chosen, first.
    #[error("{0}")]
    NotReady(&'static str),
    /// The identity was revoked. Permanent.
    #[error(
        "you revoked this identity: it sends no mail and makes no contacts any more. Use another one (-i NAME), or make one: runepeer identity new NAME"
    )]
    Revoked,
    /// There is nothing of that name.
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

impl RequestError {
    /// Says why mail cannot be addressed to this recipient, and who was probably meant: a contact to whom it can be.
    pub fn unknown_recipient(book: &Book, recipient: &str, why: Unaddressable) -> Self {
        let meant = (why == Unaddressable::Unknown).then(|| book.closest(recipient, Contact::may_receive)).flatten();
        Self::UnknownRecipient { recipient: recipient.to_owned(), why, meant: meant.map(str::to_owned) }
    }
}
