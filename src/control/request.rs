//! Requests of the command line to the daemon.

use serde::{Deserialize, Serialize};

/// A request: a command, for one identity where there are several.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    /// The identity's name; may be left out where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// What to do.
    #[serde(flatten)]
    pub command: Command,
}

/// What the daemon can be asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// Version, identities, listeners, Tor, queue.
    Status,
    /// End the daemon.
    Stop,
    /// All identities.
    IdentityList,
    /// Make an identity.
    IdentityNew {
        /// Its name: the part of its address before `@`.
        name: String,
    },
    /// One identity.
    IdentityShow,
    /// Make an invitation.
    Invite {
        /// Without a secret.
        public: bool,
        /// Its life, in seconds.
        life_secs: u64,
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
        /// Also where nobody could reach it then.
        #[serde(default)]
        anyway: bool,
        /// Whether it is.
        on: bool,
    },
    /// Add the contact of an invitation.
    ContactAdd {
        /// The `rune:` text.
        invitation: String,
        /// What to call it.
        #[serde(default)]
        petname: Option<String>,
    },
    /// All contacts.
    ContactList,
    /// One contact.
    ContactShow {
        /// Petname or address.
        who: String,
    },
    /// What a contact hears from us, and who carries for whom.
    ContactSet(ContactChange),
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
    /// Send a message.
    Send {
        /// Recipients: petnames or addresses.
        to: Vec<String>,
        /// The message (RFC 5322) in base64, without From, To, Date and Message-ID.
        #[serde(flatten)]
        draft: Draft,
    },
    /// Messages of a folder.
    Ls {
        /// The folder's name.
        folder: String,
    },
    /// One message, as it was received.
    Read {
        /// The folder's name.
        folder: String,
        /// The message.
        uid: u32,
    },
    /// What waits in the queue, or what ended lately.
    QueueList {
        /// Whether what ended is wanted.
        #[serde(default)]
        ended: bool,
    },
    /// One message of the queue.
    QueueShow {
        /// Its id, or the beginning of it.
        id: String,
    },
    /// Try what waits now.
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
        /// What to call it.
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
    /// The files are still needed; to be said every minute.
    BackupHold {
        /// Which backup.
        lease: String,
    },
    /// The files are not needed any more.
    BackupEnd {
        /// Which backup.
        lease: String,
    },
    /// Settings for a mail program.
    MailSettings,
    /// Carry mail for others.
    CarrierEnable,
    /// Carry none for now. What is held stays.
    CarrierDisable,
    /// How things stand at the carrier.
    CarrierShow,
    /// Make invitations to the box.
    CarrierInvite(BoxInvite),
    /// Change what the carrier allows, where something is given, and say what that is.
    CarrierLimits(CarrierChange),
    /// Withdraw the invitations to the box that were not used.
    CarrierRevoke,
    /// Give up a mailbox, with what is in it.
    CarrierEvict {
        /// Its name, or the beginning of it.
        name: String,
    },
    /// Rent a box at a carrier.
    BoxAdd {
        /// The invitation (`rune-box:…`).
        invitation: String,
        /// What to call it; the beginning of the carrier's onion where left out.
        #[serde(default)]
        name: Option<String>,
    },
    /// The boxes that were rented.
    BoxList,
    /// See whether a box works; how it goes is in [`Command::BoxList`].
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

/// Which invitations to the box are to be made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BoxInvite {
    /// How many.
    pub count: u32,
    /// Their life, in seconds.
    pub life_secs: u64,
    /// What the mailbox may take, in bytes.
    #[serde(default)]
    pub quota: Option<u64>,
    /// For how many days it holds what was left.
    #[serde(default)]
    pub hold_days: Option<u32>,
}

/// What of the carrier's limits is to change.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct CarrierChange {
    /// What all boxes may take, in bytes.
    #[serde(default)]
    pub space: Option<u64>,
    /// What a box may take where its invitation does not say, in bytes.
    #[serde(default)]
    pub quota: Option<u64>,
    /// For how many days such a box holds what was left.
    #[serde(default)]
    pub hold_days: Option<u32>,
    /// Whether anybody may have a box without an invitation.
    #[serde(default)]
    pub free: Option<bool>,
    /// For how long an owner's identification counts: `session`, `command` or a number of seconds.
    #[serde(default)]
    pub identification: Option<String>,
}

/// What is to be changed about a contact; what is left out stays as it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContactChange {
    /// Petname or address.
    pub who: String,
    /// What it hears of its mail: `none`, `delivered` or `read`.
    #[serde(default)]
    pub receipts: Option<String>,
    /// Whether we carry for it.
    #[serde(default)]
    pub carry: Option<bool>,
    /// Who carries what is for it: petname or address, or `none`.
    #[serde(default)]
    pub via: Option<String>,
}

/// What `send` composes a message from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Draft {
    /// The subject.
    pub subject: String,
    /// The text.
    pub text: String,
    /// Whether it is more urgent than others.
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
