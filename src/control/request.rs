//! Requests of the command line to the daemon.

use serde::{Deserialize, Serialize};

/// A request: a command, for one identity where there are several.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    /// The identity's name; may be left out where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// The command.
    #[serde(flatten)]
    pub command: Command,
}

/// The commands of the daemon.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// Version, identities, listeners, Tor, queue.
    Status,
    /// Stop the daemon.
    Stop,
    /// All identities.
    IdentityList,
    /// Make an identity.
    IdentityNew {
        /// Its name: the part of its address before `@`; a random one where left out.
        #[serde(default)]
        name: Option<String>,
    },
    /// Choose the identity that a command means which names none.
    IdentityDefault {
        /// Its name, or its address.
        name: String,
    },
    /// One identity.
    IdentityShow,
    /// Call an identity otherwise on this node.
    IdentityRename {
        /// Its name, or its address.
        name: String,
        /// Its new name.
        to: String,
    },
    /// Revoke an identity: its onion, its key or both. Its contacts are told.
    IdentityRevoke {
        /// Whether its onion is revoked.
        onion: bool,
        /// Whether its key is.
        key: bool,
    },
    /// What goes with an identity that is removed.
    IdentityHoldings {
        /// Its name, or its address.
        name: String,
    },
    /// Remove an identity from this node.
    IdentityRemove {
        /// Its name, or its address.
        name: String,
    },
    /// Make an invitation.
    Invite {
        /// Whether it is an invitation without a secret.
        public: bool,
        /// Its life, in seconds.
        life_secs: u64,
        /// For whom it is: the petname of the contact who uses it.
        #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
        label: Option<String>,
    },
    /// Open invitations.
    InviteList,
    /// Withdraw an invitation.
    InviteRevoke {
        /// Its id, or the beginning of it.
        id: String,
    },
    /// Whether an identity's onion is published.
    IdentityListen {
        /// Whether to do it also where nobody could reach the identity then.
        #[serde(default)]
        anyway: bool,
        /// Whether its onion is to be published.
        on: bool,
    },
    /// Add the contact of an invitation.
    ContactAdd {
        /// The `rune:` text.
        invitation: String,
        /// The petname to give it.
        #[serde(default)]
        petname: Option<String>,
    },
    /// Take a revocation from a file.
    ContactRevoked {
        /// What is in the file.
        statement: String,
    },
    /// All contacts.
    ContactList,
    /// One contact.
    ContactShow {
        /// Petname or address.
        who: String,
    },
    /// Compute the verification number of a contact, and say how the contact is marked.
    ContactVerify {
        /// Petname or address.
        who: String,
        /// Whether the user found the same number at both sides: marks the contact, or takes its mark away. Where left out,
        /// the mark stays as it is.
        #[serde(default)]
        same: Option<bool>,
    },
    /// Change the receipts that a contact is sent, and who forwards for whom.
    ContactSet(ContactChange),
    /// Call a contact otherwise.
    ContactRename {
        /// Petname or address.
        who: String,
        /// The new petname.
        petname: String,
    },
    /// Ask a contact whether it may be introduced to another.
    ContactIntroduce {
        /// Who gets to know somebody: petname or address.
        guest: String,
        /// Who is asked: petname or address.
        host: String,
        /// What the user says of it, to both.
        #[serde(default)]
        text: String,
    },
    /// People and introductions that wait for a decision.
    RequestList,
    /// Accept or reject one of them.
    RequestDecide {
        /// Petname or address of a person, or the id of an introduction.
        what: String,
        /// Whether it is accepted.
        accept: bool,
    },
    /// Accept a sender who waits in Requests.
    ContactAccept {
        /// Petname or address.
        who: String,
    },
    /// Drop what a contact sends, and send it nothing more.
    ContactBlock {
        /// Petname or address.
        who: String,
    },
    /// Let a blocked contact back.
    ContactUnblock {
        /// Petname or address.
        who: String,
    },
    /// Take a contact out of the address book.
    ContactRemove {
        /// Petname or address.
        who: String,
    },
    /// Put a contact into the place of another one.
    ContactReplace {
        /// The contact who is no more: petname or address.
        who: String,
        /// The contact who takes its place: petname or address.
        by: String,
    },
    /// Whether an identity knocks at its contacts.
    IdentityKnock {
        /// Whether it does.
        on: bool,
    },
    /// Send a message.
    Send {
        /// Recipients: petnames or addresses.
        to: Vec<String>,
        /// The message (RFC 5322) in base64, without From, To, Date and Message-ID.
        #[serde(flatten)]
        draft: Draft,
    },
    /// List the messages of a folder.
    Ls {
        /// The folder's name.
        folder: String,
    },
    /// One message, as it was received.
    Read {
        /// The folder's name.
        folder: String,
        /// The UID of the message.
        uid: u32,
    },
    /// List the queue, or the messages that ended lately.
    QueueList {
        /// Whether the messages that ended are wanted.
        #[serde(default)]
        ended: bool,
    },
    /// One message of the queue.
    QueueShow {
        /// Its id, or the beginning of it.
        id: String,
    },
    /// Try waiting messages now.
    QueueRetry {
        /// The id of one message, or the beginning of it; all where left out.
        #[serde(default)]
        id: Option<String>,
    },
    /// Take a message back from everybody who does not have it yet.
    QueueCancel {
        /// Its id, or the beginning of it.
        id: String,
    },
    /// Make an application password.
    PasswordNew {
        /// The name to give it.
        name: String,
    },
    /// Names of the application passwords.
    PasswordList,
    /// Withdraw an application password.
    PasswordRevoke {
        /// Its name.
        name: String,
    },
    /// Name the files of a backup; they stay until [`Command::BackupEnd`].
    BackupBegin,
    /// Say that the files are still needed; to be repeated every minute.
    BackupHold {
        /// The lease of the backup.
        lease: String,
    },
    /// The files are not needed any more.
    BackupEnd {
        /// The lease of the backup.
        lease: String,
    },
    /// Settings for a mail program.
    MailSettings,
    /// Switch the carrier on.
    CarrierEnable,
    /// Switch the carrier off. The objects that it holds stay.
    CarrierDisable,
    /// Show the state of the carrier.
    CarrierShow,
    /// Make invitations to boxes.
    CarrierInvite(BoxInvite),
    /// Change those limits of the carrier that are given, and show all of them.
    CarrierLimits(CarrierChange),
    /// Withdraw the invitations to boxes that were not used.
    CarrierRevoke,
    /// Give up a box of this carrier, with everything in it.
    CarrierEvict {
        /// Its name, or the beginning of it.
        name: String,
    },
    /// Rent a box at a carrier.
    BoxAdd {
        /// The invitation (`rune-box:…`).
        invitation: String,
        /// The name to give it; the beginning of the carrier's onion where left out.
        #[serde(default)]
        name: Option<String>,
    },
    /// List the boxes that the identity rents.
    BoxList,
    /// Check whether a box works; the result is in [`Command::BoxList`].
    BoxCheck {
        /// Its name.
        name: String,
    },
    /// Give a box up.
    BoxRemove {
        /// Its name.
        name: String,
    },
}

