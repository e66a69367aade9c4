//! What an invitation is about, before it is used.

use crate::control::{Code, Failure};
use crate::mail::{Invitation, InvitationError};

/// What an invitation says of whoever made it.
pub struct Looked {
    /// Whether it gives a box at a carrier; otherwise it makes a contact.
    pub is_box: bool,
    /// The address of its maker, or of the carrier.
    pub address: String,
    /// The onion in that address.
    pub onion: String,
    /// The key that the address must prove.
    pub fingerprint: String,
}

/// Looks at an invitation of either kind, and uses nothing.
///
/// # Errors
/// [`Code::Usage`] where there is none in the text, with the place of a mistake.
pub fn look(text: &str) -> Result<Looked, Failure> {
    read(text).map_err(|error| failure(&error))
}

/// How far a text has come that is being pasted.
pub enum Progress {
    /// It holds an invitation, or one of a later version.
    Whole,
    /// There is none yet, or not all of it: what is missing may follow.
    Begun(Failure),
    /// A character is wrong, whatever follows.
    Wrong(Failure),
}

/// Says how far a text has come in which there will be an invitation of either kind.
pub fn progress(text: &str) -> Progress {
    match read(text) {
        Ok(_) | Err(InvitationError::Version) => Progress::Whole,
        Err(error @ (InvitationError::NotAnInvitation | InvitationError::CutOff { .. })) => {
            Progress::Begun(failure(&error))
        }
        Err(error) => Progress::Wrong(failure(&error)),
    }
}

fn failure(error: &InvitationError) -> Failure {
    Failure::new(Code::Usage, error.to_string())
}

fn read(text: &str) -> Result<Looked, InvitationError> {
    let looked = |is_box, invitation: Invitation| Looked {
        is_box,
        address: invitation.address.to_string(),
        onion: invitation.address.onion().to_string(),
        fingerprint: invitation.fingerprint.to_string(),
    };
    let of_box = |error| match error {
        InvitationError::NotAnInvitation => Invitation::parse_box(text).map(|invitation| looked(true, invitation)),
        error => Err(error),
    };
    Invitation::parse(text).map(|invitation| looked(false, invitation)).or_else(of_box)
}
