//! Replies of the daemon to the command line, a file for each noun. The daemon writes them, the command line reads them
//! and prints them with `--json`: the names of their fields are an interface for scripts. A value that is absent is
//! null.
//!
//! Times are texts of RFC 3339, sizes are bytes.

mod backup;
mod boxes;
mod carrier;
mod contact;
mod folder;
mod identity;
mod invite;
mod mail;
mod queue;
mod requests;
mod status;

pub use backup::{BackupFiles, LastBackup};
pub use boxes::{BoxState, BoxStatus, Boxes, CheckState};
pub use carrier::{
    BoxInvitation, BoxInvitations, BrokenCarrier, Carrier, CarrierLimits, CarrierMailbox, CarrierStatus,
};
pub use contact::{
    Carry, Contact, ContactStatus, Contacts, Meeting, Met, Receipts, ReceiptsGiven, Replaced, Revoked, UsedInvitation,
    Verification,
};
pub use folder::{Folder, FolderMessage, Message};
pub use identity::{Holdings, Identities, Identity, Listen, Renamed, Revocation, RevocationTaken};
pub use invite::{Invitation, OpenInvitation, OpenInvitations};
pub use mail::{MailServer, MailSettings, NewPassword, Password, Passwords};
pub use queue::{Copy, Queue, QueueId, QueuedKind, QueuedMessage, QueuedRecipient, RecipientState, TRY_LATER};
pub use requests::{RequestKind, Requests, WaitingRequest};
pub use status::{Disk, IdentityStatus, Listeners, Network, Status, WrongPassword};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Code, Failure};

/// The reply to a command that was done and has nothing to report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {}

/// A reply as it goes over the socket.
///
/// # Errors
/// [`Code::Failed`] where it cannot be written as JSON, which is impossible for these types.
pub fn write(reply: &impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(reply)
        .map_err(|error| Failure::new(Code::Failed, format!("the answer cannot be written: {error}")))
}

/// Reads a reply.
///
/// # Errors
/// [`Code::Failed`] where the value is not of this type: the daemon is of another version.
pub fn read<R: DeserializeOwned>(value: Value) -> Result<R, Failure> {
    serde_json::from_value(value).map_err(|error| {
        Failure::new(Code::Failed, format!("the daemon's answer cannot be read: {error}"))
            .hint("it may be of another version; start it again: runepeer down, then runepeer up")
    })
}

/// What a field says that an earlier daemon does not send.
const fn yes() -> bool {
    true
}

/// Defines an enum, with the name of each variant in replies.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $word)] $variant),+
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(match self { $(Self::$variant => $word),+ })
            }
        }
    };
}
use words;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_of_another_version_is_named_as_such_and_more_than_is_known_does_no_harm() {
        let failure = read::<QueueId>(json!({ "number": 1 })).unwrap_err();
        assert_eq!(failure.code, Code::Failed);
        assert!(failure.message.contains("cannot be read") && failure.hint.unwrap().contains("another version"));
        assert_eq!(read::<QueueId>(json!({ "id": "x", "more": 1 })), Ok(QueueId { id: "x".to_owned() }));
        assert_eq!(read::<Done>(json!({ "more": 1 })), Ok(Done {}));
        assert_eq!(write(&Done {}), Ok(json!({})));
    }

    #[test]
    fn a_carrier_that_cannot_be_opened_is_told_from_one_that_is_open() {
        let broken = json!({ "open": false, "enabled": false, "problem": "its log is damaged", "hint": null });
        let read: CarrierStatus = read(broken.clone()).unwrap();
        assert!(matches!(&read, CarrierStatus::Broken(carrier) if carrier.problem == "its log is damaged"));
        assert_eq!(write(&read), Ok(broken));
    }

    #[test]
    fn words_are_written_and_shown_as_they_are_called() {
        assert_eq!(write(&RecipientState::HandedOver), Ok(json!("handed_over")));
        assert_eq!(RecipientState::HandedOver.to_string(), "handed_over");
        assert_eq!(read::<Listen>(json!("never")), Ok(Listen::Never));
        assert!(read::<Listen>(json!("sometimes")).is_err());
    }
}