/// The invitations to boxes that are to be made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BoxInvite {
    /// How many.
    pub count: u32,
    /// Their life, in seconds.
    pub life_secs: u64,
    /// How many bytes such a box may hold.
    #[serde(default)]
    pub quota: Option<u64>,
    /// For how many days it holds objects.
    #[serde(default)]
    pub hold_days: Option<u32>,
}

/// The changes of the carrier's limits; those that are left out stay as they are.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct CarrierChange {
    /// How many bytes all boxes together may hold.
    #[serde(default)]
    pub space: Option<u64>,
    /// How many bytes a box may hold if its invitation does not say.
    #[serde(default)]
    pub quota: Option<u64>,
    /// For how many days such a box holds objects.
    #[serde(default)]
    pub hold_days: Option<u32>,
    /// Whether anybody may have a box without an invitation.
    #[serde(default)]
    pub free: Option<bool>,
    /// For how long an owner's identification counts: `session`, `command` or a number of seconds.
    #[serde(default)]
    pub identification: Option<String>,
}

/// The changes of a contact; those that are left out stay as they are.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContactChange {
    /// Petname or address.
    pub who: String,
    /// The receipts that it is sent: `none`, `delivered` or `read`.
    #[serde(default)]
    pub receipts: Option<String>,
    /// Whether mail that it leaves for others is forwarded.
    #[serde(default)]
    pub carry: Option<bool>,
    /// The contact through whom mail for it is forwarded: petname or address, or `none`.
    #[serde(default)]
    pub via: Option<String>,
    /// Whether it may introduce us to others: `yes`, `ask` or `never`.
    #[serde(default)]
    pub introductions: Option<String>,
    /// Whether it is knocked at.
    #[serde(default)]
    pub knock: Option<bool>,
}

/// The parts of a message that `send` composes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Draft {
    /// Who gets a copy and is seen by all: petnames or addresses.
    #[serde(default)]
    pub cc: Vec<String>,
    /// Who gets a copy and is seen by nobody.
    #[serde(default)]
    pub bcc: Vec<String>,
    /// The subject.
    pub subject: String,
    /// The text.
    pub text: String,
    /// Whether it is marked as more urgent than others.
    #[serde(default)]
    pub important: bool,
    /// Files.
    #[serde(default)]
    pub attachments: Vec<Attachment>,
}

/// A file of a [`Draft`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Attachment {
    /// Its name.
    pub name: String,
    /// Its bytes, in base64.
    pub base64: String,
}
